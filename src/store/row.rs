//! Rows of the projected tables as plain data: what screens, reports and the core get to see.

mod packet;

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use crate::model::{
    Code, DeviceId, Diagnosis, Fingerprint, Platform, ProductId, PublicKey, RunId, SlotNo, StepKind, Verdict, Wall,
    fact::Protection,
    module::InstalledModule,
    outbox::{Answer, Errand, Item, ItemId, ItemState},
    platform::Transport,
    recipe::{Sha256, WorkOrder},
};

pub use self::packet::PacketRow;
use super::{
    LastPass,
    cell::{Json, Millis, Word},
};

/// A row that knows the columns that it is read from.
pub(super) trait Columns: Sized {
    /// Its table.
    const TABLE: &str;
    /// Its columns, in the order in which they are read.
    const COLUMNS: &str;
    /// Reads it.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self>;
}

/// Whether device and cloud hold the same key, as far as the ledger can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case", tag = "standing", content = "why")]
pub enum Standing {
    /// No cloud ever accepted a key of this device from here.
    Unregistered,
    /// The key that was last seen in the slot is the key that the cloud last accepted.
    Agreed,
    /// They differ, or may differ.
    Apart(Apart),
}

/// Why device and cloud may not hold the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Apart {
    /// It was taken from its owner or its product, and could not be given back.
    Lost,
    /// An upload may or may not have arrived.
    Ambiguous,
    /// A write of a new key was announced and neither confirmed nor given up: the slot may hold the old key, the new
    /// one, or a torn write.
    Writing,
    /// The slot holds another key than the cloud accepted, or none.
    Differs,
}

/// What the ledger knows of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRow {
    /// Its id.
    pub id: DeviceId,
    /// Its platform, once it told.
    pub platform: Option<Platform>,
    /// Its transport, where it told that it differs from the platform's.
    pub transport: Option<Transport>,
    /// Protection, when last seen.
    pub protection: Option<Protection>,
    /// The serial number on its label.
    pub serial: Option<String>,
    /// ICCID of its SIM.
    pub iccid: Option<String>,
    /// IMEI of its modem.
    pub imei: Option<String>,
    /// Which hardware it is: the product code in front of its serial number.
    pub hardware: Option<String>,
    /// Device OS version.
    pub os_version: Option<String>,
    /// Modules of its main store.
    pub modules: Vec<InstalledModule>,
    /// When it was first seen.
    pub first_seen: Wall,
    /// When it was last seen.
    pub last_seen: Wall,
    /// When its label was last compared with it and found to be its own.
    pub labelled_at: Option<Wall>,
    /// Where it was last seen.
    pub last_slot: Option<SlotNo>,
    /// `valid`, `blank` or `corrupt`, by the last reading that could tell.
    pub slot_content: Option<String>,
    /// The key that was last read, written or restored.
    pub key_in_slot: Option<Fingerprint>,
    /// Where that key came from.
    pub key_origin: Option<Origin>,
    /// The key whose write was announced and is neither confirmed nor given up.
    pub key_intended: Option<Fingerprint>,
    /// The key that the cloud last accepted.
    pub key_accepted: Option<Fingerprint>,
    /// When it did, by the cloud's clock if it told.
    pub accepted_at: Option<Wall>,
    /// For which product.
    pub accepted_product: Option<ProductId>,
    /// The key whose upload may or may not have arrived.
    pub key_ambiguous: Option<Fingerprint>,
    /// Whether device and cloud hold the same key.
    pub standing: Standing,
    /// Its last session that was seen to be newer than an upload.
    pub handshake_at: Option<Wall>,
    /// How many runs it had.
    pub runs: u32,
    /// Its last run.
    pub last_run: Option<RunId>,
    /// The recipe of that run.
    pub last_recipe: Option<Sha256>,
    /// How that run ended; none while it is open.
    pub last_verdict: Option<Verdict>,
    /// Why.
    pub last_code: Option<Code>,
    /// Its last run, if that ended QUARANTINED and no person has released it.
    pub quarantined: Option<RunId>,
    /// Since when it is in Service Mode, or may be: it has not shown since then that it is protected.
    pub unprotected_since: Option<Wall>,
    /// The recipe and key with which it last passed.
    pub last_pass: Option<LastPass>,
}

impl Columns for DeviceRow {
    const TABLE: &str = "device";
    const COLUMNS: &str = "id, platform, transport, protection, serial, iccid, imei, hardware, os_version, modules, \
        first_seen, last_seen, labelled_at, last_slot, slot_content, key_in_slot, key_intended, key_accepted, accepted_at, \
        accepted_product, key_ambiguous, apart, handshake_at, runs, last_run, last_recipe, last_verdict, last_code, \
        quarantined, unprotected_since, pass_recipe, pass_key, \
         (SELECT origin FROM key WHERE key.device = device.id AND key.fingerprint = device.key_in_slot) AS key_origin";

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let key_accepted = word(row, "key_accepted")?;
        let recipe: Option<Sha256> = word(row, "pass_recipe")?;
        let key: Option<Fingerprint> = word(row, "pass_key")?;
        Ok(Self {
            id: row.get::<_, Word<_>>("id")?.0,
            platform: word(row, "platform")?,
            transport: word(row, "transport")?,
            protection: word(row, "protection")?,
            serial: row.get("serial")?,
            iccid: row.get("iccid")?,
            imei: row.get("imei")?,
            hardware: row.get("hardware")?,
            os_version: row.get("os_version")?,
            modules: json(row, "modules")?.unwrap_or_default(),
            first_seen: row.get::<_, Millis>("first_seen")?.0,
            last_seen: row.get::<_, Millis>("last_seen")?.0,
            labelled_at: instant(row, "labelled_at")?,
            last_slot: row.get::<_, Option<u16>>("last_slot")?.map(SlotNo),
            slot_content: row.get("slot_content")?,
            key_in_slot: word(row, "key_in_slot")?,
            key_origin: word(row, "key_origin")?,
            key_intended: word(row, "key_intended")?,
            key_accepted,
            accepted_at: instant(row, "accepted_at")?,
            accepted_product: word(row, "accepted_product")?,
            key_ambiguous: word(row, "key_ambiguous")?,
            standing: match (word(row, "apart")?, key_accepted) {
                (Some(why), _) => Standing::Apart(why),
                (None, None) => Standing::Unregistered,
                (None, Some(_)) => Standing::Agreed,
            },
            handshake_at: instant(row, "handshake_at")?,
            runs: row.get("runs")?,
            last_run: word(row, "last_run")?,
            last_recipe: word(row, "last_recipe")?,
            last_verdict: word(row, "last_verdict")?,
            last_code: word(row, "last_code")?,
            quarantined: word(row, "quarantined")?,
            unprotected_since: instant(row, "unprotected_since")?,
            last_pass: recipe.zip(key).map(|(recipe, key)| LastPass { recipe, key }),
        })
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Under way, or it was at the last cut.
    Open,
    /// Waits for its device.
    Interrupted,
    /// It has its verdict.
    Closed,
}

/// What the ledger knows of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Its device.
    pub device: DeviceId,
    /// 1 for the first run of its device.
    pub nth: u32,
    /// Where it is, or was last.
    pub slot: SlotNo,
    /// The recipe, by the hash of its text.
    pub recipe: Sha256,
    /// The announced plan.
    pub plan: Vec<StepKind>,
    /// Who was at the station.
    pub operator: Option<String>,
    /// What was ordered.
    pub work_order: Option<WorkOrder>,
    /// When it began.
    pub started: Wall,
    /// Where it stands.
    pub state: RunState,
    /// Why it waits, while it is interrupted.
    pub interrupted: Option<Code>,
    /// The session that proved it.
    pub handshake_at: Option<Wall>,
    /// When it ended.
    pub ended: Option<Wall>,
    /// How.
    pub verdict: Option<Verdict>,
    /// Why, unless it simply passed.
    pub code: Option<Code>,
    /// The whole reason in words.
    pub why: Option<String>,
    /// True if a full handshake proved it.
    pub proved: bool,
    /// Who released it from QUARANTINED, when and why.
    pub released: Option<Released>,
    /// What was found wrong, if it is a repair.
    pub diagnosis: Option<Diagnosis>,
    /// The reference under which the device was returned.
    pub reference: Option<String>,
    /// The last record that belongs to it.
    pub last_seq: u64,
}

/// A person's decision about a run that ended QUARANTINED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Released {
    /// When.
    pub at: Wall,
    /// Who.
    pub by: String,
    /// Why, in words.
    pub why: String,
}

impl Columns for RunRow {
    const TABLE: &str = "run";
    const COLUMNS: &str = "id, device, nth, slot, recipe, plan, operator, order_id, order_product, order_quantity, \
        started, state, interrupted_code, handshake_at, ended, verdict, code, why, proved, \
        released_at, released_by, released_why, diagnosis, reference, last_seq";

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let order: Option<String> = row.get("order_id")?;
        let product: Option<ProductId> = word(row, "order_product")?;
        let quantity: Option<u32> = row.get("order_quantity")?;
        Ok(Self {
            id: row.get::<_, Word<_>>("id")?.0,
            device: row.get::<_, Word<_>>("device")?.0,
            nth: row.get("nth")?,
            slot: SlotNo(row.get("slot")?),
            recipe: row.get::<_, Word<_>>("recipe")?.0,
            plan: row.get::<_, Json<_>>("plan")?.0,
            operator: row.get("operator")?,
            work_order: order.zip(quantity).map(|(id, quantity)| WorkOrder { id, product, quantity }),
            started: row.get::<_, Millis>("started")?.0,
            state: row.get::<_, Word<_>>("state")?.0,
            interrupted: word(row, "interrupted_code")?,
            handshake_at: instant(row, "handshake_at")?,
            ended: instant(row, "ended")?,
            verdict: word(row, "verdict")?,
            code: word(row, "code")?,
            why: row.get("why")?,
            proved: row.get("proved")?,
            released: match (
                instant(row, "released_at")?,
                row.get("released_by")?,
                row.get("released_why")?,
            ) {
                (Some(at), Some(by), Some(why)) => Some(Released { at, by, why }),
                _ => None,
            },
            diagnosis: json(row, "diagnosis")?,
            reference: row.get("reference")?,
            last_seq: row.get::<_, i64>("last_seq")?.cast_unsigned(),
        })
    }
}

/// An item and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemRow {
    /// What is owed.
    pub item: Item,
    /// Where it stands.
    pub state: ItemState,
    /// How many attempts were made.
    pub attempts: u32,
    /// The attempt that was sent and not answered.
    pub open_attempt: Option<u32>,
    /// How many attempts may or may not have arrived.
    pub ambiguous: u32,
    /// Not to be sent before this: the cloud asked for it.
    pub next_at: Option<Wall>,
    /// What the cloud last answered.
    pub last_answer: Option<Answer>,
    /// Why it was withdrawn.
    pub why: Option<String>,
    /// When it was queued.
    pub queued_at: Wall,
    /// When it was last sent.
    pub sent_at: Option<Wall>,
    /// When it was last answered.
    pub answered_at: Option<Wall>,
    /// When it was accepted, refused or withdrawn.
    pub settled_at: Option<Wall>,
    /// True if a packet owes it, and no run.
    pub from_packet: bool,
}

impl Columns for ItemRow {
    const TABLE: &str = "item";
    const COLUMNS: &str = "id, run, device, product, errand, follows, state, attempts, open_attempt, ambiguous, next_at, last_answer, \
        why, queued_at, sent_at, answered_at, settled_at, \
        EXISTS (SELECT 1 FROM packet WHERE packet.id = item.run) AS from_packet";

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            item: Item {
                id: row.get::<_, Word<ItemId>>("id")?.0,
                run: row.get::<_, Word<_>>("run")?.0,
                device: row.get::<_, Word<_>>("device")?.0,
                product: word(row, "product")?,
                errand: row.get::<_, Json<Errand>>("errand")?.0,
                after: word(row, "follows")?,
            },
            state: row.get::<_, Word<_>>("state")?.0,
            attempts: row.get("attempts")?,
            open_attempt: row.get("open_attempt")?,
            ambiguous: row.get("ambiguous")?,
            next_at: instant(row, "next_at")?,
            last_answer: json(row, "last_answer")?,
            why: row.get("why")?,
            queued_at: row.get::<_, Millis>("queued_at")?.0,
            sent_at: instant(row, "sent_at")?,
            answered_at: instant(row, "answered_at")?,
            settled_at: instant(row, "settled_at")?,
            from_packet: row.get("from_packet")?,
        })
    }
}

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It was found in the slot.
    Read,
    /// The station made it.
    Made,
    /// It was given to be written: from a file, an escrow or a dump.
    Given,
    /// A packet brought its public half.
    Packet,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Announced; it may be in the slot or not.
    Intended,
    /// In the slot, by the last reading.
    InSlot,
    /// It was in the slot and is no more.
    Gone,
    /// It was intended and never confirmed.
    Abandoned,
    /// It is said to be the device's, or is to be: nobody here read or wrote it.
    Told,
}

/// A public key that a device has, had, or was to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyRow {
    /// The device.
    pub device: DeviceId,
    /// The key.
    pub key: PublicKey,
    /// Where it came from.
    pub origin: Origin,
    /// What became of it.
    pub state: KeyState,
    /// When it was first read or made.
    pub first_seen: Wall,
    /// When it was last read or written.
    pub last_seen: Wall,
    /// When the cloud last accepted it.
    pub accepted_at: Option<Wall>,
}

impl Columns for KeyRow {
    const TABLE: &str = "key";
    const COLUMNS: &str = "device, fingerprint, kind, spki, origin, state, first_seen, last_seen, accepted_at";

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            device: row.get::<_, Word<_>>("device")?.0,
            key: PublicKey {
                kind: row.get::<_, Word<_>>("kind")?.0,
                spki: row.get("spki")?,
                fingerprint: row.get::<_, Word<_>>("fingerprint")?.0,
            },
            origin: row.get::<_, Word<_>>("origin")?.0,
            state: row.get::<_, Word<_>>("state")?.0,
            first_seen: row.get::<_, Millis>("first_seen")?.0,
            last_seen: row.get::<_, Millis>("last_seen")?.0,
            accepted_at: instant(row, "accepted_at")?,
        })
    }
}

/// A sealed undo copy, as the ledger knows it; the bytes are in [`super::UndoVault`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndoRow {
    /// The run that made it.
    pub run: RunId,
    /// The device.
    pub device: DeviceId,
    /// SHA-256 of the sealed file.
    pub sha256: Sha256,
    /// What the copied slot held, in one word.
    pub content: String,
    /// When it was sealed.
    pub sealed_at: Wall,
    /// When it was destroyed.
    pub destroyed_at: Option<Wall>,
}

impl Columns for UndoRow {
    const TABLE: &str = "undo";
    const COLUMNS: &str = "run, device, sha256, content, sealed_at, destroyed_at";

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            run: row.get::<_, Word<_>>("run")?.0,
            device: row.get::<_, Word<_>>("device")?.0,
            sha256: row.get::<_, Word<_>>("sha256")?.0,
            content: row.get("content")?,
            sealed_at: row.get::<_, Millis>("sealed_at")?.0,
            destroyed_at: instant(row, "destroyed_at")?,
        })
    }
}

/// Sealed restore data, as the ledger knows them; the bytes are in a vault of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoreRow {
    /// The run that took the device from its owner.
    pub run: RunId,
    /// The device.
    pub device: DeviceId,
    /// SHA-256 of the sealed file.
    pub sha256: Sha256,
    /// When it was sealed.
    pub sealed_at: Wall,
    /// When it was destroyed.
    pub destroyed_at: Option<Wall>,
}

impl Columns for RestoreRow {
    const TABLE: &str = "restore";
    const COLUMNS: &str = "run, device, sha256, sealed_at, destroyed_at";

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            run: row.get::<_, Word<_>>("run")?.0,
            device: row.get::<_, Word<_>>("device")?.0,
            sha256: row.get::<_, Word<_>>("sha256")?.0,
            sealed_at: row.get::<_, Millis>("sealed_at")?.0,
            destroyed_at: instant(row, "destroyed_at")?,
        })
    }
}

fn word<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    Ok(row.get::<_, Option<Word<T>>>(column)?.map(|word| word.0))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    Ok(row.get::<_, Option<Json<T>>>(column)?.map(|json| json.0))
}

fn instant(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Wall>> {
    Ok(row.get::<_, Option<Millis>>(column)?.map(|millis| millis.0))
}
