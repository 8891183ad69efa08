//! The commands of repair from outside: what they print, what they change, and with which exit code they end.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "every test uses what it needs of the desk")]
mod desk;
#[expect(dead_code, reason = "every test uses what it needs of the processes")]
mod process;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use desk::{Desk, device};
use keyrack::{
    edge::entropy::SystemEntropy,
    keys::{PrivateKey, classify, encode, packet, public_pem, server::production},
    model::{
        DeviceId, KeyKind, Platform, StationId, Wall,
        platform::{Segment, Transport},
    },
};
use process::{Served, text};
use serde_json::Value;

#[test]
fn lights_are_listed_found_and_say_what_to_do() {
    let desk = Desk::new();
    let all = desk.json(&["repair", "--lights"]);
    assert!(all.len() > 30 && all.iter().all(|light| light["event"] == "light"));
    let one = desk.json(&["repair", "--lights", "cyan-red-1"]);
    assert_eq!((one.len(), &one[0]["keys"]), (1, &"likely".into()));
    let text = desk.run(&["repair", "--lights", "d7"]).out;
    assert!(
        text.contains("d7-dim") && text.contains("not keys") && text.contains("SWD"),
        "{text}"
    );
    let end = desk.run(&["repair", "--lights", "octarine"]);
    assert_eq!(end.code, 2);
    assert!(
        end.err.starts_with("error: there is no light signal \"octarine\"\nnext: "),
        "{}",
        end.err
    );
}

/// A field bench: packets in a directory.
struct Field<'a> {
    desk: &'a Desk,
    dir: PathBuf,
}

impl<'a> Field<'a> {
    fn new(desk: &'a Desk) -> Self {
        let dir = desk.dir.path().join("packets");
        fs::create_dir(&dir).unwrap();
        Self { desk, dir }
    }

    fn key(&self, device: DeviceId, pair: &PrivateKey) -> PathBuf {
        let path = self.dir.join(format!("{device}.pub.pem"));
        fs::write(&path, public_pem(&pair.public())).unwrap();
        path
    }

    fn packet(&self, device: DeviceId, pair: &PrivateKey) -> PathBuf {
        let at = Wall::parse("2026-11-23T10:00:00Z").unwrap();
        let manifest = packet::sign(pair, device, Platform::Boron, StationId("field".into()), at);
        fs::write(self.dir.join(format!("{device}.packet.json")), packet::to_json(&manifest)).unwrap();
        self.key(device, pair)
    }

    /// The results of an import, by device; and how it ended.
    fn import(&self, paths: &[&str], more: &[&str]) -> (Vec<serde_json::Value>, desk::End) {
        let paths: Vec<_> = paths.iter().map(|path| self.dir.join(path).display().to_string()).collect();
        let mut args = vec!["--json", "packet", "import", "--dry-run"];
        args.extend(paths.iter().map(String::as_str));
        args.extend(more);
        let end = self.desk.run(&args);
        let lines = end.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, end)
    }
}

fn pair() -> PrivateKey {
    PrivateKey::generate(KeyKind::P256, &SystemEntropy)
}

fn fresh(last: u8) -> DeviceId {
    DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 9, 9, 9, 9, 9, 9, 9, last])
}

#[test]
fn a_directory_of_packets_is_checked_one_by_one() {
    let desk = Desk::new();
    let field = Field::new(&desk);
    let (a, b) = (pair(), pair());
    field.packet(fresh(1), &a);
    field.packet(fresh(2), &b);
    fs::write(field.dir.join("letter.txt"), "dear all").unwrap();
    let (lines, end) = field.import(&[""], &["--product", "1234"]);
    assert_eq!(end.code, 0, "{}", end.err);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["result"], "fits");
    assert_eq!(lines[0]["device"], fresh(1).to_string());
    assert_eq!(lines[0]["fingerprint"], a.public().fingerprint.to_string());
    assert_eq!(lines[0]["product"], "1234");
    assert_eq!(lines[0]["signed"]["station"], "field");
    assert_eq!(lines[0]["unchecked"], serde_json::json!(["replacement"]));
    assert_eq!((&lines[2]["fits"], &lines[2]["left_alone"]), (&2.into(), &1.into()));
    assert!(!desk.dir.path().join("state").exists(), "nothing was put on record");

    // The key of B under the name of A, and the manifest of A with it.
    field.key(fresh(1), &b);
    let (lines, end) = field.import(&[""], &[]);
    assert_eq!(end.code, 5);
    let refused = lines.iter().find(|line| line["device"] == fresh(1).to_string()).unwrap();
    assert_eq!(refused["result"], "refused");
    assert!(
        refused["why"].as_str().unwrap().contains("the manifest is of key"),
        "{refused}"
    );
}

#[test]
fn a_list_names_the_device_of_a_plain_key_and_a_file_name_does_not() {
    let desk = Desk::new();
    let field = Field::new(&desk);
    field.key(fresh(1), &pair());
    let file = format!("{}.pub.pem", fresh(1));
    let (lines, end) = field.import(&[&file], &[]);
    assert_eq!(end.code, 5);
    assert!(
        lines[0]["why"].as_str().unwrap().contains("nobody says of which device"),
        "{lines:?}"
    );
    let list = format!("\u{feff}Device,File,Product\r\n\"{}\",\"{file}\",77\r\n", fresh(1));
    fs::write(field.dir.join("keys.csv"), list).unwrap();
    let (lines, end) = field.import(&["keys.csv"], &["--product", "1"]);
    assert_eq!(end.code, 0, "{}", end.err);
    assert_eq!(
        (&lines[0]["product"], &lines[0]["signed"]),
        (&"77".into(), &serde_json::Value::Null)
    );
    assert_eq!(
        lines[0]["unchecked"],
        serde_json::json!(["possession", "kind", "replacement"])
    );
    fs::write(field.dir.join("keys.csv"), format!("{}\n{};x\n", fresh(1), fresh(2))).unwrap();
    let (_, end) = field.import(&["keys.csv"], &[]);
    assert_eq!(end.code, 5);
    assert!(end.err.contains("line 1: there is no file; line 2: "), "{}", end.err);
}

#[test]
fn private_keys_are_refused_loudly_in_every_form_and_place() {
    let desk = Desk::new();
    let field = Field::new(&desk);
    let a = pair();
    let slot = encode(&a, 192).expose().clone();
    field.packet(fresh(1), &a);
    fs::write(field.dir.join(format!("{}.der", fresh(1))), &slot).unwrap();
    fs::write(field.dir.join(format!("{}.pub.pem", fresh(2))), &slot).unwrap();
    let (lines, end) = field.import(&[""], &[]);
    assert_eq!(end.code, 5);
    let results: Vec<_> = lines.iter().filter(|line| line["event"] == "packet").collect();
    assert_eq!(results.len(), 3);
    assert!(
        results.iter().all(|line| line["result"] == "refused" && line["leak"] == true),
        "{results:?}"
    );
    let text = desk.run(&["packet", "import", "--dry-run", field.dir.to_str().unwrap()]);
    assert_eq!(text.out.matches("PRIVATE KEY REFUSED").count(), 3, "{}", text.out);
    assert!(text.out.contains("have every copy of this file destroyed"), "{}", text.out);
}

#[test]
fn the_ledger_refuses_a_key_of_another_device_and_a_replacement_without_a_reference() {
    let desk = Desk::filled();
    let field = Field::new(&desk);
    // Device 1 has a key that the cloud accepted: device 2 must not get it, and 1 no other without somebody's word.
    let export = desk.path("export");
    let end = desk.run(&["keys", "export", "--dir", &export]);
    assert_eq!(end.code, 0, "{}", end.err);
    let pem = fs::read(desk.dir.path().join("export").join(format!("{}.pub.pem", device(1)))).unwrap();
    fs::write(field.dir.join("copy.pem"), pem).unwrap();
    fs::write(field.dir.join("copy.csv"), format!("{},copy.pem\n", fresh(4))).unwrap();
    let (lines, end) = field.import(&["copy.csv"], &["--reference", "RMA-1", "--operator", "eva"]);
    assert_eq!(end.code, 5);
    assert!(
        lines[0]["why"]
            .as_str()
            .unwrap()
            .contains(&format!("knows this key on device {}", device(1))),
        "{lines:?}"
    );
    field.packet(device(1), &pair());
    let file = format!("{}.packet.json", device(1));
    let (lines, end) = field.import(&[&file], &[]);
    assert_eq!(end.code, 5);
    assert!(
        lines[0]["why"].as_str().unwrap().contains("it would replace key"),
        "{lines:?}"
    );
    assert!(
        lines[0]["next"].as_str().unwrap().contains("--reference and --operator"),
        "{lines:?}"
    );
    let (lines, end) = field.import(&[&file], &["--reference", "RMA-1", "--operator", "eva"]);
    assert_eq!((end.code, &lines[0]["result"]), (0, &"fits".into()), "{}", end.err);
    let (_, end) = field.import(&[&file], &["--reference", "RMA-1"]);
    assert_eq!(end.code, 2, "a reference needs a person");
}

/// A simulated world in a process of its own, and the commands on it.
struct World {
    home: tempfile::TempDir,
    served: Served,
}

/// What a world held when it ended.
struct Left {
    folder: PathBuf,
    cloud: Value,
}

impl World {
    /// Slots of borons, each with these lines of a scenario.
    fn of(slots: &[&str]) -> Self {
        let mut scenario = "about = \"returned\"\nseed = 11\n".to_owned();
        for (i, lines) in slots.iter().enumerate() {
            let n = i + 1;
            scenario += &format!("[[slot]]\nnumber = {n}\nplatform = \"boron\"\nimported = true\n{lines}\n");
            scenario += &format!("[[expect]]\nslot = {n}\nverdict = \"PASS\"\nkey = \"present-valid\"\nuploads = 1\n");
        }
        scenario += &format!("[cloud]\nowner = \"operator@bench.test\"\ncustomers = [\"{CUSTOMER}\"]\n");
        let home = tempfile::tempdir().unwrap();
        let served = Served::start(home.path(), &scenario);
        Self { home, served }
    }

    fn folder(&self) -> &Path {
        &self.served.folder
    }

    /// Runs a command on the devices to its end.
    fn run(&self, command: &[&str]) -> (Vec<Value>, desk::End) {
        let (config, bus) = (self.folder().join("station.toml"), self.folder().join("bus"));
        let mut arguments = command.to_vec();
        arguments.extend(["--config", text(&config), "--world", text(&bus), "--json"]);
        let end: desk::End = process::keyrack(self.home.path(), &arguments).into();
        let lines = end.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, end)
    }

    /// Everything that the ledger has on record, as text.
    fn journal(&self) -> String {
        let config = self.folder().join("station.toml");
        let end: desk::End = process::keyrack(self.home.path(), &["replay", "--config", text(&config), "--json"]).into();
        assert_eq!(end.code, 0, "{}", end.err);
        end.out
    }

    /// Ends it.
    fn leave(mut self) -> (Left, tempfile::TempDir) {
        self.served.program.signal("TERM");
        assert!(self.served.program.end().success());
        let folder = self.served.folder.join("world");
        let cloud = serde_json::from_str(&fs::read_to_string(folder.join("cloud.json")).unwrap()).unwrap();
        (Left { folder, cloud }, self.home)
    }
}

impl Left {
    fn devices(&self) -> Vec<DeviceId> {
        self.cloud["devices"]
            .as_object()
            .unwrap()
            .keys()
            .map(|id| id.parse().unwrap())
            .collect()
    }

    fn segment(&self, device: DeviceId, segment: Segment) -> Vec<u8> {
        let dct = fs::read(self.folder.join(format!("{device}.dct"))).unwrap();
        dct[segment.offset as usize..][..segment.len as usize].to_vec()
    }

    /// The public key in the slot of a device.
    fn held(&self, device: DeviceId) -> Option<Vec<u8>> {
        let slot = Platform::Boron.key_segments(Transport::Udp).private;
        let content = classify(&self.segment(device, slot), KeyKind::P256).0;
        content.key().map(|key| key.spki.clone())
    }

    /// What the cloud knows of a device.
    fn known(&self, device: DeviceId) -> &Value {
        &self.cloud["devices"][device.to_string()]
    }

    /// The public key that the cloud holds for a device.
    fn registered(&self, device: DeviceId) -> Option<Vec<u8>> {
        STANDARD.decode(self.known(device)["key"]["spki"].as_str()?).ok()
    }
}

fn results(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["event"] == "result").collect()
}

const CUSTOMER: &str = "ann@home.test";

#[test]
fn a_dry_run_names_the_trouble_and_changes_nothing() {
    let slots = [
        "key = \"corrupt\"",
        "server = \"other-key\"\nregistered = \"present\"",
        "owner = \"operator@bench.test\"\nregistered = \"before\"",
    ];
    let (untouched, _home) = World::of(&slots).leave();
    let world = World::of(&slots);
    let (lines, end) = world.run(&["repair", "--dry-run"]);
    assert_eq!(end.code, 1, "{}", end.err);
    assert!(end.err.contains("dry run: nothing is changed"), "{}", end.err);
    let results = results(&lines);
    let troubles: Vec<_> = results
        .iter()
        .map(|line| line["diagnosis"]["trouble"].as_str().unwrap())
        .collect();
    assert_eq!(troubles, ["key-corrupt", "server-key-wrong", "server-key-wrong"]);
    for line in &results {
        assert!(!line["diagnosis"]["evidence"].as_array().unwrap().is_empty(), "{line}");
        assert!(line["diagnosis"]["flow"].is_string(), "{line}");
        assert!(line["next"].as_str().unwrap().contains("keyrack repair"), "{line}");
    }
    assert!(lines.iter().any(|line| line["event"] == "empty" || results.len() == 3));
    let journal = world.journal();
    for never in ["item-queued", "item-sent", "key-intended", "key-written"] {
        assert!(!journal.contains(never), "{never}");
    }
    let (left, _home) = world.leave();
    assert_eq!(left.devices(), untouched.devices());
    for device in left.devices() {
        // The device itself keeps sessions and a copy of its public key there.
        let ours = |left: &Left| {
            let keys = Platform::Boron.key_segments(Transport::Udp);
            [keys.private, keys.server_key, keys.server_address].map(|segment| left.segment(device, segment))
        };
        assert!(ours(&left) == ours(&untouched), "{device}: its keys were changed");
        assert_eq!(left.registered(device), untouched.registered(device), "{device}");
        for what in ["owner", "product", "name", "notes", "groups"] {
            assert_eq!(left.known(device)[what], untouched.known(device)[what], "{device}: {what}");
        }
    }
    assert_eq!(
        left.cloud["audit"], untouched.cloud["audit"],
        "nothing was changed in the cloud"
    );
}

#[test]
fn a_customers_device_is_repaired_and_is_the_customers_again() {
    let slot = format!("owner = \"{CUSTOMER}\"\nregistered = \"before\"\nname = \"kitchen\"\nnotes = \"left\"");
    let world = World::of(&[&slot]);
    // With the client's file open to others nothing begins.
    let client = fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path());
    let client = client.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("client-"));
    let client = client.last().unwrap();
    fs::set_permissions(&client, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, end) = world.run(&["repair", "--keep-server"]);
    assert_eq!(end.code, 4, "{}", end.err);
    assert!(
        end.err.contains("is open to others") && end.err.contains("next: run `chmod 600`"),
        "{}",
        end.err
    );
    fs::set_permissions(&client, fs::Permissions::from_mode(0o600)).unwrap();
    let (lines, end) = world.run(&["repair", "--keep-server", "--no-prove", "--operator", "eva"]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let result = results(&lines)[0];
    assert_eq!(result["verdict"], "pass");
    assert_eq!(
        (&result["diagnosis"]["trouble"], &result["diagnosis"]["flow"]),
        (&"key-unknown".into(), &"customer".into())
    );
    assert!(result["ownerless_ms"].as_u64().unwrap() < 10_000, "{result}");
    let journal = world.journal();
    assert!(
        journal.contains("restore-sealed") && !journal.contains(CUSTOMER),
        "no address of a customer is on record"
    );
    let (left, _home) = world.leave();
    let device = left.devices()[0];
    assert_eq!(left.registered(device), left.held(device));
    assert!(left.held(device).is_some());
    let known = left.known(device);
    assert_eq!(
        (&known["owner"]["customer"], &known["name"], &known["notes"]),
        (&CUSTOMER.into(), &"kitchen".into(), &"left".into())
    );
}

#[test]
fn the_verbs_of_pair_and_server_do_what_they_say_to_their_slots_alone() {
    let slots = [
        "server = \"other-key\"\nregistered = \"present\"",
        "server = \"other-key\"\nregistered = \"present\"",
    ];
    let (before, _home) = World::of(&slots).leave();
    let world = World::of(&slots);
    let (lines, end) = world.run(&["keys", "generate", "1", "--no-prove"]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let made = results(&lines)[0]["device"].as_str().unwrap().parse().unwrap();
    assert_eq!(results(&lines).len(), 1, "slot 2 was left alone");
    let (lines, end) = world.run(&["keys", "server", "2", "--default"]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let set: DeviceId = results(&lines)[0]["device"].as_str().unwrap().parse().unwrap();
    assert_ne!(made, set);
    let (lines, end) = world.run(&["keys", "address", "2"]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let server = &results(&lines)[0]["server"];
    assert_eq!(server["finding"]["finding"], "right", "{server}");
    let (_, end) = world.run(&["keys", "doctor", "77"]);
    assert_eq!(end.code, 2);
    assert!(end.err.contains("the rack has no slot 77"), "{}", end.err);
    let (left, _home) = world.leave();
    assert_ne!(left.held(made), before.held(made), "a new pair");
    assert_eq!(left.registered(made), left.held(made));
    assert_eq!(left.held(set), before.held(set), "the same pair");
    let key = Platform::Boron.key_segments(Transport::Udp).server_key;
    let there = |left: &Left, device| left.segment(device, key)[..91].to_vec();
    assert_eq!(there(&left, set), production(Transport::Udp).spki);
    assert_eq!(there(&left, made), there(&before, made), "generate leaves the server alone");
}

#[test]
fn a_verb_of_keys_lets_a_protected_device_into_service_mode_only_where_it_is_told_to() {
    let world = World::of(&["server = \"stand-in\"\nregistered = \"present\"\nprotected = true"]);
    for verb in [
        &["keys", "server", "1", "--default"][..],
        &["keys", "generate", "1", "--no-prove"],
    ] {
        let (lines, end) = world.run(verb);
        assert_eq!(end.code, 1, "{} {}", end.out, end.err);
        assert_eq!(results(&lines)[0]["code"], "protected", "{verb:?}");
    }
    assert!(!world.journal().contains("service-opened"));
    let opened = |world: &World| world.journal().matches("\"service-opened\"").count();
    let protected = |world: &World| world.journal().matches("\"protected-again\"").count();
    let dir = world.home.path().join("packets");
    // The last one makes it a device of another cloud, which this one could not let in.
    let verbs = [
        &["keys", "generate", "1", "--no-prove", "--service-mode"][..],
        &["keys", "address", "1", "--service-mode"],
        &["keys", "save", "1", "--dir", text(&dir), "--service-mode"],
        &["keys", "server", "1", "--default", "--service-mode"],
    ];
    for (n, verb) in verbs.into_iter().enumerate() {
        let (_, end) = world.run(verb);
        assert_eq!(end.code, 0, "{verb:?}: {} {}", end.out, end.err);
        assert_eq!((opened(&world), protected(&world)), (n + 1, n + 1), "{verb:?}");
    }
    let (left, _home) = world.leave();
    let device = left.devices()[0];
    assert_eq!(left.registered(device), left.held(device));
    let key = Platform::Boron.key_segments(Transport::Udp).server_key;
    assert_eq!(left.segment(device, key)[..91], production(Transport::Udp).spki);
}

#[test]
fn a_field_bench_saves_packets_without_a_cloud_and_the_owner_takes_them() {
    let world = World::of(&["registered = \"before\"", "key = \"corrupt\""]);
    for secret in ["token", "client-12013"] {
        fs::remove_file(world.folder().join(secret)).unwrap();
    }
    let dir = world.home.path().join("packets");
    let (lines, end) = world.run(&["keys", "save", "1", "--dir", text(&dir)]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let saved = lines.iter().find(|line| line["event"] == "saved").unwrap();
    let device: DeviceId = saved["device"].as_str().unwrap().parse().unwrap();
    let mut names: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [format!("{device}.packet.json"), format!("{device}.pub.pem")],
        "nothing private is written"
    );
    // A second time it is the same key with a newer proof; another key is not written over.
    let (_, end) = world.run(&["keys", "save", "1", "--dir", text(&dir)]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let (lines, end) = world.run(&["keys", "save", "2", "--dir", text(&dir)]);
    assert_eq!(end.code, 1, "{} {}", end.out, end.err);
    assert_eq!(results(&lines)[0]["code"], "key-corrupt");
    let pem = dir.join(format!("{device}.pub.pem"));
    let right = fs::read(&pem).unwrap();
    fs::write(&pem, public_pem(&pair().public())).unwrap();
    let (_, end) = world.run(&["keys", "save", "1", "--dir", text(&dir)]);
    assert_eq!(end.code, 2, "{}", end.err);
    assert!(end.err.contains("would be overwritten with another key"), "{}", end.err);
    fs::write(&pem, right).unwrap();
    let desk = Desk::new();
    let taken = desk.json(&["packet", "import", "--dry-run", text(&dir)]);
    // There is no ledger on that desk: a note says so on standard error.
    assert_eq!(
        (&taken[0]["result"], &taken[0]["device"]),
        (&"fits".into(), &device.to_string().into())
    );
    let (left, _home) = world.leave();
    assert_eq!(STANDARD.encode(left.held(device).unwrap()), {
        let pem = fs::read_to_string(&pem).unwrap();
        pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()
    });
    assert_ne!(left.registered(device), left.held(device), "nothing was registered");
}

/// The other bench: it has the token, a ledger of its own, and no device.
struct Owner<'a> {
    world: &'a World,
    state: String,
}

impl<'a> Owner<'a> {
    fn of(world: &'a World) -> Self {
        let state = text(&world.home.path().join("owner")).to_owned();
        Self { world, state }
    }

    fn arguments<'b>(&'b self, command: &[&'b str], config: &'b Path) -> Vec<&'b str> {
        [command, &["--config", text(config), "--state", &self.state]].concat()
    }

    fn run(&self, command: &[&str]) -> (Vec<Value>, desk::End) {
        let config = self.world.folder().join("station.toml");
        let arguments = [&self.arguments(command, &config)[..], &["--json"]].concat();
        let end: desk::End = process::keyrack(self.world.home.path(), &arguments).into();
        let lines = end.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, end)
    }
}

fn ends(lines: &[Value]) -> Vec<&str> {
    results(lines).iter().map(|line| line["end"].as_str().unwrap()).collect()
}

#[test]
fn packets_of_a_field_bench_are_registered_by_the_owner_who_has_no_device() {
    let customer = format!("owner = \"{CUSTOMER}\"\nregistered = \"before\"\nname = \"kitchen\"");
    let world = World::of(&[
        "registered = \"before\"",
        &customer,
        "owner = \"operator@bench.test\"",
        "denied = true",
    ]);
    let dir = world.home.path().join("packets");
    let (lines, end) = world.run(&["keys", "save", "--dir", text(&dir)]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let saved: Vec<DeviceId> = lines
        .iter()
        .filter(|line| line["event"] == "saved")
        .map(|line| line["device"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(saved.len(), 4);
    let owner = Owner::of(&world);
    let (lines, end) = owner.run(&["packet", "import", text(&dir)]);
    assert_eq!(end.code, 1, "the denied device is for a person: {} {}", end.out, end.err);
    let told = results(&lines);
    assert_eq!(told.len(), 4);
    let refused: Vec<_> = told.iter().filter(|line| line["end"] == "refused").collect();
    assert_eq!(
        (refused.len(), &refused[0]["code"]),
        (1, &"cloud-quarantine".into()),
        "{told:?}"
    );
    let batch = lines.iter().find(|line| line["event"] == "batch").unwrap();
    assert_eq!(
        (&batch["registered"], &batch["not_registered"], &batch["owed"]),
        (&3.into(), &1.into(), &0.into())
    );
    // A second time nothing is replaced: the ledger knows these very keys.
    let (lines, end) = owner.run(&["packet", "import", text(&dir)]);
    assert_eq!(end.code, 1, "{} {}", end.out, end.err);
    assert_eq!(ends(&lines).iter().filter(|end| **end == "registered").count(), 3);
    let (lines, _) = owner.run(&["devices"]);
    assert!(lines.iter().all(|line| line["standing"]["standing"] != "apart"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line["key_origin"] == "packet").count(), 3);
    let (lines, end) = owner.run(&["device", &saved[0].to_string()]);
    assert_eq!(end.code, 0, "{}", end.err);
    assert_eq!(lines[0]["packets"][0]["proof"]["manifest"]["device"], saved[0].to_string());
    let (_, end) = owner.run(&["replay", "--verify"]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let (journal, _) = owner.run(&["replay"]);
    assert!(
        !format!("{journal:?}").contains(CUSTOMER),
        "no address of a customer is on record"
    );
    let denied: DeviceId = refused[0]["device"].as_str().unwrap().parse().unwrap();
    let (left, _home) = world.leave();
    for device in saved.iter().filter(|device| **device != denied) {
        assert_eq!(left.registered(*device), left.held(*device), "{device}");
        assert!(left.held(*device).is_some());
    }
    let kitchen = saved.iter().find(|device| left.known(**device)["name"] == "kitchen").unwrap();
    assert_eq!(left.known(*kitchen)["owner"]["customer"], CUSTOMER, "the customer's again");
}

#[test]
fn a_kill_after_any_record_loses_no_packet_and_no_owner() {
    let customer = format!("owner = \"{CUSTOMER}\"\nregistered = \"before\"");
    let world = World::of(&[customer.as_str(); 12]);
    let dir = world.home.path().join("packets");
    let (_, end) = world.run(&["keys", "save", "--dir", text(&dir)]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(".pub.pem"));
    assert_eq!(files.len(), 12);
    let owner = Owner::of(&world);
    let config = world.folder().join("station.toml");
    for (n, file) in files.iter().enumerate() {
        let arguments = owner.arguments(&["packet", "import", text(file)], &config);
        let mut killed = process::Program::start(&arguments, world.home.path());
        let mut facts = 0;
        killed.wait_for(|line| {
            facts += usize::from(line["event"] == "fact");
            facts > n + 1
        });
        killed.signal("KILL");
        killed.end();
        // The last ones are left for whatever station comes next.
        if n < 9 {
            let (lines, end) = owner.run(&["packet", "import", text(file)]);
            assert_eq!(
                (end.code, ends(&lines)),
                (0, vec!["registered"]),
                "{n}: {} {}",
                end.out,
                end.err
            );
        }
    }
    let bus = world.folder().join("bus");
    let arguments = owner.arguments(&["run", "--headless", "--world", text(&bus)], &config);
    let mut station = process::Program::start(&arguments, world.home.path());
    // Where it is not known whether a release arrived, a look minutes later is owed: nobody waits for that one.
    let late = |line: &Value| line["item"]["errand"]["errand"] == "confirm";
    let mut owed = |_: &Value| owner.run(&["outbox"]).0.iter().all(late);
    station.wait_for(&mut owed);
    station.signal("TERM");
    station.end();
    let (_, end) = owner.run(&["replay", "--verify"]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let (left, _home) = world.leave();
    for device in left.devices() {
        assert_eq!(left.registered(device), left.held(device), "{device}");
        assert_eq!(left.known(device)["owner"]["customer"], CUSTOMER, "{device}");
    }
}

#[test]
fn one_key_is_sent_and_what_nobody_could_check_is_said() {
    let world = World::of(&["registered = \"before\"", "registered = \"present\""]);
    let dir = world.home.path().join("packets");
    let (lines, end) = world.run(&["keys", "save", "1", "--dir", text(&dir)]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let device = lines.iter().find(|line| line["event"] == "saved").unwrap()["device"]
        .as_str()
        .unwrap()
        .to_owned();
    let plain = world.home.path().join("plain.pem");
    fs::copy(dir.join(format!("{device}.pub.pem")), &plain).unwrap();
    let owner = Owner::of(&world);
    let (lines, end) = owner.run(&["keys", "send", &device, text(&plain)]);
    assert_eq!((end.code, ends(&lines)), (0, vec!["registered"]), "{} {}", end.out, end.err);
    let shown = lines.iter().find(|line| line["event"] == "packet").unwrap();
    assert_eq!(shown["unchecked"], serde_json::json!(["possession", "kind", "replacement"]));
    // Another key for it takes the place of one that the cloud accepted.
    let other = pair();
    fs::write(&plain, public_pem(&other.public())).unwrap();
    let (_, end) = owner.run(&["keys", "send", &device, text(&plain)]);
    assert_eq!(end.code, 5, "{} {}", end.out, end.err);
    assert!(end.out.contains("it would replace key"), "{}", end.out);
    let vouched = [
        "keys",
        "send",
        &device,
        text(&plain),
        "--reference",
        "RMA-1",
        "--operator",
        "eva",
    ];
    let (lines, end) = owner.run(&vouched);
    assert_eq!((end.code, ends(&lines)), (0, vec!["registered"]), "{} {}", end.out, end.err);
    let (lines, _) = owner.run(&["device", &device]);
    assert_eq!(lines[0]["packets"][0]["voucher"]["reference"], "RMA-1");
    // Its private half, and a token that nobody accepts.
    let private = world.home.path().join("private.der");
    fs::write(&private, encode(&other, 192).expose()).unwrap();
    let (_, end) = owner.run(&["keys", "send", &device, text(&private)]);
    assert_eq!(end.code, 5, "{} {}", end.out, end.err);
    let mut token: Value = serde_json::from_str(&fs::read_to_string(world.folder().join("token")).unwrap()).unwrap();
    token["access_token"] = "0123456789abcdef0123456789abcdef01234567".into();
    fs::write(world.folder().join("token"), token.to_string()).unwrap();
    fs::write(&plain, public_pem(&pair().public())).unwrap();
    let (lines, end) = owner.run(&vouched);
    assert_eq!((end.code, ends(&lines).len()), (4, 0), "{} {}", end.out, end.err);
    assert_eq!(lines.iter().find(|line| line["event"] == "batch").unwrap()["owed"], 1);
}

impl World {
    /// Runs a command that has no device.
    fn at_desk(&self, command: &[&str]) -> (Vec<Value>, desk::End) {
        let config = self.folder().join("station.toml");
        let arguments = [command, &["--config", text(&config), "--json"]].concat();
        let end: desk::End = process::keyrack(self.home.path(), &arguments).into();
        let lines = end.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, end)
    }

    /// The device in a slot.
    fn device(&self, slot: &str) -> DeviceId {
        let (lines, end) = self.run(&["keys", "address", slot]);
        assert!(end.code < 2, "{} {}", end.out, end.err);
        results(&lines)[0]["device"].as_str().unwrap().parse().unwrap()
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

/// A pair as the vendor's CLI saves it from the slot of a device on UDP.
fn saved(pair: &PrivateKey) -> Vec<u8> {
    encode(pair, 192).expose().clone()
}

/// A dump with the record of DeviceKeyHelperRK in it (device-protocol.md 4.8).
fn dump(pair: &PrivateKey) -> Vec<u8> {
    let mut payload = saved(pair);
    payload.resize(320, 0x5a);
    let sum = payload.iter().fold(0u16, |sum, b| sum.wrapping_add(u16::from(*b)));
    let mut dump = vec![0xff; 100];
    dump.extend([0x63, 0x5c, 0xa6, 0x75]);
    dump.extend(320u16.to_le_bytes());
    dump.extend(sum.to_le_bytes());
    dump.extend(payload);
    dump.resize(1024, 0);
    dump
}

const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

#[test]
fn a_pair_from_a_file_is_written_and_registered_unless_the_cloud_accepted_it_last() {
    let ready = "server = \"stand-in\"\nregistered = \"before\"";
    let fresh = "server = \"stand-in\"";
    let world = World::of(&[ready, fresh, fresh]);
    let (known, new) = (pair(), pair());
    let [one, two, three] = ["1", "2", "3"].map(|slot| world.device(slot));
    // The ledger knows this one as accepted: it is written, and the cloud need not learn it again.
    let pem = world.file("known.pem", public_pem(&known.public()).as_bytes());
    let (lines, end) = world.at_desk(&["keys", "send", &two.to_string(), text(&pem)]);
    assert_eq!((end.code, ends(&lines)), (0, vec!["registered"]), "{} {}", end.out, end.err);
    let der = world.file("known.der", &saved(&known));
    let (lines, end) = world.run(&["keys", "load", "2", text(&der)]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let result = results(&lines)[0];
    assert_eq!(
        (&result["verdict"], &result["proved"], &result["diagnosis"]["flow"]),
        (&"pass".into(), &true.into(), &"restore".into()),
        "{result}"
    );
    let run = result["run"].as_str().unwrap();
    let sent = |line: &&Value| line["fact"]["fact"] == "item-sent" && line["fact"]["item"].as_str().unwrap().starts_with(run);
    assert_eq!(lines.iter().filter(sent).count(), 0, "nothing was sent");
    let remove = lines.iter().find(|line| line["event"] == "remove").unwrap();
    assert_eq!(remove["file"], text(&der));
    // Any other is registered like a new one, also in place of a valid key.
    let der = world.file("new.der", &saved(&new));
    let (lines, end) = world.run(&["keys", "load", "1", text(&der)]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    assert_eq!(results(&lines)[0]["proved"], true);
    // One that the ledger knows on another device is refused, and nothing is written.
    let (lines, end) = world.run(&["keys", "load", "3", text(&der)]);
    assert_eq!(end.code, 1, "{} {}", end.out, end.err);
    assert_eq!(results(&lines)[0]["code"], "key-duplicate");
    assert!(!lines.iter().any(|line| line["fact"]["fact"] == "key-intended"));
    // What is no private key is said before anything is touched.
    let (_, end) = world.run(&["keys", "load", "3", text(&pem)]);
    assert_eq!(end.code, 5, "{}", end.err);
    assert!(end.err.contains("this is a public key"), "{}", end.err);
    let (lines, _) = world.at_desk(&["device", &one.to_string()]);
    assert_eq!(lines[0]["device"]["key_origin"], "given", "{}", lines[0]);
    let (_, end) = world.at_desk(&["replay", "--verify"]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let (left, _home) = world.leave();
    for (device, pair) in [(one, &new), (two, &known)] {
        assert_eq!(left.held(device), Some(pair.public().spki), "{device}");
        assert_eq!(left.registered(device), left.held(device), "{device}");
    }
    assert_ne!(left.held(three), Some(new.public().spki));
    assert_eq!(left.registered(three), None);
}

#[test]
fn what_was_sealed_or_dumped_is_restored_to_its_device_alone() {
    let slot = "server = \"stand-in\"\nregistered = \"present\"";
    let world = World::of(&[slot, slot]);
    let [one, two] = ["1", "2"].map(|slot| world.device(slot));
    let dir = world.home.path().join("packets");
    let (_, end) = world.run(&["keys", "save", "1", "--dir", text(&dir), "--recipient", IDENTITY]);
    assert_eq!(end.code, 2, "{}", end.err);
    assert!(end.err.contains("SECRET half") && !end.err.contains("GFPYYS"), "{}", end.err);
    let (lines, end) = world.run(&["keys", "save", "1", "--dir", text(&dir), "--recipient", RECIPIENT]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let sealed = dir.join(format!("{one}.key.age"));
    let said = lines.iter().find(|line| line["event"] == "saved").unwrap();
    assert_eq!(said["sealed"], text(&sealed));
    assert_eq!(fs::metadata(&sealed).unwrap().permissions().mode() & 0o777, 0o600);
    let (lines, end) = world.run(&["keys", "generate", "1", "--no-prove"]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    assert_eq!(results(&lines)[0]["verdict"], "pass");
    let identity = world.file("owner.txt", IDENTITY.as_bytes());
    let escrow = ["--escrow", text(&sealed), "--identity", text(&identity)];
    // It names its device: another one never gets it.
    let (lines, end) = world.run(&[&["keys", "restore", "2"], &escrow[..]].concat());
    assert_eq!(end.code, 3, "{} {}", end.out, end.err);
    assert_eq!(results(&lines)[0]["code"], "given-key-absent");
    let (lines, end) = world.run(&[&["keys", "restore", "1"], &escrow[..]].concat());
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    assert_eq!(results(&lines)[0]["proved"], true);
    let kept = pair();
    let dump = world.file("fram.bin", &dump(&kept));
    let (lines, end) = world.run(&["keys", "restore", "2", "--dump", text(&dump)]);
    assert_eq!(end.code, 0, "{} {}", end.out, end.err);
    let found = lines.iter().find(|line| line["event"] == "found").unwrap();
    assert_eq!(found["fingerprint"], kept.public().fingerprint.to_string());
    assert_eq!(results(&lines)[0]["proved"], true);
    let (_, end) = world.run(&["keys", "restore", "2", "--dump", text(&identity)]);
    assert_eq!(end.code, 5, "{}", end.err);
    let (left, _home) = world.leave();
    let manifest = packet::read(&fs::read(dir.join(format!("{one}.packet.json"))).unwrap()).unwrap();
    let spki = left.held(one).unwrap();
    assert_eq!(
        keyrack::keys::parse_public(&spki).unwrap().fingerprint,
        manifest.fingerprint,
        "the old key is back"
    );
    assert_eq!(left.registered(one), Some(spki));
    assert_eq!(left.held(two), Some(kept.public().spki));
    assert_eq!(left.registered(two), left.held(two));
}

#[test]
fn after_a_cut_a_given_pair_has_to_be_given_again_and_nothing_is_lost_without_it() {
    let slot = "server = \"stand-in\"\nregistered = \"present\"";
    let (untouched, _home) = World::of(&[slot, slot]).leave();
    let world = World::of(&[slot, slot]);
    let (config, bus) = (world.folder().join("station.toml"), world.folder().join("bus"));
    let mut given = Vec::new();
    for n in ["1", "2"] {
        let new = pair();
        let der = world.file(&format!("{n}.der"), &saved(&new));
        let load = ["keys", "load", n, text(&der), "--no-prove"];
        let arguments = [&load[..], &["--config", text(&config), "--world", text(&bus)]].concat();
        let mut killed = process::Program::start(&arguments, world.home.path());
        let intended = killed.wait_for(|line| line["fact"]["fact"] == "key-intended").unwrap();
        killed.signal("KILL");
        killed.end();
        let device: DeviceId = intended["fact"]["device"].as_str().unwrap().parse().unwrap();
        let again = if n == "1" {
            world.run(&load)
        } else {
            world.run(&["repair", n, "--no-prove"])
        };
        let code = results(&again.0)[0]["code"].clone();
        given.push((device, new.public().spki, code, again.1.code));
    }
    let (left, _home) = world.leave();
    let (device, new, code, exit) = &given[0];
    assert_eq!((exit, code), (&0, &Value::Null), "with the file it goes on");
    assert_eq!(left.held(*device).as_ref(), Some(new));
    assert_eq!(left.registered(*device), left.held(*device));
    let (device, new, code, exit) = &given[1];
    if code == "given-key-absent" {
        assert_eq!(*exit, 3);
        assert_eq!(
            left.held(*device),
            untouched.held(*device),
            "the old key is still there, or back"
        );
    } else {
        assert_eq!(
            left.held(*device).as_ref(),
            Some(new),
            "it was whole on the device when the station was killed"
        );
    }
    assert_eq!(left.registered(*device), left.held(*device));
}

#[test]
fn what_would_not_do_is_said_before_anything_is_touched() {
    let desk = Desk::new();
    for (args, part) in [
        (&["keys", "server", "--host", "two words"][..], "silently reverted"),
        (&["keys", "server", "--default", "--port", "7"], "cannot be used with"),
        (&["repair", "--from", "1"], "--product"),
        (&["repair", "--dry-run", "--new-key"], "cannot be used with"),
        (&["repair", "--product", "12", "--from", "12"], "--from names the product"),
        (&["repair", "--lights", "dark", "--dry-run"], "cannot be used with"),
        (&["repair", "0"], "invalid value"),
        (&["keys", "generate", "--product", "a b"], "a product's number"),
    ] {
        let end = desk.run(args);
        assert_eq!(end.code, 2, "{args:?}: {}", end.err);
        assert!(end.err.contains(part), "{args:?}: {}", end.err);
    }
    let config = desk.config(
        "station = { id = \"x\", state = \"state\" }\nslot = [{ number = 1, port = \"sim-0/1\" }]\n\
         [[recipe]]\nname = \"a\"\nplatform = \"boron\"\n",
    );
    let end = desk.run(&["keys", "server", "--key", &config, "--config", &config]);
    assert_eq!(end.code, 2, "{}", end.err);
    assert!(end.err.contains("could not use the server key"), "{}", end.err);
}

#[test]
fn a_dry_run_is_refused_where_the_station_would_go_on_with_something_else() {
    let desk = Desk::filled();
    let end = desk.run(&["repair", "--dry-run"]);
    assert_eq!(end.code, 2, "{}", end.err);
    assert!(end.err.contains("this cannot be a dry run"), "{}", end.err);
}
