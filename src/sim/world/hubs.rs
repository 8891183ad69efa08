//! The station's USB topology: where slots are, and how controllers hand out addresses.

use std::collections::BTreeMap;

use crate::model::PortPath;

/// The controller that scenarios use unless they name a port: an ordinary PCI address.
pub const CONTROLLER: &str = "pci-0000:00:14.0";

/// How many slots share a hub in the default topology.
pub const SLOTS_PER_HUB: u16 = 8;

/// The port of a slot (from 1) in the default topology: eight slots on each hub, the hubs on the root ports.
///
/// # Panics
/// For slot 0, which does not exist, and beyond slot 2040, whose hub no root port could hold.
pub fn default_port(slot: u16) -> PortPath {
    let index = slot.checked_sub(1).expect("slots are numbered from 1");
    let hub = u8::try_from(index / SLOTS_PER_HUB + 1).expect("a root hub has at most 255 ports");
    let port = u8::try_from(index % SLOTS_PER_HUB + 1).expect("a hub has eight slots");
    PortPath::new(CONTROLLER, [hub, port])
}

/// How the slots of a scenario are spread over ports, where it does not name the ports itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// On hubs ([`default_port`]).
    #[default]
    Hubs,
    /// On the root ports of the kernel's virtual host controllers, one controller after the other.
    RootPorts {
        /// Ports of each controller.
        each: u8,
    },
}

impl Topology {
    /// What the name of each virtual host controller begins with in a port path; its number follows.
    pub const PLATFORM: &str = "platform-vhci_hcd.";

    /// The port of a slot (from 1).
    ///
    /// # Panics
    /// As [`default_port`] does.
    pub fn port(self, slot: u16) -> PortPath {
        let Self::RootPorts { each } = self else {
            return default_port(slot);
        };
        let (index, each) = (
            slot.checked_sub(1).expect("slots are numbered from 1"),
            u16::from(each.max(1)),
        );
        let port = u8::try_from(index % each + 1).expect("a controller has at most 255 ports");
        PortPath::new(format!("{}{}", Self::PLATFORM, index / each), [port])
    }
}

/// True if the port is behind the hub at `chain` of the controller; an empty chain is the controller itself.
pub fn behind(port: &PortPath, controller: &str, chain: &[u8]) -> bool {
    port.controller() == controller && port.chain().starts_with(chain)
}

/// The next address of each controller. An address comes back only after all others had their turn, as on Linux, so that
/// a handle to something long gone does not reach its successor by accident.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    last: BTreeMap<String, u16>,
}

impl Addresses {
    /// The next address on the controller of this port that nobody `uses` there; 1 to 127.
    pub(super) fn next(&mut self, port: &PortPath, used: impl Fn(u16) -> bool) -> u16 {
        let last = self.last.entry(port.controller().to_owned()).or_insert(0);
        for _ in 0..LAST_ADDRESS {
            *last = *last % LAST_ADDRESS + 1;
            if !used(*last) {
                break;
            }
        }
        // With 127 devices on one controller all are taken; real hosts refuse the next one, and no rack comes near.
        *last
    }
}

/// Seven bits, and 0 is the address of a device that has none yet (USB 2.0, 9.4.6).
const LAST_ADDRESS: u16 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_spread_over_hubs() {
        assert_eq!(default_port(1).to_string(), "pci-0000:00:14.0/1.1");
        assert_eq!(default_port(8).to_string(), "pci-0000:00:14.0/1.8");
        assert_eq!(default_port(9).to_string(), "pci-0000:00:14.0/2.1");
        assert_eq!(default_port(64).to_string(), "pci-0000:00:14.0/8.8");
        assert!(behind(&default_port(9), CONTROLLER, &[2]));
        assert!(behind(&default_port(9), CONTROLLER, &[]));
        assert!(!behind(&default_port(9), CONTROLLER, &[1]));
        assert!(!behind(&default_port(9), "pci-0000:00:15.0", &[]));
    }

    #[test]
    fn addresses_go_round_and_skip_the_used() {
        let (mut addresses, port) = (Addresses::default(), default_port(1));
        let other: PortPath = "pci-0000:00:15.0/1".parse().unwrap();
        assert_eq!(addresses.next(&port, |_| false), 1);
        assert_eq!(addresses.next(&port, |_| false), 2);
        assert_eq!(addresses.next(&other, |_| false), 1, "each controller counts for itself");
        for _ in 3..=127 {
            addresses.next(&port, |_| false);
        }
        assert_eq!(
            addresses.next(&port, |a| a < 5),
            5,
            "127 is followed by 1, and 1 to 4 are in use"
        );
    }
}
