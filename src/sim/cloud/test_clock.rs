//! A clock for tests that stands still until it is told to move or somebody sleeps on it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    edge::{Clock, Signal, clock::Joiner},
    model::{Mono, Wall},
};

/// The clock; both times move together.
pub(super) struct TestClock {
    now: Mutex<Duration>,
}

impl TestClock {
    pub(super) fn new() -> Self {
        Self {
            now: Mutex::new(Duration::ZERO),
        }
    }

    pub(super) fn advance(&self, by: Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Mono {
        Mono(*self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wall(&self) -> Wall {
        let start = Wall::parse("2026-11-23T10:00:00Z").unwrap().millis();
        Wall::from_millis(start + i64::try_from(self.now().0.as_millis()).unwrap()).unwrap()
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }

    fn wait(&self, signal: &Signal, _seen: u64, _deadline: Option<Mono>) -> u64 {
        signal.raised()
    }

    fn spawn(&self, _name: &str, body: Box<dyn FnOnce() + Send>) -> Joiner {
        body();
        Box::new(|| Ok(()))
    }
}
