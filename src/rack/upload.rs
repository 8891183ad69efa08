//! The outbox as the core sees it: what is owed, and what an answer means. What of it may go now is in `due.rs`.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{
    Fact, Fingerprint, RunId, Wall,
    outbox::{Answer, Errand, Item, ItemId, ItemState, REFUSALS_TO_BELIEVE},
};

/// Everything that is owed to the cloud and not yet settled, and what was settled since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    entries: BTreeMap<ItemId, Arc<Entry>>,
    next_order: u64,
    /// Set while the cloud does not accept the token: nothing is sent.
    pub locked: Option<String>,
}

/// One item with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What is owed.
    pub item: Item,
    /// Where it stands.
    pub state: ItemState,
    /// Requests sent so far.
    pub attempts: u32,
    /// Definite refusals so far.
    pub refusals: u32,
    /// True if an attempt ended without a definite answer, and no yes came later: what it asked for may be done already.
    pub ambiguous: bool,
    /// True if any attempt ever ended without a definite answer: what it asked for may still arrive.
    pub doubted: bool,
    /// Not to be sent before.
    pub not_before: Option<Wall>,
    /// The last answer.
    pub last: Option<Answer>,
    /// When it became owed.
    pub since: Wall,
    /// Why it was withdrawn.
    pub why: Option<String>,
    pub(super) order: u64,
}

impl Entry {
    /// True if nothing more will happen to it.
    pub fn settled(&self) -> bool {
        matches!(self.state, ItemState::Accepted | ItemState::Refused | ItemState::Withdrawn)
    }

    /// The fingerprint of the key that it uploads, if it is an upload.
    pub fn key(&self) -> Option<Fingerprint> {
        match &self.item.errand {
            Errand::Key { key } => Some(key.fingerprint),
            _ => None,
        }
    }
}

impl Outbox {
    /// The entry of an item.
    pub fn get(&self, id: &ItemId) -> Option<&Entry> {
        self.entries.get(id).map(|entry| &**entry)
    }

    /// Every entry.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|entry| &**entry)
    }

    /// The entries of a run.
    pub fn of(&self, run: RunId) -> impl Iterator<Item = &Entry> {
        let first = ItemId(format!("{run}/"));
        self.entries
            .range(first.clone()..)
            .take_while(move |(id, _)| id.0.starts_with(&first.0))
            .map(|(_, entry)| &**entry)
    }

    /// What is still owed, held items included.
    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        self.entries().filter(|entry| !entry.settled())
    }

    /// Forgets settled items of runs for which `keep` is false.
    pub fn sweep(&mut self, keep: impl Fn(&Item) -> bool) {
        self.entries.retain(|_, entry| !entry.settled() || keep(&entry.item));
    }

    /// Takes in one fact.
    pub fn apply(&mut self, at: Wall, fact: &Fact) {
        match fact {
            Fact::ItemQueued { item } => self.insert(at, item, ItemState::Queued),
            Fact::KeyIntended { item, .. } => self.insert(at, item, ItemState::Held),
            Fact::KeyWritten { run, fingerprint, .. } => {
                self.change(&ItemId::key(*run, *fingerprint), |entry| {
                    if entry.state == ItemState::Held {
                        entry.state = ItemState::Queued;
                        entry.since = at;
                    }
                });
            }
            Fact::KeyAbandoned {
                run, fingerprint, why, ..
            } => {
                self.change(&ItemId::key(*run, *fingerprint), |entry| entry.withdraw(why));
            }
            Fact::ItemSent { item, attempt } => self.change(item, |entry| {
                entry.state = ItemState::Sent;
                entry.attempts = *attempt;
            }),
            Fact::ItemAnswered { item, answer, .. } => self.change(item, |entry| entry.answered(at, answer)),
            Fact::ItemWithdrawn { item, why } => self.change(item, |entry| entry.withdraw(why)),
            Fact::RetryAsked { items, .. } => items
                .iter()
                .for_each(|item| self.change(item, |entry| entry.not_before = None)),
            _ => {}
        }
    }

    fn insert(&mut self, at: Wall, item: &Item, state: ItemState) {
        let order = self.next_order;
        self.next_order += 1;
        // Owed anew after it was withdrawn: what is in doubt stays in doubt.
        let old = self.get(&item.id);
        let (ambiguous, doubted) = (old.is_some_and(|old| old.ambiguous), old.is_some_and(|old| old.doubted));
        let entry = Entry {
            item: item.clone(),
            state,
            attempts: 0,
            refusals: 0,
            ambiguous,
            doubted,
            not_before: item
                .errand
                .is_late()
                .then(|| Wall::from_millis(at.millis() + CONFIRM_AFTER_MS))
                .flatten(),
            last: None,
            since: at,
            why: None,
            order,
        };
        self.entries.insert(item.id.clone(), Arc::new(entry));
    }

    fn change(&mut self, id: &ItemId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(id) {
            change(Arc::make_mut(entry));
        }
    }
}

impl Entry {
    /// What is under way waits for its answer all the same.
    fn withdraw(&mut self, why: &str) {
        if matches!(self.state, ItemState::Held | ItemState::Queued) {
            self.state = ItemState::Withdrawn;
            self.why = Some(why.to_owned());
        }
    }

    fn answered(&mut self, at: Wall, answer: &Answer) {
        self.last = Some(answer.clone());
        let wait = |ms: u64| {
            i64::try_from(ms)
                .ok()
                .and_then(|ms| Wall::from_millis(at.millis().saturating_add(ms)))
        };
        match answer {
            Answer::Accepted { .. } => {
                self.state = ItemState::Accepted;
                self.ambiguous = false;
            }
            Answer::Refused { code, .. } if !self.item.errand.is_refused_by(*code) => {
                self.state = ItemState::Queued;
                self.not_before = wait(back_off(self.attempts));
            }
            Answer::Refused { .. } => {
                self.refusals += 1;
                if self.refusals >= REFUSALS_TO_BELIEVE {
                    self.state = ItemState::Refused;
                } else {
                    self.state = ItemState::Queued;
                    self.not_before = wait(BETWEEN_REFUSALS_MS);
                }
            }
            Answer::Later { after_ms, .. } => {
                self.state = ItemState::Queued;
                self.not_before = wait(after_ms.unwrap_or_else(|| back_off(self.attempts)));
            }
            Answer::Ambiguous { .. } => {
                self.state = ItemState::Queued;
                self.ambiguous = true;
                self.doubted = true;
                self.not_before = wait(back_off(self.attempts));
            }
            Answer::Auth { .. } => {
                self.state = ItemState::Queued;
                self.not_before = None;
            }
        }
    }
}

/// 1, 2, 4, 8 … at most 60 seconds, by the number of attempts so far (cloud-api.md 4.3).
pub(super) fn back_off(attempts: u32) -> u64 {
    1000 * (1u64 << attempts.saturating_sub(1).min(6)).min(60)
}

/// How long after a claim it is looked at again where a release may still arrive: longer than any request lives.
const CONFIRM_AFTER_MS: i64 = 10 * 60 * 1000;

/// How long after a refusal it is asked for again.
const BETWEEN_REFUSALS_MS: u64 = 10_000;
