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

    /// Puts something in, before everything that yields to it.
    pub fn send_before(&self, item: T, yields: impl Fn(&T) -> bool) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let at = queue.iter().position(yields).unwrap_or(queue.len());
        queue.insert(at, item);
        drop(queue);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_goes_before_what_yields_and_keeps_its_order() {
        let mailbox: Mailbox<(bool, u8)> = Mailbox::new();
        for (awaited, n) in [(false, 1), (false, 2), (true, 3), (false, 4), (true, 5)] {
            mailbox.send_before((awaited, n), |(other, _)| awaited && !other);
        }
        let order: Vec<u8> = mailbox.drain().into_iter().map(|(_, n)| n).collect();
        assert_eq!(order, [3, 5, 1, 2, 4]);
    }
}
