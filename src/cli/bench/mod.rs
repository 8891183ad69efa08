//! `keyrack bench`: the figures that this project promises, measured. What `scripts/bench` runs.
//!
//! Each figure is a line, `name value unit`, and each is measured within one run: a ratio, or a number of this machine.
//! Nothing here is a test: a slow machine is no defect.
//!
//! | file | what it measures |
//! |---|---|
//! | `rack.rs` | racks of 1, 8 and 64 devices in real time |
//! | `session.rs` | one rack: its world in this process, its station in another one |
//! | `screen.rs` | painting the screen, in this process and on a terminal |
//! | `terminal.rs` | a station on a pseudo-terminal |
//! | `wire.rs` | control transfers for each page that is written |
//! | `ledger.rs` | commits, and a ledger of a million devices |
//! | `repair.rs` | what repairs ask of the cloud, and how long they take |
//! | `flow.rs` | the flows of repair, with a device that needs each |
//! | `handed.rs` | what a rehearsed station knows and is given beforehand |
//! | `rehearsal.rs` | a station on a simulated rack in virtual time |

mod flow;
mod handed;
mod ledger;
mod rack;
mod rehearsal;
mod repair;
mod screen;
mod session;
mod terminal;
mod wire;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, error::CliError, exit::ExitCode, help};

/// Measure what this program promises
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack bench rack", "racks of 1, 8 and 64 simulated devices in real time: minutes"),
        ("keyrack bench ledger --devices 10000", "start and look-up with a ledger of this size"),
        ("keyrack bench repair", "repairs in virtual time: the figures are the same on every machine"),
    ],
    &ENDS,
))]
pub(super) struct BenchArgs {
    /// Which part.
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Racks of simulated devices, each with its station in a process of its own
    #[command(after_long_help = help::after(
        &[("keyrack bench rack --slots 8", "one device, then eight; then the ratio of the two")],
        &ENDS,
    ))]
    Rack(rack::RackArgs),
    /// A large ledger
    #[command(after_long_help = help::after(
        &[("keyrack bench ledger", "with a million devices: 8 GB of disk and ten minutes to fill it")],
        &ENDS,
    ))]
    Ledger(ledger::LedgerArgs),
    /// The screen: how long it takes to paint, what it takes of a processor, how soon it is there
    #[command(after_long_help = help::after(
        &[("keyrack bench tui --devices 10000", "the first picture with a ledger of this size; the rest is the same")],
        &ENDS,
    ))]
    Tui(screen::ScreenArgs),
    /// Repairs: each flow, a customer's device without its owner, and a thousand devices that get new keys
    #[command(after_long_help = help::after(
        &[("keyrack bench repair --devices 64", "one rack full of devices gets new keys")],
        &ENDS,
    ))]
    Repair(repair::RepairArgs),
}

pub(super) fn run(args: &BenchArgs, context: &Context) -> Result<ExitCode, CliError> {
    match &args.part {
        Part::Rack(args) => rack::run(args, context),
        Part::Ledger(args) => ledger::run(args, context),
        Part::Tui(args) => screen::run(args, context),
        Part::Repair(args) => repair::run(args, context),
    }
}

/// Where a measurement keeps its files while it runs.
#[derive(Args, Debug)]
struct Place {
    /// Where the ledgers lie while they are measured: the disk counts [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Place {
    fn temporary(&self) -> Result<tempfile::TempDir, CliError> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("keyrack-bench-").tempdir_in(&parent);
        made.map_err(file("make a directory in", &parent))
    }
}

#[derive(Serialize)]
struct Figure<'a> {
    event: &'static str,
    name: &'a str,
    value: f64,
    unit: &'a str,
}

/// Prints one figure.
fn figure(context: &Context, name: &str, value: f64, unit: &str) {
    let printer = &context.printer;
    if printer.is_json() {
        return printer.object(&Figure {
            event: "figure",
            name,
            value,
            unit,
        });
    }
    printer.line(format!("{name} {value:.3} {unit}"));
}

/// Says what is being done, and what is worth knowing of it.
fn note(context: &Context, what: impl fmt::Display) {
    context.printer.note(what.to_string());
}

/// The value below which the given share of the values lies; they must be sorted.
fn share(sorted: &[u64], percent: usize) -> u64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File { doing, path, source }
}

const ENDS: [ExitCode; 5] = [
    ExitCode::Passed,
    ExitCode::Usage,
    ExitCode::Fault,
    ExitCode::Ledger,
    ExitCode::Internal,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_few_values_are_values_themselves() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!((share(&values, 50), share(&values, 99)), (100, 198));
        assert_eq!(share(&[7], 99), 7);
        assert_eq!(share(&[], 50), 0);
    }
}
