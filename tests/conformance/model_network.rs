//! 2.7: interfaces, Wi-Fi and modem.

use keyrack::sim::device::{AccessPoint, Spec};

use crate::{
    model_requests::{got, told},
    rig::{ARGON, BORON, ELECTRON, MSOM, P2, Rig, TRACKER, access_point, spec},
    wire::Message,
};

#[test]
fn interfaces() {
    for (platform, kind) in [(ARGON, 8), (P2, 8), (BORON, 16)] {
        let mut rig = Rig::normal(platform);
        let list = got(&mut rig, 400, Message::new()).messages(1);
        let entry = list.iter().find(|i| i.int(3) == kind).expect("the interface of its radio");
        let interface = got(&mut rig, 401, Message::new().int(1, entry.int(1))).messages(1).remove(0);
        assert_eq!(interface.int(1), entry.int(1));
        assert_eq!(interface.text(2), entry.text(2));
        if kind == 8 {
            assert_eq!(interface.bytes(8).unwrap().len(), 6, "{platform}: hardware address");
        }
    }
}

fn air() -> Vec<AccessPoint> {
    vec![access_point("factory", "correct horse", 3), access_point("guests", "", 0)]
}

#[test]
fn wifi() {
    for platform in [ARGON, P2] {
        let mut rig = Rig::boot(Spec {
            air: air(),
            ..spec(platform)
        });
        let found: Vec<(String, u64)> = got(&mut rig, 506, Message::new())
            .messages(1)
            .iter()
            .map(|n| (n.text(1), n.int(3)))
            .collect();
        assert!(found.contains(&("factory".into(), 3)) && found.contains(&("guests".into(), 0)));
        let credentials = Message::new().int(1, 1).text(2, "correct horse").done();
        let network = Message::new().text(1, "factory").int(3, 3).bytes(4, &credentials);
        assert_eq!(told(&mut rig, 507, network), 0, "{platform}");
        let known = got(&mut rig, 502, Message::new()).messages(1);
        assert_eq!(known.iter().map(|n| n.text(1)).collect::<Vec<_>>(), ["factory"]);
        assert_eq!(known[0].int(3), 1, "it has a password");
        assert_eq!(told(&mut rig, 503, Message::new().text(1, "factory")), 0);
        assert!(got(&mut rig, 502, Message::new()).is_empty());
    }
}

#[test]
fn joining_needs_the_right_password() {
    let mut rig = Rig::boot(Spec {
        air: air(),
        ..spec(ARGON)
    });
    let join = |password: &str| {
        let credentials = Message::new().int(1, 1).text(2, password).done();
        Message::new().text(1, "factory").int(3, 3).bytes(4, &credentials)
    };
    assert_ne!(told(&mut rig, 500, join("wrong horse")), 0);
    assert_eq!(told(&mut rig, 500, join("correct horse")), 0);
    let current = got(&mut rig, 505, Message::new());
    assert_eq!(current.text(1), "factory");
    assert_eq!(current.bytes(2).unwrap().len(), 6);
    assert_eq!(told(&mut rig, 504, Message::new()), 0);
    assert!(got(&mut rig, 502, Message::new()).is_empty());
}

#[test]
fn wifi_requests_need_wifi_and_cellular_ones_a_modem() {
    let mut rig = Rig::normal(BORON);
    for request in [500, 502, 504, 505, 506, 507] {
        assert_eq!(rig.request(request, &[]).0, -120, "{request}");
    }
    let mut rig = Rig::normal(ARGON);
    assert_eq!(rig.request(554, &[]).0, -120);
}

#[test]
fn iccid_and_imei() {
    for platform in [BORON, TRACKER, MSOM, ELECTRON] {
        let mut rig = Rig::boot(Spec {
            iccid: Some("8934076500002586220".into()),
            imei: Some("353162234567890".into()),
            ..spec(platform)
        });
        rig.wait_ms(5_000);
        let reply = got(&mut rig, 554, Message::new());
        assert_eq!(reply.text(1), "8934076500002586220", "{platform}");
        if platform != ELECTRON {
            assert_eq!(reply.text(2), "353162234567890", "{platform}: since 5.8.0");
        }
    }
    let mut old = Rig::boot(Spec {
        iccid: Some("8934076500002586220".into()),
        imei: Some("353162234567890".into()),
        os_version: 5501,
        ..spec(BORON)
    });
    old.wait_ms(5_000);
    let reply = got(&mut old, 554, Message::new());
    assert_eq!(
        (reply.text(1).as_str(), reply.bytes(2)),
        ("8934076500002586220", None),
        "before 5.8.0"
    );
}
