//! The file of the engineers: a name and the hash of a PIN on each line, for its owner alone. Owns the file; what a hash is
//! made of is the business of [`crate::keys`].

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::files::{self, NotAlone};

/// Why the engineers are not known.
#[derive(Debug, thiserror::Error)]
pub enum EngineersError {
    /// Group or others can read it, or change it.
    #[error("the file of the engineers \"{}\" has mode {mode:03o}: it is for its owner alone (chmod 600)", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user owns it, and can change it.
    #[error("the file of the engineers \"{}\" belongs to user {owner}, not to the one who runs the station", .path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A line is not a name, a tab and a hash.
    #[error("line {line} of the file of the engineers \"{}\" cannot be read: set that PIN again", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// It could not be used.
    #[error("{doing} the file of the engineers \"{}\" failed", .path.display())]
    File {
        /// What we were doing.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file of the engineers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineersFile(PathBuf);

impl EngineersFile {
    /// The file at this path; it may be absent.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Names and hashes, in order; none if there is no file.
    ///
    /// # Errors
    /// [`EngineersError`]: a file that others can change says nothing.
    pub fn read(&self) -> Result<Vec<(String, String)>, EngineersError> {
        let mut file = match fs::File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("opening")(error)),
        };
        let found = file.metadata().map_err(self.failed("reading"))?;
        files::owners_alone(&found).map_err(|why| {
            let path = self.0.clone();
            match why {
                NotAlone::Exposed(mode) => EngineersError::Exposed { path, mode },
                NotAlone::Owner(owner) => EngineersError::Owner { path, owner },
            }
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(self.failed("reading"))?;
        text.lines()
            .enumerate()
            .map(|(i, line)| {
                let (name, hash) = line.split_once('\t').ok_or(EngineersError::Line {
                    path: self.0.clone(),
                    line: i + 1,
                })?;
                Ok((name.to_owned(), hash.to_owned()))
            })
            .collect()
    }

    /// Puts these names and hashes in it: whole, or it stays as it was.
    ///
    /// # Errors
    /// [`EngineersError::File`].
    pub fn write(&self, engineers: &[(String, String)]) -> Result<(), EngineersError> {
        let dir = self
            .0
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        files::private_parents(dir).map_err(self.failed("making the directory of"))?;
        let mut half = tempfile::NamedTempFile::new_in(dir).map_err(self.failed("creating"))?;
        let text: String = engineers.iter().map(|(name, hash)| format!("{name}\t{hash}\n")).collect();
        half.write_all(text.as_bytes())
            .and_then(|()| half.as_file().sync_all())
            .map_err(self.failed("writing"))?;
        half.persist(&self.0).map_err(|error| self.failed("naming")(error.error))?;
        // A PIN that was taken away must not be back after a power cut.
        files::sync_dir(dir).map_err(self.failed("naming"))?;
        Ok(())
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> EngineersError {
        let path = self.0.clone();
        move |source| EngineersError::File { doing, path, source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn it_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = EngineersFile::new(dir.path().join("engineers"));
        assert_eq!(file.read().unwrap(), [], "no file, no engineers");
        let both = [("eva".to_owned(), "h1".to_owned()), ("Ada L.".to_owned(), "h2".to_owned())];
        file.write(&both).unwrap();
        assert_eq!(file.read().unwrap(), both);
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(file.read(), Err(EngineersError::Exposed { mode: 0o640, .. })));
        file.write(&both[..1]).unwrap();
        assert_eq!(file.read().unwrap(), both[..1]);
        fs::write(file.path(), "eva h1").unwrap();
        assert!(matches!(file.read(), Err(EngineersError::Line { line: 1, .. })));
    }
}
