//! The station's control requests against every family.

use keyrack::{
    device::{
        Control, ControlError, Dfu, RequestType, UpdateError, identify, mode, modules, network, protection, raw,
        update::{self, Accepted, Assets},
    },
    model::{Secret, fact::Protection, module::ModuleFunction, platform::UsbMode, recipe::Wifi},
    sim::device::{AccessPoint, DeviceMishap, Forge, Spec},
};
use std::time::Duration;

use crate::{
    bench::Bench,
    rig::{ALL, ARGON, BORON, ELECTRON, GEN2, MSOM, P2, PHOTON, RTL, Rig, access_point, spec},
    server::{self, NONCE},
};

#[test]
fn identity_in_normal_mode() {
    for platform in ALL {
        let bench = Bench::boot(Spec {
            serial: Some("B40HAB913AB12CD".into()),
            iccid: Some("8934076500002586220".into()),
            imei: Some("353162234567890".into()),
            ..spec(platform)
        });
        let mut link = bench.link();
        let seen = identify(&mut link, &bench.attached()).unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(seen.device, bench.rig().device.id());
        assert_eq!((seen.platform.id(), seen.mode), (platform, UsbMode::Normal));
        assert_eq!(seen.protection, Protection::Open);
        assert_eq!(seen.serial.as_deref(), Some("B40HAB913AB12CD"), "{platform}");
        let version = if GEN2.contains(&platform) { "3.3.1" } else { "6.2.0" };
        assert_eq!(seen.os_version.as_deref(), Some(version));
        if [BORON, ELECTRON].contains(&platform) {
            assert_eq!(seen.iccid.as_deref(), Some("8934076500002586220"), "{platform}");
        }
        assert!(
            seen.modules.iter().any(|m| m.function == ModuleFunction::SystemPart),
            "{platform}"
        );
        assert!(seen.modules.iter().all(|m| m.healthy()), "{platform}: {:?}", seen.modules);
    }
}

#[test]
fn the_iccid_of_an_m_som() {
    let bench = Bench::boot(Spec {
        iccid: Some("8934076500002586220".into()),
        imei: Some("353162234567890".into()),
        ..spec(MSOM)
    });
    let seen = identify(&mut bench.link(), &bench.attached()).unwrap();
    assert_eq!(seen.iccid.as_deref(), Some("8934076500002586220"));
}

#[test]
fn a_device_without_serial_is_identified_all_the_same() {
    for platform in ALL {
        let bench = Bench::normal(platform);
        let seen = identify(&mut bench.link(), &bench.attached()).unwrap();
        assert_eq!(seen.serial, None, "{platform}");
    }
}

#[test]
fn old_systems() {
    for (platform, os_version) in [
        (BORON, 5901),
        (BORON, 5501),
        (BORON, 4100),
        (BORON, 2001),
        (BORON, 1500),
        (BORON, 1100),
        (PHOTON, 2301),
        (PHOTON, 1500),
        (PHOTON, 800),
        (ELECTRON, 1100),
        (P2, 5004),
    ] {
        let bench = Bench::boot(Spec {
            os_version,
            ..spec(platform)
        });
        let seen =
            identify(&mut bench.link(), &bench.attached()).unwrap_or_else(|error| panic!("{platform} {os_version}: {error:?}"));
        assert_eq!(seen.device, bench.rig().device.id());
        assert!(seen.os_version.is_some(), "{platform} {os_version}");
        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        mode::enter_dfu(&mut control).unwrap();
        bench.rig().until_reattached();
        assert!(bench.rig().is_dfu());
        let mut link = bench.link();
        let dfu = Dfu::open(&mut link).unwrap();
        let _ = dfu.leave().unwrap();
        bench.rig().until_reattached();
    }
}

#[test]
fn the_same_module_table_in_both_formats() {
    for os_version in [6200, 4100] {
        let bench = Bench::boot(Spec {
            os_version,
            ..spec(BORON)
        });
        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        let table = modules::read(&mut control).unwrap();
        let system = table
            .iter()
            .find(|m| m.module.function == ModuleFunction::SystemPart)
            .unwrap();
        assert_eq!((system.module.index, system.module.version), (1, os_version));
        assert!(table.iter().any(|m| m.module.function == ModuleFunction::Bootloader));
        assert!(table.iter().any(|m| m.module.function == ModuleFunction::UserPart));
        assert!(table.iter().all(|m| m.module.healthy()), "{os_version}");
    }
}

#[test]
fn all_slots_held_by_a_crashed_host() {
    for platform in [BORON, PHOTON, P2] {
        let bench = Bench::normal(platform);
        for _ in 0..4 {
            bench.rig().init(1, 8).unwrap();
        }
        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        let deadline = control.within(Duration::from_secs(5));
        let reply = control.request(RequestType::DeviceId, &[], deadline).unwrap();
        assert_eq!(reply.len(), 26, "{platform}");
    }
}

#[test]
fn an_application_that_hangs() {
    let bench = Bench::normal(BORON);
    bench.rig().device.inject(DeviceMishap::AppHangs);
    let mut link = bench.link();
    assert_eq!(
        raw::device_id(&mut link).unwrap(),
        bench.rig().device.id(),
        "answered in the interrupt"
    );
    let mut control = Control::open(&mut link).unwrap();
    let deadline = control.within(Duration::from_secs(3));
    let error = control.request(RequestType::DeviceId, &[], deadline).unwrap_err();
    assert!(matches!(error, ControlError::Timeout { .. }), "{error:?}");
    // A timed-out request is cancelled: its slot is free again.
    for _ in 0..4 {
        assert_eq!(crate::rig::Reply::parse(&bench.rig().init(1, 8).unwrap()).status, 0);
    }
}

#[test]
fn mode_changes() {
    for platform in ALL {
        let bench = Bench::normal(platform);
        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        mode::start_listening(&mut control).unwrap();
        bench.rig().wait_ms(1_000);
        assert!(mode::is_listening(&mut control).unwrap(), "{platform}");
        mode::stop_listening(&mut control).unwrap();
        bench.rig().wait_ms(1_000);
        assert!(!mode::is_listening(&mut control).unwrap());
        mode::start_nyan(&mut control).unwrap();
        mode::stop_nyan(&mut control).unwrap();
        mode::enter_safe_mode(&mut control).unwrap();
        bench.rig().until_reattached();
        assert!(bench.rig().device.in_safe_mode(), "{platform}");

        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        mode::reset(&mut control).unwrap();
        bench.rig().until_reattached();
        assert!(!bench.rig().device.in_safe_mode());

        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        mode::enter_dfu(&mut control).unwrap();
        bench.rig().until_reattached();
        assert!(bench.rig().is_dfu(), "{platform}");
    }
}

#[test]
fn a_forced_reset() {
    for platform in ALL {
        let bench = Bench::normal(platform);
        let boots = bench.rig().device.counters().boots;
        let mut link = bench.link();
        mode::force_reset(&mut link).unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        bench.rig().until_reattached();
        assert_eq!(bench.rig().device.counters().boots, boots + 1);
        if RTL.contains(&platform) {
            let reset = bench
                .log()
                .into_iter()
                .find(|s| (s.request_type, s.index) == (0x40, 40))
                .unwrap();
            assert_eq!(reset.length, 1, "with a data stage");
        }
    }
}

#[test]
fn a_refused_dfu_mode_is_a_plain_reset() {
    let bench = Bench::normal(BORON);
    bench.rig().device.inject(DeviceMishap::RefuseEnterDfu);
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    mode::enter_dfu(&mut control).unwrap();
    bench.rig().until_reattached();
    assert!(!bench.rig().is_dfu(), "only looking tells");
}

// Firmware update.

fn user_module(platform: u16) -> Forge {
    Forge {
        combined: false,
        platform,
        function: 5,
        index: if platform == BORON || platform == ARGON { 2 } else { 1 },
        version: 77,
        needs: Vec::new(),
        start: match platform {
            P2 | MSOM => 0x0860_0000 - 0x5000,
            PHOTON => 0x080a_0000,
            ELECTRON => 0x0808_0000,
            _ => 0xb_4000,
        },
        length: 0x5000,
        product: (0xffff, 0xffff),
        protects: false,
        seed: 11,
    }
}

#[test]
fn an_update_is_sent_and_applied() {
    for platform in [ARGON, BORON, PHOTON, ELECTRON, P2, MSOM] {
        let forge = user_module(platform);
        let image = forge.build();
        let bench = Bench::normal(platform);
        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        let deadline = control.within(Duration::from_secs(240));
        let mut told = Vec::new();
        let accepted = update::send(&mut control, &image, deadline, &mut |done, total| told.push((done, total)))
            .unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(accepted, Accepted::Confirmed);
        assert_eq!(told.last(), Some(&(image.len() as u64, image.len() as u64)));
        bench.rig().until_reattached();
        assert_eq!(bench.rig().device.flash(forge.start, image.len()), image, "{platform}");
    }
}

#[test]
fn an_update_that_is_refused() {
    let bench = Bench::normal(BORON);
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    let deadline = control.within(Duration::from_secs(240));
    let mut image = user_module(BORON).build();
    image[0x1000] ^= 1;
    let error = update::send(&mut control, &image, deadline, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, UpdateError::Finish(_)), "{error:?}");
    assert_eq!(
        error.control().and_then(|e| match e {
            ControlError::Refused { code, .. } => Some(code.0),
            _ => None,
        }),
        Some(-1330)
    );
    let error = update::send(&mut control, &vec![0; 4 << 20], deadline, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, UpdateError::Begin(_)), "{error:?}");
    // And the right one is taken afterwards.
    let image = user_module(BORON).build();
    assert_eq!(
        update::send(&mut control, &image, deadline, &mut |_, _| {}).unwrap(),
        Accepted::Confirmed
    );
    let none = Assets::default();
    assert_eq!(none.missing().count(), 0);
}

// Wi-Fi.

fn air() -> Vec<AccessPoint> {
    vec![
        access_point("factory", "correct horse", 3),
        access_point("guests", "", 0),
        access_point("new", "battery staple", 5),
    ]
}

#[test]
fn wifi_credentials() {
    for platform in [ARGON, P2, MSOM] {
        for (ssid, password) in [
            ("factory", Some("correct horse")),
            ("guests", None),
            ("new", Some("battery staple")),
        ] {
            let bench = Bench::boot(Spec {
                air: air(),
                ..spec(platform)
            });
            let mut link = bench.link();
            let mut control = Control::open(&mut link).unwrap();
            let wifi = Wifi {
                ssid: ssid.into(),
                password: password.map(|p| Secret::new(p.to_owned())),
            };
            network::set_wifi(&mut control, &wifi).unwrap_or_else(|error| panic!("{platform} {ssid}: {error:?}"));
            let known = crate::wire::Fields::parse(&bench.rig().request(502, &[]).1).messages(1);
            assert_eq!(known.iter().map(|n| n.text(1)).collect::<Vec<_>>(), [ssid], "{platform}");
            network::forget_wifi(&mut control, ssid).unwrap();
            assert!(bench.rig().request(502, &[]).1.is_empty(), "{platform} {ssid}");
            network::forget_wifi(&mut control, ssid).expect("forgotten already");
        }
    }
}

#[test]
fn wifi_on_a_device_without_it() {
    let bench = Bench::normal(BORON);
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    let wifi = Wifi {
        ssid: "factory".into(),
        password: None,
    };
    assert!(network::set_wifi(&mut control, &wifi).is_err());
    let mac = network::mac_address(&mut control).unwrap();
    assert_eq!(mac, None);
    let bench = Bench::normal(P2);
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    assert!(network::mac_address(&mut control).unwrap().is_some());
}

// Protection.

#[test]
fn a_protected_device_is_recognised_and_not_pestered() {
    for platform in [ARGON, BORON, P2, MSOM] {
        let bench = Bench::boot(server::protected(platform));
        let mut link = bench.link();
        let seen = identify(&mut link, &bench.attached()).unwrap_or_else(|error| panic!("{platform}: {error:?}"));
        assert_eq!(seen.device, bench.rig().device.id());
        assert_eq!(seen.protection, Protection::Protected);
        let mut control = Control::open(&mut link).unwrap();
        bench.log();
        let error = modules::read(&mut control).unwrap_err();
        assert!(matches!(error, ControlError::Protected { .. }), "{error:?}");
        assert_eq!(bench.log().iter().filter(|s| s.request == 1).count(), 1, "asked once");
    }
}

#[test]
fn the_way_into_service_mode_and_back() {
    for platform in [ARGON, BORON, P2] {
        let bench = Bench::boot(server::protected(platform));
        let mut link = bench.link();
        let mut control = Control::open(&mut link).unwrap();
        assert_eq!(protection::state(&mut control).unwrap(), Protection::Protected);
        let reply = protection::prepare(&mut control, NONCE).unwrap().expect("a protected device");
        let prepared = server::Prepared {
            nonce: reply.device_nonce,
            signature: reply.device_signature,
            fingerprint: reply.device_public_key_fingerprint,
        };
        let spki = bench.rig().device.key_spki().unwrap();
        server::verify(&bench.rig(), &prepared, &spki);
        let signature = server::signature(&bench.rig(), &prepared);
        protection::confirm(&mut control, signature, server::fingerprint(&server::spki())).unwrap();
        assert_eq!(protection::state(&mut control).unwrap(), Protection::Service, "{platform}");
        protection::restore(&mut control).unwrap();
        assert_eq!(protection::state(&mut control).unwrap(), Protection::Protected);
    }
    let bench = Bench::normal(BORON);
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    assert!(protection::prepare(&mut control, NONCE).unwrap().is_none());
}

#[test]
fn another_device_in_its_place() {
    let bench = Bench::normal(BORON);
    let first = identify(&mut bench.link(), &bench.attached()).unwrap();
    let other = keyrack::model::DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 9, 9, 9, 9, 9, 9, 9, 9]);
    bench.rig().device.inject(DeviceMishap::ReturnsAsOtherId(other));
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    mode::reset(&mut control).unwrap();
    bench.rig().until_reattached();
    let second = identify(&mut bench.link(), &bench.attached()).unwrap();
    assert_eq!(second.device, other);
    assert_ne!(first.device, second.device);
}

#[test]
fn a_bus_that_lies_about_the_serial() {
    let bench = Bench::normal(BORON);
    let mut attached = bench.attached();
    attached.serial = Some("e00fce68ffffffffffffffff".into());
    let outcome = identify(&mut bench.link(), &attached);
    assert!(outcome.is_err(), "two ids: {outcome:?}");
    attached.serial = None;
    assert_eq!(
        identify(&mut bench.link(), &attached).unwrap().device,
        bench.rig().device.id()
    );
}

#[test]
fn a_rig_has_time_only_where_it_is_spent() {
    let mut rig = Rig::normal(BORON);
    let from = rig.now;
    rig.check(1).unwrap();
    assert!(rig.now > from);
}
