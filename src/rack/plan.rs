//! From a recipe to the announced plan of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{
    Platform, StepKind,
    module::Dependency,
    platform::Network,
    recipe::{Aim, KeyPolicy, Recipe, ServerPolicy, Sha256, Work},
};

/// A recipe with the order in which its firmware goes, worked out before the shift.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The recipe.
    pub recipe: Arc<Recipe>,
    /// One [`StepKind::Update`] or [`StepKind::Flash`] for each piece of firmware, in order.
    pub firmware: Vec<StepKind>,
    /// Modules that the firmware needs and that are not part of it: the device must have them.
    pub needs: Vec<Dependency>,
}

impl Prepared {
    /// The plan for a device that has not passed under this recipe.
    pub fn plan(&self) -> Vec<StepKind> {
        let recipe = &*self.recipe;
        if let Aim::Repair(repair) = &recipe.aim {
            if repair.work == Work::SaveKey {
                return vec![StepKind::SignPacket];
            }
            // The rest of it comes with the diagnosis.
            return vec![StepKind::Survey, StepKind::Question, StepKind::Examine];
        }
        let mut plan = vec![StepKind::Admit];
        if recipe.product.is_some() {
            plan.push(StepKind::Enrol);
        }
        plan.extend(&self.firmware);
        plan.push(StepKind::ReadKey);
        if recipe.keys == KeyPolicy::Generate {
            plan.push(StepKind::RegisterPresent);
        }
        if recipe.keys != KeyPolicy::Read {
            plan.push(StepKind::Rekey);
        }
        plan.push(StepKind::Register);
        if matches!(recipe.server, ServerPolicy::Set(_)) {
            plan.push(StepKind::ServerKey);
        }
        plan.push(StepKind::Boot);
        let wifi = recipe.wifi.is_some() && recipe.platform.row().network == Network::Wifi;
        if wifi {
            plan.push(StepKind::JoinNetwork);
        }
        plan.push(StepKind::Check);
        if recipe.prove {
            plan.push(StepKind::Prove);
        }
        if wifi {
            plan.push(StepKind::ForgetNetwork);
        }
        plan
    }

    /// The plan for a device that has passed under this recipe: its key is read and compared, nothing is flashed and
    /// no key is made.
    pub fn recheck(&self) -> Vec<StepKind> {
        vec![StepKind::ReadKey, StepKind::Register, StepKind::Boot, StepKind::Check]
    }
}

/// The recipes of the station: the present ones by platform, and those of runs under way by hash.
#[derive(Clone, Debug, Default)]
pub struct Book {
    by_hash: BTreeMap<Sha256, Arc<Prepared>>,
    by_platform: BTreeMap<Platform, Sha256>,
    /// Those that count only when an engineer chooses them.
    standby: BTreeSet<Sha256>,
    /// What a person can ask for in place of them.
    repairs: BTreeMap<Platform, Arc<Prepared>>,
}

impl Book {
    /// Adds a recipe for new runs on its platform.
    pub fn offer(&mut self, prepared: Prepared) {
        self.by_platform.insert(prepared.recipe.platform, prepared.recipe.hash);
        self.keep(prepared);
    }

    /// Adds a recipe that an engineer can choose for its platform.
    pub fn offer_standby(&mut self, prepared: Prepared) {
        self.standby.insert(prepared.recipe.hash);
        self.keep(prepared);
    }

    /// Adds a recipe for repairs on its platform that a person asks for.
    pub fn offer_repair(&mut self, prepared: Prepared) {
        self.repairs.insert(prepared.recipe.platform, Arc::new(prepared));
    }

    /// Adds a recipe for runs under way only.
    pub fn keep(&mut self, prepared: Prepared) {
        self.by_hash.insert(prepared.recipe.hash, Arc::new(prepared));
    }

    /// The recipe for new runs on a platform.
    pub fn for_platform(&self, platform: Platform) -> Option<&Arc<Prepared>> {
        self.by_hash(*self.by_platform.get(&platform)?)
    }

    /// The recipes among which an engineer can choose.
    pub fn choices(&self) -> impl Iterator<Item = &Arc<Prepared>> {
        let usual = self.by_platform.values();
        usual.chain(&self.standby).filter_map(|hash| self.by_hash.get(hash))
    }

    /// The recipe for a repair on a platform that a person asks for.
    pub fn repair_for(&self, platform: Platform) -> Option<&Arc<Prepared>> {
        self.repairs.get(&platform)
    }

    /// The recipe with this hash.
    pub fn by_hash(&self, hash: Sha256) -> Option<&Arc<Prepared>> {
        let repairs = || self.repairs.values().find(|prepared| prepared.recipe.hash == hash);
        self.by_hash.get(&hash).or_else(repairs)
    }

    /// Every recipe, but those for repairs that a person asks for.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Prepared>> {
        self.by_hash.values()
    }
}
