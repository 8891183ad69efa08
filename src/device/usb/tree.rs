//! A sysfs tree for tests: as the kernel lays it out, in a temporary folder.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use tempfile::TempDir;

/// A tree that is being built.
pub(super) struct Tree(TempDir);

impl Tree {
    /// A machine with USB and no controllers.
    pub(super) fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.devices()).unwrap();
        tree
    }

    /// Where the reader begins.
    pub(super) fn devices(&self) -> PathBuf {
        self.0.path().join("bus/usb/devices")
    }

    /// A tree that was written down: lines `path = value` and `path -> target`.
    pub(super) fn recorded(name: &str) -> Self {
        let tree = Self::new();
        let file = format!("{}/fixtures/sysfs/{name}.tree", env!("CARGO_MANIFEST_DIR"));
        for line in fs::read_to_string(file)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
        {
            let make = |path: &str| {
                let path = tree.0.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                path
            };
            if let Some((path, target)) = line.split_once(" -> ") {
                symlink(target, make(path)).unwrap();
            } else {
                let (path, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
                fs::write(make(path), format!("{value}\n")).unwrap();
            }
        }
        tree
    }

    /// A controller with its root hub.
    pub(super) fn controller(&self, at: &str, kind: &str, bus: u8) {
        let folder = self.0.path().join("devices").join(at);
        let hub = folder.join(format!("usb{bus}"));
        fs::create_dir_all(&hub).unwrap();
        symlink(format!("/sys/bus/{kind}"), folder.join("subsystem")).unwrap();
        symlink(&hub, self.devices().join(format!("usb{bus}"))).unwrap();
        for (name, value) in [
            ("idVendor", "1d6b"),
            ("idProduct", "0002"),
            ("devnum", "1"),
            ("bDeviceClass", "09"),
            ("bDeviceProtocol", "01"),
            ("speed", "480"),
            ("maxchild", "16"),
        ] {
            fs::write(hub.join(name), format!("{value}\n")).unwrap();
        }
    }

    /// A device on a port.
    pub(super) fn plug(&self, bus: u8, ports: &str, vendor: u16, product: u16, number: u8, serial: Option<&str>) {
        let folder = self.0.path().join(format!("made/{bus}-{ports}-{number}"));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, value: String| fs::write(folder.join(name), format!("{value}\n")).unwrap();
        write("idVendor", format!("{vendor:04x}"));
        write("idProduct", format!("{product:04x}"));
        write("devnum", number.to_string());
        write("speed", "12".to_owned());
        if let Some(serial) = serial {
            write("serial", serial.to_owned());
        }
        symlink(&folder, self.link(bus, ports)).unwrap();
    }

    /// Takes a device off its port.
    pub(super) fn unplug(&self, bus: u8, ports: &str) {
        let link = self.link(bus, ports);
        let folder = fs::read_link(&link).unwrap();
        fs::remove_file(link).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }

    /// An attribute of a device goes away, as on its departure.
    pub(super) fn lose(&self, bus: u8, ports: &str, attribute: &str) {
        fs::remove_file(self.link(bus, ports).join(attribute)).unwrap();
    }

    fn link(&self, bus: u8, ports: &str) -> PathBuf {
        self.devices().join(format!("{bus}-{ports}"))
    }
}
