//! How a scenario must end.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ScenarioError, Slot};

/// How it must end for one device, in whichever slot it ends up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The verdict of its last run.
    pub verdict: Ending,
    /// The reason code, where it does not simply pass.
    pub code: Option<String>,
    /// What its private key slot holds.
    pub key: EndKey,
    /// How many uploads of its public key the cloud acted upon.
    pub uploads: u32,
    /// How many items are still owed to the cloud.
    pub owed: u32,
    /// True if a step must have failed and been tried again.
    pub retried: bool,
    /// True if the device, which was protected, must be open in the end, and the ledger say so.
    pub unprotected: bool,
}

/// The verdicts, in the words of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
#[expect(missing_docs, reason = "the glossary has them")]
pub enum Ending {
    Pass,
    Fail,
    Fault,
    RolledBack,
    Quarantined,
    Aborted,
    Owed,
    /// No verdict: the device was not taken in, and no run began.
    Rejected,
    /// No verdict yet: the run waits for its device.
    Interrupted,
}

impl Ending {
    /// True if a run ends so.
    pub const fn is_verdict(self) -> bool {
        !matches!(self, Ending::Rejected | Ending::Interrupted)
    }

    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Ending::Pass => "PASS",
            Ending::Fail => "FAIL",
            Ending::Fault => "FAULT",
            Ending::RolledBack => "ROLLED-BACK",
            Ending::Quarantined => "QUARANTINED",
            Ending::Aborted => "ABORTED",
            Ending::Owed => "OWED",
            Ending::Rejected => "REJECTED",
            Ending::Interrupted => "INTERRUPTED",
        }
    }
}

/// What a private key slot holds in the end, compared with the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndKey {
    /// A valid key: that of the start, and the cloud has its public half.
    Same,
    /// A valid key: another one than at the start, and the cloud has its public half.
    New,
    /// A valid key, whichever.
    PresentValid,
    /// Byte for byte what it held at the start, whatever that is.
    UnchangedBytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpect {
    slot: u16,
    verdict: Ending,
    code: Option<String>,
    key: EndKey,
    uploads: u32,
    #[serde(default)]
    owed: u32,
    #[serde(default)]
    retried: bool,
    #[serde(default)]
    unprotected: bool,
}

pub(super) fn resolve(raw: Vec<RawExpect>, slots: &BTreeMap<u16, Slot>) -> Result<BTreeMap<u16, Expect>, ScenarioError> {
    let mut expect = BTreeMap::new();
    for raw in raw {
        if !slots.contains_key(&raw.slot) {
            return Err(ScenarioError::NoDevice {
                what: "[[expect]]".to_owned(),
                slot: raw.slot,
            });
        }
        let one = Expect {
            verdict: raw.verdict,
            code: raw.code,
            key: raw.key,
            uploads: raw.uploads,
            owed: raw.owed,
            retried: raw.retried,
            unprotected: raw.unprotected,
        };
        if expect.insert(raw.slot, one).is_some() {
            return Err(ScenarioError::ExpectOnce(raw.slot));
        }
    }
    Ok(expect)
}
