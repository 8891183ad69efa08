//! The whole way from a simulated rack to the last line that is printed, in virtual time.

use std::{sync::Mutex, time::Duration};

use super::*;
use crate::{
    cli::{
        environment::Environment,
        print::tests::printer,
        rig::{Options, Rig},
    },
    cloud::Api,
    edge::{Entropy, Http, entropy::SystemEntropy},
    model::{StationId, scan::Patterns},
    sim::{
        clock::VirtualClock,
        cloud::DirectHttp,
        world::{World as Simulated, scenario::Scenario},
    },
    station::{Clients, Pairs, Pins, Tuning, World, undo::MemoryUndo},
    store::{self, Durability, Store},
};

/// One good device, and one that is protected.
const TWO: &str = "
about = \"two\"
seed = 3
[[slot]]
number = 1
platform = \"argon\"
[[slot]]
number = 2
platform = \"argon\"
protected = true
[[expect]]
slot = 1
verdict = \"PASS\"
key = \"same\"
uploads = 1
[[expect]]
slot = 2
verdict = \"FAIL\"
key = \"same\"
uploads = 0
";

/// Works the rack of a scenario until it has `devices` verdicts: the exit code, and what was printed.
fn work_rack(scenario: &str, devices: u32, json: bool) -> (ExitCode, String, String) {
    let scenario = Scenario::parse(scenario).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (printer, out, err) = printer(json, 0);
    let context = Context {
        globals: super::super::args::Globals::default(),
        environment: Environment::default(),
        printer: Arc::new(printer),
    };
    let code = VirtualClock::run(|clock| {
        let group = clock.group();
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let rig = Rig::build(
            scenario,
            Simulated::on_virtual_clock(clock),
            Arc::clone(&entropy),
            &Options::default(),
        )
        .unwrap();
        let shelf = rig.shelf().unwrap();
        let http: Arc<dyn Http> = Arc::new(DirectHttp::new(rig.cloud.clone()));
        let token = rig.log_in(&*http).unwrap();
        let api = Api::new(http, token.secret);
        api.set_account(rig.scenario.cloud.owner.clone());
        let parts = Parts {
            world: World {
                clock: Arc::clone(&group) as Arc<dyn Clock>,
                entropy,
                bus: Arc::new(rig.world.bus()),
                api: Arc::new(api),
                undo: Arc::new(MemoryUndo::default()),
                restore: Arc::new(MemoryUndo::default()),
                clients: Clients::default(),
                pairs: Pairs::default(),
                pins: Pins::default(),
            },
            store: Store::open(
                &folder.path().join("ledger"),
                StationId("bench".into()),
                store::Options {
                    durability: Durability::UnsafeForTests,
                },
            )
            .unwrap(),
            setting: rig.setting(&shelf.book),
            shelf,
            places: Vec::new(),
            patterns: Patterns::default(),
            tuning: Tuning { uplinks: 1 },
        };
        rig.begin();
        let end = Arc::new(Mutex::new(None));
        let told = Arc::clone(&end);
        drop(group.spawn(
            "station",
            Box::new(move || {
                let worked = work(parts, Until::Verdicts(devices), Face::Lines, &context);
                let code = worked.map(|worked| worked.numbers.exit());
                *told.lock().unwrap() = Some(code);
            }),
        ));
        while end.lock().unwrap().is_none() && group.alive() {
            clock.sleep(Duration::from_millis(500));
        }
        group.kill();
        group.join();
        end.lock().unwrap().take()
    });
    (code.expect("the station ended").unwrap(), out.text(), err.text())
}

#[test]
fn a_rack_is_worked_followed_and_summed_up() {
    let (code, out, err) = work_rack(TWO, 2, false);
    assert_eq!((code, err.as_str()), (ExitCode::Failed, ""), "{out}");
    assert!(out.contains("step 1 of "), "{out}");
    assert!(out.contains(" PROVED  "), "{out}");
    assert!(out.contains("FAIL protected: ") && out.contains("next: "), "{out}");
    let last = out.lines().last().unwrap();
    assert!(
        last.starts_with("2 devices, 1 PASS, 1 FAIL; registered 1, proved 1, handshakes 1, uploads 1,"),
        "{last}"
    );
}

#[test]
fn with_json_every_line_is_an_event_and_the_last_one_is_the_summary() {
    let (code, out, _) = work_rack(TWO, 2, true);
    assert_eq!(code, ExitCode::Failed);
    let events: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = events.last().unwrap();
    assert_eq!(summary["event"], "summary");
    for (name, number) in [
        ("devices", 2),
        ("pass", 1),
        ("fail", 1),
        ("registered", 1),
        ("proved", 1),
        ("apart", 0),
        ("owed", 0),
    ] {
        assert_eq!(summary[name], number, "{name} in {summary}");
    }
    let facts: Vec<u64> = events
        .iter()
        .filter(|e| e["event"] == "fact")
        .map(|e| e["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(facts, (1..=facts.len() as u64).collect::<Vec<_>>(), "every record, in order");
    let results: Vec<&serde_json::Value> = events.iter().filter(|e| e["event"] == "result").collect();
    assert_eq!(results.len(), 2);
    assert_eq!((&results[1]["code"], &results[1]["slot"]), (&"protected".into(), &2.into()));
}
