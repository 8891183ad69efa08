//! What a worker's report means for the run.

use crate::{
    edge::Attached,
    model::{Code, Fact, Mono, RunId, SlotNo, StepError, Verdict},
};

use super::{
    input::{After, Report, Ticket},
    run::Run,
    slot::{Cancelled, Doing, Slot},
    turn::{TRIES, Turn, attempts, ended},
};

impl Turn {
    /// A worker finished an order, well or not. The answer of an abandoned attempt is dropped.
    pub(super) fn report(&mut self, slot: SlotNo, ticket: Ticket, result: &Result<Report, StepError>) {
        let Slot::Running {
            attached,
            ticket: current,
            doing,
            since,
            cancelled,
            ..
        } = self.slot(slot).clone()
        else {
            return;
        };
        if current != ticket {
            return;
        }
        let order = Reported {
            slot,
            attached,
            run: ticket.run,
            doing,
            since,
            cancelled,
        };
        match result {
            Ok(report) => self.done(order, report),
            Err(error) => self.failed(order, error),
        }
    }

    fn done(&mut self, order: Reported, report: &Report) {
        let Reported {
            slot,
            attached,
            run: id,
            doing,
            since,
            cancelled,
        } = order;
        let Some(run) = self.run(id) else { return };
        let step = match doing {
            Doing::Step(step) | Doing::CleanUp { step, .. } => Some(step),
            Doing::Change { .. } | Doing::RollBack { .. } | Doing::Protect { .. } => None,
        };
        let stop = matches!(cancelled, Cancelled::Aborted | Cancelled::Quit);
        if let (After::Needs(mode), Some(attached)) = (report.after, &attached) {
            return match stop && !doing.protects() {
                true => self.stopped(slot, Some(attached.clone()), id, cancelled),
                false => self.change(slot, attached, id, mode, 1),
            };
        }
        if let (After::NeedsUpload, Some(step), Some(attached)) = (report.after, step, &attached) {
            return match stop {
                true => self.stopped(slot, Some(attached.clone()), id, cancelled),
                false => self.wait_for_upload(slot, attached, id, step, since),
            };
        }
        if let After::Returns { mode, within } = report.after {
            if cancelled == Cancelled::Quit {
                return self.stopped(slot, None, id, cancelled);
            }
            self.set(
                slot,
                Slot::AwaitingReturn {
                    run: id,
                    device: run.device,
                    mode,
                    left: attached.map(|a| a.address),
                    tries: if let Doing::Change { tries, .. } = doing { tries } else { 1 },
                    ending: step.map(|step| (step, report.outcome.clone(), since)),
                    aborted: stop,
                    deadline: self.now + within,
                },
            );
            return self.look(slot);
        }
        if let Some(step) = step {
            self.fact(ended(
                id,
                step,
                attempts(&run, step),
                report.outcome.clone(),
                self.now.since(since),
            ));
        }
        match doing {
            Doing::RollBack { .. } => self.rolled_back(slot, attached, &run),
            Doing::CleanUp { .. } => self.cleaned_up(slot, attached, id),
            Doing::Protect { .. } => self.pronounce_sentence(slot, attached, id),
            Doing::Step(_) | Doing::Change { .. } if stop => self.stopped(slot, attached, id, cancelled),
            Doing::Step(_) | Doing::Change { .. } => match attached {
                Some(attached) => self.go_on(slot, &attached, id),
                None => self.lost(slot, id, Code::DeviceLost),
            },
        }
    }

    /// The old key is back after a refusal: the verdict.
    pub(super) fn rolled_back(&mut self, slot: SlotNo, attached: Option<Attached>, run: &Run) {
        let refusal = run.steps.iter().find_map(|s| {
            if let super::run::StepState::Failed(e) = &s.state {
                Some(e.to_string())
            } else {
                None
            }
        });
        let why = format!(
            "{}; the old key is back on the device",
            refusal.unwrap_or_else(|| "the cloud refused the new key".to_owned())
        );
        self.judge(
            slot,
            attached,
            run.id,
            Verdict::RolledBack,
            Some(Code::RolledBackRefused),
            why,
        );
    }

    fn failed(&mut self, order: Reported, error: &StepError) {
        let Reported {
            slot,
            attached,
            run: id,
            doing,
            since,
            cancelled,
        } = order;
        let stop = matches!(cancelled, Cancelled::Aborted | Cancelled::Quit);
        let gone = attached.is_none() || matches!(error.code, Code::DeviceSwapped | Code::DeviceLost);
        match (attached, doing) {
            // The verdict does not wait for a device that is gone.
            (_, Doing::CleanUp { .. } | Doing::Protect { .. }) if gone => self.pronounce_sentence(slot, None, id),
            (_, _) if gone && cancelled == Cancelled::Aborted => self.stopped(slot, None, id, cancelled),
            (None, _) => self.lost(slot, id, Code::DeviceLost),
            (Some(_), _) if error.code == Code::DeviceSwapped => self.lost(slot, id, Code::DeviceSwapped),
            // The device went away and the bus has not said so yet.
            (Some(attached), _) if gone => {
                self.interrupt(id, Code::DeviceLost);
                self.set(
                    slot,
                    Slot::Set {
                        attached,
                        run: id,
                        code: Code::DeviceLost,
                    },
                );
            }
            (Some(attached), Doing::Step(_) | Doing::Change { .. }) if stop => {
                if let (Doing::Step(step), false) = (doing, error.code == Code::Stopped) {
                    self.step_failure(id, step, since, error);
                }
                self.stopped(slot, Some(attached), id, cancelled);
            }
            (Some(attached), doing) => self.failed_in_place(slot, attached, id, doing, since, error),
        }
    }

    /// An order failed, its device is there, and nobody stopped it: the deadline did, or it failed by itself.
    fn failed_in_place(&mut self, slot: SlotNo, attached: Attached, id: RunId, doing: Doing, since: Mono, error: &StepError) {
        let late = StepError {
            code: Code::StepTimeout,
            ..error.clone()
        };
        let error = if error.code == Code::Stopped { &late } else { error };
        let lost = self.as_service_lost(id, doing, error);
        let error = lost.as_ref().unwrap_or(error);
        match doing {
            Doing::Change { .. } | Doing::RollBack { .. } if lost.is_some() => {
                self.service_lost_between(slot, attached, id, since, error);
            }
            Doing::Protect { tries } => self.protect_failed(slot, attached, id, tries, error),
            Doing::Step(step) => self.step_failed(slot, Some(attached), id, step, since, error),
            Doing::Change { to, tries } if error.transient() && tries < TRIES => {
                self.change(slot, &attached, id, to, tries + 1);
            }
            Doing::Change { .. } => self.fail(slot, Some(attached), id, error),
            Doing::CleanUp { step, tries } => {
                self.step_failure(id, step, since, error);
                self.clean_up_failed(slot, attached, id, tries, error);
            }
            Doing::RollBack { tries } => match self.run(id) {
                Some(run) if error.transient() && tries < TRIES => self.roll_back(slot, &attached, &run, tries + 1),
                _ => {
                    let why = format!("the cloud refused the new key, and the old one could not be put back: {error}");
                    self.judge(slot, Some(attached), id, Verdict::Quarantined, Some(Code::StateUnknown), why);
                }
            },
        }
    }

    /// The device is gone, or another one is there: the run waits, and whoever is in the slot now is looked at afresh.
    fn lost(&mut self, slot: SlotNo, run: RunId, code: Code) {
        self.interrupt(run, code);
        self.settle_found(slot);
    }

    /// A step failed: again, if that may help; else the run is judged.
    pub(super) fn step_failed(
        &mut self,
        slot: SlotNo,
        attached: Option<Attached>,
        id: RunId,
        step: u8,
        since: Mono,
        error: &StepError,
    ) {
        self.step_failure(id, step, since, error);
        let failures = self
            .run(id)
            .and_then(|run| run.steps.get(usize::from(step)).map(|s| s.failures))
            .unwrap_or(TRIES);
        match attached {
            Some(attached) if error.transient() && failures < TRIES => self.go_on(slot, &attached, id),
            attached => self.fail(slot, attached, id, error),
        }
    }
    /// Puts a failure of a step on record.
    pub(super) fn step_failure(&mut self, run: RunId, step: u8, since: Mono, error: &StepError) {
        let attempt = self.run(run).map_or(1, |state| attempts(&state, step));
        self.fact(Fact::StepFailed {
            run,
            step,
            attempt,
            error: error.clone(),
            took_ms: u64::try_from(self.now.since(since).as_millis()).unwrap_or(u64::MAX),
        });
    }
}

/// An order that a worker reported on, with what its slot knew.
struct Reported {
    slot: SlotNo,
    attached: Option<Attached>,
    run: RunId,
    doing: Doing,
    since: Mono,
    cancelled: Cancelled,
}
