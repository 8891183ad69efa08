//! 2.1, 2.2, 8.1, 8.2: the service protocol and the raw requests, packet by packet.

use std::time::Duration;

use keyrack::edge::UsbError;

use crate::{
    rig::{ALL, BORON, BUSY, GEN2, NOT_FOUND, NRF, OK, P2, PENDING, PHOTON, RTL, Reply, Rig, spec},
    wire::hex,
};
use keyrack::sim::device::Spec;

#[test]
fn the_golden_exchange() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(
        rig.packet("c0 05 00 00 00 00 40 00").unwrap(),
        hex("01 00 00 00 00 00"),
        "RESET all"
    );
    assert_eq!(
        rig.packet("c0 01 00 00 14 00 40 00").unwrap(),
        hex("03 00 00 00 00 00 01 00"),
        "INIT"
    );
    let mut replies = vec![rig.packet("c0 02 00 00 01 00 40 00").unwrap()];
    while replies.last().unwrap() == &hex("01 00 00 00 02 00") {
        rig.wait_ms(50);
        replies.push(rig.packet("c0 02 00 00 01 00 40 00").unwrap());
    }
    assert_eq!(*replies.last().unwrap(), hex("0d 00 00 00 00 00 1a 00 00 00 00 00 00 00"));
    assert!(replies.len() > 1, "it was pending first");
    let body = hex("0a18653030666365363830313233343536373839616263646566");
    assert_eq!(rig.packet("c0 04 00 00 01 00 1a 00").unwrap(), body);
    // Released with the last byte.
    assert_eq!(rig.packet("c0 02 00 00 01 00 40 00").unwrap(), hex("01 00 00 00 05 00"));
    assert_eq!(
        rig.packet("c0 05 00 00 01 00 40 00").unwrap(),
        hex("01 00 00 00 05 00"),
        "RESET of a gone id"
    );
}

#[test]
fn a_bodyless_reply_is_told_once() {
    let mut rig = Rig::normal(BORON);
    rig.packet("c0 01 00 00 e6 00 40 00").unwrap(); // START_NYAN_SIGNAL
    rig.wait_ms(200);
    assert_eq!(rig.check(1).unwrap(), hex("09 00 00 00 00 00 00 00 00 00"));
    assert_eq!(rig.check(1).unwrap(), hex("01 00 00 00 05 00"));
}

#[test]
fn a_refusal_on_the_wire() {
    let mut rig = Rig::normal(BORON);
    rig.init(222, 0).unwrap();
    rig.wait_ms(200);
    assert_eq!(rig.check(1).unwrap(), hex("09 00 00 00 00 00 88 ff ff ff"), "-120");
}

#[test]
fn fewer_than_64_bytes_asked_is_a_stall() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        for request in [1, 2, 5] {
            assert_eq!(
                rig.get(0xc0, request, 0, 20, 63),
                Err(UsbError::Stall),
                "{platform}: {request}"
            );
        }
        assert!(rig.get(0xc0, 1, 0, 20, 65).is_ok());
    }
}

#[test]
fn four_requests_and_no_fifth() {
    for platform in [BORON, PHOTON, P2] {
        let mut rig = Rig::normal(platform);
        for id in 1..=4 {
            let reply = Reply::parse(&rig.init(1, 4).unwrap());
            assert_eq!((reply.status, reply.id), (OK, Some(id)), "{platform}");
        }
        assert_eq!(rig.init(1, 4).unwrap(), hex("01 00 00 00 03 00"), "BUSY, no id");
        // A freed slot is taken again.
        assert_eq!(rig.cancel(2).unwrap(), hex("01 00 00 00 00 00"));
        assert_eq!(Reply::parse(&rig.init(1, 4).unwrap()).status, OK);
        assert_eq!(Reply::parse(&rig.init(1, 4).unwrap()).status, BUSY);
        // There is no timer in the device: only RESET 0 frees what a crashed host left.
        rig.wait(Duration::from_secs(3_600));
        assert_eq!(Reply::parse(&rig.init(1, 4).unwrap()).status, BUSY);
        assert_eq!(Reply::parse(&rig.cancel(0).unwrap()).status, OK);
        assert_eq!(Reply::parse(&rig.init(1, 4).unwrap()).status, OK);
    }
}

#[test]
fn long_payloads_wait_for_a_buffer() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(
        Reply::parse(&rig.init(1, 64).unwrap()).status,
        OK,
        "64 bytes come from a pool"
    );
    assert_eq!(
        rig.packet("c0 01 03 04 fd 00 40 00").unwrap(),
        hex("03 00 00 00 02 00 02 00"),
        "1027 do not"
    );
    let reply = Reply::parse(&rig.init(1, 65).unwrap());
    assert_eq!((reply.status, reply.id), (PENDING, Some(3)));
    rig.wait_ms(100);
    assert_eq!(rig.check(3).unwrap(), hex("01 00 00 00 00 00"), "ready");
    rig.send(3, &[7; 65]).unwrap();
    let done = rig.check_done(3);
    assert_eq!((done.status, done.result, done.size), (OK, Some(0), Some(65)));
    assert_eq!(rig.recv(3, 65).unwrap(), [7; 65]);
}

#[test]
fn what_send_refuses() {
    let mut rig = Rig::normal(BORON);
    rig.init(1, 8).unwrap();
    assert_eq!(rig.send(9, &[0; 8]), Err(UsbError::Stall), "another id");
    assert_eq!(rig.send(1, &[0; 9]), Err(UsbError::Stall), "more than INIT said");
    let mut rig = Rig::normal(BORON);
    rig.init(1, 8).unwrap();
    rig.send(1, &[1; 5]).unwrap();
    assert_eq!(rig.send(1, &[2; 4]), Err(UsbError::Stall), "the sum is what counts");
    let mut rig = Rig::normal(BORON);
    rig.init(1, 8).unwrap();
    rig.send(1, &[1; 5]).unwrap();
    rig.send(1, &[2; 3]).unwrap();
    assert_eq!(rig.send(1, &[3; 1]), Err(UsbError::Stall), "the request runs");
    assert_eq!(rig.check_done(1).size, Some(8));
    assert_eq!(rig.recv(1, 8).unwrap(), [1, 1, 1, 1, 1, 2, 2, 2]);
    // A request without payload takes none.
    let mut rig = Rig::normal(BORON);
    rig.init(20, 0).unwrap();
    assert_eq!(rig.send(1, &[1]), Err(UsbError::Stall));
}

#[test]
fn what_recv_refuses() {
    let mut rig = Rig::normal(BORON);
    rig.init(20, 0).unwrap();
    assert_eq!(rig.check_done(1).size, Some(26));
    assert_eq!(rig.recv(1, 0), Err(UsbError::Stall), "nothing asked");
    assert_eq!(rig.recv(1, 27), Err(UsbError::Stall), "beyond the end");
    assert_eq!(rig.recv(2, 26), Err(UsbError::Stall), "another id");
    assert_eq!(rig.recv(1, 20).unwrap().len(), 20);
    assert_eq!(rig.recv(1, 7), Err(UsbError::Stall), "beyond the rest");
    assert_eq!(rig.recv(1, 6).unwrap().len(), 6);
    assert_eq!(Reply::parse(&rig.check(1).unwrap()).status, NOT_FOUND);
    // Not before it is done.
    let mut rig = Rig::normal(BORON);
    rig.init(1, 4).unwrap();
    assert_eq!(rig.recv(1, 4), Err(UsbError::Stall));
}

#[test]
fn echo_in_chunks_of_4096() {
    for platform in [BORON, PHOTON, P2] {
        let mut rig = Rig::normal(platform);
        let payload: Vec<u8> = (0..10_000u32).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect();
        assert_eq!(rig.request(1, &payload), (0, payload));
    }
    let mut rig = Rig::normal(BORON);
    let most = vec![0xa5; 65_535];
    assert_eq!(rig.request(1, &most), (0, most), "the longest payload");
}

#[test]
fn ids_count_up_and_wrap_through_zero() {
    let mut rig = Rig::normal(BORON);
    for wanted in 1..=u16::MAX {
        let id = Reply::parse(&rig.init(1, 1).unwrap()).id.unwrap();
        assert_eq!(id, wanted);
        rig.cancel(id).unwrap();
    }
    let reply = Reply::parse(&rig.init(1, 1).unwrap());
    assert_eq!((reply.status, reply.id), (OK, Some(0)), "the firmware does not skip it");
}

#[test]
fn a_bus_reset_cancels_everything() {
    let mut rig = Rig::normal(BORON);
    for _ in 0..4 {
        rig.init(1, 4).unwrap();
    }
    let now = rig.now;
    rig.device.bus_reset(now);
    assert_eq!(Reply::parse(&rig.check(1).unwrap()).status, NOT_FOUND);
    assert_eq!(Reply::parse(&rig.init(1, 4).unwrap()).status, OK);
}

#[test]
fn reserved_and_unknown_requests_stall() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        for request in 0x06..=0x0f {
            assert_eq!(
                rig.get(0xc0, request, 0, 0, 64),
                Err(UsbError::Stall),
                "{platform}: {request}"
            );
        }
        assert_eq!(rig.get(0xc0, 0x77, 0, 0, 64), Err(UsbError::Stall));
        assert_eq!(rig.get(0xc0, 0x50, 0, 31, 64), Err(UsbError::Stall), "no such raw request");
    }
}

#[test]
fn service_requests_do_not_exist_in_dfu_mode() {
    for platform in [BORON, PHOTON, P2] {
        let mut rig = Rig::dfu(platform);
        assert_eq!(rig.packet("c0 05 00 00 00 00 40 00"), Err(UsbError::Stall));
        assert_eq!(
            rig.packet("c0 50 00 00 1e 00 40 00"),
            Err(UsbError::Stall),
            "a stall on 0x50/30 means DFU"
        );
    }
}

#[test]
fn raw_id_and_version() {
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        assert_eq!(rig.packet("c0 50 00 00 14 00 40 00").unwrap(), b"E00FCE680123456789ABCDEF");
        assert_eq!(rig.get(0xc0, 0x50, 0, 20, 24).unwrap().len(), 24);
        assert_eq!(
            rig.get(0xc0, 0x50, 0, 20, 23),
            Err(UsbError::Stall),
            "{platform}: 24 at least"
        );
        let version: &[u8] = if GEN2.contains(&platform) { b"3.3.1" } else { b"6.2.0" };
        assert_eq!(rig.packet("c0 50 00 00 1e 00 40 00").unwrap(), version, "{platform}");
    }
}

#[test]
fn raw_reset_is_immediate() {
    for platform in NRF.into_iter().chain(GEN2) {
        let mut rig = Rig::normal(platform);
        let before = rig.now;
        let _ = rig.packet("40 50 00 00 28 00 00 00");
        rig.wait_ms(20);
        assert!(rig.device.attachment().is_none(), "{platform}");
        assert!(rig.now.since(before) < Duration::from_millis(100));
        rig.until_attached();
        assert!(!rig.is_dfu());
    }
    for platform in RTL {
        let mut rig = Rig::normal(platform);
        assert_eq!(
            rig.packet("40 50 00 00 28 00 00 00"),
            Err(UsbError::Timeout),
            "no data stage, no end"
        );
        assert!(rig.device.attachment().is_some());
        let mut rig = Rig::normal(platform);
        let _ = rig.packet("40 50 00 00 28 00 01 00 00");
        rig.wait_ms(20);
        assert!(rig.device.attachment().is_none(), "with one byte");
    }
}

#[test]
fn raw_requests_are_as_old_as_2_0() {
    let mut rig = Rig::boot(Spec {
        os_version: 1500,
        ..spec(BORON)
    });
    assert_eq!(rig.packet("40 50 00 00 28 00 00 00"), Err(UsbError::Stall), "RESET");
    assert_eq!(
        rig.packet("40 50 00 00 2e 01 00 00"),
        Err(UsbError::Stall),
        "CLOUD_DISCONNECT"
    );
    assert!(rig.packet("c0 50 00 00 1e 00 40 00").is_ok());
    let mut rig = Rig::normal(BORON);
    assert_eq!(rig.packet("40 50 00 00 2e 01 00 00"), Ok(Vec::new()));
}

#[test]
fn no_data_before_the_buffer_is_there() {
    let mut rig = Rig::normal(BORON);
    assert_eq!(Reply::parse(&rig.init(1, 1_000).unwrap()).status, PENDING);
    assert_eq!(rig.send(1, &[0; 1_000]), Err(UsbError::Stall), "no CHECK said OK yet");
}

#[test]
fn the_magic_baud_rate() {
    // 6.3: setting 14400 baud on the console enters DFU mode, on all versions.
    for platform in ALL {
        let mut rig = Rig::normal(platform);
        let console = u16::from(RTL.contains(&platform));
        let coding = |baud: u32| [&baud.to_le_bytes()[..], &[0, 0, 8]].concat();
        rig.put(0x21, 0x20, 0, console, &coding(9_600)).unwrap();
        rig.wait_ms(5_000);
        assert!(!rig.is_dfu());
        let _ = rig.put(0x21, 0x20, 0, console, &coding(14_400));
        rig.until_reattached();
        assert!(rig.is_dfu(), "{platform}");
    }
}
