//! A station with its screen on a pseudo-terminal of its own, which somebody reads as fast as it is painted: what the screen
//! takes of the machine, and how soon it shows something.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::{super::stage::Stage, file, session::processor_time};
use crate::{
    cli::error::CliError,
    edge::{Clock, clock::Joiner},
    model::Mono,
};

/// A terminal with a station on it.
pub(super) struct Terminal {
    station: Child,
    /// When the first whole picture was there.
    shown: Receiver<Mono>,
    reading: Option<Joiner>,
    began: Mono,
}

impl Terminal {
    /// Starts the station of a stage on a terminal of 160 columns and 48 rows.
    ///
    /// # Errors
    /// If there is no terminal to be had, or no program.
    pub(super) fn start(stage: &Stage, clock: &std::sync::Arc<dyn Clock>) -> Result<Self, CliError> {
        let (mut ours, theirs) = pair().map_err(CliError::Screen)?;
        let program = std::env::current_exe().map_err(file("find", Path::new("keyrack")))?;
        let mut command = Command::new(&program);
        command
            .args(["run", "--config"])
            .arg(stage.config())
            .arg("--world")
            .arg(stage.socket())
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(theirs.try_clone().map_err(CliError::Screen)?))
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::null());
        let began = clock.now();
        let station = command.spawn().map_err(file("start", &program))?;
        // The other end is the station's alone from here on: with it the reading ends.
        drop(command);
        let (tell, shown) = mpsc::channel();
        let watch = std::sync::Arc::clone(clock);
        let body = move || {
            let (mut bytes, mut painted) = ([0; 1 << 16], Vec::new());
            while let Ok(n @ 1..) = ours.read(&mut bytes) {
                if painted.len() < FIRST_PICTURE {
                    painted.extend_from_slice(&bytes[..n]);
                    if painted.windows(LAST.len()).any(|part| part == LAST) {
                        painted.resize(FIRST_PICTURE, 0);
                        // Nobody waits for it any more if it took too long.
                        let _ = tell.send(watch.now());
                    }
                }
            }
        };
        Ok(Self {
            station,
            shown,
            reading: Some(clock.spawn("terminal", Box::new(body))),
            began,
        })
    }

    /// From the start of the program to its first picture.
    ///
    /// # Errors
    /// If none comes.
    pub(super) fn first_picture(&self) -> Result<Duration, CliError> {
        let at = self.shown.recv_timeout(PATIENCE).map_err(|_| CliError::Missing {
            what: "the station painted no picture",
            next: "run `keyrack demo` in this terminal: it says why",
        })?;
        Ok(at.since(self.began))
    }

    /// The processor time of the station so far.
    pub(super) fn processor_time(&self) -> Duration {
        processor_time(&self.station.id().to_string())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It ends as in a power cut: there is nothing to lose here.
        let _ = self.station.kill();
        let _ = self.station.wait();
        if let Some(join) = self.reading.take() {
            let _ = join();
        }
    }
}

/// The two ends of a pseudo-terminal.
fn pair() -> io::Result<(File, File)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    tcsetwinsize(
        &theirs,
        Winsize {
            ws_col: 160,
            ws_row: 48,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )?;
    Ok((ours.into(), theirs.into()))
}

/// What is painted last of a picture: the last key of the key bar.
const LAST: &[u8] = b"F12";
/// More bytes than the first picture has.
const FIRST_PICTURE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
