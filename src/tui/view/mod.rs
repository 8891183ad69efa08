//! Painting: a pure function of the rack's picture and the state of the screen. One file for each region; nothing here
//! changes anything or knows where a style comes from.

pub(super) mod alarm;
mod banner;
mod bars;
mod device;
pub(super) mod floor;
mod header;
mod help;
mod log;
mod outbox;
mod question;
mod recipes;
mod slot;
mod text;
mod tile;
mod yields;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::Line,
    widgets::{Block, Paragraph},
};

use crate::rack::{RackView, view::SlotView};

use super::{
    app::{App, Screen},
    theme::{Depth, Theme, Tone},
};

/// Paints the whole screen.
pub fn draw(frame: &mut Frame<'_>, rack: &RackView, app: &App, theme: Theme) {
    let area = frame.area();
    frame.render_widget(Block::new().style(theme.ground()), area);
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("keyrack needs {} columns and {} rows", LEAST.0, LEAST.1);
        return frame.render_widget(Paragraph::new(text).style(theme.text(Tone::Strong)), area);
    }
    let [top, alarm, body, bottom] = Layout::vertical([
        Constraint::Length(header::HEIGHT),
        Constraint::Length(app.alarm),
        Constraint::Fill(1),
        Constraint::Length(bars::HEIGHT),
    ])
    .areas(area);
    header::draw(frame, top, rack, app, theme);
    alarm::draw(frame, alarm, rack, theme);
    match app.screen {
        Screen::Floor => floor::draw(frame, body, rack, app, theme),
        Screen::Slot => slot::draw(frame, body, rack, app, theme),
        Screen::Log => log::draw(frame, body, app, theme),
        Screen::Device => device::draw(frame, body, rack, app, theme),
        Screen::Outbox => outbox::draw(frame, body, rack, app, theme),
        Screen::Yield => yields::draw(frame, body, app, theme),
        Screen::Recipes => recipes::draw(frame, body, rack, app, theme),
        Screen::Help => help::draw(frame, body, app, theme),
    }
    bars::draw(frame, bottom, rack, app, theme);
    if let Some(asked) = app.question {
        question::draw(frame, body, rack, asked, theme);
    }
}

/// How far the text of the open screen can be scrolled.
pub(super) fn most_scroll(rack: &RackView, app: &App) -> u16 {
    let theme = Theme::new(Depth::Mono);
    let width = app.size.0;
    let body = app.size.1.saturating_sub(header::HEIGHT + app.alarm + bars::HEIGHT);
    let (lines, height) = match app.screen {
        // These follow what is selected.
        Screen::Floor | Screen::Recipes => return 0,
        Screen::Slot => (
            slot::content(rack, app, width, theme).0.len(),
            body.saturating_sub(banner::HEIGHT),
        ),
        Screen::Log => (log::content(app, width, theme).len(), body.saturating_sub(log::HEAD)),
        Screen::Device => (device::content(rack, app, width, theme).len(), body),
        Screen::Outbox => (outbox::content(rack, app, width, theme).len(), body),
        Screen::Yield => (yields::content(app, width, theme).len(), body),
        Screen::Help => (help::content(width, theme).len(), body),
    };
    most(lines, height)
}

/// What does not fit leaves a line of its own to the mark that says so: the mark covers no text.
fn most(lines: usize, height: u16) -> u16 {
    match u16::try_from(lines).unwrap_or(u16::MAX) {
        lines if lines <= height => 0,
        lines => lines.saturating_sub(height.saturating_sub(1)),
    }
}

/// Paints lines from this one on, and says where there are more.
fn scrolled(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>, from: u16, theme: Theme) {
    let last = most(lines.len(), area.height);
    let from = from.min(last);
    let height = area.height.saturating_sub(u16::from(last > 0));
    let text = Rect { height, ..area };
    frame.render_widget(Paragraph::new(lines).scroll((from, 0)), text);
    let mark = match (from > 0, from < last) {
        (false, false) => return,
        (true, false) => " ▲ PgUp ",
        (false, true) => " ▼ PgDn ",
        (true, true) => " ▲▼ PgUp PgDn ",
    };
    let width = u16::try_from(mark.chars().count()).unwrap_or(0).min(area.width);
    let at = Rect::new(area.right() - width, area.bottom() - 1, width, 1);
    frame.render_widget(Line::styled(mark, theme.raised(Tone::Warn)), at);
}

/// The selected slot as the rack shows it.
fn selected<'a>(rack: &'a RackView, app: &App) -> Option<&'a SlotView> {
    rack.slots.iter().find(|view| view.slot == app.selected)
}

/// The least width and height on which anything can be shown.
const LEAST: (u16, u16) = (40, 14);
