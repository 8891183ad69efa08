//! The command line from outside: what it prints, where, and with which exit code it ends.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests, too")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use keyrack::{
    edge::entropy::SystemEntropy,
    keys::{PrivateKey, parse_public},
    model::{
        Code, DeviceId, Fact, Fingerprint, KeyKind, Platform, PortPath, ProductId, PublicKey, RunId, SlotNo, StationId, StepKind,
        Verdict, Wall,
        fact::{Identity, Protection},
        key::{KeyLayout, SlotContent},
        outbox::{Answer, Errand, Item, ItemId},
        platform::UsbMode,
    },
    store::{Options, Store},
};
use serde_json::Value;

#[test]
fn every_command_explains_itself_with_an_example_and_its_exit_codes() {
    let bench = Bench::new();
    for command in [
        "",
        "run",
        "check",
        "devices",
        "device",
        "keys",
        "keys export",
        "outbox",
        "replay",
        "login",
        "logout",
        "backup",
        "demo",
        "sim",
    ] {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let end = bench.run(&args);
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
    let bench = Bench::new();
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
        let end = bench.run(args);
        assert_eq!(end.code, 2, "{args:?}: {}", end.err);
        assert!(end.out.is_empty() && end.err.starts_with("error: "), "{args:?}: {}", end.err);
    }
    let end = bench.run(&["run"]);
    assert_eq!(end.code, 2);
    assert!(end.err.ends_with("next: use `keyrack run --headless`\n"), "{}", end.err);
}

#[test]
fn without_a_ledger_every_reader_says_so_and_makes_nothing() {
    let bench = Bench::new();
    let dir = bench.path("export");
    for args in [
        &["devices"][..],
        &["device", "abcdef"],
        &["outbox"],
        &["replay"],
        &["replay", "--verify"],
        &["keys", "export", "--dir", &dir],
        &["backup", "--to", &dir],
    ] {
        let end = bench.run(args);
        assert_eq!(end.code, 5, "{args:?}: {}", end.err);
        assert!(end.err.contains("caused by: there is no ledger at "), "{args:?}: {}", end.err);
        assert!(end.err.lines().last().unwrap().starts_with("next: "), "{args:?}: {}", end.err);
    }
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn devices_are_listed_found_and_filtered() {
    let bench = Bench::filled();
    let rows = bench.json(&["devices"]);
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["event"] == "device"));
    let ids = |args: &[&str]| -> Vec<String> {
        let found = bench.json(args);
        found.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["devices", "--apart"]), [device(2).to_string()]);
    assert_eq!(ids(&["devices", "--owed"]), [device(3).to_string()]);
    assert_eq!(ids(&["devices", "--search", "P046AD00000001"]), [device(1).to_string()]);
    assert_eq!(ids(&["devices", "--search", &device(3).short()]), [device(3).to_string()]);
    assert_eq!(ids(&["devices", "--verdict", "pass"]), [device(1).to_string()]);
    let end = bench.run(&["devices", "--limit", "2"]);
    assert_eq!(end.out.lines().count(), 3, "headings and two devices: {}", end.out);
    assert_eq!(end.err, "there are more than 2: give --search or a larger --limit\n");
    let text = bench.run(&["devices"]).out;
    assert!(
        text.contains("APART: the slot holds another key than the cloud accepted"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
}

#[test]
fn a_device_has_its_whole_history_by_id_serial_number_or_end_of_id() {
    let bench = Bench::filled();
    for name in [
        device(1).to_string(),
        device(1).to_string().to_uppercase(),
        "P046AD00000001".into(),
        device(1).short(),
    ] {
        let found = bench.json(&["device", &name]);
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0]["device"]["id"], device(1).to_string(), "{name}");
        assert_eq!(found[0]["runs"].as_array().unwrap().len(), 1);
        assert_eq!(found[0]["keys"][0]["state"], "in-slot");
        assert_eq!(found[0]["items"][0]["state"], "accepted");
    }
    let text = bench.run(&["device", &device(2).short(), "--facts"]).out;
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
    let facts = bench.json(&["device", &device(2).short(), "--facts"]);
    let seqs: Vec<u64> = facts[1..].iter().map(|fact| fact["seq"].as_u64().unwrap()).collect();
    assert!(seqs.len() > 5 && seqs.is_sorted(), "oldest first: {seqs:?}");

    let unknown = bench.run(&["device", "ffffff"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown
            .err
            .starts_with("error: the ledger knows no device \"ffffff\"\nnext: "),
        "{}",
        unknown.err
    );
    let many = bench.run(&["device", "e00fce68"]);
    assert_eq!(many.code, 2);
    assert!(many.err.contains("fits more than one device: "), "{}", many.err);
    assert_eq!(bench.run(&["device", " "]).code, 2);
}

#[test]
fn keys_are_exported_whole_and_never_over_another_key() {
    let bench = Bench::filled();
    let dir = bench.dir.path().join("keys");
    let dir_text = dir.display().to_string();
    let end = bench.run(&["keys", "export", "--dir", &dir_text]);
    assert_eq!(
        (end.code, end.out.as_str()),
        (0, "2 new, 0 unchanged, 0 replaced, 0 left alone, 1 without a key\n"),
        "{}",
        end.err
    );
    let file = |n| dir.join(format!("{}.pub.pem", device(n)));
    for n in [1, 2] {
        let key = parse_public(&fs::read(file(n)).unwrap()).unwrap();
        let row = &bench.json(&["device", &device(n).to_string()])[0];
        assert_eq!(
            row["device"]["key_in_slot"],
            key.fingerprint.to_string(),
            "the key in the slot, not an older one"
        );
        assert_eq!(fs::metadata(file(n)).unwrap().permissions().mode() & 0o777, 0o644);
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing half written is left");

    let again = bench.run(&["keys", "export", "--dir", &dir_text]);
    assert!(
        again.code == 0 && again.out.starts_with("0 new, 2 unchanged"),
        "{}",
        again.out
    );
    fs::copy(file(1), file(2)).unwrap();
    let foreign = fs::read(file(2)).unwrap();
    let refused = bench.run(&["keys", "export", "--dir", &dir_text]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("1 file would be overwritten with another key") && refused.err.contains("--force"),
        "{}",
        refused.err
    );
    assert_eq!(fs::read(file(2)).unwrap(), foreign, "left alone");
    let forced = bench.json(&[
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
    let bench = Bench::filled();
    let owed = bench.json(&["outbox"]);
    assert_eq!(owed.len(), 1);
    assert_eq!((&owed[0]["state"], &owed[0]["attempts"]), (&"queued".into(), &1.into()));
    assert_eq!(owed[0]["last_answer"]["why"], "maintenance");
    let text = bench.run(&["outbox"]).out;
    assert!(
        text.contains("upload of P-256 key") && text.contains("not now: maintenance"),
        "{text}"
    );
    let refused = bench.json(&["outbox", "--refused"]);
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
    let bench = Bench::filled();
    let events = bench.json(&["replay"]);
    for (i, event) in events.iter().enumerate() {
        assert_eq!((&event["event"], &event["seq"]), (&"fact".into(), &(i as u64 + 1).into()));
    }
    let one = bench.json(&["replay", "--run", &run(1).to_string()]);
    assert!(one.len() > 3 && one.iter().all(|event| event["run"] == run(1).to_string()));
    assert!(
        one.iter().all(|event| event["device"] == device(1).to_string()),
        "each record says whose it is"
    );
    assert_eq!(bench.json(&["replay", "--after", &(events.len() - 1).to_string()]).len(), 1);
    let text = bench.run(&["replay"]).out;
    assert_eq!(text.lines().count(), events.len());
    assert!(text.contains("PASS (proved)"), "{text}");

    let verified = bench.run(&["replay", "--verify"]);
    assert!(
        verified.code == 0 && verified.out.starts_with("verified: "),
        "{} {}",
        verified.out,
        verified.err
    );
}

#[test]
fn a_tampered_ledger_does_not_verify() {
    let bench = Bench::filled();
    let ledger = rusqlite::Connection::open(bench.dir.path().join("state/ledger/ledger.db")).unwrap();
    ledger
        .execute(
            "UPDATE device SET serial = 'P046AD99999999' WHERE serial = 'P046AD00000001'",
            [],
        )
        .unwrap();
    drop(ledger);
    let end = bench.run(&["replay", "--verify"]);
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
    let objects = bench.lines(&["replay", "--verify", "--json"]);
    assert_eq!(objects[0]["event"], "difference");
    assert_eq!(objects.last().unwrap()["exit"], 5);
}

#[test]
fn a_backup_is_a_ledger_and_never_lies_beside_it() {
    let bench = Bench::filled();
    let to = bench.path("copy.db");
    let end = bench.run(&["backup", "--to", &to]);
    assert!(
        end.code == 0 && end.out.starts_with("copied and proved: "),
        "{} {}",
        end.out,
        end.err
    );
    let inside = bench.dir.path().join("state/ledger/copy.db");
    let refused = bench.run(&["backup", "--to", &inside.display().to_string()]);
    assert_eq!(refused.code, 5);
    assert!(
        refused.err.contains("choose another disk") && !inside.exists(),
        "{}",
        refused.err
    );
}

#[test]
fn an_unknown_key_in_the_configuration_is_shown_with_its_place_and_stops_every_command() {
    let bench = Bench::new();
    let config = bench.config("colour = 1\n[station]\nid = \"s\"\nstate = 7\n");
    for command in [&["check", "--offline"][..], &["run", "--headless"], &["devices"]] {
        let end = bench.command(&[command, &["--config", &config]].concat(), &[]);
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
    let bench = Bench::new();
    fs::write(bench.path("fw.bin"), b"not firmware").unwrap();
    let config = bench.config(&format!(
        "[station]\nid = \"s\"\nstate = \"state\"\n\
         [cloud]\nurl = \"https://127.0.0.1:1\"\ntoken_file = \"token\"\n\
         [[slot]]\nnumber = 1\nport = \"pci-0000:00:14.0/1\"\n\
         [[recipe]]\nname = \"missing\"\nplatform = \"boron\"\nfirmware = [{{ file = \"none.bin\", sha256 = \"{zeros}\" }}]\n\
         [[recipe]]\nname = \"other\"\nplatform = \"argon\"\nfirmware = [{{ file = \"fw.bin\", sha256 = \"{zeros}\" }}]\n\
         [[recipe]]\nname = \"broken\"\nplatform = \"p2\"\nfirmware = [{{ file = \"fw.bin\", sha256 = \"{right}\" }}]\n",
        zeros = "0".repeat(64),
        right = keyrack::firmware::sha256_of(b"not firmware"),
    ));
    fs::write(bench.path("token"), "secret-token").unwrap();
    fs::set_permissions(bench.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(bench.path("state")).unwrap();
    fs::create_dir(bench.path("state/ledger")).unwrap();
    fs::set_permissions(bench.path("state/ledger"), fs::Permissions::from_mode(0o755)).unwrap();
    let before = bench.listing();
    let end = bench.command(&["check", "--config", &config], &[]);
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
    let objects = bench.lines(&["check", "--json", "--offline", "--config", &config]);
    let errors = objects.iter().filter(|object| object["level"] == "error").count();
    assert_eq!(errors, 5);
    assert!(
        objects
            .iter()
            .filter(|object| object["level"] == "error")
            .all(|object| object["next"].is_string())
    );
    assert_eq!(bench.listing(), before, "nothing was made or changed");
}

#[test]
fn check_of_a_good_configuration_is_ready_and_a_lost_cloud_is_4() {
    let bench = Bench::new();
    let config = bench.config(
        "[station]\nid = \"s\"\nstate = \"state\"\n[cloud]\nurl = \"https://127.0.0.1:1\"\ntoken_file = \"token\"\n\
         [[slot]]\nnumber = 1\nport = \"pci-0000:00:14.0/1\"\n[[recipe]]\nname = \"r\"\nplatform = \"boron\"\n",
    );
    fs::write(bench.path("token"), "secret-token").unwrap();
    fs::set_permissions(bench.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let offline = bench.command(&["check", "--offline", "--config", &config], &[]);
    assert_eq!(offline.code, 0, "{}{}", offline.out, offline.err);
    assert!(offline.out.lines().last().unwrap().starts_with("ready"), "{}", offline.out);
    let online = bench.command(&["check", "--config", &config], &[]);
    assert_eq!(online.code, 4, "{}{}", online.out, online.err);
    assert!(!(online.out + &online.err).contains("secret-token"));
}

#[test]
fn a_token_file_that_others_can_read_is_refused_with_what_to_do() {
    let bench = Bench::new();
    let token = bench.path("token");
    fs::write(&token, "secret-token").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
    let end = bench.run(&["logout", "--token-file", &token]);
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
    let bench = Bench::new();
    let token = bench.path("token");
    let args = [
        "login",
        "--user",
        "eva@shop.example",
        "--cloud-url",
        "https://127.0.0.1:1",
        "--token-file",
        &token,
    ];
    let end = bench.command(&args, b"s3cret-pass\n");
    assert_eq!(end.code, 4, "{}", end.err);
    assert!(
        end.err.contains("next: look at the network") && !end.err.contains("s3cret"),
        "{}",
        end.err
    );
    assert!(!Path::new(&token).exists());
    assert_eq!(bench.command(&args, b"").code, 6, "no password, no request");
    let nobody = bench.command(&["login", "--token-file", &token], b"x\n");
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
    assert_eq!(bench.command(&plain, b"x\n").code, 2, "never in the clear");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::filled();
    let mut child = bench
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
    let bench = Bench::new();
    let token = bench.path("token");
    let mut child = bench
        .start(&[
            "login",
            "--user",
            "u",
            "--cloud-url",
            "https://127.0.0.1:1",
            "--token-file",
            &token,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    if !hears(pid, 2) {
        println!("not run: this system does not show which signals a process hears");
        child.kill().unwrap();
    } else {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(6));
    }
    child.wait().unwrap();
    assert!(!Path::new(&token).exists());
}

/// Waits until a process has taken over a signal; false if the system does not tell, or it ended.
fn hears(pid: rustix::process::Pid, signal: u32) -> bool {
    loop {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())) else {
            return false;
        };
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let Some(caught) = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
            return false;
        };
        if caught & (1 << (signal - 1)) != 0 {
            return true;
        }
        std::thread::yield_now();
    }
}

/// How a command ended.
struct End {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for End {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A directory with a state directory in it, and nothing of this machine's environment.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With three devices: one that passed, one that is apart, one that owes and has no key any more.
    fn filled() -> Self {
        let bench = Self::new();
        let dir = bench.dir.path().join("state/ledger");
        let mut store = Store::open(&dir, StationId("bench-1".into()), Options::default()).unwrap();
        let mut facts = vec![Fact::RecipeRecorded {
            hash: Fingerprint([7; 32]),
            name: "boron".into(),
            text: "name = \"boron\"".into(),
        }];
        let (one, two, other, three) = (key(), key(), key(), key());
        facts.extend(begin(1));
        facts.extend([read(1, &one), queued(1, &one), sent(1, &one), answered(1, &one, accepted())]);
        facts.push(ended(1, Verdict::Pass, None));
        facts.extend(begin(2));
        facts.extend([read(2, &two), queued(2, &two), sent(2, &two), answered(2, &two, accepted())]);
        facts.push(read(2, &other));
        facts.push(ended(2, Verdict::Fault, Some(Code::UsbTransfer)));
        facts.extend(begin(3));
        let import = Item {
            id: ItemId::import(run(3)),
            errand: Errand::Import { activate_sim: false },
            ..item(3, &three)
        };
        facts.extend([
            read(3, &three),
            Fact::ItemQueued { item: import.clone() },
            Fact::ItemSent {
                item: import.id.clone(),
                attempt: 1,
            },
            Fact::ItemAnswered {
                item: import.id.clone(),
                attempt: 1,
                answer: refused(),
            },
            // Believed when it came twice.
            Fact::ItemSent {
                item: import.id.clone(),
                attempt: 2,
            },
            Fact::ItemAnswered {
                item: import.id,
                attempt: 2,
                answer: refused(),
            },
            queued(3, &three),
            sent(3, &three),
            answered(
                3,
                &three,
                Answer::Later {
                    why: "maintenance".into(),
                    after_ms: None,
                },
            ),
            Fact::KeyRead {
                run: run(3),
                device: device(3),
                content: SlotContent::Blank,
            },
            ended(3, Verdict::Owed, Some(Code::CloudUnreachable)),
        ]);
        store.append(wall(0), &facts).unwrap();
        bench
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn config(&self, text: &str) -> String {
        let path = self.path("station.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// Every path below the directory, with its size and mode.
    fn listing(&self) -> Vec<(PathBuf, u64, u32)> {
        fn walk(dir: &Path, found: &mut Vec<(PathBuf, u64, u32)>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::metadata(&path).unwrap();
                found.push((path.clone(), meta.len(), meta.permissions().mode()));
                if meta.is_dir() {
                    walk(&path, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(self.dir.path(), &mut found);
        found.sort();
        found
    }

    fn start(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyrack"));
        command.args(args).env_clear().current_dir(self.dir.path());
        command
            .env("XDG_STATE_HOME", "/nonexistent")
            .env("XDG_CONFIG_HOME", "/nonexistent");
        if !args.contains(&"--config") {
            command.args(["--state", &self.path("state")]);
        }
        command
    }

    fn command(&self, args: &[&str], input: &[u8]) -> End {
        let mut command = assert_cmd::Command::from_std(self.start(args));
        command.write_stdin(input).output().unwrap().into()
    }

    fn run(&self, args: &[&str]) -> End {
        self.command(args, &[])
    }

    /// What it prints with `--json`, each line an object, whatever the exit code.
    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let out = self.run(args).out;
        out.lines()
            .map(|line| serde_json::from_str(line).expect("a line is one object"))
            .collect()
    }

    /// The same for a command that must succeed.
    fn json(&self, args: &[&str]) -> Vec<Value> {
        let end = self.run(&[args, &["--json"]].concat());
        assert_eq!(end.code, 0, "{args:?}: {}", end.err);
        assert!(end.err.is_empty(), "{args:?}: {}", end.err);
        end.out
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is one object"))
            .collect()
    }
}

fn wall(seconds: i64) -> Wall {
    Wall::from_millis(1_795_428_000_000 + seconds * 1000).unwrap()
}

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 1, 2, 3, 4, 5, 6, 7 * n, n])
}

fn run(n: u8) -> RunId {
    RunId::new(wall(i64::from(n)), [n; 10])
}

fn key() -> PublicKey {
    PrivateKey::generate(KeyKind::P256, &SystemEntropy).public()
}

fn begin(n: u8) -> [Fact; 2] {
    let identity = Identity {
        device: device(n),
        platform: Platform::Boron,
        mode: UsbMode::Normal,
        protection: Protection::Open,
        transport: None,
        serial: Some(format!("P046AD{n:08}")),
        iccid: None,
        imei: None,
        hardware: None,
        os_version: Some("6.3.0".into()),
        modules: Vec::new(),
    };
    [
        Fact::DeviceSeen {
            slot: SlotNo(n.into()),
            port: PortPath::new("pci-0000:00:14.0", [n]),
            identity,
        },
        Fact::RunStarted {
            run: run(n),
            device: device(n),
            slot: SlotNo(n.into()),
            recipe: Fingerprint([7; 32]),
            plan: vec![StepKind::ReadKey, StepKind::Register],
            operator: Some("eva".into()),
            work_order: None,
            accepted: None,
        },
    ]
}

fn read(n: u8, key: &PublicKey) -> Fact {
    Fact::KeyRead {
        run: run(n),
        device: device(n),
        content: SlotContent::Valid {
            key: key.clone(),
            layout: KeyLayout::Device,
        },
    }
}

fn item(n: u8, key: &PublicKey) -> Item {
    Item {
        id: ItemId::key(run(n), key.fingerprint),
        run: run(n),
        device: device(n),
        product: Some(ProductId("4711".into())),
        errand: Errand::Key { key: key.clone() },
    }
}

fn queued(n: u8, key: &PublicKey) -> Fact {
    Fact::ItemQueued { item: item(n, key) }
}

fn sent(n: u8, key: &PublicKey) -> Fact {
    Fact::ItemSent {
        item: item(n, key).id,
        attempt: 1,
    }
}

fn answered(n: u8, key: &PublicKey, answer: Answer) -> Fact {
    Fact::ItemAnswered {
        item: item(n, key).id,
        attempt: 1,
        answer,
    }
}

fn accepted() -> Answer {
    Answer::Accepted { at: None, note: None }
}

fn refused() -> Answer {
    Answer::Refused {
        code: Code::CloudDenied,
        reason: "no such role".into(),
    }
}

fn ended(n: u8, verdict: Verdict, code: Option<Code>) -> Fact {
    Fact::RunEnded {
        run: run(n),
        device: device(n),
        verdict,
        code,
        why: String::new(),
        proved: verdict == Verdict::Pass,
    }
}
