//! Name, notes and groups of a device, put back where they were lost.

use serde_json::{Value, json};

use super::{
    answer::Deed,
    api::Api,
    device_object::Private,
    route::{self, ProductPath},
    standing::{absent, already, stranger},
};
use crate::{
    edge::{Method, Request, http::Body},
    model::{ProductId, RestoreData, Secret, outbox::Answer},
};

impl Api {
    /// Gives a product device its name, notes and groups of before, each only where it differs. It looks first, so that
    /// it may be repeated after any end. What was not there before is left as it is.
    pub fn restore_attributes(&self, product: &ProductId, before: &RestoreData) -> Answer {
        self.try_restore(product, before).unwrap_or_else(|answer| answer)
    }

    fn try_restore(&self, product: &ProductId, before: &RestoreData) -> Result<Answer, Answer> {
        let path = ProductPath::new(product)?;
        let seen = self.fetch(before.device, Some(path))?.ok_or_else(absent)?;
        if let Some(owner) = &seen.private.owner
            && !before.is_owner(owner.expose())
        {
            // It may be the same customer, shown by a number.
            let customer = self.customer_of(path, before.device, owner.expose())?;
            if !customer.is_some_and(|customer| before.is_owner(customer.expose())) {
                return Err(stranger());
            }
        }
        let (mut at, mut put) = (seen.at, Vec::new());
        for (name, value) in differing(before, &seen.private) {
            let request = Request {
                body: Body::Json(json!({ name: value })),
                ..Request::new(Method::Put, route::product_device(path, before.device))
            };
            at = self.send(request, Deed::Change).map_err(|answer| quiet(answer, name))?.at;
            put.push(name);
        }
        if put.is_empty() {
            return Ok(already(at, "name, notes and groups are those of before"));
        }
        Ok(already(at, &format!("put back: {}", put.join(", "))))
    }
}

/// A refusal may quote what it refuses, and that is not for the record.
fn quiet(answer: Answer, attribute: &str) -> Answer {
    match answer {
        Answer::Refused { code, .. } => Answer::Refused {
            code,
            reason: format!("the cloud refused to put the {attribute} back"),
        },
        answer => answer,
    }
}

/// The attributes of before that are not those of now. One request changes one of them (cloud-api.md 3.6), and groups
/// are sent as a whole: the cloud replaces the set.
fn differing(before: &RestoreData, now: &Private) -> Vec<(&'static str, Value)> {
    let text = |name, before: &Option<Secret<String>>, now: &Option<Secret<String>>| {
        let before = before.as_ref()?.expose();
        (now.as_ref().map(Secret::expose) != Some(before)).then(|| (name, json!(before)))
    };
    let groups = before.groups.as_ref().and_then(|groups| {
        let groups = sorted(groups);
        let same = now.groups.as_ref().is_some_and(|now| sorted(now) == groups);
        (!same).then(|| ("groups", json!(groups)))
    });
    let texts = [
        text("name", &before.name, &now.name),
        text("notes", &before.notes, &now.notes),
    ];
    texts.into_iter().flatten().chain(groups).collect()
}

fn sorted(groups: &[Secret<String>]) -> Vec<&str> {
    let mut groups: Vec<&str> = groups.iter().map(|group| group.expose().as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::scripted::{ID, Script, before, list_with_owner},
        model::{Code, survey::OwnerKind},
    };

    fn product() -> ProductId {
        ProductId("1234".into())
    }

    /// A script that shows the device with these fields and then accepts every change.
    fn shows(fields: &str) -> Script {
        let ok = || Script::reply(200, "{}");
        let shown = Script::reply(200, &format!(r#"{{"id":"{ID}"{fields}}}"#));
        Script::new([shown, ok(), ok(), ok()])
    }

    fn restore(script: &Script, before: &RestoreData) -> (Answer, Vec<String>) {
        let answer = script.api().restore_attributes(&product(), before);
        let bodies = script.take().into_iter().skip(1).map(|request| {
            assert_eq!(
                format!("{request:?}"),
                "PUT /v1/products/1234/devices/1d0034000fffffffffff3933"
            );
            let Body::Json(body) = request.body else { panic!("JSON") };
            body.to_string()
        });
        (answer, bodies.collect())
    }

    fn note(answer: &Answer) -> &str {
        match answer {
            Answer::Accepted { note: Some(note), .. } => note,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_attribute_is_put_back_only_where_it_differs() {
        let before = RestoreData {
            notes: Some(Secret::new("line\nline".into())),
            ..before(OwnerKind::Nobody, "")
        };
        for (now, bodies) in [
            (r#","name":"kitchen","notes":"line\nline","groups":["beta","eu"]"#, vec![]),
            (
                r#","name":"x","notes":"line\nline","groups":["eu","beta","eu"]"#,
                vec![r#"{"name":"kitchen"}"#],
            ),
            (
                r#","name":null,"notes":"line line""#,
                vec![
                    r#"{"name":"kitchen"}"#,
                    r#"{"notes":"line\nline"}"#,
                    r#"{"groups":["beta","eu"]}"#,
                ],
            ),
            (
                r#","name":"kitchen","notes":"line\nline","groups":["eu","more"]"#,
                vec![r#"{"groups":["beta","eu"]}"#],
            ),
        ] {
            let (answer, put) = restore(&shows(now), &before);
            assert_eq!(put, bodies, "{now}");
            assert_eq!(note(&answer).starts_with("put back"), !put.is_empty(), "{answer:?}");
            assert!(!note(&answer).contains("kitchen"));
        }
    }

    #[test]
    fn what_was_not_there_before_is_left() {
        let bare = RestoreData {
            name: None,
            groups: None,
            ..before(OwnerKind::Nobody, "")
        };
        let (_, put) = restore(&shows(r#","name":"new","notes":"n","groups":["g"]"#), &bare);
        assert!(put.is_empty());
        let none = RestoreData {
            groups: Some(Vec::new()),
            ..bare
        };
        let (_, put) = restore(&shows(r#","groups":["g"]"#), &none);
        assert_eq!(put, [r#"{"groups":[]}"#]);
    }

    #[test]
    fn the_owner_of_before_is_known_by_name_or_by_number_and_another_is_refused() {
        for (owner, good) in [("Ann@home.example", true), ("c1", true), ("c2", false), ("who@where", false)] {
            let fields = format!(r#"{{"id":"{ID}","owner":"{owner}","name":"kitchen","groups":["eu","beta"]}}"#);
            let script = Script::new([Script::reply(200, &fields), list_with_owner(owner)]);
            let answer = script
                .api()
                .restore_attributes(&product(), &before(OwnerKind::Customer, "ann@home.example"));
            match answer {
                Answer::Accepted { .. } => assert!(good, "{owner}"),
                Answer::Refused { code, .. } => assert!(!good && code == Code::OwnerForeign, "{owner}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_refusal_quotes_nothing_and_ends_the_work() {
        let shown = || Script::reply(200, &format!(r#"{{"id":"{ID}"}}"#));
        let script = Script::new([shown(), Script::reply(400, r#"{"error":"kitchen is taken"}"#)]);
        let answer = script.api().restore_attributes(&product(), &before(OwnerKind::Nobody, ""));
        assert_eq!(
            answer,
            Answer::Refused {
                code: Code::CloudRefused,
                reason: "the cloud refused to put the name back".into()
            }
        );
        let script = Script::new([shown(), Script::reply(200, "{}"), Script::reply(500, "")]);
        let answer = script.api().restore_attributes(&product(), &before(OwnerKind::Nobody, ""));
        assert!(matches!(answer, Answer::Ambiguous { .. }), "repeated, it looks again");
        let script = Script::new([Script::reply(404, "{}")]);
        let answer = script.api().restore_attributes(&product(), &before(OwnerKind::Nobody, ""));
        assert_eq!(answer, absent());
    }
}
