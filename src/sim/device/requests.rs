//! What each control request does (device-protocol.md 2.3 to 2.8).
//!
//! Requests that a Device OS version does not know are answered with -120, as by the real one.

use std::time::Duration;

use super::{
    Act, Boot, Device, Mode,
    dct::{self, Field, address_of, server_fields},
    module::function,
    network::{Cloud, Known},
    platform::{Family, Transport},
    proto::{Fields, Message},
};

/// What a handler gives.
pub(super) struct Reply {
    pub(super) result: i32,
    pub(super) body: Vec<u8>,
    pub(super) takes: Duration,
    /// What follows once the host has fetched the reply.
    pub(super) act: Option<Act>,
}

impl Reply {
    pub(super) fn ok() -> Self {
        error(0)
    }

    pub(super) fn body(message: Message) -> Self {
        Self {
            body: message.done(),
            ..Self::ok()
        }
    }

    fn then(act: Act) -> Self {
        Self {
            act: Some(act),
            ..Self::ok()
        }
    }
}

/// A reply with a result code of device-protocol.md 2.8 and nothing else.
pub(super) fn error(result: i32) -> Reply {
    Reply {
        result,
        body: Vec::new(),
        takes: Duration::ZERO,
        act: None,
    }
}

impl Device {
    /// Carries out one request.
    pub(super) fn handle(&mut self, now: Duration, kind: u16, payload: &[u8]) -> Reply {
        let mut reply = if self.enforced() && !matches!(kind, 10 | 20 | 76 | 77) {
            error(PROTECTED)
        } else if self.s.spec.denied.contains(&kind) {
            error(-130)
        } else {
            let os = self.installed().os_version();
            self.identity(kind, payload, os)
                .or_else(|| self.modes(now, kind, payload, os))
                .or_else(|| self.cloud_requests(now, kind, payload, os))
                .or_else(|| self.wifi_requests(now, kind, payload))
                .or_else(|| self.gen2_requests(kind, payload, os))
                .unwrap_or_else(|| error(NOT_SUPPORTED))
        };
        reply.takes += self.timing.request;
        reply
    }

    /// Who and what it is.
    fn identity(&mut self, kind: u16, payload: &[u8], os: u16) -> Option<Reply> {
        let text = |value: &str| Reply::body(Message::new().bytes(1, value.as_bytes()));
        Some(match kind {
            1 => Reply {
                body: payload.to_vec(),
                ..Reply::ok()
            },
            20 if os >= 1500 => text(&self.id().to_string()),
            21 if os >= 1500 => match &self.s.spec.serial {
                Some(serial) => text(serial),
                None => error(if self.platform.family == Family::Nrf { -1 } else { -250 }),
            },
            30 => text(&version_text(os)),
            31 if self.s.ncp.is_some() => {
                let version = self.s.ncp.unwrap_or_default();
                Reply::body(
                    Message::new()
                        .bytes(1, format!("0.0.{version}").as_bytes())
                        .number(2, u64::from(version)),
                )
            }
            32 => Reply::body(Message::new().fixed(1, u32::from(os < 4000))),
            33 | 34 => self.feature(kind, payload),
            90 => Reply {
                takes: self.timing.request * 10,
                ..Reply::body(self.module_info(os))
            },
            91 if os >= 5600 => Reply::body(self.asset_info()),
            100 if payload.is_empty() => Reply {
                body: self.diagnostics().into_bytes(),
                ..Reply::ok()
            },
            400 => self.interface_list(),
            401 => self.interface(payload),
            554 if self.platform.cellular => self.sim(os),
            _ => return None,
        })
    }

    /// Resets, modes, protection, updates.
    fn modes(&mut self, now: Duration, kind: u16, payload: &[u8], os: u16) -> Option<Reply> {
        let fields = Fields::read(payload);
        let flag = fields.as_ref().map_or(0, |f| f.number(1));
        Some(match kind {
            40 => Reply::then(Act::Reset(Boot::Normal)),
            41 => Reply::then(Act::Factory),
            50 => Reply::then(Act::Reset(Boot::Dfu)),
            60 => Reply::then(Act::Reset(Boot::Safe)),
            70 | 71 => {
                self.listen(now, kind == 70);
                Reply::ok()
            }
            72 => {
                let listening = matches!(self.s.mode, Mode::Run { listening: true, .. });
                Reply::body(Message::new().number(1, u64::from(listening)))
            }
            73 => error(if flag == 1 { 0 } else { NOT_SUPPORTED }),
            74 => Reply::body(Message::new().number(1, 1)),
            75 => {
                self.s.start_listening = flag == 1;
                Reply::ok()
            }
            76 if os >= 6000 => Reply::body(self.protected_state()),
            77 if os >= 6101 => self.set_protected_state(now, payload),
            230 | 231 => Reply::ok(),
            250 => self.update_start(payload),
            251 => self.update_finish(payload),
            252 => {
                self.s.update = None;
                Reply::ok()
            }
            253 => self.update_data(payload),
            _ => return None,
        })
    }

    /// Claiming and the connection.
    fn cloud_requests(&mut self, now: Duration, kind: u16, payload: &[u8], os: u16) -> Option<Reply> {
        Some(match kind {
            200 => {
                let code = Fields::read(payload).and_then(|f| f.text(1)).filter(|c| c.len() <= 64);
                let Some(code) = code else { return Some(error(-270)) };
                let length = code.len().min(dct::CLAIM_CODE.size);
                self.s.dct.fill(dct::CLAIM_CODE, &code.as_bytes()[..length]);
                self.s.counters.dct_writes += 1;
                Reply::ok()
            }
            201 => Reply::body(Message::new().number(1, u64::from(self.s.dct.field(dct::CLAIMED) == b"1"))),
            300 if os >= 1100 => Reply::body(Message::new().number(1, self.connection_status())),
            301 if os >= 1100 => {
                self.s.auto_connect = true;
                if self.s.cloud == Cloud::Off {
                    self.cloud_start(now);
                }
                Reply::ok()
            }
            302 if os >= 1100 => {
                self.cloud_disconnect();
                Reply::ok()
            }
            _ => return None,
        })
    }

    fn wifi_requests(&mut self, now: Duration, kind: u16, payload: &[u8]) -> Option<Reply> {
        if !self.platform.wifi || !(500..=507).contains(&kind) {
            return None;
        }
        let Some(request) = Fields::read(payload) else {
            return Some(error(-280));
        };
        let Some(ssid) = request.text(1).filter(|s| s.len() <= 32) else {
            return Some(error(-270));
        };
        let reply = match kind {
            500 | 507 => self.learn_network(&ssid, &request, kind == 500),
            501 if self.s.networks.iter().any(|k| k.ssid == ssid) => Reply::ok(),
            501 => error(-170),
            502 => self.known_networks(),
            503 => {
                let before = self.s.networks.len();
                self.s.networks.retain(|k| k.ssid != ssid);
                error(if self.s.networks.len() < before { 0 } else { -170 })
            }
            504 => {
                self.s.networks.clear();
                Reply::ok()
            }
            505 => self.current_network(),
            _ => self.scan(),
        };
        self.network_changed(now);
        Some(reply)
    }

    /// Keys and server over control requests: Device OS 0.8.0 to 3.3.x on Gen 2 only.
    fn gen2_requests(&mut self, kind: u16, payload: &[u8], os: u16) -> Option<Reply> {
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
                self.s.dct.fill(slot, data);
                self.s.counters.dct_writes += 1;
                self.s.counters.key_writes += u64::from(matches!(request.number(1), 1 | 4));
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
                self.s.dct.fill(field, &dct::address_bytes(&host));
                self.s.dct.write(field.at + 66, &port.to_be_bytes());
                self.s.counters.dct_writes += 1;
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
                    self.s.dct.fill(dct::CLOUD_TRANSPORT, &[byte]);
                    self.s.counters.dct_writes += 1;
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
                self.s.dct.fill(dct::SSID_PREFIX, &[&[length], prefix.as_bytes()].concat());
                self.s.dct.fill(dct::DEVICE_CODE, suffix.as_bytes());
                self.s.counters.dct_writes += 1;
                Reply::ok()
            }
            _ => return None,
        })
    }

    fn listen(&mut self, now: Duration, on: bool) {
        let Mode::Run { safe, listening } = self.s.mode else { return };
        self.s.mode = Mode::Run { safe, listening: on };
        if on {
            self.s.cloud = Cloud::Off;
        } else if listening {
            self.cloud_start(now);
        }
    }

    fn connection_status(&self) -> u64 {
        match self.s.cloud {
            Cloud::Off | Cloud::NoNetwork => 0,
            Cloud::Connected => 2,
            _ => 1,
        }
    }

    fn feature(&mut self, kind: u16, payload: &[u8]) -> Reply {
        match Fields::read(payload) {
            Some(f) if f.number(1) == 1 && kind == 33 => {
                self.s.ethernet = f.number(2) != 0;
                Reply::ok()
            }
            Some(f) if f.number(1) == 1 => Reply::body(Message::new().number(1, u64::from(self.s.ethernet))),
            _ => error(NOT_SUPPORTED),
        }
    }

    fn diagnostics(&self) -> String {
        let dials = self.s.counters.dials;
        format!(
            "{{\"sys:uptime\":{},\"cloud:stat\":{},\"cloud:att\":{dials},\"net:rssi\":{{\"err\":-210}}}}",
            self.s.clock.as_secs(),
            self.connection_status(),
        )
    }

    /// GET_MODULE_INFO in the format of the Device OS that runs.
    fn module_info(&mut self, os: u16) -> Message {
        let (ncp, installed) = (self.s.ncp, self.installed());
        let mut reply = Message::new();
        for entry in installed.entries() {
            let header = &entry.module.header;
            let dependencies = entry.module.dependencies();
            let parts = dependencies.iter().map(|d| {
                let kind = if os >= 5600 { d.function } else { old_type(d.function) };
                Message::new()
                    .number(1, kind.into())
                    .number(2, d.index.into())
                    .number(3, d.version.into())
            });
            if os < 5600 {
                let invalid = u64::from(!entry.module.crc_ok) | u64::from(!entry.dependencies) << 1;
                let message = Message::new()
                    .number(1, old_type(header.function).into())
                    .number(2, header.index.into())
                    .number(3, header.version.into())
                    .number(4, header.length() as u64)
                    .number(5, invalid);
                reply = reply.message(1, parts.fold(message, |m, d| m.message(6, d)));
                continue;
            }
            let passed = [entry.module.crc_ok, entry.dependencies, entry.range, entry.platform];
            let flags = passed.iter().enumerate().map(|(bit, ok)| u32::from(*ok) << (bit + 1)).sum();
            let mut message = Message::new()
                .number(1, header.function.into())
                .number(2, header.index.into())
                .number(3, header.version.into())
                .number(5, entry.room.into())
                .fixed(6, ALL_CHECKS)
                .fixed(7, flags);
            if header.function == function::USER {
                message = message.bytes(8, &entry.module.hash);
            }
            message = parts.fold(message, |m, d| m.message(9, d));
            for asset in entry.module.required_assets() {
                message = message.message(10, Message::new().bytes(1, &asset.hash).bytes(2, asset.name.as_bytes()));
            }
            message = message.number(11, header.length() as u64);
            if entry.module.protects() {
                message = message.message(12, Message::new().number(1, 1));
            }
            reply = reply.message(2, message);
        }
        for (kind, version) in [(function::RADIO, installed.radio()), (function::NCP, ncp)] {
            if let Some(version) = version {
                let message = if os < 5600 {
                    Message::new().number(1, old_type(kind).into()).number(3, version.into())
                } else {
                    let message = Message::new().number(1, kind.into()).number(3, version.into());
                    message.fixed(6, ALL_CHECKS).fixed(7, ALL_CHECKS)
                };
                reply = reply.message(if os < 5600 { 1 } else { 2 }, message);
            }
        }
        reply
    }

    fn interface_list(&self) -> Reply {
        let mut reply = Message::new().message(1, interface_head(1, "lo0", 1));
        if self.platform.wifi {
            reply = reply.message(1, interface_head(WIFI_INDEX, "wl3", 8));
        }
        if self.platform.cellular {
            reply = reply.message(1, interface_head(PPP_INDEX, "pp3", 16));
        }
        Reply::body(reply)
    }

    fn interface(&self, payload: &[u8]) -> Reply {
        let Some(request) = Fields::read(payload) else {
            return error(-280);
        };
        let message = match request.number(1) {
            1 => interface_head(1, "lo0", 1).number(4, 0x49),
            WIFI_INDEX if self.platform.wifi => {
                let up = if self.joined().is_some() { 0x43 } else { 0x03 };
                // On RTL872x the id ends in the MAC address (1.2); elsewhere the simulator makes one from the id.
                let id = self.id();
                interface_head(WIFI_INDEX, "wl3", 8)
                    .number(4, up)
                    .bytes(8, &id.bytes()[6..])
                    .number(9, 1500)
            }
            PPP_INDEX if self.platform.cellular => interface_head(PPP_INDEX, "pp3", 16).number(4, 0x11).number(9, 1500),
            _ => return error(-170),
        };
        Reply::body(Message::new().message(1, message))
    }

    /// GET_ICCID. The modem must be on, which the simulator's always is.
    fn sim(&self, os: u16) -> Reply {
        let Some(iccid) = &self.s.spec.iccid else {
            return error(-1200);
        };
        let mut reply = Message::new().bytes(1, iccid.as_bytes());
        if let Some(imei) = self.s.spec.imei.as_ref().filter(|_| os >= 5800) {
            reply = reply.bytes(2, imei.as_bytes());
        }
        Reply {
            takes: Duration::from_millis(20),
            ..Reply::body(reply)
        }
    }

    fn learn_network(&mut self, ssid: &str, request: &Fields<'_>, join: bool) -> Reply {
        let credentials = request.bytes(4).and_then(Fields::read);
        let password = credentials.as_ref().and_then(|c| c.text(2)).unwrap_or_default();
        let new = Known {
            ssid: ssid.into(),
            password,
            security: request.number(3),
        };
        let known = |a: &super::AccessPoint| a.ssid == new.ssid;
        let fits = |a: &super::AccessPoint| known(a) && a.password == new.password;
        let air = &self.s.spec.air;
        if ssid.is_empty() {
            return error(-270);
        }
        if join && !air.is_empty() && !air.iter().any(fits) {
            return error(if air.iter().any(known) { -230 } else { -170 });
        }
        self.s.networks.retain(|k| k.ssid != new.ssid);
        self.s.networks.push(new);
        Reply::ok()
    }

    fn known_networks(&self) -> Reply {
        let entry = |k: &Known| {
            let credentials = u64::from(!k.password.is_empty());
            Message::new()
                .bytes(1, k.ssid.as_bytes())
                .number(2, k.security)
                .number(3, credentials)
        };
        Reply::body(self.s.networks.iter().fold(Message::new(), |all, k| all.message(1, entry(k))))
    }

    fn current_network(&self) -> Reply {
        let Some(joined) = self.joined() else { return error(-210) };
        let point = self.s.spec.air.iter().find(|a| a.ssid == joined.ssid);
        let (bssid, channel, rssi) = point.map_or(([2, 0, 0, 0, 0, 1], 6, -50), |a| (a.bssid, a.channel, a.rssi));
        let message = Message::new().bytes(1, joined.ssid.as_bytes()).bytes(2, &bssid);
        Reply::body(message.number(3, channel.into()).signed(4, rssi.into()))
    }

    fn scan(&self) -> Reply {
        let entry = |a: &super::AccessPoint| {
            let message = Message::new()
                .bytes(1, a.ssid.as_bytes())
                .bytes(2, &a.bssid)
                .number(3, a.security.into());
            message.number(4, a.channel.into()).signed(5, a.rssi.into())
        };
        Reply {
            takes: self.timing.network,
            ..Reply::body(self.s.spec.air.iter().fold(Message::new(), |all, a| all.message(1, entry(a))))
        }
    }
}

/// The text of a module version. Not all follow the rule (5.6).
pub(super) fn version_text(version: u16) -> String {
    match version {
        5002 => "5.0.0".into(),
        5003 => "5.0.1".into(),
        5004 => "5.1.0".into(),
        5410 => "5.4.1".into(),
        5501 => "5.5.0".into(),
        5901 => "5.9.0".into(),
        _ => format!("{}.{}.{}", version / 1000, version / 100 % 10, version % 100),
    }
}

fn interface_head(index: u64, name: &str, kind: u64) -> Message {
    Message::new().number(1, index).bytes(2, name.as_bytes()).number(3, kind)
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

/// ctrl.FirmwareModuleType of a module function.
const fn old_type(function: u8) -> u8 {
    match function {
        function::BOOTLOADER => 1,
        function::SYSTEM => 2,
        function::USER => 3,
        function::MONO => 4,
        function::NCP => 5,
        function::RADIO => 6,
        _ => 0,
    }
}

const NOT_SUPPORTED: i32 = -120;
const PROTECTED: i32 = -1801;
/// Integrity, dependencies, range, platform.
const ALL_CHECKS: u32 = 0x1e;
const WIFI_INDEX: u64 = 4;
const PPP_INDEX: u64 = 3;
