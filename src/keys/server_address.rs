//! The address record of a server: 128 bytes of type, length, data and a port at a fixed place (device-protocol.md
//! 4.4, 8.4). Read by the devices' own rules.

use std::{fmt, net::Ipv4Addr};

use crate::model::platform::Transport;

/// Where a device looks for its cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host.
    pub host: Host,
    /// Port as stored; `None` for 0 and 0xFFFF, which mean the transport's default.
    pub port: Option<u16>,
}

/// The host part of an address record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A domain name; the device puts its id in place of `$id`.
    Domain(String),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
}

/// Why an address record is not valid for a device, or cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The record is blank: the device uses its built-in address.
    #[error("the server address is blank")]
    Blank,
    /// Fewer bytes than an address record needs.
    #[error("the server address record has {len} bytes and needs at least 68")]
    Short {
        /// The bytes there are.
        len: usize,
    },
    /// Neither a domain name nor an IPv4 address.
    #[error("the server address has type {found}, which devices do not know")]
    Type {
        /// The type byte.
        found: u8,
    },
    /// A length that the type cannot have.
    #[error("the server address has a length of {len} bytes, which its type cannot have")]
    Length {
        /// The length byte, or the length of the host that was asked for.
        len: usize,
    },
    /// A character that cannot be in a domain name record.
    #[error("the server's domain name has a character that devices refuse")]
    Unprintable,
    /// 0.0.0.0 or 255.255.255.255.
    #[error("{0} is not the address of a server")]
    NoHost(Ipv4Addr),
}

impl ServerAddress {
    /// The address of a host name or dotted IPv4 address.
    ///
    /// # Errors
    /// If no device could be given it: empty or over 63 characters, blanks, control or non-ASCII characters in the
    /// name, or an address that is not a host's.
    pub fn new(host: &str, port: Option<u16>) -> Result<Self, AddressError> {
        let host = match host.parse::<Ipv4Addr>() {
            Ok(ip) => Host::Ipv4(a_host(ip)?),
            Err(_) if host.is_empty() || host.len() > MOST_DOMAIN => return Err(AddressError::Length { len: host.len() }),
            Err(_) if !host.bytes().all(|b| b.is_ascii_graphic()) => return Err(AddressError::Unprintable),
            Err(_) => Host::Domain(host.to_owned()),
        };
        Ok(Self {
            host,
            port: port.filter(is_set),
        })
    }

    /// Reads a record as devices do.
    pub fn read(record: &[u8]) -> Result<Self, AddressError> {
        if record.len() < PORT_AT + 2 {
            return Err(AddressError::Short { len: record.len() });
        }
        let (kind, len) = (record[0], usize::from(record[1]));
        let host = match kind {
            // Blank flash; no other record has this type.
            0xff => return Err(AddressError::Blank),
            IPV4 if len == 4 => Host::Ipv4(a_host(Ipv4Addr::new(record[2], record[3], record[4], record[5]))?),
            DOMAIN if len <= MOST_DOMAIN => {
                let name = &record[2..2 + len];
                if !name.iter().all(|b| (b' '..=b'~').contains(b)) {
                    return Err(AddressError::Unprintable);
                }
                Host::Domain(name.iter().map(|b| char::from(*b)).collect())
            }
            IPV4 | DOMAIN => return Err(AddressError::Length { len }),
            found => return Err(AddressError::Type { found }),
        };
        let port = u16::from_be_bytes([record[PORT_AT], record[PORT_AT + 1]]);
        Ok(Self {
            host,
            port: Some(port).filter(is_set),
        })
    }

    /// The record, 128 bytes, unused ones 0xFF.
    pub fn write(&self) -> [u8; RECORD_LEN] {
        let mut record = [0xff; RECORD_LEN];
        let (kind, data): (u8, &[u8]) = match &self.host {
            Host::Ipv4(ip) => (IPV4, &ip.octets()),
            Host::Domain(name) => (DOMAIN, name.as_bytes()),
        };
        record[0] = kind;
        record[1] = u8::try_from(data.len()).expect("host names are checked to have at most 63 bytes");
        record[2..2 + data.len()].copy_from_slice(data);
        if let Some(port) = self.port {
            record[PORT_AT..PORT_AT + 2].copy_from_slice(&port.to_be_bytes());
        }
        record
    }

    /// The port that a device really uses: a UDP device throws a stored one away (device-protocol.md 4.4).
    pub fn effective_port(&self, transport: Transport) -> u16 {
        match (transport, self.port) {
            (Transport::Tcp, Some(port)) => port,
            _ => transport.default_port(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Domain(name) => f.write_str(name),
            Host::Ipv4(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Length of the record in every platform's key store.
pub const RECORD_LEN: usize = 128;
/// Where the port stands.
const PORT_AT: usize = 66;
/// The longest domain name.
const MOST_DOMAIN: usize = 63;
const IPV4: u8 = 0;
const DOMAIN: u8 = 1;

const fn is_set(port: &u16) -> bool {
    !matches!(*port, 0 | 0xffff)
}

fn a_host(ip: Ipv4Addr) -> Result<Ipv4Addr, AddressError> {
    if ip.is_unspecified() || ip.is_broadcast() {
        Err(AddressError::NoHost(ip))
    } else {
        Ok(ip)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_records() {
        // device-protocol.md 8.4
        let record = ServerAddress::new("192.168.1.10", Some(5684)).unwrap().write();
        assert_eq!(record[..7], [0, 4, 0xc0, 0xa8, 1, 0x0a, 0xff]);
        assert_eq!(record[66..68], [0x16, 0x34]);
        assert!(record[6..66].iter().chain(&record[68..]).all(|b| *b == 0xff));
        let record = ServerAddress::new("$id.udp.particle.io", None).unwrap().write();
        assert_eq!(record[..2], [1, 0x13]);
        assert_eq!(&record[2..21], b"$id.udp.particle.io");
        assert!(record[21..].iter().all(|b| *b == 0xff));
    }

    #[test]
    fn devices_refuse_what_we_refuse() {
        let mut record = [0xff; 128];
        assert_eq!(ServerAddress::read(&record), Err(AddressError::Blank));
        record[0] = 2;
        assert_eq!(ServerAddress::read(&record), Err(AddressError::Type { found: 2 }));
        record[..6].copy_from_slice(&[0, 4, 0, 0, 0, 0]);
        assert!(matches!(ServerAddress::read(&record), Err(AddressError::NoHost(_))));
        record[2..6].fill(255);
        assert!(matches!(ServerAddress::read(&record), Err(AddressError::NoHost(_))));
        record[1] = 5;
        assert_eq!(ServerAddress::read(&record), Err(AddressError::Length { len: 5 }));
        record[..2].copy_from_slice(&[1, 64]);
        record[2..].fill(b'a');
        assert_eq!(ServerAddress::read(&record), Err(AddressError::Length { len: 64 }));
        record[1] = 63;
        assert_eq!(ServerAddress::read(&record).unwrap().port, Some(0x6161));
        record[64] = 0x7f;
        assert_eq!(ServerAddress::read(&record), Err(AddressError::Unprintable));
        assert_eq!(ServerAddress::read(&record[..67]), Err(AddressError::Short { len: 67 }));
        for bad in ["", "a b", "käse.example", "0.0.0.0", "255.255.255.255", &"a".repeat(64)] {
            assert!(ServerAddress::new(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_tcp_devices_heed_a_port() {
        let address = ServerAddress::new("a.example", Some(7000)).unwrap();
        assert_eq!(
            (address.effective_port(Transport::Tcp), address.effective_port(Transport::Udp)),
            (7000, 5684)
        );
        for port in [Some(0), Some(0xffff), None] {
            let address = ServerAddress::new("a.example", port).unwrap();
            assert_eq!((address.port, address.effective_port(Transport::Tcp)), (None, 5683));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(host in "[!-~]{1,63}", port: u16) {
            if let Ok(address) = ServerAddress::new(&host, Some(port)) {
                prop_assert_eq!(ServerAddress::read(&address.write()), Ok(address));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            let _ = ServerAddress::read(&bytes);
        }
    }
}
