//! Restarting a device, and making it show itself. Waiting for it to appear again is not done here.

use std::time::Duration;

use super::{
    Control, ControlError, Link,
    messages::{
        Call,
        config::{
            DfuModeRequest, GetDeviceModeRequest, ResetRequest, SafeModeRequest, StartListeningRequest, StartNyanRequest,
            StopListeningRequest, StopNyanRequest,
        },
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

/// Starts listening mode, in which the device does not connect. It answers once it has given up connecting.
pub fn start_listening(control: &mut Control<'_>) -> Result<(), ControlError> {
    let deadline = control.within(LIMIT);
    control.call(&StartListeningRequest {}, deadline).map(drop)
}

/// Ends listening mode.
pub fn stop_listening(control: &mut Control<'_>) -> Result<(), ControlError> {
    let deadline = control.within(LIMIT);
    control.call(&StopListeningRequest {}, deadline).map(drop)
}

/// True if the device is in listening mode.
pub fn is_listening(control: &mut Control<'_>) -> Result<bool, ControlError> {
    let deadline = control.within(LIMIT);
    control
        .call(&GetDeviceModeRequest {}, deadline)
        .map(|reply| reply.mode == LISTENING)
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

const LISTENING: i32 = 1;

/// A busy system thread may take some seconds, even though these requests abort its connecting.
const LIMIT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::{
        super::script::{Script, check, hex, init},
        *,
    };
    use crate::{
        edge::UsbError,
        model::{Platform, platform::UsbMode},
    };

    fn with<T>(script: &Script, act: impl FnOnce(&mut Control<'_>) -> T) -> T {
        let mut link = script.link(Platform::P2, UsbMode::Normal);
        let outcome = act(&mut Control::open(&mut link).unwrap());
        script.done();
        outcome
    }

    #[test]
    fn dfu_mode_is_asked_for_and_going_away_is_success() {
        let script = Script::new();
        script.opening("6.2.0");
        script.request(50, &[], Ok(&[]));
        with(&script, enter_dfu).unwrap();

        for error in [UsbError::Gone, UsbError::Io] {
            let script = Script::new();
            script.opening("6.2.0");
            script.get(init(50, 0), &hex("0300000000000100"));
            script.fail(check(1), &[], error);
            if error == UsbError::Io {
                script.fail(super::super::script::reset(1), &[], UsbError::Gone);
            }
            with(&script, enter_dfu).unwrap();
        }
    }

    #[test]
    fn a_device_that_was_gone_before_is_an_error() {
        let script = Script::new();
        script.opening("6.2.0");
        script.fail(init(50, 0), &[], UsbError::Gone);
        assert!(with(&script, enter_dfu).is_err());
        let script = Script::new();
        script.opening("6.2.0");
        script.request(50, &[], Err(-1801));
        assert!(matches!(with(&script, enter_dfu), Err(ControlError::Protected { .. })));
    }

    #[test]
    fn a_refused_reset_is_made_by_force() {
        let script = Script::new();
        script.opening("6.2.0");
        script.request(40, &[], Err(-1801));
        // With the dummy byte, because this is an RTL device.
        script.fail([0x40, 0x50, 0, 0, 0x28, 0, 1, 0], &[0], UsbError::Gone);
        with(&script, reset).unwrap();
    }

    #[test]
    fn listening_starts_shows_and_stops() {
        let script = Script::new();
        script.opening("6.2.0");
        script.request(70, &[], Ok(&[]));
        script.request(72, &[], Ok(&[8, 1]));
        script.request(71, &[], Ok(&[]));
        script.request(72, &[], Ok(&[]));
        with(&script, |control| {
            start_listening(control).unwrap();
            assert_eq!(is_listening(control), Ok(true));
            stop_listening(control).unwrap();
            assert_eq!(is_listening(control), Ok(false));
        });
    }

    #[test]
    fn the_rainbow_starts_and_stops() {
        let script = Script::new();
        script.opening("6.2.0");
        script.request(230, &[], Ok(&[]));
        script.request(231, &[], Ok(&[]));
        with(&script, |control| start_nyan(control).and_then(|()| stop_nyan(control))).unwrap();
    }
}
