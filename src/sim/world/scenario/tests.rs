use std::path::PathBuf;

use crate::{
    edge::{Bus, Clock},
    model::Mono,
    sim::{
        clock::VirtualClock,
        device::{Device, DeviceMishap, Press, StartHelper},
        world::{Deed, Phase, When, hubs},
    },
};

use super::*;

const SMALL: &str = r#"
about = "x"
seed = 1
[[slot]]
number = 1
platform = "argon"
[[expect]]
slot = 1
verdict = "PASS"
key = "same"
uploads = 1
"#;

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_scenario_of_the_fixtures_is_one() {
    let files = fixtures();
    assert!(files.len() >= 13, "{files:?}");
    for file in files {
        let scenario = Scenario::read(&file).unwrap_or_else(|e| panic!("{}: {e:?}", file.display()));
        assert!(scenario.about.ends_with('.'), "{}: a sentence", file.display());
        for slot in scenario.slots.values() {
            assert!(Device::knows(slot.platform.number()));
        }
        for (slot, expect) in &scenario.expect {
            let passes = expect.verdict == Ending::Pass;
            assert_eq!(passes, expect.code.is_none(), "{} slot {slot}: a reason", file.display());
            // A good key stays, unless the recipes make a new one for every device, or somebody clears it by the button.
            let device = &scenario.slots[slot];
            let good = matches!(device.key, KeyState::Good | KeyState::Old);
            let cleared = scenario
                .mishaps
                .iter()
                .any(|m| m.device == Some(device.id) && m.deed == Deed::Press(Press::ClearSettings));
            let stays = good && scenario.keys.as_deref() != Some("generate") && !(cleared && device.platform.tcp());
            assert!(
                !passes || stays == (expect.key == EndKey::Same),
                "{} slot {slot}",
                file.display()
            );
        }
    }
}

#[test]
fn every_scenario_can_be_set_up() {
    for file in fixtures() {
        let scenario = Scenario::read(&file).unwrap();
        VirtualClock::run(|clock| {
            let world = World::on_virtual_clock(clock);
            scenario.set_up(&world, |_| StartServer::Production).unwrap();
            clock.sleep(Timing::default().boot);
            let list = world.bus().list().unwrap();
            assert_eq!(list.len(), scenario.slots.len(), "{}", file.display());
            for (slot, attached) in scenario.slots.values().zip(list) {
                assert_eq!(attached.product, 0xc000 | slot.platform.number());
                assert_eq!(attached.serial, Some(slot.id.to_string()));
            }
            assert_eq!(world.mishaps().len(), scenario.mishaps.len());
            assert!(scenario.set_up(&world, |_| StartServer::Production).is_err(), "not twice");
        });
    }
}

#[test]
fn the_demo_is_the_rack_that_it_promises() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios/demo.toml");
    let demo = Scenario::read(&path).unwrap();
    let slots: Vec<_> = demo.slots.values().map(|s| (s.platform.name(), s.key)).collect();
    use KeyState::{Blank, Corrupt, Good};
    assert_eq!(
        slots,
        [
            ("argon", Good),
            ("boron", Blank),
            ("photon", Good),
            ("p2", Corrupt),
            ("argon", Good),
            ("boron", Good),
            ("p2", Good),
            ("photon", Blank)
        ]
    );
    assert!(demo.slots[&6].protected);
    assert_eq!(demo.slots[&5].server, ServerState::Corrupt);
    assert_eq!(demo.expect[&6].code.as_deref(), Some("protected"));
    assert_eq!(demo.mishaps.len(), 1);
    assert_eq!(
        demo.mishaps[0].deed,
        Deed::Inject(DeviceMishap::FlashWriteFailsOnce(0x085f_4000))
    );
    assert_eq!(demo.mishaps[0].device, Some(demo.slots[&7].id));
    assert_eq!(demo.cloud.products.len(), 4);
}

#[test]
fn a_small_scenario_has_the_defaults() {
    let scenario = Scenario::parse(SMALL).unwrap();
    let slot = &scenario.slots[&1];
    assert_eq!(slot.port, hubs::default_port(1));
    assert!(slot.id.to_string().starts_with("e00fce68"));
    assert_eq!((slot.os, slot.sim_active, slot.key), (6200, true, KeyState::Good));
    assert_eq!((scenario.cloud.role, scenario.pace), (Role::Administrator, Pace::Real));
    let spec = slot.spec(scenario.seed, &StartServer::Blank);
    assert_eq!((spec.id, spec.platform, spec.iccid), (slot.id, 12, None));
    assert!(matches!(spec.server, StartServer::Production));
}

#[test]
fn a_device_has_its_place_and_its_attributes_in_the_cloud() {
    let text = SMALL.replace(
        "platform = \"argon\"",
        "platform = \"argon\"\nowner = \"eva@example.test\"\nname = \"kitchen\"\nnotes = \"a\\nb\"\ngroups = [\"eu\"]\nin-product = 902\n\
         [cloud]\nteam = [\"second@bench.test\"]\n[[cloud.product]]\nid = 902\nslug = \"theirs\"\nplatform = \"argon\"\nforeign = true",
    );
    let scenario = Scenario::parse(&text).unwrap();
    let slot = &scenario.slots[&1];
    assert_eq!((slot.name.as_deref(), slot.notes.as_deref()), (Some("kitchen"), Some("a\nb")));
    assert_eq!((&slot.groups, slot.in_product), (&vec!["eu".to_owned()], Some(902)));
    assert_eq!(scenario.cloud.team, ["second@bench.test"]);
    assert!(scenario.cloud.products[0].foreign);
    let plain = Scenario::parse(SMALL).unwrap();
    assert!(plain.cloud.team.is_empty() && plain.slots[&1].groups.is_empty());
}

#[test]
fn cellular_devices_have_numbers_of_the_right_length() {
    let scenario = Scenario::parse(&SMALL.replace("argon", "boron")).unwrap();
    let spec = scenario.slots[&1].spec(1, &StartServer::Production);
    let (iccid, imei) = (spec.iccid.unwrap(), spec.imei.unwrap());
    assert_eq!((iccid.len(), imei.len()), (20, 15));
    assert!(iccid.starts_with("8901") && iccid.bytes().chain(imei.bytes()).all(|b| b.is_ascii_digit()));
}

#[test]
fn mishaps_mean_devices_and_ports() {
    let scenario = Scenario::parse(&format!(
        "{SMALL}
[[mishap]]
slot = 1
when = {{ phase = \"flash-write\", nth = 4 }}
do = {{ unplug = {{ back-after-ms = 3000, in-slot = 9 }} }}
[[mishap]]
when = {{ at-ms = 1500 }}
do = {{ clock-jump = {{ by-ms = -60000 }} }}
[[mishap]]
slot = 1
when = {{ transfer = 12 }}
do = {{ inject = {{ bit-flip-on-read = {{ alt = 1, address = 34 }} }} }}
[[mishap]]
do = {{ power-cut = {{ off-ms = 10 }} }}
"
    ))
    .unwrap();
    let id = scenario.slots[&1].id;
    let [unplug, jump, flip, cut] = &scenario.mishaps[..] else {
        panic!("four")
    };
    assert_eq!(unplug.device, Some(id));
    assert_eq!(
        unplug.when,
        When::Phase {
            phase: Phase::FlashWrite,
            nth: 4
        }
    );
    assert_eq!(
        unplug.deed,
        Deed::Unplug {
            back_after: Some(Duration::from_secs(3)),
            port: Some(hubs::default_port(9))
        }
    );
    assert_eq!(unplug.label, "mishap 1 (unplug) in slot 1");
    assert_eq!((jump.when, jump.device), (When::At(Mono(Duration::from_millis(1500))), None));
    assert_eq!(jump.deed, Deed::ClockJump(-60_000));
    assert_eq!(flip.when, When::Transfer(12));
    assert_eq!(flip.deed, Deed::Inject(DeviceMishap::BitFlipOnRead { alt: 1, address: 34 }));
    assert_eq!((cut.when, cut.device), (When::At(Mono::default()), None));
}

#[test]
fn what_contradicts_itself_is_refused_by_name() {
    let mishap = |text: &str| format!("{SMALL}[[mishap]]\n{text}\n");
    let cases = [
        (SMALL.replace("number = 1", "number = 0"), "numbered from 1"),
        (SMALL.replace("slot = 1", "slot = 2"), "slot 2 holds no device"),
        (
            format!("{SMALL}[[expect]]\nslot = 1\nverdict = \"PASS\"\nkey = \"same\"\nuploads = 1"),
            "exactly one",
        ),
        (
            SMALL.split("[[expect]]").next().unwrap().to_owned(),
            "slot 1 needs exactly one",
        ),
        (format!("{SMALL}[[slot]]\nnumber = 1\nplatform = \"p2\""), "another slot"),
        (
            format!("{SMALL}[[slot]]\nnumber = 2\nplatform = \"p2\"\nport = \"pci-0000:00:14.0/1.1\""),
            "another slot",
        ),
        (
            format!("{SMALL}[[slot]]\nnumber = 2\nplatform = \"p2\""),
            "slot 2 needs exactly one",
        ),
        (mishap("do = \"garble\""), "without a slot"),
        (mishap("slot = 7\ndo = \"garble\""), "slot 7 holds no device"),
        (mishap("slot = 1\nwhen = { nth = 2 }\ndo = \"garble\""), "only with phase"),
        (mishap("slot = 1\nwhen = { transfer = 0 }\ndo = \"garble\""), "from 1"),
        (
            mishap("slot = 1\nwhen = { at-ms = 1, phase = \"erase\" }\ndo = \"garble\""),
            "one of at-ms",
        ),
        (mishap("slot = 1\ndo = { unplug = { in-slot = 1 } }"), "slot 1 holds a device"),
        (
            mishap("slot = 1\ndo = { swap = { with = 3, gap-ms = 1 } }"),
            "slot 3 holds no device",
        ),
    ];
    for (text, part) in cases {
        let error = Scenario::parse(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} is not in {error:?}\n{text}");
    }
}

#[test]
fn what_is_only_served_needs_no_expectation_and_a_wrong_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = dir.path().join("scenario.toml");
        std::fs::write(&path, text).unwrap();
        Scenario::read_to_serve(&path, Topology::default())
    };
    let bare = SMALL.split("[[expect]]").next().unwrap();
    assert!(read(bare).unwrap().expect.is_empty());
    let one_of_two = format!("{SMALL}[[slot]]\nnumber = 2\nplatform = \"p2\"");
    assert_eq!(read(&one_of_two).unwrap().expect.len(), 1);
    for wrong in [SMALL.replace("slot = 1", "slot = 2"), SMALL.replace("PASS", "GOOD")] {
        assert!(read(&wrong).is_err(), "{wrong}");
    }
    assert!(matches!(
        Scenario::read_to_serve(Path::new("/nowhere"), Topology::default()),
        Err(ScenarioError::Read { .. })
    ));
}

#[test]
fn unknown_keys_and_words_are_refused_with_their_place() {
    for (from, to, part) in [
        ("seed = 1", "seed = 1\ncolour = 3", "colour"),
        ("platform = \"argon\"", "platform = \"aragon\"", "is not a platform"),
        ("uploads = 1", "uploads = 1\nupload = 1", "upload"),
        ("verdict = \"PASS\"", "verdict = \"pass\"", "variant"),
        (
            "platform = \"argon\"",
            "platform = \"argon\"\nos = \"latest\"",
            "Device OS version",
        ),
        ("seed = 1", "seed = 1\n[cloud]\nrole = \"boss\"", "variant"),
        (
            "uploads = 1",
            "uploads = 1\n[[mishap]]\nslot = 1\ndo = { unplug = { back = 1 } }",
            "back",
        ),
        (
            "uploads = 1",
            "uploads = 1\n[[mishap]]\nslot = 1\ndo = { inject = \"gremlin\" }",
            "variant",
        ),
    ] {
        let error = Scenario::parse(&SMALL.replace(from, to)).unwrap_err();
        let ScenarioError::Parse(source) = &error else {
            panic!("{error}")
        };
        assert!(source.to_string().contains(part), "{part:?} is not in {source}");
        assert!(source.span().is_some(), "{source}");
    }
}

#[test]
fn a_key_problem_has_its_words() {
    let text = SMALL
        .replace(
            "platform = \"argon\"",
            "platform = \"argon\"\nregistered = \"before\"\nkey-helper = \"before\"\nserver = \"other-key\"",
        )
        .replace(
            "[[expect]]",
            "[[mishap]]\nslot = 1\ndo = { press = \"clear-settings\" }\n[[expect]]",
        );
    let scenario = Scenario::parse(&text).unwrap();
    let slot = &scenario.slots[&1];
    assert_eq!(
        (slot.registered, slot.key_helper),
        (Some(RegisteredKey::Before), StartHelper::Before)
    );
    assert_eq!(scenario.mishaps[0].deed, Deed::Press(Press::ClearSettings));
    let stand_in = StartServer::Set {
        spki: vec![1],
        host: "$id.cloud.test".to_owned(),
    };
    let server = |server| {
        let slot = Slot { server, ..slot.clone() };
        slot.spec(scenario.seed, &stand_in).server
    };
    assert!(matches!(server(ServerState::OtherKey), StartServer::ProductionAt { host } if host == "$id.cloud.test"));
    assert!(
        matches!(server(ServerState::Elsewhere), StartServer::Set { spki, host } if spki == [1] && host.ends_with(".test") && host != "$id.cloud.test")
    );
    assert!(Scenario::parse(&text.replace("clear-settings", "clear-everything")).is_err());
}
