//! The thin seam in front of libusb: what is needed of it, in plain types, so that everything else here is tested
//! without it.

use std::time::Duration;

use crate::edge::{Setup, UsbError};

/// The operating system's USB.
pub(super) trait Host: Send + Sync {
    /// Opens the device with this number on this bus. [`UsbError::Gone`] if there is none, or none yet.
    fn open(&self, bus: u8, number: u8) -> Result<Box<dyn Handle>, UsbError>;

    /// Lets announcements of devices that come and go arrive, for as long as that.
    fn pump(&self, limit: Duration) -> Result<(), UsbError>;
}

/// An open device. Timeouts are in whole milliseconds, and zero is for ever: no caller passes less than one.
pub(super) trait Handle: Send {
    /// A transfer from the device; the number of bytes that came.
    fn read(&self, setup: Setup, buffer: &mut [u8], timeout: Duration) -> Result<usize, UsbError>;

    /// A transfer to the device; the number of bytes that went.
    fn write(&self, setup: Setup, data: &[u8], timeout: Duration) -> Result<usize, UsbError>;

    /// Takes an interface, also from a driver of the kernel. [`UsbError::Busy`] if another program has it.
    fn claim(&self, interface: u8) -> Result<(), UsbError>;

    /// Selects an alternate setting of a claimed interface.
    fn alternate(&self, interface: u8, alternate: u8) -> Result<(), UsbError>;
}
