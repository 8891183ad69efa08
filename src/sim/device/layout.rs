//! What lies where in flash, and what a bootloader makes of it (device-protocol.md 3.7, 5.4, 5.6).
//!
//! It looks and judges; it changes nothing.

use super::{
    flash::Flash,
    forge::SOFTDEVICE_MAGIC,
    module::{self, Dependency, Header, Module, function},
    platform::{Family, Platform},
};

/// A module in its place.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) module: Module,
    /// The most bytes that its place holds.
    pub(super) room: u32,
    /// It ends inside of its place.
    pub(super) range: bool,
    /// It was built for this platform.
    pub(super) platform: bool,
    /// What it needs is there.
    pub(super) dependencies: bool,
}

impl Entry {
    /// All checks but that of what it needs.
    pub(super) const fn sound(&self) -> bool {
        self.module.crc_ok && self.range && self.platform
    }

    /// It may run.
    pub(super) const fn good(&self) -> bool {
        self.sound() && self.dependencies
    }
}

/// All modules of a device.
#[derive(Clone)]
pub(super) struct Installed {
    entries: Vec<Entry>,
    radio: Option<u16>,
    ncp: Option<u16>,
    /// What lies at the very start, before any module, still starts the processor.
    reset_vector: bool,
    platform: &'static Platform,
}

/// What a bootloader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing: the bootloader itself is gone. Only a probe helps.
    Nothing,
    /// No complete Device OS: it stays in DFU mode.
    Dfu,
    /// Device OS without a user part that could run.
    Safe,
    /// Device OS and the user part.
    Application,
}

impl Installed {
    /// Looks through the flash. `ncp` is the version of the network coprocessor's firmware, which lies elsewhere.
    pub(super) fn scan(flash: &Flash, platform: &'static Platform, ncp: Option<u16>) -> Self {
        let mut found = Self {
            entries: places(platform)
                .into_iter()
                .filter_map(|place| place.look(flash, platform))
                .collect(),
            radio: (platform.family == Family::Nrf).then(|| radio(flash)).flatten(),
            ncp,
            reset_vector: platform.family != Family::Nrf || flash.read(0, 8) == RESET_VECTOR,
            platform,
        };
        if let Some(area) = (platform.family == Family::Rtl).then(|| flash.read(RTL_USER_END - 4096, 4096)) {
            let place = module::dynamic_start(&area)
                .filter(|start| (RTL_USER_FIRST..RTL_USER_END).contains(start))
                .map(|start| Place::new(start, RTL_USER_END, 0, &[function::USER]));
            found.entries.extend(place.and_then(|p| p.look(flash, platform)));
        }
        // An old place inside of a newer one counts only while the newer one is unused.
        for (newer, old) in [(NRF_USER, NRF_USER_OLD), (NRF_SYSTEM, NRF_SYSTEM_OLD)] {
            if found.entries.iter().any(|e| e.module.header.start == newer && e.sound()) {
                found.entries.retain(|e| e.module.header.start != old);
            }
        }
        for at in 0..found.entries.len() {
            found.entries[at].dependencies = found.entries[at].module.dependencies().iter().all(|d| found.has(*d));
        }
        found
    }

    /// What the bootloader starts.
    pub(super) fn start(&self) -> Start {
        let loaders: &[u8] = if self.platform.family == Family::Rtl {
            &[0, 1, 2]
        } else {
            &[0]
        };
        let loads = |index: &u8| self.find(function::BOOTLOADER, *index).is_some_and(Entry::sound);
        if !self.reset_vector || !loaders.iter().all(loads) {
            return Start::Nothing;
        }
        if !self.system_complete() {
            return Start::Dfu;
        }
        let mono = self.find(function::MONO, 0).is_some_and(Entry::good);
        match self.user() {
            Some(user) if user.good() => Start::Application,
            _ if mono => Start::Application,
            _ => Start::Safe,
        }
    }

    /// All system parts are there and fit together.
    pub(super) fn system_complete(&self) -> bool {
        let last = match (self.platform.family, self.platform.id) {
            (Family::Gen2, 10) => 3,
            (Family::Gen2, _) => 2,
            _ => 1,
        };
        let parts = || (1..=last).map(|index| self.find(function::SYSTEM, index));
        let same = |a: &Entry, b: &Entry| a.module.header.version == b.module.header.version;
        let whole = parts().all(|part| part.is_some_and(Entry::good));
        let fitting = parts().flatten().zip(parts().flatten().skip(1)).all(|(a, b)| same(a, b));
        whole && fitting || self.find(function::MONO, 0).is_some_and(Entry::good)
    }

    /// The module version of the Device OS that would run, or 0.
    pub(super) fn os_version(&self) -> u16 {
        let system = self.find(function::SYSTEM, 1).or_else(|| self.find(function::MONO, 0));
        system.map_or(0, |entry| entry.module.header.version)
    }

    /// The user part, whatever its state.
    pub(super) fn user(&self) -> Option<&Entry> {
        self.entries.iter().find(|e| e.module.header.function == function::USER)
    }

    /// The bootloader, if it runs.
    pub(super) fn bootloader(&self) -> Option<&Entry> {
        self.find(function::BOOTLOADER, 0).filter(|e| e.sound())
    }

    /// The module with this function and index.
    pub(super) fn find(&self, function: u8, index: u8) -> Option<&Entry> {
        let mut all = self
            .entries
            .iter()
            .filter(|e| e.module.header.function == function && e.module.header.index == index);
        let first = all.next();
        first.filter(|e| e.sound()).or_else(|| all.find(|e| e.sound())).or(first)
    }

    /// All modules that have a header in flash.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Version of the radio stack, which keeps no header.
    pub(super) const fn radio(&self) -> Option<u16> {
        self.radio
    }

    /// The dependency is met.
    pub(super) fn has(&self, need: Dependency) -> bool {
        let version = match need.function {
            function::RADIO => self.radio,
            function::NCP => self.ncp,
            _ => self
                .find(need.function, need.index)
                .filter(|e| e.sound())
                .map(|e| e.module.header.version),
        };
        version.is_some_and(|v| v >= need.version)
    }
}

/// The room for a module with this header, as address of its first byte and of the byte after the last, if there is such a
/// place.
pub(super) fn room(platform: &Platform, header: &Header) -> Option<(u32, u32)> {
    if platform.family == Family::Nrf && header.function == function::RADIO {
        return Some((NRF_RADIO, 0x3_0000));
    }
    if platform.family == Family::Rtl && header.function == function::USER {
        return Some((RTL_USER_FIRST, RTL_USER_END));
    }
    let place = places(platform)
        .into_iter()
        .find(|p| p.start == header.start && p.functions.contains(&header.function))?;
    Some((place.start, place.end))
}

struct Place {
    start: u32,
    end: u32,
    offset: usize,
    functions: &'static [u8],
}

impl Place {
    const fn new(start: u32, end: u32, offset: usize, functions: &'static [u8]) -> Self {
        Self {
            start,
            end,
            offset,
            functions,
        }
    }

    fn look(&self, flash: &Flash, platform: &Platform) -> Option<Entry> {
        let head = flash.read(self.start, HEAD);
        let mut headers = [self.offset, 0, 0x184]
            .into_iter()
            .filter_map(|offset| Header::at(&head, offset));
        let header = headers.find(|h| h.start == self.start && self.functions.contains(&h.function))?;
        let room = self.end - self.start;
        let length = header.length();
        let module = Module::with(header, &flash.read(self.start, length))?;
        Some(Entry {
            range: length <= room as usize,
            platform: module.header.platform == platform.id,
            dependencies: false,
            room,
            module,
        })
    }
}

fn places(platform: &Platform) -> Vec<Place> {
    const LOADER: &[u8] = &[function::BOOTLOADER];
    const SYSTEM: &[u8] = &[function::SYSTEM, function::MONO];
    const USER: &[u8] = &[function::USER];
    match platform.family {
        Family::Gen2 => {
            let (step, parts, room) = if platform.id == 10 {
                (0x2_0000, 3, 0x2_0000)
            } else {
                (0x4_0000, 2, 0x4_0000)
            };
            let user = 0x0802_0000 + step * parts;
            let mut all = vec![Place::new(0x0800_0000, 0x0800_4000, 0x184, LOADER)];
            for part in 0..parts {
                let start = 0x0802_0000 + step * part;
                all.push(Place::new(start, start + room, 0x184, SYSTEM));
            }
            all.push(Place::new(user, user + 0x2_0000, 0, USER));
            all
        }
        Family::Nrf => vec![
            Place::new(0xf_4000, 0x10_0000, 0x200, LOADER),
            Place::new(NRF_SYSTEM, NRF_USER, 0x200, SYSTEM),
            Place::new(NRF_SYSTEM_OLD, NRF_USER_OLD, 0x200, SYSTEM),
            Place::new(NRF_USER, 0xf_4000, 0, USER),
            Place::new(NRF_USER_OLD, 0xf_4000, 0, USER),
        ],
        Family::Rtl => vec![
            Place::new(0x0800_0000, 0x0800_2000, 0x20, LOADER),
            Place::new(0x0800_4000, 0x0801_4000, 0x20, LOADER),
            Place::new(0x0801_4000, 0x0805_e000, 0x20, LOADER),
            Place::new(0x0806_0000, 0x081e_0000, 0, SYSTEM),
        ],
    }
}

/// The version of the radio stack, from the information structure that it keeps at 0x3000.
fn radio(flash: &Flash) -> Option<u16> {
    let info = flash.read(0x3000, 16);
    (info[4..8] == SOFTDEVICE_MAGIC.to_le_bytes()).then(|| u16::from_le_bytes([info[12], info[13]]))
}

/// Start of the radio stack on nRF52840.
pub(super) const NRF_RADIO: u32 = 0x1000;
/// Start of a user part with index 2 on nRF52840.
pub(super) const NRF_USER: u32 = 0xb_4000;
/// Start of a user part with index 1 on nRF52840 (Device OS up to 3.0).
pub(super) const NRF_USER_OLD: u32 = 0xd_4000;
/// Start of system part 1 on nRF52840, from 6.2.0 on and before.
const NRF_SYSTEM: u32 = 0x2_8000;
const NRF_SYSTEM_OLD: u32 = 0x3_0000;
const RTL_USER_FIRST: u32 = 0x0848_0000;
const RTL_USER_END: u32 = 0x0860_0000;
/// The first words of the master boot record in a simulated nRF52840: stack pointer and reset handler.
pub(super) const RESET_VECTOR: [u8; 8] = [0x00, 0x04, 0x00, 0x20, 0x85, 0x0a, 0x00, 0x00];
/// Enough for the header at each of the offsets.
const HEAD: usize = 0x200 + module::SIZE;
