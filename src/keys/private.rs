//! A device's private key in memory.

use std::fmt;

use super::{ec_pair::EcPair, rsa_pair::RsaPair, spki::Spki};
use crate::{
    edge::Entropy,
    model::{KeyKind, PublicKey},
};

/// A private key whose arithmetic was proved.
///
/// It cannot be cloned, shown or stored; its numbers are overwritten when it is dropped. Outside of this module it
/// serves two ends: its [public half](PrivateKey::public), and [`encode`](super::encode) for the slot of its device.
pub struct PrivateKey(pub(super) Pair);

/// The two kinds of pairs.
pub(super) enum Pair {
    Rsa1024(RsaPair),
    P256(EcPair),
}

impl PrivateKey {
    /// Makes a new pair.
    pub fn generate(kind: KeyKind, entropy: &dyn Entropy) -> Self {
        Self(match kind {
            KeyKind::Rsa1024 => Pair::Rsa1024(RsaPair::generate(entropy)),
            KeyKind::P256 => Pair::P256(EcPair::generate(entropy)),
        })
    }

    /// The kind of pair.
    pub const fn kind(&self) -> KeyKind {
        match self.0 {
            Pair::Rsa1024(_) => KeyKind::Rsa1024,
            Pair::P256(_) => KeyKind::P256,
        }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Pair::Rsa1024(pair) => Spki::rsa(&pair.n),
            Pair::P256(pair) => Spki::p256(&pair.point),
        }
        .public_key()
        .expect("a device pair has one of the two kinds")
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, redacted)", self.kind())
    }
}
