//! Devices as they are written in scenario files, and what they mean for the device model.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    model::{DeviceId, PortPath},
    sim::{
        device::{Spec, StartHelper, StartKey, StartServer},
        world::hubs::Topology,
    },
};

use super::{LAST_SLOT, PlatformName, ScenarioError, platform};

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
    /// Which of its keys the cloud holds, if any.
    pub registered: Option<RegisteredKey>,
    /// Whether its applications have DeviceKeyHelperRK linked in, and what that has saved.
    pub key_helper: StartHelper,
    /// Whether it is an Electron that was set to TCP.
    pub electron_tcp: bool,
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
    /// The vendor's, at the stand-in cloud's address.
    OtherKey,
    /// The stand-in cloud's, at an address where nobody is.
    Elsewhere,
    /// None that parses.
    Corrupt,
    /// 0xFF throughout.
    Blank,
}

/// Which public key of a device the cloud holds at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegisteredKey {
    /// That of the key that the device holds.
    Present,
    /// That of another one, which the device had before.
    Before,
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
                ServerState::OtherKey => match stand_in.clone() {
                    StartServer::Set { host, .. } => StartServer::ProductionAt { host },
                    other => other,
                },
                ServerState::Elsewhere => match stand_in.clone() {
                    StartServer::Set { spki, .. } => StartServer::Set {
                        spki,
                        host: NOWHERE.to_owned(),
                    },
                    other => other,
                },
                ServerState::Corrupt => StartServer::Corrupt,
                ServerState::Blank => StartServer::Blank,
            },
            protected: self.protected,
            sim_active: self.sim_active,
            seed: platform::mix(seed, u64::from_le_bytes(tail(self.id))),
            wifi: self.wifi.clone(),
            key_helper: self.key_helper,
            electron_tcp: self.electron_tcp,
            ..Spec::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSlot {
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
    registered: Option<RegisteredKey>,
    #[serde(default)]
    key_helper: StartHelper,
    #[serde(default)]
    electron_tcp: bool,
    same_key_as: Option<u16>,
    shows_id_of: Option<u16>,
}

pub(super) fn place(raw: &[RawSlot], seed: u64, topology: Topology) -> Result<BTreeMap<u16, Slot>, ScenarioError> {
    let mut slots: BTreeMap<u16, Slot> = BTreeMap::new();
    for slot in raw {
        if !(1..=LAST_SLOT).contains(&slot.number) {
            return Err(ScenarioError::SlotNumber(slot.number));
        }
        let port = slot.port.clone().unwrap_or_else(|| topology.port(slot.number));
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
            registered: slot.registered,
            key_helper: slot.key_helper,
            electron_tcp: slot.electron_tcp,
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

/// `.test` is reserved: no such name is ever anybody's.
const NOWHERE: &str = "nowhere.keyrack.test";
