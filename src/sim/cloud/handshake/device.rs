//! The device's half of the RSA handshake, with the device's own error numbers.

use rsa::{BoxedUint, Pkcs1v15Encrypt, Pkcs1v15Sign, PublicKey};

use super::{
    ANSWER, EXCHANGE, NONCE, SECRET,
    frame::Session,
    hello::{self, Hello},
    slot::RsaSlot,
};
use crate::{
    edge::{Entropy, entropy::EntropyRng},
    model::DeviceId,
};

/// Why the device gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// The private key slot cannot be read at all.
    #[error("the device has no key to connect with")]
    NoKey,
    /// The server key in the device is no RSA-2048 key.
    #[error("the device's server key cannot be read")]
    NoServerKey,
    /// DECRYPTION_ERROR.
    #[error("the device could not decrypt the cloud's answer (error 6)")]
    Decryption,
    /// AUTHENTICATION_ERROR.
    #[error("the cloud's signature is not by the owner of the device's server key (error 8)")]
    Authentication,
    /// The cloud's HELLO did not come.
    #[error("the cloud's HELLO did not come")]
    NoHello,
}

/// The half that a device plays.
pub struct Device {
    id: DeviceId,
    key: RsaSlot,
    server: PublicKey,
}

impl Device {
    /// A device with these slots.
    ///
    /// # Errors
    /// If either cannot be used at all.
    pub fn new(id: DeviceId, private_slot: &[u8], server_slot: &[u8]) -> Result<Self, GivenUp> {
        let key = RsaSlot::read(private_slot).ok_or(GivenUp::NoKey)?;
        // The device takes the modulus from its place and knows the exponent.
        let modulus = server_slot.get(MODULUS_AT..MODULUS_AT + 256).ok_or(GivenUp::NoServerKey)?;
        let modulus = BoxedUint::from_be_slice_vartime(modulus);
        let server = PublicKey::new(modulus, BoxedUint::from(65_537u64)).map_err(|_| GivenUp::NoServerKey)?;
        Ok(Self { id, key, server })
    }

    /// Answers the server's nonce: nonce, id and public key, encrypted for the server.
    ///
    /// # Errors
    /// If the server key cannot encrypt.
    pub fn exchange(&self, nonce: &[u8; NONCE], entropy: &dyn Entropy) -> Result<[u8; EXCHANGE], GivenUp> {
        let plain = [&nonce[..], self.id.bytes(), &self.key.spki()].concat();
        let block = self
            .server
            .encrypt(&mut EntropyRng(entropy), Pkcs1v15Encrypt, &plain)
            .map_err(|_| GivenUp::NoServerKey)?;
        block.try_into().map_err(|_| GivenUp::NoServerKey)
    }

    /// Opens the server's answer.
    ///
    /// # Errors
    /// If it is not for this device's key, or not by the owner of its server key.
    pub fn accept(&self, answer: &[u8; ANSWER]) -> Result<Session, GivenUp> {
        let (block, signature) = answer.split_at(128);
        let plain = self.key.decrypt(block).ok_or(GivenUp::Decryption)?;
        let secret: [u8; SECRET] = super::unpad(&plain)
            .and_then(|plain| plain.try_into().ok())
            .ok_or(GivenUp::Decryption)?;
        let seal = super::seal_of(&secret, block);
        self.server
            .verify(Pkcs1v15Sign::new_unprefixed(), &seal, signature)
            .map_err(|_| GivenUp::Authentication)?;
        Ok(Session::new(&secret))
    }
}

/// The device's HELLO as a frame.
pub fn greet(session: &mut Session, hello: &Hello) -> Vec<u8> {
    let message = hello.encode(false, session.message_id);
    session.message_id = session.message_id.wrapping_add(1);
    session.out.seal(&message)
}

/// Reads the cloud's HELLO.
///
/// # Errors
/// If the frame does not open or holds something else.
pub fn greeted(session: &mut Session, frame: &[u8]) -> Result<(), GivenUp> {
    session
        .back
        .open(frame)
        .filter(|message| hello::is_reply(message))
        .map(drop)
        .ok_or(GivenUp::NoHello)
}

/// Where the modulus is in the SubjectPublicKeyInfo of an RSA-2048 key.
const MODULUS_AT: usize = 33;
