//! Measurements on a large ledger. They print; what must hold on any machine is asserted loosely.
//!
//! `KEYRACK_FILL=1000000 cargo test --release --lib store::tests::large -- --ignored --nocapture`

use std::time::{Duration, Instant};

use super::sample::{self as s, Bench};
use crate::store::{
    Options, Reader, Store, fill,
    read::{DeviceFilter, RunFilter},
};

#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
fn now() -> Instant {
    Instant::now()
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let from = now();
    let done = work();
    let took = from.elapsed();
    println!("{what}: {took:?}");
    (done, took)
}

#[test]
fn a_small_filled_ledger_is_a_true_one() {
    let mut bench = Bench::new();
    fill::fill(&mut bench.store, 0, 1021, |_| {}).unwrap();
    bench.verified();
    let counts = bench.reader().counts().unwrap();
    assert_eq!((counts.devices, counts.apart, counts.owed), (1021, 2, 2));
    assert_eq!(bench.open_runs().len(), 2);
    assert_eq!(bench.reader().keys().map(Result::unwrap).count(), 1023, "more than one page");
    let conn = &bench.reader().conn;
    // Whatever is asked of a million devices, an index answers.
    for text in [
        "SELECT id FROM run WHERE ended IS NULL UNION SELECT run FROM item WHERE settled_at IS NULL",
        "SELECT * FROM journal WHERE run = 'x' ORDER BY seq",
        "SELECT * FROM item WHERE settled_at IS NULL",
        "SELECT device FROM key WHERE fingerprint = 'x'",
        "SELECT id FROM device WHERE serial >= 'x' AND serial < 'y' AND serial IS NOT NULL",
        "SELECT id FROM device WHERE tail >= 'x' AND tail < 'y' AND tail IS NOT NULL",
        "SELECT * FROM device WHERE apart IS NOT NULL ORDER BY id",
        "SELECT * FROM device WHERE last_verdict = 'fail' ORDER BY id",
        "SELECT * FROM undo WHERE destroyed_at IS NULL",
    ] {
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let rows: Vec<String> = plan.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        for step in rows.iter().filter(|step| step.starts_with("SCAN")) {
            assert!(step.contains("INDEX"), "{text}: {rows:?}");
        }
    }
}

#[test]
#[ignore = "a measurement: see the head of this file"]
fn commits_a_second_with_full_durability() {
    let top = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut store = Store::open(&top.path().join("ledger"), s::station(), Options::default()).unwrap();
    store
        .append(s::second(0), &[s::recipe(), s::started(s::run(1), s::device(1))])
        .unwrap();
    let fact = crate::model::Fact::StepStarted {
        run: s::run(1),
        step: 0,
        attempt: 1,
    };
    let mut times: Vec<Duration> = (0..2000)
        .map(|n| {
            let from = now();
            store.append(s::second(n), std::slice::from_ref(&fact)).unwrap();
            from.elapsed()
        })
        .collect();
    times.sort();
    let total: Duration = times.iter().sum();
    println!(
        "{:.0} commits/s, p50 {:?}, p99 {:?}",
        2000.0 / total.as_secs_f64(),
        times[1000],
        times[1980]
    );
}

#[test]
#[ignore = "a measurement: see the head of this file"]
fn a_million_devices() {
    #[expect(clippy::disallowed_methods, reason = "the size of a measurement is not configuration")]
    let devices: u32 = std::env::var("KEYRACK_FILL").map_or(100_000, |text| text.parse().unwrap());
    let mut bench = Bench::new();
    timed("fill", || fill::fill(&mut bench.store, 0, devices, |_| {}).unwrap());
    let (bench, _) = timed("open again", || bench.reopen());
    timed("records of open runs", || bench.store.open_records().unwrap());
    println!("{} open runs", bench.open_runs().len());
    let (reader, _) = timed("open for reading", || Reader::open(bench.store.dir()).unwrap());
    let n = devices / 2;
    let id = fill::device(n).to_string();
    for text in [&id, &id[18..], &fill::serial(n), &fill::iccid(n)] {
        let filter = DeviceFilter {
            text: Some(text.to_owned()),
            ..DeviceFilter::default()
        };
        let (found, took) = timed(text, || reader.devices(&filter, None, 50).unwrap());
        assert!(found.iter().any(|row| row.id == fill::device(n)));
        assert!(took < Duration::from_millis(50), "{text}");
    }
    for (what, filter) in [
        ("all devices, first page", DeviceFilter::default()),
        (
            "apart",
            DeviceFilter {
                apart: true,
                ..DeviceFilter::default()
            },
        ),
        (
            "owed",
            DeviceFilter {
                owed: true,
                ..DeviceFilter::default()
            },
        ),
    ] {
        timed(what, || reader.devices(&filter, None, 50).unwrap());
    }
    timed("history", || reader.history(fill::device(n)).unwrap());
    timed("records of a device", || {
        reader.device_records(fill::device(n), None, 100).unwrap()
    });
    timed("runs, first page", || reader.runs(&RunFilter::default(), None, 50).unwrap());
    timed("counts", || reader.counts().unwrap());
    timed("yield of all time", || reader.yields(None, None, None).unwrap());
    timed("work order", || reader.order("WO-1").unwrap());
    timed("export of keys", || reader.keys().map(Result::unwrap).count());
    timed("backup", || {
        reader.backup(&bench.dir.path().join("copy.db"), &mut |_| {}).unwrap()
    });
    timed("verify", || assert_eq!(reader.verify(&mut |_| {}).unwrap(), []));
}
