//! Dumps as the storages of real devices look, each written here byte by byte from what is known of its structure.

use proptest::prelude::*;

use super::*;
use crate::{
    edge::{Entropy, entropy::SystemEntropy},
    keys::encode,
};

/// A record as the helper writes it, with what follows the private slot in the key store.
fn record(key: &PrivateKey) -> Vec<u8> {
    let kind = key.kind();
    let mut payload = encode(key, slot_len(kind)).expose().clone();
    match kind {
        KeyKind::Rsa1024 => payload.extend_from_slice(&key.public().spki),
        // The first bytes of the server's key, by the helper's mistake.
        KeyKind::P256 => payload.extend_from_slice(&PrivateKey::generate(KeyKind::P256, &SystemEntropy).public().spki),
    }
    payload.resize(payload_len(kind), 0xff);
    record_of(&payload)
}

fn record_of(payload: &[u8]) -> Vec<u8> {
    let sum = payload.iter().fold(0u16, |sum, b| sum.wrapping_add(u16::from(*b)));
    let len = u16::try_from(payload.len()).unwrap();
    let header = [&[0x63, 0x5c, 0xa6, 0x75][..], &len.to_le_bytes(), &sum.to_le_bytes()].concat();
    [&header[..], payload].concat()
}

fn pair(kind: KeyKind) -> PrivateKey {
    PrivateKey::generate(kind, &SystemEntropy)
}

/// Fingerprints and places, in order.
fn seen(findings: &Findings) -> Vec<(String, Vec<Sighting>)> {
    let keys = findings.keys.iter();
    keys.map(|key| {
        assert_eq!(key.private.public(), key.public);
        (key.public.fingerprint.to_string(), key.sightings.clone())
    })
    .collect()
}

fn name(key: &PrivateKey) -> String {
    key.public().fingerprint.to_string()
}

fn sighting(at: usize, storage: Storage, standing: Standing) -> Sighting {
    Sighting {
        at,
        storage,
        standing,
        sum_right: true,
    }
}

const KINDS: [KeyKind; 2] = [KeyKind::Rsa1024, KeyKind::P256];

#[test]
fn records_have_the_published_lengths() {
    assert_eq!(KINDS.map(|kind| record(&pair(kind)).len()), [1608, 328]);
}

#[test]
fn records_in_a_row_of_bytes_are_found_wherever_they_stand() {
    for kind in KINDS {
        let (one, two) = (pair(kind), pair(kind));
        let mut noise = SystemEntropy.bytes::<77>();
        // Looks like the first page of flashee, and of a file in SPIFFS.
        noise[..5].copy_from_slice(&[3, 0x7f, 0, 0, 0xfc]);
        let mut dump = [&noise[..], &record(&one), &MAGIC, &noise, &record(&two), &record(&one)].concat();
        dump.resize(32 * 1024, 0);
        let plain = |at| sighting(at, Storage::Plain, Standing::Unknown);
        let len = record(&one).len();
        let (second, third) = (77 + len + 4 + 77, 77 + 2 * len + 4 + 77);
        let findings = find(&dump);
        assert_eq!(
            seen(&findings),
            [(name(&one), vec![plain(77), plain(third)]), (name(&two), vec![plain(second)])],
            "{kind}"
        );
        assert_eq!(findings.broken, []);
    }
}

#[test]
fn nothing_but_the_private_slot_is_taken_from_a_record() {
    let key = pair(KeyKind::P256);
    let found = find(&record(&key)).keys.remove(0);
    let slot = encode(&found.private, 192);
    assert_eq!(slot.expose(), encode(&key, 192).expose());
    assert!(slot.expose()[121..].iter().all(|b| *b == 0xff));
}

#[test]
fn the_sum_neither_proves_nor_disproves_a_key() {
    for kind in KINDS {
        let key = pair(kind);
        // Two bytes that changed places leave the sum as it was.
        let mut swapped = record(&key);
        let other = (40..100).find(|at| swapped[*at] != swapped[39]).unwrap();
        swapped.swap(39, other);
        let findings = find(&swapped);
        assert!(findings.keys.is_empty());
        let [broken] = &findings.broken[..] else {
            panic!("{findings:?}")
        };
        assert!(broken.sighting.sum_right && broken.kind == kind, "{broken:?}");
        // A damage behind the key spoils the sum and nothing else.
        let mut spoilt = record(&key);
        *spoilt.last_mut().unwrap() ^= 1;
        let [key_found] = &find(&spoilt).keys[..] else { panic!() };
        assert_eq!(key_found.public, key.public());
        assert!(!key_found.sightings[0].sum_right);
        assert!(key_found.sightings[0].to_string().contains("wrong sum"));
        // Cut off behind the key, too.
        let cut = find(&record(&key)[..8 + slot_len(kind)]);
        assert!(cut.keys[0].public == key.public() && !cut.keys[0].sightings[0].sum_right);
        // The better record of the same dump comes first.
        let better = pair(kind);
        let both = find(&[spoilt, record(&better)].concat());
        assert_eq!(both.keys[0].public, better.public());
    }
}

#[test]
fn records_without_a_key_are_named_with_what_is_wrong() {
    for (payload, why) in [
        (vec![0xff; 320], "blank"),
        (vec![0; 320], "zero"),
        (vec![0x55; 320], "does not start like a key"),
        (record(&pair(KeyKind::Rsa1024))[8..328].to_vec(), "other transport"),
    ] {
        let findings = find(&record_of(&payload));
        assert!(findings.keys.is_empty());
        assert!(findings.broken[0].why.contains(why), "{findings:?}");
    }
    for len in [0, 319, 1599] {
        let findings = find(&record_of(&vec![0x30; len]));
        assert!(
            findings.keys.is_empty() && findings.broken.is_empty(),
            "{len} is no length of a record"
        );
    }
}

/// A SPIFFS of 256-byte pages, 16 to a block, the first of each block a table.
struct Spiffs(Vec<u8>);

impl Spiffs {
    fn new(blocks: usize) -> Self {
        Self(vec![0xff; blocks * 4096])
    }

    /// Writes a file into free pages from `page` on, and returns where its content begins.
    fn write(&mut self, object: u16, content: &[u8], mut page: usize, flags: u8) -> usize {
        let start = page * 256 + 5;
        for (piece, part) in content.chunks(251).enumerate() {
            let head = [object.to_le_bytes(), u16::try_from(piece).unwrap().to_le_bytes()].concat();
            let at = page * 256;
            self.0[at..at + 4].copy_from_slice(&head);
            self.0[at + 4] = flags;
            self.0[at + 5..at + 5 + part.len()].copy_from_slice(part);
            page += if page % 16 == 15 { 2 } else { 1 };
        }
        start
    }
}

#[test]
fn records_in_spiffs_are_put_together_and_deleted_ones_come_last() {
    const LIVE: u8 = 0xfc;
    const DELETED: u8 = 0x7c;
    for kind in KINDS {
        let (old, older, new, other) = (pair(kind), pair(kind), pair(kind), pair(kind));
        let mut fs = Spiffs::new(4);
        let spiffs = |at, standing| sighting(at, Storage::Spiffs, standing);
        fs.write(9, b"another file", 1, LIVE);
        // The same file, written anew three times; the newest over the end of a block.
        let older_at = fs.write(3, &record(&older), 34, DELETED);
        let old_at = fs.write(3, &record(&old), 42, DELETED);
        let new_at = fs.write(3, &record(&new), 12, LIVE);
        let other_at = fs.write(4, &record(&other), 3, LIVE);
        let findings = find(&fs.0);
        assert_eq!(
            seen(&findings),
            [
                (name(&other), vec![spiffs(other_at, Standing::Present)]),
                (name(&new), vec![spiffs(new_at, Standing::Present)]),
                (name(&older), vec![spiffs(older_at, Standing::Replaced)]),
                (name(&old), vec![spiffs(old_at, Standing::Replaced)]),
            ],
            "{kind}"
        );
        assert_eq!(findings.broken, []);
        assert!(findings.keys[3].sightings[0].to_string().contains("SPIFFS file, replaced"));
    }
}

#[test]
fn records_in_flashee_are_put_together_over_pages_that_have_moved() {
    let (key, freed) = (pair(KeyKind::Rsa1024), pair(KeyKind::Rsa1024));
    let mut flash = vec![0xff; 8 * 4096];
    let mut page = |place: usize, head: [u8; 2], at: usize, content: &[u8]| {
        let start = place * 4096;
        flash[start..start + 2].copy_from_slice(&head);
        flash[start + at..start + at + content.len()].copy_from_slice(content);
    };
    let (whole, old) = (record(&key), record(&freed));
    // Logical page 3 is at place 6, page 4 at place 1.
    page(6, [3, 0x7f], 4096 - 700, &whole[..700]);
    page(1, [4, 0x7f], 2, &whole[700..]);
    page(5, [3, 0x3f], 100, &old);
    let findings = find(&flash);
    assert_eq!(
        seen(&findings),
        [
            (
                name(&key),
                vec![sighting(7 * 4096 - 700, Storage::Flashee, Standing::Present)]
            ),
            (
                name(&freed),
                vec![sighting(5 * 4096 + 100, Storage::Flashee, Standing::Replaced)]
            )
        ]
    );
}

/// An emulated EEPROM in its two pages, as Device OS writes it.
struct Eeprom {
    flash: Vec<u8>,
    /// Offset of the active page.
    page: usize,
    /// Offset of the next entry.
    next: usize,
    bytes: Vec<u8>,
}

impl Eeprom {
    fn new() -> Self {
        let mut flash = vec![0xff; 80 * 1024];
        flash[..4].copy_from_slice(&ACTIVE);
        Self {
            flash,
            page: 0,
            next: 4,
            bytes: vec![0xff; 2048],
        }
    }

    fn entry(&mut self, at: usize, address: usize, data: u8) {
        let [low, high] = u16::try_from(address).unwrap().to_le_bytes();
        self.flash[at..at + 4].copy_from_slice(&[data, 0, low, high]);
    }

    /// Writes what changes, the last byte first in flash.
    fn put(&mut self, address: usize, data: &[u8]) {
        let changed: Vec<_> = (0..data.len()).filter(|i| self.bytes[address + i] != data[*i]).collect();
        for (back, i) in changed.iter().enumerate() {
            let at = self.next + 4 * (changed.len() - 1 - back);
            self.entry(at, address + i, data[*i]);
            self.bytes[address + i] = data[*i];
        }
        self.next += 4 * changed.len();
    }

    /// Copies what is not blank to the other page, in order, and makes that the active one.
    fn swap(&mut self) {
        let from = std::mem::replace(&mut self.page, 16 * 1024);
        self.next = self.page + 4;
        for (address, data) in self.bytes.clone().into_iter().enumerate().filter(|(_, data)| *data != 0xff) {
            self.entry(self.next, address, data);
            self.next += 4;
        }
        self.flash[self.page..self.page + 4].copy_from_slice(&ACTIVE);
        self.flash[from..from + 4].copy_from_slice(&INACTIVE);
    }
}

const ACTIVE: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
const INACTIVE: [u8; 4] = [0x00, 0x00, 0xcc, 0xcc];

#[test]
fn the_log_of_an_eeprom_gives_the_present_record_and_the_older_ones() {
    for kind in KINDS {
        let [first, second, third] = [pair(kind), pair(kind), pair(kind)];
        let mut eeprom = Eeprom::new();
        let seen_at = |page, standing| sighting(page, Storage::Eeprom { address: 100 }, standing);
        eeprom.put(0, b"settings");
        eeprom.put(100, &record(&first));
        eeprom.put(2, b"xx");
        assert_eq!(
            seen(&find(&eeprom.flash)),
            [(name(&first), vec![seen_at(0, Standing::Present)])],
            "{kind}"
        );
        eeprom.put(100, &record(&second));
        eeprom.put(4, b"yy");
        let log = [
            (name(&second), vec![seen_at(0, Standing::Present)]),
            (name(&first), vec![seen_at(0, Standing::Replaced)]),
        ];
        assert_eq!(seen(&find(&eeprom.flash)), log, "{kind}");
        eeprom.swap();
        eeprom.put(100, &record(&third));
        let second_place = 16 * 1024;
        let mut whole_flash = vec![0; 48 * 1024];
        whole_flash.extend_from_slice(&eeprom.flash);
        let base = 48 * 1024;
        assert_eq!(
            seen(&find(&whole_flash)),
            [
                (name(&third), vec![seen_at(base + second_place, Standing::Present)]),
                (
                    name(&second),
                    vec![
                        seen_at(base, Standing::Replaced),
                        seen_at(base + second_place, Standing::Replaced)
                    ]
                ),
                (name(&first), vec![seen_at(base, Standing::Replaced)]),
            ],
            "{kind}"
        );
    }
}

#[test]
fn a_log_remembers_the_newer_before_the_older() {
    let pairs = [(); 4].map(|()| pair(KeyKind::P256));
    let mut eeprom = Eeprom::new();
    for key in &pairs {
        eeprom.put(100, &record(key));
    }
    let order: Vec<_> = seen(&find(&eeprom.flash)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, pairs.iter().rev().map(name).collect::<Vec<_>>());
}

#[test]
fn a_torn_write_to_an_eeprom_leaves_the_record_before_it() {
    let (old, new) = (pair(KeyKind::P256), pair(KeyKind::P256));
    let mut eeprom = Eeprom::new();
    eeprom.put(100, &record(&old));
    let before = eeprom.next;
    eeprom.put(100, &record(&new));
    // Cut in the middle: written from the end, so the first entries are still blank, and the log ends before them.
    let mut cut = eeprom.flash.clone();
    cut[before..before + 400].fill(0xff);
    // Or in the middle of an entry, whose status byte is then not yet what makes it valid.
    let mut torn = eeprom.flash.clone();
    torn[before + 1] = 0xff;
    for flash in [cut, torn] {
        let found = seen(&find(&flash));
        assert_eq!(found.iter().map(|(name, _)| name).collect::<Vec<_>>(), [&name(&old)]);
    }
}

#[test]
fn an_eeprom_read_through_its_own_interface_is_a_row_of_bytes() {
    let key = pair(KeyKind::Rsa1024);
    let mut eeprom = Eeprom::new();
    eeprom.put(300, &record(&key));
    let plain = sighting(300, Storage::Plain, Standing::Unknown);
    assert_eq!(seen(&find(&eeprom.bytes)), [(name(&key), vec![plain])]);
}

#[test]
fn nothing_private_is_ever_shown() {
    let findings = find(&record(&pair(KeyKind::P256)));
    assert!(format!("{findings:?}").contains("PrivateKey(P-256, redacted)"));
}

proptest! {
    #[test]
    fn no_dump_makes_it_panic(parts in proptest::collection::vec((0usize..10, any::<u16>()), 0..24)) {
        let mut dump = Vec::new();
        for (what, number) in parts {
            let [low, high] = number.to_le_bytes();
            match what {
                0 => dump.extend(MAGIC),
                1 => dump.extend([MAGIC.as_slice(), &320u16.to_le_bytes(), &[low, high, 0x30, 0x77]].concat()),
                2 => dump.extend([MAGIC.as_slice(), &1600u16.to_le_bytes(), &[low, high, 0x30]].concat()),
                3 => dump.extend([low, 0, low, 0, 0xfc]),
                4 => dump.extend([low, 0x7f]),
                5 => dump.extend(ACTIVE),
                6 => dump.extend([low, 0, high, 0]),
                7 => dump.resize(dump.len().next_multiple_of(16 * 1024), 0xff),
                8 => dump.resize(dump.len().next_multiple_of(256), high),
                _ => dump.extend([high; 90]),
            }
        }
        find(&dump);
    }

    #[test]
    fn no_damage_to_a_record_gives_another_key(at in 0usize..328, xor in 1u8..) {
        static KEY: std::sync::OnceLock<(String, Vec<u8>)> = std::sync::OnceLock::new();
        let (name, record) = KEY.get_or_init(|| {
            let key = pair(KeyKind::P256);
            (name(&key), record(&key))
        });
        let mut damaged = record.clone();
        damaged[at] ^= xor;
        for (found, _) in seen(&find(&damaged)) {
            prop_assert_eq!(&found, name);
        }
    }
}
