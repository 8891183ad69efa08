//! The rules of the house: when the line stops, how long an engineer's PIN counts, how badges and work orders look.

use std::{path::PathBuf, time::Duration};

use super::{document::Table, value::Value};
use crate::model::scan::{Pattern, Patterns};

/// The tables `[line]`, `[engineer]` and `[scan]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct House {
    /// So many equal failures in a row, of different devices, stop the line; none never do.
    pub stop_after: Option<usize>,
    /// The file of the engineers with their hashed PINs; `None` for `engineers` in the state folder.
    pub engineers: Option<PathBuf>,
    /// How long a PIN counts.
    pub engineer_for: Duration,
    /// How badges and work orders look.
    pub patterns: Patterns,
}

/// Reads the three tables; each may be absent. The path is as written.
pub(super) fn read(root: &Table<'_>) -> Option<House> {
    let stop_after = line(root);
    let engineer = engineer(root);
    let patterns = scan(root);
    let (engineers, engineer_for) = engineer?;
    Some(House {
        stop_after: stop_after?,
        engineers,
        engineer_for,
        patterns: patterns?,
    })
}

fn line(root: &Table<'_>) -> Option<Option<usize>> {
    let default = usize::try_from(STOP_AFTER).ok();
    let Some(value) = root.get("line") else {
        return Some(default);
    };
    let table = value.table("must be a table [line] with stop_after")?;
    let after = table.get_or("stop_after", STOP_AFTER, |value| value.number(0..=100u32));
    table.end();
    Some(usize::try_from(after?).ok().filter(|after| *after > 0))
}

fn engineer(root: &Table<'_>) -> Option<(Option<PathBuf>, Duration)> {
    let Some(value) = root.get("engineer") else {
        return Some((None, FOR));
    };
    let table = value.table("must be a table [engineer] with file or time")?;
    let file = table.optional("file", |value| value.path());
    let time = table.get_or("time", FOR, |value| value.duration());
    table.end();
    Some((file?, time?))
}

fn scan(root: &Table<'_>) -> Option<Patterns> {
    let Some(value) = root.get("scan") else {
        return Some(Patterns::default());
    };
    let table = value.table("must be a table [scan] with badge or work_order")?;
    let default = Patterns::default();
    let badges = table.get_or("badge", default.badges, |value| patterns(&value, BADGE));
    let orders = table.get_or("work_order", default.orders, |value| patterns(&value, ORDER));
    table.end();
    Some(Patterns {
        badges: badges?,
        orders: orders?,
    })
}

/// One pattern, or a list of them.
fn patterns(value: &Value<'_>, allowed: &str) -> Option<Vec<Pattern>> {
    let one = |value: &Value<'_>| value.text(allowed, |text| text.parse().ok());
    if value.is_text() {
        return Some(vec![one(value)?]);
    }
    value.elements(allowed)?.iter().map(one).collect()
}

/// Three devices in a row that fail in the same way are hardly three bad devices.
const STOP_AFTER: u32 = 3;
const FOR: Duration = Duration::from_secs(15 * 60);
const BADGE: &str = "must be a pattern such as \"OP-{name}\", or a list of them";
const ORDER: &str = "must be a pattern such as \"WO-{id}/{quantity}\" or \"WO-{id}\", or a list of them";
