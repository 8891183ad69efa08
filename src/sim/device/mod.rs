//! A simulated device at wire level: setup packets in, bytes or a stall out; flash, keys, boot and cloud layer behind it.
//!
//! Written from the protocol reference alone and by other hands than the station's protocols: it has its own platform
//! table, its own reader of modules and its own key code, and takes nothing of ours but ids and USB's plain types. It knows
//! no bus, no cloud and no clock: whoever owns it tells it the time and carries out what it asks for.

mod blob;
mod boot;
mod chance;
mod control;
mod dct;
mod descriptors;
mod dfu;
mod firmware;
mod flash;
mod forge;
mod key;
mod layout;
mod memory;
mod mishap;
mod module;
mod network;
mod platform;
mod power;
mod protection;
mod proto;
mod requests;
mod spec;
mod standard;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    edge::{Setup, UsbError},
    model::{DeviceId, Mono},
};

use blob::Blob;
use boot::Boot;
use chance::Chance;
use control::Control;
use dct::Dct;
use dfu::Dfu;
use flash::Flash;
use layout::Installed;
use mishap::Mishaps;
use network::Cloud;
use platform::{Platform, Transport};
use power::UnderWay;

pub use forge::Forge;
pub use key::{RsaNumbers, ec_key};
pub use mishap::{Counters, DeviceMishap};
pub use network::{Dial, Dialled};
pub use spec::{AccessPoint, Spec, StartKey, StartServer, Timing};

/// One simulated device.
#[derive(Clone)]
pub struct Device {
    platform: &'static Platform,
    timing: Timing,
    s: State,
    /// What lies in flash, as of an edition of it.
    seen: Option<(u64, Installed)>,
    happened: Vec<Happening>,
}

/// What the bus sees of an attached device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// Serial number string.
    pub serial: String,
}

/// How a control transfer went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The data of an IN transfer, nothing for an OUT transfer, or how it failed. On [`UsbError::Timeout`] the device never
    /// answers: the caller waits as long as the host is ready to wait.
    pub result: Result<Vec<u8>, UsbError>,
    /// How long it takes on the wire and in flash.
    pub takes: Duration,
}

/// What a device did by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It left the bus.
    Detached,
    /// It is on the bus again; see [`Device::attachment`].
    Attached,
    /// It dials the cloud and waits for [`Device::dialled`].
    Dial(Dial),
}

/// A stored device that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum BadDevice {
    /// The bytes are not a stored device.
    #[error("reading a stored device")]
    Json(#[from] serde_json::Error),
    /// The simulator has no such platform.
    #[error("a stored device has the unknown platform {0}")]
    Platform(u16),
}

/// Everything that is stored.
#[derive(Clone, Serialize, Deserialize)]
struct State {
    spec: Spec,
    /// The last time that the device was told.
    clock: Duration,
    mode: Mode,
    pending: Option<(Duration, Act)>,
    under_way: Option<UnderWay>,
    flash: Flash,
    dct: Dct,
    chance: Chance,
    counters: Counters,
    mishaps: Mishaps,
    dfu: Dfu,
    control: Control,
    protection: protection::Protection,
    service: Option<protection::Service>,
    cloud: Cloud,
    /// The application does not keep it from dialling.
    auto_connect: bool,
    session: Option<network::Session>,
    networks: Vec<network::Known>,
    update: Option<firmware::Receiving>,
    /// Images that the bootloader applies at the next reset.
    marked: Option<Blob>,
    assets: Vec<firmware::Stored>,
    ncp: Option<u16>,
    start_listening: bool,
    ethernet: bool,
    /// It came back as another device.
    other_id: Option<DeviceId>,
    line_coding: Blob,
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    /// Without power.
    Off,
    /// With power and off the bus, for good.
    Nothing,
    /// Off the bus until then.
    Booting(Duration, Into),
    /// Bootloader.
    Dfu,
    /// Device OS.
    Run {
        /// Without the user part.
        safe: bool,
        /// Listening mode.
        listening: bool,
    },
}

/// What a boot ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Into {
    Dfu,
    Run {
        safe: bool,
    },
    /// An update was applied; boot again.
    Again,
}

/// What a device is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Act {
    Reset(Boot),
    Factory,
    Update,
}

impl Device {
    /// A device with its power on that is about to boot.
    ///
    /// # Panics
    /// If the simulator has no such platform: see [`Device::knows`].
    pub fn new(spec: Spec, timing: Timing) -> Self {
        let platform = Platform::find(spec.platform).expect("a platform that the simulator knows");
        let mut device = Self {
            platform,
            timing,
            s: boot::factory(spec, platform),
            seen: None,
            happened: Vec::new(),
        };
        device.reset(Duration::ZERO, Boot::Normal);
        device
    }

    /// True if the simulator can be a device of this platform.
    pub fn knows(platform: u16) -> bool {
        Platform::find(platform).is_some()
    }

    /// The id that it answers to.
    pub fn id(&self) -> DeviceId {
        self.s.other_id.unwrap_or(self.s.spec.id)
    }

    /// What the bus sees while it is attached; `None` while it is off the bus.
    pub fn attachment(&self) -> Option<Attachment> {
        let dfu = match self.s.mode {
            Mode::Dfu => true,
            Mode::Run { .. } => false,
            Mode::Off | Mode::Nothing | Mode::Booting(..) => return None,
        };
        Some(Attachment {
            vendor: 0x2b04,
            product: if dfu {
                self.platform.dfu_product()
            } else {
                self.platform.normal_product()
            },
            serial: self.serial_string(),
        })
    }

    /// Handles one control transfer at time `now`. `data` is that of an OUT transfer. What the device does because of it,
    /// such as leaving the bus, comes from the next [`Device::advance`].
    pub fn control(&mut self, now: Mono, setup: Setup, data: &[u8]) -> Transfer {
        self.run_until(now);
        let gone = Transfer {
            result: Err(UsbError::Gone),
            takes: Duration::ZERO,
        };
        if self.attachment().is_none() {
            return gone;
        }
        self.s.counters.transfers += 1;
        if self.turn(|m| match m {
            DeviceMishap::VanishAfter(left) => Some(left),
            _ => None,
        }) {
            self.vanish();
            return gone;
        }
        let stalled = self.s.mode == Mode::Dfu
            && self.turn(|m| match m {
                DeviceMishap::StallAfter(left) => Some(left),
                _ => None,
            });
        let mut transfer = if stalled { stall() } else { self.answer(now.0, setup, data) };
        let length = transfer.result.as_ref().map_or(0, Vec::len).max(data.len());
        transfer.takes += self.timing.transfer + self.timing.wire_per_kib * u32::try_from(length).unwrap_or(u32::MAX) / 1024;
        transfer
    }

    /// The next instant at which something happens by itself, if any; it may be in the past.
    pub fn due(&self) -> Option<Mono> {
        if !self.happened.is_empty() {
            return Some(Mono(self.s.clock));
        }
        self.next_event().map(Mono)
    }

    /// Lets everything happen that is due at `now`.
    pub fn advance(&mut self, now: Mono) -> Vec<Happening> {
        self.run_until(now);
        std::mem::take(&mut self.happened)
    }

    /// A reset of the bus: all control requests are cancelled, the bootloader's DFU starts anew.
    pub fn bus_reset(&mut self, now: Mono) {
        self.run_until(now);
        self.s.control = Control::default();
        if !self.s.dfu.is_stuck() {
            self.s.dfu = Dfu::new();
        }
    }

    /// Makes something go wrong.
    pub fn inject(&mut self, mishap: DeviceMishap) {
        self.s.mishaps.add(mishap);
    }

    /// Takes back every mishap that has not fired or that stays.
    pub fn heal(&mut self) {
        self.s.mishaps.clear();
    }

    /// The DCT as bytes.
    pub fn dct(&self) -> &[u8] {
        self.s.dct.bytes()
    }

    /// The public key, SPKI in DER, that the device can prove with the private key in its slot, if it can.
    pub fn key_spki(&self) -> Option<Vec<u8>> {
        let transport = self.transport();
        key::spki(self.s.dct.field(dct::private_field(transport)), transport)
    }

    /// Flash content at an address of the DFU memory maps (external flash from 0x8000_0000 on).
    pub fn flash(&self, address: u32, length: usize) -> Vec<u8> {
        self.s.flash.read(address, length)
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Counters {
        &self.s.counters
    }

    /// It has a connection to the cloud.
    pub fn connected(&self) -> bool {
        matches!(self.s.cloud, Cloud::Connected)
    }

    /// It is in safe mode: Device OS without a user part.
    pub fn in_safe_mode(&self) -> bool {
        matches!(self.s.mode, Mode::Run { safe: true, .. })
    }

    /// It is Protected, and Service Mode is not on.
    pub fn is_protected(&self) -> bool {
        self.enforced()
    }

    /// The whole device: flash, DCT, mode, what it was about to do.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            timing: self.timing.clone(),
            state: self.s.clone(),
        };
        serde_json::to_vec(&stored).expect("plain data with text keys has a JSON form")
    }

    /// A stored device, at `now` of a clock that need not be the one it was stored under.
    pub fn from_bytes(bytes: &[u8], now: Mono) -> Result<Self, BadDevice> {
        let Stored { timing, mut state } = serde_json::from_slice(bytes)?;
        let platform = Platform::find(state.spec.platform).ok_or(BadDevice::Platform(state.spec.platform))?;
        state.shift(now.0);
        Ok(Self {
            platform,
            timing,
            s: state,
            seen: None,
            happened: Vec::new(),
        })
    }

    fn turn(&mut self, which: impl Fn(&mut DeviceMishap) -> Option<&mut u32>) -> bool {
        self.s.mishaps.turn(&mut self.s.counters, which)
    }

    fn vanish(&mut self) {
        self.forget_ram();
        self.s.mode = Mode::Nothing;
        self.happened.push(Happening::Detached);
    }

    /// The transport that the device uses: an Electron has a switch for it in the DCT.
    fn transport(&self) -> Transport {
        match (self.platform.id, self.s.dct.field(dct::CLOUD_TRANSPORT)) {
            (10, [0]) => Transport::Tcp,
            _ => self.platform.transport.unwrap_or(Transport::Udp),
        }
    }

    fn serial_string(&self) -> String {
        if self.s.spec.fixed_dfu_serial && self.s.mode == Mode::Dfu {
            return "00000000010C".into();
        }
        self.id().to_string()
    }

    /// What lies in flash.
    fn installed(&mut self) -> &Installed {
        let edition = self.s.flash.edition();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != edition) {
            self.seen = Some((edition, Installed::scan(&self.s.flash, self.platform, self.s.ncp)));
        }
        &self.seen.as_ref().expect("it was just put there").1
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    timing: Timing,
    state: State,
}

impl State {
    /// Moves all instants from the clock that they were taken from to one that shows `now`.
    fn shift(&mut self, now: Duration) {
        let then = self.clock;
        let moved = |at: &mut Duration| *at = now + at.saturating_sub(then);
        if let Mode::Booting(at, _) = &mut self.mode {
            moved(at);
        }
        if let Some((at, _)) = &mut self.pending {
            moved(at);
        }
        if let Some(service) = &mut self.service {
            moved(&mut service.until);
        }
        self.cloud.shift(moved);
        self.control.shift(moved);
        self.protection.shift(moved);
        self.under_way = None;
        self.clock = now;
    }
}

const fn stall() -> Transfer {
    Transfer {
        result: Err(UsbError::Stall),
        takes: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests;
