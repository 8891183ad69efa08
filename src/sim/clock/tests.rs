use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use proptest::prelude::*;

use super::*;

/// What happened, and at which millisecond.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(u128, String)>>>);

impl Log {
    fn note(&self, clock: &dyn Clock, what: impl Into<String>) {
        self.0.lock().unwrap().push((clock.now().0.as_millis(), what.into()));
    }

    fn taken(&self) -> Vec<(u128, String)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn words(&self) -> String {
        let lines = self.taken();
        lines
            .iter()
            .map(|(at, what)| format!("{at}:{what}"))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(n: u64) -> Mono {
    Mono(ms(n))
}

#[test]
fn sleepers_wake_at_their_exact_times_in_order() {
    let clock = VirtualClock::new();
    let log = Log::default();
    let joiners: Vec<_> = [("a", 30), ("b", 10), ("c", 20), ("d", 10)]
        .into_iter()
        .map(|(name, length)| {
            let (clock2, log) = (clock.clone(), log.clone());
            clock.spawn(
                name,
                Box::new(move || {
                    log.note(&clock2, format!("+{name}"));
                    clock2.sleep(ms(length));
                    log.note(&clock2, name);
                    clock2.sleep(Duration::ZERO);
                    log.note(&clock2, format!("-{name}"));
                }),
            )
        })
        .collect();
    assert_eq!(log.words(), "", "nobody runs before the main thread waits");
    for joiner in joiners {
        joiner().unwrap();
    }
    assert_eq!(log.words(), "0:+a 0:+b 0:+c 0:+d 10:b 10:d 10:-b 10:-d 20:c 20:-c 30:a 30:-a");
    assert_eq!(clock.now(), at(30));
}

#[test]
fn a_lone_sleeper_only_moves_the_time() {
    let clock = VirtualClock::new();
    for _ in 0..1_000_000 {
        clock.sleep(Duration::from_secs(3600));
    }
    assert_eq!(clock.now(), Mono(Duration::from_secs(3_600_000_000)));
}

#[test]
fn a_wait_ends_at_the_raise_or_at_the_deadline() {
    let clock = VirtualClock::new();
    let signal = Signal::new();
    assert_eq!(clock.wait(&signal, 0, Some(at(5))), 0);
    assert_eq!(clock.now(), at(5));
    assert_eq!(clock.wait(&signal, 0, Some(at(1))), 0, "a deadline that has passed");
    assert_eq!(clock.now(), at(5));

    let (clock2, signal2) = (clock.clone(), signal.clone());
    let joiner = clock.spawn(
        "raiser",
        Box::new(move || {
            clock2.sleep(ms(7));
            signal2.raise();
            signal2.raise();
            clock2.sleep(ms(100));
        }),
    );
    assert_eq!(clock.wait(&signal, 0, Some(at(500))), 2);
    assert_eq!(clock.now(), at(12));
    assert_eq!(clock.wait(&signal, 1, None), 2, "raised already");
    assert_eq!(clock.now(), at(12));
    joiner().unwrap();
    assert_eq!(
        clock.now(),
        at(112),
        "the deadline of a wait that was ended by a raise is forgotten"
    );
}

#[test]
fn waiters_of_one_signal_go_on_in_the_order_in_which_they_came() {
    VirtualClock::run(|clock| {
        let (signal, log) = (Signal::new(), Log::default());
        for name in ["a", "b", "c"] {
            let (clock2, log, signal) = (clock.clone(), log.clone(), signal.clone());
            let _joiner = clock.spawn(
                name,
                Box::new(move || {
                    let mut seen = 0;
                    while seen < 2 {
                        seen = clock2.wait(&signal, seen, None);
                        log.note(&clock2, format!("{name}{seen}"));
                    }
                }),
            );
        }
        clock.sleep(ms(1));
        signal.raise();
        clock.sleep(ms(1));
        signal.raise();
        clock.sleep(ms(1));
        assert_eq!(log.words(), "1:a1 1:b1 1:c1 2:a2 2:b2 2:c2");
    });
}

#[test]
fn ping_pong_loses_no_raise() {
    VirtualClock::run(|clock| {
        let (ping, pong) = (Signal::new(), Signal::new());
        let (clock2, ping2, pong2) = (clock.clone(), ping.clone(), pong.clone());
        let joiner = clock.spawn(
            "pong",
            Box::new(move || {
                for n in 0..2000 {
                    clock2.wait(&ping2, n, None);
                    pong2.raise();
                }
            }),
        );
        for n in 0..2000 {
            ping.raise();
            assert_eq!(clock.wait(&pong, n, None), n + 1);
        }
        joiner().unwrap();
        assert_eq!(clock.now(), Mono::default());
    });
}

#[test]
fn raises_of_foreign_threads_count_while_somebody_sleeps() {
    VirtualClock::run(|clock| {
        let signal = Signal::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| signal.raise()));
            }
            let mut seen = 0;
            while seen < 400 {
                seen = clock.wait(&signal, seen, Some(clock.now() + ms(1)));
            }
            assert_eq!(seen, 400);
        });
    });
}

#[test]
fn a_thousand_threads() {
    VirtualClock::run(|clock| {
        let (sum, log) = (Arc::new(AtomicU64::new(0)), Log::default());
        let joiners: Vec<_> = (0..1000u64)
            .map(|n| {
                let (clock2, sum, log) = (clock.clone(), Arc::clone(&sum), log.clone());
                clock.spawn(
                    &format!("t{n}"),
                    Box::new(move || {
                        for round in 0..3 {
                            clock2.sleep(ms((n * 7919) % 1000 + round));
                            sum.fetch_add(1, Ordering::Relaxed);
                        }
                        log.note(&clock2, n.to_string());
                    }),
                )
            })
            .collect();
        for joiner in joiners {
            joiner().unwrap();
        }
        assert_eq!(sum.load(Ordering::Relaxed), 3000);
        let log = log.taken();
        assert_eq!(log.len(), 1000);
        for (when, n) in log {
            let n: u128 = n.parse().unwrap();
            assert_eq!(when, 3 * ((n * 7919) % 1000) + 3);
        }
    });
}

#[test]
fn callbacks_act_before_the_threads_of_their_instant() {
    VirtualClock::run(|clock| {
        let (log, signal) = (Log::default(), Signal::new());
        let (clock2, log2, signal2) = (clock.clone(), log.clone(), signal.clone());
        let _joiner = clock.spawn(
            "waiter",
            Box::new(move || {
                clock2.wait(&signal2, 0, None);
                log2.note(&clock2, "woken");
            }),
        );
        for n in [2, 1] {
            let (clock2, log2, signal2) = (clock.clone(), log.clone(), signal.clone());
            clock.at(
                at(10 * n),
                Box::new(move || {
                    log2.note(&clock2, format!("call{n}"));
                    signal2.raise();
                    let log3 = log2.clone();
                    let clock3 = clock2.clone();
                    clock2.at(clock2.now(), Box::new(move || log3.note(&clock3, "again")));
                }),
            );
        }
        clock.sleep(ms(20));
        log.note(clock, "main");
        assert_eq!(log.words(), "10:call1 10:woken 10:again 20:call2 20:main");
        clock.sleep(ms(1));
        assert_eq!(log.words(), "20:again");
    });
}

struct Ticker {
    every: Duration,
    next: Mutex<Mono>,
    ticks: AtomicUsize,
    signal: Signal,
}

impl TimeSource for Ticker {
    fn due(&self) -> Option<Mono> {
        Some(*self.next.lock().unwrap())
    }

    fn advance(&self, now: Mono) {
        assert_eq!(self.due(), Some(now), "exactly on time");
        *self.next.lock().unwrap() = now + self.every;
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.signal.raise();
    }
}

fn ticker(clock: &VirtualClock, every: Duration) -> Arc<Ticker> {
    let ticker = Arc::new(Ticker {
        every,
        next: Mutex::new(clock.now() + every),
        ticks: AtomicUsize::new(0),
        signal: Signal::new(),
    });
    let source: Weak<Ticker> = Arc::downgrade(&ticker);
    clock.register_source(source);
    ticker
}

#[test]
fn time_sources_are_advanced_exactly_when_they_are_due() {
    VirtualClock::run(|clock| {
        let (a, b) = (ticker(clock, ms(7)), ticker(clock, ms(3)));
        clock.sleep(ms(21));
        assert_eq!((a.ticks.load(Ordering::Relaxed), b.ticks.load(Ordering::Relaxed)), (3, 7));
        assert_eq!(clock.wait(&a.signal, 3, None), 4);
        assert_eq!(clock.now(), at(28));
        drop(b);
        clock.sleep(ms(7));
        assert_eq!(a.ticks.load(Ordering::Relaxed), 5);
    });
}

#[test]
fn a_source_that_never_gets_on_is_named() {
    let payload = std::panic::catch_unwind(|| {
        VirtualClock::run(|clock| {
            let _ticker = ticker(clock, Duration::ZERO);
            clock.sleep(ms(1));
        });
    })
    .unwrap_err();
    assert!(text(&*payload).contains("again and again"), "{}", text(&*payload));
}

#[test]
fn the_wall_clock_jumps_and_the_monotonic_does_not() {
    VirtualClock::run(|clock| {
        assert_eq!(clock.wall().to_string(), "2026-01-01T00:00:00.000Z");
        clock.sleep(ms(1500));
        clock.jump_wall(-3_600_000);
        assert_eq!(clock.wall().to_string(), "2025-12-31T23:00:01.500Z");
        assert_eq!(clock.now(), at(1500));
        clock.jump_wall(i64::MAX);
        assert!(clock.wall().to_string().starts_with("9999-12-30"), "the range of dates ends");
    });
    let epoch = Wall::parse("2027-05-06T07:08:09.000Z").unwrap();
    assert_eq!(VirtualClock::starting(epoch).wall(), epoch);
}

#[test]
fn a_deadlock_names_the_threads() {
    let payload = std::panic::catch_unwind(|| {
        VirtualClock::run(|clock| {
            let clock2 = clock.clone();
            let joiner = clock.spawn(
                "slot 4",
                Box::new(move || {
                    clock2.wait(&Signal::new(), 0, None);
                }),
            );
            joiner().unwrap();
        });
    })
    .unwrap_err();
    let text = text(&*payload);
    for part in [
        "deadlock at 0ns",
        "main (1) waits for slot 4 to end",
        "slot 4 (2) waits for a signal",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_panic_reaches_the_joiner_and_nobody_else() {
    VirtualClock::run(|clock| {
        let payload = clock.spawn("bad", Box::new(|| panic!("on purpose")))().unwrap_err();
        assert_eq!(text(&*payload), "on purpose");
        clock.sleep(ms(1));
    });
}

#[test]
fn a_panic_of_a_callback_reaches_the_main_thread() {
    let payload = std::panic::catch_unwind(|| {
        VirtualClock::run(|clock| {
            let clock2 = clock.clone();
            let _joiner = clock.spawn("bystander", Box::new(move || clock2.sleep(ms(50))));
            clock.at(at(5), Box::new(|| panic!("in a callback")));
            clock.sleep(ms(100));
        });
    })
    .unwrap_err();
    assert_eq!(text(&*payload), "in a callback");
}

#[test]
fn a_callback_must_not_wait() {
    let payload = std::panic::catch_unwind(|| {
        VirtualClock::run(|clock| {
            let clock2 = clock.clone();
            clock.at(at(5), Box::new(move || clock2.sleep(ms(1))));
            clock.sleep(ms(100));
        });
    })
    .unwrap_err();
    assert!(text(&*payload).contains("must not sleep"));
}

#[test]
fn a_thread_that_the_clock_does_not_know_is_refused() {
    let clock = VirtualClock::new();
    std::thread::scope(|scope| {
        let result = scope.spawn(|| clock.sleep(ms(1))).join();
        assert!(text(&*result.unwrap_err()).contains("did not spawn it"));
        assert_eq!(scope.spawn(|| clock.now()).join().unwrap(), Mono::default());
    });
}

#[test]
fn one_thread_may_be_the_main_thread_of_several_clocks() {
    let (a, b) = (VirtualClock::new(), VirtualClock::new());
    a.sleep(ms(3));
    b.sleep(ms(4));
    assert_eq!((a.now(), b.now()), (at(3), at(4)));
}

/// Notes that it was dropped, and tries to wait meanwhile.
struct Destructor(Arc<dyn Clock>, Log, &'static str);

impl Drop for Destructor {
    fn drop(&mut self) {
        self.0.sleep(ms(1000));
        self.0.wait(&Signal::new(), 0, None);
        self.1.note(&*self.0, self.2);
    }
}

#[test]
fn a_killed_group_unwinds_and_the_world_goes_on() {
    VirtualClock::run(|clock| {
        let (log, group) = (Log::default(), clock.group());
        let signal = Signal::new();
        let mut joiners = Vec::new();
        for (name, length) in [("sleeper", Some(1000)), ("waiter", None)] {
            let (view, log, signal): (Arc<dyn Clock>, _, _) = (Arc::clone(&group) as _, log.clone(), signal.clone());
            joiners.push(group.spawn(
                name,
                Box::new(move || {
                    let _on_drop = Destructor(Arc::clone(&view), log.clone(), name);
                    match length {
                        Some(length) => view.sleep(ms(length)),
                        None => drop(view.wait(&signal, 0, None)),
                    }
                    log.note(&*view, "NEVER");
                }),
            ));
        }
        let (clock2, log2) = (clock.clone(), log.clone());
        let world = clock.spawn(
            "world",
            Box::new(move || {
                clock2.sleep(ms(50));
                log2.note(&clock2, "world");
            }),
        );
        clock.sleep(ms(10));
        assert!(group.alive());
        group.kill();
        group.join();
        assert!(!group.alive());
        assert_eq!(log.words(), "10:sleeper 10:waiter");
        signal.raise();
        world().unwrap();
        assert_eq!(log.words(), "50:world");
        for joiner in joiners {
            assert!(Killed::is(&*joiner().unwrap_err()));
        }
        let late = group.spawn("late", Box::new(|| panic!("a dead group starts nothing")));
        assert!(Killed::is(&*late().unwrap_err()));
    });
}

#[test]
fn the_killer_may_belong_to_the_group_and_its_thread_may_be_unborn() {
    VirtualClock::run(|clock| {
        let (log, group) = (Log::default(), clock.group());
        let (view, log2) = (Arc::clone(&group), log.clone());
        let _joiner = group.spawn(
            "killer",
            Box::new(move || {
                let log3 = log2.clone();
                let view2 = Arc::clone(&view);
                let _joiner = view.spawn("unborn", Box::new(move || log3.note(&*view2, "NEVER")));
                log2.note(&*view, "kill");
                view.kill();
                log2.note(&*view, "NEVER");
            }),
        );
        group.join();
        assert_eq!(log.words(), "0:kill");
    });
}

#[test]
fn a_callback_may_kill_and_the_thread_under_it_unwinds_in_its_turn() {
    VirtualClock::run(|clock| {
        let (log, group) = (Log::default(), clock.group());
        let (view, log2) = (Arc::clone(&group), log.clone());
        let _joiner = group.spawn(
            "station",
            Box::new(move || {
                view.sleep(ms(100));
                log2.note(&*view, "NEVER");
            }),
        );
        let (group2, log2, clock2) = (Arc::clone(&group), log.clone(), clock.clone());
        clock.at(
            at(20),
            Box::new(move || {
                group2.kill();
                log2.note(&clock2, "after the kill");
            }),
        );
        group.join();
        assert_eq!(clock.now(), at(20));
        assert_eq!(log.words(), "20:after the kill");
    });
}

#[test]
fn a_destructor_of_a_killed_thread_may_join_another() {
    struct Pool(Option<Joiner>);
    impl Drop for Pool {
        fn drop(&mut self) {
            let result = self.0.take().unwrap()();
            assert!(result.is_err() || std::thread::panicking());
        }
    }
    VirtualClock::run(|clock| {
        let group = clock.group();
        let view = Arc::clone(&group);
        let clock2 = clock.clone();
        let _joiner = group.spawn(
            "owner",
            Box::new(move || {
                let (view2, view3) = (Arc::clone(&view), Arc::clone(&view));
                let _own = Pool(Some(view.spawn("worker", Box::new(move || view2.sleep(ms(500))))));
                let _foreign = Pool(Some(clock2.clone().spawn("world", Box::new(move || clock2.sleep(ms(500))))));
                view3.sleep(ms(100));
            }),
        );
        clock.sleep(ms(1));
        group.kill();
        group.join();
        assert_eq!(clock.now(), at(1), "the world's thread is not waited for");
    });
}

#[test]
fn a_caught_cut_comes_again() {
    VirtualClock::run(|clock| {
        let (log, group) = (Log::default(), clock.group());
        let (view, log2) = (Arc::clone(&group), log.clone());
        let _joiner = group.spawn(
            "stubborn",
            Box::new(move || {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| view.sleep(ms(10))));
                assert!(Killed::is(&*caught.unwrap_err()));
                let _ = view.now();
                log2.note(&*view, "NEVER");
            }),
        );
        clock.sleep(ms(1));
        group.kill();
        group.join();
        assert_eq!(log.words(), "");
    });
}

#[test]
fn run_ends_what_is_left() {
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for panics in [false, true] {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            VirtualClock::run(|clock| {
                for n in 0..20 {
                    let (clock2, count) = (clock.clone(), Count(Arc::clone(&dropped)));
                    let _joiner = clock.spawn(
                        "left",
                        Box::new(move || {
                            let _count = count;
                            clock2.sleep(Duration::from_secs(n));
                            clock2.wait(&Signal::new(), 0, None);
                        }),
                    );
                }
                clock.sleep(ms(5500));
                assert!(!panics, "on purpose");
            });
        }));
        assert_eq!(result.is_err(), panics);
        assert_eq!(dropped.swap(0, Ordering::Relaxed), 20);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any mixture of sleeps, raises and waits runs the same twice, and never backwards.
    #[test]
    fn runs_repeat(plan in proptest::collection::vec(proptest::collection::vec((0u8..4, 0u64..20), 0..12), 1..8)) {
        let once = || VirtualClock::run(|clock| {
            let (log, signal) = (Log::default(), Signal::new());
            let joiners: Vec<_> = plan.iter().cloned().enumerate().map(|(n, steps)| {
                let (clock2, log, signal) = (clock.clone(), log.clone(), signal.clone());
                clock.spawn(&n.to_string(), Box::new(move || {
                    let mut seen = 0;
                    for (kind, length) in steps {
                        match kind {
                            0 => clock2.sleep(ms(length)),
                            1 => signal.raise(),
                            2 => seen = clock2.wait(&signal, seen, Some(clock2.now() + ms(length))),
                            _ => clock2.sleep(Duration::ZERO),
                        }
                        log.note(&clock2, format!("{n}/{kind}/{seen}"));
                    }
                }))
            }).collect();
            for joiner in joiners {
                joiner().unwrap();
            }
            log.taken()
        });
        let (first, second) = (once(), once());
        prop_assert!(first.is_sorted_by_key(|(at, _)| *at));
        prop_assert_eq!(first, second);
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default()
}
