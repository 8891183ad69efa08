//! The devices of a world on the virtual USB host controller of this machine's kernel (the Linux module vhci_hcd): every
//! program meets them as real ones, through usbfs, hot-plug and sysfs.
//!
//! Each attachment is one end of a socket pair that is given to the kernel; on the other one a thread speaks USB/IP for as
//! long as the device is on the bus. The kernel enumerates and hands out addresses; the world does everything else.

mod controllers;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    edge::{Attached, Bus, Clock, Setup, Signal, UsbError, clock::Joiner},
    model::{DeviceId, PortPath},
};

use super::{
    World, WorldBus, lock,
    remote::{Watcher, serve_device},
};

pub use controllers::{Controllers, NoController};

/// What happens between the world and the kernel.
#[derive(Clone, Debug)]
pub enum Event {
    /// The kernel has taken a device.
    Attached {
        /// Which one.
        device: DeviceId,
        /// As the world lists it. The kernel gives it another address.
        attached: Attached,
    },
    /// A device has left the bus.
    Left {
        /// Which one.
        device: DeviceId,
        /// Where it was.
        port: PortPath,
    },
    /// The kernel did not take a device. It is not tried again until the device comes anew.
    Refused {
        /// Which one.
        device: DeviceId,
        /// Where it is.
        port: PortPath,
        /// Why.
        why: String,
    },
    /// A control transfer is over. Its data are not told: keys cross this wire.
    Transfer {
        /// The device.
        device: DeviceId,
        /// Where it is.
        port: PortPath,
        /// What was asked.
        setup: Setup,
        /// How many bytes were answered, or how it failed.
        result: Result<usize, UsbError>,
    },
}

/// The devices of a world, attached to the kernel. Dropping it unplugs them all.
pub struct Attachments {
    shared: Arc<Shared>,
    changed: Signal,
    watcher: Option<Joiner>,
}

struct Shared {
    bus: WorldBus,
    controllers: Controllers,
    clock: Arc<dyn Clock>,
    told: Arc<dyn Fn(Event) + Send + Sync>,
    stopping: AtomicBool,
    /// Our end of the wire of each device that is attached or about to be.
    wires: Mutex<BTreeMap<(PortPath, u16), UnixStream>>,
}

/// Attaches the devices of a world, now and whenever one comes, and unplugs each when it leaves its bus. The threads are
/// those of `clock`, which must be one of real time: they wait for the kernel.
pub fn attach(
    world: &World,
    controllers: Controllers,
    clock: Arc<dyn Clock>,
    told: Arc<dyn Fn(Event) + Send + Sync>,
) -> Attachments {
    let bus = world.bus();
    let changed = bus.changed();
    let shared = Arc::new(Shared {
        bus,
        controllers,
        clock: Arc::clone(&clock),
        told,
        stopping: AtomicBool::new(false),
        wires: Mutex::default(),
    });
    let watch = {
        let (shared, changed) = (Arc::clone(&shared), changed.clone());
        move || watch(&shared, &changed)
    };
    Attachments {
        shared,
        changed,
        watcher: Some(clock.spawn("vhci", Box::new(watch))),
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.changed.raise();
        for wire in lock(&self.shared.wires).values() {
            // What is closed already needs no closing.
            let _ = wire.shutdown(Shutdown::Both);
        }
        if let Some(watcher) = self.watcher.take() {
            // It has no result, and a panic of it was printed when it happened.
            drop(watcher());
        }
    }
}

/// Gives each device that comes a thread of its own, until the end; then waits for them.
fn watch(shared: &Arc<Shared>, changed: &Signal) {
    let mut threads: BTreeMap<(PortPath, u16), Joiner> = BTreeMap::new();
    let mut seen = changed.raised();
    while !shared.stopping.load(Ordering::SeqCst) {
        let listed = shared.bus.list().unwrap_or_default();
        threads = threads
            .into_iter()
            .filter_map(|(key, thread)| {
                if listed.iter().any(|a| (&a.port, a.address) == (&key.0, key.1)) {
                    return Some((key, thread));
                }
                drop(thread());
                None
            })
            .collect();
        for attached in listed {
            let key = (attached.port.clone(), attached.address);
            if threads.contains_key(&key) {
                continue;
            }
            let mine = Arc::clone(shared);
            let body = move || mine.hold(attached);
            threads.insert(key, shared.clock.spawn("vhci-device", Box::new(body)));
        }
        seen = shared.clock.wait(changed, seen, None);
    }
    threads.into_values().for_each(|thread| drop(thread()));
}

impl Shared {
    /// Attaches one device, and serves it until it leaves its bus.
    fn hold(&self, attached: Attached) {
        let Ok(pipe) = self.bus.open_pipe(&attached) else { return };
        let (device, port) = (pipe.device(), attached.port.clone());
        let key = (port.clone(), attached.address);
        let canceller = pipe.canceller();
        let give = || -> io::Result<Option<UnixStream>> {
            let (ours, kernels) = UnixStream::pair()?;
            lock(&self.wires).insert(key.clone(), ours.try_clone()?);
            // The port is busy for as long as the kernel is not done with what was there before.
            let over = || self.stopping.load(Ordering::SeqCst) || canceller.is_over();
            let deadline = self.clock.now() + PATIENCE;
            loop {
                let seen = canceller.signal().raised();
                let tried = if self.controllers.holds(&port) {
                    Err(io::Error::from(io::ErrorKind::ResourceBusy))
                } else {
                    self.controllers.attach(&port, &kernels)
                };
                match tried {
                    _ if over() => return Ok(None),
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy && self.clock.now() < deadline => {
                        self.clock
                            .wait(&canceller.signal(), seen, Some(self.clock.now() + LOOK_AGAIN));
                    }
                    Err(error) => return Err(error),
                    Ok(()) => return Ok(Some(ours)),
                }
            }
        };
        match give() {
            Ok(Some(wire)) => {
                (self.told)(Event::Attached { device, attached });
                let told = Arc::clone(&self.told);
                let at = port.clone();
                let watcher: Watcher = Arc::new(move |setup, result| {
                    let result = result.as_ref().map(Vec::len).map_err(|error| *error);
                    let port = at.clone();
                    told(Event::Transfer {
                        device,
                        port,
                        setup,
                        result,
                    });
                });
                // How it ended is of no account: the device is gone from the bus either way.
                drop(serve_device(wire, pipe, &self.clock, &watcher));
                (self.told)(Event::Left { device, port });
            }
            Ok(None) => {}
            Err(error) => (self.told)(Event::Refused {
                device,
                port,
                why: error.to_string(),
            }),
        }
        if let Some(wire) = lock(&self.wires).remove(&key) {
            let _ = wire.shutdown(Shutdown::Both);
        }
    }
}

/// How long the kernel may take to be done with the device that was in a port before: in an emulated machine with a full
/// rack, seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
