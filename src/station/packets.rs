//! Keys from afar as they come in: the core decides about each with what the ledger knows, and what is taken is on disk
//! before anybody hears of it.

use crate::{
    model::RunId,
    rack::{
        Rack,
        packet::{Declined, Kept, Offer, Taken},
    },
    store::KeyState,
};

use super::{Event, Station, StationError};

impl Station {
    /// Takes keys from afar, to be registered while the station [runs](Station::run). Of each: what became of it, in
    /// their order.
    ///
    /// # Errors
    /// [`StationError`]; what was taken before is on record.
    pub fn take(
        &mut self,
        offers: &[Offer],
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<Result<Taken, Declined>>, StationError> {
        let mut all = Vec::with_capacity(offers.len());
        for some in offers.chunks(AT_ONCE) {
            let (now, wall) = (self.world.clock.now(), self.world.clock.wall());
            let (mut facts, mut effects) = (Vec::new(), Vec::new());
            let mut rack: Option<Rack> = None;
            for offer in some {
                let mut random = [0; 10];
                self.world.entropy.fill(&mut random);
                let kept = self.kept(offer)?;
                let rack_now = rack.as_ref().unwrap_or(&self.rack);
                match rack_now.take(now, wall, RunId::new(wall, random), offer, &kept)? {
                    Err(declined) => all.push(Err(declined)),
                    Ok((taken, decision)) => {
                        all.push(Ok(taken));
                        facts.extend(decision.facts);
                        effects.extend(decision.effects);
                        rack = Some(decision.rack);
                    }
                }
            }
            if let Some(rack) = rack {
                self.adopt(wall, rack, &facts, effects, now, watch)?;
            }
        }
        Ok(all)
    }

    fn kept(&self, offer: &Offer) -> Result<Kept, StationError> {
        let row = self.store.device(offer.device)?;
        let in_slot = |key: &crate::store::KeyRow| key.state == KeyState::InSlot;
        let held = self.store.keys_of(offer.device)?.into_iter().find(in_slot);
        Ok(Kept {
            accepted: row.as_ref().and_then(|row| row.key_accepted),
            held: held.map(|row| (row.key.fingerprint, row.last_seen)),
            owners: self.store.key_owner(offer.key.fingerprint)?,
            quarantined: row.is_some_and(|row| row.quarantined.is_some()),
        })
    }
}

/// So many are on disk in one transaction: many are quick, and few are lost to a cut.
const AT_ONCE: usize = 64;
