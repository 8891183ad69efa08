//! The numbers of control requests (device-protocol.md 2.3).

use std::fmt;

macro_rules! requests {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// A control request that keyrack knows, by its type number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RequestType {
            $(#[doc = concat!("`", $text, "`, ", stringify!($number), ".")] $name = $number,)*
        }

        impl RequestType {
            /// The name in Device OS.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

requests! {
    DeviceId = 20, "DEVICE_ID";
    SerialNumber = 21, "SERIAL_NUMBER";
    SystemVersion = 30, "SYSTEM_VERSION";
    SystemCapabilities = 32, "GET_SYSTEM_CAPABILITIES";
    Reset = 40, "RESET";
    DfuMode = 50, "DFU_MODE";
    SafeMode = 60, "SAFE_MODE";
    StartListening = 70, "START_LISTENING";
    StopListening = 71, "STOP_LISTENING";
    GetDeviceMode = 72, "GET_DEVICE_MODE";
    GetProtectedState = 76, "GET_PROTECTED_STATE";
    SetProtectedState = 77, "SET_PROTECTED_STATE";
    GetModuleInfo = 90, "GET_MODULE_INFO";
    GetAssetInfo = 91, "GET_ASSET_INFO";
    DiagnosticInfo = 100, "DIAGNOSTIC_INFO";
    StartNyan = 230, "START_NYAN_SIGNAL";
    StopNyan = 231, "STOP_NYAN_SIGNAL";
    StartFirmwareUpdate = 250, "START_FIRMWARE_UPDATE";
    FinishFirmwareUpdate = 251, "FINISH_FIRMWARE_UPDATE";
    CancelFirmwareUpdate = 252, "CANCEL_FIRMWARE_UPDATE";
    FirmwareUpdateData = 253, "FIRMWARE_UPDATE_DATA";
    CloudStatus = 300, "CLOUD_GET_CONNECTION_STATUS";
    InterfaceList = 400, "NETWORK_GET_INTERFACE_LIST";
    Interface = 401, "NETWORK_GET_INTERFACE";
    WifiJoinNew = 500, "WIFI_JOIN_NEW_NETWORK";
    WifiKnown = 502, "WIFI_GET_KNOWN_NETWORKS";
    WifiRemoveKnown = 503, "WIFI_REMOVE_KNOWN_NETWORK";
    WifiClearKnown = 504, "WIFI_CLEAR_KNOWN_NETWORKS";
    WifiCurrent = 505, "WIFI_GET_CURRENT_NETWORK";
    WifiScan = 506, "WIFI_SCAN_NETWORKS";
    WifiSetCredentials = 507, "WIFI_SET_NETWORK_CREDENTIALS";
    CellularIccid = 554, "CELLULAR_GET_ICCID";
}

impl RequestType {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for RequestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.number())
    }
}
