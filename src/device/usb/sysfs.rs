//! The USB devices of this machine as the kernel shows them in sysfs: read without opening or waking any of them.
//!
//! Owns the way from a sysfs name to a [`PortPath`]. The number of a bus is an accident of the last boot; the bus address
//! of its controller is not.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{edge::BusError, model::PortPath};

/// Where the kernel shows its USB devices.
pub const DEVICES: &str = "/sys/bus/usb/devices";

/// One device, hubs and root hubs included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The number of its bus, until the next boot.
    pub bus: u8,
    /// Its number on the bus, until it leaves.
    pub number: u8,
    /// The hub ports from the root; none for a root hub.
    pub chain: Vec<u8>,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// Its folder.
    pub folder: PathBuf,
    /// What tells this attachment from a later one with the same numbers: the kernel makes a new folder for each.
    pub inode: u64,
}

impl Node {
    /// One of its attributes as text, without the end of the line.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let bytes = fs::read(self.folder.join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0']).to_owned())
    }

    /// One of its attributes as a number of this radix.
    pub fn number_at(&self, name: &str, radix: u32) -> Option<u32> {
        u32::from_str_radix(self.attribute(name)?.trim(), radix).ok()
    }
}

/// All devices, by bus and ports. One that leaves meanwhile is left out.
///
/// # Errors
/// If there is no USB at all.
pub fn nodes(devices: &Path) -> Result<Vec<Node>, BusError> {
    let listed = fs::read_dir(devices).map_err(|error| unreadable(devices, &error))?;
    let mut nodes: Vec<Node> = listed.flatten().filter_map(|entry| node(entry.path())).collect();
    nodes.sort_by(|a, b| (a.bus, &a.chain).cmp(&(b.bus, &b.chain)));
    Ok(nodes)
}

/// The bus address of the controller of each bus, by the number of the bus.
pub fn controllers(nodes: &[Node]) -> BTreeMap<u8, String> {
    nodes
        .iter()
        .filter(|node| node.chain.is_empty())
        .filter_map(|root| Some((root.bus, controller(&root.folder)?)))
        .collect()
}

/// Where a device is plugged in; none for a root hub.
pub fn port(node: &Node, controllers: &BTreeMap<u8, String>) -> Option<PortPath> {
    let controller = controllers.get(&node.bus)?;
    (!node.chain.is_empty()).then(|| PortPath::new(controller.clone(), node.chain.clone()))
}

fn node(folder: PathBuf) -> Option<Node> {
    let (bus, chain) = place(folder.file_name()?.to_str()?)?;
    let mut node = Node {
        bus,
        number: 0,
        chain,
        vendor: 0,
        product: 0,
        inode: fs::metadata(&folder).ok()?.ino(),
        folder,
    };
    node.vendor = u16::try_from(node.number_at("idVendor", 16)?).ok()?;
    node.product = u16::try_from(node.number_at("idProduct", 16)?).ok()?;
    node.number = u8::try_from(node.number_at("devnum", 10)?).ok()?;
    Some(node)
}

/// Bus and chain of a name such as `3-1.2` or `usb3`; none for an interface (`3-1.2:1.0`).
pub(super) fn place(name: &str) -> Option<(u8, Vec<u8>)> {
    if let Some(bus) = name.strip_prefix("usb") {
        return Some((bus.parse().ok()?, Vec::new()));
    }
    let (bus, ports) = name.split_once('-')?;
    let chain = ports.split('.').map(|port| port.parse().ok()).collect::<Option<_>>()?;
    Some((bus.parse().ok()?, chain))
}

/// The controller above a root hub: the name of its own bus and its address there, as udev writes them.
fn controller(root_hub: &Path) -> Option<String> {
    let folder = fs::canonicalize(root_hub).ok()?.parent()?.to_owned();
    let address = folder.file_name()?.to_str()?.to_owned();
    let kind = fs::read_link(folder.join("subsystem")).ok()?;
    Some(format!("{}-{address}", kind.file_name()?.to_str()?))
}

fn unreadable(devices: &Path, error: &io::Error) -> BusError {
    BusError {
        what: format!("the kernel shows no USB devices at \"{}\": {error}", devices.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, *};

    #[test]
    fn names_say_bus_and_ports() {
        assert_eq!(place("usb2"), Some((2, vec![])));
        assert_eq!(place("1-3"), Some((1, vec![3])));
        assert_eq!(place("12-3.2.10"), Some((12, vec![3, 2, 10])));
        for other in ["1-3:1.0", "1-0:1.0", "ep_00", "usb", "1-", "-1", "1-3.x", "300-1"] {
            assert_eq!(place(other), None, "{other}");
        }
    }

    #[test]
    fn a_port_is_named_by_the_address_of_its_controller_whatever_number_its_bus_has() {
        for bus in [1, 7] {
            let tree = Tree::new();
            tree.controller("pci0000:00/0000:00:14.0", "pci", bus);
            tree.controller("platform/vhci_hcd.0", "platform", bus + 1);
            tree.plug(bus, "3.2", 0x2b04, 0xc00c, 9, Some("e00fce68"));
            tree.plug(bus + 1, "4", 0x2b04, 0xd00c, 10, None);
            let nodes = nodes(&tree.devices()).unwrap();
            let controllers = controllers(&nodes);
            let mut ports: Vec<String> = nodes
                .iter()
                .filter_map(|n| port(n, &controllers))
                .map(|p| p.to_string())
                .collect();
            ports.sort();
            assert_eq!(ports, ["pci-0000:00:14.0/3.2", "platform-vhci_hcd.0/4"]);
        }
    }

    #[test]
    fn a_device_that_is_half_gone_is_left_out_and_no_usb_at_all_is_an_error() {
        let tree = Tree::new();
        tree.controller("pci0000:00/0000:00:14.0", "pci", 1);
        tree.plug(1, "1", 0x2b04, 0xc00c, 2, None);
        tree.plug(1, "2", 0x2b04, 0xc00c, 3, None);
        tree.lose(1, "1", "devnum");
        let found: Vec<Vec<u8>> = nodes(&tree.devices()).unwrap().into_iter().map(|n| n.chain).collect();
        assert!(found.contains(&vec![2]) && !found.contains(&vec![1]), "{found:?}");
        let error = nodes(Path::new("/no/such/place")).unwrap_err();
        assert!(error.what.contains("/no/such/place"), "{error}");
    }
}
