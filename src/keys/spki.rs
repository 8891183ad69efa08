//! SubjectPublicKeyInfo: the one encoding in which public keys are kept, compared, hashed and sent.

use p256::PublicKey as P256Key;
use sha2::{Digest, Sha256};

use super::{
    Flaw,
    der::{BIT_STRING, INTEGER, OBJECT_ID, Reader, SEQUENCE, number},
    ec_pair::point_of,
    rsa_numbers::{E, bit_length},
};
use crate::model::{Fingerprint, KeyKind, PublicKey};

/// A public key of any kind that devices or their servers have, in canonical DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spki {
    pub(super) algorithm: Algorithm,
    pub(super) der: Vec<u8>,
}

/// What kind of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSA with exponent 65537.
    Rsa {
        /// Size of the modulus.
        bits: u32,
    },
    /// P-256.
    P256,
}

impl Spki {
    /// Reads SubjectPublicKeyInfo or PKCS#1 RSAPublicKey, tolerantly, and writes it canonically.
    pub(super) fn read(der: &[u8]) -> Result<Self, Flaw> {
        let mut reader = Reader::sequence(der)?;
        if reader.peek() == Some(INTEGER) {
            return Self::read_pkcs1(reader);
        }
        let mut algorithm = Reader::inside(reader.take(SEQUENCE, "the algorithm")?);
        let oid = algorithm.take(OBJECT_ID, "the algorithm")?;
        let bits = reader.take(BIT_STRING, "the public key")?;
        let key = bits.strip_prefix(&[0]).ok_or(Flaw::CutOff { field: "the public key" })?;
        if oid == RSA_OID {
            Self::read_pkcs1(Reader::sequence(key)?)
        } else if oid == EC_OID && algorithm.take(OBJECT_ID, "the curve")? == P256_OID {
            let point = P256Key::from_sec1_bytes(key).map_err(|_| Flaw::Arithmetic {
                rule: "the point is on the curve",
            })?;
            Ok(Self::p256(&point_of(&point)))
        } else {
            Err(Flaw::Curve)
        }
    }

    fn read_pkcs1(mut reader: Reader<'_>) -> Result<Self, Flaw> {
        let modulus = reader.take(INTEGER, "the modulus")?;
        let exponent = reader.take(INTEGER, "the public exponent")?;
        if number::<4>(exponent, "the public exponent").ok() != Some(E.to_be_bytes()) {
            return Err(Flaw::Exponent);
        }
        match &modulus[modulus.iter().take_while(|b| **b == 0).count()..] {
            digits @ [.., last] if last & 1 == 1 && bit_length(digits).is_multiple_of(8) && digits.len() <= MOST_MODULUS => {
                Ok(Self::rsa(digits))
            }
            digits => Err(Flaw::ModulusSize {
                bits: bit_length(digits),
            }),
        }
    }

    /// The key of an RSA modulus whose first bit is set.
    pub(super) fn rsa(modulus: &[u8]) -> Self {
        let mut inner = element(INTEGER, &[&[0], modulus]);
        inner.extend(element(INTEGER, &[&E.to_be_bytes()[1..]]));
        let inner = element(SEQUENCE, &[&inner]);
        let mut outer = element(SEQUENCE, &[&element(OBJECT_ID, &[&RSA_OID]), &[0x05, 0x00]]);
        outer.extend(element(BIT_STRING, &[&[0], &inner]));
        Self {
            algorithm: Algorithm::Rsa {
                bits: bit_length(modulus),
            },
            der: element(SEQUENCE, &[&outer]),
        }
    }

    /// The key of a point in its uncompressed form.
    pub(super) fn p256(point: &[u8; 65]) -> Self {
        let mut outer = element(
            SEQUENCE,
            &[&element(OBJECT_ID, &[&EC_OID]), &element(OBJECT_ID, &[&P256_OID])],
        );
        outer.extend(element(BIT_STRING, &[&[0], point]));
        Self {
            algorithm: Algorithm::P256,
            der: element(SEQUENCE, &[&outer]),
        }
    }

    /// The kind of device pair that this is the public half of, if it can be one.
    pub(super) const fn device_kind(&self) -> Option<KeyKind> {
        match self.algorithm {
            Algorithm::Rsa { bits: 1024 } => Some(KeyKind::Rsa1024),
            Algorithm::Rsa { .. } => None,
            Algorithm::P256 => Some(KeyKind::P256),
        }
    }

    /// SHA-256 of the DER.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.der).into())
    }

    /// The public key of a device; `None` for an RSA key of another size than 1024 bits.
    pub(super) fn public_key(self) -> Option<PublicKey> {
        Some(PublicKey {
            kind: self.device_kind()?,
            fingerprint: self.fingerprint(),
            spki: self.der,
        })
    }
}

/// One DER element around the given parts.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = u16::try_from(len).expect("public keys are shorter than 64 KiB").to_be_bytes();
    let mut out = vec![tag];
    match (len, bytes) {
        (..0x80, [_, low]) => out.push(low),
        (..0x100, [_, low]) => out.extend_from_slice(&[0x81, low]),
        (_, [high, low]) => out.extend_from_slice(&[0x82, high, low]),
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// rsaEncryption, 1.2.840.113549.1.1.1.
pub(super) const RSA_OID: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-ecPublicKey, 1.2.840.10045.2.1.
pub(super) const EC_OID: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// prime256v1, 1.2.840.10045.3.1.7.
pub(super) const P256_OID: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// RSA-4096 is the largest key that anybody uses.
const MOST_MODULUS: usize = 512;
