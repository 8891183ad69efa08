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
    queue: Arc<Mutex<Queue<T>>>,
    bell: Signal,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<T>,
    /// So many at its head are in a hurry.
    hurried: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            hurried: 0,
        }
    }
}

impl<T> Queue<T> {
    fn next(&mut self) -> Option<T> {
        self.hurried = self.hurried.saturating_sub(1);
        self.items.pop_front()
    }
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
        self.lock().items.push_back(item);
        self.bell.raise();
    }

    /// Puts something in that must not wait for others: it comes after those that were in a hurry before it, and before
    /// all the rest.
    pub fn hurry(&self, item: T) {
        {
            let mut queue = self.lock();
            let at = queue.hurried;
            queue.items.insert(at, item);
            queue.hurried += 1;
        }
        self.bell.raise();
    }

    /// Puts something in, before everything that yields to it.
    pub fn send_before(&self, item: T, yields: impl Fn(&T) -> bool) {
        let mut queue = self.lock();
        let at = queue.items.iter().position(yields).unwrap_or(queue.items.len());
        // What is in a hurry keeps its place.
        let at = at.max(queue.hurried);
        queue.items.insert(at, item);
        drop(queue);
        self.bell.raise();
    }

    /// Takes everything out that is there.
    pub fn drain(&self) -> Vec<T> {
        let mut queue = self.lock();
        queue.hurried = 0;
        queue.items.drain(..).collect()
    }

    /// Waits for the next thing; `None` when the deadline came first.
    pub fn receive(&self, clock: &dyn Clock, deadline: Option<Mono>) -> Option<T> {
        loop {
            let seen = self.bell.raised();
            if let Some(item) = self.lock().next() {
                return Some(item);
            }
            if deadline.is_some_and(|at| clock.now() >= at) {
                return None;
            }
            clock.wait(&self.bell, seen, deadline);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
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
    fn what_is_in_a_hurry_overtakes_the_rest_and_nothing_of_its_kind() {
        let box_ = Mailbox::new();
        let next = || box_.receive(&SystemClock::new(), Some(Mono::default()));
        (0..3).for_each(|n| box_.send(n));
        box_.hurry(10);
        box_.hurry(11);
        assert_eq!(next(), Some(10));
        box_.hurry(12);
        box_.send(3);
        assert_eq!([next(), next(), next()], [Some(11), Some(12), Some(0)]);
        assert_eq!(box_.drain(), [1, 2, 3]);
        box_.hurry(13);
        box_.send(4);
        assert_eq!([next(), next(), next()], [Some(13), Some(4), None]);
    }

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
