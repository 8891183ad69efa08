//! The command line from outside: what it prints, where, and with which exit code it ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod desk;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use desk::{Desk, device, run};
use keyrack::keys::parse_public;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn every_command_explains_itself_with_an_example_and_its_exit_codes() {
    let desk = Desk::new();
    for command in [
        "",
        "run",
        "check",
        "slots",
        "slots learn",
        "slots blink",
        "devices",
        "device",
        "release",
        "repair",
        "keys",
        "keys export",
        "keys save",
        "keys generate",
        "keys doctor",
        "keys server",
        "keys address",
        "outbox",
        "packet",
        "packet import",
        "replay",
        "login",
        "logout",
        "backup",
        "demo",
        "sim",
    ] {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let end = desk.run(&args);
        assert_eq!(end.code, 0, "{command}: {}", end.err);
        assert!(end.err.is_empty(), "{command}: {}", end.err);
        for part in ["Usage: keyrack", "Example", "Exit codes:", "\n   0  ", "--json"] {
            assert!(
                end.out.contains(part),
                "{command} --help does not have {part:?}:\n{}",
                end.out
            );
        }
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_on_standard_error() {
    let desk = Desk::new();
    for args in [
        &["bogus"][..],
        &["run", "--headless", "--work-order", "WO-1"],
        &["run", "--headless", "--devices", "0"],
        &["devices", "--verdict", "good"],
        &["login", "--expires", "12"],
        &["replay", "--run", "7"],
        &["keys", "export"],
        &["keys", "export", "--dir", "d", "--device", "abc"],
    ] {
        let end = desk.run(args);
        assert_eq!(end.code, 2, "{args:?}: {}", end.err);
        assert!(end.out.is_empty() && end.err.starts_with("error: "), "{args:?}: {}", end.err);
    }
    // Nothing said is `run`, and without a terminal neither needs `--headless`.
    for args in [&[][..], &["run"]] {
        let end = desk.run(args);
        assert_eq!(end.code, 2);
        assert!(end.err.starts_with("error: there is no configuration"), "{}", end.err);
    }
}

#[test]
fn where_there_is_no_usb_the_station_says_what_to_do_before_it_touches_anything() {
    let desk = Desk::new();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/station.toml");
    if Path::new("/sys/bus/usb/devices").exists() {
        // The others would begin to work.
        let end = desk.run(&["slots", "--config", config]);
        assert_eq!((end.code, end.err.as_str()), (0, ""), "{}", end.out);
        return;
    }
    for args in [
        &["run"][..],
        &[],
        &["repair"],
        &["keys", "doctor", "1"],
        &["keys", "save", "--dir", "d"],
        &["slots"],
        &["slots", "learn"],
        &["slots", "blink", "1"],
    ] {
        let end = desk.run(&[args, &["--config", config]].concat());
        assert_eq!(end.code, 3, "{args:?}: {}", end.err);
        assert!(
            end.err.starts_with(
                "error: could not use the USB ports of this machine\ncaused by: this machine has no USB ports: \
                 there is no \"/sys/bus/usb/devices\"\nnext: use a machine with USB ports"
            ),
            "{}",
            end.err
        );
        assert!(!desk.dir.path().join("state").exists(), "no ledger was made");
    }
}

#[test]
fn without_a_ledger_every_reader_says_so_and_makes_nothing() {
    let desk = Desk::new();
    let dir = desk.path("export");
    for args in [
        &["devices"][..],
        &["device", "abcdef"],
        &["outbox"],
        &["replay"],
        &["replay", "--verify"],
        &["keys", "export", "--dir", &dir],
        &["backup", "--to", &dir],
    ] {
        let end = desk.run(args);
        assert_eq!(end.code, 5, "{args:?}: {}", end.err);
        assert!(end.err.contains("caused by: there is no ledger at "), "{args:?}: {}", end.err);
        assert!(end.err.lines().last().unwrap().starts_with("next: "), "{args:?}: {}", end.err);
    }
    assert_eq!(fs::read_dir(desk.dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn devices_are_listed_found_and_filtered() {
    let desk = Desk::filled();
    let rows = desk.json(&["devices"]);
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["event"] == "device"));
    let ids = |args: &[&str]| -> Vec<String> {
        let found = desk.json(args);
        found.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["devices", "--apart"]), [device(2).to_string()]);
    assert_eq!(ids(&["devices", "--owed"]), [device(3).to_string()]);
    assert_eq!(ids(&["devices", "--search", "P046AD00000001"]), [device(1).to_string()]);
    assert_eq!(ids(&["devices", "--search", &device(3).short()]), [device(3).to_string()]);
    assert_eq!(ids(&["devices", "--verdict", "pass"]), [device(1).to_string()]);
    let end = desk.run(&["devices", "--limit", "2"]);
    assert_eq!(end.out.lines().count(), 3, "headings and two devices: {}", end.out);
    assert_eq!(end.err, "there are more than 2: give --search or a larger --limit\n");
    let text = desk.run(&["devices"]).out;
    assert!(
        text.contains("APART: the slot holds another key than the cloud accepted"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
}

#[test]
fn a_device_has_its_whole_history_by_id_serial_number_or_end_of_id() {
    let desk = Desk::filled();
    for name in [
        device(1).to_string(),
        device(1).to_string().to_uppercase(),
        "P046AD00000001".into(),
        device(1).short(),
    ] {
        let found = desk.json(&["device", &name]);
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0]["device"]["id"], device(1).to_string(), "{name}");
        assert_eq!(found[0]["runs"].as_array().unwrap().len(), 1);
        assert_eq!(found[0]["keys"][0]["state"], "in-slot");
        assert_eq!(found[0]["items"][0]["state"], "accepted");
    }
    let text = desk.run(&["device", &device(2).short(), "--facts"]).out;
    for part in [
        "operator",
        "eva",
        "FAULT",
        "found in the slot",
        "gone",
        "in slot",
        "APART",
        "key slot read: valid P-256 key",
        "next: ",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let facts = desk.json(&["device", &device(2).short(), "--facts"]);
    let seqs: Vec<u64> = facts[1..].iter().map(|fact| fact["seq"].as_u64().unwrap()).collect();
    assert!(seqs.len() > 5 && seqs.is_sorted(), "oldest first: {seqs:?}");

    let unknown = desk.run(&["device", "ffffff"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown
            .err
            .starts_with("error: the ledger knows no device \"ffffff\"\nnext: "),
        "{}",
        unknown.err
    );
    let many = desk.run(&["device", "e00fce68"]);
    assert_eq!(many.code, 2);
    assert!(many.err.contains("fits more than one device: "), "{}", many.err);
    assert_eq!(desk.run(&["device", " "]).code, 2);
}

#[test]
fn a_quarantined_device_is_released_once_by_a_named_person() {
    let desk = Desk::filled();
    desk.quarantine(2);
    let config = fs::read_to_string("station.toml").unwrap();
    fs::write(desk.path("station.toml"), config).unwrap();
    let id = device(2).to_string();
    let text = desk.run(&["device", &id]).out;
    assert!(text.contains(&format!("keyrack release {id} --by NAME --why TEXT")), "{text}");
    let state = desk.path("state");
    let release = |device: &str, by: &str, why: &str| desk.run(&["--state", &state, "release", device, "--by", by, "--why", why]);
    for (by, why, said) in [
        ("eva@shop.example", "it connected", "e-mail addresses"),
        ("eva", "ann@home.example has it", "e-mail addresses"),
        (" ", "it connected", "it says nothing"),
    ] {
        let end = release(&id, by, why);
        assert_eq!(end.code, 2, "{}", end.err);
        assert!(end.err.contains(said), "{}", end.err);
    }
    let end = release(&id, "eva", "it connected");
    assert_eq!(end.code, 0, "{}", end.err);
    for part in [
        "key in slot",
        "APART",
        "its last run ended QUARANTINED",
        "the copy of its old key store is destroyed",
    ] {
        assert!(end.out.contains(part), "no {part:?} in:\n{}", end.out);
    }
    assert!(
        !Path::new(&state).join("undo").read_dir().unwrap().any(|_| true),
        "the copy is gone"
    );
    let row = &desk.json(&["devices", "--search", &id])[0];
    assert_eq!(row["quarantined"], serde_json::Value::Null);
    assert!(desk.run(&["devices"]).out.contains("QUARANTINED, released"));
    assert!(desk.run(&["device", &id]).out.contains("released by eva"));
    assert_eq!(desk.run(&["replay", "--verify"]).code, 0);
    for (device, said) in [(id.as_str(), "not quarantined"), (&device(1).to_string(), "not quarantined")] {
        let end = release(device, "eva", "again");
        assert_eq!(end.code, 2, "{}", end.err);
        assert!(end.err.contains(said), "{}", end.err);
    }
}

#[test]
fn keys_are_exported_whole_and_never_over_another_key() {
    let desk = Desk::filled();
    let dir = desk.dir.path().join("keys");
    let dir_text = dir.display().to_string();
    let end = desk.run(&["keys", "export", "--dir", &dir_text]);
    assert_eq!(
        (end.code, end.out.as_str()),
        (0, "2 new, 0 unchanged, 0 replaced, 0 left alone, 1 without a key\n"),
        "{}",
        end.err
    );
    let file = |n| dir.join(format!("{}.pub.pem", device(n)));
    for n in [1, 2] {
        let key = parse_public(&fs::read(file(n)).unwrap()).unwrap();
        let row = &desk.json(&["device", &device(n).to_string()])[0];
        assert_eq!(
            row["device"]["key_in_slot"],
            key.fingerprint.to_string(),
            "the key in the slot, not an older one"
        );
        assert_eq!(fs::metadata(file(n)).unwrap().permissions().mode() & 0o777, 0o644);
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing half written is left");

    let again = desk.run(&["keys", "export", "--dir", &dir_text]);
    assert!(
        again.code == 0 && again.out.starts_with("0 new, 2 unchanged"),
        "{}",
        again.out
    );
    fs::copy(file(1), file(2)).unwrap();
    let foreign = fs::read(file(2)).unwrap();
    let refused = desk.run(&["keys", "export", "--dir", &dir_text]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("1 file would be overwritten with another key") && refused.err.contains("--force"),
        "{}",
        refused.err
    );
    assert_eq!(fs::read(file(2)).unwrap(), foreign, "left alone");
    let forced = desk.json(&[
        "keys",
        "export",
        "--dir",
        &dir_text,
        "--force",
        "--device",
        &device(2).to_string(),
    ]);
    assert_eq!(
        (&forced[0]["written"], &forced[1]["replaced"]),
        (&"replaced".into(), &1.into())
    );
    assert_ne!(fs::read(file(2)).unwrap(), foreign);
}

#[test]
fn the_outbox_says_what_is_owed_and_what_was_refused() {
    let desk = Desk::filled();
    let owed = desk.json(&["outbox"]);
    assert_eq!(owed.len(), 1);
    assert_eq!((&owed[0]["state"], &owed[0]["attempts"]), (&"queued".into(), &1.into()));
    assert_eq!(owed[0]["last_answer"]["why"], "maintenance");
    let text = desk.run(&["outbox"]).out;
    assert!(
        text.contains("upload of P-256 key") && text.contains("not now: maintenance"),
        "{text}"
    );
    let refused = desk.json(&["outbox", "--refused"]);
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (&refused[0]["code"], &refused[0]["reason"]),
        (&"cloud-denied".into(), &"no such role".into())
    );
    assert_eq!(refused[0]["times"], 2);
    assert!(refused[0]["next"].as_str().unwrap().ends_with('.'));
}

#[test]
fn the_journal_is_printed_and_proved() {
    let desk = Desk::filled();
    let events = desk.json(&["replay"]);
    for (i, event) in events.iter().enumerate() {
        assert_eq!((&event["event"], &event["seq"]), (&"fact".into(), &(i as u64 + 1).into()));
    }
    let one = desk.json(&["replay", "--run", &run(1).to_string()]);
    assert!(one.len() > 3 && one.iter().all(|event| event["run"] == run(1).to_string()));
    assert!(
        one.iter().all(|event| event["device"] == device(1).to_string()),
        "each record says whose it is"
    );
    assert_eq!(desk.json(&["replay", "--after", &(events.len() - 1).to_string()]).len(), 1);
    let text = desk.run(&["replay"]).out;
    assert_eq!(text.lines().count(), events.len());
    assert!(text.contains("PASS (proved)"), "{text}");

    let verified = desk.run(&["replay", "--verify"]);
    assert!(
        verified.code == 0 && verified.out.starts_with("verified: "),
        "{} {}",
        verified.out,
        verified.err
    );
}

#[test]
fn a_tampered_ledger_does_not_verify() {
    let desk = Desk::filled();
    let ledger = rusqlite::Connection::open(desk.dir.path().join("state/ledger/ledger.db")).unwrap();
    ledger
        .execute(
            "UPDATE device SET serial = 'P046AD99999999' WHERE serial = 'P046AD00000001'",
            [],
        )
        .unwrap();
    drop(ledger);
    let end = desk.run(&["replay", "--verify"]);
    assert_eq!(end.code, 5);
    assert!(
        end.out.contains("serial is P046AD99999999 and should be P046AD00000001"),
        "{}",
        end.out
    );
    assert!(
        end.err
            .starts_with("error: the ledger is not what its journal says, in 1 place\nnext: keep"),
        "{}",
        end.err
    );
    let objects = desk.lines(&["replay", "--verify", "--json"]);
    assert_eq!(objects[0]["event"], "difference");
    assert_eq!(objects.last().unwrap()["exit"], 5);
}

#[test]
fn a_backup_is_a_ledger_and_never_lies_beside_it() {
    let desk = Desk::filled();
    let to = desk.path("copy.db");
    let end = desk.run(&["backup", "--to", &to]);
    assert!(
        end.code == 0 && end.out.starts_with("copied and proved: "),
        "{} {}",
        end.out,
        end.err
    );
    let inside = desk.dir.path().join("state/ledger/copy.db");
    let refused = desk.run(&["backup", "--to", &inside.display().to_string()]);
    assert_eq!(refused.code, 5);
    assert!(
        refused.err.contains("choose another disk") && !inside.exists(),
        "{}",
        refused.err
    );
}

#[test]
fn an_unknown_key_in_the_configuration_is_shown_with_its_place_and_stops_every_command() {
    let desk = Desk::new();
    let config = desk.config("colour = 1\n[station]\nid = \"s\"\nstate = 7\n");
    for command in [&["check", "--offline"][..], &["run", "--headless"], &["devices"]] {
        let end = desk.command(&[command, &["--config", &config]].concat(), &[]);
        let said = end.out + &end.err;
        assert_eq!(end.code, 2, "{command:?}: {said}");
        assert!(
            said.contains(&format!("{config}:1: colour: unknown key")),
            "{command:?}: {said}"
        );
        assert!(said.contains(&format!("{config}:4: ")), "all of them: {said}");
    }
}

#[test]
fn check_says_all_that_is_wrong_at_once_and_touches_nothing() {
    let desk = Desk::new();
    fs::write(desk.path("fw.bin"), b"not firmware").unwrap();
    let config = desk.config(&format!(
        "[station]\nid = \"s\"\nstate = \"state\"\n\
         [cloud]\nurl = \"https://127.0.0.1:1\"\ntoken_file = \"token\"\n\
         [[slot]]\nnumber = 1\nport = \"pci-0000:00:14.0/1\"\n\
         [[recipe]]\nname = \"missing\"\nplatform = \"boron\"\nfirmware = [{{ file = \"none.bin\", sha256 = \"{zeros}\" }}]\n\
         [[recipe]]\nname = \"other\"\nplatform = \"argon\"\nfirmware = [{{ file = \"fw.bin\", sha256 = \"{zeros}\" }}]\n\
         [[recipe]]\nname = \"broken\"\nplatform = \"p2\"\nfirmware = [{{ file = \"fw.bin\", sha256 = \"{right}\" }}]\n",
        zeros = "0".repeat(64),
        right = keyrack::firmware::sha256_of(b"not firmware"),
    ));
    fs::write(desk.path("token"), "secret-token").unwrap();
    fs::set_permissions(desk.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(desk.path("state")).unwrap();
    fs::create_dir(desk.path("state/ledger")).unwrap();
    fs::set_permissions(desk.path("state/ledger"), fs::Permissions::from_mode(0o755)).unwrap();
    let before = desk.listing();
    let end = desk.command(&["check", "--config", &config], &[]);
    assert_eq!(end.code, 2, "the lowest of the codes that were found: {}", end.out);
    for part in [
        "none.bin",
        "fw.bin has SHA-256",
        "could not read firmware file fw.bin",
        "is open to others (mode 755)",
        "chmod 700",
        "is open to others (mode 0644)",
        "was not asked: there is no token",
    ] {
        assert!(end.out.contains(part), "no {part:?} in:\n{}", end.out);
    }
    assert!(end.err.starts_with("error: 5 problems found\n"), "{}", end.err);
    assert!(!(end.out + &end.err).contains("secret-token"));
    let objects = desk.lines(&["check", "--json", "--offline", "--config", &config]);
    let errors = objects.iter().filter(|object| object["level"] == "error").count();
    assert_eq!(errors, 5);
    assert!(
        objects
            .iter()
            .filter(|object| object["level"] == "error")
            .all(|object| object["next"].is_string())
    );
    assert_eq!(desk.listing(), before, "nothing was made or changed");
}

#[test]
fn check_of_a_good_configuration_is_ready_and_a_lost_cloud_is_4() {
    let desk = Desk::new();
    let config = desk.config(
        "[station]\nid = \"s\"\nstate = \"state\"\n[cloud]\nurl = \"https://127.0.0.1:1\"\ntoken_file = \"token\"\n\
         [[slot]]\nnumber = 1\nport = \"pci-0000:00:14.0/1\"\n[[recipe]]\nname = \"r\"\nplatform = \"boron\"\n",
    );
    fs::write(desk.path("token"), "secret-token").unwrap();
    fs::set_permissions(desk.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let offline = desk.command(&["check", "--offline", "--config", &config], &[]);
    assert_eq!(offline.code, 0, "{}{}", offline.out, offline.err);
    assert!(offline.out.lines().last().unwrap().starts_with("ready"), "{}", offline.out);
    let online = desk.command(&["check", "--config", &config], &[]);
    assert_eq!(online.code, 4, "{}{}", online.out, online.err);
    assert!(!(online.out + &online.err).contains("secret-token"));
}

#[test]
fn a_token_file_that_others_can_read_is_refused_with_what_to_do() {
    let desk = Desk::new();
    let token = desk.path("token");
    fs::write(&token, "secret-token").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
    let end = desk.run(&["logout", "--token-file", &token]);
    assert_eq!(end.code, 4);
    assert!(
        end.err.contains("next: run `chmod 600`") && !end.err.contains("secret-token"),
        "{}",
        end.err
    );
    assert!(Path::new(&token).exists(), "a token that was not revoked is not removed");
}

#[test]
fn a_login_without_a_terminal_reads_standard_input_and_never_shows_the_password() {
    let desk = Desk::new();
    let token = desk.path("token");
    let args = [
        "login",
        "--user",
        "eva@shop.example",
        "--cloud-url",
        "https://127.0.0.1:1",
        "--token-file",
        &token,
    ];
    let end = desk.command(&args, b"s3cret-pass\n");
    assert_eq!(end.code, 4, "{}", end.err);
    assert!(
        end.err.contains("next: look at the network") && !end.err.contains("s3cret"),
        "{}",
        end.err
    );
    assert!(!Path::new(&token).exists());
    assert_eq!(desk.command(&args, b"").code, 6, "no password, no request");
    let nobody = desk.command(&["login", "--token-file", &token], b"x\n");
    assert!(nobody.code == 2 && nobody.err.contains("--user"), "{}", nobody.err);
    let plain = [
        "login",
        "--user",
        "u",
        "--cloud-url",
        "http://cloud.example",
        "--token-file",
        &token,
    ];
    assert_eq!(desk.command(&plain, b"x\n").code, 2, "never in the clear");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let desk = Desk::filled();
    let mut child = desk
        .start(&["replay"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let end = child.wait_with_output().unwrap();
    assert!(end.status.success(), "{}", String::from_utf8_lossy(&end.stderr));
    assert!(end.stderr.is_empty(), "{}", String::from_utf8_lossy(&end.stderr));
}

#[test]
fn an_interrupt_at_a_question_ends_with_6() {
    let desk = Desk::new();
    let token = desk.path("token");
    let args = [
        "login",
        "--user",
        "u",
        "--cloud-url",
        "https://127.0.0.1:1",
        "--token-file",
        &token,
    ];
    let mut child = desk.start(&args).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    if hears(&child, Signal::INT) {
        send(&child, Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(6));
    } else {
        println!("not run: this system does not show which signals a process hears");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(!Path::new(&token).exists());
}

#[test]
fn the_first_signal_stops_at_safe_points_and_the_run_goes_on_at_the_next_start() {
    let desk = Desk::new();
    let world = Served::new(&desk);
    let station = until(world.station(&desk), "step-started");
    send(&station.child, Signal::HUP);
    let (code, events) = station.end();
    assert_eq!(code, 6, "{events:?}");
    let summary = events.last().unwrap();
    assert_eq!((&summary["event"], &summary["interrupted"]), (&"summary".into(), &1.into()));
    let result = events.iter().find(|event| event["event"] == "result").unwrap();
    assert_eq!(result["code"], "stopped");
    let run = result["run"].clone();

    let again = until(world.station(&desk), "run-resumed");
    assert_eq!(again.last()["run"], run, "the same run");
    // A second signal does not wait for safe points.
    send(&again.child, Signal::TERM);
    send(&again.child, Signal::INT);
    assert_eq!(again.end().0, 6);
    let config = world.config(&desk);
    let verified = desk.run(&["replay", "--verify", "--config", &config]);
    assert_eq!(verified.code, 0, "{}", verified.err);
}

#[test]
fn a_station_locks_its_ledger_and_readers_read_on() {
    let desk = Desk::new();
    let world = Served::new(&desk);
    let station = until(world.station(&desk), "run-started");
    let second = world.station(&desk).wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(5));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(
        said.contains("another station runs on this ledger") && said.contains("next: stop the other station"),
        "{said}"
    );
    let config = world.config(&desk);
    let events = desk.json(&["replay", "--config", &config]);
    assert!(events.len() >= 3, "also while a station writes");
    send(&station.child, Signal::TERM);
    assert_eq!(station.end().0, 6);
}

/// A simulated world in a process of its own, with one device.
struct Served(Child);

impl Served {
    /// Serves until it is dropped.
    fn new(desk: &Desk) -> Self {
        let scenario = desk.path("one.toml");
        let text = "about = \"one\"\nseed = 5\n[[slot]]\nnumber = 1\nplatform = \"photon\"\nos = \"2.3.1\"\n\
                    [[expect]]\nslot = 1\nverdict = \"PASS\"\nkey = \"same\"\nuploads = 1\n";
        fs::write(&scenario, text).unwrap();
        let mut command = desk.start(&["sim", "world", &desk.path("world"), "--scenario", &scenario, "--json"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("serving"), "{line}");
        Self(child)
    }

    fn config(&self, desk: &Desk) -> String {
        desk.path("world/station.toml")
    }

    /// A station that works on it.
    fn station(&self, desk: &Desk) -> Child {
        let (config, bus) = (self.config(desk), desk.path("world/bus"));
        let mut command: Command = desk.start(&["run", "--headless", "--json", "--config", &config, "--world", &bus]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A station whose events were read up to some fact.
struct Followed {
    child: Child,
    events: Vec<serde_json::Value>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

/// Reads the events of a station up to the first fact of this kind.
fn until(mut child: Child, fact: &str) -> Followed {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut followed = Followed {
        child,
        events: Vec::new(),
        lines,
    };
    while followed.events.last().is_none_or(|event| event["fact"]["fact"] != fact) {
        let line = followed.lines.next().expect("the station says it before it ends").unwrap();
        followed.events.push(serde_json::from_str(&line).unwrap());
    }
    followed
}

impl Followed {
    fn last(&self) -> &serde_json::Value {
        self.events.last().unwrap()
    }

    /// Waits for its end: exit code and all events.
    fn end(mut self) -> (i32, Vec<serde_json::Value>) {
        for line in self.lines {
            self.events.push(serde_json::from_str(&line.unwrap()).unwrap());
        }
        (self.child.wait().unwrap().code().expect("it ended by itself"), self.events)
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until a process has taken over a signal; false if the system does not tell, or it ended.
fn hears(child: &Child, signal: Signal) -> bool {
    loop {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/status", child.id())) else {
            return false;
        };
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let Some(caught) = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
            return false;
        };
        if caught & (1 << (signal.as_raw() - 1)) != 0 {
            return true;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_station_begins_with_a_file_that_can_be_used_and_is_never_written_over() {
    let desk = Desk::new();
    let path = desk.path("new.toml");
    let end = desk.run(&["init", &path]);
    assert_eq!(end.code, 0, "{}", end.err);
    assert!(end.out.contains("`keyrack slots learn`"), "{}", end.out);
    assert!(keyrack::config::load(Path::new(&path)).is_ok());
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(desk.run(&["init", &path]).code, 0, "the same again is no harm");
    let changed = written.replace("bench-1", "bench-2");
    fs::write(&path, &changed).unwrap();
    let end = desk.run(&["init", &path]);
    assert_eq!(end.code, 2, "{}", end.err);
    assert!(end.err.contains("left alone"), "{}", end.err);
    assert_eq!(fs::read_to_string(&path).unwrap(), changed);
}
