//! The 24-byte header of a module (`module_info_t`, device-protocol.md 5.1) and where in a file it is.
//! It reads numbers; what they mean for a platform is [`mod@super::place`]'s.

use crate::model::{
    Platform,
    module::{Dependency, ModuleFunction},
};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 24;

/// The flags byte of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// The header is not part of what is stored on the device.
    pub const DROP_MODULE_INFO: Self = Self(0x01);
    /// The content is compressed.
    pub const COMPRESSED: Self = Self(0x02);
    /// Another module follows in the same file.
    pub const COMBINED: Self = Self(0x04);
    /// The content is encrypted.
    pub const ENCRYPTED: Self = Self(0x08);
    /// A list of extensions follows the header.
    pub const PREFIX_EXTENSIONS: Self = Self(0x10);

    /// True if every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if no bit is set that has no meaning in Device OS 6.2.0.
    pub const fn known(self) -> bool {
        self.0 & !0x1f == 0
    }
}

/// The fields of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Address of the first byte of the module in flash; 0 for modules that have no address.
    pub start: u32,
    /// Address of the CRC word behind the module: the file is `end - start + 4` bytes long.
    pub end: u32,
    /// Reserved; the target microcontroller on some platforms.
    pub reserved: u8,
    /// Flags.
    pub flags: Flags,
    /// Version.
    pub version: u16,
    /// Platform number; 0 in assets, which fit every platform that knows assets.
    pub platform_id: u16,
    /// What the module is for.
    pub function: ModuleFunction,
    /// Which one of several with the same function.
    pub index: u8,
    /// What it needs; `None` where function, index and version are 0.
    pub dependencies: [Option<Dependency>; 2],
}

impl Header {
    /// Reads a header from the first 24 bytes, unless they are too few or name an unknown function.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let b: &[u8; HEADER_LEN] = bytes.get(..HEADER_LEN)?.try_into().ok()?;
        Some(Self {
            start: u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            end: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
            reserved: b[8],
            flags: Flags(b[9]),
            version: u16::from_le_bytes([b[10], b[11]]),
            platform_id: u16::from_le_bytes([b[12], b[13]]),
            function: ModuleFunction::from_byte(b[14])?,
            index: b[15],
            dependencies: [read_dependency(&b[16..20])?, read_dependency(&b[20..24])?],
        })
    }

    /// The 24 bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut b = [0; HEADER_LEN];
        b[0..4].copy_from_slice(&self.start.to_le_bytes());
        b[4..8].copy_from_slice(&self.end.to_le_bytes());
        b[8] = self.reserved;
        b[9] = self.flags.0;
        b[10..12].copy_from_slice(&self.version.to_le_bytes());
        b[12..14].copy_from_slice(&self.platform_id.to_le_bytes());
        b[14] = self.function.byte();
        b[15] = self.index;
        for (at, dependency) in [16, 20].into_iter().zip(self.dependencies) {
            if let Some(d) = dependency {
                b[at] = d.function.byte();
                b[at + 1] = d.index;
                b[at + 2..at + 4].copy_from_slice(&d.version.to_le_bytes());
            }
        }
        b
    }

    /// Length of the module in bytes as the header has it, with the CRC.
    pub fn module_len(&self) -> u64 {
        u64::from(self.end).saturating_sub(u64::from(self.start)) + 4
    }
}

/// Finds the header in a file: its offset and its fields.
///
/// First a header that explains the whole file, at the usual offsets and then at every multiple of 4 up to 8 KiB. If there
/// is none, the best one at the usual offsets, so that a cut or padded module can be named in the refusal.
pub fn locate(bytes: &[u8]) -> Option<(usize, Header)> {
    let exact = |offset: usize, combined: bool| {
        let header = Header::read(bytes.get(offset..)?)?;
        let len = header.module_len();
        let sized = len == bytes.len() as u64 || (combined && header.flags.has(Flags::COMBINED) && len < bytes.len() as u64);
        let fits = sized && plausible(&header) && (offset + HEADER_LEN) as u64 <= len;
        (fits && header.flags.known() && known_platform(header.platform_id)).then_some((offset, header))
    };
    if let Some(found) = USUAL_OFFSETS.into_iter().find_map(|offset| exact(offset, true)) {
        return Some(found);
    }
    // A stray COMBINED bit deep in the code must not be taken for a header: here only the exact size counts.
    if let Some(found) = (0..=SCAN_END).step_by(4).find_map(|offset| exact(offset, false)) {
        return Some(found);
    }
    let mut best = None;
    for offset in USUAL_OFFSETS {
        let Some(header) = bytes.get(offset..).and_then(Header::read).filter(plausible) else {
            continue;
        };
        let score = partial_score(&header, bytes);
        if score >= 2 && best.is_none_or(|(most, _, _)| score > most) {
            best = Some((score, offset, header));
        }
    }
    best.map(|(_, offset, header)| (offset, header))
}

fn plausible(header: &Header) -> bool {
    header.end > header.start && header.function != ModuleFunction::None
}

fn partial_score(header: &Header, bytes: &[u8]) -> u8 {
    let rest = usize::try_from(header.module_len()).ok().and_then(|len| bytes.get(len..));
    u8::from(known_platform(header.platform_id))
        + u8::from(header.flags.known())
        + u8::from(rest.is_some())
        + u8::from(rest.is_some_and(|rest| rest.iter().all(|b| *b == 0xff)))
}

fn read_dependency(b: &[u8]) -> Option<Option<Dependency>> {
    if b == [0; 4] {
        return Some(None);
    }
    let function = ModuleFunction::from_byte(b[0])?;
    Some(Some(Dependency {
        function,
        index: b[1],
        version: u16::from_le_bytes([b[2], b[3]]),
    }))
}

fn known_platform(id: u16) -> bool {
    Platform::from_id(id).is_some() || OTHER_PLATFORMS.contains(&id)
}

/// Plain modules; nRF with a vector table first; Gen 2 with a vector table; Bluz; Core; RTL behind a Realtek image header.
const USUAL_OFFSETS: [usize; 6] = [0, 0x200, 0x184, 0xc0, 0x10c, 0x20];
const SCAN_END: usize = 8 * 1024;
/// Platform numbers that modules are made for and that no rack holds: gcc, esp32, raspi, tachyon, linux, oak, duo, bluz.
const OTHER_PLATFORMS: [u16; 8] = [3, 11, 31, 42, 43, 82, 88, 103];

#[cfg(test)]
mod tests {
    use super::*;

    const TINKER: [u8; 24] = [
        0x00, 0x40, 0x0b, 0x00, 0xca, 0x6b, 0x0b, 0x00, 0, 0, 6, 0, 12, 0, 5, 2, 4, 1, 0xd5, 0x17, 0, 0, 0, 0,
    ];

    #[test]
    fn a_golden_header_reads_and_writes_back() {
        let header = Header::read(&TINKER).unwrap();
        assert_eq!((header.start, header.end, header.version), (0xb4000, 0xb6bca, 6));
        assert_eq!(
            (header.platform_id, header.function, header.index),
            (12, ModuleFunction::UserPart, 2)
        );
        let system = Dependency {
            function: ModuleFunction::SystemPart,
            index: 1,
            version: 6101,
        };
        assert_eq!(header.dependencies, [Some(system), None]);
        assert_eq!(header.module_len(), 11214);
        assert_eq!(header.to_bytes(), TINKER);
    }

    #[test]
    fn unknown_functions_are_no_header() {
        for at in [14, 16] {
            let mut bytes = TINKER;
            bytes[at] = 10;
            assert_eq!(Header::read(&bytes), None);
        }
        assert_eq!(Header::read(&TINKER[..23]), None);
    }

    #[test]
    fn a_header_is_found_at_every_offset_and_only_where_the_size_fits() {
        for offset in [0usize, 0x200, 0x184, 0xc0, 0x10c, 0x20, 0x400, 8192] {
            let mut file = vec![0u8; 11214];
            file[offset..offset + 24].copy_from_slice(&TINKER);
            assert_eq!(locate(&file).map(|(at, _)| at), Some(offset));
        }
        let mut file = vec![0u8; 11214];
        file[8196..8220].copy_from_slice(&TINKER);
        assert_eq!(locate(&file), None, "behind the end of the scan");
        let mut file = vec![0u8; 11213];
        file[0x400..0x418].copy_from_slice(&TINKER);
        assert_eq!(locate(&file), None, "wrong size at an unusual offset");
        file[..24].copy_from_slice(&TINKER);
        assert_eq!(
            locate(&file).map(|(at, _)| at),
            Some(0),
            "wrong size at a usual offset is told, not hidden"
        );
    }

    #[test]
    fn blank_and_empty_files_have_no_header() {
        assert_eq!(locate(&[]), None);
        assert_eq!(locate(&[0; 4096]), None);
        assert_eq!(locate(&[0xff; 4096]), None);
    }
}
