//! The only writer to standard output and standard error.
//!
//! Results go to standard output, everything else to standard error. A reader that has gone away (a broken pipe) is no
//! error: nothing more is printed, and the work goes on. Text from devices and from the cloud never reaches the terminal
//! with control characters in it.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

pub(super) use super::text::{Paint, Text};
use super::{
    args::{ColorChoice, Globals},
    environment::Environment,
    error::CliError,
};
use crate::model::sentence::harmless;

/// Where the text goes.
pub(super) struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    out_is_terminal: bool,
    err_is_terminal: bool,
}

impl Streams {
    /// The streams of this process.
    pub(super) fn process() -> Self {
        Self {
            // A line at a time, so that whoever follows a pipe sees what happens when it happens.
            out: Box::new(io::LineWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }
}

/// Prints, for all threads.
pub struct Printer {
    streams: Mutex<Sink>,
    json: bool,
    verbose: u8,
    out_colors: bool,
    err_colors: bool,
}

struct Sink {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Nobody reads standard output any more.
    closed: bool,
    /// The first failure that was not a broken pipe.
    failed: Option<io::Error>,
}

impl Printer {
    /// A printer to these streams.
    pub(super) fn new(streams: Streams, globals: &Globals, environment: &Environment) -> Self {
        let colors = |terminal: bool| match globals.color {
            ColorChoice::Auto => terminal && !environment.no_color,
            ColorChoice::Never => false,
        };
        Self {
            json: globals.json,
            verbose: globals.verbose,
            out_colors: colors(streams.out_is_terminal),
            err_colors: colors(streams.err_is_terminal),
            streams: Mutex::new(Sink {
                out: streams.out,
                err: streams.err,
                closed: false,
                failed: None,
            }),
        }
    }

    /// True if results are wanted as JSON, one object a line.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// How often `-v` was given.
    pub fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// True if nobody reads standard output any more: a long listing may end.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Prints a line of a result.
    pub fn line(&self, text: impl Into<Text>) {
        let line = text.into().render(self.out_colors);
        self.lock().print(&(line + "\n"));
    }

    /// Prints a line for the person at the terminal that is not part of the result.
    pub fn note(&self, text: impl Into<Text>) {
        let line = text.into().render(self.err_colors);
        self.lock().say(&(line + "\n"));
    }

    /// Prints a question without ending the line.
    pub fn ask(&self, question: &str) {
        self.lock().say(&harmless(question));
    }

    /// Prints one object as a line of JSON.
    pub fn object(&self, object: &impl Serialize) {
        let line = serde_json::to_string(object).expect("what is printed has text keys and no special numbers");
        self.lock().print(&(line + "\n"));
    }

    /// Prints an error with its chain of causes and its one next action; with `--json` also as a last object.
    pub fn error(&self, error: &CliError) {
        if self.json {
            self.object(&error.report());
        }
        for line in error.lines() {
            self.note(line);
        }
    }

    /// Everything that was printed has arrived, or why not. A reader that went away is no failure.
    pub fn flush(&self) -> Result<(), io::Error> {
        let mut sink = self.lock();
        let end = sink.out.flush();
        sink.take(end);
        sink.failed.take().map_or(Ok(()), Err)
    }

    pub(super) fn colors(&self, stderr: bool) -> bool {
        if stderr { self.err_colors } else { self.out_colors }
    }

    /// Prints a text that the command-line parser made, which is ours but for what the user typed.
    pub(super) fn rendered(&self, text: &str, stderr: bool) {
        let mut sink = self.lock();
        if stderr { sink.say(text) } else { sink.print(text) }
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    fn print(&mut self, text: &str) {
        if !self.closed {
            let end = self.out.write_all(text.as_bytes());
            self.take(end);
        }
    }

    fn say(&mut self, text: &str) {
        // There is nobody left to tell that standard error cannot be written.
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }

    fn take(&mut self, end: io::Result<()>) {
        if let Err(error) = end {
            self.closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe && self.failed.is_none() {
                self.failed = Some(error);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gone(io::ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A printer, and what it printed to standard output and standard error.
    pub(crate) fn printer(json: bool, verbose: u8) -> (Printer, Page, Page) {
        let (out, err) = (Page::default(), Page::default());
        let globals = Globals {
            json,
            verbose,
            ..Globals::default()
        };
        let streams = Streams {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            out_is_terminal: false,
            err_is_terminal: false,
        };
        (Printer::new(streams, &globals, &Environment::default()), out, err)
    }

    fn to(out: impl Write + Send + 'static, terminal: bool, color: ColorChoice, no_color: bool) -> Printer {
        let streams = Streams {
            out: Box::new(out),
            err: Box::new(io::sink()),
            out_is_terminal: terminal,
            err_is_terminal: terminal,
        };
        let globals = Globals {
            color,
            ..Globals::default()
        };
        let environment = Environment {
            no_color,
            ..Environment::default()
        };
        Printer::new(streams, &globals, &environment)
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is() {
        let pipe = to(Gone(io::ErrorKind::BrokenPipe), false, ColorChoice::Auto, false);
        pipe.line("one");
        pipe.line("two");
        assert!(pipe.is_closed());
        pipe.flush().unwrap();
        let disk = to(Gone(io::ErrorKind::StorageFull), false, ColorChoice::Auto, false);
        disk.line("one");
        assert_eq!(disk.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let print = |terminal, color, no_color| {
            let page = Page::default();
            to(page.clone(), terminal, color, no_color).line(Text::new().then("is ").paint(Paint::Good, "PASS"));
            page.text()
        };
        assert_eq!(print(true, ColorChoice::Auto, false), "is \x1b[1;38;5;36mPASS\x1b[0m\n");
        for plain in [
            print(false, ColorChoice::Auto, false),
            print(true, ColorChoice::Never, false),
            print(true, ColorChoice::Auto, true),
        ] {
            assert_eq!(plain, "is PASS\n");
        }
    }

    #[test]
    fn what_a_device_says_cannot_steer_the_terminal() {
        let (printer, out, _) = printer(false, 0);
        printer.line(Text::from("serial \x1b[2J\r\n\u{202e}x"));
        assert_eq!(out.text(), "serial \u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}x\n");
    }
}
