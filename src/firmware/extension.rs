//! Extensions: the typed records in the suffix of a module, and behind its header on platforms whose modules grow
//! to the left (device-protocol.md 5.2).

use super::{AssetRef, ModuleError};
use crate::model::{
    module::{Dependency, ModuleFunction},
    recipe::Sha256,
};

/// One record: u16 type, u16 length with these four bytes, data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// The list ends here; so many bytes of padding follow.
    End {
        /// Bytes of padding, part of the record.
        padding: usize,
    },
    /// Product id and version.
    Product {
        /// Product id; 0xFFFF without a product.
        id: u16,
        /// Version of the product firmware.
        version: u16,
    },
    /// Where the dynamic part of a module is loaded (RTL).
    DynamicLocation {
        /// Start of the module.
        start: u32,
        /// Where the dynalib table is loaded.
        dynalib_load: u32,
        /// Where the dynalib table starts.
        dynalib_start: u32,
    },
    /// Another module that is needed.
    Dependency {
        /// Which one.
        dependency: Dependency,
        /// For which target.
        target: u32,
    },
    /// SHA-256 of the raw content of an asset.
    Hash(Sha256),
    /// Name of an asset.
    Name(String),
    /// An asset that the application needs.
    AssetDependency(AssetRef),
    /// Security mode of a bootloader: 1 is protected.
    SecurityMode {
        /// The mode.
        mode: u8,
        /// An optional certificate.
        certificate: Vec<u8>,
    },
    /// Kind of an asset.
    AssetType(u8),
    /// A type that keyrack does not know, or one whose data it cannot read: kept as it is.
    Unknown {
        /// Its number.
        kind: u16,
        /// Its data.
        data: Vec<u8>,
    },
}

impl Extension {
    /// The record as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, data) = match self {
            Self::End { padding } => (END, vec![0; *padding]),
            Self::Product { id, version } => (PRODUCT_DATA, [[0xff; 2], id.to_le_bytes(), version.to_le_bytes()].concat()),
            Self::DynamicLocation {
                start,
                dynalib_load,
                dynalib_start,
            } => (
                DYNAMIC_LOCATION,
                [start, dynalib_load, dynalib_start]
                    .into_iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect(),
            ),
            Self::Dependency { dependency: d, target } => {
                let mut data = vec![d.function.byte(), d.index];
                data.extend(d.version.to_le_bytes());
                data.extend(target.to_le_bytes());
                (DEPENDENCY, data)
            }
            Self::Hash(hash) => (HASH, hash_field(hash)),
            Self::Name(name) => (NAME, name.as_bytes().to_vec()),
            Self::AssetDependency(asset) => {
                let mut data = hash_field(&asset.hash);
                data.extend(asset.name.as_bytes());
                (ASSET_DEPENDENCY, data)
            }
            Self::SecurityMode { mode, certificate } => {
                let mut data = vec![*mode];
                data.extend(certificate);
                (SECURITY_MODE, data)
            }
            Self::AssetType(kind) => (ASSET_TYPE, vec![*kind, 0]),
            Self::Unknown { kind, data } => (*kind, data.clone()),
        };
        let len = u16::try_from(data.len() + RECORD_HEADER).unwrap_or(u16::MAX);
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend_from_slice(&data[..usize::from(len) - RECORD_HEADER]);
        bytes
    }

    fn read(kind: u16, data: &[u8]) -> Self {
        Self::read_known(kind, data).unwrap_or_else(|| Self::Unknown {
            kind,
            data: data.to_vec(),
        })
    }

    fn read_known(kind: u16, data: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]));
        let u32_at = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
        Some(match kind {
            END => Self::End { padding: data.len() },
            // The last four bytes are right whether the writer took the id for 16 or for 32 bits.
            PRODUCT_DATA if data.len() == 6 => Self::Product {
                id: u16_at(2)?,
                version: u16_at(4)?,
            },
            DYNAMIC_LOCATION if data.len() == 12 => Self::DynamicLocation {
                start: u32_at(0)?,
                dynalib_load: u32_at(4)?,
                dynalib_start: u32_at(8)?,
            },
            DEPENDENCY if data.len() == 8 => Self::Dependency {
                dependency: Dependency {
                    function: ModuleFunction::from_byte(data[0])?,
                    index: data[1],
                    version: u16_at(2)?,
                },
                target: u32_at(4)?,
            },
            HASH => match read_hash(data)? {
                (hash, []) => Self::Hash(hash),
                _ => return None,
            },
            NAME => Self::Name(String::from_utf8(data.to_vec()).ok()?),
            ASSET_DEPENDENCY => {
                let (hash, name) = read_hash(data)?;
                Self::AssetDependency(AssetRef {
                    name: String::from_utf8(name.to_vec()).ok()?,
                    hash,
                })
            }
            SECURITY_MODE => Self::SecurityMode {
                mode: *data.first()?,
                certificate: data[1..].to_vec(),
            },
            ASSET_TYPE => Self::AssetType(*data.first()?),
            _ => return None,
        })
    }
}

/// Reads a list that must end with an END record: the extensions, and how many bytes the list takes.
pub(super) fn read_prefix(bytes: &[u8]) -> Result<(Vec<Extension>, usize), ModuleError> {
    let mut list = Vec::new();
    let mut at = 0;
    loop {
        match read_record(bytes, at)? {
            None => return Err(ModuleError::Extension { at }),
            Some((extension, len)) => {
                at += len;
                let ended = matches!(extension, Extension::End { .. });
                list.push(extension);
                if ended {
                    return Ok((list, at));
                }
            }
        }
    }
}

/// Reads the records of a suffix, whose last four bytes may be product fields without a record around them.
pub(super) fn read_suffix(bytes: &[u8]) -> Result<Vec<Extension>, ModuleError> {
    let mut list = Vec::new();
    let mut at = 0;
    while bytes.len() - at > RAW_PRODUCT {
        let Some((extension, len)) = read_record(bytes, at)? else {
            break;
        };
        at += len;
        let ended = matches!(extension, Extension::End { .. });
        list.push(extension);
        if ended {
            break;
        }
    }
    Ok(list)
}

fn read_record(bytes: &[u8], at: usize) -> Result<Option<(Extension, usize)>, ModuleError> {
    let bad = ModuleError::Extension { at };
    let record = bytes
        .get(at..)
        .filter(|rest| rest.len() >= RECORD_HEADER)
        .ok_or(bad.clone())?;
    let kind = u16::from_le_bytes([record[0], record[1]]);
    if kind == INVALID {
        return Ok(None);
    }
    let len = usize::from(u16::from_le_bytes([record[2], record[3]]));
    if len < RECORD_HEADER {
        return Err(bad);
    }
    let data = record.get(RECORD_HEADER..len).ok_or(bad)?;
    Ok(Some((Extension::read(kind, data), len)))
}

fn hash_field(hash: &Sha256) -> Vec<u8> {
    let mut data = vec![HASH_SHA256, 32];
    data.extend(hash.0);
    data
}

fn read_hash(data: &[u8]) -> Option<(Sha256, &[u8])> {
    let [HASH_SHA256, 32, rest @ ..] = data else { return None };
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    Some((Sha256(*hash), rest))
}

pub(super) const RAW_PRODUCT: usize = 4;
const RECORD_HEADER: usize = 4;
const END: u16 = 0x0000;
const PRODUCT_DATA: u16 = 0x0001;
const DYNAMIC_LOCATION: u16 = 0x0002;
const DEPENDENCY: u16 = 0x0003;
const HASH: u16 = 0x0010;
const NAME: u16 = 0x0011;
const ASSET_DEPENDENCY: u16 = 0x0012;
const SECURITY_MODE: u16 = 0x0013;
const ASSET_TYPE: u16 = 0x0014;
const INVALID: u16 = 0xffff;
const HASH_SHA256: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Extension> {
        let hash = Sha256([7; 32]);
        vec![
            Extension::DynamicLocation {
                start: 1,
                dynalib_load: 2,
                dynalib_start: 3,
            },
            Extension::Dependency {
                dependency: Dependency {
                    function: ModuleFunction::Bootloader,
                    index: 2,
                    version: 11,
                },
                target: 9,
            },
            Extension::Hash(hash),
            Extension::Name("a.txt".into()),
            Extension::AssetDependency(AssetRef {
                name: "cat.txt".into(),
                hash,
            }),
            Extension::SecurityMode {
                mode: 1,
                certificate: vec![5, 6],
            },
            Extension::AssetType(2),
            Extension::Unknown {
                kind: 0x7777,
                data: vec![1],
            },
            Extension::Product { id: 8178, version: 13 },
            Extension::End { padding: 3 },
        ]
    }

    #[test]
    fn every_record_reads_back() {
        let bytes: Vec<u8> = samples().iter().flat_map(Extension::to_bytes).collect();
        assert_eq!(read_prefix(&bytes), Ok((samples(), bytes.len())));
    }

    #[test]
    fn a_prefix_list_without_end_and_records_that_run_over_are_refused() {
        assert_eq!(read_prefix(&[]), Err(ModuleError::Extension { at: 0 }));
        assert_eq!(
            read_prefix(&Extension::AssetType(1).to_bytes()),
            Err(ModuleError::Extension { at: 6 })
        );
        assert_eq!(
            read_prefix(&[0x77, 0, 3, 0]),
            Err(ModuleError::Extension { at: 0 }),
            "shorter than its own header"
        );
        assert_eq!(
            read_suffix(&[0x77, 0, 9, 0, 0, 0, 0, 0]),
            Err(ModuleError::Extension { at: 0 })
        );
    }

    #[test]
    fn raw_product_fields_are_no_record() {
        // Product 17 version 4 looks like the header of a NAME record.
        assert_eq!(read_suffix(&[0x11, 0, 4, 0]), Ok(vec![]));
        let with_end = [
            Extension::SecurityMode {
                mode: 1,
                certificate: vec![],
            },
            Extension::End { padding: 0 },
        ];
        let mut bytes: Vec<u8> = with_end.iter().flat_map(Extension::to_bytes).collect();
        bytes.extend([0xff; 4]);
        assert_eq!(read_suffix(&bytes), Ok(with_end.to_vec()));
    }

    #[test]
    fn a_hash_of_another_kind_or_length_is_kept_unread() {
        for data in [vec![1, 32], vec![0, 31, 0], vec![]] {
            let bytes = Extension::Unknown {
                kind: HASH,
                data: data.clone(),
            }
            .to_bytes();
            assert_eq!(
                read_record(&bytes, 0),
                Ok(Some((Extension::Unknown { kind: HASH, data }, bytes.len())))
            );
        }
    }
}
