//! The manifest of a packet: the proof that the key on its way was in the device that it is said to be of.
//!
//! The cloud takes any key for any device, so the key of device B, sent for A, breaks A. The device's own private key
//! therefore signs its device id while it is in hand: whoever has the public key can verify that, and needs to trust
//! no station. It says nothing of who sent the packet, or whether the device may have a new key.
//!
//! # Format 1
//!
//! A JSON object with exactly these members:
//!
//! | member | value |
//! |---|---|
//! | `packet` | 1, the version of the format |
//! | `device` | 24 lower-case hexadecimal digits |
//! | `platform` | the platform's name, such as `boron` |
//! | `kind` | `p256` or `rsa1024` |
//! | `fingerprint` | SHA-256 of the SubjectPublicKeyInfo DER, 64 lower-case hexadecimal digits |
//! | `station` | the station's name |
//! | `at` | when it was signed, RFC 3339 in UTC |
//! | `signature` | base64 |
//!
//! What is signed is seven texts, each as its length in bytes (four bytes, big endian) and its UTF-8: the label
//! `keyrack packet 1`, then the values of `device`, `platform`, `kind`, `fingerprint`, `station` and `at` as they stand
//! in the document. P-256 signs with ECDSA and SHA-256, written as DER; RSA-1024 with PKCS#1 v1.5 and SHA-256: what
//! `openssl dgst -sha256 -verify ID.pub.pem -signature FILE` takes.

pub mod check;
pub mod list;

use std::iter;

use serde_json::Value;

use super::{PrivateForm, PrivateKey, signature, spki::Spki};
use crate::model::{DeviceId, Fingerprint, KeyKind, Platform, PublicKey, StationId, Wall, packet::Manifest};

/// Why a manifest does not prove anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// A private key where a manifest should be. Nothing of it was kept.
    #[error("this is a PRIVATE key: {form}; nothing of it was kept or sent")]
    Private {
        /// In which form.
        form: PrivateForm,
    },
    /// Not a manifest, or one that was changed on its way.
    #[error("this is not the manifest of a packet, or it is damaged")]
    Damaged,
    /// A version that this program does not know.
    #[error("this manifest has format {version}, which is newer than this program")]
    Newer {
        /// Its version.
        version: u64,
    },
    /// It was signed for another device.
    #[error("the key was signed for device {found}")]
    OtherDevice {
        /// That device.
        found: DeviceId,
    },
    /// It is about another key.
    #[error("the manifest is of key {}, and the key given is {}", found.short(), given.short())]
    OtherKey {
        /// The key of the manifest.
        found: Fingerprint,
        /// The key that came with it.
        given: Fingerprint,
    },
    /// It calls the key by a kind that it is not of.
    #[error("the manifest calls the key {found}, and it is {given}")]
    OtherKind {
        /// The kind of the manifest.
        found: KeyKind,
        /// The kind of the key.
        given: KeyKind,
    },
    /// The key did not sign this.
    #[error("the signature of the manifest is not that of the key")]
    Signature,
}

impl PacketError {
    /// The one next action.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::Private { .. } => {
                "have every copy of this file destroyed and ask for the public half: whoever has the private one can be the device"
            }
            Self::Newer { .. } => "use the newer keyrack",
            Self::OtherDevice { .. } | Self::OtherKey { .. } => "look whether manifest, key and device id belong together",
            Self::Damaged | Self::OtherKind { .. } | Self::Signature => {
                "do not register the key; ask for a new packet, made with the device in hand"
            }
        }
    }
}

/// Signs the manifest of a device's key with that key. The device must be in hand, and its id read from it.
pub fn sign(key: &PrivateKey, device: DeviceId, platform: Platform, station: StationId, at: Wall) -> Manifest {
    let mut manifest = Manifest {
        packet: VERSION,
        device,
        platform,
        kind: key.kind(),
        fingerprint: key.public().fingerprint,
        station,
        at,
        signature: Vec::new(),
    };
    manifest.signature = signature::sign(key, &signed(&manifest));
    manifest
}

/// Verifies that the owner of this key signed it for this device.
pub fn verify(manifest: &Manifest, device: DeviceId, key: &PublicKey) -> Result<(), PacketError> {
    if manifest.packet != VERSION {
        return Err(wrong_version(manifest.packet.into()));
    }
    if manifest.device != device {
        return Err(PacketError::OtherDevice { found: manifest.device });
    }
    // Computed again: the fingerprint beside a key is somebody's word.
    let spki = Spki::read(&key.spki).map_err(|_| PacketError::Signature)?;
    let (found, given) = (manifest.fingerprint, spki.fingerprint());
    if found != given {
        return Err(PacketError::OtherKey { found, given });
    }
    if let Some(given) = spki.device_kind().filter(|kind| *kind != manifest.kind) {
        return Err(PacketError::OtherKind {
            found: manifest.kind,
            given,
        });
    }
    if signature::verifies(&spki, &signed(manifest), &manifest.signature) {
        Ok(())
    } else {
        Err(PacketError::Signature)
    }
}

/// Reads a manifest from its file. It proves nothing before it is [verified](verify).
pub fn read(file: &[u8]) -> Result<Manifest, PacketError> {
    if let Some(form) = PrivateForm::of(file) {
        return Err(PacketError::Private { form });
    }
    let json = file.strip_prefix("\u{feff}".as_bytes()).unwrap_or(file);
    let document: Value = serde_json::from_slice(json).map_err(|_| PacketError::Damaged)?;
    let version = document.get("packet").and_then(Value::as_u64).ok_or(PacketError::Damaged)?;
    if version != u64::from(VERSION) {
        return Err(wrong_version(version));
    }
    let manifest: Manifest = serde_json::from_value(document.clone()).map_err(|_| PacketError::Damaged)?;
    // One spelling only: what is signed are the texts as they stand in the document.
    if to_value(&manifest) == document {
        Ok(manifest)
    } else {
        Err(PacketError::Damaged)
    }
}

/// The manifest as the text of its file.
pub fn to_json(manifest: &Manifest) -> String {
    let mut text = serde_json::to_string_pretty(manifest).expect("a manifest is plain data");
    text.push('\n');
    text
}

const fn wrong_version(version: u64) -> PacketError {
    match version {
        0 => PacketError::Damaged,
        _ => PacketError::Newer { version },
    }
}

/// The bytes that are signed.
fn signed(manifest: &Manifest) -> Vec<u8> {
    let document = to_value(manifest);
    let texts = SIGNED
        .iter()
        .map(|member| document[*member].as_str().expect("these members are texts"));
    let mut bytes = Vec::new();
    for text in iter::once(LABEL).chain(texts) {
        let len = u32::try_from(text.len()).expect("no name is as long as 4 GiB");
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

fn to_value(manifest: &Manifest) -> Value {
    serde_json::to_value(manifest).expect("a manifest is plain data")
}

const VERSION: u32 = 1;
/// Tells these signatures from all others that the key may make, as in a handshake.
const LABEL: &str = "keyrack packet 1";
/// The members that are signed, in order.
const SIGNED: [&str; 6] = ["device", "platform", "kind", "fingerprint", "station", "at"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        keys::{ec_pair::EcPair, private::Pair},
    };

    fn device(last: u8) -> DeviceId {
        DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 0, last])
    }

    fn made(kind: KeyKind) -> (Manifest, PublicKey) {
        let key = PrivateKey::generate(kind, &SystemEntropy);
        let platform = match kind {
            KeyKind::Rsa1024 => Platform::Photon,
            KeyKind::P256 => Platform::Boron,
        };
        let at = Wall::parse("2026-11-23T10:00:00.250Z").unwrap();
        let station = StationId("bench \"7\", Zürich".to_owned());
        (sign(&key, device(1), platform, station, at), key.public())
    }

    #[test]
    fn what_was_signed_verifies_for_that_device_and_key_alone() {
        for kind in [KeyKind::Rsa1024, KeyKind::P256] {
            let (manifest, key) = made(kind);
            let (other, other_key) = made(kind);
            assert_eq!(verify(&manifest, device(1), &key), Ok(()));
            assert_eq!(
                verify(&manifest, device(2), &key),
                Err(PacketError::OtherDevice { found: device(1) })
            );
            assert_eq!(
                verify(&manifest, device(1), &other_key),
                Err(PacketError::OtherKey {
                    found: key.fingerprint,
                    given: other_key.fingerprint
                })
            );
            // The key of B with a proof that A's owner made for A.
            let mut stolen = manifest.clone();
            stolen.fingerprint = other_key.fingerprint;
            assert_eq!(verify(&stolen, device(1), &other_key), Err(PacketError::Signature));
            stolen.signature = other.signature;
            assert_eq!(
                verify(&stolen, device(1), &other_key),
                Ok(()),
                "everything but the signature was the same"
            );
            stolen.device = device(2);
            assert_eq!(verify(&stolen, device(2), &other_key), Err(PacketError::Signature));
        }
    }

    #[test]
    fn what_was_released_is_written_and_read_for_ever() {
        let key = PrivateKey(Pair::P256(EcPair::prove([0x5a; 32]).unwrap()));
        let at = Wall::parse("2026-11-23T10:00:00.250Z").unwrap();
        let made = sign(&key, device(1), Platform::Boron, StationId("bench".to_owned()), at);
        assert_eq!(to_json(&made), RELEASED);
        assert_eq!(verify(&read(RELEASED.as_bytes()).unwrap(), device(1), &key.public()), Ok(()));
    }

    const RELEASED: &str = r#"{
  "packet": 1,
  "device": "e00fce680000000000000001",
  "platform": "boron",
  "kind": "p256",
  "fingerprint": "7c33f3112d30532379e18658d8b2a9349c39cdd8bf8cfd3ce043467d033156bf",
  "station": "bench",
  "at": "2026-11-23T10:00:00.25Z",
  "signature": "MEUCIAt3fIeDkZb4q9wl8Jd1oEqZbPCxSfJ8Ui2sSNbZzmdkAiEA4djKErV/mIkZ+iZzMC4nDt61wSrlIl5gLvz854klxnQ="
}
"#;

    #[test]
    fn every_member_is_signed() {
        let (manifest, key) = made(KeyKind::P256);
        let changes: [fn(&mut Manifest); 4] = [
            |m| m.platform = Platform::Argon,
            |m| m.station.0.push('x'),
            |m| m.at = Wall::from_millis(0).unwrap(),
            |m| m.signature.truncate(8),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let mut changed = manifest.clone();
            change(&mut changed);
            assert_eq!(verify(&changed, device(1), &key), Err(PacketError::Signature), "{i}");
        }
        let mut changed = manifest.clone();
        changed.kind = KeyKind::Rsa1024;
        assert_eq!(
            verify(&changed, device(1), &key),
            Err(PacketError::OtherKind {
                found: KeyKind::Rsa1024,
                given: KeyKind::P256
            })
        );
        changed.packet = 2;
        assert_eq!(verify(&changed, device(1), &key), Err(PacketError::Newer { version: 2 }));
    }

    #[test]
    fn the_file_holds_the_manifest_and_nothing_private() {
        let (manifest, key) = made(KeyKind::P256);
        let text = to_json(&manifest);
        assert_eq!(read(text.as_bytes()).as_ref(), Ok(&manifest));
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(verify(&read(windows.as_bytes()).unwrap(), device(1), &key), Ok(()));
        let members: Vec<_> = to_value(&manifest).as_object().unwrap().keys().cloned().collect();
        let known = [
            "at",
            "device",
            "fingerprint",
            "kind",
            "packet",
            "platform",
            "signature",
            "station",
        ];
        assert_eq!(members, known);
    }

    #[test]
    fn a_document_in_another_spelling_is_damaged() {
        let (manifest, _) = made(KeyKind::P256);
        let text = to_json(&manifest);
        for (from, to) in [
            ("e00fce68", "E00FCE68"),
            ("10:00:00.25Z", "11:00:00.25+01:00"),
            ("10:00:00.25Z", "10:00:00.250Z"),
            ("\"packet\": 1", "\"packet\": 1, \"owner\": 2"),
            ("\"packet\": 1", "\"packet\": 0"),
            ("\"packet\": 1", "\"packet\": \"1\""),
            ("boron", "boom"),
            ("\"kind\"", "\"kin\""),
        ] {
            assert!(text.contains(from), "{from}: {text}");
            assert_eq!(read(text.replace(from, to).as_bytes()), Err(PacketError::Damaged), "{to}");
        }
        let newer = text.replace("\"packet\": 1", "\"packet\": 7, \"more\": true");
        assert_eq!(read(newer.as_bytes()), Err(PacketError::Newer { version: 7 }));
        for cut in 0..text.len() - 2 {
            assert_eq!(read(&text.as_bytes()[..cut]), Err(PacketError::Damaged), "{cut} bytes");
        }
        let slot = crate::keys::encode(&PrivateKey::generate(KeyKind::P256, &SystemEntropy), 192);
        assert_eq!(read(slot.expose()), Err(PacketError::Private { form: PrivateForm::Slot }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
            let _ = read(&bytes);
            let _ = read(format!("{{\"packet\":1,{text}}}").as_bytes());
        }

        #[test]
        fn no_signature_but_its_own_is_believed(signature in proptest::collection::vec(any::<u8>(), 0..140)) {
            static MADE: std::sync::OnceLock<[(Manifest, PublicKey); 2]> = std::sync::OnceLock::new();
            for (manifest, key) in MADE.get_or_init(|| [made(KeyKind::Rsa1024), made(KeyKind::P256)]) {
                let forged = Manifest { signature: signature.clone(), ..manifest.clone() };
                prop_assert_eq!(verify(&forged, device(1), key), Err(PacketError::Signature));
            }
        }
    }
}
