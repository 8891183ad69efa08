//! One run: a rack from its store, a station that works until it is cut, another one that takes over, and the questions.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use keyrack::{
    edge::{Clock, Entropy, Http},
    model::Verdict,
    sim::cloud::DirectHttp,
};

use crate::{
    bench::Bench,
    case::{Case, Cloud, Prepared},
    check,
    probe::{Broken, Line, Passed, Point, Probe, Way},
    witness::{Secrets, Seeded, Witness},
};

/// What came of one run.
pub(crate) struct Outcome {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) passed: Vec<Passed>,
    /// The cut that was asked for was made.
    pub(crate) cut: bool,
    pub(crate) wrong: Vec<String>,
    pub(crate) story: String,
}

/// Runs a combination, with a cut or without. `calm` is the verdict that a run without a cut comes to.
pub(crate) fn run(case: &Case, prepared: &Prepared, cut: Option<(Point, Way)>, calm: Option<Verdict>) -> Outcome {
    run_with(case, prepared, cut, calm, None)
}

/// As [`run`], with a station that is wrong.
pub(crate) fn run_with(
    case: &Case,
    prepared: &Prepared,
    cut: Option<(Point, Way)>,
    calm: Option<Verdict>,
    broken: Option<Broken>,
) -> Outcome {
    let entropy: Arc<dyn Entropy> = Arc::new(Seeded::new(prepared.seed));
    Bench::again(&prepared.rack, &entropy, |bench| {
        let probe = Arc::new(Probe {
            witness: Witness::new(bench, prepared.device),
            group: bench.clock.group(),
            cut,
            broken,
            takes: (case.cloud == Cloud::RefusesNew).then(|| prepared.spki.clone()),
            state: Mutex::default(),
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
        let mut secrets = Secrets::default();
        let mut end = bench.work_in(&probe.group, line(), LONGEST);
        let done = probe.state.lock().unwrap().done;
        if done && cut.is_some_and(|(_, way)| way.station()) {
            check::at_cut(case, prepared, bench, &probe.witness, &mut secrets);
            if cut.is_some_and(|(_, way)| way == Way::BothLate) {
                bench.clock.sleep(Duration::from_secs(90));
            }
            end = bench.work_in(&bench.clock.group(), line(), LONGEST);
        }
        check::at_end(case, prepared, bench, &probe, &mut secrets, end, calm);
        // The world holds the observer, which holds the world.
        bench.rig.world.observe_no_more();
        let verdict = bench.verdict(prepared.device).map(|(verdict, _)| verdict);
        let wrong = probe.witness.take_wrong();
        let mut state = probe.state.lock().unwrap();
        Outcome {
            verdict,
            passed: std::mem::take(&mut state.passed),
            cut: done,
            story: if wrong.is_empty() { String::new() } else { bench.story() },
            wrong,
        }
    })
}

/// More virtual time than any run needs.
const LONGEST: Duration = Duration::from_secs(1800);
