//! A question before something that is asked of the station: what is held is named first. What cannot be taken back looks
//! different from what can, and asks for words.

use ratatui::{
    Frame,
    layout::Rect,
    text::Line,
    widgets::{Block, BorderType, Clear, Paragraph},
};

use crate::{
    model::{SlotNo, sentence::stopped},
    rack::{
        RackView,
        view::{Role, SlotView},
    },
    tui::{
        app::Question,
        keymap::key_of,
        theme::{Theme, Tone},
    },
};

use super::text::wrap;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, asked: Question, theme: Theme) {
    let width = area.width.saturating_sub(4).min(WIDTH);
    let room = width.saturating_sub(4);
    let mut texts = about(rack, asked, usize::from(area.height).saturating_sub(9));
    texts.push((Tone::Strong, answer(asked)));
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
    let (border, tone, title) = if asked.is_final() {
        (
            BorderType::Double,
            Tone::Bad,
            format!(" {}: CANNOT BE TAKEN BACK ", name(asked)),
        )
    } else {
        (BorderType::Plain, Tone::Hold, format!(" {} ", name(asked)))
    };
    let block = Block::bordered()
        .border_type(border)
        .title(Line::styled(title, theme.filled(tone)))
        .border_style(theme.text(tone))
        .style(theme.ground())
        .padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Clear, at);
    frame.render_widget(Paragraph::new(lines).block(block), at);
}

const fn name(asked: Question) -> &'static str {
    match asked {
        Question::Abort(_) => "ABORT",
        Question::Finish => "FINISH",
        Question::Quit => "QUIT",
        Question::Pin => "ENGINEER",
        Question::ReleaseLine => "LINE STOPPED",
        Question::Release(_) => "RELEASE",
        Question::Repair(_) => "REPAIR",
        Question::UseRecipe(_) => "RECIPE",
        Question::LeaveOut(_) => "LEAVE OUT",
    }
}

/// What is asked, and what it means.
fn about(rack: &RackView, asked: Question, room: usize) -> Vec<(Tone, String)> {
    let mut texts: Vec<(Tone, String)> = Vec::new();
    let mut say = |tone, text: &str| texts.push((tone, text.to_owned()));
    match asked {
        Question::Abort(slot) => {
            say(Tone::Strong, &format!("Stop the run in slot {slot}?"));
            if let Some(text) = of_slot(rack, slot) {
                say(Tone::Hold, &text);
            }
            say(
                Tone::Plain,
                "It stops at its next safe point. Where a new key was written and the cloud has not accepted it, the old key goes back first. The run ends ABORTED.",
            );
        }
        Question::Finish => {
            say(Tone::Strong, "Finish and end?");
            say(
                Tone::Plain,
                "No new run begins. Those under way are finished, then the station ends.",
            );
            texts.extend(under_way(rack, room));
        }
        Question::Quit => {
            say(Tone::Strong, "End now?");
            say(
                Tone::Plain,
                "Each slot stops at its next safe point; no step is torn off. Runs go on at the next start.",
            );
            texts.extend(under_way(rack, room));
        }
        Question::Pin => {
            say(Tone::Strong, "Who is the engineer?");
            say(
                Tone::Plain,
                "Type your name, a space and your PIN; where there is one engineer, the PIN is enough. Nothing of it is shown. It is on record who came, and it counts for some minutes.",
            );
            if let Role::Operator { next_pin: Some(at) } = &rack.role {
                say(
                    Tone::Warn,
                    &format!(
                        "After too many wrong PINs the next one counts after {} UTC.",
                        super::text::moment(*at)
                    ),
                );
            }
        }
        Question::ReleaseLine => {
            say(Tone::Strong, "Let new runs begin again?");
            if let Some(line) = &rack.stopped {
                say(Tone::Bad, &stopped(line.code, line.devices.len()));
                let devices: Vec<String> = line.devices.iter().map(ToString::to_string).collect();
                say(Tone::Plain, &devices.join(" "));
                say(Tone::Busy, &format!("next: {}", line.code.next_action()));
            }
            say(
                Tone::Plain,
                "Who releases it and why is on record. The devices that wait begin at once.",
            );
        }
        Question::Release(device) => {
            say(Tone::Strong, &format!("Let {device} run again?"));
            say(
                Tone::Plain,
                "Nobody could tell whether it and the cloud hold the same key. The copy of its old key store is destroyed, and a fresh run reads and registers what it holds. Who decides and why is on record.",
            );
        }
        Question::UseRecipe(number) => {
            if let Some(recipe) = number.checked_sub(1).and_then(|i| rack.recipes.get(i)) {
                say(
                    Tone::Strong,
                    &format!("Put new runs of {} under recipe {}?", recipe.platform, recipe.name),
                );
                say(Tone::Hold, &super::recipes::contents(recipe));
            }
            say(
                Tone::Plain,
                "Runs under way keep theirs. It counts until another one is chosen, also after a start. Who decides and why is on record.",
            );
        }
        Question::LeaveOut(slot) => {
            say(Tone::Strong, &format!("Leave a step of the run in slot {slot} out?"));
            let run = rack
                .slots
                .iter()
                .find(|view| view.slot == slot)
                .and_then(|view| view.detail.as_deref());
            for (i, step) in run.into_iter().flat_map(|run| run.steps.iter().enumerate()) {
                if step.can_be_left_out() {
                    say(Tone::Hold, &format!("{} {}", i + 1, step.kind));
                }
            }
            say(
                Tone::Plain,
                "The run cannot end PASS then: it ends ABORTED, and the device runs again. Who decides and why is on record.",
            );
        }
        Question::Repair(device) => {
            say(Tone::Strong, &format!("Repair {device}?"));
            say(
                Tone::Plain,
                "Its next run is a repair in place of its recipe: what is wrong is found out, and keys, server settings and registration are put right, also where that changes the device. It begins at once if the device is in a slot, else when it is plugged in.",
            );
        }
    }
    texts
}

/// How to say yes.
fn answer(asked: Question) -> String {
    let key = key_of(asked.key());
    match asked.word() {
        Some(word) if matches!(asked, Question::LeaveOut(_)) => {
            format!("Type \"{word}\", a space, the number, a space and why, then {key}. Any other key: no.")
        }
        Some(word) if asked.wants_why() => format!("Type \"{word}\", a space and why, then {key}. Any other key: no."),
        Some(word) => format!("Type \"{word}\", then {key}. Any other key: no."),
        None if asked == Question::Pin => format!("Then {key}. Any other key: no."),
        None => format!("{key} once more: yes. Any other key: no."),
    }
}

fn of_slot(rack: &RackView, slot: SlotNo) -> Option<String> {
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
