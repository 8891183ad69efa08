//! The suffix of a module: product, SHA-256, its own size, and the CRC behind it (device-protocol.md 5.2).

use super::{
    Extension, ModuleError,
    extension::{RAW_PRODUCT, read_suffix},
    sha256_of,
};
use crate::model::recipe::Sha256;

/// Bytes of the CRC behind the suffix.
pub const CRC_LEN: usize = 4;
/// Bytes of the smallest suffix: two reserved, the SHA-256, its size.
pub const MIN_SUFFIX: usize = 36;
/// Bytes that the SHA-256 does not cover: itself, the size and the CRC.
const UNHASHED: usize = 38;

/// The fields of a suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suffix {
    /// Its size in bytes, from the first extension up to the size field.
    pub size: usize,
    /// Product id and version as stored: 0xFFFF, 0 or the platform's number without a product.
    pub product: Option<(u16, u16)>,
    /// Reserved.
    pub reserved: u16,
    /// The stored SHA-256.
    pub sha256: Sha256,
    /// The stored CRC-32.
    pub crc: u32,
    /// The extensions, in order.
    pub extensions: Vec<Extension>,
}

/// What is found where a suffix should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// A suffix.
    Suffix(Suffix),
    /// Only 0xFF: an old bootloader that was padded to the size of its region.
    Blank,
    /// A size that no suffix has.
    BadSize(usize),
}

impl Tail {
    /// Reads the suffix at the end of a whole module; `room` is how many bytes there are behind header and extensions.
    pub(super) fn read(module: &[u8], room: usize) -> Result<Self, ModuleError> {
        if module.len() < MIN_SUFFIX + CRC_LEN {
            return Err(ModuleError::TooShort { len: module.len() });
        }
        let tail = &module[module.len() - MIN_SUFFIX - CRC_LEN..];
        if tail.iter().all(|b| *b == 0xff) {
            return Ok(Self::Blank);
        }
        let size = usize::from(u16::from_le_bytes([tail[34], tail[35]]));
        if size < MIN_SUFFIX || size + CRC_LEN > room {
            return Ok(Self::BadSize(size));
        }
        let area = &module[module.len() - CRC_LEN - size..module.len() - CRC_LEN - MIN_SUFFIX];
        let product = area
            .last_chunk::<RAW_PRODUCT>()
            .map(|p| (u16::from_le_bytes([p[0], p[1]]), u16::from_le_bytes([p[2], p[3]])));
        let sha256: [u8; 32] = std::array::from_fn(|i| tail[2 + i]);
        Ok(Self::Suffix(Suffix {
            size,
            product,
            reserved: u16::from_le_bytes([tail[0], tail[1]]),
            sha256: Sha256(sha256),
            crc: u32::from_be_bytes([tail[36], tail[37], tail[38], tail[39]]),
            extensions: read_suffix(area)?,
        }))
    }
}

/// CRC-32 (zlib polynomial) of everything before the CRC word of a module.
pub(super) fn crc_of(module: &[u8]) -> u32 {
    crc32fast::hash(&module[..module.len().saturating_sub(CRC_LEN)])
}

/// SHA-256 of everything before the hash of a module.
pub(super) fn hash_of(module: &[u8]) -> Sha256 {
    sha256_of(&module[..module.len().saturating_sub(UNHASHED)])
}

/// Writes SHA-256 and CRC-32 into a whole module whose other bytes are final. It must be at least 40 bytes long.
pub(super) fn seal(module: &mut [u8]) {
    let hash_at = module.len() - UNHASHED;
    let hash = hash_of(module);
    module[hash_at..hash_at + 32].copy_from_slice(&hash.0);
    let crc_at = module.len() - CRC_LEN;
    let crc = crc_of(module);
    module[crc_at..].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_electron_product_firmware_reads_as_documented() {
        let mut module = vec![0; 40];
        let mut tail = vec![0xf2, 0x1f, 0x0d, 0, 0, 0];
        tail.extend([0xaa; 32]);
        tail.extend([40, 0, 0xe3, 0x09, 0xc6, 0x18]);
        module.extend(&tail);
        let Tail::Suffix(suffix) = Tail::read(&module, module.len() - 24).unwrap() else {
            panic!("no suffix")
        };
        assert_eq!((suffix.size, suffix.product, suffix.crc), (40, Some((8178, 13)), 0xe309_c618));
        assert_eq!(suffix.sha256, Sha256([0xaa; 32]));
    }

    #[test]
    fn blank_and_impossible_tails_are_told() {
        assert_eq!(Tail::read(&[0xff; 64], 40), Ok(Tail::Blank));
        assert_eq!(Tail::read(&[0; 39], 39), Err(ModuleError::TooShort { len: 39 }));
        let mut module = vec![0; 100];
        for size in [0u16, 35, 73, 0xfffe] {
            module[94..96].copy_from_slice(&size.to_le_bytes());
            assert_eq!(Tail::read(&module, 76), Ok(Tail::BadSize(usize::from(size))));
        }
    }

    #[test]
    fn a_suffix_without_product_fields_has_no_product() {
        let mut module = vec![0; 100];
        module[94] = 36;
        let Tail::Suffix(suffix) = Tail::read(&module, 76).unwrap() else {
            panic!("no suffix")
        };
        assert_eq!(suffix.product, None);
    }

    #[test]
    fn sealing_makes_both_sums_right() {
        let mut module = vec![0x5a; 100];
        seal(&mut module);
        assert_eq!(module[96..], crc_of(&module).to_be_bytes());
        assert_eq!(module[62..94], hash_of(&module).0);
    }
}
