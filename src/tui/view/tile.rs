//! One slot on the floor: its state as a bar, who is in it, what is done, how far, how long, and what the cloud said.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    model::{
        Verdict, Wall,
        sentence::{harmless, lower},
    },
    rack::view::SlotView,
    tui::{
        story::{Seat, Story},
        theme::{Look, Theme, Tone, look, registration},
    },
};

use super::text::{clock, cut, wrap};

/// What a tile shows.
pub(super) struct Tile<'a> {
    /// The slot.
    pub(super) view: &'a SlotView,
    /// What the facts tell of it.
    pub(super) seat: Option<&'a Seat>,
    /// What the facts tell of all.
    pub(super) story: &'a Story,
    /// How far its step is.
    pub(super) progress: Option<(u64, u64)>,
    /// What is written beside the slot.
    pub(super) label: Option<&'a str>,
    /// The time.
    pub(super) now: Wall,
    /// True if it is the selected one.
    pub(super) selected: bool,
}

impl Tile<'_> {
    pub(super) fn draw(&self, frame: &mut Frame<'_>, area: Rect, theme: Theme) {
        let inner = Rect::new(area.x + 1, area.y, area.width.saturating_sub(2), area.height);
        if self.selected {
            let edge = Rect::new(area.x, area.y, 1, area.height.saturating_sub(u16::from(area.height > 5)));
            let line = Line::styled("▌", theme.text(Tone::Strong));
            frame.render_widget(Paragraph::new(vec![line; usize::from(edge.height)]), edge);
        }
        let mut lines = self.bar(inner.width, inner.height, theme);
        let used = u16::try_from(lines.len()).unwrap_or(u16::MAX) + u16::from(inner.height > 5);
        let body = inner.height.saturating_sub(used);
        lines.extend(self.body(inner.width, body, theme));
        frame.render_widget(Paragraph::new(lines), inner);
    }

    /// The state; where there is room, what is over is twice as high, to be seen from three metres.
    fn bar(&self, width: u16, height: u16, theme: Theme) -> Vec<Line<'static>> {
        let look = look(self.view.awaits);
        let (style, text) = bar(&look, theme, &self.number(), self.proved(), width);
        let below = look.filling.filter(|_| height >= TALL);
        let below = below.map(|filling| String::from_iter(std::iter::repeat_n(filling, usize::from(width))));
        std::iter::once(text)
            .chain(below)
            .map(|text| Line::styled(text, style))
            .collect()
    }

    fn number(&self) -> String {
        let number = self.view.slot.to_string();
        if self.selected {
            format!("[{number}]")
        } else {
            format!(" {number} ")
        }
    }

    fn proved(&self) -> bool {
        self.view.verdict == Some(Verdict::Pass) && self.seat.is_some_and(|seat| seat.proved)
    }

    fn body(&self, width: u16, height: u16, theme: Theme) -> Vec<Line<'static>> {
        let width = usize::from(width);
        let height = usize::from(height);
        let mut lines = Vec::new();
        let Some(device) = self.view.device.or(self.seat_if_occupied().and_then(|seat| seat.device)) else {
            lines.extend(self.label.map(|label| Line::styled(cut(label, width), theme.text(Tone::Dim))));
            lines.extend(self.reason(width, height - lines.len(), theme));
            return lines;
        };
        let serial = self.seat_if_occupied().and_then(|seat| seat.serial.as_deref()).unwrap_or("");
        // The end of a serial number is what tells two of them apart.
        let room = width.saturating_sub(device.short().len() + 1);
        let tail: String = serial.chars().skip(serial.chars().count().saturating_sub(room)).collect();
        lines.push(Line::from(vec![
            Span::styled(device.short(), theme.text(Tone::Strong)),
            Span::styled(format!(" {}", harmless(&tail)), theme.text(Tone::Plain)),
        ]));
        let last = self.last_line(width, theme);
        let between = height.saturating_sub(lines.len() + 1);
        if self.view.awaits.busy() {
            lines.extend(self.work(width, between, theme));
        } else {
            lines.extend(self.reason(width, between, theme));
        }
        // How far and how long stand at the bottom of each tile, wherever its words end.
        let gauge = self.view.progress.filter(|_| self.view.awaits.busy()).map(|(n, of)| {
            let percent = percent(n, of, self.progress);
            Line::from(gauge(percent, width, theme))
        });
        lines.resize(height.saturating_sub(1 + usize::from(gauge.is_some())), Line::default());
        lines.extend(gauge);
        lines.push(last);
        lines
    }

    /// What is remembered of the slot, unless its device is gone.
    fn seat_if_occupied(&self) -> Option<&Seat> {
        self.seat
            .filter(|seat| self.view.device.is_some() && seat.device == self.view.device)
    }

    /// What is done, and how far the run is.
    fn work(&self, width: usize, height: usize, theme: Theme) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        let Some(step) = self.view.step else { return lines };
        let of = self.view.progress.map(|(n, of)| format!("{n} of {of} ")).unwrap_or_default();
        let text = format!("{of}{step}");
        let wrapped = wrap(&text, u16::try_from(width).unwrap_or(u16::MAX));
        let room = height.saturating_sub(1).max(1);
        if wrapped.len() > room {
            let file = step.file().map(|file| format!(" {file}")).unwrap_or_default();
            let text = format!("{of}{}{file}", step.brief());
            lines.push(Line::styled(cut(&text, width), theme.text(Tone::Plain)));
        } else {
            lines.extend(wrapped.into_iter().map(|line| Line::styled(line, theme.text(Tone::Plain))));
        }
        lines
    }

    /// Why it ended as it did.
    fn reason(&self, width: usize, height: usize, theme: Theme) -> Vec<Line<'static>> {
        let Some(code) = self.view.code else {
            let platform = self
                .seat
                .and_then(|seat| seat.platform)
                .map(|platform| format!("{platform}, "));
            let steps = self.view.detail.as_deref().map(|run| format!("{} steps", run.steps.len()));
            let text = platform
                .zip(steps)
                .map(|(platform, steps)| platform + &steps)
                .unwrap_or_default();
            return vec![Line::styled(cut(&text, width), theme.text(Tone::Dim))];
        };
        let mut lines = vec![Line::styled(cut(code.text(), width), theme.text(Tone::Strong))];
        let why = if self.view.why.is_empty() {
            lower(code.what())
        } else {
            harmless(&self.view.why)
        };
        let wrapped = wrap(&why, u16::try_from(width).unwrap_or(u16::MAX));
        let room = height.saturating_sub(lines.len());
        let more = wrapped.len() > room;
        for (i, line) in wrapped.into_iter().take(room).enumerate() {
            let line = if more && i + 1 == room {
                cut(&format!("{line} …"), width)
            } else {
                line
            };
            lines.push(Line::styled(line, theme.text(Tone::Plain)));
        }
        lines
    }

    /// How long it takes or took, of how long it should take, and what the cloud said.
    fn last_line(&self, width: usize, theme: Theme) -> Line<'static> {
        let mut spans = Vec::new();
        if let Some(seat) = self.seat_if_occupied().filter(|seat| seat.run == self.view.run)
            && let Some(started) = seat.started
        {
            let until = seat.ended.unwrap_or(self.now);
            let elapsed = u64::try_from(until.millis() - started.millis()).unwrap_or(0);
            let expected = seat.recipe.and_then(|recipe| self.story.expected_ms(recipe));
            let late = seat.ended.is_none() && expected.is_some_and(|ms| elapsed > ms * 3 / 2);
            let mut text = clock(elapsed);
            if let (Some(expected), None) = (expected, seat.ended) {
                text += &format!(" of {}", clock(expected));
            }
            spans.push(Span::styled(text, theme.text(if late { Tone::Warn } else { Tone::Dim })));
        }
        if let Some(state) = self.view.cloud {
            let (word, glyph, tone) = registration(state);
            let used: usize = spans.iter().map(|span| span.content.chars().count()).sum();
            let badge = format!("{glyph} {word}");
            let room = width.saturating_sub(used + 1);
            let badge = if badge.chars().count() > room {
                format!("{glyph}")
            } else {
                badge
            };
            let fill = width.saturating_sub(used + badge.chars().count());
            spans.push(Span::styled(" ".repeat(fill), theme.ground()));
            spans.push(Span::styled(badge, theme.text(tone)));
        }
        Line::from(spans)
    }
}

/// From this height on a tile has room for a bar of two rows.
const TALL: u16 = 8;

/// A state as a bar of this width: filled if it is over.
pub(super) fn bar(look: &Look, theme: Theme, number: &str, proved: bool, width: u16) -> (Style, String) {
    let word = if proved { "PROVED" } else { look.word };
    let mut text = format!("{number}{} {word} ", look.glyph);
    let used = text.chars().count();
    let width = usize::from(width);
    match look.filling {
        Some(filling) => {
            text.extend(std::iter::repeat_n(filling, width.saturating_sub(used)));
            (theme.filled(look.tone), text)
        }
        None => (theme.text(look.tone), text),
    }
}

/// How far a run is, in percent: whole steps, and the bytes of the present one.
pub(super) fn percent(n: u8, of: u8, bytes: Option<(u64, u64)>) -> u64 {
    let part = bytes.map_or(0, |(done, all)| (done.min(all) * 100).checked_div(all).unwrap_or(0));
    (u64::from(n.saturating_sub(1)) * 100 + part)
        .checked_div(u64::from(of))
        .unwrap_or(0)
}

/// A bar that fills, with its number.
pub(super) fn gauge(percent: u64, width: usize, theme: Theme) -> Vec<Span<'static>> {
    let length = width.saturating_sub(6);
    let full = usize::try_from(percent).unwrap_or(100).min(100) * length / 100;
    vec![
        Span::styled("█".repeat(full), theme.text(Tone::Busy)),
        Span::styled("░".repeat(length - full), theme.text(Tone::Dim)),
        Span::styled(format!(" {percent:>3} %"), theme.text(Tone::Plain)),
    ]
}
