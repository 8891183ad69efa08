//! What an answer of the cloud means for the run that waits for it.

use crate::{
    edge::Attached,
    model::{
        Code, Fact, Mono, Outcome, RunId, SlotNo, StepError, StepKind, Verdict, Wall,
        outbox::{Answer, ItemId, ItemState, Looked},
        platform::Network,
        survey::Survey,
    },
};

use super::{
    About, Admitted, Line, Reply,
    input::Call,
    judge::undo_is_over,
    proof::{Given, Proof, judge, pause_before},
    repair::{survey, upload_of},
    run::Run,
    slot::{Shown, Slot},
    turn::{Turn, attempts, ended},
};

impl Turn {
    /// The uplink finished a call.
    pub(super) fn cloud(&mut self, line: Line, replies: &[Reply]) {
        self.rack.lines.free(line);
        replies.iter().for_each(|reply| self.replied(reply));
    }

    fn replied(&mut self, reply: &Reply) {
        match reply {
            Reply::Item { item, attempt, answer } => self.answered(item, *attempt, answer),
            Reply::Admitted { run, result } => {
                if let Some((slot, attached, step, since)) = self.waiting(*run, StepKind::Admit) {
                    self.admitted(slot, &attached, *run, step, since, result);
                }
            }
            Reply::Surveyed { run, survey } => {
                if let Some((slot, attached, step, since)) = self.waiting(*run, StepKind::Survey) {
                    self.surveyed(slot, &attached, *run, step, since, survey);
                } else {
                    self.packet_surveyed(*run, survey);
                }
            }
            Reply::Secured { run, result } => match self.waiting(*run, StepKind::Secure) {
                Some((slot, attached, step, since)) => self.secured(slot, &attached, *run, step, since, result),
                None => {
                    self.packet_secured(*run, result);
                    self.secured_in_vain(*run);
                }
            },
            Reply::Looked {
                about: About::Proof(run),
                found,
            } => {
                if let Some((slot, attached, step, since)) = self.waiting(*run, StepKind::Prove) {
                    self.looked(slot, &attached, *run, step, since, found);
                }
            }
            Reply::Looked {
                about: About::Item(item),
                found,
            } => self.looked_for_item(item, found),
        }
    }

    /// Where a run waits for the cloud in a step of this kind.
    fn waiting(&self, run: RunId, kind: StepKind) -> Option<(SlotNo, Attached, u8, Mono)> {
        let slot = self.slot_of(run)?;
        let Slot::AwaitingCloud {
            attached, step, since, ..
        } = self.slot(slot)
        else {
            return None;
        };
        let state = self.rack.run(run)?;
        (state.steps.get(usize::from(*step))?.kind == kind).then(|| (slot, attached.clone(), *step, *since))
    }

    fn answered(&mut self, item: &ItemId, attempt: u32, answer: &Answer) {
        let current = self
            .rack
            .outbox
            .get(item)
            .is_some_and(|e| e.state == ItemState::Sent && e.attempts == attempt);
        if !current {
            return;
        }
        let answer = &self.with_finding(item, answer);
        self.fact(Fact::ItemAnswered {
            item: item.clone(),
            attempt,
            answer: answer.clone(),
        });
        if let Answer::Auth { reason } = answer {
            self.rack.outbox.locked = Some(reason.clone());
            self.let_go_unchanged(reason);
        }
        self.chain(item);
        let Some(run) = item.run() else { return };
        if let Some(run) = self
            .run(run)
            .filter(|r| r.ended() && r.keys.undo.is_some() && undo_is_over(r))
        {
            self.destroy_undo(&run);
        }
        let Some(slot) = self.slot_of(run) else { return };
        let Slot::AwaitingCloud { attached, .. } = self.slot(slot).clone() else {
            return;
        };
        self.given_back(slot, &attached);
        // An upload whose device had to go back to its owner first is judged by the end of that.
        let upload = self.run(run).and_then(|run| upload_of(&run));
        for item in [Some(item), upload.as_ref().filter(|upload| *upload != item)]
            .into_iter()
            .flatten()
        {
            if self.rack.outbox.get(item).is_some_and(super::upload::Entry::settled) {
                self.settled(slot, &attached, item);
            }
        }
    }

    /// Nothing is sent any more: every run that waits for an item ends here, unless its device has a new key.
    fn let_go_unchanged(&mut self, reason: &str) {
        for slot in self.rack.slots.keys().copied().collect::<Vec<_>>() {
            if let Slot::AwaitingCloud { attached, run, .. } = self.slot(slot).clone() {
                self.locked_out(slot, &attached, run, reason);
            }
        }
    }

    /// The item that a slot waits for is settled: the step ends.
    pub(super) fn settled(&mut self, slot: SlotNo, attached: &Attached, item: &ItemId) {
        let Slot::AwaitingCloud {
            run: id, step, since, ..
        } = *self.slot(slot)
        else {
            return;
        };
        let Some(run) = self.run(id) else { return };
        let Some(kind) = run.steps.get(usize::from(step)).map(|s| s.kind) else {
            return;
        };
        let Some(entry) = self.rack.outbox.get(item).cloned() else {
            return;
        };
        let awaited = match (kind, entry.key()) {
            (StepKind::Enrol, None) => true,
            (StepKind::Register | StepKind::RegisterPresent | StepKind::ServiceMode, Some(key)) => {
                run.keys.present() == Some(key)
            }
            _ => false,
        };
        if !awaited {
            return;
        }
        let unmoved = self.not_moved(&run);
        if (entry.state != ItemState::Accepted || unmoved.is_some()) && self.rack.outbox.lacks(id) {
            // Owner and product first: the refusal is told when the device is given back.
            return;
        }
        if kind == StepKind::ServiceMode {
            return match entry.state {
                // The cloud knows the key by now with which the device signs.
                ItemState::Accepted => self.go_on(slot, attached, id),
                _ => self.fail(slot, Some(attached.clone()), id, &refusal(StepKind::Register, &entry.last)),
            };
        }
        let claim = self.rack.outbox.get(&ItemId::claim(id)).map(|claim| claim.state);
        if matches!(kind, StepKind::Register | StepKind::RegisterPresent) && claim == Some(ItemState::Refused) {
            return self.claim_lost(slot, attached, &run, step, since);
        }
        if entry.state == ItemState::Accepted && unmoved.is_none() {
            let outcome = match &entry.last {
                Some(Answer::Accepted { note: Some(why), .. }) => Outcome::Warned { why: why.clone() },
                _ => Outcome::Done,
            };
            self.fact(ended(id, step, attempts(&run, step), outcome, self.now.since(since)));
            return self.go_on(slot, attached, id);
        }
        let release = self
            .rack
            .outbox
            .get(&ItemId::release(id))
            .filter(|release| release.state == ItemState::Refused);
        let error = unmoved.unwrap_or_else(|| refusal(kind, release.map_or(&entry.last, |release| &release.last)));
        self.step_failure(id, step, since, &error);
        if kind == StepKind::Register && run.keys.changed() && entry.ambiguous {
            let why = format!("{error}; an earlier attempt may have been done");
            self.judge(
                slot,
                Some(attached.clone()),
                id,
                Verdict::Quarantined,
                Some(Code::StateUnknown),
                why,
            );
        } else if self.must_roll_back(&run) {
            self.roll_back(slot, attached, &run, 1);
        } else {
            self.fail(slot, Some(attached.clone()), id, &error);
        }
    }

    fn admitted(&mut self, slot: SlotNo, attached: &Attached, id: RunId, step: u8, since: Mono, result: &Admitted) {
        let Some(run) = self.run(id) else { return };
        match result {
            Admitted::Yes { notes, handshake_at } => {
                self.fact(Fact::CloudSeen {
                    run: id,
                    device: run.device,
                    handshake_at: *handshake_at,
                });
                let outcome = if notes.is_empty() {
                    Outcome::Done
                } else {
                    Outcome::Warned { why: notes.join("; ") }
                };
                self.fact(ended(id, step, attempts(&run, step), outcome, self.now.since(since)));
                self.go_on(slot, attached, id);
            }
            Admitted::No { code, reason } => {
                self.give_up(slot, attached, id, step, since, &StepError::new(*code, reason.clone()))
            }
            Admitted::Failed(Answer::Auth { reason }) => {
                let error = StepError::new(Code::CloudAuth, format!("ask the cloud: {reason}"));
                self.give_up(slot, attached, id, step, since, &error);
            }
            Admitted::Failed(_) => self.ask_later(slot),
        }
    }

    /// A cloud step failed for good before anything was changed.
    pub(super) fn give_up(&mut self, slot: SlotNo, attached: &Attached, id: RunId, step: u8, since: Mono, error: &StepError) {
        self.step_failure(id, step, since, error);
        self.fail(slot, Some(attached.clone()), id, error);
    }

    /// The token is not accepted. A device that was not changed is let go; one whose key was replaced is held.
    pub(super) fn locked_out(&mut self, slot: SlotNo, attached: &Attached, id: RunId, reason: &str) {
        let Slot::AwaitingCloud { step, since, .. } = *self.slot(slot) else {
            return;
        };
        let unchanged = |run: &Run| {
            let kind = run.steps.get(usize::from(step)).map(|s| s.kind);
            // What is only looked at is answered, or not, by itself.
            !run.keys.changed()
                && !matches!(
                    kind,
                    Some(StepKind::Admit | StepKind::Prove | StepKind::Survey | StepKind::Secure | StepKind::GiveBack)
                )
        };
        if self.run(id).is_some_and(|run| unchanged(&run)) {
            let error = StepError::new(Code::CloudAuth, format!("send to the cloud: {reason}"));
            self.give_up(slot, attached, id, step, since, &error);
        }
    }

    pub(super) fn ask_later(&mut self, slot: SlotNo) {
        let now = self.now;
        if let Some(Slot::AwaitingCloud { ask, asked, .. }) = self.rack.slots.get_mut(&slot) {
            *asked += 1;
            *ask = Some(now + pause_before(*asked));
        }
    }

    fn looked(&mut self, slot: SlotNo, attached: &Attached, id: RunId, step: u8, since: Mono, found: &Looked) {
        let Some(run) = self.run(id) else { return };
        let device = match found {
            Looked::Device { device, .. } => device,
            other => {
                self.show(slot, Shown::Nothing(unanswered(other)));
                return self.ask_later(slot);
            }
        };
        let given = Given {
            before: run.handshake_before,
            uploaded: run.keys.accepted.map_or_else(|| held_by_the_cloud(&run), |(_, date)| date),
            key_changed: run.keys.changed(),
        };
        let at = match judge(&given, device) {
            Proof::Proved(at) => at,
            other => {
                let shown = if other == Proof::Resumed {
                    Shown::Resumed
                } else {
                    Shown::NoSession
                };
                self.show(slot, shown);
                return self.ask_later(slot);
            }
        };
        self.fact(Fact::HandshakeSeen {
            run: id,
            device: run.device,
            at,
        });
        self.fact(ended(id, step, attempts(&run, step), Outcome::Done, self.now.since(since)));
        self.go_on(slot, attached, id);
    }

    fn show(&mut self, slot: SlotNo, what: Shown) {
        if let Some(Slot::AwaitingCloud { shown, .. }) = self.rack.slots.get_mut(&slot) {
            *shown = what;
        }
    }

    /// The time to ask again, or the longest time to wait, has come.
    pub(super) fn cloud_deadline(&mut self, slot: SlotNo) {
        let Slot::AwaitingCloud {
            attached,
            run: id,
            step,
            since,
            deadline,
            ask,
            shown,
            ..
        } = self.slot(slot).clone()
        else {
            return;
        };
        let Some(run) = self.run(id) else { return };
        let Some(kind) = run.steps.get(usize::from(step)).map(|s| s.kind) else {
            return;
        };
        let Some(prepared) = self.rack.setting.book.by_hash(run.recipe).cloned() else {
            return;
        };
        if deadline > self.now {
            if ask.is_some_and(|at| at <= self.now) {
                let call = match kind {
                    StepKind::Admit => Call::Admit {
                        run: id,
                        device: run.device,
                        recipe: run.recipe,
                        serviced: run.is_serviced(),
                    },
                    StepKind::Survey => survey(&run, &prepared.recipe),
                    StepKind::Secure => self.secure(&run),
                    _ => Call::Look {
                        about: About::Proof(id),
                        device: run.device,
                        product: self.product_of(&run),
                    },
                };
                self.ask(call);
                if let Some(Slot::AwaitingCloud { ask, .. }) = self.rack.slots.get_mut(&slot) {
                    *ask = None;
                }
            }
            return;
        }
        match kind {
            StepKind::Prove => self.not_proved(
                slot,
                &attached,
                &run,
                step,
                since,
                shown,
                prepared.recipe.platform.row().network,
            ),
            // A device whose valid key was replaced is held until the cloud has answered; so is one that may not be let go.
            StepKind::Register | StepKind::ServiceMode
                if run.keys.overwrote_valid() || (run.keys.changed() && !prepared.recipe.finish_owed) =>
            {
                let longer = self.now + prepared.recipe.timeouts.cloud;
                if let Some(Slot::AwaitingCloud { deadline, .. }) = self.rack.slots.get_mut(&slot) {
                    *deadline = longer;
                }
            }
            // The chain goes on without the device.
            StepKind::GiveBack => {
                let why = "its owner does not have it back yet: that is tried on".to_owned();
                let took = self.now.since(since);
                self.fact(ended(id, step, attempts(&run, step), Outcome::Warned { why }, took));
                self.go_on(slot, &attached, id);
            }
            StepKind::Register if prepared.recipe.finish_owed => {
                let why = "the cloud could not be reached: the key is owed and is sent when it is back".to_owned();
                self.fact(ended(
                    id,
                    step,
                    attempts(&run, step),
                    Outcome::Warned { why },
                    self.now.since(since),
                ));
                self.go_on(slot, &attached, id);
            }
            _ => {
                let (code, what) = match &self.rack.outbox.locked {
                    Some(_) => (Code::CloudAuth, "the token is not accepted"),
                    None => (Code::CloudUnreachable, "no definite answer in time"),
                };
                let error = StepError::new(code, format!("{}: {what}", kind.label()));
                self.give_up(slot, &attached, id, step, since, &error);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one slot state")]
    fn not_proved(
        &mut self,
        slot: SlotNo,
        attached: &Attached,
        run: &Run,
        step: u8,
        since: Mono,
        shown: Shown,
        network: Network,
    ) {
        let without = match network {
            // A device whose key did not change may have resumed the session that it had before (ARCHITECTURE.md 4.6).
            _ if shown == Shown::Resumed => {
                Some("not proved: the key did not change, and the device resumed the session that it had before")
            }
            Network::Mesh => Some("not proved: a mesh device does not connect by itself"),
            // What comes back from the field has its network elsewhere.
            Network::Wifi if shown == Shown::NoSession && run.diagnosis.is_some() && run.joined() != Some(true) => {
                Some("not proved: it was given no Wi-Fi network, and it did not connect by one of its own")
            }
            Network::Wifi | Network::Cellular => None,
        };
        if let Some(why) = without {
            self.fact(ended(
                run.id,
                step,
                attempts(run, step),
                Outcome::Warned { why: why.to_owned() },
                self.now.since(since),
            ));
            return self.go_on(slot, attached, run.id);
        }
        // A device is not to blame for a proof that the cloud could not be asked for.
        let code = if let Shown::Nothing(code) = shown {
            code
        } else {
            Code::NoHandshake
        };
        let than = match run.keys.accepted {
            Some(_) => "the upload",
            None => "the last look at its key",
        };
        let error = StepError::new(code, format!("wait for a handshake newer than {than}"));
        self.give_up(slot, attached, run.id, step, since, &error);
    }
}

/// Where nothing was uploaded a session counts that is newer than the last hold of the device, when its key store was read
/// or written: by the clock of the cloud, which dates sessions, and of which the survey tells how far it is from the
/// station's. It tells whole seconds, so the next one counts.
fn held_by_the_cloud(run: &Run) -> Option<Wall> {
    let Survey::Seen(shown) = run.signs.survey.as_ref()? else {
        return None;
    };
    let since = run.held?.millis() - run.signs.surveyed?.millis();
    Wall::from_millis(shown.at?.millis() + since.max(0) + 1000)
}

/// Why a look that failed says nothing of the device.
fn unanswered(found: &Looked) -> Code {
    match found {
        Looked::Failed(Answer::Auth { .. }) => Code::CloudAuth,
        Looked::Unseen | Looked::Failed(Answer::Refused { .. }) => Code::CloudDenied,
        Looked::Device { .. } | Looked::Failed(_) => Code::CloudUnreachable,
    }
}

fn refusal(kind: StepKind, last: &Option<Answer>) -> StepError {
    match last {
        Some(Answer::Refused { code, reason }) => StepError::new(*code, format!("{}: {reason}", kind.label())),
        _ => StepError::new(Code::CloudRefused, format!("{}: refused", kind.label())),
    }
}
