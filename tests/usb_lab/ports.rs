//! keyrack's ports on the real libusb: what is plugged in and where, how that changes, and how requests fail.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use keyrack::{
    device::{Cancel, Control, Dfu, Link, UsbBus, identify, mode},
    edge::{Attached, Bus, Pipe, Setup, UsbError},
    sim::world::{Cut, Moment},
};

use super::lab::{CLOCK, Lab, now, until};

fn bus() -> UsbBus {
    UsbBus::start(Arc::clone(&CLOCK)).unwrap()
}

/// The device in a slot, as keyrack lists it.
fn listed(bus: &UsbBus, lab: &Lab, slot: u16) -> Option<Attached> {
    bus.list().unwrap().into_iter().find(|a| a.port == lab.port(slot))
}

fn open(bus: &UsbBus, lab: &Lab, slot: u16) -> Box<dyn Pipe> {
    let mut there = None;
    until("the device is listed", || {
        there = listed(bus, lab, slot);
        there.is_some()
    });
    bus.open(&there.unwrap()).unwrap()
}

/// So many devices of all families, as the script was told.
fn whole_rack() -> (Lab, u16) {
    let count: u16 = std::env::var_os("KEYRACK_LAB_DEVICES").map_or(8, |n| n.to_str().unwrap().parse().unwrap());
    let kinds = ["argon", "p2", "photon\nos = \"2.3.1\"", "boron", "electron\nos = \"2.3.1\""];
    let slots: Vec<&str> = kinds.iter().copied().cycle().take(usize::from(count)).collect();
    let lab = Lab::of(&slots);
    lab.settled(slots.len());
    (lab, count)
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn the_whole_rack_is_listed_by_its_ports_and_opens_at_once() {
    let (lab, count) = whole_rack();
    let bus = bus();
    for slot in 1..=count {
        let (seen, is) = (listed(&bus, &lab, slot).unwrap(), lab.attached(slot).unwrap());
        assert_eq!(
            (seen.vendor, seen.product, &seen.serial),
            (is.vendor, is.product, &is.serial),
            "slot {slot}"
        );
    }
    assert_eq!(bus.list().unwrap().len(), usize::from(count));
    let ids: Vec<_> = (1..=count).map(|slot| (slot, listed(&bus, &lab, slot).unwrap())).collect();
    let bus = Arc::new(bus);
    let identified = Arc::<Mutex<Vec<_>>>::default();
    let threads: Vec<_> = ids
        .into_iter()
        .map(|(slot, attached)| {
            let (bus, identified) = (Arc::clone(&bus), Arc::clone(&identified));
            let body = move || {
                let mut link = Link::open(&*bus, &attached, Arc::clone(&CLOCK), Cancel::new()).unwrap();
                let identity = identify(&mut link, &attached).unwrap();
                identified.lock().unwrap().push((slot, identity.device));
            };
            CLOCK.spawn("identify", Box::new(body))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread().unwrap());
    let mut identified = identified.lock().unwrap().clone();
    identified.sort();
    let expected: Vec<_> = (1..=count).map(|slot| (slot, lab.device(slot))).collect();
    assert_eq!(identified, expected);
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn devices_that_come_and_go_are_announced() {
    let lab = Lab::of(&["argon", "photon\nos = \"2.3.1\""]);
    lab.settled(2);
    let bus = bus();
    let changed = bus.changed();
    until("both are listed", || bus.list().unwrap().len() == 2);
    for (from, to) in [(1, 7), (7, 15), (15, 16), (16, 1)] {
        let seen = changed.raised();
        let device = lab.world().unplug(&lab.port(from)).unwrap();
        // By the signal alone: who waits for it is woken.
        CLOCK.wait(&changed, seen, Some(now() + LONG));
        assert!(changed.raised() > seen, "slot {from}: nobody was told");
        until("it is not listed any more", || listed(&bus, &lab, from).is_none());
        assert!(listed(&bus, &lab, 2).is_some(), "the other one is where it was");
        let seen = changed.raised();
        lab.world().plug(&lab.port(to), device).unwrap();
        until("it is listed again", || listed(&bus, &lab, to).is_some());
        assert!(changed.raised() > seen, "slot {to}: nobody was told");
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn another_mode_is_another_address_in_the_same_port() {
    let lab = Lab::of(&["argon", "p2", "photon\nos = \"2.3.1\"", "electron\nos = \"2.3.1\""]);
    lab.settled(4);
    let bus = bus();
    for slot in 1..=4 {
        let before = listed(&bus, &lab, slot).unwrap();
        let mut link = Link::open(&bus, &before, Arc::clone(&CLOCK), Cancel::new()).unwrap();
        mode::enter_dfu(&mut Control::open(&mut link).unwrap()).unwrap();
        drop(link);
        let dfu = |a: &Attached| a.product & 0xf000 == 0xd000;
        until("it is in DFU mode", || listed(&bus, &lab, slot).is_some_and(|a| dfu(&a)));
        let there = listed(&bus, &lab, slot).unwrap();
        assert_ne!(there.address, before.address, "slot {slot}");
        assert_eq!(
            there.serial.map(|s| s.to_lowercase()),
            before.serial.clone().map(|s| s.to_lowercase())
        );
        assert!(
            matches!(bus.open(&before), Err(UsbError::Gone)),
            "slot {slot}: what it was is no more"
        );
        let attached = listed(&bus, &lab, slot).unwrap();
        let mut link = Link::open(&bus, &attached, Arc::clone(&CLOCK), Cancel::new()).unwrap();
        Dfu::open(&mut link).unwrap().leave().unwrap();
        drop(link);
        until("it is out of DFU mode", || listed(&bus, &lab, slot).is_some_and(|a| !dfu(&a)));
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn a_stall_is_a_stall_and_the_next_request_is_answered() {
    let lab = Lab::of(&["argon", "p2", "photon\nos = \"2.3.1\""]);
    lab.settled(3);
    let bus = bus();
    for slot in 1..=3 {
        let mut pipe = open(&bus, &lab, slot);
        for _ in 0..20 {
            assert_eq!(pipe.control(UNKNOWN, &[], SHORT), Err(UsbError::Stall), "slot {slot}");
            assert!(!pipe.control(VERSION, &[], SHORT).unwrap().is_empty(), "slot {slot}");
        }
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn two_devices_with_one_serial_are_two() {
    let lab = Lab::scenario(
        &super::lab::scenario(&["argon", "argon\nshows-id-of = 1"]),
        &keyrack::cli::rig::Options::default(),
    );
    lab.settled(2);
    let bus = bus();
    let both = bus.list().unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].serial, both[1].serial);
    assert_ne!(both[0].port, both[1].port);
    for one in &both {
        assert!(!bus.open(one).unwrap().control(VERSION, &[], SHORT).unwrap().is_empty());
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn a_device_that_is_pulled_out_under_a_request_is_gone_and_the_others_go_on() {
    let lab = Lab::of(&["argon", "p2", "photon\nos = \"2.3.1\"", "boron"]);
    lab.settled(4);
    let bus = bus();
    let mut neighbour = open(&bus, &lab, 4);
    for slot in 1..=3 {
        for moment in [Moment::Before, Moment::During, Moment::After] {
            let mut pipe = open(&bus, &lab, slot);
            let device = lab.device(slot);
            let pulled = Arc::<Mutex<Option<_>>>::default();
            let (hand, world, port) = (Arc::clone(&pulled), lab.world().clone(), lab.port(slot));
            lab.world().observe(Arc::new(move |point| {
                if point.device == device && point.moment == moment && point.setup == VERSION {
                    *hand.lock().unwrap() = world.unplug(&port).ok();
                }
                Cut::None
            }));
            let begun = now();
            let result = pipe.control(VERSION, &[], LONG);
            let took = now().since(begun);
            lab.world().observe_no_more();
            // What was answered before the device went may still arrive.
            assert!(
                matches!(result, Err(UsbError::Gone | UsbError::Io)) || moment == Moment::After && result.is_ok(),
                "slot {slot}, {moment:?}: {result:?}"
            );
            assert!(took < LONG / 2, "slot {slot}, {moment:?}: after {took:?}");
            until("it is not listed any more", || listed(&bus, &lab, slot).is_none());
            assert!(
                !neighbour.control(VERSION, &[], SHORT).unwrap().is_empty(),
                "the neighbour goes on"
            );
            assert!(
                matches!(pipe.control(VERSION, &[], SHORT), Err(UsbError::Gone)),
                "a pipe does not come back to life"
            );
            drop(pipe);
            let device = pulled.lock().unwrap().take().expect("it was pulled out");
            lab.world().plug(&lab.port(slot), device).unwrap();
            let mut again = open(&bus, &lab, slot);
            assert!(
                !again.control(VERSION, &[], SHORT).unwrap().is_empty(),
                "slot {slot}, {moment:?}"
            );
        }
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn a_device_that_never_answers_costs_its_timeout_and_no_more() {
    let lab = Lab::of(&["p2", "argon"]);
    lab.settled(2);
    let bus = bus();
    let (mut hangs, mut neighbour) = (open(&bus, &lab, 1), open(&bus, &lab, 2));
    // An OUT request without data never ends on this family (device-protocol.md 1.1).
    let begun = now();
    let endless = Setup {
        request_type: 0x40,
        request: 0x50,
        value: 0,
        index: 10,
        length: 0,
    };
    assert_eq!(lab.rig.scenario.slots[&1].platform.number(), 32);
    assert_eq!(
        hangs.control(endless, &[], Duration::from_millis(500)),
        Err(UsbError::Timeout)
    );
    let took = now().since(begun);
    assert!(took >= Duration::from_millis(450) && took < LONG / 2, "{took:?}");
    assert!(!neighbour.control(VERSION, &[], SHORT).unwrap().is_empty());
    assert!(
        !hangs.control(VERSION, &[], SHORT).unwrap().is_empty(),
        "it is unlinked and forgotten"
    );
}

/// The version of Device OS: request 30 (device-protocol.md 2.2).
const VERSION: Setup = Setup {
    request_type: 0xc0,
    request: 0x50,
    value: 0,
    index: 30,
    length: 64,
};
/// A vendor request that nobody knows.
const UNKNOWN: Setup = Setup {
    request_type: 0xc0,
    request: 0x77,
    value: 0,
    index: 0,
    length: 64,
};
/// More than an answer takes on a host that is busy with other things.
const SHORT: Duration = Duration::from_secs(20);
/// What nobody may wait for.
const LONG: Duration = Duration::from_secs(60);
