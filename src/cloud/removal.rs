//! Removal of a device from its product, on its way into another one.
//!
//! The request differs from that of a release by one missing segment, and the removal of a customer's device takes it
//! from the customer as well (cloud-api.md 3.7): the paths come from functions of their own.

use serde_json::json;

use super::{
    answer::Deed,
    api::Api,
    route::{self, ProductPath},
    standing::{Standing, already, stranger},
};
use crate::{
    edge::{Method, Request, http::Body},
    model::{ProductId, RestoreData, outbox::Answer, survey::OwnerKind},
};

impl Api {
    /// Takes a device out of its product; release it before.
    ///
    /// It looks first, at every attempt, because the removal of somebody's device takes it from that owner: accepted if
    /// the device is not in the product, refused if by now a customer or somebody else than its owner of before has it.
    pub fn remove(&self, product: &ProductId, before: &RestoreData) -> Answer {
        self.try_remove(product, before).unwrap_or_else(|answer| answer)
    }

    fn try_remove(&self, product: &ProductId, before: &RestoreData) -> Result<Answer, Answer> {
        let path = ProductPath::new(product)?;
        match self.standing(product, before.device)? {
            Standing::Absent => return Ok(already(None, "not in the product any more")),
            Standing::Member { owner: Some(owner), .. }
                if before.owner == OwnerKind::Customer || !before.is_owner(owner.expose()) =>
            {
                return Err(stranger());
            }
            Standing::Member { .. } => {}
        }
        let request = Request {
            // The vendor's tool sends an empty object with it.
            body: Body::Json(json!({})),
            ..Request::new(Method::Delete, route::product_membership(path, before.device))
        };
        Ok(self.send(request, Deed::Change)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::scripted::{Script, before, list_with_owner},
        model::Code,
    };

    #[test]
    fn a_removal_is_not_a_release() {
        let script = Script::new([list_with_owner(""), Script::reply(204, "")]);
        let product = ProductId("1234".into());
        let answer = script.api().remove(&product, &before(OwnerKind::Nobody, ""));
        assert!(matches!(answer, Answer::Accepted { note: None, .. }));
        let sent = script.take();
        assert_eq!(
            format!("{:?}", sent[1]),
            "DELETE /v1/products/1234/devices/1d0034000fffffffffff3933"
        );
        assert!(matches!(&sent[1].body, Body::Json(body) if *body == json!({})));
        let nowhere = ProductId(String::new());
        let answer = Script::new([]).api().remove(&nowhere, &before(OwnerKind::Nobody, ""));
        assert!(matches!(
            answer,
            Answer::Refused {
                code: Code::Internal,
                ..
            }
        ));
    }

    #[test]
    fn a_removal_looks_first() {
        let absent = || Script::reply(200, r#"{"devices":[]}"#);
        for (before, look, requests, word) in [
            (before(OwnerKind::Nobody, ""), absent(), 1, "not in the product any more"),
            (before(OwnerKind::Nobody, ""), list_with_owner(""), 2, "note: None"),
            (
                before(OwnerKind::Team, "boss@shop.example"),
                list_with_owner("boss@shop.example"),
                2,
                "note: None",
            ),
            (
                before(OwnerKind::Nobody, ""),
                list_with_owner("ann@home.example"),
                1,
                "OwnerForeign",
            ),
            (
                before(OwnerKind::Account, "me@shop.example"),
                list_with_owner("c1"),
                1,
                "OwnerForeign",
            ),
            (
                before(OwnerKind::Customer, "ann@home.example"),
                list_with_owner("c1"),
                1,
                "OwnerForeign",
            ),
            (before(OwnerKind::Nobody, ""), Script::reply(500, ""), 1, "Later"),
            (
                before(OwnerKind::Nobody, ""),
                Script::reply(403, r#"{"error":"Permission Denied"}"#),
                1,
                "CloudDenied",
            ),
        ] {
            let script = Script::new([look, Script::reply(204, "")]);
            let answer = script.api().remove(&ProductId("1234".into()), &before);
            assert!(format!("{answer:?}").contains(word), "{word}: {answer:?}");
            assert_eq!(script.sent(), requests, "{word}");
        }
    }
}
