//! `keyrack replay`: the journal again, or the proof that the ledger is what its journal says.

mod screen;

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    error::CliError,
    events::FactEvent,
    exit::ExitCode,
    help,
    print::{Paint, Text},
};
use crate::{
    model::{DeviceId, Fact, Record, RunId, SlotNo, sentence},
    store::{Difference, Reader},
};

/// Print the journal, or prove that the ledger is what it says
///
/// Every record in its order, as `run` says it. With --verify nothing is printed but differences: the numbering and the
/// chain of the journal are checked, every table is built anew from it in a temporary file, and the two are compared.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack replay --json | grep key-written", "every key that was ever written"),
        ("keyrack replay --screen --speed 60", "a shift once more on the screen, an hour in a minute"),
        ("keyrack replay --verify", "ends with 5 if anything is not as it was written"),
    ],
    help::READING,
))]
pub(super) struct ReplayArgs {
    /// Rebuild every table from the journal and compare
    #[arg(long, conflicts_with = "run")]
    verify: bool,
    /// Show it again on the whole screen, as it happened: Alt-P stops it, Alt-N goes to the next verdict
    #[arg(long, conflicts_with_all = ["verify", "run"])]
    screen: bool,
    /// With --screen: so many times as fast as it happened; no pause is longer than two seconds
    #[arg(long, value_name = "N", default_value_t = 10, requires = "screen", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    speed: u32,
    /// Only this run
    #[arg(long, value_name = "ID", value_parser = run_id)]
    run: Option<RunId>,
    /// Only records after this sequence number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
}

#[derive(Serialize)]
struct DifferenceEvent<'a> {
    event: &'static str,
    #[serde(flatten)]
    difference: &'a Difference,
}

#[derive(Serialize)]
struct Verified {
    event: &'static str,
    records: u64,
    differences: usize,
}

pub(super) fn run(args: &ReplayArgs, context: &Context) -> Result<ExitCode, CliError> {
    let reader = context.reader()?;
    if args.verify {
        return verify(&reader, context);
    }
    if args.screen {
        return screen::run(&reader, args.after, args.speed, context);
    }
    let mut known = Known::default();
    if let Some(run) = args.run {
        for record in reader.run_records(run)? {
            known.print(&record, context);
        }
        return Ok(ExitCode::Passed);
    }
    let mut after = args.after;
    loop {
        let page = reader.records(after, PAGE)?;
        for record in &page {
            known.print(record, context);
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize && !context.printer.is_closed() => after = last.seq,
            _ => return Ok(ExitCode::Passed),
        }
    }
}

fn verify(reader: &Reader, context: &Context) -> Result<ExitCode, CliError> {
    let printer = &context.printer;
    let mut records = 0;
    let differences = reader.verify(&mut |progress| {
        records = progress.total;
        if printer.verbosity() > 0 {
            printer.note(format!("{} of {} records", progress.done, progress.total));
        }
    })?;
    for difference in &differences {
        if printer.is_json() {
            printer.object(&DifferenceEvent {
                event: "difference",
                difference,
            });
        } else {
            printer.line(difference.to_string());
        }
    }
    if printer.is_json() {
        printer.object(&Verified {
            event: "verified",
            records,
            differences: differences.len(),
        });
    }
    if !differences.is_empty() {
        return Err(CliError::Differences {
            found: differences.len(),
        });
    }
    if !printer.is_json() {
        printer.line(Text::new().paint(Paint::Good, "verified").then(format!(
            ": {records} records, numbered and chained; every table is what they say"
        )));
    }
    Ok(ExitCode::Passed)
}

/// Which device and slot a run has, so that every record can say it.
#[derive(Default)]
struct Known(BTreeMap<RunId, (DeviceId, Option<SlotNo>)>);

impl Known {
    fn print(&mut self, record: &Record, context: &Context) {
        let fact = &record.fact;
        if let (Some(run), Some(device)) = (fact.run(), fact.device()) {
            self.0.entry(run).or_insert((device, None));
        }
        let of = fact.run().and_then(|run| self.0.get_mut(&run));
        if let (Some(of), Some(slot)) = (of, sentence::slot(fact)) {
            of.1 = Some(slot);
        }
        let of = fact.run().and_then(|run| self.0.get(&run)).copied();
        let device = fact.device().or(of.map(|of| of.0));
        let slot = sentence::slot(fact).or(of.and_then(|of| of.1));
        if let Fact::RunEnded { run, .. } = fact {
            // Items may follow; but a journal of a million runs is not to be kept in memory.
            self.0.remove(run);
        }
        if context.printer.is_json() {
            return context.printer.object(&FactEvent::new(record, slot, device));
        }
        let slot = slot.map(|slot| format!(" slot {slot}")).unwrap_or_default();
        let device = device.map(|device| format!(" {}", device.short())).unwrap_or_default();
        context.printer.line(
            Text::new()
                .paint(Paint::Dim, format!("{} {}", record.seq, record.at))
                .paint(Paint::Bold, format!("{slot}{device}"))
                .then(format!(" {}", sentence::sentence(fact))),
        );
    }
}

fn run_id(text: &str) -> Result<RunId, String> {
    text.parse()
        .map(RunId)
        .map_err(|_| "a run id is a UUID, as `keyrack device ID` shows it".to_owned())
}

/// Records that are read at once.
const PAGE: u32 = 1000;
