//! Who a device is: its id for sure, and of the rest what it tells in its present mode.
//!
//! The id is read from the device itself each time it is opened; what the operating system remembers of it only has to
//! agree. Everything else is optional: a device that does not tell it is still identified.

use std::time::Duration;

use crate::{
    edge::Attached,
    model::{
        DeviceId, Platform,
        fact::{Identity, Protection},
        platform::{Network, Transport, UsbMode},
    },
};

use super::{
    Control, ControlError, DeviceError, Dfu, DfuError, Link,
    descriptor::{self, DescriptorError},
    messages::config::{GetDeviceIdRequest, GetIccidRequest, GetSerialNumberRequest},
    modules, protection, raw,
};

/// Identifies a device in the mode in which it is.
///
/// # Errors
/// If the device does not tell its id, tells two, or goes away meanwhile.
pub fn identify(link: &mut Link, attached: &Attached) -> Result<Identity, DeviceError> {
    match link.mode() {
        UsbMode::Normal => identify_running(link, attached),
        UsbMode::Dfu => identify_in_dfu(link, attached),
    }
}

/// Reads the id again: who is behind a link that was opened just now.
pub fn device_id(link: &mut Link, attached: &Attached) -> Result<DeviceId, DeviceError> {
    match link.mode() {
        UsbMode::Normal => {
            let told = match raw::device_id(link) {
                Err(error) if error.is_final() => return Err(error.into()),
                answer => answer.ok(),
            };
            agree(attached, told)
        }
        UsbMode::Dfu => {
            let own = match descriptor::serial(link) {
                Err(DescriptorError::Transfer { source, .. }) if source.is_final() => {
                    return Err(DeviceError::Descriptor(DescriptorError::Transfer {
                        what: "serial number string",
                        source,
                    }));
                }
                answer => answer.ok().flatten(),
            };
            agree(attached, own.as_deref().and_then(id_of))
        }
    }
}

fn identify_running(link: &mut Link, attached: &Attached) -> Result<Identity, DeviceError> {
    let platform = link.platform();
    let mut control = Control::open(link)?;
    let told = match raw::device_id(control.link()) {
        Err(error) if error.is_final() => return Err(error.into()),
        Err(_) => {
            // Old systems know only the request of the running system.
            let deadline = control.within(OPTIONAL_LIMIT);
            optional(control.call(&GetDeviceIdRequest {}, deadline))?.and_then(|reply| id_of(&reply.id))
        }
        Ok(id) => Some(id),
    };
    let device = agree(attached, told)?;
    let protection = optional(protection::state(&mut control))?.unwrap_or(Protection::Open);
    let mut identity = Identity {
        os_version: control.version_text().map(str::to_owned),
        ..bare(device, platform, UsbMode::Normal, protection)
    };
    if protection == Protection::Protected {
        // It refuses everything else, and each refusal would take its time.
        return Ok(identity);
    }
    let deadline = control.within(OPTIONAL_LIMIT);
    let serial = optional(control.call(&GetSerialNumberRequest {}, deadline))?;
    identity.serial = serial.and_then(|reply| printable(reply.serial));
    if platform.row().network == Network::Cellular {
        let deadline = control.within(OPTIONAL_LIMIT);
        // A modem that is off fails this one.
        if let Some(reply) = optional(control.call(&GetIccidRequest {}, deadline))? {
            identity.iccid = printable(reply.iccid);
            identity.imei = printable(reply.imei);
        }
    }
    let modules = optional(modules::read(&mut control))?.unwrap_or_default();
    identity.modules = modules.into_iter().map(|m| m.module).collect();
    Ok(identity)
}

fn identify_in_dfu(link: &mut Link, attached: &Attached) -> Result<Identity, DeviceError> {
    let device = device_id(link, attached)?;
    let platform = link.platform();
    let mut dfu = Dfu::open(link)?;
    let protection = dfu.protection()?;
    let mut identity = bare(device, platform, UsbMode::Dfu, protection);
    if platform == Platform::Electron {
        identity.transport = electron_transport(&mut dfu)?;
    }
    Ok(identity)
}

/// The Electron can be set to TCP, and then another key of its store counts. The whole block is read, because a failed
/// read gives zeros, and zero stands for TCP.
fn electron_transport(dfu: &mut Dfu<'_>) -> Result<Option<Transport>, DfuError> {
    let read = match dfu.read(KEY_ALTERNATE, 0, FIRST_BLOCK) {
        Err(error) if error.link().is_some_and(|l| l.is_final()) => return Err(error),
        answer => answer.ok().filter(|read| read.is_trusted()),
    };
    Ok(read.map(|read| match read.bytes.expose()[CLOUD_TRANSPORT] {
        0 => Transport::Tcp,
        _ => Transport::Udp,
    }))
}

/// The id, from the serial number string as the operating system lists it and as the device tells it.
fn agree(attached: &Attached, told: Option<DeviceId>) -> Result<DeviceId, DeviceError> {
    let listed = attached.serial.as_deref().and_then(id_of);
    match (listed, told) {
        (Some(string), Some(told)) if string != told => Err(DeviceError::TwoIds { string, told }),
        (_, Some(id)) | (Some(id), None) => Ok(id),
        (None, None) => Err(DeviceError::NoId {
            serial: attached.serial.as_deref().map(clean),
        }),
    }
}

/// The id in a serial number string. Old bootloaders have a fixed one there ("00000000010C"), which is nobody's id.
fn id_of(text: &str) -> Option<DeviceId> {
    clean(text).parse().ok()
}

/// Drops what is not printable: some builds pad the string.
fn clean(text: &str) -> String {
    text.chars().filter(|c| (' '..='~').contains(c)).collect()
}

fn printable(text: String) -> Option<String> {
    let text = clean(&text).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// An item that the device need not tell: its error is none, unless nothing more can come of the link.
fn optional<T>(answer: Result<T, ControlError>) -> Result<Option<T>, ControlError> {
    match answer {
        Err(error) if error.is_final() => Err(error),
        answer => Ok(answer.ok()),
    }
}

fn bare(device: DeviceId, platform: Platform, mode: UsbMode, protection: Protection) -> Identity {
    Identity {
        device,
        platform,
        mode,
        protection,
        transport: None,
        serial: None,
        iccid: None,
        imei: None,
        hardware: None,
        os_version: None,
        modules: Vec::new(),
    }
}

/// The alternate setting that shows the DCT.
const KEY_ALTERNATE: u8 = 1;

/// The block of the DCT that holds the transport, and its place there (device-protocol.md 4.1).
const FIRST_BLOCK: u32 = 4096;
const CLOUD_TRANSPORT: usize = 2977;

/// How long an item that is not needed may take.
const OPTIONAL_LIMIT: Duration = Duration::from_secs(5);
