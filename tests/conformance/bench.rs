//! The station's own protocols on a simulated device: a pipe and a clock on one rig.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use keyrack::{
    device::{Cancel, Link},
    edge::{Attached, Clock, Pipe, Setup, Signal, UsbError, clock::Joiner},
    model::{Mono, Platform, PortPath, Wall, platform::UsbId},
};

use crate::{
    rig::{Rig, spec},
    wire::set_interface,
};
use keyrack::sim::device::Spec;

/// A rig that a pipe, a clock and a test share.
#[derive(Clone)]
pub(crate) struct Bench {
    rig: Arc<Mutex<Rig>>,
    /// Every setup packet that was sent.
    log: Arc<Mutex<Vec<Setup>>>,
    /// The data of every OUT transfer that had some.
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Bench {
    pub(crate) fn new(rig: Rig) -> Self {
        Self {
            rig: Arc::new(Mutex::new(rig)),
            log: Arc::default(),
            sent: Arc::default(),
        }
    }

    pub(crate) fn normal(platform: u16) -> Self {
        Self::boot(spec(platform))
    }

    pub(crate) fn dfu(platform: u16) -> Self {
        Self::new(Rig::dfu(platform))
    }

    pub(crate) fn boot(spec: Spec) -> Self {
        Self::new(Rig::boot(spec))
    }

    pub(crate) fn rig(&self) -> MutexGuard<'_, Rig> {
        self.rig.lock().unwrap()
    }

    /// What the operating system lists.
    pub(crate) fn attached(&self) -> Attached {
        let seen = self.rig().device.attachment().expect("it is attached");
        Attached {
            port: PortPath::new("pci-0000:00:14.0", [3, 2]),
            address: 7,
            vendor: seen.vendor,
            product: seen.product,
            serial: Some(seen.serial),
        }
    }

    /// An open link in the mode in which the device is.
    pub(crate) fn link(&self) -> Link {
        self.link_with(Cancel::new())
    }

    pub(crate) fn link_with(&self, cancel: Cancel) -> Link {
        let seen = self.attached();
        let usb = UsbId {
            vendor: seen.vendor,
            product: seen.product,
        };
        let (platform, mode) = Platform::from_usb(usb).expect("a platform of the table");
        Link::new(Box::new(self.clone()), Arc::new(self.clone()), cancel, platform, mode)
    }

    /// The setup packets since the last call.
    pub(crate) fn log(&self) -> Vec<Setup> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// What was sent since the last call.
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl Pipe for Bench {
    fn control(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, UsbError> {
        assert!(timeout >= Duration::from_millis(1), "libusb would wait for ever");
        assert!(
            setup.is_in() || data.len() == usize::from(setup.length),
            "wLength is the length of the data"
        );
        assert!(setup.length <= 4096, "no transfer is longer than 4096 bytes");
        self.log.lock().unwrap().push(setup);
        if !data.is_empty() {
            self.sent.lock().unwrap().push(data.to_vec());
        }
        self.rig().transfer(setup, data)
    }

    fn claim(&mut self, interface: u8) -> Result<(), UsbError> {
        assert_eq!(interface, 0);
        match self.rig().device.attachment() {
            Some(_) => Ok(()),
            None => Err(UsbError::Gone),
        }
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), UsbError> {
        self.control(set_interface(interface, alternate), &[], Duration::from_secs(1))
            .map(drop)
    }
}

impl Clock for Bench {
    fn now(&self) -> Mono {
        self.rig().now
    }

    fn wall(&self) -> Wall {
        Wall::from_millis(1_700_000_000_000).expect("a time")
    }

    fn sleep(&self, duration: Duration) {
        self.rig().wait(duration);
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Mono>) -> u64 {
        if let (Some(deadline), true) = (deadline, signal.raised() <= seen) {
            let time = deadline.since(self.now());
            self.sleep(time);
        }
        signal.raised()
    }

    fn spawn(&self, _: &str, body: Box<dyn FnOnce() + Send>) -> Joiner {
        body();
        Box::new(|| Ok(()))
    }
}
