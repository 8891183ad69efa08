//! The loop of the screen, on its own thread: everything comes through one channel, and what changed is painted, at most
//! twenty times a second, and never when nothing changed.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use crossterm::event::{self, Event as Input};

use crate::{
    edge::{Clock, clock::Joiner},
    model::{Mono, Record, SlotNo},
    rack::{Command, RackView, Told},
};

use super::{
    app::{App, Asked, Event, Station, Wish},
    ledger::{Ledger, Question},
    story::Story,
    term::Term,
    theme::{Depth, Theme},
    view,
};

/// What a person asks for goes here, with a way to say what came of it.
pub type Sink = Box<dyn Fn(Asked, Box<dyn FnOnce(Told) + Send>) + Send>;

/// What a screen needs.
pub struct Setup {
    /// What it is told at the start.
    pub station: Station,
    /// What is known of runs under way.
    pub story: Story,
    /// How many colours the terminal has.
    pub depth: Depth,
    /// Where the ledger is.
    pub ledger: PathBuf,
    /// Time and threads.
    pub clock: Arc<dyn Clock>,
}

/// An open screen.
pub struct Screen {
    events: Sender<Event>,
    painter: Option<Joiner>,
    failed: Receiver<io::Error>,
}

impl Screen {
    /// Takes the terminal over and shows an empty rack. `sink` is given everything that a person asks of the station, and a
    /// way to say what came of it.
    ///
    /// # Errors
    /// If there is no terminal.
    pub fn open(setup: Setup, sink: Sink) -> io::Result<Self> {
        let (events, incoming) = mpsc::channel();
        let (failing, failed) = mpsc::channel();
        let term = Term::take()?;
        let size = crossterm::terminal::size()?;
        let Setup {
            station,
            story,
            depth,
            ledger,
            clock,
        } = setup;
        let ledger = Ledger::start(ledger, &*clock, events.clone());
        ledger.ask(Question::Took);
        let app = App::new(station, story, clock.wall(), size);
        let ended = Arc::new(AtomicBool::new(false));
        let keys = read_keys(&*clock, events.clone(), Arc::clone(&ended));
        let painter = Painter {
            term,
            app,
            rack: RackView::default(),
            theme: Theme::new(depth),
            ledger,
            sink,
            events: events.clone(),
            clock: Arc::clone(&clock),
            painted: None,
        };
        let body = move || {
            let sink_on_failure = painter.run(&incoming);
            ended.store(true, Ordering::Release);
            // The terminal is given back by now; the keys that come after belong to whoever has it next.
            let _ = keys();
            if let Err(error) = sink_on_failure {
                // Nobody listens any more if the station has ended, too.
                let _ = failing.send(error);
            }
        };
        Ok(Self {
            events,
            painter: Some(clock.spawn("screen", Box::new(body))),
            failed,
        })
    }

    /// The station looks like this now.
    pub fn view(&self, view: &RackView) {
        self.send(Event::View(Box::new(view.clone())));
    }

    /// A fact is on disk.
    pub fn record(&self, record: &Record) {
        self.send(Event::Record(Box::new(record.clone())));
    }

    /// How far a step is, in bytes.
    pub fn progress(&self, slot: SlotNo, done: u64, of: u64) {
        self.send(Event::Progress { slot, done, of });
    }

    /// A journal is replayed, as these words say: it is no station that is shown.
    pub fn replay(&self, words: String) {
        self.send(Event::Replay(words));
    }

    /// A way to tell the screen that a signal asked the station to stop.
    pub fn stopping(&self) -> impl Fn() + Send + use<> {
        let events = self.events.clone();
        move || {
            // A screen that is closed needs not be told.
            let _ = events.send(Event::Stopping);
        }
    }

    /// Gives the terminal back.
    ///
    /// # Errors
    /// If the terminal or the screen failed while it was open.
    pub fn close(mut self) -> io::Result<()> {
        self.end()?;
        self.failed.try_recv().map_or(Ok(()), Err)
    }

    fn send(&self, event: Event) {
        // A screen that failed has asked the station to stop; until it does there is nothing to show.
        let _ = self.events.send(event);
    }

    /// Ends it, if it has not ended. Words of a panic were told by the hook.
    fn end(&mut self) -> io::Result<()> {
        self.send(Event::End);
        let ended = self.painter.take().map(|join| join());
        match ended {
            Some(Err(_)) => Err(io::Error::other("the thread that paints panicked")),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Whoever did not close it does not ask how it went.
        let _ = self.end();
    }
}

struct Painter {
    term: Term,
    app: App,
    rack: RackView,
    theme: Theme,
    ledger: Ledger,
    sink: Sink,
    events: Sender<Event>,
    clock: Arc<dyn Clock>,
    /// When the last picture was painted.
    painted: Option<Mono>,
}

impl Painter {
    fn run(mut self, incoming: &Receiver<Event>) -> io::Result<()> {
        self.term.needs_this_thread();
        let end = self.turns(incoming);
        if end.is_err() {
            // The terminal is gone: whoever sits there cannot ask for anything any more.
            self.ask(Asked::Station(Command::Quit));
        }
        end
    }

    fn turns(&mut self, incoming: &Receiver<Event>) -> io::Result<()> {
        let mut stale = true;
        loop {
            let now = self.clock.now();
            if stale && self.may_paint(now) {
                self.paint(now)?;
                stale = false;
            }
            let first = match self.wait(stale, now) {
                Some(limit) => match incoming.recv_timeout(limit) {
                    Ok(event) => Some(event),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                },
                None => match incoming.recv() {
                    Ok(event) => Some(event),
                    Err(_) => return Ok(()),
                },
            };
            if self.app.replay.is_none() {
                self.app.now = self.clock.wall();
            }
            // A second has passed while something is under way: what is shown has grown older.
            stale |= first.is_none();
            for event in first.into_iter().chain(incoming.try_iter()) {
                if matches!(event, Event::End) {
                    return Ok(());
                }
                stale = true;
                for wish in self.app.on(event, &mut self.rack) {
                    self.grant(wish)?;
                }
            }
        }
    }

    fn grant(&mut self, wish: Wish) -> io::Result<()> {
        match wish {
            Wish::Ask(asked) => self.ask(asked),
            Wish::Ledger(question) => self.ledger.ask(question),
            Wish::Repaint => self.term.clear()?,
            Wish::Bell => self.term.bell()?,
        }
        Ok(())
    }

    fn ask(&self, asked: Asked) {
        let events = self.events.clone();
        let told = move |told| {
            // A screen that is closed needs not be told.
            let _ = events.send(Event::Told(told));
        };
        (self.sink)(asked, Box::new(told));
    }

    fn may_paint(&self, now: Mono) -> bool {
        self.painted.is_none_or(|at| now.since(at) >= LEAST)
    }

    /// The longest to wait for the next event; without limit if nothing can change by itself.
    fn wait(&self, stale: bool, now: Mono) -> Option<Duration> {
        if stale {
            return Some(self.painted.map_or(Duration::ZERO, |at| (at + LEAST).since(now)));
        }
        let under_way = self.rack.slots.iter().any(|slot| slot.awaits.busy());
        (under_way && self.app.replay.is_none()).then_some(SECOND)
    }

    fn paint(&mut self, now: Mono) -> io::Result<()> {
        let (rack, app, theme) = (&self.rack, &self.app, self.theme);
        self.term.draw(|frame| view::draw(frame, rack, app, theme))?;
        self.painted = Some(now);
        Ok(())
    }
}

impl Drop for Painter {
    /// A screen that broke leaves no station that nobody can stop.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.ask(Asked::Station(Command::Quit));
        }
    }
}

/// Reads keys until the screen ends, on a thread of its own.
fn read_keys(clock: &dyn Clock, events: Sender<Event>, ended: Arc<AtomicBool>) -> Joiner {
    let body = move || {
        while !ended.load(Ordering::Acquire) {
            match event::poll(LOOK_UP) {
                Ok(false) => {}
                Ok(true) => match event::read().map(heard) {
                    Ok(Some(event)) => {
                        if events.send(event).is_err() {
                            return;
                        }
                    }
                    Ok(None) => {}
                    Err(_) => return,
                },
                // The terminal is gone; the painter notices by itself, and the signal of it comes, too.
                Err(_) => return,
            }
        }
    };
    clock.spawn("keys", Box::new(body))
}

fn heard(input: Input) -> Option<Event> {
    match input {
        Input::Key(key) => Some(Event::Key(key)),
        Input::Paste(text) => Some(Event::Paste(text)),
        Input::Resize(width, height) => Some(Event::Resize(width, height)),
        _ => None,
    }
}

/// At most twenty pictures a second.
const LEAST: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
/// How often the thread that reads keys looks whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(200);
