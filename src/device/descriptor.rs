//! Standard USB descriptors, as far as DFU mode and identity need them (device-protocol.md 1.5).
//!
//! Owns reading and parsing of device, configuration and string descriptors. What a string means is for others.

use crate::edge::Setup;

use super::{Link, LinkError, link::TRANSFER_TIMEOUT};

/// Why a descriptor could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// The transfer failed.
    #[error("could not read the {what}")]
    Transfer {
        /// Which descriptor.
        what: &'static str,
        /// The failure.
        #[source]
        source: LinkError,
    },
    /// It is not what it should be.
    #[error("the {what} is malformed: {why}")]
    Malformed {
        /// Which descriptor.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
}

impl DescriptorError {
    /// The transfer failure behind it, if that is what it is.
    pub const fn link(&self) -> Option<&LinkError> {
        match self {
            Self::Transfer { source, .. } => Some(source),
            Self::Malformed { .. } => None,
        }
    }
}

/// The DFU interface of a device: what its configuration descriptor says of interface 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DfuInterface {
    /// Alternate settings with the index of the string that describes their memory, in descriptor order.
    pub alternates: Vec<(u8, u8)>,
    /// bmAttributes of the functional descriptor.
    pub attributes: u8,
    /// The most that one DNLOAD or UPLOAD may carry, in bytes; never 0.
    pub transfer_size: u16,
}

impl DfuInterface {
    /// Reads the configuration descriptor and parses it.
    pub fn read(link: &mut Link) -> Result<Self, DescriptorError> {
        let head = get(link, CONFIGURATION, 0, 0, CONFIGURATION_HEAD, WHAT)?;
        let total = match head.get(..4) {
            Some(&[_, 2, low, high]) => u16::from_le_bytes([low, high]),
            _ => return Err(malformed("its head is not that of a configuration")),
        };
        if total < CONFIGURATION_HEAD {
            return Err(malformed("its total length is too small"));
        }
        let whole = get(link, CONFIGURATION, 0, 0, total, WHAT)?;
        Self::parse(&whole)
    }

    /// Parses a whole configuration descriptor.
    ///
    /// The functional descriptor appears once, behind the last alternate setting, and is valid for all of them.
    pub fn parse(bytes: &[u8]) -> Result<Self, DescriptorError> {
        let mut rest = bytes;
        let mut alternates = Vec::new();
        let mut functional = None;
        let mut inside = false;
        while let [length, kind, ..] = *rest {
            let length = usize::from(length);
            if length < 2 {
                return Err(malformed("a descriptor has no length"));
            }
            let Some((one, more)) = rest.split_at_checked(length) else {
                return Err(malformed("it is cut off"));
            };
            rest = more;
            match (kind, one) {
                (4, &[_, _, number, alternate, _, class, subclass, protocol, string, ..]) => {
                    inside = number == 0 && (class, subclass, protocol) == DFU_CLASS;
                    if inside {
                        alternates.push((alternate, string));
                    }
                }
                (0x21, &[_, _, attributes, _, _, low, high, ..]) if inside => {
                    functional = Some((attributes, u16::from_le_bytes([low, high])));
                }
                _ => {}
            }
        }
        if alternates.is_empty() {
            return Err(malformed("interface 0 is not one for DFU"));
        }
        match functional {
            Some((_, 0)) => Err(malformed("the transfer size is 0")),
            Some((attributes, transfer_size)) => Ok(Self {
                alternates,
                attributes,
                transfer_size,
            }),
            None => Err(malformed("it has no DFU functional descriptor")),
        }
    }
}

/// Reads a string descriptor in US English.
pub fn string(link: &mut Link, index: u8) -> Result<String, DescriptorError> {
    const WHAT: &str = "string descriptor";
    let bytes = get(link, STRING, index, US_ENGLISH, 255, WHAT)?;
    let why = "it is not a string";
    let bad = DescriptorError::Malformed { what: WHAT, why };
    let Some(&[length, 3]) = bytes.first_chunk() else {
        return Err(bad);
    };
    let text = bytes.get(2..usize::from(length)).ok_or(bad)?;
    let units = text.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    Ok(char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect())
}

/// Reads the serial number string that the device descriptor names; `None` if it names none.
pub fn serial(link: &mut Link) -> Result<Option<String>, DescriptorError> {
    const WHAT: &str = "device descriptor";
    let bytes = get(link, DEVICE, 0, 0, 18, WHAT)?;
    match bytes.get(..18) {
        Some(bytes) if bytes[1] == 1 => match bytes[16] {
            0 => Ok(None),
            index => string(link, index).map(Some),
        },
        _ => Err(DescriptorError::Malformed {
            what: WHAT,
            why: "it is too short",
        }),
    }
}

fn get(link: &mut Link, kind: u8, index: u8, language: u16, length: u16, what: &'static str) -> Result<Vec<u8>, DescriptorError> {
    let setup = Setup {
        request_type: 0x80,
        request: 6,
        value: u16::from_be_bytes([kind, index]),
        index: language,
        length,
    };
    link.fetch(setup, TRANSFER_TIMEOUT)
        .map_err(|source| DescriptorError::Transfer { what, source })
}

const fn malformed(why: &'static str) -> DescriptorError {
    DescriptorError::Malformed { what: WHAT, why }
}

const WHAT: &str = "configuration descriptor";
const DEVICE: u8 = 1;
const CONFIGURATION: u8 = 2;
const STRING: u8 = 3;
const CONFIGURATION_HEAD: u16 = 9;
const US_ENGLISH: u16 = 0x0409;

/// Application specific, device firmware upgrade, DFU mode.
const DFU_CLASS: (u8, u8, u8) = (0xfe, 1, 2);

#[cfg(test)]
mod tests {
    use super::{super::script::hex, *};

    /// The Boron's, device-protocol.md 8.4.
    const BORON: &str = "09022d00010104c0320904000000fe0102060904000100fe0102070904000200fe01020809210bff0000101a01";

    #[test]
    fn the_frozen_boron_descriptor_parses() {
        let expected = DfuInterface {
            alternates: vec![(0, 6), (1, 7), (2, 8)],
            attributes: 0x0b,
            transfer_size: 4096,
        };
        assert_eq!(DfuInterface::parse(&hex(BORON)), Ok(expected));
    }

    #[test]
    fn malformed_descriptors_are_refused_by_name() {
        let good = hex(BORON);
        for (cut, why) in [
            (44, "it is cut off"),
            (36, "it has no DFU functional descriptor"),
            (9, "interface 0 is not one for DFU"),
            (0, "interface 0 is not one for DFU"),
        ] {
            assert_eq!(DfuInterface::parse(&good[..cut]), Err(malformed(why)), "cut at {cut}");
        }
        let mut zero = good.clone();
        zero[9] = 0;
        assert_eq!(DfuInterface::parse(&zero), Err(malformed("a descriptor has no length")));
        let mut empty = good.clone();
        empty[41..43].fill(0);
        assert_eq!(DfuInterface::parse(&empty), Err(malformed("the transfer size is 0")));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = DfuInterface::parse(&bytes);
        }
    }
}
