//! Where a control transfer goes: standard requests, the serial port's class requests, and the way to DFU, service protocol
//! and raw requests.

use std::time::Duration;

use crate::edge::{Setup, UsbError};

use super::{
    Act, Boot, Device, Dfu, Mode, Transfer,
    descriptors::Facts,
    dfu::{After, Manners},
    layout::Installed,
    platform::Family,
    protection::Shown,
    stall,
};

impl Device {
    /// Answers one control transfer of a device that is on the bus.
    pub(super) fn answer(&mut self, now: Duration, setup: Setup, data: &[u8]) -> Transfer {
        let dfu = self.s.mode == Mode::Dfu;
        if !setup.is_in() && data.len() != usize::from(setup.length) {
            return stall();
        }
        let mut transfer = match setup.request_type >> 5 & 3 {
            0 => self.standard(setup),
            1 if dfu => self.dfu_request(now, setup, data),
            1 => self.serial_port(now, setup, data),
            2 if setup.request == 0xee => reply(self.facts(|f| f.wcid(setup.request_type, setup.index))),
            2 if !dfu => self.vendor(now, setup, data),
            _ => stall(),
        };
        if let Ok(bytes) = &mut transfer.result {
            bytes.truncate(usize::from(setup.length));
        }
        transfer
    }

    fn standard(&mut self, setup: Setup) -> Transfer {
        let dfu = self.s.mode == Mode::Dfu;
        let [index, kind] = setup.value.to_le_bytes();
        let interfaces = if dfu { 1 } else { 3 };
        match (setup.request_type, setup.request) {
            (0x80, 0) => reply(Some(vec![u8::from(dfu), 0])),
            (0x81 | 0x82, 0) => reply(Some(vec![0, 0])),
            (0x00..=0x02, 1 | 3) | (0x00, 5) => reply(Some(Vec::new())),
            (0x80, 6) => reply(self.facts(|f| f.descriptor(kind, index))),
            (0x80, 8) => reply(Some(vec![1])),
            (0x00, 9) if setup.value <= 1 => {
                self.s.dfu.alt = 0;
                reply(Some(Vec::new()))
            }
            (0x81, 10) if setup.index < interfaces => reply(Some(vec![if dfu { self.s.dfu.alt } else { 0 }])),
            (0x01, 11) if setup.index < interfaces => {
                let settings = if dfu { self.facts(|f| Some(f.alternates())) } else { Some(1) };
                if settings.is_none_or(|n| setup.value >= u16::from(n)) {
                    return stall();
                }
                if dfu {
                    self.s.dfu.alt = index;
                }
                reply(Some(Vec::new()))
            }
            _ => stall(),
        }
    }

    fn serial_port(&mut self, now: Duration, setup: Setup, data: &[u8]) -> Transfer {
        match (setup.request_type, setup.request) {
            (0x21, 0x20) if data.len() == 7 => {
                self.s.line_coding = data.to_vec().into();
                // 14400 baud is the touch that enters DFU mode (6.3).
                if data[..4] == 14_400_u32.to_le_bytes() {
                    self.s.pending = Some((now + self.timing.reset_delay, Act::Reset(Boot::Dfu)));
                }
                reply(Some(Vec::new()))
            }
            (0xa1, 0x21) => reply(Some(self.s.line_coding.to_vec())),
            (0x21, 0x22 | 0x23) => reply(Some(Vec::new())),
            _ => stall(),
        }
    }

    fn dfu_request(&mut self, now: Duration, setup: Setup, data: &[u8]) -> Transfer {
        if setup.index != 0 {
            return stall();
        }
        let manners = Manners {
            family: self.platform.family,
            commands: commands(self.platform.family, self.installed()),
            enforced: self.enforced(),
            error_string: self.facts(|f| Some(f.error_string())).unwrap_or_default(),
        };
        let mut dfu = std::mem::replace(&mut self.s.dfu, Dfu::new());
        let mut allowed = dfu.system_allowed;
        let answer = dfu.request(setup, data, &mut self.memory(now, &mut allowed), manners);
        dfu.system_allowed = allowed;
        self.s.dfu = dfu;
        match answer.after {
            Some(After::Leave) => self.s.pending = Some((now + self.timing.leave_delay, Act::Reset(Boot::Normal))),
            Some(After::LeaveSafe) => self.s.pending = Some((now + self.timing.leave_delay, Act::Reset(Boot::Safe))),
            Some(After::ClearOverride) => self.end_service(),
            Some(After::Crash) => self.s.dfu.crash(),
            Some(After::Detach) => self.reset(now, Boot::Dfu),
            None => {}
        }
        Transfer {
            result: answer.result,
            takes: answer.takes,
        }
    }

    fn vendor(&mut self, now: Duration, setup: Setup, data: &[u8]) -> Transfer {
        // RTL872x never completes an OUT transfer without a data stage (1.1).
        if self.platform.family == Family::Rtl && !setup.is_in() && data.is_empty() {
            return Transfer {
                result: Err(UsbError::Timeout),
                takes: Duration::ZERO,
            };
        }
        match (setup.request_type, setup.request) {
            (0xc0 | 0x40, 0x50) => self.raw(now, setup),
            (0xc0, 1 | 2 | 4 | 5) | (0x40, 3) => self.service_request(now, setup, data),
            _ => stall(),
        }
    }

    /// Requests that the interrupt handler answers by itself (2.2).
    fn raw(&mut self, now: Duration, setup: Setup) -> Transfer {
        match (setup.is_in(), setup.index) {
            (true, 20) if (24..=64).contains(&setup.length) => reply(Some(self.id().to_string().to_uppercase().into_bytes())),
            (true, 30) if setup.length >= 1 => {
                let version = self.installed().os_version();
                reply(Some(super::requests::version_text(version).into_bytes()))
            }
            (false, 40) if self.installed().os_version() >= 2000 => {
                self.reset(now, Boot::Normal);
                Transfer {
                    result: Err(UsbError::Gone),
                    takes: Duration::ZERO,
                }
            }
            (false, 302) if self.installed().os_version() >= 2000 => {
                self.cloud_disconnect();
                reply(Some(Vec::new()))
            }
            _ => stall(),
        }
    }

    /// Asks the descriptors something.
    fn facts<T>(&mut self, ask: impl FnOnce(&Facts<'_>) -> Option<T>) -> Option<T> {
        let dfu = self.s.mode == Mode::Dfu;
        let family = self.platform.family;
        let installed = self.installed();
        let tells = family != Family::Gen2
            && if dfu {
                loader(installed) >= TELLS_STATE
            } else {
                installed.os_version() >= 6200
            };
        let state = match self.shown() {
            Shown::Open => "sm=o",
            Shown::Protected => "sm=p",
            Shown::Service => "sm=s",
        };
        let serial = self.serial_string();
        ask(&Facts {
            platform: self.platform,
            dfu,
            serial: &serial,
            enforced: self.enforced(),
            state: tells.then_some(state),
        })
    }
}

fn reply(bytes: Option<Vec<u8>>) -> Transfer {
    Transfer {
        result: bytes.ok_or(UsbError::Stall),
        takes: Duration::ZERO,
    }
}

fn loader(installed: &Installed) -> u16 {
    installed.bootloader().map_or(0, |b| b.module.header.version)
}

/// What UPLOAD of block 0 lists (3.2).
fn commands(family: Family, installed: &Installed) -> &'static [u8] {
    match loader(installed) {
        TELLS_STATE.. if family != Family::Gen2 => &[0x00, 0x21, 0x41, 0xfa, 0xfb],
        3001.. if family != Family::Gen2 => &[0x00, 0x21, 0x41, 0xfa],
        _ => &[0x00, 0x21, 0x41],
    }
}

/// The bootloader of Device OS 6.2.0: the state string and command 0xFB are in it and not in that of 6.1.1 (3001).
const TELLS_STATE: u16 = 3100;
