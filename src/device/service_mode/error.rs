//! How the way into Service Mode or out of it fails.

use std::time::Duration;

use crate::{
    device::{ControlError, DfuError, LinkError, descriptor::DescriptorError},
    model::{Code, Fingerprint, fact::Protection},
};

/// Why the cloud did not do its half.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHelp {
    /// It does not know the device's key. Not worth a second try: the device has no other key to sign with.
    #[error("the cloud does not know the device's key: {reason}")]
    KeyUnknown {
        /// In the cloud's words.
        reason: String,
    },
    /// It refuses.
    #[error("the cloud refuses: {reason}")]
    Refused {
        /// In the cloud's words.
        reason: String,
    },
    /// It does not accept the station's token.
    #[error("the cloud does not accept the token: {reason}")]
    NoToken {
        /// In the cloud's words.
        reason: String,
    },
    /// It was not reached, or gave no definite answer. The exchange may be begun again.
    #[error("the cloud gave no answer: {reason}")]
    NoAnswer {
        /// What went wrong, in words.
        reason: String,
    },
}

/// Why a device did not get into Service Mode, or not out of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The cloud did not do its half.
    #[error("the cloud does not open the device{}", .key.map(|key| format!(" with key {}", key.short())).unwrap_or_default())]
    NoHelp {
        /// The device's public key, if it was told by then.
        key: Option<Fingerprint>,
        /// Why.
        #[source]
        source: NoHelp,
    },
    /// The device trusts another server key (-1802).
    #[error("the device trusts another server key than {}: only the holder of that one can open it", .server.short())]
    ServerKey {
        /// The server key of the cloud that was asked.
        server: Fingerprint,
    },
    /// The device does not accept the server's signature (-1803).
    #[error("the device does not accept the server's signature")]
    Signature,
    /// The device has forgotten the exchange: it has a minute for the second half, and a restart ends it too.
    #[error("the exchange was not completed in time, after {} s", .after.as_secs())]
    ContextLost {
        /// How long it took.
        after: Duration,
    },
    /// The device cannot sign: its own key is not usable (-1400).
    #[error("the device cannot sign, because its own key is not usable")]
    NoOwnKey,
    /// The device has no Service Mode: its system is too old, or it talks TCP.
    #[error("the device is protected and has no Service Mode")]
    Unsupported,
    /// It took the confirmation, and is not in Service Mode.
    #[error("the device accepted the exchange and shows {}", shown(*.state))]
    NotOpened {
        /// What it shows.
        state: Protection,
    },
    /// It took the order to end Service Mode, and is not protected.
    #[error("the device was told to end Service Mode and shows {}", shown(*.state))]
    NotProtectedAgain {
        /// What it shows.
        state: Protection,
    },
    /// It does not show its state where it is, so that nothing is proved.
    #[error("the device does not show whether it is protected")]
    NotShown,
    /// A control request failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A DFU operation failed.
    #[error(transparent)]
    Dfu(#[from] DfuError),
    /// The string with its state could not be read.
    #[error("could not read the state of protection")]
    Descriptor(#[source] DescriptorError),
}

impl ServiceError {
    /// The code that a step reports.
    pub const fn code(&self) -> Code {
        match self {
            Self::NoHelp { source, .. } => match source {
                NoHelp::KeyUnknown { .. } => Code::ServiceKeyUnknown,
                NoHelp::Refused { .. } => Code::ServiceRefused,
                NoHelp::NoToken { .. } => Code::CloudAuth,
                NoHelp::NoAnswer { .. } => Code::CloudUnreachable,
            },
            Self::ServerKey { .. } => Code::ServiceServerKey,
            Self::Signature | Self::NoOwnKey | Self::Unsupported | Self::NotOpened { .. } => Code::ServiceRefused,
            Self::ContextLost { .. } => Code::ServiceLost,
            Self::NotProtectedAgain { .. } | Self::NotShown => Code::NotProtectedAgain,
            Self::Control(e) => e.code(),
            Self::Dfu(e) => e.code(),
            Self::Descriptor(e) => match e.link() {
                Some(link) => link.code(),
                None => Code::UsbTransfer,
            },
        }
    }

    /// The transfer failure behind it, if that is what it is.
    pub const fn link(&self) -> Option<&LinkError> {
        match self {
            Self::Control(e) => e.link(),
            Self::Dfu(e) => e.link(),
            Self::Descriptor(e) => e.link(),
            _ => None,
        }
    }
}

const fn shown(state: Protection) -> &'static str {
    match state {
        Protection::Open => "no protection",
        Protection::Protected => "that it is protected",
        Protection::Service => "Service Mode",
    }
}
