//! `keyrack keys export`: public keys of the ledger as files.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::file::{self, Written};
use crate::{
    cli::{Context, error::CliError, exit::ExitCode, help},
    keys::parse_public,
    model::{DeviceId, Fingerprint, KeyKind, PublicKey},
    store::{DeviceRow, Reader, read::DeviceFilter},
};

/// Write ID.pub.pem for each device
///
/// The key is the one that the device's slot held when it was last read or written, as the PEM text that the cloud
/// takes. Each file is there whole or not at all, is read again and compared, and never replaces a file that holds
/// something else unless --force is given.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack keys export --dir keys", "all devices"),
        ("keyrack keys export --dir keys --device e00fce681234567890abcdef", "one device"),
    ],
    help::READING,
))]
pub(super) struct ExportArgs {
    /// The directory, made where it is missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Only this device
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// Replace files that hold another key
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct KeyEvent<'a> {
    event: &'static str,
    device: DeviceId,
    file: &'a Path,
    kind: KeyKind,
    fingerprint: Fingerprint,
    written: Written,
}

#[derive(Serialize)]
struct Exported {
    event: &'static str,
    new: usize,
    same: usize,
    replaced: usize,
    left: usize,
    without_key: usize,
}

pub(super) fn run(args: &ExportArgs, context: &Context) -> Result<ExitCode, CliError> {
    let reader = context.reader()?;
    let printer = &context.printer;
    file::directory(&args.dir)?;
    let mut written = Vec::new();
    let mut left = Vec::new();
    let mut without_key = 0;
    each_device(&reader, args.device, &mut |row| {
        let Some(key) = key_of(&reader, row)? else {
            without_key += 1;
            return Ok(());
        };
        let path = args.dir.join(format!("{}.pub.pem", row.id));
        let end = file::public(&path, row.id, &key, args.force)?;
        written.push(end);
        if end == Written::Left {
            left.push(path.clone());
        }
        if printer.is_json() {
            printer.object(&KeyEvent {
                event: "key",
                device: row.id,
                file: &path,
                kind: key.kind,
                fingerprint: key.fingerprint,
                written: end,
            });
        } else if printer.verbosity() > 0 || row.key_intended.is_some() {
            let unsettled = if row.key_intended.is_some() {
                " (a write of another key is not settled)"
            } else {
                ""
            };
            printer.note(format!("{}: {} {}{unsettled}", row.id, key.kind, key.fingerprint.short()));
        }
        Ok(())
    })?;
    file::sync(&args.dir)?;
    let count = |what| written.iter().filter(|end| **end == what).count();
    let exported = Exported {
        event: "exported",
        new: count(Written::New),
        same: count(Written::Same),
        replaced: count(Written::Replaced),
        left: left.len(),
        without_key,
    };
    if printer.is_json() {
        printer.object(&exported);
    } else {
        printer.line(format!(
            "{} new, {} unchanged, {} replaced, {} left alone, {} without a key",
            exported.new, exported.same, exported.replaced, exported.left, exported.without_key
        ));
    }
    if left.is_empty() {
        Ok(ExitCode::Passed)
    } else {
        Err(CliError::Overwrite { paths: left })
    }
}

fn each_device(
    reader: &Reader,
    one: Option<DeviceId>,
    then: &mut dyn FnMut(&DeviceRow) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if let Some(id) = one {
        let unknown = || CliError::UnknownDevice { text: id.to_string() };
        return then(&reader.device(id)?.ok_or_else(unknown)?);
    }
    let mut after = None;
    loop {
        let page = reader.devices(&DeviceFilter::default(), after, PAGE)?;
        page.iter().try_for_each(&mut *then)?;
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

/// The last key that is known to be in the slot of a device, parsed again: what leaves as a file must be a key.
fn key_of(reader: &Reader, row: &DeviceRow) -> Result<Option<PublicKey>, CliError> {
    let Some(fingerprint) = row.key_in_slot else {
        return Ok(None);
    };
    let rows = reader.key_rows(fingerprint)?;
    let bad = |source| CliError::Key {
        device: row.id.to_string(),
        source,
    };
    let stored = rows
        .into_iter()
        .find(|key| key.device == row.id)
        .ok_or_else(|| bad(None))?
        .key;
    let parsed = parse_public(&stored.spki).map_err(|error| bad(Some(error)))?;
    if parsed == stored { Ok(Some(stored)) } else { Err(bad(None)) }
}

/// Devices that are read at once.
const PAGE: u32 = 1000;
