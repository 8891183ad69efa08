//! The work order: how many devices are taken in for it.

use super::*;
use crate::model::{platform::UsbId, recipe::WorkOrder};

/// A rack of so many slots whose devices tell who they are and are then held in their first step, for an order of this
/// many.
struct Loader {
    rack: Rack,
    now: Mono,
    facts: Vec<(Wall, Fact)>,
    plugged: Vec<Attached>,
}

fn named(n: u8) -> DeviceId {
    DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 1, n])
}

impl Loader {
    fn new(slots: u16, quantity: u32) -> Self {
        let mut book = Book::default();
        book.offer(Prepared {
            recipe: Arc::new(recipe(KeyPolicy::Read)),
            firmware: Vec::new(),
            needs: Vec::new(),
        });
        let ports = (1..=slots).map(|n| (SlotNo(n), format!("sim-0/{n}").parse().unwrap()));
        let setting = Setting {
            station: StationId("bench".into()),
            ports: ports.collect(),
            book,
            operator: None,
            work_order: Some(WorkOrder {
                id: "WO-1".into(),
                product: None,
                quantity,
            }),
            import_chunk: 500,
            rules: Rules::default(),
        };
        Self {
            rack: Rack::new(setting),
            now: Mono::default(),
            facts: Vec::new(),
            plugged: Vec::new(),
        }
    }

    fn give(&mut self, input: &Input) {
        let wall = Wall::from_millis(1_800_000_000_000).unwrap();
        let decision = self.rack.decide(self.now, wall, input).expect("a legal decision");
        self.facts.extend(decision.facts.into_iter().map(|fact| (wall, fact)));
        self.rack = decision.rack;
        for effect in decision.effects {
            if let Effect::Order {
                slot,
                order: Order::Identify { attached },
            } = effect
            {
                let device = attached.serial.as_ref().unwrap().parse().unwrap();
                self.give(&Input::Identified {
                    slot,
                    address: attached.address,
                    fresh: RunId(uuid::Uuid::from_u128(self.facts.len() as u128 + 1)),
                    result: Ok(Identity::bare(device, Platform::Argon, UsbMode::Normal, Protection::Open)),
                    known: Known::default(),
                });
            }
        }
    }

    fn plug(&mut self, slot: u16, n: u8) {
        let UsbId { vendor, product } = Platform::Argon.usb(UsbMode::Normal);
        self.plugged.push(Attached {
            port: format!("sim-0/{slot}").parse().unwrap(),
            address: u16::try_from(self.facts.len()).unwrap() + slot + 1,
            vendor,
            product,
            serial: Some(named(n).to_string()),
        });
        self.give(&Input::Bus(self.plugged.clone()));
        self.wait();
    }

    fn wait(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        self.give(&Input::Tick);
    }

    fn judge(&mut self, slot: u16, verdict: Verdict) {
        let run = self.rack.slots()[&SlotNo(slot)].run().unwrap();
        let reply = match verdict {
            Verdict::Pass => {
                // The end of a run as its facts have it: what is between is not the order's business.
                let device = self.rack.run(run).unwrap().device;
                let fact = Fact::RunEnded {
                    run,
                    device,
                    verdict,
                    code: None,
                    why: String::new(),
                    proved: false,
                };
                self.facts.push((Wall::from_millis(1_800_000_000_000).unwrap(), fact.clone()));
                self.rack.apply(Wall::from_millis(1_800_000_000_000).unwrap(), &fact).unwrap();
                return;
            }
            _ => Admitted::No {
                code: Code::CloudDenied,
                reason: "no".into(),
            },
        };
        self.give(&Input::Cloud(Line(0), vec![Reply::Admitted { run, result: reply }]));
    }

    fn words(&self) -> Vec<&'static str> {
        self.rack.view().slots.iter().map(|slot| slot.word).collect()
    }

    fn counts(&self) -> (u64, u64, u64) {
        let ordered = self.rack.ordered().unwrap();
        (ordered.done, ordered.under_way, ordered.left())
    }
}

#[test]
fn one_more_than_is_ordered_is_not_taken_in_and_told_why() {
    let mut loader = Loader::new(3, 2);
    for n in 1..=3 {
        loader.plug(u16::from(n), n);
    }
    assert_eq!(loader.words(), ["waiting for the cloud", "waiting for the cloud", "rejected"]);
    assert_eq!(loader.counts(), (0, 2, 2));
    let view = &loader.rack.view().slots[2];
    assert_eq!((view.code, view.device), (Some(Code::OrderFilled), Some(named(3))));
    assert_eq!(view.why, "work order WO-1 is for 2 devices: 0 are done and 2 under way");
    assert_eq!(loader.rack.runs().count(), 2, "no run began for it");
}

#[test]
fn a_device_that_failed_makes_room_for_one_that_was_turned_away() {
    let mut loader = Loader::new(4, 2);
    for n in 1..=4 {
        loader.plug(u16::from(n), n);
    }
    loader.judge(1, Verdict::Fault);
    loader.wait();
    assert_eq!(
        loader.words()[1..],
        ["waiting for the cloud", "waiting for the cloud", "rejected"]
    );
    assert_eq!(loader.counts(), (0, 2, 2));
    loader.give(&Input::Command(Command::Finish));
    loader.judge(2, Verdict::Fault);
    loader.wait();
    assert_eq!(loader.words()[3], "rejected", "a station that ends takes nobody in");
}

#[test]
fn what_is_done_counts_over_all_sessions_and_may_come_again() {
    let mut loader = Loader::new(3, 3);
    loader.rack.has_done([named(8), named(9)]);
    loader.plug(1, 1);
    assert_eq!(loader.counts(), (2, 1, 1));
    loader.judge(1, Verdict::Pass);
    assert_eq!(loader.counts(), (3, 0, 0));
    loader.plug(2, 9);
    assert_eq!(loader.words()[1], "waiting for the cloud", "it is one of them");
    assert_eq!(loader.counts(), (3, 0, 0));
    loader.plug(3, 4);
    assert_eq!(loader.rack.view().slots[2].why, "work order WO-1 has all its 3 devices");
}

#[test]
fn a_run_that_waits_for_its_device_keeps_its_place() {
    let mut loader = Loader::new(2, 1);
    loader.plug(1, 1);
    loader.plugged.clear();
    loader.give(&Input::Bus(Vec::new()));
    loader.plug(2, 2);
    assert_eq!(loader.words(), ["vacant", "rejected"]);
    let mut again = Rack::new(loader.rack.setting().clone());
    for (at, fact) in &loader.facts {
        again.apply(*at, fact).unwrap();
    }
    assert_eq!(again.ordered(), loader.rack.ordered(), "after a start as before");
    loader.plugged.clear();
    loader.plug(1, 1);
    assert_eq!(loader.words(), ["waiting for the cloud", "vacant"]);
}
