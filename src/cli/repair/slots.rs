//! How the commands of repair work on devices: as `keyrack run` does, with recipes from their options, until every
//! device that was there at the start has its verdict.

use std::path::PathBuf;

use clap::Args;

use super::job::Job;
use crate::{
    cli::{
        Context,
        assemble::{self, Overrides},
        cloud::CloudArgs,
        error::CliError,
        face::Face,
        places,
        run::{self, Until, Worked},
    },
    model::SlotNo,
    station::Pairs,
};

/// Options of commands that work on the devices in slots.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct SlotArgs {
    /// Only these slots [default: every slot of the rack]
    #[arg(value_name = "SLOT", value_parser = clap::value_parser!(u16).range(1..))]
    slots: Vec<u16>,
    #[command(flatten)]
    bench: BenchArgs,
}

/// The same for commands that name their slot by themselves.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct BenchArgs {
    /// Go on with devices that come later, until a signal
    #[arg(long)]
    wait: bool,
    /// Go on with devices that come later, until this many have their verdict
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    devices: Option<u32>,
    #[command(flatten)]
    station: StationArgs,
}

/// Options of a command that works on devices, whichever and for how long.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct StationArgs {
    /// Who is at the station
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// The socket of a simulated world, in place of the USB ports of this machine (`keyrack sim world`)
    #[arg(long, value_name = "SOCKET")]
    world: Option<PathBuf>,
    /// Let protected devices into Service Mode for the work, with the help of the cloud, and protect them again at the
    /// end [default: what the recipe says, else they are set aside]
    #[arg(long)]
    service_mode: bool,
    #[command(flatten)]
    cloud: CloudArgs,
}

impl SlotArgs {
    /// Does a job on the devices in the slots.
    ///
    /// # Errors
    /// As `keyrack run`; or if there is no device.
    pub(in crate::cli) fn perform(&self, job: Job, context: &Context) -> Result<Worked, CliError> {
        self.perform_with(job, Pairs::default(), context)
    }

    /// The same with private halves at hand, or with somebody to whom they are sealed.
    ///
    /// # Errors
    /// As [`SlotArgs::perform`].
    pub(in crate::cli) fn perform_with(&self, job: Job, pairs: Pairs, context: &Context) -> Result<Worked, CliError> {
        let until = match self.bench.devices {
            Some(n) => Until::Verdicts(n),
            None if self.bench.wait => Until::Stopped,
            None => Until::AllJudged,
        };
        self.bench.station.perform(job, &self.slots, until, pairs, context)
    }
}

impl StationArgs {
    /// Does a job on the devices in these slots; none are all.
    ///
    /// # Errors
    /// As `keyrack run`; or if there is no device.
    pub(in crate::cli) fn perform(
        &self,
        job: Job,
        slots: &[u16],
        until: Until,
        pairs: Pairs,
        context: &Context,
    ) -> Result<Worked, CliError> {
        let config = places::config(&context.globals, &context.environment)?;
        let job = Job {
            service_mode: self.service_mode,
            ..job
        };
        let overrides = Overrides {
            operator: self.operator.clone(),
            work_order: None,
            cloud: self.cloud.clone(),
            world: self.world.clone(),
            job: Some(job),
            slots: slots.iter().copied().map(SlotNo).collect(),
            no_devices: false,
            pairs,
        };
        let parts = assemble::station(&config, &overrides, context)?;
        let worked = run::work(parts, until, Face::Lines, context)?;
        if until == Until::AllJudged && worked.met == 0 {
            return Err(CliError::NoDevice);
        }
        Ok(worked)
    }
}
