//! What was done in the selected slot, record by record, the newest last.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::tui::{
    app::App,
    theme::{Theme, Tone},
};

use super::{most, scrolled, text::wrap};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let [head, rest] = [
        Rect::new(area.x + 1, area.y, area.width.saturating_sub(1), HEAD),
        Rect::new(
            area.x + 1,
            area.y + HEAD,
            area.width.saturating_sub(1),
            area.height.saturating_sub(HEAD),
        ),
    ];
    let title = format!("slot {}: what was done, the newest last; times in UTC", app.selected);
    frame.render_widget(Line::styled(title, theme.text(Tone::Strong)), head);
    let mut lines = content(app, area.width, theme);
    if lines.is_empty() {
        lines.push(Line::styled("nothing since the station started", theme.text(Tone::Dim)));
    }
    // Scrolling counts upwards from the newest line, so that what is new is seen.
    let from = most(lines.len(), rest.height).saturating_sub(app.scroll);
    scrolled(frame, rest, lines, from, theme);
}

/// All lines, for a screen of this width.
pub(super) fn content(app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let width = width.saturating_sub(2);
    let mut lines = Vec::new();
    for entry in app.story.log(Some(app.selected)) {
        // The day is in the ledger; here the time of day is enough (RFC 3339: after the T).
        let at = entry.at.to_string();
        let time = at.get(11..19).unwrap_or(&at).to_owned();
        let tone = match entry.verdict {
            Some(verdict) => Tone::of(verdict),
            None if entry.failed => Tone::Warn,
            None => Tone::Plain,
        };
        for (i, text) in wrap(&entry.text, width.saturating_sub(LEAD)).into_iter().enumerate() {
            let lead = match (i, entry.device) {
                (0, Some(device)) => format!("{time} {} ", device.short()),
                (0, None) => format!("{time}        "),
                _ => " ".repeat(usize::from(LEAD)),
            };
            lines.push(Line::from(vec![
                Span::styled(lead, theme.text(Tone::Dim)),
                Span::styled(text, theme.text(tone)),
            ]));
        }
    }
    lines
}

/// The line above the log.
pub(super) const HEAD: u16 = 1;
/// Time and device.
const LEAD: u16 = 16;
