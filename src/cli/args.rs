//! The commands and the options that all of them have. What a command does is in its own file, with its options.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::{
    ask, backup, bench, check, demo, device, devices, engineer, exit::ExitCode, help, init, keys, login, outbox, packet, release,
    repair, replay, run, sim, slots,
};

/// keyrack: a provisioning station for a rack of Particle devices
///
/// It flashes firmware, reads or makes device keys, keeps the public keys in a local ledger, and registers devices and
/// keys with the cloud. In a terminal `run` and `demo` show the rack on the whole screen. Results go to standard output,
/// everything else to standard error.
#[derive(Debug, Parser)]
#[command(
    name = "keyrack",
    version,
    about,
    propagate_version = true,
    after_long_help = help::after(
        &[
            ("keyrack demo", "shows all of it on a simulated rack; nothing real is touched"),
            ("keyrack", "provisions every device that is plugged in, and shows the rack; the same as `keyrack run`"),
            ("keyrack check && keyrack run --headless", "the same without a screen"),
        ],
        &ExitCode::ALL,
    )
)]
pub(super) struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub(super) globals: Globals,
    /// What to do; without it the station runs, as with `run`.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Options of all commands.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Globals {
    /// Print results as JSON, one object a line
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// The station's configuration [default: ./station.toml, then ~/.config/keyrack, then /etc/keyrack]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// Where the station keeps what it must not lose [default: as configured, else ~/.local/state/keyrack]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) state: Option<PathBuf>,
    /// When to use colours; NO_COLOR turns them off, too
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        help_heading = "Global options"
    )]
    pub(crate) color: ColorChoice,
    /// Say more: every fact, every state of a slot, how far a long task is
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// What keyrack can do. What `--help` says about a command is written at its options.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Run(run::RunArgs),
    Ask(ask::AskArgs),
    Init(init::InitArgs),
    Check(check::CheckArgs),
    Slots(slots::SlotsArgs),
    Engineer(engineer::EngineerArgs),
    Devices(devices::DevicesArgs),
    Device(device::DeviceArgs),
    Keys(keys::KeysArgs),
    Release(release::ReleaseArgs),
    Repair(repair::RepairArgs),
    Outbox(outbox::OutboxArgs),
    Packet(packet::PacketArgs),
    Replay(replay::ReplayArgs),
    Backup(backup::BackupArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Demo(demo::DemoArgs),
    Sim(sim::SimArgs),
    /// Measure what this program promises
    #[command(hide = true)]
    Bench(bench::BenchArgs),
}

impl Command {
    /// What is done when nothing is said.
    pub(super) fn station() -> Self {
        Self::Run(run::RunArgs::default())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_parser_is_consistent_and_every_command_has_examples_and_exit_codes() {
        Cli::command().debug_assert();
        let mut seen = 0;
        every(&Cli::command(), &mut |command| {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
            assert!(
                help.contains("Exit codes:\n   0  "),
                "{} has no exit codes",
                command.get_name()
            );
            assert!(help.contains(&format!("keyrack{}", if command.get_name() == "keyrack" { "" } else { " " })));
            seen += 1;
        });
        assert!(seen >= 13, "{seen}");
    }

    fn every(command: &clap::Command, look: &mut dyn FnMut(&clap::Command)) {
        look(command);
        command.get_subcommands().for_each(|inner| every(inner, look));
    }
}
