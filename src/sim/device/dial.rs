//! A call of a device to the cloud, and how it went: what device and world tell each other.

use std::fmt;

use crate::model::DeviceId;

/// A call to the cloud.
#[derive(Clone, PartialEq, Eq)]
pub struct Dial {
    /// Who calls.
    pub id: DeviceId,
    /// Over TCP with RSA; otherwise over UDP with P-256.
    pub tcp: bool,
    /// The whole private key slot as it is.
    pub private_slot: Vec<u8>,
    /// The server's public key that it pins: SPKI cut to its DER length, or the whole segment if that is no DER.
    pub server_key: Vec<u8>,
    /// Host with the device id filled in; empty if the stored address is not one.
    pub server_host: String,
    /// Port.
    pub port: u16,
    /// Platform id.
    pub platform: u16,
    /// Module version of the Device OS that runs.
    pub os_version: u16,
    /// Product id; the platform id without product firmware.
    pub product_id: u16,
    /// Product version; 0xFFFF without product firmware.
    pub product_version: u16,
    /// The claim code that it hands over, if one was set and not yet used.
    pub claim_code: Option<String>,
    /// The session from before, if neither key changed since.
    pub session: Option<Vec<u8>>,
}

impl fmt::Debug for Dial {
    /// Without the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("id", &self.id)
            .field("tcp", &self.tcp)
            .field("server_host", &self.server_host)
            .field("port", &self.port)
            .field("os_version", &self.os_version)
            .field("resumes", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// It is connected.
    Connected {
        /// What to resume the session with; empty if sessions are not resumed.
        session: Vec<u8>,
        /// The session from before was resumed: no full handshake.
        resumed: bool,
    },
    /// The cloud refused it.
    Refused {
        /// Why, for people: the device is not told.
        why: String,
        /// What the device notices of it.
        noticed: Noticed,
    },
    /// Nothing answers at that address.
    NoRoute,
}

/// What a device notices of a refusal. It keeps no more of it than a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The cloud ends the handshake (TCP), or does not answer the greeting (UDP).
    Silence,
    /// What came was encrypted for another key than the device's.
    Undecipherable,
    /// What came was not by the owner of the server key in the device.
    Imposter,
    /// The server key in the device is none.
    NoServerKey,
}

impl Noticed {
    /// The number that the device keeps: 26 on TCP and 10 on UDP are those of device-protocol.md 4.4, 6 and 8 those of
    /// cloud-api.md 7.1, 17 that of 7.2 for a handshake that is not completed. 16 is the one in their row for a server
    /// key that cannot be parsed.
    pub(super) const fn number(self, tcp: bool) -> i32 {
        match (self, tcp) {
            (Self::Silence, true) => 26,
            (Self::Silence, false) => 10,
            (Self::Undecipherable, _) => 6,
            (Self::Imposter, true) => 8,
            (Self::Imposter, false) => 17,
            (Self::NoServerKey, _) => 16,
        }
    }
}
