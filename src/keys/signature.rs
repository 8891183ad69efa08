//! Signatures by the pairs of devices: ECDSA on P-256 as DER, or RSA with PKCS#1 v1.5 padding, both over SHA-256.
//!
//! Both are made without randomness: the same key and message give the same signature.

use p256::ecdsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier};
use rsa::{Pkcs1v15Sign, pkcs8::DecodePublicKey};
use sha2::{Digest, Sha256};

use super::{
    PrivateKey,
    private::Pair,
    spki::{Algorithm, Spki},
};

/// Signs a message.
pub(super) fn sign(key: &PrivateKey, message: &[u8]) -> Vec<u8> {
    let digest = Sha256::digest(message).into();
    match &key.0 {
        Pair::Rsa1024(pair) => pair.sign(&digest),
        Pair::P256(pair) => pair.sign(&digest),
    }
}

/// True if this is the signature of the message by the owner of the key.
pub(super) fn verifies(key: &Spki, message: &[u8], signature: &[u8]) -> bool {
    let digest = Sha256::digest(message);
    match key.algorithm {
        Algorithm::Rsa { .. } => rsa::PublicKey::from_public_key_der(&key.der)
            .is_ok_and(|key| key.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, signature).is_ok()),
        Algorithm::P256 => {
            let key = VerifyingKey::from_public_key_der(&key.der).ok();
            let pair = key.zip(Signature::from_der(signature).ok());
            pair.is_some_and(|(key, signature)| key.verify_prehash(&digest, &signature).is_ok())
        }
    }
}
