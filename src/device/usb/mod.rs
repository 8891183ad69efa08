//! The USB ports of this machine as a [`Bus`].
//!
//! Owns: which devices are plugged in and where, when that changes, and opening them. It must not open a device that is
//! not of the platform table, know what a transfer means, or wait without a limit.
//!
//! | file | what it owns |
//! |---|---|
//! | `sysfs.rs` | what the kernel shows: devices, and the port path of each |
//! | `roll.rs` | who is attached, since when, and under which number |
//! | `host.rs`, `libusb.rs` | the seam, and libusb behind it |
//! | `pipe.rs` | an open device |
//! | `topology.rs`, `preflight.rs` | hubs and controllers, and what will go wrong with them |
//! | `start.rs` | why there is no bus, and what to do |

mod host;
mod libusb;
mod pipe;
pub mod preflight;
mod roll;
mod start;
pub mod sysfs;
#[cfg(test)]
mod tests;
pub mod topology;
#[cfg(test)]
mod tree;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    edge::{Attached, Bus, BusError, Clock, Pipe, Signal, UsbError},
    model::{Mono, Platform, platform::UsbId},
};

use host::Host;
use libusb::LibUsb;
use pipe::UsbPipe;
use roll::{Found, Key, Roll};
pub use start::{NODES, StartError};

/// All USB ports of this machine.
///
/// Devices that come and go are announced by libusb. Because an announcement can be lost, and in some containers none
/// arrives, the ports are also looked at: five times a second until the first announcement came, then now and then.
pub struct UsbBus(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    devices: PathBuf,
    host: Box<dyn Host>,
    roll: Mutex<Roll>,
    changed: Signal,
    announced: Arc<AtomicU64>,
}

impl UsbBus {
    /// Takes the ports into use. `clock` must be one of real time.
    ///
    /// # Errors
    /// If this machine has no USB, or does not let us use it.
    pub fn start(clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let devices = Path::new(sysfs::DEVICES);
        start::look(devices, Path::new(NODES))?;
        let (changed, announced) = (Signal::new(), Arc::default());
        let host = LibUsb::start(&changed, &announced).map_err(|error| StartError::Refused { why: error.to_string() })?;
        let bus = Self(Shared::new(clock, devices, Box::new(host), changed, announced));
        let (weak, clock) = (Arc::downgrade(&bus.0), Arc::clone(&bus.0.clock));
        drop(clock.spawn("usb-pump", Box::new(move || pump(&weak))));
        Ok(bus)
    }
}

impl Bus for UsbBus {
    fn list(&self) -> Result<Vec<Attached>, BusError> {
        self.0.look()
    }

    fn changed(&self) -> Signal {
        self.0.changed.clone()
    }

    /// Opens the device. Its node may appear, and get its permissions, a little later than the device itself: for a
    /// second after its arrival it is tried again.
    fn open(&self, device: &Attached) -> Result<Box<dyn Pipe>, UsbError> {
        self.0.open(device)
    }
}

impl Shared {
    fn new(clock: Arc<dyn Clock>, devices: &Path, host: Box<dyn Host>, changed: Signal, announced: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            devices: devices.to_owned(),
            host,
            roll: Mutex::default(),
            changed,
            announced,
        })
    }

    /// Looks at the ports. Whoever looks holds the roll meanwhile, so that an older look never overtakes a newer one.
    fn look(&self) -> Result<Vec<Attached>, BusError> {
        let mut roll = self.roll();
        let found = found(&self.devices)?;
        if roll.update(found, self.clock.now()) {
            self.changed.raise();
        }
        Ok(roll.list())
    }

    fn open(self: &Arc<Self>, device: &Attached) -> Result<Box<dyn Pipe>, UsbError> {
        loop {
            let (key, since) = self.seat(device)?;
            let last = self.clock.now().since(since) >= PATIENCE;
            match self.host.open(key.bus, key.number) {
                Ok(handle) => return Ok(Box::new(UsbPipe::new(handle))),
                Err(UsbError::Access | UsbError::Gone) if !last => self.clock.sleep(PAUSE),
                // It is plugged in, and the system has no node for it that we could open.
                Err(UsbError::Gone) => return self.seat(device).and(Err(UsbError::Access)),
                Err(error) => return Err(error),
            }
        }
    }

    fn seat(&self, device: &Attached) -> Result<(Key, Mono), UsbError> {
        self.look().map_err(|_| UsbError::Io)?;
        let roll = self.roll();
        let seat = roll.find(device).ok_or(UsbError::Gone)?;
        Ok((seat.key, seat.since))
    }

    /// How long the ports may go unlooked at.
    fn interval(&self) -> Duration {
        match self.announced.load(Ordering::Relaxed) {
            // The pump returns early whenever anything happens, and sometimes a little before its time.
            0 => PUMP / 2,
            _ => DISTRUST,
        }
    }

    /// Lets announcements arrive for a while, and looks at the ports if that is due.
    fn turn(&self, looked: &mut Mono) {
        if self.host.pump(PUMP).is_err() {
            self.clock.sleep(PUMP);
        }
        if self.clock.now().since(*looked) >= self.interval() {
            // Whoever wants the list learns of the error.
            let _ = self.look();
            *looked = self.clock.now();
        }
    }

    fn roll(&self) -> MutexGuard<'_, Roll> {
        // The roll is whole after any panic: it is replaced in one piece.
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until nobody holds the bus.
fn pump(bus: &Weak<Shared>) {
    let mut looked = Mono::default();
    while let Some(bus) = bus.upgrade() {
        bus.turn(&mut looked);
    }
}

/// The devices of the platform table that are plugged in. Of all others nothing but their ids is read.
fn found(devices: &Path) -> Result<Vec<Found>, BusError> {
    let nodes = sysfs::nodes(devices)?;
    let controllers = sysfs::controllers(&nodes);
    let found = nodes.iter().filter_map(|node| {
        let id = UsbId {
            vendor: node.vendor,
            product: node.product,
        };
        Platform::from_usb(id)?;
        Some(Found {
            key: Key {
                bus: node.bus,
                number: node.number,
                inode: node.inode,
            },
            port: sysfs::port(node, &controllers)?,
            vendor: node.vendor,
            product: node.product,
            serial: node.attribute("serial").filter(|serial| !serial.is_empty()),
        })
    });
    Ok(found.collect())
}

/// How long the pump waits for announcements at a time; where none ever came it looks at the ports after each.
const PUMP: Duration = Duration::from_millis(200);

/// How often it looks although announcements come: the kernel drops some when too many devices come at once.
const DISTRUST: Duration = Duration::from_secs(2);

/// How long after its arrival a device may still get its node and permissions, and how often that is tried.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
