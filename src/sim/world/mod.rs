//! The simulated world around the station: devices in the ports of a rack, their power, and what goes wrong.
//!
//! The world owns where devices are and when they act; what a device does with a request is the device model's affair,
//! and what the cloud answers is the stand-in cloud's ([`CloudSide`]). The station meets the world as a
//! [`Bus`](crate::edge::Bus): [`World::bus`].
//!
//! It must not know steps, recipes or verdicts: a scenario's expectations are data for whoever runs it.

mod bus;
mod drive;
pub mod hubs;
pub mod mishap;
pub mod phase;
pub mod point;
pub mod remote;
pub mod scenario;

mod seat;
mod state;
pub mod store;
pub mod vhci;

#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    edge::{Clock, Signal},
    model::{DeviceId, Mono, PortPath, Wall},
    sim::{
        clock::VirtualClock,
        device::{Device, DeviceMishap, Dial, Dialled},
    },
};

pub use bus::{Canceller, WorldBus, WorldPipe};
pub use mishap::{Deed, Mishap, MishapReport, When};
pub use phase::Phase;
pub use point::{Cut, Moment, TransferPoint};

use state::State;

/// The side of the cloud that devices see.
pub trait CloudSide: Send + Sync {
    /// A device knocks: the answer as it reaches the device.
    fn dial(&self, now: Wall, dial: &Dial) -> Dialled;
}

/// A rack of simulated devices. Clones are the same world.
#[derive(Clone)]
pub struct World(Arc<Inner>);

/// The port of a rack is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// A device is plugged in already.
    #[error("port {0} already holds a device")]
    Taken(PortPath),
    /// No device is plugged in.
    #[error("port {0} is empty")]
    Empty(PortPath),
}

type Observer = Arc<dyn Fn(&TransferPoint) -> Cut + Send + Sync>;
type StationCut = Arc<dyn Fn() + Send + Sync>;

struct Inner {
    clock: Arc<dyn Clock>,
    /// The same clock, if it is virtual.
    virtual_clock: Option<VirtualClock>,
    state: Mutex<State>,
    /// The set of attached devices may have changed.
    changed: Signal,
    /// A device may have become due earlier than it was.
    poke: Signal,
    cloud: Mutex<Option<Arc<dyn CloudSide>>>,
    observer: Mutex<Option<Observer>>,
    station_cut: Mutex<Option<StationCut>>,
}

impl World {
    /// An empty world on a virtual clock: its devices act exactly when they are due.
    pub fn on_virtual_clock(clock: &VirtualClock) -> Self {
        let world = Self::empty(Arc::new(clock.clone()), Some(clock.clone()));
        let source: std::sync::Weak<Inner> = Arc::downgrade(&world.0);
        clock.register_source(source);
        world
    }

    /// An empty world in real time, with a thread of its own that ends with the world.
    pub fn in_real_time(clock: Arc<dyn Clock>) -> Self {
        let world = Self::empty(clock, None);
        drive::start(&world.0);
        world
    }

    fn empty(clock: Arc<dyn Clock>, virtual_clock: Option<VirtualClock>) -> Self {
        let changed = Signal::new();
        Self(Arc::new(Inner {
            clock,
            virtual_clock,
            state: Mutex::new(State::new(changed.clone())),
            changed,
            poke: Signal::new(),
            cloud: Mutex::default(),
            observer: Mutex::default(),
            station_cut: Mutex::default(),
        }))
    }

    /// The ports as the station meets them.
    pub fn bus(&self) -> WorldBus {
        WorldBus::new(Arc::clone(&self.0))
    }

    /// The clock of this world.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.0.clock)
    }

    /// What devices dial from now on; without it no route leads to the cloud.
    pub fn set_cloud(&self, cloud: Arc<dyn CloudSide>) {
        *lock(&self.0.cloud) = Some(cloud);
    }

    /// Calls this at the three moments of each control transfer, and obeys it. It replaces an earlier observer.
    pub fn observe(&self, observer: Arc<dyn Fn(&TransferPoint) -> Cut + Send + Sync>) {
        *lock(&self.0.observer) = Some(observer);
    }

    /// Removes the observer.
    pub fn observe_no_more(&self) {
        *lock(&self.0.observer) = None;
    }

    /// How to cut the station: for one in a [`Group`](crate::sim::clock::Group), its `kill`. It is called on the thread
    /// whose transfer is cut and need not return; if it does, the transfer fails as on a dead bus.
    pub fn on_station_cut(&self, cut: Arc<dyn Fn() + Send + Sync>) {
        *lock(&self.0.station_cut) = Some(cut);
    }

    /// Plugs a device in, and with that powers it.
    ///
    /// # Errors
    /// [`PortError::Taken`], and the device is dropped.
    pub fn plug(&self, port: &PortPath, device: Device) -> Result<(), PortError> {
        self.change(|state, now| state.plug(port, device, now))
    }

    /// Pulls a device out, under whatever goes on.
    ///
    /// # Errors
    /// [`PortError::Empty`].
    pub fn unplug(&self, port: &PortPath) -> Result<Device, PortError> {
        self.change(|state, now| state.take(port, now))
            .map(|(_, device)| device)
            .ok_or_else(|| PortError::Empty(port.clone()))
    }

    /// Moves a device to an empty port: it loses its power for no time at all and starts anew.
    ///
    /// # Errors
    /// [`PortError`] if the first port is empty or the second is not; then nothing was done.
    pub fn relocate(&self, from: &PortPath, to: &PortPath) -> Result<(), PortError> {
        self.change(|state, now| {
            if state.seats.contains_key(to) {
                return Err(PortError::Taken(to.clone()));
            }
            let (id, device) = state.take(from, now).ok_or_else(|| PortError::Empty(from.clone()))?;
            state.put(to, id, device, now);
            Ok(())
        })
    }

    /// Lets two devices change places, as [`World::relocate`] does.
    ///
    /// # Errors
    /// [`PortError::Empty`] if one of the ports is empty; then nothing was done.
    pub fn swap(&self, a: &PortPath, b: &PortPath) -> Result<(), PortError> {
        self.change(|state, now| {
            for port in [a, b] {
                if !state.seats.contains_key(port) {
                    return Err(PortError::Empty(port.clone()));
                }
            }
            let (at_a, at_b) = (state.take(a, now), state.take(b, now));
            for (port, device) in [(b, at_a), (a, at_b)] {
                if let Some((id, device)) = device {
                    state.put(port, id, device, now);
                }
            }
            Ok(())
        })
    }

    /// Cuts the power of one device, or of all, for this long. A device that is off already stays so.
    pub fn power_cut(&self, device: Option<DeviceId>, off: Duration) {
        self.change(|state, now| state.power_cut(|seat| device.is_none_or(|id| seat.id == id), off, now));
    }

    /// Cuts the power of everything behind a hub for this long; an empty chain is the whole controller.
    pub fn hub_off(&self, controller: &str, chain: &[u8], off: Duration) {
        self.change(|state, now| {
            let behind: Vec<PortPath> = state
                .seats
                .keys()
                .filter(|p| hubs::behind(p, controller, chain))
                .cloned()
                .collect();
            state.power_cut_ports(&behind, off, now);
        });
    }

    /// Resets the port of a device, as a host does after a detach request; true if it is plugged in.
    pub fn bus_reset(&self, device: DeviceId) -> bool {
        self.change(|state, now| {
            let Some(port) = state.port_of(device) else { return false };
            if let Some(seat) = state.seats.get_mut(&port) {
                seat.device_mut().bus_reset(now);
            }
            state.settle(&port, now, true);
            true
        })
    }

    /// Injects a mishap into a device at once; true if the device is here. The report does not list it.
    pub fn inject(&self, device: DeviceId, mishap: DeviceMishap) -> bool {
        self.with_device(device, |device| device.inject(mishap)).is_some()
    }

    /// Adds mishaps to come.
    pub fn arm(&self, mishaps: impl IntoIterator<Item = Mishap>) {
        self.change(|state, _| mishaps.into_iter().for_each(|m| state.arm(m)));
    }

    /// What became of each mishap so far, in the order in which they were armed.
    pub fn mishaps(&self) -> Vec<MishapReport> {
        self.state().reports()
    }

    /// Looks at a device, or changes it, wherever it is; `None` if it is not of this world.
    pub fn with_device<R>(&self, device: DeviceId, look: impl FnOnce(&mut Device) -> R) -> Option<R> {
        self.change(|state, _| state.device_mut(device).map(look))
    }

    /// Where each device is: a port, or `None` for one that a mishap has pulled out.
    pub fn devices(&self) -> Vec<(DeviceId, Option<PortPath>)> {
        let state = self.state();
        let seated = state.seats.iter().map(|(port, seat)| (seat.id, Some(port.clone())));
        seated.chain(state.drawer.keys().map(|id| (*id, None))).collect()
    }

    /// How many control transfers a device has had.
    pub fn transfers(&self, device: DeviceId) -> u64 {
        self.state().transfers.get(&device).copied().unwrap_or(0)
    }

    /// Changes the state at the present time, and lets the driver look again when the next device is due.
    fn change<R>(&self, change: impl FnOnce(&mut State, Mono) -> R) -> R {
        self.0.change(change)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl Inner {
    fn change<R>(&self, change: impl FnOnce(&mut State, Mono) -> R) -> R {
        let now = self.clock.now();
        let (result, wake) = {
            let mut state = lock(&self.state);
            let result = change(&mut state, now);
            if let (Some(clock), millis @ 1.. | millis @ ..=-1) = (&self.virtual_clock, std::mem::take(&mut state.jump)) {
                clock.jump_wall(millis);
            }
            (result, state.driver_oversleeps())
        };
        // Not after each transfer: nearly none makes a device due earlier.
        if wake {
            self.poke.raise();
        }
        result
    }
}

/// How long the power stays away after a cut that an observer ordered.
pub const POWER_CUT: Duration = Duration::from_secs(2);

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A killed station unwinds through here; what the lock protects is changed by calls that do not unwind half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
