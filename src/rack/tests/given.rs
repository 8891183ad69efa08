//! Pairs that were given to the station: who gets them, and what the cloud has to learn of it.

use super::{
    diagnoses::{repair, shown},
    *,
};
use crate::model::{
    recipe::Work as Aimed,
    survey::{OwnerKind, Survey},
};

/// A device with this in its slot, for which key 99 was given; another device may have it, too.
fn drive(holds: SlotContent, other: Option<DeviceId>) -> Drive {
    let mut drive = Drive::new(repair(Aimed::GivenKey, KeyPolicy::Generate), holds);
    drive.survey = Survey::Seen(shown(OwnerKind::Team));
    drive.known.given = Some(Offered {
        key: key(99),
        owners: other.into_iter().collect(),
    });
    drive
}

fn accepted(drive: &mut Drive, n: u8) {
    drive.known.accepted = Some((key(n).fingerprint, None));
}

#[test]
fn the_key_that_the_cloud_accepted_last_is_written_and_not_registered() {
    for holds in [valid(1), SlotContent::Blank] {
        let mut drive = drive(holds, Some(DEVICE));
        accepted(&mut drive, 99);
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
        assert_eq!(drive.errands, Vec::<String>::new());
        assert_eq!(drive.count(|f| matches!(f, Fact::KeyWritten { .. })), 1);
        assert_eq!(drive.count(|f| matches!(f, Fact::ItemSent { .. })), 0);
    }
}

#[test]
fn any_other_key_is_registered_like_a_new_one() {
    for (holds, last, uploads) in [(valid(1), None, 2), (valid(1), Some(1), 2), (SlotContent::Blank, Some(5), 1)] {
        let mut drive = drive(holds, None);
        if let Some(n) = last {
            accepted(&mut drive, n);
        }
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{last:?}");
        assert_eq!(drive.errands.len(), uploads, "{last:?}: {:?}", drive.errands);
        assert_eq!(drive.count(|f| matches!(f, Fact::KeyWritten { .. })), 1);
    }
}

#[test]
fn the_key_that_is_there_is_not_written_again() {
    let mut drive = drive(valid(99), None);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(drive.count(|f| matches!(f, Fact::KeyIntended { .. })), 0);
    assert_eq!(drive.errands, ["key"]);
}

#[test]
fn a_key_of_another_device_and_none_at_all_change_nothing() {
    let mut duplicate = drive(valid(1), Some(DeviceId::from_bytes([9; 12])));
    let mut absent = drive(valid(1), None);
    absent.known.given = None;
    for (drive, end) in [
        (&mut duplicate, (Verdict::Fail, Some(Code::KeyDuplicate))),
        (&mut absent, (Verdict::Fault, Some(Code::GivenKeyAbsent))),
    ] {
        assert_eq!(drive.run(&mut by_the_book), Some(end));
        assert_eq!(
            drive.count(|f| matches!(f, Fact::KeyGiven { .. } | Fact::StepStarted { .. })),
            0
        );
        assert!(drive.errands.is_empty());
    }
}

#[test]
fn a_refused_key_is_taken_back_like_a_new_one() {
    let mut drive = drive(valid(1), None);
    let verdict = drive.run(&mut refuse_new_key);
    assert_eq!(verdict, Some((Verdict::RolledBack, Some(Code::RolledBackRefused))));
    assert_eq!(drive.holds, valid(1));
}
