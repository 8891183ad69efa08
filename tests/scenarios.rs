//! Every file of `fixtures/scenarios` in one process, on a virtual clock, without sockets: the file name is the name of
//! the case, and the file says how it must end.

#[expect(dead_code, reason = "other tests cut and watch")]
mod bench;

use std::{fs, path::Path};

use bench::{Bench, Ended};
use keyrack::{cli::rig::Options, sim::world::scenario::Scenario};

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
        let problems = Bench::run(scenario, &Options::default(), |bench, end| {
            let mut problems = bench.judge();
            if end != Ended::Idle {
                let why = bench.stopped.lock().unwrap().clone().unwrap_or_default();
                problems.push(format!("ended {end:?} {why}"));
            }
            let records = bench.records.lock().unwrap().clone();
            let told = records.iter().map(|record| serde_json::to_string(&record.fact).unwrap());
            problems.extend(
                told.filter(|fact| fact.contains('@'))
                    .map(|fact| format!("an address in a fact: {fact}")),
            );
            if !problems.is_empty() {
                let ended = |device: &_| format!("{device}: {:?}", bench.verdict(*device));
                problems.extend(bench.rig.start.keys().map(ended));
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
