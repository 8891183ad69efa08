//! Flash memory as physics has it: erasing sets all bits of a sector, programming only clears bits.
//!
//! Addresses are those of the DFU memory maps. Which addresses exist and who may write where is decided elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Blob;

/// All flash of a device, stored page by page; a page that is not stored is erased.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Flash {
    pages: BTreeMap<u32, Blob>,
    /// Changes with every write, so that what was derived from the content can be kept until then.
    #[serde(skip)]
    edition: u64,
}

impl Flash {
    /// The content of a range.
    pub(super) fn read(&self, address: u32, length: usize) -> Vec<u8> {
        let mut bytes = vec![0xff; length];
        let (from, to) = (u64::from(address), u64::from(address) + length as u64);
        let (first, last) = (page_of(from), page_of(to.saturating_sub(1).max(from)));
        for (page, content) in self.pages.range(first..=last) {
            let start = u64::from(*page) * PAGE;
            let (a, b) = (from.max(start), to.min(start + PAGE));
            if a < b {
                bytes[index(a - from)..index(b - from)].copy_from_slice(&content[index(a - start)..index(b - start)]);
            }
        }
        bytes
    }

    /// Programs: bits can only go from 1 to 0.
    pub(super) fn program(&mut self, address: u32, data: &[u8]) {
        self.put(address, data, |old, new| old & new);
    }

    /// Puts bytes there as if the range had been erased first.
    pub(super) fn load(&mut self, address: u32, data: &[u8]) {
        self.put(address, data, |_, new| new);
    }

    /// Erases a range of whole pages.
    pub(super) fn erase(&mut self, address: u32, length: u32) {
        self.edition += 1;
        let first = address / PAGE as u32;
        let count = length.div_ceil(PAGE as u32);
        self.pages.retain(|page, _| *page < first || *page >= first + count);
    }

    /// Every stored page has the size of a page.
    pub(super) fn is_whole(&self) -> bool {
        self.pages.values().all(|page| page.len() == index(PAGE))
    }

    /// A number that changes with every write.
    pub(super) const fn edition(&self) -> u64 {
        self.edition
    }

    fn put(&mut self, address: u32, data: &[u8], mix: fn(u8, u8) -> u8) {
        self.edition += 1;
        let (mut at, mut rest) = (u64::from(address), data);
        while !rest.is_empty() {
            let offset = index(at % PAGE);
            let (here, next) = rest.split_at(rest.len().min(index(PAGE) - offset));
            let page = self
                .pages
                .entry(page_of(at))
                .or_insert_with(|| Blob(vec![0xff; PAGE as usize]));
            for (cell, new) in page[offset..].iter_mut().zip(here) {
                *cell = mix(*cell, *new);
            }
            at += here.len() as u64;
            rest = next;
        }
    }
}

fn page_of(address: u64) -> u32 {
    u32::try_from(address / PAGE).unwrap_or(u32::MAX)
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset inside of a buffer fits")
}

/// The unit of storage here, and the erase unit of nRF52840 and of serial NOR flash.
const PAGE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programming_clears_bits_and_only_an_erase_sets_them() {
        let mut flash = Flash::default();
        assert_eq!(flash.read(0xffe, 4), [0xff; 4]);
        flash.program(0xffe, &[0xf0, 0xf0, 0xf0, 0xf0]);
        flash.program(0xfff, &[0x0f, 0x3f]);
        assert_eq!(flash.read(0xffe, 4), [0xf0, 0x00, 0x30, 0xf0]);
        flash.erase(0x1000, 0x1000);
        assert_eq!(flash.read(0xffe, 4), [0xf0, 0x00, 0xff, 0xff]);
        flash.load(0xffe, &[1]);
        assert_eq!(flash.read(0xffe, 1), [1]);
    }
}
