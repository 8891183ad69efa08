//! `keyrack device`: all that the ledger knows of one device.

use clap::Args;
use serde::Serialize;

use super::{
    Context, devices,
    error::CliError,
    events::FactEvent,
    exit::ExitCode,
    help, outbox,
    print::{Paint, Printer, Text},
    table::Table,
};
use crate::{
    model::{DeviceId, Record, packet::PacketEnd, sentence},
    store::{
        DeviceRow, KeyRow, KeyState, Origin, PacketRow, Reader, RunRow,
        read::{DeviceFilter, History},
    },
};

/// Show the whole history of one device
///
/// What it is, its runs, every key that was seen on it, made for it or sent for it, and what it owes or owed to the cloud. The device
/// is named by its id, its serial number, or enough of the end of its id.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack device 3f9a1c", "by the end of the id, as it is on the label"),
        ("keyrack device e00fce681234567890abcdef --facts", "with every record about it"),
    ],
    help::READING,
))]
pub(super) struct DeviceArgs {
    /// Id, serial number, ICCID or IMEI, or the end of the id
    #[arg(value_name = "DEVICE")]
    device: String,
    /// Also every record about it
    #[arg(long)]
    facts: bool,
}

#[derive(Serialize)]
struct HistoryEvent<'a> {
    event: &'static str,
    #[serde(flatten)]
    history: &'a History,
}

pub(super) fn run(args: &DeviceArgs, context: &Context) -> Result<ExitCode, CliError> {
    let reader = context.reader()?;
    let device = find(&reader, &args.device)?;
    let unknown = || CliError::UnknownDevice {
        text: args.device.clone(),
    };
    let history = reader.history(device)?.ok_or_else(unknown)?;
    let records = if args.facts {
        all_records(&reader, device)?
    } else {
        Vec::new()
    };
    let printer = &context.printer;
    if printer.is_json() {
        printer.object(&HistoryEvent {
            event: "history",
            history: &history,
        });
        for record in &records {
            printer.object(&FactEvent::new(record, sentence::slot(&record.fact), Some(device)));
        }
        return Ok(ExitCode::Passed);
    }
    identity(&history.device, printer);
    runs(&history, printer);
    keys(&history.keys, printer);
    packets(&history.packets, printer);
    items(&history, printer);
    if args.facts {
        heading("facts", printer);
        for record in &records {
            printer.line(
                Text::new()
                    .paint(Paint::Dim, format!("{} {}", record.seq, record.at))
                    .then(format!("  {}", sentence::sentence(&record.fact))),
            );
        }
    }
    Ok(ExitCode::Passed)
}

/// The one device that a text names.
pub(super) fn find(reader: &Reader, text: &str) -> Result<DeviceId, CliError> {
    if let Ok(id) = text.trim().parse::<DeviceId>()
        && reader.device(id)?.is_some()
    {
        return Ok(id);
    }
    let filter = DeviceFilter {
        text: Some(text.to_owned()),
        ..DeviceFilter::default()
    };
    let rows = if text.trim().is_empty() {
        Vec::new()
    } else {
        reader.devices(&filter, None, SHOWN + 1)?
    };
    match rows.as_slice() {
        [] => Err(CliError::UnknownDevice { text: text.to_owned() }),
        [one] => Ok(one.id),
        // A serial number that others begin with is still exact.
        many => match many
            .iter()
            .filter(|row| row.serial.as_deref() == Some(text.trim()))
            .collect::<Vec<_>>()
            .as_slice()
        {
            [one] => Ok(one.id),
            _ => Err(CliError::ManyDevices {
                text: text.to_owned(),
                found: many.iter().take(SHOWN as usize).map(|row| row.id.to_string()).collect(),
                more: many.len() > SHOWN as usize,
            }),
        },
    }
}

/// Every record about a device, oldest first.
fn all_records(reader: &Reader, device: DeviceId) -> Result<Vec<Record>, CliError> {
    let (mut records, mut before) = (Vec::new(), None);
    loop {
        let page = reader.device_records(device, before, PAGE)?;
        before = page.last().map(|record| record.seq);
        let full = page.len() == PAGE as usize;
        records.extend(page);
        if !full {
            records.reverse();
            return Ok(records);
        }
    }
}

/// What the ledger knows of a device, but for its history.
pub(super) fn identity(row: &DeviceRow, printer: &Printer) {
    let mut about = Text::new().then("device ").paint(Paint::Bold, row.id);
    if let Some(platform) = row.platform {
        about = about.then(format!(", {platform}"));
    }
    printer.line(about);
    let line = |name: &str, text: Text| printer.line(Text::new().paint(Paint::Dim, format!("  {name:<13}")).join(text));
    let some = |name: &str, text: &Option<String>| {
        if let Some(text) = text {
            line(name, text.as_str().into());
        }
    };
    some("serial", &row.serial);
    some("ICCID", &row.iccid);
    some("IMEI", &row.imei);
    some("hardware", &row.hardware);
    some("Device OS", &row.os_version);
    let modules: Vec<String> = row
        .modules
        .iter()
        .map(|m| {
            format!(
                "{} {} v{}{}",
                m.function,
                m.index,
                m.version,
                if m.healthy() { "" } else { " (fails a check)" }
            )
        })
        .collect();
    if !modules.is_empty() {
        line("modules", modules.join(", ").into());
    }
    if let Some(protection) = row.protection {
        line("protection", format!("{protection:?}").to_lowercase().into());
    }
    if let Some(since) = row.unprotected_since {
        let what = format!(" since {since}: it was let into Service Mode, and has not shown that it is protected again");
        line("", Text::new().paint(Paint::Fault, devices::UNPROTECTED).then(what));
    }
    line("first seen", row.first_seen.to_string().into());
    let slot = row.last_slot.map(|slot| format!(" in slot {slot}")).unwrap_or_default();
    line("last seen", format!("{}{slot}", row.last_seen).into());
    let origin = row.key_origin.filter(|origin| *origin != Origin::Read);
    let origin = origin.map_or_else(String::new, |of| format!(" ({})", devices::origin(of)));
    line("key in slot", (devices::key_in_slot(row) + &origin).into());
    if let Some(key) = row.key_intended {
        line(
            "key intended",
            Text::new()
                .paint(Paint::Warn, key.short())
                .then(" (its write is not settled)"),
        );
    }
    if let Some(key) = row.key_accepted {
        let at = row.accepted_at.map(|at| format!(" at {at}")).unwrap_or_default();
        let product = row
            .accepted_product
            .as_ref()
            .map(|product| format!(" for product {product}"))
            .unwrap_or_default();
        line("key accepted", format!("{}{at}{product}", key.short()).into());
    }
    line("cloud", devices::standing(row.standing));
    if row.quarantined.is_some() {
        let decide = format!(
            ": a named person decides, with `keyrack release {} --by NAME --why TEXT`",
            row.id
        );
        line("quarantined", Text::new().paint(Paint::Fault, "yes").then(decide));
    }
    if let Some(at) = row.handshake_at {
        line("handshake", at.to_string().into());
    }
}

/// The work order and the reference of a run.
fn under(run: &RunRow) -> String {
    let order = run.work_order.as_ref().map(|order| order.id.as_str());
    let words: Vec<_> = order.into_iter().chain(run.reference.as_deref()).collect();
    words.join(", ")
}

fn runs(history: &History, printer: &Printer) {
    heading("runs, newest first", printer);
    let mut table = Table::new(["run", "began", "slot", "verdict", "code", "operator", "order", "why"]);
    for run in &history.runs {
        let verdict = match (run.verdict, run.interrupted) {
            (Some(verdict), _) if run.proved => Text::new().paint(Paint::of(verdict), format!("{verdict}, PROVED")),
            (Some(verdict), _) => Text::new().paint(Paint::of(verdict), verdict.word()),
            (None, Some(_)) => Text::new().paint(Paint::Warn, "interrupted"),
            (None, None) => Text::new().paint(Paint::Busy, "open"),
        };
        table.row([
            run.id.to_string().into(),
            run.started.to_string().into(),
            run.slot.to_string().into(),
            verdict,
            run.code
                .or(run.interrupted)
                .map(|code| code.to_string())
                .unwrap_or_default()
                .into(),
            run.operator.clone().unwrap_or_default().into(),
            under(run).into(),
            match &run.released {
                Some(released) => format!(
                    "{}; released by {} at {}: {}",
                    run.why.as_deref().unwrap_or_default(),
                    released.by,
                    released.at,
                    released.why
                )
                .into(),
                None => run.why.clone().unwrap_or_default().into(),
            },
        ]);
    }
    table.print(printer);
    let last = history.runs.first().filter(|run| run.released.is_none());
    if let Some(code) = last.and_then(|run| run.code.or(run.interrupted)) {
        printer.line(
            Text::new()
                .paint(Paint::Busy, "next:")
                .then(format!(" {}", code.next_action())),
        );
    }
}

fn keys(rows: &[KeyRow], printer: &Printer) {
    if rows.is_empty() {
        return;
    }
    heading("keys, newest first", printer);
    let mut table = Table::new([
        "key",
        "kind",
        "state",
        "first seen",
        "last seen",
        "accepted",
        "why it is known",
    ]);
    for row in rows {
        table.row([
            row.key.fingerprint.short().into(),
            row.key.kind.to_string().into(),
            match row.state {
                KeyState::Intended => Text::new().paint(Paint::Warn, "intended"),
                KeyState::InSlot => Text::new().paint(Paint::Good, "in slot"),
                KeyState::Gone => "gone".into(),
                KeyState::Abandoned => "abandoned".into(),
                KeyState::Told => Text::new().paint(Paint::Warn, "told"),
            },
            row.first_seen.to_string().into(),
            row.last_seen.to_string().into(),
            row.accepted_at.map(|at| at.to_string()).unwrap_or_default().into(),
            devices::origin(row.origin).into(),
        ]);
    }
    table.print(printer);
}

fn packets(rows: &[PacketRow], printer: &Printer) {
    if rows.is_empty() {
        return;
    }
    heading("packets, newest first", printer);
    let mut table = Table::new(["taken", "key", "signed", "not checked", "who stands for it", "result"]);
    for row in rows {
        let manifest = row.proof.manifest.as_ref();
        let unchecked: Vec<_> = row.proof.unchecked.iter().map(|unchecked| unchecked.words()).collect();
        let voucher = row.voucher.as_ref();
        let why = row.why.as_deref().unwrap_or_default();
        table.row([
            row.taken_at.to_string().into(),
            row.fingerprint.short().into(),
            manifest
                .map_or_else(String::new, |m| format!("by {} on {}", m.station, m.at))
                .into(),
            unchecked.join("; ").into(),
            voucher
                .map_or_else(String::new, |v| format!("{} under {}", v.by, v.reference))
                .into(),
            match row.end {
                None => Text::new().paint(Paint::Busy, "open"),
                Some(PacketEnd::Registered) if row.code.is_none() => Text::new().paint(Paint::Good, "registered"),
                Some(end) => Text::new().paint(Paint::Bad, end.word()).then(format!(": {why}")),
            },
        ]);
    }
    table.print(printer);
    if let Some(code) = rows.first().and_then(|row| row.code) {
        printer.line(
            Text::new()
                .paint(Paint::Busy, "next:")
                .then(format!(" {}", code.next_action())),
        );
    }
}

fn items(history: &History, printer: &Printer) {
    if history.items.is_empty() {
        return;
    }
    heading("cloud, newest first", printer);
    let mut table = Table::new(["queued", "what", "state", "attempts", "settled", "last answer"]);
    for row in &history.items {
        table.row([
            row.queued_at.to_string().into(),
            outbox::what(row).into(),
            outbox::state(row.state),
            outbox::attempts(row).into(),
            row.settled_at.map(|at| at.to_string()).unwrap_or_default().into(),
            row.why
                .clone()
                .or_else(|| row.last_answer.as_ref().map(sentence::answer_words))
                .unwrap_or_default()
                .into(),
        ]);
    }
    table.print(printer);
}

fn heading(text: &str, printer: &Printer) {
    printer.line("");
    printer.line(Text::new().paint(Paint::Bold, text));
}

/// So many devices are named when a text fits more than one.
const SHOWN: u32 = 5;

/// Records that are read at once.
const PAGE: u32 = 1000;
