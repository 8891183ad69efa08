//! A question before something that cannot be taken back: what is held is named first.

use ratatui::{
    Frame,
    layout::Rect,
    text::Line,
    widgets::{Block, BorderType, Clear, Paragraph},
};

use crate::{
    rack::{RackView, view::SlotView},
    tui::{
        app::{Question, abort_word},
        keymap::key_of,
        theme::{Theme, Tone},
    },
};

use super::text::wrap;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, asked: Question, theme: Theme) {
    let width = area.width.saturating_sub(4).min(WIDTH);
    let room = width.saturating_sub(4);
    let mut texts: Vec<(Tone, String)> = Vec::new();
    let key = key_of(asked.key());
    let title = match asked {
        Question::Abort(slot) => {
            texts.push((Tone::Strong, format!("Stop the run in slot {slot}?")));
            texts.extend(of_slot(rack, slot).map(|text| (Tone::Hold, text)));
            let text = "It stops at its next safe point. Where a new key was written and the cloud has not accepted it, the old key goes back first. The run ends ABORTED.";
            texts.push((Tone::Plain, text.to_owned()));
            texts.push((
                Tone::Strong,
                format!("Type \"{}\", then {key}. Any other key: no.", abort_word(slot)),
            ));
            " ABORT "
        }
        Question::Finish => {
            texts.push((Tone::Strong, "Finish and end?".to_owned()));
            texts.push((
                Tone::Plain,
                "No new run begins. Those under way are finished, then the station ends.".to_owned(),
            ));
            texts.extend(under_way(rack, usize::from(area.height).saturating_sub(9)));
            texts.push((Tone::Strong, format!("{key} once more: yes. Any other key: no.")));
            " FINISH "
        }
        Question::Quit => {
            texts.push((Tone::Strong, "End now?".to_owned()));
            let text = "Each slot stops at its next safe point; no step is torn off. Runs go on at the next start.";
            texts.push((Tone::Plain, text.to_owned()));
            texts.extend(under_way(rack, usize::from(area.height).saturating_sub(9)));
            texts.push((Tone::Strong, format!("{key} once more: yes. Any other key: no.")));
            " QUIT "
        }
    };
    let lines: Vec<Line<'static>> = texts
        .into_iter()
        .flat_map(|(tone, text)| {
            let style = theme.text(tone);
            wrap(&text, room).into_iter().map(move |line| Line::styled(line, style))
        })
        .collect();
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let at = Rect::new(
        area.x + (area.width - width) / 2,
        area.y + (area.height - height) / 2,
        width,
        height,
    );
    let block = Block::bordered()
        .border_type(BorderType::Double)
        .title(Line::styled(title, theme.filled(Tone::Hold)))
        .border_style(theme.text(Tone::Hold))
        .style(theme.ground())
        .padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Clear, at);
    frame.render_widget(Paragraph::new(lines).block(block), at);
}

fn of_slot(rack: &RackView, slot: crate::model::SlotNo) -> Option<String> {
    rack.slots.iter().find(|view| view.slot == slot)?.under_way()
}

/// What is under way, what is held in DFU mode first; at most so many lines, and how many more.
fn under_way(rack: &RackView, most: usize) -> Vec<(Tone, String)> {
    let mut busy: Vec<&SlotView> = rack.slots.iter().filter(|view| view.under_way().is_some()).collect();
    busy.sort_by_key(|view| !view.held);
    let told = busy.len().min(most.max(1));
    let mut texts: Vec<(Tone, String)> = busy[..told]
        .iter()
        .filter_map(|view| Some((if view.held { Tone::Hold } else { Tone::Busy }, view.under_way()?)))
        .collect();
    if busy.len() > told {
        texts.push((Tone::Busy, format!("and {} more", busy.len() - told)));
    }
    if texts.is_empty() {
        texts.push((Tone::Plain, "Nothing is under way.".to_owned()));
    }
    texts
}

/// The widest that a question is.
const WIDTH: u16 = 76;
