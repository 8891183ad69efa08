//! Customers of a product: whether one of them has a device, and the token that acts in a customer's name
//! (cloud-api.md 1.5, 3.10).

use super::{
    answer::{self, Deed},
    api::Api,
    device_object::{WireCustomer, WireMeta},
    login::{self, LoginError, OauthClient, Token},
    look::page_query,
    route::{self, ProductPath},
};
use crate::{
    edge::{Method, Request},
    model::{Code, DeviceId, ProductId, Secret, Wall, outbox::Answer},
};

/// What the list of a product's customers says of one of them and a device.
#[derive(Clone, Debug)]
pub enum Custody {
    /// The product has no such customer.
    NoCustomer,
    /// The customer is there, and the device is not listed as the customer's.
    Without,
    /// The customer has the device.
    Holds {
        /// The customer's name as the cloud spells it: what a token is asked for with.
        customer: Secret<String>,
    },
}

/// A token that acts as one customer. It lives in memory only and is revoked right after use.
#[derive(Clone, Debug)]
pub struct CustomerToken {
    token: Token,
    customer: Secret<String>,
}

impl CustomerToken {
    /// When it ends, by the cloud's `Date`; `None` if the cloud does not tell.
    pub fn expires_at(&self) -> Option<Wall> {
        self.token.expires_at
    }

    /// The customer in whose name it acts.
    pub fn customer(&self) -> &Secret<String> {
        &self.customer
    }

    pub(super) fn secret(&self) -> &Secret<String> {
        &self.token.secret
    }
}

impl Api {
    /// Cross-checks in the list of customers that `customer` is one and has the device. The pages are read up to the
    /// customer.
    ///
    /// # Errors
    /// The answer to the look.
    pub fn custody(&self, product: &ProductId, customer: &Secret<String>, device: DeviceId) -> Result<Custody, Answer> {
        let path = ProductPath::new(product)?;
        for page in 1..=MOST_PAGES {
            let mut request = Request::new(Method::Get, route::customers(path));
            request.query = page_query(page, PER_PAGE).into();
            let good = self.send(request, Deed::Look)?;
            let list: WireCustomers = serde_json::from_slice(&good.body).map_err(|_| answer::malformed("a list of customers"))?;
            let found = list.customers.iter().find(|entry| entry.is(customer.expose()));
            match found.map(|entry| (entry.holds(device), entry.name())) {
                Some((true, Some(customer))) => return Ok(Custody::Holds { customer }),
                Some(_) => return Ok(Custody::Without),
                None if page >= list.meta.total_pages() => return Ok(Custody::NoCustomer),
                None => {}
            }
        }
        Err(answer::malformed("a list that ends"))
    }

    /// Gets a token of a customer by a two-legged client of the product. One request, never repeated: ten refusals in a
    /// row lock the station's address out.
    ///
    /// # Errors
    /// See [`LoginError`]; [`without_token`] says what it means for a device. A second factor is never asked for.
    pub fn customer_token(&self, client: &OauthClient, customer: &Secret<String>) -> Result<CustomerToken, LoginError> {
        let token = login::customer(self.http(), client, customer)?;
        Ok(CustomerToken {
            token,
            customer: customer.clone(),
        })
    }

    /// Revokes a customer's token. The URL does not contain it; a token that is not accepted any more needs no revoking.
    pub fn revoke(&self, token: &CustomerToken) -> Answer {
        let request = Request::new(Method::Delete, route::current_token());
        match self.send_as(request, Deed::Change, token.secret()) {
            Ok(good) => good.into(),
            Err(Answer::Auth { .. }) => Answer::Accepted {
                at: None,
                note: Some("the token had ended before".to_owned()),
            },
            Err(answer) => answer,
        }
    }
}

/// What a missing customer's token means for the device that needs it. A refusal here is final: nothing is to be sent
/// again until a person has looked.
pub fn without_token(error: &LoginError) -> Answer {
    let refused = |code| Answer::Refused {
        code,
        reason: error.to_string(),
    };
    let later = |after: Option<std::time::Duration>| Answer::Later {
        why: match error {
            LoginError::Transport(source) => format!("{error}: {source}"),
            _ => error.to_string(),
        },
        after_ms: after.and_then(|after| u64::try_from(after.as_millis()).ok()),
    };
    match error {
        LoginError::UnknownCustomer(_) => refused(Code::CustomerUnknown),
        LoginError::RateLimited { after } | LoginError::LockedOut { after } => later(*after),
        LoginError::Unavailable(_) | LoginError::Transport(_) | LoginError::Malformed => later(None),
        LoginError::BadClient(_)
        | LoginError::BadCode(_)
        | LoginError::BadCredentials
        | LoginError::CodeNeeded
        | LoginError::Refused(_)
        | LoginError::SingleSignOn => refused(Code::CustomerClient),
    }
}

#[derive(serde::Deserialize)]
struct WireCustomers {
    customers: Vec<WireCustomer>,
    #[serde(default)]
    meta: WireMeta,
}

/// Customers on a page, and the most pages that are read for one device: a hundred thousand customers.
const PER_PAGE: &str = "100";
const MOST_PAGES: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::scripted::{ID, Script, customer_token, form},
        edge::{HttpError, http::Auth},
    };

    fn custody(script: &Script, customer: &str) -> Result<Custody, Answer> {
        let customer = Secret::new(customer.to_owned());
        script
            .api()
            .custody(&ProductId("1234".into()), &customer, ID.parse().unwrap())
    }

    fn page(customers: &str, pages: u32) -> Result<crate::edge::Response, HttpError> {
        Script::reply(
            200,
            &format!(r#"{{"customers":[{customers}],"devices":[],"meta":{{"total_pages":{pages}}}}}"#),
        )
    }

    #[test]
    fn the_list_of_customers_is_read_up_to_the_customer() {
        let bob = r#"{"id":"c2","username":"bob@x.example","devices":["1d0034000fffffffffff3934"]}"#;
        let ann = format!(
            r#"{{"id":"c1","username":"Ann+home@x.example","full_name":"","devices":["0","{}"]}}"#,
            ID.to_uppercase()
        );
        for asked in ["ann+home@x.example", "c1"] {
            let script = Script::new([page(bob, 3), page(&ann, 3)]);
            let Ok(Custody::Holds { customer }) = custody(&script, asked) else {
                panic!("held");
            };
            assert_eq!(customer.expose(), "Ann+home@x.example", "as the cloud spells it");
            let sent = script.take();
            assert_eq!(format!("{:?}", sent[1]), "GET /v1/products/1234/customers");
            let query: Vec<_> = sent[1].query.iter().map(|(n, v)| format!("{n}={v}")).collect();
            assert_eq!(query.join("&"), "page=2&perPage=100&per_page=100");
        }
        assert!(matches!(
            custody(&Script::new([page(bob, 1)]), "BOB@x.example"),
            Ok(Custody::Without)
        ));
        let script = Script::new([page(bob, 2), page("", 2)]);
        assert!(matches!(custody(&script, "ob@x.example"), Ok(Custody::NoCustomer)));
        assert!(matches!(custody(&Script::new([page("", 0)]), "bob"), Ok(Custody::NoCustomer)));
    }

    #[test]
    fn a_body_that_is_no_list_says_nothing_of_a_customer() {
        for body in ["", "{}", "<html>", r#"{"customers":null}"#] {
            let script = Script::new([Script::reply(200, body)]);
            assert!(matches!(custody(&script, "ann"), Err(Answer::Later { .. })), "{body}");
        }
        let script = Script::new([Script::reply(403, r#"{"error":"Permission Denied"}"#)]);
        assert!(matches!(
            custody(&script, "ann"),
            Err(Answer::Refused {
                code: Code::CloudDenied,
                ..
            })
        ));
    }

    fn ask(end: Result<crate::edge::Response, HttpError>) -> (Script, Result<CustomerToken, LoginError>) {
        let script = Script::new([end]);
        let client = OauthClient {
            id: "pump-1234".into(),
            secret: Secret::new("s3cret".into()),
        };
        let token = script
            .api()
            .customer_token(&client, &Secret::new("ann+home@x.example".into()));
        (script, token)
    }

    #[test]
    fn a_customers_token_comes_from_the_products_client() {
        let (script, token) = ask(Script::reply(
            200,
            r#"{"access_token":"cust0mer","token_type":"bearer","expires_in":3600}"#,
        ));
        let token = token.unwrap();
        assert_eq!(token.expires_at(), Wall::parse("2026-11-23T11:00:00Z"));
        assert_eq!(token.customer().expose(), "ann+home@x.example");
        assert!(!format!("{token:?}").contains("cust0mer") && !format!("{token:?}").contains("ann"));
        let sent = script.take();
        assert_eq!(format!("{:?}", sent[0]), "POST /oauth/token");
        assert!(matches!(&sent[0].auth, Auth::Basic { id, secret } if id == "pump-1234" && secret.expose() == "s3cret"));
        assert_eq!(
            form(&sent[0].body),
            "grant_type=client_credentials&scope=customer%3Dann%2Bhome%40x.example",
            "the plus of an address is no blank"
        );
    }

    #[test]
    fn every_refusal_is_typed_asked_once_and_names_nobody() {
        let body = |error: &str, text: &str| format!(r#"{{"error":"{error}","error_description":"{text}"}}"#);
        let (unknown, client) = (Some(Code::CustomerUnknown), Some(Code::CustomerClient));
        for (status, body, code) in [
            (400, body("invalid_grant", "no customer ann+home@x.example"), unknown),
            (400, body("invalid_scope", "Invalid scope"), unknown),
            (400, body("customer_not_found", ""), unknown),
            (400, r#"{"ok":false,"errors":["nobody"]}"#.into(), unknown),
            (404, "{}".into(), unknown),
            (400, body("invalid_client", "Client credentials are invalid"), client),
            (400, body("invalid_grant", "Client credentials are invalid"), client),
            (
                400,
                body("invalid_client", "The grant type is unauthorised for this client_id"),
                client,
            ),
            (400, body("invalid_request", "Method must be POST"), client),
            (401, String::new(), client),
            (403, body("mfa_required", "Multifactor authentication required"), client),
            (403, body("sso_user", "s3cret"), client),
            (408, String::new(), None),
            (429, String::new(), None),
            (500, "<html>".into(), None),
            (503, body("server_error", "busy"), None),
            (200, "{}".into(), None),
        ] {
            let (script, end) = ask(Script::reply(status, &body));
            assert_eq!(script.sent(), 1, "{body}");
            let error = end.unwrap_err();
            let answer = without_token(&error);
            match code {
                Some(code) => assert!(
                    matches!(&answer, Answer::Refused { code: c, .. } if *c == code),
                    "{status} {body} -> {answer:?}"
                ),
                None => assert!(matches!(answer, Answer::Later { .. }), "{status} {body} -> {answer:?}"),
            }
            let said = format!("{answer:?} {error}");
            assert!(!said.contains("ann+") && !said.contains("s3cret"), "{said}");
        }
        let (_, end) = ask(Err(HttpError::Lost("reset".into())));
        assert!(matches!(
            without_token(&end.unwrap_err()),
            Answer::Later { why, after_ms: None } if why.contains("reset")
        ));
        let limited = Script::reply(429, "").map(|mut reply| {
            reply.headers.push(("retry-after".into(), "1800".into()));
            reply
        });
        let (_, end) = ask(limited);
        assert!(matches!(
            without_token(&end.unwrap_err()),
            Answer::Later {
                after_ms: Some(1_800_000),
                ..
            }
        ));
    }

    #[test]
    fn a_token_is_revoked_by_itself_and_one_that_ended_needs_no_revoking() {
        let token = customer_token("ann@x.example", "cust0mer");
        let script = Script::new([
            Script::reply(200, r#"{"ok":true}"#),
            Script::reply(401, r#"{"error":"invalid_token"}"#),
            Script::reply(500, ""),
        ]);
        let api = script.api();
        assert!(matches!(api.revoke(&token), Answer::Accepted { note: None, .. }));
        assert!(matches!(api.revoke(&token), Answer::Accepted { note: Some(_), .. }));
        assert!(matches!(api.revoke(&token), Answer::Ambiguous { .. }));
        for request in script.take() {
            assert_eq!(format!("{request:?}"), "DELETE /v1/access_tokens/current");
            assert!(matches!(&request.auth, Auth::Bearer(token) if token.expose() == "cust0mer"));
        }
    }
}
