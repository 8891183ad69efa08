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
        platform::{Transport, UsbMode},
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
        ..Identity::bare(device, platform, UsbMode::Normal, protection)
    };
    if protection == Protection::Protected {
        // It refuses everything else, and each refusal would take its time.
        return Ok(identity);
    }
    let deadline = control.within(OPTIONAL_LIMIT);
    let serial = optional(control.call(&GetSerialNumberRequest {}, deadline))?;
    identity.serial = serial.and_then(|reply| printable(reply.serial));
    identity.hardware = identity.serial.as_deref().and_then(product_code);
    if platform.has_modem() {
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
    let mut identity = Identity::bare(device, platform, UsbMode::Dfu, protection);
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

/// The product code in front of a whole serial number: which hardware it is (device-protocol.md 1.2).
fn product_code(serial: &str) -> Option<String> {
    let whole = serial.len() == SERIAL_LEN && serial.bytes().all(|b| b.is_ascii_alphanumeric());
    whole.then(|| serial[..CODE_LEN].to_ascii_uppercase())
}

/// An item that the device need not tell: its error is none, unless nothing more can come of the link.
fn optional<T>(answer: Result<T, ControlError>) -> Result<Option<T>, ControlError> {
    match answer {
        Err(error) if error.is_final() => Err(error),
        answer => Ok(answer.ok()),
    }
}

/// The length of a serial number, and of the product code in it.
const SERIAL_LEN: usize = 15;
const CODE_LEN: usize = 4;

/// The alternate setting that shows the DCT.
const KEY_ALTERNATE: u8 = 1;

/// The block of the DCT that holds the transport, and its place there (device-protocol.md 4.1).
const FIRST_BLOCK: u32 = 4096;
const CLOUD_TRANSPORT: usize = 2977;

/// How long an item that is not needed may take.
const OPTIONAL_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::{
        super::{
            dfu::target::Target,
            script::{Script, hex},
        },
        *,
    };
    use crate::{
        edge::UsbError,
        model::{Code, module::ModuleFunction},
    };

    const ID: &str = "e00fce680123456789abcdef";
    const RAW_ID: [u8; 8] = [0xc0, 0x50, 0, 0, 0x14, 0, 0x40, 0];

    fn attached(platform: Platform, mode: UsbMode, serial: Option<&str>) -> Attached {
        let usb = platform.usb(mode);
        Attached {
            port: "pci-0000:00:14.0/3.2".parse().unwrap(),
            address: 7,
            vendor: usb.vendor,
            product: usb.product,
            serial: serial.map(str::to_owned),
        }
    }

    fn running(script: &Script, platform: Platform, serial: Option<&str>) -> Result<Identity, DeviceError> {
        let mut link = script.link(platform, UsbMode::Normal);
        let identity = identify(&mut link, &attached(platform, UsbMode::Normal, serial));
        script.done();
        identity
    }

    #[test]
    fn a_running_boron_tells_everything() {
        let script = Script::new();
        script.opening("6.2.0");
        script.get(RAW_ID, b"E00FCE680123456789ABCDEF");
        script.request(76, &[], Ok(&hex("1001")));
        script.request(21, &[], Ok(&hex("0a0f423430484142393133414231324344")));
        script.request(
            554,
            &[],
            Ok(&[hex("0a04"), b"8934".to_vec(), hex("1203"), b"352".to_vec()].concat()),
        );
        // system part 1, version 6200, all four checks made and passed
        script.request(90, &[], Ok(&hex("1211 0804 1001 18b830 351e000000 3d1e000000")));
        let identity = running(&script, Platform::Boron, Some(ID)).unwrap();
        assert_eq!(identity.device.to_string(), ID);
        assert_eq!(identity.protection, Protection::Service);
        assert_eq!(identity.serial.as_deref(), Some("B40HAB913AB12CD"));
        assert_eq!(identity.hardware.as_deref(), Some("B40H"));
        assert_eq!(
            (identity.iccid.as_deref(), identity.imei.as_deref()),
            (Some("8934"), Some("352"))
        );
        assert_eq!(identity.os_version.as_deref(), Some("6.2.0"));
        let module = &identity.modules[0];
        assert_eq!((module.function, module.version), (ModuleFunction::SystemPart, 6200));
        assert!(module.healthy());
    }

    #[test]
    fn what_is_optional_may_fail() {
        let script = Script::new();
        script.opening("6.2.0");
        script.get(RAW_ID, b"E00FCE680123456789ABCDEF");
        script.request(76, &[], Err(-100));
        script.request(21, &[], Err(-1));
        script.request(554, &[], Err(-210));
        script.request(90, &[], Ok(&hex("ff")));
        let identity = running(&script, Platform::Boron, None).unwrap();
        assert_eq!(identity.device.to_string(), ID);
        assert_eq!((identity.serial, identity.iccid, identity.modules.len()), (None, None, 0));
    }

    #[test]
    fn a_protected_device_is_asked_no_more() {
        let script = Script::new();
        script.opening("6.2.0");
        script.get(RAW_ID, b"E00FCE680123456789ABCDEF");
        script.request(76, &[], Ok(&hex("0801")));
        let identity = running(&script, Platform::Argon, Some(ID)).unwrap();
        assert_eq!(identity.protection, Protection::Protected);
    }

    #[test]
    fn an_old_system_tells_its_id_by_request() {
        let script = Script::new();
        script.opening("1.5.0");
        script.fail(RAW_ID, &[], UsbError::Stall);
        let id = hex("0a18653030666365363830313233343536373839616263646566");
        script.request(20, &[], Ok(&id));
        script.request(21, &[], Err(-120));
        script.request(90, &[], Err(-120));
        assert_eq!(running(&script, Platform::Argon, None).unwrap().device.to_string(), ID);
    }

    #[test]
    fn two_ids_are_refused_and_going_away_is_not_a_missing_item() {
        let script = Script::new();
        script.opening("6.2.0");
        script.get(RAW_ID, b"E00FCE680123456789ABCDE0");
        let error = running(&script, Platform::Argon, Some(ID)).unwrap_err();
        assert!(matches!(error, DeviceError::TwoIds { .. }));

        let script = Script::new();
        script.opening("6.2.0");
        script.get(RAW_ID, b"E00FCE680123456789ABCDEF");
        script.fail(super::super::script::init(76, 0), &[], UsbError::Gone);
        let error = running(&script, Platform::Argon, Some(ID)).unwrap_err();
        assert!(error.is_gone());
        assert_eq!(error.code(), Code::DeviceLost);
    }

    fn in_dfu(target: &Target, platform: Platform, serial: Option<&str>) -> Result<Identity, DeviceError> {
        identify(&mut target.link(), &attached(platform, UsbMode::Dfu, serial))
    }

    #[test]
    fn dfu_mode_tells_id_and_protection() {
        let target = Target::new(Platform::Argon);
        target.inside().state_string = Some("sm=s");
        let identity = in_dfu(&target, Platform::Argon, Some("E00FCE680123456789ABCDEF\u{0}")).unwrap();
        assert_eq!(
            (identity.device.to_string().as_str(), identity.protection),
            (ID, Protection::Service)
        );
        assert_eq!(identity.transport, None);
        let error = in_dfu(&target, Platform::Argon, Some("e00fce680123456789abcde0")).unwrap_err();
        assert!(matches!(error, DeviceError::TwoIds { .. }));
    }

    #[test]
    fn the_electron_tells_its_transport_if_it_can_be_believed() {
        let target = Target::new(Platform::Electron);
        let transport = |target: &Target| in_dfu(target, Platform::Electron, None).unwrap().transport;
        assert_eq!(transport(&target), Some(Transport::Udp));
        target.inside().memory.get_mut(&1).unwrap()[CLOUD_TRANSPORT] = 0;
        assert_eq!(transport(&target), Some(Transport::Tcp));
        target.inside().bad_read = Some(0);
        assert_eq!(transport(&target), None, "zeros are a failed read");
    }

    #[test]
    fn only_a_whole_serial_number_has_a_product_code() {
        for (serial, code) in [
            ("P046AD000000001", Some("P046")),
            ("b40hab913ab12cd", Some("B40H")),
            ("P046AD00000001", None),
            ("P046AD0000000012", None),
            ("P046 AD0000000 ", None),
            ("ÄP46AD00000001", None),
        ] {
            assert_eq!(product_code(serial).as_deref(), code, "{serial}");
        }
    }

    #[test]
    fn the_fixed_serial_of_old_bootloaders_is_no_id() {
        let fixed = attached(Platform::Photon, UsbMode::Dfu, Some("00000000010C"));
        assert!(matches!(agree(&fixed, None), Err(DeviceError::NoId { serial: Some(s) }) if s == "00000000010C"));
        assert_eq!(agree(&fixed, id_of(ID)).unwrap().to_string(), ID);
        assert!(agree(&attached(Platform::Photon, UsbMode::Dfu, None), None).is_err());
    }

    #[test]
    fn a_transport_that_cannot_be_read_is_unknown_unless_the_device_is_gone() {
        const STATUS: [u8; 8] = [0xa1, 3, 0, 0, 0, 0, 6, 0];
        for (failure, gone) in [(UsbError::Timeout, false), (UsbError::Gone, true)] {
            let script = Script::new();
            script.boron();
            let mut link = script.link(Platform::Electron, UsbMode::Dfu);
            let mut dfu = Dfu::open(&mut link).unwrap();
            script.play();
            script.alternate(1);
            script.fail(STATUS, &[], failure);
            if !gone {
                script.fail(STATUS, &[], failure);
            }
            match electron_transport(&mut dfu) {
                Ok(transport) => assert_eq!((transport, gone), (None, false)),
                Err(error) => assert!(gone && error.link().is_some_and(|l| l.is_final()), "{error:?}"),
            }
            script.done();
        }
    }
}
