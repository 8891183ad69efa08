//! Lines to the cloud: many devices at once, few lines, and the order of the calls.

use super::{
    diagnoses::{customer, shown},
    *,
};
use crate::{
    model::{packet::Proof, survey::OwnerKind},
    rack::LINES,
};

/// A cloud whose calls take time, and keys from afar for many devices, in a rack without any.
struct Exchange {
    rack: Rack,
    now: Mono,
    /// What is under way: until when, on which line.
    under_way: Vec<(u64, Line, Call)>,
    /// What went on record, and when; in seconds.
    facts: Vec<(u64, Fact)>,
    /// The calls in the order in which they were handed over.
    calls: Vec<Call>,
    /// How long a call takes.
    takes: fn(&Call) -> u64,
    /// What the cloud answers to an item, if that is not yes.
    says: fn(&Call) -> Option<Answer>,
    owner: OwnerKind,
}

fn nth(n: u16) -> DeviceId {
    let [high, low] = n.to_be_bytes();
    DeviceId::from_bytes([9, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low])
}

/// What is left of a device that was given back is to be done away with.
fn end_custody(rack: &Rack, now: Mono, wall: Wall, n: u16) -> Decision {
    let mut turn = crate::rack::turn::Turn::begin(rack, now, wall);
    turn.ask(Call::EndCustody {
        run: RunId(uuid::Uuid::from_u128(u128::from(n) + 1)),
        device: nth(n),
        destroy: false,
    });
    turn.pump();
    turn.finish().unwrap()
}

/// Questions are slow, and so is everything that is for one device.
fn slow_questions(call: &Call) -> u64 {
    match call {
        Call::Survey { .. } | Call::Secure { .. } | Call::EndCustody { .. } => 30,
        _ => 1,
    }
}

impl Exchange {
    fn new(lines: u16, owner: OwnerKind) -> Self {
        let mut rack = Drive::new(recipe(KeyPolicy::Read), SlotContent::Blank).rack;
        rack.has_lines(lines);
        Self {
            rack,
            now: Mono::default(),
            under_way: Vec::new(),
            facts: Vec::new(),
            calls: Vec::new(),
            takes: slow_questions,
            says: |_| None,
            owner,
        }
    }

    fn second(&self) -> u64 {
        self.now.0.as_secs()
    }

    fn wall(&self) -> Wall {
        Wall::from_millis(1_800_000_000_000 + i64::try_from(self.second()).unwrap() * 1000).unwrap()
    }

    fn take(&mut self, n: u16) {
        let offer = Offer {
            device: nth(n),
            key: PublicKey {
                fingerprint: Fingerprint([(n % 251) as u8; 32].map(|byte| byte ^ (n / 251) as u8)),
                ..key(1)
            },
            proof: Proof::default(),
            product: Some(ProductId("1234".into())),
            voucher: None,
        };
        let fresh = RunId(uuid::Uuid::from_u128(u128::from(n) + 1));
        let taken = self.rack.take(self.now, self.wall(), fresh, &offer, &Kept::default());
        let (_, decision) = taken.unwrap().expect("nothing stands against it");
        self.adopt(decision);
    }

    fn adopt(&mut self, decision: Decision) {
        let sent = |fact: &Fact| matches!(fact, Fact::ItemSent { .. });
        let on_record = decision.facts.iter().filter(|fact| sent(fact)).count();
        let now = self.second();
        self.facts.extend(decision.facts.into_iter().map(|fact| (now, fact)));
        self.rack = decision.rack;
        let mut handed_over = 0;
        for effect in decision.effects {
            let Effect::Call(line, call) = effect else {
                panic!("{effect:?}")
            };
            assert!(
                self.under_way.iter().all(|(_, other, _)| *other != line),
                "{line:?} is in use"
            );
            handed_over += call.items().len();
            self.under_way.push((now + (self.takes)(&call), line, call.clone()));
            self.calls.push(call);
        }
        assert_eq!(
            on_record, handed_over,
            "what is on record as sent has a line, and the other way round"
        );
    }

    fn end_custody(&mut self, n: u16) {
        let decision = end_custody(&self.rack, self.now, self.wall(), n);
        self.adopt(decision);
    }

    /// Lets a second pass.
    fn pass(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        let now = self.second();
        let ended: Vec<_> = self.under_way.extract_if(.., |(until, ..)| *until <= now).collect();
        for (_, line, call) in ended {
            let replies = self.replies(&call);
            self.decide(&Input::Cloud(line, replies));
        }
        self.decide(&Input::Tick);
    }

    fn decide(&mut self, input: &Input) {
        let decision = self.rack.decide(self.now, self.wall(), input).unwrap();
        self.adopt(decision);
    }

    fn replies(&self, call: &Call) -> Vec<Reply> {
        let at = Some(self.wall());
        let answer = (self.says)(call).unwrap_or(Answer::Accepted { at, note: None });
        match call {
            Call::Survey { run, .. } => {
                let shown = if self.owner == OwnerKind::Customer {
                    customer()
                } else {
                    shown(self.owner)
                };
                let survey = Survey::Seen(crate::model::survey::Shown {
                    last_handshake_at: None,
                    ..shown
                });
                vec![Reply::Surveyed { run: *run, survey }]
            }
            Call::Secure { run, .. } => vec![Reply::Secured {
                run: *run,
                result: Ok(Fingerprint([5; 32])),
            }],
            Call::Look { about, .. } => vec![Reply::Looked {
                about: about.clone(),
                found: Looked::Device {
                    device: CloudDevice::default(),
                    at,
                },
            }],
            call => call
                .items()
                .into_iter()
                .map(|(item, attempt)| Reply::Item {
                    item,
                    attempt,
                    answer: answer.clone(),
                })
                .collect(),
        }
    }

    /// Works until everything has its result.
    fn finish(&mut self) {
        for _ in 0..100_000 {
            if self.rack.packets().next().is_none() && self.under_way.is_empty() {
                return;
            }
            self.pass();
        }
        panic!("it has no end");
    }

    /// For how long each device belonged to nobody, as far as the records tell.
    fn windows(&self) -> Vec<u64> {
        let at = |wanted: &dyn Fn(&Fact) -> bool| self.facts.iter().find(|(_, fact)| wanted(fact)).map(|(at, _)| *at);
        let windows = self.facts.iter().filter_map(|(_, fact)| match fact {
            Fact::PacketTaken { packet, .. } => {
                let since = at(&|fact| matches!(fact, Fact::ItemSent { item, .. } if *item == ItemId::release(*packet)))?;
                let until = at(&|fact| {
                    matches!(fact, Fact::ItemAnswered { item, answer: Answer::Accepted { .. }, .. }
                        if *item == ItemId::claim(*packet))
                })?;
                Some(until - since)
            }
            _ => None,
        });
        windows.collect()
    }
}

#[test]
fn a_device_is_nobodys_for_no_longer_than_its_own_calls_take_however_many_wait() {
    for lines in [1, 2, 3, 4, LINES, 16] {
        let mut exchange = Exchange::new(lines, OwnerKind::Customer);
        (0..100).for_each(|n| exchange.take(n));
        exchange.finish();
        let windows = exchange.windows();
        assert_eq!(windows.len(), 100);
        // Its release, a look, its key, its claim: four calls of a second each.
        let longest = windows.iter().max();
        if lines < 3 {
            // No line is kept: a slow question may be on the only one that is free, or on the next.
            assert!(windows.iter().all(|window| *window <= 4 + 30), "{lines}: {windows:?}");
        } else {
            assert_eq!(longest, Some(&4), "{lines}: {windows:?}");
        }
    }
}

#[test]
fn a_call_that_has_to_be_made_again_for_a_taken_device_finds_a_line() {
    let mut exchange = Exchange::new(LINES, OwnerKind::Customer);
    // Each claim is put off once.
    exchange.says = |call| {
        let put_off = matches!(call, Call::Errand { item, attempt: 1, .. } if item.0.ends_with("/claim"));
        put_off.then(down)
    };
    (0..100).for_each(|n| exchange.take(n));
    exchange.finish();
    let windows = exchange.windows();
    assert_eq!(windows.len(), 100);
    // One more call, after a second. The lines that are kept may be at work for others by then, for a call each.
    assert!(windows.iter().all(|window| (6..=9).contains(window)), "{windows:?}");
}

#[test]
fn nothing_is_on_record_as_sent_that_only_waits_for_a_line() {
    let mut exchange = Exchange::new(LINES, OwnerKind::Team);
    exchange.takes = |_| 7;
    let mut most = 0;
    (0..60).for_each(|n| exchange.take(n));
    for _ in 0..300 {
        exchange.pass();
        let sent = exchange
            .rack
            .outbox()
            .open()
            .filter(|entry| entry.state == crate::model::outbox::ItemState::Sent);
        most = most.max(sent.count());
        assert!(exchange.under_way.len() <= usize::from(LINES));
    }
    assert_eq!(
        most,
        usize::from(LINES - LINES / 3),
        "the others are kept for devices that were taken"
    );
    assert_eq!(
        exchange
            .facts
            .iter()
            .filter(|(_, fact)| matches!(fact, Fact::PacketEnded { .. }))
            .count(),
        60
    );
}

#[test]
fn whoever_waits_for_a_token_leaves_lines_for_others() {
    let mut exchange = Exchange::new(LINES, OwnerKind::Customer);
    exchange.takes = |call| if call.is_about_tokens() { 100 } else { 1 };
    (0..20).for_each(|n| exchange.take(n));
    (0..100).for_each(|_| exchange.pass());
    let about_tokens = exchange.under_way.iter().filter(|(.., call)| call.is_about_tokens()).count();
    assert_eq!(about_tokens, 2, "of the four lines that are not kept");
    let surveys = exchange.calls.iter().filter(|call| matches!(call, Call::Survey { .. }));
    assert_eq!(surveys.count(), 8, "as many as are asked about at once");
    (20..40).for_each(|n| exchange.end_custody(n));
    exchange.owner = OwnerKind::Team;
    exchange.pass();
    assert_eq!(
        exchange.under_way.iter().filter(|(.., call)| call.is_about_tokens()).count(),
        2
    );
}

#[test]
fn on_one_line_a_taken_device_goes_first_then_what_is_owed_and_a_new_device_is_taken_last_of_all_that() {
    let mut exchange = Exchange::new(1, OwnerKind::Customer);
    exchange.takes = |_| 1;
    (0..3).for_each(|n| exchange.take(n));
    exchange.finish();
    let words = exchange.calls.iter().map(|call| match call {
        Call::Errand { errand, .. } => errand.word(),
        Call::Upload { .. } => "key",
        Call::Look { .. } => "look",
        Call::Survey { .. } => "survey",
        Call::Secure { .. } => "secure",
        _ => "end",
    });
    let words: Vec<_> = words.collect();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == "release") {
        assert_eq!(words[at..at + 4], ["release", "look", "key", "claim"], "{words:?}");
    }
}

#[test]
fn what_nobody_waits_for_any_more_is_not_asked() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(1));
    drive.rack.has_lines(1);
    // Something else is on the only line while the device comes, waits to be admitted, and goes again.
    drive.rack = end_custody(&drive.rack, drive.now, drive.wall(), 7).rack;
    drive.plug();
    drive.works(5, &mut by_the_book);
    assert!(matches!(drive.slot(), Slot::AwaitingCloud { .. }));
    drive.unplug();
    drive.give(&Input::Cloud(Line(0), Vec::new()));
    assert!(
        drive.effects.iter().all(|effect| !matches!(effect, Effect::Call(..))),
        "{:?}",
        drive.effects
    );
    assert_eq!(
        drive.run(&mut by_the_book),
        Some((Verdict::Pass, None)),
        "asked anew when it is back"
    );
}

#[test]
fn the_station_does_not_end_while_a_token_waits_to_be_revoked() {
    let mut exchange = Exchange::new(1, OwnerKind::Customer);
    (0..2).for_each(|n| exchange.end_custody(n));
    exchange.decide(&Input::Command(Command::Quit));
    assert!(!exchange.rack.may_end(), "one is under way, and one waits");
    (0..40).for_each(|_| exchange.pass());
    assert!(exchange.rack.may_end());
    assert_eq!(exchange.calls.len(), 2);
}
