//! Nothing private ever leaves its place: a whole session of the real binary, killed once in the middle of a key write,
//! and then every byte of everything that it wrote or said is searched for every private key, token and password that
//! there was, in every form that they could have.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "every test uses what it needs of the processes")]
mod process;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use keyrack::{
    edge::entropy::SystemEntropy,
    keys::{PrivateKey, encode},
    model::{KeyKind, Platform},
    sim::{
        device::{Device, StartServer, Timing},
        world::scenario::{Scenario, Slot},
    },
};
use process::{Served, keyrack, private_slot, text};

#[test]
fn no_secret_is_in_anything_that_a_station_writes_or_says() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let scenario = Scenario::parse(RACK).unwrap();
    let mut world = Served::start(home, RACK);
    let wifi = home.join("wifi-password");
    fs::write(&wifi, format!("{WIFI_PASSWORD}\n")).unwrap();
    fs::set_permissions(&wifi, fs::Permissions::from_mode(0o600)).unwrap();
    let config = world.folder.join("station.toml");
    let station_toml = fs::read_to_string(&config).unwrap();
    let with = station_toml.replace(
        "wifi = { ssid = \"bench\" }",
        &format!("wifi = {{ ssid = \"bench\", password_file = \"{}\" }}", wifi.display()),
    );
    assert_ne!(with, station_toml);
    fs::write(&config, with).unwrap();

    let mut secrets = Secrets::default();
    for slot in scenario.slots.values() {
        let device = Device::new(slot.spec(scenario.seed, &StartServer::Production), Timing::instant());
        secrets.key_store(slot, device.dct());
    }
    let token = fs::read_to_string(world.folder.join("token")).unwrap();
    secrets.text("token", token_in(&token));
    secrets.text("Wi-Fi password", WIFI_PASSWORD);
    secrets.text("account password", ACCOUNT_PASSWORD);
    for slot in scenario.slots.values() {
        if let Some(secret) = &slot.mobile_secret {
            secrets.text("mobile secret", secret);
        }
    }
    let before = secrets.needles.len();

    // A password that the cloud does not accept goes the same way as one that it does.
    let mut login = std::process::Command::new(env!("CARGO_BIN_EXE_keyrack"));
    let ca = world.folder.join("ca.pem");
    let url = station_toml
        .lines()
        .find_map(|l| l.strip_prefix("url = \"")?.strip_suffix('"'))
        .unwrap();
    let mut child = login
        .env("HOME", home)
        .args(["login", "--user", "operator@bench.test", "--json", "-v"])
        .args(["--cloud-url", url, "--ca-file", text(&ca), "--config", text(&config)])
        .stdin(std::process::Stdio::piped())
        .stdout(fs::File::create(home.join("stdout-login")).unwrap())
        .stderr(fs::File::create(home.join("stderr-login")).unwrap())
        .spawn()
        .unwrap();
    let typed = format!("{ACCOUNT_PASSWORD}\n");
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes());
    assert!(!child.wait().unwrap().success());

    // Killed while an undo copy is on disk: sealed, it must not show what it holds.
    let mut station = world.station(home, &["-v", "-v"]);
    assert!(
        station.wait_for(|line| line["fact"]["fact"] == "key-intended").is_some(),
        "{}",
        station.complaints()
    );
    station.signal("KILL");
    station.end();
    assert!(undo_copies(&world.folder) > 0, "an undo copy is on disk");
    let torn: Vec<PathBuf> = files(&world.folder.join("state"));
    assert_eq!(secrets.find_in(&torn), Vec::<String>::new());

    let count = scenario.slots.len().to_string();
    let mut station = world.station(home, &["-v", "-v", "--devices", &count]);
    station.end();
    for arguments in [
        vec!["replay", "--verify"],
        vec!["replay", "--json"],
        vec!["devices", "--json"],
        vec!["check"],
        vec!["outbox", "--json"],
    ] {
        let output = keyrack(home, &[&arguments[..], &["--config", text(&config)]].concat());
        fs::write(home.join(format!("stdout-{}", arguments.join("-"))), &output.stdout).unwrap();
        fs::write(home.join(format!("stderr-{}", arguments.join("-"))), &output.stderr).unwrap();
    }
    pairs_that_were_given(home, &world, &scenario, &mut secrets);
    world.program.signal("TERM");
    world.program.end();
    assert!(!world.program.alive());
    let kept = world.folder.join("world");
    for slot in scenario.slots.values() {
        let path = kept.join(format!("{}.dct", slot.id));
        secrets.key_store(slot, &fs::read(&path).unwrap());
    }
    assert!(secrets.needles.len() > before, "new keys were made");

    // What is exempt says so by its permissions, and in words.
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.folder), 0o700);
    assert_eq!(mode(&kept), 0o700);
    assert_eq!(mode(&world.folder.join("token")), 0o600);
    for file in files(&kept).iter().filter(|f| !f.ends_with("README")) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    let readme = fs::read_to_string(kept.join("README")).unwrap();
    assert!(readme.contains("private keys") && readme.contains("passwords and tokens"));

    // The scenario is what the simulated world was told, not what anybody wrote of it.
    let exempt = [&kept, &wifi, &world.folder.join("token"), &home.join("scenario.toml")];
    let searched: Vec<PathBuf> = files(home)
        .into_iter()
        .filter(|file| !exempt.iter().any(|e| file.starts_with(e)))
        .collect();
    for part in ["ledger.db", "stdout-", "stderr-", "station.toml", "lock"] {
        let there = searched.iter().any(|f| f.to_string_lossy().contains(part));
        assert!(there, "{part} is among what is searched: {searched:?}");
    }
    assert_eq!(secrets.find_in(&searched), Vec::<String>::new());

    // The search sees what is there: public keys are in ledger and output, and the exempt folder is full of secrets.
    assert!(!secrets.find_in(&files(&kept)).is_empty());
    planted(home, &secrets);
}

/// Pairs from a file and from a dump, and a copy sealed to somebody elsewhere: their files apart, nothing shows them.
fn pairs_that_were_given(home: &Path, world: &Served, scenario: &Scenario, secrets: &mut Secrets) {
    let udp = |slot: &&Slot| Platform::from_id(slot.platform.number()).unwrap().key_kind() == KeyKind::P256 && !slot.protected;
    let numbers = scenario
        .slots
        .iter()
        .filter(|(_, slot)| udp(slot))
        .map(|(number, _)| number.to_string());
    let number = numbers.into_iter().next().unwrap();
    let (config, bus) = (world.folder.join("station.toml"), world.folder.join("bus"));
    let mut pair = |what: &str| {
        let pair = PrivateKey::generate(KeyKind::P256, &SystemEntropy);
        let slot = encode(&pair, 192).expose().clone();
        for (name, number) in private_numbers(&slot) {
            secrets.bytes(&format!("{what} {name}"), &number);
        }
        slot
    };
    let (loaded, mut record) = (pair("loaded"), pair("dumped"));
    record.resize(320, 0);
    let sum = record.iter().fold(0u16, |sum, b| sum.wrapping_add(u16::from(*b)));
    let head = [&[0x63, 0x5c, 0xa6, 0x75][..], &320u16.to_le_bytes(), &sum.to_le_bytes()].concat();
    let (file, dump, packets) = (home.join("given.der"), home.join("given.bin"), home.join("packets"));
    fs::write(&file, loaded).unwrap();
    fs::write(&dump, [head, record].concat()).unwrap();
    for (name, arguments, fact) in [
        ("load", vec!["load", &number, text(&file)], "key-written"),
        ("restore", vec!["restore", &number, "--dump", text(&dump)], "key-written"),
        (
            "save",
            vec!["save", &number, "--recipient", RECIPIENT, "--dir", text(&packets)],
            "key-escrowed",
        ),
    ] {
        let options = ["-v", "-v", "--json", "--config", text(&config), "--world", text(&bus)];
        let output = keyrack(home, &[&["keys"], &arguments[..], &options].concat());
        let out = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(output.status.success() && out.contains(fact), "{name}: {out}");
        fs::write(home.join(format!("stdout-keys-{name}")), &output.stdout).unwrap();
        fs::write(home.join(format!("stderr-keys-{name}")), &output.stderr).unwrap();
    }
    let sealed = files(&packets)
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(".key.age"));
    assert!(sealed.is_some(), "it is among what is searched");
    fs::remove_file(file).unwrap();
    fs::remove_file(dump).unwrap();
}

const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

/// A secret in any form, anywhere, is found: else the test above proves nothing.
fn planted(home: &Path, secrets: &Secrets) {
    let plant = home.join("planted");
    for needle in &secrets.needles {
        let mut bytes = b"some words before ".to_vec();
        bytes.extend(&needle.bytes);
        bytes.extend(b" and after");
        fs::write(&plant, bytes).unwrap();
        assert!(!secrets.find_in(std::slice::from_ref(&plant)).is_empty(), "{}", needle.what);
    }
    fs::remove_file(&plant).unwrap();
    let raw = secrets.needles.iter().find(|n| n.what.contains("raw")).unwrap();
    for (name, value) in [
        ("blob", rusqlite::types::Value::Blob(raw.bytes.clone())),
        ("json", rusqlite::types::Value::Text(format!("{:?}", raw.bytes))),
    ] {
        let path = home.join(format!("planted-{name}.db"));
        let database = rusqlite::Connection::open(&path).unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.execute_batch("CREATE TABLE notes (note)").unwrap();
        database.execute("INSERT INTO notes VALUES (?1)", [value]).unwrap();
        // Still open: it is in the write-ahead log, and not yet in the file itself.
        let log = path.with_extension("db-wal");
        assert!(!secrets.find_in(&[path, log]).is_empty(), "{name}");
    }
}

/// Every secret in every form that is searched for.
#[derive(Default)]
struct Secrets {
    needles: Vec<Needle>,
}

struct Needle {
    what: String,
    bytes: Vec<u8>,
}

impl Secrets {
    /// The private numbers of a key store: what stands in its private key slot, however it is encoded.
    fn key_store(&mut self, slot: &Slot, dct: &[u8]) {
        let platform = Platform::from_id(slot.platform.number()).unwrap();
        let slot_bytes = private_slot(platform, dct);
        if slot_bytes.iter().all(|byte| *byte == 0xff) {
            return;
        }
        let numbers = private_numbers(slot_bytes);
        assert!(!numbers.is_empty(), "{}: no private number in the slot", slot.id);
        for (name, number) in numbers {
            self.bytes(&format!("{} {name}", slot.id), &number);
        }
    }

    fn text(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 12, "{what}: too short to be told from chance");
        self.bytes(what, secret.as_bytes());
    }

    /// Both halves of a secret by themselves: a page of a database may end in the middle of it.
    fn bytes(&mut self, what: &str, secret: &[u8]) {
        let half = (secret.len() / 2).clamp(12, 24).min(secret.len());
        for (part, bytes) in [("start", &secret[..half]), ("end", &secret[secret.len() - half..])] {
            let mut add = |form: &str, bytes: Vec<u8>| {
                let what = format!("{what}, {part}, {form}");
                if !self.needles.iter().any(|needle| needle.bytes == bytes) {
                    self.needles.push(Needle { what, bytes });
                }
            };
            add("raw", bytes.to_vec());
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            add("hex", hex.clone().into_bytes());
            add("HEX", hex.to_ascii_uppercase().into_bytes());
            for separator in [":", " "] {
                let pairs: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                add("hex pairs", pairs.join(separator).into_bytes());
            }
            for separator in [", ", ","] {
                let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
                add("a list", list.join(separator).into_bytes());
            }
            // Base64 of something longer holds this in one of three ways; its outermost characters mix with others.
            for skip in 0..3 {
                let whole = &bytes[skip..skip + (bytes.len() - skip) / 3 * 3];
                add(
                    "base64",
                    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, whole).into_bytes(),
                );
                add(
                    "base64url",
                    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE, whole).into_bytes(),
                );
            }
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            add("reversed", reversed);
        }
    }

    /// What is found, and where.
    fn find_in(&self, files: &[PathBuf]) -> Vec<String> {
        let mut found = Vec::new();
        for file in files {
            // Line breaks in base64 and dumps hide nothing.
            let bytes = fs::read(file).unwrap();
            let joined: Vec<u8> = bytes.iter().copied().filter(|b| !b"\r\n".contains(b)).collect();
            for needle in &self.needles {
                if memchr(&bytes, &needle.bytes) || memchr(&joined, &needle.bytes) {
                    found.push(format!("{}: {}", file.display(), needle.what));
                }
            }
        }
        found
    }
}

/// True if `wanted` is somewhere in `bytes`.
fn memchr(bytes: &[u8], wanted: &[u8]) -> bool {
    let first = wanted[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| *b == first) {
        let start = from + at;
        if bytes[start..].starts_with(wanted) {
            return true;
        }
        from = start + 1;
    }
    false
}

/// The secret numbers of a key in DER: the integers after modulus and exponent of an RSA key, the scalar of an EC key.
/// Read by hand, because half of these keys are refused by strict readers.
fn private_numbers(slot: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (tag, body, _) = element(slot).expect("DER");
    assert_eq!(tag, 0x30);
    let mut rest = body;
    let mut parts = Vec::new();
    while let Some((tag, body, more)) = element(rest) {
        parts.push((tag, body.to_vec()));
        rest = more;
    }
    let trimmed = |bytes: &[u8]| bytes.iter().copied().skip_while(|b| *b == 0).collect::<Vec<u8>>();
    if parts[1].0 == 0x04 {
        return vec![("scalar", trimmed(&parts[1].1))];
    }
    let names = ["version", "n", "e", "d", "p", "q", "dp", "dq", "qinv"];
    names
        .into_iter()
        .zip(parts)
        .skip(3)
        .map(|(name, (_, body))| (name, trimmed(&body)))
        .collect()
}

/// Tag, body and the rest. The length may be wrong by the fill of early devices: it is cut to what is there.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&len, rest) = rest.split_first()?;
    let (len, rest) = match len {
        0..=0x7f => (usize::from(len), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (
            usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])),
            rest.get(2..)?,
        ),
        _ => return None,
    };
    (len > 0).then_some(())?;
    let len = len.min(rest.len());
    Some((tag, &rest[..len], &rest[len..]))
}

/// The token of a token file: its longest word.
fn token_in(file: &str) -> &str {
    let words = file.split(|c: char| !c.is_ascii_alphanumeric());
    words.max_by_key(|word| word.len()).unwrap()
}

fn undo_copies(world: &Path) -> usize {
    fs::read_dir(world.join("state/undo")).map_or(0, Iterator::count)
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

const WIFI_PASSWORD: &str = "canary-of-the-bench-network-91";
const ACCOUNT_PASSWORD: &str = "canary-of-the-account-password-17";

const RACK: &str = include_str!("../fixtures/scenarios/keys-of-every-kind.toml");
