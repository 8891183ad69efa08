//! HTTP as the stand-in sees it: a request in bytes, a response in bytes, and the ways in which a connection can die.
//!
//! It owns no rule of the cloud; it only takes requests apart.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{events::Subscription, fields};

/// One request as it came over the wire.
#[derive(Clone)]
pub struct WireRequest {
    /// Method in capitals.
    pub method: String,
    /// Path, still percent-encoded.
    pub path: String,
    /// Query without the question mark, still percent-encoded.
    pub query: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Where it came from: limits and blocks are per address.
    pub peer: IpAddr,
}

impl WireRequest {
    /// A request from loopback without headers or body.
    pub fn new(method: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// The same with a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        let value = format!("Bearer {token}");
        self.header("authorization", &value)
    }

    /// The same with a form as its body.
    #[must_use]
    pub fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        self.body = fields::encode_form(pairs.iter().copied()).into_bytes();
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    /// The same with JSON as its body.
    #[must_use]
    pub fn json(mut self, value: &serde_json::Value) -> Self {
        self.body = value.to_string().into_bytes();
        self.header("content-type", "application/json")
    }

    /// The first header field of this (lower-case) name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The path taken apart at its slashes, each piece percent-decoded.
    pub fn segments(&self) -> Vec<String> {
        self.path
            .split('/')
            .filter(|s| !s.is_empty())
            .map(|s| fields::decode(s, false))
            .collect()
    }
}

/// One complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireResponse {
    /// Status code.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The body takes this long from its first byte to its last.
    pub trickle: Option<Duration>,
}

impl WireResponse {
    /// The first header field of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub struct WireOutcome {
    /// How long the server waits before anything of it is seen.
    pub delay: Duration,
    /// What is seen then.
    pub end: End,
}

/// How an exchange ends for the client.
#[derive(Debug)]
pub enum End {
    /// With a response.
    Response(WireResponse),
    /// There was no connection.
    Unreachable,
    /// The connection dies and the request had no effect.
    ResetBefore,
    /// The connection dies and the request had its effect: the reply is lost.
    ResetAfter,
    /// With an event stream that goes on.
    Stream(Subscription),
}

impl WireOutcome {
    /// The response, for tests that expect one.
    ///
    /// # Panics
    /// If there is none.
    pub fn response(self) -> WireResponse {
        match self.end {
            End::Response(response) => response,
            other => panic!("there is no response but {other:?}"),
        }
    }
}
