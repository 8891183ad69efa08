//! Recognising private keys in whatever is given for a public one: in every encoding, under every label, and anywhere
//! in the file. It looks at shapes only, proves nothing, and keeps nothing.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    der::{INTEGER, OBJECT_ID, OCTET_STRING, Reader, SEQUENCE, der_length},
    pem::{self, Text},
};
use crate::model::Secret;

/// A form in which private keys are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateForm {
    /// An identity file of the program `age`.
    AgeIdentity,
    /// PKCS#8 or traditional PEM under a password.
    Encrypted,
    /// A JSON web key with its private part.
    Jwk,
    /// OpenSSH's own format.
    OpenSsh,
    /// A PEM block whose label says so, whatever is in it.
    Pem,
    /// An RSA key.
    Pkcs1,
    /// A PKCS#12 store.
    Pkcs12,
    /// A key of any kind.
    Pkcs8,
    /// PuTTY's own format.
    Putty,
    /// An EC key.
    Sec1,
    /// The bytes of a device's key slot: a key and the fill behind it.
    Slot,
    /// Any of these with something else before it.
    Within,
}

impl PrivateForm {
    /// The form of the private key in these bytes, if there is one.
    pub fn of(file: &[u8]) -> Option<Self> {
        let text = Text::of(file);
        by_label(&text)
            .or_else(|| in_bytes(file))
            .or_else(|| {
                pem::blocks(&text)
                    .filter_map(|block| block.decode())
                    .find_map(|bytes| in_bytes(bytes.expose()))
            })
            .or_else(|| in_base64(&text))
            .or_else(|| hexadecimal(&text).and_then(|bytes| in_bytes(bytes.expose())))
    }
}

impl fmt::Display for PrivateForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AgeIdentity => "an age identity",
            Self::Encrypted => "an encrypted private key",
            Self::Jwk => "a JSON web key with its private part",
            Self::OpenSsh => "an OpenSSH private key",
            Self::Pem => "a private key as PEM",
            Self::Pkcs1 => "an RSA private key (PKCS#1)",
            Self::Pkcs12 => "a PKCS#12 store",
            Self::Pkcs8 => "a private key (PKCS#8)",
            Self::Putty => "a PuTTY private key",
            Self::Sec1 => "an EC private key (SEC1)",
            Self::Slot => "the private key slot of a device",
            Self::Within => "a file with a private key somewhere in it",
        })
    }
}

/// Judges by the labels that texts put around private keys, also where the key itself is damaged.
fn by_label(text: &[u8]) -> Option<PrivateForm> {
    // Only with the dashes: a letter around a public key may speak of the private one.
    let label = text.split(|b| *b == b'\n').find_map(|line| {
        pem::find(line, b"--")?;
        let at = line
            .windows(LABEL.len())
            .position(|window| window.eq_ignore_ascii_case(LABEL))?;
        Some(&line[..at])
    });
    if let Some(before) = label {
        return Some(if before.ends_with(b"OPENSSH ") {
            PrivateForm::OpenSsh
        } else if before.ends_with(b"ENCRYPTED ") || pem::find(text, b"Proc-Type: 4,ENCRYPTED").is_some() {
            PrivateForm::Encrypted
        } else if before.ends_with(b"RSA ") {
            PrivateForm::Pkcs1
        } else if before.ends_with(b"EC ") {
            PrivateForm::Sec1
        } else if before.ends_with(b"BEGIN ") {
            PrivateForm::Pkcs8
        } else {
            PrivateForm::Pem
        });
    }
    let has = |mark: &[u8]| pem::find(text, mark).is_some();
    if has(b"AGE-SECRET-KEY-") {
        Some(PrivateForm::AgeIdentity)
    } else if has(b"PuTTY-User-Key-File") {
        Some(PrivateForm::Putty)
    } else if has(b"\"kty\"") && has(b"\"d\"") {
        Some(PrivateForm::Jwk)
    } else {
        None
    }
}

/// Judges what stands in a text as base64 without any label: as a whole file, in a cell of a table, behind another key.
fn in_base64(text: &[u8]) -> Option<PrivateForm> {
    // Every one begins with this letter, which is the first six bits of a SEQUENCE.
    let starts = text.iter().enumerate().filter(|(_, b)| **b == b'M');
    starts.map(|(at, _)| &text[at..]).find_map(|rest| {
        let blank = |b: &u8| b.is_ascii_whitespace();
        let written = rest
            .iter()
            .take_while(|b| blank(b) || b.is_ascii_alphanumeric() || b"+/".contains(b));
        // As many digits as any encoding needs to be known by, and a multiple of four.
        let mut digits = Zeroizing::new(Vec::with_capacity(64));
        digits.extend(written.copied().filter(|b| !blank(b)).take(64));
        pem::base64(&digits[..digits.len() & !3]).and_then(|bytes| at_start(bytes.expose()))
    })
}

/// Judges by the bytes, at every place in them.
fn in_bytes(bytes: &[u8]) -> Option<PrivateForm> {
    if let Some(form) = at_start(bytes) {
        let fill = der_length(bytes).and_then(|len| bytes.get(len));
        return Some(if fill == Some(&0xff) { PrivateForm::Slot } else { form });
    }
    if pem::find(bytes, b"openssh-key-v1\0").is_some() {
        return Some(PrivateForm::OpenSsh);
    }
    (1..bytes.len())
        .any(|at| at_start(&bytes[at..]).is_some())
        .then_some(PrivateForm::Within)
}

/// The form of the DER at the start of `bytes`. The key may be cut off, as in a slot of the other transport.
fn at_start(bytes: &[u8]) -> Option<PrivateForm> {
    let mut inside = Reader::open(bytes)?;
    if inside.peek() == Some(SEQUENCE) {
        let algorithm = inside.take(SEQUENCE, "").ok()?;
        let encrypted = oid(algorithm).is_some_and(|oid| ENCRYPTION.iter().any(|known| oid.starts_with(known)));
        return (encrypted && inside.peek() == Some(OCTET_STRING)).then_some(PrivateForm::Encrypted);
    }
    let version = inside.take(INTEGER, "").ok()?;
    match (version, inside.peek()?) {
        ([0 | 1], INTEGER) => Some(PrivateForm::Pkcs1),
        ([1], OCTET_STRING) => Some(PrivateForm::Sec1),
        ([0 | 1], SEQUENCE) => {
            oid(inside.take(SEQUENCE, "").ok()?)?;
            (inside.peek() == Some(OCTET_STRING)).then_some(PrivateForm::Pkcs8)
        }
        ([3], SEQUENCE) => oid(inside.take(SEQUENCE, "").ok()?)?
            .starts_with(&CONTENT)
            .then_some(PrivateForm::Pkcs12),
        _ => None,
    }
}

/// The object identifier that an element begins with.
fn oid(inside: &[u8]) -> Option<&[u8]> {
    Reader::inside(inside).take(OBJECT_ID, "").ok()
}

fn hexadecimal(text: &[u8]) -> Option<Secret<Vec<u8>>> {
    let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
    for b in text.iter().filter(|b| !b.is_ascii_whitespace() && **b != b':') {
        digits.push(u8::try_from(char::from(*b).to_digit(16)?).ok()?);
    }
    let (pairs, _) = digits.as_chunks::<2>();
    Some(Secret::new(pairs.iter().map(|[high, low]| high << 4 | low).collect()))
}

/// What the labels of private keys have in common.
const LABEL: &[u8] = b"PRIVATE KEY";
/// Where the encryption schemes of PKCS#5 and PKCS#12 are: 1.2.840.113549.1.5 and 1.2.840.113549.1.12.1.
const ENCRYPTION: [&[u8]; 2] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01],
];
/// The content types of PKCS#7: 1.2.840.113549.1.7.
const CONTENT: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        keys::{PrivateKey, encode, public_pem},
        model::KeyKind,
    };

    #[test]
    fn a_slot_is_found_in_every_wrapping() {
        for (kind, len, bare) in [
            (KeyKind::Rsa1024, 611, PrivateForm::Pkcs1),
            (KeyKind::P256, 121, PrivateForm::Sec1),
        ] {
            let pair = PrivateKey::generate(kind, &SystemEntropy);
            let public = pair.public();
            let slot = encode(&pair, len + 71);
            let slot = slot.expose();
            let text = STANDARD.encode(slot);
            let hex: String = slot.iter().map(|b| format!("{b:02x}:")).collect();
            let block = |label: &str| format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
            let utf16: Vec<u8> = format!("\u{feff}{}", block("CERTIFICATE"))
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect();
            for (file, form) in [
                (slot[..len].to_vec(), bare),
                (slot.to_vec(), PrivateForm::Slot),
                (slot[..100].to_vec(), bare),
                ([&[0xff; 34][..], slot].concat(), PrivateForm::Within),
                ([&public.spki[..], slot].concat(), PrivateForm::Within),
                (
                    format!("{}{}", public_pem(&public), block("X")).into_bytes(),
                    PrivateForm::Slot,
                ),
                (utf16, PrivateForm::Slot),
                (text.clone().into_bytes(), bare),
                (format!("{}{text}", public_pem(&public)).into_bytes(), bare),
                (format!("e00fce68,\"{text}\"\n").into_bytes(), bare),
                (hex.into_bytes(), PrivateForm::Slot),
            ] {
                assert_eq!(PrivateForm::of(&file), Some(form), "{kind}");
            }
            assert_eq!(PrivateForm::of(&public.spki), None);
            assert_eq!(PrivateForm::of(public_pem(&public).as_bytes()), None);
        }
    }

    #[test]
    fn labels_are_believed_also_where_the_key_is_damaged() {
        for (text, form) in [
            ("-----BEGIN PRIVATE KEY-----", PrivateForm::Pkcs8),
            ("-----BEGIN RSA PRIVATE KEY-----", PrivateForm::Pkcs1),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED",
                PrivateForm::Encrypted,
            ),
            ("-----BEGIN EC PRIVATE KEY-----", PrivateForm::Sec1),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----", PrivateForm::Encrypted),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", PrivateForm::OpenSsh),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----", PrivateForm::Pem),
            ("-----begin private key-----", PrivateForm::Pem),
            ("x\n-----END RSA PRIVATE KEY-----", PrivateForm::Pkcs1),
            ("PuTTY-User-Key-File-3: ecdsa-sha2-nistp256", PrivateForm::Putty),
            ("{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"AA\"}", PrivateForm::Jwk),
            ("AGE-SECRET-KEY-1AAA", PrivateForm::AgeIdentity),
            ("openssh-key-v1\0", PrivateForm::OpenSsh),
        ] {
            assert_eq!(PrivateForm::of(text.as_bytes()), Some(form), "{text}");
        }
        for text in [
            "",
            "the private key stays here",
            "-----BEGIN PUBLIC KEY-----",
            "{\"kty\":\"EC\"}",
        ] {
            assert_eq!(PrivateForm::of(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = PrivateForm::of(&bytes);
        }

        #[test]
        fn a_key_is_found_wherever_it_stands(before in proptest::collection::vec(any::<u8>(), 0..100), rsa: bool) {
            let start: &[u8] = if rsa { &[0x30, 0x82, 2, 0x5f, 2, 1, 0, 2, 0x81] } else { &[0x30, 0x77, 2, 1, 1, 4, 0x20] };
            prop_assert!(PrivateForm::of(&[&before, start].concat()).is_some());
        }
    }
}
