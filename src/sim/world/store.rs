//! A world on disk: where each device is, and the whole of each device.
//!
//! A directory holds `world.json`, and for each device `ID.device` (everything) and `ID.dct` (its DCT, for people and other
//! tools; never read back). A world that is read back is one whose power was off meanwhile.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    model::{DeviceId, PortPath},
    sim::device::{BadDevice, Device},
};

use super::{PortError, World};

/// Why a world could not be stored or read back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("could not {doing} {path}")]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The list of devices is not one.
    #[error("{path} is not the list of a world's devices")]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It was written by a keyrack that knows more.
    #[error("{path} has format {found}, and this keyrack knows format {FORMAT}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A device is not one.
    #[error("could not read the device in {path}")]
    Device {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BadDevice,
    },
    /// The list puts two devices into one port, or the port is in use.
    #[error("could not plug in device {device}")]
    Port {
        /// The device.
        device: DeviceId,
        /// Why not.
        #[source]
        source: PortError,
    },
}

#[derive(Serialize, Deserialize)]
struct List {
    format: u32,
    devices: Vec<Place>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    id: DeviceId,
    /// None for a device that lies beside the rack.
    port: Option<PortPath>,
}

impl World {
    /// Stores the world in a directory, which is made if need be. Each file is replaced as a whole or not at all, and the
    /// list comes last. The files hold private keys of simulated devices: they are for this user alone.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn save(&self, dir: &Path) -> Result<(), StoreError> {
        fs::create_dir_all(dir).map_err(|source| StoreError::File {
            doing: "make",
            path: dir.to_owned(),
            source,
        })?;
        let mut places = Vec::new();
        for (id, port) in self.devices() {
            // A device that was unplugged since the list was made is no longer of this world.
            let Some((bytes, dct)) = self.with_device(id, |device| (device.to_bytes(), device.dct().to_vec())) else {
                continue;
            };
            replace(&dir.join(format!("{id}.device")), &bytes)?;
            replace(&dir.join(format!("{id}.dct")), &dct)?;
            places.push(Place { id, port });
        }
        let list = List {
            format: FORMAT,
            devices: places,
        };
        let bytes = serde_json::to_vec_pretty(&list).expect("ids and ports have a JSON form");
        replace(&dir.join(LIST), &bytes)
    }

    /// Adds the devices of a directory to this world, and returns how many there were: none if nothing is stored there.
    ///
    /// # Errors
    /// [`StoreError`]; the devices before the one that failed are in the world then.
    pub fn load(&self, dir: &Path) -> Result<usize, StoreError> {
        let path = dir.join(LIST);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            read => read.map_err(|source| reading(&path, source))?,
        };
        let list: List = serde_json::from_slice(&bytes).map_err(|source| StoreError::List {
            path: path.clone(),
            source,
        })?;
        if list.format != FORMAT {
            return Err(StoreError::Format {
                path,
                found: list.format,
            });
        }
        let count = list.devices.len();
        for Place { id, port } in list.devices {
            let path = dir.join(format!("{id}.device"));
            let bytes = fs::read(&path).map_err(|source| reading(&path, source))?;
            let now = self.clock().now();
            let device = Device::from_bytes(&bytes, now).map_err(|source| StoreError::Device { path, source })?;
            let plugged = self.change(|state, now| state.adopt(id, port, device, now));
            plugged.map_err(|source| StoreError::Port { device: id, source })?;
        }
        Ok(count)
    }
}

fn reading(path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    }
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let fresh = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file: File = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|source| StoreError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

const LIST: &str = "world.json";

/// Raised when an older keyrack would misread the list.
const FORMAT: u32 = 1;
