//! What a scan means: the one way of everything that is typed or scanned, on whichever screen. It can name who is at the
//! station and what is worked on, compare a label with a device, and look for a device; it can do nothing else.

use crate::{
    model::{
        SlotNo,
        scan::{Scanned, is_serial},
        sentence::harmless,
    },
    rack::{Command, OrderName, RackView},
    tui::{
        keymap::{Act, key_of},
        ledger::{self, Found},
    },
};

use super::{App, Asked, Question, Screen, Wish};

impl App {
    /// One more character of what is typed or scanned.
    pub(super) fn typed(&mut self, c: char, rack: &RackView) -> Option<Wish> {
        let text = self.line.add(c)?;
        if self.question == Some(Question::Pin) {
            // By habit; and nothing of a PIN may be looked for, or shown.
            self.refuse(format!("a PIN ends with {}: type it again", key_of(Act::Engineer)));
            return None;
        }
        self.scanned(&text, rack)
    }

    fn scanned(&mut self, text: &str, rack: &RackView) -> Option<Wish> {
        let ask = |command| Some(Wish::Ask(Asked::Station(command)));
        match self.station.patterns.read(text) {
            // The past is what it is.
            Scanned::Badge(_) | Scanned::Order { .. } if self.replay.is_some() => None,
            Scanned::Badge(name) => ask(Command::Operator(Some(name))),
            Scanned::Order { id, quantity } => ask(Command::WorkOrder(Some(OrderName { id, quantity }))),
            Scanned::Label { serial } if self.replay.is_none() => match self.slot_of_label(&serial, rack) {
                Some(slot) => ask(Command::Label { slot, serial }),
                None => self.looked_for(&serial, rack),
            },
            Scanned::Text(word) if self.compares() && is_serial(&word) => ask(Command::Label {
                slot: self.selected,
                serial: word.to_ascii_uppercase(),
            }),
            Scanned::Label { serial: word } | Scanned::Text(word) => self.looked_for(&word, rack),
        }
    }

    /// Whoever looks at one slot wants to know whether this is the device in it.
    fn compares(&self) -> bool {
        self.screen == Screen::Slot && self.replay.is_none()
    }

    /// The slot that a label is for: the one that is looked at, else the one with its device.
    fn slot_of_label(&mut self, serial: &str, rack: &RackView) -> Option<SlotNo> {
        if self.compares() {
            return Some(self.selected);
        }
        let slot = self.named(serial, rack)?;
        self.selected = slot;
        Some(slot)
    }

    /// A device is looked for: in the rack, where it is selected, and else in the ledger.
    fn looked_for(&mut self, word: &str, rack: &RackView) -> Option<Wish> {
        let wanted = word.to_ascii_lowercase();
        let found = self.named(&wanted, rack);
        match found {
            Some(slot) if self.compares() && slot == self.selected => {
                self.say(format!("label and device agree: this is the one in slot {slot}"));
            }
            Some(slot) if self.compares() => {
                self.refuse(format!(
                    "not the device in slot {}: this is the one in slot {slot}",
                    self.selected
                ));
            }
            Some(slot) => {
                self.selected = slot;
                self.scroll = 0;
                self.sought = false;
                self.say(format!("slot {slot}; {} shows its whole history", key_of(Act::Device)));
            }
            None => self.sought = true,
        }
        (found.is_none() || self.screen == Screen::Device).then_some(Wish::Ledger(ledger::Question::Find(wanted)))
    }

    /// The slot with the device that a word names.
    fn named(&self, wanted: &str, rack: &RackView) -> Option<SlotNo> {
        let wanted = wanted.to_ascii_lowercase();
        let named = |slot: &SlotNo| {
            let seat = self.story.seat(*slot);
            let shown = rack.slots.iter().find(|view| view.slot == *slot).and_then(|view| view.device);
            let id = shown.or(seat.and_then(|seat| seat.device)).map(|device| device.to_string());
            let told = seat
                .into_iter()
                .flat_map(|seat| [&seat.serial, &seat.iccid, &seat.imei])
                .flatten();
            id.is_some_and(|id| id == wanted || wanted.len() == TAIL && id.ends_with(&wanted))
                || told.into_iter().any(|told| told.eq_ignore_ascii_case(&wanted))
        };
        self.station.places.iter().map(|place| place.slot).find(named)
    }

    /// The ledger tells of the device that was looked for. What is in no slot is shown, unless a question is open.
    pub(super) fn found(&mut self, found: Found) {
        if self.sought && self.screen != Screen::Device {
            match &found {
                Found::None(text) => self.refuse(format!("neither rack nor ledger know \"{}\"", harmless(text))),
                _ if self.question.is_none() => self.open(Screen::Device),
                _ => self.say(format!("in no slot; {} shows what the ledger knows", key_of(Act::Device))),
            }
        }
        self.found = found;
    }
}

/// The end of an id that people compare on labels has so many digits.
const TAIL: usize = 6;
