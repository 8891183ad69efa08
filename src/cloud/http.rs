//! The real way to the cloud: the only use of reqwest. It maps every failure to what the server may have done.

use std::{error::Error as _, fmt, io::Read, net::IpAddr, time::Duration};

use reqwest::{
    Url,
    blocking::{Client, RequestBuilder, multipart},
};

use crate::edge::{
    Http, HttpError, Method, Request, Response,
    http::{Auth, Body},
};

/// Where the cloud is and whom to trust.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// `https://host[:port]`, with a path if a gateway needs one.
    pub base: String,
    /// PEM of a private certificate authority: the only one that is then trusted. `None` trusts the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Also accept `http://` to this machine itself: for tests and the stand-in cloud only.
    pub allow_plain_loopback: bool,
}

impl HttpConfig {
    /// A base URL with the system's certificate authorities.
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            base: base.into(),
            ca_pem: None,
            allow_plain_loopback: false,
        }
    }
}

/// Why the way to the cloud cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// Not a URL of this form.
    #[error("the cloud's address \"{0}\" is not https://HOST[:PORT][/PATH]")]
    Base(String),
    /// A scheme that shows the token to the network.
    #[error("the cloud's address \"{0}\" is not https")]
    Plain(String),
    /// The file holds no certificate.
    #[error("reading the certificate authority")]
    Authority(#[source] reqwest::Error),
    /// The file is PEM without any certificate in it.
    #[error("the certificate authority file holds no certificate")]
    NoAuthority,
    /// TLS or the resolver could not be set up.
    #[error("setting up the connection to the cloud")]
    Client(#[source] reqwest::Error),
}

/// HTTP over TLS: blocking, without redirects, without retries. A proxy comes from the system (`HTTPS_PROXY`, `NO_PROXY`),
/// and is never used for this machine itself.
pub struct ReqwestHttp {
    client: Client,
    /// Without a trailing slash.
    base: Url,
}

impl ReqwestHttp {
    /// Sets the way up; nothing is sent yet.
    ///
    /// # Errors
    /// An address or a certificate authority that cannot be used.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpSetupError> {
        // A second installation fails and changes nothing: the provider of the process is already this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = parse_base(config)?;
        let mut builder = Client::builder()
            .user_agent(concat!("keyrack/", env!("CARGO_PKG_VERSION")))
            .https_only(base.scheme() == "https")
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .connect_timeout(CONNECT)
            .timeout(None)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false);
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if let Some(pem) = &config.ca_pem {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(HttpSetupError::Authority)?;
            if authorities.is_empty() {
                return Err(HttpSetupError::NoAuthority);
            }
            builder = builder.tls_certs_only(authorities);
        }
        Ok(Self {
            client: builder.build().map_err(HttpSetupError::Client)?,
            base,
        })
    }

    fn build(&self, request: &Request) -> Result<RequestBuilder, HttpError> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.client.request(method, self.url(request)?).timeout(request.timeout);
        builder = match &request.auth {
            Auth::None => builder,
            Auth::Bearer(token) => builder.bearer_auth(token.expose()),
            Auth::Basic { id, secret } => builder.basic_auth(id, Some(secret.expose())),
        };
        Ok(match &request.body {
            Body::Empty => builder,
            Body::Form(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (name, value.expose())).collect();
                builder.form(&fields)
            }
            Body::Json(value) => builder.json(value),
            Body::File(bytes) => builder.multipart(multipart::Form::new().part("file", file_part(bytes))),
        })
    }

    /// The whole URL. A path that the URL rules would change (`..`, `%2e`, `?`) names another resource: not sent.
    fn url(&self, request: &Request) -> Result<Url, HttpError> {
        let wrong = || HttpError::Unreachable(format!("\"{}\" is not a path of the API", request.path));
        let path = format!("{}{}", self.base.path().trim_end_matches('/'), request.path);
        let mut url = self.base.clone();
        url.set_path(&path);
        if url.path() != path || !request.path.starts_with('/') {
            return Err(wrong());
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }
}

impl Http for ReqwestHttp {
    fn call(&self, request: &Request) -> Result<Response, HttpError> {
        let response = self.build(request)?.send().map_err(failure)?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let mut body = Vec::new();
        response
            .take(LARGEST + 1)
            .read_to_end(&mut body)
            .map_err(|error| HttpError::Lost(format!("the body ended early: {}", chain(&error))))?;
        if body.len() as u64 > LARGEST {
            return Err(HttpError::Lost(format!("the body is larger than {LARGEST} bytes")));
        }
        Ok(Response { status, headers, body })
    }
}

impl fmt::Debug for ReqwestHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReqwestHttp({})", self.base)
    }
}

fn parse_base(config: &HttpConfig) -> Result<Url, HttpSetupError> {
    let wrong = || HttpSetupError::Base(super::words::sanitise(&config.base));
    let base = Url::parse(&config.base).map_err(|_| wrong())?;
    let bare = base.username().is_empty() && base.password().is_none() && base.query().is_none() && base.fragment().is_none();
    if base.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    match base.scheme() {
        // Not shown: what stands before an @ is a password.
        _ if !bare => Err(HttpSetupError::Base("(with user, query or fragment)".into())),
        "https" => Ok(base),
        "http" if config.allow_plain_loopback && is_loopback(&base) => Ok(base),
        _ => Err(HttpSetupError::Plain(super::words::sanitise(&config.base))),
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    })
}

fn file_part(bytes: &[u8]) -> multipart::Part {
    multipart::Part::bytes(bytes.to_vec())
        .file_name("file")
        .mime_str("application/octet-stream")
        .expect("a media type that is a constant")
}

/// What the server may have done. Only an error before the first byte of the request went out is harmless; reqwest
/// calls these connection errors, and TLS is part of them.
fn failure(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    let text = chain(&error);
    if error.is_connect() || error.is_builder() {
        if is_distrust(&error) {
            HttpError::Untrusted(text)
        } else {
            HttpError::Unreachable(text)
        }
    } else {
        HttpError::Lost(text)
    }
}

/// Looks for the TLS library's verdict on the certificate. It is wrapped in I/O errors, whose `source` skips the error
/// that they hold.
fn is_distrust(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = next {
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error
            .downcast_ref::<rustls::Error>()
            .or_else(|| held.and_then(|held| held.downcast_ref::<rustls::Error>()));
        if tls.is_some_and(|tls| {
            matches!(
                tls,
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
            )
        }) {
            return true;
        }
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    false
}

/// An error with all its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// The longest wait for a connection (cloud-api.md 4.3).
const CONNECT: Duration = Duration::from_secs(10);

/// An idle connection is not used again after this: the server may be closing it at that moment, and a request that
/// meets the close has an unknown end.
const IDLE: Duration = Duration::from_secs(15);

/// The largest body that is read, 8 MiB: a page of a product's device list is some 100 KiB.
const LARGEST: u64 = 8 << 20;

#[cfg(test)]
mod tests;
