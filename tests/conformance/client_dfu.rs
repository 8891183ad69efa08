//! The station's DFU protocol against every family: images written and read back.

use keyrack::{
    device::{
        Dfu, DfuError,
        dfu::{Left, PlanError},
    },
    edge::Setup,
    model::fact::Protection,
    sim::device::Timing,
};

use crate::{
    bench::Bench,
    model_dfu::user_part,
    rig::{ALL, BORON, ELECTRON, GEN2, MSOM, P2, PHOTON, Rig, TRACKER, spec},
};

pub(crate) fn image(length: u32) -> Vec<u8> {
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

pub(crate) fn nothing(_: u64, _: u64) {}

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
