//! The private keys of the cloud itself: those whose public halves devices keep as their server keys.
//!
//! They are made once, when first needed, from the stand-in's entropy, and kept in its state.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use p256::ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner};
use rsa::{
    pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey},
    pkcs8::EncodePublicKey,
};

use super::{spki, state::ServerKeys};
use crate::edge::{Entropy, entropy::EntropyRng};

impl ServerKeys {
    /// The RSA-2048 key of the TCP service. A stored key that cannot be read is replaced by a new one.
    pub(super) fn rsa(&mut self, entropy: &dyn Entropy) -> rsa::PrivateKey {
        let stored = self.rsa.as_ref().and_then(|text| BASE64.decode(text).ok());
        if let Some(key) = stored.and_then(|der| rsa::PrivateKey::from_pkcs1_der(&der).ok()) {
            return key;
        }
        let key = rsa::PrivateKey::new(&mut EntropyRng(entropy), 2048).expect("2048 bits are an allowed size");
        let der = key.to_pkcs1_der().expect("a key that was just made can be written");
        self.rsa = Some(BASE64.encode(der.as_bytes()));
        key
    }

    /// The P-256 key of the UDP service.
    pub(super) fn ec(&mut self, entropy: &dyn Entropy) -> p256::SecretKey {
        let stored = self.ec.as_ref().and_then(|text| BASE64.decode(text).ok());
        if let Some(key) = stored.and_then(|scalar| p256::SecretKey::from_slice(&scalar).ok()) {
            return key;
        }
        loop {
            let mut scalar = [0; 32];
            entropy.fill(&mut scalar);
            // All but one in 2^32 draws are in range.
            if let Ok(key) = p256::SecretKey::from_slice(&scalar) {
                self.ec = Some(BASE64.encode(scalar));
                return key;
            }
        }
    }

    /// The public half that a device's server key must be: 294 bytes for TCP, 91 for UDP.
    pub(super) fn spki(&mut self, tcp: bool, entropy: &dyn Entropy) -> Vec<u8> {
        if tcp {
            let key = self.rsa(entropy).to_public_key();
            key.to_public_key_der().expect("a valid public key can be written").into_vec()
        } else {
            spki::ec_spki(&self.ec(entropy).public_key())
        }
    }
}

/// An ECDSA signature in DER over a SHA-256.
pub(super) fn sign(key: &p256::SecretKey, hash: &[u8]) -> Vec<u8> {
    let signature: Signature = SigningKey::from(key)
        .sign_prehash(hash)
        .expect("a SHA-256 is long enough to sign");
    signature.to_der().as_bytes().to_vec()
}

/// True if this is the DER signature of that hash by the owner of this SubjectPublicKeyInfo.
pub(super) fn verifies(spki: &[u8], hash: &[u8], der: &[u8]) -> bool {
    use p256::ecdsa::{VerifyingKey, signature::hazmat::PrehashVerifier};
    let point = spki.len().checked_sub(65).map(|start| &spki[start..]);
    let key = point.filter(|_| spki::parse_der(spki) == Ok(spki::Algorithm::Ecc));
    let key = key.and_then(|point| VerifyingKey::from_sec1_bytes(point).ok());
    match (key, Signature::from_der(der)) {
        (Some(key), Ok(signature)) => key.verify_prehash(hash, &signature).is_ok(),
        _ => false,
    }
}
