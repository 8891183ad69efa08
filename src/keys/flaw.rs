//! What can be wrong with an encoded key: the vocabulary of every reader here. It names fields and lengths, never
//! their contents.

use crate::model::KeyKind;

/// Why bytes are not a usable key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The first byte is not that of a DER SEQUENCE.
    #[error("it does not start like a key (first byte {first:#04x}, expected 0x30)")]
    NotSequence {
        /// The first byte found.
        first: u8,
    },
    /// The bytes end before the structure does.
    #[error("it ends in the middle of {field}")]
    CutOff {
        /// The field that is not whole.
        field: &'static str,
    },
    /// Another element stands where a field should be.
    #[error("{field} is missing (found DER tag {found:#04x})")]
    Unexpected {
        /// The field that was expected.
        field: &'static str,
        /// The tag in its place.
        found: u8,
    },
    /// A structure version that no key of this kind has.
    #[error("it has a structure version that {kind} keys do not have")]
    Version {
        /// The kind that was expected.
        kind: KeyKind,
    },
    /// A number with more bytes than a key of this kind can have.
    #[error("{field} is longer than {limit} bytes")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The most bytes that it may have, without leading zeros.
        limit: usize,
    },
    /// An RSA modulus of another size.
    #[error("the modulus has {bits} bits, which no key of this use has")]
    ModulusSize {
        /// Its size in bits.
        bits: u32,
    },
    /// Another public exponent than 65537.
    #[error("the public exponent is not 65537")]
    Exponent,
    /// The numbers do not belong together.
    #[error("its numbers do not belong together: {rule} does not hold")]
    Arithmetic {
        /// The rule that is broken, as a formula.
        rule: &'static str,
    },
    /// A curve other than P-256.
    #[error("it is on another curve than P-256")]
    Curve,
    /// A private scalar outside of 1 to n-1.
    #[error("the private value is not between 1 and the order of the curve")]
    Scalar,
    /// A stored public point that is not the one of the private value.
    #[error("the stored public key does not belong to the private value")]
    PointMismatch,
}
