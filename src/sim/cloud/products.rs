//! Products, teams, OAuth clients and the versions of Device OS: cloud-api.md 1.5, 1.6 and 3.1.

use serde_json::{Value, json};

use super::{
    call::Call,
    reply::{Answer, Reply},
    setup::Role,
    state::{Actor, ApiUser, Client, Token, hash},
};

/// `GET /v1/user/products` and its alias `GET /v1/products`.
pub(super) fn list(call: &mut Call) -> Answer {
    let actor = call.actor()?;
    let seen = |id: &&u32| call.check(&actor, **id, Role::ViewOnly, Some("products:list")).is_ok();
    let products: Vec<Value> = call.state.products.keys().filter(seen).map(|id| object(call, *id)).collect();
    Reply::ok(&json!({ "products": products }))
}

/// `GET /v1/products/:p`.
pub(super) fn get(call: &mut Call, name: &str) -> Answer {
    let (_, product) = call.on_product(name, Role::ViewOnly, Some("products:get"))?;
    let mut object = object(call, product);
    let protection = call
        .state
        .products
        .get(&product)
        .is_some_and(|product| product.device_protection);
    object["device_protection"] = json!(if protection { "active" } else { "disabled" });
    Reply::ok(&json!({ "product": object }))
}

/// `GET /v1/products/:p/team`.
pub(super) fn team(call: &mut Call, name: &str) -> Answer {
    let (_, id) = call.on_product(name, Role::ViewOnly, Some("teams.users:list"))?;
    let product = &call.state.products[&id];
    let people = product
        .team
        .iter()
        .map(|(name, role)| json!({ "_id": &hash(name)[..24], "username": name, "role": role }));
    let machines = product.api_users.iter().map(|(name, user)| {
        json!({ "username": name, "friendly_name": user.friendly_name, "scopes": user.scopes, "is_programmatic": true, "product_id": id })
    });
    let team: Vec<Value> = people.chain(machines).collect();
    Reply::ok(&json!({ "ok": true, "team": team }))
}

/// `POST /v1/products/:p/team`: an API user, or a person invited.
pub(super) fn join_team(call: &mut Call, name: &str) -> Answer {
    let (_, id) = call.on_product(name, Role::Administrator, Some("teams.users:invite"))?;
    if let Some(friendly_name) = call.body.filled("friendly_name") {
        let scopes = call.body.list("scopes").unwrap_or_default();
        let username = format!(
            "{}-{}@api.particle.io",
            friendly_name.to_ascii_lowercase().replace(' ', "-"),
            call.random_hex(4)
        );
        let token = call.random_hex(20);
        let actor = Actor::ApiUser {
            name: username.clone(),
            product: id,
        };
        call.state.tokens.insert(
            hash(&token),
            Token {
                actor,
                client: "api-user".to_owned(),
                expires: None,
            },
        );
        if let Some(product) = call.state.products.get_mut(&id) {
            product.api_users.insert(username.clone(), ApiUser { friendly_name, scopes });
        }
        let created = json!({ "username": username, "is_programmatic": true, "tokens": [{ "token": token }] });
        return Reply::ok(&json!({ "ok": true, "created": created }));
    }
    let username = call
        .body
        .filled("username")
        .ok_or_else(|| Reply::errors("username is required"))?;
    let role = call.body.filled("role").unwrap_or_else(|| "Developer".to_owned());
    let role: Role = serde_json::from_value(json!(role)).map_err(|_| Reply::errors("role is invalid"))?;
    if let Some(product) = call.state.products.get_mut(&id) {
        product.team.insert(username.clone(), role);
    }
    Reply::ok(&json!({ "ok": true, "invited": { "username": username } }))
}

/// `DELETE /v1/products/:p/team/:username`.
pub(super) fn leave_team(call: &mut Call, name: &str, username: &str) -> Answer {
    let (_, id) = call.on_product(name, Role::Administrator, Some("teams.users:remove"))?;
    let Some(product) = call.state.products.get_mut(&id) else {
        return Err(Reply::denied());
    };
    let machine = product.api_users.remove(username).is_some();
    if !machine && product.team.remove(username).is_none() {
        return Err(Reply::error(404, "User not found"));
    }
    if machine {
        call.state
            .tokens
            .retain(|_, token| !matches!(&token.actor, Actor::ApiUser { name, .. } if name == username));
    }
    Reply::ok(&json!({ "ok": true }))
}

/// `GET /v1/products/:p/clients`: without their secrets.
pub(super) fn clients(call: &mut Call, name: &str) -> Answer {
    let (_, id) = call.on_product(name, Role::Developer, Some("clients:list"))?;
    let own = call.state.clients.iter().filter(|(_, client)| client.product == id);
    let clients: Vec<Value> = own
        .map(|(id, client)| json!({ "name": client.name, "type": client.kind, "id": id }))
        .collect();
    Reply::ok(&json!({ "ok": true, "clients": clients }))
}

/// `POST /v1/products/:p/clients`: the secret is shown this once.
pub(super) fn new_client(call: &mut Call, name: &str) -> Answer {
    let (_, product) = call.on_product(name, Role::Developer, Some("clients:create"))?;
    let name = call.body.filled("name").ok_or_else(|| Reply::errors("name is required"))?;
    let kind = call.body.filled("type").unwrap_or_default();
    if kind != "installed" && kind != "web" {
        return Err(Reply::errors("type must be installed or web"));
    }
    let id = format!(
        "{}-{}",
        name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
        call.random_hex(2)
    );
    let secret = call.random_hex(20);
    // A server's client is an installed one that is not limited to creating customers (inference).
    let two_legged = kind == "installed" && call.body.filled("scope").is_none();
    let client = Client {
        secret: hash(&secret),
        product,
        name: name.clone(),
        kind: kind.clone(),
        two_legged,
    };
    call.state.clients.insert(id.clone(), client);
    Reply::ok(&json!({ "ok": true, "client": { "name": name, "type": kind, "id": id, "secret": secret } }))
}

/// `DELETE /v1/products/:p/clients/:id`.
pub(super) fn delete_client(call: &mut Call, name: &str, id: &str) -> Answer {
    let (_, product) = call.on_product(name, Role::Developer, Some("clients:remove"))?;
    match call.state.clients.get(id) {
        Some(client) if client.product == product => call.state.clients.remove(id),
        _ => return Err(Reply::error(404, "Client not found")),
    };
    call.state.tokens.retain(|_, token| token.client != id);
    Reply::empty()
}

/// `GET /v1/orgs`: this cloud has no organisations.
pub(super) fn orgs(call: &mut Call) -> Answer {
    call.actor()?;
    Reply::ok(&json!({ "organizations": [] }))
}

/// `GET /v1/products/:p/groups`.
pub(super) fn groups(call: &mut Call, name: &str) -> Answer {
    let (_, id) = call.on_product(name, Role::ViewOnly, Some("groups:list"))?;
    let members = |group: &String| {
        call.state
            .devices
            .values()
            .filter(|d| d.product == Some(id) && d.groups.contains(group))
            .count()
    };
    let groups = call.state.products[&id].groups.iter();
    let groups: Vec<Value> = groups
        .map(|group| json!({ "name": group, "device_count": members(group) }))
        .collect();
    Reply::ok(&json!({ "groups": groups }))
}

/// `POST /v1/products/:p/groups`.
pub(super) fn new_group(call: &mut Call, name: &str) -> Answer {
    let (_, id) = call.on_product(name, Role::Developer, Some("groups:create"))?;
    let group = call
        .body
        .filled("name")
        .filter(|name| group_name(name))
        .ok_or_else(|| Reply::errors(GROUP_NAMES))?;
    if let Some(product) = call.state.products.get_mut(&id)
        && !product.groups.contains(&group)
    {
        product.groups.push(group.clone());
    }
    Ok(Reply::json(201, &json!({ "name": group, "device_count": 0 })))
}

/// `DELETE /v1/products/:p/groups/:name`: its devices leave it.
pub(super) fn delete_group(call: &mut Call, name: &str, group: &str) -> Answer {
    let (_, id) = call.on_product(name, Role::Developer, Some("groups:remove"))?;
    let Some(product) = call.state.products.get_mut(&id) else {
        return Err(Reply::denied());
    };
    let Some(place) = product.groups.iter().position(|known| known == group) else {
        return Err(Reply::error(404, "Group not found"));
    };
    product.groups.remove(place);
    for device in call.state.devices.values_mut().filter(|device| device.product == Some(id)) {
        device.groups.retain(|name| name != group);
    }
    Reply::empty()
}

/// True if a group may have this name.
pub(super) fn group_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

/// What a group may be called (cloud-api.md 3.6).
pub(super) const GROUP_NAMES: &str = "group names have lower-case letters, digits, - and _";

/// `GET /v1/device-os/versions`: the versions that the reference files of the simulator know.
pub(super) fn os_versions(call: &mut Call) -> Answer {
    call.actor()?;
    let versions: Vec<Value> = ["6.2.0", "4.2.0", "3.3.1", "2.3.1"]
        .iter()
        .map(|version| json!({ "version": version }))
        .collect();
    Reply::ok(&json!(versions))
}

fn object(call: &Call, id: u32) -> Value {
    let product = &call.state.products[&id];
    let owner = product
        .team
        .iter()
        .find(|(_, role)| **role == Role::Administrator)
        .map(|(name, _)| name);
    json!({
        "id": id,
        "platform_id": product.platform,
        "name": product.slug,
        "slug": product.slug,
        "description": "",
        "subscription_id": 1,
        "user": owner,
        "groups": product.groups,
        "settings": { "location": {}, "known_application": { "opt_in": false }, "quarantine": true },
    })
}
