//! Files with a secret in them: each is its owner's alone, or it is not read.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Why such a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be opened or read.
    #[error("reading the {what} \"{}\"", path.display())]
    Read {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner can read it: the secret may be known already.
    #[error("the {what} \"{}\" is open to others (mode {mode:04o}): run chmod 600 on it, and have the secret replaced if others use this machine", path.display())]
    Shared {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a directory, a pipe or a device.
    #[error("the {what} \"{}\" is not a file", path.display())]
    NotAFile {
        /// What it is.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// It does not hold what it should.
    #[error("{what}")]
    Content {
        /// What was read and what is wrong with it, without any of it.
        what: String,
    },
    /// It cannot be written.
    #[error("writing the {what} \"{}\"", path.display())]
    Write {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A file as errors name it.
pub(super) fn named(what: &str, path: &Path) -> String {
    format!("the {what} \"{}\"", path.display())
}

/// Reads the text of a file that has none of the `forbidden` permission bits.
pub(super) fn read(what: &'static str, path: &Path, forbidden: u32) -> Result<Zeroizing<String>, SecretFileError> {
    let path_of = || path.to_owned();
    let failed = |source| SecretFileError::Read {
        what,
        path: path_of(),
        source,
    };
    // Opened first, so that what is checked is what is read; a pipe must not make this wait.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(SecretFileError::NotAFile { what, path: path_of() });
    }
    let mode = meta.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(SecretFileError::Shared {
            what,
            path: path_of(),
            mode,
        });
    }
    let wrong = |how: String| SecretFileError::Content {
        what: format!("{} is {how}", named(what, path)),
    };
    // One allocation, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_FILE + 1));
    file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > LARGEST_FILE {
        return Err(wrong(format!("larger than {LARGEST_FILE} bytes")));
    }
    let text = str::from_utf8(&bytes).map_err(|_| wrong("not text".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Such a file is a few hundred bytes.
pub(super) const LARGEST_FILE: usize = 16 * 1024;
