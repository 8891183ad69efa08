//! One request on its way through the handlers: who asks, what is asked, and what may be changed.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{
    audit::{Move, Moved},
    events::Event,
    fields::{self, Fields, Kind},
    reply::Reply,
    setup::Role,
    state::{Actor, Owner, State, hash, hex},
    wire::WireRequest,
};
use crate::{
    edge::Entropy,
    model::{DeviceId, Wall},
};

/// The request with everything that its handler needs.
pub(super) struct Call<'a> {
    pub(super) request: &'a WireRequest,
    pub(super) query: Fields,
    pub(super) body: Fields,
    pub(super) state: &'a mut State,
    pub(super) now: Wall,
    pub(super) entropy: &'a dyn Entropy,
    /// Events that the handler gave rise to.
    pub(super) events: Vec<Event>,
    /// A mishap: every device is shown as online.
    pub(super) stale_online: bool,
    /// A mishap: owners who are customers are shown by their number.
    pub(super) by_number: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(request: &'a WireRequest, state: &'a mut State, now: Wall, entropy: &'a dyn Entropy) -> Self {
        let content_type = request.get("content-type").unwrap_or_default();
        Self {
            request,
            query: Fields::from_form(&request.query),
            body: Fields::from_body(content_type, &request.body),
            state,
            now,
            entropy,
            events: Vec::new(),
            stale_online: false,
            by_number: false,
        }
    }

    /// `count` random bytes in hexadecimal.
    pub(super) fn random_hex(&self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.entropy.fill(&mut bytes);
        hex(&bytes)
    }

    /// A field of the body or else of the query.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        self.body.filled(name).or_else(|| self.query.filled(name))
    }

    /// Id and secret of an OAuth client: Basic, or the form.
    pub(super) fn client_credentials(&self) -> (Option<String>, Option<String>) {
        let basic = self.request.get("authorization").and_then(|value| {
            let (scheme, rest) = value.split_once(' ')?;
            let text = scheme
                .eq_ignore_ascii_case("basic")
                .then(|| BASE64.decode(rest.trim()).ok())
                .flatten()?;
            let text = String::from_utf8(text).ok()?;
            let (id, secret) = text.split_once(':')?;
            Some((id.to_owned(), secret.to_owned()))
        });
        match basic {
            Some((id, secret)) => (Some(id), Some(secret)),
            None => (self.body.filled("client_id"), self.body.filled("client_secret")),
        }
    }

    /// Who asks, by the one token of the request; errors exactly as in cloud-api.md 1.8.
    pub(super) fn actor(&self) -> Result<Actor, Reply> {
        let header = self.request.get("authorization");
        let query = self.query.filled("access_token");
        let body = self.body.filled("access_token");
        let methods = usize::from(header.is_some()) + usize::from(query.is_some()) + usize::from(body.is_some());
        if methods > 1 {
            // Two blanks after the comma: so it is on the wire.
            let text = "Only one method may be used to authenticate at a time (Auth header,  GET or POST).";
            return Err(Reply::oauth("invalid_request", text));
        }
        let token = match (header, &query, body) {
            (Some(value), ..) => match value.split_once(' ') {
                Some((scheme, token)) if scheme == "Bearer" && !token.trim().is_empty() => token.trim().to_owned(),
                _ => return Err(Reply::oauth("invalid_request", "Malformed auth header")),
            },
            (_, Some(token), _) => token.clone(),
            (_, _, Some(token)) => {
                if self.request.method == "GET" {
                    let text = "Method cannot be GET When putting the token in the body.";
                    return Err(Reply::oauth("invalid_request", text));
                }
                if self.body.kind() != Kind::Form {
                    let text = "When putting the token in the body, content type must be application/x-www-form-urlencoded.";
                    return Err(Reply::oauth("invalid_request", text));
                }
                token
            }
            _ => return Err(Reply::oauth("invalid_request", "The access token was not found")),
        };
        let actor = self.holder(&token)?;
        if query.is_some() {
            let allowed = match &actor {
                Actor::User(name) => self.state.users.get(name).is_some_and(|user| user.query_token),
                _ => false,
            };
            if !allowed || self.request.method != "GET" {
                let text = "The access token may not be put in the query for this account";
                return Err(Reply::oauth("invalid_request", text));
            }
        }
        Ok(actor)
    }

    fn holder(&self, token: &str) -> Result<Actor, Reply> {
        let Some(found) = self.state.tokens.get(&hash(token)) else {
            return Err(Reply::oauth("invalid_token", "The access token provided is invalid."));
        };
        if found.expires.is_some_and(|at| at <= self.now) {
            return Err(Reply::oauth("invalid_token", "The access token provided has expired."));
        }
        Ok(found.actor.clone())
    }

    /// The token of the request as text, wherever it is.
    pub(super) fn token_text(&self) -> Option<String> {
        let header = self
            .request
            .get("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        let header = header.map(|token| token.trim().to_owned());
        header
            .or_else(|| self.query.filled("access_token"))
            .or_else(|| self.body.filled("access_token"))
    }

    /// Who asks, if it is a person; API users, clients and customers are refused.
    pub(super) fn person(&self) -> Result<String, Reply> {
        match self.actor()? {
            Actor::User(name) => Ok(name),
            Actor::ApiUser { .. } => Err(no_api_users()),
            Actor::Client { .. } | Actor::Customer { .. } => Err(Reply::denied()),
        }
    }

    /// Who asks and which product is meant, if that one may do this there. An unknown product is refused like one of
    /// other people. `scope` is what an API user needs; `None` refuses API users.
    pub(super) fn on_product(&self, name: &str, least: Role, scope: Option<&str>) -> Result<(Actor, u32), Reply> {
        let actor = self.actor()?;
        let product = self.state.product_named(name).ok_or_else(Reply::denied)?;
        self.check(&actor, product, least, scope)?;
        Ok((actor, product))
    }

    /// Refuses an actor that may not do what takes this role in this product.
    pub(super) fn check(&self, actor: &Actor, product: u32, least: Role, scope: Option<&str>) -> Result<(), Reply> {
        let allowed = match actor {
            Actor::User(name) => self.state.role(name, product).is_some_and(|role| role >= least),
            // A product's own client acts on its product, but does not run the team.
            Actor::Client { product: own, .. } => *own == product && least < Role::Administrator,
            Actor::Customer { .. } => false,
            Actor::ApiUser { name, product: own } => {
                let Some(scope) = scope else { return Err(no_api_users()) };
                let user = self.state.products.get(own).and_then(|product| product.api_users.get(name));
                if !user.is_some_and(|user| user.scopes.iter().any(|s| s == scope)) {
                    return Err(Reply::oauth("invalid_scope", "Invalid scope"));
                }
                *own == product
            }
        };
        if allowed { Ok(()) } else { Err(Reply::denied()) }
    }

    /// A device of a product, as its path names it.
    pub(super) fn device_in(&self, product: u32, id: &str) -> Result<DeviceId, Reply> {
        let id = known_spelling(id).ok_or_else(Reply::unseen)?;
        let device = self.state.devices.get(&id).ok_or_else(Reply::unseen)?;
        if device.product == Some(product) || device.quarantine == Some(product) {
            Ok(id)
        } else {
            Err(Reply::unseen())
        }
    }

    /// A device by the path without a product: the actor must own it, or have `least` in its product.
    pub(super) fn device_of(&self, id: &str, least: Role, scope: Option<&str>) -> Result<(Actor, DeviceId), Reply> {
        let actor = self.actor()?;
        let id = known_spelling(id).ok_or_else(Reply::unseen)?;
        let device = self.state.devices.get(&id).ok_or_else(Reply::unseen)?;
        if owns(&actor, device.owner.as_ref()) {
            return Ok((actor, id));
        }
        let product = device.product.ok_or_else(Reply::unseen)?;
        match self.check(&actor, product, least, scope) {
            Ok(()) => Ok((actor, id)),
            Err(refusal) if refusal.status == 403 => Err(Reply::unseen()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Records that a device changed its place.
    pub(super) fn moved(&mut self, device: DeviceId, what: Moved) {
        self.state.audit.moves.push(Move {
            device,
            what,
            at: self.now,
        });
    }
}

/// True if the actor is the one who claimed.
pub(super) fn owns(actor: &Actor, owner: Option<&Owner>) -> bool {
    match (actor, owner) {
        (Actor::User(name), Some(Owner::User(owner))) => name == owner,
        (Actor::Customer { email, .. }, Some(Owner::Customer(owner))) => email == owner,
        _ => false,
    }
}

/// A device id in the cloud's spelling: 24 lower-case hexadecimal digits. Capitals are another, unknown id.
pub(super) fn known_spelling(text: &str) -> Option<DeviceId> {
    let id: DeviceId = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

/// Standard base64 of the unprotect flow.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Standard base64 of the unprotect flow.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// True if this content type is that of a form.
pub(super) fn is_form(request: &WireRequest) -> bool {
    fields::Fields::from_body(request.get("content-type").unwrap_or_default(), &[]).kind() == Kind::Form
}

fn no_api_users() -> Reply {
    Reply::oauth("unauthorized", "API users are not allowed to call this endpoint")
}
