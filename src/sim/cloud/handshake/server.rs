//! The cloud's half of the RSA handshake.

use rsa::{BoxedUint, Pkcs1v15Encrypt, Pkcs1v15Sign, PrivateKey, PublicKey};

use super::{
    super::spki,
    EXCHANGE, NONCE, SECRET,
    frame::Session,
    hello::{self, Hello},
};
use crate::{
    edge::{Entropy, entropy::EntropyRng},
    model::DeviceId,
};

/// Why the cloud closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The first message was not encrypted for this server's key.
    #[error("the cloud could not decrypt the device's first message: the device holds another server key")]
    Undecipherable,
    /// It was, but does not answer this nonce.
    #[error("the device answered another nonce")]
    WrongNonce,
    /// The device is not known or has no key registered.
    #[error("the cloud has no key registered for this device")]
    Unknown,
    /// The device sent another key than the registered one.
    #[error("the device's key is not the one registered for it")]
    OtherKey,
    /// The registered key is not one of RSA-1024.
    #[error("the key registered for this device is not an RSA key")]
    NotRsa,
    /// What follows the handshake is no HELLO.
    #[error("the device's HELLO cannot be read")]
    NoHello,
}

/// The half after its nonce was sent.
pub struct Server {
    key: PrivateKey,
    nonce: [u8; NONCE],
}

/// Who is calling, by its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The device id.
    pub id: DeviceId,
    /// The public key that it sent, SubjectPublicKeyInfo; very old firmware sends none.
    pub key: Option<Vec<u8>>,
}

impl Server {
    /// Starts with a fresh nonce, which is the first message.
    pub fn new(key: PrivateKey, entropy: &dyn Entropy) -> (Self, [u8; NONCE]) {
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce);
        (Self { key, nonce }, nonce)
    }

    /// Reads the device's first message.
    ///
    /// # Errors
    /// If it is not for this server or this nonce.
    pub fn read(&self, exchange: &[u8; EXCHANGE]) -> Result<Caller, Closed> {
        let block = super::raw_decrypt(&self.key, exchange).ok_or(Closed::Undecipherable)?;
        let plain = super::unpad(&block)
            .filter(|plain| plain.len() >= NONCE + 12)
            .ok_or(Closed::Undecipherable)?;
        let (nonce, rest) = plain.split_at(NONCE);
        if nonce != self.nonce {
            return Err(Closed::WrongNonce);
        }
        let (id, key) = rest.split_at(12);
        let id = DeviceId::from_bytes(id.try_into().expect("the split is after twelve bytes"));
        Ok(Caller {
            id,
            key: (!key.is_empty()).then(|| key.to_vec()),
        })
    }

    /// Answers a caller whose registered key this is: the session secret for that key, and the proof that it comes from
    /// the owner of the server key.
    ///
    /// # Errors
    /// If there is no such key, or the caller sent another.
    pub fn answer(
        &self,
        caller: &Caller,
        registered: Option<&[u8]>,
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, Session), Closed> {
        let registered = registered.ok_or(Closed::Unknown)?;
        if caller.key.as_ref().is_some_and(|sent| sent != registered) {
            return Err(Closed::OtherKey);
        }
        let modulus = spki::rsa_modulus(registered).ok_or(Closed::NotRsa)?;
        let key =
            PublicKey::new(BoxedUint::from_be_slice_vartime(modulus), BoxedUint::from(65_537u64)).map_err(|_| Closed::NotRsa)?;
        let mut secret = [0; SECRET];
        entropy.fill(&mut secret);
        let block = key
            .encrypt(&mut EntropyRng(entropy), Pkcs1v15Encrypt, &secret)
            .map_err(|_| Closed::NotRsa)?;
        let seal = super::seal_of(&secret, &block);
        let signature = self
            .key
            .sign(Pkcs1v15Sign::new_unprefixed(), &seal)
            .expect("20 bytes fit into 2048 bits");
        Ok(([block, signature].concat(), Session::new(&secret)))
    }
}

/// Reads the device's HELLO and gives the frame that answers it.
///
/// # Errors
/// If the frame does not open or holds something else.
pub fn greet(session: &mut Session, frame: &[u8]) -> Result<(Hello, Vec<u8>), Closed> {
    let message = session.back.open(frame).ok_or(Closed::NoHello)?;
    let (hello, message_id) = Hello::decode(&message).ok_or(Closed::NoHello)?;
    Ok((hello, session.out.seal(&hello::reply(message_id))))
}
