//! Claim, unclaim, removal and ping. A recipe uses none of these; the repair of customer devices does.
//!
//! `request_transfer` is never sent: it mails the other owner (ARCHITECTURE.md 4.9).

use serde_json::{Value, json};

use super::{
    answer::{self, Deed},
    api::Api,
    route::{self, ProductPath},
};
use crate::{
    edge::{Method, Request, http::Body},
    model::{DeviceId, ProductId, Secret, outbox::Answer},
};

impl Api {
    /// Claims a device to the owner of `token`: for a customer's device the customer's token, never the station's.
    /// After an ambiguous answer look first, then decide.
    pub fn claim(&self, device: DeviceId, token: &Secret<String>) -> Answer {
        let request = Request {
            body: Body::Json(json!({ "id": device.to_string() })),
            ..Request::new(Method::Post, route::devices())
        };
        match self.send_as(request, Deed::Change, token) {
            // A claim that did not happen can come with a 200 and words of error in the body (cloud-api.md 3.7).
            Ok(good) if complains(&good.body) => Answer::Ambiguous {
                why: "the cloud answered the claim with 200 and an error".into(),
            },
            end => end.map_or_else(|answer| answer, Answer::from),
        }
    }

    /// Gives up the own account's claim on a device that is in no product.
    pub fn unclaim_own(&self, device: DeviceId) -> Answer {
        self.change(Request::new(Method::Delete, route::own_claim(device)))
    }

    /// Releases a product device from its owner; it stays in the product. Call it only when the customer's token was
    /// obtained and the restore data is in the journal.
    pub fn unclaim(&self, product: &ProductId, device: DeviceId) -> Answer {
        match ProductPath::new(product) {
            Ok(product) => self.change(Request::new(Method::Delete, route::product_device_owner(product, device))),
            Err(error) => answer::withheld(error.to_string()),
        }
    }

    /// Takes a device out of its product. Unclaim it before.
    pub fn remove(&self, product: &ProductId, device: DeviceId) -> Answer {
        match ProductPath::new(product) {
            Ok(product) => self.change(Request {
                // The vendor's tool sends an empty object with it.
                body: Body::Json(json!({})),
                ..Request::new(Method::Delete, route::product_membership(product, device))
            }),
            Err(error) => answer::withheld(error.to_string()),
        }
    }

    /// Asks the device itself whether it is there: `true` if it answered. It takes up to 30 s.
    ///
    /// # Errors
    /// The answer to the look.
    pub fn ping(&self, device: DeviceId, product: Option<&ProductId>) -> Result<bool, Answer> {
        let path = match product.map(ProductPath::new) {
            None => route::ping(device),
            Some(Ok(product)) => route::product_ping(product, device),
            Some(Err(error)) => return Err(answer::withheld(error.to_string())),
        };
        let good = self.send(Request::new(Method::Put, path), Deed::Look)?;
        let body: Value = serde_json::from_slice(&good.body).unwrap_or_default();
        let online = body.get("online").and_then(Value::as_bool);
        online.ok_or_else(|| answer::malformed("an answer to a ping"))
    }

    fn change(&self, request: Request) -> Answer {
        self.send(request, Deed::Change).map_or_else(|answer| answer, Answer::from)
    }
}

fn complains(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| {
        ["error", "errors"]
            .iter()
            .any(|name| body.get(name).is_some_and(|said| !said.is_null()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cloud::scripted::Script, edge::http::Auth, model::Code};

    fn id() -> DeviceId {
        "1d0034000fffffffffff3933".parse().unwrap()
    }

    #[test]
    fn release_removal_and_own_claim_are_three_different_requests() {
        let ok = || Script::reply(200, r#"{"ok":true}"#);
        let script = Script::new([ok(), ok(), Script::reply(204, "")]);
        let (api, product) = (script.api(), ProductId("1234".into()));
        api.unclaim(&product, id());
        api.unclaim_own(id());
        assert!(matches!(api.remove(&product, id()), Answer::Accepted { .. }));
        let sent: Vec<_> = script.take().iter().map(|r| format!("{r:?}")).collect();
        assert_eq!(
            sent,
            [
                "DELETE /v1/products/1234/devices/1d0034000fffffffffff3933/owner",
                "DELETE /v1/devices/1d0034000fffffffffff3933",
                "DELETE /v1/products/1234/devices/1d0034000fffffffffff3933",
            ]
        );
        let none = ProductId(String::new());
        assert!(matches!(
            api.remove(&none, id()),
            Answer::Refused {
                code: Code::Internal,
                ..
            }
        ));
        assert!(matches!(
            api.unclaim(&none, id()),
            Answer::Refused {
                code: Code::Internal,
                ..
            }
        ));
    }

    #[test]
    fn a_claim_uses_the_customers_token_and_never_asks_for_a_transfer() {
        let script = Script::new([
            Script::reply(200, r#"{"ok":true}"#),
            Script::reply(403, r#"{"ok":false,"errors":["That belongs to someone else."]}"#),
            Script::reply(200, r#"{"errors":["x"]}"#),
        ]);
        let (api, customer) = (script.api(), Secret::new("cust0mer".to_owned()));
        assert!(matches!(api.claim(id(), &customer), Answer::Accepted { .. }));
        assert!(matches!(
            api.claim(id(), &customer),
            Answer::Refused {
                code: Code::OwnerForeign,
                ..
            }
        ));
        assert!(matches!(api.claim(id(), &customer), Answer::Ambiguous { .. }));
        let sent = &script.take()[0];
        assert!(matches!(&sent.auth, Auth::Bearer(token) if token.expose() == "cust0mer"));
        let Body::Json(body) = &sent.body else { panic!("JSON") };
        assert_eq!(body, &json!({ "id": "1d0034000fffffffffff3933" }));
    }

    #[test]
    fn a_ping_tells_what_the_device_said() {
        let script = Script::new([
            Script::reply(200, r#"{"online":true,"ok":true}"#),
            Script::reply(200, r#"{"online":false,"ok":true}"#),
            Script::reply(408, r#"{"ok":false,"error":"timed out"}"#),
            Script::reply(200, "{}"),
        ]);
        let (api, product) = (script.api(), ProductId("p".into()));
        assert_eq!(api.ping(id(), Some(&product)), Ok(true));
        assert_eq!(api.ping(id(), None), Ok(false));
        assert!(matches!(api.ping(id(), None), Err(Answer::Later { .. })));
        assert!(api.ping(id(), None).is_err());
        assert_eq!(
            format!("{:?}", script.take()[0]),
            "PUT /v1/products/p/devices/1d0034000fffffffffff3933/ping"
        );
    }
}
