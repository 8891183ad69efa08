//! Key files that leave: each is there whole or not at all, is read again and compared, and replaces nothing that holds
//! another key unless that is wanted.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde::Serialize;

use crate::{
    cli::error::CliError,
    keys::{packet, parse_public, public_pem},
    model::{DeviceId, PublicKey, packet::Manifest},
};

/// What became of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum Written {
    /// It was made.
    New,
    /// It held the same already.
    Same,
    /// It held something else, and was replaced.
    Replaced,
    /// It holds something else, and was left alone.
    Left,
}

/// Writes a public key as the vendor's CLI writes it.
pub(super) fn public(path: &Path, device: DeviceId, key: &PublicKey, force: bool) -> Result<Written, CliError> {
    let end = put(path, public_pem(key).as_bytes(), PUBLIC, &|_| force)?;
    if end == Written::Left {
        return Ok(end);
    }
    let bad = |source| CliError::Key {
        device: device.to_string(),
        source,
    };
    match parse_public(&fs::read(path).map_err(failed("read", path))?) {
        Ok(parsed) if parsed == *key => Ok(end),
        Ok(_) => Err(bad(None)),
        Err(error) => Err(bad(Some(error))),
    }
}

/// Writes the manifest of a packet. One of the same device and key may be replaced: a newer proof is as good.
pub(super) fn manifest(path: &Path, manifest: &Manifest, force: bool) -> Result<Written, CliError> {
    let same = |there: &[u8]| {
        packet::read(there).is_ok_and(|old| (old.device, old.fingerprint) == (manifest.device, manifest.fingerprint))
    };
    put(path, packet::to_json(manifest).as_bytes(), PUBLIC, &|there| {
        force || same(there)
    })
}

/// Writes the sealed private half of a key, for its owner alone to read.
pub(super) fn sealed(path: &Path, content: &[u8], force: bool) -> io::Result<()> {
    match put(path, content, PRIVATE, &|_| force) {
        Ok(Written::Left) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a sealed key already")),
        Ok(_) => File::open(match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        })?
        .sync_all(),
        Err(CliError::File { source, .. }) => Err(source),
        Err(other) => Err(io::Error::other(other.to_string())),
    }
}

/// Makes the directory where it is missing.
pub(super) fn directory(dir: &Path) -> Result<(), CliError> {
    fs::create_dir_all(dir).map_err(failed("make the directory", dir))
}

/// Has the names of a directory on disk.
pub(in crate::cli) fn sync(dir: &Path) -> Result<(), CliError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("sync the directory", dir))
}

/// Writes a file whole under its name or not at all; `may` tells whether something else there may be replaced.
pub(in crate::cli) fn put(path: &Path, content: &[u8], mode: u32, may: &dyn Fn(&[u8]) -> bool) -> Result<Written, CliError> {
    let end = match fs::read(path) {
        Ok(there) if there == content => return Ok(Written::Same),
        Ok(there) if !may(&there) => return Ok(Written::Left),
        Ok(_) => Written::Replaced,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Written::New,
        Err(error) => return Err(failed("read", path)(error)),
    };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut half = tempfile::Builder::new()
        .prefix(".key.")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(failed("write", path))?;
    half.write_all(content)
        .and_then(|()| half.as_file().sync_all())
        .map_err(failed("write", path))?;
    let named = if end == Written::New {
        half.persist_noclobber(path)
    } else {
        half.persist(path)
    };
    match named {
        Ok(_) => Ok(end),
        // Made by somebody else meanwhile.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Written::Left),
        Err(error) => Err(failed("name", path)(error.error)),
    }
}

/// An error of a file, with what we were doing.
pub(in crate::cli) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File { doing, path, source }
}

/// Nobody else reads a private one, sealed as it is.
const PRIVATE: u32 = 0o600;
/// Everybody may read a public key.
const PUBLIC: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        keys::PrivateKey,
        model::{KeyKind, Platform, StationId, Wall},
    };

    #[test]
    fn a_file_with_another_key_is_left_alone_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pub.pem");
        let device = DeviceId::from_bytes([7; 12]);
        let key = |()| PrivateKey::generate(KeyKind::P256, &SystemEntropy).public();
        let (one, other) = (key(()), key(()));
        let write = |key, force| public(&path, device, key, force).unwrap();
        assert_eq!(write(&one, false), Written::New);
        assert_eq!(write(&one, false), Written::Same);
        assert_eq!(write(&other, false), Written::Left);
        assert_eq!(fs::read(&path).unwrap(), public_pem(&one).as_bytes());
        assert_eq!(write(&other, true), Written::Replaced);
        assert_eq!(fs::read(&path).unwrap(), public_pem(&other).as_bytes());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_newer_proof_of_the_same_key_replaces_the_older_one_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.packet.json");
        let device = DeviceId::from_bytes([7; 12]);
        let (one, other) = (
            PrivateKey::generate(KeyKind::P256, &SystemEntropy),
            PrivateKey::generate(KeyKind::P256, &SystemEntropy),
        );
        let signed = |key, at| {
            packet::sign(
                key,
                device,
                Platform::Boron,
                StationId("b".into()),
                Wall::from_millis(at).unwrap(),
            )
        };
        let write = |signed: &Manifest, force| manifest(&path, signed, force).unwrap();
        assert_eq!(write(&signed(&one, 1), false), Written::New);
        assert_eq!(write(&signed(&one, 2), false), Written::Replaced);
        assert_eq!(write(&signed(&other, 3), false), Written::Left);
        assert_eq!(write(&signed(&other, 3), true), Written::Replaced);
        fs::write(&path, "a letter").unwrap();
        assert_eq!(write(&signed(&other, 3), false), Written::Left);
    }
}
