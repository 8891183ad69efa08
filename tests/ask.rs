//! A running station is asked from outside, as from its screen: the real binary in processes of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "other tests send signals and read key stores")]
mod process;

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use process::{Served, keyrack, text};
use serde_json::Value;

/// Two protected devices: two equal failures.
const RACK: &str = r#"
about = "two that are protected"
seed = 5
[[slot]]
number = 1
platform = "argon"
serial = "ARNKAB846A1B2C1"
protected = true
[[slot]]
number = 2
platform = "argon"
protected = true
[[expect]]
slot = 1
verdict = "FAIL"
key = "unchanged-bytes"
uploads = 0
[[expect]]
slot = 2
verdict = "FAIL"
key = "unchanged-bytes"
uploads = 0
"#;

/// Runs a command of the program with this on its standard input; its exit code and its last line.
fn with_input(home: &Path, world: &Served, arguments: &[&str], input: &str) -> (i32, Value) {
    let config = world.folder.join("station.toml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyrack"))
        .args(arguments)
        .args(["--json", "--config", text(&config)])
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    let last = said
        .lines()
        .last()
        .map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
    assert!(!said.contains("SECRETSECRET123") && !String::from_utf8_lossy(&out.stderr).contains("SECRETSECRET123"));
    (out.status.code().unwrap(), last)
}

fn words(answer: &Value) -> &str {
    answer["text"].as_str().unwrap_or_default()
}

#[test]
fn a_shift_a_stopped_line_and_its_release_without_a_screen() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let world = Served::start(home, RACK);
    let config = world.folder.join("station.toml");
    let mut toml = std::fs::read_to_string(&config).unwrap();
    toml.push_str("\n[line]\nstop_after = 2\n");
    std::fs::write(&config, toml).unwrap();
    let ask = |arguments: &[&str], input: &str| with_input(home, &world, &[&["ask"], arguments].concat(), input);
    let engineer = |arguments: &[&str], input: &str| with_input(home, &world, &[&["engineer"], arguments].concat(), input);

    let (code, _) = ask(&["status"], "");
    assert_ne!(code, 0, "nobody to ask");
    assert_eq!(engineer(&["add", "eva"], "12345\n").0, 2, "too short");
    assert_eq!(engineer(&["add", "eva"], "271828\n").0, 0);
    assert_eq!(engineer(&["list"], "").1["name"], "eva");

    let mut station = world.station(home, &[]);
    let line = station.wait_for(|event| event["event"] == "line").expect("the line stops");
    assert!(
        line["stopped"]["what"]
            .as_str()
            .unwrap()
            .contains("2 devices in a row failed with protected")
    );
    let (_, status) = ask(&["status"], "");
    assert_eq!(status["stopped"]["code"], "protected");
    assert_eq!(status["slots"][0]["verdict"], "fail");

    // Badge, work order, label: the secret of the label is seen by nobody.
    let (code, said) = ask(
        &["scan", "--slot", "1"],
        "OP-ada\nWO-17/500\nARNKAB846A1B2C1 SECRETSECRET123\n",
    );
    assert_eq!((code, words(&said)), (0, "label and device agree: this is the one in slot 1"));
    let (code, said) = ask(&["scan", "--slot", "1"], "P046AF450V9AB12 SECRETSECRET123\n");
    assert!(code == 2 && words(&said).contains("wrong label"), "{said}");
    let (_, status) = ask(&["status"], "");
    assert_eq!(
        (&status["operator"], &status["work_order"]["quantity"]),
        (&"ada".into(), &500.into())
    );

    // Only an engineer.
    let release = ["release-line", "--why", "sent to the repair bench"];
    let (code, said) = ask(&release, "");
    assert!(code == 2 && words(&said).contains("only an engineer"), "{said}");
    assert_eq!(ask(&["engineer"], "eva 999999\n").0, 2);
    let device = status["slots"][0]["device"].as_str().unwrap().to_owned();
    assert_eq!(ask(&["repair", &device], "").0, 2);

    // The line stays stopped over a start, and operator and order stay.
    assert_eq!(ask(&["quit"], "").0, 0);
    station.end();
    let mut station = world.station(home, &[]);
    let line = station
        .wait_for(|event| event["event"] == "line")
        .expect("it is still stopped");
    assert_eq!(line["stopped"]["code"], "protected");
    let held = |event: &Value| event["event"] == "slot" && event["state"] == "line stopped";
    assert!(station.wait_for(held).is_some(), "newcomers wait");
    assert_eq!(ask(&["status"], "").1["operator"], "ada");

    assert_eq!(ask(&["engineer"], "eva 271828\n").0, 0);
    let (code, said) = ask(&release, "");
    assert_eq!((code, words(&said)), (0, "the line is released: new runs begin"));
    let again = |event: &Value| event["event"] == "fact" && event["fact"]["fact"] == "run-started";
    assert!(station.wait_for(again).is_some(), "the device that waited begins");
    let ended = |event: &Value| event["event"] == "fact" && event["fact"]["fact"] == "run-ended";
    assert!(station.wait_for(ended).is_some());
    let (code, said) = ask(&["repair", &device], "");
    assert!(code == 0 || words(&said).contains("not over"), "{said}");
    assert_eq!(ask(&["no-engineer"], "").0, 0);
    assert_eq!(ask(&["finish"], "").0, 0);
    station.end();
    assert_eq!(ask(&["status"], "").0, 2, "nobody to ask any more");

    let journal = keyrack(home, &["replay", "--json", "--config", text(&config)]);
    let journal = String::from_utf8(journal.stdout).unwrap();
    for fact in [
        "label-bound",
        "label-refused",
        "line-stopped",
        "line-released",
        "engineer-came",
        "engineer-left",
        "pin-refused",
    ] {
        assert!(journal.contains(&format!("\"fact\":\"{fact}\"")), "{fact}");
    }
    assert!(!journal.contains("SECRETSECRET123") && !journal.contains("271828"));
    let verified = keyrack(home, &["replay", "--verify", "--config", text(&config)]);
    assert!(verified.status.success());
}

/// One good device, on which the cloud keeps the station waiting for a while.
const ONE: &str = r#"
about = "one good device"
seed = 8
[[slot]]
number = 1
platform = "argon"
[[cloud.fault]]
route = "POST /v1/provisioning/:id"
effect = { too-many = 30 }
count = 1
[[expect]]
slot = 1
verdict = "ABORTED"
key = "same"
uploads = 1
"#;

#[test]
fn a_first_pin_a_recipe_and_a_step_are_an_engineers_while_the_station_runs() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let world = Served::start(home, ONE);
    let config = world.folder.join("station.toml");
    let mut toml = std::fs::read_to_string(&config).unwrap();
    let usual = toml[toml.find("[[recipe]]").unwrap()..].to_owned();
    let other = usual.replacen("name = \"", "standby = true\nname = \"other-", 1);
    let end = other[2..].find("[[recipe]]").map_or(other.len(), |end| end + 2);
    toml.push_str(&format!("\n{}\n[engineer]\ntime = \"1h\"\n", &other[..end]));
    std::fs::write(&config, toml).unwrap();
    let ask = |arguments: &[&str], input: &str| with_input(home, &world, &[&["ask"], arguments].concat(), input);

    let mut station = world.station(home, &[]);
    assert!(station.wait_for(|event| event["fact"]["fact"] == "run-started").is_some());
    assert_eq!(ask(&["operator", "ada"], "").0, 0);
    let (_, status) = ask(&["status"], "");
    let recipes = status["recipes"].as_array().unwrap();
    let other = recipes
        .iter()
        .find(|recipe| recipe["counts"] == false)
        .expect("one is on standby");
    let choose = ["use-recipe", other["name"].as_str().unwrap(), "--why", "asked for"];

    // The first PIN closes at once what was open to everybody.
    assert_eq!(with_input(home, &world, &["engineer", "add", "eva"], "271828\n").0, 0);
    let leave = ["leave-out", "1", "99", "--why", "no network"];
    for arguments in [&choose[..], &leave[..]] {
        let (code, said) = ask(arguments, "");
        assert!(code == 2 && words(&said).contains("only an engineer"), "{said}");
    }
    assert_eq!(ask(&["engineer"], "eva 271828\n").0, 0);
    assert_eq!(ask(&choose, "").0, 0);
    let (code, said) = ask(&leave, "");
    assert!(code == 2 && words(&said).contains("no step 99"), "{said}");
    let out = |step: u8| ask(&["leave-out", "1", &step.to_string(), "--why", "no network"], "").0 == 0;
    assert!((1..30).rev().any(out), "the last of them is the proof");
    let ended = station
        .wait_for(|event| event["fact"]["fact"] == "run-ended")
        .expect("it ends");
    assert_eq!(
        (&ended["fact"]["verdict"], &ended["fact"]["code"]),
        (&"aborted".into(), &"step-left-out".into())
    );
    assert_eq!(ask(&["quit"], "").0, 0);
    station.end();

    // What was chosen stays chosen.
    let mut station = world.station(home, &[]);
    let (_, status) = {
        assert!(station.wait_for(|event| event["event"] == "slot").is_some());
        ask(&["status"], "")
    };
    let counts = |recipe: &&Value| recipe["counts"] == true && recipe["name"] == other["name"];
    assert_eq!(
        status["recipes"].as_array().unwrap().iter().filter(counts).count(),
        1,
        "{status}"
    );
    assert_eq!(ask(&["quit"], "").0, 0);
    station.end();
    let verified = keyrack(home, &["replay", "--verify", "--config", text(&config)]);
    assert!(verified.status.success());
    let journal = String::from_utf8(keyrack(home, &["replay", "--json", "--config", text(&config)]).stdout).unwrap();
    assert!(journal.contains("\"recipe-chosen\"") && journal.contains("\"step-left-out\""));
}
