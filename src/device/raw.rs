//! Raw requests (bRequest 0x50): answered by the interrupt handler, so also by a device whose application hangs or which
//! is protected (device-protocol.md 2.2).

use crate::{
    edge::{Setup, UsbError},
    model::DeviceId,
};

use super::{ControlError, Link, RequestType, control::Stage, link::TRANSFER_TIMEOUT};

/// The device id.
pub fn device_id(link: &mut Link) -> Result<DeviceId, ControlError> {
    let request = RequestType::DeviceId;
    let bytes = fetch(link, request)?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end_matches('\0').parse().ok())
        .ok_or(ControlError::Nonsense {
            request,
            what: "not a device id",
        })
}

/// The Device OS version as text. Fails on a device in DFU mode and before Device OS 0.6.0.
pub fn system_version(link: &mut Link) -> Result<String, ControlError> {
    let request = RequestType::SystemVersion;
    let bytes = fetch(link, request)?;
    // Old builds send a terminator and what lies behind it.
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    match std::str::from_utf8(text) {
        Ok(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(ControlError::Nonsense {
            request,
            what: "not a version",
        }),
    }
}

/// Resets the microcontroller at once (Device OS 2.0.0 and newer). That the device disappears is success.
///
/// # Errors
/// If the device refused, and still answers.
pub fn reset(link: &mut Link) -> Result<(), ControlError> {
    let request = RequestType::Reset;
    let Err(source) = link.send(setup(0x40, request, 0), &[], TRANSFER_TIMEOUT) else {
        return Ok(());
    };
    match source.usb() {
        Some(UsbError::Gone | UsbError::Io | UsbError::Timeout) => Ok(()),
        // A device that resets under a transfer looks like one that refuses it; only the latter still talks.
        Some(UsbError::Stall) if system_version(link).is_err() => Ok(()),
        _ => Err(ControlError::Transfer {
            request,
            stage: Stage::Raw,
            source,
        }),
    }
}

fn fetch(link: &mut Link, request: RequestType) -> Result<Vec<u8>, ControlError> {
    link.fetch(setup(0xc0, request, 64), TRANSFER_TIMEOUT)
        .map_err(|source| ControlError::Transfer {
            request,
            stage: Stage::Raw,
            source,
        })
}

const fn setup(request_type: u8, request: RequestType, length: u16) -> Setup {
    Setup {
        request_type,
        request: b'P',
        value: 0,
        index: request.number(),
        length,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::script::Script, *};
    use crate::model::{Platform, platform::UsbMode};

    const VERSION: [u8; 8] = [0xc0, 0x50, 0, 0, 0x1e, 0, 0x40, 0];
    const ID: [u8; 8] = [0xc0, 0x50, 0, 0, 0x14, 0, 0x40, 0];
    const RESET: [u8; 8] = [0x40, 0x50, 0, 0, 0x28, 0, 0, 0];

    #[test]
    fn id_and_version_are_read_as_devices_send_them() {
        let script = Script::new();
        script.get(ID, b"E00FCE680123456789ABCDEF");
        script.get(VERSION, b"6.2.0");
        script.get(VERSION, b"0.7.0\0garbage\xff");
        script.get(VERSION, b"\0");
        script.get(ID, b"00000000010C");
        script.get(ID, b"");
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        assert_eq!(device_id(&mut link).unwrap().to_string(), "e00fce680123456789abcdef");
        assert_eq!(system_version(&mut link).unwrap(), "6.2.0");
        assert_eq!(system_version(&mut link).unwrap(), "0.7.0");
        assert!(matches!(system_version(&mut link), Err(ControlError::Nonsense { .. })));
        assert!(matches!(device_id(&mut link), Err(ControlError::Nonsense { .. })));
        assert!(matches!(device_id(&mut link), Err(ControlError::Nonsense { .. })));
        script.done();
    }

    #[test]
    fn a_reset_that_takes_the_device_away_is_success() {
        for error in [UsbError::Gone, UsbError::Io, UsbError::Timeout] {
            let script = Script::new();
            script.fail(RESET, &[], error);
            reset(&mut script.link(Platform::Argon, UsbMode::Normal)).unwrap();
            script.done();
        }
        let script = Script::new();
        script.fail(RESET, &[], UsbError::Stall);
        script.fail(VERSION, &[], UsbError::Gone);
        reset(&mut script.link(Platform::Argon, UsbMode::Normal)).unwrap();
        script.done();
    }

    #[test]
    fn a_reset_that_is_refused_is_an_error() {
        let script = Script::new();
        script.fail(RESET, &[], UsbError::Stall);
        script.get(VERSION, b"1.5.4");
        assert!(reset(&mut script.link(Platform::Photon, UsbMode::Normal)).is_err());
        script.done();
    }
}
