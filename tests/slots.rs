//! `keyrack slots` from outside: the real program on a simulated world, in which a person plugs devices in and out.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "every test uses what it needs of the processes")]
mod process;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use keyrack::{
    cli::rig::{Options, Rig},
    edge::{Bus, Clock, clock::SystemClock, entropy::SystemEntropy},
    model::{DeviceId, PortPath, SlotNo},
    sim::{
        device::Press,
        world::{World, remote, scenario::Scenario},
    },
};
use process::{Program, keyrack, text};
use serde_json::Value;
use tempfile::TempDir;

/// A world whose devices this test moves, served to the program.
struct Bench {
    home: TempDir,
    rig: Rig,
    _served: remote::Server,
}

impl Bench {
    fn new(scenario: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let world = World::in_real_time(Arc::clone(&clock));
        let scenario = Scenario::parse(scenario).unwrap();
        let rig = Rig::build(scenario, world, Arc::new(SystemEntropy), &Options::default()).unwrap();
        let served = remote::serve(&rig.world, &home.path().join("bus"), clock).unwrap();
        rig.begin();
        // Devices take their time to start.
        let (bus, clock) = (rig.world.bus(), rig.world.clock());
        let (changed, deadline) = (bus.changed(), clock.now() + Duration::from_secs(60));
        loop {
            let seen = changed.raised();
            if bus.list().unwrap().len() == rig.start.len() {
                break;
            }
            assert!(clock.now() < deadline, "the devices did not start");
            clock.wait(&changed, seen, Some(deadline));
        }
        Self {
            home,
            rig,
            _served: served,
        }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("bus")
    }

    /// A station file with slots on these ports, and comments that have to stay.
    fn config(&self, ports: &[&str]) -> PathBuf {
        let mut text =
            String::from("# the rack at the window\n[station]\nid = \"bench\"\n[cloud]\nurl = \"http://127.0.0.1:1\"\n");
        for (port, number) in ports.iter().zip(1..) {
            text += &format!("\n[[slot]] # slot {number}\nnumber = {number}\nport = \"{port}\" # cable {number}\n");
        }
        text += "\n# what is done\n[[recipe]]\nname = \"argon\"\nplatform = \"argon\"\n";
        let path = self.home.path().join("station.toml");
        fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, arguments: &[&str]) -> Program {
        let (config, state, bus) = (
            self.home.path().join("station.toml"),
            self.home.path().join("state"),
            self.socket(),
        );
        let mut all = vec!["--config", text(&config), "--state", text(&state), "slots"];
        all.extend(arguments);
        all.extend(["--world", text(&bus)]);
        Program::start(&all, self.home.path())
    }

    /// Runs it to its end, and gives what it printed.
    fn lines(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let mut program = self.start(arguments);
        let end = program.end();
        (end.code().unwrap(), program.said.clone())
    }

    fn device(&self, slot: u16) -> DeviceId {
        self.rig.device_of(SlotNo(slot)).unwrap()
    }

    fn go(&self, from: &str, to: &str) {
        self.rig.world.relocate(&port(from), &port(to)).unwrap();
    }
}

fn port(text: &str) -> PortPath {
    text.parse().unwrap()
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

const TWO: &str = include_str!("../fixtures/scenarios/two-good.toml");
const A: &str = "pci-0000:00:14.0/1.1";
const B: &str = "pci-0000:00:14.0/1.2";

#[test]
fn the_rack_is_shown_with_what_is_in_it_and_what_is_plugged_in_elsewhere() {
    let bench = Bench::new(TWO);
    let config = bench.config(&[A, "pci-0000:00:14.0/4"]);
    let (code, lines) = bench.lines(&[]);
    assert_eq!(code, 0);
    let slots = of(&lines, "slot");
    assert_eq!(slots.len(), 2);
    assert_eq!(slots[0]["device"]["id"], bench.device(1).to_string());
    assert_eq!(
        (&slots[0]["slot"], &slots[0]["port"], &slots[0]["device"]["mode"]),
        (&1.into(), &A.into(), &"normal".into())
    );
    assert!(slots[1]["device"].is_null(), "{}", slots[1]);
    let elsewhere = of(&lines, "elsewhere");
    assert_eq!(elsewhere.len(), 1);
    assert_eq!(
        (&elsewhere[0]["port"], &elsewhere[0]["device"]["id"]),
        (&B.into(), &bench.device(2).to_string().into())
    );

    let bus = bench.socket();
    let end = keyrack(
        bench.home.path(),
        &["--config", text(&config), "slots", "--world", text(&bus)],
    );
    let table = String::from_utf8(end.stdout).unwrap();
    assert!(table.contains(&format!("1     {A}  {}", bench.device(1))), "{table}");
    assert!(table.contains("2     pci-0000:00:14.0/4    empty"), "{table}");
    assert!(table.contains("no slot of this rack: left alone"), "{table}");
}

#[test]
fn two_devices_with_one_id_are_told_apart_by_their_ports_and_the_table_says_so() {
    let bench = Bench::new(include_str!("../fixtures/scenarios/duplicate-id.toml"));
    let config = bench.config(&[A, B]);
    let (_, lines) = bench.lines(&[]);
    let ids: Vec<&Value> = of(&lines, "slot").iter().map(|slot| &slot["device"]["id"]).collect();
    assert_eq!(ids[0], ids[1]);
    let bus = bench.socket();
    let end = keyrack(
        bench.home.path(),
        &["--config", text(&config), "slots", "--world", text(&bus)],
    );
    let table = String::from_utf8(end.stdout).unwrap();
    for other in [A, B] {
        assert!(table.contains(&format!("the same id is at {other}")), "{table}");
    }
}

#[test]
fn whoever_follows_sees_what_comes_and_goes() {
    let bench = Bench::new(TWO);
    bench.config(&[A, "pci-0000:00:14.0/4"]);
    let mut program = bench.start(&["--follow"]);
    program.wait_for(|line| line["event"] == "elsewhere").unwrap();
    bench.go(B, "pci-0000:00:14.0/4");
    let left = program.wait_for(|line| line["event"] == "left").unwrap();
    assert_eq!((&left["port"], &left["slot"]), (&B.into(), &Value::Null));
    let came = program.wait_for(|line| line["event"] == "came").unwrap();
    assert_eq!(
        (&came["slot"], &came["device"]["id"]),
        (&2.into(), &bench.device(2).to_string().into())
    );
    program.signal("INT");
    assert_eq!(program.end().code(), Some(0));
}

#[test]
fn a_person_teaches_the_slots_with_one_device_and_every_comment_stays() {
    let bench = Bench::new(TWO);
    let config = bench.config(&["sim-0/1", "sim-0/2"]);
    let before = fs::read_to_string(&config).unwrap();
    let mut program = bench.start(&["learn", "1-3"]);
    for (slot, from, to) in [
        (1, A, "pci-0000:00:14.0/2.1"),
        (2, "pci-0000:00:14.0/2.1", "pci-0000:00:14.0/2.2"),
        (3, "pci-0000:00:14.0/2.2", A),
    ] {
        program
            .wait_for(|line| line["event"] == "asked" && line["slot"] == slot)
            .unwrap();
        assert_eq!(
            fs::read_to_string(&config).unwrap(),
            before,
            "nothing is written before the end"
        );
        bench.go(from, to);
        let learnt = program.wait_for(|line| line["event"] == "learnt").unwrap();
        assert_eq!((&learnt["slot"], &learnt["port"]), (&slot.into(), &to.into()));
    }
    let written = program.wait_for(|line| line["event"] == "written").unwrap();
    assert_eq!(program.end().code(), Some(0), "{}", program.complaints());
    assert_eq!(written["changed"].as_array().unwrap().len(), 3);
    assert_eq!(written["changed"][0]["before"], "sim-0/1");
    let after = fs::read_to_string(&config).unwrap();
    let expected = before
        .replace("sim-0/1", "pci-0000:00:14.0/2.1")
        .replace("sim-0/2", "pci-0000:00:14.0/2.2")
        .replace("# cable 2\n", &format!("# cable 2\n\n[[slot]]\nnumber = 3\nport = \"{A}\"\n"));
    assert_eq!(after, expected);
    let (_, lines) = bench.lines(&[]);
    assert_eq!(
        of(&lines, "slot")[2]["device"]["id"],
        bench.device(1).to_string(),
        "it can be used at once"
    );
}

#[test]
fn a_port_that_is_another_slot_teaches_nothing_and_ctrl_c_leaves_the_file_as_it_was() {
    let bench = Bench::new(TWO);
    let config = bench.config(&["sim-0/1", "pci-0000:00:14.0/3"]);
    let before = fs::read_to_string(&config).unwrap();
    let mut program = bench.start(&["learn", "1", "7"]);
    program.wait_for(|line| line["slot"] == 1).unwrap();
    bench.go(A, "pci-0000:00:14.0/3");
    let taken = program.wait_for(|line| line["event"] == "taken").unwrap();
    assert_eq!((&taken["slot"], &taken["port"]), (&2.into(), &"pci-0000:00:14.0/3".into()));
    bench.go("pci-0000:00:14.0/3", "pci-0000:00:14.0/4");
    let learnt = program.wait_for(|line| line["event"] == "learnt").unwrap();
    assert_eq!(learnt["port"], "pci-0000:00:14.0/4", "slot 2 keeps its port");
    program
        .wait_for(|line| line["event"] == "asked" && line["slot"] == 7)
        .unwrap();
    program.signal("INT");
    assert_eq!(program.end().code(), Some(6));
    assert!(
        program.complaints().contains("station.toml is as it was"),
        "{}",
        program.complaints()
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
}

#[test]
fn a_device_shows_itself_and_one_that_cannot_says_why() {
    let bench = Bench::new(TWO);
    bench.config(&[A, B, "pci-0000:00:14.0/4"]);
    let seen: Arc<std::sync::Mutex<Vec<u16>>> = Arc::default();
    let heard = Arc::clone(&seen);
    bench.rig.world.observe(Arc::new(move |point| {
        // INIT of a request: its type is in wIndex.
        if point.setup.request == 1 && point.moment == keyrack::sim::world::Moment::Before {
            heard.lock().unwrap().push(point.setup.index);
        }
        keyrack::sim::world::Cut::None
    }));
    let (code, lines) = bench.lines(&["blink", "2", "--seconds", "1"]);
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(of(&lines, "blinking")[0]["device"]["id"], bench.device(2).to_string());
    assert_eq!(*seen.lock().unwrap(), [230, 231], "it begins and it ends");

    let (code, lines) = bench.lines(&["blink", "3"]);
    assert_eq!((code, &lines[0]["error"]), (2, &"there is no device in slot 3".into()));
    let (code, lines) = bench.lines(&["blink", "9"]);
    assert_eq!((code, &lines[0]["error"]), (2, &"the rack has no slot 9".into()));
}

#[test]
fn in_dfu_mode_and_under_protection_a_device_does_not_show_itself() {
    let scenario = TWO.replacen("[[slot]]", "[[slot]]\nprotected = true", 1);
    let bench = Bench::new(&scenario);
    bench.config(&[A, B]);
    let (code, lines) = bench.lines(&["blink", "1"]);
    assert_eq!(code, 3, "{lines:?}");
    assert!(
        lines[0]["next"].as_str().unwrap().contains("protected device refuses"),
        "{lines:?}"
    );

    let now = bench.rig.world.clock().now();
    bench
        .rig
        .world
        .with_device(bench.device(2), |device| device.press(now, Press::Dfu));
    let mut program = bench.start(&["--follow"]);
    let in_dfu = |line: &Value| line["device"]["mode"] == "dfu";
    program.wait_for(|line| line["slot"] == 2 && in_dfu(line)).unwrap();
    let (code, lines) = bench.lines(&["blink", "2"]);
    assert_eq!(code, 3, "{lines:?}");
    let (why, next) = (lines[0]["causes"].to_string(), lines[0]["next"].to_string());
    assert!(why.contains("DFU mode") && next.contains("blinks yellow"), "{lines:?}");
}

#[test]
fn while_a_station_is_at_work_no_device_is_asked() {
    let bench = Bench::new(TWO);
    bench.config(&[A, B]);
    let ledger = bench.home.path().join("state/ledger");
    let store = keyrack::store::Store::open(&ledger, keyrack::model::StationId("bench".into()), Default::default()).unwrap();
    let (code, lines) = bench.lines(&["blink", "1"]);
    assert_eq!(code, 2, "{lines:?}");
    assert!(
        lines[0]["error"].as_str().unwrap().contains("a station is at work"),
        "{lines:?}"
    );
    drop(store);
    assert_eq!(bench.lines(&["blink", "1", "--seconds", "1"]).0, 0);
}
