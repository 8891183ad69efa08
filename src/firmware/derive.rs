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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        firmware::{Extension::*, ModuleBuilder},
        model::{Platform, module::ModuleFunction},
    };

    fn bootloader() -> ModuleBuilder {
        let builder = ModuleBuilder::new(ModuleFunction::Bootloader, 0, 3201)
            .platform(Platform::P2)
            .start(0x0800_4000);
        builder.vector_table(0x20).seeded_content(5, 2000)
    }

    #[test]
    fn the_security_mode_goes_first_and_an_end_only_before_raw_product_fields() {
        let mode = SecurityMode {
            mode: 1,
            certificate: vec![],
        };
        let location = DynamicLocation {
            start: 1,
            dynalib_load: 2,
            dynalib_start: 3,
        };
        let product = Product {
            id: 0xffff,
            version: 0xffff,
        };
        for (own, extensions, growth) in [
            (vec![], vec![mode.clone(), End { padding: 0 }], 9),
            (
                vec![location.clone(), product.clone()],
                vec![mode.clone(), location.clone(), product],
                5,
            ),
            (vec![location.clone()], vec![mode.clone(), location, End { padding: 0 }], 5),
        ] {
            let plain = bootloader().suffix_extensions(own).build().unwrap();
            let made = protected(&plain).unwrap();
            assert_eq!(
                (made.verify(), made.is_protected(), made.header_offset()),
                (Ok(()), true, 0x20)
            );
            assert_eq!(made.suffix().unwrap().extensions, extensions);
            assert_eq!(made.bytes().len(), plain.bytes().len() + growth);
            assert_eq!(made.content(), plain.content());
            assert_eq!(made.suffix().unwrap().product, plain.suffix().unwrap().product);
        }
    }

    #[test]
    fn compression_comes_back_to_the_same_bytes_with_and_without_the_header() {
        for flags in [Flags::default(), Flags::DROP_MODULE_INFO] {
            let builder = ModuleBuilder::new(ModuleFunction::RadioStack, 0, 202)
                .platform(Platform::Argon)
                .start(0x1000);
            let plain = builder.flags(flags).content(vec![9; 5000]).build().unwrap();
            let small = compressed(&plain).unwrap();
            assert!(small.bytes().len() < 300 && small.header().flags.has(Flags::COMPRESSED));
            assert_eq!(small.verify(), Ok(()));
            assert_eq!(small.decompressed().unwrap().bytes(), plain.bytes());
            assert_eq!(protected(&small), Err(ModuleError::Nested));
        }
    }

    #[test]
    fn combining_nothing_is_no_module() {
        assert_eq!(combined(&[]), Err(ModuleError::TooShort { len: 0 }));
    }
}
