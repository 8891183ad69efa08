//! Devices that come, go, move and fall off the bus, and what is cleaned up before they leave.

use super::*;

fn forgotten(drive: &Drive) -> usize {
    let run = drive.rack.runs().next().expect("shown");
    let step = run.index(StepKind::ForgetNetwork).expect("in the plan");
    drive.count(|f| matches!(f, Fact::StepEnded { step: s, .. } if *s == step))
}

#[test]
fn the_bench_network_is_taken_away_before_a_failed_check_is_judged() {
    let mut drive = Drive::new(with_wifi(), valid(1));
    drive.fails = Some((StepKind::Check, StepError::new(Code::ModuleInvalid, "check")));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::ModuleInvalid))));
    assert_eq!(forgotten(&drive), 1);
    let ended = drive.facts.iter().position(|(_, f)| matches!(f, Fact::RunEnded { .. }));
    let taken = drive.facts.iter().rposition(|(_, f)| matches!(f, Fact::StepEnded { .. }));
    assert!(taken < ended, "recorded before the verdict");
}

#[test]
fn the_bench_network_is_taken_away_when_a_person_stops_the_run() {
    let mut drive = Drive::new(with_wifi(), valid(1));
    let kept = drive.run_until_kept(StepKind::Check);
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    drive.failed(kept, Code::Stopped);
    drive.answer_all(&mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    assert_eq!(forgotten(&drive), 1);
}

#[test]
fn a_clean_up_that_fails_or_hangs_or_loses_its_device_changes_no_verdict_and_is_said() {
    let said = |drive: &Drive| drive.count(|f| matches!(f, Fact::RunEnded { why, .. } if why.contains("may still be on")));
    for how in 0..3 {
        let mut drive = Drive::new(with_wifi(), valid(1));
        drive.fails = Some((StepKind::Check, StepError::new(Code::ModuleInvalid, "check")));
        let kept = drive.run_until_kept(StepKind::ForgetNetwork);
        match how {
            0 => {
                drive.failed(kept, Code::NetworkSetup);
                drive.fails = Some((StepKind::ForgetNetwork, StepError::new(Code::NetworkSetup, "forget")));
                drive.answer_all(&mut by_the_book);
            }
            1 => {
                drive.pass_time(Duration::from_secs(61));
                drive.pass_time(Duration::from_secs(16));
            }
            _ => {
                drive.unplug();
                drive.failed(kept, Code::DeviceLost);
            }
        }
        assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::ModuleInvalid))), "{how}");
        assert_eq!(said(&drive), 1, "{how}");
    }
}

#[test]
fn a_device_without_a_bench_network_is_not_cleaned_up() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.fails = Some((StepKind::Check, StepError::new(Code::ModuleInvalid, "check")));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::ModuleInvalid))));
}

#[test]
fn a_device_that_falls_off_the_bus_at_every_attempt_is_given_up() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.fails = Some((StepKind::ReadKey, StepError::new(Code::DeviceLost, "read")));
    drive.plug();
    for _ in 0..400 {
        drive.answer_all(&mut by_the_book);
        if drive.verdict().is_some() {
            break;
        }
        drive.pass_time(Duration::from_secs(1));
        if matches!(drive.slot(), Slot::Set { .. }) {
            drive.unplug();
            drive.plug();
        }
    }
    assert_eq!(drive.verdict(), Some((Verdict::Fault, Some(Code::DeviceLost))));
}

#[test]
fn a_device_that_moves_while_it_is_waited_for_goes_on_in_its_new_slot() {
    let mut drive = Drive::that_is_away();
    drive.move_to("sim-0/2");
    drive.pass_time(Duration::from_secs(1));
    drive.answer_all(&mut by_the_book);
    assert_eq!(*drive.slot(), Slot::Vacant);
    assert_eq!(drive.count(|f| matches!(f, Fact::RunResumed { slot: SlotNo(2), .. })), 1);
    assert!(!matches!(drive.rack.slots()[&SlotNo(2)], Slot::Rejected { .. }));
}

#[test]
fn a_copy_of_a_judged_device_is_rejected_while_the_first_is_there() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.run(&mut by_the_book);
    let first = attached(drive.mode, drive.address);
    let mut copy = attached(drive.mode, 77);
    copy.port = "sim-0/2".parse().unwrap();
    drive.give(&Input::Bus(vec![first, copy]));
    drive.pass_time(Duration::from_secs(1));
    drive.answer_all(&mut by_the_book);
    let second = &drive.rack.slots()[&SlotNo(2)];
    assert!(
        matches!(
            second,
            Slot::Rejected {
                code: Code::DuplicateId,
                ..
            }
        ),
        "{second:?}"
    );
}

#[test]
fn a_judged_device_in_another_slot_is_a_new_run() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.run(&mut by_the_book);
    drive.move_to("sim-0/2");
    drive.pass_time(Duration::from_secs(1));
    drive.answer_all(&mut by_the_book);
    assert_eq!(drive.count(|f| matches!(f, Fact::RunStarted { .. })), 2);
}

#[test]
fn a_recheck_that_finds_a_blank_slot_blames_the_slot() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), SlotContent::Blank);
    drive.known.passed = Some(Fingerprint([7; 32]));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::KeyBlank))));
}

#[test]
fn a_proof_that_cannot_be_asked_for_is_no_fault_of_the_device() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let verdict = drive.run(&mut |call| {
        matches!(call, Call::Look { .. }).then(|| Answer::Later {
            why: "down".into(),
            after_ms: None,
        })
    });
    assert_eq!(verdict, Some((Verdict::Fault, Some(Code::CloudUnreachable))));
}
