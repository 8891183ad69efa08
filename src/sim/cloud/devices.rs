//! One device: its object, updates, ping, and the ways in and out of accounts and products (cloud-api.md 3.5 to 3.8).

use serde_json::{Value, json};

use super::{
    audit::Moved,
    call::{Call, known_spelling, owns},
    products,
    reply::{Answer, Reply},
    setup::Role,
    state::{Actor, Device, Owner},
};
use crate::model::{DeviceId, Wall};

/// `GET /v1/products/:p/devices/:id`, or without a product `GET /v1/devices/:id`.
pub(super) fn get(call: &mut Call, product: Option<&str>, id: &str) -> Answer {
    let (_, id) = find(call, product, id, Role::ViewOnly, "devices:get")?;
    // The fields of product contexts are for the path with a product (cloud-api.md 3.5).
    let object = object(call, id, &call.state.devices[&id], product.is_some());
    Reply::ok(&object)
}

/// `PUT …/devices/:id`: any of the changes of cloud-api.md 3.6, answered with what changed. Nothing is changed if one of
/// them cannot be.
pub(super) fn update(call: &mut Call, product: Option<&str>, id: &str) -> Answer {
    let (_, id) = find(call, product, id, Role::Developer, "devices:update")?;
    if call.body.file().is_some() {
        return Err(Reply::error(400, "this stand-in flashes nothing over the air"));
    }
    let now = call.now;
    let (text, flag) = (|name: &str| call.body.text(name), |name: &str| call.body.flag(name));
    let (name, notes, signal, development) = (text("name"), text("notes"), flag("signal"), flag("development"));
    let forced = flag("firmware_updates_forced");
    let groups = call.body.list("groups");
    let locked = call.body.json("desired_firmware_version").cloned().or_else(|| {
        let text = text("desired_firmware_version")?;
        Some(text.parse::<i64>().map_or(Value::Null, |version| json!(version)))
    });
    let Some(device) = call.state.devices.get_mut(&id) else {
        return Err(Reply::unseen());
    };
    let for_members = development.is_some() || locked.is_some() || forced.is_some() || groups.is_some();
    if for_members && device.product.is_none() {
        return Err(Reply::errors("the device is in no product"));
    }
    if groups.iter().flatten().any(|name| !products::group_name(name)) {
        return Err(Reply::errors(products::GROUP_NAMES));
    }
    if signal == Some(true) && !device.online {
        return Err(Reply::error(408, "timed out"));
    }
    let mut body = json!({ "id": id });
    if let Some(signal) = signal {
        body["connected"] = json!(device.online);
        body["signaling"] = json!(signal);
    }
    if let Some(forced) = forced {
        device.updates_forced = forced;
        body["firmware_updates_forced"] = json!(forced);
    }
    let stamped = name.is_some() || notes.is_some() || development.is_some() || locked.is_some() || groups.is_some();
    if let Some(name) = name {
        body["name"] = json!(name);
        device.name = Some(name);
    }
    if let Some(notes) = notes {
        body["notes"] = json!(notes);
        device.notes = Some(notes);
    }
    if let Some(development) = development {
        device.development = development;
        body["development"] = json!(development);
    }
    if let Some(version) = locked {
        device.desired_firmware = version.as_i64();
        body["desired_firmware_version"] = json!(device.desired_firmware);
    }
    if let Some(groups) = groups {
        // The whole set: what is not named is left.
        device.groups.clone_from(&groups);
        if let Some(product) = device.product.and_then(|id| call.state.products.get_mut(&id)) {
            product.join(&groups);
        }
        body["groups"] = json!(groups);
    }
    if body == json!({ "id": id }) {
        return Err(Reply::errors("nothing to update"));
    }
    if stamped {
        body["updated_at"] = json!(now.to_string());
    }
    Reply::ok(&body)
}

/// `PUT …/devices/:id/ping`.
pub(super) fn ping(call: &mut Call, product: Option<&str>, id: &str) -> Answer {
    let (_, id) = find(call, product, id, Role::Support, "devices:ping")?;
    let device = &call.state.devices[&id];
    // A ping asks the device itself: it is not online if it is gone, noticed or not.
    let online = device.online && device.missed_at.is_none() || call.stale_online;
    Reply::ok(&json!({ "online": online, "ok": true }))
}

/// `POST /v1/devices`: claim, or ask the owner for the device.
pub(super) fn claim(call: &mut Call) -> Answer {
    let actor = call.actor()?;
    let owner = match &actor {
        Actor::User(name) => Owner::User(name.clone()),
        Actor::Customer { email, .. } => Owner::Customer(email.clone()),
        Actor::Client { .. } => return Err(Reply::denied()),
        Actor::ApiUser { .. } => {
            return Err(Reply::oauth(
                "unauthorized",
                "API users are not allowed to call this endpoint",
            ));
        }
    };
    let text = call.field("id").ok_or_else(|| Reply::errors("id is required"))?;
    let transfer = call
        .body
        .flag("request_transfer")
        .or_else(|| call.query.flag("request_transfer"))
        .unwrap_or(false);
    // Deliberately vague: an unknown id looks like an offline device.
    let vague = || Reply::json(404, &json!({}));
    let id = known_spelling(&text).ok_or_else(vague)?;
    let device = call.state.devices.get(&id).ok_or_else(vague)?;
    if let Some(current) = &device.owner {
        if *current != owner {
            if transfer {
                call.moved(id, Moved::TransferRequested);
                let transfer_id = call.random_hex(12);
                return Reply::ok(&json!({ "transfer_id": transfer_id }));
            }
            let text = "That belongs to someone else. To request a transfer add ?request_transfer=true to the URL.";
            return Err(Reply::json(403, &json!({ "ok": false, "errors": [text] })));
        }
    } else {
        match (&actor, device.product) {
            (Actor::Customer { product, .. }, Some(own)) if own != *product => return Err(Reply::denied()),
            // Only a product's device may be claimed while it is offline (cloud-api.md 3.7).
            (_, None) if !device.online => return Err(vague()),
            (Actor::Customer { product, .. }, None) if !call.state.fits(id, *product) => return Err(Reply::denied()),
            _ => {}
        }
    }
    let connected = device.online || call.stale_online;
    let user_id = super::state::hash(owner.name())[..24].to_owned();
    if let Some(device) = call.state.devices.get_mut(&id)
        && device.owner.is_none()
    {
        let name = owner.name().to_owned();
        device.owner = Some(owner);
        // A customer's token joins the device with customer and product (cloud-api.md 1.5).
        if let Actor::Customer { product, .. } = actor {
            device.product = Some(product);
        }
        call.moved(id, Moved::Claimed(name));
    }
    Reply::ok(&json!({ "ok": true, "user_id": user_id, "id": id, "deviceID": id, "claimed": true, "connected": connected }))
}

/// `DELETE /v1/devices/:id`: by its owner.
pub(super) fn unclaim(call: &mut Call, id: &str) -> Answer {
    let actor = call.actor()?;
    let id = known_spelling(id).ok_or_else(Reply::unseen)?;
    let device = call.state.devices.get(&id).ok_or_else(Reply::unseen)?;
    if !owns(&actor, device.owner.as_ref()) {
        return Err(Reply::unseen());
    }
    release(call, id);
    Reply::ok(&json!({ "ok": true }))
}

/// `DELETE /v1/products/:p/devices/:id/owner`: the product lets go of whoever claimed it; works while offline.
pub(super) fn release_owner(call: &mut Call, product: &str, id: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::Developer, Some("devices:release"))?;
    let id = call.device_in(product, id)?;
    release(call, id);
    Reply::ok(&json!({ "ok": true }))
}

/// `DELETE /v1/products/:p/devices/:id`: out of the product, and out of a customer's hands; `deny=true` for one in
/// quarantine.
pub(super) fn remove(call: &mut Call, product: &str, id: &str) -> Answer {
    let (_, product) = call.on_product(product, Role::Developer, Some("devices:remove"))?;
    let id = call.device_in(product, id)?;
    let deny = call.body.flag("deny").or_else(|| call.query.flag("deny")).unwrap_or(false);
    let Some(device) = call.state.devices.get_mut(&id) else {
        return Err(Reply::unseen());
    };
    if device.product.is_none() {
        device.denied = deny;
        if !deny {
            device.quarantine = None;
        }
        return Reply::empty();
    }
    device.product = None;
    device.groups.clear();
    device.development = false;
    if matches!(device.owner, Some(Owner::Customer(_))) {
        release(call, id);
    }
    call.moved(id, Moved::Removed(product));
    Reply::empty()
}

/// Takes a device from its owner; nothing if it has none.
pub(super) fn release(call: &mut Call, id: DeviceId) {
    if let Some(owner) = call.state.devices.get_mut(&id).and_then(|device| device.owner.take()) {
        call.moved(id, Moved::Unclaimed(owner.name().to_owned()));
    }
}

/// Claims a device for a user if nobody owns it.
pub(super) fn claim_free(call: &mut Call, id: DeviceId, name: &str) {
    if let Some(device) = call.state.devices.get_mut(&id)
        && device.owner.is_none()
    {
        device.owner = Some(Owner::User(name.to_owned()));
        call.moved(id, Moved::Claimed(name.to_owned()));
    }
}

/// A device loses what people wrote about it.
pub(super) fn forget(call: &mut Call, id: DeviceId) {
    if let Some(device) = call.state.devices.get_mut(&id) {
        (device.name, device.notes) = (None, None);
        device.groups.clear();
    }
}

/// The device object (cloud-api.md 3.5). There is no key in it and there never will be.
pub(super) fn object(call: &Call, id: DeviceId, device: &Device, in_product: bool) -> Value {
    let at = |wall: Option<Wall>| wall.map(|at| at.to_string());
    let online = device.online || call.stale_online;
    let mut object = json!({
        "id": id,
        "name": device.name,
        "product_id": device.product.unwrap_or(u32::from(device.platform)),
        "platform_id": device.platform,
        "online": online,
        "connected": online,
        "last_heard": at(device.last_heard),
        "last_handshake_at": at(device.last_handshake_at),
        "last_ip_address": "127.0.0.1",
        "cellular": cellular(device.platform),
        "notes": device.notes,
        "functions": null,
        "variables": null,
        "status": "normal",
        "system_firmware_version": device.os_version.map(version_text),
        "device_protection": { "status": if device.protected { "active" } else { "disabled" } },
    });
    for (name, value) in [
        ("serial_number", &device.serial),
        ("iccid", &device.iccid),
        ("last_iccid", &device.iccid),
        ("imei", &device.imei),
    ] {
        if let Some(value) = value {
            object[name] = json!(value);
        }
    }
    if in_product {
        if let Some(owner) = &device.owner {
            object["owner"] = json!(shown(call, owner, device.product));
        }
        if let Some(secret) = &device.mobile_secret {
            object["mobile_secret"] = json!(secret);
        }
        object["firmware_product_id"] = json!(device.firmware_product);
        object["firmware_version"] = json!(device.firmware_version);
        object["desired_firmware_version"] = json!(device.desired_firmware);
        object["targeted_firmware_release_version"] = json!(null);
        object["development"] = json!(device.development);
        object["quarantined"] = json!(device.quarantine.is_some());
        object["denied"] = json!(device.denied);
        object["groups"] = json!(device.groups);
        object["firmware_updates_enabled"] = json!(true);
        object["firmware_updates_forced"] = json!(device.updates_forced);
    }
    object
}

/// What an owner is called: a customer by number only if a mishap wants it (cloud-api.md 8.9 leaves it open).
fn shown<'a>(call: &'a Call, owner: &'a Owner, product: Option<u32>) -> &'a str {
    let customer = match (owner, product) {
        (Owner::Customer(email), Some(product)) if call.by_number => call.state.customer(product, email),
        _ => None,
    };
    customer.map_or_else(|| owner.name(), |customer| &customer.id)
}

/// True for platforms with a modem: their absence is noticed after two keep-alives of 23 minutes, that of others after
/// two of 25 s (cloud-api.md 3.14).
pub(super) fn cellular(platform: u16) -> bool {
    matches!(platform, 10 | 13 | 15 | 23 | 25 | 26 | 28 | 35 | 37)
}

fn version_text(version: u16) -> String {
    format!("{}.{}.{}", version / 1000, version / 100 % 10, version % 100)
}

/// A device by either path.
fn find(call: &Call, product: Option<&str>, id: &str, least: Role, scope: &str) -> Result<(Actor, DeviceId), Reply> {
    match product {
        None => call.device_of(id, least, Some(scope)),
        Some(product) => {
            let (actor, product) = call.on_product(product, least, Some(scope))?;
            Ok((actor, call.device_in(product, id)?))
        }
    }
}
