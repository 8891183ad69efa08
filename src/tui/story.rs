//! What the facts tell that a picture of the moment does not: when things began and how long they took, earlier attempts,
//! serial numbers, counts, and the log of each slot. Made from records alone, live and in replay alike.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{
    DeviceId, Fact, Platform, Record, RunId, SlotNo, StepError, StepKind, Verdict, Wall, fact::Identity, recipe::Sha256, sentence,
};

/// What the facts told so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    seats: BTreeMap<SlotNo, Seat>,
    tally: Tally,
    /// How long runs of a recipe took that passed, the latest last.
    took: BTreeMap<Sha256, VecDeque<u64>>,
    recipes: BTreeMap<Sha256, String>,
    log: VecDeque<Entry>,
}

/// The device in a slot, and its last run there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seat {
    /// The device that was seen there last.
    pub device: Option<DeviceId>,
    /// Its platform.
    pub platform: Option<Platform>,
    /// The serial number on its label.
    pub serial: Option<String>,
    /// ICCID of its SIM.
    pub iccid: Option<String>,
    /// IMEI of its modem.
    pub imei: Option<String>,
    /// True if its label was compared with it and found to be its own.
    pub labelled: bool,
    /// Its run.
    pub run: Option<RunId>,
    /// The recipe of that run.
    pub recipe: Option<Sha256>,
    /// When the run began.
    pub started: Option<Wall>,
    /// When it had its verdict.
    pub ended: Option<Wall>,
    /// True if a handshake proved it.
    pub proved: bool,
    /// What became of each step of its plan.
    pub steps: Vec<Took>,
    /// The plan, as far as it was announced when the run began.
    pub plan: Vec<StepKind>,
}

/// The times and earlier attempts of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Took {
    /// When its last attempt began.
    pub since: Option<Wall>,
    /// How long the attempt took that ended it.
    pub took_ms: Option<u64>,
    /// Attempts that failed: which, how, how long.
    pub failures: Vec<(u8, StepError, u64)>,
}

/// The numbers of this session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    counts: BTreeMap<Verdict, u32>,
    first: Option<Wall>,
    ends: VecDeque<Wall>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number of its record.
    pub seq: u64,
    /// When.
    pub at: Wall,
    /// In which slot, if in one.
    pub slot: Option<SlotNo>,
    /// Of which device, if of one.
    pub device: Option<DeviceId>,
    /// What, in words.
    pub text: String,
    /// The verdict, if it is one.
    pub verdict: Option<Verdict>,
    /// True if something failed.
    pub failed: bool,
}

impl Story {
    /// Nothing told yet; the recipes by their hashes, as far as they are known beforehand.
    pub fn new(recipes: impl IntoIterator<Item = (Sha256, String)>) -> Self {
        Self {
            recipes: recipes.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Takes in a record of an earlier session: what is known of runs that go on, but no number of this session.
    pub fn recall(&mut self, record: &Record) {
        let tally = self.tally.clone();
        self.record(record);
        self.tally = tally;
    }

    /// Takes in a record.
    pub fn record(&mut self, record: &Record) {
        let at = record.at;
        match &record.fact {
            Fact::DeviceSeen { slot, identity, .. } => self.seen(*slot, identity),
            Fact::RecipeRecorded { hash, name, .. } => {
                self.recipes.insert(*hash, name.clone());
            }
            Fact::RunStarted {
                run,
                device,
                slot,
                recipe,
                plan,
                ..
            } => {
                self.tally.first = self.tally.first.or(Some(at));
                let seat = self.seats.entry(*slot).or_default();
                *seat = Seat {
                    device: Some(*device),
                    run: Some(*run),
                    recipe: Some(*recipe),
                    started: Some(at),
                    steps: vec![Took::default(); plan.len()],
                    plan: plan.clone(),
                    ..seat.of(*device)
                };
            }
            Fact::RunResumed { run, slot } => self.moved(*run, *slot),
            Fact::LabelBound { device, serial, .. } => {
                if let Some(seat) = self.seats.values_mut().find(|seat| seat.device == Some(*device)) {
                    seat.labelled = true;
                    seat.serial.get_or_insert_with(|| serial.clone());
                }
            }
            Fact::StepStarted { run, step, .. } => {
                if let Some(took) = self.step(*run, *step) {
                    (took.since, took.took_ms) = (Some(at), None);
                }
            }
            Fact::StepEnded { run, step, took_ms, .. } => {
                if let Some(took) = self.step(*run, *step) {
                    took.took_ms = Some(*took_ms);
                }
            }
            Fact::StepFailed {
                run,
                step,
                attempt,
                error,
                took_ms,
            } => {
                if let Some(took) = self.step(*run, *step) {
                    took.since = None;
                    took.failures.push((*attempt, error.clone(), *took_ms));
                }
            }
            Fact::RunEnded {
                run, verdict, proved, ..
            } => self.ended(*run, *verdict, *proved, at),
            _ => {}
        }
        self.note(record);
    }

    /// What is known of the device and the run in a slot.
    pub fn seat(&self, slot: SlotNo) -> Option<&Seat> {
        self.seats.get(&slot)
    }

    /// The numbers of this session.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The name of a recipe.
    pub fn recipe(&self, hash: Sha256) -> Option<&str> {
        self.recipes.get(&hash).map(String::as_str)
    }

    /// How long a run of a recipe takes, by those that passed: the middle one.
    pub fn expected_ms(&self, recipe: Sha256) -> Option<u64> {
        let mut took: Vec<u64> = self.took.get(&recipe)?.iter().copied().collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }

    /// Says how long an earlier run took that passed: what the ledger knows counts less than what is seen.
    pub fn foretell(&mut self, recipe: Sha256, took_ms: u64) {
        let took = self.took.entry(recipe).or_default();
        if took.len() < REMEMBERED {
            took.push_front(took_ms);
        }
    }

    /// The log, oldest first; of one slot, or all.
    pub fn log(&self, slot: Option<SlotNo>) -> impl DoubleEndedIterator<Item = &Entry> {
        self.log
            .iter()
            .filter(move |entry| slot.is_none_or(|slot| entry.slot == Some(slot)))
    }

    fn seen(&mut self, slot: SlotNo, identity: &Identity) {
        let seat = self.seats.entry(slot).or_default();
        let mut now = if seat.device == Some(identity.device) {
            seat.clone()
        } else {
            Seat::default()
        };
        now.device = Some(identity.device);
        now.platform = Some(identity.platform);
        // A device in DFU mode does not tell what it told before.
        now.serial = identity.serial.clone().or(now.serial);
        now.iccid = identity.iccid.clone().or(now.iccid);
        now.imei = identity.imei.clone().or(now.imei);
        *seat = now;
    }

    fn moved(&mut self, run: RunId, slot: SlotNo) {
        let Some((from, seat)) = self.seats.iter().find(|(_, seat)| seat.run == Some(run)) else {
            return;
        };
        let (from, seat) = (*from, seat.clone());
        if from != slot {
            self.seats.remove(&from);
            self.seats.insert(slot, seat);
        }
    }

    fn step(&mut self, run: RunId, step: u8) -> Option<&mut Took> {
        let seat = self.seats.values_mut().find(|seat| seat.run == Some(run))?;
        seat.steps.get_mut(usize::from(step))
    }

    fn ended(&mut self, run: RunId, verdict: Verdict, proved: bool, at: Wall) {
        *self.tally.counts.entry(verdict).or_default() += 1;
        self.tally.ends.push_back(at);
        while self
            .tally
            .ends
            .front()
            .is_some_and(|end| at.millis() - end.millis() > HOUR_MS)
        {
            self.tally.ends.pop_front();
        }
        let Some(seat) = self.seats.values_mut().find(|seat| seat.run == Some(run)) else {
            return;
        };
        (seat.ended, seat.proved) = (Some(at), proved);
        if let (Verdict::Pass, Some(recipe), Some(started)) = (verdict, seat.recipe, seat.started)
            && let Ok(took_ms) = u64::try_from(at.millis() - started.millis())
        {
            let took = self.took.entry(recipe).or_default();
            took.push_back(took_ms);
            if took.len() > REMEMBERED {
                took.pop_front();
            }
        }
    }

    /// A fact in words. Its sentence knows a step by its number; the plan knows its name.
    fn words(&self, fact: &Fact) -> String {
        let sentence = sentence::sentence(fact);
        let named = step_of(fact).and_then(|step| {
            let seat = self
                .seats
                .values()
                .find(|seat| seat.run.is_some() && seat.run == fact.run())?;
            let number = format!("step {}", u16::from(step) + 1);
            let rest = sentence.strip_prefix(&number)?;
            Some(format!("{number}, {}:{rest}", seat.plan.get(usize::from(step))?))
        });
        named.unwrap_or(sentence)
    }

    fn note(&mut self, record: &Record) {
        let fact = &record.fact;
        let of_run = fact
            .run()
            .and_then(|run| self.seats.iter().find(|(_, seat)| seat.run == Some(run)));
        let device = fact.device().or(of_run.and_then(|(_, seat)| seat.device));
        let seated = || device.and_then(|device| self.seats.iter().find(|(_, seat)| seat.device == Some(device)));
        let slot = sentence::slot(fact).or_else(|| of_run.or_else(seated).map(|(slot, _)| *slot));
        let verdict = match fact {
            Fact::RunEnded { verdict, .. } => Some(*verdict),
            _ => None,
        };
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(Entry {
            seq: record.seq,
            at: record.at,
            slot,
            device,
            text: sentence::harmless(&self.words(fact)),
            verdict,
            failed: matches!(
                fact,
                Fact::StepFailed { .. } | Fact::RunInterrupted { .. } | Fact::LabelRefused { .. } | Fact::LineStopped { .. }
            ),
        });
    }
}

/// The index of the step that a fact is about.
const fn step_of(fact: &Fact) -> Option<u8> {
    match fact {
        Fact::StepStarted { step, .. }
        | Fact::StepEnded { step, .. }
        | Fact::StepFailed { step, .. }
        | Fact::StepLeftOut { step, .. } => Some(*step),
        _ => None,
    }
}

impl Seat {
    /// What stays known of a device when its next run begins.
    fn of(&self, device: DeviceId) -> Self {
        if self.device == Some(device) {
            Self {
                platform: self.platform,
                serial: self.serial.clone(),
                iccid: self.iccid.clone(),
                imei: self.imei.clone(),
                labelled: self.labelled,
                ..Self::default()
            }
        } else {
            Self::default()
        }
    }
}

impl Tally {
    /// How many runs ended so.
    pub fn of(&self, verdict: Verdict) -> u32 {
        self.counts.get(&verdict).copied().unwrap_or(0)
    }

    /// How many runs have their verdict.
    pub fn judged(&self) -> u32 {
        self.counts.values().sum()
    }

    /// Of a hundred runs, so many passed. Runs that a person stopped say nothing about yield.
    pub fn yield_percent(&self) -> Option<u32> {
        let all = self.judged() - self.of(Verdict::Aborted);
        (self.of(Verdict::Pass) * 100).checked_div(all)
    }

    /// Verdicts an hour, over the last hour or since the first run began, if that is shorter; none in the first minute.
    pub fn per_hour(&self, now: Wall) -> Option<u64> {
        let since = now.millis() - self.first?.millis();
        if since < 60_000 {
            return None;
        }
        let window = since.min(HOUR_MS);
        let recent = self.ends.iter().filter(|end| now.millis() - end.millis() <= window).count();
        let recent = u64::try_from(recent).unwrap_or(u64::MAX);
        (recent * HOUR_MS.unsigned_abs()).checked_div(window.unsigned_abs())
    }
}

/// So many runs of each recipe tell how long one takes.
const REMEMBERED: usize = 21;
/// So many lines of the log are kept for the screen; the ledger has all.
const LOG: usize = 5000;
const HOUR_MS: i64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{StationId, StepKind};

    fn record(at: i64, fact: Fact) -> Record {
        Record {
            seq: 1,
            at: Wall::from_millis(at).unwrap(),
            station: StationId("t".to_owned()),
            fact,
        }
    }

    fn run(n: u128) -> RunId {
        RunId(uuid::Uuid::from_u128(n))
    }

    fn device(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 12])
    }

    fn started(at: i64, n: u8, slot: u16) -> Record {
        record(
            at,
            Fact::RunStarted {
                run: run(u128::from(n)),
                device: device(n),
                slot: SlotNo(slot),
                recipe: Sha256([1; 32]),
                plan: vec![StepKind::Admit],
                operator: None,
                work_order: None,
                accepted: None,
                reference: None,
            },
        )
    }

    fn ended(at: i64, n: u8, verdict: Verdict) -> Record {
        record(
            at,
            Fact::RunEnded {
                run: run(u128::from(n)),
                device: device(n),
                verdict,
                code: None,
                why: String::new(),
                proved: true,
            },
        )
    }

    #[test]
    fn numbers_count_this_session_and_expectation_is_the_middle() {
        let mut story = Story::default();
        story.recall(&started(0, 9, 1));
        story.recall(&ended(5, 9, Verdict::Fail));
        assert_eq!(story.tally().judged(), 0);
        for (n, took) in [(1, 10_000), (2, 30_000), (3, 90_000)] {
            story.record(&started(0, n, u16::from(n)));
            story.record(&ended(took, n, Verdict::Pass));
        }
        story.record(&started(0, 4, 4));
        story.record(&ended(1, 4, Verdict::Fail));
        assert_eq!(story.expected_ms(Sha256([1; 32])), Some(30_000));
        assert_eq!(story.tally().yield_percent(), Some(75));
        assert_eq!(story.tally().per_hour(Wall::from_millis(30_000).unwrap()), None);
        assert_eq!(story.tally().per_hour(Wall::from_millis(1_800_000).unwrap()), Some(8));
    }

    #[test]
    fn a_run_takes_its_story_along_to_another_slot() {
        let mut story = Story::default();
        story.record(&started(0, 1, 1));
        story.record(&record(
            7,
            Fact::RunResumed {
                run: run(1),
                slot: SlotNo(3),
            },
        ));
        assert_eq!(story.seat(SlotNo(1)), None);
        assert_eq!(story.seat(SlotNo(3)).and_then(|seat| seat.run), Some(run(1)));
        assert_eq!(story.log(Some(SlotNo(3))).count(), 1);
    }
}
