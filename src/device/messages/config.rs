//! Identity, mode, protection and cloud status (device-protocol.md 2.5), and cellular identity (2.7).

use super::{Empty, calls};

calls! {
    empty GetDeviceIdRequest = DeviceId -> GetDeviceIdReply, "Asks for the device id (20).";
    empty GetSerialNumberRequest = SerialNumber -> GetSerialNumberReply, "Asks for the serial number (21).";
    empty GetSystemVersionRequest = SystemVersion -> GetSystemVersionReply, "Asks for the Device OS version (30).";
    empty GetSystemCapabilitiesRequest = SystemCapabilities -> GetSystemCapabilitiesReply, "Asks for capability flags (32).";
    empty ResetRequest = Reset -> Empty, "Restarts the device (40).";
    empty DfuModeRequest = DfuMode -> Empty, "Restarts the device into DFU mode (50).";
    empty SafeModeRequest = SafeMode -> Empty, "Restarts the device into safe mode (60).";
    empty StartListeningRequest = StartListening -> Empty, "Starts listening mode (70).";
    empty StopListeningRequest = StopListening -> Empty, "Stops listening mode (71).";
    empty GetDeviceModeRequest = GetDeviceMode -> GetDeviceModeReply, "Asks for the mode (72).";
    empty GetProtectedStateRequest = GetProtectedState -> GetProtectedStateReply, "Asks for the state of protection (76).";
    empty StartNyanRequest = StartNyan -> Empty, "Makes the light run through the rainbow (230).";
    empty StopNyanRequest = StopNyan -> Empty, "Ends the rainbow (231).";
    empty GetConnectionStatusRequest = CloudStatus -> GetConnectionStatusReply, "Asks whether the cloud is connected (300).";
    empty GetIccidRequest = CellularIccid -> GetIccidReply, "Asks for SIM and modem identity (554).";
    message SetProtectedStateRequest = SetProtectedState -> SetProtectedStateReply;
}

/// The device id.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetDeviceIdReply {
    /// 24 hexadecimal digits.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// The serial number on the label.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetSerialNumberReply {
    /// 15 characters.
    #[prost(string, tag = "1")]
    pub serial: String,
}

/// The Device OS version.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetSystemVersionReply {
    /// Such as `6.2.0`.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// Capability flags.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GetSystemCapabilitiesReply {
    /// 1: compressed updates (Device OS 2.x and 3.x only).
    #[prost(fixed32, tag = "1")]
    pub flags: u32,
}

/// The mode of the running system.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GetDeviceModeReply {
    /// 0 normal, 1 listening.
    #[prost(int32, tag = "1")]
    pub mode: i32,
}

/// The state of Device Protection.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GetProtectedStateReply {
    /// Protection is enforced now.
    #[prost(bool, tag = "1")]
    pub state: bool,
    /// Protection is overridden for now: Service Mode.
    #[prost(bool, tag = "2")]
    pub overridden: bool,
}

/// One act of the flow into and out of Service Mode (device-protocol.md 2.9).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetProtectedStateRequest {
    /// 0 reset, 1 prepare, 2 confirm.
    #[prost(int32, tag = "1")]
    pub action: i32,
    /// What the action needs.
    #[prost(oneof = "protected_action::Args", tags = "2, 3")]
    pub args: Option<protected_action::Args>,
}

impl SetProtectedStateRequest {
    /// Ends Service Mode.
    pub fn reset() -> Self {
        Self::default()
    }

    /// Begins: the device answers the server's nonce with its own, signed.
    pub fn prepare(server_nonce: Vec<u8>) -> Self {
        Self {
            action: 1,
            args: Some(protected_action::Args::Prepare(protected_action::Prepare { server_nonce })),
        }
    }

    /// Ends: the server's signature over both nonces, and the fingerprint of its key.
    pub fn confirm(server_signature: Vec<u8>, server_public_key_fingerprint: Vec<u8>) -> Self {
        Self {
            action: 2,
            args: Some(protected_action::Args::Confirm(protected_action::Confirm {
                server_signature,
                server_public_key_fingerprint,
            })),
        }
    }
}

/// The arguments of [`SetProtectedStateRequest`].
pub mod protected_action {
    /// Either of two.
    #[derive(Clone, PartialEq, Eq, prost::Oneof)]
    pub enum Args {
        /// For action 1.
        #[prost(message, tag = "2")]
        Prepare(Prepare),
        /// For action 2.
        #[prost(message, tag = "3")]
        Confirm(Confirm),
    }

    /// For action 1.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct Prepare {
        /// 32 random bytes of the server.
        #[prost(bytes = "vec", tag = "1")]
        pub server_nonce: Vec<u8>,
    }

    /// For action 2.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct Confirm {
        /// ECDSA signature, DER.
        #[prost(bytes = "vec", tag = "1")]
        pub server_signature: Vec<u8>,
        /// SHA-256 of the server's SubjectPublicKeyInfo.
        #[prost(bytes = "vec", tag = "2")]
        pub server_public_key_fingerprint: Vec<u8>,
    }
}

/// The answer to [`SetProtectedStateRequest`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetProtectedStateReply {
    /// Present in answer to a prepare, unless the device is open.
    #[prost(message, optional, tag = "1")]
    pub prepare: Option<PrepareReply>,
}

/// The device's half of the handshake.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PrepareReply {
    /// 32 random bytes of the device.
    #[prost(bytes = "vec", tag = "1")]
    pub device_nonce: Vec<u8>,
    /// ECDSA signature, DER, by the device's key.
    #[prost(bytes = "vec", tag = "2")]
    pub device_signature: Vec<u8>,
    /// SHA-256 of the device's SubjectPublicKeyInfo.
    #[prost(bytes = "vec", tag = "3")]
    pub device_public_key_fingerprint: Vec<u8>,
}

/// Whether the cloud is connected.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GetConnectionStatusReply {
    /// 0 disconnected, 1 connecting, 2 connected, 3 disconnecting.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// SIM and modem identity.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetIccidReply {
    /// ICCID of the SIM.
    #[prost(string, tag = "1")]
    pub iccid: String,
    /// IMEI of the modem (Device OS 5.8.0 and newer).
    #[prost(string, tag = "2")]
    pub imei: String,
}
