//! The answer to GET_MODULE_INFO (device-protocol.md 2.6). Unlike what Device OS tells the cloud, it has the hash of each module
//! (`getModuleInfo` of Device OS asks for that, and the vendor's CLI takes it for granted).

use super::{Device, module::function, proto::Message};

impl Device {
    /// GET_MODULE_INFO in the format of the Device OS that runs.
    pub(super) fn module_info(&mut self, os: u16) -> Message {
        let (ncp, installed) = (self.s.ncp, self.installed());
        let mut reply = Message::new();
        for entry in installed.entries() {
            let header = &entry.module.header;
            let dependencies = entry.module.dependencies();
            let parts = dependencies.iter().map(|d| {
                let kind = if os >= 5600 { d.function } else { old_type(d.function) };
                Message::new()
                    .number(1, kind.into())
                    .number(2, d.index.into())
                    .number(3, d.version.into())
            });
            if os < 5600 {
                let invalid = u64::from(!entry.module.crc_ok) | u64::from(!entry.dependencies) << 1;
                let message = Message::new()
                    .number(1, old_type(header.function).into())
                    .number(2, header.index.into())
                    .number(3, header.version.into())
                    .number(4, header.length() as u64)
                    .number(5, invalid);
                reply = reply.message(1, parts.fold(message, |m, d| m.message(6, d)));
                continue;
            }
            let passed = [entry.module.crc_ok, entry.dependencies, entry.range, entry.platform];
            let flags = passed.iter().enumerate().map(|(bit, ok)| u32::from(*ok) << (bit + 1)).sum();
            let mut message = Message::new()
                .number(1, header.function.into())
                .number(2, header.index.into())
                .number(3, header.version.into())
                .number(5, entry.room.into())
                .fixed(6, ALL_CHECKS)
                .fixed(7, flags)
                .bytes(8, &entry.module.hash);
            message = parts.fold(message, |m, d| m.message(9, d));
            for asset in entry.module.required_assets() {
                message = message.message(10, Message::new().bytes(1, &asset.hash).bytes(2, asset.name.as_bytes()));
            }
            message = message.number(11, header.length() as u64);
            if entry.module.protects() {
                message = message.message(12, Message::new().number(1, 1));
            }
            reply = reply.message(2, message);
        }
        for (kind, version) in [(function::RADIO, installed.radio()), (function::NCP, ncp)] {
            if let Some(version) = version {
                let message = if os < 5600 {
                    Message::new().number(1, old_type(kind).into()).number(3, version.into())
                } else {
                    let message = Message::new().number(1, kind.into()).number(3, version.into());
                    message.fixed(6, ALL_CHECKS).fixed(7, ALL_CHECKS).bytes(8, &NO_HASH)
                };
                reply = reply.message(if os < 5600 { 1 } else { 2 }, message);
            }
        }
        reply
    }
}

/// ctrl.FirmwareModuleType of a module function.
const fn old_type(function: u8) -> u8 {
    match function {
        function::BOOTLOADER => 1,
        function::SYSTEM => 2,
        function::USER => 3,
        function::MONO => 4,
        function::NCP => 5,
        function::RADIO => 6,
        _ => 0,
    }
}

/// Firmware of a radio is no module and has no hash; the bytes for it are sent all the same.
const NO_HASH: [u8; 32] = [0; 32];
/// Integrity, dependencies, range, platform.
const ALL_CHECKS: u32 = 0x1e;
