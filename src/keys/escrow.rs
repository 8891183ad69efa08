//! The escrow: a device's private key, sealed to an offline recipient, so that the station that wrote it cannot read
//! it. Off by default; whether it is used, and where its files are kept, is decided elsewhere.
//!
//! A sealed key is a file of the program `age`, so that it outlives this program. Its content is a text of five lines:
//!
//! ```text
//! keyrack escrow 1
//! device e00fce680123456789abcdef
//! kind p256
//! fingerprint (SHA-256 of the public key, 64 hexadecimal digits)
//! key (base64 of the DER in the device's own layout)
//! ```
//!
//! The device id is inside of the seal, and opening asks for it. The seal says nothing of who sealed: anybody can seal
//! to a recipient. That the key is this device's is known from its fingerprint in the ledger only.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

pub use super::age::{AgeError, Identities, IdentityError, Recipient, RecipientError};
use super::{PrivateKey, age, pem, slot};
use crate::{
    edge::Entropy,
    model::{DeviceId, Fingerprint, KeyKind, Secret},
};

/// Why a sealed key cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EscrowError {
    /// The seal cannot be opened.
    #[error("could not open the sealed key")]
    Seal(#[source] AgeError),
    /// Something else is sealed in it.
    #[error("there is no device key in this sealed file")]
    NotEscrow,
    /// A version that this program does not know.
    #[error("this key was sealed in a format that is newer than this program")]
    Newer,
    /// The key of another device.
    #[error("this is the sealed key of device {found}")]
    OtherDevice {
        /// That device.
        found: DeviceId,
    },
    /// The content does not agree with itself.
    #[error("the key in this sealed file is damaged")]
    Damaged,
}

impl EscrowError {
    /// The one next action.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::Seal(error) => error.next(),
            Self::NotEscrow | Self::OtherDevice { .. } => "give the sealed file of this device",
            Self::Newer => "use the newer keyrack",
            Self::Damaged => "look for another copy; if there is none, the device needs a new pair",
        }
    }
}

/// Seals a device's key to recipients, each of whom can open it.
///
/// # Panics
/// If there is none.
pub fn seal(key: &PrivateKey, device: DeviceId, recipients: &[Recipient], entropy: &dyn Entropy) -> Vec<u8> {
    let der = slot::device_layout(key);
    let (device, kind) = (device.to_string(), kind_word(key.kind()));
    let fingerprint = key.public().fingerprint.to_string();
    let before = [FORMAT, VERSION, DEVICE, &device, KIND, kind, FINGERPRINT, &fingerprint, KEY].concat();
    // Made at its full length and written in place: a text that grows leaves copies behind.
    let digits = base64::encoded_len(der.expose().len(), true).expect("a key is short");
    let mut content = Zeroizing::new(vec![b'\n'; before.len() + digits + 1]);
    let (head, tail) = content.split_at_mut(before.len());
    head.copy_from_slice(before.as_bytes());
    STANDARD.encode_slice(der.expose(), tail).expect("there is room for it");
    age::seal(recipients, &content, entropy)
}

/// Opens the sealed key of this device.
pub fn open(file: &[u8], identities: &Identities, device: DeviceId) -> Result<PrivateKey, EscrowError> {
    match open_any(file, identities)? {
        (found, key) if found == device => Ok(key),
        (found, _) => Err(EscrowError::OtherDevice { found }),
    }
}

/// Opens a sealed key, and tells of which device it is.
pub fn open_any(file: &[u8], identities: &Identities) -> Result<(DeviceId, PrivateKey), EscrowError> {
    let content = age::open(identities, file).map_err(EscrowError::Seal)?;
    read(content.expose())
}

/// Reads what was sealed.
fn read(content: &[u8]) -> Result<(DeviceId, PrivateKey), EscrowError> {
    let text = std::str::from_utf8(content).map_err(|_| EscrowError::NotEscrow)?;
    let rest = text.strip_prefix(FORMAT).ok_or(EscrowError::NotEscrow)?;
    if rest.lines().next() != Some(VERSION) {
        return Err(EscrowError::Newer);
    }
    let sealed = Sealed::read(rest).ok_or(EscrowError::Damaged)?;
    match slot::read(sealed.der.expose(), sealed.kind) {
        Ok((key, _)) if key.public().fingerprint == sealed.fingerprint => Ok((sealed.device, key)),
        _ => Err(EscrowError::Damaged),
    }
}

/// The content of a sealed file.
struct Sealed {
    device: DeviceId,
    kind: KeyKind,
    fingerprint: Fingerprint,
    der: Secret<Vec<u8>>,
}

impl Sealed {
    /// Reads what stands behind the name of the format.
    fn read(text: &str) -> Option<Self> {
        let (device, rest) = text.strip_prefix(VERSION)?.strip_prefix(DEVICE)?.split_once(KIND)?;
        let (kind, rest) = rest.split_once(FINGERPRINT)?;
        let (fingerprint, rest) = rest.split_once(KEY)?;
        Some(Self {
            device: device.parse().ok()?,
            kind: [KeyKind::Rsa1024, KeyKind::P256]
                .into_iter()
                .find(|known| kind_word(*known) == kind)?,
            fingerprint: fingerprint.parse().ok()?,
            der: pem::base64(rest.strip_suffix('\n')?.as_bytes())?,
        })
    }
}

const fn kind_word(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Rsa1024 => "rsa1024",
        KeyKind::P256 => "p256",
    }
}

const FORMAT: &str = "keyrack escrow ";
const VERSION: &str = "1";
const DEVICE: &str = "\ndevice ";
const KIND: &str = "\nkind ";
const FINGERPRINT: &str = "\nfingerprint ";
const KEY: &str = "\nkey ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        keys::{
            age::tests::{RECIPIENT, identities},
            ec_pair::EcPair,
            private::Pair,
        },
    };

    fn device(last: u8) -> DeviceId {
        DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 0, last])
    }

    fn recipient() -> Recipient {
        RECIPIENT.parse().unwrap()
    }

    fn opened(content: &str) -> Result<PrivateKey, EscrowError> {
        read(content.as_bytes()).map(|(_, key)| key)
    }

    /// The text inside of a sealed file.
    fn content(key: &PrivateKey) -> String {
        let file = seal(key, device(1), &[recipient()], &SystemEntropy);
        let content = age::open(&identities(), &file).unwrap();
        String::from_utf8(content.expose().clone()).unwrap()
    }

    #[test]
    fn a_sealed_key_comes_back_for_its_device_alone() {
        for (kind, len) in [(KeyKind::Rsa1024, 1216), (KeyKind::P256, 192)] {
            let key = PrivateKey::generate(kind, &SystemEntropy);
            let file = seal(&key, device(1), &[recipient()], &SystemEntropy);
            let again = open(&file, &identities(), device(1)).unwrap();
            assert_eq!(
                super::super::encode(&again, len).expose(),
                super::super::encode(&key, len).expose()
            );
            assert_eq!(
                open(&file, &identities(), device(2)).unwrap_err(),
                EscrowError::OtherDevice { found: device(1) }
            );
            let mut damaged = file.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert_eq!(
                open(&damaged, &identities(), device(1)).unwrap_err(),
                EscrowError::Seal(AgeError::Damaged)
            );
            // Neither key nor id can be seen from outside.
            let der = slot::device_layout(&key);
            assert!(
                !file
                    .windows(8)
                    .any(|window| der.expose().windows(8).any(|secret| secret == window))
            );
            assert!(pem::find(&file, device(1).to_string().as_bytes()).is_none());
        }
    }

    #[test]
    fn what_the_program_age_has_sealed_is_opened() {
        let key = PrivateKey(Pair::P256(EcPair::prove([0x5a; 32]).unwrap()));
        let file = STANDARD.decode(SEALED_BY_AGE).unwrap();
        assert_eq!(open(&file, &identities(), device(1)).unwrap().public(), key.public());
    }

    /// By version 1.1.1 of the program.
    const SEALED_BY_AGE: &str = "\
        YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB1VGFYSlJhMDltMDlxM3N5aTlzTmhYN24xc2xHUy9valM3eHhsNkFEMlJj\
        CjVFZkhpa0ppUytRSEFxaG40ZzBCdnRWVVNjalFOMWh3OWZxU3ZzRHZLSEEKLS0tIGJJbk1TMFBLOTZKSXpyNmplZVhRUUJ3T2hp\
        ZmVCdW1DdTV2K1V0bGhHN1kKoXewBEYKDxhRWMJZLc/0rUNOgYKC1oWtsjure/U9ZlKZ+ugDisw4YX1v7v81QihULM6V/mAtC6kI\
        +AreXtS1p1yPV/g1vaAykOqkwyjwRXWYUvJudPA5dqjhSUpKKaiiNVztQRzi9gdyWVD27RF8wIjxnJz3fs2v1b0WOQNS3TT7/QIP\
        5c2W7aaeOShJZCj50Nu9a6e0J/9DYjRJFm43SNh8om6MeLZHM8YuT4J5R8vvG3RiKtlnPoTXLx3S5h4q3amsQXKQ/HsKIhSTxFA+\
        8XJlF1dBiYw9LfKOyqUS8FN4gdZTfUnG70FjQQcVtPayFnhqg1bdrqaUOeAtoWMwC8ljegIfEhHBvx4OEwun4IBn4VW3arMBGzEk\
        o6BwrhMGfb2aR0bLIoZoXLKSJhbBf+s/eec1OvXjVe44Ifz5ydPYlVVSFbOAImWhaD+6kIaHEQ==";

    #[test]
    fn a_content_that_does_not_agree_with_itself_is_refused() {
        let (key, other) = (
            PrivateKey::generate(KeyKind::P256, &SystemEntropy),
            PrivateKey::generate(KeyKind::P256, &SystemEntropy),
        );
        let text = content(&key);
        assert_eq!(text.lines().count(), 5);
        assert_eq!(opened(&text).unwrap().public(), key.public());
        let fingerprint = |key: &PrivateKey| key.public().fingerprint.to_string();
        for (changed, error) in [
            (String::new(), EscrowError::NotEscrow),
            ("another text".to_owned(), EscrowError::NotEscrow),
            (text.replace("escrow 1", "escrow 2"), EscrowError::Newer),
            (text.replace("escrow 1", "escrow 10"), EscrowError::Newer),
            (text.replace(&fingerprint(&key), &fingerprint(&other)), EscrowError::Damaged),
            (text.replace("kind p256", "kind rsa1024"), EscrowError::Damaged),
            (text.replace("kind p256", "kind ed25519"), EscrowError::Damaged),
            (text.replace("device e", "device g"), EscrowError::Damaged),
            (text.replace("\nkey ", "\nkez "), EscrowError::Damaged),
            (format!("{text}more\n"), EscrowError::Damaged),
        ] {
            assert_eq!(
                opened(&changed).unwrap_err(),
                error,
                "{}",
                changed.lines().next().unwrap_or("")
            );
        }
        for cut in FORMAT.len() + 2..text.len() {
            assert_eq!(opened(&text[..cut]).unwrap_err(), EscrowError::Damaged, "{cut} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(text in "[ -~\n]{0,100}") {
            let _ = opened(&text);
            let _ = opened(&format!("{FORMAT}{VERSION}{DEVICE}{text}"));
            let id = device(1);
            let _ = opened(&format!("{FORMAT}{VERSION}{DEVICE}{id}{KIND}p256{FINGERPRINT}{text}{KEY}{text}\n"));
        }
    }
}
