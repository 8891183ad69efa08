//! Every file of `fixtures/scenarios` in one process, on a virtual clock, without sockets: the file name is the name of
//! the case, and the file says how it must end.

mod bench;

use std::{fs, path::Path};

use bench::{Bench, Ended, LONGEST};
use keyrack::{
    cli::rig::{Options, Rig},
    model::{DeviceId, Fact, Platform, SlotNo},
    sim::world::scenario::{EndKey, Scenario},
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
    let mut wrong = Vec::new();
    for (slot, expect) in &bench.rig.scenario.expect {
        let device = bench.rig.device_of(SlotNo(*slot)).expect("a device for each slot");
        let start = &bench.rig.start[&device];
        let mut say = |what: String| wrong.push(format!("slot {slot} ({device}): {what}"));
        match bench.verdict(device) {
            None => say(format!("no verdict, expected {}", expect.verdict.word())),
            Some((verdict, code)) => {
                if verdict.word() != expect.verdict.word() {
                    say(format!("{verdict} ({code:?}), expected {}", expect.verdict.word()));
                } else if expect.code.is_some() && code != expect.code {
                    say(format!("code {code:?}, expected {:?}", expect.code));
                }
            }
        }
        let (spki, dct) = bench
            .rig
            .world
            .with_device(device, |d| (d.key_spki(), d.dct().to_vec()))
            .expect("the device exists");
        let registered = bench.rig.cloud.registered(device);
        match expect.key {
            EndKey::Same if spki != start.spki => say("another key than at the start".into()),
            EndKey::New if spki == start.spki || spki.is_none() => say("no new key".into()),
            EndKey::Same | EndKey::New if registered != spki => say("the cloud holds another key than the device".into()),
            EndKey::PresentValid if spki.is_none() => say("no valid key".into()),
            EndKey::UnchangedBytes if slot_of(device, &bench.rig, &dct) != slot_of(device, &bench.rig, &start.dct) => {
                say("the key slot changed".into())
            }
            _ => {}
        }
        let uploads = bench.rig.cloud.uploads(device).iter().filter(|u| u.accepted).count();
        if uploads != expect.uploads as usize {
            say(format!("{uploads} uploads, expected {}", expect.uploads));
        }
        let failed = bench.facts(device).iter().any(|f| matches!(f, Fact::StepFailed { .. }));
        if expect.retried && !failed {
            say("no step failed and was tried again".into());
        }
    }
    for mishap in bench.rig.world.mishaps() {
        if !mishap.fired {
            wrong.push(format!("a mishap never happened: {mishap:?}"));
        }
    }
    wrong
}

/// The private key slot of a device.
fn slot_of(device: DeviceId, rig: &Rig, dct: &[u8]) -> Vec<u8> {
    let slot = rig
        .scenario
        .slots
        .values()
        .find(|slot| slot.id == device)
        .expect("a slot for each device");
    let platform = Platform::from_id(slot.platform.number()).expect("a known platform");
    let private = platform.key_segments(platform.row().transport).private;
    dct[private.offset as usize..(private.offset + private.len) as usize].to_vec()
}
