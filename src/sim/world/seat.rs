//! One occupied port: a device, its attachment to the bus, and who talks to it.

use std::{cell::Cell, collections::BTreeMap};

use crate::{
    edge::Attached,
    model::{DeviceId, Mono, PortPath},
    sim::device::{Attachment, Device},
};

use super::{bus::Canceller, hubs::Addresses, phase::Wire};

/// An open pipe. Never used twice.
pub(super) type PipeId = u64;

/// A device in a port.
pub(super) struct Seat {
    /// The id that the device was made with; it may come to show another one.
    pub(super) id: DeviceId,
    device: Device,
    /// When the device is due, if that is known: asking each device of a rack after each transfer would take longer than
    /// the transfers.
    due: Cell<Option<Option<Mono>>>,
    pub(super) powered: bool,
    /// What the host sees, once the device is on the bus.
    pub(super) shown: Option<Attached>,
    /// Until when the transfer under way keeps endpoint 0 busy.
    pub(super) busy_until: Mono,
    /// Follows the requests since the attachment.
    pub(super) wire: Wire,
    /// Which pipe has claimed which interface.
    claims: BTreeMap<u8, PipeId>,
    /// What wakes the pipes when the device leaves the bus.
    pipes: BTreeMap<PipeId, Canceller>,
}

/// How the host's view of a seat changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It left the bus.
    Detached,
    /// It came onto the bus; true in DFU mode.
    Attached,
}

/// Why a pipe may not use an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It did not claim the interface.
    Unclaimed,
    /// Another pipe has.
    Taken,
}

impl Seat {
    /// A device that is plugged in and gets power now.
    pub(super) fn new(id: DeviceId, mut device: Device, now: Mono) -> Self {
        // Whatever it was about to do elsewhere: it begins anew.
        device.power(now, false);
        device.power(now, true);
        Self {
            id,
            device,
            due: Cell::new(None),
            powered: true,
            shown: None,
            busy_until: now,
            wire: Wire::default(),
            claims: BTreeMap::new(),
            pipes: BTreeMap::new(),
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn device_mut(&mut self) -> &mut Device {
        self.due.set(None);
        &mut self.device
    }

    pub(super) fn into_device(self) -> Device {
        self.device
    }

    /// When the device next does something by itself; without power never.
    pub(super) fn due(&self) -> Option<Mono> {
        let due = self.due.get().unwrap_or_else(|| self.device.due().filter(|_| self.powered));
        self.due.set(Some(due));
        due
    }

    /// Switches the power. The caller settles afterwards.
    pub(super) fn power(&mut self, now: Mono, on: bool) {
        if self.powered != on {
            self.powered = on;
            self.device_mut().power(now, on);
        }
    }

    /// The device leaves the bus; true if it was on it. Everything that was open is stale from here on.
    pub(super) fn detach(&mut self) -> bool {
        self.claims.clear();
        self.wire = Wire::default();
        self.busy_until = Mono::default();
        for pipe in std::mem::take(&mut self.pipes).into_values() {
            pipe.end();
        }
        self.shown.take().is_some()
    }

    /// Brings the host's view in line with the device: at most a detachment and an attachment, in this order.
    pub(super) fn settle(&mut self, port: &PortPath, addresses: &mut Addresses, used: &[u16]) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.is_settled() {
            return changes;
        }
        if self.detach() {
            changes.push(Change::Detached);
        }
        if let Some(attachment) = self.attachment() {
            let address = addresses.next(port, |a| used.contains(&a));
            self.shown = Some(Attached {
                port: port.clone(),
                address,
                vendor: attachment.vendor,
                product: attachment.product,
                serial: Some(attachment.serial),
            });
            changes.push(Change::Attached);
        }
        changes
    }

    /// True if the host sees what the device shows.
    pub(super) fn is_settled(&self) -> bool {
        match (&self.shown, self.attachment()) {
            (Some(shown), Some(now)) => shows(shown, &now),
            (None, None) => true,
            _ => false,
        }
    }

    fn attachment(&self) -> Option<Attachment> {
        self.device.attachment().filter(|_| self.powered)
    }

    /// True if this is the attachment that a pipe was opened for.
    pub(super) fn is_at(&self, address: u16) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.address == address)
    }

    pub(super) fn open(&mut self, pipe: PipeId, canceller: Canceller) {
        self.pipes.insert(pipe, canceller);
    }

    pub(super) fn close(&mut self, pipe: PipeId) {
        self.pipes.remove(&pipe);
        self.claims.retain(|_, owner| *owner != pipe);
    }

    pub(super) fn claim(&mut self, pipe: PipeId, interface: u8) -> Result<(), Denied> {
        match *self.claims.entry(interface).or_insert(pipe) {
            owner if owner == pipe => Ok(()),
            _ => Err(Denied::Taken),
        }
    }

    /// Whether this pipe may send requests to this interface.
    pub(super) fn may_use(&self, pipe: PipeId, interface: u8) -> Result<(), Denied> {
        match self.claims.get(&interface) {
            Some(owner) if *owner == pipe => Ok(()),
            Some(_) => Err(Denied::Taken),
            None => Err(Denied::Unclaimed),
        }
    }
}

fn shows(shown: &Attached, now: &Attachment) -> bool {
    shown.vendor == now.vendor && shown.product == now.product && shown.serial.as_deref() == Some(&now.serial)
}
