//! The files of sealed undo copies. They come sealed and leave sealed: this module never sees a private key, and it
//! keeps them out of journal, backup and replica by being a directory of its own.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sha2::Digest;

use crate::model::{DeviceId, RunId, recipe::Sha256};

use super::{
    error::{StoreError, file},
    files,
};

/// The directory of sealed undo copies; one file for each run and device.
#[derive(Debug)]
pub struct UndoVault {
    dir: PathBuf,
}

/// A sealed undo copy on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UndoFile {
    /// The run that made it.
    pub run: RunId,
    /// The device that it belongs to.
    pub device: DeviceId,
}

impl UndoVault {
    /// Opens the directory, for the owner alone, and makes it where it is missing. What a power cut left half written
    /// is removed: no fact speaks of it. Only the station that holds the ledger may do this.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        files::private_dir(dir)?;
        for entry in fs::read_dir(dir).map_err(file("reading the directory", dir))? {
            let path = entry.map_err(file("reading the directory", dir))?.path();
            if name_of(&path).starts_with(HALF_WRITTEN) {
                destroy(&path)?;
            }
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Stores a sealed copy and returns its SHA-256. When it returns, the bytes are on disk, under their name, and were
    /// read back. An older copy of the same run and device is replaced only by the whole new one.
    pub fn put(&self, run: RunId, device: DeviceId, sealed: &[u8]) -> Result<Sha256, StoreError> {
        let path = self.path(UndoFile { run, device });
        let doing = "writing the undo copy";
        let mut half = tempfile::Builder::new()
            .prefix(HALF_WRITTEN)
            .tempfile_in(&self.dir)
            .map_err(file(doing, &path))?;
        half.write_all(sealed)
            .and_then(|()| half.as_file().sync_all())
            .map_err(file(doing, &path))?;
        half.persist(&path).map_err(|error| file(doing, &path)(error.error))?;
        files::sync_dir(&self.dir).map_err(file(doing, &path))?;
        if read(&path)?.as_deref() != Some(sealed) {
            return Err(StoreError::UndoDiffers { path });
        }
        Ok(digest(sealed))
    }

    /// The sealed copy of this run and device, if it is there. It must be the one whose SHA-256 the journal has.
    pub fn get(&self, run: RunId, device: DeviceId, sha256: Sha256) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(UndoFile { run, device });
        match read(&path)? {
            Some(sealed) if digest(&sealed) != sha256 => Err(StoreError::UndoDiffers { path }),
            other => Ok(other),
        }
    }

    /// Destroys the copy of this run and device; one that is gone already is no error. Its bytes are overwritten, which
    /// on flash media and copying file systems is worth little: that they are sealed is what counts.
    pub fn destroy(&self, run: RunId, device: DeviceId) -> Result<(), StoreError> {
        destroy(&self.path(UndoFile { run, device }))
    }

    /// All copies, in the order of their runs. Other files in the directory are not ours and are left out.
    pub fn list(&self) -> Result<Vec<UndoFile>, StoreError> {
        let doing = "reading the directory";
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(file(doing, &self.dir))? {
            let path = entry.map_err(file(doing, &self.dir))?.path();
            found.extend(UndoFile::parse(&name_of(&path)));
        }
        found.sort();
        Ok(found)
    }

    fn path(&self, undo: UndoFile) -> PathBuf {
        self.dir.join(undo.name())
    }
}

impl UndoFile {
    fn name(self) -> String {
        format!("{}.{}.undo", self.run, self.device)
    }

    fn parse(name: &str) -> Option<Self> {
        let (run, device) = name.strip_suffix(".undo")?.split_once('.')?;
        Some(Self {
            run: RunId(run.parse().ok()?),
            device: device.parse().ok()?,
        })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let mut sealed = Vec::new();
    match fs::File::open(path).and_then(|mut file| file.read_to_end(&mut sealed)) {
        Ok(_) => Ok(Some(sealed)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file("reading the undo copy", path)(error)),
    }
}

fn destroy(path: &Path) -> Result<(), StoreError> {
    // Best effort: whether it succeeds or not, the file goes.
    let _ = overwrite(path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file("destroying the undo copy", path)(error)),
        _ => {}
    }
    let dir = path.parent().expect("a file of the vault lies in its directory");
    files::sync_dir(dir).map_err(file("destroying the undo copy", path))
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    let len = file.metadata()?.size();
    io::copy(&mut io::repeat(0).take(len), &mut file)?;
    file.sync_all()
}

fn digest(bytes: &[u8]) -> Sha256 {
    crate::model::Fingerprint(sha2::Sha256::digest(bytes).into())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// How the names of files begin that are not whole yet.
const HALF_WRITTEN: &str = ".half-";

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> (tempfile::TempDir, UndoVault, UndoFile) {
        let dir = tempfile::tempdir().unwrap();
        let vault = UndoVault::open(&dir.path().join("undo")).unwrap();
        let undo = UndoFile {
            run: RunId(uuid::Uuid::from_u128(7)),
            device: DeviceId::from_bytes([0xab; 12]),
        };
        (dir, vault, undo)
    }

    #[test]
    fn a_copy_is_private_read_back_and_destroyed() {
        let (_dir, vault, UndoFile { run, device }) = vault();
        let sha256 = vault.put(run, device, b"sealed bytes").unwrap();
        let path = vault.path(UndoFile { run, device });
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&vault.dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(vault.list().unwrap(), [UndoFile { run, device }]);
        assert_eq!(vault.get(run, device, sha256).unwrap().unwrap(), b"sealed bytes");

        let newer = vault.put(run, device, b"newer").unwrap();
        assert_ne!(newer, sha256);
        assert_eq!(vault.get(run, device, newer).unwrap().unwrap(), b"newer");
        assert!(matches!(vault.get(run, device, sha256), Err(StoreError::UndoDiffers { .. })));

        // A second name of the same file shows what destroying leaves of the bytes.
        let witness = vault.dir.join("witness");
        fs::hard_link(&path, &witness).unwrap();
        vault.destroy(run, device).unwrap();
        vault.destroy(run, device).unwrap();
        assert_eq!(fs::read(witness).unwrap(), [0; 5]);
        assert_eq!(vault.get(run, device, newer).unwrap(), None);
        assert_eq!(vault.list().unwrap(), []);
    }

    #[test]
    fn what_a_power_cut_left_half_written_is_removed_and_foreign_files_stay() {
        let (_dir, vault, UndoFile { run, device }) = vault();
        let sha256 = vault.put(run, device, b"whole").unwrap();
        fs::write(vault.dir.join(".half-abc"), "sea").unwrap();
        fs::write(vault.dir.join("notes.txt"), "mine").unwrap();
        let vault = UndoVault::open(&vault.dir).unwrap();
        assert!(!vault.dir.join(".half-abc").exists());
        assert!(vault.dir.join("notes.txt").exists());
        assert_eq!(vault.list().unwrap(), [UndoFile { run, device }]);
        assert_eq!(vault.get(run, device, sha256).unwrap().unwrap(), b"whole");
    }

    #[test]
    fn a_damaged_copy_is_never_handed_out() {
        let (_dir, vault, UndoFile { run, device }) = vault();
        let sha256 = vault.put(run, device, b"sealed").unwrap();
        fs::write(vault.path(UndoFile { run, device }), b"sealee").unwrap();
        assert!(matches!(vault.get(run, device, sha256), Err(StoreError::UndoDiffers { .. })));
    }
}
