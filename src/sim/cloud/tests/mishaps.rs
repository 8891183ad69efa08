//! Every mishap as a client without sockets sees it.

use super::*;

const PROVISIONING: &str = "POST /v1/provisioning/:id";

/// One upload through [`DirectHttp`], with how long it took.
fn upload(bench: &Bench, pem: &str) -> (Result<crate::edge::Response, HttpError>, Duration) {
    let mut request = Request::new(Method::Post, format!("/v1/provisioning/{ARGON}"));
    request.auth = Auth::Bearer(bench.token.clone().into());
    let fields = [
        ("deviceID", ARGON),
        ("publicKey", pem),
        ("algorithm", "ecc"),
        ("product_id", "bench-12"),
    ];
    request.body = Body::Form(
        fields
            .map(|(name, value)| (name.to_owned(), value.to_owned().into()))
            .to_vec(),
    );
    let before = bench.clock.now();
    let answer = DirectHttp::new(bench.cloud.clone()).call(&request);
    (answer, bench.clock.now().since(before))
}

/// Status or loss of an upload under this mishap, and whether the key was stored.
#[track_caller]
fn under(fault: Fault) -> (Option<u16>, Vec<u8>, bool, Duration) {
    let bench = bench();
    bench.import(ARGON);
    bench.cloud.add_fault(fault.times(1));
    let (pem, _) = ec_key();
    let (answer, took) = upload(&bench, &pem);
    let stored = bench.cloud.registered(id(ARGON)).is_some();
    assert_eq!(bench.cloud.uploads(id(ARGON)).len(), usize::from(stored));
    assert_eq!(bench.cloud.fired()[0].1, 1);
    assert_eq!(upload(&bench, &pem).0.unwrap().status, 200, "the next one goes through");
    let (status, body) = match answer {
        Ok(response) => (Some(response.status), response.body),
        Err(HttpError::Lost(_)) => (None, Vec::new()),
        Err(other) => panic!("{other:?}"),
    };
    (status, body, stored, took)
}

#[test]
fn resets_before_and_after_look_alike_and_differ_in_their_effect() {
    let (status, _, stored, _) = under(Fault::new(PROVISIONING, Effect::ResetBefore));
    assert_eq!((status, stored), (None, false));
    let (status, _, stored, _) = under(Fault::new(PROVISIONING, Effect::ResetAfter));
    assert_eq!((status, stored), (None, true));
}

#[test]
fn a_late_request_wins_over_a_newer_one() {
    let bench = bench();
    bench.import(ARGON);
    bench.cloud.add_fault(Fault::new(PROVISIONING, Effect::Late(4_000)).times(1));
    let ((old, old_spki), (new, new_spki)) = (ec_key(), ec_key());
    assert!(matches!(upload(&bench, &old).0, Err(HttpError::Lost(_))));
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(upload(&bench, &new).0.unwrap().status, 200);
    assert_eq!(bench.cloud.registered(id(ARGON)), Some(new_spki));
    bench.clock.advance(Duration::from_secs(3));
    assert_eq!(bench.cloud.registered(id(ARGON)), Some(old_spki));
    let times: Vec<String> = bench
        .cloud
        .uploads(id(ARGON))
        .iter()
        .map(|upload| upload.at.to_string())
        .collect();
    assert_eq!(times, ["2026-11-23T10:00:01.000Z", "2026-11-23T10:00:04.000Z"]);
}

#[test]
fn an_unreachable_cloud_did_nothing_and_the_client_knows_it() {
    let bench = bench();
    bench.import(ARGON);
    bench.cloud.add_fault(Fault::new("* /*", Effect::Unreachable).times(1));
    let (answer, _) = upload(&bench, &ec_key().0);
    assert!(matches!(answer, Err(HttpError::Unreachable(_))));
    assert!(bench.cloud.uploads(id(ARGON)).is_empty());
}

#[test]
fn replies_that_stand_in_for_the_right_one() {
    for (effect, status, part, stored) in [
        (Effect::TimedOut, 408, "timed out", false),
        (Effect::TooMany(None), 429, "Too many", false),
        (Effect::HtmlError, 500, "<html>", false),
        (Effect::Unavailable, 503, "", false),
        (Effect::OkFalse, 200, "\"ok\":false", false),
        (Effect::EmptyOk, 200, "", true),
    ] {
        let (got, body, kept, _) = under(Fault::new(PROVISIONING, effect));
        let text = String::from_utf8(body).unwrap();
        assert_eq!((got, kept), (Some(status), stored), "{effect:?}");
        assert!(
            text.contains(part) && text.is_empty() == part.is_empty(),
            "{effect:?}: {text}"
        );
        let committed = Fault {
            committed: true,
            ..Fault::new(PROVISIONING, effect)
        };
        assert!(under(committed).2, "{effect:?} after the effect");
    }
}

#[test]
fn retry_after_is_sent_when_it_is_set() {
    let bench = bench();
    bench
        .cloud
        .add_fault(Fault::new("GET /v1/user", Effect::TooMany(Some(7))).times(1));
    bench.cloud.add_fault(Fault::new("GET /v1/user", Effect::TooMany(None)));
    let get = || {
        bench
            .cloud
            .handle(&WireRequest::new("GET", "/v1/user").bearer(&bench.token))
            .response()
    };
    assert_eq!(get().header("retry-after"), Some("7"));
    assert_eq!(get().header("retry-after"), None);
    bench.cloud.clear_faults();
    assert_eq!(get().status, 200);
    assert_eq!(
        bench.cloud.fired().iter().map(|(_, fired)| *fired).collect::<Vec<_>>(),
        [1, 1]
    );
}

#[test]
fn a_late_answer_is_lost_and_its_effect_is_not() {
    let late = Fault {
        delay_ms: 36_000,
        ..Fault::new(PROVISIONING, Effect::Delay)
    };
    assert!(matches!(under(late), (None, _, true, took) if took == Duration::from_secs(35)));
    let slow = Fault {
        delay_ms: 30_000,
        ..Fault::new(PROVISIONING, Effect::SlowBody(4_000))
    };
    assert!(matches!(under(slow), (Some(200), _, true, took) if took == Duration::from_secs(34)));
    let too_slow = Fault {
        delay_ms: 30_000,
        ..Fault::new(PROVISIONING, Effect::SlowBody(5_000))
    };
    assert!(matches!(under(too_slow), (None, _, true, took) if took == Duration::from_secs(35)));
}

#[test]
fn a_mishap_can_be_for_one_device() {
    let bench = bench();
    bench.cloud.add_fault(Fault {
        device: Some(id(ARGON)),
        ..Fault::new("* /*", Effect::Unavailable)
    });
    assert_eq!(bench.get(&format!("/v1/devices/{ARGON}")).0, 503);
    assert_eq!(bench.get(&format!("/v1/devices/{PHOTON}")).0, 403);
    assert_eq!(bench.get(&format!("/v1/products/bench-12/devices?deviceId={ARGON}")).0, 503);
}

#[test]
fn online_can_be_stale_and_a_stream_can_be_cut() {
    let bench = bench();
    bench.import(ARGON);
    bench
        .cloud
        .add_fault(Fault::new("GET /v1/products/:p/devices/:id", Effect::StaleOnline).times(1));
    let path = format!("/v1/products/bench-12/devices/{ARGON}");
    assert_eq!(bench.get(&path).1["online"], true);
    assert_eq!(bench.get(&path).1["online"], false);
    bench
        .cloud
        .add_fault(Fault::new("GET /v1/products/:p/events/*", Effect::CutStream(250)));
    let open = WireRequest::new("GET", "/v1/products/bench-12/events/spark").bearer(&bench.token);
    match bench.cloud.handle(&open).end {
        End::Stream(stream) => assert_eq!(stream.cut_after, Some(Duration::from_millis(250))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hundred_streams_are_enough_for_one_address() {
    let bench = bench();
    let open = || {
        bench
            .cloud
            .handle(&WireRequest::new("GET", "/v1/devices/events").bearer(&bench.token))
            .end
    };
    let streams: Vec<End> = (0..100).map(|_| open()).collect();
    assert!(streams.iter().all(|end| matches!(end, End::Stream(_))));
    assert!(
        matches!(open(), End::Response(response) if response.status == 429),
        "100 openings in five minutes"
    );
    bench.clock.advance(Duration::from_secs(300));
    assert!(
        matches!(open(), End::Response(response) if response.status == 429),
        "100 at the same time"
    );
    drop(streams);
    assert!(matches!(open(), End::Stream(_)));
}
