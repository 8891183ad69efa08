//! `keyrack sim`: the simulated world by itself, for another process to work on.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Context, error::CliError, exit::ExitCode, help, rig::Options, stage::Stage};
use crate::sim::world::scenario::Scenario;

/// Run the simulated world by itself
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack sim world /tmp/world", "serves a simulated rack and a stand-in cloud until it is stopped")],
    &ENDS,
))]
pub(super) struct SimArgs {
    /// Which part.
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
pub(super) enum Part {
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
}

#[derive(Args, Debug)]
pub(super) struct Serve {
    /// The folder for configuration, certificate, token, socket; made for you alone
    folder: PathBuf,
    /// Another scenario than the demo's
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// The port of the cloud on loopback [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Plain HTTP, for foreign clients on this machine
    #[arg(long)]
    http: bool,
}

pub(super) fn run(args: &SimArgs, context: &Context) -> Result<ExitCode, CliError> {
    let (Part::Cloud(serve) | Part::World(serve)) = &args.part;
    let scenario = match &serve.scenario {
        Some(path) => Scenario::read(path)?,
        None => Scenario::parse(include_str!("../../fixtures/scenarios/demo.toml"))?,
    };
    let stage = Stage::set(&serve.folder, scenario, &Options::default(), !serve.http, serve.port)?;
    // Whoever reads that it serves may stop it at once.
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(CliError::Signals)?;
    let served = Served {
        event: "serving",
        url: &stage.url,
        ca_file: (!serve.http).then(|| stage.folder.join("ca.pem")),
        token_file: stage.folder.join("token"),
        config: stage.config(),
        socket: matches!(args.part, Part::World(_)).then(|| stage.socket()),
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
    signals.forever().next();
    stage.leave()?;
    Ok(ExitCode::Passed)
}

#[derive(Serialize)]
pub(super) struct Served<'a> {
    event: &'static str,
    url: &'a str,
    ca_file: Option<PathBuf>,
    token_file: PathBuf,
    config: PathBuf,
    socket: Option<PathBuf>,
}

const ENDS: [ExitCode; 4] = [ExitCode::Passed, ExitCode::Usage, ExitCode::Fault, ExitCode::Ledger];
