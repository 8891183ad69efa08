//! `keyrack sim`: the simulated world by itself, for another process to work on.

mod usb;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{Context, demo, error::CliError, exit::ExitCode, help, rig::Options, stage::Stage};
use crate::sim::world::{hubs::Topology, scenario::Scenario};

/// Run the simulated world by itself
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack sim world /tmp/world", "serves a simulated rack and a stand-in cloud until it is stopped"),
        ("keyrack sim usb /tmp/world", "the same, with the devices on the USB ports of this machine"),
    ],
    &ENDS,
))]
pub(super) struct SimArgs {
    /// Which part.
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// A stand-in cloud on this machine, with the devices of the demo known to it
    #[command(after_long_help = help::after(
        &[
            ("keyrack sim cloud /tmp/cloud", "starts a stand-in cloud; its address, certificate and token are in the folder"),
            ("keyrack sim cloud /tmp/cloud --http --port 8080", "without TLS, for clients that cannot be given a certificate"),
        ],
        &ENDS,
    ))]
    Cloud(Serve),
    /// Simulated devices on simulated ports, with a stand-in cloud
    #[command(after_long_help = help::after(
        &[
            ("keyrack sim world /tmp/world", "serves a simulated rack until it is stopped"),
            (
                "keyrack run --headless --config /tmp/world/station.toml --world /tmp/world/bus",
                "a station that works on it; both can be killed apart",
            ),
        ],
        &ENDS,
    ))]
    World(Serve),
    Usb(usb::UsbArgs),
}

#[derive(Args, Debug)]
pub(super) struct Serve {
    /// The folder for configuration, certificate, token, socket; made for you alone
    folder: PathBuf,
    /// Another scenario than the demo's; what it expects is for runs that are judged, and may be left out here
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// How many slots the rack has; the eight devices of the demo are repeated
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=120), conflicts_with = "scenario")]
    slots: u16,
    /// The port of the cloud on loopback [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Plain HTTP, for foreign clients on this machine
    #[arg(long)]
    http: bool,
}

pub(super) fn run(args: &SimArgs, context: &Context) -> Result<ExitCode, CliError> {
    let (serve, has_socket) = match &args.part {
        Part::Cloud(serve) => (serve, false),
        Part::World(serve) => (serve, true),
        Part::Usb(args) => return usb::run(args, context),
    };
    let stage = serve.stage(serve.scenario(Topology::default())?)?;
    let signals = serve.announce(&stage, has_socket, context)?;
    wait(signals);
    stage.leave()?;
    Ok(ExitCode::Passed)
}

impl Serve {
    /// The scenario that was named, or the demo's.
    fn scenario(&self, topology: Topology) -> Result<Scenario, CliError> {
        match &self.scenario {
            Some(path) => Ok(Scenario::read_to_serve(path, topology)?),
            None => demo::rack(self.slots, None, topology),
        }
    }

    fn stage(&self, scenario: Scenario) -> Result<Stage, CliError> {
        Stage::set(&self.folder, scenario, &Options::default(), !self.http, self.port)
    }

    /// Says where everything is. Whoever reads that may stop the program at once: the signals are taken over before.
    fn announce(&self, stage: &Stage, has_socket: bool, context: &Context) -> Result<Signals, CliError> {
        let signals = Signals::new([SIGINT, SIGTERM]).map_err(CliError::Signals)?;
        let served = Served {
            event: "serving",
            url: &stage.url,
            ca_file: (!self.http).then(|| stage.folder.join("ca.pem")),
            token_file: stage.folder.join("token"),
            config: stage.config(),
            socket: has_socket.then(|| stage.socket()),
        };
        if context.printer.is_json() {
            context.printer.object(&served);
        } else {
            context.printer.line(format!("cloud   {}", served.url));
            if let Some(ca) = &served.ca_file {
                context.printer.line(format!("ca      {}", ca.display()));
            }
            context.printer.line(format!("token   {}", served.token_file.display()));
            context.printer.line(format!("config  {}", served.config.display()));
            if let Some(socket) = &served.socket {
                context.printer.line(format!("bus     {}", socket.display()));
            }
        }
        context.printer.flush().map_err(CliError::Output)?;
        Ok(signals)
    }
}

/// Waits until the program is asked to stop.
fn wait(mut signals: Signals) {
    signals.forever().next();
}

#[derive(Serialize)]
struct Served<'a> {
    event: &'static str,
    url: &'a str,
    ca_file: Option<PathBuf>,
    token_file: PathBuf,
    config: PathBuf,
    socket: Option<PathBuf>,
}

const ENDS: [ExitCode; 4] = [ExitCode::Passed, ExitCode::Usage, ExitCode::Fault, ExitCode::Ledger];
