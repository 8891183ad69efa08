//! What a worker's report means for the run.

use crate::{
    edge::Attached,
    model::{Code, Fact, Mono, RunId, SlotNo, StepError, Verdict},
};

use super::{
    Ending,
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
        match result {
            Ok(report) => self.done(slot, attached, ticket.run, doing, since, report),
            Err(error) => self.failed(slot, attached, ticket.run, doing, since, cancelled, error),
        }
    }

    fn done(&mut self, slot: SlotNo, attached: Option<Attached>, id: RunId, doing: Doing, since: Mono, report: &Report) {
        let Some(run) = self.run(id) else { return };
        let step = if let Doing::Step(step) = doing { Some(step) } else { None };
        if let After::Returns { mode, within } = report.after {
            self.set(
                slot,
                Slot::AwaitingReturn {
                    run: id,
                    device: run.device,
                    mode,
                    left: attached.map(|a| a.address),
                    tries: if let Doing::Change { tries, .. } = doing { tries } else { 1 },
                    ending: step.map(|step| (step, report.outcome.clone(), since)),
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
        if doing == Doing::RollBack {
            return self.rolled_back(slot, attached, &run);
        }
        match attached {
            Some(attached) => self.go_on(slot, &attached, id),
            None => self.lost(slot, id, Code::DeviceLost),
        }
    }

    fn rolled_back(&mut self, slot: SlotNo, attached: Option<Attached>, run: &Run) {
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

    #[expect(clippy::too_many_arguments, reason = "the parts of one slot state")]
    fn failed(
        &mut self,
        slot: SlotNo,
        attached: Option<Attached>,
        id: RunId,
        doing: Doing,
        since: Mono,
        cancelled: Cancelled,
        error: &StepError,
    ) {
        match (attached, error.code) {
            (None, _) => self.lost(slot, id, Code::DeviceLost),
            (Some(_), Code::DeviceSwapped) => self.lost(slot, id, Code::DeviceSwapped),
            // The device went away and the bus has not said so yet.
            (Some(attached), Code::DeviceLost) => {
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
            (Some(attached), Code::Stopped) if cancelled == Cancelled::ByPerson => self.stopped(slot, attached, id),
            (Some(attached), code) => {
                let late = StepError {
                    code: Code::StepTimeout,
                    ..error.clone()
                };
                let error = if code == Code::Stopped { &late } else { error };
                match doing {
                    Doing::Step(step) => self.step_failed(slot, Some(attached), id, step, since, error),
                    Doing::Change { to, tries } if error.transient() && tries < TRIES => {
                        self.change(slot, &attached, id, to, tries + 1)
                    }
                    Doing::Change { .. } => self.fail(slot, Some(attached), id, error),
                    Doing::RollBack => {
                        let why = format!("the cloud refused the new key, and the old one could not be put back: {error}");
                        self.judge(slot, Some(attached), id, Verdict::Quarantined, Some(Code::StateUnknown), why);
                    }
                }
            }
        }
    }

    /// The device is gone, or another one is there: the run waits, and whoever is in the slot now is looked at afresh.
    fn lost(&mut self, slot: SlotNo, run: RunId, code: Code) {
        self.interrupt(run, code);
        let found = self.found(slot);
        self.settle(slot, found.as_ref());
    }

    fn stopped(&mut self, slot: SlotNo, attached: Attached, run: RunId) {
        if self.rack.ending == Some(Ending::Quit) {
            self.interrupt(run, Code::Stopped);
            return self.set(
                slot,
                Slot::Set {
                    attached,
                    run,
                    code: Code::Stopped,
                },
            );
        }
        let unsettled = self.run(run).is_some_and(|r| {
            r.keys.overwrote_valid() && !r.keys.restored && r.keys.accepted.map(|(key, _)| key) != r.keys.present()
        });
        if unsettled {
            let why = "stopped while the new key was not yet accepted by the cloud".to_owned();
            self.judge(slot, Some(attached), run, Verdict::Quarantined, Some(Code::StateUnknown), why);
        } else {
            self.judge(
                slot,
                Some(attached),
                run,
                Verdict::Aborted,
                Some(Code::Stopped),
                "a person stopped the run".to_owned(),
            );
        }
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
        let Some(run) = self.run(id) else { return };
        let took_ms = u64::try_from(self.now.since(since).as_millis()).unwrap_or(u64::MAX);
        self.fact(Fact::StepFailed {
            run: id,
            step,
            attempt: attempts(&run, step),
            error: error.clone(),
            took_ms,
        });
        let failures = self
            .run(id)
            .and_then(|run| run.steps.get(usize::from(step)).map(|s| s.failures))
            .unwrap_or(TRIES);
        match attached {
            Some(attached) if error.transient() && failures < TRIES => self.go_on(slot, &attached, id),
            attached => self.fail(slot, attached, id, error),
        }
    }
}
