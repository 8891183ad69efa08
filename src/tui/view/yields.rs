//! First-pass yield, why runs failed, and how the slots and the hours compare, drawn as bars.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::tui::{
    app::App,
    ledger::Shift,
    theme::{Theme, Tone, verdict_look},
};

use super::scrolled;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let inner = Rect::new(area.x + 1, area.y, area.width.saturating_sub(1), area.height);
    scrolled(frame, inner, content(app, area.width, theme), app.scroll, theme);
}

/// All lines, for a screen of this width.
pub(super) fn content(app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let Some(shift) = &app.shift else {
        return vec![Line::styled("reading the ledger", theme.text(Tone::Dim))];
    };
    let room = usize::from(width.saturating_sub(2)).saturating_sub(LEAD + 22).min(80);
    let mut lines = vec![Line::styled(first_pass(shift), theme.text(Tone::Strong))];
    let mut verdicts = Vec::new();
    for (verdict, count) in shift.yields.verdicts.iter().filter(|(_, count)| *count > 0) {
        let look = verdict_look(*verdict);
        verdicts.push(Span::styled(
            format!("{} {} {count}  ", look.glyph, look.word),
            theme.text(look.tone),
        ));
    }
    lines.push(Line::from(verdicts));
    if !shift.yields.codes.is_empty() {
        head(&mut lines, "why runs did not simply pass, the most frequent first", theme);
        let most = shift.yields.codes.first().map_or(1, |(_, count)| *count);
        let all: u64 = shift.yields.codes.iter().map(|(_, count)| count).sum();
        let mut sum = 0;
        for (code, count) in &shift.yields.codes {
            sum += count;
            let share = (sum * 100).checked_div(all).unwrap_or(0);
            let text = format!("{count:>5}  {share:>3} %");
            lines.push(bar(code.text(), *count, most, room, Tone::Bad, &text, theme));
        }
    }
    if !shift.slots.is_empty() {
        head(&mut lines, "passed, by slot", theme);
        for (slot, (passed, all)) in &shift.slots {
            lines.push(share(&format!("slot {slot}"), *passed, *all, room, theme));
        }
    }
    if !shift.hours.is_empty() {
        head(&mut lines, "verdicts by hour, UTC", theme);
        let most = shift.hours.values().map(|(_, all)| *all).max().unwrap_or(1);
        for (hour, (passed, all)) in &shift.hours {
            let text = format!("{all:>5}, {passed} passed");
            lines.push(bar(
                &format!("{:02}:00", hour.rem_euclid(24)),
                *all,
                most,
                room,
                Tone::Busy,
                &text,
                theme,
            ));
        }
    }
    lines
}

fn first_pass(shift: &Shift) -> String {
    let yields = &shift.yields;
    match (yields.first_passes * 100).checked_div(yields.first_runs) {
        Some(percent) => format!(
            "the last 12 hours: first-pass yield {percent} % ({} of {} devices), {} proved",
            yields.first_passes, yields.first_runs, yields.proved
        ),
        None => "the last 12 hours: no device had its first run".to_owned(),
    }
}

fn head(lines: &mut Vec<Line<'static>>, text: &'static str, theme: Theme) {
    lines.push(Line::default());
    lines.push(Line::styled(text, theme.text(Tone::Strong)));
}

fn share(name: &str, passed: u64, all: u64, room: usize, theme: Theme) -> Line<'static> {
    let percent = (passed * 100).checked_div(all).unwrap_or(0);
    // A slot that is worse than its neighbours is its cable's or its port's fault as often as not.
    let tone = if percent < 80 { Tone::Warn } else { Tone::Good };
    let text = format!("{percent:>3} % of {all}");
    bar(name, passed, all.max(1), room, tone, &text, theme)
}

fn bar(name: &str, value: u64, most: u64, room: usize, tone: Tone, text: &str, theme: Theme) -> Line<'static> {
    let length = usize::try_from((value * room as u64).checked_div(most).unwrap_or(0)).unwrap_or(0);
    Line::from(vec![
        Span::styled(format!("{name:<LEAD$} "), theme.text(Tone::Plain)),
        Span::styled("█".repeat(length), theme.text(tone)),
        Span::styled("·".repeat(room.saturating_sub(length)), theme.text(Tone::Dim)),
        Span::styled(format!(" {text}"), theme.text(Tone::Plain)),
    ])
}

/// Columns for names: the longest code.
const LEAD: usize = 20;
