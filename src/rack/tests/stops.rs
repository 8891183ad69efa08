//! What a person's stop means in each state of a slot.

use super::*;

const ABORT: Input = Input::Command(Command::Abort(SlotNo(1)));
const QUIT: Input = Input::Command(Command::Quit);

#[test]
fn an_abort_holds_although_the_step_ends_well() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.give(&ABORT);
    drive.done(kept);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    assert!(matches!(drive.slot(), Slot::Judged { .. }));
}

#[test]
fn an_abort_holds_although_the_step_fails_in_a_way_that_is_tried_again() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.give(&ABORT);
    drive.failed(kept, Code::UsbTransfer);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    assert_eq!(
        drive.count(|f| matches!(f, Fact::StepFailed { .. })),
        1,
        "the failure is on record"
    );
}

#[test]
fn a_quit_holds_although_the_step_ends_well_and_the_run_waits() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.give(&QUIT);
    assert!(!drive.rack.may_end());
    drive.done(kept);
    assert_eq!(drive.verdict(), None);
    assert!(drive.rack.may_end());
    assert_eq!(
        drive.count(|f| matches!(f, Fact::RunInterrupted { code: Code::Stopped, .. })),
        1
    );
}

#[test]
fn a_quit_does_not_take_back_an_abort() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.give(&ABORT);
    drive.give(&QUIT);
    drive.failed(kept, Code::Stopped);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
}

#[test]
fn an_abort_shortly_before_the_deadline_leaves_time_to_reach_a_safe_point() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.pass_time(Duration::from_secs(59));
    drive.give(&ABORT);
    drive.pass_time(Duration::from_secs(5));
    assert!(!drive.effects.iter().any(|e| matches!(e, Effect::Abandon(_))));
    drive.failed(kept, Code::Stopped);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
}

#[test]
fn an_abort_while_the_device_restarts_counts_when_it_is_back() {
    let mut drive = Drive::that_is_away();
    drive.give(&ABORT);
    assert_eq!(drive.verdict(), None, "a device that restarts is waited for");
    drive.plug();
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    assert!(matches!(drive.slot(), Slot::Judged { .. }), "and no new run begins by itself");
}

#[test]
fn an_abort_while_the_device_restarts_counts_at_the_deadline() {
    let mut drive = Drive::that_is_away();
    drive.give(&ABORT);
    drive.pass_time(Duration::from_secs(61));
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    assert_eq!(*drive.slot(), Slot::Vacant);
}

#[test]
fn an_abort_ends_a_run_that_waits_for_its_device_to_be_taken_out() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.failed(kept, Code::DeviceLost);
    assert!(matches!(drive.slot(), Slot::Set { .. }));
    drive.give(&ABORT);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
}

#[test]
fn an_abort_does_not_stop_the_old_key_from_going_back() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let kept = drive.run_until_kept_by(StepKind::RollBack, &mut refuse_new_key);
    drive.effects.clear();
    drive.give(&ABORT);
    assert!(!drive.effects.iter().any(|e| matches!(e, Effect::Cancel(_))));
    // One transfer fails: the old key is tried again, not given up.
    drive.failed(kept, Code::UsbTransfer);
    drive.answer_all(&mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::RolledBack, Some(Code::RolledBackRefused))));
}

#[test]
fn an_abort_with_a_key_in_doubt_and_no_device_waits_for_the_device() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
    let run = ticket.run;
    drive.announce_new_key(slot, ticket, None);
    drive.give(&ABORT);
    drive.unplug();
    drive.failed((slot, ticket), Code::DeviceLost);
    assert_eq!(drive.verdict(), None);
    assert!(matches!(
        drive.rack.run(run).unwrap().state,
        crate::rack::run::State::Interrupted(_)
    ));
}
