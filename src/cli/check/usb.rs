//! The USB ports of this machine: whether there are any, and whether this user may open the devices on them. Reads what
//! the kernel shows; opens no device.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::Finding;
use crate::{
    cli::exit::ExitCode,
    config::Station,
    model::{platform::PARTICLE_VENDOR, sentence::count},
};

const ABOUT: &str = "USB";

/// Where the kernel shows USB devices and their nodes.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    devices: PathBuf,
    nodes: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            devices: "/sys/bus/usb/devices".into(),
            nodes: "/dev/bus/usb".into(),
        }
    }
}

/// Looks at the bus.
pub(super) fn look(roots: Roots, station: Option<&Station>) -> Vec<Finding> {
    let slots = station.map_or(0, |station| station.slots.len());
    let Ok(listed) = fs::read_dir(&roots.devices) else {
        let what = format!("this machine has no USB ports: there is no \"{}\"", roots.devices.display());
        let next = "use a machine with USB for real devices; `keyrack demo` needs none";
        return vec![Finding::warning(ABOUT, what, next)];
    };
    let devices: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    let particle: Vec<&PathBuf> = devices
        .iter()
        .filter(|path| number(path, "idVendor", 16) == Some(PARTICLE_VENDOR.into()))
        .collect();
    let mut findings: Vec<Finding> = particle.iter().filter_map(|path| closed(path, &roots.nodes)).collect();
    if findings.is_empty() {
        let plugged = count(particle.len(), "Particle device");
        findings.push(Finding::fine(
            ABOUT,
            format!("{plugged} plugged in, {} configured", count(slots, "slot")),
        ));
    }
    findings
}

/// A finding if this user may not open the device.
fn closed(device: &Path, nodes: &Path) -> Option<Finding> {
    let (bus, address) = (number(device, "busnum", 10)?, number(device, "devnum", 10)?);
    let node = nodes.join(format!("{bus:03}/{address:03}"));
    access(&node, Access::READ_OK | Access::WRITE_OK).err()?;
    Some(Finding::error(
        ABOUT,
        format!("\"{}\" may not be opened by this user", node.display()),
        "install the udev rules (scripts/udev) and plug the device in again",
        ExitCode::Fault,
    ))
}

fn number(device: &Path, name: &str, radix: u32) -> Option<u32> {
    let text = fs::read_to_string(device.join(name)).ok()?;
    u32::from_str_radix(text.trim(), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Level;

    fn roots(top: &Path) -> Roots {
        Roots {
            devices: top.join("devices"),
            nodes: top.join("nodes"),
        }
    }

    #[test]
    fn a_machine_without_usb_says_so() {
        let found = look(roots(Path::new("/no/such/place")), None);
        assert_eq!(found.len(), 1);
        assert!(found[0].level == Level::Warning && found[0].what.contains("no USB ports"));
    }

    #[test]
    fn a_device_that_may_not_be_opened_is_an_error_and_others_do_not_matter() {
        let top = tempfile::tempdir().unwrap();
        let roots = roots(top.path());
        for (name, vendor) in [("1-1", "2b04"), ("1-2", "046d")] {
            let dir = roots.devices.join(name);
            fs::create_dir_all(&dir).unwrap();
            for (file, text) in [("idVendor", vendor), ("busnum", "1"), ("devnum", &name[2..])] {
                fs::write(dir.join(file), format!("{text}\n")).unwrap();
            }
        }
        let found = look(roots.clone(), None);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].exit == ExitCode::Fault && found[0].what.contains("001/001"));
        fs::create_dir_all(roots.nodes.join("001")).unwrap();
        fs::write(roots.nodes.join("001/001"), "").unwrap();
        assert_eq!(look(roots, None)[0].level, Level::Fine);
    }
}
