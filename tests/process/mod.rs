//! The real binary in processes of its own: a simulated world, and stations on it. None of them outlives its test.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use keyrack::model::Platform;
use serde_json::Value;

/// A program that is killed when the test is done with it, whatever comes of the test.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    /// Everything that it wrote to standard output so far, as far as it was waited for.
    pub(crate) said: Vec<Value>,
    /// Where its standard error goes.
    pub(crate) errors: PathBuf,
}

impl Program {
    /// Starts keyrack with `--json`. Standard error goes to a file.
    pub(crate) fn start(arguments: &[&str], home: &Path) -> Self {
        let mut number = 0;
        let errors = loop {
            let path = home.join(format!("stderr-{number}"));
            if !path.exists() {
                break path;
            }
            number += 1;
        };
        let mut child = command(home)
            .args(arguments)
            .arg("--json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let (send, lines) = mpsc::channel();
        let out = child.stdout.take().unwrap();
        let copy = errors.with_file_name(format!("stdout-{number}"));
        #[expect(clippy::disallowed_methods, reason = "a pipe of a real process is read as it comes")]
        std::thread::spawn(move || {
            let mut all = std::fs::File::create(copy).unwrap();
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                std::io::Write::write_all(&mut all, format!("{line}\n").as_bytes()).unwrap();
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            said: Vec::new(),
            errors,
        }
    }

    /// Waits for a line that fits; `None` if the program ends before.
    pub(crate) fn wait_for(&mut self, mut fits: impl FnMut(&Value) -> bool) -> Option<Value> {
        let deadline = now() + LONGEST;
        loop {
            let left = deadline.saturating_duration_since(now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
                    self.said.push(value.clone());
                    if fits(&value) {
                        return Some(value);
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let last: Vec<String> = self.said.iter().rev().take(8).map(ToString::to_string).collect();
                    panic!("nothing came after {}: {}", last.join("\n"), self.complaints())
                }
            }
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.wait_for(|_| false);
        self.child.wait().unwrap()
    }

    /// Sends a signal by name, as `kill` knows it.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// True while it runs.
    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it wrote to standard error.
    pub(crate) fn complaints(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A simulated world in a process of its own.
pub(crate) struct Served {
    /// The process.
    pub(crate) program: Program,
    /// The folder with everything that a station needs.
    pub(crate) folder: PathBuf,
}

impl Served {
    /// Serves a scenario.
    pub(crate) fn start(home: &Path, scenario: &str) -> Self {
        Self::with(home, scenario, &[])
    }

    /// Serves a scenario with more options.
    pub(crate) fn with(home: &Path, scenario: &str, more: &[&str]) -> Self {
        let file = home.join("scenario.toml");
        std::fs::write(&file, scenario).unwrap();
        let folder = home.join("world");
        let mut arguments = vec!["sim", "world", text(&folder), "--scenario", text(&file)];
        arguments.extend(more);
        let mut program = Program::start(&arguments, home);
        let serving = program.wait_for(|line| line["event"] == "serving");
        assert!(serving.is_some(), "the world ended: {}", program.complaints());
        Self { program, folder }
    }

    /// Starts a station on it.
    pub(crate) fn station(&self, home: &Path, more: &[&str]) -> Program {
        let (config, bus) = (self.folder.join("station.toml"), self.folder.join("bus"));
        let mut arguments = vec!["run", "--headless", "--config", text(&config), "--world", text(&bus)];
        arguments.extend(more);
        Program::start(&arguments, home)
    }
}

/// Runs keyrack to its end.
pub(crate) fn keyrack(home: &Path, arguments: &[&str]) -> Output {
    command(home).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The text of a path.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What stands in the private key slot of a key store.
pub(crate) fn private_slot(platform: Platform, dct: &[u8]) -> &[u8] {
    let segment = platform.key_segments(platform.row().transport).private;
    &dct[segment.offset as usize..(segment.offset + segment.len) as usize]
}

fn command(home: &Path) -> Command {
    // Another one where the lab names it: what a test is built with is slow in an emulated machine.
    let program = std::env::var_os("KEYRACK_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_keyrack").into());
    let mut command = Command::new(program);
    let temporary = home.join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    command
        .env_clear()
        .env("HOME", home)
        .env("TMPDIR", temporary)
        .env("PATH", "/usr/bin:/bin")
        .env("RUST_BACKTRACE", "1");
    command
}

#[expect(clippy::disallowed_methods, reason = "real processes take real time")]
fn now() -> Instant {
    Instant::now()
}

/// More than anything takes that is waited for.
const LONGEST: Duration = Duration::from_secs(150);
