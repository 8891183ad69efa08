//! A batch of packets on the screen: a table of those that fit, and of each other one why not.

use std::path::Path;

use serde::Serialize;

use super::judge::{Fate, Judged, Why};
use crate::{
    cli::{
        print::{Paint, Printer, Text},
        table::Table,
    },
    model::{DeviceId, Fingerprint, KeyKind, Platform, ProductId, StationId, Wall, packet::Unchecked},
};

/// A possible packet as `--json` prints it.
#[derive(Serialize)]
struct PacketEvent<'a> {
    event: &'static str,
    file: &'a Path,
    device: Option<DeviceId>,
    product: Option<&'a ProductId>,
    fingerprint: Option<Fingerprint>,
    kind: Option<KeyKind>,
    signed: Option<Signed<'a>>,
    /// `fits`, `repeated` or `refused`.
    result: &'static str,
    unchecked: &'a [Unchecked],
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
    /// True if a private key was given away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    leak: bool,
}

#[derive(Serialize)]
struct Signed<'a> {
    platform: Platform,
    station: &'a StationId,
    at: Wall,
}

/// Prints a batch.
pub(in crate::cli) fn batch(all: &[Judged], printer: &Printer) {
    if printer.is_json() {
        all.iter().for_each(|judged| printer.object(&event(judged)));
        return;
    }
    let mut table = Table::new(["device", "key", "product", "signed", "not checked"]);
    for judged in all {
        if let (Fate::Fits(unchecked), Some(packet)) = (&judged.fate, &judged.packet) {
            let manifest = packet.manifest.as_ref();
            let signed = manifest.map_or_else(String::new, |m| format!("{} by {} on {}", m.platform, m.station, m.at));
            let words: Vec<_> = unchecked.iter().map(|unchecked| unchecked.words()).collect();
            table.row([
                packet.device.to_string().into(),
                format!("{} {}", packet.key.kind, packet.key.fingerprint.short()).into(),
                judged.product.as_ref().map_or_else(String::new, ToString::to_string).into(),
                signed.into(),
                Text::new().paint(Paint::Warn, words.join("; ")),
            ]);
        }
    }
    table.print(printer);
    all.iter()
        .filter(|judged| !matches!(judged.fate, Fate::Fits(_)))
        .for_each(|judged| one(judged, printer));
}

/// Prints what is to become of one packet.
pub(in crate::cli) fn one(judged: &Judged, printer: &Printer) {
    if printer.is_json() {
        return printer.object(&event(judged));
    }
    match &judged.fate {
        Fate::Fits(_) => {}
        Fate::Repeated => printer.line(format!(
            "{}: the same packet came before; it counts once",
            judged.path.display()
        )),
        Fate::Refused(why) => refused(judged, why, printer),
    }
}

fn refused(judged: &Judged, why: &Why, printer: &Printer) {
    let word = if why.is_leak() { "PRIVATE KEY REFUSED" } else { "refused" };
    let whose = judged.device.map(|device| format!(" ({device})")).unwrap_or_default();
    printer.line(
        Text::new()
            .paint(Paint::Bad, word)
            .then(format!(" {}{whose}: {why}", judged.path.display())),
    );
    printer.line(Text::new().paint(Paint::Busy, "  next: ").then(why.next()));
}

fn event(judged: &Judged) -> PacketEvent<'_> {
    let packet = judged.packet.as_ref();
    let (result, unchecked, why) = match &judged.fate {
        Fate::Fits(unchecked) => ("fits", &unchecked[..], None),
        Fate::Repeated => ("repeated", &[][..], None),
        Fate::Refused(why) => ("refused", &[][..], Some(why)),
    };
    PacketEvent {
        event: "packet",
        file: &judged.path,
        device: judged.device,
        product: judged.product.as_ref(),
        fingerprint: packet.map(|packet| packet.key.fingerprint),
        kind: packet.map(|packet| packet.key.kind),
        signed: packet.and_then(|packet| packet.manifest.as_ref()).map(|manifest| Signed {
            platform: manifest.platform,
            station: &manifest.station,
            at: manifest.at,
        }),
        result,
        unchecked,
        why: why.map(ToString::to_string),
        next: why.map(Why::next),
        leak: why.is_some_and(Why::is_leak),
    }
}
