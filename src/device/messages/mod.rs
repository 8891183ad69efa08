//! The messages of control requests (device-protocol.md 2.5 to 2.7), written out by hand: field numbers and types are
//! facts of the protocol, and a code generator would need its compiler at build time.
//!
//! Owns field numbers and which reply belongs to which request. Enumerations stay numbers here, because a newer device
//! may send numbers that we do not know; the modules that use them give them meaning.

use super::RequestType;

pub mod config;
pub mod network;
pub mod storage;

/// A message that is the payload of a request, with the message that answers it.
pub trait Call: prost::Message {
    /// The request.
    const TYPE: RequestType;
    /// The answer.
    type Reply: prost::Message + Default;
}

/// No fields at all.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}

/// Declares requests without a body, and ties each request to its number and reply.
macro_rules! calls {
    ($(empty $name:ident = $kind:ident -> $reply:ty, $doc:literal;)* $(message $message:ident = $mkind:ident -> $mreply:ty;)*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
            pub struct $name {}
            impl $crate::device::messages::Call for $name {
                const TYPE: $crate::device::RequestType = $crate::device::RequestType::$kind;
                type Reply = $reply;
            }
        )*
        $(
            impl $crate::device::messages::Call for $message {
                const TYPE: $crate::device::RequestType = $crate::device::RequestType::$mkind;
                type Reply = $mreply;
            }
        )*
    };
}
use calls;

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{config::*, network::*, storage::*};
    use crate::device::script::hex;

    #[test]
    fn frozen_payloads_encode() {
        // device-protocol.md 8.3
        let nonce: Vec<u8> = (0..0x20).collect();
        let prepare = SetProtectedStateRequest::prepare(nonce.clone());
        let expected = [hex("080112220a20"), nonce].concat();
        assert_eq!(prepare.encode_to_vec(), expected);
        assert_eq!(expected.len(), 38);
        assert!(SetProtectedStateRequest::reset().encode_to_vec().is_empty());
        let confirm = SetProtectedStateRequest::confirm(vec![0xaa; 71], vec![0xbb; 32]);
        let expected = [hex("08021a6b0a47"), vec![0xaa; 71], hex("1220"), vec![0xbb; 32]].concat();
        assert_eq!(confirm.encode_to_vec(), expected);

        assert_eq!(
            StartFirmwareUpdateRequest { size: 65536, format: 0 }.encode_to_vec(),
            hex("08808004")
        );
        let data = FirmwareUpdateDataRequest { data: vec![0x5a; 1024] };
        assert_eq!(data.encode_to_vec(), [hex("0a8008"), vec![0x5a; 1024]].concat());
        assert_eq!(
            FinishFirmwareUpdateRequest { validate_only: true }.encode_to_vec(),
            hex("0801")
        );
        assert!(
            FinishFirmwareUpdateRequest { validate_only: false }
                .encode_to_vec()
                .is_empty()
        );
        assert_eq!(GetInterfaceRequest { index: 4 }.encode_to_vec(), hex("0804"));
    }

    #[test]
    fn frozen_payloads_decode() {
        let id = hex("0a18653030666365363830313233343536373839616263646566");
        assert_eq!(
            GetDeviceIdReply::decode(id.as_slice()).unwrap().id,
            "e00fce680123456789abcdef"
        );
        let serial = hex("0a0f423430484142393133414231324344");
        assert_eq!(
            GetSerialNumberReply::decode(serial.as_slice()).unwrap().serial,
            "B40HAB913AB12CD"
        );
        assert_eq!(
            StartFirmwareUpdateReply::decode(hex("088008").as_slice()).unwrap().chunk_size,
            1024
        );
    }

    #[test]
    fn a_password_is_not_in_debug_text() {
        let message = SetCredentialsRequest {
            ssid: "bench".into(),
            credentials: Some(Credentials {
                kind: 1,
                password: "hunter2".into(),
            }),
            ..Default::default()
        };
        assert!(!format!("{message:?}").contains("hunter2"));
        let message = JoinNewNetworkRequest::from(message);
        assert!(!format!("{message:?}").contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes: Vec<u8>) {
            let _ = GetModuleInfoReply::decode(bytes.as_slice());
            let _ = GetAssetInfoReply::decode(bytes.as_slice());
            let _ = GetInterfaceReply::decode(bytes.as_slice());
            let _ = SetProtectedStateReply::decode(bytes.as_slice());
        }
    }
}
