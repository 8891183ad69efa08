//! The network of a device in normal mode: the bench's Wi-Fi, hardware addresses, the cloud connection
//! (device-protocol.md 2.7).

use std::time::Duration;

use zeroize::Zeroize;

use crate::model::{Mono, recipe::Wifi};

use super::{
    Control, ControlError, DeviceError, ResultCode,
    control::REQUEST_LIMIT,
    messages::{
        config::GetConnectionStatusRequest,
        network::{
            ClearKnownNetworksRequest, Credentials, GetCurrentNetworkRequest, GetInterfaceListRequest, GetInterfaceRequest,
            JoinNewNetworkRequest, RemoveKnownNetworkRequest, ScanNetworksRequest, SetCredentialsRequest,
        },
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

/// The name of the Wi-Fi network that a device is connected to; `None` if to none.
pub fn current_wifi(control: &mut Control<'_>) -> Result<Option<String>, DeviceError> {
    let deadline = control.within(LIMIT);
    match control.call(&GetCurrentNetworkRequest {}, deadline) {
        Ok(reply) => Ok(Some(reply.ssid).filter(|ssid| !ssid.is_empty())),
        Err(error) if error.is_result(ResultCode::INVALID_STATE) || error.is_result(ResultCode::NOT_FOUND) => Ok(None),
        Err(error) => Err(DeviceError::Network(error)),
    }
}

/// The state of the cloud connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Device OS's own")]
pub enum CloudStatus {
    Disconnected,
    Connecting,
    Connected,
    Disconnecting,
}

/// Asks a device for the state of its cloud connection.
pub fn cloud_status(control: &mut Control<'_>) -> Result<CloudStatus, ControlError> {
    let deadline = control.within(LIMIT);
    let request = GetConnectionStatusRequest {};
    match control.call(&request, deadline)?.status {
        0 => Ok(CloudStatus::Disconnected),
        1 => Ok(CloudStatus::Connecting),
        2 => Ok(CloudStatus::Connected),
        3 => Ok(CloudStatus::Disconnecting),
        _ => Err(ControlError::Nonsense {
            request: super::RequestType::CloudStatus,
            what: "not a connection status",
        }),
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
