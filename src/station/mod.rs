//! The shell around the core: the main loop, a worker thread for each slot, the uplink, and [`World`], which is
//! everything outside of us in one struct.
//!
//! One thread owns the [`Rack`] and the [`Store`]. Each turn it drains what has arrived, asks the core, writes all
//! facts in one transaction, and only then adopts the new state and performs the effects. If the write fails, nothing
//! is performed.

mod admission;
mod clients;
mod countersign;
mod custody;
mod inbox;
mod mailbox;
mod packets;
mod pairs;
mod pins;
pub mod shelf;
pub mod undo;
mod uplink;
mod worker;
mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    edge::Signal,
    model::{Fact, Fingerprint, Mono, Record, RunId, Secret, SlotNo, Wall, fact::Identity},
    rack::{Command, Effect, Illegal, Input, Known, LINES, Lore, Offered, Rack, RackView, Setting, Told},
    store::{Store, StoreError},
};

pub use clients::Clients;
use inbox::Inbox;
pub use mailbox::Mailbox;
pub use pairs::{GivenPair, Pairs};
pub use pins::Pins;
pub use shelf::Shelf;
use uplink::Uplink;
use worker::{Said, Worker};
pub use world::World;

/// How the station works.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Calls of the cloud that are made at once.
    pub uplinks: u16,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { uplinks: LINES }
    }
}

/// What whoever watches the station is shown, in order, on the main loop's thread: it must be quick.
#[derive(Debug)]
pub enum Event<'a> {
    /// A fact is on disk.
    Record(&'a Record),
    /// All facts of a turn are on disk; their records come next.
    Durable {
        /// How many facts.
        facts: usize,
        /// From the arrival of the first of what led to them.
        waited: Duration,
    },
    /// The station looks like this now.
    View(&'a RackView),
    /// A worker's bytes: the latest figure, not each.
    Progress {
        /// The slot.
        slot: SlotNo,
        /// Done.
        done: u64,
        /// To do.
        of: u64,
    },
}

/// Why a station stopped otherwise than it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The ledger could not be written or read.
    #[error("could not keep the ledger; nothing was done that is not on record")]
    Store(#[from] StoreError),
    /// The core contradicted itself.
    #[error("the core met a state that it does not expect")]
    Core(#[from] Illegal),
    /// The ports could not be listed.
    #[error("could not list the USB ports")]
    Bus(#[from] crate::edge::BusError),
}

/// What reaches the main loop.
pub(in crate::station) enum Stimulus {
    /// From a worker.
    Worker(SlotNo, Said),
    /// For the core as it is.
    Core(Input),
    /// A person asks, and waits to be told what came of it.
    Asked(Command, Option<Answering>),
    /// Somebody gives a PIN.
    Pin(Secret<String>, Answering),
    /// Whose PIN that was, if it is one.
    PinSeen(Option<String>, Answering),
}

/// How whoever asked is told what came of it. It is dropped unheard if the facts of it could not be written.
pub type Answering = Box<dyn FnOnce(Told) + Send>;

/// A way to ask the station for something from another thread, or from the watcher.
#[derive(Clone)]
pub struct Remote(Inbox);

impl Remote {
    /// Asks for something.
    pub fn command(&self, command: Command) {
        self.0.send(Stimulus::Asked(command, None));
    }

    /// Asks for something; whoever asks is told what came of it, on the main loop's thread: it must be quick.
    pub fn ask(&self, command: Command, answering: Answering) {
        self.0.send(Stimulus::Asked(command, Some(answering)));
    }

    /// Gives a PIN: a name, a space and the PIN, or the PIN of the only engineer.
    pub fn pin(&self, text: Secret<String>, answering: Answering) {
        self.0.send(Stimulus::Pin(text, answering));
    }
}

/// A running station.
pub struct Station {
    world: World,
    store: Store,
    rack: Rack,
    shelf: Arc<Shelf>,
    inbox: Inbox,
    bell: Signal,
    bus_changed: Signal,
    workers: BTreeMap<SlotNo, Worker>,
    uplink: Uplink,
    ended: Arc<AtomicBool>,
    /// A PIN is being compared: one at a time, or the wait after wrong ones would be none.
    pin: bool,
}

impl Station {
    /// Opens the journal, takes up what was under way, and starts the threads.
    ///
    /// # Errors
    /// [`StationError`] if the ledger cannot be read or written, or does not fit together.
    pub fn start(
        world: World,
        mut store: Store,
        setting: Setting,
        shelf: Shelf,
        tuning: &Tuning,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, StationError> {
        let mut rack = Rack::new(setting);
        rack.has_lines(tuning.uplinks);
        let shift = store.shift_records()?;
        rack.recall(&shift);
        if let Some(order) = rack.order_of_start().map(|order| order.id.clone()) {
            rack.has_done(store.done_for(&order)?);
        }
        for record in store.open_records()?.iter() {
            rack.apply(record.at, &record.fact)?;
        }
        // The records of runs say some of it once more, in another order.
        rack.recall(&shift);
        let kept: Vec<_> = store
            .kept_undo_copies()?
            .into_iter()
            .map(|row| (row.run, row.device))
            .collect();
        world.undo.keep_only(&kept);
        let kept = store.kept_restore_data()?;
        world
            .restore
            .keep_only(&kept.into_iter().map(|row| (row.run, row.device)).collect::<Vec<_>>());
        let mut first = vec![Fact::StationStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }];
        for prepared in shelf.book.all() {
            if store.recipe(prepared.recipe.hash)?.is_none() {
                let recipe = &prepared.recipe;
                first.push(Fact::RecipeRecorded {
                    hash: recipe.hash,
                    name: recipe.name.clone(),
                    text: recipe.text.clone(),
                });
            }
        }
        for record in store.append(world.clock.wall(), &first)? {
            watch(Event::Record(&record));
        }
        let shelf = Arc::new(shelf);
        let bell = Signal::new();
        let inbox = Inbox::new(bell.clone(), Arc::clone(&world.clock));
        let book = Arc::new(shelf.book.clone());
        let uplink = Uplink::start(&world, &book, tuning.uplinks, &inbox);
        let bus_changed = world.bus.changed();
        let mut station = Self {
            world,
            store,
            rack,
            shelf,
            inbox,
            bell,
            bus_changed,
            workers: BTreeMap::new(),
            uplink,
            ended: Arc::default(),
            pin: false,
        };
        let (now, wall) = (station.world.clock.now(), station.world.clock.wall());
        let decision = station.rack.restart(now, wall)?;
        station.adopt(wall, decision.rack, &decision.facts, decision.effects, now, watch)?;
        Ok(station)
    }

    /// A way to ask for something.
    pub fn remote(&self) -> Remote {
        Remote(self.inbox.clone())
    }

    /// Works until it is asked to end and may: [`Command::Finish`] or [`Command::Quit`].
    ///
    /// # Errors
    /// [`StationError`]; the devices stay as they are, and the next start takes them up.
    pub fn run(&mut self, watch: &mut dyn FnMut(Event<'_>)) -> Result<(), StationError> {
        self.forward_bus_changes();
        let result = self.turns(watch);
        self.workers.values().for_each(Worker::stop);
        self.uplink.stop();
        self.ended.store(true, Ordering::Release);
        self.bus_changed.raise();
        result
    }

    /// The store, for questions at the end.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn turns(&mut self, watch: &mut dyn FnMut(Event<'_>)) -> Result<(), StationError> {
        let mut bus_seen = None;
        let mut bus_failures = 0;
        let mut shown = None;
        let mut next = None;
        loop {
            let seen = self.bell.raised();
            let mut since = self.world.clock.now();
            let mut inputs = Vec::new();
            let changes = self.bus_changed.raised();
            let mut list_again: Option<Mono> = None;
            if bus_seen != Some(changes) {
                match self.world.bus.list() {
                    Ok(list) => {
                        (bus_seen, bus_failures) = (Some(changes), 0);
                        inputs.push((Input::Bus(list), None));
                    }
                    // A device that comes or goes can make one listing fail; the runs under way go on.
                    Err(_) if bus_failures < BUS_TRIES => {
                        bus_failures += 1;
                        list_again = Some(self.world.clock.now() + BUS_PAUSE);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            for (at, stimulus) in self.inbox.drain() {
                since = since.min(at);
                match stimulus {
                    Stimulus::Core(input) => inputs.push((input, None)),
                    Stimulus::Worker(slot, said) => inputs.push((self.input(slot, said)?, None)),
                    Stimulus::Asked(command, answering) => inputs.push((self.informed(command)?, answering)),
                    Stimulus::Pin(text, answering) => self.compare(text, answering),
                    Stimulus::PinSeen(whose, answering) => {
                        self.pin = false;
                        inputs.push((Input::Pin(whose), Some(answering)));
                    }
                }
            }
            for (slot, (done, of)) in self.inbox.moved() {
                watch(Event::Progress { slot, done, of });
            }
            // Woken for progress alone, or by somebody else's signal: nothing to decide.
            if !inputs.is_empty() || next.is_some_and(|at| at <= self.world.clock.now()) {
                inputs.push((Input::Tick, None));
                self.turn(inputs, since, watch)?;
                let view = self.rack.view();
                if shown.as_ref() != Some(&view) {
                    watch(Event::View(&view));
                    shown = Some(view);
                }
                if self.rack.may_end() {
                    return Ok(());
                }
                next = self.rack.next_tick(self.world.clock.now(), self.world.clock.wall());
            }
            let deadline = next.into_iter().chain(list_again).min();
            self.world.clock.wait(&self.bell, seen, deadline);
        }
    }

    /// Decides every input in its order, writes all facts in one transaction, then acts. `since`: when the first came.
    fn turn(
        &mut self,
        inputs: Vec<(Input, Option<Answering>)>,
        since: Mono,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), StationError> {
        let (now, wall) = (self.world.clock.now(), self.world.clock.wall());
        let (mut facts, mut effects, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let mut rack: Option<Rack> = None;
        for (input, answering) in inputs {
            let decision = rack.as_ref().unwrap_or(&self.rack).decide(now, wall, &input)?;
            facts.extend(decision.facts);
            effects.extend(decision.effects);
            told.extend(answering.zip(decision.told));
            rack = Some(decision.rack);
        }
        if let Some(rack) = rack {
            self.adopt(wall, rack, &facts, effects, since, watch)?;
        }
        told.into_iter().for_each(|(answering, told)| answering(told));
        Ok(())
    }

    /// What a person asks for, with what the ledger knows of it.
    fn informed(&self, command: Command) -> Result<Input, StationError> {
        let mut lore = Lore::default();
        if command.is_engineers() || command == Command::PinsSet {
            // A file that cannot be relied on is no reason to let everybody in.
            lore.pins = Some(self.world.pins.exist().unwrap_or(true));
        }
        match &command {
            Command::WorkOrder(Some(order)) => {
                lore.work_order = self.store.work_order(&order.id)?;
                lore.done = self.store.done_for(&order.id)?.into_iter().collect();
            }
            Command::Label { slot, serial } => {
                lore.owners = self.store.serial_owner(serial)?;
                if let Some(device) = self.rack.device_in(*slot) {
                    lore.serial = self.store.device(device)?.and_then(|row| row.serial);
                }
            }
            Command::Release { device, .. } | Command::Repair(device) => {
                lore.quarantined = self.store.device(*device)?.and_then(|row| row.quarantined);
                let copies = self.store.kept_undo_copies()?.into_iter();
                lore.copies = copies.filter(|copy| copy.device == *device).map(|copy| copy.run).collect();
            }
            _ if lore.pins.is_none() => return Ok(Input::Command(command)),
            _ => {}
        }
        Ok(Input::Informed { command, lore })
    }

    /// Compares a PIN with those of the engineers, on a thread of its own; not while another one is compared, and not while
    /// none would count.
    fn compare(&mut self, text: Secret<String>, answering: Answering) {
        let wait = self.rack.shift().next_pin(self.world.clock.wall()).is_some();
        if self.pin {
            return answering(Told::refused("another PIN is being looked at"));
        }
        self.pin = true;
        let (pins, inbox) = (self.world.pins.clone(), self.inbox.clone());
        if wait {
            // The core says how long.
            return inbox.send(Stimulus::PinSeen(None, answering));
        }
        let body = move || inbox.send(Stimulus::PinSeen(pins.whose(&text), answering));
        drop(self.world.clock.spawn("pin", Box::new(body)));
    }

    /// Puts the facts on disk, dated as they were decided, so that a replay comes to the same state; then acts.
    fn adopt(
        &mut self,
        wall: Wall,
        rack: Rack,
        facts: &[Fact],
        effects: Vec<Effect>,
        since: Mono,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), StationError> {
        if !facts.is_empty() {
            let records = self.store.append(wall, facts)?;
            watch(Event::Durable {
                facts: facts.len(),
                waited: self.world.clock.now().since(since),
            });
            for key in facts.iter().filter_map(key_on_disk) {
                self.store.confirm_key(key.0, key.1)?;
            }
            records.iter().for_each(|record| watch(Event::Record(record)));
        }
        self.rack = rack;
        effects.into_iter().for_each(|effect| self.perform(effect));
        Ok(())
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Order { slot, order } => {
                let (world, shelf, inbox, questions) = (&self.world, &self.shelf, &self.inbox, self.uplink.questions());
                self.workers
                    .entry(slot)
                    .or_insert_with(|| Worker::start(slot, world, shelf, inbox, questions))
                    .order(order);
            }
            Effect::Committed { slot, ticket, reply } => {
                if let Some(worker) = self.workers.get(&slot) {
                    worker.committed(ticket, reply);
                }
            }
            Effect::Cancel(slot) => {
                if let Some(worker) = self.workers.get(&slot) {
                    worker.cancel();
                }
            }
            Effect::Abandon(slot) => {
                if let Some(worker) = self.workers.remove(&slot) {
                    worker.cancel();
                    worker.stop();
                }
            }
            Effect::Call(line, call) => self.uplink.call(line, call),
            Effect::DestroyUndo { run, device } => self.world.undo.destroy(run, device),
        }
    }

    /// A worker's words as an input, with what the ledger knows.
    fn input(&self, slot: SlotNo, said: Said) -> Result<Input, StationError> {
        Ok(match said {
            Said::Identified { address, result } => {
                let known = match &result {
                    Ok(identity) => self.known(slot, identity)?,
                    Err(_) => Known::default(),
                };
                let mut random = [0; 10];
                self.world.entropy.fill(&mut random);
                Input::Identified {
                    slot,
                    address,
                    fresh: RunId::new(self.world.clock.wall(), random),
                    result,
                    known,
                }
            }
            Said::Commit { ticket, fact } => {
                let owners = match key_in(&fact) {
                    Some(fingerprint) => self.store.key_owner(fingerprint)?,
                    None => Vec::new(),
                };
                Input::Commit {
                    slot,
                    ticket,
                    fact,
                    owners,
                }
            }
            Said::Report { ticket, result } => Input::Report { slot, ticket, result },
        })
    }

    fn known(&self, slot: SlotNo, identity: &Identity) -> Result<Known, StationError> {
        let row = self.store.device(identity.device)?;
        let accepted = row.as_ref().and_then(|row| row.key_accepted);
        let given = self.given(slot, identity, accepted)?;
        Ok(row.map_or_else(Known::default, |row| Known {
            passed: row
                .last_verdict
                .filter(|v| *v == crate::model::Verdict::Pass)
                .and(row.last_recipe),
            accepted: row.key_accepted.map(|key| (key, row.accepted_product)),
            quarantined: row.quarantined,
            unprotected: row.unprotected_since.is_some(),
            given: None,
        }))
        .map(|known| Known { given, ..known })
    }

    /// The pair that was given for a device: the one that the cloud accepted last if it is there, else the first that the
    /// ledger knows on no other device, else the first.
    fn given(&self, slot: SlotNo, identity: &Identity, accepted: Option<Fingerprint>) -> Result<Option<Offered>, StationError> {
        let device = identity.device;
        let mut offered = Vec::new();
        for key in self.world.pairs.offered(slot, device, identity.platform.key_kind()) {
            let owners = self.store.key_owner(key.fingerprint)?;
            offered.push(Offered { key, owners });
        }
        let elsewhere = |offered: &Offered| offered.owners.iter().any(|owner| *owner != device);
        offered.sort_by_key(|offered| (Some(offered.key.fingerprint) != accepted, elsewhere(offered)));
        Ok(offered.into_iter().next())
    }

    /// The bus has a signal of its own; whoever waits for the main loop's has to hear it too.
    fn forward_bus_changes(&self) {
        let (clock, changed, bell) = (Arc::clone(&self.world.clock), self.bus_changed.clone(), self.bell.clone());
        let mut seen = changed.raised();
        let (inner, ended) = (Arc::clone(&clock), Arc::clone(&self.ended));
        drop(clock.spawn(
            "bus-bell",
            Box::new(move || {
                while !ended.load(Ordering::Acquire) {
                    seen = inner.wait(&changed, seen, None);
                    bell.raise();
                }
            }),
        ));
    }
}

/// The key that a fact puts into the ledger, to be read back before anything relies on it.
fn key_on_disk(fact: &Fact) -> Option<(crate::model::DeviceId, crate::model::Fingerprint)> {
    match fact {
        Fact::KeyRead { device, content, .. } => content.key().map(|key| (*device, key.fingerprint)),
        Fact::KeyIntended { device, key, .. } | Fact::KeyGiven { device, key, .. } | Fact::PacketTaken { device, key, .. } => {
            Some((*device, key.fingerprint))
        }
        _ => None,
    }
}

fn key_in(fact: &Fact) -> Option<crate::model::Fingerprint> {
    key_on_disk(fact).map(|(_, fingerprint)| fingerprint)
}

/// How often in a row the listing of the ports may fail before the station gives up, and how long it waits each time.
const BUS_TRIES: u32 = 10;
const BUS_PAUSE: Duration = Duration::from_millis(500);
