//! The stand-in as a real server on loopback: HTTP/1.1, with TLS or without, with event streams, slow bodies and
//! connections that are really reset.
//!
//! It has one thread with its own runtime, and serves in real time: it is for the system clock.

mod line;
mod stream;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, mpsc},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_rustls::{TlsAcceptor, rustls};

use self::{
    line::{Caller, Lines},
    stream::{Events, Trickle},
};
use super::{End, StandIn, WireOutcome, WireRequest, WireResponse};
use crate::edge::clock::Joiner;

/// A running server. It stops when this is dropped.
pub struct Server {
    /// Its base URL without a slash at the end.
    pub url: String,
    /// The certificate of the authority that signed the server's, in PEM; empty without TLS.
    pub ca_pem: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<Joiner>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum NotServing {
    /// The address cannot be listened on.
    #[error("could not listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The certificate could not be made.
    #[error("could not make the server's certificate")]
    Certificate(#[source] rcgen::Error),
    /// The TLS library refuses what was made for it.
    #[error("could not set up TLS")]
    Tls(#[source] rustls::Error),
    /// The server's thread ended before it listened.
    #[error("the server's thread ended before it listened")]
    Died,
}

/// Serves the stand-in on an address; port 0 takes any free one. The stand-in's clock must be the system's: the thread is
/// started through it, but waits in the runtime and not on the clock.
///
/// # Errors
/// If the address is taken or the certificate cannot be made.
pub fn serve(stand_in: StandIn, addr: SocketAddr, tls: bool) -> Result<Server, NotServing> {
    let (acceptor, ca_pem) = match tls {
        true => certificate().map(|(acceptor, pem)| (Some(acceptor), pem))?,
        false => (None, String::new()),
    };
    let (stop, stopped) = oneshot::channel();
    let (report, started) = mpsc::channel();
    let clock = stand_in.inner.clock.clone();
    let body = move || run(stand_in, addr, acceptor, stopped, &report);
    let thread = clock.spawn("stand-in cloud", Box::new(body));
    let local = started.recv().unwrap_or(Err(NotServing::Died))?;
    let scheme = if tls { "https" } else { "http" };
    // The certificate has this name, and so have the cookies and proxies of foreign clients.
    let host = if local.ip() == Ipv4Addr::LOCALHOST {
        "localhost".to_owned()
    } else {
        local.ip().to_string()
    };
    Ok(Server {
        url: format!("{scheme}://{host}:{}", local.port()),
        ca_pem,
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has been printed by then; there is nobody here to tell.
            let _ended = thread();
        }
    }
}

type Started = Result<SocketAddr, NotServing>;

fn run(
    stand_in: StandIn,
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
    stopped: oneshot::Receiver<()>,
    report: &mpsc::Sender<Started>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed = |source| drop(report.send(Err(NotServing::Listen { addr, source })));
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => return failed(source),
    };
    runtime.block_on(async {
        let listener = match TcpListener::bind(addr).await {
            Ok(listener) => listener,
            Err(source) => return failed(source),
        };
        let local = match listener.local_addr() {
            Ok(local) => local,
            Err(source) => return failed(source),
        };
        drop(report.send(Ok(local)));
        let noticing = tokio::spawn(notice(stand_in.clone()));
        let router = Router::new().fallback(answer).with_state(stand_in);
        let service = router.into_make_service_with_connect_info::<Caller>();
        tokio::select! {
            // Open connections and streams end with the runtime: a cloud that stops does not say good-bye.
            _ = stopped => {}
            _ = axum::serve(Lines::new(listener, local, tls), service) => {}
        }
        noticing.abort();
    });
}

/// Lets the stand-in notice the absence of devices while nobody asks, so that streams carry it.
async fn notice(stand_in: StandIn) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        stand_in.settle();
    }
}

/// Every request of every path.
async fn answer(
    State(stand_in): State<StandIn>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let request = WireRequest {
        method: method.as_str().to_owned(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body: body.to_vec(),
        peer: caller.ip,
    };
    let WireOutcome { delay, end } = stand_in.handle(&request);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match end {
        End::Response(response) => whole(response),
        End::Unreachable | End::ResetBefore | End::ResetAfter => {
            caller.cutter.cut();
            // Whatever is written now never leaves: the connection is dead.
            Response::new(Body::empty())
        }
        End::Stream(subscription) => {
            let mut response = Response::new(Body::new(Events::new(subscription)));
            let kind = axum::http::HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(axum::http::header::CONTENT_TYPE, kind);
            response
        }
    }
}

fn whole(wire: WireResponse) -> Response {
    let body = match wire.trickle {
        Some(time) => Body::new(Trickle::new(wire.body, time)),
        None => Body::from(wire.body),
    };
    let mut builder = Response::builder().status(wire.status);
    for (name, value) in wire.headers {
        builder = builder.header(name, value);
    }
    builder
        .body(body)
        .expect("the stand-in makes only valid statuses and headers")
}

/// A fresh authority, and a certificate of it for localhost.
fn certificate() -> Result<(TlsAcceptor, String), NotServing> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority
        .distinguished_name
        .push(DnType::CommonName, "keyrack stand-in cloud");
    let key = KeyPair::generate().map_err(NotServing::Certificate)?;
    let issuer = CertifiedIssuer::self_signed(authority, key).map_err(NotServing::Certificate)?;

    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut leaf = CertificateParams::new(names).map_err(NotServing::Certificate)?;
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(NotServing::Certificate)?;
    let certificate = leaf.signed_by(&key, &issuer).map_err(NotServing::Certificate)?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let chain = vec![certificate.der().clone(), issuer.der().clone()];
            builder.with_no_client_auth().with_single_cert(chain, private.into())
        })
        .map_err(NotServing::Tls)?;
    Ok((TlsAcceptor::from(Arc::new(config)), issuer.pem()))
}
