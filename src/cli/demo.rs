//! `keyrack demo`: a simulated rack with a simulated cloud, from the first fact to the summary.

use clap::Args;

use super::{Context, error::CliError, exit::ExitCode, help};

/// Provision a simulated rack with a simulated cloud
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack demo", "provisions a simulated rack; nothing real is touched")],
    &ExitCode::ALL,
))]
pub(super) struct DemoArgs {}

pub(super) fn run(_args: &DemoArgs, _context: &Context) -> Result<ExitCode, CliError> {
    Err(CliError::Absent { what: "the demo" })
}
