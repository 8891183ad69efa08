//! `keyrack keys restore`: writes a pair back that was kept: sealed in an escrow, or by the device's own firmware.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::given::{self, GiveArgs};
use crate::{
    cli::{
        Context,
        error::CliError,
        exit::ExitCode,
        help,
        print::Printer,
        small_file::{self, MOST_KEY},
    },
    keys::{
        escrow::{self, Identities, IdentityError},
        helper_record::{self, Findings},
    },
    model::{Fingerprint, KeyKind, SlotNo, sentence::count},
    station::GivenPair,
};

/// Write a kept pair back to the device in a slot
///
/// From the escrow (`ID.key.age` of `keyrack keys save --recipient`), opened with the identity file of its recipient; or
/// from a dump of what the library DeviceKeyHelperRK keeps its copy in: EEPROM, FRAM, SD card, SPIFFS, flashee. Of a dump
/// nothing but keys is taken, each proved by its own arithmetic.
///
/// A key that the cloud accepted last for this device, as the ledger knows, is written and need not be registered. Any
/// other is registered like a new one, and one that the ledger knows on another device is refused: a dump names no device.
/// It is read back, and proved by a handshake. The private half is in the memory of this process alone.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        (
            "keyrack keys restore 3 --escrow e00fce681234567890abcdef.key.age --identity owner.txt",
            "from the escrow, by whoever has the identity",
        ),
        ("keyrack keys restore 3 --dump eeprom.bin", "from a copy that the firmware of the device had made"),
    ],
    &ExitCode::ALL,
))]
pub(super) struct RestoreArgs {
    /// The slot of the device
    #[arg(value_name = "SLOT", value_parser = clap::value_parser!(u16).range(1..))]
    slot: u16,
    /// The sealed key
    #[arg(long, value_name = "FILE", requires = "identity", required_unless_present = "dump")]
    escrow: Option<PathBuf>,
    /// The identity file of one to whom it was sealed
    #[arg(long, value_name = "FILE", requires = "escrow")]
    identity: Option<PathBuf>,
    /// A dump with a record of DeviceKeyHelperRK in it
    #[arg(long, value_name = "FILE", conflicts_with = "escrow")]
    dump: Option<PathBuf>,
    #[command(flatten)]
    give: GiveArgs,
}

#[derive(Serialize)]
struct FoundEvent {
    event: &'static str,
    fingerprint: Fingerprint,
    kind: KeyKind,
    found: Vec<String>,
}

pub(super) fn run(args: &RestoreArgs, context: &Context) -> Result<ExitCode, CliError> {
    let slot = SlotNo(args.slot);
    let pairs = match (&args.escrow, &args.identity, &args.dump) {
        (Some(escrow), Some(identity), _) => vec![sealed(escrow, identity, slot)?],
        (_, _, Some(dump)) => dumped(dump, slot, &context.printer)?,
        _ => unreachable!("the arguments require one of them"),
    };
    Ok(given::give(args.slot, pairs, &args.give, context)?.numbers.exit())
}

fn sealed(file: &Path, identity: &Path, slot: SlotNo) -> Result<GivenPair, CliError> {
    let secret = read(identity, MOST_KEY)?;
    let identities = str::from_utf8(&secret).map_err(|_| IdentityError::Line { line: 1 });
    let identities = identities.and_then(Identities::read).map_err(|source| CliError::Identity {
        path: identity.to_owned(),
        source,
    })?;
    let (device, pair) = escrow::open_any(&read(file, MOST_KEY)?, &identities).map_err(|source| CliError::Escrow {
        path: file.to_owned(),
        source,
    })?;
    let device = Some(device);
    Ok(GivenPair { slot, device, pair })
}

fn dumped(file: &Path, slot: SlotNo, printer: &Printer) -> Result<Vec<GivenPair>, CliError> {
    let Findings { keys, broken } = helper_record::find(&read(file, MOST_DUMP)?);
    for record in &broken {
        printer.note(format!(
            "a record of a {} key is of no use: {} ({})",
            record.kind, record.why, record.sighting
        ));
    }
    if keys.is_empty() {
        return Err(CliError::NoKeyInDump {
            path: file.to_owned(),
            broken: broken.len(),
        });
    }
    for key in &keys {
        let found: Vec<_> = key.sightings.iter().map(ToString::to_string).collect();
        let (fingerprint, kind) = (key.public.fingerprint, key.public.kind);
        if printer.is_json() {
            printer.object(&FoundEvent {
                event: "found",
                fingerprint,
                kind,
                found,
            });
        } else {
            let where_else = found.len().saturating_sub(1);
            let more = if where_else > 0 {
                format!(" and {}", count(where_else, "other place"))
            } else {
                String::new()
            };
            let first = found.into_iter().next().unwrap_or_default();
            printer.line(format!("{kind} key {} {first}{more}", fingerprint.short()));
        }
    }
    let device = None;
    let pair = |key: helper_record::SavedKey| GivenPair {
        slot,
        device,
        pair: key.private,
    };
    Ok(keys.into_iter().map(pair).collect())
}

fn read(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, CliError> {
    small_file::read(path, most).map_err(|source| CliError::Unread {
        path: path.to_owned(),
        source,
    })
}

/// More than the flash of any such device has.
const MOST_DUMP: usize = 32 * 1024 * 1024;
