//! What is wrong with a device and what is to be done, from all that was found out. Pure.
//!
//! The cloud never tells which key it holds: that it does not know the device's is inferred, from the ledger, the last
//! session and what the device says of its connection, and is settled by registering the key.

use crate::model::{
    CloudState, Diagnosis, Fingerprint, Platform, ProductId, ServerExam,
    cloud_state::{CloudStatus, Footing, Suspect},
    diagnosis::{Sureness, Trouble},
    key::{KeyLayout, SlotContent},
    recipe::{Aim, KeyPolicy, Recipe, Work},
    server::ServerFinding,
    survey::{Membership, Survey},
};

use super::{flow, run::Run};

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

impl Findings<'_> {
    /// The key that the device holds.
    pub(super) fn present(&self) -> Option<Fingerprint> {
        self.content.key().map(|key| key.fingerprint)
    }

    /// True if the device's own parser reads its key wrong.
    pub(super) const fn is_misread(&self) -> bool {
        matches!(
            self.content,
            SlotContent::Valid {
                layout: KeyLayout::MisreadByDevice,
                ..
            }
        )
    }

    /// True if the device holds the very key that was given for it.
    pub(super) fn holds_given(&self) -> bool {
        self.given.is_some() && self.given == self.present()
    }

    /// True if the key that was given is the one that the cloud accepted last: it is written without being registered. Not
    /// while the device is connected with another one, which the cloud knows then, whatever the ledger says.
    pub(super) fn is_restored(&self) -> bool {
        let connected = self.cloud.is_some_and(CloudState::is_connected);
        self.given.is_some() && self.given == self.accepted && (!connected || self.holds_given())
    }

    /// What the ledger says of the key: wrong server settings hide whatever the connection would say of it.
    pub(super) fn behind_settings(&self) -> Behind {
        match self.accepted {
            None => Behind::Untold,
            accepted if accepted == self.present() => Behind::Known,
            Some(other) => Behind::Another(other),
        }
    }
}

/// A trouble with what speaks for it.
pub(super) type Finding = (Trouble, Sureness, Vec<String>);

/// Names the one thing that is wrong, and the one flow that may be done about it.
pub fn diagnose(findings: &Findings<'_>) -> Diagnosis {
    let (trouble, sureness, evidence) = out_of_bounds(findings)
        .or_else(|| misplaced(findings))
        .or_else(|| of_slot(findings.content))
        .or_else(|| of_server(findings))
        .unwrap_or_else(|| of_connection(findings));
    let (flow, no_way) = match flow::flow(findings, trouble) {
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

/// The product of a run from its diagnosis on: that of the recipe, or the one in which the cloud shows the device.
pub fn product(recipe: &Recipe, survey: &Survey) -> Option<ProductId> {
    product_in(recipe.product.as_ref(), survey)
}

/// The product that is named, or the one in which the cloud shows the device.
pub(super) fn product_in(named: Option<&ProductId>, survey: &Survey) -> Option<ProductId> {
    named.cloned().or_else(|| survey.shown()?.membership.product())
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
            let sentence = "No product that the token reaches has it; if it was never imported, --product imports it.";
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
pub(super) fn misplaced(findings: &Findings<'_>) -> Option<Finding> {
    let (shown, product) = (findings.survey.shown()?, findings.recipe.product.as_ref()?);
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
        SlotContent::Valid {
            layout: KeyLayout::MisreadByDevice,
            ..
        } => certain(
            Trouble::KeyMisread,
            "The pair is whole, in an encoding that the device reads by position and gets wrong.".into(),
        ),
        SlotContent::Valid { .. } => None,
    }
}

/// What the server settings say.
fn of_server(findings: &Findings<'_>) -> Option<Finding> {
    let exam = findings.server?;
    let mut evidence = vec![format!("{}.", exam.finding)];
    let trouble = match &exam.finding {
        ServerFinding::Right => return None,
        ServerFinding::Unreadable { .. } => Trouble::KeyUnreadable,
        ServerFinding::Wrong { .. } | ServerFinding::Invalid { .. } => {
            evidence.extend(findings.behind_settings().sentence());
            Trouble::ServerKeyWrong
        }
    };
    Some((trouble, Sureness::Certain, evidence))
}

/// What the ledger says of the key of a device that could not reach the cloud.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// The cloud accepted this key last.
    Known,
    /// The cloud accepted another key last.
    Another(Fingerprint),
    /// Nothing.
    Untold,
}

impl Behind {
    fn sentence(self) -> Option<String> {
        match self {
            Self::Known => None,
            Self::Another(key) => Some(format!("Also, the cloud accepted another key last, {}.", key.short())),
            Self::Untold => Some("Whether the cloud knows its key cannot be seen behind that.".to_owned()),
        }
    }
}

/// Slot and settings are sound: what ledger, cloud and device say of the connection.
fn of_connection(findings: &Findings<'_>) -> Finding {
    let transport = findings.recipe.platform.row().transport;
    let present = findings.present();
    let hint = findings.cloud.and_then(|state| state.hint(transport));
    let session = findings.survey.shown().and_then(|shown| shown.last_handshake_at);
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

/// True if the work of a recipe moves devices whose product the recipe lists.
fn moves(recipe: &Recipe) -> bool {
    matches!(work(recipe), Some(Work::Diagnose | Work::Mend | Work::NewKey))
}

/// True if the recipe changes anything.
pub(super) fn changes(recipe: &Recipe) -> bool {
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

/// A product may be named by its number or by its slug; only a number can be compared.
fn is_other(product: &ProductId, id: u64) -> bool {
    product.0.parse().is_ok_and(|wanted: u64| wanted != id)
}
