use std::{os::unix::net::UnixStream, sync::Arc, time::Duration};

use crate::{
    edge::{Attached, Bus, Clock, Setup, UsbError, clock::SystemClock},
    model::DeviceId,
    sim::{
        device::{Device, Spec, Timing},
        world::{World, hubs::default_port, tests::VERSION},
    },
};

use super::{
    usbip::{Command, Reply, Submit, UNLINKED},
    *,
};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    clock: Arc<dyn Clock>,
    world: World,
    server: Option<Server>,
    dir: tempfile::TempDir,
}

fn id(n: u8) -> DeviceId {
    DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 0, n])
}

fn bench(devices: u8) -> Bench {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let world = World::in_real_time(Arc::clone(&clock));
    for n in 1..=devices {
        let spec = Spec {
            id: id(n),
            platform: 12,
            seed: u64::from(n),
            ..Spec::default()
        };
        let device = Device::new(spec, Timing::instant());
        world.plug(&default_port(u16::from(n)), device).unwrap();
    }
    let bus = world.bus();
    until(&*clock, &bus, |list| list.len() == usize::from(devices));
    let dir = tempfile::tempdir().unwrap();
    let server = Some(serve(&world, &dir.path().join("bus"), Arc::clone(&clock)).unwrap());
    Bench {
        clock,
        world,
        server,
        dir,
    }
}

fn connect(bench: &Bench) -> RemoteBus {
    RemoteBus::connect(&bench.dir.path().join("bus"), Arc::clone(&bench.clock)).unwrap()
}

/// Waits until the list is as it should be, and returns it.
fn until(clock: &dyn Clock, bus: &dyn Bus, right: impl Fn(&[Attached]) -> bool) -> Vec<Attached> {
    let (changed, deadline) = (bus.changed(), clock.now() + PATIENCE);
    loop {
        let seen = changed.raised();
        let list = bus.list().unwrap_or_default();
        if right(&list) {
            return list;
        }
        assert!(clock.now() < deadline, "{list:?}");
        clock.wait(&changed, seen, Some(deadline));
    }
}

#[test]
fn the_list_and_its_changes_come_across() {
    let bench = bench(2);
    let bus = connect(&bench);
    assert_eq!(bus.list().unwrap(), bench.world.bus().list().unwrap());
    bench.world.unplug(&default_port(1)).unwrap();
    let list = until(&*bench.clock, &bus, |list| list.len() == 1);
    assert_eq!(list[0].serial, Some(id(2).to_string()));
}

#[test]
fn transfers_come_across_with_data_stalls_and_claims() {
    let bench = bench(1);
    let bus = connect(&bench);
    let attached = bus.list().unwrap().remove(0);
    let mut pipe = bus.open(&attached).unwrap();
    assert_eq!(pipe.control(VERSION, &[], SECOND).unwrap(), b"6.2.0");
    let unknown = Setup { request: 9, ..VERSION };
    assert_eq!(pipe.control(unknown, &[], PATIENCE), Err(UsbError::Stall));
    assert_eq!(
        pipe.control(VERSION, &[1], SECOND),
        Err(UsbError::Io),
        "data for an IN transfer"
    );

    // ECHO: INIT, SEND, CHECK, RECV.
    let service = |request_type, request, value, index, length| Setup {
        request_type,
        request,
        value,
        index,
        length,
    };
    let reply = pipe.control(service(0xc0, 1, 5, 1, 64), &[], PATIENCE).unwrap();
    let request = u16::from_le_bytes([reply[6], reply[7]]);
    assert_eq!(pipe.control(service(0x40, 3, 0, request, 5), b"hello", PATIENCE), Ok(vec![]));
    bench.clock.sleep(Duration::from_millis(5));
    pipe.control(service(0xc0, 2, 0, request, 64), &[], PATIENCE).unwrap();
    assert_eq!(
        pipe.control(service(0xc0, 4, 0, request, 5), &[], PATIENCE).unwrap(),
        b"hello"
    );

    let to_interface = service(0xa1, 3, 0, 0, 6);
    assert_eq!(pipe.control(to_interface, &[], PATIENCE), Err(UsbError::Io), "not claimed");
    let mut second = bus.open(&attached).unwrap();
    second.claim(0).unwrap();
    assert_eq!(pipe.claim(0), Err(UsbError::Busy));
    assert_eq!(pipe.control(to_interface, &[], PATIENCE), Err(UsbError::Busy));
    drop(second);
    pipe.claim(0).unwrap();
}

#[test]
fn an_unplugged_device_is_gone_for_its_pipe_and_for_new_ones() {
    let bench = bench(1);
    let bus = connect(&bench);
    let attached = bus.list().unwrap().remove(0);
    let mut pipe = bus.open(&attached).unwrap();
    bench.world.unplug(&default_port(1)).unwrap();
    assert_eq!(pipe.control(VERSION, &[], PATIENCE), Err(UsbError::Gone));
    assert_eq!(pipe.control(VERSION, &[], PATIENCE), Err(UsbError::Gone));
    assert!(matches!(bus.open(&attached), Err(UsbError::Gone)));
}

#[test]
fn a_device_that_hangs_times_out_and_its_transfer_is_taken_back() {
    let bench = bench(1);
    let bus = connect(&bench);
    let mut pipe = bus.open(&bus.list().unwrap()[0]).unwrap();
    // DNLOAD longer than the transfer buffer, in DFU mode: the bootloader never answers.
    pipe.control(
        Setup {
            request: 1,
            index: 50,
            ..VERSION
        },
        &[],
        PATIENCE,
    )
    .unwrap();
    bench.clock.sleep(Duration::from_millis(5));
    let check = Setup {
        request: 2,
        index: 1,
        ..VERSION
    };
    // The device may leave before it has answered: its pace is instant.
    let _ = pipe.control(check, &[], PATIENCE);
    let list = until(&*bench.clock, &bus, |list| list.iter().any(|a| a.product == 0xd00c));
    let mut pipe = bus.open(&list[0]).unwrap();
    pipe.claim(0).unwrap();
    let download = Setup {
        request_type: 0x21,
        request: 1,
        value: 2,
        index: 0,
        length: 4097,
    };
    let result = pipe.control(download, &[0; 4097], Duration::from_millis(50));
    assert_eq!(result, Err(UsbError::Timeout));
    let again = pipe.control(download, &[0; 4097], Duration::from_millis(50));
    assert_ne!(again, Err(UsbError::Gone), "the connection still works");
}

#[test]
fn the_end_of_the_world_is_told_and_a_new_one_is_found() {
    let mut bench = bench(1);
    let bus = connect(&bench);
    let path = bench.dir.path().join("bus");
    let again = serve(&bench.world, &path, Arc::clone(&bench.clock));
    assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    let mut pipe = bus.open(&bus.list().unwrap()[0]).unwrap();
    bench.server = None;
    assert!(!path.exists());
    assert_eq!(pipe.control(VERSION, &[], PATIENCE), Err(UsbError::Gone));
    let changed = bus.changed();
    let mut seen = 0;
    while bus.list().is_ok() {
        seen = bench.clock.wait(&changed, seen, Some(bench.clock.now() + PATIENCE));
    }
    assert!(RemoteBus::connect(&path, Arc::clone(&bench.clock)).is_err());
    // A socket that a killed world has left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    bench.server = Some(serve(&bench.world, &path, Arc::clone(&bench.clock)).unwrap());
    until(&*bench.clock, &bus, |list| list.len() == 1);
}

/// The kernel's end of a connection, as far as the frames go.
struct Host(UnixStream);

impl Host {
    fn submit(&mut self, seq: u32, setup: Setup) {
        let submit = Submit {
            seq,
            devid: 2,
            is_in: setup.is_in(),
            endpoint: 0,
            length: u32::from(setup.length),
            setup,
            data: Vec::new(),
        };
        Command::Submit(submit).write(&mut self.0).unwrap();
    }

    fn reply(&mut self) -> Option<(Reply, Vec<u8>)> {
        let mut header = [0; Reply::LEN];
        self.0.read_exact(&mut header).ok()?;
        let reply = Reply::parse(&header).unwrap();
        let mut data = Vec::new();
        if let Reply::Submit { actual, .. } = reply {
            data.resize(usize::try_from(actual).unwrap(), 0);
            self.0.read_exact(&mut data).ok()?;
        }
        Some((reply, data))
    }
}

fn host(bench: &Bench) -> (Host, crate::edge::clock::Joiner) {
    let bus = bench.world.bus();
    let pipe = bus.open_pipe(&bus.list().unwrap()[0]).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let clock = Arc::clone(&bench.clock);
    let watcher: Watcher = Arc::new(|_, _| {});
    let joiner = bench
        .clock
        .spawn("device", Box::new(move || drop(serve_device(theirs, pipe, &clock, &watcher))));
    (Host(ours), joiner)
}

#[test]
fn a_host_controller_enumerates_over_a_socket_pair() {
    let bench = bench(1);
    let (mut host, joiner) = host(&bench);
    let get_device = Setup {
        request_type: 0x80,
        request: 6,
        value: 0x100,
        index: 0,
        length: 18,
    };
    host.submit(1, get_device);
    host.submit(2, VERSION);
    let (reply, data) = host.reply().unwrap();
    assert_eq!(
        reply,
        Reply::Submit {
            seq: 1,
            status: 0,
            actual: 18
        }
    );
    assert_eq!(data[8..12], [0x04, 0x2b, 0x0c, 0xc0]);
    assert_eq!(host.reply().unwrap().1, b"6.2.0");
    let late = Command::Unlink { seq: 3, victim: 2 };
    late.write(&mut host.0).unwrap();
    assert_eq!(host.reply().unwrap().0, Reply::Unlink { seq: 3, status: 0 });
    bench.world.unplug(&default_port(1)).unwrap();
    assert_eq!(host.reply(), None, "an unplug is the end of the stream");
    joiner().unwrap();
}

#[test]
fn an_unlinked_transfer_is_never_answered() {
    let bench = bench(1);
    let (mut host, joiner) = host(&bench);
    host.submit(1, VERSION);
    host.submit(2, VERSION);
    Command::Unlink { seq: 3, victim: 2 }.write(&mut host.0).unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let (reply, _) = host.reply().unwrap();
        let unlink = matches!(reply, Reply::Unlink { .. });
        answers.push(reply);
        if unlink {
            break;
        }
    }
    match answers.last() {
        // It was over before the unlink came, and was answered.
        Some(Reply::Unlink { seq: 3, status: 0 }) => assert_eq!(answers.len(), 3),
        Some(Reply::Unlink {
            seq: 3,
            status: UNLINKED,
        }) => {
            assert!(
                !answers.iter().any(|a| matches!(a, Reply::Submit { seq: 2, .. })),
                "{answers:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    drop(host);
    joiner().unwrap();
}

#[test]
fn a_host_that_does_not_keep_to_the_protocol_is_left() {
    let bench = bench(1);
    let (mut host, joiner) = host(&bench);
    host.0.write_all(&[0xff; 48]).unwrap();
    joiner().unwrap();
    assert_eq!(host.reply(), None);
}
