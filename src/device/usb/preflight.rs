//! What will go wrong with a rack before a shift begins: slots whose hub is not there, hubs through which too little
//! fits, and more devices than a controller can have.
//!
//! Pure: it compares the slots of the station with what is plugged in. All that it says is a warning: nobody can know from
//! here which slots will be used.

use std::collections::BTreeMap;

use crate::model::{PortPath, SlotNo, sentence::count};

use super::topology::{Plugged, Topology, Translators, place};

/// One thing that will go wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The machine has no such controller.
    #[error("this machine has no USB controller {controller}, where {} {}", numbers(.slots), are(.slots))]
    NoController {
        /// Its name.
        controller: String,
        /// The slots that are on it.
        slots: Vec<SlotNo>,
    },
    /// A hub is not plugged in, or has no power.
    #[error("there is no hub at {at}, where {} {}", numbers(.slots), are(.slots))]
    NoHub {
        /// Where it should be.
        at: String,
        /// The slots behind it.
        slots: Vec<SlotNo>,
    },
    /// Something else is plugged in where a hub should be.
    #[error("at {at} there is {what} in place of the hub of {}", numbers(.slots))]
    NotAHub {
        /// Where it should be.
        at: String,
        /// What is there.
        what: String,
        /// The slots behind it.
        slots: Vec<SlotNo>,
    },
    /// A hub has fewer ports than the slots need.
    #[error("the hub at {at} has {}, and not those of {}", count(usize::from(*.ports), "port"), numbers(.slots))]
    NoPort {
        /// Where it is.
        at: String,
        /// How many it has.
        ports: u8,
        /// The slots whose ports it has not.
        slots: Vec<SlotNo>,
    },
    /// Several slots share one transaction translator.
    #[error("the hub at {at} has one transaction translator: {} share 12 Mbit/s", numbers(.slots))]
    OneTranslator {
        /// Where it is.
        at: String,
        /// The slots that share it.
        slots: Vec<SlotNo>,
    },
    /// More devices than the controller is likely to take.
    #[error("controller {controller} may be too full: with a device in {} it has {devices} devices and {endpoints} endpoints", numbers(.slots))]
    Crowded {
        /// Its name.
        controller: String,
        /// The slots that are on it.
        slots: Vec<SlotNo>,
        /// Devices on it when all of them are in use, hubs included.
        devices: usize,
        /// Endpoints on it then.
        endpoints: u32,
    },
}

impl Trouble {
    /// The one next action.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::NoController { .. } => "plug the rack in as it was, or teach the slots again with `keyrack slots learn`",
            Self::NoHub { .. } => "plug the hub in and look at its power supply",
            Self::NotAHub { .. } => "plug the hub in there, or teach the slots again with `keyrack slots learn`",
            Self::NoPort { .. } => "teach these slots again with `keyrack slots learn`",
            Self::OneTranslator { .. } => {
                "use a hub with a translator for each port (multi-TT); flashing all of these at once will be slow"
            }
            Self::Crowded { .. } => {
                "put some of the hubs on another controller: many take no more than 32 devices or 96 endpoints"
            }
        }
    }
}

/// Compares the slots of a station with what is plugged in.
pub fn preflight(topology: &Topology, slots: &[(SlotNo, PortPath)]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut broken: BTreeMap<Broken, Vec<SlotNo>> = BTreeMap::new();
    let mut translators: BTreeMap<String, Vec<SlotNo>> = BTreeMap::new();
    for (slot, port) in slots {
        match way(topology, port) {
            Ok(Some(hub)) => translators.entry(hub).or_default().push(*slot),
            Ok(None) => {}
            Err(reason) => broken.entry(reason).or_default().push(*slot),
        }
    }
    troubles.extend(broken.into_iter().map(|(reason, slots)| reason.trouble(slots)));
    troubles.extend(
        translators
            .into_iter()
            .filter(|(_, slots)| slots.len() > 1)
            .map(|(at, slots)| Trouble::OneTranslator { at, slots }),
    );
    troubles.extend(topology.controllers.keys().filter_map(|name| crowded(topology, name, slots)));
    troubles
}

/// Why a port cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Broken {
    Controller(String),
    Missing(String),
    Other(String, String),
    Ports(String, u8),
}

impl Broken {
    fn trouble(self, slots: Vec<SlotNo>) -> Trouble {
        match self {
            Self::Controller(controller) => Trouble::NoController { controller, slots },
            Self::Missing(at) => Trouble::NoHub { at, slots },
            Self::Other(at, what) => Trouble::NotAHub { at, what, slots },
            Self::Ports(at, ports) => Trouble::NoPort { at, ports, slots },
        }
    }
}

/// Follows the hubs to a port; gives the place of the hub whose only translator the device there shares, if there is one.
fn way(topology: &Topology, port: &PortPath) -> Result<Option<String>, Broken> {
    let name = port.controller();
    let controller = topology
        .controllers
        .get(name)
        .ok_or_else(|| Broken::Controller(name.to_owned()))?;
    let (mut ports, mut shared) = (controller.ports, None);
    for (depth, number) in port.chain().iter().enumerate() {
        let chain = &port.chain()[..depth];
        if depth > 0 {
            let at = place(name, chain);
            let plugged = topology.at(name, chain).ok_or_else(|| Broken::Missing(at.clone()))?;
            let hub = plugged.hub.ok_or_else(|| Broken::Other(at.clone(), what(plugged)))?;
            ports = hub.ports;
            shared = match hub.translators {
                // A hub of full speed hangs on the translator of the one above, with all that is behind it.
                Translators::None => shared,
                Translators::One => Some(at),
                Translators::PerPort => None,
            };
        }
        if *number > ports {
            return Err(Broken::Ports(place(name, chain), ports));
        }
    }
    Ok(shared)
}

fn crowded(topology: &Topology, controller: &str, slots: &[(SlotNo, PortPath)]) -> Option<Trouble> {
    let driver = topology.controllers.get(controller)?.driver.as_deref()?;
    if !driver.starts_with("xhci") {
        return None;
    }
    let here: Vec<&(SlotNo, PortPath)> = slots.iter().filter(|(_, port)| port.controller() == controller).collect();
    let others: Vec<&Plugged> = topology
        .plugged
        .iter()
        .filter(|p| p.controller == controller && !here.iter().any(|(_, port)| port.chain() == p.chain))
        .collect();
    let devices = here.len() + others.len();
    let planned = u32::try_from(here.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(RUNNING_ENDPOINTS);
    let endpoints = planned.saturating_add(others.iter().map(|p| p.endpoints).sum());
    (!here.is_empty() && (devices > MOST_DEVICES || endpoints > MOST_ENDPOINTS)).then(|| Trouble::Crowded {
        controller: controller.to_owned(),
        slots: here.iter().map(|(slot, _)| *slot).collect(),
        devices,
        endpoints,
    })
}

fn what(plugged: &Plugged) -> String {
    match &plugged.name {
        Some(name) => format!("\"{name}\""),
        None => format!("a device {:04x}:{:04x}", plugged.vendor, plugged.product),
    }
}

/// `slot 3`, or `slots 1 to 4, 7`.
fn numbers(slots: &[SlotNo]) -> String {
    let mut sorted: Vec<u16> = slots.iter().map(|slot| slot.0).collect();
    sorted.sort_unstable();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for number in sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let words: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first} to {last}"),
        })
        .collect();
    format!("slot{} {}", if slots.len() == 1 { "" } else { "s" }, words.join(", "))
}

const fn are(slots: &[SlotNo]) -> &'static str {
    if slots.len() == 1 { "is" } else { "are" }
}

/// What common xHCI controllers take: some say that they support 32 devices, most have 96 endpoints.
const MOST_DEVICES: usize = 32;
const MOST_ENDPOINTS: u32 = 96;

/// Endpoints of a running device beside the default one: those of its serial port.
const RUNNING_ENDPOINTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, *};

    fn slots(ports: &[&str]) -> Vec<(SlotNo, PortPath)> {
        let numbered = ports.iter().zip(1..);
        numbered
            .map(|(port, n)| {
                let port = if port.starts_with('/') {
                    format!("pci-0000:00:14.0{port}")
                } else {
                    (*port).to_owned()
                };
                (SlotNo(n), port.parse().unwrap())
            })
            .collect()
    }

    fn said(tree: &str, ports: &[&str]) -> Vec<String> {
        let topology = Topology::read(&Tree::recorded(tree).devices()).unwrap();
        let troubles = preflight(&topology, &slots(ports));
        assert!(troubles.iter().all(|trouble| !trouble.next().is_empty()));
        troubles.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rack_that_fits_raises_no_trouble() {
        assert!(said("rack", &["/2.1", "/2.2", "/2.3", "/4", "/2.7.1", "/1.1"]).is_empty());
        assert!(said("rack", &[]).is_empty());
    }

    #[test]
    fn slots_that_share_a_translator_are_named_with_their_hub() {
        assert_eq!(
            said("rack", &["/1.1", "/1.2", "/1.3", "/2.1", "/2.7.1", "/2.7.4"]),
            [
                "the hub at pci-0000:00:14.0/1 has one transaction translator: slots 1 to 3 share 12 Mbit/s",
                "the hub at pci-0000:00:14.0/2.7 has one transaction translator: slots 5, 6 share 12 Mbit/s",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_said_once_for_all_its_slots() {
        assert_eq!(
            said(
                "rack",
                &["/5.1", "/5.2", "/2.6.1", "sim-0/1", "/3.1", "/1.5", "/13", "/2.7.9"]
            ),
            [
                "this machine has no USB controller sim-0, where slot 4 is",
                "there is no hub at pci-0000:00:14.0/2.6, where slot 3 is",
                "there is no hub at pci-0000:00:14.0/5, where slots 1, 2 are",
                "at pci-0000:00:14.0/3 there is \"Webcam C270\" in place of the hub of slot 5",
                "the hub at pci-0000:00:14.0 has 12 ports, and not those of slot 7",
                "the hub at pci-0000:00:14.0/1 has 4 ports, and not those of slot 6",
                "the hub at pci-0000:00:14.0/2.7 has 4 ports, and not those of slot 8",
            ]
        );
    }

    /// Thirty ports in a row of hubs that are not there: what counts is how many devices are planned.
    fn many(n: u8) -> Vec<String> {
        (0..n).map(|i| format!("/{}.{}", 6 + i / 7, 1 + i % 7)).collect()
    }

    #[test]
    fn a_controller_is_too_full_by_devices_or_by_endpoints() {
        // Five hubs of which one shows up twice, and a camera: five devices more, with six endpoints.
        for (planned, expected) in [(27, None), (28, Some((33, 90))), (30, Some((35, 96))), (31, Some((36, 99)))] {
            let ports = many(planned);
            let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
            let topology = Topology::read(&Tree::recorded("rack").devices()).unwrap();
            let full = preflight(&topology, &slots(&ports))
                .into_iter()
                .find_map(|trouble| match trouble {
                    Trouble::Crowded { devices, endpoints, .. } => Some((devices, endpoints)),
                    _ => None,
                });
            assert_eq!(full, expected, "{planned}");
        }
    }

    #[test]
    fn a_hub_of_full_speed_hangs_on_the_translator_above_it() {
        assert!(said("qemu", &["pci-0000:00:04.0/1.1.1", "pci-0000:00:04.0/1.2"]).is_empty());
        let mut topology = Topology::read(&Tree::recorded("qemu").devices()).unwrap();
        let upper = topology.plugged.iter_mut().find(|p| p.chain == [1]).unwrap();
        upper.hub.as_mut().unwrap().translators = Translators::One;
        let troubles = preflight(&topology, &slots(&["pci-0000:00:04.0/1.1.1", "pci-0000:00:04.0/1.2"]));
        assert!(matches!(&troubles[..], [Trouble::OneTranslator { slots, .. }] if slots.len() == 2));
    }

    #[test]
    fn numbers_are_said_as_people_say_them() {
        let of = |list: &[u16]| numbers(&list.iter().map(|n| SlotNo(*n)).collect::<Vec<_>>());
        assert_eq!(of(&[3]), "slot 3");
        assert_eq!(of(&[4, 1, 2, 3, 7, 9, 8, 12]), "slots 1 to 4, 7 to 9, 12");
        assert_eq!(of(&[1, 2]), "slots 1, 2");
    }
}
