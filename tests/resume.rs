//! The crash matrix: killed at any moment and started again, the station carries on. Every device ends in one of the
//! verdicts, no key is lost, no effect happens twice, and no device is left out of step with the cloud without the
//! ledger saying so (ARCHITECTURE.md 4).
//!
//! Each combination runs once without a cut, which gives the list of its cuts; then once for each cut and each way of
//! cutting. After each run the disk, the device and the cloud are asked.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "this test judges by itself")]
mod bench;
#[path = "resume/case.rs"]
mod case;
#[path = "resume/check.rs"]
mod check;
#[path = "resume/probe.rs"]
mod probe;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bench::Bench;
use case::{Boots, Case, Cloud, Prepared, Seeded, StartKey};
use check::Secrets;
use keyrack::{
    edge::{Clock, Entropy, Http, clock::SystemClock},
    model::{Platform, Verdict, recipe::KeyPolicy},
    sim::cloud::DirectHttp,
};
use probe::{Broken, Line, Passed, Point, Probe, Way, When};

/// What came of one run.
struct Outcome {
    verdict: Option<Verdict>,
    passed: Vec<Passed>,
    /// The cut that was asked for was made.
    cut: bool,
    wrong: Vec<String>,
    story: String,
}

fn run(case: &Case, prepared: &Prepared, cut: Option<(Point, Way)>, calm: Option<Verdict>) -> Outcome {
    run_with(case, prepared, cut, calm, None)
}

fn run_with(
    case: &Case,
    prepared: &Prepared,
    cut: Option<(Point, Way)>,
    calm: Option<Verdict>,
    broken: Option<Broken>,
) -> Outcome {
    let entropy: Arc<dyn Entropy> = Arc::new(Seeded::new(prepared.seed));
    Bench::again(&prepared.rack, &entropy, |bench| {
        let probe = Arc::new(Probe {
            world: bench.rig.world.clone(),
            cloud: bench.rig.cloud.clone(),
            device: prepared.device,
            ledger: bench.ledger.clone(),
            undo: bench.undo.clone(),
            group: bench.clock.group(),
            cut,
            broken,
            takes: (case.cloud == Cloud::RefusesNew).then(|| prepared.spki.clone()),
            state: Mutex::default(),
            reader: Mutex::default(),
            derived: Mutex::default(),
        });
        case.begin(&bench.rig.world, prepared.device);
        let line = || -> Arc<dyn Http> {
            Arc::new(Line {
                inner: DirectHttp::new(bench.rig.cloud.clone()),
                probe: Arc::clone(&probe),
            })
        };
        let watcher = Arc::clone(&probe);
        bench.watch(Arc::new(move |record| watcher.record(record)));
        let observer = Arc::clone(&probe);
        bench.rig.world.observe(Arc::new(move |at| observer.transfer(at)));
        let mut secrets = Secrets::new();
        let mut end = bench.work_in(&probe.group, line(), LONGEST);
        let done = probe.state.lock().unwrap().done;
        if done && cut.is_some_and(|(_, way)| way.station()) {
            check::at_cut(case, prepared, bench, &probe, &mut secrets);
            if cut.is_some_and(|(_, way)| way == Way::BothLate) {
                bench.clock.sleep(Duration::from_secs(90));
            }
            end = bench.work_in(&bench.clock.group(), line(), LONGEST);
        }
        check::at_end(case, prepared, bench, &probe, &mut secrets, end, calm);
        // The world holds the observer, which holds the world.
        bench.rig.world.observe_no_more();
        let verdict = bench.verdict(prepared.device).map(|(verdict, _)| verdict);
        let mut state = probe.state.lock().unwrap();
        Outcome {
            verdict,
            passed: std::mem::take(&mut state.passed),
            cut: done,
            story: if state.wrong.is_empty() {
                String::new()
            } else {
                bench.story()
            },
            wrong: std::mem::take(&mut state.wrong),
        }
    })
}

/// The cuts of a combination, each with the seed of its rack, and how many are left out.
///
/// Left out is this, and nothing else: between two transfers without a record, a call or a write in between, disk, cloud
/// and key store are the same all the way, which are the many transfers of a read; there each moment is cut in one of the
/// ways, in turn, and neighbouring combinations begin with different ones. `KEYRACK_RESUME_ALL=1` leaves nothing out.
fn cuts(case: &Case, turn: usize, passed: &[Passed]) -> (Vec<(Point, Way, u64)>, usize) {
    let all = std::env::var_os("KEYRACK_RESUME_ALL").is_some();
    let ways: &[Way] = if case.key == StartKey::Blank && case.boots == Boots::AndWaits {
        // The devices have the time to make a key before the station is back.
        &[Way::Station, Way::Devices, Way::Both, Way::BothLate]
    } else {
        &[Way::Station, Way::Devices, Way::Both]
    };
    let (mut cuts, mut left_out) = (Vec::new(), 0);
    for (n, at) in passed.iter().enumerate() {
        let reads = matches!(at.point, Point::Transfer(..)) && !at.writes;
        let amid = reads
            && at.follows
            && passed
                .get(n + 1)
                .is_some_and(|next| matches!(next.point, Point::Transfer(..)));
        for (m, way) in ways.iter().enumerate() {
            if amid && !all && !(n + m + turn).is_multiple_of(ways.len()) {
                left_out += 1;
                continue;
            }
            // What a cut in the middle of a write leaves behind is drawn by lot: several draws.
            let drawn = matches!(at.point, Point::Transfer(_, When::During)) && *way != Way::Station;
            let seeds = if drawn { DRAWS } else { 1 };
            cuts.extend((0..seeds).map(|seed| (at.point, *way, seed)));
        }
    }
    // For a quick look: each nth cut only.
    let every = wish("KEYRACK_RESUME_EVERY").and_then(|n| n.parse().ok()).unwrap_or(1);
    let all = cuts.len();
    let cuts: Vec<_> = cuts.into_iter().skip(turn % every).step_by(every).collect();
    left_out += all - cuts.len();
    (cuts, left_out)
}

/// What whoever runs this by hand wants otherwise.
#[expect(clippy::disallowed_methods, reason = "only for runs by hand")]
fn wish(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A run that went wrong: which one, what is wrong, its journal.
type Wrong = (String, Vec<String>, String);

#[test]
fn a_station_that_is_killed_at_any_moment_carries_on() {
    let clock = SystemClock::new();
    let only = wish("KEYRACK_RESUME");
    let cases: Vec<Case> = Case::all();
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|c| only.as_ref().is_none_or(|o| c.to_string().contains(o)))
        .collect();
    let next = AtomicUsize::new(0);
    let total: Mutex<Total> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(turn) else { break };
                    matrix(case, turn, &total);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{} combinations, {total}, {} s", cases.len(), clock.now().0.as_secs());
    assert!(total.runs > 0 && total.cuts.values().all(|n| *n > 0), "nothing was cut");
    assert!(
        total.wrong.is_empty(),
        "{} runs went wrong:\n{}",
        total.wrong.len(),
        total.report()
    );
}

#[test]
fn a_station_that_is_wrong_does_not_get_away_with_it() {
    let case = Case {
        platform: Platform::Argon,
        policy: KeyPolicy::Generate,
        key: StartKey::Good,
        cloud: Cloud::Takes,
        boots: Boots::AndMakesKey,
    };
    let prepared = case.prepare(1);
    assert_eq!(run(&case, &prepared, None, Some(Verdict::Pass)).wrong, [""; 0]);
    for (broken, fires) in [
        (
            Broken::UploadsNothing,
            "I2: PASS, and the cloud has another key than the device",
        ),
        (
            Broken::LosesUndo,
            "I4: a write to the key store without its undo copy on disk",
        ),
        (Broken::KeepsPrivateKey, "I6: "),
        (Broken::KeepsUndo, "I7: PASS, and 1 undo copies are left"),
    ] {
        let wrong = run_with(&case, &prepared, None, Some(Verdict::Pass), Some(broken)).wrong;
        assert!(wrong.iter().any(|what| what.starts_with(fires)), "{broken:?}: {wrong:?}");
    }
    let never = run(&case, &prepared, Some((Point::Call(99, When::After), Way::Both)), None);
    assert!(!never.cut, "a cut that is never come by is found out");
}

#[derive(Default)]
struct Total {
    cuts: BTreeMap<&'static str, usize>,
    runs: usize,
    left_out: usize,
    wrong: Vec<Wrong>,
    verdicts: BTreeMap<String, usize>,
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cuts: Vec<String> = self.cuts.iter().map(|(kind, n)| format!("{n} at {kind}")).collect();
        let ends: Vec<String> = self.verdicts.iter().map(|(verdict, n)| format!("{n} {verdict}")).collect();
        let (cuts, ends) = (cuts.join(", "), ends.join(", "));
        write!(f, "cuts: {cuts} ({} left out), {} runs ({ends})", self.left_out, self.runs)
    }
}

impl Total {
    fn report(&self) -> String {
        // One of each sort is enough to begin with.
        let mut sorts: BTreeMap<String, Vec<&Wrong>> = BTreeMap::new();
        for one in &self.wrong {
            sorts.entry(one.1.join(" / ")).or_default().push(one);
        }
        let show = |(sort, all): (&String, &Vec<&Wrong>)| {
            let names: Vec<&str> = all.iter().take(6).map(|(name, ..)| name.as_str()).collect();
            format!("{} x {sort}\n    {}\n{}\n", all.len(), names.join("\n    "), all[0].2)
        };
        sorts.iter().take(12).map(show).collect()
    }
}

fn matrix(case: &Case, turn: usize, total: &Mutex<Total>) {
    let mut racks: BTreeMap<u64, Prepared> = BTreeMap::new();
    racks.insert(0, case.prepare(1));
    let calm = run(case, &racks[&0], None, None);
    let (list, left_out) = cuts(case, turn, &calm.passed);
    {
        let mut total = total.lock().unwrap();
        total.left_out += left_out;
        total.runs += 1;
        if !calm.wrong.is_empty() {
            total
                .wrong
                .push((format!("{case} without a cut"), calm.wrong.clone(), calm.story.clone()));
        }
        assert!(!list.is_empty(), "{case}: nowhere to cut");
    }
    for (point, way, seed) in list {
        let prepared = racks.entry(seed).or_insert_with(|| case.prepare(seed + 1));
        let mut outcome = run(case, prepared, Some((point, way)), calm.verdict);
        if !outcome.cut {
            outcome.wrong.push("the cut was never made".to_owned());
        }
        let mut total = total.lock().unwrap();
        total.runs += 1;
        *total.cuts.entry(kind(point)).or_default() += 1;
        let verdict = outcome.verdict.map_or("none".to_owned(), |v| v.to_string());
        *total.verdicts.entry(verdict).or_default() += 1;
        if !outcome.wrong.is_empty() {
            let name = format!("{case}: {way:?} at {point:?}, seed {seed}");
            total.wrong.push((name, outcome.wrong, outcome.story));
        }
    }
}

fn kind(point: Point) -> &'static str {
    match point {
        Point::Record(_) => "records",
        Point::Transfer(_, When::During) => "writes half-way",
        Point::Transfer(..) => "transfers",
        Point::Call(..) => "cloud calls",
    }
}

/// More virtual time than any run needs.
const LONGEST: Duration = Duration::from_secs(1800);
/// So many racks have the power cut in the middle of each write.
const DRAWS: u64 = 6;
