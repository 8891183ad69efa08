//! The terminal: taken over, and given back in every case: at the end, after an error, after a panic, and when a signal
//! ends the process.

use std::{
    io::{self, Stdout, Write as _},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

use crossterm::{
    cursor,
    event::{DisableBracketedPaste, EnableBracketedPaste},
    execute,
    terminal::{self, EnterAlternateScreen, LeaveAlternateScreen},
};
use ratatui::{Terminal, backend::CrosstermBackend};

/// The terminal while it is ours.
pub(super) struct Term {
    /// What is painted on.
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Term {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// If it is none, or has gone away.
    pub(super) fn take() -> io::Result<Self> {
        // Colour or not is the theme's decision: crossterm would undo bold and reverse where NO_COLOR is set.
        crossterm::style::force_color_output(true);
        restore_on_panic();
        TAKEN.store(true, Ordering::Release);
        let taken = terminal::enable_raw_mode().and_then(|()| {
            execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
            Terminal::new(CrosstermBackend::new(io::stdout()))
        });
        match taken {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Rings.
    pub(super) fn bell(&mut self) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(b"\x07")?;
        out.flush()
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it was taken. Safe to call at any time, from any thread.
pub fn restore() {
    if TAKEN.swap(false, Ordering::AcqRel) {
        // Whoever restores has nobody to tell what went wrong; the terminal may be gone.
        let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

/// A panic is told on the screen that was there before.
fn restore_on_panic() {
    if !HOOKED.swap(true, Ordering::AcqRel) {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            told(info);
        }));
    }
}

static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOKED: AtomicBool = AtomicBool::new(false);
