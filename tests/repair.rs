//! Repairs on the simulated rack: each flow by the state of key and owner, and the flow of a customer's device cut after
//! every record. In the end device and cloud hold the same key, whoever owned the device owns it, and no key is lost.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "other tests judge by the scenario")]
mod bench;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bench::{Bench, Ended};
use keyrack::{
    cli::rig::Options,
    edge::Http,
    keys::classify,
    model::{
        DeviceId, Fact, Platform, Verdict,
        diagnosis::{Flow, Trouble},
        recipe::{Aim, Repair, Work},
    },
    sim::{cloud::DirectHttp, world::scenario::Scenario},
    store::Reader,
};

fn options(work: Work) -> Options {
    Options {
        aim: Aim::Repair(Repair {
            work,
            from: Vec::new(),
            reference: None,
        }),
        firmware: false,
        prove: false,
        ..Options::default()
    }
}

/// One device with this key, in these hands, and the server key of another cloud unless it is said.
fn scenario(platform: Platform, key: &str, owner: &str, server: &str) -> Scenario {
    let hands = match owner {
        "nobody" => "imported = true\n".to_owned(),
        "account" => "imported = true\nowner = \"operator@bench.test\"\n".to_owned(),
        "development" => "owner = \"operator@bench.test\"\n".to_owned(),
        _ => format!("imported = true\nowner = \"{CUSTOMER}\"\n"),
    };
    let text = format!(
        "about = \"a repair\"\nseed = 9\n[[slot]]\nnumber = 1\nplatform = \"{platform}\"\nkey = \"{key}\"\nserver = \"{server}\"\n{hands}\
         [cloud]\nowner = \"operator@bench.test\"\ncustomers = [\"{CUSTOMER}\"]\n[[expect]]\nslot = 1\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = 1\n"
    );
    Scenario::parse(&text).unwrap()
}

const CUSTOMER: &str = "ann@home.test";

/// The public key that the slot of a device holds.
fn held(bench: &Bench, device: DeviceId, platform: Platform) -> Option<Vec<u8>> {
    let dct = bench.rig.world.with_device(device, |d| d.dct().to_vec()).unwrap();
    let slot = platform.key_segments(platform.row().transport).private;
    let bytes = &dct[slot.offset as usize..(slot.offset + slot.len) as usize];
    classify(bytes, platform.key_kind()).0.key().map(|key| key.spki.clone())
}

fn one(bench: &Bench) -> DeviceId {
    *bench.rig.start.keys().next().unwrap()
}

/// What must hold at the end of every repair.
fn whole(bench: &Bench, platform: Platform, owner: Option<&str>) -> Vec<String> {
    let device = one(bench);
    let mut wrong = Vec::new();
    let (held, registered) = (held(bench, device, platform), bench.rig.cloud.registered(device));
    if held.is_none() || held != registered {
        wrong.push("device and cloud hold different keys".to_owned());
    }
    let place = bench.rig.cloud.place(device).unwrap();
    if place.1.as_deref() != owner {
        wrong.push(format!("its owner is {:?}, it was {owner:?}", place.1));
    }
    let ledger = Reader::open(&bench.ledger).unwrap();
    let records = ledger.records(0, u32::MAX).unwrap();
    let told = records.iter().map(|record| serde_json::to_string(&record.fact).unwrap());
    wrong.extend(
        told.filter(|fact| fact.contains('@'))
            .map(|fact| format!("an address in a fact: {fact}")),
    );
    let differences = ledger.verify(&mut |_| {}).unwrap();
    wrong.extend(differences.iter().map(ToString::to_string));
    let sealed = std::fs::read_dir(bench.undo.join("restore")).unwrap().count();
    if sealed > 0 {
        wrong.push(format!("{sealed} files of restore data are left"));
    }
    wrong
}

#[test]
fn each_flow_mends_each_key_of_each_family() {
    for platform in [Platform::Photon, Platform::Argon, Platform::P2] {
        for key in ["good", "blank", "corrupt"] {
            for (owner, name, flow) in [
                ("nobody", None, Flow::ProductUnclaimed),
                ("account", Some("operator@bench.test"), Flow::ProductAccount),
                ("development", Some("operator@bench.test"), Flow::Development),
                ("customer", Some(CUSTOMER), Flow::Customer),
            ] {
                let case = format!("{platform} {key} {owner}");
                Bench::run(
                    scenario(platform, key, owner, "stand-in"),
                    &options(Work::Mend),
                    |bench, end| {
                        let device = one(bench);
                        let story = || format!("{case}:\n{}", bench.story());
                        assert_eq!(end, Ended::Idle, "{}", story());
                        assert_eq!(bench.verdict(device), Some((Verdict::Pass, None)), "{}", story());
                        let said = bench.facts(device).into_iter().find_map(|f| match f {
                            Fact::Diagnosed { diagnosis, .. } => Some(diagnosis),
                            _ => None,
                        });
                        let said = said.unwrap();
                        assert_eq!(said.flow, Some(flow), "{}", story());
                        if key == "good" {
                            assert_eq!(said.trouble, Trouble::KeyUnknown, "{}", story());
                            assert_eq!(
                                held(bench, device, platform).as_ref(),
                                bench.rig.start[&device].spki.as_ref(),
                                "a good key stays: {case}"
                            );
                        }
                        assert_eq!(whole(bench, platform, name), [""; 0], "{}", story());
                    },
                );
            }
        }
    }
}

#[test]
fn a_dry_run_touches_nothing() {
    for owner in ["nobody", "customer"] {
        Bench::run(
            scenario(Platform::Argon, "corrupt", owner, "stand-in"),
            &options(Work::Diagnose),
            |bench, _| {
                let device = one(bench);
                assert_eq!(
                    bench.verdict(device),
                    Some((Verdict::Fail, Some("key-corrupt".to_owned()))),
                    "{}",
                    bench.story()
                );
                let writes = bench.rig.world.with_device(device, |d| d.counters().dct_writes).unwrap();
                assert_eq!((writes, bench.rig.cloud.uploads(device).len()), (0, 0));
                let owner = (owner == "customer").then(|| CUSTOMER.to_owned());
                assert_eq!(bench.rig.cloud.place(device).unwrap().1, owner);
            },
        );
    }
}

/// The number of records of the flow without a cut; then a cut after each of them, and the next station carries on.
#[test]
fn a_customers_device_is_given_back_whatever_record_the_station_is_cut_after() {
    let platform = Platform::Argon;
    for key in ["good", "blank"] {
        let mut calm = 0;
        for cut in 0.. {
            if cut > 0 && cut > calm {
                break;
            }
            Bench::with(
                scenario(platform, key, "customer", "stand-in"),
                &options(Work::Mend),
                |bench| {
                    let group = bench.clock.group();
                    let (count, killer) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&group));
                    let counter = Arc::clone(&count);
                    bench.watch(Arc::new(move |_| {
                        if counter.fetch_add(1, Ordering::Relaxed) + 1 == cut {
                            killer.kill();
                        }
                    }));
                    let line = || -> Arc<dyn Http> { Arc::new(DirectHttp::new(bench.rig.cloud.clone())) };
                    let mut end = bench.work_in(&group, line(), LONGEST);
                    if cut == 0 {
                        calm = count.load(Ordering::Relaxed);
                    } else {
                        assert_eq!(end, Ended::Cut, "{key} {cut}");
                        end = bench.work_in(&bench.clock.group(), line(), LONGEST);
                    }
                    let story = || format!("{key}, cut after record {cut} of {calm}:\n{}", bench.story());
                    assert_eq!(end, Ended::Idle, "{}", story());
                    let ledger = Reader::open(&bench.ledger).unwrap();
                    // A cut after the verdict lets the next station begin another run.
                    let verdict = ledger.history(one(bench)).unwrap().unwrap().runs.last().unwrap().verdict;
                    assert_eq!(verdict, Some(Verdict::Pass), "{}", story());
                    assert_eq!(whole(bench, platform, Some(CUSTOMER)), [""; 0], "{}", story());
                },
            );
        }
        assert!(calm > 25, "{calm} records");
    }
}

const LONGEST: Duration = Duration::from_secs(3600);
