//! A queue between threads whose waiting goes through the clock, so that a virtual clock sees it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    edge::{Clock, Signal},
    model::Mono,
};

/// A queue with one reader. Clones are the same queue.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Arc<Mutex<VecDeque<T>>>,
    bell: Signal,
}

impl<T> Mailbox<T> {
    /// An empty queue with a signal of its own.
    pub fn new() -> Self {
        Self::ringing(Signal::new())
    }

    /// An empty queue that raises this signal at each arrival: one thread can wait for several things.
    pub fn ringing(bell: Signal) -> Self {
        Self {
            queue: Arc::default(),
            bell,
        }
    }

    /// Puts something in.
    pub fn send(&self, item: T) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(item);
        self.bell.raise();
    }

    /// Takes everything out that is there.
    pub fn drain(&self) -> Vec<T> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Waits for the next thing; `None` when the deadline came first.
    pub fn receive(&self, clock: &dyn Clock, deadline: Option<Mono>) -> Option<T> {
        loop {
            let seen = self.bell.raised();
            if let Some(item) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return Some(item);
            }
            if deadline.is_some_and(|at| clock.now() >= at) {
                return None;
            }
            clock.wait(&self.bell, seen, deadline);
        }
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            bell: self.bell.clone(),
        }
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}
