//! SIMs and serial numbers: cloud-api.md 3.11 and 3.12.

use serde_json::{Value, json};

use super::{
    call::Call,
    reply::{Answer, Reply},
    setup::Role,
};

/// `GET /v1/serial_numbers/:sn`, also for devices that are in no product.
pub(super) fn serial_number(call: &mut Call, serial: &str) -> Answer {
    call.actor()?;
    let is = |text: &Option<String>| text.as_ref().is_some_and(|text| text.eq_ignore_ascii_case(serial));
    match call.state.devices.iter().find(|(_, device)| is(&device.serial)) {
        Some((id, device)) => Reply::ok(&json!({ "ok": true, "deviceID": id, "iccid": device.iccid })),
        None => Err(Reply::error(404, "Serial number not found")),
    }
}

/// `GET /v1/products/:p/sims`.
pub(super) fn list(call: &mut Call, product: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::ViewOnly, Some("sims:list"))?;
    let own = call.state.sims.iter().filter(|(_, sim)| sim.product == Some(product));
    let sims: Vec<Value> = own
        .map(|(iccid, sim)| json!({ "_id": iccid, "status": status(sim.active) }))
        .collect();
    Reply::ok(&json!({ "sims": sims, "meta": { "total_pages": 1 } }))
}

/// `POST /v1/products/:p/sims`: `sims[]` or a file. The real cloud answers before it has acted and mails the result.
pub(super) fn import(call: &mut Call, product: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::Developer, Some("sims:import"))?;
    let file = call
        .body
        .file()
        .map(|file| String::from_utf8_lossy(file).lines().map(str::to_owned).collect::<Vec<_>>());
    let Some(numbers) = file.or_else(|| call.body.list("sims")) else {
        return Err(Reply::errors("sims or file is required"));
    };
    for number in numbers {
        if let Some(sim) = call.state.sims.get_mut(number.trim())
            && sim.product.is_none_or(|own| own == product)
        {
            sim.product = Some(product);
            sim.active = true;
        }
    }
    Reply::ok(&json!({ "ok": true }))
}

/// `PUT /v1/(products/:p/)sims/:iccid` with `action` activate, reactivate or deactivate.
pub(super) fn act(call: &mut Call, product: Option<&str>, iccid: &str) -> Answer {
    let product = match product {
        Some(product) => Some(call.on_product(product, Role::Support, Some("sims:update"))?.1),
        None => {
            call.person()?;
            None
        }
    };
    let active = match call.body.filled("action").as_deref() {
        Some("activate" | "reactivate") => true,
        Some("deactivate") => false,
        _ => return Err(Reply::errors("action is invalid")),
    };
    let sim = call.state.sims.get_mut(iccid).filter(|sim| sim.product == product);
    sim.ok_or_else(|| Reply::error(404, "SIM not found"))?.active = active;
    Reply::ok(&json!({ "ok": true }))
}

/// `DELETE /v1/products/:p/sims/:iccid`.
pub(super) fn remove(call: &mut Call, product: &str, iccid: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::Developer, Some("sims:update"))?;
    let sim = call.state.sims.get_mut(iccid).filter(|sim| sim.product == Some(product));
    let sim = sim.ok_or_else(|| Reply::error(404, "SIM not found"))?;
    sim.product = None;
    sim.active = false;
    Reply::empty()
}

/// `HEAD /v1/sims/:iccid`: is there such a SIM?
pub(super) fn exists(call: &mut Call, iccid: &str) -> Answer {
    call.actor()?;
    let status = if call.state.sims.contains_key(iccid) { 204 } else { 404 };
    Ok(Reply {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    })
}

fn status(active: bool) -> &'static str {
    if active { "active" } else { "inactive" }
}
