//! What the cloud's answers mean for the run that waits for them: late ones, notes, a token that is not accepted, and
//! proofs that do not come.

use super::*;
use crate::rack::slot::Shown;

/// Lets everything happen until the slot is idle, with looks for the proof that show this. Returns when it was asked.
fn run_seeing(drive: &mut Drive, device: &CloudDevice) -> Vec<Duration> {
    let mut asked = Vec::new();
    drive.plug();
    for _ in 0..400 {
        while !drive.effects.is_empty() {
            match drive.effects.remove(0) {
                Effect::Order { slot, order } => drive.obey(slot, order),
                Effect::Call(
                    line,
                    Call::Look {
                        about: about @ About::Proof(_),
                        ..
                    },
                ) => {
                    asked.push(drive.now.0);
                    let at = Some(drive.wall());
                    let found = Looked::Device {
                        device: device.clone(),
                        at,
                    };
                    drive.give(&Input::Cloud(line, vec![Reply::Looked { about, found }]));
                }
                Effect::Call(line, call) => drive.reply(line, &call, &mut by_the_book),
                _ => {}
            }
        }
        if drive.rack.idle() {
            break;
        }
        drive.pass_time(Duration::from_secs(1));
    }
    asked
}

fn seen(online: bool) -> CloudDevice {
    CloudDevice {
        online: Some(online),
        ..CloudDevice::default()
    }
}

fn notes(drive: &Drive) -> String {
    drive.rack.runs().next().expect("shown").notes.join("; ")
}

fn locked(call: &Call) -> Option<Answer> {
    matches!(call, Call::Upload { .. }).then(|| Answer::Auth { reason: "gone".into() })
}

/// Plays by the book, but for `cloud`, until the cloud was asked for this; the call is taken off the list.
fn until_asked(drive: &mut Drive, wanted: impl Fn(&Call) -> bool) -> (Line, Call) {
    for _ in 0..100 {
        while !drive.effects.is_empty() {
            match drive.effects.remove(0) {
                Effect::Order { slot, order } => drive.obey(slot, order),
                Effect::Call(line, call) if wanted(&call) => return (line, call),
                Effect::Call(line, call) => drive.reply(line, &call, &mut by_the_book),
                _ => {}
            }
        }
        drive.pass_time(Duration::from_secs(1));
    }
    panic!("the cloud was never asked");
}

#[test]
fn a_device_that_is_online_with_its_old_session_and_key_passes_with_a_sentence() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    run_seeing(&mut drive, &seen(true));
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)));
    assert!(notes(&drive).contains("the device resumed the session"), "{}", notes(&drive));
    assert_eq!(drive.count(|f| matches!(f, Fact::RunEnded { proved: true, .. })), 0);
}

#[test]
fn a_device_that_never_connects_fails_and_so_does_one_with_a_new_key_and_no_new_session() {
    for (policy, online) in [(KeyPolicy::Read, false), (KeyPolicy::Generate, true)] {
        let mut drive = Drive::new(recipe(policy), valid(1));
        run_seeing(&mut drive, &seen(online));
        assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::NoHandshake))), "{policy:?}");
    }
}

#[test]
fn a_mesh_device_is_not_expected_to_connect_by_itself() {
    let xenon = Recipe {
        platform: Platform::Xenon,
        ..recipe(KeyPolicy::Read)
    };
    let mut drive = Drive::new(xenon, valid(1));
    // The recipe of a run is the one that it began with, whatever platform a device tells.
    let mut setting = drive.rack.setting().clone();
    setting.book.offer(Prepared {
        recipe: Arc::new(recipe(KeyPolicy::Read)),
        firmware: Vec::new(),
        needs: Vec::new(),
    });
    setting.book.keep(Prepared {
        recipe: Arc::new(Recipe {
            platform: Platform::Xenon,
            ..recipe(KeyPolicy::Read)
        }),
        firmware: Vec::new(),
        needs: Vec::new(),
    });
    drive.rack = Rack::new(setting);
    run_seeing(&mut drive, &seen(false));
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)));
    assert!(
        notes(&drive).contains("a mesh device does not connect by itself"),
        "{}",
        notes(&drive)
    );
}

#[test]
fn the_proof_is_asked_for_after_one_two_and_then_every_five_seconds() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let asked = run_seeing(&mut drive, &seen(false));
    let gaps: Vec<_> = asked.windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
    assert_eq!(gaps[..4], [2, 5, 5, 5]);
}

#[test]
fn a_proof_is_over_at_its_very_deadline() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let (_, call) = until_asked(&mut drive, |call| {
        matches!(
            call,
            Call::Look {
                about: About::Proof(_),
                ..
            }
        )
    });
    let Slot::AwaitingCloud { deadline, shown, .. } = *drive.slot() else {
        panic!("{call:?}")
    };
    assert_eq!(shown, Shown::Nothing(Code::CloudUnreachable));
    drive.pass_time(deadline.since(drive.now));
    assert_eq!(drive.verdict(), Some((Verdict::Fault, Some(Code::CloudUnreachable))));
}

#[test]
fn a_cloud_that_is_away_is_a_fault_where_no_key_may_be_owed() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let mut down = |call: &Call| {
        matches!(call, Call::Upload { .. }).then(|| Answer::Later {
            why: "down".into(),
            after_ms: None,
        })
    };
    drive.run(&mut down);
    while !drive.rack.idle() {
        drive.pass_time(Duration::from_secs(1));
        drive.answer_all(&mut down);
    }
    assert_eq!(drive.verdict(), Some((Verdict::Fault, Some(Code::CloudUnreachable))));
}

#[test]
fn a_note_of_the_cloud_is_a_warning_of_the_step() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let verdict = drive.run(&mut |call| {
        matches!(call, Call::Import { .. }).then(|| Answer::Accepted {
            at: None,
            note: Some("it was there already".into()),
        })
    });
    assert_eq!(verdict, Some((Verdict::Pass, None)));
    assert_eq!(notes(&drive), "it was there already");
}

#[test]
fn a_token_that_is_not_accepted_lets_an_unchanged_device_go_at_once() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.run(&mut locked);
    assert_eq!(drive.verdict(), Some((Verdict::Fault, Some(Code::CloudAuth))));
    assert!(
        drive.now.0 < Duration::from_secs(10),
        "no deadline was waited for: {:?}",
        drive.now
    );
    // The next device finds it locked, and nothing is put in the outbox.
    drive.unplug();
    let queued = |f: &Fact| matches!(f, Fact::ItemQueued { .. });
    let before = drive.count(queued);
    drive.run(&mut locked);
    assert_eq!(drive.verdict(), Some((Verdict::Fault, Some(Code::CloudAuth))));
    assert_eq!(drive.count(queued), before);
}

#[test]
fn a_token_that_is_not_accepted_does_not_end_what_is_only_looked_at() {
    let mut drive = Drive::that_may_owe(KeyPolicy::Read, valid(1));
    drive.plug();
    drive.until_idle(LONG, &mut put_off_uploads);
    // A new run of the same device waits to be admitted when the upload that the first one owes is answered.
    drive.unplug();
    drive.effects.clear();
    drive.plug();
    until_asked(&mut drive, |call| matches!(call, Call::Admit { .. }));
    drive.rack.outbox.locked = None;
    drive.later(70, &mut |_| Some(Answer::Auth { reason: "gone".into() }));
    assert_eq!(drive.rack.outbox().locked.as_deref(), Some("gone"));
    assert!(matches!(drive.slot(), Slot::AwaitingCloud { .. }), "{:?}", drive.slot());
    assert_eq!(drive.count(|f| matches!(f, Fact::StepFailed { .. })), 0);
}

#[test]
fn an_answer_to_an_earlier_attempt_or_to_what_was_not_sent_is_dropped() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let (line, Call::Upload { item, attempt, .. }) = until_asked(&mut drive, |call| matches!(call, Call::Upload { .. })) else {
        unreachable!("an upload")
    };
    let mut answer = |attempt, answer: Answer| {
        let item = item.clone();
        let before = drive.facts.len();
        drive.give(&Input::Cloud(line, vec![Reply::Item { item, attempt, answer }]));
        let facts = drive.facts[before..].iter();
        let answered = facts.filter(|(_, f)| matches!(f, Fact::ItemAnswered { .. })).count();
        (answered, drive.facts.len() - before)
    };
    let accepted = Answer::Accepted { at: None, note: None };
    assert_eq!(answer(attempt + 1, accepted.clone()), (0, 0), "of another attempt");
    let later = Answer::Later {
        why: "busy".into(),
        after_ms: Some(60_000),
    };
    assert_eq!(answer(attempt, later).0, 1);
    assert_eq!(answer(attempt, accepted), (0, 0), "it is not under way any more");
}

#[test]
fn an_import_that_was_accepted_while_its_device_was_away_is_not_repeated() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let (line, import) = until_asked(&mut drive, |call| matches!(call, Call::Import { .. }));
    drive.unplug();
    drive.reply(line, &import, &mut by_the_book);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    let sent = |f: &Fact| matches!(f, Fact::ItemSent { item, .. } if item.0.ends_with("/import"));
    assert_eq!(drive.count(sent), 1);
}

#[test]
fn a_key_that_was_accepted_while_its_device_was_away_is_not_sent_again() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let (line, upload) = until_asked(&mut drive, |call| matches!(call, Call::Upload { .. }));
    drive.mode = UsbMode::Normal;
    drive.unplug();
    drive.reply(line, &upload, &mut by_the_book);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(drive.keys(), ["01"]);
    assert!(
        notes(&drive).contains("the cloud accepted this key earlier in this run"),
        "{}",
        notes(&drive)
    );
}

#[test]
fn a_look_is_asked_for_once_and_used_in_the_moment_in_which_it_was_made() {
    let mut drive = Drive::that_left_with_a_new_key();
    let about_item = |call: &Call| {
        matches!(
            call,
            Call::Look {
                about: About::Item(_),
                ..
            }
        )
    };
    let (line, look) = until_asked(&mut drive, about_item);
    for _ in 0..60 {
        drive.pass_time(Duration::from_secs(1));
    }
    assert!(drive.effects.is_empty(), "asked again: {:?}", drive.effects);
    // It could not be told: to be asked again in a second, which is when the core wants to be woken.
    drive.reply(line, &look, &mut |_| Some(down()));
    let wake = drive.rack.next_tick(drive.now, drive.wall()).expect("it wants to be woken");
    assert_eq!(wake.since(drive.now), Duration::from_secs(1));
    // While nothing may be sent it is not woken again and again for what it cannot do.
    let mut barred = drive.rack.clone();
    barred.outbox.locked = Some("gone".into());
    assert_ne!(barred.next_tick(wake, drive.wall()), Some(wake));
    drive.now = wake;
    drive.give(&Input::Tick);
    assert!(!drive.effects.is_empty(), "at that very instant");
    let (line, look) = until_asked(&mut drive, about_item);
    // Meanwhile the token is not accepted any more: the key cannot go, and what was seen is out of date.
    drive.rack.outbox.locked = Some("gone".into());
    drive.reply(line, &look, &mut by_the_book);
    assert!(drive.effects.is_empty());
    drive.give(&Input::Command(Command::TokenRenewed));
    assert!(
        matches!(&drive.effects[..], [Effect::Call(_, call)] if about_item(call)),
        "{:?}",
        drive.effects
    );
}

#[test]
fn a_refusal_says_that_the_cloud_holds_the_device_in_quarantine_or_denies_it() {
    for (quarantined, denied, words) in [
        (Some(true), None, Some("in quarantine")),
        (None, Some(true), Some("denied")),
        (Some(false), Some(false), None),
    ] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        drive.plug();
        for _ in 0..60 {
            while !drive.effects.is_empty() {
                match drive.effects.remove(0) {
                    Effect::Order { slot, order } => drive.obey(slot, order),
                    Effect::Call(line, Call::Look { about, .. }) => {
                        let device = CloudDevice {
                            quarantined,
                            denied,
                            ..CloudDevice::default()
                        };
                        let found = Looked::Device { device, at: None };
                        drive.give(&Input::Cloud(line, vec![Reply::Looked { about, found }]));
                    }
                    Effect::Call(line, call) => drive.reply(line, &call, &mut refuse_uploads),
                    _ => {}
                }
            }
            drive.pass_time(Duration::from_secs(1));
        }
        assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::CloudRefused))));
        let found = words.map_or("says nothing that explains it".to_owned(), |w| {
            format!("shows the device in {w})")
        });
        let said = |f: &Fact| matches!(f, Fact::RunEnded { why, .. } if why.contains(&found));
        assert_eq!(drive.count(said), 1, "{found}");
    }
}
