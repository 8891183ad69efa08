//! The USB ports of this machine: whether there are any, whether this user may open the devices on them, and what will go
//! wrong with the hubs. Reads what the kernel shows; opens no device.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Finding;
use crate::{
    cli::exit::ExitCode,
    config::Station,
    device::usb::{
        NODES,
        preflight::preflight,
        sysfs::{self, Node},
        topology::Topology,
    },
    model::{PortPath, SlotNo, platform::PARTICLE_VENDOR, sentence::count},
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
            devices: sysfs::DEVICES.into(),
            nodes: NODES.into(),
        }
    }
}

/// Looks at the bus.
pub(super) fn look(roots: &Roots, station: Option<&Station>) -> Vec<Finding> {
    let slots: Vec<(SlotNo, PortPath)> = station.map_or_else(Vec::new, |station| {
        station.slots.iter().map(|slot| (slot.number, slot.port.clone())).collect()
    });
    let (Ok(nodes), Ok(topology)) = (sysfs::nodes(&roots.devices), Topology::read(&roots.devices)) else {
        let what = format!("this machine has no USB ports: there is no \"{}\"", roots.devices.display());
        let next = "use a machine with USB for real devices; `keyrack demo` needs none";
        return vec![Finding::warning(ABOUT, what, next)];
    };
    let particle: Vec<&Node> = nodes.iter().filter(|node| node.vendor == PARTICLE_VENDOR).collect();
    let mut findings: Vec<Finding> = particle.iter().filter_map(|node| closed(node, &roots.nodes)).collect();
    if findings.is_empty() {
        let plugged = count(particle.len(), "Particle device");
        findings.push(Finding::fine(
            ABOUT,
            format!("{plugged} plugged in, {} configured", count(slots.len(), "slot")),
        ));
    }
    findings.extend(
        preflight(&topology, &slots)
            .iter()
            .map(|trouble| Finding::warning(ABOUT, trouble.to_string(), trouble.next())),
    );
    findings
}

/// A finding if this user may not open the device.
fn closed(device: &Node, nodes: &Path) -> Option<Finding> {
    let node = nodes.join(format!("{:03}/{:03}", device.bus, device.number));
    access(&node, Access::READ_OK | Access::WRITE_OK).err()?;
    Some(Finding::error(
        ABOUT,
        format!("\"{}\" may not be opened by this user", node.display()),
        "run `sudo scripts/udev --install`; the user of the station has to be in the group plugdev",
        ExitCode::Fault,
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{cli::check::Level, config};

    fn roots(top: &Path) -> Roots {
        Roots {
            devices: top.join("devices"),
            nodes: top.join("nodes"),
        }
    }

    #[test]
    fn a_machine_without_usb_says_so() {
        let found = look(&roots(Path::new("/no/such/place")), None);
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
            for (file, text) in [("idVendor", vendor), ("idProduct", "c00c"), ("devnum", &name[2..])] {
                fs::write(dir.join(file), format!("{text}\n")).unwrap();
            }
        }
        let found = look(&roots, None);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].exit == ExitCode::Fault && found[0].what.contains("001/001"));
        fs::create_dir_all(roots.nodes.join("001")).unwrap();
        fs::write(roots.nodes.join("001/001"), "").unwrap();
        assert_eq!(look(&roots, None)[0].level, Level::Fine);
    }

    #[test]
    fn a_rack_that_is_not_there_is_a_warning_with_what_to_do() {
        let top = tempfile::tempdir().unwrap();
        let roots = roots(top.path());
        fs::create_dir_all(&roots.devices).unwrap();
        let shipped = config::parse("station.toml", include_str!("../../../station.toml")).unwrap();
        let found = look(&roots, Some(&shipped));
        let [fine, warning] = &found[..] else { panic!("{found:?}") };
        assert_eq!(fine.what, "0 Particle devices plugged in, 8 slots configured");
        assert_eq!(warning.level, Level::Warning);
        assert_eq!(
            warning.what,
            "this machine has no USB controller pci-0000:00:14.0, where slots 1 to 8 are"
        );
        assert!(warning.next.as_ref().unwrap().contains("keyrack slots learn"));
    }
}
