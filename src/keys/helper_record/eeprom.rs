//! The emulated EEPROM of Photon, P1 and Electron as it stands in their flash: two pages, each a log of single bytes with
//! their addresses. The latest byte of an address counts, so a log tells older contents, too.
//!
//! Page: a status of four bytes, then entries of data byte, status byte and address (two bytes, little endian), up to
//! the first entry that is not valid. Pages begin at multiples of 16 KiB in flash; a dump must begin at one.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{HEADER, MAGIC, Reading, Standing, Storage, kind, payload_len, slot_len};

/// The records of every page in the dump: the present ones first, then what the logs remember, the newest first.
pub(super) fn readings(dump: &[u8]) -> Vec<Reading> {
    let mut all = Vec::new();
    for at in (0..dump.len()).step_by(PAGE_STEP) {
        let Some((status, log)) = dump[at..].split_first_chunk::<4>() else {
            break;
        };
        let standing = match u32::from_le_bytes(*status) {
            ACTIVE => Standing::Present,
            COPY | INACTIVE => Standing::Replaced,
            _ => continue,
        };
        all.extend(Content::replay(log).readings(at, standing));
    }
    all
}

/// What an EEPROM holds, while its log is replayed.
struct Content {
    bytes: Zeroizing<Vec<u8>>,
    /// Where the magic number stands.
    magics: BTreeSet<usize>,
    /// Every record that seemed whole at some time and held another key than the one before it, with its address, the
    /// oldest first.
    whole: Vec<(usize, Zeroizing<Vec<u8>>)>,
}

impl Content {
    fn replay(log: &[u8]) -> Self {
        let mut content = Self {
            bytes: Zeroizing::new(vec![0xff; CAPACITY]),
            magics: BTreeSet::new(),
            whole: Vec::new(),
        };
        let (entries, _) = log.as_chunks::<4>();
        for [data, status, low, high] in entries {
            let address = usize::from(u16::from_le_bytes([*low, *high]));
            if *status != VALID || address >= CAPACITY {
                break;
            }
            content.put(address, *data);
        }
        content
    }

    fn put(&mut self, address: usize, data: u8) {
        self.bytes[address] = data;
        for at in (address + 1).saturating_sub(MAGIC.len())..=address {
            if self.bytes[at..].starts_with(&MAGIC) {
                self.magics.insert(at);
            } else {
                self.magics.remove(&at);
            }
        }
        // In between, a record is half the old and half the new one. Its sum is right when it is whole again, and by chance.
        let touched = self.magics.range(..=address).copied();
        for at in touched.collect::<Vec<_>>() {
            let Some(record) = self.record(at).filter(|record| at + record.len() > address) else {
                continue;
            };
            let reading = Reading::new(record, Storage::Plain, at, Standing::Unknown);
            let known = self.whole.iter().rev().find(|(address, _)| *address == at);
            if reading.is_some_and(|reading| reading.sum_right()) && known.is_none_or(|(_, known)| slot(known) != slot(record)) {
                let record = Zeroizing::new(record.to_vec());
                self.whole.push((at, record));
            }
        }
    }

    /// The record at this address, if its header is one and it fits.
    fn record(&self, at: usize) -> Option<&[u8]> {
        let header = self.bytes.get(at..at + HEADER)?.try_into().ok()?;
        self.bytes.get(at..at + HEADER + payload_len(kind(header)?))
    }

    fn readings(mut self, page: usize, standing: Standing) -> Vec<Reading> {
        let reading = |address: usize, record: &[u8], standing| {
            let address = u16::try_from(address).expect("addresses have two bytes");
            Reading::new(record, Storage::Eeprom { address }, page, standing)
        };
        let magics = std::mem::take(&mut self.magics);
        let present: Vec<_> = magics.iter().filter_map(|at| Some((*at, self.record(*at)?))).collect();
        let old = self.whole.iter().rev().map(|(at, record)| (*at, record.as_slice()));
        let is_present = |at, record| present.iter().any(|(other, kept)| *other == at && slot(kept) == slot(record));
        let old = old.filter(|(at, record)| !is_present(*at, *record));
        let present = present.iter().filter_map(|(at, record)| reading(*at, record, standing));
        present
            .chain(old.filter_map(|(at, record)| reading(at, record, Standing::Replaced)))
            .collect()
    }
}

/// The private slot of a record.
fn slot(record: &[u8]) -> Option<&[u8]> {
    let (header, payload) = record.split_first_chunk()?;
    payload.get(..slot_len(kind(header)?))
}

const PAGE_STEP: usize = 16 * 1024;
/// Half of the entries of the smaller page.
const CAPACITY: usize = 2048;
const VALID: u8 = 0;
const ACTIVE: u32 = 0xffff_0000;
const COPY: u32 = 0xffff_eeee;
const INACTIVE: u32 = 0xcccc_0000;
