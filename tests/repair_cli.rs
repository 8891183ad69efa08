//! The commands of repair from outside: what they print, what they change, and with which exit code they end.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "every test uses what it needs of the desk")]
mod desk;

use std::{fs, path::PathBuf};

use desk::{Desk, device};
use keyrack::{
    edge::entropy::SystemEntropy,
    keys::{PrivateKey, encode, packet, public_pem},
    model::{DeviceId, KeyKind, Platform, StationId, Wall},
};

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
    assert_eq!(lines[0]["unchecked"].as_array().unwrap().len(), 0);
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
    assert_eq!(lines[0]["unchecked"], serde_json::json!(["possession", "kind"]));
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
