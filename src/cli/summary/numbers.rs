//! The numbers of a session, and the exit code that follows from them.

use serde::Serialize;

use crate::cli::{
    exit::ExitCode,
    print::{Paint, Text},
};
use crate::model::{DeviceId, sentence::count};

/// The numbers of a session, as the last line of `--json` has them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::cli) struct Numbers {
    pub(super) event: &'static str,
    /// Devices that had a run.
    pub(super) devices: usize,
    pub(super) pass: usize,
    pub(super) fail: usize,
    pub(super) fault: usize,
    pub(super) rolled_back: usize,
    pub(super) quarantined: usize,
    pub(super) aborted: usize,
    pub(super) owed: usize,
    /// Devices whose cloud may hold another key.
    pub(super) apart: usize,
    /// Those of them that were taken for their repair and could not be given back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) lost: Vec<DeviceId>,
    /// Protected devices that have not shown that they are protected again.
    pub(super) unprotected: usize,
    /// Runs that wait for their device.
    pub(super) interrupted: usize,
    /// Devices whose key the cloud accepted.
    pub(super) registered: usize,
    /// PASS with a handshake as proof.
    pub(super) proved: usize,
    /// New handshakes that were seen.
    pub(super) handshakes: u64,
    /// Further attempts of steps and of items.
    pub(super) retries: u64,
    /// Key uploads that were sent, further attempts included.
    pub(super) uploads: u64,
    /// How long it took.
    pub(super) seconds: f64,
    /// Why nothing is sent, if the token is not accepted.
    pub(super) locked: Option<String>,
}

impl Numbers {
    /// The exit code of a session: the station's faults first, because they spoil every device; then the devices'.
    pub(in crate::cli) fn exit(&self) -> ExitCode {
        if self.fault + self.rolled_back + self.quarantined + self.apart + self.unprotected > 0 {
            ExitCode::Fault
        } else if self.fail > 0 {
            ExitCode::Failed
        } else if self.aborted + self.interrupted > 0 {
            ExitCode::Interrupted
        } else if self.owed > 0 || self.locked.is_some() {
            ExitCode::Cloud
        } else {
            ExitCode::Passed
        }
    }

    /// How many runs a person stopped.
    pub(in crate::cli) fn aborted(&self) -> usize {
        self.aborted
    }

    /// The numbers in one line, without those that are nothing.
    pub(super) fn words(&self) -> Text {
        let mut text = Text::new().paint(Paint::Bold, count(self.devices, "device"));
        for (n, word, paint) in [
            (self.pass, "PASS", Paint::Good),
            (self.fail, "FAIL", Paint::Bad),
            (self.fault, "FAULT", Paint::Fault),
            (self.rolled_back, "ROLLED-BACK", Paint::Warn),
            (self.quarantined, "QUARANTINED", Paint::Fault),
            (self.aborted, "ABORTED", Paint::Dim),
            (self.owed, "OWED", Paint::Warn),
            (self.apart, "APART", Paint::Fault),
            (self.unprotected, "UNPROTECTED", Paint::Fault),
            (self.interrupted, "waiting for their device", Paint::Warn),
        ] {
            if n > 0 {
                text = text.then(", ").paint(paint, format!("{n} {word}"));
            }
        }
        text.then(format!(
            "; registered {}, proved {}, handshakes {}, uploads {}, retries {}; {:.1} s",
            self.registered, self.proved, self.handshakes, self.uploads, self.retries, self.seconds
        ))
    }
}
