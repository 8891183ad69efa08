//! Hosts that make one mistake about keys, server settings or Service Mode each, and suffer for it.

use std::time::Duration;

use keyrack::sim::device::{Dialled, Noticed, Press, Spec, StartHelper, StartServer, ec_key, key_before};

use crate::{
    model_key_errors::diagnostics,
    rig::{BORON, DNLOAD_IDLE, ERROR, P2, PHOTON, Rig, spec},
    server::{self, NONCE},
    wire::Fields,
};

fn with_network(platform: u16) -> Spec {
    Spec {
        wifi: Some("bench".into()),
        ..spec(platform)
    }
}

fn refusing() -> Option<Dialled> {
    Some(Dialled::Refused {
        why: "another key".into(),
        noticed: Noticed::Silence,
    })
}

fn connecting() -> Option<Dialled> {
    Some(Dialled::Connected {
        session: Vec::new(),
        resumed: false,
    })
}

fn status(rig: &mut Rig) -> u64 {
    Fields::parse(&rig.request(300, &[]).1).int(1)
}

#[test]
fn no_error_right_after_the_start() {
    // 4.4: there is no number before the first handshake has failed; the naive host finds nothing wrong.
    for platform in [BORON, PHOTON, P2] {
        let mut rig = Rig::boot(with_network(platform));
        rig.cloud = refusing();
        let early = diagnostics(&mut rig);
        assert_eq!(
            (early["cloud:err"], early["cloud:connatt"]),
            (0, 0),
            "{platform}: not tried yet"
        );
        rig.wait_ms(30_000);
        assert_ne!(diagnostics(&mut rig)["cloud:err"], 0, "{platform}");
    }
}

#[test]
fn the_last_error_of_a_device_that_is_connected() {
    // It is history: the naive host gives a good device a new key.
    let mut rig = Rig::boot(with_network(BORON));
    rig.cloud = refusing();
    rig.wait_ms(10_000);
    rig.cloud = connecting();
    rig.wait_ms(60_000);
    assert_eq!((diagnostics(&mut rig)["cloud:err"], status(&mut rig)), (10, 2));
}

#[test]
fn every_diagnostic_taken_for_a_number() {
    // 2.4: a value that could not be had is an object, and the number in it is another one.
    let mut rig = Rig::normal(BORON);
    let body = String::from_utf8(rig.request(100, &[]).1).unwrap();
    let text = body.split("\"net:rssi\":").nth(1).expect("it is there");
    let naive: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '-').take(4).collect();
    assert_eq!(naive, "-210", "the naive host reads a signal strength of -210 dBm");
    assert!(!diagnostics(&mut rig).contains_key("net:rssi"));
}

#[test]
fn one_number_for_both_transports() {
    // 26 is TCP's and 10 is UDP's: who looks for one of them only misses half of the devices.
    let error = |platform| {
        let mut rig = Rig::boot(with_network(platform));
        rig.cloud = refusing();
        rig.wait_ms(30_000);
        diagnostics(&mut rig)["cloud:err"]
    };
    assert_eq!((error(PHOTON), error(BORON)), (26, 10));
}

#[test]
fn invalid_server_settings_believed_because_they_read_back() {
    // 4.4: what was read back is gone after the next start, without a word.
    for (os_version, kept) in [(6200, false), (5004, true)] {
        let mut rig = Rig::boot_dfu(Spec {
            os_version,
            ..spec(BORON)
        });
        // A key that was cut off on its way into the file.
        let half = [&server::spki()[..60], &[0xff; 132]].concat();
        rig.alternate(1);
        rig.write(3298, &half).unwrap();
        assert_eq!(rig.read(3298, 192).unwrap(), half, "the naive host is content");
        rig.leave();
        rig.wait_ms(20_000);
        assert_eq!(rig.device.dct()[3298..3490] == half, kept, "{os_version}");
    }
}

#[test]
fn a_port_for_a_udp_device() {
    // 4.4: stored, read back, and never used.
    let mut rig = Rig::boot_dfu(with_network(P2));
    rig.alternate(1);
    rig.write(3490 + 66, &8443_u16.to_be_bytes()).unwrap();
    assert_eq!(rig.read(3490 + 66, 2).unwrap(), 8443_u16.to_be_bytes());
    rig.leave();
    rig.wait_ms(20_000);
    let dialled = rig.happened.iter().find_map(|(_, h)| match h {
        keyrack::sim::device::Happening::Dial(dial) => Some(dial.port),
        _ => None,
    });
    assert_eq!(dialled, Some(5684));
}

#[test]
fn a_new_key_let_go_before_the_cloud_has_it() {
    // 4.8: the application puts the old key back, and the key that is uploaded later is nobody's.
    for (platform, at) in [(PHOTON, 34), (BORON, 3106)] {
        let helped = Spec {
            key_helper: StartHelper::Before,
            ..with_network(platform)
        };
        let new = Rig::boot(Spec {
            seed: 99,
            ..spec(platform)
        });
        let (slot, spki) = (new.device.dct()[at..at + 192].to_vec(), new.device.key_spki());
        let slot = if platform == PHOTON {
            new.device.dct()[34..34 + 611].to_vec()
        } else {
            slot
        };
        let write = |rig: &mut Rig| {
            rig.alternate(1);
            rig.write(u32::try_from(at).unwrap(), &slot).unwrap();
            assert_eq!(rig.device.key_spki(), spki);
            rig.leave();
        };
        let mut rig = Rig::boot_dfu(helped.clone());
        rig.cloud = refusing();
        write(&mut rig);
        rig.wait_ms(30_000);
        assert_eq!(rig.device.key_spki(), Some(key_before(&helped)), "{platform}");

        // The other host registers first: the device connects, and the new key is the one that is saved.
        let mut rig = Rig::boot_dfu(helped);
        rig.cloud = connecting();
        write(&mut rig);
        rig.wait_ms(30_000);
        assert_eq!(rig.device.key_spki(), spki, "{platform}");
        assert!(rig.device.key_helper_record().unwrap()[8..].starts_with(&slot[..121]));
    }
}

#[test]
fn the_whole_record_of_the_helper_put_back() {
    // 4.8: on UDP it holds the start of a server key as well.
    let mut rig = Rig::boot_dfu(Spec {
        key_helper: StartHelper::Before,
        server: StartServer::Set {
            spki: server::spki(),
            host: "$id.ours.test".into(),
        },
        ..spec(BORON)
    });
    let record = rig.device.key_helper_record().unwrap()[8..].to_vec();
    let server = rig.device.dct()[3298..3490].to_vec();
    rig.alternate(1);
    rig.write(3106, &record).unwrap();
    assert_ne!(rig.device.dct()[3298..3490], server, "the device trusts another server now");
    // The other host takes what is key, and nothing else.
    rig.write(3298, &server).unwrap();
    rig.write(3106, &record[..192]).unwrap();
    assert!(ec_key(&rig.device.dct()[3106..3298]).is_some());
    assert_eq!(rig.device.dct()[3298..3490], server);
}

#[test]
fn settings_cleared_to_be_on_the_safe_side() {
    // 4.4: the button keeps the UDP pair only, and a Photon loses the key that the cloud knows.
    for (platform, kept) in [(BORON, true), (P2, true), (PHOTON, false)] {
        let mut rig = Rig::normal(platform);
        let before = rig.device.key_spki();
        let now = rig.now;
        rig.device.press(now, Press::ClearSettings);
        rig.until_attached();
        rig.wait_ms(30_000);
        assert_eq!(rig.device.key_spki() == before, kept, "{platform}");
    }
}

#[test]
fn more_than_a_minute_for_the_cloud() {
    // 2.9: the device drops the exchange, and the same signature is good for nothing afterwards.
    let mut rig = Rig::boot(server::protected(BORON));
    let prepared = server::prepare(&mut rig, &NONCE).1.unwrap();
    rig.wait(Duration::from_secs(60));
    let payload = server::confirmation(&rig, &prepared, &server::fingerprint(&server::spki()));
    assert_eq!(rig.request(77, &payload).0, -160);
    let _ = server::prepare(&mut rig, &NONCE);
    assert_eq!(rig.request(77, &payload).0, -1803, "it was for another nonce of the device");
    assert!(rig.device.is_protected());
    server::open(&mut rig);
}

#[test]
fn the_power_cycled_in_the_middle_of_the_work() {
    // 2.9: Service Mode is in retained RAM. What was begun cannot be ended.
    let mut rig = server::service_in_dfu(BORON);
    rig.alternate(1);
    rig.write(3106, &[0x30; 96]).unwrap();
    let now = rig.now;
    rig.device.power(now, false);
    rig.wait_ms(2_000);
    let now = rig.now;
    rig.device.power(now, true);
    rig.until_attached();
    assert!(rig.device.is_protected());
    assert_eq!(rig.request(50, &[]).0, -1801, "and it does not even go to DFU mode");
    assert_eq!(rig.device.dct()[3106..3202], [0x30; 96], "with half a key");
}

#[test]
fn service_mode_left_to_end_by_itself() {
    // 9.2 and 10: a device that goes out like this is open to everybody.
    for platform in [BORON, P2] {
        let mut rig = server::service_in_dfu(platform);
        rig.leave();
        assert!(!rig.device.is_protected(), "{platform}");
        for _ in 0..5 {
            assert_eq!(rig.request(40, &[]).0, 0);
            rig.until_reattached();
        }
        assert_eq!(rig.string(0xfa).unwrap().trim_end_matches('\0'), "sm=s", "{platform}: still");
    }
}

#[test]
fn a_reset_for_every_little_thing() {
    // 2.9: the twentieth ends it in the middle of the work.
    let mut rig = server::service_in_dfu(BORON);
    for _ in 0..10 {
        rig.leave();
        if rig.device.is_protected() {
            break;
        }
        rig.enter_dfu();
    }
    assert!(rig.device.is_protected());
}

#[test]
fn ending_service_mode_with_a_command_that_an_old_bootloader_does_not_have() {
    // 3.2: 6.1.1 has 0xFA and not 0xFB. Who does not look at the answer leaves the device open.
    let mut rig = Rig::boot(Spec {
        os_version: 6101,
        ..server::protected(BORON)
    });
    server::open(&mut rig);
    rig.enter_dfu();
    rig.dnload(0, &[0xfb, 0, 0, 0, 0]).expect("it is taken");
    let status = rig.settle().unwrap();
    assert_eq!(status.state, ERROR, "and refused");
    rig.idle();
    rig.alternate(1);
    assert_eq!(
        rig.write(3106, &[0x30]).unwrap().state,
        DNLOAD_IDLE,
        "everything is still open"
    );
    rig.idle();
    rig.leave();
    assert_eq!(rig.request(77, &[]).0, 0, "normal mode can end it");
    assert!(rig.device.is_protected());
}
