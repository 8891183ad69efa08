//! What is known of the key on the device and of the key that the cloud holds, and when that is no longer known.

use super::*;
use crate::rack::{
    CommitReply,
    run::{Keys, StepState},
};

#[test]
fn device_and_cloud_agree_only_on_a_key_that_is_known_of_both() {
    let of = |n: u8| Fingerprint([n; 32]);
    let nothing = Keys::default();
    assert!(!nothing.agreed() && !nothing.holds_old());
    let read = Keys {
        read: Some(valid(1)),
        ..Keys::default()
    };
    assert!(!read.agreed(), "the cloud is not known to hold any");
    for (accepted, before, agreed) in [
        (Some(1), None, true),
        (None, Some(1), true),
        (Some(2), Some(1), false),
        (None, Some(2), false),
    ] {
        let mut keys = Keys {
            accepted: accepted.map(|n| (of(n), None)),
            accepted_before: before.map(of),
            ..read.clone()
        };
        assert_eq!(keys.agreed(), agreed, "{accepted:?} {before:?}");
        // The same key goes out once more: what was accepted stays so. Another one: nobody knows.
        if agreed {
            keys.sent(of(1));
            assert!(keys.agreed(), "{accepted:?} {before:?}");
            keys.sent(of(2));
            assert!(!keys.agreed(), "{accepted:?} {before:?}");
        }
    }
    for (before, holds) in [(valid(1), true), (valid(2), false), (SlotContent::Blank, false)] {
        let keys = Keys {
            before: Some(before),
            ..read.clone()
        };
        assert_eq!(keys.holds_old(), holds);
    }
    let blank = Keys {
        read: Some(SlotContent::Blank),
        before: Some(SlotContent::Blank),
        ..Keys::default()
    };
    assert!(!blank.holds_old(), "no key is not an old key");
}

#[test]
fn a_pair_that_is_written_in_another_layout_replaces_no_key() {
    let keys = |intended: u8, written: Option<u8>| Keys {
        before: Some(valid(1)),
        intended: Some(key(intended)),
        written: written.map(|n| key(n).fingerprint),
        ..Keys::default()
    };
    assert!(!keys(1, Some(1)).overwrote_valid() && !keys(1, Some(1)).unsettled());
    assert!(keys(2, Some(2)).overwrote_valid() && keys(2, Some(2)).unsettled());
    for torn in [keys(1, None), keys(2, None)] {
        assert!(torn.overwrote_valid() && torn.unsettled(), "it may be gone");
    }
}

#[test]
fn a_slot_that_cannot_be_read_tells_nothing_and_takes_nothing_away() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.run(&mut by_the_book);
    let mut run = drive.rack.runs().next().unwrap().clone();
    run.state = crate::rack::run::State::Active;
    let before = run.clone();
    let unreadable = SlotContent::Unreadable { why: "zeros".into() };
    let read = Fact::KeyRead {
        run: run.id,
        device: DEVICE,
        content: unreadable.clone(),
    };
    run.apply(Wall::from_millis(0).unwrap(), &read).unwrap();
    assert_eq!(run, before);
    run.keys.read = None;
    run.apply(Wall::from_millis(0).unwrap(), &read).unwrap();
    assert_eq!(run.keys.read, Some(unreadable));
    assert!(run.steps.iter().all(|step| matches!(step.state, StepState::Ended(_))));
}

#[test]
fn an_older_acceptance_counts_no_more_once_another_key_went_out_without_an_answer() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    drive.cut_after(
        &mut |call| {
            matches!(call, Call::Upload { key: k, .. } if *k == key(99)).then(|| Answer::Ambiguous { why: "lost".into() })
        },
        |f| {
            matches!(
                f,
                Fact::ItemAnswered {
                    answer: Answer::Ambiguous { .. },
                    ..
                }
            )
        },
    );
    let run = drive.rack.runs().next().unwrap();
    assert_eq!(run.keys.accepted, None, "the cloud may hold the new key by now");
}

#[test]
fn a_key_that_is_back_after_another_one_was_accepted_is_sent_again() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    drive.cut_after(
        &mut by_the_book,
        |f| matches!(f, Fact::ItemAnswered { item, .. } if item.0.contains("/key/6363")),
    );
    // Some firmware puts the old key back when it starts; the step finds that out and gives up the new one.
    drive.holds = valid(1);
    let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
    let given_up = Fact::KeyAbandoned {
        run: ticket.run,
        device: DEVICE,
        fingerprint: key(99).fingerprint,
        why: "a third key is there".into(),
    };
    drive.commit(slot, ticket, given_up);
    drive.done((slot, ticket));
    drive.works(60, &mut by_the_book);
    assert_eq!(drive.keys(), ["01", "intended", "63", "01"]);
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)));
}

#[test]
fn what_became_of_an_announced_key_is_for_the_step_to_find_out() {
    // A third key, made by the device after the write was torn; the new key, whose step had no time to end.
    for (cut_after_write, holds) in [(false, valid(5)), (true, valid(99))] {
        let mut drive = Drive::new(recipe(KeyPolicy::ReadOrGenerate), SlotContent::Blank);
        if cut_after_write {
            drive.cut_after(&mut by_the_book, |f| matches!(f, Fact::KeyWritten { .. }));
            drive.restart();
            let run = drive.rack.runs().next().unwrap().clone();
            let index = run.index(StepKind::Rekey).unwrap();
            let begun = |f: &Fact| matches!(f, Fact::StepEnded { step, .. } if *step == index);
            // A cut between the two records: the end of the step is not on disk.
            drive.facts.retain(|(_, f)| !begun(f));
            drive.restart();
        } else {
            let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
            drive.announce_new_key(slot, ticket, None);
            drive.restart();
        }
        drive.mode = UsbMode::Normal;
        drive.unplug();
        drive.holds = holds;
        drive.run_until_kept(StepKind::Rekey);
    }
}

#[test]
fn a_new_key_that_another_device_has_is_not_gone_on_with() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
    let other = DeviceId::from_bytes([9; 12]);
    let run = RunId(uuid::Uuid::from_u128(0xffff));
    let started = Fact::RunStarted {
        run,
        device: other,
        slot: SlotNo(2),
        recipe: Fingerprint([7; 32]),
        plan: vec![StepKind::ReadKey],
        operator: None,
        work_order: None,
        accepted: None,
        reference: None,
    };
    let read = Fact::KeyRead {
        run,
        device: other,
        content: valid(99),
    };
    for fact in [started, read] {
        drive.rack.apply(drive.wall(), &fact).unwrap();
    }
    drive.announce_new_key(slot, ticket, None);
    let replies: Vec<_> = drive
        .effects
        .iter()
        .filter_map(|effect| {
            if let Effect::Committed { reply, .. } = effect {
                Some(reply.clone())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(replies, [CommitReply::OnDisk, CommitReply::Duplicate(other)]);
}

#[test]
fn an_old_key_that_went_back_counts_only_if_the_device_still_holds_it() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    drive.cut_after(&mut refuse_new_key, |f| matches!(f, Fact::StepFailed { .. }));
    let run = drive.rack.runs().next().unwrap().id;
    let restored = Fact::KeyRestored {
        run,
        device: DEVICE,
        fingerprint: Fingerprint([1; 32]),
    };
    drive.facts.push((drive.wall(), restored));
    drive.restart();
    // Before the verdict was on record the device made a key of its own.
    drive.holds = valid(5);
    drive.plug();
    drive.works(30, &mut refuse_new_key);
    assert!(drive.keys().contains(&"05".to_owned()), "{:?}", drive.keys());
    assert_ne!(drive.verdict(), Some((Verdict::RolledBack, Some(Code::RolledBackRefused))));
}

#[test]
fn a_recheck_sends_a_key_only_if_it_is_not_the_one_that_was_accepted_for_the_product() {
    let (ours, theirs) = (Some(ProductId("1234".into())), Some(ProductId("99".into())));
    for (accepted, product, sent) in [(1, ours.clone(), 0), (2, ours.clone(), 1), (1, theirs, 1)] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        drive.known = Known {
            passed: Some(Fingerprint([7; 32])),
            accepted: Some((key(accepted).fingerprint, product)),
            ..Known::default()
        };
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
        assert_eq!(drive.keys().len(), sent, "{accepted}");
        let tail = if sent == 0 { "" } else { ", registered" };
        assert_eq!(
            drive.why(),
            format!("already done under this recipe; checked, key as found{tail}")
        );
    }
    // A whole run sends its key, whatever an earlier one did.
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.known.accepted = Some((key(1).fingerprint, ours));
    drive.run(&mut by_the_book);
    assert_eq!(drive.keys(), ["01"]);
}

#[test]
fn the_verdict_says_what_became_of_the_key() {
    for (policy, holds, words) in [
        (KeyPolicy::Read, valid(1), "key as found"),
        (KeyPolicy::Generate, valid(1), "new key, the slot was valid"),
        (KeyPolicy::ReadOrGenerate, SlotContent::Blank, "new key, the slot was blank"),
    ] {
        let mut drive = Drive::new(recipe(policy), holds);
        drive.run(&mut by_the_book);
        assert_eq!(drive.why(), format!("{words}, registered, proved by a handshake"));
    }
}

#[test]
fn an_undo_copy_goes_when_nothing_was_written_after_all_and_only_if_there_is_one() {
    let destroyed = |f: &Fact| matches!(f, Fact::UndoDestroyed { .. });
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
    let sealed = Fact::UndoSealed {
        run: ticket.run,
        device: DEVICE,
        sha256: Fingerprint([0; 32]),
        content: valid(1),
    };
    drive.commit(slot, ticket, sealed);
    drive.failed((slot, ticket), Code::KeyWrite);
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::KeyWrite))));
    assert_eq!(drive.count(destroyed), 1);
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    drive.restart();
    assert_eq!(drive.count(destroyed), 0);
}

#[test]
fn an_older_key_that_was_never_sent_is_withdrawn_for_a_newer_one_and_one_in_doubt_is_not() {
    let withdrawn = |f: &Fact| matches!(f, Fact::ItemWithdrawn { why, .. } if why.contains("a newer key"));
    for in_doubt in [false, true] {
        let mut drive = Drive::that_may_owe(KeyPolicy::Read, valid(1));
        let mut away = |call: &Call| {
            let answer = if in_doubt {
                Answer::Ambiguous { why: "lost".into() }
            } else {
                down()
            };
            matches!(call, Call::Upload { .. } | Call::Look { .. }).then_some(answer)
        };
        drive.plug();
        drive.until_idle(LONG, &mut away);
        assert_eq!(drive.verdict(), Some((Verdict::Owed, Some(Code::CloudUnreachable))));
        drive.unplug();
        drive.holds = valid(2);
        drive.keeps = Some(StepKind::Boot);
        drive.plug();
        drive.works(100, &mut away);
        assert_eq!(drive.count(withdrawn), usize::from(!in_doubt));
        let open: Vec<_> = drive.rack.outbox().open().filter_map(|entry| entry.key()).collect();
        assert_eq!(open.contains(&key(1).fingerprint), in_doubt);
        assert!(open.contains(&key(2).fingerprint));
    }
}

#[test]
fn a_run_that_stops_before_the_bench_network_was_set_takes_none_away() {
    let mut drive = Drive::new(with_wifi(), valid(1));
    drive.plug();
    drive.pass_time(Duration::from_secs(1));
    while !matches!(drive.slot(), Slot::AwaitingCloud { .. }) {
        assert!(drive.answer_one(&mut by_the_book));
    }
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    assert_eq!(drive.why(), "a person stopped the run");
    let mut drive = Drive::new(with_wifi(), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert!(!drive.why().contains("bench network"), "{}", drive.why());
}

#[test]
fn a_refusal_after_an_answer_in_doubt_is_a_quarantine_only_if_the_key_is_new() {
    for (policy, holds, verdict, code) in [
        (KeyPolicy::Read, valid(1), Verdict::Fail, Code::CloudRefused),
        (
            KeyPolicy::ReadOrGenerate,
            SlotContent::Blank,
            Verdict::Quarantined,
            Code::StateUnknown,
        ),
    ] {
        let mut drive = Drive::new(recipe(policy), holds);
        let ended = drive.run(&mut refuse_after_doubt(|call| matches!(call, Call::Upload { .. })));
        assert_eq!(ended, Some((verdict, Some(code))));
    }
}

#[test]
fn an_undo_copy_of_a_blank_slot_goes_when_nothing_was_written_after_all() {
    let mut drive = Drive::new(recipe(KeyPolicy::ReadOrGenerate), SlotContent::Blank);
    let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
    let sealed = Fact::UndoSealed {
        run: ticket.run,
        device: DEVICE,
        sha256: Fingerprint([0; 32]),
        content: SlotContent::Blank,
    };
    drive.commit(slot, ticket, sealed);
    drive.failed((slot, ticket), Code::KeyWrite);
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::KeyWrite))));
    assert_eq!(drive.count(|f| matches!(f, Fact::UndoDestroyed { .. })), 1);
}

#[test]
fn a_new_key_that_was_withdrawn_is_owed_again_although_the_token_is_not_accepted() {
    let mut drive = Drive::that_left_with_a_new_key();
    // The cloud shows a newer session: a person decides, and takes the device back to the rack.
    drive.session = Some(drive.wall());
    drive.later(90, &mut by_the_book);
    assert_eq!(drive.rack.outbox().open().count(), 0);
    drive.rack.outbox.locked = Some("gone".into());
    drive.plug();
    drive.works(20, &mut by_the_book);
    let owed: Vec<_> = drive.rack.outbox().open().filter_map(|entry| entry.key()).collect();
    assert_eq!(owed, [key(99).fingerprint]);
    assert!(matches!(drive.slot(), Slot::AwaitingCloud { .. }), "held");
}
