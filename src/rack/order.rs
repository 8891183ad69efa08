//! The work order: how many devices are done for it and under way, and whether one more is wanted. Devices that are done
//! are the ledger's to know: the core is told of them at the start, and counts from there.

use std::{collections::BTreeSet, sync::Arc};

use crate::model::{Code, DeviceId, Fact, Verdict};

use super::{Rack, run::Run, slot::Slot, turn::Turn};

/// How far the work order is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Its number or name.
    pub id: String,
    /// How many devices are ordered.
    pub quantity: u64,
    /// How many ended PASS or OWED, over all sessions.
    pub done: u64,
    /// How many have a run that has not ended, and are not among these.
    pub under_way: u64,
}

impl Ordered {
    /// How many are still to be done.
    pub const fn left(&self) -> u64 {
        self.quantity.saturating_sub(self.done)
    }

    /// How many more may begin.
    pub const fn room(&self) -> u64 {
        self.left().saturating_sub(self.under_way)
    }
}

impl Rack {
    /// Tells the core which devices the ledger knows as done for its work order: at the start, and when another one is named.
    pub fn has_done(&mut self, devices: impl IntoIterator<Item = DeviceId>) {
        self.done = Arc::new(devices.into_iter().collect());
    }

    /// How far the work order is, if there is one.
    pub fn ordered(&self) -> Option<Ordered> {
        let order = self.shift.work_order.as_ref()?;
        let under_way: BTreeSet<_> = self
            .runs()
            .filter(|run| !run.ended() && self.is_ordered(run) && !self.done.contains(&run.device))
            .map(|run| run.device)
            .collect();
        Some(Ordered {
            id: order.id.clone(),
            quantity: u64::from(order.quantity),
            done: self.done.len() as u64,
            under_way: under_way.len() as u64,
        })
    }

    /// Counts a device that is done.
    pub(super) fn count_done(&mut self, fact: &Fact) {
        let Fact::RunEnded {
            run,
            verdict: Verdict::Pass | Verdict::Owed,
            ..
        } = fact
        else {
            return;
        };
        if let Some(device) = self.run(*run).filter(|run| self.is_ordered(run)).map(|run| run.device) {
            Arc::make_mut(&mut self.done).insert(device);
        }
    }

    /// Why a device is not taken in, if the work order has all that it wants. One that is done for it may come again, and so may one that is to be
    /// repaired.
    pub(super) fn not_ordered(&self, device: DeviceId) -> Option<String> {
        let ordered = self.ordered().filter(|ordered| ordered.room() == 0)?;
        if self.done.contains(&device) || self.shift.is_to_repair(device) {
            return None;
        }
        let Ordered {
            id,
            quantity,
            done,
            under_way,
        } = ordered;
        Some(match under_way {
            0 => format!("work order {id} has all its {quantity} devices"),
            _ => format!("work order {id} is for {quantity} devices: {done} are done and {under_way} under way"),
        })
    }

    fn is_ordered(&self, run: &Run) -> bool {
        run.order.is_some() && run.order == self.shift.work_order.as_ref().map(|order| order.id.clone())
    }
}

impl Turn {
    /// A device of the work order failed: as many that were turned away as it still wants are looked at again.
    pub(super) fn ask_back(&mut self) {
        let turned_away = |slot: &Slot| {
            matches!(
                slot,
                Slot::Rejected {
                    code: Code::OrderFilled,
                    ..
                }
            )
        };
        if self.rack.ending.is_some() || !self.rack.slots.values().any(turned_away) {
            return;
        }
        let asked = |slot: &&Slot| matches!(slot, Slot::Settling { .. } | Slot::Identifying { .. });
        let asked = self.rack.slots.values().filter(asked).count();
        let room = self.rack.ordered().map_or(0, |ordered| ordered.room());
        let room = usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(asked);
        let slots = self.rack.slots.iter().filter(|(_, slot)| turned_away(slot));
        for slot in slots.map(|(no, _)| *no).take(room).collect::<Vec<_>>() {
            self.settle_found(slot);
        }
    }
}
