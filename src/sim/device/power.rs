//! The power: what its loss tears, and what survives it.
//!
//! An operation on memory takes effect at once in the model and is remembered until it would really have ended. Power that
//! goes before makes it a torn one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Mono;

use super::{Blob, Device, Mode, dct::Dct, platform::Family, platform::Platform};

/// An operation that is not over yet.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct UnderWay {
    pub(super) from: Duration,
    pub(super) until: Duration,
    pub(super) what: Torn,
}

/// What can be torn, with the content from before.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Torn {
    Erase { at: u32, old: Blob },
    Program { at: u32, old: Blob },
    Dct { at: usize, length: usize, old: Blob },
}

impl Device {
    /// Cuts the power or gives it back. A cut loses RAM and retained RAM (Service Mode ends) and tears what is being
    /// written; restored power boots what flash holds. [`Device::attachment`] is `None` from the cut on; no
    /// [`Happening`](super::Happening) tells of the cut itself.
    pub fn power(&mut self, now: Mono, on: bool) {
        self.run_until(now);
        match (on, &self.s.mode) {
            (true, Mode::Off) => {
                self.s.mode = Mode::Nothing;
                self.reset(now.0, super::Boot::Normal);
            }
            (false, mode) if *mode != Mode::Off => {
                self.tear(now.0);
                self.forget_ram();
                self.s.service = None;
                self.s.mode = Mode::Off;
                self.happened.clear();
            }
            _ => {}
        }
    }

    fn tear(&mut self, now: Duration) {
        let Some(UnderWay { from, until, what }) = self.s.under_way.take().filter(|w| now < w.until) else {
            return;
        };
        self.s.counters.torn += 1;
        let part = |length: usize| {
            let (done, whole) = ((now.saturating_sub(from)).as_micros(), (until - from).as_micros().max(1));
            usize::try_from(length as u128 * done / whole).unwrap_or(length)
        };
        match what {
            Torn::Program { at, old } => {
                let done = part(old.len());
                self.s.flash.load(at + u32::try_from(done).unwrap_or(u32::MAX), &old[done..]);
            }
            Torn::Erase { at, mut old } => {
                // Half-erased cells read as anything between the old value and all ones.
                let mut noise = vec![0; old.len()];
                self.s.chance.fill(&mut noise);
                let done = part(old.len());
                old[..done].fill(0xff);
                old.iter_mut().zip(noise).for_each(|(cell, n)| *cell |= n);
                self.s.flash.load(at, &old);
            }
            Torn::Dct { at, length, old } => {
                let draw = self.s.chance.below(100);
                let new = self.s.dct.bytes().to_vec();
                let half = at + length / 2;
                let torn = [&new[..half], &old[half..]].concat();
                let kept = match fate(self.platform, draw) {
                    Fate::Old => old.0,
                    Fate::Torn => torn,
                    Fate::Lost => vec![0xff; old.len()],
                };
                self.s.dct = Dct::blank(kept.len());
                self.s.dct.write(0, &kept);
            }
        }
    }
}

enum Fate {
    Old,
    Torn,
    Lost,
}

/// What becomes of a DCT whose write was cut, by a draw from 0..100. The sources tell what happens, not how often: the
/// shares are chosen so that tests meet all of it. LittleFS (nRF52840, RTL872x) keeps the old file or, when an
/// initialisation was hit, loses all; the two sectors of Gen 2 usually keep the old content, but torn slots and lost
/// tables were reported (device-protocol.md 9).
fn fate(platform: &Platform, draw: u64) -> Fate {
    match (platform.family, draw) {
        (Family::Gen2, 0..60) | (Family::Nrf | Family::Rtl, 0..85) => Fate::Old,
        (Family::Gen2, 60..90) => Fate::Torn,
        _ => Fate::Lost,
    }
}
