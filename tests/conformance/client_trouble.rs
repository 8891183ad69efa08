//! The station's DFU protocol when things go wrong: failed writes, stalls, wedges, cuts, a wish to stop.

use keyrack::{
    device::{Cancel, Dfu, DfuError},
    sim::device::DeviceMishap,
};

use crate::{
    bench::Bench,
    client_dfu::{image, nothing},
    model_dfu::user_part,
    rig::{ALL, BORON, NRF, P2, PHOTON, RTL, Rig},
};

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
