//! Connections and their settings. Everything that opens the ledger's file opens it here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    error::{StoreError, file, sql},
    files,
    migrate::{self, Version},
    schema::MIGRATIONS,
};

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk.
    #[default]
    PowerCut,
    /// When the operating system has it: a power cut loses commits. For tests in one process only.
    UnsafeForTests,
}

/// The ledger's file in its directory.
pub(super) fn ledger_path(dir: &Path) -> PathBuf {
    dir.join("ledger.db")
}

/// The connection of the one writer; the file is made where it is missing. The caller holds the station lock.
pub(super) fn writer(path: &Path, durability: Durability) -> Result<Connection, StoreError> {
    let doing = sql("opening the ledger");
    // SQLite gives its -wal and -shm files the mode of the database.
    files::private_file(path).map_err(file("opening the ledger", path))?;
    let conn =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(&doing)?;
    // Before anything is changed: the file may be somebody else's.
    migrate::version(&conn, path)?;
    harden(&conn).map_err(&doing)?;
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(&doing)?;
    debug_assert_eq!(mode, "wal", "a file on a local disk can have a write-ahead log");
    let synchronous = match durability {
        Durability::PowerCut => "FULL",
        Durability::UnsafeForTests => "OFF",
    };
    conn.pragma_update(None, "synchronous", synchronous).map_err(&doing)?;
    conn.pragma_update(None, "foreign_keys", true).map_err(&doing)?;
    conn.pragma_update(None, "journal_size_limit", WAL_LIMIT).map_err(&doing)?;
    conn.pragma_update(None, "cache_size", CACHE).map_err(&doing)?;
    Ok(conn)
}

/// A connection that can only read. It never waits for the writer, nor the writer for it. A newer ledger is allowed:
/// what is asked of it may fail, nothing can be harmed.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Absent { path: path.to_owned() });
    }
    let doing = sql("opening the ledger for reading");
    let conn =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(&doing)?;
    harden(&conn).map_err(&doing)?;
    conn.pragma_update(None, "query_only", true).map_err(&doing)?;
    match migrate::version(&conn, path)? {
        Version::Fresh => Err(StoreError::Absent { path: path.to_owned() }),
        Version::Ledger(found) if (found as usize) < MIGRATIONS.len() => Err(StoreError::Older {
            path: path.to_owned(),
            found,
        }),
        Version::Ledger(_) => Ok(conn),
    }
}

/// Settings that keep a damaged or prepared file from doing harm, and statements ready.
pub(super) fn harden(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// The only thing that can make the writer wait is the first reader after a crash, which recovers the log: well
/// under a second.
const BUSY: Duration = Duration::from_secs(5);

/// More than there are statements in this module.
const STATEMENTS: usize = 128;

/// The write-ahead log is cut to this after a checkpoint, in bytes: a long read (a copy) lets it grow.
const WAL_LIMIT: i64 = 64 << 20;

/// Memory of the writer for pages, in KiB as SQLite wants it: negative. The inner pages of every index of a million
/// devices fit.
const CACHE: i64 = -16 * 1024;
