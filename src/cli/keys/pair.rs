//! `keyrack keys generate` and `keys doctor`: a new key pair in the device.

use clap::Args;

use crate::{
    cli::{
        Context,
        error::CliError,
        exit::ExitCode,
        help,
        packet::product,
        repair::{Job, Server, SlotArgs},
    },
    model::{ProductId, recipe::Work},
};

/// Make a new pair in the device, and register it
///
/// Nothing of the new pair is written to a file: it goes straight to the device, while its public half is on disk in the
/// ledger before. The device is held in DFU mode until the cloud has accepted the new key; a refusal puts the old one
/// back. Server key and address stay as they are.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack keys generate 3", "a new pair for the device in slot 3, in the product where the cloud shows it"),
        ("keyrack keys generate --product 1234", "for every device in the rack, in product 1234"),
    ],
    &ExitCode::ALL,
))]
pub(super) struct GenerateArgs {
    /// The product where the devices belong [default: where the cloud shows the device]
    #[arg(long, value_name = "P", value_parser = product)]
    product: Option<ProductId>,
    /// Do not wait for a handshake as proof
    #[arg(long)]
    no_prove: bool,
    #[command(flatten)]
    slots: SlotArgs,
}

/// Make a new pair, set the server key, register: all of it
///
/// What `keyrack repair --new-key` does: the old state is accounted for, the right to upload is proved first, the server
/// key and address are set where they are wrong, and the result is proved by a handshake.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack keys doctor 3", "the device in slot 3")],
    &ExitCode::ALL,
))]
pub(super) struct DoctorArgs {
    /// The product where the devices belong [default: where the cloud shows the device]
    #[arg(long, value_name = "P", value_parser = product)]
    product: Option<ProductId>,
    #[command(flatten)]
    slots: SlotArgs,
}

pub(super) fn generate(args: &GenerateArgs, context: &Context) -> Result<ExitCode, CliError> {
    let job = Job {
        product: args.product.clone(),
        no_prove: args.no_prove,
        ..Job::new(Some(Work::NewKey), Server::Keep)
    };
    Ok(args.slots.perform(job, context)?.numbers.exit())
}

pub(super) fn doctor(args: &DoctorArgs, context: &Context) -> Result<ExitCode, CliError> {
    let job = Job {
        product: args.product.clone(),
        ..Job::new(Some(Work::NewKey), Server::Usual)
    };
    Ok(args.slots.perform(job, context)?.numbers.exit())
}
