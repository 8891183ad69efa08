//! Looks: what the cloud knows of a device. They change nothing, and they never use the look-up by
//! serial number, which is limited to 50 an hour (cloud-api.md 4.2).

use serde_json::Value;

use super::{
    answer::{self, Deed},
    api::Api,
    device_object::{Seen, WireCustomer, WireDevice, WireList},
    route::{self, ProductPath},
    words::{Words, sanitise},
};
use crate::{
    edge::{Method, Request},
    model::{
        DeviceId, ProductId, Secret, Wall,
        outbox::{Answer, CloudDevice, Looked},
    },
};

impl Api {
    /// Looks a device up: in its product if there is one, else by itself.
    ///
    /// A device that the product does not show is looked up by itself too, which tells whether it is in another product
    /// of the account or none. An owner who is not the station's account is looked for among the product's customers.
    pub fn look(&self, device: DeviceId, product: Option<&ProductId>) -> Looked {
        let Some(product) = product else {
            return looked(self.fetch(device, None));
        };
        let product = match ProductPath::new(product) {
            Ok(product) => product,
            Err(bad) => return Looked::Failed(bad.into()),
        };
        looked(match self.fetch(device, Some(product)) {
            Ok(Some(mut seen)) => self.settle_owner(product, device, &mut seen.device).map(|()| Some(seen)),
            Ok(None) => self.fetch(device, None),
            failed => failed,
        })
    }

    /// As [`Api::look`], in one request: without its owner's kind, and a device that is not in the product is unseen. For
    /// looks that are repeated.
    pub fn glance(&self, device: DeviceId, product: Option<&ProductId>) -> Looked {
        match product.map(ProductPath::new).transpose() {
            Ok(product) => looked(self.fetch(device, product)),
            Err(bad) => Looked::Failed(bad.into()),
        }
    }

    /// Asks the device itself whether it is there: `true` if it answered. It takes up to 30 s.
    ///
    /// # Errors
    /// The answer to the look.
    pub fn ping(&self, device: DeviceId, product: Option<&ProductId>) -> Result<bool, Answer> {
        let path = match product.map(ProductPath::new).transpose()? {
            None => route::ping(device),
            Some(product) => route::product_ping(product, device),
        };
        let good = self.send(Request::new(Method::Put, path), Deed::Look)?;
        let body: Value = serde_json::from_slice(&good.body).unwrap_or_default();
        let online = body.get("online").and_then(Value::as_bool);
        online.ok_or_else(|| answer::malformed("an answer to a ping"))
    }

    /// One request for a device object, by the product's path or by the device's own. `None` if the cloud does not show
    /// the device to this token.
    pub(super) fn fetch(&self, device: DeviceId, product: Option<ProductPath<'_>>) -> Result<Option<Seen>, Answer> {
        let path = product.map_or_else(|| route::device(device), |product| route::product_device(product, device));
        let (end, token) = self.exchange(Request::new(Method::Get, path))?;
        // "Not yours" and "unknown" are the same 403 in the cloud, and 404 on open servers. A page of a proxy is neither.
        let unseen = end.as_ref().is_ok_and(|response| {
            matches!(response.status, 403 | 404) && (response.body.is_empty() || Words::of(&response.body, "").json)
        });
        match answer::sort(end, Deed::Look, token.expose()) {
            Ok(good) => match WireDevice::read(&good, device) {
                Some(seen) => Ok(Some(seen)),
                None => Err(answer::malformed("the device that was asked for")),
            },
            Err(Answer::Refused { .. }) if unseen => Ok(None),
            Err(answer) => Err(answer),
        }
    }

    /// True if this is the name of the station's account.
    pub(super) fn is_account(&self, name: &str) -> bool {
        self.account().is_some_and(|account| account.eq_ignore_ascii_case(name))
    }

    /// The name of the customer whom the cloud calls `owner`; `None` if the device's owner is no customer.
    pub(super) fn customer_of(
        &self,
        product: ProductPath<'_>,
        device: DeviceId,
        owner: &str,
    ) -> Result<Option<Secret<String>>, Answer> {
        let listed = self.listed(product, device)?;
        let Some((_, customers)) = listed else {
            return Err(answer::malformed(
                "a list with the device in it: its owner cannot be told from a customer",
            ));
        };
        Ok(customers.iter().find(|c| c.is(owner)).and_then(WireCustomer::name))
    }

    /// A device in the list of its product, with the customers of its page. `None` says that the token may list the
    /// product and that the device is not in it: more than an unseen object, which may be one that the token may not see.
    pub(super) fn listed(&self, product: ProductPath<'_>, device: DeviceId) -> Result<Option<(Seen, Vec<WireCustomer>)>, Answer> {
        for page in 1..=MOST_PAGES {
            let (list, at) = self.list_page(product, device, page)?;
            // The filter matches parts of ids, so the exact one is looked for; its page has its customer.
            if let Some(found) = list.devices.iter().find(|found| found.is(device)) {
                return Ok(Some((found.seen(at), list.customers)));
            }
            if page >= list.meta.total_pages() {
                return Ok(None);
            }
        }
        Err(answer::malformed("a list that ends"))
    }

    /// Says whether the owner is a customer, and names a customer that the device shows only by a number.
    fn settle_owner(&self, product: ProductPath<'_>, device: DeviceId, seen: &mut CloudDevice) -> Result<(), Answer> {
        let Some(owner) = seen.owner.as_deref().filter(|owner| !self.is_account(owner)) else {
            return Ok(());
        };
        if let Some(name) = self.customer_of(product, device, owner)? {
            seen.owner_is_customer = true;
            seen.owner = Some(sanitise(name.expose()));
        }
        Ok(())
    }

    fn list_page(&self, product: ProductPath<'_>, device: DeviceId, page: u64) -> Result<(WireList, Option<Wall>), Answer> {
        let mut request = Request::new(Method::Get, route::product_devices(product));
        request.query = vec![("deviceId".to_owned(), device.to_string())];
        request.query.extend(page_query(page, PER_PAGE));
        let good = self.send(request, Deed::Look)?;
        match serde_json::from_slice(&good.body) {
            Ok(list) => Ok((list, good.at)),
            Err(_) => Err(answer::malformed("a list of devices")),
        }
    }
}

/// Asks for a page: the documents say perPage, the vendor's own clients send per_page, so both.
pub(super) fn page_query(page: u64, per_page: &str) -> [(String, String); 3] {
    [
        ("page", page.to_string()),
        ("perPage", per_page.to_owned()),
        ("per_page", per_page.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

fn looked(fetched: Result<Option<Seen>, Answer>) -> Looked {
    match fetched {
        Ok(Some(Seen { device, at, .. })) => Looked::Device { device, at },
        Ok(None) => Looked::Unseen,
        Err(answer) => Looked::Failed(answer),
    }
}

/// A whole id matches one device, so one small page is enough; more are read only if the cloud insists.
const PER_PAGE: &str = "25";
const MOST_PAGES: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cloud::scripted::Script, model::Code};

    const ID: &str = "1d0034000fffffffffff3933";

    fn look(script: &Script, product: Option<&str>) -> Looked {
        let product = product.map(|p| ProductId(p.into()));
        script.api().look(ID.parse().unwrap(), product.as_ref())
    }

    fn seen(looked: Looked) -> CloudDevice {
        match looked {
            Looked::Device { device, .. } => device,
            other => panic!("{other:?}"),
        }
    }

    fn paths(script: &Script) -> Vec<String> {
        script.take().iter().map(|r| format!("{r:?}")).collect()
    }

    fn device(fields: &str) -> String {
        format!(r#"{{"id":"{}"{fields}}}"#, ID.to_uppercase())
    }

    #[test]
    fn a_development_device_is_looked_up_by_itself() {
        let body = device(
            r#","product_id":6,"platform_id":6,"online":true,"last_handshake_at":"2026-11-23T09:59:58.123Z",
               "name":null,"functions":null,"quarantined":false,"novel":{"x":[1]}"#,
        );
        let script = Script::new([Script::reply(200, &body)]);
        let Looked::Device { device, at } = look(&script, None) else {
            panic!("seen");
        };
        assert_eq!(at, Wall::parse("2026-11-23T10:00:00Z"));
        assert_eq!(
            device,
            CloudDevice {
                product_id: Some(6),
                platform_id: Some(6),
                last_handshake_at: Wall::parse("2026-11-23T09:59:58.123Z"),
                online: Some(true),
                quarantined: Some(false),
                ..CloudDevice::default()
            }
        );
        assert_eq!(paths(&script), [format!("GET /v1/devices/{ID}")]);
    }

    #[test]
    fn fields_of_another_type_count_as_absent_and_old_names_count() {
        let body =
            device(r#","product_id":"1234","platform_id":99999,"owner":"","connected":true,"last_handshake_at":5,"denied":"no""#);
        let device = seen(look(&Script::new([Script::reply(200, &body)]), None));
        assert_eq!(device.product_id, Some(1234));
        assert_eq!(
            (device.platform_id, device.owner, device.last_handshake_at, device.denied),
            (None, None, None, None)
        );
        assert_eq!(device.online, Some(true));
    }

    #[test]
    fn an_unclaimed_product_device_takes_one_request() {
        let script = Script::new([Script::reply(200, &device(r#","product_id":1234"#))]);
        assert_eq!(seen(look(&script, Some("1234"))).product_id, Some(1234));
        assert_eq!(paths(&script), [format!("GET /v1/products/1234/devices/{ID}")]);
    }

    #[test]
    fn a_device_outside_of_the_product_is_looked_up_by_itself() {
        let script = Script::new([
            Script::reply(404, r#"{"error":"not found"}"#),
            Script::reply(200, &device(r#","product_id":13"#)),
        ]);
        assert_eq!(seen(look(&script, Some("1234"))).product_id, Some(13));
        assert_eq!(
            paths(&script),
            [format!("GET /v1/products/1234/devices/{ID}"), format!("GET /v1/devices/{ID}")]
        );
        let denied = || {
            Script::reply(
                403,
                r#"{"error":"Permission Denied","info":"I didn't recognize that device"}"#,
            )
        };
        assert_eq!(look(&Script::new([denied(), denied()]), Some("1234")), Looked::Unseen);
    }

    #[test]
    fn a_failed_look_is_never_taken_for_an_absent_device() {
        for (end, word) in [
            (Script::reply(401, ""), "Auth"),
            (Script::reply(403, "<html>blocked by the proxy"), "Refused"),
            (Script::reply(404, "<html>"), "Refused"),
            (Script::reply(403, r#"{"error":"invalid_token"}"#), "Auth"),
            (Script::reply(500, ""), "Later"),
            (Script::reply(429, ""), "Later"),
            (Script::reply(200, "<html>"), "Later"),
            (Script::reply(200, r#"{"id":"000000000000000000000001"}"#), "Later"),
            (Script::reply(200, "{}"), "Later"),
            (Script::reply(400, r#"{"error":"unauthorized"}"#), "CloudDenied"),
        ] {
            let what = format!("{end:?}");
            let looked = look(&Script::new([end]), None);
            assert!(
                matches!(&looked, Looked::Failed(answer) if format!("{answer:?}").contains(word)),
                "{what} -> {looked:?}"
            );
        }
    }

    #[test]
    fn the_own_account_needs_no_look_at_the_customers() {
        let script = Script::new([Script::reply(200, &device(r#","owner":"Me@shop.example""#))]);
        let api = script.api();
        api.set_account("me@shop.example");
        let device = seen(api.look(ID.parse().unwrap(), Some(&ProductId("1".into()))));
        assert!(!device.owner_is_customer);
        assert_eq!(script.sent(), 1);
    }

    #[test]
    fn a_customer_is_found_by_name_or_by_number_and_named() {
        let list = format!(
            r#"{{"devices":[{{"id":"{ID}"}}],"customers":[{{"id":"c77","username":"ann@home.example"}}],"meta":{{"total_pages":1}}}}"#
        );
        for (owner, customer) in [("ann@home.example", true), ("c77", true), ("team@shop.example", false)] {
            let script = Script::new([
                Script::reply(200, &device(&format!(r#","owner":"{owner}""#))),
                Script::reply(200, &list),
            ]);
            let device = seen(look(&script, Some("1234")));
            assert_eq!(device.owner_is_customer, customer, "{owner}");
            let name = if customer { "ann@home.example" } else { owner };
            assert_eq!(device.owner.as_deref(), Some(name));
            let query = &script.take()[1].query;
            let query: Vec<_> = query.iter().map(|(n, v)| format!("{n}={v}")).collect();
            assert_eq!(query.join("&"), format!("deviceId={ID}&page=1&perPage=25&per_page=25"));
        }
    }

    #[test]
    fn an_owner_is_no_stranger_to_the_customers_until_the_device_was_in_the_list() {
        let partial = r#"{"devices":[{"id":"1d0034000fffffffffff393300"}],"customers":[],"meta":{"total_pages":2}}"#;
        let owned = || Script::reply(200, &device(r#","owner":"x@y.z""#));
        let found = format!(r#"{{"devices":[{{"id":"{ID}"}}],"customers":[],"meta":{{"total_pages":2}}}}"#);
        let script = Script::new([owned(), Script::reply(200, partial), Script::reply(200, &found)]);
        assert!(!seen(look(&script, Some("1"))).owner_is_customer);
        let script = Script::new([owned(), Script::reply(200, r#"{"devices":[]}"#)]);
        assert!(matches!(look(&script, Some("1")), Looked::Failed(Answer::Later { .. })));
        let script = Script::new([owned(), Script::reply(403, r#"{"error":"Permission Denied"}"#)]);
        assert!(matches!(
            look(&script, Some("1")),
            Looked::Failed(Answer::Refused {
                code: Code::CloudDenied,
                ..
            })
        ));
    }

    #[test]
    fn a_ping_tells_what_the_device_said() {
        let script = Script::new([
            Script::reply(200, r#"{"online":true,"ok":true}"#),
            Script::reply(200, r#"{"online":false,"ok":true}"#),
            Script::reply(408, r#"{"ok":false,"error":"timed out"}"#),
            Script::reply(200, "{}"),
        ]);
        let (api, id, product) = (script.api(), ID.parse().unwrap(), ProductId("p".into()));
        assert_eq!(api.ping(id, Some(&product)), Ok(true));
        assert_eq!(api.ping(id, None), Ok(false));
        assert!(matches!(api.ping(id, None), Err(Answer::Later { .. })));
        assert!(api.ping(id, None).is_err());
        assert_eq!(paths(&script)[0], "PUT /v1/products/p/devices/1d0034000fffffffffff3933/ping");
    }

    #[test]
    fn a_list_that_never_ends_or_is_none_says_nothing() {
        let endless = || Script::reply(200, r#"{"devices":[],"meta":{"total_pages":9}}"#);
        let script = Script::new([endless(), endless(), endless(), endless(), endless()]);
        let (product, id) = (ProductId("1".into()), ID.parse().unwrap());
        let path = ProductPath::new(&product).unwrap();
        assert!(script.api().listed(path, id).is_err());
        for body in ["{}", "[]", "<html>", r#"{"devices":null}"#, r#"{"customers":[]}"#] {
            let script = Script::new([Script::reply(200, body)]);
            assert!(matches!(script.api().listed(path, id), Err(Answer::Later { .. })), "{body}");
        }
        let script = Script::new([Script::reply(200, r#"{"devices":[]}"#)]);
        assert!(matches!(script.api().listed(path, id), Ok(None)));
    }

    #[test]
    fn a_glance_is_one_request_whatever_it_finds() {
        let script = Script::new([
            Script::reply(200, &device(r#","owner":"who@where""#)),
            Script::reply(404, "{}"),
            Script::reply(200, &device("")),
        ]);
        let (api, id, product) = (script.api(), ID.parse().unwrap(), ProductId("1".into()));
        assert!(matches!(api.glance(id, Some(&product)), Looked::Device { .. }));
        assert_eq!(api.glance(id, Some(&product)), Looked::Unseen);
        assert!(matches!(api.glance(id, None), Looked::Device { .. }));
        assert_eq!(script.sent(), 3);
    }
}
