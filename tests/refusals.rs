//! Whatever can be wrong with what a station is given before it starts: the real binary says what and where, ends with
//! the right code, and touches nothing. It has a file of its own: a process that is being started holds the locks of its
//! parent for a moment.

#[expect(dead_code, reason = "other tests wait for lines and read key stores")]
mod process;

use std::{fs, os::unix::fs::PermissionsExt};

use keyrack::{
    model::StationId,
    store::{self, Store},
};
use process::{Served, keyrack, text};

#[test]
fn whatever_is_wrong_before_the_start_is_said_and_nothing_is_touched() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut world = Served::start(home, TWO);
    let folder = world.folder.clone();
    let config = folder.join("station.toml");
    let good = fs::read_to_string(&config).unwrap();
    let try_it = |name: &str, exit: i32, words: &[&str]| {
        let bus = folder.join("bus");
        let arguments = [
            "run",
            "--headless",
            "--config",
            text(&config),
            "--world",
            text(&bus),
            "--devices",
            "2",
        ];
        let output = keyrack(home, &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{name}: {said}");
        for word in words.iter().chain(&["error:", "next:"]) {
            assert!(said.contains(word), "{name}: \"{word}\" is not in: {said}");
        }
        assert!(!said.contains("panicked"), "{name}: {said}");
    };

    fs::write(&config, good.replace("[cloud]", "[clowd]")).unwrap();
    try_it("an unknown table", 2, &["clowd", "station.toml:"]);
    fs::write(&config, format!("{good}\n[[slot")).unwrap();
    try_it("no TOML", 2, &["station.toml:"]);
    fs::write(&config, good.replacen("number = 1\n", "number = 2\n", 1)).unwrap();
    try_it("a slot twice", 2, &["number"]);

    let at = good.find("sha256 = \"").unwrap() + "sha256 = \"".len();
    let listed = &good[at..at + 64];
    fs::write(&config, good.replace(listed, &"0".repeat(64))).unwrap();
    try_it("another SHA-256", 2, &["firmware/", "sha256"]);
    fs::write(&config, &good).unwrap();

    let module = |platform: &str| {
        let path = folder.join(format!("firmware/{platform}-application.bin"));
        fs::read(&path).map(|bytes| (path, bytes)).unwrap()
    };
    let (path, bytes) = module("boron");
    let mut damaged = bytes.clone();
    damaged[2000] ^= 1;
    fs::write(&path, &damaged).unwrap();
    try_it("damaged, with the SHA-256 of before", 2, &["boron-application.bin"]);
    fs::write(&config, good.replace(&sha256(&bytes), &sha256(&damaged))).unwrap();
    try_it("damaged, with its own SHA-256", 2, &["CRC"]);
    let (_, argon) = module("argon");
    fs::write(&path, &argon).unwrap();
    fs::write(&config, good.replace(&sha256(&bytes), &sha256(&argon))).unwrap();
    try_it("of another platform", 2, &["platform 12", "boron"]);
    fs::write(&path, &bytes[..700]).unwrap();
    fs::write(&config, good.replace(&sha256(&bytes), &sha256(&bytes[..700]))).unwrap();
    try_it("cut short", 2, &["boron-application.bin"]);
    fs::remove_file(&path).unwrap();
    fs::write(&config, &good).unwrap();
    try_it("not there", 2, &["boron-application.bin"]);
    fs::write(&path, &bytes).unwrap();

    let token = folder.join("token");
    let kept = fs::read(&token).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    try_it("a token that others can read", 4, &["chmod 600"]);
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&token, "{").unwrap();
    try_it("a token file that is none", 4, &["keyrack login"]);
    fs::remove_file(&token).unwrap();
    try_it("no token", 4, &["keyrack login"]);
    fs::write(&token, &kept).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();

    let ledger = folder.join("state/ledger");
    let _ = fs::remove_dir_all(folder.join("state"));
    fs::create_dir(folder.join("state")).unwrap();
    drop(Store::open(&ledger, StationId("demo".into()), store::Options::default()).unwrap());
    let set = |version: u32| {
        let database = rusqlite::Connection::open(ledger.join("ledger.db")).unwrap();
        let before: u32 = database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        database.pragma_update(None, "user_version", version).unwrap();
        before
    };
    let before = set(999);
    try_it("a ledger of a newer version", 5, &["newer"]);
    set(before);
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o755)).unwrap();
    try_it("a ledger that others can enter", 5, &["chmod 700"]);
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o700)).unwrap();
    let database = fs::read(ledger.join("ledger.db")).unwrap();
    fs::write(
        ledger.join("ledger.db"),
        "this is no database, and it is long enough to be looked at".repeat(99),
    )
    .unwrap();
    try_it("a ledger that is no database", 5, &["ledger"]);
    fs::write(ledger.join("ledger.db"), database).unwrap();

    // Nothing of all that touched a device; and with everything put right they are provisioned.
    let mut station = world.station(home, &["--devices", "2"]);
    assert_eq!(station.end().code(), Some(0), "{}", station.complaints());
    world.program.signal("TERM");
    assert!(world.program.end().success());
    assert!(!world.program.alive());
    fs::remove_file(folder.join("bus")).ok();
    try_it("no world", 3, &["bus"]);
}

fn sha256(bytes: &[u8]) -> String {
    keyrack::firmware::sha256_of(bytes).to_string()
}

const TWO: &str = include_str!("../fixtures/scenarios/two-good.toml");
