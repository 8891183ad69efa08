//! Assets: files that an application brings along, each wrapped into a module (device-protocol.md 5.3).

use super::{Extension, Flags, Module, ModuleBuilder, ModuleError, sha256_of};
use crate::model::{module::ModuleFunction, recipe::Sha256};

/// An asset by name and hash, as an application names what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssetRef {
    /// Its name.
    pub name: String,
    /// SHA-256 of its raw content.
    pub hash: Sha256,
}

/// Wraps a raw file into an asset module, uncompressed.
///
/// # Errors
/// When the name does not fit a suffix.
pub fn wrap(name: &str, content: &[u8]) -> Result<Module, ModuleError> {
    ModuleBuilder::new(ModuleFunction::Asset, 0, 0)
        .flags(Flags::DROP_MODULE_INFO)
        .content(content.to_vec())
        .suffix_extensions([
            Extension::Hash(sha256_of(content)),
            Extension::Name(name.to_owned()),
            Extension::Product {
                id: 0xffff,
                version: 0xffff,
            },
        ])
        .build()
}
