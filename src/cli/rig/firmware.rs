//! The firmware of a rig's recipes: generated modules, or real ones from a folder where they go together.

use std::{fs, io, path::Path};

use crate::{
    firmware::{Extension, Module, ModuleBuilder, Plan, plan::Target},
    model::{
        Platform,
        fact::Protection,
        module::ModuleFunction,
        platform::{Family, UsbMode},
    },
};

/// Modules with their file names.
pub(super) type Files = Vec<(String, Module)>;

/// An application of `len` bytes in all, and for nRF a bootloader, which goes through the running system.
pub(super) fn generated(platform: Platform, os: u16, len: usize) -> Files {
    let seed = u64::from(platform.id());
    let application = |content| {
        let builder = |index| {
            ModuleBuilder::new(ModuleFunction::UserPart, index, 2)
                .platform(platform)
                .seeded_content(seed, content)
        };
        match platform.family() {
            Family::Nrf52840 => builder(2).start(0xb_4000).needs(ModuleFunction::SystemPart, 1, os),
            Family::Rtl872x => {
                let start = RTL_END - u32::try_from(len).unwrap_or(0);
                let location = Extension::DynamicLocation {
                    start,
                    dynalib_load: 0,
                    dynalib_start: start,
                };
                builder(1)
                    .ends_at(RTL_END)
                    .suffix_extensions([location])
                    .needs(ModuleFunction::SystemPart, 1, os)
            }
            Family::Stm32f2 if platform == Platform::Electron => {
                builder(1).start(0x0808_0000).needs(ModuleFunction::SystemPart, 2, os)
            }
            Family::Stm32f2 => builder(1).start(0x080a_0000).needs(ModuleFunction::SystemPart, 2, os),
            Family::Stm32f1 => builder(1).start(0x0800_5000),
        }
    };
    let built = |builder: ModuleBuilder| builder.build().expect("a module of our own making");
    // What header and suffix take: applications of RTL grow to the left from a fixed end and begin with a sector.
    let rest = built(application(1)).bytes().len() - 1;
    let mut all = vec![(
        format!("{platform}-application.bin"),
        built(application(len.saturating_sub(rest).max(1))),
    )];
    if platform.family() == Family::Nrf52840 {
        let bootloader = ModuleBuilder::new(ModuleFunction::Bootloader, 0, 3200)
            .platform(platform)
            .start(0xf_4000)
            .vector_table(0x200)
            .seeded_content(seed + 1, 16 << 10);
        all.push((format!("{platform}-bootloader.bin"), built(bootloader)));
    }
    all
}

/// The modules of a folder for a platform that go together, bootloader first; what is left out is said in `notes`.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn real(folder: &Path, platform: Platform, notes: &mut Vec<String>) -> io::Result<Files> {
    let mut found: Files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".bin") {
            continue;
        }
        match Module::parse(fs::read(&path)?) {
            Ok(module) if module.platform() == Some(platform) && module.verify().is_ok() => {
                let header = module.header();
                // Applications of the old place are not looked at by a system of today (device-protocol.md 5.4).
                if platform.family() == Family::Nrf52840 && header.function == ModuleFunction::UserPart && header.index == 1 {
                    notes.push(format!("{platform}: {name} is left out: it is for Device OS before 3.1"));
                } else {
                    found.push((name, module));
                }
            }
            _ => {}
        }
    }
    found.sort_by_key(|(name, module)| (module.header().function, module.header().index, name.clone()));
    let target = Target {
        platform,
        protection: Protection::Open,
        mode: UsbMode::Normal,
    };
    let mut together: Files = Vec::new();
    for (name, module) in found {
        let mut set: Vec<Module> = together.iter().map(|(_, module)| module.clone()).collect();
        set.push(module.clone());
        match Plan::new(target, &set, None) {
            Ok(_) => together.push((name, module)),
            Err(why) => notes.push(format!("{platform}: {name} is left out: {why}")),
        }
    }
    Ok(together)
}

/// Applications of RTL devices end here (device-protocol.md 5.4).
const RTL_END: u32 = 0x0860_0000;
