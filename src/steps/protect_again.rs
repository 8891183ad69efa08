//! Ends Service Mode, and sees that the device is protected: what was begun with [`super::service_mode`], or left behind
//! by whoever had the device before.

use crate::{
    device::{
        Control, DeviceError, Dfu, DfuError, Link, protection,
        service_mode::{self, ServiceError},
        state_string,
    },
    model::{Fact, Outcome, StepError, StepKind, fact::Protection, platform::UsbMode},
    rack::After,
};

use super::{Bench, Cx, Report, Step, open::failed, stays};

/// The step.
pub(super) struct ProtectAgain;

impl Step for ProtectAgain {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let (run, device) = (cx.work.run, cx.work.device);
        let was = shown(bench.link(), DOING)?;
        let outcome = match was {
            Shown::Told(Protection::Protected) => Outcome::Skipped {
                why: "the device shows that it is protected".to_owned(),
            },
            Shown::Told(_) | Shown::Memory => match service_mode::end(bench.link()) {
                Ok(()) => Outcome::Done,
                // Early bootloaders cannot end it, or do not show the end. The running system does both.
                Err(error) if bench.mode() == UsbMode::Dfu && error.link().is_none() => {
                    return Ok(Report {
                        outcome: Outcome::Done,
                        after: After::Needs(UsbMode::Normal),
                    });
                }
                Err(error) => return Err(refused(DOING, &error)),
            },
        };
        (cx.commit)(Fact::ProtectedAgain { run, device })?;
        Ok(stays(outcome))
    }
}

/// What a device shows of its protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It tells its state.
    Told(Protection),
    /// Its bootloader does not tell, and shows memory that can be read: a protected device in Service Mode, or an open one.
    Memory,
}

/// Looks at it, in whichever mode the device is.
pub(super) fn shown(link: &mut Link, doing: &str) -> Result<Shown, StepError> {
    let told = state_string::read(link).map_err(|e| failed(doing, &DeviceError::Descriptor(e)))?;
    let by = |e: DeviceError| failed(doing, &e);
    Ok(match (told, link.mode()) {
        (Some(state), _) => Shown::Told(state),
        (None, UsbMode::Normal) => {
            let mut control = Control::open(link).map_err(|e| by(e.into()))?;
            Shown::Told(protection::state(&mut control).map_err(|e| by(e.into()))?)
        }
        (None, UsbMode::Dfu) => match Dfu::open(link)
            .and_then(|mut dfu| dfu.protection())
            .map_err(|e: DfuError| by(e.into()))?
        {
            Protection::Protected => Shown::Told(Protection::Protected),
            Protection::Open | Protection::Service => Shown::Memory,
        },
    })
}

/// A failure of the way in or out as the failure of a step.
pub(super) fn refused(doing: &str, error: &ServiceError) -> StepError {
    StepError::caused(error.code(), doing, error)
}

const DOING: &str = StepKind::ProtectAgain.label();
