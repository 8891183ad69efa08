//! `keyrack slots blink`: the device in a slot shows itself.

use std::{sync::Arc, time::Duration};

use clap::Args;
use serde::Serialize;

use super::{
    ENDS, Shown, WorldArgs, clock,
    watch::{Moment, Watch},
};
use crate::{
    cli::{Context, error::CliError, exit::ExitCode, help, places},
    device::{Cancel, Control, ControlError, DeviceError, Link, ResultCode, mode},
    model::{SlotNo, platform::UsbMode, sentence::count},
    store,
};

/// The device in a slot shows itself: its light goes through all colours
///
/// A running device does so from Device OS 0.8.0 (Photon, P1, Electron) or 0.9.0 on. A device in DFU mode knows no such
/// request: its light blinks yellow by itself, and this says so. A protected device refuses. Nothing else on it is changed. It
/// is not asked while a station is at work: that would take the device's answers away from it.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack slots blink 3", "for ten seconds, or until Ctrl-C")],
    &ENDS,
))]
pub(super) struct BlinkArgs {
    /// The slot
    #[arg(value_name = "SLOT", value_parser = clap::value_parser!(u16).range(1..))]
    slot: u16,
    /// For how long
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    #[command(flatten)]
    world: WorldArgs,
}

/// Why a device does not show itself.
#[derive(Debug, thiserror::Error)]
pub enum BlinkError {
    /// In DFU mode there is no request for it.
    #[error("it is in DFU mode, where it cannot be asked to; its light blinks yellow by itself")]
    Dfu,
    /// It does not do it.
    #[error("it refuses")]
    Refused(#[source] ControlError),
    /// It could not be asked.
    #[error("it could not be asked")]
    Device(#[source] DeviceError),
}

impl BlinkError {
    /// The one next action.
    pub(in crate::cli) fn next(&self) -> &'static str {
        match self {
            Self::Dfu => {
                "look for the one light that blinks yellow; if there are others, restart the device with its reset button"
            }
            Self::Refused(error) if error.is_result(ResultCode::PROTECTED) => {
                "a protected device refuses this; unplug it and see which slot becomes empty (`keyrack slots --follow`)"
            }
            Self::Refused(_) => {
                "its Device OS is too old for this; unplug it and see which slot becomes empty (`keyrack slots --follow`)"
            }
            Self::Device(error) => error.code().next_action(),
        }
    }
}

pub(super) fn run(args: &BlinkArgs, context: &Context) -> Result<ExitCode, CliError> {
    let slot = SlotNo(args.slot);
    let path = places::config(&context.globals, &context.environment)?;
    let station = crate::config::load(&path)?;
    let port = station.slots.iter().find(|s| s.number == slot).map(|s| &s.port);
    let port = port.ok_or(CliError::UnknownSlot { slot })?;
    if store::is_in_use(&places::ledger(&context.state()?))? {
        return Err(CliError::Missing {
            what: "a station is at work here, and the devices are its own",
            next: "look for the slot on its screen, or stop it first",
        });
    }
    let clock = clock();
    let bus = args.world.bus(&clock)?;
    let mut watch = Watch::start(Arc::clone(&bus), Arc::clone(&clock))?;
    let attached = watch.known().iter().find(|a| a.port == *port).cloned();
    let attached = attached.ok_or(CliError::EmptySlot { slot })?;
    let failed = |source| CliError::Blink { slot, source };
    let mut link =
        Link::open(&*bus, &attached, Arc::clone(&clock), Cancel::new()).map_err(|error| failed(BlinkError::Device(error)))?;
    if link.mode() == UsbMode::Dfu {
        return Err(failed(BlinkError::Dfu));
    }
    let asked = |error: ControlError| {
        failed(match error {
            ControlError::Refused { .. } | ControlError::Protected { .. } => BlinkError::Refused(error),
            error => BlinkError::Device(error.into()),
        })
    };
    let mut control = Control::open(&mut link).map_err(asked)?;
    mode::start_nyan(&mut control).map_err(asked)?;
    tell(slot, &Shown::from(&attached), args.seconds, context);
    let deadline = clock.now() + Duration::from_secs(args.seconds);
    loop {
        match watch.next(Some(deadline))? {
            Moment::Late | Moment::Stopped => break,
            // Taken out: it was found.
            Moment::Changed(_) if !watch.known().contains(&attached) => return Ok(ExitCode::Passed),
            Moment::Changed(_) | Moment::Typed => {}
        }
    }
    mode::stop_nyan(&mut control).map_err(asked)?;
    Ok(ExitCode::Passed)
}

#[derive(Serialize)]
struct BlinkEvent<'a> {
    event: &'static str,
    slot: SlotNo,
    device: &'a Shown,
    seconds: u64,
}

fn tell(slot: SlotNo, device: &Shown, seconds: u64, context: &Context) {
    if context.printer.is_json() {
        return context.printer.object(&BlinkEvent {
            event: "blinking",
            slot,
            device,
            seconds,
        });
    }
    let how_long = count(usize::try_from(seconds).unwrap_or(usize::MAX), "second");
    context.printer.line(
        device
            .phrase()
            .then(format!(" in slot {slot} shows all colours in turn for {how_long}")),
    );
}
