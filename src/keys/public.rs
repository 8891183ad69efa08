//! Public keys as files and as the text that the cloud gets.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Flaw,
    der::{INTEGER, Reader},
    spki::{Algorithm, Spki},
};
use crate::model::PublicKey;

/// Why bytes are not the public key of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// They are, or contain, a private key. Nothing of it was kept.
    #[error("this is a PRIVATE key; keyrack takes public keys only, and nothing of it was kept or sent")]
    Private,
    /// A PEM text without a whole public key in it.
    #[error("this is not the PEM text of a public key")]
    Pem,
    /// A PEM text with more than one key in it.
    #[error("this PEM text has more than one key in it")]
    MoreThanOne,
    /// The key inside cannot be read.
    #[error("cannot read the public key")]
    Flawed(#[source] Flaw),
    /// A key that no device has.
    #[error("this is an RSA key of {bits} bits; devices have RSA-1024 or P-256")]
    NotOfDevice {
        /// Its size.
        bits: u32,
    },
}

/// The PEM text of a public key as the cloud wants it: SubjectPublicKeyInfo, lines of 64 characters that end with LF,
/// the last one too (cloud-api.md 2.1).
pub fn public_pem(key: &PublicKey) -> String {
    let body = STANDARD.encode(&key.spki);
    let mut pem = String::with_capacity(body.len() + 64);
    pem.push_str(BEGIN);
    for line in body.as_bytes().chunks(64) {
        pem.push('\n');
        pem.extend(line.iter().map(|b| char::from(*b)));
    }
    pem.push('\n');
    pem.push_str(END);
    pem.push('\n');
    pem
}

/// Reads the public key of a device from PEM or DER, SubjectPublicKeyInfo or PKCS#1, and normalises it.
///
/// # Errors
/// [`PublicKeyError::Private`] for anything that has a private key in it, before anything else is looked at.
pub fn parse_public(bytes: &[u8]) -> Result<PublicKey, PublicKeyError> {
    let spki = parse_any(bytes)?;
    match spki.algorithm {
        Algorithm::Rsa { bits } => spki.public_key().ok_or(PublicKeyError::NotOfDevice { bits }),
        Algorithm::P256 => Ok(spki.public_key().expect("P-256 keys are keys of devices")),
    }
}

/// Reads a public key of any size: of a device, or of a server.
pub(super) fn parse_any(bytes: &[u8]) -> Result<Spki, PublicKeyError> {
    if contains(&bytes.to_ascii_uppercase(), b"PRIVATE KEY") {
        return Err(PublicKeyError::Private);
    }
    let decoded;
    let der = if contains(bytes, b"-----BEGIN ") {
        decoded = pem_body(bytes)?;
        &decoded
    } else {
        bytes
    };
    if is_private(der) {
        return Err(PublicKeyError::Private);
    }
    Spki::read(der).map_err(PublicKeyError::Flawed)
}

/// All encodings of private keys, and none of public keys, start with a version: a number of one byte.
fn is_private(der: &[u8]) -> bool {
    Reader::sequence(der)
        .is_ok_and(|mut inside| inside.peek() == Some(INTEGER) && inside.take(INTEGER, "").is_ok_and(|v| v.len() == 1))
}

fn pem_body(bytes: &[u8]) -> Result<Vec<u8>, PublicKeyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PublicKeyError::Pem)?;
    let mut keys = text.split("-----BEGIN ").skip(1);
    let (Some(key), more) = (keys.next(), keys.next()) else {
        return Err(PublicKeyError::Pem);
    };
    if more.is_some() {
        return Err(PublicKeyError::MoreThanOne);
    }
    let (label, rest) = key.split_once("-----").ok_or(PublicKeyError::Pem)?;
    if !matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY") {
        return Err(PublicKeyError::Pem);
    }
    let (body, _) = rest
        .split_once(&format!("-----END {label}-----"))
        .ok_or(PublicKeyError::Pem)?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).map_err(|_| PublicKeyError::Pem)
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{edge::entropy::SystemEntropy, keys::PrivateKey, model::KeyKind};

    #[test]
    fn pem_and_der_of_both_kinds_come_back_equal() {
        for kind in [KeyKind::Rsa1024, KeyKind::P256] {
            let key = PrivateKey::generate(kind, &SystemEntropy).public();
            assert_eq!(key.spki.len(), kind.spki_len());
            let pem = public_pem(&key);
            assert!(pem.ends_with("-----END PUBLIC KEY-----\n") && !pem.contains('\r'));
            assert!(pem.lines().all(|line| line.len() <= 64));
            assert_eq!(parse_public(pem.as_bytes()), Ok(key.clone()));
            assert_eq!(parse_public(pem.replace('\n', "\r\n").as_bytes()), Ok(key.clone()));
            assert_eq!(parse_public(&key.spki), Ok(key.clone()));
            assert_eq!(
                parse_public(format!("{pem}{pem}").as_bytes()),
                Err(PublicKeyError::MoreThanOne)
            );
            assert_eq!(parse_public(pem.replace("-----END", "").as_bytes()), Err(PublicKeyError::Pem));
        }
    }

    #[test]
    fn private_keys_are_refused_in_every_form() {
        for kind in [KeyKind::Rsa1024, KeyKind::P256] {
            let slot = crate::keys::encode(&PrivateKey::generate(kind, &SystemEntropy), 700);
            assert_eq!(parse_public(slot.expose()), Err(PublicKeyError::Private), "{kind} as DER");
            let disguised = format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                STANDARD.encode(slot.expose())
            );
            assert_eq!(
                parse_public(disguised.as_bytes()),
                Err(PublicKeyError::Private),
                "{kind} under a false label"
            );
        }
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "private key",
        ] {
            let text = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
            assert_eq!(parse_public(text.as_bytes()), Err(PublicKeyError::Private), "{label}");
        }
    }

    #[test]
    fn keys_that_no_device_has_are_refused_by_name() {
        let other = |bits: usize| Spki::rsa(&vec![0xff; bits / 8]).der;
        for bits in [512, 2048, 4096] {
            assert_eq!(
                parse_public(&other(bits)),
                Err(PublicKeyError::NotOfDevice {
                    bits: u32::try_from(bits).unwrap()
                })
            );
        }
        let mut p256 = PrivateKey::generate(KeyKind::P256, &SystemEntropy).public().spki;
        let off_curve = |mut spki: Vec<u8>| {
            spki[90] ^= 1;
            spki
        };
        assert!(matches!(
            parse_public(&off_curve(p256.clone())),
            Err(PublicKeyError::Flawed(Flaw::Arithmetic { .. }))
        ));
        p256[22] ^= 1; // another curve
        assert_eq!(parse_public(&p256), Err(PublicKeyError::Flawed(Flaw::Curve)));
        let mut e3 = other(1024);
        *e3.last_mut().unwrap() = 3;
        assert_eq!(parse_public(&e3), Err(PublicKeyError::Flawed(Flaw::Exponent)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_public(&bytes);
        }

        #[test]
        fn no_damage_makes_it_panic_or_gives_the_same_key(at in 0usize..91, xor in 1u8..) {
            // The base point of the curve: any key will do.
            let good = Spki::p256(&point()).der;
            let mut bad = good.clone();
            bad[at] ^= xor;
            if let Ok(key) = parse_public(&bad) { prop_assert_ne!(key.spki, good); }
        }
    }

    fn point() -> [u8; 65] {
        let mut one = [0; 32];
        one[31] = 1;
        crate::keys::ec_pair::EcPair::prove(one).unwrap().point
    }
}
