//! What a protected device signs on its way into Service Mode (device-protocol.md 2.9): proof of which key it holds, where its
//! key store cannot be read.

use crate::model::{DeviceId, PublicKey};

use super::{signature, spki::Spki};

/// True if the owner of this key signed the exchange, as the device with this id.
pub fn signed(key: &PublicKey, device: DeviceId, device_nonce: &[u8], server_nonce: &[u8], der: &[u8]) -> bool {
    Spki::read(&key.spki).is_ok_and(|spki| signature::verifies(&spki, &message(device, device_nonce, server_nonce), der))
}

/// Who signs, then each nonce after its length.
fn message(device: DeviceId, device_nonce: &[u8], server_nonce: &[u8]) -> Vec<u8> {
    let mut message = [ROLE, device.bytes().as_slice()].concat();
    for nonce in [device_nonce, server_nonce] {
        message.extend(u32::try_from(nonce.len()).unwrap_or(u32::MAX).to_le_bytes());
        message.extend(nonce);
    }
    message
}

const ROLE: &[u8] = b"device";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{edge::entropy::SystemEntropy, keys::PrivateKey, model::KeyKind};

    #[test]
    fn a_signature_counts_for_its_key_its_device_and_its_exchange() {
        let pair = PrivateKey::generate(KeyKind::P256, &SystemEntropy);
        let other = PrivateKey::generate(KeyKind::P256, &SystemEntropy).public();
        let device: DeviceId = "e00fce680123456789abcdef".parse().unwrap();
        let text = [b"device".as_slice(), device.bytes(), &[2, 0, 0, 0, 7, 7], &[1, 0, 0, 0, 8]].concat();
        let der = signature::sign(&pair, &text);
        let key = pair.public();
        assert!(signed(&key, device, &[7, 7], &[8], &der));
        assert!(!signed(&other, device, &[7, 7], &[8], &der), "another key");
        assert!(
            !signed(&key, DeviceId::from_bytes([1; 12]), &[7, 7], &[8], &der),
            "another device"
        );
        assert!(!signed(&key, device, &[7], &[7, 8], &der), "other nonces");
        assert!(!signed(&key, device, &[7, 7], &[8], &der[1..]));
    }
}
