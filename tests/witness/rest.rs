//! What crash tests ask when a station was cut, and when everything is at rest: of the key in the slot, the server, the undo
//! copies and the journal.

use keyrack::{
    keys::ServerFound,
    model::{
        Fact, Verdict,
        platform::{Platform, Segment, Transport},
        recipe::ServerSettings,
    },
    store::UndoVault,
};

use super::{Secrets, Witness};
use crate::bench::Bench;

impl Witness {
    /// What is asked after a cut, with nothing but the disk left of the station; `start` is the key that the device had.
    pub(crate) fn at_cut(&self, bench: &Bench, start: Option<&[u8]>, secrets: &Secrets) {
        let Some(spki) = self.slot_key() else {
            return self.at_large(bench, secrets, "at the cut, ");
        };
        let by_itself = match start {
            Some(start) if start == spki => !self.was_read(bench),
            _ => self.made_by_device(),
        };
        let known = self.ledger.exists() && self.in_ledger(&spki);
        if !by_itself && !known {
            self.wrong("I3: at the cut the slot holds a key that the ledger does not know".to_owned());
        }
        self.at_large(bench, secrets, "at the cut, ");
    }

    /// No private bytes are in files.
    pub(crate) fn at_large(&self, bench: &Bench, secrets: &Secrets, when: &str) {
        for secret in secrets.leaked(bench) {
            self.wrong(format!("I6: {when}{secret}"));
        }
    }

    /// The station read a key of the device.
    pub(crate) fn was_read(&self, bench: &Bench) -> bool {
        let facts = bench.facts(self.device);
        facts.iter().any(|fact| matches!(fact, Fact::KeyRead { .. }))
    }

    /// The device made a key by itself.
    pub(crate) fn made_by_device(&self) -> bool {
        self.world.with_device(self.device, |d| d.counters().keys_made).unwrap() > 0
    }

    /// Nothing that could bring an old key back is left without a reason, and what is there is what the journal says. Tells
    /// whether anything is.
    pub(crate) fn undo(&self, verdict: Verdict) -> bool {
        let files = UndoVault::open(&self.undo).unwrap().list().unwrap();
        let kept = self.ask(|reader| reader.kept_undo_copies().unwrap());
        let kept: Vec<_> = kept.into_iter().map(|row| (row.run, row.device)).collect();
        let files: Vec<_> = files.into_iter().map(|file| (file.run, file.device)).collect();
        if matches!(verdict, Verdict::Pass | Verdict::RolledBack) && !files.is_empty() {
            self.wrong(format!("I7: {verdict}, and {} undo copies are left", files.len()));
        }
        if files != kept {
            self.wrong(format!("I7: {} undo copies on disk, {} on record", files.len(), kept.len()));
        }
        !files.is_empty()
    }

    /// The journal is what the station said, and gives the tables that are there.
    pub(crate) fn journal(&self, bench: &Bench) {
        let on_disk = self.ask(|reader| reader.records(0, u32::MAX).unwrap());
        if !on_disk.ends_with(&bench.records.lock().unwrap()) {
            self.wrong("I8: the journal is not what the station said".to_owned());
        }
        for difference in self.ask(|reader| reader.verify(&mut |_| {}).unwrap()) {
            self.wrong(format!("I8: {difference}"));
        }
    }

    /// The server that the device trusts and looks for is the one of its recipe.
    pub(crate) fn server(&self, platform: Platform, bench: &Bench) {
        let transport = platform.row().transport;
        let segments = platform.key_segments(transport);
        let dct = self.dct();
        let tcp = transport == Transport::Tcp;
        let wanted = ServerSettings {
            spki: bench.rig.cloud.server_spki(tcp),
            host: bench.rig.cloud.server_host(tcp),
            port: None,
        };
        let found = ServerFound::read(
            part(&dct, segments.server_key),
            part(&dct, segments.server_address),
            transport,
        );
        for difference in found.differences(&wanted, transport) {
            self.wrong(format!("I2: PASS with a wrong server: {difference}"));
        }
    }
}

/// A segment of a key store.
pub(crate) fn part(dct: &[u8], segment: Segment) -> &[u8] {
    &dct[segment.offset as usize..(segment.offset + segment.len) as usize]
}
