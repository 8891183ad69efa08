//! Writing a firmware image: what may be written, in which order, and the proof that it was.
//!
//! The whole range is erased first, then the pointer is set once and the blocks follow: an erase moves the pointer on
//! Gen 2, and setting it again for every block would cost three transfers each.

use crate::model::{Platform, platform::Family};

use super::{
    BLOCK, Dfu, DfuError, Doing, FIRST_BLOCK, PlanError,
    layout::{Layout, Sector},
};

impl Dfu<'_> {
    /// Writes an image, reads it back and compares. With `erase` the sectors that hold it are erased first, those that
    /// the layout calls erasable; without, they must have been.
    ///
    /// `progress` is told how many bytes of work are done and how many there are: erasing, writing and reading back each
    /// count once for every byte of the image.
    ///
    /// # Errors
    /// [`DfuError::Plan`] before anything is erased: if the range is not one of [`Platform::flashable`], the layout does
    /// not let it be written, or the image would be erased together with something else.
    /// [`DfuError::Verify`] if what is read back differs.
    pub fn write_image(
        &mut self,
        alternate: u8,
        address: u32,
        image: &[u8],
        erase: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), DfuError> {
        let layout = self.layout(alternate)?;
        if layout.is_protected() {
            return Err(DfuError::Protected {
                doing: Doing::Write(address),
            });
        }
        let sectors = plan(self.platform(), alternate, layout, address, image.len(), erase).map_err(DfuError::Plan)?;
        let len = image.len() as u64;
        let mut work = Work {
            done: 0,
            total: len * if sectors.is_empty() { 2 } else { 3 },
            progress,
        };
        self.select(alternate)?;
        for (i, sector) in sectors.iter().enumerate() {
            self.erase(sector.start)?;
            work.reach(len * (i as u64 + 1) / sectors.len() as u64);
        }
        let base = work.done;
        self.write_run(address, image, &mut |written| work.reach(base + written))?;
        let base = work.done;
        self.verify(alternate, address, image, &mut |verified| work.reach(base + verified))
    }

    /// Writes bytes from an address on, without erase. The device must be idle, or idle in a download.
    ///
    /// # Errors
    /// An error that is not [`Doing::Point`]'s means that something may have been written.
    pub(in crate::device) fn write_run(
        &mut self,
        address: u32,
        bytes: &[u8],
        written: &mut dyn FnMut(u64),
    ) -> Result<(), DfuError> {
        let mut block = 0;
        let mut done = 0;
        for piece in bytes.chunks(self.chunk() as usize) {
            let at = address + done;
            if block == 0 {
                self.point(at)?;
                block = FIRST_BLOCK;
            }
            self.block(block, piece, Doing::Write(at))?;
            block = self.next_block(block);
            done += piece.len() as u32;
            written(done.into());
        }
        Ok(())
    }

    /// Reads back and compares.
    pub(in crate::device) fn verify(
        &mut self,
        alternate: u8,
        address: u32,
        bytes: &[u8],
        verified: &mut dyn FnMut(u64),
    ) -> Result<(), DfuError> {
        let doubting = self.family() == Family::Stm32f2;
        let len = bytes.len() as u32;
        self.read_each(alternate, address, len, &mut |offset, block| {
            let wanted = &bytes[offset as usize..][..block.len()];
            match wanted.iter().zip(block).position(|(a, b)| a != b) {
                None => {
                    verified(u64::from(offset) + block.len() as u64);
                    Ok(())
                }
                Some(_) if doubting && block.iter().all(|b| *b == 0) => Err(DfuError::Zeros {
                    address: address + offset,
                }),
                Some(first) => Err(DfuError::Verify {
                    address: address + offset + first as u32,
                }),
            }
        })
    }
}

struct Work<'p> {
    done: u64,
    total: u64,
    progress: &'p mut dyn FnMut(u64, u64),
}

impl Work<'_> {
    fn reach(&mut self, done: u64) {
        self.done = done;
        (self.progress)(done, self.total);
    }
}

/// Which sectors to erase for an image, in order.
///
/// Firmware goes to alternate setting 0 only: 1 holds the keys, which are never erased, and what is in external flash is the
/// running system's to write.
fn plan(
    platform: Platform,
    alternate: u8,
    layout: &Layout,
    address: u32,
    len: usize,
    erase: bool,
) -> Result<Vec<Sector>, PlanError> {
    if alternate != 0 {
        return Err(PlanError::ForbiddenAlternate { alternate });
    }
    if len == 0 {
        return Err(PlanError::Empty);
    }
    let start = u64::from(address);
    let end = start + len as u64;
    let allowed = |start: u64, end: u64| {
        let within = |r: &std::ops::Range<u32>| start >= r.start.into() && end <= r.end.into();
        match platform.flashable().iter().any(within) {
            true => Ok(()),
            false => Err(PlanError::Forbidden { start, end }),
        }
    };
    allowed(start, end)?;
    let sectors = layout
        .sectors(start..end)
        .map_err(|address| PlanError::NoSector { address })?;
    if let Some(bad) = sectors.iter().find(|s| !s.access.writable()) {
        return Err(PlanError::NotWritable {
            address: bad.start,
            letter: bad.access.letter(),
        });
    }
    let to_erase: Vec<Sector> = sectors.into_iter().filter(|s| erase && s.access.erasable()).collect();
    for sector in &to_erase {
        if sector.start < address {
            return Err(PlanError::Misaligned { address });
        }
        allowed(sector.start.into(), sector.end())?;
    }
    Ok(to_erase)
}

const _: () = assert!(BLOCK == 4096, "one page of nRF and RTL flash is one block");
