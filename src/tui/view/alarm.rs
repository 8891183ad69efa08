//! What everybody has to see whatever screen is open: that the line is stopped, why, and who sets it going again.

use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

use crate::{
    model::sentence::{lower, stopped},
    rack::{RackView, view::Role},
    tui::{
        keymap::{Act, key_of},
        theme::{Theme, Tone},
    },
};

use super::text::wrap;

/// So many lines it takes on a screen of this width; none while there is no alarm.
pub(in crate::tui) fn height(rack: &RackView, width: u16) -> u16 {
    u16::try_from(words(rack, width).len()).unwrap_or(u16::MAX)
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, theme: Theme) {
    let lines: Vec<Line<'static>> = words(rack, area.width)
        .into_iter()
        .map(|line| Line::styled(format!(" {line:<0$}", usize::from(area.width)), theme.filled(Tone::Bad)))
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn words(rack: &RackView, width: u16) -> Vec<String> {
    let Some(line) = &rack.stopped else { return Vec::new() };
    let key = key_of(Act::Go);
    let next = match &rack.role {
        Role::Operator { .. } => format!(
            "An engineer looks, gives the PIN ({}) and releases it ({key}).",
            key_of(Act::Engineer)
        ),
        Role::Anybody | Role::Engineer { .. } => format!("Look at the devices, then release it ({key})."),
    };
    let what = format!(
        "■ {}: {}. No new run begins; newcomers wait. {next}",
        stopped(line.code, line.devices.len()),
        lower(line.code.what())
    );
    wrap(&what, width.saturating_sub(2))
}
