//! What the cloud knows of a product.

use serde::Deserialize;
use serde_json::Value;

use super::{
    answer::{self, Deed},
    api::Api,
    device_object::{number, text},
    route::{self, ProductPath},
};
use crate::{
    edge::{Method, Request},
    model::{ProductId, outbox::Answer},
};

/// A product as the cloud describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudProduct {
    /// Its number: what [`product_id`](crate::model::outbox::CloudDevice::product_id) of its members says.
    pub id: u64,
    /// Its name in URLs.
    pub slug: Option<String>,
    /// The platform of its devices.
    pub platform_id: Option<u16>,
    /// Its name.
    pub name: Option<String>,
    /// `device_protection`; `disabled` is the only documented value.
    pub device_protection: Option<String>,
}

impl CloudProduct {
    /// True if protected devices may be in it; `None` if the cloud does not tell.
    pub fn takes_protected(&self) -> Option<bool> {
        self.device_protection.as_deref().map(|word| word != "disabled")
    }
}

impl Api {
    /// Looks a product up.
    ///
    /// # Errors
    /// The answer to the look; a product that is unknown or out of reach is a refusal.
    pub fn product(&self, product: &ProductId) -> Result<CloudProduct, Answer> {
        let path = ProductPath::new(product)?;
        let good = self.send(Request::new(Method::Get, route::product(path)), Deed::Look)?;
        let malformed = || answer::malformed("a product");
        let wire: Envelope = serde_json::from_slice(&good.body).map_err(|_| malformed())?;
        let wire = wire.product;
        Ok(CloudProduct {
            id: number(&wire.id).ok_or_else(malformed)?,
            slug: text(&wire.slug),
            platform_id: number(&wire.platform_id).and_then(|n| u16::try_from(n).ok()),
            name: text(&wire.name),
            device_protection: text(&wire.device_protection),
        })
    }
}

#[derive(Deserialize)]
struct Envelope {
    product: WireProduct,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireProduct {
    id: Value,
    slug: Value,
    platform_id: Value,
    name: Value,
    device_protection: Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cloud::scripted::Script, model::Code};

    #[test]
    fn a_product_is_read_and_an_unknown_one_is_refused() {
        let body = r#"{"product":{"id":1234,"platform_id":13,"name":"Pump","slug":"pump-v1","device_protection":"disabled","user":"x"}}"#;
        let script = Script::new([
            Script::reply(200, body),
            Script::reply(403, r#"{"ok":false,"error":"Permission denied"}"#),
            Script::reply(200, r#"{"product":{"name":"no id"}}"#),
        ]);
        let (api, id) = (script.api(), ProductId("pump-v1".into()));
        let product = api.product(&id).unwrap();
        assert_eq!(
            (product.id, product.platform_id, product.takes_protected()),
            (1234, Some(13), Some(false))
        );
        assert!(matches!(
            api.product(&id),
            Err(Answer::Refused {
                code: Code::CloudDenied,
                ..
            })
        ));
        assert!(matches!(api.product(&id), Err(Answer::Later { .. })));
        assert_eq!(format!("{:?}", script.take()[0]), "GET /v1/products/pump-v1");
    }
}
