//! The simulator's own platform table: what each kind of device is, from device-protocol.md 1.1, 1.5, 1.6, 3.7 and 5.4.
//!
//! Facts only. The station has its own table; the two must never share a line.

/// The families of microcontroller, which decide the bootloader's manners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// STM32F205: Photon, P1, Electron.
    Gen2,
    /// nRF52840.
    Nrf,
    /// RTL872xD.
    Rtl,
}

/// How a device reaches the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// TCP with RSA keys.
    Tcp,
    /// UDP with P-256 keys.
    Udp,
}

/// One platform.
#[derive(Debug)]
pub(super) struct Platform {
    /// Platform id.
    pub(super) id: u16,
    /// The name in USB strings.
    pub(super) name: &'static str,
    /// Microcontroller family.
    pub(super) family: Family,
    /// Default transport; `None` for the mesh platforms, which never dial.
    pub(super) transport: Option<Transport>,
    /// It has Wi-Fi for the cloud connection.
    pub(super) wifi: bool,
    /// It has a modem.
    pub(super) cellular: bool,
    /// It has a network coprocessor with firmware of its own.
    pub(super) ncp: bool,
    /// Size of the external flash in MiB (nRF52840 boards only).
    pub(super) external_mib: u32,
}

const fn row(
    id: u16,
    name: &'static str,
    family: Family,
    transport: Option<Transport>,
    radio: &str,
    external_mib: u32,
) -> Platform {
    let radio = radio.as_bytes();
    Platform {
        id,
        name,
        family,
        transport,
        wifi: has(radio, b'w'),
        cellular: has(radio, b'c'),
        ncp: has(radio, b'n'),
        external_mib,
    }
}

const fn has(set: &[u8], flag: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == flag {
            return true;
        }
        i += 1;
    }
    false
}

use Family::{Gen2, Nrf, Rtl};

const TCP: Option<Transport> = Some(Transport::Tcp);
const UDP: Option<Transport> = Some(Transport::Udp);

/// w Wi-Fi, c cellular, n network coprocessor with its own firmware.
static PLATFORMS: [Platform; 17] = [
    row(6, "Photon", Gen2, TCP, "w", 0),
    row(8, "P1", Gen2, TCP, "w", 0),
    row(10, "Electron", Gen2, UDP, "c", 0),
    row(12, "Argon", Nrf, UDP, "wn", 4),
    row(13, "Boron", Nrf, UDP, "c", 4),
    row(14, "Xenon", Nrf, None, "", 4),
    row(15, "E SoM X", Nrf, UDP, "c", 8),
    row(22, "A SoM", Nrf, UDP, "wn", 4),
    row(23, "B SoM", Nrf, UDP, "c", 4),
    row(24, "X SoM", Nrf, None, "", 4),
    row(25, "B5 SoM", Nrf, UDP, "c", 8),
    row(26, "Tracker", Nrf, UDP, "cn", 8),
    row(28, "Tracker M", Rtl, UDP, "c", 0),
    row(32, "P2", Rtl, UDP, "w", 0),
    row(35, "M-SoM", Rtl, UDP, "wc", 0),
    // 5.3 gives Electron 2 as many asset blocks as the boards with 8 MB.
    row(37, "Electron 2", Nrf, UDP, "c", 8),
    row(38, "Sulu", Rtl, UDP, "w", 0),
];

impl Platform {
    /// The platform with this id, if the simulator can be one.
    pub(super) fn find(id: u16) -> Option<&'static Platform> {
        PLATFORMS.iter().find(|p| p.id == id)
    }

    /// idProduct in normal mode.
    pub(super) const fn normal_product(&self) -> u16 {
        0xc000 | self.id
    }

    /// idProduct in DFU mode.
    pub(super) const fn dfu_product(&self) -> u16 {
        0xd000 | self.id
    }

    /// Photon and P1, whose DCT functions live in system part 2.
    pub(super) fn dct_in_system(&self) -> bool {
        matches!(self.id, 6 | 8)
    }

    /// First address and size of the flash behind alternate setting 0.
    pub(super) const fn internal(&self) -> (u32, u32) {
        match self.family {
            Gen2 => (0x0800_0000, 0x10_0000),
            Nrf => (0, 0x10_0000),
            Rtl => (0x0800_0000, 0x80_0000),
        }
    }

    /// First DFU address and size of the flash behind alternate setting 2.
    pub(super) const fn external(&self) -> Option<(u32, u32)> {
        match self.family {
            Nrf => Some((EXTERNAL, self.external_mib << 20)),
            Gen2 | Rtl => None,
        }
    }

    /// The file system that holds the DCT, as DFU addresses. Writing there from outside destroys it.
    pub(super) const fn file_system(&self) -> Option<(u32, u32)> {
        match self.family {
            Nrf => Some((EXTERNAL, self.external_mib << 19)),
            Rtl => Some((0x0860_0000, 0x20_0000)),
            Gen2 => None,
        }
    }

    /// The slot of the factory image, as a DFU address, if there is one.
    pub(super) const fn factory(&self) -> Option<u32> {
        match (self.family, self.id) {
            (Gen2, 10) => Some(0x080a_0000),
            (Gen2, _) => Some(0x080e_0000),
            (Nrf, _) if self.external_mib == 8 => Some(EXTERNAL + 0x60_0000),
            (Nrf, _) => Some(EXTERNAL + 0x20_0000),
            (Rtl, _) => None,
        }
    }

    /// The area for updates, as a DFU address and the largest image that it takes.
    pub(super) const fn ota(&self) -> (u32, u32) {
        match self.family {
            Gen2 => (0x080c_0000, 0x2_0000),
            Nrf if self.external_mib == 8 => (EXTERNAL + 0x68_9000, 1500 << 10),
            Nrf => (EXTERNAL + 0x24_c000, 1500 << 10),
            Rtl => (0x0830_0000, 0x18_0000),
        }
    }

    /// The range of system part 1 that Service Mode guards: from the first possible start to the end.
    pub(super) const fn system_range(&self) -> (u32, u32) {
        match self.family {
            Gen2 => (0x0802_0000, 0x0808_0000),
            Nrf => (0x2_8000, 0xb_4000),
            Rtl => (0x0806_0000, 0x081e_0000),
        }
    }

    /// Bytes of the DCT that can be read and written: 16 KiB on Gen 2, a file of 8391 bytes elsewhere.
    pub(super) const fn dct_size(&self) -> usize {
        match self.family {
            Gen2 => 0x4000,
            Nrf | Rtl => 8391,
        }
    }
}

/// DFU address of the first byte of external flash on nRF52840 boards.
pub(super) const EXTERNAL: u32 = 0x8000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_follow_the_rule_and_ids_are_distinct() {
        let boron = Platform::find(13).unwrap();
        assert_eq!((boron.normal_product(), boron.dfu_product()), (0xc00d, 0xd00d));
        for (i, a) in PLATFORMS.iter().enumerate() {
            assert!(PLATFORMS[i + 1..].iter().all(|b| b.id != a.id), "{}", a.id);
        }
        assert!(Platform::find(42).is_none() && Platform::find(43).is_none());
    }
}
