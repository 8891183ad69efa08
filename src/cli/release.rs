//! `keyrack release`: a named person decides about a device that ended QUARANTINED.

use clap::Args;
use serde::Serialize;

use super::{Context, device, error::CliError, exit::ExitCode, help, places, print::Text};
use crate::{
    cloud::words::{quotable, sanitise},
    config,
    edge::{Clock, clock::SystemClock},
    model::{DeviceId, Fact, RunId},
    store::{DeviceRow, Options, Store, UndoVault},
};

/// Let a device that ended QUARANTINED run again
///
/// Nobody could tell whether such a device and the cloud hold the same key, so it is left alone until a named person has
/// looked at it. What the ledger knows of the device is shown first. Then the decision is put on record, the sealed copy
/// of the old key store is destroyed, and the next time that the device is plugged in a fresh run reads and registers
/// what it holds. The station of this ledger must not be running.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[(
        "keyrack release 3f9a1c --by eva --why \"connected by hand, key agreed\"",
        "the device named by the end of its id, as it is on the label",
    )],
    help::READING,
))]
pub(super) struct ReleaseArgs {
    /// Id, serial number, ICCID or IMEI, or the end of the id
    #[arg(value_name = "DEVICE")]
    device: String,
    /// Who decides; not an e-mail address
    #[arg(long, value_name = "NAME", value_parser = words)]
    by: String,
    /// Why, in words; no e-mail addresses
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: String,
}

#[derive(Serialize)]
struct ReleaseEvent<'a> {
    event: &'static str,
    device: DeviceId,
    run: RunId,
    by: &'a str,
    why: &'a str,
    undo_copies_destroyed: usize,
    before: &'a DeviceRow,
}

pub(super) fn run(args: &ReleaseArgs, context: &Context) -> Result<ExitCode, CliError> {
    let config = config::load(&places::config(&context.globals, &context.environment)?)?;
    let state = context.state()?;
    let device = device::find(&context.reader()?, &args.device)?;
    let mut store = Store::open(&places::ledger(&state), config.id.clone(), Options::default())?;
    let before = store.device(device)?.ok_or_else(|| CliError::UnknownDevice {
        text: args.device.clone(),
    })?;
    let Some(run) = before.quarantined else {
        return Err(CliError::NotQuarantined { device });
    };
    let printer = &context.printer;
    if !printer.is_json() {
        device::identity(&before, printer);
        if let Some(why) = store.run(run)?.and_then(|run| run.why) {
            printer.line(format!("  its last run ended QUARANTINED: {why}"));
        }
    }
    let copies: Vec<RunId> = store
        .kept_undo_copies()?
        .into_iter()
        .filter(|copy| copy.device == device)
        .map(|copy| copy.run)
        .collect();
    let mut facts = vec![Fact::QuarantineReleased {
        run,
        device,
        by: args.by.clone(),
        why: args.why.clone(),
    }];
    facts.extend(copies.iter().map(|run| Fact::UndoDestroyed { run: *run, device }));
    store.append(SystemClock::new().wall(), &facts)?;
    // On record first: what a cut leaves here is destroyed by the next start of the station.
    if let (false, Some((folder, _))) = (copies.is_empty(), config.undo.places(&state)) {
        let vault = UndoVault::open(&folder)?;
        copies.iter().try_for_each(|run| vault.destroy(*run, device))?;
    }
    if printer.is_json() {
        printer.object(&ReleaseEvent {
            event: "released",
            device,
            run,
            by: &args.by,
            why: &args.why,
            undo_copies_destroyed: copies.len(),
            before: &before,
        });
        return Ok(ExitCode::Passed);
    }
    printer.line("");
    let undo = if copies.is_empty() {
        ""
    } else {
        "; the copy of its old key store is destroyed"
    };
    printer.line(Text::new().then(format!(
        "released by {}: {}{undo}; the next time that it is plugged in, a fresh run begins",
        args.by, args.why
    )));
    Ok(ExitCode::Passed)
}

/// Words for a fact: facts are exported and replicated, so no address goes in.
pub(super) fn words(text: &str) -> Result<String, String> {
    let clean = sanitise(text);
    if clean.is_empty() {
        return Err("it says nothing".to_owned());
    }
    if quotable(text) != clean {
        return Err("e-mail addresses are not put on record: use a name".to_owned());
    }
    Ok(clean)
}
