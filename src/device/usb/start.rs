//! Why the USB ports of a machine cannot be used, and what to do.

use std::path::{Path, PathBuf};

/// Why there is no bus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The kernel has no USB.
    #[error("this machine has no USB ports: there is no \"{}\"", .at.display())]
    NoUsb {
        /// Where it would show them.
        at: PathBuf,
    },
    /// The nodes through which devices are opened are not there.
    #[error("the USB devices of this machine cannot be opened: there is no \"{}\"", .at.display())]
    NoNodes {
        /// Where they would be.
        at: PathBuf,
    },
    /// libusb does not start.
    #[error("libusb does not start on this machine: {why}")]
    Refused {
        /// What it says.
        why: String,
    },
}

impl StartError {
    /// The one next action.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::NoUsb { .. } => {
                "use a machine with USB ports, or hand its /sys and /dev/bus/usb to the container; \
                 `keyrack demo` and --world SOCKET need none"
            }
            Self::NoNodes { .. } => "hand /dev/bus/usb to the container, or mount devtmpfs on /dev",
            Self::Refused { .. } => {
                "look at the permissions of /dev/bus/usb and whether netlink sockets are allowed here, then run `keyrack check`"
            }
        }
    }
}

/// Looks for what libusb needs: it would only say that something is wrong.
pub(super) fn look(devices: &Path, nodes: &Path) -> Result<(), StartError> {
    if !devices.is_dir() {
        return Err(StartError::NoUsb { at: devices.to_owned() });
    }
    if !nodes.is_dir() {
        return Err(StartError::NoNodes { at: nodes.to_owned() });
    }
    Ok(())
}

/// Where the nodes are through which devices are opened.
pub const NODES: &str = "/dev/bus/usb";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let there = tempfile::tempdir().unwrap();
        let missing = there.path().join("missing");
        let no_usb = look(&missing, there.path()).unwrap_err();
        let no_nodes = look(there.path(), &missing).unwrap_err();
        for error in [&no_usb, &no_nodes] {
            assert!(error.to_string().contains("missing"), "{error}");
            assert!(error.next().contains("/dev/bus/usb"), "{error}");
        }
        assert_ne!(no_usb, no_nodes);
        look(there.path(), there.path()).unwrap();
    }
}
