//! `keyrack outbox`: what is owed to the cloud, and what it refused.

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    error::CliError,
    exit::ExitCode,
    facts, help,
    print::{Paint, Text},
    table::Table,
};
use crate::{
    model::{
        Code, Fact, Wall,
        outbox::{Answer, ItemId, ItemState},
    },
    store::{ItemRow, Reader},
};

/// Show what is owed to the cloud
///
/// Items go out by themselves while the station runs. A held item is a new key that is not yet confirmed to be on its
/// device: it must not be sent. --refused looks through the whole journal for what the cloud refused for good, and why.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack outbox", "what is owed, oldest first, with the last answer"),
        ("keyrack outbox --refused --json", "what was refused for good, one object a line"),
    ],
    help::READING,
))]
pub(super) struct OutboxArgs {
    /// What was refused for good instead
    #[arg(long)]
    refused: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Serialize)]
struct Refused<'a> {
    event: &'static str,
    item: &'a ItemId,
    at: Wall,
    code: Code,
    reason: &'a str,
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
            facts::errand(&row.item).into(),
            state(row.state),
            attempts(row).into(),
            row.next_at.map(|at| at.to_string()).unwrap_or_default().into(),
            row.last_answer.as_ref().map(facts::answer_words).unwrap_or_default().into(),
        ]);
    }
    table.print(printer);
    if rows.len() == args.limit as usize {
        printer.note(format!("only the first {}: give a larger --limit", args.limit));
    }
    Ok(ExitCode::Passed)
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

fn refused(reader: &Reader, limit: u32, context: &Context) -> Result<ExitCode, CliError> {
    let printer = &context.printer;
    let (mut after, mut found) = (0, 0);
    loop {
        let page = reader.records(after, PAGE)?;
        for record in &page {
            let Fact::ItemAnswered {
                item,
                answer: Answer::Refused { code, reason },
                ..
            } = &record.fact
            else {
                continue;
            };
            found += 1;
            if printer.is_json() {
                printer.object(&Refused {
                    event: "refused",
                    item,
                    at: record.at,
                    code: *code,
                    reason,
                    next: code.next_action(),
                });
            } else {
                printer.line(
                    Text::new()
                        .paint(Paint::Dim, record.at)
                        .then(format!(" {item} "))
                        .paint(Paint::Bad, code)
                        .then(format!(": {reason}; next: {}", code.next_action())),
                );
            }
            if found == limit {
                return Ok(ExitCode::Passed);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize && !printer.is_closed() => after = last.seq,
            _ => break,
        }
    }
    if found == 0 && !printer.is_json() {
        printer.line("nothing was refused");
    }
    Ok(ExitCode::Passed)
}

/// Records that are read at once.
const PAGE: u32 = 10_000;
