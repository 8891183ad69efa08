//! The two lines at the top: which station, who, what for; and the numbers of the session with the state of the cloud.

use ratatui::{Frame, layout::Rect, text::Span};

use crate::{
    model::{Verdict, sentence::harmless},
    rack::{Ending, RackView, view::Role},
    tui::{
        app::App,
        theme::{Theme, Tone, verdict_look},
    },
};

use super::text::moment;

/// So many lines.
pub(super) const HEIGHT: u16 = 2;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, app: &App, theme: Theme) {
    for (line, parts) in [who(rack, app), numbers(rack, app)].into_iter().enumerate() {
        let line = u16::try_from(line).unwrap_or(0);
        let row = Rect::new(area.x, area.y + line, area.width, 1);
        frame.buffer_mut().set_style(row, theme.raised(Tone::Plain));
        let mut x = row.x + 1;
        for (i, (tone, text)) in parts.into_iter().enumerate() {
            let between = if i == 0 { "" } else { "  " };
            let text = format!("{between}{text}");
            let width = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
            // What does not fit is left out whole: half a number is a wrong one.
            if x.saturating_add(width) > row.right() {
                continue;
            }
            let at = Rect::new(x, row.y, width, 1);
            frame.render_widget(Span::styled(text, theme.raised(tone)), at);
            x += width;
        }
    }
}

fn who(rack: &RackView, app: &App) -> Vec<(Tone, String)> {
    let station = &app.station;
    let mut parts = vec![(Tone::Strong, format!("keyrack {}", station.id))];
    parts.extend(app.replay.as_ref().map(|words| (Tone::Hold, words.clone())));
    if let Role::Engineer { name, until } = &rack.role {
        let until = moment(*until);
        let until = until.get(11..16).unwrap_or(&until);
        parts.push((Tone::Warn, format!("ENGINEER {} until {until}", harmless(name))));
    }
    parts.push(match &rack.operator {
        Some(name) => (Tone::Plain, format!("operator {}", harmless(name))),
        None => (Tone::Dim, "no operator".to_owned()),
    });
    match &rack.work_order {
        Some(order) => {
            let passed = rack.order.as_ref().map_or(app.ordered.unwrap_or(0), |order| order.done);
            let left = u64::from(order.quantity).saturating_sub(passed);
            parts.push((
                Tone::Plain,
                format!("order {}: {passed} of {}, {left} left", harmless(&order.id), order.quantity),
            ));
        }
        None => parts.push((Tone::Dim, "no work order".to_owned())),
    }
    if let Some(hash) = app.story.seat(app.selected).and_then(|seat| seat.recipe) {
        let name = app.story.recipe(hash).unwrap_or("?");
        parts.push((Tone::Plain, format!("recipe {name} {}", hash.short())));
    }
    parts
}

fn numbers(rack: &RackView, app: &App) -> Vec<(Tone, String)> {
    let tally = app.story.tally();
    // What matters most comes first: on a narrow screen the end is left out.
    let counted = |verdict: Verdict| {
        let count = tally.of(verdict);
        let look = verdict_look(verdict);
        let tone = if count > 0 { look.tone } else { Tone::Dim };
        (tone, format!("{} {} {count}", look.glyph, look.word))
    };
    let mut parts = vec![counted(Verdict::Pass), counted(Verdict::Fail)];
    parts.push(match (&rack.locked, rack.owed) {
        (Some(_), _) => (Tone::Fault, "! cloud: token not accepted".to_owned()),
        (None, 0) => (Tone::Good, "cloud: nothing owed".to_owned()),
        (None, owed) => (Tone::Busy, format!("cloud: {owed} owed")),
    });
    match rack.ending {
        Some(Ending::Finish) => parts.push((Tone::Warn, "finishing".to_owned())),
        Some(Ending::Quit) => parts.push((Tone::Warn, "stopping".to_owned())),
        None => {}
    }
    if let Some(percent) = tally.yield_percent() {
        parts.push((Tone::Plain, format!("yield {percent} %")));
    }
    if let Some(rate) = tally.per_hour(app.now) {
        parts.push((Tone::Plain, format!("{rate} an hour")));
    }
    if !rack.interrupted.is_empty() {
        parts.push((Tone::Warn, format!("{} wait for their device", rack.interrupted.len())));
    }
    let others = Verdict::ALL
        .into_iter()
        .filter(|verdict| !matches!(verdict, Verdict::Pass | Verdict::Fail));
    parts.extend(others.filter(|verdict| tally.of(*verdict) > 0).map(counted));
    parts
}
