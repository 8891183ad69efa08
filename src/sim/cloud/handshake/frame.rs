//! Frames after the RSA handshake: a length in two bytes, big endian, then AES-128-CBC with PKCS#7 padding.
//!
//! The initial vector of a frame is the *first* block of the frame before it in the same direction.

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};

use super::SECRET;

/// One direction of a connection.
pub struct Direction {
    key: [u8; 16],
    iv: [u8; 16],
}

/// Both directions, as either side holds them.
pub struct Session {
    /// What this side sends.
    pub out: Direction,
    /// What the other side sends.
    pub back: Direction,
    /// The next message id that the device uses.
    pub message_id: u16,
}

impl Session {
    /// The session of a secret: key, then initial vector of both directions, then salt, whose first two bytes, little
    /// endian, start the device's message ids.
    pub fn new(secret: &[u8; SECRET]) -> Self {
        let direction = || {
            let (mut key, mut iv) = ([0; 16], [0; 16]);
            key.copy_from_slice(&secret[..16]);
            iv.copy_from_slice(&secret[16..32]);
            Direction { key, iv }
        };
        Self {
            out: direction(),
            back: direction(),
            message_id: u16::from_le_bytes([secret[32], secret[33]]),
        }
    }
}

impl Direction {
    /// One message as a frame.
    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        let cipher = cbc::Encryptor::<aes::Aes128>::new(&self.key.into(), &self.iv.into());
        let sealed = cipher.encrypt_padded_vec::<Pkcs7>(message);
        self.iv.copy_from_slice(&sealed[..16]);
        let len = u16::try_from(sealed.len()).expect("messages are far shorter than 64 KiB");
        [&len.to_be_bytes()[..], &sealed].concat()
    }

    /// The message of one whole frame; `None` if it is none, or was sealed otherwise.
    pub fn open(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (len, sealed) = frame.split_at_checked(2)?;
        if usize::from(u16::from_be_bytes([len[0], len[1]])) != sealed.len() || sealed.is_empty() {
            return None;
        }
        let cipher = cbc::Decryptor::<aes::Aes128>::new(&self.key.into(), &self.iv.into());
        let message = cipher.decrypt_padded_vec::<Pkcs7>(sealed).ok()?;
        self.iv.copy_from_slice(&sealed[..16]);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_chain_by_the_first_block_and_lengths_are_those_of_the_reference() {
        let secret: [u8; SECRET] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let (mut device, mut server) = (Session::new(&secret), Session::new(&secret));
        assert_eq!(device.message_id, 0x2120);
        for len in [0, 1, 15, 16, 17, 64] {
            let message = vec![7; len];
            let frame = device.out.seal(&message);
            assert_eq!(frame.len(), 2 + (len & !15) + 16);
            assert_eq!(device.out.iv, frame[2..18]);
            assert_eq!(server.back.open(&frame).unwrap(), message);
        }
        let (one, two) = (device.out.seal(b"one"), device.out.seal(b"two"));
        let swapped = server.back.open(&two);
        assert!(swapped.is_none_or(|message| message != b"two"), "the order counts");
        assert!(server.back.open(&one[..10]).is_none() && server.back.open(&[]).is_none() && server.back.open(&[0, 0]).is_none());
    }
}
