//! The ledger's directory, the undo copies, the station key, and the room on their disks.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::{Access, access, statvfs};

use super::Finding;
use crate::{
    cli::{exit::ExitCode, places},
    config::Station,
    store::{self, Reader, StoreError},
};

const LEDGER: &str = "ledger";
const UNDO: &str = "undo copies";
const DISK: &str = "disk";

/// Looks at everything that the station will write.
pub(super) fn look(state: &Path, station: Option<&Station>) -> Vec<Finding> {
    let dir = places::ledger(state);
    let mut findings = vec![directory(LEDGER, &dir)];
    findings.extend(ledger(&dir));
    findings.extend(room(&dir));
    if let Some((folder, key_file)) = station.and_then(|station| station.undo.places(state)) {
        findings.push(directory(UNDO, &folder));
        findings.push(match store::check_station_key(&key_file, &dir) {
            Ok(true) => Finding::fine(UNDO, format!("the key that seals them is \"{}\"", key_file.display())),
            Ok(false) => Finding::fine(
                UNDO,
                format!("the key that seals them will be made: \"{}\"", key_file.display()),
            ),
            Err(error) => Finding::of(
                UNDO,
                &error,
                "put the key outside of the ledger's directory, mode 600, or use undo = \"memory\"",
                ExitCode::Usage,
            ),
        });
    }
    findings
}

/// A directory that is its owner's alone, or that can be made.
fn directory(about: &'static str, dir: &Path) -> Finding {
    let name = dir.display();
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => Finding::error(
            about,
            format!("\"{name}\" is not a directory"),
            "name another one",
            ExitCode::Usage,
        ),
        Ok(found) if found.mode() & 0o077 != 0 => Finding::error(
            about,
            format!("\"{name}\" is open to others (mode {:03o})", found.mode() & 0o777),
            format!("run `chmod 700 {name}`"),
            ExitCode::Ledger,
        ),
        Ok(_) => match access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Finding::fine(about, format!("\"{name}\" is yours alone")),
            Err(_) => Finding::error(
                about,
                format!("\"{name}\" cannot be written by this user"),
                "run keyrack as the user that owns it",
                ExitCode::Ledger,
            ),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match access(nearest(dir), Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Finding::fine(about, format!("\"{name}\" will be made")),
            Err(_) => Finding::error(
                about,
                format!("\"{name}\" is missing and cannot be made by this user"),
                "make it for this user, mode 700, or name another one",
                ExitCode::Ledger,
            ),
        },
        Err(error) => Finding::error(
            about,
            format!("\"{name}\" cannot be looked at: {error}"),
            "look at the permissions of the directories above it",
            ExitCode::Ledger,
        ),
    }
}

/// What a ledger that is there says of itself.
fn ledger(state: &Path) -> Option<Finding> {
    let next = "see the text; `keyrack replay --verify` looks at all of it";
    match Reader::open(state).and_then(|reader| reader.counts()) {
        Ok(counts) if counts.apart > 0 => Some(Finding::warning(
            LEDGER,
            format!("{} devices are APART: their cloud may hold another key", counts.apart),
            "look with `keyrack devices --apart`",
        )),
        Ok(counts) => Some(Finding::fine(
            LEDGER,
            format!(
                "{} devices, {} records, {} items owed",
                counts.devices, counts.records, counts.owed
            ),
        )),
        // It will be made, or brought up to date, at the next start; an unreadable directory was said already.
        Err(StoreError::Absent { .. } | StoreError::Older { .. } | StoreError::Exposed { .. }) => None,
        Err(StoreError::File { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(Finding::of(LEDGER, &error, next, ExitCode::Ledger)),
    }
}

fn room(dir: &Path) -> Option<Finding> {
    let found = statvfs(nearest(dir)).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let mib = free / MIB;
    let what = format!("{mib} MiB free for \"{}\"", dir.display());
    Some(if free < LEAST {
        let next = "free disk space: without it nothing can be put on record, so nothing is done";
        Finding::error(DISK, what, next, ExitCode::Ledger)
    } else if free < LITTLE {
        Finding::warning(DISK, what, "free disk space before a long shift")
    } else if found.f_favail == 0 && found.f_files > 0 {
        Finding::error(
            DISK,
            "no file can be made: the file system has no inodes left",
            "remove files",
            ExitCode::Ledger,
        )
    } else {
        Finding::fine(DISK, what)
    })
}

/// The directory, or the nearest one above it that is there.
fn nearest(dir: &Path) -> &Path {
    let mut dir = dir;
    while !dir.exists() {
        dir = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => return Path::new("."),
        };
    }
    dir
}

const MIB: u64 = 1 << 20;

/// A device costs some 10 KiB of ledger; this is room for a day and for the write-ahead log.
const LEAST: u64 = 64 * MIB;

/// Below this it is worth a sentence.
const LITTLE: u64 = 1024 * MIB;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::check::Level;

    #[test]
    fn a_directory_is_private_or_can_be_made_or_is_an_error_with_what_to_do() {
        let top = tempfile::tempdir().unwrap();
        assert_eq!(directory(LEDGER, &top.path().join("a/b/c")).level, Level::Fine);
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0, "a check makes nothing");
        let open = top.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let found = directory(LEDGER, &open);
        assert_eq!((found.level, found.exit), (Level::Error, ExitCode::Ledger));
        assert!(found.next.unwrap().starts_with("run `chmod 700 "));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(directory(LEDGER, &open).level, Level::Fine);
        fs::write(open.join("file"), "").unwrap();
        assert_eq!(directory(LEDGER, &open.join("file")).exit, ExitCode::Usage);
    }

    #[test]
    fn the_room_on_a_disk_is_found_also_for_what_is_not_there_yet() {
        let top = tempfile::tempdir().unwrap();
        assert!(room(&top.path().join("not/yet")).is_some());
        assert_eq!(nearest(Path::new("no-such-directory/x")), Path::new("."));
    }
}
