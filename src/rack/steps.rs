//! What a run does next.

use std::{sync::Arc, time::Duration};

use crate::{
    edge::Attached,
    model::{
        Code, Fact, Mono, Outcome, ProductId, PublicKey, RunId, SlotNo, StepError, StepKind,
        diagnosis::Flow,
        key::SlotContent,
        outbox::{Errand, Item, ItemId, ItemState},
        platform::UsbMode,
        recipe::{KeyPolicy, Recipe},
        step::Hand,
    },
};

use super::{
    Order, Work, diagnose,
    input::Call,
    proof::pause_before,
    repair::survey,
    run::{Run, StepState},
    slot::{Doing, Shown, Slot},
    turn::{Turn, begun, mode_of},
};

/// What to do about a step before it begins.
enum Before {
    Go,
    Skip(String),
}

impl Turn {
    /// Takes the run in this slot to its next step, or to its end.
    pub(super) fn go_on(&mut self, slot: SlotNo, attached: &Attached, id: RunId) {
        loop {
            let Some(run) = self.run(id) else { return };
            let Some(prepared) = self.rack.setting.book.by_hash(run.recipe).cloned() else {
                return;
            };
            let recipe = &prepared.recipe;
            // What waits for the verdict was under way when the device had to change its mode.
            if self.rack.sentences.contains_key(&id) {
                return self.conclude(slot, attached, id);
            }
            // A cut came between a diagnosis that ends the run and its verdict, for which the device was being protected.
            if let Some(diagnosis) = run.diagnosis.as_ref().filter(|_| run.only_looks()) {
                return self.ends_diagnosed(slot, attached, id, recipe, diagnosis);
            }
            let waits = run.awaits_service();
            if self.must_roll_back(&run) && !waits {
                return self.roll_back(slot, attached, &run, 1);
            }
            // A cut may have come between the old key and the verdict; it was read again since.
            let reads = waits || run.next().is_some_and(|(_, step)| step.kind == StepKind::ReadKey);
            if run.keys.restored && !reads && run.keys.holds_old() {
                return self.rolled_back(slot, Some(attached.clone()), &run);
            }
            let Some((index, step)) = run.next() else {
                if run.only_protects() {
                    return self.set_aside(slot, attached, id);
                }
                if diagnose::is_due(recipe, &run) {
                    match self.diagnosed(slot, attached, &run, recipe) {
                        true => continue,
                        false => return,
                    }
                }
                return self.complete(slot, attached, &run);
            };
            let owed = self.rack.outbox.owes(id);
            if let Before::Skip(why) = before(&run, step.kind, recipe, mode_of(attached), owed) {
                let attempt = self.begin_step(&run, index);
                self.fact(Fact::StepEnded {
                    run: id,
                    step: index,
                    attempt,
                    outcome: Outcome::Skipped { why },
                    took_ms: 0,
                });
                continue;
            }
            let present = mode_of(attached);
            if let Some(mode) = step.kind.needs().filter(|mode| present != Some(*mode)) {
                return self.change(slot, attached, id, mode, 1);
            }
            return match step.kind.hand() {
                Hand::Worker => self.begin_work(slot, attached, &run, index, step.kind, recipe),
                Hand::Cloud => self.begin_cloud(slot, attached, &run, index, step.kind, recipe),
            };
        }
    }

    /// Puts on record that a step begins, and returns the number of the attempt.
    pub(super) fn begin_step(&mut self, run: &Run, step: u8) -> u8 {
        let begun = run.steps.get(usize::from(step)).map_or(0, |s| s.attempts);
        let attempt = begun.saturating_add(1);
        self.fact(Fact::StepStarted {
            run: run.id,
            step,
            attempt,
        });
        attempt
    }

    /// Has the worker bring the device into a mode.
    pub(super) fn change(&mut self, slot: SlotNo, attached: &Attached, run: RunId, to: UsbMode, tries: u8) {
        let Some((device, guarded)) = self.run(run).map(|run| (run.device, run.is_serviced() || run.open)) else {
            return;
        };
        let ticket = self.ticket(run);
        let order = Order::Change {
            ticket,
            attached: attached.clone(),
            device,
            to,
            guarded,
        };
        self.order(slot, attached, ticket, Doing::Change { to, tries }, CHANGE_MODE, order);
    }

    fn begin_work(&mut self, slot: SlotNo, attached: &Attached, run: &Run, index: u8, kind: StepKind, recipe: &Arc<Recipe>) {
        let resumed = begun(run, index);
        self.begin_step(run, index);
        let limit = match kind {
            StepKind::Flash { .. } | StepKind::Update { .. } => recipe.timeouts.flash,
            // It waits for the cloud.
            StepKind::ServiceMode => recipe.timeouts.step + recipe.timeouts.cloud,
            _ => recipe.timeouts.step,
        };
        self.work(slot, attached, run, kind, resumed, Doing::Step(index), limit);
    }

    /// True if the cloud refused the new key for good, nothing about it is ambiguous, and there is a valid old one.
    pub(super) fn must_roll_back(&self, run: &Run) -> bool {
        // Not by what is known to be written: a cut may have torn the write that puts the old key back.
        let Some(key) = &run.keys.intended else { return false };
        let refused = self
            .rack
            .outbox
            .get(&ItemId::key(run.id, key.fingerprint))
            .is_some_and(|e| e.state == ItemState::Refused && !e.ambiguous);
        refused && run.keys.overwrote_valid() && !run.keys.restored
    }

    /// Puts the old key back: a step that no plan announces.
    pub(super) fn roll_back(&mut self, slot: SlotNo, attached: &Attached, run: &Run, tries: u8) {
        let doing = Doing::RollBack { tries };
        match mode_of(attached) {
            Some(UsbMode::Dfu) => self.work(slot, attached, run, StepKind::RollBack, tries > 1, doing, CHANGE_MODE),
            _ => self.change(slot, attached, run.id, UsbMode::Dfu, 1),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a worker needs, once")]
    pub(super) fn work(
        &mut self,
        slot: SlotNo,
        attached: &Attached,
        run: &Run,
        kind: StepKind,
        resumed: bool,
        doing: Doing,
        limit: Duration,
    ) {
        let ticket = self.ticket(run.id);
        let work = Work {
            run: run.id,
            device: run.device,
            slot,
            station: self.rack.setting.station.clone(),
            kind,
            recipe: run.recipe,
            product: match kind {
                StepKind::ServiceMode => self.place_of(run),
                _ => self.product_of(run),
            },
            after: self.rack.uploads_after(run),
            keys: run.keys.clone(),
            serviced: run.is_serviced(),
            resumed,
        };
        let order = Order::Step {
            ticket,
            attached: attached.clone(),
            work: Box::new(work),
        };
        self.order(slot, attached, ticket, doing, limit, order);
    }

    fn begin_cloud(&mut self, slot: SlotNo, attached: &Attached, run: &Run, index: u8, kind: StepKind, recipe: &Arc<Recipe>) {
        if run.steps[usize::from(index)].state != StepState::Started {
            self.begin_step(run, index);
        }
        let limit = if kind == StepKind::Prove {
            recipe.timeouts.handshake
        } else {
            recipe.timeouts.cloud
        };
        let ask = (kind == StepKind::Prove).then_some(self.now + pause_before(0));
        self.wait_for_cloud(slot, attached, run.id, index, limit, ask);
        match kind {
            StepKind::Admit => {
                self.ask(Call::Admit {
                    run: run.id,
                    device: run.device,
                    recipe: run.recipe,
                    serviced: run.is_serviced(),
                });
            }
            StepKind::Survey => {
                self.ask(survey(run, recipe));
            }
            StepKind::Secure => {
                let call = self.secure(run);
                self.ask(call);
            }
            StepKind::GiveBack => self.given_back(slot, attached),
            StepKind::Enrol => {
                let item = Item {
                    id: ItemId::import(run.id),
                    run: run.id,
                    device: run.device,
                    product: self.product_of(run),
                    errand: Errand::Import {
                        activate_sim: recipe.activate_sim,
                    },
                    after: None,
                };
                self.owe(slot, attached, item);
            }
            StepKind::RegisterPresent | StepKind::Register => {
                let Some(key) = present_key(run) else {
                    return self.fail(slot, Some(attached.clone()), run.id, &no_key(run, kind));
                };
                if self.rack.uploads_after(run).is_some() {
                    return self.register_between(slot, attached, run, recipe, key);
                }
                self.owe(slot, attached, Item::upload(run.id, run.device, self.product_of(run), key));
            }
            _ => {}
        }
    }

    /// Holds the device as it is until the cloud has answered.
    pub(super) fn wait_for_cloud(
        &mut self,
        slot: SlotNo,
        attached: &Attached,
        run: RunId,
        step: u8,
        limit: Duration,
        ask: Option<Mono>,
    ) {
        self.set(
            slot,
            Slot::AwaitingCloud {
                attached: attached.clone(),
                run,
                step,
                since: self.now,
                deadline: self.now + limit,
                ask,
                asked: 0,
                shown: Shown::Nothing(Code::CloudUnreachable),
            },
        );
    }

    /// Registers the key of a device that is taken for it: between its release or its move and its claim.
    fn register_between(&mut self, slot: SlotNo, attached: &Attached, run: &Run, recipe: &Recipe, key: PublicKey) {
        let upload = ItemId::key(run.id, key.fingerprint);
        match self.rack.outbox.get(&upload).map(|entry| entry.state) {
            Some(ItemState::Accepted) if run.keys.agreed() => self.settled(slot, attached, &upload),
            Some(ItemState::Refused) => self.settled(slot, attached, &upload),
            _ => {
                if let Err(error) = self.begin_chain(run, recipe, key) {
                    self.fail(slot, Some(attached.clone()), run.id, &error);
                }
            }
        }
    }

    /// The product of a run: that of its diagnosis, else that of its recipe.
    pub(super) fn product_of(&self, run: &Run) -> Option<ProductId> {
        let recipe = self.rack.setting.book.by_hash(run.recipe).map(|prepared| &prepared.recipe);
        let surveyed = || diagnose::product(recipe?, run.signs.survey.as_ref()?);
        run.product.clone().or_else(|| recipe?.product.clone()).or_else(surveyed)
    }

    /// Puts an item in the outbox, or takes up the one that is there since before a cut.
    fn owe(&mut self, slot: SlotNo, attached: &Attached, item: Item) {
        // An upload that was accepted counts only until another key of the device went out.
        let superseded = matches!(item.errand, Errand::Key { .. }) && !self.run(item.run).is_some_and(|run| run.keys.agreed());
        match self.rack.outbox.get(&item.id).map(|entry| entry.state) {
            Some(ItemState::Accepted) if superseded => self.queue(item),
            Some(ItemState::Accepted | ItemState::Refused) => self.settled(slot, attached, &item.id),
            Some(ItemState::Held | ItemState::Queued | ItemState::Sent) => {}
            Some(ItemState::Withdrawn) | None => match self.rack.outbox.locked.clone() {
                Some(reason) if self.run(item.run).is_some_and(|run| !run.keys.changed()) => {
                    self.locked_out(slot, attached, item.run, &reason);
                }
                _ => self.queue(item),
            },
        }
    }
}

/// The public key that the device holds, with its bytes.
fn present_key(run: &Run) -> Option<PublicKey> {
    let present = run.keys.present()?;
    let read = run.keys.read.as_ref().and_then(SlotContent::key);
    read.into_iter()
        .chain(run.keys.intended.as_ref())
        .find(|key| key.fingerprint == present)
        .cloned()
}

/// Why there is no key to register. A recheck does not make one; a new run of the recipe does.
fn no_key(run: &Run, kind: StepKind) -> StepError {
    let code = match &run.keys.read {
        Some(SlotContent::Blank) => Code::KeyBlank,
        Some(SlotContent::Corrupt { .. }) => Code::KeyCorrupt,
        Some(SlotContent::Unreadable { .. }) => Code::KeyUnreadable,
        Some(SlotContent::Valid { .. }) | None => Code::Internal,
    };
    StepError::new(code, format!("{}: no key was read", kind.label()))
}

/// Whether a step is needed at all, on evidence of this run.
fn before(run: &Run, kind: StepKind, recipe: &Recipe, mode: Option<UsbMode>, owed: bool) -> Before {
    let read = run.keys.read.as_ref();
    let accepted = run
        .keys
        .accepted
        .is_some_and(|(accepted, _)| run.keys.present() == Some(accepted));
    match kind {
        StepKind::RegisterPresent => match read {
            Some(content) if content.key().is_none() => {
                Before::Skip(format!("the key slot is {}: there is no present key", content.word()))
            }
            _ if run.keys.intended.is_some() => Before::Skip("a new key is already on its way".to_owned()),
            _ if accepted => Before::Skip("the cloud accepted this key earlier in this run".to_owned()),
            _ => Before::Go,
        },
        StepKind::Rekey => match (recipe.keys, read) {
            // Something was begun: the step itself finds out what became of it.
            _ if run.keys.intended.is_some() && run.keys.written.is_none() => Before::Go,
            _ if run.keys.written.is_some() => Before::Go,
            (KeyPolicy::ReadOrGenerate, Some(SlotContent::Valid { key, layout }))
                if *layout != crate::model::key::KeyLayout::MisreadByDevice =>
            {
                Before::Skip(format!("the device holds a valid {} key", key.kind))
            }
            _ => Before::Go,
        },
        StepKind::Register => match run.keys.present() {
            _ if accepted => Before::Skip("the cloud accepted this key earlier in this run".to_owned()),
            Some(key) if run.keys.accepted_before == Some(key) && may_rely_on_ledger(run) => {
                Before::Skip("the cloud accepted this key in an earlier run".to_owned())
            }
            _ => Before::Go,
        },
        StepKind::Question if mode != Some(UsbMode::Normal) => Before::Skip("the device is not running".to_owned()),
        StepKind::ForgetNetwork if run.joined() == Some(false) => {
            Before::Skip("the bench network was not given to it".to_owned())
        }
        StepKind::Prove if owed => Before::Skip("the key is still owed to the cloud: there is nothing to prove yet".to_owned()),
        StepKind::Boot if mode == Some(UsbMode::Normal) => Before::Skip("the application is already running".to_owned()),
        _ => Before::Go,
    }
}

/// True if a key that the cloud accepted in an earlier run need not be registered again: the device passed under this
/// recipe, or the same pair is written in another layout.
fn may_rely_on_ledger(run: &Run) -> bool {
    let begun_anew = run.steps.iter().any(|s| matches!(s.kind, StepKind::Admit | StepKind::Survey));
    !begun_anew || matches!(run.flow(), Some(Flow::Rewrite | Flow::Restore))
}

/// A change of mode is one request and its answer; the return of the device has its own limit.
const CHANGE_MODE: Duration = Duration::from_secs(60);
