//! What came of it: one line for each run, and the numbers.

mod aside;
mod line;
mod numbers;

pub(super) use line::Line;
pub(super) use numbers::Numbers;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use aside::Rejected;

use super::{
    print::{Paint, Printer, Text},
    table::Table,
};
use crate::{
    model::{
        Code, DeviceId, Fact, Platform, Record, RunId, SlotNo, Verdict,
        diagnosis::Trouble,
        outbox::{Answer, ItemId},
        sentence::took,
    },
    rack::RackView,
};

/// Accumulates what the facts of this session say.
#[derive(Debug, Default)]
pub(super) struct Summary {
    platforms: BTreeMap<DeviceId, Platform>,
    runs: BTreeMap<RunId, Line>,
    apart: BTreeSet<DeviceId>,
    lost: BTreeSet<DeviceId>,
    unprotected: BTreeSet<DeviceId>,
    registered: BTreeSet<DeviceId>,
    handshakes: u64,
    retries: u64,
    uploads: u64,
    locked: Option<String>,
    rejected: BTreeMap<(SlotNo, Option<DeviceId>), Rejected>,
}

impl Summary {
    /// Takes in a record of an earlier session: what is known of runs that may go on.
    pub(super) fn recall(&mut self, record: &Record) {
        let (handshakes, retries, uploads) = (self.handshakes, self.retries, self.uploads);
        self.record(record);
        (self.handshakes, self.retries, self.uploads) = (handshakes, retries, uploads);
        if let Some(line) = record.fact.run().and_then(|run| self.runs.get_mut(&run)) {
            line.began_here = false;
        }
    }

    /// Takes in a record.
    pub(super) fn record(&mut self, record: &Record) {
        match &record.fact {
            Fact::DeviceSeen { identity, .. } => {
                self.platforms.insert(identity.device, identity.platform);
            }
            Fact::RunStarted {
                run, device, slot, plan, ..
            } => {
                self.runs.insert(*run, Line::new(*run, *device, *slot, plan.clone()));
            }
            Fact::StepStarted { attempt, .. } if *attempt > 1 => self.retries += 1,
            Fact::ItemSent { item, attempt } => {
                self.uploads += u64::from(is_key(item));
                self.retries += u64::from(*attempt > 1);
            }
            Fact::ItemAnswered {
                item,
                answer: Answer::Accepted { .. },
                ..
            } if is_key(item) => {
                if let Some(line) = item.run().and_then(|run| self.runs.get_mut(&run)) {
                    line.deeds.registered = true;
                    self.registered.insert(line.device);
                }
            }
            Fact::HandshakeSeen { .. } => self.handshakes += 1,
            _ => {}
        }
        let (item, accepted) = match &record.fact {
            Fact::ItemSent { item, .. } => (Some(item), false),
            Fact::ItemAnswered {
                item,
                answer: Answer::Accepted { .. },
                ..
            } => (Some(item), true),
            _ => (None, false),
        };
        if let Some(line) = item.and_then(ItemId::run).and_then(|run| self.runs.get_mut(&run)) {
            item.into_iter().for_each(|item| line.owned(item, record.at, accepted));
        }
        if let Some(line) = record.fact.run().and_then(|run| self.runs.get_mut(&run)) {
            // A run of an earlier session whose upload is answered now is not a run of this one.
            line.began_here |= line.verdict.is_none();
            line.record(&record.fact);
        }
    }

    /// What the ledger says of the devices at the end.
    pub(super) fn set_apart(&mut self, device: DeviceId) {
        self.apart.insert(device);
    }

    /// As [`Summary::set_apart`]: it may be open to everybody.
    pub(super) fn set_unprotected(&mut self, device: DeviceId) {
        self.unprotected.insert(device);
    }

    /// Takes in what a view shows that no fact tells: devices that were not taken in.
    pub(super) fn view(&mut self, view: &RackView) {
        self.rejected
            .extend(Rejected::of(view).map(|rejected| (rejected.place(), rejected)));
    }

    /// The devices that were not taken in, by slot, but for those of which a run began after all.
    pub(super) fn rejected(&self) -> Vec<Rejected> {
        let began = self.devices();
        let rejected = self.rejected.values();
        rejected
            .filter(|rejected| rejected.device.is_none_or(|device| !began.contains(&device)))
            .cloned()
            .collect()
    }

    /// The devices of all runs that are known, those of earlier sessions included.
    pub(super) fn known(&self) -> BTreeSet<DeviceId> {
        self.runs.values().map(|line| line.device).collect()
    }

    /// A device that was taken and could not be given back.
    pub(super) fn set_lost(&mut self, device: DeviceId) {
        self.apart.insert(device);
        self.lost.insert(device);
    }

    /// Why nothing is sent, if so.
    pub(super) fn set_locked(&mut self, why: Option<String>) {
        self.locked = why;
    }

    /// What is known of a run.
    pub(super) fn run(&self, run: RunId) -> Option<&Line> {
        self.runs.get(&run)
    }

    /// The devices of the runs of this session.
    pub(super) fn devices(&self) -> BTreeSet<DeviceId> {
        self.lines().map(|line| line.device).collect()
    }

    /// How many runs of this session have their verdict.
    pub(super) fn judged(&self) -> usize {
        self.lines().filter(|line| line.verdict.is_some()).count()
    }

    /// The runs of this session, by slot.
    pub(super) fn results(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self
            .lines()
            .cloned()
            .map(|mut line| {
                line.platform = self.platforms.get(&line.device).copied();
                line.done = line.deeds.words();
                line
            })
            .collect();
        lines.sort_by_key(|line| (line.slot, line.run));
        lines
    }

    /// The numbers.
    pub(super) fn numbers(&self, seconds: f64) -> Numbers {
        let of = |verdict| self.lines().filter(|line| line.verdict == Some(verdict)).count();
        Numbers {
            event: "summary",
            devices: self.devices().len(),
            pass: of(Verdict::Pass),
            fail: of(Verdict::Fail),
            fault: of(Verdict::Fault),
            rolled_back: of(Verdict::RolledBack),
            quarantined: of(Verdict::Quarantined),
            aborted: of(Verdict::Aborted),
            owed: of(Verdict::Owed),
            apart: self.apart.len(),
            lost: self.lost.iter().copied().collect(),
            unprotected: self.unprotected.len(),
            interrupted: self.lines().filter(|line| line.verdict.is_none()).count(),
            registered: self.registered.len(),
            proved: self
                .lines()
                .filter(|line| line.proved && line.verdict == Some(Verdict::Pass))
                .count(),
            handshakes: self.handshakes,
            retries: self.retries,
            uploads: self.uploads,
            seconds: (seconds * 1000.0).round() / 1000.0,
            locked: self.locked.clone(),
        }
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.runs.values().filter(|line| line.began_here)
    }
}

/// Prints the table, the reasons, the devices that a person has to see to, and the numbers.
pub(super) fn print(lines: &[Line], rejected: &[Rejected], numbers: &Numbers, printer: &Printer) {
    if printer.is_json() {
        for line in lines {
            printer.object(&Result { event: "result", line });
        }
        for rejected in rejected {
            printer.object(&TurnedAway {
                event: "rejected",
                rejected,
            });
        }
        return printer.object(numbers);
    }
    let mut table = Table::new(["slot", "device", "platform", "verdict", "code", "done"]);
    for line in lines {
        let verdict = match line.verdict {
            Some(verdict) if line.proved => Text::new().paint(Paint::of(verdict), "PROVED"),
            Some(verdict) => Text::new().paint(Paint::of(verdict), verdict.word()),
            None => Text::new().paint(Paint::Warn, "waits for its device"),
        };
        table.row([
            line.slot.to_string().into(),
            line.device.to_string().into(),
            line.platform
                .map_or_else(|| "?".to_owned(), |platform| platform.to_string())
                .into(),
            verdict,
            line.code.map(|code| code.to_string()).unwrap_or_default().into(),
            line.done.clone().into(),
        ]);
    }
    printer.line("");
    table.print(printer);
    for line in lines {
        diagnosis(line, printer);
    }
    for line in lines.iter().filter(|line| !line.why.is_empty() && line.diagnosis.is_none()) {
        printer.line(
            Text::new()
                .paint(Paint::Bold, format!("slot {} {}", line.slot, line.device.short()))
                .then(format!(": {}", line.why)),
        );
        next(line, printer);
    }
    if let Some(why) = &numbers.locked {
        printer.line(
            Text::new()
                .paint(Paint::Fault, "the cloud does not accept the token")
                .then(format!(": {why}")),
        );
        printer.line(
            Text::new()
                .paint(Paint::Busy, "  next:")
                .then(" ")
                .then(Code::CloudAuth.next_action()),
        );
    }
    aside::print(lines, rejected, printer);
    for device in &numbers.lost {
        let alarm = format!("ALARM: {device} was taken for its repair and could not be given back");
        printer.line(Text::new().paint(Paint::Fault, alarm));
        let next = Text::new().paint(Paint::Busy, "  next:").then(" ");
        printer.line(next.then(Code::ClaimLost.next_action()));
    }
    printer.line(numbers.words());
}

/// What was wrong with a device, in a block of lines.
fn diagnosis(line: &Line, printer: &Printer) {
    let Some(found) = &line.diagnosis else { return };
    let paint = match found.trouble {
        Trouble::Nothing => Paint::Good,
        _ => Paint::Warn,
    };
    let whose = format!("slot {} {}", line.slot, line.device);
    printer.line(
        Text::new()
            .paint(Paint::Bold, whose)
            .then(": ")
            .paint(paint, found.trouble)
            .then(format!(" ({})", found.sureness)),
    );
    let detail = |what: &str, text: &str| {
        printer.line(Text::new().paint(Paint::Dim, format!("  {what:<9}")).then(text));
    };
    found.evidence.iter().for_each(|sentence| detail("evidence", sentence));
    if let Some(server) = &line.server {
        let key = server
            .key
            .map_or_else(|| "no key".to_owned(), |key| format!("key {}", key.short()));
        let address = server.address.as_deref().unwrap_or("no address");
        let finding = server.finding.to_string();
        let told = found.evidence.iter().any(|sentence| sentence.contains(&finding));
        let finding = if told { String::new() } else { format!(": {finding}") };
        detail("server", &format!("{address}, {key}{finding}"));
        server.notes.iter().for_each(|note| detail("server", &note.to_string()));
    }
    if let Some(flow) = found.flow {
        detail("flow", flow.words());
    }
    if let Some(millis) = line.ownerless_ms {
        detail("owner", &format!("it belonged to nobody for {}", took(millis)));
    }
    // The reason of a run that only looked is the diagnosis once more.
    if !line.why.is_empty() && !line.why.contains(found.trouble.words()) {
        detail("verdict", &line.why);
    }
    next(line, printer);
}

fn next(line: &Line, printer: &Printer) {
    if let Some(next) = line.next {
        printer.line(Text::new().paint(Paint::Busy, "  next:").then(" ").then(next));
    }
}

#[derive(Serialize)]
struct Result<'a> {
    event: &'static str,
    #[serde(flatten)]
    line: &'a Line,
}

#[derive(Serialize)]
struct TurnedAway<'a> {
    event: &'static str,
    #[serde(flatten)]
    rejected: &'a Rejected,
}

fn is_key(item: &ItemId) -> bool {
    item.0.contains("/key/")
}

#[cfg(test)]
pub(super) mod tests;
