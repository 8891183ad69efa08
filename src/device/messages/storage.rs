//! Modules, assets and firmware update (device-protocol.md 2.6).

use super::{Empty, calls};

calls! {
    empty GetModuleInfoRequest = GetModuleInfo -> GetModuleInfoReply, "Asks for the module table (90).";
    empty GetAssetInfoRequest = GetAssetInfo -> GetAssetInfoReply, "Asks for the assets (91).";
    empty CancelFirmwareUpdateRequest = CancelFirmwareUpdate -> Empty, "Gives up an update (252).";
    message StartFirmwareUpdateRequest = StartFirmwareUpdate -> StartFirmwareUpdateReply;
    message FinishFirmwareUpdateRequest = FinishFirmwareUpdate -> Empty;
    message FirmwareUpdateDataRequest = FirmwareUpdateData -> Empty;
}

/// The module table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetModuleInfoReply {
    /// How Device OS before 5.6.0 tells it.
    #[prost(message, repeated, tag = "1")]
    pub modules_deprecated: Vec<OldModule>,
    /// How Device OS tells it from 5.6.0 on.
    #[prost(message, repeated, tag = "2")]
    pub modules: Vec<FirmwareModule>,
}

/// A module in the old table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OldModule {
    /// 1 bootloader, 2 system part, 3 user part, 4 monolithic, 5 NCP, 6 radio.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// Index.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// Version.
    #[prost(uint32, tag = "3")]
    pub version: u32,
    /// Size in bytes.
    #[prost(uint32, tag = "4")]
    pub size: u32,
    /// Failed checks: 1 integrity, 2 dependencies.
    #[prost(uint32, tag = "5")]
    pub validity: u32,
    /// What it needs.
    #[prost(message, repeated, tag = "6")]
    pub dependencies: Vec<ModuleDependency>,
}

/// A needed module.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ModuleDependency {
    /// Type, in the numbering of the table that it stands in.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// Index.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// Lowest version.
    #[prost(uint32, tag = "3")]
    pub version: u32,
}

/// A module in the table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FirmwareModule {
    /// The module function number of its header.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// Index.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// Version.
    #[prost(uint32, tag = "3")]
    pub version: u32,
    /// 0 main, 1 factory, 2 backup, 3 scratchpad.
    #[prost(int32, tag = "4")]
    pub store: i32,
    /// The most that fits in its place.
    #[prost(uint32, tag = "5")]
    pub max_size: u32,
    /// Checks that were made: 2 integrity, 4 dependencies, 8 range, 16 platform.
    #[prost(fixed32, tag = "6")]
    pub checked_flags: u32,
    /// Checks that passed.
    #[prost(fixed32, tag = "7")]
    pub passed_flags: u32,
    /// Its SHA-256.
    #[prost(bytes = "vec", optional, tag = "8")]
    pub hash: Option<Vec<u8>>,
    /// What it needs.
    #[prost(message, repeated, tag = "9")]
    pub dependencies: Vec<ModuleDependency>,
    /// Assets that it needs.
    #[prost(message, repeated, tag = "10")]
    pub asset_dependencies: Vec<Asset>,
    /// Size in bytes.
    #[prost(uint32, tag = "11")]
    pub size: u32,
    /// Its security mode.
    #[prost(message, optional, tag = "12")]
    pub security: Option<ModuleSecurity>,
}

/// The security mode of a module.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ModuleSecurity {
    /// 0 none, 1 protected.
    #[prost(int32, tag = "1")]
    pub mode: i32,
    /// Fingerprint of its certificate.
    #[prost(bytes = "vec", tag = "2")]
    pub certificate_fingerprint: Vec<u8>,
}

/// An asset.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Asset {
    /// SHA-256 of its content.
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    /// Name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Size of its content in bytes.
    #[prost(uint32, tag = "3")]
    pub size: u32,
    /// Size in storage in bytes.
    #[prost(uint32, tag = "4")]
    pub storage_size: u32,
}

/// The assets on the device, and those that its user part needs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetAssetInfoReply {
    /// Present.
    #[prost(message, repeated, tag = "1")]
    pub available: Vec<Asset>,
    /// Needed.
    #[prost(message, repeated, tag = "2")]
    pub required: Vec<Asset>,
}

/// Begins an update (250).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct StartFirmwareUpdateRequest {
    /// Size of the image in bytes.
    #[prost(uint32, tag = "1")]
    pub size: u32,
    /// 0: a plain image, the only one that current systems take.
    #[prost(int32, tag = "2")]
    pub format: i32,
}

/// The answer to the begin of an update.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct StartFirmwareUpdateReply {
    /// How many bytes of the image one data request carries.
    #[prost(uint32, tag = "1")]
    pub chunk_size: u32,
}

/// The next piece of an update (253).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FirmwareUpdateDataRequest {
    /// The piece.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// Ends an update (251).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct FinishFirmwareUpdateRequest {
    /// Validate, but do not apply.
    #[prost(bool, tag = "1")]
    pub validate_only: bool,
}
