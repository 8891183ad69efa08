//! What crash tests see of a device, of its cloud and of the station's disk while the station works, and what must hold at
//! every write to a key store (ARCHITECTURE.md 4).

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod rest;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::BufRead,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use keyrack::{
    edge::Entropy,
    model::{DeviceId, Fact, Fingerprint, KeyKind, Platform, diagnosis::Flow},
    sim::{
        cloud::StandIn,
        world::{Moment, Phase, TransferPoint, World},
    },
    store::{Origin, Reader},
};
use sha2::{Digest, Sha256};

pub(crate) use rest::part;

use crate::bench::Bench;

/// Sees one device through one run.
pub(crate) struct Witness {
    pub(crate) world: World,
    pub(crate) cloud: StandIn,
    pub(crate) device: DeviceId,
    pub(crate) ledger: PathBuf,
    pub(crate) undo: PathBuf,
    /// One connection for all questions of a run.
    reader: Mutex<Option<Reader>>,
    /// The keys of slots that were asked before: deriving one takes longer than all the rest.
    derived: Mutex<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    wrong: Mutex<Vec<String>>,
}

impl Witness {
    pub(crate) fn new(bench: &Bench, device: DeviceId) -> Self {
        Self {
            world: bench.rig.world.clone(),
            cloud: bench.rig.cloud.clone(),
            device,
            ledger: bench.ledger.clone(),
            undo: bench.undo.clone(),
            reader: Mutex::default(),
            derived: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    /// Something that must not be was seen.
    pub(crate) fn wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// All of that.
    pub(crate) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.wrong.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the disk.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Reader) -> R) -> R {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        question(reader.get_or_insert_with(|| Reader::open(&self.ledger).expect("a ledger")))
    }

    /// The key that the slot holds now.
    pub(crate) fn slot_key(&self) -> Option<Vec<u8>> {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        let dct = self
            .world
            .with_device(self.device, |device| device.dct()[..SLOTS_END].to_vec())
            .unwrap();
        let derive = || self.world.with_device(self.device, |device| device.key_spki()).unwrap();
        derived.entry(dct).or_insert_with(derive).clone()
    }

    /// True if the ledger has this key of the device.
    pub(crate) fn in_ledger(&self, spki: &[u8]) -> bool {
        let rows = self.ask(|reader| reader.key_rows(fingerprint(spki)).unwrap());
        rows.iter().any(|row| row.device == self.device)
    }

    /// The whole key store.
    pub(crate) fn dct(&self) -> Vec<u8> {
        self.world.with_device(self.device, |d| d.dct().to_vec()).unwrap()
    }

    /// To be asked at each moment of each transfer; true if it writes to the key store.
    pub(crate) fn transfer(&self, at: &TransferPoint) -> bool {
        let key = at.phase == Some(Phase::KeyWrite);
        let writes = key || at.phase == Some(Phase::DctWrite);
        if writes {
            match at.moment {
                Moment::Before => self.before_write(key),
                Moment::During => {}
                Moment::After => self.after_write(),
            }
        }
        writes
    }

    /// Nothing is written to a key store before the old state is accounted for.
    fn before_write(&self, key: bool) {
        let kept = self.ask(|reader| reader.kept_undo_copies().unwrap());
        let kept = kept.into_iter().find(|row| row.device == self.device);
        let Some(kept) = kept else {
            return self.wrong("I4: a write to the key store without an undo copy on record".to_owned());
        };
        let path = self.undo.join(format!("{}.{}.undo", kept.run, self.device));
        let sealed = fs::read(&path).unwrap_or_default();
        if Sha256::digest(&sealed)[..] != kept.sha256.0 {
            self.wrong("I4: a write to the key store without its undo copy on disk".to_owned());
        }
        let Some(spki) = self.slot_key() else { return };
        if !self.in_ledger(&spki) {
            self.wrong("I3: a write to the key store while the slot holds a key that the ledger does not know".to_owned());
        }
        let rows = self.ask(|reader| reader.key_rows(fingerprint(&spki)).unwrap());
        let at_hand = rows.iter().any(|row| matches!(row.origin, Origin::Made | Origin::Given));
        let accepted = self
            .cloud
            .uploads(self.device)
            .iter()
            .any(|upload| upload.accepted && upload.spki == spki);
        // What the cloud accepted last needs nobody's permission to come back.
        let restored = self
            .ask(|reader| reader.records(0, u32::MAX).unwrap())
            .into_iter()
            .any(|record| {
                matches!(record.fact, Fact::Diagnosed { device, diagnosis, .. }
                if device == self.device && diagnosis.flow == Some(Flow::Restore))
            });
        // One that the device made after a write had lost its key store is worth less than the key of before.
        let stopgap = self
            .world
            .with_device(self.device, |device| {
                device.counters().torn > 0 && device.counters().keys_made > 0
            })
            .unwrap();
        if key && !at_hand && !accepted && !restored && !stopgap {
            self.wrong("I4: a key that the cloud never accepted is overwritten".to_owned());
        }
    }

    /// Whatever was written is in the ledger since before.
    fn after_write(&self) {
        if let Some(spki) = self.slot_key()
            && !self.in_ledger(&spki)
        {
            self.wrong("I3: a key was written that the ledger does not know".to_owned());
        }
    }
}

/// Secret bytes that were in the slot at some time.
#[derive(Default)]
pub(crate) struct Secrets(BTreeSet<Vec<u8>>);

impl Secrets {
    /// Those that a key store holds now.
    pub(crate) fn note(&mut self, platform: Platform, dct: &[u8]) {
        self.note_slot(platform, &private_slot(platform, dct));
    }

    /// That of a private key as it stands in a slot.
    pub(crate) fn note_slot(&mut self, platform: Platform, slot: &[u8]) {
        self.0.extend(secret(platform, slot));
    }

    /// Private bytes in any file of ledger or undo folder, as they are or in hexadecimal.
    pub(crate) fn leaked(&self, bench: &Bench) -> Vec<String> {
        let mut found = Vec::new();
        for folder in [&bench.ledger, &bench.undo] {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                // A file that is not there any more holds nothing, and a folder only what its own files hold.
                let Ok(bytes) = fs::read(&path) else { continue };
                for secret in &self.0 {
                    let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
                    if holds(&bytes, secret) || holds(&bytes, hex.as_bytes()) {
                        found.push(format!("{} holds bytes of a private key", path.display()));
                    }
                }
            }
        }
        found
    }
}

/// The private key slot of a device, out of its key store.
pub(crate) fn private_slot(platform: Platform, dct: &[u8]) -> Vec<u8> {
    part(dct, platform.key_segments(platform.row().transport).private).to_vec()
}

/// Bytes from the middle of the private numbers: of the scalar, or of the first prime (device-protocol.md 4.3).
fn secret(platform: Platform, slot: &[u8]) -> Option<Vec<u8>> {
    let at = match platform.key_kind() {
        KeyKind::P256 => 10,
        KeyKind::Rsa1024 => 290,
    };
    let bytes = slot[at..at + 20].to_vec();
    (bytes.iter().any(|b| *b != 0xff) && bytes.iter().any(|b| *b != 0)).then_some(bytes)
}

fn holds(mut bytes: &[u8], wanted: &[u8]) -> bool {
    // The library's own search for a byte is fast even where nothing is optimised.
    while bytes.skip_until(wanted[0]).unwrap() > 0 {
        if bytes.starts_with(&wanted[1..]) {
            return true;
        }
    }
    false
}

pub(crate) fn fingerprint(spki: &[u8]) -> Fingerprint {
    Fingerprint(Sha256::digest(spki).into())
}

/// Randomness that is the same each time, so that every run goes the way that the traced one went, up to its cut.
pub(crate) struct Seeded(Mutex<u64>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(8) {
            // SplitMix64 (Steele, Lea, Flood 2014).
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A run that went wrong: its name, what was wrong, and its journal.
pub(crate) type Wrong = (String, Vec<String>, String);

/// The runs that went wrong, by what was wrong: one of each sort is enough to begin with.
pub(crate) fn report(wrong: &[Wrong]) -> String {
    let mut sorts: BTreeMap<String, Vec<&Wrong>> = BTreeMap::new();
    for one in wrong {
        sorts.entry(one.1.join(" / ")).or_default().push(one);
    }
    let show = |(sort, all): (&String, &Vec<&Wrong>)| {
        let names: Vec<&str> = all.iter().take(6).map(|(name, ..)| name.as_str()).collect();
        format!("{} x {sort}\n    {}\n{}\n", all.len(), names.join("\n    "), all[0].2)
    };
    sorts.iter().take(12).map(show).collect()
}

/// Does every piece of work on all processors, each with its turn.
pub(crate) fn on_all_processors<T: Sync>(work: &[T], each: impl Fn(&T, usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = work.get(turn) else { break };
                    each(one, turn);
                }
            });
        }
    });
}

/// The private key slots of both transports end before this (device-protocol.md 4.1).
const SLOTS_END: usize = 3298;
