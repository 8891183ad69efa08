//! `keyrack packet import`: keys that were made elsewhere, checked one by one.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    find,
    judge::{self, Fate, Judged},
    show,
};
use crate::{
    cli::{Context, error::CliError, exit::ExitCode, help, places, print::Printer},
    keys::packet::list,
    model::{ProductId, sentence::count},
    store::{Reader, StoreError},
};

/// Check the keys that a field bench sent
///
/// A packet is ID.pub.pem with ID.packet.json beside it: the second is signed by the device's own key, and proves that
/// the device with this id held it. PATH is a directory of packets, one packet (either file), or a list as CSV with the
/// fields device,file or device,file,product, with a header or without.
///
/// Each packet is checked: the id, the kind of the key, the signature, and what the ledger knows of key and device. A
/// key without a manifest is taken only if a list names its device, and it is said what nobody could check then. A
/// private key is refused in every form, and so is a packet that came with one. A key that would replace one which the
/// cloud has accepted needs a reference and a named person: a mailed key is also how a device is impersonated.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack packet import --dry-run returned/", "all packets of a directory"),
        ("keyrack packet import --dry-run keys.csv --product 1234", "keys that a list names, with the device of each"),
        (
            "keyrack packet import --dry-run returned/ --reference RMA-17 --operator eva",
            "the same, where eva stands for replaced keys",
        ),
    ],
    &[ExitCode::Passed, ExitCode::Usage, ExitCode::Ledger],
))]
pub(super) struct ImportArgs {
    /// Directories of packets, packets, lists
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The product of those whose list names none
    #[arg(long, value_name = "P", value_parser = product)]
    product: Option<ProductId>,
    /// Under which the devices were returned
    #[arg(long, value_name = "RMA-NO", requires = "operator")]
    reference: Option<String>,
    /// Who stands for it
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// Only check; nothing is sent, and nothing is put on record
    #[arg(long, required = true)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Batch {
    event: &'static str,
    fits: usize,
    repeated: usize,
    refused: usize,
    left_alone: usize,
}

pub(super) fn run(args: &ImportArgs, context: &Context) -> Result<ExitCode, CliError> {
    let found = find::all(&args.paths)?;
    let left_alone = found.left_alone;
    let vouched = args.reference.is_some() && args.operator.is_some();
    let ledger = ledger(context)?;
    let all = judge::all(found, args.product.as_ref(), vouched, ledger.as_ref())?;
    show::batch(&all, &context.printer);
    sum_up(&all, left_alone, ledger.is_some(), &context.printer)
}

/// What is known of the devices; nothing if there is no ledger yet.
fn ledger(context: &Context) -> Result<Option<Reader>, CliError> {
    match Reader::open(&places::ledger(&context.state()?)) {
        Ok(reader) => Ok(Some(reader)),
        Err(StoreError::Absent { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn sum_up(all: &[Judged], left_alone: usize, known: bool, printer: &Printer) -> Result<ExitCode, CliError> {
    let of = |fits: fn(&Fate) -> bool| all.iter().filter(|judged| fits(&judged.fate)).count();
    let batch = Batch {
        event: "batch",
        fits: of(|fate| matches!(fate, Fate::Fits(_))),
        repeated: of(|fate| matches!(fate, Fate::Repeated)),
        refused: of(|fate| matches!(fate, Fate::Refused(_))),
        left_alone,
    };
    if printer.is_json() {
        printer.object(&batch);
    } else {
        printer.line(format!(
            "{} that could be registered, {} refused; nothing was sent",
            count(batch.fits, "key"),
            batch.refused
        ));
        if left_alone > 0 {
            printer.note(format!(
                "{} in the directories: no part of a packet",
                count(left_alone, "other file")
            ));
        }
        if !known {
            printer.note("there is no ledger: nothing is known of these devices here");
        }
    }
    if batch.refused > 0 {
        return Err(CliError::PacketsRefused { refused: batch.refused });
    }
    if all.is_empty() {
        return Err(CliError::Missing {
            what: "there is no packet there",
            next: "a packet is ID.pub.pem with ID.packet.json beside it; a key without a manifest needs a list that names its device",
        });
    }
    Ok(ExitCode::Passed)
}

/// A product's number or slug, as an option of a command.
pub(in crate::cli) fn product(text: &str) -> Result<ProductId, String> {
    if list::is_product(text) {
        Ok(ProductId(text.to_owned()))
    } else {
        Err("a product's number, or its slug such as my-product-v100, is expected".to_owned())
    }
}
