//! What the station says while it works, as lines for people or as one JSON object a line. It owns what is worth saying;
//! it decides nothing.

mod json;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    ask::desk,
    print::{Paint, Printer, Text},
    summary::Summary,
};
use crate::{
    model::{Code, DeviceId, Fact, Record, RunId, SlotNo, outbox::Answer, sentence},
    rack::{
        Ordered, RackView,
        view::{Awaits, SlotView},
    },
    station::Event,
};
pub(super) use json::FactEvent;
use json::{DurableEvent, LineEvent, LockEvent, OrderEvent, ProgressEvent, SlotEvent};

/// Follows a station.
pub(super) struct Events {
    printer: Arc<Printer>,
    summary: Summary,
    slots: BTreeMap<SlotNo, Shown>,
    devices: BTreeMap<DeviceId, SlotNo>,
    locked: Option<String>,
    order: Option<Ordered>,
    stopped: bool,
    held: Held,
    /// The screen says it all: nothing is printed.
    quiet: bool,
}

/// What was said of a slot.
#[derive(Default)]
struct Shown {
    word: &'static str,
    run: Option<RunId>,
    /// The step under way, and how many tenths of it were told.
    step: Option<u8>,
    tenths: u64,
}

/// The devices that are in the middle of something, in words, for whoever asks the station to stop.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<Vec<String>>>);

impl Held {
    /// One phrase for each.
    pub(super) fn words(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    /// Nothing was said yet.
    pub(super) fn new(printer: Arc<Printer>) -> Self {
        Self {
            printer,
            summary: Summary::default(),
            slots: BTreeMap::new(),
            devices: BTreeMap::new(),
            locked: None,
            order: None,
            stopped: false,
            held: Held::default(),
            quiet: false,
        }
    }

    /// From here on nothing is printed; what happens is still counted.
    pub(super) fn hush(&mut self) {
        self.quiet = true;
    }

    /// Takes in a record of an earlier session, so that a run that goes on is known.
    pub(super) fn recall(&mut self, record: &Record) {
        self.summary.recall(record);
    }

    /// Says what happened, if it is worth saying.
    pub(super) fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Record(record) => self.record(record),
            Event::Durable { facts, waited } if self.printer.is_json() && self.printer.verbosity() > 0 => {
                self.printer.object(&DurableEvent::new(*facts, *waited));
            }
            Event::Durable { .. } => {}
            Event::View(view) => self.view(view),
            Event::Progress { slot, done, of } if !self.quiet => self.progress(*slot, *done, *of),
            Event::Progress { .. } => {}
        }
    }

    /// What is under way, shared with the thread that hears signals.
    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    /// What came of it so far.
    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What came of it, to be completed from the ledger.
    pub(super) fn into_summary(self) -> Summary {
        self.summary
    }

    fn record(&mut self, record: &Record) {
        let fact = &record.fact;
        let mut again = false;
        if let Fact::DeviceSeen { slot, identity, .. } = fact {
            again = self.devices.insert(identity.device, *slot) == Some(*slot);
        }
        self.summary.record(record);
        if let (Some(slot), Some(run)) = (sentence::slot(fact), fact.run()) {
            self.slots.entry(slot).or_default().run = Some(run);
        }
        let (slot, device) = self.whose(fact);
        if let (Some(slot), Fact::StepStarted { step, .. }) = (slot, fact) {
            let shown = self.slots.entry(slot).or_default();
            (shown.step, shown.tenths) = (Some(*step), 0);
        }
        if self.quiet {
            return;
        }
        if self.printer.is_json() {
            return self.printer.object(&FactEvent::new(record, slot, device));
        }
        // A device that started again is seen again: nothing new.
        if again && self.printer.verbosity() == 0 {
            return;
        }
        if let Some(text) = self.line(fact) {
            self.printer.line(head(slot, device).join(text));
        }
    }

    /// The slot and the device that a fact is about, as far as is known.
    fn whose(&self, fact: &Fact) -> (Option<SlotNo>, Option<DeviceId>) {
        let line = fact.run().and_then(|run| self.summary.run(run));
        let device = fact.device().or(line.map(|line| line.device));
        let seen = || device.and_then(|device| self.devices.get(&device).copied());
        (sentence::slot(fact).or(line.map(|line| line.slot)).or_else(seen), device)
    }

    /// A line about a fact, unless it is a detail that nobody asked for.
    fn line(&self, fact: &Fact) -> Option<Text> {
        let of = |run: &RunId, step: u8| {
            let line = self.summary.run(*run)?;
            Some(format!("step {} of {}: {}: ", step + 1, line.steps(), line.step(step)?))
        };
        Some(match fact {
            Fact::StepEnded {
                run,
                step,
                outcome,
                took_ms,
                ..
            } => Text::new()
                .then(of(run, *step)?)
                .then(sentence::outcome_words(outcome))
                .paint(
                    Paint::Dim,
                    if *took_ms < 100 {
                        String::new()
                    } else {
                        format!(" ({})", sentence::took(*took_ms))
                    },
                ),
            Fact::StepFailed { run, step, error, .. } => Text::new()
                .then(of(run, *step)?)
                .paint(Paint::Warn, error.code)
                .then(format!(": {error}")),
            Fact::RunEnded {
                verdict,
                code,
                why,
                proved,
                ..
            } => {
                let word = if *proved {
                    format!("{verdict}, PROVED")
                } else {
                    verdict.to_string()
                };
                ended(Text::new().paint(Paint::of(*verdict), word), *code, why)
            }
            Fact::RunInterrupted { code, .. } => ended(Text::new().paint(Paint::Warn, "interrupted"), Some(*code), ""),
            Fact::Diagnosed { .. } | Fact::DeviceSeen { .. } | Fact::RunStarted { .. } | Fact::RunResumed { .. } => {
                sentence::sentence(fact).into()
            }
            Fact::PacketEnded { code, .. } => {
                let next = code.map(|code| format!("; next: {}", code.next_action())).unwrap_or_default();
                Text::new().then(sentence::sentence(fact)).then(next)
            }
            Fact::KeyAbandoned { .. } | Fact::KeyRestored { .. } | Fact::HandshakeSeen { .. } => sentence::sentence(fact).into(),
            Fact::OperatorNamed { .. }
            | Fact::WorkOrderNamed { .. }
            | Fact::LabelBound { .. }
            | Fact::EngineerCame { .. }
            | Fact::EngineerLeft { .. }
            | Fact::RepairAsked { .. }
            | Fact::RecipeChosen { .. }
            | Fact::StepLeftOut { .. }
            | Fact::QuarantineReleased { .. } => sentence::sentence(fact).into(),
            Fact::LabelRefused { .. } | Fact::PinRefused {} => Text::new().paint(Paint::Warn, sentence::sentence(fact)),
            Fact::ItemAnswered { answer, .. } if !matches!(answer, Answer::Accepted { .. }) => {
                Text::new().paint(Paint::Warn, sentence::sentence(fact))
            }
            _ if self.printer.verbosity() > 0 => Text::new().paint(Paint::Dim, sentence::sentence(fact)),
            _ => return None,
        })
    }

    fn view(&mut self, view: &RackView) {
        *self.held.lock() = view.slots.iter().filter_map(SlotView::under_way).collect();
        self.summary.set_locked(view.locked.clone());
        self.summary.view(view);
        if self.quiet {
            return;
        }
        if view.locked != self.locked {
            self.locked.clone_from(&view.locked);
            self.lock_changed();
        }
        if view.order != self.order {
            self.order.clone_from(&view.order);
            self.order_changed();
        }
        if view.stopped.is_some() != self.stopped {
            self.stopped = view.stopped.is_some();
            self.line_changed(view);
        }
        for slot in &view.slots {
            let shown = self.slots.entry(slot.slot).or_default();
            shown.run = slot.run.or(shown.run);
            if shown.word == slot.word {
                continue;
            }
            shown.word = slot.word;
            if self.printer.is_json() {
                self.printer.object(&SlotEvent::new(slot));
            } else if let Some(text) = worth(slot, self.printer.verbosity()) {
                self.printer.line(head(Some(slot.slot), slot.device).join(text));
            }
        }
    }

    fn lock_changed(&self) {
        if self.printer.is_json() {
            return self.printer.object(&LockEvent {
                event: "cloud",
                locked: self.locked.as_deref(),
            });
        }
        self.printer.line(match &self.locked {
            Some(why) => Text::new()
                .paint(Paint::Fault, "the cloud does not accept the token")
                .then(format!(": {why}; next: {}", Code::CloudAuth.next_action())),
            None => Text::new().paint(Paint::Good, "the cloud accepts the token again"),
        });
    }

    /// How far the work order is; in lines only when nothing is left of it.
    fn order_changed(&self) {
        let Some(order) = &self.order else { return };
        if self.printer.is_json() {
            return self.printer.object(&OrderEvent::new(order));
        }
        if order.left() == 0 {
            let text = format!("work order {}: all {} devices are done", order.id, order.quantity);
            self.printer.line(Text::new().paint(Paint::Good, text));
        }
    }

    fn line_changed(&self, view: &RackView) {
        let stopped = desk::line_words(view);
        if self.printer.is_json() {
            return self.printer.object(&LineEvent {
                event: "line",
                stopped: stopped.as_ref(),
            });
        }
        self.printer.line(match &stopped {
            Some(line) => Text::new()
                .paint(Paint::Bad, &line.what)
                .then(format!(". No new run begins; next: {}", line.next)),
            None => Text::new().paint(Paint::Good, "the line is released: new runs begin"),
        });
    }

    /// At most one line for each tenth of a step.
    fn progress(&mut self, slot: SlotNo, done: u64, of: u64) {
        let Some(shown) = self.slots.get_mut(&slot) else { return };
        let tenths = tenths(done, of);
        let (Some(run), Some(step)) = (shown.run, shown.step) else {
            return;
        };
        if tenths <= shown.tenths || tenths == 10 {
            return;
        }
        shown.tenths = tenths;
        let Some(line) = self.summary.run(run) else { return };
        let (device, kind, steps) = (line.device, line.step(step), line.steps());
        if self.printer.is_json() {
            return self.printer.object(&ProgressEvent {
                event: "progress",
                slot,
                device,
                step: step + 1,
                steps,
                kind,
                done,
                of,
                percent: tenths * 10,
            });
        }
        let what = kind.map(|kind| kind.to_string()).unwrap_or_default();
        let text = format!("step {} of {steps}: {what}: {} %", step + 1, tenths * 10);
        self.printer.line(head(Some(slot), Some(device)).paint(Paint::Busy, text));
    }
}

/// Where and who, in columns.
fn head(slot: Option<SlotNo>, device: Option<DeviceId>) -> Text {
    let slot = slot.map_or_else(|| " ".repeat(8), |slot| format!("slot {:>2} ", slot.0));
    let device = device.map_or_else(|| " ".repeat(8), |device| format!("{}  ", device.short()));
    Text::new().paint(Paint::Bold, slot).paint(Paint::Dim, device)
}

/// An end with its reason and its one next action, in one line.
fn ended(word: Text, code: Option<Code>, why: &str) -> Text {
    let Some(code) = code else {
        return if why.is_empty() { word } else { word.then(format!(": {why}")) };
    };
    let why = if why.is_empty() {
        sentence::lower(code.what())
    } else {
        why.to_owned()
    };
    let why = why.trim_end_matches('.');
    word.then(format!(" {code}: {why}; next: {}", code.next_action()))
}

/// States of a slot that no fact tells of and that a person should know.
fn worth(view: &SlotView, verbosity: u8) -> Option<Text> {
    match (view.awaits, view.code) {
        (Awaits::Rejected, Some(code)) => Some(ended(Text::new().paint(Paint::Fault, "rejected"), Some(code), &view.why)),
        (Awaits::Set, _) => Some(Text::new().paint(Paint::Busy, view.word)),
        _ if view.held => Some(Text::new().paint(Paint::Busy, "held in DFU mode until the cloud has answered")),
        _ if verbosity > 0 => Some(Text::new().paint(Paint::Dim, view.word)),
        _ => None,
    }
}

fn tenths(done: u64, of: u64) -> u64 {
    if of == 0 {
        0
    } else {
        (done.min(of) as u128 * 10 / u128::from(of)) as u64
    }
}

#[cfg(test)]
mod tests;
