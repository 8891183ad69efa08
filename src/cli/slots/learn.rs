//! `keyrack slots learn`: a person plugs one device into each slot in turn, and the station learns which port each is.

use std::io::IsTerminal;

use clap::Args;
use serde::Serialize;

use super::{
    ENDS, Shown, WorldArgs, clock,
    lesson::{Heard, Lesson},
    watch::{Change, Moment, Watch},
    write,
};
use crate::{
    cli::{
        Context,
        error::CliError,
        exit::ExitCode,
        help, places,
        print::{Paint, Printer, Text},
    },
    config,
    edge::Attached,
    model::{PortPath, SlotNo, sentence::count},
};

/// Teach the station its slots, by plugging one device into each in turn
///
/// One Particle device is enough: plug it into slot 1, then into slot 2, and so on. What is plugged in at the start counts
/// when it is plugged in again. Enter leaves a slot as it is. The ports are written into station.toml when all slots are
/// known, in one piece and with every comment kept; until then Ctrl-C leaves it as it was.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack slots learn", "every slot of station.toml"),
        ("keyrack slots learn 3 7", "only slots 3 and 7, after their cables were changed"),
        ("keyrack slots learn 1-32", "a rack with these slots; those that station.toml has not are added to it"),
    ],
    &ENDS,
))]
pub(super) struct LearnArgs {
    /// These slots, in this order: numbers, and ranges such as 1-8 [default: every slot of the rack]
    #[arg(value_name = "SLOT", value_parser = range)]
    slots: Vec<Range>,
    #[command(flatten)]
    world: WorldArgs,
}

/// Slots from one number to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range(u16, u16);

fn range(text: &str) -> Result<Range, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 1 <= first && first <= last && last <= MOST_SLOTS => Ok(Range(first, last)),
        _ => Err(format!("a slot's number from 1 to {MOST_SLOTS}, or a range such as 1-8")),
    }
}

pub(super) fn run(args: &LearnArgs, context: &Context) -> Result<ExitCode, CliError> {
    let path = places::config(&context.globals, &context.environment)?;
    let station = config::load(&path)?;
    let before: Vec<(SlotNo, PortPath)> = station.slots.iter().map(|slot| (slot.number, slot.port.clone())).collect();
    let mut lesson = Lesson::new(asked(args, &before), before);
    let clock = clock();
    let mut watch = Watch::start(args.world.bus(&clock)?, clock)?;
    watch.listen();
    let teller = Teller {
        printer: &context.printer,
        terminal: std::io::stdin().is_terminal() && !context.printer.is_json(),
    };
    teller.begin(watch.known());
    match teach(&mut lesson, &mut watch, &teller) {
        Ok(true) => {}
        Ok(false) => {
            teller.note("station.toml is as it was");
            return Err(CliError::Interrupted);
        }
        Err(error) => return Err(error),
    }
    let changed = lesson.changed();
    if !changed.is_empty() {
        write::ports(&path, &changed)?;
    }
    teller.end(&lesson, &changed, &path);
    Ok(ExitCode::Passed)
}

/// The slots that are to be taught, each once.
fn asked(args: &LearnArgs, before: &[(SlotNo, PortPath)]) -> Vec<SlotNo> {
    if args.slots.is_empty() {
        return before.iter().map(|(slot, _)| *slot).collect();
    }
    let mut slots = Vec::new();
    for number in args.slots.iter().flat_map(|Range(first, last)| *first..=*last) {
        if !slots.contains(&SlotNo(number)) {
            slots.push(SlotNo(number));
        }
    }
    slots
}

/// Goes through the slots; false if it was to end before.
fn teach(lesson: &mut Lesson, watch: &mut Watch, teller: &Teller<'_>) -> Result<bool, CliError> {
    while let Some(slot) = lesson.current() {
        teller.ask(slot);
        while lesson.current() == Some(slot) {
            match watch.next(None)? {
                Moment::Stopped => return Ok(false),
                Moment::Typed => match lesson.skip() {
                    Ok(()) => teller.kept(slot),
                    Err(other) => teller.note(&format!("slot {slot} cannot stay as it is: its port is slot {other} now")),
                },
                Moment::Changed(changes) => changes.iter().for_each(|change| came(change, lesson, teller)),
                Moment::Late => {}
            }
        }
    }
    // The last chance to leave everything as it was.
    if teller.terminal && !lesson.changed().is_empty() {
        teller.note("Enter writes this into station.toml; Ctrl-C leaves it as it was");
        loop {
            match watch.next(None)? {
                Moment::Typed => break,
                Moment::Stopped => return Ok(false),
                Moment::Changed(_) | Moment::Late => {}
            }
        }
    }
    Ok(true)
}

fn came(change: &Change, lesson: &mut Lesson, teller: &Teller<'_>) {
    let Change::Came(attached) = change else { return };
    let asked = lesson.current();
    match lesson.came(&attached.port) {
        Heard::Learnt(slot) => teller.learnt(slot, attached),
        Heard::Taken(slot) => teller.taken(slot, &attached.port, asked),
        Heard::Again => {}
    }
}

/// Tells a person, or a program, what is asked for and what was learnt.
struct Teller<'a> {
    printer: &'a Printer,
    terminal: bool,
}

#[derive(Serialize)]
struct LearnEvent<'a> {
    event: &'static str,
    slot: SlotNo,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<&'a PortPath>,
}

#[derive(Serialize)]
struct WrittenEvent<'a> {
    event: &'static str,
    file: String,
    changed: Vec<Changed<'a>>,
}

#[derive(Serialize)]
struct Changed<'a> {
    slot: SlotNo,
    before: Option<&'a PortPath>,
    port: &'a PortPath,
}

impl Teller<'_> {
    fn begin(&self, known: &[Attached]) {
        if !known.is_empty() {
            self.note(&format!(
                "{} plugged in already: they count when they are plugged in again",
                count(known.len(), "device")
            ));
        }
    }

    fn ask(&self, slot: SlotNo) {
        self.event("asked", slot, None);
        let how = if self.terminal {
            " (Enter: leave it as it is; Ctrl-C: change nothing)"
        } else {
            ""
        };
        self.note(&format!("plug a device into slot {slot}{how}"));
    }

    fn learnt(&self, slot: SlotNo, attached: &Attached) {
        self.event("learnt", slot, Some(&attached.port));
        if !self.printer.is_json() {
            self.printer.line(
                Text::new()
                    .paint(Paint::Good, format!("slot {slot}"))
                    .then(format!(" is {}: ", attached.port))
                    .join(Shown::from(attached).phrase()),
            );
        }
    }

    fn taken(&self, slot: SlotNo, port: &PortPath, asked: Option<SlotNo>) {
        self.event("taken", slot, Some(port));
        let next = asked.map_or_else(String::new, |asked| {
            format!(": plug it into slot {asked}; or end with Ctrl-C and teach both, `keyrack slots learn {slot} {asked}`")
        });
        self.note(&format!("{port} is slot {slot} already{next}"));
    }

    fn kept(&self, slot: SlotNo) {
        self.event("kept", slot, None);
        if !self.printer.is_json() {
            self.printer.line(format!("slot {slot} stays as it is"));
        }
    }

    fn end(&self, lesson: &Lesson, changed: &[(SlotNo, PortPath)], path: &std::path::Path) {
        if self.printer.is_json() {
            return self.printer.object(&WrittenEvent {
                event: "written",
                file: path.display().to_string(),
                changed: changed
                    .iter()
                    .map(|(slot, port)| Changed {
                        slot: *slot,
                        before: lesson.before(*slot),
                        port,
                    })
                    .collect(),
            });
        }
        if changed.is_empty() {
            return self.printer.line(format!("\"{}\" is right as it is", path.display()));
        }
        for (slot, port) in changed {
            let before = lesson.before(*slot).map_or_else(|| "new".to_owned(), ToString::to_string);
            self.printer.line(format!("slot {slot}: {before} -> {port}"));
        }
        self.printer.line(format!("written: \"{}\"", path.display()));
    }

    fn event(&self, event: &'static str, slot: SlotNo, port: Option<&PortPath>) {
        if self.printer.is_json() {
            self.printer.object(&LearnEvent { event, slot, port });
        }
    }

    fn note(&self, text: &str) {
        self.printer.note(text);
    }
}

/// As many as a rack may have.
const MOST_SLOTS: u16 = 999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_numbers_and_ranges() {
        assert_eq!(range("7"), Ok(Range(7, 7)));
        assert_eq!(range("1-32"), Ok(Range(1, 32)));
        for wrong in ["0", "a", "3-1", "1-1000", "-3", "1-2-3", ""] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
