//! What a slot awaits. This state is the bench's, not the ledger's: after a start every slot is vacant, and the runs
//! wait for their devices.

use std::time::Duration;

use crate::{
    edge::Attached,
    model::{Code, DeviceId, Mono, Outcome, RunId, Verdict, platform::UsbMode},
};

use super::input::Ticket;

/// A slot, named for what it awaits.
#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    /// A device.
    Vacant,
    /// A device that was just plugged in to stay: contacts bounce.
    Settling {
        /// What was plugged in.
        attached: Attached,
        /// When it counts.
        until: Mono,
    },
    /// The answer of who it is.
    Identifying {
        /// The attachment that was asked.
        attached: Attached,
        /// How often it was asked.
        asked: u8,
        /// The longest to wait.
        deadline: Mono,
    },
    /// A worker's report.
    Running {
        /// Where the device is; `None` since it left the bus.
        attached: Option<Attached>,
        /// Of which order.
        ticket: Ticket,
        /// What the worker does.
        doing: Doing,
        /// Since when.
        since: Mono,
        /// When the worker is asked to end; later on, when it is given up.
        deadline: Mono,
        /// Whether it was asked to end, and why.
        cancelled: Cancelled,
    },
    /// The device, which re-enumerates.
    AwaitingReturn {
        /// The run.
        run: RunId,
        /// Who must come.
        device: DeviceId,
        /// In which mode.
        mode: UsbMode,
        /// The address that it had before; the same one is not yet its return. `None` if it has already left.
        left: Option<u16>,
        /// How often this was waited for, this time included.
        tries: u8,
        /// The step that ends when it is back, with its outcome and its start.
        ending: Option<(u8, Outcome, Mono)>,
        /// True if a person stopped the run meanwhile: it is judged when the device is back, or at the deadline.
        aborted: bool,
        /// The longest to wait.
        deadline: Mono,
    },
    /// The cloud, while the device is held as it is.
    AwaitingCloud {
        /// Where the device is.
        attached: Attached,
        /// The run.
        run: RunId,
        /// Index of the step in the plan.
        step: u8,
        /// Since when.
        since: Mono,
        /// The longest to wait.
        deadline: Mono,
        /// When to ask again, if something has to be asked.
        ask: Option<Mono>,
        /// How often it was asked.
        asked: u32,
        /// What the last look showed.
        shown: Shown,
    },
    /// The device to be taken out; its run ended.
    Judged {
        /// Where the device is.
        attached: Attached,
        /// The run.
        run: RunId,
        /// Its device.
        device: DeviceId,
        /// How it ended.
        verdict: Verdict,
    },
    /// An engineer, who lets new runs begin again: the line is stopped.
    Held {
        /// Where the device is.
        attached: Attached,
        /// The device.
        device: DeviceId,
    },
    /// The device to be taken out; no run began.
    Rejected {
        /// Where the device is.
        attached: Attached,
        /// The device, if it told who it is.
        device: Option<DeviceId>,
        /// Why.
        code: Code,
        /// Why, in words.
        why: String,
    },
    /// The device to be taken out; its run goes on when it is back.
    Set {
        /// Where the device is.
        attached: Attached,
        /// The run.
        run: RunId,
        /// Why it does not go on here and now.
        code: Code,
    },
}

/// What the last look of a proof showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing yet, or the last look failed, for this reason.
    Nothing(Code),
    /// The device, without a new session.
    NoSession,
    /// The device online without a new session, and its key did not change: it may have resumed its old one.
    Resumed,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// A step of the plan, by index.
    Step(u8),
    /// A change of mode before the next step.
    Change {
        /// The mode.
        to: UsbMode,
        /// How often it was tried, this time included.
        tries: u8,
    },
    /// Puts the old key back after a refusal. Nothing but the device's departure stops this.
    RollBack {
        /// How often it was tried, this time included.
        tries: u8,
    },
    /// Protects the device again before the verdict. Nothing but the device's departure stops this.
    Protect {
        /// How often it was tried, this time included.
        tries: u8,
    },
    /// Takes the bench network away before the verdict. Nothing but the device's departure stops this.
    CleanUp {
        /// Index of the step in the plan.
        step: u8,
        /// How often it was tried, this time included.
        tries: u8,
    },
}

impl Doing {
    /// True if the device is protected again before the verdict.
    pub(super) const fn protects(self) -> bool {
        matches!(self, Self::Protect { .. })
    }
}

/// Whether a worker was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// No.
    No,
    /// A person stopped the run.
    Aborted,
    /// The station comes to its end; the run goes on at the next start.
    Quit,
    /// Its deadline passed.
    Late,
}

impl Slot {
    /// The run in the slot, if one is under way there.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Slot::Running { ticket, .. } => Some(ticket.run),
            Slot::AwaitingReturn { run, .. } | Slot::AwaitingCloud { run, .. } => Some(*run),
            _ => None,
        }
    }

    /// When something has to be done although nothing happened.
    pub fn deadline(&self) -> Option<Mono> {
        match self {
            Slot::Settling { until, .. } => Some(*until),
            Slot::Identifying { deadline, .. } | Slot::Running { deadline, .. } | Slot::AwaitingReturn { deadline, .. } => {
                Some(*deadline)
            }
            Slot::AwaitingCloud { deadline, ask, .. } => Some(ask.map_or(*deadline, |at| at.min(*deadline))),
            Slot::Vacant | Slot::Judged { .. } | Slot::Held { .. } | Slot::Rejected { .. } | Slot::Set { .. } => None,
        }
    }

    /// The attachment that the slot counts on, if any.
    pub fn attached(&self) -> Option<&Attached> {
        match self {
            Slot::Vacant | Slot::AwaitingReturn { .. } => None,
            Slot::Running { attached, .. } => attached.as_ref(),
            Slot::Settling { attached, .. }
            | Slot::Identifying { attached, .. }
            | Slot::AwaitingCloud { attached, .. }
            | Slot::Judged { attached, .. }
            | Slot::Held { attached, .. }
            | Slot::Rejected { attached, .. }
            | Slot::Set { attached, .. } => Some(attached),
        }
    }

    /// True if nothing is under way here.
    pub fn idle(&self) -> bool {
        matches!(
            self,
            Slot::Vacant | Slot::Judged { .. } | Slot::Held { .. } | Slot::Rejected { .. } | Slot::Set { .. }
        )
    }
}

/// How long a device must stay before it counts: contacts bounce, and udev sets permissions a moment after the device
/// appears.
pub(super) const SETTLE: Duration = Duration::from_millis(250);
/// The longest that a device may take to tell who it is.
pub(super) const IDENTIFY: Duration = Duration::from_secs(30);
/// How often a device is asked who it is.
pub(super) const IDENTIFY_TRIES: u8 = 3;
/// How long a worker that was asked to end may take before it is given up.
pub(super) const GRACE: Duration = Duration::from_secs(15);
