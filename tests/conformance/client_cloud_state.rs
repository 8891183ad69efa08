//! The station asks what a device says of its cloud connection: every family, every system that it may meet.

use std::time::Duration;

use keyrack::{
    device::{Control, cloud_state},
    model::{
        CloudState,
        cloud_state::{CloudStatus, Footing, Suspect},
        platform::Transport,
    },
    sim::device::{DeviceMishap, Dialled, Noticed, Spec},
};

use crate::{
    bench::Bench,
    rig::{ALL, BORON, ELECTRON, GEN2, P2, PHOTON, Rig, spec},
    server,
};

fn with_network(platform: u16) -> Spec {
    Spec {
        wifi: Some("bench".into()),
        ..spec(platform)
    }
}

fn answered(spec: Spec, cloud: Option<Dialled>) -> Bench {
    let bench = Bench::boot(spec);
    bench.rig().cloud = cloud;
    bench
}

fn refused(noticed: Noticed) -> Option<Dialled> {
    Some(Dialled::Refused {
        why: "for a reason".into(),
        noticed,
    })
}

fn watched(bench: &Bench, limit: u64) -> CloudState {
    let mut link = bench.link();
    let mut control = Control::open(&mut link).unwrap();
    let deadline = control.within(Duration::from_secs(limit));
    cloud_state::watch(&mut control, deadline).unwrap()
}

fn read(bench: &Bench) -> CloudState {
    cloud_state::read(&mut Control::open(&mut bench.link()).unwrap()).unwrap()
}

#[test]
fn a_key_that_the_cloud_does_not_know_is_hinted_at_on_every_platform() {
    for platform in ALL {
        let bench = answered(with_network(platform), refused(Noticed::Silence));
        let state = watched(&bench, 60);
        assert_eq!(state.status, Some(CloudStatus::Connecting), "{platform}");
        let transport = if platform == PHOTON { Transport::Tcp } else { Transport::Udp };
        let hint = state.hint(transport).unwrap_or_else(|| panic!("{platform}: {state}"));
        assert_eq!(hint.footing, Footing::Field, "{platform}: {state}");
        assert_ne!(hint.suspect, Suspect::ServerKey);
    }
    let tcp = Spec {
        electron_tcp: true,
        ..with_network(ELECTRON)
    };
    let state = watched(&answered(tcp, refused(Noticed::Silence)), 60);
    assert!(state.hint(Transport::Tcp).is_some() && state.hint(Transport::Udp).is_none());
}

#[test]
fn other_failures_point_elsewhere_or_nowhere() {
    for (platform, noticed, transport, suspect) in [
        (BORON, Noticed::Imposter, Transport::Udp, Suspect::ServerKey),
        (PHOTON, Noticed::Imposter, Transport::Tcp, Suspect::ServerKey),
        (PHOTON, Noticed::Undecipherable, Transport::Tcp, Suspect::DeviceKey),
        (P2, Noticed::NoServerKey, Transport::Udp, Suspect::ServerKey),
    ] {
        let state = watched(&answered(with_network(platform), refused(noticed)), 60);
        let hint = state.hint(transport).unwrap_or_else(|| panic!("{platform}: {state}"));
        assert_eq!((hint.suspect, hint.footing), (suspect, Footing::Inferred), "{platform}");
    }
    for (cloud, network) in [(Some(Dialled::NoRoute), true), (None, true), (None, false)] {
        let spec = Spec {
            sim_active: network,
            ..with_network(BORON)
        };
        let state = watched(&answered(spec, cloud), 30);
        assert!(
            state.is_told() && state.hint(Transport::Udp).is_none(),
            "nobody was reached: {state}"
        );
    }
}

#[test]
fn a_connected_device_gives_no_hint_whatever_was_before() {
    for platform in [BORON, PHOTON, P2] {
        let bench = answered(with_network(platform), refused(Noticed::Silence));
        assert!(!watched(&bench, 60).is_connected());
        bench.rig().cloud = Some(Dialled::Connected {
            session: Vec::new(),
            resumed: false,
        });
        bench.rig().wait_ms(60_000);
        let state = read(&bench);
        assert!(
            state.is_connected() && state.error.is_some_and(|e| !e.is_none()),
            "{platform}: {state}"
        );
        assert_eq!((state.hint(Transport::Tcp), state.hint(Transport::Udp)), (None, None));
    }
}

#[test]
fn watching_takes_no_longer_than_there_is_something_to_wait_for() {
    let bench = answered(with_network(BORON), refused(Noticed::Silence));
    let from = bench.rig().now;
    watched(&bench, 600);
    assert!(
        bench.rig().now.since(from) < Duration::from_secs(10),
        "as soon as it has failed"
    );
    let bench = answered(
        Spec {
            sim_active: false,
            ..spec(BORON)
        },
        None,
    );
    let from = bench.rig().now;
    assert_eq!(watched(&bench, 20).status, Some(CloudStatus::Disconnected));
    let took = bench.rig().now.since(from);
    assert!(
        (8..11).contains(&took.as_secs()),
        "a network that does not come up is not waited for: {took:?}"
    );
}

#[test]
fn the_first_systems_of_each_family() {
    // 2.3: the state since 1.1.0, requests at all since 0.8.0 (Gen 2) and 0.9.0 (Gen 3).
    for platform in GEN2 {
        for (os_version, status) in [(1100, true), (1000, false), (800, false)] {
            let bench = answered(
                Spec {
                    os_version,
                    ..with_network(platform)
                },
                refused(Noticed::Silence),
            );
            let state = watched(&bench, 60);
            assert_eq!(state.status.is_some(), status, "{platform} {os_version}");
            assert!(state.error.is_some(), "{platform} {os_version}: {state}");
        }
        let bench = Bench::boot(Spec {
            os_version: 700,
            ..with_network(platform)
        });
        let from = bench.rig().now;
        assert_eq!(watched(&bench, 600), CloudState::default(), "{platform}: not told");
        assert!(
            bench.rig().now.since(from) < Duration::from_secs(5),
            "{platform}: and not waited for"
        );
    }
    let bench = Bench::boot(Spec {
        os_version: 900,
        ..spec(BORON)
    });
    assert!(read(&bench).is_told() && read(&bench).status.is_none());
    let bench = Bench::normal(P2);
    assert!(read(&bench).status.is_some());
}

#[test]
fn a_device_that_does_not_tell_is_not_pestered() {
    let bench = Bench::boot(server::protected(BORON));
    bench.log();
    assert_eq!(watched(&bench, 600), CloudState::default());
    let inits = bench
        .log()
        .iter()
        .filter(|s| s.request == 1 && s.request_type == 0xc0)
        .count();
    assert_eq!(inits, 1, "the first refusal is enough");
    // An application may deny either.
    let bench = Bench::boot(Spec {
        denied: vec![100],
        ..spec(BORON)
    });
    let state = read(&bench);
    assert!(state.status.is_some() && state.error.is_none());
}

#[test]
fn an_application_that_hangs_costs_its_time_and_no_slot() {
    let bench = Bench::normal(BORON);
    bench.rig().device.inject(DeviceMishap::AppHangs);
    assert_eq!(read(&bench), CloudState::default());
    bench.rig().device.heal();
    let mut rig: std::sync::MutexGuard<'_, Rig> = bench.rig();
    for _ in 0..4 {
        assert_eq!(rig.init(1, 8).unwrap()[4], 0, "all four slots are free");
    }
}
