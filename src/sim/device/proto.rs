//! Just enough of the protobuf wire format for the messages of a device.
//!
//! Reading is tolerant, as proto3 is: unknown fields are skipped, the last value of a field counts.

/// A message under construction. Scalars that are zero and empty texts are left out, as proto3 has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A varint: bool, enum, uint32.
    pub(super) fn number(mut self, field: u8, value: u64) -> Self {
        if value != 0 {
            self.0.push(field << 3);
            self.varint(value);
        }
        self
    }

    /// A signed 32-bit number, which takes ten bytes when negative.
    pub(super) fn signed(self, field: u8, value: i64) -> Self {
        self.number(field, value.cast_unsigned())
    }

    /// A fixed32.
    pub(super) fn fixed(mut self, field: u8, value: u32) -> Self {
        if value != 0 {
            self.0.push(field << 3 | 5);
            self.0.extend(value.to_le_bytes());
        }
        self
    }

    /// A text or bytes field; left out if empty.
    pub(super) fn bytes(self, field: u8, value: &[u8]) -> Self {
        if value.is_empty() { self } else { self.part(field, value) }
    }

    /// A part message or an element of a list, present even if empty.
    pub(super) fn message(self, field: u8, value: Message) -> Self {
        self.part(field, &value.0)
    }

    /// The encoding.
    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }

    fn part(mut self, field: u8, value: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A decoded message: fields in order of appearance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a>(Vec<(u64, Value<'a>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// Decodes; `None` if these bytes are no message.
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)?),
                1 => Value::Number(u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?)),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    Value::Bytes(take(&mut bytes, length)?)
                }
                5 => Value::Number(u64::from(u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?))),
                _ => return None,
            };
            if key >> 3 == 0 {
                return None;
            }
            fields.push((key >> 3, value));
        }
        Some(Self(fields))
    }

    /// A number; 0 if absent.
    pub(super) fn number(&self, field: u64) -> u64 {
        let mut all = self.0.iter().rev();
        all.find_map(|(f, v)| match v {
            Value::Number(n) if *f == field => Some(*n),
            _ => None,
        })
        .unwrap_or(0)
    }

    /// Bytes or a part message; `None` if absent.
    pub(super) fn bytes(&self, field: u64) -> Option<&'a [u8]> {
        let mut all = self.0.iter().rev();
        all.find_map(|(f, v)| match v {
            Value::Bytes(b) if *f == field => Some(*b),
            _ => None,
        })
    }

    /// A text; empty if absent, `None` if it is not UTF-8.
    pub(super) fn text(&self, field: u64) -> Option<String> {
        String::from_utf8(self.bytes(field).unwrap_or_default().to_vec()).ok()
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_messages() {
        // device-protocol.md 8.3
        let id = Message::new().bytes(1, b"e00fce680123456789abcdef").done();
        assert_eq!((id.len(), &id[..3]), (26, &[0x0a, 0x18, 0x65][..]));
        assert_eq!(Message::new().number(1, 1024).done(), [0x08, 0x80, 0x08]);
        assert_eq!(Fields::read(&[0x08, 0x80, 0x80, 0x04]).unwrap().number(1), 65536);
        let address = b"\x08\x02\x12\x0dfactory.local\x18\xb4\x2c";
        let fields = Fields::read(address).unwrap();
        assert_eq!((fields.number(1), fields.number(3)), (2, 5684));
        assert_eq!(fields.text(2).unwrap(), "factory.local");
        assert_eq!(Fields::read(&[]).unwrap().number(1), 0);
    }

    proptest::proptest! {
        #[test]
        fn rubbish_is_refused_or_read_but_never_a_panic(bytes: Vec<u8>) {
            if let Some(fields) = Fields::read(&bytes) {
                let _ = (fields.number(1), fields.bytes(2), fields.text(1));
            }
        }
    }
}
