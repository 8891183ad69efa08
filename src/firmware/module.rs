//! A firmware module as found in a file: parsed without trust, then checked against itself.
//!
//! Parsing is tolerant, so that a refusal can say what is wrong; [`Module::verify`] is strict. Whether a module fits a
//! platform is [`mod@super::place`]'s.

use std::{fmt, ops::Range, sync::Arc};

use super::{
    AssetRef, Extension, Flags, Header, ModuleError, Suffix,
    extension::read_prefix,
    header::{HEADER_LEN, locate},
    inflate, sha256_of,
    suffix::{CRC_LEN, Tail, crc_of, hash_of},
};
use crate::model::{
    Platform,
    module::{Dependency, ModuleFunction},
};

/// One module, with those that are combined behind it in the same file.
#[derive(Clone, PartialEq, Eq)]
pub struct Module {
    file: Arc<[u8]>,
    range: Range<usize>,
    header_offset: usize,
    header: Header,
    prefix_extensions: Vec<Extension>,
    prefix_len: usize,
    tail: Tail,
    left: usize,
    following: Vec<Module>,
}

impl Module {
    /// Reads a module, or several combined ones, from the bytes of a file. Sums are not checked here: see [`Self::verify`].
    ///
    /// # Errors
    /// When there is no header or a list of extensions cannot be read.
    pub fn parse(file: impl Into<Arc<[u8]>>) -> Result<Self, ModuleError> {
        let file = file.into();
        if file.len() > MAX_FILE {
            return Err(ModuleError::TooLong {
                len: file.len(),
                limit: MAX_FILE,
            });
        }
        let mut first = Self::parse_at(&file, 0)?;
        let mut at = first.range.end;
        let mut more = first.header.flags.has(Flags::COMBINED);
        while more {
            if at >= file.len() {
                return Err(ModuleError::CombinedEnd);
            }
            if first.following.len() + 1 == MAX_COMBINED {
                return Err(ModuleError::TooManyCombined { limit: MAX_COMBINED });
            }
            let next = Self::parse_at(&file, at)?;
            at = next.range.end;
            more = next.header.flags.has(Flags::COMBINED);
            first.following.push(next);
        }
        Ok(first)
    }

    fn parse_at(file: &Arc<[u8]>, at: usize) -> Result<Self, ModuleError> {
        let bytes = &file[at..];
        if bytes.len() < HEADER_LEN + CRC_LEN {
            return Err(ModuleError::TooShort { len: bytes.len() });
        }
        let (header_offset, header) = locate(bytes).ok_or(ModuleError::NoHeader)?;
        let len = usize::try_from(header.module_len()).map_or(bytes.len(), |len| len.min(bytes.len()));
        let bytes = &bytes[..len];
        let mut prefix_end = header_offset + HEADER_LEN;
        let mut prefix_extensions = Vec::new();
        let mut room = bytes.get(prefix_end..).ok_or(ModuleError::TooShort { len })?;
        if header.flags.has(Flags::PREFIX_EXTENSIONS) {
            let (list, taken) = read_prefix(room)?;
            prefix_extensions = list;
            prefix_end += taken;
            room = &room[taken..];
        }
        Ok(Self {
            range: at..at + len,
            header_offset,
            header,
            prefix_extensions,
            prefix_len: prefix_end - header_offset,
            tail: Tail::read(bytes, room.len())?,
            left: file.len() - at,
            following: Vec::new(),
            file: Arc::clone(file),
        })
    }

    /// Checks the module, and those combined with it, against itself: size, suffix, CRC-32, SHA-256, compressed content and,
    /// for an asset, its name and hash.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), ModuleError> {
        self.verify_one()?;
        self.following.iter().try_for_each(Self::verify_one)
    }

    fn verify_one(&self) -> Result<(), ModuleError> {
        let header = self.header.module_len();
        let size = ModuleError::Size { header, file: self.left };
        if header > self.left as u64 {
            return Err(size);
        }
        let combined = self.header.flags.has(Flags::COMBINED);
        if !combined && !self.padding().iter().all(|b| *b == 0xff) {
            return Err(size);
        }
        let suffix = match &self.tail {
            Tail::Suffix(suffix) => suffix,
            Tail::Blank => return Err(ModuleError::BlankSuffix),
            Tail::BadSize(size) => return Err(ModuleError::SuffixSize { size: *size }),
        };
        let computed = crc_of(self.bytes());
        if computed != suffix.crc {
            return Err(ModuleError::Crc {
                stored: suffix.crc,
                computed,
            });
        }
        let computed = hash_of(self.bytes());
        if computed != suffix.sha256 {
            return Err(ModuleError::Sha256 {
                stored: suffix.sha256,
                computed,
            });
        }
        if self.header.flags.has(Flags::COMPRESSED) {
            inflate::decompressed(self)?;
        }
        if self.header.function == ModuleFunction::Asset {
            let stored = self.asset().ok_or(ModuleError::AssetUnnamed)?.hash;
            let computed = sha256_of(&self.content()?);
            if stored != computed {
                return Err(ModuleError::AssetHash { stored, computed });
            }
        }
        Ok(())
    }

    /// The bytes of this module alone, without padding or modules that follow.
    pub fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }

    /// The bytes of the whole file.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the header is, in bytes from the start of the module.
    pub fn header_offset(&self) -> usize {
        self.header_offset
    }

    /// The suffix, unless it is blank or broken.
    pub fn suffix(&self) -> Option<&Suffix> {
        match &self.tail {
            Tail::Suffix(suffix) => Some(suffix),
            Tail::Blank | Tail::BadSize(_) => None,
        }
    }

    /// True for an old padded bootloader whose suffix is all 0xFF: it parses, and never verifies.
    pub fn has_blank_suffix(&self) -> bool {
        self.tail == Tail::Blank
    }

    /// Length in bytes of the header with the extensions behind it: what DROP_MODULE_INFO drops.
    pub fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// All extensions: first those behind the header, then those of the suffix.
    pub fn extensions(&self) -> impl Iterator<Item = &Extension> {
        self.prefix_extensions
            .iter()
            .chain(self.suffix().into_iter().flat_map(|suffix| &suffix.extensions))
    }

    /// The modules of the file, this one first.
    pub fn combined(&self) -> impl Iterator<Item = &Module> {
        std::iter::once(self).chain(&self.following)
    }

    /// True if the file has more than one module.
    pub fn is_combined(&self) -> bool {
        !self.following.is_empty()
    }

    /// The platform, if it is one of a rack. Asset modules say 0, which is the Core's number: see [`Header::platform_id`].
    pub fn platform(&self) -> Option<Platform> {
        Platform::from_id(self.header.platform_id)
    }

    /// Product id and version of product firmware.
    ///
    /// 0, 0xFFFF and the platform's own number (the default in old modules) stand for no product.
    pub fn product(&self) -> Option<(u16, u16)> {
        self.suffix()?
            .product
            .filter(|(id, _)| ![0, 0xffff, self.header.platform_id].contains(id))
    }

    /// Everything that it needs: both dependencies of the header and those of the extensions, without repetition.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let extensions = self.extensions().filter_map(|extension| match extension {
            Extension::Dependency { dependency, .. } => Some(*dependency),
            _ => None,
        });
        let mut all: Vec<Dependency> = Vec::new();
        for dependency in self.header.dependencies.into_iter().flatten().chain(extensions) {
            if !all.contains(&dependency) {
                all.push(dependency);
            }
        }
        all
    }

    /// The assets that an application needs, wherever it lists them.
    pub fn asset_dependencies(&self) -> impl Iterator<Item = &AssetRef> {
        self.extensions().filter_map(|extension| match extension {
            Extension::AssetDependency(asset) => Some(asset),
            _ => None,
        })
    }

    /// Name and hash of an asset module.
    pub fn asset(&self) -> Option<AssetRef> {
        if self.header.function != ModuleFunction::Asset {
            return None;
        }
        let name = self.extensions().find_map(|e| {
            if let Extension::Name(name) = e {
                Some(name.clone())
            } else {
                None
            }
        })?;
        let hash = self
            .extensions()
            .find_map(|e| if let Extension::Hash(hash) = e { Some(*hash) } else { None })?;
        Some(AssetRef { name, hash })
    }

    /// True for a bootloader that makes its device protected.
    pub fn is_protected(&self) -> bool {
        self.extensions()
            .any(|extension| matches!(extension, Extension::SecurityMode { mode: PROTECTED, .. }))
    }

    /// What is between header and suffix, decompressed: the raw data of an asset.
    ///
    /// # Errors
    /// When the suffix is missing or the content cannot be decompressed.
    pub fn content(&self) -> Result<Vec<u8>, ModuleError> {
        if self.header.flags.has(Flags::COMPRESSED) {
            return inflate::decompressed(self)?.content();
        }
        let suffix = self.suffix().ok_or(ModuleError::BlankSuffix)?;
        let bytes = self.bytes();
        Ok(bytes[self.header_offset + self.prefix_len..bytes.len() - CRC_LEN - suffix.size].to_vec())
    }

    /// The same module without compression; a plain module as it is.
    ///
    /// # Errors
    /// When the content cannot be decompressed.
    pub fn decompressed(&self) -> Result<Module, ModuleError> {
        if self.header.flags.has(Flags::COMPRESSED) {
            inflate::decompressed(self)
        } else {
            Ok(self.clone())
        }
    }

    /// The bytes behind the module in its file, empty if it fills the file.
    fn padding(&self) -> &[u8] {
        &self.file[self.range.end..]
    }
}

/// What a person calls it: "system part 1 v4100", "user part 2 v6", "asset cat.txt".
impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header {
            function,
            index,
            version,
            ..
        } = self.header;
        match self.asset() {
            Some(asset) => write!(f, "asset {}", asset.name)?,
            None => write!(f, "{function} {index} v{version}")?,
        }
        self.following.iter().try_for_each(|next| write!(f, " + {next}"))
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("label", &self.to_string())
            .field("header", &self.header)
            .field("header_offset", &self.header_offset)
            .field("prefix_extensions", &self.prefix_extensions)
            .field("tail", &self.tail)
            .field("len", &self.range.len())
            .finish_non_exhaustive()
    }
}

/// The largest module is a system part of 1.5 MiB; several may be combined.
pub(super) const MAX_FILE: usize = 8 * 1024 * 1024;
/// More than any vendor file has; devices take two.
const MAX_COMBINED: usize = 8;
pub(super) const PROTECTED: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        firmware::{Bundle, ModuleBuilder, asset, derive, place},
        model::recipe::Sha256,
    };

    fn user() -> ModuleBuilder {
        ModuleBuilder::new(ModuleFunction::UserPart, 1, 6)
            .platform(Platform::Boron)
            .start(0xd_4000)
            .seeded_content(3, 300)
    }

    #[test]
    fn padding_is_tolerated_and_other_trailing_bytes_are_not() {
        let bytes = user().build().unwrap().bytes().to_vec();
        let mut padded = bytes.clone();
        padded.resize(4096, 0xff);
        let module = Module::parse(padded.clone()).unwrap();
        assert_eq!((module.verify(), module.bytes()), (Ok(()), bytes.as_slice()));
        padded[4000] = 0;
        let module = Module::parse(padded).unwrap();
        assert_eq!(
            module.verify(),
            Err(ModuleError::Size {
                header: bytes.len() as u64,
                file: 4096
            })
        );
    }

    #[test]
    fn an_old_padded_bootloader_parses_says_so_and_never_verifies() {
        let mut bytes = user().build().unwrap().bytes().to_vec();
        let len = bytes.len();
        bytes[len - 60..].fill(0xff);
        let module = Module::parse(bytes).unwrap();
        assert!(module.has_blank_suffix() && module.suffix().is_none());
        assert_eq!(module.verify(), Err(ModuleError::BlankSuffix));
    }

    #[test]
    fn each_kind_of_damage_has_its_error() {
        let bytes = user().build().unwrap().bytes().to_vec();
        let damaged = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            Module::parse(bytes).unwrap().verify().unwrap_err()
        };
        assert!(matches!(damaged(100), ModuleError::Crc { .. }));
        assert!(matches!(damaged(bytes.len() - 1), ModuleError::Crc { .. }));
        let mut other_hash = bytes.clone();
        let (hash_at, crc_at) = (bytes.len() - 38, bytes.len() - 4);
        other_hash[hash_at] ^= 1;
        let crc = crc_of(&other_hash).to_be_bytes();
        other_hash[crc_at..].copy_from_slice(&crc);
        assert!(matches!(
            Module::parse(other_hash).unwrap().verify(),
            Err(ModuleError::Sha256 { .. })
        ));
        let mut size = bytes.clone();
        size[crc_at - 2..crc_at].copy_from_slice(&9999u16.to_le_bytes());
        assert_eq!(
            Module::parse(size).unwrap().verify(),
            Err(ModuleError::SuffixSize { size: 9999 })
        );
        assert_eq!(Module::parse(vec![0u8; 10]), Err(ModuleError::TooShort { len: 10 }));
        assert_eq!(Module::parse(vec![0x55u8; 1000]), Err(ModuleError::NoHeader));
        assert!(matches!(
            Module::parse(vec![0u8; MAX_FILE + 1]),
            Err(ModuleError::TooLong { .. })
        ));
    }

    #[test]
    fn an_asset_must_be_what_it_names() {
        let wrong = ModuleBuilder::new(ModuleFunction::Asset, 0, 0)
            .flags(Flags::DROP_MODULE_INFO)
            .content(b"hello".to_vec())
            .suffix_extensions([Extension::Hash(Sha256([1; 32])), Extension::Name("a".into())]);
        assert!(matches!(wrong.build().unwrap().verify(), Err(ModuleError::AssetHash { .. })));
        let nameless = ModuleBuilder::new(ModuleFunction::Asset, 0, 0).content(b"hello".to_vec());
        assert_eq!(nameless.build().unwrap().verify(), Err(ModuleError::AssetUnnamed));
    }

    #[test]
    fn combined_files_are_read_to_their_end() {
        let one = user().build().unwrap();
        let file = derive::combined(&[one.clone(), one.clone()]).unwrap();
        assert_eq!((file.combined().count(), file.verify()), (2, Ok(())));
        let cut = &file.file()[..one.bytes().len()];
        assert_eq!(Module::parse(cut), Err(ModuleError::CombinedEnd));
        let many = vec![one; MAX_COMBINED + 1];
        assert_eq!(
            derive::combined(&many),
            Err(ModuleError::TooManyCombined { limit: MAX_COMBINED })
        );
    }

    #[test]
    fn prefix_extensions_are_found_and_belong_to_the_prefix() {
        let asset = AssetRef {
            name: "cat".into(),
            hash: Sha256([4; 32]),
        };
        let module = user()
            .prefix_extensions([Extension::AssetDependency(asset.clone())])
            .build()
            .unwrap();
        assert_eq!(module.verify(), Ok(()));
        assert_eq!(module.asset_dependencies().collect::<Vec<_>>(), [&asset]);
        assert_eq!(module.prefix_len(), 24 + 4 + 34 + 3 + 4);
        assert_eq!(module.content().unwrap().len(), 300);
    }

    fn use_everything(bytes: &[u8]) {
        let Ok(module) = Module::parse(bytes) else { return };
        let _ = (
            module.verify(),
            module.content(),
            module.dependencies(),
            module.product(),
            module.to_string(),
        );
        let _ = (derive::protected(&module), derive::compressed(&module), module.decompressed());
        for platform in Platform::all() {
            let _ = place(platform, &module);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            use_everything(&bytes);
            let _ = Bundle::parse(&bytes);
        }

        #[test]
        fn no_damage_makes_it_panic(
            which in 0..4usize,
            hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
            reseal in any::<bool>(),
        ) {
            let hash = Extension::Hash(Sha256([1; 32]));
            let module = match which {
                0 => user().build(),
                1 => user().prefix_extensions([hash.clone(), hash]).build(),
                2 => derive::compressed(&asset::wrap("a", &[7; 500]).unwrap()),
                _ => derive::combined(&[user().build().unwrap(), user().build().unwrap()]),
            };
            let mut bytes = module.unwrap().file().to_vec();
            for (at, value) in hits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if reseal {
                super::super::suffix::seal(&mut bytes);
            }
            use_everything(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            use_everything(&bytes);
        }
    }
}
