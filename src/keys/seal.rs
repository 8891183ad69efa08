//! Sealing of the undo copy: a whole key store under the station's own key, bound to one device and one run.
//!
//! A sealed copy is a versioned file: magic, version, the station key's id, device id, run id, length, nonce, then
//! XChaCha20-Poly1305 of the content with everything before it as associated data. Where it is kept, and when it is
//! destroyed, is decided elsewhere.

use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    edge::Entropy,
    model::{DeviceId, RunId, Secret},
};

/// The key under which a station seals. It is kept in a file of its own, never beside the ledger.
pub struct StationKey(Secret<[u8; 32]>);

/// Why a sealed copy cannot be made or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The file does not start as sealed copies do.
    #[error("this is not a sealed copy")]
    NotSealed,
    /// A version that this program does not know.
    #[error("this copy was sealed in format {version}, which is newer than this program")]
    Newer {
        /// Its version.
        version: u8,
    },
    /// The file is shorter than it says of itself.
    #[error("the sealed copy is cut off")]
    CutOff,
    /// Sealed under another station key.
    #[error("the copy was sealed under another station key")]
    OtherKey,
    /// Sealed for another device.
    #[error("the copy was sealed for device {found}")]
    OtherDevice {
        /// That device.
        found: DeviceId,
    },
    /// Sealed in another run.
    #[error("the copy was sealed in run {found}")]
    OtherRun {
        /// That run.
        found: RunId,
    },
    /// Changed since it was sealed.
    #[error("the sealed copy is damaged")]
    Damaged,
    /// More than 4 GiB cannot be sealed.
    #[error("the content is too long to be sealed")]
    TooLong,
}

impl StationKey {
    /// Makes a new key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(key.as_mut());
        Self(Secret::new(*key))
    }

    /// The key of these bytes, as its file holds them.
    pub const fn new(bytes: Secret<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Tells keys apart without telling anything of the key.
    fn id(&self) -> [u8; 8] {
        let mut hash = Sha256::new();
        hash.update(b"keyrack station key id");
        hash.update(self.0.expose());
        let hash: [u8; 32] = hash.finalize().into();
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        id
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.expose().into())
    }
}

impl fmt::Debug for StationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StationKey(redacted)")
    }
}

/// Seals `content` for this device and run.
pub fn seal(key: &StationKey, device: DeviceId, run: RunId, content: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let len = u32::try_from(content.len()).map_err(|_| SealError::TooLong)?;
    let mut file = Vec::with_capacity(HEADER_LEN + content.len() + TAG_LEN);
    file.extend_from_slice(&MAGIC);
    file.push(VERSION);
    file.extend_from_slice(&key.id());
    file.extend_from_slice(device.bytes());
    file.extend_from_slice(run.0.as_bytes());
    file.extend_from_slice(&len.to_be_bytes());
    file.extend_from_slice(&nonce);
    let sealed = key
        .cipher()
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: content,
                aad: &file,
            },
        )
        .map_err(|_| SealError::TooLong)?;
    file.extend_from_slice(&sealed);
    Ok(file)
}

/// Opens a sealed copy; it must have been sealed for this device in this run.
pub fn open(key: &StationKey, device: DeviceId, run: RunId, file: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
    let rest = strip(file, &MAGIC)?;
    let ([version], rest) = take(rest)?;
    if version != VERSION {
        return Err(SealError::Newer { version });
    }
    let (key_id, rest) = take::<8>(rest)?;
    let (sealed_device, rest) = take::<12>(rest)?;
    let (sealed_run, rest) = take::<16>(rest)?;
    let (len, rest) = take::<4>(rest)?;
    let (nonce, sealed) = take::<NONCE_LEN>(rest)?;
    let wanted = usize::try_from(u32::from_be_bytes(len))
        .ok()
        .and_then(|len| len.checked_add(TAG_LEN));
    match wanted {
        Some(wanted) if sealed.len() < wanted => return Err(SealError::CutOff),
        Some(wanted) if sealed.len() == wanted => {}
        _ => return Err(SealError::Damaged),
    }
    if key_id != key.id() {
        return Err(SealError::OtherKey);
    }
    let content = key
        .cipher()
        .decrypt(
            &XNonce::from(nonce),
            Payload {
                msg: sealed,
                aad: &file[..HEADER_LEN],
            },
        )
        .map(Secret::new)
        .map_err(|_| SealError::Damaged)?;
    // Only what is authentic is believed: a changed id is damage, not another device.
    if sealed_device != *device.bytes() {
        return Err(SealError::OtherDevice {
            found: DeviceId::from_bytes(sealed_device),
        });
    }
    if sealed_run != *run.0.as_bytes() {
        return Err(SealError::OtherRun {
            found: RunId(uuid::Uuid::from_bytes(sealed_run)),
        });
    }
    Ok(content)
}

fn strip<'a>(file: &'a [u8], magic: &[u8]) -> Result<&'a [u8], SealError> {
    match file.strip_prefix(magic) {
        Some(rest) => Ok(rest),
        None if magic.starts_with(file) => Err(SealError::CutOff),
        None => Err(SealError::NotSealed),
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), SealError> {
    bytes
        .split_first_chunk()
        .map(|(head, rest)| (*head, rest))
        .ok_or(SealError::CutOff)
}

const MAGIC: [u8; 8] = *b"KRSEALED";
const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// Magic, version, key id, device, run, length, nonce.
const HEADER_LEN: usize = 8 + 1 + 8 + 12 + 16 + 4 + NONCE_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{edge::entropy::SystemEntropy, model::Wall};

    fn device(last: u8) -> DeviceId {
        DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 0, last])
    }

    fn run(last: u8) -> RunId {
        RunId::new(Wall::from_millis(1_790_000_000_000).unwrap(), [last; 10])
    }

    #[test]
    fn what_was_sealed_is_opened_by_the_same_key_for_the_same_device_and_run() {
        let (key, other) = (StationKey::generate(&SystemEntropy), StationKey::generate(&SystemEntropy));
        let content: Vec<u8> = (0..8391).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let file = seal(&key, device(1), run(1), &content, &SystemEntropy).unwrap();
        assert_eq!(file.len(), HEADER_LEN + content.len() + TAG_LEN);
        assert!(!file.windows(16).any(|window| content.starts_with(window)));
        assert_ne!(
            file,
            seal(&key, device(1), run(1), &content, &SystemEntropy).unwrap(),
            "a new nonce every time"
        );
        assert_eq!(*open(&key, device(1), run(1), &file).unwrap().expose(), content);
        let error = |key: &StationKey, d, r, file: &[u8]| open(key, d, r, file).unwrap_err();
        assert_eq!(error(&other, device(1), run(1), &file), SealError::OtherKey);
        assert_eq!(
            error(&key, device(2), run(1), &file),
            SealError::OtherDevice { found: device(1) }
        );
        assert_eq!(error(&key, device(1), run(2), &file), SealError::OtherRun { found: run(1) });
        let mut long = file.clone();
        long.push(0);
        assert_eq!(error(&key, device(1), run(1), &long), SealError::Damaged);
        assert_eq!(error(&key, device(1), run(1), b"PK\x03\x04"), SealError::NotSealed);
        let mut newer = file;
        newer[8] = 2;
        assert_eq!(error(&key, device(1), run(1), &newer), SealError::Newer { version: 2 });
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let key = StationKey::generate(&SystemEntropy);
        let file = seal(&key, device(1), run(1), b"old key store", &SystemEntropy).unwrap();
        for len in 0..file.len() {
            assert_eq!(
                open(&key, device(1), run(1), &file[..len]).unwrap_err(),
                SealError::CutOff,
                "{len} bytes"
            );
        }
        for bit in 0..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = open(&key, device(1), run(1), &bad).unwrap_err();
            let expected = match bit / 8 {
                0..8 => matches!(error, SealError::NotSealed),
                8 => matches!(error, SealError::Newer { .. }),
                9..17 => error == SealError::OtherKey,
                45..49 => matches!(error, SealError::CutOff | SealError::Damaged),
                _ => error == SealError::Damaged,
            };
            assert!(expected, "bit {bit}: {error:?}");
        }
    }

    #[test]
    fn a_station_key_is_its_bytes_and_is_never_shown() {
        let (one, same) = (StationKey::new(Secret::new([7; 32])), StationKey::new(Secret::new([7; 32])));
        let file = seal(&one, device(1), run(1), b"content", &SystemEntropy).unwrap();
        assert_eq!(open(&same, device(1), run(1), &file).unwrap().expose(), b"content");
        assert_eq!(format!("{one:?}"), "StationKey(redacted)");
    }
}
