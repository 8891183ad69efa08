//! Reads the key store of a device to be repaired, twice, and says what its key slot and its server settings are worth.
//! Changes nothing.

use crate::{
    keys::server_exam,
    model::{Fact, Outcome, StepError, StepKind, recipe::ServerPolicy},
};

use super::{Bench, Cx, Report, Step, key_slot, stays};

/// The step.
pub(super) struct Examine;

impl Step for Examine {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let (run, device, platform) = (cx.work.run, cx.work.device, cx.recipe.platform);
        let held = key_slot::read(&mut bench.dfu(StepKind::Examine.label())?, platform)?;
        (cx.commit)(Fact::KeyRead {
            run,
            device,
            content: held.content,
        })?;
        let server = match &cx.recipe.server {
            ServerPolicy::Keep => None,
            ServerPolicy::Set(_) if held.whole.expose().is_empty() => {
                Some(server_exam::unreadable("the key store could not be read"))
            }
            ServerPolicy::Set(wanted) => {
                let transport = platform.row().transport;
                Some(server_exam::examine(held.whole.expose(), platform, transport, wanted, None))
            }
        };
        (cx.commit)(Fact::Examined { run, device, server })?;
        Ok(stays(Outcome::Done))
    }
}
