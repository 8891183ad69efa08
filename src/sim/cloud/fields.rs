//! Forms, queries, JSON bodies and multipart bodies taken apart, with code of the simulator's own.
//!
//! It never fails on malformed input: a piece that cannot be read is not there.

use serde_json::Value;

/// The fields of one request body or query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    pairs: Vec<(String, String)>,
    json: Option<Value>,
    file: Option<Vec<u8>>,
    kind: Kind,
}

/// How a body was encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    None,
    Form,
    Json,
    Multipart,
}

impl Fields {
    /// Reads a query or a form.
    pub(super) fn from_form(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self {
            pairs: pairs.collect(),
            kind: Kind::Form,
            ..Self::default()
        }
    }

    /// Reads a body by its content type.
    pub(super) fn from_body(content_type: &str, body: &[u8]) -> Self {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        match kind.trim().to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Self::from_form(&String::from_utf8_lossy(body)),
            "application/json" => Self {
                json: serde_json::from_slice(body).ok(),
                kind: Kind::Json,
                ..Self::default()
            },
            "multipart/form-data" => match boundary(parameters) {
                Some(boundary) => Self::from_multipart(&boundary, body),
                None => Self {
                    kind: Kind::Multipart,
                    ..Self::default()
                },
            },
            _ => Self::default(),
        }
    }

    fn from_multipart(boundary: &str, body: &[u8]) -> Self {
        let mut fields = Self {
            kind: Kind::Multipart,
            ..Self::default()
        };
        let delimiter = format!("--{boundary}");
        for part in split(body, delimiter.as_bytes()).into_iter().skip(1) {
            if part.starts_with(b"--") {
                break;
            }
            let Some(part) = part.strip_prefix(b"\r\n") else { continue };
            let Some(end) = find(part, b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&part[..end]);
            let content = &part[end + 4..];
            let content = content.strip_suffix(b"\r\n").unwrap_or(content);
            let Some(disposition) = head
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))
            else {
                continue;
            };
            let Some(name) = parameter(disposition, "name") else {
                continue;
            };
            if parameter(disposition, "filename").is_some() || name == "file" {
                fields.file = Some(content.to_vec());
            } else {
                fields.pairs.push((name, String::from_utf8_lossy(content).into_owned()));
            }
        }
        fields
    }

    /// How the body was encoded.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// One field as text; numbers and truth values of JSON as they are written.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        if let Some(json) = &self.json {
            return match json.get(name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(flag) => Some(flag.to_string()),
                _ => None,
            };
        }
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
    }

    /// One field as text, and not empty.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// One field as a truth value: `true`, `1` or their JSON forms.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| matches!(text.as_str(), "true" | "1"))
    }

    /// A list: a JSON array, or repeated form fields `name`, `name[]`, `name[0]`.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        if let Some(json) = &self.json {
            let items = json.get(name)?.as_array()?;
            return Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        let belongs = |n: &str| {
            n == name
                || n.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('[') && rest.ends_with(']'))
        };
        let items: Vec<String> = self
            .pairs
            .iter()
            .filter(|(n, _)| belongs(n))
            .map(|(_, v)| v.clone())
            .collect();
        (!items.is_empty()).then_some(items)
    }

    /// The raw JSON value of a field; `None` if the body is not JSON.
    pub(super) fn json(&self, name: &str) -> Option<&Value> {
        self.json.as_ref()?.get(name)
    }

    /// The file part of a multipart body.
    pub(super) fn file(&self) -> Option<&[u8]> {
        self.file.as_deref()
    }
}

/// Percent-decodes; with `plus`, a plus sign is a blank, as forms have it.
pub(super) fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| Some((nibble(hex[0])?, nibble(hex[1])?))) {
            Some((high, low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            None => {
                out.push(if plus && bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Encodes pairs as a form or query: everything but the unreserved characters as `%XX`.
pub(super) fn encode_form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let encoded = pairs
        .into_iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    encoded.collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The value of one hexadecimal digit.
fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

fn boundary(parameters: &str) -> Option<String> {
    parameter(&format!(";{parameters}"), "boundary").filter(|b| !b.is_empty())
}

/// The value of `name=value` or `name="value"` among the parameters of a header field.
fn parameter(header: &str, name: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|piece| {
        let (key, value) = piece.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn split<'a>(mut text: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some(at) = find(text, delimiter) {
        pieces.push(&text[..at]);
        text = &text[at + delimiter.len()..];
    }
    pieces.push(text);
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_decode_plus_percent_and_what_is_neither() {
        let fields = Fields::from_form("a=1%202+3&b=%2B%zz%4&flag&a=second");
        assert_eq!(fields.text("a").unwrap(), "1 2 3");
        assert_eq!(fields.text("b").unwrap(), "+%zz%4");
        assert_eq!(fields.text("flag").unwrap(), "");
        assert_eq!(fields.list("a").unwrap(), ["1 2 3", "second"]);
        assert_eq!(decode("a+b%40c", false), "a+b@c");
    }

    #[test]
    fn json_fields_are_text_as_in_forms() {
        let fields = Fields::from_body(
            "application/json; charset=utf-8",
            br#"{"id":"x","n":12,"on":true,"ids":["a","b"],"z":null}"#,
        );
        assert_eq!(fields.text("n").unwrap(), "12");
        assert_eq!(fields.flag("on"), Some(true));
        assert_eq!(fields.list("ids").unwrap(), ["a", "b"]);
        assert_eq!(fields.text("z"), None);
        assert_eq!(fields.kind(), Kind::Json);
    }

    #[test]
    fn the_multipart_form_of_the_vendors_client() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
            Content-Type: application/octet-stream\r\n\r\naa\nbb\r\n--XX\r\nContent-Disposition: form-data; name=\"import_sims\"\r\n\r\n\
            true\r\n--XX--\r\n";
        let fields = Fields::from_body("multipart/form-data; boundary=\"XX\"", body);
        assert_eq!(fields.file().unwrap(), b"aa\nbb");
        assert_eq!(fields.flag("import_sims"), Some(true));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(name in "[a-z]{1,8}", value in ".*") {
            let text = encode_form([(name.as_str(), value.as_str())]);
            prop_assert_eq!(Fields::from_form(&text).text(&name).unwrap(), value);
        }

        #[test]
        fn no_body_panics(kind in "(multipart/form-data; boundary=a|application/json|application/x-www-form-urlencoded)", body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fields::from_body(&kind, &body);
        }
    }
}
