//! Waiting for whatever comes next while a person works on the rack: a device comes or goes, a line is typed, or it is to
//! end.

use std::{
    io::{self, BufRead},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};

use crate::{
    cli::error::CliError,
    edge::{Attached, Bus, Clock, Signal},
    model::Mono,
};

/// The ports, the keyboard and the signals of this process.
pub(super) struct Watch {
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    bell: Signal,
    stopped: Arc<AtomicBool>,
    typed: Arc<AtomicU64>,
    heard: u64,
    known: Vec<Attached>,
    signals: Handle,
}

/// What came next.
#[derive(Debug)]
pub(super) enum Moment {
    /// Devices came or went.
    Changed(Vec<Change>),
    /// A line was typed.
    Typed,
    /// The time is over.
    Late,
    /// A signal asks to end.
    Stopped,
}

/// A device came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It came, or it is another one than before.
    Came(Attached),
    /// It went.
    Left(Attached),
}

impl Watch {
    /// Begins; what is plugged in now is known.
    pub(super) fn start(bus: Arc<dyn Bus>, clock: Arc<dyn Clock>) -> Result<Self, CliError> {
        let mut arriving = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(CliError::Signals)?;
        let signals = arriving.handle();
        // Whoever has something to say raises the signal of the bus: one thing to wait for is enough.
        let (bell, stopped) = (bus.changed(), Arc::<AtomicBool>::default());
        let (ring, stop) = (bell.clone(), Arc::clone(&stopped));
        let body = move || {
            if arriving.forever().next().is_some() {
                stop.store(true, Ordering::SeqCst);
                ring.raise();
            }
        };
        drop(clock.spawn("signals", Box::new(body)));
        Ok(Self {
            known: bus.list()?,
            bus,
            clock,
            bell,
            stopped,
            typed: Arc::default(),
            heard: 0,
            signals,
        })
    }

    /// Listens to standard input from now on: only that a line came counts.
    pub(super) fn listen(&self) {
        let (ring, typed) = (self.bell.clone(), Arc::clone(&self.typed));
        let body = move || {
            for _ in io::stdin().lock().split(b'\n').map_while(Result::ok) {
                typed.fetch_add(1, Ordering::SeqCst);
                ring.raise();
            }
        };
        // Nobody joins it: it ends with standard input, or with the process.
        drop(self.clock.spawn("typed", Box::new(body)));
    }

    /// What is plugged in, as of the last moment.
    pub(super) fn known(&self) -> &[Attached] {
        &self.known
    }

    /// Waits for what comes next.
    pub(super) fn next(&mut self, deadline: Option<Mono>) -> Result<Moment, CliError> {
        loop {
            let seen = self.bell.raised();
            if self.stopped.load(Ordering::SeqCst) {
                return Ok(Moment::Stopped);
            }
            if self.typed.load(Ordering::SeqCst) > self.heard {
                self.heard += 1;
                return Ok(Moment::Typed);
            }
            let now = self.bus.list()?;
            let changes = changes(&self.known, &now);
            self.known = now;
            if !changes.is_empty() {
                return Ok(Moment::Changed(changes));
            }
            if deadline.is_some_and(|at| at <= self.clock.now()) {
                return Ok(Moment::Late);
            }
            self.clock.wait(&self.bell, seen, deadline);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.signals.close();
    }
}

/// Who came and went between two lists: those that left first.
fn changes(before: &[Attached], after: &[Attached]) -> Vec<Change> {
    let missing = |device: &&Attached, list: &[Attached]| !list.contains(device);
    let left = before
        .iter()
        .filter(|device| missing(device, after))
        .cloned()
        .map(Change::Left);
    let came = after
        .iter()
        .filter(|device| missing(device, before))
        .cloned()
        .map(Change::Came);
    left.chain(came).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: &str, address: u16) -> Attached {
        Attached {
            port: port.parse().unwrap(),
            address,
            vendor: 0x2b04,
            product: 0xc00c,
            serial: None,
        }
    }

    #[test]
    fn a_device_that_restarted_left_and_came() {
        let (a, b, again) = (at("x/1", 1), at("x/2", 2), at("x/1", 3));
        assert_eq!(changes(&[a.clone(), b.clone()], &[a.clone(), b.clone()]), []);
        assert_eq!(
            changes(&[a.clone(), b.clone()], &[again.clone(), b]),
            [Change::Left(a), Change::Came(again)]
        );
    }
}
