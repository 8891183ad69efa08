//! The station examines the server settings of each model, and what it foretells comes true when the model starts.

use keyrack::{
    device::{Dfu, KeyStore},
    keys::{server::production, server_exam::examine},
    model::{
        OsVersion, Platform, ServerExam, ServerFinding,
        platform::Transport,
        server::{Fate, ServerNote},
    },
    sim::device::{Spec, StartServer},
};

use crate::{
    bench::Bench,
    rig::{ALL, BORON, ELECTRON, P2, PHOTON, Rig, spec},
    server,
};

fn transport(spec: &Spec) -> Transport {
    if spec.platform == PHOTON || spec.electron_tcp {
        Transport::Tcp
    } else {
        Transport::Udp
    }
}

/// Examined against the production settings, as the station reads them.
fn exam(bench: &Bench, spec: &Spec, os: Option<OsVersion>) -> ServerExam {
    let mut link = bench.link();
    let mut dfu = Dfu::open(&mut link).unwrap();
    let whole = KeyStore::new(&mut dfu).read_twice().unwrap();
    let platform = Platform::from_id(spec.platform).unwrap();
    examine(whole.expose(), platform, transport(spec), &production(transport(spec)), os)
}

fn in_dfu(spec: &Spec) -> Bench {
    Bench::new(Rig::boot_dfu(spec.clone()))
}

#[test]
fn the_shipped_settings_are_right_on_every_platform() {
    let tcp = Spec {
        electron_tcp: true,
        ..spec(ELECTRON)
    };
    for spec in ALL.map(spec).into_iter().chain([tcp]) {
        let exam = exam(&in_dfu(&spec), &spec, None);
        assert_eq!(exam.finding, ServerFinding::Right, "{}", spec.platform);
        assert!(exam.address.is_some() && exam.key.is_some() && exam.notes.is_empty());
    }
}

#[test]
fn each_start_is_found() {
    for platform in [BORON, P2, PHOTON] {
        for (server, word) in [
            (StartServer::Corrupt, "invalid"),
            (StartServer::Blank, "invalid"),
            (
                StartServer::ProductionAt {
                    host: "$id.ours.test".into(),
                },
                "wrong",
            ),
        ] {
            let mut rig = Rig::boot_dfu(spec(platform));
            let start = Rig::boot(Spec {
                server,
                os_version: 5004,
                ..spec(platform)
            });
            // Before its cloud layer starts: what lies in the key store, not what the device makes of it.
            let at = if platform == PHOTON { 2082 } else { 3298 };
            let length = if platform == PHOTON { 512 } else { 320 };
            let bytes = start.device.dct()[at..at + length].to_vec();
            rig.alternate(1);
            rig.write(u32::try_from(at).unwrap(), &bytes).unwrap();
            rig.idle();
            let exam = exam(&Bench::new(rig), &spec(platform), None);
            assert_eq!(exam.finding.word(), word, "{platform}: {exam:?}");
        }
    }
    let ours = Spec {
        server: StartServer::Set {
            spki: server::spki(),
            host: "$id.udp.particle.io".into(),
        },
        ..spec(BORON)
    };
    let exam = exam(&in_dfu(&ours), &ours, None);
    assert!(
        matches!(&exam.finding, ServerFinding::Wrong { differs } if differs.len() == 1),
        "{exam:?}"
    );
    assert_eq!(exam.key.map(|key| key.0), Some(server::fingerprint(&server::spki())));
}

#[test]
fn what_is_foretold_of_invalid_settings_comes_true() {
    for (os_version, os) in [
        (6200, "6.2.0"),
        (5501, "5.5.0"),
        (5300, "5.3.0"),
        (5004, "5.1.0"),
        (4100, "4.1.0"),
        (3301, "3.3.1"),
    ] {
        for blank in [true, false] {
            let spec = Spec {
                os_version,
                ..spec(BORON)
            };
            let mut rig = Rig::boot_dfu(spec.clone());
            rig.alternate(1);
            rig.write(3298, &if blank { vec![0xff; 320] } else { vec![0x30; 91] })
                .unwrap();
            rig.idle();
            let bench = Bench::new(rig);
            let found = exam(&bench, &spec, Some(os.parse().unwrap()));
            let ServerFinding::Invalid { fate, .. } = found.finding else {
                panic!("{os}: {found:?}");
            };
            let before = bench.rig().device.dct()[3298..3618].to_vec();
            bench.rig().leave();
            bench.rig().wait_ms(20_000);
            let after = bench.rig().device.dct()[3298..3618].to_vec();
            let expected = match fate {
                Fate::Replaced => after != before,
                Fate::Patched => blank && after == before,
                Fate::Kept => !blank && after == before,
                Fate::Unknown => false,
            };
            assert!(expected, "{os}, blank {blank}: {fate:?}");
            assert_eq!(found.notes.contains(&ServerNote::WillBeReverted), after != before, "{os}");
            if fate == Fate::Replaced {
                bench.rig().enter_dfu();
                assert!(
                    exam(&bench, &spec, None).finding.is_right(),
                    "{os}: by the production settings"
                );
            }
        }
    }
}

#[test]
fn a_port_of_a_udp_device_is_noted_and_has_no_effect() {
    let spec = spec(P2);
    let mut rig = Rig::boot_dfu(spec.clone());
    rig.alternate(1);
    rig.write(3490 + 66, &[0x20, 0xfb]).unwrap();
    rig.idle();
    let bench = Bench::new(rig);
    let exam = exam(&bench, &spec, None);
    assert_eq!(exam.finding, ServerFinding::Right);
    assert_eq!(exam.notes, [ServerNote::PortWithoutEffect { port: 0x20fb }]);
    assert_eq!(exam.address.as_deref(), Some("udp://$id.udp.particle.io:5684"));
}
