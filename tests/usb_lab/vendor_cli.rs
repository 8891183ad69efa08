//! The vendor's own command line on every family, then keyrack on the same devices. One process of it serves all the tests:
//! its start takes half a minute here.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use keyrack::{
    firmware::Module,
    keys::{classify, parse_public},
    model::{DeviceId, Platform, platform::Transport},
};
use serde_json::{Value, json};

use super::{
    lab::{Lab, OWNER, shown, until},
    process::{keyrack, text},
    vendor::Vendor,
};

/// The platforms, in their slots from 1.
const RACK: [&str; 4] = ["argon", "p2", "photon\nos = \"2.3.1\"", "electron\nos = \"2.3.1\""];

static SESSION: LazyLock<Mutex<Vendor>> = LazyLock::new(|| {
    let home = tempfile::tempdir().unwrap().keep();
    Mutex::new(Vendor::start(&home))
});

/// The vendor's CLI, logged in to the cloud of this rack.
fn vendor(lab: &Lab) -> MutexGuard<'static, Vendor> {
    // A test that failed meanwhile has left it as it was.
    let mut vendor = SESSION.lock().unwrap_or_else(PoisonError::into_inner);
    vendor.go_to(&lab.url);
    let password = fs::read_to_string(lab.folder.path().join("password")).unwrap();
    vendor
        .run(&["login", "--username", OWNER, "--password", password.trim()])
        .well();
    vendor
}

fn platform(slot: u16) -> Platform {
    RACK[usize::from(slot) - 1].split('\n').next().unwrap().parse().unwrap()
}

/// The public key that the model holds.
fn held(lab: &Lab, slot: u16) -> Vec<u8> {
    lab.look(slot, |device| device.key_spki()).expect("the device holds a key")
}

fn slots() -> impl Iterator<Item = u16> {
    (1..).take(RACK.len())
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_lists_devices_and_takes_them_into_dfu_mode_and_back() {
    let lab = Lab::of(&RACK);
    lab.settled(RACK.len());
    let mut vendor = vendor(&lab);
    let said = vendor.run(&["usb", "list"]).well();
    for slot in slots() {
        let name = platform(slot).name();
        let line = said.lines().find(|line| line.contains(&lab.device(slot).to_string()));
        assert!(line.is_some_and(|line| line.to_lowercase().contains(name)), "{name}: {said}");
    }
    for slot in slots() {
        let id = lab.device(slot).to_string();
        vendor.run(&["usb", "dfu", &id]).well();
        until("the device is in DFU mode", || {
            lab.attached(slot).is_some_and(|a| a.product & 0xf000 == 0xd000)
        });
    }
    lab.settled(RACK.len());
    let said = vendor.run(&["usb", "list"]).well();
    assert_eq!(said.matches("DFU").count(), RACK.len(), "{said}");
    assert!(!vendor.run(&["usb", "list", "--exclude-dfu"]).well().contains("DFU"));
    for slot in slots() {
        vendor.run(&["usb", "reset", &lab.device(slot).to_string()]).well();
        until("the device is out of DFU mode", || {
            lab.attached(slot).is_some_and(|a| a.product & 0xf000 == 0xc000)
        });
    }
    until("the kernel shows them again", || shown().len() == RACK.len());
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_identifies_and_inspects_devices_by_their_serial_ports() {
    let lab = Lab::of(&["argon", "p2", "photon\nos = \"2.3.1\"", "boron"]);
    lab.settled(4);
    let mut vendor = vendor(&lab);
    let list = vendor.run(&["serial", "list"]).well();
    assert!(list.contains("Found 4 devices"), "{list}");
    for (slot, kind, more) in [
        (1, "Argon", &[][..]),
        (2, "P2", &[]),
        (3, "Photon", &["2.3.1"]),
        // By control requests: from Device OS 6 on the console does not say it.
        (4, "Boron", &["Your IMEI is 35", "Your ICCID is 8901"]),
    ] {
        let id = lab.device(slot).to_string();
        let line = list.lines().find(|line| line.contains(&id));
        let port = line.and_then(|line| line.split_once(" - ")).map(|(port, _)| port);
        let port = port.unwrap_or_else(|| panic!("{id}: {list}"));
        assert!(line.is_some_and(|line| line.contains(kind)), "{list}");
        let said = vendor.run(&["serial", "identify", "--port", port]).well();
        for part in [
            format!("Your device id is {id}"),
            "Your system firmware version is ".to_owned(),
        ]
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        {
            assert!(said.contains(part), "{part:?}: {said}");
        }
        let said = vendor.run(&["serial", "inspect", "--port", port]).well();
        assert!(said.contains("Integrity: PASS") && !said.contains("FAIL"), "{said}");
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_saves_keys_that_keyrack_reads_too() {
    let lab = Lab::of(&RACK);
    let mut vendor = vendor(&lab);
    for slot in slots() {
        lab.only(slot);
        let id = lab.device(slot);
        let key = held(&lab, slot);
        vendor.run(&["keys", "save", &format!("{id}.der")]).well();
        // The private half as it lies in the device, which keyrack takes for what it is.
        let der = fs::read(vendor.file(&format!("{id}.der"))).unwrap();
        let content = classify(&der, platform(slot).row().transport.key_kind()).0;
        assert_eq!(content.key().map(|key| &key.spki), Some(&key), "{id}: {content:?}");
        let pem = fs::read(vendor.file(&format!("{id}.pub.pem"))).unwrap();
        assert_eq!(parse_public(&pem).unwrap().spki, key, "{id}");
        // It leaves the device in DFU mode; keyrack finds it there, and the same key in it.
        assert_eq!(saved_by_keyrack(&lab, slot), key, "{id}");
        // A bench that got the vendor's file alone.
        imported(&vendor.folder, &lab, id);
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_makes_new_keys_that_device_and_cloud_share_and_keyrack_takes_over() {
    let lab = Lab::of(&RACK);
    let mut vendor = vendor(&lab);
    for slot in slots() {
        lab.only(slot);
        let id = lab.device(slot);
        let before = held(&lab, slot);
        let said = vendor.run(&["keys", "doctor", &id.to_string()]).well();
        assert!(said.contains("New keys in place"), "{said}");
        let key = lab.rig.cloud.registered(id).expect("the cloud holds a key");
        assert_ne!(key, before, "{id}: no new key: {said}");
        until("the device is out of DFU mode", || {
            lab.attached(slot).is_some_and(|a| a.product & 0xf000 == 0xc000)
        });
        lab.settled(1);
        if lab.look(slot, |device| device.key_spki()).is_none() {
            // From OpenSSL 3 on `openssl rsa` writes PKCS#8, and the vendor's CLI puts that into the slot. No device on TCP reads
            // it (device-protocol.md 4.3). The cloud has its public half, so keyrack has but to write it as devices do.
            assert!(
                platform(slot).row().transport == Transport::Tcp,
                "{id}: it cannot read its key: {said}"
            );
            repaired(&lab, slot);
        }
        assert_eq!(held(&lab, slot), key, "{id}: the device holds another key than the cloud");
        assert_eq!(saved_by_keyrack(&lab, slot), key, "{id}: keyrack reads another key");
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_writes_server_keys_and_reads_their_address() {
    let lab = Lab::of(&RACK);
    let mut vendor = vendor(&lab);
    for slot in slots() {
        lab.only(slot);
        let row = platform(slot).row();
        let tcp = row.transport == Transport::Tcp;
        let spki = lab.rig.cloud.server_spki(tcp);
        let name = format!("server-{slot}.der");
        fs::write(vendor.file(&name), &spki).unwrap();
        vendor.run(&["keys", "server", &name, "--host", HOST]).well();
        let server = platform(slot).key_segments(row.transport).server_key;
        let there = lab.look(slot, |device| device.dct()[server.offset as usize..][..spki.len()].to_vec());
        assert_eq!(there, spki, "{}", platform(slot).name());
        let said = vendor.run(&["keys", "address"]).well();
        assert!(said.contains(HOST), "{said}");
        let (config, said) = (lab.config(), "keys address");
        let output = keyrack(
            lab.folder.path(),
            &["keys", "address", &slot.to_string(), "--config", text(&config), "--json"],
        );
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{said}: {out} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(out.contains(HOST), "{said}: {out}");
    }
}

#[test]
#[ignore = "needs the guest of scripts/usb-lab"]
fn it_flashes_applications() {
    let real = std::env::var_os("KEYRACK_FIRMWARE").map(PathBuf::from);
    let lab = Lab::of(&RACK);
    let mut vendor = vendor(&lab);
    for (slot, name) in slots().zip([
        "argon-tinker-620.bin",
        "p2-tinker-5.0.0.bin",
        "photon-tinker-0.4.5.bin",
        "electron-tinker.bin",
    ]) {
        lab.only(slot);
        let id = lab.device(slot).to_string();
        // The vendor's own modules where they are, else those of the rack's recipe.
        let file = match &real {
            Some(folder) => folder.join(name),
            None => lab.folder.path().join(format!("firmware/{}-application.bin", platform(slot))),
        };
        vendor
            .run(&["flash", "--local", &id, text(&file), "--application-only"])
            .well();
        let module = Module::parse(fs::read(&file).unwrap()).unwrap();
        let start = module.header().start;
        let there = lab.look(slot, |device| device.flash(start, module.bytes().len()));
        assert!(
            there == module.bytes(),
            "{}: not what is in flash from {start:#x}",
            file.display()
        );
    }
}

/// keyrack finds out what is wrong with the keys of the device in a slot, and puts it right.
fn repaired(lab: &Lab, slot: u16) {
    let (config, number) = (lab.config(), slot.to_string());
    let arguments = [
        "repair",
        &number,
        "--keep-server",
        "--no-prove",
        "--config",
        text(&config),
        "--json",
    ];
    let output = keyrack(lab.folder.path(), &arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.contains("key-misread"), "it says what was wrong: {out}");
}

/// The same work by keyrack and by the vendor's CLI on each family: how many control transfers keyrack needs for one of theirs.
pub(super) fn transfers() -> Vec<(String, f64)> {
    let lab = Lab::of(&RACK);
    let mut vendor = vendor(&lab);
    let mut all = Vec::new();
    for slot in slots() {
        lab.only(slot);
        let device = lab.device(slot);
        let begun = lab.world().transfers(device);
        vendor.run(&["keys", "save", "theirs.der", "--force"]).well();
        let theirs = lab.world().transfers(device) - begun;
        vendor.run(&["usb", "reset", &device.to_string()]).well();
        until("the device is out of DFU mode", || {
            lab.attached(slot).is_some_and(|a| a.product & 0xf000 == 0xc000)
        });
        lab.settled(1);
        let begun = lab.world().transfers(device);
        saved_by_keyrack(&lab, slot);
        let ours = lab.world().transfers(device) - begun;
        all.push((format!("save_{}", platform(slot).name()), ours as f64 / theirs as f64));
    }
    all
}

/// The public key that keyrack saves of the device in a slot, over USB.
fn saved_by_keyrack(lab: &Lab, slot: u16) -> Vec<u8> {
    let (config, dir) = (lab.config(), lab.folder.path().join("packets"));
    let slot_text = slot.to_string();
    let output = keyrack(
        lab.folder.path(),
        &[
            "keys",
            "save",
            &slot_text,
            "--dir",
            text(&dir),
            "--force",
            "--config",
            text(&config),
            "--json",
        ],
    );
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let pem = fs::read(dir.join(format!("{}.pub.pem", lab.device(slot)))).unwrap();
    parse_public(&pem).unwrap().spki
}

/// keyrack takes the vendor's file, for the device that somebody names.
fn imported(folder: &Path, lab: &Lab, id: DeviceId) {
    let list: PathBuf = lab.folder.path().join("list.csv");
    let file = folder.join(format!("{id}.pub.pem"));
    fs::write(&list, format!("{id},{}\n", file.display())).unwrap();
    let output = keyrack(lab.folder.path(), &["packet", "import", "--dry-run", text(&list), "--json"]);
    let out = String::from_utf8(output.stdout).unwrap();
    let first: Value = serde_json::from_str(out.lines().next().unwrap_or("null")).unwrap();
    assert_eq!(
        (&first["result"], &first["device"]),
        (&json!("fits"), &json!(id.to_string())),
        "{out}"
    );
}

/// A server of nobody: `.test` is reserved.
const HOST: &str = "cloud.bench.test";
