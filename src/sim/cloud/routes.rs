//! Which path leads to which handler. What is not here, this cloud does not have; above all no way to read a key back.

use super::{
    call::Call,
    customers, devices, import, listing, oauth, products, provisioning,
    reply::{Answer, Reply},
    sims, unprotect,
};

/// Handles every request but event streams.
pub(super) fn route(call: &mut Call, path: &[&str]) -> Answer {
    let method = call.request.method.clone();
    match (method.as_str(), path) {
        (_, ["oauth", "token"]) => oauth::token(call),
        ("GET", ["v1", "access_tokens", "current"]) => oauth::current(call),
        ("DELETE", ["v1", "access_tokens"]) => oauth::revoke(call, None),
        ("DELETE", ["v1", "access_tokens", which]) => oauth::revoke(call, Some(which)),
        ("GET", ["v1", "user"]) => oauth::user(call),
        ("GET", ["v1", "user", "products"] | ["v1", "products"]) => products::list(call),
        ("GET", ["v1", "orgs"]) => products::orgs(call),
        ("GET", ["v1", "device-os", "versions"]) => products::os_versions(call),
        ("GET", ["v1", "serial_numbers", serial]) => sims::serial_number(call, serial),
        ("POST", ["v1", "provisioning", id]) => provisioning::upload(call, id),
        (_, ["v1", "devices", rest @ ..]) => device(call, &method, rest),
        ("HEAD", ["v1", "sims", iccid]) => sims::exists(call, iccid),
        ("PUT", ["v1", "sims", iccid]) => sims::act(call, None, iccid),
        (_, ["v1", "products", product, rest @ ..]) => in_product(call, &method, product, rest),
        _ => Err(nothing()),
    }
}

fn device(call: &mut Call, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", []) => listing::own(call),
        ("POST", []) => devices::claim(call),
        ("GET", [id]) => devices::get(call, None, id),
        ("PUT", [id]) => devices::update(call, None, id),
        ("DELETE", [id]) => devices::unclaim(call, id),
        ("PUT", [id, "ping"]) => devices::ping(call, None, id),
        ("PUT", [id, "unprotect"]) => unprotect::unprotect(call, None, id),
        _ => Err(nothing()),
    }
}

fn in_product(call: &mut Call, method: &str, product: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", []) => products::get(call, product),
        ("GET", ["team"]) => products::team(call, product),
        ("POST", ["team"]) => products::join_team(call, product),
        ("DELETE", ["team", name]) => products::leave_team(call, product, name),
        ("GET", ["groups"]) => products::groups(call, product),
        ("POST", ["groups"]) => products::new_group(call, product),
        ("DELETE", ["groups", group]) => products::delete_group(call, product, group),
        ("GET", ["clients"]) => products::clients(call, product),
        ("POST", ["clients"]) => products::new_client(call, product),
        ("DELETE", ["clients", id]) => products::delete_client(call, product, id),
        ("GET", ["devices"]) => listing::product(call, product),
        ("POST", ["devices"]) => import::import(call, product),
        ("GET", ["devices", id]) => devices::get(call, Some(product), id),
        ("PUT", ["devices", id]) => devices::update(call, Some(product), id),
        ("DELETE", ["devices", id]) => devices::remove(call, product, id),
        ("DELETE", ["devices", id, "owner"]) => devices::release_owner(call, product, id),
        ("PUT", ["devices", id, "ping"]) => devices::ping(call, Some(product), id),
        ("PUT", ["devices", id, "unprotect"]) => unprotect::unprotect(call, Some(product), id),
        ("GET", ["customers"]) => customers::list(call, product),
        ("POST", ["customers"]) => customers::create(call, product),
        ("PUT", ["customers", email]) => customers::update(call, product, email),
        ("DELETE", ["customers", email]) => customers::delete(call, product, email),
        ("GET", ["sims"]) => sims::list(call, product),
        ("POST", ["sims"]) => sims::import(call, product),
        ("PUT", ["sims", iccid]) => sims::act(call, Some(product), iccid),
        ("DELETE", ["sims", iccid]) => sims::remove(call, product, iccid),
        _ => Err(nothing()),
    }
}

fn nothing() -> Reply {
    Reply::error(404, "Not Found")
}
