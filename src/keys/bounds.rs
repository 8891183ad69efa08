//! Keys and records that stand exactly at a limit, or have the shape of something else.

use super::{
    der::der_length,
    production::production,
    rsa_numbers::{RsaNumbers, bit_length},
    server::{self, ServerKeyError, SettingsError},
    server_address::{AddressError, ServerAddress},
    spki::{EC_OID, P256_OID, RSA_OID, Spki},
    *,
};
use crate::{
    edge::entropy::SystemEntropy,
    model::{
        KeyKind,
        key::{KeyLayout, SlotContent},
        platform::Transport,
    },
};

fn key(kind: KeyKind, len: usize) -> Vec<u8> {
    encode(&PrivateKey::generate(kind, &SystemEntropy), len).expose()[..len].to_vec()
}

/// A SEQUENCE whose length is written in two bytes, or in one where `short` says so.
fn sequence(parts: &[&[u8]], short: bool) -> Vec<u8> {
    let inside = parts.concat();
    let len = u16::try_from(inside.len()).unwrap().to_be_bytes();
    let mut out = if short {
        vec![0x30, 0x81, len[1]]
    } else {
        vec![0x30, 0x82, len[0], len[1]]
    };
    out.extend(inside);
    out
}

fn pkcs8(oid: &[u8], parameters: &[u8], key: &[u8], short: bool) -> Vec<u8> {
    let algorithm = [&[6, u8::try_from(oid.len()).unwrap()][..], oid, parameters].concat();
    let algorithm = [&[0x30, u8::try_from(algorithm.len()).unwrap()][..], &algorithm].concat();
    let len = u16::try_from(key.len()).unwrap().to_be_bytes();
    sequence(&[&[2, 1, 0], &algorithm, &[4, 0x82, len[0], len[1]], key], short)
}

fn curve() -> Vec<u8> {
    [&[6, 8][..], &P256_OID].concat()
}

#[test]
fn a_wrapped_key_is_told_by_the_algorithm_that_its_wrapping_names() {
    let (rsa, ec) = (key(KeyKind::Rsa1024, 611), key(KeyKind::P256, 121));
    for (slot, holds) in [
        (pkcs8(&RSA_OID, &[5, 0], &rsa, false), Some(KeyKind::Rsa1024)),
        (pkcs8(&EC_OID, &curve(), &ec, false), Some(KeyKind::P256)),
        (pkcs8(&EC_OID, &curve(), &ec, true), Some(KeyKind::P256)),
        // Ed25519
        (pkcs8(&[0x2b, 0x65, 0x70], &[], &ec, false), None),
    ] {
        for kind in [KeyKind::Rsa1024, KeyKind::P256] {
            let found = classify(&slot, kind).0;
            let right = match holds {
                Some(held) if held == kind => matches!(found, SlotContent::Valid { .. }),
                Some(_) => matches!(found, SlotContent::Unreadable { .. }),
                None => matches!(found, SlotContent::Corrupt { .. }),
            };
            assert!(right, "{holds:?} read as {kind}: {found:?}");
        }
    }
}

#[test]
fn the_curve_may_be_named_by_the_wrapping_alone() {
    let ec = key(KeyKind::P256, 121);
    // SEC1 with version and value, and nothing else.
    let bare = [&[0x30, 37][..], &ec[2..39]].concat();
    let layout = |slot: &[u8]| match classify(slot, KeyKind::P256).0 {
        SlotContent::Valid { layout, .. } => layout,
        other => panic!("{other:?}"),
    };
    assert_eq!(layout(&bare), KeyLayout::MisreadByDevice);
    assert_eq!(layout(&pkcs8(&EC_OID, &curve(), &bare, false)), KeyLayout::Foreign);
}

#[test]
fn a_length_of_0x80_is_not_one_however_much_follows() {
    let mut bytes = vec![0; 300];
    bytes[..2].copy_from_slice(&[0x30, 0x80]);
    assert_eq!(der_length(&bytes), None);
    bytes[1] = 0x7f;
    assert_eq!(der_length(&bytes), Some(129));
}

#[test]
fn bits_are_counted_from_the_first_one_that_is_set() {
    for (bytes, bits) in [
        (&[][..], 0),
        (&[0, 0], 0),
        (&[0, 1], 1),
        (&[0x7f, 0xff], 15),
        (&[0x80, 0], 16),
        (&[0, 0xff], 8),
    ] {
        assert_eq!(bit_length(bytes), bits, "{bytes:?}");
    }
}

#[test]
fn a_device_that_reads_one_number_wrong_has_another_key_unless_it_never_uses_it() {
    let slot = key(KeyKind::Rsa1024, 611);
    let right = device_view(&slot).unwrap();
    let with = |change: fn(&mut RsaNumbers)| {
        let mut numbers = device_view(&slot).unwrap();
        change(&mut numbers);
        numbers.works_like(&right)
    };
    assert!(with(|_| {}));
    assert!(
        with(|numbers| numbers.d[127] ^= 1),
        "devices use the Chinese remainder theorem"
    );
    let wrong: [fn(&mut RsaNumbers); 6] = [
        |numbers| numbers.n[127] ^= 1,
        |numbers| numbers.p[63] ^= 1,
        |numbers| numbers.q[63] ^= 1,
        |numbers| numbers.dp[63] ^= 1,
        |numbers| numbers.dq[63] ^= 1,
        |numbers| numbers.qp[63] ^= 1,
    ];
    for (i, change) in wrong.into_iter().enumerate() {
        assert!(!with(change), "number {i}");
    }
}

#[test]
fn the_larger_prime_comes_first() {
    for _ in 0..8 {
        let numbers = device_view(&key(KeyKind::Rsa1024, 611)).unwrap();
        assert!(numbers.p > numbers.q);
    }
}

#[test]
fn a_modulus_is_odd_fills_its_bytes_and_has_at_most_4096_bits() {
    let read = |len: usize, first: u8, last: u8| {
        let mut modulus = vec![0x55; len];
        modulus[0] = first;
        modulus[len - 1] = last;
        Spki::read(&Spki::rsa(&modulus).der)
    };
    assert!(read(128, 0x80, 1).is_ok());
    assert!(read(512, 0xff, 0xff).is_ok());
    for (len, first, last, bits) in [
        (128, 0x80, 2, 1024),
        (128, 0x40, 1, 1023),
        (513, 0x80, 1, 4104),
        (513, 0x40, 2, 4103),
    ] {
        assert_eq!(
            read(len, first, last),
            Err(Flaw::ModulusSize { bits }),
            "{len} {first} {last}"
        );
    }
}

#[test]
fn a_server_key_may_fill_its_segment() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let settings = production(transport);
        let len = settings.spki.len();
        let full = server::segments(&settings, transport, len).unwrap();
        assert_eq!(full.key, settings.spki);
        let tight = server::segments(&settings, transport, len - 1);
        assert_eq!(tight.err(), Some(SettingsError::Key(ServerKeyError::Room { len: len - 1 })));
    }
}

#[test]
fn an_address_record_ends_with_its_port() {
    let address = ServerAddress::new("device.example.com", Some(5683)).unwrap();
    let record = address.write();
    assert_eq!(ServerAddress::read(&record[..68]), Ok(address));
    assert_eq!(ServerAddress::read(&record[..67]), Err(AddressError::Short { len: 67 }));
}

#[test]
fn an_address_is_written_as_people_write_it() {
    let shown = |host, port| ServerAddress::new(host, port).unwrap().to_string();
    assert_eq!(shown("device.example.com", Some(5683)), "device.example.com:5683");
    assert_eq!(shown("192.168.1.2", None), "192.168.1.2");
}
