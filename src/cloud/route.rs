//! The paths of the API. One function for each, because a missing segment is another deed: `DELETE …/devices/ID/owner`
//! releases a device, `DELETE …/devices/ID` takes it out of its product (cloud-api.md 3.7).

use crate::model::{DeviceId, ProductId};

/// A product as one path segment: its number or its slug, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductPath<'a>(&'a str);

/// A product id that cannot be a segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a product number or slug")]
pub struct BadProduct(pub String);

impl<'a> ProductPath<'a> {
    /// Accepts letters, digits, `-`, `_` and `.`, with at least one that is not a dot: nothing that needs encoding,
    /// and nothing that makes another path.
    ///
    /// # Errors
    /// Anything else, with the id as it came.
    pub fn new(product: &'a ProductId) -> Result<Self, BadProduct> {
        let text = product.0.as_str();
        let fits = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits && text.bytes().any(|b| b != b'.') {
            Ok(Self(text))
        } else {
            Err(BadProduct(super::words::sanitise(text)))
        }
    }
}

/// Minting tokens (POST, form only).
pub fn oauth_token() -> String {
    "/oauth/token".into()
}

/// The token of the request itself: look at it or revoke it. No URL ever contains a token.
pub fn current_token() -> String {
    "/v1/access_tokens/current".into()
}

/// The account of the token.
pub fn user() -> String {
    "/v1/user".into()
}

/// Key upload.
pub fn provisioning(device: DeviceId) -> String {
    format!("/v1/provisioning/{device}")
}

/// Claiming (POST).
pub fn claims() -> String {
    "/v1/devices".into()
}

/// A device by itself: look (GET), update (PUT).
pub fn device(device: DeviceId) -> String {
    format!("/v1/devices/{device}")
}

/// Asking a device whether it is there (PUT).
pub fn ping(device: DeviceId) -> String {
    format!("/v1/devices/{device}/ping")
}

/// A product.
pub fn product(product: ProductPath<'_>) -> String {
    format!("/v1/products/{}", product.0)
}

/// The team of a product.
pub fn team(product: ProductPath<'_>) -> String {
    format!("/v1/products/{}/team", product.0)
}

/// The devices of a product: list (GET), import (POST).
pub fn product_devices(product: ProductPath<'_>) -> String {
    format!("/v1/products/{}/devices", product.0)
}

/// A device as the product sees it: look (GET), update (PUT).
pub fn product_device(product: ProductPath<'_>, device: DeviceId) -> String {
    format!("/v1/products/{}/devices/{device}", product.0)
}

/// **Removes the device from the product** (DELETE). To release it from its owner use [`product_device_owner`].
pub fn product_membership(product: ProductPath<'_>, device: DeviceId) -> String {
    product_device(product, device)
}

/// Releases a product device from its owner (DELETE); it stays in the product.
pub fn product_device_owner(product: ProductPath<'_>, device: DeviceId) -> String {
    format!("/v1/products/{}/devices/{device}/owner", product.0)
}

/// Asking a product device whether it is there (PUT).
pub fn product_ping(product: ProductPath<'_>, device: DeviceId) -> String {
    format!("/v1/products/{}/devices/{device}/ping", product.0)
}

/// The exchange that puts a protected device into Service Mode (PUT).
pub fn unprotect(device: DeviceId) -> String {
    format!("/v1/devices/{device}/unprotect")
}

/// The same for a product device.
pub fn product_unprotect(product: ProductPath<'_>, device: DeviceId) -> String {
    format!("/v1/products/{}/devices/{device}/unprotect", product.0)
}

/// The customers of a product.
pub fn customers(product: ProductPath<'_>) -> String {
    format!("/v1/products/{}/customers", product.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_and_removal_differ_by_their_last_segment() {
        let id: DeviceId = "1D0034000FFFFFFFFFFF3933".parse().unwrap();
        let product = ProductId("1234".into());
        let product = ProductPath::new(&product).unwrap();
        assert_eq!(
            product_membership(product, id),
            "/v1/products/1234/devices/1d0034000fffffffffff3933"
        );
        assert_eq!(
            product_device_owner(product, id),
            "/v1/products/1234/devices/1d0034000fffffffffff3933/owner"
        );
        assert_eq!(
            [unprotect(id), product_unprotect(product, id)],
            [
                "/v1/devices/1d0034000fffffffffff3933/unprotect",
                "/v1/products/1234/devices/1d0034000fffffffffff3933/unprotect"
            ]
        );
        assert_eq!(
            provisioning(id),
            "/v1/provisioning/1d0034000fffffffffff3933",
            "lower case, as the cloud has it"
        );
    }

    #[test]
    fn a_product_id_never_makes_another_path() {
        for good in ["1234", "my-product-v100", "A_b.c", "..a"] {
            assert!(ProductPath::new(&ProductId(good.into())).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "%2e%2e", "ü", "1?x", "1#", "1\n"] {
            assert!(ProductPath::new(&ProductId(bad.into())).is_err(), "{bad:?}");
        }
    }
}
