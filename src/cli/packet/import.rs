//! `keyrack packet import`: keys that were made elsewhere, checked one by one and registered.

use std::path::PathBuf;

use clap::Args;

use super::{
    find,
    send::{self, SendArgs},
};
use crate::{
    cli::{Context, error::CliError, exit::ExitCode, help},
    keys::packet::list,
    model::ProductId,
};

/// Register the keys that a field bench sent
///
/// A packet is ID.pub.pem with ID.packet.json beside it: the second is signed by the device's own key, and proves that
/// the device with this id held it. PATH is a directory of packets, one packet (either file), or a list as CSV with the
/// fields device,file or device,file,product, with a header or without.
///
/// Each packet is checked: the id, the kind of the key, the signature, and what the ledger knows of key and device. A
/// key without a manifest is taken only if a list names its device, and it is said what nobody could check then. A
/// private key is refused in every form, and so is a packet that came with one. What fits is put on record, the cloud is
/// asked about each device, and its key is sent; a customer's device is released for it and claimed back at once.
///
/// A key that would replace another one needs a reference and a named person: a mailed key is also how a device is
/// impersonated. It replaces another one if the ledger knows one that the cloud accepted, or if the cloud shows that the
/// device ever had a session. Where neither is known, that was not checked, and it is said. A device that connected after
/// its packet was made may hold another key by now: its packet is refused.
///
/// It may be stopped at any time: what was taken is on disk, and this command, or `keyrack run`, goes on with it.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack packet import --dry-run returned/", "checks all packets of a directory"),
        ("keyrack packet import keys.csv --product 1234", "registers keys that a list names, with the device of each"),
        (
            "keyrack packet import returned/ --reference RMA-17 --operator eva",
            "all packets of a directory; eva stands for replaced keys",
        ),
    ],
    &ExitCode::ALL,
))]
pub(super) struct ImportArgs {
    /// Directories of packets, packets, lists
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Only check; nothing is sent, and nothing is put on record
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    send: SendArgs,
}

pub(super) fn run(args: &ImportArgs, context: &Context) -> Result<ExitCode, CliError> {
    send::go(find::all(&args.paths)?, &args.send, args.dry_run, context)
}

/// A product's number or slug, as an option of a command.
pub(in crate::cli) fn product(text: &str) -> Result<ProductId, String> {
    if list::is_product(text) {
        Ok(ProductId(text.to_owned()))
    } else {
        Err("a product's number, or its slug such as my-product-v100, is expected".to_owned())
    }
}
