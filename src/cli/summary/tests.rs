//! The summary, from facts.

use super::*;
use crate::{
    cli::{exit::ExitCode, print::tests::printer},
    model::{
        Fingerprint, KeyKind, Outcome, PortPath, PublicKey, SlotNo, StationId, StepError, StepKind, Wall,
        fact::{Identity, Protection},
        key::{KeyLayout, SlotContent},
        platform::UsbMode,
    },
    rack::view::{Awaits, SlotView},
};

pub(crate) fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 0, 0, 0, 0, 0, 0, 0xab, n])
}

pub(crate) fn run(n: u8) -> RunId {
    RunId::new(Wall::from_millis(1_795_428_000_000 + i64::from(n)).unwrap(), [n; 10])
}

pub(crate) fn record(seq: u64, fact: Fact) -> Record {
    Record {
        seq,
        at: Wall::from_millis(1_795_428_000_000).unwrap(),
        station: StationId("bench".into()),
        fact,
    }
}

/// What begins a run of device `n` in slot `n`: read the key, flash, register.
pub(crate) fn begin(n: u8) -> Vec<Fact> {
    vec![
        Fact::DeviceSeen {
            slot: SlotNo(n.into()),
            port: PortPath::new("sim-0", [n]),
            identity: Identity::bare(device(n), Platform::Boron, UsbMode::Normal, Protection::Open),
        },
        Fact::RunStarted {
            run: run(n),
            device: device(n),
            slot: SlotNo(n.into()),
            recipe: Fingerprint([7; 32]),
            plan: vec![StepKind::ReadKey, StepKind::Flash { file: 0 }, StepKind::Register],
            operator: None,
            work_order: None,
            accepted: None,
            reference: None,
        },
    ]
}

pub(crate) fn started(n: u8, step: u8, attempt: u8) -> Fact {
    Fact::StepStarted {
        run: run(n),
        step,
        attempt,
    }
}

pub(crate) fn ended(n: u8, step: u8, outcome: Outcome) -> Fact {
    Fact::StepEnded {
        run: run(n),
        step,
        attempt: 1,
        outcome,
        took_ms: 1250,
    }
}

pub(crate) fn judged(n: u8, verdict: Verdict, code: Option<Code>, proved: bool) -> Fact {
    Fact::RunEnded {
        run: run(n),
        device: device(n),
        verdict,
        code,
        why: String::new(),
        proved,
    }
}

fn key(n: u8) -> PublicKey {
    PublicKey {
        kind: KeyKind::P256,
        spki: vec![n; 91],
        fingerprint: Fingerprint([n; 32]),
    }
}

fn sums(facts: impl IntoIterator<Item = Fact>) -> Summary {
    let mut summary = Summary::default();
    for (seq, fact) in facts.into_iter().enumerate() {
        summary.record(&record(seq as u64 + 1, fact));
    }
    summary
}

#[test]
fn what_was_done_is_told_of_each_device_and_counted() {
    let item = ItemId::key(run(1), Fingerprint([1; 32]));
    let mut facts = begin(1);
    facts.extend([
        started(1, 0, 1),
        Fact::KeyRead {
            run: run(1),
            device: device(1),
            content: SlotContent::Valid {
                key: key(1),
                layout: KeyLayout::Device,
            },
        },
        ended(1, 0, Outcome::Done),
        started(1, 1, 1),
        Fact::StepFailed {
            run: run(1),
            step: 1,
            attempt: 1,
            error: StepError::new(Code::FlashVerify, "compare"),
            took_ms: 3,
        },
        started(1, 1, 2),
        ended(1, 1, Outcome::Done),
        Fact::ItemSent {
            item: item.clone(),
            attempt: 1,
        },
        Fact::ItemSent {
            item: item.clone(),
            attempt: 2,
        },
        Fact::ItemAnswered {
            item,
            attempt: 2,
            answer: Answer::Accepted { at: None, note: None },
        },
        Fact::HandshakeSeen {
            run: run(1),
            device: device(1),
            at: Wall::from_millis(0).unwrap(),
        },
        judged(1, Verdict::Pass, None, true),
    ]);
    facts.extend(begin(2));
    facts.push(judged(2, Verdict::Fail, Some(Code::KeyCorrupt), false));
    facts.extend(begin(3));
    let summary = sums(facts);
    let numbers = summary.numbers(2.5);
    assert_eq!(
        (
            numbers.devices,
            numbers.pass,
            numbers.fail,
            numbers.interrupted,
            numbers.proved
        ),
        (3, 1, 1, 1, 1)
    );
    assert_eq!(
        (numbers.registered, numbers.uploads, numbers.retries, numbers.handshakes),
        (1, 2, 2, 1)
    );
    assert_eq!(numbers.exit(), ExitCode::Failed);
    let (printer, out, _) = printer(false, 0);
    print(&summary.results(), &[], &numbers, &printer);
    assert_eq!(
        out.text(),
        "\n\
         slot  device                    platform  verdict               code         done\n\
         1     e00fce68000000000000ab01  boron     PROVED                             1 flashed, key kept, registered\n\
         2     e00fce68000000000000ab02  boron     FAIL                  key-corrupt  nothing\n\
         3     e00fce68000000000000ab03  boron     waits for its device               nothing\n\
         slot 2 00ab02: the key slot holds no usable key and the recipe does not allow a new one\n\
         \u{20} next: Use a recipe with key policy read-or-generate.\n\
         \n\
         set aside, each for the person who has to see to it:\n\
         for the     slot  device                    code         because\n\
         technician  2     e00fce68000000000000ab02  key-corrupt  the key slot holds no usable key and the recipe does not allow a new one\n\
         3 devices, 1 PASS, 1 FAIL, 1 waiting for their device; registered 1, proved 1, handshakes 1, uploads 2, retries 2; 2.5 s\n"
    );
}

#[test]
fn the_last_object_is_the_summary() {
    let mut facts = begin(1);
    facts.push(judged(1, Verdict::Owed, Some(Code::CloudUnreachable), false));
    let mut summary = sums(facts);
    summary.set_apart(device(1));
    let (printer, out, _) = printer(true, 0);
    print(&summary.results(), &[], &summary.numbers(0.1), &printer);
    let lines: Vec<serde_json::Value> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["event"], &lines[0]["verdict"]), (&"result".into(), &"owed".into()));
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "summary");
    assert_eq!(
        (&last["owed"], &last["apart"], &last["seconds"]),
        (&1.into(), &1.into(), &0.1.into())
    );
}

#[test]
fn an_earlier_run_counts_only_if_it_goes_on_here() {
    let mut summary = Summary::default();
    let mut earlier = begin(1);
    earlier.push(judged(1, Verdict::Owed, Some(Code::CloudUnreachable), false));
    earlier.extend(begin(2));
    for fact in earlier {
        summary.recall(&record(1, fact));
    }
    assert_eq!(summary.numbers(0.0).devices, 0);
    let item = ItemId::key(run(1), Fingerprint([1; 32]));
    summary.record(&record(
        9,
        Fact::ItemAnswered {
            item,
            attempt: 1,
            answer: Answer::Accepted { at: None, note: None },
        },
    ));
    summary.record(&record(
        10,
        Fact::RunResumed {
            run: run(2),
            slot: SlotNo(5),
        },
    ));
    summary.record(&record(11, judged(2, Verdict::Pass, None, false)));
    let numbers = summary.numbers(0.0);
    assert_eq!(
        (numbers.devices, numbers.pass, numbers.owed, numbers.registered),
        (1, 1, 0, 1)
    );
    assert_eq!(summary.results()[0].slot, SlotNo(5));
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let one = |verdict| {
        let mut facts = begin(1);
        facts.push(judged(1, verdict, None, false));
        sums(facts).numbers(0.0).exit()
    };
    assert_eq!(
        Verdict::ALL.map(one),
        [
            ExitCode::Passed,
            ExitCode::Failed,
            ExitCode::Fault,
            ExitCode::Fault,
            ExitCode::Fault,
            ExitCode::Interrupted,
            ExitCode::Cloud,
        ]
    );
    assert_eq!(Summary::default().numbers(0.0).exit(), ExitCode::Passed);
}

#[test]
fn what_a_person_has_to_see_to_is_listed_by_person_and_reason() {
    let mut facts = Vec::new();
    for (n, verdict, code) in [
        (1, Verdict::Pass, None),
        (2, Verdict::Fail, Some(Code::OwnerForeign)),
        (3, Verdict::Fail, Some(Code::NotKeys)),
        (4, Verdict::Owed, Some(Code::CloudUnreachable)),
        (5, Verdict::Aborted, Some(Code::Stopped)),
        (6, Verdict::Fail, Some(Code::OwnerForeign)),
    ] {
        facts.extend(begin(n));
        facts.push(judged(n, verdict, code, false));
    }
    facts.extend(begin(7));
    facts.push(Fact::RunInterrupted {
        run: run(7),
        code: Code::DeviceLost,
    });
    let mut summary = sums(facts);
    let mut view = RackView::default();
    for (slot, n) in [(8, 8), (9, 3)] {
        view.slots.push(SlotView {
            device: Some(device(n)),
            code: Some(Code::OrderFilled),
            why: "the work order has all its 6 devices".into(),
            ..SlotView::awaiting(SlotNo(slot), Awaits::Rejected)
        });
    }
    summary.view(&view);
    let (printer, out, _) = printer(false, 0);
    print(&summary.results(), &summary.rejected(), &summary.numbers(0.1), &printer);
    let text = out.text();
    let piles = &text[text.find("set aside").unwrap()..];
    let rows: Vec<Vec<&str>> = piles
        .lines()
        .skip(2)
        .take(5)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let found: Vec<_> = rows.iter().map(|row| (row[0], row[1], row[3])).collect();
    assert_eq!(
        found,
        [
            ("operator", "7", "device-lost"),
            ("operator", "8", "order-filled"),
            ("technician", "3", "not-keys"),
            ("engineer", "2", "owner-foreign"),
            ("engineer", "6", "owner-foreign"),
        ],
        "{text}"
    );
    let (json, out, _) = super::super::print::tests::printer(true, 0);
    print(&summary.results(), &summary.rejected(), &summary.numbers(0.1), &json);
    let lines: Vec<serde_json::Value> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rejected: Vec<_> = lines.iter().filter(|line| line["event"] == "rejected").collect();
    assert_eq!((rejected.len(), &rejected[0]["code"]), (1, &"order-filled".into()));
    assert_eq!(lines[1]["person"], "engineer");
}

#[test]
fn a_device_that_could_not_be_given_back_is_an_alarm_whenever_its_run_was() {
    let mut summary = Summary::default();
    for fact in begin(1) {
        summary.recall(&record(1, fact));
    }
    assert_eq!((summary.devices().len(), summary.known().len()), (0, 1));
    summary.set_lost(device(1));
    let numbers = summary.numbers(0.1);
    assert_eq!((numbers.exit(), numbers.apart), (ExitCode::Fault, 1));
    let (printer, out, _) = printer(false, 0);
    print(&summary.results(), &[], &numbers, &printer);
    let alarm = format!("ALARM: {} was taken for its repair and could not be given back", device(1));
    assert!(out.text().contains(&alarm), "{}", out.text());
}
