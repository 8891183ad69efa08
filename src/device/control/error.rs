//! How a control request fails.

use crate::{edge::UsbError, model::Code};

use crate::device::{LinkError, RequestType, ResultCode, reply::BadReply};

/// What we were doing with a request when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// INIT.
    Start,
    /// SEND.
    Send,
    /// CHECK.
    Check,
    /// RECV.
    Receive,
    /// A request without the service protocol (0x50).
    Raw,
}

impl Stage {
    const fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Send => "send the payload of",
            Self::Check => "check on",
            Self::Receive => "receive the reply of",
            Self::Raw => "make raw",
        }
    }
}

/// Why a control request gave no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// A transfer failed.
    #[error("could not {} request {request}", .stage.verb())]
    Transfer {
        /// Which request.
        request: RequestType,
        /// Where in its life.
        stage: Stage,
        /// The failure.
        #[source]
        source: LinkError,
    },
    /// The device is protected and does not perform this request. Never worth a second try.
    #[error("the device is protected and does not perform request {request}")]
    Protected {
        /// Which request.
        request: RequestType,
    },
    /// The device performed the request, with an error as its result.
    #[error("the device refused request {request}")]
    Refused {
        /// Which request.
        request: RequestType,
        /// Its result.
        #[source]
        code: ResultCode,
    },
    /// The device has no free slot for a request, and none became free.
    #[error("the device took no request {request}: all its slots stayed taken through {tries} tries")]
    Busy {
        /// Which request.
        request: RequestType,
        /// How often it was tried.
        tries: u32,
    },
    /// The device has no memory for the payload.
    #[error("the device has no memory for request {request}")]
    NoMemory {
        /// Which request.
        request: RequestType,
    },
    /// The device failed the request without a result.
    #[error("the device failed request {request}")]
    Failed {
        /// Which request.
        request: RequestType,
    },
    /// The device does not know the request any more: it restarted, or another program cancelled it.
    #[error("the device lost request {request}")]
    Lost {
        /// Which request.
        request: RequestType,
    },
    /// No result before the deadline.
    #[error("request {request} was not done before its deadline")]
    Timeout {
        /// Which request.
        request: RequestType,
    },
    /// An answer makes no sense at this point.
    #[error("the device answered request {request} wrongly: {what}")]
    Nonsense {
        /// Which request.
        request: RequestType,
        /// What is wrong.
        what: &'static str,
    },
    /// An answer is not a service reply.
    #[error("could not read the answer to request {request}")]
    BadReply {
        /// Which request.
        request: RequestType,
        /// What is wrong with it.
        #[source]
        source: BadReply,
    },
    /// The reply body is not the message that belongs to the request.
    #[error("could not decode the reply to request {request}")]
    BadMessage {
        /// Which request.
        request: RequestType,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// The payload is longer than the protocol allows; nothing was sent.
    #[error("the payload of request {request} has {len} bytes, more than 65535")]
    TooLarge {
        /// Which request.
        request: RequestType,
        /// Its length.
        len: usize,
    },
}

impl ControlError {
    /// True if the device ended the request with this result.
    pub fn is_result(&self, wanted: ResultCode) -> bool {
        match self {
            Self::Refused { code, .. } => *code == wanted,
            Self::Protected { .. } => wanted == ResultCode::PROTECTED,
            _ => false,
        }
    }

    /// The transfer failure behind it, if that is what it is.
    pub const fn link(&self) -> Option<&LinkError> {
        match self {
            Self::Transfer { source, .. } => Some(source),
            _ => None,
        }
    }

    /// True if the device went away after it had accepted the request: how requests that restart it often end.
    pub fn vanished_after_start(&self) -> bool {
        match self {
            Self::Transfer { stage, source, .. } => {
                *stage != Stage::Start && matches!(source.usb(), Some(UsbError::Gone | UsbError::Io))
            }
            _ => false,
        }
    }

    /// True if nothing more can come of the link.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Transfer { source, .. } => source.is_final(),
            _ => false,
        }
    }

    /// The code that a step reports, unless it knows better what the request was for.
    pub const fn code(&self) -> Code {
        match self {
            Self::Transfer { source, .. } => source.code(),
            Self::Protected { .. } => Code::Protected,
            Self::Timeout { .. } => Code::StepTimeout,
            Self::TooLarge { .. } => Code::Internal,
            Self::Busy { .. } => Code::UsbBusy,
            Self::Refused { .. }
            | Self::NoMemory { .. }
            | Self::Failed { .. }
            | Self::Lost { .. }
            | Self::Nonsense { .. }
            | Self::BadReply { .. }
            | Self::BadMessage { .. } => Code::UsbTransfer,
        }
    }

    /// True if the device may still hold a slot for the request.
    pub(super) const fn leaves_it_open(&self) -> bool {
        match self {
            Self::Transfer { source, .. } => !matches!(source.usb(), Some(UsbError::Gone)),
            Self::Timeout { .. } | Self::Nonsense { .. } | Self::BadReply { .. } | Self::Failed { .. } => true,
            // NO_MEMORY leaves the request in the device's list until it is reset.
            Self::NoMemory { .. } => true,
            _ => false,
        }
    }
}
