//! The looks of the first step: what the cloud says of product and device before anything is changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    cloud::{Api, account::Member, admission, answer, product::CloudProduct},
    model::{
        DeviceId, Mono, ProductId,
        fact::Protection,
        outbox::{Answer, Looked},
        recipe::Recipe,
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
        let mut known = match &recipe.product {
            None => None,
            Some(id) => match self.kept(id, now).map_or_else(|| self.look(api, id, now), Ok) {
                Ok(known) => Some(known),
                Err(answer) => return not_found_out(answer),
            },
        };
        let looked = api.look(device, recipe.product.as_ref());
        if let Looked::Failed(answer) = &looked {
            return not_found_out(answer.clone());
        }
        let mut judged = judge(api, recipe, protection, known.as_deref(), &looked);
        // What was true a while ago admits, but never refuses.
        if let (Err(_), Some(id), Some(stale)) = (&judged, &recipe.product, &known)
            && stale.seen < now
        {
            known = match self.look(api, id, now) {
                Ok(known) => Some(known),
                Err(answer) => return not_found_out(answer),
            };
            judged = judge(api, recipe, protection, known.as_deref(), &looked);
        }
        match judged {
            Ok(admitted) => Admitted::Yes {
                notes: admitted.notes,
                handshake_at: if let Looked::Device { device, .. } = looked {
                    device.last_handshake_at
                } else {
                    None
                },
            },
            Err(refusal) => Admitted::No {
                code: refusal.code,
                reason: refusal.reason,
            },
        }
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
