//! A pair that a person hands over for the device in a slot: the part that `load` and `restore` share.

use clap::Args;

use crate::{
    cli::{
        Context,
        error::CliError,
        packet::product,
        repair::{Job, Server, StationArgs},
        run::{Until, Worked},
    },
    model::{Code, Fact, ProductId, recipe::Work},
    station::{GivenPair, Pairs},
};

/// Options of commands that write a given pair.
#[derive(Args, Clone, Debug)]
pub(super) struct GiveArgs {
    /// The product where the device belongs [default: where the cloud shows it]
    #[arg(long, value_name = "P", value_parser = product)]
    product: Option<ProductId>,
    /// Do not wait for a handshake as proof
    #[arg(long)]
    no_prove: bool,
    #[command(flatten)]
    station: StationArgs,
}

/// Has one of the pairs written to the device in the slot.
///
/// # Errors
/// As `keyrack run`; or if there is no device.
pub(super) fn give(slot: u16, pairs: Vec<GivenPair>, args: &GiveArgs, context: &Context) -> Result<Worked, CliError> {
    let job = Job {
        product: args.product.clone(),
        no_prove: args.no_prove,
        ..Job::new(Some(Work::GivenKey), Server::Keep)
    };
    let pairs = Pairs::new(pairs, None);
    let worked = args.station.perform(job, &[slot], Until::AllJudged, pairs, context)?;
    let reader = context.reader()?;
    for line in &worked.results {
        let refused = matches!(line.code, Some(Code::GivenKeyAbsent | Code::KeyDuplicate));
        let given = |record: &crate::model::Record| matches!(record.fact, Fact::KeyGiven { .. });
        if !refused && !reader.run_records(line.run)?.iter().any(given) {
            context
                .printer
                .note("a run of the device that was under way was finished instead; give the command again");
        }
    }
    Ok(worked)
}
