//! What goes wrong around a station and is not a matter of one scenario file: a full disk, a worker that hangs, things
//! that are no devices, a token that is renewed, devices that come again.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "other tests cut and watch")]
mod bench;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bench::{Bench, Ended};
use keyrack::{
    cli::rig::Options,
    edge::{Attached, Bus, BusError, Clock, Http, Pipe, Setup, Signal, UsbError},
    model::{Code, Fact, Mono, PortPath, SlotNo, StationId, StepKind, Verdict, Wall},
    sim::{
        cloud::DirectHttp,
        world::{
            hubs,
            mishap::{Deed, Mishap, When},
            scenario::Scenario,
        },
    },
    store::{self, Reader, Store},
};

#[test]
fn a_full_disk_stops_the_station_before_it_acts_and_it_goes_on_later() {
    let mut stopped = 0;
    // What is in the ledger before moves the moments at which it needs another page.
    for (filled, more) in (0..8).flat_map(|filled| (0..3).map(move |more| (filled, more))) {
        Bench::with(scenario(NEW_KEYS), &Options::default(), |bench| {
            let case = format!("{filled} + {more}");
            *bench.pages.lock().unwrap() = Some(pages(&bench.ledger, filled) + more);
            let first = bench.work(Duration::from_secs(900));
            if first == Ended::Failed {
                stopped += 1;
                let why = bench.stopped.lock().unwrap().clone().unwrap();
                assert!(why.contains("Full"), "{case}: {why}");
                nothing_off_the_record(bench);
                *bench.pages.lock().unwrap() = None;
                let second = bench.work(Duration::from_secs(900));
                assert_eq!(second, Ended::Idle, "{case}:\n{}", bench.story());
            }
            // An upload whose answer found no place on disk is made again, with the same key.
            let wrong = bench.judge();
            let wrong: Vec<_> = wrong.iter().filter(|w| !w.contains("3 uploads")).collect();
            assert!(wrong.is_empty(), "{case}: {wrong:?}\n{}", bench.story());
            let ledger = Reader::open(&bench.ledger).unwrap();
            assert_eq!(ledger.verify(&mut |_| {}).unwrap(), Vec::new());
        });
    }
    assert!(stopped >= 10, "only {stopped} of them were full in the middle of something");
}

/// Makes a ledger with so many records in it, and tells how many pages it has.
fn pages(folder: &Path, filled: usize) -> u32 {
    let mut store = Store::open(folder, StationId("rig".into()), store::Options::default()).unwrap();
    let filler = Fact::StationStarted {
        version: "0".repeat(300),
    };
    store
        .append(Wall::from_millis(0).unwrap(), &vec![filler; filled * 2])
        .unwrap();
    drop(store);
    let database = rusqlite::Connection::open(folder.join("ledger.db")).unwrap();
    database.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
}

/// Whatever the world shows was announced: no new key without its intention, no upload that was not sent on record.
fn nothing_off_the_record(bench: &Bench) {
    for (device, start) in &bench.rig.start {
        let facts = bench.facts(*device);
        let held = bench.rig.world.with_device(*device, |d| d.key_spki()).unwrap();
        if held != start.spki {
            let said = facts
                .iter()
                .any(|f| matches!(f, Fact::KeyIntended { key, .. } if Some(&key.spki) == held.as_ref()));
            assert!(said, "{device} holds a key that nobody announced");
        }
        let sent = facts
            .iter()
            .filter(|f| matches!(f, Fact::ItemSent { item, .. } if item.0.contains("/key/")))
            .count();
        assert!(
            bench.rig.cloud.uploads(*device).len() <= sent,
            "{device}: an upload that is not on record"
        );
    }
}

#[test]
fn a_device_that_passed_is_only_checked_when_it_comes_again() {
    Bench::with(scenario(TWO), &Options::default(), |bench| {
        assert_eq!(bench.work(Duration::from_secs(900)), Ended::Idle);
        assert_eq!(bench.judge(), Vec::<String>::new());
        let counts = |bench: &Bench| -> BTreeMap<_, _> {
            let of = |id| {
                let counters = bench.rig.world.with_device(id, |d| d.counters().clone()).unwrap();
                (counters.erases, counters.programs, counters.dct_writes, counters.key_writes)
            };
            bench
                .rig
                .start
                .keys()
                .map(|id| (*id, (of(*id), bench.rig.cloud.uploads(*id).len())))
                .collect()
        };
        let before = counts(bench);
        bench.records.lock().unwrap().clear();
        assert_eq!(bench.work(Duration::from_secs(900)), Ended::Idle, "{}", bench.story());
        assert_eq!(counts(bench), before, "nothing was flashed, written or uploaded");
        for device in bench.rig.start.keys() {
            assert_eq!(bench.verdict(*device), Some((Verdict::Pass, None)));
            let plan = bench.facts(*device).into_iter().find_map(|f| match f {
                Fact::RunStarted { plan, .. } => Some(plan),
                _ => None,
            });
            let plan = plan.expect("a run of its own");
            assert!(
                plan.contains(&StepKind::ReadKey) && plan.contains(&StepKind::Check),
                "{plan:?}"
            );
            assert!(
                !plan.contains(&StepKind::Rekey) && !plan.contains(&StepKind::Enrol),
                "{plan:?}"
            );
        }
    });
}

#[test]
fn a_quarantined_device_comes_again_and_runs_only_when_it_was_released() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios/ambiguous-then-refused.toml");
    Bench::with(Scenario::read(&path).unwrap(), &Options::default(), |bench| {
        assert_eq!(bench.work(Duration::from_secs(3600)), Ended::Idle);
        let device = *bench.rig.start.keys().next().unwrap();
        let run = bench.facts(device).iter().find_map(Fact::run).unwrap();
        assert_eq!(bench.verdict(device).map(|(verdict, _)| verdict), Some(Verdict::Quarantined));
        let touched = || {
            bench
                .rig
                .world
                .with_device(device, |d| d.counters().clone())
                .unwrap()
                .dct_writes
        };
        let (before, records) = (touched(), bench.facts(device).len());

        assert_eq!(bench.work(Duration::from_secs(900)), Ended::Idle);
        let view = bench.view.lock().unwrap().clone().unwrap();
        assert_eq!(
            (view.slots[0].word, view.slots[0].code),
            ("rejected", Some(Code::Quarantined))
        );
        let since = bench.facts(device).split_off(records);
        assert!(
            since
                .iter()
                .all(|f| !matches!(f, Fact::RunStarted { .. } | Fact::KeyRead { .. })),
            "{since:?}"
        );
        assert_eq!(touched(), before);

        let (by, why) = ("eva".to_owned(), "looked at".to_owned());
        let facts = [
            Fact::QuarantineReleased { run, device, by, why },
            Fact::UndoDestroyed { run, device },
        ];
        let mut store = Store::open(&bench.ledger, StationId("rig".into()), store::Options::default()).unwrap();
        store.append(Wall::from_millis(1_800_000_000_000).unwrap(), &facts).unwrap();
        drop(store);
        bench.work(Duration::from_secs(900));
        let runs = bench
            .facts(device)
            .iter()
            .filter(|f| matches!(f, Fact::RunStarted { .. }))
            .count();
        assert_eq!(runs, 2, "a fresh run");
        let ledger = Reader::open(&bench.ledger).unwrap();
        assert_eq!(ledger.verify(&mut |_| {}).unwrap(), Vec::new());
    });
}

#[test]
fn a_misread_key_is_written_again_as_the_same_pair() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios/misread-key.toml")).unwrap();
    Bench::run(scenario(&text), &Options::default(), |bench, end| {
        assert_eq!(end, Ended::Idle);
        let (device, start) = bench.rig.start.iter().next().unwrap();
        let facts = bench.facts(*device);
        let read = facts.iter().find_map(|f| match f {
            Fact::KeyRead { content, .. } => content.key().cloned(),
            _ => None,
        });
        let written = facts.iter().find_map(|f| match f {
            Fact::KeyIntended { key, .. } => Some(key.clone()),
            _ => None,
        });
        assert!(read.is_some() && read == written, "the pair that the slot held");
        let now = bench.rig.world.with_device(*device, |d| d.key_spki()).unwrap();
        assert_eq!(now, read.map(|key| key.spki), "and the device reads it right");
        assert_ne!(now, start.spki, "as it did not before");
    });
}

#[test]
fn a_device_with_a_new_key_is_held_until_the_token_is_renewed() {
    Bench::with(scenario(TOKEN_LOST), &Options::default(), |bench| {
        assert_eq!(
            bench.work(Duration::from_secs(1200)),
            Ended::OutOfTime,
            "nobody renewed the token"
        );
        let device = bench.rig.device_of(SlotNo(1)).unwrap();
        assert_eq!(bench.verdict(device), None, "held, not judged:\n{}", bench.story());
        assert!(bench.rig.cloud.uploads(device).iter().all(|u| !u.accepted));
        assert!(
            bench.view.lock().unwrap().as_ref().unwrap().locked.is_some(),
            "and the screen says why"
        );
        let present = bench.rig.world.bus().list().unwrap();
        assert_eq!(present[0].product & 0xf000, 0xd000, "still in DFU mode");
        assert_eq!(bench.work(Duration::from_secs(900)), Ended::Idle, "{}", bench.story());
        assert_eq!(bench.judge(), Vec::<String>::new());
    });
}

#[test]
fn a_stranger_on_the_bus_is_turned_away_by_name() {
    Bench::with(scenario(TWO), &Options::default(), |bench| {
        let ftdi = Attached {
            port: hubs::default_port(3),
            address: 900,
            vendor: 0x0403,
            product: 0x6001,
            serial: Some("A50285BI".into()),
        };
        *bench.bus.lock().unwrap() = Arc::new(Between::new(bench, Some(ftdi)));
        assert_eq!(bench.work(Duration::from_secs(900)), Ended::Idle, "{}", bench.story());
        assert_eq!(bench.judge(), Vec::<String>::new());
        let view = bench.view.lock().unwrap().clone().unwrap();
        let slot = view.slots.iter().find(|s| s.slot == SlotNo(3)).unwrap();
        assert_eq!((slot.word, slot.code), ("rejected", Some(Code::UnknownPlatform)), "{slot:?}");
    });
}

#[test]
fn a_device_that_comes_back_at_the_address_that_it_had_is_not_missed() {
    Bench::with(scenario(TWO), &Options::default(), |bench| {
        *bench.bus.lock().unwrap() = Arc::new(SameAddress(Arc::new(bench.rig.world.bus())));
        assert_eq!(bench.work(Duration::from_secs(900)), Ended::Idle, "{}", bench.story());
        assert_eq!(bench.judge(), Vec::<String>::new());
        let failed =
            |record: &keyrack::model::Record| matches!(record.fact, Fact::StepFailed { .. } | Fact::RunInterrupted { .. });
        assert!(!bench.records.lock().unwrap().iter().any(failed), "{}", bench.story());
    });
}

/// The ports of a controller that gives each of them an address for good. On one that is nearly full it comes to the same
/// now and then: the address that a device had is the next free one when it is back.
struct SameAddress(Arc<dyn Bus>);

impl Bus for SameAddress {
    fn list(&self) -> Result<Vec<Attached>, BusError> {
        let address = |port: &PortPath| port.chain().iter().fold(0, |all, piece| all * 10 + u16::from(*piece));
        let same = |attached: Attached| Attached {
            address: address(&attached.port),
            ..attached
        };
        Ok(self.0.list()?.into_iter().map(same).collect())
    }

    fn changed(&self) -> Signal {
        self.0.changed()
    }

    fn open(&self, device: &Attached) -> Result<Box<dyn Pipe>, UsbError> {
        let there = self.0.list().map_err(|_| UsbError::Io)?;
        let there = there.into_iter().find(|attached| attached.port == device.port);
        self.0.open(&there.ok_or(UsbError::Gone)?)
    }
}

#[test]
fn a_worker_that_hangs_costs_its_slot_until_replug_and_nothing_else() {
    Bench::with(scenario(TWO), &Options::default(), |bench| {
        let group = bench.clock.group();
        let mut between = Between::new(bench, None);
        between.hang = Some((hubs::default_port(1), Arc::clone(&group) as Arc<dyn Clock>));
        let opened = Arc::clone(&between.opened);
        *bench.bus.lock().unwrap() = Arc::new(between);
        let device = bench.rig.device_of(SlotNo(1)).unwrap();
        bench.rig.world.arm([Mishap {
            label: "replugged by a person".into(),
            device: Some(device),
            when: When::At(Mono(REPLUG)),
            deed: Deed::Unplug {
                back_after: Some(Duration::from_secs(5)),
                port: None,
            },
        }]);
        let http: Arc<dyn Http> = Arc::new(DirectHttp::new(bench.rig.cloud.clone()));
        assert_eq!(
            bench.work_in(&group, http, Duration::from_secs(7200)),
            Ended::Idle,
            "{}",
            bench.story()
        );
        assert_eq!(bench.judge(), Vec::<String>::new());
        let facts = bench.facts(device);
        let wedged = facts
            .iter()
            .any(|f| matches!(f, Fact::RunInterrupted { code: Code::Wedged, .. }));
        assert!(wedged, "{}", bench.story());
        let records = bench.records.lock().unwrap();
        let other = bench.rig.device_of(SlotNo(2)).unwrap();
        let ended = records
            .iter()
            .find(|r| matches!(r.fact, Fact::RunEnded { device, .. } if device == other));
        let resumed = records.iter().find(|r| matches!(r.fact, Fact::RunResumed { .. }));
        assert!(ended.unwrap().seq < resumed.unwrap().seq, "the other slot did not wait");
        let again = opened.lock().unwrap().clone();
        assert_eq!(again, Vec::<u16>::new(), "the hanging attachment was opened again");
    });
}

/// Between a station and the ports of the world: adds a stranger, or hangs a transfer for good.
struct Between {
    inner: Arc<dyn Bus>,
    stranger: Option<Attached>,
    hang: Option<(PortPath, Arc<dyn Clock>)>,
    hung: Arc<AtomicU32>,
    /// Addresses that were opened although a transfer to them hangs.
    opened: Arc<Mutex<Vec<u16>>>,
}

impl Between {
    fn new(bench: &Bench, stranger: Option<Attached>) -> Self {
        Self {
            inner: Arc::new(bench.rig.world.bus()),
            stranger,
            hang: None,
            hung: Arc::default(),
            opened: Arc::default(),
        }
    }
}

impl Bus for Between {
    fn list(&self) -> Result<Vec<Attached>, BusError> {
        let mut list = self.inner.list()?;
        list.extend(self.stranger.clone());
        Ok(list)
    }

    fn changed(&self) -> Signal {
        self.inner.changed()
    }

    fn open(&self, device: &Attached) -> Result<Box<dyn Pipe>, UsbError> {
        if Some(device) == self.stranger.as_ref() {
            return Err(UsbError::Access);
        }
        let inner = self.inner.open(device)?;
        let hung = self.hung.load(Ordering::Relaxed);
        if hung == u32::from(device.address) {
            self.opened.lock().unwrap().push(device.address);
        }
        match &self.hang {
            // In DFU mode, where a run works on it.
            Some((port, clock)) if *port == device.port && hung == 0 && device.product & 0xf000 == 0xd000 => {
                Ok(Box::new(Hangs {
                    inner,
                    clock: Arc::clone(clock),
                    left: 40,
                    address: device.address,
                    hung: Arc::clone(&self.hung),
                }))
            }
            _ => Ok(inner),
        }
    }
}

struct Hangs {
    inner: Box<dyn Pipe>,
    clock: Arc<dyn Clock>,
    left: u32,
    address: u16,
    hung: Arc<AtomicU32>,
}

impl Pipe for Hangs {
    fn control(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, UsbError> {
        if self.left == 0 {
            self.hung.store(u32::from(self.address), Ordering::Relaxed);
            // As a kernel that never gives a transfer back.
            self.clock.sleep(Duration::from_secs(1 << 20));
        }
        self.left = self.left.saturating_sub(1);
        self.inner.control(setup, data, timeout)
    }

    fn claim(&mut self, interface: u8) -> Result<(), UsbError> {
        self.inner.claim(interface)
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), UsbError> {
        self.inner.set_alternate(interface, alternate)
    }
}

fn scenario(text: &str) -> Scenario {
    Scenario::parse(text).unwrap()
}

/// Long after every deadline of the step that hangs.
const REPLUG: Duration = Duration::from_secs(3600);

const TWO: &str = include_str!("../fixtures/scenarios/two-good.toml");

/// A cut between an upload and its answer costs an upload of the same key, so only one device has a count.
const NEW_KEYS: &str = r#"
about = "A device gets a new key while the disk is full."
seed = 82
keys = "generate"

[[slot]]
number = 1
platform = "boron"

[[expect]]
slot = 1
verdict = "PASS"
key = "new"
uploads = 2
"#;

const TOKEN_LOST: &str = r#"
about = "The token is not accepted any more when the key of a device is to be registered."
seed = 83

[[slot]]
number = 1
platform = "boron"
key = "corrupt"

[[cloud.fault]]
route = "POST /v1/provisioning/:id"
effect = { refused = 401 }
count = 1

[[expect]]
slot = 1
verdict = "PASS"
key = "new"
uploads = 1
"#;
