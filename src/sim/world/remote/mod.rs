//! The bus of a world for another process: a Unix socket with one connection for what is attached, and one for each open
//! device with USB/IP framing, as the kernel's virtual host controller speaks it.
//!
//! Each connection begins with one line of JSON from the client: `"watch"`, or `{"open":{"port":"...","address":7}}`.
//! A watcher gets a line `{"devices":[...]}` at once and after each change. An opener gets `"opened"` or `"gone"`, and
//! after `"opened"` both sides speak USB/IP ([`usbip`]) until the device leaves the bus, which closes the connection.

mod client;
mod server;
#[cfg(test)]
mod tests;
pub mod usbip;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{edge::Attached, model::PortPath};

pub use client::RemoteBus;
pub use server::{Server, Watcher, serve, serve_device};

/// How a client begins.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Hello {
    Watch,
    Open { port: PortPath, address: u16 },
}

/// How the server answers an opener.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Welcome {
    Opened,
    Gone,
}

/// What a watcher is told.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum News {
    Devices(Vec<Listed>),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    port: PortPath,
    address: u16,
    vendor: u16,
    product: u16,
    serial: Option<String>,
}

impl From<Attached> for Listed {
    fn from(a: Attached) -> Self {
        Self {
            port: a.port,
            address: a.address,
            vendor: a.vendor,
            product: a.product,
            serial: a.serial,
        }
    }
}

impl From<Listed> for Attached {
    fn from(l: Listed) -> Self {
        Self {
            port: l.port,
            address: l.address,
            vendor: l.vendor,
            product: l.product,
            serial: l.serial,
        }
    }
}

fn say(to: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads one line and not a byte more: USB/IP may follow it.
fn hear<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        from.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(serde_json::from_slice(&line)?);
        }
        if line.len() == LONGEST_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line that does not end"));
        }
        line.push(byte[0]);
    }
}

/// Eight controllers with 127 devices, each in less than 160 bytes, would fit.
const LONGEST_LINE: usize = 1 << 18;
