//! Leaving the factory, resets, and what a boot makes of the flash; the order in which due things happen.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Mono;

use super::{
    Act, Blob, Chance, Control, Dct, Device, DeviceMishap, Dfu, Flash, Happening, Into, Mishaps, Mode, Spec, StartKey,
    StartServer, State, dct, firmware, forge, key, key_helper,
    layout::{RESET_VECTOR, Start},
    mishap::Counters,
    module::{Module, function},
    network::{Cloud, Known},
    platform::{Family, Platform, Transport},
    protection::Protection,
};

/// Where a reset leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Boot {
    /// To what flash holds.
    Normal,
    /// To DFU mode.
    Dfu,
    /// To Device OS without the user part.
    Safe,
}

/// The device as it leaves the factory, without power.
///
/// # Panics
/// If an installed file is not a firmware module.
pub(super) fn factory(mut spec: Spec, platform: &'static Platform) -> State {
    let seed = seed_of(&spec);
    let mut chance = Chance::new(seed);
    let os = spec.os_version;
    let mut state = State {
        clock: Duration::ZERO,
        mode: Mode::Off,
        pending: None,
        under_way: None,
        flash: Flash::default(),
        dct: Dct::blank(platform.dct_size()),
        counters: Counters::default(),
        mishaps: Mishaps::default(),
        dfu: Dfu::new(),
        control: Control::default(),
        protection: Protection::default(),
        service: None,
        cloud: Cloud::Off,
        auto_connect: true,
        session: None,
        last_error: 0,
        attempts: 0,
        helper: None,
        networks: spec.wifi.iter().map(|ssid| Known::named(ssid)).collect(),
        update: None,
        marked: None,
        assets: Vec::new(),
        ncp: platform.ncp.then_some(NCP_VERSION),
        start_listening: false,
        ethernet: false,
        other_id: None,
        line_coding: Blob(vec![0x80, 0x25, 0, 0, 0, 0, 8]),
        chance: chance.clone(),
        spec: Spec {
            installed: Vec::new(),
            key: StartKey::Blank,
            ..spec.clone()
        },
    };
    if platform.family == Family::Nrf {
        state.flash.load(0, &RESET_VECTOR);
    }
    install(&mut state, &mut spec, platform);
    let transport = transport_of(&spec, platform);
    if spec.electron_tcp {
        state.dct.fill(dct::CLOUD_TRANSPORT, &[0]);
    }
    let slot = dct::private_field(transport);
    state
        .dct
        .fill(slot, &key::start(&spec.key, &mut chance, transport, os, slot.size));
    match &spec.server {
        StartServer::Production => state.dct.set_production(transport),
        StartServer::Set { spki, host } => state.dct.set_server(transport, spki, host),
        StartServer::ProductionAt { host } => {
            state.dct.set_production(transport);
            let (_, address) = dct::server_fields(transport);
            state.dct.fill(address, &dct::address_bytes(host));
        }
        StartServer::Corrupt => {
            state.dct.set_production(transport);
            let (segment, _) = dct::server_fields(transport);
            state.dct.write(segment.at + 4, &[0; 32]);
        }
        StartServer::Blank => {}
    }
    state.dct.fill(dct::CLAIMED, if spec.claimed { b"1" } else { b"0" });
    state.dct.fill(dct::DEVICE_ID, spec.id.bytes());
    state.helper = key_helper::start(spec.key_helper, &state.dct, transport, os, seed);
    state.chance = chance;
    state
}

/// The public key, SPKI in DER, of the key that a device had before the one that it starts with: DeviceKeyHelperRK may have
/// saved it, and a cloud may hold it.
///
/// # Panics
/// If the simulator has no such platform.
pub fn key_before(spec: &Spec) -> Vec<u8> {
    let platform = Platform::find(spec.platform).expect("a platform that the simulator knows");
    let transport = transport_of(spec, platform);
    let slot = key_helper::slot_before(transport, spec.os_version, seed_of(spec));
    key::spki(&slot, transport).expect("the slot is a valid one")
}

fn seed_of(spec: &Spec) -> u64 {
    let mix = |mix: u64, byte: &u8| mix.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte);
    spec.id.bytes().iter().fold(spec.seed, mix)
}

fn transport_of(spec: &Spec, platform: &Platform) -> Transport {
    match platform.transport {
        _ if spec.electron_tcp => Transport::Tcp,
        other => other.unwrap_or(Transport::Udp),
    }
}

fn install(state: &mut State, spec: &mut Spec, platform: &'static Platform) {
    let given: Vec<Module> = spec
        .installed
        .drain(..)
        .map(|file| Module::read(&file).expect("an installed file is a firmware module"))
        .collect();
    let whole = given.is_empty();
    let generated = forge::factory_set(platform, spec.os_version, spec.protected, spec.seed);
    for file in generated {
        let module = Module::read(&file).expect("a generated file is a firmware module");
        let (kind, index) = (module.header.function, module.header.index);
        let missing = !given.iter().any(|m| (m.header.function, m.header.index) == (kind, index));
        if missing && (whole || matches!(kind, function::BOOTLOADER | function::RADIO)) {
            firmware::store(state, &module);
        }
    }
    for module in &given {
        firmware::store(state, module);
    }
}

impl Device {
    /// Lets everything happen that is due at `now`, in order.
    pub(super) fn run_until(&mut self, now: Mono) {
        while let Some(at) = self.next_event().filter(|at| *at <= now.0) {
            self.s.clock = self.s.clock.max(at);
            self.happen(at);
        }
        self.s.clock = self.s.clock.max(now.0);
    }

    /// When the next thing happens by itself.
    pub(super) fn next_event(&self) -> Option<Duration> {
        let booting = match self.s.mode {
            Mode::Off | Mode::Nothing => return None,
            Mode::Booting(at, _) => Some(at),
            Mode::Dfu | Mode::Run { .. } => None,
        };
        let service = self.s.service.as_ref().map(|s| s.until);
        let pending = self.s.pending.map(|(at, _)| at);
        [booting, pending, service, self.s.cloud.next()].into_iter().flatten().min()
    }

    fn happen(&mut self, at: Duration) {
        if let Mode::Booting(ready, into) = self.s.mode
            && ready <= at
        {
            return self.booted(ready, into);
        }
        if let Some((due, act)) = self.s.pending
            && due <= at
        {
            self.s.pending = None;
            return self.act(due, act);
        }
        if self.s.service.as_ref().is_some_and(|s| s.until <= at) {
            self.s.service = None;
            return;
        }
        self.cloud_event(at);
    }

    fn act(&mut self, at: Duration, act: Act) {
        match act {
            Act::Reset(Boot::Dfu)
                if self
                    .s
                    .mishaps
                    .bites(&mut self.s.counters, |m| *m == DeviceMishap::RefuseEnterDfu) =>
            {
                self.reset(at, Boot::Normal);
            }
            Act::Reset(boot) => self.reset(at, boot),
            Act::Factory => {
                self.restore_factory_image();
                self.reset(at, Boot::Normal);
            }
            Act::Update => {
                let image = self.s.update.take().map(|u| u.data);
                self.s.marked = image;
                self.reset(at, Boot::Normal);
            }
        }
    }

    /// Resets the processor: off the bus, RAM lost, and on to what the bootloader decides.
    pub(super) fn reset(&mut self, at: Duration, boot: Boot) {
        if self.attachment().is_some() {
            self.happened.push(Happening::Detached);
        }
        self.forget_ram();
        self.s.service = self.s.service.take().and_then(super::protection::Service::after_reset);
        let other = self
            .s
            .mishaps
            .take(&mut self.s.counters, |m| matches!(m, DeviceMishap::ReturnsAsOtherId(_)));
        if let Some(DeviceMishap::ReturnsAsOtherId(id)) = other {
            self.s.other_id = Some(id);
        }
        let dead = self.s.mishaps.bites(&mut self.s.counters, |m| *m == DeviceMishap::NoBoot);
        self.s.mode = match self.installed().start() {
            _ if dead => Mode::Nothing,
            Start::Nothing => Mode::Nothing,
            _ if let Some(image) = &self.s.marked => {
                let blocks = u32::try_from(image.len().div_ceil(64 << 10)).unwrap_or(u32::MAX);
                Mode::Booting(at + self.timing.apply_per_64k * blocks, Into::Again)
            }
            start if boot == Boot::Dfu || start == Start::Dfu => Mode::Booting(at + self.timing.boot_dfu, Into::Dfu),
            start => Mode::Booting(
                at + self.timing.boot,
                Into::Run {
                    safe: boot == Boot::Safe || start == Start::Safe,
                },
            ),
        };
        self.s.protection.protected = self.installed().bootloader().is_some_and(|b| b.module.protects());
    }

    /// Everything that does not survive a reset.
    pub(super) fn forget_ram(&mut self) {
        self.s.pending = None;
        self.s.under_way = None;
        self.s.control = Control::default();
        self.s.dfu = Dfu::new();
        self.s.update = None;
        self.s.cloud = Cloud::Off;
        self.s.auto_connect = true;
        self.s.last_error = 0;
        self.s.attempts = 0;
        self.s.protection.forget();
        if let Some(helper) = &mut self.s.helper {
            helper.forget();
        }
    }

    fn booted(&mut self, at: Duration, into: Into) {
        match into {
            Into::Again => {
                if let Some(image) = self.s.marked.take() {
                    self.apply(&image);
                }
                self.s.mode = Mode::Nothing;
                return self.reset(at, Boot::Normal);
            }
            Into::Dfu => self.s.mode = Mode::Dfu,
            Into::Run { safe } => {
                let listening = std::mem::take(&mut self.s.start_listening);
                self.s.mode = Mode::Run { safe, listening };
                if !listening {
                    self.s.cloud = Cloud::Init(at + self.timing.cloud_init);
                }
            }
        }
        self.s.counters.boots += 1;
        self.happened.push(Happening::Attached);
    }
}

/// Firmware of the network coprocessor as it leaves the factory.
const NCP_VERSION: u16 = 5;
