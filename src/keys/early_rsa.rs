//! RSA keys as the earliest Device OS versions wrote them: every number behind a header that promises its full length,
//! but without its leading zeros. One key in 64 has such a number; its DER structure is broken, and yet a device whose
//! private exponent alone is short reads it and connects.
//!
//! There is no reading such a slot field by field: everything behind a short number is shifted. So the two primes,
//! which are never short, are looked for where they can be, the key is derived from them, written again in the same
//! way, and compared: only if every byte agrees is it that key.

use rsa::BoxedUint;

use super::rsa_pair::{EXPONENT, RsaPair};
use crate::model::Secret;

/// Reads a key that an early device wrote with a short number; `None` if the slot is not one.
pub(super) fn read(slot: &[u8]) -> Option<RsaPair> {
    (0..=MOST_ZEROS).find_map(|missing| {
        let mut at = PRIME_HEADER - missing;
        let mut prime = || {
            let body = slot.get(at..)?.strip_prefix(&SHORT_HEADER)?.get(..64)?;
            at += SHORT_HEADER.len() + 64;
            Some(BoxedUint::from_be_slice_vartime(body))
        };
        let pair = RsaPair::from_primes(&prime()?, &prime()?).ok()?;
        slot.starts_with(written(&pair).expose()).then_some(pair)
    })
}

/// The key as an early device writes it.
pub(super) fn written(pair: &RsaPair) -> Secret<Vec<u8>> {
    let mut out = Vec::with_capacity(super::rsa_pair::DEVICE_LEN);
    out.extend_from_slice(&[0x30, 0x82, 0x02, 0x5f, 0x02, 0x01, 0x00]);
    for (i, (long, number)) in pair.numbers_in_order().into_iter().enumerate() {
        out.extend_from_slice(if long { &LONG_HEADER } else { &SHORT_HEADER });
        out.extend(number.iter().skip_while(|b| **b == 0));
        if i == 0 {
            out.extend_from_slice(&EXPONENT);
        }
    }
    Secret::new(out)
}

const LONG_HEADER: [u8; 4] = [0x02, 0x81, 0x81, 0x00];
const SHORT_HEADER: [u8; 3] = [0x02, 0x41, 0x00];
/// Where the header of the first prime is when the private exponent has its full length.
const PRIME_HEADER: usize = 276;
/// A private exponent that lacks more than two bytes comes once in 16 million keys.
const MOST_ZEROS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        keys::{PrivateKey, classify, private::Pair},
        model::{
            KeyKind, PublicKey,
            key::{KeyLayout, SlotContent},
        },
    };

    /// Length of the slot on Photon and P1.
    const RSA_SLOT: usize = 1216;

    fn valid(slot: &[u8]) -> (PublicKey, KeyLayout) {
        match classify(slot, KeyKind::Rsa1024).0 {
            SlotContent::Valid { key, layout } => (key, layout),
            other => panic!("{other:?}"),
        }
    }

    /// A pair whose private exponent or CRT value is short: what early devices wrote in a broken way.
    fn early_pair(short: impl Fn(&RsaPair) -> bool) -> RsaPair {
        loop {
            let private = PrivateKey::generate(KeyKind::Rsa1024, &SystemEntropy);
            let Pair::Rsa1024(pair) = private.0 else { panic!() };
            if short(&pair) {
                return pair;
            }
        }
    }

    #[test]
    fn early_keys_with_a_short_number_are_read_in_spite_of_their_broken_der() {
        let pair =
            early_pair(|pair| pair.d[0] == 0 && pair.d[1] != 0 && [pair.dp[0], pair.dq[0], pair.qp[0]].iter().all(|b| *b != 0));
        let private = PrivateKey(Pair::Rsa1024(pair));
        let Pair::Rsa1024(pair) = &private.0 else { panic!() };
        let mut slot = written(pair).expose().clone();
        assert_eq!(slot.len(), 610);
        slot.resize(RSA_SLOT, 0xff);
        assert_eq!(
            valid(&slot),
            (private.public(), KeyLayout::Foreign),
            "devices never use the short number"
        );
        // A CRT exponent that is short shifts what the device computes with.
        let pair = early_pair(|pair| pair.d[0] != 0 && pair.dq[0] == 0);
        let private = PrivateKey(Pair::Rsa1024(pair));
        let Pair::Rsa1024(pair) = &private.0 else { panic!() };
        let mut slot = written(pair).expose().clone();
        slot.resize(RSA_SLOT, 0xff);
        assert_eq!(valid(&slot), (private.public(), KeyLayout::MisreadByDevice));
        slot[300] ^= 1;
        assert!(matches!(
            classify(&slot, KeyKind::Rsa1024),
            (SlotContent::Corrupt { .. }, None)
        ));
    }
}
