//! The ledger: the only place that knows SQLite.
//!
//! It owns one directory: the journal of facts, the tables that are projected from them in the same transaction, the
//! lock that keeps a second station out, and the sealed undo copies. It decides nothing: what a fact means for a run is
//! the business of [`crate::rack`]; what it means for a table is in `ledger.rs` and in nothing else.
//!
//! | file | what it owns |
//! |---|---|
//! | `mod.rs` | [`Store`]: the one writer of the loop thread |
//! | `error.rs` | what can go wrong, by whose doing |
//! | `lock.rs`, `migrate.rs`, `schema.rs`, `connect.rs` | opening: one station, known schema, safe settings |
//! | `cell.rs` | how the vocabulary is spelt in columns |
//! | `journal.rs` | rows of facts and their hash chain |
//! | `ledger.rs`, `ledger_run.rs`, `ledger_key.rs`, `ledger_packet.rs`, `outbox.rs`, `shift.rs` | one projection for each fact |
//! | `open.rs` | the open runs and packets with their records: what a start takes up |
//! | `row.rs`, `read.rs`, `report.rs` | read-only queries on their own connection |
//! | `verify.rs`, `backup.rs` | proof that journal and tables agree; a second copy |
//! | `undo.rs`, `station_key.rs` | sealed undo copies and the key that seals them |
//! | `engineers.rs` | the file with the hashed PINs of engineers |

mod backup;
mod cell;
mod connect;
mod engineers;
mod error;
mod files;
#[doc(hidden)]
pub mod fill;
mod journal;
mod ledger;
mod ledger_key;
mod ledger_packet;
mod ledger_run;
mod lock;
mod migrate;
mod open;
mod outbox;
pub mod read;
mod report;
mod row;
mod schema;
mod shift;
mod station_key;
pub mod undo;
mod verify;

#[cfg(test)]
mod tests;

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::model::{
    DeviceId, Fact, Fingerprint, PublicKey, Record, RunId, StationId, Wall,
    recipe::{Sha256, WorkOrder},
};

pub use self::{
    backup::{Copied, Progress},
    connect::Durability,
    engineers::{EngineersError, EngineersFile},
    error::{BadKey, BadRecord, Illegal, StoreError},
    lock::is_in_use,
    read::Reader,
    report::{Counts, OrderProgress, Yield},
    row::{
        Apart, DeviceRow, ItemRow, KeyRow, KeyState, Origin, PacketRow, Released, RestoreRow, RunRow, RunState, Standing, UndoRow,
    },
    station_key::{STATION_KEY_LEN, StationKeyError, check_station_key, station_key},
    undo::UndoVault,
    verify::Difference,
};

use self::{cell::Word, error::sql, journal::Head, lock::StationLock, row::Columns};

/// How a ledger is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// When a commit counts as done.
    pub durability: Durability,
}

/// The ledger, as its one writer sees it. It belongs to the loop thread; nothing that it does grows with the ledger.
#[derive(Debug)]
pub struct Store {
    /// Reads back what the other one wrote, as any other program would see it. Closed first: only the last connection
    /// folds the write-ahead log into the file, and this one cannot write.
    witness: Connection,
    conn: Connection,
    station: StationId,
    dir: PathBuf,
    head: Head,
    /// What [`Store::open_records`] read: true until the next record is written.
    open: OnceCell<Arc<[Record]>>,
    _lock: StationLock,
}

/// The recipe and the key with which a device last passed: what a later run of the same device can skip by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LastPass {
    /// The recipe, by the hash of its text.
    pub recipe: Sha256,
    /// The key that the slot held.
    pub key: Fingerprint,
}

impl Store {
    /// Opens the ledger in this directory, and makes it where it is missing. Whatever can go wrong is found here:
    /// another station on it, a newer or foreign file, a directory that is open to others.
    pub fn open(dir: &Path, station: StationId, options: Options) -> Result<Self, StoreError> {
        files::private_dir(dir)?;
        let lock = StationLock::take(dir)?;
        let path = connect::ledger_path(dir);
        let mut conn = connect::writer(&path, options.durability)?;
        migrate::migrate(&mut conn, &path, schema::MIGRATIONS)?;
        files::sync_dir(dir).map_err(error::file("syncing the directory", dir))?;
        Ok(Self {
            head: Head::read(&conn)?,
            witness: connect::reader(&path)?,
            conn,
            station,
            dir: dir.to_owned(),
            open: OnceCell::new(),
            _lock: lock,
        })
    }

    /// Lets the file grow to so many pages and no further: a full disk for tests, which otherwise need a disk to fill.
    pub fn limit_pages(&mut self, most: u32) -> Result<(), StoreError> {
        let set = self.conn.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()));
        set.map_err(sql("limiting the ledger"))
    }

    /// The directory of the ledger: where a [`Reader`] is opened.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The sequence number of the last record; 0 for an empty journal.
    pub fn last_seq(&self) -> u64 {
        self.head.seq
    }

    /// Writes facts and what follows from them, in one transaction. When it returns they are on disk, and the
    /// records say where; on any error nothing is written, and nothing may be done that was announced.
    ///
    /// `at` is kept to the millisecond.
    pub fn append(&mut self, at: Wall, facts: &[Fact]) -> Result<Vec<Record>, StoreError> {
        if facts.is_empty() {
            return Ok(Vec::new());
        }
        let doing = sql("writing the journal");
        let at = Wall::from_millis(at.millis()).expect("a wall instant is within what a calendar has");
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&doing)?;
        let mut head = self.head;
        let mut records = Vec::with_capacity(facts.len());
        for fact in facts {
            head = journal::write(&tx, head, at, &self.station, fact)?;
            let record = Record {
                seq: head.seq,
                at,
                station: self.station.clone(),
                fact: fact.clone(),
            };
            ledger::project(&tx, &record)?;
            records.push(record);
        }
        tx.commit().map_err(&doing)?;
        self.head = head;
        self.open.take();
        Ok(records)
    }

    /// Reads a public key back on a second connection and checks it: the length of its kind, and that its bytes have
    /// this fingerprint. Nothing may be written to the device before this succeeded (ARCHITECTURE.md 4.2).
    ///
    /// The key that it returns is the one that was read back.
    pub fn confirm_key(&self, device: DeviceId, fingerprint: Fingerprint) -> Result<PublicKey, StoreError> {
        let bad = |source| StoreError::Key { fingerprint, source };
        let key = one::<KeyRow>(
            &self.witness,
            "WHERE device = ?1 AND fingerprint = ?2",
            (Word(device), Word(fingerprint)),
        )?
        .ok_or_else(|| bad(BadKey::Absent))?
        .key;
        ledger_key::check(&key).map_err(bad)?;
        Ok(key)
    }

    /// Every record of every run and packet that has not ended, or that still owes something to the cloud, oldest first: what
    /// start-up replays. More than one part of a start wants them; they are read once.
    pub fn open_records(&self) -> Result<Arc<[Record]>, StoreError> {
        if let Some(known) = self.open.get() {
            return Ok(Arc::clone(known));
        }
        let read = open::records(&self.conn, &connect::ledger_path(&self.dir))?;
        Ok(Arc::clone(self.open.get_or_init(|| read.into())))
    }

    /// The records that count for the station beside those of its runs, oldest first: who is at it, what is worked on,
    /// whether the line is stopped.
    pub fn shift_records(&self) -> Result<Vec<Record>, StoreError> {
        journal::of_shift(&self.conn)
    }

    /// Every device with this serial number.
    pub fn serial_owner(&self, serial: &str) -> Result<Vec<DeviceId>, StoreError> {
        let devices: Vec<DeviceRow> = many(&self.conn, "WHERE serial = ?1 ORDER BY id", (serial,))?;
        Ok(devices.into_iter().map(|device| device.id).collect())
    }

    /// A work order as it was last recorded with a run.
    pub fn work_order(&self, id: &str) -> Result<Option<WorkOrder>, StoreError> {
        let run: Option<RunRow> = one(&self.conn, "WHERE order_id = ?1 ORDER BY ended DESC LIMIT 1", (id,))?;
        Ok(run.and_then(|run| run.work_order))
    }

    /// All records of one run, oldest first; none if it is unknown.
    pub fn run_records(&self, run: RunId) -> Result<Vec<Record>, StoreError> {
        journal::of_run(&self.conn, run)
    }

    /// What the ledger knows of a device.
    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        one(&self.conn, "WHERE id = ?1", (Word(device),))
    }

    /// What the ledger knows of a run.
    pub fn run(&self, run: RunId) -> Result<Option<RunRow>, StoreError> {
        one(&self.conn, "WHERE id = ?1", (Word(run),))
    }

    /// Every device that has, had, or was to have this key. More than one is a duplicate.
    pub fn key_owner(&self, fingerprint: Fingerprint) -> Result<Vec<DeviceId>, StoreError> {
        let doing = sql("looking for the owner of a key");
        let mut query = self
            .conn
            .prepare_cached("SELECT device FROM key WHERE fingerprint = ?1 ORDER BY device")
            .map_err(&doing)?;
        let owners = query
            .query_map((Word(fingerprint),), |row| row.get::<_, Word<DeviceId>>(0).map(|word| word.0))
            .and_then(Iterator::collect)
            .map_err(&doing)?;
        Ok(owners)
    }

    /// Every key that a device has, had, or was to have.
    pub fn keys_of(&self, device: DeviceId) -> Result<Vec<KeyRow>, StoreError> {
        many(&self.conn, "WHERE device = ?1 ORDER BY fingerprint", (Word(device),))
    }

    /// The name and text of a recipe that was recorded.
    pub fn recipe(&self, hash: Sha256) -> Result<Option<(String, String)>, StoreError> {
        self.conn
            .prepare_cached("SELECT name, text FROM recipe WHERE hash = ?1")
            .and_then(|mut query| {
                query
                    .query_row((Word(hash),), |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(sql("looking for a recipe"))
    }

    /// The undo copies that are not destroyed.
    pub fn kept_undo_copies(&self) -> Result<Vec<UndoRow>, StoreError> {
        many(&self.conn, "WHERE destroyed_at IS NULL ORDER BY run", [])
    }
}

impl Store {
    /// The sealed restore data that are not destroyed.
    pub fn kept_restore_data(&self) -> Result<Vec<RestoreRow>, StoreError> {
        many(&self.conn, "WHERE destroyed_at IS NULL ORDER BY run", [])
    }

    /// The devices that are done for a work order: those of its runs that ended PASS or OWED.
    pub fn done_for(&self, work_order: &str) -> Result<Vec<DeviceId>, StoreError> {
        self.conn
            .prepare_cached("SELECT DISTINCT device FROM run WHERE order_id = ?1 AND verdict IN ('pass', 'owed')")
            .and_then(|mut query| {
                let rows = query.query_map([work_order], |row| Ok(row.get::<_, Word<DeviceId>>(0)?.0))?;
                rows.collect()
            })
            .map_err(sql("counting the devices of a work order"))
    }
}

/// One row of a projected table, by the rest of its query.
fn one<T: Columns>(conn: &Connection, rest: &str, params: impl rusqlite::Params) -> Result<Option<T>, StoreError> {
    Ok(many(conn, rest, params)?.into_iter().next())
}

/// Rows of a projected table, by the rest of their query.
fn many<T: Columns>(conn: &Connection, rest: &str, params: impl rusqlite::Params) -> Result<Vec<T>, StoreError> {
    let text = format!("SELECT {} FROM {} {rest}", T::COLUMNS, T::TABLE);
    conn.prepare_cached(&text)
        .and_then(|mut query| query.query_map(params, T::from_row).and_then(Iterator::collect))
        .map_err(sql("reading the ledger"))
}
