//! The handshakes between devices and the cloud, each as two halves that know nothing of each other or of sockets.
//!
//! * RSA over TCP, byte for byte as devices do it (cloud-api.md 7.1): [`server`], [`device`], [`frame`], [`hello`].
//! * [`proof`]: **not the vendor's protocol.** A challenge and response that stands in for DTLS on the other platforms; it
//!   proves the same thing, that device and cloud hold the private halves of the keys that they expect of each other.

pub mod device;
pub mod frame;
pub mod hello;
pub mod proof;
pub mod server;
pub mod slot;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Length of the nonce that the server starts with.
pub const NONCE: usize = 40;
/// Length of the device's first message: one RSA-2048 block.
pub const EXCHANGE: usize = 256;
/// Length of the server's answer: one RSA-1024 block and a signature of RSA-2048.
pub const ANSWER: usize = 128 + 256;
/// Length of the session secret.
pub const SECRET: usize = 40;

/// What the server signs: HMAC-SHA1 under the session secret over the block that carries it.
fn seal_of(secret: &[u8; SECRET], block: &[u8]) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(block);
    mac.finalize().into_bytes().into()
}

/// Takes the padding of RSAES-PKCS1-v1_5 off a decrypted block, or `None` if there is none. Own code: the crate's
/// decryption gives random bytes for a bad padding, and devices report it.
fn unpad(block: &[u8]) -> Option<&[u8]> {
    let rest = block.strip_prefix(&[0, 2])?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    (end >= 8).then(|| &rest[end + 1..])
}

/// The raw RSA private operation without padding.
fn raw_decrypt(key: &rsa::PrivateKey, block: &[u8]) -> Option<Vec<u8>> {
    use rsa::traits::PublicKeyParts;
    let bits = key.n_bits_precision();
    let number = rsa::BoxedUint::from_be_slice(block, bits).ok()?;
    let plain = rsa::hazmat::rsa_decrypt(NO_BLINDING, key, &number).ok()?;
    let bytes = plain.to_be_bytes();
    // The number is stored in whole words: the block is its end.
    bytes.len().checked_sub(block.len()).map(|start| bytes[start..].to_vec())
}

/// Nobody measures the time that a simulated key takes.
const NO_BLINDING: Option<&mut getrandom::SysRng> = None;
