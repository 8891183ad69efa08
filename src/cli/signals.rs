//! SIGINT, SIGTERM and SIGHUP: the first one asks the station to stop at safe points, a second one ends at once. A
//! hang-up never does more than ask.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals as Arriving},
};

use super::{
    error::CliError,
    events::Held,
    exit::ExitCode,
    print::{Paint, Printer, Text},
};
use crate::{edge::Clock, rack::Command, station::Remote, tui};

/// The signals of this process while a station runs.
pub(super) struct Signals {
    handle: Handle,
    asking: Arc<Mutex<Asking>>,
}

/// What a signal asks for, and whom.
#[derive(Default)]
struct Asking {
    remote: Option<Remote>,
    /// Tells it on the screen, where one is open: nothing is printed over it.
    screen: Option<Box<dyn Fn() + Send>>,
    asked: bool,
}

impl Signals {
    /// Takes the signals over, before there is a station to ask.
    pub(super) fn watch(clock: &dyn Clock, printer: Arc<Printer>, held: Held) -> Result<Self, CliError> {
        let mut arriving = Arriving::new([SIGINT, SIGTERM, SIGHUP]).map_err(CliError::Signals)?;
        let handle = arriving.handle();
        let asking = Arc::new(Mutex::new(Asking::default()));
        let shared = Arc::clone(&asking);
        let body = move || {
            for signal in arriving.forever() {
                let first = {
                    let mut asking = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let first = !std::mem::replace(&mut asking.asked, true);
                    match &asking.screen {
                        Some(show) if first => show(),
                        None if first => tell(&printer, &held.words()),
                        _ => {}
                    }
                    first
                };
                if first {
                    ask(&shared);
                } else if signal != SIGHUP {
                    tui::restore();
                    printer.note("ended at once; the journal has what was done, and the next start takes it up");
                    // The streams may be gone; what matters is on disk.
                    let _: Result<(), io::Error> = printer.flush();
                    signal_hook::low_level::exit(ExitCode::Interrupted.number().into());
                }
            }
        };
        // Nobody joins it: it ends when the handle is closed, or with the process.
        drop(clock.spawn("signals", Box::new(body)));
        Ok(Self { handle, asking })
    }

    /// Names the station; a signal that came before it is passed on now.
    pub(super) fn connect(&self, remote: Remote) {
        let asked = {
            let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            asking.remote = Some(remote);
            asking.asked
        };
        if asked {
            ask(&self.asking);
        }
    }

    /// Names the screen that is open; none again when it is closed.
    pub(super) fn show(&self, screen: Option<Box<dyn Fn() + Send>>) {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).screen = screen;
    }

    /// Gives the signals back.
    pub(super) fn close(&self) {
        self.handle.close();
    }
}

fn ask(asking: &Mutex<Asking>) {
    if let Some(remote) = &asking.lock().unwrap_or_else(PoisonError::into_inner).remote {
        remote.command(Command::Quit);
    }
}

fn tell(printer: &Printer, held: &[String]) {
    printer.note(Text::new().paint(Paint::Warn, "stopping at the next safe points; once more to end at once"));
    for phrase in held {
        printer.note(format!("  {phrase}"));
    }
}
