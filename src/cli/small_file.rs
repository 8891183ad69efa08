//! Files that come from elsewhere: small ones, read whole or not at all. A pipe, a device or a directory under such a
//! name is refused, and nothing makes the program wait.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use zeroize::Zeroizing;

/// Why such a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum SmallFileError {
    /// It cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("this is not a file")]
    NotAFile,
    /// It is larger than any such file.
    #[error("this is larger than {most} bytes")]
    TooLarge {
        /// The most that is read.
        most: usize,
    },
}

/// Reads a file of at most so many bytes. A private key may be in it: what was read is overwritten when it is dropped.
pub(super) fn read(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, SmallFileError> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(SmallFileError::NotAFile);
    }
    // One allocation, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(SmallFileError::TooLarge { most });
    }
    Ok(bytes)
}

/// The largest file of a key or a manifest: real ones have less than a thousand bytes.
pub(super) const MOST_KEY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_is_read_and_only_a_small_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap().len(), 10);
        assert!(matches!(read(&path, 9), Err(SmallFileError::TooLarge { most: 9 })));
        assert!(matches!(read(dir.path(), 9), Err(SmallFileError::NotAFile)));
        assert!(matches!(read(Path::new("/dev/zero"), 9), Err(SmallFileError::NotAFile)));
        assert!(matches!(read(&dir.path().join("none"), 9), Err(SmallFileError::Io(_))));
    }
}
