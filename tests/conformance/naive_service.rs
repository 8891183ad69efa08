//! Hosts that make one mistake in normal mode each, and one that mistakes one device for another.

use keyrack::{
    edge::UsbError,
    model::DeviceId,
    sim::device::{DeviceMishap, Spec},
};

use crate::{
    rig::{BORON, BUSY, NOT_FOUND, OK, P2, PHOTON, RTL, Reply, Rig, spec},
    server,
};

#[test]
fn wlength_63() {
    // 2.1: 64 is the least.
    let mut rig = Rig::normal(BORON);
    assert_eq!(rig.get(0xc0, 1, 0, 20, 63), Err(UsbError::Stall));
    let reply = Reply::parse(&rig.get(0xc0, 1, 0, 20, 64).unwrap());
    assert_eq!((reply.status, reply.id), (OK, Some(1)), "the stall took no id");
}

#[test]
fn out_without_data_on_rtl() {
    // 1.1: without a data stage the transfer never completes, and the request is not performed.
    for platform in RTL {
        for request in [40, 302] {
            let mut rig = Rig::normal(platform);
            let boots = rig.device.counters().boots;
            assert_eq!(rig.put(0x40, 0x50, 0, request, &[]), Err(UsbError::Timeout), "{platform}");
            rig.wait_ms(5_000);
            assert_eq!(rig.device.counters().boots, boots);
        }
        let mut rig = Rig::normal(platform);
        let _ = rig.put(0x40, 0x50, 0, 40, &[0]);
        rig.until_reattached();
        // The quirk is one of normal mode: DFU goes without data.
        let mut rig = Rig::dfu(platform);
        assert_eq!(rig.abort(), Ok(Vec::new()));
    }
}

#[test]
fn check_again_after_a_reply_without_body() {
    // 2.1: the first CHECK that tells the result of a bodyless reply releases the request.
    let mut rig = Rig::normal(BORON);
    let id = Reply::parse(&rig.init(231, 0).unwrap()).id.unwrap();
    let first = rig.check_done(id);
    assert_eq!(
        (first.status, first.result, first.size),
        (OK, Some(0), None),
        "this is the answer"
    );
    let second = Reply::parse(&rig.check(id).unwrap());
    assert_eq!(
        (second.status, second.result),
        (NOT_FOUND, None),
        "and the naive host calls it a failure"
    );
}

#[test]
fn a_fifth_request() {
    // 2.1: four at a time, and BUSY has no id to go on with.
    let mut rig = Rig::normal(BORON);
    for _ in 0..4 {
        rig.init(1, 8).unwrap();
    }
    let fifth = Reply::parse(&rig.init(1, 8).unwrap());
    assert_eq!((fifth.status, fifth.id), (BUSY, None));
    assert_eq!(rig.send(5, &[0; 8]), Err(UsbError::Stall), "the naive host counts on");
    // The other host begins with RESET 0: whoever crashed before may hold all four.
    rig.cancel(0).unwrap();
    assert_eq!(rig.request(1, &[0; 8]).0, 0);
}

#[test]
fn a_protected_device_asked_again_and_again() {
    // 7: -1801 never changes by itself.
    let mut rig = Rig::boot(server::protected(BORON));
    for _ in 0..60 {
        assert_eq!(rig.request(90, &[]).0, -1801);
        rig.wait_ms(1_000);
    }
    server::open(&mut rig);
    assert_eq!(rig.request(90, &[]).0, 0);
}

#[test]
fn an_end_of_service_mode_that_is_believed() {
    // 3.6, 9.2: the vendor's tool takes the answer for the deed. The state tells.
    for platform in [BORON, P2] {
        let mut rig = Rig::boot(server::protected(platform));
        server::open(&mut rig);
        rig.device.inject(DeviceMishap::ServiceEndIgnored);
        assert_eq!(rig.request(77, &[]).0, 0, "the naive host goes");
        assert_eq!(rig.request(76, &[]).1, [0x10, 0x01], "and leaves an open device");
        assert!(rig.string(0xfa).unwrap().starts_with("sm=s"));
        rig.device.heal();
        assert_eq!(rig.request(77, &[]).0, 0);
        assert_eq!(rig.request(76, &[]).1, [0x08, 0x01]);
        // In DFU mode as well, where the command ends without an error either way.
        let mut rig = server::service_in_dfu(platform);
        rig.device.inject(DeviceMishap::ServiceEndIgnored);
        for (heal, protected) in [(false, false), (true, true)] {
            if heal {
                rig.device.heal();
            }
            rig.dnload(0, &[0xfb, 0, 0, 0, 0]).unwrap();
            rig.settle().unwrap();
            rig.idle();
            assert_eq!(rig.device.is_protected(), protected);
        }
    }
}

#[test]
fn a_plug_pulled_to_end_service_mode_in_the_middle() {
    // 2.9: the flags are in retained RAM. A host that power-cycles a device to get it into DFU mode has lost Service Mode.
    for platform in [BORON, P2] {
        let mut rig = server::service_in_dfu(platform);
        assert!(!rig.device.is_protected());
        rig.device.power(rig.now, false);
        rig.wait_ms(1_000);
        rig.device.power(rig.now, true);
        rig.until_attached();
        assert!(rig.device.is_protected());
    }
}

/// Two devices on a bus that hands out addresses in the order in which they attach, as a host does.
struct Desk {
    rigs: [Rig; 2],
    addresses: [u16; 2],
    next: u16,
}

impl Desk {
    fn new() -> Self {
        let with = |last| {
            let mut id = *Spec::default().id.bytes();
            id[11] = last;
            Rig::boot(Spec {
                id: DeviceId::from_bytes(id),
                ..spec(PHOTON)
            })
        };
        Self {
            rigs: [with(1), with(2)],
            addresses: [1, 2],
            next: 1,
        }
    }

    fn reset(&mut self, which: usize) {
        let rig = &mut self.rigs[which];
        rig.request(40, &[]);
        rig.until_reattached();
        self.addresses[which] = self.next;
        self.next += 1;
    }

    fn at_address(&mut self, address: u16) -> Option<DeviceId> {
        let which = self.addresses.iter().position(|a| *a == address)?;
        Some(self.rigs[which].device.id())
    }
}

#[test]
fn devices_known_by_their_address() {
    // 7: a re-enumerated device has another address, and its old one may be another's.
    let mut desk = Desk::new();
    let first = desk.at_address(1).unwrap();
    desk.reset(1);
    desk.reset(0);
    assert_ne!(desk.at_address(1), Some(first), "address 1 is the other device now");
    let serials: Vec<String> = desk.rigs.iter().map(|rig| rig.device.attachment().unwrap().serial).collect();
    assert_eq!(serials[0], first.to_string(), "its serial number did not change");
    assert_ne!(serials[0], serials[1]);
}
