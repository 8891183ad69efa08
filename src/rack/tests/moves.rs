//! The chain that moves a device from one product to another, and the way back.

use super::{
    chains::{is, lost, once, refuse},
    diagnoses::{repair, shown},
    *,
};
use crate::model::{
    diagnosis::{Flow, Trouble},
    recipe::{Repair, Work as Aimed},
    survey::{OwnerKind, Survey},
};

/// A recipe that moves devices from product 1234 to product 99.
fn moving(work: Aimed, keys: KeyPolicy) -> Recipe {
    Recipe {
        aim: Aim::Repair(Repair {
            work,
            from: vec![ProductId("1234".into())],
            reference: None,
        }),
        product: Some(ProductId("99".into())),
        ..repair(work, keys)
    }
}

/// A device in product 1234, in these hands, with this in its slot.
fn drive(owner: OwnerKind, holds: SlotContent) -> Drive {
    let mut drive = Drive::new(moving(Aimed::Mend, KeyPolicy::ReadOrGenerate), holds);
    drive.survey = movable(owner);
    drive
}

fn movable(owner: OwnerKind) -> Survey {
    let mut seen = shown(owner);
    seen.movable = true;
    Survey::Seen(seen)
}

/// The items that went out, each with its product, once each.
fn went(drive: &Drive) -> Vec<String> {
    let queued = |id: &ItemId| {
        let mut products = drive.facts.iter().filter_map(|(_, fact)| match fact {
            Fact::ItemQueued { item } | Fact::KeyIntended { item, .. } if item.id == *id => item.product.clone(),
            _ => None,
        });
        products.next_back()
    };
    let mut went = Vec::new();
    for (_, fact) in &drive.facts {
        if let Fact::ItemSent { item, .. } = fact {
            let word = item.0.split('/').nth(1).unwrap();
            let product = queued(item).map(|product| product.0).unwrap_or_default();
            went.push(format!("{word} {product}"));
        }
    }
    went.dedup();
    went
}

const OWNERS: [OwnerKind; 3] = [OwnerKind::Nobody, OwnerKind::Account, OwnerKind::Customer];

#[test]
fn a_device_is_moved_and_whoever_owned_it_has_it_back() {
    for holds in [valid(1), SlotContent::Blank] {
        for owner in OWNERS {
            let mut drive = drive(owner, holds.clone());
            let verdict = drive.run(&mut by_the_book);
            assert_eq!(verdict, Some((Verdict::Pass, None)), "{owner}: {}", drive.why());
            let chain = ["release", "remove", "import", "key", "claim", "restore"];
            let unclaimed = ["remove", "import", "key", "restore"];
            let expected: &[&str] = if owner == OwnerKind::Nobody { &unclaimed } else { &chain };
            assert_eq!(drive.errands, expected, "{owner}");
            assert_eq!(drive.ended_custody, [true], "{owner}");
            let diagnosis = drive.facts.iter().find_map(|(_, fact)| match fact {
                Fact::Diagnosed { diagnosis, product, .. } => Some((diagnosis.trouble, diagnosis.flow, product.clone())),
                _ => None,
            });
            let new = Some(ProductId("99".into()));
            assert_eq!(diagnosis, Some((Trouble::ProductMismatch, Some(Flow::Move), new)));
            assert_eq!(drive.rack.outbox().open().count(), 0);
        }
    }
}

#[test]
fn each_part_of_a_move_goes_to_its_own_product() {
    let mut drive = drive(OwnerKind::Account, valid(1));
    drive.run(&mut by_the_book);
    let expected = ["release 1234", "remove 1234", "import 99", "key 99", "claim 99", "restore 99"];
    assert_eq!(went(&drive), expected);
    let queued: Vec<_> = drive
        .facts
        .iter()
        .filter(|(_, fact)| matches!(fact, Fact::ItemQueued { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert!(
        queued.len() == 6 && queued.iter().all(|at| *at == queued[0]),
        "queued whole, in one turn"
    );
}

#[test]
fn a_new_pair_is_made_where_the_present_key_was_accepted() {
    for owner in [OwnerKind::Nobody, OwnerKind::Account] {
        let mut drive = Drive::new(moving(Aimed::NewKey, KeyPolicy::Generate), valid(1));
        drive.survey = movable(owner);
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{owner}");
        assert_eq!(drive.keys(), ["01", "intended", "63"], "{owner}");
        let claimed = drive.errands.iter().position(|errand| errand == "claim");
        assert_eq!(claimed.is_some(), owner == OwnerKind::Account);
        assert_eq!(
            drive.errands.last().map(String::as_str),
            Some("key"),
            "moved and given back before it is made"
        );
    }
    let mut customers = Drive::new(moving(Aimed::NewKey, KeyPolicy::Generate), valid(1));
    customers.survey = movable(OwnerKind::Customer);
    assert_eq!(
        customers.run(&mut by_the_book),
        Some((Verdict::Fail, Some(Code::ImportInvalid)))
    );
    assert!(customers.errands.is_empty() && customers.holds == valid(1));
}

#[test]
fn what_stands_against_a_move_is_found_before_anything_is_changed() {
    for (owner, code) in [
        (OwnerKind::Team, Code::ImportInvalid),
        (OwnerKind::Stranger, Code::OwnerForeign),
        (OwnerKind::Unknown, Code::OwnerForeign),
    ] {
        let mut drive = drive(owner, SlotContent::Blank);
        assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(code))), "{owner}");
        assert!(drive.errands.is_empty() && drive.holds == SlotContent::Blank, "{owner}");
    }
    // Not in a product of the list.
    let mut unlisted = drive(OwnerKind::Nobody, valid(1));
    unlisted.survey = Survey::Seen(shown(OwnerKind::Nobody));
    assert_eq!(
        unlisted.run(&mut by_the_book),
        Some((Verdict::Fail, Some(Code::ImportInvalid)))
    );
    // The new product does not take it, or it could not be given back.
    for code in [Code::CloudDenied, Code::CustomerUnknown, Code::RestoreLost] {
        let mut drive = drive(OwnerKind::Customer, SlotContent::Blank);
        let verdict = drive.run(&mut |call| matches!(call, Call::Secure { .. }).then(|| refuse(code)));
        assert_eq!(verdict.and_then(|(_, code)| code), Some(code));
        assert!(drive.errands.is_empty() && drive.holds == SlotContent::Blank, "{code}");
    }
    // A slot that cannot be read, and one for which no key may be made.
    let unreadable = SlotContent::Unreadable { why: "x".into() };
    let mut unread = drive(OwnerKind::Nobody, unreadable);
    assert_eq!(
        unread.run(&mut by_the_book).and_then(|(_, code)| code),
        Some(Code::KeyUnreadable)
    );
    let mut keyless = Drive::new(moving(Aimed::Mend, KeyPolicy::Read), SlotContent::Blank);
    keyless.survey = movable(OwnerKind::Nobody);
    assert_eq!(keyless.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::KeyBlank))));
    assert!(unread.errands.is_empty() && keyless.errands.is_empty());
}

#[test]
fn a_dry_run_says_that_it_would_be_moved_and_moves_nothing() {
    let mut drive = Drive::new(moving(Aimed::Diagnose, KeyPolicy::ReadOrGenerate), SlotContent::Blank);
    drive.survey = movable(OwnerKind::Customer);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Fail, Some(Code::ImportInvalid))));
    assert!(drive.errands.is_empty());
    assert!(
        drive.why().contains("it is to be moved to 99") && drive.why().contains("the key slot is blank"),
        "{}",
        drive.why()
    );
}

#[test]
fn a_device_that_its_new_product_does_not_take_goes_back_with_key_and_owner() {
    for holds in [valid(1), SlotContent::Blank] {
        for owner in OWNERS {
            let mut drive = drive(owner, holds.clone());
            let verdict = drive.run(&mut |call| is(call, "import").then(|| refuse(Code::ImportInvalid)));
            assert_eq!(verdict, Some((Verdict::Fail, Some(Code::ImportInvalid))), "{owner}");
            assert!(drive.why().contains("it is in product 1234 as before"), "{}", drive.why());
            let mut expected = vec![
                "remove 1234",
                "import 99",
                "back 1234",
                "key 1234",
                "claim 1234",
                "restore 1234",
            ];
            if owner == OwnerKind::Nobody {
                expected.retain(|item| *item != "claim 1234");
            } else {
                expected.insert(0, "release 1234");
            }
            drive.answer_all(&mut by_the_book);
            assert_eq!(went(&drive), expected, "{owner}");
            assert_eq!(
                (drive.rack.outbox().open().count(), &*drive.ended_custody),
                (0, &[true][..]),
                "{owner}"
            );
        }
    }
}

#[test]
fn a_removal_that_is_refused_leaves_the_device_where_it_was() {
    for owner in OWNERS {
        let mut drive = drive(owner, valid(1));
        let verdict = drive.run(&mut |call| is(call, "remove").then(|| refuse(Code::CloudDenied)));
        assert_eq!(verdict, Some((Verdict::Fault, Some(Code::CloudDenied))), "{owner}");
        drive.answer_all(&mut by_the_book);
        let expected: &[&str] = match owner {
            // Nothing was taken from it.
            OwnerKind::Nobody => &["remove", "key"],
            _ => &["release", "remove", "key", "claim", "restore"],
        };
        assert_eq!(once(&drive.errands), expected, "{owner}");
        assert!(went(&drive).iter().all(|item| item.ends_with("1234")), "{owner}");
        assert_eq!(drive.ended_custody, [true], "{owner}");
    }
}

#[test]
fn a_device_that_no_product_takes_is_an_alarm() {
    let mut drive = drive(OwnerKind::Customer, valid(1));
    let verdict = drive.run(&mut |call| (is(call, "import") || is(call, "back")).then(|| refuse(Code::ImportNonmember)));
    assert_eq!(verdict, Some((Verdict::Quarantined, Some(Code::MoveLost))));
    assert!(drive.why().contains("product 1234 does not take it back"), "{}", drive.why());
    assert_eq!(once(&drive.errands), ["release", "remove", "import", "back"]);
    assert_eq!(drive.ended_custody, [false], "a person still needs what was kept");
}

#[test]
fn a_claim_that_is_lost_after_a_move_is_an_alarm() {
    for owner in [OwnerKind::Account, OwnerKind::Customer] {
        let mut drive = drive(owner, valid(1));
        let verdict = drive.run(&mut |call| is(call, "claim").then(|| refuse(Code::OwnerForeign)));
        assert_eq!(verdict, Some((Verdict::Quarantined, Some(Code::ClaimLost))), "{owner}");
        assert_eq!(drive.ended_custody, [false], "{owner}");
    }
}

#[test]
fn what_went_out_and_has_no_answer_is_looked_up_before_it_goes_out_again() {
    for word in ["release", "remove", "import", "claim", "restore"] {
        let mut drive = drive(OwnerKind::Account, valid(1));
        let mut seen = Vec::new();
        let verdict = drive.run(&mut |call| {
            let doubtful = match call {
                Call::Errand { doubtful, .. } => *doubtful,
                Call::Import { items, .. } => items[0].doubtful,
                _ => return None,
            };
            if !is(call, word) {
                return None;
            }
            seen.push(doubtful);
            (seen.len() == 1).then(lost)
        });
        assert_eq!((verdict, seen), (Some((Verdict::Pass, None)), vec![false, true]), "{word}");
    }
}

#[test]
fn a_move_goes_on_without_its_device_and_is_proved_when_that_is_back() {
    for owner in OWNERS {
        for word in ["release", "remove", "import", "key", "claim", "restore"] {
            if owner == OwnerKind::Nobody && matches!(word, "release" | "claim") {
                continue;
            }
            let mut drive = drive(owner, valid(1));
            let mut first = true;
            let mut cloud = |call: &Call| (is(call, word) && std::mem::take(&mut first)).then(lost);
            drive.cut_after(
                &mut cloud,
                |f| matches!(f, Fact::ItemSent { item, .. } if item.0.split('/').nth(1) == Some(word)),
            );
            drive.restart();
            for _ in 0..30 {
                drive.answer_all(&mut by_the_book);
                drive.pass_time(Duration::from_secs(10));
            }
            assert_eq!(
                drive.rack.outbox().open().count(),
                0,
                "{owner} {word}: it went on without its device"
            );
            assert_eq!(drive.errands.last().map(String::as_str), Some("restore"), "{owner} {word}");
            assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{owner} {word}");
        }
    }
}

#[test]
fn a_quit_or_an_abort_leaves_no_device_without_owner_or_product() {
    for owner in OWNERS {
        for command in [Command::Quit, Command::Abort(SlotNo(1))] {
            let mut drive = drive(owner, valid(1));
            drive.plug();
            while !drive.errands.iter().any(|errand| errand == "remove") {
                if !drive.answer_one(&mut by_the_book) {
                    drive.pass_time(Duration::from_secs(1));
                }
            }
            drive.give(&Input::Command(command.clone()));
            for _ in 0..5 {
                drive.answer_all(&mut by_the_book);
                drive.pass_time(Duration::from_secs(1));
            }
            assert!(drive.errands.iter().any(|errand| errand == "import"), "{owner} {command:?}");
            let claimed = drive.errands.iter().any(|errand| errand == "claim");
            assert_eq!(claimed, owner != OwnerKind::Nobody, "{owner} {command:?}");
            assert_eq!(drive.rack.may_end(), command == Command::Quit, "{owner} {command:?}");
        }
    }
}

#[test]
fn another_key_read_in_the_middle_is_registered_in_the_new_product() {
    for owner in OWNERS {
        for word in ["remove", "import", "restore"] {
            let mut drive = drive(owner, valid(1));
            drive.cut_after(
                &mut by_the_book,
                |f| matches!(f, Fact::ItemAnswered { item, .. } if item.0.ends_with(word)),
            );
            drive.restart();
            drive.holds = valid(2);
            assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)), "{owner} {word}");
            assert_eq!(drive.keys().last().map(String::as_str), Some("02"), "{owner} {word}");
            assert_eq!(drive.rack.outbox().open().count(), 0, "{owner} {word}");
            let last = |word: &str| drive.errands.iter().rposition(|errand| errand == word);
            assert!(owner != OwnerKind::Customer || last("key") < last("claim"), "{owner} {word}");
            assert_eq!(
                drive.errands.iter().filter(|errand| *errand == "remove").count(),
                1,
                "{owner} {word}"
            );
        }
    }
}

/// The product in which the cloud is asked next to open the device.
fn opened_in(drive: &mut Drive) -> Option<String> {
    for _ in 0..200 {
        let opens = drive.effects.iter().find_map(|effect| match effect {
            Effect::Order {
                order: Order::Step { work, .. },
                ..
            } if work.kind == StepKind::ServiceMode => Some(work.product.clone()),
            _ => None,
        });
        match opens {
            Some(product) => return product.map(|product| product.0),
            None if drive.answer_one(&mut by_the_book) => {}
            None => drive.pass_time(Duration::from_millis(300)),
        }
    }
    panic!("nobody opens it");
}

#[test]
fn a_protected_device_is_opened_in_the_product_where_it_is() {
    let mut drive = Drive::that_is_protected(moving(Aimed::Mend, KeyPolicy::ReadOrGenerate), valid(1));
    drive.survey = movable(OwnerKind::Nobody);
    drive.plug();
    assert_eq!(opened_in(&mut drive).as_deref(), Some("1234"));
    let imported = |fact: &Fact| matches!(fact, Fact::ItemAnswered { item, .. } if item.0.ends_with("/import"));
    while drive.count(imported) == 0 {
        if !drive.answer_one(&mut by_the_book) {
            drive.pass_time(Duration::from_millis(300));
        }
    }
    drive.loses_power();
    assert_eq!(opened_in(&mut drive).as_deref(), Some("99"));
    drive.until_idle(400, &mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)), "{}", drive.why());
}
