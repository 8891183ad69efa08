//! HTTP as keyrack needs it: one request in, one response or one of three kinds of failure out.

use std::{fmt, time::Duration};

use crate::model::Secret;

/// The methods that the cloud API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are HTTP's own")]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// How a request says who is asking.
#[derive(Clone, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Bearer TOKEN`.
    Bearer(Secret<String>),
    /// `Authorization: Basic` of a client id and its secret.
    Basic {
        /// Client id.
        id: String,
        /// Client secret.
        secret: Secret<String>,
    },
}

/// What a request carries.
#[derive(Clone, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// `application/x-www-form-urlencoded`; values may be secrets and are never shown.
    Form(Vec<(String, Secret<String>)>),
    /// `application/json`.
    Json(serde_json::Value),
    /// `multipart/form-data` with one file part named `file`.
    File(Vec<u8>),
}

/// One request, relative to the base URL that the implementer holds.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path from the root, starting with `/`, already percent-encoded.
    pub path: String,
    /// Query fields, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Who is asking.
    pub auth: Auth,
    /// What is sent.
    pub body: Body,
    /// The longest that the whole exchange may take.
    pub timeout: Duration,
}

impl Request {
    /// A request without query, authorisation or body, with the time-out for ordinary calls: 35 s, that is the 30 s
    /// that the cloud waits for a device plus a margin (cloud-api.md 4.3).
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            auth: Auth::None,
            body: Body::Empty,
            timeout: Duration::from_secs(35),
        }
    }
}

impl fmt::Debug for Request {
    /// Method and path only: query, body and authorisation may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.path)
    }
}

/// One complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header field of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Why there is no response. The kinds differ in what the server may have done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The request did not reach the server (name, connection, TLS): nothing was done there.
    #[error("could not reach the cloud: {0}")]
    Unreachable(String),
    /// The request was sent and the answer did not come, or not whole: the server may have acted.
    #[error("the cloud's answer was lost: {0}")]
    Lost(String),
    /// The server's certificate is not one that this station trusts: nothing was sent.
    #[error("the cloud's certificate is not trusted: {0}")]
    Untrusted(String),
}

/// The way to the cloud.
pub trait Http: Send + Sync {
    /// Performs one exchange. It never follows redirects and never retries by itself.
    fn call(&self, request: &Request) -> Result<Response, HttpError>;
}
