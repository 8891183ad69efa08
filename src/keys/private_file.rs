//! Private keys that come as files: what the vendor's CLI saves from a device, and what openssl writes.
//!
//! `particle keys save X.der` and the copies `backup_<alg>_<file>.der` hold a slot as it was read: DER, and behind it
//! 0xFF or whatever was left there. A key that is read here is written to a device in the device's own layout only, by
//! [`encode`](super::encode), whatever layout the file has. Removing the file is up to the caller.

use super::{
    Flaw, PrivateForm, PrivateKey,
    der::{BIT_STRING, Reader, SEQUENCE},
    pem::{self, Text},
    slot,
};
use crate::model::KeyKind;

/// Why a file gives no private key for a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateFileError {
    /// A copy of a slot without a key.
    #[error("this file holds no key: it is a copy of a blank slot")]
    Blank,
    /// Zeros only: a failed read, saved as if it were a key.
    #[error("this file holds no key: every byte is zero")]
    Zeros,
    /// A public key.
    #[error("this is a public key")]
    Public,
    /// A private key in a form that is not read here.
    #[error("this is {form}, which keyrack does not read")]
    Form {
        /// The form.
        form: PrivateForm,
    },
    /// A PEM text with more than one private key in it.
    #[error("this PEM text has more than one private key in it")]
    MoreThanOne,
    /// A key of the kind that other devices have.
    #[error("the key is {found}, and the device needs {wanted}")]
    OtherKind {
        /// Its kind.
        found: KeyKind,
        /// The kind of the device's transport.
        wanted: KeyKind,
    },
    /// Nothing that looks like a key.
    #[error("this is not a private key")]
    NotKey,
    /// A key that cannot be used.
    #[error("cannot read the private key")]
    Flawed(#[source] Flaw),
}

impl PrivateFileError {
    /// The one next action.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::Blank | Self::Zeros => "look for an older copy; if there is none, the device needs a new pair",
            Self::Public => "give the file without .pub in its name: the one that `keys save` wrote from the device",
            Self::Form { .. } => "turn it into PKCS#8 or traditional PEM without a password, on a disk that forgets",
            Self::MoreThanOne => "give one file for each device",
            Self::OtherKind { .. } => "look whether file and device id belong together",
            Self::NotKey => "give the .der file that `keys save` wrote, or a PEM file",
            Self::Flawed(_) => "look for another copy; if there is none, the device needs a new pair",
        }
    }
}

/// Reads the private key for a device whose transport needs this kind: a raw slot, DER or PEM, PKCS#1, SEC1 or PKCS#8.
pub fn read_private(file: &[u8], kind: KeyKind) -> Result<PrivateKey, PrivateFileError> {
    let text = Text::of(file);
    if pem::blocks(&text).next().is_none() {
        return read_der(file, kind);
    }
    if let Some(form) = PrivateForm::of(file).filter(|form| !is_read_here(*form)) {
        return Err(PrivateFileError::Form { form });
    }
    let mut keys = pem::blocks(&text).filter(|block| LABELS.contains(&block.label));
    let (Some(key), more) = (keys.next(), keys.next()) else {
        let public = pem::blocks(&text).any(|block| block.label.ends_with(b"PUBLIC KEY"));
        return Err(if public {
            PrivateFileError::Public
        } else {
            PrivateFileError::NotKey
        });
    };
    if more.is_some() {
        return Err(PrivateFileError::MoreThanOne);
    }
    let cut_off = PrivateFileError::Flawed(Flaw::CutOff { field: "the key" });
    let der = key.decode().filter(|_| key.whole).ok_or(cut_off)?;
    read_der(der.expose(), kind)
}

fn read_der(der: &[u8], kind: KeyKind) -> Result<PrivateKey, PrivateFileError> {
    match der.first() {
        None => return Err(PrivateFileError::NotKey),
        Some(0xff) => return Err(PrivateFileError::Blank),
        Some(0) if der.iter().all(|b| *b == 0) => return Err(PrivateFileError::Zeros),
        Some(_) => {}
    }
    match slot::shape(der) {
        Some(found) if found == kind => match slot::read(der, kind) {
            Ok((key, _)) => Ok(key),
            Err(flaw) => Err(PrivateFileError::Flawed(flaw)),
        },
        Some(found) => Err(PrivateFileError::OtherKind { found, wanted: kind }),
        None if is_public(der) => Err(PrivateFileError::Public),
        None => Err(PrivateForm::of(der).map_or(PrivateFileError::NotKey, |form| PrivateFileError::Form { form })),
    }
}

/// True for the forms that are read here, if the key in them is that of a device.
const fn is_read_here(form: PrivateForm) -> bool {
    use PrivateForm::{AgeIdentity, Encrypted, Jwk, OpenSsh, Pem, Pkcs1, Pkcs8, Pkcs12, Putty, Sec1, Slot, Within};
    match form {
        Pkcs1 | Pkcs8 | Sec1 | Slot | Within => true,
        AgeIdentity | Encrypted | Jwk | OpenSsh | Pem | Pkcs12 | Putty => false,
    }
}

/// True if it starts as SubjectPublicKeyInfo does: an algorithm, then a bit string.
fn is_public(der: &[u8]) -> bool {
    Reader::open(der).is_some_and(|mut inside| inside.take(SEQUENCE, "").is_ok() && inside.peek() == Some(BIT_STRING))
}

/// The labels of the blocks that are read.
const LABELS: [&[u8]; 3] = [b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"PRIVATE KEY"];

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        keys::{encode, public_pem},
    };

    fn block(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn what_the_vendors_cli_saved_is_read_with_whatever_is_behind_it() {
        for (kind, len, der) in [(KeyKind::Rsa1024, 612, 611), (KeyKind::P256, 192, 121)] {
            let pair = PrivateKey::generate(kind, &SystemEntropy);
            let slot = encode(&pair, len).expose().clone();
            let mut stale = slot.clone();
            stale[der..].fill(0x41);
            let label = if kind == KeyKind::P256 {
                "EC PRIVATE KEY"
            } else {
                "RSA PRIVATE KEY"
            };
            let pem = block(label, &slot[..der]);
            for (file, how) in [
                (slot.clone(), "as saved"),
                (stale, "old bytes behind it"),
                (pem.clone().into_bytes(), "PEM"),
                (
                    format!("\u{feff}{}{pem}", block("EC PARAMETERS", b"\x06"))
                        .replace('\n', "\r\n")
                        .into_bytes(),
                    "PEM behind parameters",
                ),
                (format!("{}{pem}", public_pem(&pair.public())).into_bytes(), "both halves"),
            ] {
                let key = read_private(&file, kind).unwrap_or_else(|error| panic!("{kind}, {how}: {error:?}"));
                assert_eq!(*encode(&key, len).expose(), slot, "{kind}, {how}");
            }
        }
    }

    #[test]
    fn what_is_no_key_for_the_device_is_refused_by_name() {
        let pair = PrivateKey::generate(KeyKind::P256, &SystemEntropy);
        let slot = encode(&pair, 192).expose().clone();
        let public = pair.public();
        let pem = block("EC PRIVATE KEY", &slot);
        let mut torn = slot.clone();
        torn[60..].fill(0xff);
        let encrypted = block("ENCRYPTED PRIVATE KEY", b"x");
        let form = |form| PrivateFileError::Form { form };
        for (file, error) in [
            (vec![], PrivateFileError::NotKey),
            (b"PK\x03\x04".to_vec(), PrivateFileError::NotKey),
            (b"-----BEGIN CERTIFICATE-----".to_vec(), PrivateFileError::NotKey),
            (vec![0xff; 192], PrivateFileError::Blank),
            (vec![0; 192], PrivateFileError::Zeros),
            (public.spki.clone(), PrivateFileError::Public),
            (public_pem(&public).into_bytes(), PrivateFileError::Public),
            (format!("{pem}{pem}").into_bytes(), PrivateFileError::MoreThanOne),
            (encrypted.into_bytes(), form(PrivateForm::Encrypted)),
            ([&public.spki, &slot[..]].concat(), PrivateFileError::Public),
            (
                encode(&PrivateKey::generate(KeyKind::Rsa1024, &SystemEntropy), 612)
                    .expose()
                    .clone(),
                PrivateFileError::OtherKind {
                    found: KeyKind::Rsa1024,
                    wanted: KeyKind::P256,
                },
            ),
            (
                pem.as_bytes()[..pem.len() - 40].to_vec(),
                PrivateFileError::Flawed(Flaw::CutOff { field: "the key" }),
            ),
        ] {
            assert_eq!(read_private(&file, KeyKind::P256).unwrap_err(), error);
        }
        assert!(matches!(read_private(&torn, KeyKind::P256), Err(PrivateFileError::Flawed(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), rsa: bool, text: bool) {
            let kind = if rsa { KeyKind::Rsa1024 } else { KeyKind::P256 };
            let _ = read_private(&bytes, kind);
            if let Some(first) = bytes.first_mut() { *first = 0x30; }
            let file = if text { block("PRIVATE KEY", &bytes).into_bytes() } else { bytes };
            let _ = read_private(&file, kind);
        }
    }
}
