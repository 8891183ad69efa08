//! The outbox alone: when an item may go, in which company, and when it is forgotten.

use super::*;
use crate::{
    model::outbox::ItemState,
    rack::{due::Way, upload::Entry},
};

const NOW: i64 = 1_800_000_000_000;

fn wall(after: i64) -> Wall {
    Wall::from_millis(NOW + after).unwrap()
}

fn run(n: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(n))
}

fn import(n: u8) -> Item {
    let mut device = *DEVICE.bytes();
    device[11] = n;
    Item {
        id: ItemId::import(run(u128::from(n))),
        run: run(u128::from(n)),
        device: DeviceId::from_bytes(device),
        product: Some(ProductId("1234".into())),
        errand: Errand::Import { activate_sim: false },
        after: None,
    }
}

fn upload(of: u128, n: u8) -> Item {
    Item {
        id: ItemId::key(run(of), key(n).fingerprint),
        run: run(of),
        device: DEVICE,
        product: None,
        errand: Errand::Key { key: key(n) },
        after: None,
    }
}

fn with(items: &[Item]) -> Outbox {
    let mut outbox = Outbox::default();
    for item in items {
        outbox.apply(wall(0), &Fact::ItemQueued { item: item.clone() });
    }
    outbox
}

fn send(outbox: &mut Outbox, item: &Item, answer: Option<Answer>) {
    let item = item.id.clone();
    outbox.apply(
        wall(0),
        &Fact::ItemSent {
            item: item.clone(),
            attempt: 1,
        },
    );
    if let Some(answer) = answer {
        outbox.apply(
            wall(0),
            &Fact::ItemAnswered {
                item,
                attempt: 1,
                answer,
            },
        );
    }
}

fn due(outbox: &Outbox, at: i64, chunk: usize) -> Vec<Call> {
    let due = outbox.due(wall(at), chunk);
    due.iter().filter_map(|due| due.call(&|_: &Entry| Way::Send)).collect()
}

#[test]
fn an_item_that_was_put_off_goes_at_its_instant_and_at_once_when_the_clock_was_set_back() {
    let item = upload(1, 1);
    let mut outbox = with(std::slice::from_ref(&item));
    let later = Answer::Later {
        why: "busy".into(),
        after_ms: Some(5000),
    };
    send(&mut outbox, &item, Some(later));
    let longest = 35 * 60 * 1000;
    for (at, goes) in [
        (0, false),
        (4999, false),
        (5000, true),
        (5001, true),
        (5000 - longest, true),
        (5001 - longest, false),
    ] {
        assert_eq!(due(&outbox, at, 500).len(), usize::from(goes), "{at}");
    }
    assert_eq!(outbox.next_due(wall(0)), Some(Duration::from_secs(5)));
    assert_eq!(outbox.next_due(wall(4999)), Some(Duration::from_millis(1)));
    assert_eq!(outbox.next_due(wall(5000)), None, "it goes now");
}

#[test]
fn imports_for_a_product_gather_while_one_is_under_way_and_go_in_chunks() {
    let items: Vec<_> = (1..=4).map(import).collect();
    let mut outbox = with(&items);
    send(&mut outbox, &items[0], None);
    assert_eq!(due(&outbox, 0, 2), [], "one for this product is under way");
    let accepted = Answer::Accepted { at: None, note: None };
    let attempt = Fact::ItemAnswered {
        item: items[0].id.clone(),
        attempt: 1,
        answer: accepted,
    };
    outbox.apply(wall(0), &attempt);
    let sent: Vec<_> = due(&outbox, 0, 2)
        .iter()
        .map(|call| {
            if let Call::Import { items, .. } = call {
                items.len()
            } else {
                panic!("{call:?}")
            }
        })
        .collect();
    assert_eq!(sent, [2]);
}

#[test]
fn the_keys_of_one_device_go_in_the_order_in_which_they_became_owed() {
    // By their ids the second one comes first.
    let (first, second) = (upload(2, 2), upload(1, 1));
    let outbox = with(&[first.clone(), second]);
    let calls = due(&outbox, 0, 500);
    assert!(
        matches!(&calls[..], [Call::Upload { item, .. }] if *item == first.id),
        "{calls:?}"
    );
}

#[test]
fn a_key_that_was_given_up_is_not_owed() {
    let item = upload(1, 1);
    let mut outbox = Outbox::default();
    let (device, key) = (DEVICE, key(1));
    let fingerprint = key.fingerprint;
    let run = run(1);
    let id = item.id.clone();
    outbox.apply(wall(0), &Fact::KeyIntended { run, device, key, item });
    assert_eq!(outbox.get(&id).unwrap().state, ItemState::Held);
    let why = "a third key is there".to_owned();
    let given_up = Fact::KeyAbandoned {
        run,
        device,
        fingerprint,
        why,
    };
    outbox.apply(wall(0), &given_up);
    assert_eq!(outbox.get(&id).unwrap().state, ItemState::Withdrawn);
}

#[test]
fn only_settled_items_are_forgotten_and_only_those_that_nobody_keeps() {
    let (open, kept, gone) = (upload(1, 1), upload(2, 2), upload(3, 3));
    let mut outbox = with(&[open.clone(), kept.clone(), gone.clone()]);
    for item in [&kept, &gone] {
        send(&mut outbox, item, Some(Answer::Accepted { at: None, note: None }));
    }
    outbox.sweep(|item| item.run == kept.run);
    let left: Vec<_> = outbox.entries().map(|entry| entry.item.clone()).collect();
    assert_eq!(left, [open, kept]);
}

#[test]
fn facts_about_runs_that_nobody_knows_are_illegal() {
    let mut rack = Drive::new(recipe(KeyPolicy::Read), valid(1)).rack;
    let unknown = Fact::ItemQueued { item: upload(1, 1) };
    assert_eq!(rack.apply(wall(0), &unknown).unwrap_err().what, "an item for an unknown run");
    let ended = Fact::RunInterrupted {
        run: run(1),
        code: Code::Stopped,
    };
    assert_eq!(rack.apply(wall(0), &ended).unwrap_err().what, "it is unknown");
}

#[test]
fn an_ended_run_is_forgotten_with_its_items_when_its_device_leaves() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!((drive.rack.runs().count(), drive.rack.outbox().entries().count()), (1, 2));
    drive.unplug();
    assert_eq!((drive.rack.runs().count(), drive.rack.outbox().entries().count()), (0, 0));
}
