//! `station.toml` with other ports: whole or not at all, and only if it can be used afterwards.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    cli::{
        error::CliError,
        keys::file::{self, Written, failed},
    },
    config,
    model::{PortPath, SlotNo},
};

/// Writes the ports of slots into a station file. What else somebody wrote into it meanwhile stays.
pub(super) fn ports(path: &Path, ports: &[(SlotNo, PortPath)]) -> Result<(), CliError> {
    // The file itself, where a link leads to it.
    let path = fs::canonicalize(path).map_err(failed("find", path))?;
    let name = path.display().to_string();
    let mode = fs::metadata(&path).map_err(failed("read", &path))?.permissions().mode() & 0o777;
    let before = fs::read_to_string(&path).map_err(failed("read", &path))?;
    let after = config::with_ports(&name, &before, ports)?;
    config::parse(&name, &after)?;
    match file::put(&path, after.as_bytes(), mode, &|there| there == before.as_bytes())? {
        Written::Left => Err(CliError::Missing {
            what: "station.toml was changed while it was written; it is as somebody else left it",
            next: "run `keyrack slots learn` again",
        }),
        Written::New | Written::Replaced | Written::Same => file::sync(path.parent().unwrap_or(Path::new("/"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SHIPPED: &str = include_str!("../../../station.toml");

    fn one(port: &str) -> Vec<(SlotNo, PortPath)> {
        vec![(SlotNo(1), port.parse().unwrap())]
    }

    #[test]
    fn the_file_is_replaced_behind_its_link_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.toml"), dir.path().join("station.toml"));
        fs::write(&real, SHIPPED).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        ports(&link, &one("pci-0000:00:14.0/1")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        let text = fs::read_to_string(&real).unwrap();
        assert_eq!(text, SHIPPED.replace("\"pci-0000:00:14.0/1.1\"", "\"pci-0000:00:14.0/1\""));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn a_file_that_could_not_be_used_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("station.toml");
        fs::write(&path, SHIPPED).unwrap();
        let error = ports(&path, &one("pci-0000:00:14.0/1.2")).unwrap_err();
        assert!(matches!(error, CliError::Config { .. }), "two slots on one port: {error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), SHIPPED);
    }
}
