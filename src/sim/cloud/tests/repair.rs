//! What the repair of devices needs: owners and customers, names and groups, the way out of a product, Service Mode.

use serde_json::json;

use super::*;

const CUSTOMER: &str = "c+1@shop.test";
const OTHER_PRODUCT: u32 = 777;

/// The Argon is a customer's, with a name, notes and groups; the other Argon is nobody's and in no product.
fn shop() -> Bench {
    bench_with(|setup| {
        setup.customers.push(CustomerSetup {
            email: CUSTOMER.into(),
            product: ARGON_PRODUCT,
        });
        let other = ProductSetup {
            id: OTHER_PRODUCT,
            slug: "other".into(),
            ..setup.products[0].clone()
        };
        setup.products.push(other);
        let device = &mut setup.devices[0];
        device.product = Some(ARGON_PRODUCT);
        device.owner = Some(CUSTOMER.into());
        device.name = Some("kitchen".into());
        device.notes = Some("two\nlines".into());
        device.groups = vec!["eu".into(), "beta".into()];
    })
}

fn customer_token(cloud: &StandIn) -> String {
    let response = cloud.handle(&customer_grant()).response();
    assert_eq!(response.status, 200, "{}", response.json());
    response.json()["access_token"].as_str().unwrap().to_owned()
}

fn customer_grant() -> WireRequest {
    let scope = format!("customer={CUSTOMER}");
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "bench-12"),
        ("client_secret", BENCH_CLIENT_SECRET),
        ("scope", scope.as_str()),
    ];
    WireRequest::new("POST", "/oauth/token").form(&form)
}

fn member(rest: &str) -> String {
    format!("/v1/products/bench-12/devices/{ARGON}{rest}")
}

fn release() -> WireRequest {
    WireRequest::new("DELETE", &member("/owner"))
}

fn claim(device: &str) -> WireRequest {
    WireRequest::new("POST", "/v1/devices").json(&json!({ "id": device }))
}

fn owner(bench: &Bench) -> Option<String> {
    bench.cloud.place(id(ARGON)).unwrap().1
}

#[test]
fn owners_are_named_in_products_only_and_a_customer_perhaps_by_number() {
    let bench = shop();
    assert_eq!(bench.get(&member("")).1["owner"], json!(CUSTOMER));
    let (status, alone) = bench.get(&format!("/v1/devices/{ARGON}"));
    assert_eq!((status, alone["product_id"].as_u64()), (200, Some(ARGON_PRODUCT.into())));
    for field in ["owner", "groups", "quarantined", "denied"] {
        assert!(alone.get(field).is_none(), "{field}");
    }
    bench.cloud.add_fault(Fault::new("GET /v1/products/*", Effect::ByNumber));
    let number = bench.get(&member("")).1["owner"].clone();
    assert_ne!(number, json!(CUSTOMER));
    let (_, list) = bench.get(&format!("/v1/products/bench-12/devices?deviceId={ARGON}"));
    assert_eq!(list["devices"][0]["owner"], number);
    assert_eq!(list["customers"], json!([{ "id": number, "username": CUSTOMER }]));
}

#[test]
fn a_release_leaves_the_device_in_its_product_with_all_that_is_written_about_it() {
    let bench = shop();
    let before = bench.cloud.attributes(id(ARGON));
    assert_eq!(bench.send(release()), (200, json!({ "ok": true })));
    assert_eq!(bench.cloud.place(id(ARGON)), Some((Some(ARGON_PRODUCT), None)));
    assert_eq!(bench.cloud.attributes(id(ARGON)), before);
    let (_, device) = bench.get(&member(""));
    assert!(device.get("owner").is_none(), "{device}");
}

#[test]
fn a_customers_token_claims_the_products_devices_and_joins_others_only_while_they_are_online() {
    let bench = shop();
    let customer = customer_token(&bench.cloud);
    bench.send(release());
    assert_eq!(bench.send_as(&customer, claim(ARGON)).0, 200, "offline, and in the product");
    let vague = (404, json!({}));
    assert_eq!(
        bench.send_as(&customer, claim(STRANGERS)),
        vague,
        "offline, and in no product"
    );
    assert_eq!(bench.send_as(&customer, claim("ffffffffffffffffffffffff")), vague, "unknown");
    for device in [STRANGERS, PHOTON] {
        bench.cloud.world().state.devices.get_mut(&id(device)).unwrap().online = true;
    }
    assert_eq!(bench.send_as(&customer, claim(PHOTON)).0, 403, "of another platform");
    assert_eq!(bench.send_as(&customer, claim(STRANGERS)).0, 200);
    assert_eq!(
        bench.cloud.place(id(STRANGERS)),
        Some((Some(ARGON_PRODUCT), Some(CUSTOMER.into())))
    );
    bench.cloud.world().state.devices.get_mut(&id(PHOTON)).unwrap().product = Some(BENCH_PRODUCT + 6);
    assert_eq!(bench.send_as(&customer, claim(PHOTON)).0, 403, "of another product");
}

#[test]
fn a_removal_takes_a_customers_device_from_the_customer_as_well() {
    let bench = shop();
    assert_eq!(bench.send(WireRequest::new("DELETE", &member(""))).0, 204);
    assert_eq!(bench.cloud.place(id(ARGON)), Some((None, None)));
    assert_eq!(bench.cloud.attributes(id(ARGON)).unwrap().groups, Vec::<String>::new());
    assert_eq!(
        bench.send(WireRequest::new("DELETE", &member(""))).0,
        403,
        "it is not there any more"
    );
    let into = |product: u32| WireRequest::new("POST", &format!("/v1/products/{product}/devices")).form(&[("id", ARGON)]);
    assert_eq!(bench.send(into(OTHER_PRODUCT)).1["updatedDeviceIds"], json!([ARGON]));
    let (status, body) = bench.send(into(ARGON_PRODUCT));
    assert_eq!(
        (status, &body["invalidDeviceIds"]),
        (200, &json!([ARGON])),
        "in another product"
    );
}

#[test]
fn one_request_changes_several_attributes_or_none() {
    let bench = shop();
    let put = |body: Value| bench.send(WireRequest::new("PUT", &member("")).json(&body));
    let (status, body) = put(json!({ "name": "hall", "notes": "n", "groups": ["a"], "signal": "0" }));
    assert_eq!(status, 200);
    assert_eq!(
        (&body["name"], &body["notes"], &body["groups"], &body["signaling"]),
        (&json!("hall"), &json!("n"), &json!(["a"]), &json!(false))
    );
    assert!(body["updated_at"].is_string());
    assert_eq!(put(json!({ "name": "x", "groups": ["Capital"] })).0, 400);
    assert_eq!(put(json!({ "name": "x", "signal": "1" })).0, 408);
    let attributes = bench.cloud.attributes(id(ARGON)).unwrap();
    assert_eq!(
        attributes,
        Attributes {
            name: Some("hall".into()),
            notes: Some("n".into()),
            groups: vec!["a".into()],
        },
        "the groups are the set that was sent, and a refused request changed nothing"
    );
    assert_eq!(put(json!({ "groups": [] })).1["groups"], json!([]));
    let (_, groups) = bench.get("/v1/products/bench-12/groups");
    let names: Vec<_> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["name"].clone())
        .collect();
    assert_eq!(names, ["eu", "beta", "a"], "those of its start among them");
}

#[test]
fn groups_are_for_members() {
    let bench = bench_with(|setup| setup.devices[0].owner = Some(BENCH_USER.into()));
    let put = |body: Value| bench.send(WireRequest::new("PUT", &format!("/v1/devices/{ARGON}")).json(&body));
    assert_eq!(put(json!({ "name": "mine" })).0, 200);
    assert_eq!(put(json!({ "groups": ["a"] })).0, 400);
}

#[test]
fn a_customers_token_revokes_itself_and_no_other() {
    let bench = shop();
    let (first, second) = (customer_token(&bench.cloud), customer_token(&bench.cloud));
    assert_eq!(bench.cloud.customer_tokens(), 2);
    let revoke = || WireRequest::new("DELETE", "/v1/access_tokens/current");
    assert_eq!(bench.send_as(&first, revoke()), (200, json!({ "ok": true })));
    assert_eq!(bench.cloud.customer_tokens(), 1);
    assert_eq!(bench.send_as(&first, revoke()).0, 401);
    assert_eq!(bench.send_as(&second, WireRequest::new("GET", "/v1/devices")).0, 200);
}

#[test]
fn an_unknown_key_opens_nothing() {
    let bench = shop();
    let path = member("/unprotect");
    let confirm = |bench: &Bench, fingerprint: &[u8]| {
        let put = |body: Value| bench.send(WireRequest::new("PUT", &path).json(&body));
        let (_, prepared) = put(json!({ "action": "prepare" }));
        let some = call::to_base64(&[1; 32]);
        put(
            json!({ "action": "confirm", "server_nonce": prepared["server_nonce"], "device_nonce": some, "device_signature": some,
            "device_public_key_fingerprint": call::to_base64(fingerprint) }),
        )
    };
    let unknown = json!({ "ok": false, "error": "Device public key was not found" });
    assert_eq!(confirm(&bench, &[7; 32]), (404, unknown.clone()), "no key at all");
    let (_, spki) = ec_key();
    bench.cloud.made_with(id(ARGON), &spki);
    assert_eq!(confirm(&bench, &[7; 32]), (404, unknown), "another key");
    let fingerprint = sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), &spki));
    let (status, body) = confirm(&bench, &fingerprint);
    assert_eq!((status, &body["errors"][0]), (400, &json!("device_signature is wrong")));
}

#[test]
fn somebody_else_is_quicker() {
    let bench = shop();
    bench
        .cloud
        .add_fault(Fault::new("DELETE /v1/products/:p/devices/:id/owner", Effect::Snatched).times(1));
    assert_eq!(bench.send(release()).0, 200, "the release itself is as it should be");
    assert_eq!(owner(&bench).as_deref(), Some(SNATCHER));
    let customer = customer_token(&bench.cloud);
    assert_eq!(bench.send_as(&customer, claim(ARGON)).0, 403);
    // A look may be the moment, too; what nobody let go of cannot be snatched.
    bench.send(release());
    bench
        .cloud
        .add_fault(Fault::new("GET /v1/products/:p/devices", Effect::Snatched));
    let look = format!("/v1/products/bench-12/devices?deviceId={ARGON}");
    assert!(bench.get(&look).1["devices"][0].get("owner").is_none());
    assert_eq!(bench.get(&look).1["devices"][0]["owner"], json!(SNATCHER));
    bench.send(release());
    bench.send_as(&customer, claim(ARGON));
    bench.get(&look);
    assert_eq!(owner(&bench).as_deref(), Some(CUSTOMER));
}

#[test]
fn what_is_written_about_a_device_may_be_lost() {
    let bench = shop();
    bench
        .cloud
        .add_fault(Fault::new("DELETE /v1/products/:p/devices/:id/owner", Effect::Forgotten));
    bench.send(release());
    assert_eq!(bench.cloud.attributes(id(ARGON)), Some(Attributes::default()));
}

/// A route of the repair with a request for it.
type Deed = (&'static str, Box<dyn Fn(&Bench) -> WireRequest>);

/// Every route that a repair uses, with a request that has an effect where the route has one.
fn deeds() -> Vec<Deed> {
    fn plain(route: &'static str, request: impl Fn() -> WireRequest + 'static) -> Deed {
        (route, Box::new(move |bench: &Bench| request().bearer(&bench.token)))
    }
    let put = |body: Value| move || WireRequest::new("PUT", &member("")).json(&body);
    let prepare = || WireRequest::new("PUT", &member("/unprotect")).json(&json!({ "action": "prepare" }));
    vec![
        plain("GET /v1/devices/:id", || {
            WireRequest::new("GET", &format!("/v1/devices/{ARGON}"))
        }),
        plain("GET /v1/products/:p/devices/:id", || WireRequest::new("GET", &member(""))),
        plain("GET /v1/products/:p/devices", || {
            WireRequest::new("GET", "/v1/products/bench-12/devices")
        }),
        plain("GET /v1/products/:p/customers", || {
            WireRequest::new("GET", "/v1/products/bench-12/customers")
        }),
        plain("GET /v1/products/:p/team", || {
            WireRequest::new("GET", "/v1/products/bench-12/team")
        }),
        plain("DELETE /v1/products/:p/devices/:id/owner", release),
        plain("DELETE /v1/products/:p/devices/:id", || {
            WireRequest::new("DELETE", &member(""))
        }),
        plain("PUT /v1/products/:p/devices/:id", put(json!({ "name": "hall" }))),
        plain("PUT /v1/products/:p/devices/:id", put(json!({ "groups": [] }))),
        plain("PUT /v1/products/:p/devices/:id/unprotect", prepare),
        plain("POST /v1/products/:p/devices", || {
            WireRequest::new("POST", "/v1/products/bench-12/devices").form(&[("id", STRANGERS)])
        }),
        ("POST /oauth/token", Box::new(|_| customer_grant())),
        (
            "POST /v1/devices",
            Box::new(|bench| {
                let customer = customer_token(&bench.cloud);
                bench.send(release());
                claim(ARGON).bearer(&customer)
            }),
        ),
        (
            "DELETE /v1/access_tokens/current",
            Box::new(|bench| {
                let customer = customer_token(&bench.cloud);
                WireRequest::new("DELETE", "/v1/access_tokens/current").bearer(&customer)
            }),
        ),
    ]
}

/// What the cloud remembers, but for what it makes up anew each time.
fn memory(cloud: &StandIn) -> Value {
    let mut state: Value = serde_json::from_str(&cloud.to_json()).unwrap();
    let nonces = state["unprotect"].as_object().unwrap().len();
    let tokens = state["tokens"].as_object().unwrap().len();
    for (name, count) in [("unprotect", nonces), ("tokens", tokens), ("refresh", tokens)] {
        state[name] = json!(count);
    }
    state
}

#[test]
fn every_route_of_a_repair_can_fail_wait_and_lose_its_reply() {
    for (route, request) in deeds() {
        let changes = !route.starts_with("GET");
        for (effect, committed, done, status) in [
            (Effect::ResetBefore, false, false, None),
            (Effect::ResetAfter, false, true, None),
            (Effect::TimedOut, false, false, Some(408)),
            (Effect::TimedOut, true, true, Some(408)),
            (Effect::TooMany(Some(7)), false, false, Some(429)),
            (Effect::HtmlError, false, false, Some(500)),
            (Effect::HtmlError, true, true, Some(500)),
            (Effect::Unavailable, false, false, Some(503)),
            (Effect::Refused(401), false, false, Some(401)),
            (Effect::Refused(403), false, false, Some(403)),
            (Effect::OkFalse, false, false, Some(200)),
            (Effect::EmptyOk, false, true, Some(200)),
        ] {
            let bench = shop();
            let request = request(&bench);
            let before = memory(&bench.cloud);
            bench.cloud.add_fault(Fault {
                delay_ms: 1500,
                committed,
                ..Fault::new(route, effect).times(1)
            });
            let outcome = bench.cloud.handle(&request);
            assert_eq!(outcome.delay, Duration::from_millis(1500), "{route} {effect:?}");
            match (outcome.end, status) {
                (End::Response(response), Some(status)) => assert_eq!(response.status, status, "{route} {effect:?}"),
                (End::ResetBefore | End::ResetAfter, None) => {}
                (end, _) => panic!("{route} {effect:?}: {end:?}"),
            }
            let changed = memory(&bench.cloud) != before;
            assert_eq!(changed, done && changes, "{route} {effect:?} {committed}");
        }
    }
}
