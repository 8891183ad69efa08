//! Each row of the table of cloud-api.md 1.8.

use super::*;

fn token(cloud: &StandIn, form: &[(&str, &str)]) -> (u16, Value) {
    let response = cloud.handle(&WireRequest::new("POST", "/oauth/token").form(form)).response();
    (response.status, response.json())
}

#[track_caller]
fn refused(got: (u16, Value), status: u16, error: &str, description: &str) {
    assert_eq!(
        (got.0, &got.1["error"], &got.1["error_description"]),
        (status, &error.into(), &description.into())
    );
}

const CLIENT: [(&str, &str); 2] = [("client_id", "keyrack"), ("client_secret", "x")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&CLIENT[..], more].concat()
}

#[test]
fn where_a_token_may_be() {
    let bench = bench();
    let path = "/v1/devices";
    let send = |request: WireRequest| {
        let response = bench.cloud.handle(&request).response();
        assert_eq!(response.header("cache-control"), Some("no-store"));
        (response.status, response.json())
    };
    let get = || WireRequest::new("GET", path);
    refused(send(get()), 400, "invalid_request", "The access token was not found");
    let both = WireRequest::new("GET", &format!("{path}?access_token={}", bench.token)).bearer(&bench.token);
    let text = "Only one method may be used to authenticate at a time (Auth header,  GET or POST).";
    refused(send(both), 400, "invalid_request", text);
    let twice = WireRequest::new("POST", path)
        .form(&[("access_token", &bench.token), ("id", ARGON)])
        .bearer(&bench.token);
    refused(send(twice), 400, "invalid_request", text);
    for bad in ["Bearer", "Bearer ", "Token abc", "Basic YTpi"] {
        refused(
            send(get().header("authorization", bad)),
            400,
            "invalid_request",
            "Malformed auth header",
        );
    }
    let body = get().form(&[("access_token", &bench.token)]);
    refused(
        send(body),
        400,
        "invalid_request",
        "Method cannot be GET When putting the token in the body.",
    );
    let json = WireRequest::new("POST", path).json(&serde_json::json!({ "access_token": bench.token }));
    let text = "When putting the token in the body, content type must be application/x-www-form-urlencoded.";
    refused(send(json), 400, "invalid_request", text);
    refused(
        send(get().bearer("nonsense")),
        401,
        "invalid_token",
        "The access token provided is invalid.",
    );
    let query = send(WireRequest::new("GET", &format!("{path}?access_token={}", bench.token)));
    assert_eq!((query.0, query.1["error"].as_str()), (400, Some("invalid_request")));
    bench.clock.advance(Duration::from_secs(7_776_000));
    refused(
        send(get().bearer(&bench.token)),
        401,
        "invalid_token",
        "The access token provided has expired.",
    );
}

#[test]
fn an_old_account_may_put_its_token_in_the_query_and_anybody_in_a_form() {
    let bench = bench_with(|setup| setup.users[0].query_token = true);
    let query = WireRequest::new("GET", &format!("/v1/devices?access_token={}", bench.token));
    assert_eq!(bench.cloud.handle(&query).response().status, 200);
    let form = WireRequest::new("POST", "/v1/devices").form(&[("access_token", &bench.token), ("id", ARGON)]);
    assert_eq!(
        bench.cloud.handle(&form).response().status,
        404,
        "signed in, and the device is offline"
    );
}

#[test]
fn the_token_endpoint_refuses_each_thing_by_name() {
    let (_, cloud) = start(Setup::bench([(id(ARGON), 12)]));
    let method = "Method must be POST with application/x-www-form-urlencoded encoding";
    let get = cloud.handle(&WireRequest::new("GET", "/oauth/token")).response();
    refused((get.status, get.json()), 400, "invalid_request", method);
    let json = cloud
        .handle(&WireRequest::new("POST", "/oauth/token").json(&serde_json::json!({})))
        .response();
    refused((json.status, json.json()), 400, "invalid_request", method);
    refused(
        token(&cloud, &with(&[("grant_type", "gift")])),
        400,
        "invalid_request",
        "Invalid or missing grant_type parameter",
    );
    let password = ("grant_type", "password");
    refused(
        token(&cloud, &[password]),
        400,
        "invalid_client",
        "Invalid or missing client_id parameter",
    );
    let short = [password, ("client_id", "a!"), ("client_secret", "x")];
    refused(
        token(&cloud, &short),
        400,
        "invalid_client",
        "Invalid or missing client_id parameter",
    );
    refused(
        token(&cloud, &[password, ("client_id", "abc")]),
        400,
        "invalid_client",
        "Missing client_secret parameter",
    );
    let wrong = [
        ("grant_type", "client_credentials"),
        ("client_id", "bench-12"),
        ("client_secret", "guess"),
    ];
    let response = cloud
        .handle(&WireRequest::new("POST", "/oauth/token").form(&wrong))
        .response();
    assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"Service\""));
    refused(
        (response.status, response.json()),
        400,
        "invalid_client",
        "Client credentials are invalid",
    );
    let missing = "Missing parameters. \"username\" and \"password\" are required";
    refused(
        token(&cloud, &with(&[password, ("username", "a")])),
        400,
        "invalid_client",
        missing,
    );
    let bad = with(&[password, ("username", BENCH_USER), ("password", "guess")]);
    refused(token(&cloud, &bad), 400, "invalid_grant", "User credentials are invalid");
    let nobody = with(&[("grant_type", "client_credentials")]);
    refused(token(&cloud, &nobody), 400, "invalid_grant", "Client credentials are invalid");
}

#[test]
fn a_stale_bearer_header_does_not_disturb_signing_in() {
    let bench = bench();
    let form = with(&[
        ("grant_type", "password"),
        ("username", BENCH_USER),
        ("password", BENCH_PASSWORD),
    ]);
    let response = bench
        .cloud
        .handle(&WireRequest::new("POST", "/oauth/token").form(&form).bearer("stale"))
        .response();
    assert_eq!(response.status, 200);
}

#[test]
fn the_second_factor() {
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let mut setup = Setup::bench([(id(ARGON), 12)]);
    setup.users[0].mfa = Some(SECRET.to_owned().into());
    setup.users[0].recovery_codes = vec!["once-only".to_owned()];
    let (clock, cloud) = start(setup);
    let ask = || {
        let got = token(
            &cloud,
            &with(&[
                ("grant_type", "password"),
                ("username", BENCH_USER),
                ("password", BENCH_PASSWORD),
            ]),
        );
        let mfa_token = got.1["mfa_token"].as_str().unwrap().to_owned();
        refused(got, 403, "mfa_required", "Multifactor authentication required");
        mfa_token
    };
    let mfa_token = ask();
    let otp = ("grant_type", "urn:custom:mfa-otp");
    let none = token(&cloud, &with(&[otp, ("mfa_token", &mfa_token)]));
    refused(none, 400, "invalid_request", "You must provide otp and mfa token.");
    let recovery = ("grant_type", "urn:custom:recovery-code");
    let none = token(&cloud, &with(&[recovery, ("mfa_token", &mfa_token)]));
    refused(none, 400, "invalid_request", "You must provide recovery code and mfa token.");
    let seconds = u64::try_from(clock.wall().millis() / 1000).unwrap();
    let old = one_time_password(SECRET, seconds - 300).unwrap();
    refused(
        token(&cloud, &with(&[otp, ("mfa_token", &mfa_token), ("otp", &old)])),
        400,
        "invalid_grant",
        "OTP expired",
    );
    let code = one_time_password(SECRET, seconds).unwrap();
    assert_eq!(token(&cloud, &with(&[otp, ("mfa_token", &mfa_token), ("otp", &code)])).0, 200);
    assert_eq!(
        token(&cloud, &with(&[otp, ("mfa_token", &mfa_token), ("otp", &code)])).0,
        400,
        "the mfa_token is used up"
    );
    let code = |mfa_token: &str| {
        token(
            &cloud,
            &with(&[recovery, ("mfa_token", mfa_token), ("recovery_code", "once-only")]),
        )
        .0
    };
    assert_eq!(code(&ask()), 200);
    assert_eq!(code(&ask()), 400, "a recovery code is used up");
}

#[test]
fn refresh_tokens_rotate_and_are_bound_to_their_client() {
    let bench = bench();
    let got = token(
        &bench.cloud,
        &with(&[
            ("grant_type", "password"),
            ("username", BENCH_USER),
            ("password", BENCH_PASSWORD),
        ]),
    );
    let refresh = got.1["refresh_token"].as_str().unwrap();
    assert_eq!(
        (got.1["expires_in"].as_i64(), &got.1["token_type"]),
        (Some(7_776_000), &"bearer".into())
    );
    let grant = ("grant_type", "refresh_token");
    refused(
        token(&bench.cloud, &with(&[grant])),
        400,
        "invalid_request",
        "No \"refresh_token\" parameter",
    );
    let other = [
        grant,
        ("client_id", "other"),
        ("client_secret", "x"),
        ("refresh_token", refresh),
    ];
    refused(token(&bench.cloud, &other), 400, "invalid_grant", "Invalid refresh token");
    let next = token(&bench.cloud, &with(&[grant, ("refresh_token", refresh)]));
    assert_eq!(next.0, 200);
    refused(
        token(&bench.cloud, &with(&[grant, ("refresh_token", refresh)])),
        400,
        "invalid_grant",
        "Invalid refresh token",
    );
    bench.clock.advance(Duration::from_secs(1_209_600));
    let late = next.1["refresh_token"].as_str().unwrap();
    refused(
        token(&bench.cloud, &with(&[grant, ("refresh_token", late)])),
        400,
        "invalid_grant",
        "Refresh token has expired",
    );
    let ever = with(&[
        ("grant_type", "password"),
        ("username", BENCH_USER),
        ("password", BENCH_PASSWORD),
        ("expires_in", "0"),
    ]);
    let ever = token(&bench.cloud, &ever).1;
    assert!(
        ever["refresh_token"].is_null() && ever["expires_in"].is_null(),
        "a token without end has no refresh token"
    );
}

#[test]
fn customer_tokens_take_a_two_legged_client_and_a_known_customer() {
    let bench = bench_with(|setup| {
        setup.customers.push(CustomerSetup {
            email: "c+1@shop.test".into(),
            product: ARGON_PRODUCT,
        });
        setup.clients.push(ClientSetup {
            id: "web-1".into(),
            secret: "s".to_owned().into(),
            product: ARGON_PRODUCT,
            two_legged: false,
        });
    });
    let grant = |id: &str, secret: &str, scope: &str| {
        let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{id}:{secret}"));
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        let request = WireRequest::new("POST", "/oauth/token")
            .form(&form)
            .header("authorization", &format!("Basic {basic}"));
        let response = bench.cloud.handle(&request).response();
        (response.status, response.json())
    };
    let good = grant("bench-12", BENCH_CLIENT_SECRET, "customer=c+1@shop.test");
    assert_eq!(good.0, 200);
    assert_eq!(grant("bench-12", BENCH_CLIENT_SECRET, "customer=nobody@shop.test").0, 400);
    refused(
        grant("bench-12", BENCH_CLIENT_SECRET, "devices"),
        400,
        "invalid_scope",
        "Invalid scope",
    );
    refused(
        grant("web-1", "s", "customer=c+1@shop.test"),
        400,
        "invalid_client",
        "The grant type is unauthorised for this client_id",
    );
    let customer = good.1["access_token"].as_str().unwrap();
    assert_eq!(
        bench.send_as(customer, WireRequest::new("GET", "/v1/devices")),
        (200, serde_json::json!([]))
    );
    assert_eq!(
        bench
            .send_as(customer, WireRequest::new("DELETE", "/v1/access_tokens/current"))
            .0,
        200
    );
    assert_eq!(
        bench.send_as(customer, WireRequest::new("GET", "/v1/devices")).0,
        401,
        "revoked"
    );
}

#[test]
fn ten_failures_in_a_row_block_the_address_for_half_an_hour() {
    let (clock, cloud) = start(Setup::bench([(id(ARGON), 12)]));
    let guess = with(&[("grant_type", "password"), ("username", BENCH_USER), ("password", "guess")]);
    let right = with(&[
        ("grant_type", "password"),
        ("username", BENCH_USER),
        ("password", BENCH_PASSWORD),
    ]);
    for _ in 0..9 {
        assert_eq!(token(&cloud, &guess).0, 400);
    }
    assert_eq!(token(&cloud, &right).0, 200, "nine are forgiven and forgotten");
    for _ in 0..10 {
        assert_eq!(token(&cloud, &guess).0, 400);
    }
    assert_eq!(token(&cloud, &right).0, 429);
    let elsewhere = WireRequest {
        peer: "127.0.0.2".parse().unwrap(),
        ..WireRequest::new("POST", "/oauth/token").form(&right)
    };
    assert_eq!(cloud.handle(&elsewhere).response().status, 200, "the block is per address");
    clock.advance(Duration::from_secs(1799));
    assert_eq!(token(&cloud, &right).0, 429);
    clock.advance(Duration::from_secs(1));
    assert_eq!(token(&cloud, &right).0, 200);
}

#[test]
fn signing_in_is_limited_to_a_hundred_in_five_minutes() {
    let (clock, cloud) = start(Setup::bench([(id(ARGON), 12)]));
    let right = with(&[
        ("grant_type", "password"),
        ("username", BENCH_USER),
        ("password", BENCH_PASSWORD),
    ]);
    for _ in 0..100 {
        assert_eq!(token(&cloud, &right).0, 200);
    }
    refused(token(&cloud, &right), 429, "rate_limit_exceeded", "Too many requests");
    clock.advance(Duration::from_secs(300));
    assert_eq!(token(&cloud, &right).0, 200);
}
