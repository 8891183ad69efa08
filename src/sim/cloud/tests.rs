//! The stand-in as a client sees it, without sockets.

mod access;
mod dial;
mod mishaps;
mod oauth;
mod repair;
mod sockets;
mod uploads;

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{test_clock::TestClock, *};
use crate::edge::{
    Clock, Http, HttpError, Method, Request,
    entropy::SystemEntropy,
    http::{Auth, Body},
};
use crate::model::DeviceId;

/// A cloud with one Argon and one Photon of the bench, and a signed-in administrator.
pub(super) struct Bench {
    pub(super) clock: Arc<TestClock>,
    pub(super) cloud: StandIn,
    pub(super) token: String,
}

pub(super) const ARGON: &str = "e00fce680000000000000001";
pub(super) const PHOTON: &str = "1d0034000000000000000002";
pub(super) const STRANGERS: &str = "e00fce680000000000000003";
pub(super) const ARGON_PRODUCT: u32 = BENCH_PRODUCT + 12;

pub(super) fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

/// Starts a cloud of this setup.
pub(super) fn start(setup: Setup) -> (Arc<TestClock>, StandIn) {
    let clock = Arc::new(TestClock::new());
    let cloud = StandIn::new(clock.clone(), Arc::new(SystemEntropy), setup);
    (clock, cloud)
}

pub(super) fn bench_with(change: impl FnOnce(&mut Setup)) -> Bench {
    let mut setup = Setup::bench([(id(ARGON), 12), (id(PHOTON), 6), (id(STRANGERS), 12)]);
    change(&mut setup);
    let (clock, cloud) = start(setup);
    let token = sign_in(&cloud, BENCH_USER, BENCH_PASSWORD);
    Bench { clock, cloud, token }
}

pub(super) fn bench() -> Bench {
    bench_with(|_| {})
}

pub(super) fn user(name: &str) -> UserSetup {
    let password = BENCH_PASSWORD.to_owned().into();
    UserSetup {
        name: name.to_owned(),
        password,
        mfa: None,
        recovery_codes: Vec::new(),
        query_token: false,
        sso: false,
    }
}

pub(super) fn sign_in(cloud: &StandIn, name: &str, password: &str) -> String {
    let form = [
        ("grant_type", "password"),
        ("username", name),
        ("password", password),
        ("client_id", "keyrack"),
        ("client_secret", "x"),
    ];
    let response = cloud.handle(&WireRequest::new("POST", "/oauth/token").form(&form)).response();
    assert_eq!(response.status, 200, "{}", response.json());
    response.json()["access_token"].as_str().unwrap().to_owned()
}

/// A fresh P-256 public key in PEM and DER.
pub(super) fn ec_key() -> (String, Vec<u8>) {
    use p256::elliptic_curve::Generate;
    let spki = spki::ec_spki(&p256::SecretKey::generate().public_key());
    (spki::to_pem(&spki), spki)
}

impl Bench {
    pub(super) fn send(&self, request: WireRequest) -> (u16, Value) {
        self.send_as(&self.token, request)
    }

    pub(super) fn send_as(&self, token: &str, request: WireRequest) -> (u16, Value) {
        let response = self.cloud.handle(&request.bearer(token)).response();
        (response.status, response.json())
    }

    pub(super) fn get(&self, path: &str) -> (u16, Value) {
        self.send(WireRequest::new("GET", path))
    }

    pub(super) fn import(&self, device: &str) -> Value {
        let path = format!("/v1/products/{ARGON_PRODUCT}/devices");
        let (status, body) = self.send(WireRequest::new("POST", &path).form(&[("id", device)]));
        assert_eq!(status, 200);
        body
    }

    pub(super) fn upload(&self, token: &str, device: &str, pem: &str, algorithm: &str, product: Option<&str>) -> (u16, Value) {
        self.send_as(token, upload_request(device, pem, algorithm, product))
    }
}

pub(super) fn upload_request(device: &str, pem: &str, algorithm: &str, product: Option<&str>) -> WireRequest {
    let mut form = vec![
        ("deviceID", device),
        ("publicKey", pem),
        ("filename", "cli"),
        ("order", "manual_1795442385061"),
        ("algorithm", algorithm),
    ];
    form.extend(product.map(|product| ("product_id", product)));
    WireRequest::new("POST", &format!("/v1/provisioning/{device}")).form(&form)
}

#[test]
fn every_response_has_the_clouds_date() {
    let bench = bench();
    bench.clock.advance(Duration::from_secs(61));
    let response = bench.cloud.handle(&WireRequest::new("GET", "/v1/nothing")).response();
    assert_eq!(response.header("date"), Some("Mon, 23 Nov 2026 10:01:01 GMT"));
    assert_eq!(response.status, 404);
}

#[test]
fn the_state_survives_and_knows_its_version() {
    let bench = bench();
    bench.import(ARGON);
    let (pem, spki) = ec_key();
    assert_eq!(bench.upload(&bench.token, ARGON, &pem, "ecc", Some("bench-12")).0, 200);
    let text = bench.cloud.to_json();
    assert!(
        !text.contains(&bench.token) && !text.contains(BENCH_PASSWORD),
        "only hashes are kept"
    );
    let again = StandIn::from_json(bench.clock.clone(), Arc::new(SystemEntropy), &text).unwrap();
    assert_eq!(again.registered(id(ARGON)), Some(spki));
    assert_eq!(again.uploads(id(ARGON)).len(), 1);
    let bench = Bench { cloud: again, ..bench };
    assert_eq!(bench.get("/v1/access_tokens/current").0, 200, "tokens stay valid");
    let other = text.replacen("\"version\":1", "\"version\":9", 1);
    assert!(matches!(
        StandIn::from_json(bench.clock.clone(), Arc::new(SystemEntropy), &other),
        Err(BadState::Version(9))
    ));
    assert!(matches!(
        StandIn::from_json(bench.clock.clone(), Arc::new(SystemEntropy), "{"),
        Err(BadState::Malformed(_))
    ));
}

#[test]
fn there_is_no_way_to_read_a_key_back() {
    let bench = bench();
    bench.import(ARGON);
    let (pem, spki) = ec_key();
    bench.upload(&bench.token, ARGON, &pem, "ecc", Some("bench-12"));
    let needle = &pem.lines().nth(1).unwrap()[..40];
    for path in [
        format!("/v1/provisioning/{ARGON}"),
        format!("/v1/devices/{ARGON}"),
        format!("/v1/devices/{ARGON}/key"),
        format!("/v1/products/{ARGON_PRODUCT}/devices/{ARGON}"),
        format!("/v1/products/{ARGON_PRODUCT}/devices"),
    ] {
        let (_, body) = bench.get(&path);
        let text = body.to_string();
        assert!(!text.contains(needle) && !text.contains(&state::hex(&spki)), "{path}");
    }
    assert_eq!(bench.get(&format!("/v1/provisioning/{ARGON}")).0, 404);
}
