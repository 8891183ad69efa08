//! Files for the owner alone, and durable ones: modes, synced directories. Knows nothing of what they hold.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use super::error::{StoreError, file};

/// Permission bits of group and others.
pub(super) const SHARED: u32 = 0o077;

/// Why a file is not its owner's alone.
pub(super) enum NotAlone {
    /// Group or others have these permission bits, among all of it.
    Exposed(u32),
    /// Another user owns it, and can change it.
    Owner(u32),
}

/// Checks that a file is for the user who runs the station alone. To be asked of the open file, so that what is checked is
/// what is read.
pub(super) fn owners_alone(found: &fs::Metadata) -> Result<(), NotAlone> {
    if found.mode() & SHARED != 0 {
        return Err(NotAlone::Exposed(found.mode() & 0o777));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(NotAlone::Owner(found.uid()));
    }
    Ok(())
}

/// Makes a directory for the owner alone, with its parents. An existing one is made so if it is empty; with anything in
/// it, it must be so already and is never changed: it may be `/tmp` or a home, named by mistake.
pub(super) fn private_dir(dir: &Path) -> Result<(), StoreError> {
    private_parents(dir).map_err(file("creating the directory", dir))?;
    let mode = fs::metadata(dir).map_err(file("opening the directory", dir))?.mode() & 0o777;
    if mode & SHARED == 0 {
        return Ok(());
    }
    let mut entries = fs::read_dir(dir).map_err(file("opening the directory", dir))?;
    if entries.next().is_some() {
        return Err(StoreError::Exposed {
            path: dir.to_owned(),
            mode,
        });
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(file("closing the directory to others", dir))
}

/// Makes what is missing of a directory and its parents, for the owner alone; what is there is not looked at.
pub(super) fn private_parents(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Opens a file for reading and writing, made for the owner alone where it is missing.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    // An older file, or one restored from a copy, may be open to more people than it should.
    if file.metadata()?.mode() & SHARED != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Makes the names in a directory durable: a new or renamed file may be gone after a power cut without this.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_private_and_what_is_found_is_not_changed() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("a/b");
        private_dir(&dir).unwrap();
        private_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);

        fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
        private_dir(&dir).unwrap();
        assert_eq!(
            fs::metadata(&dir).unwrap().mode() & 0o777,
            0o700,
            "there is nothing in it yet"
        );
        fs::write(dir.join("theirs"), "").unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(private_dir(&dir), Err(StoreError::Exposed { mode: 0o750, .. })));
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o750);

        let path = top.path().join("file");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(private_dir(&path), Err(StoreError::File { .. })));
        private_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"x", "what it holds is kept");
    }
}
