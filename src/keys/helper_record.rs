//! Keys that DeviceKeyHelperRK has put aside (device-protocol.md 4.8), found in a dump of whatever its firmware keeps
//! them in: EEPROM, FRAM, SD card, SPIFFS, flashee.
//!
//! A record is a magic number, the length of its payload, a sum of 16 bits, and a copy of the key store. It may stand
//! anywhere, several times, old and new; it does not say of which device it is; and its sum proves nothing, because it
//! stays right when bytes change places. What proves a key here is its own arithmetic.
//!
//! The helper believes that the public key stands behind the private one. On UDP it does not: there the second part of
//! a record is a piece of the *server's* key. So nothing but the private slot is taken out of a record.

use std::fmt;

use zeroize::Zeroizing;

use super::{PrivateKey, classify};
use crate::model::{KeyKind, PublicKey, key::SlotContent};

mod eeprom;
mod pages;

/// What was found in a dump.
#[derive(Debug, Default)]
pub struct Findings {
    /// The keys, each once: those that the helper would restore first, then those in doubt, then what was replaced,
    /// the newer before the older where the storage tells.
    pub keys: Vec<SavedKey>,
    /// Records that hold no usable key.
    pub broken: Vec<BrokenRecord>,
}

/// A key of which a record holds a copy.
#[derive(Debug)]
pub struct SavedKey {
    /// The pair.
    pub private: PrivateKey,
    /// Its public half.
    pub public: PublicKey,
    /// Where it was found, the best place first; at least one.
    pub sightings: Vec<Sighting>,
}

/// A record without a usable key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRecord {
    /// Where it was found.
    pub sighting: Sighting,
    /// The kind of key that it should hold.
    pub kind: KeyKind,
    /// What is wrong, in words.
    pub why: String,
}

/// Where a record was found, and what its storage says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Offset in the dump: of the record, or of the page of EEPROM that holds its bytes one by one.
    pub at: usize,
    /// The storage whose structure was recognised there.
    pub storage: Storage,
    /// Whether the record still counts.
    pub standing: Standing,
    /// True if the sum is right: without that the helper itself does not use the record.
    pub sum_right: bool,
}

/// A storage as it looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Bytes in a row: FRAM, a file of an SD card, an EEPROM read through its own interface.
    Plain,
    /// The emulated EEPROM of Photon, P1 and Electron as it stands in their flash.
    Eeprom {
        /// Address of the record in the EEPROM.
        address: u16,
    },
    /// Flash under the library flashee-eeprom.
    Flashee,
    /// A SPIFFS file system.
    Spiffs,
}

/// Whether a record still counts, where its storage tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is what a reader of that storage gets.
    Present,
    /// The storage does not tell.
    Unknown,
    /// It was overwritten or deleted since.
    Replaced,
}

impl Sighting {
    /// The lower, the better.
    fn rank(&self) -> (Standing, bool) {
        (self.standing, !self.sum_right)
    }
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.storage {
            Storage::Plain => write!(f, "at {:#x}", self.at)?,
            Storage::Eeprom { address } => write!(f, "at address {address} of the EEPROM in the page at {:#x}", self.at)?,
            Storage::Flashee => write!(f, "at {:#x}, in flashee pages", self.at)?,
            Storage::Spiffs => write!(f, "at {:#x}, in a SPIFFS file", self.at)?,
        }
        if self.standing == Standing::Replaced {
            f.write_str(", replaced since")?;
        }
        if !self.sum_right {
            f.write_str(", with a wrong sum")?;
        }
        Ok(())
    }
}

/// Finds the records in a dump and takes the keys out of them.
pub fn find(dump: &[u8]) -> Findings {
    let mut findings = Findings::default();
    for at in magics(dump) {
        // The same place may be read in more than one way. Structure counts for more than a row of bytes.
        let paged = pages::readings(dump, at);
        let plain = Reading::new(&dump[at..], Storage::Plain, at, Standing::Unknown);
        let judged = paged.into_iter().chain(plain).map(Judged::of);
        if let Some(best) = judged.min_by_key(|judged| (judged.key.is_err(), !judged.sighting.sum_right)) {
            findings.add(best);
        }
    }
    // Of the past of a log only keys count: what is torn there is a moment of a write, more often than not.
    let judged = eeprom::readings(dump).into_iter().map(Judged::of);
    judged
        .filter(|judged| judged.key.is_ok() || judged.sighting.standing == Standing::Present)
        .for_each(|judged| findings.add(judged));
    findings
        .keys
        .iter_mut()
        .for_each(|key| key.sightings.sort_by_key(Sighting::rank));
    findings.keys.sort_by_key(|key| key.sightings.first().map(Sighting::rank));
    findings
}

impl Findings {
    fn add(&mut self, judged: Judged) {
        let Judged { sighting, kind, key } = judged;
        match key {
            Ok((public, private)) => match self.keys.iter_mut().find(|known| known.public == public) {
                // A log can say the same twice: what was changed byte by byte may not have changed the key.
                Some(known) if known.sightings.contains(&sighting) => {}
                Some(known) => known.sightings.push(sighting),
                None => self.keys.push(SavedKey {
                    private,
                    public,
                    sightings: vec![sighting],
                }),
            },
            Err(why) => self.broken.push(BrokenRecord { sighting, kind, why }),
        }
    }
}

/// The bytes of a record, as one way of reading a storage gives them.
struct Reading {
    storage: Storage,
    at: usize,
    standing: Standing,
    kind: KeyKind,
    /// The sum that the record says.
    sum: u16,
    /// The payload, or as much of it as is there.
    payload: Zeroizing<Vec<u8>>,
}

impl Reading {
    /// A record at the start of these bytes; `None` if its header is not one.
    fn new(bytes: &[u8], storage: Storage, at: usize, standing: Standing) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let kind = kind(header)?;
        Some(Self {
            storage,
            at,
            standing,
            kind,
            sum: u16::from_le_bytes([header[6], header[7]]),
            payload: Zeroizing::new(rest[..rest.len().min(payload_len(kind))].to_vec()),
        })
    }

    /// True if the payload is whole and its sum is the one of the header.
    fn sum_right(&self) -> bool {
        let sum = self.payload.iter().fold(0u16, |sum, b| sum.wrapping_add(u16::from(*b)));
        self.payload.len() == payload_len(self.kind) && sum == self.sum
    }
}

/// A reading with its key, or what is wrong with it.
struct Judged {
    sighting: Sighting,
    kind: KeyKind,
    key: Result<(PublicKey, PrivateKey), String>,
}

impl Judged {
    fn of(reading: Reading) -> Self {
        let slot = &reading.payload[..reading.payload.len().min(slot_len(reading.kind))];
        let key = match classify(slot, reading.kind) {
            (SlotContent::Valid { key, .. }, Some(private)) => Ok((key, private)),
            (SlotContent::Blank, _) => Err("it is a copy of a blank slot".to_owned()),
            (SlotContent::Corrupt { why } | SlotContent::Unreadable { why }, _) => Err(why),
            (SlotContent::Valid { .. }, None) => unreachable!("a valid slot gives its key"),
        };
        Self {
            sighting: Sighting {
                at: reading.at,
                storage: reading.storage,
                standing: reading.standing,
                sum_right: reading.sum_right(),
            },
            kind: reading.kind,
            key,
        }
    }
}

/// Where the magic number stands.
fn magics(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let windows = bytes.windows(MAGIC.len()).enumerate();
    windows.filter(|(_, window)| *window == MAGIC).map(|(at, _)| at)
}

/// The kind of key in the record with this header.
fn kind(header: &[u8; HEADER]) -> Option<KeyKind> {
    let len = usize::from(u16::from_le_bytes([header[4], header[5]]));
    let kind = [KeyKind::Rsa1024, KeyKind::P256]
        .into_iter()
        .find(|kind| payload_len(*kind) == len)?;
    header.starts_with(&MAGIC).then_some(kind)
}

/// Length of the payload: the private slot, and what the helper takes for the public one.
const fn payload_len(kind: KeyKind) -> usize {
    match kind {
        KeyKind::Rsa1024 => 1216 + 384,
        KeyKind::P256 => 192 + 128,
    }
}

/// Length of the private slot.
const fn slot_len(kind: KeyKind) -> usize {
    match kind {
        KeyKind::Rsa1024 => 1216,
        KeyKind::P256 => 192,
    }
}

/// 0x75A65C63, little endian.
const MAGIC: [u8; 4] = [0x63, 0x5c, 0xa6, 0x75];
/// Magic number, length, sum.
const HEADER: usize = 8;

#[cfg(test)]
mod tests;
