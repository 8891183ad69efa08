//! Service Mode of a protected device, as a budget: it ends by itself, and work that needs it must fit into what is left.
//!
//! device-protocol.md 2.9: after twenty resets, after a day with power, and on nRF52840 with the power. So nothing in
//! Service Mode may cut the power of the device, and every reset is counted.

use std::{fmt, time::Duration};

use super::Mono;

/// What is left of Service Mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceBudget {
    since: Mono,
    resets: u8,
}

/// Why a device that was in Service Mode is protected again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceEnd {
    /// The resets were used up.
    Resets,
    /// The time was used up.
    Time,
    /// Neither was: it lost its power, or somebody else ended it.
    PowerOrOthers,
}

impl ServiceBudget {
    /// The whole budget, from now on.
    pub const fn entered(now: Mono) -> Self {
        Self { since: now, resets: 0 }
    }

    /// Counts a reset of the device, of whatever kind: also on the way to DFU mode and back.
    pub const fn count_reset(&mut self) {
        self.resets = self.resets.saturating_add(1);
    }

    /// How many resets may follow with the device still in Service Mode after the last of them.
    pub const fn resets_left(&self) -> u8 {
        (RESETS - 1).saturating_sub(self.resets)
    }

    /// How much time is left.
    pub fn time_left(&self, now: Mono) -> Duration {
        LASTS.saturating_sub(now.since(self.since))
    }

    /// True if work with so many resets and of such a length can be done in what is left.
    pub fn allows(&self, resets: u8, length: Duration, now: Mono) -> bool {
        resets <= self.resets_left() && length < self.time_left(now)
    }

    /// Why it is over, for a device that is found protected again.
    pub fn end(&self, now: Mono) -> ServiceEnd {
        if self.resets >= RESETS {
            ServiceEnd::Resets
        } else if self.time_left(now).is_zero() {
            ServiceEnd::Time
        } else {
            ServiceEnd::PowerOrOthers
        }
    }
}

impl fmt::Display for ServiceEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resets => "Service Mode ended with its twentieth reset",
            Self::Time => "Service Mode ended after a day",
            Self::PowerOrOthers => "Service Mode ended before its time: the device lost its power, or somebody else ended it",
        })
    }
}

/// Service Mode ends with this many resets.
pub const RESETS: u8 = 20;

/// Service Mode ends after this time with power.
pub const LASTS: Duration = Duration::from_secs(86_400);

/// From the first half of the exchange that leads to Service Mode to the second.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nineteen_resets_are_survived() {
        let start = Mono(Duration::from_secs(5));
        let mut budget = ServiceBudget::entered(start);
        assert_eq!(budget.resets_left(), 19);
        assert!(budget.allows(19, Duration::from_secs(60), start) && !budget.allows(20, Duration::ZERO, start));
        for _ in 0..19 {
            budget.count_reset();
        }
        assert_eq!((budget.resets_left(), budget.end(start)), (0, ServiceEnd::PowerOrOthers));
        budget.count_reset();
        assert_eq!((budget.resets_left(), budget.end(start)), (0, ServiceEnd::Resets));
    }

    #[test]
    fn a_day_is_a_day() {
        let start = Mono::default();
        let budget = ServiceBudget::entered(start);
        let almost = start + (LASTS - Duration::from_secs(10));
        assert!(budget.allows(1, Duration::from_secs(9), almost) && !budget.allows(1, Duration::from_secs(10), almost));
        assert_eq!(budget.end(almost), ServiceEnd::PowerOrOthers);
        assert_eq!(budget.end(start + LASTS), ServiceEnd::Time);
    }
}
