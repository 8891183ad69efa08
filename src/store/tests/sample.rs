//! Facts and ledgers to test with.

use std::collections::BTreeSet;

use tempfile::TempDir;

use crate::{
    model::{
        Code, DeviceId, Diagnosis, Fact, Fingerprint, Platform, PortPath, ProductId, PublicKey, Record, RunId, SlotNo, StationId,
        StepKind, Verdict, Wall,
        diagnosis::{Flow, Sureness, Trouble},
        fact::{Identity, Protection},
        key::{KeyLayout, SlotContent},
        outbox::{Answer, Errand, Item, ItemId},
        packet::{Manifest, PacketEnd, Proof, Unchecked, Voucher},
        platform::UsbMode,
        recipe::WorkOrder,
    },
    store::{Durability, Options, Reader, Store, fill},
};

pub(super) const RELAXED: Options = Options {
    durability: Durability::UnsafeForTests,
};

/// A ledger in a directory of its own.
pub(super) struct Bench {
    pub(super) dir: TempDir,
    pub(super) store: Store,
    clock: i64,
}

impl Bench {
    /// With the recipe recorded: one record is in the journal.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("ledger"), station(), RELAXED).unwrap();
        let mut bench = Self { dir, store, clock: 0 };
        bench.append(recipe());
        bench
    }

    /// Appends at the next second.
    pub(super) fn append(&mut self, fact: Fact) -> Record {
        let at = self.tick();
        self.store.append(at, &[fact]).unwrap().remove(0)
    }

    pub(super) fn all(&mut self, facts: impl IntoIterator<Item = Fact>) {
        for fact in facts {
            self.append(fact);
        }
    }

    pub(super) fn tick(&mut self) -> Wall {
        self.clock += 1;
        second(self.clock)
    }

    /// The runs that a start takes up.
    pub(super) fn open_runs(&self) -> BTreeSet<RunId> {
        self.store
            .open_records()
            .unwrap()
            .iter()
            .filter_map(|record| record.fact.run())
            .collect()
    }

    pub(super) fn reader(&self) -> Reader {
        Reader::open(self.store.dir()).unwrap()
    }

    /// Closes and opens it again.
    pub(super) fn reopen(self) -> Self {
        let Self { dir, store, clock } = self;
        drop(store);
        let store = Store::open(&dir.path().join("ledger"), station(), RELAXED).unwrap();
        Self { dir, store, clock }
    }

    #[track_caller]
    pub(super) fn verified(&self) {
        assert_eq!(self.reader().verify(&mut |_| {}).unwrap(), []);
    }
}

pub(super) fn station() -> StationId {
    StationId("bench-1".to_owned())
}

pub(super) fn second(n: i64) -> Wall {
    Wall::from_millis(1_795_428_000_000 + n * 1000).unwrap()
}

pub(super) fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 1, 2, 3, 4, 5, 6, 7, n])
}

pub(super) fn run(n: u8) -> RunId {
    RunId::new(second(i64::from(n)), [n; 10])
}

pub(super) fn key(n: u8) -> PublicKey {
    fill::public_key(&[n])
}

pub(super) fn hash(n: u8) -> Fingerprint {
    Fingerprint([n; 32])
}

pub(super) fn recipe() -> Fact {
    Fact::RecipeRecorded {
        hash: hash(0x5e),
        name: "boron".to_owned(),
        text: "name = \"boron\"".to_owned(),
    }
}

pub(super) fn seen(device: DeviceId) -> Fact {
    Fact::DeviceSeen {
        slot: SlotNo(3),
        port: "pci-0000:00:14.0/3.2".parse::<PortPath>().unwrap(),
        identity: identity(device),
    }
}

/// A device that shows this of its protection.
pub(super) fn shows(device: DeviceId, protection: Protection) -> Fact {
    Fact::DeviceSeen {
        slot: SlotNo(3),
        port: "pci-0000:00:14.0/3.2".parse::<PortPath>().unwrap(),
        identity: Identity {
            protection,
            ..identity(device)
        },
    }
}

pub(super) fn identity(device: DeviceId) -> Identity {
    Identity {
        device,
        platform: Platform::Boron,
        mode: UsbMode::Normal,
        protection: Protection::Open,
        transport: None,
        serial: None,
        iccid: None,
        imei: None,
        hardware: None,
        os_version: None,
        modules: Vec::new(),
    }
}

pub(super) fn started(run: RunId, device: DeviceId) -> Fact {
    Fact::RunStarted {
        accepted: None,
        reference: None,
        run,
        device,
        slot: SlotNo(3),
        recipe: hash(0x5e),
        plan: vec![StepKind::ReadKey, StepKind::Flash { file: 1 }],
        operator: Some("eva".to_owned()),
        work_order: Some(WorkOrder {
            id: "WO-7".to_owned(),
            product: Some(ProductId("4711".to_owned())),
            quantity: 500,
        }),
    }
}

pub(super) fn ended(run: RunId, device: DeviceId, verdict: Verdict, code: Option<Code>) -> Fact {
    Fact::RunEnded {
        run,
        device,
        verdict,
        code,
        why: "so it is".to_owned(),
        proved: verdict == Verdict::Pass,
    }
}

pub(super) fn diagnosed(run: RunId, device: DeviceId) -> Fact {
    Fact::Diagnosed {
        run,
        device,
        diagnosis: Diagnosis {
            trouble: Trouble::KeyUnknown,
            sureness: Sureness::Likely,
            flow: Some(Flow::ProductAccount),
            evidence: vec!["So it is.".to_owned()],
        },
        product: Some(ProductId("4711".to_owned())),
        plan: vec![StepKind::ReadKey, StepKind::Register],
    }
}

pub(super) fn released(run: RunId, device: DeviceId) -> Fact {
    Fact::QuarantineReleased {
        run,
        device,
        by: "eva".to_owned(),
        why: "it connected".to_owned(),
    }
}

pub(super) fn read(run: RunId, device: DeviceId, key: &PublicKey) -> Fact {
    Fact::KeyRead {
        run,
        device,
        content: SlotContent::Valid {
            key: key.clone(),
            layout: KeyLayout::Device,
        },
    }
}

pub(super) fn item(run: RunId, device: DeviceId, key: &PublicKey) -> Item {
    Item {
        id: ItemId::key(run, key.fingerprint),
        run,
        device,
        product: Some(ProductId("4711".to_owned())),
        errand: Errand::Key { key: key.clone() },
        after: None,
    }
}

pub(super) fn import(run: RunId, device: DeviceId) -> Item {
    Item {
        id: ItemId::import(run),
        run,
        device,
        product: Some(ProductId("4711".to_owned())),
        errand: Errand::Import { activate_sim: false },
        after: None,
    }
}

pub(super) fn intended(run: RunId, device: DeviceId, key: &PublicKey) -> Fact {
    Fact::KeyIntended {
        run,
        device,
        key: key.clone(),
        item: item(run, device, key),
    }
}

/// The id of a packet.
pub(super) fn packet(n: u8) -> RunId {
    run(100 + n)
}

/// A packet with a manifest that was signed at this second, if at all.
pub(super) fn taken(packet: RunId, device: DeviceId, key: &PublicKey, signed: Option<i64>) -> Fact {
    let manifest = signed.map(|at| Manifest {
        packet: 1,
        device,
        platform: Platform::Boron,
        kind: key.kind,
        fingerprint: key.fingerprint,
        station: StationId("field".to_owned()),
        at: second(at),
        signature: vec![1],
    });
    let unchecked = if manifest.is_some() {
        vec![]
    } else {
        vec![Unchecked::Possession]
    };
    Fact::PacketTaken {
        packet,
        device,
        key: key.clone(),
        proof: Box::new(Proof { manifest, unchecked }),
        product: Some(ProductId("4711".to_owned())),
        voucher: Some(Voucher {
            reference: "RMA-1".to_owned(),
            by: "eva".to_owned(),
        }),
        operator: None,
        accepted: None,
    }
}

pub(super) fn packet_ended(packet: RunId, device: DeviceId) -> Fact {
    Fact::PacketEnded {
        packet,
        device,
        end: PacketEnd::Registered,
        code: None,
        why: "registered".to_owned(),
    }
}

pub(super) fn queued(item: Item) -> Fact {
    Fact::ItemQueued { item }
}

pub(super) fn sent(item: &ItemId, attempt: u32) -> Fact {
    Fact::ItemSent {
        item: item.clone(),
        attempt,
    }
}

pub(super) fn answered(item: &ItemId, attempt: u32, answer: Answer) -> Fact {
    Fact::ItemAnswered {
        item: item.clone(),
        attempt,
        answer,
    }
}

pub(super) fn accepted() -> Answer {
    Answer::Accepted { at: None, note: None }
}

pub(super) fn refused() -> Answer {
    Answer::Refused {
        code: Code::CloudRefused,
        reason: "no".to_owned(),
    }
}

pub(super) fn later(after_ms: Option<u64>) -> Answer {
    Answer::Later {
        why: "busy".to_owned(),
        after_ms,
    }
}

pub(super) fn ambiguous() -> Answer {
    Answer::Ambiguous { why: "lost".to_owned() }
}
