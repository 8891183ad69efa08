//! The chain that moves a device from one product to another: released if somebody owns it, removed, imported, its key
//! registered, claimed back (cloud-api.md 3.3 and 3.7). It owns the way back, too: a device that its new product does not
//! take goes back to the old one, with its key and its owner.

use crate::model::{
    Code, ProductId, PublicKey, RunId, StepError,
    diagnosis::Flow,
    outbox::{Answer, Errand, Item, ItemId, ItemState},
    recipe::{Recipe, Sha256},
    survey::{Membership, OwnerKind, Survey},
};

use super::{Rack, run::Run, turn::Turn};

impl Rack {
    /// True if the device of a run cannot be given back what it had: a person has to.
    pub(super) fn is_lost(&self, run: RunId) -> bool {
        [ItemId::claim(run), ItemId::confirm(run), ItemId::back(run)]
            .iter()
            .any(|id| self.outbox.get(id).is_some_and(|entry| entry.state == ItemState::Refused))
    }

    /// True if the device of a run is in the product to which it was moved.
    pub(super) fn has_moved(&self, run: &Run) -> bool {
        let import = self.outbox.get(&ItemId::import(run.id));
        run.flow() == Some(Flow::Move) && import.is_some_and(|import| import.state == ItemState::Accepted)
    }

    /// The item after which the upload of a key may go, while its device has to be taken for it.
    pub(super) fn uploads_after(&self, run: &Run) -> Option<ItemId> {
        match run.flow()? {
            Flow::Customer => Some(ItemId::release(run.id)),
            Flow::Move if !self.has_moved(run) => Some(ItemId::import(run.id)),
            Flow::Move if owner(run) == OwnerKind::Customer => Some(ItemId::release(run.id)),
            _ => None,
        }
    }
}

impl Turn {
    /// The product in which the device of a run is now, if it is in one: a protected device is opened there, which may not be
    /// where it will be.
    pub(super) fn place_of(&self, run: &Run) -> Option<ProductId> {
        let import = self.rack.outbox.get(&ItemId::import(run.id));
        let imported = import.is_some_and(|import| import.state == ItemState::Accepted);
        match &run.signs.survey {
            Some(Survey::Seen(shown)) if !imported && shown.membership != Membership::Unknown => shown.membership.product(),
            _ => self.product_of(run),
        }
    }

    /// Queues the whole chain of a move, or what of it is not under way.
    pub(super) fn begin_move(&mut self, run: &Run, recipe: &Recipe, before: Sha256, key: PublicKey) {
        let (old, new) = (old_product(run), self.product_of(run));
        let item = |id, product: &Option<ProductId>, errand, after| Item {
            id,
            run: run.id,
            device: run.device,
            product: product.clone(),
            errand,
            after,
        };
        let (release, remove, import) = (ItemId::release(run.id), ItemId::remove(run.id), ItemId::import(run.id));
        let begun = self.rack.outbox.get(&remove).map(|entry| entry.state);
        if matches!(begun, None | Some(ItemState::Withdrawn)) {
            let claimed = is_claimed(run);
            if claimed {
                self.queue(item(release.clone(), &old, Errand::Release { before }, None));
            }
            let after = claimed.then_some(release);
            self.queue(item(remove.clone(), &old, Errand::Remove { before }, after));
            let activate_sim = recipe.activate_sim;
            self.queue(item(import.clone(), &new, Errand::Import { activate_sim }, Some(remove)));
        }
        let upload = Item {
            after: Some(import),
            ..Item::upload(run.id, run.device, new, key)
        };
        self.queue_upload_and_rest(is_claimed(run), before, upload);
    }

    /// Queues an upload, and after it all that gives the device back; to its owner if it was `claimed`.
    pub(super) fn queue_upload_and_rest(&mut self, claimed: bool, before: Sha256, upload: Item) {
        let then = |id, errand, after| Item {
            id,
            errand,
            after: Some(after),
            ..upload.clone()
        };
        let (claim, mut last) = (ItemId::claim(upload.run), upload.id.clone());
        self.queue(upload.clone());
        if claimed {
            self.queue(then(claim.clone(), Errand::Claim { before }, last));
            last = claim;
        }
        self.queue(then(ItemId::restore(upload.run), Errand::Restore { before }, last));
    }

    /// The cloud refused a part of a move for good: the device stays in its old product, or goes back there, with its key
    /// and its owner. If that is refused, too, a person has to act.
    pub(super) fn move_refused(&mut self, refused: &Item) {
        let Some(run) = self.run(refused.run) else { return };
        let (back, import) = (ItemId::back(run.id), ItemId::import(run.id));
        let key = self.rack.outbox.of(run.id).find_map(|entry| match &entry.item.errand {
            Errand::Key { key } if entry.item.after.as_ref() == Some(&import) && !entry.settled() => Some(key.clone()),
            _ => None,
        });
        let old = old_product(&run);
        self.withdraw_rest(run.id, "the device was not moved");
        let (Some(key), Some(before)) = (key.filter(|_| refused.id != back), run.restore) else {
            return;
        };
        let upload = Item::upload(run.id, run.device, old, key);
        let removed = matches!(refused.errand, Errand::Import { .. });
        let after = if removed {
            let errand = Errand::Import { activate_sim: false };
            self.queue(Item {
                id: back.clone(),
                errand,
                after: Some(ItemId::remove(run.id)),
                ..upload.clone()
            });
            Some(back)
        } else {
            is_claimed(&run).then(|| ItemId::release(run.id))
        };
        self.queue_upload_and_rest(is_claimed(&run), before, Item { after, ..upload });
    }

    /// Why the device of a run is not in the product to which it should have been moved, if that is so for good.
    pub(super) fn not_moved(&self, run: &Run) -> Option<StepError> {
        run.flow().filter(|flow| *flow == Flow::Move)?;
        let refusal = |id| match self
            .rack
            .outbox
            .get(&id)
            .filter(|entry| entry.state == ItemState::Refused)?
            .last
            .clone()?
        {
            Answer::Refused { code, reason } => Some((code, reason)),
            _ => None,
        };
        let old = old_product(run).map(|product| product.0).unwrap_or_default();
        if let Some((_, reason)) = refusal(ItemId::back(run.id)) {
            let text = format!("move the device: it is in no product; product {old} does not take it back: {reason}");
            return Some(StepError::new(Code::MoveLost, text));
        }
        let (code, reason) = refusal(ItemId::import(run.id)).or_else(|| refusal(ItemId::remove(run.id)))?;
        let text = format!("move the device: {reason}; it is in product {old} as before");
        Some(StepError::new(code, text))
    }
}

/// In whose hands the survey of a run found its device.
pub(super) fn owner(run: &Run) -> OwnerKind {
    let shown = run.signs.survey.as_ref().and_then(Survey::shown);
    shown.map_or(OwnerKind::Unknown, |shown| shown.owner)
}

/// True if the device of a run is taken from an owner who has to have it back.
fn is_claimed(run: &Run) -> bool {
    matches!(owner(run), OwnerKind::Account | OwnerKind::Customer)
}

/// The product in which the survey of a run found its device.
pub(super) fn old_product(run: &Run) -> Option<ProductId> {
    run.signs.survey.as_ref()?.shown()?.membership.product()
}
