//! `keyrack keys`: the keys of devices, with the verbs that users of the vendor's CLI know. One file for each verb or
//! group of them.

mod export;
pub(super) mod file;
mod given;
mod load;
mod pair;
mod restore;
mod save;
mod send;
mod server;

use clap::{Args, Subcommand};

use super::{Context, error::CliError, exit::ExitCode, help};

/// The keys of devices, with the verbs of the vendor's CLI
///
/// They mean what users of `particle keys` know, except in one point: no private key is ever written in clear. What the
/// vendor's CLI does not do is done here: permission is proved before a valid key is replaced, the old state can be put
/// back, and device and cloud are left with the same key, whatever comes between.
///
/// A protected device is set aside, unless its recipe or --service-mode lets it into Service Mode. What is on it can be
/// read and changed by everybody until it is protected again, which happens at the end of the run however that ends; a
/// device that does not show then that it is protected is an alarm. It takes a token of the cloud, for every verb.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack keys export --dir keys", "writes ID.pub.pem for each device that the ledger knows"),
        ("keyrack keys doctor 3", "a new pair for the device in slot 3, registered and proved"),
        ("keyrack keys server 2 --default --service-mode", "the vendor's cloud, for the protected device in slot 2"),
    ],
    &ExitCode::ALL,
))]
pub(super) struct KeysArgs {
    /// What to do with them.
    #[command(subcommand)]
    errand: Errand,
}

#[derive(Debug, Subcommand)]
enum Errand {
    Export(export::ExportArgs),
    Save(save::SaveArgs),
    Send(send::KeySendArgs),
    Generate(pair::GenerateArgs),
    Load(load::LoadArgs),
    Restore(restore::RestoreArgs),
    Doctor(pair::DoctorArgs),
    Server(server::ServerArgs),
    Address(server::AddressArgs),
}

pub(super) fn run(args: &KeysArgs, context: &Context) -> Result<ExitCode, CliError> {
    match &args.errand {
        Errand::Export(args) => export::run(args, context),
        Errand::Save(args) => save::run(args, context),
        Errand::Send(args) => send::run(args, context),
        Errand::Generate(args) => pair::generate(args, context),
        Errand::Load(args) => load::run(args, context),
        Errand::Restore(args) => restore::run(args, context),
        Errand::Doctor(args) => pair::doctor(args, context),
        Errand::Server(args) => server::server(args, context),
        Errand::Address(args) => server::address(args, context),
    }
}
