//! A program on a pseudo-terminal of its own, with an emulator that shows what a terminal would show. Neither outlives its
//! test.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::{
    io::{Read, Write},
    num::NonZeroU16,
    process::{Command, ExitStatus},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use pty_process::{Size, blocking};
use rustix::termios::{Termios, tcgetattr};

/// A terminal with a program on it.
pub(crate) struct Terminal {
    /// None once it has hung up.
    pty: Option<Arc<blocking::Pty>>,
    program: u32,
    shown: Arc<Shown>,
    reading: Option<JoinHandle<()>>,
    before: String,
}

#[derive(Default)]
struct Shown {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    emulator: vt100::Parser,
    /// Nothing more comes out of the terminal.
    over: bool,
    /// Nobody wants to read it any more.
    hung_up: bool,
    /// How the program ended.
    status: Option<ExitStatus>,
}

impl Terminal {
    /// Starts a program on a terminal of this size, of which it is the first process: a hang-up reaches it.
    pub(crate) fn start(command: Command, (columns, rows): (u16, u16)) -> Self {
        let (pty, pts) = blocking::open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        let before = settings(&tcgetattr(&pts).unwrap());
        let command = blocking::Command::from(command).env("TERM", "xterm-256color");
        let mut child = command.spawn(pts).unwrap();
        let program = child.id();
        let pty = Arc::new(pty);
        let shown = Arc::new(Shown::default());
        shown.state().emulator = vt100::Parser::new(cells(rows), cells(columns), 0);
        let (from, to) = (Arc::clone(&pty), Arc::clone(&shown));
        let reading = thread(move || {
            let mut bytes = [0; 4096];
            // When the program has ended, and nothing is left to be read, it is an error.
            while let Ok(n) = (&*from).read(&mut bytes) {
                let mut state = to.state();
                state.emulator.process(&bytes[..n]);
                to.changed.notify_all();
                if state.hung_up {
                    break;
                }
            }
            to.state().over = true;
            to.changed.notify_all();
        });
        let end = Arc::clone(&shown);
        drop(thread(move || {
            let status = child.wait().unwrap();
            end.state().status = Some(status);
            end.changed.notify_all();
        }));
        Self {
            pty: Some(pty),
            program,
            shown,
            reading: Some(reading),
            before,
        }
    }

    /// What it shows.
    pub(crate) fn text(&self) -> String {
        self.shown.state().emulator.screen().contents()
    }

    /// Waits until it shows all of these texts at once.
    pub(crate) fn wait_for(&self, texts: &[&str]) {
        let fits = |state: &State| {
            let shown = state.emulator.screen().contents();
            texts.iter().all(|text| shown.contains(text))
        };
        let state = self.shown.wait(|state| fits(state) || state.over);
        let shown = state.emulator.screen().contents();
        assert!(fits(&state), "no {texts:?} on the screen:\n{shown}");
    }

    /// Presses keys, or types.
    pub(crate) fn press(&self, keys: &str) {
        let mut line = self.line();
        line.write_all(keys.as_bytes()).unwrap();
    }

    /// Another size.
    pub(crate) fn resize(&self, (columns, rows): (u16, u16)) {
        self.shown.state().emulator.screen_mut().set_size(cells(rows), cells(columns));
        self.line().resize(Size::new(rows, columns)).unwrap();
    }

    /// Sends a signal by name, as `kill` knows it.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.program.to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// The line goes down, as when a window is closed or a network breaks: the kernel tells the program, and nothing can be
    /// read or written any more. The program has to paint when it is asked to.
    pub(crate) fn hang_up(&mut self) {
        self.shown.state().hung_up = true;
        // Whoever reads holds the line: with one more picture it lets go.
        self.press(REPAINT);
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        self.pty = None;
    }

    /// Waits until the program has ended and, unless the line went down, everything that it wrote is shown.
    pub(crate) fn end(&self) -> ExitStatus {
        let state = self.shown.wait(|state| state.status.is_some() && state.over);
        state.status.unwrap()
    }

    /// What of the terminal is not as it was before the program.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let state = self.shown.state();
        let screen = state.emulator.screen();
        let mouse = screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None;
        let modes = [
            (screen.alternate_screen(), "the other screen"),
            (screen.hide_cursor(), "a hidden cursor"),
            (screen.bracketed_paste(), "bracketed paste"),
            (screen.application_cursor(), "application cursor keys"),
            (screen.application_keypad(), "an application keypad"),
            (mouse, "mouse reports"),
            (screen.bold() || screen.inverse(), "bold or inverse text"),
            (screen.fgcolor() != vt100::Color::Default, "a colour"),
            (screen.bgcolor() != vt100::Color::Default, "a ground"),
        ];
        let on = modes.iter().filter(|(on, _)| *on);
        let mut left: Vec<String> = on.map(|(_, name)| (*name).to_owned()).collect();
        let after = settings(&tcgetattr(self.line()).unwrap());
        if after != self.before {
            left.push(format!("settings {after}, before {}", self.before));
        }
        left
    }

    fn line(&self) -> &blocking::Pty {
        self.pty.as_deref().expect("the line is up")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.shown.state().status.is_none() {
            self.signal("KILL");
        }
    }
}

impl Shown {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed has looked at it, and its terminal still has to be taken away.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is so, with a limit.
    fn wait(&self, mut so: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let (state, limit) = self
            .changed
            .wait_timeout_while(self.state(), LONGEST, |state| !so(state))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !limit.timed_out(),
            "it does not come to that:\n{}",
            state.emulator.screen().contents()
        );
        state
    }
}

/// The settings of a terminal, to compare: modes, and the characters that mean something.
fn settings(found: &Termios) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        found.input_modes, found.output_modes, found.control_modes, found.local_modes, found.special_codes
    )
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a real terminal and a real process are watched as they go"
)]
fn thread(body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(body)
}

/// Alt and r.
const REPAINT: &str = "\x1br";
/// More than anything takes that is waited for.
const LONGEST: Duration = Duration::from_secs(60);
