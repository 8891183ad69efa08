//! 5 and 7: what boots, what does not, and when.

use std::time::Duration;

use keyrack::sim::device::{Forge, Spec};

use crate::{
    model_dfu::user_part,
    rig::{ALL, ARGON, BORON, ELECTRON, MSOM, P2, PHOTON, Rig, spec},
};

/// When the device left the bus, counted from now on.
fn gone_after(rig: &mut Rig) -> Duration {
    let from = rig.now;
    while rig.device.attachment().is_some() {
        rig.wait_ms(1);
        assert!(rig.now.since(from) < Duration::from_secs(30), "it stays");
    }
    rig.now.since(from)
}

#[test]
fn reset_class_requests_act_1000_ms_after_the_reply_was_fetched() {
    for platform in [BORON, PHOTON, P2] {
        for request in [40, 50, 60] {
            let mut rig = Rig::normal(platform);
            rig.init(request, 0).unwrap();
            // The reply is ready long before it is fetched, and nothing happens.
            rig.wait_ms(5_000);
            assert!(rig.device.attachment().is_some(), "{platform}: {request} waits for the host");
            assert_eq!(rig.check_done(1).result, Some(0));
            let after = gone_after(&mut rig).as_millis();
            assert!((990..=1_050).contains(&after), "{platform}: {request} after {after} ms");
            rig.until_attached();
            assert_eq!(rig.is_dfu(), request == 50);
            assert_eq!(rig.device.in_safe_mode(), request == 60);
        }
    }
}

#[test]
fn dfu_and_safe_mode_do_not_persist() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        rig.leave();
        assert!(!rig.is_dfu() && !rig.device.in_safe_mode(), "{platform}");
        assert_eq!(rig.request(60, &[]).0, 0);
        rig.until_reattached();
        assert!(rig.device.in_safe_mode());
        assert_eq!(rig.request(40, &[]).0, 0);
        rig.until_reattached();
        assert!(!rig.device.in_safe_mode());
    }
}

#[test]
fn a_power_cut_ends_dfu_mode() {
    let mut rig = Rig::dfu(BORON);
    let now = rig.now;
    rig.device.power(now, false);
    assert!(rig.device.attachment().is_none());
    rig.wait_ms(500);
    let now = rig.now;
    rig.device.power(now, true);
    rig.until_attached();
    assert!(!rig.is_dfu());
}

fn system_part(platform: u16) -> u32 {
    match platform {
        PHOTON | ELECTRON => 0x0802_0000,
        P2 | MSOM => 0x0806_0000,
        _ => 0x2_8000,
    }
}

#[test]
fn without_a_valid_system_the_bootloader_stays_in_dfu() {
    for platform in ALL {
        let mut rig = Rig::dfu(platform);
        let at = system_part(platform);
        rig.erase(at).unwrap();
        rig.leave();
        assert!(rig.is_dfu(), "{platform}");
        let now = rig.now;
        rig.device.power(now, false);
        let now = rig.now;
        rig.device.power(now, true);
        rig.until_attached();
        assert!(rig.is_dfu(), "{platform}: also after a power cut");
    }
}

#[test]
fn without_a_valid_user_part_it_runs_in_safe_mode() {
    for platform in [ARGON, BORON, P2] {
        let mut rig = Rig::dfu(platform);
        let module = Forge {
            combined: false,
            platform,
            function: 5,
            index: if platform == P2 { 1 } else { 2 },
            version: 1,
            needs: vec![(4, 1, 6300)],
            start: if platform == P2 { 0x0860_0000 - 0x2000 } else { 0xb_4000 },
            length: 0x2000,
            product: (0xffff, 0xffff),
            protects: false,
            seed: 9,
        };
        for page in 0..2 {
            rig.erase(module.start + page * 4096).unwrap();
        }
        rig.write(module.start, &module.build()).unwrap();
        rig.leave();
        assert!(
            !rig.is_dfu() && rig.device.in_safe_mode(),
            "{platform}: it needs a newer system"
        );
    }
}

#[test]
fn module_info_tells_a_broken_module() {
    let mut rig = Rig::dfu(BORON);
    let at = user_part(BORON);
    let mut bytes = rig.device.flash(at, 4096);
    bytes[1000] ^= 0xff;
    rig.erase(at).unwrap();
    rig.write(at, &bytes).unwrap();
    rig.leave();
    assert!(rig.device.in_safe_mode());
    let (result, body) = rig.request(90, &[]);
    assert_eq!(result, 0);
    let modules = crate::wire::Fields::parse(&body).messages(2);
    let user = modules.iter().find(|m| m.int(1) == 5);
    let broken = user.is_none_or(|m| m.int(6) & !m.int(7) & 0x02 != 0);
    assert!(broken, "integrity: checked and not passed, or not listed at all");
}

#[test]
fn a_new_system_part_over_dfu_runs() {
    // The 6.2.0 set, moved to another version: what runs is what is in flash.
    let mut rig = Rig::dfu(BORON);
    let (_, old) = (rig.now, rig.device.flash(0x2_8000, 0x8_c000));
    let end = u32::from_le_bytes(old[0x204..0x208].try_into().unwrap());
    let module = Forge {
        combined: false,
        platform: BORON,
        function: 4,
        index: 1,
        version: 6201,
        needs: Vec::new(),
        start: 0x2_8000,
        length: end + 4 - 0x2_8000,
        product: (0xffff, 0xffff),
        protects: false,
        seed: 4,
    }
    .build();
    for page in 0..u32::try_from(module.len().div_ceil(4096)).unwrap() {
        rig.erase(0x2_8000 + page * 4096).unwrap();
    }
    rig.write(0x2_8000, &module).unwrap();
    rig.leave();
    let (result, body) = rig.request(90, &[]);
    assert_eq!(result, 0);
    let system = crate::wire::Fields::parse(&body)
        .messages(2)
        .into_iter()
        .find(|m| m.int(1) == 4)
        .unwrap();
    assert_eq!(system.int(3), 6201);
}

#[test]
fn installed_files_win_over_the_generated_set() {
    let module = Forge {
        combined: false,
        platform: BORON,
        function: 5,
        index: 2,
        version: 42,
        needs: vec![(4, 1, 6000)],
        start: 0xb_4000,
        length: 0x2000,
        product: (8_178, 13),
        protects: false,
        seed: 1,
    }
    .build();
    let rig = Rig::boot(Spec {
        installed: vec![module.clone()],
        ..spec(BORON)
    });
    assert_eq!(rig.device.flash(0xb_4000, module.len()), module);
}
