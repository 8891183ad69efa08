//! Words for Particle firmware modules (device-protocol.md 5.1). Parsing is in [`crate::firmware`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a module is for: the `module_function` byte of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the field's own")]
pub enum ModuleFunction {
    None,
    Resource,
    Bootloader,
    Monolithic,
    SystemPart,
    UserPart,
    Settings,
    NcpFirmware,
    RadioStack,
    Asset,
}

impl ModuleFunction {
    /// The function with this number in a header (0 to 9).
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::None,
            1 => Self::Resource,
            2 => Self::Bootloader,
            3 => Self::Monolithic,
            4 => Self::SystemPart,
            5 => Self::UserPart,
            6 => Self::Settings,
            7 => Self::NcpFirmware,
            8 => Self::RadioStack,
            9 => Self::Asset,
            _ => return None,
        })
    }

    /// The number in a header.
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for ModuleFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Resource => "resource",
            Self::Bootloader => "bootloader",
            Self::Monolithic => "monolithic",
            Self::SystemPart => "system part",
            Self::UserPart => "user part",
            Self::Settings => "settings",
            Self::NcpFirmware => "NCP firmware",
            Self::RadioStack => "radio stack",
            Self::Asset => "asset",
        })
    }
}

/// A module that another one needs: this function and index, at this version or newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dependency {
    /// The function of the needed module.
    pub function: ModuleFunction,
    /// Its index.
    pub index: u8,
    /// Its lowest version.
    pub version: u16,
}

/// A module as the device reports it in GET_MODULE_INFO, in the main store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledModule {
    /// What it is for.
    pub function: ModuleFunction,
    /// Its index.
    pub index: u8,
    /// Its version.
    pub version: u16,
    /// Checks that the device made: 2 integrity, 4 dependencies, 8 range, 16 platform.
    pub checked: u32,
    /// Checks that passed, same bits.
    pub passed: u32,
}

impl InstalledModule {
    /// True if nothing was checked and failed.
    pub const fn healthy(&self) -> bool {
        self.checked & !self.passed == 0
    }
}
