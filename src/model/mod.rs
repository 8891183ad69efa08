//! The vocabulary: plain data with no I/O, no clock and no threads.
//!
//! Everything else in keyrack imports these words; they import nothing of ours. A word has one
//! meaning here, in the journal, on the screen and in the documents (see the glossary in
//! [`crate`]).

pub mod cloud_state;
pub mod diagnosis;
pub mod fact;
pub mod id;
pub mod key;
pub mod lights;
pub mod module;
pub mod os_version;
pub mod outbox;
pub mod outcome;
pub mod packet;
pub mod platform;
pub mod port;
pub mod recipe;
pub mod restore;
pub mod scan;
pub mod secret;
pub mod sentence;
pub mod server;
pub mod service;
pub mod step;
pub mod survey;
pub mod time;
pub mod verdict;

pub use cloud_state::CloudState;
pub use diagnosis::Diagnosis;
pub use fact::{Fact, Record};
pub use id::{DeviceId, ProductId, RunId, SlotNo, StationId};
pub use key::{Fingerprint, KeyKind, PublicKey};
pub use os_version::OsVersion;
pub use outcome::{Cause, Found, Outcome, StepError};
pub use platform::Platform;
pub use port::PortPath;
pub use restore::RestoreData;
pub use secret::Secret;
pub use server::{ServerExam, ServerFinding};
pub use service::ServiceBudget;
pub use step::StepKind;
pub use time::{Mono, Wall};
pub use verdict::{Code, Verdict};
