//! `keyrack keys send`: registers one key from a file.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::{
        Context,
        error::CliError,
        exit::ExitCode,
        help,
        packet::{
            Found, one,
            send::{self, SendArgs},
        },
    },
    model::DeviceId,
};

/// Register the public key of a device from a file
///
/// FILE is a public key, PEM or DER, as `keyrack keys save` or the vendor's CLI writes it; the manifest beside it, if there
/// is one, is verified. A private key is refused in every form. The key is checked against the ledger, put on record, sent,
/// and the answer told; a customer's device is released for it and claimed back at once. Without a manifest nobody can check
/// that the device holds the key: it is said, and the id is believed.
///
/// A key that would replace another one needs a reference and a named person: see `keyrack packet import --help`.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        (
            "keyrack keys send e00fce681234567890abcdef e00fce681234567890abcdef.pub.pem --product 1234",
            "in product 1234",
        ),
        (
            "keyrack keys send e00fce681234567890abcdef new.pem --reference RMA-17 --operator eva",
            "eva stands for the key that is replaced",
        ),
    ],
    &ExitCode::ALL,
))]
pub(super) struct KeySendArgs {
    /// The device
    #[arg(value_name = "ID")]
    device: DeviceId,
    /// The file of its public key
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only check; nothing is sent, and nothing is put on record
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    send: SendArgs,
}

pub(super) fn run(args: &KeySendArgs, context: &Context) -> Result<ExitCode, CliError> {
    let found = Found {
        candidates: vec![one(&args.file, Some(args.device))],
        ..Found::default()
    };
    send::go(found, &args.send, args.dry_run, context)
}
