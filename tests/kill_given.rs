//! A station that is killed while it writes a pair that somebody handed over: the real binary in processes of its own, in
//! real time. The pair was in its memory alone. Given again it is written; without it the device has its old key, or the new
//! one where that was whole by then, and the cloud holds the same.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "every test uses what it needs of the processes")]
mod process;

use std::{fmt::Write as _, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyrack::{
    edge::entropy::SystemEntropy,
    keys::{self, PrivateKey, encode},
    model::{DeviceId, KeyKind, Platform, PublicKey},
    sim::world::scenario::Scenario,
};
use process::{Program, Served, keyrack, private_slot, text};
use serde_json::Value;

/// The facts after which it is killed, each on a device for which the pair is given again and on one without it.
const MOMENTS: [&str; 4] = ["key-given", "undo-sealed", "key-intended", "key-written"];

#[test]
fn a_station_that_is_killed_with_a_given_pair_loses_neither_that_nor_the_old_one() {
    let text_of_rack = rack(2 * MOMENTS.len());
    let scenario = Scenario::parse(&text_of_rack).unwrap();
    let devices: Vec<DeviceId> = scenario.slots.values().map(|slot| slot.id).collect();
    let untouched = tempfile::tempdir().unwrap();
    end(&mut Served::start(untouched.path(), &text_of_rack));

    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut world = Served::start(home, &text_of_rack);
    let mut given = Vec::new();
    for (i, device) in devices.iter().enumerate() {
        let (slot, moment) = ((i + 1).to_string(), MOMENTS[i / 2]);
        let new = PrivateKey::generate(KeyKind::P256, &SystemEntropy);
        let file = home.join(format!("{slot}.der"));
        fs::write(&file, encode(&new, 192).expose()).unwrap();
        let load = ["keys", "load", &slot, text(&file), "--no-prove"];
        let arguments = on(&world, &load);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut killed = Program::start(&arguments, home);
        let reached = killed.wait_for(|line| line["fact"]["fact"] == moment);
        assert!(reached.is_some(), "{moment}: {}", killed.complaints());
        killed.signal("KILL");
        killed.end();
        let again = i % 2 == 0;
        let repair = ["repair", &slot, "--no-prove"];
        let arguments = on(&world, if again { &load } else { &repair });
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.push("--json");
        let output = keyrack(home, &arguments);
        let lines = String::from_utf8(output.stdout).unwrap();
        let result = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let code = result.filter(|line| line["event"] == "result").last().unwrap()["code"].clone();
        given.push((*device, moment, again, new.public(), code, output.status.code()));
    }
    let state = world.folder.join("state");
    let verified = keyrack(home, &["replay", "--verify", "--state", text(&state)]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    end(&mut world);
    let mut absent = 0;
    for (device, moment, again, new, code, exit) in given {
        let told = format!("{device}, killed after {moment}, given again: {again}: {code} {exit:?}");
        let (old, now) = (held(untouched.path(), device), held(home, device));
        assert!(
            now.is_some() && registered(home, device) == now.as_ref().map(|key| key.spki.clone()),
            "{told}"
        );
        if code == "given-key-absent" {
            absent += 1;
            assert!(!again && exit == Some(3), "{told}");
            assert_eq!(now, old, "{told}: the old key is still there, or back");
        } else {
            // A repair of a device that has its new key and its verdict finds nothing to be mended.
            assert!(code.is_null() || !again && code == "not-keys", "{told}");
            assert_eq!(now, Some(new), "{told}");
        }
    }
    assert!(absent > 0, "no pair was missed");
}

/// So many borons whose keys the cloud knows.
fn rack(slots: usize) -> String {
    let mut text = "about = \"given\"\nseed = 12\n".to_owned();
    for n in 1..=slots {
        let slot =
            format!("number = {n}\nplatform = \"boron\"\nimported = true\nserver = \"stand-in\"\nregistered = \"present\"\n");
        let expect = format!("slot = {n}\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = 1\n");
        write!(text, "[[slot]]\n{slot}[[expect]]\n{expect}").unwrap();
    }
    text
}

/// A command on this world.
fn on(world: &Served, command: &[&str]) -> Vec<String> {
    let (config, bus) = (world.folder.join("station.toml"), world.folder.join("bus"));
    let place = ["--config", text(&config), "--world", text(&bus)];
    command.iter().chain(&place).map(|word| (*word).to_owned()).collect()
}

fn end(world: &mut Served) {
    world.program.signal("TERM");
    assert!(world.program.end().success(), "{}", world.program.complaints());
}

/// The key in the slot of a device of a world that has ended.
fn held(home: &Path, device: DeviceId) -> Option<PublicKey> {
    let dct = fs::read(home.join(format!("world/world/{device}.dct"))).unwrap();
    let slot = private_slot(Platform::Boron, &dct);
    keys::classify(slot, KeyKind::P256).0.key().cloned()
}

/// The key that the cloud of such a world holds for a device.
fn registered(home: &Path, device: DeviceId) -> Option<Vec<u8>> {
    let cloud = fs::read_to_string(home.join("world/world/cloud.json")).unwrap();
    let cloud: Value = serde_json::from_str(&cloud).unwrap();
    STANDARD
        .decode(cloud["devices"][device.to_string()]["key"]["spki"].as_str()?)
        .ok()
}
