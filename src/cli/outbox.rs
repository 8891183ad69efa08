//! `keyrack outbox`: what is owed to the cloud, and what it refused.

use std::collections::BTreeMap;

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
    model::{
        Code, Fact, Record, Wall,
        outbox::{Answer, ItemId, ItemState},
        sentence::{self, count},
    },
    store::{ItemRow, Reader},
};

/// Show what is owed to the cloud
///
/// Items go out by themselves while the station runs. A held item is a new key that is not yet confirmed to be on its
/// device: it must not be sent. --refused looks through the whole journal for what the cloud refused and did not accept later, and why. A refusal is believed when it
/// came twice.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack outbox", "what is owed, oldest first, with the last answer"),
        ("keyrack outbox --refused --json", "what was refused, one object a line"),
    ],
    help::READING,
))]
pub(super) struct OutboxArgs {
    /// What was refused instead
    #[arg(long)]
    refused: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// The last refusal of an item.
#[derive(Serialize)]
struct Refusal {
    event: &'static str,
    item: ItemId,
    at: Wall,
    code: Code,
    reason: String,
    times: usize,
    next: &'static str,
}

#[derive(Serialize)]
struct Owed<'a> {
    event: &'static str,
    #[serde(flatten)]
    row: &'a ItemRow,
}

pub(super) fn run(args: &OutboxArgs, context: &Context) -> Result<ExitCode, CliError> {
    let reader = context.reader()?;
    if args.refused {
        return refused(&reader, args.limit, context);
    }
    let rows = reader.owed(args.limit)?;
    let printer = &context.printer;
    if printer.is_json() {
        rows.iter().for_each(|row| printer.object(&Owed { event: "item", row }));
        return Ok(ExitCode::Passed);
    }
    if rows.is_empty() {
        printer.line("nothing is owed");
        return Ok(ExitCode::Passed);
    }
    let mut table = Table::new(["device", "since", "what", "state", "attempts", "not before", "last answer"]);
    for row in &rows {
        table.row([
            row.item.device.to_string().into(),
            row.queued_at.to_string().into(),
            what(row).into(),
            state(row.state),
            attempts(row).into(),
            row.next_at.map(|at| at.to_string()).unwrap_or_default().into(),
            row.last_answer
                .as_ref()
                .map(sentence::answer_words)
                .unwrap_or_default()
                .into(),
        ]);
    }
    table.print(printer);
    if rows.len() == args.limit as usize {
        printer.note(format!("only the first {}: give a larger --limit", args.limit));
    }
    Ok(ExitCode::Passed)
}

/// What is owed, and that a packet owes it.
pub(super) fn what(row: &ItemRow) -> String {
    let errand = sentence::errand(&row.item);
    if row.from_packet {
        format!("{errand}, by a packet")
    } else {
        errand
    }
}

/// The state of an item in one word, with its paint.
pub(super) fn state(state: ItemState) -> Text {
    let (word, paint) = match state {
        ItemState::Held => ("held", Paint::Warn),
        ItemState::Queued => ("queued", Paint::Busy),
        ItemState::Sent => ("sent", Paint::Busy),
        ItemState::Accepted => ("accepted", Paint::Good),
        ItemState::Refused => ("refused", Paint::Bad),
        ItemState::Withdrawn => ("withdrawn", Paint::Dim),
    };
    Text::new().paint(paint, word)
}

/// How often it was sent.
pub(super) fn attempts(row: &ItemRow) -> String {
    match row.ambiguous {
        0 => row.attempts.to_string(),
        n => format!("{}, {n} unclear", row.attempts),
    }
}

/// Refusals that stand: nothing was accepted or withdrawn after them.
fn refused(reader: &Reader, limit: u32, context: &Context) -> Result<ExitCode, CliError> {
    let printer = &context.printer;
    let mut standing: BTreeMap<ItemId, Refusal> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = reader.records(after, PAGE)?;
        page.iter().for_each(|record| follow(&mut standing, record));
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = last.seq,
            _ => break,
        }
    }
    let mut refusals: Vec<Refusal> = standing.into_values().collect();
    refusals.sort_by(|a, b| (a.at, &a.item).cmp(&(b.at, &b.item)));
    for refusal in refusals.iter().take(limit as usize) {
        if printer.is_json() {
            printer.object(refusal);
            continue;
        }
        printer.line(
            Text::new()
                .paint(Paint::Dim, refusal.at)
                .then(format!(" {} ", refusal.item))
                .paint(Paint::Bad, refusal.code)
                .then(format!(": {}; refused {}", refusal.reason, count(refusal.times, "time"))),
        );
        printer.line(Text::new().paint(Paint::Busy, "  next:").then(format!(" {}", refusal.next)));
    }
    if refusals.is_empty() && !printer.is_json() {
        printer.line("nothing was refused");
    }
    Ok(ExitCode::Passed)
}

fn follow(standing: &mut BTreeMap<ItemId, Refusal>, record: &Record) {
    match &record.fact {
        Fact::ItemAnswered {
            item,
            answer: Answer::Refused { code, reason },
            ..
        } => {
            let times = standing.get(item).map_or(0, |refusal| refusal.times) + 1;
            let refusal = Refusal {
                event: "refused",
                item: item.clone(),
                at: record.at,
                code: *code,
                reason: reason.clone(),
                times,
                next: code.next_action(),
            };
            standing.insert(item.clone(), refusal);
        }
        Fact::ItemAnswered {
            item,
            answer: Answer::Accepted { .. },
            ..
        }
        | Fact::ItemWithdrawn { item, .. } => {
            standing.remove(item);
        }
        _ => {}
    }
}

/// Records that are read at once.
const PAGE: u32 = 10_000;
