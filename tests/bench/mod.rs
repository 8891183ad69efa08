//! A station on a simulated rack in one process: virtual clock, no sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use keyrack::{
    cli::rig::{Options, Rig, Stored},
    cloud::Api,
    edge::{Bus, Clock, Entropy, Http, entropy::SystemEntropy},
    keys::StationKey,
    model::{DeviceId, Fact, Record, Secret, SlotNo, StationId, Verdict, fact::Identity},
    rack::{Command, RackView},
    sim::{
        clock::{Group, VirtualClock},
        cloud::DirectHttp,
        world::{
            World,
            scenario::{Ending, Scenario},
        },
    },
    station::{self, Event, Pairs, Station, Tuning, undo::SealedUndo},
    store::{self, Durability, Reader, Store, UndoVault},
};

/// How a stretch of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every device is judged and nothing is under way.
    Idle,
    /// The virtual time that a scenario may take ran out.
    OutOfTime,
    /// The station was cut.
    Cut,
    /// The station stopped with an error.
    Failed,
}

/// A station on a simulated rack.
pub(crate) struct Bench {
    pub(crate) clock: VirtualClock,
    pub(crate) rig: Rig,
    pub(crate) records: Arc<Mutex<Vec<Record>>>,
    pub(crate) ledger: PathBuf,
    /// Where the undo copies are, sealed.
    pub(crate) undo: PathBuf,
    /// What the core showed last.
    pub(crate) view: Arc<Mutex<Option<RackView>>>,
    /// The ports as the next station meets them; those of the world unless something is put between.
    pub(crate) bus: Mutex<Arc<dyn Bus>>,
    /// The most pages that the ledger of the next station may have: a full disk.
    pub(crate) pages: Mutex<Option<u32>>,
    /// What the next station is given.
    pub(crate) pairs: Mutex<Pairs>,
    /// Why the last station stopped by itself.
    pub(crate) stopped: Arc<Mutex<Option<String>>>,
    entropy: Arc<dyn Entropy>,
    watch: Mutex<Option<Watch>>,
    begun: AtomicBool,
    _folder: tempfile::TempDir,
}

/// Is shown each record as soon as it is on disk, on the station's main thread, before anything is done because of it.
pub(crate) type Watch = Arc<dyn Fn(&Record) + Send + Sync>;

impl Bench {
    /// Builds the bench, works until every device is judged, and hands it to `look`.
    pub(crate) fn run<R>(scenario: Scenario, options: &Options, look: impl FnOnce(&Bench, Ended) -> R) -> R {
        Self::with(scenario, options, |bench| {
            let end = bench.work(LONGEST);
            look(bench, end)
        })
    }

    /// Builds a rack and hands it over.
    pub(crate) fn with<R>(scenario: Scenario, options: &Options, body: impl FnOnce(&Bench) -> R) -> R {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        Self::set_up(
            &entropy,
            |world| Rig::build(scenario, world, Arc::clone(&entropy), options).unwrap(),
            body,
        )
    }

    /// Sets up a rack that was stored and hands it over.
    pub(crate) fn again<R>(stored: &Stored, entropy: &Arc<dyn Entropy>, body: impl FnOnce(&Bench) -> R) -> R {
        Self::set_up(entropy, |world| stored.set_up(world, Arc::clone(entropy)), body)
    }

    fn set_up<R>(entropy: &Arc<dyn Entropy>, rig: impl FnOnce(World) -> Rig, body: impl FnOnce(&Bench) -> R) -> R {
        VirtualClock::run(|clock| {
            let root = if std::path::Path::new("/dev/shm").is_dir() {
                "/dev/shm".into()
            } else {
                std::env::temp_dir()
            };
            let folder = tempfile::Builder::new().prefix("keyrack-").tempdir_in(root).unwrap();
            let rig = rig(World::on_virtual_clock(clock));
            let bus: Arc<dyn Bus> = Arc::new(rig.world.bus());
            let bench = Bench {
                bus: Mutex::new(bus),
                pages: Mutex::default(),
                pairs: Mutex::default(),
                stopped: Arc::default(),
                clock: clock.clone(),
                rig,
                records: Arc::default(),
                view: Arc::default(),
                ledger: folder.path().join("ledger"),
                undo: folder.path().join("undo"),
                entropy: Arc::clone(entropy),
                watch: Mutex::default(),
                begun: AtomicBool::new(false),
                _folder: folder,
            };
            body(&bench)
        })
    }

    /// Shows every record to `watch` from now on.
    pub(crate) fn watch(&self, watch: Watch) {
        *self.watch.lock().unwrap() = Some(watch);
    }

    /// Starts a station and lets it work until every device is judged, at most for so long.
    pub(crate) fn work(&self, limit: Duration) -> Ended {
        let group = self.clock.group();
        let http: Arc<dyn Http> = Arc::new(DirectHttp::new(self.rig.cloud.clone()));
        self.work_in(&group, http, limit)
    }

    /// As `work`, in a group that the caller may kill, with a way to the cloud of the caller's own.
    pub(crate) fn work_in(&self, group: &Arc<Group>, http: Arc<dyn Http>, limit: Duration) -> Ended {
        let ended = Arc::new(Mutex::new(Ended::Cut));
        let shelf = self.rig.shelf().expect("firmware that fits");
        let setting = self.rig.setting(&shelf.book);
        let expected: Vec<_> = self.rig.scenario.expect.values().collect();
        let judged = self.rig.scenario.expect.iter().filter(|(_, e)| e.verdict.is_verdict());
        let devices: BTreeSet<DeviceId> = judged.filter_map(|(slot, _)| self.rig.device_of(SlotNo(*slot))).collect();
        let waiting = expected.iter().filter(|e| e.verdict == Ending::Interrupted).count();
        let owed = expected.iter().map(|e| e.owed as usize).sum();
        let deadline = self.clock.now() + limit;
        let token = self.rig.log_in(&*http).unwrap_or_else(|e| panic!("log in: {e}"));
        let api = Api::new(http, token.secret);
        api.set_account(self.rig.scenario.cloud.owner.clone());
        let api = Arc::new(api);
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.rig.begin();
        }
        let vault = UndoVault::open(&self.undo).expect("a folder for undo copies");
        let sealed = |vault| SealedUndo::new(vault, StationKey::new(Secret::new([7; 32])), Arc::clone(&self.entropy));
        let undo = sealed(vault);
        let restore = sealed(UndoVault::open(&self.undo.join("restore")).expect("a folder for restore data"));
        let world = station::World {
            clock: Arc::clone(group) as Arc<dyn Clock>,
            entropy: Arc::clone(&self.entropy),
            bus: Arc::clone(&self.bus.lock().unwrap()),
            api,
            undo: Arc::new(undo),
            restore: Arc::new(restore),
            clients: self.rig.clients(),
            pairs: self.pairs.lock().unwrap().clone(),
            pins: station::Pins::default(),
        };
        let watch = self.watch.lock().unwrap().clone();
        let killer = Arc::clone(group);
        self.rig.world.on_station_cut(Arc::new(move || killer.kill()));
        let shown = Arc::clone(&self.view);
        let (records, path, told) = (Arc::clone(&self.records), self.ledger.clone(), Arc::clone(&ended));
        let (pages, stopped) = (*self.pages.lock().unwrap(), Arc::clone(&self.stopped));
        let body = move || {
            let mut store = Store::open(
                &path,
                StationId("rig".into()),
                store::Options {
                    durability: Durability::UnsafeForTests,
                },
            )
            .expect("a ledger");
            if let Some(most) = pages {
                store.limit_pages(most).unwrap();
            }
            let clock = Arc::clone(&world.clock);
            let mut on_event = {
                let records = Arc::clone(&records);
                move |event: Event<'_>| {
                    if let Event::Record(record) = event {
                        records.lock().unwrap().push(record.clone());
                        if let Some(watch) = &watch {
                            watch(record);
                        }
                    }
                }
            };
            let mut station = match Station::start(world, store, setting, shelf, &Tuning { uplinks: 1 }, &mut on_event) {
                Ok(station) => station,
                Err(e) => {
                    *stopped.lock().unwrap() = Some(format!("{e:?}"));
                    *told.lock().unwrap() = Ended::Failed;
                    return;
                }
            };
            let remote = station.remote();
            let late = {
                let (clock, remote) = (Arc::clone(&clock), station.remote());
                let inner = Arc::clone(&clock);
                clock.spawn(
                    "limit",
                    Box::new(move || {
                        inner.sleep(limit);
                        remote.command(Command::Quit);
                    }),
                )
            };
            drop(late);
            let mut finished = false;
            let seen = Arc::clone(&records);
            let result = station.run(&mut |event| {
                if let Event::View(view) = &event {
                    *shown.lock().unwrap() = Some((*view).clone());
                }
                if let Event::View(view) = &event
                    && !finished
                    && all_judged(view, &seen.lock().unwrap(), &devices, waiting, owed)
                {
                    finished = true;
                    remote.command(Command::Finish);
                }
                on_event(event);
            });
            *told.lock().unwrap() = match result {
                Ok(()) if clock.now() >= deadline => Ended::OutOfTime,
                Ok(()) => Ended::Idle,
                Err(e) => {
                    *stopped.lock().unwrap() = Some(format!("{e:?}"));
                    Ended::Failed
                }
            };
        };
        drop(group.spawn("station", Box::new(body)));
        // The limit's thread and the bell outlive a station that ended by itself.
        let watch = Arc::clone(&ended);
        while group.alive() && *watch.lock().unwrap() == Ended::Cut {
            self.clock.sleep(Duration::from_millis(500));
        }
        group.kill();
        group.join();
        *ended.lock().unwrap()
    }

    /// What differs from what the scenario says.
    pub(crate) fn judge(&self) -> Vec<String> {
        let mut wrong = self.rig.judge(&Reader::open(&self.ledger).unwrap()).unwrap();
        let view = self.view.lock().unwrap().clone().unwrap_or_default();
        for (slot, expect) in &self.rig.scenario.expect {
            let device = self.rig.device_of(SlotNo(*slot));
            let code = match expect.verdict {
                Ending::Rejected => view
                    .slots
                    .iter()
                    .find(|s| s.slot == SlotNo(*slot) && s.word == "rejected")
                    .and_then(|s| s.code),
                Ending::Interrupted => view
                    .interrupted
                    .iter()
                    .find(|(_, d, _)| Some(*d) == device)
                    .map(|(_, _, code)| *code),
                _ => continue,
            };
            if code.map(|code| code.text()) != expect.code.as_deref() {
                wrong.push(format!(
                    "slot {slot}: {} for {code:?}, expected {:?}",
                    expect.verdict.word(),
                    expect.code
                ));
            }
        }
        wrong
    }

    /// The facts of a device, in order.
    pub(crate) fn facts(&self, device: DeviceId) -> Vec<Fact> {
        let records = self.records.lock().unwrap();
        let mut runs = BTreeMap::new();
        let mut facts = Vec::new();
        for record in records.iter() {
            if let Fact::RunStarted { run, device, .. } = &record.fact {
                runs.insert(*run, *device);
            }
            let of = match &record.fact {
                Fact::DeviceSeen {
                    identity: Identity { device, .. },
                    ..
                } => Some(*device),
                fact => fact.run().and_then(|run| runs.get(&run).copied()),
            };
            if of == Some(device) {
                facts.push(record.fact.clone());
            }
        }
        facts
    }

    /// The last verdict of a device.
    pub(crate) fn verdict(&self, device: DeviceId) -> Option<(Verdict, Option<String>)> {
        self.facts(device).iter().rev().find_map(|f| match f {
            Fact::RunEnded { verdict, code, .. } => Some((*verdict, code.map(|c| c.text().to_owned()))),
            _ => None,
        })
    }

    /// Everything that is on record, a line each.
    pub(crate) fn story(&self) -> String {
        let records = self.records.lock().unwrap();
        let lines: Vec<String> = records
            .iter()
            .map(|r| {
                let mut l = format!("  {} {} {:?}", r.seq, r.at, r.fact);
                l.truncate(420);
                l
            })
            .collect();
        lines.join("\n")
    }
}

/// True if every device has a verdict, no run waits, and nothing is owed but what is expected to be.
fn all_judged(view: &RackView, records: &[Record], devices: &BTreeSet<DeviceId>, waiting: usize, owed: usize) -> bool {
    let judged: BTreeSet<DeviceId> = records
        .iter()
        .filter_map(|r| {
            if let Fact::RunEnded { device, .. } = r.fact {
                Some(device)
            } else {
                None
            }
        })
        .collect();
    let still = view
        .slots
        .iter()
        .all(|s| s.verdict.is_some() || matches!(s.word, "vacant" | "rejected"));
    judged.is_superset(devices) && still && view.interrupted.len() == waiting && view.owed <= owed
}

/// More virtual time than any scenario needs.
const LONGEST: Duration = Duration::from_secs(3600);
