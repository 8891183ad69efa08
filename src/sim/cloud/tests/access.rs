//! Imports, lists, claims and limits: who may what, and what it does.

use serde_json::json;

use super::*;

fn lists(body: &Value) -> [usize; 5] {
    [
        "updatedDeviceIds",
        "existingDeviceIds",
        "nonmemberDeviceIds",
        "invalidDeviceIds",
        "protectedDeviceIds",
    ]
    .map(|name| body[name].as_array().unwrap().len())
}

#[test]
fn an_import_answers_with_six_lists() {
    const PROTECTED: &str = "e00fce680000000000000004";
    const ELSEWHERE: &str = "e00fce680000000000000005";
    let bench = bench_with(|setup| {
        setup.devices[2].owner = Some("stranger@else.test".into());
        setup.devices.push(DeviceSetup {
            protected: true,
            ..DeviceSetup::new(id(PROTECTED), 12)
        });
        setup.devices.push(DeviceSetup {
            product: Some(999),
            ..DeviceSetup::new(id(ELSEWHERE), 12)
        });
    });
    let unknown = "ffffffffffffffffffffffff";
    let file = format!(
        "{ARGON}\n  {STRANGERS} \n{PROTECTED}\n{ELSEWHERE}\n{PHOTON}\n{unknown}\n\n{}",
        ARGON.to_uppercase()
    );
    let http = DirectHttp::new(bench.cloud.clone());
    let mut request = Request::new(Method::Post, "/v1/products/bench-12/devices");
    request.auth = Auth::Bearer(bench.token.clone().into());
    request.body = Body::File(file.into_bytes());
    let body: Value = serde_json::from_slice(&http.call(&request).unwrap().body).unwrap();
    assert_eq!((lists(&body), &body["updated"]), ([1, 0, 1, 3, 1], &json!(1)));
    assert_eq!(
        body["invalidDeviceIds"],
        json!([ELSEWHERE, PHOTON, unknown]),
        "another product, another platform, unknown"
    );
    assert_eq!(lists(&bench.import(ARGON)), [0, 1, 0, 0, 0]);
    let all: Vec<ImportList> = bench.cloud.imports(id(ARGON)).iter().map(|import| import.list).collect();
    assert_eq!(all, [ImportList::Updated, ImportList::Existing]);
}

#[test]
fn an_import_takes_serial_numbers_and_gives_them_back() {
    let bench = bench();
    let serial = "BNCH01200000001";
    assert_eq!(bench.import(serial)["updatedDeviceIds"], json!([serial]));
    assert_eq!(bench.cloud.place(id(ARGON)), Some((Some(ARGON_PRODUCT), None)));
    let path = format!("/v1/products/{ARGON_PRODUCT}/devices");
    let ids = WireRequest::new("POST", &path).json(&json!({ "ids": [ARGON, STRANGERS], "claim_user": BENCH_USER }));
    assert_eq!(lists(&bench.send(ids).1), [1, 1, 0, 0, 0]);
    assert_eq!(bench.cloud.place(id(STRANGERS)).unwrap().1.as_deref(), Some(BENCH_USER));
    assert_eq!(
        bench.send(WireRequest::new("POST", &path).json(&json!({}))).0,
        400,
        "nothing to import"
    );
}

#[test]
fn the_list_filters_partially_and_pages_by_either_name() {
    let bench = bench();
    bench.import(ARGON);
    bench.import(STRANGERS);
    let page = |query: &str| bench.get(&format!("/v1/products/bench-12/devices?{query}"));
    assert_eq!(
        page("deviceId=e00fce").1["devices"].as_array().unwrap().len(),
        2,
        "a part is enough"
    );
    assert_eq!(page("serialNumber=bnch01200000001").1["devices"][0]["id"], json!(ARGON));
    for name in ["perPage", "per_page"] {
        let (_, body) = page(&format!("sortAttr=deviceId&page=2&{name}=1"));
        assert_eq!(
            (&body["meta"]["total_pages"], &body["devices"][0]["id"]),
            (&json!(2), &json!(STRANGERS))
        );
        assert_eq!(body["devices"].as_array().unwrap().len(), 1);
    }
    assert_eq!(page("page=0").0, 400);
    assert_eq!(page("deviceId=ffff").1["devices"], json!([]));
}

#[test]
fn unknown_products_and_devices_are_refused_like_those_of_others() {
    let bench = bench();
    assert_eq!(bench.get("/v1/products/1").0, 403);
    assert_eq!(bench.get("/v1/products/1/devices").0, 403);
    let (status, body) = bench.get("/v1/devices/ffffffffffffffffffffffff");
    assert_eq!((status, &body["error"]), (403, &json!("Permission Denied")));
    assert_eq!(
        bench.get(&format!("/v1/devices/{ARGON}")).0,
        403,
        "made, but neither claimed nor imported"
    );
    bench.import(ARGON);
    let (status, body) = bench.get(&format!("/v1/devices/{ARGON}"));
    assert_eq!(
        (status, &body["product_id"], &body["online"]),
        (200, &json!(ARGON_PRODUCT), &json!(false))
    );
    assert!(body.get("owner").is_none());
    assert_eq!(
        bench.get(&format!("/v1/devices/{}", ARGON.to_uppercase())).0,
        403,
        "ids are lower case"
    );
}

#[test]
fn a_customers_device_is_unclaimed_rekeyed_and_claimed_back() {
    let bench = bench_with(|setup| {
        setup.customers.push(CustomerSetup {
            email: "c@shop.test".into(),
            product: ARGON_PRODUCT,
        });
        setup.devices[0].product = Some(ARGON_PRODUCT);
        setup.devices[0].owner = Some("c@shop.test".into());
    });
    let (_, body) = bench.get(&format!("/v1/products/bench-12/devices?deviceId={ARGON}"));
    assert_eq!(body["customers"][0]["username"], json!("c@shop.test"));
    let (_, body) = bench.get("/v1/products/bench-12/customers");
    assert_eq!(body["customers"][0]["devices"], json!([ARGON]));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "bench-12"),
        ("client_secret", BENCH_CLIENT_SECRET),
        ("scope", "customer=c@shop.test"),
    ];
    let customer = bench
        .cloud
        .handle(&WireRequest::new("POST", "/oauth/token").form(&form))
        .response()
        .json();
    let customer = customer["access_token"].as_str().unwrap();
    let claim = || WireRequest::new("POST", "/v1/devices").form(&[("id", ARGON)]);
    let (status, body) = bench.send(claim());
    assert_eq!(status, 403);
    assert!(
        body["errors"][0]
            .as_str()
            .unwrap()
            .starts_with("That belongs to someone else.")
    );
    assert_eq!(
        bench
            .send(WireRequest::new(
                "DELETE",
                &format!("/v1/products/bench-12/devices/{ARGON}/owner")
            ))
            .0,
        200
    );
    assert_eq!(
        bench.cloud.place(id(ARGON)),
        Some((Some(ARGON_PRODUCT), None)),
        "still in the product"
    );
    let (pem, _) = ec_key();
    assert_eq!(bench.upload(&bench.token, ARGON, &pem, "ecc", Some("bench-12")).0, 200);
    for _ in 0..2 {
        assert_eq!(
            bench.send_as(customer, claim()).0,
            200,
            "claimed offline, and again without effect"
        );
    }
    assert_eq!(bench.cloud.place(id(ARGON)).unwrap().1.as_deref(), Some("c@shop.test"));
    let moves: Vec<Moved> = bench.cloud.moves(id(ARGON)).into_iter().map(|moved| moved.what).collect();
    assert_eq!(
        moves,
        [Moved::Unclaimed("c@shop.test".into()), Moved::Claimed("c@shop.test".into())]
    );
    let ask = WireRequest::new("POST", "/v1/devices").form(&[("id", ARGON), ("request_transfer", "true")]);
    assert!(bench.send(ask).1["transfer_id"].is_string());
    assert_eq!(bench.cloud.moves(id(ARGON)).pop().unwrap().what, Moved::TransferRequested);
}

#[test]
fn removing_is_not_unclaiming() {
    let bench = bench();
    bench.import(ARGON);
    let claim = WireRequest::new("POST", "/v1/devices").form(&[("id", ARGON)]);
    assert_eq!(bench.send(claim).0, 200, "a product's device may be claimed offline");
    let (status, body) = bench.send(WireRequest::new("POST", "/v1/devices").form(&[("id", PHOTON)]));
    assert_eq!(
        (status, body),
        (404, json!({})),
        "another may not, and the answer does not say why"
    );
    assert_eq!(
        bench
            .send(WireRequest::new("DELETE", &format!("/v1/products/bench-12/devices/{ARGON}")))
            .0,
        204
    );
    assert_eq!(
        bench.cloud.place(id(ARGON)),
        Some((None, Some(BENCH_USER.into()))),
        "a user keeps a removed device"
    );
    assert_eq!(bench.get(&format!("/v1/devices/{ARGON}")).1["product_id"], json!(12));
    assert_eq!(bench.send(WireRequest::new("DELETE", &format!("/v1/devices/{ARGON}"))).0, 200);
    assert_eq!(bench.cloud.place(id(ARGON)), Some((None, None)));
}

#[test]
fn updates_answer_with_what_changed() {
    let bench = bench();
    bench.import(ARGON);
    let path = format!("/v1/products/bench-12/devices/{ARGON}");
    let put = |body: Value| bench.send(WireRequest::new("PUT", &path).json(&body));
    assert_eq!(put(json!({ "name": "left" })).1["name"], json!("left"));
    assert_eq!(put(json!({ "groups": ["a", "b-1"] })).1["groups"], json!(["a", "b-1"]));
    assert_eq!(put(json!({ "groups": ["Capital"] })).0, 400);
    assert_eq!(
        bench.get("/v1/products/bench-12/groups").1["groups"][0],
        json!({ "name": "a", "device_count": 1 })
    );
    let new = WireRequest::new("POST", "/v1/products/bench-12/groups").json(&json!({ "name": "c" }));
    assert_eq!(bench.send(new).0, 201);
    assert_eq!(
        bench.send(WireRequest::new("DELETE", "/v1/products/bench-12/groups/c")).0,
        204
    );
    assert_eq!(
        bench.send(WireRequest::new("DELETE", "/v1/products/bench-12/groups/c")).0,
        404
    );
    assert_eq!(
        put(json!({ "desired_firmware_version": 7 })).1["desired_firmware_version"],
        json!(7)
    );
    assert_eq!(
        put(json!({ "desired_firmware_version": null })).1["desired_firmware_version"],
        json!(null)
    );
    assert_eq!(put(json!({ "signal": "1" })).0, 408, "an offline device shouts no rainbows");
    assert_eq!(put(json!({})).0, 400);
    let (_, device) = bench.get(&path);
    assert_eq!((&device["name"], &device["groups"]), (&json!("left"), &json!(["a", "b-1"])));
    let ping = WireRequest::new("PUT", &format!("{path}/ping"));
    assert_eq!(bench.send(ping).1, json!({ "online": false, "ok": true }));
}

#[test]
fn serial_numbers_are_limited_to_fifty_an_hour_for_each_user() {
    let bench = bench_with(|setup| setup.users.push(user("second")));
    let get = || WireRequest::new("GET", "/v1/serial_numbers/BNCH01200000001");
    for _ in 0..50 {
        assert_eq!(bench.send(get()).1["deviceID"], json!(ARGON));
    }
    assert_eq!(bench.send(get()).0, 429);
    let second = sign_in(&bench.cloud, "second", BENCH_PASSWORD);
    assert_eq!(bench.send_as(&second, get()).0, 200);
    bench.clock.advance(Duration::from_secs(3600));
    assert_eq!(bench.send(get()).0, 200);
}

#[test]
fn ten_thousand_requests_in_five_minutes_are_enough() {
    let bench = bench();
    let refused = (0..10_000)
        .filter(|_| bench.get("/v1/access_tokens/current").0 == 429)
        .count();
    assert_eq!(refused, 1, "signing in was the first request of the window");
    bench.clock.advance(Duration::from_secs(300));
    assert_eq!(bench.get("/v1/access_tokens/current").0, 200);
}

#[test]
fn a_scaled_limit_has_the_same_rate_in_a_shorter_window() {
    let bench = bench();
    bench.cloud.scale_limits(20);
    let refused = (0..510).filter(|_| bench.get("/v1/access_tokens/current").0 == 429).count();
    assert_eq!(refused, 11, "500 in 15 s, and signing in was the first of them");
    bench.clock.advance(Duration::from_secs(15));
    assert_eq!(bench.get("/v1/access_tokens/current").0, 200);
}
