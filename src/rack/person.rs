//! What a person asks for, whether at the screen or by a command: who may ask for what, and what it means. It owns the
//! stopped line, too, because only a person sets it going again.

use crate::model::{
    DeviceId, Fact, RunId, SlotNo, Wall,
    recipe::{Aim, WorkOrder},
    sentence::{self, count, harmless},
};

use super::{Effect, Lore, OrderName, Told, input::Command, run::Run, shift::Engineer, slot::Slot, turn::Turn};

impl Turn {
    /// A person asked for something.
    pub(super) fn asked(&mut self, command: &Command, lore: &Lore) {
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

    /// Somebody gave a PIN.
    pub(super) fn pin(&mut self, whose: Option<&str>) {
        self.told = Some(match (self.rack.shift.next_pin(self.wall), whose) {
            (Some(at), _) => Told::refused(wait_words(at)),
            (None, None) => {
                self.fact(Fact::PinRefused {});
                Told::refused(match self.rack.shift.next_pin(self.wall) {
                    Some(at) => format!("wrong PIN: {}", wait_words(at)),
                    None => "wrong PIN".to_owned(),
                })
            }
            (None, Some(name)) => self.engineer_comes(name),
        });
    }

    fn engineer_comes(&mut self, name: &str) -> Told {
        let name = match fit(name) {
            Ok(name) => name,
            Err(told) => return told,
        };
        let length = self.rack.setting.rules.engineer_for;
        let until = i64::try_from(length.as_millis())
            .ok()
            .and_then(|ms| Wall::from_millis(self.wall.millis().saturating_add(ms)))
            .unwrap_or(self.wall);
        self.fact(Fact::EngineerCame {
            name: name.clone(),
            until,
        });
        let told = Told::done(format!("engineer {name}, for {} minutes", length.as_secs().div_ceil(60)));
        self.rack.engineer = Some(Engineer {
            name,
            until,
            deadline: self.now + length,
        });
        told
    }

    fn engineer_goes(&mut self) -> Told {
        match self.rack.engineer.take() {
            Some(engineer) => {
                self.fact(Fact::EngineerLeft { name: engineer.name });
                Told::done("what only engineers may do is closed again")
            }
            None => Told::refused("no engineer gave a PIN"),
        }
    }

    /// A PIN counts for some time only.
    pub(super) fn engineer_goes_in_time(&mut self) {
        if self
            .rack
            .engineer
            .as_ref()
            .is_some_and(|engineer| engineer.deadline <= self.now)
        {
            self.engineer_goes();
        }
    }

    fn is_engineer(&self) -> bool {
        let engineer = self.rack.engineer.as_ref();
        !self.rack.setting.rules.pins || engineer.is_some_and(|engineer| engineer.deadline > self.now)
    }

    /// Who decides: an engineer by the PIN, or whoever is at a station without PINs.
    fn decider(&self) -> Result<String, Told> {
        let engineer = self.rack.engineer.as_ref().map(|engineer| engineer.name.clone());
        engineer
            .or_else(|| self.rack.shift.operator.clone())
            .ok_or_else(|| Told::refused("a named person decides: say first who is at the station"))
    }

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

    fn release_line(&mut self, why: &str) -> Told {
        if self.rack.shift.stopped.is_none() {
            return Told::refused("the line is not stopped");
        }
        let (by, why) = match self.decider().and_then(|by| Ok((by, fit(why)?))) {
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

    fn release(&mut self, device: DeviceId, why: &str, lore: &Lore) -> Told {
        let Some(run) = lore.quarantined else {
            return Told::refused(format!("{device} is not quarantined"));
        };
        let (by, why) = match self.decider().and_then(|by| Ok((by, fit(why)?))) {
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
fn fit(text: &str) -> Result<String, Told> {
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

fn wait_words(at: Wall) -> String {
    let at = at.to_string();
    format!(
        "too many wrong PINs; the next one counts after {} UTC",
        at.get(11..19).unwrap_or(&at)
    )
}

/// The longest that a person may say, in characters.
const MOST_WORDS: usize = 200;
