//! An open device: every transfer is bounded in time, and gives no more than was asked for.

use std::time::Duration;

use crate::edge::{Pipe, Setup, UsbError};

use super::host::Handle;

/// The default control endpoint of an open device.
pub(super) struct UsbPipe(Box<dyn Handle>);

impl UsbPipe {
    /// A pipe to an open device.
    pub(super) fn new(handle: Box<dyn Handle>) -> Self {
        Self(handle)
    }
}

impl Pipe for UsbPipe {
    fn control(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, UsbError> {
        // A transfer cannot be ended from outside: what is not limited here would hold its thread for as long as it likes.
        let timeout = timeout.clamp(SHORTEST, LONGEST);
        if setup.is_in() {
            let mut buffer = vec![0; usize::from(setup.length)];
            let length = self.0.read(setup, &mut buffer, timeout)?;
            buffer.truncate(length);
            return Ok(buffer);
        }
        // The length that the device is told is that of the data: the two never differ on the wire.
        if data.len() != usize::from(setup.length) {
            return Err(UsbError::Io);
        }
        match self.0.write(setup, data, timeout)? {
            length if length == data.len() => Ok(Vec::new()),
            _ => Err(UsbError::Io),
        }
    }

    fn claim(&mut self, interface: u8) -> Result<(), UsbError> {
        self.0.claim(interface)
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), UsbError> {
        self.0.alternate(interface, alternate)
    }
}

/// libusb counts whole milliseconds, and takes zero for "for ever".
const SHORTEST: Duration = Duration::from_millis(1);

/// More than any transfer needs (device-protocol.md 7).
const LONGEST: Duration = Duration::from_secs(30);
