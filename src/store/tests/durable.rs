//! What was promised is on disk, what was not is nowhere, and nothing is opened that should not be.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rusqlite::{Connection, hooks::Action};

use super::sample::{self as s, Bench, RELAXED};
use crate::{
    model::{Code, Verdict, fact::Protection},
    store::{
        BadKey, Options, Reader, Store, StoreError,
        migrate::{self, Migration},
        schema::{APPLICATION_ID, MIGRATIONS},
    },
};

#[test]
fn records_are_numbered_without_gaps_across_restarts() {
    let mut bench = Bench::new();
    let records = bench
        .store
        .append(s::second(1), &[s::seen(s::device(1)), s::started(s::run(1), s::device(1))])
        .unwrap();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(bench.store.append(s::second(2), &[]).unwrap(), []);
    let mut bench = bench.reopen();
    assert_eq!(bench.store.last_seq(), 3);
    assert_eq!(*bench.store.open_records().unwrap(), records[1..]);
    assert_eq!(bench.append(s::ended(s::run(1), s::device(1), Verdict::Pass, None)).seq, 4);
    assert_eq!(bench.store.recipe(s::hash(0x5e)).unwrap().unwrap().0, "boron");
    assert_eq!(bench.store.recipe(s::hash(1)).unwrap(), None);
    bench.verified();
}

#[test]
fn the_files_are_for_the_owner_alone() {
    let bench = Bench::new();
    let dir = bench.store.dir();
    assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["ledger.db", "ledger.db-shm", "ledger.db-wal", "station.lock"]);
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let dir = dir.to_owned();
    let Bench { store, dir: _keep, .. } = bench;
    drop(store);
    assert!(matches!(
        Store::open(&dir, s::station(), RELAXED),
        Err(StoreError::Exposed { mode: 0o755, .. })
    ));
}

#[test]
fn full_durability_is_what_one_gets_by_default() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), s::station(), Options::default()).unwrap();
    let pragma = |name| store.conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(pragma("synchronous"), 2, "FULL");
    assert_eq!((pragma("foreign_keys"), pragma("trusted_schema")), (1, 0));
    let mode: String = store.conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    assert!(
        store.witness.execute("DELETE FROM device", []).is_err(),
        "a reader cannot write"
    );
}

#[test]
fn a_second_station_is_refused_with_the_process_of_the_first() {
    let bench = Bench::new();
    let refused = Store::open(bench.store.dir(), s::station(), RELAXED).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { pid: Some(pid) } if pid == std::process::id()));
    bench.reader();
}

/// All or nothing: each fact of a batch in turn is one that contradicts the ledger.
#[test]
fn nothing_of_a_refused_batch_is_written() {
    let (device, run) = (s::device(1), s::run(1));
    let good = [s::seen(device), s::started(run, device), s::read(run, device, &s::key(1))];
    for place in 0..=good.len() {
        let mut bench = Bench::new();
        let mut batch = good.to_vec();
        batch.insert(place, s::ended(s::run(9), device, Verdict::Pass, None));
        assert!(matches!(
            bench.store.append(s::second(1), &batch),
            Err(StoreError::Illegal { .. })
        ));
        assert_eq!(bench.store.last_seq(), 1);
        assert_eq!(bench.store.device(device).unwrap(), None);
        assert_eq!(bench.reader().records(0, 10).unwrap().len(), 1);
        assert_eq!(bench.store.append(s::second(2), &good).unwrap()[0].seq, 2, "and it goes on");
        bench.verified();
    }
}

#[test]
fn the_journal_is_append_only_even_by_hand() {
    let bench = Bench::new();
    let conn = Connection::open(bench.store.dir().join("ledger.db")).unwrap();
    let row = "1, 0, 'x', NULL, NULL, 1, 'x', x'00', zeroblob(32)";
    let after_gap = row.replacen('1', "3", 1);
    for text in [
        "UPDATE journal SET at = 0",
        "DELETE FROM journal",
        &format!("INSERT OR REPLACE INTO journal VALUES ({row})"),
        &format!("INSERT INTO journal VALUES ({after_gap})"),
    ] {
        let refused = conn.execute(text, []).unwrap_err().to_string();
        assert!(
            refused.contains("append-only") || refused.contains("no gaps"),
            "{text}: {refused}"
        );
    }
    bench.verified();
}

#[test]
fn a_full_disk_is_told_apart_and_nothing_is_half_written() {
    let mut bench = Bench::new();
    let pages: i64 = bench
        .store
        .conn
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    bench
        .store
        .conn
        .pragma_update_and_check(None, "max_page_count", pages + 4, |row| row.get::<_, i64>(0))
        .unwrap();
    let mut whole = 0;
    let refused = loop {
        let (device, run) = (s::device(whole), s::run(whole));
        let batch = [s::seen(device), s::started(run, device), s::read(run, device, &s::key(whole))];
        match bench.store.append(s::second(1), &batch) {
            Ok(_) => whole += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert!(whole > 0);
    assert_eq!(bench.store.last_seq(), 1 + 3 * u64::from(whole));
    assert_eq!(bench.store.device(s::device(whole)).unwrap(), None);
    bench.verified();
    // Room again: it goes on where it was.
    bench
        .store
        .conn
        .pragma_update_and_check(None, "max_page_count", 1_000_000, |row| row.get::<_, i64>(0))
        .unwrap();
    assert_eq!(bench.append(s::seen(s::device(99))).seq, 2 + 3 * u64::from(whole));
    bench.reopen().verified();
}

/// The process dies between any two statements of a commit: what is on disk then is the state before it.
#[test]
fn a_cut_between_statements_leaves_the_state_before() {
    let mut bench = Bench::new();
    // No page stays in memory: what is written early goes to the log early.
    bench.store.conn.pragma_update(None, "cache_size", 1).unwrap();
    let copies = Arc::new(Mutex::new(Vec::new()));
    let (from, top) = (bench.store.dir().to_owned(), bench.dir.path().to_owned());
    let hook = {
        let copies = Arc::clone(&copies);
        move |_: Action, _: &str, _: &str, _: i64| {
            let mut copies = copies.lock().unwrap();
            let to = top.join(format!("cut-{}", copies.len()));
            cut(&from, &to);
            copies.push(to);
        }
    };
    bench.store.conn.update_hook(Some(hook)).unwrap();
    let (device, run) = (s::device(1), s::run(1));
    bench
        .store
        .append(
            s::second(1),
            &[s::seen(device), s::started(run, device), s::intended(run, device, &s::key(1))],
        )
        .unwrap();
    bench.store.conn.update_hook(None::<fn(Action, &str, &str, i64)>).unwrap();
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    assert!(copies.len() > 8, "journal and tables: {}", copies.len());
    for copy in copies {
        let store = Store::open(&copy, s::station(), RELAXED).unwrap();
        assert_eq!(store.last_seq(), 1);
        assert_eq!(store.device(device).unwrap(), None);
        assert_eq!(Reader::open(&copy).unwrap().verify(&mut |_| {}).unwrap(), []);
    }
    let after = bench.dir.path().join("after");
    cut(bench.store.dir(), &after);
    assert_eq!(
        Store::open(&after, s::station(), RELAXED).unwrap().last_seq(),
        4,
        "and after it, the state after"
    );
}

/// The power goes while the log is written: whatever length of it is on disk, whole commits are there, in order.
#[test]
fn a_log_cut_anywhere_holds_whole_commits() {
    let mut bench = Bench::new();
    for n in 0..6 {
        let (device, run) = (s::device(n), s::run(n));
        bench
            .store
            .append(
                s::second(1),
                &[s::seen(device), s::started(run, device), s::read(run, device, &s::key(n))],
            )
            .unwrap();
    }
    let log = fs::read(bench.store.dir().join("ledger.db-wal")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for part in 0..=40 {
        let copy = bench.dir.path().join(format!("part-{part}"));
        cut(bench.store.dir(), &copy);
        fs::write(copy.join("ledger.db-wal"), &log[..log.len() * part / 40]).unwrap();
        match Store::open(&copy, s::station(), RELAXED) {
            Ok(mut store) => {
                let last = store.last_seq();
                assert!(last == 0 || last % 3 == 1, "whole commits of three after the first: {last}");
                seen.insert(last);
                assert_eq!(Reader::open(&copy).unwrap().verify(&mut |_| {}).unwrap(), []);
                assert_eq!(store.append(s::second(9), &[s::recipe()]).unwrap()[0].seq, last + 1);
            }
            Err(error) => panic!("{part}: {error}"),
        }
    }
    assert!(seen.len() >= 4 && seen.contains(&19), "{seen:?}");
}

#[test]
fn a_newer_ledger_is_left_alone_and_can_be_read() {
    let mut bench = Bench::new();
    bench.append(s::seen(s::device(1)));
    let newer = MIGRATIONS.len() as u32 + 1;
    bench.store.conn.pragma_update(None, "user_version", newer).unwrap();
    let dir = bench.store.dir().to_owned();
    let Bench { store, dir: _keep, .. } = bench;
    drop(store);
    let before = fs::read(dir.join("ledger.db")).unwrap();
    assert!(
        !dir.join("ledger.db-wal").exists(),
        "a station that ends leaves one whole file"
    );
    let refused = Store::open(&dir, s::station(), RELAXED).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found, known, .. } if (found, known) == (newer, newer - 1)));
    assert!(refused.to_string().contains("start a newer keyrack"));
    assert!(fs::read(dir.join("ledger.db")).unwrap() == before, "it was changed");
    let reader = Reader::open(&dir).unwrap();
    assert_eq!(reader.device(s::device(1)).unwrap().unwrap().id, s::device(1));
    assert!(matches!(reader.verify(&mut |_| {}), Err(StoreError::Newer { .. })));
}

#[test]
fn an_older_ledger_is_copied_before_it_is_changed_and_a_failed_step_changes_nothing() {
    let bench = Bench::new();
    let path = bench.store.dir().join("ledger.db");
    let Bench {
        mut store, dir: _keep, ..
    } = bench;
    let known = u32::try_from(MIGRATIONS.len()).unwrap();
    let good = Migration {
        name: "good",
        sql: "CREATE TABLE more (x TEXT) STRICT",
    };
    let bad = Migration {
        name: "bad",
        sql: "CREATE TABLE half (x TEXT) STRICT; INSERT INTO nowhere VALUES (1)",
    };
    let failed = migrate::migrate(&mut store.conn, &path, &[MIGRATIONS, &[good, bad]].concat()).unwrap_err();
    assert!(matches!(failed, StoreError::Migration { name: "bad", .. }));
    let version: u32 = store.conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, known + 1, "what succeeded stays");
    assert!(store.conn.prepare("SELECT * FROM half").is_err(), "what failed left nothing");
    let copy = path.with_file_name(format!("ledger-schema-{known}.db"));
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o600);
    let conn = Connection::open(copy).unwrap();
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, known);
    assert!(conn.prepare("SELECT * FROM more").is_err());
}

#[test]
fn a_ledger_of_the_first_schema_is_brought_up_to_date_and_its_tables_are_right() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    let key = s::key(1);
    bench.all([s::started(run, device), s::read(run, device, &key)]);
    let item = s::item(run, device, &key);
    bench.all([s::queued(item.clone()), s::sent(&item.id, 1)]);
    bench.append(s::ended(run, device, Verdict::Quarantined, Some(Code::StateUnknown)));
    for (n, protection) in [(2, Protection::Service), (3, Protection::Service), (3, Protection::Protected)] {
        bench.append(s::shows(s::device(n), protection));
    }
    let older = "DROP INDEX device_unprotected; ALTER TABLE device DROP COLUMN unprotected_since;
        DROP INDEX device_apart; ALTER TABLE device DROP COLUMN apart; ALTER TABLE device DROP COLUMN lost;
        ALTER TABLE device ADD COLUMN apart TEXT GENERATED ALWAYS AS (NULL) VIRTUAL;
        CREATE INDEX device_apart ON device (id) WHERE apart IS NOT NULL; ALTER TABLE device DROP COLUMN quarantined; ALTER TABLE run DROP COLUMN released_at;
        ALTER TABLE run DROP COLUMN released_by; ALTER TABLE run DROP COLUMN released_why;
        ALTER TABLE run DROP COLUMN diagnosis; ALTER TABLE run DROP COLUMN product; ALTER TABLE run DROP COLUMN reference;
        DROP TABLE restore; DROP TABLE packet; DROP TABLE shift; ALTER TABLE device DROP COLUMN labelled_at; PRAGMA user_version = 1";
    bench.store.conn.execute_batch(older).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.store.device(device).unwrap().unwrap().quarantined, Some(run));
    let unprotected = |n| bench.store.device(s::device(n)).unwrap().unwrap().unprotected_since.is_some();
    assert_eq!((unprotected(1), unprotected(2), unprotected(3)), (false, true, false));
    bench.verified();
    bench.append(s::answered(&item.id, 1, s::accepted()));
    bench.append(s::taken(s::packet(1), device, &s::key(2), None));
    bench.append(s::queued(s::item(s::packet(1), device, &s::key(2))));
    bench.verified();
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let top = tempfile::tempdir().unwrap();
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = top.path().join("ledger.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(conn);
    let before = fs::read(&path).unwrap();
    assert!(matches!(
        Store::open(top.path(), s::station(), RELAXED),
        Err(StoreError::Foreign { .. })
    ));
    assert!(matches!(Reader::open(top.path()), Err(StoreError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, "this is a text and not a database, and it is long enough to tell").unwrap();
    assert!(Store::open(top.path(), s::station(), RELAXED).is_err());
    assert_eq!(fs::read(&path).unwrap()[..4], *b"this");
    assert_eq!(APPLICATION_ID.to_be_bytes(), *b"kyrk");
    assert!(matches!(
        Reader::open(&top.path().join("none")),
        Err(StoreError::Absent { .. })
    ));
}

#[test]
fn a_key_that_the_ledger_does_not_hold_byte_for_byte_is_not_confirmed() {
    let mut bench = Bench::new();
    let (device, run, key) = (s::device(1), s::run(1), s::key(1));
    bench.all([s::started(run, device), s::intended(run, device, &key)]);
    let confirm = |bench: &Bench| match bench.store.confirm_key(device, key.fingerprint) {
        Err(StoreError::Key { source, .. }) => Err(source),
        other => Ok(other.unwrap()),
    };
    assert_eq!(confirm(&bench), Ok(key.clone()));
    assert!(bench.store.confirm_key(s::device(2), key.fingerprint).is_err());
    assert!(bench.store.confirm_key(device, s::key(2).fingerprint).is_err());
    let spoil = |spki: &[u8]| {
        let done = bench.store.conn.execute("UPDATE key SET spki = ?1", [spki]);
        assert_eq!(done, Ok(1));
    };
    let mut flipped = key.spki.clone();
    flipped[90] ^= 1;
    spoil(&flipped);
    assert!(matches!(confirm(&bench), Err(BadKey::Fingerprint { .. })));
    spoil(&key.spki[..90]);
    assert_eq!(confirm(&bench), Err(BadKey::Length { found: 90, expected: 91 }));
    bench.store.conn.execute("DELETE FROM key", []).unwrap();
    assert_eq!(confirm(&bench), Err(BadKey::Absent));
}

#[test]
fn a_copy_is_whole_private_and_elsewhere() {
    let mut bench = Bench::new();
    bench.all([s::seen(s::device(1)), s::started(s::run(1), s::device(1))]);
    let (inside, outside) = (bench.store.dir().join("copy.db"), bench.dir.path().join("copy.db"));
    let reader = bench.reader();
    assert!(matches!(
        reader.backup(&inside, &mut |_| {}),
        Err(StoreError::CopyInside { .. })
    ));
    assert!(matches!(
        reader.backup(&bench.store.dir().join("ledger.db"), &mut |_| {}),
        Err(StoreError::CopyInside { .. })
    ));
    fs::write(&outside, "an older copy").unwrap();
    let mut last = None;
    let copied = reader.backup(&outside, &mut |now| last = Some(now)).unwrap();
    assert_eq!(copied.last_seq, 3);
    assert_eq!(fs::metadata(&outside).unwrap().len(), copied.bytes);
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o600);
    let last = last.unwrap();
    assert!(last.done == last.total && last.total > 0);
    let beside: Vec<_> = fs::read_dir(bench.dir.path()).unwrap().collect();
    assert_eq!(beside.len(), 2, "ledger and copy, nothing half done: {beside:?}");

    bench.append(s::seen(s::device(2)));
    let restored = bench.dir.path().join("restored");
    fs::create_dir(&restored).unwrap();
    fs::set_permissions(&restored, fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(&outside, restored.join("ledger.db")).unwrap();
    let mut store = Store::open(&restored, s::station(), RELAXED).unwrap();
    assert_eq!(store.append(s::second(60), &[s::seen(s::device(3))]).unwrap()[0].seq, 4);
    assert_eq!(Reader::open(&restored).unwrap().verify(&mut |_| {}).unwrap(), []);
    assert!(matches!(
        reader.backup(Path::new("/nonexistent/copy.db"), &mut |_| {}),
        Err(StoreError::File { .. })
    ));
}

/// What the disk would hold if the process died now.
fn cut(from: &Path, to: &PathBuf) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["ledger.db", "ledger.db-wal"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
