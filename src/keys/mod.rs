//! Key pairs: making them, reading them as devices write them, proving them, writing them, sealing copies.
//!
//! This module is pure: it gets bytes and gives bytes, and randomness is handed in. It knows the encodings of
//! device-protocol.md 4.3, 4.5 and 4.8 and nothing of USB, files or the cloud. Private values live in [`PrivateKey`] and
//! [`Secret`](crate::model::Secret) only; no error of this module shows a byte of one.
//!
//! The readers are keyrack's own because strict DER readers refuse most keys that devices have made themselves; the
//! arithmetic is that of the crates `rsa`, `p256` and, for the [escrow], `x25519-dalek`.

pub mod escrow;
pub mod exchange;
pub mod flaw;
pub mod helper_record;
pub mod packet;
pub mod pin;
pub mod private;
pub mod private_file;
pub mod private_form;
pub mod public;
pub mod seal;
pub mod server;
pub mod server_exam;
pub mod slot;

mod age;
mod der;
mod early_rsa;
mod ec_pair;
mod pem;
mod production;
mod rsa_numbers;
mod rsa_pair;
mod server_address;
mod signature;
mod spki;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod cross_check;

pub use flaw::Flaw;
pub use private::PrivateKey;
pub use private_file::{PrivateFileError, read_private};
pub use private_form::PrivateForm;
pub use public::{PublicKeyError, parse_public, parse_public_of, public_pem};
pub use rsa_numbers::RsaNumbers;
pub use seal::{SealError, StationKey, open, seal};
pub use server::{ServerAddress, ServerFound};
pub use slot::{classify, device_view, encode};
