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
#[path = "resume/matrix.rs"]
mod matrix;
#[path = "resume/probe.rs"]
mod probe;
#[path = "resume/run.rs"]
mod run;
mod witness;

use std::sync::Mutex;

use case::{Boots, Case, Cloud, StartKey};
use keyrack::{
    edge::{Clock, clock::SystemClock},
    model::{Platform, Verdict, recipe::KeyPolicy},
};
use matrix::{KINDS, Total, matrix, wish};
use probe::{Broken, Point, Way, When};
use run::{run, run_with};
use witness::{on_all_processors, report};

#[test]
fn a_station_that_is_killed_at_any_moment_carries_on() {
    let clock = SystemClock::new();
    let only = wish("KEYRACK_RESUME");
    let cases: Vec<Case> = Case::all();
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|c| only.as_ref().is_none_or(|o| c.to_string().contains(o)))
        .collect();
    let total: Mutex<Total> = Mutex::default();
    on_all_processors(&cases, |case, turn| matrix(case, turn, &total));
    let total = total.into_inner().unwrap();
    println!("{} combinations, {total}, {} s", cases.len(), clock.now().0.as_secs());
    for kind in KINDS {
        assert!(total.cuts.contains_key(kind), "there were no cuts at {kind}");
    }
    assert!(
        total.wrong.is_empty(),
        "{} runs went wrong:\n{}",
        total.wrong.len(),
        report(&total.wrong)
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
