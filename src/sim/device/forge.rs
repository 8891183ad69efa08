//! Makes firmware modules: the factory set of a simulated device, and files for tests that need one.
//!
//! The bodies are noise. Headers, suffixes, hashes and checksums are right, so that every reader must accept them.

use sha2::{Digest, Sha256};

use super::{
    chance::Chance,
    module::{Header, function},
    platform::{Family, Platform},
};

/// What to make.
#[derive(Clone, Debug)]
pub struct Forge {
    /// Platform id.
    pub platform: u16,
    /// Module function.
    pub function: u8,
    /// Module index.
    pub index: u8,
    /// Module version.
    pub version: u16,
    /// Up to two things that it needs: function, index, version.
    pub needs: Vec<(u8, u8, u16)>,
    /// First address.
    pub start: u32,
    /// Length of the file in bytes, CRC included; at least 1 KiB.
    pub length: u32,
    /// Product id and version; 0xFFFF for none.
    pub product: (u16, u16),
    /// Another module follows in the same image (COMBINED).
    pub combined: bool,
    /// A bootloader that protects.
    pub protects: bool,
    /// Seed of the noise.
    pub seed: u64,
}

impl Forge {
    /// The file.
    ///
    /// # Panics
    /// If the platform is unknown, the length is below 1 KiB, or that of a radio stack below 16 KiB.
    pub fn build(&self) -> Vec<u8> {
        let platform = Platform::find(self.platform).expect("a platform that the simulator knows");
        let least = if self.function == function::RADIO { 16 << 10 } else { 1 << 10 };
        assert!(self.length >= least, "the parts of a module need {least} bytes");
        let length = self.length as usize;
        let mut bytes = vec![0; length];
        Chance::new(self.seed ^ u64::from(self.start)).fill(&mut bytes);
        let dropped = self.function == function::RADIO;
        let offset = header_offset(platform.family, self.function, self.index);
        let mut extensions = Vec::new();
        if platform.family == Family::Rtl && self.function == function::USER {
            extensions.extend([0x02, 0, 16, 0]);
            extensions.extend([self.start.to_le_bytes(), [0; 4], [0; 4]].concat());
        }
        if self.protects {
            extensions.extend([0x13, 0, 5, 0, 1]);
        }
        if platform.family == Family::Rtl {
            extensions.extend([0x01, 0, 10, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        } else if !extensions.is_empty() {
            extensions.extend([0, 0, 4, 0]);
        }
        let end = self.start + self.length - 4;
        let header = &mut bytes[offset..offset + super::module::SIZE];
        header.fill(0);
        header[..4].copy_from_slice(&self.start.to_le_bytes());
        header[4..8].copy_from_slice(&end.to_le_bytes());
        header[9] = u8::from(dropped) | u8::from(self.combined) << 2;
        header[10..12].copy_from_slice(&self.version.to_le_bytes());
        header[12..14].copy_from_slice(&self.platform.to_le_bytes());
        header[14] = self.function;
        header[15] = self.index;
        for (at, (function, index, version)) in self.needs.iter().take(2).enumerate() {
            let [low, high] = version.to_le_bytes();
            header[16 + 4 * at..20 + 4 * at].copy_from_slice(&[*function, *index, low, high]);
        }
        if dropped {
            softdevice_info(&mut bytes[super::module::SIZE..], self.version, end);
        }
        seal(&mut bytes, &extensions, self.product);
        debug_assert!(
            Header::find(&bytes).is_some_and(|h| h.offset == offset),
            "noise looks like a header"
        );
        bytes
    }
}

/// Everything that a device of this platform carries when it leaves the factory, in any order.
pub(super) fn factory_set(platform: &Platform, os: u16, protected: bool, seed: u64) -> Vec<Vec<u8>> {
    let base = Forge {
        platform: platform.id,
        function: 0,
        index: 0,
        version: 1,
        needs: Vec::new(),
        start: 0,
        length: 0,
        product: (0xffff, 0xffff),
        combined: false,
        protects: false,
        seed,
    };
    let loader = bootloader_version(os);
    let user = |start, length, index, needed| Forge {
        function: function::USER,
        index,
        version: 6,
        needs: vec![(function::SYSTEM, needed, os)],
        start,
        length,
        ..base.clone()
    };
    let part = |index, start, needs| Forge {
        function: function::SYSTEM,
        index,
        version: os,
        needs,
        start,
        length: 32 << 10,
        ..base.clone()
    };
    let bootloader = |start, length| Forge {
        function: function::BOOTLOADER,
        version: loader,
        protects: protected,
        start,
        length,
        ..base.clone()
    };
    let modules = match platform.family {
        Family::Gen2 => {
            let step = if platform.id == 10 { 0x2_0000 } else { 0x4_0000 };
            let last: u8 = if platform.id == 10 { 3 } else { 2 };
            let mut all = vec![bootloader(0x0800_0000, 12 << 10)];
            for index in 1..=last {
                let needs = if index == 1 {
                    vec![(2, 0, loader)]
                } else {
                    vec![(4, index - 1, os)]
                };
                all.push(part(index, 0x0802_0000 + step * (u32::from(index) - 1), needs));
            }
            all.push(user(0x0802_0000 + step * u32::from(last), 6 << 10, 1, last));
            all
        }
        Family::Nrf => {
            let radio = Forge {
                function: function::RADIO,
                version: RADIO_VERSION,
                start: 0x1000,
                length: 16 << 10,
                ..base.clone()
            };
            let start = if os >= 6200 { 0x2_8000 } else { 0x3_0000 };
            let needs = vec![(function::RADIO, 0, RADIO_VERSION), (function::BOOTLOADER, 0, loader)];
            let (user_start, index) = if os >= 3100 { (0xb_4000, 2) } else { (0xd_4000, 1) };
            vec![
                bootloader(0xf_4000, 12 << 10),
                radio,
                part(1, start, needs),
                user(user_start, 11 << 10, index, 1),
            ]
        }
        Family::Rtl => {
            let loader_needs = vec![(function::BOOTLOADER, 1, 1), (function::BOOTLOADER, 2, 7)];
            let mbr = Forge {
                index: 1,
                version: 1,
                protects: false,
                ..bootloader(0x0800_0000, 4 << 10)
            };
            let part1 = Forge {
                index: 2,
                version: 7,
                protects: false,
                ..bootloader(0x0801_4000, 8 << 10)
            };
            let main = Forge {
                needs: loader_needs,
                ..bootloader(0x0800_4000, 12 << 10)
            };
            let system = part(1, 0x0806_0000, vec![(function::BOOTLOADER, 0, loader)]);
            vec![mbr, part1, main, system, user(0x085f_d000, 12 << 10, 1, 1)]
        }
    };
    modules.iter().map(Forge::build).collect()
}

/// The bootloader that belongs to a Device OS (5.6); for old ones only the order matters.
pub(super) fn bootloader_version(os: u16) -> u16 {
    match os {
        6200.. => 3100,
        6101.. => 3001,
        6000.. => 3000,
        5500.. => 2300,
        4000.. => 1200,
        _ => 500,
    }
}

/// Where the header lies in a file (5.1).
fn header_offset(family: Family, function: u8, index: u8) -> usize {
    match (family, function) {
        (Family::Nrf, function::SYSTEM | function::BOOTLOADER) => 0x200,
        (Family::Gen2, function::BOOTLOADER) => 0x184,
        (Family::Gen2, function::SYSTEM) if index == 1 => 0x184,
        (Family::Rtl, function::BOOTLOADER) => 0x20,
        _ => 0,
    }
}

/// The information structure in a SoftDevice at 0x3000, the only thing in flash that tells its version: magic, size, id.
fn softdevice_info(image: &mut [u8], version: u16, end: u32) {
    image[0x2004..0x2008].copy_from_slice(&SOFTDEVICE_MAGIC.to_le_bytes());
    image[0x2008..0x200c].copy_from_slice(&end.to_le_bytes());
    image[0x200c..0x200e].copy_from_slice(&version.to_le_bytes());
}

/// Writes suffix, hash and checksum over the end of the bytes.
fn seal(bytes: &mut [u8], extensions: &[u8], product: (u16, u16)) {
    let length = bytes.len();
    let from = length - 44 - extensions.len();
    bytes[from..length - 44].copy_from_slice(extensions);
    bytes[length - 44..length - 42].copy_from_slice(&product.0.to_le_bytes());
    bytes[length - 42..length - 40].copy_from_slice(&product.1.to_le_bytes());
    bytes[length - 40..length - 38].fill(0);
    let hash = Sha256::digest(&bytes[..length - 38]);
    bytes[length - 38..length - 6].copy_from_slice(&hash);
    let size = u16::try_from(extensions.len() + 40).expect("extensions are short");
    bytes[length - 6..length - 4].copy_from_slice(&size.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..length - 4]);
    bytes[length - 4..].copy_from_slice(&crc.to_be_bytes());
}

/// "Magic" of the information structure of a Nordic SoftDevice.
pub(super) const SOFTDEVICE_MAGIC: u32 = 0x51b1_e5db;
/// The radio stack that Device OS 4.1.0 asks for (8.5).
const RADIO_VERSION: u16 = 202;
