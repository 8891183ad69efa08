//! Which verdict a key slot in doubt allows, what becomes of undo copies, and whose fault it is.

use super::*;

#[test]
fn an_abort_between_announcement_and_read_back_is_a_quarantine_with_its_undo_copy() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
    drive.announce_new_key(slot, ticket.run, ticket);
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
    for _ in 0..70 {
        drive.pass_time(Duration::from_secs(1));
        drive.answer_all(&mut by_the_book);
    }
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
