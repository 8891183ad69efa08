//! `keyrack engineer`: who may do what operators may not, each by a PIN.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, ask, assemble, error::CliError, exit::ExitCode, help, places, print::Text, prompt::Prompt};
use crate::{
    config,
    edge::{Entropy, entropy::SystemEntropy},
    keys::pin::{PinHash, SALT_LEN},
    store::EngineersFile,
};

/// Who is an engineer: names and PINs
///
/// An operator runs devices; only an engineer may release a stopped line or a QUARANTINED device, or start a repair at a
/// running station. A PIN is kept as a salted scrypt hash in a file that only the station's user can read. As long as there
/// is no PIN, everybody is an engineer. A PIN counts for a quarter of an hour (`[engineer]` in station.toml); after three
/// wrong ones each further one has to wait longer. What is set or taken away counts at once, also for a station that runs.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack engineer add eva", "asks for her PIN, twice"),
        ("keyrack engineer add eva < pin", "the PIN from a file"),
        ("keyrack engineer list", "the names"),
    ],
    ENDS,
))]
pub(super) struct EngineerArgs {
    /// What to do.
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Set the PIN of an engineer, or another one: 6 to 64 characters without a space
    #[command(after_long_help = help::after(&[("keyrack engineer add eva", "asks for her PIN, twice")], ENDS))]
    Add {
        /// The name, as it comes on record; not an e-mail address
        name: String,
    },
    /// Take the PIN of an engineer away
    #[command(after_long_help = help::after(&[("keyrack engineer remove eva", "she is no engineer any more")], ENDS))]
    Remove {
        /// The name
        name: String,
    },
    /// Say who has a PIN
    #[command(after_long_help = help::after(&[("keyrack engineer list --json", "one object a line")], ENDS))]
    List,
}

#[derive(Serialize)]
struct EngineerEvent<'a> {
    event: &'static str,
    name: &'a str,
}

pub(super) fn run(args: &EngineerArgs, context: &Context) -> Result<ExitCode, CliError> {
    let config = config::load(&places::config(&context.globals, &context.environment)?)?;
    let file = assemble::engineers(&config, &context.state()?);
    let mut all = file.read()?;
    match &args.what {
        What::Add { name } => {
            let name = fit(name)?;
            let hash = new_pin(context)?;
            all.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            all.push((name.to_owned(), hash));
            write(&file, &all, context)?;
            say("engineer-added", name, context);
        }
        What::Remove { name } => {
            let before = all.len();
            all.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            if all.len() == before {
                return Err(CliError::Missing {
                    what: "no engineer has this name",
                    next: "`keyrack engineer list` says who has a PIN",
                });
            }
            write(&file, &all, context)?;
            say("engineer-removed", name, context);
        }
        What::List => {
            all.iter().for_each(|(name, _)| say("engineer", name, context));
            if all.is_empty() && !context.printer.is_json() {
                context.printer.line("there is no PIN: everybody is an engineer");
            }
        }
    }
    Ok(ExitCode::Passed)
}

fn write(file: &EngineersFile, all: &[(String, String)], context: &Context) -> Result<(), CliError> {
    file.write(all)?;
    ask::pins_set(context);
    Ok(())
}

fn say(event: &'static str, name: &str, context: &Context) {
    let printer = &context.printer;
    if printer.is_json() {
        return printer.object(&EngineerEvent { event, name });
    }
    printer.line(Text::new().then(match event {
        "engineer-added" => format!("{name} has a PIN"),
        "engineer-removed" => format!("{name} has no PIN any more"),
        _ => name.to_owned(),
    }));
}

/// A name that can stand on a line of the file and in a record.
fn fit(name: &str) -> Result<&str, CliError> {
    let fine = !name.trim().is_empty() && name.chars().count() <= 64 && !name.chars().any(|c| c.is_control() || c == '@');
    if fine {
        return Ok(name.trim());
    }
    Err(CliError::Missing {
        what: "this is no name for records: 1 to 64 characters on one line, and no e-mail address",
        next: "use a name",
    })
}

fn new_pin(context: &Context) -> Result<String, CliError> {
    let prompt = Prompt::new(&context.printer)?;
    let pin = prompt.secret("new PIN: ")?;
    if prompt.is_terminal() && prompt.secret("the same PIN again: ")?.expose() != pin.expose() {
        return Err(CliError::Missing {
            what: "the two are not the same",
            next: "try again",
        });
    }
    let mut salt = [0; SALT_LEN];
    SystemEntropy.fill(&mut salt);
    match PinHash::new(pin.expose(), salt) {
        Ok(hash) => Ok(hash.to_string()),
        Err(_) => Err(CliError::Missing {
            what: "a PIN has 6 to 64 characters and no space",
            next: "choose another one",
        }),
    }
}

const ENDS: &[ExitCode] = &[ExitCode::Passed, ExitCode::Usage, ExitCode::Ledger, ExitCode::Interrupted];
