//! The keys, from their table, and what the states look like.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    model::Verdict,
    tui::{
        app::App,
        keymap::{TABLE, name},
        theme::{Theme, Tone, verdict_look},
    },
};

use super::{scrolled, text::wrap};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let inner = Rect::new(area.x + 1, area.y, area.width.saturating_sub(1), area.height);
    scrolled(frame, inner, content(area.width, theme), app.scroll, theme);
}

/// All of it, for a screen of this width.
pub(super) fn content(width: u16, theme: Theme) -> Vec<Line<'static>> {
    let width = width.saturating_sub(2);
    let mut lines = Vec::new();
    for row in TABLE {
        let keys: Vec<String> = row.keys.iter().map(|key| name(*key)).collect();
        let keys = format!("{:<KEYS$}", keys.join(" "));
        for (i, text) in wrap(row.about, width.saturating_sub(KEYS as u16)).into_iter().enumerate() {
            let lead = if i == 0 { keys.clone() } else { " ".repeat(KEYS) };
            lines.push(Line::from(vec![
                Span::styled(lead, theme.text(Tone::Strong)),
                Span::styled(text, theme.text(Tone::Plain)),
            ]));
        }
    }
    lines.push(Line::default());
    for text in ABOUT {
        lines.extend(
            wrap(text, width)
                .into_iter()
                .map(|line| Line::styled(line, theme.text(Tone::Plain))),
        );
    }
    lines.push(Line::default());
    for verdict in Verdict::ALL {
        let look = verdict_look(verdict);
        lines.push(Line::from(vec![
            Span::styled(format!("{} {:<12}", look.glyph, look.word), theme.text(look.tone)),
            Span::styled(meaning(verdict), theme.text(Tone::Plain)),
        ]));
    }
    lines
}

const fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "every step is done, and the cloud holds the device's key",
        Verdict::Fail => "the device is bad",
        Verdict::Fault => "the station, the cloud or a cable is bad; the device may be good",
        Verdict::RolledBack => "the cloud refused the new key; the old one is back",
        Verdict::Quarantined => "a named person has to decide",
        Verdict::Aborted => "a person stopped the run",
        Verdict::Owed => "done, and the cloud has still to be told",
    }
}

const ABOUT: &[&str] = &[
    "Plug a device in: it starts by itself. PASS or FAIL: unplug it, and the slot is free. No key is needed.",
    "What is typed or scanned goes to the scan line and does nothing else; Enter looks for the device in the rack.",
    "PROVED is PASS with a handshake newer than the upload.",
];
/// Columns for the names of keys.
const KEYS: usize = 12;
