//! Public keys as files and as the text that the cloud gets.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Flaw,
    pem::{self, Text},
    private_form::PrivateForm,
    spki::{Algorithm, Spki},
};
use crate::model::{KeyKind, PublicKey};

/// Why bytes are not the public key of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// They are, or contain, a private key. Nothing of it was kept.
    #[error("this is a PRIVATE key: {form}; keyrack takes public keys only, and nothing of it was kept or sent")]
    Private {
        /// In which form.
        form: PrivateForm,
    },
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
    /// A key of the kind that other devices have.
    #[error("the key is {found}, and the device needs {wanted}")]
    OtherKind {
        /// Its kind.
        found: KeyKind,
        /// The kind of the device's transport.
        wanted: KeyKind,
    },
}

impl PublicKeyError {
    /// The one next action.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::Private { .. } => {
                "have every copy of this file destroyed and ask for the public half, ID.pub.pem: whoever has the private one can be the device"
            }
            Self::Pem | Self::Flawed(_) => "ask for the file again: ID.pub.pem, as an attachment and unchanged",
            Self::MoreThanOne => "ask for one file for each device",
            Self::NotOfDevice { .. } => "ask for the device's key; this one belongs to something else",
            Self::OtherKind { .. } => "look whether file and device id belong together",
        }
    }
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
/// PEM may come in UTF-16, with a byte order mark, CRLF, blanks, and text around the block.
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

/// Reads the public key of a device whose transport needs this kind.
pub fn parse_public_of(bytes: &[u8], kind: KeyKind) -> Result<PublicKey, PublicKeyError> {
    let key = parse_public(bytes)?;
    if key.kind == kind {
        Ok(key)
    } else {
        Err(PublicKeyError::OtherKind {
            found: key.kind,
            wanted: kind,
        })
    }
}

/// Reads a public key of any size: of a device, or of a server.
pub(super) fn parse_any(bytes: &[u8]) -> Result<Spki, PublicKeyError> {
    if let Some(form) = PrivateForm::of(bytes) {
        return Err(PublicKeyError::Private { form });
    }
    let text = Text::of(bytes);
    let mut blocks = pem::blocks(&text).peekable();
    if blocks.peek().is_none() && pem::find(&text, b"-----").is_none() {
        return Spki::read(bytes).map_err(PublicKeyError::Flawed);
    }
    let mut keys = blocks.filter(|block| matches!(block.label, b"PUBLIC KEY" | b"RSA PUBLIC KEY"));
    let (Some(key), more) = (keys.next(), keys.next()) else {
        return Err(PublicKeyError::Pem);
    };
    if more.is_some() {
        return Err(PublicKeyError::MoreThanOne);
    }
    let der = key.decode().filter(|_| key.whole).ok_or(PublicKeyError::Pem)?;
    Spki::read(der.expose()).map_err(PublicKeyError::Flawed)
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
    fn a_key_is_found_however_it_was_sent() {
        for kind in [KeyKind::Rsa1024, KeyKind::P256] {
            let key = PrivateKey::generate(kind, &SystemEntropy).public();
            let pem = public_pem(&key);
            let utf16: Vec<u8> = format!("\u{feff}{pem}").encode_utf16().flat_map(u16::to_le_bytes).collect();
            for (text, how) in [
                (format!("\u{feff}{pem}").replace('\n', "\r\n").into_bytes(), "BOM and CRLF"),
                (pem.replace('\n', " \t\n").into_bytes(), "trailing blanks"),
                (
                    format!("Here it is, René. The private key stays here.\n\n{pem}\n-- \nBench 3\n").into_bytes(),
                    "a letter around it",
                ),
                (utf16, "UTF-16"),
                (pem.trim_end().as_bytes().to_vec(), "no line end"),
                ([&key.spki[..], b"\r\n"].concat(), "DER with a line end"),
            ] {
                assert_eq!(parse_public(&text), Ok(key.clone()), "{kind}, {how}");
            }
        }
    }

    #[test]
    fn a_key_of_the_other_kind_is_refused() {
        let key = PrivateKey::generate(KeyKind::P256, &SystemEntropy).public();
        assert_eq!(parse_public_of(&key.spki, KeyKind::P256), Ok(key.clone()));
        assert_eq!(
            parse_public_of(public_pem(&key).as_bytes(), KeyKind::Rsa1024),
            Err(PublicKeyError::OtherKind {
                found: KeyKind::P256,
                wanted: KeyKind::Rsa1024
            })
        );
    }

    #[test]
    fn what_holds_no_whole_key_is_refused_as_pem() {
        let pem = public_pem(&PrivateKey::generate(KeyKind::P256, &SystemEntropy).public());
        for text in [
            pem.lines().next().unwrap().to_owned(),
            pem.replace("BEGIN PUBLIC", "BEGIN PUBIC"),
            pem.replace("PUBLIC KEY", "CERTIFICATE"),
            pem.replace("-----END PUBLIC KEY-----\n", ""),
            pem.replace('M', "*"),
        ] {
            assert_eq!(parse_public(text.as_bytes()), Err(PublicKeyError::Pem), "{text}");
        }
    }

    #[test]
    fn a_private_key_is_refused_by_name_and_without_a_byte_of_it() {
        let pair = PrivateKey::generate(KeyKind::P256, &SystemEntropy);
        let slot = crate::keys::encode(&pair, 192);
        let body = STANDARD.encode(slot.expose());
        for text in [
            slot.expose().clone(),
            format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into_bytes(),
            format!("{}{body}", public_pem(&pair.public())).into_bytes(),
        ] {
            let error = parse_public(&text).unwrap_err();
            assert!(matches!(error, PublicKeyError::Private { .. }), "{error:?}");
            let words = format!("{error} {error:?} {}", error.next());
            assert!(words.contains("PRIVATE") && words.contains("destroyed"));
            assert!(!words.contains(&body[8..16]));
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
