//! Public keys as the cloud reads them: PEM text and the two SubjectPublicKeyInfo forms, parsed byte by byte.
//!
//! It owns no rule about devices and never sees a private key except to refuse it.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use p256::elliptic_curve::sec1::ToSec1Point;
use serde::{Deserialize, Serialize};

/// The two kinds of device key, by their names in the upload form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    Rsa,
    Ecc,
}

/// Why a text is not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadKey {
    #[error("Key error: a private key was sent")]
    Private,
    #[error("Key error: not a PEM public key")]
    NotPem,
    #[error("Key error: not a SubjectPublicKeyInfo of RSA-1024 or P-256")]
    NotSpki,
}

/// Reads a `BEGIN PUBLIC KEY` text and returns the kind and the DER.
pub(super) fn parse_pem(text: &str) -> Result<(Algorithm, Vec<u8>), BadKey> {
    if text.contains("PRIVATE KEY") {
        return Err(BadKey::Private);
    }
    let body = text
        .trim()
        .strip_prefix(HEAD)
        .and_then(|rest| rest.strip_suffix(TAIL))
        .ok_or(BadKey::NotPem)?;
    let base64: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = BASE64.decode(base64).map_err(|_| BadKey::NotPem)?;
    let algorithm = parse_der(&der)?;
    Ok((algorithm, der))
}

/// Tells the kind of a SubjectPublicKeyInfo of a device.
pub(super) fn parse_der(der: &[u8]) -> Result<Algorithm, BadKey> {
    if der.len() == EC_LEN && der.starts_with(&EC_HEAD) && p256::PublicKey::from_sec1_bytes(&der[EC_HEAD.len() - 1..]).is_ok() {
        return Ok(Algorithm::Ecc);
    }
    let shape = der.len() == RSA_LEN && der.starts_with(&RSA_HEAD) && der.ends_with(&RSA_TAIL);
    // A modulus of 1024 bits has its top bit set, and it is odd.
    if shape && der[RSA_HEAD.len()] & 0x80 != 0 && der[RSA_HEAD.len() + 127] & 1 == 1 {
        return Ok(Algorithm::Rsa);
    }
    Err(BadKey::NotSpki)
}

/// The 1024-bit modulus of an RSA SubjectPublicKeyInfo that [`parse_der`] accepted.
pub(super) fn rsa_modulus(der: &[u8]) -> Option<&[u8]> {
    (parse_der(der) == Ok(Algorithm::Rsa)).then(|| &der[RSA_HEAD.len()..RSA_HEAD.len() + 128])
}

/// The SubjectPublicKeyInfo of a 1024-bit modulus with exponent 65537: 162 bytes.
pub(super) fn rsa_spki(modulus: &[u8; 128]) -> Vec<u8> {
    [&RSA_HEAD[..], modulus, &RSA_TAIL].concat()
}

/// The SubjectPublicKeyInfo of a P-256 point: 91 bytes.
pub(super) fn ec_spki(key: &p256::PublicKey) -> Vec<u8> {
    let point = key.to_sec1_point(false);
    [&EC_HEAD[..EC_HEAD.len() - 1], point.as_bytes()].concat()
}

/// PEM text of a SubjectPublicKeyInfo with lines of 64 characters.
#[cfg(test)]
pub(super) fn to_pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("{HEAD}\n{}\n{TAIL}\n", lines.join("\n"))
}

const HEAD: &str = "-----BEGIN PUBLIC KEY-----";
const TAIL: &str = "-----END PUBLIC KEY-----";
/// Lengths of the two forms (device-protocol.md 4.3).
const RSA_LEN: usize = 162;
const EC_LEN: usize = 91;
/// SEQUENCE, AlgorithmIdentifier (rsaEncryption, NULL), BIT STRING, SEQUENCE, INTEGER of 129 bytes with its leading zero.
const RSA_HEAD: [u8; 29] = [
    0x30, 0x81, 0x9f, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x81, 0x8d,
    0x00, 0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00,
];
/// INTEGER 65537.
const RSA_TAIL: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
/// SEQUENCE, AlgorithmIdentifier (ecPublicKey, prime256v1), BIT STRING, uncompressed point.
const EC_HEAD: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The public server key of the vendor (device-protocol.md 4.5).
    const EC: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004509bfc185648c33f80907ae13260df33282115209e54a22f2b105984a46362c07c2679f6e4ce76ca002d3de4bf2e9e3a62151c48179bd809ddce9c5dc30f54b8";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn both_forms_are_known_and_others_refused() {
        let ec = bytes(EC);
        assert_eq!(parse_pem(&to_pem(&ec)), Ok((Algorithm::Ecc, ec.clone())));
        let rsa = rsa_spki(&[0x81; 128]);
        assert_eq!((rsa.len(), parse_der(&rsa)), (162, Ok(Algorithm::Rsa)));
        assert_eq!(rsa_modulus(&rsa).unwrap(), [0x81; 128]);
        assert_eq!(parse_der(&rsa_spki(&[0x80; 128])), Err(BadKey::NotSpki), "an even modulus");
        let mut off_curve = ec.clone();
        off_curve[90] ^= 1;
        assert_eq!(parse_der(&off_curve), Err(BadKey::NotSpki));
        for cut in 0..ec.len() {
            assert!(parse_der(&ec[..cut]).is_err());
        }
    }

    #[test]
    fn private_keys_and_other_pem_are_refused_by_name() {
        assert_eq!(
            parse_pem("-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----\n"),
            Err(BadKey::Private)
        );
        assert_eq!(
            parse_pem("-----BEGIN RSA PUBLIC KEY-----\nAA==\n-----END RSA PUBLIC KEY-----\n"),
            Err(BadKey::NotPem)
        );
        assert_eq!(
            parse_pem("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"),
            Err(BadKey::NotSpki)
        );
        assert_eq!(parse_pem(""), Err(BadKey::NotPem));
    }
}
