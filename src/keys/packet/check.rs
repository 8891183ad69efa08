//! Whether a public key that came from afar may be taken for a device: the rules, over bytes that somebody else read
//! and what the ledger knows. Nothing here tells whether the cloud will take it.

use std::collections::BTreeMap;

use super::{Manifest, PacketError};
use crate::{
    keys::{PublicKeyError, parse_public},
    model::{DeviceId, Fingerprint, KeyKind, Platform, PublicKey, packet::Unchecked},
};

/// A key as it came.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The device that a person names: an argument, or a line of a list.
    pub device: Option<DeviceId>,
    /// The device that the file's name names.
    pub named: Option<DeviceId>,
    /// The file of the key.
    pub key: &'a [u8],
    /// The file of its manifest.
    pub manifest: Option<&'a [u8]>,
}

/// A key that belongs to a device, as far as that can be told from what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The device.
    pub device: DeviceId,
    /// The key.
    pub key: PublicKey,
    /// The proof that the device held it.
    pub manifest: Option<Manifest>,
}

/// What the ledger knows that decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The platform of the device.
    pub platform: Option<Platform>,
    /// The kind of key that the device needs, where it told that it differs from the platform's.
    pub kind: Option<KeyKind>,
    /// The key that the cloud last accepted for the device.
    pub accepted: Option<Fingerprint>,
    /// Other devices that had or have this key.
    pub others: Vec<DeviceId>,
}

/// Why a key is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no public key of a device, or a private one.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// Its manifest proves nothing.
    #[error(transparent)]
    Manifest(#[from] PacketError),
    /// There is no manifest, and nobody says whose key it is.
    #[error("there is no manifest with this key, and nobody says of which device it is")]
    Whose,
    /// A device id and another one where they should be the same.
    #[error("the file is named after device {named}, and the key is said to be of {device}")]
    OtherName {
        /// The device of the file's name.
        named: DeviceId,
        /// The other one.
        device: DeviceId,
    },
    /// A key that such a device cannot use.
    #[error("this is an {found} key, and a {platform} needs {wanted}")]
    OtherKind {
        /// The platform of the device.
        platform: Platform,
        /// The kind of the key.
        found: KeyKind,
        /// The kind that it needs.
        wanted: KeyKind,
    },
    /// The ledger has the device on record as another platform.
    #[error("the manifest calls the device a {found}, and the ledger knows it as a {known}")]
    OtherPlatform {
        /// The platform of the manifest.
        found: Platform,
        /// The one of the ledger.
        known: Platform,
    },
    /// The ledger knows the key on another device.
    #[error("the ledger knows this key on device {other}")]
    OtherHolder {
        /// That device.
        other: DeviceId,
    },
    /// It would replace an accepted key, and nobody stands for that.
    #[error("it would replace key {}, which the cloud has accepted for this device", accepted.short())]
    Replaces {
        /// The accepted key.
        accepted: Fingerprint,
    },
    /// The same device is in the batch with another key.
    #[error("this device comes twice, with keys {} and {}", one.short(), other.short())]
    TwoKeys {
        /// One of the keys.
        one: Fingerprint,
        /// The other.
        other: Fingerprint,
    },
    /// The same key is in the batch for another device.
    #[error("the same key comes for device {other}, too")]
    TwoDevices {
        /// That device.
        other: DeviceId,
    },
    /// The private half of a packet came with it.
    #[error("its PRIVATE key came with it: \"{file}\"")]
    Leaked {
        /// The file.
        file: String,
    },
}

impl Refusal {
    /// The one next action.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::Key(error) => error.next(),
            Self::Manifest(error) => error.next(),
            Self::Whose => "name the device with `keyrack keys send ID FILE`, or in a list, if you know it for certain",
            Self::OtherName { .. } | Self::TwoKeys { .. } | Self::TwoDevices { .. } => {
                "ask for a new packet of each device, made with the device in hand"
            }
            Self::OtherKind { .. } | Self::OtherPlatform { .. } => "look whether file and device id belong together",
            Self::OtherHolder { .. } => {
                "do not register the key: one device is a copy, or the file was named after the wrong one"
            }
            Self::Replaces { .. } => {
                "give --reference and --operator if it is certain who sent the key: a mailed key is also how a device is impersonated"
            }
            Self::Leaked { .. } => {
                "have every copy of that file destroyed and give the device a new pair: whoever has it can be the device"
            }
        }
    }

    /// True for what must be told loudly: a private key was given away.
    pub const fn is_leak(&self) -> bool {
        matches!(
            self,
            Self::Leaked { .. } | Self::Key(PublicKeyError::Private { .. }) | Self::Manifest(PacketError::Private { .. })
        )
    }
}

/// Reads a key and what came with it, and tells whose it is.
pub fn read(given: &Given<'_>) -> Result<Packet, Refusal> {
    let key = parse_public(given.key)?;
    let manifest = given.manifest.map(super::read).transpose()?;
    let device = match (given.device, &manifest) {
        (Some(device), _) => device,
        (None, Some(manifest)) => manifest.device,
        (None, None) => return Err(Refusal::Whose),
    };
    if let Some(named) = given.named.filter(|named| *named != device) {
        return Err(Refusal::OtherName { named, device });
    }
    if let Some(manifest) = &manifest {
        // With it the kind is verified, too: it is the one that the station saw that the device needs.
        super::verify(manifest, device, &key)?;
    }
    Ok(Packet { device, key, manifest })
}

/// Compares a packet with what the ledger knows; `vouched` is true if a named person stands for it under a reference.
/// Tells what could not be checked.
pub fn compare(packet: &Packet, known: &Known, vouched: bool) -> Result<Vec<Unchecked>, Refusal> {
    if let Some(other) = known.others.iter().find(|other| **other != packet.device) {
        return Err(Refusal::OtherHolder { other: *other });
    }
    if let (Some(found), Some(known)) = (packet.manifest.as_ref().map(|m| m.platform), known.platform)
        && found != known
    {
        return Err(Refusal::OtherPlatform { found, known });
    }
    if let Some(platform) = known.platform {
        of_kind(platform, known.kind.unwrap_or_else(|| platform.key_kind()), &packet.key)?;
    }
    if let Some(accepted) = known
        .accepted
        .filter(|accepted| *accepted != packet.key.fingerprint && !vouched)
    {
        return Err(Refusal::Replaces { accepted });
    }
    let mut unchecked = Vec::new();
    if packet.manifest.is_none() {
        unchecked.push(Unchecked::Possession);
        if known.platform.is_none() {
            unchecked.push(Unchecked::Kind);
        }
    }
    if known.accepted.is_none() {
        unchecked.push(Unchecked::Replacement);
    }
    Ok(unchecked)
}

/// Finds what contradicts itself in a batch: of each packet, by its number, why it is not taken. The same packet twice
/// is no contradiction.
pub fn contradictions<'a>(packets: impl IntoIterator<Item = (usize, &'a Packet)>) -> BTreeMap<usize, Refusal> {
    let packets: Vec<_> = packets.into_iter().collect();
    let mut refused = BTreeMap::new();
    let (mut of_device, mut of_key) = (BTreeMap::new(), BTreeMap::new());
    for (_, packet) in &packets {
        of_device
            .entry(packet.device)
            .or_insert_with(Vec::new)
            .push(packet.key.fingerprint);
        of_key
            .entry(packet.key.fingerprint)
            .or_insert_with(Vec::new)
            .push(packet.device);
    }
    for (i, packet) in packets {
        let (device, one) = (packet.device, packet.key.fingerprint);
        if let Some(other) = of_device[&device].iter().find(|other| **other != one) {
            refused.insert(i, Refusal::TwoKeys { one, other: *other });
        } else if let Some(other) = of_key[&one].iter().find(|other| **other != device) {
            refused.insert(i, Refusal::TwoDevices { other: *other });
        }
    }
    refused
}

fn of_kind(platform: Platform, wanted: KeyKind, key: &PublicKey) -> Result<(), Refusal> {
    if key.kind == wanted {
        return Ok(());
    }
    Err(Refusal::OtherKind {
        platform,
        found: key.kind,
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        edge::entropy::SystemEntropy,
        keys::{PrivateForm, PrivateKey, encode, packet, public_pem},
        model::{StationId, Wall},
    };

    fn device(last: u8) -> DeviceId {
        DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 0, last])
    }

    struct Made {
        private: PrivateKey,
        pem: String,
        manifest: String,
    }

    fn made(n: u8, platform: Platform) -> Made {
        let private = PrivateKey::generate(platform.key_kind(), &SystemEntropy);
        let at = Wall::parse("2026-11-23T10:00:00Z").unwrap();
        let manifest = packet::sign(&private, device(n), platform, StationId("bench".into()), at);
        Made {
            pem: public_pem(&private.public()),
            manifest: packet::to_json(&manifest),
            private,
        }
    }

    fn given(made: &Made) -> Given<'_> {
        Given {
            device: None,
            named: None,
            key: made.pem.as_bytes(),
            manifest: Some(made.manifest.as_bytes()),
        }
    }

    #[test]
    fn a_signed_key_is_its_devices_whoever_says_so() {
        for platform in [Platform::Photon, Platform::Boron] {
            let made = made(1, platform);
            let expected = made.private.public();
            for (said, named) in [(None, None), (Some(1), None), (None, Some(1)), (Some(1), Some(1))] {
                let packet = read(&Given {
                    device: said.map(device),
                    named: named.map(device),
                    ..given(&made)
                })
                .unwrap();
                assert_eq!((packet.device, &packet.key), (device(1), &expected));
                assert_eq!(
                    compare(&packet, &Known::default(), false),
                    Ok(vec![Unchecked::Replacement]),
                    "a manifest names the platform"
                );
            }
            let other = read(&Given {
                device: Some(device(2)),
                ..given(&made)
            });
            let found = device(1);
            assert_eq!(other, Err(Refusal::Manifest(PacketError::OtherDevice { found })));
            let misnamed = read(&Given {
                named: Some(device(2)),
                ..given(&made)
            });
            let (named, device) = (device(2), device(1));
            assert_eq!(misnamed, Err(Refusal::OtherName { named, device }));
        }
    }

    #[test]
    fn a_plain_key_needs_a_name_and_says_what_nobody_checked() {
        let made = made(1, Platform::Boron);
        let plain = Given {
            manifest: None,
            ..given(&made)
        };
        assert_eq!(read(&plain), Err(Refusal::Whose));
        let named = Given {
            named: Some(device(1)),
            ..plain
        };
        assert_eq!(read(&named), Err(Refusal::Whose), "a file's name is nobody's word");
        let packet = read(&Given {
            device: Some(device(1)),
            ..named
        })
        .unwrap();
        let unchecked = |known: &Known| compare(&packet, known, false);
        assert_eq!(
            unchecked(&Known::default()),
            Ok(vec![Unchecked::Possession, Unchecked::Kind, Unchecked::Replacement])
        );
        let of = |platform| Known {
            platform: Some(platform),
            ..Known::default()
        };
        assert_eq!(
            unchecked(&of(Platform::Boron)),
            Ok(vec![Unchecked::Possession, Unchecked::Replacement])
        );
        let refusal = Refusal::OtherKind {
            platform: Platform::Photon,
            found: KeyKind::P256,
            wanted: KeyKind::Rsa1024,
        };
        assert_eq!(unchecked(&of(Platform::Photon)), Err(refusal));
    }

    #[test]
    fn a_private_key_is_refused_wherever_it_is() {
        let made = made(1, Platform::Boron);
        let slot = encode(&made.private, 192).expose().clone();
        let form = PrivateForm::Slot;
        let as_key = read(&Given {
            key: &slot,
            device: Some(device(1)),
            ..given(&made)
        });
        assert_eq!(as_key, Err(Refusal::Key(PublicKeyError::Private { form })));
        let as_manifest = read(&Given {
            manifest: Some(&slot),
            ..given(&made)
        });
        assert_eq!(as_manifest, Err(Refusal::Manifest(PacketError::Private { form })));
        assert!(as_key.unwrap_err().is_leak() && as_manifest.unwrap_err().is_leak());
        assert!(!Refusal::Whose.is_leak());
    }

    #[test]
    fn the_ledger_has_its_say() {
        let made = made(1, Platform::Boron);
        let packet = read(&given(&made)).unwrap();
        let mine = packet.key.fingerprint;
        let known = |change: fn(&mut Known)| {
            let mut known = Known::default();
            change(&mut known);
            known
        };
        assert_eq!(
            compare(&packet, &known(|k| k.others = vec![device(1), device(7)]), true),
            Err(Refusal::OtherHolder { other: device(7) })
        );
        assert!(compare(&packet, &known(|k| k.others = vec![device(1)]), false).is_ok());
        assert!(matches!(
            compare(&packet, &known(|k| k.platform = Some(Platform::Argon)), true),
            Err(Refusal::OtherPlatform { .. })
        ));
        let before = Fingerprint([7; 32]);
        let replaced = Known {
            accepted: Some(before),
            ..Known::default()
        };
        assert_eq!(
            compare(&packet, &replaced, false),
            Err(Refusal::Replaces { accepted: before })
        );
        assert_eq!(compare(&packet, &replaced, true), Ok(vec![]));
        let same = Known {
            accepted: Some(mine),
            ..Known::default()
        };
        assert_eq!(compare(&packet, &same, false), Ok(vec![]), "the same key replaces nothing");
    }

    #[test]
    fn what_contradicts_itself_in_a_batch_is_refused_on_both_sides() {
        let packet = |n, made: &Made| Packet {
            device: device(n),
            key: made.private.public(),
            manifest: None,
        };
        let (a, b) = (made(1, Platform::Boron), made(2, Platform::Boron));
        let twice = [packet(1, &a), packet(2, &b), packet(1, &a)];
        assert_eq!(contradictions(twice.iter().enumerate()), BTreeMap::new());
        let keys = [packet(1, &a), packet(3, &made(3, Platform::Boron)), packet(1, &b)];
        let refused = contradictions(keys.iter().enumerate());
        assert!(matches!(refused[&0], Refusal::TwoKeys { .. }) && matches!(refused[&2], Refusal::TwoKeys { .. }));
        assert_eq!(refused.len(), 2);
        let devices = [packet(1, &a), packet(2, &a)];
        let refused = contradictions(devices.iter().enumerate());
        assert_eq!(refused[&0], Refusal::TwoDevices { other: device(2) });
        assert_eq!(refused[&1], Refusal::TwoDevices { other: device(1) });
    }
}
