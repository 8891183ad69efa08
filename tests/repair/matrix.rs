//! The list of all that goes wrong in a case, and what came of it.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use keyrack::model::{Verdict, recipe::Work};

use crate::{
    case::Case,
    harm::{Harm, Ill, Kind, Point, Way},
    prepare::Prepared,
    run::run,
    witness::Wrong,
};

/// What came of all repairs.
#[derive(Default)]
pub(crate) struct Total {
    pub(crate) harms: BTreeMap<String, usize>,
    pub(crate) points: usize,
    pub(crate) left_out: usize,
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
    let mut racks: BTreeMap<u64, Prepared> = BTreeMap::from([(0, case.prepare(1))]);
    let calm = run(case, &racks[&0], None, None);
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
        let rack = match harm {
            Harm::Write(_, _, draw) => draw,
            Harm::Record(..) | Harm::Call(..) => 0,
        };
        let prepared = racks.entry(rack).or_insert_with(|| case.prepare(1 + rack));
        let mut outcome = run(case, prepared, Some(harm), kind);
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
        Harm::Write(_, way, _) => format!("{way:?} in a write").to_lowercase(),
        Harm::Call(_, ill) => format!("{ill:?}").to_lowercase(),
    }
}

/// What goes wrong in a case, and how much of it is left out: of all that can, each [`EACH`]th, and neighbouring cases begin
/// with different ones. The run of another seed takes others, and so many seeds take all of them.
fn harms(case: &Case, turn: usize, passed: &[Point]) -> (Vec<(Harm, Option<Kind>)>, usize) {
    let mut harms = Vec::new();
    for point in passed {
        match *point {
            Point::Record(seq) => {
                let ways = [Way::Station, Way::Both, Way::Away, Way::Anew];
                let ways = ways
                    .into_iter()
                    .filter(|way| *way != Way::Anew || case.work == Work::GivenKey);
                harms.extend(ways.map(|way| (Harm::Record(seq, way), None)));
            }
            Point::Call(number, kind) => {
                let ills = Ill::ALL.into_iter().filter(|ill| befalls(case, *ill, kind));
                harms.extend(ills.map(|ill| (Harm::Call(number, ill), Some(kind))));
            }
            Point::Write(number) => {
                let ways = [Way::Device, Way::Both];
                harms.extend(
                    ways.iter()
                        .flat_map(|way| (0..DRAWS).map(|draw| (Harm::Write(number, *way, draw), None))),
                );
            }
        }
    }
    let number = |name| wish(name).and_then(|n| n.parse().ok());
    let each = match wish("KEYRACK_REPAIR_ALL") {
        Some(_) => 1,
        None => number("KEYRACK_REPAIR_EVERY").unwrap_or(EACH),
    };
    let first = (turn + number("KEYRACK_REPAIR_SEED").unwrap_or(0)) % each;
    let count = harms.len();
    let harms: Vec<_> = harms.into_iter().skip(first).step_by(each).collect();
    let left_out = count - harms.len();
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
/// `KEYRACK_REPAIR_EVERY` (each nth harm), `KEYRACK_REPAIR_SEED` (which ones of them), `KEYRACK_REPAIR_ALL` (all of them).
#[expect(clippy::disallowed_methods, reason = "a test has no other way to be told something")]
pub(crate) fn wish(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Each so many-th of all harms are tried, unless others or all are wished for.
const EACH: usize = 7;
/// So many racks have the power cut in the middle of each write.
const DRAWS: u64 = 3;
