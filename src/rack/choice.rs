//! What an engineer chooses otherwise than station.toml and its recipes say: which recipe new runs are under, and with it
//! product and firmware, and which step of a run is left out. It owns what may be chosen, and what that costs: a run with a
//! step left out is no PASS.

use std::sync::Arc;

use crate::model::{Fact, Platform, SlotNo, recipe::Sha256};

use super::{Prepared, Rack, Told, run::Run, run::StepState, turn::Turn, view::RecipeView};

impl Rack {
    /// The recipe for new runs on a platform: the chosen one, as long as the station has it, or its usual one.
    pub(super) fn recipe_for(&self, platform: Platform) -> Option<&Arc<Prepared>> {
        let book = &self.setting.book;
        let chosen = self.shift.recipe_for(platform);
        let chosen = book.choices().find(|prepared| Some(prepared.recipe.hash) == chosen);
        chosen.or_else(|| book.for_platform(platform))
    }

    /// What can be chosen, in order, and what counts.
    pub(super) fn recipes(&self) -> Vec<RecipeView> {
        let counts = |platform, hash: Sha256| self.recipe_for(platform).is_some_and(|prepared| prepared.recipe.hash == hash);
        let mut all: Vec<_> = self.setting.book.choices().map(|prepared| &prepared.recipe).collect();
        all.sort_by(|a, b| (a.platform, &a.name).cmp(&(b.platform, &b.name)));
        let shown = all.into_iter().map(|recipe| RecipeView {
            name: recipe.name.clone(),
            platform: recipe.platform,
            hash: recipe.hash,
            product: recipe.product.clone(),
            firmware: recipe.firmware.iter().map(|file| file.name.clone()).collect(),
            counts: counts(recipe.platform, recipe.hash),
        });
        shown.collect()
    }
}

impl Turn {
    /// New runs are under another recipe.
    pub(super) fn use_recipe(&mut self, name: &str, why: &str) -> Told {
        let found = self
            .rack
            .recipes()
            .into_iter()
            .find(|recipe| recipe.name.eq_ignore_ascii_case(name.trim()));
        let Some(recipe) = found else {
            return Told::refused("this station has no recipe of that name");
        };
        let platform = recipe.platform;
        if recipe.counts {
            return Told::refused(format!("new runs of {platform} are under recipe {} already", recipe.name));
        }
        let (by, why) = match self.decided(why) {
            Ok(decided) => decided,
            Err(told) => return told,
        };
        let told = Told::done(format!("new runs of {platform} are under recipe {} from now on", recipe.name));
        self.fact(Fact::RecipeChosen {
            platform,
            recipe: recipe.hash,
            name: recipe.name,
            by,
            why,
        });
        told
    }

    /// A step of the run in a slot, by its number in the plan from 1, is not performed.
    pub(super) fn leave_out(&mut self, slot: SlotNo, step: u8, why: &str) -> Told {
        let run = self.slot(slot).run().and_then(|run| self.run(run));
        let Some(run) = run else {
            return Told::refused(format!("slot {slot} has no run"));
        };
        let at = step.checked_sub(1);
        let Some((index, found)) = at.and_then(|at| Some((at, run.steps.get(usize::from(at))?))) else {
            return Told::refused(format!("the run in slot {slot} has no step {step}"));
        };
        if !found.kind.may_be_left_out() {
            return Told::refused(format!(
                "step {step} ({}) cannot be left out: keys, owners, protection and firmware rest on it",
                found.kind
            ));
        }
        if found.state != StepState::Pending {
            return Told::refused(format!(
                "step {step} ({}) has begun: it comes to its end by itself",
                found.kind
            ));
        }
        let (by, why) = match self.decided(why) {
            Ok(decided) => decided,
            Err(told) => return told,
        };
        let told = Told::done(format!(
            "step {step} ({}) is left out: the run cannot end PASS any more",
            found.kind
        ));
        self.fact(Fact::StepLeftOut {
            run: run.id,
            step: index,
            by,
            why,
        });
        told
    }
}

/// What an engineer had left out of a run, in words.
pub(super) fn left_out(run: &Run) -> Option<String> {
    let left: Vec<String> = run
        .steps
        .iter()
        .filter(|step| step.left_out)
        .map(|step| step.kind.to_string())
        .collect();
    (!left.is_empty()).then(|| format!("an engineer had left out: {}; everything else is done", left.join(", ")))
}
