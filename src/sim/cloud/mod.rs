//! The stand-in cloud: a believable double of the vendor's cloud with its documented behaviour, limits, roles and
//! mishaps, and the side of it that devices connect to.
//!
//! It is written from the reference alone, by other hands than the station's client, and shares no code with it: forms,
//! PEM, DER and multipart bodies are read here with code of its own. It has no endpoint that the real cloud lacks; the
//! functions that look inside ([`StandIn::registered`], [`StandIn::uploads`]) exist in this process only.

mod audit;
mod authority;
mod call;
mod customers;
mod devices;
pub mod dial;
pub mod direct;
mod events;
mod faults;
mod fields;
pub mod handshake;
pub mod https;
mod import;
mod inspect;
mod limits;
mod listing;
mod oauth;
mod products;
mod provisioning;
mod reply;
mod routes;
mod setup;
mod sims;
mod spki;
mod state;
#[cfg(test)]
mod test_clock;
#[cfg(test)]
mod tests;
mod totp;
mod unprotect;
mod wire;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use audit::{Import, ImportList, Move, Moved, Upload};
pub use dial::{Dial, Dialled};
pub use direct::DirectHttp;
pub use events::{Event, Subscription};
pub use faults::{Effect, Fault, SNATCHER};
pub use inspect::Attributes;
pub use setup::{
    BENCH_CLIENT, BENCH_CLIENT_SECRET, BENCH_PASSWORD, BENCH_PRODUCT, BENCH_USER, ClientSetup, CustomerSetup, DeviceSetup,
    ProductSetup, Role, Setup, UserSetup,
};
pub use totp::code as one_time_password;
pub use wire::{End, WireOutcome, WireRequest, WireResponse};

use crate::{
    edge::{Clock, Entropy},
    model::{DeviceId, Wall},
};

use self::{
    call::Call,
    events::Hub,
    faults::{Faults, replacement},
    limits::{Limits, Scope},
    reply::Reply,
    state::{State, hex, later},
};

/// The cloud. Clones are the same cloud.
#[derive(Clone)]
pub struct StandIn {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    world: Mutex<World>,
}

/// Everything that changes, under one lock that is never held while anybody waits.
struct World {
    state: State,
    limits: Limits,
    faults: Faults,
    hub: Hub,
    /// Requests on a long way, with the time at which they arrive.
    late: Vec<(Wall, WireRequest)>,
}

/// What a handler came to, before mishaps.
enum Answered {
    Reply(Reply),
    Stream(Subscription),
}

/// Why a stored state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadState {
    /// It is not what [`StandIn::to_json`] writes.
    #[error("could not read the stored state of the stand-in cloud")]
    Malformed(#[source] serde_json::Error),
    /// It was written by another version.
    #[error("the stored state of the stand-in cloud has version {0}, not {expected}", expected = state::VERSION)]
    Version(u32),
}

impl StandIn {
    /// A cloud that holds what `setup` says.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, setup: Setup) -> Self {
        let random = |count: usize| {
            let mut bytes = vec![0; count];
            entropy.fill(&mut bytes);
            hex(&bytes)
        };
        let state = State::new(setup, clock.wall(), random);
        Self::with_state(clock, entropy, state)
    }

    /// The cloud that [`StandIn::to_json`] wrote. Limits, mishaps and open event streams start afresh.
    ///
    /// # Errors
    /// If the text is not such a state.
    pub fn from_json(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, text: &str) -> Result<Self, BadState> {
        #[derive(serde::Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(text).map_err(BadState::Malformed)?;
        if version != state::VERSION {
            return Err(BadState::Version(version));
        }
        let state = serde_json::from_str(text).map_err(BadState::Malformed)?;
        Ok(Self::with_state(clock, entropy, state))
    }

    /// What the cloud remembers. It holds the server's private keys: write it to a file that only its owner may read.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.current().state).expect("the state has only keys that JSON can write")
    }

    fn with_state(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, state: State) -> Self {
        let world = World {
            state,
            limits: Limits::default(),
            faults: Faults::default(),
            hub: Hub::default(),
            late: Vec::new(),
        };
        Self {
            inner: Arc::new(Inner {
                clock,
                entropy,
                world: Mutex::new(world),
            }),
        }
    }

    /// Handles one request.
    pub fn handle(&self, request: &WireRequest) -> WireOutcome {
        let (now, wall) = (self.inner.clock.now(), self.inner.clock.wall());
        let mut world = self.current();
        let world = &mut *world;
        if let Err(reply) = world.limits.count(Scope::Everything, &request.peer.to_string(), now) {
            return WireOutcome {
                delay: Duration::ZERO,
                end: finish(reply, wall),
            };
        }
        let fault = world.faults.strike(request);
        let delay = fault.as_ref().map(Fault::delay).unwrap_or_default();
        let untouched = match &fault {
            Some(Fault {
                effect: Effect::Unreachable,
                ..
            }) => Some(End::Unreachable),
            Some(Fault {
                effect: Effect::ResetBefore,
                ..
            }) => Some(End::ResetBefore),
            Some(Fault {
                effect: Effect::Late(millis),
                ..
            }) => {
                let arrival = later(wall, i64::try_from(*millis).unwrap_or(i64::MAX));
                world.late.push((arrival, request.clone()));
                Some(End::ResetBefore)
            }
            Some(fault) if !fault.committed => match replacement(fault.effect) {
                Some((reply, false)) => Some(finish(reply, wall)),
                _ => None,
            },
            _ => None,
        };
        let end = untouched.unwrap_or_else(|| harmed(self.answer(world, request, fault.as_ref(), wall), fault.as_ref(), wall));
        WireOutcome { delay, end }
    }

    /// Lets the handler of the path do its work.
    fn answer(&self, world: &mut World, request: &WireRequest, fault: Option<&Fault>, wall: Wall) -> Answered {
        match self.try_answer(world, request, fault, wall) {
            Ok(answered) => answered,
            Err(refusal) => Answered::Reply(refusal),
        }
    }

    fn try_answer(&self, world: &mut World, request: &WireRequest, fault: Option<&Fault>, wall: Wall) -> Result<Answered, Reply> {
        let now = self.inner.clock.now();
        let World { state, limits, hub, .. } = world;
        let mut call = Call::new(request, state, wall, &*self.inner.entropy);
        let struck = |effect| fault.is_some_and(|fault| fault.effect == effect);
        call.stale_online = struck(Effect::StaleOnline);
        call.by_number = struck(Effect::ByNumber);
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let peer = request.peer.to_string();
        if let Some(filter) = events::filter(&call, &path) {
            limits.count(Scope::Streams, &peer, now)?;
            let mut subscription = hub.listen(request.peer, filter?)?;
            if let Some(Fault {
                effect: Effect::CutStream(millis),
                ..
            }) = fault
            {
                subscription.cut_after = Some(Duration::from_millis(*millis));
            }
            return Ok(Answered::Stream(subscription));
        }
        let signing_in = path == ["oauth", "token"];
        match &path[..] {
            ["oauth", "token"] => {
                limits.blocked(request.peer, now)?;
                limits.count(Scope::Token, &peer, now)?;
            }
            ["v1", "access_tokens", ..] if request.method == "DELETE" => limits.count(Scope::TokenList, &peer, now)?,
            ["v1", "serial_numbers", _] => {
                let who = format!("{:?}", call.actor()?);
                limits.count(Scope::SerialNumbers, &who, now)?;
            }
            _ => {}
        }
        let (Ok(reply) | Err(reply)) = routes::route(&mut call, &path);
        if let Some(id) = named(&call, &path).filter(|_| reply.status < 300) {
            if struck(Effect::Snatched) {
                devices::claim_free(&mut call, id, faults::SNATCHER);
            }
            if struck(Effect::Forgotten) {
                devices::forget(&mut call, id);
            }
        }
        for event in std::mem::take(&mut call.events) {
            hub.publish(&event);
        }
        if signing_in {
            limits.signed_in(request.peer, reply.status, now);
        }
        Ok(Answered::Reply(reply))
    }

    /// Lets the cloud notice which devices are gone; it does so by itself whenever it is asked something.
    pub fn settle(&self) {
        drop(self.current());
    }

    /// Adds a mishap and returns its number in [`StandIn::fired`].
    pub fn add_fault(&self, fault: Fault) -> usize {
        self.world().faults.add(fault)
    }

    /// Switches all mishaps off; their counts stay.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// Every mishap with how often it struck, in the order in which they were added.
    pub fn fired(&self) -> Vec<(Fault, u32)> {
        self.world().faults.fired()
    }

    /// Makes the windows of all limits so many times shorter, with so many times fewer requests in them: the same rates are
    /// seen to be kept in less time.
    pub fn scale_limits(&self, scale: u32) {
        self.world().limits.scale = scale;
    }

    /// Ends all open event streams.
    pub fn cut_streams(&self) {
        self.world().hub.cut();
    }

    /// The public key that devices must hold as their server key: SubjectPublicKeyInfo, 294 bytes of RSA for TCP, 91 of
    /// P-256 for UDP.
    pub fn server_spki(&self, tcp: bool) -> Vec<u8> {
        self.world().state.server.spki(tcp, &*self.inner.entropy)
    }

    /// The world with everything done that time has brought.
    fn current(&self) -> MutexGuard<'_, World> {
        let mut guard = self.world();
        let (world, wall) = (&mut *guard, self.inner.clock.wall());
        while let Some(next) = (0..world.late.len())
            .filter(|i| world.late[*i].0 <= wall)
            .min_by_key(|i| world.late[*i].0)
        {
            let (arrival, request) = world.late.remove(next);
            // Nobody is there any more to read the answer.
            drop(self.answer(world, &request, None, arrival));
        }
        settle(world, wall);
        guard
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A handler that panicked has answered nobody; what it changed before is as good as a half-done request.
        self.inner.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Devices whose absence is noticed by now go offline.
fn settle(world: &mut World, wall: Wall) {
    for (id, device) in &mut world.state.devices {
        let Some(at) = device.missed_at.filter(|at| *at <= wall) else {
            continue;
        };
        device.missed_at = None;
        if device.online {
            device.online = false;
            world.hub.publish(&Event::new(
                "spark/status",
                "offline",
                at,
                *id,
                device.product,
                device.owner.clone(),
            ));
        }
    }
}

/// The device that a request is about: named by its path, by the `id` of a claim, or by the filter of a list.
fn named(call: &Call, path: &[&str]) -> Option<DeviceId> {
    let in_path = path.iter().find_map(|piece| piece.parse().ok());
    let elsewhere = || call.field("id").or_else(|| call.query.filled("deviceId"))?.parse().ok();
    in_path.or_else(elsewhere)
}

/// What the client sees of a handled request.
fn harmed(answered: Answered, fault: Option<&Fault>, wall: Wall) -> End {
    let reply = match answered {
        _ if fault.is_some_and(|fault| fault.effect == Effect::ResetAfter) => return End::ResetAfter,
        Answered::Stream(subscription) => return End::Stream(subscription),
        Answered::Reply(reply) => reply,
    };
    let Some(fault) = fault else { return finish(reply, wall) };
    match (replacement(fault.effect), fault.effect) {
        (Some((other, _)), _) => finish(other, wall),
        (None, Effect::SlowBody(millis)) => match finish(reply, wall) {
            End::Response(response) => End::Response(WireResponse {
                trickle: Some(Duration::from_millis(millis)),
                ..response
            }),
            other => other,
        },
        _ => finish(reply, wall),
    }
}

/// Puts the date on a reply.
fn finish(reply: Reply, wall: Wall) -> End {
    let mut response = reply.into_wire();
    response.headers.push(("date".to_owned(), http_date(wall)));
    End::Response(response)
}

/// The date of an HTTP header (RFC 9110 IMF-fixdate).
fn http_date(wall: Wall) -> String {
    let stamp = jiff::Timestamp::from_millisecond(wall.millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&stamp);
    text.unwrap_or_default()
}

/// When the cloud notices that a device of this platform is gone: after two keep-alives (cloud-api.md 3.14).
fn noticed(platform: u16, gone: Wall) -> Wall {
    later(gone, if devices::cellular(platform) { 46 * 60_000 } else { 50_000 })
}
