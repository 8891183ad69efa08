//! `keyrack backup`: a second copy of the ledger.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Context, error::CliError, exit::ExitCode, help};

/// Copy the ledger to another disk, also while the station runs
///
/// The copy is of one instant. It is checked and synced before it gets its name, so that whatever has the name is a
/// whole copy; an older copy of the same name is replaced. Undo copies and the key that seals them are not part of it.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack backup --to /mnt/backup/ledger.db", "makes or replaces the copy on another disk")],
    help::READING,
))]
pub(super) struct BackupArgs {
    /// The file of the copy, outside of the ledger's directory
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
}

#[derive(Serialize)]
struct Copied<'a> {
    event: &'static str,
    to: &'a PathBuf,
    last_seq: u64,
    bytes: u64,
}

pub(super) fn run(args: &BackupArgs, context: &Context) -> Result<ExitCode, CliError> {
    let printer = &context.printer;
    let mut told = 0;
    let copied = context.reader()?.backup(&args.to, &mut |progress| {
        let tenths = (progress.done * 10).checked_div(progress.total).unwrap_or(10);
        if printer.verbosity() > 0 && tenths > told {
            told = tenths;
            printer.note(format!("{} %", tenths * 10));
        }
    })?;
    if printer.is_json() {
        printer.object(&Copied {
            event: "backup",
            to: &args.to,
            last_seq: copied.last_seq,
            bytes: copied.bytes,
        });
    } else {
        printer.line(format!(
            "copied and proved: \"{}\", {} records, {} bytes",
            args.to.display(),
            copied.last_seq,
            copied.bytes
        ));
    }
    Ok(ExitCode::Passed)
}
