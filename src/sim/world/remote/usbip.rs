//! USB/IP framing of control transfers, as the kernel's virtual host controller (vhci) speaks it: big endian, 48-byte
//! headers (Documentation/usb/usbip_protocol.rst of the Linux kernel).
//!
//! It frames; it does not transfer.

use std::io::{self, Read, Write};

use crate::edge::{Setup, UsbError};

/// A message from host to device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Perform a transfer.
    Submit(Submit),
    /// Forget a transfer that was submitted.
    Unlink {
        /// Number of this command.
        seq: u32,
        /// Number of the transfer.
        victim: u32,
    },
}

/// USBIP_CMD_SUBMIT for a transfer without packets (not isochronous).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// Number of the command.
    pub seq: u32,
    /// Which device of the connection; a connection of ours has one.
    pub devid: u32,
    /// True from device to host.
    pub is_in: bool,
    /// Endpoint number.
    pub endpoint: u32,
    /// Most bytes of the data stage.
    pub length: u32,
    /// Setup packet; all zero for other than control transfers.
    pub setup: Setup,
    /// Data of an OUT transfer.
    pub data: Vec<u8>,
}

/// The header of a message from device to host. The data of an IN transfer follows it: only the host knows whether the
/// transfer was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A transfer is over.
    Submit {
        /// Its number.
        seq: u32,
        /// 0 or a negative errno.
        status: i32,
        /// Bytes of the data stage.
        actual: u32,
    },
    /// An unlink is over.
    Unlink {
        /// The number of the unlink command.
        seq: u32,
        /// -104 (ECONNRESET) if the transfer was forgotten, 0 if it was over already.
        status: i32,
    },
}

impl Command {
    /// Reads one command; `None` at the end of the stream.
    ///
    /// # Errors
    /// Of the stream, and [`io::ErrorKind::InvalidData`] for what no host sends on a control endpoint.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        match from.read(&mut header[..1])? {
            0 => return Ok(None),
            _ => from.read_exact(&mut header[1..])?,
        }
        let (command, seq) = (word(&header, 0), word(&header, 4));
        match command {
            CMD_SUBMIT => Submit::read(&header, from).map(|submit| Some(Self::Submit(submit))),
            CMD_UNLINK => Ok(Some(Self::Unlink {
                seq,
                victim: word(&header, 20),
            })),
            other => Err(invalid(format!("command {other:#x} is neither a submit nor an unlink"))),
        }
    }

    /// Writes the command.
    ///
    /// # Errors
    /// Of the stream.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER);
        match self {
            Self::Submit(submit) => {
                let direction = u32::from(submit.is_in);
                put(&mut bytes, [CMD_SUBMIT, submit.seq, submit.devid, direction, submit.endpoint]);
                put(&mut bytes, [0, submit.length, 0, NOT_ISOCHRONOUS, 0]);
                bytes.extend(submit.setup.to_bytes());
                bytes.extend(&submit.data);
            }
            Self::Unlink { seq, victim } => {
                put(&mut bytes, [CMD_UNLINK, *seq, 0, 0, 0]);
                put(&mut bytes, [*victim, 0, 0, 0, 0, 0, 0]);
            }
        }
        to.write_all(&bytes)
    }
}

impl Submit {
    fn read(header: &[u8; HEADER], from: &mut impl Read) -> io::Result<Self> {
        let [_, seq, devid, direction, endpoint, _, length, _, packets, _] = std::array::from_fn(|n| word(header, 4 * n));
        if length > MOST || !matches!(packets, 0 | NOT_ISOCHRONOUS) || direction > 1 {
            return Err(invalid(format!(
                "a transfer of {length} bytes in {packets} packets, direction {direction}"
            )));
        }
        let mut setup = [0; 8];
        setup.copy_from_slice(&header[40..]);
        let mut data = Vec::new();
        if direction == 0 {
            data.resize(usize::try_from(length).unwrap_or(0), 0);
            from.read_exact(&mut data)?;
        }
        Ok(Self {
            seq,
            devid,
            is_in: direction == 1,
            endpoint,
            length,
            setup: Setup::from_bytes(setup),
            data,
        })
    }
}

impl Reply {
    /// Length of every header.
    pub const LEN: usize = HEADER;

    /// The reply in these bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what no device sends.
    pub fn parse(header: &[u8; HEADER]) -> io::Result<Self> {
        let (command, seq, status) = (word(header, 0), word(header, 4), word(header, 20).cast_signed());
        match (command, word(header, 24)) {
            (RET_SUBMIT, actual) if actual <= MOST => Ok(Self::Submit { seq, status, actual }),
            (RET_UNLINK, _) => Ok(Self::Unlink { seq, status }),
            (other, _) => Err(invalid(format!("reply {other:#x}"))),
        }
    }

    /// Writes the reply, with the data of an IN transfer.
    ///
    /// # Errors
    /// Of the stream.
    pub fn write(&self, data: &[u8], to: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER + data.len());
        match self {
            Self::Submit { seq, status, actual } => {
                put(&mut bytes, [RET_SUBMIT, *seq, 0, 0, 0]);
                put(&mut bytes, [status.cast_unsigned(), *actual, 0, 0, 0, 0, 0]);
            }
            Self::Unlink { seq, status } => {
                put(&mut bytes, [RET_UNLINK, *seq, 0, 0, 0]);
                put(&mut bytes, [status.cast_unsigned(), 0, 0, 0, 0, 0, 0]);
            }
        }
        bytes.extend(data);
        to.write_all(&bytes)
    }
}

/// The Linux error number, negative, for a failed transfer.
pub fn status_of(error: UsbError) -> i32 {
    match error {
        UsbError::Stall => -32,
        UsbError::Timeout => -110,
        UsbError::Gone => -19,
        UsbError::Busy => -16,
        UsbError::Access => -13,
        UsbError::Io => -71,
    }
}

/// The error for a Linux error number, negative; other numbers than those of [`status_of`] are kinds of it.
pub fn error_of(status: i32) -> UsbError {
    match status {
        -32 => UsbError::Stall,
        -110 => UsbError::Timeout,
        // ENODEV, ESHUTDOWN
        -19 | -108 => UsbError::Gone,
        -16 => UsbError::Busy,
        -13 | -1 => UsbError::Access,
        _ => UsbError::Io,
    }
}

fn word(bytes: &[u8; HEADER], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

fn put<const N: usize>(bytes: &mut Vec<u8>, words: [u32; N]) {
    words.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The status of an unlink that came in time.
pub const UNLINKED: i32 = -104;

const HEADER: usize = 48;
const CMD_SUBMIT: u32 = 1;
const CMD_UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;
const NOT_ISOCHRONOUS: u32 = 0xffff_ffff;
/// The data stage of a control transfer has a 16-bit length.
const MOST: u32 = 0xffff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// GET_DESCRIPTOR(device) as vhci sends it, written out by hand from the protocol document.
    const GET_DEVICE: [u8; 48] = [
        0, 0, 0, 1, 0, 0, 0x0d, 5, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, // basic header
        0, 0, 2, 0, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // flags, length, frame, packets, interval
        0x80, 6, 0, 1, 0, 0, 18, 0,
    ];

    #[test]
    fn a_submit_of_the_kernel_is_read() {
        let command = Command::read(&mut &GET_DEVICE[..]).unwrap().unwrap();
        let Command::Submit(submit) = command else {
            panic!("{command:?}")
        };
        assert_eq!(
            (submit.seq, submit.devid, submit.endpoint, submit.length),
            (0x0d05, 0x1_0002, 0, 18)
        );
        assert!(submit.is_in && submit.data.is_empty());
        assert_eq!(submit.setup.to_bytes(), [0x80, 6, 0, 1, 0, 0, 18, 0]);
        assert_eq!(Command::read(&mut &[][..]).unwrap(), None);
        assert!(Command::read(&mut &GET_DEVICE[..47]).is_err(), "cut short");
    }

    #[test]
    fn replies_have_the_bytes_of_the_protocol() {
        let mut bytes = Vec::new();
        let reply = Reply::Submit {
            seq: 7,
            status: -32,
            actual: 0,
        };
        reply.write(&[], &mut bytes).unwrap();
        let mut expected = [0; 48];
        expected[3] = 3;
        expected[7] = 7;
        expected[20..24].copy_from_slice(&[0xff, 0xff, 0xff, 0xe0]);
        assert_eq!(bytes, expected);
        assert_eq!(Reply::parse(&expected).unwrap(), reply);
        expected[3] = 9;
        assert!(Reply::parse(&expected).is_err());
    }

    #[test]
    fn what_no_control_endpoint_sees_is_refused() {
        for (at, byte) in [(3, 5), (25, 1), (39, 0), (35, 8), (15, 2)] {
            let mut bytes = GET_DEVICE;
            bytes[at] = byte;
            let read = Command::read(&mut &bytes[..]);
            assert_eq!(read.is_err(), at != 39, "byte {at}: {read:?}");
        }
    }

    #[test]
    fn each_error_survives_the_wire() {
        for error in [
            UsbError::Stall,
            UsbError::Timeout,
            UsbError::Gone,
            UsbError::Busy,
            UsbError::Access,
            UsbError::Io,
        ] {
            assert_eq!(error_of(status_of(error)), error);
        }
        assert_eq!(error_of(-75), UsbError::Io, "EOVERFLOW");
    }

    proptest! {
        #[test]
        fn commands_round_trip(seq: u32, victim: u32, is_in: bool, bytes: [u8; 8], data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let data = if is_in { Vec::new() } else { data };
            let submit = Submit {
                seq, devid: 3, is_in, endpoint: 0,
                length: u32::try_from(data.len()).unwrap(),
                setup: Setup::from_bytes(bytes), data,
            };
            for command in [Command::Submit(submit), Command::Unlink { seq, victim }] {
                let mut wire = Vec::new();
                command.write(&mut wire).unwrap();
                prop_assert_eq!(Command::read(&mut &wire[..]).unwrap(), Some(command));
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::read(&mut &bytes[..]);
        }
    }
}
