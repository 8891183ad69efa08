//! The service reply: the record that answers INIT, CHECK and RESET (device-protocol.md 2.1).

use super::ResultCode;

/// What the device says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Accepted, ready for data, or done.
    Ok,
    /// Failed without a result.
    Error,
    /// Not ready yet.
    Pending,
    /// Too many requests at once.
    Busy,
    /// No memory for the payload.
    NoMemory,
    /// No request has this id.
    NotFound,
}

/// A parsed service reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceReply {
    /// Status.
    pub status: Status,
    /// Id of the request.
    pub id: Option<u16>,
    /// Length of the reply body.
    pub size: Option<u32>,
    /// Result of the handler.
    pub result: Option<ResultCode>,
}

/// Why bytes are not a service reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// It ends before the fields that its flags announce.
    #[error("the reply is too short: {len} bytes")]
    Short {
        /// How many bytes came.
        len: usize,
    },
    /// The mandatory status is not announced.
    #[error("the reply has no status: flags {flags:#010x}")]
    NoStatus {
        /// The flags.
        flags: u32,
    },
    /// The status has no meaning.
    #[error("the reply has an unknown status {status}")]
    UnknownStatus {
        /// The status.
        status: u16,
    },
}

impl ServiceReply {
    /// Parses the bytes of an answer. What follows the announced fields is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadReply> {
        let mut rest = Fields { bytes, len: bytes.len() };
        let flags = u32::from_le_bytes(rest.take()?);
        if flags & HAS_STATUS == 0 {
            return Err(BadReply::NoStatus { flags });
        }
        let status = match u16::from_le_bytes(rest.take()?) {
            0 => Status::Ok,
            1 => Status::Error,
            2 => Status::Pending,
            3 => Status::Busy,
            4 => Status::NoMemory,
            5 => Status::NotFound,
            status => return Err(BadReply::UnknownStatus { status }),
        };
        let id = (flags & HAS_ID != 0)
            .then(|| rest.take())
            .transpose()?
            .map(u16::from_le_bytes);
        let size = (flags & HAS_SIZE != 0)
            .then(|| rest.take())
            .transpose()?
            .map(u32::from_le_bytes);
        let result = (flags & HAS_RESULT != 0)
            .then(|| rest.take())
            .transpose()?
            .map(i32::from_le_bytes);
        Ok(Self {
            status,
            id,
            size,
            result: result.map(ResultCode),
        })
    }
}

struct Fields<'b> {
    bytes: &'b [u8],
    len: usize,
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadReply> {
        let (field, rest) = self.bytes.split_first_chunk().ok_or(BadReply::Short { len: self.len })?;
        self.bytes = rest;
        Ok(*field)
    }
}

const HAS_STATUS: u32 = 0x01;
const HAS_ID: u32 = 0x02;
const HAS_SIZE: u32 = 0x04;
const HAS_RESULT: u32 = 0x08;

#[cfg(test)]
mod tests {
    use super::{super::script::hex, *};

    #[test]
    fn frozen_replies_parse() {
        // device-protocol.md 8.2
        let reply = |status, id, size, result: Option<i32>| ServiceReply {
            status,
            id,
            size,
            result: result.map(ResultCode),
        };
        for (bytes, expected) in [
            ("03000000 0000 0100", reply(Status::Ok, Some(1), None, None)),
            ("03000000 0200 0100", reply(Status::Pending, Some(1), None, None)),
            ("01000000 0300", reply(Status::Busy, None, None, None)),
            ("01000000 0200", reply(Status::Pending, None, None, None)),
            ("01000000 0000", reply(Status::Ok, None, None, None)),
            ("09000000 0000 00000000", reply(Status::Ok, None, None, Some(0))),
            ("0d000000 0000 1a000000 00000000", reply(Status::Ok, None, Some(26), Some(0))),
            ("09000000 0000 f7f8ffff", reply(Status::Ok, None, None, Some(-1801))),
            ("09000000 0000 88ffffff", reply(Status::Ok, None, None, Some(-120))),
            ("01000000 0500", reply(Status::NotFound, None, None, None)),
        ] {
            assert_eq!(ServiceReply::parse(&hex(bytes)), Ok(expected), "{bytes}");
        }
    }

    #[test]
    fn bad_replies_are_named() {
        assert_eq!(ServiceReply::parse(&[]), Err(BadReply::Short { len: 0 }));
        assert_eq!(
            ServiceReply::parse(&hex("02000000 0000 0100")),
            Err(BadReply::NoStatus { flags: 2 })
        );
        assert_eq!(
            ServiceReply::parse(&hex("01000000 0600")),
            Err(BadReply::UnknownStatus { status: 6 })
        );
        assert_eq!(
            ServiceReply::parse(&hex("0d000000 0000 1a000000 0000")),
            Err(BadReply::Short { len: 12 })
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = ServiceReply::parse(&bytes);
        }
    }
}
