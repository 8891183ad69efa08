//! The line: equal failures in a row stop it, and only a person sets it going again.

use crate::model::{Fact, recipe::Aim};

use super::{Told, run::Run, slot::Slot, turn::Turn};

impl Turn {
    /// After a run has ended: equal failures in a row are no longer those of a device. What repairs find is what they are for.
    pub(super) fn stop_the_line(&mut self, run: &Run) {
        let setting = &self.rack.setting;
        let repairs = setting
            .book
            .by_hash(run.recipe)
            .is_some_and(|prepared| prepared.recipe.aim != Aim::Provision);
        let Some(most) = setting
            .rules
            .stop_after
            .filter(|_| !repairs && self.rack.shift.stopped.is_none())
        else {
            return;
        };
        let equal = self.rack.shift.failures().filter(|(_, devices)| devices.len() >= most);
        let Some((code, devices)) = equal.map(|(code, devices)| (code, devices.to_vec())) else {
            return;
        };
        if devices.last() == Some(&run.device) {
            self.fact(Fact::LineStopped { code, devices });
        }
    }

    /// New runs begin again.
    pub(super) fn release_line(&mut self, why: &str) -> Told {
        if self.rack.shift.stopped.is_none() {
            return Told::refused("the line is not stopped");
        }
        let (by, why) = match self.decided(why) {
            Ok(decided) => decided,
            Err(told) => return told,
        };
        self.fact(Fact::LineReleased { by, why });
        for slot in self.rack.slots.keys().copied().collect::<Vec<_>>() {
            if let Slot::Held { attached, .. } = self.slot(slot).clone() {
                self.identify(slot, &attached, 1);
            }
        }
        Told::done("the line is released: new runs begin")
    }
}
