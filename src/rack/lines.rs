//! The lines to the cloud as the core sees them: how many there are, what each is in use for, and which call goes next
//! where one is free. Everything else waits here, so that nothing is on record as sent before there is a line to send it.
//!
//! A device that was taken from its owner or its product is nobody's until it is given back: what gives it back goes
//! before everything else, some lines are kept for that, and no more devices are taken at once than those lines can serve.
//! Of the other lines, half at most are in use for what gets or revokes tokens: the cloud gives a few of them in a minute,
//! and whoever waits for one does so on its line.
//!
//! Lines are the bench's, not the ledger's: after a start all are free, and what is owed is sent again.

use std::collections::BTreeSet;

use crate::model::{Fact, RunId, StepKind, Wall};

use super::{
    About, Effect, Ending, Rack,
    due::Due,
    input::{Call, Line},
    look::Look,
    slot::Slot,
    turn::Turn,
    upload::Entry,
};

/// The lines, and the calls that are asked for and not owed: those that wait for a line.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    in_use: Vec<Option<Use>>,
    waiting: Vec<Call>,
}

/// What a line is in use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    urgency: Urgency,
    /// A token is got or revoked, which may take long.
    token: bool,
}

/// Who waits for a call, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// A device that was taken, and lacks its owner or its product: until then anybody may claim it.
    Taken,
    /// Nobody yet: with this call a device is taken.
    Takes,
    /// Nobody, but the cloud was looked at for it, and a look holds for the moment in which it was made.
    Looked,
    /// A device in its slot that needs what is owed for it.
    Held,
    /// A device in its slot of which the cloud is asked.
    Asks,
    /// A question of a packet, or what is to be done away with.
    Aside,
    /// Nobody: it is owed, and its device is not here.
    Owed,
}

/// What may go next.
enum Next<'a> {
    /// What is owed.
    Due(Due<'a>),
    /// The call at this place of those that wait.
    Ask(usize),
}

impl Lines {
    /// So many lines, all free.
    pub(super) fn new(count: u16) -> Self {
        Self {
            in_use: vec![None; usize::from(count.max(1))],
            waiting: Vec::new(),
        }
    }

    /// The call on a line has ended.
    pub(super) fn free(&mut self, Line(line): Line) {
        if let Some(line) = self.in_use.get_mut(usize::from(line)) {
            *line = None;
        }
    }

    /// A line for this, if there is one.
    fn free_for(&self, wanted: Use) -> Option<Line> {
        let of = |kind: fn(&Use) -> bool| self.in_use.iter().flatten().filter(|used| kind(used)).count();
        let kept = self.in_use.len() / KEPT;
        let others = self.in_use.len() - kept;
        let may = match wanted.urgency {
            Urgency::Taken => true,
            Urgency::Takes => of(|used| used.urgency <= Urgency::Takes) < kept.max(1),
            _ if wanted.token && of(|used| used.token) >= (others / 2).max(1) => false,
            _ => of(|used| used.urgency > Urgency::Takes) < others,
        };
        let free = self.in_use.iter().position(Option::is_none).filter(|_| may)?;
        u16::try_from(free).ok().map(Line)
    }

    fn occupy(&mut self, Line(line): Line, with: Use) {
        self.in_use[usize::from(line)] = Some(with);
    }

    fn all_in_use(&self) -> bool {
        self.in_use.iter().all(Option::is_some)
    }

    /// True if a customer's token, or what was kept for a device, waits to be done away with.
    pub(super) fn cleans_up(&self) -> bool {
        self.waiting.iter().any(|call| matches!(call, Call::EndCustody { .. }))
    }
}

impl Rack {
    /// Says how many lines to the cloud there are. All of them are free.
    pub fn has_lines(&mut self, count: u16) {
        self.lines = Lines::new(count);
    }

    /// True if a call that nobody owes is still for something: its run waits for it in its slot, or its packet has no
    /// result.
    fn wants(&self, call: &Call) -> bool {
        let waits = |id: RunId, kind: StepKind| {
            self.slots.values().any(|slot| match slot {
                Slot::AwaitingCloud { run, step, .. } if *run == id => {
                    let step = self.run(id).and_then(|run| run.steps.get(usize::from(*step)));
                    step.is_some_and(|step| step.kind == kind)
                }
                _ => false,
            })
        };
        let packet = |id| self.packets.get(&id).is_some_and(|packet| packet.end.is_none());
        match call {
            Call::Admit { run, .. } => waits(*run, StepKind::Admit),
            Call::Survey { run, .. } => waits(*run, StepKind::Survey) || packet(*run),
            Call::Secure { run, .. } => waits(*run, StepKind::Secure) || packet(*run),
            Call::Look {
                about: About::Proof(run),
                ..
            } => waits(*run, StepKind::Prove),
            _ => true,
        }
    }

    /// What may go next, the most urgent first; of equal urgency in the order in which it became owed, or was asked.
    fn next(&self, wall: Wall, waiting: &[Call]) -> Vec<(Use, Next<'_>)> {
        let held: BTreeSet<RunId> = self.slots.values().filter_map(Slot::run).collect();
        // A quit stops everything but what gives a device back to its owner.
        let quits = self.ending == Some(Ending::Quit);
        let due = self
            .outbox
            .due(wall, self.setting.import_chunk)
            .into_iter()
            .filter_map(|due| {
                let due = due.that(|entry| !quits || self.outbox.lacks(entry.item.run))?;
                let urgency = due.entries().iter().map(|entry| self.urgency(entry, &held)).min()?;
                Some((Use { urgency, token: false }, Next::Due(due)))
            });
        let asks = waiting.iter().enumerate().map(|(n, call)| {
            let urgency = match call.run() {
                Some(run) if held.contains(&run) => Urgency::Asks,
                _ => Urgency::Aside,
            };
            let token = call.is_about_tokens();
            (Use { urgency, token }, Next::Ask(n))
        });
        let mut next: Vec<_> = due.chain(asks).collect();
        next.sort_by_key(|(wanted, _)| wanted.urgency);
        next
    }

    /// Who waits for an item that is owed.
    fn urgency(&self, entry: &Entry, held: &BTreeSet<RunId>) -> Urgency {
        let (item, takes) = (&entry.item, entry.item.errand.takes());
        match item.run {
            run if (takes || item.after.is_some()) && self.outbox.lacks(run) => Urgency::Taken,
            _ if takes => Urgency::Takes,
            _ if matches!(self.looks.get(&item.id), Some(Look::Clear { .. })) => Urgency::Looked,
            run if held.contains(&run) => Urgency::Held,
            _ => Urgency::Owed,
        }
    }
}

impl Turn {
    /// Asks the cloud something, as soon as a line is free.
    pub(super) fn ask(&mut self, call: Call) {
        self.rack.lines.waiting.push(call);
    }

    /// Hands over what may go now, as far as lines are free.
    pub(super) fn call_out(&mut self) {
        for (line, call) in self.next_calls() {
            self.send(line, call);
        }
    }

    /// The calls for which there is a line, the most urgent first.
    fn next_calls(&mut self) -> Vec<(Line, Call)> {
        let mut chosen = Vec::new();
        let mut lines = self.rack.lines.clone();
        let rack = &self.rack;
        lines.waiting.retain(|call| rack.wants(call));
        if !lines.all_in_use() {
            let way = |entry: &Entry| rack.way(entry, self.now);
            let next = rack.next(self.wall, &lines.waiting);
            let mut waiting: Vec<_> = lines.waiting.drain(..).map(Some).collect();
            for (wanted, next) in next {
                let Some(line) = lines.free_for(wanted) else { continue };
                let call = match next {
                    Next::Due(due) => due.call(&way),
                    Next::Ask(n) => waiting[n].take(),
                };
                if let Some(call) = call {
                    lines.occupy(line, wanted);
                    chosen.push((line, call));
                }
            }
            lines.waiting = waiting.into_iter().flatten().collect();
        }
        self.rack.lines = lines;
        chosen
    }

    /// Puts on record what a call sends, and has it made.
    fn send(&mut self, line: Line, call: Call) {
        if let Call::Look {
            about: About::Item(item),
            ..
        } = &call
        {
            self.ask_before(item);
        }
        for (item, attempt) in call.items() {
            self.fact(Fact::ItemSent { item, attempt });
        }
        self.effects.push(Effect::Call(line, call));
    }
}

/// One line in so many is kept for devices that were taken.
const KEPT: usize = 3;
