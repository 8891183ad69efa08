//! Everything about a device that outlives a process: stored as one file and taken up again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{DeviceId, Mono};

use super::{
    Blob, Chance, Control, Counters, Dct, Device, Dfu, Flash, Mishaps, Platform, Spec, Timing, boot::Boot, firmware,
    key_helper::KeyHelper, network, network::Cloud, power::UnderWay, protection,
};

/// A stored device that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum BadDevice {
    /// The bytes are not a stored device.
    #[error("reading a stored device")]
    Json(#[from] serde_json::Error),
    /// Another version of the simulator wrote it.
    #[error("a stored device has format {0} instead of {FORMAT}")]
    Format(u32),
    /// A memory has not the size that the platform gives it.
    #[error("a stored device has memories of the wrong size")]
    Memory,
    /// The simulator has no such platform.
    #[error("a stored device has the unknown platform {0}")]
    Platform(u16),
}

/// Everything that is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) spec: Spec,
    /// The last time that the device was told.
    pub(super) clock: Duration,
    pub(super) mode: Mode,
    pub(super) pending: Option<(Duration, Act)>,
    pub(super) under_way: Option<UnderWay>,
    pub(super) flash: Flash,
    pub(super) dct: Dct,
    pub(super) chance: Chance,
    pub(super) counters: Counters,
    pub(super) mishaps: Mishaps,
    pub(super) dfu: Dfu,
    pub(super) control: Control,
    pub(super) protection: protection::Protection,
    pub(super) service: Option<protection::Service>,
    pub(super) cloud: Cloud,
    /// The application does not keep it from dialling.
    pub(super) auto_connect: bool,
    pub(super) session: Option<network::Session>,
    /// The number of the last error of a handshake since the start, 0 without one.
    #[serde(default)]
    pub(super) last_error: i32,
    /// How often it dialled since the start.
    #[serde(default)]
    pub(super) attempts: u32,
    /// The library in its application that keeps a copy of the key.
    #[serde(default)]
    pub(super) helper: Option<KeyHelper>,
    pub(super) networks: Vec<network::Known>,
    pub(super) update: Option<firmware::Receiving>,
    /// Images that the bootloader applies at the next reset.
    pub(super) marked: Option<Blob>,
    pub(super) assets: Vec<firmware::Stored>,
    pub(super) ncp: Option<u16>,
    pub(super) start_listening: bool,
    pub(super) ethernet: bool,
    /// It came back as another device.
    pub(super) other_id: Option<DeviceId>,
    pub(super) line_coding: Blob,
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
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
pub(super) enum Into {
    Dfu,
    Run {
        safe: bool,
    },
    /// An update was applied; boot again.
    Again,
}

/// What a device is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Act {
    Reset(Boot),
    Factory,
    Update,
}

impl Device {
    /// The whole device: flash, DCT, mode, what it was about to do.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            format: FORMAT,
            timing: self.timing.clone(),
            state: self.s.clone(),
        };
        serde_json::to_vec(&stored).expect("plain data with text keys has a JSON form")
    }

    /// A stored device, at `now` of a clock that need not be the one it was stored under.
    pub fn from_bytes(bytes: &[u8], now: Mono) -> Result<Self, BadDevice> {
        let Stored {
            format,
            timing,
            mut state,
        } = serde_json::from_slice(bytes)?;
        if format != FORMAT {
            return Err(BadDevice::Format(format));
        }
        let platform = Platform::find(state.spec.platform).ok_or(BadDevice::Platform(state.spec.platform))?;
        if state.dct.bytes().len() != platform.dct_size() || !state.flash.is_whole() {
            return Err(BadDevice::Memory);
        }
        state.shift(now.0);
        Ok(Self {
            platform,
            timing,
            s: state,
            seen: None,
            happened: Vec::new(),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
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

/// Changes whenever a device stored before could not be read any more.
const FORMAT: u32 = 1;
