//! Control requests about networks: Wi-Fi credentials and scans, and the list of interfaces (device-protocol.md 2.7).

use std::time::Duration;

use super::{
    AccessPoint, Device,
    network::Known,
    proto::{Fields, Message},
    requests::{Reply, error},
};

impl Device {
    /// Requests 500 to 507.
    pub(super) fn wifi_requests(&mut self, now: Duration, kind: u16, payload: &[u8]) -> Option<Reply> {
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

    pub(super) fn interface_list(&self) -> Reply {
        let mut reply = Message::new().message(1, interface_head(1, "lo0", 1));
        if self.platform.wifi {
            reply = reply.message(1, interface_head(WIFI_INDEX, "wl3", 8));
        }
        if self.platform.cellular {
            reply = reply.message(1, interface_head(PPP_INDEX, "pp3", 16));
        }
        Reply::body(reply)
    }

    pub(super) fn interface(&self, payload: &[u8]) -> Reply {
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

    fn learn_network(&mut self, ssid: &str, request: &Fields<'_>, join: bool) -> Reply {
        let credentials = request.bytes(4).and_then(Fields::read);
        let password = credentials.as_ref().and_then(|c| c.text(2)).unwrap_or_default();
        let new = Known {
            ssid: ssid.into(),
            password,
            security: request.number(3),
        };
        let known = |a: &AccessPoint| a.ssid == new.ssid;
        let fits = |a: &AccessPoint| known(a) && a.password == new.password;
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
        let entry = |a: &AccessPoint| {
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

fn interface_head(index: u64, name: &str, kind: u64) -> Message {
    Message::new().number(1, index).bytes(2, name.as_bytes()).number(3, kind)
}

const WIFI_INDEX: u64 = 4;
const PPP_INDEX: u64 = 3;
