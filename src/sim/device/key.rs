//! The device's own key code: makes keys in the encodings that devices use and reads a slot the way a device does.
//!
//! RSA keys have the fixed layout of 611 bytes and are read by position, P-256 keys are SEC1 (device-protocol.md 4.3).
//! Nothing here is shared with the station's key code.

use p256::pkcs8::EncodePublicKey as _;
use rsa::{BoxedUint, pkcs1::EncodeRsaPrivateKey, traits::PublicKeyParts};

use super::{chance::Chance, dct::der_length, platform::Transport, spec::StartKey};

/// The numbers of an RSA-1024 key, big endian, each as long as the device stores it.
#[derive(Clone, PartialEq, Eq)]
pub struct RsaNumbers {
    /// Modulus.
    pub n: [u8; 128],
    /// Private exponent.
    pub d: [u8; 128],
    /// First prime.
    pub p: [u8; 64],
    /// Second prime.
    pub q: [u8; 64],
    /// D mod (P - 1).
    pub dp: [u8; 64],
    /// D mod (Q - 1).
    pub dq: [u8; 64],
    /// Inverse of Q mod P.
    pub qp: [u8; 64],
}

impl RsaNumbers {
    /// What the device takes for the numbers of the key in this slot. It goes by position: each length byte only tells it
    /// whether a leading zero precedes, so from the first short number on it reads rubbish. `None` if the slot is too
    /// short or does not start with a sequence.
    pub fn by_position(slot: &[u8]) -> Option<Self> {
        der_length(slot)?;
        let mut at = 9;
        Some(Self {
            n: number(slot, &mut at, 7)?,
            d: number(slot, &mut at, 1)?,
            p: number(slot, &mut at, 1)?,
            q: number(slot, &mut at, 1)?,
            dp: number(slot, &mut at, 1)?,
            dq: number(slot, &mut at, 1)?,
            qp: number(slot, &mut at, 1)?,
        })
    }

    /// The key, if these numbers belong together; the device can answer the cloud only with such.
    pub fn key(&self) -> Option<rsa::PrivateKey> {
        let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, 1024).ok();
        let prime = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, 512).ok();
        let key = rsa::PrivateKey::from_components(
            number(&self.n)?,
            BoxedUint::from(65537_u64),
            number(&self.d)?,
            vec![prime(&self.p)?, prime(&self.q)?],
        )
        .ok()?;
        (RsaNumbers::of(&key)? == *self).then_some(key)
    }

    /// The numbers of a key, or `None` if it has not 1024 bits and the exponent 65537.
    fn of(key: &rsa::PrivateKey) -> Option<Self> {
        if key.e_bytes().as_ref() != [1, 0, 1] {
            return None;
        }
        let der = key.to_pkcs1_der().ok()?;
        let all = integers(der.as_bytes())?;
        let [_, n, _, d, p, q, dp, dq, qp] = <[&[u8]; 9]>::try_from(all).ok()?;
        Some(Self {
            n: padded(n)?,
            d: padded(d)?,
            p: padded(p)?,
            q: padded(q)?,
            dp: padded(dp)?,
            dq: padded(dq)?,
            qp: padded(qp)?,
        })
    }

    /// The 611 bytes that a device writes: leading zeros everywhere, which no DER encoder would write.
    pub fn to_device_layout(&self) -> Vec<u8> {
        let mut out = vec![0x30, 0x82, 0x02, 0x5f, 0x02, 0x01, 0x00];
        out.extend([0x02, 0x81, 0x81, 0x00]);
        out.extend(self.n);
        out.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        out.extend([0x02, 0x81, 0x81, 0x00]);
        out.extend(self.d);
        for half in [&self.p, &self.q, &self.dp, &self.dq, &self.qp] {
            out.extend([0x02, 0x41, 0x00]);
            out.extend(half);
        }
        out
    }
}

/// The P-256 key in a slot as the device's crypto library reads SEC1: a scalar of any length that fits, and a public
/// point, if one is there, that must belong to it.
pub fn ec_key(slot: &[u8]) -> Option<p256::SecretKey> {
    let der = slot.get(..der_length(slot)?)?;
    let (tag, version, rest) = element(&der[2..])?;
    let (octets, scalar, rest) = element(rest)?;
    if der[1] > 0x7f && der[1] != 0x81 || (tag, version) != (2, &[1]) || octets != 4 {
        return None;
    }
    let digits = &scalar[scalar.iter().take_while(|b| **b == 0).count()..];
    let mut field = [0; 32];
    field[32_usize.checked_sub(digits.len())?..].copy_from_slice(digits);
    let key = p256::SecretKey::from_slice(&field).ok()?;
    let mut rest = rest;
    while !rest.is_empty() {
        let (tag, content, after) = element(rest)?;
        if tag == 0xa1 {
            let (_, bits, _) = element(content)?;
            let point = p256::PublicKey::from_sec1_bytes(bits.get(1..)?).ok()?;
            if point != key.public_key() {
                return None;
            }
        }
        rest = after;
    }
    Some(key)
}

/// The public key, as SPKI, that the device can prove with this slot.
pub(super) fn spki(slot: &[u8], transport: Transport) -> Option<Vec<u8>> {
    match transport {
        Transport::Udp => Some(ec_key(slot)?.public_key().to_public_key_der().ok()?.as_bytes().to_vec()),
        Transport::Tcp => Some(rsa_spki(&RsaNumbers::by_position(slot)?.key()?)),
    }
}

/// A new private key in the encoding of this Device OS, and its SPKI.
pub(super) fn make(chance: &mut Chance, transport: Transport, os: u16) -> (Vec<u8>, Vec<u8>) {
    match transport {
        Transport::Tcp => {
            let key = rsa::PrivateKey::new(chance, 1024).expect("1024 bits are allowed and the generator never fails");
            let numbers = RsaNumbers::of(&key).expect("a generated key has the documented form");
            (numbers.to_device_layout(), rsa_spki(&key))
        }
        Transport::Udp => {
            let key = ec(chance, |_| true);
            let der = if os < FIXED_SCALAR { sec1_integer(&key) } else { sec1(&key) };
            let spki = key.public_key().to_public_key_der().expect("a point has an encoding");
            (der, spki.as_bytes().to_vec())
        }
    }
}

/// The slot that a device of this kind starts with.
pub(super) fn start(kind: &StartKey, chance: &mut Chance, transport: Transport, os: u16, size: usize) -> Vec<u8> {
    let mut slot = vec![0xff; size];
    let mut put = |bytes: &[u8]| {
        let length = bytes.len().min(size);
        slot[..length].copy_from_slice(&bytes[..length]);
    };
    let damaged = |mut der: Vec<u8>| {
        // Inside of the modulus, respectively of the public point: the structure stays, the numbers do not fit.
        let at = if transport == Transport::Tcp { 40 } else { 60 };
        der[at] ^= 0x55;
        der
    };
    match (kind, transport) {
        (StartKey::Valid, Transport::Udp) if os >= FIXED_SCALAR => put(&slot_of_generated(&make(chance, transport, os).0, size)),
        (StartKey::Valid, _) | (StartKey::Old, Transport::Tcp) => put(&make(chance, transport, os).0),
        (StartKey::Blank, _) => {}
        (StartKey::Corrupt, _) | (StartKey::Misread, Transport::Udp) => put(&damaged(make(chance, transport, os).0)),
        (StartKey::AllZero, _) => put(&vec![0; size]),
        (StartKey::Old, Transport::Udp) => put(&sec1_integer(&ec(chance, |top| top >= 0x80))),
        (StartKey::Misread, Transport::Tcp) => put(&misread(chance)),
        (StartKey::Foreign, Transport::Tcp) => put(&make(chance, Transport::Udp, os).0),
        (StartKey::Foreign, Transport::Udp) => put(&make(chance, Transport::Tcp, os).0),
        (StartKey::Raw(bytes), _) => put(bytes),
    }
    slot
}

/// What a slot holds after the device made a P-256 key in it: the library writes at the end of the buffer, the device moves
/// it to the front, and the tail keeps stale key bytes.
pub(super) fn slot_of_generated(der: &[u8], size: usize) -> Vec<u8> {
    let mut slot = vec![0xff; size];
    if let Some(start) = size.checked_sub(der.len()) {
        slot[start..].copy_from_slice(der);
        slot.copy_within(start.., 0);
    }
    slot
}

/// SEC1 with a scalar of 32 bytes: 121 bytes.
fn sec1(key: &p256::SecretKey) -> Vec<u8> {
    sec1_with(key.to_bytes().as_slice(), key)
}

/// SEC1 as Device OS before 2.1 wrote it: the scalar with as many bytes as an INTEGER has.
fn sec1_integer(key: &p256::SecretKey) -> Vec<u8> {
    let bytes = key.to_bytes();
    let digits = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
    let scalar = if digits[0] & 0x80 != 0 {
        [&[0], digits].concat()
    } else {
        digits.to_vec()
    };
    sec1_with(&scalar, key)
}

fn sec1_with(scalar: &[u8], key: &p256::SecretKey) -> Vec<u8> {
    use p256::elliptic_curve::sec1::ToSec1Point;
    let point = key.public_key().to_sec1_point(false);
    let byte = |n: usize| u8::try_from(n).expect("all parts are shorter than 128 bytes");
    let mut body = vec![0x02, 0x01, 0x01, 0x04, byte(scalar.len())];
    body.extend(scalar);
    body.extend([0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
    body.extend([0xa1, 0x44, 0x03, 0x42, 0x00]);
    body.extend(point.as_bytes());
    [&[0x30, byte(body.len())], body.as_slice()].concat()
}

fn ec(chance: &mut Chance, fits: impl Fn(u8) -> bool) -> p256::SecretKey {
    loop {
        let mut bytes = [0; 32];
        chance.fill(&mut bytes);
        if let Ok(key) = p256::SecretKey::from_slice(&bytes)
            && fits(bytes[0])
        {
            return key;
        }
    }
}

/// A canonical PKCS#1 key whose numbers the device takes for others. About one key in a hundred is such a key.
fn misread(chance: &mut Chance) -> Vec<u8> {
    loop {
        let key = rsa::PrivateKey::new(chance, 1024).expect("1024 bits are allowed and the generator never fails");
        let der = key.to_pkcs1_der().expect("a key has an encoding");
        if RsaNumbers::by_position(der.as_bytes()).and_then(|n| n.key()).is_none() {
            return der.as_bytes().to_vec();
        }
    }
}

fn rsa_spki(key: &rsa::PrivateKey) -> Vec<u8> {
    use rsa::pkcs8::EncodePublicKey;
    let spki = key.to_public_key().to_public_key_der().expect("a public key has an encoding");
    spki.as_bytes().to_vec()
}

/// Reads one number, whose length byte is at `at`, and moves on to the length byte of the next: after the modulus lie the
/// exponent and a long header, elsewhere only the tag.
fn number<const N: usize>(slot: &[u8], at: &mut usize, gap: usize) -> Option<[u8; N]> {
    let from = if slot.get(*at)? & 1 != 0 { *at + 2 } else { *at + 1 };
    let bytes = slot.get(from..from + N)?.try_into().ok()?;
    *at = from + N + gap;
    Some(bytes)
}

/// Tag, content and what follows of the first DER element.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, length) = match *bytes.get(1)? {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(*bytes.get(2)?)),
        0x82 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        _ => return None,
    };
    let rest = bytes.get(header..)?;
    Some((bytes[0], rest.get(..length)?, rest.get(length..)?))
}

/// The integers of a DER sequence of integers.
fn integers(der: &[u8]) -> Option<Vec<&[u8]>> {
    let (0x30, mut rest, _) = element(der)? else { return None };
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (2, content, after) = element(rest)? else { return None };
        all.push(content);
        rest = after;
    }
    Some(all)
}

/// An integer's bytes with the number of leading zeros that makes `N` bytes.
fn padded<const N: usize>(integer: &[u8]) -> Option<[u8; N]> {
    let digits = &integer[integer.iter().take_while(|b| **b == 0).count()..];
    let mut out = [0; N];
    out[N.checked_sub(digits.len())?..].copy_from_slice(digits);
    Some(out)
}

/// Device OS 2.1.0, from which on the scalar always has 32 bytes.
const FIXED_SCALAR: u16 = 2100;
