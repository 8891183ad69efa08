//! `POST /v1/products/:p/devices`: devices into a product, with its six lists (cloud-api.md 3.3).

use serde_json::json;

use super::{
    audit::{Import, ImportList},
    call::{Call, owns},
    devices,
    reply::{Answer, Reply},
    setup::Role,
    state::{Actor, Owner},
};
use crate::model::DeviceId;

/// Imports one id, a list of ids, or the file of a multipart body. 200 even if nothing was imported.
pub(super) fn import(call: &mut Call, product: &str) -> Answer {
    let (actor, product) = call.on_product(product, Role::Developer, Some("devices:import"))?;
    let texts = identifiers(call);
    if texts.is_empty() {
        return Err(Reply::errors("id, ids or file is required"));
    }
    if call.state.import_limit.is_some_and(|limit| texts.len() > limit) {
        return Err(Reply::errors("too many devices in one request"));
    }
    let claim_user = call.field("claim_user");
    if claim_user
        .as_ref()
        .is_some_and(|name| call.state.role(name, product).is_none())
    {
        return Err(Reply::errors("claim_user is not a member of the team"));
    }
    let import_sims = call.body.flag("import_sims").unwrap_or(false);

    call.state.audit.import_requests += 1;
    let request = call.state.audit.import_requests;
    let mut lists: [Vec<String>; 5] = Default::default();
    for text in texts {
        let device = resolve(call, &text);
        let list = match device {
            Some(id) => place(call, &actor, product, id, import_sims),
            None => ImportList::Invalid,
        };
        if let (Some(id), Some(name), ImportList::Updated | ImportList::Existing) = (device, &claim_user, list) {
            devices::claim_free(call, id, name);
        }
        let at = call.now;
        call.state.audit.imports.push(Import {
            text: text.clone(),
            device,
            product,
            at,
            list,
            request,
        });
        lists[list as usize].push(text);
    }
    let [updated, existing, nonmember, invalid, protected] = lists;
    Reply::ok(&json!({
        "updated": updated.len(),
        "updatedDeviceIds": updated,
        "existingDeviceIds": existing,
        "nonmemberDeviceIds": nonmember,
        "invalidDeviceIds": invalid,
        "protectedDeviceIds": protected,
    }))
}

/// The identifiers as they were sent, trimmed, each once.
fn identifiers(call: &Call) -> Vec<String> {
    let file = call
        .body
        .file()
        .map(|file| String::from_utf8_lossy(file).lines().map(str::to_owned).collect());
    let all: Vec<String> = file
        .or_else(|| call.body.list("ids"))
        .or_else(|| call.body.filled("id").map(|id| vec![id]))
        .unwrap_or_default();
    let mut texts: Vec<String> = Vec::new();
    for text in all {
        let text = text.trim();
        if !text.is_empty() && !texts.iter().any(|known| known.eq_ignore_ascii_case(text)) {
            texts.push(text.to_owned());
        }
    }
    texts
}

/// The device that a device id, serial number, SIM number or modem number means.
fn resolve(call: &Call, text: &str) -> Option<DeviceId> {
    let is = |field: &Option<String>| field.as_ref().is_some_and(|value| value.eq_ignore_ascii_case(text));
    let by_id = text.parse().ok().filter(|id| call.state.devices.contains_key(id));
    by_id.or_else(|| {
        call.state
            .devices
            .iter()
            .find(|(_, d)| is(&d.serial) || is(&d.iccid) || is(&d.imei))
            .map(|(id, _)| *id)
    })
}

/// Puts one device into the product, or says why not.
fn place(call: &mut Call, actor: &Actor, product: u32, id: DeviceId, import_sims: bool) -> ImportList {
    let (platform, protection) = match call.state.products.get(&product) {
        Some(product) => (product.platform, product.device_protection),
        None => return ImportList::Invalid,
    };
    let stranger = match call.state.devices.get(&id).and_then(|device| device.owner.as_ref()) {
        None => false,
        owner if owns(actor, owner) => false,
        Some(Owner::User(name)) => call.state.role(name, product).is_none(),
        Some(Owner::Customer(email)) => call.state.customer(product, email).is_none(),
    };
    let Some(device) = call.state.devices.get_mut(&id) else {
        return ImportList::Invalid;
    };
    match device.product {
        Some(own) if own == product => return ImportList::Existing,
        Some(_) => return ImportList::Invalid,
        None if device.platform != platform => return ImportList::Invalid,
        None if stranger => return ImportList::Nonmember,
        None if device.protected && !protection => return ImportList::Protected,
        None => {}
    }
    device.product = Some(product);
    // Importing is also how a person approves a device in quarantine.
    device.quarantine = None;
    device.denied = false;
    if let Some(sim) = device.iccid.as_ref().and_then(|iccid| call.state.sims.get_mut(iccid)) {
        // The Electron's SIM is a card of its own and comes along only when asked for.
        if device.platform != ELECTRON || import_sims {
            sim.product = Some(product);
            sim.active = true;
        }
    }
    ImportList::Updated
}

/// Platform number of the Electron.
const ELECTRON: u16 = 10;
