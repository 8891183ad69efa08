//! Keys, server and access point name over control requests, as Gen 2 offers them with Device OS 0.8.0 to 3.3.x
//! (device-protocol.md 2.4, 2.5).

use std::time::Duration;

use super::{
    Device,
    dct::{self, Field, address_of, server_fields},
    platform::{Family, Transport},
    proto::{Fields, Message},
    requests::{NOT_SUPPORTED, Reply, error},
};

impl Device {
    /// Keys and server over control requests: Device OS 0.8.0 to 3.3.x on Gen 2 only.
    pub(super) fn gen2_requests(&mut self, now: Duration, kind: u16, payload: &[u8], os: u16) -> Option<Reply> {
        if self.platform.family != Family::Gen2 || !(800..4000).contains(&os) {
            return None;
        }
        let request = Fields::read(payload)?;
        let transport = match request.number(1) {
            1 => Some(Transport::Tcp),
            2 => Some(Transport::Udp),
            _ => None,
        };
        Some(match kind {
            210 | 211 => {
                let Some(slot) = security_key(request.number(1)) else {
                    return Some(error(-270));
                };
                if kind == 211 {
                    return Some(Reply::body(Message::new().bytes(1, self.s.dct.field(slot))));
                }
                let data = request.bytes(2).unwrap_or_default();
                if data.len() > slot.size {
                    return Some(error(-190));
                }
                self.write_dct(now, slot, data);
                Reply::ok()
            }
            220 => {
                let (Some(transport), Some(host)) = (transport, request.text(2).filter(|h| h.len() <= 64)) else {
                    return Some(error(-270));
                };
                let Ok(port) = u16::try_from(request.number(3)) else {
                    return Some(error(-270));
                };
                let (_, field) = server_fields(transport);
                let mut bytes = dct::address_bytes(&host);
                bytes.resize(66, 0xff);
                bytes.extend(port.to_be_bytes());
                self.write_dct(now, field, &bytes);
                Reply::ok()
            }
            221 => {
                let Some(transport) = transport else {
                    return Some(error(-270));
                };
                match address_of(self.s.dct.field(server_fields(transport).1)) {
                    Some((host, port)) => Reply::body(Message::new().bytes(1, host.as_bytes()).number(2, u64::from(port))),
                    None => error(-280),
                }
            }
            222 => match (transport, self.platform.id) {
                (Some(chosen), 10) => {
                    let byte = if chosen == Transport::Tcp { 0 } else { 0xff };
                    self.write_dct(now, dct::CLOUD_TRANSPORT, &[byte]);
                    Reply::ok()
                }
                (Some(Transport::Tcp), _) => Reply::ok(),
                _ => error(NOT_SUPPORTED),
            },
            223 => Reply::body(Message::new().number(1, if self.transport() == Transport::Tcp { 1 } else { 2 })),
            240 => {
                let (prefix, suffix) = (request.text(1)?, request.text(2)?);
                if prefix.len() > 25 || suffix.len() > 6 {
                    return Some(error(-190));
                }
                let length = u8::try_from(prefix.len()).unwrap_or_default();
                self.write_dct(now, dct::SSID_PREFIX, &[&[length], prefix.as_bytes()].concat());
                self.write_dct(now, dct::DEVICE_CODE, suffix.as_bytes());
                Reply::ok()
            }
            _ => return None,
        })
    }
}

/// The slots that SecurityKeyType names.
fn security_key(kind: u64) -> Option<Field> {
    use Transport::{Tcp, Udp};
    Some(match kind {
        1 => dct::private_field(Tcp),
        2 => dct::public_field(Tcp),
        3 => dct::server_fields(Tcp).0,
        4 => dct::private_field(Udp),
        5 => dct::public_field(Udp),
        6 => dct::server_fields(Udp).0,
        _ => return None,
    })
}
