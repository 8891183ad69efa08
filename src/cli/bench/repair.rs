//! Repairs: what each flow asks of the cloud and how long it takes, how long a customer's device has no owner, and whether
//! a thousand devices stay below the cloud's limits.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;

use super::{
    super::{Context, error::CliError, exit::ExitCode},
    Place, figure,
    flow::{FLOWS, Flow},
    note,
    rehearsal::{Exchange, Played},
    share,
};
use crate::{
    model::{
        DeviceId, Fact, RunId, Verdict, Wall,
        outbox::{Answer, ItemId},
    },
    sim::device::Timing,
};

#[derive(Args, Debug)]
pub(super) struct RepairArgs {
    /// How many devices are re-keyed
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=2000))]
    devices: u16,
    /// On how many slots
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=120))]
    slots: u16,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &RepairArgs, context: &Context) -> Result<ExitCode, CliError> {
    let place = args.place.temporary()?;
    let folder = |name: &str| place.path().join(name);
    for flow in FLOWS {
        let played = flow.play(&folder(flow.name))?;
        let count = played.runs().len().max(1) as f64;
        figure(
            context,
            &format!("calls_per_device_{}", flow.name),
            played.calls.len() as f64 / count,
            "calls",
        );
        figure(context, &format!("seconds_per_device_{}", flow.name), played.seconds(), "s");
    }

    let customers = Flow::customers().play_many(&folder("customers"), args.slots, args.slots, &Timing::default(), 1)?;
    let windows = customers.ownerless();
    note(context, format!("{} customers' devices at once", windows.len()));
    for (name, percent) in [("ownerless_window_s", 50), ("ownerless_window_max_s", 100)] {
        figure(context, name, share(&windows, percent) as f64 / 1000.0, "s");
    }

    let many =
        |flow: Flow, name: &str, timing: &Timing, scale| flow.play_many(&folder(name), args.devices, args.slots, timing, scale);
    let real = Timing::default();
    let rekeyed = many(Flow::new_keys(), "rekeyed", &real, 1)?;
    let registered = many(Flow::accounts(), "registered", &real, 1)?;
    figure(context, "rekey_calls_per_device", rekeyed.before_proof(), "calls");
    figure(
        context,
        "rekey_proof_calls_per_device",
        rekeyed.all_calls() - rekeyed.before_proof(),
        "calls",
    );
    figure(context, "register_calls_per_device", registered.before_proof(), "calls");
    figure(context, "rekey_minutes", rekeyed.took().as_secs_f64() / 60.0, "min");

    // Devices that take no time: then it is the limit that everything waits for.
    let rushed = many(Flow::new_keys(), "rushed", &Timing::instant(), SCALE)?;
    let busiest = busiest(&rushed.calls, WINDOW / SCALE);
    figure(
        context,
        "rekey_limit_ratio",
        busiest as f64 / f64::from(MOST / SCALE),
        "ratio",
    );
    let ideal = rushed.calls.len() as f64 / f64::from(crate::cloud::limits::GENERAL_PER_SECOND);
    figure(
        context,
        "rekey_limit_time_ratio",
        rushed.took().as_secs_f64() / ideal,
        "ratio",
    );
    let refused = [&customers, &rekeyed, &registered, &rushed]
        .map(Played::too_many)
        .iter()
        .sum::<usize>();
    figure(context, "rekey_429", refused as f64, "calls");
    Ok(ExitCode::Passed)
}

impl Played {
    /// Each run with its device and how it ended.
    pub(super) fn runs(&self) -> BTreeMap<RunId, (DeviceId, Option<Verdict>)> {
        let mut runs = BTreeMap::new();
        for record in &self.records {
            match &record.fact {
                Fact::RunStarted { run, device, .. } => _ = runs.insert(*run, (*device, None)),
                Fact::RunEnded {
                    run, device, verdict, ..
                } => _ = runs.insert(*run, (*device, Some(*verdict))),
                _ => {}
            }
        }
        runs
    }

    /// From the start of a run to its verdict, on the average.
    fn seconds(&self) -> f64 {
        let mut started: BTreeMap<RunId, Wall> = BTreeMap::new();
        let mut took = Vec::new();
        for record in &self.records {
            match &record.fact {
                Fact::RunStarted { run, .. } => _ = started.insert(*run, record.at),
                Fact::RunEnded { run, .. } => took.extend(started.get(run).map(|at| record.at.millis() - at.millis())),
                _ => {}
            }
        }
        took.iter().sum::<i64>() as f64 / 1000.0 / took.len().max(1) as f64
    }

    /// From the first run to the last verdict.
    fn took(&self) -> Duration {
        let first = self.records.iter().find(|r| matches!(r.fact, Fact::RunStarted { .. }));
        let last = self.records.iter().rfind(|r| matches!(r.fact, Fact::RunEnded { .. }));
        let millis = first
            .zip(last)
            .map_or(0, |(first, last)| last.at.millis() - first.at.millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// How long each device had no owner, in milliseconds, sorted: from the moment at which its release may have left the
    /// station until its claim was accepted.
    fn ownerless(&self) -> Vec<u64> {
        let mut released: BTreeMap<RunId, Wall> = BTreeMap::new();
        let mut windows = Vec::new();
        for record in &self.records {
            match &record.fact {
                Fact::ItemSent { item, .. } => {
                    let run = item.run().filter(|run| *item == ItemId::release(*run));
                    released.extend(run.map(|run| (run, record.at)));
                }
                Fact::ItemAnswered {
                    item,
                    answer: Answer::Accepted { .. },
                    ..
                } => {
                    let run = item.run().filter(|run| *item == ItemId::claim(*run));
                    let since = run.and_then(|run| released.get(&run));
                    windows.extend(since.and_then(|at| u64::try_from(record.at.millis() - at.millis()).ok()));
                }
                _ => {}
            }
        }
        windows.sort_unstable();
        windows
    }

    fn all_calls(&self) -> f64 {
        self.calls.len() as f64 / self.runs().len().max(1) as f64
    }

    /// Calls for each device up to its last upload: what comes after that proves the repair, and waits for the device.
    fn before_proof(&self) -> f64 {
        let devices: Vec<String> = self.runs().values().map(|(device, _)| device.to_string()).collect();
        let mut of: BTreeMap<&str, Vec<&Exchange>> = BTreeMap::new();
        let mut others = 0;
        for call in &self.calls {
            match call
                .what
                .split('/')
                .find(|piece| devices.iter().any(|device| device == piece))
            {
                Some(device) => of.entry(device).or_default().push(call),
                None => others += 1,
            }
        }
        let until = |calls: &Vec<&Exchange>| {
            let upload = calls.iter().rposition(|call| call.what.starts_with("POST /v1/provisioning/"));
            upload.map_or(calls.len(), |at| at + 1)
        };
        let calls = others + of.values().map(until).sum::<usize>();
        calls as f64 / devices.len().max(1) as f64
    }

    fn too_many(&self) -> usize {
        self.calls.iter().filter(|call| call.status == 429).count()
    }
}

/// The most calls that reached the cloud within one window, wherever it begins.
fn busiest(calls: &[Exchange], window: Duration) -> usize {
    let mut at: Vec<_> = calls.iter().map(|call| call.at).collect();
    at.sort_unstable();
    let (mut first, mut most) = (0, 0);
    for (n, now) in at.iter().enumerate() {
        while now.since(at[first]) >= window {
            first += 1;
        }
        most = most.max(n + 1 - first);
    }
    most
}

/// A thousand devices stay below 10 000 calls in five minutes: both sides of the limit are scaled.
const SCALE: u32 = 20;
/// What the cloud allows to one address (cloud-api.md 4.2).
const MOST: u32 = 10_000;
const WINDOW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mono;

    #[test]
    fn the_busiest_window_is_found_wherever_it_begins() {
        let calls = |at: &[u64]| -> Vec<Exchange> {
            at.iter()
                .map(|ms| Exchange {
                    at: Mono(Duration::from_millis(*ms)),
                    what: String::new(),
                    status: 200,
                })
                .collect()
        };
        let second = Duration::from_secs(1);
        assert_eq!(busiest(&calls(&[]), second), 0);
        assert_eq!(busiest(&calls(&[0, 900, 1000, 1100, 5000]), second), 3);
        assert_eq!(busiest(&calls(&[1100, 0, 999]), second), 2, "in whatever order they ended");
    }

    #[test]
    fn two_devices_are_played_to_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let played = Flow::accounts()
            .play_many(folder.path(), 2, 1, &Timing::instant(), SCALE)
            .unwrap();
        assert_eq!((played.runs().len(), played.too_many(), played.astray), (2, 0, 0));
        assert!(played.before_proof() >= 2.0 && played.all_calls() > played.before_proof());
        assert!(played.seconds() > 0.0 && played.took() > Duration::ZERO);
    }

    #[test]
    fn each_flow_is_the_one_that_is_played() {
        use crate::model::diagnosis::Flow as Proposed;
        for (name, proposed) in [
            ("server_key", Proposed::ServerKey),
            ("rewrite", Proposed::Rewrite),
            ("service_mode", Proposed::ProductUnclaimed),
            ("given_key", Proposed::ProductUnclaimed),
            ("restore", Proposed::Restore),
            ("move", Proposed::Move),
            ("customer", Proposed::Customer),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let flow = FLOWS.into_iter().find(|flow| flow.name == name).unwrap();
            let played = flow.play(folder.path()).unwrap();
            let flows = played.records.iter().filter_map(|record| match &record.fact {
                Fact::Diagnosed { diagnosis, .. } => diagnosis.flow,
                _ => None,
            });
            assert_eq!(flows.collect::<Vec<_>>(), [proposed], "{name}");
            let opened = |record: &crate::model::Record| matches!(record.fact, Fact::ServiceOpened { .. });
            assert_eq!(played.records.iter().any(opened), name == "service_mode");
        }
    }
}
