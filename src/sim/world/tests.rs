use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::{
    edge::{Attached, Bus, Pipe, Setup, UsbError},
    sim::device::{Counters, Spec, StartKey, Timing},
};

use super::{hubs::default_port, *};

const SECOND: Duration = Duration::from_secs(1);

fn id(n: u8) -> DeviceId {
    DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 0, n])
}

fn argon(n: u8) -> Device {
    let spec = Spec {
        id: id(n),
        platform: 12,
        seed: u64::from(n),
        ..Spec::default()
    };
    Device::new(spec, Timing::default())
}

/// Runs `body` with a world of argons in slots 1 to `count`, all on the bus.
fn rack(count: u8, body: impl FnOnce(&VirtualClock, &World)) {
    VirtualClock::run(|clock| {
        let world = World::on_virtual_clock(clock);
        for n in 1..=count {
            world.plug(&default_port(u16::from(n)), argon(n)).unwrap();
        }
        clock.sleep(Timing::default().boot);
        assert_eq!(world.bus().list().unwrap().len(), usize::from(count));
        body(clock, &world);
    });
}

fn at(world: &World, slot: u16) -> Option<Attached> {
    let list = world.bus().list().unwrap();
    list.into_iter().find(|a| a.port == default_port(slot))
}

fn open(world: &World, slot: u16) -> WorldPipe {
    world.bus().open_pipe(&at(world, slot).expect("attached")).unwrap()
}

fn setup(request_type: u8, request: u8, value: u16, index: u16, length: u16) -> Setup {
    Setup {
        request_type,
        request,
        value,
        index,
        length,
    }
}

/// The version: answered from the interrupt handler, without further effects.
pub(super) const VERSION: Setup = Setup {
    request_type: 0xc0,
    request: 0x50,
    value: 0,
    index: 30,
    length: 64,
};

/// Asks for DFU mode and waits until the device is back in it.
fn enter_dfu(world: &World, clock: &dyn Clock, slot: u16) -> WorldPipe {
    let mut pipe = open(world, slot);
    pipe.control(setup(0xc0, 1, 0, 50, 64), &[], SECOND).unwrap();
    clock.sleep(Duration::from_millis(100));
    let reply = pipe.control(setup(0xc0, 2, 0, 1, 64), &[], SECOND).unwrap();
    assert_eq!(reply[..6], [9, 0, 0, 0, 0, 0], "status and result, status OK");
    let deadline = clock.now() + 10 * SECOND;
    let changed = world.bus().changed();
    loop {
        let seen = changed.raised();
        if at(world, slot).is_some_and(|a| a.product == 0xd00c) {
            break;
        }
        assert!(clock.now() < deadline, "no DFU mode");
        clock.wait(&changed, seen, Some(deadline));
    }
    let mut pipe = open(world, slot);
    pipe.claim(0).unwrap();
    pipe
}

fn status(pipe: &mut WorldPipe) -> Result<u8, UsbError> {
    pipe.control(setup(0xa1, 3, 0, 0, 6), &[], SECOND).map(|record| record[4])
}

fn download(pipe: &mut WorldPipe, block: u16, data: &[u8]) -> Result<u8, UsbError> {
    let length = u16::try_from(data.len()).unwrap();
    pipe.control(setup(0x21, 1, block, 0, length), data, SECOND)?;
    status(pipe)?;
    status(pipe)
}

fn erase(pipe: &mut WorldPipe, address: u32) -> Result<u8, UsbError> {
    let mut command = vec![0x41];
    command.extend(address.to_le_bytes());
    download(pipe, 0, &command)
}

fn counters(world: &World, n: u8) -> Counters {
    world.with_device(id(n), |device| device.counters().clone()).unwrap()
}

#[test]
fn a_device_comes_onto_the_bus_exactly_when_it_has_booted() {
    VirtualClock::run(|clock| {
        let world = World::on_virtual_clock(clock);
        let bus = world.bus();
        clock.sleep(60 * SECOND);
        world.plug(&default_port(3), argon(3)).unwrap();
        assert!(matches!(world.plug(&default_port(3), argon(4)), Err(PortError::Taken(_))));
        assert_eq!(bus.list().unwrap(), [], "not before it has booted");
        let changed = bus.changed();
        clock.wait(&changed, changed.raised(), None);
        assert_eq!(clock.now(), Mono(60 * SECOND + Timing::default().boot));
        let list = bus.list().unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].vendor, list[0].product, list[0].address), (0x2b04, 0xc00c, 1));
        assert_eq!(list[0].serial.as_deref(), Some("e00fce680000000000000003"));
    });
}

#[test]
fn a_transfer_takes_its_time_and_devices_work_side_by_side() {
    rack(4, |clock, world| {
        let start = clock.now();
        let mut pipe = open(world, 1);
        assert_eq!(pipe.control(VERSION, &[], SECOND).unwrap(), b"6.2.0");
        let alone = clock.now().since(start);
        assert!(alone >= Timing::default().transfer);

        let start = clock.now();
        let joiners: Vec<_> = (1..=4)
            .map(|slot| {
                let world = world.clone();
                clock.spawn(
                    "slot",
                    Box::new(move || drop(open(&world, slot).control(VERSION, &[], SECOND).unwrap())),
                )
            })
            .collect();
        joiners.into_iter().for_each(|joiner| joiner().unwrap());
        assert_eq!(clock.now().since(start), alone, "four at a time");

        let start = clock.now();
        let joiners: Vec<_> = (0..4)
            .map(|_| {
                let world = world.clone();
                clock.spawn(
                    "same",
                    Box::new(move || drop(open(&world, 1).control(VERSION, &[], SECOND).unwrap())),
                )
            })
            .collect();
        joiners.into_iter().for_each(|joiner| joiner().unwrap());
        assert_eq!(clock.now().since(start), 4 * alone, "one device does one thing at a time");
    });
}

#[test]
fn re_enumeration_gives_a_new_address_and_ends_old_pipes() {
    rack(2, |clock, world| {
        let mut old = open(world, 1);
        let before = at(world, 1).unwrap();
        let mut dfu = enter_dfu(world, clock, 1);
        let after = at(world, 1).unwrap();
        assert_eq!((before.address, after.address), (1, 3), "2 is the neighbour's");
        assert_eq!(old.control(VERSION, &[], SECOND), Err(UsbError::Gone));
        assert!(matches!(world.bus().open(&before), Err(UsbError::Gone)));
        assert_eq!(status(&mut dfu), Ok(2), "dfuIDLE");
    });
}

#[test]
fn an_interface_belongs_to_who_claimed_it() {
    rack(1, |clock, world| {
        let mut first = enter_dfu(world, clock, 1);
        let mut second = open(world, 1);
        assert_eq!(second.claim(0), Err(UsbError::Busy));
        assert_eq!(status(&mut second), Err(UsbError::Busy));
        assert_eq!(
            second.control(setup(0x80, 6, 0x100, 0, 18), &[], SECOND).unwrap().len(),
            18,
            "the device is everybody's"
        );
        assert_eq!(first.claim(0), Ok(()), "twice does no harm");
        drop(first);
        assert_eq!(status(&mut second), Err(UsbError::Io), "nobody has claimed it");
        assert_eq!(second.claim(0), Ok(()));
        assert_eq!(second.set_alternate(0, 1), Ok(()));
        assert_eq!(status(&mut second), Ok(2));
    });
}

#[test]
fn what_breaks_the_rules_of_usb_fails() {
    rack(1, |_, world| {
        let mut pipe = open(world, 1);
        assert_eq!(
            pipe.control(VERSION, &[1], SECOND),
            Err(UsbError::Io),
            "data for an IN transfer"
        );
        assert_eq!(
            pipe.control(setup(0x40, 0x50, 0, 302, 2), &[1], SECOND),
            Err(UsbError::Io),
            "too little"
        );
        assert_eq!(
            pipe.control(setup(0xc0, 1, 0, 20, 63), &[], SECOND),
            Err(UsbError::Stall),
            "wLength 63"
        );
        assert_eq!(world.transfers(id(1)), 1, "only the last one reached the device");
    });
}

#[test]
fn pulling_the_cable_ends_a_transfer_at_once() {
    rack(1, |clock, world| {
        let mut pipe = enter_dfu(world, clock, 1);
        let half = Timing::default().nrf_erase / 2;
        let mut command = vec![0x41];
        command.extend(0xb_4000u32.to_le_bytes());
        pipe.control(setup(0x21, 1, 0, 0, 5), &command, SECOND).unwrap();
        let pulled = clock.now() + half;
        let world2 = world.clone();
        clock.at(pulled, Box::new(move || drop(world2.unplug(&default_port(1)).unwrap())));
        assert_eq!(status(&mut pipe), Err(UsbError::Gone));
        assert_eq!(clock.now(), pulled);
        assert!(world.devices().is_empty());
        assert!(matches!(world.unplug(&default_port(1)), Err(PortError::Empty(_))));
    });
}

#[test]
fn a_device_that_hangs_costs_the_timeout_and_a_canceller_ends_it() {
    rack(1, |clock, world| {
        let mut pipe = enter_dfu(world, clock, 1);
        // Longer than the transfer buffer: the bootloader of an nRF52840 never answers.
        let start = clock.now();
        let result = pipe.control(setup(0x21, 1, 2, 0, 4097), &[0; 4097], 3 * SECOND);
        assert_eq!((result, clock.now().since(start)), (Err(UsbError::Timeout), 3 * SECOND));
    });
    rack(1, |clock, world| {
        let mut pipe = enter_dfu(world, clock, 1);
        let canceller = pipe.canceller();
        clock.at(clock.now() + 7 * SECOND, Box::new(move || canceller.cancel()));
        let start = clock.now();
        let result = pipe.control(setup(0x21, 1, 2, 0, 4097), &[0; 4097], Duration::ZERO);
        assert_eq!(
            (result, clock.now().since(start)),
            (Err(UsbError::Timeout), 7 * SECOND),
            "zero is no timeout"
        );
    });
}

#[test]
fn a_timeout_below_the_time_of_a_transfer_leaves_the_device_busy() {
    rack(1, |clock, world| {
        let mut pipe = enter_dfu(world, clock, 1);
        let mut command = vec![0x41];
        command.extend(0xb_4000u32.to_le_bytes());
        pipe.control(setup(0x21, 1, 0, 0, 5), &command, SECOND).unwrap();
        let start = clock.now();
        let early = pipe.control(setup(0xa1, 3, 0, 0, 6), &[], Duration::from_millis(10));
        assert_eq!(
            (early, clock.now().since(start)),
            (Err(UsbError::Timeout), Duration::from_millis(10))
        );
        status(&mut pipe).unwrap();
        assert!(
            clock.now().since(start) > Timing::default().nrf_erase,
            "the next one waits for the first"
        );
    });
}

#[test]
fn a_power_cut_takes_all_and_gives_back_all() {
    rack(3, |clock, world| {
        world.power_cut(Some(id(2)), SECOND);
        assert!(at(world, 1).is_some() && at(world, 2).is_none() && at(world, 3).is_some());
        world.power_cut(None, 5 * SECOND);
        assert_eq!(world.bus().list().unwrap(), []);
        clock.sleep(SECOND + Timing::default().boot);
        assert_eq!(world.bus().list().unwrap().len(), 1, "the second was cut by its own cut only");
        clock.sleep(4 * SECOND);
        assert_eq!(world.bus().list().unwrap().len(), 3);
        let addresses: Vec<u16> = world.bus().list().unwrap().iter().map(|a| a.address).collect();
        assert_eq!(addresses, [5, 4, 6]);
    });
}

#[test]
fn a_hub_takes_its_own_ports_along() {
    VirtualClock::run(|clock| {
        let world = World::on_virtual_clock(clock);
        for slot in [1, 8, 9] {
            world.plug(&default_port(slot), argon(u8::try_from(slot).unwrap())).unwrap();
        }
        clock.sleep(Timing::default().boot);
        world.hub_off(hubs::CONTROLLER, &[1], SECOND);
        assert!(at(&world, 1).is_none() && at(&world, 8).is_none() && at(&world, 9).is_some());
    });
}

#[test]
fn devices_move_and_change_places() {
    rack(2, |clock, world| {
        let (one, two, five) = (default_port(1), default_port(2), default_port(5));
        assert!(matches!(world.relocate(&one, &two), Err(PortError::Taken(_))));
        assert!(matches!(world.relocate(&five, &one), Err(PortError::Taken(_))));
        assert!(matches!(world.swap(&one, &five), Err(PortError::Empty(_))));
        assert_eq!(world.bus().list().unwrap().len(), 2, "nothing was done");
        world.swap(&one, &two).unwrap();
        assert_eq!(world.bus().list().unwrap(), [], "both lost their power");
        clock.sleep(Timing::default().boot);
        assert_eq!(at(world, 1).unwrap().serial, Some(id(2).to_string()));
        world.relocate(&one, &five).unwrap();
        clock.sleep(Timing::default().boot);
        assert_eq!(world.devices(), [(id(1), Some(two)), (id(2), Some(five))]);
    });
}

fn mishap(device: u8, when: When, deed: Deed) -> Mishap {
    Mishap {
        label: "mishap".to_owned(),
        device: Some(id(device)),
        when,
        deed,
    }
}

fn fired(world: &World) -> Vec<bool> {
    world.mishaps().into_iter().map(|m| m.fired).collect()
}

#[test]
fn unplugged_while_erasing_and_back_in_another_slot() {
    rack(1, |clock, world| {
        let when = When::Phase {
            phase: Phase::Erase,
            nth: 2,
        };
        let deed = Deed::Unplug {
            back_after: Some(3 * SECOND),
            port: Some(default_port(4)),
        };
        world.arm([mishap(1, when, deed)]);
        let mut pipe = enter_dfu(world, clock, 1);
        erase(&mut pipe, 0xb_4000).unwrap();
        assert_eq!(fired(world), [false]);
        assert_eq!(erase(&mut pipe, 0xb_5000), Err(UsbError::Gone));
        assert_eq!(fired(world), [true]);
        assert_eq!(counters(world, 1).torn, 1, "the erase was half-way through");
        assert_eq!(world.devices(), [(id(1), None)]);
        clock.sleep(3 * SECOND);
        assert_eq!(world.devices(), [(id(1), Some(default_port(4)))]);
    });
}

#[test]
fn swapped_while_the_first_re_enumerates() {
    rack(2, |clock, world| {
        let when = When::Phase {
            phase: Phase::Detached,
            nth: 1,
        };
        let deed = Deed::Swap {
            with: id(2),
            gap: SECOND,
        };
        world.arm([mishap(1, when, deed)]);
        let mut pipe = open(world, 1);
        pipe.control(setup(0xc0, 1, 0, 50, 64), &[], SECOND).unwrap();
        clock.sleep(Duration::from_millis(100));
        pipe.control(setup(0xc0, 2, 0, 1, 64), &[], SECOND).unwrap();
        clock.sleep(2 * SECOND + 2 * Timing::default().boot);
        assert_eq!(fired(world), [true]);
        assert_eq!(at(world, 1).unwrap().serial, Some(id(2).to_string()));
        assert_eq!(at(world, 2).unwrap().serial, Some(id(1).to_string()));
    });
}

#[test]
fn mishaps_strike_their_transfer_and_no_other() {
    rack(2, |clock, world| {
        world.arm([
            mishap(1, When::Transfer(2), Deed::Garble),
            mishap(1, When::Transfer(4), Deed::PowerCut { off: SECOND }),
            mishap(1, When::Transfer(400), Deed::Garble),
            mishap(
                2,
                When::Phase {
                    phase: Phase::Request,
                    nth: 1,
                },
                Deed::Inject(DeviceMishap::AppHangs),
            ),
        ]);
        let mut pipe = open(world, 1);
        let answers: Vec<_> = (0..4).map(|_| pipe.control(VERSION, &[], SECOND)).collect();
        assert_eq!(answers[0].as_deref(), Ok(&b"6.2.0"[..]));
        assert_eq!(answers[1].as_deref(), Ok(&b"7.2.0"[..]), "one bit");
        assert_eq!(answers[2], answers[0]);
        assert_eq!(answers[3], Err(UsbError::Gone));
        assert!(at(world, 2).is_some(), "only the first device lost its power");
        assert_eq!(fired(world), [true, true, false, false]);
        clock.sleep(SECOND + Timing::default().boot);
        assert!(at(world, 1).is_some());
    });
}

#[test]
fn an_injected_mishap_bites_in_the_transfer_that_it_was_meant_for() {
    rack(1, |clock, world| {
        let when = When::Phase {
            phase: Phase::FlashRead,
            nth: 2,
        };
        world.arm([mishap(1, when, Deed::Inject(DeviceMishap::ShortRead))]);
        let mut pipe = enter_dfu(world, clock, 1);
        let mut read = || pipe.control(setup(0xa1, 2, 2, 0, 64), &[], SECOND).map(|d| d.len());
        assert_eq!(read(), Ok(64));
        assert_eq!(fired(world), [false]);
        assert_eq!(read(), Ok(32));
        assert_eq!(fired(world), [true]);
    });
}

#[test]
fn the_wall_clock_jumps_when_it_was_said_to() {
    VirtualClock::run(|clock| {
        let world = World::on_virtual_clock(clock);
        let before = clock.wall().millis();
        world.arm([Mishap {
            label: "jump".to_owned(),
            device: None,
            when: When::At(Mono(2 * SECOND)),
            deed: Deed::ClockJump(-3_600_000),
        }]);
        clock.sleep(3 * SECOND);
        assert_eq!(clock.wall().millis() - before, 3_000 - 3_600_000);
        assert_eq!(fired(&world), [true]);
    });
}

#[test]
fn an_observer_sees_each_moment_and_can_cut_the_devices() {
    rack(2, |clock, world| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        world.observe(Arc::new(move |point| {
            log.lock()
                .unwrap()
                .push((point.device, point.index, point.overall, point.moment, point.phase));
            if point.index == 1 && point.moment == Moment::During {
                Cut::Devices
            } else {
                Cut::None
            }
        }));
        let (mut one, mut two) = (open(world, 1), open(world, 2));
        two.control(VERSION, &[], SECOND).unwrap();
        one.control(VERSION, &[], SECOND).unwrap();
        assert_eq!(one.control(VERSION, &[], SECOND), Err(UsbError::Gone));
        assert_eq!(
            two.control(VERSION, &[], SECOND),
            Err(UsbError::Gone),
            "the power was cut for all"
        );
        let request = Some(Phase::Request);
        use Moment::{After, Before, During};
        let expected = [
            (id(2), 0, 0, Before, request),
            (id(2), 0, 0, During, request),
            (id(2), 0, 0, After, request),
            (id(1), 0, 1, Before, request),
            (id(1), 0, 1, During, request),
            (id(1), 0, 1, After, request),
            (id(1), 1, 2, Before, request),
            (id(1), 1, 2, During, request),
        ];
        assert_eq!(*seen.lock().unwrap(), expected);
        world.observe_no_more();
        clock.sleep(POWER_CUT + Timing::default().boot);
        assert_eq!(world.bus().list().unwrap().len(), 2);
    });
}

#[test]
fn a_cut_station_ends_in_the_middle_of_its_transfer() {
    for (moment, reached) in [(Moment::Before, 0), (Moment::During, 1), (Moment::After, 1)] {
        rack(1, |clock, world| {
            let (group, steps) = (clock.group(), Arc::new(AtomicU32::new(0)));
            world.observe(Arc::new(
                move |point| if point.moment == moment { Cut::Station } else { Cut::None },
            ));
            let killer = Arc::clone(&group);
            world.on_station_cut(Arc::new(move || killer.kill()));
            let transfers = counters(world, 1).transfers;
            let (world2, steps2) = (world.clone(), Arc::clone(&steps));
            let worker = group.spawn(
                "worker",
                Box::new(move || {
                    let mut pipe = open(&world2, 1);
                    steps2.fetch_add(1, Ordering::Relaxed);
                    let _ = pipe.control(VERSION, &[], SECOND);
                    steps2.fetch_add(1, Ordering::Relaxed);
                }),
            );
            assert!(crate::sim::clock::Killed::is(&*worker().unwrap_err()));
            group.join();
            assert_eq!(steps.load(Ordering::Relaxed), 1, "not a statement more");
            assert_eq!(counters(world, 1).transfers - transfers, reached);
            world.observe_no_more();
            assert_eq!(
                open(world, 1).control(VERSION, &[], SECOND).unwrap(),
                b"6.2.0",
                "the device goes on"
            );
        });
    }
}

struct FakeCloud {
    calls: AtomicU64,
}

impl CloudSide for FakeCloud {
    fn dial(&self, _: Wall, dial: &Dial) -> Dialled {
        self.calls.fetch_add(1, Ordering::Relaxed);
        assert_eq!(dial.id, id(7));
        Dialled::Connected {
            session: vec![1, 2, 3],
            resumed: dial.session.is_some(),
        }
    }
}

fn boron() -> Device {
    let spec = Spec {
        id: id(7),
        key: StartKey::Valid,
        ..Spec::default()
    };
    Device::new(spec, Timing::default())
}

#[test]
fn devices_dial_the_cloud_that_is_there() {
    VirtualClock::run(|clock| {
        let world = World::on_virtual_clock(clock);
        world.plug(&default_port(1), boron()).unwrap();
        clock.sleep(30 * SECOND);
        assert!(counters(&world, 7).dials >= 1);
        assert!(!world.with_device(id(7), |d| d.connected()).unwrap(), "no route yet");
        let cloud = Arc::new(FakeCloud {
            calls: AtomicU64::new(0),
        });
        world.set_cloud(Arc::clone(&cloud) as _);
        clock.sleep(120 * SECOND);
        assert_eq!(cloud.calls.load(Ordering::Relaxed), 1);
        assert!(world.with_device(id(7), |d| d.connected()).unwrap());
    });
}

#[test]
fn a_world_is_stored_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (key, dct) = VirtualClock::run(|clock| {
        let world = World::on_virtual_clock(clock);
        assert_eq!(world.load(dir.path()).unwrap(), 0, "nothing is stored yet");
        world.plug(&default_port(2), boron()).unwrap();
        world.plug(&default_port(1), argon(1)).unwrap();
        let out = mishap(
            1,
            When::At(Mono(SECOND)),
            Deed::Unplug {
                back_after: None,
                port: None,
            },
        );
        world.arm([out]);
        clock.sleep(20 * SECOND);
        world.save(dir.path()).unwrap();
        world.with_device(id(7), |d| (d.key_spki(), d.dct().to_vec())).unwrap()
    });
    assert_eq!(std::fs::read(dir.path().join(format!("{}.dct", id(7)))).unwrap(), dct);
    VirtualClock::run(|clock| {
        let world = World::on_virtual_clock(clock);
        clock.sleep(500 * SECOND);
        assert_eq!(world.load(dir.path()).unwrap(), 2);
        assert_eq!(world.devices(), [(id(7), Some(default_port(2))), (id(1), None)]);
        assert_eq!(world.bus().list().unwrap(), [], "its power was off meanwhile");
        clock.sleep(Timing::default().boot);
        assert_eq!(world.bus().list().unwrap().len(), 1);
        assert_eq!(world.with_device(id(7), |d| d.key_spki()).unwrap(), key);
        assert!(key.is_some());
        assert!(matches!(world.load(dir.path()), Err(store::StoreError::Port { .. })));
    });
    let list = dir.path().join("world.json");
    for (text, part) in [("{", "not the list"), ("{\"format\":9,\"devices\":[]}", "format 9")] {
        std::fs::write(&list, text).unwrap();
        VirtualClock::run(|clock| {
            let error = World::on_virtual_clock(clock).load(dir.path()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        });
    }
}

#[test]
fn in_real_time_a_thread_drives_the_world() {
    let clock: Arc<dyn Clock> = Arc::new(crate::edge::clock::SystemClock::new());
    let world = World::in_real_time(Arc::clone(&clock));
    let spec = Spec {
        id: id(1),
        platform: 12,
        ..Spec::default()
    };
    let timing = Timing {
        boot: Duration::from_millis(20),
        ..Timing::instant()
    };
    let (changed, deadline) = (world.bus().changed(), clock.now() + 20 * SECOND);
    let seen = changed.raised();
    world.plug(&default_port(1), Device::new(spec, timing)).unwrap();
    clock.wait(&changed, seen, Some(deadline));
    assert_eq!(open(&world, 1).control(VERSION, &[], SECOND).unwrap(), b"6.2.0");
    let mut seen = changed.raised();
    world.power_cut(None, Duration::from_millis(10));
    while at(&world, 1).is_none_or(|a| a.address < 2) {
        assert!(clock.now() < deadline);
        seen = clock.wait(&changed, seen, Some(deadline));
    }
}
