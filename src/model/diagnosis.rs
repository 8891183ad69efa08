//! What is wrong with a device, how sure that is, and what is proposed: the result of a diagnosis, as plain data.
//! [`crate::rack::diagnose`] makes these.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Code;

/// The one thing that is wrong with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Nothing: device and cloud know each other.
    Nothing,
    /// The device holds another server key or address than it should.
    ServerKeyWrong,
    /// The cloud holds another public key than the device's, or none.
    KeyUnknown,
    /// The key slot is blank.
    KeyBlank,
    /// The key slot holds no key, and the device keeps what is there.
    KeyCorrupt,
    /// The key is right, and the device's own parser misreads it.
    KeyMisread,
    /// It cannot be told what the key slot holds.
    KeyUnreadable,
    /// Device, product and recipe are not for one platform.
    PlatformMismatch,
    /// The device is in another product than it should be.
    ProductMismatch,
    /// The cloud shows the device to nobody at this station.
    OutOfReach,
    /// A development device that nobody claimed: its key can be registered by nobody.
    Unclaimed,
    /// It belongs to somebody who is neither in the team nor a customer.
    OwnedByStranger,
    /// The product holds it in quarantine or denies it.
    HeldBack,
    /// It is protected.
    Protected,
    /// Keys and settings are right as far as can be told: it is something else.
    NotKeys,
}

/// How sure a diagnosis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sureness {
    /// One explanation among others.
    Possible,
    /// The best explanation of what was seen.
    Likely,
    /// Seen as such.
    Certain,
}

/// A way to put it right. Which steps it takes depends on what else was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// The server key and address alone: the cloud need not learn anything.
    ServerKey,
    /// The same key again, in the layout that the device reads.
    Rewrite,
    /// A pair that is given, which the cloud accepted last: it is written, and the cloud need not learn anything.
    Restore,
    /// The key of a development device of the station's account.
    Development,
    /// The key of a product device that an account of the team claimed.
    ProductAccount,
    /// The key of a product device that nobody claimed.
    ProductUnclaimed,
    /// The key of a customer's device: it is released, registered, and claimed back.
    Customer,
    /// The key of a device on its way into another product: it is released if somebody owns it, moved, registered, and
    /// claimed back.
    Move,
}

/// What a diagnosis says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The one thing.
    pub trouble: Trouble,
    /// How sure.
    pub sureness: Sureness,
    /// What is proposed, if anything may be done here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow: Option<Flow>,
    /// What it rests on, as whole sentences.
    pub evidence: Vec<String>,
}

impl Trouble {
    /// Every trouble.
    pub const ALL: [Trouble; 15] = [
        Self::Nothing,
        Self::ServerKeyWrong,
        Self::KeyUnknown,
        Self::KeyBlank,
        Self::KeyCorrupt,
        Self::KeyMisread,
        Self::KeyUnreadable,
        Self::PlatformMismatch,
        Self::ProductMismatch,
        Self::OutOfReach,
        Self::Unclaimed,
        Self::OwnedByStranger,
        Self::HeldBack,
        Self::Protected,
        Self::NotKeys,
    ];

    /// The words for a person.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing is wrong with its keys",
            Self::ServerKeyWrong => "the server key or address is wrong",
            Self::KeyUnknown => "the cloud does not know the device's key",
            Self::KeyBlank => "the key slot is blank",
            Self::KeyCorrupt => "the key slot holds no key",
            Self::KeyMisread => "the key is right, and the device misreads it",
            Self::KeyUnreadable => "it cannot be told what the key slot holds",
            Self::PlatformMismatch => "the cloud knows the device as one of another platform",
            Self::ProductMismatch => "the device is in another product",
            Self::OutOfReach => "the cloud does not show the device to this station",
            Self::Unclaimed => "a development device that nobody claimed",
            Self::OwnedByStranger => "the device belongs to a stranger",
            Self::HeldBack => "the product holds the device in quarantine, or denies it",
            Self::Protected => "the device is protected",
            Self::NotKeys => "it is not the keys",
        }
    }

    /// The code of a run that ends with it unmended; none where nothing is wrong.
    pub const fn code(self) -> Option<Code> {
        Some(match self {
            Self::Nothing => return None,
            Self::ServerKeyWrong => Code::ServerKeyWrong,
            Self::KeyUnknown => Code::KeyUnknown,
            Self::KeyBlank => Code::KeyBlank,
            Self::KeyCorrupt => Code::KeyCorrupt,
            Self::KeyMisread => Code::KeyMisread,
            Self::KeyUnreadable => Code::KeyUnreadable,
            Self::PlatformMismatch | Self::ProductMismatch => Code::ImportInvalid,
            Self::OutOfReach => Code::CloudDenied,
            Self::Unclaimed => Code::Unclaimed,
            Self::OwnedByStranger => Code::OwnerForeign,
            Self::HeldBack => Code::Quarantine,
            Self::Protected => Code::Protected,
            Self::NotKeys => Code::NotKeys,
        })
    }
}

impl Sureness {
    /// The word for a person.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

impl Flow {
    /// Every flow.
    pub const ALL: [Flow; 8] = [
        Self::ServerKey,
        Self::Rewrite,
        Self::Restore,
        Self::Development,
        Self::ProductAccount,
        Self::ProductUnclaimed,
        Self::Customer,
        Self::Move,
    ];

    /// The words for a person.
    pub const fn words(self) -> &'static str {
        match self {
            Self::ServerKey => "write the server key and address",
            Self::Restore => "write the given key, which the cloud accepted last",
            Self::Rewrite => "write the same key in the layout that the device reads",
            Self::Development => "register the key of a development device",
            Self::ProductAccount => "register the key of a device that the team owns",
            Self::ProductUnclaimed => "register the key of a device that nobody owns",
            Self::Customer => "release it, register its key, and claim it back for its customer",
            Self::Move => "move it to its product, register its key there, and give everything of before back",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

impl fmt::Display for Sureness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.trouble, self.sureness)?;
        let mut mark = ": ";
        for sentence in &self.evidence {
            write!(f, "{mark}{sentence}")?;
            mark = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_trouble_has_words_and_all_but_nothing_a_code() {
        let words: BTreeSet<_> = Trouble::ALL.map(Trouble::words).into();
        assert_eq!(words.len(), Trouble::ALL.len());
        for trouble in Trouble::ALL {
            assert_eq!(trouble.code().is_none(), trouble == Trouble::Nothing, "{trouble}");
        }
        let flows: BTreeSet<_> = Flow::ALL.map(Flow::words).into();
        assert_eq!(flows.len(), Flow::ALL.len());
        assert!(Sureness::Possible < Sureness::Likely && Sureness::Likely < Sureness::Certain);
    }

    #[test]
    fn a_diagnosis_is_stored_in_words_that_stay() {
        let diagnosis = Diagnosis {
            trouble: Trouble::KeyUnknown,
            sureness: Sureness::Likely,
            flow: Some(Flow::ProductAccount),
            evidence: vec!["It says so.".into()],
        };
        let text = r#"{"trouble":"key-unknown","sureness":"likely","flow":"product-account","evidence":["It says so."]}"#;
        assert_eq!(serde_json::to_string(&diagnosis).unwrap(), text);
        assert_eq!(serde_json::from_str::<Diagnosis>(text).unwrap(), diagnosis);
        assert_eq!(
            diagnosis.to_string(),
            "the cloud does not know the device's key (likely): It says so."
        );
    }
}
