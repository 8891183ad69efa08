//! The chain that takes a customer's device from its owner, registers its key, and gives it back.

use super::{
    diagnoses::{customer, repair, shown},
    *,
};
use crate::model::{recipe::Work as Aimed, survey::Survey};

/// A customer's device with this in its slot.
fn drive(holds: SlotContent) -> Drive {
    let mut drive = Drive::new(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate), holds);
    drive.survey = Survey::Seen(customer());
    drive
}

pub(super) fn refuse(code: Code) -> Answer {
    Answer::Refused {
        code,
        reason: "no".into(),
    }
}

pub(super) fn lost() -> Answer {
    Answer::Ambiguous { why: "lost".into() }
}

pub(super) fn is(call: &Call, word: &str) -> bool {
    match call {
        Call::Import { items, .. } => items.iter().any(|out| out.item.0.ends_with(word)),
        Call::Errand { item, .. } => item.0.ends_with(word),
        Call::Upload { .. } => word == "key",
        _ => false,
    }
}

pub(super) fn once(errands: &[String]) -> Vec<&str> {
    let mut once: Vec<&str> = errands.iter().map(String::as_str).collect();
    once.dedup();
    once
}

const CHAIN: [&str; 4] = ["release", "key", "claim", "restore"];

#[test]
fn a_customers_device_is_released_registered_and_given_back() {
    for holds in [valid(1), SlotContent::Blank] {
        let mut drive = drive(holds);
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
        assert_eq!(drive.errands, CHAIN);
        assert_eq!(
            drive.ended_custody,
            [true],
            "the token is revoked once, the sealed file destroyed"
        );
        let sealed = drive
            .facts
            .iter()
            .position(|(_, f)| matches!(f, Fact::RestoreSealed { .. }))
            .unwrap();
        let sent = drive
            .facts
            .iter()
            .position(|(_, f)| matches!(f, Fact::ItemSent { .. }))
            .unwrap();
        assert!(sealed < sent, "what it must get back is on disk first");
        let claimed = drive
            .facts
            .iter()
            .position(|(_, f)| matches!(f, Fact::ItemAnswered { item, .. } if item.0.ends_with("claim")));
        let boot = drive.facts.iter().rposition(|(_, f)| matches!(f, Fact::StepStarted { .. }));
        assert!(claimed < boot, "given back before it is started");
    }
}

#[test]
fn the_chain_is_queued_whole_in_one_turn() {
    let mut drive = drive(valid(1));
    let mut cloud = |call: &Call| is(call, "release").then(lost);
    drive.cut_after(&mut cloud, |f| matches!(f, Fact::ItemSent { .. }));
    let queued = drive.count(|f| matches!(f, Fact::ItemQueued { .. }));
    assert_eq!(queued, 4);
    let at: Vec<_> = drive
        .facts
        .iter()
        .filter(|(_, f)| matches!(f, Fact::ItemQueued { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert!(at.iter().all(|one| *one == at[0]));
}

#[test]
fn without_what_it_takes_to_give_it_back_nothing_is_taken() {
    for code in [
        Code::CustomerUnknown,
        Code::CustomerClient,
        Code::RestoreLost,
        Code::OwnerForeign,
    ] {
        let mut drive = drive(valid(1));
        let verdict = drive.run(&mut |call| matches!(call, Call::Secure { .. }).then(|| refuse(code)));
        assert_eq!(verdict.and_then(|(_, code)| code), Some(code));
        assert!(drive.errands.is_empty());
    }
}

#[test]
fn what_was_obtained_for_a_device_that_left_meanwhile_is_not_kept() {
    let mut drive = drive(valid(1));
    drive.plug();
    let asked = (0..200).find_map(|_| {
        let at = drive
            .effects
            .iter()
            .position(|e| matches!(e, Effect::Call(_, Call::Secure { .. })));
        let asked = at.map(|at| drive.effects.remove(at));
        if asked.is_none() && !drive.answer_one(&mut by_the_book) {
            drive.pass_time(Duration::from_secs(1));
        }
        asked
    });
    // The device leaves while the answer is under way.
    drive.unplug();
    let Some(Effect::Call(line, call)) = asked else {
        panic!("asked")
    };
    drive.reply(line, &call, &mut by_the_book);
    drive.answer_all(&mut by_the_book);
    assert_eq!(drive.ended_custody, [true], "revoked and destroyed");
    assert_eq!(drive.count(|f| matches!(f, Fact::RestoreSealed { .. })), 0);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "it has both anew");
    assert_eq!(drive.ended_custody, [true, true]);
}

#[test]
fn a_release_that_is_refused_for_good_changes_nothing() {
    let mut drive = drive(valid(1));
    let verdict = drive.run(&mut |call| is(call, "release").then(|| refuse(Code::CloudDenied)));
    assert_eq!(verdict, Some((Verdict::Fault, Some(Code::CloudDenied))));
    assert_eq!(once(&drive.errands), ["release"]);
    assert_eq!(drive.rack.outbox().open().count(), 0);
    assert_eq!(drive.ended_custody, [true]);
}

#[test]
fn a_key_that_is_refused_for_good_is_told_when_the_owner_has_the_device_again() {
    for holds in [valid(1), SlotContent::Blank] {
        let mut drive = drive(holds);
        let verdict = drive.run(&mut |call| is(call, "key").then(|| refuse(Code::CloudRefused)));
        assert_eq!(verdict, Some((Verdict::Fail, Some(Code::CloudRefused))));
        drive.answer_all(&mut by_the_book);
        assert_eq!(once(&drive.errands), CHAIN);
        assert_eq!(drive.ended_custody, [true]);
        let claimed = drive
            .facts
            .iter()
            .position(|(_, f)| matches!(f, Fact::ItemAnswered { item, .. } if item.0.ends_with("claim")));
        let ended = drive.facts.iter().position(|(_, f)| matches!(f, Fact::RunEnded { .. }));
        assert!(claimed.is_some() && claimed < ended);
    }
}

#[test]
fn a_claim_that_is_refused_for_good_is_an_alarm() {
    let mut drive = drive(valid(1));
    let verdict = drive.run(&mut |call| is(call, "claim").then(|| refuse(Code::OwnerForeign)));
    assert_eq!(verdict, Some((Verdict::Quarantined, Some(Code::ClaimLost))));
    assert_eq!(
        once(&drive.errands),
        ["release", "key", "claim"],
        "nothing of somebody else's device is changed"
    );
    assert_eq!(drive.ended_custody, [false], "a person still needs what was kept");
    assert_eq!(drive.count(|f| matches!(f, Fact::RestoreDestroyed { .. })), 0);
}

#[test]
fn a_claim_that_needs_the_device_online_is_asked_for_again_when_it_runs() {
    let mut drive = drive(valid(1));
    let mut asked = 0;
    let verdict = drive.run(&mut |call| {
        asked += usize::from(is(call, "claim"));
        (is(call, "claim") && asked < 4).then(|| refuse(Code::ClaimVague))
    });
    assert_eq!(verdict, Some((Verdict::Pass, None)));
    assert_eq!(asked, 4);
}

#[test]
fn what_went_out_and_has_no_answer_goes_out_doubtful() {
    for word in ["release", "claim", "restore"] {
        let mut drive = drive(valid(1));
        let mut seen = Vec::new();
        let verdict = drive.run(&mut |call| match call {
            Call::Errand { item, doubtful, .. } if item.0.ends_with(word) => {
                seen.push(*doubtful);
                (seen.len() == 1).then(lost)
            }
            _ => None,
        });
        assert_eq!((verdict, seen), (Some((Verdict::Pass, None)), vec![false, true]), "{word}");
    }
}

#[test]
fn a_device_that_is_away_never_stops_its_chain() {
    for word in CHAIN {
        let mut drive = drive(valid(1));
        let mut first = true;
        let mut cloud = |call: &Call| (is(call, word) && std::mem::take(&mut first)).then(lost);
        drive.cut_after(
            &mut cloud,
            |f| matches!(f, Fact::ItemSent { item, .. } if item.0.ends_with(word) || word == "key" && item.0.contains("/key/")),
        );
        drive.restart();
        for _ in 0..30 {
            drive.answer_all(&mut by_the_book);
            drive.pass_time(Duration::from_secs(10));
        }
        let late = |errand: &Errand| matches!(errand, Errand::Confirm { .. });
        let claim = drive.rack.outbox().open().filter(|entry| !late(&entry.item.errand)).count();
        assert_eq!(claim, 0, "{word}: it went on without its device");
        assert_eq!(drive.errands.last().map(String::as_str), Some("restore"), "{word}");
        // And it is proved when the device is back.
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{word}");
    }
}

#[test]
fn a_quit_waits_until_the_device_is_given_back() {
    let mut drive = drive(valid(1));
    drive.plug();
    while !drive.errands.iter().any(|errand| errand == "release") {
        if !drive.answer_one(&mut by_the_book) {
            drive.pass_time(Duration::from_secs(1));
        }
    }
    drive.give(&Input::Command(Command::Quit));
    assert!(!drive.rack.may_end(), "it has no owner");
    drive.answer_all(&mut by_the_book);
    for _ in 0..5 {
        drive.pass_time(Duration::from_secs(1));
        drive.answer_all(&mut by_the_book);
    }
    assert!(drive.rack.may_end());
    assert!(drive.errands.contains(&"claim".to_owned()), "{:?}", drive.errands);
}

#[test]
fn an_abort_gives_the_device_back_all_the_same() {
    let mut drive = drive(valid(1));
    drive.plug();
    while !drive.errands.iter().any(|errand| errand == "release") {
        if !drive.answer_one(&mut by_the_book) {
            drive.pass_time(Duration::from_secs(1));
        }
    }
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    for _ in 0..5 {
        drive.answer_all(&mut by_the_book);
        drive.pass_time(Duration::from_secs(1));
    }
    assert_eq!(drive.errands.last().map(String::as_str), Some("restore"));
    assert_eq!(drive.ended_custody, [true]);
}

#[test]
fn an_abort_before_the_release_went_out_withdraws_all_and_keeps_nothing() {
    let mut drive = drive(valid(1));
    drive.plug();
    let mut later = |call: &Call| {
        is(call, "release").then(|| Answer::Later {
            why: "busy".into(),
            after_ms: Some(60_000),
        })
    };
    while drive.count(|f| matches!(f, Fact::ItemAnswered { .. })) == 0 {
        if !drive.answer_one(&mut later) {
            drive.pass_time(Duration::from_secs(1));
        }
    }
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    drive.answer_all(&mut by_the_book);
    assert_eq!(drive.rack.outbox().open().count(), 0);
    assert_eq!((once(&drive.errands), drive.ended_custody), (vec!["release"], vec![true]));
}

#[test]
fn another_key_read_in_the_middle_goes_through_the_same_chain_or_a_new_one() {
    for word in ["release", "claim", "restore"] {
        let mut drive = drive(valid(1));
        drive.cut_after(
            &mut by_the_book,
            |f| matches!(f, Fact::ItemAnswered { item, .. } if item.0.ends_with(word)),
        );
        drive.restart();
        drive.holds = valid(2);
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{word}");
        let last = |word: &str| drive.errands.iter().rposition(|errand| errand == word).unwrap();
        assert!(
            last("release") < last("key") && last("key") < last("claim"),
            "{word}: {:?}",
            drive.errands
        );
        assert_eq!(drive.keys().last().map(String::as_str), Some("02"));
    }
}

#[test]
fn the_present_key_of_a_customers_device_is_never_replaced() {
    let mut drive = Drive::new(repair(Aimed::NewKey, KeyPolicy::Generate), valid(1));
    drive.survey = Survey::Seen(customer());
    drive.run(&mut by_the_book);
    assert!(drive.errands.is_empty());
    assert_eq!(drive.holds, valid(1));
    assert!(shown(crate::model::survey::OwnerKind::Customer).in_reach);
}

#[test]
fn a_release_in_doubt_is_looked_for_once_more_some_time_after_the_claim() {
    for (late, verdict) in [(None, false), (Some(refuse(Code::OwnerForeign)), true)] {
        let mut drive = drive(valid(1));
        let mut first = true;
        let verdict_of_run = drive.run(&mut |call| (is(call, "release") && std::mem::take(&mut first)).then(lost));
        assert_eq!(
            verdict_of_run,
            Some((Verdict::Pass, None)),
            "it is done but for the last look"
        );
        assert_eq!(
            drive.errands.iter().filter(|errand| *errand == "confirm").count(),
            0,
            "not yet"
        );
        assert!(
            drive.ended_custody.iter().all(|destroyed| !destroyed),
            "what was kept is kept"
        );
        assert!(!drive.ended_custody.is_empty(), "and the token is revoked");
        drive.unplug();
        drive.restart();
        for _ in 0..70 {
            drive.pass_time(Duration::from_secs(10));
            drive.answer_all(&mut |call| is(call, "confirm").then(|| late.clone()).flatten());
        }
        assert_eq!(drive.errands.last().map(String::as_str), Some("confirm"));
        assert_eq!(drive.rack.outbox().open().count(), 0);
        assert_eq!(drive.count(|f| matches!(f, Fact::RestoreDestroyed { .. })) == 0, verdict);
    }
    // Where every release was answered nobody looks.
    let mut calm = drive(valid(1));
    calm.run(&mut by_the_book);
    assert_eq!(
        calm.count(|f| matches!(f, Fact::ItemQueued { item } if item.id.0.ends_with("confirm"))),
        0
    );
}
