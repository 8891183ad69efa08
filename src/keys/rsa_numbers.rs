//! The numbers of an RSA-1024 private key as somebody claims them, and the two ways of reading them from a slot: by
//! DER, and by position as the devices do.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    Flaw,
    der::{INTEGER, Reader, number},
};
use crate::model::KeyKind;

/// The numbers of an RSA-1024 private key, not proved to belong together. Big endian, padded on the left.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RsaNumbers {
    pub(super) n: [u8; 128],
    pub(super) d: [u8; 128],
    pub(super) p: [u8; 64],
    pub(super) q: [u8; 64],
    pub(super) dp: [u8; 64],
    pub(super) dq: [u8; 64],
    pub(super) qp: [u8; 64],
}

impl RsaNumbers {
    /// Reads PKCS#1 by its DER structure: canonical, or with leading zeros.
    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, Flaw> {
        let version: [u8; 1] = number(reader.take(INTEGER, "the version")?, "the version")?;
        if version != [0] {
            return Err(Flaw::Version { kind: KeyKind::Rsa1024 });
        }
        let n = reader.take(INTEGER, "the modulus")?;
        let bits = bit_length(n);
        if bits != 1024 {
            return Err(Flaw::ModulusSize { bits });
        }
        let n = number(n, "the modulus")?;
        let e = reader.take(INTEGER, "the public exponent")?;
        if number::<4>(e, "the public exponent").ok() != Some(E.to_be_bytes()) {
            return Err(Flaw::Exponent);
        }
        let mut field = |name| -> Result<&[u8], Flaw> { reader.take(INTEGER, name) };
        Ok(Self {
            n,
            d: number(field("the private exponent")?, "the private exponent")?,
            p: number(field("the first prime")?, "the first prime")?,
            q: number(field("the second prime")?, "the second prime")?,
            dp: number(field("the first CRT exponent")?, "the first CRT exponent")?,
            dq: number(field("the second CRT exponent")?, "the second CRT exponent")?,
            qp: number(field("the CRT coefficient")?, "the CRT coefficient")?,
        })
    }

    /// Reads a slot the way that devices do (device-protocol.md 4.3): by position. Before each number stands a length
    /// byte of which only the lowest bit counts: odd means one more leading zero. Tags and the lengths themselves are
    /// never looked at, so a number that is shorter than its full size shifts everything behind it.
    ///
    /// `None` if the slot is too short to be read at all.
    pub(super) fn read_by_position(slot: &[u8]) -> Option<Self> {
        // The first length byte is behind SEQUENCE (4 bytes), version (3) and the two first bytes of the modulus.
        let mut at = 9;
        let n = positional(slot, &mut at)?;
        // Behind the modulus: the exponent as five bytes that are not looked at, then tag and 0x81 of the next number.
        at += 7;
        let d = positional(slot, &mut at)?;
        // From here on lengths have one byte: only the tag stands before it.
        let mut prime = || {
            at += 1;
            positional(slot, &mut at)
        };
        let (p, q, dp, dq, qp) = (prime()?, prime()?, prime()?, prime()?, prime()?);
        Some(Self { n, d, p, q, dp, dq, qp })
    }

    /// True if a device that reads these numbers has the same key: the private exponent does not count, because
    /// devices decrypt by the Chinese remainder theorem alone.
    pub fn works_like(&self, proved: &RsaNumbers) -> bool {
        self.n == proved.n
            && self.p == proved.p
            && self.q == proved.q
            && self.dp == proved.dp
            && self.dq == proved.dq
            && self.qp == proved.qp
    }
}

impl std::fmt::Debug for RsaNumbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaNumbers(redacted)")
    }
}

/// The public exponent of every device key.
pub(super) const E: u32 = 65537;

/// Where every device takes the modulus from when it sends its public key: always behind a leading zero.
pub(super) const SENT_MODULUS: usize = 11;

/// The number whose length byte is at `at`; `at` moves behind it.
fn positional<const N: usize>(slot: &[u8], at: &mut usize) -> Option<[u8; N]> {
    let padded = usize::from(slot.get(*at)? & 1);
    let start = *at + 1 + padded;
    *at = start + N;
    slot.get(start..start + N)?.try_into().ok()
}

/// How many bits a big-endian number has.
pub(super) fn bit_length(bytes: &[u8]) -> u32 {
    let digits = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
    let Some(first) = digits.first() else { return 0 };
    u32::try_from(digits.len()).unwrap_or(u32::MAX).saturating_mul(8) - first.leading_zeros()
}
