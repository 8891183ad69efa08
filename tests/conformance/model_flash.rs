//! 3.5: what each family's flash and DCT do behind DFU, and how they fail.

use keyrack::{
    edge::UsbError,
    sim::device::{DeviceMishap, Forge},
};

use crate::{
    model_dfu::{ERR_UNKNOWN, ERR_VENDOR, later, user_part},
    rig::{ALL, ARGON, B5SOM, BORON, DNLOAD_IDLE, ELECTRON, ERROR, GEN2, MSOM, P2, PHOTON, Rig, Status, TRACKER, UPLOAD_IDLE},
};

#[test]
fn out_of_range() {
    for (platform, outside) in [(BORON, 0x10_0000), (P2, 0x0880_0000), (MSOM, 0x07ff_f000)] {
        let mut rig = Rig::dfu(platform);
        let status = write_to(&mut rig, outside);
        assert_eq!(status.state, ERROR, "{platform}");
        assert!(matches!(status.status, ERR_UNKNOWN | ERR_VENDOR), "{platform}: {status:?}");
        rig.idle();
        assert_eq!(
            rig.command(0x21, outside).unwrap().state,
            DNLOAD_IDLE,
            "only the access is checked"
        );
        rig.abort().unwrap();
        assert_eq!(rig.upload(2, 64), Err(UsbError::Stall), "{platform}: a failed read stalls");
        assert_eq!(rig.state(), ERROR);
    }
}

fn write_to(rig: &mut Rig, address: u32) -> Status {
    let mut bytes = vec![0x21];
    bytes.extend(address.to_le_bytes());
    rig.dnload(0, &bytes).unwrap();
    let status = rig.settle().unwrap();
    if status.state == ERROR {
        return status;
    }
    rig.dnload(2, &[0x12; 64]).unwrap();
    rig.settle().unwrap()
}

#[test]
fn nrf_and_rtl_say_that_a_write_failed() {
    for platform in later() {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        rig.erase(at).unwrap();
        rig.device.inject(DeviceMishap::FlashWriteFailsOnce(at));
        rig.point(at);
        rig.dnload(2, &[1; 64]).unwrap();
        let status = rig.settle().unwrap();
        assert_eq!(status.state, ERROR, "{platform}");
        assert!(matches!(status.status, ERR_UNKNOWN | ERR_VENDOR), "{platform}: {status:?}");
    }
}

#[test]
fn gen_2_gives_zeros_where_a_read_fails() {
    for platform in GEN2 {
        let mut rig = Rig::dfu(platform);
        rig.point(0x0900_0000);
        rig.abort().unwrap();
        assert_eq!(rig.upload(2, 4096).unwrap(), [0; 4096], "{platform}");
        let status = rig.status().unwrap();
        assert_eq!((status.status, status.state), (0, UPLOAD_IDLE), "status OK");
    }
}

#[test]
fn gen_2_protects_what_is_below_the_system() {
    for platform in GEN2 {
        for address in [0x0800_0000, 0x0800_4000, 0x0801_0000] {
            let mut rig = Rig::dfu(platform);
            let before = rig.device.flash(address, 4096);
            rig.point(address);
            rig.dnload(2, &[0; 64]).unwrap();
            assert_eq!(rig.status(), Err(UsbError::Stall), "{platform}: {address:#x}");
            let _ = rig.settle();
            assert_eq!(rig.device.flash(address, 4096), before);
        }
    }
}

#[test]
fn gen_2_programs_only_what_is_erased() {
    for platform in GEN2 {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        rig.erase(at).unwrap();
        rig.write(at, &[0x0f; 64]).unwrap();
        rig.point(at);
        rig.dnload(2, &[0xf0; 64]).unwrap();
        assert_eq!(rig.status(), Err(UsbError::Stall), "{platform}: the verification fails");
        let status = rig.settle().unwrap();
        assert_eq!((status.status, status.state), (0, DNLOAD_IDLE), "and then it reports OK");
        assert_ne!(rig.device.flash(at, 64), [0xf0; 64]);
    }
}

#[test]
fn dct_erase_does_nothing_and_says_ok() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.alternate(1);
        let before = rig.device.dct().to_vec();
        let status = rig.erase(0).unwrap();
        assert_eq!((status.status, status.state), (0, DNLOAD_IDLE), "{platform}");
        assert_eq!(rig.device.dct(), before);
    }
}

#[test]
fn dct_writes_have_the_granularity_of_a_byte() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.alternate(1);
        let before = rig.device.dct().to_vec();
        assert_eq!(rig.write(3107, &[0xa5]).unwrap().state, DNLOAD_IDLE);
        let mut wanted = before.clone();
        wanted[3107] = 0xa5;
        assert_eq!(rig.device.dct(), wanted, "{platform}");
        assert_eq!(rig.read(3106, 3).unwrap(), wanted[3106..3109]);
        // Both ways: bits are set as well as cleared.
        assert_eq!(rig.write(3107, &[0x5a]).unwrap().state, DNLOAD_IDLE);
        assert_eq!(rig.read(3107, 1).unwrap(), [0x5a]);
    }
}

#[test]
fn the_dct_file_ends_at_8391_on_nrf_and_rtl() {
    for platform in later() {
        let mut rig = Rig::dfu(platform);
        rig.alternate(1);
        assert_eq!(rig.read(8390, 1).unwrap().len(), 1, "{platform}");
        rig.idle();
        rig.point(0x3000);
        rig.abort().unwrap();
        assert_eq!(rig.upload(2, 64), Err(UsbError::Stall), "{platform}: beyond the file");
        rig.idle();
        let status = write_to(&mut rig, 0x4000);
        assert_eq!(status.state, ERROR, "{platform}: beyond 16 KiB");
    }
}

#[test]
fn erase_moves_the_pointer_on_gen_2_only() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let (near, far) = match platform {
            PHOTON | ELECTRON => (0x080a_0000, 0x080c_0000),
            P2 | MSOM => (0x0850_0000, 0x0851_0000),
            _ => (0xb_4000, 0xc_0000),
        };
        rig.erase(near).unwrap();
        rig.point(near);
        rig.erase(far).unwrap();
        rig.dnload(2, &[0x77; 16]).unwrap();
        rig.settle().unwrap();
        let moved = GEN2.contains(&platform);
        assert_eq!(rig.device.flash(far, 16) == [0x77; 16], moved, "{platform}");
        assert_eq!(rig.device.flash(near, 16) == [0x77; 16], !moved, "{platform}");
    }
}

#[test]
fn nrf_writes_are_nor_writes() {
    for platform in later() {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        rig.erase(at).unwrap();
        rig.write(at, &[0x0f; 16]).unwrap();
        rig.write(at, &[0xf5; 16]).unwrap();
        assert_eq!(rig.device.flash(at, 16), [0x05; 16], "{platform}: bits are only cleared");
        rig.erase(at + 100).unwrap();
        assert_eq!(rig.device.flash(at, 16), [0xff; 16], "the sector that contains the address");
    }
}

#[test]
fn external_flash_of_nrf_boards() {
    for (platform, size) in [(ARGON, 4u32 << 20), (BORON, 4 << 20), (B5SOM, 8 << 20), (TRACKER, 8 << 20)] {
        let mut rig = Rig::dfu(platform);
        rig.alternate(2);
        let last = 0x8000_0000 + size - 4096;
        rig.erase(last).unwrap();
        assert_eq!(rig.write(last, b"last").unwrap().state, DNLOAD_IDLE);
        assert_eq!(rig.read(last, 4).unwrap(), b"last");
        rig.idle();
        assert_eq!(write_to(&mut rig, last + 4096).state, ERROR, "{platform}");
    }
}

#[test]
fn a_new_user_part_takes_the_old_one_away() {
    let mut rig = Rig::dfu(BORON);
    rig.erase(0xd_4000).unwrap();
    rig.write(0xd_4000, &[0x11; 32]).unwrap();
    let module = Forge {
        combined: false,
        platform: BORON,
        function: 5,
        index: 2,
        version: 6,
        needs: vec![(4, 1, 6000)],
        start: 0xb_4000,
        length: 8 << 10,
        product: (0xffff, 0xffff),
        protects: false,
        seed: 5,
    }
    .build();
    for page in 0..2 {
        rig.erase(0xb_4000 + page * 4096).unwrap();
    }
    rig.write(0xb_4000, &module).unwrap();
    assert_eq!(rig.device.flash(0xd_4000, 32), [0xff; 32], "the compat page");
}

#[test]
fn the_electron_needs_no_system_part_for_its_dct() {
    // 3.5: its bootloader has DCT code of its own; the Photon's and P1's is in system part 2.
    let mut rig = Rig::dfu(ELECTRON);
    for sector in [0x0802_0000, 0x0804_0000, 0x0806_0000] {
        rig.erase(sector).unwrap();
    }
    rig.idle();
    rig.alternate(1);
    let dct = rig.device.dct()[..8391].to_vec();
    assert_eq!(rig.read(0, 8391).unwrap(), dct);
    let mut p1 = Rig::dfu(8);
    p1.erase(0x0806_0000).unwrap();
    p1.idle();
    p1.alternate(1);
    assert_eq!(p1.read(0, 4096).unwrap(), [0; 4096]);
}

#[test]
fn a_power_cut_tears_what_is_being_written() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        rig.erase(at).unwrap();
        rig.point(at);
        rig.dnload(2, &[0; 4096]).unwrap();
        let setup = keyrack::edge::Setup {
            request_type: 0xa1,
            request: 3,
            value: 0,
            index: 0,
            length: 6,
        };
        let busy = rig.device.control(rig.now, setup, &[]);
        let middle = rig.now + busy.takes / 2;
        rig.device.power(middle, false);
        assert_eq!(rig.device.counters().torn, 1, "{platform}");
        let torn = rig.device.flash(at, 4096);
        assert!(torn.contains(&0xff) || torn.contains(&0), "{platform}");
        assert_ne!(torn, [0; 4096], "{platform}: not all of it");
        rig.now = middle;
        rig.device.power(middle, true);
        rig.until_attached();
    }
}

#[test]
fn the_dct_has_16_kib_on_gen_2() {
    for platform in GEN2 {
        let mut rig = Rig::dfu(platform);
        rig.alternate(1);
        let whole = rig.read(0, 16 << 10).unwrap();
        assert_eq!(whole.len(), 16 << 10, "{platform}");
        assert_eq!(whole[..8391], rig.device.dct()[..8391]);
        assert!(whole.iter().any(|byte| *byte != 0));
    }
}
