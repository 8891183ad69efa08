//! What a rehearsed station knows of its devices before it begins, and the pairs that somebody gives it.

use crate::{
    cli::{error::CliError, rig::Rig},
    edge::{Clock, Entropy},
    keys::{PrivateKey, classify},
    model::{
        DeviceId, Fact, Platform, PublicKey, RunId,
        outbox::{Answer, Item},
        packet::{PacketEnd, Proof},
    },
    station::{GivenPair, Pairs},
    store::Store,
};

/// What there is beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// Nothing.
    Nothing,
    /// The cloud accepted the key in the slot, as the ledger knows.
    Known,
    /// A pair for each device that nobody knows.
    Pair,
    /// A pair for each device that the cloud accepted last, as the ledger knows.
    KnownPair,
}

impl Handed {
    /// Brings cloud and ledger to where that is so; tells what is given.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn begin(self, rig: &Rig, store: &mut Store, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<Pairs, CliError> {
        let mut given = Vec::new();
        for (device, start) in &rig.start {
            let slot = rig.scenario.slots.get(&start.slot.0);
            let Some(platform) = slot.and_then(|slot| Platform::from_id(slot.platform.number())) else {
                continue;
            };
            let known = match self {
                Self::Nothing => None,
                Self::Known => held(platform, &start.dct),
                Self::Pair | Self::KnownPair => {
                    let pair = PrivateKey::generate(platform.key_kind(), entropy);
                    let known = (self == Self::KnownPair).then(|| pair.public());
                    given.push(GivenPair {
                        slot: start.slot,
                        device: Some(*device),
                        pair,
                    });
                    known
                }
            };
            if let Some(key) = known {
                rig.cloud.made_with(*device, &key.spki);
                let mut bytes = [0; 10];
                entropy.fill(&mut bytes);
                let wall = clock.wall();
                store.append(wall, &accepted(RunId::new(wall, bytes), *device, &key))?;
            }
        }
        Ok(Pairs::new(given, None))
    }
}

/// The key that the slot holds, whether the device reads it or misreads it.
fn held(platform: Platform, dct: &[u8]) -> Option<PublicKey> {
    let slot = platform.key_segments(platform.row().transport).private;
    let bytes = dct.get(slot.offset as usize..(slot.offset + slot.len) as usize)?;
    classify(bytes, platform.key_kind()).0.key().cloned()
}

/// A packet whose key the cloud accepted.
fn accepted(packet: RunId, device: DeviceId, key: &PublicKey) -> [Fact; 5] {
    let item = Item::upload(packet, device, None, key.clone());
    let (id, why) = (item.id.clone(), "registered".to_owned());
    [
        Fact::PacketTaken {
            packet,
            device,
            key: key.clone(),
            proof: Box::new(Proof {
                manifest: None,
                unchecked: Vec::new(),
            }),
            product: None,
            voucher: None,
            operator: None,
            accepted: None,
        },
        Fact::ItemQueued { item },
        Fact::ItemSent {
            item: id.clone(),
            attempt: 1,
        },
        Fact::ItemAnswered {
            item: id,
            attempt: 1,
            answer: Answer::Accepted { at: None, note: None },
        },
        Fact::PacketEnded {
            packet,
            device,
            end: PacketEnd::Registered,
            code: None,
            why,
        },
    ]
}
