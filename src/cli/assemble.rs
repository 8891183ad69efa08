//! A station out of its configuration: real bus, real cloud, ledger, recipes with their firmware.

use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::{
    model::recipe::WorkOrder,
    rack::Setting,
    station::{Shelf, Tuning, World},
    store::Store,
};

/// What the command line says otherwise than the configuration.
#[derive(Clone, Debug, Default)]
#[expect(dead_code, reason = "read once stations are assembled")]
pub(super) struct Overrides {
    /// Where ledger and undo copies are.
    pub(super) state: Option<PathBuf>,
    /// Who is at the station.
    pub(super) operator: Option<String>,
    /// What was ordered.
    pub(super) work_order: Option<WorkOrder>,
    /// The address of the cloud.
    pub(super) cloud_url: Option<String>,
    /// Where the token is; otherwise as configured, or as the service manager hands it over.
    pub(super) token_file: Option<PathBuf>,
    /// A private certificate authority for the cloud.
    pub(super) ca_file: Option<PathBuf>,
}

/// All that [`crate::station::Station::start`] takes.
pub(super) struct Parts {
    /// Everything outside of us.
    pub(super) world: World,
    /// The ledger, open and locked.
    pub(super) store: Store,
    /// What the core is told.
    pub(super) setting: Setting,
    /// Recipes and firmware.
    pub(super) shelf: Shelf,
    /// How the station works.
    pub(super) tuning: Tuning,
}

/// Puts a station together; nothing is touched yet but the ledger's lock.
///
/// # Errors
/// Everything that is wrong with the configuration at once, or the first thing that is wrong outside of it.
pub(super) fn station(config: &Path, _overrides: &Overrides) -> Result<Parts, CliError> {
    crate::config::load(config)?;
    Err(CliError::Absent {
        what: "assembling a station",
    })
}
