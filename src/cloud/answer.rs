//! What a reply means: by status first, then by body (cloud-api.md 4.1, ARCHITECTURE.md 5).
//!
//! Two tables, one for each [`Deed`]: after a request that changes something, an unclear end is
//! [`Answer::Ambiguous`]; after a mere look nothing can have been changed, so the same end is [`Answer::Later`].

use super::{route::BadProduct, words::Words};
use crate::{
    edge::{HttpError, Response},
    model::{Code, Wall, outbox::Answer},
};

/// What kind of request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It changes nothing in the cloud.
    Look,
    /// It changes something in the cloud.
    Change,
}

/// A 2xx reply that does not say `ok: false`: worth parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    /// The body, unread.
    pub body: Vec<u8>,
    /// The cloud's `Date`, if it sent one.
    pub at: Option<Wall>,
}

impl From<Good> for Answer {
    fn from(good: Good) -> Self {
        Answer::Accepted { at: good.at, note: None }
    }
}

impl From<BadProduct> for Answer {
    fn from(bad: BadProduct) -> Self {
        withheld(bad.to_string())
    }
}

/// Sorts the end of one exchange. `secret` is overwritten wherever the cloud echoed it.
///
/// # Errors
/// Everything but a definite yes, as the answer that it is.
pub fn sort(end: Result<Response, HttpError>, deed: Deed, secret: &str) -> Result<Good, Answer> {
    let response = end.map_err(|error| unsent(error, deed))?;
    let status = response.status;
    let words = Words::of(&response.body, secret);
    match status {
        200..=299 if words.ok == Some(false) => Err(refused(status, &words)),
        200..=299 => Ok(Good {
            at: date(&response),
            body: response.body,
        }),
        // Proxy authentication, too early, too many, unavailable, and the 529 that some documents name: nothing was done.
        407 | 425 | 429 | 503 | 529 => Err(Answer::Later {
            why: format!("the cloud answered {status}: {}", words.or_status(status)),
            after_ms: retry_after(&response),
        }),
        408 => Err(unclear(status, &words, deed)),
        400..=499 => Err(refused(status, &words)),
        // 5xx may come from a proxy in front of a server that acted. 3xx and 1xx are not part of the API at all.
        _ => Err(unclear(status, &words, deed)),
    }
}

/// The answer for a 2xx reply to a look whose body is not what the call promises.
pub fn malformed(what: &str) -> Answer {
    Answer::Later {
        why: format!("the cloud's reply is not {what}"),
        after_ms: None,
    }
}

/// The answer for something that keyrack itself refuses to send. Nothing left the station.
pub fn withheld(why: impl Into<String>) -> Answer {
    Answer::Refused {
        code: Code::Internal,
        reason: why.into(),
    }
}

/// The code and the words with which a failed look or upload is put on record.
pub fn blame(answer: &Answer) -> (Code, String) {
    match answer {
        Answer::Accepted { note, .. } => (Code::Internal, note.clone().unwrap_or_default()),
        Answer::Refused { code, reason } => (*code, reason.clone()),
        Answer::Later { why, .. } | Answer::Ambiguous { why } => (Code::CloudUnreachable, why.clone()),
        Answer::Auth { reason } => (Code::CloudAuth, reason.clone()),
    }
}

fn unsent(error: HttpError, deed: Deed) -> Answer {
    let why = super::words::quotable(&error.to_string());
    match (error, deed) {
        (HttpError::Lost(_), Deed::Change) => Answer::Ambiguous { why },
        _ => Answer::Later { why, after_ms: None },
    }
}

fn unclear(status: u16, words: &Words, deed: Deed) -> Answer {
    let why = format!("the cloud answered {status}: {}", words.or_status(status));
    match deed {
        Deed::Change => Answer::Ambiguous { why },
        Deed::Look => Answer::Later { why, after_ms: None },
    }
}

fn refused(status: u16, words: &Words) -> Answer {
    let reason = words.or_status(status);
    if is_auth(status, words) {
        return Answer::Auth { reason };
    }
    let code = if words.mention("belongs to someone else") {
        Code::OwnerForeign
    } else if words.mention("device public key was not found") {
        Code::DeviceKeyUnknown
    } else if status == 403 || is_denial(words) {
        Code::CloudDenied
    } else {
        Code::CloudRefused
    };
    Answer::Refused { code, reason }
}

/// The command-line tool's rule (cloud-api.md 1.8, last line): these errors, any 401, any description that speaks of
/// an access token.
fn is_auth(status: u16, words: &Words) -> bool {
    let named = |name: &str| ["invalid_token", "expired_token", "mfa_required"].contains(&name);
    status == 401 || words.error.as_deref().is_some_and(named) || words.mention("access token")
}

/// A refusal because of who asks, whatever its status: 400 carries two of them (cloud-api.md 1.6, 1.8).
fn is_denial(words: &Words) -> bool {
    let named = |name: &str| ["invalid_scope", "unauthorized"].contains(&name);
    words.error.as_deref().is_some_and(named) || words.mention("permission denied")
}

fn date(response: &Response) -> Option<Wall> {
    Wall::parse_http_date(response.header("date")?)
}

/// `Retry-After` in milliseconds: seconds, or an HTTP date counted from the reply's own `Date`.
pub(super) fn retry_after(response: &Response) -> Option<u64> {
    let text = response.header("retry-after")?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1000));
    }
    let wait = Wall::parse_http_date(text)?.millis().saturating_sub(date(response)?.millis());
    Some(u64::try_from(wait).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Response, HttpError> {
        Ok(Response {
            status,
            headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            body: body.into(),
        })
    }

    /// One word for each kind of answer, with the code of a refusal.
    fn kind(end: Result<Response, HttpError>, deed: Deed) -> String {
        match sort(end, deed, "") {
            Ok(_) => "yes".into(),
            Err(Answer::Refused { code, .. }) => code.text().into(),
            Err(Answer::Later { .. }) => "later".into(),
            Err(Answer::Auth { .. }) => "auth".into(),
            Err(Answer::Ambiguous { .. }) => "ambiguous".into(),
            Err(Answer::Accepted { .. }) => unreachable!("a yes is Ok"),
        }
    }

    #[test]
    fn status_decides_first_and_body_second() {
        const HTML: &str = "<html>oops</html>";
        const DENIED: &str = r#"{"ok":false,"error":"Permission Denied"}"#;
        // status, body, after a change, after a look
        for (status, body, change, look) in [
            (200, r#""Success!""#, "yes", "yes"),
            (200, "", "yes", "yes"),
            (200, HTML, "yes", "yes"),
            (201, "{}", "yes", "yes"),
            (204, "", "yes", "yes"),
            (200, r#"{"ok":true,"error":"Permission Denied"}"#, "yes", "yes"),
            (200, r#"{"ok":false}"#, "cloud-refused", "cloud-refused"),
            (200, DENIED, "cloud-denied", "cloud-denied"),
            (400, r#"{"errors":["Key error"]}"#, "cloud-refused", "cloud-refused"),
            (400, r#"{"error":"No key provided"}"#, "cloud-refused", "cloud-refused"),
            (
                400,
                r#"{"error":"invalid_request","error_description":"The access token was not found"}"#,
                "auth",
                "auth",
            ),
            (
                400,
                r#"{"error":"invalid_scope","error_description":"Invalid scope"}"#,
                "cloud-denied",
                "cloud-denied",
            ),
            (
                400,
                r#"{"error":"unauthorized","error_description":"API users are not allowed to call this endpoint"}"#,
                "cloud-denied",
                "cloud-denied",
            ),
            (401, "", "auth", "auth"),
            (401, HTML, "auth", "auth"),
            (401, DENIED, "auth", "auth"),
            (403, DENIED, "cloud-denied", "cloud-denied"),
            (403, HTML, "cloud-denied", "cloud-denied"),
            (403, r#"{"error":"mfa_required"}"#, "auth", "auth"),
            (403, r#"{"error":"expired_token"}"#, "auth", "auth"),
            (
                403,
                r#"{"ok":false,"errors":["That belongs to someone else. To request a transfer add ?"]}"#,
                "owner-foreign",
                "owner-foreign",
            ),
            (
                404,
                r#"{"ok":false,"error":"No device found"}"#,
                "cloud-refused",
                "cloud-refused",
            ),
            (404, DENIED, "cloud-denied", "cloud-denied"),
            (408, r#"{"ok":false,"error":"timed out"}"#, "ambiguous", "later"),
            (413, HTML, "cloud-refused", "cloud-refused"),
            (422, r#"{"message":"no"}"#, "cloud-refused", "cloud-refused"),
            (407, HTML, "later", "later"),
            (429, "", "later", "later"),
            (429, r#"{"error_description":"bad access token"}"#, "later", "later"),
            (529, "", "later", "later"),
            (500, DENIED, "ambiguous", "later"),
            (500, HTML, "ambiguous", "later"),
            (502, HTML, "ambiguous", "later"),
            (503, r#"{"error":"server_error"}"#, "later", "later"),
            (504, "", "ambiguous", "later"),
            (599, "", "ambiguous", "later"),
            (302, "", "ambiguous", "later"),
            (101, "", "ambiguous", "later"),
        ] {
            assert_eq!(kind(reply(status, &[], body), Deed::Change), change, "{status} {body}");
            assert_eq!(kind(reply(status, &[], body), Deed::Look), look, "{status} {body}");
        }
    }

    #[test]
    fn what_never_arrived_is_later_and_what_was_lost_may_have_been_done() {
        let lost = || Err(HttpError::Lost("reset".into()));
        assert_eq!(kind(lost(), Deed::Change), "ambiguous");
        assert_eq!(kind(lost(), Deed::Look), "later");
        assert_eq!(kind(Err(HttpError::Unreachable("dns".into())), Deed::Change), "later");
        assert_eq!(kind(Err(HttpError::Untrusted("issuer".into())), Deed::Change), "later");
    }

    #[test]
    fn retry_after_comes_in_seconds_or_as_a_date() {
        let date = ("date", "Mon, 23 Nov 2026 10:00:00 GMT");
        for (headers, after_ms) in [
            (vec![("retry-after", "30")], Some(30_000)),
            (vec![("retry-after", " 0 ")], Some(0)),
            (vec![date, ("retry-after", "Mon, 23 Nov 2026 10:01:30 GMT")], Some(90_000)),
            (vec![date, ("retry-after", "Mon, 23 Nov 2026 09:00:00 GMT")], Some(0)),
            (vec![("retry-after", "Mon, 23 Nov 2026 10:01:30 GMT")], None),
            (vec![date, ("retry-after", "-5")], None),
            (vec![date, ("retry-after", "soon")], None),
            (vec![("retry-after", "18446744073709551615")], Some(u64::MAX)),
            (vec![], None),
        ] {
            let Err(Answer::Later { after_ms: told, .. }) = sort(reply(429, &headers, ""), Deed::Change, "") else {
                panic!("429 is later");
            };
            assert_eq!(told, after_ms, "{headers:?}");
        }
    }

    #[test]
    fn the_date_of_a_yes_and_the_words_of_a_no_are_kept() {
        let good = sort(
            reply(200, &[("date", "Mon, 23 Nov 2026 10:00:00 GMT")], "x"),
            Deed::Change,
            "",
        )
        .unwrap();
        assert_eq!(good.at, Wall::parse("2026-11-23T10:00:00Z"));
        assert_eq!(
            sort(reply(403, &[], r#"{"error":"tok3n may not"}"#), Deed::Change, "tok3n"),
            Err(Answer::Refused {
                code: Code::CloudDenied,
                reason: "[redacted] may not".into()
            })
        );
        assert_eq!(
            sort(reply(404, &[], ""), Deed::Look, "").map_err(|a| blame(&a).1),
            Err("HTTP 404".into())
        );
    }
}
