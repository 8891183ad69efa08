//! Devices that connect: with the right keys, the wrong ones, and those in between.

use rsa::pkcs8::EncodePublicKey;

use super::*;
use crate::{edge::entropy::EntropyRng, sim::cloud::handshake::slot::tests::device_layout};

/// An Argon with a fresh key, as it would dial; and the public half of that key.
pub(super) fn argon(cloud: &StandIn) -> (Dial, Vec<u8>) {
    let (slot, spki) = ec_pair();
    let dial = Dial {
        claim_code: None,
        id: id(ARGON),
        tcp: false,
        private_slot: slot,
        server_key: padded(&cloud.server_spki(false), 192),
        server_host: cloud.server_host(false),
        port: 0xffff,
        platform: 12,
        os_version: 6200,
        product_id: 12,
        product_version: 1,
        session: None,
    };
    (dial, spki)
}

fn photon(cloud: &StandIn, key: &rsa::PrivateKey) -> Dial {
    Dial {
        claim_code: None,
        id: id(PHOTON),
        tcp: true,
        private_slot: padded(&device_layout(key), 1216),
        server_key: padded(&cloud.server_spki(true), 384),
        server_host: cloud.server_host(true),
        port: 5683,
        platform: 6,
        os_version: 3301,
        product_id: 6,
        product_version: 1,
        session: None,
    }
}

/// A P-256 slot in the device's layout and the public half.
fn ec_pair() -> (Vec<u8>, Vec<u8>) {
    use p256::elliptic_curve::Generate;
    let key = p256::SecretKey::generate();
    let mut der = vec![0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
    der.extend(key.to_bytes());
    der.extend([
        0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42, 0x00,
    ]);
    let spki = spki::ec_spki(&key.public_key());
    der.extend(&spki[26..]);
    assert_eq!(der.len(), 121);
    (padded(&der, 192), spki)
}

fn rsa_pair() -> (rsa::PrivateKey, Vec<u8>) {
    let key = rsa::PrivateKey::new(&mut EntropyRng(&SystemEntropy), 1024).unwrap();
    let spki = key.to_public_key().to_public_key_der().unwrap().into_vec();
    (key, spki)
}

fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut slot = vec![0xff; len];
    slot[..bytes.len()].copy_from_slice(bytes);
    slot
}

#[track_caller]
fn refused(dialled: Dialled, part: &str) {
    match dialled {
        Dialled::Refused { why, .. } => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_uploaded_key_connects_and_the_old_one_does_not() {
    let bench = bench();
    bench.import(ARGON);
    let (dial, spki) = argon(&bench.cloud);
    refused(bench.cloud.dial(&dial), "no key registered");
    let (_, other) = ec_key();
    assert!(bench.cloud.made_with(id(ARGON), &other));
    refused(bench.cloud.dial(&dial), "not the one registered");
    let pem = spki::to_pem(&spki);
    assert_eq!(bench.upload(&bench.token, ARGON, &pem, "ecc", Some("bench-12")).0, 200);
    bench.clock.advance(Duration::from_secs(5));
    let connected = bench.cloud.dial(&dial);
    assert!(
        matches!(connected, Dialled::Connected { resumed: false, .. }),
        "{connected:?}"
    );
    let (_, device) = bench.get(&format!("/v1/products/bench-12/devices/{ARGON}"));
    assert_eq!(
        (&device["online"], &device["last_handshake_at"]),
        (&true.into(), &"2026-11-23T10:00:05.000Z".into())
    );
    assert_eq!(
        (&device["system_firmware_version"], device.get("owner")),
        (&"6.2.0".into(), None)
    );
}

#[test]
fn a_session_is_resumed_until_a_key_changes() {
    let bench = bench();
    let (mut dial, spki) = argon(&bench.cloud);
    bench.cloud.made_with(id(ARGON), &spki);
    bench.import(ARGON);
    let Dialled::Connected { session, .. } = bench.cloud.dial(&dial) else {
        panic!()
    };
    dial.session = Some(session.clone());
    bench.clock.advance(Duration::from_secs(60));
    // A session proves nothing about a key that was uploaded after it.
    let (_, other) = ec_key();
    let pem = spki::to_pem(&other);
    assert_eq!(bench.upload(&bench.token, ARGON, &pem, "ecc", Some("bench-12")).0, 200);
    assert_eq!(bench.cloud.dial(&dial), Dialled::Connected { session, resumed: true });
    let path = format!("/v1/products/bench-12/devices/{ARGON}");
    assert_eq!(
        bench.get(&path).1["last_handshake_at"],
        Value::from("2026-11-23T10:00:00.000Z"),
        "resuming is no handshake"
    );
    assert_eq!(bench.get(&path).1["last_heard"], Value::from("2026-11-23T10:01:00.000Z"));
    let (slot, _) = ec_pair();
    refused(
        bench.cloud.dial(&Dial {
            private_slot: slot,
            ..dial.clone()
        }),
        "not the one registered",
    );
    refused(
        bench.cloud.dial(&Dial {
            session: Some(vec![1; 48]),
            ..dial
        }),
        "not the one registered",
    );
}

#[test]
fn a_device_refuses_a_cloud_that_its_server_key_does_not_name() {
    let bench = bench();
    let (dial, spki) = argon(&bench.cloud);
    bench.cloud.made_with(id(ARGON), &spki);
    let (_, imposter) = ec_key();
    refused(
        bench.cloud.dial(&Dial {
            server_key: padded(&imposter, 192),
            ..dial.clone()
        }),
        "owner of the device's server key",
    );
    refused(
        bench.cloud.dial(&Dial {
            server_key: vec![0xff; 192],
            ..dial.clone()
        }),
        "owner of the device's server key",
    );
    refused(
        bench.cloud.dial(&Dial {
            private_slot: vec![0xff; 192],
            ..dial.clone()
        }),
        "no key to connect with",
    );
    let vendor = Dial {
        server_host: "$id.udp.particle.io".into(),
        ..dial.clone()
    };
    assert_eq!(bench.cloud.dial(&vendor), Dialled::NoRoute);
    let named = Dial {
        server_host: format!("{ARGON}.udp.keyrack.test"),
        port: 1234,
        ..dial
    };
    assert!(
        matches!(bench.cloud.dial(&named), Dialled::Connected { .. }),
        "UDP devices discard a port of their own"
    );
}

#[test]
fn the_rsa_handshake_ends_as_the_reference_says() {
    let bench = bench();
    let (key, spki) = rsa_pair();
    let dial = photon(&bench.cloud, &key);
    refused(bench.cloud.dial(&dial), "no key registered");
    let (other_key, other_spki) = rsa_pair();
    bench.cloud.made_with(id(PHOTON), &other_spki);
    refused(bench.cloud.dial(&dial), "not the one registered");
    bench.cloud.made_with(id(PHOTON), &spki);
    assert_eq!(
        bench.cloud.dial(&dial),
        Dialled::Connected {
            session: Vec::new(),
            resumed: false
        }
    );
    refused(bench.cloud.dial(&photon(&bench.cloud, &other_key)), "not the one registered");
    let server = rsa::PrivateKey::new(&mut EntropyRng(&SystemEntropy), 2048)
        .unwrap()
        .to_public_key()
        .to_public_key_der()
        .unwrap();
    refused(
        bench.cloud.dial(&Dial {
            server_key: padded(server.as_bytes(), 384),
            ..dial.clone()
        }),
        "could not decrypt the device's first",
    );
    // The last number, QP, one bit off: the modulus is right and the arithmetic is not.
    let mut torn = dial.clone();
    torn.private_slot[600] ^= 1;
    refused(bench.cloud.dial(&torn), "error 6");
    refused(
        bench.cloud.dial(&Dial {
            private_slot: vec![0xff; 1216],
            ..dial.clone()
        }),
        "no key to connect with",
    );
    refused(
        bench.cloud.dial(&Dial {
            server_key: vec![0; 384],
            ..dial.clone()
        }),
        "server key cannot be read",
    );
    assert_eq!(bench.cloud.dial(&Dial { port: 443, ..dial }), Dialled::NoRoute);
}

#[test]
fn an_imposter_that_knows_the_devices_key_cannot_sign() {
    use handshake::{device, server};
    let (key, spki) = rsa_pair();
    let owner = rsa::PrivateKey::new(&mut EntropyRng(&SystemEntropy), 2048).unwrap();
    let pinned = owner.to_public_key().to_public_key_der().unwrap().into_vec();
    let device = device::Device::new(id(PHOTON), &device_layout(&key), &pinned).unwrap();
    let (server, nonce) = server::Server::new(owner, &SystemEntropy);
    let caller = server.read(&device.exchange(&nonce, &SystemEntropy).unwrap()).unwrap();
    assert_eq!(
        caller,
        server::Caller {
            id: id(PHOTON),
            key: Some(spki.clone())
        }
    );
    let (answer, _) = server.answer(&caller, Some(&spki), &SystemEntropy).unwrap();
    let mut answer: [u8; handshake::ANSWER] = answer.try_into().unwrap();
    assert!(device.accept(&answer).is_ok());
    answer[200] ^= 1;
    assert_eq!(device.accept(&answer).err(), Some(device::GivenUp::Authentication));
    let stale = device.exchange(&[0; handshake::NONCE], &SystemEntropy).unwrap();
    assert_eq!(server.read(&stale).err(), Some(server::Closed::WrongNonce));
    // Very old firmware sends no key: then only the device can find out.
    let (_, other) = rsa_pair();
    let old = server::Caller { key: None, ..caller };
    let (answer, _) = server.answer(&old, Some(&other), &SystemEntropy).unwrap();
    assert_eq!(
        device.accept(&answer.try_into().unwrap()).err(),
        Some(device::GivenUp::Decryption)
    );
}

#[test]
fn listeners_hear_of_a_device_and_its_absence_is_noticed_late() {
    let bench = bench();
    let (dial, spki) = argon(&bench.cloud);
    bench.cloud.made_with(id(ARGON), &spki);
    bench.import(ARGON);
    let open = |path: &str| match bench.cloud.handle(&WireRequest::new("GET", path).bearer(&bench.token)).end {
        End::Stream(stream) => stream,
        other => panic!("{other:?}"),
    };
    let mut product = open("/v1/products/bench-12/events/spark/status");
    let mut other_name = open("/v1/products/bench-12/events/spark/flash");
    let mut claimed = open("/v1/devices/events");
    bench.cloud.dial(&dial);
    assert_eq!(
        product.try_next().unwrap().to_wire(),
        format!(
            "event: spark/status\ndata: {{\"coreid\":\"{ARGON}\",\"data\":\"online\",\"published_at\":\"2026-11-23T10:00:00.000Z\",\"ttl\":60}}\n\n"
        )
    );
    assert!(other_name.try_next().is_none() && claimed.try_next().is_none());
    bench.cloud.hang_up(id(ARGON));
    bench.clock.advance(Duration::from_secs(49));
    let path = format!("/v1/products/bench-12/devices/{ARGON}");
    assert_eq!(bench.get(&path).1["online"], true, "stale");
    let ping = WireRequest::new("PUT", &format!("{path}/ping"));
    assert_eq!(bench.send(ping).1["online"], false, "a ping asks the device");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.get(&path).1["online"], false);
    assert_eq!(product.try_next().unwrap().data, "offline");
    assert_eq!(bench.get("/v1/events").0, 400, "a prefix is needed");
    bench.cloud.cut_streams();
    bench.cloud.dial(&dial);
    assert!(product.try_next().is_none());
}

#[test]
fn an_old_device_waits_in_quarantine_until_it_is_imported() {
    let bench = bench();
    let (key, spki) = rsa_pair();
    bench.cloud.made_with(id(PHOTON), &spki);
    let product = u16::try_from(BENCH_PRODUCT + 6).unwrap();
    let dial = Dial {
        product_id: product,
        ..photon(&bench.cloud, &key)
    };
    refused(bench.cloud.dial(&dial), "quarantine");
    let (_, body) = bench.get("/v1/products/bench-6/devices?quarantined=true");
    assert_eq!(
        (&body["devices"][0]["id"], &body["devices"][0]["quarantined"]),
        (&PHOTON.into(), &true.into())
    );
    assert_eq!(bench.get("/v1/products/bench-6/devices").1["devices"], serde_json::json!([]));
    let deny = WireRequest::new("DELETE", &format!("/v1/products/bench-6/devices/{PHOTON}?deny=true"));
    assert_eq!(bench.send(deny).0, 204);
    refused(bench.cloud.dial(&dial), "denied");
    assert_eq!(
        bench
            .send(WireRequest::new("POST", "/v1/products/bench-6/devices").form(&[("id", PHOTON)]))
            .0,
        200
    );
    assert!(matches!(bench.cloud.dial(&dial), Dialled::Connected { .. }));
}

#[test]
fn a_protected_device_is_opened_by_its_registered_key() {
    use sha2::{Digest, Sha256};
    let bench = bench();
    let (dial, spki) = argon(&bench.cloud);
    bench.cloud.made_with(id(ARGON), &spki);
    bench.import(ARGON);
    let path = format!("/v1/products/bench-12/devices/{ARGON}/unprotect");
    let put = |body: Value| bench.send(WireRequest::new("PUT", &path).json(&body));
    let (status, prepared) = put(serde_json::json!({ "action": "prepare" }));
    let server_nonce = call::from_base64(prepared["server_nonce"].as_str().unwrap()).unwrap();
    assert_eq!((status, server_nonce.len()), (200, 32));
    let key = handshake::slot::ec_key(&dial.private_slot).unwrap();
    let device_nonce = vec![9; 32];
    let signature = authority::sign(&key, &unprotect::digest("device", id(ARGON), &[&device_nonce, &server_nonce]));
    let fingerprint = Sha256::digest(&spki);
    let confirm = |signature: &[u8]| {
        serde_json::json!({
            "action": "confirm",
            "server_nonce": call::to_base64(&server_nonce),
            "device_nonce": call::to_base64(&device_nonce),
            "device_signature": call::to_base64(signature),
            "device_public_key_fingerprint": call::to_base64(&fingerprint),
        })
    };
    let other = authority::sign(&key, &unprotect::digest("server", id(ARGON), &[&device_nonce, &server_nonce]));
    assert_eq!(put(confirm(&other)).0, 400);
    let (status, body) = put(confirm(&signature));
    assert_eq!(status, 200);
    let server = bench.cloud.server_spki(false);
    let signature = call::from_base64(body["server_signature"].as_str().unwrap()).unwrap();
    let signed = unprotect::digest("server", id(ARGON), &[&server_nonce, &device_nonce, &fingerprint]);
    assert!(authority::verifies(&server, &signed, &signature));
    assert_eq!(
        body["server_public_key_fingerprint"],
        call::to_base64(&Sha256::digest(&server))
    );
    assert_eq!(put(confirm(&signature)).0, 400, "a nonce serves once");
}
