//! Which flow puts a trouble right, whether it may be done to a device of this owner, and the steps that it takes. Pure.

use crate::model::{
    Diagnosis, StepKind,
    diagnosis::{Flow, Sureness, Trouble},
    platform::Network,
    recipe::{KeyPolicy, ServerPolicy, Work},
    survey::{Membership, OwnerKind, Shown},
};

use super::diagnose::{Behind, Finding, Findings, changes, misplaced, work};

/// The steps of a flow, in order.
pub fn plan(findings: &Findings<'_>, diagnosis: &Diagnosis) -> Vec<StepKind> {
    let recipe = findings.recipe;
    if !changes(recipe) {
        return Vec::new();
    }
    let taken = matches!(diagnosis.flow, Some(Flow::Customer | Flow::Move));
    let mut plan = match diagnosis.flow {
        Some(flow) => mending(findings, flow),
        // What the ledger alone says is put to the proof.
        None if diagnosis.trouble == Trouble::Nothing && diagnosis.sureness < Sureness::Certain && recipe.prove => Vec::new(),
        None => return Vec::new(),
    };
    plan.push(StepKind::Boot);
    if taken {
        // A claim that was refused offline is asked for again when the device is online.
        plan.push(StepKind::GiveBack);
    }
    let joins_network = recipe.prove && recipe.wifi.is_some() && recipe.platform.row().network == Network::Wifi;
    if joins_network {
        plan.push(StepKind::JoinNetwork);
    }
    plan.push(StepKind::Check);
    if recipe.prove {
        plan.push(StepKind::Prove);
    }
    if joins_network {
        plan.push(StepKind::ForgetNetwork);
    }
    plan
}

/// What a flow does while the device is held.
fn mending(findings: &Findings<'_>, flow: Flow) -> Vec<StepKind> {
    let recipe = findings.recipe;
    let key = findings.content.key();
    let server = matches!(recipe.server, ServerPolicy::Set(_));
    let mut plan = Vec::new();
    if flow == Flow::ServerKey {
        plan.push(StepKind::ServerKey);
    } else {
        // What was examined is accounted for anew, as before every write.
        plan.push(StepKind::ReadKey);
        if joins(findings) {
            plan.push(StepKind::Enrol);
        }
        if matches!(flow, Flow::Customer | Flow::Move) {
            plan.push(StepKind::Secure);
        }
        let another = recipe.keys == KeyPolicy::Generate && !findings.holds_given();
        if another && key.is_some() && flow != Flow::Restore {
            plan.push(StepKind::RegisterPresent);
            if flow == Flow::Move {
                // It moves with the key that it has; a new one is made where the old one was accepted.
                plan.push(StepKind::GiveBack);
            }
        }
        if another || key.is_none() || findings.is_misread() {
            plan.push(StepKind::Rekey);
        }
        plan.push(StepKind::Register);
        if matches!(flow, Flow::Customer | Flow::Move) {
            plan.push(StepKind::GiveBack);
        }
        if server {
            plan.push(StepKind::ServerKey);
        }
    }
    plan
}

/// The flow for a trouble, if one may be done; else what stands against it.
pub(super) fn flow(findings: &Findings<'_>, trouble: Trouble) -> Result<Option<Flow>, Finding> {
    let work = work(findings.recipe);
    let writes = work.is_some_and(Work::writes_key);
    match trouble {
        Trouble::ProductMismatch if misplaced(findings).is_some() => return move_of(findings),
        Trouble::PlatformMismatch
        | Trouble::ProductMismatch
        | Trouble::OutOfReach
        | Trouble::Unclaimed
        | Trouble::OwnedByStranger
        | Trouble::HeldBack
        | Trouble::Protected
        | Trouble::KeyUnreadable => return Ok(None),
        _ if work == Some(Work::ServerKey) => return Ok(Some(Flow::ServerKey)),
        Trouble::ServerKeyWrong if !writes => return Ok(Some(of_settings(findings))),
        Trouble::KeyBlank | Trouble::KeyCorrupt | Trouble::KeyMisread if findings.recipe.keys == KeyPolicy::Read => {
            return Ok(None);
        }
        _ if findings.is_restored() => return Ok(Some(Flow::Restore)),
        Trouble::KeyMisread if findings.given.is_none() && findings.accepted == findings.present() => {
            return Ok(Some(Flow::Rewrite));
        }
        Trouble::Nothing | Trouble::NotKeys if !writes => return Ok(None),
        _ => {}
    }
    let Some(shown) = findings.survey.shown() else {
        return Ok(Some(Flow::ProductUnclaimed));
    };
    match (shown.owner, is_in_product(findings, shown)) {
        // A customer's device cannot prove a permission with its present key: only a slot without one gets a new one.
        (OwnerKind::Customer, true)
            if findings.recipe.keys == KeyPolicy::Generate && findings.content.key().is_some() && !findings.holds_given() =>
        {
            Ok(None)
        }
        (owner, in_product) => way_in(owner, in_product).map(Some),
    }
}

/// The flow that puts wrong server settings right. The key is registered on the way where the ledger does not say that the
/// cloud knows it and that takes nothing from an owner; a customer's device is taken only if the cloud is known to hold
/// another key.
fn of_settings(findings: &Findings<'_>) -> Flow {
    let behind = findings.behind_settings();
    let way_in = findings.survey.shown().map_or(Ok(Flow::ProductUnclaimed), |shown| {
        way_in(shown.owner, is_in_product(findings, shown))
    });
    match (way_in, behind) {
        (Ok(Flow::Customer), Behind::Untold) | (Err(_), _) | (_, Behind::Known) => Flow::ServerKey,
        (Ok(flow), _) => flow,
    }
}

/// The flow by which the key of a device of this owner is registered, in a product or out of any; else what stands
/// against it.
pub(super) fn way_in(owner: OwnerKind, in_product: bool) -> Result<Flow, Finding> {
    let stands = |trouble, sureness, sentence: &str| Err((trouble, sureness, vec![sentence.to_owned()]));
    match (owner, in_product) {
        (OwnerKind::Account, false) => Ok(Flow::Development),
        (OwnerKind::Nobody, false) => stands(
            Trouble::Unclaimed,
            Sureness::Certain,
            "Its key can be registered by its owner alone, and it has none.",
        ),
        (OwnerKind::Account | OwnerKind::Team, true) => Ok(Flow::ProductAccount),
        (OwnerKind::Nobody, true) => Ok(Flow::ProductUnclaimed),
        (OwnerKind::Customer, true) => Ok(Flow::Customer),
        (OwnerKind::Unknown, _) => stands(
            Trouble::OwnedByStranger,
            Sureness::Possible,
            "It cannot be told whose it is: the team of the product cannot be seen from here.",
        ),
        (OwnerKind::Stranger | OwnerKind::Team | OwnerKind::Customer, _) => stands(
            Trouble::OwnedByStranger,
            Sureness::Certain,
            "Only its owner can release it; nothing was sent to anybody.",
        ),
    }
}

/// The flow of a device that is to be moved, if whoever owns it can have it back.
fn move_of(findings: &Findings<'_>) -> Result<Option<Flow>, Finding> {
    let owner = findings.survey.shown().map_or(OwnerKind::Unknown, |shown| shown.owner);
    let stands = |trouble, sureness, sentence: &str| Err((trouble, sureness, vec![sentence.to_owned()]));
    match owner {
        OwnerKind::Customer if findings.recipe.keys == KeyPolicy::Generate && findings.content.key().is_some() => Ok(None),
        OwnerKind::Nobody | OwnerKind::Account | OwnerKind::Customer => Ok(Some(Flow::Move)),
        OwnerKind::Team => stands(
            Trouble::ProductMismatch,
            Sureness::Certain,
            "A member of the team owns it, and nobody but that member could claim it back after the move.",
        ),
        OwnerKind::Stranger => stands(
            Trouble::OwnedByStranger,
            Sureness::Certain,
            "Only its owner can release it; nothing was sent to anybody.",
        ),
        OwnerKind::Unknown => stands(
            Trouble::OwnedByStranger,
            Sureness::Possible,
            "It cannot be told whose it is: the team of the product cannot be seen from here.",
        ),
    }
}

/// True if the device is in a product when its key is registered.
fn is_in_product(findings: &Findings<'_>, shown: &Shown) -> bool {
    findings.recipe.product.is_some() || matches!(shown.membership, Membership::Product { .. })
}

/// True if the device has to be imported into the product of the recipe.
fn joins(findings: &Findings<'_>) -> bool {
    findings.recipe.product.is_some()
        && findings
            .survey
            .shown()
            .is_none_or(|shown| matches!(shown.membership, Membership::Development))
}
