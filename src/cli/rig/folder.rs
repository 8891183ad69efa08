//! A rig as a folder: `station.toml`, firmware, server keys, certificate, token. What a station needs to work on it as on
//! a real one.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use super::{Rig, cloud};
use crate::{
    cloud::{login::Token, token::TokenFile},
    model::{
        platform::Transport,
        recipe::{Aim, ProtectedPolicy, ServerPolicy},
    },
};

impl Rig {
    /// Writes everything that a station needs into a folder, which is made for its owner alone.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_folder(&self, folder: &Path, url: &str, ca_pem: Option<&str>, token: &Token) -> io::Result<()> {
        private_folder(folder)?;
        private_folder(&folder.join("firmware"))?;
        for (name, bytes) in &self.files {
            fs::write(folder.join("firmware").join(name), bytes)?;
        }
        for (tcp, name) in SERVER_KEYS {
            fs::write(folder.join(name), self.cloud.server_spki(tcp))?;
        }
        if let Some(pem) = ca_pem {
            fs::write(folder.join("ca.pem"), pem)?;
        }
        TokenFile::new(token, self.scenario.cloud.owner.clone())
            .write(&folder.join("token"))
            .map_err(io::Error::other)?;
        // For clients that log in by themselves.
        write_private(&folder.join("password"), self.password.expose().as_bytes())?;
        for (product, client) in cloud::clients(&self.scenario) {
            let text = format!("{}\n{}\n", client.id, client.secret.expose());
            write_private(&folder.join(client_file(product)), text.as_bytes())?;
        }
        fs::write(folder.join("station.toml"), self.station_toml(url, ca_pem.is_some()))
    }

    /// Writes what the simulated world holds: each device's key store, and the state of the cloud. Both hold simulated
    /// secrets.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_world(&self, folder: &Path) -> io::Result<()> {
        private_folder(folder)?;
        for id in self.start.keys() {
            if let Some(dct) = self.world.with_device(*id, |device| device.dct().to_vec()) {
                write_private(&folder.join(format!("{id}.dct")), &dct)?;
            }
        }
        write_private(&folder.join("cloud.json"), self.cloud.to_json().as_bytes())?;
        fs::write(folder.join("README"), README)
    }

    fn station_toml(&self, url: &str, ca: bool) -> String {
        let mut text = format!(
            "# A station on a simulated rack.\n[station]\nid = \"demo\"\nstate = \"state\"\n\n[cloud]\nurl = \"{url}\"\ntoken_file = \"token\"\n"
        );
        if ca {
            text.push_str("ca_file = \"ca.pem\"\n");
        }
        for (product, _) in cloud::clients(&self.scenario) {
            let file = client_file(product);
            let _ = write!(text, "\n[[cloud.client]]\nproduct = {product}\nfile = \"{file}\"\n");
        }
        for (number, port) in self.ports() {
            let _ = write!(text, "\n[[slot]]\nnumber = {number}\nport = \"{port}\"\n");
        }
        for recipe in &self.recipes {
            let _ = write!(
                text,
                "\n[[recipe]]\nname = \"{}\"\nplatform = \"{}\"\n",
                recipe.name, recipe.platform
            );
            if let Some(product) = &recipe.product {
                let _ = writeln!(text, "product = {product}");
            }
            match &recipe.aim {
                Aim::Provision => _ = writeln!(text, "activate_sim = {}", recipe.activate_sim),
                Aim::Repair(repair) => {
                    let work = serde_json::to_string(&repair.work).expect("a work is a word");
                    let from: Vec<_> = repair.from.iter().map(|product| product.0.as_str()).collect();
                    let _ = writeln!(text, "aim = \"repair\"\nwork = {work}\nfrom = [{}]", from.join(", "));
                }
            }
            let _ = writeln!(text, "keys = \"{}\"\nprove = {}", recipe.keys, recipe.prove);
            if recipe.finish_owed {
                text.push_str("finish_owed = true\n");
            }
            if recipe.protected == ProtectedPolicy::ServiceMode {
                text.push_str("protected = \"service-mode\"\n");
            }
            for (i, file) in recipe.firmware.iter().enumerate() {
                let open = if i == 0 { "firmware = [" } else { "    " };
                let _ = writeln!(
                    text,
                    "{open}{{ file = \"firmware/{}\", sha256 = \"{}\" }},",
                    file.name, file.sha256
                );
            }
            if !recipe.firmware.is_empty() {
                text.push_str("]\n");
            }
            if let ServerPolicy::Set(server) = &recipe.server {
                let tcp = recipe.platform.row().transport == Transport::Tcp;
                let key = SERVER_KEYS.iter().find(|(t, _)| *t == tcp).map_or("", |(_, name)| name);
                let _ = writeln!(text, "server = {{ key = \"{key}\", host = \"{}\" }}", server.host);
            }
            if let Some(wifi) = recipe
                .wifi
                .as_ref()
                .filter(|_| recipe.platform.row().network == crate::model::platform::Network::Wifi)
            {
                let _ = writeln!(text, "wifi = {{ ssid = \"{}\" }}", wifi.ssid);
            }
        }
        text
    }
}

/// Makes a folder for its owner alone, if it is not there.
pub(in crate::cli) fn private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

fn client_file(product: u32) -> String {
    format!("client-{product}")
}

const SERVER_KEYS: [(bool, &str); 2] = [(true, "server-tcp.pub.der"), (false, "server-udp.pub.der")];

const README: &str = "A simulated world as a run of keyrack left it.\n\n\
    ID.dct      the key store of each simulated device: it holds simulated private keys\n\
    cloud.json  the stand-in cloud: it holds simulated passwords and tokens\n\n\
    None of it is a secret of anything real. The ledger beside it holds public keys only.\n";
