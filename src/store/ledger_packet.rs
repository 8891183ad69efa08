//! The projection of facts about packets, and about pairs that were given for a device: keys that nobody here read or
//! wrote yet.

use rusqlite::Connection;

use crate::model::{
    Code, DeviceId, Fact, Fingerprint, PublicKey, Record, RunId, Wall,
    packet::{Manifest, PacketEnd},
};

use super::{
    cell::{Json, Millis, Word},
    error::Illegal,
    ledger::{Stop, ask, change, known_device},
    ledger_key,
};

/// A key from afar was taken: the packet's row, and the key's, unless it is known. What the slot holds is not changed by
/// what somebody says.
pub(super) fn taken(conn: &Connection, record: &Record) -> Result<(), Stop> {
    let Fact::PacketTaken {
        packet,
        device,
        key,
        proof,
        product,
        voucher,
        operator,
        accepted: _,
    } = &record.fact
    else {
        unreachable!("called for this fact alone")
    };
    for table in ["SELECT 1 FROM packet WHERE id = ?1", "SELECT 1 FROM run WHERE id = ?1"] {
        if ask::<i64>(conn, table, (Word(packet),))?.is_some() {
            return Err(Illegal::PacketTwice(*packet).into());
        }
    }
    known_device(conn, record.at, *device)?;
    ledger_key::told(conn, record.at, *device, key, "packet")?;
    change(
        conn,
        "INSERT INTO packet (id, device, fingerprint, product, manifest, unchecked, reference, vouched_by, operator, taken_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            Word(packet),
            Word(device),
            Word(key.fingerprint),
            product.as_ref().map(Word),
            proof.manifest.as_ref().map(Json),
            Json(&proof.unchecked),
            voucher.as_ref().map(|voucher| &voucher.reference),
            voucher.as_ref().map(|voucher| &voucher.by),
            operator,
            Millis(record.at),
        ),
    )?;
    Ok(())
}

/// A packet has its result: once.
pub(super) fn ended(
    conn: &Connection,
    at: Wall,
    packet: RunId,
    end: PacketEnd,
    code: Option<Code>,
    why: &str,
) -> Result<(), Stop> {
    let changed = change(
        conn,
        "UPDATE packet SET ended_at = ?2, result = ?3, code = ?4, why = ?5 WHERE id = ?1 AND ended_at IS NULL",
        (Word(packet), Millis(at), Word(end), code.map(Word), why),
    )?;
    match changed {
        0 => Err(Illegal::PacketClosed(packet).into()),
        _ => Ok(()),
    }
}

/// A pair was given for a device.
pub(super) fn given(conn: &Connection, at: Wall, device: DeviceId, key: &PublicKey) -> Result<(), Stop> {
    known_device(conn, at, device)?;
    ledger_key::told(conn, at, device, key, "given")
}

/// The cloud accepted the key of a packet. With a manifest the device held it when that was signed, which counts as a
/// reading, unless another key was read since.
pub(super) fn accepted(conn: &Connection, owner: RunId, device: DeviceId, key: &Fingerprint) -> Result<(), Stop> {
    let manifest: Option<Option<Json<Manifest>>> = ask(conn, "SELECT manifest FROM packet WHERE id = ?1", (Word(owner),))?;
    let Some(Some(Json(manifest))) = manifest else {
        return Ok(());
    };
    let newer: Option<i64> = ask(
        conn,
        "SELECT 1 FROM key WHERE device = ?1 AND state IN ('in-slot', 'intended') AND fingerprint <> ?2 AND last_seen > ?3",
        (Word(device), Word(key), Millis(manifest.at)),
    )?;
    if newer.is_none() {
        ledger_key::in_slot(conn, manifest.at, device, key)?;
    }
    Ok(())
}

/// True if there is a packet with this id.
pub(super) fn exists(conn: &Connection, packet: RunId) -> rusqlite::Result<bool> {
    ask::<i64>(conn, "SELECT 1 FROM packet WHERE id = ?1", (Word(packet),)).map(|found| found.is_some())
}
