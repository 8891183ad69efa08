//! A device's private key slot: what it holds, how the device itself reads it, and what is written to it.

use super::{
    Flaw, PrivateKey, RsaNumbers,
    der::{INTEGER, OBJECT_ID, OCTET_STRING, Reader, SEQUENCE},
    early_rsa,
    ec_pair::EcPair,
    private::Pair,
    rsa_numbers::SENT_MODULUS,
    rsa_pair::RsaPair,
    spki::{EC_OID, P256_OID, RSA_OID},
};
use crate::model::{
    KeyKind, Secret,
    key::{KeyLayout, SlotContent},
};

/// Says what a slot holds, and gives the private key if it is a valid one (ARCHITECTURE.md 4.1).
///
/// `slot` is the whole slot as read; what follows the key in it is ignored, because devices leave old bytes there.
/// `kind` is that of the transport that the device uses: a key of the other kind is *unreadable*, as all zeros are,
/// and no reason to write.
pub fn classify(slot: &[u8], kind: KeyKind) -> (SlotContent, Option<PrivateKey>) {
    let unreadable = |why: String| (SlotContent::Unreadable { why }, None);
    match slot.first() {
        None => return unreadable("nothing was read".to_owned()),
        // The one test that the device makes: it generates a pair when it next connects.
        Some(0xff) => return (SlotContent::Blank, None),
        Some(0) if slot.iter().all(|b| *b == 0) => return unreadable("every byte is zero".to_owned()),
        Some(_) => {}
    }
    if let Some(other) = shape(slot).filter(|found| *found != kind) {
        return unreadable(format!("it holds an {other} key, the other transport's"));
    }
    match read(slot, kind) {
        Ok((private, layout)) => {
            let key = private.public();
            (SlotContent::Valid { key, layout }, Some(private))
        }
        Err(flaw) => (SlotContent::Corrupt { why: flaw.to_string() }, None),
    }
}

/// Reads an RSA slot the way that the device does: by position (device-protocol.md 4.3). The numbers are what the
/// device computes with, whether they belong together or not; `None` if the slot ends before the last of them.
pub fn device_view(slot: &[u8]) -> Option<RsaNumbers> {
    RsaNumbers::read_by_position(slot)
}

/// The whole slot as it is to be written: the key in the device's own layout (611 bytes PKCS#1 with leading zeros, or
/// 121 bytes SEC1), then 0xFF to the end of the slot.
///
/// # Panics
/// If the slot is shorter than the key: the slots of all platforms are longer.
pub fn encode(key: &PrivateKey, slot_len: usize) -> Secret<Vec<u8>> {
    let der = device_layout(key);
    assert!(der.expose().len() <= slot_len, "the key fits into its slot");
    let mut slot = Vec::with_capacity(slot_len);
    slot.extend_from_slice(der.expose());
    slot.resize(slot_len, 0xff);
    Secret::new(slot)
}

/// The key in the device's own layout, without fill.
pub(super) fn device_layout(key: &PrivateKey) -> Secret<Vec<u8>> {
    match &key.0 {
        Pair::Rsa1024(pair) => pair.device_layout(),
        Pair::P256(pair) => pair.device_layout(),
    }
}

/// The kind of private key that the slot is shaped like, judged by its first elements alone: a key of the other kind
/// may be longer than the slot that was read.
pub(super) fn shape(slot: &[u8]) -> Option<KeyKind> {
    let mut inside = Reader::open(slot)?;
    let version = inside.take(INTEGER, "").ok()?;
    match (version, inside.peek()?) {
        ([0], INTEGER) => Some(KeyKind::Rsa1024),
        ([1], OCTET_STRING) => Some(KeyKind::P256),
        ([0], SEQUENCE) => {
            let mut algorithm = Reader::inside(inside.take(SEQUENCE, "").ok()?);
            match algorithm.take(OBJECT_ID, "").ok()? {
                oid if oid == RSA_OID => Some(KeyKind::Rsa1024),
                oid if oid == EC_OID => Some(KeyKind::P256),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Reads the private key of this kind that the slot starts with.
pub(super) fn read(slot: &[u8], kind: KeyKind) -> Result<(PrivateKey, KeyLayout), Flaw> {
    let (pair, layout) = match kind {
        KeyKind::Rsa1024 => read_rsa(slot).map(|(pair, layout)| (Pair::Rsa1024(pair), layout))?,
        KeyKind::P256 => read_ec(slot).map(|(pair, layout)| (Pair::P256(pair), layout))?,
    };
    Ok((PrivateKey(pair), layout))
}

fn read_rsa(slot: &[u8]) -> Result<(RsaPair, KeyLayout), Flaw> {
    let by_structure = Reader::sequence(slot).and_then(|reader| {
        let reader = match reader.peek_second() {
            Some(SEQUENCE) => Reader::sequence(inner(reader, &RSA_OID)?)?,
            _ => reader,
        };
        RsaPair::prove(RsaNumbers::read(reader)?)
    });
    let pair = match by_structure {
        Ok(pair) => pair,
        Err(flaw) => early_rsa::read(slot).ok_or(flaw)?,
    };
    let layout = if slot.starts_with(pair.device_layout().expose()) {
        KeyLayout::Device
    } else if understood(slot, &pair) {
        KeyLayout::Foreign
    } else {
        KeyLayout::MisreadByDevice
    };
    Ok((pair, layout))
}

/// True if the device computes with the right numbers and sends the right modulus.
fn understood(slot: &[u8], pair: &RsaPair) -> bool {
    let sent = slot.get(SENT_MODULUS..SENT_MODULUS + 128);
    sent == Some(&pair.n) && device_view(slot).is_some_and(|view| view.works_like(pair))
}

fn read_ec(slot: &[u8]) -> Result<(EcPair, KeyLayout), Flaw> {
    let reader = Reader::sequence(slot)?;
    match reader.peek_second() {
        // PKCS#8: devices read it over DTLS, though their public copy stays as it was.
        Some(SEQUENCE) => {
            let (pair, _) = EcPair::read(Reader::sequence(inner(reader, &EC_OID)?)?, true)?;
            Ok((pair, KeyLayout::Foreign))
        }
        _ => EcPair::read(reader, false),
    }
}

/// The key inside of PKCS#8; `reader` is inside of its SEQUENCE.
fn inner<'a>(mut reader: Reader<'a>, algorithm: &[u8]) -> Result<&'a [u8], Flaw> {
    reader.take(INTEGER, "the version")?;
    let mut id = Reader::inside(reader.take(SEQUENCE, "the algorithm")?);
    id.take(OBJECT_ID, "the algorithm")?;
    if algorithm == EC_OID && id.take(OBJECT_ID, "the curve")? != P256_OID {
        return Err(Flaw::Curve);
    }
    reader.take(OCTET_STRING, "the private key")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsa::pkcs1::{EncodeRsaPrivateKey, UintRef, der::Decode};

    use super::*;
    use crate::{
        edge::{
            Entropy,
            entropy::{EntropyRng, SystemEntropy},
        },
        model::PublicKey,
    };

    /// Slot lengths of all platforms (device-protocol.md 4.2).
    const RSA_SLOT: usize = 1216;
    const EC_SLOT: usize = 192;

    fn valid(slot: &[u8], kind: KeyKind) -> (PublicKey, KeyLayout) {
        match classify(slot, kind) {
            (SlotContent::Valid { key, layout }, Some(private)) => {
                assert_eq!(private.public(), key);
                (key, layout)
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    fn corrupt(slot: &[u8], kind: KeyKind) -> String {
        match classify(slot, kind) {
            (SlotContent::Corrupt { why }, None) => why,
            (other, _) => panic!("{other:?}"),
        }
    }

    fn is_unreadable(slot: &[u8], kind: KeyKind) -> bool {
        matches!(classify(slot, kind), (SlotContent::Unreadable { .. }, None))
    }

    fn ec(private: &PrivateKey) -> &EcPair {
        match &private.0 {
            Pair::P256(pair) => pair,
            Pair::Rsa1024(_) => panic!("an RSA pair"),
        }
    }

    #[test]
    fn three_hundred_rsa_keys_come_back_and_are_read_by_the_device() {
        for _ in 0..300 {
            let private = PrivateKey::generate(KeyKind::Rsa1024, &SystemEntropy);
            let slot = encode(&private, RSA_SLOT);
            assert_eq!(slot.expose().len(), RSA_SLOT);
            assert!(slot.expose()[611..].iter().all(|b| *b == 0xff));
            assert_eq!(valid(slot.expose(), KeyKind::Rsa1024), (private.public(), KeyLayout::Device));
            let Pair::Rsa1024(pair) = &private.0 else { panic!() };
            let view = device_view(slot.expose()).unwrap();
            assert!(view.works_like(pair) && view.d == pair.d);
        }
    }

    #[test]
    fn canonical_pkcs1_is_foreign_or_misread_exactly_as_the_device_reads_it() {
        let (mut foreign, mut misread) = (0, 0);
        // One canonical key in about 100 is misread: enough keys to meet some, and no more than needed.
        for i in 0.. {
            let key = rsa::PrivateKey::new(&mut EntropyRng(&SystemEntropy), 1024).unwrap();
            let der = key.to_pkcs1_der().unwrap();
            let mut slot = der.as_bytes().to_vec();
            slot.resize(RSA_SLOT, 0xff);
            let (public, layout) = valid(&slot, KeyKind::Rsa1024);
            let again = encode(&classify(&slot, KeyKind::Rsa1024).1.unwrap(), RSA_SLOT);
            assert_eq!(
                valid(again.expose(), KeyKind::Rsa1024),
                (public, KeyLayout::Device),
                "the same key in the device's layout"
            );
            // What the device needs, without looking at any position: numbers that fill their place.
            let fields = rsa::pkcs1::RsaPrivateKeyRef::from_der(der.as_bytes()).unwrap();
            let fills = |number: &UintRef<'_>, full: usize| {
                let bytes = number.as_bytes();
                [full, full + 1].contains(&(bytes.len() + usize::from(bytes[0] >> 7)))
            };
            let full = fills(&fields.private_exponent, 128)
                && [&fields.exponent1, &fields.exponent2, &fields.coefficient]
                    .iter()
                    .all(|number| fills(number, 64));
            match layout {
                KeyLayout::Foreign => foreign += 1,
                KeyLayout::MisreadByDevice => misread += 1,
                // All seven numbers had their top bit set: canonical and the device's layout are then the same.
                KeyLayout::Device => assert_eq!(der.as_bytes().len(), 611),
                KeyLayout::OldSec1 => panic!("not SEC1"),
            }
            assert_eq!(layout != KeyLayout::MisreadByDevice, full);
            if i >= 300 && misread > 0 {
                break;
            }
        }
        assert!(foreign > 200, "{foreign} {misread}");
    }

    #[test]
    fn p256_keys_come_back_in_every_length_that_devices_have_written() {
        // 33 bytes with a leading zero, 32 bytes, 31 bytes: what Device OS before 2.1 wrote, depending on the value.
        for first in [0x80, 0x01, 0x00] {
            let mut scalar = [0; 32];
            SystemEntropy.fill(&mut scalar);
            scalar[0] = first;
            scalar[1] |= 0x80;
            let private = PrivateKey(Pair::P256(EcPair::prove(scalar).unwrap()));
            let slot = encode(&private, EC_SLOT);
            assert_eq!(slot.expose()[121..], [0xff; EC_SLOT - 121]);
            assert_eq!(valid(slot.expose(), KeyKind::P256), (private.public(), KeyLayout::Device));
            let digits = &scalar[scalar.iter().take_while(|b| **b == 0).count()..];
            let mut old = if digits[0] >= 0x80 { vec![0] } else { vec![] };
            old.extend_from_slice(digits);
            let mut slot = ec(&private).sec1(&old).expose().clone();
            assert_eq!(slot.len(), 89 + old.len());
            // Such a device has moved the key to the front of the slot: stale key bytes stand behind it.
            slot.resize(EC_SLOT, 0x20);
            let layout = if old.len() == 32 {
                KeyLayout::Device
            } else {
                KeyLayout::OldSec1
            };
            assert_eq!(valid(&slot, KeyKind::P256), (private.public(), layout), "{} bytes", old.len());
        }
    }

    #[test]
    fn p256_keys_of_other_writers_are_told_apart() {
        let private = PrivateKey::generate(KeyKind::P256, &SystemEntropy);
        let der = ec(&private).device_layout().expose().clone();
        let value = &der[7..39];
        // without the public key: it is derived
        let mut bare = vec![0x30, 49, 2, 1, 1, 4, 32];
        bare.extend_from_slice(value);
        bare.extend_from_slice(&der[39..51]);
        assert_eq!(valid(&bare, KeyKind::P256), (private.public(), KeyLayout::Foreign));
        // without the curve: a device cannot use it
        let mut nameless = vec![0x30, 37, 2, 1, 1, 4, 32];
        nameless.extend_from_slice(value);
        assert_eq!(
            valid(&nameless, KeyKind::P256),
            (private.public(), KeyLayout::MisreadByDevice)
        );
        // PKCS#8
        let mut pkcs8 = vec![0x30, 0x81, 140, 2, 1, 0, 0x30, 19, 6, 7];
        pkcs8.extend_from_slice(&EC_OID);
        pkcs8.extend_from_slice(&[6, 8]);
        pkcs8.extend_from_slice(&P256_OID);
        pkcs8.extend_from_slice(&[4, 121]);
        pkcs8.extend_from_slice(&der);
        pkcs8[2] = u8::try_from(pkcs8.len() - 3).unwrap();
        assert_eq!(valid(&pkcs8, KeyKind::P256), (private.public(), KeyLayout::Foreign));
        // damage
        let mut other = der.clone();
        other[100] ^= 1;
        assert_eq!(corrupt(&other, KeyKind::P256), Flaw::PointMismatch.to_string());
        let mut other = der.clone();
        other[50] ^= 1;
        assert_eq!(corrupt(&other, KeyKind::P256), Flaw::Curve.to_string());
        for scalar in [[0; 32], [0xff; 32]] {
            assert_eq!(
                corrupt(ec(&private).sec1(&scalar).expose(), KeyKind::P256),
                Flaw::Scalar.to_string()
            );
        }
        assert_eq!(corrupt(&der[..80], KeyKind::P256), "it ends in the middle of the key");
    }

    #[test]
    fn blank_corrupt_and_unreadable_are_told_apart() {
        for (kind, len) in [(KeyKind::Rsa1024, RSA_SLOT), (KeyKind::P256, EC_SLOT)] {
            let slot = encode(&PrivateKey::generate(kind, &SystemEntropy), len);
            let slot = slot.expose();
            assert_eq!(classify(&vec![0xff; len], kind).0, SlotContent::Blank);
            let mut forced = slot.clone();
            forced[0] = 0xff;
            assert_eq!(
                classify(&forced, kind).0,
                SlotContent::Blank,
                "the device looks at the first byte alone"
            );
            assert!(is_unreadable(&[], kind) && is_unreadable(&vec![0; len], kind));
            let mut torn = slot.clone();
            torn[64..].fill(0xff);
            corrupt(&torn, kind);
            corrupt(&vec![0x55; len], kind);
            let mut not_quite_zero = vec![0; len];
            not_quite_zero[len - 1] = 1;
            corrupt(&not_quite_zero, kind);
            corrupt(&[0x30], kind);
        }
        let rsa = encode(&PrivateKey::generate(KeyKind::Rsa1024, &SystemEntropy), RSA_SLOT);
        let p256 = encode(&PrivateKey::generate(KeyKind::P256, &SystemEntropy), EC_SLOT);
        assert!(
            is_unreadable(&rsa.expose()[..EC_SLOT], KeyKind::P256),
            "an RSA key, cut off by the shorter slot"
        );
        assert!(is_unreadable(p256.expose(), KeyKind::Rsa1024));
    }

    #[test]
    fn every_broken_rule_of_rsa_is_found() {
        let private = PrivateKey::generate(KeyKind::Rsa1024, &SystemEntropy);
        let slot = encode(&private, RSA_SLOT);
        // offsets of the last byte of each number in the device's layout
        for (at, expected) in [
            (138, "n = p q"),
            (275, "e d = 1"),
            (342, "n = p q"),
            (409, "n = p q"),
            (476, "dp = d"),
            (543, "dq = d"),
            (610, "qp q = 1"),
        ] {
            let mut bad = slot.expose().clone();
            bad[at] ^= 2;
            let why = corrupt(&bad, KeyKind::Rsa1024);
            assert!(why.contains(expected), "{at}: {why}");
        }
        let mut bad = slot.expose().clone();
        bad[143] = 3;
        assert_eq!(corrupt(&bad, KeyKind::Rsa1024), Flaw::Exponent.to_string());
        let mut bad = slot.expose().clone();
        bad[11] &= 0x7f;
        assert_eq!(
            corrupt(&bad, KeyKind::Rsa1024),
            Flaw::ModulusSize {
                bits: super::super::rsa_numbers::bit_length(&bad[11..139])
            }
            .to_string()
        );
    }

    #[test]
    fn nothing_private_is_ever_shown() {
        for kind in [KeyKind::Rsa1024, KeyKind::P256] {
            let private = PrivateKey::generate(kind, &SystemEntropy);
            assert_eq!(format!("{private:?}"), format!("PrivateKey({kind}, redacted)"));
        }
        let slot = encode(&PrivateKey::generate(KeyKind::Rsa1024, &SystemEntropy), RSA_SLOT);
        assert_eq!(
            format!("{:?} {slot:?}", device_view(slot.expose())),
            "Some(RsaNumbers(redacted)) Secret(redacted)"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..700), rsa: bool) {
            let kind = if rsa { KeyKind::Rsa1024 } else { KeyKind::P256 };
            classify(&bytes, kind);
            device_view(&bytes);
            if let Some(first) = bytes.first_mut() { *first = 0x30; }
            classify(&bytes, kind);
        }

        #[test]
        fn no_damage_to_a_p256_key_passes_as_another_key(at in 0usize..121, xor in 1u8..) {
            let private = PrivateKey(Pair::P256(EcPair::prove([0x5a; 32]).unwrap()));
            let mut slot = encode(&private, EC_SLOT).expose().clone();
            slot[at] ^= xor;
            if let (SlotContent::Valid { key, .. }, _) = classify(&slot, KeyKind::P256) {
                prop_assert_eq!(key, private.public());
            }
        }

        #[test]
        fn no_damage_to_an_rsa_key_passes_as_another_key(at in 0usize..611, xor in 1u8..) {
            let good = one_rsa_slot();
            let (before, _) = valid(good, KeyKind::Rsa1024);
            let mut slot = good.to_vec();
            slot[at] ^= xor;
            if let (SlotContent::Valid { key, .. }, _) = classify(&slot, KeyKind::Rsa1024) {
                prop_assert_eq!(key, before);
            }
        }
    }

    fn one_rsa_slot() -> &'static [u8] {
        static SLOT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        SLOT.get_or_init(|| {
            encode(&PrivateKey::generate(KeyKind::Rsa1024, &SystemEntropy), RSA_SLOT)
                .expose()
                .clone()
        })
    }
}
