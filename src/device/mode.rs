//! Restarting a device, and making it show itself. Waiting for it to appear again is not done here.

use std::time::Duration;

use super::{
    Control, ControlError, Link,
    messages::{
        Call,
        config::{DfuModeRequest, ResetRequest, SafeModeRequest, StartNyanRequest, StopNyanRequest},
    },
    raw,
};

/// Restarts a device in normal mode into DFU mode. It leaves the bus about a second after its answer.
pub fn enter_dfu(control: &mut Control<'_>) -> Result<(), ControlError> {
    restart(control, &DfuModeRequest {})
}

/// Restarts a device in normal mode into safe mode.
pub fn enter_safe_mode(control: &mut Control<'_>) -> Result<(), ControlError> {
    restart(control, &SafeModeRequest {})
}

/// Restarts a device in normal mode: in order, or at once if it does not perform the request.
pub fn reset(control: &mut Control<'_>) -> Result<(), ControlError> {
    match restart(control, &ResetRequest {}) {
        Err(error) if !error.is_final() => raw::reset(control.link()),
        outcome => outcome,
    }
}

/// Makes the light of a device run through the rainbow, so that a person finds it.
pub fn start_nyan(control: &mut Control<'_>) -> Result<(), ControlError> {
    let deadline = control.within(LIMIT);
    control.call(&StartNyanRequest {}, deadline).map(drop)
}

/// Ends the rainbow.
pub fn stop_nyan(control: &mut Control<'_>) -> Result<(), ControlError> {
    let deadline = control.within(LIMIT);
    control.call(&StopNyanRequest {}, deadline).map(drop)
}

/// Restarts a device whatever it does; it needs no answer of the running system.
pub fn force_reset(link: &mut Link) -> Result<(), ControlError> {
    raw::reset(link)
}

/// A request that restarts the device: going away once it was accepted is success.
fn restart<C: Call>(control: &mut Control<'_>, request: &C) -> Result<(), ControlError> {
    let deadline = control.within(LIMIT);
    match control.call(request, deadline) {
        Err(error) if error.vanished_after_start() => Ok(()),
        // The request may be forgotten already when the restart is near.
        Err(ControlError::Lost { .. }) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// A busy system thread may take some seconds, even though these requests abort its connecting.
const LIMIT: Duration = Duration::from_secs(20);
