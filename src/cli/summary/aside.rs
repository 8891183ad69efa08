//! The devices that a person has to see to, by who that is, with the reason: what is set aside from a pallet, in piles.

use serde::Serialize;

use super::Line;
use crate::{
    cli::{print::Printer, table::Table},
    model::{Code, DeviceId, SlotNo, Verdict, sentence::lower, verdict::Owner},
    rack::{RackView, view::Awaits},
};

/// A device that was not taken in: no run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Rejected {
    slot: SlotNo,
    pub(super) device: Option<DeviceId>,
    code: Code,
    why: String,
    next: &'static str,
    person: Owner,
}

impl Rejected {
    /// Those that a view shows.
    pub(super) fn of(view: &RackView) -> impl Iterator<Item = Self> {
        let rejected = view.slots.iter().filter(|slot| slot.awaits == Awaits::Rejected);
        rejected.filter_map(|slot| {
            let code = slot.code?;
            Some(Self {
                slot: slot.slot,
                device: slot.device,
                code,
                why: slot.why.clone(),
                next: code.next_action(),
                person: code.owner(),
            })
        })
    }

    /// Where it is and which it is: of the same device in the same slot, the last word counts.
    pub(super) fn place(&self) -> (SlotNo, Option<DeviceId>) {
        (self.slot, self.device)
    }
}

/// One device of a pile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Aside<'a> {
    person: Owner,
    code: Code,
    slot: SlotNo,
    device: Option<DeviceId>,
    why: &'a str,
}

/// Prints the piles; nothing if nobody has to see to anything.
pub(super) fn print(lines: &[Line], rejected: &[Rejected], printer: &Printer) {
    let judged = lines.iter().filter_map(|line| {
        // What is owed goes by itself, and a run that a person stopped is that person's.
        let waits = line.verdict.is_none() && line.code != Some(Code::Stopped);
        let failed = line
            .verdict
            .is_some_and(|verdict| !matches!(verdict, Verdict::Pass | Verdict::Owed | Verdict::Aborted));
        let (person, code) = line.person.zip(line.code).filter(|_| waits || failed)?;
        let found = line.diagnosis.as_ref().filter(|found| found.trouble.code() == Some(code));
        Some(Aside {
            person,
            code,
            slot: line.slot,
            device: Some(line.device),
            why: found.map_or(&line.why, |found| found.trouble.words()),
        })
    });
    let turned_away = rejected.iter().map(|rejected| Aside {
        person: rejected.person,
        code: rejected.code,
        slot: rejected.slot,
        device: rejected.device,
        why: &rejected.why,
    });
    let mut piles: Vec<_> = judged.chain(turned_away).collect();
    if piles.is_empty() {
        return;
    }
    piles.sort();
    let mut table = Table::new(["for the", "slot", "device", "code", "because"]);
    for aside in piles {
        table.row([
            aside.person.word().into(),
            aside.slot.to_string().into(),
            aside.device.map(|device| device.to_string()).unwrap_or_default().into(),
            aside.code.text().into(),
            lower(aside.why).into(),
        ]);
    }
    printer.line("");
    printer.line("set aside, each for the person who has to see to it:");
    table.print(printer);
}
