//! What the screen shows beside the station itself: which screen is open, what is selected, what was asked; and the one
//! function that changes it. It does nothing by itself: what has to be done comes back as a list of wishes.
//!
//! No state here decides anything about devices.

mod asking;
mod event;
mod moving;
mod scanned;

use std::collections::BTreeMap;

use crate::{
    model::{Record, SlotNo, StationId, Wall, scan::Patterns},
    rack::RackView,
};

use super::{
    grid::{Grid, Place},
    keymap::{self, Act},
    ledger::{self, Answer, Found, Owed, Shift},
    scan::ScanLine,
    story::Story,
    view,
};

pub use asking::Question;
pub use event::{Asked, Event, Pace, Pin, Wish};

/// The screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// All slots.
    #[default]
    Floor,
    /// One slot.
    Slot,
    /// What was done in one slot.
    Log,
    /// One device, as the ledger knows it.
    Device,
    /// What is owed to the cloud.
    Outbox,
    /// Yield and failures.
    Yield,
    /// The recipes.
    Recipes,
    /// The keys.
    Help,
}

/// A line for the person at the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub text: String,
    /// True if something did not work.
    pub bad: bool,
}

/// What the screen is told once, at the start.
#[derive(Clone, Debug)]
pub struct Station {
    /// The station's name.
    pub id: StationId,
    /// The rack, by slot number.
    pub places: Vec<Place>,
    /// How badges and work orders look.
    pub patterns: Patterns,
}

/// The state of the screen.
#[derive(Clone, Debug)]
pub struct App {
    /// What it was told at the start.
    pub station: Station,
    /// Which screen is open.
    pub screen: Screen,
    /// Which slot is selected.
    pub selected: SlotNo,
    /// Which recipe is selected, from 0.
    pub recipe: usize,
    /// What was asked.
    pub question: Option<Question>,
    /// What is typed.
    pub line: ScanLine,
    /// What is said to the person at the screen.
    pub notice: Option<Notice>,
    /// True if the device that was looked for last is in no slot.
    pub sought: bool,
    /// What the facts told.
    pub story: Story,
    /// How far the steps are, in bytes.
    pub progress: BTreeMap<SlotNo, (u64, u64)>,
    /// Devices that the ledger knows as passed for the work order.
    pub ordered: Option<u64>,
    /// The device that was looked for.
    pub found: Found,
    /// What is owed to the cloud and what it refused, once it was read.
    pub owed: Option<Owed>,
    /// How runs ended, once it was read.
    pub shift: Option<Shift>,
    /// The time, to the second or better.
    pub now: Wall,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// Lines that the alarm takes from every screen.
    pub alarm: u16,
    /// How far the text of a screen is scrolled, in lines.
    pub scroll: u16,
    /// Whether verdicts ring.
    pub bell: bool,
    /// How a journal is replayed, if it is no station that is shown.
    pub replay: Option<String>,
}

impl App {
    /// A screen that was told nothing yet but its station and the names of recipes.
    pub fn new(station: Station, story: Story, now: Wall, size: (u16, u16)) -> Self {
        let selected = station.places.first().map_or(SlotNo(1), |place| place.slot);
        Self {
            station,
            screen: Screen::Floor,
            selected,
            recipe: 0,
            question: None,
            line: ScanLine::default(),
            notice: None,
            sought: false,
            story,
            progress: BTreeMap::new(),
            ordered: None,
            found: Found::Nothing,
            owed: None,
            shift: None,
            now,
            size,
            alarm: 0,
            scroll: 0,
            bell: false,
            replay: None,
        }
    }

    /// Takes in what happened. `rack` is the picture that the next painting shows: a [`Event::View`] replaces it.
    pub fn on(&mut self, event: Event, rack: &mut RackView) -> Vec<Wish> {
        match event {
            Event::View(view) => {
                for slot in &view.slots {
                    if !slot.awaits.busy() {
                        self.progress.remove(&slot.slot);
                    }
                }
                let order = view.work_order != rack.work_order;
                *rack = *view;
                self.alarm = view::alarm::height(rack, self.size.0);
                if order {
                    self.ordered = None;
                    return ordered(rack).into_iter().collect();
                }
            }
            Event::Record(record) => return self.record(&record, rack),
            Event::Progress { slot, done, of } => {
                self.progress.insert(slot, (done, of));
            }
            Event::Key(key) => {
                return match (keymap::act(key), keymap::typed(key)) {
                    (Some(act), _) => self.act(act, rack),
                    (None, Some(c)) => self.typed(c, rack).into_iter().collect(),
                    (None, None) => Vec::new(),
                };
            }
            Event::Paste(text) => return text.chars().filter_map(|c| self.typed(c, rack)).collect(),
            Event::Resize(width, height) => {
                self.size = (width, height);
                self.alarm = view::alarm::height(rack, width);
            }
            Event::Ledger(answer) => self.learnt(answer),
            Event::Told(told) if told.done => self.say(told.text),
            Event::Told(told) => self.refuse(told.text),
            Event::Replay(words) => self.replay = Some(words),
            Event::Stopping => self.say("a signal asked the station to stop: each slot stops at its next safe point"),
            Event::End => {}
        }
        Vec::new()
    }

    /// The rack as it is laid out on the floor.
    pub fn grid(&self) -> Grid {
        let (width, height) = self.size;
        Grid::lay_out(
            &self.station.places,
            width,
            height.saturating_sub(view::floor::AROUND + self.alarm),
        )
    }

    fn record(&mut self, record: &Record, rack: &RackView) -> Vec<Wish> {
        use crate::model::Fact;
        self.story.record(record);
        if self.replay.is_some() {
            self.now = record.at;
        }
        match &record.fact {
            Fact::StepStarted { run, .. } => {
                let slot = self.station.places.iter().map(|place| place.slot);
                let story = &self.story;
                let of_run = slot.filter(|slot| story.seat(*slot).is_some_and(|seat| seat.run == Some(*run)));
                for slot in of_run.collect::<Vec<_>>() {
                    self.progress.remove(&slot);
                }
                Vec::new()
            }
            Fact::RunEnded { .. } => {
                let bell = self.bell.then_some(Wish::Bell);
                bell.into_iter().chain(ordered(rack)).chain(self.reading()).collect()
            }
            Fact::ItemQueued { .. } | Fact::ItemAnswered { .. } | Fact::ItemWithdrawn { .. } | Fact::RetryAsked { .. }
                if self.screen == Screen::Outbox =>
            {
                self.reading().into_iter().collect()
            }
            // What is shown of the device is out of date.
            Fact::QuarantineReleased { device, .. } | Fact::LabelBound { device, .. } => match &self.found {
                Found::One(history) if history.device.id == *device => {
                    vec![Wish::Ledger(ledger::Question::Find(device.to_string()))]
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn act(&mut self, act: Act, rack: &RackView) -> Vec<Wish> {
        self.notice = None;
        if let Some(question) = self.question.take()
            && question.key() == act
        {
            return self.answered(question, rack).into_iter().collect();
        }
        match act {
            Act::Help => self.open(Screen::Help),
            Act::Floor => self.open(Screen::Floor),
            Act::Slot => self.open(Screen::Slot),
            Act::Log => self.open(Screen::Log),
            Act::Device => {
                self.open(Screen::Device);
                // What was scanned and is in no slot was looked for already.
                let device = rack
                    .slots
                    .iter()
                    .find(|view| view.slot == self.selected)
                    .and_then(|view| view.device);
                return match device {
                    Some(device) if !std::mem::take(&mut self.sought) => {
                        vec![Wish::Ledger(ledger::Question::Find(device.to_string()))]
                    }
                    _ => Vec::new(),
                };
            }
            Act::Outbox => {
                self.open(Screen::Outbox);
                return self.reading().into_iter().collect();
            }
            Act::Yield => {
                self.open(Screen::Yield);
                return self.reading().into_iter().collect();
            }
            Act::Recipes => self.open(Screen::Recipes),
            Act::Abort => self.ask_to_abort(rack),
            Act::Finish => self.ask(Question::Finish),
            Act::Quit => self.ask(Question::Quit),
            Act::Engineer => return self.engineer(rack).into_iter().collect(),
            Act::Go => return self.take_offer(rack).into_iter().collect(),
            Act::Cancel => self.line.clear(),
            Act::Repaint => return vec![Wish::Repaint],
            Act::Bell => {
                self.bell = !self.bell;
                self.say(if self.bell {
                    "the bell rings at each verdict"
                } else {
                    "the bell is silent"
                });
            }
            Act::Pause => return self.pace(Pace::Pause),
            Act::Jump => return self.pace(Pace::Jump),
            Act::Faster => return self.pace(Pace::Faster),
            Act::Slower => return self.pace(Pace::Slower),
            Act::Up => self.up_or_down(-1, rack),
            Act::Down => self.up_or_down(1, rack),
            Act::Left => self.go(0, -1),
            Act::Right => self.go(0, 1),
            Act::PageUp => self.page(-1),
            Act::PageDown => self.page(1),
            Act::First => self.end(false),
            Act::Last => self.end(true),
        }
        self.scroll = self.scroll.min(view::most_scroll(rack, self));
        Vec::new()
    }

    fn open(&mut self, screen: Screen) {
        self.screen = screen;
        self.scroll = 0;
    }

    /// What the open screen has to read in the ledger.
    fn reading(&self) -> Option<Wish> {
        match self.screen {
            Screen::Outbox => Some(Wish::Ledger(ledger::Question::Owed)),
            Screen::Yield => {
                let since = Wall::from_millis(self.now.millis() - SHIFT_MS)?;
                Some(Wish::Ledger(ledger::Question::Shift(since)))
            }
            _ => None,
        }
    }

    fn learnt(&mut self, answer: Answer) {
        match answer {
            Answer::Order(passed) => self.ordered = Some(passed),
            Answer::Took(took) => took
                .into_iter()
                .for_each(|(recipe, took_ms)| self.story.foretell(recipe, took_ms)),
            Answer::Found(found) => self.found(found),
            Answer::Owed(owed) => self.owed = Some(owed),
            Answer::Shift(shift) => self.shift = Some(shift),
        }
        self.scroll = if self.screen == Screen::Device { 0 } else { self.scroll };
    }

    fn say(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            bad: false,
        });
    }

    fn refuse(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            bad: true,
        });
    }
}

/// What has to be read of the work order.
fn ordered(rack: &RackView) -> Option<Wish> {
    let order = rack.work_order.as_ref()?;
    Some(Wish::Ledger(ledger::Question::Order(order.id.clone())))
}

/// So far back yield and failures are shown.
const SHIFT_MS: i64 = 12 * 3_600_000;

#[cfg(test)]
mod tests;
