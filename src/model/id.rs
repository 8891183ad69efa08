//! Identifiers. Each has one spelling, the same in files, journal and screen.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not the identifier that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {expected}")]
pub struct BadId {
    /// The text as it came.
    pub text: String,
    /// What was expected, as a noun phrase.
    pub expected: &'static str,
}

/// A Particle device id: 12 bytes, written as 24 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId([u8; 12]);

impl DeviceId {
    /// The id with these bytes, first byte first in the text.
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// The 12 bytes.
    pub const fn bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// The last six digits: what a person compares on a label.
    pub fn short(&self) -> String {
        self.to_string()[18..].to_owned()
    }
}

impl FromStr for DeviceId {
    type Err = BadId;
    /// Accepts upper and lower case; anything but 24 hexadecimal digits is refused.
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId {
            text: text.to_owned(),
            expected: "a device id (24 hexadecimal digits)",
        };
        let mut bytes = [0; 12];
        if text.len() != 24 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

impl TryFrom<String> for DeviceId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> String {
        id.to_string()
    }
}

/// The number of a slot as it is painted on the rack, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotNo(pub u16);

impl fmt::Display for SlotNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A product in the cloud: its number or its slug, sent as it is written in the recipe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProductId(pub String);

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of this station in records, as `station.toml` gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StationId(pub String);

impl fmt::Display for StationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One go at provisioning one device, or one packet that was taken. UUID v7: unique across stations, sorted by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub uuid::Uuid);

impl RunId {
    /// A run id from a wall time and ten random bytes (the core has neither clock nor entropy).
    pub fn new(at: super::Wall, random: [u8; 10]) -> Self {
        let millis = u64::try_from(at.millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_fold_case_and_refuse_the_rest() {
        let id: DeviceId = "E00FCE680123456789ABCDEF".parse().unwrap();
        assert_eq!(id.to_string(), "e00fce680123456789abcdef");
        assert_eq!(id.short(), "abcdef");
        for bad in [
            "",
            "00000000010C",
            "e00fce680123456789abcdeg",
            "+00fce680123456789abcdef",
            "e00fce680123456789abcdeé",
        ] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad}");
        }
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<DeviceId>(&json).unwrap(), id);
    }
}
