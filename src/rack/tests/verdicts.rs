//! Which verdict a key slot in doubt allows, what becomes of undo copies, and whose fault it is.

use super::*;

#[test]
fn an_abort_between_announcement_and_read_back_is_a_quarantine_with_its_undo_copy() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
    drive.announce_new_key(slot, ticket, None);
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    drive.failed((slot, ticket), Code::Stopped);
    assert_eq!(drive.verdict(), Some((Verdict::Quarantined, Some(Code::StateUnknown))));
    assert_eq!(drive.count(|f| matches!(f, Fact::UndoDestroyed { .. })), 0);
}

#[test]
fn a_state_that_cannot_be_told_is_a_quarantine() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.failed(kept, Code::StateUnknown);
    assert_eq!(drive.verdict(), Some((Verdict::Quarantined, Some(Code::StateUnknown))));
}

#[test]
fn whatever_fails_after_a_valid_key_was_replaced_is_a_quarantine_and_the_key_stays_owed() {
    let mut drive = Drive::that_waits_with_a_new_key();
    drive.unplug();
    drive.fails = Some((StepKind::ReadKey, StepError::new(Code::KeyUnreadable, "read")));
    assert_eq!(
        drive.run(&mut put_off_new_key),
        Some((Verdict::Quarantined, Some(Code::StateUnknown)))
    );
    assert_eq!(drive.rack.outbox().open().count(), 1, "the new key is still owed");
    assert_eq!(drive.count(|f| matches!(f, Fact::UndoDestroyed { .. })), 0);
}

#[test]
fn the_undo_copy_of_an_ended_run_goes_when_its_key_is_accepted_at_last() {
    let mut drive = Drive::that_waits_with_a_new_key();
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    assert_eq!(drive.verdict(), Some((Verdict::Quarantined, Some(Code::StateUnknown))));
    assert_eq!(drive.count(|f| matches!(f, Fact::UndoDestroyed { .. })), 0);
    drive.later(70, &mut by_the_book);
    assert_eq!(drive.rack.outbox().open().count(), 0);
    assert_eq!(drive.count(|f| matches!(f, Fact::UndoDestroyed { .. })), 1);
}

#[test]
fn a_newcomer_is_seen_after_the_worker_of_a_departed_device_was_given_up() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.run_until_kept(StepKind::ReadKey);
    drive.unplug();
    drive.plug();
    drive.pass_time(Duration::from_secs(61));
    drive.pass_time(Duration::from_secs(16));
    assert!(matches!(drive.slot(), Slot::Settling { .. }), "{:?}", drive.slot());
}

/// A device that is let go with its key owed, because the cloud is away, and then fails its check with this code.
fn owed_and_then(code: Code) -> Drive {
    let mut drive = Drive::that_may_owe(KeyPolicy::ReadOrGenerate, SlotContent::Blank);
    drive.fails = Some((StepKind::Check, StepError::new(code, "check the modules")));
    drive.plug();
    drive.until_idle(LONG, &mut put_off_uploads);
    drive
}

#[test]
fn a_key_that_is_owed_stays_owed_when_something_else_fails() {
    let mut drive = owed_and_then(Code::ModuleInvalid);
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::ModuleInvalid))));
    let told = |f: &Fact| matches!(f, Fact::RunEnded { why, .. } if why.ends_with("its key is good and still owed to the cloud"));
    assert_eq!(drive.count(told), 1);
    drive.unplug();
    drive.later(100, &mut by_the_book);
    assert_eq!(
        drive.keys().last().map(String::as_str),
        Some("63"),
        "it is registered when the cloud is back"
    );
    assert_eq!(drive.rack.outbox().open().count(), 0);
}

#[test]
fn a_key_of_two_devices_is_owed_for_neither() {
    let drive = owed_and_then(Code::KeyDuplicate);
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::KeyDuplicate))));
    assert_eq!(drive.rack.outbox().open().count(), 0);
}

#[test]
fn a_quarantined_device_is_left_alone_until_a_person_has_decided() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.known.quarantined = Some(RunId(uuid::Uuid::from_u128(7)));
    assert_eq!(drive.run(&mut by_the_book), None);
    assert!(
        matches!(drive.slot(), Slot::Rejected { code: Code::Quarantined, why, .. } if why.contains(&format!("keyrack release {DEVICE}"))),
        "{:?}",
        drive.slot()
    );
    assert_eq!(drive.count(|f| !matches!(f, Fact::DeviceSeen { .. })), 0, "nothing was begun");
    drive.known.quarantined = None;
    drive.unplug();
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
}

#[test]
fn a_release_is_taken_in_by_the_run_that_it_is_about_and_by_no_other() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    let run = drive.rack.runs().next().unwrap().id;
    let released = Fact::QuarantineReleased {
        run,
        device: DEVICE,
        by: "eva".into(),
        why: "so".into(),
    };
    assert!(drive.rack.clone().apply(drive.wall(), &released).is_err(), "it passed");

    // What a quarantined run still owes keeps it in the core, also after a restart.
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let verdict = drive.run(&mut refuse_after_doubt(uploads_new_key));
    assert_eq!(verdict, Some((Verdict::Quarantined, Some(Code::StateUnknown))));
    let run = drive.rack.runs().next().unwrap().id;
    let (by, why) = ("eva".to_owned(), "so".to_owned());
    let wall = drive.wall();
    for fact in [
        Fact::QuarantineReleased {
            run,
            device: DEVICE,
            by,
            why,
        },
        Fact::UndoDestroyed { run, device: DEVICE },
    ] {
        drive.facts.push((wall, fact));
    }
    drive.restart();
}
