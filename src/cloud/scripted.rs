//! A cloud for tests: it answers with a list of replies and keeps what it was sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use super::{Api, CustomerToken, OauthClient};
use crate::{
    edge::{Http, HttpError, Request, Response, http::Body},
    model::{ProductId, RestoreData, Secret, survey::OwnerKind},
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

/// The device of [`before`].
pub(super) const ID: &str = "1d0034000fffffffffff3933";

/// Restore data of a device in product 1234: with a name and groups, without notes.
pub(super) fn before(owner: OwnerKind, name: &str) -> RestoreData {
    let secret = |text: &str| Secret::new(text.to_owned());
    RestoreData {
        device: ID.parse().unwrap(),
        product: Some(ProductId("1234".into())),
        owner,
        owner_name: (!name.is_empty()).then(|| secret(name)),
        name: Some(secret("kitchen")),
        notes: None,
        groups: Some(vec![secret("eu"), secret("beta")]),
    }
}

/// A product's list that holds the device of [`before`] with this owner, `""` for nobody. The customers are ann and bob.
pub(super) fn list_with_owner(owner: &str) -> End {
    let owner = match owner {
        "" => String::new(),
        owner => format!(r#","owner":"{owner}""#),
    };
    Script::reply(
        200,
        &format!(
            r#"{{"devices":[{{"id":"{ID}"{owner}}}],
                "customers":[{{"id":"c1","username":"ann@home.example"}},{{"id":"c2","username":"bob@home.example"}}]}}"#
        ),
    )
}

/// A token of this customer with this secret.
pub(super) fn customer_token(customer: &str, secret: &str) -> CustomerToken {
    let script = Script::new([Script::reply(200, &format!(r#"{{"access_token":"{secret}"}}"#))]);
    let client = OauthClient {
        id: "pump-1234".into(),
        secret: Secret::new("s3cret".into()),
    };
    let customer = Secret::new(customer.to_owned());
    script.api().customer_token(&client, &customer).unwrap()
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
