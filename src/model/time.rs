//! The two clocks: monotonic for deadlines, wall for records.

use std::{fmt, ops, time::Duration};

use serde::{Deserialize, Serialize};

/// A monotonic instant: time since the clock's own start. Deadlines are made of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub Duration);

impl Mono {
    /// The time from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl ops::Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, by: Duration) -> Mono {
        Mono(self.0.saturating_add(by))
    }
}

/// A wall-clock instant in UTC, to the millisecond: what records carry. Written as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(jiff::Timestamp);

impl Wall {
    /// The instant `millis` milliseconds after the Unix epoch, or `None` outside of years -9999 to 9999.
    pub fn from_millis(millis: i64) -> Option<Self> {
        jiff::Timestamp::from_millisecond(millis).ok().map(Self)
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Parses RFC 3339, the form of `last_handshake_at` and of our own records.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// Parses the date of an HTTP `Date` header (RFC 9110 IMF-fixdate, whole seconds).
    pub fn parse_http_date(text: &str) -> Option<Self> {
        jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(Self)
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_and_rfc3339_meet() {
        let a = Wall::parse_http_date("Mon, 23 Nov 2026 10:00:00 GMT").unwrap();
        let b = Wall::parse("2026-11-23T10:00:00.000Z").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "2026-11-23T10:00:00.000Z");
        assert_eq!(Wall::from_millis(b.millis()), Some(b));
    }
}
