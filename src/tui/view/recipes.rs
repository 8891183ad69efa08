//! The recipes of the station: which of them counts for each platform, with its product and firmware, and which others an
//! engineer can choose.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    model::sentence::harmless,
    rack::{RackView, view::RecipeView},
    tui::{
        app::App,
        theme::{Theme, Tone},
    },
};

use super::{scrolled, text::wrap};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rack: &RackView, app: &App, theme: Theme) {
    let inner = Rect::new(area.x, area.y, area.width, area.height);
    let (lines, selected) = content(rack, app, area.width, theme);
    let from = u16::try_from(selected + LOOK_AHEAD)
        .unwrap_or(u16::MAX)
        .saturating_sub(inner.height);
    scrolled(frame, inner, lines, from, theme);
}

/// All lines, for a screen of this width, and the one of the selected recipe.
fn content(rack: &RackView, app: &App, width: u16, theme: Theme) -> (Vec<Line<'static>>, usize) {
    let plain = |text: &str, tone| {
        let lines = wrap(text, width.saturating_sub(2)).into_iter();
        lines.map(move |line| Line::styled(format!(" {line}"), theme.text(tone)))
    };
    let mut lines: Vec<Line<'static>> = plain(ABOUT, Tone::Plain).collect();
    lines.extend(
        app.offered(rack)
            .into_iter()
            .flat_map(|offered| plain(&offered, Tone::Strong).collect::<Vec<_>>()),
    );
    lines.push(Line::default());
    if rack.recipes.is_empty() {
        lines.extend(plain("no recipe is known here", Tone::Dim));
    }
    let longest = rack
        .recipes
        .iter()
        .map(|recipe| recipe.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut selected = 0;
    for (i, recipe) in rack.recipes.iter().enumerate() {
        let mut edge = " ";
        if i == app.recipe {
            (selected, edge) = (lines.len(), "▌");
        }
        let (word, tone) = match recipe.counts {
            true => ("✓ counts ", Tone::Good),
            false => ("· standby", Tone::Dim),
        };
        lines.push(Line::from(vec![
            Span::styled(edge, theme.text(Tone::Strong)),
            Span::styled(format!("{:>3} ", i + 1), theme.text(Tone::Strong)),
            Span::styled(format!("{word}  "), theme.text(tone)),
            Span::styled(format!("{:<longest$}  ", harmless(&recipe.name)), theme.text(Tone::Strong)),
            Span::styled(
                format!("{}  {}", recipe.platform, recipe.hash.short()),
                theme.text(Tone::Plain),
            ),
        ]));
        for part in wrap(&contents(recipe), width.saturating_sub(INDENT + 1)) {
            let lead = " ".repeat(usize::from(INDENT) - 1);
            lines.push(Line::from(vec![
                Span::styled(edge, theme.text(Tone::Strong)),
                Span::styled(format!("{lead}{part}"), theme.text(Tone::Dim)),
            ]));
        }
    }
    (lines, selected)
}

/// Product and firmware of a recipe, in words.
pub(super) fn contents(recipe: &RecipeView) -> String {
    let product = match &recipe.product {
        Some(product) => format!("product {product}"),
        None => "no product".to_owned(),
    };
    let firmware = match recipe.firmware.as_slice() {
        [] => "no firmware".to_owned(),
        files => format!("firmware {}", files.join(", ")),
    };
    harmless(&format!("{product}; {firmware}"))
}

const ABOUT: &str = "Which recipe new runs of a platform are under, and with it which product and firmware. What can be chosen is written in station.toml.";
/// Columns before the words of a recipe.
const INDENT: u16 = 5;
/// So many lines below the selected recipe are on the screen, too.
const LOOK_AHEAD: usize = 4;
