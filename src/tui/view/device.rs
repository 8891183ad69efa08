//! One device: who it is, the one next action, and its whole history from the ledger. Or the devices that a text fits.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    model::{
        Code, Verdict,
        sentence::{answer_words, errand, harmless},
    },
    rack::RackView,
    store::{Apart, DeviceRow, Standing, read::History},
    tui::{
        app::App,
        ledger::Found,
        theme::{Theme, Tone, verdict_look},
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
    match &app.found {
        Found::Nothing => wrap(SEARCH, width)
            .into_iter()
            .map(|line| Line::styled(line, theme.text(Tone::Plain)))
            .collect(),
        Found::None(text) => vec![Line::styled(
            harmless(&format!("the ledger knows no device \"{text}\"")),
            theme.text(Tone::Warn),
        )],
        Found::Some(rows) => rows.iter().map(|row| short(row, theme)).collect(),
        Found::One(history) => whole(history, app.offered(rack), width, theme),
    }
}

/// The one thing to do with a device, by its last run and by what is known of its key.
fn next_action(history: &History) -> &'static str {
    let last = history.runs.first();
    let code = last.and_then(|run| run.code.or(run.interrupted));
    match (history.device.quarantined, history.device.standing, code) {
        (Some(_), ..) => Code::Quarantined.next_action(),
        _ if history.device.unprotected_since.is_some() => Code::NotProtectedAgain.next_action(),
        (None, Standing::Apart(_), None) => "Plug it in: its key is read and registered again.",
        (None, _, Some(code)) => code.next_action(),
        (None, ..) if last.and_then(|run| run.verdict) == Some(Verdict::Pass) => "Nothing: it passed. Plugged in, it runs again.",
        (None, ..) => "Plug it in, in any slot.",
    }
}

fn whole(history: &History, offered: Option<String>, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let row = &history.device;
    let mut lines = vec![short(row, theme)];
    lines.extend(
        wrap(&format!("next: {}", next_action(history)), width)
            .into_iter()
            .map(|line| Line::styled(line, theme.text(Tone::Busy))),
    );
    lines.extend(offered.map(|offered| Line::styled(offered, theme.text(Tone::Strong))));
    lines.push(Line::default());
    let mut say = |name: &str, text: String| {
        let room = width.saturating_sub(NAME);
        for (i, part) in wrap(&harmless(&text), room).into_iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!("{name:<0$}", usize::from(NAME)), theme.text(Tone::Dim)),
                Span::styled(part, theme.text(Tone::Plain)),
            ]));
        }
    };
    for (name, text) in [
        ("serial", &row.serial),
        ("ICCID", &row.iccid),
        ("IMEI", &row.imei),
        ("Device OS", &row.os_version),
    ] {
        if let Some(text) = text {
            say(name, text.clone());
        }
    }
    let slot = row.last_slot.map(|slot| format!(" in slot {slot}")).unwrap_or_default();
    if let Some(at) = row.labelled_at {
        say("label", format!("compared {}: it is its own", moment(at)));
    }
    say(
        "seen",
        format!("{} to {}{slot}", moment(row.first_seen), moment(row.last_seen)),
    );
    if let Some(since) = row.unprotected_since {
        say(
            "UNPROTECTED",
            format!("since {}: it has not shown that it is protected again", moment(since)),
        );
    }
    let content = row.slot_content.clone().unwrap_or_else(|| "not read".to_owned());
    let key = row.key_in_slot.map(|key| format!(", {}", key.short())).unwrap_or_default();
    say("key in slot", format!("{content}{key}"));
    if let Some(key) = row.key_accepted {
        let at = row.accepted_at.map(|at| format!(" at {}", moment(at))).unwrap_or_default();
        say("key accepted", format!("{}{at}", key.short()));
    }
    say("cloud", standing(row.standing).to_owned());
    lines.push(Line::default());
    lines.push(Line::styled("runs, newest first", theme.text(Tone::Strong)));
    for run in &history.runs {
        let (tone, word) = match (run.verdict, run.interrupted) {
            (Some(verdict), _) => {
                let look = verdict_look(verdict);
                (
                    look.tone,
                    format!("{} {}", look.glyph, if run.proved { "PROVED" } else { look.word }),
                )
            }
            (None, Some(_)) => (Tone::Warn, "~ waits for its device".to_owned()),
            (None, None) => (Tone::Busy, "► open".to_owned()),
        };
        let code = run
            .code
            .or(run.interrupted)
            .map(|code| format!("  {code}"))
            .unwrap_or_default();
        lines.push(Line::from(vec![
            Span::styled(
                format!("{}  slot {:<3} ", moment(run.started), run.slot),
                theme.text(Tone::Dim),
            ),
            Span::styled(format!("{word}{code}"), theme.text(tone)),
        ]));
        let why = run.why.as_deref().unwrap_or("");
        for part in wrap(&harmless(why), width.saturating_sub(4)) {
            lines.push(Line::styled(format!("    {part}"), theme.text(Tone::Plain)));
        }
    }
    if !history.items.is_empty() {
        lines.push(Line::default());
        lines.push(Line::styled("cloud, newest first", theme.text(Tone::Strong)));
    }
    for item in &history.items {
        let answer = item.last_answer.as_ref().map(|answer| format!(": {}", answer_words(answer)));
        let text = format!(
            "{}  {}{}",
            moment(item.queued_at),
            errand(&item.item),
            answer.unwrap_or_default()
        );
        for (i, part) in wrap(&harmless(&text), width.saturating_sub(4)).into_iter().enumerate() {
            let lead = if i == 0 { "" } else { "    " };
            lines.push(Line::styled(format!("{lead}{part}"), theme.text(Tone::Plain)));
        }
    }
    lines
}

fn short(row: &DeviceRow, theme: Theme) -> Line<'static> {
    let mut spans = vec![Span::styled(row.id.to_string(), theme.text(Tone::Strong))];
    if let Some(platform) = row.platform {
        spans.push(Span::styled(format!("  {platform}"), theme.text(Tone::Plain)));
    }
    if let Some(serial) = &row.serial {
        spans.push(Span::styled(format!("  {}", harmless(serial)), theme.text(Tone::Plain)));
    }
    if let Some(verdict) = row.last_verdict {
        let look = verdict_look(verdict);
        spans.push(Span::styled(format!("  {} {}", look.glyph, look.word), theme.text(look.tone)));
    }
    Line::from(spans)
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Unregistered => "no key of it was registered from here",
        Standing::Agreed => "device and cloud hold the same key",
        Standing::Apart(Apart::Lost) => "APART: it could not be given back to its owner",
        Standing::Apart(Apart::Ambiguous) => "APART: an upload may or may not have arrived",
        Standing::Apart(Apart::Writing) => "APART: a key write is not settled",
        Standing::Apart(Apart::Differs) => "APART: device and cloud hold different keys",
    }
}

const SEARCH: &str = "Scan a label, or type an id, the end of an id, a serial number or an ICCID, and press Enter.";
/// Columns for names.
const NAME: u16 = 14;
