//! Controllers, hubs and what else is plugged in, as sysfs shows them: for people who look at a rack, and for the
//! [preflight](super::preflight).

use std::{collections::BTreeMap, fs, path::Path};

use crate::edge::BusError;

use super::sysfs::{self, Node};

/// Everything on the USB ports of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The controllers, by the name that port paths begin with.
    pub controllers: BTreeMap<String, Controller>,
    /// What is plugged in, hubs included, root hubs not; by controller and port.
    pub plugged: Vec<Plugged>,
}

/// A controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controller {
    /// Its driver.
    pub driver: Option<String>,
    /// How many ports its root hub has for devices that are slower than SuperSpeed, as all of Particle's are.
    pub ports: u8,
}

/// A hub or another device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugged {
    /// Its controller.
    pub controller: String,
    /// The hub ports from the root.
    pub chain: Vec<u8>,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// What it calls itself.
    pub name: Option<String>,
    /// Its speed in Mbit/s.
    pub speed: u32,
    /// Its endpoints in use, beside the default one.
    pub endpoints: u32,
    /// What it is as a hub, if it is one.
    pub hub: Option<Hub>,
}

/// A hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hub {
    /// How many ports it has.
    pub ports: u8,
    /// What carries full-speed devices through it.
    pub translators: Translators,
}

/// How a hub carries full-speed devices, as all of Particle's are, on its way up (USB 2.0, 11.14 and 11.23.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translators {
    /// Not at all: it is of full speed itself.
    None,
    /// All its ports share one translator, and with it 12 Mbit/s.
    One,
    /// Each port has its own.
    PerPort,
}

impl Topology {
    /// Reads what the kernel shows at `devices` (see [`sysfs::DEVICES`]).
    ///
    /// # Errors
    /// If there is no USB at all.
    pub fn read(devices: &Path) -> Result<Self, BusError> {
        let nodes = sysfs::nodes(devices)?;
        let names = sysfs::controllers(&nodes);
        let endpoints = endpoints(devices);
        let mut topology = Self::default();
        for node in &nodes {
            let Some(name) = names.get(&node.bus) else { continue };
            if node.chain.is_empty() {
                let controller = topology.controllers.entry(name.clone()).or_default();
                controller.driver = driver(&node.folder);
                if speed(node) < SUPER_SPEED {
                    controller.ports = ports(node);
                }
                continue;
            }
            topology.plugged.push(Plugged {
                controller: name.clone(),
                chain: node.chain.clone(),
                vendor: node.vendor,
                product: node.product,
                name: node.attribute("product").filter(|name| !name.is_empty()),
                speed: speed(node),
                endpoints: endpoints.get(&(node.bus, node.chain.clone())).copied().unwrap_or(0),
                hub: hub(node),
            });
        }
        topology
            .plugged
            .sort_by(|a, b| (&a.controller, &a.chain, a.speed).cmp(&(&b.controller, &b.chain, b.speed)));
        Ok(topology)
    }

    /// What is plugged in there, as devices that are slower than SuperSpeed see it: a faster hub shows up twice.
    pub fn at(&self, controller: &str, chain: &[u8]) -> Option<&Plugged> {
        self.plugged
            .iter()
            .find(|p| p.controller == controller && p.chain == chain && p.speed < SUPER_SPEED)
    }
}

impl Plugged {
    /// Where it is, in the words of a port path.
    pub fn place(&self) -> String {
        place(&self.controller, &self.chain)
    }
}

/// A place in the words of a port path; the controller alone for a root hub.
pub(super) fn place(controller: &str, chain: &[u8]) -> String {
    if chain.is_empty() {
        return controller.to_owned();
    }
    let ports: Vec<String> = chain.iter().map(ToString::to_string).collect();
    format!("{controller}/{}", ports.join("."))
}

fn hub(node: &Node) -> Option<Hub> {
    (node.number_at("bDeviceClass", 16)? == HUB_CLASS).then(|| Hub {
        ports: ports(node),
        translators: match (speed(node), node.number_at("bDeviceProtocol", 16)) {
            (..HIGH_SPEED, _) => Translators::None,
            (_, Some(MULTI_TT)) => Translators::PerPort,
            _ => Translators::One,
        },
    })
}

fn ports(hub: &Node) -> u8 {
    hub.number_at("maxchild", 10).and_then(|n| u8::try_from(n).ok()).unwrap_or(0)
}

/// In Mbit/s; low speed is 1.5.
fn speed(node: &Node) -> u32 {
    let text = node.attribute("speed").unwrap_or_default();
    text.split('.')
        .next()
        .and_then(|whole| whole.trim().parse().ok())
        .unwrap_or(0)
}

/// The driver of the controller above a root hub.
fn driver(root_hub: &Path) -> Option<String> {
    let controller = fs::canonicalize(root_hub).ok()?.parent()?.to_owned();
    let driver = fs::read_link(controller.join("driver")).ok()?;
    Some(driver.file_name()?.to_str()?.to_owned())
}

/// The endpoints of all interfaces, by the bus and chain of their device.
fn endpoints(devices: &Path) -> BTreeMap<(u8, Vec<u8>), u32> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(devices).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((device, _)) = name.to_str().and_then(|name| name.split_once(':')) else {
            continue;
        };
        let Some(place) = sysfs::place(device) else { continue };
        let text = fs::read_to_string(entry.path().join("bNumEndpoints")).unwrap_or_default();
        *found.entry(place).or_insert(0) += u32::from_str_radix(text.trim(), 16).unwrap_or(0);
    }
    found
}

/// Speeds in Mbit/s, as sysfs writes them.
const HIGH_SPEED: u32 = 480;
const SUPER_SPEED: u32 = 5000;

/// bDeviceClass of a hub, and bDeviceProtocol of one with a translator for each port.
const HUB_CLASS: u32 = 9;
const MULTI_TT: u32 = 2;

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, *};

    #[test]
    fn what_qemu_shows_is_read_with_hubs_behind_hubs() {
        let topology = Topology::read(&Tree::recorded("qemu").devices()).unwrap();
        let controllers: Vec<_> = topology.controllers.iter().map(|(name, c)| (name.as_str(), c)).collect();
        let controller = |driver: &str, ports| Controller {
            driver: Some(driver.to_owned()),
            ports,
        };
        assert_eq!(
            controllers,
            [
                ("pci-0000:00:04.0", &controller("xhci_hcd", 8)),
                ("pci-0000:00:05.0", &controller("ehci-pci", 6)),
            ]
        );
        let places: Vec<String> = topology.plugged.iter().map(Plugged::place).collect();
        assert_eq!(
            places,
            [
                "pci-0000:00:04.0/1",
                "pci-0000:00:04.0/1.1",
                "pci-0000:00:04.0/1.1.3",
                "pci-0000:00:04.0/1.4",
                "pci-0000:00:04.0/2",
                "pci-0000:00:04.0/2.2",
                "pci-0000:00:04.0/5",
                "pci-0000:00:05.0/1",
            ]
        );
        let hub = topology.at("pci-0000:00:04.0", &[1, 1]).unwrap();
        let slow = Hub {
            ports: 8,
            translators: Translators::None,
        };
        assert_eq!((hub.hub, hub.speed, hub.endpoints), (Some(slow), 12, 1));
        assert_eq!(hub.name.as_deref(), Some("QEMU USB Hub"));
        let tablet = topology.at("pci-0000:00:05.0", &[1]).unwrap();
        assert_eq!((tablet.hub, tablet.speed), (None, 480));
    }

    #[test]
    fn a_fast_hub_shows_up_twice_and_is_found_once() {
        let topology = Topology::read(&Tree::recorded("rack").devices()).unwrap();
        let halves = topology.plugged.iter().filter(|p| p.chain == [2]).count();
        let hub = topology.at("pci-0000:00:14.0", &[2]).unwrap();
        assert_eq!((halves, hub.speed), (2, 480));
        assert_eq!(hub.hub.unwrap().translators, Translators::PerPort);
        assert_eq!(topology.controllers["pci-0000:00:14.0"].ports, 12, "of the slower half");
        let camera = topology.at("pci-0000:00:14.0", &[3]).unwrap();
        assert_eq!((camera.hub, camera.endpoints), (None, 2));
    }
}
