//! PEM as it arrives: with a byte order mark, in UTF-16, with CRLF, with blanks at the ends of lines and text around
//! it. Finding and decoding of blocks only: which of them may be used is decided by the readers of keys.
//!
//! A block may be a private key, so whatever is decoded here is overwritten when it is dropped.

use std::ops::Deref;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use crate::model::Secret;

/// A text in 8-bit characters.
pub(super) enum Text<'a> {
    /// As it came.
    Same(&'a [u8]),
    /// Turned from UTF-16, which is what a redirection in some shells writes.
    Turned(Zeroizing<Vec<u8>>),
}

impl<'a> Text<'a> {
    /// The text of a file. Characters outside of ASCII do not matter to anybody here.
    pub(super) fn of(file: &'a [u8]) -> Self {
        let unit: fn([u8; 2]) -> u16 = match file {
            [0xff, 0xfe, ..] => u16::from_le_bytes,
            [0xfe, 0xff, ..] => u16::from_be_bytes,
            _ => return Text::Same(file),
        };
        let (units, _) = file[2..].as_chunks::<2>();
        let mut text = Zeroizing::new(Vec::with_capacity(units.len()));
        text.extend(units.iter().map(|pair| u8::try_from(unit(*pair)).unwrap_or(b'?')));
        Text::Turned(text)
    }
}

impl Deref for Text<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Text::Same(text) => text,
            Text::Turned(text) => text,
        }
    }
}

/// A block between a BEGIN line and whatever follows.
pub(super) struct Block<'a> {
    /// Its label, such as `PUBLIC KEY`.
    pub(super) label: &'a [u8],
    /// What stands behind the BEGIN line, to the END line with the same label or to the next dashes.
    pub(super) body: &'a [u8],
    /// True if that END line is there.
    pub(super) whole: bool,
}

impl Block<'_> {
    /// The bytes in the block; `None` if it is not base64.
    pub(super) fn decode(&self) -> Option<Secret<Vec<u8>>> {
        base64(self.body)
    }
}

/// Every block of a text, in order.
pub(super) fn blocks(text: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let begin = find(rest, BEGIN)? + BEGIN.len();
        let label_end = begin + find(&rest[begin..], DASHES)?;
        let (label, behind) = (&rest[begin..label_end], &rest[label_end + DASHES.len()..]);
        let end = [END, label, DASHES].concat();
        let (body, whole) = match find(behind, &end) {
            Some(at) => (&behind[..at], true),
            None => (&behind[..find(behind, DASHES).unwrap_or(behind.len())], false),
        };
        rest = &behind[body.len()..];
        Some(Block { label, body, whole })
    })
}

/// Decodes base64 with blanks and line ends anywhere, padded or not.
pub(super) fn base64(text: &[u8]) -> Option<Secret<Vec<u8>>> {
    let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
    digits.extend(text.iter().filter(|b| !b.is_ascii_whitespace()));
    // Decoded into a buffer that is wiped, also where it ends in an error half-way.
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(digits.len())]);
    let len = BASE64.decode_slice(&*digits, &mut bytes).ok()?;
    bytes.truncate(len);
    Some(Secret::new(std::mem::take(&mut *bytes)))
}

/// Where `needle` first stands.
pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Vec<(String, Option<Vec<u8>>, bool)> {
        blocks(&Text::of(text))
            .map(|block| {
                let bytes = block.decode().map(|bytes| bytes.expose().clone());
                (String::from_utf8_lossy(block.label).into_owned(), bytes, block.whole)
            })
            .collect()
    }

    #[test]
    fn blocks_are_found_however_they_were_sent() {
        let plain = "Dear all,\n-----BEGIN A-----\naGVs\nbG8=\n-----END A-----\nregards\n";
        let hello = vec![("A".to_owned(), Some(b"hello".to_vec()), true)];
        let utf16 =
            |unit: fn(u16) -> [u8; 2]| -> Vec<u8> { format!("\u{feff}{plain}é").encode_utf16().flat_map(unit).collect() };
        for (text, how) in [
            (plain.as_bytes().to_vec(), "as written"),
            (plain.replace('\n', "\r\n").into_bytes(), "CRLF"),
            (plain.replace('\n', " \t\r\n  ").into_bytes(), "blanks"),
            (format!("\u{feff}{plain}").into_bytes(), "UTF-8 with a mark"),
            (plain.replace("bG8=", "bG8").into_bytes(), "no padding"),
            (utf16(u16::to_le_bytes), "UTF-16LE"),
            (utf16(u16::to_be_bytes), "UTF-16BE"),
        ] {
            assert_eq!(read(&text), hello, "{how}");
        }
        let two = format!("{plain}-----BEGIN B-----\n!\n-----END C-----\n-----BEGIN D-----\naGVsbG8=");
        let rest = [("B".to_owned(), None, false), ("D".to_owned(), hello[0].1.clone(), false)];
        assert_eq!(read(two.as_bytes()), [&hello[..], &rest].concat());
        assert_eq!(read(b"-----BEGIN "), []);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(parts in proptest::collection::vec(0usize..8, 0..30), bytes: Vec<u8>) {
            let words: [&[u8]; 8] = [BEGIN, END, DASHES, b"A", b"\n", b"aGVsbG8=", &[0xff, 0xfe], &bytes];
            read(&parts.iter().flat_map(|i| words[*i].to_vec()).collect::<Vec<_>>());
        }
    }
}
