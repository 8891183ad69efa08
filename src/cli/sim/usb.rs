//! `keyrack sim usb`: simulated devices on the virtual USB host controller of this machine's kernel, and what goes over
//! the wire, live.

use std::{path::Path, sync::Arc};

use clap::Args;
use serde::Serialize;

use super::{ENDS, Serve, wait};
use crate::{
    cli::{Context, error::CliError, exit::ExitCode, help, print::Printer},
    edge::{Clock, UsbError},
    model::{DeviceId, Mono, PortPath, SlotNo},
    sim::world::vhci::{self, Controllers, Event},
};

/// Simulated devices on the USB ports of this machine, with a stand-in cloud
///
/// The devices of a scenario are attached to the virtual USB host controller of the kernel (the Linux module vhci_hcd; only
/// root may). Any program meets them as real ones, by libusb, hot-plug and sysfs. What the scenario lets go wrong goes wrong.
/// Data of transfers are not shown: keys cross this wire.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack sim usb /tmp/world", "attaches the eight devices of the demo until it is stopped; `lsusb` shows them"),
        ("keyrack sim usb /tmp/world --scenario stall.toml --transfers", "a scenario of your own, with each control transfer in a line"),
        ("keyrack run --headless --config /tmp/world/station.toml", "a station that works on them"),
    ],
    &ENDS,
))]
pub(super) struct UsbArgs {
    #[command(flatten)]
    serve: Serve,
    /// A line for each control transfer
    #[arg(long)]
    transfers: bool,
}

pub(super) fn run(args: &UsbArgs, context: &Context) -> Result<ExitCode, CliError> {
    let controllers = Controllers::find(Path::new(PLATFORM_DEVICES))?;
    let scenario = args.serve.scenario(controllers.topology())?;
    if let Some((number, slot)) = scenario.slots.iter().find(|(_, slot)| !controllers.has(&slot.port)) {
        return Err(CliError::NotAttachable {
            slot: SlotNo(*number),
            port: slot.port.clone(),
        });
    }
    let stage = args.serve.stage(scenario)?;
    let signals = args.serve.announce(&stage, false, context)?;
    let clock = stage.rig.world.clock();
    let log = Log {
        printer: Arc::clone(&context.printer),
        begun: clock.now(),
        clock: Arc::clone(&clock),
        transfers: args.transfers,
    };
    let attachments = vhci::attach(&stage.rig.world, controllers, clock, Arc::new(move |event| log.tell(&event)));
    wait(signals);
    drop(attachments);
    for (device, _) in stage.rig.world.devices() {
        let transfers = stage.rig.world.transfers(device);
        if context.printer.is_json() {
            context.printer.object(&Total {
                event: "device",
                device,
                transfers,
            });
        } else {
            context.printer.line(format!("{device}  {transfers} transfers"));
        }
    }
    stage.leave()?;
    Ok(ExitCode::Passed)
}

/// Tells what happens on the wire as it happens.
struct Log {
    printer: Arc<Printer>,
    clock: Arc<dyn Clock>,
    begun: Mono,
    transfers: bool,
}

impl Log {
    fn tell(&self, event: &Event) {
        if matches!(event, Event::Transfer { .. }) && !self.transfers {
            return;
        }
        let after = self.clock.now().since(self.begun);
        let line = Line::of(event, u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        if self.printer.is_json() {
            self.printer.object(&line);
        } else {
            let (seconds, what) = (after.as_secs_f64(), line.what());
            self.printer
                .line(format!("{seconds:9.3}  {}  {}  {what}", line.port, line.device));
        }
    }
}

/// One event, as `--json` prints it.
#[derive(Serialize)]
struct Line {
    event: &'static str,
    at_ms: u64,
    device: DeviceId,
    port: PortPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Line {
    fn of(event: &Event, at_ms: u64) -> Self {
        let plain = |event, device: &DeviceId, port: &PortPath| Self {
            event,
            at_ms,
            device: *device,
            port: port.clone(),
            vendor: None,
            product: None,
            setup: None,
            bytes: None,
            error: None,
        };
        match event {
            Event::Attached { device, attached } => Self {
                vendor: Some(attached.vendor),
                product: Some(attached.product),
                ..plain("attached", device, &attached.port)
            },
            Event::Left { device, port } => plain("left", device, port),
            Event::Refused { device, port, why } => Self {
                error: Some(why.clone()),
                ..plain("refused", device, port)
            },
            Event::Transfer {
                device,
                port,
                setup,
                result,
            } => Self {
                setup: Some(format!("{setup:?}")),
                bytes: result.as_ref().ok().copied(),
                error: result.as_ref().err().map(UsbError::to_string),
                ..plain("transfer", device, port)
            },
        }
    }

    /// What happened, in words.
    fn what(&self) -> String {
        match (self.vendor, self.product, &self.setup, &self.error) {
            (Some(vendor), Some(product), ..) => format!("attached as {vendor:04x}:{product:04x}"),
            (.., Some(setup), Some(error)) => format!("{setup}  {error}"),
            (.., Some(setup), None) => format!("{setup}  {} bytes", self.bytes.unwrap_or(0)),
            (.., None, Some(error)) => format!("not attached: {error}"),
            _ => "left the bus".to_owned(),
        }
    }
}

#[derive(Serialize)]
struct Total {
    event: &'static str,
    device: DeviceId,
    transfers: u64,
}

/// Where the kernel shows its virtual host controllers.
const PLATFORM_DEVICES: &str = "/sys/devices/platform";
