//! From a recipe as written to one that can be used: the files that it names are read, checked and put in.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use sha2::{Digest, Sha256 as Sha256Hash};

use super::{
    error::{ConfigError, ConfigErrors, Problem},
    recipe::{FirmwareSpec, Place, RecipeSpec, ServerSpec, WifiSpec},
    recipe_text,
};
use crate::{
    keys::server::{ServerKey, ServerKeyError, production},
    model::{
        Secret,
        platform::Transport,
        recipe::{FirmwareFile, Recipe, ServerPolicy, ServerSettings, Sha256, Wifi},
    },
};

/// A recipe with everything that its files hold.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The recipe.
    pub recipe: Recipe,
    /// The contents of its firmware files, by their names in [`Recipe::firmware`]; each has the SHA-256 that the recipe
    /// names.
    pub firmware: BTreeMap<String, Arc<[u8]>>,
}

/// How the files that a recipe names are read; the paths are as written there.
type Files<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

impl RecipeSpec {
    /// Reads the files of the recipe and makes it usable.
    ///
    /// # Errors
    /// Every file that cannot be read or is not what the recipe says of it.
    pub fn resolve(&self, files: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Resolved, ConfigErrors> {
        let mut errors = Vec::new();
        let mut note = |result: Result<(), ConfigError>| errors.extend(result.err());
        let mut firmware = BTreeMap::new();
        for spec in &self.firmware {
            note(read_firmware(spec, files).map(|bytes| {
                firmware.insert(name(spec), Arc::from(bytes));
            }));
        }
        let mut server = ServerPolicy::Keep;
        note(read_server(&self.server, self.platform.row().transport, files).map(|policy| server = policy));
        let mut wifi = None;
        note(
            self.wifi
                .as_ref()
                .map_or(Ok(()), |spec| read_wifi(spec, files).map(|w| wifi = Some(w))),
        );
        if !errors.is_empty() {
            return Err(ConfigErrors::new(&self.place.file, errors));
        }
        let text = self.recorded.clone().unwrap_or_else(|| recipe_text::write(self, &server));
        let named = |spec: &FirmwareSpec| FirmwareFile {
            name: name(spec),
            sha256: spec.sha256,
        };
        let recipe = Recipe {
            name: self.name.clone(),
            hash: sha256(text.as_bytes()),
            text,
            platform: self.platform,
            aim: self.aim.clone(),
            product: self.product.clone(),
            activate_sim: self.activate_sim,
            firmware: self.firmware.iter().map(named).collect(),
            keys: self.keys,
            server,
            protected: self.protected,
            wifi,
            prove: self.prove,
            finish_owed: self.finish_owed,
            timeouts: self.timeouts.clone(),
        };
        Ok(Resolved { recipe, firmware })
    }
}

/// Firmware files are known by their path as written: no two files of a recipe have the same.
fn name(spec: &FirmwareSpec) -> String {
    spec.file.display().to_string()
}

fn read_firmware(spec: &FirmwareSpec, files: Files<'_>) -> Result<Vec<u8>, ConfigError> {
    let bytes = files(&spec.file).map_err(|error| unreadable(&spec.place, ".file", &spec.file, &error))?;
    let found = sha256(&bytes);
    if found == spec.sha256 {
        return Ok(bytes);
    }
    Err(refused(
        &spec.place,
        ".sha256",
        format!("\"{}\"", spec.sha256),
        format!("{} has SHA-256 {found}", spec.file.display()),
    ))
}

fn read_server(spec: &ServerSpec, transport: Transport, files: Files<'_>) -> Result<ServerPolicy, ConfigError> {
    let refuse = |place, field, shown, error: &ServerKeyError| refused(place, field, shown, chain(error));
    let (key, host, port) = match spec {
        ServerSpec::Keep => return Ok(ServerPolicy::Keep),
        ServerSpec::Production => return Ok(ServerPolicy::Set(production(transport))),
        ServerSpec::File {
            key: file,
            host,
            port,
            place,
        } => {
            let bytes = files(file).map_err(|error| unreadable(place, ".key", file, &error))?;
            let key = ServerKey::from_file(&bytes, transport);
            let shown = format!("\"{}\"", file.display());
            (key.map_err(|error| refuse(place, ".key", shown, &error))?, host, port)
        }
        ServerSpec::Key { spki, host, port, place } => {
            let key = ServerKey::read(spki, transport);
            (
                key.map_err(|error| refuse(place, ".spki", String::new(), &error))?,
                host,
                port,
            )
        }
    };
    Ok(ServerPolicy::Set(ServerSettings {
        spki: key.spki,
        host: host.clone(),
        port: *port,
    }))
}

fn read_wifi(spec: &WifiSpec, files: Files<'_>) -> Result<Wifi, ConfigError> {
    let Some(file) = &spec.password_file else {
        return Ok(Wifi {
            ssid: spec.ssid.clone(),
            password: None,
        });
    };
    let bytes = files(file).map_err(|error| unreadable(&spec.place, ".password_file", file, &error))?;
    let bytes = Secret::new(bytes);
    let line = bytes.expose().strip_suffix(b"\n").unwrap_or(bytes.expose());
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(text) if PASSWORD_LENGTHS.contains(&text.len()) && !text.chars().any(char::is_control) => Ok(Wifi {
            ssid: spec.ssid.clone(),
            password: Some(Secret::new(text.to_owned())),
        }),
        _ => Err(refused(
            &spec.place,
            ".password_file",
            format!("\"{}\"", file.display()),
            "the file must hold the password in one line of 8 to 64 characters".to_owned(),
        )),
    }
}

fn unreadable(place: &Place, field: &str, file: &Path, error: &io::Error) -> ConfigError {
    refused(
        place,
        field,
        format!("\"{}\"", file.display()),
        format!("the file cannot be read: {error}"),
    )
}

fn refused(place: &Place, field: &str, value: String, allowed: String) -> ConfigError {
    ConfigError {
        line: place.line,
        key: format!("{}{field}", place.key),
        problem: Problem::Value { value, allowed },
    }
}

/// The message of a key error with its causes.
fn chain(error: &ServerKeyError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(Sha256Hash::digest(bytes).into())
}

/// WPA passphrases have 8 to 63 characters, raw keys 64 digits.
const PASSWORD_LENGTHS: std::ops::RangeInclusive<usize> = 8..=64;
