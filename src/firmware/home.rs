//! The table of places: where on each platform a module of each kind lives (device-protocol.md 3.7, 5.3, 5.4).

use std::ops::Range;

use super::Module;
use crate::model::{
    Platform,
    module::ModuleFunction,
    platform::Family::{Nrf52840, Rtl872x, Stm32f1, Stm32f2},
};

/// Where modules of a kind live.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// In the flash that the processor runs from.
    Flash { bounds: Range<u32>, anchor: Anchor, dfu: bool },
    /// In a store that the running system keeps: assets, and the firmware of a network processor.
    Elsewhere { limit: u64 },
    /// Never replaced.
    Skipped,
}

/// What of a place is fixed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The module starts where its place starts.
    Start,
    /// The module ends where its place ends: it grows to the left.
    End,
    /// The module starts at a page of this many bytes: its address changed between versions, only its header knows it.
    Page(u32),
}

/// Where a module of this kind lives on `platform`; `None` if it has no place there.
pub(super) fn home(platform: Platform, module: &Module) -> Option<Home> {
    use ModuleFunction::{Asset, Bootloader, Monolithic, NcpFirmware, RadioStack, SystemPart, UserPart};
    let header = module.header();
    let dfu = |bounds, anchor| {
        Some(Home::Flash {
            bounds,
            anchor,
            dfu: true,
        })
    };
    // The device checks the place of an update itself, so a start behind an image header is no reason to refuse.
    let update = |bounds| {
        Some(Home::Flash {
            bounds,
            anchor: Anchor::Page(4),
            dfu: false,
        })
    };
    let electron = platform == Platform::Electron;
    match (platform.family(), header.function, header.index) {
        (_, Asset, _) => asset_limit(platform).map(|limit| Home::Elsewhere { limit }),

        (Stm32f1, Monolithic | UserPart, _) => dfu(0x0800_5000..0x0802_0000, Anchor::Start),

        (Stm32f2, Bootloader, 0) => update(0x0800_0000..0x0800_4000),
        (Stm32f2, SystemPart, 1) if electron => dfu(0x0802_0000..0x0804_0000, Anchor::Start),
        (Stm32f2, SystemPart, 2) if electron => dfu(0x0804_0000..0x0806_0000, Anchor::Start),
        (Stm32f2, SystemPart, 3) if electron => dfu(0x0806_0000..0x0808_0000, Anchor::Start),
        (Stm32f2, UserPart, 1) if electron => dfu(0x0808_0000..0x080a_0000, Anchor::Start),
        (Stm32f2, Monolithic, _) if electron => dfu(0x0802_0000..0x080a_0000, Anchor::Start),
        (Stm32f2, SystemPart, 1) => dfu(0x0802_0000..0x0806_0000, Anchor::Start),
        (Stm32f2, SystemPart, 2) => dfu(0x0806_0000..0x080a_0000, Anchor::Start),
        (Stm32f2, UserPart, 1) => dfu(0x080a_0000..0x080c_0000, Anchor::Start),
        (Stm32f2, Monolithic, _) => dfu(0x0802_0000..0x080c_0000, Anchor::Start),

        (Nrf52840, RadioStack, 0) => dfu(0x1000..0x3_0000, Anchor::Start),
        // Until the user part had 256 KiB, the system part reached up to the smaller one at 0xD4000.
        (Nrf52840, SystemPart, 1) if header.version < NRF_256K_SYSTEM => dfu(0x2_8000..0xd_4000, Anchor::Page(4096)),
        (Nrf52840, SystemPart, 1) => dfu(0x2_8000..0xb_4000, Anchor::Page(4096)),
        (Nrf52840, UserPart, 1) => dfu(0xd_4000..0xf_4000, Anchor::Start),
        (Nrf52840, UserPart, 2) => dfu(0xb_4000..0xf_4000, Anchor::Start),
        (Nrf52840, Monolithic, 0) => dfu(0x2_8000..0xf_4000, Anchor::Page(4096)),
        (Nrf52840, Bootloader, 0) => update(0xf_4000..0x10_0000),
        (Nrf52840, NcpFirmware, _) if NCP_PLATFORMS.contains(&platform) => Some(Home::Elsewhere { limit: NCP_LIMIT }),

        (Rtl872x, Bootloader, 0) => update(0x0800_4000..0x0801_4000),
        (Rtl872x, Bootloader, 1) => Some(Home::Skipped),
        (Rtl872x, Bootloader, 2) => update(0x0801_4000..0x0805_e000),
        (Rtl872x, SystemPart, 1) => dfu(0x0806_0000..0x081e_0000, Anchor::Start),
        (Rtl872x, UserPart, 1) => dfu(0x0848_0000..0x0860_0000, Anchor::End),
        _ => None,
    }
}

/// The longest asset module; `None` on platforms without a store for assets.
fn asset_limit(platform: Platform) -> Option<u64> {
    match platform {
        Platform::Argon | Platform::Boron | Platform::Bsom => Some(606_208),
        Platform::Esomx | Platform::B5som | Platform::Tracker | Platform::Electron2 => Some(1_572_864),
        p if p.family() == Rtl872x => Some(1_179_648),
        _ => None,
    }
}

/// How many blocks the store for assets has, without those that it keeps for itself.
pub(super) fn asset_blocks(platform: Platform) -> Option<u64> {
    let blocks = match platform {
        Platform::Esomx | Platform::B5som | Platform::Tracker | Platform::Electron2 => 512,
        _ => 288,
    };
    asset_limit(platform).map(|_| blocks - ASSET_RESERVED_BLOCKS)
}

/// How many blocks an asset module of this length takes: 8 bytes of each of its 4096 are the store's own.
pub(super) fn blocks_of(len: usize) -> u64 {
    (len as u64).div_ceil(4096 - 8)
}

/// Device OS 3.1.0, which gave the user part 256 KiB.
const NRF_256K_SYSTEM: u16 = 3100;
/// The boards with a network processor that takes modules.
const NCP_PLATFORMS: [Platform; 3] = [Platform::Argon, Platform::Asom, Platform::Tracker];
/// The OTA area: 1500 KiB.
const NCP_LIMIT: u64 = 1500 * 1024;
const ASSET_RESERVED_BLOCKS: u64 = 10;
