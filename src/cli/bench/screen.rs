//! How long the screen takes to paint a rack of 120 slots.

use clap::Args;

use super::{figure, session::clock, share};
use crate::{
    cli::{Context, error::CliError, exit::ExitCode},
    model::{DeviceId, Fact, Record, RunId, SlotNo, StationId, StepKind, recipe::Sha256, scan::Patterns},
    rack::{Past, Setting},
    tui::{App, Event, Place, Station, Story, measure},
};

#[derive(Args, Debug)]
pub(super) struct ScreenArgs {
    /// How many slots the rack has
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=120))]
    slots: u16,
}

pub(super) fn run(args: &ScreenArgs, context: &Context) -> Result<ExitCode, CliError> {
    let clock = clock();
    let station = StationId("bench".to_owned());
    let setting = Setting::to_show(station.clone());
    let slots = (1..=args.slots).map(SlotNo);
    let place = |slot| Place {
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
    app.on(Event::View(past.view()), &mut rack);
    let took = measure::paint(&mut app, &mut rack, TIMES, &*clock).map_err(CliError::Screen)?;
    let micros = |times: &[std::time::Duration]| {
        let mut micros: Vec<u64> = times
            .iter()
            .map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
            .collect();
        micros.sort_unstable();
        micros
    };
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a painting fit")]
    let millis = |micros: u64| micros as f64 / 1000.0;
    figure(context, "redraw_ms", millis(share(&micros(&took.redraws), 99)), "ms");
    figure(context, "key_to_paint_p99_ms", millis(share(&micros(&took.keys), 99)), "ms");
    Ok(ExitCode::Passed)
}

const TIMES: u32 = 500;
