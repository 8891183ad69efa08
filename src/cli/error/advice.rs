//! Of each error: with which exit code the command ends, and the one next action.

use super::CliError;
use crate::{
    cli::{exit::ExitCode, packet::ListTrouble},
    cloud::{login::LoginError, token::SecretFileError},
    sim::world::vhci::NoController,
    station::StationError,
    store::StoreError,
};

impl CliError {
    /// The exit code.
    pub fn exit(&self) -> ExitCode {
        match self {
            Self::NoConfig { .. }
            | Self::Config { .. }
            | Self::NoState
            | Self::Missing { .. }
            | Self::CloudSetup(_)
            | Self::Named { .. }
            | Self::UnknownDevice { .. }
            | Self::ManyDevices { .. }
            | Self::NotQuarantined { .. }
            | Self::UnknownLight { .. }
            | Self::ServerKey { .. }
            | Self::UnknownSlot { .. }
            | Self::NoDevice
            | Self::EmptySlot { .. }
            | Self::TooManyPackets { .. }
            | Self::Recipient(_)
            | Self::Shelf(_)
            | Self::StationKey(_)
            | Self::Engineers(_)
            | Self::Scenario(_)
            | Self::NotAttachable { .. }
            | Self::Overwrite { .. } => ExitCode::Usage,
            Self::Bus(_) | Self::Usb(_) | Self::Blink { .. } | Self::StandIn(_) | Self::NoController(_) => ExitCode::Fault,
            Self::World { .. } => ExitCode::Failed,
            Self::Token(_) | Self::Client { .. } | Self::Login(_) | Self::Cloud { .. } => ExitCode::Cloud,
            Self::Store(_)
            | Self::File { .. }
            | Self::Key { .. }
            | Self::Unread { .. }
            | Self::PacketList { .. }
            | Self::PrivateFile { .. }
            | Self::Identity { .. }
            | Self::Escrow { .. }
            | Self::NoKeyInDump { .. }
            | Self::PacketsRefused { .. }
            | Self::Differences { .. }
            | Self::Output(_) => ExitCode::Ledger,
            Self::Station(StationError::Store(_)) => ExitCode::Ledger,
            Self::Station(StationError::Core(_)) | Self::Signals(_) => ExitCode::Internal,
            Self::Station(StationError::Bus(_)) => ExitCode::Fault,
            Self::Findings { exit, .. } => *exit,
            Self::Interrupted | Self::Terminal(_) | Self::Screen(_) => ExitCode::Interrupted,
        }
    }

    /// The one next action, if there is one.
    pub fn next(&self) -> Option<String> {
        let next = match self {
            Self::NoConfig { .. } => "name the file with --config FILE, or make one with `keyrack init`",
            Self::Config { .. } => "correct the file and run `keyrack check`",
            Self::NoState => "name a directory with --state DIR",
            Self::Missing { next, .. } => next,
            Self::Interrupted => return None,
            Self::Shelf(_) => "correct the recipe; `keyrack check` names every problem",
            Self::Engineers(_) => "correct the permissions of the file, or set the PINs again with `keyrack engineer add NAME`",
            Self::StationKey(_) => "correct undo_key in station.toml, or the permissions of the file",
            Self::Bus(_) => "run `keyrack check`",
            Self::Usb(error) => error.next(),
            Self::StandIn(_) => "choose another port with --port",
            Self::NoController(NoController::Absent) => {
                "load the module as root: `modprobe vhci-hcd`; where the kernel has none, `scripts/usb-lab` boots one that has"
            }
            Self::NoController(NoController::Forbidden(_)) => "run it as root: only root may attach devices",
            Self::NoController(NoController::Unknown(_)) => "report it with the kernel's version",
            Self::NotAttachable { .. } => "leave `port` out of the scenario's slots, and let there be at most 120 of them",
            Self::Scenario(_) => "correct the scenario file",
            Self::World { .. } => "look at what is said above; --keep DIR leaves the simulated world for a look",
            Self::Store(error) | Self::Station(StationError::Store(error)) => of_store(error),
            Self::Station(StationError::Core(_)) => "keep the ledger and report it; nothing was done that is not on record",
            Self::Station(StationError::Bus(_)) => "run `keyrack check`",
            Self::Named { .. } => "name the right file, or put it there",
            Self::File { .. } => "look at the permissions and the free space of the disk",
            Self::Token(SecretFileError::Shared { .. }) => {
                "run `chmod 600` on the file; if others use this machine, run `keyrack logout` and `keyrack login`"
            }
            Self::Token(SecretFileError::Write { .. }) => "name another file with --token-file FILE",
            Self::Token(_) => "run `keyrack login`",
            Self::Client {
                source: SecretFileError::Shared { .. },
                ..
            } => "run `chmod 600` on the file; if others use this machine, make a new client in the console",
            Self::Client { .. } => "put id and secret of a two-legged (server) client of this product into the file, mode 600",
            Self::UnknownSlot { .. } => "look at the [[slot]] tables of station.toml",
            Self::EmptySlot { .. } => "look with `keyrack slots` where the device is",
            Self::Blink { source, .. } => source.next(),
            Self::NoDevice => {
                "plug the device in, and look at its cable; `keyrack repair --lights` says what one that does not show on USB means"
            }
            Self::UnknownLight { .. } => "look for yours with `keyrack repair --lights`, which lists them all",
            Self::PacketList {
                source: ListTrouble::Wrong(error),
                ..
            } => error.next(),
            Self::ServerKey { .. } => {
                "give the public key of a server, PEM or DER: P-256 for devices on UDP, RSA-2048 for those on TCP"
            }
            Self::Unread { .. } => "name the right file, or look at its permissions",
            Self::PrivateFile { source, .. } => source.next(),
            Self::Recipient(error) => error.next(),
            Self::Identity { source, .. } => source.next(),
            Self::Escrow { source, .. } => source.next(),
            Self::NoKeyInDump { .. } => {
                "give a dump of the whole storage; if the device's firmware kept none, it needs a new pair"
            }
            Self::PacketList { .. } => "name the right file, or look at its permissions",
            Self::TooManyPackets { .. } => "split it",
            Self::PacketsRefused { .. } => "do what is said of each: nothing of a refused packet was sent or put on record",
            Self::Login(error) => of_login(error),
            Self::CloudSetup(_) => "correct --cloud-url and --ca-file, or [cloud] in station.toml",
            Self::Cloud { source, .. } => source.next,
            Self::UnknownDevice { .. } => {
                "look with `keyrack devices --search TEXT`; an id, a serial number, or the end of an id fits"
            }
            Self::NotQuarantined { .. } => "look with `keyrack device ID`; nothing has to be decided",
            Self::ManyDevices { .. } => "give more digits of the id",
            Self::Overwrite { .. } => "export to another directory, or use --force if the ledger is right",
            Self::Key { .. } => "run `keyrack replay --verify`; read the key of the device again",
            Self::Differences { .. } => "keep the ledger as it is and report it; restore from a backup if it was damaged",
            Self::Findings { .. } => "do what each line says and run `keyrack check` again",
            Self::Signals(_) => "report it with the text above",
            Self::Terminal(_) => "give the password on standard input instead",
            Self::Screen(_) => "use another terminal, or `--headless`; runs under way go on at the next start",
            Self::Output(_) => "free space where the output goes",
        };
        Some(next.to_owned())
    }
}

fn of_store(error: &StoreError) -> &'static str {
    match error {
        StoreError::Locked { .. } => "stop the other station, or name another directory with --state DIR",
        StoreError::Newer { .. } => "use the newer keyrack",
        StoreError::Older { .. } => "start the station once, which brings the ledger up to date",
        StoreError::Foreign { .. } => "name another directory with --state DIR",
        StoreError::Absent { .. } => "name the directory with --state DIR, or start the station once, which makes the ledger",
        StoreError::Exposed { .. } => "run `chmod 700` on the directory",
        StoreError::Full { .. } => "free disk space and start again: nothing was done that is not on record",
        StoreError::CopyInside { .. } => "name a place on another disk",
        StoreError::File { .. } => "look at the permissions of the directory and at the disk",
        _ => "keep the ledger and look at the disk; `keyrack replay --verify` tells what is wrong",
    }
}

fn of_login(error: &LoginError) -> &'static str {
    match error {
        LoginError::BadCredentials => "check user and password; ten failures in a row lock this address out for half an hour",
        LoginError::CodeNeeded | LoginError::BadCode(_) => "log in again with a fresh one-time code",
        LoginError::SingleSignOn => "make a token in the console and put it into the token file, mode 600",
        LoginError::LockedOut { .. } | LoginError::RateLimited { .. } => "wait half an hour, then try once",
        LoginError::Transport(_) | LoginError::Unavailable(_) => "look at the network and try again",
        LoginError::UnknownCustomer(_) => "look the customer up in the product, and use a client of that product",
        LoginError::BadClient(_) | LoginError::Refused(_) | LoginError::Malformed => {
            "look at --cloud-url: is it the address of the cloud's API?"
        }
    }
}
