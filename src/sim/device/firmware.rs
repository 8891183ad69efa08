//! Firmware over control requests: receiving, checking and applying an update (device-protocol.md 2.6, 5.3).
//!
//! The same code puts modules where they belong when a device is made.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Act, Blob, Device, State,
    layout::{self, Installed},
    module::{Module, function},
    platform::{Family, Platform},
    proto::{Fields, Message},
    requests::{Reply, error},
};

/// An update that is being received.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Receiving {
    size: usize,
    pub(super) data: Blob,
}

/// An asset on the device.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    hash: Blob,
    name: String,
    size: u32,
}

impl Device {
    /// START_FIRMWARE_UPDATE.
    pub(super) fn update_start(&mut self, payload: &[u8]) -> Reply {
        self.s.update = None;
        let Some(request) = Fields::read(payload) else {
            return error(-280);
        };
        let size = usize::try_from(request.number(1)).unwrap_or(usize::MAX);
        if request.number(2) != 0 {
            return error(-120);
        }
        let (_, room) = self.platform.ota();
        if size == 0 || size > room as usize {
            return error(-1351);
        }
        self.s.update = Some(Receiving {
            size,
            data: Blob(Vec::new()),
        });
        let pages = u32::try_from(size.div_ceil(4096)).unwrap_or(u32::MAX);
        Reply {
            takes: self.timing.nor_erase * pages,
            ..Reply::body(Message::new().number(1, CHUNK))
        }
    }

    /// FIRMWARE_UPDATE_DATA. Any error cancels the update.
    pub(super) fn update_data(&mut self, payload: &[u8]) -> Reply {
        let Some(mut update) = self.s.update.take() else {
            return error(-210);
        };
        let Some(request) = Fields::read(payload) else {
            return error(-280);
        };
        let data = request.bytes(1).unwrap_or_default();
        if data.is_empty() || data.len() > update.size - update.data.len() {
            return error(-290);
        }
        update.data.extend(data);
        self.s.update = Some(update);
        Reply {
            takes: self.timing.nor_program * u32::try_from(data.len()).unwrap_or(u32::MAX) / 4096,
            ..Reply::ok()
        }
    }

    /// FINISH_FIRMWARE_UPDATE: the reply comes first, the reset after it.
    pub(super) fn update_finish(&mut self, payload: &[u8]) -> Reply {
        let Some(request) = Fields::read(payload) else {
            return error(-280);
        };
        let Some(update) = self.s.update.take().filter(|u| u.data.len() == u.size) else {
            return error(-210);
        };
        let (platform, installed) = (self.platform, self.installed());
        if let Err(code) = check(&update.data, platform, installed) {
            return error(code);
        }
        let only = request.number(1) != 0;
        if !only {
            self.s.update = Some(update);
        }
        Reply {
            act: (!only).then_some(Act::Update),
            ..Reply::ok()
        }
    }

    /// Puts the modules of a checked image where they belong.
    pub(super) fn apply(&mut self, image: &[u8]) {
        for module in parts(image).unwrap_or_default() {
            store(&mut self.s, &module);
            // What the coprocessor runs does not show in the flash that is looked through.
            self.seen = None;
        }
    }

    /// GET_ASSET_INFO.
    pub(super) fn asset_info(&mut self) -> Message {
        let required = self
            .installed()
            .user()
            .map(|u| u.module.required_assets())
            .unwrap_or_default();
        let mut reply = Message::new();
        for asset in &self.s.assets {
            let stored = u64::from(asset.size).div_ceil(4088) * 4096;
            let message = Message::new().bytes(1, &asset.hash).bytes(2, asset.name.as_bytes());
            reply = reply.message(1, message.number(3, u64::from(asset.size)).number(4, stored));
        }
        for asset in required {
            reply = reply.message(2, Message::new().bytes(1, &asset.hash).bytes(2, asset.name.as_bytes()));
        }
        reply
    }
}

/// Puts one module where it belongs, without asking whether it should.
///
/// Modules whose place is not known go where their header says.
pub(super) fn store(state: &mut State, module: &Module) {
    let image = module.image().unwrap_or_default();
    match module.header.function {
        function::NCP => state.ncp = Some(module.header.version),
        function::ASSET => {
            let Some(asset) = module.asset() else { return };
            state.assets.retain(|a| a.name != asset.name);
            let data = content(module, &image);
            state.assets.push(Stored {
                hash: asset.hash.into(),
                name: asset.name,
                size: u32::try_from(data.len()).unwrap_or(u32::MAX),
            });
        }
        _ => {
            let length = u32::try_from(image.len()).unwrap_or(u32::MAX);
            state.flash.erase(module.header.start, length);
            state.flash.load(module.header.start, &image);
        }
    }
}

/// The file in an asset: unpacked already, or the image without the suffix.
fn content<'a>(module: &Module, image: &'a [u8]) -> &'a [u8] {
    let packed = module.header.flags & 0x02 != 0;
    let size = module
        .bytes
        .len()
        .checked_sub(6)
        .map(|at| usize::from(u16::from_le_bytes([module.bytes[at], module.bytes[at + 1]])));
    let length = size.and_then(|s| image.len().checked_sub(s + 4)).filter(|_| !packed);
    &image[..length.unwrap_or(image.len())]
}

/// The modules in an image, or the result code for one that is not made of one or two.
fn parts(mut image: &[u8]) -> Result<Vec<Module>, i32> {
    let mut all = Vec::new();
    while !image.is_empty() {
        if all.len() == MOST_COMBINED {
            return Err(FORMAT);
        }
        let header = super::module::Header::find(image).ok_or(NOT_FOUND)?;
        let module = Module::with(header, image).ok_or(SIZE)?;
        let more = module.header.flags & 0x04 != 0;
        image = &image[module.header.length()..];
        if more == image.is_empty() {
            return Err(FORMAT);
        }
        all.push(module);
    }
    Ok(all)
}

/// The checks before an update is accepted.
fn check(image: &[u8], platform: &'static Platform, installed: &Installed) -> Result<(), i32> {
    let all = parts(image)?;
    for module in &all {
        let header = &module.header;
        if !module.crc_ok || !module.hash_ok {
            return Err(INTEGRITY);
        }
        let asset = header.function == function::ASSET;
        if header.platform != platform.id && !(asset && header.platform == 0) {
            return Err(PLATFORM);
        }
        let image = module.image().ok_or(FORMAT)?;
        match header.function {
            function::ASSET => {
                let asset = module.asset().ok_or(FORMAT)?;
                if Sha256::digest(content(module, &image)).as_slice() != asset.hash {
                    return Err(INTEGRITY);
                }
            }
            function::NCP if platform.ncp => {}
            function::BOOTLOADER | function::SYSTEM | function::MONO | function::USER => fits(platform, module, image.len())?,
            function::RADIO if platform.family == Family::Nrf => fits(platform, module, image.len())?,
            _ => return Err(UNSUPPORTED),
        }
        let comes = |need: &super::module::Dependency| {
            all.iter()
                .any(|m| (m.header.function, m.header.index) == (need.function, need.index) && m.header.version >= need.version)
        };
        if !module.dependencies().iter().all(|need| installed.has(*need) || comes(need)) {
            return Err(DEPENDENCY);
        }
    }
    Ok(())
}

fn fits(platform: &Platform, module: &Module, length: usize) -> Result<(), i32> {
    let (first, end) = layout::room(platform, &module.header).ok_or(ADDRESS)?;
    if !(first..end).contains(&module.header.start) {
        return Err(ADDRESS);
    }
    if length > (end - module.header.start) as usize {
        Err(SIZE)
    } else {
        Ok(())
    }
}

/// chunk_size of current firmware.
const CHUNK: u64 = 1024;
/// MAX_COMBINED_MODULE_COUNT.
const MOST_COMBINED: usize = 2;
const NOT_FOUND: i32 = -1300;
const UNSUPPORTED: i32 = -1310;
const INTEGRITY: i32 = -1330;
const DEPENDENCY: i32 = -1340;
const ADDRESS: i32 = -1350;
const SIZE: i32 = -1351;
const PLATFORM: i32 = -1360;
const FORMAT: i32 = -1370;
