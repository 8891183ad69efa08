//! What the bench looked like, as far as a journal tells: pictures of the past for the screen. The journal knows runs and
//! when a device was seen, but not when it was taken out; so a slot keeps its verdict until another device is seen there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{DeviceId, Fact, Record, RunId, SlotNo, step::Hand};

use super::{
    Illegal, Rack, RackView, Setting,
    run::State,
    view::{Awaits, SlotView},
};

/// A station of the past, record by record.
#[derive(Clone, Debug)]
pub struct Past {
    rack: Rack,
    seats: BTreeMap<SlotNo, Seat>,
}

/// Who was in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Empty,
    Seen(DeviceId),
    Run(RunId),
}

impl Past {
    /// Before the first record, with these slots; those that the journal names come on top.
    pub fn new(setting: Setting, slots: impl IntoIterator<Item = SlotNo>) -> Self {
        Self {
            rack: Rack::new(setting),
            seats: slots.into_iter().map(|slot| (slot, Seat::Empty)).collect(),
        }
    }

    /// Goes on by one record.
    ///
    /// # Errors
    /// [`Illegal`] if the record does not fit those before it: of a journal that is not read from its beginning the first
    /// records may be about runs that are not known, and can be left out.
    pub fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        self.rack.apply(record.at, &record.fact)?;
        match &record.fact {
            // Whatever was in the slots is identified anew.
            Fact::StationStarted { .. } => self.seats.values_mut().for_each(|seat| *seat = Seat::Empty),
            Fact::DeviceSeen { slot, identity, .. } if self.device_in(*slot) != Some(identity.device) => {
                self.seats.insert(*slot, Seat::Seen(identity.device));
            }
            Fact::RunStarted { run, slot, .. } | Fact::RunResumed { run, slot } => {
                self.seats.insert(*slot, Seat::Run(*run));
                self.forget();
            }
            Fact::RunInterrupted { run, .. } => {
                let of_run = self.seats.values_mut().filter(|seat| **seat == Seat::Run(*run));
                of_run.for_each(|seat| *seat = Seat::Empty);
            }
            _ => {}
        }
        Ok(())
    }

    /// The station as it was.
    pub fn view(&self) -> RackView {
        RackView {
            slots: self.seats.iter().map(|(slot, seat)| self.slot_view(*slot, *seat)).collect(),
            ..self.rack.view()
        }
    }

    fn slot_view(&self, slot: SlotNo, seat: Seat) -> SlotView {
        let run = match seat {
            Seat::Empty => return SlotView::awaiting(slot, Awaits::Device),
            Seat::Seen(device) => {
                return SlotView {
                    device: Some(device),
                    ..SlotView::awaiting(slot, Awaits::Identity)
                };
            }
            Seat::Run(run) => self.rack.runs.get(&run),
        };
        let Some(run) = run else {
            return SlotView::awaiting(slot, Awaits::Device);
        };
        let awaits = match (&run.state, run.next()) {
            (State::Ended { verdict, .. }, _) => Awaits::Removal(*verdict),
            (State::Interrupted(_), _) => Awaits::Device,
            (State::Active, Some((_, step))) if step.kind.hand() == Hand::Cloud => Awaits::Cloud,
            (State::Active, _) => Awaits::Step,
        };
        let mut view = SlotView {
            run: Some(run.id),
            ..SlotView::awaiting(slot, awaits)
        };
        if let State::Ended { verdict, code, why } = &run.state {
            (view.verdict, view.code, view.why) = (Some(*verdict), *code, why.clone());
        }
        view.of_run(run, None);
        view.cloud = self.rack.registration(run);
        view
    }

    fn device_in(&self, slot: SlotNo) -> Option<DeviceId> {
        match self.seats.get(&slot)? {
            Seat::Empty => None,
            Seat::Seen(device) => Some(*device),
            Seat::Run(run) => self.rack.run(*run).map(|run| run.device),
        }
    }

    /// Forgets ended runs and packets that are not shown any more: a journal may hold a million.
    fn forget(&mut self) {
        let shown = |id: &RunId| self.seats.values().any(|seat| *seat == Seat::Run(*id));
        let owing: BTreeSet<RunId> = self.rack.outbox.open().map(|entry| entry.item.run).collect();
        self.rack
            .runs
            .retain(|id, run: &mut Arc<_>| !run.ended() || shown(id) || owing.contains(id));
        self.rack
            .packets
            .retain(|id, packet| packet.end.is_none() || owing.contains(id));
        let (runs, packets) = (&self.rack.runs, &self.rack.packets);
        self.rack
            .outbox
            .sweep(|item| runs.contains_key(&item.run) || packets.contains_key(&item.run));
    }
}
