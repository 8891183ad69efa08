//! The side of the cloud that devices connect to.

use crate::model::DeviceId;

/// One attempt of a device to connect, with everything in its key store that takes part.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Device id.
    pub id: DeviceId,
    /// True for the RSA handshake over TCP, false for P-256 over UDP.
    pub tcp: bool,
    /// The whole private key slot as it is in the device.
    pub private_slot: Vec<u8>,
    /// The server key slot as it is in the device.
    pub server_key: Vec<u8>,
    /// The server's host name from the device's address record, `$id` replaced or not.
    pub server_host: String,
    /// The port from the address record; 0 and 0xFFFF are the default.
    pub port: u16,
    /// Platform number.
    pub platform: u16,
    /// Device OS version number.
    pub os_version: u16,
    /// Product number that the firmware reports.
    pub product_id: u16,
    /// Firmware version that the firmware reports.
    pub product_version: u16,
    /// The session that the device kept, if any.
    pub session: Option<Vec<u8>>,
}

/// How an attempt to connect ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// The device is connected.
    Connected {
        /// What the device keeps to resume.
        session: Vec<u8>,
        /// True if no handshake took place.
        resumed: bool,
    },
    /// The handshake failed.
    Refused {
        /// Which side found what.
        why: String,
    },
    /// The address is not this cloud's.
    NoRoute,
}
