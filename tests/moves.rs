//! Devices that are moved from one product to another on the simulated rack: by family, key and owner, cut after every
//! record, with every call of the chain failing before and after its effect, and refused. In the end each has one product,
//! the owner, name, notes and groups of before, and a key that the cloud holds, too.

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
    model::{DeviceId, Platform, Verdict},
    sim::{
        cloud::{DirectHttp, Effect, Fault},
        world::scenario::Scenario,
    },
    store::Reader,
};

const CUSTOMER: &str = "ann@home.test";
const ACCOUNT: &str = "operator@bench.test";
/// The product of the recipe, and the one in which the device is.
const NEW: u32 = 901;
const OLD: u32 = 902;

fn options() -> Options {
    Options {
        prove: false,
        ..Options::default()
    }
}

/// One device in the old product, with this key, in these hands.
fn scenario(platform: Platform, key: &str, owner: Option<&str>) -> Scenario {
    let owner = owner.map_or(String::new(), |owner| format!("owner = \"{owner}\"\n"));
    let product = |id: u32, slug: &str| format!("[[cloud.product]]\nid = {id}\nslug = \"{slug}\"\nplatform = \"{platform}\"\n");
    let text = format!(
        "about = \"a move\"\nseed = 9\nkeys = \"read-or-generate\"\n[repair]\nwork = \"mend\"\nfrom = [{OLD}]\n\
         [[slot]]\nnumber = 1\nplatform = \"{platform}\"\nkey = \"{key}\"\nin-product = {OLD}\nserver = \"stand-in\"\n\
         name = \"kitchen\"\nnotes = \"third shelf\"\ngroups = [\"eu\", \"beta\"]\n{owner}{}{}\
         [cloud]\nowner = \"{ACCOUNT}\"\ncustomers = [\"{CUSTOMER}\"]\n\
         [[expect]]\nslot = 1\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = 1\n",
        product(NEW, "new"),
        product(OLD, "old"),
    );
    Scenario::parse(&text).unwrap()
}

fn one(bench: &Bench) -> DeviceId {
    *bench.rig.start.keys().next().unwrap()
}

fn line(bench: &Bench) -> Arc<dyn Http> {
    Arc::new(DirectHttp::new(bench.rig.cloud.clone()))
}

/// What must hold at the end: the device is in this product.
fn whole(bench: &Bench, product: u32, owner: Option<&str>) -> Vec<String> {
    let device = one(bench);
    let mut wrong = Vec::new();
    let held = bench.rig.world.with_device(device, |device| device.key_spki()).unwrap();
    if held.is_none() || held != bench.rig.cloud.registered(device) {
        wrong.push("device and cloud hold different keys".to_owned());
    }
    let place = bench.rig.cloud.place(device).unwrap();
    if place != (Some(product), owner.map(str::to_owned)) {
        wrong.push(format!("it is in {place:?}"));
    }
    let kept = bench.rig.cloud.attributes(device).unwrap();
    if (kept.name.as_deref(), kept.notes.as_deref()) != (Some("kitchen"), Some("third shelf")) {
        wrong.push("its name or notes are lost".to_owned());
    }
    let mut groups = kept.groups;
    groups.sort();
    if groups != ["beta", "eu"] {
        wrong.push(format!("its groups are {groups:?}"));
    }
    let ledger = Reader::open(&bench.ledger).unwrap();
    let records = ledger.records(0, u32::MAX).unwrap();
    let told = records.iter().map(|record| serde_json::to_string(&record.fact).unwrap());
    wrong.extend(
        told.filter(|fact| fact.contains('@'))
            .map(|fact| format!("an address in a fact: {fact}")),
    );
    wrong.extend(ledger.verify(&mut |_| {}).unwrap().iter().map(ToString::to_string));
    if std::fs::read_dir(bench.undo.join("restore")).unwrap().count() > 0 {
        wrong.push("restore data are left".to_owned());
    }
    wrong
}

const OWNERS: [Option<&str>; 3] = [None, Some(ACCOUNT), Some(CUSTOMER)];

#[test]
fn each_family_is_moved_with_each_key_whoever_owns_it() {
    for platform in [Platform::Photon, Platform::Argon, Platform::P2] {
        for key in ["good", "blank", "corrupt"] {
            for owner in OWNERS {
                Bench::run(scenario(platform, key, owner), &options(), |bench, end| {
                    let story = || format!("{platform} {key} {owner:?}:\n{}", bench.story());
                    assert_eq!(end, Ended::Idle, "{}", story());
                    assert_eq!(bench.verdict(one(bench)), Some((Verdict::Pass, None)), "{}", story());
                    assert_eq!(whole(bench, NEW, owner), [""; 0], "{}", story());
                    assert_eq!(bench.rig.cloud.customer_tokens(), 0, "{}", story());
                    let start = &bench.rig.start[&one(bench)].spki;
                    let held = bench.rig.world.with_device(one(bench), |device| device.key_spki()).unwrap();
                    assert_eq!(held == *start, key == "good", "a good key stays: {}", story());
                });
            }
        }
    }
}

/// The calls of the chain, as the stand-in's routes.
const CALLS: [&str; 6] = [
    "DELETE /v1/products/902/devices/:id/owner",
    "DELETE /v1/products/902/devices/:id",
    "POST /v1/products/901/devices",
    "POST /v1/provisioning/:id",
    "POST /v1/devices",
    "PUT /v1/products/901/devices/:id",
];

#[test]
fn a_call_that_fails_before_or_after_its_effect_is_made_good() {
    let platform = Platform::Argon;
    for owner in OWNERS {
        for route in CALLS {
            if owner.is_none() && (route.ends_with("owner") || route == "POST /v1/devices") {
                continue;
            }
            for effect in [Effect::ResetBefore, Effect::ResetAfter, Effect::HtmlError, Effect::EmptyOk] {
                Bench::with(scenario(platform, "blank", owner), &options(), |bench| {
                    bench.rig.cloud.add_fault(Fault::new(route, effect).times(1));
                    let end = bench.work(LONGEST);
                    let story = || format!("{owner:?} {route} {effect:?}:\n{}", bench.story());
                    assert_eq!(end, Ended::Idle, "{}", story());
                    assert_eq!(bench.rig.cloud.fired()[0].1, 1, "{}", story());
                    assert_eq!(bench.verdict(one(bench)), Some((Verdict::Pass, None)), "{}", story());
                    assert_eq!(whole(bench, NEW, owner), [""; 0], "{}", story());
                });
            }
        }
    }
}

#[test]
fn a_device_that_the_new_product_does_not_take_is_as_before() {
    for owner in OWNERS {
        for key in ["good", "blank"] {
            for route in ["DELETE /v1/products/902/devices/:id", "POST /v1/products/901/devices"] {
                Bench::with(scenario(Platform::Argon, key, owner), &options(), |bench| {
                    bench.rig.cloud.add_fault(Fault::new(route, Effect::Refused(403)));
                    let end = bench.work(LONGEST);
                    let story = || format!("{owner:?} {key} {route}:\n{}", bench.story());
                    assert_eq!(end, Ended::Idle, "{}", story());
                    let verdict = bench.verdict(one(bench));
                    assert_eq!(verdict, Some((Verdict::Fault, Some("cloud-denied".into()))), "{}", story());
                    assert_eq!(whole(bench, OLD, owner), [""; 0], "{}", story());
                });
            }
        }
    }
}

#[test]
fn without_a_role_or_a_customer_in_the_new_product_nothing_is_taken() {
    for (fault, code) in [
        (Fault::new("GET /v1/products/901", Effect::Refused(403)), "cloud-denied"),
        (Fault::new("POST /oauth/token", Effect::Refused(400)), "customer-unknown"),
    ] {
        Bench::with(scenario(Platform::Argon, "corrupt", Some(CUSTOMER)), &options(), |bench| {
            let group = bench.clock.group();
            let http = line(bench);
            let fault = fault.clone();
            let cloud = bench.rig.cloud.clone();
            bench.watch(Arc::new(move |record| {
                if matches!(record.fact, keyrack::model::Fact::RunStarted { .. }) {
                    cloud.add_fault(fault.clone());
                }
            }));
            let end = bench.work_in(&group, http, LONGEST);
            let device = one(bench);
            assert_eq!(end, Ended::Idle, "{}", bench.story());
            let verdict = bench.verdict(device).unwrap();
            assert_eq!(verdict.1.as_deref(), Some(code), "{}", bench.story());
            let place = bench.rig.cloud.place(device).unwrap();
            assert_eq!(place, (Some(OLD), Some(CUSTOMER.to_owned())), "{}", bench.story());
            let writes = bench
                .rig
                .world
                .with_device(device, |device| device.counters().dct_writes)
                .unwrap();
            assert_eq!((writes, bench.rig.cloud.uploads(device).len()), (0, 0), "{}", bench.story());
        });
    }
}

/// The number of records of a move without a cut; then a cut after each of them, and the next station carries on.
#[test]
fn a_device_is_moved_whatever_record_the_station_is_cut_after() {
    for (owner, key) in [(None, "blank"), (Some(ACCOUNT), "good"), (Some(CUSTOMER), "blank")] {
        let mut calm = 0;
        for cut in 0.. {
            if cut > 0 && cut > calm {
                break;
            }
            Bench::with(scenario(Platform::Argon, key, owner), &options(), |bench| {
                let group = bench.clock.group();
                let (count, killer) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&group));
                let counter = Arc::clone(&count);
                bench.watch(Arc::new(move |_| {
                    if counter.fetch_add(1, Ordering::Relaxed) + 1 == cut {
                        killer.kill();
                    }
                }));
                let mut end = bench.work_in(&group, line(bench), LONGEST);
                if cut == 0 {
                    calm = count.load(Ordering::Relaxed);
                } else {
                    assert_eq!(end, Ended::Cut, "{owner:?} {cut}");
                    end = bench.work_in(&bench.clock.group(), line(bench), LONGEST);
                }
                let story = || format!("{owner:?} {key}, cut after record {cut} of {calm}:\n{}", bench.story());
                assert_eq!(end, Ended::Idle, "{}", story());
                let ledger = Reader::open(&bench.ledger).unwrap();
                let verdict = ledger.history(one(bench)).unwrap().unwrap().runs.last().unwrap().verdict;
                assert_eq!(verdict, Some(Verdict::Pass), "{}", story());
                assert_eq!(whole(bench, NEW, owner), [""; 0], "{}", story());
            });
        }
        assert!(calm > 25, "{calm} records");
    }
}

const LONGEST: Duration = Duration::from_secs(3600);
