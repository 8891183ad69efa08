//! Who the token is and what it may do.

use serde_json::Value;

use super::{
    answer::{self, Deed},
    api::Api,
    route::{self, ProductPath},
    words::sanitise,
};
use crate::{
    edge::{Method, Request},
    model::{ProductId, Wall, outbox::Answer},
};

/// What the cloud says about the token of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenInfo {
    /// When it ends; `None` if never, or if the cloud does not tell.
    pub expires_at: Option<Wall>,
    /// The OAuth client that it was made for.
    pub client: Option<String>,
    /// The scopes of an API user; empty for a person.
    pub scopes: Vec<String>,
}

/// What a member of a team may do (cloud-api.md 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Administrator,
    /// Devices and keys.
    Developer,
    /// Reading, and talking to devices.
    Support,
    /// Reading.
    ViewOnly,
}

impl Role {
    /// True if the role may import devices and upload keys (cloud-api.md 2.4).
    pub const fn may_provision(self) -> bool {
        matches!(self, Self::Administrator | Self::Developer)
    }

    /// The name in the cloud.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Administrator => "Administrator",
            Self::Developer => "Developer",
            Self::Support => "Support",
            Self::ViewOnly => "View-only",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Administrator, Self::Developer, Self::Support, Self::ViewOnly]
            .into_iter()
            .find(|role| role.name().eq_ignore_ascii_case(text.trim()))
    }
}

/// A member of a product's team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// E-mail of a person, or the name of an API user.
    pub username: String,
    /// Its role, if the cloud tells.
    pub role: Option<Role>,
    /// True for an API user: the key upload may be closed to it (cloud-api.md 1.6).
    pub programmatic: bool,
}

impl Member {
    /// True if this is the member's name; the cloud's names are e-mail addresses, compared without case.
    pub fn is(&self, username: &str) -> bool {
        self.username.eq_ignore_ascii_case(username)
    }
}

impl Api {
    /// The cheapest test of the token.
    ///
    /// # Errors
    /// [`Answer::Auth`] if the token is not accepted, or the answer to the look.
    pub fn whoami(&self) -> Result<TokenInfo, Answer> {
        let body = self.get(route::current_token())?;
        Ok(TokenInfo {
            expires_at: body.get("expires_at").and_then(Value::as_str).and_then(Wall::parse),
            client: body.get("client").and_then(Value::as_str).map(sanitise),
            scopes: list(&body, "scopes").filter_map(Value::as_str).map(sanitise).collect(),
        })
    }

    /// The name of the token's account.
    ///
    /// # Errors
    /// The answer to the look.
    pub fn user(&self) -> Result<String, Answer> {
        let body = self.get(route::user())?;
        let name = body.get("username").and_then(Value::as_str).filter(|name| !name.is_empty());
        name.map(sanitise).ok_or_else(|| answer::malformed("an account"))
    }

    /// The team of a product, as far as the token may see it. A role there is a hint and no proof: only an act proves
    /// the right to upload (ARCHITECTURE.md 4.3).
    ///
    /// # Errors
    /// The answer to the look.
    pub fn team(&self, product: &ProductId) -> Result<Vec<Member>, Answer> {
        let product = ProductPath::new(product)?;
        let body = self.get(route::team(product))?;
        Ok(list(&body, "team").filter_map(member).collect())
    }

    /// Revokes the token of this client. The URL does not contain it.
    pub fn logout(&self) -> Answer {
        self.send(Request::new(Method::Delete, route::current_token()), Deed::Change)
            .map_or_else(|answer| answer, Answer::from)
    }

    fn get(&self, path: String) -> Result<Value, Answer> {
        let good = self.send(Request::new(Method::Get, path), Deed::Look)?;
        serde_json::from_slice(&good.body)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| answer::malformed("a JSON object"))
    }
}

fn list<'a>(body: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    body.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The documents show members without their role; wherever it stands, as a text or as an object with a name, it is read.
fn member(entry: &Value) -> Option<Member> {
    let role = entry.get("role");
    let role = role.and_then(|role| role.as_str().or_else(|| role.get("name")?.as_str()));
    Some(Member {
        username: sanitise(entry.get("username")?.as_str()?),
        role: role.and_then(Role::parse),
        programmatic: entry.get("is_programmatic").and_then(Value::as_bool).unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::scripted::Script;

    #[test]
    fn the_token_tells_of_itself() {
        let script = Script::new([
            Script::reply(
                200,
                r#"{"expires_at":"2026-12-01T00:00:00.000Z","client":"particle","scopes":["devices:list",1],"orgs":[]}"#,
            ),
            Script::reply(200, r#"{"expires_at":null}"#),
            Script::reply(
                400,
                r#"{"error":"invalid_request","error_description":"The access token was not found"}"#,
            ),
            Script::reply(200, "<html>"),
        ]);
        let api = script.api();
        let info = api.whoami().unwrap();
        assert_eq!(info.expires_at, Wall::parse("2026-12-01T00:00:00Z"));
        assert_eq!((info.client.as_deref(), info.scopes.len()), (Some("particle"), 1));
        assert_eq!(api.whoami(), Ok(TokenInfo::default()));
        assert!(matches!(api.whoami(), Err(Answer::Auth { .. })));
        assert!(matches!(api.whoami(), Err(Answer::Later { .. })));
        assert_eq!(format!("{:?}", script.take()[0]), "GET /v1/access_tokens/current");
    }

    #[test]
    fn the_account_has_a_name() {
        let script = Script::new([
            Script::reply(200, r#"{"username":"me@shop.example","mfa":{}}"#),
            Script::reply(200, "{}"),
        ]);
        let api = script.api();
        assert_eq!(api.user().as_deref(), Ok("me@shop.example"));
        assert!(api.user().is_err());
    }

    #[test]
    fn a_team_is_read_wherever_its_roles_stand() {
        let body = r#"{"ok":true,"team":[{"_id":"1","username":"a@b.c"},{"username":"d@b.c","role":"developer"},
            {"username":"v@b.c","role":{"name":"View-only"}},{"username":"x@api.particle.io","is_programmatic":true,"role":"Wizard"},{}]}"#;
        let script = Script::new([Script::reply(200, body)]);
        let team = script.api().team(&ProductId("1".into())).unwrap();
        let roles: Vec<_> = team.iter().map(|m| (m.role, m.programmatic)).collect();
        assert_eq!(
            roles,
            [
                (None, false),
                (Some(Role::Developer), false),
                (Some(Role::ViewOnly), false),
                (None, true)
            ]
        );
        assert!(team[0].is("A@B.C"));
        assert!(Role::Developer.may_provision() && !Role::Support.may_provision() && !Role::ViewOnly.may_provision());
    }

    #[test]
    fn a_logout_names_no_token_in_its_url() {
        let script = Script::new([Script::reply(200, r#"{"ok":true}"#)]);
        assert!(matches!(script.api().logout(), Answer::Accepted { .. }));
        assert_eq!(format!("{:?}", script.take()[0]), "DELETE /v1/access_tokens/current");
    }
}
