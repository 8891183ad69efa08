//! A second copy of the ledger, made while the station runs, and proved before it is called a copy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{
    error::{StoreError, file, sql},
    files,
    journal::Head,
};

/// How far a long task is, in units of its own (pages, records).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
}

/// A copy that was made and proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The last record in it.
    pub last_seq: u64,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// Copies the ledger to another directory. See [`copy`].
pub(super) fn copy_elsewhere(
    conn: &Connection,
    dir: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, StoreError> {
    let parent = parent(to);
    let real = |path: &Path| fs::canonicalize(path).map_err(file("opening the directory", path));
    if real(parent)?.starts_with(real(dir)?) {
        return Err(StoreError::CopyInside { path: to.to_owned() });
    }
    copy(conn, to, progress)
}

/// Copies the ledger to a file for the owner alone: written under another name, checked, synced, and only then renamed,
/// so that whatever has the name is a whole copy. An older copy of the same name is replaced.
///
/// The copy is of one instant; the station writes on meanwhile.
pub(super) fn copy(conn: &Connection, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Copied, StoreError> {
    let partial = Partial::create(to)?;
    // One read transaction over the whole copy: otherwise each commit of the station would start it again.
    let snapshot = conn.unchecked_transaction().map_err(sql("copying the ledger"))?;
    let head = Head::read(&snapshot)?;
    fill(&snapshot, &partial.path, progress)?;
    drop(snapshot);
    prove(&partial.path, head).map_err(|what| match what {
        Unproved::Differs(what) => StoreError::CopyDiffers {
            path: to.to_owned(),
            what,
        },
        Unproved::Store(error) => error,
    })?;
    let bytes = partial.keep(to)?;
    Ok(Copied {
        last_seq: head.seq,
        bytes,
    })
}

fn fill(conn: &Connection, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
    let doing = sql("copying the ledger");
    let mut target = Connection::open(to).map_err(&doing)?;
    let backup = Backup::new(conn, &mut target).map_err(&doing)?;
    loop {
        let step = backup.step(PAGES_PER_STEP).map_err(&doing)?;
        let now = backup.progress();
        let total = u64::try_from(now.pagecount).unwrap_or(0);
        progress(Progress {
            done: total.saturating_sub(u64::try_from(now.remaining).unwrap_or(0)),
            total,
        });
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // The copy is ours alone and the source is held by our own read transaction.
            _ => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(doing(rusqlite::Error::SqliteFailure(busy, None)));
            }
        }
    }
    drop(backup);
    // The copied header asks for a write-ahead log; a copy is one file.
    target
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
        .map_err(&doing)?;
    target.close().map_err(|(_, error)| doing(error))
}

enum Unproved {
    Differs(String),
    Store(StoreError),
}

fn prove(copy: &Path, head: Head) -> Result<(), Unproved> {
    let doing = sql("checking the copy");
    let conn = Connection::open_with_flags(copy, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|error| Unproved::Store(doing(error)))?;
    let found: String = conn
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| Unproved::Store(doing(error)))?;
    if found != "ok" {
        return Err(Unproved::Differs(found));
    }
    let copied = Head::read(&conn).map_err(Unproved::Store)?;
    if copied != head {
        return Err(Unproved::Differs(format!(
            "it ends at record {} and the ledger at {}",
            copied.seq, head.seq
        )));
    }
    Ok(())
}

/// A file that is removed unless it is kept.
struct Partial {
    path: PathBuf,
    kept: bool,
}

impl Partial {
    fn create(to: &Path) -> Result<Self, StoreError> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let path = to.with_file_name(name);
        // Of a copy that was cut short.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file("replacing", &path)(error)),
            _ => {}
        }
        files::private_file(&path).map_err(file("creating", &path))?;
        Ok(Self { path, kept: false })
    }

    fn keep(mut self, to: &Path) -> Result<u64, StoreError> {
        let bytes = fs::File::open(&self.path)
            .and_then(|file| file.sync_all().and_then(|()| file.metadata()))
            .map_err(file("syncing", &self.path))?
            .len();
        fs::rename(&self.path, to)
            .and_then(|()| files::sync_dir(parent(to)))
            .map_err(file("naming the copy", to))?;
        self.kept = true;
        Ok(bytes)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing more can be done about it; the next copy removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// 1 MiB of pages: small enough for a smooth progress bar.
const PAGES_PER_STEP: i32 = 256;
