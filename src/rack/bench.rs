//! What happens on the bench: devices come, tell who they are, and go; deadlines pass.

use std::sync::Arc;

use crate::{
    edge::Attached,
    model::{
        Code, DeviceId, Fact, Mono, Outcome, RunId, SlotNo, StepError, StepKind, Verdict,
        fact::{Identity, Protection},
        module::Dependency,
        platform::UsbMode,
    },
};

use super::{
    Effect, Ending, Known, Order,
    run::State,
    slot::{Cancelled, Doing, GRACE, IDENTIFY, IDENTIFY_TRIES, SETTLE, Slot},
    turn::{TRIES, Turn, mode_of},
};

impl Turn {
    /// Compares what is plugged in now with what each slot counts on.
    pub(super) fn bus(&mut self, list: &[Attached]) {
        self.rack.bus = Arc::new(list.to_vec());
        for slot in self.rack.slots.keys().copied().collect::<Vec<_>>() {
            self.look(slot);
        }
    }

    /// Looks again at what is plugged in at a slot.
    pub(super) fn look(&mut self, slot: SlotNo) {
        let found = self.found(slot);
        self.look_at(slot, found.as_ref());
    }

    /// What is plugged in at a slot, by the last list.
    pub(super) fn found(&self, slot: SlotNo) -> Option<Attached> {
        let port = self.rack.setting.ports.get(&slot)?;
        self.rack.bus.iter().find(|attached| attached.port == *port).cloned()
    }

    fn look_at(&mut self, slot: SlotNo, found: Option<&Attached>) {
        let state = self.slot(slot).clone();
        let same = |attached: &Attached| found.is_some_and(|f| f.address == attached.address);
        match state {
            Slot::Vacant => self.settle(slot, found),
            Slot::Settling { attached, .. }
            | Slot::Identifying { attached, .. }
            | Slot::Judged { attached, .. }
            | Slot::Rejected { attached, .. }
            | Slot::Set { attached, .. } => {
                if !same(&attached) {
                    self.settle(slot, found);
                }
            }
            // The worker's report says what became of its step; only then is the slot free.
            Slot::Running {
                attached: Some(attached),
                ticket,
                doing,
                since,
                deadline,
                cancelled,
            } => {
                if !same(&attached) {
                    self.set(
                        slot,
                        Slot::Running {
                            attached: None,
                            ticket,
                            doing,
                            since,
                            deadline,
                            cancelled,
                        },
                    );
                }
            }
            Slot::Running { attached: None, .. } => {}
            Slot::AwaitingCloud { attached, run, .. } => {
                if !same(&attached) {
                    self.interrupt(run, Code::DeviceLost);
                    self.settle(slot, found);
                }
            }
            Slot::AwaitingReturn {
                run,
                device,
                mode,
                left,
                ending,
                aborted,
                ..
            } => {
                let Some(found) = found.filter(|f| Some(f.address) != left) else {
                    return;
                };
                match told_id(found) {
                    Some(other) if other != device => {
                        if aborted {
                            return self.stopped(slot, None, run, Cancelled::Aborted);
                        }
                        self.interrupt(run, Code::DeviceSwapped);
                        self.settle(slot, Some(found));
                    }
                    _ if mode_of(found) == Some(mode) => {
                        let found = &found.clone();
                        if let Some((step, outcome, since)) = ending
                            && let Some(state) = self.run(run)
                        {
                            let attempt = super::turn::attempts(&state, step);
                            self.fact(super::turn::ended(run, step, attempt, outcome, self.now.since(since)));
                        }
                        if aborted {
                            return self.stopped(slot, Some(found.clone()), run, Cancelled::Aborted);
                        }
                        self.go_on(slot, found, run);
                    }
                    // After a bootloader of another version the system may not start before the rest is flashed, too.
                    _ if mode_of(found) == Some(UsbMode::Dfu) && self.goes_on_in_dfu(run, ending.as_ref()) => {
                        let found = &found.clone();
                        if let (Some((step, _, since)), Some(state)) = (ending, self.run(run)) {
                            let why = "the device waits in DFU mode for the rest of its firmware".to_owned();
                            let attempt = super::turn::attempts(&state, step);
                            self.fact(super::turn::ended(
                                run,
                                step,
                                attempt,
                                Outcome::Warned { why },
                                self.now.since(since),
                            ));
                        }
                        if aborted {
                            return self.stopped(slot, Some(found.clone()), run, Cancelled::Aborted);
                        }
                        self.go_on(slot, found, run);
                    }
                    // It came back in the other mode: it may be on its way. The deadline judges.
                    _ => {}
                }
            }
        }
    }

    /// True if the step that ends is an update, and the next one writes firmware over DFU.
    fn goes_on_in_dfu(&self, run: RunId, ending: Option<&(u8, Outcome, Mono)>) -> bool {
        let (Some((step, ..)), Some(run)) = (ending, self.rack.run(run)) else {
            return false;
        };
        let kind = |at: usize| run.steps.get(at).map(|step| step.kind);
        let at = usize::from(*step);
        matches!(kind(at), Some(StepKind::Update { .. })) && matches!(kind(at + 1), Some(StepKind::Flash { .. }))
    }

    /// Looks afresh at whoever is in a slot whose run is over or lost its device.
    pub(super) fn settle_found(&mut self, slot: SlotNo) {
        let found = self.found(slot);
        self.settle(slot, found.as_ref());
    }

    pub(super) fn settle(&mut self, slot: SlotNo, found: Option<&Attached>) {
        let state = match found {
            Some(attached) if self.rack.ending.is_none() || self.awaited(attached) => Slot::Settling {
                attached: attached.clone(),
                until: self.now + SETTLE,
            },
            _ => Slot::Vacant,
        };
        self.set(slot, state);
    }

    /// True if a run waits for this device: it is taken in even while the station comes to its end.
    fn awaited(&self, attached: &Attached) -> bool {
        self.rack.ending != Some(Ending::Quit)
            && told_id(attached).is_some_and(|id| {
                self.rack
                    .runs()
                    .any(|run| run.device == id && matches!(run.state, State::Interrupted(_)))
            })
    }

    /// Deadlines.
    pub(super) fn tick(&mut self) {
        for slot in self.rack.slots.keys().copied().collect::<Vec<_>>() {
            let state = self.slot(slot).clone();
            if state.deadline().is_none_or(|at| at > self.now) {
                continue;
            }
            match state {
                Slot::Settling { attached, .. } => self.identify(slot, &attached, 1),
                Slot::Identifying { attached, .. } => {
                    self.effects.push(Effect::Abandon(slot));
                    let why = "the device did not tell who it is in time".to_owned();
                    self.set(
                        slot,
                        Slot::Rejected {
                            attached,
                            code: Code::Wedged,
                            why,
                        },
                    );
                }
                Slot::Running {
                    attached,
                    ticket,
                    doing,
                    since,
                    cancelled: Cancelled::No,
                    ..
                } => {
                    self.effects.push(Effect::Cancel(slot));
                    let (deadline, cancelled) = (self.now + GRACE, Cancelled::Late);
                    self.set(
                        slot,
                        Slot::Running {
                            attached,
                            ticket,
                            doing,
                            since,
                            deadline,
                            cancelled,
                        },
                    );
                }
                Slot::Running {
                    attached, ticket, doing, ..
                } => self.give_up_worker(slot, attached, ticket.run, doing),
                Slot::AwaitingReturn { run, aborted: true, .. } => {
                    let found = self.found(slot);
                    self.stopped(slot, found, run, Cancelled::Aborted);
                }
                Slot::AwaitingReturn {
                    run,
                    ending,
                    mode,
                    tries,
                    ..
                } => self.not_back(slot, run, ending.map(|(step, _, since)| (step, since)), mode, tries),
                Slot::AwaitingCloud { .. } => self.cloud_deadline(slot),
                Slot::Vacant | Slot::Judged { .. } | Slot::Rejected { .. } | Slot::Set { .. } => {}
            }
        }
    }

    /// A worker did not end when told to. A late action is worse than a late answer: the device is not opened again before
    /// it left the bus.
    fn give_up_worker(&mut self, slot: SlotNo, attached: Option<Attached>, run: RunId, doing: Doing) {
        self.effects.push(Effect::Abandon(slot));
        if let Doing::CleanUp { .. } = doing {
            return self.cleaned_up(slot, attached, run);
        }
        self.interrupt(run, Code::Wedged);
        match attached {
            Some(attached) => self.set(
                slot,
                Slot::Set {
                    attached,
                    run,
                    code: Code::Wedged,
                },
            ),
            None => self.settle_found(slot),
        }
    }

    /// The device did not come back in time, or in another mode than it should.
    fn not_back(&mut self, slot: SlotNo, run: RunId, ending: Option<(u8, Mono)>, mode: UsbMode, tries: u8) {
        let Some(found) = self.found(slot) else {
            // Pulled out, or dead: from here both look the same. The run waits, and says what may be the matter.
            let code = match mode {
                UsbMode::Normal => Code::NoStart,
                UsbMode::Dfu => Code::DeviceLost,
            };
            self.interrupt(run, code);
            return self.set(slot, Slot::Vacant);
        };
        let (code, doing) = match mode {
            UsbMode::Normal => (Code::NoStart, "wait for the application to start"),
            UsbMode::Dfu => (Code::NoDfu, "wait for DFU mode"),
        };
        let error = StepError::new(code, format!("{doing}: the device stays in the other mode"));
        match ending {
            Some((step, since)) => self.step_failed(slot, Some(found), run, step, since, &error),
            None if tries < TRIES => self.change(slot, &found, run, mode, tries + 1),
            None => self.fail(slot, Some(found), run, &error),
        }
    }

    fn identify(&mut self, slot: SlotNo, attached: &Attached, asked: u8) {
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
            Err(error) => {
                self.set(
                    slot,
                    Slot::Rejected {
                        attached,
                        code: error.code,
                        why: error.to_string(),
                    },
                );
                return;
            }
        };
        self.moved(slot, identity.device);
        let elsewhere = self.rack.slots.iter().any(|(no, other)| {
            *no != slot
                && other
                    .run()
                    .and_then(|run| self.rack.run(run))
                    .is_some_and(|run| run.device == identity.device)
        });
        if elsewhere {
            let why = format!("{} is already at work in another slot", identity.device);
            self.set(
                slot,
                Slot::Rejected {
                    attached,
                    code: Code::DuplicateId,
                    why,
                },
            );
            return;
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
            None => self.start(slot, &attached, fresh, identity, known),
        }
    }

    /// A device that left one slot to re-enumerate came back in another: somebody moved it meanwhile.
    fn moved(&mut self, to: SlotNo, device: DeviceId) {
        let from = self.rack.slots.iter().find_map(|(no, slot)| match slot {
            Slot::AwaitingReturn {
                run, device: awaited, ..
            } if *no != to && *awaited == device => Some((*no, *run)),
            _ => None,
        });
        // A device that has not left that slot is another one with the same id.
        if let Some((from, run)) = from.filter(|(from, _)| self.found(*from).is_none()) {
            self.interrupt(run, Code::DeviceLost);
            self.set(from, Slot::Vacant);
        }
    }

    fn resume(&mut self, slot: SlotNo, attached: &Attached, run: RunId) {
        let Some(state) = self.run(run) else { return };
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
        let Some(prepared) = setting.book.for_platform(identity.platform) else {
            let why = format!("no recipe for platform {}", identity.platform);
            self.set(
                slot,
                Slot::Rejected {
                    attached: attached.clone(),
                    code: Code::NoRecipe,
                    why,
                },
            );
            return;
        };
        let hash = prepared.recipe.hash;
        let plan = if known.passed == Some(hash) {
            prepared.recheck()
        } else {
            prepared.plan()
        };
        self.fact(Fact::RunStarted {
            run,
            device: identity.device,
            slot,
            recipe: hash,
            plan,
            operator: setting.operator.clone(),
            work_order: setting.work_order.clone(),
            accepted: known
                .accepted
                .as_ref()
                .filter(|(_, product)| *product == prepared.recipe.product)
                .map(|(key, _)| *key),
        });
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
        match identity.protection {
            Protection::Open => self.go_on(slot, attached, run),
            Protection::Protected | Protection::Service => {
                let word = if identity.protection == Protection::Protected {
                    "protected"
                } else {
                    "protected and in Service Mode"
                };
                let why = format!("the device is {word}; nothing on it was read or changed");
                self.judge(slot, Some(attached.clone()), run, Verdict::Fail, Some(Code::Protected), why);
            }
        }
    }
}

/// The id in the serial number string that the operating system read, if it is one. Old bootloaders have a fixed text.
fn told_id(attached: &Attached) -> Option<DeviceId> {
    attached.serial.as_ref()?.trim().parse().ok()
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
