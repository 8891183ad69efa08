//! The rack: which slot is which USB port, and where it is on the screen.

use super::{document::Table, value::Value};
use crate::model::{PortPath, SlotNo};

/// One slot of the rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackSlot {
    /// Its number, as painted on the rack.
    pub number: SlotNo,
    /// Its USB port.
    pub port: PortPath,
    /// Where it is on the rack; `None` leaves that to the screen.
    pub position: Option<Position>,
    /// What is written beside it.
    pub label: Option<String>,
}

/// A place on the rack, seen from the front, counted from the upper left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Row, from 1.
    pub row: u8,
    /// Column, from 1.
    pub column: u8,
}

/// Reads all `[[slot]]` tables. No two slots may have the same number, port or position.
pub(super) fn read_all(root: &Table<'_>) -> Option<Vec<RackSlot>> {
    let all = root.need("slot", "a rack needs at least one [[slot]] with number and port")?;
    let elements = all.elements(TABLES)?;
    if elements.is_empty() {
        return all.refuse("a rack needs at least one [[slot]] with number and port");
    }
    let (mut numbers, mut ports, mut positions) = (Unique::new("number"), Unique::new("port"), Unique::new("position"));
    let mut slots = Vec::new();
    let mut whole = true;
    for element in &elements {
        let slot = (|| {
            let table = element.table(TABLES)?;
            let number = table.need("number", NUMBER).and_then(|value| {
                let number = value.number(1..=MOST_SLOTS)?;
                numbers.claim(&value, number).then_some(SlotNo(number))
            });
            let port = table.need("port", PORT).and_then(|value| {
                let port = value.text(PORT, |text| text.parse::<PortPath>().ok())?;
                ports.claim(&value, port.clone()).then_some(port)
            });
            let position = position(&table, &mut positions);
            let label = table.optional("label", |value| value.words(24));
            table.end();
            Some(RackSlot {
                number: number?,
                port: port?,
                position: position?,
                label: label?,
            })
        })();
        whole &= slot.is_some();
        slots.extend(slot);
    }
    slots.sort_by_key(|slot| slot.number);
    whole.then_some(slots)
}

fn position(table: &Table<'_>, taken: &mut Unique<Position>) -> Option<Option<Position>> {
    let (row, column) = (table.get("row"), table.get("column"));
    match (row, column) {
        (None, None) => Some(None),
        (Some(alone), None) | (None, Some(alone)) => alone.refuse("row and column go together"),
        (Some(row), Some(column)) => {
            let at = (row.number(1..=99u8), column.number(1..=99u8));
            let at = Position {
                row: at.0?,
                column: at.1?,
            };
            taken.claim(&row, at).then_some(Some(at))
        }
    }
}

/// Values that may occur only once, with the lines where they did.
pub(super) struct Unique<T> {
    what: &'static str,
    seen: Vec<(T, usize)>,
}

impl<T: PartialEq> Unique<T> {
    /// Nothing seen yet; `what` names the thing in errors.
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, seen: Vec::new() }
    }

    /// Takes a value; reports and returns false if it was taken before.
    pub(super) fn claim(&mut self, value: &Value<'_>, content: T) -> bool {
        if let Some((_, line)) = self.seen.iter().find(|(seen, _)| *seen == content) {
            value.refuse::<()>(format!("must differ from line {line}, which has the same {}", self.what));
            return false;
        }
        self.seen.push((content, value.line()));
        true
    }
}

const TABLES: &str = "must be [[slot]] tables, each with number and port";
const NUMBER: &str = "the slot's number as painted on the rack, such as number = 1";
const PORT: &str = "must be a port path such as \"pci-0000:00:14.0/3.2\"";
/// More slots than any rack has; the screen shows up to 64 at a time.
const MOST_SLOTS: u16 = 999;
