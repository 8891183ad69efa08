//! What it takes to give a customer's device back: the customer's token, in the memory of this process alone, and the
//! sealed restore data. It performs the errands of a chain; when they are due is for the core to say.

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
        outbox::{Answer, Attempt, Errand},
        recipe::Sha256,
        survey::{OwnerKind, Survey},
    },
};

use super::World;

/// The tokens of customers whose devices are at work.
#[derive(Default)]
pub(super) struct Custody(Mutex<BTreeMap<RunId, CustomerToken>>);

impl Custody {
    /// Makes sure that a customer's device can be given back, before it is taken: looks whose it is, has the customer's
    /// token, and has all that the device must get back sealed on disk.
    ///
    /// # Errors
    /// The answer for which the device must not be taken.
    pub(super) fn secure(
        &self,
        world: &World,
        run: RunId,
        device: DeviceId,
        product: Option<&ProductId>,
    ) -> Result<Sha256, Answer> {
        let product = product.ok_or_else(|| withheld("a customer's device is in a product"))?;
        let surveyed = world.api.survey(device, Some(product));
        let before = match surveyed.survey {
            Survey::Seen(shown) if shown.owner == OwnerKind::Customer => surveyed.restore,
            Survey::Seen(_) | Survey::Unseen => return Err(refused(Code::OwnerForeign, "it is no customer's any more")),
            Survey::Failed(answer) => return Err(answer),
        };
        let unknown = || refused(Code::CustomerUnknown, "the customer who owns it is not known");
        let before = before.ok_or_else(unknown)?;
        let name = before.owner_name.as_ref().ok_or_else(unknown)?;
        match world.api.custody(product, name, device)? {
            Held::Holds { .. } => {}
            Held::NoCustomer | Held::Without => return Err(unknown()),
        }
        self.token(world, run, product, &before)?;
        let sealed = world.restore.keep(run, device, &before.to_bytes());
        sealed.map_err(|e| refused(Code::RestoreLost, &chain(&e)))
    }

    /// Performs an errand of a chain.
    pub(super) fn perform(
        &self,
        world: &World,
        run: RunId,
        device: DeviceId,
        product: Option<&ProductId>,
        errand: &Errand,
        attempt: Attempt,
    ) -> Answer {
        self.try_perform(world, run, device, product, errand, attempt)
            .unwrap_or_else(|answer| answer)
    }

    fn try_perform(
        &self,
        world: &World,
        run: RunId,
        device: DeviceId,
        product: Option<&ProductId>,
        errand: &Errand,
        attempt: Attempt,
    ) -> Result<Answer, Answer> {
        let product = product.ok_or_else(|| withheld("a customer's device is in a product"))?;
        Ok(match errand {
            Errand::Release { before } => {
                let before = kept(world, run, device, *before)?;
                let token = self.token(world, run, product, &before)?;
                world.api.release(product, &before, Claimant::Customer(&token), attempt)
            }
            Errand::Claim { before } => self.claim(world, run, product, &kept(world, run, device, *before)?, attempt)?,
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
        // A token may have come to its end meanwhile: one more is asked for.
        for _ in 0..2 {
            let token = self.token(world, run, product, before)?;
            match world.api.claim(product, before, Claimant::Customer(&token), attempt) {
                Ok(answer) => return Ok(answer),
                Err(_) => _ = self.lock().remove(&run),
            }
        }
        Err(Answer::Later {
            why: "the cloud accepts no token of the customer".to_owned(),
            after_ms: None,
        })
    }

    /// Revokes the token of a run, and destroys the restore data if that is on record.
    pub(super) fn end(&self, world: &World, run: RunId, device: DeviceId, destroy: bool) {
        if destroy {
            world.restore.destroy(run, device);
        }
        let token = self.lock().remove(&run);
        if let Some(token) = token {
            // One that could not be revoked ends by itself.
            let _ = world.api.revoke(&token);
        }
    }

    fn token(&self, world: &World, run: RunId, product: &ProductId, before: &RestoreData) -> Result<CustomerToken, Answer> {
        let held = self.lock().get(&run).cloned();
        // The device may have passed on to another customer since.
        if let Some(token) = held.filter(|token| before.is_owner(token.customer().expose())) {
            return Ok(token);
        }
        let token = obtain(world, product, before)?;
        let older = self.lock().insert(run, token.clone());
        if let Some(older) = older {
            let _ = world.api.revoke(&older);
        }
        Ok(token)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, CustomerToken>> {
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
