//! The program on a desk of its own: a directory with a state directory in it, and ledgers to read.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use keyrack::{
    edge::entropy::SystemEntropy,
    keys::PrivateKey,
    model::{
        Code, DeviceId, Fact, Fingerprint, KeyKind, Platform, PortPath, ProductId, PublicKey, RunId, SlotNo, StationId, StepKind,
        Verdict, Wall,
        fact::{Identity, Protection},
        key::{KeyLayout, SlotContent},
        outbox::{Answer, Errand, Item, ItemId},
        platform::UsbMode,
    },
    store::{Options, Store, UndoVault},
};
use serde_json::Value;

/// How a command ended.
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
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
pub(crate) struct Desk {
    pub(crate) dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With three devices: one that passed, one that is apart, one that owes and has no key any more.
    pub(crate) fn filled() -> Self {
        let desk = Self::new();
        let dir = desk.dir.path().join("state/ledger");
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
        desk
    }

    /// Gives a device a run that ended QUARANTINED, with an undo copy that is kept.
    pub(crate) fn quarantine(&self, n: u8) {
        let state = self.dir.path().join("state");
        let mut store = Store::open(&state.join("ledger"), StationId("bench-1".into()), Options::default()).unwrap();
        let again = run(n + 100);
        let sha256 = UndoVault::open(&state.join("undo"))
            .unwrap()
            .put(again, device(n), b"sealed")
            .unwrap();
        let mut facts = begin(n).to_vec();
        if let Fact::RunStarted { run, .. } = &mut facts[1] {
            *run = again;
        }
        facts.push(Fact::UndoSealed {
            run: again,
            device: device(n),
            sha256,
            content: SlotContent::Blank,
        });
        facts.push(Fact::RunEnded {
            run: again,
            device: device(n),
            verdict: Verdict::Quarantined,
            code: Some(Code::StateUnknown),
            why: "nobody knows".into(),
            proved: false,
        });
        store.append(wall(500), &facts).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(crate) fn config(&self, text: &str) -> String {
        let path = self.path("station.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// Every path below the directory, with its size and mode.
    pub(crate) fn listing(&self) -> Vec<(PathBuf, u64, u32)> {
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

    pub(crate) fn start(&self, args: &[&str]) -> std::process::Command {
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

    pub(crate) fn command(&self, args: &[&str], input: &[u8]) -> End {
        let mut command = assert_cmd::Command::from_std(self.start(args));
        command.write_stdin(input).output().unwrap().into()
    }

    pub(crate) fn run(&self, args: &[&str]) -> End {
        self.command(args, &[])
    }

    /// What it prints with `--json`, each line an object, whatever the exit code.
    pub(crate) fn lines(&self, args: &[&str]) -> Vec<Value> {
        let out = self.run(args).out;
        out.lines()
            .map(|line| serde_json::from_str(line).expect("a line is one object"))
            .collect()
    }

    /// The same for a command that must succeed.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
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

pub(crate) fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([0xe0, 0x0f, 0xce, 0x68, 1, 2, 3, 4, 5, 6, 7 * n, n])
}

pub(crate) fn run(n: u8) -> RunId {
    RunId::new(wall(i64::from(n)), [n; 10])
}

fn key() -> PublicKey {
    PrivateKey::generate(KeyKind::P256, &SystemEntropy).public()
}

fn begin(n: u8) -> [Fact; 2] {
    let identity = Identity {
        serial: Some(format!("P046AD{n:08}")),
        os_version: Some("6.3.0".into()),
        ..Identity::bare(device(n), Platform::Boron, UsbMode::Normal, Protection::Open)
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
            reference: None,
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
        after: None,
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
