//! How a command can end. Scripts rely on these numbers: they never change.

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything that was asked for was done; every device that was run passed.
    Passed = 0,
    /// At least one device is bad: FAIL.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was touched.
    Usage = 2,
    /// The station is at fault: FAULT, ROLLED-BACK, QUARANTINED, a device that is APART, or a finding of `check`.
    Fault = 3,
    /// The cloud could not be reached, does not accept the token, or is still owed something.
    Cloud = 4,
    /// The ledger, or a file that was to be written, could not be read or written, or is not what it should be.
    Ledger = 5,
    /// A person or a signal stopped it before all was done.
    Interrupted = 6,
    /// keyrack contradicted itself: please report it.
    Internal = 70,
}

impl ExitCode {
    /// Every exit code, in the order of their numbers.
    pub const ALL: [ExitCode; 8] = [
        Self::Passed,
        Self::Failed,
        Self::Usage,
        Self::Fault,
        Self::Cloud,
        Self::Ledger,
        Self::Interrupted,
        Self::Internal,
    ];

    /// The number that the process ends with.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What it means, as `--help` says it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "done; every device that was run passed",
            Self::Failed => "at least one device is bad (FAIL)",
            Self::Usage => "wrong command line or configuration; nothing was touched",
            Self::Fault => "the station is at fault (FAULT, ROLLED-BACK, QUARANTINED, APART, a finding of check)",
            Self::Cloud => "cloud not reached, token not accepted, or something still owed (OWED)",
            Self::Ledger => "ledger or a file could not be read or written, or is not what it should be",
            Self::Interrupted => "a person or a signal stopped it before all was done",
            Self::Internal => "keyrack contradicted itself: please report it",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_scripts_know() {
        assert_eq!(ExitCode::ALL.map(ExitCode::number), [0, 1, 2, 3, 4, 5, 6, 70]);
    }
}
