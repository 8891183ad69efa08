//! Packets: keys from afar, from the offer to the result.

use super::{
    diagnoses::{customer, shown},
    *,
};
use crate::model::{
    StationId,
    packet::{Manifest, PacketEnd, Proof, Voucher},
    survey::{Membership, OwnerKind, Shown},
};

/// The instant at which the key signed.
fn signed() -> Wall {
    Wall::parse("2026-11-23T09:00:00Z").unwrap()
}

fn after(at: Wall, seconds: i64) -> Wall {
    Wall::from_millis(at.millis() + seconds * 1000).unwrap()
}

fn offer() -> Offer {
    let manifest = Manifest {
        packet: 1,
        device: DEVICE,
        platform: Platform::Argon,
        kind: KeyKind::P256,
        fingerprint: key(1).fingerprint,
        station: StationId("field".into()),
        at: signed(),
        signature: vec![1],
    };
    Offer {
        device: DEVICE,
        key: key(1),
        proof: Proof {
            manifest: Some(manifest),
            unchecked: Vec::new(),
        },
        product: Some(ProductId("1234".into())),
        voucher: None,
    }
}

fn plain() -> Offer {
    Offer {
        proof: Proof::default(),
        ..offer()
    }
}

fn vouched(offer: Offer) -> Offer {
    Offer {
        voucher: Some(Voucher {
            reference: "RMA-1".into(),
            by: "eva".into(),
        }),
        ..offer
    }
}

/// A device of the team that never had a session.
fn unseen() -> Shown {
    Shown {
        last_handshake_at: None,
        ..shown(OwnerKind::Team)
    }
}

/// A rack without devices, and a cloud.
struct Desk {
    rack: Rack,
    now: Mono,
    wall: Wall,
    facts: Vec<(Wall, Fact)>,
    effects: Vec<Effect>,
    survey: Survey,
    session: Option<Wall>,
    calls: Vec<&'static str>,
    /// Cut after this many facts.
    cut: Option<usize>,
}

impl Desk {
    fn new(survey: Shown) -> Self {
        Self {
            rack: Drive::new(recipe(KeyPolicy::Read), SlotContent::Blank).rack,
            now: Mono::default(),
            wall: after(signed(), 3600),
            facts: Vec::new(),
            effects: Vec::new(),
            survey: Survey::Seen(survey),
            session: None,
            calls: Vec::new(),
            cut: None,
        }
    }

    fn adopt(&mut self, decision: Decision) -> bool {
        let facts = decision.facts.into_iter().map(|fact| (self.wall, fact));
        self.facts.extend(facts);
        if self.cut.is_some_and(|cut| self.facts.len() >= cut) {
            return false;
        }
        self.rack = decision.rack;
        self.effects.extend(decision.effects);
        true
    }

    fn take(&mut self, offer: &Offer, kept: &Kept) -> Result<Taken, Declined> {
        let fresh = RunId::new(self.wall, [self.facts.len() as u8; 10]);
        let (taken, decision) = self.rack.take(self.now, self.wall, fresh, offer, kept).unwrap()?;
        self.adopt(decision);
        Ok(taken)
    }

    /// As after a cut: from the facts alone.
    fn restart(&mut self) {
        self.cut = None;
        let mut rack = Rack::new(self.rack.setting().clone());
        for (at, fact) in &self.facts {
            rack.apply(*at, fact).unwrap();
        }
        self.effects.clear();
        let decision = rack.restart(self.now, self.wall).unwrap();
        assert!(self.adopt(decision));
    }

    /// Works until every packet has its result and nothing is owed, not even a look minutes later, or for an hour. False if
    /// it was cut.
    fn work(&mut self, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) -> bool {
        for _ in 0..3600 {
            while let Some(effect) = (!self.effects.is_empty()).then(|| self.effects.remove(0)) {
                let Effect::Call(line, call) = effect else {
                    panic!("{effect:?}")
                };
                let replies = self.reply(&call, cloud).into_iter().collect();
                let decision = self.rack.decide(self.now, self.wall, &Input::Cloud(line, replies)).unwrap();
                if !self.adopt(decision) {
                    return false;
                }
            }
            if self.rack.packets().next().is_none() && self.rack.outbox().open().next().is_none() {
                return true;
            }
            (self.now, self.wall) = (self.now + Duration::from_secs(1), after(self.wall, 1));
            let decision = self.rack.decide(self.now, self.wall, &Input::Tick).unwrap();
            if !self.adopt(decision) {
                return false;
            }
        }
        true
    }

    fn reply(&mut self, call: &Call, cloud: &mut dyn FnMut(&Call) -> Option<Answer>) -> Option<Reply> {
        let given = cloud(call);
        let accepted = Answer::Accepted {
            at: Some(self.wall),
            note: None,
        };
        Some(match call {
            Call::Survey { run, .. } => {
                self.calls.push("survey");
                Reply::Surveyed {
                    run: *run,
                    survey: given.map_or(self.survey.clone(), Survey::Failed),
                }
            }
            Call::Secure { run, .. } => {
                self.calls.push("secure");
                Reply::Secured {
                    run: *run,
                    result: given.map_or(Ok(Fingerprint([5; 32])), Err),
                }
            }
            Call::EndCustody { destroy, .. } => {
                self.calls.push(if *destroy { "end" } else { "keep" });
                return None;
            }
            Call::Look { about, .. } => {
                self.calls.push("look");
                let device = CloudDevice {
                    last_handshake_at: self.session,
                    ..CloudDevice::default()
                };
                Reply::Looked {
                    about: about.clone(),
                    found: given.map_or(
                        Looked::Device {
                            device,
                            at: Some(self.wall),
                        },
                        Looked::Failed,
                    ),
                }
            }
            Call::Upload { item, attempt, .. } => {
                self.calls.push("key");
                Reply::Item {
                    item: item.clone(),
                    attempt: *attempt,
                    answer: given.unwrap_or(accepted),
                }
            }
            Call::Errand {
                item, attempt, errand, ..
            } => {
                self.calls.push(errand.word());
                Reply::Item {
                    item: item.clone(),
                    attempt: *attempt,
                    answer: given.unwrap_or(accepted),
                }
            }
            other => panic!("{other:?}"),
        })
    }

    fn ends(&self) -> Vec<(PacketEnd, Option<Code>)> {
        let end = |(_, fact): &(Wall, Fact)| match fact {
            Fact::PacketEnded { end, code, .. } => Some((*end, *code)),
            _ => None,
        };
        self.facts.iter().filter_map(end).collect()
    }
}

const REGISTERED: (PacketEnd, Option<Code>) = (PacketEnd::Registered, None);

fn refused(code: Code) -> (PacketEnd, Option<Code>) {
    (PacketEnd::Refused, Some(code))
}

#[test]
fn a_packet_is_surveyed_sent_and_registered() {
    let mut desk = Desk::new(unseen());
    let Ok(Taken::New(packet)) = desk.take(&offer(), &Kept::default()) else {
        panic!()
    };
    desk.work(&mut by_the_book);
    assert_eq!((desk.calls.clone(), desk.ends()), (vec!["survey", "key"], vec![REGISTERED]));
    assert!(desk.facts.iter().all(|(_, fact)| fact.run() == Some(packet)));
    assert_eq!(desk.rack.packets.len(), 0, "it is forgotten: the ledger has it");
}

#[test]
fn a_packet_is_taken_by_whoever_is_at_the_station_then() {
    let mut desk = Desk::new(unseen());
    for (n, who) in [Some("eva"), None].into_iter().enumerate() {
        let named = Input::Command(Command::Operator(who.map(str::to_owned)));
        let decision = desk.rack.decide(desk.now, desk.wall, &named).unwrap();
        desk.adopt(decision);
        let offer = Offer {
            key: key(n as u8 + 1),
            device: DeviceId::from_bytes([n as u8; 12]),
            ..plain()
        };
        desk.take(&offer, &Kept::default()).unwrap();
        let by = |(_, fact): &(Wall, Fact)| match fact {
            Fact::PacketTaken { operator, .. } => Some(operator.clone()),
            _ => None,
        };
        assert_eq!(desk.facts.iter().rev().find_map(by), Some(who.map(str::to_owned)));
    }
}

#[test]
fn the_ledger_declines_what_it_knows_better() {
    let other = DeviceId::from_bytes([9; 12]);
    let since = after(signed(), 1);
    for (offer, kept, code) in [
        (
            vouched(offer()),
            Kept {
                owners: vec![DEVICE, other],
                ..Kept::default()
            },
            Some(Code::KeyDuplicate),
        ),
        (
            offer(),
            Kept {
                accepted: Some(key(2).fingerprint),
                ..Kept::default()
            },
            Some(Code::PacketUnvouched),
        ),
        (
            vouched(offer()),
            Kept {
                accepted: Some(key(2).fingerprint),
                ..Kept::default()
            },
            None,
        ),
        (
            vouched(offer()),
            Kept {
                held: Some((key(2).fingerprint, since)),
                ..Kept::default()
            },
            Some(Code::PacketStale),
        ),
        (
            offer(),
            Kept {
                held: Some((key(1).fingerprint, since)),
                accepted: Some(key(1).fingerprint),
                owners: vec![DEVICE],
                ..Kept::default()
            },
            None,
        ),
        (
            vouched(plain()),
            Kept {
                quarantined: true,
                ..Kept::default()
            },
            Some(Code::Quarantined),
        ),
    ] {
        let mut desk = Desk::new(unseen());
        let taken = desk.take(&offer, &kept);
        assert_eq!(taken.clone().err().map(|declined| declined.code), code, "{taken:?}");
        assert_eq!(desk.facts.is_empty(), code.is_some(), "what is declined is not on record");
    }
}

#[test]
fn the_same_packet_is_one_and_another_key_waits_for_its_end() {
    let mut desk = Desk::new(unseen());
    let taken = desk.take(&offer(), &Kept::default());
    let Ok(Taken::New(packet)) = taken else { panic!() };
    assert_eq!(desk.take(&offer(), &Kept::default()), Ok(Taken::Before(packet)));
    let second = Offer { key: key(2), ..plain() };
    assert_eq!(
        desk.take(&second, &Kept::default()).map_err(|d| d.code),
        Err(Code::PacketBusy)
    );
    let elsewhere = Offer {
        device: DeviceId::from_bytes([9; 12]),
        ..plain()
    };
    assert_eq!(
        desk.take(&elsewhere, &Kept::default()).map_err(|d| d.code),
        Err(Code::KeyDuplicate)
    );
    desk.work(&mut by_the_book);
    assert_eq!(desk.ends(), [REGISTERED]);
    assert!(matches!(desk.take(&second, &Kept::default()), Ok(Taken::New(_))));
}

#[test]
fn the_cloud_shows_what_stands_against_it() {
    let session = |at: &str| Some(Wall::parse(&format!("2026-11-23T{at}Z")).unwrap());
    let with = |change: fn(&mut Shown)| {
        let mut shown = unseen();
        change(&mut shown);
        shown
    };
    let had = |at: &str| Shown {
        last_handshake_at: session(at),
        at: session("10:00:00"),
        ..unseen()
    };
    for (offer, survey, end) in [
        (offer(), had("08:00:00"), refused(Code::PacketUnvouched)),
        (vouched(offer()), had("08:00:00"), REGISTERED),
        (vouched(offer()), had("09:00:01"), refused(Code::PacketStale)),
        (vouched(plain()), had("09:00:01"), REGISTERED),
        (offer(), with(|s| s.platform_id = Some(13)), refused(Code::ImportInvalid)),
        (plain(), with(|s| s.platform_id = Some(6)), refused(Code::ImportInvalid)),
        (offer(), with(|s| s.denied = Some(true)), refused(Code::Quarantine)),
        (
            offer(),
            with(|s| s.membership = Membership::Product { id: 7 }),
            refused(Code::ImportInvalid),
        ),
        (
            offer(),
            with(|s| s.membership = Membership::Development),
            refused(Code::ImportInvalid),
        ),
        (offer(), with(|s| s.owner = OwnerKind::Stranger), refused(Code::OwnerForeign)),
        (offer(), with(|s| s.owner = OwnerKind::Nobody), REGISTERED),
    ] {
        let mut desk = Desk::new(survey.clone());
        desk.take(&offer, &Kept::default()).unwrap();
        desk.work(&mut by_the_book);
        assert_eq!(desk.ends(), [end], "{survey:?}");
        assert_eq!(desk.calls.contains(&"key"), end == REGISTERED, "{survey:?}");
    }
    let mut desk = Desk::new(unseen());
    desk.survey = Survey::Unseen;
    desk.take(&offer(), &Kept::default()).unwrap();
    desk.work(&mut by_the_book);
    assert_eq!(desk.ends(), [refused(Code::CloudDenied)]);
}

#[test]
fn a_key_that_the_cloud_accepted_before_replaces_nothing() {
    let mut desk = Desk::new(Shown {
        last_handshake_at: Wall::parse("2026-11-23T08:00:00Z"),
        ..unseen()
    });
    let kept = Kept {
        accepted: Some(key(1).fingerprint),
        owners: vec![DEVICE],
        ..Kept::default()
    };
    desk.take(&offer(), &kept).unwrap();
    desk.work(&mut by_the_book);
    assert_eq!(desk.ends(), [REGISTERED]);
}

#[test]
fn a_key_that_had_to_wait_goes_only_if_the_device_has_not_connected_since_it_was_read() {
    for (session, end) in [
        (after(signed(), 60), refused(Code::PacketStale)),
        (Wall::parse("2026-11-23T08:59:00Z").unwrap(), REGISTERED),
    ] {
        let mut desk = Desk::new(unseen());
        desk.take(&offer(), &Kept::default()).unwrap();
        desk.session = Some(session);
        let mut away = 3;
        desk.work(&mut |call| {
            let held = matches!(call, Call::Upload { .. }) && away > 0;
            away -= i32::from(held);
            held.then(down)
        });
        assert_eq!(desk.ends(), [end], "{session}");
        assert_eq!(desk.calls[..3], ["survey", "key", "look"]);
    }
}

#[test]
fn a_refusal_is_believed_when_it_came_twice_and_never_after_a_doubt() {
    let mut desk = Desk::new(unseen());
    desk.take(&offer(), &Kept::default()).unwrap();
    desk.work(&mut refuse_uploads);
    assert_eq!(desk.ends(), [refused(Code::CloudRefused)]);
    assert_eq!(desk.calls.iter().filter(|call| **call == "key").count(), 2);
    let mut desk = Desk::new(unseen());
    desk.take(&offer(), &Kept::default()).unwrap();
    desk.work(&mut refuse_after_doubt(|call| matches!(call, Call::Upload { .. })));
    assert_eq!(desk.ends(), [(PacketEnd::Unknown, Some(Code::StateUnknown))]);
}

#[test]
fn a_customers_device_is_released_registered_and_given_back() {
    let survey = Shown {
        last_handshake_at: None,
        ..customer()
    };
    let mut desk = Desk::new(survey.clone());
    desk.take(&offer(), &Kept::default()).unwrap();
    desk.work(&mut by_the_book);
    assert_eq!(desk.ends(), [REGISTERED]);
    assert_eq!(
        desk.calls,
        ["survey", "secure", "release", "look", "key", "claim", "restore", "end"]
    );
    // Nobody to give it back to: it is not taken.
    let mut desk = Desk::new(survey.clone());
    desk.take(&offer(), &Kept::default()).unwrap();
    let unknown = || Answer::Refused {
        code: Code::CustomerUnknown,
        reason: "no".into(),
    };
    desk.work(&mut |call| matches!(call, Call::Secure { .. }).then(unknown));
    assert_eq!(desk.ends(), [refused(Code::CustomerUnknown)]);
    // The key is refused: its owner has it back all the same. The claim is refused: an alarm.
    let mut desk = Desk::new(survey.clone());
    desk.take(&offer(), &Kept::default()).unwrap();
    desk.work(&mut refuse_uploads);
    assert_eq!(desk.ends(), [refused(Code::CloudRefused)]);
    assert_eq!(desk.calls.last(), Some(&"end"));
    assert!(desk.calls.contains(&"claim"));
    let mut desk = Desk::new(survey);
    desk.take(&offer(), &Kept::default()).unwrap();
    let claim = |call: &Call| {
        matches!(
            call,
            Call::Errand {
                errand: Errand::Claim { .. },
                ..
            }
        )
    };
    desk.work(&mut |call| claim(call).then(refusal));
    assert_eq!(desk.ends(), [(PacketEnd::Registered, Some(Code::ClaimLost))]);
    assert_eq!(desk.calls.last(), Some(&"keep"));
}

#[test]
fn a_cut_at_any_fact_loses_nothing() {
    for survey in [
        unseen(),
        Shown {
            last_handshake_at: None,
            ..customer()
        },
    ] {
        for lost in [false, true] {
            for cut in 1..60 {
                let mut desk = Desk::new(survey.clone());
                desk.take(&offer(), &Kept::default()).unwrap();
                desk.cut = Some(cut);
                let mut first = lost;
                let mut cloud = |call: &Call| {
                    let meant = matches!(call, Call::Upload { .. } | Call::Errand { .. });
                    (meant && std::mem::take(&mut first)).then(|| Answer::Ambiguous { why: "lost".into() })
                };
                let whole = desk.facts.len() < cut && desk.work(&mut cloud);
                if !whole {
                    desk.restart();
                    desk.work(&mut cloud);
                }
                assert_eq!(desk.ends(), [REGISTERED], "cut after fact {cut}");
                let taken: Vec<_> = ["release", "claim"]
                    .map(|word| desk.calls.iter().filter(|call| **call == word).count())
                    .into();
                assert_eq!(taken[0] > 0, survey.owner == OwnerKind::Customer);
                assert_eq!(taken[1] > 0, survey.owner == OwnerKind::Customer, "given back");
                assert_eq!(desk.rack.outbox().open().count(), 0);
            }
        }
    }
}

#[test]
fn a_run_of_the_device_takes_the_place_of_what_was_not_sent() {
    let mut drive = Drive::new(recipe(KeyPolicy::Read), valid(2));
    drive.cut_after(&mut by_the_book, |f| matches!(f, Fact::StepStarted { .. }));
    let fresh = RunId::new(drive.wall(), [3; 10]);
    let taken = drive
        .rack
        .take(drive.now, drive.wall(), fresh, &offer(), &Kept::default())
        .unwrap();
    assert_eq!(taken.err().map(|declined| declined.code), Some(Code::PacketBusy));
}

#[test]
fn without_a_token_nothing_is_asked_and_nothing_is_lost() {
    let mut desk = Desk::new(unseen());
    desk.take(&offer(), &Kept::default()).unwrap();
    let auth = || Answer::Auth {
        reason: "expired".into(),
    };
    desk.work(&mut |_| Some(auth()));
    assert_eq!((desk.calls.len(), desk.ends()), (1, vec![]));
    let renewed = Input::Command(Command::TokenRenewed);
    let decision = desk.rack.decide(desk.now, desk.wall, &renewed).unwrap();
    desk.adopt(decision);
    desk.work(&mut by_the_book);
    assert_eq!(desk.ends(), [REGISTERED]);
}
