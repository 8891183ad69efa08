//! Undo copies: what a key store held before the first write to it. The station keeps them sealed, or in memory.

use crate::model::{DeviceId, RunId, Secret, recipe::Sha256};

/// Why an undo copy cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// It could not be kept.
    #[error("could not keep the undo copy")]
    Keep(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is not there, or cannot be opened.
    #[error("could not get the undo copy back")]
    Fetch(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is none.
    #[error("there is no undo copy for this run")]
    Absent,
}

/// Where undo copies are kept: sealed files, or the memory of this process.
pub trait UndoCopies: Send + Sync {
    /// Keeps a copy, reads it back, and returns the SHA-256 of what is kept.
    ///
    /// # Errors
    /// If it is not safely kept; nothing may be written to the device then.
    fn keep(&self, run: RunId, device: DeviceId, key_store: &Secret<Vec<u8>>) -> Result<Sha256, UndoError>;

    /// The copy of a run.
    ///
    /// # Errors
    /// If there is none, or it cannot be opened.
    fn fetch(&self, run: RunId, device: DeviceId, sha256: Sha256) -> Result<Secret<Vec<u8>>, UndoError>;

    /// Destroys the copy of a run, if there is one.
    fn destroy(&self, run: RunId, device: DeviceId);

    /// Destroys all copies but these. At the start of a station: a cut can come between a copy and the fact that it is
    /// there, and between the fact that it is destroyed and its end.
    fn keep_only(&self, kept: &[(RunId, DeviceId)]);
}
