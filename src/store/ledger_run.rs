//! The projection of facts about runs.

use rusqlite::Connection;

use crate::model::{Code, DeviceId, Diagnosis, Fact, ProductId, Record, RunId, SlotNo, StepKind, Verdict, Wall};

use super::{
    cell::{Json, Millis, Word},
    error::Illegal,
    ledger::{Stop, ask, change, known_device},
    ledger_packet,
};

/// Notes the last fact of a run; a fact of a run that never started, or of a packet that was never taken, is refused here.
pub(super) fn touched(conn: &Connection, run: RunId, seq: u64) -> Result<(), Stop> {
    match change(
        conn,
        "UPDATE run SET last_seq = ?2 WHERE id = ?1",
        (Word(run), seq.cast_signed()),
    )? {
        0 if ledger_packet::exists(conn, run)? => Ok(()),
        0 => Err(Illegal::UnknownRun(run).into()),
        _ => Ok(()),
    }
}

/// A run began: its row, and its device's.
pub(super) fn started(conn: &Connection, record: &Record) -> Result<(), Stop> {
    let Fact::RunStarted {
        run,
        device,
        slot,
        recipe,
        plan,
        operator,
        work_order,
        accepted: _,
        reference,
    } = &record.fact
    else {
        unreachable!("called for this fact alone")
    };
    if ask::<i64>(conn, "SELECT 1 FROM run WHERE id = ?1", (Word(run),))?.is_some() {
        return Err(Illegal::RunTwice(*run).into());
    }
    if ask::<i64>(conn, "SELECT 1 FROM recipe WHERE hash = ?1", (Word(recipe),))?.is_none() {
        return Err(Illegal::UnknownRecipe(*recipe).into());
    }
    known_device(conn, record.at, *device)?;
    change(
        conn,
        "UPDATE device SET runs = runs + 1, last_run = ?2, last_recipe = ?3, last_verdict = NULL, last_code = NULL,
             quarantined = NULL, last_slot = ?4, last_seen = ?5
         WHERE id = ?1",
        (Word(device), Word(run), Word(recipe), slot.0, Millis(record.at)),
    )?;
    change(
        conn,
        "INSERT INTO run (id, device, nth, slot, recipe, plan, operator, order_id, order_product, order_quantity,
             started, state, last_seq, reference)
         VALUES (?1, ?2, (SELECT runs FROM device WHERE id = ?2), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'open', ?11, ?12)",
        (
            Word(run),
            Word(device),
            slot.0,
            Word(recipe),
            Json(plan),
            operator,
            work_order.as_ref().map(|order| &order.id),
            work_order.as_ref().and_then(|order| order.product.as_ref()).map(Word),
            work_order.as_ref().map(|order| order.quantity),
            Millis(record.at),
            record.seq.cast_signed(),
            reference,
        ),
    )?;
    Ok(())
}

/// A run lost its device, or the station stopped.
pub(super) fn interrupted(conn: &Connection, run: RunId, code: Code) -> Result<(), Stop> {
    still_open(
        run,
        change(
            conn,
            "UPDATE run SET state = 'interrupted', interrupted_code = ?2 WHERE id = ?1 AND state <> 'closed'",
            (Word(run), Word(code)),
        )?,
    )
}

/// A run has its device again.
pub(super) fn resumed(conn: &Connection, at: Wall, run: RunId, slot: SlotNo) -> Result<(), Stop> {
    still_open(
        run,
        change(
            conn,
            "UPDATE run SET state = 'open', interrupted_code = NULL, slot = ?2 WHERE id = ?1 AND state <> 'closed'",
            (Word(run), slot.0),
        )?,
    )?;
    change(
        conn,
        "UPDATE device SET last_slot = ?2, last_seen = ?3 WHERE id = (SELECT device FROM run WHERE id = ?1)",
        (Word(run), slot.0, Millis(at)),
    )?;
    Ok(())
}

/// The cloud showed a session that is newer than the upload.
pub(super) fn handshake(conn: &Connection, run: RunId, device: DeviceId, seen: Wall) -> Result<(), Stop> {
    change(
        conn,
        "UPDATE run SET handshake_at = ?2 WHERE id = ?1",
        (Word(run), Millis(seen)),
    )?;
    change(
        conn,
        "UPDATE device SET handshake_at = ?2 WHERE id = ?1",
        (Word(device), Millis(seen)),
    )?;
    Ok(())
}

/// A run ended: once.
pub(super) fn ended(conn: &Connection, record: &Record) -> Result<(), Stop> {
    let Fact::RunEnded {
        run,
        device,
        verdict,
        code,
        why,
        proved,
    } = &record.fact
    else {
        unreachable!("called for this fact alone")
    };
    let code = code.map(Word);
    still_open(
        *run,
        change(
            conn,
            "UPDATE run SET state = 'closed', interrupted_code = NULL, ended = ?2, verdict = ?3, code = ?4, why = ?5,
                 proved = ?6
             WHERE id = ?1 AND state <> 'closed'",
            (Word(run), Millis(record.at), Word(verdict), code, why, proved),
        )?,
    )?;
    change(
        conn,
        "UPDATE device SET last_verdict = ?3, last_code = ?4, quarantined = iif(?5 OR lost IS NOT NULL, ?2, NULL) WHERE id = ?1 AND last_run = ?2",
        (Word(device), Word(run), Word(verdict), code, *verdict == Verdict::Quarantined),
    )?;
    if *verdict == Verdict::Pass {
        change(
            conn,
            "UPDATE device SET pass_recipe = (SELECT recipe FROM run WHERE id = ?2), pass_key = key_in_slot WHERE id = ?1",
            (Word(device), Word(run)),
        )?;
    }
    Ok(())
}

/// A named person lets a quarantined device run again: once, and only after the run that ended so.
pub(super) fn released(conn: &Connection, at: Wall, run: RunId, device: DeviceId, by: &str, why: &str) -> Result<(), Stop> {
    let changed = change(
        conn,
        "UPDATE device SET quarantined = NULL, lost = NULL WHERE id = ?1 AND quarantined = ?2",
        (Word(device), Word(run)),
    )?;
    if changed == 0 {
        return Err(Illegal::NotQuarantined(run).into());
    }
    change(
        conn,
        "UPDATE run SET released_at = ?2, released_by = ?3, released_why = ?4 WHERE id = ?1",
        (Word(run), Millis(at), by, why),
    )?;
    Ok(())
}

/// A diagnosis: the run's product from here on, and the steps that come after those of its plan.
pub(super) fn diagnosed(
    conn: &Connection,
    run: RunId,
    diagnosis: &Diagnosis,
    product: Option<&ProductId>,
    more: &[StepKind],
) -> Result<(), Stop> {
    let plan: Option<Json<Vec<StepKind>>> = ask(conn, "SELECT plan FROM run WHERE id = ?1 AND diagnosis IS NULL", (Word(run),))?;
    let Json(mut plan) = plan.ok_or(Illegal::DiagnosedTwice(run))?;
    plan.extend(more);
    change(
        conn,
        "UPDATE run SET diagnosis = ?2, product = ?3, plan = ?4 WHERE id = ?1",
        (Word(run), Json(diagnosis), product.map(Word), Json(plan)),
    )?;
    Ok(())
}

fn still_open(run: RunId, changed: usize) -> Result<(), Stop> {
    match changed {
        0 => Err(Illegal::RunClosed(run).into()),
        _ => Ok(()),
    }
}
