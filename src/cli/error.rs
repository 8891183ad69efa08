//! Why a command failed, what is printed then, and with which exit code it ends.
//!
//! Each error says what we were doing and holds its cause; one function prints the chain. Exit code and next action of
//! each are in `error/advice.rs`.

mod advice;

use std::{error::Error as _, io, path::PathBuf};

use serde::Serialize;

use super::{
    exit::ExitCode,
    packet::ListTrouble,
    print::{Paint, Text},
    slots::BlinkError,
    small_file::SmallFileError,
};
use crate::{
    cloud::{answer, http::HttpSetupError, login::LoginError, token::SecretFileError},
    config::ConfigErrors,
    device::usb::StartError,
    edge::BusError,
    keys::{
        PrivateFileError, PublicKeyError,
        escrow::{EscrowError, IdentityError, RecipientError},
        server::ServerKeyError,
    },
    model::{DeviceId, PortPath, ProductId, SlotNo, outbox::Answer, sentence::count},
    sim::{
        cloud::https::NotServing,
        world::{scenario::ScenarioError, vhci::NoController},
    },
    station::{StationError, shelf::ShelfError},
    store::{EngineersError, StationKeyError, StoreError},
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// There is no configuration where it was looked for.
    #[error("there is no configuration{}", places(.looked))]
    NoConfig {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The configuration is wrong.
    #[error("the configuration \"{}\" cannot be used", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
    /// Nothing says where the ledger is.
    #[error("there is no place for the state of the station: neither --state nor HOME is set")]
    NoState,
    /// An option is needed.
    #[error("{what}")]
    Missing {
        /// What is missing, as a sentence fragment.
        what: &'static str,
        /// The one next action.
        next: &'static str,
    },
    /// The ledger refused.
    #[error("could not use the ledger")]
    Store(#[from] StoreError),
    /// The station stopped by itself.
    #[error("the station stopped")]
    Station(#[from] StationError),
    /// The firmware of a recipe cannot be used.
    #[error("could not use the firmware of a recipe")]
    Shelf(#[source] Box<ShelfError>),
    /// The key that seals undo copies cannot be used.
    #[error("could not use the station key")]
    StationKey(#[from] StationKeyError),
    /// It is not known who the engineers are.
    #[error(transparent)]
    Engineers(#[from] EngineersError),
    /// The ports cannot be used.
    #[error("could not use the USB ports")]
    Bus(#[from] BusError),
    /// This machine has no USB ports, or does not let us use them.
    #[error("could not use the USB ports of this machine")]
    Usb(#[from] StartError),
    /// The stand-in cloud cannot be served.
    #[error("could not serve the stand-in cloud")]
    StandIn(#[source] NotServing),
    /// This machine cannot have devices attached to it.
    #[error("could not attach devices to this machine")]
    NoController(#[from] NoController),
    /// A device of a scenario is in a port that no device can be attached to.
    #[error("slot {slot} is at {port}, which is no port of this machine's virtual USB host controllers")]
    NotAttachable {
        /// The slot.
        slot: SlotNo,
        /// Its port.
        port: PortPath,
    },
    /// A scenario cannot be used.
    #[error("could not use the scenario")]
    Scenario(#[from] ScenarioError),
    /// The world differs from what the scenario says must come out.
    #[error("the world is not as the scenario says: {}", count(*.found, "difference"))]
    World {
        /// How many differences there are.
        found: usize,
    },
    /// A file could not be used.
    #[error("could not {doing} \"{}\"", .path.display())]
    File {
        /// What we were doing, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that an option or the configuration names cannot be read.
    #[error("could not read {what} \"{}\"", .path.display())]
    Named {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The token cannot be had from its file.
    #[error("there is no token for the cloud")]
    Token(#[from] SecretFileError),
    /// The OAuth client of a product cannot be had from its file.
    #[error("could not use the OAuth client of product {product}")]
    Client {
        /// The product.
        product: ProductId,
        /// Why.
        source: SecretFileError,
    },
    /// The rack has no such slot.
    #[error("the rack has no slot {slot}")]
    UnknownSlot {
        /// Its number.
        slot: SlotNo,
    },
    /// There is nothing to work on.
    #[error("there is no device in any of the slots")]
    NoDevice,
    /// There is no device in the slot that was named.
    #[error("there is no device in slot {slot}")]
    EmptySlot {
        /// The slot.
        slot: SlotNo,
    },
    /// A device does not show itself.
    #[error("the device in slot {slot} does not show itself")]
    Blink {
        /// The slot.
        slot: SlotNo,
        /// Why.
        source: BlinkError,
    },
    /// Nobody knows such a light signal.
    #[error("there is no light signal \"{name}\"")]
    UnknownLight {
        /// What was looked for.
        name: String,
    },
    /// A small file cannot be read.
    #[error("could not read \"{}\"", .path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SmallFileError,
    },
    /// The key of a server cannot be used.
    #[error("could not use the server key \"{}\"", .path.display())]
    ServerKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ServerKeyError,
    },
    /// A file gives no private key.
    #[error("could not use the private key \"{}\"", .path.display())]
    PrivateFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PrivateFileError,
    },
    /// A text names nobody to whom a key can be sealed. It is not shown: it may be a secret.
    #[error("a --recipient cannot be used")]
    Recipient(#[from] RecipientError),
    /// A file gives no identity.
    #[error("could not use the identity file \"{}\"", .path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// A sealed key cannot be opened.
    #[error("could not use the sealed key \"{}\"", .path.display())]
    Escrow {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EscrowError,
    },
    /// There is no key in a dump.
    #[error("there is no key of DeviceKeyHelperRK in \"{}\"; records without a usable key: {broken}", .path.display())]
    NoKeyInDump {
        /// The dump.
        path: PathBuf,
        /// Records without a usable key.
        broken: usize,
    },
    /// A list of packets cannot be used.
    #[error("could not use the list \"{}\"", .path.display())]
    PacketList {
        /// The list.
        path: PathBuf,
        /// Why.
        source: ListTrouble,
    },
    /// More packets than are taken at once.
    #[error("there is too much in \"{}\": at most {most} packets are taken at once", .path.display())]
    TooManyPackets {
        /// Where.
        path: PathBuf,
        /// So many.
        most: usize,
    },
    /// Some packets of a batch were refused.
    #[error("{} refused", count(*.refused, "packet"))]
    PacketsRefused {
        /// How many.
        refused: usize,
    },
    /// The log-in failed.
    #[error("could not log in")]
    Login(#[from] LoginError),
    /// The way to the cloud cannot be set up.
    #[error("could not set up the way to the cloud")]
    CloudSetup(#[from] HttpSetupError),
    /// The cloud gave another answer than was hoped for.
    #[error("could not {doing}")]
    Cloud {
        /// What we were doing, as a verb.
        doing: &'static str,
        /// The answer.
        source: Answered,
    },
    /// No device of the ledger fits.
    #[error("the ledger knows no device \"{text}\"")]
    UnknownDevice {
        /// What was looked for.
        text: String,
    },
    /// Several devices of the ledger fit.
    #[error("\"{text}\" fits more than one device: {}{}", .found.join(", "), if *.more { ", ..." } else { "" })]
    ManyDevices {
        /// What was looked for.
        text: String,
        /// The first of them.
        found: Vec<String>,
        /// True if there are others.
        more: bool,
    },
    /// Only what is quarantined can be released.
    #[error("device {device} is not quarantined, or was released before")]
    NotQuarantined {
        /// The device.
        device: DeviceId,
    },
    /// Files that would be overwritten hold something else.
    #[error("{} would be overwritten with another key: {}{}", count(.paths.len(), "file"), first(.paths), if .paths.len() > SHOWN { ", ..." } else { "" })]
    Overwrite {
        /// The files.
        paths: Vec<PathBuf>,
    },
    /// A key of the ledger, or a file that was just written, is not the key that it should be.
    #[error("the public key of device {device} is not what the ledger says")]
    Key {
        /// The device.
        device: String,
        /// Why, if it is no public key at all.
        source: Option<PublicKeyError>,
    },
    /// Journal and tables do not agree.
    #[error("the ledger is not what its journal says, in {}", count(*.found, "place"))]
    Differences {
        /// In how many places.
        found: usize,
    },
    /// `check` found errors.
    #[error("{} found", count(*.errors, "problem"))]
    Findings {
        /// How many.
        errors: usize,
        /// The lowest exit code of them.
        exit: ExitCode,
    },
    /// A person interrupted a question.
    #[error("interrupted")]
    Interrupted,
    /// The signals of the process cannot be taken over.
    #[error("could not take over the signals of the process")]
    Signals(#[source] io::Error),
    /// The terminal cannot be painted on, or went away; the station was asked to stop.
    #[error("could not show the screen on this terminal")]
    Screen(#[source] io::Error),
    /// The terminal cannot be used.
    #[error("could not ask at the terminal")]
    Terminal(#[source] io::Error),
    /// What was printed did not arrive.
    #[error("could not write to standard output")]
    Output(#[source] io::Error),
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where, as `file:line` if that is known.
    pub at: String,
    /// What, with the value and what is allowed.
    pub what: String,
}

/// What the cloud answered, as an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Answered {
    /// In words.
    pub what: String,
    /// The one next action.
    pub next: &'static str,
}

impl From<&Answer> for Answered {
    fn from(given: &Answer) -> Self {
        let (code, words) = answer::blame(given);
        let code_says = code.what().trim_end_matches('.').to_lowercase();
        Self {
            what: if words.is_empty() {
                code_says
            } else {
                format!("{code_says}: {words}")
            },
            next: code.next_action(),
        }
    }
}

impl From<ShelfError> for CliError {
    fn from(error: ShelfError) -> Self {
        Self::Shelf(Box::new(error))
    }
}

impl From<ConfigErrors> for CliError {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config {
            path: PathBuf::from(&errors.file),
            problems: Problem::of(&errors),
        }
    }
}

impl Problem {
    /// The mistakes of a configuration file.
    pub(super) fn of(errors: &ConfigErrors) -> Vec<Self> {
        let at = |line| {
            if line == 0 {
                errors.file.clone()
            } else {
                format!("{}:{line}", errors.file)
            }
        };
        errors
            .errors
            .iter()
            .map(|error| Self {
                at: at(error.line),
                what: error.to_string(),
            })
            .collect()
    }
}

impl CliError {
    /// What we were doing, and every cause once, outermost first.
    fn chain(&self) -> (String, Vec<String>) {
        let (mut causes, mut last) = (Vec::new(), self.to_string());
        let top = last.clone();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = one_line(&cause.to_string());
            // Transparent errors say what their cause says.
            if text != last {
                causes.push(text.clone());
            }
            last = text;
            next = cause.source();
        }
        (top, causes)
    }

    /// The lines that a person reads.
    pub(super) fn lines(&self) -> Vec<Text> {
        let (doing, causes) = self.chain();
        let mut lines = vec![Text::new().paint(Paint::Bad, "error:").then(" ").then(doing)];
        if let Self::Config { problems, .. } = self {
            lines.extend(problems.iter().map(|problem| {
                Text::new()
                    .then("  ")
                    .paint(Paint::Bold, &problem.at)
                    .then(": ")
                    .then(&problem.what)
            }));
        }
        lines.extend(
            causes
                .into_iter()
                .map(|cause| Text::new().paint(Paint::Dim, "caused by:").then(" ").then(cause)),
        );
        lines.extend(
            self.next()
                .map(|next| Text::new().paint(Paint::Busy, "next:").then(" ").then(next)),
        );
        lines
    }

    /// The same as an object.
    pub(super) fn report(&self) -> Report {
        let (error, causes) = self.chain();
        Report {
            event: "error",
            error,
            causes,
            problems: if let Self::Config { problems, .. } = self {
                problems.clone()
            } else {
                Vec::new()
            },
            next: self.next(),
            exit: self.exit().number(),
        }
    }
}

/// An error as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    event: &'static str,
    error: String,
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
    next: Option<String>,
    exit: u8,
}

fn places(looked: &[PathBuf]) -> String {
    match looked {
        [] => String::new(),
        some => format!(
            ": looked for {}",
            some.iter()
                .map(|p| format!("\"{}\"", p.display()))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

fn first(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .take(SHOWN)
        .map(|p| format!("\"{}\"", p.display()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Other crates draw pictures of several lines; as a cause one line has to do.
fn one_line(text: &str) -> String {
    let parts: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    parts.join(" ")
}

/// So many files are named at most.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::tests::printer;

    #[test]
    fn the_chain_is_printed_once_in_lower_case_with_one_next_action() {
        let error = CliError::from(StoreError::File {
            doing: "opening the directory",
            path: "/x".into(),
            source: io::ErrorKind::PermissionDenied.into(),
        });
        let (printer, out, err) = printer(true, 0);
        printer.error(&error);
        assert_eq!(
            err.text(),
            "error: could not use the ledger\ncaused by: opening the directory \"/x\" failed\ncaused by: permission denied\n\
             next: look at the permissions of the directory and at the disk\n"
        );
        let object: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
        assert_eq!((&object["event"], &object["exit"]), (&"error".into(), &5.into()));
        assert_eq!(object["causes"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn every_problem_of_a_configuration_has_its_place() {
        let problem = |at: &str, what: &str| Problem {
            at: at.into(),
            what: what.into(),
        };
        let error = CliError::Config {
            path: "station.toml".into(),
            problems: vec![
                problem("station.toml:3", "unknown key \"colour\""),
                problem("station.toml:9", "no such platform"),
            ],
        };
        let (printer, _, err) = printer(false, 0);
        printer.error(&error);
        assert!(
            err.text()
                .contains("\n  station.toml:3: unknown key \"colour\"\n  station.toml:9: no such platform\nnext: ")
        );
        assert_eq!(error.exit(), ExitCode::Usage);
    }
}
