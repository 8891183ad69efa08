//! What is repaired: a device of each family, in each starting state and in each kind of hands, and, written by hand, what
//! must come of it when nothing goes wrong.

use std::fmt;

use keyrack::model::{Platform, Verdict, diagnosis::Flow, recipe::Work};

/// One device that needs a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) platform: Platform,
    pub(crate) work: Work,
    pub(crate) start: Start,
    pub(crate) hands: Hands,
    pub(crate) guard: Guard,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Its key is good, and the cloud does not know it.
    Good,
    /// Its key is good, and the cloud knows it; this station knows nothing of either.
    Known,
    Blank,
    Corrupt,
    /// A good RSA pair in an encoding that the device misreads; nobody knows of it.
    Misread,
    /// The same, and the cloud accepted the pair from this very station.
    MisreadKnown,
    /// It cannot be told what the slot holds.
    AllZero,
    /// The cloud knows its key, and it trusts another server.
    OtherServer,
    /// The cloud knows its key, and it looks for it where nobody is.
    Elsewhere,
    /// The cloud takes it for a device of another platform.
    Mismatched,
    /// It is in a product from which devices are moved; the cloud does not know its key.
    Misplaced,
    /// The same, without a key.
    MisplacedBlank,
    /// Its key is good, and another one is the last that the cloud accepted from this station: the pair that is given.
    Outdated,
    /// The same, without a key.
    Emptied,
    /// Its key is good, and the pair that is given is its own.
    Held,
}

/// Whether it is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    Open,
    /// It is protected, and the recipe sets such devices aside.
    Aside,
    /// It is protected, and the recipe lets it into Service Mode.
    Serviced,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hands {
    /// Nobody's, in the product.
    Nobody,
    /// The station's account's, in the product.
    Account,
    /// Somebody's of the team, in the product.
    Team,
    /// The station's account's, in no product.
    Development,
    /// A customer's of the product.
    Customer,
    /// Somebody else's, in the product.
    Stranger,
}

/// How a repair comes out when nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calm {
    pub(crate) verdict: Verdict,
    pub(crate) code: Option<&'static str>,
    pub(crate) flow: Option<Flow>,
    /// The device holds the key of the start in the end.
    pub(crate) keeps_key: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?} {:?}", self.platform, self.work, self.start, self.hands)?;
        match self.guard {
            Guard::Open => Ok(()),
            guard => write!(f, " {guard:?}"),
        }
    }
}

impl Hands {
    /// The name of the owner in the cloud.
    pub(crate) fn owner(self) -> Option<&'static str> {
        match self {
            Self::Nobody => None,
            Self::Account | Self::Development => Some(ACCOUNT),
            Self::Team => Some(MATE),
            Self::Customer => Some(CUSTOMER),
            Self::Stranger => Some(STRANGER),
        }
    }
}

impl Case {
    /// Every combination that makes sense.
    pub(crate) fn all() -> Vec<Case> {
        [Platform::Photon, Platform::Argon, Platform::P2]
            .into_iter()
            .flat_map(|platform| {
                let mut all = Self::unguarded(platform);
                all.extend(Self::given());
                if platform.row().protection {
                    all.extend(Self::guarded());
                }
                all.into_iter().map(move |(work, start, hands, guard)| Case {
                    platform,
                    work,
                    start,
                    hands,
                    guard,
                })
            })
            .collect()
    }

    fn unguarded(platform: Platform) -> Vec<Combination> {
        use {Hands::*, Start::*};
        let mut all = Vec::new();
        let mut add = |work, start, hands| all.push((work, start, hands, Guard::Open));
        for start in [Good, Blank, Corrupt] {
            for hands in [Nobody, Account, Development, Customer] {
                add(Work::Mend, start, hands);
            }
        }
        add(Work::Mend, Good, Team);
        for hands in [Nobody, Account, Development, Customer] {
            add(Work::NewKey, Good, hands);
        }
        add(Work::Mend, OtherServer, Nobody);
        add(Work::Mend, Elsewhere, Customer);
        add(Work::ServerKey, OtherServer, Development);
        for start in [AllZero, Mismatched] {
            add(Work::Mend, start, Nobody);
        }
        for start in [Good, Blank] {
            add(Work::Mend, start, Stranger);
        }
        add(Work::Diagnose, Corrupt, Customer);
        for hands in [Nobody, Account, Customer] {
            add(Work::Mend, Misplaced, hands);
            add(Work::Mend, MisplacedBlank, hands);
        }
        if platform == Platform::Photon {
            for start in [Misread, MisreadKnown] {
                add(Work::Mend, start, Nobody);
                add(Work::Mend, start, Customer);
            }
        }
        all
    }

    /// A pair is handed to the station, which has it in its memory alone.
    fn given() -> Vec<Combination> {
        use {Hands::*, Start::*};
        let all = [
            (Good, Nobody),
            (Good, Account),
            (Good, Development),
            (Good, Customer),
            (Blank, Nobody),
            (Blank, Customer),
            (Corrupt, Account),
            (Outdated, Nobody),
            (Outdated, Customer),
            (Emptied, Customer),
            (Held, Nobody),
            (Held, Customer),
        ];
        all.map(|(start, hands)| (Work::GivenKey, start, hands, Guard::Open)).into()
    }

    /// Protected devices.
    fn guarded() -> Vec<Combination> {
        use {Hands::*, Start::*};
        let mut all = vec![(Work::Mend, Good, Nobody, Guard::Aside)];
        let mut add = |work, start, hands| all.push((work, start, hands, Guard::Serviced));
        for hands in [Nobody, Account, Team, Development, Customer, Stranger] {
            add(Work::Mend, Known, hands);
        }
        for hands in [Nobody, Account, Development, Customer] {
            add(Work::NewKey, Known, hands);
        }
        for hands in [Nobody, Customer] {
            add(Work::Mend, Elsewhere, hands);
        }
        add(Work::ServerKey, Elsewhere, Development);
        for start in [Good, Blank, Corrupt, OtherServer] {
            add(Work::Mend, start, Nobody);
        }
        for hands in [Nobody, Account, Customer] {
            add(Work::Mend, Misplaced, hands);
        }
        add(Work::Diagnose, Known, Customer);
        add(Work::GivenKey, Known, Nobody);
        all
    }

    /// How it comes out when nothing goes wrong: by hand, from ARCHITECTURE.md 4 and cloud-api.md 5.
    pub(crate) fn calm(&self) -> Calm {
        use {Hands::*, Start::*};
        let no = |verdict, code| Calm {
            verdict,
            code: Some(code),
            flow: None,
            keeps_key: true,
        };
        let mends = |flow, keeps_key| Calm {
            verdict: Verdict::Pass,
            code: None,
            flow: Some(flow),
            keeps_key,
        };
        match (self.guard, self.start) {
            (Guard::Aside, _) => return no(Verdict::Fail, "protected"),
            // Without a key that the cloud knows, or with another server, nobody can open it (device-protocol.md 2.9).
            (Guard::Serviced, Good) => return no(Verdict::Fail, "service-key-unknown"),
            (Guard::Serviced, Blank | Corrupt) => return no(Verdict::Fault, "service-refused"),
            (Guard::Serviced, OtherServer) => return no(Verdict::Fail, "service-server-key"),
            _ => {}
        }
        match (self.work, self.start, self.hands) {
            (_, AllZero, _) => no(Verdict::Fault, "key-unreadable"),
            (_, Mismatched, _) => no(Verdict::Fail, "import-invalid"),
            (_, _, Stranger) => no(Verdict::Fail, "owner-foreign"),
            (Work::Diagnose, ..) => Calm {
                flow: Some(Flow::Customer),
                ..no(Verdict::Fail, if self.start == Known { "key-unknown" } else { "key-corrupt" })
            },
            // Nobody has to give anything for it: the key, which the cloud may not know either, is registered on the way.
            (Work::Mend, OtherServer | Elsewhere, Nobody) => mends(Flow::ProductUnclaimed, true),
            (_, OtherServer | Elsewhere, _) => mends(Flow::ServerKey, true),
            (_, Misplaced, _) => mends(Flow::Move, true),
            (_, MisplacedBlank, _) => mends(Flow::Move, false),
            (_, MisreadKnown, _) => mends(Flow::Rewrite, true),
            // The cloud accepted it already: it is written, and no permission is needed.
            (_, Outdated | Emptied, _) => mends(Flow::Restore, false),
            // A customer's device cannot prove a permission with its present key.
            (Work::NewKey, _, Customer) | (Work::GivenKey, Good, Customer) => no(Verdict::Fail, "key-unknown"),
            (work, start, hands) => {
                let flow = match hands {
                    Nobody => Flow::ProductUnclaimed,
                    Account | Team => Flow::ProductAccount,
                    Development => Flow::Development,
                    Customer | Stranger => Flow::Customer,
                };
                mends(
                    flow,
                    work == Work::Mend && matches!(start, Good | Known | Misread) || start == Held,
                )
            }
        }
    }

    /// True if the device has a key at the start that may be read.
    pub(crate) fn has_key(&self) -> bool {
        !matches!(
            self.start,
            Start::Blank | Start::MisplacedBlank | Start::Emptied | Start::Corrupt | Start::AllZero
        )
    }

    /// True if this repair puts another key in the place of a valid one that it proves before.
    pub(crate) fn replaces(&self) -> bool {
        self.has_key() && !self.calm().keeps_key && self.calm().flow != Some(Flow::Restore)
    }

    /// True if this repair moves the device to another product.
    pub(crate) fn moves(&self) -> bool {
        self.calm().flow == Some(Flow::Move)
    }

    /// True if this repair takes the device from its owner and gives it back.
    pub(crate) fn releases(&self) -> bool {
        let flow = self.calm().flow;
        flow == Some(Flow::Customer) && self.work != Work::Diagnose || flow == Some(Flow::Move) && self.hands != Hands::Nobody
    }
}

type Combination = (Work, Start, Hands, Guard);

/// Where devices are moved to, and from.
pub(crate) const NEW_PRODUCT: u32 = 901;
pub(crate) const OLD_PRODUCT: u32 = 902;
pub(crate) const ACCOUNT: &str = "operator@bench.test";
pub(crate) const MATE: &str = "second@bench.test";
pub(crate) const CUSTOMER: &str = "ann@home.test";
/// Another customer of the product.
pub(crate) const OTHER: &str = "bob@home.test";
const STRANGER: &str = "who@where.test";
