//! Gives the device the bench network, and takes it away again.

use crate::{
    device,
    model::{
        Code, Outcome, StepError, StepKind,
        recipe::{Aim, Wifi},
    },
};

use super::{Bench, Cx, Report, Step, open::failed, stays};

/// Sets the credentials.
pub(super) struct JoinNetwork;

impl Step for JoinNetwork {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let (wifi, doing) = (wifi(cx)?, StepKind::JoinNetwork.label());
        let mut control = bench.control(doing)?;
        // A device that comes back from the field has a network of its own to lose.
        if cx.recipe.aim != Aim::Provision
            && !device::network::can_borrow_wifi(&mut control, &wifi.ssid).map_err(|e| failed(doing, &e))?
        {
            let why = "it would forget its own Wi-Fi networks with the bench's: it gets none".to_owned();
            return Ok(stays(Outcome::Skipped { why }));
        }
        device::network::set_wifi(&mut control, wifi).map_err(|e| failed(doing, &e))?;
        Ok(stays(Outcome::Done))
    }
}

/// Removes the credentials.
pub(super) struct ForgetNetwork;

impl Step for ForgetNetwork {
    fn run(&self, cx: &Cx<'_>, bench: &mut Bench) -> Result<Report, StepError> {
        let (wifi, doing) = (wifi(cx)?, StepKind::ForgetNetwork.label());
        let mut control = bench.control(doing)?;
        device::network::forget_wifi(&mut control, &wifi.ssid).map_err(|e| failed(doing, &e))?;
        Ok(stays(Outcome::Done))
    }
}

fn wifi<'a>(cx: &Cx<'a>) -> Result<&'a Wifi, StepError> {
    cx.recipe
        .wifi
        .as_ref()
        .ok_or_else(|| StepError::new(Code::Internal, "find the bench network in the recipe"))
}
