//! What the cloud says of a device, as repair needs it: the part that may go on record. Names, notes, groups and the
//! addresses of owners are not in it; they are in [`RestoreData`](super::RestoreData), which never becomes a fact.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ProductId, Wall, outbox::Answer};

/// In whose hands a device is, as the station's token sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerKind {
    /// Nobody claimed it.
    Nobody,
    /// The account of the station's token.
    Account,
    /// Another member of the product's team.
    Team,
    /// A customer of the product.
    Customer,
    /// Somebody who is neither in the team nor a customer.
    Stranger,
    /// The cloud does not tell, or not enough of it can be seen to tell a team member from a stranger.
    Unknown,
}

impl OwnerKind {
    /// Every kind.
    pub const ALL: [OwnerKind; 6] = [
        Self::Nobody,
        Self::Account,
        Self::Team,
        Self::Customer,
        Self::Stranger,
        Self::Unknown,
    ];

    /// The words on the screen.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Account => "the station's account",
            Self::Team => "a member of the team",
            Self::Customer => "a customer",
            Self::Stranger => "a stranger",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for OwnerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// Where a device belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "in")]
pub enum Membership {
    /// In no product: its product number is that of its platform.
    Development,
    /// In a product.
    Product {
        /// Its number.
        id: u64,
    },
    /// The cloud does not tell.
    Unknown,
}

impl Membership {
    /// The product that it is in, by its number.
    pub fn product(self) -> Option<ProductId> {
        match self {
            Self::Product { id } => Some(ProductId(id.to_string())),
            Self::Development | Self::Unknown => None,
        }
    }
}

/// What a survey found. It changes nothing in the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "survey")]
pub enum Survey {
    /// The cloud shows the device.
    Seen(Shown),
    /// The cloud does not show the device to this token (unknown, or not in reach: it does not say which).
    Unseen,
    /// The survey itself failed, and nothing follows from it.
    Failed(Answer),
}

impl Survey {
    /// What the cloud shows of the device, if it shows it.
    pub const fn shown(&self) -> Option<&Shown> {
        match self {
            Self::Seen(shown) => Some(shown),
            Self::Unseen | Self::Failed(_) => None,
        }
    }
}

/// What the cloud shows of a device. Whatever it does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Where it belongs.
    pub membership: Membership,
    /// True if its product shows it to the station's token: the token has a role there.
    pub in_reach: bool,
    /// Platform number.
    #[serde(default)]
    pub platform_id: Option<u16>,
    /// In whose hands it is.
    pub owner: OwnerKind,
    /// Last new session.
    #[serde(default)]
    pub last_handshake_at: Option<Wall>,
    /// True if the cloud holds it for a session right now; may be stale.
    #[serde(default)]
    pub online: Option<bool>,
    /// Last traffic of any kind, also of a session that was resumed.
    #[serde(default)]
    pub last_heard: Option<Wall>,
    /// Held in quarantine.
    #[serde(default)]
    pub quarantined: Option<bool>,
    /// Denied.
    #[serde(default)]
    pub denied: Option<bool>,
    /// The `status` of `device_protection`, in the cloud's word.
    #[serde(default)]
    pub protection: Option<String>,
    /// `status` in the cloud's word: `normal`, `safe_mode`.
    #[serde(default)]
    pub status: Option<String>,
    /// The cloud's `Date`, if it sent one.
    #[serde(default)]
    pub at: Option<Wall>,
    /// True if it is in one of the products from which the recipe moves devices.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub movable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    #[test]
    fn a_survey_is_stored_in_words_that_stay() {
        let shown = Shown {
            membership: Membership::Product { id: 1234 },
            in_reach: true,
            platform_id: Some(13),
            owner: OwnerKind::Customer,
            last_handshake_at: None,
            online: Some(false),
            last_heard: None,
            quarantined: None,
            denied: None,
            protection: None,
            status: None,
            at: Wall::parse("2026-11-23T10:00:00Z"),
            movable: false,
        };
        let text = serde_json::to_string(&Survey::Seen(shown)).unwrap();
        assert!(
            text.starts_with(r#"{"survey":"seen","membership":{"in":"product","id":1234},"in_reach":true,"#),
            "{text}"
        );
        let least = r#"{"survey":"seen","membership":{"in":"development"},"in_reach":false,"owner":"account"}"#;
        let Survey::Seen(shown) = serde_json::from_str(least).unwrap() else {
            panic!("seen");
        };
        assert_eq!((shown.owner, shown.online), (OwnerKind::Account, None));
        let failed = Survey::Failed(Answer::Refused {
            code: Code::CloudDenied,
            reason: "x".into(),
        });
        for survey in [Survey::Unseen, failed] {
            let text = serde_json::to_string(&survey).unwrap();
            assert_eq!(serde_json::from_str::<Survey>(&text).unwrap(), survey);
        }
    }

    #[test]
    fn every_kind_of_owner_has_its_words() {
        let words: std::collections::BTreeSet<_> = OwnerKind::ALL.map(OwnerKind::words).into();
        assert_eq!(words.len(), OwnerKind::ALL.len());
        assert_eq!(serde_json::to_string(&OwnerKind::Account).unwrap(), "\"account\"");
    }
}
