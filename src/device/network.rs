//! The network of a device in normal mode: the bench's Wi-Fi, hardware addresses (device-protocol.md 2.7).

use std::time::Duration;

use zeroize::Zeroize;

use crate::model::{Mono, recipe::Wifi};

use super::{
    Control, ControlError, DeviceError, ResultCode,
    control::REQUEST_LIMIT,
    messages::network::{
        ClearKnownNetworksRequest, Credentials, GetCurrentNetworkRequest, GetInterfaceListRequest, GetInterfaceRequest,
        GetKnownNetworksRequest, JoinNewNetworkRequest, RemoveKnownNetworkRequest, ScanNetworksRequest, SetCredentialsRequest,
    },
};

/// How a device took its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It stored them; it connects when its application does.
    Stored,
    /// It connected with them, which older systems do to store them.
    Joined,
}

/// Gives a device the credentials of a Wi-Fi network.
pub fn set_wifi(control: &mut Control<'_>, wifi: &Wifi) -> Result<Stored, DeviceError> {
    let deadline = control.within(REQUEST_LIMIT);
    let security = security(control, wifi, deadline).map_err(DeviceError::Network)?;
    let mut message = SetCredentialsRequest {
        ssid: wifi.ssid.clone(),
        security,
        credentials: wifi.password.as_ref().map(|password| Credentials {
            kind: PASSWORD,
            password: password.expose().clone(),
        }),
        ..Default::default()
    };
    let mut outcome = control.call(&message, deadline).map(|_| Stored::Stored);
    if matches!(&outcome, Err(error) if error.is_result(ResultCode::NOT_SUPPORTED)) {
        let mut join = JoinNewNetworkRequest::from(message.clone());
        outcome = control.call(&join, deadline).map(|_| Stored::Joined);
        join.credentials.zeroize();
    }
    message.credentials.zeroize();
    outcome.map_err(DeviceError::Network)
}

/// Takes a Wi-Fi network away from a device; every network, where it cannot forget a single one. A network that it does
/// not know is forgotten already.
pub fn forget_wifi(control: &mut Control<'_>, ssid: &str) -> Result<(), DeviceError> {
    let deadline = control.within(LIMIT);
    let one = RemoveKnownNetworkRequest { ssid: ssid.to_owned() };
    let outcome = match control.call(&one, deadline) {
        Err(error) if error.is_result(ResultCode::NOT_SUPPORTED) => {
            control.call(&ClearKnownNetworksRequest {}, deadline).map(drop)
        }
        Err(error) if error.is_result(ResultCode::NOT_FOUND) => Ok(()),
        outcome => outcome.map(drop),
    };
    outcome.map_err(DeviceError::Network)
}

/// True if a device can be given a Wi-Fi network for a while without losing one of its own: it can forget a single one, or
/// knows none.
pub fn can_borrow_wifi(control: &mut Control<'_>, ssid: &str) -> Result<bool, DeviceError> {
    let deadline = control.within(LIMIT);
    let one = RemoveKnownNetworkRequest { ssid: ssid.to_owned() };
    match control.call(&one, deadline) {
        Ok(_) => return Ok(true),
        Err(error) if error.is_result(ResultCode::NOT_FOUND) => return Ok(true),
        Err(error) if error.is_result(ResultCode::NOT_SUPPORTED) => {}
        Err(error) => return Err(DeviceError::Network(error)),
    }
    match control.call(&GetKnownNetworksRequest {}, deadline) {
        Ok(reply) => Ok(reply.networks.is_empty()),
        // What it does not tell it may have.
        Err(error) if error.is_result(ResultCode::NOT_SUPPORTED) => Ok(false),
        Err(error) => Err(DeviceError::Network(error)),
    }
}

/// The name of the Wi-Fi network that a device is connected to; `None` if to none.
pub fn current_wifi(control: &mut Control<'_>) -> Result<Option<String>, DeviceError> {
    let deadline = control.within(LIMIT);
    match control.call(&GetCurrentNetworkRequest {}, deadline) {
        Ok(reply) => Ok(Some(reply.ssid).filter(|ssid| !ssid.is_empty())),
        Err(error) if error.is_result(ResultCode::INVALID_STATE) || error.is_result(ResultCode::NOT_FOUND) => Ok(None),
        Err(error) => Err(DeviceError::Network(error)),
    }
}

/// The hardware address of a device's Wi-Fi or Ethernet interface, if it has one.
pub fn mac_address(control: &mut Control<'_>) -> Result<Option<[u8; 6]>, ControlError> {
    let deadline = control.within(LIMIT);
    let interfaces = control.call(&GetInterfaceListRequest {}, deadline)?.interfaces;
    let find = |kind| interfaces.iter().find(|i| i.kind == kind);
    let Some(entry) = find(WIFI).or_else(|| find(ETHERNET)) else {
        return Ok(None);
    };
    let reply = control.call(&GetInterfaceRequest { index: entry.index }, deadline)?;
    Ok(reply.interface.and_then(|i| i.hw_address.try_into().ok()))
}

/// What kind of security a network with a password has: what a scan shows, else WPA2.
///
/// An error of the scan is no error of the whole, except when nothing more can come of the link.
fn security(control: &mut Control<'_>, wifi: &Wifi, deadline: Mono) -> Result<i32, ControlError> {
    if wifi.password.is_none() {
        return Ok(OPEN);
    }
    match control.call(&ScanNetworksRequest {}, deadline.min(control.within(SCAN_LIMIT))) {
        Ok(reply) => {
            let ours = reply.networks.iter().filter(|n| n.ssid == wifi.ssid && n.security != OPEN);
            Ok(ours.max_by_key(|n| n.rssi).map_or(WPA2, |n| n.security))
        }
        Err(error) if error.is_final() => Err(error),
        Err(_) => Ok(WPA2),
    }
}

const OPEN: i32 = 0;
const WPA2: i32 = 3;
const PASSWORD: i32 = 1;
const ETHERNET: i32 = 4;
const WIFI: i32 = 8;

const LIMIT: Duration = Duration::from_secs(10);

/// A scan of all channels takes some seconds.
const SCAN_LIMIT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::{
        super::script::{Script, hex},
        *,
    };
    use crate::model::{Code, Platform, Secret, platform::UsbMode};

    fn with<T>(script: &Script, act: impl FnOnce(&mut Control<'_>) -> T) -> T {
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        let outcome = act(&mut Control::open(&mut link).unwrap());
        script.done();
        outcome
    }

    fn wifi(password: Option<&str>) -> Wifi {
        Wifi {
            ssid: "net".into(),
            password: password.map(|p| Secret::new(p.to_owned())),
        }
    }

    /// ssid "net", security, password "pw".
    fn message(security: u8) -> Vec<u8> {
        [hex("0a036e6574"), vec![0x18, security], hex("220608011202"), b"pw".to_vec()].concat()
    }

    fn scripted() -> Script {
        let script = Script::new();
        script.opening("6.2.0");
        script
    }

    #[test]
    fn the_security_is_what_the_scan_shows() {
        let script = scripted();
        // Two access points of our network, the stronger one (-40 dBm) with WPA2/WPA3; and a stranger.
        let scan = "0a120a036e65741803 28c4ffffffffffffffff01 0a120a036e65741806 28d8ffffffffffffffff01 0a070a036f74681801";
        script.request(506, &[], Ok(&hex(scan)));
        script.request(507, &message(6), Ok(&[]));
        assert_eq!(with(&script, |c| set_wifi(c, &wifi(Some("pw")))), Ok(Stored::Stored));
    }

    #[test]
    fn an_old_system_joins_in_order_to_store() {
        let script = scripted();
        script.request(506, &[], Err(-120));
        script.request(507, &message(3), Err(-120));
        script.request(500, &message(3), Ok(&[]));
        assert_eq!(with(&script, |c| set_wifi(c, &wifi(Some("pw")))), Ok(Stored::Joined));
    }

    #[test]
    fn an_open_network_has_no_credentials() {
        let script = scripted();
        script.request(507, &hex("0a036e6574"), Ok(&[]));
        assert_eq!(with(&script, |c| set_wifi(c, &wifi(None))), Ok(Stored::Stored));
    }

    #[test]
    fn a_refusal_is_the_networks() {
        let script = scripted();
        script.request(507, &hex("0a036e6574"), Err(-160));
        let error = with(&script, |c| set_wifi(c, &wifi(None))).unwrap_err();
        assert_eq!(error.code(), Code::NetworkSetup);
    }

    #[test]
    fn forgetting_twice_is_as_good_as_once() {
        for (first, second) in [(Ok(&[][..]), None), (Err(-170), None), (Err(-120), Some(504))] {
            let script = scripted();
            script.request(503, &hex("0a036e6574"), first);
            if let Some(kind) = second {
                script.request(kind, &[], Ok(&[]));
            }
            with(&script, |c| forget_wifi(c, "net")).unwrap();
        }
    }

    #[test]
    fn the_connected_network() {
        let script = scripted();
        script.request(505, &[], Ok(&hex("0a036e6574 1801")));
        script.request(505, &[], Err(-210));
        with(&script, |c| {
            assert_eq!(current_wifi(c), Ok(Some("net".into())));
            assert_eq!(current_wifi(c), Ok(None));
        });
    }

    #[test]
    fn the_hardware_address_is_that_of_wifi() {
        let script = scripted();
        // loopback 1, Ethernet 3, Wi-Fi 4
        script.request(400, &[], Ok(&hex("0a0408011801 0a0408031804 0a0408041808")));
        script.request(401, &hex("0804"), Ok(&hex("0a0a08044206 010203040506")));
        assert_eq!(with(&script, mac_address), Ok(Some([1, 2, 3, 4, 5, 6])));
        let script = scripted();
        script.request(400, &[], Ok(&hex("0a0408011801")));
        assert_eq!(with(&script, mac_address), Ok(None));
    }

    #[test]
    fn a_network_is_lent_only_to_who_keeps_its_own() {
        let forget = |script: &Script, outcome: Result<&[u8], i32>| script.request(503, &hex("0a036e6574"), outcome);
        for (one, known, may) in [
            (Ok(&[][..]), None, Ok(true)),
            (Err(-170), None, Ok(true)),
            (Err(-120), Some(Ok(&[][..])), Ok(true)),
            (Err(-120), Some(Ok(&hex("0a060a04686f6d65")[..])), Ok(false)),
            (Err(-120), Some(Err(-120)), Ok(false)),
            (Err(-110), None, Err(())),
        ] {
            let script = Script::new();
            script.opening("6.2.0");
            forget(&script, one);
            if let Some(known) = known {
                script.request(502, &[], known);
            }
            let found = with(&script, |c| can_borrow_wifi(c, "net"));
            assert_eq!(found.map_err(drop), may);
        }
    }
}
