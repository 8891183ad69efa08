//! The baton: which thread of a virtual clock runs, and how it hands over. The only place where one of them blocks.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use crate::{
    edge::{Signal, clock::Joiner},
    model::{Mono, Wall},
};

use super::{
    Killed,
    schedule::{GroupId, News, Schedule, Tid, What},
};

/// What all views of one virtual clock share.
pub(super) struct Core {
    schedule: Mutex<Schedule>,
}

impl Core {
    /// With the calling thread as the main one.
    pub(super) fn new(epoch: Wall) -> Arc<Self> {
        let core = Arc::new(Self {
            schedule: Mutex::new(Schedule::new(epoch)),
        });
        let tid = core.lock().add_main(thread::current());
        core.enter(tid);
        core
    }

    pub(super) fn now(self: &Arc<Self>) -> Mono {
        let schedule = self.lock();
        self.obey_cut(&schedule);
        schedule.now
    }

    pub(super) fn wall(self: &Arc<Self>) -> Wall {
        let schedule = self.lock();
        self.obey_cut(&schedule);
        let elapsed = i64::try_from(schedule.now.0.as_millis()).unwrap_or(i64::MAX);
        // Only jumps or sleeps of thousands of years leave the range; they stop at its end.
        Wall::from_millis(schedule.epoch.saturating_add(elapsed).clamp(0, LAST_MILLIS)).expect("years 1970 to 9999")
    }

    pub(super) fn sleep(self: &Arc<Self>, duration: Duration) {
        let me = self.expect_me("sleep");
        let mut schedule = self.lock();
        assert!(
            !schedule.in_callback,
            "a callback or time source of a virtual clock must not sleep"
        );
        if self.obey_cut(&schedule) {
            return;
        }
        let until = schedule.now + duration;
        let quiet = schedule.nobody_ready() && schedule.next_timer().is_none_or(|at| at > until);
        if quiet && schedule.sources.is_empty() {
            schedule.now = until;
            return;
        }
        schedule.block(me, What::Sleep, Some(until), None);
        self.pass(schedule, Some(me));
        let mut schedule = self.lock();
        match schedule.take_news(me) {
            None => {}
            Some(News::Stuck(listing)) => {
                drop(schedule);
                panic!("{listing}");
            }
            Some(News::Panic(payload)) => panic::resume_unwind(payload),
        }
        self.obey_cut(&schedule);
    }

    pub(super) fn wait(self: &Arc<Self>, signal: &Signal, seen: u64, deadline: Option<Mono>, what: What) -> u64 {
        {
            let schedule = self.lock();
            if self.obey_cut(&schedule) {
                return signal.raised();
            }
        }
        match self.block(signal, seen, deadline, what) {
            None => {}
            Some(News::Stuck(listing)) => panic!("{listing}"),
            Some(News::Panic(payload)) => panic::resume_unwind(payload),
        }
        self.obey_cut(&self.lock());
        signal.raised()
    }

    /// Waits as [`Core::wait`] does, for a thread that is cut or not, and returns bad news instead of panicking.
    fn block(self: &Arc<Self>, signal: &Signal, seen: u64, deadline: Option<Mono>, what: What) -> Option<News> {
        let me = self.expect_me("wait");
        let mut schedule = self.lock();
        assert!(
            !schedule.in_callback,
            "a callback or time source of a virtual clock must not wait"
        );
        if signal.raised() > seen {
            return None;
        }
        let (queue, new) = schedule.queue_of(signal);
        if new {
            let core = Arc::downgrade(self);
            signal.set_hook(Arc::new(move || {
                if let Some(core) = core.upgrade() {
                    core.lock().raised(queue);
                }
            }));
        }
        // A raise before the hook was set shows in the count; a later one calls the hook, which needs our lock.
        if signal.raised() > seen {
            schedule.drop_if_empty(queue);
            return None;
        }
        schedule.block(me, what, deadline, Some((queue, seen)));
        self.pass(schedule, Some(me));
        self.lock().take_news(me)
    }

    pub(super) fn spawn(self: &Arc<Self>, name: &str, body: Box<dyn FnOnce() + Send>, group: GroupId, ended: Signal) -> Joiner {
        let tid = {
            let mut schedule = self.lock();
            self.obey_cut(&schedule);
            schedule.add(name, group)
        };
        let Some(tid) = tid else {
            return Box::new(|| Err(Box::new(Killed)));
        };
        let core = Arc::clone(self);
        let done = Signal::new();
        let end = done.clone();
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                core.enter(tid);
                core.lock().arrived(tid, thread::current());
                core.await_baton(tid);
                let cut = core.lock().is_cut(tid);
                let result = panic::catch_unwind(AssertUnwindSafe(|| {
                    if cut {
                        drop(body);
                        unwind_cut();
                    }
                    body();
                }));
                core.lock().remove(tid);
                // The end is made known while this thread still has the baton, so that the order of the wake-ups is
                // always the same.
                end.raise();
                ended.raise();
                let schedule = core.lock();
                core.pass(schedule, None);
                result
            })
            .expect("the operating system starts a thread");
        let core = Arc::clone(self);
        let name = name.to_owned();
        Box::new(move || {
            if core.me().is_some() && !core.await_end(tid, &done, &name) {
                return Err(Box::new(Killed));
            }
            handle.join().and_then(|result| result)
        })
    }

    /// Waits until a thread has ended; false if the calling thread unwinds and cannot wait for it.
    fn await_end(self: &Arc<Self>, tid: Tid, done: &Signal, name: &str) -> bool {
        loop {
            let seen = done.raised();
            {
                let schedule = self.lock();
                if !schedule.alive(tid) {
                    return true;
                }
                let me_cut = self.me().is_some_and(|me| schedule.is_cut(me));
                // In the destructors of a cut thread: another cut thread ends by itself, any other might not.
                if thread::panicking() && me_cut && !schedule.is_cut(tid) {
                    return false;
                }
            }
            let what = What::End(name.to_owned());
            if !thread::panicking() {
                self.wait(done, seen, None, what);
            } else if self.block(done, seen, None, what).is_some() {
                return false;
            }
        }
    }

    /// Gives the baton to the next thread in line, and lets time pass until there is one. With `stay`, returns when
    /// that thread has the baton again.
    fn pass<'a>(self: &'a Arc<Self>, mut schedule: MutexGuard<'a, Schedule>, stay: Option<Tid>) {
        let mut idle = 0;
        loop {
            if let Some(next) = schedule.next_ready() {
                schedule.running = Some(next);
                if Some(next) == stay {
                    return;
                }
                let handle = schedule.handle(next);
                drop(schedule);
                if let Some(handle) = handle {
                    handle.unpark();
                }
                if let Some(me) = stay {
                    self.await_baton(me);
                }
                return;
            }
            let sources = Arc::clone(&schedule.sources);
            let mut due = None;
            if !sources.is_empty() {
                drop(schedule);
                let dues = sources.iter().filter_map(Weak::upgrade).filter_map(|s| s.due());
                due = dues.min();
                schedule = self.lock();
                if !schedule.nobody_ready() {
                    continue;
                }
            }
            let Some(next) = due.into_iter().chain(schedule.next_timer()).min() else {
                if !schedule.anybody_waits() {
                    schedule.running = None;
                    return;
                }
                let listing = schedule.listing();
                let news = format!(
                    "deadlock at {:?}: every thread waits and nothing is due{listing}",
                    schedule.now.0
                );
                if !tell(&mut schedule, stay, News::Stuck(news)) {
                    return;
                }
                continue;
            };
            idle = if next > schedule.now { 0 } else { idle + 1 };
            if idle > STUCK {
                let now = schedule.now.0;
                let news = format!("a time source or callback is due at {now:?} again and again, and no thread can run");
                if !tell(&mut schedule, stay, News::Stuck(news)) {
                    return;
                }
                continue;
            }
            schedule.now = schedule.now.max(next);
            let now = schedule.now;
            if due.is_some_and(|at| at <= now) {
                schedule = self.act(schedule, stay, || {
                    for source in sources.iter().filter_map(Weak::upgrade) {
                        if source.due().is_some_and(|at| at <= now) {
                            source.advance(now);
                        }
                    }
                });
            }
            let calls = schedule.take_due_calls();
            if !calls.is_empty() {
                schedule = self.act(schedule, stay, || calls.into_iter().for_each(|call| call()));
            }
            schedule.wake_due();
        }
    }

    /// Runs what is not a thread. A panic in it surfaces in the main thread.
    fn act<'a>(
        self: &'a Arc<Self>,
        mut schedule: MutexGuard<'a, Schedule>,
        stay: Option<Tid>,
        what: impl FnOnce(),
    ) -> MutexGuard<'a, Schedule> {
        schedule.in_callback = true;
        drop(schedule);
        let result = panic::catch_unwind(AssertUnwindSafe(what));
        let mut schedule = self.lock();
        schedule.in_callback = false;
        if let Err(payload) = result {
            tell(&mut schedule, stay, News::Panic(payload));
        }
        schedule
    }

    /// Unwinds every thread but the main one and the calling one, and waits for their ends.
    pub(super) fn kill_all(self: &Arc<Self>) {
        let me = self.me();
        {
            let mut schedule = self.lock();
            schedule.cut_all(me);
            if schedule.in_callback {
                return;
            }
        }
        // One lap lets each cut thread have its turn; a destructor that joins another cut thread needs further laps.
        while let Some(me) = me
            && self.lock().anybody_cut()
        {
            self.yield_once(me);
        }
    }

    /// Goes to the end of the line once, without obeying a cut.
    fn yield_once(self: &Arc<Self>, me: Tid) {
        let mut schedule = self.lock();
        let now = schedule.now;
        schedule.block(me, What::Sleep, Some(now), None);
        self.pass(schedule, Some(me));
    }

    fn await_baton(&self, me: Tid) {
        while self.lock().running != Some(me) {
            thread::park();
        }
    }

    /// Unwinds if the calling thread is cut. True if it is, but unwinds already: then nothing waits.
    pub(super) fn obey_cut(self: &Arc<Self>, schedule: &Schedule) -> bool {
        if schedule.in_callback || !self.me().is_some_and(|me| schedule.is_cut(me)) {
            return false;
        }
        if !thread::panicking() {
            unwind_cut();
        }
        true
    }

    fn expect_me(self: &Arc<Self>, doing: &str) -> Tid {
        self.me().unwrap_or_else(|| {
            panic!(
                "thread {:?} must not {doing} on a virtual clock: the clock did not spawn it",
                thread::current().name().unwrap_or("?")
            )
        })
    }

    /// Remembers that the calling thread is this one of ours.
    fn enter(self: &Arc<Self>, tid: Tid) {
        THREADS.with_borrow_mut(|known| {
            known.retain(|(core, _)| core.strong_count() > 0);
            known.push((Arc::downgrade(self), tid));
        });
    }

    fn me(self: &Arc<Self>) -> Option<Tid> {
        THREADS.with_borrow(|known| {
            let mut mine = known.iter().filter(|(core, _)| core.as_ptr() == Arc::as_ptr(self));
            mine.next().map(|(_, tid)| *tid)
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Schedule> {
        // The schedule is whole between its methods, and those do not panic half-way.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bad news goes to the main thread, or else to the one that gave the baton away; false if neither is there.
fn tell(schedule: &mut Schedule, stay: Option<Tid>, news: News) -> bool {
    match schedule.main.or(stay) {
        Some(tid) => schedule.tell(tid, news),
        None => schedule.running = None,
    }
    schedule.running.is_some()
}

fn unwind_cut() -> ! {
    panic::resume_unwind(Box::new(Killed))
}

thread_local! {
    /// Which thread of which clock the current one is: a test thread may be the main thread of several.
    static THREADS: RefCell<Vec<(Weak<Core>, Tid)>> = const { RefCell::new(Vec::new()) };
}

/// 9999-12-30T22:00:00Z, the last whole second of a [`Wall`]: so it is still the year 9999 in every time zone.
const LAST_MILLIS: i64 = 253_402_207_200_000;

/// So many turns at one instant without a thread becoming able to run are a fault of a source.
const STUCK: u32 = 100_000;
