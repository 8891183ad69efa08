//! USB as keyrack needs it: devices come and go on ports, and a setup packet gives bytes or an error.

use std::{fmt, time::Duration};

use crate::model::PortPath;

use super::Signal;

/// The eight bytes that start a control transfer (USB 2.0, section 9.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Setup {
    /// bmRequestType: direction (0x80 = device to host), type, recipient.
    pub request_type: u8,
    /// bRequest.
    pub request: u8,
    /// wValue.
    pub value: u16,
    /// wIndex.
    pub index: u16,
    /// wLength: the length of the data stage; the most that an IN transfer may return.
    pub length: u16,
}

impl Setup {
    /// True if the data stage goes from device to host.
    pub const fn is_in(&self) -> bool {
        self.request_type & 0x80 != 0
    }

    /// As on the wire, little endian.
    pub const fn to_bytes(&self) -> [u8; 8] {
        let ([v0, v1], [i0, i1], [l0, l1]) = (self.value.to_le_bytes(), self.index.to_le_bytes(), self.length.to_le_bytes());
        [self.request_type, self.request, v0, v1, i0, i1, l0, l1]
    }

    /// From the wire.
    pub const fn from_bytes(b: [u8; 8]) -> Self {
        Self {
            request_type: b[0],
            request: b[1],
            value: u16::from_le_bytes([b[2], b[3]]),
            index: u16::from_le_bytes([b[4], b[5]]),
            length: u16::from_le_bytes([b[6], b[7]]),
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes()
            .iter()
            .enumerate()
            .try_for_each(|(i, b)| write!(f, "{}{b:02x}", if i > 0 { " " } else { "" }))
    }
}

/// How a transfer failed. The words are libusb's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsbError {
    /// The device answered with a STALL: it refuses this request.
    #[error("the device stalled the request")]
    Stall,
    /// No answer within the timeout. The device may or may not have acted.
    #[error("the device did not answer in time")]
    Timeout,
    /// The device is no longer on the bus.
    #[error("the device is gone from the bus")]
    Gone,
    /// Another program or driver holds the device or interface.
    #[error("another program holds the device")]
    Busy,
    /// The operating system does not let us open it.
    #[error("no permission to open the device")]
    Access,
    /// Anything else that the bus reports: cable, hub, controller.
    #[error("USB transfer error")]
    Io,
}

/// A device as the operating system lists it, without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where it is plugged in.
    pub port: PortPath,
    /// Its address; a re-enumerated device has a new one. Never a key, only to tell two attachments apart.
    pub address: u16,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// The serial number string as the operating system read it, if it could.
    pub serial: Option<String>,
}

/// Why the bus as a whole cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BusError {
    /// What is wrong, as a sentence fragment.
    pub what: String,
}

/// All USB ports of the station.
pub trait Bus: Send + Sync {
    /// What is plugged in now. It must not open or disturb any device.
    fn list(&self) -> Result<Vec<Attached>, BusError>;

    /// A signal that is raised whenever the result of [`Bus::list`] may have changed.
    fn changed(&self) -> Signal;

    /// Opens a device for control transfers. Fails with [`UsbError::Gone`] if the attachment is no longer there.
    fn open(&self, device: &Attached) -> Result<Box<dyn Pipe>, UsbError>;
}

/// An open device: its default control endpoint.
pub trait Pipe: Send {
    /// Performs one control transfer and returns the data of an IN transfer (never more than `setup.length` bytes; a
    /// device may send fewer) or nothing for an OUT transfer, whose `data` must have `setup.length` bytes.
    ///
    /// A timeout below one millisecond is not allowed: libusb would wait for ever.
    fn control(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, UsbError>;

    /// Claims an interface for this program; needed before DFU requests, not for requests to the device.
    fn claim(&mut self, interface: u8) -> Result<(), UsbError>;

    /// Selects an alternate setting of a claimed interface (SET_INTERFACE).
    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), UsbError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setup_packets_are_little_endian() {
        // device-protocol.md 8.1: INIT FIRMWARE_UPDATE_DATA, 1027-byte payload
        let setup = Setup {
            request_type: 0xc0,
            request: 1,
            value: 1027,
            index: 253,
            length: 64,
        };
        assert_eq!(setup.to_bytes(), [0xc0, 1, 3, 4, 0xfd, 0, 0x40, 0]);
        assert_eq!(Setup::from_bytes(setup.to_bytes()), setup);
        assert!(setup.is_in());
    }
}
