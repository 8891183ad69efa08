//! The terminal is given back as it was, whatever ends the program, and nothing that happens to it tears a step off: the
//! real binary on a real pseudo-terminal. Panics are those of a screen in a process of this test's own.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "other tests look into key stores")]
mod process;
mod pty;

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use keyrack::{
    edge::{Clock, clock::SystemClock},
    model::{Code, DeviceId, Fact, SlotNo, StationId, Verdict, scan::Patterns},
    rack,
    store::Reader,
    tui::{self, Asked, Depth, Place, Screen, Story},
};
use process::{Served, text};
use pty::Terminal;

/// Two devices whose keys the cloud never takes: both are held in DFU mode.
const HELD: &str = r#"
about = "two that wait for the cloud"
seed = 5
[[slot]]
number = 1
platform = "argon"
[[slot]]
number = 2
platform = "boron"
[[cloud.fault]]
route = "POST /v1/provisioning/:id"
effect = "reset-before"
"#;

/// Four devices with nothing in their way.
const GOOD: &str = r#"
about = "four good ones"
seed = 6
[[slot]]
number = 1
platform = "argon"
[[slot]]
number = 2
platform = "boron"
[[slot]]
number = 3
platform = "p2"
[[slot]]
number = 4
platform = "photon"
"#;

fn station(home: &Path, world: &Served) -> Terminal {
    let (config, bus) = (world.folder.join("station.toml"), world.folder.join("bus"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyrack"));
    command
        .args(["run", "--config", text(&config), "--world", text(&bus)])
        .env("HOME", home);
    Terminal::start(command, (80, 24))
}

fn facts(world: &Served) -> Vec<Fact> {
    let reader = Reader::open(&world.folder.join("state/ledger")).unwrap();
    let records = reader.records(0, 10_000).unwrap();
    records.into_iter().map(|record| record.fact).collect()
}

fn verdicts(world: &Served) -> Vec<(DeviceId, Verdict)> {
    let ended = facts(world).into_iter().filter_map(|fact| match fact {
        Fact::RunEnded { device, verdict, .. } => Some((device, verdict)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn keys_and_signals_end_it_and_the_terminal_is_as_before() {
    let home = tempfile::tempdir().unwrap();
    let world = Served::start(home.path(), HELD);
    for end in ["F10", "TERM", "INT", "HUP", "INT twice"] {
        let terminal = station(home.path(), &world);
        terminal.wait_for(&["keyrack ", "F10quit", "[1]≈ cloud"]);
        match end {
            "F10" => {
                terminal.press(F10);
                terminal.wait_for(&["End now?"]);
                terminal.press(F10);
            }
            "INT twice" => {
                terminal.signal("INT");
                terminal.signal("INT");
            }
            signal => terminal.signal(signal),
        }
        let status = terminal.end();
        assert!(matches!(status.code(), Some(3 | 6)), "{end}: {status} {}", terminal.text());
        assert_eq!(terminal.left_behind(), [""; 0], "{end}");
    }
}

#[test]
fn what_is_held_is_named_first_one_slot_is_stopped_and_a_shift_is_finished() {
    let home = tempfile::tempdir().unwrap();
    let world = Served::start(home.path(), HELD);
    let mut terminal = station(home.path(), &world);
    terminal.wait_for(&["[1]≈ cloud", "2 ≈ cloud"]);
    for (key, title) in [(F9, "Finish and end?"), (F10, "End now?")] {
        terminal.press(key);
        terminal.wait_for(&[title, "slot 1", "slot 2", ": held in DFU mode (register"]);
    }
    terminal.press(F8);
    terminal.wait_for(&["Stop the run in slot 1?", "held in DFU mode"]);
    terminal.press("abort 1");
    terminal.press(F8);
    terminal.wait_for(&["- ABORTED", "2 ≈ cloud"]);
    terminal.press(F9);
    terminal.wait_for(&["Finish and end?"]);
    terminal.press(F9);
    terminal.wait_for(&["finishing", "2 ≈ cloud"]);
    assert_eq!(verdicts(&world).len(), 1, "the other one is still held");
    terminal.hang_up();
    assert_eq!(terminal.end().code(), Some(NOBODY));
    let facts = facts(&world);
    let torn = facts
        .iter()
        .any(|fact| matches!(fact, Fact::StepFailed { error, .. } if error.code != Code::CloudUnreachable));
    assert!(!torn, "{facts:?}");
    assert_eq!(
        verdicts(&world).len(),
        1,
        "the run of the other one goes on at the next start"
    );
}

#[test]
fn a_line_that_goes_down_tears_nothing_off() {
    let home = tempfile::tempdir().unwrap();
    let world = Served::start(home.path(), GOOD);
    let mut terminal = station(home.path(), &world);
    terminal.wait_for(&["flash"]);
    terminal.hang_up();
    assert_eq!(terminal.end().code(), Some(NOBODY));
    let failed = facts(&world).into_iter().find(|fact| matches!(fact, Fact::StepFailed { .. }));
    assert_eq!(failed, None, "each step came to a safe point");
    assert_eq!(verdicts(&world), [], "it ended before they were done");
    let mut again = world.station(home.path(), &["--devices", "4"]);
    assert_eq!(again.end().code(), Some(0), "{}", again.complaints());
    let passed = verdicts(&world);
    assert!(
        passed.len() == 4 && passed.iter().all(|(_, verdict)| *verdict == Verdict::Pass),
        "{passed:?}"
    );
}

#[test]
fn an_error_at_the_start_is_told_on_the_terminal_as_it_was_before() {
    let home = tempfile::tempdir().unwrap();
    let world = Served::start(home.path(), HELD);
    let first = station(home.path(), &world);
    first.wait_for(&["[1]≈ cloud"]);
    let second = station(home.path(), &world);
    assert_eq!(second.end().code(), Some(5), "{}", second.text());
    assert!(second.text().contains("stop the other station"), "{}", second.text());
    assert_eq!(second.left_behind(), [""; 0]);
    first.signal("TERM");
    first.end();
    assert_eq!(first.left_behind(), [""; 0], "{}", first.text());
}

#[test]
fn it_takes_any_size_and_paints_anew_without_asking_the_terminal() {
    let home = tempfile::tempdir().unwrap();
    let world = Served::start(home.path(), HELD);
    let terminal = station(home.path(), &world);
    terminal.wait_for(&["[1]≈ cloud", "F10quit"]);
    terminal.resize((160, 48));
    terminal.wait_for(&["F12 go", "[1]≈ cloud"]);
    terminal.resize((30, 8));
    terminal.wait_for(&["keyrack needs 40 columns"]);
    terminal.resize((120, 40));
    terminal.wait_for(&["[1]≈ cloud"]);
    // The emulator answers no question, as some terminals do not.
    terminal.press(ALT_R);
    terminal.press(F1);
    terminal.wait_for(&["paint the whole screen anew"]);
    terminal.signal("TERM");
    terminal.end();
    assert_eq!(terminal.left_behind(), [""; 0]);
}

#[test]
fn a_panic_is_told_on_the_terminal_as_it_was_before() {
    for (test, words, fine) in [
        ("on_the_thread_that_paints", "the sink breaks", true),
        ("on_the_thread_of_the_station", "the station breaks", false),
    ] {
        let terminal = panicking(test);
        terminal.press(F9);
        terminal.wait_for(&["Finish and end?"]);
        terminal.press(F9);
        terminal.wait_for(&["panicked at tests/terminal.rs", words]);
        assert_eq!(terminal.end().success(), fine, "{}", terminal.text());
        assert_eq!(terminal.left_behind(), [""; 0], "{test}: {}", terminal.text());
    }
}

#[test]
fn a_panic_that_the_station_survives_is_told_when_the_screen_ends() {
    let terminal = panicking("on_the_thread_of_a_slot");
    terminal.press(F1);
    terminal.wait_for(&["these keys"]);
    assert!(
        !terminal.text().contains("panicked"),
        "not over the screen: {}",
        terminal.text()
    );
    terminal.press(F10);
    terminal.wait_for(&["End now?"]);
    terminal.press(F10);
    assert!(terminal.end().success(), "{}", terminal.text());
    assert!(terminal.text().contains("thread 'slot-1' panicked at"), "{}", terminal.text());
    assert_eq!(terminal.left_behind(), [""; 0], "{}", terminal.text());
}

/// Starts one of the tests below in a process of its own, on a terminal.
fn panicking(test: &str) -> Terminal {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("RUST_BACKTRACE", "0");
    let terminal = Terminal::start(command, (80, 24));
    terminal.wait_for(&["keyrack panics", "F10quit"]);
    terminal
}

#[test]
#[ignore = "the other half of the tests of panics, which start it on a terminal"]
fn on_the_thread_that_paints() {
    let (screen, asking) = screen(true);
    assert_eq!(asking.recv().unwrap(), Asked::Station(rack::Command::Finish));
    let last = asking.recv().unwrap();
    assert_eq!(
        last,
        Asked::Station(rack::Command::Quit),
        "nobody could stop the station any more"
    );
    assert!(screen.close().is_err());
}

#[test]
#[ignore = "the other half of the tests of panics, which start it on a terminal"]
fn on_the_thread_of_the_station() {
    let (_screen, asking) = screen(false);
    asking.recv().unwrap();
    panic!("the station breaks");
}

#[test]
#[ignore = "the other half of the tests of panics, which start it on a terminal"]
fn on_the_thread_of_a_slot() {
    let (screen, asking) = screen(false);
    let panics = SystemClock::new().spawn("slot-1", Box::new(|| panic!("a step breaks")));
    assert!(panics().is_err());
    asking.recv().unwrap();
    screen.close().unwrap();
}

/// A screen on the terminal of this process, and what is asked there; what takes it over breaks the first time, if so.
fn screen(breaks: bool) -> (Screen, mpsc::Receiver<Asked>) {
    let place = Place {
        slot: SlotNo(1),
        position: None,
        label: None,
    };
    let setup = tui::Setup {
        station: tui::Station {
            id: StationId("panics".to_owned()),
            places: vec![place],
            patterns: Patterns::default(),
        },
        story: Story::default(),
        depth: Depth::Indexed,
        ledger: "/nowhere".into(),
        clock: Arc::new(SystemClock::new()),
    };
    let (asked, asking) = mpsc::channel();
    let breaks = AtomicBool::new(breaks);
    let sink = move |what, _: Box<dyn FnOnce(rack::Told) + Send>| {
        asked.send(what).unwrap();
        assert!(!breaks.swap(false, Ordering::AcqRel), "the sink breaks");
    };
    (Screen::open(setup, Box::new(sink)).unwrap(), asking)
}

/// It ended as asked, and its summary could not be written: there is no terminal any more.
const NOBODY: i32 = 5;
const F1: &str = "\x1bOP";
const F8: &str = "\x1b[19~";
const F9: &str = "\x1b[20~";
const F10: &str = "\x1b[21~";
const ALT_R: &str = "\x1br";
