//! A proved P-256 key pair, its SEC1 encoding, and a reader for what devices have in their slots.

use p256::{
    PublicKey, SecretKey,
    ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    Flaw,
    der::{BIT_STRING, INTEGER, OBJECT_ID, OCTET_STRING, Reader, number},
    spki::P256_OID,
};
use crate::{
    edge::Entropy,
    model::{KeyKind, Secret, key::KeyLayout},
};

/// A P-256 private key in range, with the point that belongs to it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct EcPair {
    scalar: [u8; 32],
    /// Uncompressed, starting with 0x04.
    #[zeroize(skip)]
    pub(super) point: [u8; 65],
}

impl EcPair {
    /// Makes a new pair.
    pub(super) fn generate(entropy: &dyn Entropy) -> Self {
        loop {
            let mut scalar = [0; 32];
            entropy.fill(&mut scalar);
            // All but one in 2^32 values are in range; others are thrown away, as a fair choice demands.
            if let Ok(pair) = Self::prove(scalar) {
                return pair;
            }
        }
    }

    /// Checks that the scalar is in 1..n-1, and computes its point.
    pub(super) fn prove(mut scalar: [u8; 32]) -> Result<Self, Flaw> {
        let secret = SecretKey::from_bytes(&scalar.into());
        let pair = secret.map_err(|_| Flaw::Scalar).map(|secret| Self {
            scalar,
            point: point_of(&secret.public_key()),
        });
        scalar.zeroize();
        pair
    }

    /// Reads SEC1 ECPrivateKey; `reader` is inside of its SEQUENCE. The private value may have any number of leading
    /// zeros or lack them; parameters and public key may be absent where an outer PKCS#8 names the curve.
    pub(super) fn read(mut reader: Reader<'_>, curve_known: bool) -> Result<(Self, KeyLayout), Flaw> {
        let version: [u8; 1] = number(reader.take(INTEGER, "the version")?, "the version")?;
        if version != [1] {
            return Err(Flaw::Version { kind: KeyKind::P256 });
        }
        let value = reader.take(OCTET_STRING, "the private value")?;
        let scalar = number(value, "the private value")?;
        let parameters = reader.take_if(PARAMETERS, "the curve")?;
        if let Some(parameters) = parameters
            && Reader::inside(parameters).take(OBJECT_ID, "the curve")? != P256_OID
        {
            return Err(Flaw::Curve);
        }
        let pair = Self::prove(scalar)?;
        let public = reader.take_if(PUBLIC_KEY, "the public key")?;
        if let Some(public) = public {
            let bits = Reader::inside(public).take(BIT_STRING, "the public key")?;
            let stored = bits.strip_prefix(&[0]).ok_or(Flaw::PointMismatch)?;
            // A compressed point is another writing of the same one.
            let stored = PublicKey::from_sec1_bytes(stored).map_err(|_| Flaw::PointMismatch)?;
            if point_of(&stored) != pair.point {
                return Err(Flaw::PointMismatch);
            }
        }
        // What is neither means that a length before it is wrong, and then the value is wrong, too.
        if let Some(found) = reader.peek() {
            return Err(Flaw::Unexpected { field: "the end", found });
        }
        let layout = match (parameters, public, value.len()) {
            // Without the curve the device does not know what to do with the value.
            (None, ..) if !curve_known => KeyLayout::MisreadByDevice,
            (Some(_), Some(_), 32) => KeyLayout::Device,
            (Some(_), Some(_), _) => KeyLayout::OldSec1,
            _ => KeyLayout::Foreign,
        };
        Ok((pair, layout))
    }

    /// Signs a SHA-256: ECDSA in DER.
    pub(super) fn sign(&self, digest: &[u8; 32]) -> Vec<u8> {
        let key = SigningKey::from_bytes(&self.scalar.into()).expect("a proved scalar is in range");
        let signature: Signature = key.sign_prehash(digest).expect("a SHA-256 is long enough to sign");
        signature.to_der().as_bytes().to_vec()
    }

    /// SEC1 as Device OS from 2.1 on writes it: 121 bytes with parameters and public key.
    pub(super) fn device_layout(&self) -> Secret<Vec<u8>> {
        self.sec1(&self.scalar)
    }

    /// SEC1 with this spelling of the private value.
    pub(super) fn sec1(&self, value: &[u8]) -> Secret<Vec<u8>> {
        // Everything but the value has 87 bytes behind the outer header; all lengths stay below 128.
        let len = |n: usize| u8::try_from(n).expect("a SEC1 key on P-256 is shorter than 128 bytes");
        let mut out = Vec::with_capacity(SEC1_LEN + 1);
        out.extend_from_slice(&[0x30, len(87 + value.len()), INTEGER, 1, 1, OCTET_STRING, len(value.len())]);
        out.extend_from_slice(value);
        out.extend_from_slice(&[PARAMETERS, 10, OBJECT_ID, 8]);
        out.extend_from_slice(&P256_OID);
        out.extend_from_slice(&[PUBLIC_KEY, 68, BIT_STRING, 66, 0]);
        out.extend_from_slice(&self.point);
        Secret::new(out)
    }
}

/// The uncompressed point of a public key.
pub(super) fn point_of(key: &PublicKey) -> [u8; 65] {
    let bytes = key.to_sec1_bytes();
    bytes
        .as_ref()
        .try_into()
        .expect("points of P-256 are written uncompressed, in 65 bytes")
}

/// Length of a SEC1 key with parameters, public key and a private value of 32 bytes.
pub(super) const SEC1_LEN: usize = 121;
/// Context tag of the curve parameters in SEC1.
const PARAMETERS: u8 = 0xa0;
/// Context tag of the public key in SEC1.
const PUBLIC_KEY: u8 = 0xa1;
