//! What a running device says of its own connection to the cloud, and what that hints at.
//!
//! A device tells whether it is connected and the last error of a handshake. Both are hints: nothing here proves that a
//! key is wrong, or which. (device-protocol.md 2.4, 4.4; cloud-api.md 7.)

use std::fmt;

use serde::{Deserialize, Serialize};

use super::platform::Transport;

/// Whether the cloud is connected, in the words of Device OS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are Device OS's own")]
pub enum CloudStatus {
    Disconnected,
    Connecting,
    Connected,
    Disconnecting,
}

/// The number of the last error of a handshake; 0 if there was none since the device started.
///
/// A device keeps it when it connects later: beside [`CloudStatus::Connected`] it is history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CloudError(pub i32);

/// What a running device told of its connection. What it did not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudState {
    /// Whether it is connected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<CloudStatus>,
    /// The last error of a handshake.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<CloudError>,
    /// How often it tried to connect since it started (newer systems).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempts: Option<u32>,
}

/// Which key an error points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspect {
    /// The device's own: the cloud does not know it, or the device misreads it.
    DeviceKey,
    /// The server's in the device, or its address.
    ServerKey,
    /// One of the two; the error is the same for both.
    EitherKey,
}

/// What an error rests on as a sign of a key problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Footing {
    /// Firmware in the field takes it for one, and puts keys back because of it (DeviceKeyHelperRK).
    Field,
    /// It follows from how the handshake works.
    Inferred,
}

/// A sign that a key is wrong. Never proof: the network can do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHint {
    /// Which key.
    pub suspect: Suspect,
    /// On what it rests.
    pub footing: Footing,
    /// What it says and what else it may be, as whole sentences.
    pub words: &'static str,
}

impl CloudState {
    /// True if the device told anything.
    pub const fn is_told(&self) -> bool {
        self.status.is_some() || self.error.is_some()
    }

    /// True if it is connected: then it and the cloud agreed on both keys when the session began.
    pub fn is_connected(&self) -> bool {
        self.status == Some(CloudStatus::Connected)
    }

    /// The sign of a key problem in what was told, for a device on this transport.
    ///
    /// A connected device gives none, whatever its last error was.
    pub fn hint(&self, transport: Transport) -> Option<KeyHint> {
        let CloudError(code) = self.error.filter(|_| !self.is_connected())?;
        let row = HINTS
            .iter()
            .find(|row| row.code == code && row.on.is_none_or(|on| on == transport))?;
        Some(row.hint)
    }
}

impl CloudError {
    /// True if there was none.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// What the number means, if it is one that a handshake leaves.
    pub const fn meaning(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "none",
            6 => "decryption failed",
            8 => "authentication failed",
            10 => "a message was not answered",
            16 => "the server key could not be parsed",
            17 => "the handshake was not completed",
            25 => "the server's nonce did not come",
            26 => "the session key did not come",
            _ => return None,
        })
    }
}

impl fmt::Display for CloudStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnecting => "disconnecting",
        })
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning() {
            Some(meaning) => write!(f, "{meaning} ({})", self.0),
            None => write!(f, "number {}", self.0),
        }
    }
}

impl fmt::Display for CloudState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "cloud {status}")?,
            None => f.write_str("cloud connection not told")?,
        }
        match self.error {
            Some(error) => write!(f, ", last error {error}"),
            None => f.write_str(", last error not told"),
        }
    }
}

/// One error that is a sign of a key problem.
struct Row {
    code: i32,
    /// On this transport only.
    on: Option<Transport>,
    hint: KeyHint,
}

/// 26 and 10 are those that DeviceKeyHelperRK acts on (device-protocol.md 4.4, 4.8); the others follow from the handshakes
/// of cloud-api.md 7. The server's nonce comes before any key is used, so 25 is none of them.
const HINTS: [Row; 6] = [
    Row {
        code: 26,
        on: Some(Transport::Tcp),
        hint: KeyHint {
            suspect: Suspect::EitherKey,
            footing: Footing::Field,
            words: "The cloud ended the handshake in place of sending a session key. It does so when it does not know the \
                    device's key, and when the device holds the wrong server key; a connection that breaks looks the same.",
        },
    },
    Row {
        code: 10,
        on: Some(Transport::Udp),
        hint: KeyHint {
            suspect: Suspect::DeviceKey,
            footing: Footing::Field,
            words: "The cloud did not answer the device's greeting. It does not when it does not know the device's key; \
                    packets that are lost look the same.",
        },
    },
    Row {
        code: 6,
        on: Some(Transport::Tcp),
        hint: KeyHint {
            suspect: Suspect::DeviceKey,
            footing: Footing::Inferred,
            words: "The device could not decrypt what the cloud had encrypted for the registered key. It holds another \
                    key, or reads its own wrongly.",
        },
    },
    Row {
        code: 8,
        on: Some(Transport::Tcp),
        hint: KeyHint {
            suspect: Suspect::ServerKey,
            footing: Footing::Inferred,
            words: "What answered did not prove that it owns the server key in the device. The server key is wrong, or the \
                    address leads to somebody else.",
        },
    },
    Row {
        code: 17,
        on: Some(Transport::Udp),
        hint: KeyHint {
            suspect: Suspect::ServerKey,
            footing: Footing::Inferred,
            words: "The handshake was not completed. So it ends when the device holds the wrong server key; a firewall, or a \
                    server that does not answer, looks the same.",
        },
    },
    Row {
        code: 16,
        on: None,
        hint: KeyHint {
            suspect: Suspect::ServerKey,
            footing: Footing::Inferred,
            words: "The device could not parse the server key that it holds.",
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: i32) -> CloudState {
        CloudState {
            status: Some(CloudStatus::Connecting),
            error: Some(CloudError(code)),
            attempts: None,
        }
    }

    #[test]
    fn the_codes_that_the_field_acts_on_count_on_their_own_transport() {
        let field = |code, transport| failed(code).hint(transport).is_some_and(|h| h.footing == Footing::Field);
        assert!(field(26, Transport::Tcp) && field(10, Transport::Udp));
        assert!(!field(10, Transport::Tcp) && !field(26, Transport::Udp));
        for (code, transport, suspect) in [
            (6, Transport::Tcp, Suspect::DeviceKey),
            (8, Transport::Tcp, Suspect::ServerKey),
            (17, Transport::Udp, Suspect::ServerKey),
            (16, Transport::Udp, Suspect::ServerKey),
        ] {
            assert_eq!(failed(code).hint(transport).unwrap().suspect, suspect, "{code}");
        }
        for code in [0, 1, 25, -1, 524_287] {
            assert_eq!(failed(code).hint(Transport::Tcp), None, "{code}");
        }
    }

    #[test]
    fn what_was_before_a_connection_is_history() {
        let state = CloudState {
            status: Some(CloudStatus::Connected),
            ..failed(26)
        };
        assert_eq!(state.hint(Transport::Tcp), None);
        assert!(state.is_connected());
        let unknown = CloudState {
            status: None,
            ..failed(26)
        };
        assert!(unknown.hint(Transport::Tcp).is_some(), "the error alone says enough");
    }

    #[test]
    fn every_hint_is_whole_sentences() {
        for row in &HINTS {
            assert!(row.hint.words.ends_with('.') && CloudError(row.code).meaning().is_some());
        }
    }

    #[test]
    fn what_was_not_told_is_said_and_not_written() {
        let nothing = CloudState::default();
        assert!(!nothing.is_told());
        assert_eq!(nothing.to_string(), "cloud connection not told, last error not told");
        assert_eq!(serde_json::to_string(&nothing).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<CloudState>("{}").unwrap(), nothing);
        let told = serde_json::to_string(&failed(26)).unwrap();
        assert_eq!(told, r#"{"status":"connecting","error":26}"#);
        assert_eq!(
            failed(26).to_string(),
            "cloud connecting, last error the session key did not come (26)"
        );
        assert_eq!(failed(99).to_string(), "cloud connecting, last error number 99");
    }
}
