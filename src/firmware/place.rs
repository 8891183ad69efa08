//! Fitness: whether a module may go onto a platform, by which way, and to which address (device-protocol.md 3.7, 5.4, 5.6).
//! Everything here is asked before the first erase.

use std::ops::Range;

use super::{
    Flags, Module, ModuleError,
    home::{Anchor, Home, home},
};
use crate::model::{Platform, module::ModuleFunction, platform::Family::Stm32f1};

/// How a module gets onto a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Written by DFU, in DFU mode.
    Dfu {
        /// Alternate setting.
        alt: u8,
        /// First address.
        address: u32,
    },
    /// Sent to the running system (control requests 250 to 253), which checks and applies it.
    Update,
}

/// Where a module goes and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// By which way.
    pub way: Way,
    /// Exactly the bytes that are written or sent.
    pub bytes: Vec<u8>,
}

/// What is to be done with a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Put it there.
    Place(Placement),
    /// Leave it out, and say why.
    Skip(SkipReason),
}

/// Why a module is left out although nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SkipReason {
    /// The encrypted pre-bootloader of RTL devices. Only the vendor's own cloud update replaces it.
    #[error("the encrypted pre-bootloader is never replaced from here")]
    EncryptedPreBootloader,
}

/// Why a module does not fit a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It does not pass its own checks.
    #[error("{module} does not pass its own checks")]
    Broken {
        /// Its label.
        module: String,
        /// What is wrong.
        #[source]
        source: ModuleError,
    },
    /// It is for another platform.
    #[error("{module} is for platform {found}, the device is {expected} ({})", expected.id())]
    WrongPlatform {
        /// Its label.
        module: String,
        /// The device's platform.
        expected: Platform,
        /// The platform number in the module.
        found: u16,
    },
    /// The platform has no place for such a module.
    #[error("{platform} has no place for {module}")]
    Unsupported {
        /// Its label.
        module: String,
        /// The device's platform.
        platform: Platform,
    },
    /// It is longer than its place.
    #[error("{module} has {len} bytes, its place on {platform} has {limit}")]
    TooLarge {
        /// Its label.
        module: String,
        /// The device's platform.
        platform: Platform,
        /// Its length.
        len: u64,
        /// The length of its place.
        limit: u64,
    },
    /// It is not at its place.
    #[error("{module} is made for 0x{start:08x}..0x{end:08x}, its place on {platform} is 0x{:08x}..0x{:08x}", bounds.start, bounds.end)]
    OutOfBounds {
        /// Its label.
        module: String,
        /// The device's platform.
        platform: Platform,
        /// Its first address.
        start: u32,
        /// The address behind its last byte.
        end: u64,
        /// Its place.
        bounds: Range<u32>,
    },
    /// It would be written where nothing may be written.
    #[error(
        "{module} would be written to 0x{start:08x}..0x{end:08x}, which is not all among the flash that may be written on {platform}"
    )]
    NotFlashable {
        /// Its label.
        module: String,
        /// The device's platform.
        platform: Platform,
        /// First address that is written.
        start: u32,
        /// The address behind the last that is written.
        end: u64,
    },
    /// Encrypted content cannot be written by DFU: nothing would decrypt it.
    #[error("{module} is encrypted and cannot be written by DFU")]
    Encrypted {
        /// Its label.
        module: String,
    },
    /// A device takes at most two combined modules.
    #[error("{module}: a device takes at most {limit} combined modules, the file has {count}")]
    TooManyCombined {
        /// Labels of all.
        module: String,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
}

/// Says where `module` goes on `platform` and by which way, or why it does not.
///
/// # Errors
/// The first reason why the module does not fit.
pub fn place(platform: Platform, module: &Module) -> Result<Fit, Unfit> {
    let label = || module.to_string();
    module.verify().map_err(|source| Unfit::Broken { module: label(), source })?;
    if module.is_combined() {
        return place_combined(platform, module);
    }
    check_platform(platform, module)?;
    let Some(home) = home(platform, module) else {
        return Err(Unfit::Unsupported {
            module: label(),
            platform,
        });
    };
    if home == Home::Skipped {
        return Ok(Fit::Skip(SkipReason::EncryptedPreBootloader));
    }
    // A device takes compressed assets; for all else it is not asked to decompress: not every version can.
    let plain = match module.header().function {
        ModuleFunction::Asset => module.clone(),
        _ => module
            .decompressed()
            .map_err(|source| Unfit::Broken { module: label(), source })?,
    };
    check_home(platform, &plain, &home)?;
    let Home::Flash { dfu: true, .. } = home else {
        return Ok(Fit::Place(Placement {
            way: Way::Update,
            bytes: plain.bytes().to_vec(),
        }));
    };
    place_dfu(platform, &plain)
}

/// A combined file goes to the running system as it is: the device applies its modules together.
fn place_combined(platform: Platform, file: &Module) -> Result<Fit, Unfit> {
    let count = file.combined().count();
    if count > DEVICE_COMBINED {
        return Err(Unfit::TooManyCombined {
            module: file.to_string(),
            count,
            limit: DEVICE_COMBINED,
        });
    }
    let mut bytes = Vec::new();
    for module in file.combined() {
        check_platform(platform, module)?;
        match home(platform, module) {
            None => {
                return Err(Unfit::Unsupported {
                    module: file.to_string(),
                    platform,
                });
            }
            Some(Home::Skipped) => return Ok(Fit::Skip(SkipReason::EncryptedPreBootloader)),
            Some(home) => {
                let plain = module.decompressed().map_err(|source| Unfit::Broken {
                    module: file.to_string(),
                    source,
                })?;
                check_home(platform, &plain, &home)?;
            }
        }
        bytes.extend_from_slice(module.bytes());
    }
    if platform.family() == Stm32f1 {
        return Err(Unfit::Unsupported {
            module: file.to_string(),
            platform,
        });
    }
    Ok(Fit::Place(Placement { way: Way::Update, bytes }))
}

fn place_dfu(platform: Platform, module: &Module) -> Result<Fit, Unfit> {
    let header = module.header();
    if header.flags.has(Flags::ENCRYPTED) {
        return Err(Unfit::Encrypted {
            module: module.to_string(),
        });
    }
    let all = module.bytes();
    // A bit among others: a compressed or prefixed module that drops its header drops it all the same.
    let bytes = if header.flags.has(Flags::DROP_MODULE_INFO) {
        &all[module.header_offset() + module.prefix_len()..]
    } else {
        all
    };
    let end = u64::from(header.start) + bytes.len() as u64;
    let inside = |range: &Range<u32>| range.start <= header.start && end <= u64::from(range.end);
    if !platform.flashable().iter().any(inside) {
        return Err(Unfit::NotFlashable {
            module: module.to_string(),
            platform,
            start: header.start,
            end,
        });
    }
    let way = Way::Dfu {
        alt: 0,
        address: header.start,
    };
    Ok(Fit::Place(Placement {
        way,
        bytes: bytes.to_vec(),
    }))
}

fn check_platform(platform: Platform, module: &Module) -> Result<(), Unfit> {
    let header = module.header();
    let any_platform = header.function == ModuleFunction::Asset && header.platform_id == 0;
    if header.platform_id == platform.id() || any_platform {
        return Ok(());
    }
    Err(Unfit::WrongPlatform {
        module: module.to_string(),
        expected: platform,
        found: header.platform_id,
    })
}

fn check_home(platform: Platform, module: &Module, home: &Home) -> Result<(), Unfit> {
    let header = module.header();
    let len = module.bytes().len() as u64;
    let too_large = |limit: u64| Unfit::TooLarge {
        module: module.to_string(),
        platform,
        len,
        limit,
    };
    let (bounds, anchor) = match home {
        Home::Flash { bounds, anchor, .. } => (bounds, anchor),
        Home::Elsewhere { limit } if len > *limit => return Err(too_large(*limit)),
        Home::Elsewhere { .. } | Home::Skipped => return Ok(()),
    };
    let dropped = if header.flags.has(Flags::DROP_MODULE_INFO) {
        module.prefix_len() as u64
    } else {
        0
    };
    let end = u64::from(header.start) + len - dropped;
    let room = u64::from(bounds.end - bounds.start);
    if len - dropped > room {
        return Err(too_large(room));
    }
    let anchored = match anchor {
        Anchor::Start => header.start == bounds.start,
        Anchor::End => end == u64::from(bounds.end),
        Anchor::Page(size) => header.start.is_multiple_of(*size),
    };
    if header.start < bounds.start || end > u64::from(bounds.end) || !anchored {
        return Err(Unfit::OutOfBounds {
            module: module.to_string(),
            platform,
            start: header.start,
            end,
            bounds: bounds.clone(),
        });
    }
    Ok(())
}

/// MAX_COMBINED_MODULE_COUNT of Device OS.
const DEVICE_COMBINED: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::{ModuleBuilder, derive};
    use ModuleFunction::{Bootloader, NcpFirmware, RadioStack, Resource, SystemPart, UserPart};

    /// A module that takes `len` bytes in all.
    fn sized(platform: Platform, function: ModuleFunction, index: u8, start: u32, len: usize) -> Module {
        let builder = ModuleBuilder::new(function, index, 6200).platform(platform).start(start);
        builder.seeded_content(1, len - 24 - 44).build().unwrap()
    }

    fn way(platform: Platform, module: &Module) -> Result<Way, Unfit> {
        place(platform, module).map(|fit| match fit {
            Fit::Place(placement) => placement.way,
            Fit::Skip(reason) => panic!("skipped: {reason}"),
        })
    }

    fn dfu(address: u32) -> Result<Way, Unfit> {
        Ok(Way::Dfu { alt: 0, address })
    }

    #[test]
    fn a_place_is_used_to_its_last_byte_and_not_beyond() {
        #[rustfmt::skip]
        let places = [
            (Platform::Photon, SystemPart, 1, 0x0802_0000, 0x4_0000), (Platform::P1, SystemPart, 2, 0x0806_0000, 0x4_0000),
            (Platform::Photon, UserPart, 1, 0x080a_0000, 0x2_0000), (Platform::Electron, SystemPart, 2, 0x0804_0000, 0x2_0000),
            (Platform::Electron, SystemPart, 3, 0x0806_0000, 0x2_0000), (Platform::Electron, UserPart, 1, 0x0808_0000, 0x2_0000),
            (Platform::Argon, UserPart, 2, 0xb_4000, 0x4_0000), (Platform::Boron, UserPart, 1, 0xd_4000, 0x2_0000),
            (Platform::Bsom, SystemPart, 1, 0x2_8000, 0x8_c000), (Platform::Argon, SystemPart, 1, 0x3_0000, 0x8_4000),
            (Platform::P2, SystemPart, 1, 0x0806_0000, 0x18_0000), (Platform::Core, UserPart, 0, 0x0800_5000, 0x1_b000),
            (Platform::P2, UserPart, 1, 0x0848_0000, 0x18_0000),
        ];
        for (platform, function, index, start, room) in places {
            let full = sized(platform, function, index, start, room);
            assert_eq!(way(platform, &full), dfu(start), "{platform} {full}");
            let over = sized(platform, function, index, start, room + 1);
            assert!(
                matches!(way(platform, &over), Err(Unfit::TooLarge { .. } | Unfit::OutOfBounds { .. })),
                "{platform} {over}"
            );
            let moved = sized(platform, function, index, start - 4, 1000);
            assert!(
                matches!(way(platform, &moved), Err(Unfit::OutOfBounds { .. })),
                "{platform} {moved}"
            );
        }
    }

    #[test]
    fn an_rtl_user_part_ends_where_its_place_ends() {
        let at = |start| way(Platform::P2, &sized(Platform::P2, UserPart, 1, start, 0x1000));
        assert_eq!(at(0x085f_f000), dfu(0x085f_f000));
        assert!(matches!(at(0x085f_e000), Err(Unfit::OutOfBounds { .. })));
        assert!(
            matches!(at(0x085f_f010), Err(Unfit::OutOfBounds { .. })),
            "the file system with the keys is above"
        );
    }

    #[test]
    fn bootloaders_and_network_processors_are_updates() {
        for (platform, function, index, start) in [
            (Platform::Argon, Bootloader, 0, 0xf_4000),
            (Platform::Photon, Bootloader, 0, 0x0800_0000),
            (Platform::P2, Bootloader, 0, 0x0800_4000),
            (Platform::P2, Bootloader, 2, 0x0801_4000),
            (Platform::Argon, NcpFirmware, 0, 0),
        ] {
            assert_eq!(way(platform, &sized(platform, function, index, start, 2000)), Ok(Way::Update));
        }
        let part1 = sized(Platform::P2, Bootloader, 2, 0x0801_4000, 0x4_a001);
        assert!(
            matches!(way(Platform::P2, &part1), Err(Unfit::TooLarge { limit: 0x4_a000, .. })),
            "by index, not by function"
        );
        let ncp = sized(Platform::Argon, NcpFirmware, 0, 0, 1500 * 1024 + 1);
        assert!(matches!(
            way(Platform::Argon, &ncp),
            Err(Unfit::TooLarge { limit: 1_536_000, .. })
        ));
    }

    #[test]
    fn what_has_no_place_is_refused_and_the_pre_bootloader_left_out() {
        for (platform, function, index) in [
            (Platform::Boron, NcpFirmware, 0),
            (Platform::P2, RadioStack, 0),
            (Platform::Photon, SystemPart, 3),
            (Platform::Core, Bootloader, 0),
            (Platform::Argon, Resource, 0),
        ] {
            let module = sized(platform, function, index, 0x0800_0000, 1000);
            assert!(
                matches!(way(platform, &module), Err(Unfit::Unsupported { .. })),
                "{platform} {module}"
            );
        }
        let mbr = sized(Platform::Msom, Bootloader, 1, 0x0800_0000, 1000);
        assert_eq!(place(Platform::Msom, &mbr), Ok(Fit::Skip(SkipReason::EncryptedPreBootloader)));
    }

    #[test]
    fn a_radio_stack_drops_its_header_whatever_other_flags_it_has() {
        for flags in [Flags::default(), Flags::COMPRESSED] {
            let module = ModuleBuilder::new(RadioStack, 0, 202).platform(Platform::Argon).start(0x1000);
            let module = module.flags(Flags::DROP_MODULE_INFO).seeded_content(1, 5000).build().unwrap();
            let given = if flags == Flags::COMPRESSED {
                derive::compressed(&module).unwrap()
            } else {
                module.clone()
            };
            let Ok(Fit::Place(placement)) = place(Platform::Argon, &given) else {
                panic!("no place")
            };
            assert_eq!(placement.way, Way::Dfu { alt: 0, address: 0x1000 });
            assert_eq!(placement.bytes, module.bytes()[24..]);
        }
        let prefixed = ModuleBuilder::new(RadioStack, 0, 202)
            .platform(Platform::Argon)
            .start(0x1000)
            .flags(Flags::DROP_MODULE_INFO)
            .prefix_extensions([crate::firmware::Extension::Name("s140".into())])
            .seeded_content(1, 5000)
            .build()
            .unwrap();
        let Ok(Fit::Place(placement)) = place(Platform::Argon, &prefixed) else {
            panic!("no place")
        };
        assert_eq!(placement.bytes, prefixed.bytes()[24 + 8 + 4..]);
    }

    #[test]
    fn a_radio_stack_over_the_parameter_page_is_not_written() {
        let fits = sized(Platform::Argon, RadioStack, 0, 0x1000, 0x2_6000);
        assert_eq!(way(Platform::Argon, &fits), dfu(0x1000));
        let over = sized(Platform::Argon, RadioStack, 0, 0x1000, 0x2_6001);
        assert!(matches!(
            way(Platform::Argon, &over),
            Err(Unfit::NotFlashable { end: 0x2_7001, .. })
        ));
    }

    #[test]
    fn whatever_goes_by_dfu_stays_within_the_flash_that_may_be_written() {
        for platform in Platform::all() {
            for function in (1..=9).filter_map(ModuleFunction::from_byte) {
                for index in 0..4 {
                    for start in [
                        0x1000,
                        0x2_8000,
                        0xb_4000,
                        0xd_4000,
                        0x0800_5000,
                        0x0802_0000,
                        0x080a_0000,
                        0x0806_0000,
                        0x085f_fc00,
                    ] {
                        let module = sized(platform, function, index, start, 1024);
                        if let Ok(Fit::Place(Placement {
                            way: Way::Dfu { alt, address },
                            bytes,
                        })) = place(platform, &module)
                        {
                            let end = address + bytes.len() as u32;
                            let allowed = platform.flashable().iter().any(|r| r.start <= address && end <= r.end);
                            assert!(alt == 0 && allowed, "{platform} {module} at {address:#x}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn encrypted_content_never_goes_by_dfu_and_three_modules_never_at_once() {
        let system = ModuleBuilder::new(SystemPart, 1, 6304)
            .platform(Platform::P2)
            .start(0x0806_0000);
        let system = system.seeded_content(1, 1000);
        let encrypted = system.clone().flags(Flags::ENCRYPTED).build().unwrap();
        assert!(matches!(way(Platform::P2, &encrypted), Err(Unfit::Encrypted { .. })));
        let three = derive::combined(&vec![system.build().unwrap(); 3]).unwrap();
        assert!(matches!(
            way(Platform::P2, &three),
            Err(Unfit::TooManyCombined { count: 3, limit: 2, .. })
        ));
    }
}
