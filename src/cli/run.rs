//! `keyrack run`: the station, on the whole screen or in lines.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    ask::desk::Desk,
    assemble::{self, Overrides, Parts},
    cloud::CloudArgs,
    error::CliError,
    events::Events,
    exit::ExitCode,
    face::Face,
    help, places,
    presence::Presence,
    print::Printer,
    signals::Signals,
    summary::{self, Line, Numbers},
};
use crate::{
    edge::{Clock, clock::SystemClock},
    model::{SlotNo, recipe::WorkOrder},
    rack::Command,
    station::{Event, Pairs, Station},
    store::{Apart, Reader, Standing},
};

/// Provision every device that is plugged in
///
/// Every device in a slot of the rack gets the recipe for its platform. Runs that a power cut or a signal interrupted
/// go on when their device is back, in any slot. The first SIGINT, SIGTERM or SIGHUP stops each slot at its next safe
/// point and says what is held in DFU mode; a second SIGINT or SIGTERM ends at once, which is as safe as a power cut.
///
/// The rack is on the USB ports of this machine, or with --world on those of a simulated one. Where there is no USB, or it
/// may not be used, that is said with what to do, nothing is touched, and the exit code is 3.
///
/// In a terminal the rack is shown on the whole screen; F1 there shows the keys. With --headless or --json, or where there
/// is no terminal, what happens is told in lines.
#[derive(Args, Debug, Default)]
#[command(after_long_help = help::after(
    &[
        ("keyrack run", "provisions until it is stopped, and shows the rack"),
        ("keyrack run --headless", "the same, told in lines"),
        (
            "keyrack run --headless --operator eva --work-order WO-17 --quantity 500 --json",
            "the same with one event a line, and the work order in every record",
        ),
        ("keyrack run --headless --devices 8", "ends when eight runs have their verdict and the others are done"),
    ],
    &ExitCode::ALL,
))]
pub(super) struct RunArgs {
    /// Tell what happens in lines, also in a terminal
    #[arg(long)]
    headless: bool,
    /// Who is at the station
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// What was ordered
    #[arg(long, value_name = "ID", requires = "quantity")]
    work_order: Option<String>,
    /// How many devices are ordered: when so many are done or under way, over all sessions, no further one is taken in
    #[arg(long, value_name = "N", requires = "work_order", value_parser = clap::value_parser!(u32).range(1..))]
    quantity: Option<u32>,
    /// End after this many verdicts; runs that are under way then are finished first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    devices: Option<u32>,
    /// The socket of a simulated world, in place of the USB ports of this machine (`keyrack sim world`)
    #[arg(long, value_name = "SOCKET")]
    world: Option<PathBuf>,
    #[command(flatten)]
    cloud: CloudArgs,
}

pub(super) fn run(args: &RunArgs, context: &Context) -> Result<ExitCode, CliError> {
    let config = places::config(&context.globals, &context.environment)?;
    let parts = assemble::station(&config, &overrides(args), context)?;
    let until = args.devices.map_or(Until::Stopped, Until::Verdicts);
    Ok(work(parts, until, Face::wanted(args.headless, context), context)?
        .numbers
        .exit())
}

/// When a station ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// When a signal says so.
    Stopped,
    /// After so many verdicts; runs that are under way then are finished first.
    Verdicts(u32),
    /// When no device is at work any more that was there at the start.
    AllJudged,
}

/// What a session came to.
#[derive(Debug)]
pub(super) struct Worked {
    /// The runs.
    pub(super) results: Vec<Line>,
    /// The numbers.
    pub(super) numbers: Numbers,
    /// Slots in which there was a device.
    pub(super) met: usize,
    /// How many runs came to a verdict that no person brought about.
    pub(super) judged: usize,
}

fn overrides(args: &RunArgs) -> Overrides {
    Overrides {
        operator: args.operator.clone(),
        work_order: args.work_order.clone().zip(args.quantity).map(|(id, quantity)| WorkOrder {
            id,
            product: None,
            quantity,
        }),
        cloud: args.cloud.clone(),
        world: args.world.clone(),
        job: None,
        slots: Vec::new(),
        no_devices: false,
        pairs: Pairs::default(),
    }
}

/// Runs a station until it ends, shows or says what happens, and sums up.
///
/// # Errors
/// What the station stopped for by itself; what happened before is summed up all the same.
pub(super) fn work(parts: Parts, until: Until, face: Face, context: &Context) -> Result<Worked, CliError> {
    // The station may live in virtual time; how long it took, a person wants to know in real time.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let began = clock.now();
    let mut events = Events::new(Arc::clone(&context.printer));
    let earlier = parts.store.open_records()?;
    earlier.iter().for_each(|record| events.recall(record));
    let signals = Signals::watch(&*clock, Arc::clone(&context.printer), events.held())?;
    let Parts {
        world,
        store,
        setting,
        shelf,
        tuning,
        places,
        patterns,
    } = parts;
    let mut order = None;
    let ledger = store.dir().to_owned();
    let mut face = face.prepare(&setting, (places, patterns), &earlier, &ledger, &clock);
    drop(earlier);
    if face.is_screen() {
        events.hush();
    }
    let station_clock = Arc::clone(&world.clock);
    let station = Station::start(world, store, setting, shelf, &tuning, &mut |event| {
        events.on(&event);
        face.on(&event);
    });
    let presence = Presence::default();
    let (end, summary) = match station {
        Err(error) => (Err(CliError::from(error)), events.into_summary()),
        Ok(mut station) => {
            let remote = station.remote();
            face.open(&remote, &signals)?;
            let desk = ledger.parent().map(|state| Desk::open(state, remote.clone(), &*clock));
            let desk = match desk {
                Some(Err(error)) if !face.is_screen() => {
                    let why = format!("`keyrack ask` does not reach this station: {error}");
                    context.printer.note(why);
                    None
                }
                desk => desk.and_then(Result::ok),
            };
            signals.connect(remote.clone());
            if until == Until::AllJudged {
                presence.watch(&station_clock, remote.clone());
            }
            let mut finishing = false;
            let end = station.run(&mut |event: Event<'_>| {
                events.on(&event);
                face.on(&event);
                let done = matches!(&event, Event::View(view) if presence.view(view));
                if let Event::View(view) = &event {
                    order.clone_from(&view.work_order);
                    desk.iter().for_each(|desk| desk.view(view));
                }
                let enough = match until {
                    Until::Stopped => false,
                    Until::Verdicts(n) => events.summary().judged() >= n as usize,
                    Until::AllJudged => done,
                };
                if enough && !finishing {
                    finishing = true;
                    remote.command(Command::Finish);
                }
            });
            drop(desk);
            let end = end.map_err(CliError::from).and(face.close(&signals));
            let mut summary = events.into_summary();
            let here = summary.devices();
            for device in summary.known() {
                let Some(row) = station.store().device(device)? else {
                    continue;
                };
                let is_here = here.contains(&device);
                match row.standing {
                    // It may have happened long after its run.
                    Standing::Apart(Apart::Lost) => summary.set_lost(device),
                    Standing::Apart(_) if is_here => summary.set_apart(device),
                    _ => {}
                }
                if is_here && row.unprotected_since.is_some() {
                    summary.set_unprotected(device);
                }
            }
            (end, summary)
        }
    };
    signals.close();
    if let Some(order) = order {
        tell_order(&order, &ledger, &context.printer)?;
    }
    let numbers = summary.numbers(clock.now().since(began).as_secs_f64());
    let results = summary.results();
    summary::print(&results, &summary.rejected(), &numbers, &context.printer);
    let (met, empty) = presence.met();
    if until == Until::AllJudged && met > 0 && !empty.is_empty() {
        tell_empty(&empty, &context.printer);
    }
    end?;
    let judged = summary.judged() - numbers.aborted();
    Ok(Worked {
        results,
        numbers,
        met,
        judged,
    })
}

fn tell_empty(empty: &[SlotNo], printer: &Printer) {
    if printer.is_json() {
        return printer.object(&EmptyEvent {
            event: "empty",
            slots: empty,
        });
    }
    let numbers: Vec<_> = empty.iter().map(ToString::to_string).collect();
    printer.line(format!("no device in slot {}", numbers.join(", ")));
}

#[derive(Serialize)]
struct EmptyEvent<'a> {
    event: &'static str,
    slots: &'a [SlotNo],
}

/// How far the work order is, over all sessions.
fn tell_order(order: &WorkOrder, ledger: &Path, printer: &Printer) -> Result<(), CliError> {
    let progress = Reader::open(ledger)?.order(&order.id)?;
    let (passed, owed, done) = progress.map_or((0, 0, 0), |progress| (progress.passed, progress.owed, progress.done));
    let left = u64::from(order.quantity).saturating_sub(done);
    if printer.is_json() {
        printer.object(&OrderEvent {
            event: "order",
            id: &order.id,
            quantity: order.quantity,
            passed,
            owed,
            left,
        });
    } else {
        printer.line(format!(
            "work order {}: {passed} of {} passed, {owed} owed, {left} left",
            order.id, order.quantity
        ));
    }
    Ok(())
}

#[derive(Serialize)]
struct OrderEvent<'a> {
    event: &'static str,
    id: &'a str,
    quantity: u32,
    passed: u64,
    owed: u64,
    left: u64,
}

#[cfg(test)]
mod tests;
