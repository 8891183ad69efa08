//! Private key slots as a device reads them: RSA by position, P-256 by its structure with the tolerance of the device.

use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, PrivateKey};

use super::super::spki;

/// The numbers of an RSA-1024 slot as the device takes them. It does not parse DER: it goes to fixed places and looks at
/// one bit of each length byte to see whether a leading zero is there (cloud-api.md 7.1, device-protocol.md 4.3). Of a
/// key with a shorter number the device takes other numbers than were meant.
pub struct RsaSlot {
    n: [u8; 128],
    key: Option<PrivateKey>,
}

impl RsaSlot {
    /// Reads a slot; `None` if it is blank or too short to be read.
    pub fn read(slot: &[u8]) -> Option<Self> {
        if *slot.first()? == 0xff {
            return None;
        }
        // The low byte of the length of N; the numbers follow each other with two or three bytes of tag and length.
        let mut at = 9;
        let n = take(slot, &mut at, 128)?;
        at += 135 - 128; // past the public exponent, which is 65537 and not read
        let d = take(slot, &mut at, 128)?;
        at += 1;
        let mut halves = Vec::with_capacity(5);
        for _ in 0..5 {
            halves.push(take(slot, &mut at, 64)?);
            at += 1;
        }
        Some(Self {
            n: n.try_into().ok()?,
            key: assemble(n, d, &halves),
        })
    }

    /// The public half that the device sends: made of the modulus as it was read.
    pub fn spki(&self) -> Vec<u8> {
        spki::rsa_spki(&self.n)
    }

    /// Decrypts one block; `None` where the device reports a decryption error. Numbers that do not belong together
    /// decrypt to noise, which has no padding.
    pub fn decrypt(&self, block: &[u8]) -> Option<Vec<u8>> {
        super::raw_decrypt(self.key.as_ref()?, block)
    }
}

/// One number of `len` bytes at the place of its length byte; `at` moves to the end of the number.
fn take<'a>(slot: &'a [u8], at: &mut usize, len: usize) -> Option<&'a [u8]> {
    // An odd length means a leading zero: 129 or 65 bytes.
    let start = *at + 1 + usize::from(slot.get(*at)? & 1);
    *at = start + len;
    slot.get(start..start + len)
}

/// The key of these numbers if they belong together: the device uses P, Q, DP, DQ and QP, and all five must fit.
fn assemble(n: &[u8], d: &[u8], halves: &[&[u8]]) -> Option<PrivateKey> {
    let number = BoxedUint::from_be_slice_vartime;
    let [p, q, dp, dq, qp] = halves else { return None };
    let key = PrivateKey::from_components(number(n), BoxedUint::from(65_537u64), number(d), vec![number(p), number(q)]).ok()?;
    let same = |computed: Option<&BoxedUint>, read: &[u8]| {
        computed.is_some_and(|computed| computed.to_be_bytes_trimmed_vartime() == number(read).to_be_bytes_trimmed_vartime())
    };
    let fits = key.size() == 128 && same(key.dp(), dp) && same(key.dq(), dq) && same(key.crt_coefficient().as_ref(), qp);
    fits.then_some(key)
}

/// The P-256 private key of a slot: SEC1 with the private value in 32 bytes, or more with leading zeros, or fewer (Device
/// OS up to 2.0.1 wrote it as an INTEGER). `None` if the slot is blank or holds no such key.
pub fn ec_key(slot: &[u8]) -> Option<p256::SecretKey> {
    let [0x30, len, rest @ ..] = slot else { return None };
    let body = rest.get(..usize::from(*len).min(rest.len()))?;
    let body = body.strip_prefix(&[0x02, 0x01, 0x01, 0x04])?;
    let (len, body) = body.split_first()?;
    let value = body.get(..usize::from(*len))?;
    let value = &value[value.iter().position(|byte| *byte != 0)?..];
    let mut scalar = [0; 32];
    scalar.get_mut(32usize.checked_sub(value.len())?..)?.copy_from_slice(value);
    p256::SecretKey::from_slice(&scalar).ok()
}

#[cfg(test)]
pub(in super::super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An RSA-1024 key in the device's own layout of 611 bytes: every number with its leading zero.
    pub(in super::super::super) fn device_layout(key: &PrivateKey) -> Vec<u8> {
        let bytes = |number: &BoxedUint, len: usize| {
            let all = number.to_be_bytes();
            let mut out = vec![0; len.saturating_sub(all.len())];
            out.extend_from_slice(&all[all.len().saturating_sub(len)..]);
            out
        };
        let mut der = vec![0x30, 0x82, 0x02, 0x5f, 0x02, 0x01, 0x00];
        let mut long = |number: &BoxedUint| {
            der.extend([0x02, 0x81, 0x81, 0x00]);
            der.extend(bytes(number, 128));
        };
        long(key.n().as_ref());
        der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        der.extend([0x02, 0x81, 0x81, 0x00]);
        der.extend(bytes(key.d(), 128));
        let primes = key.primes();
        let qp = key.crt_coefficient().unwrap();
        for number in [
            primes[0].as_ref(),
            primes[1].as_ref(),
            key.dp().unwrap(),
            key.dq().unwrap(),
            &qp,
        ] {
            der.extend([0x02, 0x41, 0x00]);
            der.extend(bytes(number, 64));
        }
        assert_eq!(der.len(), 611);
        der
    }

    #[test]
    fn a_canonical_key_with_a_short_number_is_misread() {
        let Some(dir) = shared_keys() else { return };
        let good = std::fs::read(dir.join("rsa1024-device-layout.der")).unwrap();
        let bad = std::fs::read(dir.join("rsa1024-canonical-misread.der")).unwrap();
        let slot = RsaSlot::read(&[&good[..], &[0xff; 605]].concat()).unwrap();
        assert!(slot.key.is_some());
        let pem = std::fs::read_to_string(dir.join("rsa1024.pub.pem")).unwrap();
        assert_eq!(slot.spki(), spki::parse_pem(&pem).unwrap().1);
        let misread = RsaSlot::read(&[&bad[..], &[0xff; 610]].concat()).unwrap();
        assert_eq!(misread.spki(), slot.spki(), "the modulus is in front of the short number");
        assert!(misread.key.is_none() && misread.decrypt(&[1; 128]).is_none());
    }

    #[test]
    fn both_lengths_of_a_p256_key_are_one_key() {
        let Some(dir) = shared_keys() else { return };
        let pem = std::fs::read_to_string(dir.join("p256.pub.pem")).unwrap();
        let expected = spki::parse_pem(&pem).unwrap().1;
        for name in ["p256-sec1-121.der", "p256-sec1-122.der"] {
            let der = std::fs::read(dir.join(name)).unwrap();
            let key = ec_key(&[&der[..], &[0xff; 70]].concat()).unwrap();
            assert_eq!(spki::ec_spki(&key.public_key()), expected, "{name}");
        }
    }

    #[test]
    fn blank_and_zero_slots_hold_no_key() {
        for byte in [0xff, 0x00] {
            assert!(ec_key(&[byte; 192]).is_none());
            assert!(
                RsaSlot::read(&[byte; 1216])
                    .and_then(|slot| slot.decrypt(&[1; 128]))
                    .is_none()
            );
        }
        assert!(RsaSlot::read(&[]).is_none() && RsaSlot::read(&[0x30; 100]).is_none());
    }

    proptest! {
        #[test]
        fn no_slot_panics(slot in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = ec_key(&slot);
            let _ = RsaSlot::read(&slot).and_then(|slot| slot.decrypt(&[7; 128]));
        }
    }

    /// The folder of key encodings that were tried on Device OS.
    fn shared_keys() -> Option<std::path::PathBuf> {
        let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
        #[expect(clippy::disallowed_methods, reason = "tests find their data in another place when told so")]
        let shared = std::env::var("KEYRACK_SHARED").map(Into::into).unwrap_or(beside);
        let dir = shared.join("data/keys");
        if !dir.is_dir() {
            println!("not run: ../shared/data is not here");
        }
        dir.is_dir().then_some(dir)
    }
}
