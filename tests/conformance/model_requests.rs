//! 2.3 to 2.8: the request catalogue.

use keyrack::sim::device::{AccessPoint, Forge, Spec};

use crate::{
    rig::{ALL, ARGON, BORON, ELECTRON, GEN2, MSOM, NRF, P2, PHOTON, RTL, Rig, TRACKER, spec},
    wire::{Fields, Message, hex},
};

fn ask(rig: &mut Rig, request: u16, payload: Message) -> (i32, Fields) {
    let (result, body) = rig.request(request, &payload.done());
    assert!(result == 0 || body.is_empty(), "no body beside an error");
    (result, Fields::parse(&body))
}

/// The result of a request that has no reply body.
fn told(rig: &mut Rig, request: u16, payload: Message) -> i32 {
    let (result, body) = ask(rig, request, payload);
    assert!(body.is_empty());
    result
}

fn got(rig: &mut Rig, request: u16, payload: Message) -> Fields {
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
    let point = |ssid: &str, password: &str, security| AccessPoint {
        ssid: ssid.into(),
        password: password.into(),
        bssid: [2, 0, 0, 0, 0, security],
        security,
        channel: 6,
        rssi: -50,
    };
    vec![point("factory", "correct horse", 3), point("guests", "", 0)]
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

// Firmware update (2.6).

fn user_module(platform: u16, version: u16) -> Forge {
    let (start, length) = match platform {
        P2 => (0x0860_0000 - 0x3000, 0x3000),
        PHOTON => (0x080a_0000, 0x3000),
        _ => (0xb_4000, 0x3000),
    };
    Forge {
        platform,
        function: 5,
        index: if platform == BORON { 2 } else { 1 },
        version,
        needs: Vec::new(),
        start,
        length,
        product: (0xffff, 0xffff),
        protects: false,
        seed: 11,
    }
}

/// START and all of DATA; the result of FINISH.
fn update(rig: &mut Rig, image: &[u8], finish: Message) -> i32 {
    let reply = got(rig, 250, Message::new().int(1, image.len() as u64));
    let chunk = usize::try_from(reply.int(1)).unwrap();
    for piece in image.chunks(chunk) {
        assert_eq!(told(rig, 253, Message::new().bytes(1, piece)), 0);
    }
    told(rig, 251, finish)
}

#[test]
fn an_update_on_the_wire() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(rig.request(250, &hex("08808004")), (0, hex("088008")), "pieces of 1024 bytes");
    let mut piece = hex("0a8008");
    piece.extend([0x5a; 1024]);
    assert_eq!(piece.len(), 1027);
    assert_eq!(rig.request(253, &piece), (0, Vec::new()));
    assert_eq!(told(&mut rig, 251, Message::new()), -210, "bytes are missing");
    assert_eq!(told(&mut rig, 252, Message::new()), 0);
}

#[test]
fn what_start_and_data_refuse() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(
        rig.request(250, &Message::new().int(1, 65_536).int(2, 1).done()).0,
        -120,
        "only BIN"
    );
    assert_eq!(
        rig.request(250, &Message::new().int(1, 4 << 20).done()).0,
        -1351,
        "larger than the OTA area"
    );
    got(&mut rig, 250, Message::new().int(1, 1_500));
    assert_eq!(told(&mut rig, 253, Message::new().bytes(1, &[0; 1024])), 0);
    assert_eq!(
        told(&mut rig, 253, Message::new().bytes(1, &[0; 477])),
        -290,
        "one byte too many"
    );
    assert_eq!(
        told(&mut rig, 253, Message::new().bytes(1, &[0; 476])),
        -210,
        "the whole update was cancelled"
    );
    got(&mut rig, 250, Message::new().int(1, 1_500));
    assert_eq!(told(&mut rig, 253, Message::new().bytes(1, &[])), -290, "an empty piece");
}

#[test]
fn a_valid_update_is_applied() {
    for platform in [BORON, P2, PHOTON] {
        let mut rig = Rig::normal(platform);
        let image = user_module(platform, 77).build();
        assert_eq!(update(&mut rig, &image, Message::new()), 0, "{platform}");
        rig.until_reattached();
        assert!(!rig.is_dfu());
        let start = user_module(platform, 77).start;
        assert_eq!(rig.device.flash(start, image.len()), image, "{platform}");
    }
}

#[test]
fn validate_only_changes_nothing() {
    let mut rig = Rig::normal(BORON);
    let old = rig.device.flash(0xb_4000, 0x3000);
    let image = user_module(BORON, 77).build();
    assert_eq!(update(&mut rig, &image, Message::new().int(1, 1)), 0);
    rig.wait_ms(10_000);
    assert!(rig.device.attachment().is_some());
    assert_eq!(rig.device.flash(0xb_4000, 0x3000), old);
}

#[test]
fn what_finish_refuses() {
    let refused = |image: &[u8]| {
        let mut rig = Rig::normal(BORON);
        let old = rig.device.flash(0xb_4000, 0x3000);
        let result = update(&mut rig, image, Message::new());
        rig.wait_ms(10_000);
        assert_eq!(rig.device.flash(0xb_4000, 0x3000), old, "nothing applied");
        result
    };
    let good = user_module(BORON, 77).build();
    let mut torn = good.clone();
    torn[0x1234] ^= 1;
    assert_eq!(refused(&torn), -1330, "integrity");
    assert_eq!(refused(&user_module(ARGON, 77).build()), -1360, "platform");
    let needs = Forge {
        needs: vec![(4, 1, 6300)],
        ..user_module(BORON, 77)
    };
    assert_eq!(refused(&needs.build()), -1340, "dependency");
    let rubbish = vec![0x5a; 0x3000];
    assert!((-1390..=-1300).contains(&refused(&rubbish)));
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
fn a_new_start_cancels_the_update_before() {
    let mut rig = Rig::normal(BORON);
    got(&mut rig, 250, Message::new().int(1, 5_000));
    assert_eq!(told(&mut rig, 253, Message::new().bytes(1, &[0; 1024])), 0);
    let image = user_module(BORON, 78).build();
    assert_eq!(
        update(&mut rig, &image, Message::new().int(1, 1)),
        0,
        "nothing is left of the first"
    );
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
#[ignore = "a simulated Photon has GET_DEVICE_MODE with every system (2.3: since 1.1.0 on Gen 2)"]
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
