//! The device's own reader of firmware modules: header, suffix, checks (device-protocol.md 5.1, 5.2).
//!
//! It reads what lies in flash or what came over the wire. Where modules belong is decided in `layout`.

use std::io::Read;

use flate2::read::DeflateDecoder;
use sha2::{Digest, Sha256};

/// Module functions.
pub(super) mod function {
    pub(in crate::sim::device) const BOOTLOADER: u8 = 2;
    pub(in crate::sim::device) const MONO: u8 = 3;
    pub(in crate::sim::device) const SYSTEM: u8 = 4;
    pub(in crate::sim::device) const USER: u8 = 5;
    pub(in crate::sim::device) const NCP: u8 = 7;
    pub(in crate::sim::device) const RADIO: u8 = 8;
    pub(in crate::sim::device) const ASSET: u8 = 9;
}

/// What must be on the device before this module may run: that function and index in this version or a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) function: u8,
    pub(super) index: u8,
    pub(super) version: u16,
}

impl Dependency {
    fn read(bytes: &[u8]) -> Option<Self> {
        let dependency = Self {
            function: bytes[0],
            index: bytes[1],
            version: u16::from_le_bytes([bytes[2], bytes[3]]),
        };
        (dependency.function != 0).then_some(dependency)
    }
}

/// The 24 bytes that every module carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where in the file or flash the header lies, from the start of the module.
    pub(super) offset: usize,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) flags: u8,
    pub(super) version: u16,
    pub(super) platform: u16,
    pub(super) function: u8,
    pub(super) index: u8,
    pub(super) dependencies: Vec<Dependency>,
}

impl Header {
    /// Reads a header at one of the known offsets: the first that makes sense, one whose module fits `available` bytes first.
    pub(super) fn find(bytes: &[u8]) -> Option<Self> {
        let all = || OFFSETS.iter().filter_map(|offset| Self::at(bytes, *offset));
        all().find(|h| h.length() <= bytes.len()).or_else(|| all().next())
    }

    /// Reads the header at an offset; `None` if these 24 bytes cannot be one.
    pub(super) fn at(bytes: &[u8], offset: usize) -> Option<Self> {
        let b = bytes.get(offset..offset + SIZE)?;
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let half = |at: usize| u16::from_le_bytes([b[at], b[at + 1]]);
        let header = Self {
            offset,
            start: word(0),
            end: word(4),
            flags: b[9],
            version: half(10),
            platform: half(12),
            function: b[14],
            index: b[15],
            dependencies: [&b[16..20], &b[20..24]].into_iter().filter_map(Dependency::read).collect(),
        };
        let size = header.end.checked_sub(header.start)?;
        let plausible = (1..=9).contains(&header.function)
            && header.flags & !0x1f == 0
            && size as usize >= SIZE
            && size <= MOST
            && header.dependencies.iter().all(|d| d.function <= 9);
        plausible.then_some(header)
    }

    /// Length of the module with its CRC.
    pub(super) const fn length(&self) -> usize {
        (self.end - self.start) as usize + 4
    }

    /// The header and what it drags along is not part of the image in flash.
    pub(super) const fn dropped(&self) -> bool {
        self.flags & 0x01 != 0
    }
}

/// A complete module with what its suffix says.
#[derive(Clone, Debug)]
pub(super) struct Module {
    pub(super) header: Header,
    /// The bytes from start to the end of the CRC.
    pub(super) bytes: Vec<u8>,
    pub(super) crc_ok: bool,
    pub(super) hash_ok: bool,
    /// SHA-256 as the suffix states it.
    pub(super) hash: Vec<u8>,
    pub(super) product: u16,
    pub(super) product_version: u16,
    extensions: Vec<(u16, Vec<u8>)>,
}

/// A file that a module needs or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asset {
    pub(super) hash: Vec<u8>,
    pub(super) name: String,
}

impl Module {
    /// Reads the module at the start of `bytes`; what follows it is left alone. `None` if there is no header or the bytes
    /// end before the module does.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Self::with(Header::find(bytes)?, bytes)
    }

    /// The same with a header that was found before.
    pub(super) fn with(header: Header, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..header.length())?;
        let (body, crc) = bytes.split_at(bytes.len() - 4);
        let crc_ok = crc32fast::hash(body).to_be_bytes() == crc;
        let tail = &bytes[bytes.len().checked_sub(SUFFIX)?..];
        let hash = tail[6..38].to_vec();
        let hash_ok = Sha256::digest(&bytes[..bytes.len() - 38]).as_slice() == hash;
        let size = usize::from(u16::from_le_bytes([tail[38], tail[39]]));
        let mut extensions = Vec::new();
        if let Some(from) = (bytes.len() - 4).checked_sub(size).filter(|_| size >= SUFFIX - 4) {
            extensions.extend(extensions_of(&bytes[from..bytes.len() - SUFFIX]));
        }
        if header.flags & 0x10 != 0 {
            extensions.extend(extensions_of(&bytes[header.offset + SIZE..]));
        }
        Some(Self {
            crc_ok,
            hash_ok,
            hash,
            product: u16::from_le_bytes([tail[0], tail[1]]),
            product_version: u16::from_le_bytes([tail[2], tail[3]]),
            extensions,
            bytes: bytes.to_vec(),
            header,
        })
    }

    /// The suffix says that a device with this bootloader is protected.
    pub(super) fn protects(&self) -> bool {
        self.extension(0x0013).any(|data| data.first() == Some(&1))
    }

    /// What must be there before it runs, from header and extensions.
    pub(super) fn dependencies(&self) -> Vec<Dependency> {
        let extended = self.extension(0x0003).filter(|d| d.len() >= 4).filter_map(Dependency::read);
        self.header.dependencies.iter().copied().chain(extended).collect()
    }

    /// The assets that it needs.
    pub(super) fn required_assets(&self) -> Vec<Asset> {
        self.extension(0x0012)
            .filter_map(|data| {
                let length = usize::from(*data.get(1)?);
                Some(Asset {
                    hash: data.get(2..2 + length)?.to_vec(),
                    name: String::from_utf8_lossy(data.get(2 + length..)?).into_owned(),
                })
            })
            .collect()
    }

    /// The asset that it is.
    pub(super) fn asset(&self) -> Option<Asset> {
        let hash = self.extension(0x0010).next()?;
        let name = self.extension(0x0011).next()?;
        Some(Asset {
            hash: hash.get(2..)?.to_vec(),
            name: String::from_utf8_lossy(name).into_owned(),
        })
    }

    /// The image that goes to flash: unpacked and without the header if that is not part of it. `None` if it does not
    /// unpack.
    pub(super) fn image(&self) -> Option<Vec<u8>> {
        let after_header = self.header.offset + SIZE;
        if self.header.flags & 0x02 != 0 {
            let info = self.bytes.get(after_header..)?;
            let skip = usize::from(u16::from_le_bytes([*info.first()?, *info.get(1)?]));
            let size = u32::from_le_bytes(info.get(4..8)?.try_into().ok()?) as usize;
            let suffix = usize::from(u16::from_le_bytes(self.bytes[self.bytes.len() - 6..][..2].try_into().ok()?)) + 4;
            let packed = info.get(skip..info.len().checked_sub(suffix)?)?;
            if info[2] != 0 || size > MOST as usize {
                return None;
            }
            let mut image = Vec::with_capacity(size);
            DeflateDecoder::new(packed)
                .take(u64::from(MOST))
                .read_to_end(&mut image)
                .ok()?;
            return (image.len() == size).then_some(image);
        }
        Some(if self.header.dropped() {
            self.bytes[after_header..].to_vec()
        } else {
            self.bytes.clone()
        })
    }

    fn extension(&self, wanted: u16) -> impl Iterator<Item = &[u8]> {
        self.extensions
            .iter()
            .filter(move |(kind, _)| *kind == wanted)
            .map(|(_, data)| data.as_slice())
    }
}

/// Where an RTL872x user part starts, read from the end of its area: the suffix has it as an extension.
pub(super) fn dynamic_start(area: &[u8]) -> Option<u32> {
    let end = area.len().checked_sub(4)?;
    let size = usize::from(u16::from_le_bytes(area.get(end - 2..end)?.try_into().ok()?));
    let from = end.checked_sub(size).filter(|_| size >= SUFFIX - 4)?;
    let (_, location) = extensions_of(&area[from..area.len() - SUFFIX])
        .into_iter()
        .find(|(kind, _)| *kind == 0x0002)?;
    Some(u32::from_le_bytes(location.get(..4)?.try_into().ok()?))
}

/// Extensions up to the end mark, an invalid one or the end of the bytes.
fn extensions_of(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    while let [a, b, c, d, ..] = *bytes {
        let (kind, length) = (u16::from_le_bytes([a, b]), usize::from(u16::from_le_bytes([c, d])));
        if matches!(kind, 0 | 0xffff) || length < 4 || length > bytes.len() {
            break;
        }
        all.push((kind, bytes[4..length].to_vec()));
        bytes = &bytes[length..];
    }
    all
}

/// Where headers are found (5.1): at the start, after RTL872x image headers, after vector tables.
const OFFSETS: [usize; 4] = [0, 0x200, 0x184, 0x20];
/// Size of the header.
pub(super) const SIZE: usize = 24;
/// Product id and version, reserved, hash, size, CRC.
const SUFFIX: usize = 44;
/// No module is longer than the largest flash.
const MOST: u32 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    /// device-protocol.md 8.5, createAssetModule("hello", "a.txt"), plain and packed.
    const PLAIN: &str = "000000007a0000000001000000000900000000000000000068656c6c6f1000260000202cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b982411000900612e74787401000a00ffffffffffff000041151db1223f9324dd05c6adbbe69d5789490c7cd7ffd5a4ecd3976084db0be65d002d7845b6";
    const PACKED: &str = "0000000084000000000300000000090000000000000000000800000005000000cb48cdc9c907001000260000202cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b982411000900612e74787401000a00ffffffffffff0000c16483f7e63646e80225a71d589d8a0b9d7d5c7b0ac0340e6bbed2c0c97a6c2a5d00df58ff82";

    #[test]
    fn the_documented_assets_are_read() {
        for text in [PLAIN, PACKED] {
            let module = Module::read(&hex(text)).unwrap();
            assert!(module.crc_ok && module.hash_ok);
            assert_eq!((module.header.function, module.header.version), (function::ASSET, 0));
            assert_eq!(module.asset().unwrap().name, "a.txt");
            let image = module.image().unwrap();
            assert_eq!(&image[..5], b"hello");
        }
        assert_eq!(Module::read(&hex(PACKED)).unwrap().image().unwrap(), b"hello");
    }

    #[test]
    fn every_single_wrong_byte_is_noticed_and_none_panics() {
        let good = hex(PACKED);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            if let Some(module) = Module::read(&bad) {
                assert!(!module.crc_ok, "byte {at}");
                let _ = (
                    module.image(),
                    module.asset(),
                    module.required_assets(),
                    module.dependencies(),
                );
            }
            let _ = Module::read(&good[..at]);
        }
    }
}
