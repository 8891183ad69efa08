//! The side of the cloud that devices connect to: both ends of a handshake in one call.
//!
//! The device's end uses nothing but what is in the [`Dial`]; the cloud's end nothing but its own state.

use sha2::{Digest, Sha256};

use super::{
    Event, StandIn, World,
    handshake::{
        device::{self, Device},
        hello::Hello,
        proof,
        server::{self, Server},
    },
    noticed,
    state::{Registered, hex},
};
use crate::sim::device::Noticed;
pub use crate::sim::device::{Dial, Dialled};
use crate::{
    model::{DeviceId, Wall},
    sim::world::CloudSide,
};

impl CloudSide for StandIn {
    fn dial(&self, _: Wall, dial: &Dial) -> Dialled {
        Self::dial(self, dial)
    }
}

impl StandIn {
    /// A device connects.
    pub fn dial(&self, dial: &Dial) -> Dialled {
        if !self.is_at(dial) {
            return Dialled::NoRoute;
        }
        let wall = self.inner.clock.wall();
        let mut world = self.current();
        let world = &mut *world;
        if let Err(why) = admit(world, dial) {
            return Refusal::silent(why).into();
        }
        let known = world.state.devices.get(&dial.id);
        if let (Some(kept), Some(device)) = (dial.session.as_deref().and_then(|kept| resumable(dial, kept)), known)
            && device.session.as_deref() == Some(&hex(kept))
        {
            let session = dial.session.clone().unwrap_or_default();
            connected(world, dial, wall, false);
            return Dialled::Connected { session, resumed: true };
        }
        let proved = if dial.tcp {
            self.over_tcp(world, dial)
        } else {
            self.over_udp(world, dial)
        };
        if let Err(refusal) = proved {
            return refusal.into();
        }
        let session = if dial.tcp { Vec::new() } else { self.new_session(world, dial) };
        connected(world, dial, wall, true);
        Dialled::Connected { session, resumed: false }
    }

    /// A device lost its power, its network or its application. The cloud notices late: two keep-alives, that is 50 s
    /// on Wi-Fi and 46 min on cellular.
    pub fn hang_up(&self, id: DeviceId) {
        let wall = self.inner.clock.wall();
        let mut world = self.current();
        if let Some(device) = world
            .state
            .devices
            .get_mut(&id)
            .filter(|device| device.online && device.missed_at.is_none())
        {
            device.missed_at = Some(noticed(device.platform, wall));
        }
    }

    /// The host name that a device must have in its address record; `$id` stands for its id.
    pub fn server_host(&self, tcp: bool) -> String {
        if tcp { TCP_HOST } else { UDP_HOST }.to_owned()
    }

    fn is_at(&self, dial: &Dial) -> bool {
        let host = self.server_host(dial.tcp);
        let name = dial.server_host == host || dial.server_host == host.replace("$id", &dial.id.to_string());
        // Devices on UDP discard a port of their own (device-protocol.md 4.4).
        let port = !dial.tcp || matches!(dial.port, 0 | 0xffff | TCP_PORT);
        name && port
    }

    /// The handshake of cloud-api.md 7.1.
    fn over_tcp(&self, world: &mut World, dial: &Dial) -> Result<(), Refusal> {
        let entropy = &*self.inner.entropy;
        let device = Device::new(dial.id, &dial.private_slot, &dial.server_key)?;
        let (server, nonce) = Server::new(world.state.server.rsa(entropy), entropy);
        let exchange = device.exchange(&nonce, entropy)?;
        let caller = server.read(&exchange)?;
        let registered = registered(world, caller.id);
        let (answer, mut cloud_end) = server.answer(&caller, registered.as_deref(), entropy)?;
        let answer = answer.try_into().map_err(|_| device::GivenUp::Decryption)?;
        let mut device_end = device.accept(&answer)?;
        let hello = device::greet(&mut device_end, &hello(dial, None));
        let (_, reply) = server::greet(&mut cloud_end, &hello)?;
        Ok(device::greeted(&mut device_end, &reply)?)
    }

    /// The proof of cloud-api.md 7.3, then the HELLO of 7.2.
    fn over_udp(&self, world: &mut World, dial: &Dial) -> Result<(), Refusal> {
        let entropy = &*self.inner.entropy;
        let mut nonce = [0; 32];
        entropy.fill(&mut nonce);
        let server = world.state.server.ec(entropy);
        let challenge = proof::challenge(&server, &nonce, entropy);
        let response = proof::respond(dial.id, &dial.private_slot, &dial.server_key, &nonce, &challenge)?;
        let hello = hello(dial, Some(dial.id)).encode(true, 1);
        let id = Hello::decode(&hello)
            .and_then(|(hello, _)| hello.id)
            .ok_or(server::Closed::NoHello)?;
        Ok(proof::check(id, registered(world, id).as_deref(), &challenge, &response)?)
    }

    /// A connection that can be resumed: a random number, kept by both, and the device's checksum of its keys.
    fn new_session(&self, world: &mut World, dial: &Dial) -> Vec<u8> {
        let mut number = [0; SESSION];
        self.inner.entropy.fill(&mut number);
        if let Some(device) = world.state.devices.get_mut(&dial.id) {
            device.session = Some(hex(&number));
        }
        [&number[..], &checksum(dial)].concat()
    }
}

/// A handshake that failed: why, and what the device notices of it.
struct Refusal {
    why: String,
    noticed: Noticed,
}

impl Refusal {
    /// The cloud says nothing.
    fn silent(why: impl ToString) -> Self {
        Self {
            why: why.to_string(),
            noticed: Noticed::Silence,
        }
    }
}

impl From<Refusal> for Dialled {
    fn from(Refusal { why, noticed }: Refusal) -> Self {
        Self::Refused { why, noticed }
    }
}

/// The cloud closes the connection without a word.
impl From<server::Closed> for Refusal {
    fn from(why: server::Closed) -> Self {
        Self::silent(why)
    }
}

impl From<device::GivenUp> for Refusal {
    fn from(why: device::GivenUp) -> Self {
        let noticed = match why {
            device::GivenUp::NoKey | device::GivenUp::NoHello => Noticed::Silence,
            device::GivenUp::NoServerKey => Noticed::NoServerKey,
            device::GivenUp::Decryption => Noticed::Undecipherable,
            device::GivenUp::Authentication => Noticed::Imposter,
        };
        Self {
            noticed,
            ..Self::silent(why)
        }
    }
}

impl From<proof::Unproved> for Refusal {
    fn from(why: proof::Unproved) -> Self {
        let noticed = match why {
            proof::Unproved::NoKey | proof::Unproved::Unknown | proof::Unproved::OtherKey => Noticed::Silence,
            proof::Unproved::Imposter => Noticed::Imposter,
        };
        Self {
            noticed,
            ..Self::silent(why)
        }
    }
}

/// The device's part of resuming: a session kept under other keys is thrown away. Returns the session's number.
fn resumable<'a>(dial: &Dial, kept: &'a [u8]) -> Option<&'a [u8]> {
    let (number, sum) = kept.split_at_checked(SESSION)?;
    (!dial.tcp && sum == checksum(dial)).then_some(number)
}

/// What a device keeps beside its session to see whether its keys have changed.
fn checksum(dial: &Dial) -> [u8; 32] {
    let private = proof::public_half(&dial.private_slot).unwrap_or_default();
    let server = dial.server_key.get(..91).unwrap_or(&dial.server_key);
    Sha256::new_with_prefix(private).chain_update(server).finalize().into()
}

/// Refuses devices that the cloud does not know or that a product keeps out. A device of the old kind that reports a
/// product which does not have it goes into that product's quarantine.
fn admit(world: &mut World, dial: &Dial) -> Result<(), &'static str> {
    let product = u32::from(dial.product_id);
    let is_product = product != u32::from(dial.platform) && world.state.products.contains_key(&product);
    let device = world
        .state
        .devices
        .get_mut(&dial.id)
        .ok_or("the cloud does not know this device")?;
    if device.denied {
        return Err("the device was denied to its product");
    }
    if device.product.is_none() && is_product && dial.os_version < QUARANTINE_BEFORE {
        device.quarantine = Some(product);
    }
    if device.quarantine.is_some() {
        Err("the device is in its product's quarantine")
    } else {
        Ok(())
    }
}

/// What the cloud notes of a device that has connected.
fn connected(world: &mut World, dial: &Dial, wall: Wall, handshake: bool) {
    let Some(device) = world.state.devices.get_mut(&dial.id) else {
        return;
    };
    device.online = true;
    device.missed_at = None;
    device.last_heard = Some(wall);
    device.os_version = Some(dial.os_version);
    device.firmware_product = Some(dial.product_id);
    device.firmware_version = Some(dial.product_version);
    if handshake {
        device.last_handshake_at = Some(wall);
    }
    let event = Event::new("spark/status", "online", wall, dial.id, device.product, device.owner.clone());
    world.hub.publish(&event);
}

fn registered(world: &World, id: DeviceId) -> Option<Vec<u8>> {
    world.state.devices.get(&id)?.key.as_ref().map(Registered::spki)
}

fn hello(dial: &Dial, id: Option<DeviceId>) -> Hello {
    Hello {
        product_id: dial.product_id,
        product_version: dial.product_version,
        flags: 0x36,
        platform: dial.platform,
        id,
        os_version: dial.os_version,
    }
}

/// `.test` is reserved: no such name is ever anybody's.
const TCP_HOST: &str = "device.keyrack.test";
const UDP_HOST: &str = "$id.udp.keyrack.test";
const TCP_PORT: u16 = 5683;
/// Length of a session's number.
const SESSION: usize = 16;
/// Only devices with Device OS up to 3.x are put into quarantine (cloud-api.md 3.7).
const QUARANTINE_BEFORE: u16 = 4000;
