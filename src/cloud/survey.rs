//! The survey of a repair: one look that says everything which decides what is wrong and what may be done about it.
//! It changes nothing.

use super::{api::Api, device_object::Seen, route::ProductPath};
use crate::model::{
    DeviceId, ProductId, RestoreData, Secret,
    outbox::{Answer, CloudDevice},
    survey::{Membership, OwnerKind, Shown, Survey},
};

/// What a survey brought: a part for the record, and a part for the sealed file.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// What may go on record.
    pub survey: Survey,
    /// What the device must get back if it is taken from its owner or moved; there whenever it was seen.
    pub restore: Option<RestoreData>,
}

/// An owner's kind and name.
type Holder = (OwnerKind, Option<Secret<String>>);

impl Api {
    /// Looks at a device from every side that decides its repair: in `product` if it is there, else in the product in
    /// which the cloud shows it, else by itself. `from` are the products from which it may be moved.
    ///
    /// An unclaimed device in the given product takes one request, one of the own account as well, one of a customer two,
    /// one of somebody else three; without a product there is one more. In another product there are two more, and one
    /// for each of `from` that is named by its slug.
    pub fn survey(&self, device: DeviceId, product: Option<&ProductId>, from: &[ProductId]) -> Surveyed {
        self.try_survey(device, product, from).unwrap_or_else(|answer| Surveyed {
            survey: Survey::Failed(answer),
            restore: None,
        })
    }

    fn try_survey(&self, device: DeviceId, product: Option<&ProductId>, from: &[ProductId]) -> Result<Surveyed, Answer> {
        if let Some(product) = product
            && let Some(seen) = self.fetch(device, Some(ProductPath::new(product)?))?
        {
            return self.in_product(device, product, seen);
        }
        let Some(seen) = self.fetch(device, None)? else {
            return Ok(Surveyed {
                survey: Survey::Unseen,
                restore: None,
            });
        };
        let membership = membership(&seen.device);
        if let Membership::Product { id } = membership {
            let number = ProductId(id.to_string());
            if let Some(seen) = self.fetch(device, Some(ProductPath::new(&number)?))? {
                let mut surveyed = self.in_product(device, &number, seen)?;
                if let Survey::Seen(shown) = &mut surveyed.survey {
                    shown.movable = product.is_some() && self.is_in(device, &number, from)?;
                }
                return Ok(surveyed);
            }
        }
        let place = Place {
            device,
            membership,
            product: membership.product(),
            in_reach: false,
        };
        Ok(place.surveyed(self.holder_outside(&seen, membership), seen))
    }

    /// True if the product of a device, by its number, is one of these: a slug is compared by a look.
    fn is_in(&self, device: DeviceId, number: &ProductId, products: &[ProductId]) -> Result<bool, Answer> {
        if products.contains(number) {
            return Ok(true);
        }
        for slug in products.iter().filter(|product| product.0.parse::<u64>().is_err()) {
            if self.fetch(device, Some(ProductPath::new(slug)?))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A device that its product shows.
    fn in_product(&self, device: DeviceId, product: &ProductId, seen: Seen) -> Result<Surveyed, Answer> {
        let holder = self.holder(device, product, &seen)?;
        let number = seen.device.product_id.or_else(|| product.0.parse().ok());
        let membership = match (membership(&seen.device), number) {
            // In the product's quarantine: not a member yet.
            (Membership::Development, _) => Membership::Development,
            (_, Some(id)) => Membership::Product { id },
            (_, None) => Membership::Unknown,
        };
        let product = match membership {
            Membership::Unknown => Some(product.clone()),
            known => known.product(),
        };
        let place = Place {
            device,
            membership,
            product,
            in_reach: true,
        };
        Ok(place.surveyed(holder, seen))
    }

    fn holder(&self, device: DeviceId, product: &ProductId, seen: &Seen) -> Result<Holder, Answer> {
        let Some(owner) = &seen.private.owner else {
            return Ok((OwnerKind::Nobody, None));
        };
        let name = owner.expose();
        if self.is_account(name) {
            return Ok((OwnerKind::Account, Some(owner.clone())));
        }
        // What is in quarantine is not in the list of devices, and no customer can have it.
        if seen.device.quarantined != Some(true)
            && let Some(customer) = self.customer_of(ProductPath::new(product)?, device, name)?
        {
            return Ok((OwnerKind::Customer, Some(customer)));
        }
        let kind = match self.team(product) {
            Ok(team) if team.iter().any(|member| member.is(name)) => OwnerKind::Team,
            // The account itself need not be in the team: without its name nobody is called a stranger.
            Ok(_) if self.account().is_some() => OwnerKind::Stranger,
            Ok(_) | Err(Answer::Refused { .. }) => OwnerKind::Unknown,
            Err(answer) => return Err(answer),
        };
        Ok((kind, Some(owner.clone())))
    }

    /// The owner of a device that no product shows to this token. The cloud shows a development device to nobody but its
    /// owner, and names owners only in products.
    fn holder_outside(&self, seen: &Seen, membership: Membership) -> Holder {
        let owner = seen.private.owner.clone();
        let kind = match (&owner, membership) {
            (Some(name), _) if self.is_account(name.expose()) => OwnerKind::Account,
            (None, Membership::Development) => OwnerKind::Account,
            (Some(_), Membership::Development) if self.account().is_some() => OwnerKind::Stranger,
            _ => OwnerKind::Unknown,
        };
        let own = || self.account().filter(|_| kind == OwnerKind::Account).map(Secret::new);
        (kind, owner.or_else(own))
    }
}

fn membership(device: &CloudDevice) -> Membership {
    match (device.product_id, device.platform_id) {
        (Some(product), Some(platform)) if product == u64::from(platform) => Membership::Development,
        (Some(id), Some(_)) => Membership::Product { id },
        // Without the platform a small number may be either.
        _ => Membership::Unknown,
    }
}

/// A device and where it was seen.
struct Place {
    device: DeviceId,
    membership: Membership,
    product: Option<ProductId>,
    in_reach: bool,
}

impl Place {
    fn surveyed(self, (owner, owner_name): Holder, seen: Seen) -> Surveyed {
        let shown = Shown {
            membership: self.membership,
            in_reach: self.in_reach,
            platform_id: seen.device.platform_id,
            owner,
            last_handshake_at: seen.device.last_handshake_at,
            online: seen.device.online,
            last_heard: seen.last_heard,
            quarantined: seen.device.quarantined,
            denied: seen.device.denied,
            protection: seen.protection,
            status: seen.status,
            at: seen.at,
            movable: false,
        };
        let restore = RestoreData {
            device: self.device,
            product: self.product,
            owner,
            owner_name,
            name: seen.private.name,
            notes: seen.private.notes,
            groups: seen.private.groups,
        };
        Surveyed {
            survey: Survey::Seen(shown),
            restore: Some(restore),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::scripted::{ID, Script, list_with_owner},
        model::Code,
    };

    fn survey(script: &Script, account: Option<&str>, product: Option<&str>) -> Surveyed {
        let (api, product) = (script.api(), product.map(|product| ProductId(product.into())));
        if let Some(account) = account {
            api.set_account(account);
        }
        api.survey(
            ID.parse().unwrap(),
            product.as_ref(),
            &[ProductId("99".into()), ProductId("old-pump".into())],
        )
    }

    fn shown(surveyed: &Surveyed) -> &Shown {
        match &surveyed.survey {
            Survey::Seen(shown) => shown,
            other => panic!("{other:?}"),
        }
    }

    fn owner(surveyed: &Surveyed) -> (OwnerKind, Option<&str>) {
        let restore = surveyed.restore.as_ref().unwrap();
        assert_eq!(shown(surveyed).owner, restore.owner);
        (restore.owner, restore.owner_name.as_ref().map(|name| name.expose().as_str()))
    }

    fn device(fields: &str) -> String {
        format!(r#"{{"id":"{ID}","platform_id":13{fields}}}"#)
    }

    fn seen(fields: &str) -> Result<crate::edge::Response, crate::edge::HttpError> {
        Script::reply(200, &device(fields))
    }

    fn denied() -> Result<crate::edge::Response, crate::edge::HttpError> {
        Script::reply(403, r#"{"error":"Permission Denied"}"#)
    }

    fn paths(script: &Script) -> Vec<String> {
        let short = |path: String| path.replace(ID, "ID").replace("/v1/", "");
        script.take().iter().map(|r| short(format!("{r:?}"))).collect()
    }

    const TEAM: &str = r#"{"team":[{"username":"boss@shop.example"}]}"#;

    #[test]
    fn one_look_says_everything_and_nothing_of_it_names_a_person() {
        let fields = r#","product_id":1234,"owner":"Me@shop.example","name":"kitchen","notes":"for bob\n2nd","groups":["eu"],
            "online":true,"last_heard":"2026-11-23T09:59:59.000Z","last_handshake_at":"2026-11-20T00:00:00.000Z",
            "quarantined":false,"denied":false,"device_protection":{"status":"active"},"status":"safe_mode""#;
        let script = Script::new([seen(fields)]);
        let surveyed = survey(&script, Some("me@shop.example"), Some("pump"));
        assert_eq!(paths(&script), ["GET products/pump/devices/ID"]);
        assert_eq!(
            surveyed.survey,
            Survey::Seen(Shown {
                membership: Membership::Product { id: 1234 },
                in_reach: true,
                platform_id: Some(13),
                owner: OwnerKind::Account,
                last_handshake_at: crate::model::Wall::parse("2026-11-20T00:00:00Z"),
                online: Some(true),
                last_heard: crate::model::Wall::parse("2026-11-23T09:59:59Z"),
                quarantined: Some(false),
                denied: Some(false),
                protection: Some("active".into()),
                status: Some("safe_mode".into()),
                at: crate::model::Wall::parse("2026-11-23T10:00:00Z"),
                movable: false,
            })
        );
        let restore = surveyed.restore.as_ref().unwrap();
        assert_eq!(restore.notes.as_ref().unwrap().expose(), "for bob\n2nd");
        assert_eq!(restore.product, Some(ProductId("1234".into())));
        let record = serde_json::to_string(&surveyed.survey).unwrap() + &format!("{surveyed:?}");
        for word in ["shop", "kitchen", "bob", "eu\""] {
            assert!(!record.contains(word), "{word} in {record}");
        }
    }

    #[test]
    fn every_kind_of_owner_in_a_product() {
        let me = Some("me@shop.example");
        let team = || Script::reply(200, TEAM);
        for (name, account, team, kind, requests) in [
            ("", me, None, OwnerKind::Nobody, 1),
            ("me@shop.example", me, None, OwnerKind::Account, 1),
            ("ann@home.example", me, None, OwnerKind::Customer, 2),
            ("c1", me, None, OwnerKind::Customer, 2),
            ("boss@shop.example", me, Some(team()), OwnerKind::Team, 3),
            ("who@where.example", me, Some(team()), OwnerKind::Stranger, 3),
            ("who@where.example", None, Some(team()), OwnerKind::Unknown, 3),
            ("who@where.example", me, Some(denied()), OwnerKind::Unknown, 3),
        ] {
            let fields = match name {
                "" => r#","product_id":1234,"owner":null"#.to_owned(),
                name => format!(r#","product_id":1234,"owner":"{name}""#),
            };
            let script = Script::new([
                seen(&fields),
                list_with_owner(name),
                team.unwrap_or_else(|| Script::reply(500, "")),
            ]);
            let surveyed = survey(&script, account, Some("1234"));
            let name = match name {
                "c1" => Some("ann@home.example"),
                "" => None,
                name => Some(name),
            };
            assert_eq!(owner(&surveyed), (kind, name));
            assert_eq!(script.sent(), requests, "{kind}");
        }
    }

    #[test]
    fn the_product_is_found_by_the_device() {
        let script = Script::new([seen(r#","product_id":1234"#), seen(r#","product_id":1234"#)]);
        let surveyed = survey(&script, None, None);
        assert_eq!(owner(&surveyed), (OwnerKind::Nobody, None));
        assert!(shown(&surveyed).in_reach);
        assert_eq!(paths(&script), ["GET devices/ID", "GET products/1234/devices/ID"]);

        let script = Script::new([denied(), seen(r#","product_id":99"#), seen(r#","product_id":99"#)]);
        let surveyed = survey(&script, None, Some("1234"));
        assert_eq!(shown(&surveyed).membership, Membership::Product { id: 99 });
        assert!(shown(&surveyed).movable);
        assert_eq!(
            paths(&script),
            ["GET products/1234/devices/ID", "GET devices/ID", "GET products/99/devices/ID"]
        );
    }

    #[test]
    fn a_product_from_which_devices_are_moved_may_be_named_by_its_slug() {
        let elsewhere = || seen(r#","product_id":77"#);
        for (slug, movable) in [(elsewhere(), true), (denied(), false)] {
            let script = Script::new([denied(), elsewhere(), elsewhere(), slug]);
            let surveyed = survey(&script, None, Some("1234"));
            assert_eq!(
                (shown(&surveyed).membership, shown(&surveyed).movable),
                (Membership::Product { id: 77 }, movable)
            );
            assert_eq!(
                paths(&script)[2..],
                ["GET products/77/devices/ID", "GET products/old-pump/devices/ID"]
            );
        }
    }

    #[test]
    fn a_development_device_is_shown_to_its_owner_only() {
        let me = Some("me@shop.example");
        for (fields, account, expected) in [
            ("", me, (OwnerKind::Account, me)),
            ("", None, (OwnerKind::Account, None)),
            (
                r#","owner":"ME@shop.example""#,
                me,
                (OwnerKind::Account, Some("ME@shop.example")),
            ),
            (r#","owner":"x@y.z""#, me, (OwnerKind::Stranger, Some("x@y.z"))),
            (r#","owner":"x@y.z""#, None, (OwnerKind::Unknown, Some("x@y.z"))),
        ] {
            let script = Script::new([seen(&format!(r#","product_id":13{fields}"#))]);
            let surveyed = survey(&script, account, None);
            assert_eq!(owner(&surveyed), expected);
            assert_eq!(shown(&surveyed).membership, Membership::Development);
            assert!(!shown(&surveyed).in_reach && surveyed.restore.unwrap().product.is_none());
        }
    }

    #[test]
    fn a_product_out_of_reach_is_said_and_its_owner_is_not_guessed() {
        for (fields, kind) in [
            ("", OwnerKind::Unknown),
            (r#","owner":"me@shop.example""#, OwnerKind::Account),
        ] {
            let script = Script::new([seen(&format!(r#","product_id":99{fields}"#)), denied()]);
            let surveyed = survey(&script, Some("me@shop.example"), None);
            assert_eq!(owner(&surveyed).0, kind);
            assert_eq!(shown(&surveyed).membership, Membership::Product { id: 99 });
            assert!(!shown(&surveyed).in_reach);
            assert_eq!(surveyed.restore.unwrap().product, Some(ProductId("99".into())));
        }
    }

    #[test]
    fn what_is_in_quarantine_is_not_looked_for_among_the_members() {
        let fields = r#","product_id":13,"quarantined":true,"owner":"who@where.example""#;
        let script = Script::new([seen(fields), Script::reply(200, TEAM)]);
        let surveyed = survey(&script, Some("me@shop.example"), Some("1234"));
        assert_eq!(owner(&surveyed).0, OwnerKind::Stranger);
        assert_eq!(shown(&surveyed).membership, Membership::Development);
        assert!(shown(&surveyed).in_reach && surveyed.restore.unwrap().product.is_none());
    }

    #[test]
    fn a_device_whose_product_is_not_told_is_in_the_one_that_shows_it() {
        for (product, membership) in [("1234", Membership::Product { id: 1234 }), ("pump", Membership::Unknown)] {
            let surveyed = survey(&Script::new([seen("")]), None, Some(product));
            assert_eq!(shown(&surveyed).membership, membership);
            assert_eq!(surveyed.restore.unwrap().product, Some(ProductId(product.into())));
        }
        let bare = Script::new([Script::reply(200, &format!(r#"{{"id":"{ID}","product_id":13}}"#))]);
        assert_eq!(shown(&survey(&bare, None, None)).membership, Membership::Unknown);
    }

    #[test]
    fn unseen_is_a_finding_and_a_failure_is_none() {
        let unseen = survey(&Script::new([denied(), denied()]), None, Some("1234"));
        assert_eq!(unseen.survey, Survey::Unseen);
        assert!(unseen.restore.is_none());
        let member = || seen(r#","product_id":1234,"owner":"who@where.example""#);
        for script in [
            Script::new([Script::reply(500, "")]),
            Script::new([denied(), Script::reply(429, "")]),
            Script::new([member(), Script::reply(502, "")]),
            Script::new([member(), list_with_owner("x"), Script::reply(503, "")]),
        ] {
            let failed = survey(&script, None, Some("1234"));
            assert!(
                matches!(failed.survey, Survey::Failed(Answer::Later { .. })),
                "{:?}",
                failed.survey
            );
            assert!(failed.restore.is_none());
        }
        let bad = survey(&Script::new([]), None, Some("../x"));
        assert!(matches!(
            bad.survey,
            Survey::Failed(Answer::Refused {
                code: Code::Internal,
                ..
            })
        ));
    }
}
