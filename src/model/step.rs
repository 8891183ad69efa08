//! The kinds of steps. Each has one file in [`crate::steps`] and one row in its table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One typed piece of a recipe, in the order in which a plan has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum StepKind {
    /// Ask the cloud what it knows of device and product, and whether the token may do what the recipe needs.
    Admit,
    /// Import the device into the product.
    Enrol,
    /// Send one module through the running system (bootloader, NCP, assets).
    Update {
        /// Which file of the recipe, from 0.
        file: u8,
    },
    /// Write one module over DFU.
    Flash {
        /// Which file of the recipe, from 0.
        file: u8,
    },
    /// Read the key store and account for it in the ledger.
    ReadKey,
    /// Upload the public key that the device already holds, as proof of permission before it is replaced.
    RegisterPresent,
    /// Account for the key store, make a new pair, write it, verify it.
    Rekey,
    /// Upload the public key that the device holds now.
    Register,
    /// Put the old key store back after the cloud refused the new key for good.
    RollBack,
    /// Compare the server key and address, and write them where they differ.
    ServerKey,
    /// Leave DFU mode and wait for the application.
    Boot,
    /// Give the device the bench network.
    JoinNetwork,
    /// Read versions and the module table of the running device, and its serial number, ICCID and IMEI.
    Check,
    /// Wait for a handshake that is newer than the upload.
    Prove,
    /// Take the bench network away again.
    ForgetNetwork,
    /// Ask the cloud all that decides a repair. Changes nothing.
    Survey,
    /// Ask the device about its connection to the cloud, if it runs. Changes nothing.
    Question,
    /// Read the key store of a device to be repaired: key and server settings. Changes nothing.
    Examine,
    /// Have the device's key sign a packet for it. Changes nothing.
    SignPacket,
    /// Have all that is needed to give a device back, before it is taken from its owner or its product: the customer's
    /// token, and what the device must get back.
    Secure,
    /// Wait until a device that was taken has everything back: its owner, name, notes and groups.
    GiveBack,
    /// Bring a protected device into Service Mode, with the help of the cloud.
    ServiceMode,
    /// End Service Mode, and see that the device is protected again.
    ProtectAgain,
}

/// Who performs a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// The slot's worker, with the device.
    Worker,
    /// The uplink: the device waits.
    Cloud,
}

impl StepKind {
    /// Who performs it.
    pub const fn hand(self) -> Hand {
        match self {
            Self::Admit
            | Self::Enrol
            | Self::RegisterPresent
            | Self::Register
            | Self::Prove
            | Self::Survey
            | Self::Secure
            | Self::GiveBack => Hand::Cloud,
            _ => Hand::Worker,
        }
    }

    /// The mode that the device must be in, if it matters.
    pub const fn needs(self) -> Option<super::platform::UsbMode> {
        use super::platform::UsbMode::{Dfu, Normal};
        match self {
            Self::Flash { .. }
            | Self::Examine
            | Self::ReadKey
            | Self::Rekey
            | Self::RollBack
            | Self::ServerKey
            | Self::SignPacket => Some(Dfu),
            Self::Update { .. } | Self::JoinNetwork | Self::Check | Self::ForgetNetwork => Some(Normal),
            Self::Admit
            | Self::Enrol
            | Self::RegisterPresent
            | Self::Register
            | Self::Boot
            | Self::Prove
            | Self::Survey
            | Self::Question
            | Self::Secure
            | Self::GiveBack
            | Self::ServiceMode
            | Self::ProtectAgain => None,
        }
    }

    /// True if doing it twice is not the same as doing it once: after a cut, `inspect` decides.
    pub const fn permanent(self) -> bool {
        matches!(self, Self::Rekey | Self::RollBack)
    }

    /// True if an engineer may have it left out: nothing that guards a key, an owner or the protection of a device, and no
    /// piece of firmware, which goes together with the others.
    pub const fn may_be_left_out(self) -> bool {
        matches!(self, Self::ServerKey | Self::JoinNetwork | Self::Check | Self::Prove)
    }

    /// What the step does, as shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Admit => "look up in the cloud",
            Self::Enrol => "import into the product",
            Self::Update { .. } => "update through the system",
            Self::Flash { .. } => "flash",
            Self::ReadKey => "read the key",
            Self::RegisterPresent => "register the present key",
            Self::Rekey => "write a new key",
            Self::Register => "register the key",
            Self::RollBack => "put the old key back",
            Self::ServerKey => "set the server key",
            Self::Boot => "start the application",
            Self::JoinNetwork => "join the bench network",
            Self::Check => "check the running device",
            Self::Prove => "prove by a handshake",
            Self::ForgetNetwork => "forget the bench network",
            Self::Survey => "ask the cloud what is wrong",
            Self::Question => "ask the device about its connection",
            Self::Examine => "examine the key store",
            Self::SignPacket => "sign a packet",
            Self::Secure => "make sure that it can be given back",
            Self::GiveBack => "give everything of before back",
            Self::ServiceMode => "enter Service Mode",
            Self::ProtectAgain => "protect it again",
        }
    }

    /// The same in at most nine letters, for where there is no room; the number of a file comes after it.
    pub const fn brief(self) -> &'static str {
        match self {
            Self::Admit => "look up",
            Self::Enrol => "import",
            Self::Update { .. } => "update",
            Self::Flash { .. } => "flash",
            Self::ReadKey => "read key",
            Self::RegisterPresent => "prior key",
            Self::Rekey => "new key",
            Self::Register => "register",
            Self::RollBack => "put back",
            Self::ServerKey => "server",
            Self::Boot => "start",
            Self::JoinNetwork => "join net",
            Self::Check => "check",
            Self::Prove => "prove",
            Self::ForgetNetwork => "leave net",
            Self::Survey => "survey",
            Self::Question => "ask it",
            Self::Examine => "examine",
            Self::SignPacket => "sign",
            Self::Secure => "secure",
            Self::GiveBack => "give back",
            Self::ServiceMode => "service",
            Self::ProtectAgain => "protect",
        }
    }

    /// Which file of the recipe it is about, from 1, if it is about one.
    pub const fn file(self) -> Option<u8> {
        match self {
            Self::Update { file } | Self::Flash { file } => Some(file.saturating_add(1)),
            _ => None,
        }
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file() {
            Some(file) => write!(f, "{} file {file}", self.label()),
            None => f.write_str(self.label()),
        }
    }
}
