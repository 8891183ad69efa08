//! The same cloud over real sockets, with a real client.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr},
};

use reqwest::blocking::{Client, Response};

use super::{super::https, *};
use crate::edge::clock::SystemClock;

fn server(tls: bool) -> (StandIn, https::Server, Client) {
    let cloud = StandIn::new(
        Arc::new(SystemClock::new()),
        Arc::new(SystemEntropy),
        Setup::bench([(id(ARGON), 12)]),
    );
    let server = https::serve(cloud.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), tls).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let _first = rustls::crypto::CryptoProvider::install_default(Arc::unwrap_or_clone(provider));
    let mut client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .retry(reqwest::retry::never());
    if tls {
        client = client.tls_certs_only([reqwest::Certificate::from_pem(server.ca_pem.as_bytes()).unwrap()]);
    }
    (cloud, server, client.build().unwrap())
}

fn token(client: &Client, url: &str) -> String {
    let form = [
        ("grant_type", "password"),
        ("username", BENCH_USER),
        ("password", BENCH_PASSWORD),
        ("client_id", "particle-cli"),
        ("client_secret", "particle-cli"),
    ];
    let body: Value = client
        .post(format!("{url}/oauth/token"))
        .form(&form)
        .send()
        .unwrap()
        .json()
        .unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn a_key_is_uploaded_over_tls_and_a_lost_reply_is_a_reset() {
    let (cloud, server, client) = server(true);
    assert!(server.url.starts_with("https://localhost:"));
    let token = token(&client, &server.url);
    let post = |path: &str| client.post(format!("{}{path}", server.url)).bearer_auth(&token);
    let part = reqwest::blocking::multipart::Part::bytes(ARGON.as_bytes()).file_name("file");
    let form = reqwest::blocking::multipart::Form::new().part("file", part);
    let imported: Value = post("/v1/products/bench-12/devices")
        .multipart(form)
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(imported["updatedDeviceIds"], serde_json::json!([ARGON]));

    let (pem, spki) = ec_key();
    let fields = [
        ("deviceID", ARGON),
        ("publicKey", pem.as_str()),
        ("algorithm", "ecc"),
        ("product_id", "bench-12"),
    ];
    let upload = || post(&format!("/v1/provisioning/{ARGON}")).form(&fields).send();
    for effect in [Effect::ResetBefore, Effect::ResetAfter] {
        cloud.add_fault(Fault::new("POST /v1/provisioning/:id", effect).times(1));
        let error = upload().unwrap_err();
        assert!(error.is_request() && !error.is_connect() && !error.is_timeout(), "{error:?}");
        assert_eq!(cloud.registered(id(ARGON)).is_some(), effect == Effect::ResetAfter);
    }
    let accepted = upload().unwrap();
    assert!(accepted.headers().contains_key("date"));
    assert_eq!((accepted.status().as_u16(), cloud.registered(id(ARGON))), (200, Some(spki)));
    assert_eq!(cloud.uploads(id(ARGON)).len(), 2, "the lost one and this one");

    let stranger = Client::builder().no_proxy().build().unwrap();
    assert!(
        stranger.get(&server.url).send().unwrap_err().is_connect(),
        "an unknown authority is not trusted"
    );
}

#[test]
fn events_flow_and_are_cut_and_bodies_can_be_slow() {
    let (cloud, server, client) = server(false);
    let token = token(&client, &server.url);
    let get = |path: &str| -> Response {
        client
            .get(format!("{}{path}", server.url))
            .bearer_auth(&token)
            .send()
            .unwrap()
    };
    cloud.add_fault(Fault::new("GET /v1/user", Effect::SlowBody(80)).times(1));
    let body: Value = get("/v1/user").json().unwrap();
    assert_eq!(body["username"], BENCH_USER);

    let import = client
        .post(format!("{}/v1/products/bench-12/devices", server.url))
        .bearer_auth(&token);
    assert_eq!(import.form(&[("id", ARGON)]).send().unwrap().status(), 200);
    let mut stream = get("/v1/products/bench-12/events/spark/status");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut first = [0; 5];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b":ok\n\n");
    let (dial, spki) = dial::argon(&cloud);
    assert!(cloud.made_with(id(ARGON), &spki));
    assert!(matches!(cloud.dial(&dial), Dialled::Connected { .. }));
    let mut event = vec![0; 20];
    stream.read_exact(&mut event).unwrap();
    assert_eq!(event, b"event: spark/status\n");
    cloud.cut_streams();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"data\":\"online\"") && rest.contains(ARGON));
}

#[test]
fn a_dropped_server_is_gone() {
    let (_, server, client) = server(false);
    let url = server.url.clone();
    assert_eq!(client.get(&url).send().unwrap().status(), 404);
    drop(server);
    assert!(client.get(&url).send().unwrap_err().is_connect());
}
