//! The configuration as a reader of the errors sees it. A file in `fixtures/config/valid` must be read; one in
//! `fixtures/config/invalid` must give exactly the lines of the `.expected` file beside it. A new file is a new test.
//! `KEYRACK_BLESS=1` writes the `.expected` files: look at what changed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use keyrack::{
    config::{self, ServerSpec, Station},
    keys::server::production,
    model::{
        Platform, ProductId,
        platform::Transport,
        recipe::{Aim, KeyPolicy, ProtectedPolicy, Repair, ServerPolicy, Work},
    },
};
use proptest::prelude::*;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config").join(name)
}

fn fixtures(name: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder(name)).expect("the fixtures are there");
    let files = entries.map(|entry| entry.expect("the fixtures are there").path());
    let files: BTreeSet<_> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(!files.is_empty());
    files
}

fn shipped() -> Station {
    config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("station.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn invalid_files_give_the_expected_lines() {
    let bless = std::env::var_os("KEYRACK_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in fixtures("invalid") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let errors = config::parse(name, &fs::read_to_string(&path).unwrap()).expect_err(name);
        let found = format!("{errors}\n");
        let expected = path.with_extension("expected");
        if bless {
            fs::write(&expected, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{name}: expected\n{expected}found\n{found}"));
        }
        for secret in ["hunter2", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(
                !found.contains(secret) && !format!("{errors:?}").contains(secret),
                "{name} shows a secret"
            );
        }
        for error in &errors.errors {
            assert!(found.contains(&error.to_string()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn valid_files_are_read_and_their_recipes_survive_as_text() {
    for path in fixtures("valid") {
        let station = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let files = |written: &Path| fs::read(station.path(written));
        for spec in &station.recipes {
            let resolved = spec.resolve(&files).unwrap_or_else(|errors| panic!("{errors}"));
            let recipe = &resolved.recipe;
            assert_eq!(resolved.firmware.len(), recipe.firmware.len());
            let again = config::recipe_from_text(&recipe.text).unwrap_or_else(|errors| panic!("{errors}\n{}", recipe.text));
            // The server's key is in the text; a firmware file and a password are read again.
            let again = again.resolve(&files).unwrap().recipe;
            assert_eq!(format!("{again:?}"), format!("{recipe:?}"));
            assert!(!recipe.text.contains("correct horse"));
        }
    }
}

#[test]
fn a_repair_arrives_with_what_it_may_do() {
    let base = folder("valid");
    let station = config::load(&base.join("repair.toml")).unwrap();
    let clients: Vec<_> = station
        .cloud
        .clients
        .iter()
        .map(|c| (c.product.0.as_str(), c.file.clone()))
        .collect();
    assert_eq!(
        clients,
        [
            ("1234", base.join("clients/1234")),
            ("a-product-v1", "/etc/keyrack/a-product-v1".into())
        ]
    );
    let recipe = |platform| {
        let files = |written: &Path| fs::read(station.path(written));
        station.recipe_for(platform).unwrap().resolve(&files).unwrap().recipe
    };
    let borons = recipe(Platform::Boron);
    let repair = Repair {
        work: Work::Mend,
        from: vec![ProductId("1200".into()), ProductId("an-old-product-v2".into())],
        reference: Some("RMA-17 / \"b\"".into()),
    };
    assert_eq!(borons.aim, Aim::Repair(repair));
    assert_eq!(
        borons.keys,
        KeyPolicy::ReadOrGenerate,
        "a blank slot gets a new pair unless that is forbidden"
    );
    assert_eq!(
        borons.server,
        ServerPolicy::Set(production(Transport::Udp)),
        "the vendor's cloud unless another is named"
    );
    assert_eq!(recipe(Platform::Argon).server, ServerPolicy::Keep);
    assert_eq!(recipe(Platform::P2).keys, KeyPolicy::Generate);
    assert_eq!(recipe(Platform::Msom).aim, Aim::Provision);
}

#[test]
fn every_key_arrives() {
    let station = config::load(&folder("valid").join("everything.toml")).unwrap();
    let base = folder("valid");
    assert_eq!(station.id.0, "Line-1.a_b");
    assert_eq!(station.state.as_deref(), Some(Path::new("/var/lib/keyrack")));
    let (copies, key) = station.undo.places(Path::new("elsewhere")).unwrap();
    assert_eq!(
        (copies, key),
        ("/var/lib/keyrack-undo".into(), "/etc/keyrack/undo.key".into())
    );
    assert_eq!(station.cloud.url, "http://[::1]:8080/base");
    assert_eq!(station.cloud.token_file, Some(base.join("../token")));
    assert_eq!(station.cloud.ca_file, Some(base.join("ca.pem")));
    assert_eq!((station.cloud.requests_per_second, station.cloud.import_chunk), (33, 1));
    assert_eq!(station.operator.as_deref(), Some("Ада Л."));
    let order = station.work_order.as_ref().unwrap();
    assert_eq!((order.id.as_str(), order.quantity), ("4711 / b", 1000));
    let numbers: Vec<u16> = station.slots.iter().map(|slot| slot.number.0).collect();
    assert_eq!(numbers, [2, 16, 999], "by number");
    let slot = station.slot_at(&"platform-xhci/1.2.3.4".parse().unwrap()).unwrap();
    assert_eq!((slot.number.0, slot.label.as_deref()), (16, Some("left, ① bench")));
    assert_eq!(slot.position.map(|at| (at.row, at.column)), Some((1, 99)));
    let files = |written: &Path| fs::read(station.path(written));
    let photon = station.recipe_for(Platform::Photon).unwrap().resolve(&files).unwrap().recipe;
    assert_eq!(photon.product, Some(ProductId("a-product-v1".into())));
    assert_eq!(photon.wifi.unwrap().password.unwrap().expose(), "correct horse");
    let ServerPolicy::Set(server) = photon.server else { panic!() };
    assert_eq!(
        (server.host.as_str(), server.port, server.spki.len()),
        ("192.168.1.10", Some(7000), 294)
    );
    assert_eq!(photon.timeouts.flash.as_millis(), 1500);
    assert_eq!(photon.timeouts.apply.as_secs(), 3600);
    assert!(!photon.prove && photon.finish_owed);
    let p2 = station.recipe_for(Platform::P2).unwrap().resolve(&files).unwrap().recipe;
    assert_eq!(p2.server, ServerPolicy::Set(production(Transport::Udp)));
    assert!(p2.wifi.unwrap().password.is_none());
    assert_eq!(p2.protected, ProtectedPolicy::ServiceMode);
    let tracker = station.recipe_for(Platform::Tracker).unwrap();
    assert!(tracker.activate_sim && matches!(&tracker.server, ServerSpec::File { host, .. } if host == "$id.cloud.example"));
    assert!(station.recipe_for(Platform::Argon).is_none());
}

#[test]
fn the_shipped_station_is_the_demo_rack() {
    let station = shipped();
    assert_eq!(station.slots.len(), 8);
    for (i, slot) in (1..).zip(&station.slots) {
        assert_eq!((slot.number.0, slot.port.to_string()), (i, format!("pci-0000:00:14.0/1.{i}")));
    }
    let platforms: Vec<Platform> = station.recipes.iter().map(|recipe| recipe.platform).collect();
    assert_eq!(platforms, [Platform::Argon, Platform::Boron, Platform::Photon, Platform::P2]);
    let state = Path::new("/var/lib/keyrack");
    let (copies, key) = station.undo.places(state).unwrap();
    let ledger = state.join(config::LEDGER);
    assert!(!copies.starts_with(&ledger) && !key.starts_with(&ledger) && !key.starts_with(&copies));
    // What the comments call a default is one.
    let argon = station.recipe_for(Platform::Argon).unwrap();
    let boron = station.recipe_for(Platform::Boron).unwrap();
    assert_eq!(argon.timeouts, boron.timeouts);
    assert_eq!(argon.timeouts, keyrack::model::recipe::Timeouts::default());
    assert_eq!((argon.prove, argon.finish_owed), (boron.prove, boron.finish_owed));
    assert_eq!(
        station.cloud.requests_per_second,
        config::Cloud::default().requests_per_second
    );
    assert_eq!(station.cloud.import_chunk, config::Cloud::default().import_chunk);
}

#[test]
fn every_commented_key_of_the_shipped_station_may_be_used() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("station.toml")).unwrap();
    // A comment line that looks like TOML is a setting that is switched off; all others are words.
    let setting = |line: &str| {
        let code = line.trim_start();
        code.starts_with(['[', ']'])
            || code.starts_with("{ file = ")
            || code
                .split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let on: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if setting(code) => code.replace("…64 hexadecimal digits…", &"0".repeat(64)),
            _ => line.to_owned(),
        })
        .collect();
    let on = on.join("\n");
    let station = config::parse("station.toml", &on).unwrap_or_else(|errors| panic!("{errors}\n{on}"));
    assert!(station.operator.is_some() && station.work_order.is_some());
    let argon = station.recipe_for(Platform::Argon).unwrap();
    assert_eq!((argon.firmware.len(), argon.wifi.is_some()), (2, true));
}

#[test]
fn files_that_are_not_what_the_recipe_says_are_all_reported() {
    let text = format!(
        r#"
[station]
id = "x"
state = "s"
undo = "memory"
[[slot]]
number = 1
port = "sim-0/1"
[[recipe]]
name = "r"
platform = "argon"
firmware = [
    {{ file = "gone.bin", sha256 = "{zeros}" }},
    {{ file = "application.bin", sha256 = "{zeros}" }},
]
server = {{ key = "server-tcp.pub.der", host = "h" }}
wifi = {{ ssid = "bench", password_file = "wifi-password-short" }}
"#,
        zeros = "0".repeat(64)
    );
    let station = config::parse("station.toml", &text).unwrap();
    let read = |written: &Path| match written.to_str().unwrap() {
        "gone.bin" => Err(io::Error::from(io::ErrorKind::NotFound)),
        name => fs::read(folder("files").join(name)),
    };
    let errors = station.recipes[0].resolve(&read).unwrap_err().to_string();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 4, "{errors}");
    assert_eq!(
        lines[0],
        "station.toml:13: recipe[0].firmware[0].file = \"gone.bin\": the file cannot be read: entity not found"
    );
    assert!(
        lines[1].starts_with("station.toml:14: recipe[0].firmware[1].sha256 = \"0000"),
        "{errors}"
    );
    assert!(lines[1].contains("application.bin has SHA-256 "), "{errors}");
    assert_eq!(
        lines[2],
        "station.toml:16: recipe[0].server.key = \"server-tcp.pub.der\": the server key is RSA-2048, and devices on this transport need P-256"
    );
    assert!(
        lines[3].starts_with("station.toml:17: recipe[0].wifi.password_file = \"wifi-password-short\": "),
        "{errors}"
    );
    assert!(!errors.contains("short\n"));
}

#[test]
fn a_platform_has_one_usual_recipe_and_any_number_on_standby() {
    let station = config::load(&folder("valid").join("everything.toml")).unwrap();
    let trackers: Vec<_> = station
        .recipes
        .iter()
        .filter(|recipe| recipe.platform == Platform::P2)
        .collect();
    let standby: Vec<_> = trackers.iter().map(|recipe| (recipe.name.as_str(), recipe.standby)).collect();
    assert_eq!(standby, [("p2", false), ("p2-of-last-year", true), ("p2-of-next-year", true)]);
    assert_eq!(
        station.recipe_for(Platform::P2).map(|recipe| recipe.name.as_str()),
        Some("p2")
    );
}

#[test]
fn a_private_key_as_server_key_is_refused_by_name() {
    let mut station = config::load(&folder("valid").join("everything.toml")).unwrap();
    let spec = station.recipes.pop().unwrap();
    let private = |_: &Path| Ok(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec());
    let errors = spec.resolve(&private).unwrap_err().to_string();
    assert!(
        errors.contains("recipe[4].server.key") && errors.contains("PRIVATE key"),
        "{errors}"
    );
}

#[test]
fn the_same_recipe_written_otherwise_has_the_same_text() {
    let recipe = |body: &str| {
        let text = format!("[station]\nid='x'\nstate='s'\nundo='memory'\n[[slot]]\nnumber=1\nport='sim-0/1'\n[[recipe]]\n{body}");
        let station = config::parse("s", &text).unwrap_or_else(|errors| panic!("{errors}"));
        station.recipes[0].resolve(&|_| unreachable!("no files")).unwrap().recipe
    };
    let a = recipe("name = 'r'\nplatform = 'p2'\nproduct = 7\n");
    let b = recipe(
        "product = \"7\"  # the same\nplatform = 'photon-2'\nname = \"\\u0072\"\nkeys='read'\ntimeouts = { step = '1m' }\n",
    );
    assert_eq!((&a.text, a.hash), (&b.text, b.hash));
    let aside = recipe("name = 'r'\nplatform = 'p2'\nproduct = 7\nprotected = 'set-aside'\n");
    assert_eq!(a.text, aside.text, "as before there was another way");
    let opens = recipe("name = 'r'\nplatform = 'p2'\nproduct = 7\nprotected = 'service-mode'\n");
    assert_ne!(a.hash, opens.hash);
    assert_eq!(
        config::recipe_from_text(&opens.text).unwrap().protected,
        ProtectedPolicy::ServiceMode
    );
    let c = recipe("name = 'r'\nplatform = 'p2'\nproduct = 8\n");
    assert_ne!(a.hash, c.hash);
}

#[test]
fn a_recorded_text_is_kept_to_the_letter() {
    // As an earlier program may have written it: another order, a default left out.
    let text = "platform = \"boron\"\nname = \"old\"\nkeys = \"generate\"\n";
    let recipe = config::recipe_from_text(text)
        .unwrap()
        .resolve(&|_| unreachable!("no files"))
        .unwrap()
        .recipe;
    assert_eq!(recipe.text, text);
    assert!(config::recipe_from_text("platform = \"boron\"\nname = \"new\"\nfuture = 1\n").is_err());
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_the_file() {
    let errors = config::load(Path::new("/nonexistent/station.toml")).unwrap_err().to_string();
    assert!(errors.starts_with("/nonexistent/station.toml: cannot be read: "), "{errors}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_every_mistake_has_a_line(
        at in 0usize..20_000, drop in 0usize..40, put in "[a-z0-9\"'\\[\\]{}=.,# \n-]{0,6}", everything: bool
    ) {
        let path = if everything { folder("valid").join("everything.toml") } else { folder("../..").join("station.toml") };
        let text = fs::read_to_string(path).unwrap();
        // Comments are long and tell nothing here.
        let text: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let mut chars: Vec<char> = text.chars().collect();
        let start = at % chars.len();
        let end = (start + drop).min(chars.len());
        chars.splice(start..end, put.chars());
        let changed: String = chars.into_iter().collect();
        if let Err(errors) = config::parse("s", &changed) {
            prop_assert!(!errors.errors.is_empty());
            let lines = changed.split('\n').count();
            prop_assert!(errors.errors.iter().all(|error| (1..=lines).contains(&error.line)), "{}", errors);
        }
    }
}
