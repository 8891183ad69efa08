//! One turn of the core: a copy of the state to work on, and what came of it.

use std::{sync::Arc, time::Duration};

use crate::{
    edge::Attached,
    model::{
        Code, DeviceId, Fact, Fingerprint, Mono, Outcome, RunId, SlotNo, StepError, Verdict, Wall,
        outbox::{Answer, Item, ItemState},
        platform::UsbMode,
    },
};

use super::{
    Effect, Ending, Illegal, Input, Order, Rack, Ticket,
    input::{Call, Command, CommitReply},
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
}

/// The state under decision.
pub(super) struct Turn {
    pub(super) rack: Rack,
    pub(super) facts: Vec<Fact>,
    pub(super) effects: Vec<Effect>,
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
        let mut turn = Turn {
            rack: self.clone(),
            facts: Vec::new(),
            effects: Vec::new(),
            now,
            wall,
            illegal: None,
        };
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
            Input::Cloud(reply) => turn.cloud(reply),
            Input::Command(command) => turn.command(*command),
            Input::Tick => turn.tick(),
        }
        turn.pump();
        turn.finish()
    }

    /// Decides what a start means for what was under way when the station stopped: every open run waits for its
    /// device, and a request whose answer is not on record may have been done.
    ///
    /// # Errors
    /// As [`Rack::decide`].
    pub fn restart(&self, now: Mono, wall: Wall) -> Result<Decision, Illegal> {
        let mut turn = Turn {
            rack: self.clone(),
            facts: Vec::new(),
            effects: Vec::new(),
            now,
            wall,
            illegal: None,
        };
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
            .map(|run| (run.id, run.device))
            .collect();
        for (run, device) in stale {
            turn.fact(Fact::UndoDestroyed { run, device });
            turn.effects.push(Effect::DestroyUndo { run, device });
        }
        turn.pump();
        turn.finish()
    }
}

impl Turn {
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
            }),
        }
    }

    /// Forgets ended runs that owe nothing and are not shown any more: the ledger has them.
    fn sweep(&mut self) {
        let shown: Vec<RunId> = self
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
        let owing: Vec<RunId> = self.rack.outbox.open().map(|entry| entry.item.run).collect();
        self.rack
            .runs
            .retain(|id, run| !run.ended() || shown.contains(id) || owing.contains(id));
        let runs = &self.rack.runs;
        let outbox = &mut self.rack.outbox;
        outbox.sweep(|item| runs.contains_key(&item.run));
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

    /// The run ends. The slot shows the verdict until its device leaves.
    pub(super) fn judge(
        &mut self,
        slot: SlotNo,
        attached: Option<Attached>,
        run: RunId,
        verdict: Verdict,
        code: Option<Code>,
        why: String,
    ) {
        let Some(state) = self.run(run) else { return };
        let device = state.device;
        let proved = verdict == Verdict::Pass && state.handshake.is_some();
        // What the run still owes and never sent is not owed any more, unless the verdict says so.
        if !matches!(verdict, Verdict::Owed | Verdict::Quarantined) {
            let unsent: Vec<_> = self
                .rack
                .outbox
                .open()
                .filter(|e| e.item.run == run && !e.ambiguous && e.state != ItemState::Sent)
                .map(|e| e.item.id.clone())
                .collect();
            for item in unsent {
                self.fact(Fact::ItemWithdrawn {
                    item,
                    why: format!("the run ended {verdict}"),
                });
            }
        }
        if state.keys.undo.is_some() && (matches!(verdict, Verdict::Pass | Verdict::RolledBack) || undo_is_over(&state)) {
            self.fact(Fact::UndoDestroyed { run, device });
            self.effects.push(Effect::DestroyUndo { run, device });
        }
        self.fact(Fact::RunEnded {
            run,
            device,
            verdict,
            code,
            why,
            proved,
        });
        match attached {
            Some(attached) => self.set(
                slot,
                Slot::Judged {
                    attached,
                    run,
                    device,
                    verdict,
                },
            ),
            None => self.set(slot, Slot::Vacant),
        }
    }

    /// The run ends because a step failed for good.
    pub(super) fn fail(&mut self, slot: SlotNo, attached: Option<Attached>, run: RunId, error: &StepError) {
        let verdict = match error.blame() {
            crate::model::verdict::Blame::Device => Verdict::Fail,
            crate::model::verdict::Blame::Station => Verdict::Fault,
        };
        self.judge(slot, attached, run, verdict, Some(error.code), error.to_string());
    }

    /// Sends what may be sent now.
    pub(super) fn pump(&mut self) {
        if self.rack.ending == Some(Ending::Quit) {
            return;
        }
        for call in self.rack.outbox.due(self.wall, self.rack.setting.import_chunk) {
            let items: Vec<_> = match &call {
                Call::Import { items, .. } => items.iter().map(|(item, attempt, _)| (item.clone(), *attempt)).collect(),
                Call::Upload { item, attempt, .. } => vec![(item.clone(), *attempt)],
                Call::Admit { .. } | Call::Look { .. } => Vec::new(),
            };
            for (item, attempt) in items {
                self.fact(Fact::ItemSent { item, attempt });
            }
            self.effects.push(Effect::Call(call));
        }
    }

    /// Puts an item in the outbox; an unsent older key of the same device is no longer owed.
    pub(super) fn queue(&mut self, item: Item) {
        if self.rack.outbox.get(&item.id).is_some_and(|e| !e.settled()) {
            return;
        }
        self.supersede(item.device, &item.id);
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

    fn command(&mut self, command: Command) {
        match command {
            Command::Abort(slot) => {
                let state = self.slot(slot).clone();
                match state {
                    Slot::Running {
                        attached,
                        ticket,
                        doing,
                        since,
                        deadline,
                        ..
                    } => {
                        self.effects.push(Effect::Cancel(slot));
                        self.set(
                            slot,
                            Slot::Running {
                                attached,
                                ticket,
                                doing,
                                since,
                                deadline,
                                cancelled: Cancelled::ByPerson,
                            },
                        );
                    }
                    Slot::AwaitingCloud { attached, run, .. } => {
                        let overwrote = self
                            .run(run)
                            .is_some_and(|r| r.keys.overwrote_valid() && r.keys.accepted.map(|a| a.0) != r.keys.written);
                        if overwrote {
                            self.judge(
                                slot,
                                Some(attached),
                                run,
                                Verdict::Quarantined,
                                Some(Code::StateUnknown),
                                "stopped while the new key was not yet accepted by the cloud".to_owned(),
                            );
                        } else {
                            self.judge(
                                slot,
                                Some(attached),
                                run,
                                Verdict::Aborted,
                                Some(Code::Stopped),
                                "a person stopped the run".to_owned(),
                            );
                        }
                    }
                    _ => {}
                }
            }
            Command::Finish => self.rack.ending = Some(Ending::Finish),
            Command::Quit => {
                self.rack.ending = Some(Ending::Quit);
                for slot in self.rack.slots.keys().copied().collect::<Vec<_>>() {
                    match self.slot(slot).clone() {
                        Slot::Running {
                            attached,
                            ticket,
                            doing,
                            since,
                            deadline,
                            ..
                        } => {
                            self.effects.push(Effect::Cancel(slot));
                            self.set(
                                slot,
                                Slot::Running {
                                    attached,
                                    ticket,
                                    doing,
                                    since,
                                    deadline,
                                    cancelled: Cancelled::ByPerson,
                                },
                            );
                        }
                        Slot::AwaitingCloud { attached, run, .. } => {
                            self.interrupt(run, Code::Stopped);
                            self.set(
                                slot,
                                Slot::Set {
                                    attached,
                                    run,
                                    code: Code::Stopped,
                                },
                            );
                        }
                        Slot::AwaitingReturn { run, .. } => {
                            self.interrupt(run, Code::Stopped);
                            self.set(slot, Slot::Vacant);
                        }
                        Slot::Settling { .. } | Slot::Identifying { .. } => self.set(slot, Slot::Vacant),
                        _ => {}
                    }
                }
            }
            Command::TokenRenewed => self.rack.outbox.locked = None,
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
        let device = self.run(ticket.run).map(|run| run.device);
        // Two copies that are read in one turn are not in the ledger yet, so the runs are asked as well.
        let here = self
            .rack
            .runs()
            .filter(|run| key_of(fact).is_some_and(|key| run.keys.present() == Some(key)))
            .map(|run| run.device);
        let reply = match owners.iter().copied().chain(here).find(|owner| Some(*owner) != device) {
            Some(other) => CommitReply::Duplicate(other),
            None => CommitReply::OnDisk,
        };
        self.effects.push(Effect::Committed { slot, ticket, reply });
    }
}

/// The key that a fact says is on a device, or will be.
fn key_of(fact: &Fact) -> Option<Fingerprint> {
    match fact {
        Fact::KeyRead { content, .. } => content.key().map(|key| key.fingerprint),
        Fact::KeyIntended { key, .. } => Some(key.fingerprint),
        _ => None,
    }
}

/// True if the undo copy of an ended run serves nothing any more: the cloud accepted the key that the device holds, the
/// old key is back, or there was no valid key to go back to.
pub(super) fn undo_is_over(run: &Run) -> bool {
    let accepted = run.keys.accepted.map(|(key, _)| key);
    let nothing_valid = run.keys.before.as_ref().is_some_and(|content| content.key().is_none());
    run.keys.restored || (accepted.is_some() && accepted == run.keys.present()) || (nothing_valid && run.keys.written.is_some())
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
