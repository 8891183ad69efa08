//! How a repair may end when something goes wrong, by hand: from ARCHITECTURE.md 4 and cloud-api.md 5.4, never from a run.

use keyrack::model::{Verdict, recipe::Work};

use crate::{
    case::{Case, Guard, Hands, OTHER, Start},
    harm::{Harm, Ill, Kind, Way},
};

/// How it may end, and whose the device is then.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    pub(crate) how: Vec<(Verdict, Option<&'static str>)>,
    pub(crate) owner: Option<String>,
    /// The device was met again after it was judged, and is diagnosed anew.
    pub(crate) again: bool,
}

/// What is known of the harm besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Struck {
    /// What the call was for.
    pub(crate) kind: Option<Kind>,
    /// The device had been released from its owner by then.
    pub(crate) late: bool,
    /// Somebody else got the device.
    pub(crate) taken: bool,
    /// The device made a key by itself.
    pub(crate) made: bool,
    /// Another run came after the one that was to end so.
    pub(crate) over: bool,
}

/// Everything that may come of it.
pub(crate) fn ends(case: &Case, owner: Option<&str>, harm: Option<Harm>, struck: Struck) -> Ends {
    let mut ends = first_ends(case, owner, harm, struck);
    ends.again = struck.over;
    if struck.made && case.work == Work::GivenKey && case.hands == Hands::Customer {
        // It has a key by now, whose permission a customer's device cannot prove.
        ends.how.push((Verdict::Fail, Some("key-unknown")));
    }
    if ends.again {
        // A device that is in order by now, and is met again, has nothing to be mended.
        ends.how.push((Verdict::Fail, Some("not-keys")));
    }
    ends
}

fn first_ends(case: &Case, owner: Option<&str>, harm: Option<Harm>, struck: Struck) -> Ends {
    let calm = (case.calm().verdict, case.calm().code);
    let ends = |how: &[(Verdict, Option<&'static str>)]| Ends {
        how: how.to_vec(),
        owner: owner.map(str::to_owned),
        again: false,
    };
    let unreachable = (Verdict::Fault, Some("cloud-unreachable"));
    let denied = (Verdict::Fault, Some("cloud-denied"));
    let unknown = (Verdict::Fault, Some("customer-unknown"));
    let foreign = (Verdict::Fail, Some("owner-foreign"));
    let lost = (Verdict::Quarantined, Some("claim-lost"));
    let unsure = (Verdict::Quarantined, Some("state-unknown"));
    let owed = (Verdict::Owed, Some("cloud-unreachable"));
    let absent = (Verdict::Fault, Some("given-key-absent"));
    let ill = match harm {
        Some(Harm::Call(_, ill)) => ill,
        Some(Harm::Record(_, Way::Station | Way::Both) | Harm::Write(_, Way::Both, _)) if case.work == Work::GivenKey => {
            // It was in the memory of the station that was cut.
            let torn = matches!(harm, Some(Harm::Write(..))) && case.guard == Guard::Serviced;
            let may = [calm, absent, unsure];
            return ends(if torn { &may } else { &may[..2] });
        }
        // The power took Service Mode along: one that holds no key cannot sign to be let in again (device-protocol.md 2.9).
        Some(Harm::Write(..)) if case.guard == Guard::Serviced => return ends(&[calm, unsure]),
        // A torn key is replaced by a new one, and nothing was prepared to register one: the old content is back then.
        Some(Harm::Write(..)) if case.start == Start::MisreadKnown && case.hands == Hands::Customer => {
            return ends(&[calm, (Verdict::RolledBack, Some("rolled-back-refused"))]);
        }
        // It was taken out before it showed that it is protected again.
        Some(Harm::Record(_, Way::Away)) if case.guard == Guard::Serviced => {
            return ends(&[calm, (Verdict::Fail, Some("not-protected-again"))]);
        }
        Some(Harm::Record(..) | Harm::Write(..)) | None => return ends(&[calm]),
    };
    match (ill, struck.kind) {
        // The station asks again, and what was done already it does not do twice.
        (Ill::Cut, _) if case.work == Work::GivenKey => ends(&[calm, absent]),
        (Ill::Cut | Ill::LostBefore | Ill::LostAfter | Ill::TooMany | Ill::Unavailable, _) => ends(&[calm]),
        // Nobody waits so long, unless the device has a new key: it is held. Whatever was begun in the cloud is brought to
        // its end.
        (Ill::Outage, Some(Kind::Revoke)) => ends(&[calm]),
        (Ill::Outage, Some(Kind::Claim | Kind::LookInProduct | Kind::Attributes)) if struck.late => ends(&[owed]),
        (Ill::Outage, _) if !case.calm().keeps_key || case.start == Start::Misread => ends(&[unreachable, calm]),
        (Ill::Outage, _) => ends(&[unreachable]),
        // The next station has another token; a customer's is asked for again.
        (Ill::Spent, _) => ends(&[calm, (Verdict::Fault, Some("cloud-auth"))]),
        // Whoever owns the device when it is looked at gets it back. When somebody else has it by the time it is taken,
        // it is not taken.
        (Ill::PassedOn, _) if struck.taken => Ends {
            owner: Some(OTHER.to_owned()),
            ..ends(&[calm, foreign, unknown])
        },
        // In the gap: an alarm, and never a request for its transfer. One that was nobody's is not registered any more.
        (Ill::Snatched, _) if struck.taken && case.moves() => Ends {
            owner: Some(OTHER.to_owned()),
            ..ends(&[calm, foreign])
        },
        (Ill::Snatched, _) if struck.taken && case.releases() => Ends {
            owner: Some(OTHER.to_owned()),
            ..ends(&[lost])
        },
        (Ill::Snatched, _) if struck.taken => Ends {
            owner: Some(OTHER.to_owned()),
            ..ends(&[calm, denied, (Verdict::RolledBack, Some("rolled-back-refused"))])
        },
        (Ill::Snatched | Ill::PassedOn, _) => ends(&[calm]),
        // A new key that may be in the cloud is never rolled back, and nobody can tell; the present one is only refused.
        (Ill::LostThenRefused, Some(Kind::Upload)) if case.replaces() => ends(&[denied, unsure]),
        (Ill::LostThenRefused, Some(Kind::Upload)) if !case.calm().keeps_key || case.start == Start::Misread => ends(&[unsure]),
        (Ill::LostThenRefused, Some(Kind::Upload)) => ends(&[denied]),
        // The look finds that it is so already.
        (Ill::LostThenRefused, _) => ends(&[calm]),
        (Ill::Refused, Some(Kind::Unprotect)) => ends(&[(Verdict::Fault, Some("service-refused"))]),
        (Ill::Refused, Some(Kind::CustomerToken)) => ends(&[(Verdict::Fault, Some("customer-client"))]),
        (Ill::Refused, Some(Kind::Claim)) => Ends {
            owner: None,
            ..ends(&[lost])
        },
        // Neither product takes it: an alarm.
        (Ill::Refused, Some(Kind::Import)) => Ends {
            owner: None,
            ..ends(&[(Verdict::Quarantined, Some("move-lost"))])
        },
        (Ill::Refused, Some(Kind::Revoke | Kind::Attributes)) => ends(&[calm]),
        // It was released and may not be looked at before it is removed: it stays in its product, and goes back to its owner.
        (Ill::Refused, Some(Kind::LookInList)) if struck.late && case.moves() => ends(&[denied, calm]),
        // The device is its owner's again by then: only the last look at its name is missing.
        (Ill::Refused, Some(kind)) if kind.looks() && struck.late => ends(&[calm]),
        // Whose it is cannot be told.
        (Ill::Refused, Some(Kind::LookAtTeam)) if !case.moves() => ends(&[foreign]),
        (Ill::Refused, Some(kind)) if kind.looks() && calm.0 != Verdict::Pass => ends(&[denied, foreign, calm]),
        (Ill::Refused, Some(kind)) if kind.looks() && case.moves() => {
            let mut may = vec![denied, foreign, calm, (Verdict::Fail, Some("import-invalid"))];
            // Nor where it is: the product of the recipe is asked to open it.
            may.extend((case.guard == Guard::Serviced).then_some((Verdict::Fault, Some("service-refused"))));
            ends(&may)
        }
        (Ill::Refused, Some(kind)) if kind.looks() => ends(&[denied, foreign]),
        (Ill::Refused, Some(Kind::Upload)) if case.replaces() => {
            ends(&[denied, (Verdict::RolledBack, Some("rolled-back-refused"))])
        }
        (Ill::Refused, _) => ends(&[denied]),
    }
}
