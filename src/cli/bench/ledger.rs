//! The ledger: commits in a row, and start and look-up with many devices in it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use clap::Args;

use super::{
    super::{Context, error::CliError, exit::ExitCode, places, rig::Options, stage::Stage},
    Place, figure, file, note,
    session::{clock, scenario},
    share,
};
use crate::{
    edge::Clock,
    model::{Fact, StationId},
    store::{self, Reader, Store, fill, read::DeviceFilter},
};

#[derive(Args, Debug)]
pub(super) struct LedgerArgs {
    /// How many devices, each with its key, a closed run and twelve facts
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    devices: u32,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &LedgerArgs, context: &Context) -> Result<ExitCode, CliError> {
    let place = args.place.temporary()?;
    let clock = clock();
    let stage = filled(place.path(), args.devices, context)?;
    let ledger = places::ledger(&place.path().join("state"));
    for (name, cold) in [("startup_ms", false), ("startup_cold_ms", true)] {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            if cold {
                forget(&ledger).map_err(file("read", &ledger))?;
            }
            starts.push(micros(start(&stage, &*clock)?));
        }
        starts.sort_unstable();
        figure(context, name, share(&starts, 50) as f64 / 1000.0, "ms");
    }
    let mut looks = look_ups(&ledger, args.devices, &*clock)?;
    looks.sort_unstable();
    figure(context, "lookup_ms", share(&looks, 99) as f64 / 1000.0, "ms");
    Ok(ExitCode::Passed)
}

/// A rack of one device, of which the ledger knows so many others.
pub(super) fn filled(folder: &Path, devices: u32, context: &Context) -> Result<Stage, CliError> {
    let clock = clock();
    let stage = Stage::set(folder, scenario(1)?, &Options::default(), true, 0)?;
    let ledger = places::ledger(&folder.join("state"));
    let began = clock.now();
    let mut store = Store::open(&ledger, station(), store::Options::default())?;
    let mut told = 0;
    fill::fill(&mut store, 0, devices, |done| {
        let tenth = u64::from(done) * 10 / u64::from(devices);
        if tenth > told {
            told = tenth;
            note(context, format!("{done} devices are in the ledger"));
        }
    })?;
    let seconds = clock.now().since(began).as_secs_f64();
    let (facts, mib) = (store.last_seq(), size(&ledger) >> 20);
    note(context, format!("{facts} facts in {seconds:.0} s; {mib} MiB"));
    Ok(stage)
}

/// From the start of the program to the first picture of the rack.
fn start(stage: &Stage, clock: &dyn Clock) -> Result<Duration, CliError> {
    let program = std::env::current_exe().map_err(file("find", Path::new("keyrack")))?;
    let mut command = Command::new(&program);
    command
        .args(["run", "--headless", "--json", "--config"])
        .arg(stage.config())
        .arg("--world")
        .arg(stage.socket())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let began = clock.now();
    let mut child = command.spawn().map_err(file("start", &program))?;
    let mut shown = None;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if line.contains("\"event\":\"slot\"") {
                shown = Some(clock.now().since(began));
                break;
            }
        }
    }
    // It is killed as a power cut would: the next start has to cope with that, too.
    child.kill().and_then(|()| child.wait()).map_err(file("end", &program))?;
    shown.ok_or(CliError::Missing {
        what: "the station ended before it showed its rack",
        next: "run `keyrack bench rack`: it says why",
    })
}

/// Nothing of the ledger stays in the machine's memory, as after a power cut.
fn forget(ledger: &Path) -> io::Result<()> {
    for entry in fs::read_dir(ledger)? {
        let held = fs::File::open(entry?.path())?;
        // Only what is on the disk can be forgotten.
        held.sync_all()?;
        rustix::fs::fadvise(&held, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// How long each look-up takes, in microseconds: by id, by the end of an id, by serial number, by ICCID.
fn look_ups(ledger: &Path, devices: u32, clock: &dyn Clock) -> Result<Vec<u64>, CliError> {
    let reader = Reader::open(ledger)?;
    let mut took = Vec::new();
    for n in (0..devices).step_by((devices / LOOKS) as usize) {
        let id = fill::device(n).to_string();
        for text in [id.clone(), id[18..].to_owned(), fill::serial(n), fill::iccid(n)] {
            let filter = DeviceFilter {
                text: Some(text.clone()),
                ..DeviceFilter::default()
            };
            let began = clock.now();
            let found = reader.devices(&filter, None, PAGE)?;
            took.push(micros(clock.now().since(began)));
            if !found.iter().any(|row| row.id == fill::device(n)) {
                return Err(CliError::UnknownDevice { text });
            }
        }
    }
    Ok(took)
}

/// Commits of one fact each, one after the other, each on the disk before the next.
pub(super) fn commits(place: &Path, context: &Context) -> Result<(), CliError> {
    let clock = clock();
    let mut store = Store::open(&place.join("commits"), station(), store::Options::default())?;
    let fact = [Fact::StationStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }];
    let began = clock.now();
    for _ in 0..COMMITS {
        store.append(clock.wall(), &fact)?;
    }
    let took = clock.now().since(began).as_secs_f64();
    figure(context, "commits_per_s", f64::from(COMMITS) / took, "commits/s");
    let path = place.join("syncs");
    let took = syncs(&path, &*clock).map_err(file("write", &path))?.as_secs_f64();
    figure(context, "disk_syncs_per_s", f64::from(COMMITS) / took, "syncs/s");
    Ok(())
}

/// As many writes of a page as there were commits, each on the disk before the next: what the disk itself allows. They go
/// round in a file that is as long as the write-ahead log.
fn syncs(path: &Path, clock: &dyn Clock) -> io::Result<Duration> {
    let page = [0x5a; 4096];
    let mut file = fs::File::create(path)?;
    for _ in 0..LOG_PAGES {
        file.write_all(&page)?;
    }
    file.sync_all()?;
    let began = clock.now();
    for n in 0..COMMITS {
        file.seek(SeekFrom::Start(u64::from(n % LOG_PAGES) * page.len() as u64))?;
        file.write_all(&page)?;
        file.sync_data()?;
    }
    Ok(clock.now().since(began))
}

/// The station of the demo's configuration.
fn station() -> StationId {
    StationId("demo".to_owned())
}

fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

const STARTS: u32 = 5;
const LOOKS: u32 = 100;
const COMMITS: u32 = 2000;
/// SQLite folds its write-ahead log into the file when it has so many pages.
const LOG_PAGES: u32 = 1000;
/// What a screen shows of what was found.
const PAGE: u32 = 50;
