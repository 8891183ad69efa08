//! One turn of the core: a copy of the state to work on, and what came of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    edge::Attached,
    model::{
        Code, DeviceId, Fact, Fingerprint, Mono, Outcome, RunId, SlotNo, Wall,
        diagnosis::Flow,
        outbox::{Answer, Errand, Item, ItemId, ItemState},
        platform::UsbMode,
    },
};

use super::{
    Effect, Illegal, Input, Lore, Order, Rack, Ticket, Told,
    input::CommitReply,
    judge::undo_is_over,
    run::{Run, State, StepState},
    slot::{Cancelled, Doing, Slot},
};

/// What a turn came to. Nothing of it counts before its facts are on disk.
#[derive(Debug)]
pub struct Decision {
    /// The state after the facts.
    pub rack: Rack,
    /// What has to be on disk first.
    pub facts: Vec<Fact>,
    /// What is to be done then.
    pub effects: Vec<Effect>,
    /// What the person who asked is told then.
    pub told: Option<Told>,
}

/// The state under decision.
pub(super) struct Turn {
    pub(super) rack: Rack,
    pub(super) facts: Vec<Fact>,
    pub(super) effects: Vec<Effect>,
    pub(super) told: Option<Told>,
    pub(super) now: Mono,
    pub(super) wall: Wall,
    illegal: Option<Illegal>,
}

impl Rack {
    /// Decides what one input means. Pure: the same arguments give the same decision.
    ///
    /// # Errors
    /// [`Illegal`] if the decision would contradict the facts so far: a defect of this program, never of a device.
    pub fn decide(&self, now: Mono, wall: Wall, input: &Input) -> Result<Decision, Illegal> {
        let mut turn = Turn::begin(self, now, wall);
        match input {
            Input::Bus(list) => turn.bus(list),
            Input::Identified {
                slot,
                address,
                fresh,
                result,
                known,
            } => turn.identified(*slot, *address, *fresh, result, known),
            Input::Commit {
                slot,
                ticket,
                fact,
                owners,
            } => turn.commit(*slot, *ticket, fact, owners),
            Input::Report { slot, ticket, result } => turn.report(*slot, *ticket, result),
            Input::Cloud(line, replies) => turn.cloud(*line, replies),
            Input::Command(command) => turn.asked(command, &Lore::default()),
            Input::Informed { command, lore } => turn.asked(command, lore),
            Input::Pin(whose) => turn.pin(whose.as_deref()),
            Input::Tick => turn.tick(),
        }
        turn.ask_back();
        turn.pump();
        turn.finish()
    }

    /// Decides what a start means for what was under way when the station stopped: every open run waits for its
    /// device, and a request whose answer is not on record may have been done.
    ///
    /// # Errors
    /// As [`Rack::decide`].
    pub fn restart(&self, now: Mono, wall: Wall) -> Result<Decision, Illegal> {
        let mut turn = Turn::begin(self, now, wall);
        let sent: Vec<_> = turn
            .rack
            .outbox
            .open()
            .filter(|e| e.state == ItemState::Sent)
            .map(|e| (e.item.id.clone(), e.attempts))
            .collect();
        for (item, attempt) in sent {
            let answer = Answer::Ambiguous {
                why: "the station stopped before the answer was on record".to_owned(),
            };
            turn.fact(Fact::ItemAnswered { item, attempt, answer });
        }
        let active: Vec<_> = turn
            .rack
            .runs()
            .filter(|run| run.state == State::Active)
            .map(|run| run.id)
            .collect();
        for run in active {
            turn.fact(Fact::RunInterrupted {
                run,
                code: Code::Stopped,
            });
        }
        let stale: Vec<_> = turn
            .rack
            .runs()
            .filter(|run| run.ended() && run.keys.undo.is_some() && undo_is_over(run))
            .cloned()
            .collect();
        for run in stale {
            turn.destroy_undo(&run);
        }
        turn.name_for_now();
        turn.pump();
        turn.finish()
    }
}

impl Turn {
    /// Nothing is decided yet.
    pub(super) fn begin(rack: &Rack, now: Mono, wall: Wall) -> Self {
        Self {
            rack: rack.clone(),
            facts: Vec::new(),
            effects: Vec::new(),
            told: None,
            now,
            wall,
            illegal: None,
        }
    }

    /// Puts a fact on the list and takes it in.
    pub(super) fn fact(&mut self, fact: Fact) {
        if let Err(illegal) = self.rack.apply(self.wall, &fact) {
            self.illegal.get_or_insert(illegal);
        }
        self.facts.push(fact);
    }

    pub(super) fn finish(mut self) -> Result<Decision, Illegal> {
        self.sweep();
        match self.illegal {
            Some(illegal) => Err(illegal),
            None => Ok(Decision {
                rack: self.rack,
                facts: self.facts,
                effects: self.effects,
                told: self.told,
            }),
        }
    }

    /// Forgets ended runs and packets that owe nothing and are not shown any more: the ledger has them.
    fn sweep(&mut self) {
        let shown: BTreeSet<RunId> = self
            .rack
            .slots
            .values()
            .filter_map(|slot| {
                if let Slot::Judged { run, .. } = slot {
                    Some(*run)
                } else {
                    None
                }
            })
            .collect();
        let owing: BTreeSet<RunId> = self.rack.outbox.open().map(|entry| entry.item.run).collect();
        self.rack
            .runs
            .retain(|id, run| !run.ended() || shown.contains(id) || owing.contains(id));
        self.rack
            .packets
            .retain(|id, packet| packet.end.is_none() || owing.contains(id));
        let packets = &self.rack.packets;
        self.rack.asks.retain(|id, _| packets.contains_key(id));
        let runs = &self.rack.runs;
        let outbox = &mut self.rack.outbox;
        outbox.sweep(|item| runs.contains_key(&item.run) || packets.contains_key(&item.run));
    }

    pub(super) fn slot(&self, slot: SlotNo) -> &Slot {
        self.rack.slots.get(&slot).unwrap_or(&Slot::Vacant)
    }

    pub(super) fn set(&mut self, slot: SlotNo, state: Slot) {
        self.rack.slots.insert(slot, state);
    }

    pub(super) fn run(&self, run: RunId) -> Option<Arc<Run>> {
        self.rack.runs.get(&run).cloned()
    }

    /// The slot where a run is under way.
    pub(super) fn slot_of(&self, run: RunId) -> Option<SlotNo> {
        self.rack
            .slots
            .iter()
            .find(|(_, slot)| slot.run() == Some(run))
            .map(|(no, _)| *no)
    }

    /// A ticket for a new order of a run.
    pub(super) fn ticket(&mut self, run: RunId) -> Ticket {
        self.rack.orders += 1;
        Ticket {
            run,
            order: self.rack.orders,
        }
    }

    /// Hands an order to the worker of a slot and waits for its report.
    pub(super) fn order(
        &mut self,
        slot: SlotNo,
        attached: &Attached,
        ticket: Ticket,
        doing: Doing,
        limit: Duration,
        order: Order,
    ) {
        self.set(
            slot,
            Slot::Running {
                attached: Some(attached.clone()),
                ticket,
                doing,
                since: self.now,
                deadline: self.now + limit,
                cancelled: Cancelled::No,
            },
        );
        self.effects.push(Effect::Order { slot, order });
    }

    /// The run loses its device, and waits for it.
    pub(super) fn interrupt(&mut self, run: RunId, code: Code) {
        if self.run(run).is_some_and(|r| r.state == State::Active) {
            self.fact(Fact::RunInterrupted { run, code });
        }
    }

    /// Sends what may be sent now.
    pub(super) fn pump(&mut self) {
        self.conclude_packets();
        self.ask_for_packets();
        self.call_out();
        self.forget_looks();
    }

    /// Puts an item in the outbox; an unsent older key of the same device is no longer owed.
    pub(super) fn queue(&mut self, item: Item) {
        if self.rack.outbox.get(&item.id).is_some_and(|e| !e.settled()) {
            return;
        }
        if let Errand::Key { .. } = item.errand {
            self.supersede(item.device, &item.id);
        }
        self.fact(Fact::ItemQueued { item });
    }

    /// Withdraws key items of a device that were never sent and are not `but`.
    pub(super) fn supersede(&mut self, device: DeviceId, but: &crate::model::outbox::ItemId) {
        let older: Vec<_> = self
            .rack
            .outbox
            .open()
            .filter(|e| {
                e.item.device == device && e.key().is_some() && e.item.id != *but && e.state != ItemState::Sent && !e.ambiguous
            })
            .map(|e| e.item.id.clone())
            .collect();
        for item in older {
            self.fact(Fact::ItemWithdrawn {
                item,
                why: "a newer key of the device takes its place".to_owned(),
            });
        }
    }

    fn commit(&mut self, slot: SlotNo, ticket: Ticket, fact: &Fact, owners: &[DeviceId]) {
        let wanted = matches!(self.slot(slot), Slot::Running { ticket: t, .. } if *t == ticket)
            && fact.run().is_none_or(|run| run == ticket.run);
        if !wanted {
            self.effects.push(Effect::Committed {
                slot,
                ticket,
                reply: CommitReply::Stale,
            });
            return;
        }
        if let Fact::KeyIntended { item, device, .. } = fact {
            self.supersede(*device, &item.id.clone());
        }
        self.fact(fact.clone());
        if let Fact::KeyWritten { run, fingerprint, .. } = fact {
            self.withdraw_known(*run, *fingerprint);
        }
        let device = self.run(ticket.run).map(|run| run.device);
        // Another slot may have read the same key in this very turn, before the ledger knows of it.
        let at_work = self
            .rack
            .runs()
            .filter(|run| key_of(fact).is_some_and(|key| run.keys.knows(key)));
        let owners: Vec<DeviceId> = owners.iter().copied().chain(at_work.map(|run| run.device)).collect();
        let reply = match owners.iter().find(|owner| Some(**owner) != device) {
            Some(other) => CommitReply::Duplicate(*other),
            None => CommitReply::OnDisk,
        };
        self.effects.push(Effect::Committed { slot, ticket, reply });
    }
}

impl Turn {
    /// The same pair in another layout, or one that the cloud accepted last: it holds the public half already.
    fn withdraw_known(&mut self, id: RunId, key: Fingerprint) {
        let Some(run) = self
            .run(id)
            .filter(|run| matches!(run.flow(), Some(Flow::Rewrite | Flow::Restore)) && run.keys.agreed())
        else {
            return;
        };
        self.fact(Fact::ItemWithdrawn {
            item: ItemId::key(run.id, key),
            why: "the cloud accepted this very key in an earlier run".to_owned(),
        });
    }
}

/// The key that a fact says is, or is to be, in a slot.
fn key_of(fact: &Fact) -> Option<Fingerprint> {
    match fact {
        Fact::KeyRead { content, .. } => content.key().map(|key| key.fingerprint),
        Fact::KeyIntended { key, .. } | Fact::KeyGiven { key, .. } => Some(key.fingerprint),
        _ => None,
    }
}

/// The outcome and index of the step that a slot is in, for its end.
pub(super) fn ended(run: RunId, step: u8, attempt: u8, outcome: Outcome, took: Duration) -> Fact {
    Fact::StepEnded {
        run,
        step,
        attempt,
        outcome,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The attempts that a run made of a step.
pub(super) fn attempts(run: &Run, step: u8) -> u8 {
    run.steps.get(usize::from(step)).map_or(1, |s| s.attempts)
}

/// The mode of an attachment, by its USB identity.
pub(super) fn mode_of(attached: &Attached) -> Option<UsbMode> {
    let usb = crate::model::platform::UsbId {
        vendor: attached.vendor,
        product: attached.product,
    };
    crate::model::Platform::from_usb(usb).map(|(_, mode)| mode)
}

/// True if the step was begun before and its end is not on record.
pub(super) fn begun(run: &Run, step: u8) -> bool {
    run.steps
        .get(usize::from(step))
        .is_some_and(|s| s.attempts > 0 && !matches!(s.state, StepState::Ended(_)))
}

/// How often a step or a change of mode is tried while that may help.
pub(super) const TRIES: u8 = 3;
