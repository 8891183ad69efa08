//! An immutable picture of the station, for screens and for the summary.

use crate::model::{Code, DeviceId, RunId, SlotNo, StepKind, Verdict, outbox::ItemState};

use super::{
    Rack,
    run::{State, StepState},
    slot::{Doing, Slot},
};

/// The station at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RackView {
    /// Each slot.
    pub slots: Vec<SlotView>,
    /// Runs that wait for their device.
    pub interrupted: Vec<(RunId, DeviceId, Code)>,
    /// Items that may be sent but are not settled.
    pub owed: usize,
    /// Why nothing is sent, if the token is not accepted.
    pub locked: Option<String>,
}

/// One slot at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotView {
    /// Its number.
    pub slot: SlotNo,
    /// Its state in one word.
    pub word: &'static str,
    /// Its device, if known.
    pub device: Option<DeviceId>,
    /// The run in it, if any.
    pub run: Option<RunId>,
    /// What is being done.
    pub step: Option<StepKind>,
    /// Its number in the plan, from 1, and the length of the plan.
    pub progress: Option<(u8, u8)>,
    /// How the run ended, if it did.
    pub verdict: Option<Verdict>,
    /// Why, unless it simply passed.
    pub code: Option<Code>,
    /// Why, in words.
    pub why: String,
}

impl Rack {
    /// A picture of the station.
    pub fn view(&self) -> RackView {
        RackView {
            slots: self.slots.iter().map(|(no, slot)| self.slot_view(*no, slot)).collect(),
            interrupted: self
                .runs()
                .filter_map(|run| {
                    if let State::Interrupted(code) = run.state {
                        Some((run.id, run.device, code))
                    } else {
                        None
                    }
                })
                .collect(),
            owed: self.outbox.open().filter(|entry| entry.state != ItemState::Held).count(),
            locked: self.outbox.locked.clone(),
        }
    }

    fn slot_view(&self, no: SlotNo, slot: &Slot) -> SlotView {
        let mut view = SlotView {
            slot: no,
            word: word(slot),
            device: None,
            run: slot.run(),
            step: None,
            progress: None,
            verdict: None,
            code: None,
            why: String::new(),
        };
        match slot {
            Slot::Judged {
                run, device, verdict, ..
            } => {
                (view.run, view.device, view.verdict) = (Some(*run), Some(*device), Some(*verdict));
                if let Some(State::Ended { code, why, .. }) = self.run(*run).map(|run| &run.state) {
                    (view.code, view.why) = (*code, why.clone());
                }
            }
            Slot::Rejected { code, why, .. } => (view.code, view.why) = (Some(*code), why.clone()),
            Slot::Set { run, code, .. } => {
                (view.run, view.code, view.why) = (Some(*run), Some(*code), code.what().to_owned());
            }
            _ => {}
        }
        if let Some(run) = view.run.and_then(|run| self.run(run)) {
            view.device = Some(run.device);
            let at = match slot {
                Slot::Running {
                    doing: Doing::RollBack { .. },
                    ..
                } => {
                    view.step = Some(StepKind::RollBack);
                    None
                }
                Slot::Running {
                    doing: Doing::CleanUp { step, .. },
                    ..
                } => Some(usize::from(*step)),
                _ => run.steps.iter().position(|s| !matches!(s.state, StepState::Ended(_))),
            };
            if let Some(i) = at {
                view.step = Some(run.steps[i].kind);
                view.progress = u8::try_from(i + 1).ok().zip(u8::try_from(run.steps.len()).ok());
            }
        }
        view
    }
}

fn word(slot: &Slot) -> &'static str {
    match slot {
        Slot::Vacant => "vacant",
        Slot::Settling { .. } => "settling",
        Slot::Identifying { .. } => "identifying",
        Slot::Running { .. } => "running",
        Slot::AwaitingReturn { .. } => "restarting",
        Slot::AwaitingCloud { .. } => "waiting for the cloud",
        Slot::Judged { verdict, .. } => verdict.word(),
        Slot::Rejected { .. } => "rejected",
        Slot::Set { .. } => "waiting to be taken out",
    }
}
