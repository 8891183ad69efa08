//! Looks at the cloud before a key upload that is not the plain case: one that had to wait, because its device may have
//! made or taken another key since it was read; and one that was refused, because a refusal is believed only when its
//! cause was looked up (ARCHITECTURE.md 4.4 and 5). It owns when such a look is due and what it means for the item.
//!
//! Looks are the bench's, not the ledger's: after a start they are made again.

use std::time::Duration;

use crate::model::{
    Fact, Mono, StepKind,
    outbox::{Answer, CloudDevice, ItemId, ItemState, Looked},
};

use super::{
    Rack,
    due::Way,
    proof::newer_session,
    slot::{Doing, Slot},
    turn::Turn,
    upload::{Entry, back_off},
};

/// Where the look for an item stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Look {
    /// The cloud was asked.
    Asked {
        /// How often, this time included.
        tries: u32,
    },
    /// It could not be told; to be asked again.
    Again {
        /// When.
        at: Mono,
        /// How often it was asked.
        tries: u32,
    },
    /// Nothing speaks against the upload.
    Clear {
        /// What the cloud showed, in words.
        found: String,
    },
}

/// How the device of an item stands to the run that owes it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stance {
    /// Held as it was when its key was read: nothing can have changed.
    Held,
    /// At work in its run, which reads the key again before it asks for the upload, or has asked for it and gone on.
    AtWork,
    /// Out of sight of that run.
    Away,
}

impl Rack {
    /// Whether a key upload that is due may go.
    pub(super) fn way(&self, entry: &Entry, now: Mono) -> Way {
        let stance = self.stance(entry);
        match self.looks.get(&entry.item.id) {
            Some(Look::Asked { .. }) => Way::Wait,
            Some(Look::Again { at, .. }) if *at > now => Way::Wait,
            Some(Look::Clear { .. }) => Way::Send,
            _ => match stance {
                Stance::Held if entry.refusals == 0 => Way::Send,
                Stance::AtWork => Way::Wait,
                Stance::Held | Stance::Away => Way::Look,
            },
        }
    }

    /// When the next look that failed is to be made again.
    pub(super) fn next_look(&self, now: Mono) -> Option<Mono> {
        let again = self
            .looks
            .values()
            .filter_map(|look| if let Look::Again { at, .. } = look { Some(*at) } else { None });
        again.filter(|at| *at > now).min()
    }

    fn stance(&self, entry: &Entry) -> Stance {
        let run = entry.item.run;
        let Some(slot) = self.slots.values().find(|slot| slot.run() == Some(run)) else {
            return Stance::Away;
        };
        let step = match slot {
            Slot::AwaitingCloud { step, .. }
            | Slot::Running {
                doing: Doing::Step(step),
                attached: Some(_),
                ..
            } => *step,
            _ => return Stance::AtWork,
        };
        let kind = self.run(run).and_then(|run| run.steps.get(usize::from(step))).map(|s| s.kind);
        match kind {
            // It has just signed with that key, and waits for the answer.
            Some(StepKind::ServiceMode) if matches!(slot, Slot::AwaitingCloud { .. }) => Stance::Held,
            // Its own step waits for the answer, or has just read the key back.
            Some(StepKind::RegisterPresent | StepKind::Register | StepKind::Rekey) => Stance::Held,
            _ => Stance::AtWork,
        }
    }
}

impl Turn {
    /// Notes that the cloud is asked before an item may go.
    pub(super) fn ask_before(&mut self, item: &ItemId) {
        let tries = match self.rack.looks.get(item) {
            Some(Look::Again { tries, .. }) => tries + 1,
            _ => 1,
        };
        self.rack.looks.insert(item.clone(), Look::Asked { tries });
    }

    /// The cloud was looked at for an item.
    pub(super) fn looked_for_item(&mut self, id: &ItemId, found: &Looked) {
        let Some(Look::Asked { tries }) = self.rack.looks.get(id).cloned() else {
            return;
        };
        self.rack.looks.remove(id);
        let Some(entry) = self.rack.outbox.get(id).filter(|e| e.state == ItemState::Queued).cloned() else {
            return;
        };
        match found {
            Looked::Device { device, at } => {
                let owner = entry.item.run;
                let before = self.rack.run(owner).and_then(|run| run.handshake_before);
                let read = self.rack.packets.get(&owner).map_or(entry.since, |packet| packet.read_at());
                let newer = newer_session(before, read, self.wall, device, *at);
                match newer.filter(|_| self.rack.stance(&entry) != Stance::Held) {
                    Some(session) => self.fact(Fact::ItemWithdrawn {
                        item: id.clone(),
                        why: format!(
                            "the device connected at {session}, after this key was read: it may hold another one by now, and a person \
                             decides"
                        ),
                    }),
                    None => self.clear(id, shown(device)),
                }
            }
            Looked::Unseen => self.clear(id, "the cloud does not show the device to this token".to_owned()),
            // A definite no to the look says what the answer to the upload will be; that one settles the item.
            Looked::Failed(Answer::Refused { reason, .. }) => self.clear(id, format!("the look was refused as well: {reason}")),
            Looked::Failed(Answer::Auth { reason }) => self.rack.outbox.locked = Some(reason.clone()),
            Looked::Failed(_) => {
                let at = self.now + Duration::from_millis(back_off(tries));
                self.rack.looks.insert(id.clone(), Look::Again { at, tries });
            }
        }
    }

    fn clear(&mut self, id: &ItemId, found: String) {
        self.rack.looks.insert(id.clone(), Look::Clear { found });
    }

    /// An item was answered: its look is used up. A refusal that is believed says what the look found.
    pub(super) fn with_finding(&mut self, id: &ItemId, answer: &Answer) -> Answer {
        let look = self.rack.looks.remove(id);
        match (answer, look) {
            (Answer::Refused { code, reason }, Some(Look::Clear { found })) => Answer::Refused {
                code: *code,
                reason: format!("{reason} ({found})"),
            },
            _ => answer.clone(),
        }
    }

    /// A look holds for the moment in which it was made: what could not go at once is looked at again.
    pub(super) fn forget_looks(&mut self) {
        let outbox = &self.rack.outbox;
        self.rack.looks.retain(|id, look| {
            outbox.get(id).is_some_and(|entry| match look {
                Look::Clear { .. } => entry.state == ItemState::Sent,
                Look::Asked { .. } | Look::Again { .. } => entry.state == ItemState::Queued,
            })
        });
    }
}

/// What the cloud shows of a device, as far as it may explain a refusal.
fn shown(device: &CloudDevice) -> String {
    let mut parts = Vec::new();
    parts.extend(device.product_id.map(|id| format!("product {id}")));
    parts.extend(device.platform_id.map(|id| format!("platform {id}")));
    parts.extend((device.quarantined == Some(true)).then(|| "in quarantine".to_owned()));
    parts.extend((device.denied == Some(true)).then(|| "denied".to_owned()));
    // By whom never goes into a fact.
    parts.extend(device.owner.as_ref().map(|_| "claimed".to_owned()));
    if parts.is_empty() {
        return "the cloud shows the device and says nothing that explains it".to_owned();
    }
    format!("the cloud shows the device in {}", parts.join(", "))
}
