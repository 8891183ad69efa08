//! What it takes to give a device back that is taken from its owner or its product: the customer's tokens, in the memory of
//! this process alone, and the sealed restore data. It performs the errands of a chain; when they are due is for the core to say.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    cloud::{
        CustomerToken,
        answer::withheld,
        customer::{Custody as Held, without_token},
        owner::Claimant,
    },
    model::{
        Code, DeviceId, ProductId, RestoreData, RunId, Secret,
        fact::Protection,
        outbox::{Answer, Attempt, Errand},
        recipe::{Recipe, Sha256},
        survey::{OwnerKind, Survey},
    },
};

use super::{World, admission::Products};

/// The tokens of customers whose devices are at work, by run and product.
#[derive(Default)]
pub(super) struct Custody(Mutex<BTreeMap<(RunId, ProductId), CustomerToken>>);

/// A device that is to be taken from its owner or its product.
pub(super) struct Taking<'a> {
    /// For which run.
    pub(super) run: RunId,
    /// The device.
    pub(super) device: DeviceId,
    /// The product in which it is.
    pub(super) product: Option<&'a ProductId>,
    /// In whose hands the diagnosis found it.
    pub(super) owner: OwnerKind,
    /// The recipe to whose product it is moved, if it is.
    pub(super) to: Option<&'a Recipe>,
}

impl Custody {
    /// Makes sure that a device can be given back before it is taken from its owner or its product: looks whose it is, and
    /// whether the product to which it is moved takes it; has the tokens of a customer, and has all that the device must
    /// get back sealed on disk.
    ///
    /// # Errors
    /// The answer for which the device must not be taken.
    pub(super) fn secure(&self, world: &World, products: &Products, taking: &Taking<'_>) -> Result<Sha256, Answer> {
        let secured = self.try_secure(world, products, taking);
        if secured.is_err() {
            // Of several tokens some may be there.
            self.revoke(world, taking.run);
        }
        secured
    }

    fn try_secure(&self, world: &World, products: &Products, taking: &Taking<'_>) -> Result<Sha256, Answer> {
        let Taking { run, device, .. } = *taking;
        let product = taking
            .product
            .ok_or_else(|| withheld("a device that is taken is in a product"))?;
        let surveyed = world.api.survey(device, Some(product), &[]);
        let (shown, before) = match (surveyed.survey, surveyed.restore) {
            (Survey::Seen(shown), Some(before)) if shown.in_reach && shown.owner == taking.owner => (shown, before),
            (Survey::Failed(answer), _) => return Err(answer),
            _ => return Err(refused(Code::OwnerForeign, "it is not in the hands any more in which it was")),
        };
        let mut places = vec![product];
        if let Some(recipe) = taking.to {
            let open = shown.protection.as_deref().is_none_or(|word| word == "disabled");
            let protection = if open { Protection::Open } else { Protection::Protected };
            products.takes(&world.api, recipe, shown.membership, protection, world.clock.now())?;
            places.extend(&recipe.product);
        }
        if taking.owner == OwnerKind::Customer {
            let unknown = || refused(Code::CustomerUnknown, "the customer who owns it is not known");
            let name = before.owner_name.as_ref().ok_or_else(unknown)?;
            match world.api.custody(product, name, device)? {
                Held::Holds { .. } => {}
                Held::NoCustomer | Held::Without => return Err(unknown()),
            }
            // In the other product the customer has to be one, too: nobody else may claim it there.
            for place in places {
                self.token(world, run, place, &before)?;
            }
        }
        let sealed = world.restore.keep(run, device, &before.to_bytes());
        sealed.map_err(|e| refused(Code::RestoreLost, &chain(&e)))
    }

    /// Performs an errand of a chain.
    ///
    /// # Errors
    /// The answer that it has where what it needs is not there.
    pub(super) fn perform(
        &self,
        world: &World,
        run: RunId,
        device: DeviceId,
        product: Option<&ProductId>,
        errand: &Errand,
        attempt: Attempt,
    ) -> Result<Answer, Answer> {
        let product = product.ok_or_else(|| withheld("a device that is taken is in a product"))?;
        Ok(match errand {
            Errand::Release { before } => {
                let before = kept(world, run, device, *before)?;
                if before.owner != OwnerKind::Customer {
                    return Ok(world.api.release(product, &before, Claimant::Account, attempt));
                }
                let token = self.token(world, run, product, &before)?;
                world.api.release(product, &before, Claimant::Customer(&token), attempt)
            }
            Errand::Remove { before } => world.api.remove(product, &kept(world, run, device, *before)?),
            Errand::Claim { before } => self.claim(world, run, product, &kept(world, run, device, *before)?, attempt)?,
            Errand::Confirm { before } => {
                let before = kept(world, run, device, *before)?;
                match world.api.is_back(product, &before) {
                    Some(answer) => answer,
                    None => self.claim(world, run, product, &before, Attempt::Doubtful)?,
                }
            }
            Errand::Restore { before } => world.api.restore_attributes(product, &kept(world, run, device, *before)?),
            Errand::Import { .. } | Errand::Key { .. } => withheld("no errand of a chain"),
        })
    }

    fn claim(
        &self,
        world: &World,
        run: RunId,
        product: &ProductId,
        before: &RestoreData,
        attempt: Attempt,
    ) -> Result<Answer, Answer> {
        if before.owner != OwnerKind::Customer {
            let spent = |_| withheld("the station's own token is no customer's");
            return world.api.claim(product, before, Claimant::Account, attempt).map_err(spent);
        }
        // A token may have come to its end meanwhile: one more is asked for.
        for _ in 0..2 {
            let token = self.token(world, run, product, before)?;
            match world.api.claim(product, before, Claimant::Customer(&token), attempt) {
                Ok(answer) => return Ok(answer),
                Err(_) => _ = self.lock().remove(&(run, product.clone())),
            }
        }
        Err(Answer::Later {
            why: "the cloud accepts no token of the customer".to_owned(),
            after_ms: None,
        })
    }

    /// Revokes the tokens of a run, and destroys the restore data if that is on record.
    pub(super) fn end(&self, world: &World, run: RunId, device: DeviceId, destroy: bool) {
        if destroy {
            world.restore.destroy(run, device);
        }
        self.revoke(world, run);
    }

    fn revoke(&self, world: &World, run: RunId) {
        let tokens: Vec<_> = self.lock().extract_if(.., |(of, _), _| *of == run).collect();
        for (_, token) in tokens {
            // One that could not be revoked ends by itself.
            let _ = world.api.revoke(&token);
        }
    }

    fn token(&self, world: &World, run: RunId, product: &ProductId, before: &RestoreData) -> Result<CustomerToken, Answer> {
        let place = (run, product.clone());
        let held = self.lock().get(&place).cloned();
        // The device may have passed on to another customer since.
        if let Some(token) = held.filter(|token| before.is_owner(token.customer().expose())) {
            return Ok(token);
        }
        let token = obtain(world, product, before)?;
        let older = self.lock().insert(place, token.clone());
        if let Some(older) = older {
            let _ = world.api.revoke(&older);
        }
        Ok(token)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(RunId, ProductId), CustomerToken>> {
        // A map of tokens is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn obtain(world: &World, product: &ProductId, before: &RestoreData) -> Result<CustomerToken, Answer> {
    let client = world.clients.of(product);
    let client = client.ok_or_else(|| refused(Code::CustomerClient, "the station has no OAuth client of the product"))?;
    let customer = before.owner_name.as_ref();
    let customer: &Secret<String> = customer.ok_or_else(|| refused(Code::CustomerUnknown, "the customer has no name"))?;
    world
        .api
        .customer_token(client, customer)
        .map_err(|error| without_token(&error))
}

fn kept(world: &World, run: RunId, device: DeviceId, sha256: Sha256) -> Result<RestoreData, Answer> {
    let lost = |e: &dyn std::error::Error| refused(Code::RestoreLost, &chain(e));
    let bytes = world.restore.fetch(run, device, sha256).map_err(|e| lost(&e))?;
    RestoreData::from_bytes(bytes.expose()).map_err(|e| lost(&e))
}

fn refused(code: Code, reason: &str) -> Answer {
    Answer::Refused {
        code,
        reason: reason.to_owned(),
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
