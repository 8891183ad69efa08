//! The outbox as the core sees it: what is owed, what may be sent now, and what an answer means.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::model::{
    DeviceId, Fact, Fingerprint, ProductId, RunId, Wall,
    outbox::{Answer, Errand, Item, ItemId, ItemState, REFUSALS_TO_BELIEVE},
};

use super::input::{About, Call, Outgoing};

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
    order: u64,
}

/// Whether a key upload whose time has come may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It goes.
    Send,
    /// The cloud is looked at first.
    Look,
    /// Not now.
    Wait,
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

    /// The calls that may be made now. Devices for one product go in one import; the keys of one device go one after
    /// the other; while an import for a product is under way, others for it gather. `way` says whether a key upload whose
    /// time has come may go.
    pub(super) fn due(&self, wall: Wall, import_chunk: usize, way: &dyn Fn(&Entry) -> Way) -> Vec<Call> {
        if self.locked.is_some() {
            return Vec::new();
        }
        let mut queue: Vec<&Entry> = self.open().filter(|e| e.state != ItemState::Held).collect();
        queue.sort_by_key(|entry| entry.order);
        let mut busy: BTreeSet<DeviceId> = BTreeSet::new();
        let mut importing: BTreeSet<ProductId> = BTreeSet::new();
        for entry in queue.iter().filter(|e| e.state == ItemState::Sent) {
            busy.insert(entry.item.device);
            if let (Errand::Import { .. }, Some(product)) = (&entry.item.errand, &entry.item.product) {
                importing.insert(product.clone());
            }
        }
        let releases = |entry: &&&Entry| matches!(entry.item.errand, Errand::Release { .. });
        let mut releasing = queue.iter().filter(|e| e.state == ItemState::Sent).filter(releases).count();
        // What waits for another item, or must wait, keeps nobody back.
        queue.retain(|entry| self.ready(entry));
        let mut imports: BTreeMap<(ProductId, bool), Vec<Outgoing>> = BTreeMap::new();
        let mut calls = Vec::new();
        for entry in queue.into_iter().filter(|e| e.state == ItemState::Queued) {
            // A key waits for whatever is older of its device; an import waits for no key.
            if busy.contains(&entry.item.device) && entry.key().is_some() {
                continue;
            }
            // Even an item that is not due yet keeps the later keys of its device back.
            busy.insert(entry.item.device);
            if entry
                .not_before
                .is_some_and(|at| at > wall && at.millis() - wall.millis() < LONGEST_WAIT_MS)
            {
                continue;
            }
            let (id, attempt, device) = (entry.item.id.clone(), entry.attempts + 1, entry.item.device);
            if let Errand::Release { .. } = entry.item.errand {
                if releasing >= MOST_RELEASES {
                    continue;
                }
                releasing += 1;
            }
            match (&entry.item.errand, &entry.item.product) {
                (Errand::Key { key }, product) => {
                    let product = product.clone();
                    match way(entry) {
                        Way::Send => calls.push(Call::Upload {
                            item: id,
                            attempt,
                            device,
                            product,
                            key: key.clone(),
                        }),
                        Way::Look => calls.push(Call::Look {
                            about: About::Item(id),
                            device,
                            product,
                        }),
                        Way::Wait => {}
                    }
                }
                (Errand::Import { activate_sim }, Some(product)) if !importing.contains(product) => {
                    let batch = imports.entry((product.clone(), *activate_sim)).or_default();
                    if batch.len() < import_chunk {
                        batch.push(Outgoing {
                            item: id,
                            attempt,
                            device,
                            doubtful: entry.ambiguous,
                        });
                    }
                }
                (Errand::Import { .. }, _) => {}
                (
                    Errand::Release { .. }
                    | Errand::Remove { .. }
                    | Errand::Claim { .. }
                    | Errand::Confirm { .. }
                    | Errand::Restore { .. },
                    product,
                ) => calls.push(Call::Errand {
                    item: id,
                    attempt,
                    device,
                    product: product.clone(),
                    errand: entry.item.errand.clone(),
                    doubtful: entry.ambiguous,
                }),
            }
        }
        calls.extend(imports.into_iter().map(|((product, activate_sim), items)| Call::Import {
            product,
            activate_sim,
            items,
        }));
        calls
    }

    /// Items that wait for nothing but our own patience: not where the cloud said how long, and not between two refusals, of
    /// which the second counts for good.
    pub fn patient(&self, wall: Wall) -> impl Iterator<Item = &Entry> {
        let patience = move |entry: &&Entry| {
            entry.state == ItemState::Queued
                && entry.not_before.is_some_and(|at| at > wall)
                && matches!(
                    entry.last,
                    Some(Answer::Later { after_ms: None, .. } | Answer::Ambiguous { .. } | Answer::Auth { .. })
                )
        };
        self.open().filter(patience)
    }

    /// True if nothing that goes before it stands in the way of an item.
    fn ready(&self, entry: &Entry) -> bool {
        let before = entry.item.after.as_ref().map(|id| self.get(id));
        match (&entry.item.errand, before) {
            // A key that waits for its device to be taken goes only until it is its owner's again.
            (Errand::Key { .. }, Some(before)) => {
                let claim = self.get(&ItemId::claim(entry.item.run));
                before.is_some_and(|before| before.state == ItemState::Accepted) && claim.is_none_or(|claim| !claim.settled())
            }
            // No device is moved that could not be taken before.
            (Errand::Remove { .. } | Errand::Import { .. } | Errand::Confirm { .. }, Some(before)) => {
                before.is_some_and(|before| before.state == ItemState::Accepted)
            }
            // No device goes back to its owner while a key of it is under way.
            (Errand::Claim { .. }, Some(Some(before))) if before.settled() => !self
                .open()
                .any(|other| other.item.run == entry.item.run && other.key().is_some() && other.state != ItemState::Held),
            (_, Some(before)) => before.is_some_and(Entry::settled),
            (_, None) => true,
        }
    }

    /// True if the device of a run was taken from its owner or out of its product, as far as is known.
    pub fn taken(&self, run: RunId) -> bool {
        let begun = |taking: &Entry| taking.ambiguous || matches!(taking.state, ItemState::Sent | ItemState::Accepted);
        [ItemId::release(run), ItemId::remove(run)]
            .iter()
            .any(|id| self.get(id).is_some_and(begun))
    }

    /// True if a run owes anything that has to be done before it is done: a last look is none of it.
    pub fn owes(&self, run: RunId) -> bool {
        self.of(run).any(|entry| !entry.settled() && !entry.item.errand.is_late())
    }

    /// True if the device of a run was taken, as far as is known, and still lacks its owner or a product.
    pub fn lacks(&self, run: RunId) -> bool {
        let gives = |entry: &Entry| {
            let gives = matches!(entry.item.errand, Errand::Import { .. } | Errand::Claim { .. });
            gives && entry.item.after.is_some() && !entry.settled()
        };
        self.taken(run) && self.of(run).any(gives)
    }

    /// The next wall instant at which an item becomes due, if any waits.
    pub fn next_due(&self, wall: Wall) -> Option<Duration> {
        let waits = self
            .open()
            .filter(|e| e.state == ItemState::Queued)
            .filter_map(|e| e.not_before);
        let next = waits.filter(|at| *at > wall).min()?;
        u64::try_from((next.millis() - wall.millis()).min(LONGEST_WAIT_MS))
            .ok()
            .map(Duration::from_millis)
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

/// So many devices are being released at the same time: what comes after each release must find a free line to the cloud,
/// for until its claim the device is nobody's.
const MOST_RELEASES: usize = 2;

/// A wait longer than any that this program asks for is the mark of a wall clock that jumped back: send now.
const LONGEST_WAIT_MS: i64 = 35 * 60 * 1000;
