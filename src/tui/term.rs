//! The terminal: taken over, and given back in every case: at the end, after an error, after a panic, and when a signal
//! ends the process.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::Cell,
    io::{self, Stdout, Write as _},
    panic::{self, PanicHookInfo},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor,
    event::{DisableBracketedPaste, EnableBracketedPaste},
    execute,
    terminal::{self, EnterAlternateScreen, LeaveAlternateScreen},
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend};

/// The terminal while it is ours.
pub(super) struct Term {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Term {
    /// Takes the terminal over. The screen ends with this thread from now on.
    ///
    /// # Errors
    /// If it is none, or has gone away.
    pub(super) fn take() -> io::Result<Self> {
        // Colour or not is the theme's decision: crossterm would undo bold and reverse where NO_COLOR is set.
        crossterm::style::force_color_output(true);
        restore_on_panic();
        PART.set(Part::Vital);
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

    /// The screen ends with this thread, too.
    pub(super) fn needs_this_thread(&self) {
        PART.set(Part::Vital);
    }

    /// Paints a picture.
    ///
    /// # Errors
    /// If the terminal has gone away, or was given back.
    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.write(|term| term.terminal.draw(paint).map(drop))
    }

    /// Forgets what was painted: the next picture is painted whole.
    ///
    /// # Errors
    /// As [`Term::draw`].
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.write(|term| {
            // `Terminal::clear` asks the terminal where its cursor is, which not every one answers, and while the keys are read
            // on another thread nobody in time.
            let size = term.terminal.size()?;
            term.terminal.resize(size.into())
        })
    }

    /// Rings.
    ///
    /// # Errors
    /// As [`Term::draw`].
    pub(super) fn bell(&mut self) -> io::Result<()> {
        self.write(|_| {
            let mut out = io::stdout();
            out.write_all(b"\x07")?;
            out.flush()
        })
    }

    /// Writes, unless the terminal was given back, and never while it is.
    fn write(&mut self, what: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        if !TAKEN.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the terminal was given back"));
        }
        let before = PART.replace(Part::Writing);
        let written = what(self);
        PART.set(before);
        written
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it was taken, and says what had to wait for that. Safe to call at any time, from any thread.
pub fn restore() {
    // A thread that panics in the middle of a picture holds the lock already.
    let _writing = (PART.get() != Part::Writing).then(|| WRITING.lock().unwrap_or_else(PoisonError::into_inner));
    if TAKEN.swap(false, Ordering::AcqRel) {
        // Whoever restores has nobody to tell what went wrong; the terminal may be gone.
        let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
        for told in LATER.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = writeln!(io::stderr(), "{told}");
        }
    }
}

/// A panic of a thread without which there is no screen is told at once, on the terminal as it was before. Any other one is
/// told when the screen ends: a worker that panics is a defect in one slot, and everybody else goes on.
fn restore_on_panic() {
    if !HOOKED.swap(true, Ordering::AcqRel) {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if PART.get() == Part::None && TAKEN.load(Ordering::Acquire) {
                LATER.lock().unwrap_or_else(PoisonError::into_inner).push(words(info));
            } else {
                restore();
                tell(info);
            }
        }));
    }
}

/// What a panic has to say, as the standard library says it.
fn words(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let trace = Backtrace::capture();
    match trace.status() {
        BacktraceStatus::Captured => format!("thread '{name}' {info}\n{trace}"),
        _ => format!("thread '{name}' {info}"),
    }
}

/// What a thread is to the screen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The screen goes on without it.
    None,
    /// The screen ends with it.
    Vital,
    /// The same, and it is writing to the terminal.
    Writing,
}

thread_local! {
    static PART: Cell<Part> = const { Cell::new(Part::None) };
}

static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOKED: AtomicBool = AtomicBool::new(false);
/// Held while something is written: nothing is painted over a terminal that was given back.
static WRITING: Mutex<()> = Mutex::new(());
/// Panics that are told when the terminal is given back.
static LATER: Mutex<Vec<String>> = Mutex::new(Vec::new());
