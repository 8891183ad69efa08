//! 2.9 and 3.6: Protected, Service Mode, Open.

use std::time::Duration;

use crate::{
    rig::{ARGON, BORON, DNLOAD_IDLE, ERROR, MANIFEST, MSOM, NRF, P2, Rig, TRACKER, spec},
    server::{self, NONCE},
    wire::{Fields, Message, hex},
};
use keyrack::sim::device::{Forge, Spec};

/// `state` and `overridden` of GET_PROTECTED_STATE.
fn state(rig: &mut Rig) -> (u64, u64) {
    let (result, body) = rig.request(76, &[]);
    assert_eq!(result, 0);
    let fields = Fields::parse(&body);
    (fields.int(1), fields.int(2))
}

#[test]
fn an_open_device_says_so_and_prepares_nothing() {
    for platform in [BORON, P2] {
        let mut rig = Rig::normal(platform);
        assert_eq!(state(&mut rig), (0, 0));
        let (result, prepared) = server::prepare(&mut rig, &NONCE);
        assert_eq!(result, 0);
        assert!(prepared.is_none());
    }
}

#[test]
fn protected_devices_answer_four_requests_only() {
    for platform in [ARGON, BORON, TRACKER, P2, MSOM] {
        let mut rig = Rig::boot(server::protected(platform));
        assert_eq!(state(&mut rig), (1, 0), "{platform}");
        assert_eq!(rig.request(20, &[]).0, 0, "DEVICE_ID");
        assert_ne!(rig.request(10, &[]).0, -1801, "APP_CUSTOM");
        for request in [
            1, 21, 30, 31, 32, 40, 41, 50, 60, 70, 71, 72, 90, 91, 100, 200, 201, 210, 211, 230, 231, 250, 300, 301, 302, 400,
            401, 500, 502, 504, 505, 506, 554,
        ] {
            assert_eq!(
                rig.request(request, &[]),
                (-1801, Vec::new()),
                "{platform}: request {request}"
            );
        }
        rig.wait_ms(3_000);
        assert!(!rig.is_dfu(), "a refused reset is none");
    }
}

#[test]
fn the_refusal_on_the_wire() {
    let mut rig = Rig::boot(server::protected(BORON));
    assert_eq!(rig.packet("c0 01 00 00 5a 00 40 00").unwrap(), hex("03 00 00 00 00 00 01 00"));
    rig.wait_ms(200);
    assert_eq!(
        rig.packet("c0 02 00 00 01 00 40 00").unwrap(),
        hex("09 00 00 00 00 00 f7 f8 ff ff")
    );
}

#[test]
fn raw_requests_work_on_protected_devices() {
    for platform in [BORON, P2] {
        let mut rig = Rig::boot(server::protected(platform));
        assert_eq!(rig.packet("c0 50 00 00 14 00 40 00").unwrap(), b"E00FCE680123456789ABCDEF");
        assert_eq!(rig.packet("c0 50 00 00 1e 00 40 00").unwrap(), b"6.2.0");
        let data: &[u8] = if platform == P2 { &[0] } else { &[] };
        let _ = rig.put(0x40, 0x50, 0, 40, data);
        rig.until_reattached();
    }
}

#[test]
fn service_mode_through_prepare_and_confirm() {
    for platform in [ARGON, BORON, P2] {
        let mut rig = Rig::boot(server::protected(platform));
        let spki = rig.device.key_spki().unwrap();
        let (result, prepared) = server::prepare(&mut rig, &NONCE);
        assert_eq!(result, 0);
        let prepared = prepared.unwrap();
        assert_eq!(prepared.nonce.len(), 32);
        server::verify(&rig, &prepared, &spki);
        let payload = server::confirmation(&rig, &prepared, &server::fingerprint(&server::spki()));
        assert_eq!(rig.request(77, &payload).0, 0);
        assert_eq!(state(&mut rig), (0, 1), "no longer enforced, overridden");
        assert_eq!(rig.request(90, &[]).0, 0, "everything is answered");
        // RESET ends it.
        assert_eq!(rig.request(77, &[]).0, 0);
        assert_eq!(state(&mut rig), (1, 0));
        assert_eq!(rig.request(90, &[]).0, -1801);
    }
}

#[test]
fn the_nonces_differ() {
    let mut rig = Rig::boot(server::protected(BORON));
    let first = server::prepare(&mut rig, &NONCE).1.unwrap().nonce;
    let second = server::prepare(&mut rig, &NONCE).1.unwrap().nonce;
    assert_ne!(first, second);
}

#[test]
fn what_confirm_refuses() {
    let mut rig = Rig::boot(server::protected(BORON));
    let good = server::fingerprint(&server::spki());
    assert_eq!(server::prepare(&mut rig, &NONCE[..31]).0, -270, "a nonce of the wrong size");

    let nobody = server::Prepared {
        nonce: vec![0; 32],
        signature: Vec::new(),
        fingerprint: vec![0; 32],
    };
    let payload = server::confirmation(&rig, &nobody, &good);
    assert_eq!(rig.request(77, &payload).0, -210, "CONFIRM without PREPARE");

    let prepared = server::prepare(&mut rig, &NONCE).1.unwrap();
    let payload = server::confirmation(&rig, &prepared, &[7; 32]);
    assert_eq!(rig.request(77, &payload).0, -1802, "the key of another server");

    let mut prepared = server::prepare(&mut rig, &NONCE).1.unwrap();
    prepared.nonce[0] ^= 1;
    let payload = server::confirmation(&rig, &prepared, &good);
    assert_eq!(rig.request(77, &payload).0, -1803, "a signature over something else");
    assert_eq!(state(&mut rig), (1, 0));

    // A wrong confirmation does not end the exchange: only success, a restart and the minute do.
    let prepared = server::prepare(&mut rig, &NONCE).1.unwrap();
    let wrong = server::confirmation(&rig, &prepared, &[7; 32]);
    assert_eq!(rig.request(77, &wrong).0, -1802);
    let payload = server::confirmation(&rig, &prepared, &good);
    assert_eq!(rig.request(77, &payload).0, 0);
    assert_eq!(rig.request(77, &payload).0, -210, "once");
}

#[test]
fn sixty_seconds_for_confirm() {
    let good = server::fingerprint(&server::spki());
    let mut rig = Rig::boot(server::protected(BORON));
    let prepared = server::prepare(&mut rig, &NONCE).1.unwrap();
    rig.wait(Duration::from_millis(58_000));
    let payload = server::confirmation(&rig, &prepared, &good);
    assert_eq!(rig.request(77, &payload).0, 0, "in time");

    let mut rig = Rig::boot(server::protected(BORON));
    let prepared = server::prepare(&mut rig, &NONCE).1.unwrap();
    rig.wait(Duration::from_millis(60_500));
    let payload = server::confirmation(&rig, &prepared, &good);
    assert_eq!(rig.request(77, &payload).0, -160, "too late");
    assert_eq!(rig.request(77, &payload).0, -210, "the context was dropped");
}

#[test]
fn service_mode_ends_after_twenty_resets() {
    let mut rig = Rig::boot(server::protected(BORON));
    server::open(&mut rig);
    for reset in 1..20 {
        assert_eq!(rig.request(40, &[]).0, 0);
        rig.until_reattached();
        assert_eq!(state(&mut rig), (0, 1), "after {reset} resets");
    }
    assert_eq!(rig.request(40, &[]).0, 0);
    rig.until_reattached();
    assert_eq!(state(&mut rig), (1, 0), "after 20");
}

#[test]
fn service_mode_ends_after_a_day() {
    let mut rig = Rig::boot(server::protected(BORON));
    server::open(&mut rig);
    rig.wait(Duration::from_secs(86_400 - 5));
    assert_eq!(state(&mut rig), (0, 1));
    rig.wait(Duration::from_secs(7));
    assert_eq!(state(&mut rig), (1, 0));
}

#[test]
fn a_power_cut_ends_service_mode_on_nrf() {
    let mut rig = Rig::boot(server::protected(BORON));
    server::open(&mut rig);
    let now = rig.now;
    rig.device.power(now, false);
    rig.wait_ms(1_000);
    let now = rig.now;
    rig.device.power(now, true);
    rig.until_attached();
    assert_eq!(state(&mut rig), (1, 0));
}

#[test]
fn the_state_string_follows() {
    for platform in [BORON, P2] {
        let mut rig = server::service_in_dfu(platform);
        assert_eq!(rig.string(0xfa).unwrap().trim_end_matches('\0'), "sm=s");
        rig.dnload(0, &[0xfb, 0, 0, 0, 0]).unwrap();
        assert_eq!(rig.settle().unwrap().state, DNLOAD_IDLE);
        assert_eq!(rig.string(0xfa).unwrap().trim_end_matches('\0'), "sm=p");
    }
}

#[test]
fn a_protected_device_in_dfu_refuses_to_be_written() {
    for platform in [ARGON, BORON, TRACKER, P2, MSOM] {
        for data in [hex("21 00 80 02 00"), hex("41 00 80 02 00")] {
            let mut rig = server::protected_in_dfu(platform);
            let _ = rig.dnload(0, &data);
            let status = rig.settle().unwrap();
            assert_eq!((status.status, status.state), (0x0b, ERROR), "{platform}");
            assert_eq!(rig.string(status.text).unwrap(), "Device is in protected mode");
            if NRF.contains(&platform) {
                assert_eq!(status.text, 10);
            }
        }
    }
}

#[test]
fn a_protected_device_in_dfu_shows_nothing() {
    for platform in [BORON, P2] {
        let mut rig = server::protected_in_dfu(platform);
        rig.alternate(1);
        assert_eq!(rig.upload(2, 192).unwrap(), Vec::<u8>::new());
        assert_eq!(rig.state(), ERROR);
    }
}

#[test]
fn safe_mode_from_protected_dfu() {
    for platform in [BORON, P2] {
        let mut rig = server::protected_in_dfu(platform);
        rig.dnload(0, &[0xfa]).unwrap();
        let mut states = Vec::new();
        while let Ok(status) = rig.status() {
            states.push(status.state);
            if status.state == MANIFEST {
                break;
            }
        }
        assert_eq!(states.last(), Some(&MANIFEST), "{platform}: {states:?}");
        rig.until_reattached();
        assert!(!rig.is_dfu() && rig.device.in_safe_mode());
        assert_eq!(state(&mut rig), (1, 0));
    }
}

#[test]
fn service_mode_opens_the_dct_and_not_the_ota_region() {
    let mut rig = server::service_in_dfu(BORON);
    rig.alternate(1);
    assert_eq!(rig.write(3106, &[0x30; 8]).unwrap().state, DNLOAD_IDLE);
    assert_eq!(rig.read(3106, 8).unwrap(), [0x30; 8]);
    rig.alternate(2);
    rig.idle();
    rig.point(0x8024_c000);
    rig.dnload(2, &[0; 256]).unwrap();
    assert_eq!(rig.settle().unwrap().state, ERROR, "nRF: OTA region");

    let mut rig = server::service_in_dfu(P2);
    rig.point(0x0830_0000);
    let _ = rig.dnload(2, &[0; 256]);
    assert_eq!(rig.settle().unwrap().state, ERROR, "RTL: OTA region");
}

fn system_part(platform: u16, version: u16) -> Vec<u8> {
    Forge {
        combined: false,
        platform,
        function: 4,
        index: 1,
        version,
        needs: Vec::new(),
        start: if platform == BORON { 0x2_8000 } else { 0x0806_0000 },
        length: 12 << 10,
        product: (0xffff, 0xffff),
        protects: false,
        seed: 3,
    }
    .build()
}

#[test]
fn service_mode_takes_only_a_new_enough_system_part() {
    for (platform, address) in [(BORON, 0x2_8000), (P2, 0x0806_0000)] {
        let mut rig = server::service_in_dfu(platform);
        // Explicit erases of the region are ignored and report success.
        let before = rig.device.flash(address, 4096);
        assert_eq!(rig.erase(address).unwrap().state, DNLOAD_IDLE);
        assert_eq!(rig.device.flash(address, 4096), before, "{platform}: not erased");
        // Further blocks before the first one are refused.
        rig.point(address + 0x1000);
        let _ = rig.dnload(2, &[0x55; 4096]);
        assert_eq!(rig.settle().unwrap().status, 0x0b, "{platform}: no first block yet");
        rig.idle();
        // An old one is refused.
        let old = system_part(platform, 5999);
        rig.point(address);
        let _ = rig.dnload(2, &old[..4096]);
        let status = rig.settle().unwrap();
        assert_eq!((status.status, status.state), (0x0b, ERROR), "{platform}: version 5999");
        rig.idle();
        // A block that is too short to carry a header is refused.
        rig.point(address);
        let _ = rig.dnload(2, &system_part(platform, 6000)[..20]);
        assert_eq!(rig.settle().unwrap().status, 0x0b, "{platform}: too short");
        rig.idle();
        // A new one is taken, and each write erases its page.
        let new = system_part(platform, 6000);
        assert_eq!(rig.write(address, &new).unwrap().state, DNLOAD_IDLE);
        assert_eq!(rig.device.flash(address, new.len()), new);
    }
}

#[test]
fn protection_came_with_6_1_1() {
    let mut rig = Rig::boot(Spec {
        os_version: 5901,
        ..spec(BORON)
    });
    assert_eq!(rig.request(76, &[]).0, -120);
    assert_eq!(rig.request(77, &Message::new().done()).0, -120);
    let mut photon = Rig::normal(crate::rig::PHOTON);
    assert_eq!(photon.request(76, &[]).0, -120);
}

#[test]
fn one_byte_ends_service_mode_too() {
    let mut rig = server::service_in_dfu(BORON);
    rig.dnload(0, &[0xfb]).unwrap();
    assert_eq!(rig.settle().unwrap().state, DNLOAD_IDLE);
    assert_eq!(rig.string(0xfa).unwrap().trim_end_matches('\0'), "sm=p");
}

#[test]
fn service_mode_opens_the_user_part() {
    for platform in [BORON, P2] {
        let mut rig = server::service_in_dfu(platform);
        let at = crate::model_dfu::user_part(platform);
        assert_eq!(rig.erase(at).unwrap().state, DNLOAD_IDLE, "{platform}");
        assert_eq!(rig.write(at, &[0x31; 100]).unwrap().state, DNLOAD_IDLE);
        assert_eq!(rig.read(at, 100).unwrap(), [0x31; 100]);
    }
}

#[test]
fn a_device_whose_server_is_another_is_not_opened_by_this_one() {
    // 2.9: only the holder of the server key that the device pins can open it.
    let mut rig = Rig::boot(Spec {
        protected: true,
        ..spec(BORON)
    });
    let prepared = server::prepare(&mut rig, &NONCE).1.unwrap();
    let payload = server::confirmation(&rig, &prepared, &server::fingerprint(&server::spki()));
    assert_eq!(rig.request(77, &payload).0, -1802);
}

#[test]
fn how_much_of_a_system_part_the_first_block_must_hold() {
    // 3.6: on nRF the vector table and the header, on RTL the header.
    for (platform, address, least) in [(BORON, 0x2_8000, 24 + 0x200), (P2, 0x0806_0000, 24)] {
        let module = system_part(platform, 6100);
        for (length, taken) in [(least - 4, false), (least, true)] {
            let mut rig = server::service_in_dfu(platform);
            rig.point(address);
            let _ = rig.dnload(2, &module[..length]);
            let status = rig.settle().unwrap();
            assert_eq!(status.status, if taken { 0 } else { 0x0b }, "{platform}: {length} bytes");
        }
    }
}
