//! What accompanies a public key on its way from a field bench to the product owner.

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
