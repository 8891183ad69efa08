//! Who is taken in: asked again or turned away, refused for what it lacks, and left alone while the station comes to
//! its end.

use super::*;
use crate::model::module::{Dependency, InstalledModule, ModuleFunction};

/// What the device of a drive tells by the book.
fn identity() -> Identity {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.run(&mut by_the_book);
    let told = |(_, fact): &(Wall, Fact)| {
        if let Fact::DeviceSeen { identity, .. } = fact {
            Some(identity.clone())
        } else {
            None
        }
    };
    drive.facts.iter().find_map(told).expect("it told who it is")
}

/// Takes the question who it is off the list of effects, if it was asked.
fn question(drive: &mut Drive) -> Option<u16> {
    let asked = |effect: &Effect| {
        if let Effect::Order {
            order: Order::Identify { attached },
            ..
        } = effect
        {
            Some(attached.address)
        } else {
            None
        }
    };
    let address = drive.effects.iter().find_map(asked)?;
    drive.effects.retain(|effect| asked(effect).is_none());
    Some(address)
}

fn plug_and_ask(drive: &mut Drive) -> u16 {
    drive.plug();
    drive.pass_time(Duration::from_secs(1));
    question(drive).expect("it is asked who it is")
}

fn tell(drive: &mut Drive, address: u16, result: Result<Identity, StepError>) {
    drive.give(&Input::Identified {
        slot: SlotNo(1),
        address,
        fresh: RunId(uuid::Uuid::from_u128(1)),
        result,
        known: Known::default(),
    });
}

#[test]
fn a_device_that_fails_to_tell_is_asked_three_times_and_one_that_has_no_answer_once() {
    for (code, most) in [(Code::UsbTransfer, 3), (Code::NoDeviceId, 1)] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        let mut address = Some(plug_and_ask(&mut drive));
        let mut asked = 0;
        while let Some(at) = address.filter(|_| asked < 10) {
            asked += 1;
            tell(&mut drive, at, Err(StepError::new(code, "identify")));
            address = question(&mut drive);
        }
        assert_eq!(asked, most, "{code}");
        assert!(
            matches!(drive.slot(), Slot::Rejected { code: c, .. } if *c == code),
            "{:?}",
            drive.slot()
        );
    }
}

#[test]
fn an_answer_of_an_attachment_that_is_gone_is_dropped() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let address = plug_and_ask(&mut drive);
    tell(&mut drive, address + 1, Ok(identity()));
    assert!(matches!(drive.slot(), Slot::Identifying { .. }));
    assert!(drive.facts.is_empty());
}

#[test]
fn a_device_that_tells_who_it_is_after_the_station_was_asked_to_finish_starts_no_run() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let address = plug_and_ask(&mut drive);
    drive.give(&Input::Command(Command::Finish));
    tell(&mut drive, address, Ok(identity()));
    assert_eq!(*drive.slot(), Slot::Vacant);
    assert_eq!(drive.count(|f| matches!(f, Fact::RunStarted { .. })), 0);
    assert!(drive.rack.may_end());
}

#[test]
fn a_protected_device_is_judged_before_any_step() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let address = plug_and_ask(&mut drive);
    let told = Identity {
        protection: Protection::Protected,
        ..identity()
    };
    tell(&mut drive, address, Ok(told));
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::Protected))));
    assert!(drive.why().starts_with("the device is protected; "), "{}", drive.why());
    assert_eq!(drive.count(|f| matches!(f, Fact::StepStarted { .. })), 0);
}

#[test]
fn what_the_firmware_needs_must_be_there_in_its_version_or_a_newer_one() {
    let part = |function, index, version| InstalledModule {
        function,
        index,
        version,
        checked: 0,
        passed: 0,
    };
    let (system, boot) = (ModuleFunction::SystemPart, ModuleFunction::Bootloader);
    for (modules, met) in [
        (vec![part(boot, 1, 9000), part(system, 1, 3000)], true),
        (vec![part(system, 1, 3001)], true),
        (vec![part(system, 1, 2999)], false),
        (vec![part(system, 2, 3000)], false),
        (vec![part(boot, 1, 3000)], false),
        // A device that does not tell its modules says so itself after the flash.
        (vec![], true),
    ] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        let mut setting = drive.rack.setting().clone();
        setting.book.offer(Prepared {
            recipe: Arc::new(recipe(KeyPolicy::Read)),
            firmware: Vec::new(),
            needs: vec![Dependency {
                function: system,
                index: 1,
                version: 3000,
            }],
        });
        drive.rack = Rack::new(setting);
        let address = plug_and_ask(&mut drive);
        let told = Identity {
            modules: modules.clone(),
            ..identity()
        };
        tell(&mut drive, address, Ok(told));
        if met {
            assert_eq!(drive.verdict(), None, "{modules:?}");
            assert_eq!(drive.count(|f| matches!(f, Fact::StepStarted { .. })), 1, "{modules:?}");
        } else {
            let expected = Some((Verdict::Fail, Some(Code::DependencyMissing)));
            assert_eq!(drive.verdict(), expected, "{modules:?}");
            assert_eq!(drive.count(|f| matches!(f, Fact::StepStarted { .. })), 0);
            assert!(drive.why().contains("needs system part 1 v3000 or newer;"), "{}", drive.why());
        }
    }
}

#[test]
fn while_the_station_ends_only_a_device_whose_run_waits_for_it_is_taken_in() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.unplug();
    drive.failed(kept, Code::DeviceLost);
    assert_eq!(drive.count(|f| matches!(f, Fact::RunInterrupted { .. })), 1);
    drive.give(&Input::Command(Command::Finish));
    let mut stranger = attached(UsbMode::Normal, 70);
    stranger.serial = Some("e00fce6800000000000000ff".into());
    drive.give(&Input::Bus(vec![stranger]));
    assert_eq!(*drive.slot(), Slot::Vacant, "a newcomer");
    drive.give(&Input::Bus(vec![attached(UsbMode::Normal, 71)]));
    assert!(matches!(drive.slot(), Slot::Settling { .. }), "the run's own device");
    drive.give(&Input::Command(Command::Quit));
    drive.give(&Input::Bus(vec![attached(UsbMode::Normal, 72)]));
    assert_eq!(*drive.slot(), Slot::Vacant, "nothing is taken in any more");
}

#[test]
fn a_device_that_was_judged_is_no_longer_awaited_while_the_station_ends() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    drive.give(&Input::Command(Command::Finish));
    drive.give(&Input::Bus(vec![attached(UsbMode::Normal, 70)]));
    assert_eq!(*drive.slot(), Slot::Vacant);
}
