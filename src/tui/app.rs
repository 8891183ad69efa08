//! What the screen shows beside the station itself: which screen is open, what is selected, what was asked; and the one
//! function that changes it. It does nothing by itself: what has to be done comes back as a list of wishes.
//!
//! No state here decides anything about devices.

use std::collections::BTreeMap;

use crossterm::event::KeyEvent;

use crate::{
    model::{Record, SlotNo, StationId, Wall, recipe::WorkOrder, sentence::harmless},
    rack::{Command, RackView},
    store::ItemRow,
};

use super::{
    grid::{Grid, Place},
    keymap::{self, Act},
    ledger::{self, Answer, Found, Shift},
    scan::ScanLine,
    story::Story,
    view,
};

/// Everything that can happen to the screen. All of it comes through one channel, in one order.
#[derive(Debug)]
pub enum Event {
    /// The station looks like this now.
    View(RackView),
    /// A fact is on disk.
    Record(Box<Record>),
    /// How far a step is, in bytes.
    Progress {
        /// The slot.
        slot: SlotNo,
        /// Done.
        done: u64,
        /// To do.
        of: u64,
    },
    /// A key was pressed.
    Key(KeyEvent),
    /// A text was pasted.
    Paste(String),
    /// The terminal has another size.
    Resize(u16, u16),
    /// The ledger answers.
    Ledger(Answer),
    /// A signal asked the station to stop.
    Stopping,
    /// A journal is replayed, as these words say.
    Replay(String),
    /// The screen is no longer wanted.
    End,
}

/// What has to be done for the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Ask the station, or whoever replays its journal.
    Ask(Asked),
    /// Ask the ledger.
    Ledger(ledger::Question),
    /// Paint everything anew.
    Repaint,
    /// Ring.
    Bell,
}

/// What a person asks for, beyond the screen itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Of the station.
    Station(Command),
    /// Of a replay.
    Replay(Pace),
}

/// How a replay is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Stop, or go on.
    Pause,
    /// To the next verdict.
    Jump,
    /// Twice as fast.
    Faster,
    /// Half as fast.
    Slower,
}

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
    /// The keys.
    Help,
}

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Stop the run in this slot?
    Abort(SlotNo),
    /// Finish and end?
    Finish,
    /// End at the next safe points?
    Quit,
}

impl Question {
    /// The key that asked it and that says yes.
    pub const fn key(self) -> Act {
        match self {
            Self::Abort(_) => Act::Abort,
            Self::Finish => Act::Finish,
            Self::Quit => Act::Quit,
        }
    }
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
    /// Who is at it.
    pub operator: Option<String>,
    /// What was ordered.
    pub work_order: Option<WorkOrder>,
    /// The rack, by slot number.
    pub places: Vec<Place>,
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
    /// What is owed to the cloud, once it was read.
    pub owed: Option<Vec<ItemRow>>,
    /// How runs ended, once it was read.
    pub shift: Option<Shift>,
    /// The time, to the second or better.
    pub now: Wall,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
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
                *rack = view;
            }
            Event::Record(record) => return self.record(&record),
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
            Event::Resize(width, height) => self.size = (width, height),
            Event::Ledger(answer) => self.learnt(answer),
            Event::Replay(words) => self.replay = Some(words),
            Event::Stopping => self.say("a signal asked the station to stop: each slot stops at its next safe point"),
            Event::End => {}
        }
        Vec::new()
    }

    /// The rack as it is laid out on the floor.
    pub fn grid(&self) -> Grid {
        let (width, height) = self.size;
        Grid::lay_out(&self.station.places, width, height.saturating_sub(view::floor::AROUND))
    }

    fn record(&mut self, record: &Record) -> Vec<Wish> {
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
                let order = self
                    .station
                    .work_order
                    .as_ref()
                    .map(|_| Wish::Ledger(ledger::Question::Order));
                bell.into_iter().chain(order).chain(self.reading()).collect()
            }
            Fact::ItemQueued { .. } | Fact::ItemAnswered { .. } | Fact::ItemWithdrawn { .. } if self.screen == Screen::Outbox => {
                self.reading().into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn act(&mut self, act: Act, rack: &RackView) -> Vec<Wish> {
        self.notice = None;
        if let Some(question) = self.question.take()
            && question.key() == act
        {
            return self
                .answered(question)
                .map(|command| Wish::Ask(Asked::Station(command)))
                .into_iter()
                .collect();
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
            Act::Abort => self.ask_to_abort(rack),
            Act::Finish => self.question = Some(Question::Finish),
            Act::Quit => self.question = Some(Question::Quit),
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
            Act::Up => self.go(-1, 0),
            Act::Down => self.go(1, 0),
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

    /// The key of a question was pressed once more: that is a yes, and where a word is asked for, only with that word.
    fn answered(&mut self, question: Question) -> Option<Command> {
        match question {
            Question::Abort(slot) if self.line.says(&abort_word(slot)) => {
                self.line.clear();
                self.say(format!("slot {slot} stops at its next safe point"));
                Some(Command::Abort(slot))
            }
            Question::Abort(slot) => {
                self.line.clear();
                self.refuse(format!("not stopped: type \"{}\" before the key", abort_word(slot)));
                self.question = Some(question);
                None
            }
            Question::Finish => {
                self.say("finishing: no new run begins; the station ends when those under way are judged");
                Some(Command::Finish)
            }
            Question::Quit => {
                self.say("stopping: each slot ends at its next safe point");
                Some(Command::Quit)
            }
        }
    }

    fn ask_to_abort(&mut self, rack: &RackView) {
        let slot = self.selected;
        let mut views = rack.slots.iter();
        if views.any(|view| view.slot == slot && view.run.is_some() && view.verdict.is_none()) {
            self.line.clear();
            self.question = Some(Question::Abort(slot));
        } else {
            self.refuse(format!("slot {slot} has no run to stop"));
        }
    }

    fn pace(&mut self, pace: Pace) -> Vec<Wish> {
        if self.replay.is_some() {
            return vec![Wish::Ask(Asked::Replay(pace))];
        }
        self.refuse("this is no replay");
        Vec::new()
    }

    fn open(&mut self, screen: Screen) {
        self.screen = screen;
        self.scroll = 0;
    }

    fn go(&mut self, down: i32, right: i32) {
        match self.screen {
            Screen::Floor => {
                if let Some(slot) = self.grid().beside(self.selected, down, right) {
                    self.selected = slot;
                }
            }
            Screen::Slot | Screen::Log if right != 0 => self.next_slot(right),
            _ => self.scroll = self.scroll.saturating_add_signed(i16::try_from(down).unwrap_or(0)),
        }
    }

    fn page(&mut self, down: i32) {
        match self.screen {
            Screen::Floor => {
                let grid = self.grid();
                if let Some(slot) = grid.beside(self.selected, down * i32::from(grid.visible), 0) {
                    self.selected = slot;
                }
            }
            _ => {
                let page = i16::try_from(self.size.1 / 2).unwrap_or(10);
                self.scroll = self.scroll.saturating_add_signed(if down < 0 { -page } else { page });
            }
        }
    }

    fn end(&mut self, last: bool) {
        match self.screen {
            Screen::Floor => {
                let ends = (self.station.places.first(), self.station.places.last());
                if let Some(place) = if last { ends.1 } else { ends.0 } {
                    self.selected = place.slot;
                }
            }
            _ => self.scroll = if last { u16::MAX } else { 0 },
        }
    }

    fn next_slot(&mut self, by: i32) {
        let places = &self.station.places;
        let at = places.iter().position(|place| place.slot == self.selected).unwrap_or(0);
        let next = if by > 0 { at + 1 } else { at.wrapping_sub(1) };
        if let Some(place) = places.get(next) {
            self.selected = place.slot;
            self.scroll = 0;
        }
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
            Answer::Found(found) => {
                if self.sought && self.screen != Screen::Device {
                    match &found {
                        Found::None(text) => self.refuse(format!("neither rack nor ledger know \"{}\"", harmless(text))),
                        _ => self.say(format!(
                            "in no slot; {} shows what the ledger knows",
                            keymap::key_of(Act::Device)
                        )),
                    }
                }
                self.found = found;
            }
            Answer::Owed(owed) => self.owed = Some(owed),
            Answer::Shift(shift) => self.shift = Some(shift),
        }
        self.scroll = if self.screen == Screen::Device { 0 } else { self.scroll };
    }

    /// One more character of what is typed or scanned.
    fn typed(&mut self, c: char, rack: &RackView) -> Option<Wish> {
        let text = self.line.add(c)?;
        self.scanned(text.trim(), rack)
    }

    /// A whole text was typed or scanned: the device that it names is selected, if it is in the rack, and else looked for
    /// in the ledger. Nothing else can come of a scan, on any screen. What comes after the first word is a secret.
    fn scanned(&mut self, text: &str, rack: &RackView) -> Option<Wish> {
        let wanted = text.split_whitespace().next().unwrap_or("").to_ascii_lowercase();
        let named = |slot: &SlotNo| {
            let seat = self.story.seat(*slot);
            let shown = rack.slots.iter().find(|view| view.slot == *slot).and_then(|view| view.device);
            let id = shown.or(seat.and_then(|seat| seat.device)).map(|device| device.to_string());
            let serial = seat.and_then(|seat| seat.serial.as_deref());
            id.is_some_and(|id| id == wanted || wanted.len() == TAIL && id.ends_with(&wanted))
                || serial.is_some_and(|serial| serial.eq_ignore_ascii_case(&wanted))
        };
        let found = self.station.places.iter().map(|place| place.slot).find(named);
        match found {
            // Whoever looks at one slot wants to know whether this is the device in it.
            Some(slot) if self.screen == Screen::Slot && slot == self.selected => {
                self.say(format!("label and device agree: this is the one in slot {slot}"));
            }
            Some(slot) if self.screen == Screen::Slot => {
                self.refuse(format!(
                    "not the device in slot {}: this is the one in slot {slot}",
                    self.selected
                ));
            }
            Some(slot) => {
                self.selected = slot;
                self.scroll = 0;
                self.sought = false;
                self.say(format!("slot {slot}"));
            }
            None => self.sought = true,
        }
        (found.is_none() || self.screen == Screen::Device).then_some(Wish::Ledger(ledger::Question::Find(wanted)))
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

/// What has to be typed before a run is stopped.
pub fn abort_word(slot: SlotNo) -> String {
    format!("abort {slot}")
}

/// The end of an id that people compare on labels has so many digits.
const TAIL: usize = 6;
/// So far back yield and failures are shown.
const SHIFT_MS: i64 = 12 * 3_600_000;

#[cfg(test)]
mod tests;
