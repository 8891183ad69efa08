//! What is repaired: a device of each family, in each starting state and in each kind of hands, and, written by hand, what
//! must come of it when nothing goes wrong.

use std::{fmt, sync::Arc, time::Duration};

use keyrack::{
    cli::rig::{Options, Rig, Stored},
    edge::{Clock, Entropy},
    keys::classify,
    model::{
        DeviceId, Fact, Fingerprint, Platform, PortPath, ProductId, RunId, SlotNo, StationId, StepKind, Verdict,
        diagnosis::Flow,
        fact::{Identity, Protection},
        outbox::{Answer, Errand, Item, ItemId},
        platform::UsbMode,
        recipe::{Aim, KeyPolicy, Repair, Work},
    },
    sim::{
        clock::VirtualClock,
        cloud::{Attributes, StandIn},
        device::Timing,
        world::{World, scenario::Scenario},
    },
    store::{self, Durability, Store},
};

use crate::{
    bench::Bench,
    witness::{Seeded, private_slot},
};

/// One device that needs a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) platform: Platform,
    pub(crate) work: Work,
    pub(crate) start: Start,
    pub(crate) hands: Hands,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Its key is good, and the cloud does not know it.
    Good,
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
    Protected,
    /// It is in a product from which devices are moved; the cloud does not know its key.
    Misplaced,
    /// The same, without a key.
    MisplacedBlank,
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
        write!(f, "{} {:?} {:?} {:?}", self.platform, self.work, self.start, self.hands)
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
        use {Hands::*, Start::*};
        let mut cases = Vec::new();
        for platform in [Platform::Photon, Platform::Argon, Platform::P2] {
            let mut add = |work, start, hands| {
                cases.push(Case {
                    platform,
                    work,
                    start,
                    hands,
                });
            };
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
            for start in [AllZero, Mismatched, Protected] {
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
                add(Work::Mend, Misread, Nobody);
                add(Work::Mend, Misread, Customer);
                add(Work::Mend, MisreadKnown, Nobody);
                add(Work::Mend, MisreadKnown, Customer);
            }
        }
        cases
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
        match (self.work, self.start, self.hands) {
            (_, AllZero, _) => no(Verdict::Fault, "key-unreadable"),
            (_, Mismatched, _) => no(Verdict::Fail, "import-invalid"),
            (_, Protected, _) => no(Verdict::Fail, "protected"),
            (_, _, Stranger) => no(Verdict::Fail, "owner-foreign"),
            (Work::Diagnose, ..) => Calm {
                flow: Some(Flow::Customer),
                ..no(Verdict::Fail, "key-corrupt")
            },
            // Nobody has to give anything for it: the key, which the cloud may not know either, is registered on the way.
            (Work::Mend, OtherServer, Nobody) => mends(Flow::ProductUnclaimed, true),
            (_, OtherServer | Elsewhere, _) => mends(Flow::ServerKey, true),
            (_, Misplaced, _) => mends(Flow::Move, true),
            (_, MisplacedBlank, _) => mends(Flow::Move, false),
            (_, MisreadKnown, _) => mends(Flow::Rewrite, true),
            // A customer's device cannot prove a permission with its present key.
            (Work::NewKey, _, Customer) => no(Verdict::Fail, "key-unknown"),
            (work, start, hands) => {
                let flow = match hands {
                    Nobody => Flow::ProductUnclaimed,
                    Account | Team => Flow::ProductAccount,
                    Development => Flow::Development,
                    Customer | Stranger => Flow::Customer,
                };
                mends(flow, work == Work::Mend && matches!(start, Good | Misread))
            }
        }
    }

    /// True if the device has a key at the start that may be read.
    pub(crate) fn has_key(&self) -> bool {
        !matches!(
            self.start,
            Start::Blank | Start::MisplacedBlank | Start::Corrupt | Start::AllZero
        )
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

    fn scenario(&self, seed: u64) -> Scenario {
        let key = match self.start {
            Start::Blank | Start::MisplacedBlank => "blank",
            Start::Corrupt => "corrupt",
            Start::AllZero => "all-zero",
            Start::Misread | Start::MisreadKnown => "misread",
            _ => "good",
        };
        let server = match self.start {
            Start::OtherServer => "other-key",
            Start::Elsewhere => "elsewhere",
            _ => "stand-in",
        };
        let mut text = format!(
            "about = \"a repair\"\nseed = {seed}\n[[slot]]\nnumber = 1\nplatform = \"{}\"\nkey = \"{key}\"\nserver = \"{server}\"\n\
             name = \"kitchen\"\nnotes = \"of ours\"\n",
            self.platform
        );
        if let Some(owner) = self.hands.owner() {
            text += &format!("owner = \"{owner}\"\n");
        }
        if self.moves() {
            text += &format!("in-product = {OLD_PRODUCT}\ngroups = [\"eu\"]\n");
        } else if self.hands != Hands::Development {
            text += "imported = true\ngroups = [\"eu\"]\n";
        }
        if self.start == Start::Protected {
            text += "protected = true\n";
        }
        if matches!(self.start, Start::OtherServer | Start::Elsewhere) {
            text += "registered = \"present\"\n";
        }
        if self.moves() {
            for (id, slug) in [(NEW_PRODUCT, "new"), (OLD_PRODUCT, "old")] {
                let platform = self.platform;
                text += &format!("[[cloud.product]]\nid = {id}\nslug = \"{slug}\"\nplatform = \"{platform}\"\n");
            }
        }
        text += &format!(
            "[cloud]\nowner = \"{ACCOUNT}\"\nteam = [\"{MATE}\"]\ncustomers = [\"{CUSTOMER}\", \"{OTHER}\"]\n\
             [[expect]]\nslot = 1\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = 1\n"
        );
        Scenario::parse(&text).unwrap()
    }

    pub(crate) fn options(&self) -> Options {
        let ms = Duration::from_millis;
        Options {
            aim: Aim::Repair(Repair {
                work: self.work,
                from: if self.moves() {
                    vec![ProductId(OLD_PRODUCT.to_string())]
                } else {
                    Vec::new()
                },
                reference: None,
            }),
            keys: match self.work {
                Work::NewKey => KeyPolicy::Generate,
                _ => KeyPolicy::ReadOrGenerate,
            },
            firmware: false,
            prove: false,
            timing: Some(Timing {
                // A device that loses its power makes no key before it is met again.
                cloud_init: ms(60_000),
                ..Timing::instant()
            }),
            ..Options::default()
        }
    }

    /// The rack of this case, ready to be set up again and again.
    pub(crate) fn prepare(&self, seed: u64) -> Prepared {
        let entropy: Arc<dyn Entropy> = Arc::new(Seeded::new(seed));
        VirtualClock::run(|clock| {
            let world = World::on_virtual_clock(clock);
            let mut rig = Rig::build(self.scenario(seed), world, Arc::clone(&entropy), &self.options()).unwrap();
            let (device, start) = rig.start.iter().next().map(|(id, start)| (*id, start.clone())).unwrap();
            if self.start == Start::Mismatched {
                rig.cloud = mistaken(&rig.cloud, clock, &entropy, device);
            }
            // The model reads as the device does, and misreads this one.
            let content = classify(&private_slot(self.platform, &start.dct), self.platform.key_kind()).0;
            let spki = start.spki.or_else(|| content.key().map(|key| key.spki.clone()));
            if self.start == Start::MisreadKnown {
                assert!(rig.cloud.made_with(device, spki.as_ref().unwrap()));
            }
            Prepared {
                device,
                place: rig.cloud.place(device).unwrap(),
                attributes: rig.cloud.attributes(device).unwrap(),
                dct: start.dct,
                spki,
                rack: rig.store(),
                seed,
            }
        })
    }

    /// Brings a ledger to where the repair begins.
    pub(crate) fn begin(&self, prepared: &Prepared, bench: &Bench) {
        if self.start != Start::MisreadKnown {
            return;
        }
        let (device, wall) = (prepared.device, bench.clock.wall());
        let content = classify(&private_slot(self.platform, &prepared.dct), self.platform.key_kind()).0;
        let (key, run) = (content.key().unwrap().clone(), RunId::new(wall, [1; 10]));
        let product = prepared.place.0.map(|product| ProductId(product.to_string()));
        let item = Item {
            id: ItemId::key(run, key.fingerprint),
            run,
            device,
            product,
            errand: Errand::Key { key },
            after: None,
        };
        let facts = [
            Fact::RecipeRecorded {
                hash: Fingerprint([7; 32]),
                name: "before".into(),
                text: "name = \"before\"".into(),
            },
            Fact::DeviceSeen {
                slot: SlotNo(1),
                port: PortPath::new("pci-0000:00:14.0", [9]),
                identity: Identity::bare(device, self.platform, UsbMode::Dfu, Protection::Open),
            },
            Fact::RunStarted {
                run,
                device,
                slot: SlotNo(1),
                recipe: Fingerprint([7; 32]),
                plan: vec![StepKind::ReadKey, StepKind::Register],
                operator: None,
                work_order: None,
                reference: None,
                accepted: None,
            },
            Fact::KeyRead { run, device, content },
            Fact::ItemQueued { item: item.clone() },
            Fact::ItemSent {
                item: item.id.clone(),
                attempt: 1,
            },
            Fact::ItemAnswered {
                item: item.id,
                attempt: 1,
                answer: Answer::Accepted {
                    at: Some(wall),
                    note: None,
                },
            },
            Fact::RunEnded {
                run,
                device,
                verdict: Verdict::Pass,
                code: None,
                why: "registered".into(),
                proved: false,
            },
        ];
        let durability = Durability::UnsafeForTests;
        let mut store = Store::open(&bench.ledger, StationId("rig".into()), store::Options { durability }).unwrap();
        store.append(wall, &facts).unwrap();
    }
}

/// A rack that is ready to be set up.
pub(crate) struct Prepared {
    pub(crate) rack: Stored,
    pub(crate) device: DeviceId,
    /// Product and owner in the cloud.
    pub(crate) place: (Option<u32>, Option<String>),
    /// What people wrote about it there.
    pub(crate) attributes: Attributes,
    pub(crate) dct: Vec<u8>,
    pub(crate) spki: Option<Vec<u8>>,
    pub(crate) seed: u64,
}

/// The same cloud, which takes the device for one of another platform.
fn mistaken(cloud: &StandIn, clock: &VirtualClock, entropy: &Arc<dyn Entropy>, device: DeviceId) -> StandIn {
    let mut state: serde_json::Value = serde_json::from_str(&cloud.to_json()).unwrap();
    let platform = &mut state["devices"][device.to_string()]["platform"];
    assert!(platform.is_u64(), "{platform}");
    *platform = Platform::Boron.id().into();
    StandIn::from_json(Arc::new(clock.clone()), Arc::clone(entropy), &state.to_string()).unwrap()
}

/// Where devices are moved to, and from.
pub(crate) const NEW_PRODUCT: u32 = 901;
pub(crate) const OLD_PRODUCT: u32 = 902;
pub(crate) const ACCOUNT: &str = "operator@bench.test";
pub(crate) const MATE: &str = "second@bench.test";
pub(crate) const CUSTOMER: &str = "ann@home.test";
/// Another customer of the product.
pub(crate) const OTHER: &str = "bob@home.test";
const STRANGER: &str = "who@where.test";
