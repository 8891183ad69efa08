//! `GET /v1/products/:p/devices` and `GET /v1/devices`: filters, order and pages of cloud-api.md 3.4.

use serde_json::{Value, json};

use super::{
    call::{Call, owns},
    devices::object,
    reply::{Answer, Reply},
    setup::Role,
    state::{Device, Owner},
};
use crate::model::DeviceId;

/// The devices of a product. The text filters match partially.
pub(super) fn product(call: &mut Call, product: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::ViewOnly, Some("devices:list"))?;
    let quarantined = call.query.flag("quarantined").unwrap_or(false);
    let groups: Vec<String> = call
        .query
        .filled("groups")
        .map(|text| text.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    let mut found: Vec<(&DeviceId, &Device)> = call
        .state
        .devices
        .iter()
        .filter(|(_, device)| {
            if quarantined {
                device.quarantine == Some(product)
            } else {
                device.product == Some(product)
            }
        })
        .filter(|(id, device)| {
            contains(call, "deviceId", Some(&id.to_string()))
                && contains(call, "deviceName", device.name.as_deref())
                && contains(call, "serialNumber", device.serial.as_deref())
                && (groups.is_empty() || device.groups.iter().any(|group| groups.contains(group)))
        })
        .collect();
    sort(call, &mut found);

    let (page, per_page) = page(call)?;
    let total_pages = found.len().div_ceil(per_page);
    let shown: Vec<_> = found
        .into_iter()
        .skip((page - 1).saturating_mul(per_page))
        .take(per_page)
        .collect();
    let devices: Vec<Value> = shown.iter().map(|(id, device)| object(call, **id, device, true)).collect();
    let owned = |email: &str| {
        shown
            .iter()
            .any(|(_, device)| device.owner == Some(Owner::Customer(email.to_owned())))
    };
    let of_product = call
        .state
        .customers
        .iter()
        .filter(|customer| customer.product == product && owned(&customer.email));
    let customers: Vec<Value> = of_product
        .map(|customer| json!({ "id": customer.id, "username": customer.email }))
        .collect();
    Reply::ok(&json!({ "devices": devices, "customers": customers, "meta": { "total_pages": total_pages } }))
}

/// The devices that this token's account claimed: a bare array, newest handshake first.
pub(super) fn own(call: &mut Call) -> Answer {
    let actor = call.actor()?;
    let mut found: Vec<(&DeviceId, &Device)> = call
        .state
        .devices
        .iter()
        .filter(|(_, device)| owns(&actor, device.owner.as_ref()))
        .collect();
    found.sort_by_key(|(_, device)| std::cmp::Reverse(device.last_handshake_at));
    let devices: Vec<Value> = found
        .into_iter()
        .map(|(id, device)| object(call, *id, device, false))
        .collect();
    Reply::ok(&json!(devices))
}

/// Which page is asked for and how long a page is: the documents say `perPage`, the clients send `per_page`.
pub(super) fn page(call: &Call) -> Result<(usize, usize), Reply> {
    let per_page = call.query.filled("perPage").or_else(|| call.query.filled("per_page"));
    let per_page = number(per_page.as_deref(), "perPage")?.unwrap_or(PER_PAGE);
    let page = number(call.query.filled("page").as_deref(), "page")?.unwrap_or(1);
    Ok((page, per_page))
}

fn contains(call: &Call, filter: &str, value: Option<&str>) -> bool {
    let Some(part) = call.query.filled(filter) else { return true };
    value.is_some_and(|value| value.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
}

fn sort(call: &Call, found: &mut [(&DeviceId, &Device)]) {
    let attribute = call.query.filled("sortAttr");
    match attribute.as_deref() {
        Some("deviceName") => found.sort_by(|a, b| a.1.name.cmp(&b.1.name)),
        Some("deviceId") => found.sort_by_key(|(id, _)| **id),
        Some("firmwareVersion") => found.sort_by_key(|(_, device)| device.firmware_version),
        _ => found.sort_by_key(|(_, device)| device.last_heard),
    }
    // The default is the last connection, newest first.
    let descending = match call.query.filled("sortDir").as_deref() {
        Some("desc") => true,
        Some(_) => false,
        None => attribute.is_none(),
    };
    if descending {
        found.reverse();
    }
}

fn number(text: Option<&str>, name: &str) -> Result<Option<usize>, Reply> {
    let Some(text) = text else { return Ok(None) };
    let number = text.parse().ok().filter(|n| *n > 0);
    number
        .map(Some)
        .ok_or_else(|| Reply::errors(&format!("{name} must be a positive number")))
}

/// Devices on a page if the request does not say (cloud-api.md 3.4).
const PER_PAGE: usize = 25;
