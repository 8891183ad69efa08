//! How often something is tried, how attempts are counted, and which answers are too late.

use super::*;
use crate::rack::CommitReply;

/// Takes the order for a step off the list of effects, with all that comes before it done by the book.
fn next_step(drive: &mut Drive, kind: StepKind) -> (SlotNo, Ticket, Box<Work>) {
    for _ in 0..100 {
        while !drive.effects.is_empty() {
            match drive.effects.remove(0) {
                Effect::Order {
                    slot,
                    order: Order::Step { ticket, work, .. },
                } if work.kind == kind => return (slot, ticket, work),
                Effect::Order { slot, order } => drive.obey(slot, order),
                Effect::Call(line, call) => drive.reply(line, &call, &mut by_the_book),
                _ => {}
            }
        }
        drive.pass_time(Duration::from_secs(1));
    }
    panic!("{kind} was never ordered");
}

/// Attempt numbers in the facts about a step: when it began, failed and ended.
fn attempts(drive: &Drive, kind: StepKind) -> [Vec<u8>; 3] {
    let run = drive.rack.runs().next().expect("a run");
    let index = run.index(kind).expect("in the plan");
    let mut found = [Vec::new(), Vec::new(), Vec::new()];
    for (_, fact) in &drive.facts {
        match fact {
            Fact::StepStarted { step, attempt, .. } if *step == index => found[0].push(*attempt),
            Fact::StepFailed { step, attempt, .. } if *step == index => found[1].push(*attempt),
            Fact::StepEnded { step, attempt, .. } if *step == index => found[2].push(*attempt),
            _ => {}
        }
    }
    found
}

#[test]
fn every_step_of_a_plan_is_on_record_with_its_begin_and_its_end() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    for step in drive.rack.runs().next().unwrap().steps.clone() {
        assert_eq!(attempts(&drive, step.kind), [vec![1], vec![], vec![1]], "{}", step.kind);
    }
}

#[test]
fn a_step_that_fails_is_tried_three_times_and_told_that_it_was_begun_before() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    for resumed in [false, true, true] {
        let (slot, ticket, work) = next_step(&mut drive, StepKind::ReadKey);
        assert_eq!(work.resumed, resumed);
        drive.failed((slot, ticket), Code::UsbTransfer);
    }
    assert_eq!(drive.verdict(), Some((Verdict::Fault, Some(Code::UsbTransfer))));
    assert_eq!(attempts(&drive, StepKind::ReadKey), [vec![1, 2, 3], vec![1, 2, 3], vec![]]);
}

#[test]
fn a_step_that_ends_well_at_its_second_attempt_says_so() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let (slot, ticket, _) = next_step(&mut drive, StepKind::ReadKey);
    drive.failed((slot, ticket), Code::UsbTransfer);
    drive.answer_all(&mut by_the_book);
    assert_eq!(attempts(&drive, StepKind::ReadKey), [vec![1, 2], vec![1], vec![2]]);
}

#[test]
fn an_answer_to_an_earlier_order_of_the_same_run_is_dropped() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let (slot, first, _) = next_step(&mut drive, StepKind::ReadKey);
    drive.failed((slot, first), Code::UsbTransfer);
    let (slot, second, work) = next_step(&mut drive, StepKind::ReadKey);
    let before = drive.facts.len();
    drive.done((slot, first));
    let read = Fact::KeyRead {
        run: work.run,
        device: DEVICE,
        content: valid(5),
    };
    drive.commit(slot, first, read.clone());
    let of_another_run = Fact::KeyRead {
        run: RunId(uuid::Uuid::from_u128(0xffff)),
        device: DEVICE,
        content: valid(5),
    };
    drive.commit(slot, second, of_another_run);
    let stale = |effect: &&Effect| {
        matches!(
            effect,
            Effect::Committed {
                reply: CommitReply::Stale,
                ..
            }
        )
    };
    assert_eq!(drive.effects.iter().filter(stale).count(), 2);
    assert_eq!(drive.facts.len(), before);
    drive.commit(slot, second, read);
    assert_eq!(drive.facts.len(), before + 1);
}

#[test]
fn a_change_of_mode_that_fails_is_tried_three_times_while_that_may_help() {
    for (code, most, verdict) in [
        (Code::UsbTransfer, 3, Verdict::Fault),
        (Code::ModuleInvalid, 1, Verdict::Fail),
    ] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        drive.plug();
        let mut tried = 0;
        for _ in 0..100 {
            for effect in std::mem::take(&mut drive.effects) {
                match effect {
                    Effect::Order {
                        slot,
                        order: Order::Change { ticket, .. },
                    } => {
                        tried += 1;
                        drive.failed((slot, ticket), code);
                    }
                    Effect::Order { slot, order } => drive.obey(slot, order),
                    Effect::Call(line, call) => drive.reply(line, &call, &mut by_the_book),
                    _ => {}
                }
            }
            drive.pass_time(Duration::from_secs(1));
        }
        assert_eq!(tried, most, "{code}");
        assert_eq!(drive.verdict(), Some((verdict, Some(code))));
    }
}

#[test]
fn a_worker_that_ends_because_it_took_too_long_was_too_slow_and_is_tried_again() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    for _ in 0..3 {
        let (slot, ticket, _) = next_step(&mut drive, StepKind::ReadKey);
        drive.pass_time(Timeouts::default().step);
        drive.failed((slot, ticket), Code::Stopped);
    }
    assert_eq!(drive.verdict(), Some((Verdict::Fault, Some(Code::StepTimeout))));
}

#[test]
fn firmware_has_a_limit_of_its_own() {
    let timeouts = Timeouts::default();
    assert_ne!(timeouts.flash, timeouts.step);
    let flash = StepKind::Flash { file: 0 };
    for (kind, limit) in [(flash, timeouts.flash), (StepKind::ReadKey, timeouts.step)] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        let mut setting = drive.rack.setting().clone();
        setting.book.offer(Prepared {
            recipe: Arc::new(recipe(KeyPolicy::Read)),
            firmware: vec![flash],
            needs: Vec::new(),
        });
        drive.rack = Rack::new(setting);
        drive.plug();
        next_step(&mut drive, kind);
        assert_eq!(drive.slot().deadline(), Some(drive.now + limit), "{kind}");
    }
}

#[test]
fn a_clean_up_that_fails_is_tried_three_times() {
    let mut drive = Drive::new(with_wifi(), valid(1));
    drive.fails = Some((StepKind::Check, StepError::new(Code::ModuleInvalid, "check")));
    drive.plug();
    for _ in 0..3 {
        assert_eq!(drive.verdict(), None);
        let (slot, ticket, _) = next_step(&mut drive, StepKind::ForgetNetwork);
        drive.failed((slot, ticket), Code::NetworkSetup);
    }
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::ModuleInvalid))));
    assert!(matches!(drive.slot(), Slot::Judged { .. }), "{:?}", drive.slot());
}

#[test]
fn the_old_key_is_put_back_in_three_attempts_and_then_nobody_knows() {
    for (code, most) in [(Code::UsbTransfer, 3), (Code::KeyWrite, 1)] {
        let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
        drive.keeps = Some(StepKind::RollBack);
        drive.plug();
        let mut resumed = Vec::new();
        for _ in 0..60 {
            for effect in std::mem::take(&mut drive.effects) {
                match effect {
                    Effect::Order {
                        slot,
                        order: Order::Step { ticket, work, .. },
                    } if work.kind == StepKind::RollBack => {
                        resumed.push(work.resumed);
                        drive.failed((slot, ticket), code);
                    }
                    Effect::Order { slot, order } => drive.obey(slot, order),
                    Effect::Call(line, call) => drive.reply(line, &call, &mut refuse_new_key),
                    _ => {}
                }
            }
            drive.pass_time(Duration::from_secs(1));
        }
        assert_eq!(resumed, [false, true, true][..most], "{code}");
        assert_eq!(drive.verdict(), Some((Verdict::Quarantined, Some(Code::StateUnknown))));
    }
}

#[test]
fn another_device_found_by_a_worker_sends_the_run_away_and_the_newcomer_is_asked() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.failed(kept, Code::DeviceSwapped);
    let interrupted = |f: &Fact| {
        matches!(
            f,
            Fact::RunInterrupted {
                code: Code::DeviceSwapped,
                ..
            }
        )
    };
    assert_eq!(drive.count(interrupted), 1);
    assert!(matches!(drive.slot(), Slot::Settling { .. }), "{:?}", drive.slot());
}

#[test]
fn a_run_that_was_stopped_ends_although_its_device_is_gone() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    drive.unplug();
    drive.failed(kept, Code::DeviceLost);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    assert_eq!(*drive.slot(), Slot::Vacant);
}

#[test]
fn a_stop_on_the_way_to_a_roll_back_lets_the_old_key_go_back() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    drive.cut_after(&mut refuse_new_key, |f| matches!(f, Fact::StepFailed { .. }));
    drive.plug();
    let mut stopped = false;
    for _ in 0..100 {
        for effect in std::mem::take(&mut drive.effects) {
            match effect {
                Effect::Order {
                    slot,
                    order: order @ Order::Change { .. },
                } => {
                    if !std::mem::replace(&mut stopped, true) {
                        drive.give(&Input::Command(Command::Abort(SlotNo(1))));
                    }
                    drive.obey(slot, order);
                }
                Effect::Order { slot, order } => drive.obey(slot, order),
                Effect::Call(line, call) => drive.reply(line, &call, &mut refuse_new_key),
                _ => {}
            }
        }
        drive.pass_time(Duration::from_secs(1));
    }
    assert!(stopped);
    assert_eq!(drive.verdict(), Some((Verdict::RolledBack, Some(Code::RolledBackRefused))));
    assert_eq!(drive.holds, valid(1));
}
