//! 4.1 to 4.4: where the keys are, and what the device does to them by itself.

use keyrack::sim::device::{Happening, Press, RsaNumbers, Spec, StartKey, StartServer, ec_key};
use p256::pkcs8::EncodePublicKey;

use crate::{
    rig::{ARGON, B5SOM, BORON, ELECTRON, MSOM, P2, PHOTON, Rig, TRACKER},
    wire::hex,
};

/// A device that has a network.
fn spec(platform: u16) -> Spec {
    Spec {
        wifi: Some("factory".into()),
        ..crate::rig::spec(platform)
    }
}

const EC_SERVER: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004509bfc185648c33f80907ae13260df33282115209e54a22f2b105984a46362c0\
                         7c2679f6e4ce76ca002d3de4bf2e9e3a62151c48179bd809ddce9c5dc30f54b8";
const UDP: [u16; 7] = [ARGON, BORON, B5SOM, TRACKER, P2, MSOM, ELECTRON];

fn ec_spki(slot: &[u8]) -> Vec<u8> {
    let key = ec_key(slot).expect("a key");
    key.public_key().to_public_key_der().unwrap().as_bytes().to_vec()
}

fn dfu(platform: u16) -> Rig {
    Rig::boot_dfu(spec(platform))
}

/// Boots until the cloud layer has dialled.
fn until_dial(rig: &mut Rig) {
    for _ in 0..120 {
        if rig.happened.iter().any(|(_, h)| matches!(h, Happening::Dial(_))) {
            return;
        }
        rig.wait_ms(1_000);
    }
    panic!("it does not dial");
}

#[test]
fn a_p256_key_as_devices_write_it() {
    for platform in UDP {
        let rig = Rig::normal(platform);
        let slot = &rig.device.dct()[3106..3298];
        assert_eq!(slot[..7], hex("30 77 02 01 01 04 20"), "{platform}: SEC1, 121 bytes");
        assert_eq!(slot[39..51], hex("a0 0a 06 08 2a8648ce3d0301 07")[..12]);
        assert_eq!(slot[51..57], hex("a1 44 03 42 00 04"));
        assert_eq!(rig.device.key_spki().unwrap(), ec_spki(slot));
        assert_eq!(rig.device.key_spki().unwrap().len(), 91);
    }
}

#[test]
fn an_rsa_key_as_devices_write_it() {
    for spec in [
        spec(PHOTON),
        Spec {
            electron_tcp: true,
            ..spec(ELECTRON)
        },
    ] {
        let rig = Rig::boot(spec);
        let slot = &rig.device.dct()[34..34 + 1216];
        assert_eq!(slot[..4], hex("30 82 02 5f"), "611 bytes in all");
        assert_eq!(slot[7..11], hex("02 81 81 00"), "N with its leading zero");
        let key = RsaNumbers::by_position(slot).unwrap().key().unwrap();
        let spki = key.to_public_key().to_public_key_der().unwrap().as_bytes().to_vec();
        assert_eq!(spki.len(), 162);
        assert_eq!(rig.device.key_spki().unwrap(), spki);
    }
}

#[test]
fn the_default_server() {
    for platform in UDP {
        let rig = Rig::normal(platform);
        let segment = &rig.device.dct()[3298..3298 + 320];
        assert_eq!(segment[..91], hex(EC_SERVER), "{platform}");
        assert_eq!(segment[91..192], [0xff; 101]);
        assert_eq!(&segment[192..213], b"\x01\x13$id.udp.particle.io");
        assert_eq!(segment[258..260], [0xff, 0xff], "default port");
    }
    let rig = Rig::normal(PHOTON);
    let segment = &rig.device.dct()[2082..2082 + 512];
    assert_eq!(segment[..4], hex("30820122"));
    assert_eq!(segment[384], 1, "a domain name");
}

#[test]
fn a_blank_slot_gets_a_key_at_cloud_start() {
    for platform in UDP.into_iter().chain([PHOTON]) {
        let mut rig = Rig::boot(Spec {
            key: StartKey::Blank,
            ..spec(platform)
        });
        until_dial(&mut rig);
        assert_eq!(rig.device.counters().keys_made, 1, "{platform}");
        let spki = rig.device.key_spki().expect("a key");
        assert_eq!(spki.len(), if platform == PHOTON { 162 } else { 91 });
    }
}

#[test]
fn one_0xff_byte_forces_a_new_key() {
    for platform in [BORON, P2, PHOTON] {
        let mut rig = dfu(platform);
        let before = rig.device.key_spki().unwrap();
        rig.alternate(1);
        rig.write(if platform == PHOTON { 34 } else { 3106 }, &[0xff]).unwrap();
        rig.leave();
        until_dial(&mut rig);
        assert_eq!(rig.device.counters().keys_made, 1);
        assert_ne!(rig.device.key_spki().expect("a new key"), before, "{platform}");
    }
}

#[test]
fn any_other_damage_is_kept() {
    for platform in [BORON, P2, PHOTON] {
        for key in [
            StartKey::Corrupt,
            StartKey::AllZero,
            StartKey::Foreign,
            StartKey::Raw(vec![0x31; 60]),
        ] {
            let mut rig = Rig::boot(Spec { key, ..spec(platform) });
            let range = if platform == PHOTON { 34..34 + 1216 } else { 3106..3298 };
            let before = rig.device.dct()[range.clone()].to_vec();
            rig.wait_ms(60_000);
            assert_eq!(rig.device.counters().keys_made, 0, "{platform}");
            assert_eq!(rig.device.dct()[range], before);
            assert_eq!(rig.device.key_spki(), None, "{platform}: it can prove nothing");
        }
    }
}

#[test]
fn the_public_copy_is_right_aligned_from_gen_3_on() {
    for platform in [BORON, TRACKER, P2] {
        let mut rig = Rig::boot(Spec {
            key: StartKey::Blank,
            ..spec(platform)
        });
        until_dial(&mut rig);
        let copy = rig.device.dct()[2978..3106].to_vec();
        assert_eq!(copy[..37], [0; 37], "{platform}");
        assert_eq!(copy[37..], rig.device.key_spki().unwrap());
    }
    let mut photon = Rig::boot(Spec {
        key: StartKey::Blank,
        ..spec(PHOTON)
    });
    until_dial(&mut photon);
    assert_eq!(
        photon.device.dct()[1250..1250 + 162],
        photon.device.key_spki().unwrap(),
        "TCP: from the start"
    );
}

#[test]
fn the_public_copy_is_rewritten_from_the_private_key() {
    let other = Rig::boot(Spec { seed: 99, ..spec(BORON) });
    let key = other.device.dct()[3106..3298].to_vec();
    let mut rig = dfu(BORON);
    rig.alternate(1);
    rig.write(3106, &key).unwrap();
    rig.leave();
    until_dial(&mut rig);
    assert_eq!(rig.device.counters().keys_made, 0);
    assert_eq!(rig.device.key_spki(), other.device.key_spki());
    assert_eq!(rig.device.dct()[2978 + 37..3106], rig.device.key_spki().unwrap());
}

#[test]
fn devices_before_2_1_wrote_long_scalars() {
    let rig = Rig::boot(Spec {
        key: StartKey::Old,
        ..spec(BORON)
    });
    let slot = &rig.device.dct()[3106..3298];
    assert_eq!(slot[..8], hex("30 78 02 01 01 04 21 00"), "122 bytes, 33 of them the scalar");
    assert_eq!(
        rig.device.key_spki().unwrap(),
        ec_spki(slot),
        "and the device connects with it"
    );
    // What 2.0 makes itself has 120 to 122 bytes.
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..24 {
        let mut rig = Rig::boot(Spec {
            key: StartKey::Blank,
            os_version: 2001,
            seed,
            ..spec(BORON)
        });
        until_dial(&mut rig);
        lengths.insert(rig.device.dct()[3107]);
    }
    assert!(lengths.contains(&0x77) && lengths.contains(&0x78), "{lengths:x?}");
    assert!(lengths.iter().all(|l| (0x76..=0x78).contains(l)));
}

#[test]
fn bad_server_settings_become_the_default_where_they_are_checked() {
    for (os_version, repaired) in [(6200, true), (5501, true), (4100, true), (5004, false)] {
        for server in [StartServer::Corrupt, StartServer::Blank] {
            let blank = matches!(server, StartServer::Blank);
            let mut rig = Rig::boot(Spec {
                server,
                os_version,
                ..spec(BORON)
            });
            let before = rig.device.dct()[3298..3618].to_vec();
            until_dial(&mut rig);
            let after = rig.device.dct()[3298..3618].to_vec();
            if repaired {
                assert_eq!(after[..91], hex(EC_SERVER), "{os_version}");
                assert_eq!(&after[192..213], b"\x01\x13$id.udp.particle.io");
            } else {
                assert_eq!(after, before, "{os_version}: patched in RAM only");
                let dial = rig.happened.iter().find_map(|(_, h)| match h {
                    Happening::Dial(dial) => Some(dial.clone()),
                    _ => None,
                });
                if blank {
                    assert_eq!(dial.unwrap().server_key, hex(EC_SERVER), "missing: the default from RAM");
                }
            }
        }
    }
}

#[test]
fn what_is_missing_is_patched_alone() {
    // 4.4: since 0.7.0, in RAM, where the settings are not checked.
    let ours = crate::server::spki();
    for (os_version, patched) in [(5004, true), (3301, true), (600, false)] {
        for blank in [3298, 3490] {
            let mut rig = Rig::boot_dfu(Spec {
                os_version,
                server: StartServer::Set {
                    spki: ours.clone(),
                    host: "$id.ours.test".into(),
                },
                ..spec(ELECTRON)
            });
            rig.alternate(1);
            rig.write(blank, &[0xff; 128]).unwrap();
            let before = rig.device.dct()[3298..3618].to_vec();
            rig.leave();
            until_dial(&mut rig);
            let dial = rig.happened.iter().find_map(|(_, h)| match h {
                Happening::Dial(dial) => Some(dial.clone()),
                _ => None,
            });
            let dial = dial.unwrap();
            let (key, host) = match (blank, patched) {
                (3298, true) => (hex(EC_SERVER), "e00fce680123456789abcdef.ours.test"),
                (3490, true) => (ours.clone(), "e00fce680123456789abcdef.udp.particle.io"),
                (3298, false) => (vec![0xff; 192], "e00fce680123456789abcdef.ours.test"),
                _ => ([ours.clone(), vec![0xff; 101]].concat(), ""),
            };
            assert_eq!(
                (dial.server_host.as_str(), dial.server_key == key),
                (host, true),
                "{os_version} {blank}"
            );
            assert_eq!(rig.device.dct()[3298..3618], before, "the key store stays as it is");
        }
    }
}

#[test]
fn holding_the_button_too_long_clears_all_but_the_udp_pair() {
    for (platform, private, kept) in [
        (BORON, 3106..3298, true),
        (P2, 3106..3298, true),
        (PHOTON, 34..34 + 611, false),
    ] {
        let mut rig = Rig::boot(Spec {
            server: StartServer::Blank,
            ..spec(platform)
        });
        let before = rig.device.dct()[private.clone()].to_vec();
        rig.device.press(rig.now, Press::ClearSettings);
        assert_eq!(rig.device.dct()[private] == before, kept, "{platform}");
        let server = if kept { 3298 } else { 2082 };
        assert_eq!(rig.device.dct()[server], 0x30, "{platform}: the default server");
        // Without the network that it had known it does not dial, and it makes a key all the same.
        rig.wait_ms(30_000);
        assert_eq!(rig.device.counters().keys_made, u64::from(!kept));
    }
    // What made an Electron talk TCP is cleared with the rest.
    let mut rig = Rig::boot(Spec {
        electron_tcp: true,
        ..spec(ELECTRON)
    });
    rig.device.press(rig.now, Press::ClearSettings);
    until_dial(&mut rig);
    let dial = rig.happened.iter().rev().find_map(|(_, h)| match h {
        Happening::Dial(dial) => Some(dial.tcp),
        _ => None,
    });
    assert_eq!(dial, Some(false));
}

#[test]
fn the_address_tells_where_it_dials() {
    let dialled = |tlv: &[u8], platform: u16| {
        let mut rig = dfu(platform);
        rig.alternate(1);
        let mut segment = [0xff; 128];
        segment[..tlv.len()].copy_from_slice(tlv);
        rig.write(3490, &segment).unwrap();
        rig.leave();
        until_dial(&mut rig);
        rig.happened
            .iter()
            .find_map(|(_, h)| match h {
                Happening::Dial(dial) => Some((dial.server_host.clone(), dial.port)),
                _ => None,
            })
            .unwrap()
    };
    let mut tlv = hex("00 04 c0 a8 01 0a");
    tlv.resize(66, 0xff);
    tlv.extend(hex("16 34"));
    assert_eq!(dialled(&tlv, BORON), ("192.168.1.10".into(), 5684));
    // On UDP a stored port is discarded.
    tlv[66..68].copy_from_slice(&hex("27 0f"));
    assert_eq!(dialled(&tlv, BORON), ("192.168.1.10".into(), 5684));
    assert_eq!(
        dialled(b"\x01\x09$id.local", P2),
        ("e00fce680123456789abcdef.local".into(), 5684)
    );
    // Not an address: the production server takes its place.
    for bad in [
        &hex("00 04 00 00 00 00")[..],
        &hex("00 03 0a 00 00"),
        &hex("05 02 61 62"),
        b"\x01\x02a\x07",
    ] {
        let (host, port) = dialled(bad, BORON);
        assert_eq!(
            (host.as_str(), port),
            ("e00fce680123456789abcdef.udp.particle.io", 5684),
            "{bad:02x?}"
        );
    }
}

#[test]
fn the_electron_has_a_switch_for_its_transport() {
    let dial = |electron_tcp| {
        let mut rig = Rig::boot(Spec {
            electron_tcp,
            ..spec(ELECTRON)
        });
        until_dial(&mut rig);
        rig.happened
            .iter()
            .find_map(|(_, h)| match h {
                Happening::Dial(dial) => Some(dial.clone()),
                _ => None,
            })
            .unwrap()
    };
    let udp = dial(false);
    assert!(!udp.tcp && udp.port == 5684);
    let tcp = dial(true);
    assert!(tcp.tcp && tcp.port == 5683);
}

#[test]
fn a_misread_rsa_key_is_none_to_the_device() {
    let rig = Rig::boot(Spec {
        key: StartKey::Misread,
        ..spec(PHOTON)
    });
    let slot = &rig.device.dct()[34..34 + 1216];
    assert_eq!(slot[0], 0x30);
    assert_eq!(rig.device.key_spki(), None, "it reads by position");
    use rsa::pkcs1::DecodeRsaPrivateKey;
    let length = 4 + usize::from(u16::from_be_bytes([slot[2], slot[3]]));
    assert!(
        rsa::PrivateKey::from_pkcs1_der(&slot[..length]).is_ok(),
        "a reader of DER finds nothing wrong"
    );
}
