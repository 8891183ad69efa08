//! The kernel's virtual host controllers, as sysfs shows them.

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::{Path, PathBuf},
};

use crate::{model::PortPath, sim::world::hubs::Topology};

/// The virtual host controllers of this machine.
#[derive(Clone, Debug)]
pub struct Controllers {
    /// The folder of platform devices.
    platform: PathBuf,
    /// Where a device is attached: one file for all controllers.
    attach: PathBuf,
    /// Ports of the high-speed hub of each controller, for devices up to that speed.
    ports: u8,
    count: u16,
}

/// Why no device can be attached here.
#[derive(Debug, thiserror::Error)]
pub enum NoController {
    /// The kernel has no virtual host controller.
    #[error("the kernel of this machine has no virtual USB host controller (vhci_hcd)")]
    Absent,
    /// There is one, and it is not for this user.
    #[error("the virtual USB host controller (vhci_hcd) of this machine is not for this user")]
    Forbidden(#[source] io::Error),
    /// It is not as the kernel's documents say.
    #[error("the virtual USB host controller (vhci_hcd) of this machine is of an unknown kind: {0}")]
    Unknown(String),
}

impl Controllers {
    /// The controllers below the folder of platform devices, usually `/sys/devices/platform`.
    ///
    /// # Errors
    /// [`NoController`].
    pub fn find(platform: &Path) -> Result<Self, NoController> {
        let count = (0..).take_while(|n| platform.join(format!("{NAME}.{n}")).is_dir()).count();
        let first = platform.join(format!("{NAME}.0"));
        if count == 0 {
            return Err(NoController::Absent);
        }
        let unknown = |what: String| NoController::Unknown(what);
        let read = fs::read_to_string(first.join("nports")).map_err(|error| unknown(error.to_string()))?;
        let all: usize = read.trim().parse().map_err(|_| unknown(format!("{read:?} ports")))?;
        // Each controller has as many ports for SuperSpeed as for all lower speeds.
        let ports = u8::try_from(all / count / 2)
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| unknown(format!("{all} ports on {count} controllers")))?;
        let attach = first.join("attach");
        fs::OpenOptions::new()
            .write(true)
            .open(&attach)
            .map_err(NoController::Forbidden)?;
        Ok(Self {
            platform: platform.to_owned(),
            attach,
            ports,
            count: u16::try_from(count).unwrap_or(u16::MAX),
        })
    }

    /// How many devices they hold.
    pub fn capacity(&self) -> u16 {
        self.count.saturating_mul(u16::from(self.ports))
    }

    /// Where slots are on these controllers: the root ports, one after the other.
    pub fn topology(&self) -> Topology {
        Topology::RootPorts { each: self.ports }
    }

    /// True if this is a port of one of these controllers.
    pub fn has(&self, port: &PortPath) -> bool {
        self.number(port).is_some()
    }

    /// True while the kernel still has the device that was in this port before. This controller leaves a port enabled when
    /// its device goes, unlike a real one: whatever comes before the kernel has noticed would be taken for the same device.
    pub(super) fn holds(&self, port: &PortPath) -> bool {
        let [at] = port.chain() else { return false };
        let controller = port.controller().trim_start_matches(Topology::PLATFORM);
        let entries = fs::read_dir(self.platform.join(format!("{NAME}.{controller}")));
        entries.into_iter().flatten().map_while(Result::ok).any(|entry| {
            let name = entry.file_name();
            let bus = name.to_str().and_then(|name| name.strip_prefix("usb"));
            bus.is_some_and(|bus| entry.path().join(format!("{bus}-{at}")).exists())
        })
    }

    /// Gives the kernel its end of a wire: something was plugged into this port.
    pub(super) fn attach(&self, port: &PortPath, wire: &UnixStream) -> io::Result<()> {
        let number = self
            .number(port)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{port} is no port of {NAME}")))?;
        // Any number tells devices of one remote bus apart; here each has a wire of its own.
        let line = format!("{number} {} {} {FULL_SPEED}", wire.as_raw_fd(), number + 1);
        fs::OpenOptions::new()
            .write(true)
            .open(&self.attach)
            .and_then(|mut file| io::Write::write_all(&mut file, line.as_bytes()))
    }

    /// The kernel's number of a port: the lower-speed ports of a controller come before its SuperSpeed ports.
    fn number(&self, port: &PortPath) -> Option<u32> {
        let controller: u16 = port.controller().strip_prefix(Topology::PLATFORM)?.parse().ok()?;
        let [at] = port.chain() else { return None };
        let known = controller < self.count && (1..=self.ports).contains(at);
        known.then(|| u32::from(controller) * 2 * u32::from(self.ports) + u32::from(*at) - 1)
    }
}

const NAME: &str = "vhci_hcd";
/// `USB_SPEED_FULL` of the kernel's `usb_device_speed`.
const FULL_SPEED: u32 = 2;
