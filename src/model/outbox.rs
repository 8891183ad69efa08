//! What is owed to the cloud, and what the cloud answered.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Code, DeviceId, Fingerprint, ProductId, PublicKey, RunId, Wall, recipe::Sha256};

/// The idempotency key of an item: what owes it and its kind, such as `01…/import` or `01…/key/1f2e3d4c5b6a`. Runs and
/// packets have ids of one kind, which are unique over both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub String);

impl ItemId {
    /// The import of the run's device.
    pub fn import(run: RunId) -> Self {
        Self(format!("{run}/import"))
    }

    /// The upload of one key of the run's device.
    pub fn key(run: RunId, fingerprint: Fingerprint) -> Self {
        Self(format!("{run}/key/{}", fingerprint.short()))
    }

    /// The import that puts the run's device back into the product from which it was removed.
    pub fn back(run: RunId) -> Self {
        Self(format!("{run}/back"))
    }

    /// The removal of the run's device from its product.
    pub fn remove(run: RunId) -> Self {
        Self(format!("{run}/remove"))
    }

    /// The release of the run's device from its owner.
    pub fn release(run: RunId) -> Self {
        Self(format!("{run}/release"))
    }

    /// The claim of the run's device for its owner of before.
    pub fn claim(run: RunId) -> Self {
        Self(format!("{run}/claim"))
    }

    /// The last look whether the run's device is still its owner's.
    pub fn confirm(run: RunId) -> Self {
        Self(format!("{run}/confirm"))
    }

    /// Name, notes and groups of the run's device.
    pub fn restore(run: RunId) -> Self {
        Self(format!("{run}/restore"))
    }

    /// The run, or the packet, that owes the item: the first part of the key.
    pub fn run(&self) -> Option<RunId> {
        self.0.split('/').next()?.parse().ok().map(RunId)
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing owed to the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Idempotency key.
    pub id: ItemId,
    /// The run, or the packet, that owes it.
    pub run: RunId,
    /// The device that it is about.
    pub device: DeviceId,
    /// The product, if the recipe has one.
    pub product: Option<ProductId>,
    /// What is to be done.
    pub errand: Errand,
    /// The item before it in its chain: this one goes only when that one is settled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<ItemId>,
}

impl Item {
    /// The upload of a key, which goes after no other item.
    pub fn upload(run: RunId, device: DeviceId, product: Option<ProductId>, key: PublicKey) -> Self {
        Self {
            id: ItemId::key(run, key.fingerprint),
            run,
            device,
            product,
            errand: Errand::Key { key },
            after: None,
        }
    }
}

/// A refusal is believed when it was given this often, some seconds apart (ARCHITECTURE.md 4.4).
pub const REFUSALS_TO_BELIEVE: u32 = 2;

/// What an item does in the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "errand")]
pub enum Errand {
    /// Import the device into the product; coalesced with others of the same product.
    Import {
        /// Also activate its SIM. Only if the recipe says so.
        activate_sim: bool,
    },
    /// Upload this public key for the device.
    Key {
        /// The key.
        key: PublicKey,
    },
    /// Release the device from its owner, to whom it is given back in the same chain.
    Release {
        /// The sealed restore data that say who that is, by the SHA-256 of what is kept.
        before: Sha256,
    },
    /// Take the device out of its product, on its way into another one.
    Remove {
        /// As in [`Errand::Release`].
        before: Sha256,
    },
    /// Claim the device for its owner of before.
    Claim {
        /// As in [`Errand::Release`].
        before: Sha256,
    },
    /// Look some time later whether the device is still its owner's, and claim it again if a release that arrived late took
    /// it once more.
    Confirm {
        /// As in [`Errand::Release`].
        before: Sha256,
    },
    /// Give the device its name, notes and groups of before, where they differ.
    Restore {
        /// As in [`Errand::Release`].
        before: Sha256,
    },
}

impl Errand {
    /// One word for the kind, as shown and stored.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Import { .. } => "import",
            Self::Key { .. } => "key",
            Self::Release { .. } => "release",
            Self::Remove { .. } => "remove",
            Self::Claim { .. } => "claim",
            Self::Confirm { .. } => "confirm",
            Self::Restore { .. } => "restore",
        }
    }

    /// True if it takes a device from its owner or out of its product.
    pub const fn takes(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Remove { .. })
    }

    /// True if it is a look some time after everything else, for which nobody waits.
    pub const fn is_late(&self) -> bool {
        matches!(self, Self::Confirm { .. })
    }

    /// True if a refusal with this code is a definite one. The cloud refuses a claim without saying why while the device
    /// is offline: that one is asked for again until it is answered otherwise.
    pub const fn is_refused_by(&self, code: Code) -> bool {
        !matches!((self, code), (Self::Claim { .. } | Self::Confirm { .. }, Code::ClaimVague))
    }
}

/// What is known of the earlier attempts of an item when it goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attempt {
    /// None can have had an effect: it goes out as it is.
    Fresh,
    /// One may have had its effect, because its end is not known: the cloud is looked at first.
    Doubtful,
}

/// Where an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemState {
    /// On disk, not to be sent: the key is not on the device yet.
    Held,
    /// To be sent.
    Queued,
    /// A request is, or was at the last cut, under way.
    Sent,
    /// The cloud accepted it.
    Accepted,
    /// The cloud refused it for good.
    Refused,
    /// It is no longer owed.
    Withdrawn,
}

/// What the cloud answered to one attempt, classified by status first, then by body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// A definite yes.
    Accepted {
        /// The cloud's `Date`, if it sent one.
        at: Option<Wall>,
        /// Something worth showing, such as "already a member".
        note: Option<String>,
    },
    /// A definite no: the request was understood and will not be done.
    Refused {
        /// Why, as a stable code.
        code: Code,
        /// The cloud's own words.
        reason: String,
    },
    /// Not now: rate limit, overload, maintenance, or nothing reached the cloud. Nothing was changed there.
    Later {
        /// Why, in words.
        why: String,
        /// Milliseconds that the cloud asked to wait, if it did.
        after_ms: Option<u64>,
    },
    /// The token is not accepted: nothing goes until a person logs in.
    Auth {
        /// The cloud's own words.
        reason: String,
    },
    /// It is not known whether it was done: the request may have arrived and the answer did not.
    Ambiguous {
        /// What happened, in words.
        why: String,
    },
}

/// What the cloud knows of a device, as far as it tells. Every field but the presence is optional there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudDevice {
    /// The product that it is in; equal to the platform number for a development device.
    pub product_id: Option<u64>,
    /// Platform number.
    pub platform_id: Option<u16>,
    /// Account or customer that claimed it.
    pub owner: Option<String>,
    /// True if that owner is a customer of the product.
    pub owner_is_customer: bool,
    /// Last new session.
    pub last_handshake_at: Option<Wall>,
    /// True if the cloud holds it for a session right now; may be stale.
    pub online: Option<bool>,
    /// Held in quarantine.
    pub quarantined: Option<bool>,
    /// Denied.
    pub denied: Option<bool>,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "found")]
pub enum Looked {
    /// The cloud shows the device.
    Device {
        /// What it shows.
        device: CloudDevice,
        /// The cloud's `Date`, if it sent one.
        at: Option<Wall>,
    },
    /// The cloud does not show the device to this token (unknown, or not in reach: it does not say which).
    Unseen,
    /// The look itself failed.
    Failed(Answer),
}
