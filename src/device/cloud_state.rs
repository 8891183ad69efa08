//! What a running device says of its connection to the cloud: its state (request 300) and the last error of a handshake
//! (request 100, device-protocol.md 2.4).
//!
//! A device that is protected, too old or too busy to tell is no failure: what it does not tell is absent.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::{
    Mono,
    cloud_state::{CloudError, CloudState, CloudStatus},
    platform::Network,
};

use super::{
    Control, ControlError, RequestType,
    messages::{config::GetConnectionStatusRequest, network::GetKnownNetworksRequest},
};

/// Asks a device once.
///
/// # Errors
/// Only if nothing more can come of the link.
pub fn read(control: &mut Control<'_>) -> Result<CloudState, ControlError> {
    let deadline = control.within(LIMIT);
    let status = match control.call(&GetConnectionStatusRequest {}, deadline) {
        Ok(reply) => status(reply.status),
        Err(error) if error.is_final() => return Err(error),
        // It refuses the other request just so.
        Err(ControlError::Protected { .. }) => return Ok(CloudState::default()),
        Err(_) => None,
    };
    let deadline = control.within(LIMIT);
    let diagnostics = match control.request(RequestType::DiagnosticInfo, &[], deadline) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(error) if error.is_final() => return Err(error),
        Err(_) => Map::new(),
    };
    Ok(CloudState {
        status,
        error: number(&diagnostics, LAST_ERROR)
            .and_then(|n| i32::try_from(n).ok())
            .map(CloudError),
        attempts: number(&diagnostics, ATTEMPTS).and_then(|n| u32::try_from(n).ok()),
    })
}

/// Asks a device again and again until it is connected, tells an error, or turns out not to tell anything; at the deadline
/// at the latest. A device that has just started has no error to tell yet.
///
/// One that is not even connecting is waiting for a network. For one that will not come nobody waits: a Wi-Fi device that
/// knows no network, and a mesh device, are left at once, and any other after the time that a network takes to come up.
///
/// # Errors
/// Only if nothing more can come of the link.
pub fn watch(control: &mut Control<'_>, deadline: Mono) -> Result<CloudState, ControlError> {
    let network_by = control.within(NETWORK);
    let mut may_connect = None;
    loop {
        let state = read(control)?;
        let failed = state.error.is_some_and(|error| !error.is_none());
        let now = control.link().now();
        let left = deadline.since(now);
        if state.is_connected() || failed || !state.is_told() || left.is_zero() {
            return Ok(state);
        }
        if state.status == Some(CloudStatus::Disconnected) {
            let may = match may_connect {
                Some(may) => may,
                None => *may_connect.insert(knows_network(control)?),
            };
            if !may || now >= network_by {
                return Ok(state);
            }
        }
        control.link().sleep(PAUSE.min(left));
    }
}

/// False if a device has no network by which it could connect.
fn knows_network(control: &mut Control<'_>) -> Result<bool, ControlError> {
    match control.link().platform().row().network {
        Network::Mesh => Ok(false),
        Network::Cellular => Ok(true),
        Network::Wifi => {
            let deadline = control.within(LIMIT);
            match control.call(&GetKnownNetworksRequest {}, deadline) {
                Ok(reply) => Ok(!reply.networks.is_empty()),
                Err(error) if error.is_final() => Err(error),
                // An older system cannot be asked.
                Err(_) => Ok(true),
            }
        }
    }
}

/// A newer system may have states that we do not know.
const fn status(number: i32) -> Option<CloudStatus> {
    Some(match number {
        0 => CloudStatus::Disconnected,
        1 => CloudStatus::Connecting,
        2 => CloudStatus::Connected,
        3 => CloudStatus::Disconnecting,
        _ => return None,
    })
}

/// A value of the diagnostics. One that the device could not get is an object with the error, and no number.
fn number(diagnostics: &Map<String, Value>, name: &str) -> Option<i64> {
    diagnostics.get(name)?.as_i64()
}

/// The names of Device OS for the last error of a handshake and for the number of tries.
const LAST_ERROR: &str = "cloud:err";
const ATTEMPTS: &str = "cloud:connatt";

/// The system thread of a device that is connecting may be slow to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a network may take to come up, a device that has just started included.
const NETWORK: Duration = Duration::from_secs(8);

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{
        super::script::{Script, hex, init},
        *,
    };
    use crate::{
        edge::UsbError,
        model::{Platform, platform::UsbMode},
    };

    fn with<T>(script: &Script, act: impl FnOnce(&mut Control<'_>) -> T) -> T {
        let mut link = script.link(Platform::Photon, UsbMode::Normal);
        let outcome = act(&mut Control::open(&mut link).unwrap());
        script.done();
        outcome
    }

    fn told(status: Result<&str, i32>, diagnostics: Result<&str, i32>) -> CloudState {
        let script = Script::new();
        script.opening("2.3.1");
        let status = status.map(hex);
        script.request(300, &[], status.as_deref().map_err(|code| *code));
        script.request(100, &[], diagnostics.map(str::as_bytes));
        with(&script, read).unwrap()
    }

    #[test]
    fn both_are_told() {
        let diagnostics = r#"{"sys:uptime":12,"cloud:stat":1,"cloud:err":26,"cloud:connatt":3,"net:rssi":{"err":-210}}"#;
        let state = told(Ok("0801"), Ok(diagnostics));
        assert_eq!(
            (state.status, state.error, state.attempts),
            (Some(CloudStatus::Connecting), Some(CloudError(26)), Some(3))
        );
        assert_eq!(told(Ok("0802"), Ok("{\"cloud:err\":0}")).status, Some(CloudStatus::Connected));
        assert_eq!(told(Ok(""), Err(-120)).status, Some(CloudStatus::Disconnected));
    }

    #[test]
    fn what_a_device_cannot_tell_is_absent() {
        // Before Device OS 1.1.0 the state is not told, and some systems have no diagnostics.
        assert_eq!(told(Err(-120), Err(-120)), CloudState::default());
        assert_eq!(told(Err(-130), Ok("{\"cloud:err\":10}")).error, Some(CloudError(10)));
        for nonsense in [
            "",
            "[]",
            "{",
            "{\"cloud:err\":{\"err\":-120}}",
            "{\"cloud:err\":\"26\"}",
            "{\"cloud:err\":99999999999}",
        ] {
            let state = told(Ok("0801"), Ok(nonsense));
            assert_eq!(
                (state.error, state.status),
                (None, Some(CloudStatus::Connecting)),
                "{nonsense}"
            );
        }
        assert_eq!(
            told(Ok("0809"), Ok("{}")),
            CloudState::default(),
            "a state that we do not know"
        );
    }

    #[test]
    fn a_protected_device_is_asked_once() {
        let script = Script::new();
        script.opening("6.2.0");
        script.request(300, &[], Err(-1801));
        assert_eq!(with(&script, read), Ok(CloudState::default()));
    }

    #[test]
    fn going_away_is_no_answer() {
        let script = Script::new();
        script.opening("6.2.0");
        script.fail(init(300, 0), &[], UsbError::Gone);
        assert!(with(&script, read).is_err());
        let script = Script::new();
        script.opening("6.2.0");
        script.request(300, &[], Ok(&[]));
        script.fail(init(100, 0), &[], UsbError::Gone);
        assert!(with(&script, read).is_err());
    }

    #[test]
    fn it_is_watched_until_there_is_something_to_say() {
        let script = Script::new();
        script.opening("6.2.0");
        for diagnostics in ["{\"cloud:err\":0}", "{\"cloud:err\":0}", "{\"cloud:err\":10}"] {
            script.request(300, &[], Ok(&[8, 1]));
            script.request(100, &[], Ok(diagnostics.as_bytes()));
        }
        let state = with(&script, |c| watch(c, c.within(Duration::from_secs(60)))).unwrap();
        assert_eq!(state.error, Some(CloudError(10)));

        let script = Script::new();
        script.opening("6.2.0");
        for _ in 0..3 {
            script.request(300, &[], Ok(&[8, 1]));
            script.request(100, &[], Ok(b"{\"cloud:err\":0}"));
        }
        let state = with(&script, |c| watch(c, c.within(Duration::from_millis(2_200)))).unwrap();
        assert_eq!(state.error, Some(CloudError(0)), "until the deadline, and not longer");

        let script = Script::new();
        script.opening("0.9.0");
        script.request(300, &[], Err(-120));
        script.request(100, &[], Err(-120));
        assert_eq!(
            with(&script, |c| watch(c, c.within(Duration::from_secs(60)))),
            Ok(CloudState::default())
        );
    }

    /// Disconnected, and no error; `times` looks, and then what is asked about networks.
    fn waiting(platform: Platform, times: usize, networks: Result<&[u8], i32>) -> (CloudState, u64) {
        let script = Script::new();
        script.opening("2.3.1");
        for n in 0..times {
            script.request(300, &[], Ok(&[8, 0]));
            script.request(100, &[], Ok(b"{\"cloud:err\":0}"));
            if n == 0 && platform.row().network == Network::Wifi {
                script.request(502, &[], networks);
            }
        }
        let mut link = script.link(platform, UsbMode::Normal);
        let mut control = Control::open(&mut link).unwrap();
        let (began, deadline) = (control.link().now(), control.within(Duration::from_secs(20)));
        let state = watch(&mut control, deadline).unwrap();
        let took = control.link().now().since(began).as_secs();
        drop(control);
        script.done();
        (state, took)
    }

    #[test]
    fn nobody_waits_for_a_device_that_will_not_connect() {
        let disconnected = Some(CloudStatus::Disconnected);
        for (platform, looks, networks, seconds) in [
            (Platform::Photon, 1, Ok(&[][..]), 0),
            (Platform::Argon, 1, Ok(&[][..]), 0),
            (Platform::Xenon, 1, Ok(&[][..]), 0),
            // It knows a network, cannot be asked, or needs none: a network may still come up.
            (Platform::Photon, 9, Ok(&hex("0a050a036e6574")[..]), 8),
            (Platform::P2, 9, Err(-120), 8),
            (Platform::Boron, 9, Ok(&[][..]), 8),
        ] {
            let (state, took) = waiting(platform, looks, networks);
            assert_eq!((state.status, took), (disconnected, seconds), "{platform}");
        }
    }
}
