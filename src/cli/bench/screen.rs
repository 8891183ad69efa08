//! The screen: how long it takes to paint a rack of 120 slots, what a station with its screen takes of a processor with 64
//! devices and with none at work, and how soon its first picture is there when the ledger is large.

use std::{path::Path, time::Duration};

use clap::Args;

use super::{
    super::stage::Stage,
    Place, figure, ledger, note,
    session::{clock, scenario},
    share,
    terminal::Terminal,
};
use crate::{
    cli::{Context, error::CliError, exit::ExitCode, places, rig::Options},
    model::{DeviceId, Fact, Record, RunId, SlotNo, StationId, StepKind, recipe::Sha256, scan::Patterns},
    rack::{Past, Setting},
    store::Reader,
    tui::{self, App, Event, Station, Story, measure},
};

#[derive(Args, Debug)]
pub(super) struct ScreenArgs {
    /// How many slots the rack has
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=120))]
    slots: u16,
    /// How many devices the ledger knows before the first picture; a million take 8 GB of disk and ten minutes to fill
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    devices: u32,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &ScreenArgs, context: &Context) -> Result<ExitCode, CliError> {
    paint(args, context)?;
    let place = args.place.temporary()?;
    work(&place.path().join("rack"), context)?;
    let stage = ledger::filled(&place.path().join("ledger"), args.devices, context)?;
    let clock = clock();
    let mut first = Vec::new();
    for _ in 0..STARTS {
        first.push(micros(Terminal::start(&stage, &clock)?.first_picture()?));
    }
    first.sort_unstable();
    figure(context, "first_frame_ms", millis(share(&first, 50)), "ms");
    Ok(ExitCode::Passed)
}

/// What a station with its screen takes of a processor: while 64 devices are at work, and after the last verdict, while nothing
/// happens.
fn work(folder: &Path, context: &Context) -> Result<(), CliError> {
    let clock = clock();
    let stage = Stage::set(folder, scenario(RACK)?, &Options::default(), true, 0)?;
    let terminal = Terminal::start(&stage, &clock)?;
    terminal.first_picture()?;
    let ledger = places::ledger(&folder.join("state"));
    let (began, before) = (clock.now(), terminal.processor_time());
    while judged(&ledger)? < u64::from(RACK) {
        if clock.now().since(began) > LONGEST {
            return Err(CliError::Missing {
                what: "the devices did not come to their verdicts",
                next: "run `keyrack bench rack`: it says why",
            });
        }
        clock.sleep(PAUSE);
    }
    let (ended, after) = (clock.now(), terminal.processor_time());
    let share_of = |time: Duration, of: Duration| time.as_secs_f64() / of.as_secs_f64();
    let took = ended.since(began);
    note(context, format!("{RACK} devices in {:.0} s", took.as_secs_f64()));
    figure(context, "cpu_share_64", share_of(after.saturating_sub(before), took), "cores");
    // What the last device has set going comes to rest first.
    clock.sleep(REST);
    let (began, before) = (clock.now(), terminal.processor_time());
    clock.sleep(IDLE);
    let idle = terminal.processor_time().saturating_sub(before);
    figure(context, "cpu_share_idle", share_of(idle, clock.now().since(began)), "cores");
    Ok(())
}

/// How many runs have their verdict.
fn judged(ledger: &Path) -> Result<u64, CliError> {
    let yields = Reader::open(ledger)?.yields(None, None, None)?;
    Ok(yields.verdicts.iter().map(|(_, count)| count).sum())
}

/// Paints in this process, for nobody.
fn paint(args: &ScreenArgs, context: &Context) -> Result<(), CliError> {
    let clock = clock();
    let station = StationId("bench".to_owned());
    let setting = Setting::to_show(station.clone());
    let slots = (1..=args.slots).map(SlotNo);
    let place = |slot| tui::Place {
        slot,
        position: None,
        label: None,
    };
    let screen = Station {
        id: station.clone(),
        places: slots.clone().map(place).collect(),
        patterns: Patterns::default(),
    };
    let mut past = Past::new(setting, slots.clone());
    let mut app = App::new(screen, Story::default(), clock.wall(), (160, 48));
    let mut rack = past.view();
    for slot in slots {
        let mut bytes = [0; 12];
        bytes[10..].copy_from_slice(&slot.0.to_be_bytes());
        let record = Record {
            seq: u64::from(slot.0),
            at: clock.wall(),
            station: station.clone(),
            fact: Fact::RunStarted {
                run: RunId::new(clock.wall(), bytes[2..].try_into().expect("ten of twelve bytes")),
                device: DeviceId::from_bytes(bytes),
                slot,
                recipe: Sha256([0; 32]),
                plan: vec![StepKind::Flash { file: 0 }; 12],
                operator: None,
                work_order: None,
                accepted: None,
                reference: None,
            },
        };
        past.apply(&record).expect("a run that begins fits");
        app.on(Event::Record(Box::new(record)), &mut rack);
    }
    app.on(Event::View(Box::new(past.view())), &mut rack);
    let took = measure::paint(&mut app, &mut rack, TIMES, &*clock).map_err(CliError::Screen)?;
    let sorted = |times: &[Duration]| {
        let mut times: Vec<u64> = times.iter().copied().map(micros).collect();
        times.sort_unstable();
        times
    };
    figure(context, "redraw_ms", millis(share(&sorted(&took.redraws), 99)), "ms");
    figure(context, "key_to_paint_p99_ms", millis(share(&sorted(&took.keys), 99)), "ms");
    Ok(())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a minute fit")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

const TIMES: u32 = 500;
const STARTS: u32 = 5;
/// So many devices are at work.
const RACK: u16 = 64;
/// Longer than so many devices take.
const LONGEST: Duration = Duration::from_secs(600);
/// How often it is looked whether all are judged.
const PAUSE: Duration = Duration::from_millis(500);
const REST: Duration = Duration::from_secs(5);
/// So long nothing happens.
const IDLE: Duration = Duration::from_secs(20);
