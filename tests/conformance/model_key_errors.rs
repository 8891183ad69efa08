//! 2.4, 4.4 and cloud-api.md 7: what a running device says of its connection when a key is wrong. The cloud is the stand-in,
//! so that both ends of the handshake are real.

use std::{collections::BTreeMap, sync::Arc};

use keyrack::{
    edge::entropy::SystemEntropy,
    sim::{
        clock::VirtualClock,
        cloud::{DeviceSetup, Setup, StandIn},
        device::{Dialled, Happening, Spec, StartKey, StartServer, key_before},
    },
};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::EncodePublicKey;

use crate::{
    rig::{ARGON, BORON, ELECTRON, P2, PHOTON, Rig},
    wire::Fields,
};

/// The platforms of both transports, an Electron on either.
fn specs() -> Vec<Spec> {
    let spec = |platform| Spec {
        wifi: Some("bench".into()),
        ..crate::rig::spec(platform)
    };
    let tcp = Spec {
        electron_tcp: true,
        ..spec(ELECTRON)
    };
    vec![spec(PHOTON), tcp, spec(ELECTRON), spec(ARGON), spec(BORON), spec(P2)]
}

fn tcp(spec: &Spec) -> bool {
    spec.platform == PHOTON || spec.electron_tcp
}

/// Which key the cloud holds, and which server the device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    DeviceKey,
    ServerKey,
    Address,
}

/// A device and a cloud that know each other, but for what is wrong.
struct Pair {
    rig: Rig,
    cloud: StandIn,
}

impl Pair {
    fn new(mut spec: Spec, wrong: Wrong, registered: Option<Vec<u8>>) -> Self {
        let key = match (registered, wrong) {
            (Some(spki), _) => spki,
            (None, Wrong::DeviceKey) => key_before(&spec),
            (None, _) => Rig::boot(spec.clone()).device.key_spki().expect("a key that is one"),
        };
        let setup = Setup {
            devices: vec![DeviceSetup {
                public_key: Some(pem(&key)),
                ..DeviceSetup::new(spec.id, spec.platform)
            }],
            ..Setup::default()
        };
        let cloud = StandIn::new(Arc::new(VirtualClock::new()), Arc::new(SystemEntropy), setup);
        let host = cloud.server_host(tcp(&spec));
        let spki = cloud.server_spki(tcp(&spec));
        spec.server = match wrong {
            Wrong::ServerKey => StartServer::ProductionAt { host },
            Wrong::Address => StartServer::Set {
                spki,
                host: "nowhere.test".into(),
            },
            _ => StartServer::Set { spki, host },
        };
        let rig = Rig::boot(spec);
        Self { rig, cloud }
    }

    /// Lets the device try once, and gives what came of it.
    fn dial(&mut self) -> Dialled {
        for _ in 0..600 {
            let dial = self.rig.happened.iter().find_map(|(_, h)| match h {
                Happening::Dial(dial) => Some(dial.clone()),
                _ => None,
            });
            if let Some(dial) = dial {
                self.rig.happened.clear();
                let answer = self.cloud.dial(&dial);
                let now = self.rig.now;
                self.rig.device.dialled(now, answer.clone());
                return answer;
            }
            self.rig.wait_ms(100);
        }
        panic!("it does not dial");
    }

    /// Connection status (300), last error and number of tries (100).
    fn told(&mut self) -> (u64, i64, i64) {
        let (result, body) = self.rig.request(300, &[]);
        assert_eq!(result, 0);
        let diagnostics = diagnostics(&mut self.rig);
        (
            Fields::parse(&body).int(1),
            diagnostics["cloud:err"],
            diagnostics["cloud:connatt"],
        )
    }
}

/// The diagnostics that are numbers.
pub(crate) fn diagnostics(rig: &mut Rig) -> BTreeMap<String, i64> {
    let (result, body) = rig.request(100, &[]);
    assert_eq!(result, 0);
    let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let all = value.as_object().expect("one object").iter();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_i64()?)))
        .collect()
}

fn pem(spki: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let body = STANDARD.encode(spki);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

#[test]
fn the_key_errors_of_both_transports() {
    for spec in specs() {
        let (platform, tcp) = (spec.platform, tcp(&spec));
        for (wrong, status, error) in [
            (Wrong::Nothing, 2, 0),
            (Wrong::DeviceKey, 1, if tcp { 26 } else { 10 }),
            (Wrong::ServerKey, 1, if tcp { 26 } else { 17 }),
            // Who is not reached leaves no number: it is not a handshake that failed.
            (Wrong::Address, 1, 0),
        ] {
            let mut pair = Pair::new(spec.clone(), wrong, None);
            let answer = pair.dial();
            assert_eq!(
                matches!(answer, Dialled::Connected { .. }),
                wrong == Wrong::Nothing,
                "{platform}: {answer:?}"
            );
            assert_eq!(pair.told(), (status, error, 1), "{platform}");
        }
    }
}

#[test]
fn a_misread_key_sends_the_right_public_half_and_cannot_decrypt() {
    // 4.3: N comes before the short number; error 6 as seen on Device OS.
    let spec = Spec {
        key: StartKey::Misread,
        wifi: Some("bench".into()),
        ..crate::rig::spec(PHOTON)
    };
    let slot = Rig::boot(spec.clone()).device.dct()[34..34 + 1216].to_vec();
    let length = 4 + usize::from(u16::from_be_bytes([slot[2], slot[3]]));
    let key = rsa::PrivateKey::from_pkcs1_der(&slot[..length]).unwrap();
    let spki = key.to_public_key().to_public_key_der().unwrap().into_vec();
    let mut pair = Pair::new(spec, Wrong::Nothing, Some(spki));
    let answer = pair.dial();
    assert!(matches!(answer, Dialled::Refused { .. }), "{answer:?}");
    assert_eq!(pair.told(), (1, 6, 1));
}

#[test]
fn corrupt_and_blank_keys_are_errors_of_the_device_key() {
    for spec in specs() {
        let (platform, expected) = (spec.platform, if tcp(&spec) { 26 } else { 10 });
        for key in [StartKey::Corrupt, StartKey::Blank] {
            let registered = key_before(&spec);
            let mut pair = Pair::new(Spec { key, ..spec.clone() }, Wrong::Nothing, Some(registered));
            pair.dial();
            assert_eq!(
                pair.told(),
                (1, expected, 1),
                "{platform}: a blank slot has a new key by then"
            );
        }
    }
}

#[test]
fn the_number_outlives_a_connection_and_not_a_start() {
    let mut pair = Pair::new(specs().remove(0), Wrong::DeviceKey, None);
    pair.dial();
    let spki = pair.rig.device.key_spki().unwrap();
    assert!(
        pair.cloud.made_with(pair.rig.device.id(), &spki),
        "now the cloud has the right one"
    );
    assert!(matches!(pair.dial(), Dialled::Connected { .. }));
    assert_eq!(pair.told(), (2, 26, 2));
    assert_eq!(pair.rig.request(40, &[]).0, 0);
    pair.rig.until_reattached();
    assert_eq!(diagnostics(&mut pair.rig)["cloud:err"], 0);
}

#[test]
fn before_anything_was_tried_there_is_nothing_to_say() {
    for spec in specs() {
        let mut rig = Rig::boot(Spec {
            wifi: None,
            sim_active: false,
            ..spec
        });
        rig.wait_ms(60_000);
        let told = diagnostics(&mut rig);
        assert_eq!((told["cloud:err"], told["cloud:connatt"]), (0, 0), "without a network");
        let (result, body) = rig.request(300, &[]);
        assert_eq!((result, Fields::parse(&body).int(1)), (0, 0), "disconnected");
    }
}

#[test]
fn systems_from_before_the_requests() {
    // 2.3: the state of the connection since 1.1.0.
    for (os_version, status) in [(1100, 0), (1000, -120), (800, -120)] {
        let mut rig = Rig::boot(Spec {
            os_version,
            ..crate::rig::spec(PHOTON)
        });
        assert_eq!(rig.request(300, &[]).0, status, "{os_version}");
        assert_eq!(rig.request(100, &[]).0, 0, "{os_version}");
    }
}
