//! Read-only queries on their own connection, for screens and reports: never on the loop thread.
//! SQL for what is shown of single devices, runs and items; numbers over many are in `report.rs`.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ToSql, params_from_iter};

use crate::model::{DeviceId, Fingerprint, Record, RunId, Verdict, Wall};

use super::{
    backup::{self, Copied, Progress},
    cell::{Millis, Word},
    connect,
    error::{StoreError, sql},
    journal, many, one,
    row::{Columns, DeviceRow, ItemRow, KeyRow, PacketRow, RunRow, UndoRow},
    verify::{self, Difference},
};

/// Reads the ledger, also while a station writes to it. It belongs to one thread; open another one for the next.
#[derive(Debug)]
pub struct Reader {
    pub(super) conn: Connection,
    dir: PathBuf,
}

/// Which devices are wanted. Conditions add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Only those whose cloud may hold another key.
    pub apart: bool,
    /// Only those that were in Service Mode, and have not shown since that they are protected.
    pub unprotected: bool,
    /// Only those that still owe something to the cloud.
    pub owed: bool,
    /// Only those whose id, serial number, ICCID or IMEI begins with this, or whose id ends with it. Case does not count.
    pub text: Option<String>,
    /// Only those whose last run ended so.
    pub verdict: Option<Verdict>,
}

/// Which runs are wanted. Conditions add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those that ended at this instant or later.
    pub from: Option<Wall>,
    /// Only those that ended before this instant.
    pub to: Option<Wall>,
    /// Only those of this work order.
    pub work_order: Option<String>,
    /// Only those that ended so.
    pub verdict: Option<Verdict>,
}

/// All that the ledger knows of one device.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct History {
    /// The device.
    pub device: DeviceRow,
    /// Its runs, newest first.
    pub runs: Vec<RunRow>,
    /// Its keys, newest first.
    pub keys: Vec<KeyRow>,
    /// What it owes or owed to the cloud, newest first.
    pub items: Vec<ItemRow>,
    /// The packets that came for it, newest first.
    pub packets: Vec<PacketRow>,
}

impl Reader {
    /// Opens the ledger in this directory for reading. A newer one is allowed; what is asked of it may fail.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            conn: connect::reader(&connect::ledger_path(dir))?,
            dir: dir.to_owned(),
        })
    }

    /// What the ledger knows of a device.
    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        one(&self.conn, "WHERE id = ?1", (Word(device),))
    }

    /// Devices by id, at most `limit`, from the first id after `after`.
    pub fn devices(&self, filter: &DeviceFilter, after: Option<DeviceId>, limit: u32) -> Result<Vec<DeviceRow>, StoreError> {
        let mut query = Query::default();
        if filter.apart {
            query.also("apart IS NOT NULL");
        }
        if filter.unprotected {
            query.also("unprotected_since IS NOT NULL");
        }
        if filter.owed {
            query.also("id IN (SELECT device FROM item WHERE settled_at IS NULL)");
        }
        if let Some(verdict) = filter.verdict {
            query.with("last_verdict = ?", Word(verdict));
        }
        if let Some(text) = &filter.text {
            query.matching(text.trim());
        }
        if let Some(after) = after {
            query.with("id > ?", Word(after));
        }
        query.run(&self.conn, "ORDER BY id", limit)
    }

    /// Runs, newest first, at most `limit`, from the last one before `before`.
    pub fn runs(&self, filter: &RunFilter, before: Option<RunId>, limit: u32) -> Result<Vec<RunRow>, StoreError> {
        let mut query = Query::default();
        if let Some(from) = filter.from {
            query.with("ended >= ?", Millis(from));
        }
        if let Some(to) = filter.to {
            query.with("ended < ?", Millis(to));
        }
        if let Some(order) = &filter.work_order {
            query.with("order_id = ?", order.clone());
        }
        if let Some(verdict) = filter.verdict {
            query.with("verdict = ?", Word(verdict));
        }
        if let Some(before) = before {
            query.with("id < ?", Word(before));
        }
        query.run(&self.conn, "ORDER BY id DESC", limit)
    }

    /// Runs that have no verdict, newest first, at most `limit`.
    pub fn open_runs(&self, limit: u32) -> Result<Vec<RunRow>, StoreError> {
        many(&self.conn, "WHERE state <> 'closed' ORDER BY id DESC LIMIT ?1", (limit,))
    }

    /// What the ledger knows of a run.
    pub fn run(&self, run: RunId) -> Result<Option<RunRow>, StoreError> {
        one(&self.conn, "WHERE id = ?1", (Word(run),))
    }

    /// All that the ledger knows of a device, except its records.
    pub fn history(&self, device: DeviceId) -> Result<Option<History>, StoreError> {
        let Some(row) = self.device(device)? else { return Ok(None) };
        Ok(Some(History {
            device: row,
            runs: many(&self.conn, "WHERE device = ?1 ORDER BY nth DESC", (Word(device),))?,
            keys: many(
                &self.conn,
                "WHERE device = ?1 ORDER BY last_seen DESC, fingerprint",
                (Word(device),),
            )?,
            items: many(&self.conn, "WHERE device = ?1 ORDER BY queued_at DESC, id", (Word(device),))?,
            packets: many(&self.conn, "WHERE device = ?1 ORDER BY id DESC", (Word(device),))?,
        }))
    }

    /// Records about a device, newest first, at most `limit`, from the last one before `before`.
    pub fn device_records(&self, device: DeviceId, before: Option<u64>, limit: u32) -> Result<Vec<Record>, StoreError> {
        journal::of_device(&self.conn, device, before.unwrap_or(u64::MAX), limit)
    }

    /// What the ledger knows of a packet.
    pub fn packet(&self, packet: RunId) -> Result<Option<PacketRow>, StoreError> {
        one(&self.conn, "WHERE id = ?1", (Word(packet),))
    }

    /// All records of a run, oldest first.
    pub fn run_records(&self, run: RunId) -> Result<Vec<Record>, StoreError> {
        journal::of_run(&self.conn, run)
    }

    /// Records after this sequence number, oldest first, at most `limit`: how a journal is exported and followed.
    pub fn records(&self, after: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        journal::after(&self.conn, after, limit)
    }

    /// What is owed to the cloud, oldest first, at most `limit`.
    pub fn owed(&self, limit: u32) -> Result<Vec<ItemRow>, StoreError> {
        many(
            &self.conn,
            "WHERE settled_at IS NULL ORDER BY queued_at, id LIMIT ?1",
            (limit,),
        )
    }

    /// What the cloud refused for good and did not accept later, the latest first, at most `limit`.
    pub fn refused(&self, limit: u32) -> Result<Vec<ItemRow>, StoreError> {
        many(
            &self.conn,
            "WHERE state = 'refused' ORDER BY settled_at DESC, id LIMIT ?1",
            (limit,),
        )
    }

    /// Every device that has, had, or was to have this key.
    pub fn key_rows(&self, fingerprint: Fingerprint) -> Result<Vec<KeyRow>, StoreError> {
        many(&self.conn, "WHERE fingerprint = ?1 ORDER BY device", (Word(fingerprint),))
    }

    /// Every public key of every device, by device: for an export. It reads page by page and holds nothing open, so an
    /// export of hours does not let the write-ahead log grow.
    pub fn keys(&self) -> Keys<'_> {
        Keys {
            reader: self,
            page: Vec::new().into_iter(),
            last: Cell::new(None),
            ended: false,
        }
    }

    /// The undo copies that are not destroyed.
    pub fn kept_undo_copies(&self) -> Result<Vec<UndoRow>, StoreError> {
        many(&self.conn, "WHERE destroyed_at IS NULL ORDER BY run", [])
    }

    /// Copies the ledger to another place while the station runs, and proves the copy. See `keyrack backup`.
    pub fn backup(&self, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Copied, StoreError> {
        backup::copy_elsewhere(&self.conn, &self.dir, to, progress)
    }

    /// Rebuilds every table from the journal, in a file of its own, and returns how the ledger differs from that: nothing,
    /// if all is well. It also checks numbering and hash chain. It stops at [`Difference::MOST`] of them.
    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Difference>, StoreError> {
        verify::verify(&self.conn, progress)
    }
}

/// The keys of [`Reader::keys`].
#[derive(Debug)]
pub struct Keys<'a> {
    reader: &'a Reader,
    page: std::vec::IntoIter<KeyRow>,
    last: Cell<Option<(DeviceId, Fingerprint)>>,
    ended: bool,
}

impl Iterator for Keys<'_> {
    type Item = Result<KeyRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.ended {
            let page = match self.last.get() {
                None => many(&self.reader.conn, "ORDER BY device, fingerprint LIMIT ?1", (KEYS_PER_PAGE,)),
                Some((device, key)) => many(
                    &self.reader.conn,
                    "WHERE (device, fingerprint) > (?2, ?3) ORDER BY device, fingerprint LIMIT ?1",
                    (KEYS_PER_PAGE, Word(device), Word(key)),
                ),
            };
            match page {
                Ok(page) => {
                    self.ended = page.len() < KEYS_PER_PAGE as usize;
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        let row = self.page.next()?;
        self.last.set(Some((row.device, row.key.fingerprint)));
        Some(Ok(row))
    }
}

/// Conditions of a query with their values.
#[derive(Default)]
struct Query {
    conditions: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Query {
    fn also(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    fn with(&mut self, condition: &str, value: impl ToSql + 'static) {
        self.also(condition);
        self.values.push(Box::new(value));
    }

    /// Each branch is a range of one index, so that it costs the same in a ledger of a million devices. One index cannot
    /// serve them all, nor can LIKE use any of them for a text that is not known beforehand.
    fn matching(&mut self, text: &str) {
        let tail: String = text.to_ascii_lowercase().chars().rev().collect();
        let mut branches = Vec::new();
        for (column, prefix) in [
            ("id", text.to_ascii_lowercase()),
            ("tail", tail),
            ("serial", text.to_owned()),
            ("iccid", text.to_owned()),
            ("imei", text.to_owned()),
        ] {
            branches.push(format!(
                "SELECT id FROM device WHERE {column} >= ? AND {column} < ? AND {column} IS NOT NULL"
            ));
            self.values.push(Box::new(prefix.clone()));
            // No text that begins with the prefix comes after this.
            self.values.push(Box::new(prefix + "\u{10FFFF}"));
        }
        self.conditions.push(format!("id IN ({})", branches.join(" UNION ALL ")));
    }

    fn run<T: Columns>(mut self, conn: &Connection, order: &str, limit: u32) -> Result<Vec<T>, StoreError> {
        let wanted = match self.conditions.as_slice() {
            [] => String::new(),
            some => format!("WHERE {}", some.join(" AND ")),
        };
        self.values.push(Box::new(limit));
        let text = format!("SELECT {} FROM {} {wanted} {order} LIMIT ?", T::COLUMNS, T::TABLE);
        conn.prepare_cached(&text)
            .and_then(|mut query| {
                query
                    .query_map(params_from_iter(self.values.iter()), T::from_row)
                    .and_then(Iterator::collect)
            })
            .map_err(sql("reading the ledger"))
    }
}

/// Rows of an export that are read at once.
const KEYS_PER_PAGE: u32 = 1000;
