//! Questions before something is asked of the station, and their answers. The station decides; a question only makes sure
//! that a person means it.

use crate::{
    model::{DeviceId, Secret, SlotNo},
    rack::{Command, RackView, run::Step, view::Role},
    tui::{
        keymap::{Act, key_of},
        ledger::Found,
    },
};

use super::{App, Asked, Pace, Pin, Screen, Wish};

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Stop the run in this slot?
    Abort(SlotNo),
    /// Finish and end?
    Finish,
    /// End at the next safe points?
    Quit,
    /// Who is the engineer?
    Pin,
    /// Let new runs begin again?
    ReleaseLine,
    /// Let this QUARANTINED device run again?
    Release(DeviceId),
    /// Repair this device?
    Repair(DeviceId),
    /// Put new runs under the recipe with this number on the screen of recipes, from 1?
    UseRecipe(usize),
    /// Leave a step of the run in this slot out?
    LeaveOut(SlotNo),
}

impl Question {
    /// The key that asked it and that says yes.
    pub const fn key(self) -> Act {
        match self {
            Self::Abort(_) => Act::Abort,
            Self::Finish => Act::Finish,
            Self::Quit => Act::Quit,
            Self::Pin => Act::Engineer,
            Self::ReleaseLine | Self::Release(_) | Self::Repair(_) | Self::UseRecipe(_) | Self::LeaveOut(_) => Act::Go,
        }
    }

    /// What has to be typed before the key, if a word is asked for.
    pub fn word(self) -> Option<String> {
        match self {
            Self::Abort(slot) => Some(format!("abort {slot}")),
            Self::ReleaseLine => Some("release line".to_owned()),
            Self::Release(device) => Some(format!("release {}", device.short())),
            Self::Repair(device) => Some(format!("repair {}", device.short())),
            Self::UseRecipe(number) => Some(format!("use recipe {number}")),
            Self::LeaveOut(_) => Some("leave out".to_owned()),
            Self::Finish | Self::Quit | Self::Pin => None,
        }
    }

    /// True if a reason has to follow the word.
    pub const fn wants_why(self) -> bool {
        matches!(
            self,
            Self::ReleaseLine | Self::Release(_) | Self::UseRecipe(_) | Self::LeaveOut(_)
        )
    }

    /// What has to follow the word, as it is asked for.
    pub const fn wanted(self) -> &'static str {
        match self {
            Self::LeaveOut(_) => ", the number of the step and why",
            _ if self.wants_why() => " and why",
            _ => "",
        }
    }

    /// True for what cannot be taken back.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Abort(_) | Self::Release(_) | Self::Repair(_) | Self::LeaveOut(_))
    }
}

impl App {
    /// The key of a question was pressed once more: that is a yes, and where a word is asked for, only with that word.
    pub(super) fn answered(&mut self, question: Question, rack: &RackView) -> Option<Wish> {
        let station = |command| Some(Wish::Ask(Asked::Station(command)));
        if question == Question::Pin {
            let text = self.line.take();
            if text.trim().is_empty() {
                self.refuse("no PIN was typed");
                return None;
            }
            return Some(Wish::Ask(Asked::Pin(Pin(Secret::new(text.trim().to_owned())))));
        }
        let why = match question.word() {
            None => String::new(),
            Some(word) => {
                let rest = self.line.after(&word);
                let whole = rest.filter(|rest| rest.is_empty() != question.wants_why());
                let whole = whole.filter(|rest| !matches!(question, Question::LeaveOut(_)) || step_and_why(rest).is_some());
                let Some(why) = whole else {
                    let wanted = question.wanted();
                    self.refuse(format!("not done: type \"{word}\"{wanted} before the key"));
                    self.line.clear();
                    self.question = Some(question);
                    return None;
                };
                self.line.clear();
                why
            }
        };
        match question {
            Question::Abort(slot) => station(Command::Abort(slot)),
            Question::Finish => station(Command::Finish),
            Question::Quit => station(Command::Quit),
            Question::ReleaseLine => station(Command::ReleaseLine { why }),
            Question::Release(device) => station(Command::Release { device, why }),
            Question::Repair(device) => station(Command::Repair(device)),
            Question::UseRecipe(number) => {
                let name = rack.recipes.get(number.checked_sub(1)?)?.name.clone();
                station(Command::UseRecipe { name, why })
            }
            Question::LeaveOut(slot) => {
                let (step, why) = step_and_why(&why)?;
                station(Command::LeaveOut { slot, step, why })
            }
            Question::Pin => None,
        }
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.line.clear();
        self.question = Some(question);
    }

    pub(super) fn ask_to_abort(&mut self, rack: &RackView) {
        let slot = self.selected;
        let mut views = rack.slots.iter();
        if views.any(|view| view.slot == slot && view.run.is_some() && view.verdict.is_none()) {
            self.ask(Question::Abort(slot));
        } else {
            self.refuse(format!("slot {slot} has no run to stop"));
        }
    }

    /// What the open screen offers.
    pub(super) fn offer(&self, rack: &RackView) -> Option<Offer> {
        match (self.screen, &self.found) {
            (Screen::Device, Found::One(history)) => {
                let device = history.device.id;
                Some(Offer::Ask(match history.device.quarantined {
                    Some(_) => Question::Release(device),
                    None => Question::Repair(device),
                }))
            }
            (Screen::Outbox, _) if rack.owed > 0 => Some(Offer::Retry),
            (Screen::Recipes, _) => {
                let recipe = rack.recipes.get(self.recipe).filter(|recipe| !recipe.counts);
                recipe.map(|_| Offer::Ask(Question::UseRecipe(self.recipe + 1)))
            }
            (Screen::Slot, _) if rack.stopped.is_none() && self.may_leave_out(rack) => {
                Some(Offer::Ask(Question::LeaveOut(self.selected)))
            }
            _ if rack.stopped.is_some() => Some(Offer::Ask(Question::ReleaseLine)),
            _ => None,
        }
    }

    /// True if the run in the selected slot has a step before it that can be left out.
    fn may_leave_out(&self, rack: &RackView) -> bool {
        let mut views = rack
            .slots
            .iter()
            .filter(|view| view.slot == self.selected && view.verdict.is_none());
        views.any(|view| {
            let run = view.detail.as_deref();
            run.is_some_and(|run| run.steps.iter().any(Step::can_be_left_out))
        })
    }

    pub(super) fn take_offer(&mut self, rack: &RackView) -> Option<Wish> {
        match self.offer(rack) {
            Some(Offer::Retry) => return Some(Wish::Ask(Asked::Station(Command::Retry))),
            // Only engineers are asked further; the station itself refuses anybody else.
            Some(Offer::Ask(_)) if matches!(rack.role, Role::Operator { .. }) => {
                self.ask(Question::Pin);
                self.refuse("only an engineer may do that");
            }
            Some(Offer::Ask(question)) => self.ask(question),
            None => self.refuse("this screen offers nothing now"),
        }
        None
    }

    pub(super) fn engineer(&mut self, rack: &RackView) -> Option<Wish> {
        match &rack.role {
            Role::Anybody => self.say("there are no PINs at this station: everybody is an engineer"),
            Role::Operator { .. } => self.ask(Question::Pin),
            Role::Engineer { .. } => return Some(Wish::Ask(Asked::Station(Command::EngineerLeaves))),
        }
        None
    }

    pub(super) fn pace(&mut self, pace: Pace) -> Vec<Wish> {
        if self.replay.is_some() {
            return vec![Wish::Ask(Asked::Replay(pace))];
        }
        self.refuse("this is no replay");
        Vec::new()
    }

    /// The scan line as it may be seen. A PIN is not; the words of a question are, as far as they are its words.
    pub fn line_shown(&self) -> String {
        match self.question {
            Some(Question::Pin) => self.line.hidden(),
            Some(question) => match question.word() {
                Some(word) if self.line.fits(&word) => self.line.open(),
                _ => self.line.shown(),
            },
            None => self.line.shown(),
        }
    }

    /// What the key does that takes what a screen offers, for that screen.
    pub fn offered(&self, rack: &RackView) -> Option<String> {
        let what = match self.offer(rack)? {
            Offer::Retry => "send now what waits".to_owned(),
            Offer::Ask(Question::Release(_)) => "release it from QUARANTINED".to_owned(),
            Offer::Ask(Question::Repair(_)) => "repair it".to_owned(),
            Offer::Ask(Question::UseRecipe(number)) => format!("use recipe {number}"),
            // An engineer's last resort: nobody else is led to it.
            Offer::Ask(Question::LeaveOut(_)) if matches!(rack.role, Role::Operator { .. }) => return None,
            Offer::Ask(Question::LeaveOut(_)) => "leave a step out".to_owned(),
            Offer::Ask(_) => "release the line".to_owned(),
        };
        Some(format!("{}: {what}", key_of(Act::Go)))
    }
}

/// The number of a step, and why, as they are typed one after the other.
fn step_and_why(text: &str) -> Option<(u8, String)> {
    let (step, why) = text.split_once(char::is_whitespace)?;
    let why = why.trim();
    Some((step.parse().ok()?, why.to_owned())).filter(|_| !why.is_empty())
}

/// What a screen offers to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Send again what only waits.
    Retry,
    /// Ask this.
    Ask(Question),
}
