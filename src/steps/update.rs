//! Sends one piece of firmware through the running system, which checks it, restarts and applies it.

use crate::{
    device::{self, DeviceError},
    firmware::dependency::presence,
    model::{Found, Outcome, StepError, platform::UsbMode, recipe::Sha256},
    rack::After,
};

use super::{Bench, Cx, Report, Step, flash::piece, open::failed};

/// The step.
pub(super) struct Update;

impl Step for Update {
    fn inspect(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Found, StepError> {
        let piece = piece(cx)?;
        let mut control = bench.control("look at the installed modules")?;
        // A system too old to tell its modules is updated without a look.
        let reported = device::modules::read(&mut control).unwrap_or_default();
        let header = piece.module.header();
        let hash = reported
            .iter()
            .find(|m| m.module.function == header.function && m.module.index == header.index)
            .and_then(|m| m.sha256)
            .map(Sha256);
        let installed: Vec<_> = reported.into_iter().map(|m| m.module).collect();
        Ok(if presence(&piece.module, &installed, hash).is_there() {
            Found::AlreadyDone(format!("{} is already installed", piece.label))
        } else {
            Found::NotDone
        })
    }

    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let piece = piece(cx)?;
        let doing = format!("send {}", piece.label);
        let mut control = bench.control(&doing)?;
        let deadline = control.within(cx.recipe.timeouts.flash);
        device::update::send(&mut control, &piece.bytes, deadline, &mut |done, of| (cx.progress)(done, of))
            .map_err(|e| failed(&doing, &DeviceError::from(e)))?;
        Ok(Report {
            outcome: Outcome::Done,
            after: After::Returns {
                mode: UsbMode::Normal,
                within: cx.recipe.timeouts.apply,
            },
        })
    }
}
