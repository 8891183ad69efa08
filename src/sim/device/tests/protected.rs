//! Protection: what is closed, the exchange with the server's key, Service Mode and its end.

use p256::ecdsa::{
    Signature, SigningKey, VerifyingKey,
    signature::{Signer, Verifier},
};
use p256::pkcs8::{DecodePublicKey, EncodePublicKey};
use sha2::{Digest, Sha256};

use super::*;

fn server() -> (SigningKey, Vec<u8>) {
    let secret = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let spki = secret.public_key().to_public_key_der().unwrap().as_bytes().to_vec();
    (SigningKey::from(&secret), spki)
}

fn protected() -> Host {
    Host::new(Spec {
        protected: true,
        server: StartServer::Set {
            spki: server().1,
            host: "$id.udp.particle.io".into(),
        },
        ..Spec::default()
    })
}

fn part(role: &[u8], id: DeviceId, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = [role, id.bytes().as_slice()].concat();
    for p in parts {
        out.extend((p.len() as u32).to_le_bytes());
        out.extend(*p);
    }
    out
}

/// The whole exchange; `spoil` may change the signed text.
fn unprotect(host: &mut Host, pause: Duration, fingerprint_of: &[u8], spoil: bool) -> i32 {
    let nonce: Vec<u8> = (0..32).collect();
    let prepare = [unhex("080112220a20"), nonce.clone()].concat();
    assert_eq!(prepare.len(), 38);
    let (result, body) = host.request(77, &prepare);
    assert_eq!(result, 0);
    let outer = proto::Fields::read(&body).unwrap();
    let fields = proto::Fields::read(outer.bytes(1).unwrap()).unwrap();
    let (device_nonce, signature) = (fields.bytes(1).unwrap(), fields.bytes(2).unwrap());
    let spki = host.device.key_spki().unwrap();
    let id = host.device.id();
    assert_eq!(fields.bytes(3).unwrap(), Sha256::digest(&spki).as_slice());
    let device = VerifyingKey::from_public_key_der(&spki).unwrap();
    let signed = part(b"device", id, &[device_nonce, &nonce]);
    device.verify(&signed, &Signature::from_der(signature).unwrap()).unwrap();
    let mut text = part(b"server", id, &[&nonce, device_nonce, &Sha256::digest(&spki)]);
    if spoil {
        text.push(0);
    }
    let signature: Signature = server().0.sign(&text);
    let confirm = proto::Message::new()
        .bytes(1, signature.to_der().as_bytes())
        .bytes(2, &Sha256::digest(fingerprint_of));
    host.pass(pause);
    let payload = proto::Message::new().number(1, 2).message(3, confirm).done();
    host.request(77, &payload).0
}

#[test]
fn nearly_everything_is_closed() {
    let mut host = protected();
    for kind in [1, 21, 30, 40, 50, 60, 90, 250, 300, 500, 999] {
        assert_eq!(host.request(kind, &[]).0, -1801, "{kind}");
    }
    assert_eq!(host.request(20, &[]).0, 0);
    assert_eq!(host.request(10, &[]).0, -120, "open, but there is no application handler");
    assert_eq!(host.request(76, &[]).1, [0x08, 0x01]);
    assert_eq!(
        host.raw([0xc0, 0x50, 0, 0, 0x1e, 0, 64, 0], &[]).unwrap(),
        b"6.2.0",
        "raw requests work"
    );
}

#[test]
fn in_dfu_mode_it_shows_and_refuses() {
    let mut host = protected();
    // A protected device cannot be asked.
    host.device.press(host.now, Press::Dfu);
    host.settle();
    assert_eq!(
        hex(&host.raw([0x80, 6, 0xfa, 3, 9, 4, 0xff, 0], &[]).unwrap()),
        "0c0373006d003d0070000000"
    );
    host.alternate(1);
    host.download(0, &unhex("21 22 0c 00 00")).unwrap();
    assert_eq!(host.status().unwrap(), "0b0000000a0a");
    host.clear_status().unwrap();
    assert!(host.upload(2, 16).unwrap().is_empty(), "0 bytes");
    assert_eq!(host.state(), 10);
    host.clear_status().unwrap();
    host.download(0, &[0xfa]).unwrap();
    host.status().unwrap();
    assert_eq!(host.status().unwrap(), "000000000700");
    host.settle();
    assert!(host.device.in_safe_mode(), "the way to the exchange");
}

#[test]
fn the_exchange_opens_it_and_each_mistake_has_its_code() {
    let spki = server().1;
    let mut host = protected();
    assert_eq!(host.request(77, &unhex("08021a00")).0, -210, "CONFIRM without PREPARE");
    assert_eq!(host.request(77, &unhex("080112020a00")).0, -270, "a nonce of another size");
    assert_eq!(unprotect(&mut host, Duration::ZERO, b"another", false), -1802);
    assert_eq!(unprotect(&mut host, Duration::ZERO, &spki, true), -1803);
    assert_eq!(unprotect(&mut host, Duration::from_secs(61), &spki, false), -160);
    assert!(host.device.is_protected());
    assert_eq!(unprotect(&mut host, Duration::from_secs(59), &spki, false), 0);
    assert_eq!(host.request(76, &[]).1, [0x10, 0x01]);
    host.enter_dfu();
    host.alternate(1);
    assert_eq!(host.write(3106, &[1]).unwrap(), IDLE_DNLOAD);
    host.download(0, &unhex("fb 00 00 00 00")).unwrap();
    host.status().unwrap();
    host.status().unwrap();
    host.abort().unwrap();
    assert!(host.device.is_protected(), "0xFB ends Service Mode");
}

#[test]
fn service_mode_ends_with_power_resets_and_a_day() {
    let spki = server().1;
    let opened = || {
        let mut host = protected();
        assert_eq!(unprotect(&mut host, Duration::ZERO, &spki, false), 0);
        host
    };
    let mut host = opened();
    host.power_cycle();
    assert!(host.device.is_protected());
    let mut host = opened();
    for left in (0..20).rev() {
        assert_eq!(host.request(40, &[]).0, 0, "{left}");
        host.settle();
    }
    assert!(host.device.is_protected());
    let mut host = opened();
    host.pass(Duration::from_secs(86_399));
    assert!(!host.device.is_protected());
    host.pass(Duration::from_secs(2));
    assert!(host.device.is_protected());
    let mut host = opened();
    assert_eq!(host.request(77, &[]).0, 0, "the RESET action is the empty message");
    assert!(host.device.is_protected());
    let mut open = Host::platform(13);
    let nonce = [unhex("080112220a20"), vec![0; 32]].concat();
    assert_eq!(
        open.request(77, &nonce),
        (0, Vec::new()),
        "an open device has nothing to prepare"
    );
}

#[test]
fn service_mode_guards_the_system_part() {
    let mut host = protected();
    assert_eq!(unprotect(&mut host, Duration::ZERO, &server().1, false), 0);
    let good = host.device.flash(0x2_8000, 32 << 10);
    host.enter_dfu();
    let erases = host.device.counters().erases;
    assert_eq!(host.erase(0x2_8000).unwrap(), IDLE_DNLOAD);
    assert_eq!(host.device.counters().erases, erases, "an erase there is ignored");
    assert_eq!(
        host.write(0x2_9000, &good[4096..8192]).unwrap(),
        "0b0000000a00",
        "the first block comes first"
    );
    host.clear_status().unwrap();
    let mut old = good[..4096].to_vec();
    old[0x20a..0x20c].copy_from_slice(&5999_u16.to_le_bytes());
    assert_eq!(host.write(0x2_8000, &old).unwrap(), "0b0000000a00", "5999");
    host.clear_status().unwrap();
    for (i, block) in good.chunks(4096).enumerate() {
        assert_eq!(host.write(0x2_8000 + i as u32 * 4096, block).unwrap(), IDLE_DNLOAD);
    }
    assert_eq!(host.device.flash(0x2_8000, 32 << 10), good);
    host.abort().unwrap();
    host.alternate(2);
    assert_eq!(host.erase(0x8024_c000).unwrap(), "0b0000000a00", "the update area is closed");
}
