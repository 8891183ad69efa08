//! A station that is killed again and again, in the middle of everything, while the world goes on: the real binary in
//! processes of its own, in real time. What is required in the end is what an undisturbed run leaves.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "every test uses what it needs of the processes")]
mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use keyrack::{
    keys,
    model::{DeviceId, Fact, Platform, Verdict, key::SlotContent, outbox::Answer, platform::UsbMode},
    sim::world::scenario::Scenario,
    store::Reader,
};
use process::{Served, keyrack, private_slot, text};
use serde_json::Value;

/// Where the station is killed: at the first line of these that it says after its start, in this order.
const MOMENTS: &[Moment] = &[
    Moment::Fact("run-started"),
    Moment::Step("flash"),
    Moment::Progress("flash"),
    Moment::Fact("key-read"),
    Moment::Step("register-present"),
    Moment::Step("rekey"),
    Moment::Fact("undo-sealed"),
    Moment::Fact("key-intended"),
    Moment::Fact("key-written"),
    Moment::Fact("item-sent"),
    Moment::Step("server-key"),
    Moment::Step("boot"),
    Moment::Step("prove"),
];

#[derive(Clone, Copy, Debug)]
enum Moment {
    Fact(&'static str),
    Step(&'static str),
    Progress(&'static str),
}

#[test]
fn a_killed_station_ends_as_an_undisturbed_one() {
    let (mut left, mut met) = (MOMENTS, 0);
    // On a busy machine the devices can be past a moment before the signal comes: the next ones go through it, too.
    for _ in 0..MOST_RACKS {
        let (killed, met_here) = kill_at(left);
        (left, met) = (&left[killed..], met + met_here);
        if left.is_empty() {
            break;
        }
    }
    assert!(left.is_empty(), "{left:?} were never reached");
    assert!(
        met > 0,
        "a device was met again between the write of its key and its registration"
    );
}

/// Kills the station on a fresh rack at these moments, one after the other, until its devices are done, and looks at what
/// is left. Tells at how many moments, and how often a device was met again with a key that the cloud did not know.
fn kill_at(moments: &[Moment]) -> (usize, usize) {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let scenario = Scenario::parse(RACK).unwrap();
    let mut world = Served::start(home, RACK);
    let ledger = home.join("world/state/ledger");
    let (mut plans, mut killed, mut left) = (Plans::default(), 0, scenario.slots.len());
    while left > 0 {
        let mut station = world.station(home, &["--devices", &left.to_string()]);
        let moment = moments.get(killed);
        let reached =
            moment.and_then(|moment| station.wait_for(|line| plans.learn(line).is_some_and(|kind| moment.fits(line, &kind))));
        if reached.is_none() {
            let status = station.end();
            assert_eq!(status.code(), Some(0), "{}", station.complaints());
            break;
        }
        station.signal("KILL");
        assert_eq!(station.end().code(), None, "ended by the signal");
        killed += 1;
        assert!(world.program.alive(), "the world lives on");
        left = scenario.slots.len() - ended(&ledger).len();
    }
    let met = met_again(&ledger);
    required(home, &mut world, &scenario);
    (killed, met)
}

#[test]
fn a_second_station_on_the_same_ledger_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let world = Served::start(home, RACK);
    let mut first = world.station(home, &[]);
    assert!(first.wait_for(|line| line["fact"]["fact"] == "run-started").is_some());
    let mut second = world.station(home, &[]);
    assert_eq!(second.end().code(), Some(5), "{}", second.complaints());
    let words = second.complaints();
    assert!(words.contains("stop the other station"), "{words}");
    assert!(first.alive());
    let more = first.wait_for(|line| line["fact"]["fact"] == "step-ended");
    assert!(more.is_some(), "the first one goes on: {}", first.complaints());
}

#[test]
fn a_signal_stops_at_a_safe_point_and_the_next_start_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let scenario = Scenario::parse(RACK).unwrap();
    let mut world = Served::start(home, RACK);
    for name in ["TERM", "INT", "HUP"] {
        let mut station = world.station(home, &[]);
        let begun = station.wait_for(|line| line["fact"]["fact"] == "step-started");
        assert!(begun.is_some(), "{}", station.complaints());
        station.signal(name);
        assert_eq!(station.end().code(), Some(6), "SIG{name}: {}", station.complaints());
        assert!(station.complaints().contains("stopping at the next safe points"));
    }
    let mut station = world.station(home, &["--devices", &scenario.slots.len().to_string()]);
    assert_eq!(station.end().code(), Some(0), "{}", station.complaints());
    required(home, &mut world, &scenario);
}

/// What an undisturbed run leaves: every device PASSed with a new key, which device, ledger and cloud agree on; imports
/// once for each device; nothing owed; no undo copy; and a ledger that is what its journal says.
fn required(home: &Path, world: &mut Served, scenario: &Scenario) {
    let state = home.join("world/state");
    let verified = keyrack(home, &["replay", "--verify", "--state", text(&state)]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    world.program.signal("TERM");
    assert_eq!(world.program.end().code(), Some(0), "{}", world.program.complaints());
    let cloud = std::fs::read_to_string(home.join("world/world/cloud.json")).unwrap();
    let cloud: Value = serde_json::from_str(&cloud).unwrap();
    let reader = Reader::open(&state.join("ledger")).unwrap();
    assert!(reader.owed(u32::MAX).unwrap().is_empty(), "nothing is owed");
    for slot in scenario.slots.values() {
        let device = slot.id;
        let row = reader.device(device).unwrap().expect("a row for each device");
        assert_eq!(row.last_verdict, Some(Verdict::Pass), "{device}: {:?}", row.last_code);
        let platform = Platform::from_id(slot.platform.number()).unwrap();
        let dct = std::fs::read(home.join(format!("world/world/{device}.dct"))).unwrap();
        let held = private_slot(platform, &dct);
        let SlotContent::Valid { key, .. } = keys::classify(held, platform.key_kind()).0 else {
            panic!("{device} holds no valid key");
        };
        assert_eq!(row.key_accepted, Some(key.fingerprint), "{device}: ledger and device agree");
        let known = cloud["devices"][device.to_string()].to_string();
        assert!(
            known.contains(&base64(&key.spki)) || known.contains(&hex(&key.spki)),
            "{device}: cloud and device agree: {known}"
        );
        let facts: Vec<Fact> = reader
            .device_records(device, None, u32::MAX)
            .unwrap()
            .into_iter()
            .map(|record| record.fact)
            .collect();
        let runs = facts.iter().filter(|fact| matches!(fact, Fact::RunStarted { .. })).count();
        assert_eq!(runs, 1, "{device}: one run, resumed and never begun anew");
        let sent = |errand: &str| {
            let of = |fact: &&Fact| matches!(fact, Fact::ItemSent { item, .. } if item.0.contains(errand));
            facts.iter().filter(of).count()
        };
        let lost = facts
            .iter()
            .filter(|fact| {
                matches!(
                    fact,
                    Fact::ItemAnswered {
                        answer: Answer::Ambiguous { .. },
                        ..
                    }
                )
            })
            .count();
        assert!(
            sent("/import") <= 1 + lost,
            "{device}: imported again only where an answer was lost"
        );
    }
    // What a device must get back is kept in a folder beside them.
    for folder in ["undo", "undo/restore"] {
        let entries = std::fs::read_dir(state.join(folder)).into_iter().flatten();
        let kept = entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file());
        assert_eq!(kept.count(), 0, "nothing is kept in {folder}");
    }
}

/// The devices that have their verdict.
fn ended(ledger: &Path) -> BTreeSet<DeviceId> {
    let reader = Reader::open(ledger).unwrap();
    let records = reader.records(0, u32::MAX).unwrap();
    let of = |fact: &Fact| {
        if let Fact::RunEnded { device, .. } = fact {
            Some(*device)
        } else {
            None
        }
    };
    records.iter().filter_map(|record| of(&record.fact)).collect()
}

/// How often a device was met whose key is, or may be, a new one that the cloud has not accepted: it stays in DFU mode
/// whoever dies. By the journal: what a station said last before it was killed is not all that was on disk.
fn met_again(ledger: &Path) -> usize {
    let (mut devices, mut held, mut met) = (BTreeMap::new(), BTreeSet::new(), 0);
    for record in Reader::open(ledger).unwrap().records(0, u32::MAX).unwrap() {
        match &record.fact {
            Fact::RunStarted { run, device, .. } => {
                devices.insert(*run, *device);
            }
            Fact::KeyIntended { device, .. } => {
                held.insert(*device);
            }
            Fact::ItemAnswered {
                item,
                answer: Answer::Accepted { .. },
                ..
            } => {
                held.remove(&devices[&item.run().unwrap()]);
            }
            Fact::DeviceSeen { identity, .. } if held.contains(&identity.device) => {
                assert_eq!(identity.mode, UsbMode::Dfu, "{record:?}");
                met += 1;
            }
            _ => {}
        }
    }
    met
}

/// The plans of runs: a started step is named by its place in the plan.
#[derive(Default)]
struct Plans(BTreeMap<String, Vec<String>>);

impl Plans {
    /// Takes in a line, and tells the kind of the step or fact that it is about, if any.
    fn learn(&mut self, line: &Value) -> Option<String> {
        let fact = &line["fact"];
        let run = line["run"].as_str().unwrap_or_default();
        if fact["fact"] == "run-started" {
            let plan = fact["plan"].as_array().unwrap().iter();
            let kinds = plan.map(|step| step["kind"].as_str().unwrap().to_owned()).collect();
            self.0.insert(run.to_owned(), kinds);
        }
        match (line["event"].as_str()?, fact["fact"].as_str()) {
            ("fact", Some("step-started")) => {
                let index = usize::try_from(fact["step"].as_u64()?).unwrap();
                self.0.get(run)?.get(index).cloned()
            }
            ("fact", Some(kind)) => Some(kind.to_owned()),
            ("progress", _) => Some(line["kind"].as_str()?.to_owned()),
            _ => None,
        }
    }
}

impl Moment {
    fn fits(self, line: &Value, kind: &str) -> bool {
        let fact = line["fact"]["fact"].as_str();
        match self {
            Moment::Fact(name) => {
                fact == Some(name) && (name != "item-sent" || line["fact"]["item"].to_string().contains("/key/"))
            }
            Moment::Step(name) => fact == Some("step-started") && kind == name,
            Moment::Progress(name) => line["event"] == "progress" && kind == name,
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Two devices of fast platforms, whose keys are replaced: every kind of moment comes for both.
const RACK: &str = include_str!("../fixtures/scenarios/two-new-keys.toml");

/// So many racks have devices enough for every moment, also where most of them are missed.
const MOST_RACKS: usize = 6;
