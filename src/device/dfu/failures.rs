//! What each failure of a transfer means to the DFU client: what is tried again, what is explained, what is final.

use std::time::Duration;

use super::{
    super::script::{Script, hex},
    machine::LEAST_PAUSE,
    status::{DfuStatus, Status},
    target::Target,
    *,
};
use crate::edge::UsbError;

const STATUS: [u8; 8] = [0xa1, 3, 0, 0, 0, 0, 6, 0];
const COMMAND: [u8; 8] = [0x21, 1, 0, 0, 0, 0, 5, 0];
const ABORT: [u8; 8] = [0x21, 6, 0, 0, 0, 0, 0, 0];
const LEAVING: [u8; 8] = [0x21, 1, 2, 0, 0, 0, 0, 0];
const IDLE: &str = "000000000200";
const BUSY: &str = "000000000400";
const DOWNLOAD_IDLE: &str = "000000000500";

fn with<T>(script: &Script, platform: Platform, act: impl FnOnce(Dfu<'_>) -> T) -> T {
    script.boron();
    let mut link = script.link(platform, UsbMode::Dfu);
    let dfu = Dfu::open(&mut link).unwrap();
    script.play();
    let outcome = act(dfu);
    script.done();
    outcome
}

fn usb(error: &DfuError) -> Option<UsbError> {
    error.link().and_then(LinkError::usb)
}

#[test]
fn a_layout_that_is_refused_is_missing_and_one_that_fails_is_an_error() {
    let whole = hex("09021b00010104c032 0904000000fe010206 09210bff0000101a01");
    for (failure, opens) in [(UsbError::Stall, true), (UsbError::Timeout, false)] {
        let script = Script::new();
        script.alternate(0);
        script.get([0x80, 6, 0, 2, 0, 0, 9, 0], &whole[..9]);
        script.get([0x80, 6, 0, 2, 0, 0, 27, 0], &whole);
        script.fail([0x80, 6, 6, 3, 9, 4, 255, 0], &[], failure);
        let mut link = script.link(Platform::Boron, UsbMode::Dfu);
        let opened = Dfu::open(&mut link).map(|dfu| dfu.layout(0).is_ok());
        if opens {
            assert_eq!(opened, Ok(false));
        } else {
            assert_eq!(usb(&opened.unwrap_err()), Some(failure));
        }
    }
}

#[test]
fn only_a_stall_is_tried_again_or_explained() {
    let doing = Doing::Write(0);
    let error = |act: &dyn Fn(&Script), run: &dyn Fn(&mut Dfu<'_>) -> Result<(), DfuError>| {
        let script = Script::new();
        act(&script);
        with(&script, Platform::Boron, |mut dfu| run(&mut dfu)).unwrap_err()
    };
    let first = error(&|s| s.fail(COMMAND, &hex("2100000000"), UsbError::Timeout), &|dfu| {
        dfu.point(0)
    });
    assert_eq!(usb(&first), Some(UsbError::Timeout));
    let stalls_then_fails = |s: &Script| {
        for _ in 0..4 {
            s.fail(COMMAND, &hex("2100000000"), UsbError::Stall);
            s.get(STATUS, &hex(IDLE));
            s.get(STATUS, &hex(IDLE));
        }
        s.fail(COMMAND, &hex("2100000000"), UsbError::Timeout);
    };
    let last = error(&stalls_then_fails, &|dfu| dfu.point(0));
    assert_eq!(usb(&last), Some(UsbError::Timeout));
    let block = [0x21, 1, 2, 0, 0, 0, 1, 0];
    let failed = error(&|s| s.fail(block, &[7], UsbError::Timeout), &|dfu| dfu.block(2, &[7], doing));
    assert_eq!(usb(&failed), Some(UsbError::Timeout));
    let upload = [0xa1, 2, 2, 0, 0, 0, 16, 0];
    let failed = error(&|s| s.fail(upload, &[], UsbError::Timeout), &|dfu| {
        dfu.upload(2, 16, doing).map(drop)
    });
    assert_eq!(usb(&failed), Some(UsbError::Timeout));
    // A stall says what the status says of it, if it can be asked for.
    for (status, expected) in [
        (Ok(IDLE), DfuError::Stalled { doing }),
        (
            Ok("0e0000000a00"),
            DfuError::Refused {
                doing,
                status: Status::Unknown,
                text: None,
            },
        ),
        (Err(UsbError::Timeout), DfuError::Stalled { doing }),
    ] {
        let stalled = error(
            &|s| {
                s.fail(block, &[7], UsbError::Stall);
                match status {
                    Ok(bytes) => s.get(STATUS, &hex(bytes)),
                    Err(failure) => s.fail(STATUS, &[], failure),
                }
            },
            &|dfu| dfu.block(2, &[7], doing),
        );
        assert_eq!(stalled, expected);
    }
    let gone = error(
        &|s| {
            s.fail(block, &[7], UsbError::Stall);
            s.fail(STATUS, &[], UsbError::Gone);
        },
        &|dfu| dfu.block(2, &[7], doing),
    );
    assert_eq!(usb(&gone), Some(UsbError::Gone));
}

#[test]
fn the_first_wait_of_an_operation_is_the_devices_and_later_ones_have_a_least_length() {
    let script = Script::new();
    script.out(COMMAND, &hex("2100000000"));
    for status in [BUSY, BUSY, BUSY, DOWNLOAD_IDLE] {
        script.get(STATUS, &hex(status));
    }
    with(&script, Platform::Boron, |mut dfu| dfu.point(0)).unwrap();
    assert_eq!(script.elapsed(), LEAST_PAUSE * 2);
}

#[test]
fn a_device_that_uploads_is_brought_to_idle_before_it_leaves() {
    let script = Script::new();
    script.get(STATUS, &hex("000000000900"));
    script.get(STATUS, &hex("000000000900"));
    script.out(ABORT, &[]);
    script.get(STATUS, &hex(IDLE));
    script.out(LEAVING, &[]);
    // On nRF this state is not yet the end.
    script.get(STATUS, &hex(DOWNLOAD_IDLE));
    script.get(STATUS, &hex("000000000700"));
    assert_eq!(with(&script, Platform::Boron, |dfu| dfu.leave()), Ok(Left::Confirmed));
}

#[test]
fn a_device_that_reports_an_error_while_it_leaves_is_not_asked_again() {
    let script = Script::new();
    script.get(STATUS, &hex(IDLE));
    script.out(LEAVING, &[]);
    script.get(STATUS, &hex("0e0000000a00"));
    assert_eq!(with(&script, Platform::Boron, |dfu| dfu.leave()), Ok(Left::Unconfirmed));
}

#[test]
fn what_the_state_string_says_counts_more_than_the_letters() {
    let target = Target::new(Platform::Argon);
    target.inside().state_string = Some("sm=o");
    target.inside().protected = true;
    let mut link = target.link();
    assert_eq!(Dfu::open(&mut link).unwrap().protection(), Ok(Protection::Open));
}

#[test]
fn a_status_is_a_failure_by_its_status_or_by_its_state() {
    let failed = |bytes: [u8; 6]| DfuStatus::parse(&bytes).unwrap().failed();
    assert!(failed([0, 0, 0, 0, 10, 0]), "dfuERROR");
    assert!(failed([0x0e, 0, 0, 0, 2, 0]), "errUNKNOWN in dfuIDLE");
    assert!(!failed([0, 0, 0, 0, 2, 0]));
}

#[test]
fn a_read_whose_first_block_fails_is_tried_once_more_if_that_may_help() {
    let block = [0xa1, 2, 2, 0, 0, 0, 16, 0];
    let begin = |s: &Script| {
        s.get(STATUS, &hex(IDLE));
        s.out(COMMAND, &hex("2100000300"));
        s.get(STATUS, &hex(BUSY));
        s.get(STATUS, &hex(DOWNLOAD_IDLE));
        s.out(ABORT, &[]);
    };
    for (failure, again) in [(UsbError::Timeout, true), (UsbError::Io, true), (UsbError::Gone, false)] {
        let script = Script::new();
        begin(&script);
        script.fail(block, &[], failure);
        if again {
            begin(&script);
            script.get(block, &[5; 16]);
            script.out(ABORT, &[]);
        }
        let read = with(&script, Platform::Boron, |mut dfu| dfu.read(0, 0x3_0000, 16));
        match read {
            Ok(read) => assert_eq!(read.bytes.expose()[..], [5; 16]),
            Err(error) => assert_eq!((usb(&error), again), (Some(failure), false)),
        }
    }
    // What was handed over is not read over again.
    let whole = [0xa1, 2, 2, 0, 0, 0, 0, 16];
    let second = [0xa1, 2, 3, 0, 0, 0, 0, 16];
    let script = Script::new();
    begin(&script);
    script.get(whole, &[5; 4096]);
    script.fail(second, &[], UsbError::Timeout);
    let read = with(&script, Platform::Boron, |mut dfu| dfu.read(0, 0x3_0000, 8192));
    assert_eq!(usb(&read.unwrap_err()), Some(UsbError::Timeout));
    assert_eq!(script.elapsed(), Duration::ZERO);
}

#[test]
fn what_may_not_be_read_is_protected_only_if_nothing_may_be_read() {
    let whole = hex("09021b00010104c032 0904000000fe010206 09210bff0000101a01");
    let doing = Doing::Read(0);
    for (text, expected) in [
        ("@Flash /0x00000000/1*004Kb,1*004Kb", DfuError::Protected { doing }),
        ("@Flash /0x00000000/1*004Kb,1*004Kg", DfuError::NotReadable { doing, len: 16 }),
    ] {
        let script = Script::new();
        script.alternate(0);
        script.get([0x80, 6, 0, 2, 0, 0, 9, 0], &whole[..9]);
        script.get([0x80, 6, 0, 2, 0, 0, 27, 0], &whole);
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let head = [u8::try_from(units.len() + 2).unwrap(), 3];
        script.get([0x80, 6, 6, 3, 9, 4, 255, 0], &[&head[..], &units].concat());
        let mut link = script.link(Platform::Boron, UsbMode::Dfu);
        let mut dfu = Dfu::open(&mut link).unwrap();
        assert_eq!(dfu.read(0, 0, 16).unwrap_err(), expected);
        script.done();
    }
}

#[test]
fn a_segment_may_end_with_the_address_space() {
    assert_eq!(
        Layout::parse("@Flash /0xFFFFF000/1*004Kg").unwrap().segments[0].end(),
        1 << 32
    );
    assert!(Layout::parse("@Flash /0xFFFFF000/2*004Kg").is_err());
}
