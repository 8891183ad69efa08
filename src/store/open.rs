//! The open runs and packets, of which a start takes up the work: which they are, and all their records. What the records mean is the
//! business of the core.

use std::{
    path::Path,
    thread::{self, ScopedJoinHandle},
};

use rusqlite::Connection;

use crate::model::{Record, RunId};

use super::{
    cell::Word,
    connect,
    error::{StoreError, sql},
    journal,
};

/// Every record of every open run and packet, oldest first. `path` is the file that `conn` has open.
pub(super) fn records(conn: &Connection, path: &Path) -> Result<Vec<Record>, StoreError> {
    let runs = runs(conn)?;
    let mut records = if runs.len() <= FEW {
        of(conn, &runs)?
    } else {
        side_by_side(path, &runs)?
    };
    records.sort_unstable_by_key(|record| record.seq);
    Ok(records)
}

/// The runs and packets that have not ended or still owe something to the cloud.
fn runs(conn: &Connection) -> Result<Vec<RunId>, StoreError> {
    conn.prepare_cached(
        "SELECT id FROM run WHERE ended IS NULL
         UNION SELECT id FROM packet WHERE ended_at IS NULL
         UNION SELECT run FROM item WHERE settled_at IS NULL ORDER BY 1",
    )
    .and_then(|mut query| {
        query
            .query_map([], |row| row.get::<_, Word<RunId>>(0).map(|word| word.0))
            .and_then(Iterator::collect)
    })
    .map_err(sql("looking for open runs"))
}

fn of(conn: &Connection, runs: &[RunId]) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    for run in runs {
        records.extend(journal::of_run(conn, *run)?);
    }
    Ok(records)
}

/// Runs that wait for their device, or for a cloud that is away, lie all over the file, and after a power cut nothing of
/// it is in memory: one reader would wait for the disk a few times for each run. A disk answers many as soon as one.
fn side_by_side(path: &Path, runs: &[RunId]) -> Result<Vec<Record>, StoreError> {
    // These threads know no clock, and the caller waits for them: a virtual one need not know them.
    thread::scope(|scope| {
        let parts: Vec<ScopedJoinHandle<'_, _>> = runs
            .chunks(runs.len().div_ceil(READERS))
            .map(|runs| scope.spawn(|| of(&connect::reader(path)?, runs)))
            .collect();
        let mut records = Vec::new();
        for part in parts {
            records.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(records)
    })
}

/// So many runs are read before a second connection would be open.
const FEW: usize = 64;

/// Connections that read at once: more than there are processors, as they wait for the disk.
const READERS: usize = 16;
