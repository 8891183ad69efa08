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
    /// Who is at the station
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// The socket of a simulated world, in place of the USB ports of this machine (`keyrack sim world`)
    #[arg(long, value_name = "SOCKET")]
    world: Option<PathBuf>,
    #[command(flatten)]
    cloud: CloudArgs,
}

impl SlotArgs {
    /// Does a job on the devices in the slots.
    ///
    /// # Errors
    /// As `keyrack run`; or if there is no device.
    pub(in crate::cli) fn perform(&self, job: Job, context: &Context) -> Result<Worked, CliError> {
        let config = places::config(&context.globals, &context.environment)?;
        let bench = &self.bench;
        let overrides = Overrides {
            operator: bench.operator.clone(),
            work_order: None,
            cloud: bench.cloud.clone(),
            world: bench.world.clone(),
            job: Some(job),
            slots: self.slots.iter().copied().map(SlotNo).collect(),
            no_devices: false,
        };
        let parts = assemble::station(&config, &overrides, context)?;
        let until = match bench.devices {
            Some(n) => Until::Verdicts(n),
            None if bench.wait => Until::Stopped,
            None => Until::AllJudged,
        };
        let worked = run::work(parts, until, Face::Lines, context)?;
        if until == Until::AllJudged && worked.met == 0 {
            return Err(CliError::NoDevice);
        }
        Ok(worked)
    }
}
