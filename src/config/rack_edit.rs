//! Writes ports into the text of a station file, and leaves everything else in it as it is: comments, order, spelling.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use super::error::{ConfigError, ConfigErrors, Problem};
use crate::model::{PortPath, SlotNo};

/// The text with these ports; a slot that it does not have yet gets a table of its own, after the others.
///
/// # Errors
/// If the text is not TOML.
pub fn with_ports(name: &str, text: &str, ports: &[(SlotNo, PortPath)]) -> Result<String, ConfigErrors> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
        let problem = Problem::Syntax {
            message: error.message().to_owned(),
        };
        ConfigErrors::new(
            name,
            vec![ConfigError {
                line,
                key: String::new(),
                problem,
            }],
        )
    })?;
    let slots = document
        .entry("slot")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    for (slot, port) in ports {
        match slots {
            Item::Value(Value::Array(array)) => in_array(array, *slot, port),
            Item::ArrayOfTables(tables) => in_tables(tables, *slot, port),
            // Not a rack at all: whoever reads the text says so.
            _ => {}
        }
    }
    Ok(document.to_string())
}

/// The slots as `[[slot]]` tables.
fn in_tables(tables: &mut ArrayOfTables, slot: SlotNo, port: &PortPath) {
    if !tables.iter_mut().any(|table| set(table, slot, port)) {
        let mut table = Table::new();
        table.insert("number", value(i64::from(slot.0)));
        table.insert("port", value(port.to_string()));
        tables.push(table);
    }
}

/// The slots as `slot = [{ number = 1, ... }, ...]`.
fn in_array(array: &mut Array, slot: SlotNo, port: &PortPath) {
    let known = array
        .iter_mut()
        .filter_map(Value::as_inline_table_mut)
        .any(|table| set(table, slot, port));
    if !known {
        let mut table = InlineTable::new();
        table.insert("number", i64::from(slot.0).into());
        table.insert("port", port.to_string().into());
        array.push(table);
    }
}

/// Sets the port of a table if it is that of the slot.
fn set(table: &mut dyn TableLike, slot: SlotNo, port: &PortPath) -> bool {
    if table.get("number").and_then(Item::as_integer) != Some(i64::from(slot.0)) {
        return false;
    }
    match table.get_mut("port").and_then(Item::as_value_mut) {
        Some(old) => {
            // What stands around the value, such as a comment at the end of its line, stays.
            let decor = old.decor().clone();
            *old = Value::from(port.to_string());
            *old.decor_mut() = decor;
        }
        None => {
            table.insert("port", value(port.to_string()));
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, ports: &[(u16, &str)]) -> String {
        let ports: Vec<_> = ports.iter().map(|(n, port)| (SlotNo(*n), port.parse().unwrap())).collect();
        with_ports("station.toml", text, &ports).unwrap()
    }

    #[test]
    fn only_the_ports_change_in_the_station_file_as_shipped() {
        let shipped = include_str!("../../station.toml");
        let text = edited(shipped, &[(3, "pci-0000:00:14.0/3"), (8, "pci-0000:00:14.0/2")]);
        let changed: Vec<(&str, &str)> = shipped.lines().zip(text.lines()).filter(|(a, b)| a != b).collect();
        assert_eq!(
            changed,
            [
                ("port = \"pci-0000:00:14.0/1.3\"", "port = \"pci-0000:00:14.0/3\""),
                ("port = \"pci-0000:00:14.0/1.8\"", "port = \"pci-0000:00:14.0/2\""),
            ]
        );
        assert_eq!(shipped.lines().count(), text.lines().count());
        assert_eq!(edited(shipped, &[]), shipped);
    }

    #[test]
    fn a_comment_beside_a_port_stays_and_new_slots_come_after_the_old_ones() {
        let text =
            "# rack\n[[slot]]\nnumber = 1 # left\nport = \"a/1\"   # the blue cable\n\n# recipes\n[[recipe]]\nname = \"x\"\n";
        assert_eq!(
            edited(text, &[(2, "b/2"), (1, "b/1")]),
            "# rack\n[[slot]]\nnumber = 1 # left\nport = \"b/1\"   # the blue cable\n\n[[slot]]\nnumber = 2\nport = \"b/2\"\n\n\
             # recipes\n[[recipe]]\nname = \"x\"\n"
        );
        assert_eq!(edited("", &[(1, "b/1")]), "[[slot]]\nnumber = 1\nport = \"b/1\"\n");
    }

    #[test]
    fn slots_in_one_line_are_edited_there_and_a_missing_port_is_added() {
        assert_eq!(
            edited(
                "slot = [{ number = 1, port = \"a/1\" }, { number = 2 }]\n",
                &[(1, "b/1"), (2, "b/2"), (3, "b/3")]
            ),
            "slot = [{ number = 1, port = \"b/1\" }, { number = 2 , port = \"b/2\" }, { number = 3, port = \"b/3\" }]\n"
        );
    }

    #[test]
    fn what_is_no_toml_is_reported_with_its_line() {
        let error = with_ports("s.toml", "a = 1\nb =\n", &[]).unwrap_err();
        assert!(error.to_string().starts_with("s.toml:2: "), "{error}");
    }
}
