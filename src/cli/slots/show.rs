//! The rack as it is now, and what comes and goes.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::{
    Shown, SlotsArgs, clock,
    watch::{Change, Moment, Watch},
};
use crate::{
    cli::{
        Context,
        error::CliError,
        exit::ExitCode,
        print::{Paint, Printer, Text},
        table::Table,
    },
    config::RackSlot,
    device::usb::{
        preflight::preflight,
        sysfs,
        topology::{Topology, Translators},
    },
    edge::Attached,
    model::{PortPath, SlotNo},
};

pub(super) fn run(args: &SlotsArgs, context: &Context) -> Result<ExitCode, CliError> {
    let slots = context.station()?.map(|station| station.slots).unwrap_or_default();
    let clock = clock();
    let mut watch = Watch::start(args.world.bus(&clock)?, clock)?;
    rack(&slots, watch.known(), &context.printer);
    if args.world.world.is_none() {
        hubs(&Topology::read(Path::new(sysfs::DEVICES))?, &slots, &context.printer);
    }
    while args.follow && !context.printer.is_closed() {
        match watch.next(None)? {
            Moment::Changed(changes) => changes.iter().for_each(|change| tell(change, &slots, &context.printer)),
            Moment::Stopped => return Ok(ExitCode::Passed),
            Moment::Typed | Moment::Late => {}
        }
    }
    Ok(ExitCode::Passed)
}

#[derive(Serialize)]
struct SlotEvent<'a> {
    event: &'static str,
    slot: SlotNo,
    port: &'a PortPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    device: Option<Shown>,
}

#[derive(Serialize)]
struct ElsewhereEvent<'a> {
    event: &'static str,
    port: &'a PortPath,
    device: Shown,
}

/// Each slot with what is in it, then what is plugged in elsewhere.
fn rack(slots: &[RackSlot], known: &[Attached], printer: &Printer) {
    let mut table = Table::new(["slot", "port", "device", "platform", "mode", ""]);
    for slot in slots {
        let device = known.iter().find(|a| a.port == slot.port).map(Shown::from);
        let label = slot.label.as_deref();
        if printer.is_json() {
            printer.object(&SlotEvent {
                event: "slot",
                slot: slot.number,
                port: &slot.port,
                label,
                device,
            });
            continue;
        }
        let note = device.as_ref().and_then(|device| twin(device, &slot.port, known));
        let remark = match (note, label) {
            (Some(note), _) => Text::new().paint(Paint::Warn, note),
            (None, label) => Text::new().paint(Paint::Dim, label.unwrap_or_default()),
        };
        table.row(match device {
            Some(device) => [
                slot.number.to_string().as_str().into(),
                slot.port.to_string().as_str().into(),
                device.who(),
                device.what().as_str().into(),
                device.mode().as_str().into(),
                remark,
            ],
            None => [
                slot.number.to_string().as_str().into(),
                slot.port.to_string().as_str().into(),
                Text::new().paint(Paint::Dim, "empty"),
                "".into(),
                "".into(),
                remark,
            ],
        });
    }
    for attached in known.iter().filter(|a| slot_at(slots, &a.port).is_none()) {
        let device = Shown::from(attached);
        if printer.is_json() {
            printer.object(&ElsewhereEvent {
                event: "elsewhere",
                port: &attached.port,
                device,
            });
            continue;
        }
        table.row([
            "-".into(),
            attached.port.to_string().as_str().into(),
            device.who(),
            device.what().as_str().into(),
            device.mode().as_str().into(),
            Text::new().paint(Paint::Warn, "no slot of this rack: left alone"),
        ]);
    }
    if slots.is_empty() && known.is_empty() && !printer.is_json() {
        printer.line("no slots are configured, and no Particle device is plugged in");
    }
    table.print(printer);
}

/// What has to be said of a device whose id is plugged in twice.
fn twin(device: &Shown, port: &PortPath, known: &[Attached]) -> Option<String> {
    let id = device.id?;
    let other = known.iter().find(|a| a.port != *port && Shown::from(*a).id == Some(id))?;
    Some(format!("the same id is at {}", other.port))
}

fn slot_at<'a>(slots: &'a [RackSlot], port: &PortPath) -> Option<&'a RackSlot> {
    slots.iter().find(|slot| slot.port == *port)
}

#[derive(Serialize)]
struct HubEvent<'a> {
    event: &'static str,
    at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    ports: u8,
    speed: u32,
    translators: &'static str,
    slots: Vec<SlotNo>,
}

#[derive(Serialize)]
struct WarningEvent<'a> {
    event: &'static str,
    what: &'a str,
    next: &'static str,
}

/// The hubs of this machine with the slots on each, and what will go wrong with them.
fn hubs(topology: &Topology, slots: &[RackSlot], printer: &Printer) {
    let mut on: BTreeMap<(&str, &[u8]), Vec<SlotNo>> = BTreeMap::new();
    for slot in slots {
        let chain = slot.port.chain();
        on.entry((slot.port.controller(), &chain[..chain.len() - 1]))
            .or_default()
            .push(slot.number);
    }
    let mut table = Table::new(["hub", "ports", "speed", "full-speed devices", "slots", "name"]);
    for (plugged, hub) in topology.plugged.iter().filter_map(|p| Some((p, p.hub?))) {
        let place = plugged.place();
        let here = on
            .get(&(plugged.controller.as_str(), plugged.chain.as_slice()))
            .cloned()
            .unwrap_or_default();
        if printer.is_json() {
            printer.object(&HubEvent {
                event: "hub",
                at: &place,
                name: plugged.name.as_deref(),
                ports: hub.ports,
                speed: plugged.speed,
                translators: match hub.translators {
                    Translators::None => "none",
                    Translators::One => "one",
                    Translators::PerPort => "per-port",
                },
                slots: here,
            });
            continue;
        }
        let numbers: Vec<String> = here.iter().map(ToString::to_string).collect();
        table.row([
            place.as_str().into(),
            hub.ports.to_string().as_str().into(),
            format!("{} Mbit/s", plugged.speed).as_str().into(),
            match hub.translators {
                Translators::None => "as they are",
                Translators::One => "share 12 Mbit/s",
                Translators::PerPort => "12 Mbit/s each",
            }
            .into(),
            numbers.join(" ").as_str().into(),
            Text::new().paint(Paint::Dim, plugged.name.as_deref().unwrap_or_default()),
        ]);
    }
    if !printer.is_json() && topology.plugged.iter().any(|p| p.hub.is_some()) {
        printer.line("");
    }
    table.print(printer);
    let pairs: Vec<(SlotNo, PortPath)> = slots.iter().map(|slot| (slot.number, slot.port.clone())).collect();
    let troubles = preflight(topology, &pairs);
    for trouble in &troubles {
        let what = trouble.to_string();
        if printer.is_json() {
            printer.object(&WarningEvent {
                event: "warning",
                what: &what,
                next: trouble.next(),
            });
            continue;
        }
        printer.line(Text::new().paint(Paint::Warn, "warning:").then(" ").then(what));
        printer.line(Text::new().paint(Paint::Busy, "  next:").then(" ").then(trouble.next()));
    }
}

#[derive(Serialize)]
struct ChangeEvent<'a> {
    event: &'static str,
    slot: Option<SlotNo>,
    port: &'a PortPath,
    device: Shown,
}

/// One line for a device that came or went.
fn tell(change: &Change, slots: &[RackSlot], printer: &Printer) {
    let (event, attached) = match change {
        Change::Came(attached) => ("came", attached),
        Change::Left(attached) => ("left", attached),
    };
    let (slot, device) = (slot_at(slots, &attached.port).map(|slot| slot.number), Shown::from(attached));
    if printer.is_json() {
        return printer.object(&ChangeEvent {
            event,
            slot,
            port: &attached.port,
            device,
        });
    }
    let place = match slot {
        Some(slot) => Text::new().paint(Paint::Bold, format!("slot {slot}")),
        None => Text::new().paint(Paint::Warn, attached.port.to_string()),
    };
    printer.line(place.then(": ").join(device.phrase()).then(format!(" {event}")));
}
