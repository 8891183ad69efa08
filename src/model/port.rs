//! Where on the bench a device is plugged in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::id::BadId;

/// A physical USB port: the bus address of its controller plus the chain of hub ports.
///
/// Written `pci-0000:00:14.0/3.2`. It is a property of the bench: it survives re-enumeration and
/// reboots, which libusb's bus number and the device address do not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortPath {
    controller: String,
    chain: Vec<u8>,
}

impl PortPath {
    /// The port at `chain` (hub ports from the root, each from 1) of `controller`.
    pub fn new(controller: impl Into<String>, chain: impl Into<Vec<u8>>) -> Self {
        Self {
            controller: controller.into(),
            chain: chain.into(),
        }
    }

    /// The controller's bus address, such as `pci-0000:00:14.0`.
    pub fn controller(&self) -> &str {
        &self.controller
    }

    /// Hub port numbers from the root to the device.
    pub fn chain(&self) -> &[u8] {
        &self.chain
    }
}

impl FromStr for PortPath {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId {
            text: text.to_owned(),
            expected: "a port path such as pci-0000:00:14.0/3.2",
        };
        let (controller, ports) = text.rsplit_once('/').ok_or_else(bad)?;
        let chain: Vec<u8> = ports
            .split('.')
            .map(|p| p.parse().ok().filter(|p| *p > 0))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        // USB allows seven tiers: a root port and at most five hubs before the device.
        if controller.is_empty() || chain.is_empty() || chain.len() > 7 {
            return Err(bad());
        }
        Ok(Self::new(controller, chain))
    }
}

impl fmt::Display for PortPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.controller)?;
        for (i, port) in self.chain.iter().enumerate() {
            write!(f, "{}{port}", if i > 0 { "." } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for PortPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortPath({self})")
    }
}

impl TryFrom<String> for PortPath {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<PortPath> for String {
    fn from(path: PortPath) -> String {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_round_trips() {
        let path: PortPath = "pci-0000:00:14.0/3.2".parse().unwrap();
        assert_eq!((path.controller(), path.chain()), ("pci-0000:00:14.0", &[3, 2][..]));
        assert_eq!(path.to_string(), "pci-0000:00:14.0/3.2");
        for bad in ["", "3.2", "pci/", "pci/0", "pci/1..2", "pci/1.2.3.4.5.6.7.8", "/1", "pci/256"] {
            assert!(bad.parse::<PortPath>().is_err(), "{bad}");
        }
    }
}
