//! The guard of a protected device: where its Service Mode begins and ends in a run, how it is lost, and how it is ended on
//! every way out (device-protocol.md 2.9).
//!
//! The way in stands right before the first step that touches the device, and after the import: the cloud opens a device for
//! whoever has it in a product. The way out stands right after the last step that touches it, because a protected device
//! tells nothing of its modules and takes no network; what the cloud proves then is the device as it leaves. Nothing in
//! between cuts the power of the device. Restarts are counted by it: where a recipe needs more than twenty, Service Mode is
//! lost and entered again, like any other loss. On any other way out the device is protected again before the verdict, and where
//! that is not seen the verdict is an alarm.

use crate::{
    edge::Attached,
    model::{
        Code, Fact, Mono, RunId, SlotNo, StepError, StepKind, Verdict,
        fact::{Identity, Protection},
        outbox::{ItemId, ItemState},
        recipe::{ProtectedPolicy, Recipe},
        step::Hand,
    },
};

use super::{
    Known,
    run::{Run, StepState},
    slot::Doing,
    turn::{TRIES, Turn},
};

/// What a newcomer's protection means for its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// It has none.
    None,
    /// It is set aside.
    Aside {
        /// It is in Service Mode, or may be: that is ended first.
        open: bool,
    },
    /// It is let into Service Mode.
    Serviced {
        /// As above.
        open: bool,
    },
}

impl Guard {
    /// By what the device shows, and what the ledger knows of it.
    pub(super) fn of(identity: &Identity, known: &Known, recipe: &Recipe) -> Self {
        let open = identity.protection == Protection::Service || known.unprotected && identity.protection == Protection::Open;
        match (identity.protection, recipe.protected) {
            (Protection::Open, _) if !open => Self::None,
            (_, ProtectedPolicy::SetAside) => Self::Aside { open },
            (_, ProtectedPolicy::ServiceMode) => Self::Serviced { open },
        }
    }

    /// The plan for the device, from that for one without protection. `whole` unless more steps come with a diagnosis.
    pub(super) fn plan(self, plan: Vec<StepKind>, whole: bool) -> Vec<StepKind> {
        match self {
            Self::None | Self::Aside { open: false } => plan,
            Self::Aside { open: true } => vec![StepKind::ProtectAgain],
            Self::Serviced { open } => {
                let plan = enter(if whole { leave(plan) } else { plan });
                let first = open.then_some(StepKind::ProtectAgain);
                first.into_iter().chain(plan).collect()
            }
        }
    }
}

/// Puts the way in before the first step of the worker.
fn enter(mut plan: Vec<StepKind>) -> Vec<StepKind> {
    let at = plan.iter().position(touches).unwrap_or(plan.len());
    plan.insert(at, StepKind::ServiceMode);
    plan
}

/// Puts the way out after the last step of the worker.
pub(super) fn leave(mut plan: Vec<StepKind>) -> Vec<StepKind> {
    if let Some(last) = plan.iter().rposition(touches) {
        plan.insert(last + 1, StepKind::ProtectAgain);
    }
    plan
}

fn touches(kind: &StepKind) -> bool {
    kind.hand() == Hand::Worker
}

impl Run {
    /// True if its device is a protected one that it lets into Service Mode.
    pub(super) fn is_serviced(&self) -> bool {
        self.step(StepKind::ServiceMode).is_some()
    }

    /// True if the device has to be let into Service Mode before anything else is done with it.
    pub(super) fn awaits_service(&self) -> bool {
        self.step(StepKind::ServiceMode)
            .is_some_and(|step| !matches!(step.state, StepState::Ended(_)))
    }

    /// True if it does nothing to the device but to look at it, and to open it for that.
    pub(super) fn only_looks(&self) -> bool {
        use StepKind::{Examine, ProtectAgain, Question, ServiceMode, Survey};
        let looks = |kind| matches!(kind, Survey | ServiceMode | Question | Examine | ProtectAgain);
        self.steps.iter().all(|step| looks(step.kind))
    }

    /// True if its recipe sets the device aside, and it was only met in Service Mode.
    pub(super) fn only_protects(&self) -> bool {
        self.steps.iter().all(|step| step.kind == StepKind::ProtectAgain) && !self.steps.is_empty()
    }
}

impl Turn {
    /// The device is set aside for its protection.
    pub(super) fn set_aside(&mut self, slot: SlotNo, attached: &Attached, id: RunId) {
        let Some(run) = self.run(id) else { return };
        let what = if run.only_protects() {
            "the device was in Service Mode and is protected again; nothing else on it was read or changed"
        } else {
            "the device is protected; nothing on it was read or changed"
        };
        let why = format!("{what}, because the recipe sets protected devices aside ({HOW})");
        self.judge(slot, Some(attached.clone()), id, Verdict::Fail, Some(Code::Protected), why);
    }

    /// What a failure means: a device that is protected after it was let into Service Mode has lost that.
    pub(super) fn as_service_lost(&self, id: RunId, doing: Doing, error: &StepError) -> Option<StepError> {
        let run = self.run(id)?;
        let kind = match doing {
            Doing::Step(step) => Some(run.steps.get(usize::from(step))?.kind),
            _ => None,
        };
        let entering = matches!(kind, Some(StepKind::ServiceMode | StepKind::ProtectAgain)) || doing.protects();
        (error.code == Code::Protected && run.is_serviced() && !entering && !run.awaits_service()).then(|| StepError {
            code: Code::ServiceLost,
            ..error.clone()
        })
    }

    /// Service Mode was found lost between two steps: the next one failed before it began.
    pub(super) fn service_lost_between(&mut self, slot: SlotNo, attached: Attached, id: RunId, since: Mono, error: &StepError) {
        let Some(run) = self.run(id) else { return };
        match run.next() {
            Some((index, _)) => {
                self.begin_step(&run, index);
                self.step_failed(slot, Some(attached), id, index, since, error);
            }
            None => self.fail(slot, Some(attached), id, error),
        }
    }

    /// The cloud does not know the new key with which a protected device signs: it will when its upload is through. The device
    /// waits for that, as protected as it is.
    pub(super) fn wait_for_upload(&mut self, slot: SlotNo, attached: &Attached, id: RunId, step: u8, since: Mono) {
        let Some(run) = self.run(id) else { return };
        let Some(prepared) = self.rack.setting.book.by_hash(run.recipe) else {
            return;
        };
        let upload = run.keys.present().and_then(|key| self.rack.outbox.get(&ItemId::key(id, key)));
        let state = upload.map(|upload| upload.state);
        if matches!(state, Some(ItemState::Queued | ItemState::Sent)) {
            let limit = prepared.recipe.timeouts.cloud;
            return self.wait_for_cloud(slot, attached, id, step, limit, None);
        }
        let doing = StepKind::ServiceMode.label();
        let error = StepError::new(
            Code::ServiceKeyUnknown,
            format!("{doing}: the cloud does not know the new key"),
        );
        self.step_failure(id, step, since, &error);
        let failures = self.run(id).map_or(TRIES, |run| run.steps[usize::from(step)].failures);
        match state {
            // It came to know it meanwhile.
            Some(ItemState::Accepted) if failures < TRIES => self.go_on(slot, attached, id),
            _ => self.fail(slot, Some(attached.clone()), id, &error),
        }
    }

    /// Has the device protected again before the verdict: an order that no plan announces.
    pub(super) fn protect(&mut self, slot: SlotNo, attached: &Attached, run: &Run, tries: u8) {
        let Some(prepared) = self.rack.setting.book.by_hash(run.recipe) else {
            return self.pronounce_sentence(slot, Some(attached.clone()), run.id);
        };
        let limit = prepared.recipe.timeouts.step;
        let doing = Doing::Protect { tries };
        self.work(slot, attached, run, StepKind::ProtectAgain, false, doing, limit);
    }

    /// The device could not be protected again: once more, if that may help; else its verdict says so.
    pub(super) fn protect_failed(&mut self, slot: SlotNo, attached: Attached, id: RunId, tries: u8, error: &StepError) {
        match self.run(id) {
            Some(run) if error.transient() && tries < TRIES => self.protect(slot, &attached, &run, tries + 1),
            _ => {
                self.add_to_sentence(id, &error.to_string());
                self.pronounce_sentence(slot, Some(attached), id);
            }
        }
    }

    /// The verdict of a run whose device may be open to everybody, whatever else was to be said.
    pub(super) fn alarm(run: &Run, verdict: Verdict, code: Option<Code>, why: &mut String) -> (Verdict, Option<Code>) {
        if !run.open {
            return (verdict, code);
        }
        why.push_str("; the device did not show that it is protected again: it may be open to everybody");
        match verdict {
            // Whoever decides about the key has to know of both.
            Verdict::Quarantined => (verdict, code),
            _ => (Verdict::Fail, Some(Code::NotProtectedAgain)),
        }
    }
}

/// Facts of Service Mode.
impl Run {
    /// Takes in what a fact says of Service Mode.
    pub(super) fn apply_guard(&mut self, fact: &Fact) {
        match fact {
            Fact::ServiceOpened { .. } => self.open = true,
            Fact::ProtectedAgain { .. } => self.open = false,
            _ => {}
        }
    }

    /// The device was out of sight, or is protected again: whether it is in Service Mode has to be looked at again, before
    /// anything else is done with it. The way out comes after that once more.
    pub(super) fn reopen(&mut self) {
        let Some(first) = self.steps.iter().position(|step| step.kind == StepKind::ServiceMode) else {
            return;
        };
        for step in &mut self.steps[first..] {
            if matches!(step.kind, StepKind::ServiceMode | StepKind::ProtectAgain) && matches!(step.state, StepState::Ended(_)) {
                step.state = StepState::Pending;
            }
        }
    }
}

const HOW: &str = "`protected = \"service-mode\"` in the recipe, or `--service-mode` with `keyrack repair` and `keyrack keys`, opens them for the work";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_and_the_way_out_stand_around_all_that_touches_the_device() {
        use StepKind::*;
        let with_wifi = vec![
            Admit,
            Enrol,
            ReadKey,
            Register,
            Boot,
            JoinNetwork,
            Check,
            Prove,
            ForgetNetwork,
        ];
        for (open, whole, plan, expected) in [
            (
                false,
                true,
                with_wifi,
                vec![
                    Admit,
                    Enrol,
                    ServiceMode,
                    ReadKey,
                    Register,
                    Boot,
                    JoinNetwork,
                    Check,
                    Prove,
                    ForgetNetwork,
                    ProtectAgain,
                ],
            ),
            (
                false,
                true,
                vec![Admit, ReadKey, Boot, Check, Prove],
                vec![Admit, ServiceMode, ReadKey, Boot, Check, ProtectAgain, Prove],
            ),
            (
                true,
                false,
                vec![Survey, Question, Examine],
                vec![ProtectAgain, Survey, ServiceMode, Question, Examine],
            ),
            (false, true, vec![SignPacket], vec![ServiceMode, SignPacket, ProtectAgain]),
        ] {
            assert_eq!(Guard::Serviced { open }.plan(plan, whole), expected);
        }
        assert_eq!(Guard::Aside { open: true }.plan(vec![Admit, ReadKey], true), [ProtectAgain]);
        assert_eq!(Guard::None.plan(vec![Admit], true), [Admit]);
        assert_eq!(leave(Vec::new()), []);
    }
}
