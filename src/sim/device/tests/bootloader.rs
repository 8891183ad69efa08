//! DFU mode: the frozen bytes of device-protocol.md 8.4, and clients that are too simple for these bootloaders.

use super::*;

const NRF: u16 = 13;
const PHOTON: u16 = 6;
const RTL: u16 = 32;

#[test]
fn a_careful_client_writes_and_reads_everywhere() {
    for (platform, address) in [(NRF, 0xb_4000), (RTL, 0x085f_0000), (PHOTON, 0x080a_0000)] {
        let mut host = Host::dfu(platform);
        assert_eq!(host.status().unwrap(), IDLE);
        let block: Vec<u8> = (0..4096_u32).map(|i| (i % 251) as u8).collect();
        assert_eq!(host.erase(address).unwrap(), IDLE_DNLOAD);
        assert_eq!(host.write(address, &block).unwrap(), IDLE_DNLOAD);
        assert_eq!(host.read(address, 4096).unwrap(), block, "{platform}");
        assert_eq!(host.device.flash(address, 4096), block);
        assert_eq!(host.status().unwrap(), IDLE);
    }
}

#[test]
fn commands_and_statuses_are_the_documented_bytes() {
    let mut host = Host::dfu(NRF);
    host.download(0, &unhex("21 22 0c 00 00")).unwrap();
    assert_eq!(host.status().unwrap(), "000000000400", "dfuDNBUSY");
    assert_eq!(host.status().unwrap(), IDLE_DNLOAD);
    host.abort().unwrap();
    assert_eq!(hex(&host.upload(0, 5).unwrap()), "002141fafb");
    host.abort().unwrap();
    let mut old = Host::new(Spec {
        os_version: 6101,
        ..Spec::default()
    });
    old.enter_dfu();
    assert_eq!(hex(&old.upload(0, 5).unwrap()), "002141fa");
    let mut photon = Host::dfu(PHOTON);
    assert_eq!(hex(&photon.upload(0, 64).unwrap()), "002141");
    assert_eq!(photon.state(), 2);
    assert_eq!(hex(&photon.upload(0, 3).unwrap()), "002141");
    assert_eq!(photon.state(), 9);
}

#[test]
fn naive_clear_status_outside_of_an_error() {
    let mut host = Host::dfu(NRF);
    assert_eq!(host.clear_status(), Err(UsbError::Stall));
    assert_eq!(host.status().unwrap(), "0e0000000a00");
    host.clear_status().unwrap();
    assert_eq!(host.status().unwrap(), IDLE);
    let mut photon = Host::dfu(PHOTON);
    photon.clear_status().unwrap();
    assert_eq!(
        photon.status().unwrap(),
        "0e0000000a00",
        "it completes and still ends in an error"
    );
}

#[test]
fn naive_no_address_after_a_gen2_erase() {
    let mut host = Host::dfu(PHOTON);
    host.point(0x080a_0100);
    host.erase(0x080a_0000).unwrap();
    host.command(2, &[1, 2, 3, 4]).unwrap();
    assert_eq!(host.device.flash(0x080a_0100, 4), [0xff; 4], "the erase moved the pointer");
    assert_eq!(host.device.flash(0x080a_0000, 4), [1, 2, 3, 4]);
    let mut boron = Host::dfu(NRF);
    boron.point(0xb_4100);
    boron.erase(0xb_4000).unwrap();
    boron.command(2, &[1, 2, 3, 4]).unwrap();
    assert_eq!(boron.device.flash(0xb_4100, 4), [1, 2, 3, 4]);
}

#[test]
fn naive_one_status_after_a_write() {
    let mut host = Host::dfu(NRF);
    host.device.inject(DeviceMishap::FlashWriteFailsOnce(0xb_4000));
    host.point(0xb_4000);
    host.download(2, &[0; 16]).unwrap();
    assert_eq!(host.status().unwrap(), "000000000400", "the first status shows no error");
    assert_eq!(host.status().unwrap(), "0e0000000a00", "the second does");
    assert_eq!(host.device.counters().fired("flash-write-fails-once"), 1);
    host.clear_status().unwrap();
    host.point(0xb_4000);
    host.download(2, &[0; 16]).unwrap();
    host.status().unwrap();
    assert_eq!(
        host.download(2, &[0; 16]),
        Err(UsbError::Stall),
        "not before the second status"
    );
}

#[test]
fn naive_no_read_back_on_gen2() {
    let mut host = Host::dfu(PHOTON);
    host.erase(0x080a_0000).unwrap();
    host.device.inject(DeviceMishap::FlashWriteFailsOnce(0x080a_0000));
    host.point(0x080a_0000);
    host.download(2, &[7; 16]).unwrap();
    assert_eq!(host.status(), Err(UsbError::Stall), "the only sign");
    assert_eq!(
        host.status().unwrap(),
        IDLE_DNLOAD,
        "a client that asks again believes that it worked"
    );
    assert_eq!(host.read(0x080a_0000, 16).unwrap(), [0xff; 16]);
    assert_eq!(host.read(0x0810_0000, 16).unwrap(), [0; 16], "a read that fails gives zeros");
}

#[test]
fn naive_writing_without_erasing() {
    for (platform, address) in [(NRF, 0xb_4000), (RTL, 0x085f_0000)] {
        let mut host = Host::dfu(platform);
        host.erase(address).unwrap();
        host.write(address, &[0xf0]).unwrap();
        assert_eq!(host.write(address, &[0x3c]).unwrap(), IDLE_DNLOAD, "no verify");
        assert_eq!(host.device.flash(address, 1), [0x30]);
    }
    let mut photon = Host::dfu(PHOTON);
    photon.erase(0x080a_0000).unwrap();
    photon.write(0x080a_0000, &[0xf0]).unwrap();
    assert_eq!(photon.write(0x080a_0000, &[0x3c]), Err(UsbError::Stall), "Gen 2 verifies");
}

#[test]
fn naive_block_one_and_reads_without_abort() {
    for (platform, status) in [(NRF, "010000000a00"), (RTL, "010000000a00"), (PHOTON, "0e0000000a00")] {
        let mut host = Host::dfu(platform);
        assert_eq!(host.command(1, &[0; 8]).unwrap(), status);
        host.clear_status().unwrap();
        assert_eq!(host.upload(1, 8), Err(UsbError::Stall));
        host.clear_status().unwrap();
        host.point(0x0800_0000);
        assert_eq!(host.upload(2, 8), Err(UsbError::Stall), "dfuDNLOAD_IDLE is not idle");
    }
}

#[test]
fn naive_erase_before_a_dct_write() {
    for platform in [NRF, RTL, PHOTON] {
        let mut host = Host::dfu(platform);
        host.alternate(1);
        let before = host.device.dct().to_vec();
        assert_eq!(host.erase(0).unwrap(), IDLE_DNLOAD, "it says so");
        assert_eq!(host.device.dct(), before, "and erases nothing");
        host.write(3106, &[0xaa]).unwrap();
        assert_eq!(host.device.dct()[3106], 0xaa, "a write needs no erase");
        host.write(3106, &[0x55]).unwrap();
        assert_eq!(host.read(3106, 1).unwrap(), [0x55]);
    }
}

#[test]
fn naive_a_shorter_key_over_a_longer_one() {
    let mut host = Host::new(Spec {
        key: StartKey::Old,
        os_version: 6200,
        ..Spec::default()
    });
    host.enter_dfu();
    host.alternate(1);
    let old = host.device.dct()[3106..3106 + 122].to_vec();
    let (new, _) = key::make(&mut Chance::new(5), Transport::Udp, 6200);
    assert_eq!((old[1], new.len()), (0x78, 121));
    host.write(3106, &new).unwrap();
    assert_eq!(host.device.dct()[3106 + 121], old[121], "a byte of the old key is left");
}

#[test]
fn the_dct_ends_where_its_file_ends() {
    let mut host = Host::dfu(NRF);
    host.alternate(1);
    assert_eq!(host.read(8192, 199).unwrap().len(), 199);
    host.point(8192);
    host.abort().unwrap();
    assert_eq!(host.upload(2, 4096), Err(UsbError::Stall));
    let mut photon = Host::dfu(PHOTON);
    photon.alternate(1);
    assert_eq!(photon.read(12288, 4096).unwrap().len(), 4096);
    assert_eq!(photon.read(16384, 16).unwrap(), [0; 16]);
}

#[test]
fn photon_reaches_its_dct_only_with_both_system_parts() {
    let mut host = Host::dfu(PHOTON);
    host.alternate(1);
    assert_ne!(host.read(34, 16).unwrap(), [0; 16]);
    host.alternate(0);
    host.erase(0x0806_0000).unwrap();
    host.alternate(1);
    assert_eq!(host.read(34, 16).unwrap(), [0; 16], "zeros");
    let before = host.device.dct().to_vec();
    host.point(34);
    host.download(2, &[1; 16]).unwrap();
    assert_eq!(host.status(), Err(UsbError::Stall));
    assert_eq!(host.device.dct(), before);
    let mut electron = Host::dfu(10);
    electron.erase(0x0804_0000).unwrap();
    electron.alternate(1);
    assert_eq!(electron.read(3106, 16).unwrap(), &electron.device.dct()[3106..3122]);
}

#[test]
fn poll_timeouts_of_gen2_are_the_wrong_way_round() {
    let mut host = Host::dfu(PHOTON);
    host.alternate(1);
    host.download(0, &unhex("41 00 00 00 00")).unwrap();
    assert_eq!(
        host.status().unwrap(),
        "00f401000400",
        "500 ms for an erase that does nothing"
    );
    host.status().unwrap();
    host.point(34);
    host.download(2, &[1]).unwrap();
    assert_eq!(host.status().unwrap(), "000100000400");
}

#[test]
fn what_no_bootloader_does() {
    let mut host = Host::dfu(NRF);
    assert_eq!(host.command(0, &[0x41]).unwrap(), "010000000a00", "mass erase");
    host.clear_status().unwrap();
    assert_eq!(host.command(0, &[0x92]).unwrap(), "0e0000000a00");
    host.clear_status().unwrap();
    assert_eq!(host.command(0, &unhex("21 00 00 00")).unwrap(), "0e0000000a00", "four bytes");
    host.clear_status().unwrap();
    host.download(0, &[0x00]).unwrap();
    assert_eq!(host.status().unwrap(), "000000000400");
    assert_eq!(host.status(), Err(UsbError::Stall), "a DNLOAD of 0x00 wedges it");
    assert_eq!(host.state(), 10);
}

#[test]
fn addresses_are_checked_less_than_the_map_says() {
    let mut host = Host::dfu(NRF);
    assert_eq!(host.erase(0xf_8000).unwrap(), IDLE_DNLOAD, "letter a, and still erased");
    assert_eq!(host.erase(0x10_0000).unwrap(), "0e0000000a00");
    host.clear_status().unwrap();
    let mut photon = Host::dfu(PHOTON);
    photon.download(0, &unhex("41 00 00 00 08")).unwrap();
    assert_eq!(photon.status(), Err(UsbError::Stall));
    let mut rtl = Host::dfu(RTL);
    let dct = rtl.device.dct().to_vec();
    rtl.erase(0x0870_0000).unwrap();
    assert_ne!(rtl.device.dct(), dct, "the file system with the DCT is in reach");
    assert!(rtl.device.dct().iter().all(|b| *b == 0xff));
}

#[test]
fn block_numbers_count_from_the_pointer() {
    let mut host = Host::dfu(RTL);
    for page in 0..3 {
        host.erase(0x085f_0000 + page * 4096).unwrap();
    }
    host.point(0x085f_0000);
    for block in 2..5 {
        assert_eq!(host.command(block, &[block as u8; 4096]).unwrap(), IDLE_DNLOAD);
    }
    host.abort().unwrap();
    for block in 2..5 {
        assert_eq!(
            host.upload(block, 4096).unwrap(),
            [block as u8; 4096],
            "the pointer survives ABORT"
        );
    }
}

#[test]
fn leaving_needs_the_status_and_half_a_second() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    host.enter_dfu();
    host.download(2, &[]).unwrap();
    host.pass(Duration::from_secs(60));
    assert_eq!(
        host.device.attachment().unwrap().product,
        0xd00d,
        "without GETSTATUS nothing happens"
    );
    assert_eq!(host.status().unwrap(), "000000000700");
    host.pass(Duration::from_millis(400));
    assert!(host.device.attachment().is_some());
    host.pass(Duration::from_millis(110));
    assert_eq!(host.device.attachment(), None);
    host.pass(Duration::from_secs(3));
    assert_eq!(host.device.attachment().unwrap().product, 0xc00d);
    let mut photon = Host::dfu(PHOTON);
    photon.download(2, &[]).unwrap();
    assert_eq!(photon.status().unwrap(), IDLE_DNLOAD, "Gen 2 reports state 5");
    photon.settle();
    assert_eq!(photon.device.attachment().unwrap().product, 0xc006);
}

#[test]
fn safe_mode_from_dfu() {
    let mut host = Host::dfu(NRF);
    host.download(0, &[0xfa]).unwrap();
    host.status().unwrap();
    assert_eq!(host.status().unwrap(), "000000000700");
    host.settle();
    assert!(host.device.in_safe_mode());
}

#[test]
fn time_is_that_of_the_flash() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    host.enter_dfu();
    let before = host.now;
    host.erase(0xb_4000).unwrap();
    host.write(0xb_4000, &[0; 4096]).unwrap();
    let takes = host.now.since(before);
    // field.md 3.2: 77 to 150 ms for a page
    assert!((77..160).contains(&takes.as_millis()), "{takes:?}");
    let mut photon = Host::timed(
        Spec {
            platform: 6,
            os_version: 3301,
            ..Spec::default()
        },
        Timing::default(),
    );
    photon.enter_dfu();
    let before = photon.now;
    photon.erase(0x080a_0000).unwrap();
    assert!(
        (900..1300).contains(&photon.now.since(before).as_millis()),
        "a sector of 128 KiB takes about a second"
    );
}

#[test]
fn a_user_part_of_the_new_kind_erases_the_page_of_the_old() {
    let mut host = Host::dfu(NRF);
    host.erase(0xd_4000).unwrap();
    host.write(0xd_4000, &[1; 64]).unwrap();
    let user = host.device.flash(0xb_4000, 11 << 10);
    host.flash(&user, 0xb_4000);
    assert_eq!(host.device.flash(0xd_4000, 64), [0xff; 64]);
}

#[test]
fn descriptors_strings_and_settings() {
    let mut host = Host::dfu(NRF);
    assert_eq!(
        host.hex("80 06 0001 0000 1200", &[]).unwrap(),
        "120100020000004".to_owned() + "0042b0dd05102" + "01020301"
    );
    assert_eq!(host.hex("80 06 0002 0000 0400", &[]).unwrap(), "09022d00");
    assert_eq!(host.hex("81 0a 0000 0000 0100", &[]).unwrap(), "00");
    host.alternate(2);
    assert_eq!(host.hex("81 0a 0000 0000 0100", &[]).unwrap(), "02");
    assert_eq!(host.raw([0x01, 11, 3, 0, 0, 0, 0, 0], &[]), Err(UsbError::Stall));
    let state = host.raw([0x80, 6, 0xfa, 3, 9, 4, 0xff, 0], &[]).unwrap();
    assert_eq!(hex(&state), "0c0373006d003d006f000000");
    let first = host.raw([0x80, 6, 3, 3, 9, 4, 1, 0], &[]).unwrap();
    assert_eq!(first, [50], "one byte is the length of the whole");
    let mut old = Host::new(Spec {
        platform: 6,
        os_version: 3301,
        fixed_dfu_serial: true,
        ..Spec::default()
    });
    old.enter_dfu();
    assert_eq!(old.device.attachment().unwrap().serial, "00000000010C");
}
