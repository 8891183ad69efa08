//! Who is in a slot: asking a newcomer who it is, and taking up its run or starting one. It owns when a device is not taken
//! in: unknown, a copy, without a recipe, quarantined, one more than the work order wants, while the line is stopped, or one
//! that falls off the bus again and again.

use std::sync::Arc;

use crate::{
    edge::Attached,
    model::{
        Code, DeviceId, Fact, RunId, SlotNo, StepError, Verdict,
        fact::Identity,
        module::Dependency,
        recipe::{Aim, Work},
    },
};

use super::{
    Effect, Known, Order, diagnose,
    guard::Guard,
    slot::{IDENTIFY, IDENTIFY_TRIES, Slot},
    turn::Turn,
};

impl Turn {
    pub(super) fn identify(&mut self, slot: SlotNo, attached: &Attached, asked: u8) {
        self.set(
            slot,
            Slot::Identifying {
                attached: attached.clone(),
                asked,
                deadline: self.now + IDENTIFY,
            },
        );
        self.effects.push(Effect::Order {
            slot,
            order: Order::Identify {
                attached: attached.clone(),
            },
        });
    }

    /// A device told who it is, or did not.
    pub(super) fn identified(
        &mut self,
        slot: SlotNo,
        address: u16,
        fresh: RunId,
        result: &Result<Identity, StepError>,
        known: &Known,
    ) {
        let Slot::Identifying { attached, asked, .. } = self.slot(slot).clone() else {
            return;
        };
        if attached.address != address {
            return;
        }
        let identity = match result {
            Ok(identity) => identity,
            Err(error) if error.transient() && asked < IDENTIFY_TRIES => return self.identify(slot, &attached, asked + 1),
            Err(error) => return self.reject(slot, attached, None, error.code, error.to_string()),
        };
        if self.is_elsewhere(slot, identity.device) {
            let why = format!("{} is already at work in another slot", identity.device);
            return self.reject(slot, attached, Some(identity.device), Code::DuplicateId, why);
        }
        self.fact(Fact::DeviceSeen {
            slot,
            port: attached.port.clone(),
            identity: identity.clone(),
        });
        let open = self
            .rack
            .runs()
            .find(|run| run.device == identity.device && !run.ended())
            .map(|run| run.id);
        match open {
            Some(run) => self.resume(slot, &attached, run),
            None if self.rack.ending.is_some() => self.set(slot, Slot::Vacant),
            None if known.quarantined.is_some() => {
                let device = identity.device;
                let why = format!(
                    "the last run of {device} ended QUARANTINED: a named person decides, with `keyrack release {device} --by NAME --why TEXT`"
                );
                self.reject(slot, attached, Some(device), Code::Quarantined, why);
            }
            None if self.rack.shift.stopped.is_some() => {
                let device = identity.device;
                self.set(slot, Slot::Held { attached, device });
            }
            None => match self.rack.not_ordered(identity.device) {
                Some(why) => self.reject(slot, attached, Some(identity.device), Code::OrderFilled, why),
                None => self.start(slot, &attached, fresh, identity, known),
            },
        }
    }

    /// A device is not taken in.
    pub(super) fn reject(&mut self, slot: SlotNo, attached: Attached, device: Option<DeviceId>, code: Code, why: String) {
        let rejected = Slot::Rejected {
            attached,
            device,
            code,
            why,
        };
        self.set(slot, rejected);
    }

    /// True if the device is plugged in at another slot as well. One that left its slot in the middle of a run, and is here
    /// now, is let go there.
    fn is_elsewhere(&mut self, here: SlotNo, device: DeviceId) -> bool {
        let others: Vec<(SlotNo, Option<RunId>, bool)> = self
            .rack
            .slots
            .iter()
            .filter(|(no, _)| **no != here)
            .filter_map(|(no, other)| {
                let (run, its) = match other {
                    Slot::Judged { device, .. } | Slot::Held { device, .. } => (None, *device),
                    Slot::Set { run, .. } => (None, self.rack.run(*run)?.device),
                    other => (other.run(), self.rack.run(other.run()?)?.device),
                };
                (its == device).then(|| (*no, run, other.attached().is_some()))
            })
            .collect();
        for (no, run, attached) in others {
            match run {
                _ if attached => return true,
                Some(run) => {
                    if let Slot::Running { .. } = self.slot(no) {
                        self.effects.push(Effect::Abandon(no));
                    }
                    self.interrupt(run, Code::DeviceLost);
                    self.settle_found(no);
                }
                None => {}
            }
        }
        false
    }

    fn resume(&mut self, slot: SlotNo, attached: &Attached, run: RunId) {
        let Some(state) = self.run(run) else { return };
        if state.returns >= MOST_RETURNS {
            let error = StepError::new(
                Code::DeviceLost,
                format!("it went away {MOST_RETURNS} times in a row without getting any further"),
            );
            return self.fail(slot, Some(attached.clone()), run, &error);
        }
        if self.rack.setting.book.by_hash(state.recipe).is_none() {
            return self.set(
                slot,
                Slot::Set {
                    attached: attached.clone(),
                    run,
                    code: Code::RecipeGone,
                },
            );
        }
        self.fact(Fact::RunResumed { run, slot });
        self.go_on(slot, attached, run);
    }

    fn start(&mut self, slot: SlotNo, attached: &Attached, run: RunId, identity: &Identity, known: &Known) {
        let setting = Arc::clone(&self.rack.setting);
        let wanted = self.rack.shift.is_to_repair(identity.device);
        let found = if wanted {
            setting.book.repair_for(identity.platform)
        } else {
            self.rack.recipe_for(identity.platform)
        };
        let Some(prepared) = found.cloned() else {
            let why = format!("no recipe for platform {}", identity.platform);
            return self.reject(slot, attached.clone(), Some(identity.device), Code::NoRecipe, why);
        };
        let hash = prepared.recipe.hash;
        let repair = prepared.recipe.aim != Aim::Provision;
        let plan = if known.passed == Some(hash) && !repair {
            prepared.recheck()
        } else {
            prepared.plan()
        };
        if wanted {
            // Those of the station are on record since its start; of these, only what is used.
            let recipe = &prepared.recipe;
            self.fact(Fact::RecipeRecorded {
                hash,
                name: recipe.name.clone(),
                text: recipe.text.clone(),
            });
        }
        let guard = Guard::of(identity, known, &prepared.recipe);
        let whole = !diagnose::comes(&prepared.recipe);
        self.fact(Fact::RunStarted {
            run,
            device: identity.device,
            slot,
            recipe: hash,
            plan: guard.plan(plan, whole),
            operator: self.rack.shift.operator.clone(),
            work_order: self.rack.shift.work_order.clone(),
            accepted: known
                .accepted
                .as_ref()
                .filter(|(_, product)| repair || *product == prepared.recipe.product)
                .map(|(key, _)| *key),
            reference: match &prepared.recipe.aim {
                Aim::Repair(repair) => repair.reference.clone(),
                Aim::Provision => None,
            },
        });
        if diagnose::work(&prepared.recipe) == Some(Work::GivenKey)
            && let Err(error) = self.hand_over(run, identity.device, known)
        {
            return self.fail(slot, Some(attached.clone()), run, &error);
        }
        if let Some(why) = unmet(&prepared.needs, identity) {
            return self.judge(
                slot,
                Some(attached.clone()),
                run,
                Verdict::Fail,
                Some(Code::DependencyMissing),
                why,
            );
        }
        match guard {
            Guard::Aside { open: false } => self.set_aside(slot, attached, run),
            Guard::None | Guard::Aside { open: true } | Guard::Serviced { .. } => self.go_on(slot, attached, run),
        }
    }
}

impl Turn {
    /// Puts on record which pair was given for a device. One that the ledger knows on another device is never written.
    fn hand_over(&mut self, run: RunId, device: DeviceId, known: &Known) -> Result<(), StepError> {
        let Some(given) = &known.given else {
            let doing = "take over the pair that is to be written: none that was given is for this device";
            return Err(StepError::new(Code::GivenKeyAbsent, doing));
        };
        if let Some(other) = given.owners.iter().find(|owner| **owner != device) {
            let doing = format!("compare with the ledger: device {other} has the key that was given");
            return Err(StepError::new(Code::KeyDuplicate, doing));
        }
        let key = given.key.clone();
        self.fact(Fact::KeyGiven { run, device, key });
        Ok(())
    }
}

/// What the firmware needs and the device is known not to have. A device that does not tell its modules is let on: it
/// says so itself after the flash.
fn unmet(needs: &[Dependency], identity: &Identity) -> Option<String> {
    let missing: Vec<String> = needs
        .iter()
        .filter(|need| {
            let has = identity
                .modules
                .iter()
                .find(|m| m.function == need.function && m.index == need.index);
            !identity.modules.is_empty() && has.is_none_or(|m| m.version < need.version)
        })
        .map(|need| format!("{} {} v{} or newer", need.function, need.index, need.version))
        .collect();
    (!missing.is_empty()).then(|| format!("the firmware of the recipe needs {}; nothing was erased", missing.join(", ")))
}

/// How often a run takes its device back without any step ending in between: a device that falls off the bus at every
/// attempt must not go round for ever.
const MOST_RETURNS: u8 = 20;
