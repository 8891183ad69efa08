//! `POST /v1/provisioning/:deviceID`: the upload of a device's public key (cloud-api.md 2).
//!
//! There is no way to read a key back, as in the real cloud.

use super::{
    audit::Upload,
    call::{Call, known_spelling},
    reply::{Answer, Reply},
    setup::Role,
    spki::{self, Algorithm},
    state::{Owner, Registered},
};
use crate::model::DeviceId;

/// Handles an upload and records it, whatever its result.
pub(super) fn upload(call: &mut Call, id: &str) -> Answer {
    let answer = decide(call, id);
    if let Ok(device) = id.parse::<DeviceId>() {
        let status = match &answer {
            Ok(reply) | Err(reply) => reply.status,
        };
        let sent = call.body.text("publicKey").and_then(|pem| spki::parse_pem(&pem).ok());
        let (product, order, at) = (call.body.text("product_id"), call.body.text("order"), call.now);
        let spki = sent.map(|(_, spki)| spki).unwrap_or_default();
        call.state.audit.uploads.push(Upload {
            device,
            spki,
            at,
            accepted: answer.is_ok(),
            status,
            product,
            order,
        });
    }
    answer
}

fn decide(call: &mut Call, path_id: &str) -> Answer {
    let user = call.person()?;
    let Some(id) = known_spelling(path_id) else {
        return Err(Reply::errors("device ids have 24 lower-case hexadecimal digits"));
    };
    match call.body.filled("deviceID") {
        None => return Err(Reply::json(400, &serde_json::json!({ "error": "No deviceID provided" }))),
        Some(field) if field != path_id => return Err(Reply::errors("deviceID is not the id in the path")),
        Some(_) => {}
    }
    let pem = call
        .body
        .filled("publicKey")
        .ok_or_else(|| Reply::error(400, "No key provided"))?;
    let (kind, spki) = spki::parse_pem(&pem).map_err(|bad| Reply::errors(&bad.to_string()))?;
    let named = match call.body.filled("algorithm").as_deref() {
        Some("rsa") => Algorithm::Rsa,
        Some("ecc") => Algorithm::Ecc,
        _ => return Err(Reply::errors("Key error: algorithm must be rsa or ecc")),
    };
    if named != kind {
        return Err(Reply::errors("Key error: the key is not of that algorithm"));
    }
    permit(call, &user, id)?;
    let registered = Registered::new(kind, &spki, call.now);
    match call.state.devices.get_mut(&id) {
        // The key counts from the next handshake on: a session under way goes on.
        Some(device) => device.key = Some(registered),
        None => return Err(Reply::denied()),
    }
    Reply::ok(&serde_json::json!("Success!"))
}

/// The table of cloud-api.md 2.4. Every refusal has the same words.
fn permit(call: &Call, user: &str, id: DeviceId) -> Result<(), Reply> {
    let device = call.state.devices.get(&id).ok_or_else(Reply::denied)?;
    let named = match call.body.filled("product_id") {
        None => None,
        Some(name) => Some(call.state.product_named(&name).ok_or_else(Reply::denied)?),
    };
    let own = device.owner == Some(Owner::User(user.to_owned()));
    let allowed = match (&device.owner, device.product) {
        // Nobody may replace the key of a customer's device: unclaim it first.
        (Some(Owner::Customer(_)), _) => false,
        (_, None) => own && named.is_none() && !device.denied,
        (owner, Some(product)) => {
            let on_team = |name: &str| call.state.role(name, product).is_some();
            let may = own || call.state.role(user, product).is_some_and(|role| role >= Role::Developer);
            let claimed_in_team = match owner {
                Some(Owner::User(name)) => own || on_team(name),
                _ => true,
            };
            // Only for a device claimed to the token's own account may the product be left out.
            let named_well = named == Some(product) || named.is_none() && own;
            may && claimed_in_team && named_well && !device.denied && device.quarantine.is_none()
        }
    };
    if allowed { Ok(()) } else { Err(Reply::denied()) }
}
