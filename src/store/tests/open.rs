//! What a start takes up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rusqlite::Connection;

use super::sample::{self as s, Bench};
use crate::{
    model::{Code, Fact, RunId, Verdict, outbox::ItemId},
    store::StoreError,
};

/// Runs of so many devices, their facts in turn as those of a rack: of each three one is under way, one owes its upload,
/// one is done. The facts of the first two by run.
fn rack(devices: u8) -> (Bench, BTreeMap<RunId, Vec<Fact>>) {
    let mut bench = Bench::new();
    let of = |n| (s::run(n), s::device(n), s::key(n));
    let begin = |n| {
        let (run, device, key) = of(n);
        [
            s::started(run, device),
            s::read(run, device, &key),
            s::queued(s::item(run, device, &key)),
        ]
    };
    let sent = |n| vec![s::sent(&ItemId::key(s::run(n), s::key(n).fingerprint), 1)];
    let end = |n| {
        let (run, device, key) = of(n);
        let answered = |answer| s::answered(&ItemId::key(run, key.fingerprint), 1, answer);
        match n % 3 {
            0 => vec![answered(s::accepted()), s::ended(run, device, Verdict::Pass, None)],
            1 => vec![
                answered(s::later(None)),
                s::ended(run, device, Verdict::Owed, Some(Code::CloudUnreachable)),
            ],
            _ => Vec::new(),
        }
    };
    let mut expected = BTreeMap::new();
    for step in 0..5 {
        for n in 1..=devices {
            let facts = match step {
                0..3 => vec![begin(n)[step].clone()],
                3 => sent(n),
                _ => end(n),
            };
            bench.all(facts.clone());
            if n % 3 != 0 {
                expected.entry(s::run(n)).or_insert_with(Vec::new).extend(facts);
            }
        }
    }
    (bench, expected)
}

#[test]
fn every_record_of_every_open_run_is_taken_up_in_the_order_of_the_journal() {
    // Fewer than one connection reads, and more.
    for devices in [4, 250] {
        let (bench, expected) = rack(devices);
        let bench = bench.reopen();
        let records = bench.store.open_records().unwrap();
        assert!(records.is_sorted_by_key(|record| record.seq));
        let mut found: BTreeMap<RunId, Vec<Fact>> = BTreeMap::new();
        for record in records.iter() {
            found.entry(record.fact.run().unwrap()).or_default().push(record.fact.clone());
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn what_was_taken_up_holds_until_the_next_record() {
    let (mut bench, expected) = rack(2);
    let before = bench.store.open_records().unwrap();
    assert!(Arc::ptr_eq(&before, &bench.store.open_records().unwrap()), "read once");
    bench.append(s::ended(s::run(2), s::device(2), Verdict::Fault, Some(Code::UsbTransfer)));
    let after = bench.store.open_records().unwrap();
    assert_eq!(after.len(), before.len() + 1, "it still owes, and its end is on record");
    bench.append(s::answered(&ItemId::key(s::run(2), s::key(2).fingerprint), 1, s::accepted()));
    assert_eq!(expected.len(), 2);
    assert_eq!(bench.open_runs(), BTreeSet::from([s::run(1)]));
}

#[test]
fn a_record_that_cannot_be_read_is_named_whoever_reads_it() {
    for devices in [4, 250] {
        let (bench, _) = rack(devices);
        let conn = Connection::open(bench.store.dir().join("ledger.db")).unwrap();
        conn.execute_batch("DROP TRIGGER journal_no_update; UPDATE journal SET version = 99 WHERE seq = 3")
            .unwrap();
        let refused = bench.store.open_records();
        assert!(matches!(refused, Err(StoreError::Record { seq: 3, .. })), "{refused:?}");
    }
}
