//! How runs under way are stopped by a person: one of them, or all. It owns what a stop means in each
//! state of a slot; that a worker ends at a safe point is the worker's own business.

use crate::{
    edge::Attached,
    model::{Code, RunId, SlotNo, Verdict},
};

use super::{
    Effect, Ending,
    slot::{Cancelled, Doing, GRACE, Slot},
    turn::Turn,
};

impl Turn {
    /// No new run begins.
    pub(super) fn finish_runs(&mut self) {
        self.rack.ending = Some(Ending::Finish);
    }

    /// Every slot stops at its next safe point.
    pub(super) fn quit_all(&mut self) {
        self.rack.ending = Some(Ending::Quit);
        for slot in self.rack.slots.keys().copied().collect::<Vec<_>>() {
            self.quit(slot);
        }
    }

    pub(super) fn abort(&mut self, slot: SlotNo) {
        match self.slot(slot).clone() {
            Slot::Running { .. } => self.ask_to_end(slot, Cancelled::Aborted),
            // It has its verdict, and is only cleaned up.
            Slot::AwaitingReturn { run, .. } if self.rack.sentences.contains_key(&run) => {}
            Slot::AwaitingReturn { .. } => {
                if let Some(Slot::AwaitingReturn { aborted, .. }) = self.rack.slots.get_mut(&slot) {
                    *aborted = true;
                }
            }
            Slot::AwaitingCloud { attached, run, .. } => self.aborted(slot, Some(attached), run),
            // Its worker may have been given up: the device is not touched, only its run ends.
            Slot::Set { attached, run, .. } => self.pronounce_aborted(slot, Some(attached), run),
            Slot::Vacant
            | Slot::Settling { .. }
            | Slot::Identifying { .. }
            | Slot::Judged { .. }
            | Slot::Held { .. }
            | Slot::Rejected { .. } => {}
        }
    }

    fn quit(&mut self, slot: SlotNo) {
        match self.slot(slot).clone() {
            Slot::Running { .. } => self.ask_to_end(slot, Cancelled::Quit),
            Slot::AwaitingCloud { attached, run, .. } => self.put_off(slot, Some(attached), run),
            Slot::AwaitingReturn { run, aborted: false, .. } => self.put_off(slot, None, run),
            Slot::AwaitingReturn { run, .. } => self.aborted(slot, None, run),
            Slot::Settling { .. } | Slot::Identifying { .. } => self.set(slot, Slot::Vacant),
            Slot::Vacant | Slot::Judged { .. } | Slot::Held { .. } | Slot::Rejected { .. } | Slot::Set { .. } => {}
        }
    }

    /// Asks the worker to end at its next safe point. What leads to the end of the run anyway is let through, and an
    /// abort is not taken back by a later quit.
    fn ask_to_end(&mut self, slot: SlotNo, why: Cancelled) {
        let least = self.now + GRACE;
        let run = self.slot(slot).run();
        if run.is_some_and(|run| self.rack.sentences.contains_key(&run)) {
            return;
        }
        let Some(Slot::Running {
            doing,
            deadline,
            cancelled,
            ..
        }) = self.rack.slots.get_mut(&slot)
        else {
            return;
        };
        if matches!(doing, Doing::RollBack { .. }) {
            return;
        }
        *deadline = (*deadline).max(least);
        if *cancelled != Cancelled::Aborted {
            *cancelled = why;
        }
        self.effects.push(Effect::Cancel(slot));
    }

    /// A worker that was asked to end has ended, or nobody was at work: the run stops here.
    pub(super) fn stopped(&mut self, slot: SlotNo, attached: Option<Attached>, run: RunId, why: Cancelled) {
        match why {
            Cancelled::Quit => self.put_off(slot, attached, run),
            Cancelled::Aborted | Cancelled::Late | Cancelled::No => self.aborted(slot, attached, run),
        }
    }

    /// The run goes on at the next start.
    fn put_off(&mut self, slot: SlotNo, attached: Option<Attached>, run: RunId) {
        self.interrupt(run, Code::Stopped);
        match attached {
            Some(attached) => self.set(
                slot,
                Slot::Set {
                    attached,
                    run,
                    code: Code::Stopped,
                },
            ),
            None => self.settle_found(slot),
        }
    }

    /// A person stopped the run, and its device is in a state in which it can be left. Where the old key has to go back,
    /// it goes back first; a key slot in doubt whose device is gone is settled when the device returns.
    fn aborted(&mut self, slot: SlotNo, attached: Option<Attached>, id: RunId) {
        let Some(run) = self.run(id) else { return };
        match attached {
            Some(attached) if self.must_roll_back(&run) => self.roll_back(slot, &attached, &run, 1),
            None if run.keys.unsettled() => {
                self.interrupt(id, Code::DeviceLost);
                self.settle_found(slot);
            }
            attached => self.judge(slot, attached, id, Verdict::Aborted, Some(Code::Stopped), STOPPED.to_owned()),
        }
    }

    fn pronounce_aborted(&mut self, slot: SlotNo, attached: Option<Attached>, run: RunId) {
        self.pronounce(slot, attached, run, Verdict::Aborted, Some(Code::Stopped), STOPPED.to_owned());
    }
}

const STOPPED: &str = "a person stopped the run";
