//! The looks of the first step: what the cloud says of product and device before anything is changed.

use crate::{
    cloud::{Api, admission, answer},
    model::{
        DeviceId,
        fact::Protection,
        outbox::{Answer, Looked},
        recipe::Recipe,
    },
    rack::Admitted,
};

/// Looks up product, team and device, and applies the rule.
pub(super) fn admit(api: &Api, recipe: &Recipe, device: DeviceId) -> Admitted {
    let (mut product, mut team) = (None, None);
    if let Some(id) = &recipe.product {
        match api.product(id) {
            Ok(found) => product = Some(found),
            Err(answer) => return not_found_out(answer),
        }
        // Not every token may see the team; the rule knows what to do without.
        team = api.team(id).ok();
    }
    let looked = api.look(device, recipe.product.as_ref());
    if let Looked::Failed(answer) = &looked {
        return not_found_out(answer.clone());
    }
    let account = api.account();
    let wanted = admission::Wanted {
        platform: recipe.platform,
        // A protected device is refused before the cloud is asked.
        protection: Protection::Open,
        product: product.as_ref(),
        account: account.as_deref(),
        team: team.as_deref(),
    };
    match admission::admit(&wanted, &looked) {
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
