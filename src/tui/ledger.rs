//! The thread that reads the ledger for the screen: a question that grows with the ledger never keeps a key waiting.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::mpsc::{self, Sender},
};

use crate::{
    edge::Clock,
    model::{DeviceId, SlotNo, Verdict, Wall, recipe::Sha256},
    store::{
        DeviceRow, ItemRow, Reader, StoreError, Yield,
        read::{DeviceFilter, History, RunFilter},
    },
};

use super::app::Event;

/// What the screen wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// How far this work order is.
    Order(String),
    /// How long the last runs took that passed.
    Took,
    /// Which device this text names.
    Find(String),
    /// What is owed to the cloud.
    Owed,
    /// How the runs ended that ended since then.
    Shift(Wall),
}

/// What the ledger says.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Devices that passed for the work order.
    Order(u64),
    /// Recipes, and how long a run of each took.
    Took(Vec<(Sha256, u64)>),
    /// What a text names.
    Found(Found),
    /// What is owed and what was refused.
    Owed(Owed),
    /// How the runs ended.
    Shift(Shift),
}

/// What a text names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// Nothing was looked for yet.
    #[default]
    Nothing,
    /// No device.
    None(String),
    /// Several devices, the first of them.
    Some(Vec<DeviceRow>),
    /// One device, with all that is known of it.
    One(Box<History>),
}

/// What is between us and the cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// What is owed, oldest first.
    pub open: Vec<ItemRow>,
    /// What was refused for good, the latest first.
    pub refused: Vec<ItemRow>,
}

/// How the runs of some hours ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// All of them.
    pub yields: Yield,
    /// By slot: passed, and all.
    pub slots: BTreeMap<SlotNo, (u64, u64)>,
    /// By hour, counted from 1970: passed, and all.
    pub hours: BTreeMap<i64, (u64, u64)>,
}

/// The way to the thread.
pub(super) struct Ledger(Sender<Question>);

impl Ledger {
    /// Starts the thread; it ends with the way to it. Answers come as events.
    pub(super) fn start(folder: PathBuf, clock: &dyn Clock, events: Sender<Event>) -> Self {
        let (questions, asked) = mpsc::channel();
        let body = move || {
            let mut reader = None;
            while let Ok(first) = asked.recv() {
                let mut wanted = vec![first];
                // Of several equal questions that wait, one answer is enough.
                for more in asked.try_iter() {
                    if !wanted.contains(&more) {
                        wanted.push(more);
                    }
                }
                if reader.is_none() {
                    reader = Reader::open(&folder).ok();
                }
                let Some(reader) = &reader else { continue };
                for question in wanted {
                    // What cannot be read is not shown; the station itself tells of a broken ledger.
                    if let Ok(answer) = answer(reader, question)
                        && events.send(Event::Ledger(answer)).is_err()
                    {
                        return;
                    }
                }
            }
        };
        // It ends by itself when the screen has ended.
        drop(clock.spawn("screen-ledger", Box::new(body)));
        Self(questions)
    }

    /// Asks; the answer comes as an event.
    pub(super) fn ask(&self, question: Question) {
        // The thread is there as long as this is.
        let _ = self.0.send(question);
    }
}

/// Answers a question; what grows with the ledger belongs on a thread of its own.
///
/// # Errors
/// If the ledger cannot be read.
pub fn answer(reader: &Reader, question: Question) -> Result<Answer, StoreError> {
    Ok(match question {
        Question::Order(order) => Answer::Order(reader.order(&order)?.map_or(0, |progress| progress.passed)),
        Question::Took => Answer::Took(took(reader)?),
        Question::Find(text) => Answer::Found(find(reader, text)?),
        Question::Owed => Answer::Owed(Owed {
            open: reader.owed(OWED)?,
            refused: reader.refused(REFUSED)?,
        }),
        Question::Shift(since) => Answer::Shift(shift(reader, since)?),
    })
}

fn took(reader: &Reader) -> Result<Vec<(Sha256, u64)>, StoreError> {
    let filter = RunFilter {
        verdict: Some(Verdict::Pass),
        ..RunFilter::default()
    };
    let took = reader.runs(&filter, None, RECENT)?.into_iter().filter_map(|run| {
        let took = run.ended?.millis() - run.started.millis();
        Some((run.recipe, u64::try_from(took).ok()?))
    });
    Ok(took.collect())
}

fn find(reader: &Reader, text: String) -> Result<Found, StoreError> {
    if let Ok(id) = text.parse::<DeviceId>()
        && let Some(history) = reader.history(id)?
    {
        return Ok(Found::One(Box::new(history)));
    }
    let filter = DeviceFilter {
        text: Some(text.clone()),
        ..DeviceFilter::default()
    };
    let rows = reader.devices(&filter, None, FOUND)?;
    // A serial number that others begin with is still exact.
    let exact = rows
        .iter()
        .find(|row| row.serial.as_deref().is_some_and(|serial| serial.eq_ignore_ascii_case(&text)));
    let one = exact.or(match rows.as_slice() {
        [one] => Some(one),
        _ => None,
    });
    Ok(match (one, rows.is_empty()) {
        (_, true) => Found::None(text),
        (Some(one), _) => match reader.history(one.id)? {
            Some(history) => Found::One(Box::new(history)),
            None => Found::None(text),
        },
        (None, _) => Found::Some(rows),
    })
}

fn shift(reader: &Reader, since: Wall) -> Result<Shift, StoreError> {
    let filter = RunFilter {
        from: Some(since),
        ..RunFilter::default()
    };
    let mut shift = Shift {
        yields: reader.yields(Some(since), None, None)?,
        slots: BTreeMap::new(),
        hours: BTreeMap::new(),
    };
    for run in reader.runs(&filter, None, SHIFT)? {
        let (Some(verdict), Some(ended)) = (run.verdict, run.ended) else {
            continue;
        };
        let hour = shift.hours.entry(ended.millis().div_euclid(HOUR_MS)).or_default();
        let slot = shift.slots.entry(run.slot).or_default();
        for (passed, all) in [hour, slot] {
            *passed += u64::from(verdict == Verdict::Pass);
            *all += 1;
        }
    }
    Ok(shift)
}

/// So many runs tell how long the next one takes.
const RECENT: u32 = 100;
/// So many devices are shown when a text fits more than one.
const FOUND: u32 = 50;
/// So many owed items are shown.
const OWED: u32 = 500;
/// So many refused items are shown.
const REFUSED: u32 = 100;
/// More runs than any rack ends in a shift.
const SHIFT: u32 = 50_000;
const HOUR_MS: i64 = 3_600_000;
