//! Network interfaces and Wi-Fi (device-protocol.md 2.7).

use std::fmt;

use zeroize::Zeroize;

use super::{Empty, calls};

calls! {
    empty GetInterfaceListRequest = InterfaceList -> GetInterfaceListReply, "Asks for the network interfaces (400).";
    empty GetKnownNetworksRequest = WifiKnown -> GetKnownNetworksReply, "Asks for the Wi-Fi networks that it knows (502).";
    empty ClearKnownNetworksRequest = WifiClearKnown -> Empty, "Forgets every Wi-Fi network (504).";
    empty GetCurrentNetworkRequest = WifiCurrent -> GetCurrentNetworkReply, "Asks for the connected Wi-Fi network (505).";
    empty ScanNetworksRequest = WifiScan -> ScanNetworksReply, "Looks for Wi-Fi networks (506).";
    message GetInterfaceRequest = Interface -> GetInterfaceReply;
    message JoinNewNetworkRequest = WifiJoinNew -> Empty;
    message SetCredentialsRequest = WifiSetCredentials -> Empty;
    message RemoveKnownNetworkRequest = WifiRemoveKnown -> Empty;
}

/// The network interfaces.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetInterfaceListReply {
    /// Each with index, name and type.
    #[prost(message, repeated, tag = "1")]
    pub interfaces: Vec<InterfaceEntry>,
}

/// A network interface in the list.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InterfaceEntry {
    /// Index.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// Name, such as `wl3`.
    #[prost(string, tag = "2")]
    pub name: String,
    /// 1 loopback, 2 Thread, 4 Ethernet, 8 Wi-Fi, 16 PPP.
    #[prost(int32, tag = "3")]
    pub kind: i32,
}

/// Asks for one network interface (401).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GetInterfaceRequest {
    /// Index.
    #[prost(uint32, tag = "1")]
    pub index: u32,
}

/// One network interface.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetInterfaceReply {
    /// It.
    #[prost(message, optional, tag = "1")]
    pub interface: Option<Interface>,
}

/// A network interface; of its fields only those that keyrack uses.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Interface {
    /// Index.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// Name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Type, as in the list.
    #[prost(int32, tag = "3")]
    pub kind: i32,
    /// 1 up, 0x40 running.
    #[prost(uint32, tag = "4")]
    pub flags: u32,
    /// Hardware address.
    #[prost(bytes = "vec", tag = "8")]
    pub hw_address: Vec<u8>,
}

/// How to enter a Wi-Fi network.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct Credentials {
    /// 0 none, 1 password.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The password.
    #[prost(string, tag = "2")]
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

impl Zeroize for Credentials {
    fn zeroize(&mut self) {
        self.password.zeroize();
    }
}

/// Stores a Wi-Fi network without connecting to it (507).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetCredentialsRequest {
    /// Network name.
    #[prost(string, tag = "1")]
    pub ssid: String,
    /// Access point, if only one counts.
    #[prost(bytes = "vec", tag = "2")]
    pub bssid: Vec<u8>,
    /// 0 none, 1 WEP, 2 WPA, 3 WPA2, 4 WPA/WPA2, 5 WPA3, 6 WPA2/WPA3.
    #[prost(int32, tag = "3")]
    pub security: i32,
    /// How to enter it.
    #[prost(message, optional, tag = "4")]
    pub credentials: Option<Credentials>,
    /// The network does not tell its name.
    #[prost(bool, tag = "6")]
    pub hidden: bool,
}

/// Connects to a Wi-Fi network and stores it (500): the same fields as [`SetCredentialsRequest`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct JoinNewNetworkRequest {
    /// Network name.
    #[prost(string, tag = "1")]
    pub ssid: String,
    /// Access point, if only one counts.
    #[prost(bytes = "vec", tag = "2")]
    pub bssid: Vec<u8>,
    /// As in [`SetCredentialsRequest`].
    #[prost(int32, tag = "3")]
    pub security: i32,
    /// How to enter it.
    #[prost(message, optional, tag = "4")]
    pub credentials: Option<Credentials>,
    /// The network does not tell its name.
    #[prost(bool, tag = "6")]
    pub hidden: bool,
}

impl From<SetCredentialsRequest> for JoinNewNetworkRequest {
    fn from(set: SetCredentialsRequest) -> Self {
        Self {
            ssid: set.ssid,
            bssid: set.bssid,
            security: set.security,
            credentials: set.credentials,
            hidden: set.hidden,
        }
    }
}

/// Forgets one Wi-Fi network (503).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RemoveKnownNetworkRequest {
    /// Network name.
    #[prost(string, tag = "1")]
    pub ssid: String,
}

/// The Wi-Fi networks that a device knows.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetKnownNetworksReply {
    /// Each by its name.
    #[prost(message, repeated, tag = "1")]
    pub networks: Vec<KnownNetwork>,
}

/// A Wi-Fi network that a device knows; of its fields only the one that keyrack uses.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KnownNetwork {
    /// Network name.
    #[prost(string, tag = "1")]
    pub ssid: String,
}

/// The connected Wi-Fi network.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetCurrentNetworkReply {
    /// Network name.
    #[prost(string, tag = "1")]
    pub ssid: String,
    /// Access point.
    #[prost(bytes = "vec", tag = "2")]
    pub bssid: Vec<u8>,
    /// Channel.
    #[prost(int32, tag = "3")]
    pub channel: i32,
    /// Signal strength in dBm.
    #[prost(int32, tag = "4")]
    pub rssi: i32,
}

/// Wi-Fi networks in reach.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScanNetworksReply {
    /// Each once per access point.
    #[prost(message, repeated, tag = "1")]
    pub networks: Vec<ScannedNetwork>,
}

/// A Wi-Fi network in reach.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ScannedNetwork {
    /// Network name.
    #[prost(string, tag = "1")]
    pub ssid: String,
    /// Access point.
    #[prost(bytes = "vec", tag = "2")]
    pub bssid: Vec<u8>,
    /// As in [`SetCredentialsRequest`].
    #[prost(int32, tag = "3")]
    pub security: i32,
    /// Channel.
    #[prost(int32, tag = "4")]
    pub channel: i32,
    /// Signal strength in dBm.
    #[prost(int32, tag = "5")]
    pub rssi: i32,
}
