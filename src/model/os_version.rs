//! Versions of Device OS as devices write them: `6.2.0`, `5.6.0-rc.1`.

use std::{fmt, str::FromStr};

use super::id::BadId;

/// A version of Device OS. A pre-release comes before its release; pre-releases are not ordered among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OsVersion {
    /// Major, minor and patch number.
    pub numbers: (u16, u16, u16),
    /// False for a pre-release. (It stands last, so that the derived order is the right one.)
    pub released: bool,
}

impl OsVersion {
    /// A released version.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            numbers: (major, minor, patch),
            released: true,
        }
    }
}

impl FromStr for OsVersion {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId {
            text: text.to_owned(),
            expected: "a version such as 6.2.0 or 5.6.0-rc.1",
        };
        let (numbers, released) = match text.split_once('-') {
            Some((numbers, _)) => (numbers, false),
            None => (text, true),
        };
        let mut parts = numbers.split('.').map(|part| part.parse::<u16>().map_err(|_| bad()));
        let mut next = || parts.next().ok_or_else(bad)?;
        let numbers = (next()?, next()?, next()?);
        match parts.next() {
            None => Ok(Self { numbers, released }),
            Some(_) => Err(bad()),
        }
    }
}

impl fmt::Display for OsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.numbers;
        write!(f, "{major}.{minor}.{patch}{}", if self.released { "" } else { "-pre" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_number_then_release() {
        let v = |text: &str| text.parse::<OsVersion>().unwrap();
        assert!(v("1.4.4") < v("1.5.0-rc.1") && v("1.5.0-rc.1") < v("1.5.0") && v("1.5.0") < v("10.0.0"));
        assert_eq!(v("6.2.0"), OsVersion::new(6, 2, 0));
        for bad in ["", "6", "6.2", "6.2.0.1", "a.b.c", "6.2.99999", "6..0"] {
            assert!(bad.parse::<OsVersion>().is_err(), "{bad}");
        }
    }
}
