//! Numbers over many devices and runs, for the summary and the shift report. They grow with what is asked for: never
//! on the loop thread.

use rusqlite::{Connection, params};
use serde::Serialize;

use crate::model::{Code, ProductId, Verdict, Wall};

use super::{
    cell::Word,
    error::{StoreError, sql},
    read::Reader,
};

/// What the ledger holds and what is open, for the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records in the journal.
    pub records: u64,
    /// Devices ever seen.
    pub devices: u64,
    /// Devices whose cloud may hold another key.
    pub apart: u64,
    /// Devices that owe something to the cloud.
    pub owing: u64,
    /// Items that are owed.
    pub owed: u64,
    /// Runs without a verdict.
    pub open: u64,
    /// Those of them that wait for their device.
    pub interrupted: u64,
    /// Undo copies that are not destroyed.
    pub undo_copies: u64,
}

/// How runs ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Yield {
    /// How many runs ended with each verdict, in the order of [`Verdict::ALL`].
    pub verdicts: Vec<(Verdict, u64)>,
    /// Runs that were the first of their device.
    pub first_runs: u64,
    /// Those of them that passed: first-pass yield is this by `first_runs`.
    pub first_passes: u64,
    /// PASS with a handshake as proof.
    pub proved: u64,
    /// Why runs did not simply pass, the most frequent first.
    pub codes: Vec<(Code, u64)>,
}

/// How far a work order is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderProgress {
    /// How many devices are ordered, as its last run says.
    pub quantity: u32,
    /// The product.
    pub product: Option<ProductId>,
    /// Devices that had a run for it.
    pub devices: u64,
    /// Devices that passed for it.
    pub passed: u64,
    /// Devices that are done but for what they owe to the cloud.
    pub owed: u64,
    /// Devices that passed or owe.
    pub done: u64,
}

impl Reader {
    /// What the ledger holds and what is open.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let count = |text: &str| count(&self.conn, text);
        Ok(Counts {
            records: count("SELECT coalesce(max(seq), 0) FROM journal")?,
            // Devices are never removed, so this is their number, without looking at a million rows.
            devices: count("SELECT coalesce(max(rowid), 0) FROM device")?,
            apart: count("SELECT count(*) FROM device WHERE apart IS NOT NULL")?,
            owing: count("SELECT count(DISTINCT device) FROM item WHERE settled_at IS NULL")?,
            owed: count("SELECT count(*) FROM item WHERE settled_at IS NULL")?,
            open: count("SELECT count(*) FROM run WHERE ended IS NULL")?,
            interrupted: count("SELECT count(*) FROM run WHERE ended IS NULL AND state = 'interrupted'")?,
            undo_copies: count("SELECT count(*) FROM undo WHERE destroyed_at IS NULL")?,
        })
    }

    /// How the runs ended that ended in `from..to`, of one work order or of all.
    pub fn yields(&self, from: Option<Wall>, to: Option<Wall>, work_order: Option<&str>) -> Result<Yield, StoreError> {
        let doing = sql("counting runs");
        let order = match work_order {
            Some(_) => "order_id = ?3",
            None => "?3 IS NULL",
        };
        let mut query = self
            .conn
            .prepare_cached(&format!(
                "SELECT verdict, code, nth = 1, proved, count(*) FROM run
                 WHERE ended >= ?1 AND ended < ?2 AND {order} GROUP BY 1, 2, 3, 4"
            ))
            .map_err(&doing)?;
        let millis = |wall: Option<Wall>, or: i64| wall.map_or(or, Wall::millis);
        let groups = query
            .query_map(params![millis(from, i64::MIN), millis(to, i64::MAX), work_order], |row| {
                Ok(Group {
                    verdict: row.get::<_, Word<Verdict>>(0)?.0,
                    code: row.get::<_, Option<Word<Code>>>(1)?.map(|code| code.0),
                    first: row.get(2)?,
                    proved: row.get(3)?,
                    runs: row.get::<_, i64>(4)?.cast_unsigned(),
                })
            })
            .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
            .map_err(&doing)?;
        Ok(Yield::from_groups(&groups))
    }

    /// How far a work order is; none if no run was for it.
    pub fn order(&self, work_order: &str) -> Result<Option<OrderProgress>, StoreError> {
        self.conn
            .prepare_cached(
                "SELECT order_quantity, order_product,
                     (SELECT count(DISTINCT device) FROM run WHERE order_id = ?1),
                     (SELECT count(DISTINCT device) FROM run WHERE order_id = ?1 AND verdict = 'pass'),
                     (SELECT count(DISTINCT device) FROM run WHERE order_id = ?1 AND verdict = 'owed'),
                     (SELECT count(DISTINCT device) FROM run WHERE order_id = ?1 AND verdict IN ('pass', 'owed'))
                 FROM run WHERE order_id = ?1 ORDER BY started DESC, id DESC LIMIT 1",
            )
            .and_then(|mut query| {
                query
                    .query_map([work_order], |row| {
                        Ok(OrderProgress {
                            quantity: row.get(0)?,
                            product: row.get::<_, Option<Word<_>>>(1)?.map(|word| word.0),
                            devices: row.get::<_, i64>(2)?.cast_unsigned(),
                            passed: row.get::<_, i64>(3)?.cast_unsigned(),
                            owed: row.get::<_, i64>(4)?.cast_unsigned(),
                            done: row.get::<_, i64>(5)?.cast_unsigned(),
                        })
                    })?
                    .next()
                    .transpose()
            })
            .map_err(sql("counting runs"))
    }
}

struct Group {
    verdict: Verdict,
    code: Option<Code>,
    first: bool,
    proved: bool,
    runs: u64,
}

impl Yield {
    fn from_groups(groups: &[Group]) -> Self {
        let sum = |wanted: &dyn Fn(&Group) -> bool| groups.iter().filter(|group| wanted(group)).map(|group| group.runs).sum();
        let mut codes: Vec<(Code, u64)> = Code::ALL
            .iter()
            .map(|code| (*code, sum(&|group| group.code == Some(*code))))
            .filter(|(_, runs)| *runs > 0)
            .collect();
        codes.sort_by_key(|(_, runs)| std::cmp::Reverse(*runs));
        Self {
            verdicts: Verdict::ALL
                .iter()
                .map(|verdict| (*verdict, sum(&|group| group.verdict == *verdict)))
                .collect(),
            first_runs: sum(&|group| group.first),
            first_passes: sum(&|group| group.first && group.verdict == Verdict::Pass),
            proved: sum(&|group| group.proved),
            codes,
        }
    }
}

fn count(conn: &Connection, text: &str) -> Result<u64, StoreError> {
    conn.prepare_cached(text)
        .and_then(|mut query| query.query_row([], |row| row.get::<_, i64>(0)))
        .map(i64::cast_unsigned)
        .map_err(sql("counting"))
}
