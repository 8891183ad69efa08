//! Keys and server settings: what the device makes, keeps, misreads and restores.

use super::*;

fn slot(host: &Host, tcp: bool) -> Vec<u8> {
    let range = if tcp { 34..1250 } else { 3106..3298 };
    host.device.dct()[range].to_vec()
}

#[test]
fn the_vectors_are_read_as_device_os_read_them() {
    let (Some(layout), Some(misread)) = (
        shared("keys/rsa1024-device-layout.der"),
        shared("keys/rsa1024-canonical-misread.der"),
    ) else {
        return;
    };
    let (Some(new), Some(old)) = (shared("keys/p256-sec1-121.der"), shared("keys/p256-sec1-122.der")) else {
        return;
    };
    let numbers = RsaNumbers::by_position(&layout).unwrap();
    assert!(numbers.key().is_some());
    assert_eq!(numbers.to_device_layout(), layout);
    let in_slot = [misread.clone(), vec![0xff; 1216 - misread.len()]].concat();
    assert!(RsaNumbers::by_position(&in_slot).unwrap().key().is_none(), "other numbers");
    assert_eq!(ec_key(&new).unwrap(), ec_key(&old).unwrap());
    let spki = |raw: Vec<u8>, platform| {
        Host::new(Spec {
            key: StartKey::Raw(raw),
            platform,
            os_version: os_for(platform),
            ..Spec::default()
        })
        .device
        .key_spki()
    };
    assert_eq!(spki(layout, 6).unwrap().len(), 162);
    assert_eq!(spki(misread, 6), None);
    assert_eq!(spki(new, 13).unwrap().len(), 91);
}

#[test]
fn every_start_key_is_what_it_says() {
    for platform in [6, 13] {
        for (kind, first, valid) in [
            (StartKey::Valid, 0x30, true),
            (StartKey::Corrupt, 0x30, false),
            (StartKey::AllZero, 0, false),
            (StartKey::Old, 0x30, true),
            (StartKey::Misread, 0x30, false),
            (StartKey::Foreign, 0x30, false),
        ] {
            let host = Host::new(Spec {
                platform,
                os_version: os_for(platform),
                key: kind.clone(),
                ..Spec::default()
            });
            assert_eq!(slot(&host, platform == 6)[0], first, "{kind:?}");
            assert_eq!(host.device.key_spki().is_some(), valid, "{platform} {kind:?}");
            assert_eq!(
                host.device.counters().keys_made,
                0,
                "whatever does not start with 0xff is kept"
            );
        }
    }
}

#[test]
fn a_blank_slot_gets_a_key_in_the_encoding_of_the_os() {
    let make = |platform, os_version, seed| {
        let host = Host::new(Spec {
            platform,
            os_version,
            key: StartKey::Blank,
            seed,
            ..Spec::default()
        });
        assert_eq!(host.device.counters().keys_made, 1);
        assert!(host.device.key_spki().is_some());
        host
    };
    let rsa = make(6, 3301, 1);
    let key = slot(&rsa, true);
    assert_eq!(hex(&key[..11]), "3082025f02010002818100"[..22].to_owned());
    assert_eq!(
        (&key[611..], key[11 + 128..].starts_with(&[2, 3, 1, 0, 1])),
        (&[0xff; 605][..], true)
    );
    let spki = rsa.device.key_spki().unwrap();
    assert_eq!(&rsa.device.dct()[1250..1250 + 162], spki, "the public copy starts its slot");
    let boron = make(13, 6200, 1);
    let key = slot(&boron, false);
    assert_eq!((hex(&key[..7]).as_str(), key[1]), ("30770201010420", 0x77));
    assert_eq!(key[121..], key[50..121], "stale key bytes in the tail");
    let copy = &boron.device.dct()[2978..3106];
    assert_eq!(
        (&copy[..37], &copy[37..]),
        (&[0; 37][..], boron.device.key_spki().unwrap().as_slice())
    );
    let lengths: Vec<u8> = (0..12).map(|seed| slot(&make(10, 2000, seed), false)[1] + 2).collect();
    assert!(lengths.contains(&121) && lengths.contains(&122), "{lengths:?}");
    assert_ne!(slot(&make(13, 6200, 1), false), slot(&make(13, 6200, 2), false));
}

#[test]
fn one_ff_forces_a_new_key_and_the_cut_before_it_is_made_changes_nothing() {
    let mut host = Host::timed(
        Spec {
            platform: 6,
            os_version: 3301,
            ..Spec::default()
        },
        Timing::default(),
    );
    let first = host.device.key_spki().unwrap();
    host.enter_dfu();
    host.alternate(1);
    host.write(34, &[0xff]).unwrap();
    assert_eq!(host.device.key_spki(), None);
    host.download(2, &[]).unwrap();
    host.status().unwrap();
    host.pass(Duration::from_secs(5));
    assert_eq!(host.device.attachment().unwrap().product, 0xc006);
    host.device.power(host.now, false);
    assert_eq!(host.device.dct()[34], 0xff, "an RSA key takes longer than that");
    host.device.power(host.now, true);
    host.settle();
    let second = host.device.key_spki().unwrap();
    assert_ne!(first, second);
}

#[test]
fn bad_server_settings_are_replaced_where_the_os_does_so() {
    for (os_version, restored) in [(6200, true), (5300, true), (4100, true), (5200, false), (3301, false)] {
        let mut host = Host::new(Spec {
            server: StartServer::Corrupt,
            os_version,
            ..Spec::default()
        });
        let dial = host.dials().remove(0);
        assert_eq!(dial.server_key.len() == 91, restored, "{os_version}");
        let blank = Spec {
            server: StartServer::Blank,
            os_version,
            ..Spec::default()
        };
        let mut host = Host::new(blank);
        let dial = host.dials().remove(0);
        assert_eq!(
            (dial.server_key.len(), dial.server_host.as_str()),
            (91, "e00fce680123456789abcdef.udp.particle.io")
        );
        assert_eq!(host.device.dct()[3298] == 0x30, restored, "older versions patch in RAM only");
    }
    let mut own = Host::new(Spec {
        platform: 6,
        os_version: 3301,
        wifi: Some("hall".into()),
        server: StartServer::Set {
            spki: host_rsa_spki(),
            host: "127.0.0.1".into(),
        },
        ..Spec::default()
    });
    let dial = own.dials().remove(0);
    assert_eq!((dial.server_host.as_str(), dial.port, dial.tcp), ("127.0.0.1", 5683, true));
    assert_eq!(
        (dial.server_key.len(), dial.private_slot.len(), dial.product_id),
        (294, 1216, 6)
    );
}

fn host_rsa_spki() -> Vec<u8> {
    let mut dct = Dct::blank(8391);
    dct.set_production(Transport::Tcp);
    dct.server(Transport::Tcp, DeviceId::from_bytes([0; 12])).unwrap().key
}

#[test]
fn a_session_lives_as_long_as_both_keys() {
    let mut host = Host::platform(13);
    let connected = |bytes: &[u8]| Dialled::Connected {
        session: bytes.to_vec(),
        resumed: false,
    };
    assert_eq!(host.dials()[0].session, None);
    host.device.dialled(host.now, connected(b"s"));
    host.power_cycle();
    assert_eq!(host.dials()[0].session.as_deref(), Some(&b"s"[..]), "a power cycle keeps it");
    host.device.dialled(host.now, connected(b"s"));
    host.enter_dfu();
    host.alternate(1);
    let (new, _) = key::make(&mut Chance::new(9), Transport::Udp, 6200);
    host.write(3106, &new).unwrap();
    host.leave();
    assert_eq!(host.dials()[0].session, None, "another key ends it");
}

#[test]
fn dials_are_repeated_ever_more_seldom() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert_eq!(host.dials().len(), 1);
        let refused = host.now;
        host.device.dialled(
            host.now,
            Dialled::Refused {
                why: "unknown key".into(),
                noticed: Noticed::Silence,
            },
        );
        host.settle();
        pauses.push(host.now.since(refused).as_secs());
    }
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    host.device.dialled(
        host.now,
        Dialled::Connected {
            session: Vec::new(),
            resumed: false,
        },
    );
    assert!(host.device.connected());
    let mut lazy = Host::new(Spec {
        sim_active: false,
        ..Spec::default()
    });
    assert!(lazy.dials().is_empty(), "no network without an active SIM");
    assert!(lazy.request(300, &[]).1.is_empty());
}

#[test]
fn a_claim_code_is_used_once() {
    let mut host = Host::platform(13);
    let code = "c".repeat(63);
    assert_eq!(host.request(200, &[&[0x0a, 0x3f], code.as_bytes()].concat()).0, 0);
    assert!(host.request(201, &[]).1.is_empty());
    host.power_cycle();
    assert_eq!(host.dials().pop().unwrap().claim_code, Some(code));
    host.device.dialled(
        host.now,
        Dialled::Connected {
            session: Vec::new(),
            resumed: false,
        },
    );
    assert_eq!(host.request(201, &[]).1, [0x08, 0x01]);
    host.power_cycle();
    assert_eq!(host.dials().pop().unwrap().claim_code, None);
}

#[test]
fn gen2_gives_and_takes_keys_by_request() {
    let mut host = Host::platform(10);
    let (result, body) = host.request(211, &[0x08, 0x04]);
    assert_eq!((result, body.len()), (0, 195), "the whole slot, not the DER length");
    assert_eq!(body[3..], slot(&host, false));
    let (der, spki) = key::make(&mut Chance::new(4), Transport::Udp, 3301);
    assert_eq!(host.request(210, &[&[0x08, 0x04, 0x12, 0x79], der.as_slice()].concat()).0, 0);
    assert_eq!(host.device.key_spki().unwrap(), spki);
    assert_eq!(slot(&host, false)[121..], [0xff; 71]);
    assert_eq!(
        host.request(210, &[&[0x08, 0x04, 0x12, 0xc1, 0x01][..], &[0; 193]].concat())
            .0,
        -190
    );
    assert_eq!(host.request(220, &unhex("0802120d666163746f72792e6c6f63616c18b42c")).0, 0);
    assert_eq!(
        hex(&host.request(221, &[0x08, 0x02]).1),
        "0a0d666163746f72792e6c6f63616c10b42c"
    );
    assert_eq!(host.request(223, &[]).1, [0x08, 0x02]);
    assert_eq!(host.request(222, &[0x08, 0x01]).0, 0);
    assert_eq!(host.request(223, &[]).1, [0x08, 0x01], "the switch in the DCT");
}
