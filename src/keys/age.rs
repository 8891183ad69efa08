//! The small part of the age format (age-encryption.org/v1) that the escrow needs: X25519 recipients, a payload of one
//! chunk, no armour. What is sealed here is opened by the program `age`, and what that program sealed anew for other
//! recipients is opened here.
//!
//! Own code on top of the arithmetic of `x25519-dalek`, because the crate `age` cannot be given a source of randomness
//! and brings 94 packages, among them second versions of most of what is here already.

use std::{fmt, str::FromStr};

use chacha20poly1305::{ChaCha20Poly1305, Nonce, aead::Aead};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use self::header::{Header, Stanza};
use crate::{edge::Entropy, model::Secret};

mod bech32;
mod header;

/// Somebody that can be sealed to: the public half of an identity, `age1…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient(PublicKey);

/// Why a text is not a recipient. The text is never shown: it may be an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// The secret half.
    #[error("this is the SECRET half of an age key; a recipient starts with \"age1\"")]
    Secret,
    /// A recipient for a plug-in, or of a newer kind.
    #[error("this kind of recipient is not known; one that `age-keygen` prints is needed")]
    Kind,
    /// Anything else.
    #[error("this is not an age recipient: one starts with \"age1\" and has 62 characters")]
    Malformed,
}

/// The secrets of one identity file.
pub struct Identities(Vec<StaticSecret>);

/// Why a file gives no identity. Nothing of it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A recipient stands where an identity should.
    #[error("line {line} is a recipient, which cannot open anything; an identity starts with \"AGE-SECRET-KEY-1\"")]
    Recipient {
        /// The line, from 1.
        line: usize,
    },
    /// The file itself is sealed under a passphrase.
    #[error("the identity file is sealed itself")]
    Sealed,
    /// A line that is no identity, or one of another kind.
    #[error("line {line} is not an identity of the kind that `age-keygen` makes")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// Comments and blank lines only.
    #[error("there is no identity in this file")]
    Empty,
}

/// Why a file cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    /// Not an age file.
    #[error("this is not an age file")]
    NotAge,
    /// An armoured age file.
    #[error("this age file is armoured")]
    Armored,
    /// A version of the format that this program does not know.
    #[error("this age file is in a newer format than version 1")]
    Newer,
    /// None of the identities is one that it was sealed to.
    #[error("this was sealed to another recipient")]
    OtherRecipient,
    /// Cut off, or changed since it was sealed.
    #[error("the age file is damaged")]
    Damaged,
    /// More than one chunk: nothing that the escrow holds is as long.
    #[error("this age file holds more than 64 KiB")]
    TooLong,
}

impl RecipientError {
    /// The one next action.
    pub const fn next(self) -> &'static str {
        match self {
            Self::Secret => "take this identity out of use: it was in a command line; make another with `age-keygen`",
            Self::Kind | Self::Malformed => "give the line \"public key\" that `age-keygen` prints",
        }
    }
}

impl IdentityError {
    /// The one next action.
    pub const fn next(self) -> &'static str {
        match self {
            Self::Sealed => "open it with `age --decrypt` first, on a disk that forgets",
            Self::Recipient { .. } | Self::Line { .. } | Self::Empty => "give the file that `age-keygen -o` wrote",
        }
    }
}

impl AgeError {
    /// The one next action.
    pub const fn next(self) -> &'static str {
        match self {
            Self::NotAge | Self::TooLong => "give the sealed file of the device",
            Self::Armored => "give the file without armour",
            Self::Newer => "seal it anew for an X25519 recipient with the program `age`",
            Self::OtherRecipient => "give the identity file that belongs to the recipient",
            Self::Damaged => "look for another copy of the sealed file",
        }
    }
}

impl Recipient {
    /// The recipient with this point; `None` for the few points with which nothing would be secret.
    fn of(point: [u8; 32]) -> Option<Self> {
        let point = PublicKey::from(point);
        // Any secret tells: they are all multiples of the order of those points.
        let shared = StaticSecret::from([1; 32]).diffie_hellman(&point);
        shared.was_contributory().then_some(Self(point))
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;
    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let text = text.trim();
        let begins = |prefix: &str| text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        if begins("AGE-SECRET-KEY-") || begins("AGE-PLUGIN-") {
            return Err(RecipientError::Secret);
        }
        let bytes = bech32::decode(PREFIX, text);
        match bytes.and_then(|bytes| bytes.as_slice().try_into().ok()).and_then(Self::of) {
            Some(recipient) => Ok(recipient),
            // Plug-ins and newer kinds have a prefix that goes on behind age's.
            None if begins("age1") && text[4..].contains('1') => Err(RecipientError::Kind),
            None => Err(RecipientError::Malformed),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(PREFIX, self.0.as_bytes()))
    }
}

impl Identities {
    /// Reads an identity file: one identity a line, blank lines and comments apart.
    pub fn read(file: &str) -> Result<Self, IdentityError> {
        let mut identities = Vec::new();
        for (i, text) in file.trim_start_matches('\u{feff}').lines().enumerate() {
            let (line, text) = (i + 1, text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE") {
                return Err(IdentityError::Sealed);
            }
            if text.parse::<Recipient>().is_ok() {
                return Err(IdentityError::Recipient { line });
            }
            let bytes = bech32::decode(SECRET_PREFIX, text).ok_or(IdentityError::Line { line })?;
            let bytes = <&[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| IdentityError::Line { line })?;
            identities.push(StaticSecret::from(*bytes));
        }
        if identities.is_empty() {
            return Err(IdentityError::Empty);
        }
        Ok(Self(identities))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identities(redacted)")
    }
}

/// Seals at most 64 KiB to recipients, each of whom can open it.
///
/// # Panics
/// If there is more, or nobody to open it: what the escrow holds has a few hundred bytes.
pub(super) fn seal(recipients: &[Recipient], content: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    assert!(
        content.len() <= CHUNK && !recipients.is_empty(),
        "one chunk is enough, and somebody opens it"
    );
    let (mut file_key, mut nonce) = (Zeroizing::new([0; 16]), [0; 16]);
    entropy.fill(file_key.as_mut());
    entropy.fill(&mut nonce);

    let stanzas: Vec<_> = recipients
        .iter()
        .map(|recipient| wrapped(recipient, &file_key, entropy))
        .collect();
    let mut file = header::write(X25519, &stanzas).into_bytes();
    let mac = header_mac(&file_key, &file).finalize().into_bytes();
    file.extend_from_slice(header::write_mac(&mac).as_bytes());
    file.extend_from_slice(&nonce);
    file.extend_from_slice(&encrypt(&payload_key(&file_key, &nonce), LAST_CHUNK, content));
    file
}

/// The file key, wrapped for a recipient: the share of the sender, and the key under it.
fn wrapped(recipient: &Recipient, file_key: &[u8; 16], entropy: &dyn Entropy) -> ([u8; 32], [u8; 32]) {
    let mut secret = Zeroizing::new([0; 32]);
    entropy.fill(secret.as_mut());
    let secret = StaticSecret::from(*secret);
    let share = PublicKey::from(&secret);
    let wrap = wrap_key(&secret, &recipient.0, &share, &recipient.0).expect("a recipient is a point of full order");
    let body = encrypt(&wrap, [0; 12], file_key);
    (
        *share.as_bytes(),
        body.try_into().expect("a file key and its tag have 32 bytes"),
    )
}

/// Opens what was sealed to one of these identities.
pub(super) fn open(identities: &Identities, file: &[u8]) -> Result<Secret<Vec<u8>>, AgeError> {
    let header = Header::read(file)?;
    // A passphrase vouches for who sealed, which another stanza beside it would take away.
    if header.stanzas.len() > 1 && header.stanzas.iter().any(|stanza| stanza.kind == "scrypt") {
        return Err(AgeError::Damaged);
    }
    let file_key = file_key(identities, &header.stanzas)?;
    header_mac(&file_key, header.covered)
        .verify_slice(&header.mac)
        .map_err(|_| AgeError::Damaged)?;
    let (nonce, chunk) = header.payload.split_first_chunk().ok_or(AgeError::Damaged)?;
    if chunk.len() > CHUNK + TAG {
        return Err(AgeError::TooLong);
    }
    decrypt(&payload_key(&file_key, nonce), LAST_CHUNK, chunk).ok_or(AgeError::Damaged)
}

/// The file key, from the first stanza that one of the identities opens.
fn file_key(identities: &Identities, stanzas: &[Stanza<'_>]) -> Result<Zeroizing<[u8; 16]>, AgeError> {
    for stanza in stanzas.iter().filter(|stanza| stanza.kind == X25519) {
        let share = match stanza.arguments[..] {
            [share] => header::exactly(share).map(PublicKey::from),
            _ => None,
        };
        // The length is checked before anything is tried, or the file could ask which key opens it.
        let share = share.filter(|_| stanza.body.len() == 32).ok_or(AgeError::Damaged)?;
        for secret in &identities.0 {
            let wrap = wrap_key(secret, &share, &share, &PublicKey::from(secret)).ok_or(AgeError::Damaged)?;
            if let Some(key) = decrypt(&wrap, [0; 12], &stanza.body) {
                let key = key.expose().as_slice().try_into().map_err(|_| AgeError::Damaged)?;
                return Ok(Zeroizing::new(key));
            }
        }
    }
    Err(AgeError::OtherRecipient)
}

/// The key under which a file key is wrapped; `None` if the other side's point would make it known to everybody.
fn wrap_key(secret: &StaticSecret, point: &PublicKey, share: &PublicKey, recipient: &PublicKey) -> Option<Key> {
    let shared = secret.diffie_hellman(point);
    let salt = [*share.as_bytes(), *recipient.as_bytes()].concat();
    shared
        .was_contributory()
        .then(|| hkdf(shared.as_bytes(), &salt, b"age-encryption.org/v1/X25519"))
}

fn payload_key(file_key: &[u8; 16], nonce: &[u8; 16]) -> Key {
    hkdf(file_key, nonce, b"payload")
}

fn header_mac(file_key: &[u8; 16], covered: &[u8]) -> Hmac<Sha256> {
    hmac(hkdf(file_key, &[], b"header").as_ref(), &[covered])
}

/// HKDF-SHA256 (RFC 5869) for the one length that age needs, which is one block.
fn hkdf(secret: &[u8], salt: &[u8], info: &[u8]) -> Key {
    let extracted = Zeroizing::new(<[u8; 32]>::from(hmac(salt, &[secret]).finalize().into_bytes()));
    Zeroizing::new(hmac(extracted.as_ref(), &[info, &[1]]).finalize().into_bytes().into())
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn encrypt(key: &Key, nonce: [u8; 12], content: &[u8]) -> Vec<u8> {
    cipher(key)
        .encrypt(&Nonce::from(nonce), content)
        .expect("the content is far shorter than the limit of the cipher")
}

fn decrypt(key: &Key, nonce: [u8; 12], content: &[u8]) -> Option<Secret<Vec<u8>>> {
    cipher(key).decrypt(&Nonce::from(nonce), content).ok().map(Secret::new)
}

fn cipher(key: &Key) -> ChaCha20Poly1305 {
    let key: &[u8; 32] = key;
    ChaCha20Poly1305::new(key.into())
}

type Key = Zeroizing<[u8; 32]>;

const PREFIX: &str = "age";
const SECRET_PREFIX: &str = "age-secret-key-";
const X25519: &str = "X25519";
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
/// The nonce of the first chunk, which is also the last one.
const LAST_CHUNK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

#[cfg(test)]
pub(super) mod tests;
