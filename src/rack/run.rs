//! A run: what its facts say of it. Changed by [`Run::apply`] only, live and in replay alike.

use crate::model::{
    CloudState, Code, DeviceId, Diagnosis, Fact, Fingerprint, Outcome, ProductId, PublicKey, RunId, ServerExam, SlotNo,
    StepError, StepKind, Verdict, Wall, diagnosis::Flow, key::SlotContent, platform::UsbMode, recipe::Sha256, survey::Survey,
};

/// One go at provisioning one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its device.
    pub device: DeviceId,
    /// Where it began, or was resumed last.
    pub slot: SlotNo,
    /// When it began.
    pub started: Wall,
    /// Its recipe.
    pub recipe: Sha256,
    /// The work order that it is for, by its number or name.
    pub order: Option<String>,
    /// The announced plan with what became of each step.
    pub steps: Vec<Step>,
    /// Where it stands.
    pub state: State,
    /// What it knows of keys.
    pub keys: Keys,
    /// The product that a diagnosis fixed.
    pub product: Option<ProductId>,
    /// What is known of the device that decides its repair.
    pub signs: Signs,
    /// What is wrong with it.
    pub diagnosis: Option<Diagnosis>,
    /// The device is in Service Mode, or may be: it has not shown since that it is protected.
    pub open: bool,
    /// What the device must get back, by the SHA-256 of what is kept.
    pub restore: Option<Sha256>,
    /// The last session of the device before the run, as the cloud told it.
    pub handshake_before: Option<Wall>,
    /// How often it got its device back since a step ended last.
    pub returns: u8,
    /// When its device was held last: its key store was read or written, by the station's clock.
    pub held: Option<Wall>,
    /// The handshake that proved it.
    pub handshake: Option<Wall>,
    /// Sentences worth showing at the end: warnings and skips.
    pub notes: Vec<String>,
}

/// What was found out of a device to be repaired, besides its key slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// What the cloud says.
    pub survey: Option<Survey>,
    /// When it said so, by the station's clock.
    pub surveyed: Option<Wall>,
    /// What the device says of its connection.
    pub cloud: Option<CloudState>,
    /// Its server settings, compared with the wanted ones.
    pub server: Option<ServerExam>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has its device.
    Active,
    /// It waits for its device.
    Interrupted(Code),
    /// It ended.
    Ended {
        /// How.
        verdict: Verdict,
        /// Why, unless it simply passed.
        code: Option<Code>,
        /// Why, in words.
        why: String,
    },
}

/// One step of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// What became of it.
    pub state: StepState,
    /// How often it was begun.
    pub attempts: u8,
    /// How often it failed since the run had its device last.
    pub failures: u8,
    /// True if an engineer had it left out.
    pub left_out: bool,
}

impl Step {
    /// True if an engineer can still have it left out.
    pub fn can_be_left_out(&self) -> bool {
        self.state == StepState::Pending && self.kind.may_be_left_out()
    }

    const fn pending(kind: StepKind) -> Self {
        Self {
            kind,
            state: StepState::Pending,
            attempts: 0,
            failures: 0,
            left_out: false,
        }
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// Not begun, or to be begun again.
    Pending,
    /// Begun; its end is not on record.
    Started,
    /// Ended well.
    Ended(Outcome),
    /// The last attempt failed.
    Failed(StepError),
}

/// What a run knows of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// What the slot held at the last reading.
    pub read: Option<SlotContent>,
    /// What the slot held before this run wrote to it; the undo copy holds the rest.
    pub before: Option<SlotContent>,
    /// The undo copy that exists, by the SHA-256 of what is kept.
    pub undo: Option<Sha256>,
    /// The key that was given to be written.
    pub given: Option<PublicKey>,
    /// The new key that may be on the device.
    pub intended: Option<PublicKey>,
    /// The new key that is on the device, read back.
    pub written: Option<Fingerprint>,
    /// The key that the cloud accepted last in this run, with the cloud's date.
    pub accepted: Option<(Fingerprint, Option<Wall>)>,
    /// The key that the cloud accepted in an earlier run.
    pub accepted_before: Option<Fingerprint>,
    /// The old key is back after a refusal.
    pub restored: bool,
}

impl Keys {
    /// The key that the device holds, as far as this run read it or wrote it and read it back. Unknown while a write was
    /// announced whose end is not on record.
    pub fn present(&self) -> Option<Fingerprint> {
        if self.intended.is_some() {
            return self.written;
        }
        self.read.as_ref()?.key().map(|key| key.fingerprint)
    }

    /// True if the device holds, held or is to hold this key, as far as this run knows.
    pub fn knows(&self, key: Fingerprint) -> bool {
        let contents = [&self.read, &self.before].into_iter().flatten().filter_map(SlotContent::key);
        contents.chain(&self.intended).any(|known| known.fingerprint == key)
    }

    /// True if this run replaced a valid key, or may have, and the cloud has not accepted what took its place.
    pub fn unsettled(&self) -> bool {
        self.overwrote_valid() && (self.written.is_none() || !self.agreed())
    }

    /// True if the device holds the valid key that it held before this run wrote to its slot.
    pub fn holds_old(&self) -> bool {
        let old = self.before.as_ref().and_then(SlotContent::key).map(|key| key.fingerprint);
        old.is_some() && old == self.present()
    }

    /// A key goes out: from here on the cloud may hold it instead of another one, until it answers.
    pub fn sent(&mut self, key: Fingerprint) {
        self.accepted = self.accepted.filter(|(accepted, _)| *accepted == key);
        self.accepted_before = self.accepted_before.filter(|accepted| *accepted == key);
    }

    /// True if the cloud is known to hold the key that the device holds.
    pub fn agreed(&self) -> bool {
        let held = self.accepted.map(|(key, _)| key).or(self.accepted_before);
        held.is_some() && held == self.present()
    }

    /// True if this run replaced a valid key by another one, or may have: the same pair in another layout takes no place
    /// but its own.
    pub fn overwrote_valid(&self) -> bool {
        let valid = self.before.as_ref().is_some_and(|content| content.key().is_some());
        (self.written.is_some() || self.intended.is_some()) && valid && !self.holds_old()
    }

    /// True if the key on the device is another one than at the start of the run.
    pub fn changed(&self) -> bool {
        self.written.is_some()
    }
}

/// A fact that does not fit the state of its run: the journal is damaged, or the core is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fact does not fit run {run}: {what}")]
pub struct Illegal {
    /// The run.
    pub run: RunId,
    /// What does not fit.
    pub what: &'static str,
}

impl Run {
    /// The run that a `RunStarted` fact begins.
    pub fn start(at: Wall, fact: &Fact) -> Option<Self> {
        let Fact::RunStarted {
            run,
            device,
            slot,
            recipe,
            plan,
            work_order,
            accepted,
            ..
        } = fact
        else {
            return None;
        };
        Some(Self {
            id: *run,
            device: *device,
            slot: *slot,
            started: at,
            recipe: *recipe,
            order: work_order.as_ref().map(|order| order.id.clone()),
            steps: plan.iter().copied().map(Step::pending).collect(),
            state: State::Active,
            keys: Keys {
                accepted_before: *accepted,
                ..Keys::default()
            },
            product: None,
            signs: Signs::default(),
            diagnosis: None,
            // A run that begins by protecting its device met it open.
            open: plan.first() == Some(&StepKind::ProtectAgain),
            restore: None,
            handshake_before: None,
            returns: 0,
            held: None,
            handshake: None,
            notes: Vec::new(),
        })
    }

    /// The first step that has not ended well, with its index.
    pub fn next(&self) -> Option<(u8, &Step)> {
        let i = self
            .steps
            .iter()
            .position(|step| !matches!(step.state, StepState::Ended(_)))?;
        u8::try_from(i).ok().map(|n| (n, &self.steps[i]))
    }

    /// The state of the first step of this kind.
    pub fn step(&self, kind: StepKind) -> Option<&Step> {
        self.steps.iter().find(|step| step.kind == kind)
    }

    /// The index of the first step of this kind.
    pub fn index(&self, kind: StepKind) -> Option<u8> {
        let i = self.steps.iter().position(|step| step.kind == kind)?;
        u8::try_from(i).ok()
    }

    /// True if the device was given the bench network, or may have been; false if it was not; `None` if nobody meant to.
    pub fn joined(&self) -> Option<bool> {
        let step = self.step(StepKind::JoinNetwork)?;
        Some(step.attempts > 0 && !matches!(step.state, StepState::Ended(Outcome::Skipped { .. })))
    }

    /// The flow that is under way.
    pub fn flow(&self) -> Option<Flow> {
        self.diagnosis.as_ref()?.flow
    }

    /// True if the run ended.
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// Takes in one fact of this run.
    pub fn apply(&mut self, at: Wall, fact: &Fact) -> Result<(), Illegal> {
        let illegal = |what| Err(Illegal { run: self.id, what });
        if self.ended()
            && !matches!(
                fact,
                Fact::UndoDestroyed { .. } | Fact::RestoreDestroyed { .. } | Fact::QuarantineReleased { .. }
            )
        {
            return illegal("it has ended");
        }
        match fact {
            Fact::RunInterrupted { code, .. } => self.state = State::Interrupted(*code),
            Fact::RunResumed { slot, .. } => {
                self.slot = *slot;
                self.state = State::Active;
                self.returns = self.returns.saturating_add(1);
                self.steps.iter_mut().for_each(|step| step.failures = 0);
                self.forget_readings();
            }
            Fact::StepStarted { step, attempt, .. } => {
                let Some(step) = self.steps.get_mut(usize::from(*step)) else {
                    return illegal("no such step");
                };
                if matches!(step.state, StepState::Ended(_)) {
                    return illegal("a step starts that has ended");
                }
                step.state = StepState::Started;
                step.attempts = *attempt;
            }
            Fact::StepEnded { step, outcome, .. } => {
                let Some(step) = self.steps.get_mut(usize::from(*step)) else {
                    return illegal("no such step");
                };
                if let Outcome::Warned { why } | Outcome::Skipped { why } = outcome {
                    self.notes.push(why.clone());
                }
                step.state = StepState::Ended(outcome.clone());
                if step.kind.needs() == Some(UsbMode::Dfu) {
                    self.held = Some(at);
                }
                self.returns = 0;
            }
            Fact::StepLeftOut { step, by, why, .. } => {
                let Some(step) = self.steps.get_mut(usize::from(*step)) else {
                    return illegal("no such step");
                };
                if !step.can_be_left_out() {
                    return illegal("a step is left out that cannot be");
                }
                let why = format!("left out by {by}: {why}");
                self.notes.push(why.clone());
                step.state = StepState::Ended(Outcome::Skipped { why });
                step.left_out = true;
            }
            Fact::StepFailed { step, error, .. } => {
                let Some(step) = self.steps.get_mut(usize::from(*step)) else {
                    return illegal("no such step");
                };
                step.state = StepState::Failed(error.clone());
                step.failures = step.failures.saturating_add(1);
                if error.code == Code::ServiceLost {
                    // It may have lost its power, and nobody saw it.
                    self.forget_readings();
                }
            }
            // An unreadable slot tells nothing: what is known of the key stays known.
            Fact::KeyRead {
                content: content @ SlotContent::Unreadable { .. },
                ..
            } => {
                self.keys.read.get_or_insert_with(|| content.clone());
            }
            Fact::KeyRead { content, .. } => {
                if content.key().map(|key| key.fingerprint) != self.keys.present() {
                    // What was done about the key was done about another one.
                    self.again(&[
                        StepKind::RegisterPresent,
                        StepKind::Rekey,
                        StepKind::Register,
                        StepKind::ServerKey,
                        StepKind::GiveBack,
                    ]);
                    if self.restore.is_none() {
                        self.again(&[StepKind::Secure]);
                    }
                }
                // A key that is neither the one before nor the intended one is the device's own doing.
                if self
                    .keys
                    .written
                    .is_some_and(|w| content.key().is_none_or(|key| key.fingerprint != w))
                {
                    self.keys.written = None;
                }
                self.keys.read = Some(content.clone());
            }
            Fact::UndoSealed { content, sha256, .. } => {
                self.keys.undo = Some(*sha256);
                self.keys.before = Some(content.clone());
            }
            Fact::UndoDestroyed { .. } => self.keys.undo = None,
            Fact::QuarantineReleased { .. }
                if !matches!(
                    self.state,
                    State::Ended {
                        verdict: Verdict::Quarantined,
                        ..
                    }
                ) =>
            {
                return illegal("it is released and was not quarantined");
            }
            // It is the next run that begins with it.
            Fact::QuarantineReleased { .. } => {}
            Fact::KeyIntended { key, .. } => self.keys.intended = Some(key.clone()),
            Fact::KeyWritten { fingerprint, .. } => {
                if self.keys.intended.as_ref().is_none_or(|key| key.fingerprint != *fingerprint) {
                    return illegal("a key was written that was not intended");
                }
                self.keys.written = Some(*fingerprint);
            }
            Fact::KeyAbandoned { fingerprint, .. } => {
                if self.keys.intended.as_ref().is_some_and(|key| key.fingerprint == *fingerprint) {
                    self.keys.intended = None;
                    self.keys.written = None;
                }
            }
            Fact::KeyRestored { .. } => {
                self.keys.restored = true;
                self.keys.intended = None;
                self.keys.written = None;
                self.keys.read = self.keys.before.clone();
            }
            Fact::CloudSeen { handshake_at, .. } => self.handshake_before = *handshake_at,
            Fact::HandshakeSeen { at, .. } => self.handshake = Some(*at),
            Fact::Surveyed { survey, .. } => {
                if let Survey::Seen(shown) = survey {
                    self.handshake_before = shown.last_handshake_at;
                }
                (self.signs.survey, self.signs.surveyed) = (Some(survey.clone()), Some(at));
            }
            // It is for somebody else to believe.
            Fact::PacketSigned { .. } | Fact::KeyEscrowed { .. } => {}
            Fact::KeyGiven { key, .. } => self.keys.given = Some(key.clone()),
            Fact::Questioned { state, .. } => self.signs.cloud = Some(*state),
            Fact::Examined { server, .. } => self.signs.server.clone_from(server),
            Fact::Diagnosed { .. } if self.diagnosis.is_some() => return illegal("it is diagnosed twice"),
            Fact::Diagnosed {
                diagnosis,
                product,
                plan,
                ..
            } => {
                self.diagnosis = Some(diagnosis.clone());
                self.product.clone_from(product);
                self.steps.extend(plan.iter().copied().map(Step::pending));
            }
            Fact::ServiceOpened { .. } | Fact::ProtectedAgain { .. } => self.apply_guard(fact),
            Fact::RestoreSealed { sha256, .. } => self.restore = Some(*sha256),
            Fact::RestoreDestroyed { .. } => self.restore = None,
            Fact::RunEnded { verdict, code, why, .. } => {
                self.state = State::Ended {
                    verdict: *verdict,
                    code: *code,
                    why: why.clone(),
                };
            }
            _ => return illegal("it is not a fact of a run"),
        }
        Ok(())
    }

    /// After the device was out of sight nothing about its key is taken for granted until it is read again, not even
    /// when the cloud has accepted it (ARCHITECTURE.md 4.8): it may have lost its key store, or been elsewhere. To be read
    /// it leaves its application, which has to start again then.
    fn forget_readings(&mut self) {
        self.again(&[StepKind::ReadKey, StepKind::Boot]);
        if self.diagnosis.is_none() {
            self.again(&[StepKind::Examine]);
        }
        self.reopen();
    }

    /// Steps of these kinds that have ended have to be performed again.
    fn again(&mut self, kinds: &[StepKind]) {
        for step in &mut self.steps {
            if kinds.contains(&step.kind) && matches!(step.state, StepState::Ended(_)) {
                step.state = StepState::Pending;
            }
        }
    }
}
