//! A proved RSA-1024 key pair and the layout in which devices write it.

use std::ops::Deref;

use p256::elliptic_curve::bigint::ConcatenatingMul;
use rsa::{
    BoxedUint, Pkcs1v15Sign,
    traits::{PrivateKeyParts, PublicKeyParts, SignatureScheme},
};
use sha2::{Digest, Sha256};

use super::{
    Flaw,
    der::number,
    rsa_numbers::{E, RsaNumbers},
};
use crate::{
    edge::{Entropy, entropy::EntropyRng},
    model::Secret,
};

/// An RSA-1024 private key whose arithmetic was proved. Boxed: it has 576 bytes of numbers.
pub(super) struct RsaPair(Box<RsaNumbers>);

impl RsaPair {
    /// Makes a new pair.
    pub(super) fn generate(entropy: &dyn Entropy) -> Self {
        let key =
            rsa::PrivateKey::new(&mut EntropyRng(entropy), 1024).expect("the size is allowed and the generator does not fail");
        let [a, b] = key.primes() else {
            unreachable!("a pair is made of two primes")
        };
        // Devices put the larger prime first.
        let (p, q) = if a > b { (a, b) } else { (b, a) };
        Self::from_primes(p.as_ref(), q.as_ref()).expect("a freshly made key is sound")
    }

    /// The pair of these two primes, with everything else derived from them.
    pub(super) fn from_primes(p: &BoxedUint, q: &BoxedUint) -> Result<Self, Flaw> {
        let broken = |_| Flaw::Arithmetic { rule: "n = p q" };
        let key = rsa::PrivateKey::from_primes(vec![p.clone(), q.clone()], BoxedUint::from(E)).map_err(broken)?;
        let (Some(dp), Some(dq), Some(qp)) = (key.dp(), key.dq(), key.crt_coefficient()) else {
            return Err(Flaw::Arithmetic { rule: "n = p q" });
        };
        let qp = Secret::new(qp);
        Self::prove(RsaNumbers {
            n: of(key.n().as_ref(), "the modulus")?,
            d: of(key.d(), "the private exponent")?,
            p: of(p, "the first prime")?,
            q: of(q, "the second prime")?,
            dp: of(dp, "the first CRT exponent")?,
            dq: of(dq, "the second CRT exponent")?,
            qp: of(qp.expose(), "the CRT coefficient")?,
        })
    }

    /// Proves that the numbers are one key: n has 1024 bits and is p q, e d = 1 modulo p-1 and q-1, the CRT values are
    /// right, and a signature verifies (which fails if p or q were not prime).
    pub(super) fn prove(numbers: RsaNumbers) -> Result<Self, Flaw> {
        let bits = super::rsa_numbers::bit_length(&numbers.n);
        if bits != 1024 {
            return Err(Flaw::ModulusSize { bits });
        }
        // Checked first, and with our own multiplication: the crate names only the first of several broken rules.
        let (p, q) = (Secret::new(int(&numbers.p)), Secret::new(int(&numbers.q)));
        if of::<128>(&p.expose().concatenating_mul(q.expose()), "the modulus")? != numbers.n {
            return Err(Flaw::Arithmetic { rule: "n = p q" });
        }
        let key = key_of(&numbers).map_err(|_| Flaw::Arithmetic {
            rule: "e d = 1 mod (p-1) and (q-1)",
        })?;
        let same =
            |value: Option<&BoxedUint>, stored: &[u8; 64]| value.and_then(|v| of::<64>(v, "").ok()).as_ref() == Some(stored);
        if !same(key.dp(), &numbers.dp) {
            return Err(Flaw::Arithmetic {
                rule: "dp = d mod (p-1)",
            });
        }
        if !same(key.dq(), &numbers.dq) {
            return Err(Flaw::Arithmetic {
                rule: "dq = d mod (q-1)",
            });
        }
        let coefficient = key.crt_coefficient().map(Secret::new);
        if !same(coefficient.as_ref().map(Secret::expose), &numbers.qp) {
            return Err(Flaw::Arithmetic { rule: "qp q = 1 mod p" });
        }
        if !signs(&key) {
            return Err(Flaw::Arithmetic {
                rule: "a signature verifies",
            });
        }
        Ok(Self(Box::new(numbers)))
    }

    /// Signs a SHA-256: PKCS#1 v1.5. No blinding: nobody can time this from outside.
    pub(super) fn sign(&self, digest: &[u8; 32]) -> Vec<u8> {
        let key = key_of(&self.0).expect("a proved pair is a key");
        Pkcs1v15Sign::new::<Sha256>()
            .sign(None::<&mut EntropyRng<'_>>, &key, digest)
            .expect("1024 bits have room for a SHA-256")
    }

    /// PKCS#1 as devices write it: 611 bytes, every number with its full size and a leading zero.
    pub(super) fn device_layout(&self) -> Secret<Vec<u8>> {
        let mut out = Vec::with_capacity(DEVICE_LEN);
        out.extend_from_slice(&[0x30, 0x82, 0x02, 0x5f, 0x02, 0x01, 0x00]);
        for (long, number) in self.numbers_in_order() {
            out.extend_from_slice(if long {
                &[0x02, 0x81, 0x81, 0x00]
            } else {
                &[0x02, 0x41, 0x00]
            });
            out.extend_from_slice(number);
            if out.len() == BEHIND_MODULUS {
                out.extend_from_slice(&EXPONENT);
            }
        }
        Secret::new(out)
    }

    /// The numbers behind the version in order of PKCS#1 (without the public exponent), and whether each is a long one.
    pub(super) fn numbers_in_order(&self) -> [(bool, &[u8]); 7] {
        let k = &self.0;
        [
            (true, &k.n),
            (true, &k.d),
            (false, &k.p),
            (false, &k.q),
            (false, &k.dp),
            (false, &k.dq),
            (false, &k.qp),
        ]
    }
}

impl Deref for RsaPair {
    type Target = RsaNumbers;
    fn deref(&self) -> &RsaNumbers {
        &self.0
    }
}

/// Length of a key in the devices' own layout.
pub(super) const DEVICE_LEN: usize = 611;
/// The public exponent as an INTEGER.
pub(super) const EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
/// Offset behind SEQUENCE and version (7 bytes) and the modulus with its header (132).
const BEHIND_MODULUS: usize = 139;

/// The crate's form of a key.
fn key_of(numbers: &RsaNumbers) -> rsa::Result<rsa::PrivateKey> {
    let primes = vec![int(&numbers.p), int(&numbers.q)];
    rsa::PrivateKey::from_components(int(&numbers.n), BoxedUint::from(E), int(&numbers.d), primes)
}

fn int(bytes: &[u8]) -> BoxedUint {
    BoxedUint::from_be_slice_vartime(bytes)
}

/// A big number as fixed bytes.
pub(super) fn of<const N: usize>(value: &BoxedUint, field: &'static str) -> Result<[u8; N], Flaw> {
    let bytes = Secret::new(value.to_be_bytes().into_vec());
    number(bytes.expose(), field)
}

/// Signs and verifies. No blinding: the message is fixed and nobody can time this from outside.
fn signs(key: &rsa::PrivateKey) -> bool {
    let digest = Sha256::digest(b"keyrack proves a key pair");
    Pkcs1v15Sign::new_unprefixed()
        .sign(None::<&mut EntropyRng<'_>>, key, &digest)
        .is_ok_and(|signature| {
            key.as_public_key()
                .verify(Pkcs1v15Sign::new_unprefixed(), &digest, &signature)
                .is_ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::entropy::SystemEntropy;

    #[test]
    fn factors_that_are_not_prime_do_not_sign() {
        // 3 * 5 * ... composites fit every rule of arithmetic that can be written without factoring; the signature fails.
        let mut found = false;
        for _ in 0..50 {
            let (mut p, mut q) = ([0; 64], [0; 64]);
            SystemEntropy.fill(&mut p);
            SystemEntropy.fill(&mut q);
            for number in [&mut p, &mut q] {
                number[0] |= 0xc0;
                number[63] |= 1;
            }
            if let Err(Flaw::Arithmetic { rule }) = RsaPair::from_primes(&int(&p), &int(&q)) {
                found |= rule == "a signature verifies";
            }
        }
        assert!(found, "at least one of 50 pairs of odd numbers passes all other rules");
    }
}
