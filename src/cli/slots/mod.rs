//! `keyrack slots`: which slot is which port, what is plugged in where, and how the station learns it. It reads what the
//! ports show; only `blink` opens a device, and only the one in the slot that was named.

mod blink;
mod learn;
mod lesson;
mod show;
mod watch;
mod write;

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};

use super::{Context, assemble, error::CliError, exit::ExitCode, help, print::Text};
use crate::{
    edge::{Attached, Bus, Clock, clock::SystemClock},
    model::{
        DeviceId, Platform,
        platform::{UsbId, UsbMode},
    },
};
pub(super) use blink::BlinkError;

/// Show the slots of the rack and what is plugged in where
///
/// A slot is a USB port by its place in the machine: it keeps its number when a device restarts and when the machine does. What
/// is plugged in on a port that is no slot is shown, and left alone by every command. On the USB ports of this machine the
/// hubs are shown, too, and what will go wrong with them: a hub that is not there, one through which too little fits, more
/// devices than a controller takes. Without a station.toml everything is shown that is plugged in.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = help::after(
    &[
        ("keyrack slots", "the rack as it is now"),
        ("keyrack slots --follow", "the same, then each device that comes or goes, until Ctrl-C"),
        ("keyrack slots learn", "teaches the station its slots, by plugging one device into each in turn"),
        ("keyrack slots blink 3", "the device in slot 3 shows itself"),
    ],
    &ENDS,
))]
pub(super) struct SlotsArgs {
    #[command(flatten)]
    world: WorldArgs,
    /// Go on, and tell what comes and goes
    #[arg(long)]
    follow: bool,
    /// What else to do.
    #[command(subcommand)]
    errand: Option<Errand>,
}

/// Which ports.
#[derive(Args, Clone, Debug)]
struct WorldArgs {
    /// The socket of a simulated world, in place of the USB ports of this machine (`keyrack sim world`)
    #[arg(long, value_name = "SOCKET")]
    world: Option<PathBuf>,
}

impl WorldArgs {
    fn bus(&self, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Bus>, CliError> {
        assemble::bus(self.world.as_deref(), clock)
    }
}

#[derive(Debug, Subcommand)]
enum Errand {
    Learn(learn::LearnArgs),
    Blink(blink::BlinkArgs),
}

pub(super) fn run(args: &SlotsArgs, context: &Context) -> Result<ExitCode, CliError> {
    match &args.errand {
        None => show::run(args, context),
        Some(Errand::Learn(args)) => learn::run(args, context),
        Some(Errand::Blink(args)) => blink::run(args, context),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// What the ports show of a device, without opening it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
struct Shown {
    /// Its id, if its serial number string is one.
    id: Option<DeviceId>,
    /// Its serial number string, if that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    platform: Option<Platform>,
    mode: Option<UsbMode>,
}

impl From<&Attached> for Shown {
    fn from(attached: &Attached) -> Self {
        let usb = UsbId {
            vendor: attached.vendor,
            product: attached.product,
        };
        let (platform, mode) = Platform::from_usb(usb).unzip();
        let id = attached.serial.as_deref().and_then(|text| text.trim().parse().ok());
        Self {
            id,
            serial: attached.serial.clone().filter(|_| id.is_none()),
            platform,
            mode,
        }
    }
}

impl Shown {
    /// Who it is.
    fn who(&self) -> Text {
        match (&self.id, &self.serial) {
            (Some(id), _) => Text::from(id.to_string()),
            (None, Some(serial)) => Text::new().then(format!("\"{serial}\"")),
            (None, None) => "(no serial number)".into(),
        }
    }

    /// What it is.
    fn what(&self) -> String {
        self.platform
            .map_or_else(|| "unknown".to_owned(), |platform| platform.to_string())
    }

    /// In which mode it is.
    fn mode(&self) -> String {
        self.mode.map_or_else(String::new, |mode| mode.to_string())
    }

    /// All of it in one phrase.
    fn phrase(&self) -> Text {
        Text::new()
            .then(self.what())
            .then(" ")
            .join(self.who())
            .then(match self.mode {
                Some(UsbMode::Dfu) => ", DFU mode",
                _ => "",
            })
    }
}

const ENDS: [ExitCode; 5] = [
    ExitCode::Passed,
    ExitCode::Usage,
    ExitCode::Fault,
    ExitCode::Ledger,
    ExitCode::Interrupted,
];
