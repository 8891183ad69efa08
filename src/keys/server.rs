//! The server settings in a device: the key that it trusts and the address that it calls. What is there, how it
//! differs from what a recipe wants, and what is to be written.

use sha2::{Digest, Sha256};

use super::{
    Flaw, PublicKeyError,
    der::der_length,
    public::parse_any,
    spki::{Algorithm, Spki},
};
pub use super::{
    production::{is_production_host, production},
    server_address::{AddressError, Host, RECORD_LEN, ServerAddress},
};
use crate::model::{Fingerprint, platform::Transport, recipe::ServerSettings};

/// What the server segments of a device hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFound {
    /// The server's key, or why the device cannot use it.
    pub key: Result<ServerKey, ServerKeyError>,
    /// The server's address, or why the device cannot use it.
    pub address: Result<ServerAddress, AddressError>,
}

/// A server's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKey {
    /// SubjectPublicKeyInfo DER: 91 bytes for UDP, 294 for TCP.
    pub spki: Vec<u8>,
    /// SHA-256 of `spki`.
    pub fingerprint: Fingerprint,
}

/// Why bytes are not a server key that devices of a transport can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerKeyError {
    /// The segment is blank.
    #[error("the server key is blank")]
    Blank,
    /// The bytes are not a public key.
    #[error("the server key cannot be read")]
    Flawed(#[source] Flaw),
    /// A file that is not a public key.
    #[error("the file is not the public key of a server")]
    File(#[source] PublicKeyError),
    /// A key of a kind that devices of this transport cannot use.
    #[error("the server key is {found}, and devices on this transport need {needed}")]
    Kind {
        /// The kind found.
        found: String,
        /// The kind needed.
        needed: &'static str,
    },
    /// The segment has no room for the key.
    #[error("the server key does not fit into {len} bytes")]
    Room {
        /// Length of the segment.
        len: usize,
    },
}

/// One way in which a device differs from the wanted server settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The device cannot use the key that it has.
    #[error(transparent)]
    KeyUnusable(ServerKeyError),
    /// It has another key.
    #[error("server key is {}, wanted {}", found.short(), wanted.short())]
    Key {
        /// The key in the device.
        found: Fingerprint,
        /// The key of the recipe.
        wanted: Fingerprint,
    },
    /// The device cannot use the address that it has.
    #[error(transparent)]
    AddressUnusable(AddressError),
    /// It calls another host.
    #[error("server is \"{found}\", wanted \"{wanted}\"")]
    Host {
        /// The host in the device.
        found: String,
        /// The host of the recipe.
        wanted: String,
    },
    /// It calls another port. Never on UDP, where a stored port has no effect.
    #[error("server port is {found}, wanted {wanted}")]
    Port {
        /// The port that the device uses.
        found: u16,
        /// The port of the recipe.
        wanted: u16,
    },
}

/// The two segments to be written for some server settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// The key with 0xFF fill, as long as the segment.
    pub key: Vec<u8>,
    /// The address record.
    pub address: [u8; RECORD_LEN],
}

/// Why server settings cannot be written to a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The key does not fit the device.
    #[error("the server key does not fit the device")]
    Key(#[source] ServerKeyError),
    /// The address does not fit the device.
    #[error("the server address does not fit the device")]
    Address(#[source] AddressError),
}

impl ServerFound {
    /// Reads the two segments.
    pub fn read(key: &[u8], address: &[u8], transport: Transport) -> Self {
        Self {
            key: ServerKey::read(key, transport),
            address: ServerAddress::read(address),
        }
    }

    /// What would have to be changed; empty if the device is as wanted. Where the production cloud is wanted, any of
    /// its host names will do.
    pub fn differences(&self, wanted: &ServerSettings, transport: Transport) -> Vec<Difference> {
        let mut differences = Vec::new();
        match &self.key {
            Err(error) => differences.push(Difference::KeyUnusable(error.clone())),
            Ok(key) if key.spki != wanted.spki => differences.push(Difference::Key {
                found: key.fingerprint,
                wanted: Fingerprint(Sha256::digest(&wanted.spki).into()),
            }),
            Ok(_) => {}
        }
        let found = match &self.address {
            Err(error) => {
                differences.push(Difference::AddressUnusable(error.clone()));
                return differences;
            }
            Ok(found) => found,
        };
        let host = found.host.to_string();
        let both_production = is_production_host(transport, &host) && is_production_host(transport, &wanted.host);
        if !host.eq_ignore_ascii_case(&wanted.host) && !both_production {
            differences.push(Difference::Host {
                found: host,
                wanted: wanted.host.clone(),
            });
        }
        let wanted_port = ServerAddress {
            host: found.host.clone(),
            port: wanted.port.filter(|port| !matches!(port, 0 | 0xffff)),
        };
        let (found, wanted) = (found.effective_port(transport), wanted_port.effective_port(transport));
        if found != wanted {
            differences.push(Difference::Port { found, wanted });
        }
        differences
    }
}

impl ServerKey {
    /// Reads a key segment as devices do: the DER at its start; what follows is ignored.
    pub fn read(segment: &[u8], transport: Transport) -> Result<Self, ServerKeyError> {
        if segment.first().is_none_or(|first| *first == 0xff) {
            return Err(ServerKeyError::Blank);
        }
        let len = der_length(segment).unwrap_or(segment.len());
        let spki = Spki::read(&segment[..len]).map_err(ServerKeyError::Flawed)?;
        // Devices on TCP take the modulus by its position, so that another spelling of the same key is another key.
        if spki.der != segment[..len] {
            return Err(ServerKeyError::Flawed(Flaw::Unexpected {
                field: "the canonical form",
                found: segment[0],
            }));
        }
        Self::of(spki, transport)
    }

    /// Reads a key file, PEM or DER.
    pub fn from_file(bytes: &[u8], transport: Transport) -> Result<Self, ServerKeyError> {
        Self::of(parse_any(bytes).map_err(ServerKeyError::File)?, transport)
    }

    fn of(spki: Spki, transport: Transport) -> Result<Self, ServerKeyError> {
        let fits = match (transport, spki.algorithm) {
            (Transport::Tcp, Algorithm::Rsa { bits }) => bits == 2048,
            (Transport::Udp, Algorithm::P256) => true,
            _ => false,
        };
        if !fits {
            return Err(ServerKeyError::Kind {
                found: match spki.algorithm {
                    Algorithm::Rsa { bits } => format!("RSA-{bits}"),
                    Algorithm::P256 => "P-256".to_owned(),
                },
                needed: match transport {
                    Transport::Tcp => "RSA-2048",
                    Transport::Udp => "P-256",
                },
            });
        }
        Ok(Self {
            fingerprint: spki.fingerprint(),
            spki: spki.der,
        })
    }
}

/// What is to be written for these settings into a key segment of `key_len` bytes and an address record.
pub fn segments(settings: &ServerSettings, transport: Transport, key_len: usize) -> Result<Segments, SettingsError> {
    let read = ServerKey::read(&settings.spki, transport).map_err(SettingsError::Key)?;
    if read.spki.len() > key_len {
        return Err(SettingsError::Key(ServerKeyError::Room { len: key_len }));
    }
    let mut key = read.spki;
    key.resize(key_len, 0xff);
    let address = ServerAddress::new(&settings.host, settings.port).map_err(SettingsError::Address)?;
    Ok(Segments {
        key,
        address: address.write(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::PrivateForm, model::Platform};

    fn lens(transport: Transport) -> usize {
        Platform::Photon.key_segments(transport).server_key.len as usize
    }

    #[test]
    fn the_vendors_files_come_out_byte_for_byte() {
        // device-protocol.md 4.5: ec.pub.der and rsa.pub.der
        let udp = segments(&production(Transport::Udp), Transport::Udp, lens(Transport::Udp)).unwrap();
        let file = [udp.key.as_slice(), &udp.address].concat();
        assert_eq!(file.len(), 320);
        assert_eq!(hex(&file), "8bf15949f650e70f7a575b15585084ac12af597642427a5ca00a427d421affa4");
        let tcp = segments(&production(Transport::Tcp), Transport::Tcp, lens(Transport::Tcp)).unwrap();
        let mut file = [tcp.key.as_slice(), &tcp.address].concat();
        assert_eq!(file.len(), 512);
        // The vendor's file ends the name with a zero that no reader looks at.
        file[384 + 2 + 15] = 0;
        assert_eq!(hex(&file), "2a1c82fb5f28fe1ba95b4af966aca326eb22398b977fa2540233dbe703fddb16");
        let found = ServerFound::read(&file[..384], &file[384..], Transport::Tcp);
        assert_eq!(found.differences(&production(Transport::Tcp), Transport::Tcp), []);
    }

    fn hex(bytes: &[u8]) -> String {
        Fingerprint(Sha256::digest(bytes).into()).to_string()
    }

    #[test]
    fn every_difference_is_found_and_no_other() {
        let transport = Transport::Tcp;
        let wanted = ServerSettings {
            host: "cloud.example".into(),
            port: Some(7000),
            ..production(transport)
        };
        let there = segments(&wanted, transport, 384).unwrap();
        let found = ServerFound::read(&there.key, &there.address, transport);
        assert_eq!(found.differences(&wanted, transport), []);
        let default = ServerSettings {
            port: None,
            ..wanted.clone()
        };
        assert_eq!(
            found.differences(&default, transport),
            [Difference::Port {
                found: 7000,
                wanted: 5683
            }]
        );
        let explicit = ServerSettings {
            port: Some(5683),
            ..wanted.clone()
        };
        let plain = segments(&default, transport, 384).unwrap();
        let plain = ServerFound::read(&plain.key, &plain.address, transport);
        assert_eq!(
            plain.differences(&explicit, transport),
            [],
            "the default port may be named or not"
        );
        assert!(matches!(
            found.differences(&production(transport), transport)[..],
            [Difference::Host { .. }, Difference::Port { .. }]
        ));
        let blank = ServerFound::read(&[0xff; 384], &[0xff; 128], transport);
        assert_eq!(
            blank.differences(&wanted, transport),
            [
                Difference::KeyUnusable(ServerKeyError::Blank),
                Difference::AddressUnusable(AddressError::Blank)
            ]
        );
        let mut other = there.key.clone();
        other[40] ^= 1;
        assert!(matches!(
            ServerFound::read(&other, &there.address, transport).differences(&wanted, transport)[..],
            [Difference::Key { .. }]
        ));
    }

    #[test]
    fn on_udp_the_port_has_no_effect_and_any_production_host_will_do() {
        let transport = Transport::Udp;
        for host in ["$id.udp.particle.io", "$id.udp-mesh.particle.io", "udp.particle.io"] {
            let there = segments(
                &ServerSettings {
                    host: host.into(),
                    port: Some(1),
                    ..production(transport)
                },
                transport,
                192,
            )
            .unwrap();
            let found = ServerFound::read(&there.key, &there.address, transport);
            assert_eq!(found.differences(&production(transport), transport), [], "{host}");
            let ours = ServerSettings {
                host: "$id.cloud.example".into(),
                ..production(transport)
            };
            assert!(matches!(found.differences(&ours, transport)[..], [Difference::Host { .. }]));
        }
    }

    #[test]
    fn keys_of_the_wrong_kind_are_refused() {
        for (key, transport) in [(Transport::Udp, Transport::Tcp), (Transport::Tcp, Transport::Udp)] {
            let settings = production(key);
            assert!(matches!(
                segments(&settings, transport, 384),
                Err(SettingsError::Key(ServerKeyError::Kind { .. }))
            ));
            assert!(matches!(
                ServerKey::from_file(&settings.spki, transport),
                Err(ServerKeyError::Kind { .. })
            ));
            assert_eq!(ServerKey::from_file(&settings.spki, key).unwrap().spki, settings.spki);
        }
        assert!(matches!(
            segments(&production(Transport::Tcp), Transport::Tcp, 192),
            Err(SettingsError::Key(ServerKeyError::Room { len: 192 }))
        ));
        assert_eq!(
            ServerKey::from_file(b"-----BEGIN PRIVATE KEY-----", Transport::Udp),
            Err(ServerKeyError::File(PublicKeyError::Private {
                form: PrivateForm::Pkcs8
            }))
        );
        let mut torn = production(Transport::Udp).spki;
        torn[50..].fill(0xff);
        assert!(matches!(
            ServerKey::read(&torn, Transport::Udp),
            Err(ServerKeyError::Flawed(_))
        ));
    }
}
