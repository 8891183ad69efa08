//! Clients of the cloud that make one known mistake each in the repair of a device, and must suffer what the reference
//! says of it (section numbers are those of cloud-api.md).

use keyrack::sim::cloud::{BENCH_CLIENT_SECRET, BENCH_USER, Effect, End, Fault, Moved, SNATCHER, WireRequest};
use serde_json::json;

use crate::model_cloud_shop::{ANN, ANNS, ELSEWHERE, FOREIGN, NEW, OTHER, PRODUCT, SLUG, Shop, claim, id, key, member};

#[test]
fn a_release_by_the_path_of_a_removal_loses_the_product() {
    // 3.7: one missing segment is another deed.
    let shop = Shop::open();
    let customer = shop.anns_token();
    let (status, _) = shop.send(WireRequest::new("DELETE", &member(ANNS)));
    assert_eq!(status, 204, "it looks like a success");
    assert_eq!(shop.place(ANNS), (None, None), "and neither product nor owner is left");
    assert_eq!(shop.upload(ANNS, &key().1, Some(SLUG)), 403);
    assert_eq!(
        shop.send_as(&customer, claim(ANNS)),
        (404, json!({})),
        "nor can it be given back"
    );
    assert_eq!(shop.cloud.attributes(id(ANNS)).unwrap().groups.len(), 0);

    let shop = Shop::open();
    shop.release(ANNS);
    assert_eq!(shop.place(ANNS), (Some(PRODUCT), None), "the right path keeps the product");
}

#[test]
fn a_claim_with_the_teams_token_makes_the_team_the_owner() {
    // 5.4
    let shop = Shop::open();
    let customer = shop.anns_token();
    shop.release(ANNS);
    assert_eq!(shop.send(claim(ANNS)).0, 200, "it looks like a success");
    assert_eq!(shop.place(ANNS).1.as_deref(), Some(BENCH_USER));
    assert_eq!(shop.anns_devices(), json!([]));
    let (status, body) = shop.send_as(&customer, claim(ANNS));
    assert_eq!(status, 403, "and the customer is locked out");
    assert!(body["errors"][0].as_str().unwrap().contains("belongs to someone else"));

    shop.release(ANNS);
    assert_eq!(shop.send_as(&customer, claim(ANNS)).0, 200);
    assert_eq!(shop.anns_devices(), json!([ANNS]));
}

#[test]
fn the_key_of_a_customers_device_is_not_taken_from_the_team() {
    // 2.4
    let shop = Shop::open();
    let (_, pem) = key();
    assert_eq!(shop.upload(ANNS, &pem, Some(SLUG)), 403);
    assert_eq!(shop.upload(ANNS, &pem, None), 403);
    assert_eq!(shop.cloud.registered(id(ANNS)), None);
    shop.release(ANNS);
    assert_eq!(shop.upload(ANNS, &pem, None), 403, "and never without the product");
    assert_eq!(shop.upload(ANNS, &pem, Some(SLUG)), 200);
}

#[test]
fn an_import_is_not_a_success_because_of_its_status() {
    // 3.3
    let shop = Shop::with(|setup| setup.devices[1].product = Some(FOREIGN));
    for (device, product) in [(ELSEWHERE, OTHER), (NEW, FOREIGN)] {
        let (status, body) = shop.import(device);
        assert_eq!((status, &body["updated"]), (200, &json!(0)));
        assert_eq!(body["invalidDeviceIds"], json!([device]));
        assert_eq!(body["nonmemberDeviceIds"], json!([]));
        assert_eq!(shop.place(device), (Some(product), None), "it is where it was");
        assert_eq!(shop.upload(device, &key().1, Some(SLUG)), 403);
    }
}

#[test]
fn groups_are_a_set_and_no_addition() {
    // 3.6
    let shop = Shop::open();
    let put = |groups| shop.send(WireRequest::new("PUT", &member(ANNS)).json(&json!({ "groups": groups })));
    let groups = || shop.cloud.attributes(id(ANNS)).unwrap().groups;
    assert_eq!(put(json!(["repaired"])).0, 200, "it looks like a success");
    assert_eq!(groups(), ["repaired"], "and the others are gone");
    put(json!(["eu", "beta", "repaired"]));
    assert_eq!(groups(), ["eu", "beta", "repaired"]);
}

#[test]
fn a_customers_token_is_given_to_the_products_own_client_only() {
    // 1.5
    let shop = Shop::with(|setup| setup.clients[1].two_legged = false);
    let form = "grant_type=client_credentials&scope=customer%3Dann%2Bhome%40example.test";
    for (client, secret, error) in [
        ("client-902", BENCH_CLIENT_SECRET, "invalid_grant"),
        ("client-901", BENCH_CLIENT_SECRET, "invalid_client"),
        ("particle", "particle", "invalid_grant"),
        (SLUG, "guess", "invalid_client"),
    ] {
        let response = shop.grant(client, secret, form);
        assert_eq!((response.status, &response.json()["error"]), (400, &json!(error)), "{client}");
    }
    assert_eq!(shop.grant(SLUG, BENCH_CLIENT_SECRET, form).status, 200);
    assert_eq!(shop.cloud.customer_tokens(), 1);
}

#[test]
fn a_client_that_asks_on_locks_everybody_out() {
    // 4.2: ten failures in a row.
    let shop = Shop::open();
    let form = "grant_type=client_credentials&scope=customer%3Dann%2Bhome%40example.test";
    for _ in 0..10 {
        assert_eq!(shop.grant(SLUG, "guess", form).status, 400);
    }
    assert_eq!(
        shop.grant(SLUG, BENCH_CLIENT_SECRET, form).status,
        429,
        "the right secret as well"
    );
}

#[test]
fn a_plus_that_is_not_encoded_names_another_customer() {
    // 1.5
    let shop = Shop::open();
    let form = format!("grant_type=client_credentials&scope=customer={ANN}");
    assert_eq!(shop.grant(SLUG, BENCH_CLIENT_SECRET, &form).status, 400);
}

#[test]
fn a_key_before_the_import_is_refused() {
    // 2.4
    let shop = Shop::open();
    let (_, pem) = key();
    assert_eq!(shop.upload(NEW, &pem, Some(SLUG)), 403);
    assert_eq!(shop.upload(NEW, &pem, None), 403);
    assert_eq!(shop.import(NEW).0, 200);
    assert_eq!(shop.upload(NEW, &pem, Some(SLUG)), 200);
}

#[test]
fn the_first_page_of_the_customers_is_not_the_list() {
    // 3.10
    let shop = Shop::open();
    let page = |query: &str| {
        let path = format!("/v1/products/{SLUG}/customers{query}");
        shop.send(WireRequest::new("GET", &path)).1
    };
    let on = |body: &serde_json::Value| {
        body["customers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["username"] == json!(ANN))
    };
    let first = page("");
    assert_eq!((on(&first), &first["meta"]["total_pages"]), (false, &json!(6)));
    assert!(on(&page("?page=6")));
}

#[test]
fn who_asks_again_whose_device_it_is_forgets_its_owner() {
    // 5.4: after a lost reply the owner of before is on the client's disk or nowhere.
    let shop = Shop::open();
    shop.once(Fault::new("DELETE /v1/products/:p/devices/:id/owner", Effect::ResetAfter));
    let request = WireRequest::new("DELETE", &format!("{}/owner", member(ANNS))).bearer(&shop.token);
    assert!(matches!(shop.cloud.handle(&request).end, End::ResetAfter));
    let (_, device) = shop.send(WireRequest::new("GET", &member(ANNS)));
    assert!(device.get("owner").is_none(), "it looks like nobody's");
    assert_eq!(shop.anns_devices(), json!([]), "and no list says whose it was");
}

#[test]
fn a_transfer_request_mails_the_owner_and_brings_nothing() {
    // 3.7
    let shop = Shop::open();
    shop.once(Fault::new("DELETE /v1/products/:p/devices/:id/owner", Effect::Snatched));
    shop.release(ANNS);
    let customer = shop.anns_token();
    let ask = WireRequest::new("POST", "/v1/devices").json(&json!({ "id": ANNS, "request_transfer": true }));
    let (status, body) = shop.send_as(&customer, ask);
    assert!(status == 200 && body["transfer_id"].is_string(), "it looks like a success");
    assert_eq!(shop.place(ANNS).1.as_deref(), Some(SNATCHER));
    assert_eq!(shop.moves(ANNS).last(), Some(&Moved::TransferRequested));
}

#[test]
fn a_key_between_two_products_is_refused_and_so_is_an_import_before_the_removal() {
    // 2.4, 3.3
    let shop = Shop::open();
    let (_, pem) = key();
    assert_eq!(
        shop.import(ELSEWHERE).1["invalidDeviceIds"],
        json!([ELSEWHERE]),
        "it is in the other product still"
    );
    let remove = WireRequest::new("DELETE", &format!("/v1/products/{OTHER}/devices/{ELSEWHERE}"));
    assert_eq!(shop.send(remove).0, 204);
    assert_eq!(shop.place(ELSEWHERE), (None, None));
    assert_eq!(shop.upload(ELSEWHERE, &pem, Some(SLUG)), 403);
    assert_eq!(shop.upload(ELSEWHERE, &pem, Some("other")), 403);
    assert_eq!(shop.import(ELSEWHERE).1["updated"], json!(1));
    assert_eq!(shop.upload(ELSEWHERE, &pem, Some(SLUG)), 200);
    assert_eq!(
        shop.cloud.attributes(id(ELSEWHERE)).unwrap().groups.len(),
        0,
        "its groups did not follow"
    );
}

#[test]
fn a_customer_of_the_old_product_is_none_of_the_new_one() {
    // 1.5, 3.7
    let shop = Shop::open();
    let customer = shop.anns_token();
    shop.release(ANNS);
    assert_eq!(shop.send(WireRequest::new("DELETE", &member(ANNS))).0, 204);
    let other = WireRequest::new("POST", &format!("/v1/products/{OTHER}/devices")).form(&[("id", ANNS)]);
    assert_eq!(shop.send(other).1["updated"], json!(1));
    assert_eq!(
        shop.send_as(&customer, claim(ANNS)).0,
        403,
        "the token is for the old product"
    );
    assert_eq!(shop.place(ANNS), (Some(OTHER), None), "and nobody has it");
}
