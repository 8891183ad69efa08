//! What each failure means above the transfer: whose code it has, whether the device is gone, and what is done without.

use zeroize::Zeroize;

use super::{
    control::Stage,
    descriptor::{DescriptorError, DfuInterface, serial},
    dfu::Doing,
    messages::network::Credentials,
    script::{Script, check, hex, init, reset},
    update::Assets,
    *,
};
use crate::{
    edge::{Attached, Setup, UsbError},
    model::{Code, Platform, Secret, platform::UsbMode, recipe::Wifi},
};

const RAW_ID: [u8; 8] = [0xc0, 0x50, 0, 0, 0x14, 0, 0x40, 0];

fn with<T>(script: &Script, act: impl FnOnce(&mut Control<'_>) -> T) -> T {
    let mut link = script.link(Platform::Argon, UsbMode::Normal);
    let outcome = act(&mut Control::open(&mut link).unwrap());
    script.done();
    outcome
}

fn scripted() -> Script {
    let script = Script::new();
    script.opening("6.2.0");
    script
}

fn usb(source: UsbError) -> LinkError {
    LinkError::Usb {
        setup: Setup::from_bytes([0xa1, 3, 0, 0, 0, 0, 6, 0]),
        source,
    }
}

fn attached(mode: UsbMode, serial: Option<&str>) -> Attached {
    let usb = Platform::Argon.usb(mode);
    Attached {
        port: "pci-0000:00:14.0/3.2".parse().unwrap(),
        address: 7,
        vendor: usb.vendor,
        product: usb.product,
        serial: serial.map(str::to_owned),
    }
}

#[test]
fn a_transfer_that_failed_is_found_under_every_error() {
    let what = "configuration descriptor";
    let every = |source: LinkError| {
        let control = ControlError::Transfer {
            request: RequestType::Reset,
            stage: Stage::Raw,
            source,
        };
        let descriptor = DescriptorError::Transfer { what, source };
        let dfu = DfuError::Transfer {
            doing: Doing::Idle,
            source,
        };
        [
            DeviceError::Descriptor(descriptor.clone()),
            DeviceError::Control(control.clone()),
            DeviceError::Network(control.clone()),
            DeviceError::Dfu(DfuError::Descriptor { source: descriptor }),
            DeviceError::Dfu(dfu.clone()),
            DeviceError::KeyStore(KeyStoreError::Read(dfu)),
            DeviceError::Update(UpdateError::Begin(control)),
        ]
    };
    for error in every(usb(UsbError::Gone)) {
        assert!(error.is_gone() && !error.is_cancelled(), "{error:?}");
        assert_eq!(error.code(), Code::DeviceLost, "{error:?}");
    }
    for error in every(LinkError::Cancelled) {
        assert!(error.is_cancelled() && !error.is_gone(), "{error:?}");
        assert_eq!(error.code(), Code::Stopped, "{error:?}");
    }
    for error in every(usb(UsbError::Timeout)) {
        assert!(!error.is_cancelled() && !error.is_gone(), "{error:?}");
        assert_eq!(error.code(), Code::UsbTransfer, "{error:?}");
    }
    let other = DeviceError::Descriptor(DescriptorError::Malformed {
        what,
        why: "it is empty",
    });
    assert!(!other.is_gone() && !other.is_cancelled());
}

#[test]
fn a_device_that_leaves_while_it_is_opened_is_gone() {
    let script = Script::new();
    script.get(reset(0), &hex("010000000000"));
    script.fail([0xc0, 0x50, 0, 0, 0x1e, 0, 0x40, 0], &[], UsbError::Gone);
    let mut link = script.link(Platform::Argon, UsbMode::Normal);
    let error = Control::open(&mut link).map(drop).unwrap_err();
    assert_eq!(error.code(), Code::DeviceLost);
    assert!(error.to_string().starts_with("could not make raw request"), "{error}");
    assert!(format!("{link:?}").starts_with("Link(argon in "), "{link:?}");
}

#[test]
fn an_id_that_cannot_be_read_again_is_the_listed_one_unless_the_device_is_gone() {
    const ID: &str = "e00fce680123456789abcdef";
    for (failure, gone) in [(UsbError::Stall, false), (UsbError::Gone, true)] {
        for mode in [UsbMode::Normal, UsbMode::Dfu] {
            let script = Script::new();
            let request = match mode {
                UsbMode::Normal => RAW_ID,
                UsbMode::Dfu => [0x80, 6, 0, 1, 0, 0, 18, 0],
            };
            script.fail(request, &[], failure);
            let mut link = script.link(Platform::Argon, mode);
            let told = identify::device_id(&mut link, &attached(mode, Some(ID)));
            match told {
                Ok(id) => assert_eq!((id.to_string().as_str(), gone), (ID, false)),
                Err(error) => assert!(gone && error.is_gone(), "{error:?}"),
            }
        }
    }
    let script = scripted();
    script.fail(RAW_ID, &[], UsbError::Gone);
    let mut link = script.link(Platform::Argon, UsbMode::Normal);
    let error = identify(&mut link, &attached(UsbMode::Normal, Some(ID))).unwrap_err();
    assert!(error.is_gone());
    script.done();
}

#[test]
fn a_reset_of_a_device_that_is_gone_is_not_made_by_force() {
    let script = scripted();
    script.fail(init(40, 0), &[], UsbError::Gone);
    assert_eq!(with(&script, mode::reset).unwrap_err().code(), Code::DeviceLost);
}

#[test]
fn a_device_without_memory_for_a_request_is_freed_of_it() {
    let script = scripted();
    script.get(init(40, 0), &hex("0300000000000100"));
    script.get(check(1), &hex("010000000400"));
    script.get(reset(1), &hex("010000000000"));
    let deadline = std::time::Duration::from_secs(5);
    let error = with(&script, |control| {
        let deadline = control.within(deadline);
        control.request(RequestType::Reset, &[], deadline)
    });
    assert!(matches!(error, Err(ControlError::NoMemory { .. })), "{error:?}");
}

#[test]
fn a_descriptor_is_read_to_its_bounds() {
    let why = |total: u8, whole: &[u8]| {
        let script = Script::new();
        script.get([0x80, 6, 0, 2, 0, 0, 9, 0], &[9, 2, total, 0, 1, 1, 0, 0xc0, 0x32]);
        if !whole.is_empty() {
            script.get([0x80, 6, 0, 2, 0, 0, total, 0], whole);
        }
        let mut link = script.link(Platform::Argon, UsbMode::Dfu);
        let error = DfuInterface::read(&mut link).unwrap_err().to_string();
        script.done();
        error
    };
    assert!(why(8, &[]).ends_with("its total length is too small"));
    assert!(why(9, &[9, 2, 9, 0, 1, 1, 0, 0xc0, 0x32]).ends_with("interface 0 is not one for DFU"));
}

#[test]
fn only_interface_0_of_the_class_and_the_descriptor_behind_it_count() {
    let parse = |text: &str| DfuInterface::parse(&hex(text)).map(|dfu| (dfu.alternates, dfu.transfer_size));
    let (configuration, ours, functional) = ("09021b00010104c032", "0904000000fe010206", "09210bff0000101a01");
    let good = Ok((vec![(0, 6)], 4096));
    assert_eq!(parse(&[configuration, ours, functional].concat()), good);
    // the shortest descriptor that there is, of an unknown kind
    assert_eq!(parse(&[configuration, "02ff", ours, functional].concat()), good);
    assert!(parse(&[configuration, "01ff", ours, functional].concat()).is_err());
    // the same class at interface 1, another one at interface 0
    assert!(parse(&[configuration, "0904010000fe010206", functional].concat()).is_err());
    assert!(parse(&[configuration, "090400000003010206", functional].concat()).is_err());
    // a HID descriptor has the same number
    let hid = "090401000003000007 092111010001220040";
    assert_eq!(parse(&[configuration, ours, functional, hid].concat()), good);
}

#[test]
fn a_serial_number_is_read_from_a_device_descriptor_alone() {
    let script = Script::new();
    script.get(
        [0x80, 6, 0, 1, 0, 0, 18, 0],
        &[18, 2, 0, 2, 0, 0, 0, 64, 4, 0x2b, 12, 0xd0, 0, 1, 1, 2, 0, 1],
    );
    let mut link = script.link(Platform::Argon, UsbMode::Dfu);
    assert!(matches!(serial(&mut link), Err(DescriptorError::Malformed { .. })));
}

#[test]
fn other_refusals_than_the_expected_ones_are_errors() {
    for code in [-120, -160] {
        let script = scripted();
        script.request(503, &hex("0a036e6574"), Err(code));
        if code == -120 {
            script.request(504, &[], Err(-160));
        }
        assert!(with(&script, |c| network::forget_wifi(c, "net")).is_err(), "{code}");
    }
    let refused = |script: &Script| matches!(with(script, network::current_wifi), Err(DeviceError::Network(_)));
    let script = scripted();
    script.request(RequestType::WifiCurrent.number(), &[], Err(-160));
    assert!(refused(&script));
    let script = scripted();
    script.request(RequestType::GetAssetInfo.number(), &[], Err(-160));
    let assets = with(&script, |c| {
        let deadline = c.within(std::time::Duration::from_secs(5));
        Assets::read(c, deadline)
    });
    assert!(assets.is_err());
}

#[test]
fn a_scan_that_fails_is_done_without_unless_the_device_is_gone() {
    let wifi = Wifi {
        ssid: "net".into(),
        password: Some(Secret::new("pw".into())),
    };
    let script = scripted();
    script.fail(init(506, 0), &[], UsbError::Gone);
    let error = with(&script, |c| network::set_wifi(c, &wifi)).unwrap_err();
    assert!(error.is_gone(), "{error:?}");
}

#[test]
fn an_image_that_cannot_be_sent_is_the_recipes_fault_and_the_longest_piece_is_taken() {
    assert_eq!(UpdateError::Size { len: 0 }.code(), Code::FirmwareRejected);
    assert_eq!(UpdateError::ChunkSize { size: 0 }.code(), Code::UpdateRefused);
    for (chunk, taken) in [("08fbff03", true), ("08fcff03", false)] {
        let script = scripted();
        script.request(250, &hex("0801"), Ok(&hex(chunk)));
        if taken {
            script.request(253, &hex("0a0107"), Ok(&[]));
            script.request(251, &[], Ok(&[]));
        } else {
            script.request(252, &[], Ok(&[]));
        }
        let sent = with(&script, |control| {
            let deadline = control.within(std::time::Duration::from_secs(240));
            update::send(control, &[7], deadline, &mut |_, _| {})
        });
        assert_eq!(sent.is_ok(), taken, "{chunk}");
    }
}

#[test]
fn results_without_a_row_of_their_own_are_told_by_their_family() {
    for (code, family) in [
        (-1000, "CoAP error"),
        (-1199, "CoAP error"),
        (-1200, "modem command error"),
        (-1600, "I2C error"),
        (-1799, "PPP error"),
        (-1900, "file system error"),
        (-2000, "ledger error"),
        (-3099, "RTC error"),
        (-999, "unlisted result"),
        (-3100, "unlisted result"),
    ] {
        assert_eq!(ResultCode(code).to_string(), format!("{family} ({code})"));
    }
    assert_eq!(format!("{:?}", ResultCode(-1)), "ResultCode(-1)");
}

#[test]
fn a_password_is_never_shown_and_can_be_wiped() {
    let mut credentials = Credentials {
        kind: 1,
        password: "secret".into(),
    };
    assert_eq!(format!("{credentials:?}"), "Credentials(redacted)");
    credentials.zeroize();
    assert_eq!(credentials.password, "");
}
