//! The looks of the first step: what the cloud says of product and device before anything is changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    cloud::{Api, account::Member, admission, answer, product::CloudProduct},
    model::{
        Code, DeviceId, Mono, ProductId,
        fact::Protection,
        outbox::{Answer, Looked},
        recipe::Recipe,
        survey::Membership,
    },
    rack::Admitted,
};

/// What was looked up of products lately. A rack of devices for one product asks for it once, not once for each: the calls
/// of a whole site have one limit.
#[derive(Default)]
pub(super) struct Products(Mutex<BTreeMap<ProductId, Arc<Product>>>);

/// A product as the cloud showed it.
struct Product {
    seen: Mono,
    product: CloudProduct,
    /// Not every token may see the team; the rule knows what to do without.
    team: Option<Vec<Member>>,
}

impl Products {
    /// Looks up product, team and device, and applies the rule.
    pub(super) fn admit(&self, api: &Api, recipe: &Recipe, device: DeviceId, protection: Protection, now: Mono) -> Admitted {
        let mut handshake_at = None;
        let look = || {
            let looked = api.look(device, recipe.product.as_ref());
            if let Looked::Device { device, .. } = &looked {
                handshake_at = device.last_handshake_at;
            }
            looked
        };
        match self.judged(api, recipe, protection, now, look) {
            Ok(Ok((admitted, _))) => Admitted::Yes {
                notes: admitted.notes,
                handshake_at,
            },
            Ok(Err(admission::Refusal { code, reason })) => Admitted::No { code, reason },
            Err(answer) => not_found_out(answer),
        }
    }

    /// Looks whether the product of a recipe takes a device that is on its way there from another product.
    ///
    /// # Errors
    /// Why it does not, or why that could not be found out.
    pub(super) fn takes(
        &self,
        api: &Api,
        recipe: &Recipe,
        from: Membership,
        protection: Protection,
        now: Mono,
    ) -> Result<(), Answer> {
        let refused = |code, reason| Answer::Refused { code, reason };
        let judged = self.judged(api, recipe, protection, now, || Looked::Unseen)?;
        let (_, known) = judged.map_err(|refusal| refused(refusal.code, refusal.reason))?;
        match known {
            Some(known) if from == (Membership::Product { id: known.product.id }) => {
                let reason = "it is in the product of the recipe already, and that is also listed as one to move devices from";
                Err(refused(Code::ImportInvalid, reason.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Looks up the product of a recipe, then the device, and applies the rule.
    fn judged(
        &self,
        api: &Api,
        recipe: &Recipe,
        protection: Protection,
        now: Mono,
        look: impl FnOnce() -> Looked,
    ) -> Result<Judged, Answer> {
        let mut known = match &recipe.product {
            None => None,
            Some(id) => Some(self.kept(id, now).map_or_else(|| self.look(api, id, now), Ok)?),
        };
        let looked = look();
        if let Looked::Failed(answer) = looked {
            return Err(answer);
        }
        let mut judged = judge(api, recipe, protection, known.as_deref(), &looked);
        // What was true a while ago admits, but never refuses.
        if let (Err(_), Some(id), Some(stale)) = (&judged, &recipe.product, &known)
            && stale.seen < now
        {
            known = Some(self.look(api, id, now)?);
            judged = judge(api, recipe, protection, known.as_deref(), &looked);
        }
        Ok(judged.map(|admitted| (admitted, known)))
    }

    fn kept(&self, id: &ProductId, now: Mono) -> Option<Arc<Product>> {
        let kept = self.lock().get(id).cloned();
        kept.filter(|product| now.since(product.seen) < KEPT)
    }

    /// Asks the cloud; what it says is kept if it is an answer and no mishap.
    fn look(&self, api: &Api, id: &ProductId, now: Mono) -> Result<Arc<Product>, Answer> {
        let product = api.product(id)?;
        let team = api.team(id);
        let definite = matches!(team, Ok(_) | Err(Answer::Refused { .. }));
        let found = Arc::new(Product {
            seen: now,
            product,
            team: team.ok(),
        });
        if definite {
            self.lock().insert(id.clone(), Arc::clone(&found));
        }
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProductId, Arc<Product>>> {
        // A map of what was found is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the rule says, with the product as it was looked up.
type Judged = Result<(admission::Admitted, Option<Arc<Product>>), admission::Refusal>;

fn judge(
    api: &Api,
    recipe: &Recipe,
    protection: Protection,
    known: Option<&Product>,
    looked: &Looked,
) -> Result<admission::Admitted, admission::Refusal> {
    let account = api.account();
    let wanted = admission::Wanted {
        platform: recipe.platform,
        protection,
        product: known.map(|known| &known.product),
        account: account.as_deref(),
        team: known.and_then(|known| known.team.as_deref()),
    };
    admission::admit(&wanted, looked)
}

/// A definite no ends the run; anything else is asked again.
fn not_found_out(given: Answer) -> Admitted {
    match given {
        Answer::Refused { .. } => {
            let (code, reason) = answer::blame(&given);
            Admitted::No { code, reason }
        }
        other => Admitted::Failed(other),
    }
}

/// How long a product that was looked up counts. A change in the cloud's console reaches the next device after it.
const KEPT: Duration = Duration::from_secs(60);
