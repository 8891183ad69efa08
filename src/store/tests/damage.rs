//! What `verify` finds.

use rusqlite::Connection;

use super::sample::{self as s, Bench};
use crate::{
    model::{Verdict, outbox::ItemId},
    store::Difference,
};

/// A ledger with something in every table.
fn bench() -> Bench {
    let mut bench = Bench::new();
    let (device, run, key) = (s::device(1), s::run(1), s::key(1));
    let id = ItemId::key(run, key.fingerprint);
    bench.all([
        s::seen(device),
        s::started(run, device),
        s::read(run, device, &key),
        s::queued(s::item(run, device, &key)),
        s::sent(&id, 1),
        s::answered(&id, 1, s::accepted()),
        s::ended(run, device, Verdict::Pass, None),
    ]);
    bench.verified();
    bench
}

/// Changes the file as somebody with a database tool would.
fn meddle(bench: &Bench, text: &str) -> Vec<Difference> {
    let conn = Connection::open(bench.store.dir().join("ledger.db")).unwrap();
    conn.execute_batch("DROP TRIGGER journal_no_update; DROP TRIGGER journal_no_delete; DROP TRIGGER journal_no_gap")
        .unwrap();
    conn.execute_batch(text).unwrap();
    bench.reader().verify(&mut |_| {}).unwrap()
}

#[test]
fn an_edited_record_is_found_whatever_was_edited() {
    let changes = [
        ("at = at + 1", true),
        ("station = 'bench-2'", true),
        ("version = 0", true),
        ("body = replace(CAST(body AS TEXT), 'pass', 'fail')", true),
        ("chain = zeroblob(32)", true),
        ("run = NULL", false),
        ("device = NULL", false),
        ("kind = 'run-started'", false),
    ];
    for (change, breaks_chain) in changes {
        let change = match change.strip_prefix("body = ") {
            Some(text) => format!("body = CAST({text} AS BLOB)"),
            None => change.to_owned(),
        };
        let found = meddle(&bench(), &format!("UPDATE journal SET {change} WHERE seq = 8"));
        assert_eq!(
            found.contains(&Difference::Chain { seq: 8 }),
            breaks_chain,
            "{change}: {found:?}"
        );
        let filed_wrong = |difference: &Difference| matches!(difference, Difference::Mislabelled { seq: 8, .. });
        assert_eq!(found.iter().any(filed_wrong), !breaks_chain, "{change}: {found:?}");
    }
}

#[test]
fn an_edited_fact_shows_in_chain_and_tables() {
    let found = meddle(
        &bench(),
        "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), 'pass', 'fail') AS BLOB) WHERE seq = 8",
    );
    assert_eq!(found[0], Difference::Chain { seq: 8 });
    let told: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|told| told.contains("verdict is pass and should be fail")),
        "{told:?}"
    );
}

#[test]
fn a_deleted_record_is_found_wherever_it_was() {
    for seq in 1..=8 {
        let found = meddle(&bench(), &format!("DELETE FROM journal WHERE seq = {seq}"));
        let gap = Difference::Gap { first: seq, last: seq };
        assert_eq!(found.contains(&gap), seq < 8, "{seq}: {found:?}");
        assert!(!found.is_empty(), "{seq}: at the end only the tables know");
    }
    let found = meddle(
        &bench(),
        "DELETE FROM journal WHERE seq = 3; UPDATE journal SET seq = -seq WHERE seq > 3;
         UPDATE journal SET seq = -seq - 1 WHERE seq < 0",
    );
    assert!(
        found.contains(&Difference::Chain { seq: 3 }),
        "closing the gap breaks the chain: {found:?}"
    );
}

#[test]
fn swapped_and_unreadable_records_are_found() {
    let found = meddle(
        &bench(),
        "UPDATE journal SET seq = -1 WHERE seq = 2; UPDATE journal SET seq = 2 WHERE seq = 3; UPDATE journal SET seq = 3 WHERE seq = -1",
    );
    assert!(found.contains(&Difference::Chain { seq: 2 }) && found.contains(&Difference::Chain { seq: 3 }));
    let found = meddle(&bench(), "UPDATE journal SET body = x'7b7d' WHERE seq = 4");
    assert!(
        found
            .iter()
            .any(|difference| matches!(difference, Difference::Unreadable { seq: 4, .. }))
    );
    let found = meddle(&bench(), "UPDATE journal SET version = 99 WHERE seq = 4");
    let told = found
        .iter()
        .find(|difference| matches!(difference, Difference::Unreadable { seq: 4, .. }));
    assert!(told.unwrap().to_string().contains("newer"), "{told:?}");
}

#[test]
fn an_edited_table_is_found_to_the_column() {
    let key = s::key(1).fingerprint;
    let device = s::device(1).to_string();
    let differs = |table: &str, key: String, column: &str, stored: &str, rebuilt: &str| Difference::Differs {
        table: table.to_owned(),
        key,
        column: column.to_owned(),
        stored: stored.to_owned(),
        rebuilt: rebuilt.to_owned(),
    };
    let cases = [
        (
            "UPDATE device SET runs = 7",
            vec![differs("device", device.clone(), "runs", "7", "1")],
        ),
        (
            "UPDATE run SET verdict = 'fail'",
            vec![differs("run", s::run(1).to_string(), "verdict", "fail", "pass")],
        ),
        (
            "UPDATE key SET accepted_at = NULL",
            vec![differs(
                "key",
                format!("{device} {key}"),
                "accepted_at",
                "nothing",
                &s::second(7).millis().to_string(),
            )],
        ),
        (
            "DELETE FROM item",
            vec![Difference::Missing {
                table: "item".to_owned(),
                key: ItemId::key(s::run(1), key).0,
            }],
        ),
        (
            "INSERT INTO recipe VALUES ('aa', 'x', 'x', 0)",
            vec![Difference::Extra {
                table: "recipe".to_owned(),
                key: "aa".to_owned(),
            }],
        ),
        (
            "UPDATE device SET key_accepted = 'x'",
            vec![
                differs("device", device.clone(), "key_accepted", "x", &key.to_string()),
                differs("device", device.clone(), "apart", "differs", "nothing"),
            ],
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(meddle(&bench(), change), expected, "{change}");
    }
}
