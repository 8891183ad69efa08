//! Which slots have a device, and when all that were there are done: for commands that end by themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    edge::Clock,
    model::SlotNo,
    rack::{
        Command, RackView,
        view::{Awaits, SlotView},
    },
    station::Remote,
};

/// What was seen of the slots since the start.
#[derive(Clone, Default)]
pub(super) struct Presence(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// Each slot, and whether a device was in it.
    slots: BTreeMap<SlotNo, bool>,
    /// A device is at work now.
    at_work: bool,
    /// Whoever was there at the start has shown itself by now.
    settled: bool,
}

impl Presence {
    /// Asks the station to finish when devices had their time to show themselves and none is at work.
    pub(super) fn watch(&self, clock: &Arc<dyn Clock>, remote: Remote) {
        let (seen, inner) = (self.clone(), Arc::clone(clock));
        drop(clock.spawn(
            "presence",
            Box::new(move || {
                inner.sleep(SETTLES);
                let mut seen = seen.lock();
                seen.settled = true;
                if !seen.at_work {
                    remote.command(Command::Finish);
                }
            }),
        ));
    }

    /// Takes in how the slots look. Tells whether all are done.
    pub(super) fn view(&self, view: &RackView) -> bool {
        let mut seen = self.lock();
        for slot in &view.slots {
            *seen.slots.entry(slot.slot).or_default() |= slot.awaits != Awaits::Device;
        }
        seen.at_work = view.slots.iter().any(at_work);
        seen.settled && !seen.at_work
    }

    /// How many slots had a device, and which had none.
    pub(super) fn met(&self) -> (usize, Vec<SlotNo>) {
        let seen = self.lock();
        let empty = seen.slots.iter().filter(|(_, met)| !**met).map(|(slot, _)| *slot);
        let empty: Vec<_> = empty.collect();
        (seen.slots.len() - empty.len(), empty)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if a device is in a slot and has neither its verdict nor was set aside.
fn at_work(view: &SlotView) -> bool {
    matches!(
        view.awaits,
        Awaits::Settling | Awaits::Identity | Awaits::Step | Awaits::Return | Awaits::Cloud
    )
}

/// A device that was just plugged in boots for some seconds before it is on the bus.
const SETTLES: Duration = Duration::from_secs(8);
