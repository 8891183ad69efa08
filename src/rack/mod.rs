//! The core, pure: [`Rack::decide`] takes the time and one input and gives facts and effects; [`Rack::apply`] takes in
//! a fact, live and in replay alike. It opens nothing, reads no clock and starts no thread.
//!
//! [`crate::station`] drives it: it writes the facts of a decision to the journal in one transaction, and only then
//! adopts the decided state and performs the effects.

mod arrival;
mod bench;
mod choice;
mod cloud;
pub mod diagnose;
mod due;
mod engineer;
pub mod flow;
mod guard;
pub mod input;
mod judge;
mod lines;
mod look;
mod moving;
mod order;
pub mod packet;
mod person;
pub mod plan;
mod proof;
mod repair;
pub mod replay;
mod report;
pub mod run;
pub mod shift;
pub mod slot;
mod steps;
mod stop;
mod stopped_line;
#[cfg(test)]
mod tests;
mod turn;
pub mod upload;
pub mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::edge::Attached;
use crate::model::{
    DeviceId, Fact, Mono, PortPath, Record, RunId, SlotNo, StationId, Wall,
    outbox::{Answer, ItemId},
    recipe::WorkOrder,
};

pub use input::{
    About, Admitted, After, Call, Command, CommitReply, Effect, Input, Known, Line, Lore, Offered, Order, OrderName, Outgoing,
    Reply, Report, Ticket, Told, Work,
};
pub use order::Ordered;
pub use packet::{Declined, Kept, Offer, Packet, Taken};
pub use plan::{Book, Prepared};
pub use replay::Past;
pub use run::{Illegal, Keys, Run};
use shift::Engineer;
pub use shift::{Rules, Shift};
pub use slot::Slot;
pub use turn::Decision;
pub use upload::Outbox;
pub use view::RackView;

/// What the core is told once, at the start.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The station's name.
    pub station: StationId,
    /// The slots and their ports. Any other port is ignored.
    pub ports: BTreeMap<SlotNo, PortPath>,
    /// The recipes.
    pub book: Book,
    /// Who is at the station until somebody else is named.
    pub operator: Option<String>,
    /// What is worked on until something else is named.
    pub work_order: Option<WorkOrder>,
    /// How many devices go in one import request.
    pub import_chunk: usize,
    /// The rules of the house.
    pub rules: Rules,
}

impl Setting {
    /// For a rack that only shows what a journal says: nothing is plugged in, and nothing is begun.
    pub fn to_show(station: StationId) -> Self {
        Self {
            station,
            ports: BTreeMap::new(),
            book: Book::default(),
            operator: None,
            work_order: None,
            import_chunk: 1,
            rules: Rules::default(),
        }
    }
}

/// The whole state of the station: what the facts say, and what the bench shows.
#[derive(Clone, Debug)]
pub struct Rack {
    setting: Arc<Setting>,
    runs: BTreeMap<RunId, Arc<Run>>,
    packets: BTreeMap<RunId, Arc<Packet>>,
    outbox: Outbox,
    shift: Shift,
    /// True if there are PINs.
    pins: bool,
    /// Who gave the right PIN, while it counts.
    engineer: Option<Engineer>,
    slots: BTreeMap<SlotNo, Slot>,
    bus: Arc<Vec<Attached>>,
    orders: u32,
    /// Verdicts that wait for the clean-up of their device.
    sentences: BTreeMap<RunId, judge::Sentence>,
    lines: lines::Lines,
    /// Looks before an upload.
    looks: BTreeMap<ItemId, look::Look>,
    /// Devices that are done for the work order.
    done: Arc<BTreeSet<DeviceId>>,
    /// Questions of packets that owe nothing yet.
    asks: BTreeMap<RunId, packet::Ask>,
    /// Set by [`Command::Finish`] and [`Command::Quit`].
    ending: Option<Ending>,
}

/// How the station is coming to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No new run begins; it ends when those under way are judged.
    Finish,
    /// Each slot stops at its next safe point.
    Quit,
}

impl Rack {
    /// An empty rack: every slot vacant, no runs.
    pub fn new(setting: Setting) -> Self {
        let slots = setting.ports.keys().map(|slot| (*slot, Slot::Vacant)).collect();
        Self {
            shift: Self::first_shift(&setting),
            engineer: None,
            pins: setting.rules.pins,
            setting: Arc::new(setting),
            runs: BTreeMap::new(),
            packets: BTreeMap::new(),
            outbox: Outbox::default(),
            slots,
            bus: Arc::default(),
            orders: 0,
            sentences: BTreeMap::new(),
            lines: lines::Lines::new(LINES),
            looks: BTreeMap::new(),
            done: Arc::default(),
            asks: BTreeMap::new(),
            ending: None,
        }
    }

    /// What the station is told at the start, before any fact.
    fn first_shift(setting: &Setting) -> Shift {
        Shift::begin(setting.operator.clone(), setting.work_order.clone())
    }

    /// Takes in the records that count for the station as a whole, in place of what other records said of it.
    pub fn recall<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) {
        self.shift = Self::first_shift(&self.setting);
        for record in records {
            self.shift.apply(record.at, &record.fact);
        }
    }

    /// Takes in a fact: the only way in which runs, packets, outbox and shift change.
    ///
    /// # Errors
    /// [`Illegal`] if the fact does not fit; the state is then as it was, but for the outbox.
    pub fn apply(&mut self, at: Wall, fact: &Fact) -> Result<(), Illegal> {
        self.outbox.apply(at, fact);
        self.shift.apply(at, fact);
        if let Fact::RunStarted { run, .. } = fact {
            if self.runs.contains_key(run) {
                return Err(Illegal {
                    run: *run,
                    what: "it starts twice",
                });
            }
            if let Some(new) = Run::start(at, fact) {
                self.runs.insert(*run, Arc::new(new));
            }
            return Ok(());
        }
        if let Fact::PacketTaken { packet, .. } = fact {
            if self.runs.contains_key(packet) || self.packets.contains_key(packet) {
                return Err(Illegal {
                    run: *packet,
                    what: "a packet is taken twice",
                });
            }
            if let Some(new) = Packet::take(at, fact) {
                self.packets.insert(*packet, Arc::new(new));
            }
            return Ok(());
        }
        match fact {
            Fact::ItemQueued { item } | Fact::KeyIntended { item, .. }
                if !self.runs.contains_key(&item.run) && !self.packets.contains_key(&item.run) =>
            {
                return Err(Illegal {
                    run: item.run,
                    what: "an item for an unknown run",
                });
            }
            Fact::ItemSent { item, .. } => {
                // A packet's key may be another one than that of a run of the same device.
                let sent = self
                    .outbox
                    .get(item)
                    .and_then(|entry| Some((entry.item.device, entry.key()?)));
                if let Some((device, key)) = sent {
                    for run in self.runs.values_mut().filter(|run| run.device == device && !run.ended()) {
                        Arc::make_mut(run).keys.sent(key);
                    }
                }
            }
            Fact::ItemAnswered {
                item,
                answer: Answer::Accepted { at, .. },
                ..
            } => {
                let accepted = self.outbox.get(item).and_then(|entry| Some((entry.item.run, entry.key()?)));
                if let Some((run, key)) = accepted
                    && let Some(run) = self.runs.get_mut(&run)
                {
                    Arc::make_mut(run).keys.accepted = Some((key, *at));
                }
            }
            _ => {}
        }
        if matches!(
            fact,
            Fact::ItemQueued { .. } | Fact::ItemSent { .. } | Fact::ItemAnswered { .. } | Fact::ItemWithdrawn { .. }
        ) {
            return Ok(());
        }
        let Some(id) = fact.run() else { return Ok(()) };
        // Whatever its verdict was, a device that could not be given back is a person's to release.
        if matches!(fact, Fact::QuarantineReleased { .. }) && self.is_lost(id) {
            return Ok(());
        }
        if let Some(packet) = self.packets.get_mut(&id) {
            return Arc::make_mut(packet).apply(fact);
        }
        match self.runs.get_mut(&id) {
            Some(run) => Arc::make_mut(run).apply(at, fact)?,
            // Of a run that the ledger alone knows any more.
            None if matches!(fact, Fact::QuarantineReleased { .. } | Fact::UndoDestroyed { .. }) => {}
            None => {
                return Err(Illegal {
                    run: id,
                    what: "it is unknown",
                });
            }
        }
        self.count_done(fact);
        Ok(())
    }

    /// The runs that the core still knows.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(|run| &**run)
    }

    /// The run with this id, if the core still knows it.
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id).map(|run| &**run)
    }

    /// The outbox.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The work order of this start: what it names, else what was named before.
    pub fn order_of_start(&self) -> Option<&WorkOrder> {
        self.setting.rules.work_order_now.as_ref().or(self.shift.work_order.as_ref())
    }

    /// What counts for the station as a whole.
    pub fn shift(&self) -> &Shift {
        &self.shift
    }

    /// The device in a slot, if it is known who is there.
    pub fn device_in(&self, slot: SlotNo) -> Option<DeviceId> {
        let run = |run: RunId| self.run(run).map(|run| run.device);
        match self.slots.get(&slot)? {
            Slot::Judged { device, .. } | Slot::Held { device, .. } => Some(*device),
            Slot::Rejected { device, .. } => *device,
            Slot::Set { run: id, .. } => run(*id),
            slot => slot.run().and_then(run),
        }
    }

    /// The slots.
    pub fn slots(&self) -> &BTreeMap<SlotNo, Slot> {
        &self.slots
    }

    /// What the core was told at the start.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// When [`Input::Tick`] is wanted at the latest.
    pub fn next_tick(&self, now: Mono, wall: Wall) -> Option<Mono> {
        let slots = self.slots.values().filter_map(Slot::deadline).min();
        let outbox = self
            .outbox
            .next_due(wall)
            .map(|wait| now + wait.max(Duration::from_millis(1)));
        let engineer = self.engineer.as_ref().map(|engineer| engineer.deadline);
        slots
            .into_iter()
            .chain(outbox)
            .chain(self.next_look(now))
            .chain(self.next_ask(now))
            .chain(engineer)
            .min()
    }

    /// True if nothing is under way: every slot idle. Items may still be owed.
    pub fn idle(&self) -> bool {
        self.slots.values().all(Slot::idle)
    }

    /// True if the station was asked to end and may.
    pub fn may_end(&self) -> bool {
        self.ending.is_some() && self.idle() && !self.gives_back() && !self.lines.cleans_up()
    }

    /// True if a device was taken and is about to be given back: unless the cloud does not answer, the station does not
    /// end before.
    fn gives_back(&self) -> bool {
        let answers = |run: RunId| {
            let mut open = self.outbox.open().filter(|entry| entry.item.run == run);
            self.outbox.locked.is_none() && open.all(|entry| matches!(entry.last, None | Some(Answer::Accepted { .. })))
        };
        let mut owing = self.outbox.open().map(|entry| entry.item.run);
        owing.any(|run| self.outbox.lacks(run) && answers(run))
    }
}

/// So many calls of the cloud are under way at once, unless something else is [said](Rack::has_lines): enough to use up what
/// the cloud allows, with some to spare for devices that were taken.
pub const LINES: u16 = 6;
