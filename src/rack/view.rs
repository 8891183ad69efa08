//! An immutable picture of the station, for screens and for the summary.

use std::sync::Arc;

use crate::model::{
    Code, DeviceId, Platform, ProductId, RunId, SlotNo, StepKind, Verdict, Wall,
    outbox::ItemState,
    recipe::{Sha256, WorkOrder},
};

pub use super::shift::Stopped;

use super::{
    Ending, Ordered, Rack,
    run::{Run, State, StepState},
    slot::{Cancelled, Doing, Slot},
};

/// The station at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RackView {
    /// Each slot.
    pub slots: Vec<SlotView>,
    /// Runs that wait for their device.
    pub interrupted: Vec<(RunId, DeviceId, Code)>,
    /// Items that may be sent but are not settled, and packets that owe one soon.
    pub owed: usize,
    /// Why nothing is sent, if the token is not accepted.
    pub locked: Option<String>,
    /// How far the work order is, if there is one.
    pub order: Option<Ordered>,
    /// How the station is coming to its end, if it is.
    pub ending: Option<Ending>,
    /// Who is at the station.
    pub operator: Option<String>,
    /// What is worked on.
    pub work_order: Option<WorkOrder>,
    /// Why no new run begins, if the line is stopped.
    pub stopped: Option<Stopped>,
    /// What a person may ask for.
    pub role: Role,
    /// The recipes among which an engineer can choose, in order.
    pub recipes: Vec<RecipeView>,
}

/// A recipe of the station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeView {
    /// Its name.
    pub name: String,
    /// The platform that it is for.
    pub platform: Platform,
    /// Its hash.
    pub hash: Sha256,
    /// The product.
    pub product: Option<ProductId>,
    /// The files of its firmware.
    pub firmware: Vec<String>,
    /// True if new runs on its platform are under it.
    pub counts: bool,
}

/// What a person at the station may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Everything: there are no PINs here.
    #[default]
    Anybody,
    /// What operators may.
    Operator {
        /// When the next PIN may be tried, if that is not now.
        next_pin: Option<Wall>,
    },
    /// Everything, after a PIN.
    Engineer {
        /// Who.
        name: String,
        /// Until then.
        until: Wall,
    },
}

/// What a slot awaits, without what only the core needs to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Awaits {
    /// A device.
    #[default]
    Device,
    /// A device that was just plugged in to stay.
    Settling,
    /// The answer of who it is.
    Identity,
    /// The end of a step.
    Step,
    /// The device, which re-enumerates.
    Return,
    /// The cloud, while the device is held as it is.
    Cloud,
    /// The judged device to be taken out.
    Removal(Verdict),
    /// An engineer, who lets new runs begin again: the line is stopped.
    Line,
    /// The device to be taken out; no run began.
    Rejected,
    /// The device to be taken out; its run goes on when it is back.
    Set,
}

impl Awaits {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Device => "vacant",
            Self::Settling => "settling",
            Self::Identity => "identifying",
            Self::Step => "running",
            Self::Return => "restarting",
            Self::Cloud => "waiting for the cloud",
            Self::Removal(verdict) => verdict.word(),
            Self::Line => "line stopped",
            Self::Rejected => "rejected",
            Self::Set => "waiting to be taken out",
        }
    }

    /// True if something is under way.
    pub const fn busy(self) -> bool {
        matches!(
            self,
            Self::Settling | Self::Identity | Self::Step | Self::Return | Self::Cloud
        )
    }
}

/// What the cloud said to the key of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Registration {
    /// It is owed, and nothing went out yet.
    Queued,
    /// It went out, and no definite answer came yet.
    Asked,
    /// It was accepted.
    Registered,
    /// It was refused for good.
    Refused,
}

/// One slot at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotView {
    /// Its number.
    pub slot: SlotNo,
    /// Its state in one word.
    pub word: &'static str,
    /// What it awaits.
    pub awaits: Awaits,
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
    /// All that is known of the run, shared with the core.
    pub detail: Option<Arc<Run>>,
    /// How far the key of the run is with the cloud.
    pub cloud: Option<Registration>,
    /// True if the device is held in DFU mode until the cloud has answered (ARCHITECTURE.md 4.4).
    pub held: bool,
    /// True if a person asked the run to end at its next safe point.
    pub stopping: bool,
}

impl SlotView {
    /// A slot of which nothing is known but what it awaits.
    pub fn awaiting(slot: SlotNo, awaits: Awaits) -> Self {
        Self {
            slot,
            word: awaits.word(),
            awaits,
            device: None,
            run: None,
            step: None,
            progress: None,
            verdict: None,
            code: None,
            why: String::new(),
            detail: None,
            cloud: None,
            held: false,
            stopping: false,
        }
    }

    /// What is under way here, in words, for whoever asks the station to stop.
    pub fn under_way(&self) -> Option<String> {
        let device = self.device.map(|device| format!(" {}", device.short())).unwrap_or_default();
        let step = self.step.map(|step| format!(" ({step})")).unwrap_or_default();
        match self.awaits {
            _ if self.held => Some(format!("slot {}{device}: held in DFU mode{step}", self.slot)),
            Awaits::Step | Awaits::Return | Awaits::Cloud => Some(format!("slot {}{device}: {}{step}", self.slot, self.word)),
            _ => None,
        }
    }

    /// Takes over what a run tells of itself: whose it is, where it stands, what it does now.
    pub(super) fn of_run(&mut self, run: &Arc<Run>, doing: Option<&Doing>) {
        self.device = Some(run.device);
        let at = match doing {
            Some(Doing::RollBack { .. }) => {
                self.step = Some(StepKind::RollBack);
                None
            }
            Some(Doing::Protect { .. }) => {
                self.step = Some(StepKind::ProtectAgain);
                None
            }
            Some(Doing::CleanUp { step, .. }) => Some(usize::from(*step)),
            _ => run.steps.iter().position(|s| !matches!(s.state, StepState::Ended(_))),
        };
        if let Some(i) = at {
            self.step = Some(run.steps[i].kind);
            self.progress = u8::try_from(i + 1).ok().zip(u8::try_from(run.steps.len()).ok());
        }
        self.held = self.awaits == Awaits::Cloud
            && matches!(
                self.step,
                Some(StepKind::Register | StepKind::RegisterPresent | StepKind::Secure | StepKind::GiveBack)
            );
        self.detail = Some(Arc::clone(run));
    }
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
            owed: self.outbox.open().filter(|entry| entry.state != ItemState::Held).count() + self.unasked().count(),
            locked: self.outbox.locked.clone(),
            order: self.ordered(),
            ending: self.ending,
            operator: self.shift.operator.clone(),
            work_order: self.shift.work_order.clone(),
            stopped: self.shift.stopped.clone(),
            role: self.role(),
            recipes: self.recipes(),
        }
    }

    fn role(&self) -> Role {
        match &self.engineer {
            _ if !self.pins => Role::Anybody,
            Some(engineer) => Role::Engineer {
                name: engineer.name.clone(),
                until: engineer.until,
            },
            None => Role::Operator {
                next_pin: self.shift.pin_wait_ends(),
            },
        }
    }

    fn slot_view(&self, no: SlotNo, slot: &Slot) -> SlotView {
        let mut view = SlotView {
            run: slot.run(),
            ..SlotView::awaiting(no, awaits(slot))
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
            Slot::Rejected { device, code, why, .. } => {
                (view.device, view.code, view.why) = (*device, Some(*code), why.clone());
            }
            Slot::Held { device, .. } => view.device = Some(*device),
            Slot::Set { run, code, .. } => {
                (view.run, view.code, view.why) = (Some(*run), Some(*code), code.what().to_owned());
            }
            _ => {}
        }
        let (doing, cancelled) = match slot {
            Slot::Running { doing, cancelled, .. } => (Some(doing), *cancelled),
            _ => (None, Cancelled::No),
        };
        view.stopping = match slot {
            Slot::AwaitingReturn { aborted, .. } => *aborted,
            _ => matches!(cancelled, Cancelled::Aborted | Cancelled::Quit),
        };
        if let Some(run) = view.run.and_then(|run| self.runs.get(&run)) {
            view.of_run(run, doing);
            view.cloud = self.registration(run);
        }
        view
    }

    /// How far the key of a run is with the cloud; none if it owes none.
    pub(super) fn registration(&self, run: &Run) -> Option<Registration> {
        let mut told = run.keys.accepted.map(|_| Registration::Registered);
        for entry in self.outbox.of(run.id).filter(|entry| entry.key().is_some()) {
            told = match entry.state {
                ItemState::Refused => Some(Registration::Refused),
                ItemState::Sent => Some(Registration::Asked),
                ItemState::Queued if entry.attempts > 0 => Some(Registration::Asked),
                ItemState::Queued => Some(Registration::Queued),
                ItemState::Held | ItemState::Accepted | ItemState::Withdrawn => told,
            };
        }
        told
    }
}

fn awaits(slot: &Slot) -> Awaits {
    match slot {
        Slot::Vacant => Awaits::Device,
        Slot::Settling { .. } => Awaits::Settling,
        Slot::Identifying { .. } => Awaits::Identity,
        Slot::Running { .. } => Awaits::Step,
        Slot::AwaitingReturn { .. } => Awaits::Return,
        Slot::AwaitingCloud { .. } => Awaits::Cloud,
        Slot::Judged { verdict, .. } => Awaits::Removal(*verdict),
        Slot::Held { .. } => Awaits::Line,
        Slot::Rejected { .. } => Awaits::Rejected,
        Slot::Set { .. } => Awaits::Set,
    }
}
