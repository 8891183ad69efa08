//! Device Protection of a device in normal mode (device-protocol.md 2.9).

use std::time::Duration;

use crate::model::fact::Protection;

use super::{
    Control, ControlError, OsVersion, ResultCode,
    messages::config::{GetProtectedStateRequest, PrepareReply, SetProtectedStateRequest},
};

/// The state of protection. A platform or system without protection is open.
pub fn state(control: &mut Control<'_>) -> Result<Protection, ControlError> {
    let platform = control.link().platform();
    let too_old = control.version().is_some_and(|v| v.numbers < FIRST.numbers);
    if !platform.row().protection || too_old {
        return Ok(Protection::Open);
    }
    let deadline = control.within(LIMIT);
    match control.call(&GetProtectedStateRequest {}, deadline) {
        Ok(reply) if reply.overridden => Ok(Protection::Service),
        Ok(reply) if reply.state => Ok(Protection::Protected),
        Ok(_) => Ok(Protection::Open),
        Err(error) if error.is_result(ResultCode::NOT_SUPPORTED) => Ok(Protection::Open),
        Err(ControlError::Protected { .. }) => Ok(Protection::Protected),
        Err(error) => Err(error),
    }
}

/// Begins the way to Service Mode with the server's nonce of 32 bytes. `None` means that the device is open.
pub fn prepare(control: &mut Control<'_>, server_nonce: [u8; 32]) -> Result<Option<PrepareReply>, ControlError> {
    let deadline = control.within(LIMIT);
    let request = SetProtectedStateRequest::prepare(server_nonce.to_vec());
    control.call(&request, deadline).map(|reply| reply.prepare)
}

/// Ends the way to Service Mode, at most 60 s after [`prepare`]: the server's signature and the fingerprint of its key.
pub fn confirm(control: &mut Control<'_>, signature: Vec<u8>, fingerprint: [u8; 32]) -> Result<(), ControlError> {
    let deadline = control.within(LIMIT);
    let request = SetProtectedStateRequest::confirm(signature, fingerprint.to_vec());
    control.call(&request, deadline).map(drop)
}

/// Ends Service Mode.
pub fn restore(control: &mut Control<'_>) -> Result<(), ControlError> {
    let deadline = control.within(LIMIT);
    control.call(&SetProtectedStateRequest::reset(), deadline).map(drop)
}

/// GET_PROTECTED_STATE exists from here on.
const FIRST: OsVersion = OsVersion::new(6, 0, 0);

const LIMIT: Duration = Duration::from_secs(10);
