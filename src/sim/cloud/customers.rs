//! Customers of a product: cloud-api.md 3.10.

use serde_json::{Value, json};

use super::{
    call::Call,
    devices::release,
    listing,
    oauth::issue_body,
    reply::{Answer, Reply},
    setup::Role,
    state::{Actor, Customer, Owner, hash},
};
use crate::model::DeviceId;

/// `GET /v1/products/:p/customers`.
pub(super) fn list(call: &mut Call, product: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::ViewOnly, Some("customers:list"))?;
    let of_product: Vec<&Customer> = call
        .state
        .customers
        .iter()
        .filter(|customer| customer.product == product)
        .collect();
    let (page, per_page) = listing::page(call)?;
    let total_pages = of_product.len().div_ceil(per_page);
    let shown: Vec<&Customer> = of_product
        .into_iter()
        .skip((page - 1).saturating_mul(per_page))
        .take(per_page)
        .collect();
    let owned = |customer: &Customer| -> Vec<DeviceId> {
        let owner = Some(Owner::Customer(customer.email.clone()));
        let devices = call
            .state
            .devices
            .iter()
            .filter(|(_, device)| device.owner == owner && device.product == Some(product));
        devices.map(|(id, _)| *id).collect()
    };
    let customers: Vec<Value> = shown
        .iter()
        .map(|customer| json!({ "id": customer.id, "full_name": "", "username": customer.email, "devices": owned(customer) }))
        .collect();
    let devices: Vec<Value> = shown
        .iter()
        .flat_map(|customer| owned(customer))
        .map(|id| {
            let device = &call.state.devices[&id];
            json!({ "id": id, "product_id": product, "last_ip_address": "127.0.0.1", "firmware_version": device.firmware_version, "online": device.online || call.stale_online })
        })
        .collect();
    Reply::ok(&json!({ "customers": customers, "devices": devices, "meta": { "total_pages": total_pages } }))
}

/// `POST /v1/products/:p/customers`: by a member of the team, or by a client with its id and secret.
pub(super) fn create(call: &mut Call, product: &str) -> Answer {
    let (id, secret) = call.client_credentials();
    let (product, client) = match (id, secret) {
        (Some(id), Some(secret)) => {
            let bad = || Reply::oauth("invalid_client", "Client credentials are invalid");
            let product = call.state.product_named(product).ok_or_else(bad)?;
            let known = call
                .state
                .clients
                .get(&id)
                .filter(|client| client.product == product && client.secret == hash(&secret));
            known.ok_or_else(bad)?;
            (product, id)
        }
        _ => (call.on_product(product, Role::Developer, None)?.1, "team".to_owned()),
    };
    let email = call.body.filled("email").ok_or_else(|| Reply::errors("email is required"))?;
    let password = call.body.filled("password");
    if password.is_none() && call.body.flag("no_password") != Some(true) {
        return Err(Reply::errors("password is required"));
    }
    if call.state.customer(product, &email).is_some() {
        return Err(Reply::errors("customer already exists"));
    }
    let id = call.random_hex(12);
    let password = password.map(|password| hash(&password));
    call.state.customers.push(Customer {
        email: email.clone(),
        product,
        id,
        password,
    });
    let body = issue_body(call, Actor::Customer { email, product }, &client, Some(LIFETIME_MILLIS));
    Ok(Reply::json(201, &body))
}

/// `PUT /v1/products/:p/customers/:email`: a new password.
pub(super) fn update(call: &mut Call, product: &str, email: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::Developer, Some("customers:update"))?;
    let password = call
        .body
        .filled("password")
        .ok_or_else(|| Reply::errors("password is required"))?;
    let found = call
        .state
        .customers
        .iter_mut()
        .find(|customer| customer.product == product && customer.email == email);
    found.ok_or_else(|| Reply::error(404, "Customer not found"))?.password = Some(hash(&password));
    Reply::ok(&json!({ "ok": true }))
}

/// `DELETE /v1/products/:p/customers/:email`: with its tokens; its devices are released (what the real cloud does with
/// them is unknown).
pub(super) fn delete(call: &mut Call, product: &str, email: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::Developer, Some("customers:remove"))?;
    if call.state.customer(product, email).is_none() {
        return Err(Reply::error(404, "Customer not found"));
    }
    call.state
        .customers
        .retain(|customer| customer.product != product || customer.email != email);
    let actor = Actor::Customer {
        email: email.to_owned(),
        product,
    };
    call.state.tokens.retain(|_, token| token.actor != actor);
    call.state.refresh.retain(|_, refresh| refresh.actor != actor);
    let owner = Some(Owner::Customer(email.to_owned()));
    let owned = call
        .state
        .devices
        .iter()
        .filter(|(_, device)| device.owner == owner && device.product == Some(product));
    for id in owned.map(|(id, _)| *id).collect::<Vec<_>>() {
        release(call, id);
    }
    Reply::ok(&json!({ "ok": true }))
}

/// 90 days, the example of the documents.
const LIFETIME_MILLIS: i64 = 7_776_000_000;
