//! Why a set of modules is not flashed onto a device.

use super::{ModuleError, Unfit, dependency::named};
use crate::model::{Platform, module::Dependency, recipe::Sha256};

/// What stands where something else is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Instead {
    /// The modules to flash bring an older version.
    #[error("the modules to flash bring v{0}")]
    Brought(u16),
    /// The device has an older version.
    #[error("the device has v{0}")]
    Installed(u16),
    /// Neither has any.
    #[error("neither the device nor the modules to flash have it")]
    Nothing,
}

/// Why nothing is flashed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A module does not fit the platform.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A dependency is not met.
    #[error("{module} needs {}, {instead}", named(*needs))]
    Unmet {
        /// The module that has it.
        module: String,
        /// What it needs.
        needs: Dependency,
        /// What there is.
        instead: Instead,
    },
    /// Two modules for the same place.
    #[error("{first} and {second} are for the same place")]
    SamePlace {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// Modules that need each other.
    #[error("these modules need each other: {}", modules.join(", "))]
    Cycle {
        /// Their labels.
        modules: Vec<String>,
    },
    /// A protected device cannot stay protected with it.
    #[error("{module} is too old for a protected device, which needs {} {} v{} or newer", least.function, least.index, least.version)]
    TooOldForProtection {
        /// The module.
        module: String,
        /// The oldest that keeps protection.
        least: Dependency,
    },
    /// The bootloader for a protected device cannot be made.
    #[error("{module} cannot be made into a bootloader for a protected device")]
    Protect {
        /// The module.
        module: String,
        /// Why.
        #[source]
        source: ModuleError,
    },
    /// An asset has other content than the application names.
    #[error("{application} needs asset {name} with SHA-256 {wanted}, the one to flash has {found}")]
    AssetDiffers {
        /// The application.
        application: String,
        /// Name of the asset.
        name: String,
        /// As the application names it.
        wanted: Sha256,
        /// As it is.
        found: Sha256,
    },
    /// The assets do not fit the device.
    #[error("the assets take {needed} blocks of 4 KiB, {platform} has room for {room}")]
    AssetsTooLarge {
        /// The platform.
        platform: Platform,
        /// Blocks that they take.
        needed: u64,
        /// Blocks that there are.
        room: u64,
    },
}
