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

#[cfg(test)]
mod tests {
    use super::{
        super::{layout::tests as layouts, target::Target},
        *,
    };
    use crate::{device::LinkError, edge::UsbError};

    fn image(len: usize) -> Vec<u8> {
        (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn write(target: &Target, address: u32, bytes: &[u8]) -> Result<(), DfuError> {
        let mut link = target.link();
        Dfu::open(&mut link)?.write_image(0, address, bytes, true, &mut |_, _| {})
    }

    /// DNLOADs and GETSTATUS answers: what writing costs, without the read-back.
    fn cost(target: &Target) -> usize {
        let inside = target.inside();
        let first_upload = inside.seen.iter().position(|s| (s.request_type, s.request) == (0xa1, 2));
        inside.seen[..first_upload.unwrap()]
            .iter()
            .filter(|s| matches!((s.request_type, s.request), (0x21, 1) | (0xa1, 3)))
            .count()
    }

    #[test]
    fn a_p2_image_takes_six_transfers_for_each_page() {
        let target = Target::new(Platform::P2);
        let bytes = image(1_009_100);
        write(&target, 0x0806_0000, &bytes).unwrap();
        assert_eq!(target.inside().erased.len(), 247, "device-protocol.md 8.4");
        assert_eq!(target.inside().memory[&0][0x6_0000..][..bytes.len()], bytes);
        assert_eq!(target.inside().pointed, 2, "once for the writing and once for the read-back");
        // Beside the pages: the first look at the state, the pointer, and the way from writing to reading, pointer included.
        assert_eq!(cost(&target), 247 * 6 + 1 + 3 + 2 + 3);
    }

    #[test]
    fn gen2_gets_its_pointer_after_the_erases() {
        let target = Target::new(Platform::Photon);
        // Two sectors, so that an erase stands behind the first.
        let bytes = image(0x2_0000 + 5000);
        write(&target, 0x0802_0000, &bytes).unwrap();
        assert_eq!(target.inside().erased, [0x0802_0000, 0x0804_0000]);
        assert_eq!(target.inside().memory[&0][0x2_0000..][..bytes.len()], bytes);
        assert_eq!(target.inside().pointed, 2);
        assert!(cost(&target) <= 34 * 6);
    }

    #[test]
    fn a_device_with_short_transfers_gets_its_pointer_for_each() {
        let target = Target::new(Platform::Argon);
        target.inside().transfer_size = 1024;
        let bytes = image(40_960);
        write(&target, 0x2_8000, &bytes).unwrap();
        assert_eq!(target.inside().memory[&0][0x2_8000..][..bytes.len()], bytes);
        let uploads = target
            .inside()
            .seen
            .iter()
            .filter(|s| (s.request_type, s.request) == (0xa1, 2))
            .count();
        assert_eq!((uploads, target.inside().pointed), (40, 80), "device-protocol.md 8.4");
        let cleared = target.inside().seen.iter().any(|s| (s.request_type, s.request) == (0x21, 4));
        assert!(!cleared, "nothing was refused on the way");
    }

    #[test]
    fn progress_grows_to_the_end() {
        let target = Target::new(Platform::Argon);
        let mut link = target.link();
        let mut seen = vec![];
        Dfu::open(&mut link)
            .unwrap()
            .write_image(0, 0x2_8000, &image(10_000), true, &mut |done, total| seen.push((done, total)))
            .unwrap();
        assert!(seen.is_sorted() && seen.iter().all(|(_, total)| *total == 30_000));
        assert_eq!(seen.last(), Some(&(30_000, 30_000)));
    }

    #[test]
    fn nothing_is_erased_where_nothing_may_be_written() {
        use PlanError::{Empty, Forbidden, ForbiddenAlternate, Misaligned};
        for (platform, alternate, address, len, expected) in [
            (Platform::P2, 0, 0x0806_0000, 0, Empty),
            (
                Platform::P2,
                0,
                0x0805_f000,
                10,
                Forbidden {
                    start: 0x0805_f000,
                    end: 0x0805_f00a,
                },
            ),
            (
                Platform::P2,
                0,
                0x081d_f000,
                4097,
                Forbidden {
                    start: 0x081d_f000,
                    end: 0x081e_0001,
                },
            ),
            (
                Platform::P2,
                0,
                0x085f_f000,
                4097,
                Forbidden {
                    start: 0x085f_f000,
                    end: 0x0860_0001,
                },
            ),
            (
                Platform::P2,
                0,
                0xffff_ffff,
                2,
                Forbidden {
                    start: 0xffff_ffff,
                    end: 0x1_0000_0001,
                },
            ),
            (
                Platform::Argon,
                0,
                0x2_6000,
                0x3000,
                Forbidden {
                    start: 0x2_6000,
                    end: 0x2_9000,
                },
            ),
            (
                Platform::Argon,
                0,
                0xf_3000,
                0x1001,
                Forbidden {
                    start: 0xf_3000,
                    end: 0xf_4001,
                },
            ),
            (Platform::Argon, 0, 0, 16, Forbidden { start: 0, end: 16 }),
            (Platform::Argon, 0, 0x2_8010, 16, Misaligned { address: 0x2_8010 }),
            (Platform::Argon, 1, 0, 16, ForbiddenAlternate { alternate: 1 }),
            (
                Platform::Photon,
                0,
                0x0801_0000,
                16,
                Forbidden {
                    start: 0x0801_0000,
                    end: 0x0801_0010,
                },
            ),
        ] {
            let target = Target::new(platform);
            let mut link = target.link();
            let mut dfu = Dfu::open(&mut link).unwrap();
            let outcome = dfu.write_image(alternate, address, &image(len), true, &mut |_, _| {});
            assert_eq!(outcome, Err(DfuError::Plan(expected)), "{platform} {address:#x}");
            assert!(target.inside().erased.is_empty() && target.inside().pointed == 0);
        }
    }

    #[test]
    fn the_letters_are_believed_too() {
        let read_only = Layout::parse("@X/0x08060000/16*4Ka").unwrap();
        let plan = |layout, address, erase| plan(Platform::P2, 0, layout, address, 16, erase);
        let expected = PlanError::NotWritable {
            address: 0x0806_0000,
            letter: 'a',
        };
        assert_eq!(plan(&read_only, 0x0806_0000, true), Err(expected));
        let short = Layout::parse("@X/0x08060000/1*4Kg").unwrap();
        assert_eq!(
            plan(&short, 0x0807_0000, true),
            Err(PlanError::NoSector { address: 0x0807_0000 })
        );
        let no_erase = Layout::parse("@X/0x08060000/16*4Ke").unwrap();
        assert_eq!(plan(&no_erase, 0x0806_0000, true), Ok(vec![]), "writable without erase");
        let rtl = Layout::parse(layouts::RTL).unwrap();
        assert_eq!(plan(&rtl, 0x0806_0010, false), Ok(vec![]), "no erase, no harm to neighbours");
        // A sector that reaches out of the range would be erased with what is behind it.
        let wide = Layout::parse("@X/0x08060000/1*4Mg").unwrap();
        assert!(matches!(plan(&wide, 0x0806_0000, true), Err(PlanError::Forbidden { .. })));
    }

    #[test]
    fn a_failed_write_is_seen_on_both_kinds() {
        let nrf = Target::new(Platform::Argon);
        nrf.inside().bad_write = Some(0x2_9000);
        let error = write(&nrf, 0x2_8000, &image(10_000)).unwrap_err();
        let doing = Doing::Write(0x2_9000);
        assert!(
            matches!(&error, DfuError::Refused { doing: d, .. } if *d == doing),
            "{error:?}"
        );

        let gen2 = Target::new(Platform::Photon);
        gen2.inside().bad_write = Some(0x0802_1000);
        let error = write(&gen2, 0x0802_0000, &image(10_000)).unwrap_err();
        assert_eq!(
            error,
            DfuError::Stalled {
                doing: Doing::Write(0x0802_1000)
            }
        );
        let last = *gen2.inside().seen.last().unwrap();
        assert_eq!(
            last.request, 3,
            "the GETSTATUS that stalled is the last: another one would say OK"
        );
        assert_eq!(error.code(), crate::model::Code::FlashRefused);
    }

    #[test]
    fn what_is_lost_without_a_word_is_found_by_the_read_back() {
        let target = Target::new(Platform::P2);
        target.inside().lost_write = Some(0x0806_1000);
        let mut bytes = image(10_000);
        bytes[0x1000..0x1003].copy_from_slice(&[0xff, 0xff, 0x12]);
        let error = write(&target, 0x0806_0000, &bytes).unwrap_err();
        assert_eq!(error, DfuError::Verify { address: 0x0806_1002 });
    }

    #[test]
    fn zeros_on_gen2_are_called_a_failed_read() {
        let target = Target::new(Platform::Photon);
        target.inside().bad_read = Some(0x0802_1000);
        let error = write(&target, 0x0802_0000, &image(10_000)).unwrap_err();
        assert_eq!(error, DfuError::Zeros { address: 0x0802_1000 });
    }

    #[test]
    fn a_protected_device_is_left_alone() {
        let target = Target::new(Platform::Argon);
        target.inside().protected = true;
        let error = write(&target, 0x2_8000, &image(100)).unwrap_err();
        assert!(matches!(error, DfuError::Protected { .. }));
        assert!(target.inside().erased.is_empty());
    }

    #[test]
    fn a_wish_to_stop_ends_it_between_transfers() {
        let target = Target::new(Platform::Argon);
        target.inside().cancel_on_write = Some(target.cancel.clone());
        let error = write(&target, 0x2_8000, &image(10_000)).unwrap_err();
        assert_eq!(error.link(), Some(&LinkError::Cancelled));
        assert_eq!(error.link().and_then(LinkError::usb), None::<UsbError>);
    }
}
