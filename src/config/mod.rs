//! `station.toml` to typed configuration: parse once, no checks afterwards.
//!
//! Every mistake in the file is found in one reading and reported with file, line, key, value and what is allowed. A
//! key that nobody knows is a mistake. The files that `station.toml` names (firmware, keys, passwords) are not read
//! here: [`RecipeSpec::resolve`] is given a way to read them, and checks what it gets.
//!
//! Nothing of a secret is ever in the configuration, in its errors or in a recipe's text: they hold paths.

use std::{fs, path::Path};

mod aim;
mod cloud;
mod document;
mod error;
mod house;
mod rack_edit;
mod recipe;
mod recipe_text;
mod resolve;
mod slot;
mod station;
mod value;

pub use cloud::{ClientSpec, Cloud};
pub use error::{ConfigError, ConfigErrors, Problem};
pub use house::House;
pub use rack_edit::with_ports;
pub use recipe::{FirmwareSpec, Place, RecipeSpec, ServerSpec, WifiSpec, recipe_from_text};
pub use resolve::Resolved;
pub use slot::{Position, RackSlot};
pub use station::{LEDGER, Station, Undo};

/// Reads the station file at `path`.
///
/// # Errors
/// Every mistake in it, or the one that it cannot be read.
pub fn load(path: &Path) -> Result<Station, ConfigErrors> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| ConfigErrors::unreadable(&name, &error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    station::read(&name, folder, &text)
}

/// Reads the text of a station file. `name` is the file's path: it stands in front of every error, and the paths in
/// the text are relative to its folder.
///
/// # Errors
/// Every mistake in the text.
pub fn parse(name: &str, text: &str) -> Result<Station, ConfigErrors> {
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    station::read(name, folder, text)
}
