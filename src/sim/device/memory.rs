//! What the bootloader's DFU can reach: the memories behind the alternate settings, with each family's rules and quirks
//! (device-protocol.md 3.5, 3.6).
//!
//! It knows nothing of DFU states; an operation succeeds or fails and takes its time.

use std::time::Duration;

use super::{
    Device,
    chance::Chance,
    dct::{Dct, Field, private_field},
    flash::Flash,
    layout::{NRF_USER, NRF_USER_OLD},
    mishap::{Counters, DeviceMishap, Mishaps},
    module::{Header, function},
    platform::{Family, Platform, Transport},
    power::{Torn, UnderWay},
    spec::Timing,
};

/// A failed operation with the DFU status that tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure(pub(super) u8);

impl Failure {
    pub(super) const TARGET: Self = Self(0x01);
    pub(super) const VENDOR: Self = Self(0x0b);
    pub(super) const UNKNOWN: Self = Self(0x0e);
}

/// The memories of one device, borrowed for one transfer.
pub(super) struct Memory<'a> {
    pub(super) platform: &'static Platform,
    pub(super) timing: &'a Timing,
    pub(super) flash: &'a mut Flash,
    pub(super) dct: &'a mut Dct,
    pub(super) counters: &'a mut Counters,
    pub(super) mishaps: &'a mut Mishaps,
    pub(super) chance: &'a mut Chance,
    pub(super) under_way: &'a mut Option<UnderWay>,
    pub(super) now: Duration,
    /// Which private key slot the device uses.
    pub(super) transport: Transport,
    /// The functions that reach the DCT are there (Photon and P1: in system part 2).
    pub(super) dct_works: bool,
    /// Service Mode: writable, with rules.
    pub(super) service: bool,
    /// Service Mode: the first block of the system part was seen and is recent enough.
    pub(super) system_allowed: &'a mut bool,
}

impl Device {
    /// The device's memories as code in it reaches them at `now`.
    pub(super) fn memory<'a>(&'a mut self, now: Duration, system_allowed: &'a mut bool) -> Memory<'a> {
        let dct_works = !self.platform.dct_in_system() || self.installed().system_complete();
        let transport = self.transport();
        let s = &mut self.s;
        Memory {
            platform: self.platform,
            timing: &self.timing,
            flash: &mut s.flash,
            dct: &mut s.dct,
            counters: &mut s.counters,
            mishaps: &mut s.mishaps,
            chance: &mut s.chance,
            under_way: &mut s.under_way,
            now,
            transport,
            dct_works,
            service: s.protection.protected && s.service.is_some(),
            system_allowed,
        }
    }

    /// Device OS writes a field of the DCT: the data, then 0xFF to its end.
    pub(super) fn write_dct(&mut self, now: Duration, field: Field, data: &[u8]) {
        let mut whole = data.to_vec();
        whole.resize(field.size, 0xff);
        let at = u32::try_from(field.at).expect("the DCT is small");
        // A write that a mishap fails leaves what was there; Device OS does not look.
        let _ = self.memory(now, &mut false).program(1, at, &whole);
    }
}

impl Memory<'_> {
    /// Erases the sector at an address.
    pub(super) fn erase(&mut self, alt: u8, address: u32) -> Result<Duration, Failure> {
        if alt == 1 {
            return Ok(Duration::ZERO);
        }
        let (start, size) = self.sector(alt, address)?;
        self.writable(alt, address)?;
        if self.service && alt == 0 && within(self.platform.system_range(), address) {
            return Ok(Duration::ZERO);
        }
        self.fails(start, size)?;
        self.counters.erases += 1;
        let takes = self.erase_time(alt, size);
        self.start(
            takes,
            Torn::Erase {
                at: start,
                old: self.flash.read(start, size as usize).into(),
            },
        );
        self.flash.erase(start, size);
        self.file_system_hit(start, size);
        Ok(takes)
    }

    /// Programs bytes at an address.
    pub(super) fn program(&mut self, alt: u8, address: u32, data: &[u8]) -> Result<Duration, Failure> {
        let length = u32::try_from(data.len()).map_err(|_| Failure::UNKNOWN)?;
        if alt == 1 {
            return self.program_dct(address, data);
        }
        self.sector(alt, address)?;
        self.sector(alt, address.saturating_add(length.saturating_sub(1)))?;
        self.writable(alt, address)?;
        let mut takes = self.program_time(alt, data.len());
        if self.service && alt == 0 && within(self.platform.system_range(), address) {
            self.guard_system(address, data)?;
            if address.is_multiple_of(4096) {
                self.flash.erase(address, length);
                takes += self.erase_time(alt, length.next_multiple_of(4096));
            }
        }
        self.fails(address, length)?;
        self.counters.programs += 1;
        self.start(
            takes,
            Torn::Program {
                at: address,
                old: self.flash.read(address, data.len()).into(),
            },
        );
        self.flash.program(address, data);
        self.file_system_hit(address, length);
        match self.platform.family {
            Family::Gen2 if self.flash.read(address, data.len()) != data => Err(Failure::UNKNOWN),
            Family::Nrf if alt == 0 && address == NRF_USER => {
                self.drop_old_user_part(data);
                Ok(takes)
            }
            _ => Ok(takes),
        }
    }

    /// Reads bytes from an address.
    pub(super) fn read(&mut self, alt: u8, address: u32, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = if alt == 1 {
            let at = address as usize;
            let read = self.dct.read(at, length).filter(|_| self.dct_works);
            let mut bytes = read.ok_or(Failure::UNKNOWN)?.to_vec();
            self.garble(at, &mut bytes);
            bytes
        } else {
            let last = address.saturating_add(u32::try_from(length.saturating_sub(1)).map_err(|_| Failure::UNKNOWN)?);
            self.sector(alt, address)?;
            self.sector(alt, last)?;
            self.flash.read(address, length)
        };
        let flips = self.mishaps.any(|m| matches!(m, DeviceMishap::BitFlipOnRead { .. }));
        for (i, byte) in bytes.iter_mut().enumerate().filter(|_| flips) {
            let at = address.wrapping_add(u32::try_from(i).unwrap_or(u32::MAX));
            let here =
                |m: &DeviceMishap| matches!(m, DeviceMishap::BitFlipOnRead { alt: a, address } if (*a, *address) == (alt, at));
            if self.mishaps.any(here) && self.mishaps.bites(self.counters, here) {
                *byte ^= 0x10;
            }
        }
        if self.mishaps.take(self.counters, |m| *m == DeviceMishap::ShortRead).is_some() {
            bytes.truncate(bytes.len() / 2);
        }
        Ok(bytes)
    }

    fn program_dct(&mut self, address: u32, data: &[u8]) -> Result<Duration, Failure> {
        let at = address as usize;
        if !self.dct_works || self.dct.read(at, data.len()).is_none() {
            return Err(Failure::UNKNOWN);
        }
        self.fails_in(DCT_AREA | address, data.len() as u64)?;
        let slot = private_field(self.transport);
        let key = slot.touched_by(at, data.len());
        self.counters.dct_writes += 1;
        self.counters.key_writes += u64::from(key);
        if key && self.mishaps.bites(self.counters, |m| *m == DeviceMishap::KeyWriteIgnored) {
            return Ok(self.timing.dct_write);
        }
        let old = self.dct.bytes().to_vec();
        let stored = match self.mishaps.take(self.counters, |m| key && *m == DeviceMishap::KeyWriteTorn) {
            Some(_) => &data[..data.len() / 2],
            None => data,
        };
        self.start(
            self.timing.dct_write,
            Torn::Dct {
                at,
                length: data.len(),
                old: old.into(),
            },
        );
        self.dct.write(at, stored);
        Ok(self.timing.dct_write)
    }

    /// Start and size of the sector at an address, if there is memory.
    fn sector(&self, alt: u8, address: u32) -> Result<(u32, u32), Failure> {
        let (first, size) = match alt {
            0 => self.platform.internal(),
            _ => self.platform.external().ok_or(Failure::UNKNOWN)?,
        };
        let offset = address.checked_sub(first).filter(|o| *o < size).ok_or(Failure::UNKNOWN)?;
        if self.platform.family != Family::Gen2 {
            return Ok((address & !0xfff, 0x1000));
        }
        Ok(match offset {
            0..0x1_0000 => (address & !0x3fff, 0x4000),
            0x1_0000..0x2_0000 => (first + 0x1_0000, 0x1_0000),
            _ => (address & !0x1_ffff, 0x2_0000),
        })
    }

    /// What the firmware refuses, which is less than what the memory map declares.
    fn writable(&self, alt: u8, address: u32) -> Result<(), Failure> {
        if self.platform.family == Family::Gen2 && address < GEN2_FIRMWARE {
            return Err(Failure::UNKNOWN);
        }
        let (ota, size) = self.platform.ota();
        let area = if alt == 0 {
            self.platform.internal()
        } else {
            self.platform.external().unwrap_or_default()
        };
        let here = (area.0..area.0.saturating_add(area.1)).contains(&ota);
        if self.service && here && (ota..ota + size).contains(&address) {
            return Err(Failure::VENDOR);
        }
        Ok(())
    }

    /// Service Mode lets the system part be replaced by version 6000 or later only, and judges by the first block.
    fn guard_system(&mut self, address: u32, data: &[u8]) -> Result<(), Failure> {
        let (starts, offset): (&[u32], usize) = match self.platform.family {
            Family::Nrf => (&[0x2_8000, 0x3_0000], 0x200),
            Family::Rtl | Family::Gen2 => (&[0x0806_0000], 0),
        };
        if starts.contains(&address) && !*self.system_allowed {
            let recent = |h: &Header| h.function == function::SYSTEM && h.version >= 6000;
            *self.system_allowed = Header::at(data, offset).is_some_and(|h| recent(&h));
        }
        if *self.system_allowed { Ok(()) } else { Err(Failure::VENDOR) }
    }

    /// A user part of the 256 KiB kind makes an nRF52840 bootloader erase the page where one of the 128 KiB kind begins.
    fn drop_old_user_part(&mut self, data: &[u8]) {
        let user = |h: &Header| h.function == function::USER && h.platform == self.platform.id && h.start == NRF_USER;
        if Header::at(data, 0).is_some_and(|h| user(&h)) {
            self.flash.erase(NRF_USER_OLD, 4096);
            self.counters.erases += 1;
        }
    }

    /// Raw writes into the file system that holds the DCT destroy it.
    fn file_system_hit(&mut self, address: u32, length: u32) {
        if let Some((start, size)) = self.platform.file_system()
            && address < start + size
            && start < address.saturating_add(length)
        {
            *self.dct = Dct::blank(self.platform.dct_size());
        }
    }

    fn garble(&mut self, at: usize, bytes: &mut [u8]) {
        let slot = private_field(self.transport);
        if slot.touched_by(at, bytes.len()) && self.mishaps.bites(self.counters, |m| *m == DeviceMishap::KeyGarbleOnRead) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                if slot.touched_by(at + i, 1) {
                    *byte ^= u8::try_from(self.chance.below(256)).unwrap_or_default();
                }
            }
        }
    }

    fn fails(&mut self, address: u32, length: u32) -> Result<(), Failure> {
        self.fails_in(address, u64::from(length))
    }

    fn fails_in(&mut self, address: u32, length: u64) -> Result<(), Failure> {
        let range = u64::from(address)..u64::from(address) + length;
        let always = self.mishaps.bites(
            self.counters,
            |m| matches!(m, DeviceMishap::FlashWriteFailsAlways(at) if range.contains(&u64::from(*at))),
        );
        let once = self.mishaps.take(
            self.counters,
            |m| matches!(m, DeviceMishap::FlashWriteFailsOnce(at) if range.contains(&u64::from(*at))),
        );
        if always || once.is_some() {
            Err(Failure::UNKNOWN)
        } else {
            Ok(())
        }
    }

    fn start(&mut self, takes: Duration, what: Torn) {
        *self.under_way = Some(UnderWay {
            from: self.now,
            until: self.now + takes,
            what,
        });
    }

    fn erase_time(&self, alt: u8, size: u32) -> Duration {
        match (self.platform.family, alt) {
            (Family::Gen2, _) => self.timing.stm_erase_per_kib * (size >> 10),
            (Family::Nrf, 0) => self.timing.nrf_erase * (size >> 12),
            _ => self.timing.nor_erase * (size >> 12),
        }
    }

    fn program_time(&self, alt: u8, length: usize) -> Duration {
        let page = match (self.platform.family, alt) {
            (Family::Gen2, _) => self.timing.stm_program,
            (Family::Nrf, 0) => self.timing.nrf_program,
            _ => self.timing.nor_program,
        };
        page * u32::try_from(length).unwrap_or(u32::MAX) / 4096
    }
}

fn within((from, to): (u32, u32), address: u32) -> bool {
    (from..to).contains(&address)
}

/// First address of firmware on Gen 2 (APP_DEFAULT_ADD): everything below is refused.
const GEN2_FIRMWARE: u32 = 0x0802_0000;
/// In mishaps an address of the DCT carries this bit, so that it differs from one of flash.
pub(super) const DCT_AREA: u32 = 0x4000_0000;
