//! A server that can end the protection of the devices that pin its key (2.9), written from the reference.

use p256::{
    PublicKey, SecretKey,
    ecdsa::{
        Signature, SigningKey, VerifyingKey,
        signature::{Signer, Verifier},
    },
    pkcs8::{DecodePublicKey, EncodePublicKey},
};
use sha2::{Digest, Sha256};

use keyrack::sim::device::{Spec, StartServer};

use crate::{
    rig::Rig,
    wire::{Fields, Message},
};

pub(crate) const NONCE: [u8; 32] = *b"a nonce of the server, 32 bytes.";

/// The private key: any fixed scalar will do.
pub(crate) fn key() -> SecretKey {
    SecretKey::from_slice(&[0x42; 32]).unwrap()
}

pub(crate) fn spki() -> Vec<u8> {
    key().public_key().to_public_key_der().unwrap().as_bytes().to_vec()
}

pub(crate) fn fingerprint(spki: &[u8]) -> [u8; 32] {
    Sha256::digest(spki).into()
}

/// A protected device that pins this server's key.
pub(crate) fn protected(platform: u16) -> Spec {
    Spec {
        protected: true,
        server: StartServer::Set {
            spki: spki(),
            host: "$id.udp.particle.io".into(),
        },
        ..crate::rig::spec(platform)
    }
}

/// What the device said to PREPARE.
pub(crate) struct Prepared {
    pub(crate) nonce: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) fingerprint: Vec<u8>,
}

pub(crate) fn prepare(rig: &mut Rig, nonce: &[u8]) -> (i32, Option<Prepared>) {
    let inner = Message::new().bytes(1, nonce).done();
    let (result, body) = rig.request(77, &Message::new().int(1, 1).bytes(2, &inner).done());
    let prepared = Fields::parse(&body).messages(1).into_iter().next().map(|m| Prepared {
        nonce: m.bytes(1).unwrap().to_vec(),
        signature: m.bytes(2).unwrap().to_vec(),
        fingerprint: m.bytes(3).unwrap().to_vec(),
    });
    (result, prepared)
}

fn long(part: &[u8], into: &mut Vec<u8>) {
    into.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
    into.extend(part);
}

/// Checks the device's own signature: it holds the private key of `spki`.
pub(crate) fn verify(rig: &Rig, prepared: &Prepared, spki: &[u8]) {
    let mut text = b"device".to_vec();
    text.extend(rig.device.id().bytes());
    long(&prepared.nonce, &mut text);
    long(&NONCE, &mut text);
    let public = PublicKey::from_public_key_der(spki).unwrap();
    let signature = Signature::from_der(&prepared.signature).unwrap();
    VerifyingKey::from(public)
        .verify(&text, &signature)
        .expect("the device's signature");
    assert_eq!(prepared.fingerprint, fingerprint(spki));
}

/// The server's signature over what the device said, in DER.
pub(crate) fn signature(rig: &Rig, prepared: &Prepared) -> Vec<u8> {
    let mut text = b"server".to_vec();
    text.extend(rig.device.id().bytes());
    long(&NONCE, &mut text);
    long(&prepared.nonce, &mut text);
    long(&prepared.fingerprint, &mut text);
    let signature: Signature = SigningKey::from(key()).sign(&text);
    signature.to_der().as_bytes().to_vec()
}

/// The server's answer, as the payload of CONFIRM.
pub(crate) fn confirmation(rig: &Rig, prepared: &Prepared, fingerprint: &[u8]) -> Vec<u8> {
    let inner = Message::new()
        .bytes(1, &signature(rig, prepared))
        .bytes(2, fingerprint)
        .done();
    Message::new().int(1, 2).bytes(3, &inner).done()
}

/// The whole way into Service Mode.
pub(crate) fn open(rig: &mut Rig) {
    let (result, prepared) = prepare(rig, &NONCE);
    assert_eq!(result, 0);
    let payload = confirmation(rig, &prepared.expect("a protected device"), &fingerprint(&spki()));
    assert_eq!(rig.request(77, &payload).0, 0, "CONFIRM");
}

/// A protected device in DFU mode: through Service Mode, which then ends.
pub(crate) fn protected_in_dfu(platform: u16) -> Rig {
    let mut rig = service_in_dfu(platform);
    rig.dnload(0, &[0xfb, 0, 0, 0, 0]).unwrap();
    rig.settle().unwrap();
    rig.idle();
    rig
}

/// A device in Service Mode, in DFU mode.
pub(crate) fn service_in_dfu(platform: u16) -> Rig {
    let mut rig = Rig::boot(protected(platform));
    open(&mut rig);
    rig.enter_dfu();
    rig
}
