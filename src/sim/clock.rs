//! The virtual clock: time that passes only when every thread waits.
//!
//! Its threads are coroutines: exactly one runs at any moment, and it gives the baton away only in [`Clock::sleep`], in
//! [`Clock::wait`], when it joins another thread, and when it ends. Threads that can go on do so in the order in which
//! they became able to. When none can, time jumps to the earliest deadline: first the time sources and callbacks of that
//! instant act, then its sleepers, in the order in which they lay down. So a run is the same each time, and an hour takes
//! as long as its work.
//!
//! It must not be used by threads that it does not know, other than to look at the time and to raise signals; and a signal
//! that is waited for on one virtual clock belongs to that clock.

mod baton;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    edge::{Clock, Signal, clock::Joiner},
    model::{Mono, Wall},
};

use baton::Core;
use schedule::{GroupId, What};

/// Something that changes by itself at instants that it knows: a rack of simulated devices.
pub trait TimeSource: Send + Sync {
    /// When it next changes by itself, if ever.
    fn due(&self) -> Option<Mono>;

    /// Lets it change to what it is at `now`. Afterwards it must not be due at `now` or before. It must not wait.
    fn advance(&self, now: Mono);
}

/// What a thread unwinds with when its group is killed. The panic hook never sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed;

impl Killed {
    /// True if a caught panic is a cut: pass it on with [`std::panic::resume_unwind`].
    pub fn is(payload: &(dyn Any + Send)) -> bool {
        payload.is::<Killed>()
    }
}

/// A deterministic clock. Clones are the same clock.
#[derive(Clone)]
pub struct VirtualClock(Arc<Core>);

/// A view of a [`VirtualClock`] whose threads can be killed together: one simulated process.
pub struct Group {
    core: Arc<Core>,
    id: GroupId,
    ended: Signal,
}

impl VirtualClock {
    /// A clock at monotonic zero, on the first of January 2026, with the calling thread as its main thread, which holds
    /// the baton from now on.
    ///
    /// Threads that still wait when the main thread is done with the clock wait for ever: end them with
    /// [`VirtualClock::kill_all`], or use [`VirtualClock::run`], which does.
    pub fn new() -> Self {
        Self::starting(Wall::from_millis(EPOCH_MILLIS).expect("the first of January 2026 is a date"))
    }

    /// As [`VirtualClock::new`], with the wall time at monotonic zero.
    pub fn starting(epoch: Wall) -> Self {
        Self(Core::new(epoch))
    }

    /// Runs `body` as the main thread of a new clock, then kills every thread that is left, even if `body` panics.
    pub fn run<R>(body: impl FnOnce(&Self) -> R) -> R {
        struct End(VirtualClock);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.kill_all();
            }
        }
        let end = End(Self::new());
        body(&end.0)
    }

    /// Calls `call` at an instant (now, if it has passed), before the threads of that instant go on. It must not wait.
    pub fn at(&self, at: Mono, call: Box<dyn FnOnce() + Send>) {
        self.0.lock().call_at(at, call);
    }

    /// Lets a source act whenever it is due, for as long as somebody else holds it.
    pub fn register_source(&self, source: Weak<dyn TimeSource>) {
        let mut schedule = self.0.lock();
        let mut sources: Vec<_> = schedule.sources.iter().filter(|s| s.strong_count() > 0).cloned().collect();
        sources.push(source);
        schedule.sources = Arc::new(sources);
    }

    /// Moves the wall clock by this many milliseconds; the monotonic time does not notice.
    pub fn jump_wall(&self, millis: i64) {
        let mut schedule = self.0.lock();
        schedule.epoch = schedule.epoch.saturating_add(millis);
    }

    /// A new group: a clock whose threads can be killed together.
    pub fn group(&self) -> Arc<Group> {
        let id = self.0.lock().number();
        Arc::new(Group {
            core: Arc::clone(&self.0),
            id,
            ended: Signal::new(),
        })
    }

    /// Unwinds every thread of this clock except the main one and the calling one, and waits for their ends.
    pub fn kill_all(&self) {
        self.0.kill_all();
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Mono {
        self.0.now()
    }

    fn wall(&self) -> Wall {
        self.0.wall()
    }

    fn sleep(&self, duration: Duration) {
        self.0.sleep(duration);
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Mono>) -> u64 {
        self.0.wait(signal, seen, deadline, What::Signal(seen))
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Joiner {
        self.0.spawn(name, body, 0, Signal::new())
    }
}

impl Group {
    /// Kills the group as `kill -9` does a process: none of its threads runs another statement. Each unwinds with
    /// [`Killed`] in its turn (destructors do run; in them sleeping and waiting return at once), also the calling thread,
    /// if it belongs to the group. Threads that the group spawns from now on never start.
    pub fn kill(&self) {
        let mut schedule = self.core.lock();
        schedule.cut_group(self.id);
        self.core.obey_cut(&schedule);
    }

    /// Waits until no thread of the group is left.
    pub fn join(&self) {
        loop {
            let seen = self.ended.raised();
            if !self.core.lock().group_alive(self.id) {
                return;
            }
            self.core.wait(&self.ended, seen, None, What::End("its group".to_owned()));
        }
    }

    /// True while a thread of the group is left.
    pub fn alive(&self) -> bool {
        self.core.lock().group_alive(self.id)
    }
}

impl Clock for Group {
    fn now(&self) -> Mono {
        self.core.now()
    }

    fn wall(&self) -> Wall {
        self.core.wall()
    }

    fn sleep(&self, duration: Duration) {
        self.core.sleep(duration);
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Mono>) -> u64 {
        self.core.wait(signal, seen, deadline, What::Signal(seen))
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Joiner {
        self.core.spawn(name, body, self.id, self.ended.clone())
    }
}

/// 2026-01-01T00:00:00Z.
pub(crate) const EPOCH_MILLIS: i64 = 1_767_225_600_000;
