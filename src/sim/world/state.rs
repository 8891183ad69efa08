//! The state of the world: who is plugged in where, what is to happen next. It never waits, and it knows no clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    edge::Signal,
    model::{DeviceId, Mono, PortPath},
    sim::device::{Device, Dial, Happening},
};

use super::{
    PortError,
    hubs::Addresses,
    mishap::{Armed, Deed, Mishap, MishapReport},
    phase::Phase,
    seat::{Change, Seat},
};

/// The world, apart from time.
pub(super) struct State {
    pub(super) seats: BTreeMap<PortPath, Seat>,
    /// Devices that knock at the cloud and wait for an answer.
    pub(super) dials: Vec<(DeviceId, Dial)>,
    /// Devices that a mishap has pulled out, without power.
    pub(super) drawer: BTreeMap<DeviceId, Device>,
    /// Control transfers so far, by device.
    pub(super) transfers: BTreeMap<DeviceId, u64>,
    /// Control transfers so far.
    pub(super) overall: u64,
    /// The mishap that is to spoil a bit of the transfer that is just being made.
    garble: Option<usize>,
    /// By how many milliseconds the wall clock is to jump.
    pub(super) jump: i64,
    /// Until when whoever drives the world sleeps, once that is known: `None` inside for as long as nothing happens.
    driver_sleeps: Option<Option<Mono>>,
    addresses: Addresses,
    errands: BTreeMap<(Mono, u64), Errand>,
    counter: u64,
    armed: Vec<Armed>,
    changed: Signal,
}

/// Something to do at a time.
enum Errand {
    Plug(DeviceId, PortPath),
    PowerOn(BTreeSet<DeviceId>),
    Mishap(usize),
}

impl State {
    pub(super) fn new(changed: Signal) -> Self {
        Self {
            seats: BTreeMap::new(),
            dials: Vec::new(),
            drawer: BTreeMap::new(),
            transfers: BTreeMap::new(),
            overall: 0,
            garble: None,
            jump: 0,
            driver_sleeps: None,
            addresses: Addresses::default(),
            errands: BTreeMap::new(),
            counter: 0,
            armed: Vec::new(),
            changed,
        }
    }

    /// A number that was never given before.
    pub(super) fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn port_of(&self, device: DeviceId) -> Option<PortPath> {
        let mut found = self.seats.iter().filter(|(_, seat)| seat.id == device);
        found.next().map(|(port, _)| port.clone())
    }

    pub(super) fn device_mut(&mut self, device: DeviceId) -> Option<&mut Device> {
        let seated = self.seats.values_mut().find(|seat| seat.id == device);
        seated.map(Seat::device_mut).or_else(|| self.drawer.get_mut(&device))
    }

    pub(super) fn plug(&mut self, port: &PortPath, device: Device, now: Mono) -> Result<(), PortError> {
        if self.seats.contains_key(port) {
            return Err(PortError::Taken(port.clone()));
        }
        self.put(port, device.id(), device, now);
        Ok(())
    }

    /// Takes in a device that was stored: into its port, or beside the rack.
    pub(super) fn adopt(&mut self, id: DeviceId, port: Option<PortPath>, mut device: Device, now: Mono) -> Result<(), PortError> {
        match port {
            Some(port) if self.seats.contains_key(&port) => return Err(PortError::Taken(port)),
            Some(port) => self.put(&port, id, device, now),
            None => {
                device.power(now, false);
                self.drawer.insert(id, device);
            }
        }
        Ok(())
    }

    /// Plugs a device into a port that is empty.
    pub(super) fn put(&mut self, port: &PortPath, id: DeviceId, device: Device, now: Mono) {
        self.seats.insert(port.clone(), Seat::new(id, device, now));
        self.settle(port, now, true);
    }

    /// Pulls a device out, with the id that the world knows it by.
    pub(super) fn take(&mut self, port: &PortPath, now: Mono) -> Option<(DeviceId, Device)> {
        let mut seat = self.seats.remove(port)?;
        seat.power(now, false);
        if seat.detach() {
            self.changed.raise();
        }
        Some((seat.id, seat.into_device()))
    }

    pub(super) fn power_cut(&mut self, which: impl Fn(&Seat) -> bool, off: Duration, now: Mono) {
        let ports: Vec<PortPath> = self.seats.iter().filter(|(_, s)| which(s)).map(|(p, _)| p.clone()).collect();
        self.power_cut_ports(&ports, off, now);
    }

    pub(super) fn power_cut_ports(&mut self, ports: &[PortPath], off: Duration, now: Mono) {
        let mut dark = BTreeSet::new();
        for port in ports {
            if let Some(seat) = self.seats.get_mut(port).filter(|s| s.powered) {
                seat.power(now, false);
                dark.insert(seat.id);
                self.settle(port, now, false);
            }
        }
        if !dark.is_empty() {
            self.later(now + off, Errand::PowerOn(dark));
        }
    }

    /// Brings the host's view of a port in line with its device. `by_itself`: a device that left did so by itself.
    pub(super) fn settle(&mut self, port: &PortPath, now: Mono, by_itself: bool) {
        // After nearly every transfer.
        if self.seats.get(port).is_none_or(Seat::is_settled) {
            return;
        }
        let used: Vec<u16> = self
            .seats
            .iter()
            .filter(|(p, _)| p.controller() == port.controller())
            .filter_map(|(_, seat)| seat.shown.as_ref().map(|shown| shown.address))
            .collect();
        let Some(seat) = self.seats.get_mut(port) else { return };
        let changes = seat.settle(port, &mut self.addresses, &used);
        let (id, product) = (seat.id, seat.shown.as_ref().map(|shown| shown.product));
        for change in changes {
            self.changed.raise();
            match (change, product) {
                (Change::Attached, Some(product)) if in_dfu(product) => self.strike_phase(id, Phase::AttachedDfu, now),
                (Change::Attached, _) => self.strike_phase(id, Phase::AttachedNormal, now),
                (Change::Detached, _) if by_itself => self.strike_phase(id, Phase::Detached, now),
                (Change::Detached, _) => {}
            }
        }
    }

    /// Lets the device in a port do what is due by now.
    pub(super) fn advance(&mut self, port: &PortPath, now: Mono) {
        let Some(seat) = self.seats.get_mut(port) else {
            return;
        };
        if seat.due().is_none_or(|at| at > now) {
            return;
        }
        let id = seat.id;
        for happening in seat.device_mut().advance(now) {
            match happening {
                Happening::Detached => self.left(port, now),
                // Settled below: the device says itself what it shows.
                Happening::Attached => {}
                Happening::Dial(dial) => self.dials.push((id, dial)),
            }
        }
        self.settle(port, now, true);
    }

    /// The device in this port left the bus by itself, if only to come back at once.
    fn left(&mut self, port: &PortPath, now: Mono) {
        if let Some(seat) = self.seats.get_mut(port)
            && seat.detach()
        {
            let id = seat.id;
            self.changed.raise();
            self.strike_phase(id, Phase::Detached, now);
        }
    }

    /// When something is to happen next.
    pub(super) fn due(&self) -> Option<Mono> {
        if !self.dials.is_empty() {
            return Some(Mono::default());
        }
        let devices = self.seats.values().filter_map(Seat::due);
        devices.chain(self.next_errand()).min()
    }

    /// When something is to happen next; the driver sleeps until then, unless it is woken.
    pub(super) fn plan(&mut self) -> Option<Mono> {
        let due = self.due();
        self.driver_sleeps = Some(due);
        due
    }

    /// True if the driver would sleep too long.
    pub(super) fn driver_oversleeps(&self) -> bool {
        match (self.driver_sleeps, self.due()) {
            (None, _) | (Some(None), Some(_)) => true,
            (Some(Some(until)), Some(due)) => due < until,
            (Some(_), None) => false,
        }
    }

    /// When something is to happen next that is not inside of a device.
    pub(super) fn next_errand(&self) -> Option<Mono> {
        self.errands.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is due by now.
    pub(super) fn run_errands(&mut self, now: Mono) {
        while self.next_errand().is_some_and(|at| at <= now) {
            match self.errands.pop_first() {
                Some((_, Errand::Plug(id, port))) => self.plug_back(id, port, now),
                Some((_, Errand::PowerOn(ids))) => self.power_on(&ids, now),
                Some((_, Errand::Mishap(index))) => self.perform(index, now),
                None => {}
            }
        }
    }

    pub(super) fn arm(&mut self, mishap: Mishap) {
        let armed = Armed::new(mishap);
        let (at, index) = (armed.at(), self.armed.len());
        self.armed.push(armed);
        if let Some(at) = at {
            self.later(at, Errand::Mishap(index));
        }
    }

    /// True if a mishap waits for a transfer or phase.
    pub(super) fn mishaps_wait(&self) -> bool {
        self.armed.iter().any(Armed::waits)
    }

    pub(super) fn reports(&self) -> Vec<MishapReport> {
        self.armed
            .iter()
            .map(|armed| {
                let device = armed.mishap.device.and_then(|id| self.device(id));
                armed.report(device.map(Device::counters))
            })
            .collect()
    }

    /// A transfer to a device is about to reach it (`before`), or has: what is to go wrong goes wrong.
    pub(super) fn strike_transfer(&mut self, id: DeviceId, number: u64, phase: Option<Phase>, before: bool, now: Mono) {
        let due = self.armed.iter_mut().enumerate().filter_map(|(index, armed)| {
            let mine = armed.before_transfer() == before;
            let strikes = mine && (armed.strikes_transfer(id, number) || phase.is_some_and(|p| armed.strikes_phase(id, p)));
            strikes.then_some(index)
        });
        for index in due.collect::<Vec<_>>() {
            self.perform(index, now);
        }
    }

    /// Spoils what the device has just sent, if a mishap waits for that.
    pub(super) fn spoil(&mut self, data: &mut [u8]) {
        if let Some(index) = self.garble.take()
            && let (Some(byte), Some(armed)) = (data.first_mut(), self.armed.get_mut(index))
        {
            *byte ^= 1;
            armed.fired(None);
        }
    }

    fn strike_phase(&mut self, id: DeviceId, phase: Phase, now: Mono) {
        let due = self.armed.iter_mut().enumerate();
        let due: Vec<usize> = due
            .filter_map(|(i, armed)| armed.strikes_phase(id, phase).then_some(i))
            .collect();
        for index in due {
            self.perform(index, now);
        }
    }

    /// Lets a mishap happen. One whose device is not where it could happen to it stays unfired, which the report shows.
    fn perform(&mut self, index: usize, now: Mono) {
        let Some(mishap) = self.armed.get(index).map(|armed| armed.mishap.clone()) else {
            return;
        };
        let port = mishap.device.and_then(|id| self.port_of(id));
        // Before the deed, so that what it injects is told apart from what bit earlier.
        let counters = mishap.device.and_then(|id| self.device(id)).map(|d| d.counters().clone());
        let done = match (mishap.deed, mishap.device, port) {
            (Deed::Unplug { back_after, port: to }, Some(id), Some(port)) => {
                self.pull(id, &port, now);
                if let Some(after) = back_after {
                    self.later(now + after, Errand::Plug(id, to.unwrap_or(port)));
                }
                true
            }
            (Deed::Swap { with, gap }, Some(id), Some(port)) => match self.port_of(with) {
                Some(other) if with != id => {
                    self.pull(id, &port, now);
                    self.pull(with, &other, now);
                    self.later(now + gap, Errand::Plug(id, other));
                    self.later(now + gap, Errand::Plug(with, port));
                    true
                }
                _ => false,
            },
            (Deed::PowerCut { off }, None, _) => {
                self.power_cut(|_| true, off, now);
                true
            }
            (Deed::PowerCut { off }, Some(_), Some(port)) => {
                self.power_cut_ports(&[port], off, now);
                true
            }
            (Deed::HubOff { off }, Some(_), Some(port)) => {
                let hub = &port.chain()[..port.chain().len().saturating_sub(1)];
                let behind = self.seats.keys().filter(|p| super::hubs::behind(p, port.controller(), hub));
                let behind: Vec<PortPath> = behind.cloned().collect();
                self.power_cut_ports(&behind, off, now);
                true
            }
            (Deed::ClockJump(millis), _, _) => {
                self.jump += millis;
                true
            }
            (Deed::Garble, Some(_), Some(_)) => {
                self.garble = Some(index);
                // It has happened when there was a bit to spoil: see `spoil`.
                false
            }
            (Deed::Press(press), Some(_), Some(port)) => {
                if let Some(seat) = self.seats.get_mut(&port) {
                    seat.device_mut().press(now, press);
                }
                self.advance(&port, now);
                true
            }
            (Deed::Inject(inner), Some(id), _) => self.device_mut(id).map(|d| d.inject(inner)).is_some(),
            _ => false,
        };
        if done && let Some(armed) = self.armed.get_mut(index) {
            armed.fired(counters.as_ref());
        }
    }

    fn pull(&mut self, id: DeviceId, port: &PortPath, now: Mono) {
        if let Some((_, device)) = self.take(port, now) {
            self.drawer.insert(id, device);
        }
    }

    fn plug_back(&mut self, id: DeviceId, port: PortPath, now: Mono) {
        // A port that somebody filled meanwhile: the device stays out, as it would in a hand.
        if !self.seats.contains_key(&port)
            && let Some(device) = self.drawer.remove(&id)
        {
            self.put(&port, id, device, now);
        }
    }

    fn power_on(&mut self, ids: &BTreeSet<DeviceId>, now: Mono) {
        let ports: Vec<PortPath> = self
            .seats
            .iter()
            .filter(|(_, s)| ids.contains(&s.id))
            .map(|(p, _)| p.clone())
            .collect();
        for port in ports {
            if let Some(seat) = self.seats.get_mut(&port) {
                seat.power(now, true);
            }
            self.settle(&port, now, true);
        }
    }

    fn device(&self, id: DeviceId) -> Option<&Device> {
        let seated = self.seats.values().find(|seat| seat.id == id).map(Seat::device);
        seated.or_else(|| self.drawer.get(&id))
    }

    fn later(&mut self, at: Mono, errand: Errand) {
        let key = (at, self.number());
        self.errands.insert(key, errand);
    }
}

/// DFU product ids are 0xD000 | platform; the Core's is 0x607F (device-protocol.md 1.1).
fn in_dfu(product: u16) -> bool {
    product & 0xf000 == 0xd000 || product == 0x607f
}
