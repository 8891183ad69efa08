//! What the screen looks like, text and style, in three sizes: pictures of journals, record by record as they happened.
//! After a change that is meant: `INSTA_UPDATE=always cargo test --test screens`, and look at the difference.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use keyrack::{
    model::{
        Code, DeviceId, Fact, Outcome, Platform, PortPath, ProductId, Record, RunId, SlotNo, StationId, StepError, StepKind,
        Verdict, Wall,
        fact::{Identity, Protection},
        outbox::{Answer, Errand, Item, ItemId},
        platform::UsbMode,
        recipe::{Sha256, WorkOrder},
        scan::Patterns,
    },
    rack::{
        Book, Ending, Past, RackView, Rules, Setting,
        view::{Awaits, RecipeView, Registration, Role, SlotView},
    },
    store::{self, Reader, Store},
    tui::{
        self, App, Depth, Event, Place, Story, Theme,
        ledger::{Question, answer},
        view,
    },
};
use ratatui::{Terminal, backend::TestBackend, style::Style};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (160, 48)];
const DEMO: &str = include_str!("../fixtures/journals/demo.jsonl");

/// A screen that follows a journal.
struct Desk {
    app: App,
    past: Past,
    rack: RackView,
    journal: Vec<Record>,
}

impl Desk {
    /// A rack of so many slots, before anything happened.
    fn new(slots: u16) -> Self {
        let ports: BTreeMap<SlotNo, PortPath> = (1..=slots)
            .map(|n| (SlotNo(n), format!("sim-0/1.{n}").parse().unwrap()))
            .collect();
        let station = tui::Station {
            id: StationId("line-1".to_owned()),
            patterns: Patterns::default(),
            places: ports.keys().map(|slot| place(*slot)).collect(),
        };
        let setting = Setting {
            station: station.id.clone(),
            ports,
            book: Book::default(),
            operator: Some("eva".to_owned()),
            work_order: Some(WorkOrder {
                id: "WO-17".to_owned(),
                product: None,
                quantity: 500,
            }),
            import_chunk: 500,
            rules: Rules::default(),
        };
        let past = Past::new(setting, station.places.iter().map(|place| place.slot));
        let rack = past.view();
        Self {
            app: App::new(station, Story::default(), Wall::from_millis(0).unwrap(), (80, 24)),
            past,
            rack,
            journal: Vec::new(),
        }
    }

    /// Goes on by these records.
    fn follow(&mut self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            self.past.apply(&record).unwrap();
            self.app.now = record.at;
            self.app.on(Event::Record(Box::new(record.clone())), &mut self.rack);
            self.journal.push(record);
        }
        self.app.on(Event::View(Box::new(self.past.view())), &mut self.rack);
    }

    /// Goes on by these facts, one second apart.
    fn happen(&mut self, facts: impl IntoIterator<Item = Fact>) {
        for fact in facts {
            let seq = self.journal.len() as u64 + 1;
            self.follow([Record {
                seq,
                at: Wall::from_millis(1_795_000_000_000 + seq.cast_signed() * 1000).unwrap(),
                station: StationId("line-1".to_owned()),
                fact,
            }]);
        }
    }

    fn press(&mut self, code: KeyCode) {
        self.app
            .on(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), &mut self.rack);
    }

    /// What is on a screen of this size, with this many colours.
    fn picture(&mut self, (width, height): (u16, u16), depth: Depth) -> String {
        self.app.on(Event::Resize(width, height), &mut self.rack);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (rack, app) = (&self.rack, &self.app);
        terminal
            .draw(|frame| view::draw(frame, rack, app, Theme::new(depth)))
            .unwrap();
        dump(terminal.backend())
    }

    /// Compares all sizes with what was accepted.
    fn assert(&mut self, name: &str) {
        for (width, height) in SIZES {
            let picture = self.picture((width, height), Depth::True);
            insta::assert_snapshot!(format!("{name}@{width}x{height}"), picture);
        }
    }
}

/// The text of a screen, and below it a letter for the style of each cell, with what the letters mean.
fn dump(backend: &TestBackend) -> String {
    let buffer = backend.buffer();
    let mut legend: Vec<Style> = Vec::new();
    let (mut text, mut styles) = (String::new(), String::new());
    for y in 0..buffer.area.height {
        let (mut line, mut letters) = (String::new(), String::new());
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            line.push_str(cell.symbol());
            let style = Style::new().fg(cell.fg).bg(cell.bg).add_modifier(cell.modifier);
            let at = legend.iter().position(|known| *known == style).unwrap_or_else(|| {
                legend.push(style);
                legend.len() - 1
            });
            letters.push(char::from(b'a' + u8::try_from(at).unwrap()));
        }
        let _ = writeln!(text, "{}", line.trim_end());
        let _ = writeln!(styles, "{}", letters.trim_end_matches('a'));
    }
    for (i, style) in legend.iter().enumerate() {
        let _ = writeln!(
            styles,
            "{} = {:?} on {:?} {:?}",
            char::from(b'a' + u8::try_from(i).unwrap()),
            style.fg.unwrap(),
            style.bg.unwrap(),
            style.add_modifier
        );
    }
    format!("{text}---\n{styles}")
}

fn place(slot: SlotNo) -> Place {
    Place {
        slot,
        position: None,
        label: None,
    }
}

/// A journal as `keyrack replay --json` prints it.
fn journal(text: &str) -> Vec<Record> {
    #[derive(serde::Deserialize)]
    struct Line {
        seq: u64,
        at: Wall,
        station: StationId,
        fact: Fact,
    }
    text.lines()
        .map(|line| serde_json::from_str::<Line>(line).unwrap())
        .map(|line| Record {
            seq: line.seq,
            at: line.at,
            station: line.station,
            fact: line.fact,
        })
        .collect()
}

/// The demo's journal up to this record.
fn demo(until: usize) -> Desk {
    let mut desk = Desk::new(8);
    desk.follow(journal(DEMO).into_iter().take(until));
    desk
}

fn device(n: u16) -> DeviceId {
    format!("e00fce68{n:016x}").parse().unwrap()
}

fn run(n: u16) -> RunId {
    RunId(uuid::Uuid::from_u128(u128::from(n)))
}

/// A device is seen and its run begins.
fn begin(n: u16) -> [Fact; 2] {
    [
        Fact::DeviceSeen {
            slot: SlotNo(n),
            port: format!("sim-0/1.{n}").parse().unwrap(),
            identity: Identity {
                device: device(n),
                platform: Platform::Argon,
                mode: UsbMode::Normal,
                protection: Protection::Open,
                transport: None,
                serial: Some(format!("ARNKAB846A{n:05}")),
                iccid: None,
                imei: None,
                hardware: None,
                os_version: Some("6.2.1".to_owned()),
                modules: Vec::new(),
            },
        },
        Fact::RunStarted {
            run: run(n),
            device: device(n),
            slot: SlotNo(n),
            recipe: Sha256([0x2a; 32]),
            plan: vec![
                StepKind::Admit,
                StepKind::Enrol,
                StepKind::Flash { file: 0 },
                StepKind::ReadKey,
                StepKind::Register,
                StepKind::Boot,
                StepKind::Check,
                StepKind::Prove,
            ],
            operator: Some("eva".to_owned()),
            work_order: None,
            accepted: None,
            reference: None,
        },
    ]
}

fn end(n: u16, verdict: Verdict, code: Option<Code>, why: &str) -> Fact {
    Fact::RunEnded {
        run: run(n),
        device: device(n),
        verdict,
        code,
        why: why.to_owned(),
        proved: false,
    }
}

/// One slot for each verdict, and one whose step failed twice and goes on.
fn verdicts() -> Desk {
    let mut desk = Desk::new(8);
    let ends = [
        (Verdict::Pass, None, ""),
        (
            Verdict::Fail,
            Some(Code::ImportInvalid),
            "the cloud lists the device as invalid for product 12012, and shows it in no product of this account",
        ),
        (Verdict::Fault, Some(Code::CloudUnreachable), ""),
        (
            Verdict::RolledBack,
            Some(Code::RolledBackRefused),
            "the cloud refused key 1f2e3d4c5b6a: \"Permission Denied\"",
        ),
        (Verdict::Quarantined, Some(Code::StateUnknown), ""),
        (Verdict::Aborted, Some(Code::Stopped), "a person stopped the run"),
        (Verdict::Owed, Some(Code::CloudUnreachable), "the key is owed to the cloud"),
    ];
    for (n, (verdict, code, why)) in (1..).zip(ends) {
        desk.happen(begin(n));
        desk.happen([end(n, verdict, code, why)]);
    }
    desk.happen(begin(8));
    let ended = |step, outcome| Fact::StepEnded {
        run: run(8),
        step,
        attempt: 1,
        outcome,
        took_ms: 120,
    };
    let started = |step, attempt| Fact::StepStarted {
        run: run(8),
        step,
        attempt,
    };
    let why = "not in the product yet".to_owned();
    desk.happen([
        started(0, 1),
        ended(0, Outcome::Warned { why }),
        started(1, 1),
        ended(1, Outcome::Done),
    ]);
    for attempt in 1..=2 {
        let mut error = StepError::new(Code::FlashVerify, "read back file 1 at 0x00030000");
        error
            .causes
            .push(keyrack::model::Cause("byte 17 is 0x00, not 0xff".to_owned()));
        desk.happen([
            started(2, attempt),
            Fact::StepFailed {
                run: run(8),
                step: 2,
                attempt,
                error,
                took_ms: 4200,
            },
        ]);
    }
    desk.happen([started(2, 3)]);
    desk.app.on(
        Event::Progress {
            slot: SlotNo(8),
            done: 300,
            of: 1000,
        },
        &mut desk.rack,
    );
    desk
}

/// What a bench shows that no journal tells.
fn bench() -> Desk {
    let mut desk = Desk::new(8);
    desk.happen(begin(1));
    desk.happen(begin(2));
    let slots = &mut desk.rack.slots;
    slots[0] = SlotView {
        held: true,
        cloud: Some(Registration::Asked),
        step: Some(StepKind::Register),
        progress: Some((5, 8)),
        awaits: Awaits::Cloud,
        ..slots[0].clone()
    };
    slots[1] = SlotView {
        stopping: true,
        awaits: Awaits::Return,
        word: Awaits::Return.word(),
        ..slots[1].clone()
    };
    slots[2] = SlotView::awaiting(SlotNo(3), Awaits::Settling);
    slots[3] = SlotView::awaiting(SlotNo(4), Awaits::Identity);
    slots[4] = SlotView {
        code: Some(Code::UnknownPlatform),
        ..SlotView::awaiting(SlotNo(5), Awaits::Rejected)
    };
    slots[5] = SlotView {
        code: Some(Code::DeviceSwapped),
        device: Some(device(6)),
        ..SlotView::awaiting(SlotNo(6), Awaits::Set)
    };
    desk.rack.owed = 3;
    desk.rack.locked = Some("invalid_token: The access token provided is invalid.".to_owned());
    desk.rack.ending = Some(Ending::Quit);
    desk
}

#[test]
fn the_floor_follows_the_demo() {
    demo(0).assert("floor-empty");
    demo(60).assert("floor-early");
    demo(160).assert("floor-midway");
    demo(usize::MAX).assert("floor-done");
}

#[test]
fn every_verdict_looks_like_itself() {
    let mut desk = verdicts();
    desk.assert("verdicts");
    for n in 1..=8 {
        desk.app.selected = SlotNo(n);
        desk.press(KeyCode::F(3));
        desk.assert(&format!("verdicts-slot-{n}"));
    }
}

#[test]
fn states_of_the_bench_look_like_themselves() {
    let mut desk = bench();
    desk.assert("bench");
    for n in 1..=6 {
        desk.app.selected = SlotNo(n);
        desk.press(KeyCode::F(3));
        desk.assert(&format!("bench-slot-{n}"));
    }
}

#[test]
fn the_other_screens_and_the_questions() {
    let mut desk = demo(160);
    desk.press(KeyCode::F(7));
    desk.assert("log");
    desk.press(KeyCode::F(1));
    desk.assert("help");
    desk.press(KeyCode::F(2));
    for (key, name) in [(8, "abort"), (9, "finish"), (10, "quit")] {
        desk.press(KeyCode::F(key));
        desk.assert(&format!("question-{name}"));
        desk.press(KeyCode::Esc);
    }
    let mut desk = bench();
    desk.press(KeyCode::F(10));
    desk.assert("question-quit-held");
}

/// Three devices failed in the same way: the line is stopped, and a fourth one waits.
fn stopped() -> Desk {
    let mut desk = Desk::new(8);
    for n in 1..=3 {
        desk.happen(begin(n));
        desk.happen([end(n, Verdict::Fail, Some(Code::KeyBlank), "")]);
    }
    desk.happen([Fact::LineStopped {
        code: Code::KeyBlank,
        devices: (1..=3).map(device).collect(),
    }]);
    desk.happen([Fact::LabelBound {
        slot: SlotNo(1),
        device: device(1),
        serial: "ARNKAB846A00001".to_owned(),
    }]);
    desk.rack.slots[3] = SlotView {
        device: Some(device(4)),
        ..SlotView::awaiting(SlotNo(4), Awaits::Line)
    };
    desk.rack.role = Role::Operator { next_pin: None };
    desk
}

fn engineer() -> Role {
    Role::Engineer {
        name: "ada".to_owned(),
        until: Wall::from_millis(1_795_000_900_000).unwrap(),
    }
}

#[test]
fn a_stopped_line_is_on_every_screen() {
    let mut desk = stopped();
    desk.app.on(Event::Resize(80, 24), &mut desk.rack);
    desk.app.selected = SlotNo(4);
    desk.assert("stopped");
    for (key, name) in [
        (3, "slot"),
        (7, "log"),
        (4, "device"),
        (5, "outbox"),
        (6, "yield"),
        (1, "help"),
    ] {
        desk.press(KeyCode::F(key));
        for size in SIZES {
            let picture = desk.picture(size, Depth::Mono);
            assert!(
                picture.contains("LINE STOPPED: 3 devices in a row failed with key-blank"),
                "{name}\n{picture}"
            );
        }
    }
    desk.app.selected = SlotNo(1);
    desk.press(KeyCode::F(3));
    desk.assert("stopped-slot-labelled");
    desk.press(KeyCode::F(12));
    desk.assert("question-pin");
    desk.rack.role = Role::Operator {
        next_pin: Some(Wall::from_millis(1_795_000_900_000).unwrap()),
    };
    desk.assert("question-pin-waits");
    desk.press(KeyCode::Esc);
    desk.rack.role = engineer();
    desk.press(KeyCode::F(12));
    desk.assert("question-release-line");
}

#[test]
fn what_a_screen_offers_is_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let mut store = Store::open(&ledger, StationId("demo".to_owned()), store::Options::default()).unwrap();
    let mut desk = verdicts();
    let recipe = Fact::RecipeRecorded {
        hash: Sha256([0x2a; 32]),
        name: "argon".to_owned(),
        text: String::new(),
    };
    let at = desk.journal[0].at;
    store.append(at, &[recipe]).unwrap();
    for record in &desk.journal {
        store.append(record.at, std::slice::from_ref(&record.fact)).unwrap();
    }
    let import = Item {
        id: ItemId::import(run(8)),
        run: run(8),
        device: device(8),
        product: None,
        errand: Errand::Import { activate_sim: false },
        after: None,
    };
    let (item, answer_of) = (import.id.clone(), |attempt, answer| Fact::ItemAnswered {
        item: import.id.clone(),
        attempt,
        answer,
    });
    let sent = |attempt| Fact::ItemSent {
        item: item.clone(),
        attempt,
    };
    let refused = || Answer::Refused {
        code: Code::ImportInvalid,
        reason: "the device is in no product of this account, and its owner is not told".to_owned(),
    };
    let queued = Fact::ItemQueued { item: import.clone() };
    store
        .append(
            at,
            &[queued, sent(1), answer_of(1, refused()), sent(2), answer_of(2, refused())],
        )
        .unwrap();
    let waits = Item {
        id: ItemId::import(run(7)),
        run: run(7),
        device: device(7),
        ..import.clone()
    };
    store.append(at, &[Fact::ItemQueued { item: waits }]).unwrap();
    let reader = Reader::open(&ledger).unwrap();
    let ask = |desk: &mut Desk, question| {
        let answer = answer(&reader, question).unwrap();
        desk.app.on(Event::Ledger(answer), &mut desk.rack);
    };
    desk.rack.owed = 1;
    desk.press(KeyCode::F(5));
    ask(&mut desk, Question::Owed);
    desk.assert("outbox-refused");
    desk.press(KeyCode::F(4));
    ask(&mut desk, Question::Find(device(2).to_string()));
    desk.assert("device-repair");
    desk.press(KeyCode::F(12));
    desk.assert("question-repair");
    desk.press(KeyCode::Esc);
    ask(&mut desk, Question::Find(device(5).to_string()));
    desk.rack.role = engineer();
    desk.assert("device-quarantined");
    desk.press(KeyCode::F(12));
    desk.assert("question-release");
}

/// A station with two recipes for one platform, whose engineer is there.
#[test]
fn an_engineer_chooses_a_recipe_and_leaves_a_step_out() {
    let mut desk = demo(160);
    let recipe = |name: &str, n: u8, product: &str, counts| RecipeView {
        name: name.to_owned(),
        platform: Platform::Boron,
        hash: Sha256([n; 32]),
        product: Some(ProductId(product.to_owned())),
        firmware: vec!["boron-system-part1@6.2.1.bin".to_owned(), format!("{name}.bin")],
        counts,
    };
    desk.rack.recipes = vec![
        recipe("boron", 1, "1002", true),
        recipe("boron-of-last-year", 2, "1001", false),
    ];
    desk.rack.role = engineer();
    desk.app.on(
        Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::ALT)),
        &mut desk.rack,
    );
    desk.press(KeyCode::Down);
    desk.assert("recipes");
    desk.press(KeyCode::F(12));
    desk.assert("question-recipe");
    desk.press(KeyCode::Esc);
    desk.press(KeyCode::F(3));
    desk.assert("slot-of-an-engineer");
    desk.press(KeyCode::F(12));
    desk.assert("question-leave-out");
}

/// The ledger that the demo's journal makes, for what the screen reads there.
#[test]
fn what_the_ledger_knows() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let mut store = Store::open(&ledger, StationId("demo".to_owned()), store::Options::default()).unwrap();
    let records = journal(DEMO);
    for record in &records {
        store.append(record.at, std::slice::from_ref(&record.fact)).unwrap();
    }
    let reader = Reader::open(&ledger).unwrap();
    let mut desk = demo(usize::MAX);
    let ask = |desk: &mut Desk, question| {
        let answer = answer(&reader, question).unwrap();
        desk.app.on(Event::Ledger(answer), &mut desk.rack);
    };
    desk.press(KeyCode::F(4));
    desk.assert("device-none-yet");
    ask(&mut desk, Question::Find("arnkab846a1b2c1".to_owned()));
    desk.assert("device");
    ask(&mut desk, Question::Find("e00fce".to_owned()));
    desk.assert("device-many");
    ask(&mut desk, Question::Find("P046".to_owned()));
    desk.assert("device-unknown");
    desk.press(KeyCode::F(5));
    ask(&mut desk, Question::Owed);
    desk.assert("outbox-empty");
    desk.press(KeyCode::F(6));
    ask(&mut desk, Question::Shift(Wall::from_millis(0).unwrap()));
    desk.assert("yield");
    // While the keys of the demo are under way, they are owed.
    let before: Vec<Fact> = records
        .iter()
        .take_while(|record| !matches!(record.fact, Fact::ItemAnswered { .. }))
        .map(|record| record.fact.clone())
        .collect();
    let early = folder.path().join("early");
    let mut store = Store::open(&early, StationId("demo".to_owned()), store::Options::default()).unwrap();
    store.append(records[0].at, &before).unwrap();
    let owed = answer(&Reader::open(&early).unwrap(), Question::Owed).unwrap();
    desk.app.on(Event::Ledger(owed), &mut desk.rack);
    desk.press(KeyCode::F(5));
    desk.assert("outbox");
}

#[test]
fn large_racks_fit_or_scroll() {
    for slots in [64, 120] {
        let mut desk = Desk::new(slots);
        for n in 1..=slots {
            desk.happen(begin(n));
            if n % 5 == 0 {
                desk.happen([end(n, Verdict::Fail, Some(Code::KeyBlank), "")]);
            }
        }
        desk.assert(&format!("large-{slots}"));
        desk.press(KeyCode::End);
        desk.assert(&format!("large-{slots}-end"));
    }
}

#[test]
fn without_colour_the_text_is_the_same_and_no_colour_is_named() {
    for mut desk in [verdicts(), bench()] {
        for size in SIZES {
            let with = desk.picture(size, Depth::True);
            let without = desk.picture(size, Depth::Mono);
            let text = |picture: &str| picture.split("---").next().unwrap().to_owned();
            assert_eq!(text(&with), text(&without));
            assert!(!without.contains("Rgb") && !without.contains("Indexed"), "{without}");
        }
    }
}

#[test]
fn no_two_tiles_of_different_states_look_alike_without_colour() {
    let mut seen = BTreeSet::new();
    for mut desk in [verdicts(), bench()] {
        let picture = desk.picture((160, 48), Depth::Mono);
        for n in 1..=8 {
            let bar = picture.lines().find_map(|line| {
                let at = line.find(&format!(" {n} "))?;
                let rest: String = line[at + 3..].chars().take(12).collect();
                (!rest.starts_with(' ')).then_some(rest)
            });
            seen.extend(bar);
        }
    }
    assert!(seen.len() >= 12, "{seen:?}");
}

/// A failure is read on one screen to its last word: nothing of reason and next action is cut off.
#[test]
fn every_code_is_told_in_full_in_the_slot() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for code in Code::ALL {
        let mut desk = Desk::new(1);
        desk.happen(begin(1));
        desk.happen([end(1, Verdict::Fail, Some(*code), "")]);
        desk.press(KeyCode::F(3));
        let picture = desk.picture((80, 24), Depth::Mono);
        let shown = words(picture.split("---").next().unwrap());
        for sentence in [code.what(), code.next_action()] {
            let wanted = words(sentence);
            assert!(
                shown.windows(wanted.len()).any(|window| window == wanted),
                "{code}: {sentence}\n{picture}"
            );
        }
    }
}
