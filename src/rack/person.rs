//! What a person asks for, whether at the screen or by a command: who may ask for what, and what it means for the shift and
//! for single devices. What else engineers decide has files of its own: `engineer.rs`, `stopped_line.rs`, `choice.rs`.

use crate::model::{
    DeviceId, Fact, RunId, SlotNo,
    recipe::WorkOrder,
    sentence::{self, count, harmless},
};

use super::{Effect, Lore, OrderName, Told, input::Command, slot::Slot, turn::Turn};

impl Turn {
    /// A person asked for something.
    pub(super) fn asked(&mut self, command: &Command, lore: &Lore) {
        self.rack.pins = lore.pins.unwrap_or(self.rack.pins);
        let told = if command.is_engineers() && !self.is_engineer() {
            Told::refused("only an engineer may do that: give the PIN first")
        } else {
            self.granted(command, lore)
        };
        self.told = Some(told);
    }

    fn granted(&mut self, command: &Command, lore: &Lore) -> Told {
        match command {
            Command::Abort(slot) => {
                let slot = *slot;
                if self.slot(slot).run().is_none() && !matches!(self.slot(slot), Slot::Set { .. }) {
                    return Told::refused(format!("slot {slot} has no run to stop"));
                }
                self.abort(slot);
                Told::done(format!("slot {slot} stops at its next safe point"))
            }
            Command::Finish => {
                self.finish_runs();
                Told::done("finishing: no new run begins; the station ends when those under way are judged")
            }
            Command::Quit => {
                self.quit_all();
                Told::done("stopping: each slot ends at its next safe point")
            }
            Command::TokenRenewed => {
                self.rack.outbox.locked = None;
                Told::done("what is owed is sent again")
            }
            Command::Operator(name) => self.operator(name.as_deref()),
            Command::WorkOrder(order) => self.work_order(order.as_ref(), lore),
            Command::Label { slot, serial } => self.label(*slot, serial, lore),
            Command::EngineerLeaves => self.engineer_goes(),
            Command::ReleaseLine { why } => self.release_line(why),
            Command::Release { device, why } => self.release(*device, why, lore),
            Command::Repair(device) => self.repair(*device, lore),
            Command::Retry => self.retry(),
            Command::UseRecipe { name, why } => self.use_recipe(name, why),
            Command::LeaveOut { slot, step, why } => self.leave_out(*slot, *step, why),
            Command::PinsSet => Told::done(match self.rack.pins {
                true => "there are PINs: what only engineers may do needs one",
                false => "there is no PIN: everybody is an engineer",
            }),
        }
    }

    /// What the command line names counts from this start on, and is on record.
    pub(super) fn name_for_now(&mut self) {
        let setting = std::sync::Arc::clone(&self.rack.setting);
        let rules = &setting.rules;
        if rules.operator_now.is_some() && rules.operator_now != self.rack.shift.operator {
            self.fact(Fact::OperatorNamed {
                operator: rules.operator_now.clone(),
            });
        }
        if rules.work_order_now.is_some() && rules.work_order_now != self.rack.shift.work_order {
            self.fact(Fact::WorkOrderNamed {
                work_order: rules.work_order_now.clone(),
            });
        }
    }

    fn operator(&mut self, name: Option<&str>) -> Told {
        let operator = match name.map(fit).transpose() {
            Ok(operator) => operator,
            Err(told) => return told,
        };
        let told = Told::done(match &operator {
            Some(name) => format!("{name} is at the station"),
            None => "nobody is named at the station".to_owned(),
        });
        if operator != self.rack.shift.operator {
            self.fact(Fact::OperatorNamed { operator });
        }
        told
    }

    /// A quantity that is not said is that of the order as it is known already.
    fn work_order(&mut self, order: Option<&OrderName>, lore: &Lore) -> Told {
        let work_order = match order {
            None => None,
            Some(order) => {
                let id = match fit(&order.id) {
                    Ok(id) => id,
                    Err(told) => return told,
                };
                let present = self.rack.shift.work_order.as_ref();
                let known = [present, self.rack.setting.work_order.as_ref(), lore.work_order.as_ref()]
                    .into_iter()
                    .flatten()
                    .find(|known| known.id == id);
                let quantity = order
                    .quantity
                    .filter(|quantity| *quantity > 0)
                    .or(known.map(|known| known.quantity));
                let Some(quantity) = quantity else {
                    return Told::refused(format!(
                        "work order {id} is not known here: say with it how many devices are ordered"
                    ));
                };
                Some(WorkOrder {
                    product: known.and_then(|known| known.product.clone()),
                    id,
                    quantity,
                })
            }
        };
        let told = Told::done(match &work_order {
            Some(order) => format!("work order {}, {}", order.id, count(order.quantity as usize, "device")),
            None => "no work order".to_owned(),
        });
        if work_order != self.rack.shift.work_order {
            self.fact(Fact::WorkOrderNamed { work_order });
            self.rack.has_done(lore.done.iter().copied());
        }
        told
    }

    /// A label is bound to the device in a slot if it is its own, as far as device and ledger tell.
    fn label(&mut self, slot: SlotNo, serial: &str, lore: &Lore) -> Told {
        let serial = match fit(serial) {
            Ok(serial) => serial,
            Err(told) => return told,
        };
        let Some(device) = self.rack.device_in(slot) else {
            return Told::refused(format!(
                "slot {slot} has no device whose label this could be: plug it in first"
            ));
        };
        let elsewhere = || {
            let other = lore.owners.iter().find(|owner| **owner != device)?;
            let slot = self
                .rack
                .slots
                .keys()
                .find(|slot| self.rack.device_in(**slot) == Some(*other));
            Some(match slot {
                Some(slot) => format!("it is that of {} in slot {slot}", other.short()),
                None => format!("it is that of {other}"),
            })
        };
        let why = match &lore.serial {
            Some(told) if told.eq_ignore_ascii_case(&serial) => None,
            Some(told) => {
                let whose = elsewhere().map(|whose| format!("; {whose}")).unwrap_or_default();
                Some(format!("the device in slot {slot} is {}{whose}", harmless(told)))
            }
            None => elsewhere(),
        };
        match why {
            None => {
                self.fact(Fact::LabelBound { slot, device, serial });
                Told::done(format!("label and device agree: this is the one in slot {slot}"))
            }
            Some(why) => {
                let told = Told::refused(format!("wrong label {serial}: {why}"));
                self.fact(Fact::LabelRefused {
                    slot,
                    device,
                    serial,
                    why,
                });
                told
            }
        }
    }

    fn release(&mut self, device: DeviceId, why: &str, lore: &Lore) -> Told {
        let Some(run) = lore.quarantined else {
            return Told::refused(format!("{device} is not quarantined"));
        };
        let (by, why) = match self.decided(why) {
            Ok(decided) => decided,
            Err(told) => return told,
        };
        self.fact(Fact::QuarantineReleased { run, device, by, why });
        for run in &lore.copies {
            self.fact(Fact::UndoDestroyed { run: *run, device });
            self.effects.push(Effect::DestroyUndo { run: *run, device });
        }
        match self.again(device) {
            Some(slot) => Told::done(format!("{} is released: a fresh run begins in slot {slot}", device.short())),
            None => Told::done(format!(
                "{} is released: the next time that it is plugged in, a fresh run begins",
                device.short()
            )),
        }
    }

    fn repair(&mut self, device: DeviceId, lore: &Lore) -> Told {
        if lore.quarantined.is_some() {
            return Told::refused(format!("{} is QUARANTINED: it has to be released first", device.short()));
        }
        let open: Option<RunId> = self
            .rack
            .runs()
            .find(|run| run.device == device && !run.ended())
            .map(|run| run.id);
        if open.is_some() {
            return Told::refused(format!("{} has a run that is not over: it is judged first", device.short()));
        }
        let by = self.decider().ok();
        if !self.rack.shift.is_to_repair(device) {
            self.fact(Fact::RepairAsked { device, by });
        }
        match self.again(device) {
            Some(slot) => Told::done(format!("{} is repaired in slot {slot}", device.short())),
            None => Told::done(format!("{} is repaired when it is plugged in", device.short())),
        }
    }

    /// Looks again at a device that is in a slot and has no run: the slot, if there is one.
    fn again(&mut self, device: DeviceId) -> Option<SlotNo> {
        let idle = |slot: &SlotNo| self.rack.device_in(*slot) == Some(device) && self.slot(*slot).idle();
        let slot = self.rack.slots.keys().copied().find(idle)?;
        let attached = self.slot(slot).attached()?.clone();
        self.identify(slot, &attached, 1);
        Some(slot)
    }

    fn retry(&mut self) -> Told {
        let locked = self.rack.outbox.locked.take().is_some();
        let items: Vec<_> = self
            .rack
            .outbox
            .patient(self.wall)
            .map(|entry| entry.item.id.clone())
            .collect();
        if items.is_empty() {
            return if locked {
                Told::done("what is owed is sent again")
            } else {
                Told::refused("nothing waits that could be sent sooner")
            };
        }
        let told = Told::done(format!("{} sent now", sentence::count(items.len(), "item")));
        let by = self.decider().ok();
        self.fact(Fact::RetryAsked { items, by });
        told
    }
}

/// Words of a person, fit for a record: records are exported and replicated.
pub(super) fn fit(text: &str) -> Result<String, Told> {
    let text = harmless(text.trim());
    if text.is_empty() {
        return Err(Told::refused("it says nothing"));
    }
    if text.chars().count() > MOST_WORDS {
        return Err(Told::refused(format!("say it in {MOST_WORDS} characters")));
    }
    if text.contains('@') {
        return Err(Told::refused("e-mail addresses are not put on record: use a name"));
    }
    Ok(text)
}

/// The longest that a person may say, in characters.
const MOST_WORDS: usize = 200;
