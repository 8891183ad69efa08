//! Scenario files: a rack, a cloud, what goes wrong, and how it must end, all as data (`fixtures/scenarios/*.toml`).
//!
//! A file is parsed once into types that cannot contradict themselves. Running it, and judging how it ended, is done by
//! whoever has a station.

mod expect;
mod mishaps;
mod platform;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Deserialize;

use crate::{
    model::{DeviceId, PortPath},
    sim::device::{Device, Spec, StartKey, StartServer, Timing},
};

use super::{PortError, World, hubs, mishap::Mishap};

pub use expect::{EndKey, Ending, Expect};
pub use platform::PlatformName;

/// A whole scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub about: String,
    /// Decides everything that is random.
    pub seed: u64,
    /// What the recipes do with keys, in their own words: passed on as it is. Without it the runner decides.
    pub keys: Option<String>,
    /// Whether the recipes let a device go whose key is still owed to the cloud.
    pub finish_owed: bool,
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
    /// How it must end for the device that starts in each slot, by slot number. Each device has one.
    pub expect: BTreeMap<u16, Expect>,
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

/// A device in its slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The port of the slot.
    pub port: PortPath,
    /// The id of the device.
    pub id: DeviceId,
    /// Its platform.
    pub platform: PlatformName,
    /// What its private key slot holds.
    pub key: KeyState,
    /// Whose server key it holds.
    pub server: ServerState,
    /// Whether it is protected.
    pub protected: bool,
    /// The serial number on its label.
    pub serial: Option<String>,
    /// Its Device OS, as a module version: 6200 for 6.2.0.
    pub os: u16,
    /// Whether its SIM may join a network.
    pub sim_active: bool,
    /// The Wi-Fi network that it already knows.
    pub wifi: Option<String>,
    /// Whether the product of the cloud has it already.
    pub imported: bool,
    /// Who owns it in the cloud, if anybody: the station's account, one of the team, a customer, or anybody else, who is
    /// a stranger.
    pub owner: Option<String>,
    /// The number of another product, which has it already: one of the cloud's, or one that the station knows nothing of.
    pub in_product: Option<u32>,
    /// Its name in the cloud.
    pub name: Option<String>,
    /// Its notes in the cloud.
    pub notes: Option<String>,
    /// Its groups in its product.
    pub groups: Vec<String>,
    /// Whether the product denies it.
    pub denied: bool,
    /// Whether its product holds it in quarantine.
    pub quarantined: bool,
    /// The mobile secret on its label. The cloud knows it, and it never crosses the cable.
    pub mobile_secret: Option<String>,
    /// The slot of the device of which it is a copy: it holds the same key.
    pub same_key_as: Option<u16>,
    /// The slot of the device whose id it shows in place of its own.
    pub shows_id_of: Option<u16>,
}

/// What the private key slot of a device holds at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// A key as this device's Device OS writes it.
    #[default]
    Good,
    /// 0xFF throughout.
    Blank,
    /// A key with one byte changed.
    Corrupt,
    /// Zeros.
    AllZero,
    /// A P-256 key in the encoding of Device OS before 2.1.
    Old,
    /// An RSA key that the device itself misreads.
    Misread,
    /// A key of the other transport.
    Foreign,
}

/// Whose server key a device holds at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerState {
    /// The vendor's, as shipped.
    #[default]
    Production,
    /// The stand-in cloud's.
    StandIn,
    /// None that parses.
    Corrupt,
    /// 0xFF throughout.
    Blank,
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
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`ScenarioError`], which names what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let raw: RawScenario = toml::from_str(text).map_err(|source| ScenarioError::Parse(Box::new(source)))?;
        let slots = place(&raw.slot, raw.seed)?;
        let mishaps = raw.mishap.into_iter().enumerate();
        Ok(Self {
            mishaps: mishaps.map(|(n, m)| m.resolve(n, &slots)).collect::<Result<_, _>>()?,
            expect: expect::resolve(raw.expect, &slots)?,
            about: raw.about,
            seed: raw.seed,
            keys: raw.keys,
            finish_owed: raw.finish_owed,
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

impl Slot {
    /// The device model's view of this device. `stand_in` is the server state for [`ServerState::StandIn`]: the key of
    /// the stand-in cloud for the transport of this platform, and its address.
    pub fn spec(&self, seed: u64, stand_in: &StartServer) -> Spec {
        let cellular = self.platform.cellular();
        Spec {
            id: self.id,
            platform: self.platform.number(),
            serial: self.serial.clone(),
            mobile_secret: self.mobile_secret.clone(),
            iccid: cellular.then(|| digits("8901", 20, self.id)),
            imei: cellular.then(|| digits("35", 15, self.id)),
            os_version: self.os,
            key: match self.key {
                KeyState::Good => StartKey::Valid,
                KeyState::Blank => StartKey::Blank,
                KeyState::Corrupt => StartKey::Corrupt,
                KeyState::AllZero => StartKey::AllZero,
                KeyState::Old => StartKey::Old,
                KeyState::Misread => StartKey::Misread,
                KeyState::Foreign => StartKey::Foreign,
            },
            server: match self.server {
                ServerState::Production => StartServer::Production,
                ServerState::StandIn => stand_in.clone(),
                ServerState::Corrupt => StartServer::Corrupt,
                ServerState::Blank => StartServer::Blank,
            },
            protected: self.protected,
            sim_active: self.sim_active,
            seed: platform::mix(seed, u64::from_le_bytes(tail(self.id))),
            wifi: self.wifi.clone(),
            ..Spec::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    about: String,
    seed: u64,
    keys: Option<String>,
    #[serde(default, rename = "finish-owed")]
    finish_owed: bool,
    #[serde(default, rename = "without-recipe")]
    without_recipe: Vec<PlatformName>,
    #[serde(default)]
    pace: Pace,
    slot: Vec<RawSlot>,
    #[serde(default)]
    cloud: CloudSetup,
    #[serde(default)]
    mishap: Vec<mishaps::RawMishap>,
    expect: Vec<expect::RawExpect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSlot {
    number: u16,
    platform: PlatformName,
    port: Option<PortPath>,
    id: Option<DeviceId>,
    #[serde(default)]
    key: KeyState,
    #[serde(default)]
    server: ServerState,
    #[serde(default)]
    protected: bool,
    serial: Option<String>,
    os: Option<platform::OsVersion>,
    sim_active: Option<bool>,
    wifi: Option<String>,
    #[serde(default)]
    imported: bool,
    owner: Option<String>,
    in_product: Option<u32>,
    name: Option<String>,
    notes: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    denied: bool,
    #[serde(default)]
    quarantined: bool,
    mobile_secret: Option<String>,
    same_key_as: Option<u16>,
    shows_id_of: Option<u16>,
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

fn place(raw: &[RawSlot], seed: u64) -> Result<BTreeMap<u16, Slot>, ScenarioError> {
    let mut slots: BTreeMap<u16, Slot> = BTreeMap::new();
    for slot in raw {
        if !(1..=LAST_SLOT).contains(&slot.number) {
            return Err(ScenarioError::SlotNumber(slot.number));
        }
        let port = slot.port.clone().unwrap_or_else(|| hubs::default_port(slot.number));
        let id = slot.id.unwrap_or_else(|| slot.platform.device_id(seed, slot.number));
        if slots.contains_key(&slot.number) || slots.values().any(|s| s.port == port || s.id == id) {
            return Err(ScenarioError::SlotTwice(slot.number));
        }
        let placed = Slot {
            port,
            id,
            platform: slot.platform,
            key: slot.key,
            server: slot.server,
            protected: slot.protected,
            serial: slot.serial.clone(),
            os: slot.os.map_or(slot.platform.os_version(), |os| os.0),
            sim_active: slot.sim_active.unwrap_or(true),
            wifi: slot.wifi.clone(),
            imported: slot.imported,
            owner: slot.owner.clone(),
            in_product: slot.in_product,
            name: slot.name.clone(),
            notes: slot.notes.clone(),
            groups: slot.groups.clone(),
            denied: slot.denied,
            quarantined: slot.quarantined,
            mobile_secret: slot.mobile_secret.clone(),
            same_key_as: slot.same_key_as,
            shows_id_of: slot.shows_id_of,
        };
        slots.insert(slot.number, placed);
    }
    let others = raw
        .iter()
        .flat_map(|slot| [slot.same_key_as, slot.shows_id_of].into_iter().flatten());
    for slot in others {
        if !slots.contains_key(&slot) {
            let what = "[[slot]]".to_owned();
            return Err(ScenarioError::NoDevice { what, slot });
        }
    }
    Ok(slots)
}

/// A number of so many digits that starts like this and differs from device to device.
fn digits(start: &str, len: usize, id: DeviceId) -> String {
    let rest = len - start.len();
    let number = (0..rest).fold(1, |n: u64, _| n.saturating_mul(10));
    format!("{start}{:0rest$}", u64::from_le_bytes(tail(id)) % number)
}

fn tail(id: DeviceId) -> [u8; 8] {
    let mut tail = [0; 8];
    tail.copy_from_slice(&id.bytes()[4..]);
    tail
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn bench_user() -> String {
    "operator@bench.test".to_owned()
}

/// As far as [`hubs::default_port`] reaches.
const LAST_SLOT: u16 = 2040;
