//! Packets: public keys from afar, from their taking to their result. It owns what stands against a key that nobody here
//! read: what the ledger knows when it is taken, and what the cloud shows before it is sent.
//!
//! What a packet would replace can never be seen, because the cloud does not tell which key it holds. Two things count as
//! a key that would be replaced: another one that the ledger knows as last accepted, and any session that the cloud shows
//! of the device, unless the ledger knows this very key as last accepted. Either needs a named person with a reference.
//! Where neither is there, nothing is known, which is no proof of nothing: the packet is taken, and says that this was
//! not checked.

use std::{sync::Arc, time::Duration};

use crate::model::{
    Code, DeviceId, Fact, Fingerprint, Mono, Platform, ProductId, PublicKey, RunId, Wall,
    diagnosis::Flow,
    outbox::{Answer, CloudDevice, Item, ItemId, ItemState},
    packet::{PacketEnd, Proof, Voucher},
    recipe::Sha256,
    survey::{Membership, OwnerKind, Shown, Survey},
};

use super::{
    Ending, Illegal, Rack, diagnose, flow,
    input::Call,
    look::Look,
    proof::newer_session,
    turn::{Decision, Turn},
    upload::{Entry, back_off},
};

/// A key from afar as it is offered: checked by [`crate::keys::packet::check`] as far as bytes can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The device that it is for.
    pub device: DeviceId,
    /// The key.
    pub key: PublicKey,
    /// What speaks for it.
    pub proof: Proof,
    /// The product; none leaves it to the cloud.
    pub product: Option<ProductId>,
    /// Who stands for it, should it replace another key.
    pub voucher: Option<Voucher>,
}

/// What the ledger knows that decides about an offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The key of the device that the cloud accepted last.
    pub accepted: Option<Fingerprint>,
    /// The key that was last seen in its slot, and when.
    pub held: Option<(Fingerprint, Wall)>,
    /// Devices that have, had, or were to have the offered key.
    pub owners: Vec<DeviceId>,
    /// True if its last run ended QUARANTINED and no person released it.
    pub quarantined: bool,
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is a packet now.
    New(RunId),
    /// It was one before, whose result is still to come.
    Before(RunId),
}

/// Why an offer is not taken. Nothing of it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// As a stable code.
    pub code: Code,
    /// In words.
    pub why: String,
}

/// A packet: what its facts say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its id.
    pub id: RunId,
    /// Its device.
    pub device: DeviceId,
    /// Its key.
    pub key: PublicKey,
    /// What speaks for it.
    pub proof: Proof,
    /// The product that was named, or in which the cloud showed the device last.
    pub product: Option<ProductId>,
    /// Who stands for it.
    pub voucher: Option<Voucher>,
    /// The key of the device that the cloud had accepted last.
    pub accepted: Option<Fingerprint>,
    /// When it was taken.
    pub taken: Wall,
    /// What the device must get back, by the SHA-256 of what is kept.
    pub restore: Option<Sha256>,
    /// Its result.
    pub end: Option<PacketEnd>,
}

/// Where the questions of a packet that owes nothing yet stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    /// The cloud was asked.
    Asked {
        /// How often, this time included.
        tries: u32,
    },
    /// To be asked again.
    Again {
        /// When.
        at: Mono,
        /// How often it was asked.
        tries: u32,
    },
}

impl Packet {
    /// The packet that a `PacketTaken` fact makes.
    pub(super) fn take(at: Wall, fact: &Fact) -> Option<Self> {
        let Fact::PacketTaken {
            packet,
            device,
            key,
            proof,
            product,
            voucher,
            accepted,
            ..
        } = fact
        else {
            return None;
        };
        Some(Self {
            id: *packet,
            device: *device,
            key: key.clone(),
            proof: (**proof).clone(),
            product: product.clone(),
            voucher: voucher.clone(),
            accepted: *accepted,
            taken: at,
            restore: None,
            end: None,
        })
    }

    /// Takes in one fact of this packet.
    pub(super) fn apply(&mut self, fact: &Fact) -> Result<(), Illegal> {
        let illegal = |what| Err(Illegal { run: self.id, what });
        match fact {
            Fact::RestoreDestroyed { .. } => self.restore = None,
            _ if self.end.is_some() => return illegal("the packet has ended"),
            // It is decided about at once; where the device is stays.
            Fact::Surveyed { survey, .. } => self.product = diagnose::product_in(self.product.as_ref(), survey),
            Fact::RestoreSealed { sha256, .. } => self.restore = Some(*sha256),
            Fact::PacketEnded { end, .. } => self.end = Some(*end),
            _ => return illegal("it is not a fact of a packet"),
        }
        Ok(())
    }

    /// When the device is known to have held the key; without a manifest the packet's taking has to do.
    pub(super) fn read_at(&self) -> Wall {
        self.proof.manifest.as_ref().map_or(self.taken, |manifest| manifest.at)
    }

    /// True if it would take the place of a key, as far as can be told.
    fn replaces(&self, shown: Option<&Shown>) -> bool {
        match self.accepted {
            Some(accepted) => accepted != self.key.fingerprint,
            None => shown.is_some_and(|shown| shown.last_handshake_at.is_some()),
        }
    }

    /// What stands against sending its key, else the flow.
    fn judge(&self, survey: &Survey, wall: Wall) -> Result<Flow, Declined> {
        let manifest = self.proof.manifest.as_ref();
        let unseen = || declined(Code::CloudDenied, "the cloud does not show the device to the station's token");
        let Survey::Seen(shown) = survey else {
            return Err(unseen());
        };
        let known = shown.platform_id.and_then(Platform::from_id);
        let platform = manifest.map(|manifest| manifest.platform).or(known);
        if let Some(finding) = platform.and_then(|platform| diagnose::bounds(survey, platform, self.product.as_ref(), false)) {
            return Err(of(finding));
        }
        if let Some(platform) = known.filter(|platform| platform.key_kind() != self.key.kind) {
            let (found, wanted) = (self.key.kind, platform.key_kind());
            let why = format!("this is an {found} key, and the cloud knows the device as a {platform}, which needs {wanted}");
            return Err(declined(Code::ImportInvalid, why));
        }
        if let (Some(product), Membership::Development) = (&self.product, shown.membership) {
            let why = format!("the device is not in product {product}: it has to be imported first");
            return Err(declined(Code::ImportInvalid, why));
        }
        if let (Some(manifest), Some(session)) = (manifest, session_since(self.read_at(), shown, wall)) {
            let why = format!(
                "the device connected at {session}, after the packet was made at {}: it may hold another key by now",
                manifest.at
            );
            return Err(declined(Code::PacketStale, why));
        }
        if self.voucher.is_none() && self.replaces(Some(shown)) {
            let why = match (self.accepted, shown.last_handshake_at) {
                (Some(accepted), _) => replaced(accepted),
                (None, Some(at)) => format!("the device had a session at {at}: it would replace the key of that"),
                (None, None) => String::new(),
            };
            return Err(declined(Code::PacketUnvouched, why));
        }
        flow::way_in(shown.owner, self.product.is_some()).map_err(of)
    }
}

impl Rack {
    /// Decides about a key from afar, by what the ledger knows. Pure. `fresh` is the id that a new packet gets.
    ///
    /// # Errors
    /// As [`Rack::decide`]; within, why it is not taken.
    pub fn take(
        &self,
        now: Mono,
        wall: Wall,
        fresh: RunId,
        offer: &Offer,
        kept: &Kept,
    ) -> Result<Result<(Taken, Decision), Declined>, Illegal> {
        let mut turn = Turn::begin(self, now, wall);
        let taken = match self.stands_for(offer, kept) {
            Ok(Some(before)) => Taken::Before(before),
            Ok(None) => {
                turn.take(fresh, offer, kept);
                Taken::New(fresh)
            }
            Err(declined) => return Ok(Err(declined)),
        };
        turn.pump();
        Ok(Ok((taken, turn.finish()?)))
    }

    /// What the ledger has against an offer; else the packet that it is already.
    fn stands_for(&self, offer: &Offer, kept: &Kept) -> Result<Option<RunId>, Declined> {
        let (device, key) = (offer.device, offer.key.fingerprint);
        if let Some(other) = kept.owners.iter().find(|owner| **owner != device) {
            return Err(declined(
                Code::KeyDuplicate,
                format!("the ledger knows this key on device {other}"),
            ));
        }
        let open = |packet: &&Arc<Packet>| packet.device == device && packet.end.is_none();
        match self.packets.values().find(open) {
            Some(before) if before.key == offer.key => return Ok(Some(before.id)),
            Some(other) => {
                let why = format!(
                    "key {} of the device came before and has no result yet",
                    other.key.fingerprint.short()
                );
                return Err(declined(Code::PacketBusy, why));
            }
            None => {}
        }
        // The key of other packets of the same batch is not in the ledger before its turn is.
        let same = |packet: &&Arc<Packet>| packet.key.fingerprint == key && packet.end.is_none();
        if let Some(other) = self.packets.values().find(same) {
            return Err(declined(
                Code::KeyDuplicate,
                format!("the same key came for device {}", other.device),
            ));
        }
        if self.runs().any(|run| run.device == device && !run.ended()) || self.outbox.open().any(|e| e.item.device == device) {
            return Err(declined(
                Code::PacketBusy,
                "a run of the device is not over: it registers what the device holds".to_owned(),
            ));
        }
        if kept.quarantined {
            return Err(declined(
                Code::Quarantined,
                "the last run of the device ended QUARANTINED".to_owned(),
            ));
        }
        if let (Some(manifest), Some((held, at))) = (&offer.proof.manifest, kept.held)
            && held != key
            && at > manifest.at
        {
            let why = format!(
                "key {} was read from the device at {at}, after the packet was made at {}",
                held.short(),
                manifest.at
            );
            return Err(declined(Code::PacketStale, why));
        }
        match kept.accepted.filter(|accepted| *accepted != key) {
            Some(accepted) if offer.voucher.is_none() => Err(declined(Code::PacketUnvouched, replaced(accepted))),
            _ => Ok(None),
        }
    }

    /// The packets that have no result yet.
    pub fn packets(&self) -> impl Iterator<Item = &Packet> {
        self.packets
            .values()
            .map(|packet| &**packet)
            .filter(|packet| packet.end.is_none())
    }

    /// Packets that owe nothing to the cloud yet: it is asked first.
    pub(super) fn unasked(&self) -> impl Iterator<Item = &Packet> {
        self.packets().filter(|packet| self.outbox.of(packet.id).next().is_none())
    }

    /// When the next question that failed is to be asked again.
    pub(super) fn next_ask(&self, now: Mono) -> Option<Mono> {
        let again = self.asks.values().filter_map(|ask| match ask {
            Ask::Again { at, .. } => Some(*at),
            Ask::Asked { .. } => None,
        });
        again.filter(|at| *at > now).min()
    }
}

impl Turn {
    fn take(&mut self, packet: RunId, offer: &Offer, kept: &Kept) {
        self.fact(Fact::PacketTaken {
            packet,
            device: offer.device,
            key: offer.key.clone(),
            proof: Box::new(offer.proof.clone()),
            product: offer.product.clone(),
            voucher: offer.voucher.clone(),
            operator: self.rack.shift.operator.clone(),
            accepted: kept.accepted,
        });
    }

    /// Asks the cloud about packets that owe nothing yet, a few at a time.
    pub(super) fn ask_for_packets(&mut self) {
        if self.rack.outbox.locked.is_some() || self.rack.ending == Some(Ending::Quit) {
            return;
        }
        let under_way = |ask: &&Ask| matches!(ask, Ask::Asked { .. });
        let free = ASKS.saturating_sub(self.rack.asks.values().filter(under_way).count());
        let due = |id: &RunId| match self.rack.asks.get(id) {
            None => Some(1),
            Some(Ask::Again { at, tries }) if *at <= self.now => Some(tries + 1),
            Some(_) => None,
        };
        let due: Vec<_> = self
            .rack
            .unasked()
            .filter_map(|packet| Some((packet.id, packet.device, packet.product.clone(), due(&packet.id)?)))
            .take(free)
            .collect();
        for (run, device, product, tries) in due {
            self.rack.asks.insert(run, Ask::Asked { tries });
            let from = Vec::new();
            self.ask(Call::Survey {
                run,
                device,
                product,
                from,
            });
        }
    }

    /// The cloud said what decides about a packet.
    pub(super) fn packet_surveyed(&mut self, id: RunId, survey: &Survey) {
        let Some(packet) = self.in_question(id) else { return };
        match survey {
            Survey::Failed(answer) => return self.unanswered(&packet, answer),
            Survey::Seen(_) | Survey::Unseen => self.fact(Fact::Surveyed {
                run: id,
                device: packet.device,
                survey: survey.clone(),
            }),
        }
        if self.rack.runs().any(|run| run.device == packet.device && !run.ended()) {
            let why = "a run of the device began meanwhile: it registers what the device holds".to_owned();
            return self.end_packet(&packet, PacketEnd::Refused, Some(Code::PacketBusy), why);
        }
        let Some(packet) = self.in_question(id) else { return };
        let (device, product) = (packet.device, packet.product.clone());
        match packet.judge(survey, self.wall) {
            Err(Declined { code, why }) => self.end_packet(&packet, PacketEnd::Refused, Some(code), why),
            Ok(Flow::Customer) => self.ask(Call::Secure {
                run: id,
                device,
                product,
                owner: OwnerKind::Customer,
                to: None,
            }),
            Ok(_) => {
                let upload = upload(&packet);
                let item = upload.id.clone();
                self.queue(upload);
                // The cloud was looked at just now.
                let found = "the cloud shows the device".to_owned();
                self.rack.looks.insert(item, Look::Clear { found });
            }
        }
    }

    /// What is needed to give the device of a packet back is there, or is not: then it is not taken.
    pub(super) fn packet_secured(&mut self, id: RunId, result: &Result<Sha256, Answer>) {
        let Some(packet) = self.in_question(id) else { return };
        match result {
            Err(answer) => self.unanswered(&packet, answer),
            Ok(sha256) => {
                self.fact(Fact::RestoreSealed {
                    run: id,
                    device: packet.device,
                    sha256: *sha256,
                });
                self.queue_chain(*sha256, upload(&packet));
            }
        }
    }

    /// Gives every packet whose items are all settled its result. The look some time after it waits for nobody.
    pub(super) fn conclude_packets(&mut self) {
        let outbox = &self.rack.outbox;
        let over = |packet: &&Packet| outbox.of(packet.id).next().is_some() && !outbox.owes(packet.id);
        let over: Vec<Packet> = self.rack.packets().filter(over).cloned().collect();
        for packet in over {
            let outbox = &self.rack.outbox;
            let Some(upload) = outbox.get(&ItemId::key(packet.id, packet.key.fingerprint)) else {
                continue;
            };
            let (end, mut code, mut why) = result(upload, outbox.get(&ItemId::release(packet.id)));
            if let Some((_, lost)) = outbox.get(&ItemId::claim(packet.id)).and_then(refusal) {
                code = Some(Code::ClaimLost);
                why = format!("{why}; the device was taken from its owner and could not be given back: {lost}");
            }
            self.end_packet(&packet, end, code, why);
        }
    }

    /// The packet whose question is answered.
    fn in_question(&self, id: RunId) -> Option<Packet> {
        let packet = self.rack.unasked().find(|packet| packet.id == id).cloned()?;
        matches!(self.rack.asks.get(&id), Some(Ask::Asked { .. })).then_some(packet)
    }

    /// A question of a packet was not answered.
    fn unanswered(&mut self, packet: &Packet, answer: &Answer) {
        match answer {
            Answer::Refused { code, reason } => {
                self.end_packet(packet, PacketEnd::Refused, Some(*code), reason.clone());
            }
            Answer::Auth { reason } => {
                self.rack.asks.remove(&packet.id);
                self.rack.outbox.locked = Some(reason.clone());
            }
            Answer::Accepted { .. } | Answer::Later { .. } | Answer::Ambiguous { .. } => {
                let tries = match self.rack.asks.get(&packet.id) {
                    Some(Ask::Asked { tries } | Ask::Again { tries, .. }) => *tries,
                    None => 1,
                };
                let at = self.now + Duration::from_millis(back_off(tries));
                self.rack.asks.insert(packet.id, Ask::Again { at, tries });
            }
        }
    }

    fn end_packet(&mut self, packet: &Packet, end: PacketEnd, code: Option<Code>, why: String) {
        self.fact(Fact::PacketEnded {
            packet: packet.id,
            device: packet.device,
            end,
            code,
            why,
        });
        self.end_custody(packet.id);
    }
}

/// The item that sends the key of a packet.
fn upload(packet: &Packet) -> Item {
    Item::upload(packet.id, packet.device, packet.product.clone(), packet.key.clone())
}

/// What the items of a packet came to, but for the way back to the owner.
fn result(upload: &Entry, release: Option<&Entry>) -> (PacketEnd, Option<Code>, String) {
    let product = upload.item.product.as_ref();
    let product = product.map_or_else(String::new, |product| format!(" for product {product}"));
    match (upload.state, refusal(upload)) {
        (ItemState::Accepted, _) => {
            let note = match &upload.last {
                Some(Answer::Accepted { note: Some(note), .. }) => format!("; {note}"),
                _ => String::new(),
            };
            (PacketEnd::Registered, None, format!("registered{product}{note}"))
        }
        (_, refused) if upload.ambiguous => {
            let why = refused.map_or_else(|| upload.why.clone().unwrap_or_default(), |(_, reason)| reason);
            let why = format!("an earlier attempt may have arrived; {why}");
            (PacketEnd::Unknown, Some(Code::StateUnknown), why)
        }
        (_, Some((code, reason))) => (PacketEnd::Refused, Some(code), reason),
        _ => match release.and_then(refusal) {
            Some((code, reason)) => (
                PacketEnd::Refused,
                Some(code),
                format!("not released from its owner: {reason}"),
            ),
            None => (
                PacketEnd::Refused,
                Some(Code::PacketStale),
                upload.why.clone().unwrap_or_default(),
            ),
        },
    }
}

/// Why an item was refused for good, if it was.
fn refusal(entry: &Entry) -> Option<(Code, String)> {
    match (&entry.last, entry.state) {
        (Some(Answer::Refused { code, reason }), ItemState::Refused) => Some((*code, reason.clone())),
        _ => None,
    }
}

/// A session that the cloud shows and that is, or may be, newer than this instant.
fn session_since(read: Wall, shown: &Shown, wall: Wall) -> Option<Wall> {
    let device = CloudDevice {
        last_handshake_at: shown.last_handshake_at,
        ..CloudDevice::default()
    };
    newer_session(None, read, wall, &device, shown.at)
}

fn of((trouble, _, evidence): diagnose::Finding) -> Declined {
    let code = trouble.code().unwrap_or(Code::CloudRefused);
    declined(code, format!("{trouble}. {}", evidence.join(" ")))
}

fn replaced(accepted: Fingerprint) -> String {
    format!(
        "it would replace key {}, which the cloud has accepted for this device",
        accepted.short()
    )
}

fn declined(code: Code, why: impl Into<String>) -> Declined {
    Declined { code, why: why.into() }
}

/// So many packets are asked about at once: their results come one after another, and the requests are shared with uploads.
const ASKS: usize = 8;
