//! `keyrack packet`: keys that come from field benches.

mod find;
mod import;
mod judge;
pub(super) mod send;
mod show;

use clap::{Args, Subcommand};

use super::{Context, error::CliError, exit::ExitCode, help};

pub(super) use find::{Found, ListTrouble, one};
pub(super) use import::product;

/// Keys that come from field benches
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack packet import returned/", "registers every packet of a directory")],
    &ExitCode::ALL,
))]
pub(super) struct PacketArgs {
    /// What to do with them.
    #[command(subcommand)]
    errand: Errand,
}

#[derive(Debug, Subcommand)]
enum Errand {
    Import(import::ImportArgs),
}

pub(super) fn run(args: &PacketArgs, context: &Context) -> Result<ExitCode, CliError> {
    match &args.errand {
        Errand::Import(args) => import::run(args, context),
    }
}
