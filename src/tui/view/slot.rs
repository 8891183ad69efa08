//! One slot: a banner that is read from afar, the reason and the one next action in full, and each step with what became
//! of it.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    model::{
        Outcome, Verdict,
        sentence::{harmless, lower, took},
    },
    rack::{
        RackView,
        run::StepState,
        view::{Awaits, SlotView},
    },
    tui::{
        app::App,
        story::Seat,
        theme::{Theme, Tone, look, registration},
    },
};

use super::{
    banner, scrolled, selected,
    text::{clock, wrap},
    tile::{gauge, percent},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, app: &App, theme: Theme) {
    let Some(view) = selected(rack, app) else { return };
    let seat = app
        .story
        .seat(view.slot)
        .filter(|seat| seat.device == view.device && seat.device.is_some());
    let [top, rest] = Layout::vertical([Constraint::Length(banner::HEIGHT), Constraint::Fill(1)]).areas(area);
    let proved = view.verdict == Some(Verdict::Pass) && seat.is_some_and(|seat| seat.proved);
    let letters = banner::lines(&view.slot.to_string(), &look(view.awaits), proved, top.width, theme);
    frame.render_widget(Paragraph::new(letters), top);
    let inner = Rect::new(rest.x + 1, rest.y, rest.width.saturating_sub(1), rest.height);
    let (lines, now) = content(rack, app, area.width, theme);
    // By itself so far that the present step is on the screen.
    let now = now.and_then(|now| u16::try_from(now).ok()).unwrap_or(0);
    let by_itself = (now + 4).saturating_sub(inner.height);
    let from = if app.scroll == 0 { by_itself } else { app.scroll };
    scrolled(frame, inner, lines, from, theme);
}

/// All lines below the banner, for a screen of this width, and which of them is the present step.
pub(super) fn content(rack: &RackView, app: &App, width: u16, theme: Theme) -> (Vec<Line<'static>>, Option<usize>) {
    let Some(view) = selected(rack, app) else {
        return (Vec::new(), None);
    };
    let seat = app
        .story
        .seat(view.slot)
        .filter(|seat| seat.device == view.device && seat.device.is_some());
    let width = width.saturating_sub(2);
    let mut lines = vec![Line::default()];
    lines.extend(head(view, seat, app, width, theme));
    lines.extend(reason(view, width, theme));
    lines.push(Line::default());
    let now = steps(view, seat, app, &mut lines, width, theme);
    (lines, now)
}

/// Who, how long, and what the cloud said.
fn head(view: &SlotView, seat: Option<&Seat>, app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let mut words = Vec::new();
    match view.device {
        Some(device) => words.push(device.to_string()),
        None => words.push("no device".to_owned()),
    }
    if let Some(seat) = seat {
        words.extend(seat.platform.map(|platform| platform.to_string()));
        words.extend(seat.serial.as_deref().map(|serial| format!("serial {}", harmless(serial))));
        if let Some(hash) = seat.recipe {
            words.push(format!("recipe {} {}", app.story.recipe(hash).unwrap_or("?"), hash.short()));
        }
        if let Some(started) = seat.started {
            let until = seat.ended.unwrap_or(app.now);
            let elapsed = clock(u64::try_from(until.millis() - started.millis()).unwrap_or(0));
            let expected = seat.recipe.and_then(|recipe| app.story.expected_ms(recipe));
            words.push(match (expected, seat.ended) {
                (Some(ms), None) => format!("{elapsed} of {} expected", clock(ms)),
                _ => elapsed,
            });
        }
    }
    let mut lines: Vec<Line<'static>> = wrap(&words.join(" · "), width)
        .into_iter()
        .map(|line| Line::styled(line, theme.text(Tone::Strong)))
        .collect();
    let mut state = Vec::new();
    if seat.is_some_and(|seat| seat.labelled) {
        state.push(Span::styled("label ✓ its own   ", theme.text(Tone::Good)));
    }
    if let Some(cloud) = view.cloud {
        let (word, glyph, tone) = registration(cloud);
        state.push(Span::styled(format!("key {glyph} {word}"), theme.text(tone)));
    }
    if view.held {
        let text = "   held in DFU mode until the cloud has answered";
        state.push(Span::styled(text, theme.text(Tone::Busy)));
    }
    if view.stopping {
        state.push(Span::styled("   stops at its next safe point", theme.text(Tone::Warn)));
    }
    if !state.is_empty() {
        lines.push(Line::from(state));
    }
    lines
}

/// Why it is not simply PASS, and the one next action: in full.
fn reason(view: &SlotView, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let Some(code) = view.code else { return Vec::new() };
    let why = if view.why.is_empty() {
        lower(code.what())
    } else {
        harmless(&view.why)
    };
    let tone = look(view.awaits).tone;
    let mut lines = vec![Line::default()];
    lines.push(Line::from(vec![
        Span::styled(format!("{} ", look(view.awaits).glyph), theme.text(tone)),
        Span::styled(code.text(), theme.text(tone)),
        Span::styled(format!("  {}", code.what()), theme.text(Tone::Plain)),
    ]));
    if lines[1].width() > usize::from(width) {
        lines.pop();
        lines.push(Line::styled(code.text(), theme.text(tone)));
        lines.extend(plain(code.what(), width, Tone::Plain, theme));
    }
    if why != lower(code.what()) {
        lines.extend(plain(&why, width, Tone::Plain, theme));
    }
    lines.extend(plain(
        &format!("next ({}): {}", owner(code.owner()), code.next_action()),
        width,
        Tone::Busy,
        theme,
    ));
    lines
}

/// The steps with their outcomes, into `lines`; the line of the present one.
fn steps(
    view: &SlotView,
    seat: Option<&Seat>,
    app: &App,
    lines: &mut Vec<Line<'static>>,
    width: u16,
    theme: Theme,
) -> Option<usize> {
    let run = view.detail.as_deref()?;
    let mut now = None;
    let kinds = run
        .steps
        .iter()
        .map(|step| step.kind.to_string().chars().count())
        .max()
        .unwrap_or(0);
    for (i, step) in run.steps.iter().enumerate() {
        let times = seat.and_then(|seat| seat.steps.get(i));
        let here = view.progress.is_some_and(|(n, _)| usize::from(n) == i + 1) && view.awaits.busy();
        if here {
            now = Some(lines.len());
        }
        for (attempt, error, ms) in times.iter().flat_map(|times| &times.failures) {
            let text = harmless(&format!("attempt {attempt} failed: {}: {error}", error.code));
            lines.extend(row(
                i + 1,
                '✗',
                &step.kind.to_string(),
                &took(*ms),
                &text,
                kinds,
                width,
                theme.text(Tone::Warn),
            ));
        }
        let (glyph, tone, words) = match &step.state {
            StepState::Pending if here && view.awaits == Awaits::Return => ('~', Tone::Busy, "waits for the device".to_owned()),
            StepState::Pending => ('·', Tone::Dim, String::new()),
            StepState::Started => ('►', Tone::Busy, String::new()),
            StepState::Ended(Outcome::Done) => ('✓', Tone::Good, String::new()),
            StepState::Ended(Outcome::Warned { why }) => ('!', Tone::Warn, why.clone()),
            StepState::Ended(Outcome::Skipped { why }) => ('-', Tone::Dim, why.clone()),
            StepState::Failed(_) => ('✗', Tone::Bad, String::new()),
        };
        let time = match (times, &step.state) {
            // What took no time was not performed, or was known already.
            (Some(times), StepState::Ended(_)) => times.took_ms.filter(|ms| *ms > 0).map(took),
            (Some(times), StepState::Started) => times
                .since
                .map(|since| clock(u64::try_from(app.now.millis() - since.millis()).unwrap_or(0))),
            _ => None,
        };
        let tries = if step.attempts > 1 {
            format!("attempt {}  ", step.attempts)
        } else {
            String::new()
        };
        let words = harmless(&format!("{tries}{words}"));
        let time = time.unwrap_or_default();
        lines.extend(row(
            i + 1,
            glyph,
            &step.kind.to_string(),
            &time,
            &words,
            kinds,
            width,
            theme.text(tone),
        ));
        if here && let (Some((n, of)), Some(bytes)) = (view.progress, app.progress.get(&view.slot)) {
            let mut bar = vec![Span::raw("      ")];
            let length = usize::from(width.saturating_sub(8)).min(60);
            bar.extend(gauge(percent(1, 1, Some(*bytes)), length, theme));
            let all = percent(n, of, Some(*bytes));
            bar.push(Span::styled(format!("  run {all} %"), theme.text(Tone::Dim)));
            lines.push(Line::from(bar));
        }
    }
    now
}

fn plain(text: &str, width: u16, tone: Tone, theme: Theme) -> impl Iterator<Item = Line<'static>> {
    wrap(text, width)
        .into_iter()
        .map(move |line| Line::styled(line, theme.text(tone)))
}

/// A step in columns: number, glyph, what, how long, and words that go on below themselves.
#[expect(clippy::too_many_arguments, reason = "a row has as many columns")]
fn row(n: usize, glyph: char, kind: &str, time: &str, words: &str, kinds: usize, width: u16, style: Style) -> Vec<Line<'static>> {
    let lead = format!("{n:>2}  {glyph} {kind:<kinds$} {time:>9}");
    let indent = lead.chars().count() + 2;
    let room = width.saturating_sub(u16::try_from(indent).unwrap_or(u16::MAX)).max(20);
    let mut words = wrap(words, room).into_iter();
    let first = words.next().map_or_else(|| lead.clone(), |words| format!("{lead}  {words}"));
    let rest = words.map(|words| format!("{}{words}", " ".repeat(indent)));
    std::iter::once(first)
        .chain(rest)
        .map(|line| Line::styled(line, style))
        .collect()
}

const fn owner(owner: crate::model::verdict::Owner) -> &'static str {
    use crate::model::verdict::Owner;
    match owner {
        Owner::Operator => "operator",
        Owner::Technician => "technician",
        Owner::Engineer => "engineer",
    }
}
