//! The textual header of an age file: who may open it, and the code that authenticates the header. Structure only.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use super::AgeError;

/// A header with what comes behind it.
pub(super) struct Header<'a> {
    /// The stanzas, each for one recipient; at least one.
    pub(super) stanzas: Vec<Stanza<'a>>,
    /// The bytes that the code covers.
    pub(super) covered: &'a [u8],
    /// The code.
    pub(super) mac: [u8; 32],
    /// What comes behind the header.
    pub(super) payload: &'a [u8],
}

/// The file key, wrapped for one recipient.
pub(super) struct Stanza<'a> {
    /// The kind of recipient.
    pub(super) kind: &'a str,
    /// What else that kind needs.
    pub(super) arguments: Vec<&'a str>,
    /// The wrapped file key.
    pub(super) body: Vec<u8>,
}

impl<'a> Header<'a> {
    /// Reads the header at the start of a file.
    pub(super) fn read(file: &'a [u8]) -> Result<Self, AgeError> {
        if file.trim_ascii_start().starts_with(ARMOR) {
            return Err(AgeError::Armored);
        }
        let mut rest = file.strip_prefix(FORMAT).ok_or(AgeError::NotAge)?;
        if line(&mut rest).ok_or(AgeError::Damaged)? != VERSION {
            return Err(AgeError::Newer);
        }
        Self::read_stanzas(file, rest).ok_or(AgeError::Damaged)
    }

    fn read_stanzas(file: &'a [u8], mut rest: &'a [u8]) -> Option<Self> {
        let mut stanzas = Vec::new();
        loop {
            let start = file.len() - rest.len();
            let text = line(&mut rest)?;
            if let Some(mac) = text.strip_prefix("--- ") {
                return Some(Self {
                    covered: &file[..start + MARK_LEN],
                    mac: exactly(mac)?,
                    payload: rest,
                    stanzas: Some(stanzas).filter(|stanzas| !stanzas.is_empty())?,
                });
            }
            let mut words = text.strip_prefix("-> ")?.split(' ');
            let stanza = Stanza {
                kind: words.next()?,
                arguments: words.collect(),
                body: body(&mut rest)?,
            };
            if stanza.kind.is_empty() || stanza.arguments.contains(&"") {
                return None;
            }
            stanzas.push(stanza);
        }
    }
}

/// The bytes that the code covers, for a file with these stanzas of one kind: argument and body of each.
pub(super) fn write(kind: &str, stanzas: &[([u8; 32], [u8; 32])]) -> String {
    let mut text = format!("age-encryption.org/{VERSION}\n");
    for (argument, body) in stanzas {
        let (argument, body) = (STANDARD_NO_PAD.encode(argument), STANDARD_NO_PAD.encode(body));
        text += &format!("-> {kind} {argument}\n{body}\n");
    }
    text + "---"
}

/// The end of a header.
pub(super) fn write_mac(mac: &[u8]) -> String {
    format!(" {}\n", STANDARD_NO_PAD.encode(mac))
}

/// Base64 of exactly this many bytes, in the one way in which they can be written.
pub(super) fn exactly<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Takes a line of printable characters.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = rest.iter().position(|b| *b == b'\n')?;
    let (line, behind) = (&rest[..len], &rest[len + 1..]);
    *rest = behind;
    let printable = line.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    std::str::from_utf8(line).ok().filter(|_| printable)
}

/// Takes lines of 64 digits and the shorter one, perhaps empty, that ends them.
fn body(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut digits = String::new();
    loop {
        let text = line(rest).filter(|text| text.len() <= COLUMNS)?;
        digits.push_str(text);
        if text.len() < COLUMNS {
            return STANDARD_NO_PAD.decode(digits).ok();
        }
    }
}

const FORMAT: &[u8] = b"age-encryption.org/";
const VERSION: &str = "v1";
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const COLUMNS: usize = 64;
/// Length of the mark before the code.
const MARK_LEN: usize = 3;
