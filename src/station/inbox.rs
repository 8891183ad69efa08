//! What reaches the main loop, with the instant at which it came; and bytes of progress, of which the latest counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    edge::{Clock, Signal},
    model::{Mono, SlotNo},
};

use super::{Mailbox, Stimulus};

/// The way to the main loop. Clones lead to the same one.
#[derive(Clone)]
pub(super) struct Inbox {
    stimuli: Mailbox<(Mono, Stimulus)>,
    progress: Arc<Mutex<Progress>>,
    bell: Signal,
    clock: Arc<dyn Clock>,
}

/// Bytes done and bytes to do of each slot that worked since the last look.
#[derive(Default)]
struct Progress {
    latest: BTreeMap<SlotNo, (u64, u64)>,
    /// When the loop was last woken for progress alone.
    rung: Option<Mono>,
}

impl Inbox {
    /// An empty inbox that raises `bell`.
    pub(super) fn new(bell: Signal, clock: Arc<dyn Clock>) -> Self {
        Self {
            stimuli: Mailbox::ringing(bell.clone()),
            progress: Arc::default(),
            bell,
            clock,
        }
    }

    /// Puts something in for the next turn.
    pub(super) fn send(&self, stimulus: Stimulus) {
        self.stimuli.send((self.clock.now(), stimulus));
    }

    /// Everything that came since the last turn, with the instant of each.
    pub(super) fn drain(&self) -> Vec<(Mono, Stimulus)> {
        self.stimuli.drain()
    }

    /// Notes how far a slot is. It never makes a turn of its own: a rack of 64 slots writes hundreds of blocks a second.
    pub(super) fn progress(&self, slot: SlotNo, done: u64, of: u64) {
        let now = self.clock.now();
        let mut progress = self.lock();
        progress.latest.insert(slot, (done, of));
        if progress.rung.is_none_or(|at| now.since(at) >= PROGRESS_EVERY) {
            progress.rung = Some(now);
            drop(progress);
            self.bell.raise();
        }
    }

    /// How far each slot is that has moved since the last look.
    pub(super) fn moved(&self) -> BTreeMap<SlotNo, (u64, u64)> {
        std::mem::take(&mut self.lock().latest)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // A map and an instant are whole after any panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often progress alone wakes the loop, for all slots together: as often as a screen is painted at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{edge::clock::SystemClock, rack::Input};

    #[test]
    fn progress_is_the_latest_of_each_slot_and_rings_once() {
        let bell = Signal::new();
        let inbox = Inbox::new(bell.clone(), Arc::new(SystemClock::new()));
        for done in 1..=3 {
            inbox.progress(SlotNo(1), done, 9);
        }
        inbox.progress(SlotNo(2), 5, 6);
        assert!(bell.raised() >= 1, "somebody has to look");
        assert_eq!(inbox.moved(), BTreeMap::from([(SlotNo(1), (3, 9)), (SlotNo(2), (5, 6))]));
        assert_eq!(inbox.moved(), BTreeMap::new());
        assert!(inbox.drain().is_empty(), "progress is no stimulus");
    }

    #[test]
    fn stimuli_keep_their_order_and_instant() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let inbox = Inbox::new(Signal::new(), Arc::clone(&clock));
        let before = clock.now();
        inbox.send(Stimulus::Core(Input::Tick));
        inbox.send(Stimulus::Core(Input::Bus(Vec::new())));
        let came = inbox.drain();
        assert!(matches!(came[0].1, Stimulus::Core(Input::Tick)));
        assert!(matches!(came[1].1, Stimulus::Core(Input::Bus(_))));
        assert!(before <= came[0].0 && came[0].0 <= came[1].0);
    }
}
