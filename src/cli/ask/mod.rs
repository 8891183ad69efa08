//! `keyrack ask`: what a person can ask of the station that is running, from another terminal or a script: everything that
//! the screen can ask. What becomes of it the station decides.

mod client;
pub(super) mod desk;
mod wire;

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, device, error::CliError, exit::ExitCode, help, print::Paint, print::Text, prompt::Prompt};
use crate::{
    config,
    model::{
        DeviceId, SlotNo,
        scan::{Patterns, Scanned, is_serial},
    },
};
use wire::{Request, Status};

/// Ask the station that is running
///
/// What is asked for is decided by the station, as if it had been asked for on its screen: what only engineers may do needs
/// `keyrack ask engineer` first, and whatever is decided is on record. The station answers in words; it ends with 2 where it
/// refuses.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack ask status --json", "who is there, what is worked on, whether the line is stopped, every slot"),
        ("keyrack ask operator eva && keyrack ask work-order WO-17 --quantity 500", "a shift begins"),
        ("keyrack ask scan --slot 3 < /dev/ttyACM0", "what a scanner reads: a badge, a work order, the label of slot 3"),
        ("keyrack ask engineer < pin && keyrack ask release-line --why \"recipe corrected\"", "new runs begin again"),
    ],
    ENDS,
))]
pub(super) struct AskArgs {
    /// What is asked.
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Who is there, what is worked on, whether the line is stopped, and every slot
    #[command(after_long_help = help::after(&[("keyrack ask status", "the station in lines")], ENDS))]
    Status,
    /// Say who is at the station; without a name nobody is
    #[command(after_long_help = help::after(&[("keyrack ask operator eva", "eva is at the station")], ENDS))]
    Operator {
        /// The name; not an e-mail address
        name: Option<String>,
    },
    /// Say what is worked on; without an order nothing that was ordered
    #[command(after_long_help = help::after(
        &[("keyrack ask work-order WO-17 --quantity 500", "the order and how many devices it wants")],
        ENDS,
    ))]
    WorkOrder {
        /// Its number or name
        id: Option<String>,
        /// How many devices are ordered [default: as it was recorded before]
        #[arg(long, value_name = "N", requires = "id", value_parser = clap::value_parser!(u32).range(1..))]
        quantity: Option<u32>,
    },
    /// Take what a scanner reads from standard input, line by line: badges, work orders, labels
    #[command(after_long_help = help::after(
        &[("echo OP-eva | keyrack ask scan", "the same as `keyrack ask operator eva`; patterns are in station.toml")],
        ENDS,
    ))]
    Scan {
        /// The slot whose device the labels are compared with
        #[arg(long, value_name = "SLOT", value_parser = clap::value_parser!(u16).range(1..))]
        slot: Option<u16>,
    },
    /// Give an engineer's PIN: it is asked for, or read from standard input as `NAME PIN`
    #[command(after_long_help = help::after(&[("keyrack ask engineer", "asks for name and PIN")], ENDS))]
    Engineer,
    /// Close again what only engineers may do
    #[command(after_long_help = help::after(&[("keyrack ask no-engineer", "the engineer goes")], ENDS))]
    NoEngineer,
    /// Let new runs begin again after equal failures stopped the line
    #[command(after_long_help = help::after(
        &[("keyrack ask release-line --why \"a batch without keys; recipe corrected\"", "the devices that wait begin")],
        ENDS,
    ))]
    ReleaseLine {
        /// Why, in words
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Let a device that ended QUARANTINED run again
    #[command(after_long_help = help::after(
        &[("keyrack ask release 3f9a1c --why \"connected by hand, key agreed\"", "the device by the end of its id")],
        ENDS,
    ))]
    Release {
        /// Id, serial number, ICCID or IMEI, or the end of the id
        device: String,
        /// Why, in words
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Make the next run of a device a repair: at once where it is in a slot, else when it is plugged in
    #[command(after_long_help = help::after(&[("keyrack ask repair 3f9a1c", "the device by the end of its id")], ENDS))]
    Repair {
        /// Id, serial number, ICCID or IMEI, or the end of the id
        device: String,
    },
    /// Put new runs of a platform under another recipe of station.toml, and with it another product or firmware
    #[command(after_long_help = help::after(
        &[("keyrack ask use-recipe boron-old --why \"the customer's order\"", "a recipe with `standby = true`, or the usual one again")],
        ENDS,
    ))]
    UseRecipe {
        /// Its name
        name: String,
        /// Why, in words
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Leave a step of the run in a slot out that has not begun: setting the server key, joining the network, check or
    /// proof; the run cannot end PASS then
    #[command(after_long_help = help::after(
        &[("keyrack ask leave-out 3 12 --why \"no network at the bench today\"", "step 12 of the run in slot 3")],
        ENDS,
    ))]
    LeaveOut {
        /// The slot
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        slot: u16,
        /// The number of the step in the plan, as the screen shows it
        #[arg(value_parser = clap::value_parser!(u8).range(1..))]
        step: u8,
        /// Why, in words
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Send what is owed now, where nothing but the station's own patience holds it back
    #[command(after_long_help = help::after(&[("keyrack ask retry", "sends again")], ENDS))]
    Retry,
    /// Stop the run in a slot at its next safe point
    #[command(after_long_help = help::after(&[("keyrack ask abort 3", "the run in slot 3 ends ABORTED")], ENDS))]
    Abort {
        /// The slot
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        slot: u16,
    },
    /// Begin no new run, and end when those under way are judged
    #[command(after_long_help = help::after(&[("keyrack ask finish", "the end of a shift")], ENDS))]
    Finish,
    /// End at the next safe points; runs go on at the next start
    #[command(after_long_help = help::after(&[("keyrack ask quit", "as a signal does")], ENDS))]
    Quit,
}

#[derive(Serialize)]
struct ToldEvent<'a> {
    event: &'static str,
    done: bool,
    text: &'a str,
}

pub(super) fn run(args: &AskArgs, context: &Context) -> Result<ExitCode, CliError> {
    let find = |text: &str| device::find(&context.reader()?, text);
    match &args.what {
        What::Status => {
            print_status(&client::status(context)?, context);
            Ok(ExitCode::Passed)
        }
        What::Scan { slot } => scan(slot.map(SlotNo), context),
        What::Engineer => engineer(context),
        what => match request(what, &find)? {
            Some(request) => told(&request, context),
            None => Ok(ExitCode::Usage),
        },
    }
}

/// What is asked of the station by one request, with a way to find a device; none for what takes more than one.
fn request(what: &What, find: &dyn Fn(&str) -> Result<DeviceId, CliError>) -> Result<Option<Request>, CliError> {
    Ok(Some(match what {
        What::Status | What::Scan { .. } | What::Engineer => return Ok(None),
        What::Operator { name } => Request::Operator { name: name.clone() },
        What::WorkOrder { id, quantity } => Request::WorkOrder {
            id: id.clone(),
            quantity: *quantity,
        },
        What::NoEngineer => Request::NoEngineer {},
        What::ReleaseLine { why } => Request::ReleaseLine { why: why.clone() },
        What::Release { device, why } => Request::Release {
            device: find(device)?,
            why: why.clone(),
        },
        What::Repair { device } => Request::Repair { device: find(device)? },
        What::UseRecipe { name, why } => Request::UseRecipe {
            name: name.clone(),
            why: why.clone(),
        },
        What::LeaveOut { slot, step, why } => Request::LeaveOut {
            slot: SlotNo(*slot),
            step: *step,
            why: why.clone(),
        },
        What::Retry => Request::Retry {},
        What::Abort { slot } => Request::Abort { slot: SlotNo(*slot) },
        What::Finish => Request::Finish {},
        What::Quit => Request::Quit {},
    }))
}

/// Tells the station of this state, if one runs, that PINs were set or taken away.
pub(super) fn pins_set(context: &Context) {
    // A station that does not hear it looks by itself before it decides what only engineers may ask for.
    let _ = client::ask(&Request::PinsSet {}, None, context);
}

/// Asks, and says what came of it.
fn told(request: &Request, context: &Context) -> Result<ExitCode, CliError> {
    let told = client::ask(request, None, context)?;
    Ok(say(told.done, &told.text, context))
}

fn say(done: bool, text: &str, context: &Context) -> ExitCode {
    let printer = &context.printer;
    if printer.is_json() {
        printer.object(&ToldEvent {
            event: "told",
            done,
            text,
        });
    } else {
        let paint = if done { Paint::Good } else { Paint::Warn };
        printer.line(Text::new().paint(paint, text));
    }
    if done { ExitCode::Passed } else { ExitCode::Usage }
}

/// Each line of standard input is one scan. What a label holds beside the serial number does not leave this function.
fn scan(slot: Option<SlotNo>, context: &Context) -> Result<ExitCode, CliError> {
    let patterns = context
        .station()?
        .map_or_else(Patterns::default, |station: config::Station| station.house.patterns);
    let prompt = Prompt::new(&context.printer)?;
    let mut exit = ExitCode::Passed;
    while let Some(line) = prompt.next_secret()? {
        let request = match (patterns.read(line.expose()), slot) {
            (Scanned::Badge(name), _) => Request::Operator { name: Some(name) },
            (Scanned::Order { id, quantity }, _) => Request::WorkOrder { id: Some(id), quantity },
            (Scanned::Label { serial }, Some(slot)) => Request::Label { slot, serial },
            (Scanned::Text(serial), Some(slot)) if is_serial(&serial) => Request::Label { slot, serial },
            (Scanned::Label { .. }, None) => {
                exit = say(
                    false,
                    "a label is compared with the device in a slot: name it with --slot",
                    context,
                );
                continue;
            }
            (Scanned::Text(_), _) => {
                exit = say(
                    false,
                    "neither a badge nor a work order nor a label; `keyrack device` looks for devices",
                    context,
                );
                continue;
            }
        };
        exit = exit.max(told(&request, context)?);
    }
    Ok(exit)
}

fn engineer(context: &Context) -> Result<ExitCode, CliError> {
    let prompt = Prompt::new(&context.printer)?;
    let text = prompt.secret("name, a space and PIN: ")?;
    drop(prompt);
    let told = client::ask(&Request::Pin {}, Some(&text), context)?;
    Ok(say(told.done, &told.text, context))
}

fn print_status(status: &Status, context: &Context) {
    let printer = &context.printer;
    if printer.is_json() {
        return printer.object(status);
    }
    let order = status
        .work_order
        .as_ref()
        .map(|order| format!("{}, {} ordered", order.id, order.quantity));
    printer.line(format!(
        "operator {}; work order {}; {} owed to the cloud",
        status.operator.as_deref().unwrap_or("-"),
        order.as_deref().unwrap_or("-"),
        status.owed
    ));
    if let Some(stopped) = &status.stopped {
        printer.line(
            Text::new()
                .paint(Paint::Bad, &stopped.what)
                .then(format!("; next: {}", stopped.next)),
        );
    }
    if let Some(name) = &status.engineer {
        printer.line(Text::new().paint(Paint::Warn, format!("engineer {name}")));
    }
    for recipe in status.recipes.iter().filter(|recipe| recipe.counts) {
        let product = recipe.product.as_ref().map(|product| format!(", product {product}"));
        printer.line(format!(
            "{}: recipe {}{}",
            recipe.platform,
            recipe.name,
            product.unwrap_or_default()
        ));
    }
    let words: BTreeSet<&str> = status.slots.iter().map(|slot| slot.state.as_str()).collect();
    let width = words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
    for slot in &status.slots {
        let device = slot.device.map(|device| device.to_string()).unwrap_or_default();
        let code = slot
            .code
            .map(|code| format!(" {code}: {}", code.next_action()))
            .unwrap_or_default();
        printer.line(format!("slot {:>3}  {:<width$}  {device}{code}", slot.slot.0, slot.state));
    }
}

const ENDS: &[ExitCode] = &[
    ExitCode::Passed,
    ExitCode::Usage,
    ExitCode::Fault,
    ExitCode::Ledger,
    ExitCode::Interrupted,
];

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        model::{DeviceId, Secret},
        rack::Command,
        tui::{
            Asked, Pin,
            keymap::{Act, TABLE},
        },
    };

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        what: What,
    }

    /// What an act of the screen can come to beyond the screen itself, or what it only shows.
    enum Comes {
        /// It is a matter of view.
        View,
        /// It asks for these, each with the words of `keyrack ask` for the same.
        Asks(Vec<(Asked, &'static str)>),
        /// It is the pace of a replay, which has no station; `keyrack replay` prints what the screen would show.
        Replay,
    }

    fn comes(act: Act) -> Comes {
        let station = |command, words| (Asked::Station(command), words);
        let device = DeviceId::from_bytes([7; 12]);
        let why = || "looked".to_owned();
        match act {
            Act::Help
            | Act::Floor
            | Act::Slot
            | Act::Log
            | Act::Device
            | Act::Outbox
            | Act::Yield
            | Act::Recipes
            | Act::Cancel
            | Act::Repaint
            | Act::Bell
            | Act::Up
            | Act::Down
            | Act::Left
            | Act::Right
            | Act::PageUp
            | Act::PageDown
            | Act::First
            | Act::Last => Comes::View,
            Act::Pause | Act::Jump | Act::Faster | Act::Slower => Comes::Replay,
            Act::Abort => Comes::Asks(vec![station(Command::Abort(SlotNo(3)), "abort 3")]),
            Act::Finish => Comes::Asks(vec![station(Command::Finish, "finish")]),
            Act::Quit => Comes::Asks(vec![station(Command::Quit, "quit")]),
            Act::Engineer => Comes::Asks(vec![
                (Asked::Pin(Pin(Secret::new("eva 271828".to_owned()))), "engineer"),
                station(Command::EngineerLeaves, "no-engineer"),
            ]),
            Act::Go => Comes::Asks(vec![
                station(Command::ReleaseLine { why: why() }, "release-line --why looked"),
                station(Command::Release { device, why: why() }, "release 070707 --why looked"),
                station(Command::Repair(device), "repair 070707"),
                station(Command::Retry, "retry"),
                station(
                    Command::UseRecipe {
                        name: "other".to_owned(),
                        why: why(),
                    },
                    "use-recipe other --why looked",
                ),
                station(
                    Command::LeaveOut {
                        slot: SlotNo(3),
                        step: 12,
                        why: why(),
                    },
                    "leave-out 3 12 --why looked",
                ),
            ]),
        }
    }

    #[test]
    fn what_the_screen_can_ask_can_be_asked_from_outside() {
        let found = |_: &str| Ok(DeviceId::from_bytes([7; 12]));
        for row in TABLE {
            let Comes::Asks(asks) = comes(row.act) else { continue };
            for (asked, words) in asks {
                let line =
                    Line::try_parse_from(["ask"].into_iter().chain(words.split(' '))).unwrap_or_else(|e| panic!("{words}: {e}"));
                match (asked, line.what) {
                    (Asked::Station(command), what) => {
                        let request = request(&what, &found).unwrap().expect(words);
                        assert_eq!(request, twin(&command), "{words}");
                        assert_eq!(request.command(), Some(command), "{words}");
                    }
                    (Asked::Pin(_), what) => assert!(matches!(what, What::Engineer)),
                    (Asked::Replay(_), _) => panic!("a station has no pace"),
                }
            }
        }
    }

    /// The request for the same as a command: each command has one, and a new one does not compile without.
    fn twin(command: &Command) -> Request {
        match command.clone() {
            Command::Abort(slot) => Request::Abort { slot },
            Command::Finish => Request::Finish {},
            Command::Quit => Request::Quit {},
            // A token that was renewed is tried when what is owed is sent again.
            Command::TokenRenewed | Command::Retry => Request::Retry {},
            Command::Operator(name) => Request::Operator { name },
            Command::WorkOrder(order) => Request::WorkOrder {
                quantity: order.as_ref().and_then(|order| order.quantity),
                id: order.map(|order| order.id),
            },
            Command::Label { slot, serial } => Request::Label { slot, serial },
            Command::EngineerLeaves => Request::NoEngineer {},
            Command::ReleaseLine { why } => Request::ReleaseLine { why },
            Command::Release { device, why } => Request::Release { device, why },
            Command::Repair(device) => Request::Repair { device },
            Command::UseRecipe { name, why } => Request::UseRecipe { name, why },
            Command::LeaveOut { slot, step, why } => Request::LeaveOut { slot, step, why },
            Command::PinsSet => Request::PinsSet {},
        }
    }
}
