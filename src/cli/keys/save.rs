//! `keyrack keys save`: a packet for each device in a slot.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::file::{self, Written};
use crate::{
    cli::{
        Context,
        error::CliError,
        exit::ExitCode,
        help,
        repair::{Job, Server, SlotArgs},
        run::Worked,
        summary::Line,
    },
    keys::escrow::Recipient,
    model::{DeviceId, Fact, Fingerprint, PublicKey, Record, Verdict, key::SlotContent, packet::Manifest, recipe::Work},
    station::Pairs,
    steps::Escrow,
};

/// Write the public key of a device, with the proof that the device holds it
///
/// For a bench that has the device, while somebody else has the right to register its key: ID.pub.pem is exactly what the
/// vendor's CLI writes and takes, and ID.packet.json is signed by the device's own key while it is in hand, so that the
/// key cannot be registered for another device. Both may be mailed. Nothing is changed on the device, and neither token nor
/// cloud is needed, unless --service-mode opens a protected one.
///
/// The private half is not written anywhere, unless --recipient names somebody elsewhere: then ID.key.age holds it, sealed
/// so that only they can open it, for `keyrack keys restore --escrow`. In clear it is never written.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack keys save 3 --dir packets", "for the device in slot 3"),
        ("keyrack keys save --dir packets", "for every device in the rack; send the folder to the product's owner"),
        (
            "keyrack keys save 3 --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "also the private half, sealed to whoever has that identity",
        ),
    ],
    &ExitCode::ALL,
))]
pub(super) struct SaveArgs {
    /// The directory, made where it is missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Replace files that hold another key
    #[arg(long)]
    force: bool,
    /// To whom the private half is sealed, as `age-keygen` prints it; may be given more than once [default: it is not]
    #[arg(long, value_name = "AGE")]
    recipient: Vec<String>,
    #[command(flatten)]
    slots: SlotArgs,
}

#[derive(Serialize)]
struct SavedEvent<'a> {
    event: &'static str,
    device: DeviceId,
    fingerprint: Fingerprint,
    key: &'a Path,
    manifest: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<&'a Path>,
    written: Written,
}

pub(super) fn run(args: &SaveArgs, context: &Context) -> Result<ExitCode, CliError> {
    let recipients = args
        .recipient
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<Recipient>, _>>()?;
    file::directory(&args.dir)?;
    let (dir, force) = (args.dir.clone(), args.force);
    let escrow = (!recipients.is_empty()).then(|| Escrow {
        recipients,
        keep: Box::new(move |device, content| file::sealed(&sealed_file(&dir, device), content, force)),
    });
    let pairs = Pairs::new(Vec::new(), escrow);
    let worked = args
        .slots
        .perform_with(Job::new(Some(Work::SaveKey), Server::Keep), pairs, context)?;
    let left = write(&worked, args, context)?;
    file::sync(&args.dir)?;
    if left.is_empty() {
        Ok(worked.numbers.exit())
    } else {
        Err(CliError::Overwrite { paths: left })
    }
}

/// Writes what was signed; returns the files that hold another key.
fn write(worked: &Worked, args: &SaveArgs, context: &Context) -> Result<Vec<PathBuf>, CliError> {
    let reader = context.reader()?;
    let mut left = Vec::new();
    let passed = |line: &&Line| line.verdict == Some(Verdict::Pass);
    for Line { run, device, .. } in worked.results.iter().filter(passed) {
        let records = reader.run_records(*run)?;
        let Some((key, manifest)) = signed(&records) else {
            continue;
        };
        let escrowed = records.iter().any(|record| matches!(record.fact, Fact::KeyEscrowed { .. }));
        let sealed = escrowed.then(|| sealed_file(&args.dir, *device));
        let pem = args.dir.join(format!("{device}.pub.pem"));
        let json = args.dir.join(format!("{device}.packet.json"));
        let written = file::public(&pem, *device, &key, args.force)?;
        if written == Written::Left {
            left.push(pem);
            continue;
        }
        if file::manifest(&json, &manifest, args.force)? == Written::Left {
            left.push(json);
            continue;
        }
        if context.printer.is_json() {
            context.printer.object(&SavedEvent {
                event: "saved",
                device: *device,
                fingerprint: key.fingerprint,
                key: &pem,
                manifest: &json,
                sealed: sealed.as_deref(),
                written,
            });
        } else {
            let sealed = sealed.map_or_else(String::new, |path| format!(", and {}", path.display()));
            context
                .printer
                .line(format!("{device}: {} and its manifest{sealed}", pem.display()));
        }
    }
    Ok(left)
}

/// Where the sealed private half of a device goes.
fn sealed_file(dir: &Path, device: DeviceId) -> PathBuf {
    dir.join(format!("{device}.key.age"))
}

/// The key that a run read last and the packet that it signed.
fn signed(records: &[Record]) -> Option<(PublicKey, Manifest)> {
    let manifest = records.iter().rev().find_map(|record| match &record.fact {
        Fact::PacketSigned { manifest, .. } => Some(manifest.clone()),
        _ => None,
    })?;
    let key = records.iter().rev().find_map(|record| match &record.fact {
        Fact::KeyRead {
            content: SlotContent::Valid { key, .. },
            ..
        } if key.fingerprint == manifest.fingerprint => Some(key.clone()),
        _ => None,
    })?;
    Some((key, manifest))
}
