//! What counts for the station as a whole, whatever is in its slots: who is at it, what is worked on, whether the line is
//! stopped, which devices are to be repaired. Made from facts alone, live and at a start alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{
    Code, DeviceId, Fact, Mono, Platform, Verdict, Wall,
    recipe::{Sha256, WorkOrder},
};

/// The rules of the house: what a station is told once, beside its rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// So many equal failures in a row, of different devices, stop the line; none never do.
    pub stop_after: Option<usize>,
    /// True if there are PINs at the start: without them everybody is an engineer.
    pub pins: bool,
    /// How long an engineer's PIN counts.
    pub engineer_for: Duration,
    /// Who is at the station from this start on, whoever was before.
    pub operator_now: Option<String>,
    /// What is worked on from this start on, whatever was before.
    pub work_order_now: Option<WorkOrder>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            stop_after: None,
            pins: false,
            engineer_for: Duration::from_secs(15 * 60),
            operator_now: None,
            work_order_now: None,
        }
    }
}

/// What the facts say of the station as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shift {
    /// Who is at the station.
    pub operator: Option<String>,
    /// What is worked on.
    pub work_order: Option<WorkOrder>,
    /// Why no new run begins, if the line is stopped.
    pub stopped: Option<Stopped>,
    /// Devices whose next run is a repair.
    repairs: BTreeSet<DeviceId>,
    /// Recipes that were chosen in place of the usual ones.
    recipes: BTreeMap<Platform, Sha256>,
    /// The devices that failed one after the other, each in the same way.
    failures: Vec<DeviceId>,
    failed_with: Option<Code>,
    /// Wrong PINs in a row, and when the last one came.
    wrong: u32,
    wrong_at: Option<Wall>,
}

/// Why the line is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How all of them failed.
    pub code: Code,
    /// The devices, in order.
    pub devices: Vec<DeviceId>,
    /// Since when.
    pub since: Wall,
}

/// An engineer who gave the right PIN. It does not outlive the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engineer {
    /// Who.
    pub name: String,
    /// Until then, for people.
    pub until: Wall,
    /// Until then.
    pub(super) deadline: Mono,
}

impl Shift {
    /// Before any fact.
    pub(super) fn begin(operator: Option<String>, work_order: Option<WorkOrder>) -> Self {
        Self {
            operator,
            work_order,
            ..Self::default()
        }
    }

    /// Takes in a fact.
    pub(super) fn apply(&mut self, at: Wall, fact: &Fact) {
        match fact {
            Fact::OperatorNamed { operator } => self.operator.clone_from(operator),
            Fact::WorkOrderNamed { work_order } => self.work_order.clone_from(work_order),
            Fact::RunStarted { device, .. } => {
                self.repairs.remove(device);
            }
            Fact::RunEnded {
                device, verdict, code, ..
            } => self.ended(*device, *verdict, *code),
            Fact::LineStopped { code, devices } => {
                self.stopped = Some(Stopped {
                    code: *code,
                    devices: devices.clone(),
                    since: at,
                });
            }
            Fact::LineReleased { .. } => {
                self.stopped = None;
                self.failures.clear();
            }
            Fact::RepairAsked { device, .. } => {
                self.repairs.insert(*device);
            }
            Fact::RecipeChosen { platform, recipe, .. } => {
                self.recipes.insert(*platform, *recipe);
            }
            Fact::PinRefused {} => (self.wrong, self.wrong_at) = (self.wrong + 1, Some(at)),
            Fact::EngineerCame { .. } => (self.wrong, self.wrong_at) = (0, None),
            _ => {}
        }
    }

    /// True if the next run of a device is a repair.
    pub fn is_to_repair(&self, device: DeviceId) -> bool {
        self.repairs.contains(&device)
    }

    /// The recipe that was chosen last for a platform.
    pub(super) fn recipe_for(&self, platform: Platform) -> Option<Sha256> {
        self.recipes.get(&platform).copied()
    }

    /// How all failed that failed last, one after the other.
    pub(super) fn failures(&self) -> Option<(Code, &[DeviceId])> {
        Some((self.failed_with?, &self.failures))
    }

    /// When the next PIN may be tried, if that is not now. A wait longer than any is the mark of a wall clock that jumped
    /// back.
    pub fn next_pin(&self, wall: Wall) -> Option<Wall> {
        let next = self.pin_wait_ends()?;
        (next > wall && next.millis() - wall.millis() <= LONGEST_WAIT_MS).then_some(next)
    }

    /// When the wait after the last wrong PIN ends or ended: after some of them each takes longer.
    pub(super) fn pin_wait_ends(&self) -> Option<Wall> {
        let over = self.wrong.checked_sub(FREE_PINS)?;
        let wait = (FIRST_WAIT_MS << over.min(10)).min(LONGEST_WAIT_MS);
        Wall::from_millis(self.wrong_at?.millis().saturating_add(wait))
    }

    /// A run that a person stopped says nothing; the same device again is no further one.
    fn ended(&mut self, device: DeviceId, verdict: Verdict, code: Option<Code>) {
        match verdict {
            Verdict::Aborted => return,
            Verdict::Pass | Verdict::Owed => {
                self.failures.clear();
                self.failed_with = None;
                return;
            }
            Verdict::Fail | Verdict::Fault | Verdict::RolledBack | Verdict::Quarantined => {}
        }
        if self.failed_with != code {
            self.failures.clear();
            self.failed_with = code;
        }
        if !self.failures.contains(&device) && self.failures.len() < MOST_FAILURES {
            self.failures.push(device);
        }
    }
}

/// So many wrong PINs cost nothing: people mistype.
const FREE_PINS: u32 = 3;
/// The wait after the next one; it doubles with each.
const FIRST_WAIT_MS: i64 = 30_000;
const LONGEST_WAIT_MS: i64 = 15 * 60_000;
/// More than any station counts before it stops.
const MOST_FAILURES: usize = 100;
