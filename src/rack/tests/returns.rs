//! Devices that come back after a restart: another one, in another mode, or not in time.

use super::*;

/// A drive whose recipe has this firmware.
fn with_firmware(firmware: &[StepKind]) -> Drive {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let mut setting = drive.rack.setting().clone();
    setting.book.offer(Prepared {
        recipe: Arc::new(recipe(KeyPolicy::Read)),
        firmware: firmware.to_vec(),
        needs: Vec::new(),
    });
    drive.rack = Rack::new(setting);
    drive
}

/// The worker says that the device restarts, and the device leaves the bus.
fn restarts(drive: &mut Drive, (slot, ticket): (SlotNo, Ticket), mode: UsbMode) {
    let report = Report {
        outcome: Outcome::Done,
        after: After::Returns {
            mode,
            within: Duration::from_secs(60),
        },
    };
    let result = Ok(report);
    drive.give(&Input::Report { slot, ticket, result });
    drive.unplug();
    assert!(matches!(drive.slot(), Slot::AwaitingReturn { .. }));
}

fn comes_back(drive: &mut Drive, mode: UsbMode) {
    drive.mode = mode;
    drive.plug();
}

fn interrupted(drive: &Drive) -> Option<Code> {
    let code = |(_, fact): &(Wall, Fact)| {
        if let Fact::RunInterrupted { code, .. } = fact {
            Some(*code)
        } else {
            None
        }
    };
    drive.facts.iter().rev().find_map(code)
}

#[test]
fn another_device_in_place_of_the_awaited_one_interrupts_the_run_or_ends_one_that_was_stopped() {
    for stopped in [false, true] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        let kept = drive.run_until_kept(StepKind::Boot);
        restarts(&mut drive, kept, UsbMode::Normal);
        if stopped {
            drive.give(&Input::Command(Command::Abort(SlotNo(1))));
        }
        let mut other = attached(UsbMode::Normal, 70);
        other.serial = Some("e00fce6800000000000000ff".into());
        drive.give(&Input::Bus(vec![other]));
        assert!(matches!(drive.slot(), Slot::Settling { .. }), "identified from nothing");
        if stopped {
            assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
        } else {
            assert_eq!(interrupted(&drive), Some(Code::DeviceSwapped));
            assert_eq!(drive.verdict(), None);
        }
    }
}

#[test]
fn a_device_that_comes_back_at_the_address_that_it_had_has_returned() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::Boot);
    // The report is heard before the device is seen to leave.
    restarts(&mut drive, kept, UsbMode::Normal);
    assert!(
        matches!(drive.slot(), Slot::AwaitingReturn { left: None, .. }),
        "{:?}",
        drive.slot()
    );
    drive.address -= 1;
    comes_back(&mut drive, UsbMode::Normal);
    assert!(matches!(drive.slot(), Slot::Running { .. }), "{:?}", drive.slot());
    assert_eq!(interrupted(&drive), None);
}

#[test]
fn a_device_that_tells_no_id_by_its_serial_number_is_taken_for_the_awaited_one() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::Boot);
    restarts(&mut drive, kept, UsbMode::Normal);
    let mut silent = attached(UsbMode::Normal, 70);
    silent.serial = Some("00000000001A".into());
    drive.give(&Input::Bus(vec![silent]));
    assert_eq!(interrupted(&drive), None, "the next step asks it");
    assert!(matches!(drive.slot(), Slot::Running { .. }), "{:?}", drive.slot());
}

#[test]
fn an_update_that_ends_in_dfu_mode_goes_on_where_the_next_file_is_flashed_and_nowhere_else() {
    let (update, flash) = (StepKind::Update { file: 0 }, StepKind::Flash { file: 1 });
    for (firmware, goes_on) in [
        ([update, flash], true),
        ([update, StepKind::Update { file: 1 }], false),
        ([flash, update], false),
    ] {
        let mut drive = with_firmware(&firmware);
        let kept = drive.run_until_kept(firmware[0]);
        restarts(&mut drive, kept, UsbMode::Normal);
        drive.effects.clear();
        comes_back(&mut drive, UsbMode::Dfu);
        let warned = drive.count(
            |f| matches!(f, Fact::StepEnded { step: 2, outcome: Outcome::Warned { why }, .. } if why.contains("waits in DFU mode")),
        );
        assert_eq!(warned, usize::from(goes_on), "{firmware:?}");
        assert_eq!(matches!(drive.slot(), Slot::Running { .. }), goes_on, "{firmware:?}");
        if !goes_on {
            // It may be on its way.
            comes_back(&mut drive, UsbMode::Normal);
            assert!(matches!(drive.slot(), Slot::Running { .. }), "{firmware:?}");
        }
    }
}

#[test]
fn an_update_that_was_stopped_and_ends_in_dfu_mode_ends_its_run() {
    let mut drive = with_firmware(&[StepKind::Update { file: 0 }, StepKind::Flash { file: 1 }]);
    let kept = drive.run_until_kept(StepKind::Update { file: 0 });
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    restarts(&mut drive, kept, UsbMode::Normal);
    comes_back(&mut drive, UsbMode::Dfu);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
}

#[test]
fn a_device_that_does_not_come_back_is_waited_for_and_the_code_says_what_may_be_the_matter() {
    for (mode, code) in [(UsbMode::Normal, Code::NoStart), (UsbMode::Dfu, Code::DeviceLost)] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        let kept = drive.run_until_kept(StepKind::ReadKey);
        restarts(&mut drive, kept, mode);
        drive.pass_time(Duration::from_secs(61));
        assert_eq!((interrupted(&drive), drive.verdict()), (Some(code), None));
        assert_eq!(*drive.slot(), Slot::Vacant);
    }
}

#[test]
fn a_device_that_stays_in_the_other_mode_is_told_three_times_and_then_blamed() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let mut told = 0;
    for _ in 0..400 {
        for effect in std::mem::take(&mut drive.effects) {
            match effect {
                Effect::Order {
                    slot,
                    order: Order::Change { ticket, to, .. },
                } => {
                    told += 1;
                    restarts(&mut drive, (slot, ticket), to);
                    comes_back(&mut drive, UsbMode::Normal);
                }
                Effect::Order { slot, order } => drive.obey(slot, order),
                Effect::Call(line, call) => drive.reply(line, &call, &mut by_the_book),
                _ => {}
            }
        }
        if drive.verdict().is_some() {
            break;
        }
        drive.pass_time(Duration::from_secs(1));
    }
    assert_eq!(told, 3);
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::NoDfu))));
}

#[test]
fn a_step_whose_device_stays_in_the_other_mode_has_failed() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::Boot);
    restarts(&mut drive, kept, UsbMode::Normal);
    comes_back(&mut drive, UsbMode::Dfu);
    drive.pass_time(Duration::from_secs(61));
    assert_eq!(drive.count(|f| matches!(f, Fact::StepFailed { .. })), 1);
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::NoStart))));
}

#[test]
fn a_deadline_counts_at_its_very_instant() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let at = drive.slot().deadline().expect("it settles");
    drive.pass_time(at.since(drive.now));
    assert!(matches!(drive.slot(), Slot::Identifying { .. }), "{:?}", drive.slot());
}
