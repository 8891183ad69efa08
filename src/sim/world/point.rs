//! Where a crash test can look at a transfer, and cut.

use crate::{
    edge::Setup,
    model::{DeviceId, PortPath},
};

use super::phase::Phase;

/// A moment of one control transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferPoint {
    /// The device, by the id that it was made with.
    pub device: DeviceId,
    /// Where it is plugged in.
    pub port: PortPath,
    /// The setup packet.
    pub setup: Setup,
    /// How many transfers to this device came before this one.
    pub index: u64,
    /// How many transfers to any device came before this one.
    pub overall: u64,
    /// Which moment.
    pub moment: Moment,
    /// What the device is going through, if it has a name.
    pub phase: Option<Phase>,
}

/// The moments of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The device has not seen it.
    Before,
    /// The device is half-way through: a write that is cut here is torn.
    During,
    /// The device is done, and the host does not know yet.
    After,
}

/// What loses its power at a [`TransferPoint`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Nothing.
    #[default]
    None,
    /// The station: its threads end as `kill -9` ends a process (see [`World::on_station_cut`](super::World::on_station_cut)).
    Station,
    /// All devices, for two seconds.
    Devices,
    /// The devices, then the station.
    Both,
}

impl Cut {
    pub(super) fn devices(self) -> bool {
        matches!(self, Self::Devices | Self::Both)
    }

    pub(super) fn station(self) -> bool {
        matches!(self, Self::Station | Self::Both)
    }
}
