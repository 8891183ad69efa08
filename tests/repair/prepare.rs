//! The rack of a case: its scenario, its recipe, what the ledger knows before, and the pair that is given.

use std::{sync::Arc, time::Duration};

use keyrack::{
    cli::rig::{Options, Rig, Stored},
    edge::{Clock, Entropy},
    keys::{PrivateKey, classify, encode},
    model::{
        DeviceId, Fact, Fingerprint, Platform, PortPath, ProductId, PublicKey, RunId, SlotNo, StationId, StepKind, Verdict,
        fact::{Identity, Protection},
        key::SlotContent,
        outbox::{Answer, Item},
        platform::UsbMode,
        recipe::{Aim, KeyPolicy, ProtectedPolicy, Repair, Work},
    },
    sim::{
        clock::VirtualClock,
        cloud::{Attributes, StandIn},
        device::Timing,
        world::{World, scenario::Scenario},
    },
    station::{GivenPair, Pairs},
    store::{self, Durability, Store},
};

use crate::{
    bench::Bench,
    case::{ACCOUNT, CUSTOMER, Case, Guard, Hands, MATE, NEW_PRODUCT, OLD_PRODUCT, OTHER, Start},
    witness::{Seeded, private_slot},
};

impl Case {
    fn scenario(&self, seed: u64) -> Scenario {
        let key = match self.start {
            Start::Blank | Start::MisplacedBlank | Start::Emptied => "blank",
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
        if self.guard != Guard::Open {
            text += "protected = true\n";
        }
        // Nobody opens a protected device whose key the cloud does not know.
        let opens = self.guard == Guard::Serviced && self.start == Start::Misplaced;
        if opens || matches!(self.start, Start::Known | Start::OtherServer | Start::Elsewhere) {
            text += "registered = \"present\"\n";
        }
        if self.moves() {
            for (id, slug) in [(NEW_PRODUCT, "new"), (OLD_PRODUCT, "old")] {
                let (platform, protected) = (self.platform, self.guard != Guard::Open);
                text += &format!(
                    "[[cloud.product]]\nid = {id}\nslug = \"{slug}\"\nplatform = \"{platform}\"\nprotected = {protected}\n"
                );
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
                Work::NewKey | Work::GivenKey => KeyPolicy::Generate,
                _ => KeyPolicy::ReadOrGenerate,
            },
            protected: match self.guard {
                Guard::Serviced => ProtectedPolicy::ServiceMode,
                Guard::Open | Guard::Aside => ProtectedPolicy::SetAside,
            },
            firmware: false,
            prove: false,
            timing: Some(Timing {
                // A device that loses its power makes no key before it is met again.
                cloud_init: ms(60_000),
                // Long enough to be cut in the middle.
                dct_write: ms(2),
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
            let prepared = Prepared {
                device,
                place: rig.cloud.place(device).unwrap(),
                attributes: rig.cloud.attributes(device).unwrap(),
                registered: rig.cloud.registered(device),
                given: self.pair(seed, &start.dct),
                dct: start.dct,
                spki,
                rack: rig.store(),
                seed,
            };
            match self.accepted(&prepared) {
                Some((key, _)) => {
                    assert!(rig.cloud.made_with(device, &key.spki));
                    Prepared {
                        registered: Some(key.spki),
                        rack: rig.store(),
                        ..prepared
                    }
                }
                None => prepared,
            }
        })
    }

    /// The pair that is given, as it stands in a slot.
    fn pair(&self, seed: u64, dct: &[u8]) -> Option<Vec<u8>> {
        let slot = private_slot(self.platform, dct);
        match (self.work, self.start) {
            (Work::GivenKey, Start::Held) => Some(slot),
            (Work::GivenKey, _) => {
                let pair = PrivateKey::generate(self.platform.key_kind(), &Seeded::new(seed + GIVEN));
                Some(encode(&pair, slot.len()).expose().clone())
            }
            _ => None,
        }
    }

    /// The key that the cloud accepted from this station before, with what the slot held then.
    fn accepted(&self, prepared: &Prepared) -> Option<(PublicKey, SlotContent)> {
        let slot = match self.start {
            Start::MisreadKnown => private_slot(self.platform, &prepared.dct),
            Start::Outdated | Start::Emptied => prepared.given.clone()?,
            _ => return None,
        };
        let content = classify(&slot, self.platform.key_kind()).0;
        Some((content.key()?.clone(), content))
    }

    /// Brings a ledger to where the repair begins.
    pub(crate) fn begin(&self, prepared: &Prepared, bench: &Bench) {
        let Some((key, content)) = self.accepted(prepared) else {
            return;
        };
        let (device, wall) = (prepared.device, bench.clock.wall());
        let run = RunId::new(wall, [1; 10]);
        let product = prepared.place.0.map(|product| ProductId(product.to_string()));
        let item = Item::upload(run, device, product, key);
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
    /// The key that the cloud has for it.
    pub(crate) registered: Option<Vec<u8>>,
    /// The private key that is given for it, as it stands in a slot.
    pub(crate) given: Option<Vec<u8>>,
    pub(crate) seed: u64,
}

impl Prepared {
    /// What a person hands over to the station.
    pub(crate) fn pairs(&self, platform: Platform) -> Pairs {
        let pair = |slot: &Vec<u8>| GivenPair {
            slot: SlotNo(1),
            device: None,
            pair: classify(slot, platform.key_kind()).1.unwrap(),
        };
        Pairs::new(self.given.iter().map(pair).collect(), None)
    }
}

/// The same cloud, which takes the device for one of another platform.
fn mistaken(cloud: &StandIn, clock: &VirtualClock, entropy: &Arc<dyn Entropy>, device: DeviceId) -> StandIn {
    let mut state: serde_json::Value = serde_json::from_str(&cloud.to_json()).unwrap();
    let platform = &mut state["devices"][device.to_string()]["platform"];
    assert!(platform.is_u64(), "{platform}");
    *platform = Platform::Boron.id().into();
    StandIn::from_json(Arc::new(clock.clone()), Arc::clone(entropy), &state.to_string()).unwrap()
}

/// What distinguishes the randomness of a given pair from that of the rack.
const GIVEN: u64 = 1 << 32;
