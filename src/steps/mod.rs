//! The steps: one file each. [`perform`] is the one way in: it opens the device, makes sure that it is the right one,
//! looks ([`Step::inspect`]) and then acts ([`Step::run`]).
//!
//! A step is added here: a file with its `Step`, a variant of [`StepKind`], a row in `table`, and a scenario.

mod boot;
mod check;
mod escrow;
mod examine;
mod flash;
mod key_slot;
mod lost;
mod network;
mod open;
mod protect_again;
mod question;
mod read_key;
mod rekey;
mod roll_back;
mod server_key;
mod service_mode;
mod sign_packet;
mod undo;
mod update;

use std::{sync::Arc, time::Duration};

use crate::{
    device::{Cancel, service_mode::Countersign},
    edge::{Attached, Bus, Clock, Entropy},
    firmware::Piece,
    keys::PrivateKey,
    model::{Code, Fact, Found, Outcome, StepError, StepKind, recipe::Recipe},
    rack::{After, Report, Work},
};

pub use escrow::{Escrow, Keep};
pub use open::{Bench, change_mode, identify};
pub use undo::{UndoCopies, UndoError};

/// What a step may use.
pub struct Cx<'a> {
    /// Time.
    pub clock: &'a Arc<dyn Clock>,
    /// Randomness for new keys.
    pub entropy: &'a dyn Entropy,
    /// The USB ports.
    pub bus: &'a dyn Bus,
    /// Undo copies of key stores.
    pub undo: &'a dyn UndoCopies,
    /// The recipe of the run.
    pub recipe: &'a Recipe,
    /// The pieces of firmware of the recipe, in the order of its files.
    pub pieces: &'a [Piece],
    /// The pair that was given for the device, if it is at hand. It stays in the step.
    pub given: Option<&'a PrivateKey>,
    /// Where a sealed copy of the device's key goes, if anywhere.
    pub escrow: Option<&'a Escrow>,
    /// What the run knows so far.
    pub work: &'a Work,
    /// The cloud's half of the exchange that leads to Service Mode: asked for at most this long.
    pub countersign: &'a dyn Fn(Duration) -> Box<dyn Countersign + 'a>,
    /// Raised when the step should end at its next safe point.
    pub cancel: &'a Cancel,
    /// Returns when the fact is on disk.
    pub commit: &'a dyn Fn(Fact) -> Result<(), StepError>,
    /// Bytes done of bytes to do.
    pub progress: &'a dyn Fn(u64, u64),
}

/// One kind of step.
pub trait Step: Sync {
    /// Looks whether the step has to run. Changes nothing on the device.
    ///
    /// # Errors
    /// If it could not look.
    fn inspect(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Found, StepError> {
        let _ = (cx, bench);
        Ok(Found::NotDone)
    }

    /// Performs the step and verifies what it did.
    ///
    /// # Errors
    /// Whose fault, a stable code, what was being done, and the causes.
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError>;
}

/// Performs the step of `cx` on the device that is attached there.
///
/// # Errors
/// As [`Step::run`]; [`Code::DeviceSwapped`] if another device is there.
pub fn perform(cx: &Cx<'_>, attached: &Attached) -> Result<Report, StepError> {
    let step = table(cx.work.kind)?;
    let mut bench = Bench::open(cx, attached)?;
    match step.inspect(cx, &mut bench)? {
        Found::NotDone => step.run(cx, &mut bench),
        Found::AlreadyDone(why) => Ok(stays(Outcome::Skipped { why })),
        Found::Unknown(why) => Err(StepError::new(Code::StateUnknown, why)),
    }
}

fn table(kind: StepKind) -> Result<&'static dyn Step, StepError> {
    Ok(match kind {
        StepKind::Update { .. } => &update::Update,
        StepKind::Flash { .. } => &flash::Flash,
        StepKind::ReadKey => &read_key::ReadKey,
        StepKind::Rekey => &rekey::Rekey,
        StepKind::RollBack => &roll_back::RollBack,
        StepKind::ServerKey => &server_key::ServerKey,
        StepKind::Question => &question::Question,
        StepKind::Examine => &examine::Examine,
        StepKind::SignPacket => &sign_packet::SignPacket,
        StepKind::ServiceMode => &service_mode::ServiceMode,
        StepKind::ProtectAgain => &protect_again::ProtectAgain,
        StepKind::Boot => &boot::Boot,
        StepKind::JoinNetwork => &network::JoinNetwork,
        StepKind::ForgetNetwork => &network::ForgetNetwork,
        StepKind::Check => &check::Check,
        StepKind::Admit
        | StepKind::Enrol
        | StepKind::RegisterPresent
        | StepKind::Register
        | StepKind::Prove
        | StepKind::Survey
        | StepKind::Secure
        | StepKind::GiveBack => {
            return Err(StepError::new(
                Code::Internal,
                format!("{}: this is not a worker's step", kind.label()),
            ));
        }
    })
}

/// The report of a step that leaves the device as it is.
fn stays(outcome: Outcome) -> Report {
    Report {
        outcome,
        after: After::Stays,
    }
}
