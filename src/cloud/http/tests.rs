//! reqwest against servers on loopback that behave badly in every way that matters.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use super::*;
use crate::edge::{Clock, clock::SystemClock};

/// A server on loopback for one connection: it reads one request, hands it on, and does what `act` says.
struct Server {
    base: String,
    done: Box<dyn FnOnce() -> String>,
}

fn serve(act: impl FnOnce(TcpStream) + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    let joiner = SystemClock::new().spawn(
        "server",
        Box::new(move || {
            let (mut stream, _) = listener.accept().unwrap();
            tell.send(read_request(&mut stream)).unwrap();
            act(stream);
        }),
    );
    Server {
        base,
        done: Box::new(move || {
            joiner().unwrap();
            told.recv().unwrap()
        }),
    }
}

fn answering(response: &'static str) -> Server {
    serve(move |mut stream| stream.write_all(response.as_bytes()).unwrap())
}

/// The head, and as much of a body as `Content-Length` says.
fn read_request(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = |line: &str| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok();
    let mut body = vec![0; head.lines().find_map(length).unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn plain(base: &str) -> ReqwestHttp {
    ReqwestHttp::new(&HttpConfig {
        allow_plain_loopback: true,
        ..HttpConfig::new(base)
    })
    .unwrap()
}

fn get(path: &str) -> Request {
    Request {
        timeout: Duration::from_secs(20),
        ..Request::new(Method::Get, path)
    }
}

#[test]
fn a_form_goes_out_whole_and_the_reply_comes_back_whole() {
    let server = answering("HTTP/1.1 403 No\r\nDATE: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}");
    let request = Request {
        method: Method::Post,
        query: vec![("deviceId".into(), "a b&c".into())],
        auth: Auth::Bearer("t0ken".to_owned().into()),
        body: Body::Form(vec![("publicKey".into(), "A+/=\n".to_owned().into())]),
        ..get("/v1/provisioning/x")
    };
    let response = plain(&server.base).call(&request).unwrap();
    assert_eq!((response.status, &response.body[..]), (403, &b"{}"[..]));
    assert_eq!(response.header("date"), Some("Mon, 23 Nov 2026 10:00:00 GMT"));
    let seen = (server.done)();
    assert!(
        seen.starts_with("POST /v1/provisioning/x?deviceId=a+b%26c HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("authorization: Bearer t0ken\r\n"), "{seen}");
    assert!(
        seen.contains(concat!("user-agent: keyrack/", env!("CARGO_PKG_VERSION"), "\r\n")),
        "{seen}"
    );
    assert!(seen.contains("content-type: application/x-www-form-urlencoded\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\npublicKey=A%2B%2F%3D%0A"), "{seen}");
}

#[test]
fn a_file_goes_out_as_the_vendors_tool_sends_it() {
    let server = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let request = Request {
        method: Method::Post,
        auth: Auth::Basic {
            id: "me".into(),
            secret: "pw".to_owned().into(),
        },
        body: Body::File(b"a\nb".to_vec()),
        ..get("/v1/products/1/devices")
    };
    plain(&server.base).call(&request).unwrap();
    let seen = (server.done)();
    assert!(seen.contains("authorization: Basic bWU6cHc=\r\n"), "{seen}");
    assert!(
        seen.contains("Content-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n"),
        "{seen}"
    );
    assert!(
        seen.contains("Content-Type: application/octet-stream\r\n\r\na\nb\r\n--"),
        "{seen}"
    );
}

#[test]
fn a_connection_that_ends_before_or_within_the_reply_is_lost() {
    for (what, server) in [
        ("closed", serve(drop)),
        ("half a head", answering("HTTP/1.1 200 OK\r\nContent-Le")),
        ("cut body", answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")),
        (
            "cut chunk",
            answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n12345"),
        ),
        ("not HTTP", answering("SSH-2.0-x\r\n\r\n")),
    ] {
        let end = plain(&server.base).call(&get("/v1/x"));
        assert!(matches!(end, Err(HttpError::Lost(_))), "{what}: {end:?}");
        (server.done)();
    }
}

#[test]
fn a_reset_before_the_reply_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    // A close with unread bytes is a reset.
    let act = move || assert_eq!(listener.accept().unwrap().0.read(&mut [0]).unwrap(), 1);
    let joiner = SystemClock::new().spawn("server", Box::new(act));
    let end = plain(&base).call(&get("/v1/x"));
    assert!(matches!(end, Err(HttpError::Lost(_))), "{end:?}");
    joiner().unwrap();
}

#[test]
fn no_answer_in_time_is_lost() {
    let (free, held) = std::sync::mpsc::channel::<()>();
    let server = serve(move |stream| {
        let _ = held.recv();
        drop(stream);
    });
    let end = plain(&server.base).call(&Request {
        timeout: Duration::from_millis(100),
        ..get("/v1/x")
    });
    assert!(matches!(end, Err(HttpError::Lost(_))), "{end:?}");
    drop(free);
    (server.done)();
}

#[test]
fn a_redirect_is_not_followed() {
    let server = answering("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(plain(&server.base).call(&get("/v1/x")).unwrap().status, 302);
    (server.done)();
}

#[test]
fn a_body_beyond_the_limit_is_lost_and_one_at_the_limit_is_not() {
    for (size, whole) in [(LARGEST, true), (LARGEST + 1, false)] {
        let server = serve(move |mut stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
            let body = vec![b'x'; usize::try_from(size).unwrap()];
            // The client may hang up before the last byte.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        });
        let end = plain(&server.base).call(&get("/v1/x"));
        assert_eq!(end.is_ok(), whole);
        assert!(whole || matches!(end, Err(HttpError::Lost(_))));
        (server.done)();
    }
}

#[test]
fn nobody_there_is_unreachable() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let end = plain(&format!("http://{address}")).call(&get("/v1/x"));
    assert!(matches!(end, Err(HttpError::Unreachable(_))), "{end:?}");
}

#[test]
fn a_path_that_would_become_another_is_not_sent() {
    let http = plain("http://127.0.0.1:1/gate");
    for path in [
        "/v1/products/../user",
        "/v1/products/%2e%2e/user",
        "/v1/x?y=1",
        "/v1/a b",
        "v1/x",
        "/v1/x#y",
    ] {
        let end = http.call(&get(path));
        assert!(
            matches!(&end, Err(HttpError::Unreachable(why)) if why.contains("path")),
            "{path}: {end:?}"
        );
    }
    assert_eq!(http.url(&get("/v1/x")).unwrap().as_str(), "http://127.0.0.1:1/gate/v1/x");
}

#[test]
fn only_https_or_this_machine_is_accepted() {
    let new = |base: &str, allow_plain_loopback| {
        ReqwestHttp::new(&HttpConfig {
            allow_plain_loopback,
            ..HttpConfig::new(base)
        })
    };
    for base in [
        "https://api.particle.io",
        "https://api.particle.io/",
        "https://127.0.0.1:8443",
    ] {
        assert!(new(base, false).is_ok(), "{base}");
    }
    for base in ["http://localhost:1", "http://127.9.9.9", "http://[::1]:80"] {
        assert!(new(base, true).is_ok(), "{base}");
        assert!(matches!(new(base, false), Err(HttpSetupError::Plain(_))), "{base}");
    }
    for base in ["http://api.particle.io", "http://localhost.example", "ftp://127.0.0.1"] {
        assert!(matches!(new(base, true), Err(HttpSetupError::Plain(_))), "{base}");
    }
    for base in ["", "api.particle.io", "https://", "https://u:p@host", "https://host?q=1"] {
        let error = new(base, true).unwrap_err();
        assert!(matches!(error, HttpSetupError::Base(_)), "{base}: {error}");
        assert!(!error.to_string().contains("u:p"));
    }
}

#[test]
fn a_private_authority_is_trusted_alone_and_a_stranger_is_untrusted() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusted = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let der = trusted.signing_key.serialize_der();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![trusted.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(der.into()),
        )
        .unwrap();
    let config = Arc::new(config);
    for (authority, good) in [(&trusted, true), (&other, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let config = config.clone();
        let joiner = SystemClock::new().spawn(
            "server",
            Box::new(move || {
                let (stream, _) = listener.accept().unwrap();
                let tls = rustls::ServerConnection::new(config).unwrap();
                let mut stream = rustls::StreamOwned::new(tls, stream);
                if stream.conn.complete_io(&mut stream.sock).is_ok() {
                    read_request(&mut stream);
                    stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").unwrap();
                }
            }),
        );
        let http = ReqwestHttp::new(&HttpConfig {
            ca_pem: Some(authority.cert.pem().into_bytes()),
            ..HttpConfig::new(&base)
        })
        .unwrap();
        let end = http.call(&get("/v1/x"));
        match good {
            true => assert_eq!(end.unwrap().status, 204),
            false => assert!(matches!(end, Err(HttpError::Untrusted(_))), "{end:?}"),
        }
        joiner().unwrap();
    }
}

#[test]
fn a_server_without_tls_is_unreachable_and_not_distrusted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let joiner = SystemClock::new().spawn(
        "server",
        Box::new(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 64]).unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }),
    );
    let end = ReqwestHttp::new(&HttpConfig::new(base)).unwrap().call(&get("/v1/x"));
    assert!(matches!(end, Err(HttpError::Unreachable(_))), "{end:?}");
    joiner().unwrap();
}

#[test]
fn an_authority_file_without_a_certificate_is_refused() {
    for pem in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let config = HttpConfig {
            ca_pem: Some(pem.into()),
            ..HttpConfig::new("https://x.example")
        };
        assert!(ReqwestHttp::new(&config).is_err(), "{pem:?}");
    }
}
