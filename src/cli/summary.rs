//! What came of it: one line for each run, and the numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    exit::ExitCode,
    facts::lower,
    print::{Paint, Printer, Text},
    table::Table,
};
use crate::model::{
    Code, DeviceId, Fact, Outcome, Platform, Record, RunId, SlotNo, StepKind, Verdict,
    key::SlotContent,
    outbox::{Answer, ItemId},
};

/// Accumulates what the facts of this session say.
#[derive(Debug, Default)]
pub(super) struct Summary {
    platforms: BTreeMap<DeviceId, Platform>,
    runs: BTreeMap<RunId, Line>,
    apart: BTreeSet<DeviceId>,
    registered: BTreeSet<DeviceId>,
    handshakes: u64,
    retries: u64,
    uploads: u64,
    locked: Option<String>,
}

/// What came of one run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    /// The run.
    pub(super) run: RunId,
    /// Where its device is, or was last.
    pub(super) slot: SlotNo,
    /// Its device.
    pub(super) device: DeviceId,
    /// Its platform, if it told.
    pub(super) platform: Option<Platform>,
    /// How it ended; none if it waits for its device.
    pub(super) verdict: Option<Verdict>,
    /// True if a handshake proved it.
    pub(super) proved: bool,
    /// Why, unless it simply passed.
    pub(super) code: Option<Code>,
    /// Why, in words.
    pub(super) why: String,
    /// What was done, in words.
    pub(super) done: String,
    /// The one next action.
    pub(super) next: Option<&'static str>,
    #[serde(skip)]
    plan: Vec<StepKind>,
    #[serde(skip)]
    deeds: Deeds,
    #[serde(skip)]
    began_here: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Deeds {
    flashed: u32,
    present: u32,
    key: Option<&'static str>,
    registered: bool,
    skipped: u32,
}

/// The numbers of a session, as the last line of `--json` has them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Numbers {
    event: &'static str,
    /// Devices that had a run.
    pub(super) devices: usize,
    pub(super) pass: usize,
    pub(super) fail: usize,
    pub(super) fault: usize,
    pub(super) rolled_back: usize,
    pub(super) quarantined: usize,
    pub(super) aborted: usize,
    pub(super) owed: usize,
    /// Devices whose cloud may hold another key.
    pub(super) apart: usize,
    /// Runs that wait for their device.
    pub(super) interrupted: usize,
    /// Devices whose key the cloud accepted.
    pub(super) registered: usize,
    /// PASS with a handshake as proof.
    pub(super) proved: usize,
    /// New handshakes that were seen.
    pub(super) handshakes: u64,
    /// Further attempts of steps and of items.
    pub(super) retries: u64,
    /// Key uploads that were sent, further attempts included.
    pub(super) uploads: u64,
    /// How long it took.
    pub(super) seconds: f64,
    /// Why nothing is sent, if the token is not accepted.
    pub(super) locked: Option<String>,
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
        if let Some(line) = record.fact.run().and_then(|run| self.runs.get_mut(&run)) {
            line.began_here = true;
            line.record(&record.fact);
        }
    }

    /// What the ledger says of the devices at the end.
    pub(super) fn set_apart(&mut self, device: DeviceId) {
        self.apart.insert(device);
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

impl Numbers {
    /// The exit code of a session: the station's faults first, because they spoil every device; then the devices'.
    pub(super) fn exit(&self) -> ExitCode {
        if self.fault + self.rolled_back + self.quarantined + self.apart > 0 {
            ExitCode::Fault
        } else if self.fail > 0 {
            ExitCode::Failed
        } else if self.aborted + self.interrupted > 0 {
            ExitCode::Interrupted
        } else if self.owed > 0 || self.locked.is_some() {
            ExitCode::Cloud
        } else {
            ExitCode::Passed
        }
    }
}

impl Line {
    fn new(run: RunId, device: DeviceId, slot: SlotNo, plan: Vec<StepKind>) -> Self {
        Self {
            run,
            slot,
            device,
            platform: None,
            verdict: None,
            proved: false,
            code: None,
            why: String::new(),
            done: String::new(),
            next: None,
            plan,
            deeds: Deeds::default(),
            began_here: true,
        }
    }

    /// A step of its plan, by index.
    pub(super) fn step(&self, step: u8) -> Option<StepKind> {
        self.plan.get(usize::from(step)).copied()
    }

    /// How many steps its plan has.
    pub(super) fn steps(&self) -> usize {
        self.plan.len()
    }

    fn record(&mut self, fact: &Fact) {
        match fact {
            Fact::RunResumed { slot, .. } => {
                self.slot = *slot;
                (self.code, self.why, self.next) = (None, String::new(), None);
            }
            Fact::RunInterrupted { code, .. } => {
                (self.code, self.why, self.next) = (Some(*code), lower(code.what()), Some(code.next_action()));
            }
            Fact::StepEnded { step, outcome, .. } => self.deed(self.step(*step), outcome),
            Fact::KeyRead {
                content: SlotContent::Valid { .. },
                ..
            } if self.deeds.key.is_none() => self.deeds.key = Some("key kept"),
            Fact::KeyWritten { .. } => self.deeds.key = Some("new key"),
            Fact::KeyRestored { .. } => self.deeds.key = Some("old key put back"),
            Fact::RunEnded {
                verdict,
                code,
                why,
                proved,
                ..
            } => {
                (self.verdict, self.code, self.proved) = (Some(*verdict), *code, *proved);
                self.next = code.map(Code::next_action);
                self.why = match code {
                    Some(code) if why.is_empty() => lower(code.what()),
                    _ => why.clone(),
                };
            }
            _ => {}
        }
    }

    fn deed(&mut self, step: Option<StepKind>, outcome: &Outcome) {
        let skipped = matches!(outcome, Outcome::Skipped { .. });
        match step {
            Some(StepKind::Flash { .. } | StepKind::Update { .. }) if skipped => self.deeds.present += 1,
            Some(StepKind::Flash { .. } | StepKind::Update { .. }) => self.deeds.flashed += 1,
            _ if skipped => self.deeds.skipped += 1,
            _ => {}
        }
    }
}

impl Deeds {
    fn words(self) -> String {
        let some = |n: u32, what: &str| (n > 0).then(|| format!("{n} {what}"));
        let words = [
            some(self.flashed, "flashed"),
            some(self.present, "there already"),
            self.key.map(str::to_owned),
            self.registered.then(|| "registered".to_owned()),
            some(self.skipped, "not needed"),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        if words.is_empty() {
            "nothing".to_owned()
        } else {
            words.join(", ")
        }
    }
}

/// Prints the table, the reasons, and the numbers.
pub(super) fn print(summary: &Summary, numbers: &Numbers, printer: &Printer) {
    if printer.is_json() {
        for line in summary.results() {
            printer.object(&Result {
                event: "result",
                line: &line,
            });
        }
        return printer.object(numbers);
    }
    let lines = summary.results();
    let mut table = Table::new(["slot", "device", "platform", "verdict", "code", "done"]);
    for line in &lines {
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
    for line in lines.iter().filter(|line| !line.why.is_empty()) {
        printer.line(
            Text::new()
                .paint(Paint::Bold, format!("slot {} {}", line.slot, line.device.short()))
                .then(format!(": {}", line.why)),
        );
        if let Some(next) = line.next {
            printer.line(Text::new().paint(Paint::Busy, "  next:").then(" ").then(next));
        }
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
    printer.line(numbers.words());
}

impl Numbers {
    fn words(&self) -> Text {
        let mut text = Text::new().paint(Paint::Bold, super::error::count(self.devices, "device"));
        for (n, word, paint) in [
            (self.pass, "PASS", Paint::Good),
            (self.fail, "FAIL", Paint::Bad),
            (self.fault, "FAULT", Paint::Fault),
            (self.rolled_back, "ROLLED-BACK", Paint::Warn),
            (self.quarantined, "QUARANTINED", Paint::Fault),
            (self.aborted, "ABORTED", Paint::Dim),
            (self.owed, "OWED", Paint::Warn),
            (self.apart, "APART", Paint::Fault),
            (self.interrupted, "waiting for their device", Paint::Warn),
        ] {
            if n > 0 {
                text = text.then(", ").paint(paint, format!("{n} {word}"));
            }
        }
        text.then(format!(
            "; {} registered, {} proved, {} handshakes, {} uploads, {} retries, {:.1} s",
            self.registered, self.proved, self.handshakes, self.uploads, self.retries, self.seconds
        ))
    }
}

#[derive(Serialize)]
struct Result<'a> {
    event: &'static str,
    #[serde(flatten)]
    line: &'a Line,
}

fn is_key(item: &ItemId) -> bool {
    item.0.contains("/key/")
}
