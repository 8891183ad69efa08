//! Decompression of modules with bounds (device-protocol.md 5.3): a module that promises much must not eat memory.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::{
    Flags, Module, ModuleError,
    suffix::{CRC_LEN, seal},
};

/// Rebuilds the module that was compressed.
///
/// Where the device keeps the header, the whole module was compressed and comes back with its own sums. Where it drops the
/// header, only the content was, and header, suffix and sums are made again around it.
pub(super) fn decompressed(module: &Module) -> Result<Module, ModuleError> {
    let bytes = module.bytes();
    let suffix = module.suffix().ok_or(ModuleError::BlankSuffix)?;
    let prefix_end = module.header_offset() + module.prefix_len();
    let suffix_start = bytes.len() - CRC_LEN - suffix.size;
    let packed = &bytes[prefix_end..suffix_start];
    let head = packed
        .first_chunk::<COMPRESSED_HEADER>()
        .ok_or(ModuleError::TooShort { len: bytes.len() })?;
    let header = u16::from_le_bytes([head[0], head[1]]);
    let [method, window] = [head[2], head[3]];
    if usize::from(header) < COMPRESSED_HEADER || method != RAW_DEFLATE || !(window == 0 || (8..=15).contains(&window)) {
        return Err(ModuleError::Compression { header, method, window });
    }
    let expected = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let deflated = packed
        .get(usize::from(header)..)
        .ok_or(ModuleError::Compression { header, method, window })?;
    let content = inflate(deflated, expected)?;
    let plain = if module.header().flags.has(Flags::DROP_MODULE_INFO) {
        let mut plain = bytes[..prefix_end].to_vec();
        plain.extend(content);
        plain.extend(&bytes[suffix_start..]);
        let mut header = *module.header();
        header.flags = header.flags.without(Flags::COMPRESSED);
        header.end = header
            .start
            .wrapping_add(u32::try_from(plain.len() - CRC_LEN).unwrap_or(u32::MAX));
        let at = module.header_offset();
        plain[at..at + header.to_bytes().len()].copy_from_slice(&header.to_bytes());
        seal(&mut plain);
        plain
    } else {
        content
    };
    let plain = Module::parse(plain)?;
    let flags = plain.header().flags;
    if flags.has(Flags::COMPRESSED) || flags.has(Flags::COMBINED) {
        return Err(ModuleError::Nested);
    }
    plain.verify().map(|()| plain)
}

fn inflate(deflated: &[u8], expected: u32) -> Result<Vec<u8>, ModuleError> {
    let bad = ModuleError::Inflate {
        expected,
        limit: MAX_INFLATED,
    };
    let len = usize::try_from(expected)
        .ok()
        .filter(|len| *len <= MAX_INFLATED)
        .ok_or(bad.clone())?;
    let mut content = Vec::new();
    // One byte more than promised shows that there is more, and no further byte is decompressed.
    let limit = u64::from(expected) + 1;
    DeflateDecoder::new(deflated)
        .take(limit)
        .read_to_end(&mut content)
        .map_err(|_| bad.clone())?;
    if content.len() == len { Ok(content) } else { Err(bad) }
}

pub(super) const COMPRESSED_HEADER: usize = 8;
pub(super) const RAW_DEFLATE: u8 = 0;
/// More than twice the largest region of any platform (RTL system part, 0x181000 bytes).
pub(super) const MAX_INFLATED: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        firmware::{ModuleBuilder, derive},
        model::module::ModuleFunction,
    };

    fn packed(header: [u8; 8], deflated: &[u8]) -> Module {
        let content = [&header[..], deflated].concat();
        ModuleBuilder::new(ModuleFunction::UserPart, 1, 6)
            .flags(Flags::COMPRESSED)
            .content(content)
            .build()
            .unwrap()
    }

    #[test]
    fn a_bomb_is_cut_off_at_what_it_promises() {
        let plain = ModuleBuilder::new(ModuleFunction::SystemPart, 1, 1)
            .content(vec![0; 3_000_000])
            .build()
            .unwrap();
        let bomb = derive::compressed(&plain).unwrap();
        let deflated = &bomb.bytes()[32..bomb.bytes().len() - 44];
        assert!(deflated.len() < 10_000);
        for expected in [0u32, 100, 2_999_999, 4_000_000, 0x7fff_ffff, u32::MAX] {
            let mut header = [8, 0, 0, 0, 0, 0, 0, 0];
            header[4..].copy_from_slice(&expected.to_le_bytes());
            let found = packed(header, deflated).verify();
            assert_eq!(
                found,
                Err(ModuleError::Inflate {
                    expected,
                    limit: MAX_INFLATED
                })
            );
        }
    }

    #[test]
    fn unknown_compression_is_refused_by_name() {
        for (head, method, window) in [(7, 0, 0), (8, 1, 0), (8, 0, 7), (8, 0, 16), (255, 0, 0)] {
            let found = packed([head, 0, method, window, 5, 0, 0, 0], &[1, 2, 3]).verify();
            assert_eq!(
                found,
                Err(ModuleError::Compression {
                    header: u16::from(head),
                    method,
                    window
                })
            );
        }
    }

    #[test]
    fn a_compressed_module_in_a_compressed_module_is_refused() {
        let plain = ModuleBuilder::new(ModuleFunction::UserPart, 1, 6)
            .seeded_content(1, 100)
            .build()
            .unwrap();
        let once = derive::compressed(&plain).unwrap();
        assert_eq!(derive::compressed(&once), Err(ModuleError::Nested));
        // The same by hand: stored deflate block around the compressed module.
        let len = u16::try_from(once.bytes().len()).unwrap();
        let mut block = vec![1];
        block.extend(len.to_le_bytes());
        block.extend((!len).to_le_bytes());
        block.extend(once.bytes());
        let mut header = [8, 0, 0, 0, 0, 0, 0, 0];
        header[4..6].copy_from_slice(&len.to_le_bytes());
        assert_eq!(packed(header, &block).verify(), Err(ModuleError::Nested));
    }
}
