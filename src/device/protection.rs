//! Device Protection of a device in normal mode (device-protocol.md 2.9).

use std::time::Duration;

use crate::model::{OsVersion, fact::Protection};

use super::{
    Control, ControlError, ResultCode,
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

#[cfg(test)]
mod tests {
    use super::{
        super::script::{Script, hex},
        *,
    };
    use crate::model::{Platform, platform::UsbMode};

    fn told(platform: Platform, version: &str, answer: Option<Result<&str, i32>>) -> Result<Protection, ControlError> {
        let script = Script::new();
        script.opening(version);
        if let Some(answer) = answer {
            let body = answer.map(hex);
            script.request(76, &[], body.as_deref().map_err(|code| *code));
        }
        let mut link = script.link(platform, UsbMode::Normal);
        let outcome = state(&mut Control::open(&mut link).unwrap());
        script.done();
        outcome
    }

    #[test]
    fn every_state_is_told_apart() {
        assert_eq!(told(Platform::P2, "6.2.0", Some(Ok(""))), Ok(Protection::Open));
        assert_eq!(told(Platform::P2, "6.2.0", Some(Ok("0801"))), Ok(Protection::Protected));
        assert_eq!(told(Platform::P2, "6.2.0", Some(Ok("1001"))), Ok(Protection::Service));
        assert_eq!(told(Platform::P2, "6.0.0-rc.1", Some(Err(-120))), Ok(Protection::Open));
        assert_eq!(told(Platform::P2, "nonsense", Some(Err(-1801))), Ok(Protection::Protected));
        assert_eq!(told(Platform::P2, "5.9.0", None), Ok(Protection::Open), "not asked");
        assert_eq!(
            told(Platform::Photon, "3.3.1", None),
            Ok(Protection::Open),
            "no such thing there"
        );
        assert!(told(Platform::P2, "6.2.0", Some(Err(-110))).is_err());
    }

    #[test]
    fn the_way_to_service_mode() {
        let script = Script::new();
        script.opening("6.2.0");
        let nonce: [u8; 32] = std::array::from_fn(|i| i as u8);
        script.request(
            77,
            &[hex("080112220a20"), nonce.to_vec()].concat(),
            Ok(&hex("0a060a0101120102")),
        );
        script.request(
            77,
            &[hex("08021a270a03"), vec![5; 3], hex("1220"), vec![6; 32]].concat(),
            Ok(&[]),
        );
        script.request(77, &[], Ok(&[]));
        let mut link = script.link(Platform::P2, UsbMode::Normal);
        let mut control = Control::open(&mut link).unwrap();
        let reply = prepare(&mut control, nonce).unwrap().unwrap();
        assert_eq!((reply.device_nonce, reply.device_signature), (vec![1], vec![2]));
        confirm(&mut control, vec![5; 3], [6; 32]).unwrap();
        restore(&mut control).unwrap();
        script.done();
    }
}
