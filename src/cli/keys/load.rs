//! `keyrack keys load`: writes a pair from a file to a device.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::given::{self, GiveArgs};
use crate::{
    cli::{
        Context,
        error::CliError,
        exit::ExitCode,
        help,
        print::{Paint, Text},
        prompt::Prompt,
        small_file::{self, MOST_KEY},
    },
    keys::{PrivateFileError, PrivateKey, read_private},
    model::{KeyKind, SlotNo, Verdict},
    station::GivenPair,
};

/// Write the pair of a file to the device in a slot, and register it
///
/// FILE is what the vendor's CLI saved (`keys save X.der`), or a private key as PEM or DER. It is written in the layout
/// that the device itself uses, read back, and proved by a handshake. Everything else is as with `keyrack keys generate`:
/// permission is proved before a valid key is replaced, the old state can be put back, and the key is registered; unless
/// the cloud accepted this very key last for this device, as the ledger knows: then it need not learn it again. A key that
/// the ledger knows on another device is never written.
///
/// The private half is in the memory of this process alone. If the station stops in the middle, give the file again. At
/// the end the file has to be removed: whoever has it can be the device.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack keys load 3 e00fce681234567890abcdef.der", "the device in slot 3 gets the key of this file")],
    &ExitCode::ALL,
))]
pub(super) struct LoadArgs {
    /// The slot of the device
    #[arg(value_name = "SLOT", value_parser = clap::value_parser!(u16).range(1..))]
    slot: u16,
    /// The file of the private key
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    give: GiveArgs,
}

#[derive(Serialize)]
struct RemoveEvent<'a> {
    event: &'static str,
    file: &'a Path,
    next: &'static str,
}

pub(super) fn run(args: &LoadArgs, context: &Context) -> Result<ExitCode, CliError> {
    let file = small_file::read(&args.file, MOST_KEY).map_err(|source| CliError::Unread {
        path: args.file.clone(),
        source,
    })?;
    let pair = of_either_kind(&file).map_err(|source| CliError::PrivateFile {
        path: args.file.clone(),
        source,
    })?;
    drop(file);
    let pairs = vec![GivenPair {
        slot: SlotNo(args.slot),
        device: None,
        pair,
    }];
    let worked = given::give(args.slot, pairs, &args.give, context)?;
    if worked.results.iter().any(|line| line.verdict == Some(Verdict::Pass)) {
        remind(&args.file, context)?;
    }
    Ok(worked.numbers.exit())
}

/// The pair in a file: of which kind it should be, the device will tell.
fn of_either_kind(file: &[u8]) -> Result<PrivateKey, PrivateFileError> {
    match read_private(file, KeyKind::P256) {
        Err(PrivateFileError::OtherKind { found, .. }) => read_private(file, found),
        read => read,
    }
}

/// Asks that the file be removed, until it is gone or there is nobody to ask.
fn remind(file: &Path, context: &Context) -> Result<(), CliError> {
    let printer = &context.printer;
    if printer.is_json() {
        let next = REMOVE;
        printer.object(&RemoveEvent {
            event: "remove",
            file,
            next,
        });
        return Ok(());
    }
    let prompt = Prompt::new(printer)?;
    while file.exists() {
        let text = Text::new().paint(Paint::Warn, "the private key of the device is still in ");
        printer.note(text.then(format!("\"{}\"; next: {REMOVE}", file.display())));
        if !prompt.is_terminal() {
            break;
        }
        prompt.line("Enter when it is gone: ")?;
    }
    Ok(())
}

const REMOVE: &str = "remove every copy of the file: whoever has it can be the device";
