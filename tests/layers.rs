//! The directions of imports and the one home of each I/O crate, by reading the sources.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What each top-level module may import of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("edge", &["model"]),
    // `rack` names the plain type of an attachment; nothing of the edge that acts.
    ("rack", &["model", "edge"]),
    // Keys are pure, too, and one reader of server keys and addresses is enough.
    ("config", &["model", "keys"]),
    ("firmware", &["model"]),
    // Randomness is handed in as a trait of the edge.
    ("keys", &["model", "edge"]),
    ("device", &["model", "edge"]),
    ("cloud", &["model", "edge"]),
    ("store", &["model", "edge"]),
    ("steps", &["device", "firmware", "keys", "model", "edge", "rack"]),
    (
        "station",
        &[
            "rack", "steps", "store", "cloud", "device", "firmware", "keys", "model", "edge",
        ],
    ),
    ("sim", &["model", "edge"]),
    // `edge` for time and threads; of `rack` and `store` only what is read, see `TUI_MAY_KNOW`.
    ("tui", &["rack", "model", "store", "edge"]),
    (
        "cli",
        &[
            "tui", "station", "sim", "rack", "steps", "store", "cloud", "config", "firmware", "keys", "device", "model", "edge",
        ],
    ),
];

/// The parts of `model` that the simulator may know: ids, ports, times, the wrapper for secrets. It reads headers, keys
/// and form fields with code of its own.
const SIM_MAY_KNOW: &[&str] = &[
    "DeviceId",
    "PortPath",
    "Mono",
    "Wall",
    "Secret",
    "SlotNo",
    "ProductId",
    "self",
    "id",
    "port",
    "time",
    "secret",
];

/// The parts of the core and the store that the screen may know: what is shown, what can be asked for, what is read. It
/// decides nothing and changes nothing.
const TUI_MAY_KNOW: &[&str] = &[
    "rack::RackView",
    "rack::Command",
    "rack::Ending",
    "rack::OrderName",
    "rack::Told",
    "rack::view",
    "rack::run",
    "store::DeviceRow",
    "store::ItemRow",
    "store::Standing",
    "store::Apart",
    "store::Yield",
    "store::Reader",
    "store::StoreError",
    "store::read",
];

/// The only files that may name an I/O crate.
const HOMES: &[(&str, &[&str])] = &[
    ("rusqlite", &["src/store/"]),
    ("reqwest", &["src/cloud/http"]),
    ("axum", &["src/sim/"]),
    ("rusb", &["src/device/usb/libusb.rs"]),
    ("probe_rs", &["src/device/swd", "src/sim/"]),
    ("ratatui", &["src/tui/"]),
    ("crossterm", &["src/tui/"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, into: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test(&path) {
                let text = fs::read_to_string(&path).unwrap();
                into.push((path, text));
            }
        }
    }
    let mut all = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    all
}

/// Files of tests may judge with anything.
fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

/// The path below the project, with forward slashes.
fn short(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .to_string_lossy()
        .replace('\\', "/")
}

/// The code of a file: no comments, no documentation, nothing after its tests begin.
fn code(text: &str) -> String {
    let live = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    live.lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The names that follow `crate::` in a file, one for each import path, groups opened.
fn imports(code: &str) -> Vec<String> {
    let flat: String = code.split_whitespace().collect::<Vec<_>>().join("");
    let mut found = Vec::new();
    for (at, _) in flat.match_indices("crate::") {
        let rest = &flat[at + "crate::".len()..];
        found.extend(open_group(rest));
    }
    found
}

/// `{a::{b,c},d}` as `a::b`, `a::c`, `d`; a plain path as itself.
fn open_group(text: &str) -> Vec<String> {
    if let Some(inner) = text.strip_prefix('{') {
        let (mut depth, mut start, mut out) = (0usize, 0usize, Vec::new());
        for (i, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    out.extend(open_group(&inner[start..i]));
                    return out;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    out.extend(open_group(&inner[start..i]));
                    start = i + 1;
                }
                _ => {}
            }
        }
        return out;
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let path = text[..end].trim_end_matches("::").to_owned();
    match text[end..].strip_prefix('{') {
        Some(_) if text[..end].ends_with("::") => open_group(&text[end..])
            .into_iter()
            .map(|tail| format!("{path}::{tail}"))
            .collect(),
        _ if path.is_empty() => Vec::new(),
        _ => vec![path],
    }
}

#[test]
fn imports_point_down() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let short = short(&path);
        let mut parts = short.trim_start_matches("src/").split('/');
        let module = parts.next().unwrap().trim_end_matches(".rs").to_owned();
        let Some(may) = allowed.get(module.as_str()) else {
            assert!(
                ["lib", "main"].contains(&module.as_str()),
                "{short}: a new top-level module needs a row in ALLOWED"
            );
            continue;
        };
        for import in imports(&code(&text)) {
            let first = import.split("::").next().unwrap();
            if first != module && allowed.contains_key(first) && !may.contains(&first) {
                wrong.push(format!("{short}: crate::{import}"));
            }
            if module == "tui" && matches!(first, "rack" | "store") {
                let part = import.split("::").take(2).collect::<Vec<_>>().join("::");
                if !TUI_MAY_KNOW.contains(&part.as_str()) {
                    wrong.push(format!("{short}: crate::{import} (the screen decides nothing)"));
                }
            }
            if module == "sim" && first == "model" {
                let second = import.split("::").nth(1).unwrap_or("self");
                if !SIM_MAY_KNOW.contains(&second) {
                    wrong.push(format!("{short}: crate::{import} (the simulator has hands of its own)"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn each_io_crate_has_one_home() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let (short, code) = (short(&path), code(&text));
        for (name, homes) in HOMES {
            if code.contains(&format!("{name}::")) && !homes.iter().any(|home| short.starts_with(home)) {
                wrong.push(format!("{short}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "I/O crates outside of their home:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_groups() {
    let text = "use crate::{edge::{Bus, Pipe}, model::DeviceId}; fn f() { crate::keys::classify() }";
    assert_eq!(
        imports(text),
        ["edge::Bus", "edge::Pipe", "model::DeviceId", "keys::classify"]
    );
}
