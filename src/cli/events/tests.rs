//! What is said, and what is not.

use super::*;
use crate::model::StepKind;
use crate::{
    cli::{
        print::tests::printer,
        summary::tests::{begin, device, ended, judged, record, run, started},
    },
    model::{Outcome, Verdict},
};

fn follow(json: bool, verbose: u8, drive: impl FnOnce(&mut Events)) -> String {
    let (printer, out, _) = printer(json, verbose);
    let mut events = Events::new(Arc::new(printer));
    drive(&mut events);
    out.text()
}

fn facts(events: &mut Events, facts: impl IntoIterator<Item = Fact>) {
    for fact in facts {
        events.on(&Event::Record(&record(1, fact)));
    }
}

fn view(awaits: Awaits, code: Option<Code>) -> RackView {
    RackView {
        slots: vec![SlotView {
            device: Some(device(1)),
            run: Some(run(1)),
            step: Some(StepKind::Register),
            progress: Some((3, 3)),
            verdict: None,
            code,
            held: awaits == Awaits::Cloud,
            ..SlotView::awaiting(SlotNo(1), awaits)
        }],
        ..RackView::default()
    }
}

#[test]
fn a_run_reads_as_a_short_story() {
    let text = follow(false, 0, |events| {
        facts(events, begin(1));
        facts(events, [started(1, 0, 1), ended(1, 0, Outcome::Done), started(1, 1, 1)]);
        for done in 0..=1000 {
            events.on(&Event::Progress {
                slot: SlotNo(1),
                done,
                of: 1000,
            });
        }
        let why = "already there".to_owned();
        facts(
            events,
            [
                ended(1, 1, Outcome::Skipped { why }),
                judged(1, Verdict::Fail, Some(Code::KeyBlank), false),
            ],
        );
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 + 1 + 9 + 2, "no flooding:\n{text}");
    assert_eq!(lines[0], "slot  1 00ab01  seen at sim-0/1: boron, normal mode");
    assert_eq!(lines[2], "slot  1 00ab01  step 1 of 3: read the key: done (1.2 s)");
    assert_eq!(lines[3], "slot  1 00ab01  step 2 of 3: flash file 1: 10 %");
    assert_eq!(
        lines[12],
        "slot  1 00ab01  step 2 of 3: flash file 1: not needed: already there (1.2 s)"
    );
    assert_eq!(
        lines[13],
        "slot  1 00ab01  FAIL key-blank: the key slot is blank and the recipe does not allow a new key; \
         next: Use a recipe with key policy read-or-generate, or let the device make a key by connecting once."
    );
}

#[test]
fn every_event_is_one_object_and_facts_are_whole() {
    let text = follow(true, 0, |events| {
        facts(events, begin(1));
        facts(events, [started(1, 1, 1)]);
        events.on(&Event::View(&view(Awaits::Step, None)));
        events.on(&Event::View(&view(Awaits::Step, None)));
        for done in [50, 51, 52] {
            events.on(&Event::Progress {
                slot: SlotNo(1),
                done,
                of: 100,
            });
        }
    });
    let objects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["fact", "fact", "fact", "slot", "progress"]);
    assert_eq!(objects[2]["fact"]["fact"], "step-started");
    assert_eq!(
        objects[2]["device"],
        device(1).to_string(),
        "a fact of a run says whose it is"
    );
    assert_eq!(
        (&objects[4]["step"], &objects[4]["steps"], &objects[4]["percent"]),
        (&2.into(), &3.into(), &50.into())
    );
}

#[test]
fn what_is_held_in_dfu_mode_is_known_to_whoever_stops_the_station() {
    let mut kept = Held::default();
    let text = follow(false, 0, |events| {
        kept = events.held();
        events.on(&Event::View(&view(Awaits::Cloud, None)));
    });
    assert_eq!(kept.words(), ["slot 1 00ab01: held in DFU mode (register the key)"]);
    assert_eq!(text, "slot  1 00ab01  held in DFU mode until the cloud has answered\n");
}

#[test]
fn a_token_that_is_not_accepted_is_told_once_with_what_to_do() {
    let locked = RackView {
        locked: Some("expired".to_owned()),
        ..RackView::default()
    };
    let text = follow(false, 0, |events| {
        events.on(&Event::View(&locked));
        events.on(&Event::View(&locked));
        events.on(&Event::View(&RackView::default()));
    });
    assert_eq!(
        text,
        "the cloud does not accept the token: expired; next: Run `keyrack login` and start again; what is owed is kept.\n\
         the cloud accepts the token again\n"
    );
}

#[test]
fn progress_of_nothing_or_of_nobody_is_silent() {
    let text = follow(false, 0, |events| {
        for (done, of) in [(1, 0), (5, 3), (u64::MAX, u64::MAX)] {
            events.on(&Event::Progress {
                slot: SlotNo(1),
                done,
                of,
            });
        }
        events.on(&Event::View(&view(Awaits::Step, None)));
        events.on(&Event::Progress {
            slot: SlotNo(1),
            done: 5,
            of: 10,
        });
    });
    assert_eq!(text, "");
}
