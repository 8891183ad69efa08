//! What can be wrong with a module in itself.

use crate::model::recipe::Sha256;

/// Why a file is not a module, or a module that must not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// Too few bytes for a header and a suffix.
    #[error("a module of {len} bytes is too short for header and suffix")]
    TooShort {
        /// Its length.
        len: usize,
    },
    /// More bytes than any module has.
    #[error("a file of {len} bytes is longer than any firmware (limit {limit})")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// No header at any offset.
    #[error("no module header was found: not a Particle firmware module")]
    NoHeader,
    /// A list of extensions is broken.
    #[error("the extension at byte {at} of its list is broken or the list has no end")]
    Extension {
        /// Where, from the start of the list.
        at: usize,
    },
    /// More combined modules in a file than keyrack reads.
    #[error("more than {limit} modules are combined in one file")]
    TooManyCombined {
        /// The limit.
        limit: usize,
    },
    /// The header says that another module follows, and none does.
    #[error("the header says that another module follows, but the file ends")]
    CombinedEnd,
    /// The header and the file disagree about the size.
    #[error("the header says {header} bytes, the file has {file}")]
    Size {
        /// Length by the header.
        header: u64,
        /// Length of the file, or of what is left of it.
        file: usize,
    },
    /// The suffix is all 0xFF: a padded bootloader of old, with nothing to check it by.
    #[error("the suffix is blank (0xFF), as in old padded bootloaders: there is no checksum to check")]
    BlankSuffix,
    /// The suffix has a size that cannot be.
    #[error("the suffix says that it has {size} bytes")]
    SuffixSize {
        /// What it says.
        size: usize,
    },
    /// The CRC-32 differs.
    #[error("wrong CRC-32: stored {stored:08x}, computed {computed:08x}")]
    Crc {
        /// As stored.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// The SHA-256 differs.
    #[error("wrong SHA-256: stored {stored}, computed {computed}")]
    Sha256 {
        /// As stored.
        stored: Sha256,
        /// As computed.
        computed: Sha256,
    },
    /// An asset's content does not have the hash that the asset names.
    #[error("the content of the asset has SHA-256 {computed}, it names {stored}")]
    AssetHash {
        /// As stored.
        stored: Sha256,
        /// As computed.
        computed: Sha256,
    },
    /// An asset has no name or no hash.
    #[error("the asset module has no name or no hash")]
    AssetUnnamed,
    /// The header of compressed content has unknown values.
    #[error("compressed content with header size {header}, method {method}, window {window} is not known")]
    Compression {
        /// Its header size; at least 8.
        header: u16,
        /// Its method; 0 is raw deflate.
        method: u8,
        /// Its window bits; 0, or 8 to 15.
        window: u8,
    },
    /// Compressed content that cannot be decompressed to what it promises.
    #[error("compressed content does not decompress to the {expected} bytes that it promises (limit {limit})")]
    Inflate {
        /// The promised length.
        expected: u32,
        /// The limit.
        limit: usize,
    },
    /// A compressed module in a compressed module.
    #[error("the compressed content is not a plain module")]
    Nested,
    /// An extension does not fit: a suffix is at most 65535 bytes.
    #[error("header extensions or suffix of {len} bytes are too long")]
    ExtensionsTooLong {
        /// The length that they would have.
        len: usize,
    },
}
