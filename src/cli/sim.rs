//! `keyrack sim`: the simulated world by itself, for another process to work on.

use clap::{Args, Subcommand};

use super::{Context, error::CliError, exit::ExitCode, help};

/// Run the simulated world by itself
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack sim cloud", "starts a stand-in cloud on this machine")],
    &ExitCode::ALL,
))]
pub(super) struct SimArgs {
    /// Which part.
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// A stand-in cloud on this machine
    #[command(after_long_help = help::after(
        &[("keyrack sim cloud", "starts a stand-in cloud on this machine")],
        &ExitCode::ALL,
    ))]
    Cloud,
    /// Simulated devices on simulated ports
    #[command(after_long_help = help::after(
        &[("keyrack sim world", "starts simulated devices")],
        &ExitCode::ALL,
    ))]
    World,
}

pub(super) fn run(args: &SimArgs, _context: &Context) -> Result<ExitCode, CliError> {
    Err(CliError::Absent {
        what: match args.part {
            Part::Cloud => "the stand-in cloud",
            Part::World => "the simulated world",
        },
    })
}
