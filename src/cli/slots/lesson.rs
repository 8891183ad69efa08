//! Which port each slot is: what is learnt while a person plugs one device into each slot in turn. Pure.

use std::collections::VecDeque;

use crate::model::{PortPath, SlotNo};

/// What is known so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Lesson {
    /// The slots that are still to be taught, in their order.
    ahead: VecDeque<SlotNo>,
    /// The ports of slots that stay as they are.
    kept: Vec<(SlotNo, PortPath)>,
    learnt: Vec<(SlotNo, PortPath)>,
    before: Vec<(SlotNo, PortPath)>,
}

/// What the arrival of a device on a port means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The slot is this port.
    Learnt(SlotNo),
    /// The same device started anew.
    Again,
    /// The port is another slot.
    Taken(SlotNo),
}

impl Lesson {
    /// A lesson about these slots, in this order; `before` are all slots as they are.
    pub(super) fn new(slots: Vec<SlotNo>, before: Vec<(SlotNo, PortPath)>) -> Self {
        Self {
            kept: before.iter().filter(|(slot, _)| !slots.contains(slot)).cloned().collect(),
            ahead: slots.into(),
            learnt: Vec::new(),
            before,
        }
    }

    /// The slot that is to be taught now.
    pub(super) fn current(&self) -> Option<SlotNo> {
        self.ahead.front().copied()
    }

    /// A device came on a port.
    pub(super) fn came(&mut self, port: &PortPath) -> Heard {
        if self.learnt.last().is_some_and(|(_, known)| known == port) {
            return Heard::Again;
        }
        if let Some((slot, _)) = self.learnt.iter().chain(&self.kept).find(|(_, known)| known == port) {
            return Heard::Taken(*slot);
        }
        match self.ahead.pop_front() {
            Some(slot) => {
                self.learnt.push((slot, port.clone()));
                Heard::Learnt(slot)
            }
            None => Heard::Again,
        }
    }

    /// The slot of now stays as it is.
    ///
    /// # Errors
    /// The other slot whose port that is by now: then it cannot stay.
    pub(super) fn skip(&mut self) -> Result<(), SlotNo> {
        let Some(slot) = self.current() else { return Ok(()) };
        if let Some((_, port)) = self.before.iter().find(|(known, _)| *known == slot) {
            if let Some((other, _)) = self.learnt.iter().find(|(_, learnt)| learnt == port) {
                return Err(*other);
            }
            self.kept.push((slot, port.clone()));
        }
        self.ahead.pop_front();
        Ok(())
    }

    /// The slots that are another port than before.
    pub(super) fn changed(&self) -> Vec<(SlotNo, PortPath)> {
        let new = |pair: &&(SlotNo, PortPath)| !self.before.contains(pair);
        self.learnt.iter().filter(new).cloned().collect()
    }

    /// The port that a slot was before.
    pub(super) fn before(&self, slot: SlotNo) -> Option<&PortPath> {
        self.before.iter().find(|(known, _)| *known == slot).map(|(_, port)| port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: &str) -> PortPath {
        text.parse().unwrap()
    }

    fn rack() -> Vec<(SlotNo, PortPath)> {
        (1..=3).map(|n| (SlotNo(n), port(&format!("x/{n}")))).collect()
    }

    fn lesson(slots: &[u16]) -> Lesson {
        Lesson::new(slots.iter().map(|n| SlotNo(*n)).collect(), rack())
    }

    #[test]
    fn each_new_port_is_the_next_slot_and_only_changes_count() {
        let mut lesson = lesson(&[1, 2, 3]);
        assert_eq!(lesson.came(&port("x/2")), Heard::Learnt(SlotNo(1)));
        assert_eq!(lesson.came(&port("x/2")), Heard::Again, "it restarted");
        assert_eq!(lesson.came(&port("x/1")), Heard::Learnt(SlotNo(2)));
        assert_eq!(lesson.came(&port("x/2")), Heard::Taken(SlotNo(1)));
        assert_eq!(lesson.current(), Some(SlotNo(3)));
        assert_eq!(lesson.came(&port("x/3")), Heard::Learnt(SlotNo(3)));
        assert_eq!(lesson.current(), None);
        assert_eq!(lesson.changed(), [(SlotNo(1), port("x/2")), (SlotNo(2), port("x/1"))]);
        assert_eq!(lesson.before(SlotNo(1)), Some(&port("x/1")));
    }

    #[test]
    fn the_port_of_a_slot_that_stays_is_no_other_slot() {
        let mut lesson = lesson(&[2, 9]);
        assert_eq!(lesson.came(&port("x/3")), Heard::Taken(SlotNo(3)), "not taught at all");
        assert_eq!(lesson.skip(), Ok(()));
        assert_eq!(lesson.came(&port("x/2")), Heard::Taken(SlotNo(2)), "skipped");
        assert_eq!(lesson.came(&port("x/4")), Heard::Learnt(SlotNo(9)));
        assert_eq!(lesson.changed(), [(SlotNo(9), port("x/4"))]);
    }

    #[test]
    fn a_slot_whose_port_another_has_taken_cannot_stay() {
        let mut lesson = lesson(&[1, 2]);
        lesson.came(&port("x/2"));
        assert_eq!(lesson.skip(), Err(SlotNo(1)));
        assert_eq!(lesson.current(), Some(SlotNo(2)));
        assert_eq!(lesson.came(&port("x/1")), Heard::Learnt(SlotNo(2)));
        assert_eq!(lesson.skip(), Ok(()), "there is nothing left");
    }
}
