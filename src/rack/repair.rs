//! The repair of a device, from its survey to its owner: when a run is diagnosed, what an empty plan means, and the chain
//! that takes a customer's device from its owner and gives it back (ARCHITECTURE.md 4.9).
//!
//! A chain is queued whole, and goes on by itself: no absent device, quit or cut leaves a device without its owner.

use crate::{
    edge::Attached,
    model::{
        Code, Fact, Fingerprint, Mono, Outcome, PublicKey, RunId, SlotNo, StepError, StepKind, Verdict,
        diagnosis::{Flow, Trouble},
        outbox::{Answer, Errand, Item, ItemId, ItemState},
        recipe::{Recipe, Sha256, Work},
        survey::Survey,
    },
};

use super::{
    Effect,
    diagnose::{self, Findings},
    guard,
    input::Call,
    run::{Run, StepState},
    slot::Slot,
    turn::{Turn, attempts, ended},
};

impl Turn {
    /// All was found out: the diagnosis goes on record with the steps that follow from it. Tells whether the run goes on.
    pub(super) fn diagnosed(&mut self, slot: SlotNo, attached: &Attached, run: &Run, recipe: &Recipe) -> bool {
        let (Some(survey), Some(content)) = (&run.signs.survey, &run.keys.read) else {
            let error = StepError::new(Code::Internal, "diagnose the device: something was not found out");
            self.fail(slot, Some(attached.clone()), run.id, &error);
            return false;
        };
        let findings = Findings {
            recipe,
            survey,
            cloud: run.signs.cloud.as_ref(),
            content,
            server: run.signs.server.as_ref(),
            accepted: run.keys.accepted_before,
        };
        let diagnosis = diagnose::diagnose(&findings);
        let mut plan = diagnose::plan(&findings, &diagnosis);
        if run.is_serviced() {
            plan = guard::leave(plan);
        }
        let goes_on = !plan.is_empty();
        self.fact(Fact::Diagnosed {
            run: run.id,
            device: run.device,
            diagnosis: diagnosis.clone(),
            product: diagnose::product(recipe, survey),
            plan,
        });
        if goes_on {
            return true;
        }
        let told = diagnose::work(recipe) == Some(Work::Address);
        match diagnosis.trouble.code().filter(|_| !told) {
            Some(code) => {
                let error = StepError::new(code, diagnosis.to_string());
                self.fail(slot, Some(attached.clone()), run.id, &error);
            }
            None => self.judge(
                slot,
                Some(attached.clone()),
                run.id,
                Verdict::Pass,
                None,
                diagnosis.to_string(),
            ),
        }
        false
    }

    /// The cloud said all that decides a repair.
    pub(super) fn surveyed(&mut self, slot: SlotNo, attached: &Attached, id: RunId, step: u8, since: Mono, survey: &Survey) {
        let Some(run) = self.run(id) else { return };
        match survey {
            Survey::Failed(Answer::Auth { reason }) => {
                let error = StepError::new(Code::CloudAuth, format!("ask the cloud: {reason}"));
                self.give_up(slot, attached, id, step, since, &error);
            }
            Survey::Failed(Answer::Refused { code, reason }) => {
                self.give_up(slot, attached, id, step, since, &StepError::new(*code, reason.clone()));
            }
            Survey::Failed(_) => self.ask_later(slot),
            Survey::Seen(_) | Survey::Unseen => {
                self.fact(Fact::Surveyed {
                    run: id,
                    device: run.device,
                    survey: survey.clone(),
                });
                self.fact(ended(id, step, attempts(&run, step), Outcome::Done, self.now.since(since)));
                self.go_on(slot, attached, id);
            }
        }
    }

    /// What is needed to give the device back is there, or is not: then it is not taken.
    pub(super) fn secured(
        &mut self,
        slot: SlotNo,
        attached: &Attached,
        id: RunId,
        step: u8,
        since: Mono,
        result: &Result<Sha256, Answer>,
    ) {
        let Some(run) = self.run(id) else { return };
        match result {
            Ok(sha256) => {
                self.fact(Fact::RestoreSealed {
                    run: id,
                    device: run.device,
                    sha256: *sha256,
                });
                self.fact(ended(id, step, attempts(&run, step), Outcome::Done, self.now.since(since)));
                self.go_on(slot, attached, id);
            }
            Err(Answer::Auth { reason }) => {
                let error = StepError::new(Code::CloudAuth, format!("ask the cloud: {reason}"));
                self.give_up(slot, attached, id, step, since, &error);
            }
            Err(Answer::Refused { code, reason }) => {
                let doing = StepKind::Secure.label();
                let error = StepError::new(*code, format!("{doing}: {reason}; the device was not taken from its owner"));
                self.give_up(slot, attached, id, step, since, &error);
            }
            Err(_) => self.ask_later(slot),
        }
    }

    /// Queues the whole chain around the upload of a customer's device, or what of it is not under way: the key that is
    /// to go in the middle of it may be another one than at first.
    pub(super) fn begin_chain(&mut self, run: &Run, recipe: &Recipe, key: PublicKey) -> Result<(), StepError> {
        let lost = || {
            StepError::new(
                Code::RestoreLost,
                "begin the chain: what the device must get back is not kept",
            )
        };
        let before = run.restore.ok_or_else(lost)?;
        let product = run.product.clone().or_else(|| recipe.product.clone());
        let item = |id, errand, after| Item {
            id,
            run: run.id,
            device: run.device,
            product: product.clone(),
            errand,
            after,
        };
        let release = ItemId::release(run.id);
        let upload = ItemId::key(run.id, key.fingerprint);
        let claim = self.rack.outbox.get(&ItemId::claim(run.id));
        if claim.is_none_or(super::upload::Entry::settled) {
            self.queue(item(release.clone(), Errand::Release { before }, None));
        }
        self.queue(item(upload.clone(), Errand::Key { key }, Some(release)));
        self.queue(item(ItemId::claim(run.id), Errand::Claim { before }, Some(upload)));
        self.queue(item(
            ItemId::restore(run.id),
            Errand::Restore { before },
            Some(ItemId::claim(run.id)),
        ));
        Ok(())
    }

    /// What the answer to an item means for the rest of its chain, in the same turn.
    pub(super) fn chain(&mut self, item: &ItemId) {
        let Some(entry) = self.rack.outbox.get(item).filter(|entry| entry.settled()).cloned() else {
            return;
        };
        let id = entry.item.run;
        match (&entry.item.errand, entry.state) {
            (Errand::Release { .. }, ItemState::Refused | ItemState::Withdrawn) => {
                self.withdraw_rest(id, "the device was not released: nothing was changed");
            }
            (Errand::Claim { .. }, ItemState::Accepted) => self.chain_again(&entry.item),
            (Errand::Claim { .. }, ItemState::Refused) => {
                self.withdraw_rest(id, "the device is not its owner's");
            }
            _ => {}
        }
        self.end_custody(id);
    }

    /// A device is back with its owner, and a key of it came too late for its chain: it was asked for while the claim was
    /// under way. It goes in another chain.
    fn chain_again(&mut self, claim: &Item) {
        let release = ItemId::release(claim.run);
        let late = self.rack.outbox.open().find(|entry| {
            entry.item.run == claim.run && entry.item.after.as_ref() == Some(&release) && entry.state == ItemState::Queued
        });
        let Some(after) = late.map(|entry| entry.item.id.clone()) else {
            return;
        };
        if let Some(release) = self.rack.outbox.get(&release).map(|entry| entry.item.clone()) {
            self.queue(release);
        }
        self.queue(Item {
            after: Some(after),
            ..claim.clone()
        });
    }

    fn withdraw_rest(&mut self, run: RunId, why: &str) {
        let rest: Vec<_> = self
            .rack
            .outbox
            .open()
            .filter(|e| e.item.run == run && e.item.after.is_some() && e.state != ItemState::Sent)
            .map(|e| e.item.id.clone())
            .collect();
        for item in rest {
            self.fact(Fact::ItemWithdrawn {
                item,
                why: why.to_owned(),
            });
        }
    }

    /// Nothing of a chain is open any more: the customer's token is revoked, and what was kept to give the device back is
    /// destroyed unless a person still needs it.
    pub(super) fn end_custody(&mut self, id: RunId) {
        let Some(run) = self.run(id).filter(|run| run.restore.is_some()) else {
            return;
        };
        let open = |entry: &super::upload::Entry| entry.item.run == id && entry.item.after.is_some();
        let claim = self.rack.outbox.get(&ItemId::claim(id)).map(|claim| claim.state);
        if self.rack.outbox.open().any(open) || claim.is_none() && !run.ended() {
            return;
        }
        let destroy = claim != Some(ItemState::Refused);
        let device = run.device;
        if destroy {
            self.fact(Fact::RestoreDestroyed { run: id, device });
        }
        let run = id;
        self.effects.push(Effect::Call(Call::EndCustody { run, device, destroy }));
    }

    /// Ends the step that waits for the device to be its owner's again, if that can be told by now.
    pub(super) fn given_back(&mut self, slot: SlotNo, attached: &Attached) {
        let Slot::AwaitingCloud {
            run: id, step, since, ..
        } = *self.slot(slot)
        else {
            return;
        };
        let Some(run) = self.run(id) else { return };
        if run.steps.get(usize::from(step)).map(|s| s.kind) != Some(StepKind::GiveBack) {
            return;
        }
        let outbox = &self.rack.outbox;
        let (claim, restore) = (outbox.get(&ItemId::claim(id)), outbox.get(&ItemId::restore(id)));
        let vague = |entry: &super::upload::Entry| {
            matches!(
                &entry.last,
                Some(Answer::Refused {
                    code: Code::ClaimVague,
                    ..
                })
            )
        };
        let last = !run.steps[usize::from(step) + 1..]
            .iter()
            .any(|s| s.kind == StepKind::GiveBack);
        let outcome = match (claim, restore) {
            (Some(claim), _) if claim.state == ItemState::Refused => {
                return self.claim_lost(slot, attached, &run, step, since);
            }
            (Some(claim), _) if !claim.settled() && vague(claim) && !last => Outcome::Warned {
                why: "the cloud gives it back when it is online: it is started first".to_owned(),
            },
            (Some(claim), Some(restore)) if claim.settled() && restore.settled() => match &restore.last {
                Some(Answer::Refused { reason, .. }) => Outcome::Warned {
                    why: format!("its owner has it again; {reason}"),
                },
                Some(Answer::Accepted { note: Some(note), .. }) => Outcome::Warned { why: note.clone() },
                _ => Outcome::Done,
            },
            (None, _) => Outcome::Skipped {
                why: "it was not taken from its owner".to_owned(),
            },
            _ => return,
        };
        self.fact(ended(id, step, attempts(&run, step), outcome, self.now.since(since)));
        self.go_on(slot, attached, id);
    }

    /// Somebody else has the device by now: an alarm, never a request for its transfer.
    pub(super) fn claim_lost(&mut self, slot: SlotNo, attached: &Attached, run: &Run, step: u8, since: Mono) {
        let last = self
            .rack
            .outbox
            .get(&ItemId::claim(run.id))
            .and_then(|claim| claim.last.clone());
        let why = match last {
            Some(Answer::Refused { reason, .. }) => reason,
            _ => "refused".to_owned(),
        };
        let error = StepError::new(Code::ClaimLost, format!("{}: {why}", StepKind::GiveBack.label()));
        self.step_failure(run.id, step, since, &error);
        self.judge(
            slot,
            Some(attached.clone()),
            run.id,
            Verdict::Quarantined,
            Some(Code::ClaimLost),
            error.to_string(),
        );
    }
}

/// The item after which the upload of a new key of a run may go: the release of a customer's device.
pub(super) fn uploads_after(run: &Run) -> Option<ItemId> {
    (run.flow() == Some(Flow::Customer)).then(|| ItemId::release(run.id))
}

/// True if a run that only looked, or changed nothing about its key, may pass without an upload.
pub(super) fn is_keyless(run: &Run) -> bool {
    run.step(StepKind::SignPacket).is_some()
        || run
            .diagnosis
            .as_ref()
            .is_some_and(|diagnosis| diagnosis.flow == Some(Flow::ServerKey) || diagnosis.trouble == Trouble::Nothing)
            && run.step(StepKind::Register).is_none()
}

/// The upload of the key that a run last asked for, if its step failed or waits.
pub(super) fn upload_of(run: &Run) -> Option<ItemId> {
    let present: Fingerprint = run.keys.present()?;
    let asked = run.step(StepKind::Register)?;
    matches!(asked.state, StepState::Started).then(|| ItemId::key(run.id, present))
}
