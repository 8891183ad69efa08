//! Bech32, the writing of age's recipients and identities (BIP 173, without its limit on the length).

use zeroize::Zeroizing;

/// Writes bytes behind a prefix in lower case.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut values = regroup(bytes, 8, 5, true).expect("filling up never fails");
    let mut sum = checksum(prefix, &values);
    sum = polymod(sum, [0; 6]) ^ 1;
    values.extend((0..6).map(|i| low(sum >> (5 * (5 - i)), 5)));
    let digits = values.iter().map(|value| char::from(CHARSET[usize::from(*value)]));
    prefix.chars().chain(['1']).chain(digits).collect()
}

/// Reads the bytes behind this prefix, which is given in lower case; the text may be in either case, but in one only.
/// `None` if anything is wrong with it.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let one_case = !(text.contains(|c: char| c.is_ascii_lowercase()) && text.contains(|c: char| c.is_ascii_uppercase()));
    // The last separator counts; the digits themselves have none.
    let (before, digits) = text.rsplit_once('1').filter(|_| one_case)?;
    if !before.eq_ignore_ascii_case(prefix) {
        return None;
    }
    let mut values = Zeroizing::new(Vec::with_capacity(digits.len()));
    for digit in digits.bytes() {
        let value = CHARSET.iter().position(|known| *known == digit.to_ascii_lowercase())?;
        values.push(u8::try_from(value).expect("there are 32 digits"));
    }
    let data = values.len().checked_sub(6)?;
    if checksum(prefix, &values) != 1 {
        return None;
    }
    regroup(&values[..data], 5, 8, false)
}

/// Turns groups of `from` bits into groups of `to` bits. Left-over bits are filled up with zeros, or must be zero and
/// fewer than one group.
fn regroup(groups: &[u8], from: u32, to: u32, fill: bool) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(groups.len() * 8 / 5 + 8));
    let (mut held, mut bits) = (0u32, 0);
    for group in groups {
        held = held << from | u32::from(*group);
        bits += from;
        while bits >= to {
            bits -= to;
            out.push(low(held >> bits, to));
        }
        held &= (1 << bits) - 1;
    }
    match (fill, bits) {
        (true, 0) => {}
        (true, _) => out.push(low(held << (to - bits), to)),
        (false, _) if bits >= from || held != 0 => return None,
        (false, _) => {}
    }
    Some(out)
}

fn low(value: u32, bits: u32) -> u8 {
    u8::try_from(value & ((1 << bits) - 1)).expect("at most eight bits are asked for")
}

/// The checksum over prefix and values; 1 if the values end with a right one.
fn checksum(prefix: &str, values: &[u8]) -> u32 {
    let high = prefix.bytes().map(|b| b >> 5);
    let low = prefix.bytes().map(|b| b & 31);
    polymod(1, high.chain([0]).chain(low).chain(values.iter().copied()))
}

fn polymod(start: u32, values: impl IntoIterator<Item = u8>) -> u32 {
    values.into_iter().fold(start, |sum, value| {
        let top = sum >> 25;
        let taps = GENERATOR.iter().enumerate().filter(|(i, _)| top >> i & 1 == 1);
        taps.fold((sum & 0x01ff_ffff) << 5 ^ u32::from(value), |sum, (_, tap)| sum ^ tap)
    })
}

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_examples_are_read_and_the_broken_ones_refused() {
        // BIP 173: valid checksums, in either case.
        for (prefix, text, len) in [
            ("a", "A12UEL5L", 0),
            ("a", "a12uel5l", 0),
            ("abcdef", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", 20),
            ("split", "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w", 30),
        ] {
            let bytes = decode(prefix, text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(bytes.len(), len, "{text}");
            assert_eq!(encode(prefix, &bytes), text.to_lowercase());
        }
        for text in [
            "a12UEL5L",
            "A1G7SGD8",
            "a1",
            "a",
            "",
            "a12uel5",
            "b12uel5l",
            "a12uel5b",
            "é12uel5l",
            "a12uel5é",
        ] {
            assert_eq!(decode("a", text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            let text = encode("age", &bytes);
            prop_assert_eq!(&*decode("age", &text).unwrap(), &bytes);
            prop_assert_eq!(&*decode("age", &text.to_uppercase()).unwrap(), &bytes);
        }

        #[test]
        fn one_wrong_digit_is_found(at in 0usize..58, to in 0usize..32) {
            let text = encode("age", &[7; 32]);
            let mut wrong = text.clone().into_bytes();
            let place = &mut wrong[4 + at];
            prop_assume!(*place != CHARSET[to]);
            *place = CHARSET[to];
            prop_assert_eq!(decode("age", std::str::from_utf8(&wrong).unwrap()), None);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = decode("age", &text);
            let _ = decode("age", &format!("age1{text}"));
        }
    }
}
