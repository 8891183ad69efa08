//! What happens on the bench: devices come and go, and deadlines pass. It owns what either means in each state of a slot.

use std::sync::Arc;

use crate::{
    edge::Attached,
    model::{Code, DeviceId, Mono, Outcome, RunId, SlotNo, StepError, StepKind, platform::UsbMode},
};

use super::{
    Effect, Ending,
    run::State,
    slot::{Cancelled, Doing, GRACE, SETTLE, Slot},
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
            | Slot::Held { attached, .. }
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
                let Some(found) = found else { return self.has_left(slot) };
                if Some(found.address) == left {
                    return;
                }
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

    /// The device that is waited for is off the bus: whatever comes there now is its return. On a full controller its old
    /// address is the next free one before long.
    fn has_left(&mut self, slot: SlotNo) {
        if let Some(Slot::AwaitingReturn { left, .. }) = self.rack.slots.get_mut(&slot) {
            *left = None;
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
                    self.reject(slot, attached, None, Code::Wedged, why);
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
                Slot::Vacant | Slot::Judged { .. } | Slot::Held { .. } | Slot::Rejected { .. } | Slot::Set { .. } => {}
            }
        }
        self.engineer_goes_in_time();
    }

    /// A worker did not end when told to. A late action is worse than a late answer: the device is not opened again before
    /// it left the bus.
    fn give_up_worker(&mut self, slot: SlotNo, attached: Option<Attached>, run: RunId, doing: Doing) {
        self.effects.push(Effect::Abandon(slot));
        match doing {
            Doing::CleanUp { .. } | Doing::Protect { .. } => return self.pronounce_sentence(slot, attached, run),
            _ => {}
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
}

/// The id in the serial number string that the operating system read, if it is one. Old bootloaders have a fixed text.
fn told_id(attached: &Attached) -> Option<DeviceId> {
    attached.serial.as_ref()?.trim().parse().ok()
}
