//! Replies of the cloud: JSON bodies, the error shapes of the two halves of the API, and their headers.

use serde_json::{Value, json};

use super::wire::WireResponse;

/// A reply before the date and the mishaps are put on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What a handler gives: both sides are replies, so that `?` ends a handler with a refusal.
pub(super) type Answer = Result<Reply, Reply>;

impl Reply {
    /// A JSON body with this status.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Self {
            status,
            headers,
            body: body.to_string().into_bytes(),
        }
    }

    /// 200 with a JSON body.
    pub(super) fn ok(body: &Value) -> Answer {
        Ok(Self::json(200, body))
    }

    /// 204.
    pub(super) fn empty() -> Answer {
        Ok(Self {
            status: 204,
            headers: Vec::new(),
            body: Vec::new(),
        })
    }

    /// An error of the OAuth half (cloud-api.md 1.8); the status follows from the code.
    pub(super) fn oauth(error: &str, description: &str) -> Self {
        let status = match error {
            "invalid_client" | "invalid_scope" | "invalid_grant" | "invalid_request" | "unauthorized" => 400,
            "invalid_token" => 401,
            "sso_user" | "mfa_required" => 403,
            "rate_limit_exceeded" => 429,
            "server_error" => 503,
            _ => 500,
        };
        let mut reply = Self::json(status, &json!({ "error": error, "error_description": description }));
        reply.headers.push(("cache-control".to_owned(), "no-store".to_owned()));
        reply.headers.push(("pragma".to_owned(), "no-cache".to_owned()));
        if error == "invalid_client" {
            reply
                .headers
                .push(("www-authenticate".to_owned(), "Basic realm=\"Service\"".to_owned()));
        }
        reply
    }

    /// 403 with the only words that the cloud has for "not yours" (cloud-api.md 2.2).
    pub(super) fn denied() -> Self {
        Self::json(403, &json!({ "ok": false, "error": "Permission Denied" }))
    }

    /// 403 for a device that this token cannot see (cloud-api.md 3.5).
    pub(super) fn unseen() -> Self {
        let info = "I didn't recognize that device name or ID, try opening the list of your devices";
        Self::json(403, &json!({ "error": "Permission Denied", "info": info }))
    }

    /// `{"ok":false,"error":…}`.
    pub(super) fn error(status: u16, error: &str) -> Self {
        Self::json(status, &json!({ "ok": false, "error": error }))
    }

    /// 400 with `errors`, the shape that old clients mistake for success.
    pub(super) fn errors(error: &str) -> Self {
        Self::json(400, &json!({ "ok": false, "errors": [error] }))
    }

    pub(super) fn into_wire(self) -> WireResponse {
        WireResponse {
            status: self.status,
            headers: self.headers,
            body: self.body,
            trickle: None,
        }
    }
}
