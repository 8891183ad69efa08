//! What a simulated device is before it is first powered, and how long the things take that it does.
//!
//! Plain data. It decides nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::DeviceId;

/// A device as it comes out of its box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Its id.
    pub id: DeviceId,
    /// Its platform id, such as 13 for Boron (device-protocol.md 1.1).
    pub platform: u16,
    /// The 15 characters of its label; `None` is a blank OTP area.
    pub serial: Option<String>,
    /// The 15 characters of its mobile secret; never sent over USB.
    pub mobile_secret: Option<String>,
    /// The ICCID of its SIM, for platforms with a modem.
    pub iccid: Option<String>,
    /// The IMEI of its modem, for platforms with one.
    pub imei: Option<String>,
    /// The module version of the Device OS in the generated factory set, such as 6200 for 6.2.0. What is installed wins
    /// over it as soon as something else is installed.
    pub os_version: u16,
    /// What its private key slot holds.
    pub key: StartKey,
    /// What its server key segment holds.
    pub server: StartServer,
    /// Its bootloader carries the protection extension. Only the generated bootloader obeys this.
    pub protected: bool,
    /// Its SIM may join a network.
    pub sim_active: bool,
    /// Firmware files that are already in its flash. What the list lacks of bootloader, pre-bootloaders and radio stack
    /// is generated; an empty list stands for a complete generated factory set.
    pub installed: Vec<Vec<u8>>,
    /// Decides everything that is random: keys, nonces, torn writes.
    pub seed: u64,
    /// The Wi-Fi network that it already knows.
    pub wifi: Option<String>,
    /// The Wi-Fi networks around it. An empty list: every network that it is told to join exists.
    pub air: Vec<AccessPoint>,
    /// A claim code was consumed before: the DCT says claimed.
    pub claimed: bool,
    /// An Electron that talks TCP (DCT offset 2977 is 0).
    pub electron_tcp: bool,
    /// A very old Gen 2 bootloader, which reports the serial number string `00000000010C` (device-protocol.md 1.2).
    pub fixed_dfu_serial: bool,
    /// Control request types that the application's filter denies (result -130).
    pub denied: Vec<u16>,
    /// Whether every application that it is given has DeviceKeyHelperRK linked in, and what that has saved.
    #[serde(default)]
    pub key_helper: StartHelper,
}

impl Default for Spec {
    /// A Boron with Device OS 6.2.0, a valid key and the production server.
    fn default() -> Self {
        Self {
            id: DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]),
            platform: 13,
            serial: None,
            mobile_secret: None,
            iccid: None,
            imei: None,
            os_version: 6200,
            key: StartKey::Valid,
            server: StartServer::Production,
            protected: false,
            sim_active: true,
            installed: Vec::new(),
            seed: 1,
            wifi: None,
            air: Vec::new(),
            claimed: false,
            electron_tcp: false,
            fixed_dfu_serial: false,
            denied: Vec::new(),
            key_helper: StartHelper::None,
        }
    }
}

/// What the library DeviceKeyHelperRK in the application has saved at first (device-protocol.md 4.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartHelper {
    /// The application does not have it.
    #[default]
    None,
    /// Nothing yet.
    Empty,
    /// The key that the device starts with.
    Present,
    /// The key that the device had before: another one, and on UDP the start of the production server key with it.
    Before,
}

/// What the private key slot of a device holds at first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StartKey {
    /// A key as this device's Device OS writes it.
    Valid,
    /// 0xFF throughout: the device makes a key when it first starts its cloud layer.
    Blank,
    /// The slot of a valid key with one byte inside of its numbers changed.
    Corrupt,
    /// Zeros.
    AllZero,
    /// A P-256 key as Device OS before 2.1 wrote one whose top bit is set: 33 bytes of scalar, 122 in all. On a device
    /// with RSA keys the same as `Valid`.
    Old,
    /// An RSA key in canonical PKCS#1 that the device, which reads by position, misreads (device-protocol.md 4.3). On a
    /// device with P-256 keys the same as `Corrupt`.
    Misread,
    /// A valid key of the other transport: RSA where P-256 belongs, and the other way round, cut to the slot.
    Foreign,
    /// These bytes, left aligned, the rest 0xFF.
    Raw(Vec<u8>),
}

/// What the server key segment of a device holds at first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StartServer {
    /// The vendor's key and address.
    Production,
    /// Another server.
    Set {
        /// Its public key, SPKI in DER.
        spki: Vec<u8>,
        /// Its host name or IPv4 address; `$id` stands for the device id.
        host: String,
    },
    /// The vendor's key beside another host name.
    ProductionAt {
        /// The host name; `$id` stands for the device id.
        host: String,
    },
    /// A key that does not parse.
    Corrupt,
    /// 0xFF throughout.
    Blank,
}

/// A Wi-Fi network in the air.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPoint {
    /// Its name.
    pub ssid: String,
    /// Its password; empty for an open network.
    pub password: String,
    /// Its hardware address.
    pub bssid: [u8; 6],
    /// Security as in the `security` enumeration of device-protocol.md 2.7.
    pub security: u8,
    /// Channel.
    pub channel: u8,
    /// Signal strength in dBm, negative.
    pub rssi: i8,
}

/// How long a device takes. All zero would make a device that never gives others their turn, so even
/// [`Timing::instant`] keeps a microsecond for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// One control transfer without data: setup and status stage.
    pub transfer: Duration,
    /// One KiB of data on the wire at full speed.
    pub wire_per_kib: Duration,
    /// From reset until the application is on the bus.
    pub boot: Duration,
    /// From reset until the bootloader is on the bus in DFU mode.
    pub boot_dfu: Duration,
    /// From the fetched reply of a reset-class request until the device acts.
    pub reset_delay: Duration,
    /// From the last transfer of "leave DFU" until the reset.
    pub leave_delay: Duration,
    /// A request handler that only looks something up.
    pub request: Duration,
    /// Erasing one 4 KiB page of an nRF52840.
    pub nrf_erase: Duration,
    /// Programming 4 KiB of an nRF52840.
    pub nrf_program: Duration,
    /// Erasing one 4 KiB sector of serial NOR flash: all of RTL872x, the external flash of nRF52840 boards.
    pub nor_erase: Duration,
    /// Programming 4 KiB of serial NOR flash.
    pub nor_program: Duration,
    /// Erasing one KiB of an STM32F205, whose sectors have 16 to 128 KiB.
    pub stm_erase_per_kib: Duration,
    /// Programming 4 KiB of an STM32F205.
    pub stm_program: Duration,
    /// One write to the DCT.
    pub dct_write: Duration,
    /// The bootloader applies an update, each 64 KiB of it.
    pub apply_per_64k: Duration,
    /// From the start of the application to the start of its cloud layer.
    pub cloud_init: Duration,
    /// Making a P-256 key pair.
    pub make_ec: Duration,
    /// Making an RSA-1024 key pair.
    pub make_rsa: Duration,
    /// From the start of the cloud layer until the network is up.
    pub network: Duration,
    /// The first pause after a failed dial; each further pause is twice as long.
    pub retry_first: Duration,
    /// The longest pause between two dials.
    pub retry_most: Duration,
}

impl Default for Timing {
    /// Realistic figures: field.md 3.2 and device-protocol.md 7. Boot, network and key times are planning values, the
    /// sources give none.
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            transfer: Duration::from_micros(2_500),
            wire_per_kib: Duration::from_micros(1_200),
            boot: ms(2_500),
            boot_dfu: ms(1_200),
            reset_delay: ms(1_000),
            leave_delay: ms(500),
            request: ms(15),
            nrf_erase: ms(85),
            nrf_program: ms(42),
            nor_erase: ms(60),
            nor_program: ms(10),
            stm_erase_per_kib: ms(8),
            stm_program: ms(17),
            dct_write: ms(25),
            apply_per_64k: ms(1_500),
            cloud_init: ms(400),
            make_ec: ms(600),
            make_rsa: ms(9_000),
            network: ms(3_000),
            retry_first: ms(5_000),
            retry_most: ms(60_000),
        }
    }
}

impl Timing {
    /// Everything takes a microsecond, only the pauses between dials take a second: for tests that count transfers.
    pub fn instant() -> Self {
        let us = Duration::from_micros(1);
        Self {
            transfer: us,
            wire_per_kib: us,
            boot: us,
            boot_dfu: us,
            reset_delay: us,
            leave_delay: us,
            request: us,
            nrf_erase: us,
            nrf_program: us,
            nor_erase: us,
            nor_program: us,
            stm_erase_per_kib: us,
            stm_program: us,
            dct_write: us,
            apply_per_64k: us,
            cloud_init: us,
            make_ec: us,
            make_rsa: us,
            network: us,
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(4),
        }
    }
}
