//! Compares the simulated world, its cloud and the ledger with what the scenario says must come out.

use super::{Rig, private_slot};
use crate::{
    model::{DeviceId, Fact, SlotNo},
    sim::world::scenario::EndKey,
    store::{Reader, StoreError},
};

impl Rig {
    /// Everything that differs from what the scenario says, a sentence each.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    ///
    /// # Panics
    /// If the scenario contradicts itself: scenarios are checked when they are parsed.
    pub fn judge(&self, ledger: &Reader) -> Result<Vec<String>, StoreError> {
        let mut wrong = Vec::new();
        for (slot, expect) in &self.scenario.expect {
            let device = self.device_of(SlotNo(*slot)).expect("a device for each slot");
            let start = &self.start[&device];
            let mut say = |what: String| wrong.push(format!("slot {slot} ({device}): {what}"));
            let row = ledger.device(device)?;
            let listed = row.as_ref().is_some_and(|row| row.unprotected_since.is_some());
            match row.as_ref().and_then(|row| row.last_verdict) {
                None if !expect.verdict.is_verdict() => {}
                None => say(format!("no verdict, expected {}", expect.verdict.word())),
                Some(verdict) if verdict.word() != expect.verdict.word() => {
                    let code = row
                        .and_then(|row| row.last_code)
                        .map(|code| format!(" ({code})"))
                        .unwrap_or_default();
                    say(format!("{verdict}{code}, expected {}", expect.verdict.word()));
                }
                Some(_) => {
                    let code = row.and_then(|row| row.last_code).map(|code| code.text());
                    if expect.code.is_some() && code != expect.code.as_deref() {
                        say(format!(
                            "code {}, expected {}",
                            code.unwrap_or("none"),
                            expect.code.as_deref().unwrap_or("none")
                        ));
                    }
                }
            }
            let (spki, dct) = self
                .world
                .with_device(device, |d| (d.key_spki(), d.dct().to_vec()))
                .expect("the device exists");
            let registered = self.cloud.registered(device);
            match expect.key {
                EndKey::Same if spki != start.spki => say("another key than at the start".to_owned()),
                EndKey::New if spki == start.spki || spki.is_none() => say("no new key".to_owned()),
                EndKey::Same | EndKey::New if registered != spki => say("the cloud holds another key than the device".to_owned()),
                EndKey::PresentValid if spki.is_none() => say("no valid key".to_owned()),
                EndKey::UnchangedBytes if self.key_slot(device, &dct) != self.key_slot(device, &start.dct) => {
                    say("the key slot changed".to_owned());
                }
                _ => {}
            }
            let protected = self.world.with_device(device, |d| d.is_protected()).unwrap_or(false);
            let guarded = self.scenario.slots.get(slot).is_some_and(|slot| slot.protected);
            if guarded && protected == expect.unprotected {
                say(format!("protected: {protected}"));
            }
            if listed != expect.unprotected {
                say(format!("in the ledger as unprotected: {listed}"));
            }
            let uploads = self.cloud.uploads(device).iter().filter(|upload| upload.accepted).count();
            if uploads != expect.uploads as usize {
                say(format!("{uploads} uploads, expected {}", expect.uploads));
            }
            let owed = ledger.owed(u32::MAX)?.iter().filter(|row| row.item.device == device).count();
            if owed != expect.owed as usize {
                say(format!("{owed} items owed, expected {}", expect.owed));
            }
            let failed = ledger
                .device_records(device, None, u32::MAX)?
                .iter()
                .any(|r| matches!(r.fact, Fact::StepFailed { .. }));
            if expect.retried && !failed {
                say("no step failed and was tried again".to_owned());
            }
        }
        for mishap in self.world.mishaps() {
            if !mishap.fired {
                wrong.push(format!("a mishap never happened: {}", mishap.label));
            }
        }
        for (fault, times) in self.cloud.fired() {
            if times == 0 {
                wrong.push(format!("a fault of the cloud never happened: {}", fault.route));
            }
        }
        Ok(wrong)
    }

    /// The private key slot of a device, out of its key store.
    fn key_slot<'a>(&self, device: DeviceId, dct: &'a [u8]) -> &'a [u8] {
        let slot = self
            .scenario
            .slots
            .values()
            .find(|slot| slot.id == device)
            .expect("a slot for each device");
        private_slot(slot, dct)
    }
}
