//! The vendor's own command line against the stand-in cloud, without USB: it logs in, looks, sends keys that keyrack saved,
//! and moves devices in and out of accounts and products. `scripts/vendor-cli` brings it and runs these tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "every test uses what it needs of the processes")]
mod process;
#[expect(dead_code, reason = "every test uses what it needs of the session")]
mod vendor;

use std::{collections::BTreeMap, fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyrack::{
    keys::parse_public,
    model::{DeviceId, ProductId},
};
use process::{Served, keyrack, text};
use serde_json::Value;
use vendor::Vendor;

/// A rack, its cloud without TLS, and the vendor's CLI, logged in.
struct Bench {
    home: tempfile::TempDir,
    world: Served,
    vendor: Vendor,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self::logged_out();
        let password = fs::read_to_string(bench.world.folder.join("password")).unwrap();
        let login = ["login", "--username", OWNER, "--password", password.trim()];
        let said = bench.vendor.run(&login).well();
        assert!(said.contains("Successfully completed login!"), "{said}");
        bench
    }

    fn logged_out() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut world = Served::with(home.path(), SCENARIO, &["--http"]);
        let serving = world.program.said.iter().find(|line| line["event"] == "serving").cloned();
        let url = serving.unwrap()["url"].as_str().unwrap().to_owned();
        let vendor = Vendor::start(home.path());
        vendor.go_to(&url);
        assert!(world.program.alive());
        Self { home, world, vendor }
    }

    /// Saves the key of each device with keyrack, and says where.
    fn save(&self) -> BTreeMap<DeviceId, PathBuf> {
        let (config, bus) = (self.world.folder.join("station.toml"), self.world.folder.join("bus"));
        let dir = self.home.path().join("packets");
        let said = keyrack(
            self.home.path(),
            &[
                "keys",
                "save",
                "--dir",
                text(&dir),
                "--config",
                text(&config),
                "--world",
                text(&bus),
                "--json",
            ],
        );
        let (out, err) = (
            String::from_utf8(said.stdout).unwrap(),
            String::from_utf8(said.stderr).unwrap(),
        );
        assert_eq!(said.status.code(), Some(0), "{out}{err}");
        let saved = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let saved: BTreeMap<_, _> = saved
            .filter(|line| line["event"] == "saved")
            .map(|line| {
                (
                    line["device"].as_str().unwrap().parse().unwrap(),
                    dir.join(line["key"].as_str().unwrap()),
                )
            })
            .collect();
        assert_eq!(saved.len(), PRODUCTS.len());
        saved
    }

    /// Ends the world and reads what the cloud knew of each device.
    fn leave(mut self) -> BTreeMap<DeviceId, Value> {
        self.world.program.signal("TERM");
        self.world.program.end();
        let cloud = fs::read(self.world.folder.join("world/cloud.json")).unwrap();
        let cloud: Value = serde_json::from_slice(&cloud).unwrap();
        let devices = cloud["devices"].as_object().unwrap().iter();
        devices.map(|(id, known)| (id.parse().unwrap(), known.clone())).collect()
    }

    /// The devices, with the product of the platform of each.
    fn devices(&self) -> Vec<(DeviceId, ProductId)> {
        self.save().into_keys().map(|id| (id, product_of(id))).collect()
    }
}

/// The product of a device, by what ids of its platform begin with.
fn product_of(device: DeviceId) -> ProductId {
    let id = device.to_string();
    let (_, product) = PRODUCTS.iter().find(|(prefix, _)| id.starts_with(prefix)).unwrap();
    ProductId((*product).to_owned())
}

#[test]
#[ignore = "needs particle-cli: scripts/vendor-cli"]
fn a_person_logs_in_and_out() {
    let mut bench = Bench::logged_out();
    bench.vendor.run(&["whoami"]).refused();
    let said = bench
        .vendor
        .run(&["login", "--username", OWNER, "--password", "wrong"])
        .refused();
    assert!(said.contains("User credentials are invalid"), "{said}");
    let password = fs::read_to_string(bench.world.folder.join("password")).unwrap();
    let login = ["login", "--username", OWNER, "--password", password.trim()];
    bench.vendor.run(&login).well();
    assert!(bench.vendor.run(&["whoami"]).well().contains(OWNER));
    // A token that somebody else got serves as well.
    let token = fs::read(bench.world.folder.join("token")).unwrap();
    let token: Value = serde_json::from_slice(&token).unwrap();
    bench
        .vendor
        .run(&["login", "--token", token["access_token"].as_str().unwrap()])
        .well();
    assert!(bench.vendor.run(&["whoami"]).well().contains(OWNER));
    bench.vendor.run(&["logout"]).well();
    bench.vendor.run(&["whoami"]).refused();
}

#[test]
#[ignore = "needs particle-cli: scripts/vendor-cli"]
fn keys_that_keyrack_saved_are_sent() {
    let mut bench = Bench::new();
    let saved = bench.save();
    for (device, file) in &saved {
        let id = device.to_string();
        let product = product_of(*device).0;
        bench.vendor.run(&["product", "device", "add", &product, &id]).well();
        let said = bench
            .vendor
            .run(&["keys", "send", &id, text(file), "--product_id", &product])
            .well();
        assert!(said.contains("submitting public key succeeded!"), "{said}");
    }
    let sent = saved
        .into_iter()
        .map(|(device, file)| (device, parse_public(&fs::read(file).unwrap()).unwrap()));
    let sent: Vec<_> = sent.collect();
    let known = bench.leave();
    for (device, key) in sent {
        let held = known[&device]["key"]["spki"]
            .as_str()
            .and_then(|spki| STANDARD.decode(spki).ok());
        assert_eq!(held, Some(key.spki), "{device}");
    }
}

#[test]
#[ignore = "needs particle-cli: scripts/vendor-cli"]
fn a_key_of_a_device_that_is_nobodys_is_refused() {
    let mut bench = Bench::new();
    let saved = bench.save();
    let (device, file) = saved.iter().next().unwrap();
    let id = device.to_string();
    let said = bench.vendor.run(&["keys", "send", &id, text(file)]).refused();
    assert!(said.contains("Permission Denied"), "{said}");
    let known = bench.leave();
    assert!(known[device]["key"].is_null(), "{}", known[device]);
}

#[test]
#[ignore = "needs particle-cli: scripts/vendor-cli"]
fn devices_come_and_go() {
    let mut bench = Bench::new();
    for (device, product) in bench.devices() {
        let (id, product) = (device.to_string(), product.0);
        let said = bench.vendor.run(&["product", "device", "add", &product, &id]).well();
        assert!(said.contains(&id), "{said}");
        let said = bench.vendor.run(&["product", "device", "list", &product]).well();
        assert!(said.contains(&id), "{said}");
        // A device of a product may be claimed while it is offline.
        let said = bench.vendor.run(&["device", "add", &id]).well();
        assert!(said.contains("Successfully claimed device"), "{said}");
        let said = bench.vendor.run(&["list"]).well();
        assert!(said.contains(&id), "{said}");
        let said = bench.vendor.run(&["device", "rename", &id, "kitchen"]).well();
        assert!(said.contains("kitchen"), "{said}");
        bench.vendor.run(&["device", "remove", &id, "--yes"]).well();
        let said = bench.vendor.run(&["list"]);
        assert!(!said.out.contains(&id), "{said:?}");
        bench.vendor.run(&["product", "device", "remove", &product, &id]).well();
        let said = bench.vendor.run(&["product", "device", "list", &product]);
        assert!(!said.out.contains(&id), "{said:?}");
    }
    for (device, known) in bench.leave() {
        assert!(known["owner"].is_null() && known["product"].is_null(), "{device}: {known}");
    }
}

const OWNER: &str = "operator@bench.test";

/// What ids of a platform begin with, and the product of its devices.
const PRODUCTS: [(&str, &str); 3] = [("e00fce68", "12012"), ("0a10aced", "12032"), ("3a00", "12006")];

const SCENARIO: &str = r#"
about = "A device of each family, for the vendor's CLI."
seed = 7
[[slot]]
number = 1
platform = "argon"
[[slot]]
number = 2
platform = "p2"
[[slot]]
number = 3
platform = "photon"
[[cloud.product]]
id = 12012
slug = "argon"
platform = "argon"
[[cloud.product]]
id = 12032
slug = "p2"
platform = "p2"
[[cloud.product]]
id = 12006
slug = "photon"
platform = "photon"
[[expect]]
slot = 1
verdict = "PASS"
key = "same"
uploads = 1
[[expect]]
slot = 2
verdict = "PASS"
key = "same"
uploads = 1
[[expect]]
slot = 3
verdict = "PASS"
key = "same"
uploads = 1
"#;
