//! What can be made to go wrong inside a device, and the counts that prove that it did.
//!
//! A mishap is data. Where it bites is decided where the thing happens that it spoils.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::DeviceId;

/// A fault to inject into one device. It stays until it has fired, if it is said to fire once, or until
/// [`Device::heal`](super::Device::heal).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceMishap {
    /// After this many further transfers in DFU mode the next one stalls, once.
    StallAfter(u32),
    /// The next program or erase that touches this DFU address fails. Bit 30 (0x4000_0000) set means an offset in the
    /// DCT.
    FlashWriteFailsOnce(u32),
    /// Every program or erase that touches this address, written as above, fails.
    FlashWriteFailsAlways(u32),
    /// Every read of this address of this alternate setting shows one bit flipped.
    BitFlipOnRead {
        /// Alternate setting: 0 internal flash, 1 DCT, 2 external flash.
        alt: u8,
        /// DFU address.
        address: u32,
    },
    /// The next UPLOAD of data gives half of what it should.
    ShortRead,
    /// The next DNLOAD never gets out of dfuDNBUSY, until the device is reset.
    WedgeDnbusy,
    /// After this many further transfers, in whatever mode, the device is gone from the bus until its power is cycled.
    VanishAfter(u32),
    /// A request to enter DFU mode is answered with success and ends in an ordinary reset.
    RefuseEnterDfu,
    /// The next write that touches the private key slot stores the first half of it and reports success.
    KeyWriteTorn,
    /// Writes that touch the private key slot report success and store nothing.
    KeyWriteIgnored,
    /// Reads of the private key slot give other bytes each time.
    KeyGarbleOnRead,
    /// From the next attachment on the device is another one.
    ReturnsAsOtherId(DeviceId),
    /// After its next reset the device does not come back, ever.
    NoBoot,
    /// Control requests are accepted and never answered, until the device is reset.
    AppHangs,
    /// Orders to end Service Mode are answered with success, and it goes on.
    ServiceEndIgnored,
}

impl DeviceMishap {
    /// The name under which [`Counters::fired`] counts it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StallAfter(_) => "stall-after",
            Self::FlashWriteFailsOnce(_) => "flash-write-fails-once",
            Self::FlashWriteFailsAlways(_) => "flash-write-fails-always",
            Self::BitFlipOnRead { .. } => "bit-flip-on-read",
            Self::ShortRead => "short-read",
            Self::WedgeDnbusy => "wedge-dnbusy",
            Self::VanishAfter(_) => "vanish-after",
            Self::RefuseEnterDfu => "refuse-enter-dfu",
            Self::KeyWriteTorn => "key-write-torn",
            Self::KeyWriteIgnored => "key-write-ignored",
            Self::KeyGarbleOnRead => "key-garble-on-read",
            Self::ReturnsAsOtherId(_) => "returns-as-other-id",
            Self::NoBoot => "no-boot",
            Self::AppHangs => "app-hangs",
            Self::ServiceEndIgnored => "service-end-ignored",
        }
    }
}

/// What a device has done since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Control transfers answered, stalled or left without an answer.
    pub transfers: u64,
    /// Writes to the DCT, of whatever part.
    pub dct_writes: u64,
    /// Writes to the DCT that touched the private key slot.
    pub key_writes: u64,
    /// Key pairs that the device made by itself.
    pub keys_made: u64,
    /// Sector or page erases.
    pub erases: u64,
    /// Blocks programmed into flash.
    pub programs: u64,
    /// Starts of the application or of the bootloader in DFU mode.
    pub boots: u64,
    /// Dials to the cloud.
    pub dials: u64,
    /// Writes under way when the power went.
    pub torn: u64,
    /// How often each kind of mishap bit, by [`DeviceMishap::name`].
    pub fired: BTreeMap<String, u64>,
}

impl Counters {
    /// How often the kind of mishap with this name bit.
    pub fn fired(&self, name: &str) -> u64 {
        self.fired.get(name).copied().unwrap_or(0)
    }
}

/// The mishaps that wait in a device.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Mishaps {
    waiting: Vec<DeviceMishap>,
}

impl Mishaps {
    /// Adds one.
    pub(super) fn add(&mut self, mishap: DeviceMishap) {
        self.waiting.push(mishap);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// True if one like this waits.
    pub(super) fn any(&self, which: impl Fn(&DeviceMishap) -> bool) -> bool {
        self.waiting.iter().any(which)
    }

    /// True if one like this waits; counts it as fired and leaves it waiting.
    pub(super) fn bites(&mut self, counters: &mut Counters, which: impl Fn(&DeviceMishap) -> bool) -> bool {
        let found = self.waiting.iter().find(|m| which(m));
        if let Some(mishap) = found {
            count(counters, mishap);
        }
        found.is_some()
    }

    /// Takes out one like this, if it waits, and counts it as fired.
    pub(super) fn take(&mut self, counters: &mut Counters, which: impl Fn(&DeviceMishap) -> bool) -> Option<DeviceMishap> {
        let at = self.waiting.iter().position(which)?;
        let mishap = self.waiting.remove(at);
        count(counters, &mishap);
        Some(mishap)
    }

    /// Counts a transfer down; true when `which` has reached its turn, which removes it.
    pub(super) fn turn(&mut self, counters: &mut Counters, which: impl Fn(&mut DeviceMishap) -> Option<&mut u32>) -> bool {
        let mut due = None;
        for (at, mishap) in self.waiting.iter_mut().enumerate() {
            match which(mishap) {
                Some(0) => due = due.or(Some(at)),
                Some(left) => *left -= 1,
                None => {}
            }
        }
        let Some(at) = due else { return false };
        let mishap = self.waiting.remove(at);
        count(counters, &mishap);
        true
    }
}

fn count(counters: &mut Counters, mishap: &DeviceMishap) {
    *counters.fired.entry(mishap.name().to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_comes_after_exactly_that_many_transfers() {
        let (mut mishaps, mut counters) = (Mishaps::default(), Counters::default());
        mishaps.add(DeviceMishap::StallAfter(2));
        let mut turn = || {
            mishaps.turn(&mut counters, |m| match m {
                DeviceMishap::StallAfter(n) => Some(n),
                _ => None,
            })
        };
        assert_eq!([turn(), turn(), turn(), turn()], [false, false, true, false]);
        assert_eq!(counters.fired("stall-after"), 1);
    }
}
