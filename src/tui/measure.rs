//! How long painting takes, for the figures: the same pictures, encoded for a terminal that nobody looks at.

use std::{io, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

use crate::{edge::Clock, model::SlotNo, rack::RackView};

use super::{
    app::{App, Event},
    theme::{Depth, Theme},
    view,
};

/// How long things took.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// From a change in every slot until it was painted.
    pub redraws: Vec<Duration>,
    /// From a key that opens another screen until that was painted.
    pub keys: Vec<Duration>,
}

/// Paints a rack so many times: each time every slot has gone on, and a key was pressed.
///
/// # Errors
/// None that a terminal of no size could have.
pub fn paint(app: &mut App, rack: &mut RackView, times: u32, clock: &dyn Clock) -> io::Result<Times> {
    let area = Rect::new(0, 0, app.size.0, app.size.1);
    let options = TerminalOptions {
        viewport: Viewport::Fixed(area),
    };
    let mut terminal = Terminal::with_options(CrosstermBackend::new(io::sink()), options)?;
    let theme = Theme::new(Depth::True);
    let slots: Vec<SlotNo> = rack.slots.iter().map(|view| view.slot).collect();
    let mut took = Times::default();
    for n in 0..times {
        let began = clock.now();
        for slot in &slots {
            let progress = Event::Progress {
                slot: *slot,
                done: u64::from(n % 100),
                of: 100,
            };
            app.on(progress, rack);
        }
        terminal.draw(|frame| view::draw(frame, rack, app, theme))?;
        took.redraws.push(clock.now().since(began));
        for code in [KeyCode::F(3), KeyCode::F(2)] {
            let began = clock.now();
            app.on(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), rack);
            terminal.draw(|frame| view::draw(frame, rack, app, theme))?;
            took.keys.push(clock.now().since(began));
        }
    }
    Ok(took)
}
