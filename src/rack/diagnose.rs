//! What is wrong with a device and what is to be done, from all that was found out. Pure.
//!
//! The cloud never tells which key it holds: that it does not know the device's is inferred, from the ledger, the last
//! session and what the device says of its connection, and is settled by registering the key.

use crate::model::{
    CloudState, Diagnosis, Fingerprint, Platform, ProductId, ServerExam, StepKind,
    cloud_state::{CloudStatus, Footing, Suspect},
    diagnosis::{Flow, Sureness, Trouble},
    key::{KeyLayout, SlotContent},
    platform::Network,
    recipe::{Aim, KeyPolicy, Recipe, ServerPolicy, Work},
    server::ServerFinding,
    survey::{Membership, OwnerKind, Shown, Survey},
};

use super::run::Run;

/// All that a diagnosis rests on.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a> {
    /// The recipe of the repair.
    pub recipe: &'a Recipe,
    /// What the cloud says.
    pub survey: &'a Survey,
    /// What the device says of its connection, if it was running.
    pub cloud: Option<&'a CloudState>,
    /// What its key slot holds.
    pub content: &'a SlotContent,
    /// Its server settings, if the recipe wants some.
    pub server: Option<&'a ServerExam>,
    /// The key that the cloud accepted last, as the ledger knows.
    pub accepted: Option<Fingerprint>,
    /// The key that was given to be written.
    pub given: Option<Fingerprint>,
}

/// A trouble with what speaks for it.
pub(super) type Finding = (Trouble, Sureness, Vec<String>);

/// Names the one thing that is wrong, and the one flow that may be done about it.
pub fn diagnose(findings: &Findings<'_>) -> Diagnosis {
    let (trouble, sureness, evidence) = out_of_bounds(findings)
        .or_else(|| misplaced(findings))
        .or_else(|| of_slot(findings.content))
        .or_else(|| of_server(findings.server))
        .unwrap_or_else(|| of_connection(findings));
    let (flow, no_way) = match flow(findings, trouble) {
        Ok(flow) => (flow, None),
        Err(finding) => (None, Some(finding)),
    };
    // Whoever may not register the key finds that out before anything is changed.
    let (trouble, sureness, more) = no_way.unwrap_or((trouble, sureness, Vec::new()));
    Diagnosis {
        trouble,
        sureness,
        flow,
        evidence: evidence.into_iter().chain(more).collect(),
    }
}

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
        let another = recipe.keys == KeyPolicy::Generate && !holds_given(findings);
        if another && key.is_some() && flow != Flow::Restore {
            plan.push(StepKind::RegisterPresent);
            if flow == Flow::Move {
                // It moves with the key that it has; a new one is made where the old one was accepted.
                plan.push(StepKind::GiveBack);
            }
        }
        if another || key.is_none() || misread(findings.content) {
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

/// The product of a run from its diagnosis on: that of the recipe, or the one in which the cloud shows the device.
pub fn product(recipe: &Recipe, survey: &Survey) -> Option<ProductId> {
    product_in(recipe.product.as_ref(), survey)
}

/// The product that is named, or the one in which the cloud shows the device.
pub(super) fn product_in(named: Option<&ProductId>, survey: &Survey) -> Option<ProductId> {
    named.cloned().or_else(|| shown(survey)?.membership.product())
}

/// What stands against any repair here.
fn out_of_bounds(findings: &Findings<'_>) -> Option<Finding> {
    let recipe = findings.recipe;
    bounds(findings.survey, recipe.platform, recipe.product.as_ref(), moves(recipe))
}

/// What the cloud shows that stands against anything that would be done to a device of this platform, in this product;
/// `moves` tells whether it may be moved there.
pub(super) fn bounds(survey: &Survey, wanted: Platform, product: Option<&ProductId>, moves: bool) -> Option<Finding> {
    let certain = |trouble, sentence: String| Some((trouble, Sureness::Certain, vec![sentence]));
    let shown = match survey {
        Survey::Seen(shown) => shown,
        // It may be imported into the product of the recipe: the import says whether it may.
        _ if product.is_some() => return None,
        _ => {
            let sentence = "The cloud does not show the device to the station's token.";
            return certain(Trouble::OutOfReach, sentence.into());
        }
    };
    if let Some(id) = shown.platform_id.filter(|id| *id != wanted.id()) {
        let known = Platform::from_id(id).map_or_else(|| format!("platform {id}"), |platform| platform.to_string());
        return certain(
            Trouble::PlatformMismatch,
            format!("The cloud knows it as {known}, it is {wanted}."),
        );
    }
    if shown.denied == Some(true) || shown.quarantined == Some(true) {
        return certain(Trouble::HeldBack, "A person has to approve it in the product.".into());
    }
    match (&shown.membership, product) {
        (Membership::Product { .. }, Some(_)) if shown.movable && moves => None,
        (Membership::Product { id }, Some(product)) if !shown.in_reach || is_other(product, *id) => certain(
            Trouble::ProductMismatch,
            format!("The cloud shows it in product {id}, and it should be in {product}."),
        ),
        (Membership::Product { id }, None) if !shown.in_reach => certain(
            Trouble::OutOfReach,
            format!("The cloud shows it in product {id}, in which the station's token has no role."),
        ),
        _ => None,
    }
}

/// The device is in a product from which the recipe moves devices, and nothing stands against that. What else is wrong
/// is put right on the way.
fn misplaced(findings: &Findings<'_>) -> Option<Finding> {
    let (shown, product) = (shown(findings.survey)?, findings.recipe.product.as_ref()?);
    let Membership::Product { id } = shown.membership else {
        return None;
    };
    let keyless = findings.content.key().is_none();
    let unreadable = matches!(findings.content, SlotContent::Unreadable { .. });
    if !shown.movable || !moves(findings.recipe) || unreadable || keyless && findings.recipe.keys == KeyPolicy::Read {
        return None;
    }
    let mut evidence = vec![format!(
        "The cloud shows it in product {id}, from which it is to be moved to {product}."
    )];
    if let Some((trouble, _, more)) = of_slot(findings.content) {
        evidence.push(format!("Also, {trouble}."));
        evidence.extend(more);
    }
    Some((Trouble::ProductMismatch, Sureness::Certain, evidence))
}

/// What the key slot itself says.
fn of_slot(content: &SlotContent) -> Option<Finding> {
    let certain = |trouble, sentence: String| Some((trouble, Sureness::Certain, vec![sentence]));
    match content {
        SlotContent::Unreadable { why } => certain(Trouble::KeyUnreadable, format!("Reading it: {why}.")),
        SlotContent::Blank => certain(
            Trouble::KeyBlank,
            "The device makes a pair by itself when it next connects, and the cloud does not know that one.".into(),
        ),
        SlotContent::Corrupt { why } => certain(Trouble::KeyCorrupt, format!("In the slot: {why}.")),
        SlotContent::Valid { .. } if misread(content) => certain(
            Trouble::KeyMisread,
            "The pair is whole, in an encoding that the device reads by position and gets wrong.".into(),
        ),
        SlotContent::Valid { .. } => None,
    }
}

/// What the server settings say.
fn of_server(server: Option<&ServerExam>) -> Option<Finding> {
    let exam = server?;
    match &exam.finding {
        ServerFinding::Right => None,
        ServerFinding::Unreadable { .. } => Some((Trouble::KeyUnreadable, Sureness::Certain, vec![format!("{}.", exam.finding)])),
        ServerFinding::Wrong { .. } | ServerFinding::Invalid { .. } => {
            Some((Trouble::ServerKeyWrong, Sureness::Certain, vec![format!("{}.", exam.finding)]))
        }
    }
}

/// Slot and settings are sound: what ledger, cloud and device say of the connection.
fn of_connection(findings: &Findings<'_>) -> Finding {
    let transport = findings.recipe.platform.row().transport;
    let present = findings.content.key().map(|key| key.fingerprint);
    let hint = findings.cloud.and_then(|state| state.hint(transport));
    let session = shown(findings.survey).and_then(|shown| shown.last_handshake_at);
    let mut evidence: Vec<String> = findings
        .cloud
        .map(|state| format!("The device says: {state}."))
        .into_iter()
        .collect();
    evidence.extend(hint.map(|hint| hint.words.to_owned()));
    evidence.push(match (findings.accepted, present) {
        (None, _) => "The ledger knows of no key that the cloud accepted.".to_owned(),
        (accepted, present) if accepted == present => "The cloud accepted this very key, as the ledger knows.".to_owned(),
        (Some(accepted), _) => format!("The cloud accepted another key last, {}.", accepted.short()),
    });
    evidence.push(match session {
        Some(at) => format!("Its last session was at {at}."),
        None => "The cloud tells of no session.".to_owned(),
    });
    let differs = findings.accepted.is_some() && findings.accepted != present;
    let tried = findings
        .cloud
        .is_some_and(|state| state.status == Some(CloudStatus::Connecting) || state.error.is_some_and(|error| !error.is_none()));
    let (trouble, sureness) = match hint.map(|hint| (hint.suspect, hint.footing)) {
        _ if findings.cloud.is_some_and(CloudState::is_connected) => (Trouble::Nothing, Sureness::Certain),
        _ if differs => (Trouble::KeyUnknown, Sureness::Likely),
        // The settings were just compared: it is the address that leads elsewhere, or the network.
        Some((Suspect::ServerKey, _)) => (Trouble::NotKeys, Sureness::Likely),
        Some((Suspect::DeviceKey | Suspect::EitherKey, Footing::Field)) => (Trouble::KeyUnknown, Sureness::Likely),
        Some((Suspect::DeviceKey | Suspect::EitherKey, Footing::Inferred)) => (Trouble::KeyUnknown, Sureness::Possible),
        None if findings.accepted.is_some() && tried => (Trouble::NotKeys, Sureness::Likely),
        // It is not connected, and that alone speaks against nothing.
        None if findings.accepted.is_some() => (Trouble::Nothing, Sureness::Likely),
        None if session.is_none() => (Trouble::KeyUnknown, Sureness::Likely),
        None => (Trouble::KeyUnknown, Sureness::Possible),
    };
    (trouble, sureness, evidence)
}

/// The flow for a trouble, if one may be done; else what stands against it.
fn flow(findings: &Findings<'_>, trouble: Trouble) -> Result<Option<Flow>, Finding> {
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
        Trouble::ServerKeyWrong if !writes => return Ok(Some(Flow::ServerKey)),
        _ if work == Some(Work::ServerKey) => return Ok(Some(Flow::ServerKey)),
        Trouble::KeyBlank | Trouble::KeyCorrupt | Trouble::KeyMisread if findings.recipe.keys == KeyPolicy::Read => {
            return Ok(None);
        }
        _ if is_restored(findings) => return Ok(Some(Flow::Restore)),
        Trouble::KeyMisread
            if findings.given.is_none() && findings.accepted == findings.content.key().map(|key| key.fingerprint) =>
        {
            return Ok(Some(Flow::Rewrite));
        }
        Trouble::Nothing | Trouble::NotKeys if !writes => return Ok(None),
        _ => {}
    }
    let Some(shown) = shown(findings.survey) else {
        return Ok(Some(Flow::ProductUnclaimed));
    };
    let in_product = findings.recipe.product.is_some() || matches!(shown.membership, Membership::Product { .. });
    match (shown.owner, in_product) {
        // A customer's device cannot prove a permission with its present key: only a slot without one gets a new one.
        (OwnerKind::Customer, true)
            if findings.recipe.keys == KeyPolicy::Generate && findings.content.key().is_some() && !holds_given(findings) =>
        {
            Ok(None)
        }
        (owner, in_product) => way_in(owner, in_product).map(Some),
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
    let owner = shown(findings.survey).map_or(OwnerKind::Unknown, |shown| shown.owner);
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

/// True if the device has to be imported into the product of the recipe.
fn joins(findings: &Findings<'_>) -> bool {
    findings.recipe.product.is_some()
        && shown(findings.survey).is_none_or(|shown| matches!(shown.membership, Membership::Development))
}

/// True if the work of a recipe moves devices whose product the recipe lists.
fn moves(recipe: &Recipe) -> bool {
    matches!(work(recipe), Some(Work::Diagnose | Work::Mend | Work::NewKey))
}

/// True if the recipe changes anything.
fn changes(recipe: &Recipe) -> bool {
    matches!(
        work(recipe),
        Some(Work::Mend | Work::NewKey | Work::GivenKey | Work::ServerKey)
    )
}

/// True if the steps of a run under this recipe come with a diagnosis. A packet needs none.
pub(super) fn comes(recipe: &Recipe) -> bool {
    work(recipe).is_some_and(|work| work != Work::SaveKey)
}

/// True if a run has found out all that a diagnosis needs, and has none.
pub(super) fn is_due(recipe: &Recipe, run: &Run) -> bool {
    comes(recipe) && run.diagnosis.is_none()
}

/// What the repair does; none for a recipe that is no repair.
pub(super) fn work(recipe: &Recipe) -> Option<Work> {
    match &recipe.aim {
        Aim::Repair(repair) => Some(repair.work),
        Aim::Provision => None,
    }
}

/// True if the device holds the very key that was given for it.
fn holds_given(findings: &Findings<'_>) -> bool {
    findings.given.is_some() && findings.given == findings.content.key().map(|key| key.fingerprint)
}

/// True if the key that was given is the one that the cloud accepted last: it is written without being registered. Not
/// while the device is connected with another one, which the cloud knows then, whatever the ledger says.
fn is_restored(findings: &Findings<'_>) -> bool {
    let connected = findings.cloud.is_some_and(CloudState::is_connected);
    findings.given.is_some() && findings.given == findings.accepted && (!connected || holds_given(findings))
}

fn shown(survey: &Survey) -> Option<&Shown> {
    match survey {
        Survey::Seen(shown) => Some(shown),
        Survey::Unseen | Survey::Failed(_) => None,
    }
}

/// A product may be named by its number or by its slug; only a number can be compared.
fn is_other(product: &ProductId, id: u64) -> bool {
    product.0.parse().is_ok_and(|wanted: u64| wanted != id)
}

fn misread(content: &SlotContent) -> bool {
    matches!(
        content,
        SlotContent::Valid {
            layout: KeyLayout::MisreadByDevice,
            ..
        }
    )
}
