//! The core alone, with a worker and a cloud that answer by the book or by a random hand.

mod answers;
mod chains;
mod clouds;
mod comings;
mod diagnoses;
mod doubts;
mod given;
mod guards;
mod lines;
mod looks;
mod moves;
mod newcomers;
mod orders;
mod owing;
mod packets;
mod people;
mod pictures;
mod retries;
mod returns;
mod stops;
mod verdicts;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    edge::Attached,
    model::{
        CloudState, Code, DeviceId, Fingerprint, KeyKind, Mono, Outcome, Platform, ProductId, PublicKey, RunId, ServerExam,
        StepError, StepKind, Verdict, Wall,
        fact::{Identity, Protection},
        key::{KeyLayout, SlotContent},
        outbox::{Answer, CloudDevice, Errand, Item, ItemId, Looked},
        platform::UsbMode,
        recipe::{Aim, KeyPolicy, ProtectedPolicy, Recipe, ServerPolicy, Timeouts, Wifi},
        survey::Survey,
    },
};
use clouds::*;

/// More seconds than a device is held for a cloud that is away.
const LONG: u32 = 800;

const DEVICE: DeviceId = DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 0, 1]);

fn recipe(keys: KeyPolicy) -> Recipe {
    Recipe {
        name: "argon".into(),
        hash: Fingerprint([7; 32]),
        text: String::new(),
        platform: Platform::Argon,
        aim: Aim::Provision,
        product: Some(ProductId("1234".into())),
        activate_sim: false,
        firmware: Vec::new(),
        keys,
        server: ServerPolicy::Keep,
        protected: ProtectedPolicy::SetAside,
        wifi: None,
        prove: true,
        finish_owed: false,
        timeouts: Timeouts::default(),
    }
}

/// With a bench network, which is taken away at the end.
fn with_wifi() -> Recipe {
    let wifi = Wifi {
        ssid: "bench".into(),
        password: None,
    };
    Recipe {
        wifi: Some(wifi),
        ..recipe(KeyPolicy::Read)
    }
}

fn key(n: u8) -> PublicKey {
    PublicKey {
        kind: KeyKind::P256,
        spki: vec![n; 91],
        fingerprint: Fingerprint([n; 32]),
    }
}

fn valid(n: u8) -> SlotContent {
    SlotContent::Valid {
        key: key(n),
        layout: KeyLayout::Device,
    }
}

fn attached(mode: UsbMode, address: u16) -> Attached {
    let usb = Platform::Argon.usb(mode);
    Attached {
        port: "sim-0/1".parse().unwrap(),
        address,
        vendor: usb.vendor,
        product: usb.product,
        serial: Some(DEVICE.to_string()),
    }
}

/// Drives one rack with one slot; keeps every fact that it wrote.
struct Drive {
    rack: Rack,
    now: Mono,
    facts: Vec<(Wall, Fact)>,
    effects: Vec<Effect>,
    mode: UsbMode,
    address: u16,
    port: &'static str,
    /// What the slot of the device holds.
    holds: SlotContent,
    /// The worker keeps the order for this kind of step, and the order itself.
    keeps: Option<StepKind>,
    kept: Option<(SlotNo, Ticket)>,
    /// What the ledger knows of the device.
    known: Known,
    /// The last session that the cloud shows when it is asked before an upload, and how often it was.
    session: Option<Wall>,
    looks: usize,
    /// The device stays away after a restart.
    stays_away: bool,
    /// What the cloud says of the device of a repair.
    survey: Survey,
    /// The worker writes the pair that is there in another layout, in place of a new one.
    same_pair: bool,
    /// The uploads and errands that went out, in order.
    errands: Vec<String>,
    /// What was kept to give a device back was done with; true where it was destroyed.
    ended_custody: Vec<bool>,
    /// What the running device says of its connection, if anything.
    says: CloudState,
    /// Its server settings as they are examined.
    exam: Option<ServerExam>,
    /// This kind of step takes so long.
    slow: Option<(StepKind, Duration)>,
    /// It has no session and is not online when the proof is looked for.
    stays_offline: bool,
    /// The session that the cloud shows then, in place of one of that very moment.
    proves_at: Option<Wall>,
    /// The worker reports this in place of doing this kind of step.
    fails: Option<(StepKind, StepError)>,
    /// What the device shows of its protection.
    shows: Protection,
    /// Its bootloader cannot end Service Mode.
    early: bool,
    /// The cloud does not know the key with which it signs.
    unknown: bool,
}

impl Drive {
    fn new(recipe: Recipe, holds: SlotContent) -> Self {
        let mut book = Book::default();
        let ports = [1, 2].map(|n| (SlotNo(n), format!("sim-0/{n}").parse().unwrap()));
        book.offer(Prepared {
            recipe: Arc::new(recipe),
            firmware: Vec::new(),
            needs: Vec::new(),
        });
        let setting = Setting {
            station: StationId("bench".into()),
            ports: BTreeMap::from(ports),
            book,
            operator: None,
            work_order: None,
            import_chunk: 500,
            rules: Rules::default(),
        };
        Self {
            rack: Rack::new(setting),
            now: Mono::default(),
            facts: Vec::new(),
            effects: Vec::new(),
            mode: UsbMode::Normal,
            address: 1,
            port: "sim-0/1",
            holds,
            keeps: None,
            kept: None,
            known: Known::default(),
            session: None,
            looks: 0,
            stays_away: false,
            survey: Survey::Unseen,
            same_pair: false,
            errands: Vec::new(),
            ended_custody: Vec::new(),
            says: CloudState::default(),
            exam: None,
            slow: None,
            stays_offline: false,
            proves_at: None,
            fails: None,
            shows: Protection::Open,
            early: false,
            unknown: false,
        }
    }

    /// Its device was made to restart by its run and is not back.
    fn that_is_away() -> Self {
        let mut drive = Self::new(recipe(KeyPolicy::Read), valid(1));
        drive.stays_away = true;
        drive.plug();
        drive.works(20, &mut by_the_book);
        assert!(matches!(drive.slot(), Slot::AwaitingReturn { .. }));
        drive
    }

    /// Its device has a new key, whose upload is put off.
    fn that_waits_with_a_new_key() -> Self {
        let mut drive = Self::new(recipe(KeyPolicy::Generate), valid(1));
        drive.plug();
        drive.works(20, &mut put_off_new_key);
        assert_eq!(drive.holds, valid(99));
        assert_eq!(drive.looks, 0, "a device that is held needs no look");
        drive
    }

    /// The same, and then the cable was pulled.
    fn that_left_with_a_new_key() -> Self {
        let mut drive = Self::that_waits_with_a_new_key();
        drive.answer_all(&mut put_off_new_key);
        drive.unplug();
        drive
    }

    /// Its recipe lets a device go whose key is still owed.
    fn that_may_owe(keys: KeyPolicy, holds: SlotContent) -> Self {
        let owing = Recipe {
            finish_owed: true,
            ..recipe(keys)
        };
        Self::new(owing, holds)
    }

    fn wall(&self) -> Wall {
        Wall::from_millis(1_800_000_000_000 + i64::try_from(self.now.0.as_millis()).unwrap()).unwrap()
    }

    fn give(&mut self, input: &Input) {
        let decision = self.rack.decide(self.now, self.wall(), input).expect("a legal decision");
        let wall = self.wall();
        for fact in &decision.facts {
            let text = serde_json::to_string(fact).unwrap();
            assert!(!text.contains('@'), "an address in a fact: {text}");
        }
        self.facts.extend(decision.facts.into_iter().map(|fact| (wall, fact)));
        self.rack = decision.rack;
        self.effects.extend(decision.effects);
    }

    fn pass_time(&mut self, by: Duration) {
        self.now = self.now + by;
        self.give(&Input::Tick);
    }

    fn plug(&mut self) {
        self.address += 1;
        let mut here = attached(self.mode, self.address);
        here.port = self.port.parse().unwrap();
        self.give(&Input::Bus(vec![here]));
    }

    /// The device leaves its slot and is plugged in at another.
    fn move_to(&mut self, port: &'static str) {
        self.port = port;
        self.plug();
    }

    fn unplug(&mut self) {
        self.give(&Input::Bus(Vec::new()));
    }

    /// Answers everything that is asked in each of so many seconds.
    fn works(&mut self, seconds: u32, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) {
        for _ in 0..seconds {
            self.answer_all(cloud);
            self.pass_time(Duration::from_secs(1));
        }
    }

    /// Answers everything that is asked after each of so many seconds.
    fn later(&mut self, seconds: u32, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) {
        for _ in 0..seconds {
            self.pass_time(Duration::from_secs(1));
            self.answer_all(cloud);
        }
    }

    /// Works for so many seconds at most, until the slot is idle.
    fn until_idle(&mut self, seconds: u32, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) {
        for _ in 0..seconds {
            self.answer_all(cloud);
            if self.rack.idle() {
                break;
            }
            self.pass_time(Duration::from_secs(1));
        }
    }

    /// Answers everything that is asked, by the book, until nothing is asked any more.
    fn answer_all(&mut self, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) {
        while self.answer_one(cloud) {}
    }

    fn answer_one(&mut self, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) -> bool {
        if self.effects.is_empty() {
            return false;
        }
        match self.effects.remove(0) {
            Effect::Order { slot, order } => self.obey(slot, order),
            Effect::Call(line, call) => self.reply(line, &call, cloud),
            _ => {}
        }
        true
    }

    /// Lets things happen by the book until there is such a fact; then the device loses its power, and what is still
    /// under way comes to nothing.
    fn cut_after(&mut self, cloud: &mut dyn FnMut(&Call) -> Option<Answer>, wanted: impl Fn(&Fact) -> bool) {
        self.plug();
        for _ in 0..400 {
            while self.count(&wanted) == 0 && self.answer_one(cloud) {}
            if self.count(&wanted) > 0 {
                self.effects.clear();
                self.mode = UsbMode::Normal;
                return self.unplug();
            }
            self.pass_time(Duration::from_millis(300));
        }
        panic!("there was no such fact");
    }

    /// Which keys were accepted and made, in order, by their first two digits.
    fn keys(&self) -> Vec<String> {
        let of = |fact: &Fact| match fact {
            Fact::ItemAnswered { item, .. } if item.0.contains("/key/") => {
                Some(item.0.rsplit('/').next().unwrap()[..2].to_owned())
            }
            Fact::KeyIntended { .. } => Some("intended".into()),
            _ => None,
        };
        self.facts.iter().filter_map(|(_, fact)| of(fact)).collect()
    }

    fn obey(&mut self, slot: SlotNo, order: Order) {
        match order {
            Order::Identify { attached } => {
                let identity = Identity::bare(DEVICE, Platform::Argon, self.mode, self.shows);
                let fresh = RunId(uuid::Uuid::from_u128(self.facts.len() as u128 + 1));
                self.give(&Input::Identified {
                    slot,
                    address: attached.address,
                    fresh,
                    result: Ok(identity),
                    known: self.known.clone(),
                });
            }
            Order::Change { ticket, to, .. } => {
                let report = Report {
                    outcome: Outcome::Done,
                    after: After::Returns {
                        mode: to,
                        within: Duration::from_secs(60),
                    },
                };
                self.give(&Input::Report {
                    slot,
                    ticket,
                    result: Ok(report),
                });
                self.unplug();
                self.mode = to;
                self.plug();
            }
            Order::Step { ticket, work, .. } if self.keeps == Some(work.kind) => self.kept = Some((slot, ticket)),
            Order::Step { ticket, work, .. } if self.fails.as_ref().is_some_and(|(kind, _)| *kind == work.kind) => {
                let (_, error) = self.fails.clone().unwrap();
                let result = Err(error);
                self.give(&Input::Report { slot, ticket, result });
            }
            Order::Step { ticket, work, .. } => {
                let guards = matches!(work.kind, StepKind::ServiceMode | StepKind::ProtectAgain);
                if self.shows == Protection::Protected && !guards {
                    let result = Err(StepError::new(Code::Protected, "it is closed"));
                    return self.give(&Input::Report { slot, ticket, result });
                }
                let mut after = After::Stays;
                if let Some((_, time)) = self.slow.filter(|(kind, _)| *kind == work.kind) {
                    self.now = self.now + time;
                }
                match work.kind {
                    StepKind::ServiceMode | StepKind::ProtectAgain => after = self.guard(slot, ticket, work.kind),
                    StepKind::Question if self.says.is_told() => {
                        let (run, device, state) = (work.run, DEVICE, self.says);
                        self.commit(slot, ticket, Fact::Questioned { run, device, state });
                    }
                    StepKind::Examine => {
                        let content = self.holds.clone();
                        let (run, device) = (work.run, DEVICE);
                        self.commit(slot, ticket, Fact::KeyRead { run, device, content });
                        let server = self.exam.clone();
                        self.commit(slot, ticket, Fact::Examined { run, device, server });
                    }
                    StepKind::ReadKey => {
                        let content = self.holds.clone();
                        self.commit(
                            slot,
                            ticket,
                            Fact::KeyRead {
                                run: work.run,
                                device: DEVICE,
                                content,
                            },
                        );
                    }
                    StepKind::Rekey => self.rekey(slot, ticket, &work),
                    StepKind::RollBack => {
                        let before = work.keys.before.clone().unwrap();
                        self.holds = before.clone();
                        let fingerprint = before.key().unwrap().fingerprint;
                        self.commit(
                            slot,
                            ticket,
                            Fact::KeyRestored {
                                run: work.run,
                                device: DEVICE,
                                fingerprint,
                            },
                        );
                    }
                    StepKind::Boot => {
                        after = After::Returns {
                            mode: UsbMode::Normal,
                            within: Duration::from_secs(60),
                        }
                    }
                    _ => {}
                }
                self.give(&Input::Report {
                    slot,
                    ticket,
                    result: Ok(Report {
                        outcome: Outcome::Done,
                        after,
                    }),
                });
                if matches!(after, After::Returns { .. }) {
                    self.unplug();
                    self.mode = UsbMode::Normal;
                    if !self.stays_away {
                        self.plug();
                    }
                }
            }
        }
    }

    fn rekey(&mut self, slot: SlotNo, ticket: Ticket, work: &Work) {
        let fingerprint = self.announce_new_key(slot, ticket, work.after.clone());
        self.holds = valid(if self.same_pair { 1 } else { 99 });
        let fact = Fact::KeyWritten {
            run: work.run,
            device: DEVICE,
            fingerprint,
        };
        self.commit(slot, ticket, fact);
    }

    /// All that has to be on record before a key slot is written.
    fn announce_new_key(&mut self, slot: SlotNo, ticket: Ticket, after: Option<ItemId>) -> Fingerprint {
        let run = ticket.run;
        let fact = Fact::UndoSealed {
            run,
            device: DEVICE,
            sha256: Fingerprint([0; 32]),
            content: self.holds.clone(),
        };
        self.commit(slot, ticket, fact);
        let new = key(if self.same_pair { 1 } else { 99 });
        let item = Item {
            id: ItemId::key(run, new.fingerprint),
            run,
            device: DEVICE,
            product: Some(ProductId("1234".into())),
            errand: Errand::Key { key: new.clone() },
            after,
        };
        let fingerprint = new.fingerprint;
        let fact = Fact::KeyIntended {
            run,
            device: DEVICE,
            key: new,
            item,
        };
        self.commit(slot, ticket, fact);
        fingerprint
    }

    fn commit(&mut self, slot: SlotNo, ticket: Ticket, fact: Fact) {
        self.give(&Input::Commit {
            slot,
            ticket,
            fact,
            owners: Vec::new(),
        });
    }

    fn reply(&mut self, line: Line, call: &Call, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) {
        let at = Some(self.wall());
        let accepted = Answer::Accepted { at, note: None };
        match call {
            Call::Admit { run, .. } => {
                let result = Admitted::Yes {
                    notes: Vec::new(),
                    handshake_at: None,
                };
                self.give(&Input::Cloud(line, vec![Reply::Admitted { run: *run, result }]));
            }
            Call::Survey { run, .. } => {
                let survey = match cloud(call) {
                    Some(answer) => Survey::Failed(answer),
                    None => self.survey.clone(),
                };
                self.give(&Input::Cloud(line, vec![Reply::Surveyed { run: *run, survey }]));
            }
            Call::Secure { run, .. } => {
                let result = cloud(call).map_or(Ok(Fingerprint([5; 32])), Err);
                self.give(&Input::Cloud(line, vec![Reply::Secured { run: *run, result }]));
            }
            Call::EndCustody { destroy, .. } => {
                self.ended_custody.push(*destroy);
                self.give(&Input::Cloud(line, Vec::new()));
            }
            Call::Errand { item, attempt, .. } => {
                self.errands.push(item.0.rsplit('/').next().unwrap().to_owned());
                let answer = cloud(call).unwrap_or(accepted);
                self.answer_item(line, item, *attempt, answer);
            }
            Call::Import { items, .. } => {
                let answer = cloud(call).unwrap_or(accepted);
                let mut replies = Vec::new();
                for out in items {
                    self.errands.push(out.item.0.rsplit('/').next().unwrap().to_owned());
                    replies.push(Reply::Item {
                        item: out.item.clone(),
                        attempt: out.attempt,
                        answer: answer.clone(),
                    });
                }
                self.give(&Input::Cloud(line, replies));
            }
            Call::Upload { item, attempt, .. } => {
                self.errands.push("key".to_owned());
                let answer = cloud(call).unwrap_or(accepted);
                self.answer_item(line, item, *attempt, answer);
            }
            Call::Look { about, .. } => {
                let device = CloudDevice {
                    last_handshake_at: match about {
                        About::Proof(_) if self.stays_offline => None,
                        About::Proof(_) => self.proves_at.or(at),
                        About::Item(_) => self.session,
                    },
                    online: Some(!self.stays_offline),
                    product_id: Some(1234),
                    owner: Some("ann@home.example".into()),
                    ..CloudDevice::default()
                };
                let found = match cloud(call) {
                    Some(answer) => Looked::Failed(answer),
                    None => Looked::Device { device, at },
                };
                self.looks += usize::from(matches!(about, About::Item(_)));
                self.give(&Input::Cloud(
                    line,
                    vec![Reply::Looked {
                        about: about.clone(),
                        found,
                    }],
                ));
            }
        }
    }

    /// Lets everything happen until the worker keeps an order.
    fn run_until_kept(&mut self, kind: StepKind) -> (SlotNo, Ticket) {
        self.run_until_kept_by(kind, &mut by_the_book)
    }

    /// The same with a cloud that answers otherwise than by the book.
    fn run_until_kept_by(&mut self, kind: StepKind, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) -> (SlotNo, Ticket) {
        self.keeps = Some(kind);
        self.plug();
        for _ in 0..100 {
            self.answer_all(cloud);
            if let Some(kept) = self.kept.take() {
                self.keeps = None;
                return kept;
            }
            self.pass_time(Duration::from_secs(1));
        }
        panic!("{kind} was never ordered");
    }

    fn done(&mut self, (slot, ticket): (SlotNo, Ticket)) {
        let report = Report {
            outcome: Outcome::Done,
            after: After::Stays,
        };
        let result = Ok(report);
        self.give(&Input::Report { slot, ticket, result });
    }

    fn failed(&mut self, (slot, ticket): (SlotNo, Ticket), code: Code) {
        let result = Err(StepError::new(code, "try"));
        self.give(&Input::Report { slot, ticket, result });
    }

    /// The station is killed and started again: the facts are all that is left.
    /// The cloud answers the call on a line that was for one item.
    fn answer_item(&mut self, line: Line, item: &ItemId, attempt: u32, answer: Answer) {
        let item = item.clone();
        self.give(&Input::Cloud(line, vec![Reply::Item { item, attempt, answer }]));
    }

    /// What is on record.
    fn records(&self) -> Vec<Record> {
        let station = StationId("bench".into());
        (1..)
            .zip(&self.facts)
            .map(|(seq, (at, fact))| Record {
                seq,
                at: *at,
                station: station.clone(),
                fact: fact.clone(),
            })
            .collect()
    }

    fn restart(&mut self) {
        let mut again = Rack::new(self.rack.setting().clone());
        for (at, fact) in &self.facts {
            again.apply(*at, fact).expect("a journal that replays");
        }
        let decision = again.restart(self.now, self.wall()).expect("a legal restart");
        let wall = self.wall();
        self.facts.extend(decision.facts.into_iter().map(|fact| (wall, fact)));
        self.rack = decision.rack;
        self.effects = decision.effects;
    }

    fn slot(&self) -> &Slot {
        &self.rack.slots()[&SlotNo(1)]
    }

    /// Lets everything happen until the slot is idle.
    fn run(&mut self, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) -> Option<(Verdict, Option<Code>)> {
        self.plug();
        self.until_idle(400, cloud);
        self.verdict()
    }

    fn verdict(&self) -> Option<(Verdict, Option<Code>)> {
        self.facts.iter().rev().find_map(|(_, f)| {
            if let Fact::RunEnded { verdict, code, .. } = f {
                Some((*verdict, *code))
            } else {
                None
            }
        })
    }

    /// Why the last run that ended did, in words.
    fn why(&self) -> &str {
        let last = self.facts.iter().rev().find_map(|(_, fact)| {
            if let Fact::RunEnded { why, .. } = fact {
                Some(why.as_str())
            } else {
                None
            }
        });
        last.expect("a run ended")
    }

    fn count(&self, wanted: impl Fn(&Fact) -> bool) -> usize {
        self.facts.iter().filter(|(_, fact)| wanted(fact)).count()
    }
}

#[test]
fn a_good_device_passes_with_one_upload() {
    let mut drive = Drive::new(recipe(KeyPolicy::ReadOrGenerate), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(drive.count(|f| matches!(f, Fact::ItemSent { .. })), 2, "one import, one key");
    assert_eq!(drive.count(|f| matches!(f, Fact::KeyIntended { .. })), 0);
    assert!(
        drive
            .facts
            .iter()
            .any(|(_, f)| matches!(f, Fact::RunEnded { proved: true, .. }))
    );
}

#[test]
fn a_valid_key_is_registered_before_it_is_replaced() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(drive.keys(), ["01", "intended", "63"]);
    assert_eq!(drive.count(|f| matches!(f, Fact::UndoDestroyed { .. })), 1);
}

#[test]
fn nothing_is_written_when_the_present_key_is_refused() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let refuse = Answer::Refused {
        code: Code::CloudDenied,
        reason: "Permission Denied".into(),
    };
    let verdict = drive.run(&mut |call| matches!(call, Call::Upload { .. }).then(|| refuse.clone()));
    assert_eq!(verdict, Some((Verdict::Fault, Some(Code::CloudDenied))));
    assert_eq!(drive.count(|f| matches!(f, Fact::KeyIntended { .. })), 0);
    assert_eq!(drive.holds, valid(1));
}

#[test]
fn a_new_key_that_is_refused_twice_is_rolled_back() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let verdict = drive.run(&mut refuse_new_key);
    assert_eq!(verdict, Some((Verdict::RolledBack, Some(Code::RolledBackRefused))));
    assert_eq!(drive.holds, valid(1), "the old key is back");
    assert_eq!(
        drive.count(|f| matches!(
            f,
            Fact::ItemAnswered {
                answer: Answer::Refused { .. },
                ..
            }
        )),
        2,
        "believed only when given twice"
    );
}

#[test]
fn after_an_ambiguous_attempt_nothing_is_rolled_back() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let verdict = drive.run(&mut refuse_after_doubt(uploads_new_key));
    assert_eq!(verdict, Some((Verdict::Quarantined, Some(Code::StateUnknown))));
    assert_eq!(drive.holds, valid(99), "the new key stays");
    assert_eq!(
        drive.count(|f| matches!(f, Fact::UndoDestroyed { .. })),
        0,
        "a person may still need the old one"
    );
}

#[test]
fn a_refused_key_on_a_blank_slot_stays_and_fails() {
    let mut drive = Drive::new(recipe(KeyPolicy::ReadOrGenerate), SlotContent::Blank);
    let verdict = drive.run(&mut refuse_uploads);
    assert_eq!(verdict, Some((Verdict::Fail, Some(Code::CloudRefused))));
    assert_eq!(drive.holds, valid(99));
}

#[test]
fn an_unplugged_device_is_waited_for_and_its_key_read_again() {
    let mut drive = Drive::new(recipe(KeyPolicy::ReadOrGenerate), valid(1));
    drive.plug();
    // Pull the cable when the upload is asked for.
    let mut asked = false;
    for _ in 0..20 {
        drive.answer_all(&mut |call| {
            asked |= matches!(call, Call::Upload { .. });
            matches!(call, Call::Upload { .. }).then(|| Answer::Later {
                why: "busy".into(),
                after_ms: Some(5000),
            })
        });
        if asked {
            break;
        }
        drive.pass_time(Duration::from_millis(300));
    }
    assert!(asked);
    drive.unplug();
    assert_eq!(drive.count(|f| matches!(f, Fact::RunInterrupted { .. })), 1);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(drive.count(|f| matches!(f, Fact::KeyRead { .. })), 2);
    assert_eq!(drive.count(|f| matches!(f, Fact::RunStarted { .. })), 1);
}

#[test]
fn a_key_that_was_accepted_is_read_again_when_the_device_was_away() {
    let mut drive = Drive::new(recipe(KeyPolicy::ReadOrGenerate), valid(1));
    drive.cut_after(
        &mut by_the_book,
        |f| matches!(f, Fact::ItemAnswered { item, .. } if item.0.contains("/key/")),
    );
    drive.holds = valid(2);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(
        drive.keys(),
        ["01", "02"],
        "the device holds another key by now, and that one is registered"
    );
    assert_eq!(drive.count(|f| matches!(f, Fact::RunStarted { .. })), 1);
}

#[test]
fn an_application_that_was_left_to_read_the_key_is_started_again() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.cut_after(
        &mut by_the_book,
        |f| matches!(f, Fact::StepStarted { step, .. } if *step == 5),
    );
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(drive.mode, UsbMode::Normal);
    assert_eq!(drive.keys(), ["01"], "the same key is not sent again");
}

#[test]
fn a_key_that_the_device_made_meanwhile_is_registered_before_it_is_replaced() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), SlotContent::Blank);
    drive.cut_after(&mut by_the_book, |f| {
        matches!(
            f,
            Fact::StepEnded {
                outcome: Outcome::Skipped { .. },
                ..
            }
        )
    });
    drive.holds = valid(5);
    assert_eq!(drive.run(&mut by_the_book), Some((Verdict::Pass, None)));
    assert_eq!(drive.keys().last().unwrap(), "63");
    let made = drive.keys().iter().rposition(|word| word == "intended").unwrap();
    assert!(drive.keys()[..made].contains(&"05".to_owned()), "{:?}", drive.keys());
}

#[test]
fn an_older_acceptance_counts_no_more_once_another_key_went_out() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    drive.cut_after(
        &mut by_the_book,
        |f| matches!(f, Fact::ItemAnswered { item, .. } if item.0.contains("/key/6363")),
    );
    // Some firmware puts the old key back when it starts.
    drive.holds = valid(1);
    assert_eq!(drive.run(&mut by_the_book).map(|(verdict, _)| verdict), Some(Verdict::Pass));
    let held = drive.holds.key().unwrap().fingerprint.to_string();
    assert_eq!(drive.keys().last().unwrap(), &held[..2], "{:?}", drive.keys());
}

#[test]
fn a_roll_back_that_was_cut_before_its_verdict_is_one_still() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    drive.cut_after(&mut refuse_new_key, |f| matches!(f, Fact::StepFailed { .. }));
    // The journal as a cut leaves it: the old key is on record as back, and no verdict.
    drive.holds = valid(1);
    let run = drive.rack.runs().next().unwrap().id;
    let restored = Fact::KeyRestored {
        run,
        device: DEVICE,
        fingerprint: Fingerprint([1; 32]),
    };
    drive.facts.push((drive.wall(), restored.clone()));
    drive.rack.apply(drive.wall(), &restored).unwrap();
    let verdict = drive.run(&mut refuse_new_key);
    assert_eq!(verdict, Some((Verdict::RolledBack, Some(Code::RolledBackRefused))));
    assert_eq!(drive.count(|f| matches!(f, Fact::KeyIntended { .. })), 1);
}

#[test]
fn a_late_report_of_an_abandoned_attempt_is_dropped() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.plug();
    let mut report = None;
    for _ in 0..20 {
        for effect in std::mem::take(&mut drive.effects) {
            match effect {
                Effect::Order {
                    slot,
                    order: Order::Step { ticket, .. },
                } => report = Some((slot, ticket)),
                Effect::Order { slot, order } => drive.obey(slot, order),
                Effect::Call(line, call) => drive.reply(line, &call, &mut by_the_book),
                _ => {}
            }
        }
        if report.is_some() {
            break;
        }
        drive.pass_time(Duration::from_millis(300));
    }
    let (slot, ticket) = report.expect("a step was ordered");
    drive.pass_time(Duration::from_secs(61));
    assert!(drive.effects.iter().any(|e| matches!(e, Effect::Cancel(_))));
    drive.pass_time(Duration::from_secs(20));
    assert!(drive.effects.iter().any(|e| matches!(e, Effect::Abandon(_))));
    let before = drive.facts.len();
    drive.give(&Input::Report {
        slot,
        ticket,
        result: Ok(Report {
            outcome: Outcome::Done,
            after: After::Stays,
        }),
    });
    assert_eq!(drive.facts.len(), before);
}

#[test]
fn a_cloud_that_is_away_leaves_a_device_with_a_replaced_key_held() {
    let mut drive = Drive::new(recipe(KeyPolicy::Generate), valid(1));
    let verdict = drive.run(&mut put_off_new_key);
    assert_eq!(verdict, None, "held, not judged");
    assert_eq!(drive.mode, UsbMode::Dfu);
}

#[test]
fn a_key_that_is_not_yet_accepted_may_be_owed_where_the_recipe_says_so() {
    let mut drive = Drive::that_may_owe(KeyPolicy::Read, valid(1));
    drive.plug();
    drive.until_idle(LONG, &mut put_off_uploads);
    assert_eq!(drive.verdict(), Some((Verdict::Owed, Some(Code::CloudUnreachable))));
    assert_eq!(drive.rack.outbox().open().count(), 1, "and it stays in the outbox");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, in whatever order: no illegal decision, and replaying the facts gives the same runs and outbox. No
    /// device is left open without an alarm.
    #[test]
    fn replay_equals_live(
        hands in proptest::collection::vec(0u8..16, 1..120),
        policy in 0u8..3,
        start in 0u8..3,
        serviced in any::<bool>(),
    ) {
        let policy = [KeyPolicy::Read, KeyPolicy::Generate, KeyPolicy::ReadOrGenerate][usize::from(policy)];
        let start = [valid(1), SlotContent::Blank, SlotContent::Corrupt { why: "x".into() }][usize::from(start)].clone();
        let mut drive = Drive::new(recipe(policy), start.clone());
        if serviced {
            drive = Drive::that_is_protected(recipe(policy), start);
        }
        for hand in hands {
            match hand {
                0 | 1 => drive.plug(),
                2 => drive.unplug(),
                3 | 4 => drive.pass_time(Duration::from_millis(400)),
                5 => drive.pass_time(Duration::from_secs(70)),
                6..=8 => drive.answer_all(&mut by_the_book),
                9 => drive.answer_all(&mut |_| Some(Answer::Ambiguous { why: "lost".into() })),
                10 => drive.answer_all(&mut |_| Some(Answer::Refused { code: Code::CloudRefused, reason: "no".into() })),
                11 => {
                    for effect in std::mem::take(&mut drive.effects) {
                        if let Effect::Order { slot, order: Order::Step { ticket, .. } } = effect {
                            let error = StepError::new(Code::UsbTransfer, "try");
                            drive.give(&Input::Report { slot, ticket, result: Err(error) });
                        }
                    }
                }
                12 => drive.give(&Input::Command(Command::Abort(SlotNo(1)))),
                13 => drive.give(&Input::Command(Command::Quit)),
                14 if serviced => drive.loses_power(),
                _ => {
                    drive.restart();
                }
            }
        }
        let mut again = Rack::new(drive.rack.setting().clone());
        for (at, fact) in &drive.facts {
            again.apply(*at, fact).expect("a journal that replays");
        }
        for run in drive.rack.runs() {
            prop_assert_eq!(again.run(run.id), Some(run));
            if let run::State::Ended { verdict, code, .. } = &run.state {
                let alarm = *verdict == Verdict::Quarantined || *code == Some(Code::NotProtectedAgain);
                prop_assert!(!run.open || alarm, "{} leaves its device open", verdict);
            }
        }
        for entry in drive.rack.outbox().entries() {
            let replayed = again.outbox().get(&entry.item.id).expect("the same items");
            prop_assert_eq!((replayed.state, replayed.attempts, replayed.ambiguous), (entry.state, entry.attempts, entry.ambiguous));
        }
    }
}
