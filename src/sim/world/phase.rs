//! What a device is going through, read off the wire: named places where a mishap can strike.
//!
//! It sees setup packets and nothing else, so it knows no step of the station; numbers are those of device-protocol.md
//! 2.1 and 3.1 to 3.3.

use serde::{Deserialize, Serialize};

use crate::edge::Setup;

/// A recognisable moment in the life of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It left the bus by itself, to come back: re-enumeration under way.
    Detached,
    /// It came onto the bus in normal mode.
    AttachedNormal,
    /// It came onto the bus in DFU mode.
    AttachedDfu,
    /// A service or raw control request in normal mode.
    Request,
    /// A firmware update request in normal mode (types 250 to 253).
    Update,
    /// A DFU block on its way to the device: a command or data. The device does nothing with it yet.
    Download,
    /// Flash is being erased. A device in DFU mode works while it answers the first status request after a block, so this
    /// and the next three are such requests.
    Erase,
    /// Flash is being programmed.
    FlashWrite,
    /// The DCT is being written, outside of the private key slots.
    DctWrite,
    /// The DCT is being written, and a private key slot is touched.
    KeyWrite,
    /// A DFU block read from flash.
    FlashRead,
    /// A DFU block read from the DCT.
    DctRead,
    /// A DFU status request that starts nothing.
    Status,
    /// The empty DFU block that makes the device leave DFU mode.
    Leave,
}

/// Follows the requests to one device.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire {
    alternate: u16,
    address: u32,
    /// What the next status request starts.
    next: Option<Phase>,
}

impl Wire {
    /// The phase of this transfer, if it is a named one.
    pub(super) fn phase(&mut self, setup: &Setup, data: &[u8]) -> Option<Phase> {
        match (setup.request_type, setup.request) {
            (0x01, SET_INTERFACE) => {
                self.alternate = setup.value;
                None
            }
            (0xc0 | 0x40, INIT..=RAW) if setup.request == INIT && UPDATE.contains(&setup.index) => Some(Phase::Update),
            (0xc0 | 0x40, INIT..=RESET | RAW) => Some(Phase::Request),
            (0x21, DNLOAD) if setup.length == 0 => Some(Phase::Leave),
            (0x21, DNLOAD) => {
                self.next = if setup.value == 0 {
                    self.command(data)
                } else {
                    Some(self.write(setup))
                };
                Some(Phase::Download)
            }
            // Blocks 0 and 1 of an upload are not data.
            (0xa1, UPLOAD) if setup.value >= 2 => Some(if self.alternate == DCT {
                Phase::DctRead
            } else {
                Phase::FlashRead
            }),
            (0xa1, GETSTATUS) => Some(self.next.take().unwrap_or(Phase::Status)),
            _ => None,
        }
    }

    fn command(&mut self, data: &[u8]) -> Option<Phase> {
        let address = data.get(1..5).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        match (data.first()?, address) {
            (&SET_ADDRESS, Some(address)) => {
                self.address = address;
                None
            }
            (&ERASE, _) => Some(Phase::Erase),
            _ => None,
        }
    }

    fn write(&self, setup: &Setup) -> Phase {
        if self.alternate != DCT {
            return Phase::FlashWrite;
        }
        let offset = u32::from(setup.value).saturating_sub(2).saturating_mul(TRANSFER_SIZE);
        let start = self.address.saturating_add(offset);
        let end = start.saturating_add(u32::from(setup.length));
        if PRIVATE_KEYS.iter().any(|(first, len)| start < first + len && *first < end) {
            Phase::KeyWrite
        } else {
            Phase::DctWrite
        }
    }
}

const SET_INTERFACE: u8 = 11;
const INIT: u8 = 1;
const RESET: u8 = 5;
const RAW: u8 = 0x50;
const UPDATE: std::ops::RangeInclusive<u16> = 250..=253;
const DNLOAD: u8 = 1;
const UPLOAD: u8 = 2;
const GETSTATUS: u8 = 3;
const SET_ADDRESS: u8 = 0x21;
const ERASE: u8 = 0x41;
/// The alternate setting of the DCT (1.5).
const DCT: u16 = 1;
/// wTransferSize (1.5).
const TRANSFER_SIZE: u32 = 4096;
/// Offset and length of the private key slots for TCP and UDP (4.1).
const PRIVATE_KEYS: [(u32, u32); 2] = [(34, 1216), (3106, 192)];

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(request_type: u8, request: u8, value: u16, length: u16) -> Setup {
        Setup {
            request_type,
            request,
            value,
            index: 0,
            length,
        }
    }

    const STATUS: Setup = Setup {
        request_type: 0xa1,
        request: 3,
        value: 0,
        index: 0,
        length: 6,
    };

    #[test]
    fn phases_are_told_apart() {
        let mut wire = Wire::default();
        assert_eq!(wire.phase(&setup(0x21, 1, 0, 5), &[0x21, 0, 0, 2, 8]), Some(Phase::Download));
        assert_eq!(wire.phase(&STATUS, &[]), Some(Phase::Status), "an address is taken at once");
        assert_eq!(wire.phase(&setup(0x21, 1, 0, 5), &[0x41, 0, 0, 2, 8]), Some(Phase::Download));
        assert_eq!(wire.phase(&STATUS, &[]), Some(Phase::Erase));
        assert_eq!(wire.phase(&STATUS, &[]), Some(Phase::Status), "one of them does the work");
        assert_eq!(wire.phase(&setup(0x21, 1, 2, 4096), &[0; 4096]), Some(Phase::Download));
        assert_eq!(wire.phase(&STATUS, &[]), Some(Phase::FlashWrite));
        assert_eq!(wire.phase(&setup(0xa1, 2, 2, 4096), &[]), Some(Phase::FlashRead));
        assert_eq!(wire.phase(&setup(0x21, 1, 0, 0), &[]), Some(Phase::Leave));
        assert_eq!(wire.phase(&setup(0x01, 11, 1, 0), &[]), None);
        assert_eq!(wire.phase(&setup(0xa1, 2, 3, 4096), &[]), Some(Phase::DctRead));
        let update = Setup {
            index: 250,
            ..setup(0xc0, 1, 10, 64)
        };
        assert_eq!(wire.phase(&update, &[]), Some(Phase::Update));
        assert_eq!(wire.phase(&setup(0xc0, 0x50, 0, 64), &[]), Some(Phase::Request));
        assert_eq!(wire.phase(&setup(0x80, 6, 0x100, 18), &[]), None);
        assert_eq!(
            wire.phase(&setup(0x21, 1, 0, 5), &[]),
            Some(Phase::Download),
            "a command without bytes"
        );
        assert_eq!(wire.phase(&STATUS, &[]), Some(Phase::Status));
    }

    #[test]
    fn a_key_write_is_one_that_touches_a_slot() {
        let mut wire = Wire::default();
        wire.phase(&setup(0x01, 11, 1, 0), &[]);
        let mut at = |address: u32, block: u16, length: u16| {
            let mut command = vec![0x21];
            command.extend(address.to_le_bytes());
            wire.phase(&setup(0x21, 1, 0, 5), &command);
            wire.phase(&setup(0x21, 1, block, length), &[]);
            wire.phase(&STATUS, &[])
        };
        assert_eq!(at(3106, 2, 192), Some(Phase::KeyWrite));
        assert_eq!(at(3105, 2, 1), Some(Phase::DctWrite));
        assert_eq!(at(3105, 2, 2), Some(Phase::KeyWrite));
        assert_eq!(at(3298, 2, 320), Some(Phase::DctWrite), "the server key behind it");
        assert_eq!(at(34, 2, 1), Some(Phase::KeyWrite));
        assert_eq!(at(1249, 2, 1), Some(Phase::KeyWrite));
        assert_eq!(at(1250, 2, 384), Some(Phase::DctWrite));
        assert_eq!(at(0, 3, 4096), Some(Phase::DctWrite), "block 3 starts at 4096");
        assert_eq!(at(u32::MAX, u16::MAX, u16::MAX), Some(Phase::DctWrite), "no overflow");
    }
}
