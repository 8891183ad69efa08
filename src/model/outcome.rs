//! How a step ended, and how a look at a device before a step ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Code, verdict::Blame};

/// How a step ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It was done, and verified.
    Done,
    /// It was done; something about it should be known.
    Warned {
        /// What, as one sentence.
        why: String,
    },
    /// It was not needed, on evidence read in this run.
    Skipped {
        /// The evidence, as one sentence.
        why: String,
    },
}

/// What `inspect` found before a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The step has to run.
    NotDone,
    /// The device is already as the step would leave it.
    AlreadyDone(String),
    /// It cannot be told; a named person decides.
    Unknown(String),
}

/// How a step failed: whose fault, a stable code, what we were doing, and the chain of causes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// The stable code, with the one next action.
    pub code: Code,
    /// What we were doing, with the values that matter, as one sentence fragment.
    pub doing: String,
    /// The causes, outermost first.
    pub causes: Vec<Cause>,
}

/// One link of a chain of causes, as text (errors of other crates do not survive a journal).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(pub String);

impl StepError {
    /// A failure without a deeper cause.
    pub fn new(code: Code, doing: impl Into<String>) -> Self {
        Self {
            code,
            doing: doing.into(),
            causes: Vec::new(),
        }
    }

    /// A failure with its cause; the whole chain of sources is kept.
    pub fn caused(code: Code, doing: impl Into<String>, source: &dyn std::error::Error) -> Self {
        let mut causes = vec![Cause(source.to_string())];
        let mut next = source.source();
        while let Some(error) = next {
            causes.push(Cause(error.to_string()));
            next = error.source();
        }
        Self {
            code,
            doing: doing.into(),
            causes,
        }
    }

    /// Is the device bad, or the station?
    pub fn blame(&self) -> Blame {
        self.code.blame()
    }

    /// True if the same step may simply be tried again.
    pub fn transient(&self) -> bool {
        self.code.transient()
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {}", cause.0))
    }
}

impl std::error::Error for StepError {}
