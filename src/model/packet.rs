//! What accompanies a public key on its way from a field bench to the product owner, and what becomes of it.

use serde::{Deserialize, Serialize};

use super::{DeviceId, Fingerprint, KeyKind, Platform, StationId, Wall, key::base64_bytes};

/// The manifest of a packet: whose key it is, with a signature made by that key.
///
/// [`crate::keys`] signs and verifies it, and says which bytes are signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format, from 1.
    pub packet: u32,
    /// The device that held the private key.
    pub device: DeviceId,
    /// Its platform.
    pub platform: Platform,
    /// The kind of the key.
    pub kind: KeyKind,
    /// The public key.
    pub fingerprint: Fingerprint,
    /// The station that had the device in hand.
    pub station: StationId,
    /// When it had.
    pub at: Wall,
    /// The signature, in base64 when written.
    #[serde(with = "base64_bytes")]
    pub signature: Vec<u8>,
}

/// What cannot be checked of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unchecked {
    /// That the device held the key: there is no manifest.
    Possession,
    /// That the key is of the kind that the device needs: nobody here knows its platform.
    Kind,
    /// That it replaces no other key: neither ledger nor cloud shows one, and the cloud never tells which key it holds.
    Replacement,
}

impl Unchecked {
    /// In words, behind "not checked:".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Possession => "that the device holds this key (no manifest)",
            Self::Kind => "that the key is of the kind that the device needs (platform unknown here)",
            Self::Replacement => "that it replaces no other key (none is known, and the cloud does not tell)",
        }
    }
}

/// What speaks for a key that came from afar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The manifest, verified: the device held the key at that time. It does not say who sent it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub manifest: Option<Manifest>,
    /// What could not be checked.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub unchecked: Vec<Unchecked>,
}

/// Who stands for a key that takes the place of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// Under which reference the device was returned.
    pub reference: String,
    /// The named person.
    pub by: String,
}

/// How a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketEnd {
    /// The cloud accepted its key.
    Registered,
    /// Its key was not registered, and will not be.
    Refused,
    /// It cannot be told whether its key was registered.
    Unknown,
}

impl PacketEnd {
    /// The word on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}
