//! 2.3 to 2.5 and 2.8: the request catalogue.

use keyrack::sim::device::Spec;

use crate::{
    rig::{ALL, ARGON, BORON, ELECTRON, GEN2, MSOM, NRF, P2, PHOTON, RTL, Rig, spec},
    wire::{Fields, Message, hex},
};

fn ask(rig: &mut Rig, request: u16, payload: Message) -> (i32, Fields) {
    let (result, body) = rig.request(request, &payload.done());
    assert!(result == 0 || body.is_empty(), "no body beside an error");
    (result, Fields::parse(&body))
}

/// The result of a request that has no reply body.
pub(crate) fn told(rig: &mut Rig, request: u16, payload: Message) -> i32 {
    let (result, body) = ask(rig, request, payload);
    assert!(body.is_empty());
    result
}

pub(crate) fn got(rig: &mut Rig, request: u16, payload: Message) -> Fields {
    let (result, body) = ask(rig, request, payload);
    assert_eq!(result, 0, "request {request}");
    body
}

#[test]
fn identity() {
    for platform in ALL {
        let mut rig = Rig::boot(Spec {
            serial: Some("B40HAB913AB12CD".into()),
            ..spec(platform)
        });
        assert_eq!(got(&mut rig, 20, Message::new()).text(1), "e00fce680123456789abcdef");
        assert_eq!(
            rig.request(21, &[]),
            (0, hex("0a0f423430484142393133414231324344")),
            "{platform}"
        );
        let version = got(&mut rig, 30, Message::new()).text(1);
        assert_eq!(version, if GEN2.contains(&platform) { "3.3.1" } else { "6.2.0" });
    }
}

#[test]
fn a_blank_serial_number() {
    for platform in NRF {
        assert_eq!(Rig::normal(platform).request(21, &[]).0, -1, "no system_error code");
    }
    for platform in RTL {
        assert_eq!(Rig::normal(platform).request(21, &[]).0, -250);
    }
}

#[test]
fn capabilities_and_features() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(rig.request(32, &[]), (0, Vec::new()), "6.2.0: flags 0, omitted");
    assert_eq!(told(&mut rig, 33, Message::new().int(1, 1).int(2, 1)), 0);
    assert_eq!(got(&mut rig, 34, Message::new().int(1, 1)).int(1), 1);
    assert_eq!(told(&mut rig, 33, Message::new().int(1, 1)), 0);
    assert_eq!(got(&mut rig, 34, Message::new().int(1, 1)).int(1), 0);
    assert_eq!(rig.request(34, &Message::new().int(1, 2).done()).0, -120);
    assert_eq!(rig.request(33, &Message::new().int(1, 0).int(2, 1).done()).0, -120);
}

#[test]
fn setup_done_is_a_relic() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(told(&mut rig, 73, Message::new().int(1, 1)), 0);
    assert_eq!(rig.request(73, &[]).0, -120);
    assert_eq!(got(&mut rig, 74, Message::new()).int(1), 1);
}

#[test]
fn listening_mode() {
    for platform in [ARGON, PHOTON, P2] {
        let mut rig = Rig::normal(platform);
        assert_eq!(got(&mut rig, 72, Message::new()).int(1), 0);
        assert_eq!(told(&mut rig, 70, Message::new()), 0);
        rig.wait_ms(1_000);
        assert_eq!(got(&mut rig, 72, Message::new()).int(1), 1, "{platform}");
        assert_eq!(told(&mut rig, 71, Message::new()), 0);
        rig.wait_ms(1_000);
        assert_eq!(got(&mut rig, 72, Message::new()).int(1), 0);
    }
}

#[test]
fn diagnostics_are_json() {
    let mut rig = Rig::normal(BORON);
    let (result, body) = rig.request(100, &[]);
    assert_eq!(result, 0);
    let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    for (name, entry) in value.as_object().expect("one object") {
        assert!(entry.is_i64() || entry["err"].is_i64(), "{name}: {entry}");
    }
    assert_eq!(rig.request(100, &[1]).0, -120, "the payload must be empty");
}

#[test]
fn claim_code() {
    for platform in [BORON, PHOTON, P2] {
        let mut rig = Rig::normal(platform);
        let code: String = ('0'..='9').cycle().take(63).collect();
        assert_eq!(got(&mut rig, 201, Message::new()).int(1), 0);
        let payload = Message::new().text(1, &code).done();
        assert_eq!(payload[..2], hex("0a3f"));
        assert_eq!(rig.request(200, &payload), (0, Vec::new()));
        assert_eq!(&rig.device.dct()[1762..1825], code.as_bytes(), "{platform}");
        assert_eq!(got(&mut rig, 201, Message::new()).int(1), 0, "the flag is not touched");
        let mut claimed = Rig::boot(Spec {
            claimed: true,
            ..spec(platform)
        });
        assert_eq!(got(&mut claimed, 201, Message::new()).int(1), 1);
        assert_eq!(claimed.device.dct()[1825], b'1');
    }
}

#[test]
fn key_requests_exist_on_gen_2_only() {
    for platform in NRF.into_iter().chain(RTL) {
        let mut rig = Rig::normal(platform);
        for request in [210, 211, 220, 221, 222, 223] {
            assert_eq!(
                rig.request(request, &Message::new().int(1, 4).done()).0,
                -120,
                "{platform}: {request}"
            );
        }
    }
    let mut old = Rig::boot(Spec {
        os_version: 700,
        ..spec(PHOTON)
    });
    assert_eq!(old.request(211, &Message::new().int(1, 1).done()).0, -120, "before 0.8.0");
}

#[test]
fn gen_2_keys_by_request() {
    let mut photon = Rig::normal(PHOTON);
    let slot = got(&mut photon, 211, Message::new().int(1, 1));
    let slot = slot.bytes(1).unwrap();
    assert_eq!(slot, &photon.device.dct()[34..34 + slot.len()]);
    assert!(slot.len() >= 612, "the whole slot, not the length of the key");

    let mut electron = Rig::normal(ELECTRON);
    let slot = got(&mut electron, 211, Message::new().int(1, 4)).bytes(1).unwrap().to_vec();
    assert_eq!(slot, electron.device.dct()[3106..3106 + 192]);
    // Padded with 0xFF.
    assert_eq!(told(&mut electron, 210, Message::new().int(1, 4).bytes(2, &slot[..121])), 0);
    assert_eq!(electron.device.dct()[3106..3227], slot[..121]);
    assert_eq!(electron.device.dct()[3227..3298], [0xff; 71]);
    assert_eq!(
        told(&mut electron, 210, Message::new().int(1, 4).bytes(2, &[1; 193])),
        -190,
        "larger than the slot"
    );
}

#[test]
fn gen_2_server_address_by_request() {
    let mut rig = Rig::normal(ELECTRON);
    let payload = hex("0802120d666163746f72792e6c6f63616c18b42c");
    assert_eq!(rig.request(220, &payload), (0, Vec::new()));
    assert_eq!(&rig.device.dct()[3490..3505], b"\x01\x0dfactory.local");
    assert_eq!(rig.device.dct()[3490 + 66..3490 + 68], [0x16, 0x34], "big endian");
    let reply = got(&mut rig, 221, Message::new().int(1, 2));
    assert_eq!((reply.text(1).as_str(), reply.int(2)), ("factory.local", 5684));
}

#[test]
fn gen_2_server_protocol() {
    let mut rig = Rig::normal(ELECTRON);
    assert_eq!(got(&mut rig, 223, Message::new()).int(1), 2, "UDP");
    let mut rig = Rig::boot(Spec {
        electron_tcp: true,
        ..spec(ELECTRON)
    });
    assert_eq!(rig.device.dct()[2977], 0);
    assert_eq!(got(&mut rig, 223, Message::new()).int(1), 1, "TCP");
}

#[test]
fn the_application_may_deny() {
    let mut rig = Rig::boot(Spec {
        denied: vec![21, 250],
        ..spec(BORON)
    });
    assert_eq!(rig.request(21, &[]).0, -130);
    assert_eq!(rig.request(250, &hex("08808004")).0, -130);
    assert_eq!(rig.request(20, &[]).0, 0);
}

#[test]
fn requests_that_are_gone_or_unknown() {
    let mut rig = Rig::normal(BORON);
    for request in [2, 110, 120, 260, 264, 402, 600, 601, 1001, 9_999] {
        assert_eq!(rig.request(request, &[]).0, -120, "{request}");
    }
}

#[test]
fn cloud_connection() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(told(&mut rig, 302, Message::new()), 0);
    rig.wait_ms(1_000);
    assert_eq!(got(&mut rig, 300, Message::new()).int(1), 0, "disconnected");
    assert_eq!(told(&mut rig, 301, Message::new()), 0);
    rig.wait_ms(500);
    assert_eq!(got(&mut rig, 300, Message::new()).int(1), 1, "connecting");
}

#[test]
fn module_info() {
    for platform in [ARGON, BORON, P2, MSOM] {
        let mut rig = Rig::normal(platform);
        let reply = got(&mut rig, 90, Message::new());
        assert!(reply.messages(1).is_empty(), "the new format alone");
        let modules = reply.messages(2);
        for (kind, name) in [(2, "bootloader"), (4, "system part"), (5, "user part")] {
            let module = modules.iter().find(|m| m.int(1) == kind && m.int(4) == 0).expect(name);
            let (checked, passed) = (module.int(6), module.int(7));
            assert_eq!(checked & !passed & 0x1e, 0, "{platform}: {name} is healthy");
            assert_ne!(checked & 0x02, 0, "integrity was checked");
            assert!(module.bytes(8).is_none_or(|hash| hash.len() == 32));
        }
        let system = modules.iter().find(|m| m.int(1) == 4).unwrap();
        assert_eq!(system.int(3), 6200);
    }
    let mut old = Rig::boot(Spec {
        os_version: 4100,
        ..spec(BORON)
    });
    let reply = got(&mut old, 90, Message::new());
    assert!(reply.messages(2).is_empty(), "before 5.6.0");
    let modules = reply.messages(1);
    // Another enumeration: 1 bootloader, 2 system part, 3 user part.
    let system = modules.iter().find(|m| m.int(1) == 2).expect("system part");
    assert_eq!((system.int(3), system.int(5)), (4100, 0), "valid: no bit set");
    assert!(modules.iter().any(|m| m.int(1) == 1) && modules.iter().any(|m| m.int(1) == 3));
}

#[test]
fn assets_are_as_old_as_5_6() {
    let mut rig = Rig::normal(BORON);
    assert!(got(&mut rig, 91, Message::new()).is_empty());
    let mut old = Rig::boot(Spec {
        os_version: 5501,
        ..spec(BORON)
    });
    assert_eq!(old.request(91, &[]).0, -120);
}

#[test]
fn nyan_and_echo() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        assert_eq!(told(&mut rig, 230, Message::new()), 0);
        assert_eq!(told(&mut rig, 231, Message::new()), 0);
        assert_eq!(rig.request(1, b"echo"), (0, b"echo".to_vec()));
    }
}

#[test]
fn startup_mode_and_factory_reset() {
    let mut rig = Rig::normal(ARGON);
    assert_eq!(told(&mut rig, 75, Message::new().int(1, 1)), 0);
    assert_eq!(told(&mut rig, 40, Message::new()), 0);
    rig.until_reattached();
    rig.wait_ms(2_000);
    assert_eq!(got(&mut rig, 72, Message::new()).int(1), 1, "it starts in listening mode");
    let mut rig = Rig::normal(BORON);
    assert_eq!(told(&mut rig, 41, Message::new()), 0);
    rig.until_reattached();
}

#[test]
fn the_soft_ap_name_is_for_gen_2() {
    let payload = Message::new().text(1, "Photon").text(2, "ABCD");
    assert_eq!(told(&mut Rig::normal(PHOTON), 240, payload.clone()), 0);
    assert_eq!(Rig::normal(BORON).request(240, &payload.done()).0, -120);
}

#[test]
fn requests_are_as_old_as_the_reference_says() {
    // 2.3: what a system without the request answers is -120.
    let result = |platform: u16, os_version: u16, request: u16| {
        let mut rig = Rig::boot(Spec {
            os_version,
            serial: Some("B40HAB913AB12CD".into()),
            ..spec(platform)
        });
        rig.request(request, &[]).0
    };
    for request in [20, 21] {
        assert_eq!(result(BORON, 1400, request), -120, "{request}: 1.5.0");
        assert_eq!(result(BORON, 1500, request), 0, "{request}: 1.5.0");
    }
    assert_eq!(result(BORON, 1000, 300), -120, "cloud status: 1.1.0");
    assert_eq!(result(BORON, 1100, 300), 0);
    assert_eq!(result(BORON, 5901, 76), -120, "GET_PROTECTED_STATE: 6.0.0");
    assert_eq!(result(BORON, 6000, 76), 0);
    assert_eq!(result(BORON, 6000, 77), -120, "SET_PROTECTED_STATE: 6.1.1");
    assert_eq!(result(BORON, 6101, 77), 0);
}

#[test]
fn compressed_updates_were_a_capability_of_2_and_3() {
    for (os_version, flags) in [(2001, 1), (3101, 1), (6200, 0)] {
        let mut rig = Rig::boot(Spec {
            os_version,
            ..spec(BORON)
        });
        assert_eq!(got(&mut rig, 32, Message::new()).int(1), flags, "{os_version}");
    }
}

#[test]
fn device_mode_on_old_gen_2() {
    let result = |os_version: u16| {
        let mut rig = Rig::boot(Spec {
            os_version,
            ..spec(PHOTON)
        });
        rig.request(72, &[]).0
    };
    assert_eq!(result(1000), -120);
    assert_eq!(result(1100), 0);
}
