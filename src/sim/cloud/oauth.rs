//! `POST /oauth/token` and the hygiene of tokens: cloud-api.md 1.2 to 1.8.

use serde_json::{Value, json};

use super::{
    call::{self, Call},
    reply::{Answer, Reply},
    state::{Actor, Pending, Refresh, Token, hash, hash_password, later},
    totp,
};
use crate::model::Wall;

/// `POST /oauth/token` (any other method or encoding is refused with the library's own words).
pub(super) fn token(call: &mut Call) -> Answer {
    if call.request.method != "POST" || !call::is_form(call.request) {
        let text = "Method must be POST with application/x-www-form-urlencoded encoding";
        return Err(Reply::oauth("invalid_request", text));
    }
    let grant = call.body.filled("grant_type").unwrap_or_default();
    if !GRANTS.contains(&grant.as_str()) {
        return Err(Reply::oauth("invalid_request", "Invalid or missing grant_type parameter"));
    }
    let client = client(call, &grant)?;
    match grant.as_str() {
        "password" => password(call, client),
        "urn:custom:mfa-otp" => second_factor(call, "otp", "You must provide otp and mfa token."),
        "urn:custom:recovery-code" => second_factor(call, "recovery_code", "You must provide recovery code and mfa token."),
        "refresh_token" => refresh(call, client),
        _ => client_credentials(call, &client),
    }
}

/// Checks the client: any id and secret will do, unless the id is a product's client.
fn client(call: &Call, grant: &str) -> Result<String, Reply> {
    let (id, secret) = call.client_credentials();
    let well_formed =
        |id: &String| (3..=40).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let Some(id) = id.filter(well_formed) else {
        return Err(Reply::oauth("invalid_client", "Invalid or missing client_id parameter"));
    };
    let Some(secret) = secret else {
        return Err(Reply::oauth("invalid_client", "Missing client_secret parameter"));
    };
    if let Some(known) = call.state.clients.get(&id) {
        if known.secret != hash(&secret) {
            return Err(Reply::oauth("invalid_client", "Client credentials are invalid"));
        }
        if grant == "client_credentials" && !known.two_legged {
            return Err(Reply::oauth(
                "invalid_client",
                "The grant type is unauthorised for this client_id",
            ));
        }
    }
    Ok(id)
}

fn password(call: &mut Call, client: String) -> Answer {
    let (Some(name), Some(password)) = (call.body.filled("username"), call.body.filled("password")) else {
        return Err(Reply::oauth(
            "invalid_client",
            "Missing parameters. \"username\" and \"password\" are required",
        ));
    };
    let lifetime = lifetime(call)?;
    let bad = || Reply::oauth("invalid_grant", "User credentials are invalid");
    let user = call.state.users.get(&name).ok_or_else(bad)?;
    if user.sso {
        return Err(Reply::oauth("sso_user", "This account signs on through its organisation"));
    }
    if user.password != hash_password(&user.salt, &password) {
        return Err(bad());
    }
    if user.mfa.is_none() {
        return issue(call, Actor::User(name), &client, lifetime);
    }
    let mfa_token = call.random_hex(20);
    let pending = Pending {
        user: name,
        client,
        expires: later(call.now, MFA_MILLIS),
        lifetime,
    };
    call.state.pending.insert(hash(&mfa_token), pending);
    let mut reply = Reply::oauth("mfa_required", "Multifactor authentication required");
    let body =
        json!({ "error": "mfa_required", "error_description": "Multifactor authentication required", "mfa_token": mfa_token });
    reply.body = body.to_string().into_bytes();
    Err(reply)
}

/// The second step of a sign-in, by a one-time password or a recovery code (which is then used up).
fn second_factor(call: &mut Call, field: &str, missing: &str) -> Answer {
    let (Some(code), Some(mfa_token)) = (call.body.filled(field), call.body.filled("mfa_token")) else {
        return Err(Reply::oauth("invalid_request", missing));
    };
    let key = hash(&mfa_token);
    let Some(pending) = call.state.pending.get(&key).filter(|pending| pending.expires > call.now) else {
        return Err(Reply::oauth("invalid_grant", "MFA token is invalid or has expired"));
    };
    let Some(user) = call.state.users.get_mut(&pending.user) else {
        return Err(Reply::oauth("invalid_grant", "User credentials are invalid"));
    };
    let good = if field == "otp" {
        let seconds = u64::try_from(call.now.millis() / 1000).unwrap_or(0);
        user.mfa
            .as_deref()
            .is_some_and(|secret| totp::accepts(secret, seconds, code.trim()))
    } else {
        let place = user.recovery_codes.iter().position(|known| *known == code);
        place.map(|place| user.recovery_codes.remove(place)).is_some()
    };
    if !good {
        let text = if field == "otp" {
            "OTP expired"
        } else {
            "Invalid recovery code"
        };
        return Err(Reply::oauth("invalid_grant", text));
    }
    let actor = Actor::User(pending.user.clone());
    let (client, lifetime) = (pending.client.clone(), pending.lifetime);
    call.state.pending.remove(&key);
    issue(call, actor, &client, lifetime)
}

/// A refresh token is good once, for the client that got it.
fn refresh(call: &mut Call, client: String) -> Answer {
    let Some(text) = call.body.filled("refresh_token") else {
        return Err(Reply::oauth("invalid_request", "No \"refresh_token\" parameter"));
    };
    let lifetime = lifetime(call)?;
    let key = hash(&text);
    let Some(found) = call.state.refresh.get(&key).filter(|refresh| refresh.client == client) else {
        return Err(Reply::oauth("invalid_grant", "Invalid refresh token"));
    };
    if found.expires <= call.now {
        return Err(Reply::oauth("invalid_grant", "Refresh token has expired"));
    }
    let actor = found.actor.clone();
    call.state.refresh.remove(&key);
    issue(call, actor, &client, lifetime)
}

fn client_credentials(call: &mut Call, client: &str) -> Answer {
    let Some(known) = call.state.clients.get(client) else {
        return Err(Reply::oauth("invalid_grant", "Client credentials are invalid"));
    };
    let product = known.product;
    let lifetime = lifetime(call)?;
    let actor = match call.body.filled("scope") {
        None => Actor::Client {
            id: client.to_owned(),
            product,
        },
        Some(scope) => match scope.strip_prefix("customer=") {
            None => return Err(Reply::oauth("invalid_scope", "Invalid scope")),
            Some(email) if call.state.customer(product, email).is_some() => Actor::Customer {
                email: email.to_owned(),
                product,
            },
            // What the real cloud says here is unknown (cloud-api.md 8.5).
            Some(_) => return Err(Reply::oauth("invalid_grant", "Customer not found")),
        },
    };
    issue(call, actor, client, lifetime)
}

/// How long the token shall live in milliseconds; `None` is for ever.
fn lifetime(call: &Call) -> Result<Option<i64>, Reply> {
    let bad = |name: &str| Reply::oauth("invalid_request", &format!("Invalid {name} parameter"));
    if let Some(text) = call.body.filled("expires_in") {
        let seconds: i64 = text.parse().ok().filter(|s| *s >= 0).ok_or_else(|| bad("expires_in"))?;
        return Ok((seconds > 0).then(|| seconds.saturating_mul(1000)));
    }
    if let Some(text) = call.body.filled("expires_at") {
        let at = Wall::parse(&text)
            .filter(|at| *at > call.now)
            .ok_or_else(|| bad("expires_at"))?;
        return Ok(Some(at.millis() - call.now.millis()));
    }
    Ok(Some(DEFAULT_MILLIS))
}

/// Makes a token and its 200 body.
fn issue(call: &mut Call, actor: Actor, client: &str, lifetime: Option<i64>) -> Answer {
    let body = issue_body(call, actor, client, lifetime);
    let mut reply = Reply::json(200, &body);
    reply.headers.push(("cache-control".to_owned(), "no-store".to_owned()));
    reply.headers.push(("pragma".to_owned(), "no-cache".to_owned()));
    Ok(reply)
}

/// Makes a token and the object that describes it; also what a new customer gets.
pub(super) fn issue_body(call: &mut Call, actor: Actor, client: &str, lifetime: Option<i64>) -> Value {
    let text = call.random_hex(20);
    let expires = lifetime.map(|millis| later(call.now, millis));
    call.state.tokens.insert(
        hash(&text),
        Token {
            actor: actor.clone(),
            client: client.to_owned(),
            expires,
        },
    );
    let mut body = json!({ "access_token": text, "token_type": "bearer" });
    if let Some(millis) = lifetime {
        // No refresh token for a token that never expires.
        let refresh = call.random_hex(20);
        let expires = later(call.now, REFRESH_MILLIS);
        call.state.refresh.insert(
            hash(&refresh),
            Refresh {
                actor,
                client: client.to_owned(),
                expires,
            },
        );
        body["expires_in"] = json!(millis / 1000);
        body["refresh_token"] = json!(refresh);
    }
    body
}

/// `GET /v1/access_tokens/current`.
pub(super) fn current(call: &mut Call) -> Answer {
    call.actor()?;
    let token = call
        .token_text()
        .and_then(|text| call.state.tokens.get(&hash(&text)).cloned());
    let token = token.ok_or_else(|| Reply::oauth("invalid_token", "The access token provided is invalid."))?;
    let scopes = match &token.actor {
        Actor::ApiUser { name, product } => {
            let user = call
                .state
                .products
                .get(product)
                .and_then(|product| product.api_users.get(name));
            user.map(|user| user.scopes.clone()).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let expires = token.expires.map(|at| at.to_string());
    Reply::ok(&json!({ "expires_at": expires, "client": token.client, "scopes": scopes, "orgs": [] }))
}

/// `DELETE /v1/access_tokens/:token`, `/current`, and without either all tokens of the account.
pub(super) fn revoke(call: &mut Call, which: Option<&str>) -> Answer {
    let actor = call.actor()?;
    match which {
        None => call.state.tokens.retain(|_, token| token.actor != actor),
        Some("current") => {
            let text = call.token_text().unwrap_or_default();
            call.state.tokens.remove(&hash(&text));
        }
        Some(text) => {
            let key = hash(text);
            match call.state.tokens.get(&key) {
                Some(token) if token.actor == actor => call.state.tokens.remove(&key),
                _ => return Err(Reply::error(404, "Access token not found")),
            };
        }
    }
    Reply::ok(&json!({ "ok": true }))
}

/// `GET /v1/user`.
pub(super) fn user(call: &mut Call) -> Answer {
    let name = call.person()?;
    let mfa = call.state.users.get(&name).is_some_and(|user| user.mfa.is_some());
    Reply::ok(&json!({
        "username": name,
        "subscription_ids": [],
        "account_info": { "first_name": "", "last_name": "", "business_account": true },
        "scim_provisioned": false,
        "no_password": false,
        "mfa": { "enabled": mfa },
        "wifi_device_count": 0,
        "cellular_device_count": 0,
    }))
}

const GRANTS: [&str; 5] = [
    "password",
    "urn:custom:mfa-otp",
    "urn:custom:recovery-code",
    "refresh_token",
    "client_credentials",
];
/// 90 days.
const DEFAULT_MILLIS: i64 = 7_776_000_000;
/// 14 days.
const REFRESH_MILLIS: i64 = 1_209_600_000;
/// How long a sign-in waits for its second factor. Not documented; ten minutes is this stand-in's choice.
const MFA_MILLIS: i64 = 600_000;
