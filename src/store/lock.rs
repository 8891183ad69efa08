//! One station on one ledger: a lock on `station.lock` that ends with its process, however that ends.

use std::{
    fs::{File, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    path::Path,
};

use super::{
    error::{StoreError, file},
    files,
};

/// Holds the lock for as long as it lives.
#[derive(Debug)]
pub(super) struct StationLock {
    file: File,
}

impl StationLock {
    /// Takes the lock of a ledger's directory, and leaves the process id in it for whoever comes second.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(NAME);
        let mut lock = files::private_file(&path).map_err(file("opening the lock", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only for the message: the lock is what counts.
                let _ = lock.read_to_string(&mut text);
                return Err(StoreError::Locked {
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(file("taking the lock", &path)(error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(file("writing the lock", &path))?;
        Ok(Self { file: lock })
    }
}

impl Drop for StationLock {
    /// Gives the lock up by itself, and not only by closing the file: a process that another thread is starting right now
    /// has the same file open until it becomes its own program, and with it the lock.
    fn drop(&mut self) {
        // If that fails, closing does it, a moment later.
        let _ = self.file.unlock();
    }
}

/// True while a station works on the ledger in this directory.
///
/// # Errors
/// If there is a lock that cannot be looked at.
pub fn is_in_use(dir: &Path) -> Result<bool, StoreError> {
    let path = dir.join(NAME);
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(file("opening the lock", &path)(error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(file("looking at the lock", &path)(error)),
    }
}

const NAME: &str = "station.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_station_learns_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_in_use(dir.path()).unwrap(), "there is no lock yet");
        let first = StationLock::take(dir.path()).unwrap();
        assert!(is_in_use(dir.path()).unwrap());
        let refused = StationLock::take(dir.path()).unwrap_err();
        assert!(matches!(refused, StoreError::Locked { pid: Some(pid) } if pid == std::process::id()));
        assert!(refused.to_string().contains(&format!("(process {})", std::process::id())));
        drop(first);
        assert!(!is_in_use(dir.path()).unwrap());
        StationLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_that_was_given_up_is_not_held_by_a_process_that_is_just_starting() {
        let dir = tempfile::tempdir().unwrap();
        let first = StationLock::take(dir.path()).unwrap();
        // What a process has between fork and exec: the same open file.
        let inherited = first.file.try_clone().unwrap();
        drop(first);
        StationLock::take(dir.path()).unwrap();
        drop(inherited);
    }
}
