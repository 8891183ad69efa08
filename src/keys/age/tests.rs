//! The format's own examples, and every way in which a file or a text can be wrong.

use proptest::prelude::*;

use super::*;
use crate::edge::entropy::SystemEntropy;

/// The pair that the specification of the format shows: no secret.
pub(in crate::keys) const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
pub(in crate::keys) const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

pub(in crate::keys) fn identities() -> Identities {
    Identities::read(IDENTITY).unwrap()
}

fn other() -> (String, Identities) {
    let secret = SystemEntropy.bytes::<32>();
    let recipient = Recipient(PublicKey::from(&StaticSecret::from(secret)));
    let identity = bech32::encode(SECRET_PREFIX, &secret).to_uppercase();
    (recipient.to_string(), Identities::read(&identity).unwrap())
}

fn sealed(content: &[u8]) -> Vec<u8> {
    seal(&[RECIPIENT.parse().unwrap()], content, &SystemEntropy)
}

fn opened(file: &[u8]) -> Result<Vec<u8>, AgeError> {
    open(&identities(), file).map(|content| content.expose().clone())
}

#[test]
fn the_pair_of_the_specification_belongs_together() {
    let [secret] = &identities().0[..] else { panic!() };
    assert_eq!(secret.as_bytes(), &[0x42; 32]);
    assert_eq!(Recipient(PublicKey::from(secret)).to_string(), RECIPIENT);
}

#[test]
fn keys_are_derived_as_rfc_5869_shows() {
    let hex = |key: Key| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (salt, info): (Vec<u8>, Vec<u8>) = ((0..0x0d).collect(), (0xf0..0xfa).collect());
    // Test cases 1 and 3, of which this is the first block.
    assert_eq!(
        hex(hkdf(&[0x0b; 22], &salt, &info)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    );
    assert_eq!(
        hex(hkdf(&[0x0b; 22], &[], &[])),
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    );
}

#[test]
fn what_was_sealed_is_opened_by_its_identity_alone() {
    let (_, stranger) = other();
    for content in [&b""[..], b"x", &[7; CHUNK]] {
        let file = sealed(content);
        assert_eq!(opened(&file).as_deref(), Ok(content));
        assert_eq!(open(&stranger, &file).unwrap_err(), AgeError::OtherRecipient);
        assert_ne!(file, sealed(content), "a new file key, secret and nonce every time");
    }
}

#[test]
fn every_cut_and_every_flipped_bit_is_found() {
    let file = sealed(b"content");
    for len in 0..file.len() {
        let error = opened(&file[..len]).unwrap_err();
        let expected = if len < 19 { AgeError::NotAge } else { AgeError::Damaged };
        assert_eq!(error, expected, "{len} bytes");
    }
    for bit in 0..file.len() * 8 {
        let mut bad = file.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(opened(&bad).is_err(), "bit {bit}");
    }
    let long = [&file[..], b"x"].concat();
    assert_eq!(opened(&long), Err(AgeError::Damaged));
    assert_eq!(opened(&[&file[..], &[0; CHUNK]].concat()), Err(AgeError::TooLong));
}

#[test]
fn other_stanzas_are_passed_over() {
    let file = sealed(b"content");
    let (version, rest) = file.split_at(22);
    let with = |stanza: &str| {
        // The code covers the stanza: made again, as the program does.
        let head = [version, stanza.as_bytes(), rest].concat();
        let header = Header::read(&head)?;
        let key = file_key(&identities(), &header.stanzas)?;
        let mac = header_mac(&key, header.covered).finalize().into_bytes();
        let end = header::write_mac(&mac).into_bytes();
        opened(&[header.covered, &end, header.payload].concat())
    };
    let wide = "A".repeat(64);
    for stanza in [
        "-> x-grease a b\n\n".to_owned(),
        format!("-> ssh-ed25519 abc\n{wide}\n{wide}\nAAAA\n"),
        format!("-> X25519 {}\n{}\n", "A".repeat(42) + "Q", "A".repeat(43)),
        format!("-> grease\n{wide}\n\n"),
    ] {
        assert_eq!(with(&stanza).as_deref(), Ok(&b"content"[..]), "{stanza}");
    }
    for stanza in [
        format!("-> scrypt AAAAAAAAAAAAAAAAAAAAAA 18\n{}\n", "A".repeat(43)),
        "->  two blanks\n\n".to_owned(),
        "-> \n\n".to_owned(),
        format!("-> long\n{wide}A\n\n"),
        "-> padded\nAA==\n".to_owned(),
        "-> not-canonical\nAB\n".to_owned(),
        "-> X25519\n\n".to_owned(),
        format!("-> X25519 {} x\n{}\n", "A".repeat(43), "A".repeat(43)),
        format!("-> X25519 {}\n{}\n", "A".repeat(43), "A".repeat(44)),
        "x\n".to_owned(),
        "-> caf\u{e9}\n\n".to_owned(),
        "-> carriage\r\n\r\n".to_owned(),
    ] {
        assert_eq!(with(&stanza), Err(AgeError::Damaged), "{stanza}");
    }
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    let file = sealed(b"content");
    for (file, error) in [
        (&b"PK\x03\x04"[..], AgeError::NotAge),
        (b"\n-----BEGIN AGE ENCRYPTED FILE-----\n", AgeError::Armored),
        (b"age-encryption.org/v2\n", AgeError::Newer),
        (b"age-encryption.org/v1\n--- x\n", AgeError::Damaged),
        (&file[22..], AgeError::NotAge),
    ] {
        assert_eq!(opened(file), Err(error));
    }
}

#[test]
fn texts_that_are_no_recipient_are_refused_by_name() {
    let plug_in = bech32::encode("age1yubikey", &[7; 33]);
    let short = bech32::encode(PREFIX, &[7; 31]);
    // Points of small order: zero, one, and one of order eight.
    let eight = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb,
        0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ];
    let mut one = [0; 32];
    one[0] = 1;
    let weak = [[0; 32], one, eight].map(|point| bech32::encode(PREFIX, &point));
    assert_eq!(format!(" {RECIPIENT}\n").parse::<Recipient>().unwrap().to_string(), RECIPIENT);
    for (text, error) in [
        (IDENTITY, RecipientError::Secret),
        (&IDENTITY.to_lowercase(), RecipientError::Secret),
        (&plug_in, RecipientError::Kind),
        (&short, RecipientError::Malformed),
        (&weak[0], RecipientError::Malformed),
        (&weak[1], RecipientError::Malformed),
        (&weak[2], RecipientError::Malformed),
        (&RECIPIENT[..60], RecipientError::Malformed),
        ("", RecipientError::Malformed),
        ("ssh-ed25519 AAAA", RecipientError::Malformed),
    ] {
        assert_eq!(text.parse::<Recipient>(), Err(error));
        assert!(!format!("{error} {error:?} {}", error.next()).contains("GFPYY"));
    }
}

#[test]
fn identity_files_are_read_as_age_keygen_writes_them() {
    let (_, stranger) = other();
    let file = format!("# created: 2026-11-23T10:00:00Z\r\n# public key: {RECIPIENT}\r\n{IDENTITY}\r\n\r\n");
    let read = Identities::read(&file).unwrap();
    assert_eq!(format!("{read:?}"), "Identities(redacted)");
    let sealed = sealed(b"content");
    assert!(open(&read, &sealed).is_ok() && open(&stranger, &sealed).is_err());
    let (_, Identities(mut both)) = other();
    both.extend(read.0);
    assert!(open(&Identities(both), &sealed).is_ok(), "any of them will do");
    for (file, error) in [
        ("", IdentityError::Empty),
        ("# nothing\n\n", IdentityError::Empty),
        (RECIPIENT, IdentityError::Recipient { line: 1 }),
        ("#\nAGE-PLUGIN-YUBIKEY-1QQQQ", IdentityError::Line { line: 2 }),
        (&IDENTITY[..70], IdentityError::Line { line: 1 }),
        ("age-encryption.org/v1\n-> scrypt", IdentityError::Sealed),
        ("-----BEGIN AGE ENCRYPTED FILE-----", IdentityError::Sealed),
    ] {
        assert_eq!(Identities::read(file).unwrap_err(), error);
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~\n]{0,200}") {
        let _ = opened(&bytes);
        let _ = opened(format!("age-encryption.org/v1\n-> {text}").as_bytes());
        let _ = Identities::read(&text);
        let _ = text.parse::<Recipient>();
        let _ = format!("age1{text}").parse::<Recipient>();
    }
}
