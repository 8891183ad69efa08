//! The answer to GETSTATUS (device-protocol.md 3.1).

use std::{fmt, time::Duration};

/// What happened to the last operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the DFU specification")]
pub enum Status {
    Ok,
    Target,
    File,
    Write,
    Erase,
    CheckErased,
    Prog,
    Verify,
    Address,
    NotDone,
    Firmware,
    Vendor,
    UsbReset,
    PowerOnReset,
    Unknown,
    StalledPacket,
    /// A number that the specification does not define.
    Undefined(u8),
}

impl From<u8> for Status {
    fn from(byte: u8) -> Self {
        match byte {
            0x00 => Self::Ok,
            0x01 => Self::Target,
            0x02 => Self::File,
            0x03 => Self::Write,
            0x04 => Self::Erase,
            0x05 => Self::CheckErased,
            0x06 => Self::Prog,
            0x07 => Self::Verify,
            0x08 => Self::Address,
            0x09 => Self::NotDone,
            0x0a => Self::Firmware,
            0x0b => Self::Vendor,
            0x0c => Self::UsbReset,
            0x0d => Self::PowerOnReset,
            0x0e => Self::Unknown,
            0x0f => Self::StalledPacket,
            other => Self::Undefined(other),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Target => "errTARGET",
            Self::File => "errFILE",
            Self::Write => "errWRITE",
            Self::Erase => "errERASE",
            Self::CheckErased => "errCHECK_ERASED",
            Self::Prog => "errPROG",
            Self::Verify => "errVERIFY",
            Self::Address => "errADDRESS",
            Self::NotDone => "errNOTDONE",
            Self::Firmware => "errFIRMWARE",
            Self::Vendor => "errVENDOR",
            Self::UsbReset => "errUSBR",
            Self::PowerOnReset => "errPOR",
            Self::Unknown => "errUNKNOWN",
            Self::StalledPacket => "errSTALLEDPKT",
            Self::Undefined(byte) => return write!(f, "status {byte}"),
        })
    }
}

/// Where the device is in the DFU state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the DFU specification")]
pub enum State {
    AppIdle,
    AppDetach,
    Idle,
    DownloadSync,
    DownloadBusy,
    DownloadIdle,
    ManifestSync,
    Manifest,
    ManifestWaitReset,
    UploadIdle,
    Error,
    /// A number that the specification does not define.
    Undefined(u8),
}

impl From<u8> for State {
    fn from(byte: u8) -> Self {
        match byte {
            0 => Self::AppIdle,
            1 => Self::AppDetach,
            2 => Self::Idle,
            3 => Self::DownloadSync,
            4 => Self::DownloadBusy,
            5 => Self::DownloadIdle,
            6 => Self::ManifestSync,
            7 => Self::Manifest,
            8 => Self::ManifestWaitReset,
            9 => Self::UploadIdle,
            10 => Self::Error,
            other => Self::Undefined(other),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppIdle => "appIDLE",
            Self::AppDetach => "appDETACH",
            Self::Idle => "dfuIDLE",
            Self::DownloadSync => "dfuDNLOAD_SYNC",
            Self::DownloadBusy => "dfuDNBUSY",
            Self::DownloadIdle => "dfuDNLOAD_IDLE",
            Self::ManifestSync => "dfuMANIFEST_SYNC",
            Self::Manifest => "dfuMANIFEST",
            Self::ManifestWaitReset => "dfuMANIFEST_WAIT_RESET",
            Self::UploadIdle => "dfuUPLOAD_IDLE",
            Self::Error => "dfuERROR",
            Self::Undefined(byte) => return write!(f, "state {byte}"),
        })
    }
}

/// A parsed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DfuStatus {
    /// What happened.
    pub status: Status,
    /// How long to wait before the next GETSTATUS.
    pub poll: Duration,
    /// Where the device is now.
    pub state: State,
    /// Index of a string that describes the error; 0 for none.
    pub string: u8,
}

impl DfuStatus {
    /// Parses the six bytes; `None` if there are fewer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[status, low, mid, high, state, string] = bytes.first_chunk()?;
        Some(Self {
            status: status.into(),
            poll: Duration::from_millis(u32::from_le_bytes([low, mid, high, 0]).into()),
            state: state.into(),
            string,
        })
    }

    /// True if the last operation failed.
    pub fn failed(&self) -> bool {
        self.status != Status::Ok || self.state == State::Error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_answers_parse() {
        // device-protocol.md 8.4
        let parse = |bytes: [u8; 6]| DfuStatus::parse(&bytes).unwrap();
        assert_eq!(parse([0, 0, 0, 0, 2, 0]).state, State::Idle);
        assert_eq!(parse([0, 0, 0, 0, 5, 0]).state, State::DownloadIdle);
        assert_eq!(parse([0, 0, 0, 0, 4, 0]).state, State::DownloadBusy);
        let protected = parse([0x0b, 0, 0, 0, 0x0a, 0x0a]);
        assert_eq!(
            (protected.status, protected.state, protected.string),
            (Status::Vendor, State::Error, 10)
        );
        assert_eq!(parse([0, 0xf4, 1, 0, 4, 0]).poll, Duration::from_millis(500));
        assert_eq!(DfuStatus::parse(&[0; 5]), None);
    }

    #[test]
    fn every_byte_has_a_name() {
        for byte in 0..=u8::MAX {
            assert!(!State::from(byte).to_string().is_empty() && !Status::from(byte).to_string().is_empty());
        }
    }
}
