//! What people ask for: who may, what comes of it, and the stopped line.

use super::*;

const PIN: Input = Input::Pin(None);

fn of(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 12])
}

/// A run of this device ends so; the rack is that of a station with these rules.
fn ended(shift: &mut Shift, n: u8, verdict: Verdict, code: Option<Code>) {
    let fact = Fact::RunEnded {
        run: RunId(uuid::Uuid::from_u128(u128::from(n))),
        device: of(n),
        verdict,
        code,
        why: String::new(),
        proved: false,
    };
    shift.apply(Wall::from_millis(0).unwrap(), &fact);
}

fn with_rules(rules: Rules) -> Drive {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let setting = Setting {
        rules,
        ..drive.rack.setting().clone()
    };
    drive.rack = Rack::new(setting);
    drive
}

fn with_pins() -> Drive {
    with_rules(Rules {
        pins: true,
        ..Rules::default()
    })
}

impl Drive {
    /// What a person is told.
    fn tell(&mut self, command: Command, lore: Lore) -> Told {
        let input = Input::Informed { command, lore };
        let told = self.rack.decide(self.now, self.wall(), &input).unwrap().told;
        self.give(&input);
        told.expect("whoever asks is told")
    }

    fn ask(&mut self, command: Command) -> Told {
        self.tell(command, Lore::default())
    }

    fn comes(&mut self, name: &str) -> bool {
        let input = Input::Pin(Some(name.to_owned()));
        let told = self.rack.decide(self.now, self.wall(), &input).unwrap().told;
        self.give(&input);
        told.is_some_and(|told| told.done)
    }
}

fn why(text: &str) -> String {
    text.to_owned()
}

/// Every command, and whether an operator may ask for it.
fn commands() -> Vec<(Command, bool)> {
    vec![
        (Command::Abort(SlotNo(1)), true),
        (Command::Finish, true),
        (Command::Quit, true),
        (Command::TokenRenewed, true),
        (Command::Operator(Some("eva".into())), true),
        (Command::WorkOrder(None), true),
        (
            Command::Label {
                slot: SlotNo(1),
                serial: "P046AF450V9AB12".into(),
            },
            true,
        ),
        (Command::EngineerLeaves, true),
        (Command::Retry, true),
        (Command::ReleaseLine { why: why("looked") }, false),
        (
            Command::Release {
                device: DEVICE,
                why: why("looked"),
            },
            false,
        ),
        (Command::Repair(DEVICE), false),
        (
            Command::UseRecipe {
                name: "other".into(),
                why: why("asked for"),
            },
            false,
        ),
        (
            Command::LeaveOut {
                slot: SlotNo(1),
                step: 1,
                why: why("no network"),
            },
            false,
        ),
        (Command::PinsSet, true),
    ]
}

#[test]
fn an_operator_may_not_do_what_engineers_may_and_nothing_comes_of_it() {
    for (command, operators) in commands() {
        assert_eq!(command.is_engineers(), !operators, "{command:?}");
        let mut drive = with_pins();
        let before = drive.rack.view();
        let told = drive.ask(command.clone());
        let refused = !told.done && told.text.contains("only an engineer");
        assert_eq!(refused, !operators, "{command:?}: {}", told.text);
        if refused {
            assert!(drive.facts.is_empty() && drive.rack.view() == before, "{command:?}");
        }
    }
}

#[test]
fn a_first_pin_counts_at_once_and_the_last_one_that_goes_lets_everybody_in() {
    let mut drive = with_rules(Rules::default());
    let repair = || Command::Repair(DEVICE);
    let pins = |pins| Lore {
        pins: Some(pins),
        ..Lore::default()
    };
    assert!(drive.ask(repair()).done);
    let told = drive.tell(repair(), pins(true));
    assert!(!told.done && told.text.contains("only an engineer"), "{}", told.text);
    assert_eq!(drive.rack.view().role, view::Role::Operator { next_pin: None });
    assert!(!drive.ask(repair()).done, "it stays so");
    assert!(drive.tell(Command::PinsSet, pins(false)).done);
    assert_eq!(drive.rack.view().role, view::Role::Anybody);
    assert!(drive.ask(repair()).done);
}

/// A station with a usual recipe and one on standby, of which the last makes no key.
fn with_a_choice() -> Drive {
    let mut drive = with_pins();
    let mut book = Book::default();
    let prepared = |recipe: Recipe| Prepared {
        recipe: Arc::new(recipe),
        firmware: Vec::new(),
        needs: Vec::new(),
    };
    book.offer(prepared(recipe(KeyPolicy::Generate)));
    let mut other = recipe(KeyPolicy::Read);
    other.name = "other".into();
    other.hash = Fingerprint([0x55; 32]);
    book.offer_standby(prepared(other));
    let setting = Setting {
        book,
        ..drive.rack.setting().clone()
    };
    drive.rack = Rack::new(setting);
    drive
}

#[test]
fn an_engineer_chooses_the_recipe_of_new_runs_and_it_stays_chosen() {
    let mut drive = with_a_choice();
    let other = Fingerprint([0x55; 32]);
    let ask = |name: &str| Command::UseRecipe {
        name: name.into(),
        why: why("the customer's order"),
    };
    assert_eq!(drive.rack.view().recipes.iter().filter(|recipe| recipe.counts).count(), 1);
    assert!(!drive.ask(ask("other")).done);
    assert!(drive.comes("eva"));
    assert!(!drive.ask(ask("unknown")).done);
    assert!(drive.ask(ask("Other")).done);
    assert!(!drive.ask(ask("other")).done, "it counts already");
    let counts: Vec<_> = drive.rack.view().recipes.into_iter().filter(|recipe| recipe.counts).collect();
    assert!(matches!(&counts[..], [recipe] if recipe.hash == other), "{counts:?}");
    drive.run(&mut by_the_book);
    assert_eq!(
        drive.count(|fact| matches!(fact, Fact::RunStarted { recipe, .. } if *recipe == other)),
        1
    );
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)));

    // After a start; and under a configuration that has it no more.
    let records = drive.records();
    let mut again = Rack::new(drive.rack.setting().clone());
    again.recall(&records);
    assert_eq!(again.view().recipes, drive.rack.view().recipes);
    let mut without = Drive::new(recipe(KeyPolicy::Generate), valid(1)).rack;
    without.recall(&records);
    assert!(without.view().recipes.iter().all(|recipe| recipe.counts), "its usual one");
}

#[test]
fn what_an_engineer_leaves_out_is_no_pass_and_what_keys_rest_on_is_not_left_out() {
    let mut drive = Drive::new(with_wifi(), valid(1));
    let setting = Setting {
        rules: Rules {
            pins: true,
            ..Rules::default()
        },
        ..drive.rack.setting().clone()
    };
    drive.rack = Rack::new(setting);
    let join = drive.run_until_kept(StepKind::JoinNetwork);
    assert!(drive.comes("eva"));
    let steps = drive.rack.runs().next().unwrap().steps.clone();
    let number = |kind: StepKind| u8::try_from(steps.iter().position(|step| step.kind == kind).unwrap() + 1).unwrap();
    let leave = |step| Command::LeaveOut {
        slot: SlotNo(1),
        step,
        why: why("no network at the bench"),
    };
    for (i, step) in steps.iter().enumerate().filter(|(_, step)| !step.kind.may_be_left_out()) {
        let told = drive.ask(leave(u8::try_from(i + 1).unwrap()));
        assert!(!told.done, "{}: {}", step.kind, told.text);
    }
    assert!(!drive.ask(leave(number(StepKind::JoinNetwork))).done, "it has begun");
    for missing in [0, 200] {
        assert!(!drive.ask(leave(missing)).done);
    }
    let no_reason = Command::LeaveOut {
        slot: SlotNo(1),
        step: number(StepKind::Check),
        why: why(" "),
    };
    assert!(!drive.ask(no_reason).done);
    assert!(drive.ask(leave(number(StepKind::Check))).done);
    assert!(!drive.ask(leave(number(StepKind::Check))).done, "once is enough");
    drive.done(join);
    drive.until_idle(400, &mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Aborted, Some(Code::StepLeftOut))));
    let check = usize::from(number(StepKind::Check) - 1);
    assert_eq!(
        drive.count(|fact| matches!(fact, Fact::StepStarted { step, .. } if usize::from(*step) == check)),
        0
    );
}

#[test]
fn without_pins_everybody_is_an_engineer_but_a_decision_has_a_name() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let lore = || Lore {
        quarantined: Some(RunId(uuid::Uuid::from_u128(7))),
        ..Lore::default()
    };
    let release = || Command::Release {
        device: DEVICE,
        why: why("connected by hand"),
    };
    assert!(drive.tell(release(), lore()).text.contains("named person"));
    assert!(drive.ask(Command::Operator(Some("eva".into()))).done);
    assert!(drive.tell(release(), lore()).done);
    let by = drive.facts.iter().find_map(|(_, fact)| match fact {
        Fact::QuarantineReleased { by, .. } => Some(by.as_str()),
        _ => None,
    });
    assert_eq!(by, Some("eva"));
}

#[test]
fn a_pin_counts_for_its_time_and_is_on_record() {
    let mut drive = with_pins();
    assert!(drive.comes("eva"));
    assert!(matches!(drive.rack.view().role, view::Role::Engineer { name, .. } if name == "eva"));
    assert_eq!(
        drive.rack.next_tick(drive.now, drive.wall()),
        Some(drive.now + Duration::from_secs(900))
    );
    drive.pass_time(Duration::from_secs(899));
    assert!(drive.ask(Command::Repair(DEVICE)).done);
    drive.pass_time(Duration::from_secs(1));
    assert!(!drive.ask(Command::Repair(of(9))).done);
    assert_eq!(drive.count(|f| matches!(f, Fact::EngineerCame { .. })), 1);
    assert_eq!(drive.count(|f| matches!(f, Fact::EngineerLeft { name } if name == "eva")), 1);
    assert!(drive.comes("ada") && drive.ask(Command::EngineerLeaves).done);
    assert!(!drive.ask(Command::Repair(of(9))).done);
}

#[test]
fn wrong_pins_have_to_wait_longer_and_longer_also_after_a_start() {
    let mut drive = with_pins();
    for _ in 0..3 {
        assert!(drive.rack.shift().next_pin(drive.wall()).is_none());
        drive.give(&PIN);
    }
    assert!(!drive.comes("eva"), "even the right one");
    assert_eq!(
        drive.count(|f| matches!(f, Fact::PinRefused {})),
        3,
        "and a guess in the wait is none"
    );
    let records: Vec<Record> = drive
        .facts
        .iter()
        .map(|(at, fact)| Record {
            seq: 1,
            at: *at,
            station: StationId("bench".into()),
            fact: fact.clone(),
        })
        .collect();
    let mut again = with_pins();
    again.now = drive.now;
    again.rack.recall(&records);
    assert!(!again.comes("eva"), "a start is no way around it");
    drive.pass_time(Duration::from_secs(30));
    drive.give(&PIN);
    drive.pass_time(Duration::from_secs(31));
    assert!(!drive.comes("eva"), "a minute by now");
    drive.pass_time(Duration::from_secs(30));
    assert!(drive.comes("eva"));
    assert!(drive.rack.shift().next_pin(drive.wall()).is_none());
    let back = Wall::from_millis(drive.wall().millis() - 86_400_000).unwrap();
    assert!(
        again.rack.shift().next_pin(back).is_none(),
        "a clock that jumped back locks nobody out"
    );
}

#[test]
fn only_equal_failures_of_different_devices_add_up() {
    let (blank, corrupt) = (Some(Code::KeyBlank), Some(Code::KeyCorrupt));
    let mut shift = Shift::default();
    let count = |shift: &Shift| shift.failures().map_or(0, |(_, devices)| devices.len());
    ended(&mut shift, 1, Verdict::Fail, blank);
    ended(&mut shift, 1, Verdict::Fail, blank);
    assert_eq!(count(&shift), 1, "the same device again is no further one");
    ended(&mut shift, 2, Verdict::Fail, blank);
    ended(&mut shift, 3, Verdict::Aborted, Some(Code::Stopped));
    assert_eq!(count(&shift), 2, "what a person stopped says nothing");
    ended(&mut shift, 4, Verdict::Fail, corrupt);
    assert_eq!(count(&shift), 1, "another failure");
    ended(&mut shift, 5, Verdict::Pass, None);
    assert_eq!(count(&shift), 0);
    ended(&mut shift, 6, Verdict::Quarantined, Some(Code::StateUnknown));
    ended(&mut shift, 7, Verdict::Quarantined, Some(Code::StateUnknown));
    assert_eq!(count(&shift), 2);
}

/// A device with a blank slot fails under this recipe.
fn stopped() -> Drive {
    let mut drive = with_rules(Rules {
        stop_after: Some(1),
        pins: true,
        ..Rules::default()
    });
    drive.holds = SlotContent::Blank;
    drive.run(&mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::KeyBlank))));
    drive
}

#[test]
fn a_stopped_line_lets_nobody_begin_until_an_engineer_releases_it() {
    let mut drive = stopped();
    assert_eq!(
        drive.count(|f| matches!(f, Fact::LineStopped { code: Code::KeyBlank, devices } if *devices == [DEVICE])),
        1
    );
    drive.unplug();
    drive.holds = valid(1);
    drive.mode = UsbMode::Normal;
    drive.plug();
    drive.works(5, &mut by_the_book);
    assert!(
        matches!(drive.slot(), Slot::Held { device: DEVICE, .. }),
        "{:?}",
        drive.slot()
    );
    assert_eq!(drive.rack.view().slots[0].awaits, view::Awaits::Line);
    let release = || Command::ReleaseLine {
        why: why("a batch without keys; recipe corrected"),
    };
    assert!(!drive.ask(release()).done);
    assert!(drive.comes("eva"));
    assert!(!drive.ask(Command::ReleaseLine { why: why(" ") }).done, "it needs a reason");
    assert!(
        !drive
            .ask(Command::ReleaseLine {
                why: why("ask eva@example.com")
            })
            .done
    );
    assert!(drive.ask(release()).done);
    drive.works(60, &mut by_the_book);
    assert_eq!(drive.count(|f| matches!(f, Fact::RunStarted { .. })), 2);
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)));
    assert!(!drive.ask(release()).done, "it is not stopped any more");
}

#[test]
fn a_line_stays_stopped_over_a_start_and_what_was_under_way_goes_on() {
    let drive = stopped();
    let records = drive.records();
    let mut again = Rack::new(drive.rack.setting().clone());
    again.recall(&records);
    assert_eq!(again.view().stopped, drive.rack.view().stopped);
    assert_eq!(again.shift(), drive.rack.shift());
}

#[test]
fn a_repair_fails_as_often_as_it_finds_something() {
    let mut drive = with_rules(Rules {
        stop_after: Some(1),
        ..Rules::default()
    });
    let mut repairs = recipe(KeyPolicy::Read);
    repairs.aim = Aim::Repair(crate::model::recipe::Repair {
        work: crate::model::recipe::Work::Diagnose,
        from: Vec::new(),
        reference: None,
    });
    let mut book = Book::default();
    book.offer(Prepared {
        recipe: Arc::new(repairs),
        firmware: Vec::new(),
        needs: Vec::new(),
    });
    let setting = Setting {
        book,
        ..drive.rack.setting().clone()
    };
    drive.rack = Rack::new(setting);
    drive.holds = SlotContent::Blank;
    drive.plug();
    drive.works(60, &mut by_the_book);
    assert_eq!(drive.count(|f| matches!(f, Fact::RunEnded { .. })), 1);
    assert_eq!(drive.count(|f| matches!(f, Fact::LineStopped { .. })), 0);
}

#[test]
fn a_label_is_bound_to_its_own_device_and_a_wrong_one_is_refused_in_words() {
    let serial = "P046AF450V9AB12";
    let label = |slot| Command::Label {
        slot: SlotNo(slot),
        serial: serial.into(),
    };
    let lore = |told: Option<&str>, owners: &[DeviceId]| Lore {
        serial: told.map(str::to_owned),
        owners: owners.to_vec(),
        ..Lore::default()
    };
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.run(&mut by_the_book);
    let told = drive.tell(label(2), lore(None, &[]));
    assert!(!told.done && told.text.contains("slot 2 has no device"), "{}", told.text);
    for (told, owners, fits) in [
        (Some("p046af450v9ab12"), &[DEVICE][..], true),
        (None, &[], true),
        (None, &[DEVICE], true),
        (None, &[of(3)], false),
        (Some("P046AF450V9AB99"), &[], false),
    ] {
        let before = drive.facts.len();
        let answer = drive.tell(label(1), lore(told, owners));
        assert_eq!(answer.done, fits, "{}", answer.text);
        let [(_, fact)] = &drive.facts[before..] else {
            panic!("one fact");
        };
        assert_eq!(matches!(fact, Fact::LabelBound { .. }), fits);
        assert_eq!(matches!(fact, Fact::LabelRefused { .. }), !fits);
    }
    let wrong = drive.tell(label(1), lore(Some("P046AF450V9AB99"), &[of(3)]));
    assert_eq!(
        wrong.text,
        format!(
            "wrong label {serial}: the device in slot 1 is P046AF450V9AB99; it is that of {}",
            of(3)
        )
    );
}

#[test]
fn operator_and_work_order_are_facts_and_part_of_the_next_run() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    assert!(drive.ask(Command::Operator(Some(" eva ".into()))).done);
    assert!(!drive.ask(Command::Operator(Some("eva@example.com".into()))).done);
    let order = |quantity| {
        Command::WorkOrder(Some(OrderName {
            id: "WO-17".into(),
            quantity,
        }))
    };
    assert!(drive.ask(order(None)).text.contains("how many"), "nobody knows it yet");
    let lore = Lore {
        work_order: Some(WorkOrder {
            id: "WO-17".into(),
            product: Some(ProductId("14".into())),
            quantity: 70,
        }),
        ..Lore::default()
    };
    assert!(drive.tell(order(None), lore).done);
    assert!(drive.ask(order(Some(80))).done && drive.ask(order(None)).done);
    drive.run(&mut by_the_book);
    let started = drive.facts.iter().find_map(|(_, fact)| match fact {
        Fact::RunStarted {
            operator, work_order, ..
        } => Some((operator.clone(), work_order.clone())),
        _ => None,
    });
    let (operator, order) = started.unwrap();
    assert_eq!(operator.as_deref(), Some("eva"));
    let order = order.unwrap();
    assert_eq!((order.quantity, order.product), (80, Some(ProductId("14".into()))));
    assert_eq!(
        drive.count(|f| matches!(f, Fact::OperatorNamed { .. } | Fact::WorkOrderNamed { .. })),
        3,
        "what changes nothing is no fact"
    );
}

#[test]
fn an_order_that_is_named_brings_its_count_along_and_a_repair_needs_no_room_in_it() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let order = Command::WorkOrder(Some(OrderName {
        id: "WO-2".into(),
        quantity: Some(2),
    }));
    let lore = Lore {
        done: vec![of(1), of(2)],
        ..Lore::default()
    };
    assert!(drive.tell(order, lore).done);
    assert_eq!(
        drive.rack.ordered().map(|ordered| (ordered.done, ordered.left())),
        Some((2, 0))
    );
    assert!(drive.rack.not_ordered(DEVICE).is_some());
    assert!(drive.ask(Command::Repair(DEVICE)).done);
    assert!(drive.rack.not_ordered(DEVICE).is_none());
    assert!(drive.ask(Command::WorkOrder(None)).done);
    assert!(drive.rack.ordered().is_none() && drive.rack.not_ordered(of(9)).is_none());
}

#[test]
fn what_a_start_names_counts_over_what_was_named_before() {
    let mut rack = with_rules(Rules {
        operator_now: Some("ada".into()),
        ..Rules::default()
    })
    .rack;
    let fact = Fact::OperatorNamed {
        operator: Some("eva".into()),
    };
    rack.recall(&[Record {
        seq: 1,
        at: Wall::from_millis(0).unwrap(),
        station: StationId("bench".into()),
        fact,
    }]);
    assert_eq!(rack.shift().operator.as_deref(), Some("eva"));
    let decision = rack.restart(Mono::default(), Wall::from_millis(0).unwrap()).unwrap();
    assert_eq!(decision.rack.shift().operator.as_deref(), Some("ada"));
    assert_eq!(decision.facts.len(), 1);
}

#[test]
fn a_repair_that_is_asked_for_is_the_next_run_at_once_or_when_the_device_comes() {
    for in_slot in [true, false] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), SlotContent::Blank);
        let mut repairs = recipe(KeyPolicy::ReadOrGenerate);
        repairs.hash = Fingerprint([8; 32]);
        repairs.aim = Aim::Repair(crate::model::recipe::Repair {
            work: crate::model::recipe::Work::Mend,
            from: Vec::new(),
            reference: None,
        });
        let mut book = drive.rack.setting().book.clone();
        book.offer_repair(Prepared {
            recipe: Arc::new(repairs),
            firmware: Vec::new(),
            needs: Vec::new(),
        });
        let setting = Setting {
            book,
            ..drive.rack.setting().clone()
        };
        drive.rack = Rack::new(setting);
        drive.run(&mut by_the_book);
        assert_eq!(drive.verdict(), Some((Verdict::Fail, Some(Code::KeyBlank))));
        if !in_slot {
            drive.unplug();
        }
        let told = drive.ask(Command::Repair(DEVICE));
        assert!(
            told.done && told.text.contains(if in_slot { "slot 1" } else { "plugged in" }),
            "{}",
            told.text
        );
        drive.mode = UsbMode::Normal;
        if !in_slot {
            drive.plug();
        }
        drive.works(5, &mut by_the_book);
        let last = drive.facts.iter().rev().find_map(|(_, fact)| match fact {
            Fact::RunStarted { recipe, plan, .. } => Some((*recipe, plan[0])),
            _ => None,
        });
        assert_eq!(last, Some((Fingerprint([8; 32]), StepKind::Survey)), "in its slot: {in_slot}");
        assert!(!drive.rack.shift().is_to_repair(DEVICE));
        assert_eq!(drive.count(|f| matches!(f, Fact::RecipeRecorded { .. })), 1);
    }
    let told = Drive::that_is_away().ask(Command::Repair(DEVICE));
    assert!(!told.done && told.text.contains("not over"), "{}", told.text);
}

#[test]
fn a_quarantined_device_in_its_slot_runs_again_when_it_is_released() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    let run = RunId(uuid::Uuid::from_u128(77));
    drive.known.quarantined = Some(run);
    drive.plug();
    drive.works(3, &mut by_the_book);
    assert!(matches!(
        drive.slot(),
        Slot::Rejected {
            device: Some(DEVICE),
            ..
        }
    ));
    let lore = || Lore {
        quarantined: Some(run),
        copies: vec![run],
        ..Lore::default()
    };
    assert!(!drive.tell(Command::Repair(DEVICE), lore()).done, "released first");
    drive.ask(Command::Operator(Some("eva".into())));
    let command = Command::Release {
        device: DEVICE,
        why: why("connected by hand"),
    };
    let told = drive.tell(command.clone(), lore());
    assert!(told.done && told.text.contains("slot 1"), "{}", told.text);
    assert!(
        drive
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::DestroyUndo { .. }))
    );
    drive.known.quarantined = None;
    drive.works(60, &mut by_the_book);
    assert_eq!(drive.verdict(), Some((Verdict::Pass, None)));
    assert!(!drive.ask(command).done, "it is released already");
}

#[test]
fn what_is_owed_is_sent_at_once_where_only_our_own_patience_held_it_back() {
    for (after_ms, sooner) in [(None, true), (Some(300_000), false)] {
        let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
        let mut busy = move |call: &Call| {
            matches!(call, Call::Upload { .. } | Call::Import { .. }).then(|| Answer::Later {
                why: "busy".into(),
                after_ms,
            })
        };
        drive.plug();
        // Several times, so that the wait is longer than a second.
        drive.works(12, &mut busy);
        drive.answer_all(&mut busy);
        let sent = |drive: &Drive| drive.count(|f| matches!(f, Fact::ItemSent { .. }));
        let before = sent(&drive);
        assert!(before > 0);
        let told = drive.ask(Command::Retry);
        assert_eq!(told.done, sooner, "{}", told.text);
        assert_eq!(sent(&drive) > before, sooner);
    }
}
