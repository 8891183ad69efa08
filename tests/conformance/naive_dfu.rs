//! Hosts that make one mistake in DFU mode each. The mistake must have its documented consequence, and the host that does not
//! make it must succeed.

use keyrack::{
    edge::UsbError,
    sim::device::{DeviceMishap, Forge, Spec, StartKey},
};

use crate::{
    model_dfu::user_part,
    rig::{ALL, BORON, DNBUSY, DNLOAD_IDLE, ERROR, GEN2, IDLE, MSOM, NRF, P2, PHOTON, RTL, Rig, spec},
};

/// Puts an image where it belongs, done right, with the family's own sector size.
fn flash(rig: &mut Rig, platform: u16, at: u32, image: &[u8]) {
    let sector = if GEN2.contains(&platform) { 128 << 10 } else { 4 << 10 };
    for offset in (0..u32::try_from(image.len()).unwrap()).step_by(sector) {
        assert_eq!(rig.erase(at + offset).unwrap().state, DNLOAD_IDLE);
    }
    assert_eq!(rig.write(at, image).unwrap().state, DNLOAD_IDLE);
}

fn image(length: u32) -> Vec<u8> {
    (0..length).map(|i| i.wrapping_mul(0x9e37_79b1).to_le_bytes()[3]).collect()
}

#[test]
fn clrstatus_to_be_on_the_safe_side() {
    // 3.4: the way out of an unknown state is GETSTATUS first, then ABORT, and CLRSTATUS in dfuERROR only.
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let cleared = rig.clear();
        if GEN2.contains(&platform) {
            assert_eq!(cleared, Ok(Vec::new()), "{platform}: silently");
        } else {
            assert_eq!(cleared, Err(UsbError::Stall), "{platform}");
        }
        let pointer = [vec![0x21], user_part(platform).to_le_bytes().to_vec()].concat();
        assert_eq!(
            rig.dnload(0, &pointer),
            Err(UsbError::Stall),
            "{platform}: dfuERROR takes no command"
        );
        assert_eq!(rig.state(), ERROR);

        let mut rig = Rig::dfu(platform);
        rig.idle();
        rig.point(user_part(platform));
        rig.idle();
        assert_eq!(rig.state(), IDLE);
    }
}

#[test]
fn no_set_address_after_an_erase_on_gen_2() {
    // 3.3: an erase moves the pointer, so what is written goes to the sector that was erased last.
    for platform in GEN2 {
        let image = image(4096);
        let (first, second) = (0x080a_0000, 0x080c_0000);
        let mut rig = Rig::dfu(platform);
        rig.point(first);
        rig.erase(first).unwrap();
        rig.erase(second).unwrap();
        rig.dnload(2, &image).unwrap();
        assert_eq!(rig.settle().unwrap().state, DNLOAD_IDLE, "and nobody complains");
        assert_eq!(rig.device.flash(first, 4096), [0xff; 4096]);
        assert_eq!(rig.device.flash(second, 4096), image);

        let mut rig = Rig::dfu(platform);
        rig.erase(first).unwrap();
        rig.erase(second).unwrap();
        rig.point(first);
        rig.dnload(2, &image).unwrap();
        rig.settle().unwrap();
        assert_eq!(rig.device.flash(first, 4096), image);
    }
}

#[test]
fn one_getstatus_after_a_write() {
    // 3.4: the first GETSTATUS says that the operation begins, the next one how it went.
    for platform in NRF.into_iter().chain(RTL) {
        let at = user_part(platform);
        let mut rig = Rig::dfu(platform);
        rig.erase(at).unwrap();
        rig.device.inject(DeviceMishap::FlashWriteFailsOnce(at));
        rig.point(at);
        rig.dnload(2, &[7; 64]).unwrap();
        let only = rig.status().unwrap();
        assert_eq!(
            (only.status, only.state),
            (0, DNBUSY),
            "{platform}: what the naive host takes for success"
        );
        assert_eq!(rig.settle().unwrap().state, ERROR, "{platform}: what the other host sees");
        assert_eq!(rig.device.flash(at, 64), [0xff; 64]);
    }
}

#[test]
fn a_second_getstatus_after_the_stall_of_gen_2() {
    // 3.5: the stall is the only sign of a failed write; the state machine then goes on and reports OK.
    for platform in GEN2 {
        let at = user_part(platform);
        let mut rig = Rig::dfu(platform);
        rig.erase(at).unwrap();
        rig.device.inject(DeviceMishap::FlashWriteFailsAlways(at));
        rig.point(at);
        rig.dnload(2, &[7; 64]).unwrap();
        assert_eq!(rig.status(), Err(UsbError::Stall), "{platform}");
        let again = rig.settle().unwrap();
        assert_eq!((again.status, again.state), (0, DNLOAD_IDLE), "{platform}: the lie");
        assert_ne!(rig.device.flash(at, 64), [7; 64]);
        // Reading back tells.
        assert_ne!(rig.read(at, 64).unwrap(), [7; 64]);
        rig.device.heal();
        rig.idle();
        rig.erase(at).unwrap();
        assert_eq!(rig.write(at, &[7; 64]).unwrap().state, DNLOAD_IDLE);
        assert_eq!(rig.read(at, 64).unwrap(), [7; 64]);
    }
}

#[test]
fn no_read_back_of_a_key() {
    // 3.5: on Gen 2 the verification of the DCT is a stub that always succeeds.
    let mut rig = Rig::dfu(PHOTON);
    let before = rig.device.key_spki();
    rig.device.inject(DeviceMishap::KeyWriteIgnored);
    rig.alternate(1);
    let key = Rig::boot(Spec {
        seed: 77,
        ..spec(PHOTON)
    })
    .device
    .dct()[34..34 + 1216]
        .to_vec();
    let status = rig.write(34, &key).unwrap();
    assert_eq!((status.status, status.state), (0, DNLOAD_IDLE), "success, it says");
    assert_eq!(rig.device.key_spki(), before, "the old key is there");
    assert_ne!(rig.read(34, key.len()).unwrap(), key, "only reading back tells");
    rig.device.heal();
    rig.idle();
    rig.write(34, &key).unwrap();
    assert_eq!(rig.read(34, key.len()).unwrap(), key);
}

/// A Photon whose system part 2 was erased, still in DFU mode.
fn photon_without_part_2() -> Rig {
    let mut rig = Rig::dfu(PHOTON);
    rig.erase(0x0806_0000).unwrap();
    rig.erase(0x0808_0000).unwrap();
    rig.idle();
    rig
}

#[test]
fn key_work_on_a_photon_with_broken_system_part_2() {
    // 3.5: the functions that reach the DCT are in system part 2.
    let part_2 = Rig::normal(PHOTON).device.flash(0x0806_0000, 0x4_0000);
    let mut rig = photon_without_part_2();
    let dct = rig.device.dct().to_vec();
    rig.alternate(1);
    let backup = rig.read(0, 8391).unwrap();
    assert!(backup.iter().all(|byte| *byte == 0), "zeros, status OK: the naive backup");
    rig.idle();
    rig.point(34);
    rig.dnload(2, &[0x30; 64]).unwrap();
    assert_eq!(rig.status(), Err(UsbError::Stall), "the write fails");
    let _ = rig.settle();
    assert_eq!(rig.device.dct(), dct, "the keys are untouched");

    // Device OS first, keys after.
    let mut rig = photon_without_part_2();
    rig.write(0x0806_0000, &part_2).unwrap();
    rig.idle();
    rig.alternate(1);
    assert_eq!(rig.read(0, 8391).unwrap(), dct[..8391]);
    assert_eq!(rig.write(34, &dct[34..1250]).unwrap().state, DNLOAD_IDLE);
}

#[test]
fn blocks_counted_from_one() {
    for platform in NRF.into_iter().chain(RTL) {
        let at = user_part(platform);
        let mut rig = Rig::dfu(platform);
        rig.erase(at).unwrap();
        rig.point(at);
        let _ = rig.dnload(1, &[7; 64]);
        assert_eq!(rig.settle().unwrap().state, ERROR, "{platform}");
        assert_eq!(rig.device.flash(at, 64), [0xff; 64]);
        rig.idle();
        rig.point(at);
        rig.dnload(2, &[7; 64]).unwrap();
        assert_eq!(rig.settle().unwrap().state, DNLOAD_IDLE);
        assert_eq!(rig.device.flash(at, 64), [7; 64]);
    }
}

#[test]
fn erase_before_a_dct_write() {
    // 3.4: an erase of the DCT does nothing and reports success, so what is behind the new key stays.
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.alternate(1);
        let old = rig.device.dct()[3106..3298].to_vec();
        let status = rig.erase(0).unwrap();
        assert_eq!((status.status, status.state), (0, DNLOAD_IDLE), "{platform}");
        assert_eq!(rig.read(3106, 192).unwrap(), old, "{platform}: not blank");
        // Without erase, with the slot filled up.
        let mut slot = vec![0xff; 192];
        slot[..4].copy_from_slice(&[0x30, 2, 1, 1]);
        rig.idle();
        rig.write(3106, &slot).unwrap();
        assert_eq!(rig.read(3106, 192).unwrap(), slot);
    }
}

#[test]
fn a_shorter_key_over_a_longer_one() {
    // 4.3: old bytes remain behind the new key, and they are bytes of a private key.
    let new = Rig::boot(Spec { seed: 5, ..spec(BORON) }).device.dct()[3106..3106 + 121].to_vec();
    let long = || {
        let mut rig = Rig::boot_dfu(Spec {
            key: StartKey::Old,
            ..spec(BORON)
        });
        rig.alternate(1);
        rig
    };
    let mut rig = long();
    let old = rig.device.dct()[3106..3298].to_vec();
    assert_eq!(old[1], 0x78, "122 bytes");
    rig.write(3106, &new).unwrap();
    assert_eq!(rig.device.dct()[3106 + 121], old[121], "the last byte of the old key");
    assert_ne!(rig.device.dct()[3106 + 121], 0xff);

    let mut rig = long();
    let mut slot = vec![0xff; 192];
    slot[..121].copy_from_slice(&new);
    rig.write(3106, &slot).unwrap();
    assert_eq!(rig.device.dct()[3106..3298], slot);
    assert!(rig.device.key_spki().is_some());
}

#[test]
fn mass_erase() {
    // 3.2: a command of one byte is errTARGET.
    for platform in NRF.into_iter().chain(RTL) {
        let mut rig = Rig::dfu(platform);
        let at = user_part(platform);
        let before = rig.device.flash(at, 0x1000);
        let _ = rig.dnload(0, &[0x41]);
        let status = rig.settle().unwrap();
        assert_eq!((status.status, status.state), (1, ERROR), "{platform}");
        assert_eq!(rig.device.flash(at, 0x1000), before);
        assert_eq!(rig.device.counters().erases, 0);
        rig.idle();
        assert_eq!(rig.erase(at).unwrap().state, DNLOAD_IDLE, "sector by sector");
        assert_eq!(rig.device.flash(at, 0x1000), [0xff; 0x1000]);
    }
}

#[test]
fn dnload_of_the_command_list() {
    // 3.2: the list is for UPLOAD; a DNLOAD of 0x00 wedges nRF.
    for platform in NRF {
        let mut rig = Rig::dfu(platform);
        rig.dnload(0, &[0x00]).unwrap();
        let first = rig.status();
        let second = rig.status();
        assert!(
            first == Err(UsbError::Stall) || (first.unwrap().state == DNBUSY && second == Err(UsbError::Stall)),
            "{platform}: {first:?}, {second:?}"
        );
        let mut rig = Rig::dfu(platform);
        assert_eq!(rig.upload(0, 16).unwrap()[..3], [0x00, 0x21, 0x41]);
        rig.idle();
        rig.point(user_part(platform));
    }
}

#[test]
fn upload_without_abort() {
    // 3.4: after SET_ADDRESS the device is in dfuDNLOAD_IDLE, from which nothing can be read.
    for platform in ALL {
        let at = user_part(platform);
        let mut rig = Rig::dfu(platform);
        rig.point(at);
        assert_eq!(rig.upload(2, 4096), Err(UsbError::Stall), "{platform}");
        let after = if GEN2.contains(&platform) { DNLOAD_IDLE } else { ERROR };
        assert_eq!(rig.state(), after, "{platform}: Gen 2 only stalls");
        let mut rig = Rig::dfu(platform);
        rig.point(at);
        rig.abort().unwrap();
        assert_eq!(rig.upload(2, 4096).unwrap(), rig.device.flash(at, 4096));
    }
}

#[test]
fn flash_written_without_erase() {
    let (old, new) = (image(4096), vec![0xa5; 4096]);
    for platform in NRF.into_iter().chain(RTL) {
        let at = user_part(platform);
        let mut rig = Rig::dfu(platform);
        flash(&mut rig, platform, at, &old);
        let status = rig.write(at, &new).unwrap();
        assert_eq!(
            (status.status, status.state),
            (0, DNLOAD_IDLE),
            "{platform}: written once, never verified"
        );
        let both: Vec<u8> = old.iter().zip(&new).map(|(old, new)| old & new).collect();
        assert_eq!(rig.device.flash(at, 4096), both, "{platform}: neither of the two");
        flash(&mut rig, platform, at, &new);
        assert_eq!(rig.device.flash(at, 4096), new);
    }
    for platform in GEN2 {
        let at = user_part(platform);
        let mut rig = Rig::dfu(platform);
        flash(&mut rig, platform, at, &old);
        assert_eq!(
            rig.write(at, &new),
            Err(UsbError::Stall),
            "{platform}: its verification notices"
        );
    }
}

/// Erases a sector that belongs to the bootloader or not, and cuts the power once.
fn after_erasing(platform: u16, at: u32) -> Rig {
    // A bootloader as long as the real one, so that its tail counts.
    let bootloader = Forge {
        combined: false,
        platform,
        function: 2,
        index: 0,
        version: 3100,
        needs: Vec::new(),
        start: 0xf_4000,
        length: 0xbc00,
        product: (0xffff, 0xffff),
        protects: false,
        seed: 8,
    };
    let mut rig = Rig::boot_dfu(Spec {
        installed: if platform == BORON {
            vec![bootloader.build()]
        } else {
            Vec::new()
        },
        ..spec(platform)
    });
    let status = rig.erase(at).unwrap();
    assert_eq!(
        (status.status, status.state),
        (0, DNLOAD_IDLE),
        "{platform}: the device lets it happen"
    );
    assert_eq!(rig.device.flash(at, 16), [0xff; 16]);
    let now = rig.now;
    rig.device.power(now, false);
    let now = rig.now;
    rig.device.power(now, true);
    rig.wait_ms(60_000);
    rig
}

#[test]
fn believing_the_letters() {
    // 3.5: RTL calls its whole flash 'g', bootloader and pre-bootloader included; nRF the first third of its bootloader.
    for (platform, at) in [(P2, 0x0800_0000), (P2, 0x0800_4000), (MSOM, 0x0800_4000), (BORON, 0xf_4000)] {
        let rig = after_erasing(platform, at);
        assert_eq!(rig.device.attachment(), None, "{platform}: a brick, {at:#x}");
        let known = keyrack::model::Platform::from_id(platform).unwrap();
        assert!(
            known.flashable().iter().all(|range| !range.contains(&at)),
            "the host's own list knows better"
        );
    }
    let rig = after_erasing(P2, user_part(P2));
    assert!(rig.device.attachment().is_some());
}

#[test]
fn believing_that_the_letter_a_protects() {
    // 3.5: nRF marks its first page and the end of its bootloader read-only in the descriptor alone.
    for at in [0x0, 0xf_8000] {
        let rig = after_erasing(BORON, at);
        assert_eq!(rig.device.attachment(), None, "{at:#x}");
    }
}

#[test]
fn leaving_without_getstatus() {
    // 3.4: on nRF the transition happens in the status stage of the GETSTATUS after it.
    for platform in NRF {
        let mut rig = Rig::dfu(platform);
        rig.dnload(2, &[]).unwrap();
        rig.wait_ms(60_000);
        assert!(
            rig.device.attachment().is_some() && rig.is_dfu(),
            "{platform}: it waits for ever"
        );
        let mut rig = Rig::dfu(platform);
        rig.leave();
        assert!(!rig.is_dfu());
    }
}

#[test]
fn large_sectors_erased_in_steps_of_16_kib() {
    // 1.5: only the first sectors of an STM32F205 have 16 KiB; an erase inside of a sector of 128 KiB takes all of it.
    let image = image(32 << 10);
    for platform in GEN2 {
        let at = user_part(platform);
        let mut rig = Rig::dfu(platform);
        for (i, piece) in image.chunks(16 << 10).enumerate() {
            let step = at + u32::try_from(i * (16 << 10)).unwrap();
            rig.erase(step).unwrap();
            rig.write(step, piece).unwrap();
        }
        assert_eq!(
            rig.device.flash(at, 16 << 10),
            [0xff; 16 << 10],
            "{platform}: the first piece is gone"
        );
        assert_eq!(rig.device.flash(at + (16 << 10), 16 << 10), image[16 << 10..]);
        let mut rig = Rig::dfu(platform);
        flash(&mut rig, platform, at, &image);
        assert_eq!(rig.device.flash(at, image.len()), image);
        assert_eq!(rig.device.counters().erases, 1);
    }
}
