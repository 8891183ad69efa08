//! Opening a device for one order, and making sure that it is the one that is meant.

use std::sync::Arc;

use crate::{
    device::{self, Cancel, Control, DeviceError, Dfu, Link, service_mode},
    edge::{Attached, Bus, Clock},
    model::{
        Code, DeviceId, Outcome, StepError,
        fact::{Identity, Protection},
        platform::UsbMode,
    },
    rack::{After, Report},
};

use super::{Cx, protect_again::refused};

/// A device, opened for one order.
pub struct Bench {
    link: Link,
    attached: Attached,
}

impl Bench {
    /// Opens what is attached, and reads its id again: no byte meant for one device reaches another.
    ///
    /// # Errors
    /// [`Code::DeviceSwapped`] if another device is there.
    pub fn open(cx: &Cx<'_>, attached: &Attached) -> Result<Self, StepError> {
        let link = open(cx.bus, cx.clock, attached, cx.work.device, cx.cancel)?;
        Ok(Self {
            link,
            attached: attached.clone(),
        })
    }

    /// The open device.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// What the bus says of it.
    pub fn attached(&self) -> Attached {
        self.attached.clone()
    }

    /// The mode that it is in.
    pub fn mode(&self) -> UsbMode {
        self.link.mode()
    }

    /// The device in DFU mode.
    ///
    /// # Errors
    /// If it does not answer as a DFU device.
    pub fn dfu(&mut self, doing: &str) -> Result<Dfu<'_>, StepError> {
        Dfu::open(&mut self.link).map_err(|error| failed(doing, &error.into()))
    }

    /// The device in normal mode.
    ///
    /// # Errors
    /// If its control requests do not work.
    pub fn control(&mut self, doing: &str) -> Result<Control<'_>, StepError> {
        Control::open(&mut self.link).map_err(|error| failed(doing, &error.into()))
    }
}

/// Finds out who is attached there.
///
/// # Errors
/// If the device cannot be opened or does not tell its id.
pub fn identify(bus: &dyn Bus, clock: &Arc<dyn Clock>, attached: &Attached, cancel: &Cancel) -> Result<Identity, StepError> {
    let doing = "find out who is in the slot";
    let mut link = Link::open(bus, attached, Arc::clone(clock), cancel.clone()).map_err(|e| failed(doing, &e))?;
    device::identify(&mut link, attached).map_err(|e| failed(doing, &e))
}

/// Brings a device into a mode, or reports that it is in it. One that may be protected is `guarded`: a protected one does
/// not leave DFU mode as others do.
///
/// # Errors
/// If it refuses.
pub fn change_mode(
    bus: &dyn Bus,
    clock: &Arc<dyn Clock>,
    attached: &Attached,
    device: DeviceId,
    to: UsbMode,
    guarded: bool,
    cancel: &Cancel,
) -> Result<Report, StepError> {
    let doing = format!("bring the device into {to}");
    let mut link = open(bus, clock, attached, device, cancel)?;
    if link.mode() == to {
        return Ok(super::stays(Outcome::Done));
    }
    let changed = match to {
        UsbMode::Normal if guarded && is_protected(&mut link, &doing)? => {
            return service_mode::leave_dfu(&mut link)
                .map(|_| comes_back(to))
                .map_err(|e| refused(&doing, &e));
        }
        UsbMode::Dfu => Control::open(&mut link)
            .and_then(|mut control| device::mode::enter_dfu(&mut control))
            .map_err(DeviceError::from),
        UsbMode::Normal => Dfu::open(&mut link).and_then(Dfu::leave).map(drop).map_err(DeviceError::from),
    };
    changed.map_err(|e| failed(&doing, &e))?;
    Ok(comes_back(to))
}

fn comes_back(mode: UsbMode) -> Report {
    Report {
        outcome: Outcome::Done,
        after: After::Returns { mode, within: REAPPEAR },
    }
}

fn is_protected(link: &mut Link, doing: &str) -> Result<bool, StepError> {
    let state = Dfu::open(link).and_then(|mut dfu| dfu.protection());
    state
        .map(|state| state == Protection::Protected)
        .map_err(|e| failed(doing, &e.into()))
}

/// A failure of the device protocols as the failure of a step.
pub(super) fn failed(doing: &str, error: &DeviceError) -> StepError {
    StepError::caused(error.code(), doing, error)
}

fn open(
    bus: &dyn Bus,
    clock: &Arc<dyn Clock>,
    attached: &Attached,
    expected: DeviceId,
    cancel: &Cancel,
) -> Result<Link, StepError> {
    let doing = format!("open device {expected}");
    let mut link = Link::open(bus, attached, Arc::clone(clock), cancel.clone()).map_err(|e| failed(&doing, &e))?;
    let found = device::identify::device_id(&mut link, attached).map_err(|e| failed(&doing, &e))?;
    if found == expected {
        Ok(link)
    } else {
        Err(StepError::new(Code::DeviceSwapped, format!("{doing}: {found} is there")))
    }
}

/// The longest that a device may be off the bus when it changes its mode: the ceiling of the vendor's own tools
/// (device-protocol.md 7).
pub(super) const REAPPEAR: std::time::Duration = std::time::Duration::from_secs(60);
