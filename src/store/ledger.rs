//! The projection of the journal: what each fact changes in the tables of the ledger.
//!
//! One function for each fact, used for new facts and for `verify` alike. They depend on the record and the tables and
//! on nothing else. A fact that contradicts the tables is refused, never half applied.

use rusqlite::{Connection, OptionalExtension, Params};

use crate::model::{
    DeviceId, Fact, Platform, Record, RunId, SlotNo, Wall,
    fact::{Identity, Protection},
    platform::Transport,
    recipe::Sha256,
};

use super::{
    cell::{Json, Millis, Word},
    error::{Illegal, StoreError, sql},
    journal, ledger_key, ledger_packet, ledger_run, outbox, shift,
};

/// Why a projection stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The fact contradicts the ledger.
    Illegal(Illegal),
    /// The database refused.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Illegal> for Stop {
    fn from(illegal: Illegal) -> Self {
        Self::Illegal(illegal)
    }
}

/// Changes the tables as the record says, in the transaction of the caller.
pub(super) fn project(conn: &Connection, record: &Record) -> Result<(), StoreError> {
    apply(conn, record).map_err(|stop| match stop {
        Stop::Illegal(source) => StoreError::Illegal {
            kind: journal::kind(&record.fact),
            source,
        },
        Stop::Sqlite(error) => sql("writing the tables of the ledger")(error),
    })
}

fn apply(conn: &Connection, record: &Record) -> Result<(), Stop> {
    let at = record.at;
    // These two make the row that all other facts of the run, or the packet, need.
    let begins = matches!(record.fact, Fact::RunStarted { .. } | Fact::PacketTaken { .. });
    if let Some(run) = record.fact.run().filter(|_| !begins) {
        ledger_run::touched(conn, run, record.seq)?;
    }
    shift::note(conn, record)?;
    match &record.fact {
        Fact::StationStarted { .. }
        | Fact::OperatorNamed { .. }
        | Fact::WorkOrderNamed { .. }
        | Fact::LabelRefused { .. }
        | Fact::EngineerCame { .. }
        | Fact::EngineerLeft { .. }
        | Fact::PinRefused {}
        | Fact::LineStopped { .. }
        | Fact::LineReleased { .. }
        | Fact::RepairAsked { .. }
        | Fact::RecipeChosen { .. }
        | Fact::CloudSeen { .. }
        | Fact::Surveyed { .. }
        | Fact::Questioned { .. }
        | Fact::Examined { .. }
        | Fact::PacketSigned { .. }
        | Fact::KeyEscrowed { .. }
        | Fact::StepStarted { .. }
        | Fact::StepEnded { .. }
        | Fact::StepFailed { .. }
        | Fact::StepLeftOut { .. } => Ok(()),
        Fact::RecipeRecorded { hash, name, text } => recipe_recorded(conn, at, hash, name, text),
        Fact::DeviceSeen { slot, identity, .. } => device_seen(conn, at, *slot, identity),
        Fact::RunStarted { .. } => ledger_run::started(conn, record),
        Fact::RunInterrupted { run, code } => ledger_run::interrupted(conn, *run, *code),
        Fact::RunResumed { run, slot } => ledger_run::resumed(conn, at, *run, *slot),
        Fact::KeyRead { device, content, .. } => ledger_key::read(conn, at, *device, content),
        Fact::UndoSealed {
            run,
            device,
            sha256,
            content,
        } => undo_sealed(conn, at, *run, *device, sha256, content.word()),
        Fact::UndoDestroyed { run, .. } => undo_destroyed(conn, at, *run),
        Fact::KeyIntended { device, key, item, .. } => ledger_key::intended(conn, at, *device, key, item),
        Fact::KeyWritten { device, fingerprint, .. } => ledger_key::written(conn, at, *device, fingerprint),
        Fact::KeyAbandoned {
            device,
            fingerprint,
            why,
            ..
        } => ledger_key::abandoned(conn, at, *device, fingerprint, why),
        Fact::KeyRestored { device, fingerprint, .. } => ledger_key::restored(conn, at, *device, fingerprint),
        Fact::KeyGiven { device, key, .. } => ledger_packet::given(conn, at, *device, key),
        Fact::PacketTaken { .. } => ledger_packet::taken(conn, record),
        Fact::PacketEnded {
            packet, end, code, why, ..
        } => ledger_packet::ended(conn, at, *packet, *end, *code, why),
        Fact::ItemQueued { item } => outbox::queued(conn, at, item),
        Fact::ItemSent { item, attempt } => outbox::sent(conn, at, item, *attempt),
        Fact::ItemAnswered { item, attempt, answer } => outbox::answered(conn, at, item, *attempt, answer),
        Fact::ItemWithdrawn { item, why } => outbox::withdrawn(conn, at, item, why),
        Fact::HandshakeSeen { run, device, at: seen } => ledger_run::handshake(conn, *run, *device, *seen),
        Fact::Diagnosed {
            run,
            diagnosis,
            product,
            plan,
            ..
        } => ledger_run::diagnosed(conn, *run, diagnosis, product.as_ref(), plan),
        Fact::RestoreSealed { run, device, sha256 } => restore_sealed(conn, at, *run, *device, sha256),
        Fact::RestoreDestroyed { run, .. } => restore_destroyed(conn, at, *run),
        Fact::ServiceOpened { device, .. } => unprotected(conn, at, *device),
        Fact::ProtectedAgain { device, .. } => protected(conn, *device),
        Fact::RunEnded { .. } => ledger_run::ended(conn, record),
        Fact::QuarantineReleased { run, device, by, why } => ledger_run::released(conn, at, *run, *device, by, why),
        Fact::LabelBound { device, serial, .. } => shift::labelled(conn, at, *device, serial),
        Fact::RetryAsked { items, .. } => items.iter().try_for_each(|item| outbox::hurried(conn, item)),
    }
}

/// The same text may be recorded at every start of the station: the first time counts.
fn recipe_recorded(conn: &Connection, at: Wall, hash: &Sha256, name: &str, text: &str) -> Result<(), Stop> {
    change(
        conn,
        "INSERT INTO recipe (hash, name, text, recorded_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        (Word(hash), name, text, Millis(at)),
    )?;
    Ok(())
}

/// What a device does not tell in its present mode is not forgotten.
fn device_seen(conn: &Connection, at: Wall, slot: SlotNo, identity: &Identity) -> Result<(), Stop> {
    known_device(conn, at, identity.device)?;
    let told = Told::from(identity);
    change(
        conn,
        "UPDATE device SET last_seen = ?2, last_slot = ?3, platform = ?4, protection = ?5,
             transport = coalesce(?6, transport), serial = coalesce(?7, serial), iccid = coalesce(?8, iccid),
             imei = coalesce(?9, imei), hardware = coalesce(?10, hardware), os_version = coalesce(?11, os_version),
             modules = coalesce(?12, modules)
         WHERE id = ?1",
        (
            Word(identity.device),
            Millis(at),
            slot.0,
            told.platform,
            told.protection,
            told.transport,
            told.serial,
            told.iccid,
            told.imei,
            told.hardware,
            told.os_version,
            told.modules,
        ),
    )?;
    match identity.protection {
        Protection::Service => unprotected(conn, at, identity.device),
        Protection::Protected => protected(conn, identity.device),
        // Not every bootloader tells Service Mode from no protection (device-protocol.md 3.6).
        Protection::Open => Ok(()),
    }
}

/// A protected device is open to everybody, or may be.
fn unprotected(conn: &Connection, at: Wall, device: DeviceId) -> Result<(), Stop> {
    change(
        conn,
        "UPDATE device SET unprotected_since = coalesce(unprotected_since, ?2) WHERE id = ?1",
        (Word(device), Millis(at)),
    )?;
    Ok(())
}

/// The device showed that it is protected.
fn protected(conn: &Connection, device: DeviceId) -> Result<(), Stop> {
    change(
        conn,
        "UPDATE device SET unprotected_since = NULL WHERE id = ?1",
        [Word(device)],
    )?;
    Ok(())
}

/// An identity as columns; empty texts count as not told.
struct Told<'a> {
    platform: Word<Platform>,
    protection: Word<Protection>,
    transport: Option<Word<Transport>>,
    serial: Option<&'a str>,
    iccid: Option<&'a str>,
    imei: Option<&'a str>,
    hardware: Option<&'a str>,
    os_version: Option<&'a str>,
    modules: Option<Json<&'a [crate::model::module::InstalledModule]>>,
}

impl<'a> From<&'a Identity> for Told<'a> {
    fn from(identity: &'a Identity) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().filter(|text| !text.is_empty());
        Self {
            platform: Word(identity.platform),
            protection: Word(identity.protection),
            transport: identity.transport.map(Word),
            serial: text(&identity.serial),
            iccid: text(&identity.iccid),
            imei: text(&identity.imei),
            hardware: text(&identity.hardware),
            os_version: text(&identity.os_version),
            modules: Some(identity.modules.as_slice())
                .filter(|modules| !modules.is_empty())
                .map(Json),
        }
    }
}

/// A run may go through this more than once: after a cut it starts again and seals a newer copy.
fn undo_sealed(conn: &Connection, at: Wall, run: RunId, device: DeviceId, sha256: &Sha256, content: &str) -> Result<(), Stop> {
    change(
        conn,
        "INSERT INTO undo (run, device, sha256, content, sealed_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (run) DO UPDATE SET device = excluded.device, sha256 = excluded.sha256,
             content = excluded.content, sealed_at = excluded.sealed_at, destroyed_at = NULL",
        (Word(run), Word(device), Word(sha256), content, Millis(at)),
    )?;
    Ok(())
}

/// Destroying twice is not an error: after a cut it is done again to be sure.
fn undo_destroyed(conn: &Connection, at: Wall, run: RunId) -> Result<(), Stop> {
    let changed = change(
        conn,
        "UPDATE undo SET destroyed_at = coalesce(destroyed_at, ?2) WHERE run = ?1",
        (Word(run), Millis(at)),
    )?;
    if changed == 0 {
        return Err(Illegal::NoUndo(run).into());
    }
    Ok(())
}

/// A run may go through this more than once, like an undo copy.
fn restore_sealed(conn: &Connection, at: Wall, run: RunId, device: DeviceId, sha256: &Sha256) -> Result<(), Stop> {
    change(
        conn,
        "INSERT INTO restore (run, device, sha256, sealed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (run) DO UPDATE SET device = excluded.device, sha256 = excluded.sha256,
             sealed_at = excluded.sealed_at, destroyed_at = NULL",
        (Word(run), Word(device), Word(sha256), Millis(at)),
    )?;
    Ok(())
}

/// Destroying twice is not an error.
fn restore_destroyed(conn: &Connection, at: Wall, run: RunId) -> Result<(), Stop> {
    let changed = change(
        conn,
        "UPDATE restore SET destroyed_at = coalesce(destroyed_at, ?2) WHERE run = ?1",
        (Word(run), Millis(at)),
    )?;
    if changed == 0 {
        return Err(Illegal::NoRestore(run).into());
    }
    Ok(())
}

/// Makes sure that the device has a row. A key read in DFU can be the first that is heard of it.
pub(super) fn known_device(conn: &Connection, at: Wall, device: DeviceId) -> Result<(), Stop> {
    let tail: String = device.to_string().chars().rev().collect();
    change(
        conn,
        "INSERT INTO device (id, tail, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3) ON CONFLICT DO NOTHING",
        (Word(device), tail, Millis(at)),
    )?;
    Ok(())
}

/// Runs one statement, kept ready for the next time; returns how many rows it changed.
pub(super) fn change(conn: &Connection, text: &str, params: impl Params) -> rusqlite::Result<usize> {
    conn.prepare_cached(text)?.execute(params)
}

/// The first column of the one row that is asked for, if there is one.
pub(super) fn ask<T: rusqlite::types::FromSql>(
    conn: &Connection,
    text: &str,
    params: impl Params,
) -> rusqlite::Result<Option<T>> {
    conn.prepare_cached(text)?.query_row(params, |row| row.get(0)).optional()
}
