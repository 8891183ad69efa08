//! Normal mode: service protocol, raw requests, what requests answer. Frozen bytes: device-protocol.md 8.1 to 8.3.

use super::*;

#[test]
fn the_documented_exchange_for_the_device_id() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    assert_eq!(host.hex("c0 05 00 00 00 00 40 00", &[]).unwrap(), "010000000000");
    assert_eq!(host.hex("c0 01 00 00 14 00 40 00", &[]).unwrap(), "0300000000000100");
    assert_eq!(host.hex("c0 02 00 00 01 00 40 00", &[]).unwrap(), "010000000200", "pending");
    host.pass(Duration::from_millis(50));
    assert_eq!(
        host.hex("c0 02 00 00 01 00 40 00", &[]).unwrap(),
        "0d0000000000".to_owned() + "1a000000" + "00000000"
    );
    assert_eq!(
        host.hex("c0 04 00 00 01 00 1a 00", &[]).unwrap(),
        "0a18653030666365363830313233343536373839616263646566"
    );
    assert_eq!(
        host.hex("c0 02 00 00 01 00 40 00", &[]).unwrap(),
        "010000000500",
        "released after the last byte"
    );
    assert_eq!(host.hex("c0 05 00 00 01 00 40 00", &[]).unwrap(), "010000000500");
}

#[test]
fn a_result_without_body_is_told_once() {
    let mut host = Host::platform(13);
    let id = host.start(231, 0);
    host.pass(Duration::from_millis(50));
    assert_eq!(hex(&host.check(id)), "09000000000000000000");
    assert_eq!(hex(&host.check(id)), "010000000500");
    let id = host.start(210, 0);
    host.pass(Duration::from_millis(50));
    assert_eq!(
        hex(&host.check(id)),
        "0900000000008".to_owned() + "8ffffff",
        "-120 on every nRF52840"
    );
}

#[test]
fn long_payloads_wait_for_a_buffer_and_a_fifth_request_for_a_slot() {
    let mut host = Host::platform(13);
    assert_eq!(
        host.hex("c0 01 03 04 fd 00 40 00", &[]).unwrap(),
        "0300000002000100",
        "pending with id"
    );
    let too_early = host.raw([0x40, 3, 0, 0, 1, 0, 1, 0], &[0]);
    assert_eq!(too_early, Err(UsbError::Stall), "SEND before the buffer is there");
    host.pass(Duration::from_millis(50));
    assert_eq!(hex(&host.check(1)), "010000000000");
    for _ in 0..3 {
        host.start(253, 65);
    }
    assert_eq!(
        host.hex("c0 01 00 00 14 00 40 00", &[]).unwrap(),
        "010000000300",
        "busy, no id"
    );
    host.device.bus_reset(host.now);
    assert_eq!(host.hex("c0 01 00 00 14 00 40 00", &[]).unwrap(), "0300000000000500");
}

#[test]
fn chunks_are_counted_and_a_wrong_count_stalls() {
    let mut host = Host::platform(13);
    let id = host.start(1, 5);
    assert_eq!(
        host.raw([0x40, 3, 0, 0, 9, 0, 1, 0], &[0]),
        Err(UsbError::Stall),
        "unknown id"
    );
    host.raw([0x40, 3, 0, 0, 1, 0, 2, 0], b"he").unwrap();
    assert_eq!(
        host.raw([0x40, 3, 0, 0, 1, 0, 4, 0], b"llo!"),
        Err(UsbError::Stall),
        "too much"
    );
    host.raw([0x40, 3, 0, 0, 1, 0, 3, 0], b"llo").unwrap();
    host.pass(Duration::from_millis(50));
    assert_eq!(
        host.raw([0xc0, 4, 0, 0, 1, 0, 5, 0], &[]),
        Err(UsbError::Stall),
        "RECV before CHECK"
    );
    assert_eq!(host.check(id)[0], 0x0d);
    assert_eq!(host.raw([0xc0, 4, 0, 0, 1, 0, 0, 0], &[]), Err(UsbError::Stall), "nothing");
    assert_eq!(
        host.raw([0xc0, 4, 0, 0, 1, 0, 6, 0], &[]),
        Err(UsbError::Stall),
        "beyond the end"
    );
    assert_eq!(host.raw([0xc0, 4, 0, 0, 1, 0, 2, 0], &[]).unwrap(), b"he");
    assert_eq!(host.raw([0xc0, 4, 0, 0, 1, 0, 3, 0], &[]).unwrap(), b"llo");
}

#[test]
fn naive_a_client_that_asks_for_63_bytes_is_stalled() {
    let mut host = Host::platform(13);
    for request in [1, 2, 5] {
        assert_eq!(host.raw([0xc0, request, 0, 0, 0x14, 0, 63, 0], &[]), Err(UsbError::Stall));
    }
    assert_eq!(host.hex("c0 06 00 00 00 00 40 00", &[]), Err(UsbError::Stall), "reserved");
}

#[test]
fn naive_an_out_without_data_never_ends_on_rtl() {
    let mut host = Host::platform(32);
    let product = host.device.attachment().unwrap().product;
    assert_eq!(host.hex("40 50 00 00 28 00 00 00", &[]), Err(UsbError::Timeout));
    assert_eq!(host.device.attachment().unwrap().product, product, "and does nothing");
    assert_eq!(host.hex("40 50 00 00 28 00 01 00", &[0]), Err(UsbError::Gone));
    assert_eq!(host.device.attachment(), None, "with a dummy byte it resets");
    host.settle();
    assert!(host.device.attachment().is_some());
    let mut boron = Host::platform(13);
    assert_eq!(boron.hex("40 50 00 00 28 00 00 00", &[]), Err(UsbError::Gone));
}

#[test]
fn raw_requests_spell_as_the_firmware_does() {
    let mut host = Host::platform(13);
    assert_eq!(host.raw([0xc0, 0x50, 0, 0, 0x1e, 0, 64, 0], &[]).unwrap(), b"6.2.0");
    assert_eq!(
        host.raw([0xc0, 0x50, 0, 0, 0x14, 0, 64, 0], &[]).unwrap(),
        b"E00FCE680123456789ABCDEF"
    );
    assert_eq!(host.raw([0xc0, 0x50, 0, 0, 0x14, 0, 23, 0], &[]), Err(UsbError::Stall));
    host.enter_dfu();
    assert_eq!(
        host.raw([0xc0, 0x50, 0, 0, 0x1e, 0, 64, 0], &[]),
        Err(UsbError::Stall),
        "not in DFU mode"
    );
}

#[test]
fn a_reset_acts_one_second_after_its_reply_was_fetched() {
    let mut host = Host::timed(Spec::default(), Timing::default());
    let id = host.start(50, 0);
    host.pass(Duration::from_secs(30));
    assert_eq!(
        host.device.attachment().unwrap().product,
        0xc00d,
        "nobody has asked for the reply"
    );
    assert_eq!(host.check(id)[0], 9);
    host.pass(Duration::from_millis(990));
    assert_eq!(host.device.attachment().unwrap().product, 0xc00d);
    host.happened.clear();
    host.pass(Duration::from_millis(20));
    assert_eq!(host.device.attachment(), None);
    assert_eq!(host.happened, [Happening::Detached]);
    host.pass(Duration::from_secs(2));
    assert_eq!(host.device.attachment().unwrap().product, 0xd00d);
    assert_eq!(host.device.attachment().unwrap().serial, "e00fce680123456789abcdef");
    assert_eq!(host.happened, [Happening::Detached, Happening::Attached]);
}

#[test]
fn serial_numbers_networks_and_modes() {
    let mut host = Host::platform(12);
    assert_eq!(host.request(21, &[]).0, -1, "a blank OTP area on nRF52840");
    assert_eq!(Host::platform(32).request(21, &[]).0, -250);
    let mut host = Host::new(Spec {
        serial: Some("B40HAB913AB12CD".into()),
        platform: 12,
        air: vec![AccessPoint {
            ssid: "hall".into(),
            password: "secret".into(),
            bssid: [1; 6],
            security: 3,
            channel: 11,
            rssi: -60,
        }],
        ..Spec::default()
    });
    assert_eq!(hex(&host.request(21, &[]).1), "0a0f423430484142393133414231324344");
    assert!(host.dials().is_empty(), "no network");
    let credentials = |password: &[u8]| {
        let inner = proto::Message::new().number(1, 1).bytes(2, password);
        proto::Message::new().bytes(1, b"hall").number(3, 3).message(4, inner).done()
    };
    assert_eq!(host.request(500, &credentials(b"wrong")).0, -230);
    assert_eq!(host.request(500, &credentials(b"secret")).0, 0);
    host.settle();
    assert_eq!(host.dials().len(), 1, "now it dials");
    assert_eq!(host.request(300, &[]).1, [0x08, 0x01]);
    host.device.dialled(
        host.now,
        Dialled::Connected {
            session: vec![1],
            resumed: false,
        },
    );
    assert_eq!(host.request(300, &[]).1, [0x08, 0x02]);
    assert!(host.request(72, &[]).1.is_empty());
    assert_eq!(host.request(70, &[]).0, 0);
    assert_eq!(host.request(72, &[]).1, [0x08, 0x01]);
    assert!(!host.device.connected(), "listening ends the connection");
    let (result, body) = host.request(401, &unhex("0804"));
    assert_eq!(result, 0);
    assert!(hex(&body).contains("4206456789abcdef"), "{}", hex(&body));
}

#[test]
fn module_info_tells_what_is_wrong() {
    let mut host = Host::platform(13);
    let (result, body) = host.request(90, &[]);
    assert_eq!(result, 0);
    let flags = |body: &[u8]| {
        let text = hex(body);
        (
            text.matches("351e0000003d1e000000").count(),
            text.matches("351e000000").count(),
        )
    };
    assert_eq!(
        flags(&body),
        (4, 4),
        "bootloader, system, user part and radio stack pass everything"
    );
    let hashes = hex(&body).matches("351e0000003d1e0000004220").count();
    assert_eq!(hashes, 4, "each of them has a hash of 32 bytes");
    let mut old = Host::new(Spec {
        os_version: 5500,
        ..Spec::default()
    });
    let (_, body) = old.request(90, &[]);
    assert_eq!(body[0], 0x0a, "modules_deprecated before 5.6.0");
    assert_eq!(old.request(76, &[]).0, -120, "not before 6.0.0");
}

#[test]
fn the_baud_rate_touch_enters_dfu_mode() {
    let mut host = Host::platform(13);
    host.raw([0x21, 0x20, 0, 0, 0, 0, 7, 0], &[0x40, 0x38, 0, 0, 0, 0, 8])
        .unwrap();
    host.settle();
    assert_eq!(host.device.attachment().unwrap().product, 0xd00d);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]
    #[test]
    fn no_setup_packet_makes_it_panic(
        transfers: Vec<([u8; 8], Vec<u8>)>,
        requests: Vec<(u16, Vec<u8>)>,
        dfu: bool,
    ) {
        let mut host = Host::platform(12);
        if dfu {
            host.enter_dfu();
        } else {
            for (kind, payload) in requests {
                host.device.control(host.now, Setup { request_type: 0xc0, request: 5, value: 0, index: 0, length: 64 }, &[]);
                if !payload.is_empty() && host.device.attachment().is_some_and(|a| a.product == 0xc00c) {
                    host.request(kind % 600, &payload);
                }
            }
        }
        for (mut setup, data) in transfers {
            if setup[0] & 0x80 == 0 {
                setup[6..8].copy_from_slice(&u16::try_from(data.len()).unwrap().to_le_bytes());
            }
            let data = if setup[0] & 0x80 == 0 { data } else { Vec::new() };
            let _ = host.raw(setup, &data);
            host.pass(Duration::from_millis(1));
        }
    }
}
