//! Racks of devices that are all alike: how well they run beside each other, and what the station takes for it.

use std::{fs, path::Path, time::Duration};

use clap::Args;

use super::{
    super::{Context, error::CliError, exit::ExitCode},
    Place, figure, file, ledger, note,
    session::{Measured, Session},
    share,
    wire::Wire,
};
use crate::{
    firmware::{Module, ModuleBuilder},
    model::{Platform, module::ModuleFunction},
    sim::{device::Timing, world::World},
};

#[derive(Args, Debug)]
pub(super) struct RackArgs {
    /// Sizes of the racks that are compared with one device; memory and processor are those of the last
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [8, 64], value_parser = clap::value_parser!(u16).range(1..=120))]
    slots: Vec<u16>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &RackArgs, context: &Context) -> Result<ExitCode, CliError> {
    let place = args.place.temporary()?;
    let firmware = place.path().join("firmware");
    let bytes = write_firmware(&firmware)?;
    note(context, format!("{} KiB of firmware for each Argon", bytes >> 10));

    let wire = Wire::default();
    let session = |slots: u16, timing: Timing, name: &str| {
        Session {
            slots,
            timing,
            firmware: &firmware,
            folder: &place.path().join(name),
        }
        .run(|stage| {
            if name == COUNTED {
                stage.rig.world.observe(wire.observer());
            }
            plug_in_by_hand(&stage.rig.world, slots);
        })
    };
    session(1, Timing::instant(), COUNTED)?;
    note(context, format!("{} pages were written", wire.pages()));
    if let Some(transfers) = wire.each_page() {
        figure(context, "transfers_per_4k", transfers, "transfers");
    }

    let one = session(1, Timing::default(), "1")?;
    said(context, 1, &one);
    let mut last = one.run;
    for slots in &args.slots {
        let rack = session(*slots, Timing::default(), &slots.to_string())?;
        said(context, *slots, &rack);
        let ratio = |of: Duration, to: Duration| of.as_secs_f64() / to.as_secs_f64().max(0.001);
        figure(context, &format!("slots{slots}_ratio"), ratio(rack.run, one.run), "ratio");
        figure(
            context,
            &format!("slots{slots}_flash_ratio"),
            ratio(rack.flash, one.flash),
            "ratio",
        );
        last = last.max(rack.run);
        if Some(slots) == args.slots.last() {
            figure(context, "fact_to_disk_p50_ms", share(&rack.waits, 50) as f64 / 1000.0, "ms");
            figure(context, "fact_to_disk_p99_ms", share(&rack.waits, 99) as f64 / 1000.0, "ms");
            figure(context, "rss_mib", rack.rss_kib as f64 / 1024.0, "MiB");
            figure(context, "cpu_share", rack.cpu, "cores");
        }
    }
    ledger::commits(place.path(), context)?;
    Ok(ExitCode::Passed)
}

/// Spreads the starts of the devices over the time that a page takes: of devices that start in the same microsecond and
/// take the same times, each would want its transfers in the same microseconds as all others. No rack does that.
fn plug_in_by_hand(world: &World, slots: u16) {
    for (n, (device, _)) in (0..).zip(world.devices()) {
        world.power_cut(Some(device), PAGE * n / u32::from(slots));
    }
}

fn said(context: &Context, slots: u16, measured: &Measured) {
    note(
        context,
        format!(
            "{slots} slots: {:.2} s from the first run to the last verdict, {:.2} s of them from the first flash step to the end of \
             the last; {} facts; {:.2} of a core for the station, {:.2} for the simulated world",
            measured.run.as_secs_f64(),
            measured.flash.as_secs_f64(),
            measured.waits.len(),
            measured.cpu,
            measured.world_cpu,
        ),
    );
}

/// Writes a Device OS and an application that together have 688 KiB, and returns how many bytes they have. On an nRF52840
/// no single module has room for so much: a user part has 256 KiB, a system part 560 KiB (device-protocol.md 5.4).
fn write_firmware(folder: &Path) -> Result<usize, CliError> {
    fs::create_dir_all(folder).map_err(file("make", folder))?;
    let version = 6200;
    let system = ModuleBuilder::new(ModuleFunction::SystemPart, 1, version)
        .platform(Platform::Argon)
        .start(0x2_8000)
        .vector_table(0x200);
    let application = ModuleBuilder::new(ModuleFunction::UserPart, 2, 2)
        .platform(Platform::Argon)
        .start(0xb_4000)
        .needs(ModuleFunction::SystemPart, 1, version);
    let mut bytes = 0;
    for (name, builder, size) in [("system.bin", system, SYSTEM), ("application.bin", application, APPLICATION)] {
        let module = sized(builder, size);
        bytes += module.bytes().len();
        let path = folder.join(name);
        fs::write(&path, module.file()).map_err(file("write", &path))?;
    }
    Ok(bytes)
}

/// A module of exactly this size, header and suffix included.
fn sized(builder: ModuleBuilder, size: usize) -> Module {
    let built = |len| {
        builder
            .clone()
            .seeded_content(7, len)
            .build()
            .expect("a module of our own making")
    };
    let rest = built(1).bytes().len() - 1;
    built(size - rest)
}

const COUNTED: &str = "counted";
/// What an nRF52840 takes for a page of flash with its transfers, roughly.
const PAGE: Duration = Duration::from_millis(150);
const SYSTEM: usize = 512 << 10;
const APPLICATION: usize = 176 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_has_688_kib_and_goes_together() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write_firmware(folder.path()).unwrap(), 688 << 10);
    }
}
