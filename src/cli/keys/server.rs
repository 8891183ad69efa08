//! `keyrack keys server` and `keys address`: the server that a device trusts and calls.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    cli::{
        Context,
        error::CliError,
        exit::ExitCode,
        help,
        repair::{Job, Server, SlotArgs},
        small_file::{self, MOST_KEY},
    },
    keys::server::{ServerAddress, ServerKey},
    model::{platform::Transport, recipe::Work, server::ServerNote},
};

/// Set the server key and address of a device
///
/// Without an option the settings of the recipe for its platform, else the vendor's. Nothing is done to the device's own
/// key. What a device would silently put right again, or throw away, is said before.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack keys server 3 --default", "the vendor's cloud, for the device in slot 3"),
        ("keyrack keys server --key server.pub.pem --host cloud.example", "a cloud of one's own, for the devices that can use this key"),
    ],
    &ExitCode::ALL,
))]
pub(super) struct ServerArgs {
    /// The server's host name ($id stands for the device id) or IPv4 address [default: the vendor's]
    #[arg(long, value_name = "H", value_parser = host)]
    host: Option<String>,
    /// The server's port; devices on UDP ignore it [default: the transport's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..65535))]
    port: Option<u16>,
    /// The file of the server's public key, PEM or DER [default: the vendor's]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The vendor's production settings
    #[arg(long, conflicts_with_all = ["host", "port", "key"])]
    default: bool,
    #[command(flatten)]
    slots: SlotArgs,
}

/// Tell which server a device trusts and calls
///
/// Prints the address and the fingerprint of the server key, with "production" where they are the vendor's. Nothing is
/// changed; the device is restarted where its key store is read.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack keys address 3", "the device in slot 3")],
    &ExitCode::ALL,
))]
pub(super) struct AddressArgs {
    #[command(flatten)]
    slots: SlotArgs,
}

pub(super) fn server(args: &ServerArgs, context: &Context) -> Result<ExitCode, CliError> {
    let other = args.host.is_some() || args.port.is_some() || args.key.is_some();
    let server = match (args.default, other) {
        (true, _) => Server::Production,
        (false, false) => Server::Usual,
        (false, true) => Server::Other {
            key: args.key.as_deref().map(server_key).transpose()?,
            host: args.host.clone(),
            port: args.port,
        },
    };
    if let Some(port) = args.port.filter(|port| *port != Transport::Udp.default_port()) {
        context.printer.note(ServerNote::PortWithoutEffect { port }.to_string());
    }
    let job = Job {
        no_prove: true,
        ..Job::new(Some(Work::ServerKey), server)
    };
    Ok(args.slots.perform(job, context)?.numbers.exit())
}

pub(super) fn address(args: &AddressArgs, context: &Context) -> Result<ExitCode, CliError> {
    let worked = args
        .slots
        .perform(Job::new(Some(Work::Address), Server::Production), context)?;
    let printer = &context.printer;
    for line in worked.results.iter().filter(|_| !printer.is_json()) {
        let Some(server) = &line.server else { continue };
        let address = server.address.as_deref().unwrap_or("no address");
        let key = server.key.map_or_else(|| "no key".to_owned(), |key| key.to_string());
        let whose = if server.finding.is_right() { ", production" } else { "" };
        printer.line(format!("{}: {address}, server key {key}{whose}", line.device));
    }
    Ok(worked.numbers.exit())
}

/// A key that some device can use as its server's.
fn server_key(path: &Path) -> Result<Vec<u8>, CliError> {
    let file = small_file::read(path, MOST_KEY).map_err(|source| CliError::Unread {
        path: path.to_owned(),
        source,
    })?;
    match (
        ServerKey::from_file(&file, Transport::Udp),
        ServerKey::from_file(&file, Transport::Tcp),
    ) {
        (Err(source), Err(_)) => Err(CliError::ServerKey {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(file.to_vec()),
    }
}

fn host(text: &str) -> Result<String, String> {
    match ServerAddress::new(text, None) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; such an address would be silently reverted by the device")),
    }
}
