//! Looks inside the stand-in for tests and the demo, in this process only. None of it is, or ever becomes, an endpoint.

use super::{
    Import, Move, StandIn, Upload, spki,
    state::{Actor, Registered},
};
use crate::model::DeviceId;

/// What people wrote about a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its name.
    pub name: Option<String>,
    /// Its notes.
    pub notes: Option<String>,
    /// Its groups.
    pub groups: Vec<String>,
}

impl StandIn {
    /// All key uploads that reached the cloud for a device, the oldest first.
    pub fn uploads(&self, device: DeviceId) -> Vec<Upload> {
        self.current()
            .state
            .audit
            .uploads
            .iter()
            .filter(|upload| upload.device == device)
            .cloned()
            .collect()
    }

    /// All imports that named a device, the oldest first.
    pub fn imports(&self, device: DeviceId) -> Vec<Import> {
        self.current()
            .state
            .audit
            .imports
            .iter()
            .filter(|import| import.device == Some(device))
            .cloned()
            .collect()
    }

    /// All changes of a device's owner and product other than imports, the oldest first.
    pub fn moves(&self, device: DeviceId) -> Vec<Move> {
        self.current()
            .state
            .audit
            .moves
            .iter()
            .filter(|moved| moved.device == device)
            .cloned()
            .collect()
    }

    /// The SubjectPublicKeyInfo registered for a device: for tests and the demo in this process, never an endpoint.
    pub fn registered(&self, device: DeviceId) -> Option<Vec<u8>> {
        self.current().state.devices.get(&device)?.key.as_ref().map(Registered::spki)
    }

    /// Registers the key that a device was made with, as the vendor's factory does. It is no upload and not counted.
    /// False if the device is not known or this is no key of a device.
    pub fn made_with(&self, device: DeviceId, spki: &[u8]) -> bool {
        let wall = self.inner.clock.wall();
        let mut world = self.current();
        match (world.state.devices.get_mut(&device), spki::parse_der(spki)) {
            (Some(device), Ok(kind)) => {
                device.key = Some(Registered::new(kind, spki, wall));
                true
            }
            _ => false,
        }
    }

    /// What people wrote about a device, as the cloud has it.
    pub fn attributes(&self, device: DeviceId) -> Option<Attributes> {
        let world = self.current();
        let device = world.state.devices.get(&device)?;
        Some(Attributes {
            name: device.name.clone(),
            notes: device.notes.clone(),
            groups: device.groups.clone(),
        })
    }

    /// How many tokens act for customers and are still good.
    pub fn customer_tokens(&self) -> usize {
        let wall = self.inner.clock.wall();
        let world = self.current();
        let good = world
            .state
            .tokens
            .values()
            .filter(|token| token.expires.is_none_or(|at| at > wall));
        good.filter(|token| matches!(token.actor, Actor::Customer { .. })).count()
    }

    /// The product and the owner of a device as the cloud has them.
    pub fn place(&self, device: DeviceId) -> Option<(Option<u32>, Option<String>)> {
        let world = self.current();
        let device = world.state.devices.get(&device)?;
        Some((device.product, device.owner.as_ref().map(|owner| owner.name().to_owned())))
    }
}
