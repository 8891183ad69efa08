//! The HELLO messages that open every connection (cloud-api.md 7.1 and 7.2).

use crate::model::DeviceId;

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Product number of the firmware.
    pub product_id: u16,
    /// Version of the firmware.
    pub product_version: u16,
    /// Feature flags.
    pub flags: u16,
    /// Platform number.
    pub platform: u16,
    /// The device id, as UDP devices send it.
    pub id: Option<DeviceId>,
    /// Device OS version number.
    pub os_version: u16,
}

impl Hello {
    /// The message: not confirmable on TCP, confirmable on UDP.
    pub fn encode(&self, confirmable: bool, message_id: u16) -> Vec<u8> {
        let mut out = vec![if confirmable { 0x40 } else { 0x50 }, POST];
        out.extend(message_id.to_be_bytes());
        out.extend([OPTION_PATH, b'h', PAYLOAD]);
        for field in [self.product_id, self.product_version, self.flags, self.platform] {
            out.extend(field.to_be_bytes());
        }
        let id: &[u8] = self.id.as_ref().map_or(&[], |id| id.bytes());
        out.extend([0, u8::try_from(id.len()).unwrap_or(0)]);
        out.extend(id);
        out.extend(self.os_version.to_be_bytes());
        out.extend(MAX_MESSAGE.to_be_bytes());
        out.extend(MAX_BINARY.to_be_bytes());
        out.extend(CHUNK.to_be_bytes());
        out
    }

    /// Reads a message with its id. A payload may end after ten bytes, as servers allow.
    pub fn decode(message: &[u8]) -> Option<(Self, u16)> {
        let (head, payload) = message.split_at_checked(7)?;
        if !matches!(head[0], 0x40 | 0x50) || head[1] != POST || head[4..] != [OPTION_PATH, b'h', PAYLOAD] {
            return None;
        }
        let word = |at: usize| Some(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?]));
        let id_len = usize::from(*payload.get(9)?);
        let id: Option<[u8; 12]> = (id_len == 12).then(|| payload.get(10..22)?.try_into().ok()).flatten();
        let hello = Self {
            product_id: word(0)?,
            product_version: word(2)?,
            flags: word(4)?,
            platform: word(6)?,
            id: id.map(DeviceId::from_bytes),
            os_version: word(10 + id_len).unwrap_or(0),
        };
        Some((hello, u16::from_be_bytes([head[2], head[3]])))
    }
}

/// The server's HELLO on TCP.
pub fn reply(message_id: u16) -> Vec<u8> {
    let [high, low] = message_id.to_be_bytes();
    vec![0x50, POST, high, low, OPTION_PATH, b'h']
}

/// True if this is a server's HELLO.
pub fn is_reply(message: &[u8]) -> bool {
    matches!(message, [0x50, POST, _, _, OPTION_PATH, b'h'])
}

/// CoAP code 0.02.
const POST: u8 = 2;
/// Option 11 (Uri-Path) with one byte.
const OPTION_PATH: u8 = 0xb1;
/// The byte before a payload.
const PAYLOAD: u8 = 0xff;
/// As captured (cloud-api.md 7.2): largest message, largest binary, chunk of an update.
const MAX_MESSAGE: u16 = 0x0480;
const MAX_BINARY: u32 = 0x00a0_0000;
const CHUNK: u16 = 0x0200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_captured_message() {
        // cloud-api.md 7.2, with an id of our own in its place
        let id: DeviceId = "e00fce680000000000000001".parse().unwrap();
        let hello = Hello {
            product_id: 3,
            product_version: 0xffff,
            flags: 0x36,
            platform: 13,
            id: Some(id),
            os_version: 6200,
        };
        let mut expected = vec![0x40, 2, 0, 1, 0xb1, 0x68, 0xff, 0, 3, 0xff, 0xff, 0, 0x36, 0, 0x0d, 0, 0x0c];
        expected.extend(id.bytes());
        expected.extend([0x18, 0x38, 0x04, 0x80, 0x00, 0xa0, 0x00, 0x00, 0x02, 0x00]);
        assert_eq!(hello.encode(true, 1), expected);
        assert_eq!(expected.len(), 39);
        assert_eq!(Hello::decode(&expected), Some((hello, 1)));
        assert!(Hello::decode(&expected[..17]).unwrap().0.id.is_none(), "ten bytes are enough");
        assert!(Hello::decode(&expected[..16]).is_none());
        assert!(is_reply(&reply(0x1234)) && !is_reply(&expected));
    }

    proptest! {
        #[test]
        fn no_message_panics(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Hello::decode(&message);
        }
    }
}
