//! Where sealed copies of private keys go: to recipients who are elsewhere, so that nobody at this station can open them.

use std::{fmt, io};

use crate::{keys::escrow::Recipient, model::DeviceId};

/// Recipients, and what keeps a file that was sealed to them.
pub struct Escrow {
    /// To whom; at least one.
    pub recipients: Vec<Recipient>,
    /// Keeps the sealed key of a device, synced, or says why not.
    pub keep: Keep,
}

/// Keeps the sealed key of a device.
pub type Keep = Box<dyn Fn(DeviceId, &[u8]) -> io::Result<()> + Send + Sync>;

impl fmt::Debug for Escrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Escrow")
            .field("recipients", &self.recipients)
            .finish_non_exhaustive()
    }
}
