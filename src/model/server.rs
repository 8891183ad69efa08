//! What the server key and address in a device are worth: the finding of an examination, as plain data.
//!
//! [`crate::keys::server`] makes these from the bytes of a device; how they are put right is for others.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fingerprint, OsVersion};

/// The server settings of a device, compared with those that it should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerExam {
    /// How they compare.
    pub finding: ServerFinding,
    /// The fingerprint of the key, if it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Fingerprint>,
    /// Where the device calls, such as `udp://$id.udp.particle.io:5684`, if its address record is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// What a person should know about them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<ServerNote>,
}

/// How the server settings of a device compare with the wanted ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "finding")]
pub enum ServerFinding {
    /// As wanted, or equivalent.
    Right,
    /// Usable, and others than wanted.
    Wrong {
        /// What differs, a phrase each.
        differs: Vec<String>,
    },
    /// Not usable: the device cannot parse the key, the address, or either.
    Invalid {
        /// What is wrong, a phrase each.
        why: Vec<String>,
        /// What the device does about it.
        fate: Fate,
    },
    /// It cannot be told what they are: a fault of the reading.
    Unreadable {
        /// What went wrong, in words.
        why: String,
    },
}

/// What a device does with server settings that it cannot use, when it next starts its cloud connection
/// (device-protocol.md 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It writes the production settings in their place, without a word to anybody.
    Replaced,
    /// It uses the production settings in place of what is missing, and leaves the key store as it is.
    Patched,
    /// It keeps them and cannot connect.
    Kept,
    /// Its system is not known.
    Unknown,
}

/// What should be known about server settings, found or wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "note")]
pub enum ServerNote {
    /// The port has no effect: a device on UDP throws it away.
    PortWithoutEffect {
        /// The port as stored or asked for.
        port: u16,
    },
    /// The device will silently put the production settings in their place.
    WillBeReverted,
}

impl ServerFinding {
    /// One word for it, as shown and exported.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong { .. } => "wrong",
            Self::Invalid { .. } => "invalid",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// True if nothing has to be written.
    pub const fn is_right(&self) -> bool {
        matches!(self, Self::Right)
    }
}

impl Fate {
    /// What becomes of settings that a device with this system cannot use. `missing`: all that is wrong with them is
    /// that they were never written.
    pub fn of(os: Option<OsVersion>, missing: bool) -> Self {
        match os {
            None => Self::Unknown,
            Some(os) if CHECKING.iter().any(|(from, to)| (*from..*to).contains(&os)) => Self::Replaced,
            Some(os) if missing && os >= PATCHING => Self::Patched,
            Some(_) => Self::Kept,
        }
    }
}

impl fmt::Display for ServerFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => f.write_str("server key and address are right"),
            Self::Wrong { differs } => f.write_str(&differs.join(", ")),
            Self::Invalid { why, fate } => write!(f, "{}; {fate}", why.join(", ")),
            Self::Unreadable { why } => write!(f, "server key and address cannot be read: {why}"),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replaced => "the device replaces them by the production settings when it next connects, without a word",
            Self::Patched => "the device uses the production settings in their place, and does not write them",
            Self::Kept => "the device keeps them and cannot connect",
            Self::Unknown => "Device OS 4.1, 4.2 and from 5.3 on replaces them by the production settings, others keep them",
        })
    }
}

impl fmt::Display for ServerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortWithoutEffect { port } => write!(
                f,
                "port {port} will have no effect: devices on UDP call port 5684, unless their application sets another"
            ),
            Self::WillBeReverted => f.write_str(
                "these settings will be silently reverted by the device: it puts the production settings in place of ones \
                 that it cannot use",
            ),
        }
    }
}

/// Systems that check the settings at the start of their cloud connection, each from the first on and before the second.
const CHECKING: [(OsVersion, OsVersion); 2] = [
    (OsVersion::new(4, 1, 0), OsVersion::new(5, 0, 0)),
    (OsVersion::new(5, 3, 0), OsVersion::new(u16::MAX, 0, 0)),
];

/// The first system that does without settings that are missing.
const PATCHING: OsVersion = OsVersion::new(0, 7, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_that_replace_invalid_settings() {
        for (os, missing, fate) in [
            ("6.2.0", false, Fate::Replaced),
            ("5.3.0", true, Fate::Replaced),
            ("4.1.0", false, Fate::Replaced),
            ("4.2.0", true, Fate::Replaced),
            ("5.2.0", false, Fate::Kept),
            ("5.0.0", true, Fate::Patched),
            ("4.0.2", false, Fate::Kept),
            ("3.3.1", true, Fate::Patched),
            ("0.7.0", true, Fate::Patched),
            ("0.6.4", true, Fate::Kept),
        ] {
            assert_eq!(Fate::of(Some(os.parse().unwrap()), missing), fate, "{os}");
        }
        assert_eq!(Fate::of(None, true), Fate::Unknown);
    }

    #[test]
    fn findings_are_phrases_and_survive_the_journal() {
        for finding in [
            ServerFinding::Right,
            ServerFinding::Wrong {
                differs: vec!["server is \"a\", wanted \"b\"".to_owned()],
            },
            ServerFinding::Invalid {
                why: vec!["the server key is blank".to_owned()],
                fate: Fate::Kept,
            },
            ServerFinding::Unreadable { why: "x".to_owned() },
        ] {
            let text = serde_json::to_string(&finding).unwrap();
            assert!(text.contains(finding.word()), "{text}");
            assert_eq!(serde_json::from_str::<ServerFinding>(&text).unwrap(), finding);
            assert!(!finding.to_string().is_empty());
        }
        assert_eq!(
            serde_json::to_string(&ServerNote::PortWithoutEffect { port: 443 }).unwrap(),
            r#"{"note":"port-without-effect","port":443}"#
        );
    }
}
