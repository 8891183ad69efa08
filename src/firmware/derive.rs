//! Images that are made from modules: the protected bootloader, compressed modules, several modules in one file
//! (device-protocol.md 5.3).

use std::io::Read;

use flate2::{Compression, read::DeflateEncoder};

use super::{
    Extension, Flags, Module, ModuleError,
    build::finish_suffix,
    extension::RAW_PRODUCT,
    header::HEADER_LEN,
    inflate::{COMPRESSED_HEADER, RAW_DEFLATE},
    module::PROTECTED,
    suffix::{CRC_LEN, MIN_SUFFIX, seal},
};

/// The bootloader with which a device stays protected; one that is protected already comes back as it is.
///
/// The security mode goes before the extensions that are there, with an END record where only raw product fields follow.
///
/// # Errors
/// When the module does not verify, is compressed or combined, or its suffix would be too long.
pub fn protected(module: &Module) -> Result<Module, ModuleError> {
    module.verify()?;
    if module.is_protected() {
        return Ok(module.clone());
    }
    let suffix = plain_suffix(module)?;
    let bytes = module.bytes();
    let area_at = bytes.len() - CRC_LEN - suffix.size;
    let area = &bytes[area_at..area_at + suffix.size - MIN_SUFFIX];
    let mut new_area = Extension::SecurityMode {
        mode: PROTECTED,
        certificate: Vec::new(),
    }
    .to_bytes();
    if area.len() <= RAW_PRODUCT {
        new_area.extend(Extension::End { padding: 0 }.to_bytes());
    }
    new_area.extend(area);
    let mut image = bytes[..area_at].to_vec();
    image.extend(finish_suffix(new_area)?);
    Module::parse(complete(module, image, module.header_offset(), module.header().flags))
}

/// The module in compressed form.
///
/// # Errors
/// When the module does not verify or is compressed or combined already.
pub fn compressed(module: &Module) -> Result<Module, ModuleError> {
    module.verify()?;
    let suffix = plain_suffix(module)?;
    let bytes = module.bytes();
    let head_at = module.header_offset();
    let prefix_end = head_at + module.prefix_len();
    let suffix_at = bytes.len() - CRC_LEN - suffix.size;
    let drop = module.header().flags.has(Flags::DROP_MODULE_INFO);
    let content = if drop { &bytes[prefix_end..suffix_at] } else { bytes };
    let mut image = bytes[head_at..prefix_end].to_vec();
    image.extend((COMPRESSED_HEADER as u16).to_le_bytes());
    image.extend([RAW_DEFLATE, 0]);
    image.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    DeflateEncoder::new(content, Compression::best())
        .read_to_end(&mut image)
        .expect("reading from memory and compressing cannot fail");
    image.extend(&bytes[suffix_at..bytes.len() - CRC_LEN]);
    Module::parse(complete(module, image, 0, module.header().flags.with(Flags::COMPRESSED)))
}

/// One file with all of these modules, in this order. The device applies them in one go; it takes at most two.
///
/// # Errors
/// When one does not verify or is combined already.
pub fn combined(modules: &[Module]) -> Result<Module, ModuleError> {
    let mut file = Vec::new();
    for (i, module) in modules.iter().enumerate() {
        module.verify()?;
        if module.header().flags.has(Flags::COMBINED) {
            return Err(ModuleError::Nested);
        }
        let bytes = module.bytes();
        if i + 1 < modules.len() {
            let unsealed = bytes[..bytes.len() - CRC_LEN].to_vec();
            file.extend(complete(
                module,
                unsealed,
                module.header_offset(),
                module.header().flags.with(Flags::COMBINED),
            ));
        } else {
            file.extend(bytes);
        }
    }
    Module::parse(file)
}

fn plain_suffix(module: &Module) -> Result<&super::Suffix, ModuleError> {
    let flags = module.header().flags;
    if flags.has(Flags::COMPRESSED) || flags.has(Flags::COMBINED) {
        return Err(ModuleError::Nested);
    }
    module.suffix().ok_or(ModuleError::BlankSuffix)
}

/// Puts the header of `module` with new flags and the image's own end at `at`, and makes the sums.
fn complete(module: &Module, mut image: Vec<u8>, at: usize, flags: Flags) -> Vec<u8> {
    let mut header = *module.header();
    header.flags = flags;
    header.end = header.start.wrapping_add(u32::try_from(image.len()).unwrap_or(u32::MAX));
    image[at..at + HEADER_LEN].copy_from_slice(&header.to_bytes());
    image.extend([0; CRC_LEN]);
    seal(&mut image);
    image
}
