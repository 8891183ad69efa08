//! What the picture of the station shows of a slot.

use super::*;
use crate::rack::view::SlotView;

fn first(drive: &Drive) -> SlotView {
    drive.rack.view().slots[0].clone()
}

#[test]
fn a_running_step_is_shown_with_its_number_and_a_held_key_is_not_counted_as_owed() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let (slot, ticket) = drive.run_until_kept(StepKind::Rekey);
    let fingerprint = drive.announce_new_key(slot, ticket, None);
    let run = drive.rack.run(ticket.run).unwrap();
    let (index, len) = (run.index(StepKind::Rekey).unwrap(), u8::try_from(run.steps.len()).unwrap());
    let seen = first(&drive);
    assert_eq!((seen.step, seen.progress), (Some(StepKind::Rekey), Some((index + 1, len))));
    assert_eq!(drive.rack.view().owed, 0, "held");
    let written = Fact::KeyWritten {
        run: ticket.run,
        device: DEVICE,
        fingerprint,
    };
    drive.commit(slot, ticket, written);
    assert_eq!(drive.rack.view().owed, 1);
}

#[test]
fn a_device_that_has_to_be_taken_out_is_shown_with_its_reason() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.failed(kept, Code::DeviceLost);
    let seen = first(&drive);
    assert_eq!((seen.code, seen.device), (Some(Code::DeviceLost), Some(DEVICE)));
    assert_eq!(seen.why, Code::DeviceLost.what());
    assert_eq!(seen.run, Some(kept.1.run));
}

#[test]
fn a_roll_back_is_shown_as_such_and_has_no_number_in_the_plan() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    drive.run_until_kept_by(StepKind::RollBack, &mut refuse_new_key);
    let seen = first(&drive);
    assert_eq!((seen.step, seen.progress), (Some(StepKind::RollBack), None));
}

#[test]
fn a_clean_up_is_shown_as_the_step_that_it_is_and_a_judged_run_as_done() {
    let mut drive = Drive::new(with_wifi(), valid(1));
    drive.fails = Some((StepKind::Check, StepError::new(Code::ModuleInvalid, "check")));
    let kept = drive.run_until_kept(StepKind::ForgetNetwork);
    let run = drive.rack.run(kept.1.run).unwrap();
    let number = run.index(StepKind::ForgetNetwork).unwrap() + 1;
    let seen = first(&drive);
    assert_eq!(seen.step, Some(StepKind::ForgetNetwork));
    assert_eq!(seen.progress.map(|(at, _)| at), Some(number));
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.run(&mut by_the_book);
    let seen = first(&drive);
    assert_eq!((seen.verdict, seen.step, seen.progress), (Some(Verdict::Pass), None, None));
}
