//! What can go wrong with the ledger, and by whose doing.

use std::{fmt, io, path::PathBuf};

use crate::model::{Fingerprint, RunId, outbox::ItemId, recipe::Sha256};

/// Why the ledger could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another station holds the lock.
    #[error("another station runs on this ledger{}: stop it, or give this station a ledger of its own", by(.pid))]
    Locked {
        /// The process that holds it, as its lock file says.
        pid: Option<u32>,
    },
    /// A newer program wrote the ledger. Nothing was changed; it can still be read.
    #[error(
        "the ledger \"{}\" has schema {found} and this keyrack knows schemas up to {known}: start a newer keyrack; \
         reports can still be read with this one", .path.display()
    )]
    Newer {
        /// The ledger file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this program knows.
        known: u32,
    },
    /// An older program wrote the ledger, and it was opened for reading only.
    #[error("the ledger \"{}\" has the older schema {found}: start the station once, which brings it up to date", .path.display())]
    Older {
        /// The ledger file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// The file is a database, but not a ledger of keyrack.
    #[error("\"{}\" is not a ledger of keyrack: it was left alone", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There is no ledger yet.
    #[error("there is no ledger at \"{}\": start the station once, which makes it", .path.display())]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Group or others can enter the directory.
    #[error("\"{}\" has mode {mode:03o}: a ledger's directory is for its owner alone (chmod 700)", .path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The disk, or the quota, is full. Nothing was written.
    #[error("the disk is full while {doing}")]
    Full {
        /// What we were doing.
        doing: &'static str,
    },
    /// The fact contradicts the ledger: a bug of the caller. Nothing was written.
    #[error("the fact \"{kind}\" contradicts the ledger")]
    Illegal {
        /// The kind of the fact.
        kind: &'static str,
        /// How.
        source: Illegal,
    },
    /// A row of the journal cannot be understood.
    #[error("record {seq} of the journal cannot be read")]
    Record {
        /// Its sequence number.
        seq: u64,
        /// Why.
        source: BadRecord,
    },
    /// The ledger does not hold the key that it was given, byte for byte.
    #[error("the ledger does not hold key {} of the device as it should", .fingerprint.short())]
    Key {
        /// The key that was looked for.
        fingerprint: Fingerprint,
        /// What was found.
        source: BadKey,
    },
    /// A migration failed and was rolled back; the ledger is as it was.
    #[error("bringing the ledger to a newer schema failed at \"{name}\"; it is as it was")]
    Migration {
        /// The step that failed.
        name: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// A copy of the ledger would lie where the ledger lies.
    #[error("a copy at \"{}\" would be lost with the ledger beside it: choose another disk", .path.display())]
    CopyInside {
        /// Where it was to be written.
        path: PathBuf,
    },
    /// A copy was made and does not prove equal; it was removed.
    #[error("the copy \"{}\" differs from the ledger and was removed: {what}", .path.display())]
    CopyDiffers {
        /// Where it was to be written.
        path: PathBuf,
        /// How it differs.
        what: String,
    },
    /// An undo copy on disk is not the one that was sealed.
    #[error("the undo copy \"{}\" is not what was sealed", .path.display())]
    UndoDiffers {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("{doing} \"{}\" failed", .path.display())]
    File {
        /// What we were doing.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database refused.
    #[error("{doing} failed")]
    Sqlite {
        /// What we were doing.
        doing: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
}

/// How a fact contradicts the ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// No such run was started.
    #[error("run {0} was never started")]
    UnknownRun(RunId),
    /// A run starts once.
    #[error("run {0} was started before")]
    RunTwice(RunId),
    /// The run ended before.
    #[error("run {0} has ended")]
    RunClosed(RunId),
    /// A packet is taken once.
    #[error("packet {0} was taken before, or is a run")]
    PacketTwice(RunId),
    /// The packet has its result.
    #[error("packet {0} has ended")]
    PacketClosed(RunId),
    /// The text of the recipe is not on disk, so the run could not be resumed.
    #[error("recipe {} was never recorded", .0.short())]
    UnknownRecipe(Sha256),
    /// No such item was queued.
    #[error("item {0} was never queued")]
    UnknownItem(ItemId),
    /// The item is still owed.
    #[error("item {0} is owed already")]
    ItemTwice(ItemId),
    /// The item must not be sent in its present state.
    #[error("item {0} is not to be sent now")]
    NotQueued(ItemId),
    /// An answer to an attempt that was never made.
    #[error("attempt {attempt} of item {item} was never sent")]
    NotSent {
        /// The item.
        item: ItemId,
        /// The attempt.
        attempt: u32,
    },
    /// A public key whose parts do not fit.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// An undo copy that was never sealed.
    #[error("no undo copy was sealed for run {0}")]
    NoUndo(RunId),
    /// Restore data that were never sealed.
    #[error("no restore data were sealed for run {0}")]
    NoRestore(RunId),
    /// A run is diagnosed once.
    #[error("run {0} was diagnosed before")]
    DiagnosedTwice(RunId),
    /// Only what is quarantined can be released, and only once.
    #[error("run {0} did not leave its device quarantined, or was released before")]
    NotQuarantined(RunId),
    /// The key that a fact speaks of is not in the ledger.
    #[error("key {} of the device was never recorded", .0.short())]
    UnknownKey(Fingerprint),
}

/// What is wrong with a public key, or with its row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// There is no row for it.
    #[error("there is no row for it")]
    Absent,
    /// Not the length of its kind.
    #[error("its public key has {found} bytes instead of {expected}")]
    Length {
        /// The length that it has.
        found: usize,
        /// The length of its kind.
        expected: usize,
    },
    /// The fingerprint is another key's.
    #[error("its public key has the fingerprint {}", .found.short())]
    Fingerprint {
        /// The fingerprint of the bytes that are there.
        found: Fingerprint,
    },
}

/// Why a row of the journal cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// A newer program wrote it.
    #[error("its encoding {found} is newer than {known}")]
    Version {
        /// The version of its encoding.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Its bytes are not a fact.
    #[error("its bytes are not a fact")]
    Body(#[source] serde_json::Error),
    /// Its instant is outside of what a calendar has.
    #[error("its instant {0} is out of range")]
    Instant(i64),
}

/// Maps an error of the database to [`StoreError`], with what we were doing.
pub(super) fn sql(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full { doing },
        _ => StoreError::Sqlite { doing, source },
    }
}

/// Maps an error of the file system to [`StoreError`], with what we were doing and with which file.
pub(super) fn file(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { doing },
        _ => StoreError::File { doing, path, source },
    }
}

fn by(pid: &Option<u32>) -> impl fmt::Display + use<> {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
