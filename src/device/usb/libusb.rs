//! libusb behind the [seam](super::host): the only user of rusb.
//!
//! Only explicit contexts: rusb's global one ends the program where there is no USB. A callback of hot-plug runs on
//! whatever thread handles events, in the middle of somebody's transfer: it sends, and does nothing else.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusb::{Context, Device, DeviceHandle, Hotplug, HotplugBuilder, Registration, UsbContext};

use crate::edge::{Setup, Signal, UsbError};

use super::host::{Handle, Host};

/// libusb with hot-plug. Open devices hold it: their transfers handle its events, and rusb frees a callback without
/// regard for whoever is in it.
pub(super) struct LibUsb(Arc<Running>);

struct Running {
    context: Context,
    /// Announcements end when it is dropped. None where libusb cannot announce: then the ports are looked at instead.
    _registration: Mutex<Option<Registration<Context>>>,
}

impl LibUsb {
    /// Starts libusb. Whoever comes or goes counts up `announced` and raises `changed`.
    pub(super) fn start(changed: &Signal, announced: &Arc<AtomicU64>) -> Result<Self, rusb::Error> {
        let context = Context::new()?;
        let bell = Bell {
            changed: changed.clone(),
            announced: Arc::clone(announced),
        };
        let registration = HotplugBuilder::new().register(&context, Box::new(bell)).ok();
        Ok(Self(Arc::new(Running {
            context,
            _registration: Mutex::new(registration),
        })))
    }
}

impl Host for LibUsb {
    fn open(&self, bus: u8, number: u8) -> Result<Box<dyn Handle>, UsbError> {
        // Without announcements (in a container with a network of its own) the list of a context stays as it was when the
        // context was made. A new one knows.
        let device = match find(&self.0.context, bus, number)? {
            Some(device) => device,
            None => find(&Context::new().map_err(plain)?, bus, number)?.ok_or(UsbError::Gone)?,
        };
        let handle = device.open().map_err(plain)?;
        // Not every system can; then a driver that holds an interface makes the claim fail.
        let _ = handle.set_auto_detach_kernel_driver(true);
        Ok(Box::new(Open {
            handle,
            _libusb: Arc::clone(&self.0),
        }))
    }

    fn pump(&self, limit: Duration) -> Result<(), UsbError> {
        self.0.context.handle_events(Some(limit)).map_err(plain)
    }
}

fn find(context: &Context, bus: u8, number: u8) -> Result<Option<Device<Context>>, UsbError> {
    let list = context.devices().map_err(plain)?;
    Ok(list
        .iter()
        .find(|device| (device.bus_number(), device.address()) == (bus, number)))
}

struct Bell {
    changed: Signal,
    announced: Arc<AtomicU64>,
}

impl Bell {
    fn ring(&self) {
        self.announced.fetch_add(1, Ordering::Relaxed);
        self.changed.raise();
    }
}

impl Hotplug<Context> for Bell {
    fn device_arrived(&mut self, _: Device<Context>) {
        self.ring();
    }

    fn device_left(&mut self, _: Device<Context>) {
        self.ring();
    }
}

struct Open {
    handle: DeviceHandle<Context>,
    _libusb: Arc<Running>,
}

impl Handle for Open {
    fn read(&self, setup: Setup, buffer: &mut [u8], timeout: Duration) -> Result<usize, UsbError> {
        self.handle
            .read_control(setup.request_type, setup.request, setup.value, setup.index, buffer, timeout)
            .map_err(plain)
    }

    fn write(&self, setup: Setup, data: &[u8], timeout: Duration) -> Result<usize, UsbError> {
        self.handle
            .write_control(setup.request_type, setup.request, setup.value, setup.index, data, timeout)
            .map_err(plain)
    }

    fn claim(&self, interface: u8) -> Result<(), UsbError> {
        self.handle.claim_interface(interface).map_err(plain)
    }

    fn alternate(&self, interface: u8, alternate: u8) -> Result<(), UsbError> {
        self.handle.set_alternate_setting(interface, alternate).map_err(plain)
    }
}

/// An error of libusb in plain words.
fn plain(error: rusb::Error) -> UsbError {
    match error {
        rusb::Error::Pipe => UsbError::Stall,
        rusb::Error::Timeout => UsbError::Timeout,
        rusb::Error::NoDevice => UsbError::Gone,
        rusb::Error::Busy => UsbError::Busy,
        rusb::Error::Access => UsbError::Access,
        // A device that is pulled out, a bad cable and a bad controller look alike for some milliseconds.
        rusb::Error::Io
        | rusb::Error::Overflow
        | rusb::Error::InvalidParam
        | rusb::Error::NotFound
        | rusb::Error::Interrupted
        | rusb::Error::NoMem
        | rusb::Error::NotSupported
        | rusb::Error::BadDescriptor
        | rusb::Error::Other => UsbError::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_libusb_has_a_plain_word() {
        for (error, word) in [
            (rusb::Error::Pipe, UsbError::Stall),
            (rusb::Error::Timeout, UsbError::Timeout),
            (rusb::Error::NoDevice, UsbError::Gone),
            (rusb::Error::Busy, UsbError::Busy),
            (rusb::Error::Access, UsbError::Access),
            (rusb::Error::Io, UsbError::Io),
            (rusb::Error::Overflow, UsbError::Io),
            (rusb::Error::NotFound, UsbError::Io),
            (rusb::Error::Other, UsbError::Io),
        ] {
            assert_eq!(plain(error), word);
        }
    }
}
