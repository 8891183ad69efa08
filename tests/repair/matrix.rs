//! The list of all that goes wrong in a case, and what came of it.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use keyrack::model::Verdict;

use crate::{
    case::Case,
    harm::{Harm, Ill, Kind, Point, Way},
    run::run,
    witness::Wrong,
};

/// What came of all repairs.
#[derive(Default)]
pub(crate) struct Total {
    pub(crate) harms: BTreeMap<String, usize>,
    pub(crate) points: usize,
    left_out: usize,
    pub(crate) wrong: Vec<Wrong>,
    verdicts: BTreeMap<String, usize>,
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: &BTreeMap<String, usize>| {
            map.iter()
                .map(|(kind, n)| format!("{n} {kind}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (harms, ends) = (list(&self.harms), list(&self.verdicts));
        write!(f, "{} points ({} left out): {harms}; {ends}", self.points, self.left_out)
    }
}

/// Harms a case everywhere.
pub(crate) fn matrix(case: &Case, turn: usize, total: &Mutex<Total>) {
    let prepared = case.prepare(1);
    let calm = run(case, &prepared, None, None);
    let (list, left_out) = harms(case, turn, &calm.passed);
    {
        let mut total = total.lock().unwrap();
        total.left_out += left_out;
        if !calm.wrong.is_empty() {
            total.wrong.push((format!("{case}: nothing"), calm.wrong, calm.story));
            return;
        }
    }
    for (harm, kind) in list {
        let mut outcome = run(case, &prepared, Some(harm), kind);
        if !outcome.struck {
            outcome.wrong.push("it never went wrong".to_owned());
        }
        let mut total = total.lock().unwrap();
        total.points += 1;
        *total.harms.entry(word(harm)).or_default() += 1;
        let verdict = outcome.verdict.map_or("none".to_owned(), |v| v.to_string());
        *total.verdicts.entry(verdict).or_default() += 1;
        if !outcome.wrong.is_empty() {
            let name = format!("{case}: {harm:?} {}", kind.map_or(String::new(), |kind| format!("{kind:?}")));
            total.wrong.push((name, outcome.wrong, outcome.story));
        }
    }
}

/// The kind of a harm.
pub(crate) fn word(harm: Harm) -> String {
    match harm {
        Harm::Record(_, way) => format!("{way:?}").to_lowercase(),
        Harm::Call(_, ill) => format!("{ill:?}").to_lowercase(),
    }
}

/// Everything that goes wrong in a case, and how much of it is left out.
///
/// Left out is this, and nothing else. Whatever befalls a device at a record besides a cut of the station is tried at each
/// third record in turn, and neighbouring cases begin with different ones: `KEYRACK_REPAIR_ALL=1` leaves nothing out.
fn harms(case: &Case, turn: usize, passed: &[Point]) -> (Vec<(Harm, Option<Kind>)>, usize) {
    let all = wish("KEYRACK_REPAIR_ALL").is_some();
    let (mut harms, mut left_out) = (Vec::new(), 0);
    for (n, point) in passed.iter().enumerate() {
        match *point {
            Point::Record(seq) => {
                harms.push((Harm::Record(seq, Way::Station), None));
                for (m, way) in [Way::Both, Way::Away].into_iter().enumerate() {
                    if all || (n + m + turn).is_multiple_of(3) {
                        harms.push((Harm::Record(seq, way), None));
                    } else {
                        left_out += 1;
                    }
                }
            }
            Point::Call(number, kind) => {
                let ills = Ill::ALL.into_iter().filter(|ill| befalls(case, *ill, kind));
                harms.extend(ills.map(|ill| (Harm::Call(number, ill), Some(kind))));
            }
        }
    }
    // For a quick look: each nth harm only.
    let every = wish("KEYRACK_REPAIR_EVERY").and_then(|n| n.parse().ok()).unwrap_or(1);
    let count = harms.len();
    let harms: Vec<_> = harms.into_iter().skip(turn % every).step_by(every).collect();
    left_out += count - harms.len();
    (harms, left_out)
}

/// True if this can happen to a device in these hands.
fn befalls(case: &Case, ill: Ill, kind: Kind) -> bool {
    use crate::case::Hands;
    match ill {
        // Between the look and the release after it nobody can make sure of anything: the cloud knows no condition.
        Ill::PassedOn => case.hands == Hands::Customer && !case.moves() && kind != Kind::Release,
        // Before it is known whose it is, that is only another case.
        Ill::Snatched if case.hands == Hands::Nobody && !case.moves() => case.calm().verdict == Verdict::Pass && !kind.looks(),
        // Before the look that comes before its removal; once it is in no product nobody can claim it, for it is offline.
        Ill::Snatched if case.hands == Hands::Nobody => kind == Kind::LookInList,
        Ill::Snatched => case.releases() && !case.moves(),
        Ill::LostThenRefused => matches!(kind, Kind::Release | Kind::Remove | Kind::Import | Kind::Upload | Kind::Claim),
        _ => true,
    }
}

/// What is wished of the matrix, for a look at a part of it: `KEYRACK_REPAIR` (a part of the name of cases),
/// `KEYRACK_REPAIR_EVERY` (each nth harm), `KEYRACK_REPAIR_ALL`.
#[expect(clippy::disallowed_methods, reason = "a test has no other way to be told something")]
pub(crate) fn wish(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
