//! Protected devices: set aside, or let into Service Mode and protected again on every way out.

use super::{
    diagnoses::{repair, with_server},
    *,
};
use crate::model::recipe::Work as Aimed;

impl Drive {
    /// Its device is protected, and its recipe lets it into Service Mode.
    pub(super) fn that_is_protected(recipe: Recipe, holds: SlotContent) -> Self {
        let mut drive = Self::new(opening(recipe), holds);
        drive.shows = Protection::Protected;
        drive
    }

    /// What a worker does in the way in and in the way out.
    pub(super) fn guard(&mut self, slot: SlotNo, ticket: Ticket, kind: StepKind) -> After {
        let (run, device) = (ticket.run, DEVICE);
        let dfu = self.mode == UsbMode::Dfu;
        match (kind, self.shows) {
            (StepKind::ServiceMode, Protection::Service) => {
                self.commit(slot, ticket, Fact::ServiceOpened { run, device, key: None });
            }
            (StepKind::ServiceMode, _) if dfu => return After::Needs(UsbMode::Normal),
            (StepKind::ServiceMode, _) if self.unknown => return After::NeedsUpload,
            (StepKind::ServiceMode, _) => {
                let key = Some(Fingerprint([1; 32]));
                self.commit(slot, ticket, Fact::ServiceOpened { run, device, key });
                self.shows = Protection::Service;
            }
            (_, Protection::Service) if dfu && self.early => return After::Needs(UsbMode::Normal),
            _ => {
                self.shows = Protection::Protected;
                self.commit(slot, ticket, Fact::ProtectedAgain { run, device });
            }
        }
        After::Stays
    }

    /// The device loses its power for a moment, and Service Mode with it.
    pub(super) fn loses_power(&mut self) {
        self.unplug();
        self.mode = UsbMode::Normal;
        self.shows = Protection::Protected;
        self.plug();
    }

    /// The steps that were performed, in order.
    fn performed(&self) -> Vec<StepKind> {
        let run = self.rack.runs().next().expect("a run");
        let ended = |(_, fact): &(Wall, Fact)| match fact {
            Fact::StepEnded { step, .. } => Some(run.steps[usize::from(*step)].kind),
            _ => None,
        };
        self.facts.iter().filter_map(ended).collect()
    }

    fn opened(&self) -> usize {
        self.count(|fact| matches!(fact, Fact::ServiceOpened { .. }))
    }

    fn closed(&self) -> usize {
        self.count(|fact| matches!(fact, Fact::ProtectedAgain { .. }))
    }
}

fn opening(recipe: Recipe) -> Recipe {
    Recipe {
        protected: ProtectedPolicy::ServiceMode,
        ..recipe
    }
}

#[test]
fn a_protected_device_is_let_in_for_the_work_and_protected_again() {
    use StepKind::*;
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{}", drive.why());
    assert_eq!(
        drive.performed(),
        [Admit, Enrol, ServiceMode, ReadKey, Register, Boot, Check, ProtectAgain, Prove]
    );
    assert_eq!((drive.opened(), drive.closed(), drive.shows), (1, 1, Protection::Protected));
}

#[test]
fn a_device_in_dfu_mode_leaves_it_for_the_exchange() {
    for early in [false, true] {
        let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
        (drive.mode, drive.early) = (UsbMode::Dfu, early);
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{}", drive.why());
        assert_eq!((drive.opened(), drive.closed()), (1, 1));
    }
}

#[test]
fn a_protected_device_is_repaired_by_what_its_diagnosis_says() {
    let mut drive = Drive::that_is_protected(repair(Aimed::Mend, KeyPolicy::ReadOrGenerate), valid(1));
    drive.survey = Survey::Seen(super::diagnoses::shown(crate::model::survey::OwnerKind::Nobody));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{}", drive.why());
    let steps = drive.performed();
    let place = |kind| steps.iter().position(|step| *step == kind).unwrap();
    assert_eq!((place(StepKind::Survey), place(StepKind::ServiceMode)), (0, 1));
    assert_eq!(place(StepKind::ProtectAgain), place(StepKind::Check) + 1);
}

#[test]
fn a_look_at_a_protected_device_ends_with_its_protection() {
    let mut drive = Drive::that_is_protected(repair(Aimed::Diagnose, KeyPolicy::Read), valid(1));
    drive.survey = Survey::Seen(super::diagnoses::shown(crate::model::survey::OwnerKind::Nobody));
    drive.run(&mut by_the_book);
    assert!(drive.verdict().is_some(), "judged");
    assert_eq!((drive.opened(), drive.closed(), drive.shows), (1, 1, Protection::Protected));
}

#[test]
fn a_look_that_is_cut_before_its_verdict_has_the_same_one() {
    for work in [Aimed::Diagnose, Aimed::Address] {
        let look = || {
            let mut drive = Drive::that_is_protected(repair(work, KeyPolicy::Read), valid(1));
            drive.survey = Survey::Seen(super::diagnoses::shown(crate::model::survey::OwnerKind::Nobody));
            drive
        };
        let calm = look().run(&mut by_the_book);
        assert!(calm.is_some());
        let mut drive = look();
        drive.cut_after(&mut by_the_book, |fact| matches!(fact, Fact::Diagnosed { .. }));
        drive.restart();
        drive.loses_power();
        drive.until_idle(120, &mut by_the_book);
        assert_eq!(drive.verdict(), calm, "{work:?}: {}", drive.why());
        assert_eq!((drive.opened(), drive.closed()), (1, 1), "it is not opened again for that");
    }
}

#[test]
fn a_step_that_fails_for_good_leaves_no_device_open() {
    // In normal mode, in DFU mode, and in DFU mode of a bootloader that cannot end it.
    for (kind, early) in [
        (StepKind::Check, false),
        (StepKind::ReadKey, false),
        (StepKind::ReadKey, true),
    ] {
        let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
        drive.early = early;
        drive.fails = Some((kind, StepError::new(Code::ModuleInvalid, "it is bad")));
        assert_eq!(
            drive.run(&mut by_the_book),
            Some((Verdict::Fail, Some(Code::ModuleInvalid))),
            "{}",
            drive.why()
        );
        assert_eq!((drive.closed(), drive.shows), (1, Protection::Protected), "{kind}");
    }
}

#[test]
fn a_device_that_is_not_protected_again_is_an_alarm_whatever_else_was_to_be_said() {
    let error = || StepError::new(Code::NotProtectedAgain, "it shows Service Mode");
    let alarm = Some((Verdict::Fail, Some(Code::NotProtectedAgain)));
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.fails = Some((StepKind::ProtectAgain, error()));
    assert_eq!(drive.run(&mut by_the_book), alarm);
    assert!(drive.why().contains("it may be open to everybody"), "{}", drive.why());
    // The bootloader of one that was stopped in DFU mode cannot end it, and the device does not start.
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.early = true;
    drive.fails = Some((StepKind::ReadKey, StepError::new(Code::KeyBlank, "it is blank")));
    drive.plug();
    while !matches!(
        drive.slot(),
        Slot::Running {
            doing: slot::Doing::Protect { .. },
            ..
        }
    ) {
        if !drive.answer_one(&mut by_the_book) {
            drive.pass_time(Duration::from_millis(300));
        }
    }
    drive.answer_one(&mut by_the_book);
    let Some(Effect::Order {
        slot,
        order: Order::Change {
            ticket, guarded: true, ..
        },
    }) = drive.effects.pop()
    else {
        panic!("it is to start: {:?}", drive.effects);
    };
    drive.failed((slot, ticket), Code::NoStart);
    assert_eq!(drive.verdict(), alarm, "{}", drive.why());
    assert!(drive.why().contains("it is blank"), "{}", drive.why());
}

#[test]
fn a_person_who_stops_a_run_leaves_no_device_open() {
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    drive.failed(kept, Code::Stopped);
    // Once more does not stop what ends it.
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    drive.until_idle(60, &mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::Stopped))));
    assert_eq!(drive.shows, Protection::Protected);
    // A device that is gone is not seen to be protected.
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    let kept = drive.run_until_kept(StepKind::ReadKey);
    drive.give(&Input::Command(Command::Abort(SlotNo(1))));
    drive.unplug();
    drive.failed(kept, Code::DeviceLost);
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::NotProtectedAgain))));
}

#[test]
fn a_device_that_lost_its_power_is_let_in_again_before_anything_else() {
    for kind in [StepKind::ReadKey, StepKind::Rekey, StepKind::Check] {
        let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Generate), valid(1));
        let kept = drive.run_until_kept(kind);
        drive.keeps = None;
        drive.unplug();
        drive.failed(kept, Code::DeviceLost);
        drive.loses_power();
        drive.until_idle(120, &mut by_the_book);
        assert_eq!(drive.verdict(), Some((Verdict::Pass, None)), "{kind}: {}", drive.why());
        assert_eq!((drive.opened(), drive.closed()), (2, 1), "{kind}");
    }
}

#[test]
fn service_mode_that_ends_in_the_middle_is_entered_again_and_not_for_ever() {
    for kind in [StepKind::ReadKey, StepKind::Check] {
        let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
        let kept = drive.run_until_kept(kind);
        // Nobody saw why.
        drive.shows = Protection::Protected;
        drive.keeps = None;
        drive.failed(kept, Code::Protected);
        drive.until_idle(120, &mut by_the_book);
        assert_eq!(drive.verdict(), Some((Verdict::Pass, None)), "{kind}: {}", drive.why());
        assert_eq!(drive.opened(), 2, "{kind}");
        let lost = drive.count(|fact| matches!(fact, Fact::StepFailed { error, .. } if error.code == Code::ServiceLost));
        assert_eq!(lost, 1, "{kind}");
    }
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.fails = Some((StepKind::ReadKey, StepError::new(Code::Protected, "it is closed")));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::ServiceLost))));
    assert_eq!((drive.opened(), drive.shows), (3, Protection::Protected));
}

#[test]
fn service_mode_that_ends_between_two_steps_is_entered_again() {
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let change = loop {
        match drive.effects.iter().position(|e| {
            matches!(
                e,
                Effect::Order {
                    order: Order::Change { .. },
                    ..
                }
            )
        }) {
            Some(at) => break drive.effects.remove(at),
            None if drive.answer_one(&mut by_the_book) => {}
            None => drive.pass_time(Duration::from_millis(300)),
        }
    };
    let Effect::Order {
        slot,
        order: Order::Change { ticket, .. },
    } = change
    else {
        unreachable!()
    };
    drive.shows = Protection::Protected;
    drive.failed((slot, ticket), Code::Protected);
    drive.until_idle(120, &mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)), "{}", drive.why());
    assert_eq!(drive.opened(), 2);
}

#[test]
fn a_station_that_stops_takes_the_run_up_with_service_mode() {
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Generate), valid(1));
    drive.run_until_kept(StepKind::Rekey);
    drive.keeps = None;
    drive.restart();
    drive.plug();
    drive.until_idle(120, &mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)), "{}", drive.why());
    assert_eq!(drive.closed(), 1);
    let evidence = drive.count(|fact| matches!(fact, Fact::ServiceOpened { key: None, .. }));
    assert_eq!(evidence, 1, "it was met in Service Mode, without leaving DFU mode");
}

#[test]
fn a_device_that_loses_its_power_after_it_was_protected_again_is_protected_once_more() {
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.cut_after(&mut by_the_book, |fact| matches!(fact, Fact::ProtectedAgain { .. }));
    drive.restart();
    drive.loses_power();
    drive.until_idle(LONG, &mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)), "{}", drive.why());
    assert_eq!((drive.closed(), drive.shows), (drive.opened(), Protection::Protected));
}

#[test]
fn what_ends_service_mode_before_a_verdict_is_tried_again() {
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.fails = Some((StepKind::Check, StepError::new(Code::ModuleInvalid, "it is bad")));
    let kept = drive.run_until_kept(StepKind::ProtectAgain);
    drive.failed(kept, Code::UsbTransfer);
    drive.until_idle(120, &mut by_the_book);
    assert_eq!(
        drive.verdict(),
        Some((Verdict::Fail, Some(Code::ModuleInvalid))),
        "{}",
        drive.why()
    );
    assert_eq!(drive.shows, Protection::Protected);
}

#[test]
fn a_device_that_cannot_be_opened_again_after_a_cut_write_is_a_quarantine() {
    let mut drive = Drive::that_is_protected(with_server(recipe(KeyPolicy::Read)), valid(1));
    drive.run_until_kept(StepKind::ServerKey);
    drive.unplug();
    drive.fails = Some((StepKind::ServiceMode, StepError::new(Code::ServiceRefused, "it cannot sign")));
    drive.loses_power();
    drive.until_idle(LONG, &mut by_the_book);
    let unknown = Some((Verdict::Quarantined, Some(Code::StateUnknown)));
    assert_eq!(drive.verdict(), unknown, "{}", drive.why());
}

#[test]
fn a_device_met_open_is_protected_first() {
    // By a recipe that sets it aside: protected, and nothing else.
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.shows = Protection::Service;
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::Protected))));
    assert_eq!(
        (drive.performed(), drive.shows),
        (vec![StepKind::ProtectAgain], Protection::Protected)
    );
    assert!(drive.why().contains("is protected again"), "{}", drive.why());
    // By one that lets it in: protected, and let in.
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.shows = Protection::Service;
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{}", drive.why());
    assert_eq!(drive.performed()[0], StepKind::ProtectAgain);
    assert_eq!((drive.opened(), drive.closed()), (1, 2));
    // One that the ledger knows as open, and whose bootloader does not tell.
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.known.unprotected = true;
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::Protected))));
    // It is not protected: an alarm, and nothing else is done with it.
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.shows = Protection::Service;
    drive.fails = Some((StepKind::ProtectAgain, StepError::new(Code::NotProtectedAgain, "it is open")));
    assert_eq!(
        drive.run(&mut by_the_book),
        Some((Verdict::Fail, Some(Code::NotProtectedAgain)))
    );
    assert_eq!(drive.performed(), []);
}

#[test]
fn a_key_the_cloud_does_not_know_is_said_and_not_tried_again() {
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Read), valid(1));
    drive.fails = Some((StepKind::ServiceMode, StepError::new(Code::ServiceKeyUnknown, "not found")));
    assert_eq!(
        drive.run(&mut by_the_book),
        Some((Verdict::Fail, Some(Code::ServiceKeyUnknown)))
    );
    let begun = drive.count(|fact| matches!(fact, Fact::StepStarted { step: 2, .. }));
    assert_eq!((begun, drive.opened(), drive.closed()), (1, 0, 0), "nothing was changed");
}

#[test]
fn the_network_is_taken_away_before_the_device_is_protected() {
    let mut drive = Drive::that_is_protected(with_wifi(), valid(1));
    drive.fails = Some((StepKind::Check, StepError::new(Code::ModuleInvalid, "it is bad")));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::ModuleInvalid))));
    assert_eq!(drive.performed().last(), Some(&StepKind::ForgetNetwork));
    assert_eq!(drive.shows, Protection::Protected);
}

#[test]
fn a_device_whose_new_key_the_cloud_does_not_know_yet_waits_for_its_upload() {
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Generate), valid(1));
    drive.plug();
    drive.works(20, &mut put_off_new_key);
    assert_eq!(drive.holds, valid(99));
    drive.loses_power();
    drive.unknown = true;
    drive.works(5, &mut put_off_new_key);
    assert!(matches!(drive.slot(), Slot::AwaitingCloud { .. }), "{:?}", drive.slot());
    assert_eq!(drive.shows, Protection::Protected);
    drive.unknown = false;
    drive.until_idle(LONG, &mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)), "{}", drive.why());
    assert_eq!((drive.opened(), drive.closed()), (2, 1));
}

#[test]
fn a_new_key_that_is_refused_while_its_device_is_closed_is_a_quarantine() {
    let mut drive = Drive::that_is_protected(recipe(KeyPolicy::Generate), valid(1));
    drive.plug();
    drive.works(20, &mut put_off_new_key);
    drive.loses_power();
    drive.unknown = true;
    drive.works(5, &mut put_off_new_key);
    drive.until_idle(LONG, &mut refuse_new_key);
    assert_eq!(drive.verdict(), Some((Verdict::Quarantined, Some(Code::StateUnknown))));
    // It was open when the power went, and shows since that it is not.
    assert_eq!(drive.closed(), 1, "{}", drive.why());
}
