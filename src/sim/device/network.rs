//! The cloud layer of Device OS: key and server settings at its start, network, and dialling (device-protocol.md 4.4,
//! cloud-api.md 7).
//!
//! It speaks no cloud protocol. It says that it dials, with what; the world answers how that went.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Mono;

use super::{
    Blob, Device, Dial, Dialled, Happening, Mode, Noticed,
    dct::{self, Server},
    key,
    platform::{Family, Transport},
};

/// What the cloud layer does. Each state is named for what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cloud {
    /// To be told to connect.
    Off,
    /// Its start.
    Init(Duration),
    /// A new key pair.
    Key(Duration),
    /// A network to be given.
    NoNetwork,
    /// The network to come up.
    Network(Duration),
    /// The next dial, and the pause after it if that fails.
    Pause(Duration, Duration),
    /// The world's answer.
    Answer(Duration),
    /// Nothing: it is connected.
    Connected,
}

impl Cloud {
    /// When it goes on by itself.
    pub(super) const fn next(&self) -> Option<Duration> {
        match self {
            Self::Init(at) | Self::Key(at) | Self::Network(at) | Self::Pause(at, _) => Some(*at),
            Self::Off | Self::NoNetwork | Self::Answer(_) | Self::Connected => None,
        }
    }

    /// Moves its instants to another clock. A call whose answer will never come is made again.
    pub(super) fn shift(&mut self, moved: impl Fn(&mut Duration)) {
        if let Self::Answer(pause) = self {
            *self = Self::Pause(Duration::ZERO, *pause);
        }
        if let Self::Init(at) | Self::Key(at) | Self::Network(at) | Self::Pause(at, _) = self {
            moved(at);
        }
    }
}

/// A session with the cloud and the keys that it belongs to.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    bytes: Blob,
    keys: Blob,
}

/// A Wi-Fi network that it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) ssid: String,
    pub(super) password: String,
    pub(super) security: u64,
}

impl Known {
    /// A network about which nothing else is known; its password fits.
    pub(super) fn named(ssid: &str) -> Self {
        Self {
            ssid: ssid.into(),
            password: String::new(),
            security: 3,
        }
    }
}

impl Device {
    /// The world's answer to a [`Happening::Dial`]. Too late an answer, after a reset, is nobody's.
    pub fn dialled(&mut self, now: Mono, answer: Dialled) {
        self.run_until(now);
        let Cloud::Answer(pause) = self.s.cloud else { return };
        match answer {
            Dialled::Connected { session, .. } => {
                self.s.cloud = Cloud::Connected;
                self.helper_connected();
                if self.claim_code().is_some() {
                    self.write_dct(now.0, dct::CLAIM_CODE, &[0; 63]);
                    self.write_dct(now.0, dct::CLAIMED, b"1");
                }
                if session.is_empty() {
                    self.s.session = None;
                } else {
                    let keys = self.s.dct.keys_hash(self.transport()).into();
                    self.s.session = Some(Session {
                        bytes: session.into(),
                        keys,
                    });
                }
            }
            refused => {
                let next = (pause * 2).min(self.timing.retry_most);
                self.s.cloud = Cloud::Pause(now.0 + pause, next);
                // The number is that of a handshake: who is not reached at all leaves it as it was.
                if let Dialled::Refused { noticed, .. } = refused {
                    self.s.last_error = self.unparsed().unwrap_or(noticed).number(self.transport() == Transport::Tcp);
                }
                self.helper_failed(now.0);
            }
        }
    }

    /// Starts or restarts the cloud layer.
    pub(super) fn cloud_start(&mut self, now: Duration) {
        self.s.cloud = Cloud::Init(now + self.timing.cloud_init);
    }

    /// A network may have come or gone.
    pub(super) fn network_changed(&mut self, now: Duration) {
        match (&self.s.cloud, self.has_network()) {
            (Cloud::NoNetwork, true) => self.s.cloud = Cloud::Network(now + self.timing.network),
            (Cloud::Network(_) | Cloud::Pause(..) | Cloud::Answer(_) | Cloud::Connected, false) => {
                self.s.cloud = Cloud::NoNetwork;
            }
            _ => {}
        }
    }

    /// The Wi-Fi network that it is on, if it knows one that is there.
    pub(super) fn joined(&self) -> Option<&Known> {
        let air = &self.s.spec.air;
        let there = |k: &&Known| {
            let fits = |a: &super::AccessPoint| a.ssid == k.ssid && (k.password.is_empty() || a.password == k.password);
            air.is_empty() || air.iter().any(fits)
        };
        self.s.networks.iter().find(there).filter(|_| self.platform.wifi)
    }

    /// What is due of the cloud layer at `at`.
    pub(super) fn cloud_event(&mut self, at: Duration) {
        match self.s.cloud {
            Cloud::Init(_) => self.cloud_init(at),
            Cloud::Key(_) => {
                self.make_key(at);
                self.cloud_ready(at);
            }
            Cloud::Network(_) => self.dial(self.timing.retry_first),
            Cloud::Pause(_, pause) => self.dial(pause),
            Cloud::Off | Cloud::NoNetwork | Cloud::Answer(_) | Cloud::Connected => {}
        }
    }

    /// The start of the cloud layer: a slot whose first byte is 0xFF gets a new key, anything else is kept (4.4).
    fn cloud_init(&mut self, at: Duration) {
        let Some(transport) = self.platform.transport.map(|_| self.transport()) else {
            self.s.cloud = Cloud::Off;
            return;
        };
        if self.s.dct.field(dct::private_field(transport))[0] != 0xff {
            return self.cloud_ready(at);
        }
        let takes = match transport {
            Transport::Udp => self.timing.make_ec,
            Transport::Tcp => self.timing.make_rsa,
        };
        self.s.cloud = Cloud::Key(at + takes);
    }

    fn make_key(&mut self, at: Duration) {
        let transport = self.transport();
        let os = self.installed().os_version();
        let (der, _) = key::make(&mut self.s.chance, transport, os);
        let slot = dct::private_field(transport);
        let content = match transport {
            Transport::Udp => key::slot_of_generated(&der, slot.size),
            Transport::Tcp => der,
        };
        self.s.counters.keys_made += 1;
        self.write_dct(at, slot, &content);
    }

    /// Public copy and server settings, then on to the network.
    fn cloud_ready(&mut self, at: Duration) {
        let transport = self.transport();
        let slot = self.s.dct.field(dct::private_field(transport));
        if let Some(spki) = key::spki(slot, transport).filter(|_| public_copy_possible(slot, transport)) {
            let field = dct::public_field(transport);
            // On Gen 3 and 4 the library writes to the end of a zeroed buffer (4.3).
            let copy = match (transport, self.platform.family) {
                (Transport::Udp, Family::Nrf | Family::Rtl) => [vec![0; field.size - spki.len()], spki].concat(),
                _ => spki,
            };
            if !self.s.dct.field(field).starts_with(&copy) {
                self.write_dct(at, field, &copy);
            }
        }
        let id = self.id();
        if self.s.dct.server(transport, id).is_none() && restores_server(self.installed().os_version()) {
            self.s.dct.set_production(transport);
            self.s.counters.dct_writes += 1;
        }
        self.s.cloud = match (self.s.auto_connect, self.has_network()) {
            (false, _) => Cloud::Off,
            (true, true) => Cloud::Network(at + self.timing.network),
            (true, false) => Cloud::NoNetwork,
        };
    }

    fn claim_code(&self) -> Option<String> {
        let code = self.s.dct.field(dct::CLAIM_CODE);
        let used = code.iter().all(u8::is_ascii_graphic);
        used.then(|| String::from_utf8_lossy(code).into_owned())
    }

    fn has_network(&self) -> bool {
        self.joined().is_some() || self.platform.cellular && self.s.spec.sim_active
    }

    fn dial(&mut self, pause: Duration) {
        let transport = self.transport();
        let id = self.id();
        let keys = self.s.dct.keys_hash(transport);
        // A session is bound to a checksum of both keys; TCP has none.
        let session = self
            .s
            .session
            .take()
            .filter(|s| *s.keys == keys && transport == Transport::Udp);
        let server = self.server();
        let running = matches!(self.s.mode, Mode::Run { safe: false, .. });
        let (os_version, platform) = (self.installed().os_version(), self.platform.id);
        let user = self
            .installed()
            .user()
            .filter(|_| running)
            .map(|u| (u.module.product, u.module.product_version));
        let (product_id, product_version) = match user {
            Some((product, version)) if !matches!(product, 0 | 0xffff) => (product, version),
            _ => (platform, 0xffff),
        };
        let dial = Dial {
            id,
            tcp: transport == Transport::Tcp,
            private_slot: self.s.dct.field(dct::private_field(transport)).to_vec(),
            server_key: server.key,
            server_host: server.host,
            port: server.port,
            platform,
            os_version,
            product_id,
            product_version,
            claim_code: self.claim_code(),
            session: session.as_ref().map(|s| s.bytes.to_vec()),
        };
        self.s.session = session;
        self.s.counters.dials += 1;
        self.s.attempts += 1;
        self.s.cloud = Cloud::Answer(pause);
        self.happened.push(Happening::Dial(dial));
    }

    /// The server that it calls. Versions that do not repair the DCT use production settings in place of what is missing,
    /// from Device OS 0.7.0 on, and otherwise what is there.
    fn server(&mut self) -> Server {
        let (transport, id) = (self.transport(), self.id());
        let mut used = self.s.dct.clone();
        if self.installed().os_version() >= PATCHES_SERVER {
            used.patch_server(transport);
        }
        if let Some(server) = used.server(transport, id) {
            return server;
        }
        let (segment, address) = dct::server_fields(transport);
        let (host, _) = dct::address_of(used.field(address)).unwrap_or_default();
        Server {
            key: used.field(segment).to_vec(),
            host: host.replace("$id", &id.to_string()),
            port: if transport == Transport::Tcp { 5683 } else { 5684 },
        }
    }

    /// What it notices before anything comes: that the server key that it holds is none. Over TCP it takes the key by its
    /// place and notices nothing.
    fn unparsed(&mut self) -> Option<Noticed> {
        let key = self.server().key;
        let parses = dct::is_server_key(&key, Transport::Udp);
        (self.transport() == Transport::Udp && !parses).then_some(Noticed::NoServerKey)
    }
}

/// The routine that makes the public copy takes at most 128 bytes of private key (4.3).
fn public_copy_possible(slot: &[u8], transport: Transport) -> bool {
    transport == Transport::Tcp || dct::der_length(slot).is_some_and(|length| length <= 128)
}

/// Device OS that restores bad server settings in the DCT: the LTS line 4.1 and 4.2, and 5.3.0 and later.
const fn restores_server(os: u16) -> bool {
    matches!(os, 4100..5000 | 5300..)
}

/// Device OS 0.7.0, which does without server settings that were never written.
const PATCHES_SERVER: u16 = 700;
