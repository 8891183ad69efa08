//! One rack in real time: the world and the stand-in cloud in this process, the station in another one, so that what the
//! station takes can be told from what the simulation takes.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

use super::{super::stage::Stage, file};
use crate::{
    cli::{error::CliError, rig::Options},
    edge::{Clock, clock::SystemClock},
    model::{Fact, RunId, StepKind, Verdict, Wall},
    sim::{device::Timing, world::scenario::Scenario},
    store::Reader,
};

/// A rack to run.
pub(super) struct Session<'a> {
    /// How many devices, all alike.
    pub(super) slots: u16,
    /// How long they take.
    pub(super) timing: Timing,
    /// The folder with the firmware.
    pub(super) firmware: &'a Path,
    /// A directory for it alone.
    pub(super) folder: &'a Path,
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// From the first start of a run to the last verdict.
    pub(super) run: Duration,
    /// From the first start of a flash step to the end of the last one.
    pub(super) flash: Duration,
    /// The most memory that the station held, in KiB.
    pub(super) rss_kib: u64,
    /// Processor time of the station over its life, as a share of one core.
    pub(super) cpu: f64,
    /// The same of the simulated world and its cloud, as a share of one core.
    pub(super) world_cpu: f64,
    /// How long each fact waited for the disk, in microseconds, sorted.
    pub(super) waits: Vec<u64>,
}

impl Session<'_> {
    /// Runs the rack to its end. `prepare` is given the stage before the station starts.
    ///
    /// # Errors
    /// If it cannot be run, or does not come out as it must: then nothing was measured.
    pub(super) fn run(&self, prepare: impl FnOnce(&Stage)) -> Result<Measured, CliError> {
        let options = Options {
            real_firmware: Some(self.firmware.to_owned()),
            timing: Some(self.timing.clone()),
            ..Options::default()
        };
        let stage = Stage::set(self.folder, scenario(self.slots)?, &options, true, 0)?;
        prepare(&stage);
        let measured = self.station(&stage)?;
        let differences = stage.rig.judge(&Reader::open(&self.folder.join("state/ledger"))?)?;
        match differences.len() {
            0 => Ok(measured),
            found => Err(CliError::World { found }),
        }
    }

    fn station(&self, stage: &Stage) -> Result<Measured, CliError> {
        let clock = SystemClock::new();
        let program = std::env::current_exe().map_err(file("find", Path::new("keyrack")))?;
        let mut command = Command::new(&program);
        command
            .args(["run", "--headless", "--json", "--verbose", "--config"])
            .arg(stage.config())
            .arg("--world")
            .arg(stage.socket())
            .args(["--devices", &self.slots.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let (began, world_before) = (clock.now(), processor_time("self"));
        let mut child = command.spawn().map_err(file("start", &program))?;
        let process = child.id().to_string();
        let mut told = Told::default();
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).lines() {
                let line = line.map_err(file("read the output of", &program))?;
                if told.line(&line) {
                    // Peaks do not fall, and a process that has ended tells none.
                    told.measured.rss_kib = told.measured.rss_kib.max(peak_memory(&process));
                }
            }
        }
        // It has closed its output and was not waited for yet: its times are complete enough, and still there.
        let took = clock.now().since(began).as_secs_f64();
        let mut measured = told.measured;
        measured.cpu = processor_time(&process).as_secs_f64() / took;
        measured.world_cpu = processor_time("self").saturating_sub(world_before).as_secs_f64() / took;
        child.wait().map_err(file("wait for", &program))?;
        measured.run = between(told.first_run, told.last_verdict);
        measured.flash = between(told.first_flash, told.last_flash);
        measured.waits.sort_unstable();
        Ok(measured)
    }
}

/// What the station has said so far.
#[derive(Default)]
struct Told {
    measured: Measured,
    plans: BTreeMap<RunId, Vec<StepKind>>,
    first_run: Option<Wall>,
    last_verdict: Option<Wall>,
    first_flash: Option<Wall>,
    last_flash: Option<Wall>,
}

/// The parts of its lines that matter here.
#[derive(Deserialize)]
struct Line {
    event: String,
    at: Option<Wall>,
    fact: Option<Fact>,
    facts: Option<usize>,
    waited_us: Option<u64>,
}

impl Told {
    /// Takes in a line; true if it was a verdict.
    fn line(&mut self, text: &str) -> bool {
        let Ok(line) = serde_json::from_str::<Line>(text) else {
            return false;
        };
        let ended = matches!(line.fact, Some(Fact::RunEnded { .. }));
        match (line.event.as_str(), line.fact, line.facts, line.waited_us) {
            ("fact", Some(fact), ..) => self.fact(line.at, fact),
            ("durable", _, Some(facts), Some(waited)) => {
                self.measured.waits.extend(std::iter::repeat_n(waited, facts));
            }
            _ => {}
        }
        ended
    }

    fn fact(&mut self, at: Option<Wall>, fact: Fact) {
        match fact {
            Fact::RunStarted { run, plan, .. } => {
                self.first_run = self.first_run.or(at);
                self.plans.insert(run, plan);
            }
            Fact::RunEnded { .. } => self.last_verdict = at,
            Fact::StepStarted { run, step, .. } if self.is_flash(run, step) => self.first_flash = self.first_flash.or(at),
            Fact::StepEnded { run, step, .. } if self.is_flash(run, step) => self.last_flash = at,
            _ => {}
        }
    }

    fn is_flash(&self, run: RunId, step: u8) -> bool {
        let kind = self.plans.get(&run).and_then(|plan| plan.get(usize::from(step)));
        matches!(kind, Some(StepKind::Flash { .. }))
    }
}

/// A rack of Argons of today, as they come from the factory, in the product already.
pub(super) fn scenario(slots: u16) -> Result<Scenario, CliError> {
    use std::fmt::Write as _;
    let mut text = String::from("about = \"A rack of Argons, all alike.\"\nseed = 1\n");
    for slot in 1..=slots {
        let _ = write!(
            text,
            "\n[[slot]]\nnumber = {slot}\nplatform = \"argon\"\nimported = true\n\
             \n[[expect]]\nslot = {slot}\nverdict = \"{}\"\nkey = \"same\"\nuploads = 1\n",
            Verdict::Pass.word()
        );
    }
    Ok(Scenario::parse(&text)?)
}

fn between(from: Option<Wall>, to: Option<Wall>) -> Duration {
    let millis = from.zip(to).map_or(0, |(from, to)| to.millis() - from.millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The most memory that a process has held, in KiB; 0 if it is gone (proc_pid_status(5): VmHWM).
fn peak_memory(process: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The processor time of a process, all threads, ended ones included (proc_pid_stat(5): utime and stime).
pub(super) fn processor_time(process: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the program comes before and may hold anything but is closed by the last parenthesis.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields
        .skip(UTIME - 3)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Its number among the fields of /proc/PID/stat, from 1; stime follows it.
const UTIME: usize = 14;
/// Ticks a second in /proc: USER_HZ, the same on every Linux.
const TICKS: u64 = 100;

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}
