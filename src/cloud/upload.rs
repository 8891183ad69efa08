//! Key upload: the exact form of the call that only the command-line tool documents (cloud-api.md 2.1).

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::{
    answer::{self, Deed},
    api::Api,
    route::{self, ProductPath},
};
use crate::{
    edge::{Method, Request, http::Body},
    model::{DeviceId, KeyKind, ProductId, PublicKey, Secret, outbox::Answer},
};

/// Why a key is not fit to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitKey {
    /// Not the bytes of a canonical SubjectPublicKeyInfo of its kind.
    #[error("not a canonical SubjectPublicKeyInfo of a {0} public key")]
    Form(KeyKind),
    /// The bytes changed since the fingerprint was taken.
    #[error("the key does not have the fingerprint on record")]
    Fingerprint,
}

impl Api {
    /// Uploads the public key that a device holds. Repeating it with the same key is harmless (cloud-api.md 2.5).
    ///
    /// `product` is needed for every product device that the account has not claimed itself. `order_millis` is the wall
    /// time in milliseconds: its meaning in the cloud is unknown, its shape is kept.
    pub fn upload_key(&self, device: DeviceId, key: &PublicKey, product: Option<&ProductId>, order_millis: i64) -> Answer {
        let pem = match pem(key) {
            Ok(pem) => pem,
            Err(error) => return answer::withheld(format!("key of {device} not sent: {error}")),
        };
        if let Some(Err(bad)) = product.map(ProductPath::new) {
            return bad.into();
        }
        let mut fields = vec![
            ("deviceID", device.to_string()),
            ("publicKey", pem),
            ("filename", FILENAME.into()),
            ("order", format!("manual_{order_millis}")),
            ("algorithm", key.kind.algorithm().into()),
        ];
        fields.extend(product.map(|product| ("product_id", product.0.clone())));
        let request = Request {
            body: Body::Form(
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), Secret::new(value)))
                    .collect(),
            ),
            ..Request::new(Method::Post, route::provisioning(device))
        };
        self.send(request, Deed::Change).map_or_else(|answer| answer, Answer::from)
    }
}

/// The key as the cloud takes it: SubjectPublicKeyInfo PEM, lines of 64, LF, with a newline at the end.
///
/// # Errors
/// A key that is not exactly what its kind and its fingerprint say: it could be half a key, or no public one.
pub fn pem(key: &PublicKey) -> Result<String, UnfitKey> {
    if !is_canonical(key.kind, &key.spki) {
        return Err(UnfitKey::Form(key.kind));
    }
    if Sha256::digest(&key.spki)[..] != key.fingerprint.0 {
        return Err(UnfitKey::Fingerprint);
    }
    let text = STANDARD.encode(&key.spki);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for (i, c) in text.chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END PUBLIC KEY-----\n");
    Ok(pem)
}

/// Both kinds have one fixed DER frame around the modulus or the point, so the frame is compared byte by byte.
fn is_canonical(kind: KeyKind, spki: &[u8]) -> bool {
    if spki.len() != kind.spki_len() {
        return false;
    }
    match kind {
        KeyKind::Rsa1024 => {
            let inner = spki.strip_prefix(RSA_HEAD).and_then(|rest| rest.strip_suffix(RSA_TAIL));
            // A modulus of exactly 1024 bits, and odd.
            inner.is_some_and(|n| n.len() == 128 && n[0] & 0x80 != 0 && n[127] & 1 == 1)
        }
        KeyKind::P256 => spki
            .strip_prefix(P256_HEAD)
            .is_some_and(|point| point[0] == 4 && p256::PublicKey::from_sec1_bytes(point).is_ok()),
    }
}

/// What the command-line tool sends; the cloud takes any text.
const FILENAME: &str = "cli";

/// SubjectPublicKeyInfo (RFC 5280 4.1) of rsaEncryption with a 129-byte INTEGER whose first byte is zero.
const RSA_HEAD: &[u8] = &[
    0x30, 0x81, 0x9f, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x81, 0x8d,
    0x00, 0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00,
];

/// The exponent 65537.
const RSA_TAIL: &[u8] = &[0x02, 0x03, 0x01, 0x00, 0x01];

/// SubjectPublicKeyInfo (RFC 5480) of id-ecPublicKey on prime256v1, up to the point.
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07, 0x03, 0x42, 0x00,
];

#[cfg(test)]
pub(super) mod tests {
    use p256::{
        elliptic_curve::Generate,
        pkcs8::{EncodePrivateKey, EncodePublicKey},
    };

    use super::*;
    use crate::{
        cloud::scripted::{Script, form},
        edge::HttpError,
        model::{Code, Fingerprint, Wall},
    };

    pub(crate) fn made(kind: KeyKind, spki: Vec<u8>) -> PublicKey {
        PublicKey {
            kind,
            fingerprint: Fingerprint(Sha256::digest(&spki).into()),
            spki,
        }
    }

    pub(crate) fn p256_key() -> PublicKey {
        let secret = p256::SecretKey::generate();
        made(KeyKind::P256, secret.public_key().to_public_key_der().unwrap().into_vec())
    }

    fn rsa_key() -> PublicKey {
        let mut spki = RSA_HEAD.to_vec();
        spki.extend([0xc5; 128]);
        spki.extend(RSA_TAIL);
        made(KeyKind::Rsa1024, spki)
    }

    fn id() -> DeviceId {
        "1d0034000fffffffffff3933".parse().unwrap()
    }

    #[test]
    fn the_form_is_the_one_on_the_wire() {
        let script = Script::new([Script::reply(200, r#""Success!""#)]);
        let key = rsa_key();
        let answer = script
            .api()
            .upload_key(id(), &key, Some(&ProductId("1234".into())), 1_795_442_385_061);
        assert_eq!(
            answer,
            Answer::Accepted {
                at: Wall::parse("2026-11-23T10:00:00Z"),
                note: None
            }
        );
        let sent = script.take();
        assert_eq!(format!("{:?}", sent[0]), "POST /v1/provisioning/1d0034000fffffffffff3933");
        let body = form(&sent[0].body);
        let (head, rest) = body.split_once("%0A").unwrap();
        assert_eq!(
            head,
            "deviceID=1d0034000fffffffffff3933&publicKey=-----BEGIN%20PUBLIC%20KEY-----"
        );
        let (text, tail) = rest.split_once("%0A-----END").unwrap();
        assert_eq!(
            tail,
            "%20PUBLIC%20KEY-----%0A&filename=cli&order=manual_1795442385061&algorithm=rsa&product_id=1234"
        );
        let lines: Vec<_> = text
            .split("%0A")
            .map(|l| l.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="))
            .collect();
        assert!(lines[..lines.len() - 1].iter().all(|line| line.len() == 64), "{lines:?}");
        assert_eq!(STANDARD.decode(lines.concat()).unwrap(), key.spki);
    }

    #[test]
    fn a_development_device_has_no_product_field_and_p256_is_ecc() {
        let script = Script::new([Script::reply(200, "")]);
        script.api().upload_key(id(), &p256_key(), None, 7);
        assert!(form(&script.take()[0].body).ends_with("&filename=cli&order=manual_7&algorithm=ecc"));
    }

    #[test]
    fn pem_equals_the_one_that_others_write() {
        let spki = p256::SecretKey::generate().public_key();
        let key = made(KeyKind::P256, spki.to_public_key_der().unwrap().into_vec());
        assert_eq!(
            pem(&key).unwrap(),
            spki.to_public_key_pem(p256::pkcs8::LineEnding::LF).unwrap()
        );
    }

    #[test]
    fn nothing_but_a_canonical_public_key_of_its_kind_is_sent() {
        let good = p256_key();
        let secret = p256::SecretKey::generate().to_pkcs8_der().unwrap().as_bytes().to_vec();
        let mut off_curve = good.spki.clone();
        off_curve[90] ^= 1;
        let mut compressed = good.spki.clone();
        compressed[26] = 2;
        let mut even = rsa_key().spki;
        even[156] = 0x02;
        let mut short_modulus = rsa_key().spki;
        short_modulus[29] = 0x05;
        let mut exponent = rsa_key().spki;
        exponent[161] = 3;
        let mut long = good.spki.clone();
        long.push(0);
        for (what, key) in [
            ("empty", made(KeyKind::P256, vec![])),
            ("truncated", made(KeyKind::P256, good.spki[..90].to_vec())),
            ("trailing byte", made(KeyKind::P256, long)),
            ("private", made(KeyKind::P256, secret)),
            ("pem text", made(KeyKind::P256, b"-----BEGIN EC PRIVATE KEY-----".to_vec())),
            ("other kind", made(KeyKind::Rsa1024, good.spki.clone())),
            ("other kind", made(KeyKind::P256, rsa_key().spki)),
            ("off the curve", made(KeyKind::P256, off_curve)),
            ("compressed", made(KeyKind::P256, compressed)),
            ("even modulus", made(KeyKind::Rsa1024, even)),
            ("1023 bit", made(KeyKind::Rsa1024, short_modulus)),
            ("exponent 3", made(KeyKind::Rsa1024, exponent)),
            (
                "fingerprint of another",
                PublicKey {
                    fingerprint: p256_key().fingerprint,
                    ..good
                },
            ),
        ] {
            let script = Script::new([]);
            let answer = script.api().upload_key(id(), &key, None, 0);
            assert!(
                matches!(
                    answer,
                    Answer::Refused {
                        code: Code::Internal,
                        ..
                    }
                ),
                "{what}: {answer:?}"
            );
            assert_eq!(script.sent(), 0, "{what}");
        }
    }

    #[test]
    fn a_product_that_is_no_path_segment_is_not_sent() {
        let script = Script::new([]);
        let answer = script.api().upload_key(id(), &p256_key(), Some(&ProductId(String::new())), 0);
        assert!(matches!(answer, Answer::Refused { .. }));
    }

    #[test]
    fn a_lost_answer_is_ambiguous_and_a_400_with_errors_is_no_success() {
        let script = Script::new([
            Err(HttpError::Lost("reset".into())),
            Script::reply(400, r#"{"ok":false,"errors":["Key error"]}"#),
        ]);
        let (api, key) = (script.api(), p256_key());
        assert!(matches!(api.upload_key(id(), &key, None, 0), Answer::Ambiguous { .. }));
        let no = api.upload_key(id(), &key, None, 0);
        assert!(matches!(no, Answer::Refused { code: Code::CloudRefused, reason } if reason == "Key error"));
    }

    #[test]
    fn the_vendor_files_are_canonical() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        #[expect(clippy::disallowed_methods, reason = "tests may find the shared data elsewhere")]
        let shared = std::env::var("KEYRACK_SHARED").map_or_else(|_| root.join("../shared"), Into::into);
        for (name, kind) in [("rsa1024.pub.pem", KeyKind::Rsa1024), ("p256.pub.pem", KeyKind::P256)] {
            let Ok(text) = std::fs::read_to_string(shared.join("data/keys").join(name)) else {
                println!("not run: ../shared/data is not here");
                return;
            };
            let der: String = text.lines().filter(|line| !line.starts_with("---")).collect();
            let key = made(kind, STANDARD.decode(der).unwrap());
            assert_eq!(pem(&key).unwrap(), text, "{name}");
        }
    }
}
