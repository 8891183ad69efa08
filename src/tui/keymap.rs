//! Every key and what it does, in one table: what is pressed is looked up here, and the key bar and the help screen are
//! made from it.
//!
//! Commands are on function keys, arrows and Alt chords alone. Everything that a scanner can send, which is a keyboard,
//! too, belongs to the scan line: every printable character, Enter, Tab, and the separators of data-matrix labels.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a key asks the screen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Show the keys.
    Help,
    /// Show the rack.
    Floor,
    /// Show the selected slot.
    Slot,
    /// Show what was done in the selected slot.
    Log,
    /// Show the device in the selected slot, or the one that was scanned, as the ledger knows it.
    Device,
    /// Show what is owed to the cloud.
    Outbox,
    /// Show yield and failures.
    Yield,
    /// Show the recipes.
    Recipes,
    /// Stop the run in the selected slot.
    Abort,
    /// Start no new run, and end when those under way are judged.
    Finish,
    /// End at the next safe points.
    Quit,
    /// Show a PIN, or go as an engineer.
    Engineer,
    /// Do what the open screen offers.
    Go,
    /// Close a question, empty the scan line.
    Cancel,
    /// Paint everything anew.
    Repaint,
    /// Ring at a verdict, or do not.
    Bell,
    /// In a replay: stop, or go on.
    Pause,
    /// In a replay: to the next verdict.
    Jump,
    /// In a replay: twice as fast.
    Faster,
    /// In a replay: half as fast.
    Slower,
    /// Up.
    Up,
    /// Down.
    Down,
    /// Left.
    Left,
    /// Right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first.
    First,
    /// To the last.
    Last,
}

/// A key that can be pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A function key.
    F(u8),
    /// Alt and a letter.
    Alt(char),
    /// A key with a name.
    Named(KeyCode),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Its keys; the first is the one in the key bar.
    pub keys: &'static [Key],
    /// What they ask for.
    pub act: Act,
    /// Its word in the key bar, if it has a place there.
    pub word: Option<&'static str>,
    /// What it does, for the help screen.
    pub about: &'static str,
}

/// The table. Each function key has an Alt chord beside it, for terminals that keep function keys to themselves.
pub const TABLE: &[Binding] = &[
    row(&[Key::F(1), Key::Alt('h')], Act::Help, Some("help"), "these keys"),
    row(&[Key::F(2), Key::Alt('f')], Act::Floor, Some("floor"), "the rack, all slots"),
    row(
        &[Key::F(3), Key::Alt('s')],
        Act::Slot,
        Some("slot"),
        "the selected slot: its steps, and reason and next action in full",
    ),
    row(
        &[Key::F(4), Key::Alt('d')],
        Act::Device,
        Some("device"),
        "the device in the slot, or scanned last: history, next action",
    ),
    row(
        &[Key::F(5), Key::Alt('o')],
        Act::Outbox,
        Some("outbox"),
        "what is owed to the cloud, and what was refused and why",
    ),
    row(
        &[Key::F(6), Key::Alt('y')],
        Act::Yield,
        Some("yield"),
        "first-pass yield, why runs failed, by slot and by hour",
    ),
    row(
        &[Key::F(7), Key::Alt('l')],
        Act::Log,
        Some("log"),
        "what was done in the selected slot, record by record",
    ),
    row(
        &[Key::F(8), Key::Alt('a')],
        Act::Abort,
        Some("abort"),
        "stop the run in the selected slot at a safe point; asks first",
    ),
    row(
        &[Key::F(9), Key::Alt('e')],
        Act::Finish,
        Some("finish"),
        "no new runs; end when those under way are judged; asks first",
    ),
    row(
        &[Key::F(10), Key::Alt('q')],
        Act::Quit,
        Some("quit"),
        "end at safe points; runs go on at the next start; asks first",
    ),
    row(
        &[Key::F(11), Key::Alt('u')],
        Act::Engineer,
        Some("engineer"),
        "give an engineer's PIN, or go as an engineer",
    ),
    row(
        &[Key::F(12), Key::Alt('g')],
        Act::Go,
        Some("go"),
        "do what the screen offers: release a stopped line; repair or release a device; send again what is owed; use another recipe; leave a step out",
    ),
    row(
        &[Key::Alt('c')],
        Act::Recipes,
        None,
        "the recipes: which product and firmware count, and others to choose from",
    ),
    row(&[Key::Named(KeyCode::Up)], Act::Up, None, "the slot above, or scroll up"),
    row(
        &[Key::Named(KeyCode::Down)],
        Act::Down,
        None,
        "the slot below, or scroll down",
    ),
    row(
        &[Key::Named(KeyCode::Left)],
        Act::Left,
        None,
        "the slot to the left, or the one before",
    ),
    row(
        &[Key::Named(KeyCode::Right)],
        Act::Right,
        None,
        "the slot to the right, or the next one",
    ),
    row(&[Key::Named(KeyCode::PageUp)], Act::PageUp, None, "a page up"),
    row(&[Key::Named(KeyCode::PageDown)], Act::PageDown, None, "a page down"),
    row(
        &[Key::Named(KeyCode::Home)],
        Act::First,
        None,
        "the first slot, or the beginning",
    ),
    row(&[Key::Named(KeyCode::End)], Act::Last, None, "the last slot, or the end"),
    row(
        &[Key::Named(KeyCode::Esc)],
        Act::Cancel,
        None,
        "close a question, empty the scan line",
    ),
    row(
        &[Key::Alt('b')],
        Act::Bell,
        None,
        "ring the bell at each verdict, or stop that",
    ),
    row(&[Key::Alt('r')], Act::Repaint, None, "paint the whole screen anew"),
    row(&[Key::Alt('p')], Act::Pause, None, "in a replay: stop, or go on"),
    row(&[Key::Alt('n')], Act::Jump, None, "in a replay: to the next verdict"),
    row(&[Key::Alt('.')], Act::Faster, None, "in a replay: twice as fast"),
    row(&[Key::Alt(',')], Act::Slower, None, "in a replay: half as fast"),
];

/// What a key event asks for, if it is a command.
pub fn act(event: KeyEvent) -> Option<Act> {
    let pressed = key(event)?;
    TABLE.iter().find(|row| row.keys.contains(&pressed)).map(|row| row.act)
}

/// The character that a key event adds to the scan line, if it is not a command: Enter is a carriage return, Backspace
/// takes one away.
pub fn typed(event: KeyEvent) -> Option<char> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let plain = event.modifiers.difference(KeyModifiers::SHIFT).is_empty();
    match event.code {
        KeyCode::Char(c) if plain => Some(c),
        // The separators of data-matrix labels come as control characters, and those come as Ctrl chords.
        KeyCode::Char('5' | ']') if event.modifiers == KeyModifiers::CONTROL => Some(GS),
        KeyCode::Char('6' | '^') if event.modifiers == KeyModifiers::CONTROL => Some(RS),
        KeyCode::Char('d') if event.modifiers == KeyModifiers::CONTROL => Some(EOT),
        KeyCode::Enter if plain => Some('\r'),
        KeyCode::Tab if plain => Some('\t'),
        KeyCode::Backspace if plain => Some(BACKSPACE),
        _ => None,
    }
}

/// What a key is called.
pub fn name(key: Key) -> String {
    match key {
        Key::F(n) => format!("F{n}"),
        Key::Alt(c) => format!("Alt-{}", c.to_ascii_uppercase()),
        Key::Named(KeyCode::PageUp) => "PgUp".to_owned(),
        Key::Named(KeyCode::PageDown) => "PgDn".to_owned(),
        Key::Named(code) => code.to_string(),
    }
}

/// The first key of an act, as it is called.
pub fn key_of(act: Act) -> String {
    TABLE
        .iter()
        .find(|row| row.act == act)
        .and_then(|row| row.keys.first())
        .map_or_else(String::new, |key| name(*key))
}

fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    match (event.code, event.modifiers) {
        (KeyCode::F(n), KeyModifiers::NONE) => Some(Key::F(n)),
        (KeyCode::Char(c), KeyModifiers::ALT) => Some(Key::Alt(c.to_ascii_lowercase())),
        (KeyCode::Char(_) | KeyCode::Enter | KeyCode::Tab | KeyCode::Backspace, _) => None,
        (code, KeyModifiers::NONE) => Some(Key::Named(code)),
        _ => None,
    }
}

const fn row(keys: &'static [Key], act: Act, word: Option<&'static str>, about: &'static str) -> Binding {
    Binding { keys, act, word, about }
}

/// Group separator.
pub const GS: char = '\u{1d}';
/// Record separator.
pub const RS: char = '\u{1e}';
/// End of transmission.
pub const EOT: char = '\u{4}';
/// What Backspace adds to the scan line.
pub const BACKSPACE: char = '\u{8}';

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_has_two_meanings_and_each_act_has_one_row() {
        let mut keys = BTreeSet::new();
        let mut acts = BTreeSet::new();
        for row in TABLE {
            for key in row.keys {
                assert!(keys.insert(name(*key)), "{} twice", name(*key));
            }
            assert!(acts.insert(format!("{:?}", row.act)), "{:?} twice", row.act);
            assert!(!row.about.is_empty() && !row.keys.is_empty());
        }
    }

    #[test]
    fn nothing_that_a_scanner_sends_is_a_command() {
        for code in (' '..='~')
            .map(KeyCode::Char)
            .chain([KeyCode::Enter, KeyCode::Tab, KeyCode::Char('é')])
        {
            for modifiers in [KeyModifiers::NONE, KeyModifiers::SHIFT] {
                let event = KeyEvent::new(code, modifiers);
                assert_eq!(act(event), None, "{code:?}");
                assert!(typed(event).is_some(), "{code:?}");
            }
        }
        for (code, control) in [('5', GS), (']', GS), ('6', RS), ('d', EOT)] {
            let event = KeyEvent::new(KeyCode::Char(code), KeyModifiers::CONTROL);
            assert_eq!((act(event), typed(event)), (None, Some(control)));
        }
    }

    #[test]
    fn every_row_is_found_by_its_keys() {
        for row in TABLE {
            for key in row.keys {
                let event = match key {
                    Key::F(n) => KeyEvent::new(KeyCode::F(*n), KeyModifiers::NONE),
                    Key::Alt(c) => KeyEvent::new(KeyCode::Char(*c), KeyModifiers::ALT),
                    Key::Named(code) => KeyEvent::new(*code, KeyModifiers::NONE),
                };
                assert_eq!(act(event), Some(row.act));
                assert_eq!(typed(event), None, "a command is never typed");
            }
        }
    }
}
