//! How anything about a device fails, and the code that a step reports for it.

use crate::{
    edge::UsbError,
    model::{Code, DeviceId, verdict::Blame},
};

use super::{ControlError, DfuError, KeyStoreError, LinkError, UpdateError, descriptor::DescriptorError, link::usb_code};

/// Why something about a device failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// It could not be opened.
    #[error("could not open the device")]
    Open {
        /// Why.
        #[source]
        source: UsbError,
    },
    /// Its USB identity is not in the platform table.
    #[error("USB identity {vendor:04x}:{product:04x} is not that of a platform that keyrack knows")]
    UnknownPlatform {
        /// idVendor.
        vendor: u16,
        /// idProduct.
        product: u16,
    },
    /// It does not tell its id.
    #[error("the device does not tell its id{}", .serial.as_deref().map(|s| format!(": its serial number string is \"{s}\"")).unwrap_or_default())]
    NoId {
        /// What it has in place of one.
        serial: Option<String>,
    },
    /// It tells two ids.
    #[error("the device tells two ids: {string} in its serial number string, {told} when asked")]
    TwoIds {
        /// By the serial number string.
        string: DeviceId,
        /// By its own answer.
        told: DeviceId,
    },
    /// A descriptor could not be had.
    #[error("could not read what the device says of itself")]
    Descriptor(#[source] DescriptorError),
    /// A control request failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A DFU operation failed.
    #[error(transparent)]
    Dfu(#[from] DfuError),
    /// The key store could not be read or written.
    #[error(transparent)]
    KeyStore(#[from] KeyStoreError),
    /// A firmware update failed.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// A request about the network failed.
    #[error("could not set up the network")]
    Network(#[source] ControlError),
}

impl DeviceError {
    /// The code that a step reports.
    pub const fn code(&self) -> Code {
        match self {
            Self::Open { source } => usb_code(*source),
            Self::UnknownPlatform { .. } => Code::UnknownPlatform,
            Self::NoId { .. } | Self::TwoIds { .. } => Code::NoDeviceId,
            Self::Descriptor(e) => match e.link() {
                Some(link) => link.code(),
                None => Code::UsbTransfer,
            },
            Self::Control(e) => e.code(),
            Self::Dfu(e) => e.code(),
            Self::KeyStore(e) => e.code(),
            Self::Update(e) => e.code(),
            Self::Network(e) => match e {
                ControlError::Refused { .. } => Code::NetworkSetup,
                e => e.code(),
            },
        }
    }

    /// Is the device bad, or the station?
    pub const fn blame(&self) -> Blame {
        self.code().blame()
    }

    /// The transfer failure behind it, if that is what it is.
    pub const fn link(&self) -> Option<&LinkError> {
        match self {
            Self::Descriptor(e) => e.link(),
            Self::Control(e) | Self::Network(e) => e.link(),
            Self::Dfu(e) => e.link(),
            Self::KeyStore(e) => match e.dfu() {
                Some(e) => e.link(),
                None => None,
            },
            Self::Update(e) => e.link(),
            Self::Open { .. } | Self::UnknownPlatform { .. } | Self::NoId { .. } | Self::TwoIds { .. } => None,
        }
    }

    /// True if the device went away: its run waits for it.
    pub fn is_gone(&self) -> bool {
        let open = matches!(self, Self::Open { source: UsbError::Gone });
        open || self.link().and_then(LinkError::usb) == Some(UsbError::Gone)
    }

    /// True if it only failed because the worker was told to stop.
    pub fn is_cancelled(&self) -> bool {
        self.link() == Some(&LinkError::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            RequestType, ResultCode,
            control::Stage,
            dfu::{Doing, PlanError, status::Status},
        },
        *,
    };
    use crate::{edge::Setup, model::StepError};

    fn link(source: UsbError) -> LinkError {
        LinkError::Usb {
            setup: Setup::from_bytes([0xa1, 3, 0, 0, 0, 0, 6, 0]),
            source,
        }
    }

    #[test]
    fn each_failure_has_its_code_and_its_blame() {
        let write = Doing::Write(0x2_8000);
        let control = |source| ControlError::Transfer {
            request: RequestType::Reset,
            stage: Stage::Check,
            source,
        };
        let transfer = |source| DfuError::Transfer { doing: write, source };
        let refused = DfuError::Refused {
            doing: write,
            status: Status::Write,
            text: None,
        };
        let cases: [(DeviceError, Code); 11] = [
            (
                DeviceError::Open {
                    source: UsbError::Access,
                },
                Code::UsbAccess,
            ),
            (control(link(UsbError::Gone)).into(), Code::DeviceLost),
            (control(link(UsbError::Timeout)).into(), Code::UsbTransfer),
            (control(LinkError::Cancelled).into(), Code::Stopped),
            (transfer(link(UsbError::Io)).into(), Code::UsbTransfer),
            (DfuError::Stalled { doing: write }.into(), Code::FlashRefused),
            (refused.into(), Code::FlashRefused),
            (DfuError::Protected { doing: write }.into(), Code::Protected),
            (DfuError::Verify { address: 0 }.into(), Code::FlashVerify),
            (DfuError::Plan(PlanError::Empty).into(), Code::FirmwareRejected),
            (KeyStoreError::Differs { offset: 1 }.into(), Code::KeyWrite),
        ];
        for (error, code) in cases {
            assert_eq!(error.code(), code, "{error}");
        }
        let device: DeviceError = DfuError::Stalled { doing: write }.into();
        let station: DeviceError = transfer(link(UsbError::Timeout)).into();
        assert_eq!((device.blame(), station.blame()), (Blame::Device, Blame::Station));
        assert!(DeviceError::from(control(LinkError::Cancelled)).is_cancelled());
    }

    #[test]
    fn the_chain_of_causes_says_each_thing_once() {
        let error = DeviceError::from(KeyStoreError::Torn(DfuError::Transfer {
            doing: Doing::Write(3106),
            source: link(UsbError::Timeout),
        }));
        let step = StepError::caused(error.code(), "writing the new key", &error);
        assert_eq!(
            step.to_string(),
            "writing the new key: could not finish writing the key store: could not write at 0x00000c22: control transfer \
             [a1 03 00 00 00 00 06 00] failed: the device did not answer in time"
        );
        let error = DeviceError::from(ControlError::Refused {
            request: RequestType::FinishFirmwareUpdate,
            code: ResultCode::MODULE_DEPENDENCY,
        });
        let step = StepError::caused(error.code(), "updating", &error);
        assert_eq!(
            step.to_string(),
            "updating: the device refused request FINISH_FIRMWARE_UPDATE (251): a module that it depends on is missing (-1340)"
        );
    }
}
