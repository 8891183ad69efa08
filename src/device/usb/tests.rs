//! The bus over a sysfs tree of its own and a host that does what it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    device::script::TestClock,
    edge::{Bus, Clock, Setup},
};

use super::{host::Handle, tree::Tree, *};

/// What a device is to say to attempts to open it, and what was asked of it.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Acts>>);

#[derive(Default)]
struct Acts {
    opens: VecDeque<UsbError>,
    opened: Vec<(u8, u8)>,
    pumps: VecDeque<Result<(), UsbError>>,
    timeouts: Vec<Duration>,
    answer: Option<UsbError>,
    short: bool,
}

impl Fake {
    fn acts(&self) -> MutexGuard<'_, Acts> {
        self.0.lock().unwrap()
    }
}

impl Host for Fake {
    fn open(&self, bus: u8, number: u8) -> Result<Box<dyn Handle>, UsbError> {
        let mut acts = self.acts();
        acts.opened.push((bus, number));
        match acts.opens.pop_front() {
            Some(error) => Err(error),
            None => Ok(Box::new(self.clone())),
        }
    }

    fn pump(&self, _: Duration) -> Result<(), UsbError> {
        self.acts().pumps.pop_front().unwrap_or(Ok(()))
    }
}

impl Handle for Fake {
    fn read(&self, _: Setup, buffer: &mut [u8], timeout: Duration) -> Result<usize, UsbError> {
        let mut acts = self.acts();
        acts.timeouts.push(timeout);
        buffer.fill(7);
        acts.answer.map_or(Ok(buffer.len() / 2), Err)
    }

    fn write(&self, _: Setup, data: &[u8], timeout: Duration) -> Result<usize, UsbError> {
        let mut acts = self.acts();
        acts.timeouts.push(timeout);
        acts.answer.map_or(Ok(data.len() - usize::from(acts.short)), Err)
    }

    fn claim(&self, _: u8) -> Result<(), UsbError> {
        self.acts().answer.map_or(Ok(()), Err)
    }

    fn alternate(&self, _: u8, _: u8) -> Result<(), UsbError> {
        self.acts().answer.map_or(Ok(()), Err)
    }
}

/// A machine with one controller (bus 3), and the bus over it.
struct Machine {
    tree: Tree,
    host: Fake,
    clock: Arc<TestClock>,
    bus: UsbBus,
}

impl Machine {
    fn new() -> Self {
        let (tree, host, clock) = (Tree::new(), Fake::default(), Arc::new(TestClock::default()));
        tree.controller("pci0000:00/0000:00:14.0", "pci", 3);
        let shared = Shared::new(
            clock.clone(),
            &tree.devices(),
            Box::new(host.clone()),
            Signal::new(),
            Arc::default(),
        );
        let bus = UsbBus(shared);
        Self { tree, host, clock, bus }
    }

    fn plug(&self, ports: &str, number: u8) {
        self.tree.plug(3, ports, 0x2b04, 0xc00c, number, Some(ID));
    }

    fn ports(&self) -> Vec<String> {
        self.bus.list().unwrap().iter().map(|a| a.port.to_string()).collect()
    }

    fn turns(&self, n: usize) {
        let mut looked = self.clock.now();
        for _ in 0..n {
            self.clock.sleep(PUMP);
            self.bus.0.turn(&mut looked);
        }
    }
}

const ID: &str = "e00fce680123456789abcdef";

#[test]
fn only_devices_of_the_platform_table_are_listed_and_twins_are_told_apart_by_their_ports() {
    let machine = Machine::new();
    machine.plug("1.1", 5);
    machine.plug("1.2", 6);
    machine.tree.plug(3, "2", 0x046d, 0xc00c, 7, Some("a mouse"));
    machine.tree.plug(3, "4", 0x2b04, 0xd006, 8, None);
    let list = machine.bus.list().unwrap();
    let ports: Vec<String> = list.iter().map(|a| a.port.to_string()).collect();
    assert_eq!(ports, ["pci-0000:00:14.0/1.1", "pci-0000:00:14.0/1.2", "pci-0000:00:14.0/4"]);
    assert_eq!((list[0].serial.as_deref(), list[1].serial.as_deref()), (Some(ID), Some(ID)));
    assert_eq!(
        (list[2].vendor, list[2].product, list[2].serial.as_deref()),
        (0x2b04, 0xd006, None)
    );
    machine.bus.open(&list[1]).unwrap();
    assert_eq!(
        machine.host.acts().opened,
        [(3, 6)],
        "by its port, whatever its serial number"
    );
}

#[test]
fn a_device_that_is_not_ours_to_open_yet_is_tried_for_a_second_after_its_arrival() {
    for soon in [UsbError::Access, UsbError::Gone] {
        let machine = Machine::new();
        machine.plug("1", 5);
        let attached = machine.bus.list().unwrap().remove(0);
        machine.host.acts().opens = VecDeque::from([soon; 4]);
        machine.bus.open(&attached).unwrap();
        assert_eq!(machine.clock.now().0, PAUSE * 4);

        machine.host.acts().opens = VecDeque::from([soon; 100]);
        let error = machine.bus.open(&attached).err().unwrap();
        assert_eq!(
            error,
            UsbError::Access,
            "what is plugged in and has no node is no device that left"
        );
        assert_eq!(machine.clock.now().0, PATIENCE, "the time counts from the arrival");

        machine.host.acts().opened.clear();
        assert!(machine.bus.open(&attached).is_err());
        assert_eq!(
            machine.host.acts().opened.len(),
            1,
            "a device that is here for long is not tried again"
        );
    }
}

#[test]
fn what_cannot_be_opened_for_another_reason_fails_at_once_and_disturbs_nobody() {
    let machine = Machine::new();
    machine.plug("1", 5);
    machine.plug("2", 6);
    let list = machine.bus.list().unwrap();
    machine.host.acts().opens = VecDeque::from([UsbError::Busy]);
    assert_eq!(machine.bus.open(&list[0]).err(), Some(UsbError::Busy));
    assert_eq!(machine.clock.now().0, Duration::ZERO);
    machine.bus.open(&list[1]).unwrap();
}

#[test]
fn an_attachment_that_is_over_is_never_opened_again() {
    let machine = Machine::new();
    machine.plug("1", 5);
    let before = machine.bus.list().unwrap().remove(0);
    machine.tree.unplug(3, "1");
    assert_eq!(machine.bus.open(&before).err(), Some(UsbError::Gone));
    machine.plug("1", 6);
    assert_eq!(
        machine.bus.open(&before).err(),
        Some(UsbError::Gone),
        "another attachment on its port"
    );
    assert_eq!(machine.host.acts().opened, []);
    let after = machine.bus.list().unwrap().remove(0);
    machine.bus.open(&after).unwrap();
}

#[test]
fn a_device_that_leaves_while_it_is_waited_for_is_gone() {
    let machine = Machine::new();
    machine.plug("1", 5);
    let attached = machine.bus.list().unwrap().remove(0);
    machine.clock.sleep(PATIENCE);
    machine.host.acts().opens = VecDeque::from([UsbError::Gone]);
    machine.tree.lose(3, "1", "devnum");
    assert_eq!(machine.bus.open(&attached).err(), Some(UsbError::Gone));
}

#[test]
fn the_ports_are_looked_at_often_until_announcements_come_and_now_and_then_for_ever() {
    let machine = Machine::new();
    let raised = || machine.bus.changed().raised();
    machine.plug("1", 5);
    machine.turns(1);
    assert_eq!(raised(), 1, "found without an announcement");
    machine.bus.0.announced.fetch_add(1, Ordering::Relaxed);
    machine.plug("2", 6);
    machine.turns(9);
    assert_eq!(raised(), 1, "announcements are believed for a while");
    machine.turns(10);
    assert_eq!(raised(), 2, "and not for ever");
    assert_eq!(machine.ports().len(), 2);
    assert_eq!(raised(), 2, "a look that finds nothing new raises nothing");
}

#[test]
fn a_pump_that_fails_does_not_spin_and_the_ports_are_looked_at_all_the_same() {
    let machine = Machine::new();
    machine.host.acts().pumps = VecDeque::from([Err(UsbError::Io); 3]);
    let before = machine.clock.now();
    machine.plug("1", 5);
    machine.turns(3);
    assert_eq!(machine.clock.now().since(before), PUMP * 6, "each failure costs a pause");
    assert_eq!(machine.bus.changed().raised(), 1);
}

#[test]
fn no_usb_any_more_is_an_error_of_the_bus() {
    let machine = Machine::new();
    std::fs::remove_dir_all(machine.tree.devices()).unwrap();
    assert!(machine.bus.list().unwrap_err().what.contains("no USB devices"));
}

fn pipe(host: &Fake) -> UsbPipe {
    UsbPipe::new(Box::new(host.clone()))
}

const fn setup(request_type: u8, length: u16) -> Setup {
    Setup {
        request_type,
        request: 0x50,
        value: 0,
        index: 20,
        length,
    }
}

#[test]
fn no_transfer_waits_for_ever() {
    let host = Fake::default();
    let mut pipe = pipe(&host);
    for timeout in [
        Duration::ZERO,
        Duration::from_micros(999),
        Duration::from_millis(5),
        Duration::MAX,
    ] {
        pipe.control(setup(0xc0, 8), &[], timeout).unwrap();
        pipe.control(setup(0x40, 1), &[1], timeout).unwrap();
    }
    let millis: Vec<u128> = host.acts().timeouts.iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [1, 1, 1, 1, 5, 5, 30_000, 30_000]);
}

#[test]
fn a_pipe_gives_what_came_and_passes_errors_on() {
    let host = Fake::default();
    let mut pipe = pipe(&host);
    let second = Duration::from_secs(1);
    assert_eq!(
        pipe.control(setup(0xc0, 8), &[], second).unwrap(),
        [7; 4],
        "a device may send fewer"
    );
    assert!(pipe.control(setup(0x40, 0), &[], second).unwrap().is_empty());
    assert_eq!(
        pipe.control(setup(0x40, 2), &[1], second),
        Err(UsbError::Io),
        "the lengths differ"
    );
    host.acts().short = true;
    assert_eq!(
        pipe.control(setup(0x40, 1), &[1], second),
        Err(UsbError::Io),
        "not all of it went"
    );
    for error in [UsbError::Stall, UsbError::Timeout, UsbError::Gone, UsbError::Busy] {
        host.acts().answer = Some(error);
        assert_eq!(pipe.control(setup(0xc0, 8), &[], second), Err(error));
        assert_eq!(pipe.claim(0), Err(error));
        assert_eq!(pipe.set_alternate(0, 1), Err(error));
    }
}
