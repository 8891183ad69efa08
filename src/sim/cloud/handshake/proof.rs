//! **Not the vendor's protocol.** Proof of possession for P-256 devices in place of DTLS (cloud-api.md 7.3).
//!
//! The cloud sends a challenge of 32 bytes and signs it together with the device's own nonce; the device checks that
//! with the server key in its key store and signs SHA-256(challenge ‖ id) with its private key; the cloud checks that with
//! the registered key. It catches every mistake of registration, none of the wire.

use sha2::{Digest, Sha256};

use super::{
    super::{authority, spki},
    slot,
};
use crate::{edge::Entropy, model::DeviceId};

/// Why a proof ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The private key slot holds nothing that the device can use.
    #[error("the device has no key to connect with")]
    NoKey,
    /// The challenge was not signed by the owner of the server key in the device.
    #[error("the cloud's signature is not by the owner of the device's server key")]
    Imposter,
    /// The device is not known or has no key registered.
    #[error("the cloud has no key registered for this device")]
    Unknown,
    /// The response was not signed with the private half of the registered key.
    #[error("the device's key is not the one registered for it")]
    OtherKey,
}

/// The cloud's challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// 32 random bytes.
    pub bytes: [u8; 32],
    /// ECDSA in DER over them and the device's nonce.
    pub signature: Vec<u8>,
}

/// The cloud challenges a device that sent this nonce.
pub fn challenge(server: &p256::SecretKey, nonce: &[u8; 32], entropy: &dyn Entropy) -> Challenge {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    Challenge {
        bytes,
        signature: authority::sign(server, &server_hash(nonce, &bytes)),
    }
}

/// The device checks the challenge and answers it.
///
/// # Errors
/// If it has no key, or the challenge is not by the cloud that it knows.
pub fn respond(
    id: DeviceId,
    private_slot: &[u8],
    server_slot: &[u8],
    nonce: &[u8; 32],
    challenge: &Challenge,
) -> Result<Vec<u8>, Unproved> {
    let key = slot::ec_key(private_slot).ok_or(Unproved::NoKey)?;
    let pinned = server_slot.get(..SPKI).unwrap_or_default();
    if !authority::verifies(pinned, &server_hash(nonce, &challenge.bytes), &challenge.signature) {
        return Err(Unproved::Imposter);
    }
    Ok(authority::sign(&key, &device_hash(&challenge.bytes, id)))
}

/// The cloud checks the response.
///
/// # Errors
/// If there is no registered key, or the response was made with another.
pub fn check(id: DeviceId, registered: Option<&[u8]>, challenge: &Challenge, response: &[u8]) -> Result<(), Unproved> {
    let registered = registered.ok_or(Unproved::Unknown)?;
    if authority::verifies(registered, &device_hash(&challenge.bytes, id), response) {
        Ok(())
    } else {
        Err(Unproved::OtherKey)
    }
}

/// The public key that a device's slot makes, SubjectPublicKeyInfo.
pub fn public_half(private_slot: &[u8]) -> Option<Vec<u8>> {
    slot::ec_key(private_slot).map(|key| spki::ec_spki(&key.public_key()))
}

fn server_hash(nonce: &[u8; 32], challenge: &[u8; 32]) -> [u8; 32] {
    Sha256::new_with_prefix(b"keyrack stand-in server proof")
        .chain_update(nonce)
        .chain_update(challenge)
        .finalize()
        .into()
}

fn device_hash(challenge: &[u8; 32], id: DeviceId) -> [u8; 32] {
    Sha256::new_with_prefix(challenge)
        .chain_update(id.to_string())
        .finalize()
        .into()
}

/// Length of a P-256 SubjectPublicKeyInfo.
const SPKI: usize = 91;
