//! Asks a running device about its connection to the cloud: hints for a diagnosis, never proof. Changes nothing.

use crate::{
    device::cloud_state,
    model::{Fact, Outcome, StepError, StepKind},
};

use super::{Bench, Cx, Report, Step, open::failed, stays};

/// The step.
pub(super) struct Question;

impl Step for Question {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let mut control = bench.control(DOING)?;
        let deadline = control.within(LISTEN);
        let state = cloud_state::watch(&mut control, deadline).map_err(|e| failed(DOING, &e.into()))?;
        (cx.commit)(Fact::Questioned {
            run: cx.work.run,
            device: cx.work.device,
            state,
        })?;
        Ok(stays(Outcome::Done))
    }
}

const DOING: &str = StepKind::Question.label();
/// How long a device may take to connect, or to tell an error of its handshake.
const LISTEN: std::time::Duration = std::time::Duration::from_secs(20);
