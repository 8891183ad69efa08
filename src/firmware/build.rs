//! Building of modules: fixtures, asset modules and the images that [`super::derive`] makes. Deterministic: the same
//! calls give the same bytes.

use super::{
    Extension, Flags, Header, Module, ModuleError,
    header::HEADER_LEN,
    suffix::{CRC_LEN, MIN_SUFFIX, seal},
};
use crate::model::{
    Platform,
    module::{Dependency, ModuleFunction},
};

/// Collects what a module is made of; [`Self::build`] lays it out and makes the sums.
#[derive(Clone, Debug)]
pub struct ModuleBuilder {
    header: Header,
    ends_at: Option<u32>,
    vectors: Vec<u8>,
    prefix: Vec<Extension>,
    content: Vec<u8>,
    suffix: Vec<Extension>,
    product: (u16, u16),
}

impl ModuleBuilder {
    /// A module with this function, index and version; start address, platform, flags and dependencies are 0 and it is
    /// empty.
    pub fn new(function: ModuleFunction, index: u8, version: u16) -> Self {
        Self {
            header: Header {
                start: 0,
                end: 0,
                reserved: 0,
                flags: Flags::default(),
                version,
                platform_id: 0,
                function,
                index,
                dependencies: [None; 2],
            },
            ends_at: None,
            vectors: Vec::new(),
            prefix: Vec::new(),
            content: Vec::new(),
            suffix: Vec::new(),
            product: (0xffff, 0xffff),
        }
    }

    /// The platform that it is for.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.header.platform_id = platform.id();
        self
    }

    /// Its first address.
    pub fn start(mut self, address: u32) -> Self {
        self.header.start = address;
        self
    }

    /// The address behind its last byte: the start follows from the length, as in RTL user parts, which grow to the left.
    pub fn ends_at(mut self, address: u32) -> Self {
        self.ends_at = Some(address);
        self
    }

    /// Sets flags. PREFIX_EXTENSIONS is set by itself.
    pub fn flags(mut self, flags: Flags) -> Self {
        self.header.flags = self.header.flags.with(flags);
        self
    }

    /// Adds something that it needs: in the header while one of its two places is free, then as an extension.
    pub fn needs(mut self, function: ModuleFunction, index: u8, version: u16) -> Self {
        let dependency = Dependency {
            function,
            index,
            version,
        };
        match self.header.dependencies.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(dependency),
            None => self.suffix.insert(0, Extension::Dependency { dependency, target: 0 }),
        }
        self
    }

    /// Puts so many bytes (of a vector table, usually 0x200) before the header.
    pub fn vector_table(mut self, len: usize) -> Self {
        self.vectors = seeded(len as u64, len);
        self
    }

    /// What is between header and suffix.
    pub fn content(mut self, content: Vec<u8>) -> Self {
        self.content = content;
        self
    }

    /// Content of this length that only the seed decides.
    pub fn seeded_content(self, seed: u64, len: usize) -> Self {
        self.content(seeded(seed, len))
    }

    /// Extensions behind the header. An END record is added where there is none.
    pub fn prefix_extensions(mut self, extensions: impl IntoIterator<Item = Extension>) -> Self {
        self.prefix.extend(extensions);
        self
    }

    /// Extensions of the suffix. An END record is added where the last is neither END nor the product.
    pub fn suffix_extensions(mut self, extensions: impl IntoIterator<Item = Extension>) -> Self {
        self.suffix.extend(extensions);
        self
    }

    /// Product id and version in the raw fields: not used where the last extension of the suffix is a product record.
    pub fn product(mut self, id: u16, version: u16) -> Self {
        self.product = (id, version);
        self
    }

    /// Lays the module out and makes its sums.
    ///
    /// # Errors
    /// When the extensions do not fit a suffix, or the module is longer than any file that [`Module::parse`] takes.
    pub fn build(self) -> Result<Module, ModuleError> {
        Module::parse(self.bytes()?)
    }

    fn bytes(mut self) -> Result<Vec<u8>, ModuleError> {
        let suffix = suffix_bytes(&self.suffix, self.product)?;
        let body = self.vectors.len() + HEADER_LEN + self.content.len() + suffix.len() + CRC_LEN;
        let prefix = self.prefix_bytes(body)?;
        let len = u32::try_from(body + prefix.len()).unwrap_or(u32::MAX);
        if let Some(end) = self.ends_at {
            self.header.start = end.wrapping_sub(len);
        }
        self.header.end = self.header.start.wrapping_add(len - CRC_LEN as u32);
        let mut bytes = self.vectors;
        bytes.extend(self.header.to_bytes());
        bytes.extend(prefix);
        bytes.extend(self.content);
        bytes.extend(suffix);
        bytes.extend([0; CRC_LEN]);
        seal(&mut bytes);
        Ok(bytes)
    }

    fn prefix_bytes(&mut self, body: usize) -> Result<Vec<u8>, ModuleError> {
        if self.prefix.is_empty() {
            return Ok(Vec::new());
        }
        self.header.flags = self.header.flags.with(Flags::PREFIX_EXTENSIONS);
        if !matches!(self.prefix.last(), Some(Extension::End { .. })) {
            self.prefix.push(Extension::End { padding: 0 });
        }
        let mut bytes = list_bytes(&self.prefix)?;
        if self.ends_at.is_some() {
            // What grows to the left starts at a multiple of 8: the END record takes the difference.
            let padding = (8 - (body + bytes.len()) % 8) % 8;
            if let Some(Extension::End { padding: own }) = self.prefix.last_mut() {
                *own += padding;
            }
            bytes = list_bytes(&self.prefix)?;
        }
        Ok(bytes)
    }
}

/// A suffix without its sums: extensions, product, reserved, room for the hash, size.
fn suffix_bytes(extensions: &[Extension], (id, version): (u16, u16)) -> Result<Vec<u8>, ModuleError> {
    let mut bytes = list_bytes(extensions)?;
    match extensions.last() {
        Some(Extension::Product { .. }) => {}
        None | Some(Extension::End { .. }) => bytes.extend(product_bytes(id, version)),
        Some(_) => {
            bytes.extend(Extension::End { padding: 0 }.to_bytes());
            bytes.extend(product_bytes(id, version));
        }
    }
    finish_suffix(bytes)
}

/// Puts reserved bytes, room for the hash and the size behind extensions and product.
pub(super) fn finish_suffix(mut area: Vec<u8>) -> Result<Vec<u8>, ModuleError> {
    let len = area.len() + MIN_SUFFIX;
    let size = u16::try_from(len)
        .ok()
        .filter(|size| *size < u16::MAX)
        .ok_or(ModuleError::ExtensionsTooLong { len })?;
    area.extend([0; MIN_SUFFIX - 2]);
    area.extend(size.to_le_bytes());
    Ok(area)
}

fn list_bytes(extensions: &[Extension]) -> Result<Vec<u8>, ModuleError> {
    let mut bytes = Vec::new();
    for extension in extensions {
        let record = extension.to_bytes();
        if record.len() == usize::from(u16::MAX) {
            return Err(ModuleError::ExtensionsTooLong { len: record.len() });
        }
        bytes.extend(record);
    }
    Ok(bytes)
}

fn product_bytes(id: u16, version: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (id.to_le_bytes(), version.to_le_bytes());
    [a, b, c, d]
}

/// The SplitMix64 sequence: not random, only different for every seed.
fn seeded(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> ModuleBuilder {
        ModuleBuilder::new(ModuleFunction::SystemPart, 1, 4100)
            .platform(Platform::Argon)
            .start(0x30000)
            .vector_table(0x200)
            .needs(ModuleFunction::RadioStack, 0, 202)
            .needs(ModuleFunction::Bootloader, 0, 1200)
            .seeded_content(7, 5000)
    }

    #[test]
    fn what_is_built_parses_verifies_and_is_the_same_every_time() {
        let module = system().build().unwrap();
        assert_eq!(module.verify(), Ok(()));
        assert_eq!(module.header_offset(), 0x200);
        assert_eq!(module.header().module_len(), module.bytes().len() as u64);
        assert_eq!(module.to_string(), "system part 1 v4100");
        assert_eq!(module.product(), None);
        assert_eq!(module.bytes(), system().build().unwrap().bytes());
        assert_ne!(module.bytes(), system().seeded_content(8, 5000).build().unwrap().bytes());
    }

    #[test]
    fn a_third_dependency_becomes_an_extension() {
        let module = system().needs(ModuleFunction::Bootloader, 2, 11).build().unwrap();
        assert_eq!(module.verify(), Ok(()));
        let needed: Vec<u16> = module.dependencies().iter().map(|d| d.version).collect();
        assert_eq!(needed, [202, 1200, 11]);
    }

    #[test]
    fn a_module_that_grows_left_ends_where_it_must() {
        let plain = ModuleBuilder::new(ModuleFunction::UserPart, 1, 6)
            .platform(Platform::P2)
            .ends_at(0x0860_0000);
        for len in 1000..1010 {
            let module = plain
                .clone()
                .seeded_content(1, len)
                .prefix_extensions([Extension::Name("x".into())])
                .product(8178, 13)
                .build()
                .unwrap();
            assert_eq!(module.verify(), Ok(()));
            assert_eq!(module.header().end + 4, 0x0860_0000);
            assert_eq!(module.header().start % 8, 0);
            assert_eq!(module.product(), Some((8178, 13)));
        }
    }

    #[test]
    fn extensions_that_do_not_fit_are_refused() {
        let name = Extension::Name("x".repeat(70_000));
        let builder = system().suffix_extensions([name.clone()]);
        assert!(matches!(builder.build(), Err(ModuleError::ExtensionsTooLong { .. })));
        let many = vec![Extension::Name("x".repeat(1000)); 70];
        assert!(matches!(
            system().suffix_extensions(many).build(),
            Err(ModuleError::ExtensionsTooLong { .. })
        ));
    }
}
