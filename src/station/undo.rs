//! Undo copies as the station keeps them: sealed files, or the memory of this process (`undo = "memory"`: a crash then
//! goes forward, never back).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    edge::Entropy,
    firmware::sha256_of,
    keys::seal::{self, StationKey},
    model::{DeviceId, RunId, Secret, recipe::Sha256},
    steps::{UndoCopies, UndoError},
    store::UndoVault,
};

/// Sealed files under the station's key.
pub struct SealedUndo {
    vault: UndoVault,
    key: StationKey,
    entropy: Arc<dyn Entropy>,
}

impl SealedUndo {
    /// Copies in `vault`, sealed under `key`.
    pub fn new(vault: UndoVault, key: StationKey, entropy: Arc<dyn Entropy>) -> Self {
        Self { vault, key, entropy }
    }
}

impl UndoCopies for SealedUndo {
    fn keep(&self, run: RunId, device: DeviceId, key_store: &Secret<Vec<u8>>) -> Result<Sha256, UndoError> {
        let keep = |e: Box<dyn std::error::Error + Send + Sync>| UndoError::Keep(e);
        let sealed = seal::seal(&self.key, device, run, key_store.expose(), &*self.entropy).map_err(|e| keep(e.into()))?;
        let sha256 = self.vault.put(run, device, &sealed).map_err(|e| keep(e.into()))?;
        // A copy that cannot be opened is none: opened here, before anything is written to the device.
        let back = self.fetch(run, device, sha256)?;
        if back.expose() == key_store.expose() {
            Ok(sha256)
        } else {
            Err(keep("what was read back differs".into()))
        }
    }

    fn fetch(&self, run: RunId, device: DeviceId, sha256: Sha256) -> Result<Secret<Vec<u8>>, UndoError> {
        let sealed = self
            .vault
            .get(run, device, sha256)
            .map_err(|e| UndoError::Fetch(e.into()))?
            .ok_or(UndoError::Absent)?;
        seal::open(&self.key, device, run, &sealed).map_err(|e| UndoError::Fetch(e.into()))
    }

    fn destroy(&self, run: RunId, device: DeviceId) {
        // The fact that it is destroyed is on disk; what is left here is found and destroyed at the next start.
        let _ = self.vault.destroy(run, device);
    }

    fn keep_only(&self, kept: &[(RunId, DeviceId)]) {
        // A folder that cannot be listed is found out by the next `keep`, before anything is written.
        for file in self.vault.list().unwrap_or_default() {
            if !kept.contains(&(file.run, file.device)) {
                self.destroy(file.run, file.device);
            }
        }
    }
}

/// Nothing is kept: for what must survive the process on a station that keeps nothing on disk (`undo = "memory"`).
#[derive(Debug)]
pub struct NoCopies;

impl UndoCopies for NoCopies {
    fn keep(&self, _: RunId, _: DeviceId, _: &Secret<Vec<u8>>) -> Result<Sha256, UndoError> {
        Err(UndoError::Keep(
            "this station keeps nothing on disk (undo = \"memory\")".into(),
        ))
    }

    fn fetch(&self, _: RunId, _: DeviceId, _: Sha256) -> Result<Secret<Vec<u8>>, UndoError> {
        Err(UndoError::Absent)
    }

    fn destroy(&self, _: RunId, _: DeviceId) {}

    fn keep_only(&self, _: &[(RunId, DeviceId)]) {}
}

/// Copies that end with the process.
#[derive(Debug, Default)]
pub struct MemoryUndo(Mutex<Copies>);

type Copies = BTreeMap<(RunId, DeviceId), Secret<Vec<u8>>>;

impl UndoCopies for MemoryUndo {
    fn keep(&self, run: RunId, device: DeviceId, key_store: &Secret<Vec<u8>>) -> Result<Sha256, UndoError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((run, device), key_store.clone());
        Ok(sha256_of(b""))
    }

    fn fetch(&self, run: RunId, device: DeviceId, _: Sha256) -> Result<Secret<Vec<u8>>, UndoError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(run, device))
            .cloned()
            .ok_or(UndoError::Absent)
    }

    fn destroy(&self, run: RunId, device: DeviceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(run, device));
    }

    fn keep_only(&self, kept: &[(RunId, DeviceId)]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|copy, _| kept.contains(copy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::entropy::SystemEntropy;

    #[test]
    fn a_start_leaves_the_copies_that_are_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let vault = UndoVault::open(&folder.path().join("undo")).unwrap();
        let sealed = SealedUndo::new(vault, StationKey::generate(&SystemEntropy), Arc::new(SystemEntropy));
        let copies: [&dyn UndoCopies; 2] = [&sealed, &MemoryUndo::default()];
        for copies in copies {
            let device = DeviceId::from_bytes([9; 12]);
            let [known, orphan] = [1, 2].map(|n| RunId(uuid::Uuid::from_u128(n)));
            let whole = Secret::new(b"whole".to_vec());
            let sha256 = copies.keep(known, device, &whole).unwrap();
            let other = copies.keep(orphan, device, &whole).unwrap();
            copies.keep_only(&[(known, device)]);
            assert_eq!(copies.fetch(known, device, sha256).unwrap().expose(), b"whole");
            assert!(matches!(copies.fetch(orphan, device, other), Err(UndoError::Absent)));
        }
    }
}
