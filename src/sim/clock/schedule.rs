//! Who runs next, and when: the book-keeping of the virtual clock. No threads, no locks, no waiting here.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
    sync::{Arc, Weak},
    thread::Thread,
};

use crate::{
    edge::Signal,
    model::{Mono, Wall},
};

use super::TimeSource;

/// A thread that the clock knows. Never used twice.
pub(super) type Tid = u64;

/// A queue of waiters for one signal.
pub(super) type QueueId = u64;

/// Threads that can be cut together. Group 0 is never cut.
pub(super) type GroupId = u64;

/// What runs at an instant without being a thread.
pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// What a thread waits for, for the listing of a deadlock.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// For its first turn.
    Start,
    /// For an instant.
    Sleep,
    /// For a signal that was raised this often when it looked.
    Signal(u64),
    /// For the end of a thread of this name.
    End(String),
}

/// Why a wait ended that nobody ended.
pub(super) enum News {
    /// Nothing can ever happen again.
    Stuck(String),
    /// A callback or time source panicked with this.
    Panic(Box<dyn Any + Send>),
}

/// The state of a virtual clock.
pub(super) struct Schedule {
    pub(super) now: Mono,
    /// Wall time at monotonic zero, in milliseconds since the Unix epoch; jumps change it.
    pub(super) epoch: i64,
    /// Who holds the baton; `None` when nobody is left to take it.
    pub(super) running: Option<Tid>,
    /// The registered thread that was not spawned by the clock.
    pub(super) main: Option<Tid>,
    /// True while callbacks and time sources run on the thread that gave the baton away.
    pub(super) in_callback: bool,
    pub(super) sources: Arc<Vec<Weak<dyn TimeSource>>>,
    threads: BTreeMap<Tid, Entry>,
    ready: VecDeque<Tid>,
    timers: BTreeMap<(Mono, u64), Timer>,
    queues: BTreeMap<QueueId, Queue>,
    dead: BTreeSet<GroupId>,
    /// Source of thread, queue, group and timer numbers; timers of one instant are in this order.
    counter: u64,
}

struct Entry {
    name: String,
    group: GroupId,
    handle: Option<Thread>,
    cut: bool,
    waits: Option<Waits>,
    news: Option<News>,
}

struct Waits {
    what: What,
    timer: Option<(Mono, u64)>,
    queue: Option<QueueId>,
}

enum Timer {
    Thread(Tid),
    Call(Callback),
}

struct Queue {
    signal: Signal,
    waiting: Vec<(Tid, u64)>,
}

impl Schedule {
    pub(super) fn new(epoch: Wall) -> Self {
        Self {
            now: Mono::default(),
            epoch: epoch.millis(),
            running: None,
            main: None,
            in_callback: false,
            sources: Arc::default(),
            threads: BTreeMap::new(),
            ready: VecDeque::new(),
            timers: BTreeMap::new(),
            queues: BTreeMap::new(),
            dead: BTreeSet::new(),
            counter: 0,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// A new thread, at the end of the line for its first turn; `None` if its group is dead.
    pub(super) fn add(&mut self, name: &str, group: GroupId) -> Option<Tid> {
        if self.dead.contains(&group) {
            return None;
        }
        let tid = self.number();
        let waits = Some(Waits {
            what: What::Start,
            timer: None,
            queue: None,
        });
        let entry = Entry {
            name: name.to_owned(),
            group,
            handle: None,
            cut: false,
            waits,
            news: None,
        };
        self.threads.insert(tid, entry);
        self.wake(tid);
        Some(tid)
    }

    /// Makes the calling thread the main one, and gives it the baton.
    pub(super) fn add_main(&mut self, handle: Thread) -> Tid {
        let tid = self.add("main", 0).expect("group 0 never dies");
        self.ready.retain(|t| *t != tid);
        self.arrived(tid, handle);
        self.main = Some(tid);
        self.running = Some(tid);
        tid
    }

    pub(super) fn arrived(&mut self, tid: Tid, handle: Thread) {
        if let Some(entry) = self.threads.get_mut(&tid) {
            entry.handle = Some(handle);
        }
    }

    pub(super) fn remove(&mut self, tid: Tid) {
        self.unlink(tid);
        self.ready.retain(|t| *t != tid);
        self.threads.remove(&tid);
        if self.main == Some(tid) {
            self.main = None;
        }
    }

    pub(super) fn alive(&self, tid: Tid) -> bool {
        self.threads.contains_key(&tid)
    }

    pub(super) fn group_alive(&self, group: GroupId) -> bool {
        self.threads.values().any(|t| t.group == group)
    }

    pub(super) fn is_cut(&self, tid: Tid) -> bool {
        self.threads.get(&tid).is_some_and(|t| t.cut)
    }

    pub(super) fn handle(&self, tid: Tid) -> Option<Thread> {
        self.threads.get(&tid)?.handle.clone()
    }

    pub(super) fn nobody_ready(&self) -> bool {
        self.ready.is_empty()
    }

    pub(super) fn next_ready(&mut self) -> Option<Tid> {
        self.ready.pop_front()
    }

    /// The earliest deadline of a thread or callback.
    pub(super) fn next_timer(&self) -> Option<Mono> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// The calling thread waits until an instant, a signal, or whichever comes first. An instant that has come sends
    /// it to the end of the line.
    pub(super) fn block(&mut self, tid: Tid, what: What, until: Option<Mono>, queue: Option<(QueueId, u64)>) {
        let due = until.is_some_and(|at| at <= self.now);
        let timer = until.filter(|_| !due).map(|at| (at, self.number()));
        if let Some(key) = timer {
            self.timers.insert(key, Timer::Thread(tid));
        }
        if let Some((id, seen)) = queue {
            let queue = self.queues.get_mut(&id).expect("the caller has just looked the queue up");
            queue.waiting.push((tid, seen));
        }
        let entry = self.threads.get_mut(&tid).expect("only threads of this clock wait on it");
        entry.waits = Some(Waits {
            what,
            timer,
            queue: queue.map(|(id, _)| id),
        });
        if due {
            self.wake(tid);
        }
    }

    /// Puts a waiting thread at the end of the line; nothing if it does not wait.
    pub(super) fn wake(&mut self, tid: Tid) {
        if self.unlink(tid) {
            self.ready.push_back(tid);
        }
    }

    fn unlink(&mut self, tid: Tid) -> bool {
        let Some(waits) = self.threads.get_mut(&tid).and_then(|t| t.waits.take()) else {
            return false;
        };
        if let Some(key) = waits.timer {
            self.timers.remove(&key);
        }
        if let Some(id) = waits.queue
            && let Some(queue) = self.queues.get_mut(&id)
        {
            queue.waiting.retain(|(t, _)| *t != tid);
            if queue.waiting.is_empty() {
                self.queues.remove(&id);
            }
        }
        true
    }

    /// The queue of this signal, and whether it is new and needs its hook.
    pub(super) fn queue_of(&mut self, signal: &Signal) -> (QueueId, bool) {
        if let Some((id, _)) = self.queues.iter().find(|(_, q)| q.signal.is(signal)) {
            return (*id, false);
        }
        let id = self.number();
        let queue = Queue {
            signal: signal.clone(),
            waiting: Vec::new(),
        };
        self.queues.insert(id, queue);
        (id, true)
    }

    /// Forgets a queue that nobody waits in.
    pub(super) fn drop_if_empty(&mut self, id: QueueId) {
        if self.queues.get(&id).is_some_and(|q| q.waiting.is_empty()) {
            self.queues.remove(&id);
        }
    }

    /// The signal of this queue was raised: whoever waited for it gets in line, in the order in which they came.
    pub(super) fn raised(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get(&id) else { return };
        let raised = queue.signal.raised();
        let due: Vec<Tid> = queue
            .waiting
            .iter()
            .filter(|(_, seen)| raised > *seen)
            .map(|(tid, _)| *tid)
            .collect();
        for tid in due {
            self.wake(tid);
        }
    }

    pub(super) fn call_at(&mut self, at: Mono, call: Callback) {
        let key = (at.max(self.now), self.number());
        self.timers.insert(key, Timer::Call(call));
    }

    /// Takes the callbacks that are due by now, in order.
    pub(super) fn take_due_calls(&mut self) -> Vec<Callback> {
        let now = self.now;
        let due = self
            .timers
            .extract_if(..=(now, u64::MAX), |_, timer| matches!(timer, Timer::Call(_)));
        due.filter_map(|(_, timer)| match timer {
            Timer::Call(call) => Some(call),
            Timer::Thread(_) => None,
        })
        .collect()
    }

    /// Threads whose deadline has come get in line, in the order in which they began to wait.
    pub(super) fn wake_due(&mut self) {
        let due: Vec<Tid> = self
            .timers
            .range(..=(self.now, u64::MAX))
            .filter_map(|(_, timer)| match timer {
                Timer::Thread(tid) => Some(*tid),
                Timer::Call(_) => None,
            })
            .collect();
        for tid in due {
            self.wake(tid);
        }
    }

    /// Every thread of the group unwinds at its next turn, and no new one starts.
    pub(super) fn cut_group(&mut self, group: GroupId) {
        self.dead.insert(group);
        let tids: Vec<Tid> = self
            .threads
            .iter()
            .filter(|(_, t)| t.group == group)
            .map(|(id, _)| *id)
            .collect();
        self.cut(tids);
    }

    /// Every thread but the main one and `spared` unwinds at its next turn.
    pub(super) fn cut_all(&mut self, spared: Option<Tid>) {
        let keep = [self.main, spared];
        let tids: Vec<Tid> = self
            .threads
            .keys()
            .filter(|id| !keep.contains(&Some(**id)))
            .copied()
            .collect();
        self.cut(tids);
    }

    fn cut(&mut self, tids: Vec<Tid>) {
        for tid in tids {
            if let Some(entry) = self.threads.get_mut(&tid) {
                entry.cut = true;
            }
            // Its own turn is not a wait: the thread that runs finds out at its next call.
            self.wake(tid);
        }
    }

    /// True while a thread that is to unwind has not ended.
    pub(super) fn anybody_cut(&self) -> bool {
        self.threads.values().any(|t| t.cut)
    }

    pub(super) fn anybody_waits(&self) -> bool {
        self.threads.values().any(|t| t.waits.is_some())
    }

    /// Ends a thread's wait with bad news.
    pub(super) fn tell(&mut self, tid: Tid, news: News) {
        if let Some(entry) = self.threads.get_mut(&tid) {
            entry.news = Some(news);
        }
        self.wake(tid);
    }

    pub(super) fn take_news(&mut self, tid: Tid) -> Option<News> {
        self.threads.get_mut(&tid)?.news.take()
    }

    /// The threads and what they wait for, for a person.
    pub(super) fn listing(&self) -> String {
        let mut text = String::new();
        for (tid, entry) in &self.threads {
            let Some(waits) = &entry.waits else { continue };
            let _ = match &waits.what {
                What::Start => write!(text, "\n  {} ({tid}) has not started", entry.name),
                What::Sleep => write!(text, "\n  {} ({tid}) sleeps", entry.name),
                What::Signal(seen) => write!(
                    text,
                    "\n  {} ({tid}) waits for a signal to be raised again (raised {seen} times so far)",
                    entry.name
                ),
                What::End(name) => write!(text, "\n  {} ({tid}) waits for {name} to end", entry.name),
            };
        }
        text
    }
}
