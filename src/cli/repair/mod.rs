//! `keyrack repair`: what is wrong with the keys of a device, and the way to put it right. What is decided about a
//! device is decided in [`crate::rack`]; here it is asked for, and told.

mod job;
mod lights;
mod slots;

use clap::Args;

use super::{Context, error::CliError, exit::ExitCode, help, packet::product, places, run::Worked, summary::Line};
use crate::{
    model::{ProductId, diagnosis::Trouble, recipe::Work},
    store::{Reader, StoreError},
};
pub(super) use job::{Job, Server};
pub(super) use slots::{SlotArgs, StationArgs};

/// Find out what is wrong with the keys of devices, and put it right
///
/// Each device in a slot is looked at: its key, server key and address, its protection, what the ledger knows, and what
/// the cloud says of it. One thing is named as the trouble, with the evidence and how sure it is, and one flow is
/// proposed and performed: a development device, a product device of the team, an unclaimed one, or a customer's, which
/// is released, registered and claimed back at once. The key that a device holds is preferred; a new pair is made for a
/// blank or corrupt slot, or with --new-key. It ends when every device that was there has its verdict.
///
/// A protected device is set aside, unless its recipe or --service-mode lets it into Service Mode. What is on it can be
/// read and changed by everybody until it is protected again, which happens at the end of the run however that ends; a
/// device that does not show then that it is protected is an alarm.
///
/// With --dry-run it stops after the diagnosis: nothing is changed, on the device or in the cloud. The ledger keeps what
/// was found, and the device is restarted where its key store is read; a protected one is in Service Mode meanwhile if
/// --service-mode says so.
///
/// A device that is not on USB at all says by its lights what is wrong with it: --lights lists what they mean, whether
/// the keys are the cause, and the one thing to do.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack repair --dry-run", "what is wrong with each device, and what would be done"),
        ("keyrack repair 3", "repairs the device in slot 3"),
        (
            "keyrack repair --product 1234 --from 1200 --reference RMA-17 --operator eva",
            "moves devices from product 1200 to 1234 as well",
        ),
        ("keyrack repair --service-mode 2", "repairs the protected device in slot 2"),
        ("keyrack repair --lights cyan-red-1", "what a light signal means; without a name all of them"),
    ],
    &ExitCode::ALL,
))]
pub(super) struct RepairArgs {
    /// Find out only; nothing is changed, on the device or in the cloud. Ends with 1 if something is wrong
    #[arg(long, conflicts_with_all = ["new_key", "wait"])]
    dry_run: bool,
    /// The product where the devices belong [default: the one of the recipe, else where the cloud shows the device]
    #[arg(long, value_name = "P", value_parser = product)]
    product: Option<ProductId>,
    /// A product from which devices may be moved there; may be given more than once
    #[arg(long, value_name = "P", value_parser = product, requires = "product")]
    from: Vec<ProductId>,
    /// Make a new pair whatever the slot holds
    #[arg(long)]
    new_key: bool,
    /// Under which reference the devices were returned
    #[arg(long, value_name = "RMA-NO")]
    reference: Option<String>,
    /// Leave server key and address as they are [default: those of the recipe, else the vendor's production settings]
    #[arg(long)]
    keep_server: bool,
    /// Do not wait for a handshake as proof
    #[arg(long)]
    no_prove: bool,
    /// What the lights of a device say, by the signal's name or a word of its description [default: all]
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with_all = ["dry_run", "product", "new_key", "keep_server", "service_mode", "no_prove", "slots"])]
    lights: Option<Option<String>>,
    #[command(flatten)]
    slots: SlotArgs,
}

pub(super) fn run(args: &RepairArgs, context: &Context) -> Result<ExitCode, CliError> {
    if let Some(name) = &args.lights {
        lights::print(name.as_deref(), &context.printer)?;
        return Ok(ExitCode::Passed);
    }
    if args.from.iter().any(|from| Some(from) == args.product.as_ref()) {
        return Err(CliError::Missing {
            what: "--from names the product of --product",
            next: "leave it out",
        });
    }
    let work = match (args.dry_run, args.new_key) {
        (true, _) => Some(Work::Diagnose),
        (false, true) => Some(Work::NewKey),
        (false, false) => None,
    };
    let job = Job {
        product: args.product.clone(),
        from: args.from.clone(),
        reference: args.reference.clone(),
        no_prove: args.no_prove,
        ..Job::new(work, if args.keep_server { Server::Keep } else { Server::Usual })
    };
    if args.dry_run {
        nothing_goes_on(context)?;
        context
            .printer
            .note("dry run: nothing is changed, on a device or in the cloud");
        return args.slots.perform(job, context).map(|worked| found(&worked));
    }
    Ok(args.slots.perform(job, context)?.numbers.exit())
}

/// A station that starts goes on with what it began: a dry run would be none then.
fn nothing_goes_on(context: &Context) -> Result<(), CliError> {
    let reader = match Reader::open(&places::ledger(&context.state()?)) {
        Ok(reader) => reader,
        Err(StoreError::Absent { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if reader.owed(1)?.is_empty() && reader.open_runs(1)?.is_empty() {
        return Ok(());
    }
    Err(CliError::Missing {
        what: "this cannot be a dry run: a run waits for its device, or something is owed to the cloud, and a station that starts goes on with it",
        next: "look with `keyrack devices` and `keyrack outbox`, and let `keyrack run --headless` finish it",
    })
}

/// What a dry run ends with: 1 if something is wrong with a device, whoever is to blame.
fn found(worked: &Worked) -> ExitCode {
    let diagnosed = |line: &Line| line.diagnosis.is_some();
    let wrong = |line: &Line| line.diagnosis.as_ref().is_some_and(|d| d.trouble != Trouble::Nothing);
    match worked.numbers.exit() {
        exit if !worked.results.iter().all(diagnosed) => exit,
        ExitCode::Failed | ExitCode::Fault | ExitCode::Passed if worked.results.iter().any(wrong) => ExitCode::Failed,
        exit => exit,
    }
}
