//! The projection of facts about items: what is owed to the cloud, and what the cloud has accepted of each device.

use rusqlite::Connection;

use crate::model::{
    DeviceId, Fingerprint, RunId, Wall,
    outbox::{Answer, Errand, Item, ItemId, ItemState, REFUSALS_TO_BELIEVE},
};

use super::{
    cell::{Json, Millis, Word},
    error::Illegal,
    ledger::{Stop, ask, change, known_device},
    ledger_packet,
};

/// Something is owed, and may be sent.
pub(super) fn queued(conn: &Connection, at: Wall, item: &Item) -> Result<(), Stop> {
    owed(conn, at, item, ItemState::Queued)
}

/// Something is owed, held or to be sent. An item that was settled may be owed anew: the same key can be registered
/// again. It then starts from nothing, except that an upload in doubt stays in doubt.
pub(super) fn owed(conn: &Connection, at: Wall, item: &Item, state: ItemState) -> Result<(), Stop> {
    known_device(conn, at, item.device)?;
    let run = ask::<i64>(conn, "SELECT 1 FROM run WHERE id = ?1", (Word(item.run),))?;
    if run.is_none() && !ledger_packet::exists(conn, item.run)? {
        return Err(Illegal::UnknownRun(item.run).into());
    }
    let key = match &item.errand {
        Errand::Key { key } => Some(Word(key.fingerprint)),
        _ => None,
    };
    let changed = change(
        conn,
        "INSERT INTO item (id, run, device, product, kind, errand, fingerprint, state, attempts, ambiguous, queued_at, follows)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET run = excluded.run, device = excluded.device, product = excluded.product,
             kind = excluded.kind, errand = excluded.errand, follows = excluded.follows, fingerprint = excluded.fingerprint,
             state = excluded.state, attempts = 0, open_attempt = NULL, next_at = NULL, last_answer = NULL, why = NULL,
             ambiguous = iif(state = 'accepted', 0, ambiguous),
             refusals = 0,
             queued_at = excluded.queued_at, sent_at = NULL, answered_at = NULL, settled_at = NULL
         WHERE settled_at IS NOT NULL",
        (
            Word(&item.id),
            Word(item.run),
            Word(item.device),
            item.product.as_ref().map(Word),
            item.errand.word(),
            Json(&item.errand),
            key,
            Word(state),
            Millis(at),
            item.after.as_ref().map(Word),
        ),
    )?;
    match changed {
        0 => Err(Illegal::ItemTwice(item.id.clone()).into()),
        _ => Ok(()),
    }
}

/// An item goes out. One whose answer is open may go out again: the answer is known not to come, or the station was cut.
pub(super) fn sent(conn: &Connection, at: Wall, item: &ItemId, attempt: u32) -> Result<(), Stop> {
    let changed = change(
        conn,
        "UPDATE item SET state = 'sent', attempts = max(attempts, ?2), open_attempt = ?2, next_at = NULL, sent_at = ?3
         WHERE id = ?1 AND state IN ('queued', 'sent')",
        (Word(item), attempt, Millis(at)),
    )?;
    match changed {
        0 => Err(look(conn, item)?.map_or_else(|| Illegal::UnknownItem(item.clone()), |_| Illegal::NotQueued(item.clone())))?,
        _ => Ok(()),
    }
}

/// An item does not wait any longer.
pub(super) fn hurried(conn: &Connection, item: &ItemId) -> Result<(), Stop> {
    change(
        conn,
        "UPDATE item SET next_at = NULL WHERE id = ?1 AND state = 'queued'",
        (Word(item),),
    )?;
    Ok(())
}

/// An answer came, or will not come. A yes is a yes whichever attempt it belongs to; a late no, while a newer attempt
/// is open or the item is settled, is only kept to be shown.
pub(super) fn answered(conn: &Connection, at: Wall, item: &ItemId, attempt: u32, answer: &Answer) -> Result<(), Stop> {
    let found = look(conn, item)?.ok_or_else(|| Illegal::UnknownItem(item.clone()))?;
    if attempt == 0 || attempt > found.attempts {
        return Err(Illegal::NotSent {
            item: item.clone(),
            attempt,
        }
        .into());
    }
    change(
        conn,
        "UPDATE item SET last_answer = ?2, answered_at = ?3 WHERE id = ?1",
        (Word(item), Json(answer), Millis(at)),
    )?;
    let current = found.open_attempt == Some(attempt);
    match answer {
        Answer::Accepted { at: cloud, .. } => {
            settle(conn, at, item, ItemState::Accepted)?;
            if gives_back(item, &found) {
                change(conn, "UPDATE device SET lost = NULL WHERE id = ?1", (found.device,))?;
            }
            accepted(conn, cloud.unwrap_or(at), item, &found)
        }
        Answer::Ambiguous { .. } => {
            change(conn, "UPDATE item SET ambiguous = ambiguous + 1 WHERE id = ?1", (Word(item),))?;
            in_doubt(conn, &found)?;
            back_in_queue(conn, item, current, None)
        }
        Answer::Refused { code, .. } if current && !found.errand.0.is_refused_by(*code) => {
            back_in_queue(conn, item, current, None)
        }
        Answer::Refused { .. } if current => {
            change(conn, "UPDATE item SET refusals = refusals + 1 WHERE id = ?1", (Word(item),))?;
            if found.refusals + 1 < REFUSALS_TO_BELIEVE {
                return back_in_queue(conn, item, current, None);
            }
            settle(conn, at, item, ItemState::Refused)?;
            if gives_back(item, &found) {
                lost(conn, item, &found)?;
            }
            Ok(())
        }
        Answer::Later { after_ms, .. } => {
            let next = after_ms.and_then(|ms| Wall::from_millis(at.millis().saturating_add_unsigned(ms)));
            back_in_queue(conn, item, current, next)
        }
        Answer::Auth { .. } => back_in_queue(conn, item, current, None),
        Answer::Refused { .. } => Ok(()),
    }
}

/// An item is no longer owed. One that is settled stays as it was settled.
pub(super) fn withdrawn(conn: &Connection, at: Wall, item: &ItemId, why: &str) -> Result<(), Stop> {
    let found = look(conn, item)?.ok_or_else(|| Illegal::UnknownItem(item.clone()))?;
    if found.open_attempt.is_some() {
        // Its answer will not be waited for, so nobody will know what the cloud did.
        in_doubt(conn, &found)?;
    }
    change(
        conn,
        "UPDATE item SET state = 'withdrawn', open_attempt = NULL, next_at = NULL, why = ?2, settled_at = ?3
         WHERE id = ?1 AND settled_at IS NULL",
        (Word(item), why, Millis(at)),
    )?;
    Ok(())
}

/// The key is in the slot: what was held for it may be sent.
pub(super) fn released(conn: &Connection, device: DeviceId, key: &Fingerprint) -> rusqlite::Result<usize> {
    change(
        conn,
        "UPDATE item SET state = 'queued' WHERE device = ?1 AND fingerprint = ?2 AND state = 'held'",
        (Word(device), Word(key)),
    )
}

/// The key is not in the slot: what is owed for it is withdrawn. What is under way waits for its answer.
pub(super) fn given_up(conn: &Connection, at: Wall, device: DeviceId, key: &Fingerprint, why: &str) -> rusqlite::Result<usize> {
    change(
        conn,
        "UPDATE item SET state = 'withdrawn', next_at = NULL, why = ?3, settled_at = ?4
         WHERE device = ?1 AND fingerprint = ?2 AND state IN ('held', 'queued')",
        (Word(device), Word(key), why, Millis(at)),
    )
}

/// What the projections need to know of an item.
struct Found {
    run: Word<RunId>,
    device: Word<DeviceId>,
    fingerprint: Option<Word<Fingerprint>>,
    attempts: u32,
    open_attempt: Option<u32>,
    refusals: u32,
    errand: Json<Errand>,
}

fn look(conn: &Connection, item: &ItemId) -> rusqlite::Result<Option<Found>> {
    use rusqlite::OptionalExtension;
    conn.prepare_cached("SELECT run, device, fingerprint, attempts, open_attempt, refusals, errand FROM item WHERE id = ?1")?
        .query_row((Word(item),), |row| {
            Ok(Found {
                run: row.get(0)?,
                device: row.get(1)?,
                fingerprint: row.get(2)?,
                attempts: row.get(3)?,
                open_attempt: row.get(4)?,
                refusals: row.get(5)?,
                errand: row.get(6)?,
            })
        })
        .optional()
}

fn settle(conn: &Connection, at: Wall, item: &ItemId, state: ItemState) -> Result<(), Stop> {
    change(
        conn,
        "UPDATE item SET state = ?2, open_attempt = NULL, next_at = NULL, settled_at = ?3 WHERE id = ?1",
        (Word(item), Word(state), Millis(at)),
    )?;
    Ok(())
}

fn back_in_queue(conn: &Connection, item: &ItemId, current: bool, next: Option<Wall>) -> Result<(), Stop> {
    if current {
        change(
            conn,
            "UPDATE item SET state = 'queued', open_attempt = NULL, next_at = ?2 WHERE id = ?1 AND state = 'sent'",
            (Word(item), next.map(Millis)),
        )?;
    }
    Ok(())
}

/// The cloud holds this key for sure, and with it every doubt about earlier uploads of the device ends: they are sent
/// one after the other.
fn accepted(conn: &Connection, at: Wall, item: &ItemId, found: &Found) -> Result<(), Stop> {
    let Some(key) = found.fingerprint else { return Ok(()) };
    change(
        conn,
        "UPDATE device SET key_accepted = ?2, accepted_at = ?3, key_ambiguous = NULL,
             accepted_product = (SELECT product FROM item WHERE id = ?4)
         WHERE id = ?1",
        (found.device, key, Millis(at), Word(item)),
    )?;
    change(
        conn,
        "UPDATE key SET accepted_at = ?3 WHERE device = ?1 AND fingerprint = ?2",
        (found.device, key, Millis(at)),
    )?;
    ledger_packet::accepted(conn, found.run.0, found.device.0, &key.0)
}

/// True for what gives a device back that was taken.
fn gives_back(item: &ItemId, found: &Found) -> bool {
    let claims = matches!(found.errand.0, Errand::Claim { .. } | Errand::Confirm { .. });
    claims || item.run().is_some_and(|run| *item == ItemId::back(run))
}

/// A device that was taken cannot be given back: an alarm, and nothing is done with it before a named person has looked,
/// whatever became of its run.
fn lost(conn: &Connection, item: &ItemId, found: &Found) -> Result<(), Stop> {
    change(
        conn,
        "UPDATE device SET lost = ?2, quarantined = iif(last_run = ?3, ?3, quarantined) WHERE id = ?1",
        (found.device, found.errand.0.word(), item.run().map(Word)),
    )?;
    Ok(())
}

/// An upload may or may not have arrived. Only a yes for a key of this device ends that: a later no or not-now says
/// nothing about the attempt that is in doubt.
fn in_doubt(conn: &Connection, found: &Found) -> Result<(), Stop> {
    if let Some(key) = found.fingerprint {
        change(
            conn,
            "UPDATE device SET key_ambiguous = ?2 WHERE id = ?1",
            (found.device, key),
        )?;
    }
    Ok(())
}
