//! Every file of `fixtures/scenarios` in one process, on a virtual clock, without sockets: the file name is the name of
//! the case, and the file says how it must end.

mod bench;

use std::{fs, path::Path};

use bench::{Bench, Ended, LONGEST};
use keyrack::{
    cli::rig::Options,
    model::SlotNo,
    sim::world::scenario::{Ending, Scenario},
    store::Reader,
};

#[test]
fn every_scenario_ends_as_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let only = std::env::args().nth(1).filter(|a| a.ends_with(".toml"));
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".toml") || only.as_ref().is_some_and(|o| *o != name) {
            continue;
        }
        count += 1;
        let scenario = Scenario::read(&path).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let problems = Bench::with(scenario, &Options::default(), |bench| {
            let end = bench.work(LONGEST);
            let mut problems = judge(bench);
            if end != Ended::Idle {
                problems.push(format!("ended {end:?}"));
            }
            if !problems.is_empty() {
                problems.push(bench.story());
            }
            problems
        });
        wrong.extend(problems.into_iter().map(|p| format!("{name}: {p}")));
    }
    assert!(count > 0, "no scenarios");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{count} scenarios");
}

/// What differs from what the scenario says.
fn judge(bench: &Bench) -> Vec<String> {
    let mut wrong = bench.rig.judge(&Reader::open(&bench.ledger).unwrap()).unwrap();
    let view = bench.view.lock().unwrap().clone().unwrap_or_default();
    for (slot, expect) in &bench.rig.scenario.expect {
        let device = bench.rig.device_of(SlotNo(*slot));
        let code = match expect.verdict {
            Ending::Rejected => view
                .slots
                .iter()
                .find(|s| s.slot == SlotNo(*slot) && s.word == "rejected")
                .and_then(|s| s.code),
            Ending::Interrupted => view
                .interrupted
                .iter()
                .find(|(_, d, _)| Some(*d) == device)
                .map(|(_, _, code)| *code),
            _ => continue,
        };
        if code.map(|code| code.text()) != expect.code.as_deref() {
            wrong.push(format!(
                "slot {slot}: {} for {code:?}, expected {:?}",
                expect.verdict.word(),
                expect.code
            ));
        }
    }
    wrong
}
