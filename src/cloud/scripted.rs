//! A cloud for tests: it answers with a list of replies and keeps what it was sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use super::Api;
use crate::{
    edge::{Http, HttpError, Request, Response, http::Body},
    model::Secret,
};

type End = Result<Response, HttpError>;

/// The replies still to give, and the requests so far.
#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<(VecDeque<End>, Vec<Request>)>>);

impl Script {
    pub(super) fn new<const N: usize>(ends: [End; N]) -> Self {
        Self(Arc::new(Mutex::new((ends.into(), Vec::new()))))
    }

    /// A reply with a `Date`, as the cloud sends it.
    pub(super) fn reply(status: u16, body: &str) -> End {
        Ok(Response {
            status,
            headers: vec![("date".into(), "Mon, 23 Nov 2026 10:00:00 GMT".into())],
            body: body.into(),
        })
    }

    pub(super) fn api(&self) -> Api {
        Api::new(Arc::new(self.clone()), Secret::new("t0ken".into()))
    }

    pub(super) fn sent(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }

    pub(super) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

impl Http for Script {
    fn call(&self, request: &Request) -> End {
        let mut state = self.0.lock().unwrap();
        state.1.push(request.clone());
        state.0.pop_front().expect("a scripted reply for every request")
    }
}

/// A form body as it is on the wire, with `%20` for a space.
pub(super) fn form(body: &Body) -> String {
    let Body::Form(fields) = body else {
        panic!("a form body");
    };
    let encode = |text: &str| {
        text.bytes().fold(String::new(), |mut out, b| {
            match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(b)),
                _ => out += &format!("%{b:02X}"),
            }
            out
        })
    };
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value.expose())))
        .collect();
    fields.join("&")
}
