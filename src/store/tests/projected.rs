//! Each fact, and the rows that it makes.

use std::collections::BTreeSet;

use super::sample::{self as s, Bench};
use crate::{
    model::{
        CloudState, Code, Fact, Fingerprint, Outcome, Platform, SlotNo, StepError, StepKind, Verdict,
        diagnosis::Trouble,
        fact::Protection,
        key::SlotContent,
        module::{InstalledModule, ModuleFunction},
        outbox::{Answer, Errand, Item, ItemId, ItemState},
        platform::Transport,
        survey::Survey,
    },
    store::{
        Illegal, KeyState, LastPass, Origin, RunState, Standing, StoreError, journal,
        read::{DeviceFilter, RunFilter},
    },
};

/// One fact of each kind, in an order that is legal.
fn one_of_each() -> Vec<Fact> {
    let (device, run, old, new) = (s::device(1), s::run(1), s::key(1), s::key(2));
    let upload = ItemId::key(run, new.fingerprint);
    let import = s::import(run, device);
    vec![
        Fact::StationStarted {
            version: "0.1.0".to_owned(),
        },
        s::recipe(),
        s::seen(device),
        s::started(run, device),
        Fact::StepStarted {
            run,
            step: 0,
            attempt: 1,
        },
        Fact::StepFailed {
            run,
            step: 0,
            attempt: 1,
            error: StepError::new(Code::UsbTransfer, "reading the key"),
            took_ms: 3,
        },
        s::read(run, device, &old),
        Fact::StepEnded {
            run,
            step: 0,
            attempt: 2,
            outcome: Outcome::Warned { why: "slow".to_owned() },
            took_ms: 5,
        },
        Fact::RunInterrupted {
            run,
            code: Code::DeviceLost,
        },
        Fact::RunResumed { run, slot: SlotNo(9) },
        Fact::UndoSealed {
            run,
            device,
            sha256: s::hash(9),
            content: SlotContent::Blank,
        },
        s::intended(run, device, &new),
        Fact::KeyWritten {
            run,
            device,
            fingerprint: new.fingerprint,
        },
        s::sent(&upload, 1),
        s::answered(&upload, 1, s::refused()),
        Fact::KeyRestored {
            run,
            device,
            fingerprint: old.fingerprint,
        },
        Fact::KeyAbandoned {
            run,
            device,
            fingerprint: new.fingerprint,
            why: "refused".to_owned(),
        },
        Fact::UndoDestroyed { run, device },
        s::queued(import.clone()),
        Fact::ItemWithdrawn {
            item: import.id.clone(),
            why: "no product".to_owned(),
        },
        Fact::HandshakeSeen {
            run,
            device,
            at: s::second(77),
        },
        Fact::Surveyed {
            run,
            device,
            survey: Survey::Unseen,
        },
        Fact::Questioned {
            run,
            device,
            state: CloudState::default(),
        },
        Fact::Examined {
            run,
            device,
            server: None,
        },
        s::diagnosed(run, device),
        Fact::RestoreSealed {
            run,
            device,
            sha256: s::hash(8),
        },
        Fact::RestoreDestroyed { run, device },
        Fact::ServiceOpened {
            run,
            device,
            key: Some(new.fingerprint),
        },
        Fact::ProtectedAgain { run, device },
        Fact::KeyGiven {
            run,
            device,
            key: s::key(3),
        },
        Fact::KeyEscrowed {
            run,
            device,
            fingerprint: old.fingerprint,
            recipients: vec!["age1x".to_owned()],
        },
        s::ended(run, device, Verdict::Quarantined, Some(Code::StateUnknown)),
        s::released(run, device),
        s::taken(s::packet(1), device, &s::key(4), Some(80)),
        s::packet_ended(s::packet(1), device),
        Fact::OperatorNamed {
            operator: Some("eva".to_owned()),
        },
        Fact::WorkOrderNamed { work_order: None },
        Fact::LabelBound {
            slot: SlotNo(3),
            device,
            serial: "P046AF450V9AB12".to_owned(),
        },
        Fact::LabelRefused {
            slot: SlotNo(3),
            device,
            serial: "P046AF450V9AB13".to_owned(),
            why: "another one".to_owned(),
        },
        Fact::PinRefused {},
        Fact::EngineerCame {
            name: "eva".to_owned(),
            until: s::second(900),
        },
        Fact::EngineerLeft { name: "eva".to_owned() },
        Fact::LineStopped {
            code: Code::KeyBlank,
            devices: vec![device],
        },
        Fact::LineReleased {
            by: "eva".to_owned(),
            why: "looked".to_owned(),
        },
        Fact::RepairAsked { device, by: None },
        chosen(Platform::Boron, 1),
        Fact::StepLeftOut {
            run,
            step: 2,
            by: "eva".to_owned(),
            why: "no network".to_owned(),
        },
        Fact::RetryAsked {
            items: vec![import.id.clone()],
            by: Some("eva".to_owned()),
        },
    ]
}

#[test]
fn a_device_is_unprotected_from_when_it_was_let_into_service_mode_until_it_shows_its_protection() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    bench.append(s::shows(device, Protection::Protected));
    bench.append(s::started(run, device));
    let opened = Fact::ServiceOpened { run, device, key: None };
    let again = Fact::ProtectedAgain { run, device };
    for (fact, unprotected) in [
        (opened.clone(), true),
        // A bootloader that does not tell Service Mode from no protection.
        (s::shows(device, Protection::Open), true),
        (again.clone(), false),
        (s::shows(device, Protection::Open), false),
        (s::shows(device, Protection::Service), true),
        (opened, true),
        (s::shows(device, Protection::Protected), false),
        (again, false),
    ] {
        let told = format!("{fact:?}");
        bench.append(fact);
        let row = bench.store.device(device).unwrap().unwrap();
        assert_eq!(row.unprotected_since.is_some(), unprotected, "{told}");
        let filter = DeviceFilter {
            unprotected: true,
            ..DeviceFilter::default()
        };
        let listed = bench.reader().devices(&filter, None, 10).unwrap();
        assert_eq!(listed.len(), usize::from(unprotected), "{told}");
    }
    bench.verified();
}

#[test]
fn every_fact_is_stored_under_its_tag_and_read_back_whole() {
    let mut bench = Bench::new();
    let facts = one_of_each();
    let mut kinds: Vec<_> = facts.iter().map(journal::kind).collect();
    for fact in &facts {
        let json = serde_json::to_value(fact).unwrap();
        assert_eq!(json["fact"], journal::kind(fact));
        bench.append(fact.clone());
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 46, "one of each kind");

    let records = bench.reader().records(1, 100).unwrap();
    assert_eq!(
        records.iter().map(|record| &record.fact).collect::<Vec<_>>(),
        facts.iter().collect::<Vec<_>>()
    );
    assert_eq!(records[0].seq, 2);
    assert_eq!((records[0].at, &records[0].station), (s::second(2), &s::station()));
    let of_run = bench.store.run_records(s::run(1)).unwrap();
    assert_eq!(of_run.len(), 30, "all but start, recipe, arrival and packet");
    let about = bench.reader().device_records(s::device(1), None, 100).unwrap();
    assert_eq!(about.len(), 36, "those, the arrival, the packet, its labels and its repair");
    assert!(about.is_sorted_by_key(|record| std::cmp::Reverse(record.seq)));
    let page = bench.reader().device_records(s::device(1), Some(about[4].seq), 2).unwrap();
    assert_eq!(page, about[5..7]);
    bench.verified();
}

#[test]
fn a_device_is_what_it_told_and_what_it_no_longer_tells_is_kept() {
    let mut bench = Bench::new();
    let device = s::device(1);
    let mut identity = s::identity(device);
    identity.serial = Some("P046AD123456789".to_owned());
    identity.iccid = Some("89883030000000000001".to_owned());
    identity.imei = Some("352753090000001".to_owned());
    identity.transport = Some(Transport::Tcp);
    identity.os_version = Some("6.3.0".to_owned());
    identity.modules = vec![InstalledModule {
        function: ModuleFunction::SystemPart,
        index: 1,
        version: 6300,
        checked: 30,
        passed: 30,
    }];
    bench.append(Fact::DeviceSeen {
        slot: SlotNo(1),
        port: "pci-0/1".parse().unwrap(),
        identity: identity.clone(),
    });
    let mut empty = s::identity(device);
    empty.serial = Some(String::new());
    bench.append(Fact::DeviceSeen {
        slot: SlotNo(2),
        port: "pci-0/2".parse().unwrap(),
        identity: empty,
    });
    let row = bench.store.device(device).unwrap().unwrap();
    assert_eq!(
        (row.first_seen, row.last_seen, row.last_slot),
        (s::second(2), s::second(3), Some(SlotNo(2)))
    );
    assert_eq!(
        (row.serial, row.iccid, row.imei),
        (identity.serial, identity.iccid, identity.imei)
    );
    assert_eq!((row.transport, row.os_version), (identity.transport, identity.os_version));
    assert_eq!(row.modules, identity.modules);
    assert_eq!(row.standing, Standing::Unregistered);
    assert_eq!(bench.store.device(s::device(2)).unwrap(), None);
}

#[test]
fn a_run_opens_waits_goes_on_and_ends_once() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    bench.all([s::seen(device), s::started(run, device), s::read(run, device, &s::key(1))]);
    let row = bench.store.run(run).unwrap().unwrap();
    assert_eq!(
        (row.state, row.nth, row.slot, row.device),
        (RunState::Open, 1, SlotNo(3), device)
    );
    assert_eq!(row.plan, [StepKind::ReadKey, StepKind::Flash { file: 1 }]);
    let order = row.work_order.unwrap();
    assert_eq!(
        (order.id.as_str(), order.quantity, order.product.unwrap().0.as_str()),
        ("WO-7", 500, "4711")
    );

    bench.append(Fact::RunInterrupted {
        run,
        code: Code::DeviceLost,
    });
    let row = bench.store.run(run).unwrap().unwrap();
    assert_eq!((row.state, row.interrupted), (RunState::Interrupted, Some(Code::DeviceLost)));
    bench.append(Fact::RunResumed { run, slot: SlotNo(8) });
    let row = bench.store.run(run).unwrap().unwrap();
    assert_eq!((row.state, row.interrupted, row.slot), (RunState::Open, None, SlotNo(8)));
    assert_eq!(bench.store.device(device).unwrap().unwrap().last_slot, Some(SlotNo(8)));
    assert_eq!(bench.open_runs(), BTreeSet::from([run]));

    bench.append(s::ended(run, device, Verdict::Pass, None));
    let row = bench.store.run(run).unwrap().unwrap();
    assert_eq!(
        (row.state, row.verdict, row.proved),
        (RunState::Closed, Some(Verdict::Pass), true)
    );
    assert_eq!(row.last_seq, bench.store.last_seq());
    let pass = LastPass {
        recipe: s::hash(0x5e),
        key: s::key(1).fingerprint,
    };
    assert_eq!(bench.store.device(device).unwrap().unwrap().last_pass, Some(pass));
    assert_eq!(bench.open_runs(), BTreeSet::new());

    let second = s::run(2);
    bench.all([
        s::started(second, device),
        s::ended(second, device, Verdict::Fail, Some(Code::FlashVerify)),
    ]);
    let row = bench.store.device(device).unwrap().unwrap();
    assert_eq!((row.runs, row.last_run), (2, Some(second)));
    assert_eq!(
        (row.last_verdict, row.last_code),
        (Some(Verdict::Fail), Some(Code::FlashVerify))
    );
    assert_eq!(row.last_pass, Some(pass), "a later failure does not unmake it");
    assert_eq!(bench.store.run(second).unwrap().unwrap().nth, 2);
}

#[test]
fn a_diagnosis_comes_once_and_its_steps_come_after_the_plan() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    bench.append(s::started(run, device));
    bench.append(s::diagnosed(run, device));
    let row = bench.store.run(run).unwrap().unwrap();
    assert_eq!(
        row.plan,
        [
            StepKind::ReadKey,
            StepKind::Flash { file: 1 },
            StepKind::ReadKey,
            StepKind::Register
        ]
    );
    assert_eq!(row.diagnosis.unwrap().trouble, Trouble::KeyUnknown);
    let twice = bench.store.append(s::second(99), &[s::diagnosed(run, device)]);
    assert!(matches!(
        twice,
        Err(StoreError::Illegal {
            source: Illegal::DiagnosedTwice(_),
            ..
        })
    ));
    bench.verified();
}

#[test]
fn a_chain_is_kept_with_its_order_and_a_vague_claim_is_no_refusal() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    bench.append(s::started(run, device));
    let claim = Item {
        id: ItemId::claim(run),
        errand: Errand::Claim { before: s::hash(8) },
        after: Some(ItemId::release(run)),
        ..s::import(run, device)
    };
    bench.append(s::queued(claim.clone()));
    for attempt in 1..=3 {
        bench.append(s::sent(&claim.id, attempt));
        let vague = Answer::Refused {
            code: Code::ClaimVague,
            reason: String::new(),
        };
        bench.append(s::answered(&claim.id, attempt, vague));
    }
    let row = &bench.reader().owed(u32::MAX).unwrap()[0];
    assert_eq!((&row.item, row.state), (&claim, ItemState::Queued));
    bench.all([
        s::sent(&claim.id, 4),
        s::answered(&claim.id, 4, s::refused()),
        s::sent(&claim.id, 5),
        s::answered(&claim.id, 5, s::refused()),
    ]);
    assert!(bench.reader().owed(u32::MAX).unwrap().is_empty());
    bench.verified();
}

#[test]
fn an_errand_of_every_kind_is_kept_and_a_run_with_its_reference() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    let mut started = s::started(run, device);
    if let Fact::RunStarted { reference, .. } = &mut started {
        *reference = Some("RMA-17".to_owned());
    }
    bench.append(started);
    let before = s::hash(8);
    let errands = [
        Errand::Release { before },
        Errand::Remove { before },
        Errand::Import { activate_sim: false },
        Errand::Claim { before },
        Errand::Restore { before },
    ];
    for errand in errands {
        let item = Item {
            id: ItemId(format!("{run}/{}", errand.word())),
            errand,
            ..s::import(run, device)
        };
        bench.append(s::queued(item));
    }
    assert_eq!(bench.reader().owed(u32::MAX).unwrap().len(), 5);
    let history = bench.reader().history(device).unwrap().unwrap();
    assert_eq!(history.runs[0].reference.as_deref(), Some("RMA-17"));
    bench.verified();
}

#[test]
fn restore_data_are_kept_from_their_seal_to_their_end() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    bench.append(s::started(run, device));
    let never = bench.store.append(s::second(50), &[Fact::RestoreDestroyed { run, device }]);
    assert!(never.is_err());
    let sealed = |n| Fact::RestoreSealed {
        run,
        device,
        sha256: s::hash(n),
    };
    bench.all([sealed(1), sealed(2)]);
    let kept = bench.store.kept_restore_data().unwrap();
    assert_eq!((kept.len(), kept[0].run, kept[0].sha256), (1, run, s::hash(2)));
    bench.append(Fact::RestoreDestroyed { run, device });
    assert!(bench.store.kept_restore_data().unwrap().is_empty());
    bench.verified();
}

#[test]
fn a_device_is_quarantined_from_its_verdict_to_its_release() {
    let mut bench = Bench::new();
    let device = s::device(1);
    let quarantined = |bench: &Bench| bench.store.device(device).unwrap().unwrap().quarantined;
    bench.append(s::started(s::run(1), device));
    let refused = bench.store.append(s::second(9), &[s::released(s::run(1), device)]);
    assert!(matches!(
        refused,
        Err(StoreError::Illegal {
            source: Illegal::NotQuarantined(_),
            ..
        })
    ));
    bench.append(s::ended(s::run(1), device, Verdict::Quarantined, Some(Code::StateUnknown)));
    assert_eq!(quarantined(&bench), Some(s::run(1)));
    bench.append(s::released(s::run(1), device));
    assert_eq!(quarantined(&bench), None);
    let released = bench.store.run(s::run(1)).unwrap().unwrap().released.unwrap();
    assert_eq!((released.by.as_str(), released.why.as_str()), ("eva", "it connected"));
    let again = bench.store.append(s::second(99), &[s::released(s::run(1), device)]);
    assert!(again.is_err(), "once");
    // An older program began another run without a word: that run counts.
    bench.all([
        s::started(s::run(2), device),
        s::ended(s::run(2), device, Verdict::Quarantined, None),
        s::started(s::run(3), device),
        s::ended(s::run(3), device, Verdict::Pass, None),
    ]);
    assert_eq!(quarantined(&bench), None);
    bench.verified();
}

/// The rule of APART, step by step through a re-key: after each fact, how device and cloud stand.
#[test]
fn apart_follows_slot_and_cloud() {
    use crate::store::Apart::{Ambiguous, Differs, Writing};
    use Standing::{Agreed, Apart, Unregistered};
    let (device, run, old, new) = (s::device(1), s::run(1), s::key(1), s::key(2));
    let (old_up, new_up) = (ItemId::key(run, old.fingerprint), ItemId::key(run, new.fingerprint));
    let written = |key: &crate::model::PublicKey| Fact::KeyWritten {
        run,
        device,
        fingerprint: key.fingerprint,
    };
    let content = |content| Fact::KeyRead { run, device, content };
    let why = || "so".to_owned();
    let script = [
        (s::started(run, device), Unregistered),
        (s::read(run, device, &old), Unregistered),
        (s::queued(s::item(run, device, &old)), Unregistered),
        (s::sent(&old_up, 1), Unregistered),
        (s::answered(&old_up, 1, s::refused()), Unregistered),
        // One refusal is not believed: it is asked for again.
        (s::sent(&old_up, 2), Unregistered),
        (s::answered(&old_up, 2, s::refused()), Unregistered),
        (s::queued(s::item(run, device, &old)), Unregistered),
        (s::sent(&old_up, 1), Unregistered),
        (s::answered(&old_up, 1, s::ambiguous()), Apart(Ambiguous)),
        (s::sent(&old_up, 2), Apart(Ambiguous)),
        (s::answered(&old_up, 2, s::later(None)), Apart(Ambiguous)),
        (s::sent(&old_up, 3), Apart(Ambiguous)),
        (s::answered(&old_up, 3, s::accepted()), Agreed),
        (content(SlotContent::Unreadable { why: why() }), Agreed),
        (content(SlotContent::Blank), Apart(Differs)),
        (content(SlotContent::Corrupt { why: why() }), Apart(Differs)),
        (s::read(run, device, &old), Agreed),
        (s::intended(run, device, &new), Apart(Writing)),
        (s::read(run, device, &old), Apart(Writing)),
        (
            Fact::KeyAbandoned {
                run,
                device,
                fingerprint: new.fingerprint,
                why: why(),
            },
            Agreed,
        ),
        (s::intended(run, device, &new), Apart(Writing)),
        (written(&new), Apart(Differs)),
        (s::sent(&new_up, 1), Apart(Differs)),
        (s::answered(&new_up, 1, s::ambiguous()), Apart(Ambiguous)),
        (s::sent(&new_up, 2), Apart(Ambiguous)),
        // A no to the second attempt says nothing about the first.
        (s::answered(&new_up, 2, s::refused()), Apart(Ambiguous)),
        (s::sent(&new_up, 3), Apart(Ambiguous)),
        (s::answered(&new_up, 3, s::refused()), Apart(Ambiguous)),
        (s::queued(s::item(run, device, &new)), Apart(Ambiguous)),
        (s::sent(&new_up, 1), Apart(Ambiguous)),
        (s::answered(&new_up, 1, s::accepted()), Agreed),
        (
            Fact::KeyRestored {
                run,
                device,
                fingerprint: old.fingerprint,
            },
            Apart(Differs),
        ),
    ];
    let mut bench = Bench::new();
    for (n, (fact, standing)) in script.into_iter().enumerate() {
        let told = format!("{n}: {fact:?}");
        bench.append(fact);
        assert_eq!(bench.store.device(device).unwrap().unwrap().standing, standing, "{told}");
        let apart = DeviceFilter {
            apart: true,
            ..DeviceFilter::default()
        };
        let listed = !bench.reader().devices(&apart, None, 10).unwrap().is_empty();
        assert_eq!(listed, matches!(standing, Apart(_)), "{told}");
        assert_eq!(bench.reader().counts().unwrap().apart, u64::from(listed));
    }
    bench.verified();
}

#[test]
fn keys_remember_where_they_came_from_and_what_became_of_them() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    let [old, torn, new] = [1, 2, 3].map(s::key);
    bench.all([
        s::started(run, device),
        s::read(run, device, &old),
        s::intended(run, device, &torn),
        Fact::KeyAbandoned {
            run,
            device,
            fingerprint: torn.fingerprint,
            why: "torn".to_owned(),
        },
        s::intended(run, device, &new),
    ]);
    let state = |bench: &Bench, key: &crate::model::PublicKey| {
        let rows = bench.reader().key_rows(key.fingerprint).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(&rows[0].key, key);
        (rows[0].origin, rows[0].state)
    };
    assert_eq!(state(&bench, &old), (Origin::Read, KeyState::InSlot));
    assert_eq!(state(&bench, &torn), (Origin::Made, KeyState::Abandoned));
    assert_eq!(state(&bench, &new), (Origin::Made, KeyState::Intended));
    let row = bench.store.device(device).unwrap().unwrap();
    assert_eq!(
        (row.key_in_slot, row.key_intended),
        (Some(old.fingerprint), Some(new.fingerprint))
    );

    bench.append(Fact::KeyWritten {
        run,
        device,
        fingerprint: new.fingerprint,
    });
    assert_eq!(state(&bench, &old), (Origin::Read, KeyState::Gone));
    assert_eq!(state(&bench, &new), (Origin::Made, KeyState::InSlot));
    let row = bench.store.device(device).unwrap().unwrap();
    assert_eq!((row.key_in_slot, row.key_intended), (Some(new.fingerprint), None));

    for key in [&old, &torn, &new] {
        assert_eq!(bench.store.key_owner(key.fingerprint).unwrap(), [device]);
        assert_eq!(&bench.store.confirm_key(device, key.fingerprint).unwrap(), key);
    }
    // The same key on another device is a duplicate.
    let (other, run) = (s::device(2), s::run(2));
    bench.all([s::started(run, other), s::read(run, other, &new)]);
    assert_eq!(bench.store.key_owner(new.fingerprint).unwrap(), [device, other]);
    assert_eq!(bench.store.key_owner(s::key(9).fingerprint).unwrap(), []);
    let exported: Vec<_> = bench.reader().keys().map(|row| row.unwrap().device).collect();
    assert_eq!(exported, [device, device, device, other]);
}

#[test]
fn an_item_is_held_released_tried_and_settled() {
    let mut bench = Bench::new();
    let (device, run, key) = (s::device(1), s::run(1), s::key(1));
    let id = ItemId::key(run, key.fingerprint);
    let look = |bench: &Bench| bench.reader().history(device).unwrap().unwrap().items.remove(0);
    bench.all([s::started(run, device), s::intended(run, device, &key)]);
    assert_eq!(look(&bench).state, ItemState::Held);
    let refused = bench.store.append(s::second(50), &[s::sent(&id, 1)]).unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::Illegal {
                source: Illegal::NotQueued(_),
                ..
            }
        ),
        "held is not to be sent"
    );

    bench.append(Fact::KeyWritten {
        run,
        device,
        fingerprint: key.fingerprint,
    });
    assert_eq!(look(&bench).state, ItemState::Queued);
    bench.append(s::sent(&id, 1));
    assert_eq!((look(&bench).state, look(&bench).open_attempt), (ItemState::Sent, Some(1)));
    let at = bench.append(s::answered(&id, 1, s::later(Some(5000)))).at;
    let row = look(&bench);
    assert_eq!((row.state, row.attempts, row.open_attempt), (ItemState::Queued, 1, None));
    assert_eq!(row.next_at.unwrap().millis(), at.millis() + 5000);
    bench.append(s::sent(&id, 2));
    bench.append(s::answered(&id, 2, s::ambiguous()));
    // After a cut an open attempt is followed by the next one, and its answer may still come.
    bench.append(s::sent(&id, 3));
    bench.append(s::sent(&id, 4));
    bench.append(s::answered(&id, 3, s::refused()));
    let row = look(&bench);
    assert_eq!(
        (row.state, row.attempts, row.ambiguous),
        (ItemState::Sent, 4, 1),
        "a late no is no answer"
    );
    assert_eq!(row.last_answer, Some(s::refused()));
    bench.append(s::ended(run, device, Verdict::Owed, Some(Code::CloudUnreachable)));
    assert_eq!(bench.open_runs(), BTreeSet::from([run]), "it still owes");
    assert_eq!(bench.reader().owed(u32::MAX).unwrap().len(), 1);
    let owing = DeviceFilter {
        owed: true,
        ..DeviceFilter::default()
    };
    assert_eq!(bench.reader().devices(&owing, None, 10).unwrap().len(), 1);

    bench.append(s::answered(
        &id,
        4,
        Answer::Accepted {
            at: Some(s::second(500)),
            note: None,
        },
    ));
    let row = look(&bench);
    assert_eq!((row.state, row.open_attempt), (ItemState::Accepted, None));
    let known = bench.store.device(device).unwrap().unwrap();
    assert_eq!(
        (known.key_accepted, known.accepted_at),
        (Some(key.fingerprint), Some(s::second(500)))
    );
    assert_eq!(known.accepted_product.unwrap().0, "4711");
    assert_eq!(
        bench.reader().key_rows(key.fingerprint).unwrap()[0].accepted_at,
        Some(s::second(500))
    );
    assert_eq!(bench.open_runs(), BTreeSet::new());
    assert_eq!(bench.reader().devices(&owing, None, 10).unwrap(), []);
    bench.verified();
}

#[test]
fn giving_a_key_up_withdraws_what_is_owed_for_it_but_not_what_is_under_way() {
    for (released, out, state) in [
        (false, false, ItemState::Withdrawn),
        (true, false, ItemState::Withdrawn),
        (true, true, ItemState::Sent),
    ] {
        let mut bench = Bench::new();
        let (device, run, key) = (s::device(1), s::run(1), s::key(1));
        bench.all([s::started(run, device), s::intended(run, device, &key)]);
        if released {
            bench.append(Fact::KeyWritten {
                run,
                device,
                fingerprint: key.fingerprint,
            });
        }
        if out {
            bench.append(s::sent(&ItemId::key(run, key.fingerprint), 1));
        }
        bench.append(Fact::KeyAbandoned {
            run,
            device,
            fingerprint: key.fingerprint,
            why: "third key".to_owned(),
        });
        let row = bench.reader().history(device).unwrap().unwrap().items.remove(0);
        assert_eq!(row.state, state);
        assert_eq!(bench.store.device(device).unwrap().unwrap().key_in_slot, None);
    }
}

#[test]
fn an_undo_copy_is_known_until_it_is_destroyed() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    let sealed = |n| Fact::UndoSealed {
        run,
        device,
        sha256: s::hash(n),
        content: SlotContent::Blank,
    };
    bench.all([s::started(run, device), sealed(1), sealed(2)]);
    let kept = bench.store.kept_undo_copies().unwrap();
    assert_eq!(
        (kept.len(), kept[0].sha256, kept[0].content.as_str()),
        (1, s::hash(2), "blank")
    );
    bench.all([Fact::UndoDestroyed { run, device }, Fact::UndoDestroyed { run, device }]);
    assert_eq!(bench.store.kept_undo_copies().unwrap(), []);
    bench.verified();
}

#[test]
fn facts_that_contradict_the_ledger_are_refused_by_name() {
    let mut bench = Bench::new();
    let (device, run, key) = (s::device(1), s::run(1), s::key(1));
    let item = s::item(run, device, &key);
    bench.all([s::started(run, device), s::queued(item.clone()), s::sent(&item.id, 1)]);
    let nobody = s::run(9);
    let unknown = s::import(nobody, device);
    let mut broken = key.clone();
    broken.spki[40] ^= 1;
    let mut short = key.clone();
    short.spki.pop();
    let written = |fingerprint| Fact::KeyWritten {
        run,
        device,
        fingerprint,
    };
    let mut other_recipe = s::started(s::run(2), device);
    if let Fact::RunStarted { recipe, .. } = &mut other_recipe {
        *recipe = s::hash(1);
    }
    let cases = [
        (s::started(run, device), "was started before"),
        (other_recipe, "was never recorded"),
        (
            Fact::RunResumed {
                run: nobody,
                slot: SlotNo(1),
            },
            "was never started",
        ),
        (
            Fact::StepStarted {
                run: nobody,
                step: 0,
                attempt: 1,
            },
            "was never started",
        ),
        (s::ended(nobody, device, Verdict::Pass, None), "was never started"),
        (s::queued(unknown.clone()), "was never started"),
        (s::queued(item.clone()), "is owed already"),
        (s::sent(&unknown.id, 1), "was never started"),
        (s::sent(&ItemId("nonsense".to_owned()), 1), "was never queued"),
        (s::sent(&ItemId::import(run), 1), "was never queued"),
        (s::answered(&item.id, 2, s::accepted()), "was never sent"),
        (s::answered(&item.id, 0, s::accepted()), "was never sent"),
        (written(s::key(7).fingerprint), "was never recorded"),
        (Fact::UndoDestroyed { run, device }, "no undo copy"),
        (s::read(run, device, &broken), "has the fingerprint"),
        (s::read(run, device, &short), "90 bytes instead of 91"),
    ];
    let before = bench.store.last_seq();
    for (fact, why) in cases {
        let refused = bench.store.append(s::second(99), std::slice::from_ref(&fact)).unwrap_err();
        let StoreError::Illegal { source, .. } = refused else {
            panic!("{fact:?}: {refused:?}")
        };
        assert!(source.to_string().contains(why), "{fact:?}: {source}");
    }
    bench.append(s::ended(run, device, Verdict::Owed, None));
    for fact in [
        s::ended(run, device, Verdict::Pass, None),
        Fact::RunResumed { run, slot: SlotNo(1) },
        Fact::RunInterrupted {
            run,
            code: Code::Stopped,
        },
    ] {
        let refused = bench.store.append(s::second(99), &[fact]).unwrap_err();
        assert!(matches!(
            refused,
            StoreError::Illegal {
                source: Illegal::RunClosed(_),
                ..
            }
        ));
    }
    assert_eq!(bench.store.last_seq(), before + 1);
    bench.verified();
}

#[test]
fn devices_and_runs_are_found_as_people_look_for_them() {
    let mut bench = Bench::new();
    for n in 1..=4 {
        let mut identity = s::identity(s::device(n));
        identity.serial = Some(format!("P046AD00{n}"));
        identity.iccid = Some(format!("898830{n}"));
        identity.imei = Some(format!("35275{n}"));
        bench.append(Fact::DeviceSeen {
            slot: SlotNo(1),
            port: "pci-0/1".parse().unwrap(),
            identity,
        });
    }
    let (from, verdicts) = (bench.tick(), [Verdict::Pass, Verdict::Fail, Verdict::Pass]);
    for (n, verdict) in (1..).zip(verdicts) {
        let code = (verdict == Verdict::Fail).then_some(Code::FlashVerify);
        bench.all([
            s::started(s::run(n), s::device(n)),
            s::ended(s::run(n), s::device(n), verdict, code),
        ]);
    }
    bench.all([
        s::started(s::run(5), s::device(2)),
        s::ended(s::run(5), s::device(2), Verdict::Pass, None),
    ]);
    let to = bench.tick();
    let reader = bench.reader();
    let find = |text: &str| -> Vec<u8> {
        let filter = DeviceFilter {
            text: Some(text.to_owned()),
            ..DeviceFilter::default()
        };
        let found = reader.devices(&filter, None, 10).unwrap();
        found.iter().map(|row| row.id.bytes()[11]).collect()
    };
    assert_eq!(find("p046ad003"), [3], "case does not count");
    assert_eq!(find("P046AD"), [1, 2, 3, 4]);
    assert_eq!(find("8988302"), [2]);
    assert_eq!(find(" 352754\n"), [4]);
    assert_eq!(find("E00FCE68"), [1, 2, 3, 4]);
    assert_eq!(find("0704"), [4], "by the end of the id");
    assert_eq!(find(&s::device(1).to_string()), [1]);
    assert_eq!(find("%"), [0_u8; 0]);
    assert_eq!(find("' OR 1"), [0_u8; 0]);
    let all = DeviceFilter::default();
    let page = reader.devices(&all, Some(s::device(2)), 1).unwrap();
    assert_eq!(page[0].id, s::device(3));
    let failed = DeviceFilter {
        verdict: Some(Verdict::Fail),
        ..DeviceFilter::default()
    };
    assert_eq!(reader.devices(&failed, None, 10).unwrap(), [], "its last run passed");

    let runs = reader.runs(&RunFilter::default(), None, 2).unwrap();
    assert_eq!(runs.iter().map(|row| row.id).collect::<Vec<_>>(), [s::run(5), s::run(3)]);
    assert_eq!(reader.runs(&RunFilter::default(), Some(s::run(3)), 9).unwrap().len(), 2);
    let filter = RunFilter {
        from: Some(from),
        to: Some(to),
        work_order: Some("WO-7".to_owned()),
        verdict: Some(Verdict::Fail),
    };
    assert_eq!(reader.runs(&filter, None, 9).unwrap()[0].id, s::run(2));
    assert_eq!(
        reader
            .runs(
                &RunFilter {
                    to: Some(from),
                    ..filter
                },
                None,
                9
            )
            .unwrap(),
        []
    );

    let found = reader.yields(Some(from), Some(to), Some("WO-7")).unwrap();
    assert_eq!(found.verdicts[..2], [(Verdict::Pass, 3), (Verdict::Fail, 1)]);
    assert_eq!((found.first_runs, found.first_passes, found.proved), (3, 2, 3));
    assert_eq!(found.codes, [(Code::FlashVerify, 1)]);
    assert_eq!(reader.yields(None, Some(from), None).unwrap().first_runs, 0);
    assert_eq!(reader.yields(None, None, Some("WO-8")).unwrap().first_runs, 0);
    let order = reader.order("WO-7").unwrap().unwrap();
    assert_eq!((order.quantity, order.devices, order.passed, order.owed), (500, 3, 3, 0));
    assert_eq!(reader.order("WO-8").unwrap(), None);
    let counts = reader.counts().unwrap();
    assert_eq!((counts.records, counts.devices, counts.open), (bench.store.last_seq(), 4, 0));
    assert_eq!(reader.history(s::device(2)).unwrap().unwrap().runs.len(), 2);
}

#[test]
fn a_packet_owes_as_a_run_does_and_is_read_only_where_its_device_signed() {
    for signed in [None, Some(500)] {
        let mut bench = Bench::new();
        let (device, run, packet, old, new) = (s::device(1), s::run(1), s::packet(1), s::key(1), s::key(2));
        bench.all([s::started(run, device), s::read(run, device, &old)]);
        bench.append(s::ended(run, device, Verdict::Pass, None));
        bench.append(s::taken(packet, device, &new, signed));
        let item = s::item(packet, device, &new);
        assert_eq!(bench.open_runs(), BTreeSet::from([packet]), "a start takes it up");
        bench.append(s::queued(item.clone()));
        let history = bench.reader().history(device).unwrap().unwrap();
        assert_eq!(
            history.device.key_in_slot,
            Some(old.fingerprint),
            "somebody's word changes nothing"
        );
        let row = history.keys.iter().find(|row| row.key == new).unwrap();
        assert_eq!((row.origin, row.state), (Origin::Packet, KeyState::Told));
        assert!(history.items[0].from_packet);
        let told = &history.packets[0];
        assert_eq!((told.id, told.fingerprint, told.end), (packet, new.fingerprint, None));
        assert_eq!(told.proof.manifest.is_some(), signed.is_some());
        assert_eq!(told.voucher.as_ref().map(|v| v.by.as_str()), Some("eva"));
        bench.all([s::sent(&item.id, 1), s::answered(&item.id, 1, s::accepted())]);
        bench.append(s::packet_ended(packet, device));
        let row = bench.store.device(device).unwrap().unwrap();
        assert_eq!(row.key_accepted, Some(new.fingerprint));
        // Without a manifest nobody knows that the device holds what the cloud accepted.
        let (in_slot, standing) = match signed {
            Some(_) => (new.fingerprint, Standing::Agreed),
            None => (old.fingerprint, Standing::Apart(crate::store::Apart::Differs)),
        };
        assert_eq!((row.key_in_slot, row.standing), (Some(in_slot), standing));
        assert_eq!(
            row.key_origin,
            Some(if signed.is_some() { Origin::Packet } else { Origin::Read })
        );
        let ended = bench.reader().packet(packet).unwrap().unwrap();
        assert_eq!(ended.end, Some(crate::model::packet::PacketEnd::Registered));
        assert_eq!(bench.open_runs(), BTreeSet::new());
        assert_eq!(bench.reader().device_records(device, None, 100).unwrap().len(), 8);
        bench.verified();
    }
}

#[test]
fn a_packet_that_was_signed_before_the_last_reading_says_nothing_of_the_slot() {
    let mut bench = Bench::new();
    let (device, run, packet, old, new) = (s::device(1), s::run(1), s::packet(1), s::key(1), s::key(2));
    bench.all([s::started(run, device), s::taken(packet, device, &new, Some(1))]);
    bench.append(s::read(run, device, &old));
    let item = s::item(packet, device, &new);
    bench.append(s::queued(item.clone()));
    bench.all([s::sent(&item.id, 1), s::answered(&item.id, 1, s::accepted())]);
    let row = bench.store.device(device).unwrap().unwrap();
    assert_eq!(row.key_in_slot, Some(old.fingerprint));
    assert!(matches!(row.standing, Standing::Apart(_)));
    bench.verified();
}

#[test]
fn a_packet_is_taken_once_and_ends_once() {
    let mut bench = Bench::new();
    let (device, packet) = (s::device(1), s::packet(1));
    let at = bench.tick();
    let refused = |bench: &mut Bench, fact: Fact| match bench.store.append(at, &[fact]) {
        Err(StoreError::Illegal { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(&mut bench, s::packet_ended(packet, device)),
        Illegal::UnknownRun(packet)
    );
    let item = s::item(packet, device, &s::key(1));
    assert_eq!(refused(&mut bench, s::queued(item)), Illegal::UnknownRun(packet));
    bench.append(s::taken(packet, device, &s::key(1), None));
    let again = s::taken(packet, device, &s::key(1), None);
    assert_eq!(refused(&mut bench, again), Illegal::PacketTwice(packet));
    bench.append(s::packet_ended(packet, device));
    assert_eq!(
        refused(&mut bench, s::packet_ended(packet, device)),
        Illegal::PacketClosed(packet)
    );
    bench.append(s::started(s::run(1), device));
    let run = s::taken(s::run(1), device, &s::key(1), None);
    assert_eq!(refused(&mut bench, run), Illegal::PacketTwice(s::run(1)));
}

/// An engineer chose a recipe for a platform.
fn chosen(platform: Platform, recipe: u8) -> Fact {
    Fact::RecipeChosen {
        platform,
        recipe: Fingerprint([recipe; 32]),
        name: format!("recipe-{recipe}"),
        by: "eva".to_owned(),
        why: "asked for".to_owned(),
    }
}

#[test]
fn of_each_platform_the_recipe_that_was_chosen_last_is_kept_in_mind() {
    let mut bench = Bench::new();
    bench.all([
        chosen(Platform::Boron, 1),
        chosen(Platform::P2, 2),
        chosen(Platform::Boron, 3),
        chosen(Platform::B5som, 4),
    ]);
    let names: Vec<String> = bench
        .store
        .shift_records()
        .unwrap()
        .into_iter()
        .filter_map(|record| match record.fact {
            Fact::RecipeChosen { name, .. } => Some(name),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["recipe-2", "recipe-3", "recipe-4"]);
    bench.verified();
}

#[test]
fn the_shift_keeps_in_mind_what_a_start_has_to_know_and_nothing_else() {
    let mut bench = Bench::new();
    let (one, two) = (s::device(1), s::device(2));
    let named = |name: &str| Fact::OperatorNamed {
        operator: Some(name.to_owned()),
    };
    let kinds = |bench: &Bench| -> Vec<&'static str> {
        let records = bench.store.shift_records().unwrap();
        records
            .iter()
            .map(|record| crate::store::journal::kind(&record.fact))
            .collect()
    };
    bench.all([named("ada"), named("eva"), Fact::PinRefused {}]);
    bench.all([
        Fact::RepairAsked { device: one, by: None },
        Fact::RepairAsked { device: two, by: None },
    ]);
    bench.append(s::started(s::run(1), one));
    bench.append(s::ended(s::run(1), one, Verdict::Fail, Some(Code::KeyBlank)));
    bench.append(Fact::LineStopped {
        code: Code::KeyBlank,
        devices: vec![one],
    });
    assert_eq!(
        kinds(&bench),
        ["operator-named", "pin-refused", "repair-asked", "run-ended", "line-stopped"]
    );
    assert!(
        matches!(&bench.store.shift_records().unwrap()[0].fact, Fact::OperatorNamed { operator: Some(name) } if name == "eva")
    );
    bench.verified();
    let until = s::second(900);
    let name = "eva".to_owned();
    bench.append(Fact::EngineerCame { name, until });
    bench.append(Fact::LineReleased {
        by: "eva".to_owned(),
        why: "looked".to_owned(),
    });
    assert_eq!(kinds(&bench), ["operator-named", "repair-asked"]);
    let mut bench = bench.reopen();
    assert_eq!(kinds(&bench), ["operator-named", "repair-asked"]);
    bench.append(Fact::LabelBound {
        slot: crate::model::SlotNo(3),
        device: one,
        serial: "P046AF450V9AB12".to_owned(),
    });
    let row = bench.store.device(one).unwrap().unwrap();
    assert_eq!(row.serial.as_deref(), Some("P046AF450V9AB12"));
    assert!(row.labelled_at.is_some());
    assert_eq!(bench.store.serial_owner("p046af450v9ab12").unwrap(), [one]);
    bench.verified();
}

#[test]
fn a_claim_that_is_refused_after_its_run_ended_is_an_alarm_on_its_device() {
    let mut bench = Bench::new();
    let (device, run) = (s::device(1), s::run(1));
    bench.append(s::started(run, device));
    let claim = Item {
        id: ItemId::claim(run),
        errand: Errand::Claim { before: s::hash(8) },
        ..s::import(run, device)
    };
    bench.append(s::queued(claim.clone()));
    bench.append(s::ended(run, device, Verdict::Owed, Some(Code::CloudUnreachable)));
    for attempt in 1..=2 {
        bench.append(s::sent(&claim.id, attempt));
        bench.append(s::answered(&claim.id, attempt, s::refused()));
    }
    let row = bench.store.device(device).unwrap().unwrap();
    assert_eq!(row.standing, Standing::Apart(crate::store::Apart::Lost));
    assert_eq!(
        row.quarantined,
        Some(run),
        "nothing is done with it before a person has looked"
    );
    bench.append(Fact::QuarantineReleased {
        run,
        device,
        by: "eva".into(),
        why: "given back by hand".into(),
    });
    let row = bench.store.device(device).unwrap().unwrap();
    assert!(row.quarantined.is_none() && !matches!(row.standing, Standing::Apart(_)));
    bench.verified();
}
