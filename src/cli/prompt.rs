//! Asking a person at the terminal, or reading the answers from standard input where there is none. A secret is neither
//! shown nor kept in a buffer that outlives it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};
use zeroize::Zeroizing;

use super::{error::CliError, exit::ExitCode, print::Printer};
use crate::{
    edge::{Clock, clock::SystemClock},
    model::Secret,
};

/// Somebody to ask.
pub(super) struct Prompt<'a> {
    printer: &'a Printer,
    terminal: bool,
    /// The terminal as it was, while it does not show what is typed.
    hidden: Arc<Mutex<Option<Termios>>>,
    signals: Handle,
}

impl<'a> Prompt<'a> {
    /// Asks at standard input. While it exists, an interrupt puts the terminal back and ends the process.
    pub(super) fn new(printer: &'a Printer) -> Result<Self, CliError> {
        let mut arriving = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(CliError::Signals)?;
        let signals = arriving.handle();
        let hidden: Arc<Mutex<Option<Termios>>> = Arc::default();
        let shared = Arc::clone(&hidden);
        let body = move || {
            if arriving.forever().next().is_some() {
                show(&shared);
                signal_hook::low_level::exit(ExitCode::Interrupted.number().into());
            }
        };
        drop(SystemClock::new().spawn("signals", Box::new(body)));
        Ok(Self {
            printer,
            terminal: rustix::termios::isatty(rustix::stdio::stdin()),
            hidden,
            signals,
        })
    }

    /// True if a person can be asked.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Asks for a line.
    pub(super) fn line(&self, question: &str) -> Result<String, CliError> {
        if self.terminal {
            self.printer.ask(question);
        }
        Ok(answer(rustix::stdio::stdin())?.expose().clone())
    }

    /// Asks for a line that is not shown.
    pub(super) fn secret(&self, question: &str) -> Result<Secret<String>, CliError> {
        if !self.terminal {
            return answer(rustix::stdio::stdin());
        }
        self.printer.ask(question);
        self.hide().map_err(CliError::Terminal)?;
        let answer = answer(rustix::stdio::stdin());
        show(&self.hidden);
        // The line end that was typed was not shown either.
        self.printer.note("");
        answer
    }

    /// The next line, whoever writes it; none at the end. What scanners read may hold a secret.
    pub(super) fn next_secret(&self) -> Result<Option<Secret<String>>, CliError> {
        read_line(rustix::stdio::stdin()).map_err(CliError::Terminal)
    }

    fn hide(&self) -> io::Result<()> {
        let mut hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        *hidden = Some(before);
        // What was typed before the question is thrown away.
        Ok(tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &silent)?)
    }
}

impl Drop for Prompt<'_> {
    fn drop(&mut self) {
        show(&self.hidden);
        self.signals.close();
    }
}

fn show(hidden: &Mutex<Option<Termios>>) {
    if let Some(before) = hidden.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // If the terminal is gone there is nothing to put back.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
    }
}

/// A line that is not empty.
fn answer(from: BorrowedFd<'_>) -> Result<Secret<String>, CliError> {
    match read_line(from).map_err(CliError::Terminal)? {
        Some(line) if !line.expose().trim().is_empty() => Ok(line),
        _ => Err(CliError::Interrupted),
    }
}

/// Reads up to the end of the line, byte by byte, so that the next line stays for the next question. None at the end.
fn read_line(from: impl AsFd) -> io::Result<Option<Secret<String>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0]);
    loop {
        match rustix::io::read(&from, &mut byte[..]) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            // The vector never grows beyond its room: what it leaves behind would not be overwritten.
            Ok(_) if line.len() == LONGEST => return Err(io::ErrorKind::InvalidData.into()),
            Ok(_) => line.push(byte[0]),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    match str::from_utf8(&line) {
        Ok(text) => Ok(Some(Secret::new(text.to_owned()))),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Longer than any password, in bytes.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn file(content: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn lines_are_read_one_at_a_time() {
        let input = file("p\u{e4}ss word\r\n123456".as_bytes());
        assert_eq!(read_line(&input).unwrap().unwrap().expose(), "p\u{e4}ss word");
        assert_eq!(read_line(&input).unwrap().unwrap().expose(), "123456");
        assert!(read_line(&input).unwrap().is_none());
    }

    #[test]
    fn what_is_no_line_of_text_is_refused() {
        assert!(read_line(file(b"\xff\n")).is_err());
        assert!(read_line(file(&[b'a'; LONGEST + 1])).is_err());
        assert!(matches!(answer(file(b"  \n").as_fd()), Err(CliError::Interrupted)));
    }
}
