//! The platform table: what keyrack knows of each kind of Particle device before it talks to one.
//!
//! Sources: device-constants 4.2.1 for names and USB ids; Device OS 2.3.1 and 6.2.0 for flash and DCT
//! layout (device-protocol.md 1.1, 1.6, 3.7, 4.1, 4.2, 5.4).

use std::{fmt, ops::Range, slice};

use serde::{Deserialize, Serialize};

use super::{id::BadId, key::KeyKind};

/// The USB vendor id of Particle devices from the Photon on.
pub const PARTICLE_VENDOR: u16 = 0x2b04;

/// A device platform: one circuit design with its own firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the product names")]
pub enum Platform {
    Core,
    Photon,
    P1,
    Electron,
    Argon,
    Boron,
    Xenon,
    Esomx,
    Asom,
    Bsom,
    Xsom,
    B5som,
    Tracker,
    Trackerm,
    P2,
    Msom,
    Electron2,
    Sulu,
}

/// The microcontroller family: it decides the DFU quirks, flash layout and where keys are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// STM32F103: the Core. Keys are raw in an external flash.
    Stm32f1,
    /// STM32F205: Photon, P1, Electron ("Gen 2").
    Stm32f2,
    /// nRF52840 ("Gen 3").
    Nrf52840,
    /// RTL872xD: P2, Photon 2, M-SoM, Tracker M.
    Rtl872x,
}

/// How a device reaches the cloud, and with it which key pair counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// RSA handshake over TCP port 5683.
    Tcp,
    /// DTLS with raw P-256 public keys over UDP port 5684.
    Udp,
}

impl Transport {
    /// The kind of the device's key pair.
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Transport::Tcp => KeyKind::Rsa1024,
            Transport::Udp => KeyKind::P256,
        }
    }

    /// The default port of the cloud for this transport.
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Tcp => 5683,
            Transport::Udp => 5684,
        }
    }
}

/// The radio that a device connects with: it decides what it needs before it can prove anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// Needs credentials.
    Wifi,
    /// Needs an active SIM.
    Cellular,
    /// Mesh only; end of life.
    Mesh,
}

/// A USB identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UsbId {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
}

/// Where a key slot and its neighbours are, as byte offsets on the key alternate setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySegments {
    /// DFU alternate setting that shows the keys.
    pub alt: u8,
    /// The device's private key: the slot that is read, written and padded as a whole.
    pub private: Segment,
    /// The public copy that the device refreshes itself; never authoritative.
    pub public_copy: Option<Segment>,
    /// The server's public key, without the address.
    pub server_key: Segment,
    /// The server's address record (type, length, text or IPv4; port at byte 66).
    pub server_address: Segment,
}

/// A byte range of the DCT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

/// One row of the platform table.
#[derive(Debug)]
pub struct Row {
    /// The platform.
    pub platform: Platform,
    /// Its number in module headers and in the cloud.
    pub id: u16,
    /// Its name in commands and files.
    pub name: &'static str,
    /// Other names that people use.
    pub aliases: &'static [&'static str],
    /// Microcontroller family.
    pub family: Family,
    /// Cloud transport as shipped.
    pub transport: Transport,
    /// Radio.
    pub network: Network,
    /// True if Device Protection exists for it.
    pub protection: bool,
    /// True for boards with 8 MiB of external flash (nRF only).
    pub big_flash: bool,
}

impl Platform {
    /// Every platform, in table order.
    pub fn all() -> impl Iterator<Item = Platform> {
        TABLE.iter().map(|row| row.platform)
    }

    /// The platform with this number.
    pub fn from_id(id: u16) -> Option<Self> {
        TABLE.iter().find(|row| row.id == id).map(|row| row.platform)
    }

    /// The platform that shows this USB identity, and in which mode.
    pub fn from_usb(usb: UsbId) -> Option<(Self, UsbMode)> {
        Self::all().find_map(|p| match usb {
            u if u == p.usb(UsbMode::Normal) => Some((p, UsbMode::Normal)),
            u if u == p.usb(UsbMode::Dfu) => Some((p, UsbMode::Dfu)),
            _ => None,
        })
    }

    /// The table row.
    pub fn row(self) -> &'static Row {
        // The table has one row for each variant, in the order of the enum: a test says so.
        &TABLE[self as usize]
    }

    /// The name in commands and files.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The number in module headers and in the cloud.
    pub fn id(self) -> u16 {
        self.row().id
    }

    /// Microcontroller family.
    pub fn family(self) -> Family {
        self.row().family
    }

    /// Kind of the key pair that this platform connects with as shipped.
    pub fn key_kind(self) -> KeyKind {
        self.row().transport.key_kind()
    }

    /// True if it has a cellular modem, with an ICCID and an IMEI. The M-SoM has one beside its Wi-Fi.
    pub fn has_modem(self) -> bool {
        self.row().network == Network::Cellular || self == Platform::Msom
    }

    /// The USB identity in a mode. Normal is 0xC000 | id and DFU is 0xD000 | id; the Core came before that rule.
    pub fn usb(self, mode: UsbMode) -> UsbId {
        match (self, mode) {
            (Platform::Core, UsbMode::Normal) => UsbId {
                vendor: 0x1d50,
                product: 0x607d,
            },
            (Platform::Core, UsbMode::Dfu) => UsbId {
                vendor: 0x1d50,
                product: 0x607f,
            },
            (p, UsbMode::Normal) => UsbId {
                vendor: PARTICLE_VENDOR,
                product: 0xc000 | p.id(),
            },
            (p, UsbMode::Dfu) => UsbId {
                vendor: PARTICLE_VENDOR,
                product: 0xd000 | p.id(),
            },
        }
    }

    /// True if an OUT control transfer of this device never completes without a data stage (RTL, normal mode only).
    pub fn needs_out_data(self) -> bool {
        self.family() == Family::Rtl872x
    }

    /// Where the keys for `transport` are.
    pub fn key_segments(self, transport: Transport) -> KeySegments {
        match (self.family(), transport) {
            (Family::Stm32f1, _) => KeySegments {
                alt: 1,
                private: Segment {
                    offset: 0x2000,
                    len: 1024,
                },
                public_copy: None,
                server_key: Segment {
                    offset: 0x1000,
                    len: 384,
                },
                server_address: Segment {
                    offset: 0x1000 + 384,
                    len: 128,
                },
            },
            (_, Transport::Tcp) => KeySegments {
                alt: 1,
                private: Segment { offset: 34, len: 1216 },
                public_copy: Some(Segment { offset: 1250, len: 384 }),
                server_key: Segment { offset: 2082, len: 384 },
                server_address: Segment { offset: 2466, len: 128 },
            },
            (_, Transport::Udp) => KeySegments {
                alt: 1,
                private: Segment { offset: 3106, len: 192 },
                public_copy: Some(Segment { offset: 2978, len: 128 }),
                server_key: Segment { offset: 3298, len: 192 },
                server_address: Segment { offset: 3490, len: 128 },
            },
        }
    }

    /// How many bytes of the key alternate setting are accounted for before a write: the meaningful part of the DCT
    /// (8391 bytes from Gen 3 on; Gen 2 shares the layout up to 8134 and has 16 KiB).
    pub fn dct_len(self) -> u32 {
        match self.family() {
            Family::Stm32f1 => 0x3000,
            Family::Stm32f2 | Family::Nrf52840 | Family::Rtl872x => 8391,
        }
    }

    /// The address ranges of alternate setting 0 that firmware may be written to. Everything else is refused
    /// before the first erase: the descriptors of nRF and RTL promise more than is safe (device-protocol.md 3.5).
    pub fn flashable(self) -> &'static [Range<u32>] {
        const STM32F1: &[Range<u32>] = slice::from_ref(&(0x0800_5000..0x0802_0000));
        const STM32F2: &[Range<u32>] = slice::from_ref(&(0x0802_0000..0x0810_0000));
        match self.family() {
            Family::Stm32f1 => STM32F1,
            Family::Stm32f2 => STM32F2,
            Family::Nrf52840 => &[0x1000..0x2_7000, 0x2_8000..0xf_4000],
            Family::Rtl872x => &[0x0806_0000..0x081e_0000, 0x0848_0000..0x0860_0000],
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Platform {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let folded = text.to_ascii_lowercase();
        TABLE
            .iter()
            .find(|row| row.name == folded || row.aliases.contains(&folded.as_str()))
            .map(|row| row.platform)
            .ok_or_else(|| BadId {
                text: text.to_owned(),
                expected: "a platform name such as argon, boron, photon or p2",
            })
    }
}

/// Which of its two USB identities a device shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsbMode {
    /// The application or Device OS runs.
    Normal,
    /// The bootloader waits for DFU requests.
    Dfu,
}

impl fmt::Display for UsbMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UsbMode::Normal => "normal mode",
            UsbMode::Dfu => "DFU mode",
        })
    }
}

#[rustfmt::skip]
static TABLE: [Row; 18] = {
    use Family::{Nrf52840, Rtl872x, Stm32f1, Stm32f2};
    use Network::{Cellular, Mesh, Wifi};
    use Transport::{Tcp, Udp};
    macro_rules! row {
        ($platform:expr, $id:expr, $name:expr, $aliases:expr, $family:expr, $transport:expr, $network:expr, $protection:expr, $big_flash:expr) => {
            Row { platform: $platform, id: $id, name: $name, aliases: $aliases, family: $family, transport: $transport, network: $network, protection: $protection, big_flash: $big_flash }
        };
    }
    [
        row!(Platform::Core,       0, "core",      &["c"],                   Stm32f1,  Tcp, Wifi,     false, false),
        row!(Platform::Photon,     6, "photon",    &["p"],                   Stm32f2,  Tcp, Wifi,     false, false),
        row!(Platform::P1,         8, "p1",        &[],                      Stm32f2,  Tcp, Wifi,     false, false),
        row!(Platform::Electron,  10, "electron",  &["e"],                   Stm32f2,  Udp, Cellular, false, false),
        row!(Platform::Argon,     12, "argon",     &["a"],                   Nrf52840, Udp, Wifi,     true,  false),
        row!(Platform::Boron,     13, "boron",     &["b"],                   Nrf52840, Udp, Cellular, true,  false),
        row!(Platform::Xenon,     14, "xenon",     &["x"],                   Nrf52840, Udp, Mesh,     false, false),
        row!(Platform::Esomx,     15, "esomx",     &["e-som-x"],             Nrf52840, Udp, Cellular, true,  true),
        row!(Platform::Asom,      22, "asom",      &["a-som"],               Nrf52840, Udp, Wifi,     false, false),
        row!(Platform::Bsom,      23, "bsom",      &["b-som"],               Nrf52840, Udp, Cellular, true,  false),
        row!(Platform::Xsom,      24, "xsom",      &["x-som"],               Nrf52840, Udp, Mesh,     false, false),
        row!(Platform::B5som,     25, "b5som",     &["b5-som"],              Nrf52840, Udp, Cellular, true,  true),
        row!(Platform::Tracker,   26, "tracker",   &["assettracker"],        Nrf52840, Udp, Cellular, true,  true),
        row!(Platform::Trackerm,  28, "trackerm",  &["tracker-m"],           Rtl872x,  Udp, Cellular, true,  false),
        row!(Platform::P2,        32, "p2",        &["photon2", "photon-2"], Rtl872x,  Udp, Wifi,     true,  false),
        row!(Platform::Msom,      35, "msom",      &["muon", "m-som"],       Rtl872x,  Udp, Wifi,     true,  false),
        row!(Platform::Electron2, 37, "electron2", &["electron-2"],          Nrf52840, Udp, Cellular, false, true),
        row!(Platform::Sulu,      38, "sulu",      &[],                      Rtl872x,  Udp, Wifi,     true,  false),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_finds_its_own_row() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.platform as usize, i, "{}", row.name);
            assert_eq!(Platform::from_id(row.id), Some(row.platform));
            assert_eq!(row.name.parse::<Platform>().unwrap(), row.platform);
            for mode in [UsbMode::Normal, UsbMode::Dfu] {
                assert_eq!(Platform::from_usb(row.platform.usb(mode)), Some((row.platform, mode)));
            }
        }
    }

    #[test]
    fn usb_ids_follow_the_rule_and_its_exception() {
        assert_eq!(
            Platform::P2.usb(UsbMode::Dfu),
            UsbId {
                vendor: 0x2b04,
                product: 0xd020
            }
        );
        assert_eq!(
            Platform::Argon.usb(UsbMode::Normal),
            UsbId {
                vendor: 0x2b04,
                product: 0xc00c
            }
        );
        assert_eq!(
            Platform::Core.usb(UsbMode::Dfu),
            UsbId {
                vendor: 0x1d50,
                product: 0x607f
            }
        );
    }

    #[test]
    fn no_flashable_range_touches_bootloader_or_key_store() {
        for range in Platform::Photon.flashable() {
            assert!(range.start >= 0x0802_0000, "Gen 2 keeps its DCT and EEPROM below 0x08020000");
        }
        for range in Platform::Argon.flashable() {
            assert!(
                range.end <= 0xf_4000 && !range.contains(&0x2_7000),
                "bootloader and MBR parameter page"
            );
        }
        for range in Platform::P2.flashable() {
            assert!(
                range.start >= 0x0806_0000 && range.end <= 0x0860_0000,
                "bootloader below, file system with the DCT above"
            );
        }
    }
}
