//! 2.4, 4.4 and cloud-api.md 7.2: how a device comes to be connected, claimed and remembered.

use keyrack::sim::device::{Dial, Dialled, Happening, Noticed, Spec};

use crate::{
    rig::{ARGON, BORON, P2, PHOTON, Rig, spec},
    wire::{Fields, Message},
};

fn connected(session: &[u8]) -> Option<Dialled> {
    Some(Dialled::Connected {
        session: session.to_vec(),
        resumed: false,
    })
}

fn with_network(platform: u16) -> Spec {
    Spec {
        wifi: Some("factory".into()),
        ..spec(platform)
    }
}

/// Waits for the next dial.
fn dial(rig: &mut Rig) -> Dial {
    rig.happened.clear();
    for _ in 0..600 {
        rig.wait_ms(100);
        let dial = rig.happened.iter().find_map(|(_, h)| match h {
            Happening::Dial(dial) => Some(dial.clone()),
            _ => None,
        });
        if let Some(dial) = dial {
            return dial;
        }
    }
    panic!("it does not dial");
}

fn status(rig: &mut Rig) -> u64 {
    let (result, body) = rig.request(300, &[]);
    assert_eq!(result, 0);
    Fields::parse(&body).int(1)
}

#[test]
fn what_a_dial_carries() {
    for platform in [ARGON, BORON, PHOTON, P2] {
        let mut rig = Rig::boot(with_network(platform));
        let call = dial(&mut rig);
        let (private, tcp) = if platform == PHOTON {
            (34..1250, true)
        } else {
            (3106..3298, false)
        };
        assert_eq!((call.id, call.platform, call.tcp), (rig.device.id(), platform, tcp));
        assert_eq!(call.private_slot, rig.device.dct()[private], "{platform}");
        assert_eq!(call.server_key.len(), if tcp { 294 } else { 91 });
        assert_eq!(call.port, if tcp { 5683 } else { 5684 });
        assert_eq!(call.product_version, 0xffff);
        assert_eq!(call.session, None);
        if !tcp {
            assert_eq!(
                call.server_host, "e00fce680123456789abcdef.udp.particle.io",
                "$id is replaced"
            );
        }
    }
}

#[test]
fn wifi_devices_without_a_network_do_not_dial() {
    let mut rig = Rig::normal(ARGON);
    rig.wait_ms(60_000);
    assert!(!rig.happened.iter().any(|(_, h)| matches!(h, Happening::Dial(_))));
    let mut rig = Rig::boot(Spec {
        sim_active: false,
        ..spec(BORON)
    });
    rig.wait_ms(60_000);
    assert!(
        !rig.happened.iter().any(|(_, h)| matches!(h, Happening::Dial(_))),
        "nor one whose SIM is not active"
    );
}

#[test]
fn connection_status_follows() {
    let mut rig = Rig::boot(with_network(BORON));
    rig.cloud = connected(b"");
    dial(&mut rig);
    assert!(rig.device.connected());
    assert_eq!(status(&mut rig), 2, "connected");
    assert_eq!(rig.request(302, &[]).0, 0);
    rig.wait_ms(1_000);
    assert_eq!(status(&mut rig), 0, "disconnected");
    assert!(!rig.device.connected());
}

#[test]
fn a_refused_device_dials_again() {
    let mut rig = Rig::boot(with_network(BORON));
    rig.cloud = Some(Dialled::Refused {
        why: "another key".into(),
        noticed: Noticed::Silence,
    });
    for _ in 0..3 {
        dial(&mut rig);
        assert!(!rig.device.connected());
    }
}

#[test]
fn a_claim_code_is_consumed_at_connect() {
    let mut rig = Rig::boot(with_network(BORON));
    let code: String = ('a'..='z').cycle().take(63).collect();
    assert_eq!(rig.request(200, &Message::new().text(1, &code).done()).0, 0);
    rig.cloud = connected(b"");
    dial(&mut rig);
    rig.wait_ms(1_000);
    assert_eq!(rig.device.dct()[1825], b'1');
    assert_eq!(Fields::parse(&rig.request(201, &[]).1).int(1), 1);
}

#[test]
fn a_session_survives_a_reset_and_not_a_new_key() {
    let mut rig = Rig::boot(with_network(BORON));
    rig.cloud = connected(b"a session");
    assert_eq!(dial(&mut rig).session, None);
    assert_eq!(rig.request(40, &[]).0, 0);
    rig.until_reattached();
    assert_eq!(
        dial(&mut rig).session.as_deref(),
        Some(&b"a session"[..]),
        "it may be resumed"
    );

    let key = Rig::boot(Spec { seed: 44, ..spec(BORON) }).device.dct()[3106..3298].to_vec();
    rig.enter_dfu();
    rig.alternate(1);
    rig.write(3106, &key).unwrap();
    rig.leave();
    assert_eq!(dial(&mut rig).session, None, "a full handshake");

    // The key of the server counts as well.
    rig.enter_dfu();
    rig.alternate(1);
    rig.write(3298, &crate::server::spki()).unwrap();
    rig.leave();
    assert_eq!(dial(&mut rig).session, None);
}

#[test]
fn a_reset_class_request_gets_through_while_it_connects() {
    // 2.4: INIT of such a request without payload aborts the connecting.
    let mut rig = Rig::boot(with_network(BORON));
    rig.cloud = None;
    dial(&mut rig);
    let from = rig.now;
    assert_eq!(rig.request(50, &[]).0, 0);
    assert!(rig.now.since(from).as_millis() < 1_000);
    rig.until_reattached();
    assert!(rig.is_dfu());
}

#[test]
fn in_safe_mode_and_dfu_mode_nobody_calls_from_the_wrong_place() {
    let mut rig = Rig::boot(with_network(BORON));
    rig.cloud = connected(b"");
    dial(&mut rig);
    rig.enter_dfu();
    assert!(!rig.device.connected());
    rig.wait_ms(60_000);
    assert!(
        !rig.happened.iter().any(|(_, h)| matches!(h, Happening::Dial(_))),
        "the bootloader has no cloud layer"
    );
}
