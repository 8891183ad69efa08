//! Brings a ledger file to the schema of this program: each step in one transaction, after a copy of the older file.
//! Must not know what the tables mean.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{
    backup,
    error::{StoreError, sql},
    schema::APPLICATION_ID,
};

/// One step from a schema to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    /// What it is about, for the error text.
    pub(super) name: &'static str,
    /// Its statements.
    pub(super) sql: &'static str,
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Nothing in it yet.
    Fresh,
    /// A ledger with this many migrations, from 1.
    Ledger(u32),
}

/// Reads what a file says of itself; refuses a file that is somebody else's.
pub(super) fn version(conn: &Connection, path: &Path) -> Result<Version, StoreError> {
    let doing = sql("reading the version of the ledger");
    let id: i32 = conn
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(&doing)?;
    let version: i32 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(&doing)?;
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(&doing)?;
    match (id, u32::try_from(version)) {
        (0, Ok(0)) if tables == 0 => Ok(Version::Fresh),
        (APPLICATION_ID, Ok(version)) if version > 0 => Ok(Version::Ledger(version)),
        _ => Err(StoreError::Foreign { path: path.to_owned() }),
    }
}

/// Applies what is missing. A newer file is refused and untouched; an older one is first copied beside itself, to
/// `ledger-schema-N.db`.
pub(super) fn migrate(conn: &mut Connection, path: &Path, migrations: &[Migration]) -> Result<(), StoreError> {
    let known = u32::try_from(migrations.len()).expect("there are few migrations");
    let done = match version(conn, path)? {
        Version::Fresh => 0,
        Version::Ledger(found) if found > known => {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known,
            });
        }
        Version::Ledger(found) => found,
    };
    if done > 0 && done < known {
        backup::copy(conn, &path.with_file_name(format!("ledger-schema-{done}.db")), &mut |_| {})?;
    }
    for (step, migration) in (1_i32..).zip(migrations).skip(done as usize) {
        let failed = |source| StoreError::Migration {
            name: migration.name,
            source,
        };
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        tx.execute_batch(migration.sql).map_err(failed)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        tx.pragma_update(None, "user_version", step).map_err(failed)?;
        tx.commit().map_err(failed)?;
    }
    Ok(())
}
