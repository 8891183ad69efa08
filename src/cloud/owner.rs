//! Release and claim: taking a device from its owner, and giving it back.
//!
//! Nothing is released unless it is certain who will claim it back, and nobody but the owner of before gets it.
//! `request_transfer` is never sent: it mails the other owner (ARCHITECTURE.md 4.9).

use serde_json::{Value, json};

use super::{
    answer::{self, Deed},
    api::Api,
    customer::CustomerToken,
    route::{self, ProductPath},
    standing::{Standing, absent, already, let_go, stranger},
};
use crate::{
    edge::{Method, Request, http::Body},
    model::{
        Code, DeviceId, ProductId, RestoreData,
        outbox::{Answer, Attempt},
        survey::OwnerKind,
    },
};

/// Who claims a device back.
#[derive(Clone, Copy, Debug)]
pub enum Claimant<'a> {
    /// The station's own account.
    Account,
    /// A customer, by the customer's own token.
    Customer(&'a CustomerToken),
}

/// The customer's token is not accepted any more: nothing was done; get another and ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cloud does not accept the customer's token any more: {reason}")]
pub struct TokenSpent {
    /// The cloud's own words.
    pub reason: String,
}

impl Api {
    /// Releases a product device from its owner; it stays in the product. `back` will claim it back, and must be its
    /// owner of before: for a customer's device the customer's token is there first.
    ///
    /// It looks first, because the restore data may be of long before, and refuses if somebody else owns the device by
    /// now. That nobody does is the effect of an earlier attempt if there was one; else its owner has let go of it.
    pub fn release(&self, product: &ProductId, before: &RestoreData, back: Claimant<'_>, attempt: Attempt) -> Answer {
        self.try_release(product, before, back, attempt)
            .unwrap_or_else(|answer| answer)
    }

    fn try_release(
        &self,
        product: &ProductId,
        before: &RestoreData,
        back: Claimant<'_>,
        attempt: Attempt,
    ) -> Result<Answer, Answer> {
        self.vouch(before, back)?;
        let path = ProductPath::new(product)?;
        match self.standing(product, before.device)? {
            Standing::Absent => return Err(absent()),
            Standing::Member { owner: None, at } if attempt == Attempt::Doubtful => {
                return Ok(already(at, "nobody owned it any more"));
            }
            Standing::Member { owner: None, .. } => return Err(let_go()),
            Standing::Member { owner: Some(owner), .. } if !before.is_owner(owner.expose()) => return Err(stranger()),
            Standing::Member { .. } => {}
        }
        let request = Request::new(Method::Delete, route::product_device_owner(path, before.device));
        Ok(self.send(request, Deed::Change)?.into())
    }

    /// Claims a product device for its owner of before. It may be offline.
    ///
    /// A doubtful attempt, and one that the cloud refuses because somebody owns the device, look at who that is: accepted
    /// if it is the owner of before.
    ///
    /// # Errors
    /// [`TokenSpent`], only with a customer's token.
    pub fn claim(
        &self,
        product: &ProductId,
        before: &RestoreData,
        claimant: Claimant<'_>,
        attempt: Attempt,
    ) -> Result<Answer, TokenSpent> {
        if let Err(answer) = self.vouch(before, claimant) {
            return Ok(answer);
        }
        if attempt == Attempt::Doubtful
            && let Some(settled) = self.settled(product, before)
        {
            return Ok(settled);
        }
        match (self.ask_for(before.device, claimant), claimant) {
            (Answer::Auth { reason }, Claimant::Customer(_)) => Err(TokenSpent { reason }),
            (
                refusal @ Answer::Refused {
                    code: Code::OwnerForeign,
                    ..
                },
                _,
            ) => Ok(match self.settled(product, before) {
                None | Some(Answer::Refused { .. }) => refusal,
                Some(settled) => settled,
            }),
            (answer, _) => Ok(answer),
        }
    }

    /// What a look says of a device that was given back: the answer, or `None` if nobody owns it (any more).
    pub fn is_back(&self, product: &ProductId, before: &RestoreData) -> Option<Answer> {
        self.settled(product, before)
    }

    /// Makes sure that whoever claims the device back is its owner of before, and no customer's token the station's own.
    fn vouch(&self, before: &RestoreData, back: Claimant<'_>) -> Result<(), Answer> {
        match (before.owner, back) {
            (OwnerKind::Account, Claimant::Account) => match self.account() {
                Some(account) if before.owner_name.is_some() && !before.is_owner(&account) => {
                    Err(answer::withheld("the device belonged to another account than the station's"))
                }
                _ => Ok(()),
            },
            (OwnerKind::Customer, Claimant::Customer(token)) if self.is_own_token(token.secret()) => Err(answer::withheld(
                "what should be the customer's token is the station's own: it would make the station the owner",
            )),
            (OwnerKind::Customer, Claimant::Customer(token)) if before.is_owner(token.customer().expose()) => Ok(()),
            (OwnerKind::Customer, Claimant::Customer(_)) => {
                Err(answer::withheld("the token is not that of the customer who owned the device"))
            }
            _ => Err(answer::withheld(
                "nobody is here who could claim the device back for its owner",
            )),
        }
    }

    /// The answer to a claim as things stand: nothing if nobody owns the device.
    fn settled(&self, product: &ProductId, before: &RestoreData) -> Option<Answer> {
        match self.standing(product, before.device) {
            Ok(Standing::Absent) => Some(absent()),
            Ok(Standing::Member { owner: None, .. }) => None,
            Ok(Standing::Member { owner: Some(owner), at }) if before.is_owner(owner.expose()) => {
                Some(already(at, "its owner of before has it already"))
            }
            Ok(Standing::Member { .. }) => Some(stranger()),
            Err(answer) => Some(answer),
        }
    }

    fn ask_for(&self, device: DeviceId, claimant: Claimant<'_>) -> Answer {
        let request = Request {
            body: Body::Json(json!({ "id": device.to_string() })),
            ..Request::new(Method::Post, route::claims())
        };
        let exchanged = match claimant {
            Claimant::Account => self.exchange(request),
            Claimant::Customer(token) => {
                let secret = token.secret();
                self.exchange_as(request, secret).map(|end| (end, secret.clone()))
            }
        };
        let (end, token) = match exchanged {
            Ok(exchanged) => exchanged,
            Err(answer) => return answer,
        };
        let wordless = end.as_ref().is_ok_and(|response| says_nothing(&response.body));
        match answer::sort(end, Deed::Change, token.expose()) {
            // A claim that did not happen can come with a 200 and words of error in the body (cloud-api.md 3.7).
            Ok(good) if complains(&good.body) => Answer::Ambiguous {
                why: "the cloud answered the claim with 200 and an error".into(),
            },
            Ok(good) => good.into(),
            // Deliberately vague in the cloud: offline, or unknown.
            Err(Answer::Refused { reason, .. }) if wordless => Answer::Refused {
                code: Code::ClaimVague,
                reason,
            },
            Err(answer) => answer,
        }
    }
}

fn complains(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| {
        ["error", "errors"]
            .iter()
            .any(|name| body.get(name).is_some_and(|said| !said.is_null()))
    })
}

/// True for no body and for an empty object.
fn says_nothing(body: &[u8]) -> bool {
    body.is_empty() || serde_json::from_slice::<Value>(body).is_ok_and(|body| body == json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::scripted::{Script, before, customer_token, list_with_owner},
        edge::http::Auth,
    };

    const ANN: &str = "ann@home.example";
    const RELEASE: &str = "DELETE /v1/products/1234/devices/1d0034000fffffffffff3933/owner";
    const LIST: &str = "GET /v1/products/1234/devices";
    const CLAIM: &str = "POST /v1/devices";

    fn product() -> ProductId {
        ProductId("1234".into())
    }

    fn customers() -> RestoreData {
        before(OwnerKind::Customer, ANN)
    }

    fn ok() -> Result<crate::edge::Response, crate::edge::HttpError> {
        Script::reply(200, r#"{"ok":true}"#)
    }

    fn belongs() -> Result<crate::edge::Response, crate::edge::HttpError> {
        Script::reply(403, r#"{"ok":false,"errors":["That belongs to someone else."]}"#)
    }

    fn absent_from_list() -> Result<crate::edge::Response, crate::edge::HttpError> {
        Script::reply(200, r#"{"devices":[]}"#)
    }

    fn paths(script: &Script) -> Vec<String> {
        script.take().iter().map(|r| format!("{r:?}")).collect()
    }

    fn release(script: &Script, attempt: Attempt) -> Answer {
        let token = customer_token(ANN, "cust0mer");
        script
            .api()
            .release(&product(), &customers(), Claimant::Customer(&token), attempt)
    }

    fn claim(script: &Script, attempt: Attempt) -> Result<Answer, TokenSpent> {
        let token = customer_token(ANN, "cust0mer");
        script
            .api()
            .claim(&product(), &customers(), Claimant::Customer(&token), attempt)
    }

    fn is(answer: &Answer, word: &str) {
        assert!(format!("{answer:?}").contains(word), "{word}: {answer:?}");
    }

    #[test]
    fn a_release_keeps_the_device_in_its_product() {
        let script = Script::new([list_with_owner(ANN), ok()]);
        is(&release(&script, Attempt::Fresh), "Accepted");
        assert_eq!(paths(&script), [LIST, RELEASE]);
    }

    #[test]
    fn what_its_owner_let_go_of_is_not_taken_unless_that_was_here() {
        for (attempt, word) in [(Attempt::Fresh, "OwnerForeign"), (Attempt::Doubtful, "nobody owned it")] {
            let script = Script::new([list_with_owner("")]);
            is(&release(&script, attempt), word);
            assert_eq!(paths(&script), [LIST]);
        }
    }

    #[test]
    fn a_release_looks_first() {
        let attempts = [Attempt::Fresh, Attempt::Doubtful];
        for (look, requests, word) in [
            (list_with_owner("c1"), 2, "note: None"),
            (list_with_owner("Ann@home.example"), 2, "note: None"),
            (list_with_owner("c2"), 1, "OwnerForeign"),
            (list_with_owner("who@where"), 1, "OwnerForeign"),
            (absent_from_list(), 1, "CloudRefused"),
            (Script::reply(500, ""), 1, "Later"),
            (Script::reply(401, ""), 1, "Auth"),
        ] {
            for attempt in attempts {
                let script = Script::new([look.clone(), ok()]);
                is(&release(&script, attempt), word);
                let paths = paths(&script);
                assert_eq!(paths[0], LIST);
                assert_eq!(paths.len(), requests, "{word}");
            }
        }
    }

    #[test]
    fn nothing_is_released_or_claimed_unless_its_owner_of_before_claims_it() {
        let (own, bobs) = (customer_token(ANN, "t0ken"), customer_token("bob@home.example", "cust0mer"));
        let anns = customer_token(ANN, "cust0mer");
        let account = before(OwnerKind::Account, "other@shop.example");
        for (data, claimant) in [
            (&customers(), Claimant::Customer(&own)),
            (&customers(), Claimant::Customer(&bobs)),
            (&customers(), Claimant::Account),
            (&account, Claimant::Account),
            (&account, Claimant::Customer(&anns)),
            (&before(OwnerKind::Team, ANN), Claimant::Account),
            (&before(OwnerKind::Stranger, ANN), Claimant::Customer(&anns)),
            (&before(OwnerKind::Unknown, ANN), Claimant::Customer(&anns)),
            (&before(OwnerKind::Nobody, ""), Claimant::Account),
        ] {
            for attempt in [Attempt::Fresh, Attempt::Doubtful] {
                let script = Script::new([]);
                let api = script.api();
                api.set_account("me@shop.example");
                is(&api.release(&product(), data, claimant, attempt), "Internal");
                is(&api.claim(&product(), data, claimant, attempt).unwrap(), "Internal");
                assert_eq!(script.sent(), 0);
            }
        }
    }

    #[test]
    fn a_device_of_the_own_account_is_released_and_claimed_by_the_own_token() {
        let script = Script::new([list_with_owner("me@shop.example"), ok(), ok()]);
        let api = script.api();
        api.set_account("Me@shop.example");
        let data = before(OwnerKind::Account, "me@shop.example");
        is(&api.release(&product(), &data, Claimant::Account, Attempt::Fresh), "Accepted");
        is(
            &api.claim(&product(), &data, Claimant::Account, Attempt::Fresh).unwrap(),
            "Accepted",
        );
        let sent = script.take();
        assert!(matches!(&sent[2].auth, Auth::Bearer(token) if token.expose() == "t0ken"));
    }

    #[test]
    fn a_claim_uses_the_customers_token_and_never_asks_for_a_transfer() {
        let script = Script::new([ok()]);
        is(&claim(&script, Attempt::Fresh).unwrap(), "Accepted");
        let sent = &script.take()[0];
        assert_eq!(format!("{sent:?}"), CLAIM);
        assert!(matches!(&sent.auth, Auth::Bearer(token) if token.expose() == "cust0mer"));
        let Body::Json(body) = &sent.body else { panic!("JSON") };
        assert_eq!(body, &json!({ "id": "1d0034000fffffffffff3933" }));
        assert!(sent.query.is_empty());
    }

    #[test]
    fn a_doubtful_claim_looks_first() {
        for (look, requests, word) in [
            (list_with_owner("c1"), 1, "has it already"),
            (list_with_owner(""), 2, "note: None"),
            (list_with_owner("bob@home.example"), 1, "OwnerForeign"),
            (absent_from_list(), 1, "CloudRefused"),
            (Script::reply(500, ""), 1, "Later"),
        ] {
            let script = Script::new([look, ok()]);
            is(&claim(&script, Attempt::Doubtful).unwrap(), word);
            let paths = paths(&script);
            assert_eq!(paths[0], LIST);
            assert_eq!(paths.len(), requests, "{word}");
        }
    }

    #[test]
    fn a_claim_of_what_belongs_to_somebody_looks_who_that_is() {
        for (look, word) in [
            (list_with_owner(ANN), "has it already"),
            (list_with_owner("c2"), "OwnerForeign"),
            (list_with_owner(""), "OwnerForeign"),
            (Script::reply(403, r#"{"error":"Permission Denied"}"#), "OwnerForeign"),
            (Script::reply(500, ""), "Later"),
        ] {
            let script = Script::new([belongs(), look]);
            is(&claim(&script, Attempt::Fresh).unwrap(), word);
            assert_eq!(paths(&script), [CLAIM, LIST], "{word}");
        }
    }

    #[test]
    fn a_claim_without_a_clear_yes_is_none() {
        for (end, word) in [
            (Script::reply(200, r#"{"errors":["x"]}"#), "Ambiguous"),
            (Script::reply(200, r#"{"ok":false}"#), "CloudRefused"),
            (Script::reply(404, "{}"), "ClaimVague"),
            (Script::reply(403, "{}"), "ClaimVague"),
            (Script::reply(400, ""), "ClaimVague"),
            (Script::reply(403, r#"{"error":"Permission Denied"}"#), "CloudDenied"),
            (Script::reply(500, "{}"), "Ambiguous"),
            (Script::reply(429, ""), "Later"),
        ] {
            is(&claim(&Script::new([end]), Attempt::Fresh).unwrap(), word);
        }
    }

    #[test]
    fn a_spent_customers_token_is_not_taken_for_the_stations() {
        let expired = || Script::reply(401, r#"{"error":"invalid_token","error_description":"has expired."}"#);
        assert_eq!(
            claim(&Script::new([expired()]), Attempt::Fresh),
            Err(TokenSpent {
                reason: "has expired.".into()
            })
        );
        let data = before(OwnerKind::Account, "");
        let answer = Script::new([expired()])
            .api()
            .claim(&product(), &data, Claimant::Account, Attempt::Fresh);
        is(&answer.unwrap(), "Auth");
    }
}
