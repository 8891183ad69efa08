//! A station that repairs devices in virtual time: the times of the device models and of the way to the cloud count, and
//! those of this machine do not, so that the figures are the same everywhere. World, cloud and station are in this
//! process; the ledger is a real one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    cli::{
        error::CliError,
        rig::{Options, Rig, private_folder},
    },
    cloud::{
        Api, Metered,
        limits::{GENERAL_BURST, GENERAL_PER_SECOND, TokenBucket},
    },
    edge::{Clock, Entropy, Http, HttpError, Request, Response, entropy::SystemEntropy},
    keys::StationKey,
    model::{Mono, PortPath, Record, Secret, SlotNo, StationId},
    rack::{Command, RackView},
    sim::{
        clock::VirtualClock,
        cloud::DirectHttp,
        device::Device,
        world::{World, scenario::Scenario},
    },
    station::{self, Event, Remote, Station, Tuning, undo::SealedUndo},
    store::{self, Store, UndoVault},
};

use super::{file, handed::Handed};

/// What is played.
pub(super) struct Rehearsal<'a> {
    /// The devices. Those beyond the slots of the rack wait beside it and are put in as slots become free.
    pub(super) scenario: Scenario,
    /// What is done with them.
    pub(super) options: Options,
    /// How many slots the rack has.
    pub(super) slots: u16,
    /// How the limit for all calls is scaled: so much shorter is the cloud's window with so many fewer requests in it, and
    /// so much smaller the station's burst. 1 is the real one.
    pub(super) scale: u32,
    /// What the station knows and has before.
    pub(super) handed: Handed,
    /// A directory for it alone; a ledger in it is gone on with.
    pub(super) folder: &'a Path,
}

/// What was seen.
#[derive(Default)]
pub(super) struct Played {
    /// All that went on record.
    pub(super) records: Vec<Record>,
    /// All calls of the cloud but the log-in, with the time at which they reached it.
    pub(super) calls: Vec<Exchange>,
    /// Devices that do not hold the key that the cloud holds, or are another one's than before.
    pub(super) astray: usize,
}

/// One call of the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) at: Mono,
    pub(super) what: String,
    pub(super) status: u16,
}

impl Rehearsal<'_> {
    /// Plays it until every device is judged.
    ///
    /// # Errors
    /// If the station stops by itself, or the disk refuses.
    pub(super) fn play(self) -> Result<Played, CliError> {
        VirtualClock::run(|clock| self.play_on(clock))
    }

    fn play_on(self, clock: &VirtualClock) -> Result<Played, CliError> {
        private_folder(self.folder).map_err(file("make", self.folder))?;
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let rig = Rig::build(
            self.scenario,
            World::on_virtual_clock(clock),
            Arc::clone(&entropy),
            &self.options,
        )
        .map_err(file("read", self.folder))?;
        rig.cloud.scale_limits(self.scale);
        let mut waiting = VecDeque::new();
        for slot in rig.scenario.slots.iter().filter(|(number, _)| **number > self.slots) {
            waiting.extend(rig.world.unplug(&slot.1.port).ok());
        }
        let owners: Vec<_> = rig.start.keys().map(|id| (*id, rig.cloud.place(*id))).collect();

        let group = clock.group();
        let calls: Arc<Mutex<Vec<Exchange>>> = Arc::default();
        let line = Line {
            inner: DirectHttp::new(rig.cloud.clone()),
            clock: Arc::clone(&group) as Arc<dyn Clock>,
            calls: Arc::clone(&calls),
        };
        let token = rig.log_in(&line.inner)?;
        let bucket = TokenBucket::new(GENERAL_PER_SECOND, Duration::from_secs(1), GENERAL_BURST / self.scale.max(1));
        let metered = Metered::new(Arc::new(line), Arc::clone(&group) as Arc<dyn Clock>, bucket);
        let api = Api::new(Arc::new(metered), token.secret);
        api.set_account(rig.scenario.cloud.owner.clone());
        let sealed = |name: &str| -> Result<Arc<SealedUndo>, CliError> {
            let vault = UndoVault::open(&self.folder.join(name))?;
            Ok(Arc::new(SealedUndo::new(
                vault,
                StationKey::new(Secret::new([7; 32])),
                Arc::clone(&entropy),
            )))
        };
        let ledger = self.folder.join("ledger");
        let mut store = Store::open(&ledger, StationId("rehearsal".to_owned()), store::Options::default())?;
        let pairs = self.handed.begin(&rig, &mut store, clock, &*entropy)?;
        let world = station::World {
            clock: Arc::clone(&group) as Arc<dyn Clock>,
            entropy: Arc::clone(&entropy),
            bus: Arc::new(rig.world.bus()),
            api: Arc::new(api),
            undo: sealed("undo")?,
            restore: sealed("restore")?,
            clients: rig.clients(),
            pairs,
            pins: station::Pins::default(),
        };
        let shelf = rig.shelf()?;
        let mut setting = rig.setting(&shelf.book);
        setting.ports.retain(|slot, _| slot.0 <= self.slots);
        rig.begin();

        let shown: Arc<Mutex<Shown>> = Arc::default();
        let ended: Arc<Mutex<Option<Result<(), CliError>>>> = Arc::default();
        let (seen, told) = (Arc::clone(&shown), Arc::clone(&ended));
        let hands = Hands {
            clock: Arc::clone(&group) as Arc<dyn Clock>,
            world: rig.world.clone(),
            shown: Arc::clone(&shown),
            ports: setting.ports.clone(),
            waiting,
            count: rig.start.len(),
        };
        let body = move || {
            let mut watch = |event: Event<'_>| match event {
                Event::Record(record) => lock(&seen).records.push(record.clone()),
                Event::View(view) => lock(&seen).view = view.clone(),
                Event::Durable { .. } | Event::Progress { .. } => {}
            };
            let work = || -> Result<(), CliError> {
                let mut station = Station::start(world, store, setting, shelf, &Tuning::default(), &mut watch)?;
                let (clock, remote) = (Arc::clone(&hands.clock), station.remote());
                drop(clock.spawn("hands", Box::new(move || hands.work(&remote))));
                Ok(station.run(&mut watch)?)
            };
            let result = work();
            *lock(&told) = Some(result);
        };
        drop(group.spawn("station", Box::new(body)));
        while lock(&ended).is_none() {
            clock.sleep(Duration::from_millis(500));
        }
        group.kill();
        group.join();
        if let Some(result) = lock(&ended).take() {
            result?;
        }
        let out = std::mem::take(&mut lock(&shown).out);
        let keys: BTreeMap<_, _> = out
            .iter()
            .filter_map(|device| Some((device.id(), device.key_spki()?)))
            .collect();
        let astray = owners.iter().filter(|(id, place)| {
            let held = keys
                .get(id)
                .cloned()
                .or_else(|| rig.world.with_device(*id, |device| device.key_spki()).flatten());
            held.is_none() || held != rig.cloud.registered(*id) || rig.cloud.place(*id) != *place
        });
        Ok(Played {
            astray: astray.count(),
            records: std::mem::take(&mut lock(&shown).records),
            calls: std::mem::take(&mut *lock(&calls)),
        })
    }
}

/// What the station has shown so far.
#[derive(Default)]
struct Shown {
    records: Vec<Record>,
    view: RackView,
    /// What was taken out of the rack.
    out: Vec<Device>,
}

/// Whoever loads the rack: takes out what is judged, and puts in what waits.
struct Hands {
    clock: Arc<dyn Clock>,
    world: World,
    shown: Arc<Mutex<Shown>>,
    ports: BTreeMap<SlotNo, PortPath>,
    waiting: VecDeque<Device>,
    count: usize,
}

impl Hands {
    fn work(mut self, remote: &Remote) {
        let mut done = BTreeSet::new();
        while done.len() < self.count {
            self.clock.sleep(GLANCE);
            let judged: Vec<_> = {
                let shown = lock(&self.shown);
                let slots = shown.view.slots.iter().filter(|slot| slot.verdict.is_some());
                slots.filter_map(|slot| Some((slot.slot, slot.device?))).collect()
            };
            for (slot, device) in judged {
                if !done.insert(device) {
                    continue;
                }
                if let (Some(next), Some(port)) = (self.waiting.pop_front(), self.ports.get(&slot)) {
                    self.clock.sleep(EXCHANGE);
                    if let Ok(out) = self.world.unplug(port) {
                        // A port is empty as soon as its device is out.
                        let _ = self.world.plug(port, next);
                        lock(&self.shown).out.push(out);
                    }
                }
            }
        }
        remote.command(Command::Finish);
    }
}

/// The way to the cloud, with the time that it takes, and a list of what went over it.
struct Line {
    inner: DirectHttp,
    clock: Arc<dyn Clock>,
    calls: Arc<Mutex<Vec<Exchange>>>,
}

impl Http for Line {
    fn call(&self, request: &Request) -> Result<Response, HttpError> {
        self.clock.sleep(WAY);
        let at = self.clock.now();
        let response = self.inner.call(request);
        lock(&self.calls).push(Exchange {
            at,
            what: format!("{request:?}"),
            status: response.as_ref().map_or(0, |response| response.status),
        });
        self.clock.sleep(WAY);
        response
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Lists are whole after any panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To the cloud, and as much back: 100 ms for each call.
const WAY: Duration = Duration::from_millis(50);
/// How often the hands look at the rack, and how long they take to change a device.
const GLANCE: Duration = Duration::from_millis(250);
const EXCHANGE: Duration = Duration::from_millis(500);
