//! The rack with a tile for each slot, and the selected slot in words below it.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    model::{
        Verdict,
        sentence::{harmless, lower},
    },
    rack::{RackView, view::Awaits},
    tui::{
        app::App,
        grid::Grid,
        theme::{Theme, Tone, look},
    },
};

use super::{
    bars, header, selected,
    text::{cut, wrap},
    tile::Tile,
};

/// So many lines of the screen are not for tiles.
pub(in crate::tui) const AROUND: u16 = header::HEIGHT + STRIP + bars::HEIGHT;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, app: &App, theme: Theme) {
    let [floor, strip] = Layout::vertical([Constraint::Fill(1), Constraint::Length(STRIP)]).areas(area);
    let grid = Grid::lay_out(&app.station.places, floor.width, floor.height);
    let top = grid.top(app.selected);
    for view in &rack.slots {
        let Some((row, column)) = grid.cell(view.slot) else { continue };
        if row < top || row >= top + grid.visible {
            continue;
        }
        let at = Rect::new(
            floor.x + column * grid.width,
            floor.y + (row - top) * grid.height,
            grid.width,
            grid.height,
        );
        let place = app.station.places.iter().find(|place| place.slot == view.slot);
        let tile = Tile {
            view,
            seat: app.story.seat(view.slot),
            story: &app.story,
            progress: app.progress.get(&view.slot).copied(),
            label: place.and_then(|place| place.label.as_deref()),
            now: app.now,
            selected: view.slot == app.selected,
        };
        tile.draw(frame, at.intersection(floor), theme);
    }
    let rest = out_of_sight(&grid, top, rack);
    let lines = described(rack, app, strip.width, rest, theme);
    frame.render_widget(Paragraph::new(lines), strip);
}

/// The selected slot in words: who, why, and the one next action.
fn described(rack: &RackView, app: &App, width: u16, rest: Option<String>, theme: Theme) -> Vec<Line<'static>> {
    let Some(view) = selected(rack, app) else {
        return vec![Line::default()];
    };
    let state = look(view.awaits);
    let seat = app.story.seat(view.slot);
    let proved = view.verdict == Some(Verdict::Pass) && seat.is_some_and(|seat| seat.proved);
    let word = if proved { "PROVED" } else { view.word };
    let mut head = vec![
        Span::styled(format!(" slot {} ", view.slot), theme.text(Tone::Strong)),
        Span::styled(format!("{} {word}", state.glyph), theme.text(state.tone)),
    ];
    head.extend(rest.map(|rest| Span::styled(format!("  {rest}"), theme.text(Tone::Warn))));
    if let Some(device) = view.device {
        head.push(Span::styled(format!("  {device}"), theme.text(Tone::Plain)));
    }
    if let Some(platform) = seat.and_then(|seat| seat.platform)
        && view.device.is_some()
    {
        head.push(Span::styled(format!("  {platform}"), theme.text(Tone::Dim)));
    }
    let mut lines = vec![Line::from(head)];
    if let Some(code) = view.code {
        let why = if view.why.is_empty() {
            lower(code.what())
        } else {
            view.why.clone()
        };
        let why = wrap(&harmless(&format!("{code}: {why}")), width - 2);
        let next = wrap(&format!("next: {}", code.next_action()), width - 2);
        // The next action is whole in any case; the reason is whole in the slot's own screen.
        let room = usize::from(STRIP - 1).saturating_sub(next.len()).max(1);
        let told = why.len().min(room);
        for (i, line) in why[..told].iter().enumerate() {
            let more = i + 1 == told && why.len() > told;
            let line = if more {
                cut(&format!("{line} …"), usize::from(width) - 2)
            } else {
                line.clone()
            };
            lines.push(Line::styled(format!(" {line}"), theme.text(Tone::Plain)));
        }
        lines.extend(
            next.into_iter()
                .map(|line| Line::styled(format!(" {line}"), theme.text(Tone::Busy))),
        );
    } else if view.awaits == Awaits::Line {
        let text = " waits: the line is stopped, and its run begins when it is released";
        lines.push(Line::styled(text, theme.text(Tone::Plain)));
    } else if let Awaits::Removal(_) = view.awaits {
        lines.push(Line::styled(" done: take it out", theme.text(Tone::Plain)));
    } else if let Some(step) = view.step.filter(|_| view.awaits.busy()) {
        let held = if view.held {
            ", held in DFU mode until the cloud has answered"
        } else {
            ""
        };
        let stopping = if view.stopping { ", stops at its next safe point" } else { "" };
        let of = view.progress.map(|(n, of)| format!("step {n} of {of}: ")).unwrap_or_default();
        let text = format!("{of}{step}{held}{stopping}");
        lines.extend(
            wrap(&text, width - 2)
                .into_iter()
                .map(|line| Line::styled(format!(" {line}"), theme.text(Tone::Plain))),
        );
    }
    lines
}

/// What the tiles tell that are not on the screen.
fn out_of_sight(grid: &Grid, top: u16, rack: &RackView) -> Option<String> {
    if grid.rows <= grid.visible {
        return None;
    }
    let hidden = rack.slots.iter().filter(|view| {
        grid.cell(view.slot)
            .is_some_and(|(row, _)| row < top || row >= top + grid.visible)
    });
    let (mut all, mut bad) = (0, 0);
    for view in hidden {
        all += 1;
        bad += u32::from(!matches!(view.awaits, Awaits::Removal(Verdict::Pass) | Awaits::Device) && !view.awaits.busy());
    }
    let failed = if bad > 0 {
        format!(", {bad} to look at")
    } else {
        String::new()
    };
    Some(format!("{all} out of sight{failed}"))
}

/// Lines for the selected slot: who, why, and two for the next action.
const STRIP: u16 = 4;
