//! What each control request does (device-protocol.md 2.3 to 2.8).
//!
//! Requests that a Device OS version does not know are answered with -120, as by the real one.

use std::time::Duration;

use super::{
    Act, Boot, Device, Mode, dct,
    network::Cloud,
    platform::Family,
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
                .or_else(|| self.gen2_requests(now, kind, payload, os))
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
            100 if payload.is_empty() && os >= 800 => Reply {
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
            // Gen 2 tells its mode from Device OS 1.1.0 on.
            72 if self.platform.family == Family::Gen2 && os < 1100 => error(NOT_SUPPORTED),
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
                self.write_dct(now, dct::CLAIM_CODE, &code.as_bytes()[..length]);
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

    fn listen(&mut self, now: Duration, on: bool) {
        let Mode::Run { safe, listening } = self.s.mode else { return };
        self.s.mode = Mode::Run { safe, listening: on };
        if on {
            self.s.cloud = Cloud::Off;
        } else if listening {
            self.s.auto_connect = true;
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

    /// The diagnostics of Device OS that a key problem shows in. A value that cannot be had is an object with the reason.
    fn diagnostics(&self) -> String {
        format!(
            "{{\"sys:uptime\":{},\"net:rssi\":{{\"err\":-210}},\"cloud:stat\":{},\"cloud:err\":{},\"cloud:connatt\":{}}}",
            self.s.clock.as_secs(),
            self.connection_status(),
            self.s.last_error,
            self.s.attempts,
        )
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

pub(super) const NOT_SUPPORTED: i32 = -120;
const PROTECTED: i32 = -1801;
