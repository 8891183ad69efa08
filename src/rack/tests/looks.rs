//! Looks before an upload: of a key that had to wait, and after a refusal.

use super::*;

fn uploads(drive: &Drive) -> usize {
    drive.count(|f| matches!(f, Fact::ItemSent { item, .. } if item == &new_key_item(drive)))
}

fn new_key_item(drive: &Drive) -> ItemId {
    let started = |(_, f): &(Wall, Fact)| {
        if let Fact::RunStarted { run, .. } = f {
            Some(*run)
        } else {
            None
        }
    };
    ItemId::key(drive.facts.iter().find_map(started).unwrap(), key(99).fingerprint)
}

#[test]
fn a_key_that_had_to_wait_goes_after_a_look_that_shows_no_newer_session() {
    let mut drive = Drive::that_left_with_a_new_key();
    let before = uploads(&drive);
    drive.session = Wall::from_millis(drive.wall().millis() - 3_600_000);
    drive.later(90, &mut by_the_book);
    assert_eq!((drive.looks, uploads(&drive) - before), (1, 1));
    assert_eq!(drive.rack.outbox().open().count(), 0);
}

#[test]
fn a_key_that_had_to_wait_does_not_go_when_the_device_has_connected_since() {
    let mut drive = Drive::that_left_with_a_new_key();
    let before = uploads(&drive);
    drive.session = Some(drive.wall());
    drive.later(90, &mut by_the_book);
    assert_eq!((drive.looks, uploads(&drive) - before), (1, 0));
    assert_eq!(
        drive.count(|f| matches!(f, Fact::ItemWithdrawn { why, .. } if why.contains("a person decides"))),
        1
    );
    // The device is back: its key is read again, and that is what is registered.
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(uploads(&drive) - before, 1);
}

#[test]
fn a_look_that_fails_is_made_again_and_rarer() {
    let mut drive = Drive::that_left_with_a_new_key();
    let before = uploads(&drive);
    let mut asked = 0;
    drive.later(90, &mut |call| {
        asked += usize::from(matches!(call, Call::Look { .. }));
        Some(down())
    });
    assert!((4..=8).contains(&asked), "{asked} looks in 90 s");
    assert_eq!(uploads(&drive), before);
    drive.later(90, &mut by_the_book);
    assert_eq!(uploads(&drive), before + 1);
}

#[test]
fn a_look_that_is_refused_leaves_it_to_the_upload_and_a_bad_token_stops_all() {
    let mut drive = Drive::that_left_with_a_new_key();
    let before = uploads(&drive);
    drive.later(90, &mut |call| {
        matches!(call, Call::Look { .. }).then(|| Answer::Refused {
            code: Code::CloudDenied,
            reason: "no".into(),
        })
    });
    assert_eq!(uploads(&drive), before + 1);
    let mut drive = Drive::that_left_with_a_new_key();
    let before = uploads(&drive);
    drive.later(90, &mut |_| Some(Answer::Auth { reason: "gone".into() }));
    assert_eq!((uploads(&drive), drive.looks), (before, 1));
    drive.give(&Input::Command(Command::TokenRenewed));
    drive.later(90, &mut by_the_book);
    assert_eq!(uploads(&drive), before + 1);
}

#[test]
fn after_a_start_a_queued_key_is_looked_at_first() {
    let mut drive = Drive::that_left_with_a_new_key();
    let before = uploads(&drive);
    drive.effects.clear();
    drive.restart();
    drive.session = Some(drive.wall());
    drive.later(90, &mut by_the_book);
    assert_eq!((drive.looks, uploads(&drive) - before), (1, 0));
}

#[test]
fn a_refusal_is_believed_only_with_a_look_at_its_cause() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let verdict = drive.run(&mut refuse_uploads);
    assert_eq!(verdict, Some((Verdict::Fail, Some(Code::CloudRefused))));
    assert_eq!(drive.looks, 1);
    assert_eq!(
        drive.count(|f| matches!(f, Fact::RunEnded { why, .. } if why.contains("the cloud shows the device in product 1234"))),
        1,
        "{:?}",
        drive.facts.last()
    );
}

#[test]
fn an_import_does_not_push_out_a_key_that_is_owed() {
    let mut drive = Drive::that_may_owe(KeyPolicy::Read, valid(1));
    let mut away = |call: &Call| matches!(call, Call::Upload { .. } | Call::Look { .. }).then(down);
    drive.plug();
    drive.until_idle(LONG, &mut away);
    assert_eq!(drive.verdict(), Some((Verdict::Owed, Some(Code::CloudUnreachable))));
    drive.unplug();
    drive.keeps = Some(StepKind::ReadKey);
    drive.plug();
    drive.later(100, &mut away);
    assert!(drive.kept.is_some(), "an import does not wait for a key");
    let key_items = drive.rack.outbox().open().filter(|e| e.key().is_some()).count();
    assert_eq!(key_items, 1, "owed until its successor is queued");
}

/// What goes out in the imports, in order: whether it is in doubt.
fn doubts(drive: &mut Drive, restarts: bool) -> Vec<bool> {
    let mut seen = Vec::new();
    drive.plug();
    for _ in 0..40 {
        let lost = seen.len();
        drive.answer_all(&mut |call| match call {
            Call::Import { items, .. } => {
                seen.extend(items.iter().map(|out| out.doubtful));
                match seen.len() {
                    1 => Some(Answer::Ambiguous { why: "lost".into() }),
                    2 => Some(Answer::Later {
                        why: "busy".into(),
                        after_ms: None,
                    }),
                    _ => None,
                }
            }
            _ => None,
        });
        if restarts && seen.len() > lost {
            drive.restart();
            drive.plug();
        }
        drive.pass_time(Duration::from_secs(1));
    }
    seen
}

#[test]
fn an_import_is_in_doubt_from_an_ambiguous_answer_until_a_definite_one() {
    for restarts in [false, true] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        assert_eq!(doubts(&mut drive, restarts), [false, true, true], "{restarts}");
        assert_eq!(drive.verdict(), Some((Verdict::Pass, None)));
    }
}

#[test]
fn an_import_whose_answer_is_not_on_record_is_in_doubt_after_the_start() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.cut_after(&mut by_the_book, |f| matches!(f, Fact::ItemSent { .. }));
    drive.restart();
    let mut seen = Vec::new();
    let verdict = drive.run(&mut |call| {
        if let Call::Import { items, .. } = call {
            seen.extend(items.iter().map(|out| out.doubtful));
        }
        None
    });
    assert_eq!((seen, verdict), (vec![true], Some((Verdict::Pass, None))));
}
