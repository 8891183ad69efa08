//! The device configuration table: where what is, what a fresh one holds, and how the device reads its server settings.
//!
//! Offsets are from device-protocol.md 4.1, the rules for server settings from 4.4, the production server from 4.5.
//! Keys are bytes here; whether they are any good is decided in `key`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::DeviceId;

use super::{Blob, platform::Transport};

/// A range of the DCT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) size: usize,
}

impl Field {
    const fn new(at: usize, size: usize) -> Self {
        Self { at, size }
    }

    /// True if `length` bytes at `at` touch this range.
    pub(super) const fn touched_by(self, at: usize, length: usize) -> bool {
        at < self.at + self.size && self.at < at + length
    }
}

/// The DCT of one device.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Dct {
    bytes: Blob,
}

/// The server as the device understands its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// SPKI, cut to its DER length.
    pub(super) key: Vec<u8>,
    /// Host with the device id filled in.
    pub(super) host: String,
    /// Port as the device will use it.
    pub(super) port: u16,
}

impl Dct {
    /// A table that was never written.
    pub(super) fn blank(size: usize) -> Self {
        Self {
            bytes: Blob(vec![0xff; size]),
        }
    }

    /// The whole table.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A field.
    pub(super) fn field(&self, field: Field) -> &[u8] {
        &self.bytes[field.at..field.at + field.size]
    }

    /// `length` bytes at `at`, or `None` if the table ends before.
    pub(super) fn read(&self, at: usize, length: usize) -> Option<&[u8]> {
        self.bytes.get(at..at.checked_add(length)?)
    }

    /// Overwrites bytes in place; false if the table ends before.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) -> bool {
        let Some(range) = at.checked_add(data.len()).and_then(|end| self.bytes.get_mut(at..end)) else {
            return false;
        };
        range.copy_from_slice(data);
        true
    }

    /// Writes a field: the data, then 0xFF to its end.
    pub(super) fn fill(&mut self, field: Field, data: &[u8]) {
        let mut whole = vec![0xff; field.size];
        let length = data.len().min(field.size);
        whole[..length].copy_from_slice(&data[..length]);
        self.bytes[field.at..field.at + field.size].copy_from_slice(&whole);
    }

    /// The server as the device takes it from here, or `None` if key or address do not parse (4.4). `Err` tells apart a
    /// segment that was never written, which old firmware patches in RAM.
    pub(super) fn server(&self, transport: Transport, id: DeviceId) -> Option<Server> {
        let (key, address) = server_fields(transport);
        let key = spki(self.field(key), transport)?;
        let (host, stored) = address_of(self.field(address))?;
        let port = match (transport, stored) {
            // A stored port is discarded on UDP (4.4).
            (Transport::Udp, _) => 5684,
            (Transport::Tcp, 0 | 0xffff) => 5683,
            (Transport::Tcp, port) => port,
        };
        Some(Server {
            key: key.to_vec(),
            host: host.replace("$id", &id.to_string()),
            port,
        })
    }

    /// Puts the production settings where server key or address were never written.
    pub(super) fn patch_server(&mut self, transport: Transport) {
        let mut production = Self::blank(self.bytes.len());
        production.set_production(transport);
        let (key, address) = server_fields(transport);
        for field in [key, address] {
            if self.field(field)[0] == 0xff {
                self.fill(field, production.field(field));
            }
        }
    }

    /// Writes a server.
    pub(super) fn set_server(&mut self, transport: Transport, key: &[u8], host: &str) {
        let (key_field, address) = server_fields(transport);
        self.fill(key_field, key);
        self.fill(address, &address_bytes(host));
    }

    /// Writes the production server.
    pub(super) fn set_production(&mut self, transport: Transport) {
        match transport {
            Transport::Udp => self.set_server(transport, &hex(PRODUCTION_EC), "$id.udp.particle.io"),
            Transport::Tcp => self.set_server(transport, &hex(PRODUCTION_RSA), "device.spark.io"),
        }
    }

    /// What a stored session depends on: it is discarded when either key differs.
    pub(super) fn keys_hash(&self, transport: Transport) -> Vec<u8> {
        let mut hash = Sha256::new();
        hash.update(self.field(private_field(transport)));
        hash.update(self.field(server_fields(transport).0));
        hash.finalize().to_vec()
    }
}

/// The private key slot.
pub(super) const fn private_field(transport: Transport) -> Field {
    match transport {
        Transport::Tcp => Field::new(34, 1216),
        Transport::Udp => Field::new(3106, 192),
    }
}

/// The copy of the public key, which is not authoritative.
pub(super) const fn public_field(transport: Transport) -> Field {
    match transport {
        Transport::Tcp => Field::new(1250, 384),
        Transport::Udp => Field::new(2978, 128),
    }
}

/// Key and address of the server.
pub(super) const fn server_fields(transport: Transport) -> (Field, Field) {
    match transport {
        Transport::Tcp => (Field::new(2082, 384), Field::new(2466, 128)),
        Transport::Udp => (Field::new(3298, 192), Field::new(3490, 128)),
    }
}

/// Claim code.
pub(super) const CLAIM_CODE: Field = Field::new(1762, 63);
/// '1' if claimed.
pub(super) const CLAIMED: Field = Field::new(1825, 1);
/// Prefix of the access point's name: first byte its length (Gen 2).
pub(super) const SSID_PREFIX: Field = Field::new(1826, 26);
/// Suffix of the access point's name (Gen 2).
pub(super) const DEVICE_CODE: Field = Field::new(1852, 6);
/// 0 selects TCP on an Electron.
pub(super) const CLOUD_TRANSPORT: Field = Field::new(2977, 1);
/// The device id.
pub(super) const DEVICE_ID: Field = Field::new(3618, 12);

/// The bytes of an address as `parse_server_address` reads them: type, length, value; 0xFF leaves the port to the default.
pub(super) fn address_bytes(host: &str) -> Vec<u8> {
    if let Ok(ip) = host.parse::<std::net::Ipv4Addr>() {
        let mut bytes = vec![0, 4];
        bytes.extend(ip.octets());
        return bytes;
    }
    let name = &host.as_bytes()[..host.len().min(63)];
    let mut bytes = vec![1, u8::try_from(name.len()).expect("at most 63")];
    bytes.extend(name);
    bytes
}

/// Host and stored port of an address field (4.4), or `None` if the device does not understand it.
pub(super) fn address_of(bytes: &[u8]) -> Option<(String, u16)> {
    let port = u16::from_be_bytes([*bytes.get(66)?, *bytes.get(67)?]);
    let length = usize::from(bytes[1]);
    let value = bytes.get(2..2 + length)?;
    match (bytes[0], value) {
        (0, &[a, b, c, d]) if ![[0; 4], [255; 4]].contains(&[a, b, c, d]) => Some((format!("{a}.{b}.{c}.{d}"), port)),
        (1, name) if length <= 63 && name.iter().all(|c| (0x20..0x7f).contains(c)) => {
            Some((String::from_utf8_lossy(name).into_owned(), port))
        }
        _ => None,
    }
}

/// Length of the DER sequence that the bytes start with, header included; `None` without a sequence that fits.
pub(super) fn der_length(bytes: &[u8]) -> Option<usize> {
    let total = match (*bytes.first()?, *bytes.get(1)?) {
        (0x30, short @ 0..=0x7f) => 2 + usize::from(short),
        (0x30, 0x81) => 3 + usize::from(*bytes.get(2)?),
        (0x30, 0x82) => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        _ => return None,
    };
    (total <= bytes.len()).then_some(total)
}

/// The SPKI of a server key, if it parses as the kind of key that the transport needs.
fn spki(segment: &[u8], transport: Transport) -> Option<&[u8]> {
    use rsa::pkcs8::DecodePublicKey;
    let der = &segment[..der_length(segment)?];
    let good = match transport {
        Transport::Udp => p256::PublicKey::from_public_key_der(der).is_ok(),
        Transport::Tcp => rsa::PublicKey::from_public_key_der(der).is_ok(),
    };
    good.then_some(der)
}

/// True if these bytes are a server key of the kind that the transport needs.
pub(super) fn is_server_key(bytes: &[u8], transport: Transport) -> bool {
    spki(bytes, transport).is_some()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter_map(|b| char::from(b).to_digit(16))
        .map(|d| u8::try_from(d).expect("a digit is below 16"))
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// DEFAULT_UDP_SERVER_PUBLIC_KEY.
const PRODUCTION_EC: &str = "
    3059301306072a8648ce3d020106082a8648ce3d03010703420004509bfc185648c33f80907ae13260df33282115209e54a22f2b105984a46362c0
    7c2679f6e4ce76ca002d3de4bf2e9e3a62151c48179bd809ddce9c5dc30f54b8";

/// DEFAULT_TCP_SERVER_PUBLIC_KEY.
const PRODUCTION_RSA: &str = "
    30820122300d06092a864886f70d01010105000382010f003082010a0282010100beccbe43db8eea1527a6bb526de1512ba0abcca1647748ad7c66fc80
    7ff699a525f2f2dae043cf3a26a49ba187030e9a8d239abcea99ea68d35a14b1260fbdaa6d6f0cacc4772cd1c5c8b1d17b68e025737b52896820bd06
    c6f0e60030c0e0cff61b3a45e9c45b551706a3d34ac6d5b8d21702b5277d8de4d47dd3edc01d8a7c251e214a51ae5706dd60bca13490aacc099e3b3a
    414c3c9df3fdfdb727c159819854604a627aa49abfdf921b3efca7e4a4b33a9a5f57938eeb196495224a2cd560f5f9d003508369c06b53f0f0daf813
    821fccbb5fe2c1df3ae97f5de27db950803c5833ef8cf3803f1101d268865f3c5ee6c18e322b28cbb5cc1ba8505ea70d0203010001";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_production_keys_are_the_documented_ones() {
        let sum = |text| {
            Sha256::digest(hex(text))
                .iter()
                .fold(String::new(), |s, b| s + &format!("{b:02x}"))
        };
        assert_eq!(
            sum(PRODUCTION_EC),
            "a22c78edbbefc04dec7333da227fc6f6904754d17d042099c765a02864555183"
        );
        assert_eq!(
            sum(PRODUCTION_RSA),
            "aa8aba3c973ed4b668999047a09597948f36eefde525352e705fe8ef98c1677e"
        );
    }

    #[test]
    fn addresses_are_read_as_the_device_reads_them() {
        let mut field = vec![0xff; 128];
        let ip = address_bytes("192.168.1.10");
        assert_eq!(ip, [0, 4, 0xc0, 0xa8, 1, 0x0a]);
        field[..6].copy_from_slice(&ip);
        field[66..68].copy_from_slice(&[0x16, 0x34]);
        assert_eq!(address_of(&field), Some(("192.168.1.10".into(), 5684)));
        field[2..6].fill(0);
        assert_eq!(address_of(&field), None, "0.0.0.0");
        let name = address_bytes("$id.udp.particle.io");
        assert_eq!(&name[..5], [1, 0x13, 0x24, 0x69, 0x64]);
        field[..name.len()].copy_from_slice(&name);
        assert_eq!(address_of(&field).unwrap().0, "$id.udp.particle.io");
        field[5] = 7;
        assert_eq!(address_of(&field), None, "not printable");
        assert_eq!(address_of(&[1, 64]), None, "too short");
        field[..2].copy_from_slice(&[1, 64]);
        assert_eq!(address_of(&field), None, "64 characters");
    }

    #[test]
    fn a_stored_port_counts_on_tcp_only() {
        let id = DeviceId::from_bytes([7; 12]);
        let mut dct = Dct::blank(8391);
        dct.set_production(Transport::Tcp);
        dct.set_production(Transport::Udp);
        for (transport, port, expected) in [
            (Transport::Tcp, 0xffff, 5683),
            (Transport::Tcp, 1234, 1234),
            (Transport::Udp, 1234, 5684),
        ] {
            let at = server_fields(transport).1.at + 66;
            assert!(dct.write(at, &u16::to_be_bytes(port)));
            assert_eq!(dct.server(transport, id).unwrap().port, expected);
        }
        assert_eq!(
            dct.server(Transport::Udp, id).unwrap().host,
            "070707070707070707070707.udp.particle.io"
        );
        assert!(dct.write(3298, &[0x31]));
        assert_eq!(dct.server(Transport::Udp, id), None);
    }
}
