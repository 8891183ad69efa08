//! The ordered work for one product on one platform, as data. [`crate::config`] makes these from `station.toml`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Platform, ProductId, Secret, id::BadId};

/// SHA-256 as 64 hexadecimal digits: of a recipe's text, or of a firmware file.
pub use super::key::Fingerprint as Sha256;

/// What to do with the device's key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPolicy {
    /// Register the key that the device holds; a blank or corrupt slot fails.
    Read,
    /// Make a new pair for every device.
    Generate,
    /// Register the key that the device holds; make a new pair for a blank or corrupt slot.
    ReadOrGenerate,
}

impl std::str::FromStr for KeyPolicy {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        match text {
            "read" => Ok(Self::Read),
            "generate" => Ok(Self::Generate),
            "read-or-generate" => Ok(Self::ReadOrGenerate),
            _ => Err(BadId {
                text: text.to_owned(),
                expected: "a key policy (read, generate, read-or-generate)",
            }),
        }
    }
}

impl fmt::Display for KeyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Generate => "generate",
            Self::ReadOrGenerate => "read-or-generate",
        })
    }
}

/// What to do with the server key and address in the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerPolicy {
    /// Leave them; they are not looked at.
    Keep,
    /// They must be this key and address, and are written where they differ.
    Set(ServerSettings),
}

/// A cloud that devices connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// The server's public key, SubjectPublicKeyInfo DER (294 bytes RSA-2048, 91 bytes P-256).
    pub spki: Vec<u8>,
    /// Host name (`$id` stands for the device id) or dotted IPv4 address.
    pub host: String,
    /// Port; `None` leaves the default. UDP devices ignore it (device-protocol.md 4.4).
    pub port: Option<u16>,
}

/// One firmware file, used only with the SHA-256 that the recipe names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareFile {
    /// Its name as written in the recipe.
    pub name: String,
    /// SHA-256 of the whole file.
    pub sha256: Sha256,
}

/// The bench network for devices with Wi-Fi.
#[derive(Clone, Debug)]
pub struct Wifi {
    /// Network name.
    pub ssid: String,
    /// Password; `None` for an open network.
    pub password: Option<Secret<String>>,
}

/// What to do with a protected device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectedPolicy {
    /// It is set aside: nothing on it is read or changed.
    #[default]
    SetAside,
    /// It is let into Service Mode for the work, with the help of the cloud, and protected again at the end.
    ServiceMode,
}

impl fmt::Display for ProtectedPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SetAside => "set-aside",
            Self::ServiceMode => "service-mode",
        })
    }
}

/// The longest that things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A re-enumerating device to appear again.
    pub reappear: Duration,
    /// A device whose system applies an update.
    pub apply: Duration,
    /// Flashing one file.
    pub flash: Duration,
    /// Any other step of the worker.
    pub step: Duration,
    /// A cloud step before the device is let go or judged.
    pub cloud: Duration,
    /// A handshake after start.
    pub handshake: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            reappear: Duration::from_secs(60),
            apply: Duration::from_secs(240),
            flash: Duration::from_secs(300),
            step: Duration::from_secs(60),
            cloud: Duration::from_secs(600),
            handshake: Duration::from_secs(60),
        }
    }
}

/// What runs under a recipe are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Aim {
    /// To make a device ready for its product.
    #[default]
    Provision,
    /// To find out what is wrong with its keys, and to put it right.
    Repair(Repair),
}

/// A repair: what may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The work.
    pub work: Work,
    /// Products from which a device may be moved to that of the recipe.
    pub from: Vec<ProductId>,
    /// The reference under which the devices were returned.
    pub reference: Option<String>,
}

/// What a repair does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// It ends after the diagnosis, and nothing is changed.
    Diagnose,
    /// It tells key and address, and nothing is changed.
    Address,
    /// The flow that the diagnosis proposes.
    Mend,
    /// A new pair whatever is there. The key policy of the recipe is [`KeyPolicy::Generate`] then.
    NewKey,
    /// Server key and address only.
    ServerKey,
    /// A pair that is given to the station for the device: from a file, an escrow or a dump. The key policy of the recipe
    /// is [`KeyPolicy::Generate`] then.
    GivenKey,
    /// The key that the device holds signs a packet for it; nothing is changed, and the cloud is not asked.
    SaveKey,
}

impl Work {
    /// True if the device gets another pair whatever its slot holds.
    pub const fn writes_key(self) -> bool {
        matches!(self, Self::NewKey | Self::GivenKey)
    }
}

/// The ordered work for one product on one platform.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// SHA-256 of its text: shown, and recorded with every run.
    pub hash: Sha256,
    /// Its text as in `station.toml`, without secrets: stored once per hash, so a run under way keeps its recipe.
    pub text: String,
    /// The platform that it is for.
    pub platform: Platform,
    /// What its runs are for.
    pub aim: Aim,
    /// The product. `None` is for development devices of the station's own account; under a repair it stands for the
    /// product in which the cloud shows the device.
    pub product: Option<ProductId>,
    /// Also activate the SIM at import. It costs money, so only on request.
    pub activate_sim: bool,
    /// Firmware files; keyrack orders them by their dependencies.
    pub firmware: Vec<FirmwareFile>,
    /// What to do with the key pair.
    pub keys: KeyPolicy,
    /// What to do with the server key.
    pub server: ServerPolicy,
    /// What to do with a protected device.
    pub protected: ProtectedPolicy,
    /// The bench network, set before the proof and removed after it.
    pub wifi: Option<Wifi>,
    /// Wait for a handshake as proof.
    pub prove: bool,
    /// Let a device go with its key owed if the cloud cannot be reached and no valid key was overwritten.
    pub finish_owed: bool,
    /// Limits.
    pub timeouts: Timeouts,
}

/// What was ordered: recorded with each run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkOrder {
    /// Its number or name.
    pub id: String,
    /// The product that it is for.
    pub product: Option<ProductId>,
    /// How many devices are ordered.
    pub quantity: u32,
}
