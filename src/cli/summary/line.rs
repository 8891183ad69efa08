//! What came of one run, in one line.

use serde::Serialize;

use crate::model::{
    Code, DeviceId, Diagnosis, Fact, Outcome, Platform, RunId, ServerExam, SlotNo, StepKind, Verdict, Wall, key::SlotContent,
    outbox::ItemId, sentence::lower, verdict::Owner,
};

/// What came of one run.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct Line {
    /// The run.
    pub(in crate::cli) run: RunId,
    /// Where its device is, or was last.
    pub(in crate::cli) slot: SlotNo,
    /// Its device.
    pub(in crate::cli) device: DeviceId,
    /// Its platform, if it told.
    pub(in crate::cli) platform: Option<Platform>,
    /// How it ended; none if it waits for its device.
    pub(in crate::cli) verdict: Option<Verdict>,
    /// True if a handshake proved it.
    pub(in crate::cli) proved: bool,
    /// Why, unless it simply passed.
    pub(in crate::cli) code: Option<Code>,
    /// Why, in words.
    pub(in crate::cli) why: String,
    /// What was done, in words.
    pub(in crate::cli) done: String,
    /// The one next action.
    pub(in crate::cli) next: Option<&'static str>,
    /// Who takes it.
    pub(in crate::cli) person: Option<Owner>,
    /// What was wrong with it, if that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) diagnosis: Option<Diagnosis>,
    /// Its server settings, if they were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) server: Option<ServerExam>,
    /// How long a customer's device belonged to nobody, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) ownerless_ms: Option<u64>,
    #[serde(skip)]
    plan: Vec<StepKind>,
    #[serde(skip)]
    pub(super) deeds: Deeds,
    /// Since when it belongs to nobody, or did.
    #[serde(skip)]
    released: Option<Wall>,
    #[serde(skip)]
    pub(super) began_here: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deeds {
    flashed: u32,
    present: u32,
    key: Option<&'static str>,
    pub(super) registered: bool,
    skipped: u32,
}

impl Line {
    pub(super) fn new(run: RunId, device: DeviceId, slot: SlotNo, plan: Vec<StepKind>) -> Self {
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
            person: None,
            diagnosis: None,
            server: None,
            ownerless_ms: None,
            plan,
            deeds: Deeds::default(),
            released: None,
            began_here: true,
        }
    }

    /// A step of its plan, by index.
    pub(in crate::cli) fn step(&self, step: u8) -> Option<StepKind> {
        self.plan.get(usize::from(step)).copied()
    }

    /// How many steps its plan has.
    pub(in crate::cli) fn steps(&self) -> usize {
        self.plan.len()
    }

    pub(super) fn record(&mut self, fact: &Fact) {
        match fact {
            Fact::RunResumed { slot, .. } => {
                self.slot = *slot;
                (self.code, self.why, self.next, self.person) = (None, String::new(), None, None);
            }
            Fact::RunInterrupted { code, .. } => {
                let next = match code {
                    // The whole station was stopped: no device has to be touched.
                    Code::Stopped => "Start the station again: the run goes on by itself.",
                    other => other.next_action(),
                };
                (self.code, self.why, self.next) = (Some(*code), lower(code.what()), Some(next));
                self.person = Some(code.owner());
            }
            Fact::StepEnded { step, outcome, .. } => self.deed(self.step(*step), outcome),
            Fact::KeyRead {
                content: SlotContent::Valid { .. },
                ..
            } if self.deeds.key.is_none() => self.deeds.key = Some("key kept"),
            Fact::Diagnosed { diagnosis, plan, .. } => {
                self.diagnosis = Some(diagnosis.clone());
                self.plan.extend_from_slice(plan);
            }
            Fact::Examined { server, .. } => self.server.clone_from(server),
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
                self.person = code.map(Code::owner);
                // It was only looked at, and there is a way.
                let only = |found: &Diagnosis| found.flow.is_some() && found.trouble.code() == *code;
                if self.diagnosis.as_ref().is_some_and(only) {
                    self.next = Some("Run `keyrack repair` with the number of the slot: it does what is proposed.");
                }
                self.why = match code {
                    Some(code) if why.is_empty() => lower(code.what()),
                    _ => why.clone(),
                };
            }
            _ => {}
        }
    }

    /// An item of it was sent, or accepted: from the release to the claim a customer's device belongs to nobody.
    pub(super) fn owned(&mut self, item: &ItemId, at: Wall, accepted: bool) {
        if *item == ItemId::release(self.run) && !accepted {
            self.released.get_or_insert(at);
        } else if *item == ItemId::claim(self.run) && accepted {
            self.ownerless_ms = self
                .released
                .map(|since| u64::try_from(at.millis() - since.millis()).unwrap_or(0));
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
    pub(super) fn words(self) -> String {
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
