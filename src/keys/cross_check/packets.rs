//! Manifests of packets, verified and signed by a program that knows of them only what their format says.

use super::*;
use crate::model::{DeviceId, Platform, StationId, Wall};

const DEVICE: &str = "e00fce680123456789abcdef";

/// What is signed, taken from the text of a document.
fn message(json: &str) -> Vec<u8> {
    let document: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut message = b"\0\0\0\x10keyrack packet 1".to_vec();
    for member in ["device", "platform", "kind", "fingerprint", "station", "at"] {
        let text = document[member].as_str().unwrap();
        message.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        message.extend(text.as_bytes());
    }
    message
}

#[test]
fn openssl_verifies_the_manifests_made_here() {
    let Some(openssl) = Program::find("openssl") else { return };
    for (kind, platform) in [(KeyKind::Rsa1024, Platform::P1), (KeyKind::P256, Platform::Msom)] {
        let key = PrivateKey::generate(kind, &SystemEntropy);
        let at = Wall::parse("2026-11-23T10:00:00Z").unwrap();
        let station = StationId("Prüfplatz 7".to_owned());
        let manifest = packet::sign(&key, DEVICE.parse().unwrap(), platform, station, at);
        openssl.put("key.pub.pem", public_pem(&key.public()).as_bytes());
        openssl.put("signature", &manifest.signature);
        openssl.put("message", &message(&packet::to_json(&manifest)));
        let verify = [
            "dgst",
            "-sha256",
            "-verify",
            "key.pub.pem",
            "-signature",
            "signature",
            "message",
        ];
        assert_eq!(openssl.run(&verify).unwrap(), b"Verified OK\n", "{kind}");
        openssl.put("message", b"another");
        assert!(openssl.run(&verify).is_err(), "{kind}");
    }
}

#[test]
fn manifests_signed_by_openssl_verify_here() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let Some(openssl) = Program::find("openssl") else { return };
    for (kind, make, word, platform) in [
        (
            KeyKind::Rsa1024,
            &["genrsa", "-out", "key.pem", "1024"][..],
            "rsa1024",
            "photon",
        ),
        (
            KeyKind::P256,
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"][..],
            "p256",
            "p2",
        ),
    ] {
        openssl.run(make).unwrap();
        let key = parse_public(&openssl.run(&["pkey", "-in", "key.pem", "-pubout"]).unwrap()).unwrap();
        let document = |signature: &str| {
            format!(
                r#"{{"packet":1,"device":"{DEVICE}","platform":"{platform}","kind":"{word}","fingerprint":"{}","#,
                key.fingerprint
            ) + &format!(r#""station":"bench","at":"2026-11-23T10:00:00Z","signature":"{signature}"}}"#)
        };
        openssl.put("message", &message(&document("")));
        let signature = openssl.run(&["dgst", "-sha256", "-sign", "key.pem", "message"]).unwrap();
        let manifest = packet::read(document(&STANDARD.encode(signature)).as_bytes()).unwrap();
        let device: DeviceId = DEVICE.parse().unwrap();
        assert_eq!(packet::verify(&manifest, device, &key), Ok(()), "{kind}");
    }
}
