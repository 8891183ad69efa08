//! A simulated world in real time for a station in this or another process: devices behind a Unix socket, the stand-in
//! cloud over HTTPS on loopback, and a folder with all that a station needs.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::CliError,
    rig::{Options, Rig, private_folder},
};
use crate::{
    cloud::{HttpConfig, ReqwestHttp},
    edge::{Clock, clock::SystemClock, entropy::SystemEntropy},
    sim::{
        cloud::https::{self, Server},
        world::{World, remote, scenario::Scenario},
    },
};

/// A simulated world that is served.
pub(super) struct Stage {
    /// The world, its cloud, and what is expected.
    pub(super) rig: Rig,
    /// The folder.
    pub(super) folder: PathBuf,
    /// The cloud's address.
    pub(super) url: String,
    _cloud: Server,
    _bus: remote::Server,
}

impl Stage {
    /// Builds the world of a scenario in a folder and serves it.
    ///
    /// # Errors
    /// If the folder cannot be written, or nothing can be served there.
    pub(super) fn set(folder: &Path, scenario: Scenario, options: &Options, tls: bool, port: u16) -> Result<Self, CliError> {
        let file = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| CliError::File { doing, path, source }
        };
        private_folder(folder).map_err(file("make", folder))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let world = World::in_real_time(Arc::clone(&clock));
        let rig = Rig::build(scenario, world, Arc::new(SystemEntropy), options).map_err(|source| CliError::File {
            doing: "read",
            path: options.real_firmware.clone().unwrap_or_default(),
            source,
        })?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let cloud = https::serve(rig.cloud.clone(), address, tls).map_err(CliError::StandIn)?;
        let ca_pem = tls.then(|| cloud.ca_pem.clone());
        let http = ReqwestHttp::new(&HttpConfig {
            base: cloud.url.clone(),
            ca_pem: ca_pem.clone().map(String::into_bytes),
            allow_plain_loopback: true,
        })?;
        let token = rig.log_in(&http)?;
        rig.write_folder(folder, &cloud.url, ca_pem.as_deref(), &token)
            .map_err(file("write", folder))?;
        let socket = folder.join(SOCKET);
        let bus = remote::serve(&rig.world, &socket, clock).map_err(file("serve", &socket))?;
        rig.begin();
        let url = cloud.url.clone();
        Ok(Self {
            rig,
            folder: folder.to_owned(),
            url,
            _cloud: cloud,
            _bus: bus,
        })
    }

    /// The socket of the devices.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// The station's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("station.toml")
    }

    /// Leaves the state of the world in the folder, for a look.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn leave(&self) -> Result<(), CliError> {
        let path = self.folder.join("world");
        self.rig.write_world(&path).map_err(|source| CliError::File {
            doing: "write",
            path,
            source,
        })?;
        // A socket that nobody serves any more only confuses.
        let _ = fs::remove_file(self.socket());
        Ok(())
    }
}

const SOCKET: &str = "bus";
