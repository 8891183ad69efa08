//! `keyrack devices`: the devices of the ledger.

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    error::CliError,
    exit::ExitCode,
    help,
    print::{Paint, Text},
    table::Table,
};
use crate::{
    model::Verdict,
    store::{Apart, DeviceRow, Origin, Standing, read::DeviceFilter},
};

/// List the devices of the ledger
///
/// Conditions add up. A device is APART if the cloud may hold another key than the device: it cannot connect, or will
/// not after its next session, until that is settled. A protected device is UNPROTECTED from when it was let into Service
/// Mode until it shows that it is protected again.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack devices --apart", "devices that need a decision"),
        ("keyrack devices --unprotected", "devices that left in Service Mode, or may have"),
        ("keyrack devices --search 3f9a1c", "devices whose id ends or begins so, or their serial number, ICCID or IMEI"),
    ],
    help::READING,
))]
pub(super) struct DevicesArgs {
    /// Only those whose cloud may hold another key
    #[arg(long)]
    apart: bool,
    /// Only protected devices that are in Service Mode, or may be: they may be open to everybody
    #[arg(long)]
    unprotected: bool,
    /// Only those that still owe something to the cloud
    #[arg(long)]
    owed: bool,
    /// Only those whose id, serial number, ICCID or IMEI begins so, or whose id ends so
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those whose last run ended so
    #[arg(long, value_name = "VERDICT", value_parser = verdict)]
    verdict: Option<Verdict>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..1_000_000_000))]
    limit: u32,
}

#[derive(Serialize)]
struct DeviceEvent<'a> {
    event: &'static str,
    #[serde(flatten)]
    row: &'a DeviceRow,
}

pub(super) fn run(args: &DevicesArgs, context: &Context) -> Result<ExitCode, CliError> {
    let reader = context.reader()?;
    let printer = &context.printer;
    let filter = DeviceFilter {
        apart: args.apart,
        unprotected: args.unprotected,
        owed: args.owed,
        text: args.search.clone(),
        verdict: args.verdict,
    };
    let mut rows = reader.devices(&filter, None, args.limit + 1)?;
    let more = rows.len() > args.limit as usize;
    rows.truncate(args.limit as usize);
    if printer.is_json() {
        rows.iter()
            .for_each(|row| printer.object(&DeviceEvent { event: "device", row }));
    } else if rows.is_empty() {
        printer.line("no device fits");
    } else {
        table(&rows).print(printer);
    }
    if more {
        printer.note(format!(
            "there are more than {}: give --search or a larger --limit",
            args.limit
        ));
    }
    Ok(ExitCode::Passed)
}

fn table(rows: &[DeviceRow]) -> Table {
    let mut table = Table::new([
        "device",
        "platform",
        "serial",
        "verdict",
        "code",
        "key in slot",
        "cloud",
        "last seen",
    ]);
    for row in rows {
        table.row([
            row.id.to_string().into(),
            row.platform.map(|platform| platform.to_string()).unwrap_or_default().into(),
            row.serial.clone().unwrap_or_default().into(),
            row.last_verdict.map_or_else(Text::new, |verdict| {
                let released = verdict == Verdict::Quarantined && row.quarantined.is_none();
                let text = Text::new().paint(Paint::of(verdict), verdict.word());
                if released { text.then(", released") } else { text }
            }),
            code(row),
            match row.key_origin {
                // What nobody at this station read or made is marked.
                Some(Origin::Packet) => format!("{}, by a packet", key_in_slot(row)).into(),
                _ => key_in_slot(row).into(),
            },
            standing(row.standing),
            row.last_seen.to_string().into(),
        ]);
    }
    table
}

/// Why its last run ended so, and what is more: that it may be open to everybody.
fn code(row: &DeviceRow) -> Text {
    let text = Text::from(row.last_code.map(|code| code.to_string()).unwrap_or_default());
    match row.unprotected_since {
        None => text,
        Some(_) if row.last_code.is_none() => text.paint(Paint::Fault, UNPROTECTED),
        Some(_) => text.then(" ").paint(Paint::Fault, UNPROTECTED),
    }
}

/// The word for a device that was open, and has not shown that it is protected since.
pub(super) const UNPROTECTED: &str = "UNPROTECTED";

/// What the key slot held when it was last read.
pub(super) fn key_in_slot(row: &DeviceRow) -> String {
    match (&row.key_in_slot, &row.slot_content) {
        (Some(key), _) => key.short(),
        (None, Some(content)) => content.clone(),
        (None, None) => String::new(),
    }
}

/// Where a key came from, in words.
pub(super) const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Read => "found in the slot",
        Origin::Made => "made by the station",
        Origin::Given => "given from a file",
        Origin::Packet => "brought by a packet",
    }
}

/// Whether device and cloud agree, in words.
pub(super) fn standing(standing: Standing) -> Text {
    match standing {
        Standing::Unregistered => Text::new().paint(Paint::Dim, "never registered"),
        Standing::Agreed => Text::new().paint(Paint::Good, "agreed"),
        Standing::Apart(why) => Text::new().paint(Paint::Fault, "APART").then(match why {
            Apart::Lost => ": it was taken from its owner or its product and could not be given back",
            Apart::Ambiguous => ": an upload may or may not have arrived",
            Apart::Writing => ": a write of a new key is not settled",
            Apart::Differs => ": the slot holds another key than the cloud accepted",
        }),
    }
}

fn verdict(text: &str) -> Result<Verdict, String> {
    let wanted = text.to_ascii_uppercase().replace('_', "-");
    Verdict::ALL
        .into_iter()
        .find(|verdict| verdict.word() == wanted)
        .ok_or_else(|| {
            let words: Vec<String> = Verdict::ALL.iter().map(|verdict| verdict.word().to_lowercase()).collect();
            format!("one of {}", words.join(", "))
        })
}
