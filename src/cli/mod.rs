//! The command line: flags to options, printing, exit codes. One file for each group of commands.
//!
//! It is the only place that reads the environment, talks to a terminal, and puts the parts together. It decides nothing
//! about devices: what it shows comes from [`crate::station`] and from read-only queries of [`crate::store`].
//!
//! | file | what it owns |
//! |---|---|
//! | `args.rs`, `help.rs` | the commands and what `--help` says about them |
//! | `exit.rs`, `error.rs` | how a command can end, and what is said when it ends badly |
//! | `print.rs`, `text.rs`, `table.rs` | the only writers to standard output and standard error |
//! | `environment.rs`, `places.rs`, `harden.rs` | variables, default places of files, no core dumps |
//! | `run.rs`, `events.rs`, `summary.rs`, `presence.rs`, `signals.rs` | the station without a screen |
//! | `check/` | everything that is wrong, before anything is touched |
//! | `devices.rs`, `device.rs`, `release.rs`, `outbox.rs`, `replay.rs`, `backup.rs` | the ledger |
//! | `keys/`, `packet/` | the keys of devices, and those that come from elsewhere |
//! | `small_file.rs` | files that come from elsewhere |
//! | `slots/` | which slot is which port, and what is plugged in where |
//! | `repair/` | what is wrong with a device's keys, and the ways to put it right |
//! | `login.rs`, `prompt.rs`, `cloud.rs` | the token |
//! | `ask/` | the socket of a running station, and whoever asks there |
//! | `engineer.rs` | the PINs of engineers |
//! | `face.rs` | whether a station is shown on the whole screen or told in lines |
//! | `assemble.rs` | a station out of its configuration |
//! | `rig/` | a simulated rack with all that a station on it needs: demo, scenarios, crash tests |
//! | `stage.rs`, `demo.rs`, `sim.rs` | the simulated world, served in real time |
//! | `bench/` | measurements |

mod args;
mod ask;
mod assemble;
mod backup;
mod bench;
mod check;
mod cloud;
mod demo;
mod device;
mod devices;
mod engineer;
mod environment;
mod error;
mod events;
mod exit;
mod face;
mod harden;
mod help;
mod init;
mod keys;
mod login;
mod outbox;
mod packet;
mod places;
mod presence;
mod print;
mod prompt;
mod release;
mod repair;
mod replay;
pub mod rig;
mod run;
mod signals;
mod sim;
mod slots;
mod small_file;
mod stage;
mod summary;
mod table;
mod text;

use std::{path::PathBuf, sync::Arc};

use clap::Parser;

pub use error::CliError;
pub use exit::ExitCode;
pub use print::Printer;

use crate::{config, store::Reader};
use args::{Cli, Command};
use environment::Environment;
use print::Streams;

/// What every command gets: the options that all have, the environment, and the way to print.
pub(crate) struct Context {
    /// The global options.
    pub(crate) globals: args::Globals,
    /// What the environment says.
    pub(crate) environment: Environment,
    /// The only way to print.
    pub(crate) printer: Arc<Printer>,
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    harden::no_core_dumps();
    let environment = Environment::of_process();
    let cli = match Cli::try_parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error, &environment),
    };
    let printer = Arc::new(Printer::new(Streams::process(), &cli.globals, &environment));
    let context = Context {
        globals: cli.globals,
        environment,
        printer,
    };
    finish(
        &context.printer,
        dispatch(cli.command.unwrap_or_else(Command::station), &context),
    )
}

impl Context {
    /// The station as configured; none if there is no configuration and none was named.
    ///
    /// # Errors
    /// Every mistake in the configuration.
    pub(crate) fn station(&self) -> Result<Option<config::Station>, CliError> {
        match places::config(&self.globals, &self.environment) {
            Ok(path) => Ok(Some(config::load(&path)?)),
            Err(CliError::NoConfig { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The directory of everything that the station keeps.
    ///
    /// # Errors
    /// If nothing says where, or the configuration that would say it is wrong.
    pub(crate) fn state(&self) -> Result<PathBuf, CliError> {
        if let Some(named) = &self.globals.state {
            return Ok(named.clone());
        }
        let configured = self.station()?.and_then(|station| station.state);
        places::state(None, configured.as_deref(), &self.environment)
    }

    /// The ledger, for reading, also while a station writes to it.
    ///
    /// # Errors
    /// As [`Context::state`], or the ledger's own.
    pub(crate) fn reader(&self) -> Result<Reader, CliError> {
        Ok(Reader::open(&places::ledger(&self.state()?))?)
    }
}

fn dispatch(command: Command, context: &Context) -> Result<ExitCode, CliError> {
    match command {
        Command::Run(args) => run::run(&args, context),
        Command::Ask(args) => ask::run(&args, context),
        Command::Init(args) => init::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Engineer(args) => engineer::run(&args, context),
        Command::Devices(args) => devices::run(&args, context),
        Command::Device(args) => device::run(&args, context),
        Command::Keys(args) => keys::run(&args, context),
        Command::Release(args) => release::run(&args, context),
        Command::Repair(args) => repair::run(&args, context),
        Command::Outbox(args) => outbox::run(&args, context),
        Command::Packet(args) => packet::run(&args, context),
        Command::Replay(args) => replay::run(&args, context),
        Command::Slots(args) => slots::run(&args, context),
        Command::Backup(args) => backup::run(&args, context),
        Command::Login(args) => login::run(&args, context),
        Command::Logout(args) => login::logout(&args, context),
        Command::Demo(args) => demo::run(&args, context),
        Command::Sim(args) => sim::run(&args, context),
        Command::Bench(args) => bench::run(&args, context),
    }
}

/// Says why a command failed, if it did, and whether all that was printed arrived.
fn finish(printer: &Printer, end: Result<ExitCode, CliError>) -> ExitCode {
    let code = end.unwrap_or_else(|error| {
        printer.error(&error);
        error.exit()
    });
    match printer.flush() {
        Ok(()) => code,
        Err(error) => {
            let error = CliError::Output(error);
            printer.error(&error);
            error.exit()
        }
    }
}

/// The arguments were not understood, or `--help` or `--version` was asked for.
fn unparsed(error: &clap::Error, environment: &Environment) -> ExitCode {
    let printer = Printer::new(Streams::process(), &args::Globals::default(), environment);
    let text = if printer.colors(error.use_stderr()) {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    printer.rendered(&text, error.use_stderr());
    let code = if error.use_stderr() {
        ExitCode::Usage
    } else {
        ExitCode::Passed
    };
    finish(&printer, Ok(code))
}
