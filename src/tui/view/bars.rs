//! The two lines at the bottom: the scan line with what there is to say, and the keys.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    rack::RackView,
    tui::{
        app::{App, Screen},
        keymap::{self, TABLE},
        theme::{Theme, Tone},
    },
};

use super::text::cut;

/// So many lines.
pub(super) const HEIGHT: u16 = 2;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, app: &App, theme: Theme) {
    let [line, keys] = [0, 1].map(|i| Rect::new(area.x, area.y + i, area.width, 1));
    frame.render_widget(scan_line(line.width, rack, app, theme), line);
    frame.buffer_mut().set_style(keys, theme.raised(Tone::Plain));
    frame.render_widget(key_bar(keys.width, theme), keys);
}

fn scan_line(width: u16, rack: &RackView, app: &App, theme: Theme) -> Line<'static> {
    let mut spans = vec![Span::styled(" scan ", theme.text(Tone::Dim))];
    let shown = app.line_shown();
    let room = usize::from(width).saturating_sub(8);
    let length = shown.chars().count();
    let tail: String = shown.chars().skip(length.saturating_sub(room)).collect();
    spans.push(Span::styled(format!("{tail}▏"), theme.text(Tone::Strong)));
    let room = room.saturating_sub(length + 2);
    let (tone, text) = match (&app.notice, &rack.locked) {
        (Some(notice), _) => (if notice.bad { Tone::Bad } else { Tone::Warn }, notice.text.clone()),
        (None, Some(why)) => (Tone::Fault, format!("the cloud does not accept the token: {why}")),
        // What this screen offers, unless it says so itself, while there is nothing else to say and nobody is asked.
        (None, None) => match app
            .offered(rack)
            .filter(|_| app.question.is_none() && !says_itself(app.screen))
        {
            Some(offered) => (Tone::Busy, offered),
            None => return Line::from(spans),
        },
    };
    spans.push(Span::styled(format!("  {}", cut(&text, room)), theme.text(tone)));
    Line::from(spans)
}

const fn says_itself(screen: Screen) -> bool {
    matches!(screen, Screen::Device | Screen::Outbox | Screen::Recipes)
}

/// The keys with their words; close together where there is little room, and the last ones left out where there is none.
fn key_bar(width: u16, theme: Theme) -> Line<'static> {
    let keys = || {
        TABLE
            .iter()
            .filter_map(|row| Some((keymap::name(*row.keys.first()?), row.word?)))
    };
    let wide: usize = keys().map(|(key, word)| key.len() + word.len() + 3).sum();
    let space = if wide <= usize::from(width) { " " } else { "" };
    let mut spans = Vec::new();
    let mut room = usize::from(width) + 1;
    for (key, word) in keys() {
        let Some(rest) = room.checked_sub(key.len() + word.len() + 1 + 2 * space.len()) else {
            break;
        };
        room = rest;
        spans.push(Span::styled(format!("{space}{key}"), theme.raised(Tone::Strong)));
        spans.push(Span::styled(format!("{space}{word} "), theme.raised(Tone::Busy)));
    }
    Line::from(spans)
}
