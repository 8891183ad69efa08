//! Getting a token: the password grant with its second factor, and a customer's token. Nothing here is ever tried again
//! by itself: ten failures in a row lock the station's address out for half an hour (cloud-api.md 1.2, 1.3, 4.2).

use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{answer, route, words::Words};
use crate::{
    edge::{
        Http, HttpError, Method, Request, Response,
        http::{Auth, Body},
    },
    model::{Secret, Wall},
};

/// A token fresh from the cloud.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token itself.
    pub secret: Secret<String>,
    /// How long it is good for; `None` for one that does not end.
    pub lifetime: Option<Duration>,
    /// When it ends, by the cloud's `Date`; `None` if it does not end or the cloud sent no date.
    pub expires_at: Option<Wall>,
}

/// An OAuth client of a product, of the two-legged (server) kind that may act for customers.
#[derive(Clone, Debug)]
pub struct OauthClient {
    /// Client id.
    pub id: String,
    /// Client secret.
    pub secret: Secret<String>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// User name or password is wrong. A program must not try again: ten such failures lock the address out.
    #[error("the cloud does not know this user name with this password")]
    BadCredentials,
    /// The account has a second factor and none was given.
    #[error("the account needs a one-time code")]
    CodeNeeded,
    /// The one-time code is wrong or too old.
    #[error("the cloud does not accept the one-time code: {0}")]
    BadCode(String),
    /// The account logs in through its company; it has no password here.
    #[error("the account uses single sign-on: make a token in the console and give it to keyrack")]
    SingleSignOn,
    /// Too many failures in a row: the cloud blocks this address, usually for 30 minutes.
    #[error("the cloud has locked this address out after too many failed log-ins")]
    LockedOut {
        /// How long, if the cloud says.
        after: Option<Duration>,
    },
    /// Too many requests from this address.
    #[error("the cloud takes no more log-ins from this address for now")]
    RateLimited {
        /// How long to wait, if the cloud says.
        after: Option<Duration>,
    },
    /// The OAuth client is wrong, or may not do this.
    #[error("the cloud does not accept the OAuth client: {0}")]
    BadClient(String),
    /// The client is right, and the cloud gives no token for this customer of its product.
    #[error("the cloud gives no token for this customer: {0}")]
    UnknownCustomer(String),
    /// Another refusal, in the cloud's own words.
    #[error("the cloud refused the log-in: {0}")]
    Refused(String),
    /// The cloud is out of order.
    #[error("the cloud cannot log anybody in at present: {0}")]
    Unavailable(String),
    /// A yes without a usable token in it.
    #[error("the cloud's reply holds no usable token")]
    Malformed,
    /// There was no reply.
    #[error("asking the cloud for a token")]
    Transport(#[source] HttpError),
}

/// Logs a person in. `otp` is asked once, and only if the account has a second factor; `None` gives up.
///
/// `lifetime` is how long the token should last, to the second; the cloud's default is 90 days and a short one is
/// better.
///
/// # Errors
/// See [`LoginError`]. At most two requests are made, and none is repeated.
pub fn password(
    http: &dyn Http,
    user: &str,
    password: &Secret<String>,
    lifetime: Option<Duration>,
    otp: &mut dyn FnMut() -> Option<Secret<String>>,
) -> Result<Token, LoginError> {
    let mut fields = vec![
        ("username", user.to_owned().into()),
        ("password", password.clone()),
        ("grant_type", "password".to_owned().into()),
    ];
    // Zero would mean for ever.
    fields.extend(lifetime.map(|time| ("expires_in", time.as_secs().max(1).to_string().into())));
    let reply = ask(http, fields, Auth::None)?;
    if reply.status == 403 && Words::of(&reply.body, "").error.as_deref() == Some("mfa_required") {
        let wire: WireMfa = serde_json::from_slice(&reply.body).map_err(|_| LoginError::Malformed)?;
        let code = otp().ok_or(LoginError::CodeNeeded)?;
        let fields = vec![
            ("grant_type", "urn:custom:mfa-otp".to_owned().into()),
            ("mfa_token", wire.mfa_token.into()),
            ("otp", code.expose().trim().to_owned().into()),
        ];
        return token(&ask(http, fields, Auth::None)?, Grant::Code, &[code.expose()]);
    }
    token(&reply, Grant::Password, &[password.expose()])
}

/// Gets a token of a customer by a two-legged client of the product (cloud-api.md 1.5). It lives in memory only; revoke
/// it right after use, through [`super::Api::revoke`].
///
/// # Errors
/// See [`LoginError`].
pub(super) fn customer(http: &dyn Http, client: &OauthClient, customer: &Secret<String>) -> Result<Token, LoginError> {
    let fields = vec![
        ("grant_type", "client_credentials".to_owned().into()),
        ("scope", format!("customer={}", customer.expose()).into()),
    ];
    let auth = Auth::Basic {
        id: client.id.clone(),
        secret: client.secret.clone(),
    };
    token(
        &ask(http, fields, auth)?,
        Grant::Client,
        &[client.secret.expose(), customer.expose()],
    )
}

/// Asks for a token. Without a client in the header the one for persons is named in the form.
fn ask(http: &dyn Http, fields: Vec<(&str, Secret<String>)>, auth: Auth) -> Result<Response, LoginError> {
    let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if matches!(auth, Auth::None) {
        fields.extend(["client_id", "client_secret"].map(|name| (name.to_owned(), CLIENT.to_owned().into())));
    }
    let request = Request {
        auth,
        body: Body::Form(fields),
        ..Request::new(Method::Post, route::oauth_token())
    };
    http.call(&request).map_err(LoginError::Transport)
}

/// What was asked with: the same `invalid_grant` means a wrong password or a wrong code.
#[derive(Clone, Copy)]
enum Grant {
    Password,
    Code,
    Client,
}

fn token(reply: &Response, grant: Grant, secrets: &[&str]) -> Result<Token, LoginError> {
    match reply.status {
        200..=299 => read(reply),
        _ => Err(refusal(reply, grant, secrets)),
    }
}

fn read(reply: &Response) -> Result<Token, LoginError> {
    let wire: WireToken = serde_json::from_slice(&reply.body).map_err(|_| LoginError::Malformed)?;
    let secret = Zeroizing::new(wire.access_token);
    let bearer = wire.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    if !bearer || !super::token::is_token(&secret) {
        return Err(LoginError::Malformed);
    }
    let lifetime = wire.expires_in.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let expires_at = lifetime.and_then(|time| {
        let millis = i64::try_from(time.as_millis()).ok()?;
        let date = Wall::parse_http_date(reply.header("date")?)?;
        Wall::from_millis(date.millis().checked_add(millis)?)
    });
    Ok(Token {
        secret: Secret::new(secret.to_string()),
        lifetime,
        expires_at,
    })
}

fn refusal(reply: &Response, grant: Grant, secrets: &[&str]) -> LoginError {
    let words = Words::without(&reply.body, secrets);
    let reason = words.or_status(reply.status);
    let error = words.error.as_deref().unwrap_or_default();
    match (reply.status, error, grant) {
        (429 | 529, ..) | (_, "rate_limit_exceeded", _) => {
            let after = answer::retry_after(reply).map(Duration::from_millis);
            // The rate is counted over 5 minutes, the lock lasts 30: a longer wait is the lock.
            if after.is_some_and(|wait| wait > RATE_WINDOW) || words.mention("lock") {
                LoginError::LockedOut { after }
            } else {
                LoginError::RateLimited { after }
            }
        }
        (403, "sso_user", _) => LoginError::SingleSignOn,
        (400..=403, "invalid_grant", Grant::Password) => LoginError::BadCredentials,
        (400..=403, "invalid_grant", Grant::Code) => LoginError::BadCode(reason),
        // What the cloud says of a customer that it does not know is not documented: a refusal that blames neither the
        // client nor the form of the request (cloud-api.md 1.5).
        (400 | 404, error, Grant::Client) if error != "invalid_request" && !words.mention("client") => {
            LoginError::UnknownCustomer(reason)
        }
        (400..=403, "invalid_grant" | "invalid_client" | "invalid_scope", _) => LoginError::BadClient(reason),
        (403, ..) if words.mention("lock") => LoginError::LockedOut {
            after: answer::retry_after(reply).map(Duration::from_millis),
        },
        (401, _, Grant::Password) => LoginError::BadCredentials,
        (408 | 425 | 500.., ..) => LoginError::Unavailable(reason),
        _ => LoginError::Refused(reason),
    }
}

#[derive(Deserialize)]
struct WireToken {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct WireMfa {
    mfa_token: String,
}

/// Client id and secret for a person: any client works, and the documents suggest this one.
const CLIENT: &str = "particle";

/// Over which the cloud counts requests for tokens (cloud-api.md 4.2).
const RATE_WINDOW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::scripted::{Script, form};

    const GOOD: &str = r#"{"access_token":"0123456789abcdef0123456789abcdef01234567","token_type":"Bearer","expires_in":3600,"refresh_token":"x"}"#;
    const MFA: &str =
        r#"{"error":"mfa_required","error_description":"Multi-factor authentication required","mfa_token":"eyJ.x"}"#;

    fn log_in(script: &Script, code: Option<&str>) -> Result<Token, LoginError> {
        let lifetime = Some(Duration::from_secs(3600));
        password(script, "me@shop.example", &Secret::new("p&ss".into()), lifetime, &mut || {
            code.map(|code| Secret::new(code.to_owned()))
        })
    }

    #[test]
    fn a_password_gives_a_token_that_says_when_it_ends() {
        let script = Script::new([Script::reply(200, GOOD)]);
        let token = log_in(&script, None).unwrap();
        assert_eq!(token.secret.expose().len(), 40);
        assert_eq!(token.lifetime, Some(Duration::from_secs(3600)));
        assert_eq!(token.expires_at, Wall::parse("2026-11-23T11:00:00Z"));
        let sent = script.take();
        assert_eq!(format!("{:?}", sent[0]), "POST /oauth/token");
        assert!(matches!(sent[0].auth, Auth::None), "a stale header would be a second method");
        assert_eq!(
            form(&sent[0].body),
            "username=me%40shop.example&password=p%26ss&grant_type=password&expires_in=3600&client_id=particle&client_secret=particle"
        );
        assert!(!format!("{token:?}").contains("0123456789"));
    }

    #[test]
    fn a_second_factor_is_asked_for_once() {
        let script = Script::new([Script::reply(403, MFA), Script::reply(200, GOOD)]);
        log_in(&script, Some(" 123456\n")).unwrap();
        assert_eq!(
            form(&script.take()[1].body),
            "grant_type=urn%3Acustom%3Amfa-otp&mfa_token=eyJ.x&otp=123456&client_id=particle&client_secret=particle"
        );
        let script = Script::new([Script::reply(403, MFA)]);
        assert!(matches!(log_in(&script, None), Err(LoginError::CodeNeeded)));
        let expired = r#"{"error":"invalid_grant","error_description":"OTP expired"}"#;
        let script = Script::new([Script::reply(403, MFA), Script::reply(400, expired)]);
        assert!(matches!(log_in(&script, Some("1")), Err(LoginError::BadCode(why)) if why == "OTP expired"));
        assert_eq!(script.sent(), 2);
    }

    #[test]
    fn every_refusal_has_its_own_name_and_is_not_repeated() {
        fn one(end: Result<Response, HttpError>) -> LoginError {
            let script = Script::new([end]);
            let error = log_in(&script, Some("1")).unwrap_err();
            assert_eq!(script.sent(), 1);
            assert!(!error.to_string().contains("p&ss"));
            error
        }
        let body = |error: &str, text: &str| format!(r#"{{"error":"{error}","error_description":"{text}"}}"#);
        let with_wait = |seconds: &str| {
            Script::reply(429, r#"{"error":"rate_limit_exceeded"}"#).map(|mut reply| {
                reply.headers.push(("retry-after".into(), seconds.into()));
                reply
            })
        };
        use LoginError as E;
        assert!(matches!(
            one(Script::reply(400, &body("invalid_grant", "User credentials are invalid"))),
            E::BadCredentials
        ));
        assert!(matches!(one(Script::reply(401, "")), E::BadCredentials));
        assert!(matches!(
            one(Script::reply(403, &body("sso_user", "use SSO"))),
            E::SingleSignOn
        ));
        assert!(matches!(
            one(Script::reply(400, &body("invalid_client", "Client credentials are invalid"))),
            E::BadClient(_)
        ));
        assert!(matches!(one(with_wait("60")), E::RateLimited { after: Some(d) } if d.as_secs() == 60));
        assert!(matches!(one(with_wait("1800")), E::LockedOut { after: Some(d) } if d.as_secs() == 1800));
        assert!(matches!(one(Script::reply(429, "")), E::RateLimited { after: None }));
        assert!(matches!(
            one(Script::reply(429, r#"{"error":"IP blocked: locked for 30 minutes"}"#)),
            E::LockedOut { .. }
        ));
        assert!(matches!(
            one(Script::reply(503, &body("server_error", "busy"))),
            E::Unavailable(_)
        ));
        assert!(matches!(
            one(Script::reply(400, &body("invalid_request", "no p&ss for you"))),
            E::Refused(_)
        ));
        assert!(matches!(one(Script::reply(403, r#"{"error":"mfa_required"}"#)), E::Malformed));
        assert!(matches!(one(Err(HttpError::Unreachable("dns".into()))), E::Transport(_)));
    }

    #[test]
    fn a_yes_without_a_usable_token_is_none() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a\r\nX: y"}"#,
            r#"{"access_token":"abc","token_type":"mac"}"#,
        ] {
            let end = log_in(&Script::new([Script::reply(200, body)]), None);
            assert!(matches!(end, Err(LoginError::Malformed)), "{body}");
        }
        let forever = Script::new([Script::reply(200, r#"{"access_token":"abc","expires_in":0}"#)]);
        let token = log_in(&forever, None).unwrap();
        assert_eq!((token.lifetime, token.expires_at), (None, None));
    }
}
