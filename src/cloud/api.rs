//! The one place where a request leaves for the cloud: it puts the token on, holds back private keys, and sorts the
//! reply. The calls are in the files named for them.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use super::answer::{self, Deed, Good};
use crate::{
    edge::{
        Http, HttpError, Request, Response,
        http::{Auth, Body},
    },
    model::{Secret, outbox::Answer},
};

/// The cloud, as one token sees it. It is shared by the threads of the uplink.
pub struct Api {
    http: Arc<dyn Http>,
    identity: RwLock<Identity>,
}

#[derive(Clone)]
struct Identity {
    token: Secret<String>,
    account: Option<String>,
}

impl Api {
    /// The cloud behind `http`, for a token.
    pub fn new(http: Arc<dyn Http>, token: Secret<String>) -> Self {
        Self {
            http,
            identity: RwLock::new(Identity { token, account: None }),
        }
    }

    /// Takes another token from now on. The name of the account is forgotten with the old one.
    pub fn set_token(&self, token: Secret<String>) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Identity { token, account: None };
    }

    /// Names the account of the token, once [`Api::user`] told it: its own devices then need no look at the customers.
    pub fn set_account(&self, username: impl Into<String>) {
        self.identity.write().unwrap_or_else(PoisonError::into_inner).account = Some(username.into());
    }

    /// The account of the token, if it was named.
    pub fn account(&self) -> Option<String> {
        self.identity().account
    }

    /// Sends a request with the station's token.
    pub(super) fn send(&self, request: Request, deed: Deed) -> Result<Good, Answer> {
        let (end, token) = self.exchange(request)?;
        answer::sort(end, deed, token.expose())
    }

    /// Sends a request with the station's token and returns its end as it came, with the token for redaction.
    pub(super) fn exchange(&self, request: Request) -> Result<(Result<Response, HttpError>, Secret<String>), Answer> {
        let token = self.identity().token;
        Ok((self.exchange_as(request, &token)?, token))
    }

    /// Sends a request with another token, such as a customer's.
    pub(super) fn send_as(&self, request: Request, deed: Deed, token: &Secret<String>) -> Result<Good, Answer> {
        answer::sort(self.exchange_as(request, token)?, deed, token.expose())
    }

    /// Sends a request with another token and returns its end as it came.
    pub(super) fn exchange_as(
        &self,
        mut request: Request,
        token: &Secret<String>,
    ) -> Result<Result<Response, HttpError>, Answer> {
        if holds_private_key(&request.body) {
            return Err(answer::withheld(format!("{request:?} would carry a private key: not sent")));
        }
        if token.expose().is_empty() {
            return Err(Answer::Auth {
                reason: "the station has no token".into(),
            });
        }
        request.auth = Auth::Bearer(token.clone());
        Ok(self.http.call(&request))
    }

    /// The way to the cloud, for the one request that has no token yet.
    pub(super) fn http(&self) -> &dyn Http {
        &*self.http
    }

    /// True if this is the station's own token.
    pub(super) fn is_own_token(&self, token: &Secret<String>) -> bool {
        self.identity().token.expose() == token.expose()
    }

    fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("account", &self.account())
            .finish_non_exhaustive()
    }
}

/// True if a body, as it would leave, has the label of a private key anywhere: the last gate of ARCHITECTURE.md 4.9.
fn holds_private_key(body: &Body) -> bool {
    let labelled = |bytes: &[u8]| bytes.windows(LABEL.len()).any(|part| part.eq_ignore_ascii_case(LABEL));
    match body {
        Body::Empty => false,
        Body::Form(fields) => fields
            .iter()
            .any(|(name, value)| labelled(name.as_bytes()) || labelled(value.expose().as_bytes())),
        Body::Json(value) => labelled(value.to_string().as_bytes()),
        Body::File(bytes) => labelled(bytes),
    }
}

const LABEL: &[u8] = b"PRIVATE KEY";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cloud::scripted::Script, edge::Method};

    fn post(body: Body) -> Request {
        Request {
            body,
            ..Request::new(Method::Post, "/v1/x")
        }
    }

    #[test]
    fn a_private_key_never_leaves_in_any_kind_of_body() {
        const PEM: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIC";
        for body in [
            Body::Form(vec![("publicKey".into(), PEM.to_owned().into())]),
            Body::Form(vec![(PEM.into(), String::new().into())]),
            Body::Json(json!({ "a": [{ "b": PEM.to_lowercase() }] })),
            Body::File(PEM.as_bytes().to_vec()),
        ] {
            let script = Script::new([]);
            let answer = script.api().send(post(body), Deed::Change).unwrap_err();
            assert!(
                matches!(&answer, Answer::Refused { reason, .. } if reason.contains("private key")),
                "{answer:?}"
            );
            assert_eq!(script.sent(), 0);
        }
    }

    #[test]
    fn the_token_goes_into_the_header_and_into_no_other_place() {
        let script = Script::new([Script::reply(200, "")]);
        script.api().send(post(Body::Empty), Deed::Change).unwrap();
        let seen = script.take();
        assert!(matches!(&seen[0].auth, Auth::Bearer(token) if token.expose() == "t0ken"));
        assert!(seen[0].query.is_empty() && !seen[0].path.contains("t0ken"));
        assert!(!format!("{:?}", script.api()).contains("t0ken"));
    }

    #[test]
    fn another_token_serves_from_then_on_and_none_asks_for_a_login() {
        let script = Script::new([Script::reply(200, "")]);
        let api = script.api();
        api.set_account("a@b.c");
        api.set_token(Secret::new("other".into()));
        assert_eq!(api.account(), None);
        api.send(post(Body::Empty), Deed::Change).unwrap();
        assert!(matches!(&script.take()[0].auth, Auth::Bearer(token) if token.expose() == "other"));
        api.set_token(Secret::default());
        assert!(matches!(api.send(post(Body::Empty), Deed::Change), Err(Answer::Auth { .. })));
    }
}
