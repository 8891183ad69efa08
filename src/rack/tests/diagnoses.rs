//! What is wrong, for every combination of what can be found out; and what a run does with it.

use super::*;
use crate::{
    model::{
        ServerFinding,
        cloud_state::{CloudError, CloudStatus},
        diagnosis::{Flow, Sureness, Trouble},
        recipe::{Repair, ServerSettings, Work as Aimed},
        survey::{Membership, OwnerKind, Shown},
    },
    rack::{
        diagnose::{Findings, diagnose},
        flow::plan,
    },
};

pub(super) fn repair(work: Aimed, keys: KeyPolicy) -> Recipe {
    Recipe {
        aim: Aim::Repair(Repair {
            work,
            from: Vec::new(),
            reference: None,
        }),
        product: None,
        ..recipe(keys)
    }
}

/// In product 1234, in these hands.
pub(super) fn shown(owner: OwnerKind) -> Shown {
    Shown {
        membership: Membership::Product { id: 1234 },
        in_reach: true,
        platform_id: Some(Platform::Argon.id()),
        owner,
        last_handshake_at: None,
        online: None,
        last_heard: None,
        quarantined: None,
        denied: None,
        protection: None,
        status: None,
        at: Wall::from_millis(1_800_000_000_000),
        movable: false,
    }
}

pub(super) fn customer() -> Shown {
    shown(OwnerKind::Customer)
}

fn exam(finding: ServerFinding) -> ServerExam {
    ServerExam {
        finding,
        key: None,
        address: None,
        notes: Vec::new(),
    }
}

fn wrong() -> ServerFinding {
    ServerFinding::Wrong {
        differs: vec!["another server key".into()],
    }
}

fn state(status: CloudStatus, error: i32) -> CloudState {
    CloudState {
        status: Some(status),
        error: Some(CloudError(error)),
        attempts: None,
    }
}

pub(super) fn with_server(recipe: Recipe) -> Recipe {
    Recipe {
        server: ServerPolicy::Set(ServerSettings {
            spki: Vec::new(),
            host: "h".into(),
            port: None,
        }),
        ..recipe
    }
}

fn misread() -> SlotContent {
    SlotContent::Valid {
        key: key(1),
        layout: KeyLayout::MisreadByDevice,
    }
}

/// Every combination of owner, slot, settings, connection and ledger: one trouble, and a flow that its owner allows.
#[test]
fn every_combination_has_one_trouble_and_a_flow_that_fits_its_owner() {
    let contents = [
        valid(1),
        misread(),
        SlotContent::Blank,
        SlotContent::Corrupt { why: "x".into() },
        SlotContent::Unreadable { why: "x".into() },
    ];
    let servers = [
        None,
        Some(exam(ServerFinding::Right)),
        Some(exam(wrong())),
        Some(exam(ServerFinding::Unreadable { why: "x".into() })),
    ];
    let clouds = [
        None,
        Some(state(CloudStatus::Connected, 0)),
        Some(state(CloudStatus::Disconnected, 10)),
        Some(state(CloudStatus::Connecting, 17)),
        Some(state(CloudStatus::Disconnected, 0)),
    ];
    let recipe = with_server(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate));
    let mut count = 0;
    for (owner, product) in OwnerKind::ALL.into_iter().flat_map(|owner| [(owner, true), (owner, false)]) {
        let mut seen = shown(owner);
        if !product {
            seen.membership = Membership::Development;
        }
        let survey = Survey::Seen(seen);
        for (content, server) in contents
            .iter()
            .flat_map(|content| servers.iter().map(move |server| (content, server)))
        {
            for (cloud, accepted) in clouds
                .iter()
                .flat_map(|cloud| [None, Some(1), Some(2)].map(|accepted| (cloud, accepted)))
            {
                let findings = Findings {
                    recipe: &recipe,
                    survey: &survey,
                    cloud: cloud.as_ref(),
                    content,
                    server: server.as_ref(),
                    accepted: accepted.map(|n| Fingerprint([n; 32])),
                    given: None,
                };
                let said = diagnose(&findings);
                let steps = plan(&findings, &said);
                count += 1;
                let case = format!("{owner} {product} {content:?} {server:?} {cloud:?} {accepted:?}: {said:?} {steps:?}");
                assert!(!said.evidence.is_empty(), "{case}");
                assert!(said.evidence.iter().all(|sentence| sentence.ends_with('.')), "{case}");
                // What the slot itself shows comes before what is inferred.
                let of_slot = match content {
                    SlotContent::Unreadable { .. } => Some(Trouble::KeyUnreadable),
                    SlotContent::Blank => Some(Trouble::KeyBlank),
                    SlotContent::Corrupt { .. } => Some(Trouble::KeyCorrupt),
                    SlotContent::Valid {
                        layout: KeyLayout::MisreadByDevice,
                        ..
                    } => Some(Trouble::KeyMisread),
                    SlotContent::Valid { .. } => None,
                };
                let no_way = matches!(said.trouble, Trouble::Unclaimed | Trouble::OwnedByStranger);
                if let Some(trouble) = of_slot.filter(|_| !no_way) {
                    assert_eq!((said.trouble, said.sureness), (trouble, Sureness::Certain), "{case}");
                }
                // Nobody's device is taken, and nothing unreadable is a reason to write.
                match said.flow {
                    // What the ledger alone says is put to the proof.
                    None if (said.trouble, said.sureness) == (Trouble::Nothing, Sureness::Likely) => {
                        assert_eq!(steps, [StepKind::Boot, StepKind::Check, StepKind::Prove], "{case}");
                    }
                    None => assert!(steps.is_empty(), "{case}"),
                    Some(Flow::ServerKey) => assert_eq!(steps[0], StepKind::ServerKey, "{case}"),
                    Some(Flow::Rewrite) => {
                        assert!(said.trouble == Trouble::KeyMisread && accepted == Some(1), "{case}");
                    }
                    Some(Flow::Development) => assert!(owner == OwnerKind::Account && !product, "{case}"),
                    Some(Flow::ProductAccount) => {
                        assert!(matches!(owner, OwnerKind::Account | OwnerKind::Team) && product, "{case}");
                    }
                    Some(Flow::ProductUnclaimed) => assert!(owner == OwnerKind::Nobody && product, "{case}"),
                    Some(Flow::Restore) => panic!("nothing was given: {case}"),
                    Some(Flow::Move) => panic!("nothing is to be moved: {case}"),
                    Some(Flow::Customer) => assert!(owner == OwnerKind::Customer && product, "{case}"),
                }
                assert!(
                    said.flow.is_none() || !matches!(content, SlotContent::Unreadable { .. }),
                    "{case}"
                );
                assert_eq!(
                    steps.contains(&StepKind::Secure),
                    said.flow == Some(Flow::Customer),
                    "taken only when it can be given back: {case}"
                );
                assert!(!steps.contains(&StepKind::RegisterPresent), "{case}");
                let at = |kind| steps.iter().position(|step| *step == kind);
                if let Some(register) = at(StepKind::Register) {
                    assert_eq!(at(StepKind::ReadKey), Some(0), "{case}");
                    assert!(at(StepKind::Boot) > Some(register), "registered while it is held: {case}");
                    assert_eq!(
                        at(StepKind::Rekey).is_some(),
                        of_slot.is_some(),
                        "a good key is never replaced: {case}"
                    );
                }
                if cloud.is_some_and(|state| state.is_connected())
                    && of_slot.is_none()
                    && server.as_ref().is_none_or(|s| s.finding.is_right())
                {
                    assert_eq!((said.trouble, said.flow), (Trouble::Nothing, None), "{case}");
                }
            }
        }
    }
    assert_eq!(count, 12 * 5 * 4 * 5 * 3);
}

#[test]
fn wrong_settings_hide_the_key_which_is_registered_on_the_way_where_that_takes_nothing_from_an_owner() {
    let recipe = with_server(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate));
    let cases = [
        (OwnerKind::Nobody, None, Flow::ProductUnclaimed),
        (OwnerKind::Account, None, Flow::ProductAccount),
        (OwnerKind::Customer, None, Flow::ServerKey),
        (OwnerKind::Stranger, None, Flow::ServerKey),
        (OwnerKind::Nobody, Some(1), Flow::ServerKey),
        (OwnerKind::Customer, Some(1), Flow::ServerKey),
        (OwnerKind::Nobody, Some(2), Flow::ProductUnclaimed),
        (OwnerKind::Customer, Some(2), Flow::Customer),
        (OwnerKind::Stranger, Some(2), Flow::ServerKey),
    ];
    for (owner, accepted, flow) in cases {
        let (survey, server) = (Survey::Seen(shown(owner)), exam(wrong()));
        let findings = Findings {
            recipe: &recipe,
            survey: &survey,
            cloud: None,
            content: &valid(1),
            server: Some(&server),
            accepted: accepted.map(|n| Fingerprint([n; 32])),
            given: None,
        };
        let said = diagnose(&findings);
        let case = format!("{owner} {accepted:?}: {said:?}");
        assert_eq!((said.trouble, said.flow), (Trouble::ServerKeyWrong, Some(flow)), "{case}");
        assert_eq!(
            said.evidence.len() > 1,
            accepted != Some(1),
            "what is not known is said: {case}"
        );
        let steps = plan(&findings, &said);
        assert!(steps.contains(&StepKind::ServerKey), "{case}");
        assert_eq!(steps.contains(&StepKind::Register), flow != Flow::ServerKey, "{case}");
    }
}

#[test]
fn what_stands_against_a_repair_is_found_before_anything_else() {
    type Change = fn(&mut Shown, &mut Recipe);
    let cases: [(Change, Trouble); 7] = [
        (|s, _| s.platform_id = Some(6), Trouble::PlatformMismatch),
        (|s, _| s.quarantined = Some(true), Trouble::HeldBack),
        (|s, _| s.denied = Some(true), Trouble::HeldBack),
        (|s, _| s.in_reach = false, Trouble::OutOfReach),
        (|_, r| r.product = Some(ProductId("99".into())), Trouble::ProductMismatch),
        (|s, _| s.owner = OwnerKind::Stranger, Trouble::OwnedByStranger),
        (|s, _| s.owner = OwnerKind::Unknown, Trouble::OwnedByStranger),
    ];
    for (change, trouble) in cases {
        let (mut seen, mut recipe) = (shown(OwnerKind::Nobody), repair(Aimed::Mend, KeyPolicy::ReadOrGenerate));
        change(&mut seen, &mut recipe);
        let mut drive = Drive::new(recipe, SlotContent::Blank);
        drive.survey = Survey::Seen(seen);
        assert_eq!(
            drive.run(&mut by_the_book).and_then(|(_, code)| code),
            trouble.code(),
            "{trouble}"
        );
        assert!(
            drive.errands.is_empty() && drive.holds == SlotContent::Blank,
            "{trouble}: nothing was touched"
        );
    }
}

#[test]
fn each_flow_ends_in_a_pass_with_what_it_takes_and_no_more() {
    let good = valid(1);
    let cases = [
        (OwnerKind::Nobody, true, good.clone(), None, vec!["key"]),
        (OwnerKind::Account, true, good.clone(), None, vec!["key"]),
        (OwnerKind::Account, false, SlotContent::Blank, None, vec!["key"]),
        (
            OwnerKind::Team,
            true,
            SlotContent::Corrupt { why: "x".into() },
            None,
            vec!["key"],
        ),
        (OwnerKind::Nobody, true, misread(), Some(1), vec![]),
        (OwnerKind::Nobody, true, misread(), Some(2), vec!["key"]),
    ];
    for (owner, product, holds, accepted, errands) in cases {
        let mut drive = Drive::new(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate), holds.clone());
        let mut seen = shown(owner);
        if !product {
            seen.membership = Membership::Development;
        }
        drive.survey = Survey::Seen(seen);
        drive.known.accepted = accepted.map(|n| (Fingerprint([n; 32]), None));
        let case = format!("{owner} {product} {holds:?} {accepted:?}");
        if accepted == Some(1) {
            drive.same_pair = true;
        }
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{case}");
        assert_eq!(drive.errands, errands, "{case}");
    }
}

#[test]
fn a_new_pair_is_made_only_after_the_present_key_was_accepted() {
    let mut drive = Drive::new(repair(Aimed::NewKey, KeyPolicy::Generate), valid(1));
    drive.survey = Survey::Seen(shown(OwnerKind::Nobody));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(drive.keys(), ["01", "intended", "63"]);
    let product = drive.facts.iter().find_map(|(_, f)| match f {
        Fact::ItemQueued { item } => item.product.clone(),
        _ => None,
    });
    assert_eq!(
        product,
        Some(ProductId("1234".into())),
        "the product in which the cloud shows it"
    );
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_is_wrong() {
    for (work, verdict) in [
        (Aimed::Diagnose, (Verdict::Fail, Some(Code::KeyBlank))),
        (Aimed::Address, (Verdict::Pass, None)),
    ] {
        let mut drive = Drive::new(repair(work, KeyPolicy::ReadOrGenerate), SlotContent::Blank);
        drive.survey = Survey::Seen(customer());
        assert_eq!(drive.run(&mut by_the_book), Some(verdict));
        assert!(drive.errands.is_empty());
        assert_eq!(drive.count(|f| matches!(f, Fact::Diagnosed { .. })), 1);
    }
}

#[test]
fn a_recipe_that_makes_no_keys_proposes_none() {
    let mut drive = Drive::new(repair(Aimed::Mend, KeyPolicy::Read), SlotContent::Blank);
    drive.survey = Survey::Seen(shown(OwnerKind::Nobody));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::KeyBlank))));
    assert_eq!(drive.holds, SlotContent::Blank);
}

#[test]
fn a_device_that_went_away_before_its_diagnosis_is_examined_again() {
    let mut drive = Drive::new(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate), valid(1));
    drive.survey = Survey::Seen(shown(OwnerKind::Nobody));
    let (slot, ticket) = drive.run_until_kept(StepKind::Examine);
    drive.give(&Input::Command(Command::Quit));
    let (run, device) = (ticket.run, DEVICE);
    let content = valid(1);
    drive.commit(slot, ticket, Fact::KeyRead { run, device, content });
    let server = None;
    drive.commit(slot, ticket, Fact::Examined { run, device, server });
    drive.done((slot, ticket));
    assert_eq!(drive.count(|f| matches!(f, Fact::StepEnded { step: 2, .. })), 1);
    drive.restart();
    drive.holds = SlotContent::Blank;
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    let trouble = drive.facts.iter().find_map(|(_, f)| match f {
        Fact::Diagnosed { diagnosis, .. } => Some(diagnosis.trouble),
        _ => None,
    });
    assert_eq!(trouble, Some(Trouble::KeyBlank));
}

#[test]
fn a_survey_that_fails_is_asked_again_and_one_that_is_refused_ends_the_run() {
    let mut drive = Drive::new(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate), valid(1));
    drive.survey = Survey::Seen(shown(OwnerKind::Nobody));
    let mut asked = 0;
    let verdict = drive.run(&mut |call| {
        asked += usize::from(matches!(call, Call::Survey { .. }));
        (matches!(call, Call::Survey { .. }) && asked < 3).then(|| Answer::Later {
            why: "busy".into(),
            after_ms: None,
        })
    });
    assert_eq!((verdict, asked), (Some((Verdict::Pass, None)), 3));
    let mut drive = Drive::new(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate), valid(1));
    let verdict = drive.run(&mut |_| {
        Some(Answer::Refused {
            code: Code::CloudDenied,
            reason: "no".into(),
        })
    });
    assert_eq!(verdict, Some((Verdict::Fault, Some(Code::CloudDenied))));
}

/// A device that was repaired before, plugged in again, and not connected yet.
fn seen_again(status: CloudStatus, error: i32) -> Drive {
    let mut drive = Drive::new(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate), valid(1));
    drive.survey = Survey::Seen(shown(OwnerKind::Customer));
    drive.known.accepted = Some((Fingerprint([1; 32]), None));
    drive.says = state(status, error);
    drive
}

#[test]
fn a_device_that_is_merely_not_connected_yet_is_proved_and_nothing_is_registered_anew() {
    let mut drive = seen_again(CloudStatus::Disconnected, 0);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert!(drive.errands.is_empty(), "its owner keeps it");
    assert!(
        drive.why().contains("registered in an earlier run, proved by a handshake"),
        "{}",
        drive.why()
    );
    // It tried, and nothing of that points at a key.
    let mut drive = seen_again(CloudStatus::Connecting, 25);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::NotKeys))));
}

#[test]
fn a_device_that_does_not_connect_for_want_of_a_network_is_not_failed_for_it() {
    let silent = |call: &Call| {
        matches!(call, Call::Look { .. }).then(|| Answer::Later {
            why: "nothing new".into(),
            after_ms: None,
        })
    };
    // The cloud does not answer: nobody can tell.
    let mut drive = seen_again(CloudStatus::Disconnected, 0);
    assert_eq!(
        drive.run(&mut { silent }),
        Some((Verdict::Fault, Some(Code::CloudUnreachable)))
    );
    for (wifi, verdict) in [
        (None, (Verdict::Pass, None)),
        (with_wifi().wifi, (Verdict::Fail, Some(Code::NoHandshake))),
    ] {
        let recipe = Recipe {
            wifi,
            ..repair(Aimed::Mend, KeyPolicy::ReadOrGenerate)
        };
        let mut drive = Drive::new(recipe, valid(1));
        drive.survey = Survey::Seen(shown(OwnerKind::Nobody));
        drive.stays_offline = true;
        assert_eq!(drive.run(&mut by_the_book), Some(verdict));
        assert_eq!(drive.errands, ["key"]);
    }
}

#[test]
fn a_bench_network_is_given_for_the_proof_and_taken_away_again() {
    let recipe = Recipe {
        wifi: with_wifi().wifi,
        ..repair(Aimed::Mend, KeyPolicy::ReadOrGenerate)
    };
    let mut drive = Drive::new(recipe, valid(1));
    drive.survey = Survey::Seen(shown(OwnerKind::Nobody));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    let steps = &drive.rack.runs().next().unwrap().steps;
    let kinds: Vec<_> = steps.iter().rev().take(4).map(|step| step.kind).collect();
    assert_eq!(
        kinds,
        [
            StepKind::ForgetNetwork,
            StepKind::Prove,
            StepKind::Check,
            StepKind::JoinNetwork
        ]
    );
}

#[test]
fn a_session_of_before_the_last_hold_proves_nothing_where_nothing_was_uploaded() {
    // The cloud's clock is an hour ahead; the server key was written some seconds after the survey.
    for (session_ms, proved) in [(0, false), (2_000, false), (60_000, true)] {
        let mut recipe = repair(Aimed::Mend, KeyPolicy::ReadOrGenerate);
        recipe.server = ServerPolicy::Set(ServerSettings {
            spki: Vec::new(),
            host: "h".into(),
            port: None,
        });
        let mut drive = Drive::new(recipe, valid(1));
        drive.known.accepted = Some((Fingerprint([1; 32]), None));
        drive.exam = Some(exam(wrong()));
        let mut seen = shown(OwnerKind::Nobody);
        let cloud = Wall::from_millis(1_800_003_600_000).unwrap();
        seen.at = Some(cloud);
        drive.survey = Survey::Seen(seen);
        drive.slow = Some((StepKind::ServerKey, Duration::from_secs(5)));
        drive.proves_at = Wall::from_millis(cloud.millis() + session_ms);
        drive.run(&mut by_the_book);
        let told = drive.count(|f| matches!(f, Fact::HandshakeSeen { .. }));
        assert_eq!(told == 1, proved, "{session_ms}");
    }
}

#[test]
fn what_the_ledger_says_counts_where_the_device_says_nothing_else() {
    let (given, survey) = (
        repair(Aimed::GivenKey, KeyPolicy::Generate),
        Survey::Seen(shown(OwnerKind::Team)),
    );
    let mend = repair(Aimed::Mend, KeyPolicy::ReadOrGenerate);
    let (connected, offline) = (state(CloudStatus::Connected, 0), state(CloudStatus::Disconnected, 0));
    let said = |recipe, cloud, given: Option<u8>| {
        diagnose(&Findings {
            recipe,
            survey: &survey,
            cloud: Some(cloud),
            content: &valid(1),
            server: None,
            accepted: Some(Fingerprint([2; 32])),
            given: given.map(|n| Fingerprint([n; 32])),
        })
    };
    // The cloud accepted the given key last; a device that is connected with another one shows that it knows that by now.
    assert_eq!(said(&given, &offline, Some(2)).flow, Some(Flow::Restore));
    assert_eq!(said(&given, &connected, Some(2)).flow, Some(Flow::ProductAccount));
    let said = said(&mend, &offline, None);
    assert_eq!((said.trouble, said.sureness), (Trouble::KeyUnknown, Sureness::Likely));
}
