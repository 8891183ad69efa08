//! Everything that can happen to the core, and everything that it can ask for.

use std::time::Duration;

use crate::{
    edge::Attached,
    model::{
        Code, DeviceId, Fact, Fingerprint, Outcome, ProductId, PublicKey, RunId, SlotNo, StationId, StepError, StepKind, Wall,
        fact::Identity,
        outbox::{Answer, Errand, ItemId, Looked},
        platform::UsbMode,
        recipe::{Sha256, WorkOrder},
        survey::{OwnerKind, Survey},
    },
};

/// One stimulus. All of them reach the core through one channel, in one order.
#[derive(Clone, Debug)]
pub enum Input {
    /// What is plugged in now, whole.
    Bus(Vec<Attached>),
    /// A worker found out who is in the slot, or could not.
    Identified {
        /// The slot.
        slot: SlotNo,
        /// The address of the attachment that was asked; another one by now makes the answer stale.
        address: u16,
        /// The id of the run that begins, if one does: the core has neither clock nor randomness.
        fresh: RunId,
        /// What it told.
        result: Result<Identity, StepError>,
        /// What the ledger knows of the device.
        known: Known,
    },
    /// A worker wants a fact on disk before it goes on.
    Commit {
        /// The slot.
        slot: SlotNo,
        /// Of which attempt.
        ticket: Ticket,
        /// The fact.
        fact: Fact,
        /// Other devices that the ledger knows with the key in the fact.
        owners: Vec<DeviceId>,
    },
    /// A worker finished an order.
    Report {
        /// The slot.
        slot: SlotNo,
        /// Of which attempt.
        ticket: Ticket,
        /// How it went.
        result: Result<Report, StepError>,
    },
    /// The uplink finished the call on this line, and these are the answers to it: one for each item of an import, none
    /// where nothing is answered.
    Cloud(Line, Vec<Reply>),
    /// A person asked for something.
    Command(Command),
    /// A person asked for something about which the ledger has a word.
    Informed {
        /// What.
        command: Command,
        /// What the ledger knows.
        lore: Lore,
    },
    /// Somebody gave a PIN: whose it is, if it is one.
    Pin(Option<String>),
    /// A deadline may have passed.
    Tick,
}

/// What the ledger knows of a device when it is identified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The recipe under which its last run passed, if its last verdict was PASS.
    pub passed: Option<Sha256>,
    /// The key that the cloud accepted last, and for which product.
    pub accepted: Option<(Fingerprint, Option<ProductId>)>,
    /// Its last run, if that ended QUARANTINED and no person has released it.
    pub quarantined: Option<RunId>,
    /// It was in Service Mode, and has not shown since that it is protected.
    pub unprotected: bool,
    /// The pair that was given to the station for it.
    pub given: Option<Offered>,
}

/// The public half of a pair that was given to the station for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The key.
    pub key: PublicKey,
    /// Devices that the ledger knows with it.
    pub owners: Vec<DeviceId>,
}

/// Which attempt an order belongs to. A late answer of an abandoned attempt is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The run.
    pub run: RunId,
    /// Counts the orders of the run since the station started.
    pub order: u32,
}

/// How an order of a worker went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How the step ended; a change of mode is always `Done`.
    pub outcome: Outcome,
    /// What the device does next.
    pub after: After,
}

/// What a device does after an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays as it is.
    Stays,
    /// It stays as it is, and the step is not done: it has to be performed in this mode.
    Needs(UsbMode),
    /// It stays as it is, and the step is not done: the cloud has to take the new key first, with which the device signs.
    NeedsUpload,
    /// It leaves the bus and comes back in this mode.
    Returns {
        /// The mode.
        mode: UsbMode,
        /// The longest that it may be away.
        within: Duration,
    },
}

/// A line to the cloud, by its number: one call at a time is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line(pub u16);

/// An answer of the uplink.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To [`Call::Upload`] or, for one device, to [`Call::Import`].
    Item {
        /// Which item.
        item: ItemId,
        /// Which attempt.
        attempt: u32,
        /// The answer.
        answer: Answer,
    },
    /// To [`Call::Admit`].
    Admitted {
        /// The run.
        run: RunId,
        /// What was found.
        result: Admitted,
    },
    /// To [`Call::Survey`].
    Surveyed {
        /// The run.
        run: RunId,
        /// What was found.
        survey: Survey,
    },
    /// To [`Call::Secure`].
    Secured {
        /// The run.
        run: RunId,
        /// The SHA-256 of the sealed restore data, or why the device must not be taken from its owner.
        result: Result<Sha256, Answer>,
    },
    /// To [`Call::Look`].
    Looked {
        /// What the look was for.
        about: About,
        /// What was found.
        found: Looked,
    },
}

/// What the cloud says to a device before anything is changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Admitted {
    /// Go on.
    Yes {
        /// Sentences worth showing.
        notes: Vec<String>,
        /// The last session of the device, if it had one.
        handshake_at: Option<Wall>,
    },
    /// No: the recipe cannot work for this device.
    No {
        /// Why, as a stable code.
        code: Code,
        /// Why, in words.
        reason: String,
    },
    /// It could not be found out.
    Failed(Answer),
}

/// What the ledger knows that bears on what a person asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lore {
    /// The serial number of the device that it is about.
    pub serial: Option<String>,
    /// The devices with the serial number on the label.
    pub owners: Vec<DeviceId>,
    /// The work order of this name, as it was recorded last.
    pub work_order: Option<WorkOrder>,
    /// The devices that are done for that order.
    pub done: Vec<DeviceId>,
    /// The last run of the device, if that ended QUARANTINED and no person has released it.
    pub quarantined: Option<RunId>,
    /// Runs of the device with an undo copy that is not destroyed.
    pub copies: Vec<RunId>,
    /// Whether there are PINs, where that was looked at: the first one may have been set since the start.
    pub pins: Option<bool>,
}

/// What came of what a person asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// True if it is done, or begins.
    pub done: bool,
    /// What, or why not, in words.
    pub text: String,
}

/// What a person can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop the run in this slot at its next safe point.
    Abort(SlotNo),
    /// Start no new run; end when the present ones are judged.
    Finish,
    /// Stop at the next safe points; runs go on at the next start.
    Quit,
    /// The token was renewed: send again.
    TokenRenewed,
    /// Somebody else is at the station, or nobody.
    Operator(Option<String>),
    /// Something else is worked on, or nothing that was ordered.
    WorkOrder(Option<OrderName>),
    /// The label of the device in this slot has this serial number.
    Label {
        /// The slot.
        slot: SlotNo,
        /// The serial number.
        serial: String,
    },
    /// The engineer goes.
    EngineerLeaves,
    /// New runs begin again although failures were equal.
    ReleaseLine {
        /// Why, in words.
        why: String,
    },
    /// A device that ended QUARANTINED may run again.
    Release {
        /// The device.
        device: DeviceId,
        /// Why, in words.
        why: String,
    },
    /// The next run of the device is a repair; it begins at once where the device is in a slot.
    Repair(DeviceId),
    /// Send what is owed now, where nothing but our own patience holds it back.
    Retry,
    /// New runs on a platform are under this recipe of the station's from now on, and with it product and firmware.
    UseRecipe {
        /// Its name.
        name: String,
        /// Why, in words.
        why: String,
    },
    /// A step of the run in this slot is left out, if it may be and has not begun.
    LeaveOut {
        /// The slot.
        slot: SlotNo,
        /// The number of the step in the plan, from 1.
        step: u8,
        /// Why, in words.
        why: String,
    },
    /// PINs were set or taken away.
    PinsSet,
}

/// A work order as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderName {
    /// Its number or name.
    pub id: String,
    /// How many devices are ordered, if that was said, too.
    pub quantity: Option<u32>,
}

impl Command {
    /// True if only engineers may ask for it.
    pub const fn is_engineers(&self) -> bool {
        match self {
            Self::ReleaseLine { .. }
            | Self::Release { .. }
            | Self::Repair(_)
            | Self::UseRecipe { .. }
            | Self::LeaveOut { .. } => true,
            Self::Abort(_)
            | Self::Finish
            | Self::Quit
            | Self::TokenRenewed
            | Self::Operator(_)
            | Self::WorkOrder(_)
            | Self::Label { .. }
            | Self::EngineerLeaves
            | Self::Retry
            | Self::PinsSet => false,
        }
    }
}

impl Told {
    /// It is done, or begins.
    pub fn done(text: impl Into<String>) -> Self {
        Self {
            done: true,
            text: text.into(),
        }
    }

    /// It is not done.
    pub fn refused(text: impl Into<String>) -> Self {
        Self {
            done: false,
            text: text.into(),
        }
    }
}

/// Something to be done outside of the core, after its facts are on disk.
#[derive(Clone, Debug)]
pub enum Effect {
    /// For a worker.
    Order {
        /// The slot.
        slot: SlotNo,
        /// What.
        order: Order,
    },
    /// The fact of a worker's commit is on disk, or must not be: it may go on, or not.
    Committed {
        /// The slot.
        slot: SlotNo,
        /// Of which attempt.
        ticket: Ticket,
        /// What the worker is told.
        reply: CommitReply,
    },
    /// Ask the worker to end at its next safe point.
    Cancel(SlotNo),
    /// Give up on the worker of a slot: it did not end when told to.
    Abandon(SlotNo),
    /// For the uplink: a call on a line that is free.
    Call(Line, Call),
    /// Destroy the undo copy of a run; its fact is on disk.
    DestroyUndo {
        /// The run.
        run: RunId,
        /// Its device.
        device: DeviceId,
    },
}

/// What a worker hears after it wanted a fact on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitReply {
    /// It is on disk.
    OnDisk,
    /// It is on disk, and the ledger knows the key on another device: do not go on.
    Duplicate(DeviceId),
    /// The attempt is no longer wanted: end at once, touch nothing.
    Stale,
}

/// What a worker is to do with the device in its slot.
#[derive(Clone, Debug)]
pub enum Order {
    /// Find out who it is.
    Identify {
        /// The attachment.
        attached: Attached,
    },
    /// Bring it into a mode.
    Change {
        /// Of which attempt.
        ticket: Ticket,
        /// The attachment.
        attached: Attached,
        /// Who must be there.
        device: DeviceId,
        /// The mode.
        to: UsbMode,
        /// True if the device may be protected: it leaves DFU mode in another way then.
        guarded: bool,
    },
    /// Perform a step; also the rolling back that no plan announces.
    Step {
        /// Of which attempt.
        ticket: Ticket,
        /// The attachment.
        attached: Attached,
        /// What the worker needs to know of the run.
        work: Box<Work>,
    },
}

/// What a worker needs to know for a step.
#[derive(Clone, Debug)]
pub struct Work {
    /// The run.
    pub run: RunId,
    /// Its device.
    pub device: DeviceId,
    /// The slot that it is in.
    pub slot: SlotNo,
    /// The station that it is at.
    pub station: StationId,
    /// The step.
    pub kind: StepKind,
    /// The recipe, by hash.
    pub recipe: Sha256,
    /// The product of the run, if it has one.
    pub product: Option<ProductId>,
    /// The item after which the upload of a new key may go, if it is part of a chain.
    pub after: Option<ItemId>,
    /// What the run knows of keys so far.
    pub keys: super::run::Keys,
    /// True if the device is a protected one that the run lets into Service Mode.
    pub serviced: bool,
    /// True if the step was begun before and its end is not on record.
    pub resumed: bool,
}

/// What a look is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The proof of a run.
    Proof(RunId),
    /// An item that may not go before it.
    Item(ItemId),
}

/// One of several items that go out in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The item.
    pub item: ItemId,
    /// The attempt.
    pub attempt: u32,
    /// The device.
    pub device: DeviceId,
    /// True if an earlier attempt may have been done: the cloud is looked at first, and what is so already is accepted.
    pub doubtful: bool,
}

/// A call of the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Look whether recipe, product and device fit.
    Admit {
        /// The run.
        run: RunId,
        /// Its device.
        device: DeviceId,
        /// The recipe, by hash.
        recipe: Sha256,
        /// True if the device is a protected one that the run lets into Service Mode.
        serviced: bool,
    },
    /// Look at a device from every side that decides its repair.
    Survey {
        /// The run.
        run: RunId,
        /// Its device.
        device: DeviceId,
        /// The product of the recipe, if it names one.
        product: Option<ProductId>,
        /// Products from which it may be moved there.
        from: Vec<ProductId>,
    },
    /// Make sure that a device which is taken can be given back: cross-check its owner, obtain the customer's token if
    /// that is one, look whether the product takes the device to which it is moved, and seal what it must get back.
    Secure {
        /// The run.
        run: RunId,
        /// Its device.
        device: DeviceId,
        /// The product in which it is.
        product: Option<ProductId>,
        /// In whose hands the survey found it.
        owner: OwnerKind,
        /// The recipe to whose product it is moved, by hash; `None` if it stays.
        to: Option<Sha256>,
    },
    /// A device has everything back, or cannot get it: revoke the customer's token, and destroy what was kept to give it
    /// back, if that is on record.
    EndCustody {
        /// The run.
        run: RunId,
        /// Its device.
        device: DeviceId,
        /// True if the sealed file is to be destroyed, too.
        destroy: bool,
    },
    /// Import devices into a product, in one request.
    Import {
        /// The product.
        product: ProductId,
        /// Also activate their SIMs.
        activate_sim: bool,
        /// The devices.
        items: Vec<Outgoing>,
    },
    /// Perform an errand of a chain.
    Errand {
        /// The item.
        item: ItemId,
        /// The attempt.
        attempt: u32,
        /// The device.
        device: DeviceId,
        /// The product, if any.
        product: Option<ProductId>,
        /// What is to be done.
        errand: Errand,
        /// As in [`Outgoing`].
        doubtful: bool,
    },
    /// Upload a public key.
    Upload {
        /// The item.
        item: ItemId,
        /// The attempt.
        attempt: u32,
        /// The device.
        device: DeviceId,
        /// The product, if any.
        product: Option<ProductId>,
        /// The key.
        key: PublicKey,
    },
    /// Look at a device.
    Look {
        /// What for.
        about: About,
        /// The device.
        device: DeviceId,
        /// The product, if any.
        product: Option<ProductId>,
    },
}

impl Call {
    /// The items that are sent with it, each with its attempt.
    pub fn items(&self) -> Vec<(ItemId, u32)> {
        match self {
            Self::Import { items, .. } => items.iter().map(|out| (out.item.clone(), out.attempt)).collect(),
            Self::Upload { item, attempt, .. } | Self::Errand { item, attempt, .. } => vec![(item.clone(), *attempt)],
            Self::Admit { .. } | Self::Survey { .. } | Self::Secure { .. } | Self::EndCustody { .. } | Self::Look { .. } => {
                Vec::new()
            }
        }
    }

    /// True if tokens of customers are got or revoked with it.
    pub fn is_about_tokens(&self) -> bool {
        match self {
            Self::Secure { owner, .. } => *owner == OwnerKind::Customer,
            Self::EndCustody { .. } => true,
            Self::Admit { .. }
            | Self::Survey { .. }
            | Self::Import { .. }
            | Self::Errand { .. }
            | Self::Upload { .. }
            | Self::Look { .. } => false,
        }
    }

    /// The run that a call is for; none for one that is for several.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Admit { run, .. } | Self::Survey { run, .. } | Self::Secure { run, .. } | Self::EndCustody { run, .. } => {
                Some(*run)
            }
            Self::Look {
                about: About::Proof(run),
                ..
            } => Some(*run),
            Self::Errand { item, .. }
            | Self::Upload { item, .. }
            | Self::Look {
                about: About::Item(item),
                ..
            } => item.run(),
            Self::Import { .. } => None,
        }
    }
}
