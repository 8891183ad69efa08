//! Public keys and what is said about them. Private keys are in [`crate::keys`] only.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::id::BadId;

/// The kind of a device's key pair. The cloud transport decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// RSA, 1024 bit, exponent 65537: devices that connect over TCP.
    Rsa1024,
    /// ECDSA on NIST P-256: devices that connect over UDP (DTLS with raw public keys).
    P256,
}

impl KeyKind {
    /// The `algorithm` field of a key upload (cloud-api.md 2.1).
    pub const fn algorithm(self) -> &'static str {
        match self {
            KeyKind::Rsa1024 => "rsa",
            KeyKind::P256 => "ecc",
        }
    }

    /// The length of the public key as SubjectPublicKeyInfo DER, in bytes.
    pub const fn spki_len(self) -> usize {
        match self {
            KeyKind::Rsa1024 => 162,
            KeyKind::P256 => 91,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyKind::Rsa1024 => "RSA-1024",
            KeyKind::P256 => "P-256",
        })
    }
}

/// The fingerprint of a public key: SHA-256 of its SubjectPublicKeyInfo DER, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The first twelve digits: enough for a person to compare.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl FromStr for Fingerprint {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId {
            text: text.to_owned(),
            expected: "a key fingerprint (64 hexadecimal digits)",
        };
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.short())
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

/// A public key: its kind, its SubjectPublicKeyInfo DER, and its fingerprint.
///
/// Only [`crate::keys`] makes these, from DER that it parsed; the journal stores them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// RSA-1024 or P-256.
    pub kind: KeyKind,
    /// SubjectPublicKeyInfo DER, 162 or 91 bytes, in base64 when written.
    #[serde(with = "base64_bytes")]
    pub spki: Vec<u8>,
    /// SHA-256 of `spki`.
    pub fingerprint: Fingerprint,
}

/// What is found in a device's key slot (ARCHITECTURE.md 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "class")]
pub enum SlotContent {
    /// A key whose arithmetic was proved; this is its public half.
    Valid {
        /// The derived public key.
        key: PublicKey,
        /// How the private key is encoded in the slot.
        layout: KeyLayout,
    },
    /// The first byte is 0xFF: the device makes a new pair when it next connects.
    Blank,
    /// Neither blank nor a key: the device keeps it and can never connect.
    Corrupt {
        /// What is wrong with it, in words.
        why: String,
    },
    /// It cannot be told what the slot holds (error, two reads that differ, all zeros, key of the
    /// other transport): a fault of the reading, and never a reason to write.
    Unreadable {
        /// What went wrong, in words.
        why: String,
    },
}

impl SlotContent {
    /// The public key, if the slot holds a valid pair.
    pub fn key(&self) -> Option<&PublicKey> {
        match self {
            SlotContent::Valid { key, .. } => Some(key),
            _ => None,
        }
    }

    /// One word for the class, as shown and exported.
    pub const fn word(&self) -> &'static str {
        match self {
            SlotContent::Valid { .. } => "valid",
            SlotContent::Blank => "blank",
            SlotContent::Corrupt { .. } => "corrupt",
            SlotContent::Unreadable { .. } => "unreadable",
        }
    }
}

/// How a valid private key is laid out in its slot (device-protocol.md 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyLayout {
    /// The layout that Device OS itself writes: 611-byte RSA with leading zeros, 121-byte SEC1.
    Device,
    /// SEC1 with a private value of other than 32 bytes (Device OS before 2.1): 120 or 122 bytes in all.
    OldSec1,
    /// Another encoding that the device reads correctly (canonical PKCS#1 with full-length fields).
    Foreign,
    /// A valid key in an encoding that the device's own positional parser misreads: it can never connect
    /// with it until the same key is written in the device's layout.
    MisreadByDevice,
}

pub(super) mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(d)?).map_err(D::Error::custom)
    }
}
