//! `PUT …/devices/:id/unprotect`: the cloud's half of opening a protected device (device-protocol.md 2.9).

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    authority,
    call::{Call, from_base64, to_base64},
    reply::{Answer, Reply},
    setup::Role,
    state::Registered,
};
use crate::model::DeviceId;

/// `action` prepare gives a nonce; confirm checks the device's signature and countersigns.
pub(super) fn unprotect(call: &mut Call, product: Option<&str>, id: &str) -> Answer {
    let id = match product {
        None => call.device_of(id, Role::Developer, None)?.1,
        Some(product) => {
            let (_, product) = call.on_product(product, Role::Developer, None)?;
            call.device_in(product, id)?
        }
    };
    match call.body.filled("action").as_deref() {
        Some("prepare") => {
            let mut nonce = vec![0; 32];
            call.entropy.fill(&mut nonce);
            let body = json!({ "server_nonce": to_base64(&nonce) });
            call.state.unprotect.insert(id, nonce);
            Reply::ok(&body)
        }
        Some("confirm") => confirm(call, id),
        _ => Err(Reply::errors("action must be prepare or confirm")),
    }
}

fn confirm(call: &mut Call, id: DeviceId) -> Answer {
    let bytes = |name: &str| call.body.filled(name).and_then(|text| from_base64(&text));
    let missing = || Reply::errors("server_nonce, device_nonce, device_signature and device_public_key_fingerprint are required");
    let server_nonce = bytes("server_nonce").ok_or_else(missing)?;
    let device_nonce = bytes("device_nonce").ok_or_else(missing)?;
    let signature = bytes("device_signature").ok_or_else(missing)?;
    let fingerprint = bytes("device_public_key_fingerprint").ok_or_else(missing)?;
    if call.state.unprotect.get(&id) != Some(&server_nonce) {
        return Err(Reply::errors("server_nonce was not given out for this device"));
    }
    let key = call.state.devices.get(&id).and_then(|device| device.key.as_ref());
    let known = key.map(Registered::spki);
    let known = known.filter(|spki| Sha256::digest(spki).as_slice() == fingerprint);
    // The words are those that the vendor's tool knows; their status is not documented.
    let registered = known.ok_or_else(|| Reply::error(404, "Device public key was not found"))?;
    let signed = digest("device", id, &[&device_nonce, &server_nonce]);
    if !authority::verifies(&registered, &signed, &signature) {
        return Err(Reply::errors("device_signature is wrong"));
    }
    call.state.unprotect.remove(&id);
    let server = call.state.server.ec(call.entropy);
    let signature = authority::sign(&server, &digest("server", id, &[&server_nonce, &device_nonce, &fingerprint]));
    let own = Sha256::digest(call.state.server.spki(false, call.entropy));
    Reply::ok(&json!({ "server_signature": to_base64(&signature), "server_public_key_fingerprint": to_base64(&own) }))
}

/// SHA-256 over a label, the id's 12 bytes, and each part after its length in four bytes, little endian.
pub(super) fn digest(label: &str, id: DeviceId, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(label);
    hash.update(id.bytes());
    for part in parts {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
