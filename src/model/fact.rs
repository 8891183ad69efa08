//! Facts: what happened and must survive a power cut. The journal is a list of these, and every state of the
//! station and every table of the ledger is made from them by one function each.

use serde::{Deserialize, Serialize};

use super::{
    CloudState, Code, DeviceId, Diagnosis, Fingerprint, Outcome, Platform, PortPath, ProductId, PublicKey, RunId, ServerExam,
    SlotNo, StationId, StepError, StepKind, Verdict, Wall,
    key::SlotContent,
    module::InstalledModule,
    outbox::{Answer, Item, ItemId},
    packet::{Manifest, PacketEnd, Proof, Voucher},
    platform::{Transport, UsbMode},
    recipe::{Sha256, WorkOrder},
    survey::Survey,
};

/// A fact with its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Sequence number, from 1, without gaps.
    pub seq: u64,
    /// When it was written.
    pub at: Wall,
    /// The station that wrote it.
    pub station: StationId,
    /// What happened.
    pub fact: Fact,
}

/// Whether a device is protected (device-protocol.md 2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// No restriction, or a platform without protection.
    Open,
    /// Protected.
    Protected,
    /// Protected, and overridden for now.
    Service,
}

/// What a device tells of itself. A part that it cannot tell in its present mode is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub device: DeviceId,
    /// Its platform, by its USB identity.
    pub platform: Platform,
    /// The mode in which it was met.
    pub mode: UsbMode,
    /// Protection.
    pub protection: Protection,
    /// Transport, where the device can tell that it differs from the platform's (Electron on TCP).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub transport: Option<Transport>,
    /// The serial number on its label.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub serial: Option<String>,
    /// ICCID of its SIM.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub iccid: Option<String>,
    /// IMEI of its modem.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub imei: Option<String>,
    /// Which hardware it is: the product code in front of its serial number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hardware: Option<String>,
    /// Device OS version, as the device writes it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub os_version: Option<String>,
    /// The modules of its main store.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub modules: Vec<InstalledModule>,
}

impl Identity {
    /// Of a device that has told nothing else.
    pub const fn bare(device: DeviceId, platform: Platform, mode: UsbMode, protection: Protection) -> Self {
        Self {
            device,
            platform,
            mode,
            protection,
            transport: None,
            serial: None,
            iccid: None,
            imei: None,
            hardware: None,
            os_version: None,
            modules: Vec::new(),
        }
    }
}

/// Something that happened and must survive a power cut.
///
/// Stored as JSON with a version beside it. A variant or field once released is never changed in meaning or removed;
/// new fields have a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fact")]
pub enum Fact {
    /// The station program started.
    StationStarted {
        /// Its version.
        version: String,
    },
    /// The text of a recipe, written before the first run that uses it.
    RecipeRecorded {
        /// SHA-256 of the text.
        hash: Sha256,
        /// Its name.
        name: String,
        /// The text, without secrets.
        text: String,
    },
    /// A device told who it is.
    DeviceSeen {
        /// The slot that it is in.
        slot: SlotNo,
        /// The port of that slot.
        port: PortPath,
        /// What it told.
        identity: Identity,
    },
    /// A run began.
    RunStarted {
        /// The run.
        run: RunId,
        /// Its device.
        device: DeviceId,
        /// The slot where it began.
        slot: SlotNo,
        /// The recipe, by the hash of its text.
        recipe: Sha256,
        /// The announced plan.
        plan: Vec<StepKind>,
        /// Who is at the station.
        operator: Option<String>,
        /// What was ordered.
        work_order: Option<WorkOrder>,
        /// The key of the device that the cloud accepted last for the same product, as the ledger knew it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        accepted: Option<Fingerprint>,
        /// The reference under which the device was returned, if it is to be repaired under one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reference: Option<String>,
    },
    /// A run lost its device, or the station stopped; it goes on when its device is back.
    RunInterrupted {
        /// The run.
        run: RunId,
        /// Why.
        code: Code,
    },
    /// An interrupted run has its device again.
    RunResumed {
        /// The run.
        run: RunId,
        /// The slot where its device is now.
        slot: SlotNo,
    },
    /// A step begins.
    StepStarted {
        /// The run.
        run: RunId,
        /// Index in the plan, from 0.
        step: u8,
        /// Attempt, from 1.
        attempt: u8,
    },
    /// A step ended well.
    StepEnded {
        /// The run.
        run: RunId,
        /// Index in the plan.
        step: u8,
        /// Attempt.
        attempt: u8,
        /// How.
        outcome: Outcome,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A step failed. Whether it is tried again shows in what follows.
    StepFailed {
        /// The run.
        run: RunId,
        /// Index in the plan.
        step: u8,
        /// Attempt.
        attempt: u8,
        /// How.
        error: StepError,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A key slot was read and classified; its public half, if any, is in the ledger from here on.
    KeyRead {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// What the slot holds.
        content: SlotContent,
    },
    /// A sealed undo copy of the key store is on disk, synced and read back.
    UndoSealed {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// SHA-256 of the sealed file.
        sha256: Sha256,
        /// What the copied key slot held.
        content: SlotContent,
    },
    /// The undo copy was destroyed.
    UndoDestroyed {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
    },
    /// A new pair was made and its public half is about to be written: a held item.
    KeyIntended {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The new public key.
        key: PublicKey,
        /// The held item for it.
        item: Item,
    },
    /// What was read back from the slot derives the intended key, or a protected device signed with it in the exchange for
    /// Service Mode: the device holds it, and the held item is released.
    KeyWritten {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The key.
        fingerprint: Fingerprint,
    },
    /// An intended key is not on the device and will not be: its held item is withdrawn.
    KeyAbandoned {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The key.
        fingerprint: Fingerprint,
        /// What was found instead, in words.
        why: String,
    },
    /// The old key store is back, read back and equal.
    KeyRestored {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The key that the slot holds again.
        fingerprint: Fingerprint,
    },
    /// Something is owed to the cloud.
    ItemQueued {
        /// What.
        item: Item,
    },
    /// An item goes out: written before the request is sent.
    ItemSent {
        /// Which item.
        item: ItemId,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// The cloud answered an attempt, or it is known that no answer will come.
    ItemAnswered {
        /// Which item.
        item: ItemId,
        /// Attempt.
        attempt: u32,
        /// The answer.
        answer: Answer,
    },
    /// An item is no longer owed.
    ItemWithdrawn {
        /// Which item.
        item: ItemId,
        /// Why, in words.
        why: String,
    },
    /// What the cloud knew of the device before anything was changed.
    CloudSeen {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// Its last session, if it had one.
        handshake_at: Option<Wall>,
    },
    /// A session of the device that is newer than its upload.
    HandshakeSeen {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// `last_handshake_at`.
        at: Wall,
    },
    /// What the cloud said of the device of a repair.
    Surveyed {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// What it said.
        survey: Survey,
    },
    /// What the running device said of its own connection.
    Questioned {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// What it said.
        state: CloudState,
    },
    /// The server settings of the device of a repair; its key slot is in [`Fact::KeyRead`].
    Examined {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// How they compare with the wanted ones; none if the recipe wants none.
        server: Option<ServerExam>,
    },
    /// What is wrong, and what will be done: these steps come after those of the plan so far.
    Diagnosed {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The diagnosis.
        diagnosis: Diagnosis,
        /// The product of the run from here on.
        product: Option<ProductId>,
        /// The steps.
        plan: Vec<StepKind>,
    },
    /// The key of a device signed a packet for it.
    PacketSigned {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The manifest of the packet.
        manifest: Manifest,
    },
    /// A pair was given for the device: the private half is in the memory of the station, and nowhere on record.
    KeyGiven {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The public half.
        key: PublicKey,
    },
    /// A copy of the private half of the key in the slot is on disk, sealed to somebody elsewhere.
    KeyEscrowed {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The key.
        fingerprint: Fingerprint,
        /// To whom it is sealed.
        recipients: Vec<String>,
    },
    /// A public key that came from afar was taken for a device, to be registered.
    PacketTaken {
        /// The packet. Its id is one of those that runs have: items and restore data belong to it as others to a run.
        packet: RunId,
        /// The device.
        device: DeviceId,
        /// The key.
        key: PublicKey,
        /// What speaks for it, and what could not be checked.
        proof: Box<Proof>,
        /// The product for which it is to be registered; none leaves it to the cloud.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        product: Option<ProductId>,
        /// Who stands for it under which reference, should it replace another key.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        voucher: Option<Voucher>,
        /// Who is at the station.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        operator: Option<String>,
        /// The key of the device that the cloud accepted last, as the ledger knew it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        accepted: Option<Fingerprint>,
    },
    /// A packet has its result.
    PacketEnded {
        /// The packet.
        packet: RunId,
        /// Its device.
        device: DeviceId,
        /// How.
        end: PacketEnd,
        /// Why, unless its key was simply registered.
        code: Option<Code>,
        /// The whole reason in words.
        why: String,
    },
    /// What the device must get back when it was taken from its owner is sealed on disk, synced and read back.
    RestoreSealed {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// SHA-256 of the sealed file. Whom it names is in there and nowhere else.
        sha256: Sha256,
    },
    /// The device has everything back, or was never taken: the sealed file was destroyed.
    RestoreDestroyed {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
    },
    /// A protected device is about to be let into Service Mode, or was met in it: from here on it may be open to
    /// everybody, until it shows that it is protected. Written before the last word of the exchange.
    ServiceOpened {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
        /// The device's public key, as it told it in the exchange; none if it was met in Service Mode.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<Fingerprint>,
    },
    /// The device showed that it is protected, after it was open or may have been.
    ProtectedAgain {
        /// The run.
        run: RunId,
        /// The device.
        device: DeviceId,
    },
    /// A run ended.
    RunEnded {
        /// The run.
        run: RunId,
        /// Its device.
        device: DeviceId,
        /// How.
        verdict: Verdict,
        /// Why, unless it simply passed.
        code: Option<Code>,
        /// The whole reason in words.
        why: String,
        /// True if a full handshake proved it.
        proved: bool,
    },
    /// A named person looked at a device whose last run ended QUARANTINED and lets it run again.
    QuarantineReleased {
        /// The run that ended so.
        run: RunId,
        /// Its device.
        device: DeviceId,
        /// Who decided.
        by: String,
        /// Why, in words.
        why: String,
    },
    /// Who is at the station from here on; nobody if that is not known.
    OperatorNamed {
        /// The name.
        operator: Option<String>,
    },
    /// What is worked on from here on.
    WorkOrderNamed {
        /// The order.
        work_order: Option<WorkOrder>,
    },
    /// A label was compared with the device in a slot and is its own. The mobile secret that a label holds beside the serial
    /// number is of no use to the station: it is dropped when it is scanned, and no trace of it is kept.
    LabelBound {
        /// The slot.
        slot: SlotNo,
        /// The device in it.
        device: DeviceId,
        /// The serial number on the label.
        serial: String,
    },
    /// A label is not that of the device in the slot.
    LabelRefused {
        /// The slot.
        slot: SlotNo,
        /// The device in it.
        device: DeviceId,
        /// The serial number on the label.
        serial: String,
        /// Why, in words.
        why: String,
    },
    /// An engineer gave the right PIN: what only engineers may do is allowed from here on.
    EngineerCame {
        /// Who.
        name: String,
        /// Until then at the longest.
        until: Wall,
    },
    /// What only engineers may do is no longer allowed. The end of the program means the same.
    EngineerLeft {
        /// Who.
        name: String,
    },
    /// Somebody gave a wrong PIN.
    PinRefused {},
    /// Equal failures in a row: no new run begins before an engineer has looked.
    LineStopped {
        /// How all of them failed.
        code: Code,
        /// The devices, in order.
        devices: Vec<DeviceId>,
    },
    /// New runs begin again.
    LineReleased {
        /// Who decided.
        by: String,
        /// Why, in words.
        why: String,
    },
    /// The next run of the device is a repair.
    RepairAsked {
        /// The device.
        device: DeviceId,
        /// Who asked for it.
        by: Option<String>,
    },
    /// New runs on a platform are under this recipe of the station's, until another one is chosen or the station has it no more.
    RecipeChosen {
        /// The platform.
        platform: Platform,
        /// The recipe.
        recipe: Sha256,
        /// Its name.
        name: String,
        /// Who decided.
        by: String,
        /// Why, in words.
        why: String,
    },
    /// A step of a run is left out that had not begun. What is left out is never a PASS.
    StepLeftOut {
        /// The run.
        run: RunId,
        /// The step's index in the plan.
        step: u8,
        /// Who decided.
        by: String,
        /// Why, in words.
        why: String,
    },
    /// These items do not wait any longer before they are sent again.
    RetryAsked {
        /// The items.
        items: Vec<ItemId>,
        /// Who asked for it.
        by: Option<String>,
    },
}

impl Fact {
    /// The version of the encoding: raised when a reader of the old one would misread the new one.
    pub const VERSION: u32 = 1;

    /// The run, or the packet, that the fact belongs to, if any. Items belong to what owes them.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::StationStarted { .. }
            | Self::RecipeRecorded { .. }
            | Self::DeviceSeen { .. }
            | Self::OperatorNamed { .. }
            | Self::WorkOrderNamed { .. }
            | Self::LabelBound { .. }
            | Self::LabelRefused { .. }
            | Self::EngineerCame { .. }
            | Self::EngineerLeft { .. }
            | Self::PinRefused {}
            | Self::LineStopped { .. }
            | Self::LineReleased { .. }
            | Self::RepairAsked { .. }
            | Self::RecipeChosen { .. }
            | Self::RetryAsked { .. } => None,
            Self::RunStarted { run, .. }
            | Self::RunInterrupted { run, .. }
            | Self::RunResumed { run, .. }
            | Self::StepStarted { run, .. }
            | Self::StepEnded { run, .. }
            | Self::StepFailed { run, .. }
            | Self::StepLeftOut { run, .. }
            | Self::KeyRead { run, .. }
            | Self::UndoSealed { run, .. }
            | Self::UndoDestroyed { run, .. }
            | Self::KeyIntended { run, .. }
            | Self::KeyWritten { run, .. }
            | Self::KeyAbandoned { run, .. }
            | Self::KeyRestored { run, .. }
            | Self::CloudSeen { run, .. }
            | Self::HandshakeSeen { run, .. }
            | Self::Surveyed { run, .. }
            | Self::Questioned { run, .. }
            | Self::Examined { run, .. }
            | Self::Diagnosed { run, .. }
            | Self::PacketSigned { run, .. }
            | Self::KeyGiven { run, .. }
            | Self::KeyEscrowed { run, .. }
            | Self::PacketTaken { packet: run, .. }
            | Self::PacketEnded { packet: run, .. }
            | Self::RestoreSealed { run, .. }
            | Self::RestoreDestroyed { run, .. }
            | Self::ServiceOpened { run, .. }
            | Self::ProtectedAgain { run, .. }
            | Self::RunEnded { run, .. }
            | Self::QuarantineReleased { run, .. } => Some(*run),
            Self::ItemQueued { item } => Some(item.run),
            Self::ItemSent { item, .. } | Self::ItemAnswered { item, .. } | Self::ItemWithdrawn { item, .. } => item.run(),
        }
    }

    /// The device that the fact names, if it names one.
    pub const fn device(&self) -> Option<DeviceId> {
        match self {
            Self::DeviceSeen { identity, .. } => Some(identity.device),
            Self::RunStarted { device, .. }
            | Self::KeyRead { device, .. }
            | Self::UndoSealed { device, .. }
            | Self::UndoDestroyed { device, .. }
            | Self::KeyIntended { device, .. }
            | Self::KeyWritten { device, .. }
            | Self::KeyAbandoned { device, .. }
            | Self::KeyRestored { device, .. }
            | Self::CloudSeen { device, .. }
            | Self::HandshakeSeen { device, .. }
            | Self::Surveyed { device, .. }
            | Self::Questioned { device, .. }
            | Self::Examined { device, .. }
            | Self::Diagnosed { device, .. }
            | Self::PacketSigned { device, .. }
            | Self::KeyGiven { device, .. }
            | Self::KeyEscrowed { device, .. }
            | Self::PacketTaken { device, .. }
            | Self::PacketEnded { device, .. }
            | Self::RestoreSealed { device, .. }
            | Self::RestoreDestroyed { device, .. }
            | Self::ServiceOpened { device, .. }
            | Self::ProtectedAgain { device, .. }
            | Self::RunEnded { device, .. }
            | Self::QuarantineReleased { device, .. }
            | Self::LabelBound { device, .. }
            | Self::LabelRefused { device, .. }
            | Self::RepairAsked { device, .. } => Some(*device),
            Self::ItemQueued { item } => Some(item.device),
            Self::StationStarted { .. }
            | Self::RecipeRecorded { .. }
            | Self::RunInterrupted { .. }
            | Self::RunResumed { .. }
            | Self::StepStarted { .. }
            | Self::StepEnded { .. }
            | Self::StepFailed { .. }
            | Self::StepLeftOut { .. }
            | Self::ItemSent { .. }
            | Self::ItemAnswered { .. }
            | Self::ItemWithdrawn { .. }
            | Self::OperatorNamed { .. }
            | Self::WorkOrderNamed { .. }
            | Self::EngineerCame { .. }
            | Self::EngineerLeft { .. }
            | Self::PinRefused {}
            | Self::LineStopped { .. }
            | Self::LineReleased { .. }
            | Self::RecipeChosen { .. }
            | Self::RetryAsked { .. } => None,
        }
    }
}
