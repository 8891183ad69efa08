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
    let head = packed.first_chunk::<COMPRESSED_HEADER>().ok_or(ModuleError::TooShort { len: bytes.len() })?;
    let header = u16::from_le_bytes([head[0], head[1]]);
    let [method, window] = [head[2], head[3]];
    if usize::from(header) < COMPRESSED_HEADER || method != RAW_DEFLATE || !(window == 0 || (8..=15).contains(&window)) {
        return Err(ModuleError::Compression { header, method, window });
    }
    let expected = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let deflated = packed.get(usize::from(header)..).ok_or(ModuleError::Compression { header, method, window })?;
    let content = inflate(deflated, expected)?;
    let plain = if module.header().flags.has(Flags::DROP_MODULE_INFO) {
        let mut plain = bytes[..prefix_end].to_vec();
        plain.extend(content);
        plain.extend(&bytes[suffix_start..]);
        let mut header = *module.header();
        header.flags = header.flags.without(Flags::COMPRESSED);
        header.end = header.start.wrapping_add(u32::try_from(plain.len() - CRC_LEN).unwrap_or(u32::MAX));
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
    let bad = ModuleError::Inflate { expected, limit: MAX_INFLATED };
    let len = usize::try_from(expected).ok().filter(|len| *len <= MAX_INFLATED).ok_or(bad.clone())?;
    let mut content = Vec::new();
    // One byte more than promised shows that there is more, and no further byte is decompressed.
    let limit = u64::from(expected) + 1;
    DeflateDecoder::new(deflated).take(limit).read_to_end(&mut content).map_err(|_| bad.clone())?;
    if content.len() == len { Ok(content) } else { Err(bad) }
}

pub(super) const COMPRESSED_HEADER: usize = 8;
pub(super) const RAW_DEFLATE: u8 = 0;
/// More than twice the largest region of any platform (RTL system part, 0x181000 bytes).
pub(super) const MAX_INFLATED: usize = 4 * 1024 * 1024;
