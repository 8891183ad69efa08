//! What makes the world move: devices act when they are due, and dial the cloud.

use std::{
    sync::{Arc, Weak},
    thread,
};

use crate::{
    model::{DeviceId, Mono, PortPath},
    sim::{
        clock::TimeSource,
        device::{Dial, Dialled},
    },
};

use super::{Inner, lock};

impl TimeSource for Inner {
    fn due(&self) -> Option<Mono> {
        lock(&self.state).due()
    }

    fn advance(&self, now: Mono) {
        for (device, dial) in self.step(now) {
            self.dial(device, &dial);
        }
    }
}

impl Inner {
    /// Lets errands and devices act that are due by now, and returns who dials.
    fn step(&self, now: Mono) -> Vec<(DeviceId, Dial)> {
        let mut state = lock(&self.state);
        state.run_errands(now);
        let ports: Vec<PortPath> = state.seats.keys().cloned().collect();
        ports.iter().for_each(|port| state.advance(port, now));
        let dials = std::mem::take(&mut state.dials);
        let jump = std::mem::take(&mut state.jump);
        drop(state);
        if let Some(clock) = self.virtual_clock.as_ref().filter(|_| jump != 0) {
            clock.jump_wall(jump);
        }
        dials
    }

    /// Asks the cloud for a device, without keeping the world waiting, and brings the device the answer.
    fn dial(&self, device: DeviceId, dial: &Dial) {
        let cloud = lock(&self.cloud).clone();
        let answer = cloud.map_or(Dialled::NoRoute, |cloud| cloud.dial(self.clock.wall(), dial));
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let Some(port) = state.port_of(device) else { return };
        if let Some(seat) = state.seats.get_mut(&port).filter(|seat| seat.powered) {
            seat.device_mut().dialled(now, answer);
        }
        state.settle(&port, now, true);
        drop(state);
        self.poke.raise();
    }
}

/// Starts the thread that drives a world in real time. It ends when nobody holds the world.
pub(super) fn start(world: &Arc<Inner>) {
    let (weak, poke, clock) = (Arc::downgrade(world), world.poke.clone(), Arc::clone(&world.clock));
    let driver = world.clock.spawn(
        "world",
        Box::new(move || {
            loop {
                let seen = poke.raised();
                let Some(due) = with(&weak, |world| {
                    let now = world.clock.now();
                    if world.due().is_some_and(|at| at <= now) {
                        dial_apart(world, now);
                    }
                    lock(&world.state).plan()
                }) else {
                    return;
                };
                clock.wait(&poke, seen, due);
            }
        }),
    );
    // Nobody waits for it: it has nothing to finish.
    drop(driver);
}

/// As [`TimeSource::advance`], with a thread for each dial: a slow cloud must not stop the other devices.
fn dial_apart(world: &Arc<Inner>, now: Mono) {
    for (device, dial) in world.step(now) {
        let held = Arc::clone(world);
        let caller = world.clock.spawn("dial", Box::new(move || held.dial(device, &dial)));
        drop(caller);
    }
}

fn with<R>(world: &Weak<Inner>, act: impl FnOnce(&Arc<Inner>) -> R) -> Option<R> {
    world.upgrade().map(|world| act(&world))
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The driver holds no world while it waits: this lets it see that there is none any more.
        if !thread::panicking() {
            self.poke.raise();
        }
    }
}
