//! How a station is shown: on the whole screen, or told in lines by [`super::events`]. Where the two meet the station.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Context, args::ColorChoice, error::CliError, signals::Signals};
use crate::{
    edge::Clock,
    model::{Record, scan::Patterns},
    rack::Setting,
    station::{Event, Remote},
    tui::{self, Asked, Depth, Place, Screen, Story},
};

/// How a station is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// In lines.
    Lines,
    /// On the whole screen.
    Screen(Depth),
}

/// How a station is shown.
pub(super) enum Shown {
    /// In lines: nothing to do here.
    Lines,
    /// On a screen that opens when there is a station to ask; what happens before is kept for it.
    Waiting(Box<tui::Setup>, Vec<Record>),
    /// On this screen.
    Open(Screen),
}

impl Face {
    /// The screen if there is a terminal for it and nobody asked for lines.
    pub(super) fn wanted(headless: bool, context: &Context) -> Self {
        if headless || context.printer.is_json() || !terminal(context) {
            return Self::Lines;
        }
        Self::Screen(depth(context))
    }

    /// Gets ready for a station of which `earlier` tells what is under way.
    pub(super) fn prepare(
        self,
        setting: &Setting,
        (places, patterns): (Vec<Place>, Patterns),
        earlier: &[Record],
        ledger: &Path,
        clock: &Arc<dyn Clock>,
    ) -> Shown {
        let Self::Screen(depth) = self else { return Shown::Lines };
        let recipes = setting
            .book
            .all()
            .map(|prepared| (prepared.recipe.hash, prepared.recipe.name.clone()));
        let mut story = Story::new(recipes);
        earlier.iter().for_each(|record| story.recall(record));
        let setup = tui::Setup {
            station: tui::Station {
                id: setting.station.clone(),
                places,
                patterns,
            },
            story,
            depth,
            ledger: PathBuf::from(ledger),
            clock: Arc::clone(clock),
        };
        Shown::Waiting(Box::new(setup), Vec::new())
    }
}

impl Shown {
    /// True if the screen shows it all.
    pub(super) const fn is_screen(&self) -> bool {
        !matches!(self, Self::Lines)
    }

    /// Opens the screen, if one is wanted; what a person asks for there goes to the station.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub(super) fn open(&mut self, remote: &Remote, signals: &Signals) -> Result<(), CliError> {
        let (setup, records) = match std::mem::replace(self, Self::Lines) {
            Self::Waiting(setup, records) => (setup, records),
            other => {
                *self = other;
                return Ok(());
            }
        };
        let remote = remote.clone();
        let sink = move |asked, told| match asked {
            Asked::Station(command) => remote.ask(command, told),
            Asked::Pin(pin) => remote.pin(pin.0, told),
            // A station has only the pace of its devices.
            Asked::Replay(_) => {}
        };
        let screen = Screen::open(*setup, Box::new(sink)).map_err(CliError::Screen)?;
        records.iter().for_each(|record| screen.record(record));
        signals.show(Some(Box::new(screen.stopping())));
        *self = Self::Open(screen);
        Ok(())
    }

    /// Shows what happened.
    pub(super) fn on(&mut self, event: &Event<'_>) {
        match (self, event) {
            (Self::Waiting(_, records), Event::Record(record)) => records.push((*record).clone()),
            (Self::Open(screen), Event::Record(record)) => screen.record(record),
            (Self::Open(screen), Event::View(view)) => screen.view(view),
            (Self::Open(screen), Event::Progress { slot, done, of }) => screen.progress(*slot, *done, *of),
            _ => {}
        }
    }

    /// Gives the terminal back.
    ///
    /// # Errors
    /// If the terminal failed while the screen was open; the station was asked to stop then.
    pub(super) fn close(&mut self, signals: &Signals) -> Result<(), CliError> {
        signals.show(None);
        match std::mem::replace(self, Self::Lines) {
            Self::Open(screen) => screen.close().map_err(CliError::Screen),
            _ => Ok(()),
        }
    }
}

/// True if there is a terminal that can be painted on.
pub(super) fn terminal(context: &Context) -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && context.environment.paintable
}

/// How many colours the terminal has, and whether they are wanted.
pub(super) fn depth(context: &Context) -> Depth {
    let environment = &context.environment;
    match context.globals.color {
        ColorChoice::Never => Depth::Mono,
        ColorChoice::Auto if environment.no_color => Depth::Mono,
        ColorChoice::Auto if environment.true_color => Depth::True,
        ColorChoice::Auto if environment.indexed_color => Depth::Indexed,
        ColorChoice::Auto => Depth::Basic,
    }
}
