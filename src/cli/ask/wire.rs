//! What goes over the socket of a running station: one request as a line of JSON, one answer as another one. The PIN of an
//! engineer comes in a line of its own after its request, so that it is never part of a document.

use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Code, DeviceId, Platform, ProductId, SlotNo, Verdict, Wall,
        recipe::WorkOrder,
        sentence::{lower, stopped},
    },
    rack::{Command, OrderName, RackView, Told, view::Role},
};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask", deny_unknown_fields)]
pub(super) enum Request {
    Status {},
    Operator { name: Option<String> },
    WorkOrder { id: Option<String>, quantity: Option<u32> },
    Label { slot: SlotNo, serial: String },
    Pin {},
    NoEngineer {},
    ReleaseLine { why: String },
    Release { device: DeviceId, why: String },
    Repair { device: DeviceId },
    UseRecipe { name: String, why: String },
    LeaveOut { slot: SlotNo, step: u8, why: String },
    PinsSet {},
    Retry {},
    Abort { slot: SlotNo },
    Finish {},
    Quit {},
}

impl Request {
    /// What the station is asked; none for what is no command.
    pub(super) fn command(self) -> Option<Command> {
        Some(match self {
            Self::Status {} | Self::Pin {} => return None,
            Self::Operator { name } => Command::Operator(name),
            Self::WorkOrder { id, quantity } => Command::WorkOrder(id.map(|id| OrderName { id, quantity })),
            Self::Label { slot, serial } => Command::Label { slot, serial },
            Self::NoEngineer {} => Command::EngineerLeaves,
            Self::ReleaseLine { why } => Command::ReleaseLine { why },
            Self::Release { device, why } => Command::Release { device, why },
            Self::Repair { device } => Command::Repair(device),
            Self::UseRecipe { name, why } => Command::UseRecipe { name, why },
            Self::LeaveOut { slot, step, why } => Command::LeaveOut { slot, step, why },
            Self::PinsSet {} => Command::PinsSet,
            Self::Retry {} => Command::Retry,
            Self::Abort { slot } => Command::Abort(slot),
            Self::Finish {} => Command::Finish,
            Self::Quit {} => Command::Quit,
        })
    }
}

/// What the station says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// To what was asked.
    Told { done: bool, text: String },
    /// How it is.
    Status(Box<Status>),
}

impl From<Told> for Reply {
    fn from(told: Told) -> Self {
        Self::Told {
            done: told.done,
            text: told.text,
        }
    }
}

/// The station at one instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Status {
    event: String,
    pub(super) operator: Option<String>,
    pub(super) work_order: Option<WorkOrder>,
    pub(super) stopped: Option<LineStopped>,
    pub(super) engineer: Option<String>,
    pub(super) owed: usize,
    pub(super) locked: Option<String>,
    pub(super) slots: Vec<SlotStatus>,
    /// The recipes among which an engineer can choose.
    #[serde(default)]
    pub(super) recipes: Vec<RecipeStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecipeStatus {
    pub(super) name: String,
    pub(super) platform: Platform,
    pub(super) product: Option<ProductId>,
    firmware: Vec<String>,
    pub(super) counts: bool,
}

/// Why the line is stopped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cli) struct LineStopped {
    pub(in crate::cli) what: String,
    code: Code,
    devices: Vec<DeviceId>,
    since: Wall,
    pub(in crate::cli) next: String,
}

impl LineStopped {
    /// In words.
    pub(in crate::cli) fn of(line: &crate::rack::view::Stopped) -> Self {
        Self {
            what: format!("{}: {}", stopped(line.code, line.devices.len()), lower(line.code.what())),
            code: line.code,
            devices: line.devices.clone(),
            since: line.since,
            next: "an engineer looks at the devices and releases it: `keyrack ask release-line --why TEXT`".to_owned(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SlotStatus {
    pub(super) slot: SlotNo,
    pub(super) state: String,
    pub(super) device: Option<DeviceId>,
    verdict: Option<Verdict>,
    pub(super) code: Option<Code>,
    why: String,
    held: bool,
}

impl Status {
    /// What a picture of the station tells.
    pub(super) fn of(view: &RackView) -> Self {
        let slots = view.slots.iter().map(|slot| SlotStatus {
            slot: slot.slot,
            state: slot.word.to_owned(),
            device: slot.device,
            verdict: slot.verdict,
            code: slot.code,
            why: slot.why.clone(),
            held: slot.held,
        });
        let recipes = view.recipes.iter().map(|recipe| RecipeStatus {
            name: recipe.name.clone(),
            platform: recipe.platform,
            product: recipe.product.clone(),
            firmware: recipe.firmware.clone(),
            counts: recipe.counts,
        });
        Self {
            event: "status".to_owned(),
            operator: view.operator.clone(),
            work_order: view.work_order.clone(),
            stopped: view.stopped.as_ref().map(LineStopped::of),
            engineer: match &view.role {
                Role::Engineer { name, .. } => Some(name.clone()),
                Role::Anybody | Role::Operator { .. } => None,
            },
            owed: view.owed,
            locked: view.locked.clone(),
            slots: slots.collect(),
            recipes: recipes.collect(),
        }
    }
}
