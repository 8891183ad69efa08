//! Protected devices on the simulated rack: let into Service Mode for the work and protected again, whatever is cut on the
//! way. In the end a device is protected, or the ledger says that it may not be; the key that it holds is known to the
//! ledger, and after PASS to the cloud.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "other tests judge by the scenario")]
mod bench;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bench::{Bench, Ended};
use keyrack::{
    cli::rig::Options,
    edge::{Clock, Http},
    keys::classify,
    model::{
        Code, DeviceId, Fact, Platform, StepKind, Verdict,
        recipe::{Aim, KeyPolicy, ProtectedPolicy, Repair, Work},
    },
    sim::{
        cloud::DirectHttp,
        world::{Cut, Moment, POWER_CUT, Phase, scenario::Scenario},
    },
    store::{DeviceRow, Reader, UndoVault},
};

/// What a run under test is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    /// To provision, with the key that is there.
    Provision,
    /// To repair: the address of the server is wrong.
    Mend,
    /// To make a new pair.
    NewKey,
    /// To tell key and address: it ends in DFU mode, without a step that ends Service Mode.
    Address,
}

fn options(job: Job) -> Options {
    let repair = |work| {
        Aim::Repair(Repair {
            work,
            from: Vec::new(),
            reference: None,
        })
    };
    Options {
        aim: match job {
            Job::Provision => Aim::Provision,
            Job::Mend => repair(Work::Mend),
            Job::NewKey => repair(Work::NewKey),
            Job::Address => repair(Work::Address),
        },
        keys: match job {
            Job::NewKey => KeyPolicy::Generate,
            Job::Provision | Job::Mend | Job::Address => KeyPolicy::ReadOrGenerate,
        },
        protected: ProtectedPolicy::ServiceMode,
        firmware: false,
        prove: false,
        ..Options::default()
    }
}

/// One protected device in a product, whose key the cloud knows.
fn scenario(platform: Platform, job: Job) -> Scenario {
    scenario_with(platform, job, "6.2.0")
}

fn scenario_with(platform: Platform, job: Job, os: &str) -> Scenario {
    let server = if job == Job::Mend { "elsewhere" } else { "stand-in" };
    let text = format!(
        "about = \"a protected device\"\nseed = 9\n[[slot]]\nnumber = 1\nplatform = \"{platform}\"\nos = \"{os}\"\nprotected = true\n\
         server = \"{server}\"\nregistered = \"present\"\nimported = true\n[[expect]]\nslot = 1\nverdict = \"PASS\"\n\
         key = \"present-valid\"\nuploads = 1\n"
    );
    Scenario::parse(&text).unwrap()
}

fn one(bench: &Bench) -> DeviceId {
    *bench.rig.start.keys().next().unwrap()
}

/// The public key that the slot of the device holds.
fn held(bench: &Bench, platform: Platform) -> Option<Vec<u8>> {
    let dct = bench.rig.world.with_device(one(bench), |d| d.dct().to_vec()).unwrap();
    let slot = platform.key_segments(platform.row().transport).private;
    let bytes = &dct[slot.offset as usize..(slot.offset + slot.len) as usize];
    classify(bytes, platform.key_kind()).0.key().map(|key| key.spki.clone())
}

fn row(bench: &Bench) -> DeviceRow {
    Reader::open(&bench.ledger).unwrap().device(one(bench)).unwrap().unwrap()
}

/// What must hold at the end of every run.
fn whole(bench: &Bench, platform: Platform) -> Vec<String> {
    let mut wrong = Vec::new();
    let device = one(bench);
    let protected = bench.rig.world.with_device(device, |d| d.is_protected()).unwrap();
    let row = row(bench);
    let ledger = Reader::open(&bench.ledger).unwrap();
    if !protected && row.unprotected_since.is_none() {
        wrong.push("it is open, and the ledger does not say so".to_owned());
    }
    if row.last_verdict == Some(Verdict::Pass) {
        if !protected || row.unprotected_since.is_some() {
            wrong.push(format!(
                "PASS; protected: {protected}, in the ledger since {:?}",
                row.unprotected_since
            ));
        }
        if held(bench, platform) != bench.rig.cloud.registered(device) {
            wrong.push("PASS, and device and cloud hold different keys".to_owned());
        }
    }
    let known = ledger.history(device).unwrap().unwrap().keys;
    if let Some(spki) = held(bench, platform)
        && !known.iter().any(|key| key.key.spki == spki)
    {
        wrong.push("the ledger does not know the key that the device holds".to_owned());
    }
    wrong.extend(ledger.verify(&mut |_| {}).unwrap().iter().map(ToString::to_string));
    wrong
}

fn line(bench: &Bench) -> Arc<dyn Http> {
    Arc::new(DirectHttp::new(bench.rig.cloud.clone()))
}

const PLATFORMS: [Platform; 4] = [Platform::Argon, Platform::Boron, Platform::P2, Platform::Msom];

#[test]
fn each_family_is_let_in_for_each_work_and_protected_again() {
    // The bootloader of 6.1.1 neither tells its state in DFU mode nor ends Service Mode there.
    let systems = PLATFORMS
        .into_iter()
        .flat_map(|platform| [(platform, "6.2.0"), (platform, "6.1.1")]);
    for (platform, os) in systems {
        for job in [Job::Provision, Job::Mend, Job::NewKey, Job::Address] {
            Bench::run(scenario_with(platform, job, os), &options(job), |bench, end| {
                let story = || format!("{platform} {os} {job:?}:\n{}", bench.story());
                assert_eq!(end, Ended::Idle, "{}", story());
                assert_eq!(bench.verdict(one(bench)), Some((Verdict::Pass, None)), "{}", story());
                assert_eq!(whole(bench, platform), [""; 0], "{}", story());
                let start = bench.rig.start[&one(bench)].spki.clone();
                assert_eq!(held(bench, platform) == start, job != Job::NewKey, "{}", story());
            });
        }
    }
}

/// The station alone, or the devices with it, are cut after each record; the next station carries on.
#[test]
fn a_protected_device_is_not_lost_whatever_record_is_cut_after() {
    let mut points = 0;
    for (platform, job) in [
        (Platform::Argon, Job::Mend),
        (Platform::P2, Job::Provision),
        (Platform::P2, Job::NewKey),
    ] {
        for devices in [false, true] {
            let mut calm = 0;
            for cut in 0.. {
                if cut > calm {
                    break;
                }
                calm = calm.max(cut_after(platform, job, devices, cut, calm));
            }
            assert!(calm > 15, "{platform} {job:?}: {calm} records");
            points += calm;
        }
    }
    println!("{points} cuts");
}

/// Runs once with a cut after this record, if it is not 0, and returns how many records there were until then.
fn cut_after(platform: Platform, job: Job, devices: bool, cut: usize, calm: usize) -> usize {
    Bench::with(scenario(platform, job), &options(job), |bench| {
        let group = bench.clock.group();
        let (count, killer, world) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&group), bench.rig.world.clone());
        let counter = Arc::clone(&count);
        bench.watch(Arc::new(move |_| {
            if counter.fetch_add(1, Ordering::Relaxed) + 1 == cut {
                if devices {
                    world.power_cut(None, POWER_CUT);
                }
                killer.kill();
            }
        }));
        let mut end = bench.work_in(&group, line(bench), LONGEST);
        let seen = count.load(Ordering::Relaxed);
        let story = || {
            format!(
                "{platform} {job:?}, devices {devices}, cut after record {cut} of {calm}:\n{}",
                bench.story()
            )
        };
        if cut > 0 {
            assert_eq!(end, Ended::Cut, "{}", story());
            end = bench.work_in(&bench.clock.group(), line(bench), LONGEST);
        }
        assert_eq!(end, Ended::Idle, "{}", story());
        let verdict = row(bench).last_verdict;
        assert_eq!(verdict, Some(Verdict::Pass), "{}", story());
        assert_eq!(whole(bench, platform), [""; 0], "{}", story());
        if cut == 0 { seen } else { 0 }
    })
}

/// The devices, or the station with them, lose their power at one transfer after another of the whole run.
#[test]
fn a_protected_device_is_not_lost_whatever_transfer_is_cut_at() {
    let platform = Platform::P2;
    let all = cut_at_transfer(platform, None);
    assert!(all > 60, "{all} transfers");
    for cut in (1..=all).step_by(EACH) {
        for both in [false, true] {
            cut_at_transfer(platform, Some((cut, both)));
        }
    }
    println!("{all} transfers");
}

/// Runs once, with a cut after this transfer if there is one, and returns how many transfers there were.
fn cut_at_transfer(platform: Platform, cut: Option<(usize, bool)>) -> usize {
    Bench::with(scenario(platform, Job::Provision), &options(Job::Provision), |bench| {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        bench.rig.world.observe(Arc::new(move |at| {
            if at.moment != Moment::After {
                return Cut::None;
            }
            let now = counter.fetch_add(1, Ordering::Relaxed) + 1;
            match cut {
                Some((wanted, both)) if wanted == now => {
                    if both {
                        Cut::Both
                    } else {
                        Cut::Devices
                    }
                }
                _ => Cut::None,
            }
        }));
        let mut end = bench.work(LONGEST);
        if end == Ended::Cut {
            end = bench.work(LONGEST);
        }
        bench.rig.world.observe_no_more();
        let story = || format!("{platform}, cut {cut:?}:\n{}", bench.story());
        assert_eq!(end, Ended::Idle, "{}", story());
        assert_eq!(row(bench).last_verdict, Some(Verdict::Pass), "{}", story());
        assert_eq!(whole(bench, platform), [""; 0], "{}", story());
        count.load(Ordering::Relaxed)
    })
}

/// Every so many transfers: the whole run has hundreds, most of them alike.
const EACH: usize = 5;

/// The power of the device goes at this moment of the first write to its key slot.
fn cut_at_key_write(platform: Platform, moment: Moment, seed: u64, look: impl FnOnce(&Bench)) {
    let mut scenario = scenario(platform, Job::NewKey);
    scenario.seed = seed;
    Bench::with(scenario, &options(Job::NewKey), |bench| {
        let done = AtomicBool::new(false);
        bench.rig.world.observe(Arc::new(move |at| {
            let here = at.phase == Some(Phase::KeyWrite) && at.moment == moment;
            if here && !done.swap(true, Ordering::Relaxed) {
                Cut::Devices
            } else {
                Cut::None
            }
        }));
        let end = bench.work(LONGEST);
        bench.rig.world.observe_no_more();
        assert_eq!(end, Ended::Idle, "{platform} {moment:?}:\n{}", bench.story());
        assert_eq!(whole(bench, platform), [""; 0], "{platform} {moment:?}:\n{}", bench.story());
        look(bench);
    });
}

#[test]
fn a_power_cut_at_the_write_of_a_new_key_leaves_a_device_that_proves_what_it_holds() {
    for platform in [Platform::Argon, Platform::P2] {
        for moment in [Moment::Before, Moment::After] {
            cut_at_key_write(platform, moment, 9, |bench| {
                let story = || format!("{platform} {moment:?}:\n{}", bench.story());
                assert_eq!(row(bench).last_verdict, Some(Verdict::Pass), "{}", story());
            });
        }
    }
}

/// What a write that is cut half-way leaves is drawn by lot. Where it is a whole key, the device signs with that and is let
/// in again. Where it is none, nobody can let it in: it stays protected, the old pair stays sealed, and a person decides.
#[test]
fn a_torn_key_write_is_healed_or_the_old_pair_is_kept_for_a_person() {
    let (mut healed, mut kept) = (0, 0);
    for platform in [Platform::Argon, Platform::P2] {
        for seed in 1..=8 {
            cut_at_key_write(platform, Moment::During, seed, |bench| {
                let story = || format!("{platform} {seed}:\n{}", bench.story());
                assert!(bench.rig.world.with_device(one(bench), |d| d.is_protected()).unwrap());
                assert!(row(bench).unprotected_since.is_none(), "{}", story());
                let undo = UndoVault::open(&bench.undo).unwrap().list().unwrap().len();
                match row(bench).last_verdict {
                    Some(Verdict::Pass) => {
                        assert_eq!(undo, 0, "{}", story());
                        healed += 1;
                    }
                    Some(Verdict::Quarantined) => {
                        assert_eq!(row(bench).last_code, Some(Code::StateUnknown), "{}", story());
                        assert_eq!((held(bench, platform), undo), (None, 1), "{}", story());
                        kept += 1;
                    }
                    other => panic!("{other:?} {}", story()),
                }
            });
        }
    }
    assert!(healed > 0 && kept > 0, "{healed} healed, {kept} kept");
}

#[test]
fn a_worker_that_waits_for_the_cloud_ends_when_it_is_told_to() {
    let mut waits = scenario(Platform::P2, Job::Provision);
    let fault = "route = \"PUT /v1/products/:p/devices/:id/unprotect\"\neffect = \"unavailable\"\n";
    waits.cloud.faults.push(toml::from_str(fault).unwrap());
    Bench::with(waits, &options(Job::Provision), |bench| {
        let began = bench.clock.now();
        assert_eq!(bench.work(Duration::from_secs(60)), Ended::OutOfTime, "{}", bench.story());
        let took = bench.clock.now().since(began);
        assert!(took < Duration::from_secs(62), "{took:?}");
        let last = bench.facts(one(bench)).pop();
        assert!(
            matches!(last, Some(Fact::RunInterrupted { code: Code::Stopped, .. })),
            "{}",
            bench.story()
        );
        assert!(bench.rig.world.with_device(one(bench), |d| d.is_protected()).unwrap());
    });
}

#[test]
fn a_device_that_left_open_is_protected_first_at_its_next_visit() {
    let text = "about = \"left open\"\nseed = 3\n[[slot]]\nnumber = 1\nplatform = \"p2\"\nprotected = true\nserver = \"stand-in\"\n\
                registered = \"present\"\nimported = true\n[[mishap]]\nslot = 1\ndo = { inject = \"service-end-ignored\" }\n\
                [[expect]]\nslot = 1\nverdict = \"FAIL\"\nkey = \"same\"\nuploads = 1\n";
    Bench::run(Scenario::parse(text).unwrap(), &options(Job::Provision), |bench, _| {
        let device = one(bench);
        let alarm = Some((Verdict::Fail, Some("not-protected-again".to_owned())));
        assert_eq!(bench.verdict(device), alarm, "{}", bench.story());
        assert!(row(bench).unprotected_since.is_some());
        assert_eq!(whole(bench, Platform::P2), [""; 0]);
        bench.rig.world.with_device(device, |d| d.heal());
        bench.records.lock().unwrap().clear();
        assert_eq!(bench.work(LONGEST), Ended::Idle);
        let plan = bench.facts(device).into_iter().find_map(|fact| match fact {
            Fact::RunStarted { plan, .. } => Some(plan),
            _ => None,
        });
        assert_eq!(plan.unwrap()[0], StepKind::ProtectAgain);
        assert_eq!(bench.verdict(device), Some((Verdict::Pass, None)), "{}", bench.story());
        assert_eq!(whole(bench, Platform::P2), [""; 0]);
    });
}

const LONGEST: Duration = Duration::from_secs(3600);
