//! The text of a recipe: the same for every way of writing the same recipe, with every default written out, so that
//! a later program with other defaults reads the same recipe from it. Its SHA-256 is the recipe's identity.

use std::{fmt::Write, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{aim, recipe::RecipeSpec};
use crate::model::recipe::{Aim, ProtectedPolicy, Repair, ServerPolicy};

/// Writes a recipe. The server key is written as it was found, because the file it came from may change.
pub(super) fn write(spec: &RecipeSpec, server: &ServerPolicy) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        text.push_str(key);
        text.push_str(" = ");
        text.push_str(value);
        text.push('\n');
    };
    line("name", &quoted(&spec.name));
    line("platform", &quoted(spec.platform.name()));
    if let Some(product) = &spec.product {
        line("product", &quoted(&product.0));
    }
    match &spec.aim {
        Aim::Provision => provision(spec, &mut line),
        Aim::Repair(repair) => repairs(repair, &mut line),
    }
    line("keys", &quoted(&spec.keys.to_string()));
    line(
        "server",
        &match server {
            ServerPolicy::Keep => quoted("keep"),
            ServerPolicy::Set(settings) => {
                let port = settings.port.map(|port| format!(", port = {port}")).unwrap_or_default();
                format!(
                    "{{ spki = \"{}\", host = {}{port} }}",
                    STANDARD.encode(&settings.spki),
                    quoted(&settings.host)
                )
            }
        },
    );
    // A recipe that sets protected devices aside is one of before there was another way: it keeps its identity.
    if spec.protected != ProtectedPolicy::SetAside {
        line("protected", &quoted(&spec.protected.to_string()));
    }
    if let Some(wifi) = &spec.wifi {
        let password = wifi
            .password_file
            .as_deref()
            .map(|file| format!(", password_file = {}", path(file)))
            .unwrap_or_default();
        line("wifi", &format!("{{ ssid = {}{password} }}", quoted(&wifi.ssid)));
    }
    line("prove", if spec.prove { "true" } else { "false" });
    if spec.aim == Aim::Provision {
        line("finish_owed", if spec.finish_owed { "true" } else { "false" });
    }
    let t = &spec.timeouts;
    let times = [
        ("reappear", t.reappear),
        ("apply", t.apply),
        ("flash", t.flash),
        ("step", t.step),
        ("cloud", t.cloud),
        ("handshake", t.handshake),
    ];
    let times = times.map(|(key, time)| format!("{key} = \"{}\"", duration(time)));
    line("timeouts", &format!("{{ {} }}", times.join(", ")));
    text
}

/// What only provisioning has. Recipes of before there were repairs keep their text, and with it their identity.
fn provision(spec: &RecipeSpec, line: &mut dyn FnMut(&str, &str)) {
    line("activate_sim", if spec.activate_sim { "true" } else { "false" });
    let mut files = String::from("[");
    for file in &spec.firmware {
        let _ = write!(
            files,
            "\n    {{ file = {}, sha256 = \"{}\" }},",
            path(&file.file),
            file.sha256
        );
    }
    files.push_str(if spec.firmware.is_empty() { "]" } else { "\n]" });
    line("firmware", &files);
}

fn repairs(repair: &Repair, line: &mut dyn FnMut(&str, &str)) {
    line("aim", &quoted("repair"));
    line("work", &quoted(aim::word(repair.work)));
    let from: Vec<_> = repair.from.iter().map(|product| quoted(&product.0)).collect();
    line("from", &format!("[{}]", from.join(", ")));
    if let Some(reference) = &repair.reference {
        line("reference", &quoted(reference));
    }
}

fn path(path: &Path) -> String {
    quoted(path.to_str().expect("paths of recipes come from TOML, which is UTF-8"))
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn duration(time: Duration) -> String {
    match time.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}
