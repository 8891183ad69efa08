//! What of a path may be packets: a directory, one packet, or a list. It reads files and believes nothing in them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    cli::{
        error::CliError,
        small_file::{self, MOST_KEY, SmallFileError},
    },
    keys::{PrivateForm, packet::list},
    model::{DeviceId, ProductId},
};

/// A key that may be taken, with what came with it.
#[derive(Debug)]
pub(in crate::cli) struct Candidate {
    /// The file of the key; of the manifest, where there is no key.
    pub(in crate::cli) path: PathBuf,
    /// The device that a person names.
    pub(in crate::cli) device: Option<DeviceId>,
    /// The device that the file's name names.
    pub(in crate::cli) named: Option<DeviceId>,
    /// The product that the list names.
    pub(in crate::cli) product: Option<ProductId>,
    /// The key.
    pub(in crate::cli) key: Result<Bytes, SmallFileError>,
    /// The manifest beside it.
    pub(in crate::cli) manifest: Option<Result<Bytes, SmallFileError>>,
    /// A file beside it that holds a private key.
    pub(in crate::cli) leak: Option<Leak>,
}

/// A file with a private key in it, where public ones should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Leak {
    /// The file.
    pub(in crate::cli) path: PathBuf,
    /// In which form.
    pub(in crate::cli) form: PrivateForm,
}

type Bytes = Zeroizing<Vec<u8>>;

/// What was found under the paths of a command.
#[derive(Debug, Default)]
pub(in crate::cli) struct Found {
    /// Possible packets, in the order of their names.
    pub(in crate::cli) candidates: Vec<Candidate>,
    /// Files with private keys.
    pub(in crate::cli) leaks: Vec<Leak>,
    /// Other files in the directories.
    pub(in crate::cli) left_alone: usize,
}

/// Looks at each path.
///
/// # Errors
/// A path that cannot be read, a directory or a batch without end, or a list that cannot be used.
pub(super) fn all(paths: &[PathBuf]) -> Result<Found, CliError> {
    let mut found = Found::default();
    for path in paths {
        if path.is_dir() {
            directory(path, &mut found)?;
        } else if extension_is(path, "csv") {
            from_list(path, &mut found)?;
        } else {
            found.candidates.push(one(path, None));
        }
        if found.candidates.len() > list::MOST_ENTRIES {
            return Err(too_many(path));
        }
    }
    Ok(found)
}

/// The packet of which this is the key or the manifest. `device` is the one that a person names.
pub(in crate::cli) fn one(path: &Path, device: Option<DeviceId>) -> Candidate {
    let stem = stem(path);
    let key = if name(path).ends_with(MANIFEST) {
        let beside = |end: &str| path.with_file_name(format!("{stem}{end}"));
        KEYS.map(beside).into_iter().find(|path| path.exists())
    } else {
        Some(path.to_owned())
    };
    let manifest = path.with_file_name(format!("{stem}{MANIFEST}"));
    // A manifest that is there and cannot be read must not pass as one that is missing.
    let manifest = match small_file::read(&manifest, MOST_KEY) {
        Err(SmallFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read),
    };
    Candidate {
        path: key.clone().unwrap_or_else(|| path.to_owned()),
        device,
        named: stem.parse().ok(),
        product: None,
        key: match key {
            Some(key) => small_file::read(&key, MOST_KEY),
            None => Err(SmallFileError::Io(io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no {stem}{} beside this manifest", KEYS[0]),
            ))),
        },
        manifest,
        leak: None,
    }
}

fn directory(dir: &Path, found: &mut Found) -> Result<(), CliError> {
    let failed = |source| CliError::File {
        doing: "read the directory",
        path: dir.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
        if paths.len() > MOST_FILES {
            return Err(too_many(dir));
        }
    }
    paths.sort();
    // Each packet once, by its key if that is there; everything else could be a private key.
    let mut packets = BTreeMap::new();
    let mut leaks: BTreeMap<String, Leak> = BTreeMap::new();
    for path in paths {
        let name = name(&path);
        if name.ends_with(MANIFEST) {
            packets.entry(stem(&path)).or_insert(path);
        } else if KEYS.iter().any(|end| name.ends_with(end)) {
            packets.insert(stem(&path), path);
        } else {
            match private(&path) {
                None => found.left_alone += 1,
                Some(leak) => _ = leaks.insert(first_part(&path), leak),
            }
        }
    }
    found.candidates.extend(packets.into_values().map(|path| Candidate {
        leak: leaks.get(&first_part(&path)).cloned(),
        ..one(&path, None)
    }));
    found.leaks.extend(leaks.into_values());
    Ok(())
}

fn from_list(path: &Path, found: &mut Found) -> Result<(), CliError> {
    let bad = |source| CliError::PacketList {
        path: path.to_owned(),
        source,
    };
    let bytes = small_file::read(path, MOST_LIST).map_err(|error| bad(ListTrouble::Unread(error)))?;
    let entries = list::read(&bytes).map_err(|error| bad(ListTrouble::Wrong(error)))?;
    let dir = path.parent().unwrap_or(Path::new(""));
    found.candidates.extend(entries.into_iter().map(|entry| Candidate {
        product: entry.product,
        ..one(&dir.join(entry.file), Some(entry.device))
    }));
    Ok(())
}

/// Why a list is not used.
#[derive(Debug, thiserror::Error)]
pub enum ListTrouble {
    /// It cannot be read.
    #[error(transparent)]
    Unread(SmallFileError),
    /// It is no list.
    #[error(transparent)]
    Wrong(list::ListError),
}

fn private(path: &Path) -> Option<Leak> {
    // Whatever is larger is no file of a key.
    let bytes = small_file::read(path, MOST_KEY).ok()?;
    let form = PrivateForm::of(&bytes)?;
    let path = path.to_owned();
    Some(Leak { path, form })
}

fn too_many(path: &Path) -> CliError {
    CliError::TooManyPackets {
        path: path.to_owned(),
        most: list::MOST_ENTRIES,
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The name of a packet: that of either file, without what it ends with.
fn stem(path: &Path) -> String {
    let name = name(path);
    let ends = [MANIFEST].into_iter().chain(KEYS).chain(OTHER_KEYS);
    let stem = ends.into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    stem.to_owned()
}

/// A file's name up to its first dot: what the halves of a pair have in common.
fn first_part(path: &Path) -> String {
    name(path).split('.').next().unwrap_or_default().to_owned()
}

fn extension_is(path: &Path, wanted: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// What the file of a manifest ends with.
pub(in crate::cli) const MANIFEST: &str = ".packet.json";
/// What the file of a public key ends with, as the vendor's CLI writes it and as others do.
const KEYS: [&str; 2] = [".pub.pem", ".pub.der"];
/// What a single file may end with.
const OTHER_KEYS: [&str; 2] = [".pem", ".der"];
/// The largest list: ten thousand lines with long paths.
const MOST_LIST: usize = 4 * 1024 * 1024;
/// The most names of a directory that are looked at: two files for each packet, and as many others.
const MOST_FILES: usize = 4 * list::MOST_ENTRIES;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        keys::{PrivateKey, encode},
        model::KeyKind,
    };

    const A: &str = "e00fce680000000000000001";

    fn files(names: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in names {
            fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    #[test]
    fn a_directory_is_grouped_by_name_and_private_keys_stick_out() {
        let private = encode(&PrivateKey::generate(KeyKind::P256, &SystemEntropy), 192);
        let pem = format!("{A}.pub.pem");
        let (manifest, leaked) = (format!("{A}.packet.json"), "b.der".to_owned());
        let dir = files(&[
            (&pem, b"key"),
            (&manifest, b"manifest"),
            ("b.pub.der", b"other"),
            (&leaked, private.expose()),
            ("alone.packet.json", b"manifest"),
            ("letter.txt", b"dear all"),
        ]);
        fs::create_dir(dir.path().join("folder")).unwrap();
        let found = all(&[dir.path().to_owned()]).unwrap();
        let names: Vec<_> = found.candidates.iter().map(|c| name(&c.path)).collect();
        assert_eq!(names, ["alone.packet.json", "b.pub.der", pem.as_str()]);
        let [alone, leaking, whole] = &found.candidates[..] else {
            panic!()
        };
        assert!(alone.key.is_err() && alone.manifest.is_some());
        assert_eq!(leaking.leak.as_ref().map(|leak| &leak.path), Some(&dir.path().join(&leaked)));
        assert!(leaking.manifest.is_none() && leaking.named.is_none());
        assert_eq!(whole.named, A.parse().ok());
        assert_eq!(**whole.key.as_ref().unwrap(), b"key");
        assert_eq!(**whole.manifest.as_ref().unwrap().as_ref().unwrap(), b"manifest");
        assert_eq!((found.leaks.len(), found.left_alone), (1, 2));
    }

    #[test]
    fn either_file_of_a_packet_leads_to_both() {
        let dir = files(&[("x.pub.pem", b"key"), ("x.packet.json", b"manifest"), ("y.pem", b"other")]);
        for name in ["x.pub.pem", "x.packet.json"] {
            let candidate = one(&dir.path().join(name), None);
            assert_eq!(candidate.path, dir.path().join("x.pub.pem"), "{name}");
            assert!(candidate.key.is_ok() && candidate.manifest.is_some(), "{name}");
        }
        assert!(one(&dir.path().join("y.pem"), None).manifest.is_none());
        assert!(one(&dir.path().join("none.pem"), None).key.is_err());
    }

    #[test]
    fn a_list_names_files_beside_it() {
        let dir = files(&[
            ("x.pub.pem", b"key"),
            ("list.CSV", format!("{A},x.pub.pem,12\n").as_bytes()),
            ("bad.csv", b"nothing"),
        ]);
        let found = all(&[dir.path().join("list.CSV")]).unwrap();
        let [candidate] = &found.candidates[..] else { panic!() };
        assert_eq!(candidate.device, A.parse().ok());
        assert_eq!(candidate.product, Some(ProductId("12".into())));
        assert!(candidate.key.is_ok());
        assert!(matches!(all(&[dir.path().join("bad.csv")]), Err(CliError::PacketList { .. })));
        assert!(matches!(
            all(&[dir.path().join("none.csv")]),
            Err(CliError::PacketList { .. })
        ));
    }

    #[test]
    fn what_is_no_small_file_is_no_key() {
        let dir = files(&[("x.pub.pem", &[b'A'; MOST_KEY + 1])]);
        fs::create_dir(dir.path().join("x.packet.json")).unwrap();
        let candidate = one(&dir.path().join("x.pub.pem"), None);
        assert!(matches!(candidate.key, Err(SmallFileError::TooLarge { .. })));
        assert!(matches!(candidate.manifest, Some(Err(SmallFileError::NotAFile))));
    }
}
