//! The projection of facts about key slots: what a slot holds, what was announced for it, and which keys a device has had.

use rusqlite::Connection;
use sha2::Digest;

use crate::model::{
    DeviceId, Fingerprint, PublicKey, Wall,
    key::SlotContent,
    outbox::{Item, ItemState},
};

use super::{
    cell::{Millis, Word},
    error::{BadKey, Illegal},
    ledger::{Stop, ask, change, known_device},
    outbox,
};

/// A slot was read. An unreadable one tells nothing, so nothing changes.
pub(super) fn read(conn: &Connection, at: Wall, device: DeviceId, content: &SlotContent) -> Result<(), Stop> {
    known_device(conn, at, device)?;
    match content {
        SlotContent::Valid { key, .. } => {
            record(conn, at, device, key, "read", "in-slot")?;
            in_slot(conn, at, device, &key.fingerprint)
        }
        SlotContent::Blank | SlotContent::Corrupt { .. } => {
            change(
                conn,
                "UPDATE key SET state = 'gone' WHERE device = ?1 AND state = 'in-slot'",
                (Word(device),),
            )?;
            change(
                conn,
                "UPDATE device SET slot_content = ?2, key_in_slot = NULL WHERE id = ?1",
                (Word(device), content.word()),
            )?;
            Ok(())
        }
        SlotContent::Unreadable { .. } => Ok(()),
    }
}

/// A key is about to be written: from here on the slot may hold the old key, this one, or neither.
pub(super) fn intended(conn: &Connection, at: Wall, device: DeviceId, key: &PublicKey, item: &Item) -> Result<(), Stop> {
    known_device(conn, at, device)?;
    record(conn, at, device, key, "made", "intended")?;
    change(
        conn,
        "UPDATE device SET key_intended = ?2 WHERE id = ?1",
        (Word(device), Word(key.fingerprint)),
    )?;
    outbox::owed(conn, at, item, ItemState::Held)
}

/// The slot derives the intended key: its held item is released.
pub(super) fn written(conn: &Connection, at: Wall, device: DeviceId, key: &Fingerprint) -> Result<(), Stop> {
    known(conn, device, key)?;
    in_slot(conn, at, device, key)?;
    no_longer_intended(conn, device, key)?;
    outbox::released(conn, device, key)?;
    Ok(())
}

/// The intended key is not on the device and will not be: what is owed for it is withdrawn, unless it is under way.
pub(super) fn abandoned(conn: &Connection, at: Wall, device: DeviceId, key: &Fingerprint, why: &str) -> Result<(), Stop> {
    known(conn, device, key)?;
    change(
        conn,
        "UPDATE key SET state = 'abandoned', last_seen = ?3 WHERE device = ?1 AND fingerprint = ?2",
        (Word(device), Word(key), Millis(at)),
    )?;
    // What the slot holds now is for the next reading to say.
    change(
        conn,
        "UPDATE device SET key_in_slot = NULL, slot_content = NULL WHERE id = ?1 AND key_in_slot = ?2",
        (Word(device), Word(key)),
    )?;
    no_longer_intended(conn, device, key)?;
    outbox::given_up(conn, at, device, key, why)?;
    Ok(())
}

/// The old key is in the slot again; whatever was intended is not.
pub(super) fn restored(conn: &Connection, at: Wall, device: DeviceId, key: &Fingerprint) -> Result<(), Stop> {
    known(conn, device, key)?;
    in_slot(conn, at, device, key)?;
    change(conn, "UPDATE device SET key_intended = NULL WHERE id = ?1", (Word(device),))?;
    Ok(())
}

/// A key is said to be the device's, or is to be, and nobody here read or wrote it. One that is known stays as it is.
pub(super) fn told(conn: &Connection, at: Wall, device: DeviceId, key: &PublicKey, origin: &str) -> Result<(), Stop> {
    check(key).map_err(Illegal::from)?;
    change(
        conn,
        "INSERT INTO key (device, fingerprint, kind, spki, origin, state, first_seen, last_seen)
         VALUES (?1, ?2, ?3, ?4, ?5, 'told', ?6, ?6) ON CONFLICT DO NOTHING",
        (
            Word(device),
            Word(key.fingerprint),
            Word(key.kind),
            &key.spki,
            origin,
            Millis(at),
        ),
    )?;
    Ok(())
}

/// Checks that a public key is whole: the length of its kind, and the fingerprint of its bytes.
pub(super) fn check(key: &PublicKey) -> Result<(), BadKey> {
    if key.spki.len() != key.kind.spki_len() {
        return Err(BadKey::Length {
            found: key.spki.len(),
            expected: key.kind.spki_len(),
        });
    }
    let found = Fingerprint(sha2::Sha256::digest(&key.spki).into());
    if found != key.fingerprint {
        return Err(BadKey::Fingerprint { found });
    }
    Ok(())
}

fn record(conn: &Connection, at: Wall, device: DeviceId, key: &PublicKey, origin: &str, state: &str) -> Result<(), Stop> {
    check(key).map_err(Illegal::from)?;
    change(
        conn,
        "INSERT INTO key (device, fingerprint, kind, spki, origin, state, first_seen, last_seen)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
         ON CONFLICT (device, fingerprint) DO UPDATE SET state = excluded.state, last_seen = excluded.last_seen",
        (
            Word(device),
            Word(key.fingerprint),
            Word(key.kind),
            &key.spki,
            origin,
            state,
            Millis(at),
        ),
    )?;
    Ok(())
}

/// The slot holds this key and no other.
pub(super) fn in_slot(conn: &Connection, at: Wall, device: DeviceId, key: &Fingerprint) -> Result<(), Stop> {
    change(
        conn,
        "UPDATE key SET state = 'gone' WHERE device = ?1 AND state = 'in-slot' AND fingerprint <> ?2",
        (Word(device), Word(key)),
    )?;
    change(
        conn,
        "UPDATE key SET state = 'in-slot', last_seen = ?3 WHERE device = ?1 AND fingerprint = ?2",
        (Word(device), Word(key), Millis(at)),
    )?;
    change(
        conn,
        "UPDATE device SET slot_content = 'valid', key_in_slot = ?2 WHERE id = ?1",
        (Word(device), Word(key)),
    )?;
    Ok(())
}

fn no_longer_intended(conn: &Connection, device: DeviceId, key: &Fingerprint) -> Result<(), Stop> {
    change(
        conn,
        "UPDATE device SET key_intended = NULL WHERE id = ?1 AND key_intended = ?2",
        (Word(device), Word(key)),
    )?;
    Ok(())
}

fn known(conn: &Connection, device: DeviceId, key: &Fingerprint) -> Result<(), Stop> {
    match ask::<i64>(
        conn,
        "SELECT 1 FROM key WHERE device = ?1 AND fingerprint = ?2",
        (Word(device), Word(key)),
    )? {
        Some(_) => Ok(()),
        None => Err(Illegal::UnknownKey(*key).into()),
    }
}
