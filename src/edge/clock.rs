//! Time and threads. Both go through one trait because a virtual clock may only advance when every thread waits.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::model::{Mono, Wall};

/// A thread started by [`Clock::spawn`].
pub type Joiner = Box<dyn FnOnce() -> thread::Result<()> + Send>;

/// Time, waiting and threads.
pub trait Clock: Send + Sync {
    /// The monotonic time, for deadlines.
    fn now(&self) -> Mono;

    /// The wall time, for records. It may jump.
    fn wall(&self) -> Wall;

    /// Waits for at least `duration`.
    fn sleep(&self, duration: Duration);

    /// Waits until `signal` was raised more often than `seen` times or `deadline` has come, and returns how often it
    /// was raised. `None` waits for the signal alone.
    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Mono>) -> u64;

    /// Starts a named thread. A virtual clock advances only while every thread that it started waits in
    /// [`Clock::sleep`] or [`Clock::wait`]; so those threads must wait in no other way.
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Joiner;
}

/// A counter that threads wait on. Clones are the same signal.
#[derive(Clone, Default)]
pub struct Signal(Arc<Shared>);

#[derive(Default)]
struct Shared {
    raised: Mutex<u64>,
    bell: Condvar,
    /// Set by a virtual clock, which then wakes the waiting threads itself.
    hook: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Signal {
    /// A signal that was never raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the signal: whoever waits for it goes on.
    pub fn raise(&self) {
        *lock(&self.0.raised) += 1;
        self.0.bell.notify_all();
        let hook = lock(&self.0.hook).clone();
        if let Some(hook) = hook {
            hook();
        }
    }

    /// How often it was raised so far.
    pub fn raised(&self) -> u64 {
        *lock(&self.0.raised)
    }

    /// True if both are the same signal.
    pub fn is(&self, other: &Signal) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// For the implementer of a virtual clock: called after every raise, in place of waking threads that block here.
    pub fn set_hook(&self, hook: Arc<dyn Fn() + Send + Sync>) {
        *lock(&self.0.hook) = Some(hook);
    }

    /// Blocks this thread until the count exceeds `seen` or `limit` has passed. Only clocks call this.
    pub fn block(&self, seen: u64, limit: Option<Duration>) -> u64 {
        let raised = lock(&self.0.raised);
        let guard = match limit {
            None => self
                .0
                .bell
                .wait_while(raised, |n| *n <= seen)
                .unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                self.0
                    .bell
                    .wait_timeout_while(raised, limit, |n| *n <= seen)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        *guard
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({})", self.raised())
    }
}

/// The machine's clocks and threads.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place where time comes from")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Mono {
        Mono(self.start.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where time comes from")]
    fn wall(&self) -> Wall {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Wall::from_millis(millis).expect("the system clock is between the years 1970 and 9999")
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Mono>) -> u64 {
        signal.block(seen, deadline.map(|at| at.since(self.now())))
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Joiner {
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .expect("the operating system starts a thread");
        Box::new(move || handle.join())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A counter and a hook are whole after any panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raise_between_look_and_wait_is_not_lost() {
        let clock = SystemClock::new();
        let signal = Signal::new();
        let seen = signal.raised();
        signal.raise();
        assert_eq!(clock.wait(&signal, seen, None), 1);
        let before = clock.now();
        assert_eq!(
            clock.wait(&signal, 1, Some(before + Duration::from_millis(5))),
            1,
            "the deadline ends the wait"
        );
        assert!(clock.now() >= before + Duration::from_millis(5));
    }
}
