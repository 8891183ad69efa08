//! Private halves that a person handed to the station for devices, and where sealed copies of such go. They are in the
//! memory of this process alone: no fact, order or message holds one, and none is cloned.

use std::sync::Arc;

use crate::{
    keys::PrivateKey,
    model::{DeviceId, Fingerprint, KeyKind, PublicKey, SlotNo},
    steps::Escrow,
};

/// What was handed over; shared by the threads of a station.
#[derive(Clone, Debug, Default)]
pub struct Pairs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    given: Vec<GivenPair>,
    escrow: Option<Escrow>,
}

/// A pair that is to be written to a device.
#[derive(Debug)]
pub struct GivenPair {
    /// The slot in which the device is.
    pub slot: SlotNo,
    /// The device, where what held the pair names one.
    pub device: Option<DeviceId>,
    /// The pair.
    pub pair: PrivateKey,
}

impl Pairs {
    /// Takes over pairs, the best first, and where sealed copies go.
    pub fn new(given: Vec<GivenPair>, escrow: Option<Escrow>) -> Self {
        Self(Arc::new(Inner { given, escrow }))
    }

    /// The public halves of those that are for a device, the best first.
    pub(super) fn offered(&self, slot: SlotNo, device: DeviceId, kind: KeyKind) -> impl Iterator<Item = PublicKey> {
        let for_it = move |given: &&GivenPair| {
            given.slot == slot && given.device.is_none_or(|named| named == device) && given.pair.kind() == kind
        };
        self.0.given.iter().filter(for_it).map(|given| given.pair.public())
    }

    /// The pair with this public half.
    pub(super) fn pair(&self, fingerprint: Fingerprint) -> Option<&PrivateKey> {
        let pairs = self.0.given.iter().map(|given| &given.pair);
        pairs.into_iter().find(|pair| pair.public().fingerprint == fingerprint)
    }

    /// Where sealed copies go.
    pub(super) fn escrow(&self) -> Option<&Escrow> {
        self.0.escrow.as_ref()
    }
}
