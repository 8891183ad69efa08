//! How DFU operations fail.

use crate::{
    device::{LinkError, descriptor::DescriptorError},
    model::Code,
};

use super::{
    layout::BadLayout,
    status::{State, Status},
};

/// What we were doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Claiming the interface or selecting an alternate setting.
    Select(u8),
    /// Bringing the device to its idle state.
    Idle,
    /// Setting the address pointer.
    Point(u32),
    /// Erasing the sector at an address.
    Erase(u32),
    /// Writing at an address.
    Write(u32),
    /// Reading at an address.
    Read(u32),
    /// Asking which commands there are.
    Commands,
    /// Leaving DFU mode.
    Leave,
    /// Restarting into safe mode.
    SafeMode,
    /// Ending Service Mode.
    ClearOverride,
}

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Select(alternate) => write!(f, "select alternate setting {alternate}"),
            Self::Idle => f.write_str("go to the idle state"),
            Self::Point(address) => write!(f, "set the address {address:#010x}"),
            Self::Erase(address) => write!(f, "erase the sector at {address:#010x}"),
            Self::Write(address) => write!(f, "write at {address:#010x}"),
            Self::Read(address) => write!(f, "read at {address:#010x}"),
            Self::Commands => f.write_str("list its commands"),
            Self::Leave => f.write_str("leave DFU mode"),
            Self::SafeMode => f.write_str("restart into safe mode"),
            Self::ClearOverride => f.write_str("end Service Mode"),
        }
    }
}

/// Why an image may not be written. Nothing was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to write.
    #[error("the image is empty")]
    Empty,
    /// A part of the range is not one that firmware may be written to.
    #[error("{start:#010x} to {end:#010x} is not a range that firmware may be written to")]
    Forbidden {
        /// First address that would be changed.
        start: u64,
        /// Address behind the last one that would be changed.
        end: u64,
    },
    /// The alternate setting never takes an image: it holds the keys, or memory that keyrack does not write.
    #[error("alternate setting {alternate} never takes an image")]
    ForbiddenAlternate {
        /// Which.
        alternate: u8,
    },
    /// The device's layout has no sector at an address.
    #[error("the device has no memory at {address:#010x}")]
    NoSector {
        /// The address.
        address: u64,
    },
    /// The device's layout says that a sector cannot be written.
    #[error("the device does not let the sector at {address:#010x} be written (letter {letter})")]
    NotWritable {
        /// Address of the sector.
        address: u32,
        /// Its letter.
        letter: char,
    },
    /// An erase would take bytes before the image with it.
    #[error("the image begins inside of a sector, at {address:#010x}: an erase would destroy what is before it")]
    Misaligned {
        /// Where the image begins.
        address: u32,
    },
}

/// Why a DFU operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DfuError {
    /// A transfer failed.
    #[error("could not {doing}")]
    Transfer {
        /// What we were doing.
        doing: Doing,
        /// The failure.
        #[source]
        source: LinkError,
    },
    /// The device's descriptors cannot be read or make no sense.
    #[error("could not learn what the device offers in DFU mode")]
    Descriptor {
        /// The failure.
        #[source]
        source: DescriptorError,
    },
    /// The device is protected.
    #[error("the device is protected: it refused to {doing}")]
    Protected {
        /// What we were doing.
        doing: Doing,
    },
    /// The device reports that an operation failed.
    #[error("the device refused to {doing}: {status}{}", .text.as_deref().map(|t| format!(", \"{t}\"")).unwrap_or_default())]
    Refused {
        /// What we were doing.
        doing: Doing,
        /// Its status.
        status: Status,
        /// Its own words.
        text: Option<String>,
    },
    /// The device stalled where it should have reported how the operation went: it failed.
    #[error("the device stalled when asked to {doing}")]
    Stalled {
        /// What we were doing.
        doing: Doing,
    },
    /// The device is in a state that makes no sense here.
    #[error("the device is in {state} and not able to {doing}")]
    WrongState {
        /// What we were doing.
        doing: Doing,
        /// Its state.
        state: State,
    },
    /// An answer is too short to be a status.
    #[error("the device answered with {len} bytes when asked to {doing}")]
    ShortAnswer {
        /// What we were doing.
        doing: Doing,
        /// How many bytes came.
        len: usize,
    },
    /// An operation did not end.
    #[error("the device was too slow to {doing}")]
    Timeout {
        /// What we were doing.
        doing: Doing,
    },
    /// The device has no such alternate setting.
    #[error("the device has no alternate setting {alternate}")]
    NoAlternate {
        /// Which.
        alternate: u8,
    },
    /// The layout of an alternate setting cannot be read.
    #[error("could not read the layout of alternate setting {alternate}")]
    Layout {
        /// Which.
        alternate: u8,
        /// Why.
        #[source]
        source: BadLayout,
    },
    /// The device's layout has no readable memory there; it was not asked.
    #[error("the device has no memory of {len} bytes to {doing}")]
    NotReadable {
        /// What we were doing.
        doing: Doing,
        /// How many bytes were wanted.
        len: u32,
    },
    /// The bootloader is too old for a command.
    #[error("the bootloader is too old to {doing}")]
    Unsupported {
        /// What we were doing.
        doing: Doing,
    },
    /// An image was refused by us before anything was erased.
    #[error("nothing was erased")]
    Plan(#[source] PlanError),
    /// What was read back differs from what was written.
    #[error("what was read back differs from what was written, first at {address:#010x}")]
    Verify {
        /// First address that differs.
        address: u32,
    },
    /// Only zeros were read back where something else was written: on Gen 2 that is how a failed read looks.
    #[error("only zeros were read back at {address:#010x}, which on this device may be a failed read")]
    Zeros {
        /// First address of the block.
        address: u32,
    },
}

impl DfuError {
    /// The transfer failure behind it, if that is what it is.
    pub const fn link(&self) -> Option<&LinkError> {
        match self {
            Self::Transfer { source, .. } => Some(source),
            Self::Descriptor { source } => source.link(),
            _ => None,
        }
    }

    /// True if a read that failed in this way may simply be tried again.
    pub(super) fn is_passing_read_failure(&self) -> bool {
        match self {
            Self::Transfer { source, .. } => !source.is_final(),
            Self::Refused { .. } | Self::Stalled { .. } | Self::ShortAnswer { .. } | Self::WrongState { .. } => true,
            _ => false,
        }
    }

    /// The code that a step reports.
    pub const fn code(&self) -> Code {
        match self {
            Self::Protected { .. } => Code::Protected,
            Self::Refused { doing, .. } | Self::Stalled { doing } | Self::Timeout { doing } => match doing {
                Doing::Erase(_) | Doing::Write(_) | Doing::Point(_) => Code::FlashRefused,
                _ => Code::UsbTransfer,
            },
            Self::Verify { .. } | Self::Zeros { .. } => Code::FlashVerify,
            Self::Plan(_) => Code::FirmwareRejected,
            Self::NoAlternate { .. } | Self::Layout { .. } | Self::NotReadable { .. } => Code::FlashRefused,
            Self::WrongState { .. } | Self::ShortAnswer { .. } | Self::Unsupported { .. } => Code::UsbTransfer,
            Self::Transfer { source, .. } => source.code(),
            Self::Descriptor { source } => match source.link() {
                Some(link) => link.code(),
                None => Code::UsbTransfer,
            },
        }
    }
}
