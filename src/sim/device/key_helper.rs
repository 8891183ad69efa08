//! An application with the library DeviceKeyHelperRK linked in: it keeps a copy of the key in a memory of its own, and puts
//! it back when the cloud does not take the one that the device holds (device-protocol.md 4.8).
//!
//! Its mistake is here on purpose. It takes the bytes behind the private key for the public one; on UDP they are the first
//! 128 of the server key, which it saves and puts back with the rest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Act, Blob, Boot, Dct, Device, Mode, StartHelper, StartKey,
    chance::Chance,
    dct::{self, Field},
    key,
    network::Cloud,
    platform::Transport,
};

/// What the library remembers.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyHelper {
    /// In EEPROM, on a card or in another memory that outlives everything here.
    record: Option<Blob>,
    /// Dials that failed since the start.
    failures: u32,
}

impl KeyHelper {
    /// Loses what is in RAM.
    pub(super) const fn forget(&mut self) {
        self.failures = 0;
    }
}

impl Device {
    /// The record that DeviceKeyHelperRK has saved, as a dump of the application's own memory shows it.
    pub fn key_helper_record(&self) -> Option<&[u8]> {
        Some(self.s.helper.as_ref()?.record.as_ref()?)
    }

    /// The device has connected: its key is a good one and is saved.
    pub(super) fn helper_connected(&mut self) {
        let present = self.s.dct.field(saved_field(self.transport())).to_vec();
        if self.application_runs()
            && let Some(helper) = &mut self.s.helper
        {
            helper.forget();
            helper.record = Some(record(&present).into());
        }
    }

    /// The device has failed to connect: if it looks like a key problem, the saved bytes are put back and it restarts.
    pub(super) fn helper_failed(&mut self, now: Duration) {
        let runs = self.application_runs();
        let tells_errors = self.installed().os_version() >= TELLS_ERRORS;
        let field = saved_field(self.transport());
        let Some(helper) = self.s.helper.as_mut().filter(|_| runs) else {
            return;
        };
        helper.failures += 1;
        let key_problem = if tells_errors {
            matches!(self.s.last_error, 26 | 10)
        } else {
            helper.failures >= 3
        };
        if !key_problem {
            return;
        }
        let present = self.s.dct.field(field).to_vec();
        match helper.record.as_deref().and_then(|record| payload(record, field.size)) {
            Some(saved) if saved != present => {
                let (saved, at) = (saved.to_vec(), u32::try_from(field.at).expect("the DCT is small"));
                // It does not look whether the write worked.
                let _ = self.memory(now, &mut false).program(1, at, &saved);
                self.s.cloud = Cloud::Off;
                self.s.pending = Some((now + self.timing.reset_delay, Act::Reset(Boot::Normal)));
            }
            Some(_) => {}
            None => helper.record = Some(record(&present).into()),
        }
    }

    const fn application_runs(&self) -> bool {
        matches!(self.s.mode, Mode::Run { safe: false, .. })
    }
}

/// The library as it is at first.
pub(super) fn start(kind: StartHelper, dct: &Dct, transport: Transport, os: u16, seed: u64) -> Option<KeyHelper> {
    let record = match kind {
        StartHelper::None => return None,
        StartHelper::Empty => None,
        StartHelper::Present => Some(connected(dct.clone(), transport)),
        StartHelper::Before => {
            let mut before = Dct::blank(dct.bytes().len());
            before.set_production(transport);
            before.fill(dct::private_field(transport), &slot_before(transport, os, seed));
            Some(connected(before, transport))
        }
    };
    Some(KeyHelper {
        record: record.map(Blob),
        failures: 0,
    })
}

/// The record that was made when a device with this DCT was connected: over TCP the public copy lies where the library looks
/// for it.
fn connected(mut dct: Dct, transport: Transport) -> Vec<u8> {
    let spki = key::spki(dct.field(dct::private_field(transport)), transport);
    if let (Transport::Tcp, Some(spki)) = (transport, spki) {
        dct.fill(dct::public_field(transport), &spki);
    }
    record(dct.field(saved_field(transport)))
}

/// A valid slot: that of the key which the device had before the one that it starts with.
pub(super) fn slot_before(transport: Transport, os: u16, seed: u64) -> Vec<u8> {
    let size = dct::private_field(transport).size;
    key::start(&StartKey::Valid, &mut Chance::new(seed ^ BEFORE), transport, os, size)
}

/// What the library takes for private and public key: 1600 bytes on TCP, 320 on UDP.
const fn saved_field(transport: Transport) -> Field {
    let private = dct::private_field(transport);
    let public = dct::public_field(transport);
    Field {
        at: private.at,
        size: private.size + public.size,
    }
}

/// Magic, size and sum, all little endian, before the bytes.
fn record(payload: &[u8]) -> Vec<u8> {
    let size = u16::try_from(payload.len()).expect("at most 1600 bytes");
    let mut record = MAGIC.to_le_bytes().to_vec();
    record.extend(size.to_le_bytes());
    record.extend(sum(payload).to_le_bytes());
    record.extend(payload);
    record
}

/// The bytes in a record that the library believes.
fn payload(record: &[u8], size: usize) -> Option<&[u8]> {
    let (head, payload) = record.split_at_checked(8)?;
    let good = head[..4] == MAGIC.to_le_bytes()
        && usize::from(u16::from_le_bytes([head[4], head[5]])) == size
        && u16::from_le_bytes([head[6], head[7]]) == sum(payload);
    (good && payload.len() == size).then_some(payload)
}

fn sum(payload: &[u8]) -> u16 {
    payload.iter().fold(0, |sum, byte| sum.wrapping_add(u16::from(*byte)))
}

const MAGIC: u32 = 0x75a6_5c63;
/// Device OS 0.8.0, from which on an application can read the last error; before it the library counts.
const TELLS_ERRORS: u16 = 800;
/// Makes the key from before another one than that of the device.
const BEFORE: u64 = 0x0b0e_f04e;
