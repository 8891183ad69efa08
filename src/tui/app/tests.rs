use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;

use super::*;
use crate::{
    model::{DeviceId, RunId, Secret, Verdict},
    rack::{
        Command, OrderName, Told,
        view::{self, Awaits, Role, SlotView, Stopped},
    },
    tui::keymap::TABLE,
};

fn rack() -> RackView {
    let busy = SlotView {
        run: Some(RunId(uuid::Uuid::from_u128(1))),
        device: Some(DeviceId::from_bytes([0xe0; 12])),
        ..SlotView::awaiting(SlotNo(1), Awaits::Step)
    };
    let judged = SlotView {
        run: Some(RunId(uuid::Uuid::from_u128(2))),
        device: Some(DeviceId::from_bytes([0xe1; 12])),
        verdict: Some(Verdict::Fail),
        ..SlotView::awaiting(SlotNo(2), Awaits::Removal(Verdict::Fail))
    };
    RackView {
        slots: vec![busy, judged, SlotView::awaiting(SlotNo(3), Awaits::Device)],
        ..RackView::default()
    }
}

fn app() -> App {
    let place = |n| Place {
        slot: SlotNo(n),
        position: None,
        label: None,
    };
    let station = Station {
        id: StationId("t".to_owned()),
        places: (1..=3).map(place).collect(),
        patterns: Patterns::default(),
    };
    App::new(station, Story::default(), Wall::from_millis(0).unwrap(), (80, 24))
}

fn press(app: &mut App, code: KeyCode) -> Vec<Wish> {
    app.on(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), &mut rack())
}

fn write(app: &mut App, text: &str) {
    for c in text.chars() {
        assert_eq!(press(app, KeyCode::Char(c)), []);
    }
}

#[test]
fn a_run_is_stopped_by_its_word_and_its_key() {
    let mut app = app();
    assert_eq!(press(&mut app, KeyCode::F(8)), []);
    assert_eq!(app.question, Some(Question::Abort(SlotNo(1))));
    assert_eq!(press(&mut app, KeyCode::F(8)), [], "the word is missing");
    write(&mut app, "abort 2");
    assert_eq!(press(&mut app, KeyCode::F(8)), [], "another slot's word");
    write(&mut app, "Abort 1");
    assert_eq!(
        press(&mut app, KeyCode::F(8)),
        [Wish::Ask(Asked::Station(Command::Abort(SlotNo(1))))]
    );
    assert_eq!((app.question, app.line.is_empty()), (None, true));
}

#[test]
fn a_slot_without_a_run_has_nothing_to_stop() {
    for slot in [2, 3] {
        let mut app = app();
        app.selected = SlotNo(slot);
        assert_eq!(press(&mut app, KeyCode::F(8)), []);
        assert_eq!(app.question, None);
        assert!(app.notice.is_some_and(|notice| notice.bad));
    }
}

#[test]
fn quit_and_finish_ask_first_and_any_other_key_is_a_no() {
    for (key, command) in [(9, Command::Finish), (10, Command::Quit)] {
        let mut app = app();
        assert_eq!(press(&mut app, KeyCode::F(key)), []);
        assert_eq!(press(&mut app, KeyCode::F(2)), []);
        assert_eq!(app.question, None);
        assert_eq!(press(&mut app, KeyCode::F(key)), []);
        assert_eq!(press(&mut app, KeyCode::F(key)), [Wish::Ask(Asked::Station(command))]);
    }
}

#[test]
fn only_a_replay_has_a_pace() {
    let mut app = app();
    let pause = KeyEvent::new(KeyCode::Char('p'), KeyModifiers::ALT);
    assert_eq!(app.on(Event::Key(pause), &mut rack()), []);
    app.on(Event::Replay("×60".to_owned()), &mut rack());
    assert_eq!(
        app.on(Event::Key(pause), &mut rack()),
        [Wish::Ask(Asked::Replay(Pace::Pause))]
    );
}

#[test]
fn arrows_select_and_turn_pages() {
    let mut app = app();
    press(&mut app, KeyCode::Right);
    assert_eq!(app.selected, SlotNo(2));
    press(&mut app, KeyCode::F(3));
    press(&mut app, KeyCode::Right);
    assert_eq!((app.screen, app.selected), (Screen::Slot, SlotNo(3)));
    press(&mut app, KeyCode::F(1));
    press(&mut app, KeyCode::End);
    let end = app.scroll;
    press(&mut app, KeyCode::Down);
    assert!(end > 0 && app.scroll == end, "not beyond the end");
    press(&mut app, KeyCode::Up);
    assert_eq!(app.scroll, end - 1);
}

#[test]
fn a_scan_selects_the_slot_of_its_device() {
    let mut app = app();
    app.selected = SlotNo(3);
    write(&mut app, &format!("{}\r", DeviceId::from_bytes([0xe1; 12])).replace('\r', ""));
    assert_eq!(press(&mut app, KeyCode::Enter), []);
    assert_eq!(app.selected, SlotNo(2));
    write(&mut app, "e0e0e0");
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.selected, SlotNo(1));
    write(&mut app, "P046AF450V9AB12 SECRETSECRET123");
    let find = ledger::Question::Find("p046af450v9ab12".to_owned());
    assert_eq!(press(&mut app, KeyCode::Enter), [Wish::Ledger(find)], "without the secret");
    assert_eq!((app.selected, app.screen), (SlotNo(1), Screen::Floor));
    let none = Found::None("p046af450v9ab12".to_owned());
    app.on(Event::Ledger(Answer::Found(none)), &mut rack());
    assert!(app.notice.is_some_and(|notice| notice.bad));
}

#[test]
fn a_badge_a_work_order_and_a_label_are_the_stations_to_judge() {
    let mut app = app();
    let station = |command| vec![Wish::Ask(Asked::Station(command))];
    write(&mut app, "OP-eva");
    assert_eq!(
        press(&mut app, KeyCode::Enter),
        station(Command::Operator(Some("eva".to_owned())))
    );
    write(&mut app, "WO-17/500");
    let order = OrderName {
        id: "WO-17".to_owned(),
        quantity: Some(500),
    };
    assert_eq!(press(&mut app, KeyCode::Enter), station(Command::WorkOrder(Some(order))));
    press(&mut app, KeyCode::F(3));
    write(&mut app, "P046AF450V9AB12 SECRETSECRET123");
    let label = Command::Label {
        slot: SlotNo(1),
        serial: "P046AF450V9AB12".to_owned(),
    };
    let wishes = press(&mut app, KeyCode::Enter);
    assert_eq!(wishes, station(label.clone()));
    assert!(!format!("{wishes:?} {app:?}").contains("SECRETSECRET"));
    write(&mut app, "p046af450v9ab12");
    assert_eq!(
        press(&mut app, KeyCode::Enter),
        station(label),
        "an older label has no secret"
    );
    app.on(Event::Told(Told::refused("wrong label")), &mut rack());
    assert!(app.notice.as_ref().is_some_and(|notice| notice.bad));
    app.on(Event::Told(Told::done("the right one")), &mut rack());
    assert!(app.notice.as_ref().is_some_and(|notice| !notice.bad));
    app.on(Event::Replay("×60".to_owned()), &mut rack());
    write(&mut app, "OP-eva");
    assert_eq!(press(&mut app, KeyCode::Enter), [], "the past is what it is");
}

#[test]
fn what_is_scanned_and_in_no_slot_is_shown_but_not_over_a_question() {
    for question in [None, Some(Question::Quit)] {
        let mut app = app();
        write(&mut app, "89314404000123456789");
        let find = ledger::Question::Find("89314404000123456789".to_owned());
        assert_eq!(press(&mut app, KeyCode::Enter), [Wish::Ledger(find)]);
        app.question = question;
        app.on(Event::Ledger(Answer::Found(Found::Some(Vec::new()))), &mut rack());
        assert_eq!(app.screen == Screen::Device, question.is_none());
    }
}

/// A rack whose line is stopped, with PINs.
fn stopped(role: Role) -> RackView {
    RackView {
        stopped: Some(Stopped {
            code: crate::model::Code::KeyBlank,
            devices: vec![DeviceId::from_bytes([0xe1; 12])],
            since: Wall::from_millis(0).unwrap(),
        }),
        role,
        ..rack()
    }
}

#[test]
fn a_pin_is_asked_for_before_what_only_engineers_may_and_is_never_shown() {
    let mut app = app();
    let mut rack = stopped(Role::Operator { next_pin: None });
    let key = |app: &mut App, rack: &mut RackView, code| app.on(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), rack);
    assert_eq!(key(&mut app, &mut rack, KeyCode::F(12)), []);
    assert_eq!(app.question, Some(Question::Pin));
    for c in "eva 271828".chars() {
        key(&mut app, &mut rack, KeyCode::Char(c));
    }
    assert_eq!(app.line_shown(), "••••••••••");
    assert!(!format!("{app:?}").contains("271828"));
    assert_eq!(key(&mut app, &mut rack, KeyCode::Enter), [], "Enter is the scanner's");
    assert!(app.line.is_empty() && app.question == Some(Question::Pin));
    for c in "eva 271828".chars() {
        key(&mut app, &mut rack, KeyCode::Char(c));
    }
    let pin = Pin(Secret::new("eva 271828".to_owned()));
    assert_eq!(key(&mut app, &mut rack, KeyCode::F(11)), [Wish::Ask(Asked::Pin(pin))]);
    assert!(app.line.is_empty());
}

#[test]
fn a_stopped_line_is_released_by_words_with_a_reason() {
    let mut app = app();
    let mut rack = stopped(Role::Anybody);
    let key = |app: &mut App, rack: &mut RackView, code| app.on(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), rack);
    let words = |app: &mut App, rack: &mut RackView, text: &str| {
        for c in text.chars() {
            key(app, rack, KeyCode::Char(c));
        }
    };
    key(&mut app, &mut rack, KeyCode::F(12));
    assert_eq!(app.question, Some(Question::ReleaseLine));
    words(&mut app, &mut rack, "release line");
    assert_eq!(key(&mut app, &mut rack, KeyCode::F(12)), [], "a reason is missing");
    words(&mut app, &mut rack, "Release line  a batch without keys");
    assert_eq!(app.line_shown(), "Release line  a batch without keys");
    let why = "a batch without keys".to_owned();
    assert_eq!(
        key(&mut app, &mut rack, KeyCode::F(12)),
        [Wish::Ask(Asked::Station(Command::ReleaseLine { why }))]
    );
    key(&mut app, &mut rack, KeyCode::F(12));
    words(&mut app, &mut rack, "P046AF450V9AB12 SECRET");
    assert_eq!(app.line_shown(), "P046AF450V9AB12 ••••••", "other words are not shown");
}

#[test]
fn a_step_is_left_out_by_its_number_and_a_reason_and_a_recipe_by_its_own() {
    let mut app = app();
    let mut rack = rack();
    rack.recipes = vec![view::RecipeView {
        name: "other".to_owned(),
        platform: crate::model::Platform::Boron,
        hash: crate::model::recipe::Sha256([1; 32]),
        product: None,
        firmware: Vec::new(),
        counts: false,
    }];
    let key = |app: &mut App, rack: &mut RackView, code| app.on(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), rack);
    app.question = Some(Question::LeaveOut(SlotNo(1)));
    for (words, right) in [
        ("leave out 12", false),
        ("leave out x no network", false),
        ("leave out 12  no network", true),
    ] {
        for c in words.chars() {
            key(&mut app, &mut rack, KeyCode::Char(c));
        }
        let wishes = key(&mut app, &mut rack, KeyCode::F(12));
        let command = Command::LeaveOut {
            slot: SlotNo(1),
            step: 12,
            why: "no network".to_owned(),
        };
        assert_eq!(wishes == [Wish::Ask(Asked::Station(command))], right, "{words}: {wishes:?}");
    }
    app.screen = Screen::Recipes;
    key(&mut app, &mut rack, KeyCode::F(12));
    assert_eq!(app.question, Some(Question::UseRecipe(1)));
    for c in "use recipe 1 the customer's order".chars() {
        key(&mut app, &mut rack, KeyCode::Char(c));
    }
    let command = Command::UseRecipe {
        name: "other".to_owned(),
        why: "the customer's order".to_owned(),
    };
    assert_eq!(key(&mut app, &mut rack, KeyCode::F(12)), [Wish::Ask(Asked::Station(command))]);
}

#[test]
fn in_one_slot_a_scan_says_whether_it_is_the_device_there() {
    let mut app = app();
    press(&mut app, KeyCode::F(3));
    write(&mut app, "e1e1e1");
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.selected, SlotNo(1), "a wrong label moves nothing");
    assert!(
        app.notice
            .as_ref()
            .is_some_and(|notice| notice.bad && notice.text.contains("slot 2"))
    );
    write(&mut app, "e0e0e0");
    press(&mut app, KeyCode::Enter);
    assert!(app.notice.is_some_and(|notice| !notice.bad && notice.text.contains("agree")));
}

/// True if nothing is done but what a scan is for: looking for a device, naming who is there and what is worked on, and
/// comparing a label.
fn scans(wish: &Wish) -> bool {
    match wish {
        Wish::Ledger(ledger::Question::Find(_)) => true,
        Wish::Ask(Asked::Station(command)) => {
            matches!(command, Command::Operator(_) | Command::WorkOrder(_) | Command::Label { .. })
        }
        _ => false,
    }
}

/// Every screen, and every question over it.
fn situations() -> Vec<App> {
    let questions = [
        None,
        Some(Question::Abort(SlotNo(1))),
        Some(Question::Finish),
        Some(Question::Quit),
        Some(Question::Pin),
        Some(Question::ReleaseLine),
        Some(Question::Release(DeviceId::from_bytes([0xe1; 12]))),
        Some(Question::Repair(DeviceId::from_bytes([0xe1; 12]))),
        Some(Question::UseRecipe(1)),
        Some(Question::LeaveOut(SlotNo(1))),
    ];
    let screens: Vec<Screen> = TABLE
        .iter()
        .filter_map(|row| match row.act {
            Act::Help => Some(Screen::Help),
            Act::Floor => Some(Screen::Floor),
            Act::Slot => Some(Screen::Slot),
            Act::Log => Some(Screen::Log),
            Act::Device => Some(Screen::Device),
            Act::Outbox => Some(Screen::Outbox),
            Act::Yield => Some(Screen::Yield),
            Act::Recipes => Some(Screen::Recipes),
            _ => None,
        })
        .collect();
    let mut all = Vec::new();
    for screen in screens {
        for question in questions {
            all.push(App {
                screen,
                question,
                ..app()
            });
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_barcode_does_more_than_a_scan_may(
        code in prop_oneof![
            "[ -~\u{1d}\u{1e}\u{4}\t]{1,512}",
            "(OP-|WO-|abort |release |repair |release line )[ -~]{1,40}",
            "[A-Z0-9]{15}[ \u{1d}][A-Z0-9]{15}\u{4}?",
        ],
        enter in any::<bool>(),
    ) {
        for mut app in situations() {
            let (screen, question) = (app.screen, app.question);
            let mut rack = rack();
            for c in code.chars().chain(enter.then_some('\r')) {
                let (code, modifiers) = match c {
                    '\r' => (KeyCode::Enter, KeyModifiers::NONE),
                    '\t' => (KeyCode::Tab, KeyModifiers::NONE),
                    '\u{1d}' => (KeyCode::Char('5'), KeyModifiers::CONTROL),
                    '\u{1e}' => (KeyCode::Char('6'), KeyModifiers::CONTROL),
                    '\u{4}' => (KeyCode::Char('d'), KeyModifiers::CONTROL),
                    'A'..='Z' => (KeyCode::Char(c), KeyModifiers::SHIFT),
                    c => (KeyCode::Char(c), KeyModifiers::NONE),
                };
                let wishes = app.on(Event::Key(KeyEvent::new(code, modifiers)), &mut rack);
                prop_assert!(wishes.iter().all(scans));
            }
            prop_assert_eq!((app.screen, app.question), (screen, question));
            let wishes = app.on(Event::Paste(code.clone()), &mut rack);
            prop_assert!(wishes.iter().all(scans));
            prop_assert_eq!((app.screen, app.question), (screen, question));
        }
    }
}
