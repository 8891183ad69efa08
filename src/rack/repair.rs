//! The repair of a device, from its survey to its owner: when a run is diagnosed, what an empty plan means, and the chain
//! that takes a customer's device from its owner and gives it back (ARCHITECTURE.md 4.9). A move to another product is in
//! `moving.rs`.
//!
//! A chain is queued whole, and goes on by itself: no absent device, quit or cut leaves a device without its owner.

use std::sync::Arc;

use crate::{
    edge::Attached,
    model::{
        Code, DeviceId, Diagnosis, Fact, Fingerprint, Mono, Outcome, PublicKey, RunId, SlotNo, StepError, StepKind, Verdict,
        diagnosis::{Flow, Trouble},
        outbox::{Answer, Errand, Item, ItemId, ItemState},
        recipe::{Aim, Recipe, Sha256, Work},
        survey::Survey,
    },
};

use super::{
    diagnose::{self, Findings},
    flow, guard,
    input::Call,
    moving::{old_product, owner},
    packet::Packet,
    run::{Run, StepState},
    slot::Slot,
    turn::{Turn, attempts, ended},
    upload::Entry,
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
            given: run.keys.given.as_ref().map(|key| key.fingerprint),
        };
        let diagnosis = diagnose::diagnose(&findings);
        let mut plan = flow::plan(&findings, &diagnosis);
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
        if !goes_on {
            self.ends_diagnosed(slot, attached, run.id, recipe, &diagnosis);
        }
        goes_on
    }

    /// Nothing may be done here about what was found out: the run ends with that.
    pub(super) fn ends_diagnosed(
        &mut self,
        slot: SlotNo,
        attached: &Attached,
        id: RunId,
        recipe: &Recipe,
        diagnosis: &Diagnosis,
    ) {
        let told = diagnose::work(recipe) == Some(Work::Address);
        match diagnosis.trouble.code().filter(|_| !told) {
            Some(code) => {
                let error = StepError::new(code, diagnosis.to_string());
                self.fail(slot, Some(attached.clone()), id, &error);
            }
            None => self.judge(slot, Some(attached.clone()), id, Verdict::Pass, None, diagnosis.to_string()),
        }
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

    /// The call for what is needed to give the device of a run back.
    pub(super) fn secure(&self, run: &Run) -> Call {
        let moves = run.flow() == Some(Flow::Move);
        Call::Secure {
            run: run.id,
            device: run.device,
            product: if moves { old_product(run) } else { self.product_of(run) },
            owner: owner(run),
            to: moves.then_some(run.recipe),
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
                let error = StepError::new(*code, format!("{doing}: {reason}; the device was not taken"));
                self.give_up(slot, attached, id, step, since, &error);
            }
            Err(_) => self.ask_later(slot),
        }
    }

    /// Nobody waits any more for what is needed to give a device back: the token is revoked and what was kept is destroyed.
    /// The step that asks again has both anew.
    pub(super) fn secured_in_vain(&mut self, id: RunId) {
        if let Some(run) = self.run(id).filter(|run| run.restore.is_none()) {
            let (run, device) = (run.id, run.device);
            let call = Call::EndCustody {
                run,
                device,
                destroy: true,
            };
            self.ask(call);
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
        if run.flow() == Some(Flow::Move) && !self.rack.has_moved(run) {
            self.begin_move(run, recipe, before, key);
            return Ok(());
        }
        self.queue_chain(before, Item::upload(run.id, run.device, self.product_of(run), key));
        Ok(())
    }

    /// Queues what takes a customer's device for an upload and gives it back, or what of it is not under way.
    pub(super) fn queue_chain(&mut self, before: Sha256, upload: Item) {
        let release = ItemId::release(upload.run);
        let claim = self.rack.outbox.get(&ItemId::claim(upload.run));
        if claim.is_none_or(Entry::settled) {
            self.queue(Item {
                id: release.clone(),
                errand: Errand::Release { before },
                ..upload.clone()
            });
        }
        let upload = Item {
            after: Some(release),
            ..upload
        };
        self.queue_upload_and_rest(true, before, upload);
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
            (Errand::Remove { .. }, ItemState::Refused) => self.move_refused(&entry.item),
            (Errand::Import { .. }, ItemState::Refused) if entry.item.after.is_some() => self.move_refused(&entry.item),
            (Errand::Claim { .. }, ItemState::Accepted) => {
                self.chain_again(&entry.item);
                self.confirm_later(&entry.item);
            }
            (Errand::Claim { .. }, ItemState::Refused) => {
                self.withdraw_rest(id, "the device is not its owner's");
            }
            _ => {}
        }
        self.end_custody(id);
    }

    /// A device is back with its owner, and an attempt to release it ended without an answer: that one may still arrive. No
    /// look before can see it, only one some time after.
    fn confirm_later(&mut self, claim: &Item) {
        let Errand::Claim { before } = claim.errand else { return };
        let doubted = self
            .rack
            .outbox
            .get(&ItemId::release(claim.run))
            .is_some_and(|release| release.doubted && release.item.product == claim.product);
        if doubted {
            self.queue(Item {
                id: ItemId::confirm(claim.run),
                errand: Errand::Confirm { before },
                after: Some(claim.id.clone()),
                ..claim.clone()
            });
        }
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

    pub(super) fn withdraw_rest(&mut self, run: RunId, why: &str) {
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
        let Some((device, over)) = self.in_custody(id) else { return };
        let outbox = &self.rack.outbox;
        let begun = [ItemId::release(id), ItemId::remove(id)]
            .iter()
            .any(|item| outbox.get(item).is_some());
        let open = |late: bool| {
            outbox
                .of(id)
                .any(|entry| entry.item.after.is_some() && !entry.settled() && entry.item.errand.is_late() == late)
        };
        if open(false) || !begun && !over {
            return;
        }
        // What is kept is kept until the last look; no token is.
        let destroy = !self.rack.is_lost(id) && !open(true);
        if destroy {
            self.fact(Fact::RestoreDestroyed { run: id, device });
        }
        let run = id;
        self.ask(Call::EndCustody { run, device, destroy });
    }

    /// The device of the run or the packet with this id, while there is something to give it back; and whether that has
    /// its end.
    fn in_custody(&self, id: RunId) -> Option<(DeviceId, bool)> {
        let of_packet = |packet: &Arc<Packet>| packet.restore.map(|_| (packet.device, packet.end.is_some()));
        match self.rack.packets.get(&id) {
            Some(packet) => of_packet(packet),
            None => self
                .run(id)
                .filter(|run| run.restore.is_some())
                .map(|run| (run.device, run.ended())),
        }
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
        let vague = |entry: &Entry| {
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
            (claim, Some(restore)) if claim.is_none_or(Entry::settled) && restore.settled() => match &restore.last {
                Some(Answer::Refused { reason, .. }) => Outcome::Warned {
                    why: format!("it is back; {reason}"),
                },
                // Groups do not follow a device to another product: that they were put back is nothing new there.
                Some(Answer::Accepted { note: Some(note), .. }) if run.flow() != Some(Flow::Move) => {
                    Outcome::Warned { why: note.clone() }
                }
                _ => Outcome::Done,
            },
            (None, None) => Outcome::Skipped {
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

/// The look that decides a repair.
pub(super) fn survey(run: &Run, recipe: &Recipe) -> Call {
    let from = match &recipe.aim {
        Aim::Repair(repair) => repair.from.clone(),
        Aim::Provision => Vec::new(),
    };
    Call::Survey {
        run: run.id,
        device: run.device,
        product: recipe.product.clone(),
        from,
    }
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
