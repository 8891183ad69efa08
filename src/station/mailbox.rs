//! A queue between threads whose waiting goes through the clock, so that a virtual clock sees it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    edge::{Clock, Signal},
    model::Mono,
};

/// A queue. Clones are the same queue.
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
        self.lock().push_back(item);
        self.bell.raise();
    }

    /// Takes everything out that is there.
    pub fn drain(&self) -> Vec<T> {
        self.lock().drain(..).collect()
    }

    /// Waits for the next thing; `None` when the deadline came first.
    pub fn receive(&self, clock: &dyn Clock, deadline: Option<Mono>) -> Option<T> {
        loop {
            let seen = self.bell.raised();
            if let Some(item) = self.lock().pop_front() {
                return Some(item);
            }
            if deadline.is_some_and(|at| clock.now() >= at) {
                return None;
            }
            clock.wait(&self.bell, seen, deadline);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        // A queue is whole after any panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::clock::SystemClock;

    #[test]
    fn things_come_out_in_their_order_and_nobody_waits_longer_than_asked() {
        let mailbox = Mailbox::new();
        (0..3).for_each(|n| mailbox.send(n));
        let next = || mailbox.receive(&SystemClock::new(), Some(Mono::default()));
        assert_eq!(next(), Some(0));
        assert_eq!(mailbox.drain(), [1, 2]);
        assert_eq!(next(), None);
    }
}
