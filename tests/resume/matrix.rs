//! The list of cuts of a combination, and what came of all of them.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use crate::{
    case::{Boots, Case, Prepared, StartKey},
    probe::{Passed, Point, Way, When},
    run::run,
    witness::Wrong,
};

/// What came of all runs.
#[derive(Default)]
pub(crate) struct Total {
    pub(crate) cuts: BTreeMap<&'static str, usize>,
    pub(crate) runs: usize,
    left_out: usize,
    pub(crate) wrong: Vec<Wrong>,
    verdicts: BTreeMap<String, usize>,
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cuts: Vec<String> = self.cuts.iter().map(|(kind, n)| format!("{n} at {kind}")).collect();
        let ends: Vec<String> = self.verdicts.iter().map(|(verdict, n)| format!("{n} {verdict}")).collect();
        let (cuts, ends) = (cuts.join(", "), ends.join(", "));
        write!(f, "cuts: {cuts} ({} left out), {} runs ({ends})", self.left_out, self.runs)
    }
}

/// Cuts a combination everywhere.
pub(crate) fn matrix(case: &Case, turn: usize, total: &Mutex<Total>) {
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
        Point::Record(_) => KINDS[0],
        Point::Transfer(_, When::During) => KINDS[2],
        Point::Transfer(..) => KINDS[1],
        Point::Call(..) => KINDS[3],
    }
}

/// The cuts of a combination, each with the seed of its rack, and how many are left out.
///
/// Left out is this, and nothing else. Where nothing is written, put on record or sent between two transfers, the moment
/// after the first and the moment before the second are one place. And amid the many transfers of a read disk, cloud and
/// key store are the same all the way: there each place is cut in one of the ways, in turn, and neighbouring combinations
/// begin with different ones. `KEYRACK_RESUME_ALL=1` leaves nothing out.
fn cuts(case: &Case, turn: usize, passed: &[Passed]) -> (Vec<(Point, Way, u64)>, usize) {
    let all = wish("KEYRACK_RESUME_ALL").is_some();
    let ways: &[Way] = if case.key == StartKey::Blank && case.boots == Boots::AndWaits {
        // The devices have the time to make a key before the station is back.
        &[Way::Station, Way::Devices, Way::Both, Way::BothLate]
    } else {
        &[Way::Station, Way::Devices, Way::Both]
    };
    let (mut cuts, mut left_out) = (Vec::new(), 0);
    for (n, at) in passed.iter().enumerate() {
        if !all && at.follows && matches!(at.point, Point::Transfer(_, When::Before)) {
            left_out += ways.len();
            continue;
        }
        let reads = matches!(at.point, Point::Transfer(..)) && !at.writes;
        let amid = reads
            && at.follows
            && passed
                .get(n + 1)
                .is_some_and(|next| matches!(next.point, Point::Transfer(..)));
        for (m, way) in ways.iter().enumerate() {
            if amid && !all && !(n / 2 + m + turn).is_multiple_of(ways.len()) {
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

/// What is wished of the matrix, for a look at a part of it: `KEYRACK_RESUME` (a part of the name of combinations),
/// `KEYRACK_RESUME_EVERY` (each nth cut), `KEYRACK_RESUME_ALL`.
#[expect(clippy::disallowed_methods, reason = "a test has no other way to be told something")]
pub(crate) fn wish(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where a run is cut.
pub(crate) const KINDS: [&str; 4] = ["records", "transfers", "writes half-way", "cloud calls"];
/// So many racks have the power cut in the middle of each write.
const DRAWS: u64 = 6;
