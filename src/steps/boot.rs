//! Leaves DFU mode and lets the application start.

use crate::{
    device::{DeviceError, Dfu},
    model::{Outcome, StepError, StepKind, platform::UsbMode},
    rack::After,
};

use super::{Bench, Cx, Report, Step, open::failed};

/// The step.
pub(super) struct Boot;

impl Step for Boot {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        bench
            .dfu(StepKind::Boot.label())
            .and_then(|dfu| Dfu::leave(dfu).map_err(|e| failed(StepKind::Boot.label(), &DeviceError::from(e))))?;
        Ok(Report {
            outcome: Outcome::Done,
            after: After::Returns {
                mode: UsbMode::Normal,
                within: cx.recipe.timeouts.reappear,
            },
        })
    }
}
