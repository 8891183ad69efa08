//! What is owed to the cloud, and what was refused and why.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    model::{
        Code,
        outbox::{Answer, ItemState},
        sentence::{answer_words, errand, harmless},
    },
    rack::RackView,
    store::ItemRow,
    tui::{
        app::App,
        theme::{Theme, Tone},
    },
};

use super::{
    scrolled,
    text::{moment, wrap},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, app: &App, theme: Theme) {
    let inner = Rect::new(area.x + 1, area.y, area.width.saturating_sub(1), area.height);
    scrolled(frame, inner, content(rack, app, area.width, theme), app.scroll, theme);
}

/// All lines, for a screen of this width.
pub(super) fn content(rack: &RackView, app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let width = width.saturating_sub(2);
    let mut lines = Vec::new();
    if let Some(why) = &rack.locked {
        let text = format!("the cloud does not accept the token: {why}");
        lines.extend(paragraph(&text, width, Tone::Fault, theme));
        let next = format!("next: {}", Code::CloudAuth.next_action());
        lines.extend(paragraph(&next, width, Tone::Busy, theme));
        lines.push(Line::default());
    }
    let Some(owed) = &app.owed else {
        lines.push(Line::styled("reading the ledger", theme.text(Tone::Dim)));
        return lines;
    };
    if owed.open.is_empty() {
        lines.push(Line::styled("nothing is owed to the cloud", theme.text(Tone::Good)));
    } else {
        let count = format!("{} owed, oldest first; what can be sent is sent by itself", owed.open.len());
        lines.push(Line::styled(count, theme.text(Tone::Strong)));
        lines.extend(
            app.offered(rack)
                .map(|offered| Line::styled(offered, theme.text(Tone::Strong))),
        );
        owed.open.iter().for_each(|row| item(row, width, theme, &mut lines));
    }
    if !owed.refused.is_empty() {
        lines.push(Line::default());
        let count = format!("{} refused for good, the latest first", owed.refused.len());
        lines.push(Line::styled(count, theme.text(Tone::Strong)));
        owed.refused.iter().for_each(|row| item(row, width, theme, &mut lines));
    }
    lines
}

/// One item: whose, where it stands, what, and what the cloud said last.
fn item(row: &ItemRow, width: u16, theme: Theme, lines: &mut Vec<Line<'static>>) {
    let (word, tone) = match row.state {
        ItemState::Held => ("held", Tone::Hold),
        ItemState::Queued => ("queued", Tone::Warn),
        ItemState::Sent => ("sent", Tone::Busy),
        ItemState::Accepted => ("accepted", Tone::Good),
        ItemState::Refused => ("refused", Tone::Bad),
        ItemState::Withdrawn => ("withdrawn", Tone::Dim),
    };
    lines.push(Line::from(vec![
        Span::styled(format!("{} ", row.item.device), theme.text(Tone::Strong)),
        Span::styled(format!("{word:<9} "), theme.text(tone)),
        Span::styled(format!("since {}", moment(row.queued_at)), theme.text(Tone::Dim)),
    ]));
    lines.push(Line::styled(format!("    {}", errand(&row.item)), theme.text(Tone::Plain)));
    let Some(answer) = &row.last_answer else { return };
    let due = row
        .next_at
        .map(|at| format!("; again after {}", moment(at)))
        .unwrap_or_default();
    let text = format!("attempt {}: {}{due}", row.attempts, answer_words(answer));
    let mut say = |text: &str, tone| {
        let told = wrap(&harmless(text), width.saturating_sub(4)).into_iter();
        lines.extend(told.map(|part| Line::styled(format!("    {part}"), theme.text(tone))));
    };
    say(&text, Tone::Plain);
    if let Answer::Refused { code, .. } = answer {
        say(&format!("next: {}", code.next_action()), Tone::Busy);
    }
}

fn paragraph(text: &str, width: u16, tone: Tone, theme: Theme) -> Vec<Line<'static>> {
    wrap(&harmless(text), width)
        .into_iter()
        .map(|line| Line::styled(line, theme.text(tone)))
        .collect()
}
