//! `keyrack init`: the first `station.toml`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    error::CliError,
    exit::ExitCode,
    help,
    keys::file::{self, Written},
};

/// Write a commented station.toml to start with
///
/// A rack of eight slots, the vendor's cloud, and a recipe for each of four platforms; every setting is explained in it, also
/// those that are switched off. Set the products, teach the ports with `keyrack slots learn`, get a token with
/// `keyrack login`, and `keyrack check` tells what is still missing. A file that is there already is left alone.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack init && $EDITOR station.toml", "a station of this folder")],
    &[ExitCode::Passed, ExitCode::Usage, ExitCode::Ledger],
))]
pub(super) struct InitArgs {
    /// The file
    #[arg(default_value = "station.toml")]
    file: PathBuf,
}

/// What every station starts with: the example at the root of the project.
const STATION: &str = include_str!("../../station.toml");

/// It names files of secrets and holds none.
const MODE: u32 = 0o644;

#[derive(Serialize)]
struct Initialised<'a> {
    event: &'static str,
    file: &'a PathBuf,
}

pub(super) fn run(args: &InitArgs, context: &Context) -> Result<ExitCode, CliError> {
    match file::put(&args.file, STATION.as_bytes(), MODE, &|_| false)? {
        Written::Left => {
            return Err(CliError::Missing {
                what: "there is a configuration already, and it was left alone",
                next: "change that one, or name another file",
            });
        }
        Written::New | Written::Same | Written::Replaced => {}
    }
    let printer = &context.printer;
    if printer.is_json() {
        printer.object(&Initialised {
            event: "initialised",
            file: &args.file,
        });
        return Ok(ExitCode::Passed);
    }
    printer.line(format!("\"{}\" is written", args.file.display()));
    printer.line("next: set id and products in it, then `keyrack slots learn`, `keyrack login` and `keyrack check`");
    Ok(ExitCode::Passed)
}
