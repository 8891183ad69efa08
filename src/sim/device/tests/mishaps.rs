//! Every mishap bites, and the counters show it.

use super::*;

#[test]
fn one_stall_in_dfu_mode() {
    let mut host = Host::platform(13);
    host.device.inject(DeviceMishap::StallAfter(2));
    host.request(20, &[]);
    assert_eq!(host.device.counters().fired("stall-after"), 0, "normal mode does not count");
    host.enter_dfu();
    assert!(host.status().is_ok() && host.status().is_ok());
    assert_eq!(host.status(), Err(UsbError::Stall));
    assert_eq!(host.status().unwrap(), IDLE);
    assert_eq!(host.device.counters().fired("stall-after"), 1);
}

#[test]
fn writes_that_always_fail() {
    let mut host = Host::dfu(13);
    host.device.inject(DeviceMishap::FlashWriteFailsAlways(0xb_4800));
    for _ in 0..2 {
        assert_eq!(host.erase(0xb_4000).unwrap(), "0e0000000a00");
        host.clear_status().unwrap();
    }
    assert_eq!(host.erase(0xb_5000).unwrap(), IDLE_DNLOAD);
    host.device.heal();
    assert_eq!(host.erase(0xb_4000).unwrap(), IDLE_DNLOAD);
    assert_eq!(host.device.counters().fired("flash-write-fails-always"), 2);
    host.alternate(1);
    host.device.inject(DeviceMishap::FlashWriteFailsOnce(0x4000_0000 + 3110));
    assert_eq!(host.write(3106, &[1; 16]).unwrap(), "0e0000000a00");
}

#[test]
fn reads_that_lie() {
    let mut host = Host::dfu(13);
    let truth = host.device.flash(0x2_8000, 64);
    host.device.inject(DeviceMishap::BitFlipOnRead {
        alt: 0,
        address: 0x2_8003,
    });
    let read = host.read(0x2_8000, 64).unwrap();
    let wrong: Vec<usize> = (0..64).filter(|i| read[*i] != truth[*i]).collect();
    assert_eq!(wrong, [3]);
    host.device.heal();
    host.device.inject(DeviceMishap::ShortRead);
    assert_eq!(host.read(0x2_8000, 64).unwrap(), truth[..32]);
    assert_eq!(host.read(0x2_8000, 64).unwrap(), truth);
    host.alternate(1);
    host.device.inject(DeviceMishap::KeyGarbleOnRead);
    let (a, b) = (host.read(3000, 400).unwrap(), host.read(3000, 400).unwrap());
    assert_ne!(a[106..298], b[106..298], "the key slot differs each time");
    assert_eq!((&a[..106], &a[298..]), (&b[..106], &b[298..]), "and nothing else");
    for name in ["bit-flip-on-read", "short-read", "key-garble-on-read"] {
        assert!(host.device.counters().fired(name) > 0, "{name}");
    }
}

#[test]
fn a_bootloader_that_hangs() {
    let mut host = Host::dfu(13);
    host.device.inject(DeviceMishap::WedgeDnbusy);
    host.download(0, &unhex("21 00 40 0b 00")).unwrap();
    for _ in 0..5 {
        assert_eq!(host.status().unwrap(), "000000000400");
    }
    assert_eq!(host.abort(), Err(UsbError::Stall));
    host.power_cycle();
    assert_eq!(host.device.attachment().unwrap().product, 0xc00d);
    host.enter_dfu();
    assert_eq!(host.status().unwrap(), IDLE);
}

#[test]
fn leaving_for_good_and_for_another() {
    let mut host = Host::platform(13);
    host.device.inject(DeviceMishap::VanishAfter(1));
    assert!(host.hex("c0 50 00 00 1e 00 40 00", &[]).is_ok());
    host.happened.clear();
    assert_eq!(host.hex("c0 50 00 00 1e 00 40 00", &[]), Err(UsbError::Gone));
    host.pass(Duration::ZERO);
    assert_eq!(
        (host.device.attachment(), host.happened.as_slice()),
        (None, &[Happening::Detached][..])
    );
    host.power_cycle();
    let other = DeviceId::from_bytes([9; 12]);
    host.device.inject(DeviceMishap::ReturnsAsOtherId(other));
    assert_eq!(host.device.attachment().unwrap().serial, "e00fce680123456789abcdef");
    host.enter_dfu();
    assert_eq!(host.device.attachment().unwrap().serial, other.to_string());
    host.device.inject(DeviceMishap::NoBoot);
    host.leave();
    assert_eq!(host.device.attachment(), None);
    host.device.power(host.now, false);
    host.device.power(host.now, true);
    host.settle();
    assert_eq!(host.device.attachment(), None);
    assert_eq!(host.device.counters().fired("no-boot"), 2);
}

#[test]
fn a_request_for_dfu_that_is_not_followed() {
    let mut host = Host::platform(13);
    host.device.inject(DeviceMishap::RefuseEnterDfu);
    assert_eq!(host.request(50, &[]).0, 0);
    host.settle();
    assert_eq!(host.device.attachment().unwrap().product, 0xc00d);
    assert_eq!(host.device.counters().fired("refuse-enter-dfu"), 1);
    host.device.heal();
    host.enter_dfu();
}

#[test]
fn key_writes_that_do_not_hold() {
    let mut host = Host::dfu(13);
    host.alternate(1);
    let old = host.device.dct()[3106..3298].to_vec();
    host.device.inject(DeviceMishap::KeyWriteIgnored);
    assert_eq!(host.write(3106, &[5; 192]).unwrap(), IDLE_DNLOAD);
    assert_eq!(host.device.dct()[3106..3298], old);
    assert_eq!(host.write(3298, &[5; 16]).unwrap(), IDLE_DNLOAD);
    assert_eq!(host.device.dct()[3298..3314], [5; 16], "only the key slot");
    host.device.heal();
    host.device.inject(DeviceMishap::KeyWriteTorn);
    host.write(3106, &[6; 192]).unwrap();
    assert_eq!(host.device.dct()[3106..3202], [6; 96]);
    assert_eq!(host.device.dct()[3202..3298], old[96..]);
    host.write(3106, &[6; 192]).unwrap();
    assert_eq!(host.device.dct()[3106..3298], [6; 192], "once");
    assert_eq!(host.device.counters().key_writes, 3);
}

#[test]
fn an_application_that_never_answers() {
    let mut host = Host::platform(13);
    host.device.inject(DeviceMishap::AppHangs);
    let id = host.start(20, 0);
    host.pass(Duration::from_secs(60));
    assert_eq!(hex(&host.check(id)), "010000000200");
    assert!(
        host.hex("c0 50 00 00 1e 00 40 00", &[]).is_ok(),
        "the interrupt handler still answers"
    );
}

#[test]
fn a_transfer_longer_than_the_buffer_breaks_an_nrf_bootloader() {
    let mut host = Host::dfu(13);
    assert_eq!(host.download(2, &[0; 4097]), Err(UsbError::Timeout));
    assert_eq!(host.status().unwrap(), "000000000400");
    assert_eq!(host.abort(), Err(UsbError::Stall), "only a reset helps");
    let mut rtl = Host::dfu(32);
    assert_eq!(rtl.download(2, &[0; 4097]), Err(UsbError::Stall));
    assert_eq!(rtl.state(), 10);
}
