//! Import of devices into a product. The cloud answers 200 even if it imported nothing: the lists in the body decide,
//! one device at a time (cloud-api.md 3.3).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    answer::{Deed, Good},
    api::Api,
    route::{self, ProductPath},
    standing::{Standing, already},
};
use crate::{
    edge::{Method, Request, http::Body},
    model::{Code, DeviceId, ProductId, outbox::Answer},
};

impl Api {
    /// Imports devices into a product, in one request; every device gets its own answer. How many go into one request
    /// is the caller's to say: the cloud's limit is not documented.
    ///
    /// `activate_sim` also activates their SIMs, which costs money.
    pub fn import(&self, product: &ProductId, devices: &[DeviceId], activate_sim: bool) -> BTreeMap<DeviceId, Answer> {
        let devices: BTreeSet<DeviceId> = devices.iter().copied().collect();
        if devices.is_empty() {
            return BTreeMap::new();
        }
        let end = ProductPath::new(product)
            .map_err(Answer::from)
            .and_then(|product| self.send(request(product, &devices, activate_sim), Deed::Change));
        match end {
            Ok(good) => {
                let lists = Lists::of(&good);
                devices.into_iter().map(|id| (id, lists.answer(id, &good))).collect()
            }
            Err(answer) => devices.into_iter().map(|id| (id, answer.clone())).collect(),
        }
    }

    /// What a look says of an import that may have been done already: the answer, or `None` if it has to be done (again).
    /// A device that the product holds is accepted, whoever owns it.
    ///
    /// Not for an import that also activates SIMs: a look does not show whether that was done.
    pub fn import_in_doubt(&self, product: &ProductId, device: DeviceId) -> Option<Answer> {
        match self.standing(product, device) {
            Ok(Standing::Member { at, .. }) => Some(already(at, MEMBER)),
            // A definite no to the look says nothing of the import: that one gets an answer of its own.
            Ok(Standing::Absent) | Err(Answer::Refused { .. }) => None,
            Err(answer) => Some(answer),
        }
    }
}

fn request(product: ProductPath<'_>, devices: &BTreeSet<DeviceId>, activate_sim: bool) -> Request {
    let ids: Vec<String> = devices.iter().map(DeviceId::to_string).collect();
    Request {
        // The file form has no place for a second field, so the request for SIMs is the documented JSON one.
        body: if activate_sim {
            Body::Json(json!({ "ids": ids, "import_sims": true }))
        } else {
            Body::File(ids.join("\n").into_bytes())
        },
        timeout: UPLOAD,
        ..Request::new(Method::Post, route::product_devices(product))
    }
}

/// The lists of a reply, with the ids trimmed and in lower case.
struct Lists {
    updated: BTreeSet<String>,
    existing: BTreeSet<String>,
    invalid: BTreeSet<String>,
    nonmember: BTreeSet<String>,
    protected: BTreeSet<String>,
}

impl Lists {
    fn of(good: &Good) -> Self {
        let body: Value = serde_json::from_slice(&good.body).unwrap_or_default();
        let list = |name: &str| {
            let ids = body.get(name).and_then(Value::as_array).into_iter().flatten();
            ids.filter_map(Value::as_str)
                .map(|id| id.trim().to_ascii_lowercase())
                .collect()
        };
        Self {
            updated: list("updatedDeviceIds"),
            existing: list("existingDeviceIds"),
            invalid: list("invalidDeviceIds"),
            nonmember: list("nonmemberDeviceIds"),
            protected: list("protectedDeviceIds"),
        }
    }

    /// A refusal wins over an acceptance of the same device; a device in no list may or may not be a member now.
    fn answer(&self, id: DeviceId, good: &Good) -> Answer {
        let id = id.to_string();
        let refused = |code, reason: &str| Answer::Refused {
            code,
            reason: reason.to_owned(),
        };
        let accepted = |note: Option<&str>| Answer::Accepted {
            at: good.at,
            note: note.map(str::to_owned),
        };
        if self.protected.contains(&id) {
            refused(
                Code::ImportProtected,
                "listed as protected: the product has no Device Protection",
            )
        } else if self.nonmember.contains(&id) {
            refused(Code::ImportNonmember, "listed as nonmember: it belongs to another owner")
        } else if self.invalid.contains(&id) {
            refused(
                Code::ImportInvalid,
                "listed as invalid: wrong platform, unknown, or in another product",
            )
        } else if self.updated.contains(&id) {
            accepted(None)
        } else if self.existing.contains(&id) {
            accepted(Some(MEMBER))
        } else {
            Answer::Ambiguous {
                why: "the cloud answered the import and does not say what became of the device".into(),
            }
        }
    }
}

/// What is said of a device that was in the product before.
const MEMBER: &str = "already in the product";

/// For requests that carry a file (cloud-api.md 4.3).
const UPLOAD: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cloud::scripted::Script, edge::HttpError, model::Wall};

    fn id(n: u8) -> DeviceId {
        DeviceId::from_bytes([0xab, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, n])
    }

    fn product() -> ProductId {
        ProductId("my-product".into())
    }

    #[test]
    fn the_file_is_one_id_per_line_without_a_last_newline() {
        let script = Script::new([Script::reply(200, "{}")]);
        script.api().import(&product(), &[id(2), id(1), id(2)], false);
        let sent = script.take();
        assert_eq!(format!("{:?}", sent[0]), "POST /v1/products/my-product/devices");
        assert_eq!(sent[0].timeout, Duration::from_secs(120));
        let Body::File(file) = &sent[0].body else { panic!("a file") };
        assert_eq!(file, b"abcd00000000000000000001\nabcd00000000000000000002");
    }

    #[test]
    fn sims_are_activated_only_on_request() {
        let script = Script::new([Script::reply(200, "{}")]);
        script.api().import(&product(), &[id(1)], true);
        let sent = script.take();
        let Body::Json(body) = &sent[0].body else { panic!("JSON") };
        assert_eq!(body, &json!({ "ids": ["abcd00000000000000000001"], "import_sims": true }));
    }

    #[test]
    fn every_device_gets_the_answer_of_its_list() {
        let script = Script::new([Script::reply(
            200,
            r#"{"updated":1,"updatedDeviceIds":[" ABCD00000000000000000001 ","abcd00000000000000000006"],
                "existingDeviceIds":["abcd00000000000000000002"],"nonmemberDeviceIds":["abcd00000000000000000003"],
                "invalidDeviceIds":["abcd00000000000000000004","abcd00000000000000000006"],
                "protectedDeviceIds":["abcd00000000000000000005",17]}"#,
        )]);
        let ids: Vec<_> = (1..=7).map(id).collect();
        let answers = script.api().import(&product(), &ids, false);
        let at = Wall::parse("2026-11-23T10:00:00Z");
        assert_eq!(answers[&id(1)], Answer::Accepted { at, note: None });
        assert!(matches!(&answers[&id(2)], Answer::Accepted { note: Some(note), .. } if note == "already in the product"));
        for (n, code) in [
            (3, Code::ImportNonmember),
            (4, Code::ImportInvalid),
            (5, Code::ImportProtected),
            (6, Code::ImportInvalid),
        ] {
            assert!(
                matches!(&answers[&id(n)], Answer::Refused { code: c, .. } if *c == code),
                "{n}"
            );
        }
        assert!(
            matches!(answers[&id(7)], Answer::Ambiguous { .. }),
            "in no list: look, then decide"
        );
    }

    #[test]
    fn a_200_that_is_not_the_promised_body_leaves_it_open() {
        for body in [
            "",
            "<html>",
            "[]",
            "null",
            r#"{"updatedDeviceIds":null}"#,
            r#"{"updatedDeviceIds":"abcd"}"#,
        ] {
            let script = Script::new([Script::reply(200, body)]);
            let answers = script.api().import(&product(), &[id(1)], false);
            assert!(matches!(answers[&id(1)], Answer::Ambiguous { .. }), "{body}");
        }
    }

    #[test]
    fn a_reply_about_the_whole_request_is_every_devices_answer() {
        for (end, word) in [
            (Script::reply(200, r#"{"ok":false,"error":"nope"}"#), "Refused"),
            (Script::reply(403, r#"{"error":"Permission Denied"}"#), "CloudDenied"),
            (Script::reply(429, ""), "Later"),
            (Err(HttpError::Lost("cut".into())), "Ambiguous"),
        ] {
            let answers = Script::new([end]).api().import(&product(), &[id(1), id(2)], false);
            assert_eq!(answers.len(), 2);
            assert_eq!(answers[&id(1)], answers[&id(2)]);
            assert!(format!("{:?}", answers[&id(1)]).contains(word), "{answers:?}");
        }
    }

    #[test]
    fn an_import_in_doubt_is_looked_up_before_it_is_repeated() {
        let listed = format!(r#"{{"devices":[{{"id":"{}","owner":"who@where"}}]}}"#, id(1));
        for (end, settled) in [
            (Script::reply(200, &listed), Some("Accepted")),
            (Script::reply(200, r#"{"devices":[]}"#), None),
            (Script::reply(403, r#"{"error":"Permission Denied"}"#), None),
            (Script::reply(503, ""), Some("Later")),
            (Script::reply(401, ""), Some("Auth")),
            (Err(HttpError::Lost("cut".into())), Some("Later")),
        ] {
            let script = Script::new([end]);
            let found = script
                .api()
                .import_in_doubt(&product(), id(1))
                .map(|answer| format!("{answer:?}"));
            let told = |found: &String| settled.is_some_and(|word| found.starts_with(word));
            assert!(found.as_ref().map_or(settled.is_none(), told), "{settled:?}: {found:?}");
            assert_eq!(script.sent(), 1, "a look, and nothing is imported");
        }
    }

    #[test]
    fn nothing_is_sent_for_nothing_or_for_no_product() {
        let script = Script::new([]);
        assert!(script.api().import(&product(), &[], false).is_empty());
        let answers = script.api().import(&ProductId("..".into()), &[id(1)], false);
        assert!(matches!(
            answers[&id(1)],
            Answer::Refused {
                code: Code::Internal,
                ..
            }
        ));
        assert_eq!(script.sent(), 0);
    }
}
