//! keyrack provisions a rack on the real USB stack while hands and hubs do their worst. What came out is judged against the
//! models, the cloud and the ledger.

use keyrack::{cli::rig::Options, store::Reader};

use super::{
    lab::Lab,
    process::{Program, text},
};

/// Provisions a rack with the program itself, and compares what came out with what its scenario says.
fn provisioned(lab: &Lab) {
    let devices = lab.rig.scenario.slots.len().to_string();
    let config = lab.config();
    let arguments = ["run", "--headless", "--config", text(&config), "--devices", &devices];
    // It ends the test if it says nothing for a long time.
    let mut station = Program::start(&arguments, lab.folder.path());
    station.end();
    let said: String = station.said.iter().map(|line| format!("{line}\n")).collect();
    let ledger = Reader::open(&lab.folder.path().join("state/ledger")).unwrap();
    let differences = lab.rig.judge(&ledger).unwrap();
    assert!(differences.is_empty(), "{}\n{said}", differences.join("\n"));
    let wrong = ledger.verify(&mut |_| {}).unwrap();
    assert!(wrong.is_empty(), "the ledger is not what its journal says: {wrong:?}");
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn the_rack_of_the_demo_is_provisioned_with_devices_pulled_out_and_put_elsewhere() {
    let mut text = include_str!("../../fixtures/scenarios/demo.toml").to_owned();
    for (slot, phase, deed) in [
        (1, "flash-write", "swap = { with = 5, gap-ms = 1500 }"),
        (3, "dct-read", "swap = { with = 4, gap-ms = 1000 }"),
        (8, "flash-write", "unplug = { back-after-ms = 1500 }"),
    ] {
        text += &format!("\n[[mishap]]\nslot = {slot}\nwhen = {{ phase = \"{phase}\", nth = 2 }}\ndo = {{ {deed} }}\n");
    }
    provisioned(&Lab::scenario(&text, &Options::default()));
}

/// Each device is pulled out in another phase of DFU or of control requests, once, and comes back.
#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn a_device_may_be_pulled_out_in_every_phase() {
    let mut text = "about = \"pulled out in every phase\"\nseed = 43\nkeys = \"generate\"\n".to_owned();
    for (slot, (platform, phase, nth)) in (1..).zip(PHASES) {
        text += &format!(
            "[[slot]]\nnumber = {slot}\nplatform = \"{platform}\"\n{}\n\
             [[mishap]]\nslot = {slot}\nwhen = {{ phase = \"{phase}\", nth = {nth} }}\ndo = {{ unplug = {{ back-after-ms = 1000 }} }}\n\
             [[expect]]\nslot = {slot}\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = {}\n",
            if platform == "photon" { "os = \"2.3.1\"" } else { "" },
            UPLOADS,
        );
    }
    provisioned(&Lab::scenario(&text, &Options::default()));
}

/// The key of each device, which is proof of permission, and the new one.
const UPLOADS: u32 = 2;
/// Platform, phase (`src/sim/world/phase.rs`), and the how manieth time.
const PHASES: [(&str, &str, u32); 14] = [
    ("argon", "request", 3),
    ("argon", "update", 4),
    ("p2", "detached", 1),
    ("photon", "attached-dfu", 1),
    ("argon", "attached-normal", 2),
    ("p2", "download", 5),
    ("argon", "erase", 2),
    ("photon", "flash-write", 3),
    ("p2", "flash-read", 2),
    ("photon", "dct-read", 2),
    ("p2", "dct-write", 1),
    ("boron", "key-write", 1),
    ("argon", "status", 6),
    ("photon", "leave", 1),
];
