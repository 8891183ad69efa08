//! Mishaps as data: what goes wrong, with which device, and when. [`World`](super::World) makes them happen.

use std::time::Duration;

use crate::{
    model::{DeviceId, Mono, PortPath},
    sim::device::{Counters, DeviceMishap, Press},
};

use super::phase::Phase;

/// Something that is to go wrong, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mishap {
    /// What the report calls it.
    pub label: String,
    /// The device that it happens to, and whose transfers and phases are counted. `None` for what happens to all.
    pub device: Option<DeviceId>,
    /// When.
    pub when: When,
    /// What.
    pub deed: Deed,
}

/// When a mishap strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this time of the world's clock.
    At(Mono),
    /// While this transfer to the device, counted from 1, is under way.
    Transfer(u64),
    /// At the `nth` occurrence, from 1, of a phase of the device: while such a transfer is under way.
    Phase {
        /// Which phase.
        phase: Phase,
        /// Which occurrence, from 1.
        nth: u32,
    },
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The cable is pulled.
    Unplug {
        /// After how long it is plugged in again; `None` is never.
        back_after: Option<Duration>,
        /// Where it is plugged in again; `None` is where it was.
        port: Option<PortPath>,
    },
    /// The device and another one change places; both lose their power meanwhile.
    Swap {
        /// The other one.
        with: DeviceId,
        /// How long both are unplugged.
        gap: Duration,
    },
    /// The device loses its power; without a device, all do.
    PowerCut {
        /// For how long.
        off: Duration,
    },
    /// Everything on the hub of the device loses its power.
    HubOff {
        /// For how long.
        off: Duration,
    },
    /// Somebody corrects the wall clock of the station by this many milliseconds.
    ClockJump(i64),
    /// One bit of the data that the device sends is wrong: only in a transfer that is its moment, and only an IN transfer.
    Garble,
    /// A person presses the buttons of the device.
    Press(Press),
    /// Something inside of the device.
    Inject(DeviceMishap),
}

/// What became of a mishap. A scenario with one that did not fire proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MishapReport {
    /// Its label.
    pub label: String,
    /// True if it happened. One inside of a device has happened only when it has bitten, not when it was injected.
    pub fired: bool,
}

/// A mishap that waits for its moment, or had it.
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) mishap: Mishap,
    occurred: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Fired,
    /// Injected when the device had counted this many bites of this kind.
    Injected(u64),
}

impl Armed {
    pub(super) fn new(mishap: Mishap) -> Self {
        Self {
            mishap,
            occurred: 0,
            state: State::Waiting,
        }
    }

    /// The time at which it is due, if it is due at a time.
    pub(super) fn at(&self) -> Option<Mono> {
        match self.mishap.when {
            When::At(at) => Some(at),
            When::Transfer(_) | When::Phase { .. } => None,
        }
    }

    /// True if a transfer of this device with this number is its moment.
    pub(super) fn strikes_transfer(&self, device: DeviceId, number: u64) -> bool {
        self.waits_for(device) && self.mishap.when == When::Transfer(number)
    }

    /// Counts a phase of this device. True if this is its moment.
    pub(super) fn strikes_phase(&mut self, device: DeviceId, now_in: Phase) -> bool {
        match self.mishap.when {
            When::Phase { phase, nth } if self.waits_for(device) && phase == now_in => {
                self.occurred += 1;
                self.occurred == nth
            }
            _ => false,
        }
    }

    /// True if it must be in the device before the transfer that is its moment.
    pub(super) fn before_transfer(&self) -> bool {
        matches!(self.mishap.deed, Deed::Inject(_))
    }

    /// It has happened; one that was injected into a device with these counts has yet to bite.
    pub(super) fn fired(&mut self, counters: Option<&Counters>) {
        self.state = match (&self.mishap.deed, counters) {
            (Deed::Inject(inner), Some(counters)) => State::Injected(counters.fired(inner.name())),
            _ => State::Fired,
        };
    }

    /// What became of it, given the counts of its device.
    pub(super) fn report(&self, counters: Option<&Counters>) -> MishapReport {
        let fired = match (&self.state, &self.mishap.deed) {
            (State::Waiting, _) => false,
            (State::Fired, _) => true,
            (State::Injected(before), Deed::Inject(inner)) => counters.is_some_and(|c| c.fired(inner.name()) > *before),
            (State::Injected(_), _) => true,
        };
        MishapReport {
            label: self.mishap.label.clone(),
            fired,
        }
    }

    /// True while it has not happened.
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    fn waits_for(&self, device: DeviceId) -> bool {
        self.waits() && self.mishap.device == Some(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 12])
    }

    #[test]
    fn a_phase_is_counted_for_its_own_device_only() {
        let mut armed = Armed::new(Mishap {
            label: "m".to_owned(),
            device: Some(id(1)),
            when: When::Phase {
                phase: Phase::Erase,
                nth: 2,
            },
            deed: Deed::PowerCut { off: Duration::ZERO },
        });
        assert!(!armed.strikes_phase(id(1), Phase::Erase));
        assert!(!armed.strikes_phase(id(2), Phase::Erase));
        assert!(!armed.strikes_phase(id(1), Phase::FlashWrite));
        assert!(!armed.report(None).fired);
        assert!(armed.strikes_phase(id(1), Phase::Erase));
        armed.fired(None);
        assert!(!armed.strikes_phase(id(1), Phase::Erase), "once is enough");
        assert!(armed.report(None).fired);
    }

    #[test]
    fn an_injected_mishap_has_fired_when_it_has_bitten() {
        let mut armed = Armed::new(Mishap {
            label: "m".to_owned(),
            device: Some(id(1)),
            when: When::Transfer(3),
            deed: Deed::Inject(DeviceMishap::ShortRead),
        });
        assert!(armed.strikes_transfer(id(1), 3) && !armed.strikes_transfer(id(1), 4));
        let mut counters = Counters::default();
        counters.fired.insert("short-read".to_owned(), 1);
        armed.fired(Some(&counters));
        assert!(!armed.report(Some(&counters)).fired, "that bite was an earlier one's");
        counters.fired.insert("short-read".to_owned(), 2);
        assert!(armed.report(Some(&counters)).fired);
    }
}
