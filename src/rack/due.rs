//! What of the outbox may go now: whose time has come, what has to go before it, and what goes together. Whether there is
//! a line for it is for [`super::lines`] to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{
    DeviceId, ProductId, RunId, Wall,
    outbox::{Answer, Errand, ItemId, ItemState},
};

use super::{
    About, Outbox,
    input::{Call, Outgoing},
    upload::Entry,
};

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

/// What goes in one call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Due<'a> {
    /// An item.
    One(&'a Entry),
    /// Imports into one product, one or more.
    Import(Vec<&'a Entry>),
}

impl<'a> Due<'a> {
    /// The items of it.
    pub(super) fn entries(&self) -> &[&'a Entry] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Import(entries) => entries,
        }
    }

    /// What of it is so, if anything is.
    pub(super) fn that(self, so: impl Fn(&Entry) -> bool) -> Option<Self> {
        match self {
            Self::One(entry) => so(entry).then_some(self),
            Self::Import(mut entries) => {
                entries.retain(|entry| so(entry));
                (!entries.is_empty()).then_some(Self::Import(entries))
            }
        }
    }

    /// The call that is to be made, if one is. `way` says whether a key may go.
    pub(super) fn call(&self, way: &dyn Fn(&Entry) -> Way) -> Option<Call> {
        let first = *self.entries().first()?;
        let (item, attempt) = (first.item.id.clone(), first.attempts + 1);
        let (device, product) = (first.item.device, first.item.product.clone());
        match (&first.item.errand, self) {
            (Errand::Import { activate_sim }, Self::Import(entries)) => Some(Call::Import {
                product: product?,
                activate_sim: *activate_sim,
                items: entries.iter().map(|entry| Outgoing::of(entry)).collect(),
            }),
            (Errand::Import { .. }, Self::One(_)) => None,
            (Errand::Key { key }, _) => match way(first) {
                Way::Send => Some(Call::Upload {
                    item,
                    attempt,
                    device,
                    product,
                    key: key.clone(),
                }),
                Way::Look => Some(Call::Look {
                    about: About::Item(item),
                    device,
                    product,
                }),
                Way::Wait => None,
            },
            (
                errand @ (Errand::Release { .. }
                | Errand::Remove { .. }
                | Errand::Claim { .. }
                | Errand::Confirm { .. }
                | Errand::Restore { .. }),
                _,
            ) => Some(Call::Errand {
                item,
                attempt,
                device,
                product,
                errand: errand.clone(),
                doubtful: first.ambiguous,
            }),
        }
    }
}

impl Outgoing {
    fn of(entry: &Entry) -> Self {
        Self {
            item: entry.item.id.clone(),
            attempt: entry.attempts + 1,
            device: entry.item.device,
            doubtful: entry.ambiguous,
        }
    }
}

impl Outbox {
    /// What may go now, in the order in which it became owed. Devices for one product go in one import; the keys of one
    /// device go one after the other; while an import for a product is under way, others for it gather, but for those of
    /// devices that are in no product.
    pub(super) fn due(&self, wall: Wall, import_chunk: usize) -> Vec<Due<'_>> {
        if self.locked.is_some() {
            return Vec::new();
        }
        let mut queue: Vec<&Entry> = self.open().filter(|e| e.state != ItemState::Held).collect();
        queue.sort_by_key(|entry| entry.order);
        let mut busy: BTreeSet<DeviceId> = BTreeSet::new();
        let mut importing: BTreeSet<&ProductId> = BTreeSet::new();
        for entry in queue.iter().filter(|e| e.state == ItemState::Sent) {
            busy.insert(entry.item.device);
            if let (Errand::Import { .. }, Some(product)) = (&entry.item.errand, &entry.item.product) {
                importing.insert(product);
            }
        }
        let mut imports: BTreeMap<(&ProductId, bool, bool), Vec<&Entry>> = BTreeMap::new();
        let mut due = Vec::new();
        for entry in queue.into_iter().filter(|e| e.state == ItemState::Queued) {
            // What waits for another item, or must wait, keeps nobody back.
            if !self.ready(entry) {
                continue;
            }
            // A key waits for whatever is older of its device; an import waits for no key.
            if busy.contains(&entry.item.device) && entry.key().is_some() {
                continue;
            }
            // Even an item that is not due yet keeps the later keys of its device back.
            busy.insert(entry.item.device);
            if entry.is_put_off(wall) {
                continue;
            }
            match (&entry.item.errand, &entry.item.product) {
                (Errand::Import { activate_sim }, Some(product)) => {
                    let taken = entry.item.after.is_some();
                    if taken || !importing.contains(product) {
                        let batch = imports.entry((product, *activate_sim, taken)).or_default();
                        batch.extend((batch.len() < import_chunk).then_some(entry));
                    }
                }
                (Errand::Import { .. }, None) => {}
                _ => due.push(Due::One(entry)),
            }
        }
        due.extend(imports.into_values().map(Due::Import));
        due
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
                .of(entry.item.run)
                .any(|other| other.key().is_some() && !other.settled() && other.state != ItemState::Held),
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
}

impl Entry {
    /// True if it must not go yet.
    fn is_put_off(&self, wall: Wall) -> bool {
        self.not_before
            .is_some_and(|at| at > wall && at.millis() - wall.millis() < LONGEST_WAIT_MS)
    }
}

/// A wait longer than any that this program asks for is the mark of a wall clock that jumped back: send now.
const LONGEST_WAIT_MS: i64 = 35 * 60 * 1000;
