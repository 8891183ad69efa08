//! The station's DFU protocol and key store against every family.

use keyrack::{
    device::{
        Cancel, Dfu, DfuError, KeyStore, KeyStoreError,
        dfu::{Left, PlanError},
        identify,
        keystore::Unreadable,
    },
    edge::Setup,
    model::{
        Platform,
        fact::Protection,
        platform::{Transport, UsbMode},
    },
    sim::device::{DeviceMishap, Forge, Spec, Timing},
};

use crate::{
    bench::Bench,
    model_dfu::user_part,
    rig::{ALL, BORON, ELECTRON, GEN2, MSOM, NRF, P2, PHOTON, RTL, Rig, TRACKER, spec},
    server,
};

fn image(length: u32) -> Vec<u8> {
    (0..length).map(|i| i.wrapping_mul(0x9e37_79b1).to_le_bytes()[3]).collect()
}

/// A place for 256 KiB of image, at the start of a sector.
fn large_place(platform: u16) -> u32 {
    match platform {
        PHOTON | ELECTRON => 0x0806_0000,
        P2 | MSOM => 0x0806_0000,
        _ => 0xb_4000,
    }
}

fn nothing(_: u64, _: u64) {}

#[test]
fn an_image_is_written_read_back_and_booted_from() {
    for platform in ALL {
        let bench = Bench::dfu(platform);
        let (at, image) = (user_part(platform), image(30_001));
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let mut told = Vec::new();
        dfu.write_image(0, at, &image, true, &mut |done, total| told.push((done, total)))
            .unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(bench.rig().device.flash(at, image.len()), image, "{platform}");
        assert!(told.is_sorted() && told.last().is_some_and(|(done, total)| done == total));
        assert_eq!(*dfu.read(0, at, 30_001).unwrap().bytes.expose(), image);
        assert_eq!(dfu.leave().unwrap(), Left::Confirmed, "{platform}");
        bench.rig().until_reattached();
        assert!(!bench.rig().is_dfu());
    }
}

#[test]
fn at_most_six_transfers_for_each_4_kib_beside_the_read_back() {
    for platform in ALL {
        let bench = Bench::new({
            let mut rig = Rig::boot_with(spec(platform), Timing::instant());
            rig.enter_dfu();
            rig
        });
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        dfu.select(0).unwrap();
        bench.log();
        let before = dfu.link().transfers();
        dfu.write_image(0, large_place(platform), &image(64 * 4096), true, &mut nothing)
            .unwrap();
        let log = bench.log();
        let all = dfu.link().transfers() - before;
        assert_eq!(all, log.len() as u64, "the link counts what goes over the wire");
        let is = |setup: &Setup, request_type, request| (setup.request_type, setup.request) == (request_type, request);
        let last_write = log
            .iter()
            .rposition(|setup| is(setup, 0x21, 1) && setup.value >= 2)
            .expect("a write");
        // What settles the last write belongs to the writing, the rest to the reading back.
        let end = last_write + 1 + log[last_write + 1..].iter().take_while(|setup| is(setup, 0xa1, 3)).count();
        let each = end as f64 / 64.0;
        assert!(each <= 6.1, "{platform}: {each} transfers for each 4 KiB, {end} in all");
        let reads = (log.len() - end) as f64 / 64.0;
        assert!(reads <= 1.2, "{platform}: {reads} transfers to read 4 KiB back");
    }
}

#[test]
fn reading_back_catches_one_bit() {
    for platform in ALL {
        let bench = Bench::dfu(platform);
        let at = user_part(platform);
        let address = at + 4096 + 17;
        bench.rig().device.inject(DeviceMishap::BitFlipOnRead { alt: 0, address });
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let error = dfu.write_image(0, at, &image(10_000), true, &mut nothing).unwrap_err();
        assert_eq!(error, DfuError::Verify { address }, "{platform}");
    }
}

#[test]
fn a_failed_write_is_never_a_success() {
    for platform in ALL {
        for mishap in [DeviceMishap::FlashWriteFailsOnce, DeviceMishap::FlashWriteFailsAlways] {
            let bench = Bench::dfu(platform);
            let at = user_part(platform);
            let always = mishap(0) == DeviceMishap::FlashWriteFailsAlways(0);
            bench.rig().device.inject(mishap(at + 5_000));
            let mut link = bench.link();
            let mut dfu = Dfu::open(&mut link).unwrap();
            let outcome = dfu.write_image(0, at, &image(10_000), true, &mut nothing);
            let there = bench.rig().device.flash(at, 10_000) == image(10_000);
            assert_eq!(outcome.is_ok(), there, "{platform}: {outcome:?}");
            assert!(!(always && there));
        }
    }
}

#[test]
fn nothing_outside_of_the_allow_list_is_erased() {
    let forbidden: [(u16, u32, usize); 12] = [
        (PHOTON, 0x0800_0000, 4096),
        (PHOTON, 0x0800_4000, 4096),
        (ELECTRON, 0x0801_0000, 4096),
        (BORON, 0x0, 4096),
        (BORON, 0x2_7000, 4096),
        (BORON, 0x2_6000, 8192),
        (BORON, 0xf_4000, 4096),
        (BORON, 0xf_3000, 8192),
        (P2, 0x0800_4000, 4096),
        (P2, 0x081e_0000, 4096),
        (P2, 0x0860_0000, 4096),
        (MSOM, 0x085f_f000, 8192),
    ];
    for (platform, at, length) in forbidden {
        let bench = Bench::dfu(platform);
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let error = dfu.write_image(0, at, &vec![0; length], true, &mut nothing).unwrap_err();
        assert!(matches!(error, DfuError::Plan(_)), "{platform} {at:#x}: {error:?}");
        let counters = bench.rig().device.counters().clone();
        assert_eq!((counters.erases, counters.programs), (0, 0), "{platform} {at:#x}");
    }
    for alternate in [1, 2] {
        let bench = Bench::dfu(TRACKER);
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let error = dfu.write_image(alternate, 0, &[0; 16], false, &mut nothing).unwrap_err();
        assert!(
            matches!(error, DfuError::Plan(PlanError::ForbiddenAlternate { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn gen_2_sectors_are_erased_once_each() {
    for platform in GEN2 {
        let bench = Bench::dfu(platform);
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        dfu.write_image(0, 0x0806_0000, &image(129 << 10), true, &mut nothing)
            .unwrap();
        assert_eq!(bench.rig().device.counters().erases, 2, "{platform}");
        let error = dfu.write_image(0, 0x0806_4000, &image(4096), true, &mut nothing).unwrap_err();
        assert!(
            matches!(error, DfuError::Plan(PlanError::Misaligned { .. })),
            "{platform}: {error:?}"
        );
    }
}

#[test]
fn a_device_in_any_state_is_brought_to_idle() {
    type Spoil = fn(&mut Rig);
    let ways: [Spoil; 5] = [
        |rig| {
            let _ = rig.clear();
        },
        |rig| rig.point(0xb_4000),
        |rig| {
            rig.point(0xb_4000);
            rig.abort().unwrap();
            rig.upload(2, 64).unwrap();
        },
        |rig| {
            rig.dnload(0, &[0x21, 0, 0x40, 0x0b, 0]).unwrap();
        },
        |rig| {
            rig.dnload(0, &[0x21, 0, 0x40, 0x0b, 0]).unwrap();
            rig.status().unwrap();
        },
    ];
    for platform in [BORON, PHOTON] {
        for (way, spoil) in ways.iter().enumerate() {
            let bench = Bench::dfu(platform);
            spoil(&mut bench.rig());
            let mut link = bench.link();
            let mut dfu = Dfu::open(&mut link).unwrap();
            let read = dfu.read(0, user_part(platform), 100);
            let read = read.unwrap_or_else(|error| panic!("{platform}, way {way}: {error:?}"));
            assert_eq!(
                *read.bytes.expose(),
                bench.rig().device.flash(user_part(platform), 100),
                "{platform}, way {way}"
            );
        }
    }
}

#[test]
fn layouts_and_commands() {
    for platform in ALL {
        let bench = Bench::dfu(platform);
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let sector = dfu.layout(0).unwrap().sector_at(user_part(platform)).unwrap();
        assert_eq!(
            sector.end() - u64::from(sector.start),
            if GEN2.contains(&platform) { 128 << 10 } else { 4 << 10 }
        );
        let wanted: &[u8] = if GEN2.contains(&platform) {
            &[0x00, 0x21, 0x41]
        } else {
            &[0x00, 0x21, 0x41, 0xfa, 0xfb]
        };
        assert_eq!(dfu.commands().unwrap(), wanted, "{platform}");
        assert_eq!(dfu.protection().unwrap(), Protection::Open);
    }
}

// The key store.

#[test]
fn keys_are_read_as_they_are_and_written_whole() {
    for platform in ALL {
        let bench = Bench::dfu(platform);
        let dct = bench.rig().device.dct().to_vec();
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let mut store = KeyStore::new(&mut dfu);
        let length = usize::try_from(store.size()).unwrap();
        assert_eq!(*store.read_twice().unwrap().expose(), dct[..length], "{platform}");
        let known = Platform::from_id(platform).unwrap();
        let slot = known.key_segments(known.row().transport).private;
        let new: Vec<u8> = {
            let other = Rig::boot(Spec {
                seed: 1_000,
                ..spec(platform)
            });
            let from = usize::try_from(slot.offset).unwrap();
            other.device.dct()[from..from + usize::try_from(slot.len).unwrap()].to_vec()
        };
        store
            .write(slot.offset, &new)
            .unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        let after = bench.rig().device.dct().to_vec();
        let from = usize::try_from(slot.offset).unwrap();
        assert_eq!(after[from..from + new.len()], new);
        assert_eq!(
            (&after[..from], &after[from + new.len()..]),
            (&dct[..from], &dct[from + new.len()..]),
            "nothing else"
        );
        assert_eq!(bench.rig().device.counters().erases, 0, "{platform}: the DCT is never erased");
    }
}

#[test]
fn torn_and_ignored_key_writes_are_seen() {
    for platform in ALL {
        let known = Platform::from_id(platform).unwrap();
        let slot = known.key_segments(known.row().transport).private;
        for mishap in [DeviceMishap::KeyWriteTorn, DeviceMishap::KeyWriteIgnored] {
            let bench = Bench::dfu(platform);
            bench.rig().device.inject(mishap.clone());
            let mut link = bench.link();
            let mut dfu = Dfu::open(&mut link).unwrap();
            let error = KeyStore::new(&mut dfu)
                .write(slot.offset, &vec![0x5e; usize::try_from(slot.len).unwrap()])
                .unwrap_err();
            assert!(
                matches!(error, KeyStoreError::Differs { .. }),
                "{platform}: {mishap:?}: {error:?}"
            );
            assert!(error.may_have_written());
            assert!(bench.rig().device.counters().fired(mishap.name()) > 0);
        }
    }
}

#[test]
fn a_key_store_that_gives_other_bytes_each_time_is_unreadable() {
    for platform in [BORON, PHOTON, P2] {
        let bench = Bench::dfu(platform);
        bench.rig().device.inject(DeviceMishap::KeyGarbleOnRead);
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let error = KeyStore::new(&mut dfu).read_twice().unwrap_err();
        assert!(
            matches!(error, KeyStoreError::Unreadable(Unreadable::Differ { .. })),
            "{platform}: {error:?}"
        );
    }
}

#[test]
fn a_photon_with_broken_system_part_2_is_unreadable_not_blank() {
    let bench = Bench::dfu(PHOTON);
    {
        let mut rig = bench.rig();
        rig.erase(0x0806_0000).unwrap();
        rig.idle();
    }
    let dct = bench.rig().device.dct().to_vec();
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    let mut store = KeyStore::new(&mut dfu);
    assert_eq!(store.read_twice().unwrap_err(), KeyStoreError::Unreadable(Unreadable::Zeros));
    assert!(store.write(34, &[0xff; 1216]).is_err());
    assert_eq!(bench.rig().device.dct(), dct);
}

#[test]
fn a_bit_that_flips_while_a_key_is_read_back() {
    for platform in [BORON, PHOTON, P2] {
        let known = Platform::from_id(platform).unwrap();
        let slot = known.key_segments(known.row().transport).private;
        let bench = Bench::dfu(platform);
        let address = slot.offset + 9;
        bench.rig().device.inject(DeviceMishap::BitFlipOnRead { alt: 1, address });
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        let error = KeyStore::new(&mut dfu)
            .write(slot.offset, &vec![0x5e; usize::try_from(slot.len).unwrap()])
            .unwrap_err();
        assert_eq!(error, KeyStoreError::Differs { offset: address }, "{platform}");
    }
}

#[test]
fn a_wish_to_stop_does_not_tear_a_key() {
    let bench = Bench::dfu(BORON);
    let cancel = Cancel::new();
    let mut link = bench.link_with(cancel.clone());
    let mut dfu = Dfu::open(&mut link).unwrap();
    dfu.select(1).unwrap();
    cancel.cancel();
    let before = bench.rig().device.dct().to_vec();
    let error = KeyStore::new(&mut dfu).write(3106, &[1; 192]).unwrap_err();
    assert!(matches!(error, KeyStoreError::NotBegun(_)) && !error.may_have_written());
    assert_eq!(bench.rig().device.dct(), before);
}

// Trouble.

#[test]
fn a_stall_anywhere_is_an_error_or_overcome_and_never_a_wrong_success() {
    for platform in [BORON, PHOTON, P2] {
        for after in 0..60 {
            let bench = Bench::dfu(platform);
            bench.rig().device.inject(DeviceMishap::StallAfter(after));
            let (at, image) = (user_part(platform), image(6_000));
            let mut link = bench.link();
            let outcome = Dfu::open(&mut link).and_then(|mut dfu| dfu.write_image(0, at, &image, true, &mut nothing));
            if outcome.is_ok() {
                assert_eq!(
                    bench.rig().device.flash(at, image.len()),
                    image,
                    "{platform}: stall after {after}"
                );
            }
        }
    }
}

#[test]
fn a_stall_anywhere_in_a_key_write_leaves_no_doubt() {
    for platform in [BORON, PHOTON, P2] {
        let known = Platform::from_id(platform).unwrap();
        let slot = known.key_segments(known.row().transport).private;
        let from = usize::try_from(slot.offset).unwrap();
        let new = vec![0x5e; usize::try_from(slot.len).unwrap()];
        for after in 0..40 {
            let bench = Bench::dfu(platform);
            let mut link = bench.link();
            let Ok(mut dfu) = Dfu::open(&mut link) else {
                panic!("no stall yet")
            };
            let before = bench.rig().device.dct().to_vec();
            bench.rig().device.inject(DeviceMishap::StallAfter(after));
            let outcome = KeyStore::new(&mut dfu).write(slot.offset, &new);
            let now = bench.rig().device.dct().to_vec();
            match outcome {
                Ok(()) => assert_eq!(now[from..from + new.len()], new, "{platform}: {after}"),
                Err(error) if !error.may_have_written() => assert_eq!(now, before, "{platform}: {after}: {error:?}"),
                Err(_) => {}
            }
        }
    }
}

#[test]
fn a_wedged_device_is_given_up() {
    for platform in NRF.into_iter().chain(RTL) {
        let bench = Bench::dfu(platform);
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        bench.rig().device.inject(DeviceMishap::WedgeDnbusy);
        let from = bench.rig().now;
        assert!(
            dfu.write_image(0, user_part(platform), &image(8_192), true, &mut nothing)
                .is_err(),
            "{platform}"
        );
        let took = bench.rig().now.since(from);
        assert!(took.as_secs() < 180, "{platform}: after {took:?}");
    }
}

#[test]
fn a_device_that_goes_away_is_gone() {
    let bench = Bench::dfu(BORON);
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    bench.rig().device.inject(DeviceMishap::VanishAfter(20));
    let error = dfu.write_image(0, 0xb_4000, &image(20_000), true, &mut nothing).unwrap_err();
    assert!(
        error.link().is_some_and(|l| l.usb() == Some(keyrack::edge::UsbError::Gone)),
        "{error:?}"
    );
}

// Protection.

#[test]
fn protection_is_recognised_in_dfu() {
    for platform in [BORON, P2] {
        let bench = Bench::new(server::protected_in_dfu(platform));
        let mut link = bench.link();
        let seen = identify(&mut link, &bench.attached()).unwrap();
        assert_eq!((seen.protection, seen.mode), (Protection::Protected, UsbMode::Dfu));
        let mut dfu = Dfu::open(&mut link).unwrap();
        assert_eq!(dfu.protection().unwrap(), Protection::Protected, "{platform}");
        let error = dfu
            .write_image(0, user_part(platform), &image(64), true, &mut nothing)
            .unwrap_err();
        assert!(matches!(error, DfuError::Protected { .. }), "{error:?}");
        let error = KeyStore::new(&mut dfu).read_whole().unwrap_err();
        assert!(
            matches!(
                error,
                KeyStoreError::Read(DfuError::Protected { .. } | DfuError::NotReadable { .. })
            ),
            "{platform}: {error:?}"
        );
        assert!(
            KeyStore::new(&mut dfu)
                .write(3106, &[1; 192])
                .is_err_and(|error| !error.may_have_written())
        );
        dfu.enter_safe_mode().unwrap();
        bench.rig().until_reattached();
        assert!(bench.rig().device.in_safe_mode());
    }
}

#[test]
fn service_mode_is_used_and_ended() {
    for platform in [BORON, P2] {
        let bench = Bench::new(server::service_in_dfu(platform));
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        assert_eq!(dfu.protection().unwrap(), Protection::Service);
        let mut store = KeyStore::new(&mut dfu);
        let dct = store.read_twice().unwrap();
        store.write(3106, &dct.expose()[3106..3298]).unwrap();
        dfu.clear_override().unwrap();
        assert_eq!(dfu.protection().unwrap(), Protection::Protected, "{platform}");
        let _ = dfu.leave().unwrap();
        bench.rig().until_reattached();
        assert!(!bench.rig().is_dfu() && bench.rig().device.is_protected());
    }
}

#[test]
fn a_system_part_in_service_mode() {
    for (platform, start) in [(BORON, 0x2_8000), (P2, 0x0806_0000)] {
        let module = Forge {
            platform,
            function: 4,
            index: 1,
            version: 6200,
            needs: Vec::new(),
            start,
            length: 40 << 10,
            product: (0xffff, 0xffff),
            protects: false,
            seed: 3,
        }
        .build();
        let bench = Bench::new(server::service_in_dfu(platform));
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        dfu.write_image(0, start, &module, true, &mut nothing)
            .unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(bench.rig().device.flash(start, module.len()), module);
    }
}

#[test]
fn old_bootloaders() {
    // Without the state string the layout tells; without the commands they are not sent.
    let bench = Bench::new(Rig::boot_dfu(Spec {
        os_version: 4100,
        ..spec(BORON)
    }));
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    assert_eq!(dfu.protection().unwrap(), Protection::Open);
    assert!(matches!(dfu.clear_override(), Err(DfuError::Unsupported { .. })));
    assert!(matches!(dfu.enter_safe_mode(), Err(DfuError::Unsupported { .. })));
}

#[test]
fn identity_in_dfu_mode() {
    for platform in ALL {
        let bench = Bench::dfu(platform);
        let mut link = bench.link();
        let seen = identify(&mut link, &bench.attached()).unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(seen.device, bench.rig().device.id());
        assert_eq!((seen.platform.id(), seen.mode), (platform, UsbMode::Dfu));
        assert_eq!(seen.protection, Protection::Open);
    }
    let bench = Bench::new(Rig::boot_dfu(Spec {
        electron_tcp: true,
        ..spec(ELECTRON)
    }));
    let seen = identify(&mut bench.link(), &bench.attached()).unwrap();
    assert_eq!(seen.transport, Some(Transport::Tcp));
    let bench = Bench::new(Rig::boot_dfu(Spec {
        fixed_dfu_serial: true,
        ..spec(PHOTON)
    }));
    assert!(
        identify(&mut bench.link(), &bench.attached()).is_err(),
        "00000000010C is nobody's id"
    );
}

#[test]
fn after_a_cut_anywhere_the_image_can_be_written_again() {
    for platform in [BORON, PHOTON, P2] {
        let (at, image) = (user_part(platform), image(9_000));
        for after in (0..60).step_by(4) {
            let bench = Bench::dfu(platform);
            let mut link = bench.link();
            let mut dfu = Dfu::open(&mut link).unwrap();
            bench.rig().device.inject(DeviceMishap::VanishAfter(after));
            if dfu.write_image(0, at, &image, true, &mut nothing).is_err() {
                let mut rig = bench.rig();
                let now = rig.now;
                rig.device.power(now, false);
                rig.device.power(now, true);
                rig.until_attached();
                assert!(!rig.is_dfu(), "{platform}: the system part was not touched");
                rig.enter_dfu();
            }
            bench.rig().device.heal();
            let mut link = bench.link();
            let mut dfu = Dfu::open(&mut link).unwrap();
            dfu.write_image(0, at, &image, true, &mut nothing)
                .unwrap_or_else(|error| panic!("{platform}, after {after}: {error:?}"));
            assert_eq!(bench.rig().device.flash(at, image.len()), image);
        }
    }
}

#[test]
fn an_image_may_be_cancelled_and_written_again() {
    for platform in [BORON, PHOTON, P2] {
        let bench = Bench::dfu(platform);
        let (at, image) = (user_part(platform), image(40_000));
        let cancel = Cancel::new();
        let mut link = bench.link_with(cancel.clone());
        let mut dfu = Dfu::open(&mut link).unwrap();
        let outcome = dfu.write_image(0, at, &image, true, &mut |done, total| {
            if done * 2 > total {
                cancel.cancel();
            }
        });
        assert!(outcome.is_err(), "{platform}: cancelled half way");
        let mut link = bench.link();
        let mut dfu = Dfu::open(&mut link).unwrap();
        dfu.write_image(0, at, &image, true, &mut nothing)
            .unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(bench.rig().device.flash(at, image.len()), image);
    }
}

#[test]
fn every_platform_of_the_table_goes_to_dfu_and_back() {
    for known in Platform::all().filter(|p| *p != Platform::Core) {
        let bench = Bench::normal(known.id());
        let seen = identify(&mut bench.link(), &bench.attached()).unwrap_or_else(|error| panic!("{known}: {error:?}"));
        assert_eq!(seen.platform, known);
        bench.rig().enter_dfu();
        let mut link = bench.link();
        let seen = identify(&mut link, &bench.attached()).unwrap_or_else(|error| panic!("{known}: {error:?}"));
        assert_eq!((seen.platform, seen.mode), (known, UsbMode::Dfu));
        let mut dfu = Dfu::open(&mut link).unwrap();
        for range in known.flashable() {
            let last = dfu.layout(0).unwrap().sector_at(range.end - 1).unwrap();
            assert_eq!(last.end(), u64::from(range.end), "{known}: the allow-list ends with a sector");
        }
        if known.family() == keyrack::model::platform::Family::Nrf52840 {
            let size = dfu.layout(2).unwrap().segments.iter().map(|s| s.end()).max().unwrap() - 0x8000_0000;
            assert_eq!(size, if known.row().big_flash { 8 << 20 } else { 4 << 20 }, "{known}");
        }
        KeyStore::new(&mut dfu)
            .read_twice()
            .unwrap_or_else(|error| panic!("{known}: {error:?}"));
        let _ = dfu.leave().unwrap();
        bench.rig().until_reattached();
        assert!(!bench.rig().is_dfu(), "{known}");
    }
}
