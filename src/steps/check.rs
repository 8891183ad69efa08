//! Looks at the running device: who it is, what it runs, and that nothing was checked and failed.

use crate::{
    device,
    firmware::{Piece, PieceKind, Presence, dependency::presence},
    model::{
        Code, Fact, Outcome, StepError, StepKind,
        fact::{Identity, Protection},
        module::ModuleFunction,
    },
};

use super::{Bench, Cx, Report, Step, open::failed, stays};

/// The step.
pub(super) struct Check;

impl Step for Check {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let doing = StepKind::Check.label();
        let attached = bench.attached();
        let identity = device::identify(bench.link(), &attached).map_err(|e| failed(doing, &e))?;
        (cx.commit)(Fact::DeviceSeen {
            slot: cx.work.slot,
            port: attached.port.clone(),
            identity: identity.clone(),
        })?;
        guarded(&identity, cx.work.serviced)?;
        healthy(&identity)?;
        let missing: Vec<&str> = cx
            .pieces
            .iter()
            .filter(|piece| !shown(piece, &identity))
            .map(|p| p.label.as_str())
            .collect();
        match (identity.modules.is_empty(), missing.as_slice()) {
            (true, _) => Ok(stays(Outcome::Warned {
                why: "the device does not tell its modules: they were not checked".to_owned(),
            })),
            (false, []) => Ok(stays(Outcome::Done)),
            (false, missing) => Err(StepError::new(
                Code::VersionMismatch,
                format!("{doing}: {} not installed", missing.join(", ")),
            )),
        }
    }
}

/// A device is as protected as its run left it: not at all, or in Service Mode.
fn guarded(identity: &Identity, serviced: bool) -> Result<(), StepError> {
    let (code, what) = match (identity.protection, serviced) {
        (Protection::Open, false) | (Protection::Service, true) => return Ok(()),
        (Protection::Open, true) => (
            Code::NotProtectedAgain,
            "the device was protected and shows no protection any more",
        ),
        (Protection::Protected, true) => (Code::Protected, "the device is not in Service Mode any more"),
        (Protection::Protected | Protection::Service, false) => (Code::Protected, "the device became protected in this run"),
    };
    Err(StepError::new(code, format!("check the protection: {what}")))
}

fn healthy(identity: &Identity) -> Result<(), StepError> {
    let bad: Vec<String> = identity
        .modules
        .iter()
        .filter(|m| !m.healthy())
        .map(|m| format!("{} {} v{}", m.function, m.index, m.version))
        .collect();
    if bad.is_empty() {
        Ok(())
    } else {
        Err(StepError::new(
            Code::ModuleInvalid,
            format!("check the modules: {} failed a check", bad.join(", ")),
        ))
    }
}

/// True if the device reports the module of a piece, or would not report it in any case. Assets are in a list of their
/// own, and the firmware of a network processor is not always told.
fn shown(piece: &Piece, identity: &Identity) -> bool {
    let function = piece.module.header().function;
    if piece.kind != PieceKind::Module || matches!(function, ModuleFunction::Asset | ModuleFunction::NcpFirmware) {
        return true;
    }
    matches!(
        presence(&piece.module, &identity.modules, None),
        Presence::Same | Presence::SameVersion | Presence::Uncertain
    )
}
