//! The cloud's half of the exchange that puts a protected device into Service Mode (device-protocol.md 2.9). It changes
//! nothing in the cloud: after an unclear end the exchange simply starts again.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    answer::{self, Deed},
    api::Api,
    route::{self, ProductPath},
};
use crate::{
    edge::{Method, Request, http::Body},
    model::{DeviceId, ProductId, outbox::Answer},
};

/// How a device proves that it holds the key that the cloud knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceProof {
    /// The nonce that the cloud gave.
    pub server_nonce: [u8; 32],
    /// The device's own nonce.
    pub device_nonce: Vec<u8>,
    /// ECDSA in DER by the device's key.
    pub signature: Vec<u8>,
    /// SHA-256 of the device's public key.
    pub key_fingerprint: Vec<u8>,
}

/// How the cloud proves to the device that it is the one whose key the device trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerProof {
    /// ECDSA in DER by the server's key.
    pub signature: Vec<u8>,
    /// SHA-256 of the server's public key.
    pub key_fingerprint: Vec<u8>,
}

impl Api {
    /// Asks for the nonce with which the exchange begins. The device waits 60 s for its end.
    ///
    /// # Errors
    /// The answer to the look.
    pub fn unprotect_prepare(&self, device: DeviceId, product: Option<&ProductId>) -> Result<[u8; 32], Answer> {
        let wire: Prepared = self.unprotect(device, product, json!({ "action": "prepare" }))?;
        let nonce = decoded(&wire.server_nonce).and_then(|nonce| nonce.try_into().ok());
        nonce.ok_or_else(|| answer::malformed("a nonce of 32 bytes"))
    }

    /// Hands in the device's proof and gets the cloud's. A device whose key the cloud does not know is refused as
    /// [`Code::DeviceKeyUnknown`](crate::model::Code::DeviceKeyUnknown): no repetition helps.
    ///
    /// # Errors
    /// The answer to the look.
    pub fn unprotect_confirm(
        &self,
        device: DeviceId,
        product: Option<&ProductId>,
        proof: &DeviceProof,
    ) -> Result<ServerProof, Answer> {
        let body = json!({
            "action": "confirm",
            "server_nonce": STANDARD.encode(proof.server_nonce),
            "device_nonce": STANDARD.encode(&proof.device_nonce),
            "device_signature": STANDARD.encode(&proof.signature),
            "device_public_key_fingerprint": STANDARD.encode(&proof.key_fingerprint),
        });
        let wire: Confirmed = self.unprotect(device, product, body)?;
        match (decoded(&wire.server_signature), decoded(&wire.server_public_key_fingerprint)) {
            (Some(signature), Some(key_fingerprint)) => Ok(ServerProof {
                signature,
                key_fingerprint,
            }),
            _ => Err(answer::malformed("a signature in base64")),
        }
    }

    fn unprotect<T: DeserializeOwned>(&self, device: DeviceId, product: Option<&ProductId>, body: Value) -> Result<T, Answer> {
        let path = match product.map(ProductPath::new).transpose()? {
            None => route::unprotect(device),
            Some(product) => route::product_unprotect(product, device),
        };
        let request = Request {
            body: Body::Json(body),
            ..Request::new(Method::Put, path)
        };
        let good = self.send(request, Deed::Look)?;
        serde_json::from_slice(&good.body).map_err(|_| answer::malformed("an answer to the exchange for Service Mode"))
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

#[derive(Deserialize)]
struct Prepared {
    server_nonce: String,
}

#[derive(Deserialize)]
struct Confirmed {
    server_signature: String,
    server_public_key_fingerprint: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cloud::scripted::Script, edge::HttpError, model::Code};

    fn id() -> DeviceId {
        "1d0034000fffffffffff3933".parse().unwrap()
    }

    fn proof() -> DeviceProof {
        DeviceProof {
            server_nonce: [1; 32],
            device_nonce: vec![2; 32],
            signature: vec![0x30, 0xff],
            key_fingerprint: vec![4; 32],
        }
    }

    #[test]
    fn the_exchange_is_two_calls_in_base64() {
        let nonce = STANDARD.encode([1; 32]);
        let script = Script::new([
            Script::reply(200, &format!(r#"{{"server_nonce":"{nonce}"}}"#)),
            Script::reply(200, r#"{"server_signature":"MP8=","server_public_key_fingerprint":"BAQ="}"#),
        ]);
        let (api, product) = (script.api(), ProductId("1234".into()));
        assert_eq!(api.unprotect_prepare(id(), Some(&product)), Ok([1; 32]));
        assert_eq!(
            api.unprotect_confirm(id(), None, &proof()),
            Ok(ServerProof {
                signature: vec![0x30, 0xff],
                key_fingerprint: vec![4, 4],
            })
        );
        let sent = script.take();
        assert_eq!(
            sent.iter().map(|r| format!("{r:?}")).collect::<Vec<_>>(),
            [
                "PUT /v1/products/1234/devices/1d0034000fffffffffff3933/unprotect",
                "PUT /v1/devices/1d0034000fffffffffff3933/unprotect"
            ]
        );
        let bodies: Vec<_> = sent
            .into_iter()
            .map(|request| match request.body {
                Body::Json(body) => body,
                _ => panic!("JSON"),
            })
            .collect();
        let of = |byte: u8| STANDARD.encode([byte; 32]);
        assert_eq!(bodies[0], json!({ "action": "prepare" }));
        assert_eq!(
            bodies[1],
            json!({ "action": "confirm", "server_nonce": of(1), "device_nonce": of(2), "device_signature": "MP8=",
                "device_public_key_fingerprint": of(4) })
        );
    }

    #[test]
    fn a_key_that_the_cloud_does_not_know_has_a_code_of_its_own() {
        for status in [400, 403, 404] {
            let script = Script::new([Script::reply(
                status,
                r#"{"ok":false,"error":"Device public key was not found"}"#,
            )]);
            assert!(
                matches!(
                    script.api().unprotect_confirm(id(), None, &proof()),
                    Err(Answer::Refused {
                        code: Code::DeviceKeyUnknown,
                        ..
                    })
                ),
                "{status}"
            );
        }
    }

    #[test]
    fn an_unclear_end_changed_nothing_and_a_bad_body_is_no_nonce() {
        let short = format!(r#"{{"server_nonce":"{}"}}"#, STANDARD.encode([1; 31]));
        for end in [
            Err(HttpError::Lost("reset".into())),
            Script::reply(500, ""),
            Script::reply(200, "{}"),
            Script::reply(200, r#"{"server_nonce":"?"}"#),
            Script::reply(200, &short),
        ] {
            let script = Script::new([end]);
            assert!(matches!(
                script.api().unprotect_prepare(id(), None),
                Err(Answer::Later { .. })
            ));
        }
        let empty = r#"{"server_signature":"","server_public_key_fingerprint":"BAQ="}"#;
        let script = Script::new([Script::reply(200, empty)]);
        assert!(matches!(
            script.api().unprotect_confirm(id(), None, &proof()),
            Err(Answer::Later { .. })
        ));
    }
}
