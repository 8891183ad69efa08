//! Key uploads: who may, what is a key, and what is not.

use serde_json::json;

use super::*;

/// The table of cloud-api.md 2.4.
#[test]
fn who_may_upload_a_key() {
    let product = ARGON_PRODUCT.to_string();
    let bench = bench_with(|setup| {
        for (name, role) in [
            ("viewer", Role::ViewOnly),
            ("support", Role::Support),
            ("developer", Role::Developer),
        ] {
            setup.users.push(user(name));
            setup.products[0].team.insert(name.into(), role);
        }
        setup.users.push(user("outsider"));
        setup.users.push(user("hobbyist"));
        setup.customers.push(CustomerSetup {
            email: "c@shop.test".into(),
            product: ARGON_PRODUCT,
        });
        setup.devices.clear();
        let device = |n: u8, owner: Option<&str>, product: Option<u32>| {
            let id = format!("e00fce6800000000000000{n:02x}").parse().unwrap();
            DeviceSetup {
                owner: owner.map(str::to_owned),
                product,
                ..DeviceSetup::new(id, 12)
            }
        };
        setup.devices.push(device(1, Some("hobbyist"), None));
        setup.devices.push(device(2, Some("developer"), Some(ARGON_PRODUCT)));
        setup.devices.push(device(3, None, Some(ARGON_PRODUCT)));
        setup.devices.push(device(4, Some("c@shop.test"), Some(ARGON_PRODUCT)));
        setup.devices.push(device(5, Some("stranger"), None));
        setup.devices.push(device(6, Some("stranger"), Some(ARGON_PRODUCT)));
        setup.devices.push(DeviceSetup {
            denied: true,
            ..device(7, None, Some(ARGON_PRODUCT))
        });
    });
    let (pem, _) = ec_key();
    let expected = [
        // device, user, with product, status
        (1, "hobbyist", false, 200),
        (1, "outsider", false, 403),
        (1, "hobbyist", true, 403),
        (2, "developer", true, 200),
        (2, "developer", false, 200),
        (2, BENCH_USER, true, 200),
        (2, BENCH_USER, false, 403),
        (2, "viewer", true, 403),
        (2, "support", true, 403),
        (2, "outsider", true, 403),
        (3, BENCH_USER, true, 200),
        (3, BENCH_USER, false, 403),
        (3, "developer", true, 200),
        (3, "support", true, 403),
        (4, BENCH_USER, true, 403),
        (4, "developer", true, 403),
        (5, BENCH_USER, true, 403),
        (5, BENCH_USER, false, 403),
        (6, BENCH_USER, true, 403),
        (7, BENCH_USER, true, 403),
    ];
    for (number, name, with_product, status) in expected {
        let device = format!("e00fce6800000000000000{number:02x}");
        let token = sign_in(&bench.cloud, name, BENCH_PASSWORD);
        let before = bench.cloud.registered(id(&device));
        let got = bench.upload(&token, &device, &pem, "ecc", with_product.then_some(product.as_str()));
        assert_eq!(got.0, status, "device {number}, {name}, product {with_product}");
        let last = bench.cloud.uploads(id(&device)).pop().unwrap();
        assert_eq!((last.accepted, last.status), (status == 200, status));
        if status == 403 {
            assert_eq!(got.1, json!({ "ok": false, "error": "Permission Denied" }));
            assert_eq!(bench.cloud.registered(id(&device)), before, "a refusal changes nothing");
        }
    }
}

#[test]
fn what_is_no_key_is_refused_and_a_key_may_be_sent_twice() {
    let bench = bench();
    bench.import(ARGON);
    let (pem, spki) = ec_key();
    let product = Some("bench-12");
    let send = |device: &str, pem: &str, algorithm: &str| bench.upload(&bench.token, device, pem, algorithm, product);
    let private = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    for (device, pem, algorithm) in [
        (ARGON, private, "ecc"),
        (ARGON, pem.as_str(), "rsa"),
        (ARGON, pem.as_str(), "ec"),
        (
            ARGON,
            "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n",
            "rsa",
        ),
        ("E00FCE680000000000000001", pem.as_str(), "ecc"),
    ] {
        let (status, body) = send(device, pem, algorithm);
        assert_eq!(status, 400, "{algorithm} {pem}");
        assert_eq!(
            body["errors"].as_array().unwrap().len(),
            1,
            "the shape that old clients take for success"
        );
    }
    assert_eq!(send(ARGON, "", "ecc").1["error"], json!("No key provided"));
    let path = format!("/v1/provisioning/{ARGON}");
    let none = bench.send(WireRequest::new("POST", &path).form(&[("publicKey", &pem), ("algorithm", "ecc")]));
    assert_eq!(none.1, json!({ "error": "No deviceID provided" }));
    assert_eq!(bench.cloud.registered(id(ARGON)), None);
    for _ in 0..2 {
        assert_eq!(send(ARGON, &pem, "ecc").0, 200);
        assert_eq!(bench.cloud.registered(id(ARGON)).as_ref(), Some(&spki));
    }
    let accepted = bench.cloud.uploads(id(ARGON)).into_iter().filter(|upload| upload.accepted);
    assert!(
        accepted.clone().count() == 2 && accepted.clone().all(|upload| upload.spki == spki),
        "both are counted"
    );
    assert_eq!(
        bench.cloud.place(id(ARGON)),
        Some((Some(ARGON_PRODUCT), None)),
        "an upload claims nothing"
    );
}

#[test]
fn api_users_clients_and_customers_cannot_upload() {
    let bench = bench_with(|setup| {
        setup.customers.push(CustomerSetup {
            email: "c".into(),
            product: ARGON_PRODUCT,
        })
    });
    bench.import(ARGON);
    let (pem, _) = ec_key();
    let team = "/v1/products/bench-12/team";
    let made = bench
        .send(WireRequest::new("POST", team).json(&json!({ "friendly_name": "line", "scopes": ["devices:list"] })))
        .1;
    let api = made["created"]["tokens"][0]["token"].as_str().unwrap();
    let (status, body) = bench.upload(api, ARGON, &pem, "ecc", Some("bench-12"));
    assert_eq!((status, &body["error"]), (400, &json!("unauthorized")));
    assert_eq!(
        bench.send_as(api, WireRequest::new("GET", "/v1/products/bench-12/devices")).0,
        200
    );
    let (status, body) = bench.send_as(
        api,
        WireRequest::new("POST", "/v1/products/bench-12/devices").form(&[("id", ARGON)]),
    );
    assert_eq!((status, &body["error"]), (400, &json!("invalid_scope")));
    for scope in [None, Some("customer=c")] {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", "bench-12"),
            ("client_secret", BENCH_CLIENT_SECRET),
        ];
        form.extend(scope.map(|scope| ("scope", scope)));
        let token = bench
            .cloud
            .handle(&WireRequest::new("POST", "/oauth/token").form(&form))
            .response()
            .json();
        assert_eq!(
            bench
                .upload(token["access_token"].as_str().unwrap(), ARGON, &pem, "ecc", Some("bench-12"))
                .0,
            403
        );
    }
}
