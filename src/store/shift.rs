//! The projection of what counts for the station as a whole: which records a start has to read again beside those of its
//! open runs. What they come to is the core's to say.

use rusqlite::Connection;

use crate::model::{DeviceId, Fact, Record, Wall};

use super::{
    cell::{Millis, Word},
    journal,
    ledger::{Stop, change, known_device},
};

/// Keeps a record in mind, or lets go of those that it makes out of date.
pub(super) fn note(conn: &Connection, record: &Record) -> Result<(), Stop> {
    let kind = journal::kind(&record.fact);
    match &record.fact {
        Fact::OperatorNamed { .. } | Fact::WorkOrderNamed { .. } | Fact::LineStopped { .. } => {
            forget(conn, kind)?;
            keep(conn, record)
        }
        Fact::LineReleased { .. } => {
            forget(conn, "line-stopped")?;
            forget(conn, "run-ended")
        }
        Fact::RunEnded { .. } | Fact::PinRefused {} => {
            keep(conn, record)?;
            change(
                conn,
                "DELETE FROM shift WHERE kind = ?1 AND seq <=
                     (SELECT seq FROM shift WHERE kind = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
                (kind, MOST),
            )?;
            Ok(())
        }
        Fact::EngineerCame { .. } => forget(conn, "pin-refused"),
        Fact::RepairAsked { device, .. } => {
            asked_no_more(conn, *device)?;
            keep(conn, record)
        }
        Fact::RunStarted { device, .. } => asked_no_more(conn, *device),
        Fact::RecipeChosen { platform, .. } => {
            change(
                conn,
                "DELETE FROM shift WHERE kind = ?1 AND ?2 =
                     (SELECT json_extract(CAST(body AS TEXT), '$.platform') FROM journal WHERE journal.seq = shift.seq)",
                (kind, Word(*platform)),
            )?;
            keep(conn, record)
        }
        _ => Ok(()),
    }
}

/// A label was found to be that of a device: its serial number is known from here on, also of a device that does not tell.
pub(super) fn labelled(conn: &Connection, at: Wall, device: DeviceId, serial: &str) -> Result<(), Stop> {
    known_device(conn, at, device)?;
    change(
        conn,
        "UPDATE device SET labelled_at = ?2, serial = coalesce(serial, ?3) WHERE id = ?1",
        (Word(device), Millis(at), serial),
    )?;
    Ok(())
}

fn keep(conn: &Connection, record: &Record) -> Result<(), Stop> {
    change(
        conn,
        "INSERT INTO shift (seq, kind, device) VALUES (?1, ?2, ?3)",
        (
            record.seq.cast_signed(),
            journal::kind(&record.fact),
            record.fact.device().map(Word),
        ),
    )?;
    Ok(())
}

fn forget(conn: &Connection, kind: &str) -> Result<(), Stop> {
    change(conn, "DELETE FROM shift WHERE kind = ?1", (kind,))?;
    Ok(())
}

fn asked_no_more(conn: &Connection, device: DeviceId) -> Result<(), Stop> {
    change(
        conn,
        "DELETE FROM shift WHERE kind = 'repair-asked' AND device = ?1",
        (Word(device),),
    )?;
    Ok(())
}

/// So many runs, and so many wrong PINs, are looked back at: more than any rule of the station counts.
const MOST: u32 = 100;
