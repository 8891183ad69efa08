//! Looks: what the cloud knows of a device. They change nothing, and they never use the look-up by
//! serial number, which is limited to 50 an hour (cloud-api.md 4.2).

use serde::Deserialize;
use serde_json::Value;

use super::{
    answer::{self, Deed, Good},
    api::Api,
    route::{self, ProductPath},
    words::Words,
};
use crate::{
    edge::{Method, Request},
    model::{
        DeviceId, ProductId, Wall,
        outbox::{Answer, CloudDevice, Looked},
    },
};

impl Api {
    /// Looks a device up: in its product if there is one, else by itself.
    ///
    /// A device that the product does not show is looked up by itself too, which tells whether it is in another product
    /// of the account or none. An owner who is not the station's account is looked for among the product's customers.
    pub fn look(&self, device: DeviceId, product: Option<&ProductId>) -> Looked {
        let alone = route::device(device);
        let Some(product) = product else {
            return self.look_at(device, alone);
        };
        let product = match ProductPath::new(product) {
            Ok(product) => product,
            Err(error) => return Looked::Failed(answer::withheld(error.to_string())),
        };
        match self.look_at(device, route::product_device(product, device)) {
            Looked::Device { device: mut seen, at } => match self.settle_owner(product, device, &mut seen) {
                Ok(()) => Looked::Device { device: seen, at },
                Err(answer) => Looked::Failed(answer),
            },
            Looked::Unseen => self.look_at(device, alone),
            failed @ Looked::Failed(_) => failed,
        }
    }

    /// As [`Api::look`], in one request: without its owner's kind, and a device that is not in the product is unseen. For
    /// looks that are repeated.
    pub fn glance(&self, device: DeviceId, product: Option<&ProductId>) -> Looked {
        match product.map(ProductPath::new) {
            None => self.look_at(device, route::device(device)),
            Some(Ok(product)) => self.look_at(device, route::product_device(product, device)),
            Some(Err(error)) => Looked::Failed(answer::withheld(error.to_string())),
        }
    }

    fn look_at(&self, device: DeviceId, path: String) -> Looked {
        let (end, token) = match self.exchange(Request::new(Method::Get, path)) {
            Ok(exchanged) => exchanged,
            Err(answer) => return Looked::Failed(answer),
        };
        // "Not yours" and "unknown" are the same 403 in the cloud, and 404 on open servers. A page of a proxy is neither.
        let unseen = end.as_ref().is_ok_and(|response| {
            matches!(response.status, 403 | 404) && (response.body.is_empty() || Words::of(&response.body, "").json)
        });
        match answer::sort(end, Deed::Look, token.expose()) {
            Ok(good) => match parse_device(&good, device) {
                Some(seen) => Looked::Device {
                    device: seen,
                    at: good.at,
                },
                None => Looked::Failed(answer::malformed("the device that was asked for")),
            },
            Err(Answer::Refused { .. }) if unseen => Looked::Unseen,
            Err(answer) => Looked::Failed(answer),
        }
    }

    /// Says whether the owner is a customer, and names a customer that the device shows only by a number.
    fn settle_owner(&self, product: ProductPath<'_>, device: DeviceId, seen: &mut CloudDevice) -> Result<(), Answer> {
        let Some(owner) = seen.owner.clone() else {
            return Ok(());
        };
        if self.account().is_some_and(|account| account.eq_ignore_ascii_case(&owner)) {
            return Ok(());
        }
        for page in 1..=MOST_PAGES {
            let list = self.list_page(product, device, page)?;
            let is_owner = |said: &Value| text(said).is_some_and(|said| said.eq_ignore_ascii_case(&owner));
            if let Some(customer) = list.customers.iter().find(|c| is_owner(&c.id) || is_owner(&c.username)) {
                seen.owner_is_customer = true;
                seen.owner = text(&customer.username).or(Some(owner));
                return Ok(());
            }
            // The filter matches parts of ids, so the exact one is looked for; its page has its customer.
            if list.devices.iter().any(|d| is_id(&d.id, device)) {
                return Ok(());
            }
            if page >= number(&list.meta.total_pages).unwrap_or(1) {
                break;
            }
        }
        Err(answer::malformed(
            "a list with the device in it: its owner cannot be told from a customer",
        ))
    }

    fn list_page(&self, product: ProductPath<'_>, device: DeviceId, page: u64) -> Result<WireList, Answer> {
        let mut request = Request::new(Method::Get, route::product_devices(product));
        // The documents say perPage, the vendor's own clients send per_page: both.
        request.query = [
            ("deviceId", device.to_string()),
            ("page", page.to_string()),
            ("perPage", PER_PAGE.into()),
            ("per_page", PER_PAGE.into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let good = self.send(request, Deed::Look)?;
        serde_json::from_slice(&good.body).map_err(|_| answer::malformed("a list of devices"))
    }
}

/// Reads a device object; `None` if it is not about the device that was asked for. Every field but the id is optional,
/// and one of an unexpected type counts as absent.
fn parse_device(good: &Good, asked: DeviceId) -> Option<CloudDevice> {
    let wire: WireDevice = serde_json::from_slice(&good.body).ok()?;
    if !is_id(&wire.id, asked) {
        return None;
    }
    Some(CloudDevice {
        product_id: number(&wire.product_id),
        platform_id: number(&wire.platform_id).and_then(|n| u16::try_from(n).ok()),
        owner: text(&wire.owner),
        owner_is_customer: false,
        last_handshake_at: wire.last_handshake_at.as_str().and_then(Wall::parse),
        online: wire.online.as_bool().or(wire.connected.as_bool()),
        quarantined: wire.quarantined.as_bool(),
        denied: wire.denied.as_bool(),
    })
}

fn is_id(value: &Value, device: DeviceId) -> bool {
    value.as_str().is_some_and(|id| id.trim().parse() == Ok(device))
}

/// A text, or a number as text; nothing for an empty one.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(super::words::sanitise(text)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireDevice {
    id: Value,
    product_id: Value,
    platform_id: Value,
    owner: Value,
    last_handshake_at: Value,
    online: Value,
    connected: Value,
    quarantined: Value,
    denied: Value,
}

#[derive(Deserialize)]
struct WireList {
    #[serde(default)]
    devices: Vec<WireDevice>,
    #[serde(default)]
    customers: Vec<WireCustomer>,
    #[serde(default)]
    meta: WireMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireCustomer {
    id: Value,
    username: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireMeta {
    total_pages: Value,
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
