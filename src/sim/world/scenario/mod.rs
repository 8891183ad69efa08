//! Scenario files: a rack, a cloud, what goes wrong, and how it must end, all as data (`fixtures/scenarios/*.toml`).
//!
//! A file is parsed once into types that cannot contradict themselves. Running it, and judging how it ended, is done by
//! whoever has a station.

mod expect;
mod mishaps;
mod platform;
mod slot;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Deserialize;

use crate::sim::device::{Device, StartServer, Timing};

use super::{PortError, World, hubs::Topology, mishap::Mishap};

pub use expect::{EndKey, Ending, Expect};
pub use platform::PlatformName;
pub use slot::{KeyState, RegisteredKey, ServerState, Slot};

/// A whole scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub about: String,
    /// Decides everything that is random.
    pub seed: u64,
    /// Where slots are that name no port.
    pub topology: Topology,
    /// What the recipes do with keys, in their own words: passed on as it is. Without it the runner decides.
    pub keys: Option<String>,
    /// What the recipes are for, if they repair: devices are theirs that the product of the recipe holds.
    pub repair: Option<Repair>,
    /// How many devices are ordered, if there is a work order.
    pub ordered: Option<u32>,
    /// Whether the recipes let a device go whose key is still owed to the cloud.
    pub finish_owed: bool,
    /// Whether the recipes let protected devices into Service Mode.
    pub service_mode: bool,
    /// Platforms that no recipe is for.
    pub without_recipe: Vec<PlatformName>,
    /// How long devices take.
    pub pace: Pace,
    /// The devices in their slots, by slot number.
    pub slots: BTreeMap<u16, Slot>,
    /// The stand-in cloud.
    pub cloud: CloudSetup,
    /// What goes wrong. Each must happen, or the scenario proves nothing.
    pub mishaps: Vec<Mishap>,
    /// How it must end for the device that starts in each slot, by slot number. Each device has one where it is judged.
    pub expect: BTreeMap<u16, Expect>,
}

/// What recipes that repair may do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repair {
    /// The work, in the recipes' own word: passed on as it is.
    pub work: String,
    /// Numbers of products from which devices are moved to that of the recipe for their platform.
    #[serde(default)]
    pub from: Vec<u32>,
}

/// How long devices take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// As long as real ones.
    #[default]
    Real,
    /// A microsecond for each thing.
    Instant,
}

impl Pace {
    /// The times of a device of this pace.
    pub fn timing(self) -> Timing {
        match self {
            Pace::Real => Timing::default(),
            Pace::Instant => Timing::instant(),
        }
    }
}

/// The stand-in cloud at the start of a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudSetup {
    /// The products; without any the runner makes one for each platform. Where several are for one platform, the recipe
    /// is for the first.
    #[serde(default, rename = "product")]
    pub products: Vec<Product>,
    /// The account that the station's token belongs to.
    #[serde(default = "bench_user")]
    pub owner: String,
    /// The role of that account in the products.
    #[serde(default)]
    pub role: Role,
    /// Further members of the team of every product, as developers.
    #[serde(default)]
    pub team: Vec<String>,
    /// The customers of every product, by e-mail address.
    #[serde(default)]
    pub customers: Vec<String>,
    /// What the stand-in is told to do wrong, in its own words: passed on as they are, but that `slot = 1` may stand for
    /// the id of the device in a slot.
    #[serde(default, rename = "fault")]
    pub faults: Vec<toml::Table>,
}

impl Default for CloudSetup {
    fn default() -> Self {
        Self {
            products: Vec::new(),
            owner: bench_user(),
            role: Role::default(),
            team: Vec::new(),
            customers: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// A product of the stand-in cloud.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its number.
    pub id: u32,
    /// Its slug.
    pub slug: String,
    /// The platform of its devices.
    pub platform: PlatformName,
    /// Whether its devices are protected.
    #[serde(default)]
    pub protected: bool,
    /// Whether it is somebody else's: the station's account and its team have no role there.
    #[serde(default)]
    pub foreign: bool,
}

/// The roles of cloud-api.md that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// May do everything.
    #[default]
    Administrator,
    /// May import devices and upload keys.
    Developer,
    /// May look.
    ViewOnly,
    /// May look, and see to users and devices, but not keys.
    Support,
}

/// Why a scenario file is not one.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file could not be read.
    #[error("could not read scenario {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, has a field that no scenario has, or a value that the field cannot have.
    #[error("could not parse the scenario")]
    Parse(#[source] Box<toml::de::Error>),
    /// Two slots have the same number, port or device.
    #[error("slot {0}: its number, port or device id is that of another slot")]
    SlotTwice(u16),
    /// Slots are numbered from 1 to 2040.
    #[error("slot {0}: slots are numbered from 1 to 2040")]
    SlotNumber(u16),
    /// Something happens to, or is expected of, a slot that holds no device.
    #[error("{what}: slot {slot} holds no device")]
    NoDevice {
        /// Which entry.
        what: String,
        /// The slot.
        slot: u16,
    },
    /// A device is to be plugged into a slot that holds another one.
    #[error("{what}: slot {slot} holds a device")]
    Occupied {
        /// Which entry.
        what: String,
        /// The slot.
        slot: u16,
    },
    /// A mishap says nothing, or more than one thing, about when it strikes.
    #[error("{0}: \"when\" takes one of at-ms, transfer (from 1) and phase, and nth (from 1) only with phase")]
    When(String),
    /// A mishap needs a slot.
    #[error("{0}: only clock-jump and power-cut do without a slot")]
    NeedsSlot(String),
    /// There is not exactly one expectation for a device.
    #[error("slot {0} needs exactly one [[expect]]")]
    ExpectOnce(u16),
}

impl Scenario {
    /// Parses a file.
    ///
    /// # Errors
    /// [`ScenarioError`], which names what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        Self::parse(&text_of(path)?)
    }

    /// Parses a file for a rack on other ports that is served to whoever comes, and that nobody judges: how it must end may be
    /// left out, of all devices or of some.
    ///
    /// # Errors
    /// [`ScenarioError`], which names what is wrong with it.
    pub fn read_to_serve(path: &Path, topology: Topology) -> Result<Self, ScenarioError> {
        Self::resolve(&text_of(path)?, topology)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`ScenarioError`], which names what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        Self::parse_on(text, Topology::default())
    }

    /// Parses the text of a file for a rack on other ports.
    ///
    /// # Errors
    /// [`ScenarioError`], which names what is wrong with it.
    pub fn parse_on(text: &str, topology: Topology) -> Result<Self, ScenarioError> {
        let scenario = Self::resolve(text, topology)?;
        match scenario.slots.keys().find(|slot| !scenario.expect.contains_key(slot)) {
            Some(slot) => Err(ScenarioError::ExpectOnce(*slot)),
            None => Ok(scenario),
        }
    }

    /// Parses the text of a file, in which how it must end may be left out.
    fn resolve(text: &str, topology: Topology) -> Result<Self, ScenarioError> {
        let raw: RawScenario = toml::from_str(text).map_err(|source| ScenarioError::Parse(Box::new(source)))?;
        let slots = slot::place(&raw.slot, raw.seed, topology)?;
        let mishaps = raw.mishap.into_iter().enumerate();
        Ok(Self {
            mishaps: mishaps
                .map(|(n, m)| m.resolve(n, &slots, topology))
                .collect::<Result<_, _>>()?,
            expect: expect::resolve(raw.expect, &slots)?,
            about: raw.about,
            seed: raw.seed,
            topology,
            keys: raw.keys,
            repair: raw.repair,
            ordered: raw.ordered,
            finish_owed: raw.finish_owed,
            service_mode: raw.service_mode,
            without_recipe: raw.without_recipe,
            pace: raw.pace,
            cloud: raw.cloud.resolve(&slots)?,
            slots,
        })
    }
}

impl Scenario {
    /// Plugs the devices in and arms the mishaps, in a world without either. `stand_in` is as in [`Slot::spec`].
    ///
    /// # Errors
    /// [`PortError::Taken`] if the world was not empty.
    pub fn set_up(&self, world: &World, stand_in: impl Fn(PlatformName) -> StartServer) -> Result<(), PortError> {
        for slot in self.slots.values() {
            let spec = slot.spec(self.seed, &stand_in(slot.platform));
            world.plug(&slot.port, Device::new(spec, self.pace.timing()))?;
        }
        world.arm(self.mishaps.iter().cloned());
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    about: String,
    seed: u64,
    keys: Option<String>,
    repair: Option<Repair>,
    ordered: Option<u32>,
    #[serde(default, rename = "finish-owed")]
    finish_owed: bool,
    #[serde(default, rename = "service-mode")]
    service_mode: bool,
    #[serde(default, rename = "without-recipe")]
    without_recipe: Vec<PlatformName>,
    #[serde(default)]
    pace: Pace,
    slot: Vec<slot::RawSlot>,
    #[serde(default)]
    cloud: CloudSetup,
    #[serde(default)]
    mishap: Vec<mishaps::RawMishap>,
    #[serde(default)]
    expect: Vec<expect::RawExpect>,
}

impl CloudSetup {
    /// Puts device ids where faults name slots.
    fn resolve(mut self, slots: &BTreeMap<u16, Slot>) -> Result<Self, ScenarioError> {
        for fault in &mut self.faults {
            let Some(slot) = fault.remove("slot") else { continue };
            let number = slot.as_integer().and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
            let device = slots.get(&number).ok_or_else(|| ScenarioError::NoDevice {
                what: "[[cloud.fault]]".to_owned(),
                slot: number,
            })?;
            fault.insert("device".to_owned(), device.id.to_string().into());
        }
        Ok(self)
    }
}

fn text_of(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.display().to_string(),
        source,
    })
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn bench_user() -> String {
    "operator@bench.test".to_owned()
}

/// As far as [`hubs::default_port`](super::hubs::default_port) reaches.
const LAST_SLOT: u16 = 2040;
