//! Device protection: Open, Protected, Service Mode, and the exchange with the cloud that leads to the latter
//! (device-protocol.md 2.9).

use std::time::Duration;

use p256::ecdsa::{
    Signature, SigningKey, VerifyingKey,
    signature::{Signer, Verifier},
};
use p256::pkcs8::DecodePublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Blob, Device, DeviceMishap, dct, key,
    platform::Transport,
    proto::{Fields, Message},
    requests::{Reply, error},
};

/// What the last boot found, and an exchange that was begun.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Protection {
    /// The bootloader protects.
    pub(super) protected: bool,
    prepared: Option<Prepared>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Prepared {
    server_nonce: Blob,
    device_nonce: Blob,
    until: Duration,
}

impl Protection {
    /// Drops an exchange that was begun.
    pub(super) fn forget(&mut self) {
        self.prepared = None;
    }

    /// Moves its instants to another clock.
    pub(super) fn shift(&mut self, moved: impl Fn(&mut Duration)) {
        if let Some(prepared) = &mut self.prepared {
            moved(&mut prepared.until);
        }
    }
}

/// Service Mode. It lives in retained RAM, so the power takes it along.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Service {
    pub(super) until: Duration,
    resets_left: u8,
}

impl Service {
    /// What is left of it after a reset.
    pub(super) fn after_reset(mut self) -> Option<Self> {
        self.resets_left = self.resets_left.saturating_sub(1);
        (self.resets_left > 0).then_some(self)
    }
}

/// What a device shows of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Open,
    Protected,
    Service,
}

impl Device {
    /// What the device shows of its state.
    pub(super) fn shown(&self) -> Shown {
        match (self.s.protection.protected, self.s.service) {
            (false, _) => Shown::Open,
            (true, None) => Shown::Protected,
            (true, Some(_)) => Shown::Service,
        }
    }

    /// It is Protected and not in Service Mode.
    pub(super) fn enforced(&self) -> bool {
        self.shown() == Shown::Protected
    }

    /// GET_PROTECTED_STATE.
    pub(super) fn protected_state(&self) -> Message {
        let shown = self.shown();
        Message::new()
            .number(1, u64::from(shown == Shown::Protected))
            .number(2, u64::from(shown == Shown::Service))
    }

    /// SET_PROTECTED_STATE.
    pub(super) fn set_protected_state(&mut self, now: Duration, payload: &[u8]) -> Reply {
        let Some(request) = Fields::read(payload) else {
            return error(-280);
        };
        match request.number(1) {
            0 => {
                self.end_service();
                self.s.protection.prepared = None;
                Reply::ok()
            }
            1 => self.prepare(now, request.bytes(2)),
            2 => self.confirm(now, request.bytes(3)).map_or_else(error, |()| Reply::ok()),
            _ => error(-270),
        }
    }

    /// Ends Service Mode, as it is told.
    pub(super) fn end_service(&mut self) {
        let ignored = |m: &DeviceMishap| *m == DeviceMishap::ServiceEndIgnored;
        if !self.s.mishaps.bites(&mut self.s.counters, ignored) {
            self.s.service = None;
        }
    }

    fn prepare(&mut self, now: Duration, prepare: Option<&[u8]>) -> Reply {
        if self.transport() == Transport::Tcp {
            return error(-240);
        }
        self.s.protection.prepared = None;
        let fields = prepare.and_then(Fields::read);
        let Some(server_nonce) = fields.as_ref().and_then(|f| f.bytes(1)).filter(|n| n.len() == NONCE) else {
            return error(-270);
        };
        if self.shown() == Shown::Open {
            return Reply::ok();
        }
        let slot = self.s.dct.field(dct::private_field(Transport::Udp));
        let (Some(private), Some(public)) = (key::ec_key(slot), key::spki(slot, Transport::Udp)) else {
            return error(-1400);
        };
        let mut device_nonce = vec![0; NONCE];
        self.s.chance.fill(&mut device_nonce);
        let message = message(b"device", self.id().bytes(), &[&device_nonce, server_nonce]);
        let signature: Signature = SigningKey::from(&private).sign(&message);
        let reply = Message::new()
            .bytes(1, &device_nonce)
            .bytes(2, signature.to_der().as_bytes())
            .bytes(3, &Sha256::digest(&public));
        self.s.protection.prepared = Some(Prepared {
            server_nonce: server_nonce.to_vec().into(),
            device_nonce: device_nonce.into(),
            until: now + CONFIRM_WITHIN,
        });
        Reply::body(Message::new().message(1, reply))
    }

    fn confirm(&mut self, now: Duration, confirm: Option<&[u8]>) -> Result<(), i32> {
        let prepared = self.s.protection.prepared.clone().ok_or(-210)?;
        if now >= prepared.until {
            self.s.protection.prepared = None;
            return Err(-160);
        }
        let fields = confirm.and_then(Fields::read).ok_or(-280)?;
        let (signature, fingerprint) = (fields.bytes(1).ok_or(-270)?, fields.bytes(2).ok_or(-270)?);
        let server = self.s.dct.server(Transport::Udp, self.id()).ok_or(-1800)?;
        if Sha256::digest(&server.key).as_slice() != fingerprint {
            return Err(-1802);
        }
        let slot = self.s.dct.field(dct::private_field(Transport::Udp));
        let own = Sha256::digest(key::spki(slot, Transport::Udp).ok_or(-1400)?);
        let message = message(
            b"server",
            self.id().bytes(),
            &[&prepared.server_nonce, &prepared.device_nonce, own.as_slice()],
        );
        let verifies = VerifyingKey::from_public_key_der(&server.key)
            .ok()
            .zip(Signature::from_der(signature).ok())
            .is_some_and(|(key, signature)| key.verify(&message, &signature).is_ok());
        if !verifies {
            return Err(-1803);
        }
        self.s.protection.prepared = None;
        self.s.service = Some(Service {
            until: now + SERVICE_LASTS,
            resets_left: SERVICE_RESETS,
        });
        Ok(())
    }
}

/// The text that is signed: role, id, then each part with its length before it.
fn message(role: &[u8], id: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut message = [role, id].concat();
    for part in parts {
        message.extend(u32::try_from(part.len()).expect("parts are short").to_le_bytes());
        message.extend(*part);
    }
    message
}

const NONCE: usize = 32;
/// From PREPARE to CONFIRM.
const CONFIRM_WITHIN: Duration = Duration::from_secs(60);
/// Service Mode ends after this time with power.
const SERVICE_LASTS: Duration = Duration::from_secs(86_400);
/// Service Mode ends with this many resets.
const SERVICE_RESETS: u8 = 20;
