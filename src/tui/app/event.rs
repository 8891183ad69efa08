//! What can happen to the screen, and what has to be done for it. Plain data.

use crossterm::event::KeyEvent;

use crate::{
    model::{Record, Secret, SlotNo},
    rack::{Command, RackView, Told},
    tui::ledger::{self, Answer},
};

/// Everything that can happen to the screen. All of it comes through one channel, in one order.
#[derive(Debug)]
pub enum Event {
    /// The station looks like this now.
    View(Box<RackView>),
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
    /// The station says what came of what was asked.
    Told(Told),
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Of the station.
    Station(Command),
    /// Of the station: whose PIN this is.
    Pin(Pin),
    /// Of a replay.
    Replay(Pace),
}

/// A PIN, with the name of its owner in front where there is more than one.
#[derive(Clone, Debug)]
pub struct Pin(pub Secret<String>);

impl PartialEq for Pin {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose() == other.0.expose()
    }
}

impl Eq for Pin {}

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
