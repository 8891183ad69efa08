//! A reader for the little of DER that keys need, as tolerant as the devices' own: lengths need not be minimal,
//! numbers may have leading zeros, and what follows the outermost element is ignored.

use super::Flaw;

/// DER tag of INTEGER.
pub(super) const INTEGER: u8 = 0x02;
/// DER tag of BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;
/// DER tag of OCTET STRING.
pub(super) const OCTET_STRING: u8 = 0x04;
/// DER tag of OBJECT IDENTIFIER.
pub(super) const OBJECT_ID: u8 = 0x06;
/// DER tag of SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;

/// What is left of a DER structure.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The inside of the SEQUENCE that `bytes` start with; what follows the SEQUENCE is ignored.
    pub(super) fn sequence(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let first = *bytes.first().ok_or(Flaw::CutOff { field: "the key" })?;
        if first != SEQUENCE {
            return Err(Flaw::NotSequence { first });
        }
        let mut whole = Reader { rest: bytes };
        let inside = whole.take(SEQUENCE, "the key")?;
        Ok(Reader { rest: inside })
    }

    /// The inside of the SEQUENCE that `bytes` start with, as far as it is there: for what may be cut off.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let (header, len) = header(bytes).filter(|_| bytes[0] == SEQUENCE)?;
        let rest = bytes.get(header..)?;
        Some(Reader {
            rest: &rest[..len.min(rest.len())],
        })
    }

    /// The tag of the next element, if there is one.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The tag of the element behind the next one, if both are whole.
    pub(super) fn peek_second(mut self) -> Option<u8> {
        let tag = self.peek()?;
        self.take(tag, "").ok()?;
        self.peek()
    }

    /// Takes the next element, which must have this tag, and returns what is inside of it.
    pub(super) fn take(&mut self, tag: u8, field: &'static str) -> Result<&'a [u8], Flaw> {
        let found = self.peek().ok_or(Flaw::CutOff { field })?;
        if found != tag {
            return Err(Flaw::Unexpected { field, found });
        }
        let (header, len) = header(self.rest).ok_or(Flaw::CutOff { field })?;
        let end = header.checked_add(len).filter(|end| *end <= self.rest.len());
        let end = end.ok_or(Flaw::CutOff { field })?;
        let inside = &self.rest[header..end];
        self.rest = &self.rest[end..];
        Ok(inside)
    }

    /// Takes the next element if it has this tag.
    pub(super) fn take_if(&mut self, tag: u8, field: &'static str) -> Result<Option<&'a [u8]>, Flaw> {
        if self.peek() == Some(tag) {
            self.take(tag, field).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A reader over the inside of an element.
    pub(super) const fn inside(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }
}

/// How many bytes the SEQUENCE at the start of `bytes` takes; `None` if there is none or it does not end within them.
/// Only these bytes of a slot are the key: a device leaves the bytes behind them as they were.
pub(super) fn der_length(bytes: &[u8]) -> Option<usize> {
    if *bytes.first()? != SEQUENCE {
        return None;
    }
    let (header, len) = header(bytes)?;
    header.checked_add(len).filter(|end| *end <= bytes.len())
}

/// Drops leading zeros and checks that what is left fits into `N` bytes; shorter numbers are padded on the left.
pub(super) fn number<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], Flaw> {
    let digits = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
    let mut number = [0; N];
    let start = N.checked_sub(digits.len()).ok_or(Flaw::TooLong { field, limit: N })?;
    number[start..].copy_from_slice(digits);
    Ok(number)
}

/// Length of the header of the element at the start of `bytes`, and of its inside. At most four length bytes, as in
/// the reader of the devices.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let len = bytes.get(2..2 + count)?.iter().fold(0u32, |len, b| len << 8 | u32::from(*b));
    Some((2 + count, usize::try_from(len).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_may_be_longer_than_needed_and_never_run_over() {
        assert_eq!(der_length(&[0x30, 0x82, 0, 1, 7, 0xff]), Some(5));
        assert_eq!(der_length(&[0x30, 2, 7]), None, "does not end within the buffer");
        assert_eq!(der_length(&[0x31, 0]), None);
        assert_eq!(der_length(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(
            der_length(&[0x30, 0x85, 0, 0, 0, 0, 0, 0]),
            None,
            "no more than four length bytes"
        );
        assert_eq!(der_length(&[0x30, 0x80]), None, "indefinite lengths are not DER");
        assert_eq!(number::<2>(&[0, 0, 0, 5], "x"), Ok([0, 5]));
        assert_eq!(number::<2>(&[0, 1, 0, 5], "x"), Err(Flaw::TooLong { field: "x", limit: 2 }));
        assert_eq!(number::<2>(&[], "x"), Ok([0, 0]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = der_length(&bytes);
            if let Ok(mut reader) = Reader::sequence(&bytes) {
                while let Some(tag) = reader.peek() {
                    if reader.take(tag, "field").is_err() { break; }
                }
            }
        }
    }
}
