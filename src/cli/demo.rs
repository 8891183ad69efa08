//! `keyrack demo`: the main job on a simulated rack, and the proof that it came out as it must.

use std::path::PathBuf;

use clap::Args;

use super::{
    Context,
    assemble::{self, Overrides},
    error::CliError,
    exit::ExitCode,
    face::Face,
    help,
    print::{Paint, Text},
    rig::Options,
    run::{self, Until},
    stage::Stage,
};
use crate::{
    model::Verdict,
    sim::world::{hubs::Topology, scenario::Scenario},
    store::Reader,
};

/// Provision a simulated rack with a stand-in cloud
///
/// Nothing real is touched, and nothing has to be configured: devices are simulated at wire level, in real time, and the
/// cloud is a stand-in on this machine. In a terminal the rack is shown on the whole screen, until you quit (F10). At the
/// end the simulated world is compared with what the scenario says must come out.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack demo", "provisions eight simulated devices; nothing real is touched"),
        ("keyrack demo --headless", "the same, told in lines; it ends with the last verdict"),
        ("keyrack demo --slots 16 --json", "sixteen of them, with one event a line"),
        ("keyrack demo --keep /tmp/demo", "leaves ledger, key stores and cloud for a look"),
    ],
    &[ExitCode::Passed, ExitCode::Failed, ExitCode::Usage, ExitCode::Fault, ExitCode::Ledger, ExitCode::Interrupted, ExitCode::Internal],
))]
pub(super) struct DemoArgs {
    /// How many slots the rack has; the eight devices of the scenario are repeated
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=120))]
    slots: u16,
    /// Real firmware modules in place of generated ones, where this folder has any that go together
    #[arg(long, value_name = "DIR")]
    firmware: Option<PathBuf>,
    /// Decides everything that is random in the simulated devices
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Tell what happens in lines, also in a terminal
    #[arg(long)]
    headless: bool,
    /// Leave the simulated world for a look: it holds simulated secrets; the folder is made for you alone
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(super) fn run(args: &DemoArgs, context: &Context) -> Result<ExitCode, CliError> {
    let scenario = rack(args.slots, args.seed, Topology::default())?;
    let count = u32::from(args.slots);
    let (folder, _temporary) = match &args.keep {
        Some(folder) => (folder.clone(), None),
        None => {
            let temporary = tempfile::Builder::new().prefix("keyrack-demo-").tempdir();
            let temporary = temporary.map_err(|source| CliError::File {
                doing: "make",
                path: std::env::temp_dir(),
                source,
            })?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let options = Options {
        real_firmware: args.firmware.clone(),
        ..Options::default()
    };
    let stage = Stage::set(&folder, scenario, &options, true, 0)?;
    for note in &stage.rig.notes {
        context.printer.note(note.clone());
    }
    let overrides = Overrides {
        world: Some(stage.socket()),
        ..Overrides::default()
    };
    let mut parts = assemble::station(&stage.config(), &overrides, context)?;
    // One device in eight fails on purpose: a large rack would stop its own line.
    parts.setting.rules.stop_after = None;
    let ledger = parts.store.dir().to_owned();
    let face = Face::wanted(args.headless, context);
    // On the screen somebody looks at what came out, and ends it.
    let until = match face {
        Face::Lines => Until::Verdicts(count),
        Face::Screen(_) => Until::Stopped,
    };
    let worked = run::work(parts, until, face, context)?;
    if args.keep.is_some() {
        stage.leave()?;
    }
    if worked.numbers.exit() == ExitCode::Interrupted || worked.judged < count as usize {
        return Ok(ExitCode::Interrupted);
    }
    let differences = stage.rig.judge(&Reader::open(&ledger)?)?;
    if differences.is_empty() {
        let told = format!("the simulated world is as the scenario says, for all {count} devices");
        context.printer.note(Text::new().paint(Paint::of(Verdict::Pass), told));
        return Ok(ExitCode::Passed);
    }
    for difference in &differences {
        context
            .printer
            .note(Text::new().paint(Paint::of(Verdict::Fail), "differs: ").then(difference));
    }
    Err(CliError::World {
        found: differences.len(),
    })
}

/// The demo's scenario for so many slots: its devices repeated, each with an id of its own.
pub(super) fn rack(slots: u16, seed: Option<u64>, topology: Topology) -> Result<Scenario, CliError> {
    let mut scenario: toml::Table = DEMO.parse().expect("the demo's scenario is TOML: a test says so");
    if let Some(seed) = seed.and_then(|seed| i64::try_from(seed).ok()) {
        scenario.insert("seed".to_owned(), seed.into());
    }
    for (name, key) in [("slot", "number"), ("expect", "slot"), ("mishap", "slot")] {
        let Some(toml::Value::Array(rows)) = scenario.get(name) else {
            continue;
        };
        let mut repeated = Vec::new();
        for slot in 1..=i64::from(slots) {
            let original = (slot - 1) % ROWS + 1;
            for row in rows.iter().filter_map(toml::Value::as_table) {
                if row.get(key).and_then(toml::Value::as_integer) == Some(original) {
                    let mut row = row.clone();
                    row.insert(key.to_owned(), slot.into());
                    if slot > ROWS {
                        row.remove("serial");
                    }
                    repeated.push(toml::Value::Table(row));
                }
            }
        }
        scenario.insert(name.to_owned(), toml::Value::Array(repeated));
    }
    Ok(Scenario::parse_on(&scenario.to_string(), topology)?)
}

const DEMO: &str = include_str!("../../fixtures/scenarios/demo.toml");
/// The scenario's own slots.
const ROWS: i64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_slots_makes_a_rack() {
        for slots in [1, 8, 9, 64, 120] {
            let scenario = rack(slots, Some(7), Topology::default()).unwrap();
            assert_eq!(scenario.slots.len(), usize::from(slots));
            assert_eq!(scenario.expect.len(), usize::from(slots));
        }
    }
}
