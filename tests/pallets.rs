//! Pallets of returned devices: mended without a keystroke, each by its own diagnosis, and no more of them than the work
//! order wants, over all sessions.

#[expect(dead_code, reason = "other tests cut and watch")]
mod bench;
#[expect(dead_code, reason = "every test uses what it needs of the processes")]
mod process;

use std::{path::Path, time::Duration};

use bench::{Bench, Ended};
use keyrack::{
    cli::rig::Options,
    model::{Code, Fact, SlotNo, Verdict},
    sim::world::scenario::Scenario,
};
use process::Served;
use serde_json::Value;

/// What the verdicts of the pallet do not tell: where each device is in the end, and whose.
#[test]
fn every_device_of_a_mixed_pallet_is_where_it_belongs_and_its_owners() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios/pallet.toml");
    let ann = Some("ann@home.test");
    Bench::run(Scenario::read(&file).unwrap(), &Options::default(), |bench, end| {
        assert_eq!((end, bench.judge()), (Ended::Idle, Vec::new()), "{}", bench.story());
        for (slot, product, owner) in [
            (1, Some(9012), None),
            (2, Some(9032), None),
            (5, Some(9013), None),
            (6, Some(9013), ann),
            (7, Some(9013), Some("who@where.test")),
            (8, Some(9012), None),
            (9, Some(9006), ann),
            (10, Some(7013), None),
            (11, Some(9012), None),
            (13, Some(9032), None),
            (14, Some(9012), None),
        ] {
            let device = bench.rig.device_of(SlotNo(slot)).unwrap();
            let place = bench.rig.cloud.place(device).unwrap();
            assert_eq!(place, (product, owner.map(str::to_owned)), "slot {slot}");
        }
        let kept = |slot| {
            bench
                .rig
                .cloud
                .attributes(bench.rig.device_of(SlotNo(slot)).unwrap())
                .unwrap()
        };
        assert_eq!(kept(8).name.as_deref(), Some("old one"));
        assert_eq!(
            (kept(6).name.as_deref(), kept(6).groups),
            (Some("cellar"), vec!["eu".to_owned()])
        );
        assert_eq!(kept(9).groups, ["beta", "eu"], "they followed it");
        assert_eq!(bench.rig.cloud.customer_tokens(), 0);
    });
}

/// Borons with good keys in these slots, and an order for so many.
fn borons(slots: u16, ordered: u32, expected: &[(&str, Option<&str>)]) -> String {
    let mut text = format!(
        "about = \"an order\"\nseed = 5\nordered = {ordered}\n[repair]\nwork = \"mend\"\nfrom = [801]\n\
         [cloud]\nowner = \"operator@bench.test\"\n\
         [[cloud.product]]\nid = 901\nslug = \"new\"\nplatform = \"boron\"\n\
         [[cloud.product]]\nid = 801\nslug = \"old\"\nplatform = \"boron\"\n"
    );
    for slot in 1..=slots {
        let place = if slot % 2 == 0 {
            "in-product = 801"
        } else {
            "imported = true"
        };
        text += &format!("[[slot]]\nnumber = {slot}\nplatform = \"boron\"\nserver = \"stand-in\"\n{place}\n");
        let (verdict, code) = expected[usize::from(slot) - 1];
        let code = code.map_or(String::new(), |code| format!("code = \"{code}\"\n"));
        let uploads = u8::from(verdict == "PASS");
        text +=
            &format!("[[expect]]\nslot = {slot}\nverdict = \"{verdict}\"\n{code}key = \"present-valid\"\nuploads = {uploads}\n");
    }
    text
}

const FILLED: (&str, Option<&str>) = ("REJECTED", Some("order-filled"));
const PASS: (&str, Option<&str>) = ("PASS", None);

#[test]
fn an_order_is_filled_and_not_overfilled_whatever_station_counts() {
    let scenario = borons(4, 3, &[PASS, PASS, PASS, FILLED]);
    Bench::with(Scenario::parse(&scenario).unwrap(), &Options::default(), |bench| {
        assert_eq!(bench.work(LONGEST), Ended::Idle, "{}", bench.story());
        assert_eq!(bench.judge(), Vec::<String>::new(), "{}", bench.story());
        let ordered = |bench: &Bench| bench.view.lock().unwrap().clone().unwrap().order.unwrap();
        let counted = ordered(bench);
        assert_eq!((counted.done, counted.under_way, counted.left()), (3, 0, 0));
        // The next station knows it from the ledger: who is done may come again, and nobody else.
        bench.records.lock().unwrap().clear();
        assert_eq!(bench.work(LONGEST), Ended::Idle, "{}", bench.story());
        let began = bench.records.lock().unwrap().clone();
        let began = began.iter().filter(|record| matches!(record.fact, Fact::RunStarted { .. }));
        assert_eq!((began.count(), ordered(bench).done), (3, 3));
        let fourth = bench.rig.device_of(SlotNo(4)).unwrap();
        assert_eq!(bench.verdict(fourth), None);
        let view = bench.view.lock().unwrap().clone().unwrap();
        assert_eq!(view.slots[3].code, Some(Code::OrderFilled));
    });
}

#[test]
fn the_place_of_a_device_that_failed_goes_to_one_that_was_turned_away() {
    let mut scenario = borons(3, 1, &[("FAIL", Some("owner-foreign")), PASS, FILLED]);
    scenario = scenario.replacen("imported = true", "imported = true\nowner = \"who@where.test\"", 1);
    Bench::run(Scenario::parse(&scenario).unwrap(), &Options::default(), |bench, end| {
        assert_eq!(end, Ended::Idle, "{}", bench.story());
        assert_eq!(bench.judge(), Vec::<String>::new(), "{}", bench.story());
        let device = |slot| bench.rig.device_of(SlotNo(slot)).unwrap();
        assert_eq!(bench.verdict(device(2)), Some((Verdict::Pass, None)));
    });
}

#[test]
fn a_pallet_is_run_from_the_command_line_without_a_keystroke() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(home.path(), &borons(3, 9, &[PASS, PASS, PASS]));
    let station = |quantity: &str, devices: &str| {
        let order = [
            "--work-order",
            "WO-1",
            "--quantity",
            quantity,
            "--devices",
            devices,
            "--operator",
            "eva",
        ];
        let mut station = served.station(home.path(), &order);
        let end = station.end().code();
        (end, std::mem::take(&mut station.said), station.complaints())
    };
    let of = |said: &[Value], event: &str| -> Vec<Value> { said.iter().filter(|line| line["event"] == event).cloned().collect() };
    let (end, said, complaints) = station("2", "2");
    assert_eq!(end, Some(0), "{complaints}");
    let verdicts: Vec<_> = of(&said, "result").iter().map(|line| line["verdict"].clone()).collect();
    assert_eq!(verdicts, ["pass", "pass"]);
    let rejected = of(&said, "rejected");
    assert_eq!(
        (rejected.len(), &rejected[0]["code"]),
        (1, &"order-filled".into()),
        "{rejected:?}"
    );
    assert!(rejected[0]["why"].as_str().unwrap().contains("WO-1"), "{rejected:?}");
    let last = of(&said, "order").pop().unwrap();
    assert_eq!((&last["passed"], &last["left"]), (&2.into(), &0.into()));
    // The order is enlarged: the one that was turned away has its turn.
    let (end, said, complaints) = station("3", "3");
    assert_eq!(end, Some(0), "{complaints}");
    let last = of(&said, "order").pop().unwrap();
    assert_eq!((&last["passed"], &last["left"]), (&3.into(), &0.into()));
    assert!(of(&said, "rejected").is_empty());
}

const LONGEST: Duration = Duration::from_secs(3600);
