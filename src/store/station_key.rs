//! The file of the station key, which seals undo copies. It protects a copied ledger, so it must not lie where the
//! ledger lies. Owns the file; what the key is used for is the business of [`crate::keys`].

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::model::Secret;

use super::files::{self, NotAlone};

/// Why there is no station key. Nothing can be sealed then, so no key slot is written.
#[derive(Debug, thiserror::Error)]
pub enum StationKeyError {
    /// It lies with the ledger.
    #[error("the station key \"{}\" lies in the ledger's directory: whoever copies the ledger would have it too; move it elsewhere", .path.display())]
    WithLedger {
        /// The file.
        path: PathBuf,
    },
    /// Group or others can read it.
    #[error("the station key \"{}\" has mode {mode:03o}: it is for its owner alone (chmod 600)", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user owns it, and can change it.
    #[error("the station key \"{}\" belongs to user {owner}, not to the one who runs the station", .path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It is not a file of 32 bytes. It is left alone: undo copies may be sealed with what it was.
    #[error("the station key \"{}\" is not a file of {STATION_KEY_LEN} bytes: put back the right one", .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
    },
    /// It could not be used.
    #[error("{doing} the station key \"{}\" failed", .path.display())]
    File {
        /// What we were doing.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the station key, and makes it of `fresh` bytes, mode 0600, where it is missing.
///
/// It refuses a file that others can read or own, and one in the ledger's directory or below it.
pub fn station_key(
    path: &Path,
    ledger_dir: &Path,
    fresh: impl FnOnce() -> Secret<[u8; STATION_KEY_LEN]>,
) -> Result<Secret<[u8; STATION_KEY_LEN]>, StationKeyError> {
    apart_from_ledger(path, ledger_dir)?;
    match fs::File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, &fresh())?;
            // Through the same checks as at every other start.
            read(path, fs::File::open(path).map_err(failed("opening", path))?)
        }
        Err(error) => Err(failed("opening", path)(error)),
    }
}

/// Checks a station key as [`station_key`] does, and makes nothing. True if it is there; a missing one is fine, the
/// station makes it.
pub fn check_station_key(path: &Path, ledger_dir: &Path) -> Result<bool, StationKeyError> {
    apart_from_ledger(path, ledger_dir)?;
    match fs::File::open(path) {
        Ok(file) => read(path, file).map(|_| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("opening", path)(error)),
    }
}

fn apart_from_ledger(path: &Path, ledger_dir: &Path) -> Result<(), StationKeyError> {
    // A link in the ledger's directory, or one that leads into it, is as bad as the file itself.
    let mut places = vec![nearest(parent(path)).map_err(failed("looking for", path))?];
    if let Ok(real) = fs::canonicalize(path) {
        places.push(real);
    }
    match fs::canonicalize(ledger_dir) {
        Ok(ledger) if places.iter().any(|place| place.starts_with(&ledger)) => {
            Err(StationKeyError::WithLedger { path: path.to_owned() })
        }
        Ok(_) => Ok(()),
        // Where the ledger will be made.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.starts_with(ledger_dir) => {
            Err(StationKeyError::WithLedger { path: path.to_owned() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("comparing the ledger's directory with", path)(error)),
    }
}

/// The real place of a directory, or of the nearest one above it that exists.
fn nearest(dir: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir != parent(dir) => nearest(parent(dir)),
        other => other,
    }
}

fn read(path: &Path, mut file: fs::File) -> Result<Secret<[u8; STATION_KEY_LEN]>, StationKeyError> {
    let found = file.metadata().map_err(failed("reading", path))?;
    let path = path.to_owned();
    if !found.is_file() || found.len() != STATION_KEY_LEN as u64 {
        return Err(StationKeyError::Shape { path });
    }
    match files::owners_alone(&found) {
        Ok(()) => {}
        Err(NotAlone::Exposed(mode)) => return Err(StationKeyError::Exposed { path, mode }),
        Err(NotAlone::Owner(owner)) => return Err(StationKeyError::Owner { path, owner }),
    }
    let mut key = Zeroizing::new([0; STATION_KEY_LEN]);
    file.read_exact(key.as_mut()).map_err(failed("reading", &path))?;
    Ok(Secret::new(*key))
}

/// Whole under its name or not at all; one that another station made meanwhile is kept.
fn create(path: &Path, key: &Secret<[u8; STATION_KEY_LEN]>) -> Result<(), StationKeyError> {
    let dir = parent(path);
    files::private_parents(dir).map_err(failed("making the directory of", path))?;
    let mut half = tempfile::NamedTempFile::new_in(dir).map_err(failed("creating", path))?;
    half.write_all(key.expose())
        .and_then(|()| half.as_file().sync_all())
        .map_err(failed("writing", path))?;
    match half.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("naming", path)(error.error)),
    }
    files::sync_dir(dir).map_err(failed("writing", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StationKeyError {
    let path = path.to_owned();
    move |source| StationKeyError::File { doing, path, source }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Length of the key, in bytes: that of the cipher that seals with it.
pub const STATION_KEY_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn never() -> Secret<[u8; STATION_KEY_LEN]> {
        panic!("a key that is there is never made anew")
    }

    #[test]
    fn it_is_made_once_and_then_read() {
        let top = tempfile::tempdir().unwrap();
        let (path, ledger) = (top.path().join("keys/station.key"), top.path().join("ledger"));
        assert!(!check_station_key(&path, &ledger).unwrap());
        assert!(!path.parent().unwrap().exists(), "a check makes nothing");
        let made = station_key(&path, &ledger, || Secret::new([7; 32])).unwrap();
        assert_eq!(made.expose(), &[7; 32]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::create_dir(&ledger).unwrap();
        assert_eq!(station_key(&path, &ledger, never).unwrap().expose(), &[7; 32]);
        assert!(check_station_key(&path, &ledger).unwrap());
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn it_never_lies_with_the_ledger_not_even_through_a_link() {
        let top = tempfile::tempdir().unwrap();
        let ledger = top.path().join("ledger");
        fs::create_dir_all(ledger.join("below")).unwrap();
        let fresh = || Secret::new([7; 32]);
        let future = top.path().join("later");
        assert!(check_station_key(&future.join("station.key"), &future).is_err());
        for path in [ledger.join("station.key"), ledger.join("below/station.key")] {
            let refused = station_key(&path, &ledger, fresh).unwrap_err();
            assert!(matches!(refused, StationKeyError::WithLedger { .. }), "{refused}");
            assert!(!path.exists());
        }
        let outside = top.path().join("station.key");
        station_key(&outside, &ledger, fresh).unwrap();
        let link = ledger.join("link.key");
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        assert!(matches!(
            station_key(&link, &ledger, never),
            Err(StationKeyError::WithLedger { .. })
        ));
        fs::rename(&outside, ledger.join("real.key")).unwrap();
        std::os::unix::fs::symlink(ledger.join("real.key"), &outside).unwrap();
        assert!(matches!(
            station_key(&outside, &ledger, never),
            Err(StationKeyError::WithLedger { .. })
        ));
    }

    #[test]
    fn what_others_can_read_or_what_is_no_key_is_refused_and_left_alone() {
        let top = tempfile::tempdir().unwrap();
        let (path, ledger) = (top.path().join("station.key"), top.path().join("ledger"));
        station_key(&path, &ledger, || Secret::new([7; 32])).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(station_key(&path, &ledger, never), Err(StationKeyError::Exposed { mode: found, .. }) if found == mode)
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for bad in [&[][..], &[7; 31], &[7; 33]] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(
                station_key(&path, &ledger, never),
                Err(StationKeyError::Shape { .. })
            ));
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
        assert!(matches!(
            station_key(top.path(), &ledger, never),
            Err(StationKeyError::Shape { .. })
        ));
    }
}
