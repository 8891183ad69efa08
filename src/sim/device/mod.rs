//! A simulated device at wire level: setup packets in, bytes or a stall out; flash, keys, boot and cloud layer behind it.
//!
//! Written from the protocol reference alone and by other hands than the station's protocols: it has its own platform
//! table, its own reader of modules and its own key code, and takes nothing of ours but ids and USB's plain types. It knows
//! no bus, no cloud and no clock: whoever owns it tells it the time and carries out what it asks for.

mod blob;
mod boot;
mod buttons;
mod chance;
mod control;
mod dct;
mod descriptors;
mod dfu;
mod dial;
mod firmware;
mod flash;
mod forge;
mod key;
mod key_helper;
mod layout;
mod memory;
mod mishap;
mod module;
mod module_info;
mod network;
mod old_keys;
mod platform;
mod power;
mod protection;
mod proto;
mod requests;
mod spec;
mod standard;
mod state;
mod wifi;

use std::time::Duration;

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
use state::{Act, Into, Mode, State};

pub use boot::key_before;
pub use buttons::Press;
pub use dial::{Dial, Dialled, Noticed};
pub use forge::Forge;
pub use key::{RsaNumbers, ec_key};
pub use mishap::{Counters, DeviceMishap};
pub use spec::{AccessPoint, Spec, StartHelper, StartKey, StartServer, Timing};
pub use state::BadDevice;

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
        self.s.control.cancel_all();
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

const fn stall() -> Transfer {
    Transfer {
        result: Err(UsbError::Stall),
        takes: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests;
