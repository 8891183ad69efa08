//! Particle firmware modules: format, checks, order, and what goes where. Pure: bytes in, plan out.
//!
//! A file is parsed into a [`Module`] (or a [`Bundle`] of several), each module is checked against itself
//! ([`Module::verify`]) and against a platform ([`place()`]), and a [`Plan`] says which bytes go where and in which order.
//! All of that happens before the first erase. Nothing here reads a file, talks to a device or knows a recipe.
//! Facts and numbers: device-protocol.md 3.5, 3.7 and 5.1 to 5.6.

pub mod asset;
pub mod build;
pub mod bundle;
pub mod dependency;
pub mod derive;
pub mod extension;
pub mod header;
mod home;
mod inflate;
pub mod module;
mod module_error;
mod order;
pub mod place;
pub mod plan;
mod plan_error;
pub mod suffix;

pub use asset::AssetRef;
pub use build::ModuleBuilder;
pub use bundle::{Bundle, BundleError};
pub use dependency::{Presence, Unchecked, presence};
pub use extension::Extension;
pub use header::{Flags, Header};
pub use module::Module;
pub use module_error::ModuleError;
pub use place::{Fit, Placement, SkipReason, Unfit, Way, place};
pub use plan::{Piece, PieceKind, Plan, Skipped, Target};
pub use plan_error::{Instead, PlanError};
pub use suffix::Suffix;

use sha2::{Digest, Sha256 as Hasher};

use crate::model::recipe::Sha256;

/// SHA-256 of `bytes`: what a recipe names a firmware file by.
pub fn sha256_of(bytes: &[u8]) -> Sha256 {
    Sha256(Hasher::digest(bytes).into())
}
