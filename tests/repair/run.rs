//! One repair: a rack from its store, a station that works until something goes wrong, another one that takes over, and
//! the questions.

use std::{sync::Arc, time::Duration};

use keyrack::{
    edge::{Clock, Entropy, Http},
    model::{DeviceId, Fact, Verdict},
    sim::cloud::DirectHttp,
    station::Pairs,
};

use crate::{
    bench::{Bench, Ended},
    case::Case,
    check,
    doom::{AWAY, Doom, Line},
    expect::{Struck, ends},
    harm::{Harm, Ill, Kind, Point, Way},
    prepare::Prepared,
    witness::{Secrets, Seeded},
};

/// What came of one repair.
pub(crate) struct Outcome {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) passed: Vec<Point>,
    /// The harm that was asked for was done.
    pub(crate) struck: bool,
    pub(crate) wrong: Vec<String>,
    pub(crate) story: String,
}

/// Repairs a device, with one harm or without. `kind` is that of the harmed call.
pub(crate) fn run(case: &Case, prepared: &Prepared, harm: Option<Harm>, kind: Option<Kind>) -> Outcome {
    let entropy: Arc<dyn Entropy> = Arc::new(Seeded::new(prepared.seed));
    Bench::again(&prepared.rack, &entropy, |bench| {
        case.begin(prepared, bench);
        let doom = Doom::new(bench, prepared, harm);
        let line = || -> Arc<dyn Http> {
            Arc::new(Line {
                inner: DirectHttp::new(bench.rig.cloud.clone()),
                doom: Arc::clone(&doom),
            })
        };
        let watcher = Arc::clone(&doom);
        bench.watch(Arc::new(move |record| watcher.record(record)));
        let observer = Arc::clone(&doom);
        bench.rig.world.observe(Arc::new(move |at| observer.transfer(at)));
        let work = |limit| {
            let group = bench.clock.group();
            doom.begin(&group);
            bench.work_in(&group, line(), limit)
        };
        let mut secrets = Secrets::default();
        secrets.note(case.platform, &prepared.dct);
        if let Some(given) = &prepared.given {
            secrets.note_slot(case.platform, given);
        }
        let hand_over = || *bench.pairs.lock().unwrap() = prepared.pairs(case.platform);
        hand_over();
        let mut end = work(LONGEST);
        match (end, harm) {
            (Ended::Cut, _) => {
                check::at_cut(case, prepared, bench, &doom.witness, &mut secrets);
                if !matches!(harm, Some(Harm::Record(_, Way::Anew))) {
                    // It was in the memory of the station alone.
                    *bench.pairs.lock().unwrap() = Pairs::default();
                }
                end = work(LONGEST);
            }
            // Nothing goes without a token: it is started again with another one.
            (Ended::OutOfTime, Some(Harm::Call(_, Ill::Spent))) => end = work(LONGEST),
            _ => {}
        }
        if matches!(harm, Some(Harm::Record(_, Way::Away))) {
            // The last verdict may have come while the device was out.
            bench.clock.sleep(AWAY);
        }
        let struck = doom.struck();
        let what = Struck {
            kind,
            late: doom.late(),
            taken: doom.taken(),
            made: doom.witness.made_by_device(),
            over: ends_in(bench, prepared.device) > 1,
        };
        let may = ends(case, prepared.place.1.as_deref(), harm, what);
        check::at_end(case, prepared, bench, &doom, &mut secrets, end, &may);
        let last = bench.verdict(prepared.device);
        let verdict = last.as_ref().map(|(verdict, _)| *verdict);
        let calm = case.calm();
        let mends = calm.verdict == Verdict::Pass && !matches!(verdict, Some(Verdict::Pass | Verdict::Quarantined));
        let alarm = last.is_some_and(|(_, code)| code.as_deref() == Some("not-protected-again"));
        if (mends || alarm) && !what.taken {
            // What is told to be done next is to run it again, and that mends it.
            doom.lift();
            hand_over();
            let end = work(LONGEST);
            let what = Struck { over: true, ..what };
            let may = ends(case, prepared.place.1.as_deref(), None, what);
            check::at_end(case, prepared, bench, &doom, &mut secrets, end, &may);
        }
        if harm.is_none() {
            let told = bench.facts(prepared.device).into_iter().find_map(|fact| match fact {
                Fact::Diagnosed { diagnosis, .. } => Some(diagnosis.flow),
                _ => None,
            });
            if told.flatten() != calm.flow {
                doom.witness.wrong(format!("R9: {told:?} was proposed"));
            }
        }
        // The world holds the observer, which holds the world.
        bench.rig.world.observe_no_more();
        let wrong = doom.witness.take_wrong();
        Outcome {
            verdict,
            passed: doom.passed(),
            struck,
            story: if wrong.is_empty() {
                String::new()
            } else {
                let calls: Vec<String> = doom
                    .sent()
                    .iter()
                    .map(|one| format!("  {} {}", one.station, one.what))
                    .collect();
                format!("{}\n{}", bench.story(), calls.join("\n"))
            },
            wrong,
        }
    })
}

/// How many runs of the device have ended.
fn ends_in(bench: &Bench, device: DeviceId) -> usize {
    let facts = bench.facts(device);
    facts.iter().filter(|fact| matches!(fact, Fact::RunEnded { .. })).count()
}

/// More virtual time than any repair needs.
const LONGEST: Duration = Duration::from_secs(4000);
